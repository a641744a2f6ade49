//! What a clone needs done: `cargo xtask --help`.

mod bench;
mod bindings;
mod counts;
mod dist;
mod fuzz;
mod process;
mod programs;
mod setup;
mod suites;
mod tree;

use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

use process::{Outcome, run};
use setup::{Consent, Extent, setup};
use suites::Selection;
use tree::Tree;

#[derive(Parser)]
#[command(about = "Latchstring's own chores", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what building and testing need, where it is missing
    Setup {
        /// Install system packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// Set up, build, and start the tray app
    Run {
        /// Install system packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// Live through the inbox incident in a made-up mailbox
    Demo {
        /// Handed to `latch demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Set up, build, and run every test
    Test {
        /// Only these suites
        suites: Vec<String>,
        /// Also what takes long to compile: the release bundle, himalaya
        #[arg(long)]
        all: bool,
        /// Install system packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// What the CI runs
    Ci,
    /// Generate the windows' TypeScript types
    Bindings,
    /// Measure beside nginx, haproxy, mitmproxy and the bare libraries
    Bench {
        /// Only these parts: http, tls, body, imap, pieces, stop, journal, idle, preview
        parts: Vec<String>,
        /// Put the table into the README
        #[arg(long)]
        write: bool,
        /// Install system packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// Throw bytes at a parser, led by coverage; what breaks it is kept in target/fuzz
    Fuzz {
        /// imap-agent, imap-server, smtp or sieve; none: each in turn
        target: Option<String>,
        /// For how long each
        #[arg(long, default_value_t = 300)]
        seconds: u32,
    },
    /// Build a Debian package
    Dist {
        /// Install system packages without asking
        #[arg(long)]
        yes: bool,
    },
}

fn main() -> ExitCode {
    match Tree::find().and_then(|tree| perform(&tree, Arguments::parse().chore)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if !why.is_empty() {
                eprintln!("xtask: {why}");
            }
            ExitCode::FAILURE
        }
    }
}

fn perform(tree: &Tree, chore: Chore) -> Outcome {
    match chore {
        Chore::Setup { yes } => setup(tree, Extent::Tests, consent(yes)),
        Chore::Run { yes } => {
            setup(tree, Extent::Build, consent(yes))?;
            run(programs::outside_cargo(&mut Command::new(programs::build(tree)?)))
        }
        Chore::Demo { arguments } => {
            let latch = programs::build_latch(tree)?;
            run(programs::outside_cargo(Command::new(latch).arg("demo").args(arguments)))
        }
        Chore::Test { suites, all, yes } => suites::test(tree, &Selection { names: suites, all }, consent(yes)),
        Chore::Ci => suites::test(tree, &Selection { names: Vec::new(), all: false }, Consent::Given),
        Chore::Bindings => bindings::write(tree),
        Chore::Bench { parts, write, yes } => {
            setup(tree, Extent::Benches, consent(yes))?;
            bench::bench(tree, &bench::Selection { parts, write })
        }
        Chore::Fuzz { target, seconds } => fuzz::fuzz(tree, target.as_deref(), seconds),
        Chore::Dist { yes } => {
            setup(tree, Extent::Tests, consent(yes))?;
            dist::dist(tree)
        }
    }
}

fn consent(yes: bool) -> Consent {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    if yes || in_ci { Consent::Given } else { Consent::Ask }
}
