//! Answers that go on: what the person allowed for a task, and the denials that are remembered.

use super::decide::DecideError;
use super::judge::Ruling;
use super::known::{LOOKED_UP_AN_HOUR, MOST_LOOKED_UP};
use super::{Guard, Now, record};
use crate::hold::{self, Allowance, State};
use crate::journal::{Commit, Kind, Put, Shelf};
use crate::operation::{Class, Request};
use crate::scope::{Denial, MOST_READ, Rule, Views};
use crate::time::Span;

/// Stands for every object of an account, where it is not known which ones an agent made look like what a rule covers.
pub const EVERYTHING: &str = "*";
/// How long a spared object is covered by no rule.
const SPARED: Span = Span::hours(24);
/// The most such objects; beyond, no rule covers anything.
const MOST_SPARED: usize = 50_000;

/// How long a denial is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// 15 minutes.
    Task,
    /// Until the person takes it back.
    Always,
}

/// Whether the person allowed it before.
pub(super) enum Before {
    /// All of it; what was listed is used up.
    Allowed,
    /// It depends on what its objects are.
    Perhaps,
    /// Not all of it.
    No,
}

impl Guard {
    /// The standing task allowances.
    pub fn allowances(&self, now: Now) -> impl Iterator<Item = &Allowance> {
        self.allowances.iter().filter(move |one| one.expires_at > now.time && self.gate.admits(one.epoch))
    }

    /// The remembered denials that stand.
    pub fn denials(&self, now: Now) -> impl Iterator<Item = &Denial> {
        self.denials.iter().filter(move |denial| denial.stands(now.time))
    }

    /// Whether a no to this hold could be remembered: it is about one kind of change.
    pub fn check_memorable(&self, id: &str) -> Result<(), DecideError> {
        let hold = self.hold(id).ok_or(DecideError::Unknown)?;
        Denial::kind(&hold.request).map(|_| ()).ok_or(DecideError::NotRemembered)
    }

    /// Remembers the person's no, after [`Guard::decide`] took it: the same kind of request is answered with it from now on, and so is what waits already.
    pub fn remember_denial(&mut self, id: &str, remember: Remember, by: &str, now: Now) -> Result<Commit, DecideError> {
        let hold = self.hold(id).ok_or(DecideError::Unknown)?;
        let (verb, class) = Denial::kind(&hold.request).ok_or(DecideError::NotRemembered)?;
        let (expires_at, how_long) = match remember {
            Remember::Task => (Some(now.time + hold::ALLOWANCE), "for 15 minutes"),
            Remember::Always => (None, "until it is taken back"),
        };
        let mut denial = Denial {
            id: String::new(),
            agent: hold.agent.clone(),
            account: hold.account.clone(),
            verb: verb.to_owned(),
            class,
            expires_at,
        };
        let mut commit = Commit::default();
        let (agent, account) = (denial.agent.clone(), denial.account.clone());
        let same = |old: &Denial| {
            (&old.agent, &old.account, &old.verb, old.class)
                == (&denial.agent, &denial.account, &denial.verb, denial.class)
        };
        self.end_denials(same, &mut commit);
        self.state.denials = self.state.denials.saturating_add(1);
        denial.id = format!("d{}", self.state.denials);
        let mut record = record(now, Kind::Change, format!("denial remembered {how_long}, by {by}"));
        record.agent = Some(agent);
        record.account = Some(account);
        record.class = Some(class);
        commit.records.push(record);
        let value = serde_json::to_value(&denial).unwrap_or_default();
        commit.puts.push(Put { shelf: Shelf::Rules, id: denial.id.clone(), value });
        commit.puts.push(self.state_put());
        let others: Vec<String> = self
            .holds()
            .filter(|other| other.id != id && matches!(other.state, State::Preparing | State::Open | State::Proposal))
            .filter(|other| denial.meets(&other.agent, &other.account, &other.request))
            .map(|other| other.id.clone())
            .collect();
        self.denials.push(denial);
        for other in others {
            self.close(&other, State::Denied, "denied by a remembered answer", now, &mut commit);
        }
        Ok(commit)
    }

    /// Takes back a standing answer: a denial is asked about again, an allowance allows nothing any more. `None`: there is no such answer.
    pub fn forget_answer(&mut self, id: &str, now: Now) -> Option<Commit> {
        let mut commit = Commit::default();
        let (agent, account, text) = if let Some(denial) = self.denials.iter().find(|denial| denial.id == id) {
            (denial.agent.clone(), denial.account.clone(), "remembered denial taken back")
        } else {
            let allowance = self.allowances.iter().find(|allowance| allowance.id == id)?;
            (allowance.agent.clone(), allowance.account.clone(), "task allowance taken back")
        };
        self.allowances.retain(|allowance| allowance.id != id);
        self.end_denials(|denial| denial.id == id, &mut commit);
        let mut record = record(now, Kind::Change, text);
        record.agent = Some(agent);
        record.account = Some(account);
        commit.records.push(record);
        Some(commit)
    }

