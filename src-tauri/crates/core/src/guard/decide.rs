//! The person decides, or time does.

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeSet;

use super::{Guard, Notice, Now, record};
use crate::call::{CallBody, Digest};
use crate::classify::smtp::divisible;
use crate::hold::{self, Allowance, Allowed, State};
use crate::journal::{Commit, Kind, Shelf};
use crate::operation::{Class, Objects, Part, Request};
use crate::plan::Permit;
use crate::recipe::View;
use crate::scope::{Rule, RuleId};
use crate::time::{Span, Time};

/// How far an Allow reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// This operation.
    #[default]
    Once,
    /// Also the same again for the listed objects, for 15 minutes.
    Task,
    /// As a task, and also for what this rule matches: one of those that the hold offers.
    Rule(RuleId),
}

/// The person's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let it happen.
    Allow {
        /// Only these objects.
        objects: Option<Vec<String>>,
        /// How far it reaches.
        scope: Scope,
        /// Do not soften.
        forever: bool,
        /// What the person typed.
        retyped_count: Option<u32>,
    },
    /// Don't.
    Deny,
}

/// By what means the answer came; said in the journal.
pub const BY_NOTIFICATION: &str = "notification";
/// How a no over the control socket is named: any program of the person's may say it, so it is not the person's own.
pub const BY_CONTROL: &str = "the control socket";
/// How much longer a hold lives, again and again, whose requester still waits.
const STILL_WAITED_FOR: Span = Span::seconds(5);
/// The most objects that a notification may allow.
pub(super) const NOTIFICATION_LIMIT: u32 = 20;

/// Why an answer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such hold.
    #[error("there is no such hold")]
    Unknown,
    /// It was decided, or ended, before.
    #[error("this hold does not wait any more: {0:?}")]
    NotWaiting(State),
    /// It is not what the person saw.
    #[error("the hold is not the one that was shown: read it again")]
    OtherDigest,
    /// The guard still reads.
    #[error("not everything is read yet: it can only be denied until then")]
    Preparing,
    /// Something in it can't be shown.
    #[error("it can only be allowed whole")]
    NotDivisible,
    /// An object is not in it.
    #[error("an object is not part of this hold")]
    OtherObjects,
    /// Something in it can't be decoded, or there is more to read than a dialog shows.
    #[error("it can't be decoded, or not be shown whole: it can only be denied")]
    Opaque,
    /// Nothing was ticked.
    #[error("nothing is ticked: deny it instead")]
    Nothing,
    /// Task scope is for modify and remove only.
    #[error("this can only be allowed once")]
    OnceOnly,
    /// The rule is not one that the hold offers.
    #[error("this rule is not offered (any more): read the hold again")]
    NoRule,
    /// A batch of several kinds of changes.
    #[error("this no can't be remembered: it is about several kinds of changes")]
    NotRemembered,
    /// For ever is not offered.
    #[error("this can't be done for ever here")]
    NotForever,
    /// The count must be retyped.
    #[error("type the number {0} to confirm: this can't be undone")]
    Retype(u32),
    /// A notification may not allow this.
    #[error("this can only be allowed in the dialog")]
    NotByNotification,
    /// Panic came in between.
    #[error("everything is stopped: resume first")]
    Stopped,
}

/// What a decision led to.
#[derive(Debug)]
pub struct Decided {
    /// The hold's state for the person.
    pub state: State,
    /// Allowed for a part of the objects.
    pub in_part: bool,
    /// Somebody waits for it, or the person runs a proposal: run it now.
    pub run: bool,
    /// Must be durable before anything is run or answered.
    pub commit: Commit,
}

impl Guard {
    /// What the guard read about a hold's object.
    pub fn handle_view(&mut self, id: &str, object: &str, view: View) {
        let Some(hold) = self.hold_mut(id) else { return };
        if let Some(held) = hold.objects.iter_mut().find(|held| held.id == object) {
            held.view = Some(view.bounded());
        }
    }

    /// What the guard read about many of a hold's objects at once.
    pub fn handle_views(&mut self, id: &str, views: Vec<(String, View)>) {
        let mut views: std::collections::HashMap<String, View> = views.into_iter().collect();
        let Some(hold) = self.hold_mut(id) else { return };
        for held in &mut hold.objects {
            if let Some(view) = views.remove(&held.id) {
                held.view = Some(view.bounded());
            }
        }
        if hold.state == State::Preparing && hold.is_prepared() {
            hold.state = State::Open;
        }
        self.notices.push_back(Notice::HoldChanged(id.to_owned()));
    }

