//! Latchstring without a window.

mod args;
mod demo;
mod engine;
mod exit;
mod harden;
mod home;
mod verb;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let json = args.json;
    match verb::run(args) {
        Ok(done) => done.into(),
        Err(failure) => {
            failure.tell(json);
            failure.exit.into()
        }
    }
}
