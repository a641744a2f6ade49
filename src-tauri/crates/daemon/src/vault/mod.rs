//! The vault: where the home's one key lives, and what must not be rolled back together with the database.
//!
//! ```text
//!             key (32 bytes)                    anchor, rules digest (sealed with the key)
//!   keyring     entry of the OS keyring           entries of the OS keyring
//!   passphrase  vault.json, wrapped by Argon2id   files beside it
//!   memory      this process                      this process
//! ```
//! Credentials are rows of the store, sealed with the key; the keyring holds nothing large, because Windows' holds 2,560 bytes at most.
//! Every call into an OS keyring happens on a thread of its own and is bounded in time; so [`Vault`]'s methods may block for some seconds and must
//! not be called on an async worker.

mod anchor;
mod credential;
mod keyring;
mod passphrase;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latch_core::call::Digest;
use latch_ipc::Secret;
use zeroize::Zeroizing;

pub use self::anchor::{Anchor, Present};
pub use self::credential::Credential;
use self::keyring::{Keyring, Native};
use crate::home::{self, Home};
pub use crate::seal::{Key, SealError};

/// Where the key lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultKind {
    /// The operating system's keyring.
    Keyring,
    /// A file, wrapped by a passphrase.
    Passphrase,
    /// This process: for tests and the demo; nothing survives it.
    Memory,
}

/// Why the vault can't do something, and who can help.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The passphrase was not given yet.
    #[error("the vault is locked: unlock it with your passphrase")]
    Locked,
    /// The passphrase does not fit.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// A new passphrase is too short.
    #[error("choose a passphrase of at least {} characters", passphrase::SHORTEST)]
    ShortPassphrase,
    /// The keyring is there but locked.
    #[error(
        "your keyring is locked: unlock it (log in to your desktop, or open your password manager), then try again"
    )]
    KeyringLocked,
    /// No keyring, or it is broken.
    #[error("the system's keyring can't be used: {0}. Start or repair it, or use --vault passphrase")]
    Keyring(String),
    /// The keyring took too long.
    #[error(
        "the system's keyring did not answer in {0} seconds; it may be waiting for you to unlock it. Unlock it and try again, or use --vault passphrase"
    )]
    KeyringSilent(u64),
    /// There is a database but no key for it.
    #[error("the keyring has no key for {}; it was removed, or another keyring is in use. Without it the accounts stored there can't be opened: bring the keyring back, or start with an empty --home", .0.display())]
    KeyMissing(PathBuf),
    /// The home was made with another kind of vault.
    #[error("{} was set up with {made}, not with {asked}: start with the vault it was set up with, or with an empty --home", home.display())]
    OtherKind {
        /// The folder.
        home: PathBuf,
        /// How it was made.
        made: &'static str,
        /// What was asked.
        asked: &'static str,
    },
    /// What is stored is not what we stored.
    #[error("{0} is damaged or was changed by something else")]
    Damaged(String),
    /// The operating system said no.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The open or locked vault of one home.
pub struct Vault {
    kind: VaultKind,
    home: Home,
    key: Mutex<Result<Key, Closed>>,
    /// One at a time: two that both find no key would each make one, and the last one stored is not the one in use.
    unlocking: Mutex<()>,
    small: Small,
}

/// Why there is no key yet. It may come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// Nobody typed the passphrase.
    Passphrase,
    /// The keyring is locked.
    Keyring,
    /// The keyring did not answer within so many seconds; it may be asking the person just now.
    Silent(u64),
}

impl From<Closed> for VaultError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Passphrase => Self::Locked,
            Closed::Keyring => Self::KeyringLocked,
            Closed::Silent(seconds) => Self::KeyringSilent(seconds),
        }
    }
}

