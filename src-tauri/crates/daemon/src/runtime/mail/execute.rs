//! From a permit to what a deed became: snapshot, then step by step intent, lease, command, outcome.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use latch_core::call::Call;
use latch_core::classify::imap::deed::{Deed, On, Server, command, deed_of, is_append, object};
use latch_core::classify::imap::reply::{Fetched, Kind, Status};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::steps::Step;
use latch_core::classify::imap::token::Token;
use latch_core::guard::EVERYTHING;
use latch_core::journal::Shelf;
use latch_core::lease::Epoch;
use latch_core::operation::{Class, Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe::Answer;
use latch_core::undo::Difference;
use latch_core::undo::imap::{arranged, arrived, note_identity, note_rights, untouched};

use super::ready::Ready;
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::read::ReadError;
use crate::runtime::undo::Undo;
use crate::runtime::{Opened, Runtime};
use crate::upstream::imap::MailAnswer;
use crate::upstream::{Fault, UpstreamError};

/// What the largest answer to a change may take in memory, in bytes.
pub(super) const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// What says in an answer how many messages the person let it be done to.
pub(super) const ALLOWED: &str = "allowed";

/// What is read of messages on Gmail before and after their labels change.
pub(super) const LABELS: [&str; 4] = ["UID", "FLAGS", "X-GM-LABELS", "X-GM-MSGID"];

impl Runtime {
    /// Runs a deed to its end.
    pub(crate) async fn execute_mail(
        &self,
        account: &Account,
        permit: Permit,
        request: Request,
    ) -> Result<Answer, Failure> {
        let opened = self.opened().ok_or(Failure::Stopped)?;
        let part = request.parts.into_iter().next().ok_or(Failure::NotDivisible)?;
        if is_append(&part.call) {
            return self.execute_append(opened, account, permit, &part).await;
        }
        let (deed, on) = deed_of(&part).ok_or(Failure::NotDivisible)?;
        let Ready { steps, undo, counter, said, mut entering, still, turn: _turn } =
            self.ready(opened, account, &permit, &part, &deed, &on).await?;
        if part.operation.class == Class::Modify {
            let everything = [EVERYTHING.to_owned()];
            let renames = matches!(deed, Deed::Rename { .. });
            let touched = if renames { &everything } else { part.operation.objects.ids() };
            opened.guard().spare(&account.id, touched, opened.now());
        }
        let calls: Vec<Call> = steps.iter().map(|step| step.call.clone()).collect();
        let leave = matches!(deed, Deed::Move { .. }) || part.operation.class == Class::Destroy;
        let epoch = permit.epoch();
        let mut plan = {
            let now = opened.now();
            opened.guard().begin(permit, &calls, now)
        };
        let agent = plan.agent().unwrap_or_default().to_owned();
        let (mut undo, mut counter) = (undo, counter);
        let mut codes: Vec<String> = Vec::new();
        let mut conflicts: Vec<u32> = Vec::new();
        let mut last: Option<Status> = None;
        // What was said to be copied: what follows a copy removes its messages.
        let mut copied: Option<BTreeSet<u32>> = None;
        for (index, step) in steps.into_iter().enumerate() {
            if self.tasks.is_ending() {
                if index == 0
                    && let Some(undo) = &undo
                {
                    self.forget_copies(opened, &on, &undo.id).await;
                }
                return Err(Failure::Ending);
            }
            if step.moves_to.is_none()
                && let Some(copied) = &copied
                && self.uncopied(account, epoch, &on, &step, copied).await
            {
                last = Some(not_all_copied());
                break;
            }
            let mut commit = opened.guard().intent(&mut plan, index, opened.now());
            if index == 0
                && let Some(undo) = &undo
            {
                commit.puts.push(undo.put());
                commit.puts.extend(counter.take());
            }
            if let Some(entering) = &mut entering {
                commit.puts.extend(entering.puts());
            }
            crate::fail::point("before-intent");
            let receipt = match opened.store.commit(commit).await {
                Ok(receipt) => receipt,
                Err(error) => {
                    if index == 0
                        && let Some(undo) = &undo
                    {
                        self.forget_copies(opened, &on, &undo.id).await;
                    }
                    return Err(error.into());
                }
            };
            crate::fail::point("after-intent");
            if crate::fail::is_here("panic-after-intent") {
                let _ = self.panic("a failpoint");
            }
            let lease = opened.guard().lease(&mut plan, index);
            let sent = match (lease, &still) {
                (Err(_), _) => Err(UpstreamError { fault: Fault::Stopped, sent: false }),
                (Ok(lease), Some(still)) => {
                    opened.upstream.mail_while(lease, &account.target, &step.call, still, MAX_ANSWER).await
                }
                (Ok(lease), None) => opened.upstream.mail(lease, &account.target, &step.call, MAX_ANSWER).await,
            };
            crate::fail::point("before-outcome");
            let text = match &sent {
                Ok(answer) if answer.is_ok() => "done".to_owned(),
                Ok(answer) => format!("the mail server said no: {}", answer.status.text),
                Err(error) if error.sent && undo.is_none() => {
                    format!("unknown: {error}. Undo can't take back what it may have made: look at it")
                }
                Err(error) if error.sent => format!("unknown: {error}"),
                Err(error) => format!("not done: {error}"),
            };
            let mut commit = opened.guard().outcome(
                &plan,
                receipt.seq,
                undo.as_ref().map(|undo| undo.id.clone()),
                text,
                opened.now(),
            );
            if let Ok(answer) = &sent {
                if step.moves_to.is_some() {
                    copied.get_or_insert_default().extend(copied_of(answer));
                }
                if answer.is_ok()
                    && let Some(known) = &mut undo
                    && self.note_done(account, epoch, &deed, &on, known).await
                {
                    commit.puts.push(known.put());
                }
                codes.extend(answer.codes.iter().filter_map(|status| status.code.clone()));
                if let (Some(to), Some(entering)) = (step.moves_to.as_deref(), &mut entering) {
                    entering.came(answer, to);
                }
                // Some may have arrived although the server says no.
                let arrived = answer.is_ok() || !copied_of(answer).is_empty();
                if let Some(to) = step.moves_to.as_deref().filter(|_| arrived) {
                    opened.guard().spare(&account.id, &arrived_at(answer, to), opened.now());
                }
                if let Some(grown) = arrival(answer, &step, &part, &on, undo.as_ref()) {
                    let known = match undo.take() {
                        Some(known) => Undo { entry: grown, ..known },
                        None => {
                            let (id, put) = opened.guard().next_undo();
                            commit.puts.push(put);
                            Undo::new(&id, &agent, &account.id, &part, grown, opened.now())
                        }
                    };
                    for record in &mut commit.records {
                        record.undo = Some(known.id.clone());
                    }
                    commit.puts.push(known.put());
                    undo = Some(known);
                }
            }
            let left = sent.as_ref().map_or_else(|_| Vec::new(), |answer| left_alone(answer, &on));
            if !left.is_empty()
                && let Some(known) = &mut undo
            {
                // What somebody else changed meanwhile is not the agent's to take back.
                let objects = objects_of(&on, &left);
                known.entry.changes.retain(|change| !objects.contains(&change.object));
                if !known.entry.changes.is_empty() {
                    commit.puts.push(known.put());
                }
            }
            conflicts.extend(&left);
            let nothing = undo.as_ref().is_some_and(|undo| undo.entry.changes.is_empty());
            let refused = (index == 0
                && match &sent {
                    // Some may have gone, or changed, before the server said no.
                    Ok(answer) => {
                        !answer.is_ok()
                            && copied_of(answer).is_empty()
                            && (!leave || self.are_there(account, epoch, &on).await)
                            && self.are_untouched(account, epoch, &on, undo.as_ref()).await
                    }
                    Err(error) => !error.sent,
                })
                || nothing;
            let unneeded = undo.take_if(|_| refused).map(|undo| undo.id);
            if let Some(entry) = &unneeded {
                commit.deletes.push((Shelf::Undo, entry.clone()));
                for record in &mut commit.records {
                    record.undo = None;
                }
            }
            opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
            if refused && let Some(nothing) = entering.take() {
                opened.store.commit(nothing.known(opened, 0)).await?;
            }
            if let Some(entry) = unneeded {
                self.forget_copies(opened, &on, &entry).await;
            } else if let Some(known) = undo.as_ref().filter(|_| !left.is_empty()) {
                self.forget_copies(opened, &On { uids: left, ..on.clone() }, &known.id).await;
            }
            let answer = match sent {
                Err(UpstreamError { fault: Fault::Changed { .. }, sent: false }) if still.is_some() => {
                    let what = "since it was shown, something came into the mailbox, or another has its name";
                    return Err(Failure::Changed(what.to_owned()));
                }
                sent => sent.map_err(|error| Failure::Upstream(Arc::new(error)))?,
            };
            let ok = answer.is_ok();
            if step.counts || !ok {
                last = Some(answer.status);
            }
            if !ok {
                break;
            }
        }
        if let Some(entering) = entering
            && !on.uids.is_empty()
        {
            opened.store.commit(entering.known(opened, on.uids.len())).await?;
        }
        let last = last.ok_or(Failure::NotDivisible)?;
        let mut answer = answered(&last, codes, said);
        answer.headers.push((ALLOWED.to_owned(), on.uids.len().to_string()));
        if let Some(set) = Set::of(&conflicts) {
            answer.headers.push(("modified".to_owned(), set.to_string()));
            answer.body =
                Bytes::from_static(b"These have changed since, so they are as they were; the others are done");
        }
        Ok(answer)
    }

    /// The server, on a connection whose capabilities are known.
    pub(super) async fn mail_server_now(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
    ) -> Result<Server, ReadError> {
        let can = self.mail_can(opened, account, epoch).await?;
        self.mail_server(opened, account, epoch, &can).await
    }

    async fn mail_can(&self, opened: &Opened, account: &Account, epoch: Epoch) -> Result<Vec<String>, ReadError> {
        let call = command("NOOP", None, &[]).ok_or(ReadError::Stopped)?;
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| ReadError::Stopped)?;
        let can = opened.upstream.mail_capabilities(lease, &account.target, &call).await;
        can.map_err(|error| ReadError::Upstream(Arc::new(error)))
    }

    /// The same, where all that a deed asks of it may be what it can: flags hang on no mailbox, but on Gmail, where they move.
    pub(super) async fn mail_server_for(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        deed: &Deed,
    ) -> Result<Server, ReadError> {
        let can = self.mail_can(opened, account, epoch).await?;
        let server = Server::of(&[], |one| can.iter().any(|known| known == one));
        match deed {
            Deed::Store { .. } if !server.gmail => Ok(server),
            _ => self.mail_server(opened, account, epoch, &can).await,
        }
    }

    /// What somebody may do in a mailbox now (RFC 4314).
    pub(super) async fn rights(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        who: &str,
    ) -> Result<Option<String>, ReadError> {
        let call = command("GETACL", None, &[Token::text(mailbox)]).ok_or(ReadError::Stopped)?;
        let answer = self.mail_read(account, epoch, &call).await?;
        let listed =
            answer.untagged.iter().find(|tokens| tokens.first().and_then(Token::word).as_deref() == Some("ACL"));
        let (pairs, _) = listed.and_then(|tokens| tokens.get(2..)).unwrap_or_default().as_chunks::<2>();
        let own = pairs.iter().find(|[name, _]| name.nstring().as_deref() == Some(who));
        Ok(own.and_then(|[_, rights]| rights.nstring()).map(std::borrow::Cow::into_owned))
    }

    /// Whether all of these messages are still in their mailbox.
    async fn are_there(&self, account: &Account, epoch: Epoch, on: &On) -> bool {
        on.uids.is_empty()
            || self.mail_fetch(account, epoch, on, &["UID"]).await.is_ok_and(|found| found.len() == on.uids.len())
    }

    /// Whether the messages have the flags or labels that they had, if these were to change.
    async fn are_untouched(&self, account: &Account, epoch: Epoch, on: &On, undo: Option<&Undo>) -> bool {
        let Some(entry) = undo.map(|undo| &undo.entry) else { return true };
        let uidvalidity = on.uidvalidity.unwrap_or_default();
        if !entry.changes.iter().any(|change| matches!(change.difference, Difference::Set { .. })) {
            return true;
        }
        let items: &[&str] = if entry.recipe == "labels" { &LABELS } else { &["UID", "FLAGS"] };
        let named = |(uid, one): (u32, Fetched)| (object(&on.mailbox, uidvalidity, uid), one.present);
        let now = self.mail_fetch(account, epoch, on, items).await;
        now.is_ok_and(|now| untouched(entry, &now.into_iter().map(named).collect()))
    }

    /// What is known of a mailbox only when a deed on it is done.
    async fn note_done(&self, account: &Account, epoch: Epoch, deed: &Deed, on: &On, undo: &mut Undo) -> bool {
        if let Deed::SetAcl { who, .. } = deed {
            let rights = self.rights(account, epoch, &on.mailbox, who).await;
            return rights.is_ok_and(|rights| {
                note_rights(&mut undo.entry, rights.as_deref());
                true
            });
        }
        let Some(mailbox) = arranged(&undo.entry).map(str::to_owned) else { return false };
        let identity = self.mail_identity(account, epoch, &mailbox).await;
        identity.is_ok_and(|identity| {
            note_identity(&mut undo.entry, identity);
            true
        })
    }

    /// Which of a step's messages nobody said to be copied, although they are there still: what follows would remove them.
    async fn uncopied(&self, account: &Account, epoch: Epoch, on: &On, step: &Step, copied: &BTreeSet<u32>) -> bool {
        let uids: Vec<u32> = step.uids.iter().copied().filter(|uid| !copied.contains(uid)).collect();
        if uids.is_empty() {
            return false;
        }
        let found = self.mail_fetch(account, epoch, &On { uids, ..on.clone() }, &["UID"]).await;
        found.map_or(true, |found| !found.is_empty())
    }

    /// Nothing goes, so nothing is kept.
    pub(super) async fn forget_copies(&self, opened: &Opened, on: &On, entry: &str) {
        let uidvalidity = on.uidvalidity.unwrap_or_default();
        let objects = on.uids.iter().map(|uid| object(&on.mailbox, uidvalidity, *uid)).collect();
        let _ = opened.store.quarantine_forget(entry, objects).await;
    }
}

