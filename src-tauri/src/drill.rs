//! The first run's drill: `latch demo`, which touches no account. It brings a tray and windows of its own, marked as the drill's.

use std::process::{Command, Stdio};

/// Starts it.
pub(crate) fn start() -> std::io::Result<()> {
    let latch = std::env::current_exe()?.with_file_name(format!("latch{}", std::env::consts::EXE_SUFFIX));
    let mut command = Command::new(latch);
    command.arg("demo").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if cfg!(feature = "e2e")
        && let Some(inspector) = std::env::var_os("LATCHSTRING_DRILL_INSPECTOR")
    {
        command.env("WEBKIT_INSPECTOR_SERVER", inspector);
    }
    let mut child = command.spawn()?;
    std::thread::spawn(move || child.wait());
    Ok(())
}
