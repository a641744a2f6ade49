//! The agent's own connection: leased commands out, answers through.

use std::io;

use bytes::Bytes;
use latch_core::call::Call;
use latch_core::classify::imap::deed::command;
use latch_core::classify::imap::name::canonical;
use latch_core::classify::imap::reply::{Kind, Status, found, numbered, status, untagged};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::token::{Piece, Token};
use latch_core::lease::Redeemed;
use latch_core::plan::Permit;

use super::MailSession;
use crate::door::imap::{Next, Talk};
use crate::upstream::imap::Line;
use crate::upstream::{Fault, UpstreamError};

/// The longest response that names a mailbox by a literal.
const MAX_NAME: u64 = 64 * 1024;

/// What is done with the lines of an answer.
pub(super) enum Through<'a> {
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
}

#[derive(Debug, Default)]
pub(super) struct Opening {
    pub(super) uidvalidity: Option<u32>,
    pub(super) exists: u32,
    flags: String,
}

/// How a relayed command ended.
pub(super) enum Ended {
    /// With this status, which the agent has not seen.
    Status(Status),
    /// The upstream is gone; the agent was told so.
    Gone,
}

impl MailSession {
    /// The lease of a permitted read: recorded like any other.
    pub(super) async fn pass(&self, permit: Permit, call: &Call) -> Result<Redeemed, UpstreamError> {
        let stopped = || UpstreamError { fault: Fault::Stopped, sent: false };
        let opened = self.runtime.opened().ok_or_else(stopped)?;
        let (mut plan, commit) = {
            let now = opened.now();
            let mut guard = opened.guard();
            let mut plan = guard.begin(permit, std::slice::from_ref(call), now);
            let commit = guard.intent(&mut plan, 0, now);
            (plan, commit)
        };
        super::super::lock(&opened.unsaved).extend(commit.charges);
        for record in commit.records {
            opened.store.append_read(record).await.map_err(|_| stopped())?;
        }
        let lease = opened.guard().lease(&mut plan, 0).map_err(|_| stopped())?;
        opened.upstream.mail_redeem(lease, &self.account.target, call)
    }

    /// The lease of what the connection itself needs: it reveals nothing that was not decided.
    pub(super) fn own(&self, call: &Call) -> Result<Redeemed, UpstreamError> {
        let stopped = || UpstreamError { fault: Fault::Stopped, sent: false };
        let opened = self.runtime.opened().ok_or_else(stopped)?;
        let lease = opened.guard().lease_preview(&self.account.id, call, self.session.epoch).map_err(|_| stopped())?;
        opened.upstream.mail_redeem(lease, &self.account.target, call)
    }

    /// Sends a leased command and passes its answer on, except for its last line.
    pub(super) async fn relay(
        &mut self,
        redeemed: &Redeemed,
        call: &Call,
        tag: Option<&str>,
        talk: &mut Talk,
        mut through: Through<'_>,
    ) -> io::Result<Ended> {
        let ended = match self.wire.send(redeemed, call, tag).await {
            Ok(ours) => self.until(redeemed, &ours, talk, &mut through).await,
            Err(error) => Err(error.into()),
        };
        match ended {
            Ok(status) => Ok(Ended::Status(status)),
            Err(Broken::Agent(error)) => Err(error),
            Err(Broken::Upstream(error)) => {
                talk.line(&format!("* BYE [UNAVAILABLE] {error}"));
                Ok(Ended::Gone)
            }
        }
    }

    async fn until(
        &mut self,
        redeemed: &Redeemed,
        ours: &str,
        talk: &mut Talk,
        through: &mut Through<'_>,
    ) -> Result<Status, Broken> {
        loop {
            if let Some(status) = self.one(redeemed, Some(ours), talk, through).await? {
                return Ok(status);
            }
        }
    }