/// Of these messages, those that a conditional STORE left alone.
fn left_alone(answer: &MailAnswer, on: &On) -> Vec<u32> {
    let named: BTreeSet<u32> = on.uids.iter().copied().collect();
    answer.statuses().flat_map(Status::modified).filter(|uid| named.contains(uid)).collect()
}

fn objects_of(on: &On, uids: &[u32]) -> BTreeSet<String> {
    uids.iter().map(|uid| object(&on.mailbox, on.uidvalidity.unwrap_or_default(), *uid)).collect()
}

/// The messages that an answer says were copied or moved.
fn copied_of(answer: &MailAnswer) -> Vec<u32> {
    let pairs = answer.statuses().find_map(Status::copied).map(|(_, pairs)| pairs);
    pairs.unwrap_or_default().into_iter().map(|(from, _)| from).collect()
}

fn not_all_copied() -> Status {
    let text = "The mail server did not say that it copied all of these, so none of them was removed from where it was. Look where they are";
    Status { tag: String::new(), kind: Kind::No, code: Some("UNAVAILABLE".to_owned()), text: text.to_owned() }
}

/// The objects that a step made in this mailbox.
fn arrived_at(answer: &MailAnswer, to: &str) -> Vec<String> {
    match answer.statuses().find_map(Status::copied) {
        Some((uidvalidity, pairs)) => pairs.iter().map(|(_, uid)| object(to, uidvalidity, *uid)).collect(),
        None => vec![EVERYTHING.to_owned()],
    }
}

