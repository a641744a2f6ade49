//! Sealing: XChaCha20-Poly1305 under the home's one key, with the row's identity as associated data, so that a sealed value opens only where it was put.
//!
//! ```text
//!   sealed = nonce (24 random bytes) + ciphertext + tag (16)
//! ```

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const NONCE: usize = 24;

/// The home's key: wiped on drop and never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
    /// Another key, another place, or changed bytes.
    #[error("a sealed value does not open: it was changed, moved, or sealed with another key")]
    Opened,
}

impl Key {
    /// A fresh random key.
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| SealError::Random)?;
        Ok(Self(bytes))
    }

    /// Takes 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the vault alone.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals for exactly this place.
    pub fn seal(&self, place: &[&str], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| SealError::Random)?;
        let payload = Payload { msg: plain, aad: &associated(place) };
        let body = self.cipher().encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| SealError::Opened)?;
        let mut sealed = Vec::with_capacity(NONCE + body.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what was sealed for exactly this place.
    pub fn open(&self, place: &[&str], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_at_checked(NONCE).ok_or(SealError::Opened)?;
        let payload = Payload { msg: body, aad: &associated(place) };
        let plain = self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| SealError::Opened)?;
        Ok(Zeroizing::new(plain))
    }

    /// A name that tells nothing without the key: where ids are themselves private.
    #[must_use]
    pub(crate) fn place(&self, parts: &[&str]) -> [u8; 16] {
        let digest = Sha256::new().chain_update(b"place").chain_update(self.expose()).chain_update(associated(parts));
        let mut place = [0; 16];
        place.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
        place
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_slice().into())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

fn associated(place: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(place.iter().map(|part| part.len() + 8).sum());
    for part in place {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn opens_only_at_its_place_with_its_key_unchanged() {
        let key = Key::random().unwrap();
        let sealed = key.seal(&["doc", "credential", "work"], b"hunter2").unwrap();
        assert_eq!(key.open(&["doc", "credential", "work"], &sealed).unwrap().as_slice(), b"hunter2");
        assert_eq!(key.open(&["doc", "credential", "home"], &sealed), Err(SealError::Opened));
        assert_eq!(key.open(&["doc", "credentialwork"], &sealed), Err(SealError::Opened));
        assert_eq!(Key::random().unwrap().open(&["doc", "credential", "work"], &sealed), Err(SealError::Opened));
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            *bent.get_mut(at).unwrap() ^= 1;
            assert_eq!(key.open(&["doc", "credential", "work"], &bent), Err(SealError::Opened), "byte {at}");
        }
        assert_eq!(key.open(&["doc"], b"short"), Err(SealError::Opened));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}
