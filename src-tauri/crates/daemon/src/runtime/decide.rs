//! Holds: showing, deciding, running what was allowed.

use std::sync::Arc;

use latch_core::call::Digest;
use latch_core::catalog::{ErrorShape, Provider};
use latch_core::classify::smtp::submits;
use latch_core::guard::{DecideError, Remember, Scope, Verdict};
use latch_core::hold::{Allowed, State};
use latch_core::journal::{Charge, Commit};
use latch_core::operation::{BOUNCES, Part, Request};
use latch_core::recipe;
use latch_core::scope::RuleId;
use latch_ipc::contract::{self, Empty, HoldDecideParams, HoldDecided, HoldGetParams, HoldTouched, Id};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::{AnswerView, HoldState, HoldView};

use super::Runtime;
use super::accounts::Account;
use super::execute::Failure;
use super::stop::{locked, storage};
use super::views::{self, Page};

/// Objects that `hold.list` shows of each hold.
const LISTED_OBJECTS: usize = 20;

impl Runtime {
    /// Every hold that waits.
    pub(crate) fn hold_list(&self) -> Result<Vec<HoldView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let now = opened.now();
        let guard = opened.guard();
        let page = Page { offset: 0, limit: LISTED_OBJECTS, facts: false };
        Ok(guard
            .holds()
            .filter(|hold| hold.state.waits() && hold.expires_at > now.time)
            .filter_map(|hold| Some(views::hold(hold, self.provider_of(&hold.account)?, &guard, page, now)))
            .collect())
    }

    /// One hold; a proposal is read again when somebody looks.
    pub(crate) fn hold_get(self: &Arc<Self>, params: &HoldGetParams) -> Result<HoldView, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let page = Page {
            offset: params.offset.map_or(0, |offset| usize::try_from(offset).unwrap_or(usize::MAX)),
            limit: params.limit.map_or(Page::ALL.limit, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            ..Page::ALL
        };
        if super::read::needs_preparing(opened, &params.id)
            && let Some(account) = opened.guard().hold(&params.id).map(|hold| hold.account.clone())
            && let Some(account) = opened.account(&account)
        {
            self.prepare_soon(&account, &params.id);
        }
        let now = opened.now();
        let guard = opened.guard();
        let hold = guard.hold(&params.id).ok_or_else(no_hold)?;
        let provider = self.provider_of(&hold.account).ok_or_else(no_hold)?;
        Ok(views::hold(hold, provider, &guard, page, now))
    }

    /// Takes the owner's decision.
    pub(crate) async fn hold_decide(self: &Arc<Self>, params: HoldDecideParams) -> Result<HoldDecided, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let digest = Digest::from_hex(&params.digest)
            .ok_or_else(|| RpcError::new(ErrorCode::InvalidParams, "digest is 64 hex digits: repeat the hold's own"))?;
        let (scope, remember) = (scope(&params)?, remember(&params)?);
        let verdict = match params.verdict {
            contract::Verdict::Deny => Verdict::Deny,
            contract::Verdict::Allow => Verdict::Allow {
                objects: params.objects,
                scope,
                forever: params.forever.unwrap_or(false),
                retyped_count: params.retyped_count,
            },
        };
        let by = match params.by.as_deref() {
            None | Some("dialog") => "dialog",
            Some("notification") => latch_core::guard::BY_NOTIFICATION,
            Some("terminal") => "terminal",
            Some("script") => "script",
            Some(_) => {
                let message = "by is one of dialog, notification, terminal, script";
                return Err(RpcError::new(ErrorCode::InvalidParams, message));
            }
        };
        if params.verdict == contract::Verdict::Allow {
            self.check_divisible(&params.id, &verdict)?;
        }
        let decided = {
            let (mut guard, now) = (opened.guard(), opened.now());
            if remember.is_some() {
                guard.check_memorable(&params.id).map_err(|error| refusal(&error))?;
            }
            let mut decided = guard.decide(&params.id, &digest, verdict, by, now).map_err(|error| refusal(&error))?;
            if let Some(remember) = remember {
                let more = guard.remember_denial(&params.id, remember, by, now).map_err(|error| refusal(&error))?;
                decided.commit.extend(more);
            }
            decided
        };
        if let Err(error) = opened.store.commit(decided.commit).await {
            let now = opened.now();
            let _ = opened.guard().handle_unreadable(&params.id, "the decision could not be recorded", now);
            self.settle(opened);
            return Err(storage(&error));
        }
        self.settle(opened);
        let account = opened.guard().hold(&params.id).map(|hold| hold.account.clone());
        // Nobody else would run a mail that waits here.
        if (decided.run || Self::outbox_asks(opened, &params.id))
            && decided.state == State::Allowed
            && let Some(account) = account.and_then(|account| opened.account(&account))
        {
            self.run_allowed_soon(&account, &params.id);
        }
        Ok(HoldDecided {
            state: match (decided.state, decided.in_part) {
                (State::Denied, _) => HoldState::Denied,
                (_, true) => HoldState::AllowedInPart,
                (_, false) => HoldState::Allowed,
            },
        })
    }

    /// What the person answered for longer.
    pub(crate) fn answer_list(&self) -> Result<Vec<AnswerView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let (guard, now) = (opened.guard(), opened.now());
        let denials = guard.denials(now).map(|denial| views::denial(denial, now));
        Ok(denials.chain(guard.allowances(now).map(|allowance| views::allowance(allowance, now))).collect())
    }

    /// Takes such an answer back.
    pub(crate) async fn answer_forget(&self, params: Id) -> Result<Empty, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let commit = opened.guard().forget_answer(&params.id, opened.now());
        let commit = commit.ok_or_else(|| {
            RpcError::new(ErrorCode::NotFound, "this answer does not stand any more: see answer.list")
        })?;
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        Ok(Empty {})
    }

    /// Denies; anybody on this machine's side of the control socket may.
    pub(crate) async fn hold_deny(&self, id: &str, by: &str) -> Result<HoldDecided, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let decided = {
            let mut guard = opened.guard();
            let digest = guard.hold(id).ok_or_else(no_hold)?.digest;
            guard.decide(id, &digest, Verdict::Deny, by, opened.now()).map_err(|error| refusal(&error))?
        };
        opened.store.commit(decided.commit).await.map_err(|error| storage(&error))?;
        self.settle(opened);
        Ok(HoldDecided { state: HoldState::Denied })
    }

    /// The person is looking at it: its time starts again, within bounds.
    pub(crate) fn hold_touch(&self, id: &str) -> Result<HoldTouched, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let now = opened.now();
        let end = opened.guard().touch(id, now).map_err(|error| refusal(&error))?;
        Ok(HoldTouched { expires_at: views::wall(end, now) })
    }

    /// A partial Allow must be possible before it is taken: afterwards it is too late to ask again.
    fn check_divisible(&self, id: &str, verdict: &Verdict) -> Result<(), RpcError> {
        let Verdict::Allow { objects: Some(objects), .. } = verdict else { return Ok(()) };
        let opened = self.opened().ok_or_else(locked)?;
        let (request, account) = {
            let guard = opened.guard();
            let hold = guard.hold(id).ok_or_else(no_hold)?;
            if objects.len() >= hold.choices().len() {
                return Ok(());
            }
            (hold.request.clone(), hold.account.clone())
        };
        let provider = self.provider_of(&account).ok_or_else(no_hold)?;
        match restrict(provider, request, objects) {
            Some(_) => Ok(()),
            None => Err(RpcError::new(ErrorCode::Conflict, "it can only be allowed whole")),
        }
    }

    /// Starts an allowed hold's plan unless it has started already.
    pub(crate) fn run_allowed_soon(self: &Arc<Self>, account: &Arc<Account>, id: &str) {
        let Some(opened) = self.opened() else { return };
        // What only its requester's own connection can carry is run by the requester, who waits for it.
        let theirs = |part: &Part| latch_core::classify::imap::deed::needs_its_client(&part.call);
        if opened.guard().hold(id).is_some_and(|hold| hold.request.parts.iter().any(theirs)) {
            return;
        }
        let Some((permit, request, allowed)) = opened.guard().take_allowed(id, opened.now()) else { return };
        let (runtime, account, id) = (Arc::clone(self), Arc::clone(account), id.to_owned());
        self.tasks.spawn(async move { runtime.run_allowed(&account, &id, permit, request, allowed).await });
    }

    async fn run_allowed(
        &self,
        account: &Account,
        id: &str,
        permit: latch_core::plan::Permit,
        request: Request,
        allowed: Allowed,
    ) {
        let Some(opened) = self.opened() else { return };
        let asked = getting(&request);
        let chosen = match &allowed.objects {
            None => Some((request, Vec::new())),
            Some(keep) => {
                let keep: Vec<String> = keep.iter().cloned().collect();
                self.catalog.provider(&account.provider).and_then(|provider| restrict(provider, request, &keep))
            }
        };
        let epoch = permit.epoch();
        let submission = chosen.iter().flat_map(|(request, _)| &request.parts).any(|part| submits(&part.call));
        let filters = chosen.as_ref().is_some_and(|(request, _)| super::sieve::is_about_filters(request));
        let recipients: Vec<String> = chosen.iter().flat_map(|(request, _)| reached(request)).collect();
        let get_it: Vec<String> = chosen.iter().flat_map(|(request, _)| getting(request)).collect();
        let left_out: Vec<String> = asked.into_iter().filter(|one| !get_it.contains(one)).collect();
        let sent = chosen.is_some();
        let result = match chosen {
            Some((request, dropped)) => match super::aside::whole(opened, request).await {
                Ok((request, turn)) => {
                    let result = match self.outbox_leaving(opened, id).await {
                        Ok(()) => self.execute(account, permit, request, &dropped).await,
                        Err(failure) => Err(failure),
                    };
                    drop(turn);
                    result
                }
                Err(failure) => Err(failure),
            },
            None => Err(Failure::NotDivisible),
        };
        if let Ok(answer) = &result
            && (200..300).contains(&answer.status)
            && !recipients.is_empty()
        {
            let learned = opened.guard().learn(&account.id, &recipients);
            let _ = opened.store.commit(learned).await;
        }
        if sent {
            self.outbox_settled(opened, id, epoch, &result).await;
        }
        let answer = match result {
            Ok(answer) if submission && answer.status == 200 && !left_out.is_empty() => {
                super::smtp::in_part(&get_it, &left_out)
            }
            Ok(answer) => answer,
            Err(failure) if submission => super::smtp::refused(&failure),
            Err(failure) if filters => super::sieve::refused(&failure),
            Err(failure) if account.target.is_mail() => super::mail::refused(&failure),
            Err(failure) => {
                let shape =
                    self.catalog.provider(&account.provider).map_or(ErrorShape::Plain, |provider| provider.error_shape);
                super::problem::failed(shape, &failure).into_answer()
            }
        };
        super::lock(&opened.answers).insert(id.to_owned(), Arc::new(answer));
        opened.guard().finish(id, opened.now());
        self.settle(opened);
    }

    /// Reads a hold's objects in the background.
    pub(crate) fn prepare_soon(self: &Arc<Self>, account: &Arc<Account>, id: &str) {
        let Some(opened) = self.opened() else { return };
        if !super::lock(&opened.preparing).insert(id.to_owned()) {
            return;
        }
        let (runtime, account, id) = (Arc::clone(self), Arc::clone(account), id.to_owned());
        self.tasks.spawn_light(async move {
            runtime.prepare(&account, &id).await;
            if let Some(opened) = runtime.opened() {
                super::lock(&opened.preparing).remove(&id);
            }
        });
    }

    /// Time's work: holds that are over, once a second at most.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let Some(opened) = self.opened() else { continue };
            let unsaved = std::mem::take(&mut *super::lock(&opened.unsaved));
            if !unsaved.is_empty() {
                let _ = opened.store.commit(Commit { charges: summed(unsaved), ..Commit::default() }).await;
            }
            self.outbox_answered(opened).await;
            self.outbox_due(opened).await;
            let due = opened.guard().poll_timeout().is_some_and(|due| due <= opened.clock.now());
            if !due {
                let came = opened.guard().give_places(opened.now());
                if came {
                    self.settle(opened);
                }
                continue;
            }
            let commit = opened.guard().handle_timeout(opened.now());
            if commit != Commit::default() {
                let _ = opened.store.commit(commit).await;
            }
            {
                let guard = opened.guard();
                super::lock(&opened.answers).retain(|id, _| guard.hold(id).is_some());
            }
            self.settle(opened);
        }
    }

    pub(crate) fn provider_of(&self, account: &str) -> Option<&Provider> {
        let account = self.opened()?.account(account)?;
        self.catalog.provider(&account.provider)
    }
}

