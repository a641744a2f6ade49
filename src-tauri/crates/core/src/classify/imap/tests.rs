#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! Transcripts: what an agent says, and what of it would reach the server.

use proptest::prelude::*;

use super::command::{Command, Mode, Refused, append, parse, tag};
use super::deed::{Deed, On, Server, deed_of, is_whole, object, only_reads, opened, place_of, restrict, verb};
use super::name::{canonical, shown, wire_name};
use super::reply::{Listed, capabilities, fetched, found, listed, status, untagged};
use super::server::special;
use super::set::Set;
use super::steps::{Unable, steps};
use super::token::{From, Piece, Token, announced, encode, may_announce, pieces, tokens};
use super::{explained, gmail};
use crate::operation::{Class, Meter, Objects};

mod capabilities;
mod gmail_means;
mod listing;
mod mailboxes;
mod moves;

/// Text with literals as `{n}` + CRLF inside, as one command.
fn split(text: &str) -> Vec<Piece> {
    pieces(text.as_bytes()).unwrap_or_else(|| vec![Piece::Text(text.as_bytes().to_vec())])
}

fn read(text: &str) -> Result<Command, Refused> {
    parse(&split(text))
}

fn server() -> Server {
    Server {
        trash: Some("Trash".to_owned()),
        junk: Some("Junk".to_owned()),
        sent: Some("Sent".to_owned()),
        delimiter: Some('/'),
        moves: true,
        uidplus: true,
        ..Server::default()
    }
}

/// `name attribute attribute`
fn lists(mailboxes: &[&str], delimiter: char) -> Vec<Listed> {
    let one = |text: &&str| {
        let mut words = text.split(' ');
        let name = words.next().unwrap().replace('_', " ");
        Listed { name, attributes: words.map(str::to_owned).collect(), delimiter: Some(delimiter) }
    };
    mailboxes.iter().map(one).collect()
}

fn inbox(uids: &[u32]) -> On {
    On { mailbox: "INBOX".to_owned(), uidvalidity: Some(7), uids: uids.to_vec() }
}

/// What `steps` would send, as text.
fn sent(deed: &Deed, on: &On, server: &Server, soft: bool) -> Vec<String> {
    let steps = steps(deed, on, server, soft, "u1").expect("possible");
    steps.into_iter().map(|step| written_call(&step.call)).collect()
}

fn written_call(call: &crate::call::Call) -> String {
    let crate::call::CallBody::Bytes(body) = &call.body else { panic!("streamed") };
    let place = opened(call).map(|(name, validity)| format!("[{name} {validity}] ")).unwrap_or_default();
    format!("{place}{} {}", verb(call).expect("a verb"), String::from_utf8_lossy(body))
}

#[test]
fn every_spelling_of_marking_as_deleted_is_a_removal() {
    for spelling in [
        "a STORE 1:* +FLAGS (\\Deleted)",
        "a store 1:* +flags (\\deleted)",
        "a uId sToRe 1:* +flags.silent \\deleted",
        "a UID STORE * +FLAGS.SILENT (\\Seen \\DELETED)",
        "a UID STORE $ +FLAGS (\\Deleted)",
        "a STORE 4294967295:* FLAGS (\\Deleted)",
        "a UID STORE 1,3:5,*:9 FLAGS.SILENT (\\Flagged \\Deleted)",
        "a UID STORE 1:* (UNCHANGEDSINCE 12) +FLAGS.SILENT (\\Deleted)",
        "a  UID  STORE  1:*  +FLAGS  (\\Deleted) ",
    ] {
        let Ok(Command::Store { mode, labels, words, unchanged_since, .. }) = read(spelling) else {
            panic!("{spelling}: {:?}", read(spelling))
        };
        let deed = Deed::Store { mode, labels, words, unchanged_since };
        let operation = deed.part(&inbox(&[1, 2, 3]), &server()).operation;
        assert_eq!((operation.class, operation.objects.count()), (Class::Remove, 3), "{spelling}");
        assert_eq!(explained(&read(spelling).unwrap()).unwrap().class, Class::Remove, "{spelling}");
    }
    let plain =
        Deed::Store { mode: Mode::Remove, labels: false, words: vec!["\\Deleted".to_owned()], unchanged_since: None };
    assert_eq!(plain.part(&inbox(&[1]), &server()).operation.class, Class::Modify, "taking the mark away is none");
}

