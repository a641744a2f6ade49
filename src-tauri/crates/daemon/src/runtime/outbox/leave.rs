//! Mails whose time has come: sent, tried again, or asked about.

use std::collections::BTreeSet;
use std::sync::Arc;

use latch_core::grant::Grant;
use latch_core::guard::Now;
use latch_core::hold::State;
use latch_core::journal::{Commit, Shelf};
use latch_core::lease::{Epoch, EpochGate};
use latch_core::operation::{Objects, Request};
use latch_core::recipe::{self, Answer};
use latch_core::time::Span;
use latch_ipc::contract::EventKind;

use super::{Dropped, Waiting, taken_back, unsent};
use crate::runtime::execute::Failure;
use crate::runtime::smtp::said_in;
use crate::runtime::{Opened, Runtime, lock};
use crate::spool::SPOOL_ABOVE;
use crate::upstream::Fault;

const MAY_HAVE_LEFT: &str =
    "it may have left already: nobody heard whether it was sent, so look among the sent mails before you allow it";
const LOST: &str =
    "its agent may no longer use this account: give it the account back before you allow it, or else it does not leave";
/// How long a mail waits after it could not be sent.
const TRY_AGAIN: Span = Span::seconds(60);
/// How often that is tried before the person is asked.
const MOST_TRIES: u32 = 5;
/// How long after nobody answered the question about a mail that waits here alone is asked again.
const ASK_AGAIN: Span = Span::hours(1);

/// What came of a sending.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Sent,
    /// Everything was stopped, or the engine ends, before it left.
    NotBegun,
    /// It surely did not leave, and may another time.
    NotYet(String),
    /// It surely did not leave, and won't as it is.
    Refused(String),
    Unknown,
}

impl Came {
    fn of(result: &Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) if (200..300).contains(&answer.status) => Self::Sent,
            Ok(answer) => match said_in(answer) {
                Some(reply) if reply.code < 500 => Self::NotYet(reply.lines.concat()),
                Some(reply) => Self::Refused(reply.lines.concat()),
                None => Self::of_status(answer.status),
            },
            Err(Failure::Afterwards(_)) => Self::Unknown,
            Err(Failure::Upstream(error)) if error.sent => Self::Unknown,
            Err(Failure::Upstream(error)) if error.fault == Fault::Stopped => Self::NotBegun,
            Err(Failure::Stopped | Failure::Ending) => Self::NotBegun,
            Err(failure) => Self::NotYet(failure.to_string()),
        }
    }

    /// An HTTP server that fails may fail behind the sending (RFC 9110 section 15.6); what it refuses it has not done.
    fn of_status(status: u16) -> Self {
        let said = format!("the provider answered {status}");
        match status {
            401 | 408 | 425 | 429 => Self::NotYet(said),
            500.. => Self::Unknown,
            _ => Self::Refused(said),
        }
    }
}

impl Waiting {
    /// Why it is not sent without asking.
    fn why(&self, gate: &EpochGate) -> Option<&str> {
        match &self.ask {
            _ if self.leaving => Some(MAY_HAVE_LEFT),
            Some(why) => Some(why),
            None if gate.admits(self.epoch) => None,
            None => Some("it waited to be sent when everything was stopped"),
        }
    }

    /// It is still here. That it may have left before stays true, whatever comes of another try.
    fn still_here(&mut self, came: Came, now: Now) {
        (self.held, self.busy) = (None, false);
        self.leaving |= matches!(came, Came::Unknown);
        match came {
            Came::NotBegun => return,
            Came::NotYet(_) if self.tries.saturating_add(1) < MOST_TRIES => {}
            Came::NotYet(why) => self.ask = Some(format!("it could not be sent: {why}")),
            Came::Refused(why) => self.ask = Some(format!("the mail server refused it: {why}")),
            Came::Sent | Came::Unknown => {}
        }
        self.tries = self.tries.saturating_add(1);
        // Where nothing happens by itself any more the person need not wait to be asked.
        self.due = if self.leaving || self.ask.is_some() { now.time } else { now.time + TRY_AGAIN };
    }
}