    /// Passes one response on; `Some` if it is the command's end.
    pub(super) async fn one(
        &mut self,
        redeemed: &Redeemed,
        ours: Option<&str>,
        talk: &mut Talk,
        through: &mut Through<'_>,
    ) -> Result<Option<Status>, Broken> {
        let line = self.wire.line().await?;
        if !redeemed.stands() {
            return Err(UpstreamError { fault: Fault::Stopped, sent: true }.into());
        }
        let text = line.bytes.strip_suffix(b"\r\n").or_else(|| line.bytes.strip_suffix(b"\n")).unwrap_or(&line.bytes);
        if let Some(status) = status(text) {
            return match status.kind {
                _ if Some(status.tag.as_str()) == ours => Ok(Some(status)),
                _ if status.tag != "*" => Err(self.odd("it answers what was not asked")),
                Kind::Bye => {
                    Err(UpstreamError { fault: Fault::Lost { host: self.wire.host().to_owned() }, sent: true }.into())
                }
                Kind::Preauth => Err(self.odd("it lets everybody in although a login is over")),
                Kind::Ok | Kind::No | Kind::Bad => {
                    said(&status, text, talk, through);
                    Ok(None)
                }
            };
        }
        if text.first() == Some(&b'+') {
            return Err(self.odd("it asks for more than the command has"));
        }
        if line.literal.is_some() && lists(text) {
            // A name that can't be quoted: known only once its literal is read.
            let (bytes, tokens) = self.gather(line).await?;
            if self.shows(&tokens) {
                talk.raw(&bytes);
            }
            return Ok(None);
        }
        if let Some((number, word)) = numbered(text) {
            match (word.as_str(), &mut self.selected) {
                ("EXISTS", Some(selected)) => selected.exists = number,
                ("EXPUNGE", Some(selected)) => selected.exists = selected.exists.saturating_sub(1),
                _ => {}
            }
            if let ("EXISTS", Through::Opening { found, .. }) = (word.as_str(), &mut *through) {
                found.exists = number;
            }
        } else if line.literal.is_none() {
            let tokens = untagged(&[Piece::Text(text.to_vec())]).unwrap_or_default();
            let word = tokens.first().and_then(Token::word).unwrap_or_default();
            match (&mut *through, word.as_str()) {
                // What the server can is said by us alone.
                (_, "CAPABILITY") => return Ok(None),
                (_, "LIST" | "LSUB" | "STATUS") if !self.shows(&tokens) => return Ok(None),
                (Through::Search(uids), "SEARCH") => {
                    uids.extend(found(&tokens).unwrap_or_default());
                    return Ok(None);
                }
                (Through::Opening { found, .. }, "FLAGS") => {
                    let flags = tokens.get(1).and_then(Token::items).unwrap_or_default();
                    let flags: Vec<_> = flags.iter().filter_map(Token::nstring).collect();
                    found.flags = flags.join(" ");
                }
                _ => {}
            }
        }
        talk.raw(&line.bytes);
        let mut literal = line.literal;
        while let Some(announced) = literal {
            let (mut left, mut held) = (announced.size, Bytes::new());
            while left > 0 {
                let chunk = self.wire.chunk(left).await?;
                if !redeemed.stands() {
                    return Err(UpstreamError { fault: Fault::Stopped, sent: true }.into());
                }
                left -= chunk.len() as u64;
                let chunk = self.wire.scrub(&mut held, chunk, left == 0);
                talk.raw(&chunk);
                talk.drain().await?;
            }
            talk.raw(&held);
            let line = self.wire.line().await?;
            talk.raw(&line.bytes);
            literal = line.literal;
        }
        talk.drain().await?;
        Ok(None)
    }

