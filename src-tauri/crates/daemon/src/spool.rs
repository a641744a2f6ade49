//! Large bodies on their way: sealed on the disk instead of in memory, under a key of their own that is in memory only.
//!
//! ```text
//!   agent ── pieces ──> Writer ── 64 KiB sealed each ──> file without a name in home/spool/ ──> Kept ── read ──> bytes
//! ```
//! A file has no name (or, on Windows, is deleted when closed): it goes with the last handle, however the engine ends. Disk and memory are bounded.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::home::Home;
use crate::seal::{Key, SealError};

/// Bodies above this many bytes are put aside.
pub const SPOOL_ABOVE: usize = latch_core::hold::LARGE_BODY;
/// The most that all files take together, in bytes.
const DISK: usize = 512 * 1024 * 1024;
/// The most memory for large bodies that are being understood or sent, in bytes.
const MEMORY: usize = 384 * 1024 * 1024;
/// How many times its length a body takes while it is decoded and written again.
const COPIES: usize = 6;
/// How long a large body waits for its turn.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is sealed at once, in bytes.
const CHUNK: usize = 64 * 1024;
const SEALED_CHUNK: u64 = CHUNK as u64 + 40;
const KIB: usize = 1024;

/// Why a body could not be put aside, or read again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Too much at once; some room comes back with every body that is done.
    #[error("too many large requests are under way at once; try again in a few seconds")]
    Crowded,
    /// The disk, most likely full.
    #[error("the disk can't take large requests at present: {0}")]
    Disk(String),
    /// What was read is not what was written.
    #[error("{0}")]
    Seal(#[from] SealError),
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

/// Where large bodies go.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    disk: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Spool {
    /// The home's spool, empty: what an earlier engine left behind can't be opened by anybody.
    pub fn open(home: &Home) -> io::Result<Self> {
        let folder = home.join("spool");
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        let room = |bytes: usize| Arc::new(Semaphore::new(bytes / KIB));
        Ok(Self { folder, disk: room(DISK), memory: room(MEMORY) })
    }

    /// Begins a file.
    pub fn writer(&self) -> Result<Writer, SpoolError> {
        let room = Arc::clone(&self.disk).try_acquire_many_owned(0).map_err(|_| SpoolError::Crowded)?;
        let file = tempfile::tempfile_in(&self.folder)?;
        let open = Open { file, key: Key::random()?, chunks: 0 };
        Ok(Writer { open: Some(open), buffer: Vec::new(), length: 0, room, disk: Arc::clone(&self.disk) })
    }

    /// Puts whole bytes aside.
    pub async fn keep(&self, bytes: &[u8]) -> Result<Kept, SpoolError> {
        let mut writer = self.writer()?;
        for piece in bytes.chunks(CHUNK) {
            writer.push(piece).await?;
        }
        writer.finish().await
    }

    /// Room in memory for a large body of this length, for as long as it is being understood or sent. Waits for its turn, but not for ever.
    pub async fn turn(&self, length: usize) -> Result<Turn, SpoolError> {
        let wanted = (length.saturating_mul(COPIES) / KIB).clamp(1, MEMORY / KIB);
        let wanted = u32::try_from(wanted).map_err(|_| SpoolError::Crowded)?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.memory).acquire_many_owned(wanted)).await;
        match turn {
            Ok(Ok(room)) => Ok(Turn { _room: room }),
            Ok(Err(_)) | Err(_) => Err(SpoolError::Crowded),
        }
    }
}

/// Room in memory; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _room: OwnedSemaphorePermit,
}

/// A file that grows.
#[derive(Debug)]
pub struct Writer {
    open: Option<Open>,
    buffer: Vec<u8>,
    length: usize,
    room: OwnedSemaphorePermit,
    disk: Arc<Semaphore>,
}

#[derive(Debug)]
struct Open {
    file: File,
    key: Key,
    chunks: u64,
}

impl Open {
    fn write(&mut self, plain: &[u8]) -> Result<(), SpoolError> {
        let sealed = self.key.seal(&["spool", &self.chunks.to_string()], plain)?;
        self.file.write_all(&sealed)?;
        self.chunks += 1;
        Ok(())
    }
}

