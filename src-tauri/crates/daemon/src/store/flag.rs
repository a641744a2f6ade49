//! A panic flag for when the database can't be written: one small file, made beforehand, so that raising it needs no free block.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::home::{self, Home};

const LENGTH: usize = 512;
const CALM: &str = "calm";
const RAISED: &str = "panicked: ";

/// Up or down, durable.
pub(super) struct Flag {
    path: PathBuf,
    raised: AtomicBool,
}

impl Flag {
    /// Makes the file if there is none; says why it is up, if it is.
    pub(super) fn open(home: &Home) -> io::Result<(Self, Option<String>)> {
        let path = home.join("panic.flag");
        let content = home::read_small(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        let why = text.trim_end().strip_prefix(RAISED).map(str::to_owned);
        let flag = Self { path, raised: AtomicBool::new(why.is_some()) };
        if content.len() != LENGTH && why.is_none() {
            flag.write(CALM)?;
        }
        Ok((flag, why))
    }

    pub(super) fn raise(&self, why: &str) -> io::Result<()> {
        self.raised.store(true, Ordering::SeqCst);
        self.write(&format!("{RAISED}{why}"))
    }

    /// The database itself says what is so again.
    pub(super) fn lower(&self) {
        if self.raised.swap(false, Ordering::SeqCst) && self.write(CALM).is_err() {
            self.raised.store(true, Ordering::SeqCst);
        }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut content: Vec<u8> = text.bytes().take(LENGTH - 1).collect();
        content.resize(LENGTH - 1, b' ');
        content.push(b'\n');
        let mut file = home::private_file(&self.path)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&content)?;
        file.sync_all()
    }
}
