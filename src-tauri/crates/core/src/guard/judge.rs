//! A request comes in: forbid, resolve, permit or hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::standing::Before;
use super::{Guard, Notice, Now, Session, number, record};
use crate::budget::{self, Asked, Room, Window};
use crate::call::Digest;
use crate::classify::imap::deed::{MAILBOX, is_unread};
use crate::classify::imap::name::shown;
use crate::grant::{AuthorizationDetail, Grant};
use crate::hold::{self, Hold, State, Weight};
use crate::journal::{Charge, Commit, Kind};
use crate::lease::Epoch;
use crate::operation::{Audience, Class, Meter, Objects, Request};
use crate::pdp::{Decision, Question};
use crate::plan::Permit;
use crate::scope::Views;
use crate::time::{Span, Time};

/// The most of an account's name that is recorded where nothing vouches for it.
const LONGEST_NAME: usize = 64;

const UNREADABLE: &str = "The sent mail could not be read, so whoever is in it counts as first time, too.";

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
    /// A mail that would be stored must be read before, whoever decides: [`Ruling::ReadFirst`].
    pub reads_first: bool,
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
    /// It would store a mail that has not been read: read it and ask again with what it says.
    ReadFirst,
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
    /// What waits for the person already takes all the room there is.
    Crowded {
        /// It is this agent's own; otherwise that of all agents together.
        own: bool,
    },
    /// Panic, or the token's end, came in between.
    Stopped,
}

