//! From a permit to an answer: snapshot, intent, lease, call, outcome. Runs to its end even when the requester hangs up.

use std::sync::Arc;

use bytes::Bytes;
use latch_core::call::Call;
use latch_core::catalog::Provider;
use latch_core::classify::smtp::submits;
use latch_core::classify::{Answered, batch_answer};
use latch_core::guard::Stopped;
use latch_core::journal::{Put, Shelf};
use latch_core::operation::{Class, Part, Request};
use latch_core::phone::Anchor;
use latch_core::plan::{Permit, Plan};
use latch_core::recipe::{self, Answer};
use latch_core::time::Span;
use latch_core::undo::{self, Entry};
use serde_json::Value;

use super::accounts::Account;
use super::read::ReadError;
use super::undo::Undo;
use super::{Opened, Runtime};
use crate::spool::SpoolError;
use crate::store::{Copied, StoreError};
use crate::upstream::UpstreamError;

/// The largest answer that is kept for joiners and undo, in bytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// Why a permitted request has no upstream answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Panic came in between; what was recorded as an intent says how far it came.
    #[error("stopped by the person before it left")]
    Stopped,
    /// Nothing was recorded, so nothing was sent.
    #[error("it could not be recorded, so it was not done: {0}")]
    Store(Arc<StoreError>),
    /// It was sent, but what became of it could not be recorded.
    #[error("it was sent, but what became of it could not be recorded: {0}")]
    Afterwards(Arc<StoreError>),
    /// The state before could not be read, so nothing was sent.
    #[error("the state before could not be read, so nothing was changed: {0}")]
    Snapshot(ReadError),
    /// What was looked at is not as it was.
    #[error("{0}, so nothing was done")]
    Changed(String),
    /// Others are at it, for longer than anybody waits.
    #[error("nothing was done: {0}")]
    InUse(&'static str),
    /// A copy could not be kept, so nothing was destroyed.
    #[error("no copy could be kept, so nothing was destroyed: {0}")]
    Quarantine(String),
    /// The upstream did not take it, or its answer broke off.
    #[error("{0}")]
    Upstream(Arc<UpstreamError>),
    /// The approved body could not be read again.
    #[error("it was put aside and could not be read again, so nothing was done: {0}")]
    Aside(SpoolError),
    /// The engine ends; what was recorded as an intent says how far it came.
    #[error("not begun, because Latchstring is ending")]
    Ending,
    /// The person ticked a part that can't be cut out of this request.
    #[error("it can't be done in part, so nothing was done")]
    NotDivisible,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// One part with the calls that do it.
struct Prepared {
    /// The part as undo sees it: softened, if it is.
    part: Part,
    calls: Vec<Call>,
    /// Whether only the first call matters for the answer, and the others tidy up.
    tidies: bool,
    /// What the agent gets instead of the upstream's own answer.
    instead: Option<Answer>,
    before: Vec<(String, Value)>,
    entry: Option<Entry>,
    /// The id that its undo entry gets, and what makes it unique.
    undo: (String, Put),
}

impl Runtime {
    /// Runs a request to its end. The `dropped` parts of a batch are answered as denied.
    pub(crate) async fn execute(
        &self,
        account: &Account,
        permit: Permit,
        request: Request,
        dropped: &[Part],
    ) -> Result<Answer, Failure> {
        if request.parts.iter().any(|part| submits(&part.call)) {
            return self.execute_submission(account, permit, request).await;
        }
        if super::sieve::is_about_filters(&request) {
            return Box::pin(self.execute_filters(account, permit, request)).await;
        }
        if account.target.is_mail() {
            return self.execute_mail(account, permit, request).await;
        }
        if self.is_dav(account) {
            return Box::pin(self.execute_dav(account, permit, request)).await;
        }
        let opened = self.opened().ok_or(Failure::Stopped)?;
        let provider = self
            .catalog
            .provider(&account.provider)
            .ok_or_else(|| Failure::Snapshot(super::read::lost_provider(account)))?;
        if let Some(delay) = permit.delay() {
            return self.delay(opened, provider, account, permit, request, delay).await;
        }
        let batch = request.batch;
        let mut prepared = Vec::with_capacity(request.parts.len());
        for part in request.parts {
            prepared.push(self.prepare_part(opened, provider, account, &permit, part).await?);
        }
        let calls: Vec<Call> = prepared.iter().flat_map(|one| one.calls.iter().cloned()).collect();
        let mut plan = {
            let now = opened.now();
            opened.guard().begin(permit, &calls, now)
        };
        let mut index = 0;
        let mut answers = Vec::with_capacity(prepared.len());
        for one in prepared {
            let count = one.calls.len();
            let content_id = one.part.content_id.clone();
            let answer = self.run_part(opened, provider, account, &mut plan, index, one).await;
            index += count;
            match answer {
                Ok(answer) => answers.push(answered(content_id, answer)),
                Err(failure) if batch && !answers.is_empty() => {
                    answers.push(answered(content_id, failed_part(&failure)))
                }
                Err(failure) => return Err(failure),
            }
        }
        if batch {
            answers.extend(dropped.iter().map(|part| answered(part.content_id.clone(), denied_part())));
            let (content_type, body) = batch_answer(&answers);
            return Ok(Answer { status: 200, headers: vec![("content-type".to_owned(), content_type)], body });
        }
        answers
            .pop()
            .map(|one| Answer { status: one.status, headers: one.headers, body: one.body })
            .ok_or(Failure::NotDivisible)
    }

    /// A mail with an outbox delay becomes a draft upstream; it is answered as sent, and leaves when the delay is over.
    async fn delay(
        &self,
        opened: &Opened,
        provider: &Provider,
        account: &Account,
        permit: Permit,
        request: Request,
        delay: Span,
    ) -> Result<Answer, Failure> {
        let part = request.parts.into_iter().next().filter(|_| !request.batch).ok_or(Failure::NotDivisible)?;
        let call = recipe::divert_to_draft(provider, &part).ok_or(Failure::NotDivisible)?;
        let epoch = permit.epoch();
        let mut plan = {
            let now = opened.now();
            opened.guard().begin(permit, std::slice::from_ref(&call), now)
        };
        let agent = plan.agent().unwrap_or_default().to_owned();
        let commit = opened.guard().intent(&mut plan, 0, opened.now());
        crate::fail::point("before-intent");
        let intent = opened.store.commit(commit).await?.seq;
        crate::fail::point("after-intent");
        let lease = opened.guard().lease(&mut plan, 0)?;
        let sent = self.send(opened, account, lease, call).await;
        crate::fail::point("before-outcome");
        let diverted = match &sent {
            Ok(answer) if (200..300).contains(&answer.status) => serde_json::from_slice::<Value>(&answer.body)
                .ok()
                .and_then(|value| recipe::diverted(provider, &part, &value)),
            Ok(_) | Err(_) => None,
        };
        let text = match (&sent, &diverted) {
            (_, Some(_)) => format!("waits in the outbox for {} s", delay.0 / 1000),
            (Ok(answer), None) => format!("the provider answered {}", answer.status),
            (Err(failure), None) => format!("unknown: {failure}"),
        };
        let mut commit = opened.guard().outcome(&plan, intent, None, text, opened.now());
        let answer = match diverted {
            Some((draft, answer)) => {
                commit.puts.extend(self.outbox_add(opened, (&agent, &account.id, epoch), &part, draft, delay));
                answer
            }
            None => sent?,
        };
        opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
        Ok(answer)
    }

    async fn prepare_part(
        &self,
        opened: &Opened,
        provider: &Provider,
        account: &Account,
        permit: &Permit,
        part: Part,
    ) -> Result<Prepared, Failure> {
        let epoch = permit.epoch();
        let forever = permit.forever() && part.operation.class == Class::Destroy;
        let softened = if forever { None } else { recipe::soften(provider, &part) };
        let (part, calls, instead) = match softened {
            Some(softened) => {
                let mut part = part;
                part.operation.undo = softened.undo;
                (part, softened.calls.into_iter().map(|(_, call)| call).collect(), Some(softened.answer))
            }
            None => {
                let calls = match recipe::send_stored(provider, &part) {
                    Some((send, tidy)) => std::iter::once(send).chain(tidy).collect(),
                    None => vec![part.call.clone()],
                };
                (part, calls, None)
            }
        };
        let tidies = instead.is_none();
        let undo = opened.guard().next_undo();
        let for_ever = forever && part.operation.soften.is_some();
        if instead.is_none() && (for_ever || !recipe::quarantine(provider, &part).is_empty()) {
            self.keep_copies(opened, provider, account, epoch, &part, &undo.0).await?;
        }
        let snapshot = undo::snapshot(provider, &part);
        let before: Vec<(String, Value)> = self
            .read_all(account, epoch, snapshot)
            .await
            .map_err(Failure::Snapshot)?
            .into_iter()
            .filter_map(|(id, value)| value.map(|value| (id, value)))
            .collect();
        let entry = undo::entry(provider, &part, &before, None);
        Ok(Prepared { part, calls, tidies, instead, before, entry, undo })
    }

    async fn run_part(
        &self,
        opened: &Opened,
        provider: &Provider,
        account: &Account,
        plan: &mut Plan,
        first: usize,
        one: Prepared,
    ) -> Result<Answer, Failure> {
        let Prepared { part, calls, tidies, instead, before, entry, undo: (undo_id, counter) } = one;
        let mut counter = Some(counter);
        let agent = plan.agent().unwrap_or_default().to_owned();
        let mut undo = entry.map(|entry| Undo::new(&undo_id, &agent, &account.id, &part, entry, opened.now()));
        // What an agent puts among the sent mail makes nobody known: it is noted before it can be there.
        let mut writing =
            recipe::sent::writes(provider, &part).map(|writes| opened.guard().writing(&account.id, writes));
        if recipe::sways(provider, &part) {
            let now = opened.now();
            opened.guard().spare(&account.id, part.operation.objects.ids(), now);
        }
        let mut last = None;
        for (offset, call) in calls.into_iter().enumerate() {
            if self.tasks.is_ending() {
                return Err(Failure::Ending);
            }
            let (intent, lease): (u64, Result<_, Failure>) = {
                let mut commit = opened.guard().intent(plan, first + offset, opened.now());
                if let Some(undo) = &undo
                    && offset == 0
                {
                    commit.puts.push(undo.put());
                    commit.puts.extend(counter.take());
                }
                if let Some((_, puts)) = &mut writing {
                    commit.puts.append(puts);
                }
                crate::fail::point("before-intent");
                let receipt = opened.store.commit(commit).await?;
                crate::fail::point("after-intent");
                if crate::fail::is_here("panic-after-intent") {
                    let _ = self.panic("a failpoint");
                }
                (receipt.seq, opened.guard().lease(plan, first + offset).map_err(Failure::from))
            };
            let sent = match lease {
                Ok(lease) => self.send(opened, account, lease, call).await,
                Err(stopped) => Err(stopped),
            };
            crate::fail::point("before-outcome");
            let unsent = match &sent {
                Err(Failure::Stopped) => true,
                Err(Failure::Upstream(error)) => !error.sent,
                _ => false,
            };
            let text = match &sent {
                Ok(answer) => format!("the provider answered {}", answer.status),
                Err(failure) if unsent => format!("not done: {failure}"),
                Err(failure) => format!("unknown: {failure}"),
            };
            let succeeded = matches!(&sent, Ok(answer) if (200..300).contains(&answer.status));
            let mut commit =
                opened.guard().outcome(plan, intent, undo.as_ref().map(|undo| undo.id.clone()), text, opened.now());
            if succeeded
                && let Ok(answer) = &sent
                && instead.is_none()
                && let Some(entry) =
                    undo::entry(provider, &part, &before, serde_json::from_slice::<Value>(&answer.body).ok().as_ref())
            {
                let known = match undo.take() {
                    Some(known) => Undo { entry, ..known },
                    None => {
                        commit.puts.extend(counter.take());
                        Undo::new(&undo_id, &agent, &account.id, &part, entry, opened.now())
                    }
                };
                for record in &mut commit.records {
                    record.undo = Some(known.id.clone());
                }
                commit.puts.push(known.put());
                undo = Some(known);
            }
            if let (Ok(answer), Some((id, _)), true) = (&sent, &writing, offset == 0) {
                let value = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
                let made = if succeeded { recipe::sent::made(provider, &part, &value) } else { None };
                if made.is_some() || (400..500).contains(&answer.status) {
                    commit.extend(opened.guard().wrote(id, made.flatten()));
                }
            }
            if let (true, Some((id, _)), true) = (unsent, &writing, offset == 0) {
                commit.extend(opened.guard().wrote(id, None));
            }
            let refused = unsent || matches!(&sent, Ok(answer) if (400..500).contains(&answer.status));
            let mut unneeded = Vec::new();
            if refused
                && offset == 0
                && let Some(refused) = undo.take()
            {
                unneeded = part.operation.objects.ids().to_vec();
                commit.deletes.push((Shelf::Undo, refused.id.clone()));
                for record in &mut commit.records {
                    record.undo = None;
                }
            }
            opened.store.commit(commit).await.map_err(|error| Failure::Afterwards(Arc::new(error)))?;
            opened.forget_copies_of(&undo_id, unneeded).await;
            if tidies && offset > 0 {
                break;
            }
            let answer = sent?;
            if !succeeded {
                return Ok(answer);
            }
            last = Some(answer);
        }
        instead.or(last).ok_or(Failure::NotDivisible)
    }

    /// One leased call with its whole answer.
    pub(crate) async fn send(
        &self,
        opened: &Opened,
        account: &Account,
        lease: latch_core::lease::Lease,
        call: Call,
    ) -> Result<Answer, Failure> {
        let fetched = opened
            .upstream
            .fetch(lease, &account.target, call, MAX_ANSWER)
            .await
            .map_err(|error| Failure::Upstream(Arc::new(error)))?;
        self.note_status(opened, &account.id, fetched.status.as_u16());
        let headers = fetched
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .filter(|(name, _)| name != "content-length")
            .collect();
        let hidden = opened.guard().stop_mail(&account.id).cloned();
        let body = match &hidden {
            Some(hidden) => without(fetched.body, hidden),
            None => fetched.body,
        };
        Ok(Answer { status: fetched.status.as_u16(), headers, body })
    }

    async fn keep_copies(
        &self,
        opened: &Opened,
        provider: &Provider,
        account: &Account,
        epoch: latch_core::lease::Epoch,
        part: &Part,
        entry: &str,
    ) -> Result<(), Failure> {
        let calls = recipe::quarantine(provider, part);
        if calls.is_empty() {
            return Err(Failure::Quarantine("this provider has no way to copy it first".to_owned()));
        }
        let copies = self
            .read_all(account, epoch, calls)
            .await
            .map_err(Failure::Snapshot)?
            .into_iter()
            .filter_map(|(object, copy)| Some((object, serde_json::to_vec(&copy?).ok()?)))
            .map(|(object, content)| Copied { entry: entry.to_owned(), object, content })
            .collect();
        opened.store.quarantine_put(copies).await.map_err(|error| Failure::Quarantine(error.to_string()))
    }
}

/// An answer whose lists do not name the mail that stops everything.
fn without(body: Bytes, hidden: &Anchor) -> Bytes {
    let Ok(mut value) = serde_json::from_slice::<Value>(&body) else { return body };
    if !recipe::stop::hide(&mut value, hidden) {
        return body;
    }
    serde_json::to_vec(&value).map_or(body, Bytes::from)
}

/// A part of a batch that could not run, for the batch's answer.
fn failed_part(failure: &Failure) -> Answer {
    part_answer(502, "UNAVAILABLE", &failure.to_string())
}

/// A part of a batch that the person did not tick.
fn denied_part() -> Answer {
    part_answer(
        403,
        "PERMISSION_DENIED",
        "The person allowed other parts of this batch, but not this one. Nothing was done to it.",
    )
}

fn part_answer(status: u16, name: &str, message: &str) -> Answer {
    let body = serde_json::json!({ "error": { "code": status, "message": message, "status": name } });
    Answer {
        status,
        headers: vec![("content-type".to_owned(), "application/json; charset=UTF-8".to_owned())],
        body: body.to_string().into(),
    }
}

/// A document that is forgotten together with its undo entry.
pub(crate) fn undo_put(id: &str, value: Value) -> Put {
    Put { shelf: Shelf::Undo, id: id.to_owned(), value }
}

fn answered(content_id: Option<String>, answer: Answer) -> Answered {
    Answered { content_id, status: answer.status, headers: answer.headers, body: answer.body }
}