    /// The bodies of a hold that still waits were put aside: `bodies`, one for each part.
    pub fn put_bodies_aside(&mut self, id: &str, bodies: Vec<CallBody>) {
        let Some(hold) = self.hold_mut(id) else { return };
        if !hold.state.can_run() || hold.request.parts.len() != bodies.len() {
            return;
        }
        for (part, body) in hold.request.parts.iter_mut().zip(bodies) {
            match (&part.call.body, &body) {
                (CallBody::Bytes(bytes), CallBody::Aside(aside)) if aside.length() == bytes.len() => {
                    part.call.body = body
                }
                _ => {}
            }
        }
    }

    /// The guard could not read what a hold is about: nothing runs, and the requester is told the truth.
    pub fn handle_unreadable(&mut self, id: &str, why: &str, now: Now) -> Commit {
        let mut commit = Commit::default();
        if self.hold(id).is_some_and(|hold| hold.state.can_run()) {
            self.close(id, State::Failed, why, now, &mut commit);
        }
        commit
    }

    /// Takes the person's answer. `by` says by what means it came.
    pub fn decide(
        &mut self,
        id: &str,
        digest: &Digest,
        verdict: Verdict,
        by: &str,
        now: Now,
    ) -> Result<Decided, DecideError> {
        let panicked = self.state.panicked.is_some();
        let gate = self.gate.clone();
        let hold = self.hold_mut(id).ok_or(DecideError::Unknown)?;
        if hold.digest != *digest {
            return Err(DecideError::OtherDigest);
        }
        if !hold.state.waits() || hold.expires_at <= now.time {
            return Err(DecideError::NotWaiting(if hold.state.waits() { State::Expired } else { hold.state }));
        }
        let Verdict::Allow { objects, scope, forever, retyped_count } = verdict else {
            let agent = hold.agent.clone();
            hold.refused = by != BY_CONTROL;
            let mut commit = Commit::default();
            self.close(id, State::Denied, &format!("denied by {by}"), now, &mut commit);
            self.note(&agent, None, 1, now);
            let conduct = self.conduct.entry(agent.clone()).or_default();
            conduct.denials = conduct.denials.saturating_add(1);
            if conduct.denials >= hold::DENIALS_TO_PAUSE {
                self.pause(&agent, now);
            }
            return Ok(Decided { state: State::Denied, in_part: false, run: false, commit });
        };
        if panicked || !gate.admits(hold.epoch) {
            return Err(DecideError::Stopped);
        }
        if hold.state == State::Preparing || !hold.is_prepared() {
            return Err(DecideError::Preparing);
        }
        if hold.request.is_opaque() {
            return Err(DecideError::Opaque);
        }
        let chosen = ticked(hold, objects)?;
        // A mail is one, whoever of its recipients gets it.
        let ticked = chosen.as_ref().filter(|_| !hold.objects.is_empty());
        let count = ticked.map_or(hold.count(), |chosen| u32::try_from(chosen.len()).unwrap_or(u32::MAX));
        if scope != Scope::Once && !hold.is_gentle() {
            return Err(DecideError::OnceOnly);
        }
        let rule = match scope {
            Scope::Once | Scope::Task => None,
            Scope::Rule(_) if by == BY_NOTIFICATION => return Err(DecideError::NotByNotification),
            Scope::Rule(id) => {
                let mut offered = Rule::offered(hold, now.wall).into_iter();
                Some(offered.find(|rule| rule.id() == id).ok_or(DecideError::NoRule)?)
            }
        };
        let softened = |part: &Part| part.operation.soften.is_some() && part.operation.class == Class::Destroy;
        if forever && !hold.request.parts.iter().any(softened) {
            return Err(DecideError::NotForever);
        }
        if (forever && retyped_count != Some(count)) || retyped_count.is_some_and(|typed| typed != count) {
            return Err(DecideError::Retype(count));
        }
        if by == BY_NOTIFICATION && (!hold.is_gentle() || count > NOTIFICATION_LIMIT) {
            return Err(DecideError::NotByNotification);
        }
        let run = hold.waiting > 0 || hold.state == State::Proposal;
        let in_part = chosen.is_some();
        hold.state = State::Allowed;
        hold.expires_at = now.time + hold::KEEP;
        hold.allowed = Some(Allowed { objects: chosen.clone(), forever });
        let mut allowances = match scope {
            Scope::Once => Vec::new(),
            Scope::Task | Scope::Rule(_) => {
                allowances(hold, chosen.as_ref(), rule.as_ref(), now.time + hold::ALLOWANCE)
            }
        };
        let text = match &rule {
            None => format!("allowed by {by}"),
            Some(_) => format!("allowed by {by}, with a rule for 15 minutes"),
        };
        let mut record = record(now, Kind::Verdict, text);
        record.object_text = rule.map(|rule| rule.text());
        record.agent = Some(hold.agent.clone());
        record.account = Some(hold.account.clone());
        record.action = Some(super::judge::action(&hold.request));
        record.class = Some(hold.class);
        record.count = count;
        record.digest = Some(hold.digest);
        let (agent, account) = (hold.agent.clone(), hold.account.clone());
        let ids = hold.objects.iter().map(|object| &object.id);
        let unticked: Vec<String> =
            ids.filter(|id| chosen.as_ref().is_some_and(|chosen| !chosen.contains(*id))).cloned().collect();
        self.spare(&account, &unticked, now);
        self.conduct.entry(agent).or_default().denials = 0;
        for allowance in &mut allowances {
            self.given = self.given.saturating_add(1);
            allowance.id = format!("t{}", self.given);
        }
        self.allowances.extend(allowances);
        self.notices.push_back(Notice::HoldClosed(id.to_owned()));
        self.handle_answered(id, now);
        Ok(Decided {
            state: State::Allowed,
            in_part,
            run,
            commit: Commit { records: vec![record], ..Commit::default() },
        })
    }