/// Why the guard does not read on to find out what a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Panic, or the token's or grant's end, came in between.
    Stopped,
    /// The agent is paused.
    Paused {
        /// Until when.
        until: Time,
    },
    /// The agent's read budget is used up.
    Spent {
        /// Its number.
        limit: u32,
        /// In which window.
        window: Window,
    },
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
            return Self::stranger(session, account, now);
        };
        if self.names_stop_mail(account, request) {
            let instead = "Look for what is there.".to_owned();
            return self.forbid(session, account, request, super::phone::NO_SUCH.to_owned(), instead, now);
        }
        let unresolved = request.parts.iter().any(|part| matches!(part.operation.objects, Objects::Within { .. }));
        let judged = self.judge(grant, narrowed, request, now);
        if let Judged::Forbid { why, instead } = judged {
            return self.forbid(session, account, request, why, instead, now);
        }
        if unresolved {
            return Ruling::Resolve;
        }
        if request.parts.iter().any(|part| is_unread(&part.call))
            && (context.reads_first || matches!(judged, Judged::Confirm { .. }))
        {
            return match self.paused_until(&session.agent, now) {
                Some(until) if matches!(judged, Judged::Confirm { .. }) => Ruling::Paused { until },
                _ => Ruling::ReadFirst,
            };
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

    /// Whether a request would be refused without asking anybody: then nothing needs to be read for it.
    #[must_use]
    pub fn forbids(&self, session: &Session, account: &str, request: &Request, now: Now) -> bool {
        self.effective(session, account, now)
            .is_none_or(|(grant, narrowed)| matches!(self.judge(grant, narrowed, request, now), Judged::Forbid { .. }))
    }

    /// Refuses a session what it has no grant on, before anything else is looked at. The refusal is the same whether there is such an account or not:
    /// an agent must not find out which accounts exist.
    #[must_use]
    pub fn refuse_stranger(&self, session: &Session, account: &str, now: Now) -> Option<Ruling> {
        if !self.gate.admits(session.epoch) || self.state.stopped.contains(&session.agent) {
            return Some(Ruling::Stopped);
        }
        self.effective(session, account, now).is_none().then(|| Self::stranger(session, account, now))
    }

    fn stranger(session: &Session, account: &str, now: Now) -> Ruling {
        let why = "This agent has no access to an account of this name.".to_owned();
        let instead = "Ask the person to grant access to it.".to_owned();
        let mut record = record(now, Kind::Forbidden, why.clone());
        record.agent = Some(session.agent.clone());
        record.account = Some(account.chars().take(LONGEST_NAME).collect());
        record.count = 1;
        Ruling::Forbid { why, instead, commit: Box::new(Commit { records: vec![record], ..Commit::default() }) }
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
        let knows = |audience: &Audience| {
            audience.place.is_none()
                && !audience.members.is_empty()
                && audience.members.iter().all(|member| self.is_known(grant.account(), &member.known_as(), now))
        };
        self.judge_in(room, &knows, (grant, narrowed), request, now)
    }

    /// What would be decided now of a request that was permitted and charged before.
    pub(super) fn judge_again(&self, grant: &Grant, request: &Request, now: Now) -> Judged {
        self.judge_in(Room::Within, &|_| true, (grant, None), request, now)
    }

    fn judge_in(
        &self,
        room: Room,
        knows: &dyn Fn(&Audience) -> bool,
        (grant, narrowed): (&Grant, Option<&AuthorizationDetail>),
        request: &Request,
        now: Now,
    ) -> Judged {
        let decided = request.parts.iter().map(|part| {
            self.pdp.decide(&Question {
                grant,
                narrowed,
                operation: &part.operation,
                room,
                known_recipients: part.operation.audience.as_ref().is_some_and(knows),
                places: self.places.get(grant.account()).map(Vec::as_slice),
                now: now.time,
            })
        });
        let strictest = decided.max();
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

    /// Counts what the guard must read to find out what a request is about, on the read meters of whoever asks. Asked before every round of reads, so
    /// that a pause or a panic ends them.
    pub fn charge_resolving(
        &mut self,
        session: &Session,
        account: &str,
        reads: u32,
        now: Now,
    ) -> Result<Vec<Charge>, Unread> {
        let over = self.state.panicked.is_some() || session.expires_at <= now.time;
        if over || !self.gate.admits(session.epoch) || self.state.stopped.contains(&session.agent) {
            return Err(Unread::Stopped);
        }
        if let Some(until) = self.paused_until(&session.agent, now) {
            return Err(Unread::Paused { until });
        }
        let (grant, narrowed) = self.effective(session, account, now).ok_or(Unread::Stopped)?;
        let agent_since = self.agents.get(&grant.agent).map_or(now.time, |agent| agent.since);
        let counts = [(Meter::Read, reads)];
        let asked = Asked { grant, narrowed, agent_since, counts: &counts, now: now.time };
        if let Room::Over { limit, window, .. } = self.meters.room(&asked) {
            return Err(Unread::Spent { limit, window });
        }
        let charges = budget::charges(&session.agent, account, &counts, now.time);
        for charge in &charges {
            self.meters.charge(charge);
        }
        Ok(charges)
    }

    /// Counts what turned out to be in an answer beyond what was known when it was permitted.
    pub fn charge_read(&mut self, agent: &str, account: &str, count: u32, now: Now) -> Vec<Charge> {
        let charges = budget::charges(agent, account, &[(Meter::Read, count)], now.time);
        for charge in &charges {
            self.meters.charge(charge);
        }
        charges
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
            // Since then it may have been turned back: who knows the answer and asks again wants it done again. A mail is the same mail.
            State::Done
                if hold.heard
                    && hold.class != Class::Send
                    && self.changes.get(&hold.account).is_some_and(|changes| *changes > hold.began) =>
            {
                None
            }
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
        if let Some(crowded) = self.crowded(&session.agent, request) {
            return crowded;
        }
        let asked = Asking { agent: &session.agent, account, epoch: session.epoch };
        let (id, commit) = self.add_hold(asked, request, digest, (why, context), now);
        Ruling::Held { id, commit: Box::new(commit) }
    }

    /// Whether there is no room to keep another such request for the person.
    fn crowded(&self, agent: &str, request: &Request) -> Option<Ruling> {
        let new = Weight::of(request);
        let sum = |of: &dyn Fn(&Hold) -> bool| {
            self.holds.values().filter(|hold| of(hold)).fold(new, |sum, hold| sum + Weight::of(&hold.request))
        };
        let own = sum(&|hold| hold.agent == agent);
        if own.memory > hold::MAX_MEMORY_EACH || own.aside > hold::MAX_ASIDE_EACH {
            return Some(Ruling::Crowded { own: true });
        }
        let all = sum(&|_| true);
        (all.memory > hold::MAX_MEMORY || all.aside > hold::MAX_ASIDE).then_some(Ruling::Crowded { own: false })
    }

    /// A permit whose obligation can't be met, such as a delay for what can't wait: the person is asked instead.
    pub fn hold_instead(&mut self, permit: Permit, request: &Request, why: &str, context: Context, now: Now) -> Ruling {
        if let Some(ruling) = self.denied(&permit.agent, &permit.account, request, now) {
            return ruling;
        }
        if let Some(crowded) = self.crowded(&permit.agent, request) {
            return crowded;
        }
        let asked = Asking { agent: &permit.agent, account: &permit.account, epoch: permit.epoch };
        let (id, commit) = self.add_hold(asked, request, permit.digest, (why.to_owned(), context), now);
        Ruling::Held { id, commit: Box::new(commit) }
    }

    /// Asks the person about something that was permitted before a panic or a restart; the hold's id.
    pub fn hold_again(
        &mut self,
        agent: &str,
        account: &str,
        request: &Request,
        why: String,
        now: Now,
    ) -> (String, Commit) {
        let digest = Hold::digest_of(agent, account, request);
        let asked = Asking { agent, account, epoch: self.gate.current() };
        self.add_hold(asked, request, digest, (why, Context::default()), now)
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
        let first_time: BTreeSet<String> = request
            .parts
            .iter()
            .filter_map(|part| part.operation.audience.as_ref())
            .flat_map(|audience| audience.members.iter().map(|member| member.known_as().into_owned()))
            .filter(|address| !self.is_known(account, address, now))
            .collect();
        let why = match self.unreadable(account, &first_time, now) {
            true => format!("{why} {UNREADABLE}"),
            false => why,
        };
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
            heard: false,
            began: 0,
            allowed: None,
            refused: false,
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
            match waits {
                Waits::Comes => hold.waiting = hold.waiting.saturating_add(1),
                Waits::Leaves => {
                    hold.waiting = hold.waiting.saturating_sub(1);
                    hold.heard |= hold.state == State::Done;
                }
            }
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
