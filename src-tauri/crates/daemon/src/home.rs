//! The home folder: everything that an engine keeps, for one engine at a time.
//!
//! ```text
//!   home/ 0700   lock  pid  latchstring.db(-wal,-shm)  vault.json  anchor  panic.flag  reserve  quarantine.db  spool/
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A home folder that this process alone may use; the lock lasts as long as any clone.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    _lock: Arc<File>,
}

/// Why a home folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another engine has it.
    #[error("another Latchstring engine (process {pid}) already uses {}; stop it first, or give this one another --home", home.display())]
    Taken {
        /// The folder.
        home: PathBuf,
        /// The other engine's process id, `unknown` if it did not say.
        pid: String,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to another user; use a folder of your own", home.display())]
    Foreign {
        /// The folder.
        home: PathBuf,
    },
    /// The operating system said no.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Nowhere to put it.
    #[error("no data folder is known for this user: set LATCHSTRING_HOME or give --home")]
    Unknown,
}

impl Home {
    /// Makes the folder if needed, keeps others out, and takes its lock.
    pub fn take(path: &Path) -> Result<Self, HomeError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| HomeError::Io { path, error }
        };
        std::fs::create_dir_all(path).map_err(failed(path))?;
        let path = path.canonicalize().map_err(failed(path))?;
        keep_private(&path)?;
        let lock_path = path.join("lock");
        let lock = private_file(&lock_path).map_err(failed(&lock_path))?;
        let pid_path = path.join("pid");
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&pid_path).unwrap_or_default();
                let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() }.to_owned();
                return Err(HomeError::Taken { home: path, pid });
            }
            Err(TryLockError::Error(error)) => return Err(HomeError::Io { path: lock_path, error }),
        }
        // A full disk must not keep the engine from starting and saying so: the number is for the other's error text only.
        let _ = write_private(&pid_path, std::process::id().to_string().as_bytes());
        Ok(Self { path, _lock: Arc::new(lock) })
    }

    /// The folder, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder inside.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("latchstring.db")
    }
}

/// The platform's data folder for this user.
pub fn default_path() -> Result<PathBuf, HomeError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        // XDG base directories: a relative path must be ignored.
        variable("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("latchstring")).ok_or(HomeError::Unknown)
}

/// Opens or makes a file that only this user can read.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Replaces a file's content as a whole: a crash leaves the old or the new.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = private_file(&beside)?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_folder(path)
}

/// Reads a small file whole; `None` if there is none.
pub(crate) fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const LIMIT: u64 = 64 * 1024;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(LIMIT).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Makes names created or removed beside this file durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

#[cfg(unix)]
fn keep_private(path: &Path) -> Result<(), HomeError> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let failed = |error| HomeError::Io { path: path.to_owned(), error };
    let metadata = path.metadata().map_err(failed)?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(HomeError::Foreign { home: path.to_owned() });
    }
    if metadata.mode() & 0o777 != 0o700 {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_path: &Path) -> Result<(), HomeError> {
    Ok(())
}