/// The request on exactly the ticked objects, and the parts of a batch of which nothing is left; `None` if it can't be split so.
fn restrict(provider: &Provider, request: Request, keep: &[String]) -> Option<(Request, Vec<Part>)> {
    let mut parts = Vec::with_capacity(request.parts.len());
    let mut dropped = Vec::new();
    for part in request.parts {
        if submits(&part.call) {
            parts.push(latch_core::classify::smtp::restrict(&part, keep)?);
            continue;
        }
        let ids = part.operation.objects.ids();
        let kept: Vec<String> = ids.iter().filter(|id| keep.contains(id)).cloned().collect();
        if kept.len() == ids.len() {
            parts.push(part);
        } else if !kept.is_empty() {
            let deed = latch_core::classify::imap::deed::restrict(&part, &kept);
            parts.push(deed.or_else(|| recipe::restrict(provider, &part, &kept))?);
        } else if request.batch {
            dropped.push(part);
        } else {
            return None;
        }
    }
    (!parts.is_empty()).then_some((Request { parts, batch: request.batch }, dropped))
}

/// Who gets a mail.
fn getting(request: &Request) -> Vec<String> {
    let members = request.parts.iter().filter_map(|part| part.operation.audience.as_ref());
    let members = members.flat_map(|audience| &audience.members).filter(|member| member.role != BOUNCES);
    members.map(|member| member.address.clone()).collect()
}

