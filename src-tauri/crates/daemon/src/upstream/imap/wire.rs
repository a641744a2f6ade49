//! One connection to a mail server.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use latch_core::call::{Call, CallBody};
use latch_core::classify::imap::deed;
use latch_core::classify::imap::reply::{Kind, Status, found, is_search, status, untagged_within};
use latch_core::classify::imap::token::{
    Announced, Piece, Token, announced, encode, may_announce, pieces, seems_announced,
};
use latch_core::lease::Redeemed;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::runtime;
use tokio::time::Instant;

use super::{MOST_FOUND, MailAnswer, ends};
use crate::upstream::oauth::Access;
use crate::upstream::pool::Stream;
use crate::upstream::{Fault, UpstreamError};

/// The longest line that a server may send; a line holds no mail text, that comes in literals, but all that a search found: 500,000 UIDs.
const MAX_LINE: usize = 4 * 1024 * 1024;
/// What is written at once, and read ahead.
const CHUNK: usize = 64 * 1024;
/// The largest piece of a literal on its way through.
const MAX_PIECE: usize = 256 * 1024;
/// How long a connection is kept without use: servers close after 30 minutes, and some networks much sooner.
const KEEP: Duration = Duration::from_secs(120);

/// What a piece of an answer costs beside its bytes: a flood of empty ones has an end, too.
const PIECE: usize = 32;
/// What a status costs beside its bytes.
const STATUS: usize = 128;
/// How long the answer to a command of our own may take: servers that move or search for minutes say so meanwhile.
const WHOLE: Duration = Duration::from_secs(300);
/// For so many bytes of it a second more: a large mail goes on over a slow line, what only drips does not.
const SLOWEST: u64 = 32 * 1024;

/// A line of a server.
#[derive(Debug)]
pub struct Line {
    /// With CRLF, whatever ended it, and no other CR or NUL: every reader sees the same lines. Scrubbed of the credential.
    pub bytes: Vec<u8>,
    /// The literal that follows.
    pub literal: Option<Announced>,
}

impl Line {
    /// Without its CRLF.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\r\n").unwrap_or(&self.bytes)
    }
}

/// The event loop of whoever asks.
fn here() -> Option<runtime::Id> {
    runtime::Handle::try_current().ok().map(|handle| handle.id())
}

/// A logged-in connection.
pub struct Wire<S = Stream> {
    stream: BufReader<S>,
    room: BytesMut,
    host: String,
    silence: Duration,
    scrub: Option<Arc<Access>>,
    /// In capitals, after the login.
    pub capabilities: Vec<String>,
    /// Name, UIDVALIDITY, and whether changes can be made in it.
    open: Option<(String, u32, bool)>,
    tags: u64,
    since: Instant,
    /// The event loop that hears of it; it ends with that.
    home: Option<runtime::Id>,
    broken: bool,
    /// The line that is being read goes on after a literal.
    continues: bool,
    lines: u64,
    /// When the answer that is being read must be over.
    until: Option<Instant>,
}

