#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, Method};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Difference, Entry, entry, follow, inspect, inverse, reinsert, snapshot};
use crate::call::Call;
use crate::catalog::{Catalog, Provider};
use crate::classify::http::{Head, route};
use crate::operation::{Objects, Part};
use crate::recipe::{body, quarantine, soften};

fn gmail() -> &'static Provider {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::shipped().unwrap());
    CATALOG.provider("gmail").unwrap()
}

fn part(method: &str, path: &str, body: Value) -> Part {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let target = format!("/gmail/v1/users/me{path}");
    let head = Head { method: &method, target: &target, headers: &headers, mount: "" };
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    route(gmail(), head).unwrap().classify(&body).unwrap().parts.remove(0)
}

/// Gmail as far as labels go.
#[derive(Debug, Clone, PartialEq, Default)]
struct Mailbox(BTreeMap<String, BTreeSet<String>>);

impl Mailbox {
    fn of(messages: &[(&str, &[&str])]) -> Self {
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        Self(messages.iter().map(|(id, set)| ((*id).to_owned(), labels(set))).collect())
    }

    fn message(&self, id: &str) -> Option<Value> {
        self.0.get(id).map(|labels| json!({ "id": id, "labelIds": labels }))
    }

    /// What the call's target names below `/messages/`.
    fn read(&self, call: &Call) -> Option<Value> {
        let id = call.target.split("/messages/").nth(1)?.split(['?', '/']).next()?;
        self.message(id)
    }

    fn change(&mut self, id: &str, added: &[String], removed: &[String]) {
        let Some(labels) = self.0.get_mut(id) else { return };
        labels.retain(|label| !removed.contains(label));
        for label in added {
            labels.insert(label.clone());
            if label == "TRASH" || label == "SPAM" {
                labels.retain(|other| other == label || !["INBOX", "TRASH", "SPAM"].contains(&other.as_str()));
            }
        }
    }

    fn run(&mut self, call: &Call) {
        assert_eq!((&call.method, call.target.as_str()), (&Method::POST, "/gmail/v1/users/me/messages/batchModify"));
        let body = body(call).unwrap();
        let words = |at: &str| super::difference::words(body.get(at));
        assert!(words("ids").len() <= 1000);
        for id in words("ids") {
            self.change(&id, &words("addLabelIds"), &words("removeLabelIds"));
        }
    }
}

fn before(mailbox: &Mailbox, part: &Part) -> Vec<(String, Value)> {
    snapshot(gmail(), part).into_iter().filter_map(|(id, call)| Some((id, mailbox.read(&call)?))).collect()
}

fn undo(mailbox: &mut Mailbox, entry: &Entry) -> Vec<(String, String)> {
    let now: Vec<_> = inspect(gmail(), entry).into_iter().map(|(id, call)| (id, mailbox.read(&call))).collect();
    let inverse = inverse(gmail(), entry, &now);
    for (_, call) in &inverse.calls {
        mailbox.run(call);
    }
    inverse.not_restored
}

fn trash_three() -> (Mailbox, Mailbox, Entry) {
    let start = Mailbox::of(&[("a", &["INBOX", "UNREAD"]), ("b", &["INBOX", "STARRED"]), ("c", &["TRASH"])]);
    let mut now = start.clone();
    let part = part("POST", "/messages/batchModify", json!({"ids": ["a", "b", "c"], "addLabelIds": ["TRASH"]}));
    let entry = entry(gmail(), &part, &before(&start, &part), None).unwrap();
    now.run(&part.call);
    (start, now, entry)
}

#[test]
fn a_trash_is_taken_back_exactly() {
    let (start, mut now, entry) = trash_three();
    assert_eq!(entry.changes.len(), 2, "c was there before: not its own difference");
    assert_ne!(start, now);
    assert_eq!(undo(&mut now, &entry), []);
    assert_eq!(start, now);
}

#[test]
fn i9_what_others_changed_since_is_left_alone_and_reported() {
    let (_, mut now, entry) = trash_three();
    now.0.remove("a");
    now.change("b", &["INBOX".to_owned()], &["TRASH".to_owned()]);
    let left = now.clone();
    let reported = undo(&mut now, &entry);
    assert_eq!(left, now);
    let told = |object: &str, why: &str| {
        assert!(reported.iter().any(|(id, text)| id == object && text.contains(why)), "{reported:?}")
    };
    told("a", "gone");
    told("b", "took TRASH off");
}