impl Runtime {
    /// Sends what is due; asks again about what a panic or a restart froze.
    pub(in crate::runtime) async fn outbox_due(self: &Arc<Self>, opened: &Opened) {
        let now = opened.now();
        if opened.guard().panicked().is_some() || self.tasks.is_ending() {
            return;
        }
        let agents: BTreeSet<String> = lock(&opened.outbox).values().map(|waiting| waiting.agent.clone()).collect();
        let stopped: BTreeSet<String> = {
            let guard = opened.guard();
            agents.into_iter().filter(|agent| guard.is_stopped(agent)).collect()
        };
        // A no that nobody said would be none, and so would be a silence.
        let nobody = self.is_unattended();
        let mut due = Vec::new();
        for waiting in lock(&opened.outbox).values_mut() {
            let rests = stopped.contains(&waiting.agent) || (nobody && waiting.why(&opened.gate).is_some());
            if waiting.held.is_none() && !waiting.busy && waiting.due <= now.time && !rests {
                waiting.busy = true;
                due.push(waiting.clone());
            }
        }
        for waiting in due {
            // A provider that does not answer, or a large mail, must not hold up the clock.
            let runtime = Arc::clone(self);
            self.tasks.spawn(async move {
                let Some(opened) = runtime.opened() else { return };
                let number = waiting.number();
                runtime.outbox_take_up(opened, waiting).await;
                if let Some(left) = lock(&opened.outbox).get_mut(&number) {
                    left.busy = false;
                }
            });
        }
    }

    async fn outbox_take_up(&self, opened: &Opened, waiting: Waiting) {
        let mut turn = None;
        if waiting.length > SPOOL_ABOVE {
            match opened.spool.turn(waiting.length).await {
                Ok(room) => turn = Some(room),
                // Without room it is tried again a second later.
                Err(_) => return,
            }
        }
        // That may have taken a while.
        let now = opened.now();
        let is_stopped = {
            let guard = opened.guard();
            guard.panicked().is_some() || guard.is_stopped(&waiting.agent)
        };
        if is_stopped {
            return;
        }
        let is_its = |grant: &Grant| grant.agent == waiting.agent && grant.account() == waiting.account;
        let has_lost_it = !opened.guard().grants().any(is_its);
        match waiting.why(&opened.gate) {
            None if !has_lost_it => self.outbox_send(opened, waiting, now).await,
            why => {
                let whys: Vec<&str> = why.into_iter().chain(has_lost_it.then_some(LOST)).collect();
                self.outbox_ask(opened, &waiting, &whys.join("; "), now).await;
            }
        }
        drop(turn);
    }

    async fn outbox_send(&self, opened: &Opened, waiting: Waiting, now: Now) {
        let Some(request) = Self::sending(opened, &waiting).await else { return };
        let Some(account) = opened.account(&waiting.account) else { return };
        let permit = opened.guard().permit_delayed(&waiting.agent, &waiting.account, &request, waiting.epoch, now);
        let Ok(permit) = permit else {
            if opened.gate.admits(waiting.epoch) && !opened.guard().is_stopped(&waiting.agent) {
                self.outbox_ask(opened, &waiting, "its agent may no longer send without a question", now).await;
            }
            return;
        };
        let Some(stored) = Self::stored(opened, &waiting).await else { return };
        // Taken back at this very moment: it does not leave.
        if lock(&opened.outbox).remove(&waiting.number()).is_none() {
            return;
        }
        let mark = Commit { puts: vec![Waiting { leaving: true, ..stored }.put()], ..Commit::default() };
        if opened.store.commit(mark).await.is_err() {
            self.outbox_back(opened, waiting).await;
            return;
        }
        let recipients = crate::runtime::decide::reached(&request);
        let came = Came::of(&self.execute(&account, permit, request, &[]).await);
        if matches!(came, Came::Sent) {
            let learned = opened.guard().learn(&account.id, &recipients);
            let _ = opened.store.commit(learned).await;
        }
        let epoch = waiting.epoch;
        self.outbox_came(opened, waiting, epoch, came).await;
    }