    pub(super) fn end_denials(&mut self, ended: impl Fn(&Denial) -> bool, commit: &mut Commit) {
        let gone = self.denials.iter().filter(|denial| ended(denial));
        commit.deletes.extend(gone.map(|denial| (Shelf::Rules, denial.id.clone())));
        self.denials.retain(|denial| !ended(denial));
    }

    /// The denial that the person asked to be repeated, if this request is of its kind.
    pub(super) fn denied(&mut self, agent: &str, account: &str, request: &Request, now: Now) -> Option<Ruling> {
        let denial = self.denials(now).find(|denial| denial.meets(agent, account, request))?;
        let how_long = if denial.expires_at.is_some() { "for a while" } else { "until they take it back" };
        let why =
            format!("The person said no to this kind of request, and does not want to be asked again {how_long}.");
        let instead = "Nothing was done, and asking again won't help. What is within this agent's budget still runs; \
                       only the person can take the no back, in Latchstring."
            .to_owned();
        let mut record = record(now, Kind::Forbidden, format!("denied by the remembered answer {}", denial.id));
        record.agent = Some(agent.to_owned());
        record.account = Some(account.to_owned());
        record.action = Some(super::judge::action(request));
        record.class = Some(request.class());
        record.count = super::judge::count(request);
        self.note(agent, None, 1, now);
        Some(Ruling::Forbid { why, instead, commit: Box::new(Commit { records: vec![record], ..Commit::default() }) })
    }

    /// Whether the person allowed the same before for all of these objects; listed ones are used up then.
    pub(super) fn allowed_before(
        &mut self,
        agent: &str,
        account: &str,
        request: &Request,
        views: Option<&Views>,
        now: Now,
    ) -> Before {
        let gentle = request.parts.iter().all(|part| {
            matches!(part.operation.class, Class::Modify | Class::Remove) && !part.operation.objects.ids().is_empty()
        });
        if !gentle {
            return Before::No;
        }
        let stands = |one: &Allowance| {
            one.agent == agent && one.account == account && one.expires_at > now.time && self.gate.admits(one.epoch)
        };
        let matched = |rule: &Rule, id: &String| {
            views.and_then(|views| views.get(id)).is_some_and(|view| rule.covers(view, now.wall))
                && !self.is_spared(account, id, now)
        };
        let of = |part: &crate::operation::Part| {
            self.allowances.iter().position(|one| stands(one) && one.allows(&part.operation, matched))
        };
        let used: Option<Vec<usize>> = request.parts.iter().map(of).collect();
        let Some(used) = used else {
            let by_rule = |part: &crate::operation::Part| {
                self.allowances.iter().any(|one| stands(one) && one.rule.is_some() && one.is_for(&part.operation))
            };
            let few = request.parts.iter().map(|part| part.operation.objects.ids().len()).sum::<usize>() <= MOST_READ;
            let perhaps = views.is_none() && few && request.parts.iter().any(by_rule);
            return if perhaps { Before::Perhaps } else { Before::No };
        };
        for (part, at) in request.parts.iter().zip(used) {
            if let Some(allowance) = self.allowances.get_mut(at) {
                allowance.objects.retain(|id| !part.operation.objects.ids().contains(id));
            }
        }
        self.allowances.retain(|allowance| allowance.rule.is_some() || !allowance.objects.is_empty());
        Before::Allowed
    }

    /// No rule covers these for a day: an agent made them what a rule may speak of ([`crate::recipe::sways`]), or the person unticked them.
    pub fn spare(&mut self, account: &str, objects: &[String], now: Now) {
        if self.spared.len() + objects.len() > MOST_SPARED {
            self.spared.retain(|_, until| *until > now.time);
        }
        for object in objects {
            if self.spared.len() <= MOST_SPARED {
                self.spared.insert((account.to_owned(), object.clone()), now.time + SPARED);
            }
        }
    }

    fn is_spared(&self, account: &str, object: &str, now: Now) -> bool {
        let entry = (account.to_owned(), object.to_owned());
        let every = (account.to_owned(), EVERYTHING.to_owned());
        let stands = |entry| self.spared.get(entry).is_some_and(|until| *until > now.time);
        self.spared.len() > MOST_SPARED || stands(&entry) || stands(&every)
    }

    /// The recipients to look up before this request is asked about; `None` if there are none, or the agent had many looked up.
    pub(super) fn whom_to_look_up(
        &mut self,
        agent: &str,
        account: &str,
        request: &Request,
        now: Now,
    ) -> Option<Vec<String>> {
        let mut unheard = self.unheard(account, request, now);
        unheard.truncate(MOST_LOOKED_UP);
        let (count, since) = &mut self.conduct.entry(agent.to_owned()).or_default().looked_up;
        if now.time.since(*since) >= Span::hours(1) {
            (*count, *since) = (0, now.time);
        }
        let wanted = u32::try_from(unheard.len()).unwrap_or(u32::MAX);
        if unheard.is_empty() || *count >= LOOKED_UP_AN_HOUR {
            return None;
        }
        *count = count.saturating_add(wanted);
        Some(unheard)
    }
}
