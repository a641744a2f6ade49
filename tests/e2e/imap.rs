//! The IMAP door in front of a real Dovecot: what passes, what is held, what is undone.

use std::time::Duration;

use latch_ipc::contract::{
    Empty, HoldDecideParams, HoldList, PanicCall, Scope, TokenRevoke, TokenRevokeParams, UndoList, UndoListParams,
    Verdict,
};
use latch_tests::dovecot::PASSWORD;
use latch_tests::engine::decision;
use latch_tests::mail::{Client, Post};
use latch_tests::scene::{ACCOUNT, AGENT, connect, grant, issue};

#[tokio::test]
async fn an_agent_reads_with_its_token_and_nothing_shows_that_it_did() {
    let post = Post::new(5, "organize").await;
    let before = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    let opened = client.ok("SELECT INBOX").await;
    assert!(opened.untagged.contains(&"* 5 EXISTS".to_owned()), "{opened:?}");
    assert!(opened.end.contains("[READ-WRITE]"), "{opened:?}");
    assert!(opened.untagged.iter().any(|line| line.contains("PERMANENTFLAGS") && line.contains("\\Deleted")));
    let fetched = client.ok("FETCH 1:* (UID FLAGS BODY[HEADER.FIELDS (SUBJECT)])").await;
    assert_eq!(fetched.untagged.len(), 5);
    assert!(fetched.untagged[2].contains("Mail number 3"), "{fetched:?}");
    let whole = client.ok("UID FETCH 3 BODY[]").await;
    assert!(whole.untagged[0].contains("Grüße 3"), "{whole:?}");
    assert_eq!(client.ok("SEARCH RETURN (SAVE COUNT) UNSEEN").await.untagged, ["* ESEARCH (TAG \"t5\") COUNT 1"]);
    client.ok("UNSELECT").await;
    assert_eq!(post.dovecot.messages("INBOX"), before, "reading leaves no trace");
    assert!(!String::from_utf8_lossy(&client.heard).contains(PASSWORD));
    let said = client.command("CAPABILITY").await;
    for hidden in ["NOTIFY", "CATENATE", "LITERAL+", "CONTEXT", "COMPRESS", "URLAUTH"] {
        assert!(!said.untagged[0].contains(hidden), "{said:?}");
    }
}

