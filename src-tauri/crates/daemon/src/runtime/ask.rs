//! What arrives over the control socket and would widen: it waits for the owner, who is asked in their own window.

use std::collections::BTreeMap;
use std::sync::Arc;

use latch_core::grant::AuthorizationDetail;
use latch_core::time::{Span, Time};
use latch_ipc::contract::{AgentConnectParams, AskDecideParams, EventKind, GrantPutParams, UndoRunParams, Verdict};
use latch_ipc::phone::PhoneStopParams;
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_ipc::view::AskView;
use serde_json::{Value, json};

use super::accounts::check_id;
use super::owner_calls::{check_name, is_hidden};
use super::stop::locked;
use super::{Runtime, views};
use crate::control::Peer;

/// How long an ask waits.
const LIFE: Span = Span::minutes(10);
/// The longest question, in letters: a person must be able to read it.
const LONGEST: usize = 1000;
/// The most asks that wait at once.
const MAX_WAITING: usize = 20;

/// What waits for the owner besides holds.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    last: u64,
    waiting: BTreeMap<u64, Ask>,
}

#[derive(Debug, Clone)]
struct Ask {
    wanted: Wanted,
    text: String,
    program: Vec<String>,
    expires_at: Time,
}

#[derive(Debug, Clone)]
enum Wanted {
    Connect(AgentConnectParams),
    Access(GrantPutParams),
    Undo(UndoRunParams),
    Phone(PhoneStopParams),
}

impl Wanted {
    fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Access(_) => "access",
            Self::Undo(_) => "undo",
            Self::Phone(_) => "phone",
        }
    }

    /// All of what an Allow would do, in words: nothing is asked for that the person does not read.
    fn text(&self) -> Result<String, RpcError> {
        let bad = |why: String| RpcError::new(ErrorCode::InvalidParams, why);
        let text = match self {
            Self::Connect(params) => {
                check_id(&params.id)?;
                check_name(&params.name)?;
                let program = params.program.as_ref().map(|program| format!(", run by {program}")).unwrap_or_default();
                format!("A program wants to be connected as the agent \"{}\" ({}){program}.", params.name, params.id)
            }
            Self::Access(params) => {
                check_id(&params.agent)?;
                check_id(&params.account)?;
                let details = params.authorization_details.as_ref();
                let detail =
                    AuthorizationDetail::for_grant(&params.account, &params.preset, details, params.budgets.as_ref())
                        .map_err(|error| bad(error.to_string()))?;
                let end = params.expires_in.map(|seconds| format!(" For {seconds} seconds.")).unwrap_or_default();
                let GrantPutParams { agent, account, preset, .. } = params;
                format!("{agent} asks for {preset} access to {account}. {}{end}", detail.summary())
            }
            Self::Undo(UndoRunParams::Entry { entry }) => format!("A program asks to undo {entry}."),
            Self::Undo(UndoRunParams::Agent { agent, since }) => {
                format!("A program asks to undo what {agent} did in the last {since}.")
            }
            Self::Phone(PhoneStopParams { account, on }) => {
                check_id(account)?;
                match on {
                    true => format!(
                        "A program asks to switch the phone stop of {account} on: one mail is left in its inbox, and everything stops when it leaves the inbox."
                    ),
                    false => format!(
                        "A program asks to switch the phone stop of {account} OFF: moving the mail would stop nothing any more."
                    ),
                }
            }
        };
        if text.chars().any(is_hidden) || text.chars().count() > LONGEST {
            return Err(bad(format!(
                "the question has letters that can't be seen, or more than {LONGEST} letters: ask for less at once"
            )));
        }
        Ok(text)
    }
}

