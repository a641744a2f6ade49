//! From a permit to what a deed became: snapshot, then step by step intent, lease, command, outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use latch_core::call::Call;
use latch_core::classify::imap::deed::{Deed, On, Server, command, deed_of, is_append, object};
use latch_core::classify::imap::reply::{Fetched, Kind, Status};
use latch_core::classify::imap::set::Set;
use latch_core::classify::imap::steps::{Step, steps, trashed};
use latch_core::classify::imap::token::Token;
use latch_core::guard::EVERYTHING;
use latch_core::journal::Shelf;
use latch_core::lease::Epoch;
use latch_core::operation::{Class, Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe::Answer;
use latch_core::undo::Difference;
use latch_core::undo::imap::{End, Present, arranged, arrived, entry, note_identity, note_rights, untouched};
use serde::{Deserialize, Serialize};

use super::sent::Entering;
use crate::runtime::accounts::Account;
use crate::runtime::execute::Failure;
use crate::runtime::read::ReadError;
use crate::runtime::undo::Undo;
use crate::runtime::{Opened, Runtime};
use crate::store::Copied;
use crate::upstream::imap::MailAnswer;

/// What the largest answer to a change may take in memory, in bytes.
pub(super) const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// What is read of messages on Gmail before and after their labels change.
pub(super) const LABELS: [&str; 4] = ["UID", "FLAGS", "X-GM-LABELS", "X-GM-MSGID"];

/// A message as the quarantine keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) flags: Vec<String>,
    pub(super) date: Option<String>,
    #[serde(with = "text")]
    pub(super) body: Vec<u8>,
}

