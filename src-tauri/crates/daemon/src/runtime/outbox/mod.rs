//! Mails that wait before they leave, so that they can be taken back. Each waits upstream, as a draft; a submitted one waits here alone.
//!
//! A panic freezes the outbox, and so does the end of the engine: what is then overdue is asked about again, not sent. What waits here alone is dropped by
//! nobody but the person: where it can't be sent, or nobody answers, it goes on waiting.

mod leave;

use latch_core::call::Call;
use latch_core::guard::record;
use latch_core::hold::{State, StoredPart};
use latch_core::journal::{Commit, Kind, Put, Record, Shelf};
use latch_core::lease::Epoch;
use latch_core::operation::{BOUNCES, Class, Part, Request};
use latch_core::plan::Permit;
use latch_core::recipe;
use latch_core::time::{Span, Time};
use latch_ipc::contract::{Empty, EventKind, Id};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::OutboxView;
use serde::{Deserialize, Serialize};

use super::execute::Failure;
use super::stop::{locked, storage};
use super::{Opened, Runtime, views};

/// What the person hears who takes back a mail that is being sent.
const LEAVING: &str = "it is being sent at this moment; if that fails, it is not tried again";

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
        let waiting = {
            let mut outbox = super::lock(&opened.outbox);
            let waiting = outbox.remove(&number);
            if waiting.is_none() {
                // Noted while nobody can put it back among those that wait.
                super::lock(&opened.recalled).insert(number);
            }
            waiting
        };
        let Some(waiting) = waiting else {
            if opened.store.document(Shelf::Outbox, &params.id).await.is_ok_and(|stored| stored.is_some()) {
                return Err(RpcError::new(ErrorCode::Conflict, LEAVING));
            }
            super::lock(&opened.recalled).remove(&number);
            return Err(RpcError::new(ErrorCode::NotFound, "it has left already, or was cancelled before"));
        };
        opened.store.commit(taken_back(opened, &waiting)).await.map_err(|error| storage(&error))?;
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

/// That a mail will not be sent, because the person said so.
fn taken_back(opened: &Opened, waiting: &Waiting) -> Commit {
    let mut record = record(opened.now(), Kind::Undo, "mail taken back before it left");
    record.agent = Some(waiting.agent.clone());
    record.account = Some(waiting.account.clone());
    Commit { records: vec![record], deletes: vec![(Shelf::Outbox, waiting.id.clone())], ..Commit::default() }
}

/// That these mails will not be sent.
fn unsent(opened: &Opened, dropped: &Dropped) -> Vec<Record> {
    let told = |waiting: &Waiting| {
        let text = if waiting.leaving {
            "a mail that may have left is not tried again"
        } else if waiting.is_here_alone() {
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