#[tokio::test]
async fn wrong_logins_are_told_apart_by_nobody() {
    let post = Post::new(1, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let mut ends = Vec::new();
    for (user, password) in [(ACCOUNT, "wrong"), ("nobody", token.as_str()), ("erin", PASSWORD)] {
        let mut client = Client::connect(&post.door()).await;
        ends.push(client.no(&format!("LOGIN {user} {password}")).await.end);
    }
    assert!(ends[0].contains("[AUTHENTICATIONFAILED]"), "{ends:?}");
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    let mut client = Client::connect(&post.door()).await;
    assert!(client.no("SELECT INBOX").await.end.starts_with("BAD"));
}

#[tokio::test]
async fn many_logins_with_one_mark_each_are_one_bulk_removal() {
    let post = Post::new(6, "organize").await;
    // 5 in ten minutes, halved in an agent's first week, rounded up.
    for uid in 1..=3 {
        let mut client = post.client().await;
        client.ok("SELECT INBOX").await;
        let said = client.ok(&format!("UID STORE {uid} +FLAGS (\\Deleted)")).await;
        assert!(said.untagged.iter().any(|line| line.contains("\\Deleted")), "{said:?}");
    }
    assert_eq!(post.dovecot.marked("INBOX"), 3);
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let tag = client.send("UID STORE 4 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    assert_eq!(
        (hold.count, hold.verb.as_str(), hold.objects[0].title.as_str()),
        (1, "Mark as deleted", "Mail number 4")
    );
    assert_eq!(hold.objects[0].from.as_deref(), Some("Your bank <notice@bank.example>"));
    assert_eq!(post.dovecot.marked("INBOX"), 3, "nothing before the person has spoken");
    post.engine.deny(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [NOPERM]"), "{said:?}");
    assert_eq!(post.dovecot.marked("INBOX"), 3);
    let tag = client.send("STORE 5:6 +FLAGS (\\Deleted)").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 2);
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert_eq!(post.dovecot.marked("INBOX"), 5);
}

#[tokio::test]
async fn a_held_client_hears_that_it_is_waited_for_and_a_part_is_a_part() {
    let post = Post::new(10, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let tag = client.send("UID MOVE 1:10 Trash").await;
    let hold = post.engine.hold().await;
    assert_eq!((hold.count, hold.verb.as_str()), (10, "Trash"));
    // Some give up after 20 silent seconds.
    let beats = async {
        for _ in 0..2 {
            assert_eq!(client.line().await, format!("* OK [INPROGRESS (\"{tag}\" NIL NIL)] Waiting for the person"));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), beats).await.expect("twice in this time");
    let keep: Vec<&str> = hold.objects.iter().take(2).map(|object| object.id.as_str()).collect();
    post.engine.allow_only(&hold, &keep).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [NOPERM] The person allowed this for 2 of 10"), "{said:?}");
    let gone = said.untagged.iter().filter(|line| line.ends_with("EXPUNGE")).count();
    assert_eq!(gone, 2, "{said:?}");
    assert!(said.untagged.iter().any(|line| line.contains("COPYUID")), "{said:?}");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (8, 2));
    assert_eq!(client.ok("UID SEARCH ALL").await.untagged, ["* SEARCH 3 4 5 6 7 8 9 10"]);
}

#[tokio::test]
async fn expunging_is_asked_softened_and_taken_back_byte_by_byte() {
    let post = Post::new(4, "organize").await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("EXPUNGE").await;
    let hold = post.engine.hold().await;
    assert_eq!((hold.count, hold.verb.as_str(), hold.forever), (2, "Delete for ever", true));
    let bytes: usize =
        start.iter().take(2).map(|one| String::from_utf8_lossy(&one.bytes).replace('\n', "\r\n").len()).sum();
    let size = hold.facts.iter().find(|fact| fact.label == "Size").map(|fact| fact.value.clone());
    assert_eq!(size, Some(format!("{bytes} bytes")), "{:?}", hold.facts);
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert_eq!(said.end, "OK Moved to the Trash instead of being removed for ever");
    assert_eq!(said.untagged.iter().filter(|line| line.ends_with("EXPUNGE")).count(), 2, "{said:?}");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (2, 2));
    assert_eq!(post.dovecot.marked("Trash"), 0);
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert!(post.dovecot.messages("Trash").is_empty());
    let told = undone.notes.iter().find(|note| note.contains("new UIDs")).expect("it says which");
    assert!(told.ends_with(" 1 in INBOX is 5 now, 2 in INBOX is 6 now."), "{told}");
}

