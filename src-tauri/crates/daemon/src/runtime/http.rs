//! One HTTP request's way, from the door to the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use latch_core::catalog::{ErrorShape, Protocol, Provider};
use latch_core::classify::http::{BodyNeed, Head, route};
use latch_core::guard::{Context, Ruling, Session};
use latch_core::hold::State;
use latch_core::operation::{Objects, Request};
use latch_core::plan::Permit;
use latch_core::recipe::{self, Answer, View};
use serde_json::json;

use super::accounts::Account;
use super::aside::{HeadOf, Understood, understand};
use super::execute::Failure;
use super::inside::Caller;
use super::problem::{self, Problem};
use super::read::ReadError;
use super::visit::Waiting;
use super::{Opened, Runtime};
use crate::door::http::{AgentBody, AnswerBody, Gathered};
use crate::spool::Turn;

/// The header in which an agent may say why, in its own words.
const REASON: &str = "latchstring-reason";
/// Requests that wait on the line for one hold; more are told at once to ask later, so that nobody fills the door.
const MAX_JOINERS: u32 = 16;

/// How long a requester waits for what was allowed and runs.
const RUNNING: Duration = Duration::from_secs(25);

pub(super) type Response = http::Response<AnswerBody>;

/// For whom a request is decided, and where.
pub(super) struct Asking<'a> {
    pub(super) opened: &'a Opened,
    pub(super) account: &'a Arc<Account>,
    pub(super) provider: &'a Provider,
    pub(super) session: &'a Session,
    pub(super) peer: SocketAddr,
    /// The agent's own words.
    pub(super) reason: Option<String>,
}

impl Runtime {
    /// Takes an agent's request to its answer.
    pub(super) async fn answer(
        self: &Arc<Self>,
        caller: Caller,
        account: &str,
        head: Parts,
        body: AgentBody,
    ) -> Response {
        match self.take(caller, account, head, body).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }

    async fn take(
        self: &Arc<Self>,
        caller: Caller,
        account_id: &str,
        head: Parts,
        body: AgentBody,
    ) -> Result<Response, Problem> {
        let opened = self.opened().ok_or_else(problem::vault_locked)?;
        let Caller { session, peer } = caller;
        let stranger = opened.guard().refuse_stranger(&session, account_id, opened.now());
        if let Some(ruling) = stranger {
            return Err(Box::pin(refused(opened, problem::STRANGER, ruling)).await);
        }
        let account = opened.account(account_id).ok_or_else(|| {
            let detail = "Latchstring can't use this account at present: the person must remove it and add it again.";
            Problem::new(problem::STRANGER, 503, "Account not usable", detail)
        })?;
        if account.target.is_mail() {
            let detail = "This account is reached over IMAP: log in at the IMAP door with the same access token.";
            return Err(Problem::new(ErrorShape::Plain, 404, "No HTTP here", detail));
        }
        let provider = self.catalog.provider(&account.provider).ok_or_else(|| {
            Problem::new(
                ErrorShape::Plain,
                500,
                "No provider file",
                "Latchstring has no provider file for this account.",
            )
        })?;
        if provider.protocol == Protocol::Dav {
            return Box::pin(self.take_dav(session, peer, &account, provider, head, body)).await;
        }
        let shape = provider.error_shape;
        let mount = format!("/{account_id}");
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let routed = route(provider, Head { method: &head.method, target, headers: &head.headers, mount: &mount })
            .map_err(|refusal| problem::refused(shape, &refusal))?;
        // What changes something is read whole even where its Class would not need it: it may be held, and its undo is made from it.
        let limit = match routed.body() {
            BodyNeed::Stream => routed.limit(),
            BodyNeed::Buffer { limit } => limit,
        };
        let gathered = body.gather(limit, &opened.spool).await.map_err(|error| problem::body(shape, &error))?;
        let Understood { request, turn } = match gathered {
            Gathered::Whole(bytes) => Understood { request: routed.classify(&bytes), turn: None },
            Gathered::Aside(kept) => {
                let (method, headers) = (head.method.clone(), head.headers.clone());
                let (provider, target) = (account.provider.clone(), target.to_owned());
                let of = HeadOf { provider, method, target, headers, mount: mount.clone() };
                Box::pin(understand(self, of, kept)).await.map_err(|error| problem::body(shape, &error))?
            }
        };
        let request = request.map_err(|refusal| problem::refused(shape, &refusal))?;
        let asking = Asking { opened, account: &account, provider, session: &session, peer, reason: reason(&head) };
        Box::pin(self.rule(asking, request, turn, Vec::new())).await
    }

