//! What taking back promises, and what it leaves alone.
use super::*;

const TO: (&str, &str) = ("destination", "http://127.0.0.1:4711/cal/e/x/b.ics");

fn moved(over: bool) -> Part {
    let at = At::Entry(member("/e/w/a.ics"), event("Agent", ""));
    let to = if over { At::Entry(member("/e/x/b.ics"), event("Lost", "")) } else { At::Nothing };
    part("MOVE", "/e/w/a.ics", &[TO], &Bytes::new(), &Seen { to, ..seen(at) }).unwrap()
}

fn at(path: &str, etag: &str) -> (String, Found) {
    (path.to_owned(), Found::Member(Member { path: path.to_owned(), etag: etag.to_owned() }))
}

#[test]
fn what_somebody_else_put_where_an_entry_was_moved_to_stays_there() {
    for over in [false, true] {
        let part = moved(over);
        let first = entry(&part, &frozen(&part).unwrap(), &BTreeMap::new()).unwrap();
        let kept = Kept { kind: "text/calendar".to_owned(), body: event("Lost", "") };
        let copies = BTreeMap::from([("/e/x/b.ics".to_owned(), kept)]);
        let back = |entry: &crate::undo::Entry, now: &[(String, Found)]| {
            let back = inverse(entry, &now.iter().cloned().collect(), &copies, &here());
            let calls: Vec<String> = back.steps.iter().map(|step| step.call.method.to_string()).collect();
            (calls.join(" "), back.not_restored.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join(", "))
        };
        let there = Member { path: "/e/x/b.ics".to_owned(), etag: "\"2\"".to_owned() };
        let known = left(first.clone(), &[there], &[]);
        let (calls, not) = back(&known, &[at("/e/x/b.ics", "\"2\"")]);
        assert_eq!((calls.as_str(), not.as_str()), (if over { "MOVE PUT" } else { "MOVE" }, ""));
        let (calls, not) = back(&known, &[at("/e/x/b.ics", "\"3\"")]);
        assert_eq!((calls.as_str(), not.starts_with("somebody changed it since")), ("", true), "{not}");
        // A crash before it was looked at.
        let (calls, not) = back(&first, &[at("/e/x/b.ics", "\"2\"")]);
        assert_eq!((calls.as_str(), not.starts_with("it is not known")), ("", true), "{not}");
        let (calls, not) = back(&known, &[at("/e/x/b.ics", "\"2\""), at("/e/w/a.ics", "\"4\"")]);
        assert_eq!((calls.as_str(), not.starts_with("there is something else")), ("", true), "{not}");
    }
}

#[test]
fn going_over_an_entry_is_bound_to_its_version() {
    let headers = moved(true).call.headers;
    assert!(headers.contains(&("if".to_owned(), "</dav/e/x/b.ics> ([\"1\"])".to_owned())), "{headers:?}");
    assert!(!moved(false).call.headers.iter().any(|(name, _)| name == "if"));
}

#[test]
fn nothing_is_promised_that_taking_back_does_not_do() {
    let guests = event("Talk", "ORGANIZER:mailto:me@example.com\r\nATTENDEE:mailto:bob@example.org\r\n");
    let plain = || seen(At::Entry(member("/e/w/a.ics"), event("Old", "")));
    let with_guests = seen(At::Entry(member("/e/w/a.ics"), guests.clone()));
    let empty = Bytes::new();
    let mixed = Bytes::from(
        "<propertyupdate xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><set><prop><displayname>A</displayname>\
         <C:schedule-calendar-transp><C:opaque/></C:schedule-calendar-transp></prop></set></propertyupdate>",
    );
    let told: Vec<String> = [
        part("PUT", "/e/w/a.ics", &[], &event("Talk", ""), &seen(At::Nothing)),
        part("PUT", "/e/w/a.ics", &[], &guests, &seen(At::Nothing)),
        part("DELETE", "/e/w/a.ics", &[], &empty, &plain()),
        part("DELETE", "/e/w/a.ics", &[], &empty, &with_guests),
        part("DELETE", "/e/w/", &[], &empty, &seen(calendar(2))),
        part("PROPPATCH", "/e/w/", &[], &mixed, &seen(calendar(0))),
    ]
    .into_iter()
    .map(|part| {
        let part = part.unwrap();
        let entry = entry(&part, &frozen(&part).unwrap(), &BTreeMap::new()).unwrap();
        let said = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        format!(
            "{}\n  before: {}\n  after: {}",
            part.operation.action,
            said(promise(&part.operation)),
            said(limits(&entry))
        )
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn undo_is_classed_by_what_it_does_and_says_whom_the_server_told() {
    let guests = event("Talk", "ORGANIZER:mailto:me@example.com\r\nATTENDEE:mailto:bob@example.org\r\n");
    let part = part("PUT", "/e/w/a.ics", &[], &guests, &seen(At::Nothing)).unwrap();
    let first = entry(&part, &frozen(&part).unwrap(), &BTreeMap::new()).unwrap();
    let known = left(first, &[member("/e/w/a.ics")], &[]);
    let now = BTreeMap::from([at("/e/w/a.ics", "\"1\"")]);
    let back = inverse(&known, &now, &BTreeMap::new(), &here());
    assert_eq!((back.steps[0].class, back.notes.len()), (Class::Destroy, 1), "{back:?}");
    let kept = |text: &Bytes| Kept { kind: "text/calendar".to_owned(), body: text.clone() };
    for (text, class) in [(guests, Class::Send), (event("Old", ""), Class::Modify)] {
        let change = Change { object: "/e/w/a.ics".to_owned(), difference: Difference::Copied };
        let deleted = crate::undo::Entry {
            recipe: "deleted".to_owned(),
            params: Vec::new(),
            changes: vec![change],
            ..known.clone()
        };
        let copies = BTreeMap::from([("/e/w/a.ics".to_owned(), kept(&text))]);
        let back = inverse(&deleted, &BTreeMap::new(), &copies, &here());
        assert_eq!((back.steps[0].class, back.notes.len()), (class, usize::from(class == Class::Send)), "{back:?}");
    }
}

#[test]
fn settings_that_can_be_set_again_are_taken_back_whatever_was_set_beside_them() {
    let mixed = Bytes::from(
        "<propertyupdate xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><set><prop><displayname>A</displayname>\
         <C:schedule-calendar-transp><C:opaque/></C:schedule-calendar-transp></prop></set></propertyupdate>",
    );
    let at = seen(calendar(0));
    let part = part("PROPPATCH", "/e/w/", &[], &mixed, &at).unwrap();
    let frozen = frozen(&part).unwrap();
    assert_eq!((part.operation.class, frozen.before.len(), frozen.after.len()), (Class::Modify, 1, 1));
    let entry = entry(&part, &frozen, &BTreeMap::new()).unwrap();
    let At::Tree(tree, _) = at.at else { panic!() };
    let settings = vec![("{DAV:}displayname".to_owned(), "A".to_owned())];
    let renamed = Collection { settings, ..tree.collections[0].clone() };
    let now = BTreeMap::from([("/e/w/".to_owned(), Found::Collection(renamed))]);
    let back = inverse(&left(entry, &[], &[]), &now, &BTreeMap::new(), &here());
    assert_eq!((back.steps.len(), back.not_restored.len()), (1, 0), "{back:?}");
}
