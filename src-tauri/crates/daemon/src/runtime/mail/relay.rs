//! The agent's own connection: leased commands out, answers through.

use std::io;
use std::time::Duration;

use latch_core::call::Call;
use latch_core::classify::imap::deed::command;
use latch_core::classify::imap::reply::{Kind, Status};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::token::Token;
use latch_core::lease::Redeemed;
use latch_core::plan::Permit;

use super::{MailSession, Selected};
use crate::door::imap::passing::{Broken, Passing, Through, tagged};
use crate::door::imap::{Next, Talk};
use crate::upstream::{Fault, UpstreamError};

/// How long the answer to a command of the connection's own may take.
const OWN: Duration = Duration::from_secs(120);

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
        let lease = opened.begin_read(permit, call).await.map_err(|_| stopped())?;
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
        let ended = match self.sent(redeemed, call, tag, talk).await {
            Ok((_, Some(refused))) => Ok(refused),
            Ok((ours, None)) => self.until(redeemed, &ours, talk, &mut through).await,
            Err(error) => Err(error),
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

    /// Sends a command. What the server says before it asks for a further part of it goes to the agent. `Some`: it ended there.
    async fn sent(
        &mut self,
        redeemed: &Redeemed,
        call: &Call,
        tag: Option<&str>,
        talk: &mut Talk,
    ) -> Result<(String, Option<Status>), Broken> {
        let (ours, parts) = self.wire.written(call, tag)?;
        for (index, part) in parts.iter().enumerate() {
            if index > 0
                && let Some(refused) = self.until_asked(redeemed, &ours, talk).await?
            {
                return Ok((ours, Some(refused)));
            }
            self.wire.write(redeemed, part).await?;
        }
        Ok((ours, None))
    }

    /// What the server says until it asks for more. `Some`: the command ended instead.
    pub(super) async fn until_asked(
        &mut self,
        redeemed: &Redeemed,
        ours: &str,
        talk: &mut Talk,
    ) -> Result<Option<Status>, Broken> {
        let asked = tokio::time::timeout(OWN, self.passed(redeemed, Some(ours), talk, None)).await;
        asked.unwrap_or_else(|_| Err(self.late().into()))
    }

    fn late(&self) -> UpstreamError {
        Fault::Timeout { host: self.wire.host().to_owned(), doing: "answering in full" }.sent()
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
        self.passed(redeemed, ours, talk, Some(through)).await
    }

    /// One response, or with no `through` all until the server asks for more.
    async fn passed(
        &mut self,
        redeemed: &Redeemed,
        ours: Option<&str>,
        talk: &mut Talk,
        through: Option<&mut Through<'_>>,
    ) -> Result<Option<Status>, Broken> {
        let (runtime, session, account, token) = (&self.runtime, &self.session, &self.account, &self.token);
        let reaches = |name: &str| {
            runtime.opened().is_some_and(|opened| {
                let now = opened.now();
                opened.guard().reaches(session, &account.id, name, now)
            })
        };
        let looked = &self.looked;
        // An answer may take hours, and its token or grant end meanwhile.
        let stands = || redeemed.stands() && (!looked.is_due() || super::stands(runtime, account, token, session));
        let mut passing = Passing {
            wire: &mut self.wire,
            numbers: self.selected.as_mut().map(|selected| &mut selected.numbers),
            shows: &reaches,
            stands: &stands,
        };
        match (through, ours) {
            (Some(through), _) => passing.one(ours, talk, through).await,
            (None, Some(ours)) => passing.until_asked(ours, talk).await,
            (None, None) => Ok(None),
        }
    }

    /// Lets the server tell the agent what has changed.
    pub(super) async fn sync(&mut self, talk: &mut Talk) -> io::Result<Ended> {
        let Some(call) = command("NOOP", None, &[]) else { return Ok(Ended::Gone) };
        self.ask(&call, talk, Through::All).await
    }

    /// A command of the connection's own. What an agent asked for goes on as long as something comes; this has an end.
    pub(super) async fn ask(&mut self, call: &Call, talk: &mut Talk, through: Through<'_>) -> io::Result<Ended> {
        let error = match self.own(call) {
            Ok(redeemed) => {
                let asked = self.relay(&redeemed, call, None, talk, through);
                match tokio::time::timeout(OWN, asked).await {
                    Ok(ended) => return ended,
                    Err(_) => self.late(),
                }
            }
            Err(error) => error,
        };
        talk.line(&format!("* BYE [UNAVAILABLE] {error}"));
        Ok(Ended::Gone)
    }

    /// Whether messages named by number may be others by now: some left since so many times had been counted.
    pub(super) fn is_renumbered(&self, uid: bool, before: &Selected) -> bool {
        let now = self.selected.as_ref().map(|selected| selected.numbers.renumbered);
        !uid && now != Some(before.numbers.renumbered)
    }

    /// The UIDs that a set names right now in the open mailbox; only those marked as deleted where that is asked.
    pub(super) async fn resolve(
        &mut self,
        uid: bool,
        set: Option<&Set>,
        deleted: bool,
        talk: &mut Talk,
    ) -> io::Result<Result<Vec<u32>, Ended>> {
        if let (false, false, Some(set @ Set::Ranges(_))) = (uid, deleted, set) {
            return self.uids_of(set, talk).await;
        }
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
            Ended::Status(status) if status.kind == Kind::Ok => Ok(Ok(each_once(uids))),
            ended => Ok(Err(ended)),
        }
    }

    /// The UIDs behind numbers, of which what is hidden is left out already. A search for UIDs may tell that messages left, and the numbers of the agent's
    /// next command may be on their way by then: a FETCH may not (RFC 9051 section 7.5.1).
    async fn uids_of(&mut self, set: &Set, talk: &mut Talk) -> io::Result<Result<Vec<u32>, Ended>> {
        let exists = self.selected.as_ref().map_or(0, |selected| selected.numbers.exists);
        let Some(set) = set.bounded(exists) else { return Ok(Ok(Vec::new())) };
        let mut uids = Vec::new();
        let keys = [Token::atom(set.to_string()), Token::atoms(["UID"])];
        let Some(call) = command("FETCH", None, &keys) else { return Ok(Err(Ended::Gone)) };
        match self.ask(&call, talk, Through::Uids(&set, &mut uids)).await? {
            Ended::Status(status) if status.kind == Kind::Ok => Ok(Ok(each_once(uids))),
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

fn each_once(mut uids: Vec<u32>) -> Vec<u32> {
    uids.sort_unstable();
    uids.dedup();
    uids
}
