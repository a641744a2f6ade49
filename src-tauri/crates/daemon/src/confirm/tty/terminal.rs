//! The terminal itself: lines in, text out, and typing that does not show.

#[cfg(unix)]
use std::io::IsTerminal;
use std::io::Write;

use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// The longest line that a person may type, in bytes.
const MAX_LINE: usize = 16 * 1024;

/// A line as typed, without its end; wiped when dropped, because it may be a password.
pub type Line = Zeroizing<String>;

/// A person's terminal.
pub struct Terminal {
    lines: mpsc::UnboundedReceiver<Line>,
    out: Box<dyn Write + Send>,
    real: bool,
}

impl Terminal {
    /// This process's own terminal, if its input and output are one. A thread reads it from now on.
    #[cfg(unix)]
    #[must_use]
    pub fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return None;
        }
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || system::read_lines(&sender));
        Some(Self { lines, out: Box::new(std::io::stdout()), real: true })
    }

    /// The same, speaking where errors go: what a verb prints for programs stays apart.
    #[cfg(unix)]
    #[must_use]
    pub fn beside_output() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return None;
        }
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || system::read_lines(&sender));
        Some(Self { lines, out: Box::new(std::io::stderr()), real: true })
    }

    /// Elsewhere the tray asks.
    #[cfg(not(unix))]
    #[must_use]
    pub fn beside_output() -> Option<Self> {
        None
    }

    /// Elsewhere the tray asks.
    #[cfg(not(unix))]
    #[must_use]
    pub fn open() -> Option<Self> {
        None
    }

    /// A terminal made of a channel and a writer.
    #[must_use]
    pub fn from_parts(lines: mpsc::UnboundedReceiver<Line>, out: Box<dyn Write + Send>) -> Self {
        Self { lines, out, real: false }
    }

    /// The next line; `None` when the terminal is gone or the person typed end-of-file. Safe to cancel.
    pub async fn line(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// Forgets what was typed before it could be asked for, so that it can't answer a question that it has not seen.
    pub fn forget_typed(&mut self) {
        if self.real {
            system::forget_typed();
        }
        while self.lines.try_recv().is_ok() {}
    }

    /// Writes text as it is; what comes from outside goes through [`super::show::plain`] first.
    pub fn say(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    /// Asks for a line that does not show while it is typed.
    pub async fn hidden(&mut self, prompt: &str) -> Option<Line> {
        self.say(prompt);
        let quiet = self.real.then(system::Quiet::start).flatten();
        let line = self.lines.recv().await;
        drop(quiet);
        self.say("\n");
        line
    }

    /// Asks for a line.
    pub async fn ask(&mut self, prompt: &str) -> Option<String> {
        self.say(prompt);
        self.lines.recv().await.map(|line| line.trim().to_owned())
    }
}

#[cfg(unix)]
mod system {
    use rustix::termios::{self, LocalModes, OptionalActions, QueueSelector};
    use tokio::sync::mpsc;
    use zeroize::Zeroizing;

    use super::{Line, MAX_LINE};

    pub(super) fn forget_typed() {
        let _ = termios::tcflush(std::io::stdin(), QueueSelector::IFlush);
    }

    /// Echo is off while this lives.
    pub(super) struct Quiet(termios::Termios);

    impl Quiet {
        pub(super) fn start() -> Option<Self> {
            let before = termios::tcgetattr(std::io::stdin()).ok()?;
            let mut quiet = before.clone();
            quiet.local_modes.remove(LocalModes::ECHO);
            termios::tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).ok()?;
            Some(Self(before))
        }
    }

    impl Drop for Quiet {
        fn drop(&mut self) {
            let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
        }
    }

    /// Reads without std's buffer, which would keep a typed password.
    pub(super) fn read_lines(sender: &mpsc::UnboundedSender<Line>) {
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
        let mut chunk = Zeroizing::new([0_u8; 4096]);
        loop {
            let count = match rustix::io::read(std::io::stdin(), chunk.as_mut_slice()) {
                Ok(0) => return,
                Ok(count) => count,
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            for byte in chunk.iter().take(count) {
                if *byte == b'\n' {
                    let text = Zeroizing::new(String::from_utf8_lossy(&line).into_owned());
                    line.clear();
                    if sender.send(text).is_err() {
                        return;
                    }
                } else if line.len() < MAX_LINE {
                    line.push(*byte);
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    pub(super) fn forget_typed() {}

    pub(super) struct Quiet;

    impl Quiet {
        pub(super) fn start() -> Option<Self> {
            None
        }
    }
}