#[test]
fn what_removes_and_what_does_not() {
    let check = |command: &str, class: Class, meters: &[Meter]| {
        let operation = explained(&read(command).unwrap_or_else(|why| panic!("{command}: {why}"))).unwrap();
        assert_eq!((operation.class, operation.meters.as_slice()), (class, meters), "{command}");
    };
    check("a UID MOVE 1:3 Trash", Class::Remove, &[]);
    check("a UID MOVE 1:3 {5}\r\nTrash", Class::Remove, &[]);
    check("a MOVE 1:3 Trash/Old", Class::Remove, &[]);
    check("a UID MOVE 1 \"Junk\"", Class::Remove, &[]);
    check("a UID MOVE 1 Trash2", Class::Modify, &[Meter::LeaveInbox]);
    check("a MOVE 1:* Archive", Class::Modify, &[Meter::LeaveInbox]);
    check("a COPY 1:* Trash", Class::Modify, &[]);
    check("a EXPUNGE", Class::Destroy, &[]);
    check("a UID EXPUNGE 1:*", Class::Destroy, &[]);
    check("a DELETE Projects", Class::Destroy, &[]);
    check("a RENAME Projects Trash/Projects", Class::Destroy, &[]);
    check("a RENAME Projects Junk/Projects", Class::Destroy, &[]);
    check("a RENAME Projects Other", Class::Modify, &[]);
    check("a SETACL INBOX eve lrswipkxtea", Class::Share, &[]);
    check("a DELETEACL INBOX eve", Class::Share, &[]);
    check("a SETMETADATA INBOX (/private/comment \"x\")", Class::Divert, &[]);
    check("a SETQUOTA \"\" (STORAGE 1)", Class::Divert, &[]);
    check("a UID STORE 1 +X-GM-LABELS (\\Trash)", Class::Remove, &[]);
    check("a UID STORE 1 -X-GM-LABELS (\\Inbox)", Class::Modify, &[Meter::LeaveInbox]);
    check("a UID STORE 1 X-GM-LABELS (work)", Class::Modify, &[Meter::LeaveInbox]);
    check("a UID FETCH 1:* (FLAGS ENVELOPE)", Class::Read, &[]);
    check("a UID FETCH 1 BODY[]", Class::Read, &[Meter::Read]);
    check("a FETCH 1 (BODY.PEEK[HEADER.FIELDS (DATE \"FROM\")]<0.100>)", Class::Read, &[]);
    check("a FETCH 1 BODY.PEEK[1.2.TEXT]", Class::Read, &[Meter::Read]);
    check("a FETCH 1 RFC822", Class::Read, &[Meter::Read]);
    check("a SEARCH RETURN (SAVE) 1:5 NOT (OR FROM a SINCE 1-Jan-2026)", Class::Read, &[]);
    check("a UID SORT (REVERSE DATE) UTF-8 ALL", Class::Read, &[]);
    check("a LIST (SPECIAL-USE) \"\" (INBOX \"%\") RETURN (STATUS (MESSAGES))", Class::Read, &[]);
    check("a GETMETADATA (MAXSIZE 10) INBOX (/private/comment)", Class::Read, &[]);
}

#[test]
fn a_search_is_nested_so_deep_and_no_deeper() {
    let addresses = "OR FROM a@b.example ".repeat(50);
    assert!(read(&format!("a SEARCH {addresses}FROM c@d.example")).is_ok());
    for nest in ["NOT ", "OR ALL ", "FUZZY "] {
        assert!(read(&format!("a SEARCH {}ALL", nest.repeat(5_000))).is_err());
    }
}