#[tokio::test]
async fn what_is_expunged_for_ever_comes_back_from_the_quarantine() {
    let post = Post::new(3, "organize").await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1,3 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("UID EXPUNGE 1:*").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 2);
    post.engine.allow_forever(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    assert_eq!(post.dovecot.messages("INBOX").len(), 1);
    assert!(post.dovecot.messages("Trash").is_empty());
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn what_no_copy_could_be_made_of_is_not_expunged() {
    let post = Post::new(3, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1,3 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("UID EXPUNGE 1:*").await;
    let hold = post.engine.hold().await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID EXPUNGE 1,3").await;
    assert_eq!(hold.count, 2);
    post.engine.allow_forever(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [CANNOT]") && said.end.contains("not in the mailbox any more"), "{said:?}");
}

#[tokio::test]
async fn a_copy_that_can_not_go_back_now_can_go_back_later() {
    let post = Post::new(2, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    phone.ok("SELECT INBOX").await;
    phone.ok("MOVE 1 Work").await;
    let start = post.dovecot.messages("Work");
    let mut client = post.client().await;
    client.ok("SELECT Work").await;
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("EXPUNGE").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 1);
    post.engine.allow_forever(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    phone.ok("SELECT INBOX").await;
    phone.ok("DELETE Work").await;
    let undone = post.undo().await;
    assert_eq!(undone.restored, 0, "{undone:?}");
    phone.ok("CREATE Work").await;
    // The copy, and the mark that was on it.
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("Work").len(), 1);
    assert_eq!(post.dovecot.messages("Work")[0].bytes, start[0].bytes);
    assert_eq!(post.dovecot.marked("Work"), 0);
}

#[tokio::test]
async fn an_allowed_rule_covers_what_it_says_and_nothing_else() {
    let post = Post::new(12, "ask-everything").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    // Every third mail is from Alice.
    let tag = client.send("UID STORE 3,6 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    let [rule] = hold.rules.as_slice() else { panic!("{:?}", hold.rules) };
    assert!(rule.text.starts_with("any mail from alice@example.org, in the Inbox"), "{}", rule.text);
    let rule = Some(rule.id.clone());
    let params = HoldDecideParams { scope: Some(Scope::Task), rule, ..decision(&hold, Verdict::Allow) };
    post.engine.decide(params).await.expect("allowed");
    assert!(client.end(&tag).await.end.starts_with("OK"));
    client.ok("UID STORE 9 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(post.dovecot.marked("INBOX"), 3);
    let tag = client.send("UID STORE 12,1 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 2, "one that is not covered is enough");
    post.engine.decide(decision(&hold, Verdict::Deny)).await.expect("denied");
    assert!(client.end(&tag).await.end.starts_with("NO"));
    assert_eq!(post.dovecot.marked("INBOX"), 3);
}

/// What the agent itself made look like something that the rule covers is not covered.
#[tokio::test]
async fn moving_to_the_inbox_or_taking_the_star_off_first_gains_nothing() {
    let post = Post::new(15, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID MOVE 12 Work").await;
    phone.ok("UID STORE 15 +FLAGS.SILENT (\\Flagged)").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let tag = client.send("UID STORE 1,3,4,6,7,9 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    assert!(hold.rules.is_empty(), "two senders");
    post.engine.decide(decision(&hold, Verdict::Deny)).await.expect("denied");
    client.end(&tag).await;
    client.ok("UID STORE 15 -FLAGS.SILENT (\\Flagged)").await;
    client.ok("SELECT Work").await;
    client.ok("UID MOVE 1 INBOX").await;
    client.ok("SELECT INBOX").await;
    // Beyond the budget of removals, so that it is asked.
    client.ok("UID STORE 2,5,8 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("UID STORE 3,6 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    let rule = Some(hold.rules[0].id.clone());
    let params = HoldDecideParams { scope: Some(Scope::Task), rule, ..decision(&hold, Verdict::Allow) };
    post.engine.decide(params).await.expect("allowed");
    assert!(client.end(&tag).await.end.starts_with("OK"));
    client.ok("UID STORE 9 +FLAGS.SILENT (\\Deleted)").await;
    for uid in [15, 16] {
        let tag = client.send(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)")).await;
        let hold = post.engine.hold().await;
        assert_eq!(hold.count, 1);
        post.engine.decide(decision(&hold, Verdict::Deny)).await.expect("denied");
        assert!(client.end(&tag).await.end.starts_with("NO"), "{uid}");
    }
}

#[tokio::test]
async fn attack_17_every_way_to_remove_is_held_beyond_the_budget_and_changes_nothing_until_then() {
    let post = Post::new(12, "organize").await;
    post.phone().await.ok("CREATE Projects").await;
    let start = post.dovecot.messages("INBOX");
    let spellings: [&[u8]; 14] = [
        b"x STORE 1:* +FLAGS (\\Deleted)\r\n",
        b"x uId sToRe 1:* +flags.silent \\deleted\r\n",
        b"x UID STORE 4294967295:1 +FLAGS (\\Deleted)\r\n",
        b"x STORE 1:* FLAGS.SILENT (\\Seen \\Deleted)\r\n",
        b"x UID STORE 1:* (UNCHANGEDSINCE 999999) +FLAGS.SILENT (\\Deleted)\r\n",
        b"s SEARCH RETURN (SAVE) ALL\r\nx UID STORE $ +FLAGS.SILENT (\\Deleted)\r\n",
        b"s SEARCH RETURN (SAVE) ALL\r\nx STORE $ +FLAGS.SILENT (\\Deleted)\r\n",
        b"x MOVE 1:* Trash\r\n",
        b"x UID MOVE 1:* \"Trash\"\r\n",
        b"x UID MOVE 1:* {5}\r\nTrash\r\n",
        b"x UID MOVE *:1 Junk\r\n",
        b"x DELETE Projects\r\n",
        b"x DELETE {8}\r\nProjects\r\n",
        b"s NOOP\r\nx UID STORE 1:12 +FLAGS (\\Deleted)\r\ny CLOSE\r\n",
    ];
    for (number, spelling) in spellings.into_iter().enumerate() {
        // Each by an agent of its own: the same one would be told of its denial at once.
        let agent = format!("claw{number}");
        connect(&post.engine, &agent, ACCOUNT, "organize").await;
        let token = issue(&post.engine, &agent).await;
        let shown = String::from_utf8_lossy(spelling).into_owned();
        let mut client = Client::connect(&post.door()).await;
        client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
        client.ok("SELECT INBOX").await;
        // One byte at a time: a command is what was said, not how it was cut.
        for byte in spelling {
            client.say(&[*byte]).await;
        }
        eprintln!("{shown}");
        let hold = post.engine.hold().await;
        assert_eq!(post.dovecot.messages("INBOX"), start, "{shown}");
        assert!(post.dovecot.mailboxes().contains(&"Projects".to_owned()), "{shown}");
        let expected = if shown.contains("DELETE ") && !shown.contains("STORE") { 1 } else { 12 };
        assert_eq!(hold.count, expected, "{shown}");
        drop(client);
        post.engine.call(latch_ipc::contract::HoldDeny, latch_ipc::contract::Id { id: hold.id }).await;
    }
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    for never in
        ["RENAME INBOX Elsewhere", "DELETE INBOX", "X-PURGE 1", "REPLACE 1 INBOX x", "COMPRESS DEFLATE", "EXPUNGE 1"]
    {
        client.no(never).await;
    }
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn a_deleted_mailbox_waits_in_the_trash_and_comes_back() {
    let post = Post::new(2, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Projects").await;
    phone.ok("SELECT INBOX").await;
    phone.ok("COPY 1:2 Projects").await;
    let start = post.dovecot.messages("Projects");
    let mut client = post.client().await;
    let tag = client.send("DELETE Projects").await;
    let hold = post.engine.hold().await;
    let titles: Vec<&str> = hold.objects.iter().map(|one| one.title.as_str()).collect();
    assert_eq!((hold.verb.as_str(), &titles[..]), ("Delete a mailbox of", &["Mail number 1", "Mail number 2"][..]));
    assert!(!hold.partial && hold.forever);
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert_eq!(said.end, "OK The mailbox was moved to the Trash instead of being removed for ever");
    assert!(!post.dovecot.mailboxes().contains(&"Projects".to_owned()));
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(post.dovecot.messages("Projects"), start);
}

#[tokio::test]
async fn a_reader_reads_and_changes_nothing() {
    let post = Post::new(3, "read-only").await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    let opened = client.ok("SELECT INBOX").await;
    assert!(opened.end.contains("[READ-ONLY]"), "{opened:?}");
    client.ok("FETCH 1:* BODY[]").await;
    client.ok("FETCH 1 RFC822").await;
    for change in [
        "STORE 1 +FLAGS (\\Seen)",
        "UID MOVE 1 Trash",
        "EXPUNGE",
        "CREATE X",
        "DELETE Trash",
        "SETACL INBOX eve lr",
        "COPY 1 Trash",
    ] {
        let said = client.no(change).await;
        assert!(said.end.starts_with("NO [NOPERM]"), "{change}: {said:?}");
    }
    let said = client.no("APPEND INBOX {100}").await;
    assert!(said.end.starts_with("NO [NOPERM]"), "{said:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn panic_cuts_every_connection_and_nothing_is_done_after_it() {
    let post = Post::new(8, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let mut idle = post.client().await;
    idle.ok("SELECT INBOX").await;
    let _tag = idle.send("IDLE").await;
    idle.go_ahead().await;
    let tag = client.send("UID STORE 1:8 +FLAGS (\\Deleted)").await;
    post.engine.hold().await;
    let stopped = post.engine.call(PanicCall, Empty {}).await;
    assert!(stopped.cut.connections >= 4, "{stopped:?}");
    assert_eq!(client.end(&tag).await.end, "(gone)");
    // Both of its ends are cut; which one first is chance.
    let last = idle.line().await;
    assert!(last.is_empty() || last.starts_with("* BYE"), "{last}");
    assert_eq!(post.dovecot.marked("INBOX"), 0);
    let mut late = Client::connect(&post.door()).await;
    let said = late.no(&format!("LOGIN {ACCOUNT} anything")).await;
    assert!(said.end.starts_with("NO [UNAVAILABLE]"), "{said:?}");
}

#[tokio::test]
async fn new_mail_is_heard_while_idle_and_a_moved_on_mailbox_is_left_alone() {
    let post = Post::new(4, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let tag = client.send("IDLE").await;
    client.go_ahead().await;
    let mut phone = post.phone().await;
    let stored = phone.send("APPEND INBOX {11}").await;
    phone.go_ahead().await;
    phone.say(b"Subject: x\n\r\n").await;
    phone.end(&stored).await;
    assert_eq!(client.line().await, "* 5 EXISTS");
    client.say(b"DONE\r\n").await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    // Mail that arrives after the question is no part of the answer.
    let tag = client.send("STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 5);
    let stored = phone.send("APPEND INBOX {11}").await;
    phone.go_ahead().await;
    phone.say(b"Subject: y\n\r\n").await;
    phone.end(&stored).await;
    post.engine.allow(&hold).await;
    client.end(&tag).await;
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.marked("INBOX")), (6, 5));
}

#[tokio::test]
async fn a_mail_is_stored_while_it_arrives_and_taken_back() {
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    let body = format!("Subject: big\r\n\r\n{}\r\n", "x".repeat(3_000_000));
    let tag =
        client.send(&format!("APPEND INBOX (\\Seen $Kept) \" 1-Feb-2026 10:00:00 +0000\" {{{}}}", body.len())).await;
    client.go_ahead().await;
    client.say(body.as_bytes()).await;
    client.say(b"\r\n").await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK [APPENDUID"), "{said:?}");
    let stored = post.dovecot.messages("INBOX");
    let is_it = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'x').count() == 3_000_000;
    assert!(stored.iter().any(|one| is_it(&one.bytes) && one.subject == "big"));
    // A second mail in the same command was never offered.
    let tag = client.send("APPEND INBOX {3}").await;
    client.go_ahead().await;
    client.say(b"abc {3}\r\n").await;
    let end = client.end(&tag).await.end;
    assert!(!end.starts_with("OK"), "{end}");
    assert_eq!(post.dovecot.messages("INBOX").len(), 2);
    let listed = post.engine.call(UndoList, UndoListParams::default()).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    post.undo().await;
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (1, 1));
}

#[tokio::test]
async fn a_wrong_password_upstream_is_said_to_the_person() {
    let post = Post::new(1, "organize").await;
    let call = latch_ipc::contract::Id { id: ACCOUNT.to_owned() };
    post.engine.call(latch_ipc::contract::AccountRemove, call).await;
    latch_tests::mail::add(&post.engine, post.dovecot.port, "not-the-password-1234").await;
    grant(&post.engine, AGENT, ACCOUNT, "organize").await;
    let token = issue(&post.engine, AGENT).await;
    let mut client = Client::connect(&post.door()).await;
    let said = client.no(&format!("LOGIN {ACCOUNT} {token}")).await;
    assert!(said.end.starts_with("NO [UNAVAILABLE]"), "{said:?}");
    assert!(!String::from_utf8_lossy(&client.heard).contains("not-the-password"));
    let accounts = post.engine.call(latch_ipc::contract::AccountList, Empty {}).await;
    assert!(accounts[0].failing.as_deref().is_some_and(|why| why.contains("password")), "{accounts:?}");
}

#[tokio::test]
async fn a_revoked_token_ends_at_the_next_command() {
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    post.engine.call(TokenRevoke, TokenRevokeParams { agent: AGENT.to_owned() }).await;
    client.send("FETCH 1 FLAGS").await;
    // The door may have noticed by itself a moment before.
    let mut heard = vec![client.line().await];
    while heard.last().is_some_and(|line| !line.is_empty()) {
        heard.push(client.line().await);
    }
    assert!(heard.iter().any(|line| line.starts_with("* BYE")), "{heard:?}");
    assert!(!heard.iter().any(|line| line.contains("FETCH (") || line.contains(" OK ")), "{heard:?}");
}

#[tokio::test]
async fn a_revoked_token_hears_no_more_news() {
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let tag = client.send("IDLE").await;
    client.go_ahead().await;
    post.engine.call(TokenRevoke, TokenRevokeParams { agent: AGENT.to_owned() }).await;
    let said = client.end(&tag).await;
    assert!(said.untagged.iter().any(|line| line.starts_with("* BYE")), "{said:?}");
    assert!(!said.end.starts_with("OK"), "{said:?}");
}

#[tokio::test]
async fn attack_15_a_mailbox_made_anew_between_question_and_answer_is_left_alone() {
    let post = Post::new(6, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    phone.ok("SELECT INBOX").await;
    phone.ok("COPY 1:6 Work").await;
    let mut client = post.client().await;
    client.ok("SELECT Work").await;
    let tag = client.send("STORE 1:6 +FLAGS (\\Deleted)").await;
    let hold = post.engine.hold().await;
    phone.ok("DELETE Work").await;
    // UIDVALIDITY is made from seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    phone.ok("CREATE Work").await;
    phone.ok("COPY 1:6 Work").await;
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(!said.end.starts_with("OK"), "{said:?}");
    assert_eq!(post.dovecot.marked("Work"), 0);
}

/// A mail server that says these lines, one answer for each line that it hears, and keeps what it heard.
async fn scripted(greeting: &'static str, answers: &'static [(&'static str, &'static str)]) -> (u16, Heard) {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let heard = Heard::default();
    let keep = heard.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let keep = keep.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(socket);
                stream.write_all(greeting.as_bytes()).await?;
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap_or_default() > 0 {
                    keep.lock().expect("not poisoned").push_str(&line);
                    let tag = line.split(' ').next().unwrap_or_default().to_owned();
                    let upper = line.to_uppercase();
                    let answer = answers
                        .iter()
                        .find(|(verb, _)| upper.contains(verb))
                        .map_or("TAG BAD what?\r\n", |(_, said)| *said);
                    stream.write_all(answer.replace("TAG", &tag).as_bytes()).await?;
                    line.clear();
                }
                std::io::Result::Ok(())
            });
        }
    });
    (port, heard)
}

type Heard = std::sync::Arc<std::sync::Mutex<String>>;

/// Logs in at an engine whose account is this server, and returns what the agent was told.
async fn told(port: u16, tls: latch_ipc::contract::MailTls) -> String {
    use latch_ipc::contract::{AccountAdd, AccountAddParams, CredentialParams, MailServerParams, UpstreamParams};
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = latch_tests::engine::Start::at(home.path()).in_memory().imap().start().await;
    let server = MailServerParams { host: "127.0.0.1".to_owned(), port: Some(port), tls, username: None };
    let password = latch_ipc::Secret::new(PASSWORD.to_owned());
    let params = AccountAddParams {
        address: None,
        check: false,
        id: ACCOUNT.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams { imap: Some(server), ..UpstreamParams::default() },
        credential: CredentialParams::Password { username: "erin".to_owned(), password },
    };
    engine.call(AccountAdd, params).await;
    connect(&engine, AGENT, ACCOUNT, "organize").await;
    let token = issue(&engine, AGENT).await;
    let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("a door")).await;
    client.command(&format!("LOGIN {ACCOUNT} {token}")).await.end
}

#[tokio::test]
async fn attack_19_starttls_injection_preauth_and_lies_drop_the_connection() {
    use latch_ipc::contract::MailTls;
    const CAN: (&str, &str) = ("CAPABILITY", "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nTAG OK x\r\n");
    let no_secret = |heard: &Heard| {
        let heard = heard.lock().expect("not poisoned").clone();
        assert!(!heard.contains("AUTHENTICATE") && !heard.contains("LOGIN") && !heard.contains(PASSWORD), "{heard}");
    };
    let (port, heard) = scripted("* PREAUTH come in\r\n", &[CAN]).await;
    assert!(told(port, MailTls::None).await.starts_with("NO [UNAVAILABLE]"));
    no_secret(&heard);
    // Words behind the OK would be taken for what was said inside TLS.
    let injected: &[_] =
        &[CAN, ("STARTTLS", "TAG OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nc OK x\r\na OK in\r\n")];
    let (port, heard) = scripted("* OK hello\r\n", injected).await;
    assert!(told(port, MailTls::StartTls).await.contains("said more than that TLS begins"));
    no_secret(&heard);
    let (port, heard) = scripted("* OK hello\r\n", &[CAN, ("STARTTLS", "TAG NO not today\r\n")]).await;
    assert!(told(port, MailTls::StartTls).await.starts_with("NO [UNAVAILABLE]"));
    no_secret(&heard);
    let (port, heard) = scripted("* BYE busy\r\n", &[]).await;
    assert!(told(port, MailTls::None).await.starts_with("NO [UNAVAILABLE]"));
    no_secret(&heard);
    // It claims to be something else once the login is over.
    let lies: &[_] = &[
        ("AUTHENTICATE", "TAG OK in\r\n"),
        ("CAPABILITY", "* CAPABILITY POP3\r\nTAG OK x\r\n"),
        ("LOGIN", "TAG OK in\r\n"),
    ];
    let (port, _) = scripted("* OK hello\r\n", lies).await;
    assert!(told(port, MailTls::None).await.contains("does not speak IMAP4rev1"));
    // It repeats the password in its refusal.
    let echoing: &[_] = &[CAN, ("AUTHENTICATE", "TAG NO you said canary-imap-7c9e1d\r\n")];
    let (port, _) = scripted("* OK hello\r\n", echoing).await;
    let told = told(port, MailTls::None).await;
    assert!(told.starts_with("NO [UNAVAILABLE]") && !told.contains("canary"), "{told}");
}

#[tokio::test]
async fn a_grant_for_some_mailboxes_reaches_no_other_and_names_none() {
    let post = Post::new(3, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Private").await;
    let params = latch_ipc::contract::GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: Some(serde_json::json!({ "mailboxes": ["inbox", "Archive"] })),
        budgets: None,
        expires_in: None,
    };
    let granted = post.engine.call(latch_ipc::contract::GrantPut, params).await;
    assert!(granted.grant.summary.contains("Only the mailboxes Archive, INBOX"), "{granted:?}");
    let mut client = post.client().await;
    let names = |said: latch_tests::mail::Said| -> Vec<String> {
        let last = |line: &String| line.rsplit(' ').next().unwrap_or_default().to_owned();
        let mut names: Vec<String> = said.untagged.iter().map(last).collect();
        names.sort();
        names
    };
    assert_eq!(names(client.ok("LIST \"\" *").await), ["Archive", "INBOX"]);
    assert_eq!(names(client.ok("LSUB \"\" *").await), ["Archive"]);
    for outside in [
        "SELECT Private",
        "EXAMINE Private",
        "STATUS Private (MESSAGES)",
        "SELECT Nowhere",
        "GETACL Private",
        "DELETE Private",
        "RENAME Archive Private/Archive",
        "CREATE Other",
        "SUBSCRIBE Private",
    ] {
        let said = client.no(outside).await;
        assert!(said.end.starts_with("NO [NOPERM] This agent may not use the mailbox"), "{outside}: {said:?}");
    }
    client.no("APPEND Private {3}").await;
    client.ok("SELECT inbox").await;
    for outside in ["COPY 1 Private", "UID MOVE 1 Private", "MOVE 1:* Trash"] {
        assert!(client.no(outside).await.end.starts_with("NO [NOPERM]"), "{outside}");
    }
    client.ok("UID MOVE 1 Archive").await;
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Archive").len()), (2, 1));
}

#[tokio::test]
async fn reading_beyond_the_budget_is_asked_each_time_and_streams_when_allowed() {
    let post = Post::new(4, "organize").await;
    let params = latch_ipc::contract::GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([("read".to_owned(), [2, 10])].into()),
        expires_in: None,
    };
    post.engine.call(latch_ipc::contract::GrantPut, params).await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER])").await;
    client.ok("FETCH 1:2 BODY[TEXT]").await;
    for _ in 0..2 {
        let tag = client.send("UID FETCH 3:* BODY[]").await;
        let hold = post.engine.hold().await;
        assert_eq!((hold.count, hold.verb.as_str()), (2, "Read"));
        post.engine.allow(&hold).await;
        let said = client.end(&tag).await;
        assert!(said.end.starts_with("OK"), "{said:?}");
        let bodies = said.untagged.iter().filter(|line| line.contains("BODY[]")).count();
        assert_eq!(bodies, 2, "{said:?}");
        post.engine.no_holds().await;
    }
    // Whoever leaves takes the question along: nobody could be given the answer.
    client.send("UID FETCH 1 BODY[]").await;
    post.engine.hold().await;
    drop(client);
    post.engine.no_holds().await;
}
