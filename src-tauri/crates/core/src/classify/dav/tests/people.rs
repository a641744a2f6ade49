//! Whom a change reaches.
use super::*;
use crate::call::Digest;
use crate::grant::{AuthorizationDetail, Grant, NEW_FOR, Preset};
use crate::guard::{Agent, Context, Guard, Lifetimes, Loaded, Now, Ruling};
use crate::operation::Request;
use crate::pdp::Pdp;
use crate::time::{Span, Time};

const START: Time = Time(1_700_000_000_000);
const NOW: Now = Now { time: START, wall: START.0 };

/// What an assistant without an outbox is told, to whom `bob@example.org` is known.
fn ruled(part: &Part) -> Ruling {
    let mut guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
    guard.pdp().set_outbox_delay(Span(0));
    let (program, pairing) = (None, None);
    let (id, client_id, name) = ("a".to_owned(), "a".to_owned(), "a".to_owned());
    let since = START - NEW_FOR;
    guard.connect(Agent { id, client_id, name, program, pairing, since }, NOW).unwrap();
    let detail = AuthorizationDetail::new("cal", Preset::Assistant);
    let grant = Grant { id: String::new(), agent: "a".to_owned(), detail, created_at: START, expires_at: None };
    guard.grant(grant, NOW).unwrap();
    guard.learn("cal", &["bob@example.org".to_owned()]);
    let token = Digest::of(&[b"token"]);
    guard.issue("a", token, None, Some(Span::hours(1)), NOW).unwrap();
    let session = guard.authenticate(&token, NOW).unwrap();
    let request = Request { parts: vec![part.clone()], batch: false };
    guard.handle_request(&session, "cal", &request, Context { looked_up: true, ..Context::default() }, NOW)
}

#[test]
fn guests_in_a_text_that_cannot_be_read_are_known_to_nobody() {
    let known = event("Talk", "ATTENDEE:mailto:bob@example.org\r\n");
    let readable = seen(At::Entry(member("/e/w/a.ics"), event("Old", "")));
    let permitted = part("PUT", "/e/w/a.ics", &[], &known, &readable).unwrap();
    assert!(matches!(ruled(&permitted), Ruling::Permit(_)));
    let garbage = || At::Entry(member("/e/w/a.ics"), Bytes::from_static(b"ATTENDEE:mailto:eve@evil.example\xff"));
    let to = [("destination", "http://127.0.0.1:4711/cal/e/x/b.ics")];
    let plain = At::Entry(member("/e/w/a.ics"), known.clone());
    let over = Seen { to: At::Entry(member("/e/x/b.ics"), Bytes::from_static(b"\xff")), ..seen(plain) };
    for (part, class) in [
        (part("PUT", "/e/w/a.ics", &[], &known, &seen(garbage())), Class::Send),
        (part("PUT", "/e/w/a.ics", &[], &event("Talk", ""), &seen(garbage())), Class::Unclassified),
        (part("MOVE", "/e/w/a.ics", &to, &Bytes::new(), &seen(garbage())), Class::Unclassified),
        (part("MOVE", "/e/w/a.ics", &to, &Bytes::new(), &over), Class::Destroy),
        (part("DELETE", "/e/w/a.ics", &[], &Bytes::new(), &seen(garbage())), Class::Destroy),
    ] {
        let part = part.unwrap();
        assert_eq!(part.operation.class, class, "{}", line(&part));
        let place = part.operation.audience.as_ref().and_then(|audience| audience.place.as_deref());
        assert_eq!(place, Some("whoever the stored text names"), "{}", line(&part));
        assert!(part.operation.facts.iter().any(|fact| fact.label == "Guests"), "{:?}", part.operation.facts);
        assert!(matches!(ruled(&part), Ruling::Held { .. }), "{}", line(&part));
    }
}

fn refusal(method: &str, target: &str, text: &str) -> String {
    let kind = [("content-type", "text/calendar")];
    let refused = part(method, target, &kind, &Bytes::from(text.to_owned()), &seen(At::Nothing));
    refused.map_or_else(|refusal| format!("{} {}", refusal.status, refusal.detail), |part| line(&part))
}

