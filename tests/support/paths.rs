//! Where programs and peers are. `cargo xtask test` says it; by hand, the workspace's own target folder is taken.

use std::path::{Path, PathBuf};

/// The top of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the workspace").to_owned()
}

/// `latch` as it ships.
#[must_use]
pub fn latch() -> PathBuf {
    present("LATCH_BIN", "target/debug/latch", "cargo build -p latch")
}

/// `latch` that can be told to die at a failpoint.
#[must_use]
pub fn latch_failpoints() -> PathBuf {
    present("LATCH_FAILPOINTS_BIN", "target/programs/tests/latch", "cargo xtask test e2e")
}

/// The agents' Python.
#[must_use]
pub fn python() -> PathBuf {
    present("LATCH_PYTHON", "target/venv/bin/python", "cargo xtask setup")
}

/// The emulator's module.
#[must_use]
pub fn emulator() -> PathBuf {
    present("LATCH_EMULATOR", "target/peers/node_modules/emulate/dist/api.js", "cargo xtask setup")
}

/// himalaya, the mail program.
#[must_use]
pub fn himalaya() -> PathBuf {
    present("LATCH_HIMALAYA", "target/tools/bin/himalaya", "cargo xtask test himalaya")
}

/// The same as it was up to 1.x.
#[must_use]
pub fn himalaya_1() -> PathBuf {
    present("LATCH_HIMALAYA_1", "target/tools/himalaya-1/bin/himalaya", "cargo xtask test himalaya")
}

/// A file of tests/support.
#[must_use]
pub fn support(file: &str) -> PathBuf {
    workspace().join("tests/support").join(file)
}

fn present(variable: &str, below: &str, how: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| workspace().join(below), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `{how}` first, or set {variable}", path.display());
    path
}