mod text {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

/// What is known before the first step.
struct Ready {
    steps: Vec<Step>,
    undo: Option<Undo>,
    counter: Option<latch_core::journal::Put>,
    said: String,
    /// How many messages the steps are about.
    count: usize,
    /// What they may put among the sent mail.
    entering: Option<Entering>,
}

/// What has a mailbox's name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// That mailbox.
    Same,
    /// Another one.
    Another,
    /// Nothing, or the server does not say.
    Unsaid,
}

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
        let _one = if deed.arranges() { Some(account.arranging.lock().await) } else { None };
        let Ready { steps, undo, counter, said, count, mut entering } =
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
            let lease = opened.guard().lease(&mut plan, index)?;
            let sent = opened.upstream.mail(lease, &account.target, &step.call, MAX_ANSWER).await;
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
            let answer = sent.map_err(|error| Failure::Upstream(Arc::new(error)))?;
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
        let mut answer = answered(&last, codes, &said, count);
        if let Some(set) = Set::of(&conflicts) {
            answer.headers.push(("modified".to_owned(), set.to_string()));
            answer.body =
                Bytes::from_static(b"These have changed since, so they are as they were; the others are done");
        }
        Ok(answer)
    }

    /// Copies are kept of what goes; if it does not get as far as that, they are forgotten.
    async fn ready(
        &self,
        opened: &Opened,
        account: &Account,
        permit: &Permit,
        part: &Part,
        deed: &Deed,
        on: &On,
    ) -> Result<Ready, Failure> {
        let (undo_id, counter) = opened.guard().next_undo();
        match self.ready_as(opened, account, permit, part, (deed, on), &undo_id).await {
            Ok(ready) => Ok(Ready { counter: Some(counter), ..ready }),
            Err(failure) => {
                self.forget_copies(opened, on, &undo_id).await;
                Err(failure)
            }
        }
    }

    async fn ready_as(
        &self,
        opened: &Opened,
        account: &Account,
        permit: &Permit,
        part: &Part,
        (deed, on): (&Deed, &On),
        undo_id: &str,
    ) -> Result<Ready, Failure> {
        let epoch = permit.epoch();
        let server = self.mail_server_now(opened, account, epoch).await.map_err(Failure::Snapshot)?;
        let soft = part.operation.soften.is_some() && !permit.forever();
        // A mailbox that is renamed is still there with all that is in it.
        let destroys = part.operation.class == Class::Destroy && !soft && !matches!(deed, Deed::Rename { .. });
        match deed {
            Deed::Delete { .. } => self.is_as_shown(account, epoch, on, &server).await?,
            Deed::SetAcl { .. } | Deed::Rename { .. } => self.is_the_same(account, epoch, on).await?,
            _ => {}
        }
        // Only what has a copy may go.
        let copied;
        let on = if destroys {
            copied = self.keep_mail(opened, account, epoch, deed, on, undo_id).await?;
            &copied
        } else {
            on
        };
        let mut subscribed = false;
        if destroys && let Deed::Delete { .. } = deed {
            subscribed = self.mail_subscribed(account, epoch, &on.mailbox).await.map_err(Failure::Snapshot)?;
            // Copying takes its time.
            self.is_as_shown(account, epoch, on, &server).await?;
        }
        let labels = part.operation.undo.as_deref() == Some("labels");
        let before = match deed {
            Deed::Store { .. } | Deed::Copy { .. } if labels || (matches!(deed, Deed::Store { .. }) && !soft) => {
                let items: &[&str] = if labels { &LABELS } else { &["UID", "FLAGS"] };
                let found = self.mail_fetch(account, epoch, on, items).await.map_err(Failure::Snapshot)?;
                found.into_iter().map(|(uid, fetched)| (uid, fetched.present)).collect()
            }
            // Where the answer to a move is lost, this is what its messages are found by.
            Deed::Move { .. } | Deed::Expunge | Deed::Store { .. }
                if soft || part.operation.class != Class::Destroy =>
            {
                self.before_moving(account, epoch, on).await.map_err(Failure::Snapshot)?
            }
            _ => BTreeMap::<u32, Present>::new(),
        };
        let end = match deed {
            Deed::Expunge | Deed::Store { .. } if soft => End::Trashed { mailbox: server.trash.clone() },
            Deed::Expunge => End::Copied { subscribed },
            Deed::Store { .. } if destroys => End::Copied { subscribed },
            Deed::Delete { .. } if soft => End::Trashed { mailbox: trashed(&on.mailbox, &server, undo_id) },
            Deed::Delete { .. } => End::Copied { subscribed },
            Deed::SetAcl { who, .. } => {
                let rights = self.rights(account, epoch, &on.mailbox, who).await.map_err(Failure::Snapshot)?;
                End::Shared { rights }
            }
            _ => End::Plain,
        };
        let steps = steps(deed, on, &server, soft, undo_id)
            .map_err(|why| Failure::Snapshot(ReadError::Answer(why.to_string())))?;
        let agent = permit.agent().to_owned();
        let to = match deed {
            Deed::Move { to } => Some(to),
            Deed::Expunge | Deed::Store { .. } if soft => server.trash.as_ref(),
            _ => None,
        };
        let next = match to {
            Some(to) => self.next_of(account, epoch, to).await.map_err(Failure::Snapshot)?,
            None => None,
        };
        let entry = entry(part, deed, on, (&before, next), &end);
        let undo = entry.map(|entry| Undo::new(undo_id, &agent, &account.id, part, entry, opened.now()));
        let said = match (deed, soft) {
            (Deed::Expunge | Deed::Store { .. }, true) => "Moved to the Trash instead of being removed for ever",
            (Deed::Delete { .. }, true) => "The mailbox was moved to the Trash instead of being removed for ever",
            _ => "",
        };
        let entering = self.entering(opened, account, epoch, (deed, on, &server)).await.map_err(Failure::Snapshot)?;
        Ok(Ready { steps, undo, counter: None, said: said.to_owned(), count: on.uids.len(), entering })
    }

    /// The server, on a connection whose capabilities are known.
    pub(super) async fn mail_server_now(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
    ) -> Result<Server, ReadError> {
        let call = command("NOOP", None, &[]).ok_or(ReadError::Stopped)?;
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| ReadError::Stopped)?;
        let can = opened
            .upstream
            .mail_capabilities(lease, &account.target, &call)
            .await
            .map_err(|error| ReadError::Upstream(Arc::new(error)))?;
        self.mail_server(opened, account, epoch, &can).await
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

    /// Whether what has a mailbox's name is still that mailbox. `known`: what it was told from others by, if it has that.
    pub(super) async fn standing(
        &self,
        account: &Account,
        epoch: Epoch,
        mailbox: &str,
        known: Option<u32>,
    ) -> Result<Standing, ReadError> {
        let now = self.mail_identity(account, epoch, mailbox).await?;
        Ok(match now {
            now if now == known => Standing::Same,
            Some(_) => Standing::Another,
            None => Standing::Unsaid,
        })
    }

    /// A mailbox is changed only if no other has its name by now.
    async fn is_the_same(&self, account: &Account, epoch: Epoch, on: &On) -> Result<(), Failure> {
        match self.standing(account, epoch, &on.mailbox, on.uidvalidity).await.map_err(Failure::Snapshot)? {
            Standing::Same => Ok(()),
            Standing::Another | Standing::Unsaid => {
                Err(Failure::Changed("since this was asked, another mailbox has taken that name".to_owned()))
            }
        }
    }

    /// A mailbox goes only with what the person saw in it.
    async fn is_as_shown(&self, account: &Account, epoch: Epoch, on: &On, server: &Server) -> Result<(), Failure> {
        let changed = |what: &str| Err(Failure::Changed(format!("since it was shown, {what}")));
        let now = self.mail_content(account, epoch, &on.mailbox).await.map_err(Failure::Snapshot)?;
        if Some(now.uidvalidity) != on.uidvalidity {
            return changed("the mailbox was made anew");
        }
        let shown: BTreeSet<u32> = on.uids.iter().copied().collect();
        if now.uids.iter().any(|uid| !shown.contains(uid)) {
            return changed("other messages came into the mailbox");
        }
        if self.mail_has_below(account, epoch, &on.mailbox, server).await.map_err(Failure::Snapshot)? {
            return changed("mailboxes were made below it");
        }
        Ok(())
    }

    /// Copies of what will be gone for ever: of which messages there are some now. An error means that nothing may go.
    async fn keep_mail(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        deed: &Deed,
        on: &On,
        entry: &str,
    ) -> Result<On, Failure> {
        let copied = self.copy_mail(opened, account, epoch, on, entry).await;
        let wanted = matches!(deed, Deed::Expunge | Deed::Store { .. });
        match copied {
            Ok(copied) if copied.uids.is_empty() && wanted => {
                Err(Failure::Quarantine("these messages are not in the mailbox any more".to_owned()))
            }
            copied => copied,
        }
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
    async fn forget_copies(&self, opened: &Opened, on: &On, entry: &str) {
        let uidvalidity = on.uidvalidity.unwrap_or_default();
        let objects = on.uids.iter().map(|uid| object(&on.mailbox, uidvalidity, *uid)).collect();
        let _ = opened.store.quarantine_forget(entry, objects).await;
    }

    async fn copy_mail(
        &self,
        opened: &Opened,
        account: &Account,
        epoch: Epoch,
        on: &On,
        entry: &str,
    ) -> Result<On, Failure> {
        let uidvalidity =
            on.uidvalidity.ok_or_else(|| Failure::Quarantine("it is not known what is in it".to_owned()))?;
        let mut copied = On { uids: Vec::with_capacity(on.uids.len()), ..on.clone() };
        for uid in &on.uids {
            let one = On { uids: vec![*uid], ..on.clone() };
            let items = ["UID", "FLAGS", "INTERNALDATE", "BODY.PEEK[]"];
            let mut found = self.mail_fetch(account, epoch, &one, &items).await.map_err(Failure::Snapshot)?;
            // The server shows no such message now: without a copy it must not be removed either.
            let Some(fetched) = found.remove(uid) else { continue };
            let Some(body) = fetched.body else {
                return Err(Failure::Quarantine("the mail server did not send a whole message".to_owned()));
            };
            let kept = Kept { flags: fetched.present.flags.into_iter().collect(), date: fetched.date, body };
            let content = serde_json::to_vec(&kept).map_err(|error| Failure::Quarantine(error.to_string()))?;
            let copy = Copied { entry: entry.to_owned(), object: object(&on.mailbox, uidvalidity, *uid), content };
            let put = opened.store.quarantine_put(vec![copy]).await;
            put.map_err(|error| Failure::Quarantine(error.to_string()))?;
            copied.uids.push(*uid);
        }
        Ok(copied)
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

pub(super) fn answered(last: &Status, codes: Vec<String>, said: &str, done: usize) -> Answer {
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
    if ok {
        headers.push(("done".to_owned(), done.to_string()));
    }
    let text = if said.is_empty() || !ok { last.text.clone() } else { said.to_owned() };
    Answer { status: if ok { 200 } else { 409 }, headers, body: Bytes::from(text) }
}

/// The answer to what did not run.
pub(crate) fn refused(failure: &Failure) -> Answer {
    let code = match failure {
        Failure::Quarantine(_) | Failure::NotDivisible | Failure::Changed(_) => "CANNOT",
        _ => "UNAVAILABLE",
    };
    Answer { status: 502, headers: vec![("code".to_owned(), code.to_owned())], body: Bytes::from(failure.to_string()) }
}
