//! From a permit to leases: intent first, then the call.

use serde_json::json;

use super::judge::Judged;
use super::{Guard, Now, record};
use crate::call::{Call, Digest};
use crate::hold::Hold;
use crate::journal::{Charge, Commit, Kind, Put, Shelf};
use crate::lease::{Epoch, Lease, Purpose};
use crate::operation::{Class, Request};
use crate::plan::{Permit, Plan};

/// Panic came in between, or the call is not part of the plan: nothing may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped before it left")]
pub struct Stopped;

impl Guard {
    /// Turns a permit into a plan of exactly these calls.
    pub fn begin(&mut self, permit: Permit, calls: &[Call], now: Now) -> Plan {
        if permit.class != Class::Read {
            self.note(&permit.agent, Some(permit.class), permit.count, now);
            let changes = self.changes.entry(permit.account.clone()).or_default();
            *changes = changes.saturating_add(1);
            let began = *changes;
            if let Some(hold) = permit.hold.as_deref().and_then(|id| self.hold_mut(id)) {
                hold.began = began;
            }
        }
        Plan {
            agent: Some(permit.agent),
            account: permit.account,
            action: permit.action,
            class: permit.class,
            count: permit.count,
            digest: permit.digest,
            epoch: permit.epoch,
            hold: permit.hold,
            charges: permit.charges,
            undo: false,
            calls: Plan::digests(calls),
        }
    }

    /// What must be recorded, durably, when a permitted mail waits here before it leaves: nothing of it goes upstream until [`Guard::permit_delayed`].
    pub fn put_off(&mut self, permit: Permit, text: String, now: Now) -> Result<Commit, Stopped> {
        if !self.gate.admits(permit.epoch) || self.state.panicked.is_some() {
            return Err(Stopped);
        }
        let mut record = record(now, Kind::Change, text);
        record.agent = Some(permit.agent);
        record.account = Some(permit.account);
        record.action = Some(permit.action);
        record.class = Some(permit.class);
        record.count = permit.count;
        record.digest = Some(permit.digest);
        let deletes = permit.hold.into_iter().map(|id| (Shelf::Hold, id)).collect();
        Ok(Commit { records: vec![record], charges: permit.charges, puts: Vec::new(), deletes })
    }

    /// A permit for a mail whose outbox delay is over: it was permitted and charged before, in the same epoch.
    pub fn permit_delayed(
        &mut self,
        agent: &str,
        account: &str,
        request: &Request,
        epoch: Epoch,
        now: Now,
    ) -> Result<Permit, Stopped> {
        if !self.gate.admits(epoch) || self.state.panicked.is_some() || self.state.stopped.contains(agent) {
            return Err(Stopped);
        }
        let grant = self
            .grants
            .values()
            .find(|grant| grant.agent == agent && grant.account() == account && grant.stands(now.time))
            .ok_or(Stopped)?;
        // Its budget is charged and its recipients were known; but the person may have tightened the grant or the rules since.
        if !matches!(self.judge_again(grant, request, now), Judged::Permit { .. }) {
            return Err(Stopped);
        }
        Ok(Permit {
            agent: agent.to_owned(),
            account: account.to_owned(),
            action: super::judge::action(request),
            class: request.class(),
            count: super::judge::count(request),
            digest: Hold::digest_of(agent, account, request),
            epoch,
            hold: None,
            charges: Vec::new(),
            delay: None,
            forever: false,
        })
    }

    /// A plan of the owner's own: putting back. Works while panicked, under the present epoch.
    pub fn begin_undo(&mut self, account: &str, action: &str, class: Class, count: u32, calls: &[Call]) -> Plan {
        Plan {
            agent: None,
            account: account.to_owned(),
            action: action.to_owned(),
            class,
            count,
            digest: Digest::of(&[b"undo", account.as_bytes(), action.as_bytes()]),
            epoch: self.gate.current(),
            hold: None,
            charges: Vec::new(),
            undo: true,
            calls: Plan::digests(calls),
        }
    }

