//! A plan of one call, from the permit to its lease.

use latch_core::call::Call;
use latch_core::journal::{Put, Shelf};
use latch_core::lease::Lease;
use latch_core::plan::{Permit, Plan};

use super::execute::Failure;
use super::{Opened, Runtime};

/// One call whose intent is durable.
pub(super) struct Begun {
    pub(super) plan: Plan,
    /// The number of its record.
    pub(super) intent: u64,
    pub(super) lease: Lease,
}

impl Runtime {
    /// A change: what must be known of it afterwards is stored with its intent. Where it fails, nothing of it left and none of it is in the undo history.
    pub(super) async fn begin_one(
        &self,
        opened: &Opened,
        permit: Permit,
        call: &Call,
        puts: Vec<Put>,
    ) -> Result<Begun, Failure> {
        let mut plan = {
            let now = opened.now();
            opened.guard().begin(permit, std::slice::from_ref(call), now)
        };
        if self.tasks.is_ending() {
            return Err(Failure::Ending);
        }
        let mut commit = opened.guard().intent(&mut plan, 0, opened.now());
        let undo = puts.iter().filter(|put| put.shelf == Shelf::Undo).map(|put| (put.shelf, put.id.clone())).collect();
        commit.puts.extend(puts);
        crate::fail::point("before-intent");
        let intent = opened.store.commit(commit).await?.seq;
        crate::fail::point("after-intent");
        if crate::fail::is_here("panic-after-intent") {
            let _ = self.panic("a failpoint");
        }
        let lease = opened.guard().lease(&mut plan, 0);
        match lease {
            Ok(lease) => Ok(Begun { plan, intent, lease }),
            Err(stopped) => {
                let mut commit =
                    opened.guard().outcome(&plan, intent, None, format!("not done: {stopped}"), opened.now());
                commit.deletes = undo;
                if let Err(error) = opened.store.commit(commit).await {
                    tracing::error!(%error, "that a change was not made could not be recorded");
                }
                Err(stopped.into())
            }
        }
    }
}

impl Opened {
    /// A permitted read: it waits for room in the record, not for the disk.
    pub(super) async fn begin_read(&self, permit: Permit, call: &Call) -> Result<Lease, Failure> {
        let (mut plan, commit) = {
            let now = self.now();
            let mut guard = self.guard();
            let mut plan = guard.begin(permit, std::slice::from_ref(call), now);
            let commit = guard.intent(&mut plan, 0, now);
            (plan, commit)
        };
        super::lock(&self.unsaved).extend(commit.charges);
        for record in commit.records {
            self.store.append_read(record).await?;
        }
        Ok(self.guard().lease(&mut plan, 0)?)
    }
}
