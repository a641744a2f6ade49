//! Nobody is there: every hold and every ask is denied at once.

use latch_ipc::Client;
use latch_ipc::contract::{AskDecide, AskDecideParams, Event, EventKind, HoldDeny, Id, Verdict};
use tokio::sync::mpsc::UnboundedReceiver;

/// Answers for nobody until the channel closes.
pub async fn run(client: Client, mut events: UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        let Some(id) = event.id else { continue };
        match event.kind {
            EventKind::HoldOpened | EventKind::HoldChanged => {
                let _ = client.call(HoldDeny, Id { id }).await;
            }
            EventKind::AskOpened => {
                let _ = client.call(AskDecide, AskDecideParams { id, verdict: Verdict::Deny }).await;
            }
            EventKind::HoldClosed
            | EventKind::Panic
            | EventKind::Resumed
            | EventKind::AccountFailing
            | EventKind::VaultOpened
            | EventKind::OutboxChanged
            | EventKind::PhoneChanged
            | EventKind::AgentPaused
            | EventKind::Told => {}
        }
    }
}