    /// Takes a request that is understood through the Guard, and wherever it says. `views`: what of its objects was read already.
    pub(super) async fn rule(
        self: &Arc<Self>,
        asking: Asking<'_>,
        mut request: Request,
        turn: Option<Turn>,
        views: Vec<(String, View)>,
    ) -> Result<Response, Problem> {
        let Asking { opened, account, provider, session, peer, reason } = asking;
        let shape = provider.error_shape;
        let mut context = Context { reason, ..Context::default() };
        let mut resolved = false;
        loop {
            if opened.guard().names_stop_mail(&account.id, &request) {
                return Err(problem::no_such_message(shape));
            }
            let ruling = opened.guard().handle_request(session, &account.id, &request, context.clone(), opened.now());
            let ruling = match ruling {
                Ruling::Permit(permit) if permit.delay().is_some() && !can_wait(provider, &request) => {
                    let why = "It can't wait in the outbox, so it is asked.";
                    opened.guard().hold_instead(permit, &request, why, context.clone(), opened.now())
                }
                other => other,
            };
            match ruling {
                Ruling::Stopped => return Err(problem::stopped(shape)),
                Ruling::Crowded { own } => return Err(problem::crowded(shape, own)),
                Ruling::Paused { until } => {
                    self.settle(opened);
                    return Err(problem::paused(shape, until.since(opened.clock.now()).0 / 1000 + 1));
                }
                forbid @ Ruling::Forbid { .. } => return Err(Box::pin(refused(opened, shape, forbid)).await),
                Ruling::Resolve if resolved => {
                    return Err(problem::unreadable(
                        shape,
                        &ReadError::Answer("the objects could not be resolved".to_owned()),
                    ));
                }
                Ruling::Resolve => {
                    resolved = true;
                    request = Box::pin(self.resolve(account, session, request))
                        .await
                        .map_err(|error| problem::unreadable(shape, &error))?;
                }
                Ruling::LookUp(addresses) => {
                    context.looked_up = true;
                    self.look_up(account, session.epoch, &request, addresses).await;
                }
                Ruling::ReadFirst => return Err(problem::stopped(shape)),
                Ruling::View => {
                    context.views = Some(Arc::new(self.views(account, session.epoch, &request).await));
                }
                Ruling::Permit(permit) if permit.class() == latch_core::operation::Class::Read && !request.batch => {
                    return self.pass(opened, account, shape, permit, request).await;
                }
                Ruling::Permit(permit) => {
                    let answer = Box::pin(self.run_now(account, permit, request, turn)).await;
                    self.settle(opened);
                    return answer.map(respond).map_err(|failure| problem::failed(shape, &failure));
                }
                Ruling::Held { id, commit } => {
                    if *commit != latch_core::journal::Commit::default() {
                        Box::pin(opened.store.commit(*commit))
                            .await
                            .map_err(|error| problem::unrecorded(shape, &error.to_string()))?;
                        Box::pin(self.put_aside(opened, &id)).await;
                        Box::pin(self.name_program(opened, &id, peer)).await;
                        if !views.is_empty() {
                            opened.guard().handle_views(&id, views);
                        }
                    }
                    drop((request, turn));
                    return Box::pin(self.held(opened, account, provider, &id)).await;
                }
            }
        }
    }

    /// A permitted read: recorded, leased, its answer streamed.
    async fn pass(
        &self,
        opened: &Opened,
        account: &Account,
        shape: ErrorShape,
        permit: Permit,
        request: Request,
    ) -> Result<Response, Problem> {
        let Request { parts, .. } = request;
        let part = parts.into_iter().next().ok_or_else(|| problem::stopped(shape))?;
        // A list could name the mail that stops everything: it is read whole and given without.
        let whole = matches!(part.operation.objects, Objects::None) && opened.guard().stop_mail(&account.id).is_some();
        let call = part.call;
        let lease = opened.begin_read(permit, &call).await.map_err(|failure| problem::failed(shape, &failure))?;
        if whole {
            let answer = self.send(opened, account, lease, call).await;
            return answer.map(respond).map_err(|failure| problem::failed(shape, &failure));
        }
        let response = opened
            .upstream
            .send(lease, &account.target, call, None)
            .await
            .map_err(|error| problem::upstream(shape, &error))?;
        self.note_status(opened, &account.id, response.status().as_u16());
        Ok(response.map(AnswerBody::from))
    }