impl<S> std::fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Wire {
    /// Whether it can take a further command.
    pub(super) fn is_usable(&self) -> bool {
        let stream = match self.stream.get_ref() {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        let kept = !self.broken && self.stream.buffer().is_empty() && self.since.elapsed() < KEEP;
        // What the server said meanwhile, most likely goodbye, has not been read.
        kept && stream.stands() && stream.shears().is_quiet()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// On a connection that nothing was said on yet, with no credential to look out for. `silence`: how long the server may take for each word.
    pub fn over(stream: S, host: String, silence: Duration) -> Self {
        Self::new(stream, host, silence, None)
    }

    pub(super) fn new(stream: S, host: String, silence: Duration, scrub: Option<Arc<Access>>) -> Self {
        Self {
            stream: BufReader::with_capacity(CHUNK, stream),
            room: BytesMut::new(),
            host,
            silence,
            scrub,
            capabilities: Vec::new(),
            open: None,
            tags: 0,
            since: Instant::now(),
            home: here(),
            broken: false,
            continues: false,
            lines: 0,
            until: None,
        }
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn scrub_with(&mut self, access: Arc<Access>) {
        self.scrub = Some(access);
    }

    /// The bare connection, if nothing was read beyond what was asked for.
    pub(super) fn into_stream(self) -> Option<S> {
        self.stream.buffer().is_empty().then(|| self.stream.into_inner())
    }

    pub(super) fn rest(&mut self) {
        self.since = Instant::now();
    }

    /// Whether it belongs to the caller's event loop.
    pub(super) fn is_at_home(&self) -> bool {
        self.home == here()
    }

    pub(super) fn has_open(&self) -> bool {
        self.open.is_some()
    }

    /// A new tag.
    pub fn tag(&mut self) -> String {
        self.tags = self.tags.wrapping_add(1);
        format!("L{}", self.tags)
    }

    fn lost(&mut self) -> UpstreamError {
        self.broken = true;
        Fault::Lost { host: self.host.clone() }.sent()
    }

    fn malformed(&mut self, reason: &str) -> UpstreamError {
        self.broken = true;
        Fault::Malformed { host: self.host.clone(), reason: reason.to_owned() }.sent()
    }

    /// How many lines it has said: what counts them before and after a command knows whether there was more than the answer.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Writes bytes under a lease that was redeemed; checked before each piece.
    pub async fn write(&mut self, redeemed: &Redeemed, bytes: &[u8]) -> Result<(), UpstreamError> {
        for chunk in bytes.chunks(CHUNK) {
            if !redeemed.stands() {
                self.broken = true;
                return Err(Fault::Stopped.sent());
            }
            let written = tokio::time::timeout(self.silence, async {
                self.stream.write_all(chunk).await?;
                self.stream.flush().await
            });
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if !redeemed.stands() => {
                    self.broken = true;
                    return Err(Fault::Stopped.sent());
                }
                Ok(Err(_)) => return Err(self.lost()),
                Err(_) => return Err(self.late("taking a command")),
            }
        }
        Ok(())
    }

    /// Sends a call's command and returns its tag; what answers it is still to be read. `tag`: the agent's own, where answers repeat it (RFC 4731).
    pub async fn send(&mut self, redeemed: &Redeemed, call: &Call, tag: Option<&str>) -> Result<String, UpstreamError> {
        let (tag, parts) = self.written(call, tag)?;
        match self.write_parts(redeemed, &tag, &parts).await? {
            None => Ok(tag),
            Some(refused) => Err(self.malformed(&format!("it took no literal: {}", refused.text))),
        }
    }

    /// A call's command under its tag, in the parts that the server asks for one after the other.
    pub fn written(&mut self, call: &Call, tag: Option<&str>) -> Result<(String, Vec<Vec<u8>>), UpstreamError> {
        let (Some(verb), CallBody::Bytes(body)) = (deed::verb(call), &call.body) else {
            return Err(Fault::NotPermitted.unsent());
        };
        let parts = pieces(body).ok_or_else(|| Fault::NotPermitted.unsent())?;
        let tag = tag.map_or_else(|| self.tag(), str::to_owned);
        let parts = in_parts(&tag, &verb, &parts);
        Ok((tag, parts))
    }

    /// Writes a command; `Some`: the server refused it at a literal.
    pub(super) async fn write_command(
        &mut self,
        redeemed: &Redeemed,
        tag: &str,
        verb: &str,
        parts: &[Piece],
    ) -> Result<Option<Status>, UpstreamError> {
        self.write_parts(redeemed, tag, &in_parts(tag, verb, parts)).await
    }

    async fn write_parts(
        &mut self,
        redeemed: &Redeemed,
        tag: &str,
        parts: &[Vec<u8>],
    ) -> Result<Option<Status>, UpstreamError> {
        for (index, part) in parts.iter().enumerate() {
            if index > 0
                && let Some(refused) = self.go_ahead(tag).await?
            {
                return Ok(Some(refused));
            }
            self.write(redeemed, part).await?;
        }
        Ok(None)
    }

    /// Waits for `+`. `Some`: the command ended instead.
    pub async fn go_ahead(&mut self, tag: &str) -> Result<Option<Status>, UpstreamError> {
        self.until = Some(Instant::now() + WHOLE);
        let ended = self.gone_ahead(tag).await;
        self.until = None;
        ended
    }

    async fn gone_ahead(&mut self, tag: &str) -> Result<Option<Status>, UpstreamError> {
        let mut room = MAX_LINE;
        loop {
            let response = self.response(room).await?;
            room = room.saturating_sub(size(&response));
            if room == 0 {
                return Err(self.too_large(MAX_LINE));
            }
            let Some(Piece::Text(line)) = response.first() else { continue };
            if line.first() == Some(&b'+') {
                return Ok(None);
            }
            if let Some(status) = ends(line, tag) {
                return Ok(Some(status));
            }
        }
    }

    /// How long the next word may take.
    fn patience(&self) -> Duration {
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        self.until.map_or(self.silence, |until| left(until).min(self.silence))
    }

    fn came(&mut self, bytes: usize) {
        if let Some(until) = &mut self.until {
            *until += Duration::from_millis((bytes as u64).saturating_mul(1000) / SLOWEST);
        }
    }

    /// Resolves when there is something to read, or the end. Cancel-safe.
    pub async fn ready(&mut self) {
        let _ = self.stream.fill_buf().await;
    }

    /// Whether a whole line has come that was not read.
    #[must_use]
    pub fn has_line(&self) -> bool {
        self.stream.buffer().contains(&b'\n')
    }

    /// The first byte of what comes next, which stays to be read.
    pub async fn first(&mut self) -> Result<u8, UpstreamError> {
        let patience = self.patience();
        let first = tokio::time::timeout(patience, self.stream.fill_buf()).await;
        let first = first.map(|filled| filled.ok().and_then(|bytes| bytes.first().copied()));
        match first {
            Ok(Some(byte)) => Ok(byte),
            Ok(None) => Err(self.lost()),
            Err(_) => Err(self.late("waiting for its answer")),
        }
    }

    fn late(&mut self, doing: &'static str) -> UpstreamError {
        self.broken = true;
        Fault::Timeout { host: self.host.clone(), doing }.sent()
    }

    /// One line, at most [`MAX_LINE`] bytes. Not cancel-safe.
    pub async fn line(&mut self) -> Result<Line, UpstreamError> {
        let mut bytes = Vec::new();
        let patience = self.patience();
        let read = async {
            let mut limited = (&mut self.stream).take(MAX_LINE as u64 + 1);
            limited.read_until(b'\n', &mut bytes).await
        };
        match tokio::time::timeout(patience, read).await {
            Err(_) => return Err(self.late("waiting for its answer")),
            Ok(Err(_) | Ok(0)) => return Err(self.lost()),
            Ok(Ok(read)) => self.came(read),
        }
        if bytes.len() > MAX_LINE {
            return Err(self.malformed("a line is too long"));
        }
        if bytes.pop() != Some(b'\n') {
            return Err(self.lost());
        }
        bytes.truncate(bytes.strip_suffix(b"\r").map_or(bytes.len(), <[u8]>::len));
        for byte in &mut bytes {
            if matches!(byte, b'\r' | 0) {
                *byte = b' ';
            }
        }
        let announces = self.continues || may_announce(&bytes);
        let literal = if announces { announced(&bytes) } else { None };
        let odd = literal.is_none_or(|literal| !literal.waits || literal.size > u64::from(u32::MAX));
        if announces && odd && seems_announced(&bytes) {
            return Err(self.malformed("it announces a literal in a way that others may not understand"));
        }
        self.continues = literal.is_some();
        self.lines = self.lines.wrapping_add(1);
        if let Some(clean) = self.scrub.as_ref().and_then(|access| access.scrub().text(&bytes)) {
            bytes = clean;
        }
        bytes.extend_from_slice(b"\r\n");
        Ok(Line { bytes, literal })
    }

    /// A piece of a literal of which `left` bytes are to come.
    pub async fn chunk(&mut self, left: u64) -> Result<Bytes, UpstreamError> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_PIECE);
        // The same memory again, once the piece before is gone.
        self.room.reserve(most);
        let patience = self.patience();
        let mut room = (&mut self.room).limit(most);
        let read = tokio::time::timeout(patience, self.stream.read_buf(&mut room)).await;
        match read {
            Err(_) => Err(self.late("sending its answer")),
            Ok(Err(_) | Ok(0)) => Err(self.lost()),
            Ok(Ok(read)) => {
                self.came(read);
                Ok(self.room.split().freeze())
            }
        }
    }

