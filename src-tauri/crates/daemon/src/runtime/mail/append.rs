//! APPEND: decided before its mail is read, and passed through while it arrives.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use latch_core::classify::imap::command::Append;
use latch_core::classify::imap::deed::{On, append_call, appending};
use latch_core::classify::imap::reply::Status;
use latch_core::classify::imap::token::{Announced, Token};
use latch_core::plan::Permit;
use latch_core::undo::imap::arrived;

use super::act::Ruled;
use super::{MailSession, STALLED};
use crate::door::imap::{Next, Talk};
use crate::runtime::undo::Undo;
use crate::upstream::imap::Source;

/// A refused mail that comes anyway is read away for as long as this.
const SKIPPING: Duration = Duration::from_secs(120);

impl MailSession {
    pub(super) async fn append(&mut self, tag: &str, append: Append, talk: &mut Talk) -> io::Result<Next> {
        let literal = append.literal;
        let next = self.decided(tag, append, talk).await?;
        // A mail that was not asked for comes anyway.
        match next {
            Stored::Read(next) => Ok(next),
            Stored::Unread(next) if literal.waits => Ok(next),
            Stored::Unread(next) => {
                let skipped = tokio::select! {
                    skipped = tokio::time::timeout(SKIPPING, talk.skip(literal)) => skipped.unwrap_or(Ok(false))?,
                    () = self.over() => false,
                };
                Ok(if skipped { next } else { Next::Close })
            }
        }
    }

    async fn decided(&mut self, tag: &str, append: Append, talk: &mut Talk) -> io::Result<Stored> {
        let Append { mailbox, flags, date, literal } = append;
        if self.is_read_only() {
            talk.line(&format!("{tag} NO [NOPERM] This agent may read only"));
            return Ok(Stored::Unread(Next::Command));
        }
        let mut args = vec![Token::text(mailbox.as_str())];
        if !flags.is_empty() {
            args.push(Token::atoms(flags.iter().cloned()));
        }
        args.extend(date.map(Token::text));
        let Some(call) = append_call(&mailbox, &args, literal.size) else {
            talk.line(&format!("{tag} BAD This can't be written"));
            return Ok(Stored::Unread(Next::Command));
        };
        self.appended = self.appended.wrapping_add(1);
        let nonce = u64::from(self.peer.port()) << 32 | self.appended;
        let part = appending(call.clone(), &mailbox, &flags, literal.size, nonce);
        let (permit, hold) = match self.ruled(tag, part.clone(), talk).await? {
            Ruled::Go { permit, hold } => (permit, hold),
            Ruled::Told(next) => return Ok(Stored::Unread(next)),
            Ruled::Done(answer) => return Ok(Stored::Unread(self.finish(tag, &answer, None, talk)?)),
        };
        let stored = self.store(tag, permit, part, &mailbox, literal, talk).await;
        self.settled(hold.as_deref());
        stored
    }

    async fn store(
        &mut self,
        tag: &str,
        permit: Permit,
        part: latch_core::operation::Part,
        mailbox: &str,
        literal: Announced,
        talk: &mut Talk,
    ) -> io::Result<Stored> {
        let runtime = std::sync::Arc::clone(&self.runtime);
        let Some(opened) = runtime.opened() else { return Ok(Stored::Unread(Next::Close)) };
        let call = part.call.clone();
        let (mut plan, commit) = {
            let now = opened.now();
            let mut guard = opened.guard();
            let mut plan = guard.begin(permit, std::slice::from_ref(&call), now);
            let commit = guard.intent(&mut plan, 0, now);
            (plan, commit)
        };
        let Ok(receipt) = opened.store.commit(commit).await else {
            talk.line(&format!("{tag} NO [UNAVAILABLE] It could not be recorded, so nothing was done"));
            return Ok(Stored::Unread(Next::Command));
        };
        let lease = opened.guard().lease(&mut plan, 0);
        let mut source = Arriving { session: &*self, talk, literal, begun: false, ended: false };
        let sent = match lease {
            Ok(lease) => opened.upstream.mail_append(lease, &self.account.target, &call, &mut source).await,
            Err(_) => Err(crate::upstream::UpstreamError { fault: crate::upstream::Fault::Stopped, sent: false }),
        };
        let (begun, ended) = (source.begun, source.ended);
        let text = match &sent {
            Ok(answer) if answer.is_ok() => "stored".to_owned(),
            Ok(answer) => format!("the mail server said no: {}", answer.status.text),
            Err(error) if error.sent => format!("unknown: {error}"),
            Err(error) => format!("not stored: {error}"),
        };
        let mut commit = opened.guard().outcome(&plan, receipt.seq, None, text, opened.now());
        if let Ok(answer) = &sent
            && let Some((uidvalidity, uid)) = answer.statuses().find_map(Status::appended)
        {
            let on = On { mailbox: mailbox.to_owned(), uidvalidity: Some(uidvalidity), uids: Vec::new() };
            if let Some(entry) = arrived(None, &part, &on, mailbox, uidvalidity, &[(0, uid)]) {
                let (id, counter) = opened.guard().next_undo();
                let agent = plan.agent().unwrap_or_default().to_owned();
                let undo = Undo::new(&id, &agent, &self.account.id, &part, entry, opened.now());
                for record in &mut commit.records {
                    record.undo = Some(id.clone());
                }
                commit.puts.extend([counter, undo.put()]);
            }
        }
        let recorded = opened.store.commit(commit).await;
        let next = match (sent, recorded) {
            (Ok(answer), Ok(_)) => {
                talk.line(&crate::door::imap::passing::tagged(tag, &answer.status));
                Next::Command
            }
            (Ok(_), Err(_)) => {
                talk.line(&format!("{tag} NO [UNAVAILABLE] It was sent, but what became of it could not be recorded"));
                Next::Command
            }
            (Err(error), _) => {
                talk.line(&format!("{tag} NO [UNAVAILABLE] {error}"));
                // In the middle of a literal nobody knows where the next command begins.
                if begun && !ended { Next::Close } else { Next::Command }
            }
        };
        Ok(if begun { Stored::Read(next) } else { Stored::Unread(next) })
    }
}

/// Whether the mail was read.
enum Stored {
    Read(Next),
    Unread(Next),
}

/// A mail on its way from the client.
struct Arriving<'a> {
    session: &'a MailSession,
    talk: &'a mut Talk,
    literal: Announced,
    begun: bool,
    ended: bool,
}

impl Source for Arriving<'_> {
    fn next(&mut self, left: u64) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            self.begin().await?;
            tokio::select! {
                chunk = tokio::time::timeout(STALLED, self.talk.chunk(left)) => chunk.ok()?.ok(),
                () = self.session.over() => None,
            }
        })
    }

    fn ended(&mut self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            if self.begin().await.is_none() {
                return false;
            }
            // A second mail (RFC 3502) or part (RFC 4469) was never offered: its bytes must not be taken for commands.
            let ends = tokio::time::timeout(STALLED, self.talk.line_ends()).await;
            self.ended = matches!(ends, Ok(Ok(true)));
            self.ended
        })
    }
}

impl Arriving<'_> {
    async fn begin(&mut self) -> Option<()> {
        if !self.begun {
            self.begun = true;
            if self.literal.waits {
                self.talk.line("+ Go on");
                self.talk.flush().await.ok()?;
            }
        }
        Some(())
    }
}
