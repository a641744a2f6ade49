//! The mail whose leaving the inbox stops everything, where the mailbox is an API ([`crate::phone`]).

use bytes::Bytes;
use serde_json::{Map, Value};

use super::place;
use crate::call::{Call, CallBody};
use crate::catalog::Provider;
use crate::catalog::file::Stop;
use crate::classify::mail;
use crate::classify::normalise::{encode, plain_id};
use crate::phone::{Anchor, Look};
use crate::time::Span;

/// How often to look; `None` where the provider has no way.
#[must_use]
pub fn interval(provider: &Provider) -> Option<Span> {
    provider.file.stop.as_ref().map(|stop| Span::seconds(u64::from(stop.poll_seconds)))
}

/// Stores the mail.
#[must_use]
pub fn leave(provider: &Provider, raw: &str) -> Option<Call> {
    let stop = provider.file.stop.as_ref()?;
    let mut body = if stop.with.is_object() { stop.with.clone() } else { Value::Object(Map::new()) };
    place(&mut body, &stop.mail, Value::String(mail::to_base64(raw.as_bytes())));
    Some(Call {
        method: stop.leave.method.clone(),
        target: target(provider, stop, &stop.leave.path, "")?,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: CallBody::Bytes(Bytes::from(serde_json::to_vec(&body).ok()?)),
    })
}

/// Which mail was stored, by the answer.
#[must_use]
pub fn left(provider: &Provider, answer: &Value) -> Option<Anchor> {
    anchor(provider.file.stop.as_ref()?, answer)
}

/// Looks at the mail.
#[must_use]
pub fn look(provider: &Provider, id: &str) -> Option<Call> {
    let stop = provider.file.stop.as_ref()?;
    Some(Call::get(target(provider, stop, &stop.look, id)?))
}

/// What the answer shows (`None` in: there is no such mail any more); `None`: it is no answer about a mail.
#[must_use]
pub fn seen(provider: &Provider, answer: Option<&Value>) -> Option<Look> {
    let stop = provider.file.stop.as_ref()?;
    let Some(answer) = answer else { return Some(Look::Left) };
    // A mail without any label is an archived one: Gmail leaves the field out. An answer that is not about a mail at all says nothing.
    anchor(stop, answer)?;
    let labels = answer.pointer(&stop.labels).and_then(Value::as_array);
    let has = |name: &str| labels.is_some_and(|labels| labels.iter().any(|label| label.as_str() == Some(name)));
    let there = has(&stop.inbox) && !stop.never.iter().any(|label| has(label));
    Some(if there { Look::There } else { Look::Left })
}

/// Takes the mail away.
#[must_use]
pub fn remove(provider: &Provider, id: &str) -> Option<Call> {
    let stop = provider.file.stop.as_ref()?;
    Some(Call {
        method: stop.remove.method.clone(),
        target: target(provider, stop, &stop.remove.path, id)?,
        headers: Vec::new(),
        body: CallBody::Bytes(Bytes::new()),
    })
}

/// Lists the mails in the inbox that have this Message-ID.
#[must_use]
pub fn find(provider: &Provider, name: &str) -> Option<Call> {
    let stop = provider.file.stop.as_ref()?;
    let path = stop.find.replace("{name}", &encode(name));
    Some(Call::get(target(provider, stop, &path, "")?))
}

/// Which mails those are.
#[must_use]
pub fn found(provider: &Provider, answer: &Value) -> Vec<Anchor> {
    let Some(stop) = provider.file.stop.as_ref() else { return Vec::new() };
    let entries = answer.pointer(&stop.list).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| anchor(stop, entry)).collect()
}

