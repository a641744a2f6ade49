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
