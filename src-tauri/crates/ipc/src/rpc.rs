//! The JSON-RPC 2.0 envelope (<https://www.jsonrpc.org/specification>).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A call, or a notification when `id` is absent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Always `"2.0"`.
    pub jsonrpc: Version,
    /// Chosen by the caller and repeated in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// A name from [`crate::contract`].
    pub method: String,
    /// By-name parameters.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
}

/// The answer to a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// Always `"2.0"`.
    pub jsonrpc: Version,
    /// The call's id; `None` when the call could not be read.
    pub id: Option<u64>,
    /// What the call returned, or why it did not.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Exactly one of `result` and `error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The method's result.
    Result(Value),
    /// Who is to blame and what to do next.
    Error(RpcError),
}

/// Any message that may stand on a line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// An answer; tried first, because a call has no `result` or `error`.
    Response(Response),
    /// A call or a notification.
    Request(Request),
}

/// The literal `"2.0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// JSON-RPC 2.0.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

/// A JSON-RPC error object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// One of [`ErrorCode`]'s numbers.
    pub code: i32,
    /// One plain sentence: what happened and what to do next. Never a credential.
    pub message: String,
    /// Details for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Errors sorted by who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum ErrorCode {
    /// The line is not JSON.
    Parse = -32700,
    /// Not a JSON-RPC 2.0 call.
    InvalidRequest = -32600,
    /// No such method here.
    MethodNotFound = -32601,
    /// The parameters do not fit the method.
    InvalidParams = -32602,
    /// Our own fault.
    Internal = -32603,
    /// The policy, or the channel, does not allow it.
    Forbidden = 1,
    /// What was named does not exist (any more).
    NotFound = 2,
    /// It contradicts the present state (already decided, id taken, digest changed).
    Conflict = 3,
    /// Latchstring is panicked: resume first.
    Panicked = 4,
    /// The vault is locked or out of reach.
    Vault = 5,
    /// The disk or the database failed; nothing was executed.
    Storage = 6,
    /// The upstream failed.
    Upstream = 7,
    /// The owner was asked; the answer comes later.
    AskOwner = 8,
}

impl RpcError {
    /// An error with a plain sentence.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code as i32, message: message.into(), data: None }
    }
}
