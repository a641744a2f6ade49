//! A Debian package of both programs.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{Outcome, output, run};
use crate::programs::build_ui;
use crate::tree::{Tree, cargo};

/// Tauri's bundler from npm. It is no test peer: its lock file names a package for each platform, and not every registry has them all.
const BUNDLER: &str = "@tauri-apps/cli@2.12.5";

/// What must be in the package.
const CONTENTS: &[&str] = &[
    "./usr/bin/latchstring",
    "./usr/bin/latch",
    "./usr/share/applications/Latchstring.desktop",
    "./etc/xdg/autostart/latchstring.desktop",
    "./usr/share/bash-completion/completions/latch",
    "./usr/share/doc/latchstring/copyright",
];

/// Builds it with Tauri's own bundler, and looks into it.
pub fn dist(tree: &Tree) -> Outcome {
    build_ui(tree)?;
    run(cargo().args(["build", "--release", "-p", "latch"]).current_dir(tree.root()))?;
    completions(tree)?;
    let bundler = tree.target().join("bundler");
    run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&bundler).arg(BUNDLER))?;
    let bundles = tree.target().join("release/bundle/deb");
    // An older one would be taken for the new one.
    let _ = std::fs::remove_dir_all(&bundles);
    run(Command::new(bundler.join("node_modules/.bin/tauri"))
        .args(["build", "--bundles", "deb"])
        .current_dir(tree.root()))?;
    let package = package(&bundles)?;
    let listed = output(Command::new("dpkg-deb").arg("--contents").arg(&package))?;
    let has = |path: &str| listed.lines().any(|line| line.split_whitespace().any(|word| word == path));
    let missing: Vec<&str> =
        CONTENTS.iter().copied().filter(|path| !has(path) && !has(path.trim_start_matches("./"))).collect();
    if !missing.is_empty() {
        return Err(format!("{} lacks {}", package.display(), missing.join(", ")));
    }
    println!("Install it with: apt install {}", package.display());
    Ok(())
}

fn completions(tree: &Tree) -> Outcome {
    let folder = tree.target().join("package");
    let text = output(Command::new(tree.target().join("release/latch")).args(["completions", "bash"]))?;
    std::fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    let path = folder.join("latch.bash");
    std::fs::write(&path, text).map_err(|error| format!("{} can't be written: {error}", path.display()))
}

fn package(folder: &std::path::Path) -> Outcome<PathBuf> {
    let unreadable = |error: std::io::Error| format!("{} can't be read: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| format!("the bundler made no package in {}", folder.display()))
}
