//! Programs of others, run to their end.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs it away from the person's own settings.
pub async fn run(command: &mut Command) -> Output {
    fed(command, "").await
}

/// The same with this to read.
pub async fn fed(command: &mut Command, input: &str) -> Output {
    command.kill_on_drop(true).env("HOME", std::env::temp_dir());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed: run `cargo xtask setup`");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(90), child.wait_with_output());
    output.await.expect("it ends").expect("it ran")
}

/// All that it said.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