/// What a step's answer says about where the messages are now.
fn arrival(
    answer: &MailAnswer,
    step: &Step,
    part: &Part,
    on: &On,
    undo: Option<&Undo>,
) -> Option<latch_core::undo::Entry> {
    let to = step.moves_to.as_deref()?;
    let (uidvalidity, pairs) = answer.statuses().find_map(Status::copied)?;
    arrived(undo.map(|undo| undo.entry.clone()), part, on, to, uidvalidity, &pairs)
}

pub(super) fn answered(last: &Status, codes: Vec<String>, said: &str) -> Answer {
    let ok = last.kind == Kind::Ok;
    let mut headers: Vec<(String, String)> = Vec::new();
    // What was in conflict is told by whoever knows whether it was named by number.
    let shown = |code: &str| {
        let code = code.to_ascii_uppercase();
        !code.starts_with("CAPABILITY") && !code.starts_with("MODIFIED")
    };
    // Where softened messages went is nothing that the client asked for.
    if said.is_empty() {
        headers.extend(
            codes.into_iter().filter(|code| code.starts_with("COPYUID")).map(|code| ("untagged".to_owned(), code)),
        );
        headers.extend(last.code.clone().filter(|code| shown(code)).map(|code| ("code".to_owned(), code)));
    }
    let text = if said.is_empty() || !ok { last.text.clone() } else { said.to_owned() };
    Answer { status: if ok { 200 } else { 409 }, headers, body: Bytes::from(text) }
}

/// The answer to what did not run.
pub(crate) fn refused(failure: &Failure) -> Answer {
    let code = match failure {
        Failure::Quarantine(_) | Failure::NotDivisible | Failure::Changed(_) => "CANNOT",
        Failure::InUse(_) => "INUSE",
        _ => "UNAVAILABLE",
    };
    Answer { status: 502, headers: vec![("code".to_owned(), code.to_owned())], body: Bytes::from(failure.to_string()) }
}
