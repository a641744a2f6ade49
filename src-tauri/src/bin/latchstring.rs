//! The tray program.

use std::process::ExitCode;

fn main() -> ExitCode {
    match latchstring::environment::clean() {
        Ok(removed) => latchstring::run(removed),
        Err(error) => {
            eprintln!("latchstring: {error}");
            ExitCode::FAILURE
        }
    }
}
