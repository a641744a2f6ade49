//! The control socket: how other programs of the same user read status and reduce authority. It never carries an approval.
//!
//! ```text
//!   latch, agents ── control.sock (0600, same user only) ──> Served? ──> answer(method, params, Peer)
//!                                                             │ no: refused here, before the runtime sees it
//! ```

pub mod peer;
pub mod tcp;
#[cfg(unix)]
pub mod unix;

use latch_ipc::contract::METHODS;
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::{AgentView, AudienceView, HoldView, ObjectView, RecentView, Summary};
use serde_json::Value;

pub use peer::Peer;
#[cfg(unix)]
pub use unix::{Control, ControlError};

/// The socket's name inside the home folder.
pub const SOCKET: &str = "control.sock";

/// The longest message that the socket accepts or that a caller must send, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Methods that widen, but that anybody may bring before the owner: the runtime answers them with [`ErrorCode::AskOwner`].
pub const ASKABLE: &[&str] = &["agent.connect", "grant.put", "undo.run", "phone.stop"];

/// Whether the socket passes a method on, and if not, why.
pub fn admit(method: &str) -> Result<(), RpcError> {
    match METHODS.iter().find(|(name, _)| *name == method) {
        Some((_, true)) => Ok(()),
        Some((name, false)) if ASKABLE.contains(name) => Ok(()),
        Some((name, false)) => Err(RpcError::new(
            ErrorCode::Forbidden,
            format!(
                "`{name}` is the owner's alone and no program may do it over the control socket. \
                 Do it in the Latchstring tray, or in the terminal where `latch serve` runs."
            ),
        )),
        None => Err(RpcError::new(
            ErrorCode::MethodNotFound,
            "This engine knows no such method. Compare the versions of the program and of the engine.",
        )),
    }
}

/// What leaves through the socket: status, never object text, and no agent's history.
#[must_use]
pub fn without_object_text(method: &str, result: Value) -> Value {
    match method {
        "hold.list" => rewrite(result, |holds: Vec<HoldView>| holds.into_iter().map(bare_hold).collect::<Vec<_>>()),
        "hold.get" => rewrite(result, bare_hold),
        "agent.list" => {
            rewrite(result, |agents: Vec<AgentView>| agents.into_iter().map(bare_agent).collect::<Vec<_>>())
        }
        _ => result,
    }
}

/// Fails closed: what does not parse does not leave.
fn rewrite<T: serde::de::DeserializeOwned, U: serde::Serialize>(result: Value, change: impl FnOnce(T) -> U) -> Value {
    serde_json::from_value(result).map(change).and_then(serde_json::to_value).unwrap_or(Value::Null)
}

fn bare_hold(hold: HoldView) -> HoldView {
    HoldView {
        digest: String::new(),
        objects: Vec::<ObjectView>::new(),
        summary: Summary::default(),
        facts: Vec::new(),
        audience: hold.audience.map(|_| AudienceView::default()),
        agent_reason: None,
        rules: Vec::new(),
        recent: RecentView::default(),
        program: Vec::new(),
        ..hold
    }
}

fn bare_agent(agent: AgentView) -> AgentView {
    AgentView { program: None, recent: RecentView::default(), ..agent }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn nothing_that_widens_is_admitted() {
        for widening in [
            "vault.unlock",
            "account.add",
            "account.remove",
            "ask.list",
            "ask.decide",
            "hold.decide",
            "resume",
            "outbox.list",
            "outbox.cancel",
            "quarantine.clear",
            "rules.put",
            "rules.get",
            "journal.tail",
            "journal.verify",
            "settings.set",
            "undo.list",
            "answer.list",
            "answer.forget",
        ] {
            let refused = admit(widening).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Forbidden as i32, "{widening}");
        }
    }

    #[test]
    fn every_method_is_either_reducing_or_askable_or_refused() {
        for (name, reduces) in METHODS {
            assert_eq!(admit(name).is_ok(), *reduces || ASKABLE.contains(name), "{name}");
        }
        assert_eq!(admit("no.such").unwrap_err().code, ErrorCode::MethodNotFound as i32);
    }

    #[test]
    fn holds_leave_without_subjects_senders_or_digest() {
        let hold = serde_json::json!([{
            "id": "h1", "digest": "d1gest", "agent": "mia", "agent_name": "Mia", "program": ["/usr/bin/mia"],
            "class": "remove", "account": "work", "verb": "Trash", "keep": "Keep them", "noun": ["message", "messages"],
            "count": 1, "objects": [{"id": "m1", "title": "SECRET SUBJECT", "from": "SECRET SENDER"}],
            "summary": {"senders": [{"sender": "SECRET SENDER", "count": 1}], "oldest": null, "newest": null,
                        "starred": 0, "unread": 0, "important": 0},
            "facts": [{"label": "Text", "value": "SECRET TEXT"}],
            "rules": [{"id": "r1", "text": "any mail from SECRET@x"}],
            "audience": {"members": [{"address": "SECRET@x", "role": "to", "first_time": true}]},
            "reversible": "yes", "undo_text": "Undo.", "agent_reason": "SECRET REASON", "why": "over its budget",
            "partial": true, "task_scope": true, "forever": false, "retype": false, "state": "open",
            "opened_at": "2026-11-22T08:00:00Z", "expires_at": "2026-11-22T08:10:00Z", "waiting": true,
            "recent": {"last_hour": [], "denied": 3}
        }]);
        let bare = without_object_text("hold.list", hold).to_string();
        assert!(bare.contains("\"count\":1") && bare.contains("h1"), "{bare}");
        for text in ["SECRET", "d1gest", "/usr/bin/mia", "m1"] {
            assert!(!bare.contains(text), "{text} in {bare}");
        }
        assert_eq!(without_object_text("hold.get", serde_json::json!({"id": "h1"})), Value::Null);
    }
}
