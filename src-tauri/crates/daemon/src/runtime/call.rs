//! Every method of the contract, for the owner channel and the control socket.

use std::sync::Arc;

use latch_core::guard::BY_CONTROL;
use latch_ipc::contract::{self as c, Method};
use latch_ipc::rpc::{ErrorCode, RpcError};
use serde_json::Value;

use super::Runtime;
use crate::control::Peer;

/// Who calls.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The inherited pipe, or the person at the terminal.
    Owner,
    /// A process of the same user, over the control socket: may read status and reduce.
    Control(Peer),
}

impl Origin {
    fn is_owner(&self) -> bool {
        matches!(self, Self::Owner)
    }
}

impl crate::confirm::owner::Inside for Runtime {
    fn events(&self) -> tokio::sync::broadcast::Receiver<c::Event> {
        Self::events(self)
    }

    async fn call(self: Arc<Self>, method: &str, params: Value) -> Result<Value, RpcError> {
        self.call_apart(method, params, Origin::Owner).await
    }
}

impl Runtime {
    /// [`Runtime::call`] in a task of its own: a caller who leaves does not cut an undo in half.
    pub(super) async fn call_apart(
        self: &Arc<Self>,
        method: &str,
        params: Value,
        origin: Origin,
    ) -> Result<Value, RpcError> {
        let (runtime, method) = (Arc::clone(self), method.to_owned());
        let called = self.tasks.spawn(async move { Self::call(&runtime, &method, params, origin).await });
        called.await.unwrap_or_else(|_| Err(RpcError::new(ErrorCode::Internal, "the call did not end in order")))
    }