    /// Consumes an allowed hold: at most once (I2).
    pub fn take_allowed(&mut self, id: &str, now: Now) -> Option<(Permit, Request, Allowed)> {
        let gate = self.gate.clone();
        let spared = self.hold(id).is_some_and(|hold| self.names_stop_mail(&hold.account, &hold.request));
        let hold = self.hold_mut(id)?;
        if spared || hold.state != State::Allowed || hold.expires_at <= now.time || !gate.admits(hold.epoch) {
            return None;
        }
        let allowed = hold.allowed.clone()?;
        hold.state = State::Running;
        hold.expires_at = now.time + hold::KEEP;
        let request = hold.request.clone();
        hold.drop_bodies();
        let chosen = u32::try_from(allowed.objects.iter().flatten().count()).unwrap_or(u32::MAX);
        let count = allowed
            .objects
            .as_ref()
            .filter(|_| !hold.objects.is_empty())
            .map_or_else(|| super::judge::count(&request), |chosen| u32::try_from(chosen.len()).unwrap_or(u32::MAX));
        let permit = Permit {
            agent: hold.agent.clone(),
            account: hold.account.clone(),
            action: super::judge::action(&request),
            class: hold.class,
            count,
            digest: hold.digest,
            epoch: hold.epoch,
            hold: Some(hold.id.clone()),
            charges: Vec::new(),
            delay: None,
            forever: allowed.forever,
        };
        let mut charges = super::judge::charges(&permit.agent, &permit.account, &request, now);
        for charge in &mut charges {
            // A part of the objects counts as such; a mail counts by its recipients.
            if allowed.objects.is_some() {
                charge.count = charge.count.min(chosen.max(1));
            }
            self.meters.charge(charge);
        }
        Some((Permit { charges, ..permit }, request, allowed))
    }

    /// A hold's plan ended; its answer may be given to joiners until the returned time.
    pub fn finish(&mut self, id: &str, now: Now) -> Option<Time> {
        let hold = self.hold_mut(id)?;
        hold.state = State::Done;
        hold.expires_at = now.time + hold::KEEP;
        Some(hold.expires_at)
    }

    /// A hold's plan ended, and its answer was for its requester alone: asking again is a new question.
    pub fn finish_unkept(&mut self, id: &str) {
        if let Some(number) = super::number(id) {
            self.holds.remove(&number);
        }
    }

    /// Answers that were kept for retries are stale now: the person undid something on this account.
    pub fn forget_answers(&mut self, account: &str) {
        self.holds.retain(|_, hold| hold.state != State::Done || hold.account != account);
    }