impl Writer {
    /// Appends.
    pub async fn push(&mut self, mut piece: &[u8]) -> Result<(), SpoolError> {
        while !piece.is_empty() {
            let (now, later) = piece.split_at(piece.len().min(CHUNK.saturating_sub(self.buffer.len())));
            self.buffer.extend_from_slice(now);
            self.length = self.length.saturating_add(now.len());
            piece = later;
            if self.buffer.len() >= CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SpoolError> {
        let wanted = u32::try_from(self.buffer.len().div_ceil(KIB)).map_err(|_| SpoolError::Crowded)?;
        let room = Arc::clone(&self.disk).try_acquire_many_owned(wanted).map_err(|_| SpoolError::Crowded)?;
        self.room.merge(room);
        let lost = || SpoolError::Disk("an earlier write did not end in order".to_owned());
        let mut open = self.open.take().ok_or_else(lost)?;
        let buffer = std::mem::take(&mut self.buffer);
        let written = tokio::task::spawn_blocking(move || open.write(&buffer).map(|()| open)).await;
        self.open = Some(written.map_err(|_| lost())??);
        Ok(())
    }

    /// Ends the file.
    pub async fn finish(mut self) -> Result<Kept, SpoolError> {
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        let open = self.open.ok_or_else(|| SpoolError::Disk("an earlier write did not end in order".to_owned()))?;
        Ok(Kept(Arc::new(Inner { open: Mutex::new(open), length: self.length, _room: self.room })))
    }
}

/// A body that was put aside. Clones share it; the file goes with the last one.
#[derive(Debug, Clone)]
pub struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<Open>,
    length: usize,
    _room: OwnedSemaphorePermit,
}

impl Kept {
    /// In bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.length
    }

    /// The bytes again, exactly as they were put aside.
    pub async fn read(&self) -> Result<Vec<u8>, SpoolError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.read())
            .await
            .unwrap_or_else(|_| Err(SpoolError::Disk("a read did not end in order".to_owned())))
    }
}

impl Inner {
    fn read(&self) -> Result<Vec<u8>, SpoolError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::with_capacity(self.length);
        for chunk in 0..open.chunks {
            let mut sealed = Vec::new();
            (&mut open.file).take(SEALED_CHUNK).read_to_end(&mut sealed)?;
            bytes.extend_from_slice(&open.key.open(&["spool", &chunk.to_string()], &sealed)?);
        }
        if bytes.len() == self.length { Ok(bytes) } else { Err(SealError::Opened.into()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    pub(crate) fn spool() -> (tempfile::TempDir, Spool) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        let spool = Spool::open(&home).unwrap();
        (folder, spool)
    }

    #[tokio::test]
    async fn what_was_put_aside_comes_back_and_nothing_stays() {
        let (folder, spool) = spool();
        let plain: Vec<u8> = b"canary-4711 ".iter().copied().cycle().take(3 * CHUNK + 7).collect();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, plain.len()] {
            let mut writer = spool.writer().unwrap();
            for piece in plain[..length].chunks(1000) {
                writer.push(piece).await.unwrap();
            }
            let kept = writer.finish().await.unwrap();
            assert_eq!((kept.length(), kept.read().await.unwrap()), (length, plain[..length].to_vec()));
            assert_eq!(kept.read().await.unwrap().len(), length, "again");
        }
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0, "no file has a name");
        assert_eq!(spool.disk.available_permits(), DISK / KIB, "the room is back");
    }

    #[tokio::test]
    async fn what_is_on_the_disk_is_sealed_and_bound_to_its_place() {
        let (_folder, spool) = spool();
        let kept = spool.keep(&b"canary-4711 ".repeat(20_000)).await.unwrap();
        let mut raw = Vec::new();
        {
            let mut open = kept.0.open.lock().unwrap();
            open.file.seek(SeekFrom::Start(0)).unwrap();
            open.file.read_to_end(&mut raw).unwrap();
            // Two chunks change places.
            open.file.seek(SeekFrom::Start(0)).unwrap();
            let size = SEALED_CHUNK as usize;
            let swapped = [&raw[size..2 * size], &raw[..size]].concat();
            open.file.write_all(&swapped).unwrap();
        }
        assert!(!raw.windows(6).any(|window| window == b"canary"));
        assert_eq!(kept.read().await, Err(SpoolError::Seal(SealError::Opened)));
    }

    #[tokio::test(start_paused = true)]
    async fn disk_and_memory_are_bounded() {
        let (_folder, spool) = spool();
        let all = Arc::clone(&spool.disk).try_acquire_many_owned(u32::try_from(DISK / KIB - 100).unwrap()).unwrap();
        assert_eq!(spool.keep(&vec![0; 200 * KIB]).await.unwrap_err(), SpoolError::Crowded);
        assert_eq!(spool.disk.available_permits(), 100, "what a failed writer took is back");
        drop(all);
        let first = spool.turn(50 * 1024 * KIB).await.unwrap();
        assert_eq!(spool.turn(50 * 1024 * KIB).await.unwrap_err(), SpoolError::Crowded, "one of that size at a time");
        drop(first);
        let huge = spool.turn(usize::MAX).await.unwrap();
        drop(huge);
        spool.turn(50 * 1024 * KIB).await.unwrap();
    }

    #[test]
    fn what_an_earlier_engine_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("spool")).unwrap();
        std::fs::write(folder.path().join("spool/left"), b"x").unwrap();
        let home = Home::take(folder.path()).unwrap();
        Spool::open(&home).unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
    }
}
