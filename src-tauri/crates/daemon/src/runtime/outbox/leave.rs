//! Mails whose time has come: sent, tried again, or asked about.

use std::sync::Arc;

use latch_core::guard::Now;
use latch_core::hold::State;
use latch_core::journal::{Commit, Shelf};
use latch_core::lease::Epoch;
use latch_core::operation::{Objects, Request};
use latch_core::recipe::{self, Answer};
use latch_core::time::Span;
use latch_ipc::contract::EventKind;

use super::{Dropped, Waiting, taken_back, unsent};
use crate::runtime::execute::Failure;
use crate::runtime::{Opened, Runtime, lock};
use crate::spool::SPOOL_ABOVE;

const MAY_HAVE_LEFT: &str = "it may have left already: it was cut off while it was being sent, so look among the sent mails before you allow it";
/// How long a submitted mail waits after it could not be sent.
const TRY_AGAIN: Span = Span::seconds(60);
/// How often that is tried before the person is asked.
const MOST_TRIES: u32 = 5;
/// How long after nobody answered the question about a submitted mail is asked again.
const ASK_AGAIN: Span = Span::hours(1);

/// What came of a sending.
enum Came {
    Sent,
    /// It surely did not leave, and may another time.
    NotYet(String),
    Refused(String),
    Unknown,
}

impl Came {
    fn of(result: &Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) if (200..300).contains(&answer.status) => Self::Sent,
            Ok(answer) => {
                let reply = crate::runtime::smtp::reply_of(answer);
                if reply.code < 500 { Self::NotYet(reply.lines.concat()) } else { Self::Refused(reply.lines.concat()) }
            }
            Err(Failure::Upstream(error)) if error.sent => Self::Unknown,
            Err(Failure::Afterwards(_)) => Self::Unknown,
            Err(failure) => Self::NotYet(failure.to_string()),
        }
    }
}

impl Waiting {
    /// It was tried, and is still here.
    fn still_here(&mut self, came: Came, now: Now) {
        self.leaving = matches!(came, Came::Unknown);
        self.tries = self.tries.saturating_add(1);
        self.due = now.time + TRY_AGAIN;
        match came {
            Came::NotYet(_) if self.tries < MOST_TRIES => {}
            Came::NotYet(why) => self.ask = Some(format!("it could not be sent: {why}")),
            Came::Refused(why) => self.ask = Some(format!("the mail server refused it: {why}")),
            Came::Sent | Came::Unknown => {}
        }
        // Nothing happens by itself any more: the person need not wait to be asked.
        if self.leaving || self.ask.is_some() {
            self.due = now.time;
        }
    }
}