    /// When [`Self::handle_timeout`] is due next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let holds = self.holds.values().filter(|hold| hold.state != State::Running).map(|hold| hold.expires_at);
        let allowances = self.allowances.iter().map(|allowance| allowance.expires_at);
        let grants = self.grants.values().filter_map(|grant| grant.expires_at);
        let denials = self.denials.iter().filter_map(|denial| denial.expires_at);
        holds.chain(allowances).chain(grants).chain(denials).min()
    }

    /// Ends what is over: holds become proposals or expire, answered ones are forgotten.
    pub fn handle_timeout(&mut self, now: Now) -> Commit {
        let mut commit = Commit::default();
        let due: Vec<(String, State, bool, u32, Time)> = self
            .holds
            .values()
            .filter(|hold| hold.expires_at <= now.time && hold.state != State::Running)
            .map(|hold| (hold.id.clone(), hold.state, hold.is_gentle(), hold.waiting, hold.opened_at))
            .collect();
        let proposal = self.lifetimes.proposal;
        for (id, state, gentle, waiting, opened_at) in due {
            match state {
                State::Preparing | State::Open if waiting > 0 => {
                    if let Some(hold) = self.hold_mut(&id) {
                        // Longer than until the next look: in between the person's answer must be taken.
                        hold.expires_at = now.time + STILL_WAITED_FOR;
                    }
                }
                // After a long sleep the time of the proposal may be over, too.
                State::Open if gentle && opened_at + proposal > now.time => {
                    if let Some(hold) = self.hold_mut(&id) {
                        hold.state = State::Proposal;
                        hold.expires_at = opened_at + proposal;
                    }
                    self.prompts.leave(&id, now.time);
                    self.notices.push_back(Notice::HoldChanged(id));
                }
                State::Preparing | State::Open | State::Proposal | State::Allowed => {
                    self.close(&id, State::Expired, "nobody answered in time", now, &mut commit);
                }
                State::Done | State::Denied | State::Expired | State::Failed => {
                    if let Some(number) = super::number(&id) {
                        self.holds.remove(&number);
                    }
                }
                State::Running => {}
            }
        }
        self.end_grants(now, &mut commit);
        self.allowances.retain(|allowance| allowance.expires_at > now.time);
        self.end_denials(|denial| !denial.stands(now.time), &mut commit);
        self.tokens.expire(now.time);
        self.meters.prune(now.time);
        let _ = self.give_places(now);
        commit
    }

    pub(super) fn close(&mut self, id: &str, state: State, why: &str, now: Now, commit: &mut Commit) {
        let Some(hold) = self.hold_mut(id) else { return };
        hold.state = state;
        hold.expires_at = now.time + hold::KEEP;
        hold.drop_bodies();
        let mut record = record(now, Kind::Verdict, why);
        record.agent = Some(hold.agent.clone());
        record.account = Some(hold.account.clone());
        record.action = Some(super::judge::action(&hold.request));
        record.class = Some(hold.class);
        record.count = hold.count();
        record.digest = Some(hold.digest);
        commit.records.push(record);
        commit.deletes.push((Shelf::Hold, id.to_owned()));
        self.notices.push_back(Notice::HoldClosed(id.to_owned()));
        self.handle_answered(id, now);
    }
}

/// What each part of an allowed hold leaves behind, for the ticked objects.
fn allowances(
    hold: &hold::Hold,
    chosen: Option<&BTreeSet<String>>,
    rule: Option<&Rule>,
    expires_at: Time,
) -> Vec<Allowance> {
    let changes = hold.request.parts.iter().filter(|part| part.operation.class != Class::Read);
    let left = changes.map(|part| {
        let ids = part.operation.objects.ids().iter();
        Allowance {
            id: String::new(),
            agent: hold.agent.clone(),
            account: hold.account.clone(),
            verb: part.operation.verb.clone(),
            class: part.operation.class,
            facts: part.operation.facts.clone(),
            objects: ids.filter(|id| chosen.is_none_or(|chosen| chosen.contains(*id))).cloned().collect(),
            rule: rule.cloned(),
            epoch: hold.epoch,
            expires_at,
        }
    });
    left.filter(|allowance| !allowance.objects.is_empty()).collect()
}

fn ticked(hold: &hold::Hold, objects: Option<Vec<String>>) -> Result<Option<BTreeSet<String>>, DecideError> {
    let Some(objects) = objects else { return Ok(None) };
    let chosen: BTreeSet<String> = objects.into_iter().collect();
    let all = hold.choices();
    if chosen.is_empty() && !all.is_empty() {
        return Err(DecideError::Nothing);
    }
    if chosen.iter().any(|id| !all.contains(id)) {
        return Err(DecideError::OtherObjects);
    }
    if chosen.len() == all.len() {
        return Ok(None);
    }
    let bare = |part: &Part| matches!(part.operation.objects, Objects::None) && divisible(part).is_none();
    if !hold.is_divisible() || hold.request.parts.iter().any(bare) {
        return Err(DecideError::NotDivisible);
    }
    Ok(Some(chosen))
}

/// Whether the dialog asks to retype the count even when nothing is done for ever.
#[must_use]
pub const fn retypes(class: Class) -> bool {
    matches!(class, Class::Divert | Class::Spend)
}