/// Where small values live.
enum Small {
    Keyring(Keyring),
    Files,
    Memory(Mutex<HashMap<&'static str, String>>),
}

const KEY: &str = "key";
const ANCHOR: &str = "anchor";
const RULES: &str = "rules";

impl Vault {
    /// Opens the home's vault. A keyring's key is fetched, or made for a home without a database; where the keyring is locked, and with a passphrase, the
    /// vault starts locked.
    pub fn open(kind: VaultKind, home: &Home) -> Result<Self, VaultError> {
        let wrapped = home.join(passphrase::FILE).exists();
        let used = home.database().exists();
        let other = |made| VaultError::OtherKind { home: home.path().to_owned(), made, asked: kind.article() };
        match kind {
            VaultKind::Keyring | VaultKind::Memory if wrapped => return Err(other(VaultKind::Passphrase.article())),
            VaultKind::Passphrase if used && !wrapped => return Err(other("another vault")),
            VaultKind::Memory if used => return Err(other("a lasting vault, or by an engine whose memory is gone")),
            VaultKind::Keyring | VaultKind::Passphrase | VaultKind::Memory => {}
        }
        let small = match kind {
            VaultKind::Keyring => Small::Keyring(Keyring::start(Box::new(Native::default()), home.path())),
            VaultKind::Passphrase => Small::Files,
            VaultKind::Memory => Small::Memory(Mutex::default()),
        };
        Self::with(kind, home, small)
    }

    fn with(kind: VaultKind, home: &Home, small: Small) -> Result<Self, VaultError> {
        let key = match &small {
            Small::Keyring(keyring) => match keyring_key(keyring, home) {
                Ok(key) => Ok(key),
                Err(error) => Err(closed(error)?),
            },
            Small::Files => Err(Closed::Passphrase),
            Small::Memory(_) => Ok(Key::random()?),
        };
        Ok(Self { kind, home: home.clone(), key: Mutex::new(key), unlocking: Mutex::new(()), small })
    }

    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> VaultKind {
        self.kind
    }

    /// Whether there is no key yet.
    #[must_use]
    pub fn locked(&self) -> bool {
        guard(&self.key).is_err()
    }

    /// Why there is no key yet, and what to do.
    #[must_use]
    pub fn why_locked(&self) -> Option<String> {
        guard(&self.key).as_ref().err().map(|closed| VaultError::from(*closed).to_string())
    }

    /// Whether the keyring may be asking the person just now: then looking again asks nothing twice.
    #[must_use]
    pub fn may_be_asking(&self) -> bool {
        matches!(*guard(&self.key), Err(Closed::Silent(_)))
    }

    /// Opens a passphrase vault, or makes it at first use: takes about a second by design. With a keyring it looks again whether that is open, which may make
    /// the keyring ask the person; the passphrase is not used. Nothing to do for an open vault.
    pub fn unlock(&self, passphrase: &Secret) -> Result<(), VaultError> {
        let _one = guard(&self.unlocking);
        if !self.locked() {
            return Ok(());
        }
        let found = match &self.small {
            Small::Keyring(keyring) => match keyring_key(keyring, &self.home) {
                Ok(key) => Ok(key),
                Err(error) => Err(closed(error)?),
            },
            Small::Files => Ok(passphrase::unlock(&self.home, passphrase)?),
            Small::Memory(_) => Ok(Key::random()?),
        };
        let mut key = guard(&self.key);
        if key.is_err() {
            *key = found;
        }
        key.as_ref().map(|_| ()).map_err(|closed| VaultError::from(*closed))
    }

    /// The key.
    pub fn key(&self) -> Result<Key, VaultError> {
        guard(&self.key).clone().map_err(VaultError::from)
    }

    /// What the vault last saw of the database (invariant I11).
    pub fn anchor(&self) -> Result<Option<Anchor>, VaultError> {
        let Some(json) = self.get(ANCHOR)? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|_| VaultError::Damaged("the vault's anchor".to_owned()))
    }

    /// Remembers how far the database is: at start, stop, panic and at most once a minute.
    pub fn set_anchor(&self, anchor: &Anchor) -> Result<(), VaultError> {
        self.set(ANCHOR, &anchor_json(anchor)?)
    }

    /// [`Vault::set_anchor`] without waiting for an OS keyring: for panic, which must not depend on it.
    pub fn note_anchor(&self, anchor: &Anchor) -> Result<(), VaultError> {
        let Small::Keyring(keyring) = &self.small else { return self.set_anchor(anchor) };
        let text = self.sealed(ANCHOR, &anchor_json(anchor)?)?;
        keyring.note(ANCHOR, text)
    }