impl Runtime {
    /// Sends what is due; asks again about what a panic or a restart froze.
    pub(in crate::runtime) async fn outbox_due(self: &Arc<Self>, opened: &Opened) {
        let now = opened.now();
        let stopped = opened.guard().panicked().is_some() || self.tasks.is_ending();
        let mut due = Vec::new();
        for waiting in lock(&opened.outbox).values_mut() {
            if waiting.held.is_none() && !waiting.busy && waiting.due <= now.time && !stopped {
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
                runtime.outbox_take_up(opened, waiting, now).await;
                if let Some(left) = lock(&opened.outbox).get_mut(&number) {
                    left.busy = false;
                }
            });
        }
    }

    async fn outbox_take_up(&self, opened: &Opened, waiting: Waiting, now: Now) {
        let mut turn = None;
        if waiting.length > SPOOL_ABOVE {
            match opened.spool.turn(waiting.length).await {
                Ok(room) => turn = Some(room),
                // Without room it is tried again a second later.
                Err(_) => return,
            }
        }
        let why = match &waiting.ask {
            _ if waiting.leaving => Some(MAY_HAVE_LEFT),
            Some(why) => Some(why.as_str()),
            None if opened.gate.admits(waiting.epoch) => None,
            None => Some("it waited to be sent when everything was stopped"),
        };
        match why {
            None => self.outbox_send(opened, waiting, now).await,
            // A no that nobody said would be none, and so would be a silence.
            Some(_) if self.is_unattended() || opened.guard().is_stopped(&waiting.agent) => {}
            Some(why) => self.outbox_ask(opened, &waiting, why, now).await,
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
        let mark = |leaving| Commit { puts: vec![Waiting { leaving, ..stored.clone() }.put()], ..Commit::default() };
        if opened.store.commit(mark(true)).await.is_err() {
            self.outbox_back(opened, waiting, false).await;
            return;
        }
        let recipients = crate::runtime::decide::reached(&request);
        let result = self.execute(&account, permit, request, &[]).await;
        if matches!(result, Err(Failure::Ending)) {
            // It did not leave: the next start asks about it.
            let _ = opened.store.commit(mark(false)).await;
            return;
        }
        let came = Came::of(&result);
        if matches!(came, Came::Unknown) || (waiting.is_here_alone() && !matches!(came, Came::Sent)) {
            self.outbox_keep(opened, waiting, came).await;
            return;
        }
        lock(&opened.recalled).remove(&waiting.number());
        if matches!(came, Came::Sent) {
            let learned = opened.guard().learn(&account.id, &recipients);
            let _ = opened.store.commit(learned).await;
            self.outbox_tidy(opened, &waiting, waiting.epoch).await;
        } else {
            let text = "A mail could not be sent when it was due; it is still among the drafts.".to_owned();
            self.note_account(opened, &account.id, Some(text));
        }
        // Last: after a crash in between the person is asked about it, and nothing is lost unseen.
        let commit = Commit { deletes: vec![(Shelf::Outbox, waiting.id.clone())], ..Commit::default() };
        let _ = opened.store.commit(commit).await;
        self.tell(EventKind::OutboxChanged, Some(waiting.id), None);
    }

    /// A submitted mail did not leave, or nobody knows whether a mail did: it goes on waiting.
    async fn outbox_keep(&self, opened: &Opened, mut waiting: Waiting, came: Came) {
        let unknown = matches!(came, Came::Unknown);
        if !unknown && lock(&opened.recalled).remove(&waiting.number()) {
            let _ = opened.store.commit(taken_back(opened, &waiting)).await;
            self.tell(EventKind::OutboxChanged, Some(waiting.id), None);
            return;
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
        if let Came::NotYet(why) | Came::Refused(why) = &came {
            let text = format!("A mail could not be sent: {why}. It waits in the outbox.");
            self.note_account(opened, &waiting.account, Some(text));
        }
        waiting.still_here(came, opened.now());
        (waiting.held, waiting.busy) = (None, false);
        if let Some(mut stored) = Self::stored(opened, &waiting).await {
            (stored.leaving, stored.tries, stored.due) = (waiting.leaving, waiting.tries, waiting.due);
            stored.ask.clone_from(&waiting.ask);
            let _ = opened.store.commit(Commit { puts: vec![stored.put()], ..Commit::default() }).await;
        }
        self.outbox_back(opened, waiting, unknown).await;
    }

    /// Among those that wait again, unless the person took it back meanwhile; one that may have left is asked about all the same.
    async fn outbox_back(&self, opened: &Opened, waiting: Waiting, unknown: bool) {
        let waits = {
            let mut outbox = lock(&opened.outbox);
            let waits = !lock(&opened.recalled).remove(&waiting.number()) || unknown;
            if waits {
                outbox.insert(waiting.number(), waiting.clone());
            }
            waits
        };
        if !waits {
            let _ = opened.store.commit(taken_back(opened, &waiting)).await;
        }
        self.tell(EventKind::OutboxChanged, Some(waiting.id), None);
    }

    /// Whether a hold asks about a mail that waits here.
    pub(in crate::runtime) fn outbox_asks(opened: &Opened, hold: &str) -> bool {
        lock(&opened.outbox).values().any(|waiting| waiting.held.as_deref() == Some(hold))
    }

    /// Before what the hold asks about is sent: after a crash it may have left.
    pub(in crate::runtime) async fn outbox_leaving(
        &self,
        opened: &Opened,
        hold: &str,
        leaving: bool,
    ) -> Result<(), Failure> {
        let about = lock(&opened.outbox).values().find(|one| one.held.as_deref() == Some(hold)).cloned();
        let Some(about) = about else { return Ok(()) };
        let Some(stored) = Self::stored(opened, &about).await else { return Ok(()) };
        let put = Waiting { leaving, ..stored }.put();
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

    /// Deletes the draft of a mail that left, unless a panic came in between.
    async fn outbox_tidy(&self, opened: &Opened, waiting: &Waiting, epoch: Epoch) {
        let account = opened.account(&waiting.account);
        let provider = self.provider_of(&waiting.account);
        let call = provider.and_then(|provider| recipe::cancel_draft(provider, &waiting.params, &waiting.draft));
        if let (Some(call), Some(account)) = (call, account)
            && let Err(error) = self.owner_call(opened, &account, ("outbox.tidy", Some(epoch)), call).await
        {
            tracing::warn!(%error, "the draft of a mail that left is still there");
        }
    }

    /// What a hold about a frozen mail allowed has run: it waits no longer, unless it waits here alone and did not leave, or nobody knows.
    pub(in crate::runtime) async fn outbox_settled(
        &self,
        opened: &Opened,
        hold: &str,
        epoch: Epoch,
        result: &Result<Answer, Failure>,
    ) {
        let came = Came::of(result);
        let left = matches!(came, Came::Sent).then_some(epoch);
        let unknown = matches!(came, Came::Unknown);
        let gone = self.outbox_drop(opened, |waiting| {
            waiting.held.as_deref() == Some(hold) && (left.is_some() || !(waiting.is_here_alone() || unknown))
        });
        let _ = opened.store.commit(Commit { deletes: gone.deletes, ..Commit::default() }).await;
        if let Some(epoch) = left {
            for waiting in gone.dropped {
                self.outbox_tidy(opened, &waiting, epoch).await;
            }
            return;
        }
        let kept = lock(&opened.outbox).values().find(|one| one.held.as_deref() == Some(hold)).cloned();
        match kept {
            Some(_) if matches!(result, Err(Failure::Ending)) => {
                let _ = self.outbox_leaving(opened, hold, false).await;
            }
            Some(mut kept) => {
                // Who was asked once is asked again, and told why.
                kept.tries = kept.tries.max(MOST_TRIES);
                self.outbox_keep(opened, kept, came).await;
            }
            None => {}
        }
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
