//! What of a mail server's answer an agent hears: whole untagged responses, framed in one spelling, without what it may not know of.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use latch_core::classify::imap::name::canonical;
use latch_core::classify::imap::reply::{
    Kind, Names, Status, found, is_search, mailboxes_named, names, numbered, status, topic, untagged_within, vanished,
};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::token::{Piece, Token, seems_announced};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Talk;
use crate::upstream::imap::{Line, MOST_FOUND, Wire};
use crate::upstream::{Fault, UpstreamError};

/// The longest response that names a mailbox and has literals in it: values of METADATA (RFC 5464) come as such.
const MAX_NAME: u64 = 256 * 1024;

/// What the words of a response that is looked into may take in memory beside their bytes.
const MOST_TOKENS: usize = 1024 * 1024;
/// After this time what has come of a literal does not wait for more of it.
const SOON: Duration = Duration::from_millis(500);

/// What is done with the lines of an answer.
pub enum Through<'a> {
    /// They go to the agent.
    All,
    /// Those of an EXAMINE: the agent is told what a SELECT would have said where it may ask for changes.
    Opening {
        /// UIDVALIDITY and EXISTS, as they come.
        found: &'a mut Opening,
        /// The agent may not ask for changes.
        read_only: bool,
    },
    /// Found UIDs stay here.
    Search(&'a mut Vec<u32>),
    /// The UIDs of these numbers stay here. What else is said of a message, or of others, goes to the agent: servers tell UIDs unasked, too (RFC 7162).
    Uids(&'a Set, &'a mut Vec<u32>),
}

/// What a server said of a mailbox while it was opened.
#[derive(Debug, Default)]
pub struct Opening {
    /// UIDVALIDITY.
    pub uidvalidity: Option<u32>,
    /// How many messages are in it.
    pub exists: u32,
    flags: String,
}

/// The messages of the mailbox that is open, as far as their numbers go.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// How many there are.
    pub exists: u32,
    /// How often some left: each time those behind them got other numbers.
    pub renumbered: u64,
}

impl Numbers {
    fn leave(&mut self, count: u32) {
        self.exists = self.exists.saturating_sub(count);
        self.renumbered = self.renumbered.wrapping_add(1);
    }
}

/// Which side broke.
#[derive(Debug)]
pub enum Broken {
    /// The agent's.
    Agent(io::Error),
    /// The mail server's.
    Upstream(UpstreamError),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Agent(error)
    }
}