    /// A response with its literals, as bytes and as tokens.
    async fn gather(&mut self, first: Line) -> Result<(Vec<u8>, Vec<Token>), Broken> {
        let (mut bytes, mut pieces, mut line) = (Vec::new(), Vec::new(), first);
        loop {
            bytes.extend_from_slice(&line.bytes);
            let text =
                line.bytes.strip_suffix(b"\r\n").or_else(|| line.bytes.strip_suffix(b"\n")).unwrap_or(&line.bytes);
            let Some(literal) = line.literal else {
                pieces.push(Piece::Text(text.to_vec()));
                return Ok((bytes, untagged(&pieces).unwrap_or_default()));
            };
            if literal.size > MAX_NAME || bytes.len() as u64 > MAX_NAME {
                return Err(self.odd("the name of a mailbox is too long"));
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

    /// Whether the agent may know of the mailbox that a LIST or STATUS response is about.
    fn shows(&self, tokens: &[Token]) -> bool {
        let name = match tokens {
            [word, _, _, name, ..] if word.word().as_deref() != Some("STATUS") => name.astring(),
            [_, name, ..] => name.astring(),
            _ => None,
        };
        let name = name.and_then(canonical);
        let reaches = |name: String| {
            self.runtime.opened().is_some_and(|opened| {
                let now = opened.now();
                opened.guard().reaches(&self.session, &self.account.id, &name, now)
            })
        };
        name.is_some_and(reaches)
    }

    fn odd(&self, reason: &str) -> Broken {
        let fault = Fault::Malformed { host: self.wire.host().to_owned(), reason: reason.to_owned() };
        UpstreamError { fault, sent: true }.into()
    }

    /// Lets the server tell the agent what has changed.
    pub(super) async fn sync(&mut self, talk: &mut Talk) -> io::Result<Ended> {
        let Some(call) = command("NOOP", None, &[]) else { return Ok(Ended::Gone) };
        self.ask(&call, talk, Through::All).await
    }

    /// A command of the connection's own.
    pub(super) async fn ask(&mut self, call: &Call, talk: &mut Talk, through: Through<'_>) -> io::Result<Ended> {
        match self.own(call) {
            Ok(redeemed) => self.relay(&redeemed, call, None, talk, through).await,
            Err(error) => {
                talk.line(&format!("* BYE [UNAVAILABLE] {error}"));
                Ok(Ended::Gone)
            }
        }
    }

    /// The UIDs that a set names right now in the open mailbox; only those marked as deleted where that is asked.
    pub(super) async fn resolve(
        &mut self,
        uid: bool,
        set: Option<&Set>,
        deleted: bool,
        talk: &mut Talk,
    ) -> io::Result<Result<Vec<u32>, Ended>> {
        let mut keys = Vec::new();
        if let Some(set) = set {
            if uid {
                keys.push(Token::atom("UID"));
            }
            keys.push(Token::atom(set.to_string()));
        }
        if deleted {
            keys.push(Token::atom("DELETED"));
        }
        keys.extend(self.but_hidden());
        let mut uids = Vec::new();
        let Some(call) = command("UID SEARCH", None, &keys) else { return Ok(Err(Ended::Gone)) };
        match self.ask(&call, talk, Through::Search(&mut uids)).await? {
            Ended::Status(status) if status.kind == Kind::Ok => Ok(Ok(uids)),
            ended => Ok(Err(ended)),
        }
    }

    /// The tagged line that ends a command.
    pub(super) fn end(tag: &str, ended: Ended, talk: &mut Talk) -> Next {
        match ended {
            Ended::Gone => {
                talk.line(&format!("{tag} NO [UNAVAILABLE] The connection to the mail server is gone: log in again"));
                Next::Close
            }
            Ended::Status(status) => {
                talk.line(&tagged(tag, &status));
                Next::Command
            }
        }
    }
}

/// Whether a line begins a response that is about one mailbox by its name.
fn lists(text: &[u8]) -> bool {
    let word = text.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    ["LIST", "LSUB", "STATUS"].iter().any(|one| word.eq_ignore_ascii_case(one.as_bytes()))
}

/// A status under an agent's tag. What it says of capabilities is left out.
pub(super) fn tagged(tag: &str, status: &Status) -> String {
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
fn said(status: &Status, line: &[u8], talk: &mut Talk, through: &mut Through<'_>) {
    let code = status.code.as_deref().unwrap_or_default();
    if hidden(code) {
        return;
    }
    if let Through::Opening { found, read_only } = through {
        found.uidvalidity = status.uidvalidity().or(found.uidvalidity);
        if code.starts_with("PERMANENTFLAGS") && !*read_only {
            talk.line(&format!("* OK [PERMANENTFLAGS ({} \\*)] Each change is decided by itself", found.flags));
            return;
        }
    }
    talk.raw(line);
    talk.raw(b"\r\n");
}

/// Which side broke.
pub(super) enum Broken {
    Agent(io::Error),
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
