//! Programs run by an ordinary user. Root may do everything, so what root can't do says nothing.

use std::path::Path;
use std::process::Command;

/// The user as whom programs run when the test itself is root's.
const NOBODY: u32 = 65534;

/// What stands before a command so that an ordinary user runs it; nothing when the test itself is an ordinary user's.
#[must_use]
pub fn prefix() -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let closed = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"];
    ["setpriv".to_owned(), user, group].into_iter().chain(closed.map(str::to_owned)).collect()
}

/// The program as that user runs it.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut words = prefix();
    words.push(program.to_string_lossy().into_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// A folder of that user's with copies of these files in it.
#[must_use]
pub fn folder(files: &[&Path]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in files {
        std::fs::copy(file, folder.path().join(file.file_name().expect("a file"))).expect("a copy");
    }
    give(folder.path());
    folder
}

/// Gives a folder to that user.
pub fn give(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        rustix::fs::chown(folder, Some(rustix::fs::Uid::from_raw(NOBODY)), None).expect("root gives away what it has");
    }
}
