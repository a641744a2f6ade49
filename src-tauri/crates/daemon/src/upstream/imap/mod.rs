//! Calls to mail servers over IMAP.
//!
//! ```text
//!   Lease + AccountTarget + Call ── mail ──> redeem ── connection of this epoch, logged in ── mailbox open, UIDVALIDITY as named ── answer
//!                                └─ mail_open ──> a connection of an agent's own, on which only what reads is sent
//! ```
//! A connection that says anything unexpected before the login is over (PREAUTH, bytes between STARTTLS and TLS) is dropped.

mod login;
mod wire;

use std::sync::PoisonError;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use latch_core::call::Call;
use latch_core::classify::imap::deed;
use latch_core::classify::imap::reply::{Kind, Status, status, status_item};
use latch_core::classify::imap::token::Token;
use latch_core::lease::{Lease, Redeemed};

pub use wire::{Line, Wire};

use super::http::not_permitted;
use super::{AccountTarget, Fault, Upstream, UpstreamError};

/// Connections that wait for the next command of an account, on whatever event loops: providers count them.
const MOST_IDLE: usize = 3;
/// What a server may say while it stores a mail: what changed in the open mailbox comes first.
const MAX_STORED: usize = 32 * 1024 * 1024;
/// What the answer to a STATUS may take.
const MAX_STATUS: usize = 1024 * 1024;
/// Commands of an account that run at once.
pub(super) const MOST_AT_ONCE: usize = 2;

pub use latch_core::classify::imap::reply::MOST_FOUND;

/// A mail server's answer to one command.
#[derive(Debug, Clone)]
pub struct MailAnswer {
    /// How it ended.
    pub status: Status,
    /// What was said before, without `*`; not what was found.
    pub untagged: Vec<Vec<Token>>,
    /// Codes of untagged OKs, such as COPYUID of a MOVE (RFC 6851 section 4.3).
    pub codes: Vec<Status>,
    /// The numbers that a search found, as they came.
    pub found: Vec<u32>,
    /// What it takes in memory, about, in bytes.
    pub cost: usize,
}

/// What STATUS must say of a mailbox right before a command about it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    mailbox: String,
    numbers: Vec<(&'static str, u32)>,
}

impl Still {
    /// These items with these numbers.
    pub fn new(mailbox: &str, numbers: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        Self { mailbox: mailbox.to_owned(), numbers: numbers.into_iter().collect() }
    }

    fn question(&self) -> Option<Call> {
        let items = Token::atoms(self.numbers.iter().map(|(item, _)| *item));
        deed::command("STATUS", None, &[Token::text(self.mailbox.as_str()), items])
    }

    fn holds(&self, answer: &MailAnswer) -> bool {
        let said = |item: &str| answer.untagged.iter().find_map(|tokens| status_item(tokens, item));
        answer.is_ok() && self.numbers.iter().all(|(item, number)| said(item) == Some(u64::from(*number)))
    }
}

/// A mail on its way through.
pub trait Source: Send {
    /// The next piece, not empty; `left` bytes are to come. `None`: it broke off.
    fn next(&mut self, left: u64) -> BoxFuture<'_, Option<Bytes>>;

    /// Whether the command ends with it.
    fn ended(&mut self) -> BoxFuture<'_, bool>;
}

impl MailAnswer {
    fn refused(status: Status) -> Self {
        Self { status, untagged: Vec::new(), codes: Vec::new(), found: Vec::new(), cost: 0 }
    }

    /// What a search found, each once, in order.
    #[must_use]
    pub fn sorted(mut self) -> Vec<u32> {
        self.found.sort_unstable();
        self.found.dedup();
        self.found
    }

    /// Whether it was done.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status.kind == Kind::Ok
    }

    /// Every status that carries a code, the last one last.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.codes.iter().chain(std::iter::once(&self.status))
    }
}

impl Upstream {
    /// Makes the call that the lease permits, on a connection that no agent shares.
    pub async fn mail(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
        limit: usize,
    ) -> Result<MailAnswer, UpstreamError> {
        self.mail_now(lease, account, call, (None, limit)).await
    }

    /// The same, if its mailbox is still like this the moment before: asked on the same connection, so that nothing but the way there and back is in between.
    pub async fn mail_while(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
        still: &Still,
        limit: usize,
    ) -> Result<MailAnswer, UpstreamError> {
        self.mail_now(lease, account, call, (Some(still), limit)).await
    }