impl From<UpstreamError> for Broken {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// From a mail server to an agent.
pub struct Passing<'a, S> {
    /// The server's connection.
    pub wire: &'a mut Wire<S>,
    /// Of the mailbox that is open, if one is.
    pub numbers: Option<&'a mut Numbers>,
    /// Whether the agent may know of this mailbox.
    pub shows: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether anything may pass still.
    pub stands: &'a (dyn Fn() -> bool + Sync),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Passing<'_, S> {
    /// Passes one response on; `Some` if it is the end of the command with the tag `ours`.
    pub async fn one<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        ours: Option<&str>,
        talk: &mut Talk<T>,
        through: &mut Through<'_>,
    ) -> Result<Option<Status>, Broken> {
        let line = self.line(talk).await?;
        self.standing()?;
        let text = line.text();
        if let Some(status) = status(text) {
            return match status.kind {
                _ if Some(status.tag.as_str()) == ours => {
                    self.wire.let_go();
                    Ok(Some(status))
                }
                _ if status.tag != "*" => Err(self.odd("it answers what was not asked")),
                Kind::Bye => Err(Fault::Lost { host: self.wire.host().to_owned() }.sent().into()),
                Kind::Preauth => Err(self.odd("it lets everybody in although a login is over")),
                Kind::Ok | Kind::No | Kind::Bad => {
                    said(&status, text, talk, through);
                    talk.drain().await?;
                    Ok(None)
                }
            };
        }
        let Some(topic) = topic(text) else {
            let asks = text.first() == Some(&b'+');
            return Err(self.odd(if asks {
                "it asks for more than the command has"
            } else {
                "it says what is no answer"
            }));
        };
        let is = |words: &[&str]| words.iter().any(|word| topic.eq_ignore_ascii_case(word.as_bytes()));
        match names(text) {
            Names::Nothing => {}
            // A name in a literal is known only once that is read.
            Names::One { listed } => {
                let (bytes, tokens) = self.gather(line).await?;
                if self.shows(&tokens, listed) {
                    talk.raw(&bytes);
                    talk.drain().await?;
                }
                return Ok(None);
            }
            // What the server can is said by us alone.
            Names::Unknown => {
                self.whole(line, talk, false).await?;
                return Ok(None);
            }
        }
        let opening = matches!(through, Through::Opening { .. });
        let of_mailbox = numbered(text).is_some() || is(&["FLAGS", "VANISHED"]);
        // Where none is open for the agent, one still may be upstream.
        let tells = opening || self.numbers.is_some() || !of_mailbox;
        if let Some((number, word)) = numbered(text) {
            match (word.as_str(), &mut self.numbers) {
                ("EXISTS", Some(numbers)) => numbers.exists = number,
                ("EXPUNGE", Some(numbers)) => numbers.leave(1),
                _ => {}
            }
            if let ("FETCH", Through::Uids(set, uids), None) = (word.as_str(), &mut *through, &line.literal)
                && set.holds(number)
            {
                let tokens = self.tokens(&[Piece::Text(text.to_vec())])?;
                let items = tokens.get(2).and_then(Token::items).unwrap_or_default();
                let mut pairs =
                    items.chunks(2).filter(|pair| pair.first().and_then(Token::word).as_deref() == Some("UID"));
                let uid = pairs.next().and_then(|pair| pair.get(1)).and_then(Token::number);
                if let Some(uid) = uid.and_then(|uid| u32::try_from(uid).ok()).filter(|uid| *uid > 0) {
                    uids.push(uid);
                    if uids.len() > MOST_FOUND {
                        return Err(self.odd("it finds too many messages"));
                    }
                    if items.len() == 2 {
                        return Ok(None);
                    }
                }
            }
            if let ("EXISTS", Through::Opening { found, .. }) = (word.as_str(), &mut *through) {
                found.exists = number;
            }
        } else if let (Some(count), Some(numbers)) = (vanished(text), &mut self.numbers) {
            numbers.leave(count);
        } else if line.literal.is_none() {
            match through {
                Through::Search(uids) if is_search(text) => {
                    uids.extend(found(text).ok_or_else(|| self.odd("it finds what is no message"))?);
                    return if uids.len() > MOST_FOUND {
                        Err(self.odd("it finds too many messages"))
                    } else {
                        Ok(None)
                    };
                }
                Through::Opening { found, .. } if is(&["FLAGS"]) => {
                    let tokens = self.tokens(&[Piece::Text(text.to_vec())])?;
                    let flags = tokens.get(1).and_then(Token::items).unwrap_or_default();
                    let flags: Vec<_> = flags.iter().filter_map(Token::nstring).collect();
                    found.flags = flags.join(" ");
                }
                Through::All | Through::Search(_) | Through::Uids(..) | Through::Opening { .. } => {}
            }
        }
        self.whole(line, talk, tells).await?;
        Ok(None)
    }

