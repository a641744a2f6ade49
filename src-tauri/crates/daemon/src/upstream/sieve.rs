//! Calls to the server of an account's mail filters: ManageSieve (RFC 5804).
//!
//! ```text
//!   Lease + AccountTarget + Call ── sieve ──> redeem ── connection of this epoch, logged in ── one command, written anew ── answer
//! ```
//! A connection that says anything unexpected before the login is over is dropped.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::BytesMut;
use latch_core::call::Call;
use latch_core::classify::imap::token::{Piece, Token, announced};
use latch_core::classify::sieve::reply::{Kind, Line, Status, capabilities, line};
use latch_core::classify::sieve::{command_line, wire};
use latch_core::lease::{Lease, Redeemed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::http::not_permitted;
use super::origin::{Scheme, Server};
use super::pool::Stream;
use super::told::{self, Sent};
use super::{AccountTarget, Fault, Upstream, UpstreamError, sasl};
use crate::vault::Credential;

/// The longest answer: servers keep scripts of a mebibyte at most.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The longest answer before the login.
const MAX_GREETING: usize = 64 * 1024;
/// What leaves at once; the epoch is compared before each piece.
const CHUNK: usize = 64 * 1024;
/// How long a connection is kept without use.
const KEEP: Duration = Duration::from_secs(60);
/// Connections that wait for the next command of an account.
const MOST_IDLE: usize = 2;

/// A server's answer to one command.
#[derive(Debug, Clone)]
pub struct SieveAnswer {
    /// How it ended.
    pub status: Status,
    /// What was said before.
    pub lines: Vec<Vec<Token>>,
}

impl SieveAnswer {
    /// Whether it was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status.kind == Kind::Ok
    }
}

/// How long a whole answer may take.
const WHOLE: Duration = Duration::from_secs(120);
/// What a token costs besides its bytes.
const PER_TOKEN: usize = 32;

/// What a line takes of the room for an answer.
fn price(tokens: &[Token]) -> usize {
    let one = |token: &Token| match token {
        Token::List(items) => price(items),
        other => other.astring().map_or(0, <[u8]>::len),
    };
    tokens.iter().map(|token| one(token) + PER_TOKEN).sum::<usize>() + PER_TOKEN
}