    /// The digest of the rules that the person approved.
    pub fn rules_digest(&self) -> Result<Option<Digest>, VaultError> {
        let Some(bytes) = self.get(RULES)? else { return Ok(None) };
        let digest = <[u8; 32]>::try_from(bytes.as_slice());
        digest.map(|bytes| Some(Digest(bytes))).map_err(|_| VaultError::Damaged("the vault's rules digest".to_owned()))
    }

    /// Remembers the digest of the rules that the person approved.
    pub fn set_rules_digest(&self, digest: &Digest) -> Result<(), VaultError> {
        self.set(RULES, &digest.0)
    }

    fn get(&self, name: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let key = self.key()?;
        let text = match &self.small {
            Small::Keyring(keyring) => keyring.get(name)?,
            Small::Files => {
                let path = self.home.join(name);
                let bytes = home::read_small(&path).map_err(|error| VaultError::Io { path, error })?;
                bytes.map(|bytes| Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Small::Memory(values) => guard(values).get(name).cloned().map(Zeroizing::new),
        };
        let Some(text) = text else { return Ok(None) };
        let damaged = || VaultError::Damaged(format!("the vault's {name}"));
        let sealed = URL_SAFE_NO_PAD.decode(text.as_bytes()).map_err(|_| damaged())?;
        key.open(&["vault", name], &sealed).map(Some).map_err(|_| damaged())
    }

    fn set(&self, name: &'static str, value: &[u8]) -> Result<(), VaultError> {
        let text = self.sealed(name, value)?;
        match &self.small {
            Small::Keyring(keyring) => keyring.set(name, text),
            Small::Files => {
                let path = self.home.join(name);
                home::write_private(&path, text.as_bytes()).map_err(|error| VaultError::Io { path, error })
            }
            Small::Memory(values) => {
                guard(values).insert(name, text.to_string());
                Ok(())
            }
        }
    }

    fn sealed(&self, name: &'static str, value: &[u8]) -> Result<Zeroizing<String>, VaultError> {
        Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(self.key()?.seal(&["vault", name], value)?)))
    }
}

fn anchor_json(anchor: &Anchor) -> Result<Vec<u8>, VaultError> {
    serde_json::to_vec(anchor).map_err(|_| VaultError::Damaged("the vault's anchor".to_owned()))
}

/// Errors that mean: not now.
fn closed(error: VaultError) -> Result<Closed, VaultError> {
    match error {
        VaultError::KeyringLocked => Ok(Closed::Keyring),
        VaultError::KeyringSilent(seconds) => Ok(Closed::Silent(seconds)),
        other => Err(other),
    }
}

fn keyring_key(keyring: &Keyring, home: &Home) -> Result<Key, VaultError> {
    if let Some(text) = keyring.get(KEY)? {
        let mut bytes = Zeroizing::new([0; 32]);
        let written = URL_SAFE_NO_PAD.decode_slice(text.as_bytes(), bytes.as_mut_slice());
        return match written {
            Ok(32) => Ok(Key::from_bytes(bytes)),
            Ok(_) | Err(_) => Err(VaultError::Damaged("the keyring's entry \"latchstring\"".to_owned())),
        };
    }
    if home.database().exists() {
        return Err(VaultError::KeyMissing(home.path().to_owned()));
    }
    let key = Key::random()?;
    keyring.set(KEY, Zeroizing::new(URL_SAFE_NO_PAD.encode(key.expose())))?;
    Ok(key)
}

/// A lock whose holder panicked guards plain values only: they are whole.
fn guard<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VaultKind {
    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Passphrase => "passphrase",
            Self::Memory => "memory",
        }
    }

    const fn article(self) -> &'static str {
        match self {
            Self::Keyring => "the keyring",
            Self::Passphrase => "a passphrase",
            Self::Memory => "a memory vault",
        }
    }
}

impl FromStr for VaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Keyring, Self::Passphrase, Self::Memory]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("no vault is called {text:?}: keyring, passphrase or memory"))
    }
}

impl fmt::Display for VaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("kind", &self.kind).field("locked", &self.locked()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
