//! Running other programs so that a person can follow it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// How long a program's output is waited for after it has ended.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// Why a step did not work, in a sentence.
pub type Outcome<T = ()> = Result<T, String>;

/// Says the command, runs it with our own terminal, and fails with what was run.
pub fn run(command: &mut Command) -> Outcome {
    println!("$ {}", line(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{}` ended with {status}", line(command))),
        Err(error) => Err(cannot_start(command, &error)),
    }
}

/// Runs quietly; true if it succeeded.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs quietly and returns what it printed.
pub fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_start(command, &error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "`{}` ended with {}: {}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }
}

/// Says the command, shows what it prints while it runs, and returns that text with whether it succeeded.
pub fn watch(command: &mut Command) -> Outcome<(bool, String)> {
    println!("$ {}", line(command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;
    let text = Arc::new(Mutex::new(String::new()));
    let (done, both) = mpsc::channel::<()>();
    if let Some(stream) = child.stdout.take() {
        echo(stream, std::io::stdout(), &text, done.clone());
    }
    if let Some(stream) = child.stderr.take() {
        echo(stream, std::io::stderr(), &text, done.clone());
    }
    drop(done);
    let status = child.wait().map_err(|error| format!("`{}`: {error}", line(command)))?;
    // A process that it left behind may hold its streams open for ever.
    let _ = both.recv_timeout(LEFT_BEHIND);
    let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((status.success(), text))
}

/// Passes lines on and keeps them, until the stream ends; then `done` is dropped.
fn echo(
    stream: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    text: &Arc<Mutex<String>>,
    done: mpsc::Sender<()>,
) {
    let text = Arc::clone(text);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let _ = to.write_all(&bytes);
            text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
        drop(done);
    });
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` can't be started: {error}", command.get_program().to_string_lossy())
}
