//! Disk space kept back, so that a panic can be recorded on a full disk.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::home::{self, Home};

const LENGTH: usize = 1024 * 1024;

pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn of(home: &Home) -> Self {
        Self(home.join("reserve"))
    }

    /// Fills the file anew if it is not there; a disk that is full already leaves none.
    pub(super) fn keep(&self) {
        let present = std::fs::metadata(&self.0).map_or(0, |metadata| metadata.len());
        if present != LENGTH as u64 && self.fill().is_err() {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn fill(&self) -> io::Result<()> {
        // Random, so that no file system compresses it away.
        let mut block = vec![0; 64 * 1024];
        getrandom::fill(&mut block).map_err(io::Error::other)?;
        let mut file = home::private_file(&self.0)?;
        file.set_len(0)?;
        for _ in 0..LENGTH / block.len() {
            file.write_all(&block)?;
        }
        file.sync_all()
    }

    /// Gives the room back; false if there was none.
    pub(super) fn release(&self) -> bool {
        std::fs::remove_file(&self.0).is_ok()
    }
}
