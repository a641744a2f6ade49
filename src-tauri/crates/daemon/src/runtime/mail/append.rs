//! APPEND: what is permitted by mailbox, flags and size passes through while it arrives; what is asked, or goes among the sent mail, is read first.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use latch_core::call::{Call, CallBody};
use latch_core::classify::imap::command::Append;
use latch_core::classify::imap::deed::{BINARY, On, append_call, appending, mailboxes, storing};
use latch_core::classify::imap::reply::Status;
use latch_core::classify::imap::sent;
use latch_core::classify::imap::token::{Announced, Token};
use latch_core::guard::Context;
use latch_core::operation::Part;
use latch_core::plan::Permit;
use latch_core::recipe::Answer;
use latch_core::undo::imap::{arrived, note_all};
use tokio::time::Instant;

use super::act::Ruled;
use super::ahead::{self, Unread};
use super::execute::answered;
use super::sent::Entering;
use super::undo::Whole;
use super::{MailSession, STALLED};
use crate::door::imap::{Next, Talk};
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::undo::Undo;
use crate::runtime::{Opened, Runtime};
use crate::upstream::imap::{MailAnswer, Source};
use crate::upstream::{Fault, UpstreamError};

/// The largest mail that is read before it is stored, in bytes.
const MAX_READ: usize = 64 * 1024 * 1024;

/// A refused mail that comes anyway is read away for as long as this.
const SKIPPING: Duration = Duration::from_secs(120);
/// A mail that passes through may take as long as this, and a second more for so many bytes of it: it takes one of few places.
const PASSING: Duration = Duration::from_secs(120);
const SLOWEST: u64 = 32 * 1024;
const STORING: &str = "other mails are being stored in this account, and that takes long: try again";
/// How long a mail waits for others that are being stored, and a change of mailboxes for others of that kind.
pub(super) const OTHERS: Duration = Duration::from_secs(10);

impl MailSession {
    pub(super) async fn append(&mut self, tag: &str, append: Append, talk: &mut Talk) -> io::Result<Next> {
        let literal = append.literal;
        let next = self.decided(tag, append, talk).await?;
        // A mail that was not asked for comes anyway.
        match next {
            Stored::Read(next) => Ok(next),
            Stored::Unread(next) => Ok(if self.skipped(literal, talk).await? { next } else { Next::Close }),
        }
    }

    /// Reads away a mail that comes although nobody waits for it; false if nobody knows where the next command begins.
    async fn skipped(&self, literal: Announced, talk: &mut Talk) -> io::Result<bool> {
        if literal.waits {
            return Ok(true);
        }
        tokio::select! {
            skipped = tokio::time::timeout(SKIPPING, talk.skip(literal)) => skipped.unwrap_or(Ok(false)),
            () = self.over() => Ok(false),
        }
    }

    /// An APPEND that was refused before anything was decided: its mail is read and dropped, where it comes anyway.
    pub(super) async fn append_refused(
        &mut self,
        tag: &str,
        append: &Append,
        text: &str,
        talk: &mut Talk,
    ) -> io::Result<Next> {
        talk.line(&format!("{tag} {text}"));
        Ok(if self.skipped(append.literal, talk).await? { Next::Command } else { Next::Close })
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
        if literal.binary && !self.wire.capabilities.iter().any(|one| one == "BINARY") {
            talk.line(&format!("{tag} NO [UNKNOWN-CTE] The mail server takes no mails with NUL in them"));
            return Ok(Stored::Unread(Next::Command));
        }
        let Some(mut call) = append_call(&mailbox, &args, literal.size) else {
            talk.line(&format!("{tag} BAD This can't be written"));
            return Ok(Stored::Unread(Next::Command));
        };
        if literal.binary {
            call.headers.push((BINARY.to_owned(), "yes".to_owned()));
        }
        self.appended = self.appended.wrapping_add(1);
        let nonce = u64::from(self.peer.port()) << 32 | self.appended;
        let part = appending(call.clone(), &mailbox, &flags, literal.size, (nonce, self.server.uidplus));
        // Whom a mail names must be noted before it can be among the sent ones.
        let context = Context { reads_first: self.server.is_sent(&mailbox), ..Context::default() };
        match self.ruled_in(tag, part.clone(), (context, None), talk).await? {
            Ruled::Go { permit, hold } => {
                let stored = self.store(tag, permit, part, literal, talk).await;
                self.settled(hold.as_deref());
                stored
            }
            Ruled::Told(next) => Ok(Stored::Unread(next)),
            Ruled::Done(answer) => Ok(Stored::Unread(self.finish(tag, &answer, None, talk)?)),
            Ruled::ReadFirst => self.read_first(tag, (call, &mailbox, &flags), literal, talk).await,
        }
    }

