//! Mails that wait before they leave, so that they can be taken back. Each waits upstream, as a draft; a submitted one waits here alone.
//!
//! A panic freezes the outbox, and so does the end of the engine: what is then overdue is asked about again, not sent. What waits here alone is dropped by
//! nobody but the person: where it can't be sent, or nobody answers, it goes on waiting.

use std::sync::Arc;

use latch_core::call::Call;
use latch_core::guard::{Now, record};
use latch_core::hold::{State, StoredPart};
use latch_core::journal::{Commit, Kind, Put, Record, Shelf};
use latch_core::lease::Epoch;
use latch_core::operation::{BOUNCES, Class, Objects, Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe::{self, Answer};
use latch_core::time::{Span, Time};
use latch_ipc::contract::{Empty, EventKind, Id};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::OutboxView;
use serde::{Deserialize, Serialize};

use super::execute::Failure;
use super::stop::{locked, storage};
use super::{Opened, Runtime, views};
use crate::spool::SPOOL_ABOVE;

const MAY_HAVE_LEFT: &str = "it may have left already: it was cut off while it was being sent, so look among the sent mails before you allow it";
/// How long a submitted mail waits after it could not be sent.
const TRY_AGAIN: Span = Span::seconds(60);
/// How often that is tried before the person is asked.
const MOST_TRIES: u32 = 5;
/// How long after nobody answered the question about a submitted mail is asked again.
const ASK_AGAIN: Span = Span::hours(1);

/// A mail that waits, sealed at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    id: String,
    agent: String,
    account: String,
    /// The draft upstream; empty if it waits here alone.
    draft: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    recipients: Vec<String>,
    #[serde(default)]
    params: Vec<(String, String)>,
    /// What is sent: on the disk only, since it may be large.
    part: Option<StoredPart>,
    due: Time,
    /// The epoch in which it was permitted; in a later one it is asked about again.
    epoch: Epoch,
    /// It was on its way out when this was written: after a crash nobody knows whether it left.
    #[serde(default)]
    leaving: bool,
    /// Why it is not sent without asking, besides a panic or the engine's end.
    #[serde(default)]
    ask: Option<String>,
    /// How often it could not be sent.
    #[serde(default)]
    tries: u32,
    /// The length of its body, in bytes.
    #[serde(default)]
    length: usize,
    /// The hold that asks about it.
    #[serde(skip)]
    held: Option<String>,
    /// It is being sent, or asked about, just now.
    #[serde(skip)]
    busy: bool,
}

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
                let reply = super::smtp::reply_of(answer);
                if reply.code < 500 { Self::NotYet(reply.lines.concat()) } else { Self::Refused(reply.lines.concat()) }
            }
            Err(Failure::Upstream(error)) if error.sent => Self::Unknown,
            Err(Failure::Afterwards(_)) => Self::Unknown,
            Err(failure) => Self::NotYet(failure.to_string()),
        }
    }
}

/// Mails that were taken out of the outbox.
pub(super) struct Dropped {
    dropped: Vec<Waiting>,
    deletes: Vec<(Shelf, String)>,
}