#[test]
fn what_is_not_understood_has_no_way_upstream() {
    for bad in [
        "a GENURLAUTH \"imap://x\" INTERNAL",
        "a RESETKEY",
        "a REPLACE 1 INBOX {3}\r\nabc",
        "a UID REPLACE 1 INBOX {3}\r\nabc",
        "a NOTIFY SET (selected MessageNew)",
        "a COMPRESS DEFLATE",
        "a UNAUTHENTICATE",
        "a STARTTLS",
        "a UIDBATCHES 100",
        "a X-ANYTHING",
        "a STORE 0 +FLAGS (\\Deleted)",
        "a STORE 1:x +FLAGS (\\Deleted)",
        "a STORE 1 +FLAGS (\"\\\\Deleted\")",
        "a STORE 1 +FLAGS {8}\r\n\\Deleted",
        "a STORE 1 +FLAGS ()",
        "a UID STORE 1:200 +X-GM-LABELS (\"\\\\Starred \\\\Trash\")",
        "a UID STORE 1 +X-GM-LABELS (\\Foo)",
        "a UID STORE 1 +X-GM-LABELS (\"\\\\\")",
        "a UID STORE 1 +X-GM-LABELS (\"\")",
        "a UID STORE 1 +X-GM-LABELS ({5}\r\na\nb\rc)",
        "a UID STORE 1 +X-GM-LABELS ({55}\r\n\\a)\nx UID STORE 1:* +FLAGS (\\Deleted)\ny UID EXPUNGE 1:*)",
        "a UID STORE 1 +X-GM-LABELS ({5}\r\ncaf\u{e9})",
        "a STORE 1 +FLAGZ (\\Deleted)",
        "a FETCH 1 (BODY[)",
        "a FETCH 1 BODY[SOMETHING]",
        "a FETCH 1 (X-UNKNOWN)",
        "a FETCH 1 (FLAGS) (PARTIAL 1:5)",
        "a SELECT \"IN\\BOX\"",
        "a SELECT Tr*sh",
        "a SELECT &AFQAcgBhAHMAaA-",
        "a DELETE {3}\r\na\x00b",
        "a SEARCH",
        "a SEARCH RETURN (PARTIAL 1:5) ALL",
        "a SEARCH NONSENSE",
        "a SEARCH OR ALL",
        "a CLOSE now",
        "a EXPUNGE 1",
        "a NOOP\rb DELETE x",
        "a LIST \"\"",
        "a APPEND INBOX \"a mail\"",
        "a (NOOP)",
        "a NOOP)",
        "a LOGIN \"x",
        "a ID {1}\r\nxy\"",
        // What a server would read as more words than one.
        "a SEARCH NOT SUBJECT zz[ OR NOT SUBJECT ]",
        "a SEARCH NOT SUBJECT BODY[ OR NOT SUBJECT ]",
        "a STORE 1 +X-GM-LABELS (\\x[ \\Trash ])",
        "a STORE 1 +X-GM-LABELS (\"\\\\x \\\\Trash\")",
        "a STATUS a[ (x) ] (MESSAGES)",
        "a GETACL a[\" \"]",
        "a[ x] DELETE Work",
    ] {
        assert!(read(bad).is_err(), "{bad}: {:?}", read(bad));
    }
    assert_eq!(tag(b"+ NOOP"), None);
    assert_eq!(tag(b"a\x01 NOOP"), None);
    assert_eq!(tag(b"a1.b-2 NOOP").as_deref(), Some("a1.b-2"));
}

#[test]
fn a_label_is_sent_as_what_it_was_classified_as() {
    let upstream = |command: &str| {
        let Ok(Command::Store { mode, labels, words, .. }) = read(command) else { panic!("{command}") };
        sent(&Deed::Store { mode, labels, words, unchanged_since: None }, &inbox(&[1]), &server(), false)
    };
    assert_eq!(
        upstream("a UID STORE 1 +X-GM-LABELS (\"\\\\tRASH\" work \"a (b\" {3}\r\nc d)"),
        ["[INBOX 7] UID STORE 1 +X-GM-LABELS.SILENT (\\Trash \"work\" \"a (b\" \"c d\")"]
    );
    assert!(gmail::needs(&read("a STORE 1 -X-GM-LABELS (work)").unwrap()));
    assert!(gmail::needs(&read("a FETCH 1 (UID X-GM-MSGID)").unwrap()));
    assert!(gmail::needs(&read("a SEARCH NOT (X-GM-RAW \"in:trash\")").unwrap()));
    assert!(!gmail::needs(&read("a STORE 1 +FLAGS (work)").unwrap()));
    // An upstream reads a bare line feed as the end of a command, too.
    assert_eq!(pieces(b"1 +FLAGS (a)\nx NOOP ()"), None);
    assert_eq!(encode(&[Token::atom("a)\nx NOOP (")]), None);
    assert_eq!(encode(&[Token::atom("\\Starred \\Trash")]), None);
}

