//! What a client says, framed before it is parsed, and what it is told.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use latch_core::classify::imap::command::{self, Command, Refused};
use latch_core::classify::imap::token::{Announced, Piece, announced, seems_announced};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::net::CutStream;

/// The longest command line.
const MAX_LINE: usize = 64 * 1024;
/// The longest line, and the longest command with its literals, of somebody who is not logged in.
const MAX_LOGIN: usize = 8 * 1024;
/// The longest command with its literals; the mail of an APPEND passes by.
const MAX_COMMAND: u64 = 1024 * 1024;
/// RFC 7888: with LITERAL-, a literal that does not wait is no longer than this.
const MAX_UNASKED: u64 = 4096;
/// A larger literal that nobody asked for is not read away: the connection ends.
const MAX_SKIPPED: u64 = 16 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;
/// What may wait to be written before it is flushed.
const MAX_PENDING: usize = 256 * 1024;
/// From here on a piece of a literal is sent without being queued.
const LARGE: usize = 16 * 1024;

/// A client's connection.
pub struct Talk<S = CutStream> {
    stream: BufReader<S>,
    out: BytesMut,
    /// The longest line that it takes.
    most: usize,
}

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// The client hung up.
    End,
    /// A command that is understood.
    Command {
        /// Its tag.
        tag: String,
        /// What it says.
        command: Box<Command>,
    },
    /// Something else: it is answered and forgotten.
    Refused {
        /// Its tag, if it had one.
        tag: Option<String>,
        /// Why.
        refused: Refused,
        /// It was to open a mailbox, so none is open any more.
        selects: bool,
        /// Where it ends is not known: nothing after it can be read safely.
        fatal: bool,
    },
}

/// What came where a line was to come.
enum Read {
    End,
    Line(Vec<u8>),
    /// Where it ends is not known; this is its beginning.
    NoLine(Vec<u8>),
}