    async fn mail_now(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
        (still, limit): (Option<&Still>, usize),
    ) -> Result<MailAnswer, UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        let _line = account.lines.acquire().await;
        let mut wire = self.mail_wire(account, &redeemed).await?;
        if let Some(still) = still {
            let question = still.question().ok_or_else(|| Fault::NotPermitted.unsent())?;
            let said = self.mail_on(&mut wire, &redeemed, &question, MAX_STATUS).await;
            let said = said.map_err(|error| UpstreamError { sent: false, ..error })?;
            if !still.holds(&said) {
                self.mail_done(account, wire);
                return Err(Fault::Changed { mailbox: still.mailbox.clone() }.unsent());
            }
        }
        let answer = self.mail_on(&mut wire, &redeemed, call, limit).await?;
        self.mail_done(account, wire);
        Ok(answer)
    }

    /// The same with a mail that passes through.
    pub async fn mail_append(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
        source: &mut dyn Source,
    ) -> Result<MailAnswer, UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        let header = |name: &str| call.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let (Some(args), Some(size)) = (header("args"), header("size").and_then(|size| size.parse::<u64>().ok()))
        else {
            return Err(Fault::NotPermitted.unsent());
        };
        let mut wire = self.mail_wire(account, &redeemed).await?;
        let tag = wire.tag();
        let kind = if header(deed::BINARY).is_some() { "~" } else { "" };
        wire.write(&redeemed, format!("{tag} APPEND {args} {kind}{{{size}}}\r\n").as_bytes()).await?;
        if let Some(refused) = wire.go_ahead(&tag).await? {
            self.mail_done(account, wire);
            return Ok(MailAnswer::refused(refused));
        }
        // Until the line's end is written the server keeps nothing of it: a connection that ends before has stored nothing.
        let broken = || Fault::AgentBody("it broke off, or something followed it".to_owned()).unsent();
        let mut left = size;
        while left > 0 {
            let chunk = source.next(left).await.ok_or_else(broken)?;
            left = left.checked_sub(chunk.len() as u64).ok_or_else(broken)?;
            wire.write(&redeemed, &chunk).await.map_err(|error| UpstreamError { sent: false, ..error })?;
        }
        if !source.ended().await {
            return Err(broken());
        }
        wire.write(&redeemed, b"\r\n").await?;
        let answer = wire.answer(&tag, MAX_STORED).await?;
        self.mail_done(account, wire);
        Ok(answer)
    }

    /// What the server can, as it said after the login.
    pub async fn mail_capabilities(
        &self,
        lease: Lease,
        account: &AccountTarget,
        call: &Call,
    ) -> Result<Vec<String>, UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        let _line = account.lines.acquire().await;
        let wire = self.mail_wire(account, &redeemed).await?;
        let can = wire.capabilities.clone();
        self.mail_done(account, wire);
        Ok(can)
    }

    /// Whether a mail server answers there, encrypted as the account says. Nothing of the credential is sent.
    pub async fn mail_greets(&self, lease: Lease, account: &AccountTarget, call: &Call) -> Result<(), UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        self.mail_greeted(account, &redeemed).await.map(|_| ())
    }

    /// A connection for one agent's own reading.
    pub async fn mail_open(&self, lease: Lease, account: &AccountTarget, call: &Call) -> Result<Wire, UpstreamError> {
        let redeemed = lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)?;
        self.mail_connect(account, &redeemed).await
    }

    /// Redeems the lease of a command on an agent's own connection. Only what reads passes.
    pub fn mail_redeem(&self, lease: Lease, account: &AccountTarget, call: &Call) -> Result<Redeemed, UpstreamError> {
        if !deed::only_reads(call) {
            return Err(Fault::NotPermitted.unsent());
        }
        lease.redeem(&account.id, call, &self.gate).map_err(not_permitted)
    }

    async fn mail_wire(&self, account: &AccountTarget, redeemed: &Redeemed) -> Result<Wire, UpstreamError> {
        loop {
            let idle = {
                let mut wires = account.wires.lock().unwrap_or_else(PoisonError::into_inner);
                wires.iter().rposition(Wire::is_at_home).map(|at| wires.remove(at))
            };
            match idle {
                Some(wire) if wire.is_usable() => return Ok(wire),
                Some(_) => {}
                None => return self.mail_connect(account, redeemed).await,
            }
        }
    }

    fn mail_done(&self, account: &AccountTarget, mut wire: Wire) {
        wire.rest();
        let mut idle = account.wires.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Wire::is_usable);
        if idle.len() >= MOST_IDLE {
            // The one that waits longest, most likely for another event loop.
            idle.remove(0);
        }
        idle.push(wire);
    }

    /// Opens the mailbox that the call is about, and makes the call.
    async fn mail_on(
        &self,
        wire: &mut Wire,
        redeemed: &Redeemed,
        call: &Call,
        limit: usize,
    ) -> Result<MailAnswer, UpstreamError> {
        if let Some((mailbox, uidvalidity)) = deed::opened(call) {
            wire.open(redeemed, &mailbox, uidvalidity, !deed::only_reads(call)).await?;
        } else if wire.has_open() {
            // RENAME and DELETE of an open mailbox end badly on some servers.
            wire.unselect(redeemed).await?;
        }
        let tag = wire.send(redeemed, call, None).await?;
        wire.answer(&tag, limit).await
    }
}

/// Whether a line ends the command with this tag.
#[must_use]
pub fn ends(line: &[u8], tag: &str) -> Option<Status> {
    status(line).filter(|status| status.tag == tag)
}
