//! Secrets that must be found nowhere.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Secrets with every spelling of theirs that would give them away.
pub struct Canaries {
    secrets: Vec<String>,
    /// By their first two bytes.
    by_start: Vec<Vec<Vec<u8>>>,
}

impl Canaries {
    /// So many of them.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self::of((0..count).map(|n| format!("canary-{n:02}-Zq7~x{:08x}", 0x9e37_79b9_u32.wrapping_mul(n as u32 + 1))))
    }

    /// These.
    pub fn of(secrets: impl IntoIterator<Item = String>) -> Self {
        let secrets: Vec<String> = secrets.into_iter().collect();
        let mut by_start = vec![Vec::new(); 1 << 16];
        for spelling in secrets.iter().flat_map(|secret| spellings(secret.as_bytes())) {
            by_start[usize::from(u16::from_be_bytes([spelling[0], spelling[1]]))].push(spelling);
        }
        Self { secrets, by_start }
    }

    /// The n-th.
    #[must_use]
    pub fn get(&self, n: usize) -> &str {
        &self.secrets[n]
    }

    /// Fails the test if any spelling stands in these bytes.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for (at, start) in bytes.windows(2).enumerate() {
            for spelling in &self.by_start[usize::from(u16::from_be_bytes([start[0], start[1]]))] {
                let found = bytes[at..].starts_with(spelling);
                assert!(!found, "{place} contains the canary {}", String::from_utf8_lossy(spelling));
            }
        }
    }

    /// Fails the test if any spelling stands in a file below this folder. Returns how many files were read.
    #[track_caller]
    pub fn assert_absent_below(&self, folder: &Path) -> usize {
        let mut read = 0;
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).expect("a folder") {
                let entry = entry.expect("an entry");
                let kind = entry.file_type().expect("a kind");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    self.assert_absent(&entry.path().to_string_lossy(), &std::fs::read(entry.path()).expect("a file"));
                    read += 1;
                }
            }
        }
        read
    }
}

fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let utf16: Vec<u8> = secret.iter().flat_map(|byte| [*byte, 0]).collect();
    let mut all = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), utf16];
    all.push(secret.iter().rev().copied().collect());
    // Inside a longer text, base64 depends on where the secret begins: leave out what its neighbours touch.
    for offset in 0..3 {
        let mut padded = vec![0; offset];
        padded.extend_from_slice(secret);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            let first = [0, 2, 3][offset];
            all.push(text.as_bytes()[first..text.len() - 2].to_vec());
        }
    }
    all.push(STANDARD.encode(secret).into_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::Canaries;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn finds_a_canary_in_its_spellings() {
        let canaries = Canaries::new(40);
        let secret = canaries.get(7);
        let spelled =
            [secret.to_owned(), STANDARD.encode(format!("x{secret}y")), STANDARD.encode(format!("user:{secret}"))];
        for text in spelled {
            assert!(std::panic::catch_unwind(|| canaries.assert_absent("here", text.as_bytes())).is_err(), "{text}");
        }
        canaries.assert_absent("here", b"canary-07 alone is nothing");
    }
}
