//! What stands behind the ManageSieve door.
//!
//! ```text
//!   Visitor ── reads ──> Guard ── lease ──> Upstream::sieve ── answer, written anew
//!           └─ changes ──> what is stored now ── Change::part ──> Guard ── Held ──> the person
//!   execute: still as it was shown? ── undo entry, intent ── lease ── one command ── outcome
//! ```

mod act;
mod undo;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use latch_core::call::{Call, Digest};
use latch_core::classify::sieve::reply::{Kind, capabilities, listed, script};
use latch_core::classify::sieve::response::Response;
use latch_core::classify::sieve::{Change, Command, Stored, reading, reading_part};
use latch_core::guard::{Context, Ruling, Session, TokenError};
use latch_core::journal::Commit;
use latch_core::lease::Epoch;
use latch_core::operation::{Class, Part, Request};
use latch_core::plan::Permit;
use tokio::sync::MutexGuard;

pub(super) use act::{is_about_filters, refused};

use super::accounts::Account;
use super::execute::Failure;
use super::read::ReadError;
use super::visit::{Nothing, Turned, WRONG, Words};
use super::{Opened, Runtime, read};
use crate::door::sieve::Inside;
use crate::upstream::sieve::SieveAnswer;
use crate::upstream::{Fault, UpstreamError};

const WORDS: Words =
    Words { done: "done", again: "ask for the same again", doing_it_again: "asking for the same again" };
/// How long a change waits for another one of the same account.
const TURN: Duration = Duration::from_secs(10);
/// The most scripts that are read for one change: it is shown and compared with all that they include.
const MOST_READ: usize = 32;
const ODD: &str = "The mail server's answer can't be read";

/// A client that is logged in.
#[derive(Debug)]
pub struct Visitor {
    account: Arc<Account>,
    token: Digest,
    session: Session,
    peer: SocketAddr,
}

impl Inside for Runtime {
    type Session = Visitor;

    async fn enter(self: &Arc<Self>, user: &str, token: &str, peer: SocketAddr) -> Result<Visitor, Response> {
        let (account, token, session) = self.log_in(user, token).map_err(|turned| match turned {
            Turned::Away => Response::no("", WRONG),
            Turned::Now(why) => Response::no("TRYLATER", &why),
        })?;
        if account.target.filters().is_none() {
            let text = "This account's mail filters are out of reach: the person has named no server for them";
            return Err(Response::no("", text));
        }
        Ok(Visitor { account, token, session, peer })
    }

    async fn command(self: &Arc<Self>, visitor: &Visitor, command: Command) -> Response {
        let Some(opened) = self.opened() else { return nothing(&Nothing::Stopped) };
        if let Err(error) = opened.guard().authenticate(&visitor.token, opened.now()) {
            return match error {
                TokenError::Stopped => Response::bye("TRYLATER", &error.to_string()),
                _ => Response::bye("", "The access token is over: get a new one and log in again. Nothing was done"),
            };
        }
        if !opened.still_has(&visitor.account) {
            return Response::bye("", "The person removed this account: log in again. Nothing was done");
        }
        match &command {
            Command::Noop(tag) => return Response::noop(tag.as_deref()),
            Command::Change(change) => return self.change_filters(opened, visitor, change).await,
            Command::Logout | Command::Authenticate { .. } => return Response::no("", "This is not for now"),
            Command::Capability
            | Command::List
            | Command::Get { .. }
            | Command::Check { .. }
            | Command::HaveSpace { .. } => {}
        }
        match command.reading() {
            Some(call) => self.rule_on_filters(opened, visitor, reading_part(call)).await,
            None => Response::no("", "This can't be written. Nothing was done"),
        }
    }
}

impl Runtime {
    /// A change, shown as what it would make of what is stored now.
    async fn change_filters(self: &Arc<Self>, opened: &Opened, visitor: &Visitor, change: &Change) -> Response {
        let (account, session) = (&visitor.account, &visitor.session);
        // LISTSCRIPTS, and some scripts.
        let seen = match read::charge(opened, account, session, 1) {
            Ok(()) => self.filters_now(account, session.epoch, change).await,
            Err(error) => Err(error),
        };
        let stored = match seen {
            Ok(stored) => stored,
            Err(error) => return unread(&error),
        };
        if let Some(refused) = change.impossible(&stored) {
            return Response::refused(&refused);
        }
        self.rule_on_filters(opened, visitor, change.part(&stored)).await
    }

