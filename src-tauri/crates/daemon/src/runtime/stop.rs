//! Panic and resume from the runtime's side (I3): gate, connections, guard, disk, in this order.

use latch_core::grant::Preset;
use latch_core::journal::Put;
use latch_ipc::contract::{EventKind, PanicResult, ResumeParams};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::CutView;

use super::Runtime;

impl Runtime {
    /// Stops everything. Idempotent. When it returns, the stop is durable.
    pub fn panic(&self, why: &str) -> Result<PanicResult, RpcError> {
        self.panic_with(why, Vec::new())
    }

    /// The same, and these documents become durable with it.
    pub(super) fn panic_with(&self, why: &str, puts: Vec<Put>) -> Result<PanicResult, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        opened.gate.raise();
        let connections = self.connections.cut_all();
        let now = opened.now();
        let (epoch, cut, mut commit) = opened.guard().handle_panic(why, now);
        commit.puts.extend(puts);
        super::lock(&opened.answers).clear();
        let durable = opened.store.commit_blocking(commit);
        let _ = self.vault.note_anchor(&super::open::anchor(opened, epoch, true));
        self.settle(opened);
        self.tell(EventKind::Panic, None, Some(why.to_owned()));
        durable.map_err(|error| {
            RpcError::new(
                ErrorCode::Storage,
                format!("everything is stopped, but the stop could not be written to the disk: {error}"),
            )
        })?;
        Ok(PanicResult { epoch: epoch.0, cut: CutView { connections, tokens: cut.tokens, holds: cut.holds } })
    }

    /// Lets one agent, or all, go on.
    pub async fn resume(&self, params: ResumeParams) -> Result<(), RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let preset = match params.preset.as_deref() {
            None => Preset::ReadOnly,
            Some(name) => {
                Preset::parse(name).map_err(|error| RpcError::new(ErrorCode::InvalidParams, error.to_string()))?
            }
        };
        let commit = {
            let mut guard = opened.guard();
            if let Some(agent) = &params.agent
                && guard.agent(agent).is_none()
            {
                return Err(RpcError::new(ErrorCode::NotFound, "no agent with this id is connected"));
            }
            guard.resume(params.agent.as_deref(), preset, opened.now())
        };
        opened.store.commit(commit).await.map_err(|error| storage(&error))?;
        self.settle(opened);
        self.tell(EventKind::Resumed, params.agent, None);
        Ok(())
    }
}

pub(crate) fn locked() -> RpcError {
    RpcError::new(ErrorCode::Vault, "the vault is locked: unlock it first")
}

pub(crate) fn storage(error: &crate::store::StoreError) -> RpcError {
    RpcError::new(ErrorCode::Storage, format!("it could not be recorded, so it was not done: {error}"))
}
