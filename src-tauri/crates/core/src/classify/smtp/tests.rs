#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use bytes::Bytes;
use proptest::prelude::*;

use super::{
    DataFrame, Dialogue, Envelope, Flaw, Limits, NAMED, Step, divisible, is_address, restrict, seen_from, stuffed,
    submission, submitted,
};
use crate::operation::{Class, Part};

const LIMITS: Limits = Limits { mail: 1000, recipients: 3 };
const MAIL: &str = "From: Me <me@x.org>\r\nTo: Alice <alice@y.example>\r\nSubject: s\r\n\r\nHello\r\n";

fn envelope(from: &str, to: &[&str]) -> Envelope {
    Envelope {
        from: from.to_owned(),
        recipients: to.iter().map(|one| (*one).to_owned()).collect(),
        ..Envelope::default()
    }
}

fn part(to: &[&str], mail: &str) -> Part {
    submission(&envelope("me@x.org", to), &Bytes::from(mail.to_owned()))
}

fn own(addresses: &[&str]) -> Vec<String> {
    addresses.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn other_domains_are_seen_from_the_account_and_not_from_where_bounces_go() {
    let check = |from: &str, account: &[&str], expected: Option<&str>| {
        let mut part =
            submission(&envelope(from, &["alice@y.example", "bob@x.org", "eve@evil.example"]), &Bytes::from(MAIL));
        seen_from(&mut part, &own(account));
        assert_eq!(shown(&part, "Other domains").as_deref(), expected, "{from} {account:?}");
        let labels: Vec<&str> = part.operation.facts.iter().map(|fact| fact.label.as_str()).collect();
        let at = |label: &str| labels.iter().position(|one| *one == label);
        assert!(at("Bounces go to") < at("Other domains") && at("Other domains") < at("Subject"), "{labels:?}");
    };
    check("me@X.ORG", &["me@x.org"], Some("evil.example, y.example"));
    check("eve@evil.example", &["me@x.org"], Some("evil.example, y.example"));
    check("", &["me@x.org", "me@y.example"], Some("evil.example, y.example"));
    // As far as nobody knows whose account it is, the envelope says.
    check("eve@evil.example", &[], Some("x.org, y.example"));
}

#[test]
fn addresses_that_can_be_shown() {
    for good in ["me@x.org", "u+tag@localhost", "gr\u{fc}n@x.org", "me@xn--bcher-kva.example"] {
        assert!(is_address(good), "{good}");
    }
    for bad in ["me", "@x.org", "me@", "me@x.org\r\nRCPT", "a@b@x.org", "<me@x.org>", "me @x.org", "me@x..org"] {
        assert!(!is_address(bad), "{bad}");
    }
    assert!(!is_address(&format!("{}@x.org", "m".repeat(250))));
}

fn shown(part: &Part, label: &str) -> Option<String> {
    part.operation.facts.iter().find(|fact| fact.label == label).map(|fact| fact.value.clone())
}

fn reached(part: &Part) -> Vec<String> {
    let members = part.operation.audience.iter().flat_map(|audience| &audience.members);
    members.map(|member| format!("{}:{}", member.role, member.address)).collect()
}

#[test]
fn bounces_reach_somebody_too() {
    let check = |from: &str, expected: &[&str]| {
        let mut part = submission(&envelope(from, &["alice@y.example"]), &Bytes::from(MAIL));
        seen_from(&mut part, &own(&["me@x.org", "me2@x.example"]));
        assert_eq!(reached(&part), expected, "{from}");
    };
    check("Me@x.org", &["to:alice@y.example"]);
    check("me2@X.example", &["to:alice@y.example"]);
    check("", &["to:alice@y.example"]);
    check("alice@y.example", &["to:alice@y.example", "bounces:alice@y.example"]);
    check("eve@z.example", &["to:alice@y.example", "bounces:eve@z.example"]);
}

/// A transcript: `>` the agent's lines, `<` what the door says; `*` whatever is no reply. The agent is known from the start if `known`.
fn check(known: bool, transcript: &[&str]) {
    let mut dialogue = Dialogue::new(LIMITS);
    if known {
        dialogue.command(b"EHLO agent\r\n");
        dialogue.authenticated(true);
    }
    let mut said = Vec::new();
    for line in transcript {
        let (mark, text) = line.split_at(2);
        if mark == "> " {
            assert!(said.is_empty(), "nobody expected {said:?}");
            said = match dialogue.command(format!("{text}\r\n").as_bytes()) {
                Step::Reply(reply) | Step::Close(reply) => reply.wire().lines().map(str::to_owned).collect(),
                Step::Authenticate { mechanism, initial } => vec![format!("{mechanism:?} {initial:?}")],
                Step::Take(envelope) => vec![format!("{} -> {}", envelope.from, envelope.recipients.join(" "))],
            };
        } else {
            assert_eq!(said.remove(0), text, "{transcript:?}");
        }
    }
    assert!(said.is_empty(), "nobody expected {said:?}");
}

#[test]
fn an_ordinary_submission() {
    check(
        false,
        &[
            "> EHLO agent",
            "< 250-localhost",
            "< 250-PIPELINING",
            "< 250-SIZE 1000",
            "< 250-8BITMIME",
            "< 250-SMTPUTF8",
            "< 250-ENHANCEDSTATUSCODES",
            "< 250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER",
            "> MAIL FROM:<me@x.org>",
            "< 530 5.7.0 Log in first: user is the account, password is an access token",
            "> AUTH PLAIN AGE=",
            "< Plain Some(\"AGE=\")",
        ],
    );
    check(
        true,
        &[
            "> MAIL FROM:<me@x.org> SIZE=20 BODY=8BITMIME AUTH=<>",
            "< 250 2.1.0 Go on",
            "> RCPT TO:<Alice@Y.Example>",
            "< 250 2.1.5 Go on",
            "> RCPT TO:<Alice@y.example>",
            "< 250 2.1.5 Named before",
            "> DATA",
            "< me@x.org -> Alice@y.example",
            "> DATA",
            "< 503 5.5.1 MAIL and RCPT come first",
            "> QUIT",
            "< 221 2.0.0 Goodbye",
        ],
    );
}

#[test]
fn what_could_hide_a_text_or_a_recipient_is_not_understood() {
    check(
        true,
        &[
            "> STARTTLS",
            "< 502 5.5.1 This door is on this machine only; STARTTLS is not offered",
            "> MAIL FROM:<me@x.org> HOLDFOR=600",
            "< 555 5.5.4 Only SIZE, BODY=7BIT, BODY=8BITMIME and SMTPUTF8 are understood with MAIL",
            "> MAIL FROM:<me@x.org> BODY=BINARYMIME",
            "< 555 5.5.4 Only SIZE, BODY=7BIT, BODY=8BITMIME and SMTPUTF8 are understood with MAIL",
            "> MAIL FROM:<me@x.org> SIZE=1001",
            "< 552 5.3.4 A mail may have 1000 bytes here",
            "> MAIL FROM:<>",
            "< 250 2.1.0 Go on",
            "> MAIL FROM:<me@x.org>",
            "< 503 5.5.1 One mail at a time: RSET forgets the one that was begun",
            "> RCPT TO:<a@x.org> NOTIFY=NEVER ORCPT=rfc822;z@evil.example",
            "< 555 5.5.4 No parameters are understood with RCPT",
            "> RCPT TO:<\"a@x.org\"@evil.example>",
            "< 553 5.1.3 This recipient's address can't be shown beyond doubt",
            "> RCPT TO:<a%evil.example@x.org>",
            "< 553 5.1.3 This recipient's address can't be shown beyond doubt",
            "> RCPT TO:<>",
            "< 553 5.1.3 This recipient's address can't be shown beyond doubt",
            "> RCPT TO:<postmaster>",
            "< 553 5.1.3 This recipient's address can't be shown beyond doubt",
            "> RCPT TO:<ä@x.org>",
            "< 553 5.1.3 This recipient's address can't be shown beyond doubt",
            "> BDAT 20 LAST",
            "< 502 5.5.1 The text of a mail comes with DATA only, so that it can be shown",
            "> BURL imap://x LAST",
            "< 502 5.5.1 The text of a mail comes with DATA only, so that it can be shown",
            "> DATA",
            "< 503 5.5.1 MAIL and RCPT come first",
            "> XCLIENT ADDR=1.2.3.4",
            "< 500 5.5.2 This command is not understood",
        ],
    );
}

#[test]
fn recipients_have_a_limit_and_mistakes_an_end() {
    let mut dialogue = Dialogue::new(LIMITS);
    dialogue.command(b"EHLO agent\r\n");
    dialogue.authenticated(true);
    dialogue.command(b"MAIL FROM:<me@x.org>\r\n");
    for at in 0..3 {
        dialogue.command(format!("RCPT TO:<a{at}@x.org>\r\n").as_bytes());
    }
    let Step::Reply(reply) = dialogue.command(b"RCPT TO:<b@x.org>\r\n") else { panic!() };
    assert_eq!(reply.wire(), "452 4.5.3 At most 3 recipients a mail\r\n");
    let end = (0..100).find(|_| matches!(dialogue.command(b"WHAT\r\n"), Step::Close(_)));
    assert_eq!(end, Some(20));
}

#[test]
fn lines_end_with_both_letters() {
    let check = |bytes: &[u8], expected: Result<Option<usize>, u16>| {
        assert_eq!(Dialogue::command_end(bytes).map_err(|reply| reply.code), expected, "{bytes:?}");
    };
    check(b"NOOP\r\nQUIT\r\n", Ok(Some(6)));
    check(b"NOOP", Ok(None));
    check(b"NOOP\r", Ok(None));
    check(b"NOOP\nQUIT\r\n", Err(500));
    check(b"NO\rOP\r\n", Err(500));
    check(b"NO\0OP\r\n", Err(500));
    check(&[b'x'; 20_000], Err(500));
}

#[test]
fn the_envelope_says_who_gets_it() {
    let mail = MAIL.replace("Subject", "Cc: c@x.org, d@y.example\r\nReply-To: z@evil.example\r\nSubject");
    let part = part(&["alice@y.example", "c@x.org", "h@evil.example"], &mail);
    assert_eq!(part.operation.class, Class::Send);
    assert_eq!(reached(&part), ["to:alice@y.example", "cc:c@x.org", "hidden:h@evil.example"]);
    assert_eq!(shown(&part, "Other domains").as_deref(), Some("evil.example, y.example"));
    assert_eq!(shown(&part, "Named in it, but not sent to").as_deref(), Some("d@y.example"));
    assert_eq!(shown(&part, "Replies go to").as_deref(), Some("z@evil.example"));
    assert_eq!(shown(&part, "Bounces go to"), None);
    let other = submission(&envelope("spoof@x.org", &["alice@y.example"]), &Bytes::from(MAIL));
    assert_eq!(shown(&other, "Bounces go to").as_deref(), Some("spoof@x.org"));
}

#[test]
fn what_is_sent_is_what_was_decided() {
    let mail = Bytes::from(MAIL);
    let mut envelope = envelope("me@x.org", &["alice@y.example", "b@y.example"]);
    envelope.eight_bit = true;
    let part = submission(&envelope, &mail);
    assert_eq!(submitted(&part.call), Some((envelope.clone(), mail.clone())));
    let mut other = part.call.clone();
    other.headers.retain(|(_, value)| value != "b@y.example");
    assert_ne!(other.digest(), part.call.digest());
    envelope.recipients.push("c@y.example".to_owned());
    assert_ne!(submission(&envelope, &mail).operation.canonical(), part.operation.canonical());
}

#[test]
fn whom_the_person_leaves_out_gets_nothing() {
    let whole = part(&["alice@y.example", "b@y.example", "h@evil.example"], MAIL);
    let keep = |one: &[&str]| restrict(&whole, &one.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
    let cut = keep(&["alice@y.example"]).unwrap();
    let (left, mail) = submitted(&cut.call).unwrap();
    assert_eq!((left.recipients, mail), (vec!["alice@y.example".to_owned()], Bytes::from(MAIL)));
    assert_eq!(cut.operation.audience.as_ref().unwrap().members.len(), 1);
    let doubtful: Vec<&str> =
        cut.params.iter().filter(|(name, _)| name == NAMED).map(|(_, one)| one.as_str()).collect();
    assert!(doubtful.contains(&"b@y.example") && doubtful.contains(&"h@evil.example"), "{doubtful:?}");
    assert!(keep(&[]).is_none() && keep(&["x@y.example"]).is_none());
    assert!(divisible(&part(&["alice@y.example"], MAIL)).is_none(), "one is all");
    let both = ["nobody@good.example", "eve@evil.example"];
    let mut back = submission(&envelope("Eve@evil.example", &both), &Bytes::from(MAIL));
    seen_from(&mut back, &own(&["me@x.org"]));
    assert!(
        restrict(&back, &["nobody@good.example".to_owned()]).is_none(),
        "it would come back whole to who is left out"
    );
    assert!(restrict(&back, &["eve@evil.example".to_owned()]).is_some());
}

#[test]
fn a_second_try_of_the_same_mail_is_the_same() {
    let first = part(&["a@x.org", "b@x.org"], MAIL);
    let dated = MAIL.replace("Subject", "Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@x>\r\nSubject");
    assert_eq!(part(&["b@x.org", "a@x.org"], &dated).operation.content, first.operation.content);
    assert_ne!(
        part(&["a@x.org", "b@x.org"], &MAIL.replace("Hello", "Hallo")).operation.content,
        first.operation.content
    );
}

#[test]
fn a_mail_that_can_be_read_in_two_ways_can_only_be_denied() {
    let part = part(&["a@x.org"], &MAIL.replace("Subject: s", "Subject: s\r\nSubject: t"));
    assert!(part.operation.opaque);
    assert_eq!(part.operation.class, Class::Unclassified);
    assert_eq!(reached(&part), ["hidden:a@x.org"]);
}

fn taken(bytes: &[u8], limit: usize) -> (usize, Option<Result<Vec<u8>, Flaw>>) {
    let mut frame = DataFrame::new(limit);
    let (read, ended) = frame.take(bytes);
    (read, ended.then(|| frame.into_mail()))
}

#[test]
fn a_mail_ends_at_one_place_only() {
    let check = |wire: &str, rest: &str, expected: Result<&str, Flaw>| {
        let (read, mail) = taken(wire.as_bytes(), 1000);
        assert_eq!(&wire[read..], rest, "{wire:?}");
        assert_eq!(mail.unwrap(), expected.map(|mail| mail.as_bytes().to_vec()), "{wire:?}");
    };
    check("Hello\r\n.\r\nQUIT\r\n", "QUIT\r\n", Ok("Hello\r\n"));
    check(".\r\n", "", Ok(""));
    check("..\r\n.x\r\n...\r\n.\r\n", "", Ok(".\r\nx\r\n..\r\n"));
    // Smuggling: what other servers take for an end is inside of one refused mail.
    check("Hello\n.\nMAIL FROM:<z@evil.example>\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("Hello\n.\r\nMAIL FROM:<z@evil.example>\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("Hello\r\n.\nMAIL FROM:<z@evil.example>\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("Hello\r.\rMAIL FROM:<z@evil.example>\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("Hello\r\n.\rMAIL FROM:<z@evil.example>\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("Hello\r\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("\n.\r\n.\r\n", "", Err(Flaw::BareLineEnd));
    check("a\0b\r\n.\r\n", "", Err(Flaw::Zero));
    check(&format!("{}\r\n.\r\n", "x".repeat(990)), "", Ok(&format!("{}\r\n", "x".repeat(990))));
    check(&format!("{}\r\n.\r\n", "x".repeat(1000)), "", Err(Flaw::TooLarge));
    check(&format!("{}\r\n.\r\n", "x".repeat(20_000)), "", Err(Flaw::TooLarge));
    let (_, mail) = taken(format!("{}\r\n.\r\n", "x".repeat(20_000)).as_bytes(), 100_000);
    assert_eq!(mail, Some(Err(Flaw::LongLine)));
}

proptest! {
    #[test]
    fn how_it_is_cut_makes_no_difference(wire in "[a.\r\n\0]{0,40}", cut in 0usize..40) {
        let wire = format!("{wire}\r\n.\r\nNOOP\r\n").into_bytes();
        let whole = taken(&wire, 30);
        let mut frame = DataFrame::new(30);
        let cut = cut.min(wire.len());
        let (first, ended) = frame.take(&wire[..cut]);
        let read = if ended { first } else { cut + frame.take(&wire[cut..]).0 };
        prop_assert_eq!(whole, (read, Some(frame.into_mail())));
    }

    #[test]
    fn what_was_stuffed_comes_back(lines in prop::collection::vec("[.a]{0,5}", 0..8)) {
        let mail: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let wire = stuffed(mail.as_bytes());
        prop_assert_eq!(taken(&wire, 1000), (wire.len(), Some(Ok(mail.into_bytes()))));
    }

    #[test]
    fn no_line_breaks_the_dialogue(lines in prop::collection::vec("[A-Z]{0,5}[ -~]{0,30}", 0..20)) {
        let mut dialogue = Dialogue::new(LIMITS);
        for line in lines {
            if let Step::Reply(reply) = dialogue.command(format!("{line}\r\n").as_bytes()) {
                let wire = reply.wire();
                prop_assert!(wire.ends_with("\r\n") && wire.is_ascii());
            }
        }
    }
}

#[test]
fn attack_whom_a_header_brings_in_is_shown() {
    let of = |headers: &str| part(&["alice@y.example"], &format!("{headers}\r\nTo: alice@y.example\r\n\r\nHello\r\n"));
    let check = |headers: &str, label: &str, expected: Option<&str>| {
        assert_eq!(shown(&of(headers), label).as_deref(), expected, "{headers}");
    };
    let me = "From: Me <me@x.org>";
    check("From: Me <me@x.org>, Boss <boss@x.org>", "From", Some("Me <me@x.org>, Boss <boss@x.org>"));
    check("From: us: me@x.org, boss@x.org;", "From", Some("me@x.org, boss@x.org"));
    check("From: boss@x.org <me@x.org>", "From", Some("boss@x.org <me@x.org>"));
    check("From: Me (boss@x.org) <me@x.org>", "From", Some("Me (boss@x.org) <me@x.org>"));
    check("From: =?utf-8?q?B=C3=B6ss?= <me@x.org>", "From", Some("Böss <me@x.org>"));
    check(&format!("{me}\r\nSender: eve@z.example"), "Handed in by", Some("eve@z.example"));
    check(&format!("{me}\r\nSender: Me <me@x.org>"), "Handed in by", None);
    check(&format!("{me}\r\nReply-To: eve"), "Replies go to", Some("eve"));
    check(&format!("{me}\r\nReply-To: all:\r\n eve@z.example;"), "Replies go to", Some("eve@z.example"));
    check(&format!("{me}\r\nMail-Followup-To: eve@z.example"), "Replies to all go to", Some("eve@z.example"));
    check(&format!("{me}\r\nDisposition-Notification-To: eve@z.example"), "Read receipts go to", Some("eve@z.example"));
    check(&format!("{me}\r\nResent-From: eve@z.example"), "Sent on by", Some("eve@z.example"));
    check(&format!("{me}\r\nSubject: =?utf-8?q?a=0D=0ABcc:_eve@z.example?="), "Bcc", None);
}

#[test]
fn attack_what_takes_far_more_room_than_its_bytes_can_only_be_denied() {
    let headers = format!("From: me@x.org\r\n{}\r\nHello\r\n", "a:\r\n".repeat(20_000));
    assert_eq!(
        shown(&part(&["alice@y.example"], &headers), "The mail can't be decoded").as_deref(),
        Some("it has more than 10000 headers")
    );
    let kind = "From: me@x.org\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n";
    let parts = part(&["alice@y.example"], &format!("{kind}{}", "--a\r\n\r\n".repeat(60_000)));
    assert!(parts.operation.opaque && parts.operation.class == Class::Unclassified);
    let lines = part(&["alice@y.example"], &format!("{kind}--a\r\n{}", "a:\r\n".repeat(1_000_001)));
    assert!(lines.operation.opaque);
    let long = part(&["alice@y.example"], &format!("From: me@x.org\r\n\r\n{}", "x\r\n".repeat(1_000_001)));
    assert!(!long.operation.opaque, "text has no such bounds");
}
