//! The mail in a mail server's INBOX, on a connection of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use latch_core::call::Call;
use latch_core::classify::imap::deed::{On, Server, append_call, command};
use latch_core::classify::imap::name::INBOX;
use latch_core::classify::imap::reply::{self, Status};
use latch_core::classify::imap::steps;
use latch_core::classify::imap::token::Token;
use latch_core::lease::{Epoch, Redeemed};
use latch_core::phone::{Anchor, Look};

use super::place::{How, Over, Place, cut};
use crate::runtime::accounts::Account;
use crate::runtime::mail::Whole;
use crate::runtime::{Opened, Runtime};
use crate::upstream::imap::{MailAnswer, Wire};
use crate::upstream::{Fault, UpstreamError};

/// A server that can't report changes is asked this often.
const POLL: Duration = Duration::from_secs(15);
/// Also one that does: a connection that died silently is noticed, and none is ever idle for the 29 minutes of RFC 2177.
const AGAIN: Duration = Duration::from_secs(120);
/// An answer to the few words that are said here takes no longer.
const ANSWER: Duration = Duration::from_secs(20);
/// Between two looks at an inbox in which much happens.
const BREATH: Duration = Duration::from_millis(250);
const _: () = assert!(
    BREATH.as_secs() < 1 && AGAIN.as_secs() > 60,
    "what a server reports is seen at once, and the tests can tell"
);
/// So many messages that a search found are looked at.
const MOST_FOUND: usize = 20;
/// What all that happens in an inbox meanwhile may take in memory, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// See the module.
pub(super) struct Mailbox<'a> {
    runtime: &'a Runtime,
    opened: &'a Opened,
    account: &'a Account,
    epoch: Epoch,
    wire: Wire,
    pushes: bool,
}