    /// Answers one call. Over the control socket only what reduces is answered; what would widen becomes an ask to the owner or is refused.
    pub async fn call(self: &Arc<Self>, method: &str, params: Value, origin: Origin) -> Result<Value, RpcError> {
        let known = c::METHODS.iter().find(|(name, _)| *name == method);
        let Some((_, reduces)) = known else {
            return Err(RpcError::new(ErrorCode::MethodNotFound, format!("there is no method {method}")));
        };
        if let Origin::Control(peer) = &origin
            && !reduces
        {
            return self.ask(method, params, peer).await;
        }
        let params = if params.is_null() { Value::Object(serde_json::Map::new()) } else { params };
        match method {
            c::HelloCall::NAME => reply::<c::HelloCall>(self.hello(parse::<c::HelloCall>(params)?)),
            c::StatusCall::NAME => reply::<c::StatusCall>(Ok(self.status())),
            c::VaultUnlock::NAME => reply::<c::VaultUnlock>(self.unlock(parse::<c::VaultUnlock>(params)?).await),
            c::AccountAdd::NAME => reply::<c::AccountAdd>(self.account_add(parse::<c::AccountAdd>(params)?).await),
            c::AccountDiscover::NAME => {
                reply::<c::AccountDiscover>(self.account_discover(parse::<c::AccountDiscover>(params)?).await)
            }
            c::AccountList::NAME => reply::<c::AccountList>(self.account_list()),
            c::AccountRemove::NAME => {
                reply::<c::AccountRemove>(self.account_remove(parse::<c::AccountRemove>(params)?).await)
            }
            c::AccountSignOut::NAME => {
                reply::<c::AccountSignOut>(self.account_sign_out(parse::<c::AccountSignOut>(params)?).await)
            }
            c::PhoneStop::NAME => reply::<c::PhoneStop>(self.phone_stop(parse::<c::PhoneStop>(params)?).await),
            c::AgentConnect::NAME => {
                reply::<c::AgentConnect>(self.agent_connect(parse::<c::AgentConnect>(params)?).await)
            }
            c::AgentList::NAME => reply::<c::AgentList>(self.agent_list()),
            c::AgentRevoke::NAME => reply::<c::AgentRevoke>(self.agent_revoke(parse::<c::AgentRevoke>(params)?).await),
            c::AskList::NAME => reply::<c::AskList>(self.ask_list()),
            c::AskDecide::NAME => reply::<c::AskDecide>(self.ask_decide(parse::<c::AskDecide>(params)?).await),
            c::GrantPut::NAME => reply::<c::GrantPut>(self.grant_put(parse::<c::GrantPut>(params)?).await),
            c::GrantRevoke::NAME => reply::<c::GrantRevoke>(self.grant_revoke(parse::<c::GrantRevoke>(params)?).await),
            c::TokenIssue::NAME => {
                reply::<c::TokenIssue>(self.token_issue(parse::<c::TokenIssue>(params)?, &origin).await)
            }
            c::TokenRevoke::NAME => reply::<c::TokenRevoke>(self.token_revoke(parse::<c::TokenRevoke>(params)?).await),
            c::HoldList::NAME => reply::<c::HoldList>(self.hold_list()),
            c::HoldGet::NAME => reply::<c::HoldGet>(self.hold_get(&parse::<c::HoldGet>(params)?)),
            c::HoldDecide::NAME => reply::<c::HoldDecide>(self.hold_decide(parse::<c::HoldDecide>(params)?).await),
            c::HoldDeny::NAME => {
                let by = if origin.is_owner() { "dialog" } else { BY_CONTROL };
                reply::<c::HoldDeny>(self.hold_deny(&parse::<c::HoldDeny>(params)?.id, by).await)
            }
            c::HoldTouch::NAME => reply::<c::HoldTouch>(self.hold_touch(&parse::<c::HoldTouch>(params)?.id)),
            c::AnswerList::NAME => reply::<c::AnswerList>(self.answer_list()),
            c::AnswerForget::NAME => {
                reply::<c::AnswerForget>(self.answer_forget(parse::<c::AnswerForget>(params)?).await)
            }
            c::UndoList::NAME => reply::<c::UndoList>(self.undo_list(&parse::<c::UndoList>(params)?).await),
            c::UndoRun::NAME => reply::<c::UndoRun>(self.undo_run(parse::<c::UndoRun>(params)?).await),
            c::PanicCall::NAME => {
                let why = if origin.is_owner() { "stopped by the person" } else { "stopped over the control socket" };
                let runtime = Arc::clone(self);
                let stopped = tokio::task::spawn_blocking(move || runtime.panic(why)).await;
                reply::<c::PanicCall>(stopped.unwrap_or_else(|_| {
                    Err(RpcError::new(ErrorCode::Internal, "the stop did not end in order; the gate is closed"))
                }))
            }
            c::Resume::NAME => reply::<c::Resume>(self.resume(parse::<c::Resume>(params)?).await.map(|()| c::Empty {})),
            c::OutboxList::NAME => reply::<c::OutboxList>(self.outbox_list()),
            c::OutboxCancel::NAME => {
                reply::<c::OutboxCancel>(self.outbox_cancel(parse::<c::OutboxCancel>(params)?).await)
            }
            c::QuarantineList::NAME => reply::<c::QuarantineList>(self.quarantine_list().await),
            c::QuarantineClear::NAME => reply::<c::QuarantineClear>(self.quarantine_clear().await),
            c::RulesGet::NAME => reply::<c::RulesGet>(self.rules_get()),
            c::RulesPut::NAME => reply::<c::RulesPut>(self.rules_put(parse::<c::RulesPut>(params)?).await),
            c::JournalTail::NAME => reply::<c::JournalTail>(self.journal_tail(parse::<c::JournalTail>(params)?).await),
            c::JournalOwn::NAME => {
                reply::<c::JournalOwn>(self.journal_own(parse::<c::JournalOwn>(params)?, &origin).await)
            }
            c::JournalVerify::NAME => reply::<c::JournalVerify>(self.journal_verify().await),
            c::SettingsGet::NAME => reply::<c::SettingsGet>(Ok(self.settings())),
            c::SettingsSet::NAME => reply::<c::SettingsSet>(self.settings_set(params).await),
            _ => Err(RpcError::new(ErrorCode::MethodNotFound, format!("there is no method {method}"))),
        }
    }
}

fn parse<M: Method>(params: Value) -> Result<M::Params, RpcError> {
    serde_json::from_value(params)
        .map_err(|error| RpcError::new(ErrorCode::InvalidParams, format!("{}: {}", M::NAME, shape(&error))))
}

/// A parse error's text may quote the value, and the value may be a credential.
fn shape(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once("invalid ") {
        Some((_, rest)) if rest.starts_with("type") || rest.starts_with("value") => {
            match rest.split_once("expected ") {
                Some((_, expected)) => format!("a parameter does not fit, expected {expected}"),
                None => "a parameter does not fit".to_owned(),
            }
        }
        _ => text,
    }
}

fn reply<M: Method>(result: Result<M::Result, RpcError>) -> Result<Value, RpcError> {
    serde_json::to_value(result?)
        .map_err(|_| RpcError::new(ErrorCode::Internal, format!("{}'s result could not be written", M::NAME)))
}
