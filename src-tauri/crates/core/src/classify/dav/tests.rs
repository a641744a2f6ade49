//! Transcripts: what each method would do, and what has no way upstream.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod elsewhere;
mod people;
mod undo;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::deed::{At, Deed, Seen, Sent, Tree, classify, frozen, is_whole};
use super::hrefs::Here;
use super::ical;
use super::look::{Collection, Found, Holds, Member, listing, look, only_looks};
use super::request::{Asked, Head, ask, place};
use super::*;
use crate::call::CallBody;
use crate::undo::dav::{Kept, Only, entry, inverse, left, left_made, limits, promise, whereabouts};
use crate::undo::{Change, Difference};

fn here() -> Here {
    Here {
        mount: "/cal".to_owned(),
        doors: vec!["http://127.0.0.1:4711".to_owned()],
        base: "/dav".to_owned(),
        origins: vec!["https://dav.example.com".to_owned()],
    }
}

fn asked(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Asked, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    ask(Head { method: &method, target, headers: &map, here: &here() })
}

fn event(title: &str, more: &str) -> Bytes {
    Bytes::from(format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:u1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART;TZID=Europe/Berlin:20260302T090000\r\n\
         SUMMARY:{title}\r\n{more}END:VEVENT\r\nEND:VCALENDAR\r\n"
    ))
}

fn member(path: &str) -> Member {
    Member { path: path.to_owned(), etag: "\"1\"".to_owned() }
}

fn calendar(entries: usize) -> At {
    let collection = Collection {
        path: "/e/w/".to_owned(),
        holds: Holds::Events,
        etag: Some("\"c\"".to_owned()),
        settings: vec![("{DAV:}displayname".to_owned(), "Work".to_owned())],
        components: vec!["VEVENT".to_owned()],
    };
    let members = (0..entries).map(|at| member(&format!("/e/w/{at}.ics"))).collect();
    At::Tree(Box::new(Tree { collections: vec![collection], members }), Default::default())
}

fn seen(at: At) -> Seen {
    Seen { at, to: At::Nothing, around: Some(Holds::Events), own: vec!["me@example.com".to_owned()] }
}

fn part(method: &str, target: &str, headers: &[(&str, &str)], body: &Bytes, seen: &Seen) -> Result<Part, Refusal> {
    classify(&asked(method, target, headers)?, body, seen, &here())
}

/// Class, verb, count, headers of conditions, audience: one line.
fn line(part: &Part) -> String {
    let operation = &part.operation;
    let conditions: Vec<String> = part
        .call
        .headers
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "if-match" | "if-none-match" | "overwrite" | "destination"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    let people = operation.audience.iter().flat_map(|audience| &audience.members).map(|one| one.address.as_str());
    let people: Vec<&str> = people.collect();
    format!(
        "{} | {} | {} {} {} | {} | {}",
        operation.action,
        operation.class.name(),
        operation.verb,
        operation.objects.count(),
        operation.objects.kind().unwrap_or("-"),
        conditions.join(", "),
        people.join(" ")
    )
}

