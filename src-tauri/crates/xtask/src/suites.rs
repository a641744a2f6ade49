//! `cargo xtask test`: every suite in turn, each counted, all of them even when one fails.

use std::path::PathBuf;
use std::process::Command;

use crate::counts::{Counts, Runner};
use crate::process::{Outcome, succeeds, watch};
use crate::programs::{Programs, build_for_tests};
use crate::setup::{Consent, Extent, himalaya, setup};
use crate::tree::{Tree, cargo};
use crate::{bindings, dist};

/// The integration tests that must exist; others that are found run too.
const REQUIRED: &[&str] = &["tidy", "compile_fail", "fuzz", "model", "e2e", "desktop"];

/// Integration tests whose peers take minutes to compile: run with `--all` or by name.
const SLOW: &[&str] = &["himalaya"];

/// What to test.
pub struct Selection {
    /// Suites by name; none: all of them.
    pub names: Vec<String>,
    /// Also what takes long to compile: the release bundle, himalaya.
    pub all: bool,
}

/// Sets up, builds, runs the suites, prints the counts. An error if anything failed.
pub fn test(tree: &Tree, selection: &Selection, consent: Consent) -> Outcome {
    setup(tree, Extent::Tests, consent)?;
    let slow = selection.all || selection.names.iter().any(|name| SLOW.contains(&name.as_str()));
    let himalaya = if slow { himalaya(tree)? } else { Vec::new() };
    let programs = build_for_tests(tree)?;
    let suites = Suites { tree, programs, himalaya, nextest: succeeds(cargo().args(["nextest", "--version"])) };
    let mut counts = Vec::new();
    for name in suites.names(selection) {
        if selection.names.is_empty() || selection.names.contains(&name) {
            println!("\n== {name}");
            let counted = suites.run(&name).unwrap_or_else(|why| {
                eprintln!("{name}: {why}");
                Counts::failure()
            });
            counts.push((name, counted));
        }
    }
    summary(&counts)
}

struct Suites<'a> {
    tree: &'a Tree,
    programs: Programs,
    himalaya: Vec<(&'static str, PathBuf)>,
    nextest: bool,
}

impl Suites<'_> {
    fn names(&self, selection: &Selection) -> Vec<String> {
        let mut names: Vec<String> =
            ["fmt", "clippy", "deny", "ui", "unit", "bindings", "doc"].map(str::to_owned).into();
        names.extend(REQUIRED.iter().map(|name| (*name).to_owned()));
        for found in self.tree.test_targets() {
            let wanted = selection.all || !SLOW.contains(&found) || selection.names.iter().any(|name| name == found);
            if wanted && !names.iter().any(|name| name == found) {
                names.push(found.to_owned());
            }
        }
        if selection.all {
            names.push("dist".to_owned());
        }
        names
    }

    fn run(&self, name: &str) -> Outcome<Counts> {
        match name {
            "fmt" => self.check(cargo().args(["fmt", "--all", "--check"])),
            "clippy" => {
                self.check(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
            }
            "deny" => self.deny(),
            "ui" => self.count(Runner::Vitest, Command::new("npm").arg("test").current_dir(self.tree.ui())),
            "unit" => self.cargo_test(&["--lib", "--bins"]),
            "doc" => self
                .count(Runner::Libtest, cargo().args(["test", "--workspace", "--doc"]).current_dir(self.tree.root())),
            "bindings" => bindings::check(self.tree).map(|()| Counts::success()),
            "dist" => dist::dist(self.tree).map(|()| Counts::success()),
            target => self.cargo_test(&["--test", target]),
        }
    }

    fn check(&self, command: &mut Command) -> Outcome<Counts> {
        let (succeeded, _) = watch(command.current_dir(self.tree.root()))?;
        Ok(if succeeded { Counts::success() } else { Counts::failure() })
    }

    /// Licences, sources and bans: what can be checked without a network. Crates for other platforms are looked at too, so they must be there.
    fn deny(&self) -> Outcome<Counts> {
        crate::process::run(cargo().args(["fetch", "--locked"]).current_dir(self.tree.root()))?;
        self.check(
            Command::new(self.tree.tools().join("bin/cargo-deny"))
                .args(["--config", ".deny.toml", "--all-features", "--offline", "check"])
                .args(["bans", "licenses", "sources"]),
        )
    }

    fn cargo_test(&self, targets: &[&str]) -> Outcome<Counts> {
        let mut command = cargo();
        let runner = if self.nextest {
            command.args(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"]);
            Runner::Nextest
        } else {
            command.args(["test", "--no-fail-fast"]);
            Runner::Libtest
        };
        command.arg("--workspace").args(targets).current_dir(self.tree.root());
        command.env("LATCH_BIN", &self.programs.latch);
        command.env("LATCH_FAILPOINTS_BIN", &self.programs.latch_failpoints);
        command.env("LATCHSTRING_BIN", &self.programs.tray);
        command.env("LATCHSTRING_E2E_BIN", &self.programs.tray_e2e);
        command.env("LATCH_PYTHON", self.tree.venv().join("bin/python"));
        command.env("LATCH_EMULATOR", self.tree.peers().join("node_modules/emulate/dist/api.js"));
        command.envs(self.himalaya.iter().map(|(variable, program)| (variable, program)));
        // One desktop, one pair of hands.
        if targets.contains(&"desktop") {
            command.args(if self.nextest { &["--test-threads", "1"][..] } else { &["--", "--test-threads=1"] });
        }
        self.count(runner, &mut command)
    }

    fn count(&self, runner: Runner, command: &mut Command) -> Outcome<Counts> {
        let (succeeded, text) = watch(command)?;
        Ok(Counts::read(runner, &text, succeeded))
    }
}

fn summary(counts: &[(String, Counts)]) -> Outcome {
    println!("\n{:<14} {:>7} {:>7}", "suite", "passed", "failed");
    let mut total = Counts::default();
    for (name, counted) in counts {
        println!("{name:<14} {:>7} {:>7}", counted.passed, counted.failed);
        total = total.and(counted);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { Ok(()) } else { Err(String::new()) }
}