    /// The whole response that this line begins, to the agent or away.
    async fn whole<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        line: Line,
        talk: &mut Talk<T>,
        tells: bool,
    ) -> Result<(), Broken> {
        let say = |talk: &mut Talk<T>, bytes: &[u8]| {
            if tells {
                talk.raw(bytes);
            }
        };
        say(talk, &line.bytes);
        let mut literal = line.literal;
        while let Some(announced) = literal {
            let (mut left, mut held) = (announced.size, Bytes::new());
            while left > 0 {
                let chunk = self.chunk(left, talk).await?;
                self.standing()?;
                left -= chunk.len() as u64;
                let chunk = self.wire.scrub(&mut held, chunk, left == 0);
                if tells {
                    talk.pass(&chunk).await?;
                }
            }
            say(talk, &held);
            let line = self.line(talk).await?;
            say(talk, &line.bytes);
            literal = line.literal;
        }
        Ok(talk.drain().await?)
    }

    /// The server's next line. What has come before it does not wait with the agent's: some clients give up on silence.
    async fn line<T: AsyncRead + AsyncWrite + Unpin>(&mut self, talk: &mut Talk<T>) -> Result<Line, Broken> {
        if talk.holds() && !self.wire.has_line() {
            talk.flush().await?;
        }
        Ok(self.wire.line().await?)
    }

    /// The next piece of a literal.
    async fn chunk<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        left: u64,
        talk: &mut Talk<T>,
    ) -> Result<Bytes, Broken> {
        if talk.holds() {
            match tokio::time::timeout(SOON, self.wire.chunk(left)).await {
                Ok(chunk) => return Ok(chunk?),
                Err(_) => talk.flush().await?,
            }
        }
        Ok(self.wire.chunk(left).await?)
    }

    /// What the server says until it asks for more of the command, which goes to the agent like all else. `Some`: the command ended instead.
    pub async fn until_asked<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        ours: &str,
        talk: &mut Talk<T>,
    ) -> Result<Option<Status>, Broken> {
        loop {
            if self.wire.first().await? == b'+' {
                self.wire.line().await?;
                return Ok(None);
            }
            if let Some(status) = self.one(Some(ours), talk, &mut Through::All).await? {
                return Ok(Some(status));
            }
        }
    }

    fn standing(&self) -> Result<(), Broken> {
        if (self.stands)() { Ok(()) } else { Err(Fault::Stopped.sent().into()) }
    }

    /// A response with its literals, as bytes and as tokens.
    async fn gather(&mut self, first: Line) -> Result<(Vec<u8>, Vec<Token>), Broken> {
        let (mut bytes, mut pieces, mut line) = (Vec::new(), Vec::new(), first);
        loop {
            bytes.extend_from_slice(&line.bytes);
            let text = line.text();
            let Some(literal) = line.literal else {
                pieces.push(Piece::Text(text.to_vec()));
                let tokens = self.tokens(&pieces)?;
                return Ok((bytes, tokens));
            };
            if literal.size > MAX_NAME || bytes.len() as u64 > MAX_NAME {
                return Err(self.odd("what it says of a mailbox is too long"));
            }
            pieces.push(Piece::Text(text.get(..literal.at).unwrap_or_default().to_vec()));
            let (mut name, mut left, mut held) = (Vec::new(), literal.size, Bytes::new());
            while left > 0 {
                let chunk = self.wire.chunk(left).await?;
                left -= chunk.len() as u64;
                name.extend_from_slice(&self.wire.scrub(&mut held, chunk, left == 0));
            }
            name.extend_from_slice(&held);
            bytes.extend_from_slice(&name);
            pieces.push(Piece::Literal(name));
            line = self.wire.line().await?;
        }
    }

    /// A response's tokens; none if it can't be read.
    fn tokens(&self, pieces: &[Piece]) -> Result<Vec<Token>, Broken> {
        let tokens = untagged_within(pieces, &mut { MOST_TOKENS });
        Ok(tokens.map_err(|_| self.odd("it says too many words at once"))?.unwrap_or_default())
    }

    /// Whether the agent may know of every mailbox that a response names. One that can't be read names one that it may not.
    fn shows(&self, tokens: &[Token], listed: bool) -> bool {
        // RFC 5464: an annotation of no mailbox is the server's own. RFC 9051 section 6.3.9: LIST "" "" tells what stands between names.
        let of_server = listed || tokens.first().and_then(Token::word).as_deref() == Some("METADATA");
        let shown =
            |name: &[u8]| (of_server && name.is_empty()) || canonical(name).is_some_and(|name| (self.shows)(&name));
        mailboxes_named(tokens, listed).is_some_and(|names| names.into_iter().all(shown))
    }

    fn odd(&self, reason: &str) -> Broken {
        Fault::Malformed { host: self.wire.host().to_owned(), reason: reason.to_owned() }.sent().into()
    }
}