#[test]
fn every_method_is_classified_by_what_is_there() {
    let text = event("Talk", "");
    let guests = event("Talk", "ORGANIZER:mailto:me@example.com\r\nATTENDEE;CN=\"B: x\":MAILTO:Bob@Example.ORG\r\n");
    let alarm = event("Talk", "BEGIN:VALARM\r\nACTION:EMAIL\r\nattendee:mailto:eve@evil.example\r\nEND:VALARM\r\n");
    let entry = || At::Entry(member("/e/w/a.ics"), event("Old", "LOCATION:Roof\r\n"));
    let empty = Bytes::new();
    let to = [("destination", "http://127.0.0.1:4711/cal/e/x/b.ics")];
    let over = Seen { to: At::Entry(member("/e/x/b.ics"), event("Lost", "")), ..seen(entry()) };
    let rename = Bytes::from(
        "<propertyupdate xmlns='DAV:'><set><prop><displayname>A</displayname></prop></set></propertyupdate>",
    );
    let members =
        Bytes::from("<propertyupdate xmlns='DAV:'><set><prop><group-member-set/></prop></set></propertyupdate>");
    let acl = Bytes::from(
        "<acl xmlns='DAV:'><ace><principal><href>/cal/bob/</href></principal><grant><privilege><read/></privilege></grant></ace>\
         <ace><principal><all/></principal><grant><privilege><read/></privilege></grant></ace></acl>",
    );
    let share = Bytes::from(
        "<s:share xmlns:s='http://calendarserver.org/ns/' xmlns='DAV:'><s:set><href>mailto:bob@example.org</href><s:read-write/></s:set></s:share>",
    );
    let publish = Bytes::from("<s:publish-calendar xmlns:s='http://calendarserver.org/ns/'/>");
    let invite = Bytes::from(String::from_utf8(guests.to_vec()).unwrap().replace("VERSION:2.0", "METHOD:REQUEST"));
    let xml = [("content-type", "application/xml")];
    let ics = [("content-type", "text/calendar")];
    let told: Vec<String> = [
        part("PUT", "/e/w/a.ics", &[], &text, &seen(At::Nothing)),
        part("PUT", "/e/w/a.ics", &[], &guests, &seen(At::Nothing)),
        part("PUT", "/e/w/a.ics", &[], &alarm, &seen(entry())),
        part("PUT", "/e/w/a.ics", &[("if-match", "\"1\"")], &text, &seen(entry())),
        part("PUT", "/e/w", &[], &text, &seen(calendar(3))),
        part("DELETE", "/e/w/a.ics", &[], &empty, &seen(entry())),
        part("DELETE", "/e/w/", &[], &empty, &seen(calendar(3))),
        part("DELETE", "/e/w/", &[], &empty, &seen(calendar(0))),
        part("MOVE", "/e/w/a.ics", &to, &empty, &seen(entry())),
        part("MOVE", "/e/w/a.ics", &to, &empty, &over),
        part("COPY", "/e/w/a.ics", &to, &empty, &seen(entry())),
        part("MKCALENDAR", "/e/new/", &[], &empty, &seen(At::Nothing)),
        part(
            "MKCOL",
            "/e/new/",
            &[],
            &Bytes::from("<mkcol xmlns='DAV:'><set><prop><x/></prop></set></mkcol>"),
            &seen(At::Nothing),
        ),
        part("PROPPATCH", "/e/w/", &[], &rename, &seen(calendar(0))),
        part("PROPPATCH", "/e/w/", &[], &members, &seen(calendar(0))),
        part("ACL", "/e/w/", &[], &acl, &seen(calendar(0))),
        part("POST", "/e/w/", &xml, &share, &seen(At::Nothing)),
        part("POST", "/e/w/", &xml, &publish, &seen(At::Nothing)),
        part("POST", "/e/outbox/", &ics, &invite, &seen(At::Nothing)),
    ]
    .into_iter()
    .map(|part| line(&part.unwrap()))
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_person_reads_what_changes() {
    let old = At::Entry(member("/e/w/a.ics"), event("Old", "LOCATION:Roof\r\nDESCRIPTION:a\\nb\r\n"));
    let new = event("Old", "RRULE:FREQ=DAILY\r\nDESCRIPTION:a\\nb\r\nX-SECRET:1\r\n");
    let part = part("PUT", "/e/w/a.ics", &[], &new, &seen(old)).unwrap();
    let facts: Vec<String> =
        part.operation.facts.iter().map(|fact| format!("{}: {}", fact.label, fact.value)).collect();
    insta::assert_snapshot!(facts.join("\n"));
}

#[test]
fn a_question_is_bound_to_the_version_and_not_to_the_time_of_saving() {
    let at = |etag: &str| seen(At::Entry(Member { etag: etag.to_owned(), ..member("/e/w/a.ics") }, event("Old", "")));
    let put = |text: &Bytes, etag: &str| part("PUT", "/e/w/a.ics", &[], text, &at(etag)).unwrap().operation.canonical();
    let text = event("New", "");
    let stamped =
        Bytes::from(String::from_utf8(text.to_vec()).unwrap().replace("20260101T000000Z", "20270101T000000Z"));
    assert_eq!(put(&text, "\"1\""), put(&stamped, "\"1\""));
    assert_ne!(put(&text, "\"1\""), put(&text, "\"2\""));
    assert_ne!(put(&text, "\"1\""), put(&event("Other", ""), "\"1\""));
}

#[test]
fn all_of_a_collection_goes_together_or_not_at_all() {
    let part = part("DELETE", "/e/w/", &[], &Bytes::new(), &seen(calendar(3))).unwrap();
    assert!(is_whole(&part));
    let frozen = frozen(&part).unwrap();
    assert_eq!((frozen.deed, frozen.tree.unwrap().members.len()), (Deed::DeleteAll, 3));
}

#[test]
fn refused() {
    let text = event("Talk", "");
    let entry = || seen(At::Entry(member("/e/w/a.ics"), event("Old", "")));
    let status = |method: &str, target: &str, headers: &[(&str, &str)], body: &Bytes, seen: &Seen| {
        part(method, target, headers, body, seen)
            .map_or_else(|refusal| refusal.status, |part| panic!("{}", line(&part)))
    };
    let outside = Seen { around: Some(Holds::Else), ..seen(At::Nothing) };
    assert_eq!(status("PUT", "/e/x/a.ics", &[], &text, &outside), 409);
    assert_eq!(status("PUT", "/e/w/a.ics", &[("if-match", "\"9\"")], &text, &entry()), 412);
    assert_eq!(status("PUT", "/e/w/a.ics", &[("if-none-match", "*")], &text, &entry()), 412);
    assert_eq!(status("PUT", "/e/w/a.ics", &[], &Bytes::from("BEGIN:VCALENDAR\r\n"), &entry()), 415);
    assert_eq!(status("PUT", "/e/w/a.ics", &[("content-type", "text/html")], &text, &entry()), 415);
    assert_eq!(status("DELETE", "/e/w/a.ics", &[], &Bytes::new(), &seen(At::Nothing)), 404);
    assert_eq!(status("COPY", "/e/w/", &[("destination", "/cal/x/")], &Bytes::new(), &seen(calendar(1))), 403);
    assert_eq!(status("MOVE", "/e/w/a.ics", &[("destination", "/other/x")], &Bytes::new(), &entry()), 403);
    assert_eq!(status("MOVE", "/e/w/a.ics", &[], &Bytes::new(), &entry()), 400);
    assert_eq!(status("POST", "/e/w/", &[("content-type", "text/calendar")], &text, &seen(At::Nothing)), 403);
    let two = "<s:share xmlns:s='http://calendarserver.org/ns/' xmlns='DAV:'><s:set><href>mailto:a@b</href><href>mailto:c@d</href><s:read-write/></s:set></s:share>";
    let xml = [("content-type", "application/xml")];
    assert!(
        part("POST", "/e/w/", &xml, &Bytes::from(two), &seen(At::Nothing)).is_err(),
        "one of them would not be shown"
    );
    for method in ["LOCK", "UNLOCK", "PATCH", "BIND", "MKWORKSPACE", "VERSION-CONTROL", "SEARCH", "get"] {
        assert_eq!(asked(method, "/e/w/a.ics", &[]).unwrap_err().status, 405, "{method}");
    }
    for (headers, status) in [
        (&[("x-http-method-override", "DELETE")][..], 400),
        (&[("x-original-url", "/x")], 400),
        (&[("content-encoding", "gzip")], 415),
        (&[("if", "(<urn:x>)")], 400),
        (&[("depth", "infinity")], 400),
        (&[("depth", "2")], 400),
        (&[("if-match", "a"), ("if-match", "b")], 400),
    ] {
        assert_eq!(asked("PUT", "/e/w/a.ics", headers).unwrap_err().status, status, "{headers:?}");
    }
}

#[test]
fn one_spelling_for_every_place() {
    for (text, wanted) in [
        ("/", "/"),
        ("/e/w/", "/e/w/"),
        ("/e/w", "/e/w"),
        ("/e/%77/a%3Ab%40c.ics", "/e/w/a:b@c.ics"),
        ("/e/a b".replace(' ', "%20").as_str(), "/e/a%20b"),
    ] {
        assert_eq!(place(text).unwrap(), wanted);
    }
    for bad in [
        "",
        "e",
        "//e",
        "/e//w",
        "/e/../w",
        "/e/%2e%2e/w",
        "/e/./w",
        "/e/w;x",
        "/e\\w",
        "/e%2Fw",
        "/e/%252e",
        "/e?x",
        "/e/w//",
    ] {
        assert!(place(bad).is_err() || bad.is_empty(), "{bad}");
    }
}

#[test]
fn reads_are_reads_and_name_what_they_count() {
    let read = |method: &str, body: &str| {
        reading(&asked(method, "/e/w/", &[("depth", "1")]).unwrap(), &Bytes::from(body.to_owned()), &here())
    };
    let get = read("GET", "").unwrap();
    assert_eq!((get.operation.class, get.operation.objects.count(), get.operation.meters.len()), (Class::Read, 1, 1));
    let multiget = "<C:calendar-multiget xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><href>/cal/e/w/a</href><href>/cal/e/w/b</href><href>/cal/e/w/b</href></C:calendar-multiget>";
    let part = read("REPORT", multiget).unwrap();
    assert_eq!(part.operation.objects.count(), 2);
    let CallBody::Bytes(body) = &part.call.body else { panic!() };
    assert!(String::from_utf8_lossy(body).contains("<href>/dav/e/w/a</href>"), "{body:?}");
    for (method, body, counts) in [
        ("REPORT", "<C:calendar-query xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'/>", 1),
        ("REPORT", "<R:addressbook-query xmlns='DAV:' xmlns:R='urn:ietf:params:xml:ns:carddav'/>", 1),
        ("REPORT", "<sync-collection xmlns='DAV:'/>", 1),
        (
            "PROPFIND",
            "<propfind xmlns='DAV:' xmlns:R='urn:ietf:params:xml:ns:carddav'><prop><R:address-data/></prop></propfind>",
            1,
        ),
        ("PROPFIND", "<propfind xmlns='DAV:'><prop><getetag/></prop></propfind>", 0),
        ("PROPFIND", "", 0),
    ] {
        let part = read(method, body).unwrap();
        assert_eq!((charged(&part), part.operation.meters.len()), (counts, counts as usize), "{method} {body}");
    }
    for (method, body) in [
        ("REPORT", ""),
        ("REPORT", "<x xmlns='DAV:'/>"),
        ("PROPFIND", "<x/>"),
        ("GET", "x"),
        ("OPTIONS", "x"),
        ("REPORT", &multiget.replace("/cal/e/w/b", "/dav/e/private/b")),
        ("REPORT", &multiget.replace("/cal/e/w/b", "/cal/../x/b")),
    ] {
        assert!(read(method, body).is_err(), "{method} {body}");
    }
}

#[test]
fn lists_are_read_strictly() {
    let answer = |inner: &str| {
        format!("<d:multistatus xmlns:d='DAV:' xmlns:c='urn:ietf:params:xml:ns:caldav'>{inner}</d:multistatus>")
    };
    let response = |href: &str, props: &str| {
        format!(
            "<d:response><d:href>{href}</d:href><d:propstat><d:prop>{props}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        )
    };
    let entry = "<d:resourcetype/><d:getetag>\"1\"</d:getetag>";
    let list = |text: &str| listing(&here(), answer(text).as_bytes());
    let whole = list(
        &(response(
            "/dav/e/w/",
            "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype><d:displayname>W</d:displayname>",
        ) + &response("https://dav.example.com/dav/e/w/a%20b.ics", entry)),
    )
    .unwrap();
    assert_eq!((whole.collections[0].holds, whole.collections[0].name().as_str()), (Holds::Events, "W"));
    assert_eq!(whole.members, [member("/e/w/a%20b.ics")]);
    assert!(matches!(whole.at("/e/w"), Some(Found::Collection(_))));
    assert!(
        list("<d:response><d:href>/dav/x</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>")
            .unwrap()
            .members
            .is_empty()
    );
    for bad in [
        response("/other/a.ics", entry),
        response("https://evil.example/dav/a.ics", entry),
        response("/dav/e/../a.ics", entry),
        response("/dav/a.ics", "<d:resourcetype/>"),
        response("/dav/a.ics", "<d:resourcetype/><d:getetag>W/\"1\"</d:getetag>"),
        response("/dav/a.ics", "<d:getetag>\"1\"</d:getetag>"),
    ] {
        assert!(list(&bad).is_err(), "{bad}");
    }
    let own = look("/e/w/", true).unwrap();
    assert!(only_looks(&own));
    assert!(!only_looks(&Call { body: CallBody::Bytes(Bytes::from("<x/>")), ..own.clone() }));
    assert!(!only_looks(&Call { method: Method::DELETE, ..own }));
}

#[test]
fn texts_that_can_be_read_in_two_ways_are_refused() {
    let wrap = |inner: &str| format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{inner}END:VEVENT\r\nEND:VCALENDAR\r\n");
    for bad in [
        wrap("SUMMARY:a\rATTENDEE:mailto:x@y\r\n"),
        wrap("SUMMARY:a\u{85}ATTENDEE:mailto:x@y\r\n"),
        wrap("SUMMARY:a\u{b}ATTENDEE:mailto:x@y\r\n"),
        wrap("ATTENDEE mailto:x@y\r\n"),
        wrap("ATTENDEE;CN=\"x:mailto:x@y\r\n"),
        wrap("END:VCALENDAR\r\n"),
        wrap("X-N:1\r\n\r\n ATTENDEE:mailto:x@y\r\n"),
        wrap("X-N:1\r\n   \r\n ATTENDEE:mailto:x@y\r\n"),
        "BEGIN:VEVENT\r\nEND:VEVENT\r\n".to_owned(),
        " x\r\n".to_owned(),
        String::new(),
    ] {
        assert!(ical::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    for hidden in [
        "ATTENDEE:mailto:x@y\r\n",
        "attendee;A=\"b;c:d\":MAILTO:x@Y\r\n",
        "ATT\r\n ENDEE\r\n\t:mailto:x@y\r\n",
        "item1.ATTENDEE:mailto:x@y\n",
    ] {
        let text = ical::parse(wrap(hidden).as_bytes()).unwrap();
        assert!(text.summary().people.contains("x@y"), "{hidden:?}: {:?}", text.summary().people);
    }
}

#[test]
fn taking_back_heeds_what_others_did_since() {
    let text = event("New", "");
    let at = At::Entry(member("/e/w/a.ics"), event("Old", ""));
    let part = part("PUT", "/e/w/a.ics", &[], &text, &seen(at)).unwrap();
    let kept = Kept { kind: "text/calendar".to_owned(), body: event("Old", "ATTENDEE:mailto:x@y\r\n") };
    let old = BTreeMap::from([("/e/w/a.ics".to_owned(), kept)]);
    let first = entry(&part, &frozen(&part).unwrap(), &old).unwrap();
    let after = |etag: &str| Member { etag: etag.to_owned(), ..member("/e/w/a.ics") };
    let now = |etag: &str| BTreeMap::from([("/e/w/a.ics".to_owned(), Found::Member(after(etag)))]);
    let back = |entry: &crate::undo::Entry, now: &BTreeMap<String, Found>| {
        let back = inverse(entry, now, &BTreeMap::new(), &here());
        let calls: Vec<String> =
            back.steps.iter().map(|step| format!("{} {:?}", step.call.method, step.call.headers)).collect();
        (calls, back.not_restored.into_iter().map(|(_, why)| why).collect::<Vec<_>>(), back.notes.len())
    };
    let known = left(first.clone(), &[after("\"2\"")], &[]);
    assert_eq!(whereabouts(&known), ["/e/w/a.ics"]);
    let (calls, not, notes) = back(&known, &now("\"2\""));
    assert_eq!((calls.len(), not.len(), notes), (1, 0, 1));
    assert!(calls[0].contains("if-match") && calls[0].contains("\\\"2\\\""), "{calls:?}");
    assert_eq!(back(&known, &now("\"3\"")).1, ["somebody changed it since"]);
    assert_eq!(back(&known, &BTreeMap::new()).1, ["it is gone"]);
    // A crash before the outcome: nothing is overwritten on a guess.
    assert_eq!(back(&first, &now("\"2\"")).1, ["it is not known whether it was changed"]);
    let deleted = crate::undo::Entry {
        recipe: "deleted".to_owned(),
        changes: vec![Change { object: "/e/w/a.ics".to_owned(), difference: Difference::Copied }],
        ..known
    };
    let copies =
        BTreeMap::from([("/e/w/a.ics".to_owned(), Kept { kind: "text/calendar".to_owned(), body: event("Old", "") })]);
    let there = inverse(&deleted, &now("\"2\""), &copies, &here());
    assert_eq!((there.steps.len(), there.not_restored.len()), (0, 1));
    let gone = inverse(&deleted, &BTreeMap::new(), &copies, &here());
    assert_eq!(gone.steps[0].call.headers[0], ("if-none-match".to_owned(), "*".to_owned()));
}

#[test]
fn what_came_from_a_text_is_told_from_what_somebody_else_stored() {
    let sent = Sent::of(&event("Agent", "")).unwrap();
    assert!(sent.holds(&event("Agent", "X-SERVER:1\r\n")), "servers write texts anew");
    assert!(!sent.holds(&event("Person", "")));
    let text = |uid: &str| String::from_utf8(event("Agent", "").to_vec()).unwrap().replace("UID:u1", uid);
    assert!(!sent.holds(text("UID:u2").as_bytes()));
    assert!(!sent.holds(b"garbage"));
    assert!(Sent::of(text("X-NO-UID:1").as_bytes()).is_none(), "nobody could tell");
    let both = Sent::of(format!("{}{}", text("UID:u1"), text("UID:u2")).as_bytes()).unwrap();
    assert!(both.holds(text("UID:u2").as_bytes()) && !both.holds(text("UID:u3").as_bytes()));
}

#[test]
fn taking_back_a_replaced_collection_leaves_what_is_as_it_was() {
    let At::Tree(tree, people) = calendar(2) else { panic!() };
    let at = At::Tree(tree, people);
    let part = part("PUT", "/e/w/", &[], &event("New", ""), &seen(at)).unwrap();
    let first = entry(&part, &frozen(&part).unwrap(), &BTreeMap::new()).unwrap();
    let (same, new) = (member("/e/w/0.ics"), Member { etag: "\"9\"".to_owned(), ..member("/e/w/new.ics") });
    let known = left(first, std::slice::from_ref(&new), std::slice::from_ref(&same));
    let now: BTreeMap<String, Found> =
        [&same, &new].into_iter().map(|one| (one.path.clone(), Found::Member(one.clone()))).collect();
    let kept = Kept { kind: "text/calendar".to_owned(), body: event("Old", "") };
    let copies = BTreeMap::from([("/e/w/0.ics".to_owned(), kept.clone()), ("/e/w/1.ics".to_owned(), kept)]);
    let back = inverse(&known, &now, &copies, &here());
    let calls: Vec<String> =
        back.steps.iter().map(|step| format!("{} {}", step.call.method, step.call.target)).collect();
    assert_eq!(calls, ["DELETE /e/w/new.ics", "MKCALENDAR /e/w/", "PUT /e/w/1.ics"]);
    assert!(back.not_restored.is_empty(), "{back:?}");
}

#[test]
fn a_collection_that_was_made_goes_only_while_it_is_as_it_was() {
    let At::Tree(tree, _) = calendar(0) else { panic!() };
    let made = crate::undo::Entry {
        provider: PROVIDER.to_owned(),
        recipe: "made".to_owned(),
        action: "dav.make-calendar".to_owned(),
        params: Vec::new(),
        changes: vec![Change { object: "/e/w/".to_owned(), difference: Difference::Created { marker: None } }],
    };
    let now = |found: &Collection| BTreeMap::from([("/e/w/".to_owned(), Found::Collection(found.clone()))]);
    // A crash before it was looked at: nothing is taken away on a guess.
    let unknown = inverse(&made, &now(&tree.collections[0]), &BTreeMap::new(), &here());
    assert_eq!(
        (unknown.steps.len(), unknown.not_restored[0].1.as_str()),
        (0, "it is not known whether it was changed")
    );
    for (etag, headers) in [(Some("\"c\""), vec![("if-match".to_owned(), "\"c\"".to_owned())]), (None, Vec::new())] {
        let found = Collection { etag: etag.map(str::to_owned), ..tree.collections[0].clone() };
        let known = left_made(made.clone(), &found);
        let back = inverse(&known, &now(&found), &BTreeMap::new(), &here());
        assert_eq!((back.steps.len(), back.steps[0].only, back.steps[0].class), (1, Only::Empty, Class::Destroy));
        assert_eq!(back.steps[0].call.headers, headers);
        let another = Collection { settings: Vec::new(), ..found };
        let left = inverse(&known, &now(&another), &BTreeMap::new(), &here());
        assert_eq!((left.steps.len(), left.not_restored[0].1.as_str()), (0, "somebody changed it since"));
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_no_guest_hides(bytes in proptest::collection::vec(any::<u8>(), 0..300), fold in 1..40usize) {
        let _ = ical::parse(&bytes);
        let _ = xml::parse(&bytes);
        let line = "ATTENDEE;CN=Guest;RSVP=TRUE:mailto:guest@example.com";
        let folded: Vec<String> = line.as_bytes().chunks(fold).map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect();
        let text = event("x", &format!("{}\r\n", folded.join("\r\n ")));
        prop_assert!(ical::parse(&text).unwrap().summary().people.contains("guest@example.com"));
    }

    #[test]
    fn no_path_leaves_its_account(path in "[/a-z.%2efF;\\\\:@ ?#-]{0,30}") {
        if let Ok(place) = place(&format!("/{path}")) {
            prop_assert!(place.starts_with('/') && !place.split('/').any(|part| matches!(part, "." | "..")) && !place.contains("//") && !place.contains('?'), "{}", place);
            prop_assert_eq!(super::request::place(&place).unwrap(), place.clone());
        }
    }
}