#[test]
fn unread_guests_of_a_whole_calendar_are_told_of_and_new_ones_are_not_slipped_into_it() {
    let At::Tree(tree, _) = calendar(2) else { panic!() };
    let unread = super::super::deed::glimpse("/e/w/0.ics", b"\xff").people;
    assert_eq!(super::super::deed::glimpse("/e/w/0.vcf", b"\xff").people, unread, "its address says nothing");
    assert!(super::super::deed::glimpse("/e/f/0.vcf", b"\xef\xbb\xbf\r\nbegin:vcard\r\nFN:\xff").people.is_empty());
    let part = part("DELETE", "/e/w/", &[], &Bytes::new(), &seen(At::Tree(tree, unread))).unwrap();
    let audience = part.operation.audience.unwrap();
    assert_eq!((audience.members.len(), audience.place.as_deref()), (0, Some("whoever the stored text names")));
    let guest = event("Talk", "ATTENDEE:mailto:bob@example.org\r\n");
    let refused = super::part("PUT", "/e/w/", &[], &guest, &seen(calendar(2))).unwrap_err();
    assert_eq!((refused.status, refused.title.as_str()), (409, "Invitations among a whole calendar"));
}

#[test]
fn nothing_is_sent_that_was_not_shown() {
    let event = |uid: &str, lines: &str| format!("BEGIN:VEVENT\r\nUID:{uid}\r\n{lines}END:VEVENT\r\n");
    let guest = "ATTENDEE:mailto:bob@example.org\r\n";
    let wrap = |inner: &str| format!("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\n{inner}END:VCALENDAR\r\n");
    let one = event("a", &format!("SUMMARY:Harmless\r\n{guest}"));
    for (text, why) in [
        (wrap(&format!("{one}{}", event("a", "SUMMARY:Second\r\n"))), "only one"),
        (wrap(&event("a", &format!("{guest}DESCRIPTION:1\r\nDESCRIPTION:2\r\n"))), "DESCRIPTION stands twice"),
        (
            wrap(&event("a", &format!("{guest}{}", (0..400).map(|n| format!("X-{n}:{n}\r\n")).collect::<String>()))),
            "fields",
        ),
        (wrap(&event("a", &format!("{guest}DESCRIPTION:{}\r\n", "x".repeat(60_000)))), "letters"),
    ] {
        for (method, target) in [("PUT", "/e/w/a.ics"), ("POST", "/e/outbox/")] {
            let refusal = refusal(method, target, &text);
            assert!(refusal.starts_with("409") && refusal.contains(why), "{method} {refusal}");
        }
    }
    let two = wrap(&format!("{one}{}", event("b", guest)));
    assert!(refusal("POST", "/e/outbox/", &two).starts_with("409"));
    // Where nobody is written to, a text is stored as it is.
    let alone = wrap(&event("a", "DESCRIPTION:1\r\nDESCRIPTION:2\r\n"));
    assert!(refusal("PUT", "/e/w/a.ics", &alone).contains("| modify |"));
    // What is written about a single date is shown beside the series, and what changes on it before and after.
    let series = wrap(&format!(
        "{one}{}",
        event("a", "RECURRENCE-ID:20260309T090000Z\r\nSUMMARY:Invoice\r\nDESCRIPTION:Pay\r\n")
    ));
    let body = Bytes::from(series.clone());
    let facts = |at: At| {
        let part = part("PUT", "/e/w/a.ics", &[], &body, &seen(at)).unwrap();
        part.operation.facts.into_iter().map(|fact| format!("{}: {}", fact.label, fact.value)).collect::<Vec<_>>()
    };
    let created = facts(At::Nothing);
    assert!(created.contains(&"Text on 2026-03-09 09:00 UTC: Pay".to_owned()), "{created:?}");
    let before = Bytes::from(series.replace("DESCRIPTION:Pay", "DESCRIPTION:Thanks"));
    let replaced = facts(At::Entry(member("/e/w/a.ics"), before));
    assert!(replaced.contains(&"Text on 2026-03-09 09:00 UTC before: Thanks".to_owned()), "{replaced:?}");
}

