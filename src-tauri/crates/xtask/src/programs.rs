//! Builds the windows and the programs.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{Outcome, run};
use crate::tree::{Tree, cargo};

/// The programs as the tests get them.
pub struct Programs {
    /// `latch` as it ships.
    pub latch: PathBuf,
    /// `latch` that can be told to die at a failpoint.
    pub latch_failpoints: PathBuf,
    /// The tray as it ships.
    pub tray: PathBuf,
    /// The tray that WebDriver may attach to.
    pub tray_e2e: PathBuf,
}

/// Builds the windows' page; the tray embeds it when it is compiled.
pub fn build_ui(tree: &Tree) -> Outcome {
    run(Command::new("npm").args(["run", "build"]).current_dir(tree.ui()))
}

/// Builds `latch` and the tray for use. Returns the tray.
pub fn build(tree: &Tree) -> Outcome<PathBuf> {
    build_ui(tree)?;
    run(cargo().args(["build", "--bins", "-p", "latch", "-p", "latchstring"]).current_dir(tree.root()))?;
    Ok(tree.target().join("debug").join("latchstring"))
}

/// Builds `latch` for use. Returns it.
pub fn build_latch(tree: &Tree) -> Outcome<PathBuf> {
    run(cargo().args(["build", "--quiet", "--bins", "-p", "latch"]).current_dir(tree.root()))?;
    Ok(tree.target().join("debug").join("latch"))
}

/// Without what `cargo run` adds for its own sake: the tray takes loader variables out and warns about whoever set them.
pub fn outside_cargo(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") || ["LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
}

/// Builds both programs twice: as they ship, and with what only tests may do.
pub fn build_for_tests(tree: &Tree) -> Outcome<Programs> {
    build_ui(tree)?;
    let build = |features: &[String]| {
        let mut command = cargo();
        command.args(["build", "--workspace", "--bins"]).current_dir(tree.root());
        if !features.is_empty() {
            command.arg("--features").arg(features.join(","));
        }
        run(&mut command)
    };
    build(&[])?;
    let (latch, tray) = (keep(tree, "latch", "plain")?, keep(tree, "latchstring", "plain")?);
    let features = [("latch-daemon", "failpoints"), ("latchstring", "e2e")];
    let features = features.iter().filter(|(package, feature)| tree.has_feature(package, feature));
    build(&features.map(|(package, feature)| format!("{package}/{feature}")).collect::<Vec<_>>())?;
    let (latch_failpoints, tray_e2e) = (keep(tree, "latch", "tests")?, keep(tree, "latchstring", "tests")?);
    Ok(Programs { latch, latch_failpoints, tray, tray_e2e })
}

/// Copies a built program to where the next build does not overwrite it. The tray looks for `latch` beside itself.
fn keep(tree: &Tree, name: &str, variant: &str) -> Outcome<PathBuf> {
    let folder = tree.target().join("programs").join(variant);
    let (from, to) = (tree.target().join("debug").join(name), folder.join(name));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    // A program that is running can be unlinked, not overwritten.
    let _ = std::fs::remove_file(&to);
    std::fs::copy(&from, &to).map_err(|error| format!("{} can't be copied: {error}", from.display()))?;
    Ok(to)
}
