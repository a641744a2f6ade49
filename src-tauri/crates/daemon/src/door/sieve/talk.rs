//! What a client says, framed before it is parsed, and what it is told.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use latch_core::classify::imap::token::{Piece, announced};
use latch_core::classify::sieve::MAX_SCRIPT;
use latch_core::classify::sieve::response::Response;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::net::CutStream;

/// The longest line; a quoted string has 1024 bytes at most (RFC 5804 section 4).
const MAX_LINE: usize = 16 * 1024;
/// The longest command with its literals.
const MAX_COMMAND: usize = MAX_SCRIPT + MAX_LINE;
/// What is read away of literals that are too long; beyond it the connection ends.
const MAX_SKIPPED: usize = 16 * 1024 * 1024;
/// What is read ahead while a command is decided.
const AHEAD: usize = 64 * 1024;
/// How long a client may take to take an answer.
const TAKING: Duration = Duration::from_secs(60);

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// A whole command, or the answer to a question.
    Command(Vec<Piece>),
    /// What can't be one, and what is said of it.
    Unfit(Response),
    /// Nothing, for too long.
    Silence,
    /// The client hung up.
    End,
}

/// A connection, and what was read ahead of it.
pub struct Talk<S = CutStream> {
    stream: S,
    buffer: BytesMut,
    /// Whoever is not logged in by then is let go, whatever they say meanwhile.
    login_by: Option<Instant>,
}

/// Why nothing whole came.
enum Gap {
    Unfit(Response),
    Silence,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Whoever is on it logs in by then.
    pub fn new(stream: S, login_by: Instant) -> Self {
        Self { stream, buffer: BytesMut::new(), login_by: Some(login_by) }
    }

    /// From here on longer commands are taken.
    pub fn logged_in(&mut self) {
        self.login_by = None;
    }

    pub(super) async fn say(&mut self, response: &Response) -> io::Result<()> {
        self.write(response.wire()).await
    }

    /// An empty question.
    pub(super) async fn ask(&mut self) -> io::Result<()> {
        self.write(b"\"\"\r\n").await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.login_by.unwrap_or_else(|| Instant::now() + TAKING);
        let said = tokio::time::timeout_at(end, self.stream.write_all(bytes)).await;
        said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The next command.
    pub async fn hear(&mut self, patience: Duration) -> io::Result<Heard> {
        Ok(match self.whole(patience).await? {
            Ok(pieces) => Heard::Command(pieces),
            Err(Gap::Unfit(response)) => Heard::Unfit(response),
            Err(Gap::Silence) => Heard::Silence,
            Err(Gap::End) => Heard::End,
        })
    }

    async fn whole(&mut self, patience: Duration) -> io::Result<Result<Vec<Piece>, Gap>> {
        let lost = |text: &str| Ok(Err(Gap::Unfit(Response::bye("", text))));
        let (most, skippable) = if self.login_by.is_some() { (MAX_LINE, 0) } else { (MAX_COMMAND, MAX_SKIPPED) };
        let (mut pieces, mut room, mut skipped) = (Vec::new(), most, 0_usize);
        loop {
            let line = match self.line(patience).await? {
                Ok(line) => line,
                Err(gap) => return Ok(Err(gap)),
            };
            // Each piece takes some memory of its own.
            let cost = line.len() + size_of::<Piece>();
            let Some(literal) = announced(&line) else {
                if skipped > 0 || cost > room {
                    let text = format!("A script may have {} KiB at most", MAX_SCRIPT / 1024);
                    return Ok(Err(Gap::Unfit(Response::no("QUOTA/MAXSIZE", &text))));
                }
                pieces.push(Piece::Text(line));
                return Ok(Ok(pieces));
            };
            if literal.waits || literal.binary {
                return lost("A literal is announced as {n+} here; where this command ends is not known");
            }
            let size = usize::try_from(literal.size).unwrap_or(usize::MAX);
            let fits = skipped == 0 && cost.checked_add(size).is_some_and(|needed| needed <= room);
            if !fits {
                skipped = skipped.saturating_add(size).saturating_add(cost);
                if skipped > skippable {
                    return lost("This is far too long");
                }
                pieces.clear();
            }
            let bytes = match self.literal(size, fits, patience).await? {
                Ok(bytes) => bytes,
                Err(gap) => return Ok(Err(gap)),
            };
            if fits {
                room -= cost + size;
                pieces.push(Piece::Text(line.get(..literal.at).unwrap_or_default().to_vec()));
                pieces.push(Piece::Literal(bytes));
            }
        }
    }

    /// A line without its CRLF. A bare LF ends none: taking it for one would let two readers see different commands.
    async fn line(&mut self, patience: Duration) -> io::Result<Result<Vec<u8>, Gap>> {
        let unfit = |text: &str| Ok(Err(Gap::Unfit(Response::bye("", text))));
        loop {
            match self.buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) if end <= MAX_LINE => {
                    let line = self.buffer.split_to(end + 1);
                    return match line.strip_suffix(b"\r\n") {
                        Some(text) if !text.contains(&b'\r') => Ok(Ok(text.to_vec())),
                        _ => unfit("A line ends with CRLF; where this one ends is not known"),
                    };
                }
                None if self.buffer.len() <= MAX_LINE => {}
                Some(_) | None => return unfit("This line is too long"),
            }
            if let Some(gap) = self.more(patience).await? {
                return Ok(Err(gap));
            }
        }
    }

    async fn literal(&mut self, size: usize, keep: bool, patience: Duration) -> io::Result<Result<Vec<u8>, Gap>> {
        let mut bytes = Vec::new();
        let mut left = size;
        while left > 0 {
            let part = self.buffer.split_to(left.min(self.buffer.len()));
            left -= part.len();
            if keep {
                bytes.extend_from_slice(&part);
            }
            if left > 0
                && let Some(gap) = self.more(patience).await?
            {
                return Ok(Err(gap));
            }
        }
        Ok(Ok(bytes))
    }

    async fn more(&mut self, patience: Duration) -> io::Result<Option<Gap>> {
        let quiet = Instant::now() + patience;
        let end = self.login_by.map_or(quiet, |login_by| login_by.min(quiet));
        match tokio::time::timeout_at(end, self.stream.read_buf(&mut self.buffer)).await {
            Ok(read) => Ok((read? == 0).then_some(Gap::End)),
            Err(_) => Ok(Some(Gap::Silence)),
        }
    }

    /// Ends when the client does. What it says meanwhile is kept, up to a limit.
    pub(super) async fn left(&mut self) -> io::Result<()> {
        while self.buffer.len() < AHEAD {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(());
            }
        }
        std::future::pending().await
    }
}
