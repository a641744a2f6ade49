//! A request comes in: forbid, resolve, permit or hold.

use std::sync::Arc;

use super::standing::Before;
use super::{Guard, Notice, Now, Session, number, record};
use crate::budget::{self, Asked};
use crate::call::Digest;
use crate::classify::imap::deed::MAILBOX;
use crate::classify::imap::name::shown;
use crate::grant::{AuthorizationDetail, Grant};
use crate::hold::{self, Hold, State};
use crate::journal::{Charge, Commit, Kind};
use crate::lease::Epoch;
use crate::operation::{Class, Objects, Request};
use crate::pdp::{Decision, Question};
use crate::plan::Permit;
use crate::scope::Views;
use crate::time::{Span, Time};

/// What is known of a request beyond its bytes.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The agent's own words; untrusted.
    pub reason: Option<String>,
    /// Program and parent chain, as far as the engine saw them.
    pub program: Vec<String>,
    /// What [`Ruling::LookUp`] asked for was looked up.
    pub looked_up: bool,
    /// What [`Ruling::View`] asked for; an object that could not be read is not in it.
    pub views: Option<Arc<Views>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Ruling {
    /// It does not run. The agent is told both sentences.
    Forbid {
        /// What stands against it.
        why: String,
        /// What would be possible.
        instead: String,
        /// Must be recorded.
        commit: Box<Commit>,
    },
    /// Some objects are not known yet: read them and ask again.
    Resolve,
    /// Nothing is known of these recipients: ask the account's own sent mail about each, tell [`Guard::heard`], and ask again.
    LookUp(Vec<String>),
    /// A rule that the person allowed may cover it: read what the dialog would show of each object, and ask again.
    View,
    /// It runs.
    Permit(Permit),
    /// It waits for the person, or was decided already: see the hold's state.
    Held {
        /// The hold.
        id: String,
        /// Must be recorded.
        commit: Box<Commit>,
    },
    /// The agent asked too often for what the person denied.
    Paused {
        /// Until when.
        until: Time,
    },
    /// Panic, or the token's end, came in between.
    Stopped,
}

/// For whom, where and under which epoch a hold is opened.
#[derive(Debug, Clone, Copy)]
struct Asking<'a> {
    agent: &'a str,
    account: &'a str,
    epoch: Epoch,
}

pub(super) enum Judged {
    Forbid { why: String, instead: String },
    Confirm { why: String },
    Permit { delay: Option<Span> },
}

impl Guard {
    /// Decides a request. Every Operation is decided alone; the strictest decision wins.
    pub fn handle_request(
        &mut self,
        session: &Session,
        account: &str,
        request: &Request,
        context: Context,
        now: Now,
    ) -> Ruling {
        if !self.gate.admits(session.epoch) || self.state.panicked.is_some() || session.expires_at <= now.time {
            return Ruling::Stopped;
        }
        if self.state.stopped.contains(&session.agent) {
            return Ruling::Stopped;
        }
        let Some((grant, narrowed)) = self.effective(session, account, now) else {
            return self.forbid(
                session,
                account,
                request,
                "This agent has no access to this account.".to_owned(),
                "Ask the person to grant access to it.".to_owned(),
                now,
            );
        };
        let unresolved = request.parts.iter().any(|part| matches!(part.operation.objects, Objects::Within { .. }));
        let judged = self.judge(grant, narrowed, request, now);
        if let Judged::Forbid { why, instead } = judged {
            return self.forbid(session, account, request, why, instead, now);
        }
        if unresolved {
            return Ruling::Resolve;
        }
        if request.class() == Class::Read
            && let Judged::Permit { delay } = judged
        {
            let charges = self.charge(session, account, request, now);
            return Ruling::Permit(Permit {
                agent: session.agent.clone(),
                account: account.to_owned(),
                action: action(request),
                class: Class::Read,
                count: charges.iter().map(|charge| charge.count).sum(),
                digest: Digest::default(),
                epoch: session.epoch,
                hold: None,
                charges,
                delay,
                forever: false,
            });
        }
        let digest = Hold::digest_of(&session.agent, account, request);
        if let Some(id) = self.joinable(&session.agent, &digest, now) {
            return Ruling::Held { id, commit: Box::default() };
        }
        match judged {
            Judged::Forbid { why, instead } => self.forbid(session, account, request, why, instead, now),
            Judged::Permit { delay } => self.permit(session, account, request, digest, delay, now),
            Judged::Confirm { why } => self.confirm(session, account, request, digest, (why, context), now),
        }
    }