#[test]
fn an_archived_message_that_was_trashed_since_stays_in_trash() {
    let mut mailbox = Mailbox::of(&[("a", &["INBOX"])]);
    let part = part("POST", "/messages/a/modify", json!({"removeLabelIds": ["INBOX"]}));
    let snapshot = before(&mailbox, &part);
    mailbox.change("a", &[], &["INBOX".to_owned()]);
    let entry = entry(gmail(), &part, &snapshot, mailbox.message("a").as_ref()).unwrap();
    mailbox.change("a", &["TRASH".to_owned()], &[]);
    let left = mailbox.clone();
    assert_eq!(undo(&mut mailbox, &entry), [("a".to_owned(), "it was moved to TRASH since".to_owned())]);
    assert_eq!(left, mailbox);
}

#[test]
fn an_object_that_could_not_be_read_is_left_alone() {
    let (_, _, entry) = trash_three();
    let result = inverse(gmail(), &entry, &[]);
    assert!(result.calls.is_empty());
    assert_eq!(result.not_restored.len(), 2);
}

#[test]
fn the_answer_tells_what_really_changed() {
    let part = part("POST", "/messages/a/untrash", Value::Null);
    let was = vec![("a".to_owned(), json!({"id": "a", "labelIds": ["TRASH", "STARRED"]}))];
    let answer = json!({"id": "a", "labelIds": ["INBOX"]});
    let entry = entry(gmail(), &part, &was, Some(&answer)).unwrap();
    let expected =
        Difference::Set { added: vec!["INBOX".to_owned()], removed: vec!["TRASH".to_owned()], presumed: vec![] };
    assert_eq!(entry.changes[0].difference, expected, "the star was somebody else's");
    let text = serde_json::to_string(&entry).unwrap();
    assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
}

#[test]
fn a_softened_delete_is_taken_back_by_its_own_recipe() {
    let mut delete = part("POST", "/messages/batchDelete", json!({"ids": ["a", "b"]}));
    let softened = soften(gmail(), &delete).unwrap();
    assert_eq!((softened.answer.status, softened.answer.body.len()), (204, 0));
    let start = Mailbox::of(&[("a", &["INBOX"]), ("b", &["Label_1"])]);
    let mut now = start.clone();
    delete.operation.undo = softened.undo;
    let entry = entry(gmail(), &delete, &before(&start, &delete), None).unwrap();
    softened.calls.iter().for_each(|(_, call)| now.run(call));
    assert!(now.0.values().all(|labels| labels.contains("TRASH")));
    assert_eq!(undo(&mut now, &entry), []);
    assert_eq!(start, now);
}

#[test]
fn groups_are_written_a_thousand_at_a_time() {
    let ids: Vec<String> = (0..2500).map(|id| format!("m{id}")).collect();
    let mut part = part("POST", "/threads/t/trash", Value::Null);
    part.operation.objects = Objects::Listed { kind: "message".to_owned(), ids: ids.clone() };
    let was: Vec<_> = ids.iter().map(|id| (id.clone(), json!({"id": id, "labelIds": ["INBOX"]}))).collect();
    let entry = entry(gmail(), &part, &was, None).unwrap();
    let now: Vec<_> = ids.iter().map(|id| (id.clone(), Some(json!({"id": id, "labelIds": ["TRASH"]})))).collect();
    let sizes: Vec<usize> = inverse(gmail(), &entry, &now).calls.iter().map(|(ids, _)| ids.len()).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
}