#[test]
fn a_password_is_in_no_debug_text() {
    let login = read("a LOGIN mail canary-token").unwrap();
    assert!(!format!("{login:?}").contains("canary"), "{login:?}");
    let tokens = tokens(&split("a LOGIN mail \"canary-token\""), From::Agent).unwrap();
    assert!(!format!("{tokens:?}").contains("canary"), "{tokens:?}");
}

#[test]
fn an_append_is_known_before_its_mail() {
    let read = |line: &str| append(line.as_bytes()).unwrap();
    let one = read("a APPEND Drafts (\\seen $Forwarded) \" 1-Jan-2026 10:00:00 +0000\" {52428800}").unwrap();
    assert_eq!((one.mailbox.as_str(), one.literal.size, one.literal.waits), ("Drafts", 52_428_800, true));
    assert_eq!(one.flags, ["\\Seen", "$Forwarded"]);
    assert!(!read("a append inbox {12+}").unwrap().literal.waits);
    assert_eq!(read("a append inbox {12+}").unwrap().mailbox, "INBOX");
    assert!(read("a APPEND INBOX ~{12}").unwrap().literal.binary);
    assert!(read("a APPEND INBOX CATENATE (TEXT {12}").is_err());
    assert!(read("a APPEND INBOX (\\Recent) {12}").is_err());
    assert!(append(b"a NOOP {12}").is_none());
    assert!(append(b"a APPEND {5}").is_none() && append(b"a APPEND  {5+}").is_none(), "its mailbox is yet to come");
    assert!(read("a[ APPEND ] x INBOX {12}").is_err());
    let split =
        [Piece::Text(b"a APPEND ".to_vec()), Piece::Literal(b"Drafts".to_vec()), Piece::Text(b" (\\Seen) ".to_vec())];
    let literal = announced(b"{12}").unwrap();
    assert_eq!(super::command::read_append(&split, literal).unwrap().mailbox, "Drafts");
}

#[test]
fn announcements_of_literals() {
    let size = |line: &str| announced(line.as_bytes()).map(|one| (one.size, one.waits, one.binary, one.at));
    assert_eq!(size("a LOGIN {5}"), Some((5, true, false, 8)));
    assert_eq!(size("a LOGIN {5+}"), Some((5, false, false, 8)));
    assert_eq!(size("~{0}"), Some((0, true, true, 0)));
    for none in ["{}", "{+}", "{-1}", "{5} ", "{5}}", "{0x5}", "5}", "{99999999999999999999}", "{ 5}"] {
        assert_eq!(size(none), None, "{none}");
    }
    for one in ["{5}", "x {5+}", "~{0}", "{99999999999999999999}"] {
        assert!(super::token::seems_announced(one.as_bytes()), "{one}");
    }
    for none in ["", "}", "{}", "{+}", "{5} ", "{5}x", "{x5}"] {
        assert!(!super::token::seems_announced(none.as_bytes()), "{none}");
    }
    assert!(may_announce(b"* 1 FETCH (BODY[] {5}"));
    for text in ["* OK see {5}", "L1 NO sorry {5}", "* BYE {5}", "+ {5}"] {
        assert!(!may_announce(text.as_bytes()), "{text}");
    }
}