    /// What came of sending it, whoever let it go: only what was sent waits no longer.
    async fn outbox_came(&self, opened: &Opened, waiting: Waiting, epoch: Epoch, came: Came) {
        if !matches!(came, Came::Sent) {
            return self.outbox_keep(opened, waiting, came).await;
        }
        lock(&opened.outbox).remove(&waiting.number());
        self.outbox_tidy(opened, &waiting, ("outbox.tidy", Some(epoch))).await;
        // Last: after a crash in between the person is asked about it, and nothing is lost unseen.
        let commit = Commit { deletes: vec![(Shelf::Outbox, waiting.id.clone())], ..Commit::default() };
        let _ = opened.store.commit(commit).await;
        lock(&opened.recalled).remove(&waiting.number());
        self.tell(EventKind::OutboxChanged, Some(waiting.id), None);
    }

    /// It did not leave, or nobody knows whether it did: it goes on waiting.
    async fn outbox_keep(&self, opened: &Opened, mut waiting: Waiting, came: Came) {
        let told = match &came {
            Came::NotYet(why) | Came::Refused(why) => {
                Some(format!("A mail could not be sent: {why}. It waits in the outbox."))
            }
            Came::Sent | Came::NotBegun | Came::Unknown => None,
        };
        waiting.still_here(came, opened.now());
        if !waiting.leaving && lock(&opened.recalled).remove(&waiting.number()) {
            return self.outbox_recalled(opened, &waiting).await;
        }
        if opened.account(&waiting.account).is_none() || opened.guard().agent(&waiting.agent).is_none() {
            // Its account or agent was removed while it was being sent.
            let deletes = vec![(Shelf::Outbox, waiting.id.clone())];
            let dropped = Dropped { dropped: vec![waiting.clone()], deletes: deletes.clone() };
            let commit = Commit { records: unsent(opened, &dropped), deletes, ..Commit::default() };
            let _ = opened.store.commit(commit).await;
            self.tell(EventKind::OutboxChanged, Some(waiting.id), None);
            return;
        }
        if told.is_some() {
            self.note_account(opened, &waiting.account, told);
        }
        if let Some(mut stored) = Self::stored(opened, &waiting).await {
            (stored.leaving, stored.tries, stored.due) = (waiting.leaving, waiting.tries, waiting.due);
            stored.ask.clone_from(&waiting.ask);
            let _ = opened.store.commit(Commit { puts: vec![stored.put()], ..Commit::default() }).await;
        }
        self.outbox_back(opened, waiting).await;
    }

    /// Among those that wait again, unless the person took it back meanwhile; one that may have left is asked about all the same.
    async fn outbox_back(&self, opened: &Opened, waiting: Waiting) {
        let waits = {
            let mut outbox = lock(&opened.outbox);
            let waits = !lock(&opened.recalled).remove(&waiting.number()) || waiting.leaving;
            if waits {
                outbox.insert(waiting.number(), Waiting { busy: false, ..waiting.clone() });
            }
            waits
        };
        if waits {
            self.tell(EventKind::OutboxChanged, Some(waiting.id), None);
        } else {
            self.outbox_recalled(opened, &waiting).await;
        }
    }

    /// The person took it back while it was being sent, and it did not leave: it is not tried again.
    async fn outbox_recalled(&self, opened: &Opened, waiting: &Waiting) {
        let _ = opened.store.commit(taken_back(opened, waiting)).await;
        self.outbox_tidy(opened, waiting, ("outbox.cancel", None)).await;
        self.tell(EventKind::OutboxChanged, Some(waiting.id.clone()), None);
    }