impl<'a> Mailbox<'a> {
    pub(super) async fn open(
        runtime: &'a Arc<Runtime>,
        opened: &'a Opened,
        account: &'a Account,
        epoch: Epoch,
    ) -> Result<Self, Over> {
        let call = command("NOOP", None, &[]).ok_or(Over::Rest)?;
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| Over::Rest)?;
        let wire = in_time(opened.upstream.mail_open(lease, &account.target, &call)).await?;
        let pushes = wire.capabilities.iter().any(|one| one == "IDLE");
        Ok(Self { runtime, opened, account, epoch, wire, pushes })
    }

    fn has(&self, capability: &str) -> bool {
        self.wire.capabilities.iter().any(|one| one == capability)
    }

    fn redeem(&self, call: &Call) -> Result<Redeemed, Over> {
        let lease = self.opened.guard().lease_preview(&self.account.id, call, self.epoch).map_err(|_| Over::Rest)?;
        Ok(self.opened.upstream.mail_redeem(lease, &self.account.target, call)?)
    }

    /// One command that reads.
    async fn ask(&mut self, verb: &str, args: &[Token]) -> Result<MailAnswer, Over> {
        let call = command(verb, None, args).ok_or(Over::Rest)?;
        let redeemed = self.redeem(&call)?;
        let answer = in_time(async {
            let tag = self.wire.send(&redeemed, &call, None).await?;
            self.wire.answer(&tag, MAX_ANSWER).await
        });
        let answer = answer.await?;
        if answer.is_ok() {
            return Ok(answer);
        }
        Err(Over::Lost(format!("the mail server said no to {verb}: {}", cut(&answer.status.text))))
    }

    /// Opens the INBOX anew, for reading, and says which one it is: what others did in it meanwhile is known after that.
    async fn examine(&mut self) -> Result<u32, Over> {
        let answer = self.ask("EXAMINE", &[Token::text(INBOX)]).await?;
        let found = answer.statuses().find_map(Status::uidvalidity);
        found.ok_or_else(|| Over::Lost("the mail server gives its INBOX no UIDVALIDITY".to_owned()))
    }

    async fn search(&mut self, name: &str, uidvalidity: u32) -> Result<Vec<Anchor>, Over> {
        let keys = [Token::atom("UNDELETED"), Token::atom("HEADER"), Token::atom("Message-ID"), Token::text(name)];
        let answer = self.ask("UID SEARCH", &keys).await?;
        let mut found = Vec::new();
        for uid in answer.found.into_iter().take(MOST_FOUND) {
            // Servers have been seen to ignore the words of a search.
            if self.is_called(uid, name).await? {
                found.push(self.anchor(uidvalidity, uid).await?);
            }
        }
        Ok(found)
    }

    /// Whether a message in the open INBOX has this Message-ID.
    async fn is_called(&mut self, uid: u32, name: &str) -> Result<bool, Over> {
        let answer = self.ask("UID FETCH", &[Token::atom(uid.to_string()), Token::atoms(["UID", "ENVELOPE"])]).await?;
        let about = answer.untagged.iter().filter_map(|tokens| reply::fetched(tokens));
        let envelope = about.filter(|one| one.uid == Some(uid)).find_map(|one| one.envelope).unwrap_or_default();
        Ok(envelope.get(9).and_then(Token::nstring).is_some_and(|id| id.trim() == format!("<{name}>")))
    }

    /// The anchor of a message in the open INBOX.
    async fn anchor(&mut self, uidvalidity: u32, uid: u32) -> Result<Anchor, Over> {
        let mut everywhere = None;
        if self.has("X-GM-EXT-1") {
            let args = [Token::atom(uid.to_string()), Token::atoms(["UID", "X-GM-MSGID"])];
            let answer = self.ask("UID FETCH", &args).await?;
            everywhere = answer.untagged.iter().find_map(|tokens| reply::item_of(tokens, uid, "X-GM-MSGID"));
        }
        Ok(Anchor::Imap { uidvalidity, uid, everywhere })
    }

    /// RFC 2177: until the server says something.
    async fn idle(&mut self) -> Result<(), Over> {
        let call = command("IDLE", None, &[]).ok_or(Over::Rest)?;
        let redeemed = self.redeem(&call)?;
        let tag = in_time(self.wire.send(&redeemed, &call, None)).await?;
        let before = self.wire.lines();
        if let Some(refused) = in_time(self.wire.go_ahead(&tag)).await? {
            // It said that it can, and can't: it is looked at instead.
            tracing::warn!(account = %self.account.id, text = %refused.text, "IDLE was refused, so the inbox is looked at now and then");
            self.pushes = false;
            return Ok(());
        }
        // What came before the go-ahead may have been about our mail.
        if self.wire.lines() == before.wrapping_add(1) {
            let _ = tokio::time::timeout(AGAIN, self.wire.ready()).await;
        }
        in_time(self.wire.write(&redeemed, b"DONE\r\n")).await?;
        in_time(self.wire.answer(&tag, MAX_ANSWER)).await?;
        Ok(())
    }
}

