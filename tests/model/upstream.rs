//! Calls leave, everything is stopped, things are put back, time ends.

use std::collections::BTreeSet;

use latch_core::call::Call;
use latch_core::grant::Preset;
use latch_core::guard::Waits;
use latch_core::hold::State;
use latch_core::journal::Commit;
use latch_core::lease::Lease;
use latch_core::operation::Class;
use latch_core::time::Span;
use latch_core::undo;
use serde_json::Value;

use crate::mailbox::KNOWN;
use crate::steps::Kill;
use crate::world::{AGENTS, Basis, Done, World};

impl World {
    /// One call of a flight leaves, or does not.
    pub fn send(&mut self, flight: usize, kill: Kill) {
        let Some(index) = flight.checked_rem(self.flights.len()) else { return };
        let now = self.now();
        let flight = &mut self.flights[index];
        let Some((call, part)) = flight.calls.get(flight.next).cloned() else {
            let ended = self.flights.remove(index);
            if let Basis::Hold(id) = ended.basis {
                self.guard.finish(&id, now);
            }
            return;
        };
        let intent = self.guard.intent(&mut flight.plan, flight.next, now);
        if kill == Kill::Before {
            return self.crash();
        }
        let seq = self.disk.commit(intent);
        self.spent[flight.spent].durable = true;
        if let Basis::Hold(id) = &flight.basis {
            self.holds.get_mut(id).unwrap().consumed = true;
        }
        if kill == Kill::After {
            return self.crash();
        }
        let agent = flight.plan.agent().unwrap_or_default().to_owned();
        let grant = self.grants.get(&(agent.clone(), flight.account.clone()));
        let lease = self.guard.lease(&mut flight.plan, flight.next);
        let Ok(lease) = lease else {
            let stands = grant.is_some_and(|(_, end)| end.is_none_or(|end| now.time < end));
            let may = stands && !self.stopped.contains(&agent);
            assert!(self.panicked || flight.epoch != self.epoch || !may, "a standing plan has no lease");
            return;
        };
        assert!(
            grant.is_some() && !self.stopped.contains(&agent),
            "a call left for an agent that has no business there"
        );
        assert!(self.guard.lease(&mut flight.plan, flight.next).is_err(), "I1: two leases for one call");
        assert!(!self.panicked && flight.epoch == self.epoch, "I3: a call of an older epoch left");
        assert!(self.disk.has_intent(call.digest()), "a call left without its record");
        flight.next += 1;
        if flight.next % 5 == 4 {
            self.leases.push((lease, flight.account.clone(), call, flight.epoch));
            return self.tally("lease kept");
        }
        let account = flight.account.clone();
        let before = self.mailboxes[&account].clone();
        let snapshot: Vec<(String, Value)> = undo::snapshot(&self.gmail, &part)
            .into_iter()
            .filter_map(|(id, read)| Some((id, self.mailboxes.get_mut(&account).unwrap().answer(&read)?)))
            .collect();
        let objects = flight.objects.clone();
        let allowed = match &flight.basis {
            Basis::Hold(id) => self.holds[id].allow.as_ref().map(|allow| allow.objects.clone()),
            Basis::Unasked | Basis::Allowance => None,
        };
        let answer = self.leave(lease, &account, &call);
        let changed = self.mailboxes[&account].changed(&before);
        assert!(changed.is_subset(&objects), "{changed:?} changed, {objects:?} were meant");
        assert!(allowed.is_none_or(|allowed| changed.is_subset(&allowed)), "more changed than was ticked");
        if let Some(entry) = undo::entry(&self.gmail, &part, &snapshot, answer.as_ref()) {
            self.done.push(Done { account, entry, before });
        }
        self.tally("sent");
        if kill == Kill::Sent {
            return self.crash();
        }
        let outcome = self.guard.outcome(&self.flights[index].plan, seq, None, "200".to_owned(), now);
        self.disk.commit(outcome);
    }

    /// Bytes leave: only here, and only for a lease.
    fn leave(&mut self, lease: Lease, account: &str, call: &Call) -> Option<Value> {
        let redeemed = lease.redeem(account, call, self.guard.gate()).expect("a fresh lease fits its call");
        assert!(redeemed.stands());
        self.mailboxes.get_mut(account).unwrap().answer(call)
    }

    /// Time passes for the Guard.
    pub fn timeout(&mut self) {
        // After a long sleep a hold becomes a proposal that is over already.
        for _ in 0..2 {
            let commit = self.guard.handle_timeout(self.now());
            self.disk.commit(commit);
        }
        assert!(self.guard.poll_timeout().is_none_or(|due| due > self.time), "a timeout that does not go away");
    }