#[test]
fn the_widest_audience_of_a_share_is_shown_and_only_of_what_it_grants() {
    let ace = |whom: &str, way: &str| {
        format!("<ace><principal>{whom}</principal><{way}><privilege><read/></privilege></{way}></ace>")
    };
    let acl = |rules: &str| {
        let body = Bytes::from(format!("<acl xmlns='DAV:'>{rules}</acl>"));
        part("ACL", "/e/w/", &[], &body, &seen(calendar(0))).unwrap().operation
    };
    let place = |rules: &str| acl(rules).audience.and_then(|audience| audience.place);
    let everyone = Some("everyone".to_owned());
    assert_eq!(place(&format!("{}{}", ace("<all/>", "grant"), ace("<self/>", "grant"))), everyone);
    assert_eq!(place(&format!("{}{}", ace("<authenticated/>", "grant"), ace("<all/>", "grant"))), everyone);
    assert_eq!(place(&ace("<all/>", "deny")), None);
    let inverted = "<ace><invert><principal><href>/cal/bob/</href></principal></invert><grant><privilege><read/></privilege></grant></ace>";
    assert_eq!(place(inverted), Some("everyone but /cal/bob/".to_owned()));
    let denied = acl(&format!("{}{}", ace("<href>/cal/bob/</href>", "deny"), ace("<href>/cal/eve/</href>", "grant")));
    let members = denied.audience.unwrap().members;
    assert_eq!(
        (members.len(), members[0].address.as_str(), members[0].role.as_str()),
        (1, "/cal/eve/", "gains access")
    );
    let share = "<s:share xmlns:s='http://calendarserver.org/ns/' xmlns='DAV:'><s:set><href>mailto:bob@example.org</href><s:read/></s:set>\
                 <s:remove><href>mailto:eve@evil.example</href></s:remove></s:share>";
    let kind = [("content-type", "application/xml")];
    let shared = part("POST", "/e/w/", &kind, &Bytes::from(share), &seen(At::Nothing)).unwrap().operation;
    let roles: Vec<String> =
        shared.audience.unwrap().members.into_iter().map(|one| format!("{} {}", one.address, one.role)).collect();
    assert_eq!(roles, ["bob@example.org gains access", "eve@evil.example loses access"]);
}

#[test]
fn a_collection_of_neither_calendars_nor_contacts_is_called_what_it_is() {
    let At::Tree(tree, people) = calendar(2) else { panic!() };
    let mut tree = *tree;
    tree.collections[0].holds = Holds::Else;
    let at = seen(At::Tree(Box::new(tree), people));
    let operation = part("DELETE", "/e/w/", &[], &Bytes::new(), &at).unwrap().operation;
    assert_eq!((operation.verb.as_str(), operation.objects.kind()), ("Delete a collection of", Some("entry")));
    assert!(operation.facts.iter().any(|fact| (fact.label.as_str(), fact.value.as_str()) == ("Collection", "Work")));
}

#[test]
fn a_day_without_a_time_zone_is_handed_on_as_a_day() {
    let date = |line: &str| {
        let text = format!("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\n{line}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n");
        super::super::deed::glimpse("/a", text.as_bytes()).view.date.unwrap()
    };
    assert_eq!(date("DTSTART;VALUE=DATE:20260302"), "2026-03-02");
    assert_eq!(date("DTSTART;TZID=Europe/Berlin:20260302T000000"), "2026-03-02");
    assert_eq!(date("DTSTART:20260302T090000Z"), "2026-03-02T09:00:00Z");
}

