//! What survives a crash: the commits, and nothing else.

use std::collections::{BTreeMap, HashSet};

use latch_core::call::Digest;
use latch_core::grant::Grant;
use latch_core::guard::{Agent, Guard, Lifetimes, Loaded, Persistent};
use latch_core::hold::Stored;
use latch_core::journal::{Charge, Commit, Kind, Record, Shelf, chain};
use latch_core::lease::Epoch;
use latch_core::pdp::Pdp;
use latch_core::time::{Span, Time};
use latch_daemon::vault::{Anchor, Present};
use serde_json::Value;

/// A database.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub records: Vec<Record>,
    hashes: Vec<Digest>,
    pub charges: Vec<Charge>,
    documents: BTreeMap<(Shelf, String), Value>,
    pub rules: String,
}

impl Disk {
    /// Makes a commit durable; the first record's number.
    pub fn commit(&mut self, commit: Commit) -> u64 {
        let first = self.records.len() as u64 + 1;
        for record in commit.records {
            let previous = self.hashes.last().copied().unwrap_or_default();
            self.hashes.push(chain(&previous, self.records.len() as u64 + 1, &record));
            self.records.push(record);
        }
        self.charges.extend(commit.charges);
        for put in commit.puts {
            self.documents.insert((put.shelf, put.id), put.value);
        }
        for key in commit.deletes {
            self.documents.remove(&key);
        }
        first
    }

    fn shelf(&self, shelf: Shelf) -> impl Iterator<Item = &Value> {
        self.documents.iter().filter(move |((one, _), _)| *one == shelf).map(|(_, value)| value)
    }

    /// Whether a hold could be proposed again after a restart.
    pub fn keeps_hold(&self, id: &str) -> bool {
        self.documents.contains_key(&(Shelf::Hold, id.to_owned()))
    }

    /// An undo recipe or the like is kept nowhere else: everything as one text.
    pub fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.records, self.documents, self.rules)
    }

    /// Whether a call of this digest was recorded before it left.
    pub fn has_intent(&self, call: Digest) -> bool {
        let before = |record: &Record| {
            matches!(record.kind, Kind::Intent | Kind::Read | Kind::Undo) && record.digest == Some(call)
        };
        self.records.iter().rev().any(before)
    }

    /// What the vault remembers of it.
    pub fn anchor(&self) -> Anchor {
        let state = self.state();
        Anchor {
            seq: self.records.len() as u64,
            hash: self.hashes.last().copied().unwrap_or_default(),
            epoch: Epoch(state.epoch),
            panicked: state.panicked.is_some(),
        }
    }

    fn state(&self) -> Persistent {
        self.documents
            .get(&(Shelf::State, "guard".to_owned()))
            .map_or_else(Persistent::default, |value| serde_json::from_value(value.clone()).unwrap())
    }

    /// Starts an engine on it, as the daemon does.
    pub fn start(&self, anchor: Option<&Anchor>, now: Time) -> Guard {
        let mut state = self.state();
        if let Some(anchor) = anchor {
            let at = usize::try_from(anchor.seq).unwrap().checked_sub(1);
            let present = Present {
                seq: self.records.len() as u64,
                hash_at_anchor: at.and_then(|at| self.hashes.get(at)).copied(),
                epoch: Epoch(state.epoch),
                panicked: state.panicked.is_some(),
            };
            if let Some(why) = anchor.contradicts(&present) {
                state.epoch = state.epoch.max(anchor.epoch.0) + 1;
                state.panicked = Some(why);
            }
        }
        let agents: Vec<Agent> =
            self.shelf(Shelf::Agent).map(|value| serde_json::from_value(value.clone()).unwrap()).collect();
        if state.panicked.is_some() {
            state.stopped = agents.iter().map(|agent| agent.id.clone()).collect();
        }
        let lifetimes = Lifetimes::default();
        let epoch = Epoch(state.epoch);
        let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();
        let loaded = Loaded {
            agents,
            grants: self
                .shelf(Shelf::Grant)
                .map(|value| serde_json::from_value::<Grant>(value.clone()).unwrap())
                .collect(),
            charges: self.charges.iter().filter(|charge| charge.time + Span::hours(25) > now).cloned().collect(),
            proposals: self
                .shelf(Shelf::Hold)
                .filter_map(|value| {
                    serde_json::from_value::<Stored>(value.clone()).unwrap().into_proposal(lifetimes.proposal, epoch)
                })
                .filter(|hold| hold.expires_at > now)
                .collect(),
            known: self
                .shelf(Shelf::Known)
                .map(|value| (text(value, "account"), text(value, "address")))
                .collect::<HashSet<_>>(),
            state,
            ..Loaded::default()
        };
        Guard::new(Pdp::new(&self.rules).unwrap(), loaded, lifetimes)
    }
}