/// A status under an agent's tag. What it says of capabilities is left out.
#[must_use]
pub fn tagged(tag: &str, status: &Status) -> String {
    let kind = match status.kind {
        Kind::Ok => "OK",
        Kind::Bad => "BAD",
        Kind::No | Kind::Bye | Kind::Preauth => "NO",
    };
    match status.code.as_deref().filter(|code| !hidden(code)) {
        Some(code) => format!("{tag} {kind} [{code}] {}", status.text),
        None => format!("{tag} {kind} {}", status.text),
    }
}

fn hidden(code: &str) -> bool {
    code.get(..10).is_some_and(|name| name.eq_ignore_ascii_case("CAPABILITY"))
}

/// An untagged status on its way to the agent.
fn said<T: AsyncRead + AsyncWrite + Unpin>(
    status: &Status,
    line: &[u8],
    talk: &mut Talk<T>,
    through: &mut Through<'_>,
) {
    let code = status.code.as_deref().unwrap_or_default();
    if hidden(code) {
        return;
    }
    let permanent = status.code_words("PERMANENTFLAGS").is_some();
    match through {
        Through::Opening { found, read_only } => {
            found.uidvalidity = status.uidvalidity().or(found.uidvalidity);
            if permanent && !*read_only {
                talk.line(&format!("* OK [PERMANENTFLAGS ({} \\*)] Each change is decided by itself", found.flags));
                return;
            }
        }
        // Of its own connection, which changes nothing: the agent knows what it may ask for.
        _ if permanent => return,
        _ => {}
    }
    talk.raw(line);
    if seems_announced(line) {
        // Not a literal: the next line follows.
        talk.raw(b" ");
    }
    talk.raw(b"\r\n");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Takes an answer from this server to this agent, until its end.
    async fn passed(server: DuplexStream, agent: DuplexStream) -> Option<Status> {
        let mut wire = Wire::over(server, "mail.example".to_owned(), Duration::from_secs(60));
        let mut talk = Talk::new(agent);
        let mut numbers = Numbers::default();
        let numbers = Some(&mut numbers);
        let mut passing = Passing { wire: &mut wire, numbers, shows: &|_| true, stands: &|| true };
        loop {
            if let Some(status) = passing.one(Some("A1"), &mut talk, &mut Through::All).await.unwrap() {
                talk.flush().await.unwrap();
                return Some(status);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_reads_does_not_pile_up_whatever_it_says() {
        for line in ["* OK wait", "* 1 FETCH (FLAGS ())", "* LIST () \"/\" x", "* SEARCH 1"] {
            let ((server, mut says), (agent, _unread)) = (duplex(64 * 1024), duplex(64 * 1024));
            let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let count = std::sync::Arc::clone(&taken);
            let said = format!("{line} {}\r\n", "x".repeat(64 * 1024));
            let says = async move {
                while says.write_all(said.as_bytes()).await.is_ok() {
                    count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            };
            let both = async { tokio::join!(passed(server, agent), says) };
            let ended = tokio::time::timeout(Duration::from_secs(20), both).await;
            assert!(ended.is_err(), "{line}");
            let taken = taken.load(std::sync::atomic::Ordering::SeqCst);
            assert!(taken < 12, "{line}: {taken} lines of 64 KiB were taken");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_is_told_before_the_server_is_waited_for() {
        let ((server, mut says), (agent, mut hears)) = (duplex(64 * 1024), duplex(64 * 1024));
        let passing = tokio::spawn(passed(server, agent));
        for said in [&b"* OK Searched 30%\r\n"[..], b"* 1 FETCH (BODY[] {10}\r\nabc", b"defghij)\r\n"] {
            says.write_all(said).await.unwrap();
            let mut heard = vec![0; said.len()];
            let read = tokio::time::timeout(Duration::from_secs(1), hears.read_exact(&mut heard)).await;
            assert!(read.is_ok(), "{}", String::from_utf8_lossy(said));
            assert_eq!(heard, said);
        }
        says.write_all(b"A1 OK\r\n").await.unwrap();
        assert!(passing.await.unwrap().is_some());
    }
}
