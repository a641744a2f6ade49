//! A Debian package of both programs.

use std::process::Command;

use crate::process::{Outcome, run};
use crate::programs::build_ui;
use crate::tree::{Tree, cargo};

/// Builds it with Tauri's own bundler.
pub fn dist(tree: &Tree) -> Outcome {
    build_ui(tree)?;
    run(cargo().args(["build", "--release", "-p", "latch"]).current_dir(tree.root()))?;
    run(Command::new(tree.peers().join("node_modules/.bin/tauri"))
        .args(["build", "--bundles", "deb"])
        .current_dir(tree.root()))
}
