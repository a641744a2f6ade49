//! What an agent is told when its request does not run: what happened, whether asking again helps, and what would.

use http::{Response, StatusCode};
use latch_core::catalog::ErrorShape;
use latch_core::recipe::Answer;
use serde_json::{Map, Value, json};

use super::execute::Failure;
use super::read::ReadError;
use crate::door::http::{AnswerBody, BodyError};
use crate::upstream::{Fault, UpstreamError};

/// How long an agent should wait before it asks again for a held request, in seconds.
const RETRY_AFTER: u64 = 5;

/// The same after a read budget is used up: some of it comes back every few seconds.
const SPENT_RETRY: u64 = 60;

/// The shape of what is said before it is known whether the agent may know of an account: the same for every name.
pub(crate) const STRANGER: ErrorShape = ErrorShape::Google;

/// A refusal before it is written in the provider's error shape.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    shape: ErrorShape,
    status: u16,
    title: String,
    detail: String,
    extra: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(shape: ErrorShape, status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { shape, status, title: title.into(), detail: detail.into(), extra: Map::new() }
    }

    /// Adds a `Retry-After`, in seconds.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.extra.insert("retry_after".to_owned(), seconds.into());
        self
    }

    /// Adds members for programs.
    pub(crate) fn with(mut self, members: Value) -> Self {
        if let Value::Object(members) = members {
            self.extra.extend(members);
        }
        self
    }

    pub(crate) fn into_response(self) -> Response<AnswerBody> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        crate::door::http::problem(self.shape, status, &self.title, &self.detail, Value::Object(self.extra))
    }

    /// The same as bytes, for an answer that joiners share.
    pub(crate) fn into_answer(self) -> Answer {
        let (head, body) = self.into_response().into_parts();
        let headers = head
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .filter(|(name, _)| name != "content-length")
            .collect();
        Answer { status: head.status.as_u16(), headers, body: body.as_whole().cloned().unwrap_or_default() }
    }
}

pub(super) fn body(shape: ErrorShape, error: &BodyError) -> Problem {
    let (status, title) = match error {
        BodyError::TooLarge { .. } => (413, "Too large"),
        BodyError::Crowded | BodyError::Spool(_) => (503, "Too much at once"),
        BodyError::Slow => (408, "Too slow"),
        BodyError::Broken => (400, "Broken off"),
    };
    let problem = Problem::new(shape, status, title, format!("{error}. Nothing was done."));
    if status == 503 { problem.retry_after(RETRY_AFTER) } else { problem }
}

/// It names a message that is none of the agent's: in the same words as one that is not there.
pub(super) fn no_such_message(shape: ErrorShape) -> Problem {
    Problem::new(shape, 404, "Not found", "There is no such message. Nothing was done.")
}

/// There is no room to keep another request for the person.
pub(super) fn crowded(shape: ErrorShape, own: bool) -> Problem {
    let (status, detail) = if own {
        (
            429,
            "What this agent asks for must wait for the person, and what it has waiting already takes all its room. Nothing was done. Wait until the person has decided, then ask again.",
        )
    } else {
        (
            503,
            "This must wait for the person, and what all agents have waiting takes all the room there is. Nothing was done. Ask again when the person has decided some of it.",
        )
    };
    Problem::new(shape, status, "Too much is waiting", detail).retry_after(SPENT_RETRY)
}

pub(super) fn vault_locked() -> Problem {
    Problem::new(
        ErrorShape::Plain,
        503,
        "Locked",
        "Latchstring's vault is locked: the person must unlock it first. Nothing was done.",
    )
}

pub(super) fn refused(shape: ErrorShape, refusal: &latch_core::classify::Refusal) -> Problem {
    Problem::new(shape, refusal.status, refusal.title.clone(), refusal.detail.clone())
}

pub(super) fn stopped(shape: ErrorShape) -> Problem {
    Problem::new(
        shape,
        403,
        "Stopped",
        "The person stopped all agents. Nothing was done, and asking again won't help until they resume this agent.",
    )
    .with(json!({ "latchstring": { "decision": "stopped" } }))
}

pub(super) fn unrecorded(shape: ErrorShape, why: &str) -> Problem {
    Problem::new(shape, 503, "Could not be recorded", format!("It could not be recorded, so it was not done: {why}"))
}

