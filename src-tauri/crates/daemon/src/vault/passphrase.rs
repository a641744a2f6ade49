//! A key in a file, wrapped by what Argon2id makes of a passphrase (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latch_ipc::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Key, VaultError};
use crate::home::{self, Home};

pub(super) const FILE: &str = "vault.json";
pub(super) const SHORTEST: usize = 8;

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    version: u32,
    cost: Cost,
    salt: String,
    key: String,
}

/// Argon2id's cost, stored so that it can rise later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// RFC 9106 section 4, the second recommended option: 64 MiB, three passes; one lane, because ours is single-threaded.
    #[cfg(not(test))]
    const PRESENT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    #[cfg(test)]
    const PRESENT: Self = Self { memory_kib: 64, passes: 1, lanes: 1 };
    /// A changed file must not make us ask for all memory.
    const MOST: Self = Self { memory_kib: 2 * 1024 * 1024, passes: 64, lanes: 16 };

    fn allowed(self) -> bool {
        self.memory_kib <= Self::MOST.memory_kib && self.passes <= Self::MOST.passes && self.lanes <= Self::MOST.lanes
    }
}

/// Opens the home's key, or makes it at first use.
pub(super) fn unlock(home: &Home, passphrase: &Secret) -> Result<Key, VaultError> {
    let path = home.join(FILE);
    match home::read_small(&path).map_err(|error| VaultError::Io { path: path.clone(), error })? {
        Some(content) => unwrap(&content, passphrase),
        None => {
            let (key, content) = wrap(passphrase)?;
            home::write_private(&path, &content).map_err(|error| VaultError::Io { path, error })?;
            Ok(key)
        }
    }
}

fn wrap(passphrase: &Secret) -> Result<(Key, Vec<u8>), VaultError> {
    if passphrase.expose().chars().count() < SHORTEST {
        return Err(VaultError::ShortPassphrase);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| super::SealError::Random)?;
    let key = Key::random()?;
    let sealed = derive(passphrase, &salt, Cost::PRESENT)?.seal(&["vault", super::KEY], key.expose())?;
    let wrapped = Wrapped {
        version: 1,
        cost: Cost::PRESENT,
        salt: URL_SAFE_NO_PAD.encode(salt),
        key: URL_SAFE_NO_PAD.encode(sealed),
    };
    let content = serde_json::to_vec_pretty(&wrapped).map_err(|_| damaged())?;
    Ok((key, content))
}

fn unwrap(content: &[u8], passphrase: &Secret) -> Result<Key, VaultError> {
    let wrapped: Wrapped = serde_json::from_slice(content).map_err(|_| damaged())?;
    if wrapped.version != 1 || !wrapped.cost.allowed() {
        return Err(damaged());
    }
    let salt = URL_SAFE_NO_PAD.decode(&wrapped.salt).map_err(|_| damaged())?;
    let sealed = URL_SAFE_NO_PAD.decode(&wrapped.key).map_err(|_| damaged())?;
    let plain = derive(passphrase, &salt, wrapped.cost)?
        .open(&["vault", super::KEY], &sealed)
        .map_err(|_| VaultError::WrongPassphrase)?;
    let bytes = <[u8; 32]>::try_from(plain.as_slice()).map_err(|_| damaged())?;
    Ok(Key::from_bytes(Zeroizing::new(bytes)))
}

fn derive(passphrase: &Secret, salt: &[u8], cost: Cost) -> Result<Key, VaultError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|_| damaged())?;
    let mut bytes = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose().as_bytes(), salt, bytes.as_mut_slice())
        .map_err(|_| damaged())?;
    Ok(Key::from_bytes(bytes))
}

fn damaged() -> VaultError {
    VaultError::Damaged(FILE.to_owned())
}