impl Upstream {
    /// Makes the call that the lease permits, on a connection that no agent shares.
    pub async fn sieve(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
    ) -> Result<SieveAnswer, UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        let command = wire(call).ok_or_else(|| Fault::NotPermitted.unsent())?;
        let mut wire = self.filter_wire(account, &redeemed).await?;
        wire.say(&redeemed, &command).await?;
        let mut answer = wire.answer(MAX_ANSWER).await?;
        if account.is_told_in(answer.status.text.as_bytes()) {
            // Servers have been seen to repeat what they were sent.
            "(its words held the credential)".clone_into(&mut answer.status.text);
        }
        wire.since = Instant::now();
        let mut idle = account.filter_wires.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Wire::is_usable);
        if idle.len() < MOST_IDLE {
            idle.push(wire);
        }
        Ok(answer)
    }

    async fn filter_wire(&self, account: &AccountTarget, redeemed: &Redeemed) -> Result<Wire, UpstreamError> {
        loop {
            let idle = account.filter_wires.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                Some(wire) if wire.is_usable() => return Ok(wire),
                Some(_) => {}
                None => break,
            }
        }
        let server = account
            .filters
            .as_ref()
            .ok_or_else(|| Fault::Unsendable("the account has no server for mail filters".to_owned()).unsent())?;
        let host = server.origin.authority();
        let unsent = |error: UpstreamError| UpstreamError { sent: false, ..error };
        let connected = tokio::time::timeout(self.options.connect, self.filter_dial(server, redeemed)).await;
        let connected = connected.unwrap_or_else(|_| Err(Fault::Timeout { host, doing: "connecting" }.unsent()));
        let (mut wire, can) = connected.map_err(unsent)?;
        self.filter_login(account, server, redeemed, (&mut wire, &can)).await.map_err(unsent)?;
        Ok(wire)
    }

    async fn filter_dial(
        &self,
        server: &Server,
        redeemed: &Redeemed,
    ) -> Result<(Wire, BTreeMap<String, String>), UpstreamError> {
        let origin = &server.origin;
        let host = origin.authority();
        let (stream, epoch) = self.dial(origin).await?;
        let tls = async |stream| self.encrypt(&self.mail_tls, origin, (stream, epoch)).await;
        let wire = |stream| Wire {
            stream,
            buffer: BytesMut::new(),
            host: host.clone(),
            silence: self.options.silence,
            since: Instant::now(),
        };
        let mut wire = match origin.scheme {
            Scheme::Sieves => wire(tls(stream).await?),
            Scheme::Sieve => wire(Stream::Plain(stream)),
            Scheme::SieveStartTls => {
                let mut plain = wire(Stream::Plain(stream));
                let refused = |text: &str| Fault::Tls { host: host.clone(), reason: text.to_owned() }.unsent();
                if !plain.greeted().await?.contains_key("STARTTLS") {
                    return Err(refused("it does not offer STARTTLS, so nothing was said"));
                }
                plain.say(redeemed, b"STARTTLS").await?;
                let answer = plain.answer(MAX_GREETING).await?;
                if !answer.is_ok() {
                    return Err(refused("it does not start TLS, so nothing was said"));
                }
                // What somebody in between put behind the answer would be taken for the server's words inside TLS (CVE-2011-0411).
                let Wire { stream: Stream::Plain(stream), buffer, .. } = plain else {
                    return Err(Fault::NotPermitted.unsent());
                };
                if !buffer.is_empty() {
                    return Err(refused("it said more than that TLS begins"));
                }
                wire(tls(stream).await?)
            }
            Scheme::Http
            | Scheme::Https
            | Scheme::Imap
            | Scheme::ImapStartTls
            | Scheme::Imaps
            | Scheme::Smtp
            | Scheme::SmtpStartTls
            | Scheme::Smtps => {
                return Err(Fault::NotPermitted.unsent());
            }
        };
        // Inside TLS the server says anew what it can (RFC 5804 section 2.2); whatever was said before is forgotten.
        let can = wire.greeted().await?;
        Ok((wire, can))
    }

    async fn filter_login(
        &self,
        account: &AccountTarget,
        server: &Server,
        redeemed: &Redeemed,
        (wire, can): (&mut Wire, &BTreeMap<String, String>),
    ) -> Result<(), UpstreamError> {
        let host = server.origin.authority();
        let sasl = can.get("SASL").map(String::as_str).unwrap_or_default();
        let offers = |mechanism: &str| sasl.split_whitespace().any(|one| one.eq_ignore_ascii_case(mechanism));
        let mut sent = Sent::default();
        let status = match &*account.credential {
            Credential::Password { username, password } if offers("LOGIN") && !offers("PLAIN") => {
                sent.secret(password.expose());
                wire.authenticate(redeemed, "LOGIN", None, &[username, password.expose()]).await?
            }
            Credential::Password { username, password } => {
                let text = sasl::plain(username, password.expose());
                sent.secret(password.expose());
                sent.around(&text);
                wire.authenticate(redeemed, "PLAIN", Some(&text), &[]).await?
            }
            Credential::Bearer { .. } | Credential::OAuth2 { .. } => {
                let access = self.fresh(account, redeemed).await?;
                let bearer = access.header().to_str().map_err(|_| Fault::NotPermitted.unsent())?;
                sent.secret(bearer);
                let user = &server.user;
                // RFC 7628 section 3.2.3: a failure is explained in a challenge, which must be answered before the refusal comes.
                if offers("OAUTHBEARER") || !offers("XOAUTH2") {
                    let text = sasl::oauthbearer(user, &server.origin, bearer);
                    sent.around(&text);
                    wire.authenticate(redeemed, "OAUTHBEARER", Some(&text), &["\x01"]).await?
                } else {
                    let text = sasl::xoauth2(user, bearer);
                    sent.around(&text);
                    wire.authenticate(redeemed, "XOAUTH2", Some(&text), &[""]).await?
                }
            }
        };
        if status.kind == Kind::Ok {
            return Ok(());
        }
        let text = if account.is_told_in(status.text.as_bytes()) {
            "(its words held the credential)".to_owned()
        } else {
            sent.without(&status.text)
        };
        Err(Fault::SignIn { host, text }.unsent())
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    buffer: BytesMut,
    host: String,
    silence: Duration,
    since: Instant,
}