    /// Whether a hold asks about a mail that waits here.
    pub(in crate::runtime) fn outbox_asks(opened: &Opened, hold: &str) -> bool {
        lock(&opened.outbox).values().any(|waiting| waiting.held.as_deref() == Some(hold))
    }

    /// Before what the hold asks about is sent: after a crash it may have left.
    pub(in crate::runtime) async fn outbox_leaving(&self, opened: &Opened, hold: &str) -> Result<(), Failure> {
        let about = lock(&opened.outbox).values().find(|one| one.held.as_deref() == Some(hold)).cloned();
        let Some(about) = about else { return Ok(()) };
        let Some(stored) = Self::stored(opened, &about).await else { return Ok(()) };
        let put = Waiting { leaving: true, ..stored }.put();
        opened.store.commit(Commit { puts: vec![put], ..Commit::default() }).await?;
        Ok(())
    }

    async fn outbox_ask(&self, opened: &Opened, waiting: &Waiting, why: &str, now: Now) {
        let Some(request) = Self::sending(opened, waiting).await else { return };
        let (id, commit) = opened.guard().hold_again(&waiting.agent, &waiting.account, &request, why.to_owned(), now);
        if let Some(one) = lock(&opened.outbox).get_mut(&waiting.number()) {
            one.held = Some(id.clone());
        }
        let _ = opened.store.commit(commit).await;
        self.put_aside(opened, &id).await;
        self.settle(opened);
    }

    /// The mail with its text.
    async fn stored(opened: &Opened, waiting: &Waiting) -> Option<Waiting> {
        let stored = opened.store.document(Shelf::Outbox, &waiting.id).await.ok()??;
        serde_json::from_value(stored).ok()
    }

    /// The request that sends the waiting mail: the approved text itself, whatever became of its draft.
    async fn sending(opened: &Opened, waiting: &Waiting) -> Option<Request> {
        let mut part = Self::stored(opened, waiting).await?.part?.into_part()?;
        part.operation.objects = Objects::None;
        Some(Request { parts: vec![part], batch: false })
    }

    /// Deletes the draft of a mail that left or was taken back; with an epoch, unless a panic came in between.
    async fn outbox_tidy(&self, opened: &Opened, waiting: &Waiting, how: (&str, Option<Epoch>)) {
        let account = opened.account(&waiting.account);
        let provider = self.provider_of(&waiting.account);
        let call = provider.and_then(|provider| recipe::cancel_draft(provider, &waiting.params, &waiting.draft));
        if let (Some(call), Some(account)) = (call, account)
            && let Err(error) = self.owner_call(opened, &account, how, call).await
        {
            tracing::warn!(%error, "the draft of a mail that is done with is still there");
        }
    }

    /// What a hold about a waiting mail allowed has run.
    pub(in crate::runtime) async fn outbox_settled(
        &self,
        opened: &Opened,
        hold: &str,
        epoch: Epoch,
        result: &Result<Answer, Failure>,
    ) {
        let about = lock(&opened.outbox).values().find(|one| one.held.as_deref() == Some(hold)).cloned();
        let Some(mut about) = about else { return };
        // Who was asked once is asked again, and told why.
        about.tries = about.tries.max(MOST_TRIES);
        self.outbox_came(opened, about, epoch, Came::of(result)).await;
    }

