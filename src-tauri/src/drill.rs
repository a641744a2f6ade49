//! The first run's drill: `latch demo`, which touches no account, in a terminal window.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why the drill did not start, and what to do instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrillError {
    #[error("The program latch is not beside latchstring: {0}")]
    Missing(std::io::Error),
    #[error("No terminal window could be opened. Type this in a terminal: {0} demo")]
    NoTerminal(String),
}

/// Terminals and what stands before the program to run.
const TERMINALS: &[(&str, &[&str])] = &[
    ("x-terminal-emulator", &["-e"]),
    ("gnome-terminal", &["--"]),
    ("kgx", &["-e"]),
    ("konsole", &["-e"]),
    ("xfce4-terminal", &["-x"]),
    ("foot", &[]),
    ("kitty", &[]),
    ("alacritty", &["-e"]),
    ("xterm", &["-e"]),
];

/// Opens a terminal window with the drill in it.
pub(crate) fn start() -> Result<(), DrillError> {
    let latch = std::env::current_exe()
        .map(|program| program.with_file_name(format!("latch{}", std::env::consts::EXE_SUFFIX)))
        .map_err(DrillError::Missing)?;
    if let Err(error) = latch.metadata() {
        return Err(DrillError::Missing(error));
    }
    if cfg!(windows) {
        return Command::new(&latch).arg("demo").spawn().map(drop).map_err(DrillError::Missing);
    }
    for (terminal, before) in TERMINALS {
        let started = Command::new(terminal)
            .args(*before)
            .arg(&latch)
            .arg("demo")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if let Ok(mut child) = started {
            std::thread::spawn(move || child.wait());
            return Ok(());
        }
    }
    Err(DrillError::NoTerminal(PathBuf::from(&latch).display().to_string()))
}