pub(super) fn unreadable(shape: ErrorShape, error: &ReadError) -> Problem {
    match error {
        ReadError::Stopped => stopped(shape),
        ReadError::Paused { seconds } => paused(shape, *seconds),
        ReadError::Spent { limit, window } => Problem::new(
            shape,
            429,
            "Read budget used up",
            format!(
                "What is inside must be read first, and this agent may read {limit} objects in {window}. Nothing was done. Name the single objects instead, or try again later."
            ),
        )
        .retry_after(SPENT_RETRY),
        ReadError::Upstream(error) => upstream(shape, error),
        ReadError::Status(status) => Problem::new(
            shape,
            *status,
            "The provider refused",
            format!("The provider answered {status} when Latchstring read what this is about. Nothing was done."),
        ),
        ReadError::Answer(why) => Problem::new(shape, 502, "Could not be read", format!("Nothing was done: {why}.")),
    }
}

pub(super) fn failed(shape: ErrorShape, failure: &Failure) -> Problem {
    match failure {
        Failure::Stopped => stopped(shape),
        Failure::Aside(error) => {
            let detail = format!("It was put aside and could not be read again, so nothing was done: {error}.");
            Problem::new(shape, 503, "Could not be read again", detail)
        }
        Failure::Ending => Problem::new(shape, 503, "Ending", "Latchstring is ending, so this was not begun."),
        Failure::Store(error) => unrecorded(shape, &error.to_string()),
        Failure::Afterwards(_) => outcome_unknown(shape),
        Failure::Snapshot(error) => unreadable(shape, error),
        Failure::Changed(what) => {
            let detail = format!("{what}. Nothing was done. This is not a denial: read it again, then decide again.");
            Problem::new(shape, 412, "Changed in between", detail)
        }
        Failure::InUse(_) => Problem::new(shape, 503, "In use", failure.to_string()),
        Failure::Quarantine(_) => Problem::new(shape, 507, "No copy could be kept", failure.to_string()),
        Failure::Upstream(error) => upstream(shape, error),
        Failure::NotDivisible => Problem::new(shape, 409, "Not in part", failure.to_string()),
    }
}

/// Upstream trouble is said as such, never as a denial.
pub(super) fn upstream(shape: ErrorShape, error: &UpstreamError) -> Problem {
    let status = match &error.fault {
        Fault::Stopped => return stopped(shape),
        Fault::Timeout { .. } => 504,
        Fault::AgentBody(_) => 400,
        Fault::NotPermitted | Fault::Unsendable(_) => 500,
        Fault::Unreachable { .. }
        | Fault::Tls { .. }
        | Fault::Lost { .. }
        | Fault::Malformed { .. }
        | Fault::TooLarge { .. }
        | Fault::Refresh(_)
        | Fault::SignIn { .. }
        | Fault::Busy { .. }
        | Fault::NoLogin { .. }
        | Fault::Changed { .. }
        | Fault::NotOpened { .. }
        | Fault::NotThere { .. } => 502,
    };
    let outcome = if error.sent { "Whether it took effect is unknown" } else { "Nothing was done" };
    Problem::new(shape, status, "The provider could not be asked", format!("{error}. {outcome}. This is not a denial."))
}

pub(super) fn paused(shape: ErrorShape, seconds: u64) -> Problem {
    Problem::new(
        shape,
        429,
        "Paused",
        "The person denied several requests in a row, or too many are waiting. Nothing that needs their consent is accepted for now; what is within the budget still is, if it names its objects one by one.",
    )
    .retry_after(seconds)
}

pub(super) fn waiting(shape: ErrorShape, id: &str) -> Problem {
    Problem::new(
        shape,
        429,
        "Waiting for the person",
        "This waits for the person to decide. Ask for exactly the same again later: it joins the same question. It has not been denied.",
    )
    .retry_after(RETRY_AFTER)
    .with(hold_json(id, "waiting"))
}

pub(super) fn denied(shape: ErrorShape, id: &str) -> Problem {
    Problem::new(
        shape,
        403,
        "Denied by the person",
        "The person said no. Nothing was done, and asking for the same again won't help. Ask the person what they would like instead, or work on fewer objects within the budget.",
    )
    .with(hold_json(id, "denied"))
}

pub(super) fn expired(shape: ErrorShape, id: &str) -> Problem {
    Problem::new(
        shape,
        403,
        "Nobody answered in time",
        "The person did not answer in time. Nothing was done. This is not a denial: ask again when they are there.",
    )
    .with(hold_json(id, "expired"))
}

pub(super) fn outcome_unknown(shape: ErrorShape) -> Problem {
    Problem::new(
        shape,
        502,
        "Outcome unknown",
        "It was allowed and started, but how it ended is not known. Look at the mailbox before you do anything else.",
    )
}

fn hold_json(id: &str, decision: &str) -> Value {
    json!({ "latchstring": { "hold": id, "decision": decision } })
}