#[test]
fn whoever_is_invited_gets_nothing_that_was_not_shown_be_it_there_before() {
    const TEXT: &str = "Pay at https://evil.example";
    let shown = |part: &Part, text: &str| part.operation.facts.iter().any(|fact| fact.value.contains(text));
    let guest = "ATTENDEE:mailto:bob@example.org\r\n";
    let said = format!("DESCRIPTION:{TEXT}\r\nLOCATION:Room 7\r\n");
    let there = seen(At::Entry(member("/e/w/a.ics"), event("Talk", &said)));
    let put = |text: &str, seen: &Seen| part("PUT", "/e/w/a.ics", &[], &event("Talk", text), seen).unwrap();
    let invited = put(&format!("{said}{guest}"), &there);
    assert_eq!(invited.operation.class, Class::Send);
    assert!(shown(&invited, TEXT) && shown(&invited, "Room 7"), "{:?}", invited.operation.facts);
    let to = [("destination", "http://127.0.0.1:4711/cal/e/x/b.ics")];
    let moved = seen(At::Entry(member("/e/w/a.ics"), event("Talk", &format!("{said}{guest}"))));
    let moved = part("MOVE", "/e/w/a.ics", &to, &Bytes::new(), &moved).unwrap();
    assert!(shown(&moved, TEXT), "{:?}", moved.operation.facts);
    // An encoding that is none makes no file of a text.
    for text in [format!("DESCRIPTION;ENCODING=8BIT:{TEXT}\r\n"), format!("DESCRIPTION:data:{TEXT}\r\n")] {
        let invited = put(&format!("{text}{guest}"), &there);
        assert!(shown(&invited, TEXT), "{:?}", invited.operation.facts);
    }
    // Labels that are cut stay apart.
    let zone = "A".repeat(210);
    let instead = |number: u8, title: &str| {
        format!(
            "END:VEVENT\r\nBEGIN:VEVENT\r\nUID:u1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260309T090000Z\r\nRECURRENCE-ID;TZID={zone}{number}:20260309T090000\r\nSUMMARY:{title}\r\n"
        )
    };
    let text = |one: &str, other: &str| format!("{guest}{}{}", instead(1, one), instead(2, other));
    let there = seen(At::Entry(member("/e/w/a.ics"), event("Talk", &text("Before", "Before"))));
    let invited = put(&text("First", "Second"), &there);
    assert!(shown(&invited, "First") && shown(&invited, "Second"), "{:?}", invited.operation.facts);
}

#[test]
fn a_contact_that_can_not_be_read_invites_nobody() {
    let stored =
        At::Entry(member("/e/c/a.vcf"), Bytes::from_static(b"BEGIN:VCARD\r\nNOTE:soft=\r\nbreak\r\nEND:VCARD\r\n"));
    let gone = part("DELETE", "/e/c/a.vcf", &[], &Bytes::new(), &seen(stored)).unwrap();
    assert_eq!((gone.operation.class, gone.operation.audience), (Class::Destroy, None));
}

#[test]
fn a_line_that_readers_cut_at_different_places_is_no_line() {
    for odd in [
        "ATTENDEE;LANGUAGE=a\"b:mailto:eve@evil.example,\";CHARSET=c:mailto:me@own.example",
        "SUMMARY;LANGUAGE=a\"b:Pay at evil.example\";CHARSET=c:Lunch",
        "SUMMARY;LANGUAGE=\"a\"b:Pay\";X=c:Lunch",
        "SUMMARY;\"LANGUAGE=a:b\":Lunch",
        "SUMMARY;=a:Lunch",
    ] {
        let text = event("Talk", &format!("{odd}\r\n"));
        let refused = part("PUT", "/e/w/a.ics", &[], &text, &seen(At::Nothing)).unwrap_err();
        assert_eq!(refused.status, 415, "{odd}: {refused:?}");
    }
    let usual = "ATTENDEE;CN=\"Ann; of: us\";MEMBER=\"mailto:a@x\",\"mailto:b@x\";X=1:mailto:ann@own.example";
    assert!(part("PUT", "/e/w/a.ics", &[], &event("Talk", &format!("{usual}\r\n")), &seen(At::Nothing)).is_ok());
}

#[test]
fn links_dressed_as_files_and_answers_to_invitations_are_told() {
    let guest = "ATTENDEE:mailto:bob@example.org\r\n";
    let told = |line: &str| {
        let text = event("Talk", &format!("{guest}{line}\r\n"));
        let facts = part("PUT", "/e/w/a.ics", &[], &text, &seen(At::Nothing)).unwrap().operation.facts;
        facts.into_iter().map(|fact| format!("{}: {}\n", fact.label, fact.value)).collect::<String>()
    };
    let link = told("ATTACH;ENCODING=BASE64:https://evil.example/login");
    assert!(link.contains("https://evil.example/login"), "{link}");
    let file = told("ATTACH;ENCODING=BASE64;VALUE=BINARY:QUJDRA==");
    assert!(file.contains("a file of 6 bytes"), "{file}");
    let answer = told("ATTENDEE;PARTSTAT=DECLINED:mailto:erin@example.com");
    assert!(answer.contains("PARTSTAT: DECLINED"), "{answer}");
    assert!(!told("ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:erin@example.com").contains("PARTSTAT"));
}
