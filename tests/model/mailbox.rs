//! The upstream of the model: messages with labels, and the requests that agents make of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{HeaderMap, Method};
use latch_core::call::{Call, CallBody};
use latch_core::catalog::{Catalog, Provider};
use latch_core::classify::http::{Head, route};
use latch_core::operation::{Class, Request};
use serde_json::{Value, json};

/// A person who had mail before.
pub const KNOWN: &str = "ann@example.org";
/// And one who had none.
pub const STRANGER: &str = "eve@example.org";

/// How many messages each mailbox has.
pub const MESSAGES: u8 = 24;

/// Labels by message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox(pub BTreeMap<String, BTreeSet<String>>);

impl Mailbox {
    /// Everything unread in the inbox.
    pub fn new() -> Self {
        let labels = || ["INBOX", "UNREAD"].map(str::to_owned).into();
        Self((0..MESSAGES).map(|id| (message(id), labels())).collect())
    }

    /// Answers a call; `None` for what only leaves a trace in the log.
    pub fn answer(&mut self, call: &Call) -> Option<Value> {
        let path = call.target.split('?').next()?.strip_prefix("/gmail/v1/users/me/messages/")?;
        let CallBody::Bytes(body) = &call.body else { return None };
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let words = |field: &str| -> Vec<String> {
            body[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (ids, added, removed) = match path.split_once('/') {
            None if path == "batchModify" => (words("ids"), words("addLabelIds"), words("removeLabelIds")),
            None if path == "batchDelete" => {
                words("ids").iter().for_each(|id| drop(self.0.remove(id)));
                return None;
            }
            None if call.method == Method::GET => {
                let labels = self.0.get(path)?;
                return Some(json!({ "id": path, "labelIds": labels }));
            }
            Some((id, "trash")) => (vec![id.to_owned()], vec!["TRASH".to_owned()], Vec::new()),
            Some((id, "modify")) => (vec![id.to_owned()], words("addLabelIds"), words("removeLabelIds")),
            _ => return None,
        };
        for id in &ids {
            let Some(labels) = self.0.get_mut(id) else { continue };
            labels.extend(added.iter().cloned());
            if added.iter().any(|label| label == "TRASH") {
                labels.remove("INBOX");
            }
            labels.retain(|label| !removed.contains(label));
        }
        Some(json!({}))
    }

    /// The messages that differ from `before`.
    pub fn changed(&self, before: &Self) -> BTreeSet<String> {
        let all: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        all.into_iter().filter(|id| self.0.get(*id) != before.0.get(*id)).cloned().collect()
    }
}

/// A message's id.
pub fn message(number: u8) -> String {
    format!("m{}", number % MESSAGES)
}

/// The shipped Gmail.
pub fn gmail() -> Provider {
    Catalog::shipped().unwrap().provider("gmail").unwrap().clone()
}

/// What agents ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Read,
    Star,
    Archive,
    Trash,
    TrashEach,
    Delete,
    SendKnown,
    SendNew,
    Filter,
    Unknown,
    Other(Class),
}

/// Every wish. Gmail neither publishes, shares nor costs money; such operations are made from its unknown ones.
pub const WISHES: [Wish; 13] = [
    Wish::Read,
    Wish::Star,
    Wish::Archive,
    Wish::Trash,
    Wish::TrashEach,
    Wish::Delete,
    Wish::SendKnown,
    Wish::SendNew,
    Wish::Filter,
    Wish::Unknown,
    Wish::Other(Class::Publish),
    Wish::Other(Class::Share),
    Wish::Other(Class::Spend),
];

/// The request as the door decodes it.
pub fn request(gmail: &Provider, wish: Wish, ids: &[String]) -> Request {
    let one = |method: Method, target: &str, body: Value| -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let routed = route(gmail, Head { method: &method, target, headers: &headers, mount: "/work" }).unwrap();
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        routed.classify(&body).unwrap()
    };
    let change = |added: &[&str], removed: &[&str]| {
        let body = json!({ "ids": ids, "addLabelIds": added, "removeLabelIds": removed });
        one(Method::POST, "/gmail/v1/users/me/messages/batchModify", body)
    };
    let mail = |to: &str| {
        use base64::Engine as _;
        let raw = base64::engine::general_purpose::URL_SAFE
            .encode(format!("To: {to}\r\nSubject: {}\r\n\r\nHi\r\n", ids.join(" ")));
        one(Method::POST, "/gmail/v1/users/me/messages/send", json!({ "raw": raw }))
    };
    match wish {
        Wish::Read => one(Method::GET, &format!("/gmail/v1/users/me/messages/{}", ids[0]), Value::Null),
        Wish::Star => change(&["STARRED"], &[]),
        Wish::Archive => change(&[], &["INBOX"]),
        Wish::Trash => change(&["TRASH"], &[]),
        Wish::TrashEach => {
            let each =
                ids.iter().map(|id| one(Method::POST, &format!("/gmail/v1/users/me/messages/{id}/trash"), Value::Null));
            Request { parts: each.flat_map(|request| request.parts).collect(), batch: true }
        }
        Wish::Delete => one(Method::POST, "/gmail/v1/users/me/messages/batchDelete", json!({ "ids": ids })),
        Wish::SendKnown => mail(KNOWN),
        Wish::SendNew => mail(STRANGER),
        Wish::Filter => one(
            Method::POST,
            "/gmail/v1/users/me/settings/filters",
            json!({ "criteria": { "query": ids.join(" ") }, "action": {} }),
        ),
        Wish::Unknown => one(Method::POST, "/gmail/v1/users/me/teleport", json!({ "ids": ids })),
        Wish::Other(class) => {
            let mut request = one(Method::POST, "/gmail/v1/users/me/teleport", json!({ "ids": ids }));
            for part in &mut request.parts {
                part.operation.class = class;
                part.operation.action = format!("made.{}", class.name());
                part.operation.opaque = false;
            }
            request
        }
    }
}
