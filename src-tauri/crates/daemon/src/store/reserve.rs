//! Disk space kept back, so that a panic can be recorded on a full disk.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::home::{self, Home};

const LENGTH: usize = 1024 * 1024;

pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// Fills the file anew if it is not there; a disk that is full already leaves none.
    pub(super) fn keep(home: &Home) -> io::Result<Self> {
        let reserve = Self(home.join("reserve"));
        let present = std::fs::metadata(&reserve.0).map_or(0, |metadata| metadata.len());
        if present != LENGTH as u64 && reserve.fill().is_err() {
            let _ = std::fs::remove_file(&reserve.0);
        }
        Ok(reserve)
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