pub(super) fn reached(request: &Request) -> Vec<String> {
    request
        .parts
        .iter()
        .filter(|part| part.operation.class == latch_core::operation::Class::Send)
        .filter_map(|part| part.operation.audience.as_ref())
        .flat_map(|audience| audience.members.iter().map(|member| member.known_as().into_owned()))
        .collect()
}

fn scope(params: &HoldDecideParams) -> Result<Scope, RpcError> {
    let bad = |message: &str| RpcError::new(ErrorCode::InvalidParams, message);
    match (params.scope.unwrap_or_default(), &params.rule) {
        (contract::Scope::Once, None) => Ok(Scope::Once),
        (contract::Scope::Task, None) => Ok(Scope::Task),
        (contract::Scope::Task, Some(rule)) => {
            RuleId::parse(rule).map(Scope::Rule).ok_or_else(|| bad("rule is the id of one of the hold's own rules"))
        }
        (contract::Scope::Once, Some(_)) => Err(bad("a rule goes with scope task only")),
    }
}

fn remember(params: &HoldDecideParams) -> Result<Option<Remember>, RpcError> {
    match (params.remember, params.verdict) {
        (None, _) => Ok(None),
        (Some(contract::Remember::Task), contract::Verdict::Deny) => Ok(Some(Remember::Task)),
        (Some(contract::Remember::Always), contract::Verdict::Deny) => Ok(Some(Remember::Always)),
        (Some(_), contract::Verdict::Allow) => {
            Err(RpcError::new(ErrorCode::InvalidParams, "remember goes with a denial; an Allow has a scope"))
        }
    }
}