    pub(super) fn judge(
        &self,
        grant: &Grant,
        narrowed: Option<&AuthorizationDetail>,
        request: &Request,
        now: Now,
    ) -> Judged {
        let counts = budget::counts(request.parts.iter().map(|part| &part.operation));
        let agent_since = self.agents.get(&grant.agent).map_or(now.time, |agent| agent.since);
        let room = self.meters.room(&Asked { grant, narrowed, agent_since, counts: &counts, now: now.time });
        let strictest = request
            .parts
            .iter()
            .map(|part| {
                let operation = &part.operation;
                let known_recipients = operation.audience.as_ref().is_some_and(|audience| {
                    audience.place.is_none()
                        && !audience.members.is_empty()
                        && audience.members.iter().all(|member| self.is_known(grant.account(), &member.address, now))
                });
                self.pdp.decide(&Question {
                    grant,
                    narrowed,
                    operation,
                    room,
                    known_recipients,
                    places: None,
                    now: now.time,
                })
            })
            .max();
        if let Some(outside) = outside(grant, narrowed, request) {
            return Judged::Forbid {
                why: format!("This agent may not use the mailbox {outside}."),
                instead: "Ask the person to grant access to it, or stay in those that LIST shows.".to_owned(),
            };
        }
        match strictest {
            Some(Decision::Permit { delay }) => Judged::Permit { delay },
            Some(Decision::Confirm { why }) => Judged::Confirm { why },
            Some(Decision::Forbid { why, instead }) => Judged::Forbid { why, instead },
            None => Judged::Forbid {
                why: "Nothing is asked for.".to_owned(),
                instead: "Send at least one request in a batch.".to_owned(),
            },
        }
    }

    fn forbid(
        &self,
        session: &Session,
        account: &str,
        request: &Request,
        why: String,
        instead: String,
        now: Now,
    ) -> Ruling {
        let mut record = record(now, Kind::Forbidden, why.clone());
        record.agent = Some(session.agent.clone());
        record.account = Some(account.to_owned());
        record.action = Some(action(request));
        record.class = Some(request.class());
        record.count = count(request);
        Ruling::Forbid { why, instead, commit: Box::new(Commit { records: vec![record], ..Commit::default() }) }
    }

    fn permit(
        &mut self,
        session: &Session,
        account: &str,
        request: &Request,
        digest: Digest,
        delay: Option<Span>,
        now: Now,
    ) -> Ruling {
        let charges = self.charge(session, account, request, now);
        Ruling::Permit(Permit {
            agent: session.agent.clone(),
            account: account.to_owned(),
            action: action(request),
            class: request.class(),
            count: count(request),
            digest,
            epoch: session.epoch,
            hold: None,
            charges,
            delay,
            forever: false,
        })
    }

    fn charge(&mut self, session: &Session, account: &str, request: &Request, now: Now) -> Vec<Charge> {
        let charges = charges(&session.agent, account, request, now);
        for charge in &charges {
            self.meters.charge(charge);
        }
        charges
    }

    /// A hold that this very request belongs to: waiting, allowed, running or answered a short while ago. A denial answers its repetitions, too.
    fn joinable(&mut self, agent: &str, digest: &Digest, now: Now) -> Option<String> {
        let gate = self.gate.clone();
        let lifetime = self.lifetimes.hold;
        let hold = self
            .holds
            .values_mut()
            .rev()
            .find(|hold| hold.digest == *digest && hold.agent == agent && gate.admits(hold.epoch))?;
        match hold.state {
            State::Preparing | State::Open | State::Allowed | State::Running => Some(hold.id.clone()),
            State::Done | State::Denied => (hold.expires_at > now.time).then(|| hold.id.clone()),
            State::Proposal => {
                hold.state = State::Open;
                hold.expires_at = now.time + lifetime;
                let id = hold.id.clone();
                self.notices.push_back(Notice::HoldOpened(id.clone()));
                self.handle_asked(&id, agent, None, now);
                Some(id)
            }
            State::Expired | State::Failed => None,
        }
    }

    /// It would be asked; unless somebody must be looked up first, or the person has answered before.
    fn confirm(
        &mut self,
        session: &Session,
        account: &str,
        request: &Request,
        digest: Digest,
        (why, context): (String, Context),
        now: Now,
    ) -> Ruling {
        if !context.looked_up
            && let Some(addresses) = self.whom_to_look_up(&session.agent, account, request, now)
        {
            return Ruling::LookUp(addresses);
        }
        if let Some(ruling) = self.denied(&session.agent, account, request, now) {
            return ruling;
        }
        match self.allowed_before(&session.agent, account, request, context.views.as_deref(), now) {
            Before::Allowed => self.permit(session, account, request, digest, None, now),
            Before::Perhaps => Ruling::View,
            Before::No => self.open(session, account, request, digest, (why, context), now),
        }
    }

    fn open(
        &mut self,
        session: &Session,
        account: &str,
        request: &Request,
        digest: Digest,
        (why, context): (String, Context),
        now: Now,
    ) -> Ruling {
        if let Some(until) = self.paused_until(&session.agent, now) {
            return Ruling::Paused { until };
        }
        let waiting = self
            .holds
            .values()
            .filter(|hold| hold.agent == session.agent && matches!(hold.state, State::Preparing | State::Open))
            .count();
        if waiting >= hold::MAX_WAITING {
            return Ruling::Paused { until: self.pause(&session.agent, now) };
        }
        let asked = Asking { agent: &session.agent, account, epoch: session.epoch };
        let (id, commit) = self.add_hold(asked, request, digest, (why, context), now);
        Ruling::Held { id, commit: Box::new(commit) }
    }