impl Waiting {
    fn number(&self) -> u64 {
        self.id.strip_prefix('o').and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// Whether nothing of it is upstream.
    fn is_here_alone(&self) -> bool {
        self.draft.is_empty()
    }

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

    fn put(&self) -> Put {
        Put { shelf: Shelf::Outbox, id: self.id.clone(), value: serde_json::to_value(self).unwrap_or_default() }
    }

    /// What the list shows, from the mail itself.
    fn describe(&mut self, part: &Part) {
        let subject = part.operation.facts.iter().find(|fact| fact.label == "Subject");
        self.subject = subject.map(|fact| fact.value.clone()).unwrap_or_default();
        let members = part.operation.audience.iter().flat_map(|audience| &audience.members);
        let members = members.filter(|member| member.role != BOUNCES);
        self.recipients = members.map(|member| member.address.clone()).collect();
        self.params.clone_from(&part.params);
    }
}

/// Reads what waited when the engine ended: frozen, whatever its epoch says.
pub(super) fn restore(value: &serde_json::Value) -> Option<(u64, Waiting)> {
    let mut waiting: Waiting = serde_json::from_value(value.clone()).ok()?;
    let part = waiting.part.take()?.into_part()?;
    waiting.describe(&part);
    Some((waiting.number(), Waiting { epoch: Epoch(u64::MAX), ..waiting }))
}

pub(super) fn list(opened: &Opened) -> Vec<OutboxView> {
    let now = opened.now();
    super::lock(&opened.outbox)
        .values()
        .map(|waiting| OutboxView {
            id: waiting.id.clone(),
            agent: waiting.agent.clone(),
            account: waiting.account.clone(),
            subject: waiting.subject.clone(),
            recipients: waiting.recipients.clone(),
            sends_at: views::wall(waiting.due, now),
            frozen: !opened.gate.admits(waiting.epoch),
        })
        .collect()
}

impl Runtime {
    /// Remembers a mail whose draft has just been made.
    pub(super) fn outbox_add(
        &self,
        opened: &Opened,
        (agent, account, epoch): (&str, &str, Epoch),
        part: &Part,
        draft: String,
        delay: Span,
    ) -> Option<Put> {
        let stored = StoredPart::of(part)?;
        let mut outbox = super::lock(&opened.outbox);
        let number = outbox.keys().next_back().copied().unwrap_or_default().max(opened.clock.now().0) + 1;
        let mut waiting = Waiting {
            id: format!("o{number}"),
            agent: agent.to_owned(),
            account: account.to_owned(),
            draft,
            subject: String::new(),
            recipients: Vec::new(),
            params: Vec::new(),
            part: Some(stored),
            due: opened.clock.now() + delay,
            epoch,
            leaving: false,
            ask: None,
            tries: 0,
            length: part.call.body.length(),
            held: None,
            busy: false,
        };
        waiting.describe(part);
        let put = waiting.put();
        waiting.part = None;
        self.tell(EventKind::OutboxChanged, Some(waiting.id.clone()), None);
        outbox.insert(number, waiting);
        Some(put)
    }