    /// Takes the whole mail, and decides with what it says.
    async fn read_first(
        &mut self,
        tag: &str,
        (call, mailbox, flags): (Call, &str, &[String]),
        literal: Announced,
        talk: &mut Talk,
    ) -> io::Result<Stored> {
        let unread = |talk: &mut Talk, text: &str| {
            talk.line(&format!("{tag} NO {text}"));
            Ok(Stored::Unread(Next::Command))
        };
        let runtime = Arc::clone(&self.runtime);
        let Some(opened) = runtime.opened() else { return Ok(Stored::Unread(Next::Close)) };
        let Some(size) = usize::try_from(literal.size).ok().filter(|size| *size <= MAX_READ) else {
            return unread(talk, "[TOOBIG] This mail is too large to be shown to the person, so it can't be stored");
        };
        let Some(one) = opened.ahead.turn(&self.session.agent).await else {
            return unread(
                talk,
                "[LIMIT] Another mail of this agent is being read, so this one was not stored: try again",
            );
        };
        let mut source = Arriving::new(&*self, talk, literal);
        let read = ahead::read(&opened.spool, &mut source, size).await;
        let ended = source.ended;
        drop(one);
        let (mail, turn) = match read {
            Ok(read) => read,
            Err(Unread::Broken) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(why) => {
                talk.line(&match why {
                    Unread::Room(error) => format!("{tag} NO [LIMIT] {error}. Nothing was stored"),
                    Unread::Late => format!("{tag} NO [LIMIT] The mail took too long to arrive, so it was not stored"),
                    Unread::Longer | Unread::Broken => {
                        format!("{tag} BAD Something follows the mail, so nothing was stored")
                    }
                });
                // In the middle of a literal nobody knows where the next command begins.
                return Ok(Stored::Read(if ended { Next::Command } else { Next::Close }));
            }
        };
        let part = storing(call, mailbox, flags, &Bytes::from(mail), self.server.uidplus);
        let next = match self.ruled_in(tag, part, (Context::default(), turn), talk).await? {
            Ruled::Told(next) => next,
            Ruled::Done(answer) => {
                super::act::untagged(&answer, talk);
                self.finish(tag, &answer, None, talk)?
            }
            Ruled::Go { .. } | Ruled::ReadFirst => {
                Self::told(talk, tag, "NO [SERVERBUG] Latchstring did not store this")?
            }
        };
        Ok(Stored::Read(next))
    }

    async fn store(
        &mut self,
        tag: &str,
        permit: Permit,
        part: Part,
        literal: Announced,
        talk: &mut Talk,
    ) -> io::Result<Stored> {
        let runtime = Arc::clone(&self.runtime);
        let Some(opened) = runtime.opened() else { return Ok(Stored::Unread(Next::Close)) };
        let account = Arc::clone(&self.account);
        let Ok(Ok(_one)) = tokio::time::timeout(OTHERS, account.storing.acquire()).await else {
            talk.line(&format!(
                "{tag} NO [LIMIT] Another mail is being stored in this account, so this one was not: try again"
            ));
            return Ok(Stored::Unread(Next::Command));
        };
        let all = runtime.all_before(&account, permit.epoch(), &self.server).await;
        let mut source = Arriving::new(&*self, talk, literal);
        let stored = runtime.append(opened, &self.account, permit, &part, &mut source, (None, all)).await;
        let (begun, ended) = (source.begun, source.ended);
        let next = match stored {
            Ok(answer) => {
                talk.line(&crate::door::imap::passing::tagged(tag, &answer.status));
                Next::Command
            }
            Err(failure) => {
                talk.line(&format!("{tag} NO [UNAVAILABLE] {failure}"));
                // In the middle of a literal nobody knows where the next command begins.
                if begun && !ended { Next::Close } else { Next::Command }
            }
        };
        Ok(if begun { Stored::Read(next) } else { Stored::Unread(next) })
    }
}