    /// A permit whose obligation can't be met, such as a delay for what can't wait: the person is asked instead.
    pub fn hold_instead(&mut self, permit: Permit, request: &Request, why: &str, context: Context, now: Now) -> Ruling {
        if let Some(ruling) = self.denied(&permit.agent, &permit.account, request, now) {
            return ruling;
        }
        let asked = Asking { agent: &permit.agent, account: &permit.account, epoch: permit.epoch };
        let (id, commit) = self.add_hold(asked, request, permit.digest, (why.to_owned(), context), now);
        Ruling::Held { id, commit: Box::new(commit) }
    }

    /// Asks the person about something that was permitted before a panic or a restart.
    pub fn hold_again(&mut self, agent: &str, account: &str, request: &Request, why: String, now: Now) -> Commit {
        let digest = Hold::digest_of(agent, account, request);
        let asked = Asking { agent, account, epoch: self.gate.current() };
        self.add_hold(asked, request, digest, (why, Context::default()), now).1
    }

    fn add_hold(
        &mut self,
        Asking { agent, account, epoch }: Asking<'_>,
        request: &Request,
        digest: Digest,
        (why, context): (String, Context),
        now: Now,
    ) -> (String, Commit) {
        self.state.holds = self.state.holds.saturating_add(1);
        let number = self.state.holds;
        let id = format!("h{number}");
        let objects = hold::objects_of(&request.parts);
        let state = if objects.is_empty() { State::Open } else { State::Preparing };
        let class = request.class();
        let first_time = request
            .parts
            .iter()
            .filter_map(|part| part.operation.audience.as_ref())
            .flat_map(|audience| audience.members.iter().map(|member| member.address.clone()))
            .filter(|address| !self.is_known(account, address, now))
            .collect();
        let mut record = record(now, Kind::Hold, why.clone());
        record.agent = Some(agent.to_owned());
        record.account = Some(account.to_owned());
        record.action = Some(action(request));
        record.class = Some(class);
        record.count = count(request);
        record.digest = Some(digest);
        let hold = Hold {
            id: id.clone(),
            digest,
            agent: agent.to_owned(),
            account: account.to_owned(),
            request: request.clone(),
            class,
            why,
            agent_reason: context.reason.map(|reason| reason.chars().take(200).collect()),
            program: context.program,
            objects,
            first_time,
            state,
            opened_at: now.time,
            expires_at: now.time + self.lifetimes.hold,
            waiting: 0,
            allowed: None,
            epoch,
        };
        let mut commit = Commit { records: vec![record], puts: vec![self.state_put()], ..Commit::default() };
        commit.puts.extend(super::execute::stored(&hold));
        self.holds.insert(number, hold);
        self.notices.push_back(Notice::HoldOpened(id.clone()));
        self.handle_asked(&id, agent, None, now);
        (id, commit)
    }

    pub(super) fn pause(&mut self, agent: &str, now: Now) -> Time {
        let until = now.time + hold::PAUSE;
        let conduct = self.conduct.entry(agent.to_owned()).or_default();
        conduct.denials = 0;
        conduct.paused_until = Some(until);
        self.notices.push_back(Notice::AgentPaused(agent.to_owned()));
        until
    }

    /// Which program asks, as far as the engine could see.
    pub fn set_program(&mut self, id: &str, program: Vec<String>) {
        if let Some(hold) = number(id).and_then(|number| self.holds.get_mut(&number)) {
            hold.program = program;
        }
    }

    /// A requester waits on the line, or does no longer.
    pub fn set_waiting(&mut self, id: &str, waits: Waits) {
        if let Some(hold) = number(id).and_then(|number| self.holds.get_mut(&number)) {
            hold.waiting = match waits {
                Waits::Comes => hold.waiting.saturating_add(1),
                Waits::Leaves => hold.waiting.saturating_sub(1),
            };
        }
    }
}

/// Whether a requester comes or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It waits from now on.
    Comes,
    /// It left.
    Leaves,
}

/// A mailbox that a request names and the grant, or what the token was narrowed to, does not reach.
fn outside(grant: &Grant, narrowed: Option<&AuthorizationDetail>, request: &Request) -> Option<String> {
    let named = request.parts.iter().flat_map(|part| &part.params).filter(|(name, _)| name == MAILBOX);
    let admits = |mailbox: &str| grant.detail.admits(mailbox) && narrowed.is_none_or(|detail| detail.admits(mailbox));
    named.map(|(_, mailbox)| mailbox).find(|mailbox| !admits(mailbox)).map(|mailbox| shown(mailbox).unwrap_or_default())
}

pub(super) fn charges(agent: &str, account: &str, request: &Request, now: Now) -> Vec<Charge> {
    let counts = budget::counts(request.parts.iter().map(|part| &part.operation));
    budget::charges(agent, account, &counts, now.time)
}

/// The action shown in the journal: the strictest part's.
pub(super) fn action(request: &Request) -> String {
    request
        .parts
        .iter()
        .max_by_key(|part| part.operation.class)
        .map(|part| part.operation.action.clone())
        .unwrap_or_default()
}

pub(super) fn count(request: &Request) -> u32 {
    request.parts.iter().fold(0, |sum: u32, part| sum.saturating_add(part.operation.objects.count()))
}