#[test]
fn a_setting_is_put_back_field_by_field() {
    let was = json!({"enabled": true, "autoExpunge": false, "expungeBehavior": "archive", "maxFolderSize": 0});
    let part = part(
        "PUT",
        "/settings/imap",
        json!({"enabled": true, "autoExpunge": true, "expungeBehavior": "deleteForever"}),
    );
    let (object, call) = snapshot(gmail(), &part).remove(0);
    assert_eq!(call.target, "/gmail/v1/users/me/settings/imap");
    let done = json!({"enabled": true, "autoExpunge": true, "expungeBehavior": "deleteForever", "maxFolderSize": 0});
    let entry = entry(gmail(), &part, &[(object.clone(), was)], Some(&done)).unwrap();
    let now = json!({"enabled": true, "autoExpunge": true, "expungeBehavior": "trash", "maxFolderSize": 1000});
    let result = inverse(gmail(), &entry, &[(object, Some(now))]);
    assert_eq!(result.calls[0].1.method, Method::PUT);
    let sent = body(&result.calls[0].1).unwrap();
    assert_eq!(sent, json!({"enabled": true, "autoExpunge": false, "expungeBehavior": "trash", "maxFolderSize": 1000}));
    assert!(result.not_restored[0].1.contains("expungeBehavior"));
}

#[test]
fn what_was_created_is_deleted_unless_it_changed() {
    let draft = part("POST", "/drafts", json!({"message": {"raw": "VG86IGFAeC5vcmcNCg0KaGk"}}));
    assert!(entry(gmail(), &draft, &[], None).is_none(), "nothing to delete before it is there");
    let made = entry(gmail(), &draft, &[], Some(&json!({"id": "r1", "message": {"id": "m1"}}))).unwrap();
    let now = |message: &str| [("r1".to_owned(), Some(json!({"id": "r1", "message": {"id": message}})))];
    let result = inverse(gmail(), &made, &now("m1"));
    assert_eq!(
        (&result.calls[0].1.method, result.calls[0].1.target.as_str()),
        (&Method::DELETE, "/gmail/v1/users/me/drafts/r1")
    );
    assert!(inverse(gmail(), &made, &now("m2")).calls.is_empty());
    let label = part("POST", "/labels", json!({"name": "x"}));
    let made = entry(gmail(), &label, &[], Some(&json!({"id": "Label_9"}))).unwrap();
    let used = [("Label_9".to_owned(), Some(json!({"id": "Label_9", "messagesTotal": 3})))];
    assert_eq!(inverse(gmail(), &made, &used).not_restored[0].1, "it is in use by 3 others");
}

#[test]
fn a_filter_is_found_in_the_list_of_filters() {
    let delete = part("DELETE", "/settings/filters/f2", Value::Null);
    let (object, call) = snapshot(gmail(), &delete).remove(0);
    assert_eq!(call.target, "/gmail/v1/users/me/settings/filters");
    let list =
        json!({"filter": [{"id": "f1"}, {"id": "f2", "criteria": {"from": "a"}, "action": {"addLabelIds": ["X"]}}]});
    let gone = entry(gmail(), &delete, &[(object, list.clone())], None).unwrap();
    let created = body(&inverse(gmail(), &gone, &[]).calls[0].1).unwrap();
    assert_eq!(created, json!({"criteria": {"from": "a"}, "action": {"addLabelIds": ["X"]}}));
    let create = part("POST", "/settings/filters", created);
    let made = entry(gmail(), &create, &[], Some(&json!({"id": "f2"}))).unwrap();
    let now = |list: Value| inverse(gmail(), &made, &[("f2".to_owned(), Some(list))]);
    assert_eq!(now(list).calls[0].1.target, "/gmail/v1/users/me/settings/filters/f2");
    assert_eq!(now(json!({"filter": [{"id": "f1"}]})).not_restored[0].1, "it is gone");
}

#[test]
fn a_deleted_label_gets_its_messages_back() {
    let mut delete = part("DELETE", "/labels/Label_1", Value::Null);
    delete.operation.objects =
        Objects::Listed { kind: "message".to_owned(), ids: vec!["a".to_owned(), "b".to_owned()] };
    let (object, call) = snapshot(gmail(), &delete).remove(0);
    assert_eq!((object.as_str(), call.target.as_str()), ("Label_1", "/gmail/v1/users/me/labels/Label_1"));
    let was = json!({"id": "Label_1", "name": "Receipts", "type": "user", "labelListVisibility": "labelShow"});
    let gone = entry(gmail(), &delete, &[(object, was)], None).unwrap();
    let result = inverse(gmail(), &gone, &[]);
    assert_eq!(body(&result.calls[0].1).unwrap(), json!({"name": "Receipts", "labelListVisibility": "labelShow"}));
    assert_eq!(result.notes[0].1, "it has a new id");
    let then = follow(gmail(), &gone, &[(vec!["Label_1".to_owned()], json!({"id": "Label_7"}))]);
    let sent = body(&then.calls[0].1).unwrap();
    assert_eq!((&sent["ids"], &sent["addLabelIds"]), (&json!(["a", "b"]), &json!(["Label_7"])));
}

