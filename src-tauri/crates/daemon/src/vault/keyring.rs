//! The operating system's keyring, on a thread of its own: each call has ten seconds, and a Secret Service that restarted is connected to anew once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use keyring_core::{CredentialStore, Error};
use latch_core::call::Digest;
use zeroize::Zeroizing;

use super::VaultError;

const SERVICE: &str = "latchstring";
const PATIENCE: Duration = Duration::from_secs(10);
/// Callers that wait at once; there are three values.
const WAITING: usize = 8;

/// Makes connections to a keyring.
pub(super) trait Connect: Send {
    /// A fresh connection.
    fn connect(&self) -> Result<Arc<CredentialStore>, Error>;
}

/// The platform's own keyring, as crate `keyring` chooses it.
#[derive(Default)]
pub(super) struct Native {
    connected: AtomicBool,
}

impl Connect for Native {
    fn connect(&self) -> Result<Arc<CredentialStore>, Error> {
        if !self.connected.swap(true, Ordering::Relaxed) && ::keyring::Entry::store_status().is_ok() {
            return keyring_core::get_default_store().ok_or(Error::NoDefaultStore);
        }
        again()
    }
}

/// Crate `keyring` connects once in a process; a Secret Service that restarted must be connected to anew.
#[cfg(all(unix, not(target_os = "macos")))]
fn again() -> Result<Arc<CredentialStore>, Error> {
    Ok(zbus_secret_service_keyring_store::Store::new()?)
}

/// Elsewhere there is no connection that could break.
#[cfg(not(all(unix, not(target_os = "macos"))))]
fn again() -> Result<Arc<CredentialStore>, Error> {
    keyring_core::get_default_store().ok_or(Error::NoDefaultStore)
}

/// Calls into the keyring, each bounded in time.
pub(super) struct Keyring {
    calls: SyncSender<Ask>,
    home: String,
    patience: Duration,
}

struct Ask {
    user: String,
    what: What,
    deadline: Instant,
    answer: SyncSender<Answer>,
}

type Answer = Result<Option<Zeroizing<String>>, Error>;

enum What {
    Get,
    Set(Zeroizing<String>),
}

impl Keyring {
    /// Starts the thread; connects at the first call.
    pub(super) fn start(connect: Box<dyn Connect>, home: &Path) -> Self {
        Self::patient(connect, home, PATIENCE)
    }

    pub(super) fn patient(connect: Box<dyn Connect>, home: &Path, patience: Duration) -> Self {
        let (calls, asked) = mpsc::sync_channel(WAITING);
        // Without a thread the channel is closed, and every call says that the keyring can't be used.
        let _ = std::thread::Builder::new().name("keyring".to_owned()).spawn(move || serve(&*connect, &asked));
        let digest = Digest::of(&[home.as_os_str().as_encoded_bytes()]).to_string();
        Self { calls, home: digest.chars().take(32).collect(), patience }
    }

    /// One value.
    pub(super) fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, VaultError> {
        self.ask(name, What::Get)
    }

    /// Stores one value.
    pub(super) fn set(&self, name: &str, value: Zeroizing<String>) -> Result<(), VaultError> {
        self.ask(name, What::Set(value)).map(|_| ())
    }

    /// Stores one value without waiting for it; what was asked first is done first.
    pub(super) fn note(&self, name: &str, value: Zeroizing<String>) -> Result<(), VaultError> {
        self.send(name, What::Set(value)).map(|_| ())
    }

    fn ask(&self, name: &str, what: What) -> Result<Option<Zeroizing<String>>, VaultError> {
        match self.send(name, what)?.recv_timeout(self.patience) {
            Ok(answer) => answer.map_err(|error| explain(&error)),
            Err(RecvTimeoutError::Timeout) => Err(self.silent()),
            Err(RecvTimeoutError::Disconnected) => Err(VaultError::Keyring("its client stopped".to_owned())),
        }
    }

    fn send(&self, name: &str, what: What) -> Result<Receiver<Answer>, VaultError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let ask = Ask { user: format!("{}.{name}", self.home), what, deadline: Instant::now() + self.patience, answer };
        self.calls.try_send(ask).map_err(|_| self.silent())?;
        Ok(answered)
    }

    fn silent(&self) -> VaultError {
        VaultError::KeyringSilent(self.patience.as_secs())
    }
}

fn serve(connect: &dyn Connect, asked: &Receiver<Ask>) {
    let mut store = None;
    while let Ok(ask) = asked.recv() {
        if Instant::now() >= ask.deadline {
            continue;
        }
        let fresh = store.is_none();
        let mut answer = attempt(connect, &mut store, &ask);
        if answer.as_ref().is_err_and(broken) {
            // A Secret Service that restarted forgot our session: connect anew, once.
            store = None;
            if !fresh {
                answer = attempt(connect, &mut store, &ask);
            }
        }
        let _ = ask.answer.try_send(answer);
    }
}

fn attempt(connect: &dyn Connect, store: &mut Option<Arc<CredentialStore>>, ask: &Ask) -> Answer {
    let store = match store {
        Some(store) => store,
        None => store.insert(connect.connect()?),
    };
    let entry = store.build(SERVICE, &ask.user, None)?;
    match &ask.what {
        What::Get => match entry.get_password() {
            Ok(value) => Ok(Some(Zeroizing::new(value))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error),
        },
        What::Set(value) => entry.set_password(value).map(|()| None),
    }
}

/// Whether a new connection may help.
fn broken(error: &Error) -> bool {
    matches!(error, Error::PlatformFailure(_))
}

fn explain(error: &Error) -> VaultError {
    match error {
        Error::NoStorageAccess(_) => VaultError::KeyringLocked,
        // These carry the stored value or attributes; the text must not.
        Error::BadEncoding(_) | Error::BadDataFormat(..) | Error::Ambiguous(_) => {
            VaultError::Damaged("the keyring's entry \"latchstring\"".to_owned())
        }
        other => VaultError::Keyring(other.to_string()),
    }
}