    /// Gives back what large literals needed.
    pub fn let_go(&mut self) {
        if self.room.capacity() > CHUNK {
            self.room = BytesMut::new();
        }
    }

    /// What must be taken out of an answer's literals while they stream.
    pub fn scrub(&self, held: &mut Bytes, chunk: Bytes, last: bool) -> Bytes {
        match &self.scrub {
            Some(access) => access.scrub().chunk(held, chunk, last),
            None => chunk,
        }
    }

    /// One whole response, at most `limit` bytes with its literals.
    pub async fn response(&mut self, limit: usize) -> Result<Vec<Piece>, UpstreamError> {
        let mut pieces = Vec::new();
        let mut room = limit as u64;
        loop {
            let line = self.line().await?;
            let text = line.text();
            let wanted =
                text.len() as u64 + line.literal.map_or(0, |literal| literal.size.saturating_add(PIECE as u64));
            room = room.checked_sub(wanted).ok_or_else(|| self.too_large(limit))?;
            let Some(literal) = line.literal else {
                pieces.push(Piece::Text(text.to_vec()));
                return Ok(pieces);
            };
            pieces.push(Piece::Text(text.get(..literal.at).unwrap_or_default().to_vec()));
            let mut bytes = Vec::new();
            let mut left = literal.size;
            while left > 0 {
                let chunk = self.chunk(left).await?;
                left -= chunk.len() as u64;
                bytes.extend_from_slice(&chunk);
            }
            pieces.push(Piece::Literal(bytes));
        }
    }