    /// Mails whose question was answered with no, or by nobody, wait no longer: they stay among the drafts. The no of a panic is none: it is asked about
    /// them again; and so is, later, about those that wait here alone, if nobody answered. Where nobody is there to answer, all go on waiting.
    pub(in crate::runtime) async fn outbox_answered(&self, opened: &Opened) {
        if self.tasks.is_ending() {
            return;
        }
        let asked: Vec<String> = lock(&opened.outbox).values().filter_map(|waiting| waiting.held.clone()).collect();
        for id in asked {
            let state = opened.guard().hold(&id).map(|hold| (hold.state, opened.gate.admits(hold.epoch)));
            let refused = opened.guard().hold(&id).is_some_and(|hold| hold.refused);
            let is_it = |waiting: &Waiting| waiting.held.as_ref() == Some(&id);
            match state {
                Some((State::Denied, false)) => {
                    lock(&opened.outbox)
                        .values_mut()
                        .filter(|waiting| is_it(waiting))
                        .for_each(|waiting| waiting.held = None);
                }
                None | Some((State::Denied | State::Expired | State::Failed, _)) => {
                    let nobody = self.is_unattended();
                    let denied = refused && !nobody;
                    let later = opened.now().time + ASK_AGAIN;
                    lock(&opened.outbox)
                        .values_mut()
                        .filter(|waiting| is_it(waiting) && (waiting.is_here_alone() || nobody) && !denied)
                        .for_each(|waiting| (waiting.held, waiting.due) = (None, later));
                    let dropped = self.outbox_drop(opened, is_it);
                    let commit =
                        Commit { records: unsent(opened, &dropped), deletes: dropped.deletes, ..Commit::default() };
                    if let Err(error) = opened.store.commit(commit).await {
                        tracing::error!(%error, "a mail that is not to be sent is still stored");
                    }
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;
    use crate::upstream::UpstreamError;

    fn answered(status: u16) -> Result<Answer, Failure> {
        Ok(Answer { status, headers: Vec::new(), body: Bytes::new() })
    }

    fn failed(fault: Fault, sent: bool) -> Result<Answer, Failure> {
        Err(Failure::Upstream(Arc::new(UpstreamError { fault, sent })))
    }

    fn waiting() -> Waiting {
        let stored =
            serde_json::json!({ "id": "o1", "agent": "claw", "account": "mail", "draft": "d1", "due": 1, "epoch": 1 });
        serde_json::from_value(stored).unwrap()
    }

    #[test]
    fn a_doubt_about_an_earlier_try_outlives_a_later_one() {
        let now = Now { time: latch_core::time::Time(5), wall: 5 };
        let mut waiting = waiting();
        waiting.still_here(Came::NotBegun, now);
        assert_eq!((waiting.tries, waiting.due.0, waiting.leaving), (0, 1, false), "as it was");
        for _ in 1..MOST_TRIES {
            waiting.still_here(Came::NotYet("busy".to_owned()), now);
            assert!(waiting.ask.is_none() && waiting.due == now.time + TRY_AGAIN);
        }
        waiting.still_here(Came::NotYet("busy".to_owned()), now);
        assert_eq!((waiting.ask.as_deref(), waiting.due), (Some("it could not be sent: busy"), now.time));
        waiting.still_here(Came::Unknown, now);
        for came in [Came::NotBegun, Came::NotYet("busy".to_owned()), Came::Refused("no".to_owned())] {
            waiting.still_here(came, now);
            assert!(waiting.leaving);
        }
    }

    #[test]
    fn only_what_surely_did_not_leave_is_tried_again() {
        let lost = || Fault::Lost { host: "mail.example".to_owned() };
        let said = |status: u16| format!("the provider answered {status}");
        for (result, came) in [
            (answered(200), Came::Sent),
            (answered(429), Came::NotYet(said(429))),
            (answered(401), Came::NotYet(said(401))),
            (answered(400), Came::Refused(said(400))),
            (answered(403), Came::Refused(said(403))),
            (answered(500), Came::Unknown),
            (answered(503), Came::Unknown),
            (failed(lost(), true), Came::Unknown),
            (failed(lost(), false), Came::NotYet(lost().to_string())),
            (failed(Fault::Stopped, true), Came::Unknown),
            (failed(Fault::Stopped, false), Came::NotBegun),
            (Err(Failure::Stopped), Came::NotBegun),
            (Err(Failure::Ending), Came::NotBegun),
            (Err(Failure::NotDivisible), Came::NotYet(Failure::NotDivisible.to_string())),
        ] {
            assert_eq!(Came::of(&result), came, "{result:?}");
        }
    }
}