    async fn rule_on_filters(self: &Arc<Self>, opened: &Opened, visitor: &Visitor, part: Part) -> Response {
        let (account, session) = (&visitor.account, &visitor.session);
        let request = Request { parts: vec![part], batch: false };
        let ruling = opened.guard().handle_request(session, &account.id, &request, Context::default(), opened.now());
        match ruling {
            Ruling::Permit(permit) if permit.class() == Class::Read => {
                let call = request.parts.into_iter().next().map(|part| part.call);
                match call {
                    Some(call) => self.look_at_filters(opened, account, permit, &call).await,
                    None => nothing(&Nothing::Stopped),
                }
            }
            Ruling::Permit(permit) => self.change_filters_now(opened, account, permit, request).await,
            Ruling::Held { id, commit } => {
                if *commit != Commit::default() {
                    if opened.store.commit(*commit).await.is_err() {
                        return nothing(&Nothing::Unrecorded);
                    }
                    if let Some(door) = self.doors().sieve.and_then(|door| door.parse().ok()) {
                        self.name_program_at(opened, &id, visitor.peer, door).await;
                    }
                }
                drop(request);
                self.held_filters(opened, account, &id).await
            }
            refusal => {
                let response = nothing(&Nothing::of(opened, refusal).await);
                self.settle(opened);
                response
            }
        }
    }

    /// A permitted read: recorded like any other.
    async fn look_at_filters(&self, opened: &Opened, account: &Account, permit: Permit, call: &Call) -> Response {
        let lease = match opened.begin_read(permit, call).await {
            Ok(lease) => lease,
            Err(failure) => return act::response(&refused(&failure)),
        };
        let answer = opened.upstream.sieve(lease, &account.target, call).await;
        self.note_login(opened, account, &answer);
        let response = told(account, call, answer);
        response.unwrap_or_else(|failure| act::response(&refused(&failure)))
    }

    async fn change_filters_now(
        self: &Arc<Self>,
        opened: &Opened,
        account: &Arc<Account>,
        permit: Permit,
        request: Request,
    ) -> Response {
        // In a task of its own: a client that hangs up does not cut a change in half.
        let (runtime, account) = (Arc::clone(self), Arc::clone(account));
        let run = self.tasks.spawn(async move { runtime.execute(&account, permit, request, &[]).await });
        let result = run.await;
        self.settle(opened);
        match result {
            Ok(result) => act::response(&result.unwrap_or_else(|failure| refused(&failure))),
            Err(_) => Response::no("", "Nobody knows whether it was done: look at the scripts before you do it again"),
        }
    }

    async fn held_filters(self: &Arc<Self>, opened: &Opened, account: &Arc<Account>, id: &str) -> Response {
        let answer = match self.wait_for_person(opened, account, id).await {
            Ok(answer) => answer,
            Err(why) => return nothing(&why),
        };
        if act::may_be_asked_again(&answer) {
            opened.guard().finish_unkept(id);
        }
        act::response(&answer)
    }