impl Place for Mailbox<'_> {
    async fn find(&mut self, name: &str) -> Result<Vec<Anchor>, Over> {
        let uidvalidity = self.examine().await?;
        self.search(name, uidvalidity).await
    }

    async fn leave(&mut self, mail: &str) -> Result<Option<Anchor>, Over> {
        let args = [Token::text(INBOX), Token::atoms(["\\Seen", "\\Flagged"])];
        let call = append_call(INBOX, &args, mail.len() as u64).ok_or(Over::Rest)?;
        let (lease, ending) = self
            .runtime
            .begin_own(self.opened, &self.account.id, "phone.leave", &call)
            .await
            .map_err(Over::unstored)?;
        let mut whole = Whole::new(mail.as_bytes().to_vec());
        let appended = self.opened.upstream.mail_append(lease, &self.account.target, &call, &mut whole);
        let sent = match in_time(appended).await {
            Err(error) if !whole.is_over() => Err(UpstreamError { sent: false, ..error }),
            sent => sent,
        };
        let text = match &sent {
            Ok(answer) if answer.is_ok() => "stored".to_owned(),
            Ok(answer) => format!("the mail server said no: {}", cut(&answer.status.text)),
            Err(error) if error.sent => format!("unknown: {error}"),
            Err(error) => format!("not stored: {error}"),
        };
        let recorded = self.runtime.end_own(self.opened, &ending, text.clone()).await;
        match &sent {
            Err(error) if !error.sent => return Err(Over::Unstored(cut(&text))),
            Ok(answer) if !answer.is_ok() && answer.status.is_temporary() => return Err(Over::Unstored(text)),
            Ok(answer) if !answer.is_ok() => return Err(Over::Refused(text)),
            _ => recorded?,
        }
        let answer = sent?;
        let Some((uidvalidity, uid)) = answer.statuses().find_map(Status::appended) else { return Ok(None) };
        if self.has("X-GM-EXT-1") {
            self.examine().await?;
        }
        self.anchor(uidvalidity, uid).await.map(Some)
    }

    async fn look(&mut self, name: &str, anchor: &Anchor) -> Result<Look, Over> {
        let Anchor::Imap { uidvalidity, uid, .. } = anchor else {
            return Err(Over::Lost(
                "the mail is not one of a mail server: switch the phone stop off and on".to_owned(),
            ));
        };
        let present = self.examine().await?;
        if present != *uidvalidity {
            return Ok(Look::Renewed(self.search(name, present).await?));
        }
        let answer = self.ask("UID FETCH", &[Token::atom(uid.to_string()), Token::atoms(["UID", "FLAGS"])]).await?;
        let about = answer.untagged.iter().filter_map(|tokens| reply::fetched(tokens));
        let flags: Vec<_> = about.filter(|one| one.uid == Some(*uid)).map(|one| one.present.flags).collect();
        let marked = flags.iter().flatten().any(|flag| flag.eq_ignore_ascii_case("\\Deleted"));
        Ok(if flags.is_empty() || marked { Look::Left } else { Look::There })
    }

    async fn wait(&mut self) -> Result<(), Over> {
        if self.pushes {
            self.idle().await?;
            tokio::time::sleep(BREATH).await;
        } else {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn remove(&mut self, anchor: &Anchor) -> Result<(), Over> {
        let Anchor::Imap { uidvalidity, uid, .. } = anchor else { return Err(Over::Rest) };
        let on = On { mailbox: INBOX.to_owned(), uidvalidity: Some(*uidvalidity), uids: vec![*uid] };
        let uidplus = self.has("UIDPLUS");
        let server = Server { uidplus, ..Server::default() };
        let marks = steps::store(&on, "+FLAGS.SILENT", vec![Token::atom("\\Deleted")], None, true);
        // Without UIDPLUS it stays marked: a plain EXPUNGE would take what others marked.
        let removals = steps::expunge(&on, &server).unwrap_or_default();
        for step in marks.unwrap_or_default().into_iter().chain(removals) {
            let (lease, ending) =
                self.runtime.begin_own(self.opened, &self.account.id, "phone.remove", &step.call).await?;
            let sent = in_time(self.opened.upstream.mail(lease, &self.account.target, &step.call, MAX_ANSWER)).await;
            let text = match &sent {
                Ok(answer) if answer.is_ok() => "done".to_owned(),
                Ok(answer) => format!("the mail server said no: {}", answer.status.text),
                Err(error) => error.to_string(),
            };
            self.runtime.end_own(self.opened, &ending, text.clone()).await?;
            if !sent?.is_ok() {
                return Err(Over::Lost(text));
            }
        }
        Ok(())
    }

    fn how(&self) -> How {
        if self.pushes { How::Pushed } else { How::Looked(POLL) }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, UpstreamError> {
    let silent = || Fault::Timeout { host: "the mail server".to_owned(), doing: "watching the inbox" };
    tokio::time::timeout(ANSWER, work).await.unwrap_or_else(|_| Err(UpstreamError { fault: silent(), sent: true }))
}
