//! A Debian package of both programs.

use std::process::Command;

use crate::process::{Outcome, run};
use crate::programs::build_ui;
use crate::tree::{Tree, cargo};

/// Tauri's bundler from npm. It is no test peer: its lock file names a package for each platform, and not every registry has them all.
const BUNDLER: &str = "@tauri-apps/cli@2.12.5";

/// Builds it with Tauri's own bundler.
pub fn dist(tree: &Tree) -> Outcome {
    build_ui(tree)?;
    run(cargo().args(["build", "--release", "-p", "latch"]).current_dir(tree.root()))?;
    let bundler = tree.root().join("target/bundler");
    run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&bundler).arg(BUNDLER))?;
    run(Command::new(bundler.join("node_modules/.bin/tauri"))
        .args(["build", "--bundles", "deb"])
        .current_dir(tree.root()))
}