impl Runtime {
    /// Stores a mail that was read whole.
    pub(super) async fn execute_append(
        &self,
        opened: &Opened,
        account: &Account,
        permit: Permit,
        part: &Part,
    ) -> Result<Answer, Failure> {
        let CallBody::Bytes(mail) = &part.call.body else { return Err(Failure::NotDivisible) };
        // Whoever asked hears meanwhile that it is waited for.
        let one = tokio::time::timeout(PASSING, account.storing.acquire()).await;
        let _one = one.ok().and_then(Result::ok).ok_or(Failure::InUse(STORING))?;
        let server = self.mail_server_now(opened, account, permit.epoch()).await.map_err(Failure::Snapshot)?;
        let entering = sent::appends(part, &server).map(|writes| Entering::new(opened, account, writes));
        if self.tasks.is_ending() {
            return Err(Failure::Ending);
        }
        let all = self.all_before(account, permit.epoch(), &server).await;
        let mut source = Whole::new(mail.clone());
        let answer = self.append(opened, account, permit, part, &mut source, (entering, all)).await?;
        let codes = answer.statuses().filter_map(|status| status.code.clone()).collect();
        Ok(answered(&answer.status, codes, ""))
    }

    /// Intent, lease, command, outcome. `all`: all mail as it was before, on Gmail.
    async fn append(
        &self,
        opened: &Opened,
        account: &Account,
        permit: Permit,
        part: &Part,
        source: &mut dyn Source,
        (mut entering, all): (Option<Entering>, Option<(u32, u32)>),
    ) -> Result<MailAnswer, Failure> {
        let call = &part.call;
        let mailbox = mailboxes(part).next().unwrap_or_default();
        let (mut plan, mut commit) = {
            let now = opened.now();
            let mut guard = opened.guard();
            let mut plan = guard.begin(permit, std::slice::from_ref(call), now);
            let commit = guard.intent(&mut plan, 0, now);
            (plan, commit)
        };
        if let Some(entering) = &mut entering {
            commit.puts.extend(entering.puts());
        }
        crate::fail::point("before-intent");
        let receipt = opened.store.commit(commit).await?;
        crate::fail::point("after-intent");
        let lease = opened.guard().lease(&mut plan, 0);
        let sent = match lease {
            Ok(lease) => opened.upstream.mail_append(lease, &account.target, call, source).await,
            Err(_) => Err(UpstreamError { fault: Fault::Stopped, sent: false }),
        };
        crate::fail::point("before-outcome");
        let text = match &sent {
            Ok(answer) if answer.is_ok() => "stored".to_owned(),
            Ok(answer) => format!("the mail server said no: {}", answer.status.text),
            Err(error) if error.sent => {
                format!("unknown: {error}. Undo can't take back what it may have stored: look at the newest mail there")
            }
            Err(error) => format!("not stored: {error}"),
        };
        let mut commit = opened.guard().outcome(&plan, receipt.seq, None, text, opened.now());
        if let Ok(answer) = &sent
            && let Some((uidvalidity, uid)) = answer.statuses().find_map(Status::appended)
        {
            let on = On { mailbox: mailbox.to_owned(), uidvalidity: Some(uidvalidity), uids: Vec::new() };
            if let Some(mut entry) = arrived(None, part, &on, mailbox, uidvalidity, &[(0, uid)]) {
                if let Some((uidvalidity, next)) = all {
                    note_all(&mut entry, uidvalidity, next);
                }
                let (id, counter) = opened.guard().next_undo();
                let agent = plan.agent().unwrap_or_default().to_owned();
                let undo = Undo::new(&id, &agent, &account.id, part, entry, opened.now());
                for record in &mut commit.records {
                    record.undo = Some(id.clone());
                }
                commit.puts.extend([counter, undo.put()]);
            }
        }
        if let Some(mut entering) = entering {
            let stored = match &sent {
                Ok(answer) => {
                    entering.came(answer, mailbox);
                    usize::from(answer.is_ok())
                }
                Err(error) => usize::from(error.sent),
            };
            commit.extend(entering.known(opened, stored));
        }
        opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
        sent.map_err(|error| Failure::Upstream(Arc::new(error)))
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
    until: Instant,
}

impl Source for Arriving<'_> {
    fn next(&mut self, left: u64) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            self.begin().await?;
            let patience = self.until.min(Instant::now() + STALLED);
            let chunk = tokio::select! {
                chunk = tokio::time::timeout_at(patience, self.talk.chunk(left)) => chunk.ok()?.ok()?,
                () = self.session.over() => return None,
            };
            self.until += Duration::from_millis((chunk.len() as u64).saturating_mul(1000) / SLOWEST);
            Some(chunk)
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

impl<'a> Arriving<'a> {
    fn new(session: &'a MailSession, talk: &'a mut Talk, literal: Announced) -> Self {
        Self { session, talk, literal, begun: false, ended: false, until: Instant::now() + PASSING }
    }

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