impl Wire {
    /// Whether it can take a further command. One whose answer was not read to its end never comes back here.
    fn is_usable(&self) -> bool {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        };
        self.buffer.is_empty() && self.since.elapsed() < KEEP && stream.stands() && stream.shears().is_quiet()
    }

    async fn greeted(&mut self) -> Result<BTreeMap<String, String>, UpstreamError> {
        let greeting = self.answer(MAX_GREETING).await?;
        if !greeting.is_ok() {
            let said = told::cut(&greeting.status.text);
            return Err(self.malformed(&format!("it turns us away: {said}")).unsent());
        }
        capabilities(&greeting.lines).ok_or_else(|| self.malformed("its greeting is none").unsent())
    }

    async fn authenticate(
        &mut self,
        redeemed: &Redeemed,
        mechanism: &str,
        initial: Option<&str>,
        answers: &[&str],
    ) -> Result<Status, UpstreamError> {
        let command = match initial {
            Some(initial) => {
                command_line("AUTHENTICATE", &[mechanism.as_bytes(), sasl::encoded(initial).as_bytes()], None)
            }
            None => command_line("AUTHENTICATE", &[mechanism.as_bytes()], None),
        };
        self.say(redeemed, &Zeroizing::new(command)).await?;
        let mut answers = answers.iter();
        loop {
            let line = tokio::time::timeout(self.silence, self.line(MAX_GREETING)).await;
            let slow = |_| Fault::Timeout { host: self.host.clone(), doing: "letting us in" }.unsent();
            match line.map_err(slow)?? {
                Line::Status(status) if status.kind == Kind::Bye => {
                    return Err(self.malformed("it turns us away instead of answering the login").unsent());
                }
                Line::Status(status) => return Ok(status),
                Line::Data(_) => {
                    let answer = answers.next().ok_or_else(|| self.malformed("it asks too much").unsent())?;
                    let line = command_line("", &[sasl::encoded(answer).as_bytes()], None);
                    let line = Zeroizing::new(line);
                    self.say(redeemed, line.strip_prefix(b" ").unwrap_or(&line)).await?;
                }
            }
        }
    }

    /// An answer to its end, at most `limit` bytes. Whoever drips it does not keep the command for ever.
    async fn answer(&mut self, limit: usize) -> Result<SieveAnswer, UpstreamError> {
        match tokio::time::timeout(WHOLE, self.answer_within(limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Timeout { host: self.host.clone(), doing: "waiting for its answer" }.sent()),
        }
    }

    async fn answer_within(&mut self, limit: usize) -> Result<SieveAnswer, UpstreamError> {
        let mut lines = Vec::new();
        let mut room = limit;
        loop {
            let before = room;
            match self.line(room).await? {
                Line::Data(data) => {
                    room = before.checked_sub(price(&data)).ok_or_else(|| self.too_large(limit))?;
                    lines.push(data);
                }
                Line::Status(status) if status.kind == Kind::Bye => {
                    return Err(Fault::Lost { host: self.host.clone() }.sent());
                }
                Line::Status(status) => return Ok(SieveAnswer { status, lines }),
            }
        }
    }

    /// One line with its literals.
    async fn line(&mut self, limit: usize) -> Result<Line, UpstreamError> {
        let mut pieces = Vec::new();
        let mut room = limit;
        loop {
            let mut seen = 0;
            let text = loop {
                match self.buffer.iter().skip(seen).position(|byte| *byte == b'\n') {
                    Some(end) => break self.buffer.split_to(seen + end + 1),
                    None if self.buffer.len() > room => return Err(self.too_large(limit)),
                    None => {
                        seen = self.buffer.len();
                        self.more().await?;
                    }
                }
            };
            let text =
                text.strip_suffix(b"\r\n").ok_or_else(|| self.malformed("a line does not end in CRLF").sent())?;
            room = room.checked_sub(text.len()).ok_or_else(|| self.too_large(limit))?;
            let Some(literal) = announced(text) else {
                pieces.push(Piece::Text(text.to_vec()));
                return line(&pieces).ok_or_else(|| self.malformed("its answer is none of ManageSieve").sent());
            };
            let size = usize::try_from(literal.size).ok().filter(|size| *size <= room);
            let size = size.ok_or_else(|| self.too_large(limit))?;
            room -= size;
            pieces.push(Piece::Text(text.get(..literal.at).unwrap_or_default().to_vec()));
            while self.buffer.len() < size {
                self.more().await?;
            }
            pieces.push(Piece::Literal(self.buffer.split_to(size).to_vec()));
        }
    }

    /// A command or an answer of ours, without its CRLF.
    async fn say(&mut self, redeemed: &Redeemed, line: &[u8]) -> Result<(), UpstreamError> {
        let mut whole = Zeroizing::new(line.to_vec());
        whole.extend_from_slice(b"\r\n");
        let mut pieces = whole.chunks(CHUNK).peekable();
        while let Some(piece) = pieces.next() {
            let is_last = pieces.peek().is_none();
            if !redeemed.stands() {
                return Err(Fault::Stopped.unsent());
            }
            let written = tokio::time::timeout(self.silence, async {
                self.stream.write_all(piece).await?;
                self.stream.flush().await
            });
            // Until its end has left the server does nothing of it.
            let failed = |fault: Fault| if is_last { fault.sent() } else { fault.unsent() };
            match written.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) if !redeemed.stands() => return Err(failed(Fault::Stopped)),
                Ok(Err(_)) => return Err(failed(Fault::Lost { host: self.host.clone() })),
                Err(_) => {
                    return Err(failed(Fault::Timeout { host: self.host.clone(), doing: "taking a command" }));
                }
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<(), UpstreamError> {
        match tokio::time::timeout(self.silence, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0) | Err(_)) => Err(Fault::Lost { host: self.host.clone() }.sent()),
            Err(_) => Err(Fault::Timeout { host: self.host.clone(), doing: "waiting for its answer" }.sent()),
        }
    }

    fn malformed(&self, reason: &str) -> Fault {
        Fault::Malformed { host: self.host.clone(), reason: reason.to_owned() }
    }

    fn too_large(&self, limit: usize) -> UpstreamError {
        Fault::TooLarge { host: self.host.clone(), limit }.sent()
    }
}
