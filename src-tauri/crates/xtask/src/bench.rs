//! `cargo xtask bench`: Latchstring beside nginx, haproxy, mitmproxy and the bare libraries, in one run.

use crate::process::{Outcome, run, watch};
use crate::tree::{Tree, cargo};

/// Between these lines of the README stands what was measured last.
const BEGIN: &str = "<!-- what `cargo xtask bench --write` measured -->";
const END: &str = "<!-- until here -->";

/// What to measure.
pub struct Selection {
    /// Parts by name; none: all of them.
    pub parts: Vec<String>,
    /// Whether the table goes into the README.
    pub write: bool,
}

/// Builds for release, measures, prints the table.
pub fn bench(tree: &Tree, selection: &Selection) -> Outcome {
    if selection.write && !selection.parts.is_empty() {
        return Err("the README holds the whole table: --write measures every part, so name none".to_owned());
    }
    run(cargo().args(["build", "--release", "-p", "latch"]).current_dir(tree.root()))?;
    let mut command = cargo();
    command
        .args(["bench", "--quiet", "-p", "latch-tests", "--bench", "bench", "--"])
        .args(&selection.parts)
        .env("LATCH_BIN", tree.target().join("release/latch"))
        .env("LATCH_MITMDUMP", tree.bench_venv().join("bin/mitmdump"))
        .current_dir(tree.root());
    let (succeeded, text) = watch(&mut command)?;
    if !succeeded {
        return Err("not everything could be measured".to_owned());
    }
    if selection.write { write(tree, &text) } else { Ok(()) }
}

fn write(tree: &Tree, printed: &str) -> Outcome {
    let path = tree.root().join("README.md");
    let readme = std::fs::read_to_string(&path).map_err(|error| format!("README.md can't be read: {error}"))?;
    let lost = || "README.md has lost the lines between which the measured table stands".to_owned();
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(lost)?;
    let (_, after) = rest.split_once(END).ok_or_else(lost)?;
    let measured = printed.find("Measured on ").and_then(|at| printed.get(at..));
    let measured = measured.ok_or_else(|| "no table was printed".to_owned())?.lines();
    let measured: Vec<&str> = measured.take_while(|line| line.is_empty() || !line.starts_with('$')).collect();
    let text = format!("{before}{BEGIN}\n{}\n\n{END}{after}", measured.join("\n").trim_end());
    std::fs::write(&path, text).map_err(|error| format!("README.md can't be written: {error}"))?;
    println!("Written to README.md.");
    Ok(())
}