    /// Runs in a task of its own: a requester that hangs up does not cut a mutation in half.
    async fn run_now(
        self: &Arc<Self>,
        account: &Arc<Account>,
        permit: Permit,
        request: Request,
        turn: Option<Turn>,
    ) -> Result<Answer, Failure> {
        let runtime = Arc::clone(self);
        let account = Arc::clone(account);
        self.tasks
            .spawn(async move {
                let answer = runtime.execute(&account, permit, request, &[]).await;
                drop(turn);
                answer
            })
            .await
            .unwrap_or(Err(Failure::Stopped))
    }

    /// Finds out which program asks, for the person; nothing depends on it.
    async fn name_program(&self, opened: &Opened, id: &str, peer: SocketAddr) {
        let door = self.doors().http.and_then(|door| door.strip_prefix("http://")?.parse::<SocketAddr>().ok());
        let Some(door) = door else { return };
        self.name_program_at(opened, id, peer, door).await;
    }

    /// The same for the door that was knocked at.
    pub(super) async fn name_program_at(&self, opened: &Opened, id: &str, peer: SocketAddr, door: SocketAddr) {
        let chain = tokio::task::spawn_blocking(move || {
            crate::control::tcp::process_of(peer, door).map(crate::control::peer::parent_chain)
        });
        if let Ok(Some(chain)) = chain.await {
            opened.guard().set_program(id, chain);
        }
    }

    /// A held request waits for the person, inline for a while.
    async fn held(
        self: &Arc<Self>,
        opened: &Opened,
        account: &Arc<Account>,
        provider: &Provider,
        id: &str,
    ) -> Result<Response, Problem> {
        let shape = provider.error_shape;
        self.settle(opened);
        if super::read::needs_preparing(opened, id) {
            self.prepare_soon(account, id);
        }
        if opened.guard().hold(id).is_some_and(|hold| hold.state.waits() && hold.waiting >= MAX_JOINERS) {
            return Err(problem::waiting(shape, id));
        }
        let _waiting = Waiting::enter(self, id);
        let mut changed = opened.changed.subscribe();
        let patience = Duration::from_secs(u64::from(self.settings().http_wait_seconds));
        let mut deadline = tokio::time::Instant::now() + patience;
        let mut running = false;
        loop {
            changed.borrow_and_update();
            let state = opened.guard().hold(id).map(|hold| hold.state);
            match state {
                Some(State::Allowed) => self.run_allowed_soon(account, id),
                Some(State::Done) => {
                    let answer = super::lock(&opened.answers).get(id).cloned();
                    return match answer {
                        Some(answer) => Ok(respond((*answer).clone())),
                        None => Err(problem::outcome_unknown(shape)),
                    };
                }
                Some(State::Denied) => return Err(problem::denied(shape, id)),
                Some(State::Failed) => {
                    return Err(Problem::new(
                        shape,
                        502,
                        "Could not be read",
                        "The mailbox could not be read, so the person could not be asked. Nothing was done; try again later.",
                    ));
                }
                Some(State::Expired) | None => return Err(problem::expired(shape, id)),
                Some(State::Preparing | State::Open | State::Proposal | State::Running) => {}
            }
            tokio::select! {
                moved = changed.changed() => if moved.is_err() { return Err(problem::stopped(shape)) },
                () = tokio::time::sleep_until(deadline) => {
                    // What was allowed already needs the provider's time, not the person's.
                    if running || !matches!(state, Some(State::Allowed | State::Running)) {
                        return Err(problem::waiting(shape, id));
                    }
                    running = true;
                    deadline = tokio::time::Instant::now() + RUNNING;
                }
            }
        }
    }
}

/// What the agent says why.
pub(super) fn reason(head: &Parts) -> Option<String> {
    head.headers.get(REASON).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Records a refusal and puts it into words; whatever else a ruling says, nothing runs.
async fn refused(opened: &Opened, shape: ErrorShape, ruling: Ruling) -> Problem {
    let Ruling::Forbid { why, instead, commit } = ruling else { return problem::stopped(shape) };
    match opened.store.commit(*commit).await {
        Ok(_) => Problem::new(shape, 403, "Not allowed", format!("{why} {instead}"))
            .with(json!({ "latchstring": { "decision": "forbid" } })),
        Err(error) => problem::unrecorded(shape, &error.to_string()),
    }
}

/// Whether a mail can wait upstream as a draft.
fn can_wait(provider: &Provider, request: &Request) -> bool {
    matches!(request.parts.as_slice(), [part] if !request.batch && recipe::divert_to_draft(provider, part).is_some())
}

/// An answer that is there already.
pub(super) fn respond(answer: Answer) -> Response {
    let mut response = http::Response::new(AnswerBody::whole(answer.body));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (http::HeaderName::try_from(name), http::HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