    /// What must be recorded before a call of the plan leaves: durably above read. The first one carries the budget charges and consumes the hold.
    pub fn intent(&mut self, plan: &mut Plan, index: usize, now: Now) -> Commit {
        let kind = match (plan.class, plan.undo) {
            (Class::Read, false) => Kind::Read,
            (_, true) => Kind::Undo,
            _ => Kind::Intent,
        };
        let mut record = record(now, kind, "");
        record.agent.clone_from(&plan.agent);
        record.account = Some(plan.account.clone());
        record.action = Some(plan.action.clone());
        record.class = Some(plan.class);
        record.count = plan.count;
        record.digest = plan.calls.get(index).copied().flatten();
        let charges: Vec<Charge> = std::mem::take(&mut plan.charges);
        let deletes = plan.hold.iter().map(|id| (Shelf::Hold, id.clone())).collect();
        Commit { records: vec![record], charges, puts: Vec::new(), deletes }
    }

    /// The lease for a call whose intent is recorded. At most once for each call; refused when the epoch moved on, or its agent was stopped or has nothing
    /// to do with the account any more.
    pub fn lease(&self, plan: &mut Plan, index: usize) -> Result<Lease, Stopped> {
        if !self.gate.admits(plan.epoch) || (self.state.panicked.is_some() && !plan.undo) {
            return Err(Stopped);
        }
        if plan.agent.as_ref().is_some_and(|agent| !self.may_go_on(agent, &plan.account)) {
            return Err(Stopped);
        }
        let call = plan.calls.get_mut(index).and_then(Option::take).ok_or(Stopped)?;
        let purpose = if plan.undo { Purpose::Undo } else { Purpose::Operation };
        Ok(Lease::mint(purpose, plan.account.clone(), call, plan.epoch))
    }

    fn may_go_on(&self, agent: &str, account: &str) -> bool {
        self.agents.contains_key(agent)
            && !self.state.stopped.contains(agent)
            && self.grants.values().any(|grant| grant.agent == agent && grant.account() == account)
    }

    /// A lease for the guard's own reading: GET over HTTP, its own PROPFIND, over IMAP and ManageSieve what can change nothing.
    pub fn lease_preview(&self, account: &str, call: &Call, epoch: Epoch) -> Result<Lease, Stopped> {
        let reads = call.method == http::Method::GET
            || crate::classify::imap::deed::only_reads(call)
            || crate::classify::dav::look::only_looks(call)
            || crate::classify::sieve::only_reads(call);
        if !reads || !self.gate.admits(epoch) {
            return Err(Stopped);
        }
        Ok(Lease::mint(Purpose::Preview, account.to_owned(), call.digest(), epoch))
    }

    /// A lease for a fresh access token at the provider, within a plan's or preview's epoch.
    pub fn lease_refresh(&self, account: &str, call: &Call, epoch: Epoch) -> Result<Lease, Stopped> {
        if !self.gate.admits(epoch) {
            return Err(Stopped);
        }
        Ok(Lease::mint(Purpose::Refresh, account.to_owned(), call.digest(), epoch))
    }

    /// A lease for signing out at the provider: for the owner, also while panicked.
    pub fn lease_revocation(&self, account: &str, call: &Call) -> Lease {
        Lease::mint(Purpose::Revocation, account.to_owned(), call.digest(), self.gate.current())
    }

    /// What became of a recorded call.
    #[must_use]
    pub fn outcome(&self, plan: &Plan, intent: u64, undo: Option<String>, text: String, now: Now) -> Commit {
        let mut record = record(now, Kind::Outcome, text);
        record.agent.clone_from(&plan.agent);
        record.account = Some(plan.account.clone());
        record.action = Some(plan.action.clone());
        record.class = Some(plan.class);
        record.count = plan.count;
        record.refers = Some(intent);
        record.undo = undo;
        Commit { records: vec![record], ..Commit::default() }
    }
}

/// The stored form of a hold that may live on as a proposal; `None` for the others.
pub(super) fn stored(hold: &Hold) -> Option<Put> {
    if !hold.is_gentle() {
        return None;
    }
    let value = json!(crate::hold::Stored::of(hold)?);
    Some(Put { shelf: Shelf::Hold, id: hold.id.clone(), value })
}