    /// For as long as it is held no other change of these filters runs.
    pub(super) async fn filters_alone<'a>(&self, account: &'a Account) -> Result<MutexGuard<'a, ()>, &'static str> {
        let turn = tokio::time::timeout(TURN, account.filtering.lock()).await;
        turn.map_err(|_| "another change of these mail filters is still under way; try again when it is over")
    }

    /// What is stored now of what a change is about.
    pub(super) async fn filters_now(
        &self,
        account: &Account,
        epoch: Epoch,
        change: &Change,
    ) -> Result<Stored, ReadError> {
        self.filters_of(account, epoch, |stored| change.unread(stored)).await
    }

    /// What is stored now of these scripts, asked for until none is named that is not known.
    async fn filters_of(
        &self,
        account: &Account,
        epoch: Epoch,
        unread: impl Fn(&Stored) -> Vec<String>,
    ) -> Result<Stored, ReadError> {
        let odd = || ReadError::Answer(ODD.to_owned());
        let list = self.filters_read(account, epoch, "LISTSCRIPTS", "").await?;
        let list = listed(&list.lines).ok_or_else(odd)?;
        let active = list.iter().find(|(_, active)| *active).map(|(name, _)| name.clone());
        let names = list.into_iter().map(|(name, _)| name).collect();
        let mut stored = Stored { active, names, ..Stored::default() };
        loop {
            let wanted = unread(&stored);
            let there = |name: &String| stored.names.contains(name) && !stored.scripts.contains_key(name);
            let wanted: Vec<String> = wanted.into_iter().filter(there).collect();
            if wanted.is_empty() {
                return Ok(stored);
            }
            for name in wanted {
                if stored.scripts.len() >= MOST_READ {
                    return Err(ReadError::Answer(format!("it hangs together with more than {MOST_READ} scripts")));
                }
                let answer = self.filters_read(account, epoch, "GETSCRIPT", &name).await?;
                stored.scripts.insert(name, script(&answer.lines).ok_or_else(odd)?.to_vec());
            }
        }
    }

    async fn filters_read(
        &self,
        account: &Account,
        epoch: Epoch,
        verb: &str,
        name: &str,
    ) -> Result<SieveAnswer, ReadError> {
        let opened = self.opened().ok_or(ReadError::Stopped)?;
        let call = reading(verb, name, Vec::new(), Bytes::new()).ok_or(ReadError::Stopped)?;
        let lease = opened.guard().lease_preview(&account.id, &call, epoch).map_err(|_| ReadError::Stopped)?;
        let answer = opened.upstream.sieve(lease, &account.target, &call).await;
        self.note_login(opened, account, &answer);
        let answer = answer.map_err(|error| match error.fault {
            Fault::Stopped => ReadError::Stopped,
            // A look that broke off has changed nothing.
            _ => ReadError::Upstream(Arc::new(UpstreamError { sent: false, ..error })),
        })?;
        if answer.is_ok() {
            return Ok(answer);
        }
        Err(ReadError::Answer(format!("the mail server refuses {verb}: {}", answer.status.text)))
    }
}

/// What a read says, written anew.
fn told(account: &Account, call: &Call, answer: Result<SieveAnswer, UpstreamError>) -> Result<Response, Failure> {
    // A read that broke off has changed nothing.
    let answer = answer.map_err(|error| Failure::Upstream(Arc::new(UpstreamError { sent: false, ..error })))?;
    if answer.status.kind != Kind::Ok {
        return Ok(Response::passed(&answer.status, "The mail server says no"));
    }
    let odd = || Failure::Snapshot(ReadError::Answer(ODD.to_owned()));
    match call.method.as_str() {
        "LISTSCRIPTS" => listed(&answer.lines).map(|list| Response::list(&list)).ok_or_else(odd),
        "GETSCRIPT" => match script(&answer.lines).ok_or_else(odd)? {
            text if account.target.is_told_in(text) => {
                Ok(Response::no("", "This script holds the account's own password or token, so it is not shown"))
            }
            text => Ok(Response::script(text)),
        },
        "CAPABILITY" => {
            let can = capabilities(&answer.lines).ok_or_else(odd)?;
            Ok(Response::capabilities(Some(&can), &[], "That is all"))
        }
        _ => Ok(Response::passed(&answer.status, "Yes")),
    }
}

fn nothing(why: &Nothing) -> Response {
    let code = match why {
        Nothing::Stopped
        | Nothing::Unrecorded
        | Nothing::Unreadable
        | Nothing::Nobody
        | Nothing::Paused { .. }
        | Nothing::Crowded => "TRYLATER",
        Nothing::Denied(_) | Nothing::Forbidden(_) | Nothing::Unclear => "",
    };
    Response::no(code, &why.said(&WORDS))
}

/// Why what is stored is not known.
fn unread(error: &ReadError) -> Response {
    match error {
        ReadError::Stopped => nothing(&Nothing::Stopped),
        ReadError::Paused { seconds } => nothing(&Nothing::Paused { seconds: *seconds }),
        ReadError::Spent { limit, window } => {
            let text = format!(
                "What is stored must be read first, and this agent may read {limit} objects in {window}. Nothing was done; try again later"
            );
            Response::no("TRYLATER", &text)
        }
        ReadError::Upstream(error) => act::unreached(error),
        ReadError::Status(_) | ReadError::Answer(_) => {
            Response::no("TRYLATER", &format!("What is stored now could not be read: {error}. Nothing was done"))
        }
    }
}
