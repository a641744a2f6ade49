//! `cargo xtask fuzz`: the targets of `tests/fuzz` under libFuzzer. Any Rust will do: what libFuzzer needs to see is a pass of LLVM's own.

use std::path::{Path, PathBuf};

use crate::process::{Outcome, output, run};
use crate::tree::{Tree, cargo};

/// What cargo-fuzz compiles with, too.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// No input is longer, in bytes: what breaks a parser is short.
const LONGEST: u32 = 4096;
/// One input may take so many seconds.
const SLOWEST: u32 = 10;

/// Builds, and runs one target or each in turn.
pub fn fuzz(tree: &Tree, target: Option<&str>, seconds: u32) -> Outcome {
    let known = targets(tree)?;
    if let Some(unknown) = target.filter(|target| !known.iter().any(|one| one == target)) {
        return Err(format!("there is no target {unknown}: the targets are {}", known.join(", ")));
    }
    let program = build(tree)?;
    for name in known.iter().filter(|name| target.is_none_or(|target| target == name.as_str())) {
        one(tree, &program, name, seconds)?;
    }
    Ok(())
}

/// Each has a corpus.
fn targets(tree: &Tree) -> Outcome<Vec<String>> {
    let folder = tree.root().join("tests/fuzz/corpus");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("{} can't be read: {error}", folder.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn build(tree: &Tree) -> Outcome<PathBuf> {
    let said = output(std::process::Command::new("rustc").arg("-vV").current_dir(tree.root()))?;
    let host =
        said.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not say what it builds for")?;
    let folder = tree.target().join("fuzz");
    // With a target of its own, build scripts and macros are compiled without the flags.
    run(cargo()
        .args(["build", "--profile", "fuzz", "-p", "latch-tests", "--bin", "guided", "--features", "guided"])
        .args(["--target", host])
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &folder)
        .current_dir(tree.root()))?;
    Ok(folder.join(host).join("fuzz/guided"))
}

fn one(tree: &Tree, program: &Path, name: &str, seconds: u32) -> Outcome {
    let make = |folder: PathBuf| {
        std::fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
        Ok::<_, String>(folder)
    };
    let grown = make(tree.target().join("fuzz/corpus").join(name))?;
    let found = make(tree.target().join("fuzz/found"))?;
    run(std::process::Command::new(program)
        .arg(&grown)
        .arg(tree.path(&format!("tests/fuzz/corpus/{name}")))
        .arg(format!("-dict={}", tree.path(&format!("tests/fuzz/{name}.dict"))))
        .arg(format!("-artifact_prefix={}/{name}-", found.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-timeout={SLOWEST}"))
        .args(["-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"])
        .env("LATCH_FUZZ", name))
    .map_err(|why| format!("{why}: what broke it is in {}; cut it down, and put it into the corpus", found.display()))
}