#[test]
fn a_draft_gets_its_old_text_back() {
    let update = part("PUT", "/drafts/r1", json!({"message": {"raw": "TmV3"}}));
    let was = (
        "r1".to_owned(),
        json!({"id": "r1", "message": {"id": "m1", "raw": "T2xk", "threadId": "t", "labelIds": ["DRAFT"]}}),
    );
    let done = entry(gmail(), &update, &[was], Some(&json!({"id": "r1", "message": {"id": "m2"}}))).unwrap();
    let now = json!({"id": "r1", "message": {"id": "m2", "raw": "TmV3", "threadId": "t"}});
    let result = inverse(gmail(), &done, &[("r1".to_owned(), Some(now))]);
    assert_eq!(result.calls[0].1.target, "/gmail/v1/users/me/drafts/r1");
    assert_eq!(body(&result.calls[0].1).unwrap(), json!({"message": {"threadId": "t", "raw": "T2xk"}}));
}

#[test]
fn a_quarantined_copy_is_inserted() {
    let delete = part("DELETE", "/messages/a", Value::Null);
    let (id, call) = quarantine(gmail(), &delete).remove(0);
    assert_eq!(call.target, "/gmail/v1/users/me/messages/a?format=raw");
    let gone = entry(gmail(), &delete, &[], None).unwrap();
    let copy = json!({"id": "a", "threadId": "t", "labelIds": ["INBOX"], "raw": "VG86IGE_", "internalDate": "1"});
    let result = reinsert(gmail(), &gone, &[(id, copy), ("other".to_owned(), json!({}))]);
    assert_eq!(result.calls.len(), 1);
    assert_eq!(result.calls[0].1.target, "/gmail/v1/users/me/messages?internalDateSource=dateHeader");
    let sent = body(&result.calls[0].1).unwrap();
    assert_eq!(sent, json!({"labelIds": ["INBOX"], "threadId": "t", "raw": "VG86IGE_"}));
    let still = inverse(gmail(), &gone, &[("a".to_owned(), Some(json!({"id": "a"})))]);
    assert_eq!(still.not_restored[0].1, "it is still there");
}

const LABELS: [&str; 7] = ["INBOX", "UNREAD", "STARRED", "TRASH", "SPAM", "Label_1", "Label_2"];

fn some_labels() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set(prop::sample::select(LABELS.to_vec()).prop_map(str::to_owned), 0..4).prop_map(
        |mut labels| {
            if labels.contains("TRASH") || labels.contains("SPAM") {
                labels.remove("INBOX");
            }
            if labels.contains("TRASH") {
                labels.remove("SPAM");
            }
            labels
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn i9_undo_restores_exactly(
        labels in prop::collection::vec(some_labels(), 1..12),
        added in some_labels(),
        removed in some_labels(),
        star in any::<bool>(),
    ) {
        let removed: Vec<String> = removed.difference(&added).cloned().collect();
        let start = Mailbox(labels.into_iter().enumerate().map(|(id, labels)| (format!("m{id}"), labels)).collect());
        let ids: Vec<&String> = start.0.keys().collect();
        let part = part("POST", "/messages/batchModify", json!({"ids": ids, "addLabelIds": added, "removeLabelIds": removed}));
        let entry = entry(gmail(), &part, &before(&start, &part), None);
        let mut now = start.clone();
        now.run(&part.call);
        let mut expected = start.clone();
        // A star that somebody sets in between stays, unless the operation itself touched stars.
        if star && !added.contains("STARRED") && !removed.contains(&"STARRED".to_owned()) {
            now.change("m0", &["STARRED".to_owned()], &[]);
            expected.change("m0", &["STARRED".to_owned()], &[]);
        }
        match entry {
            Some(entry) => { undo(&mut now, &entry); }
            None => prop_assert_eq!(&start.0.len(), &now.0.len()),
        }
        prop_assert_eq!(now, expected);
    }
}
