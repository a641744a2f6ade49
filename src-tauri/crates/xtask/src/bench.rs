//! `cargo xtask bench`: Latchstring beside nginx, mitmproxy and the bare libraries, in one run.

use crate::process::{Outcome, run};
use crate::tree::{Tree, cargo};

/// Builds for release and measures.
pub fn bench(tree: &Tree) -> Outcome {
    run(cargo().args(["build", "--release", "-p", "latch"]).current_dir(tree.root()))?;
    run(cargo()
        .args(["bench", "-p", "latch-tests", "--bench", "bench"])
        .env("LATCH_BIN", tree.target().join("release/latch"))
        .env("LATCH_MITMDUMP", tree.bench_venv().join("bin/mitmdump"))
        .current_dir(tree.root()))
}
