//! Mails that wait before they leave, so that they can be taken back. Each waits upstream, as a draft.
//!
//! A panic freezes the outbox, and so does the end of the engine: what is then overdue is asked about again, not sent.

use std::sync::Arc;

use latch_core::call::Call;
use latch_core::guard::{Now, record};
use latch_core::hold::{Hold, StoredPart};
use latch_core::journal::{Commit, Kind, Put, Shelf};
use latch_core::lease::Epoch;
use latch_core::operation::{Class, Objects, Part, Request};
use latch_core::recipe;
use latch_core::time::{Span, Time};
use latch_ipc::contract::{Empty, EventKind, Id};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::OutboxView;
use serde::{Deserialize, Serialize};

use super::stop::{locked, storage};
use super::{Opened, Runtime, views};

const MAY_HAVE_LEFT: &str = "it may have left already: Latchstring ended while it was being sent, so look among the sent mails before you allow it";

/// A mail that waits, sealed at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    id: String,
    agent: String,
    account: String,
    /// The draft upstream.
    draft: String,
    part: StoredPart,
    due: Time,
    /// The epoch in which it was permitted; in a later one it is asked about again.
    epoch: Epoch,
    /// A hold asks about it.
    held: bool,
    /// It was on its way out when this was written: after a crash nobody knows whether it left.
    #[serde(default)]
    leaving: bool,
}