fn no_hold() -> RpcError {
    RpcError::new(ErrorCode::NotFound, "there is no such hold: see hold.list")
}

fn refusal(error: &DecideError) -> RpcError {
    let code = match error {
        DecideError::Unknown => ErrorCode::NotFound,
        DecideError::NotWaiting(_) | DecideError::OtherDigest | DecideError::Preparing | DecideError::NoRule => {
            ErrorCode::Conflict
        }
        DecideError::Stopped => ErrorCode::Panicked,
        DecideError::NotDivisible
        | DecideError::OtherObjects
        | DecideError::Opaque
        | DecideError::Nothing
        | DecideError::OnceOnly
        | DecideError::NotRemembered
        | DecideError::NotForever
        | DecideError::Retype(_) => ErrorCode::InvalidParams,
        DecideError::NotByNotification => ErrorCode::Forbidden,
    };
    RpcError::new(code, error.to_string())
}

/// Read charges of a second, one for each agent, account and meter.
fn summed(charges: Vec<Charge>) -> Vec<Charge> {
    let mut sums: Vec<Charge> = Vec::new();
    for charge in charges {
        let same =
            |one: &&mut Charge| one.agent == charge.agent && one.account == charge.account && one.meter == charge.meter;
        match sums.iter_mut().find(same) {
            Some(sum) => {
                sum.count = sum.count.saturating_add(charge.count);
                sum.time = sum.time.max(charge.time);
            }
            None => sums.push(charge),
        }
    }
    sums
}