impl Runtime {
    /// Brings a request before the owner; whoever asked is only told that it waits.
    pub(crate) async fn ask(self: &Arc<Self>, method: &str, params: Value, peer: &Peer) -> Result<Value, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let bad = |error: serde_json::Error| RpcError::new(ErrorCode::InvalidParams, error.to_string());
        let wanted = match method {
            "agent.connect" => Wanted::Connect(serde_json::from_value(params).map_err(bad)?),
            "grant.put" => Wanted::Access(serde_json::from_value(params).map_err(bad)?),
            "undo.run" => Wanted::Undo(serde_json::from_value(params).map_err(bad)?),
            "phone.stop" => Wanted::Phone(serde_json::from_value(params).map_err(bad)?),
            _ => {
                let message = "only the person can do this, in the tray or the terminal where Latchstring runs";
                return Err(RpcError::new(ErrorCode::Forbidden, message));
            }
        };
        if self.is_unattended() {
            let message = "nobody is there to ask: start the tray, or `latch serve` in a terminal";
            return Err(RpcError::new(ErrorCode::Forbidden, message));
        }
        let text = wanted.text()?;
        let (id, fresh) = {
            let now = opened.clock.now();
            let mut asks = super::lock(&opened.asks);
            asks.waiting.retain(|_, ask| ask.expires_at > now);
            if let Some((number, _)) = asks.waiting.iter().find(|(_, ask)| ask.text == text) {
                (format!("a{number}"), false)
            } else if asks.waiting.len() >= MAX_WAITING {
                return Err(RpcError::new(ErrorCode::Forbidden, "too many questions wait for the person already"));
            } else {
                asks.last += 1;
                let number = asks.last;
                let ask = Ask { wanted, text: text.clone(), program: peer.describe(), expires_at: now + LIFE };
                asks.waiting.insert(number, ask);
                (format!("a{number}"), true)
            }
        };
        if fresh {
            let now = opened.now();
            opened.guard().handle_asked(&id, "", Some(now.time + LIFE), now);
            self.settle(opened);
        }
        self.tell(EventKind::AskOpened, Some(id.clone()), Some(text));
        let mut error = RpcError::new(ErrorCode::AskOwner, "the person was asked; nothing has changed yet");
        error.data = Some(json!({ "ask": id }));
        Err(error)
    }

    /// What waits.
    pub(crate) fn ask_list(&self) -> Result<Vec<AskView>, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let now = opened.now();
        let guard = opened.guard();
        let asks = super::lock(&opened.asks);
        Ok(asks
            .waiting
            .iter()
            .filter(|(_, ask)| ask.expires_at > now.time)
            .map(|(number, ask)| AskView {
                id: format!("a{number}"),
                kind: ask.wanted.kind().to_owned(),
                text: ask.text.clone(),
                program: ask.program.clone(),
                expires_at: views::wall(ask.expires_at, now),
                prompt: guard.may_come_up(&format!("a{number}"), now),
            })
            .collect())
    }

    /// The owner's answer: Allow does what was asked.
    pub(crate) async fn ask_decide(self: &Arc<Self>, params: AskDecideParams) -> Result<Value, RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let ask = {
            let number = params.id.strip_prefix('a').and_then(|number| number.parse::<u64>().ok());
            let mut asks = super::lock(&opened.asks);
            number.and_then(|number| asks.waiting.remove(&number))
        };
        opened.guard().handle_answered(&params.id, opened.now());
        self.settle(opened);
        let ask = ask
            .filter(|ask| ask.expires_at > opened.clock.now())
            .ok_or_else(|| RpcError::new(ErrorCode::NotFound, "this question does not wait any more"))?;
        if params.verdict == Verdict::Deny {
            return Ok(json!({}));
        }
        let written = |error: serde_json::Error| RpcError::new(ErrorCode::Internal, error.to_string());
        match ask.wanted {
            Wanted::Connect(connect) => serde_json::to_value(self.agent_connect(connect).await?).map_err(written),
            Wanted::Access(grant) => serde_json::to_value(self.grant_put(grant).await?).map_err(written),
            Wanted::Undo(undo) => serde_json::to_value(self.undo_run(undo).await?).map_err(written),
            Wanted::Phone(phone) => serde_json::to_value(self.phone_stop(phone).await?).map_err(written),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn access(more: Value) -> Result<String, RpcError> {
        let mut params = json!({ "agent": "claw", "account": "mail", "preset": "organize" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Wanted::Access(serde_json::from_value(params).unwrap()).text()
    }

    #[test]
    fn the_question_says_all_that_an_allow_would_give() {
        let text = access(json!({
            "authorization_details": [{ "named": ["gmail.users.settings.updateAutoForwarding"] }],
            "budgets": { "remove": [1000, 9000] },
            "expires_in": 60,
        }))
        .unwrap();
        for said in ["claw", "organize", "mail", "updateAutoForwarding", "remove 1000", "9000", "60 seconds"] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(access(json!({ "budgets": { "teleport": [1, 1] } })).is_err());
        assert!(access(json!({ "preset": "everything" })).is_err());
        assert!(access(json!({ "agent": "claw\nAllow this" })).is_err());
    }

    #[test]
    fn a_name_that_is_not_what_it_looks_like_is_not_asked_about() {
        let connect = |name: &str| {
            let params = json!({ "id": "claw", "name": name, "program": "/usr/bin/claw" });
            Wanted::Connect(serde_json::from_value(params).unwrap()).text()
        };
        assert!(connect("Claw").unwrap().contains("/usr/bin/claw"));
        for name in ["a\n\nAllow this", "\u{202e}kcart", &"x".repeat(60_000)] {
            assert!(connect(name).is_err());
        }
    }
}