/// Takes the mail, and its thread, out of every list in an answer. True if it stood in one.
pub fn hide(answer: &mut Value, hidden: &Anchor) -> bool {
    match answer {
        Value::Array(entries) => {
            let before = entries.len();
            entries.retain(|entry| !is_about(entry, hidden));
            let hid = entries.len() != before;
            entries.iter_mut().fold(hid, |hid, entry| hide(entry, hidden) | hid)
        }
        Value::Object(fields) => fields.iter_mut().fold(false, |hid, (_, field)| hide(field, hidden) | hid),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_about(entry: &Value, hidden: &Anchor) -> bool {
    ["/id", "/threadId", "/message/id"].iter().any(|at| {
        let named = entry.pointer(at).and_then(Value::as_str);
        named.is_some_and(|named| hidden.is(named))
    })
}

fn anchor(stop: &Stop, answer: &Value) -> Option<Anchor> {
    let at = |pointer: &str| answer.pointer(pointer)?.as_str().filter(|id| plain_id(id)).map(str::to_owned);
    Some(Anchor::Api { id: at(&stop.id)?, thread: stop.thread.as_deref().and_then(at) })
}

fn target(provider: &Provider, stop: &Stop, path: &str, object: &str) -> Option<String> {
    let params: Vec<(String, String)> = stop.params.clone().into_iter().collect();
    provider.target(path, &params, object)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::catalog::Catalog;

    fn only_looks(call: &Call) -> bool {
        call.method == http::Method::GET
    }

    fn mine() -> Anchor {
        Anchor::Api { id: "m9".to_owned(), thread: Some("t9".to_owned()) }
    }

    #[test]
    fn gmail_has_a_way() {
        let catalog = Catalog::shipped().unwrap();
        let gmail = catalog.provider("gmail").unwrap();
        let leave = leave(gmail, "Subject: x\r\n\r\ny").unwrap();
        assert_eq!((leave.method.as_str(), leave.target.as_str()), ("POST", "/gmail/v1/users/me/messages"));
        let CallBody::Bytes(body) = &leave.body else { unreachable!() };
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["labelIds"], json!(["INBOX", "STARRED"]));
        assert!(body["raw"].is_string());
        assert_eq!(left(gmail, &json!({"id": "m9", "threadId": "t9"})), Some(mine()));
        let look = look(gmail, "m9").unwrap();
        assert!(only_looks(&look));
        assert_eq!(look.target, "/gmail/v1/users/me/messages/m9?format=minimal");
        assert_eq!(remove(gmail, "m9").unwrap().target, "/gmail/v1/users/me/messages/m9/trash");
        let find = find(gmail, "stop.5ec2e7@latchstring.invalid").unwrap();
        assert!(only_looks(&find) && find.target.contains("rfc822msgid%3Astop.5ec2e7"), "{}", find.target);
        assert_eq!(found(gmail, &json!({"messages": [{"id": "m9", "threadId": "t9"}]})), [mine()]);
        assert_eq!(found(gmail, &json!({"resultSizeEstimate": 0})), []);
    }

    #[test]
    fn every_way_out_of_the_inbox_is_seen() {
        let catalog = Catalog::shipped().unwrap();
        let gmail = catalog.provider("gmail").unwrap();
        let seen = |labels: Value| seen(gmail, Some(&json!({"id": "m9", "labelIds": labels})));
        assert_eq!(seen(json!(["INBOX", "STARRED"])), Some(Look::There));
        assert_eq!(seen(json!(["INBOX"])), Some(Look::There));
        for out in
            [json!(["STARRED"]), json!(["TRASH"]), json!(["INBOX", "TRASH"]), json!(["SPAM"]), json!([]), json!(null)]
        {
            assert_eq!(seen(out.clone()), Some(Look::Left), "{out}");
        }
        assert_eq!(super::seen(gmail, Some(&json!({"id": "m9"}))), Some(Look::Left));
        assert_eq!(super::seen(gmail, None), Some(Look::Left));
        assert_eq!(super::seen(gmail, Some(&json!({"error": "?"}))), None, "no mail: nothing is known");
    }

    #[test]
    fn lists_leave_it_out_wherever_it_stands() {
        let mut list = json!({
            "messages": [{"id": "m1", "threadId": "t1"}, {"id": "m9", "threadId": "t9"}],
            "threads": [{"id": "t9", "snippet": "s"}],
            "history": [{"id": "5", "messagesAdded": [{"message": {"id": "m9"}}, {"message": {"id": "m1"}}]}],
            "resultSizeEstimate": 2,
        });
        assert!(hide(&mut list, &mine()));
        assert!(!list.to_string().contains('9'), "{list}");
        assert!(list.to_string().contains("m1"));
        assert!(!hide(&mut list, &mine()));
    }
}