    fn too_large(&mut self, limit: usize) -> UpstreamError {
        self.broken = true;
        Fault::TooLarge { host: self.host.clone(), limit }.sent()
    }

    /// Everything up to the end of the command with this tag: at most `limit` bytes with what it takes in memory, and not for ever.
    pub async fn answer(&mut self, tag: &str, limit: usize) -> Result<MailAnswer, UpstreamError> {
        self.until = Some(Instant::now() + WHOLE);
        let answer = self.gathered(tag, limit).await;
        self.until = None;
        answer
    }

    async fn gathered(&mut self, tag: &str, limit: usize) -> Result<MailAnswer, UpstreamError> {
        let (mut untagged, mut codes, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let mut room = limit;
        loop {
            let response = self.response(room).await?;
            let Some(Piece::Text(first)) = response.first() else { continue };
            let status = status(first);
            if let Some(status) = status.as_ref().filter(|status| status.tag == tag) {
                let (status, cost) = (status.clone(), limit.saturating_sub(room));
                return Ok(MailAnswer { status, untagged, codes, found: numbers, cost });
            }
            room = room.saturating_sub(size(&response));
            if room == 0 {
                return Err(self.too_large(limit));
            }
            match status {
                Some(status) => match status.kind {
                    Kind::Bye => return Err(self.lost()),
                    Kind::Preauth => return Err(self.malformed("it lets everybody in although a login is over")),
                    Kind::Ok | Kind::No | Kind::Bad if status.tag == "*" => {
                        room = room.saturating_sub(STATUS);
                        codes.push(status);
                    }
                    Kind::Ok | Kind::No | Kind::Bad => return Err(self.malformed("it answers what was not asked")),
                },
                None if first.first() == Some(&b'+') => {
                    return Err(self.malformed("it asks for more than the command has"));
                }
                None if is_search(first) => {
                    let all = if response.len() == 1 { found(first) } else { None };
                    let all = all.ok_or_else(|| self.malformed("it finds what is no message"))?;
                    if all.len() > MOST_FOUND.saturating_sub(numbers.len()) {
                        return Err(self.malformed("it finds too many messages"));
                    }
                    numbers.extend(all);
                }
                None => match untagged_within(&response, &mut room) {
                    Ok(tokens) => untagged.extend(tokens),
                    Err(_) => return Err(self.too_large(limit)),
                },
            }
        }
    }

    /// Opens a mailbox, for reading or for changes, unless it is open; refused where it is no longer the one that was looked at.
    pub(super) async fn open(
        &mut self,
        redeemed: &Redeemed,
        mailbox: &str,
        uidvalidity: u32,
        changes: bool,
    ) -> Result<(), UpstreamError> {
        let fits = |(name, known, write): &(String, u32, bool)| {
            name == mailbox && *known == uidvalidity && (*write || !changes)
        };
        if self.open.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.open = None;
        let tag = self.tag();
        let select = encode(&[Token::text(mailbox)]).and_then(|name| pieces(&name));
        let select = select.ok_or_else(|| Fault::NotPermitted.unsent())?;
        let not_opened = |status: Status| {
            let (gone, mailbox, text) = (status.code_words("NONEXISTENT").is_some(), mailbox.to_owned(), status.text);
            if gone { Fault::NotThere { mailbox, text } } else { Fault::NotOpened { mailbox, text } }.unsent()
        };
        let verb = if changes { "SELECT" } else { "EXAMINE" };
        if let Some(refused) = self.write_command(redeemed, &tag, verb, &select).await? {
            return Err(not_opened(refused));
        }
        let answer = self.answer(&tag, MAX_LINE).await?;
        if !answer.is_ok() {
            return Err(not_opened(answer.status));
        }
        let found = answer.statuses().find_map(Status::uidvalidity);
        if found != Some(uidvalidity) {
            self.broken = true;
            return Err(Fault::Changed { mailbox: mailbox.to_owned() }.unsent());
        }
        self.open = Some((mailbox.to_owned(), uidvalidity, changes));
        Ok(())
    }

    pub(super) async fn unselect(&mut self, redeemed: &Redeemed) -> Result<(), UpstreamError> {
        self.open = None;
        let tag = self.tag();
        // A server without UNSELECT is left with a mailbox that is opened read-only instead.
        let known = self.capabilities.iter().any(|one| one == "UNSELECT");
        let command = if known { format!("{tag} UNSELECT\r\n") } else { format!("{tag} EXAMINE INBOX\r\n") };
        self.write(redeemed, command.as_bytes()).await?;
        self.answer(&tag, MAX_LINE).await.map(|_| ())
    }
}

/// A command in parts: behind each but the last the server asks for the next.
fn in_parts(tag: &str, verb: &str, pieces: &[Piece]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut line = format!("{tag} {verb}").into_bytes();
    let mut first = true;
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                if first && !(text.is_empty() && pieces.len() == 1) {
                    line.push(b' ');
                }
                line.extend_from_slice(text);
                first = false;
            }
            Piece::Literal(bytes) => {
                line.extend_from_slice(format!("{{{}}}\r\n", bytes.len()).as_bytes());
                parts.push(std::mem::replace(&mut line, bytes.clone()));
            }
        }
    }
    line.extend_from_slice(b"\r\n");
    parts.push(line);
    parts
}