#[test]
fn sets_are_read_and_written() {
    let same = |text: &str| assert_eq!(Set::parse(text).unwrap().to_string(), text);
    same("1");
    same("1:*");
    same("*:1");
    same("4294967295:*");
    same("1,3:5,*");
    same("$");
    for bad in ["", "0", "1:", ":1", "1,,2", "4294967296", "-1", "+1", "1:2:3", "a", "1 2", "$,1"] {
        assert_eq!(Set::parse(bad), None, "{bad}");
    }
    assert_eq!(Set::of(&[5, 3, 4, 9, 3]).unwrap().to_string(), "3:5,9");
    assert_eq!(Set::of(&[]), None);
    let bounded = |set: &str, exists| Set::parse(set).unwrap().bounded(exists).map(|set| set.to_string());
    assert_eq!(bounded("3:*,9,7:4", 5).as_deref(), Some("3:5,4:5"), "a number beyond the last is no other message's");
    assert_eq!((bounded("9", 5), bounded("*", 0), bounded("$", 0).as_deref()), (None, None, Some("$")));
    let holds = |set: &str| (1..=9).filter(|number| Set::parse(set).unwrap().holds(*number)).collect::<Vec<_>>();
    assert_eq!((holds("5:3,8"), holds("4:*,2"), holds("$")), (vec![3, 4, 5, 8], vec![2], vec![]));
    assert_eq!(Set::parse("5:3,9").unwrap().numbers(10).unwrap(), [3, 4, 5, 9]);
    assert_eq!(Set::parse("1:4294967295").unwrap().numbers(10), None);
}