    /// The person stops everything.
    pub fn panic(&mut self, kill: Kill) {
        self.guard.gate().raise();
        for flight in &mut self.flights {
            assert!(self.guard.lease(&mut flight.plan, flight.next).is_err(), "I3: a lease after the gate was raised");
        }
        for (lease, account, call, _) in std::mem::take(&mut self.leases) {
            assert!(
                lease.redeem(&account, &call, self.guard.gate()).is_err(),
                "I3: an old lease after the gate was raised"
            );
        }
        let (epoch, _, commit) = self.guard.handle_panic("the person pressed Panic", self.now());
        if kill == Kill::Before {
            return self.crash();
        }
        self.disk.commit(commit);
        self.vault = self.disk.anchor();
        assert!(epoch > self.epoch);
        self.epoch = epoch;
        self.panicked = true;
        self.stopped = AGENTS.map(str::to_owned).into();
        self.allowances.clear();
        self.holds.values_mut().for_each(|held| held.allow = None);
        self.tally("panic");
        if kill != Kill::No {
            self.crash();
        }
    }

    /// One agent, or all, may go on.
    pub fn resume(&mut self, agent: Option<&str>, preset: Preset) {
        let commit: Commit = self.guard.resume(agent, preset, self.now());
        self.disk.commit(commit);
        self.panicked = false;
        for name in AGENTS.into_iter().filter(|name| agent.is_none_or(|agent| agent == *name)) {
            self.stopped.remove(name);
            for ((of, _), (granted, _)) in &mut self.grants {
                if of == name {
                    *granted = preset;
                }
            }
        }
    }

    /// I9: the own difference is reversed, and nothing else.
    pub fn undo(&mut self, number: usize) {
        let Some(index) = number.checked_rem(self.done.len()) else { return };
        let Done { account, entry, before } = self.done.swap_remove(index);
        let found: Vec<(String, Option<Value>)> = undo::inspect(&self.gmail, &entry)
            .into_iter()
            .map(|(id, read)| (id, self.mailboxes.get_mut(&account).unwrap().answer(&read)))
            .collect();
        let inverse = undo::inverse(&self.gmail, &entry, &found);
        let there = self.mailboxes[&account].clone();
        let calls: Vec<Call> = inverse.calls.iter().map(|(_, call)| call.clone()).collect();
        let mut plan = self.guard.begin_undo(&account, &entry.action, Class::Modify, 1, &calls);
        for (at, call) in calls.iter().enumerate() {
            let intent = self.guard.intent(&mut plan, at, self.now());
            self.disk.commit(intent);
            let lease = self.guard.lease(&mut plan, at).expect("undo works while panicked, too");
            self.leave(lease, &account, call);
        }
        let left: BTreeSet<&String> = inverse.not_restored.iter().map(|(id, _)| id).collect();
        let touched: BTreeSet<&String> = entry.changes.iter().map(|change| &change.object).collect();
        for (id, labels) in &self.mailboxes[&account].0 {
            if !touched.contains(id) {
                assert_eq!(there.0.get(id), Some(labels), "I9: {id} was no part of it");
                continue;
            }
            let undo::Difference::Set { added, removed, .. } =
                &entry.changes.iter().find(|change| change.object == *id).unwrap().difference
            else {
                continue;
            };
            let own = |label: &&String| added.contains(label) || removed.contains(label);
            for label in there.0[id].symmetric_difference(labels) {
                assert!(own(&label) || label == "INBOX", "I9: {label} of {id} was somebody else's");
            }
            if !left.contains(id) {
                assert!(added.iter().all(|label| !labels.contains(label)), "I9: {id} still has {added:?}");
                assert!(removed.iter().all(|label| labels.contains(label)), "I9: {id} still lacks {removed:?}");
                assert!(before.0.contains_key(id));
            }
        }
        self.tally("undone");
    }

    /// The end of every run: with nobody on the line and nobody answering, nothing waits for ever (I8).
    pub fn wind_down(&mut self) {
        for id in self.guard.holds().map(|hold| hold.id.clone()).collect::<Vec<_>>() {
            (0..64).for_each(|_| self.guard.set_waiting(&id, Waits::Leaves));
        }
        for hours in [1, 25, 25] {
            self.time = self.time + Span::hours(hours);
            self.timeout();
            self.check();
        }
        let waiting = self.guard.holds().filter(|hold| hold.state.waits() || hold.state == State::Allowed).count();
        assert_eq!(waiting, 0, "I8: a hold without an end");
        assert!(self.guard.is_known("work", KNOWN, self.now()));
    }
}