impl Waiting {
    fn number(&self) -> u64 {
        self.id.strip_prefix('o').and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    fn put(&self) -> Put {
        Put { shelf: Shelf::Outbox, id: self.id.clone(), value: serde_json::to_value(self).unwrap_or_default() }
    }

    fn part(&self) -> Option<Part> {
        self.part.clone().into_part()
    }
}

/// Reads what waited when the engine ended: frozen, whatever its epoch says.
pub(super) fn restore(value: &serde_json::Value) -> Option<(u64, Waiting)> {
    let waiting: Waiting = serde_json::from_value(value.clone()).ok()?;
    Some((waiting.number(), Waiting { epoch: Epoch(u64::MAX), held: false, ..waiting }))
}

pub(super) fn list(opened: &Opened) -> Vec<OutboxView> {
    let now = opened.now();
    let subject = |part: &Part| {
        let subject = part.operation.facts.iter().find(|fact| fact.label == "Subject");
        subject.map(|fact| fact.value.clone()).unwrap_or_default()
    };
    let recipients = |part: &Part| {
        let audience = part.operation.audience.as_ref();
        audience
            .map(|audience| audience.members.iter().map(|member| member.address.clone()).collect())
            .unwrap_or_default()
    };
    super::lock(&opened.outbox)
        .values()
        .filter_map(|waiting| {
            let part = waiting.part()?;
            Some(OutboxView {
                id: waiting.id.clone(),
                agent: waiting.agent.clone(),
                account: waiting.account.clone(),
                subject: subject(&part),
                recipients: recipients(&part),
                sends_at: views::wall(waiting.due, now),
                frozen: !opened.gate.admits(waiting.epoch),
            })
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
        let part = StoredPart::of(part)?;
        let mut outbox = super::lock(&opened.outbox);
        let number = outbox.keys().next_back().copied().unwrap_or_default().max(opened.clock.now().0) + 1;
        let waiting = Waiting {
            id: format!("o{number}"),
            agent: agent.to_owned(),
            account: account.to_owned(),
            draft,
            part,
            due: opened.clock.now() + delay,
            epoch,
            held: false,
            leaving: false,
        };
        let put = waiting.put();
        self.tell(EventKind::OutboxChanged, Some(waiting.id.clone()), None);
        outbox.insert(number, waiting);
        Some(put)
    }

    /// Takes a mail back: its draft is deleted upstream.
    pub(crate) async fn outbox_cancel(&self, params: Id) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let number = params.id.strip_prefix('o').and_then(|number| number.parse::<u64>().ok()).unwrap_or_default();
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
        let call = waiting
            .part()
            .zip(provider)
            .and_then(|(part, provider)| recipe::cancel_draft(provider, &part, &waiting.draft));
        if let (Some(call), Some(account)) = (call, account) {
            self.owner_call(opened, &account, ("outbox.cancel", None), call).await?;
        }
        Ok(Empty {})
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
        let stopped = opened.guard().panicked().is_some();
        let due: Vec<Waiting> = super::lock(&opened.outbox)
            .values()
            .filter(|waiting| !waiting.held && waiting.due <= now.time && !stopped)
            .cloned()
            .collect();
        for waiting in due {
            if opened.gate.admits(waiting.epoch) {
                self.outbox_send(opened, waiting, now).await;
            } else if !opened.guard().is_stopped(&waiting.agent) {
                let why =
                    if waiting.leaving { MAY_HAVE_LEFT } else { "it waited to be sent when everything was stopped" };
                self.outbox_ask(opened, &waiting, why, now).await;
            }
        }
    }

    async fn outbox_send(self: &Arc<Self>, opened: &Opened, waiting: Waiting, now: Now) {
        let Some(request) = Self::sending(&waiting) else { return };
        let Some(account) = opened.account(&waiting.account) else { return };
        let permit = opened.guard().permit_delayed(&waiting.agent, &waiting.account, &request, waiting.epoch, now);
        let Ok(permit) = permit else {
            if opened.gate.admits(waiting.epoch) && !opened.guard().is_stopped(&waiting.agent) {
                self.outbox_ask(opened, &waiting, "its agent may no longer send", now).await;
            }
            return;
        };
        // Taken back at this very moment: it does not leave.
        if super::lock(&opened.outbox).remove(&waiting.number()).is_none() {
            return;
        }
        let leaving = Commit { puts: vec![Waiting { leaving: true, ..waiting.clone() }.put()], ..Commit::default() };
        if opened.store.commit(leaving).await.is_err() {
            super::lock(&opened.outbox).insert(waiting.number(), waiting);
            return;
        }
        let recipients = super::decide::recipients(&request);
        let result = self.execute(&account, permit, request, &[]).await;
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

    async fn outbox_ask(self: &Arc<Self>, opened: &Opened, waiting: &Waiting, why: &str, now: Now) {
        let Some(request) = Self::sending(waiting) else { return };
        let commit = opened.guard().hold_again(&waiting.agent, &waiting.account, &request, why.to_owned(), now);
        if let Some(one) = super::lock(&opened.outbox).get_mut(&waiting.number()) {
            one.held = true;
        }
        let _ = opened.store.commit(commit).await;
        self.settle(opened);
    }

    /// The request that sends the waiting mail: the approved text itself, whatever became of its draft.
    fn sending(waiting: &Waiting) -> Option<Request> {
        let mut part = waiting.part()?;
        part.operation.objects = Objects::None;
        Some(Request { parts: vec![part], batch: false })
    }

    /// Deletes the draft of a mail that left, unless a panic came in between.
    async fn outbox_tidy(&self, opened: &Opened, waiting: &Waiting, epoch: Epoch) {
        let account = opened.account(&waiting.account);
        let call = waiting
            .part()
            .zip(self.provider_of(&waiting.account))
            .and_then(|(part, provider)| recipe::cancel_draft(provider, &part, &waiting.draft));
        if let (Some(call), Some(account)) = (call, account)
            && let Err(error) = self.owner_call(opened, &account, ("outbox.tidy", Some(epoch)), call).await
        {
            tracing::warn!(%error, "the draft of a mail that left is still there");
        }
    }

    /// A hold about a frozen mail was answered: it waits no longer.
    pub(super) async fn outbox_settled(&self, opened: &Opened, account: &str, request: &Request, left: Option<Epoch>) {
        let digest = |request: &Request| Hold::digest_of("", account, request);
        let settled = digest(request);
        let gone: Vec<Waiting> = super::lock(&opened.outbox)
            .values()
            .filter(|waiting| waiting.held && waiting.account == account)
            .filter(|waiting| Self::sending(waiting).is_some_and(|sending| digest(&sending) == settled))
            .cloned()
            .collect();
        for waiting in gone {
            super::lock(&opened.outbox).remove(&waiting.number());
            let commit = Commit { deletes: vec![(Shelf::Outbox, waiting.id.clone())], ..Commit::default() };
            let _ = opened.store.commit(commit).await;
            if let Some(epoch) = left {
                self.outbox_tidy(opened, &waiting, epoch).await;
            }
        }
    }
}