    /// Takes a mail back: its draft is deleted upstream.
    pub(crate) async fn outbox_cancel(&self, params: Id) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let number = params.id.strip_prefix('o').and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
        self.outbox_no_question(opened, number).await?;
        let waiting = super::lock(&opened.outbox).remove(&number);
        let waiting = waiting
            .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "it has left already, or was cancelled before"))?;
        let mut commit = Commit {
            records: vec![record(opened.now(), Kind::Undo, "mail taken back before it left")],
            deletes: vec![(Shelf::Outbox, waiting.id.clone())],
            ..Commit::default()
        };
        for one in &mut commit.records {
            one.agent = Some(waiting.agent.clone());
            one.account = Some(waiting.account.clone());
        }
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.tell(EventKind::OutboxChanged, Some(params.id), None);
        let account = opened.account(&waiting.account);
        let provider = self.provider_of(&waiting.account);
        let call = provider.and_then(|provider| recipe::cancel_draft(provider, &waiting.params, &waiting.draft));
        if let (Some(call), Some(account)) = (call, account) {
            self.owner_call(opened, &account, ("outbox.cancel", None), call).await?;
        }
        Ok(Empty {})
    }

    /// A mail that is taken back is no longer asked about; one that was allowed is on its way.
    async fn outbox_no_question(&self, opened: &Opened, number: u64) -> Result<(), RpcError> {
        let held = super::lock(&opened.outbox).get(&number).and_then(|waiting| waiting.held.clone());
        let Some(hold) = held else { return Ok(()) };
        let state = opened.guard().hold(&hold).map(|hold| hold.state);
        if matches!(state, Some(State::Allowed | State::Running)) {
            return Err(RpcError::new(ErrorCode::Conflict, "you have allowed it, so it is on its way"));
        }
        let commit = opened.guard().handle_unreadable(&hold, "the mail was taken back", opened.now());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.settle(opened);
        Ok(())
    }

    async fn owner_call(
        &self,
        opened: &Opened,
        account: &super::Account,
        (action, epoch): (&str, Option<Epoch>),
        call: Call,
    ) -> Result<(), RpcError> {
        let (mut plan, commit) = {
            let mut guard = opened.guard();
            let mut plan = guard.begin_undo(&account.id, action, Class::Modify, 1, std::slice::from_ref(&call));
            let commit = guard.intent(&mut plan, 0, opened.now());
            (plan, commit)
        };
        if epoch.is_some_and(|epoch| epoch != plan.epoch()) {
            return Err(RpcError::new(ErrorCode::Panicked, "everything was stopped in between"));
        }
        crate::fail::point("before-intent");
        let intent = opened.store.commit(commit).await.map_err(|error| storage(&error))?.seq;
        crate::fail::point("after-intent");
        let lease = opened
            .guard()
            .lease(&mut plan, 0)
            .map_err(|error| RpcError::new(ErrorCode::Panicked, error.to_string()))?;
        let sent = self.send(opened, account, lease, call).await;
        crate::fail::point("before-outcome");
        let text = match &sent {
            Ok(answer) => format!("the provider answered {}", answer.status),
            Err(failure) => format!("unknown: {failure}"),
        };
        let commit = opened.guard().outcome(&plan, intent, None, text.clone(), opened.now());
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        match sent {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(_) | Err(_) => Err(RpcError::new(
                ErrorCode::Upstream,
                format!("it will not be sent, but its draft is still there: {text}"),
            )),
        }
    }

    /// Sends what is due; asks again about what a panic or a restart froze.
    pub(super) async fn outbox_due(self: &Arc<Self>, opened: &Opened) {
        let now = opened.now();
        let stopped = opened.guard().panicked().is_some() || self.tasks.is_ending();
        let mut due = Vec::new();
        for waiting in super::lock(&opened.outbox).values_mut() {
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
                if let Some(left) = super::lock(&opened.outbox).get_mut(&number) {
                    left.busy = false;
                }
            });
        }
    }

    /// Remembers a permitted mail that waits here alone, durably before its agent is told.
    pub(super) async fn outbox_put_off(
        &self,
        opened: &Opened,
        account: &super::Account,
        permit: Permit,
        request: Request,
        delay: Span,
    ) -> Result<String, Failure> {
        let part = request.parts.into_iter().next().filter(|_| !request.batch).ok_or(Failure::NotDivisible)?;
        let (agent, epoch) = (permit.agent().to_owned(), permit.epoch());
        let text = format!("waits in the outbox for {} s", delay.0 / 1000);
        let mut commit = opened.guard().put_off(permit, text, opened.now())?;
        let put = self.outbox_add(opened, (&agent, &account.id, epoch), &part, String::new(), delay);
        let put = put.ok_or(Failure::NotDivisible)?;
        let id = put.id.clone();
        commit.puts.push(put);
        crate::fail::point("before-intent");
        if let Err(error) = opened.store.commit(commit).await {
            self.outbox_drop(opened, |waiting| waiting.id == id);
            return Err(error.into());
        }
        crate::fail::point("after-intent");
        Ok(id)
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
        if super::lock(&opened.outbox).remove(&waiting.number()).is_none() {
            return;
        }
        let mark = |leaving| Commit { puts: vec![Waiting { leaving, ..stored.clone() }.put()], ..Commit::default() };
        if opened.store.commit(mark(true)).await.is_err() {
            super::lock(&opened.outbox).insert(waiting.number(), waiting);
            return;
        }
        let recipients = super::decide::reached(&request);
        let result = self.execute(&account, permit, request, &[]).await;
        if matches!(result, Err(Failure::Ending)) {
            // It did not leave: the next start asks about it.
            let _ = opened.store.commit(mark(false)).await;
            return;
        }
        let came = Came::of(&result);
        if waiting.is_here_alone() && !matches!(came, Came::Sent) {
            self.outbox_keep(opened, waiting, came).await;
            return;
        }
        if matches!(&result, Ok(answer) if (200..300).contains(&answer.status)) {
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

    /// A submitted mail did not leave, or nobody knows: it goes on waiting.
    async fn outbox_keep(&self, opened: &Opened, mut waiting: Waiting, came: Came) {
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
        self.tell(EventKind::OutboxChanged, Some(waiting.id.clone()), None);
        super::lock(&opened.outbox).insert(waiting.number(), waiting);
    }

    /// Whether a hold asks about a mail that waits here.
    pub(super) fn outbox_asks(opened: &Opened, hold: &str) -> bool {
        super::lock(&opened.outbox).values().any(|waiting| waiting.held.as_deref() == Some(hold))
    }

    /// Before what the hold asks about is sent: after a crash it may have left.
    pub(super) async fn outbox_leaving(&self, opened: &Opened, hold: &str, leaving: bool) -> Result<(), Failure> {
        let about = super::lock(&opened.outbox).values().find(|one| one.held.as_deref() == Some(hold)).cloned();
        let Some(about) = about else { return Ok(()) };
        let Some(stored) = Self::stored(opened, &about).await else { return Ok(()) };
        let put = Waiting { leaving, ..stored }.put();
        opened.store.commit(Commit { puts: vec![put], ..Commit::default() }).await?;
        Ok(())
    }

    async fn outbox_ask(&self, opened: &Opened, waiting: &Waiting, why: &str, now: Now) {
        let Some(request) = Self::sending(opened, waiting).await else { return };
        let (id, commit) = opened.guard().hold_again(&waiting.agent, &waiting.account, &request, why.to_owned(), now);
        if let Some(one) = super::lock(&opened.outbox).get_mut(&waiting.number()) {
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

    /// What a hold about a frozen mail allowed has run: it waits no longer, unless it waits here alone and did not leave.
    pub(super) async fn outbox_settled(
        &self,
        opened: &Opened,
        hold: &str,
        epoch: Epoch,
        result: &Result<Answer, Failure>,
    ) {
        let left = matches!(Came::of(result), Came::Sent).then_some(epoch);
        let gone = self.outbox_drop(opened, |waiting| {
            waiting.held.as_deref() == Some(hold) && (left.is_some() || !waiting.is_here_alone())
        });
        let _ = opened.store.commit(Commit { deletes: gone.deletes, ..Commit::default() }).await;
        if let Some(epoch) = left {
            for waiting in gone.dropped {
                self.outbox_tidy(opened, &waiting, epoch).await;
            }
            return;
        }
        let kept = super::lock(&opened.outbox).values().find(|one| one.held.as_deref() == Some(hold)).cloned();
        match kept {
            Some(_) if matches!(result, Err(Failure::Ending)) => {
                let _ = self.outbox_leaving(opened, hold, false).await;
            }
            Some(mut kept) => {
                // Who was asked once is asked again, and told why.
                kept.tries = kept.tries.max(MOST_TRIES);
                self.outbox_keep(opened, kept, Came::of(result)).await;
            }
            None => {}
        }
    }

    /// Mails whose question was answered with no, or by nobody, wait no longer: they stay among the drafts. The no of a panic is none: it is asked about
    /// them again; and so is, later, about those that wait here alone, if nobody answered. Where nobody is there to answer, all go on waiting.
    pub(super) async fn outbox_answered(&self, opened: &Opened) {
        if self.tasks.is_ending() {
            return;
        }
        let asked: Vec<String> =
            super::lock(&opened.outbox).values().filter_map(|waiting| waiting.held.clone()).collect();
        for id in asked {
            let state = opened.guard().hold(&id).map(|hold| (hold.state, opened.gate.admits(hold.epoch)));
            let refused = opened.guard().hold(&id).is_some_and(|hold| hold.refused);
            let is_it = |waiting: &Waiting| waiting.held.as_ref() == Some(&id);
            match state {
                Some((State::Denied, false)) => {
                    super::lock(&opened.outbox)
                        .values_mut()
                        .filter(|waiting| is_it(waiting))
                        .for_each(|waiting| waiting.held = None);
                }
                None | Some((State::Denied | State::Expired | State::Failed, _)) => {
                    let nobody = self.is_unattended();
                    let denied = refused && !nobody;
                    let later = opened.now().time + ASK_AGAIN;
                    super::lock(&opened.outbox)
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

    /// Takes mails out of the outbox; they stay among the drafts. What is returned must be forgotten durably, too.
    pub(super) fn outbox_drop(&self, opened: &Opened, which: impl Fn(&Waiting) -> bool) -> Dropped {
        let mut outbox = super::lock(&opened.outbox);
        let numbers: Vec<u64> =
            outbox.iter().filter(|(_, waiting)| which(waiting)).map(|(number, _)| *number).collect();
        let dropped: Vec<Waiting> = numbers.iter().filter_map(|number| outbox.remove(number)).collect();
        drop(outbox);
        for waiting in &dropped {
            self.tell(EventKind::OutboxChanged, Some(waiting.id.clone()), None);
        }
        let deletes = dropped.iter().map(|waiting| (Shelf::Outbox, waiting.id.clone())).collect();
        Dropped { dropped, deletes }
    }

    /// Takes back, without a word upstream, what an agent or an account that is gone would still send.
    pub(super) fn outbox_close(&self, opened: &Opened, agent: Option<&str>, account: Option<&str>) -> Commit {
        let dropped = self.outbox_drop(opened, |waiting| {
            agent.is_none_or(|agent| waiting.agent == agent) && account.is_none_or(|account| waiting.account == account)
        });
        Commit { records: unsent(opened, &dropped), deletes: dropped.deletes, ..Commit::default() }
    }
}

/// That these mails will not be sent.
fn unsent(opened: &Opened, dropped: &Dropped) -> Vec<Record> {
    let told = |waiting: &Waiting| {
        let text = if waiting.is_here_alone() {
            "a mail that waited will not be sent"
        } else {
            "a mail that waited will not be sent; it is still among the drafts"
        };
        let mut record = record(opened.now(), Kind::Change, text);
        record.agent = Some(waiting.agent.clone());
        record.account = Some(waiting.account.clone());
        record.count = 1;
        record
    };
    dropped.dropped.iter().map(told).collect()
}