const TOO_LONG: Refused = Refused::Bad("This command is too long.");
/// How long it is listened to somebody who hears that nothing more is read.
const LEAVING: Duration = Duration::from_secs(2);
const NO_LINE: Refused = Refused::Bad("This is no line: it is too long, or does not end in CRLF.");

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// On a connection that nothing was read from.
    pub fn new(stream: S) -> Self {
        Self { stream: BufReader::with_capacity(CHUNK, stream), out: BytesMut::new(), most: MAX_LINE }
    }

    /// Takes no more than a login needs, or as much as ever.
    pub fn narrow(&mut self, before_login: bool) {
        self.most = if before_login { MAX_LOGIN } else { MAX_LINE };
    }

    /// Queues a line; [`Talk::flush`] sends it.
    pub fn line(&mut self, text: &str) {
        // Words of an upstream or an agent must not begin a line of their own.
        let clean = text.bytes().map(|byte| if byte == b'\r' || byte == b'\n' || byte == 0 { b' ' } else { byte });
        self.out.extend(clean);
        if seems_announced(text.as_bytes()) {
            // Words that end like this would be taken for the announcement of a literal.
            self.out.extend_from_slice(b" ");
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Queues bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Whether something is queued.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.out.is_empty()
    }

    /// Sends what is queued if it is much.
    pub async fn drain(&mut self) -> io::Result<()> {
        if self.out.len() > MAX_PENDING { self.flush().await } else { Ok(()) }
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.send(&[]).await?;
        self.stream.flush().await
    }

    /// Sends a piece of a literal after what is queued. A large one is not copied.
    pub async fn pass(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.len() < LARGE {
            self.raw(piece);
            return self.drain().await;
        }
        self.send(piece).await
    }

    async fn send(&mut self, after: &[u8]) -> io::Result<()> {
        // Taken out first: whoever gives up in between sends nothing twice.
        let mut out = std::mem::take(&mut self.out);
        self.stream.write_all_buf(&mut Buf::chain(out.as_ref(), after)).await?;
        if out.capacity() <= MAX_PENDING {
            out.clear();
            self.out = out;
        }
        Ok(())
    }

    /// Resolves when the client hung up; never, as long as something it said waits to be read.
    pub async fn hung_up(&mut self) {
        if !self.stream.buffer().is_empty() {
            std::future::pending::<()>().await;
        }
        match self.stream.fill_buf().await {
            Ok([]) | Err(_) => {}
            Ok(_) => std::future::pending().await,
        }
    }

    /// A line that is no command: DONE, a SASL response.
    pub async fn bare_line(&mut self) -> io::Result<String> {
        match self.read_line().await? {
            Some(line) => Ok(String::from_utf8_lossy(&line).into_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// `None` at the end.
    async fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.read().await? {
            Read::Line(line) => Ok(Some(line)),
            Read::End => Ok(None),
            Read::NoLine(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long, or does not end in CRLF"))
            }
        }
    }

    /// Cancel-safe only before the first byte of a line has come.
    async fn read(&mut self) -> io::Result<Read> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(self.most as u64 + 1);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok(Read::End);
        }
        // A bare LF ends no line (RFC 9051 section 2.2); taking it for one would let two readers see different commands.
        match line.strip_suffix(b"\r\n").filter(|_| line.len() <= self.most) {
            Some(text) if !text.contains(&b'\r') => Ok(Read::Line(text.to_vec())),
            _ => Ok(Read::NoLine(line)),
        }
    }

    /// Ends the connection so that its last words arrive: what comes unread makes some systems throw them away.
    pub async fn leave(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await?;
        let left = async {
            let mut left = MAX_SKIPPED;
            while left > 0 {
                left = left.saturating_sub(self.chunk(left).await?.len() as u64);
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(LEAVING, left).await;
        Ok(())
    }

    /// The next command.
    pub async fn hear(&mut self) -> io::Result<Heard> {
        let line = match self.read().await? {
            Read::Line(line) => line,
            Read::End => return Ok(Heard::End),
            Read::NoLine(begun) => {
                return Ok(Heard::Refused { tag: command::tag(&begun), refused: NO_LINE, selects: false, fatal: true });
            }
        };
        let tag = (command::tag(&line), command::selects(&line));
        if let Some(append) = command::append(&line) {
            return self.heard(tag, append.map(Command::Append), announced(&line)).await;
        }
        let is_append =
            line.split(|byte| *byte == b' ').nth(1).is_some_and(|verb| verb.eq_ignore_ascii_case(b"APPEND"));
        let (mut pieces, mut line, mut room) =
            (Vec::new(), line, if self.most < MAX_LINE { MAX_LOGIN as u64 } else { MAX_COMMAND });
        loop {
            let Some(literal) = announced(&line) else {
                pieces.push(Piece::Text(line));
                let parsed = if is_append {
                    Err(Refused::Bad("APPEND needs its mail as a literal."))
                } else {
                    command::parse(&pieces)
                };
                return self.heard(tag, parsed, None).await;
            };
            pieces.push(Piece::Text(line.get(..literal.at).unwrap_or_default().to_vec()));
            let is_name = pieces.len() == 1;
            if is_append && !is_name {
                return self
                    .heard(tag, command::read_append(&pieces, literal).map(Command::Append), Some(literal))
                    .await;
            }
            if literal.size.saturating_add(line.len() as u64) > room
                || literal.binary
                || (!literal.waits && literal.size > MAX_UNASKED)
            {
                return self.heard(tag, Err(TOO_LONG), Some(literal)).await;
            }
            room = room.saturating_sub(literal.size + line.len() as u64);
            if literal.waits {
                self.line("+ Go on");
                self.flush().await?;
            }
            let mut bytes = vec![0; usize::try_from(literal.size).unwrap_or_default()];
            self.stream.read_exact(&mut bytes).await?;
            pieces.push(Piece::Literal(bytes));
            line = match self.read().await? {
                Read::Line(line) => line,
                Read::End => return Ok(Heard::End),
                Read::NoLine(_) => {
                    let (tag, selects) = tag;
                    return Ok(Heard::Refused { tag, refused: NO_LINE, selects, fatal: true });
                }
            };
        }
    }

    /// A command with a tag, or a refusal; a literal that comes anyway is read away first.
    async fn heard(
        &mut self,
        (tag, selects): (Option<String>, bool),
        parsed: Result<Command, Refused>,
        literal: Option<Announced>,
    ) -> io::Result<Heard> {
        let (tag, refused) = match (tag, parsed) {
            (Some(tag), Ok(command)) => return Ok(Heard::Command { tag, command: Box::new(command) }),
            (None, _) => (None, Refused::NoTag),
            (Some(tag), Err(refused)) => (Some(tag), refused),
        };
        let fatal = match literal {
            Some(literal) if !literal.waits => !self.skip(literal).await?,
            _ => false,
        };
        Ok(Heard::Refused { tag, refused, selects, fatal })
    }

    /// Reads away a literal that does not wait, with the rest of its line; false if that would be too much.
    pub async fn skip(&mut self, literal: Announced) -> io::Result<bool> {
        if literal.size > MAX_SKIPPED {
            return Ok(false);
        }
        let mut left = literal.size;
        while left > 0 {
            left -= self.chunk(left).await?.len() as u64;
        }
        // A further literal on the rest of the line would need the same again; its sender is not followed that far.
        Ok(self.read_line().await?.is_some_and(|rest| announced(&rest).is_none()))
    }

    /// Whether the rest of the line after a literal is empty. An error if a further literal follows: then nobody knows where the next command begins.
    pub async fn line_ends(&mut self) -> io::Result<bool> {
        match self.read_line().await? {
            Some(rest) if announced(&rest).is_some() => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a second literal where one was expected"))
            }
            rest => Ok(rest.is_some_and(|rest| rest.is_empty())),
        }
    }

    /// Resolves when there is something to read, or the end. Cancel-safe.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.stream.fill_buf().await.map(|_| ())
    }

    /// A piece of a literal of which `left` bytes are to come.
    pub async fn chunk(&mut self, left: u64) -> io::Result<Bytes> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let mut bytes = vec![0; most];
        let count = self.stream.read(&mut bytes).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(count);
        Ok(Bytes::from(bytes))
    }
}
