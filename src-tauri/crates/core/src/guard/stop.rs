//! Panic and resume (I3).

use super::{Guard, Now, record};
use crate::grant::Preset;
use crate::hold::State;
use crate::journal::{Commit, Kind, Put, Shelf};
use crate::lease::Epoch;

/// What a panic cut, connections aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Live access tokens.
    pub tokens: u32,
    /// Waiting holds and task allowances.
    pub holds: u32,
}

impl Guard {
    /// Stops everything. The caller has raised the gate already, before it took the Guard: from that moment no byte of the old epoch leaves.
    /// The commit must be durable before the panic is reported done.
    pub fn handle_panic(&mut self, why: &str, now: Now) -> (Epoch, Cut, Commit) {
        let epoch = self.gate.current();
        let mut commit = Commit::default();
        let waiting: Vec<String> =
            self.holds.values().filter(|hold| hold.state.can_run()).map(|hold| hold.id.clone()).collect();
        let cut = Cut {
            tokens: u32::try_from(self.tokens.len()).unwrap_or(u32::MAX),
            holds: u32::try_from(waiting.len() + self.allowances.len()).unwrap_or(u32::MAX),
        };
        for id in waiting {
            self.close(&id, State::Denied, "denied by panic", now, &mut commit);
        }
        self.tokens.clear();
        self.allowances.clear();
        self.state.epoch = epoch.0;
        self.state.panicked = Some(why.to_owned());
        self.state.stopped = self.agents.keys().cloned().collect();
        let mut stop = record(now, Kind::Panic, why);
        stop.count = cut.tokens;
        commit.records.insert(0, stop);
        commit.puts.push(self.state_put());
        (epoch, cut, commit)
    }

    /// Lets one agent, or all of them, go on with a preset; everything older stays dead.
    pub fn resume(&mut self, agent: Option<&str>, preset: Preset, now: Now) -> Commit {
        let resumed: Vec<String> = match agent {
            Some(agent) => vec![agent.to_owned()],
            None => self.agents.keys().cloned().collect(),
        };
        let mut commit = Commit::default();
        self.state.panicked = None;
        for agent in resumed {
            self.state.stopped.remove(&agent);
            self.conduct.remove(&agent);
            for grant in self.grants.values_mut().filter(|grant| grant.agent == agent) {
                grant.detail = grant.detail.with_preset(preset);
                let value = serde_json::to_value(&*grant).unwrap_or_default();
                commit.puts.push(Put { shelf: Shelf::Grant, id: grant.id.clone(), value });
            }
            let mut record = record(now, Kind::Resume, format!("resumed as {}", preset.name()));
            record.agent = Some(agent);
            commit.records.push(record);
        }
        if commit.records.is_empty() {
            commit.records.push(record(now, Kind::Resume, "resumed"));
        }
        self.relink();
        commit.puts.push(self.state_put());
        commit
    }

    /// Ends every hold because nobody is there to answer: the owner's pipe closed.
    pub fn deny_all(&mut self, why: &str, now: Now) -> Commit {
        let mut commit = Commit::default();
        let open: Vec<String> = self
            .holds
            .values()
            .filter(|hold| matches!(hold.state, State::Preparing | State::Open))
            .map(|hold| hold.id.clone())
            .collect();
        for id in open {
            self.close(&id, State::Denied, why, now, &mut commit);
        }
        commit
    }
}