#[test]
fn names_have_one_spelling() {
    assert_eq!(canonical(b"inBox").as_deref(), Some("INBOX"));
    assert_eq!(canonical(b"inbox/Sub").as_deref(), Some("INBOX/Sub"));
    assert_eq!(canonical(b"inboxes").as_deref(), Some("inboxes"));
    assert_eq!(canonical(b"&ZeVnLIqe-").as_deref(), Some("&ZeVnLIqe-"));
    assert_eq!(shown("&ZeVnLIqe-").as_deref(), Some("日本語"));
    assert_eq!(canonical(b"A&-B").as_deref(), Some("A&-B"));
    assert_eq!(canonical(b"Acme Inc.").as_deref(), Some("Acme Inc."));
    assert_eq!(canonical(b"INBOX.Inboxes").as_deref(), Some("INBOX.Inboxes"));
    // Measured: Dovecot takes these for the INBOX where a namespace's prefix is `INBOX.` or `INBOX/`, or clients are to be got along with.
    for inbox in ["INBOX/", "inbox.", "INBOX.INBOX", "Inbox/inbox", "INBOX.INBOX.Sub", "INBOX\\inbox", "inbox|INBOX"] {
        assert_eq!(canonical(inbox.as_bytes()), None, "{inbox}");
    }
    for bad in ["a/", "./a", "a/../b", "..", "a/."].iter().filter(|name| name.contains('/')) {
        assert_eq!(canonical(bad.as_bytes()), None, "{bad}");
    }
    for bad in ["", "a*", "a%", "a\x00", "&AFQ-", "&", "&ZeVnLIqe", "&ZeVnLIqe=-", "&2D0-", "caf\u{e9}"] {
        assert_eq!(canonical(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn a_deed_becomes_commands_on_exactly_its_messages() {
    let remove =
        Deed::Store { mode: Mode::Add, labels: false, words: vec!["\\Deleted".to_owned()], unchanged_since: Some(9) };
    assert_eq!(
        sent(&remove, &inbox(&[1, 2, 3, 7]), &server(), false),
        ["[INBOX 7] UID STORE 1:3,7 (UNCHANGEDSINCE 9) +FLAGS.SILENT (\\Deleted)"]
    );
    assert_eq!(
        sent(&Deed::Expunge, &inbox(&[4, 9]), &server(), true),
        ["[INBOX 7] UID STORE 4,9 -FLAGS.SILENT (\\Deleted)", "[INBOX 7] UID MOVE 4,9 \"Trash\""]
    );
    assert_eq!(sent(&Deed::Expunge, &inbox(&[4, 9]), &server(), false), ["[INBOX 7] UID EXPUNGE 4,9"]);
    let old = Server { moves: false, ..server() };
    assert_eq!(
        sent(&Deed::Move { to: "Archive".to_owned() }, &inbox(&[4]), &old, false),
        [
            "[INBOX 7] UID COPY 4 \"Archive\"",
            "[INBOX 7] UID STORE 4 +FLAGS.SILENT (\\Deleted)",
            "[INBOX 7] UID EXPUNGE 4"
        ]
    );
    let older = Server { uidplus: false, ..old };
    assert_eq!(steps(&Deed::Expunge, &inbox(&[4]), &older, false, ""), Err(Unable::NoUidplus));
    assert_eq!(steps(&remove, &inbox(&[]), &server(), false, ""), Err(Unable::Nothing));
    let mailbox = On { mailbox: "Work/Old".to_owned(), uidvalidity: None, uids: Vec::new() };
    assert_eq!(
        sent(&Deed::Delete { messages: 3 }, &mailbox, &server(), true),
        ["RENAME \"Work/Old\" \"Trash/Old-u1\""]
    );
    assert_eq!(sent(&Deed::Delete { messages: 3 }, &mailbox, &server(), false), ["DELETE \"Work/Old\""]);
    let many: Vec<u32> = (0..5_000).map(|n| n * 2 + 1).collect();
    let commands = sent(&remove, &inbox(&many), &server(), false);
    assert!(commands.len() > 1 && commands.iter().all(|one| one.len() < 8_000));
    let listed: usize = commands.iter().map(|one| one.matches(',').count() + 1).sum();
    assert_eq!(listed, 5_000);
}

#[test]
fn a_part_can_be_cut_down_and_read_again() {
    let part = Deed::Move { to: "Trash".to_owned() }.part(&inbox(&[1, 2, 3]), &server());
    let keep = vec![object("INBOX", 7, 2)];
    let cut = restrict(&part, &keep).unwrap();
    let (deed, on) = deed_of(&cut).unwrap();
    assert_eq!((deed, on.uids), (Deed::Move { to: "Trash".to_owned() }, vec![2]));
    assert_eq!(cut.operation.objects.ids(), keep);
    assert_eq!(restrict(&part, &["INBOX;8;2".to_owned()]), None, "another UIDVALIDITY");
    assert_eq!(place_of("a;b;7;2"), Some(("a;b", 7, 2)));
    assert!(!only_reads(&part.call) && verb(&part.call).is_none(), "a deed is never sent as it is");
    let once = Deed::Expunge.part(&inbox(&[1]), &server()).operation.canonical();
    assert_ne!(once, Deed::Expunge.part(&inbox(&[2]), &server()).operation.canonical());
    assert_ne!(once, Deed::Move { to: "Trash".to_owned() }.part(&inbox(&[1]), &server()).operation.canonical());
}

#[test]
fn a_mailbox_goes_whole_with_each_of_its_messages() {
    let delete = Deed::Delete { messages: 2 };
    let on = On { mailbox: "Work".to_owned(), uidvalidity: Some(7), uids: vec![1, 5] };
    let part = delete.part(&on, &server());
    assert_eq!((part.operation.verb.as_str(), part.operation.class), ("Delete a mailbox of", Class::Destroy));
    assert_eq!(part.operation.objects.ids(), ["Work;7;1", "Work;7;5"]);
    assert!(is_whole(&part) && restrict(&part, &[object("Work", 7, 1)]).is_none());
    let empty = delete.part(&On { uids: Vec::new(), ..on.clone() }, &server());
    assert_eq!((empty.operation.verb.as_str(), empty.operation.objects.ids()), ("Delete", &["Work;".to_owned()][..]));
    let entry = crate::undo::imap::entry(
        &part,
        &delete,
        &on,
        (&std::collections::BTreeMap::new(), None),
        &crate::undo::imap::End::Copied { subscribed: true },
    );
    let back = crate::undo::imap::inverse(&entry.unwrap(), &std::collections::BTreeMap::new(), &server());
    let verbs: Vec<&str> = back.steps.iter().map(|one| one.step.call.method.as_str()).collect();
    assert_eq!(verbs, ["CREATE", "SUBSCRIBE"], "then its messages, from the quarantine");
    assert!(back.not_restored.is_empty());
}

#[test]
fn softening_needs_a_trash_that_is_somewhere_else() {
    let soft = |on: &On, server: &Server| Deed::Expunge.part(on, server).operation.soften.is_some();
    assert!(soft(&inbox(&[1]), &server()));
    assert!(!soft(&On { mailbox: "Trash".to_owned(), ..inbox(&[1]) }, &server()));
    assert!(!soft(&On { mailbox: "Trash/Old".to_owned(), ..inbox(&[1]) }, &server()));
    assert!(soft(&On { mailbox: "Trashy".to_owned(), ..inbox(&[1]) }, &server()));
    assert!(!soft(&inbox(&[1]), &Server { trash: None, ..server() }));
}

#[test]
fn what_was_to_be_softened_is_never_removed_for_ever_instead() {
    let gone = Server { trash: None, ..server() };
    let flat = Server { delimiter: None, ..server() };
    let mailbox = On { mailbox: "Old".to_owned(), uidvalidity: None, uids: Vec::new() };
    let delete = Deed::Delete { messages: 3 };
    assert_eq!(steps(&Deed::Expunge, &inbox(&[1]), &gone, true, "u1"), Err(Unable::NoTrash));
    assert_eq!(steps(&delete, &mailbox, &gone, true, "u1"), Err(Unable::NoTrash));
    assert_eq!(steps(&delete, &mailbox, &flat, true, "u1"), Err(Unable::NoTrash));
}

#[test]
fn what_a_server_says() {
    let line = |text: &str| untagged(&split(text)).unwrap();
    let ok = status(b"L3 OK [COPYUID 17 1:2,9 21,22,5] Done").unwrap();
    assert_eq!(ok.copied(), Some((17, vec![(1, 21), (2, 22), (9, 5)])));
    assert_eq!(status(b"* OK [APPENDUID 17 44] x").unwrap().appended(), Some((17, 44)));
    assert_eq!(status(b"* OK [UIDVALIDITY 3] x").unwrap().uidvalidity(), Some(3));
    for lie in ["COPYUID 17 1:2 21", "COPYUID 17 1:4000000000 1:4000000000", "COPYUID x 1 1", "COPYUID 17 * 1"] {
        assert_eq!(status(format!("a OK [{lie}] x").as_bytes()).unwrap().copied(), None, "{lie}");
    }
    for (said, numbers) in [
        ("* SEARCH 3 5 (MODSEQ 9)", Some(vec![3, 5])),
        ("* search  4294967295 3 ", Some(vec![u32::MAX, 3])),
        ("* SEARCH", Some(Vec::new())),
        ("* SEARCH 3 x", None),
        ("* SEARCH +3", None),
        ("* SEARCH 4294967296", None),
        ("* ESEARCH (TAG \"L3\") UID ALL 3:5,9", Some(vec![3, 4, 5, 9])),
        ("* ESEARCH (TAG \"L3\") UID", Some(Vec::new())),
        ("* ESEARCH (TAG \"L3\") UID ALL 4 MODSEQ 9", Some(vec![4])),
        ("* ESEARCH (TAG \"L3\") UID ALL 1:4294967295", None),
        ("* ESEARCH (TAG \"L3\") UID ALL *", None),
        ("* ESEARCH 3", None),
        ("x SEARCH 3", None),
    ] {
        assert_eq!(found(said.as_bytes()), numbers, "{said}");
    }
    assert_eq!(capabilities(&line("* CAPABILITY IMAP4rev1 Move")).unwrap(), ["IMAP4REV1", "MOVE"]);
    let message = fetched(&line(
        "* 2 FETCH (UID 9 FLAGS (\\Seen \\Recent \\Flagged) INTERNALDATE \" 2-Jan-2026 03:04:05 +0100\" ENVELOPE (\"Fri, 2 Jan 2026\" \"=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\" ((\"Al \\\"A\\\" Ice\" NIL \"alice\" \"example.org\")) NIL NIL NIL NIL NIL NIL \"<1@x>\") BODY[] {3}\r\nabc)",
    ))
    .unwrap();
    assert_eq!((message.uid, message.body.as_deref()), (Some(9), Some(b"abc".as_slice())));
    let view = message.view();
    assert_eq!(view.title, "Grüße");
    assert_eq!(view.from.as_deref(), Some("Al \"A\" Ice <alice@example.org>"));
    assert_eq!(view.date.as_deref(), Some("2026-01-02T03:04:05+01:00"));
    assert_eq!(view.flags, ["starred"]);
    let boxes: Vec<_> = [
        "* LIST (\\HasNoChildren) \"/\" INBOX",
        "* LIST (\\HasNoChildren) \"/\" Trash",
        "* LIST (\\HasNoChildren \\Trash) \"/\" \"Bin of mine\"",
        "* LIST () \"/\" \"Mail/Spam\"",
    ]
    .iter()
    .map(|text| listed(&line(text)).unwrap())
    .collect();
    assert_eq!(special(&boxes, "\\Trash", &["Trash"]).as_deref(), Some("Bin of mine"));
    assert_eq!(special(&boxes, "\\Junk", &["Junk", "Spam"]).as_deref(), Some("Mail/Spam"));
    assert_eq!(special(&boxes, "\\Sent", &["Sent"]), None);
}

fn token() -> impl Strategy<Value = Token> {
    let atom = "[A-Za-z\\\\][A-Za-z0-9.$-]{0,8}".prop_map(Token::Atom);
    let text = proptest::collection::vec(1u8.., 0..20).prop_map(Token::Text);
    let leaf = prop_oneof![atom, text];
    leaf.prop_recursive(4, 24, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Token::List))
}

proptest! {
    #[test]
    fn what_is_written_is_read_the_same(all in proptest::collection::vec(token(), 1..5)) {
        let written = encode(&all).unwrap();
        let pieces = pieces(&written).unwrap();
        prop_assert_eq!(tokens(&pieces, From::Agent), Some(all));
    }

    #[test]
    fn no_bytes_make_it_panic_and_what_passes_is_written_anew(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = announced(&bytes);
        let _ = status(&bytes);
        let parts = [Piece::Text(bytes.clone())];
        let _ = untagged(&parts);
        if let Some(all) = tokens(&parts, From::Agent) {
            let again = pieces(&encode(&all).unwrap()).unwrap();
            prop_assert_eq!(tokens(&again, From::Agent), Some(all));
        }
        let _ = parse(&parts);
    }

    #[test]
    fn whatever_is_called_an_atom_stays_one_or_is_not_written(word in "[\\x00-\\x7f]{0,12}", next in "[a-z]{1,3}") {
        let all = vec![Token::Atom(word), Token::List(vec![Token::Atom(next)])];
        if let Some(written) = encode(&all) {
            prop_assert!(!written.contains(&b'\n') && !written.contains(&b'\r'));
            prop_assert_eq!(tokens(&pieces(&written).unwrap(), From::Agent), Some(all));
        }
    }

    #[test]
    fn names_come_back(text in "[ -~äß日本𝄞]{1,20}") {
        let wire = wire_name(&text).unwrap();
        prop_assert_eq!(shown(&wire), Some(text));
    }

    #[test]
    fn a_set_of_uids_names_exactly_these(mut uids in proptest::collection::vec(1u32..3000, 1..200)) {
        let set = Set::of(&uids).unwrap();
        uids.sort_unstable();
        uids.dedup();
        prop_assert_eq!(Set::parse(&set.to_string()).unwrap().numbers(10_000).unwrap(), uids);
    }
}

#[test]
fn objects_of_an_explanation_are_counted_where_they_can_be() {
    let objects = |command: &str| explained(&read(command).unwrap()).unwrap().objects;
    assert_eq!(objects("a UID MOVE 3:5 Trash").count(), 3);
    assert!(matches!(objects("a UID MOVE 1:* Trash"), Objects::Within { .. }));
    assert!(matches!(objects("a EXPUNGE"), Objects::Within { .. }));
}