/// What a response takes of the room for an answer, its tokens aside.
fn size(response: &[Piece]) -> usize {
    let one = |piece: &Piece| match piece {
        Piece::Text(bytes) | Piece::Literal(bytes) => bytes.len() + PIECE,
    };
    response.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use tokio::io::DuplexStream;

    use super::*;

    fn connected() -> (Wire<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(CHUNK);
        (Wire::over(ours, "mail.example".to_owned(), Duration::from_secs(60)), theirs)
    }

    /// Says this again and again, with a pause before.
    async fn drips(mut server: DuplexStream, said: &'static [u8], pause: u64) {
        loop {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            if server.write_all(said).await.is_err() {
                return;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_drips_has_no_more_time_than_one_that_is_silent() {
        for said in [&b"* OK wait\r\n"[..], b"x", b"* 1 EXISTS\r\n", b"* X {100000}\r\n"] {
            let (mut wire, server) = connected();
            let begun = Instant::now();
            let dripping = tokio::spawn(drips(server, said, 20));
            let ended = wire.answer("L1", 1024 * 1024).await;
            assert!(matches!(ended.unwrap_err().fault, Fault::Timeout { .. }));
            assert!(wire.broken && begun.elapsed() < WHOLE + Duration::from_secs(2), "{:?}", begun.elapsed());
            dripping.abort();
            let (mut wire, server) = connected();
            let begun = Instant::now();
            let dripping = tokio::spawn(drips(server, said, 20));
            assert!(matches!(wire.go_ahead("L1").await.unwrap_err().fault, Fault::Timeout { .. }));
            assert!(begun.elapsed() < WHOLE + Duration::from_secs(2), "{:?}", begun.elapsed());
            dripping.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_mail_goes_on_over_a_slow_line() {
        const SIZE: usize = 20 * 1024 * 1024;
        let (mut wire, mut server) = connected();
        let begun = Instant::now();
        let said = tokio::spawn(async move {
            server.write_all(format!("* 1 FETCH (BODY[] {{{SIZE}}}\r\n").as_bytes()).await.unwrap();
            for _ in 0..SIZE / CHUNK {
                tokio::time::sleep(Duration::from_secs(2)).await;
                server.write_all(&[b'x'; CHUNK]).await.unwrap();
            }
            server.write_all(b")\r\nL1 OK done\r\n").await.unwrap();
        });
        let answer = wire.answer("L1", 2 * SIZE).await.unwrap();
        assert!(answer.is_ok() && answer.untagged.len() == 1 && begun.elapsed() > 2 * WHOLE);
        assert!((SIZE..SIZE + 1024).contains(&answer.cost), "{}", answer.cost);
        said.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_found_is_kept_as_numbers_and_what_is_not_makes_no_answer() {
        for (said, found) in [
            ("* SEARCH 5 3\r\n* SEARCH\r\n* SEARCH 3 9 (MODSEQ 7)\r\nL1 OK done\r\n", Some(vec![3, 5, 9])),
            ("* SEARCH 5 x\r\nL1 OK done\r\n", None),
            ("* SEARCH 5 {1}\r\n6\r\nL1 OK done\r\n", None),
        ] {
            let (mut wire, mut server) = connected();
            server.write_all(said.as_bytes()).await.unwrap();
            assert_eq!(wire.answer("L1", 64 * 1024).await.ok().map(MailAnswer::sorted), found, "{said}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_short_words_ends_at_what_they_take_in_memory() {
        let (mut wire, mut server) = connected();
        let flood = format!("* 1 FETCH ({})\r\n", "1 ".repeat(20_000));
        let said = tokio::spawn(async move { while server.write_all(flood.as_bytes()).await.is_ok() {} });
        let ended = wire.answer("L1", 8 * 1024 * 1024).await;
        assert!(matches!(ended.unwrap_err().fault, Fault::TooLarge { .. }));
        drop(wire);
        said.await.unwrap();
    }
}
