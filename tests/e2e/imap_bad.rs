//! Bad input at the IMAP door, from both sides: broken lines, lying servers, limits, bytes that nobody expects. It ends in a plain word, and the next one works.

use std::time::Duration;

use latch_ipc::contract::{Empty, HoldList, JournalTail, JournalTailParams, JournalVerify, UndoList, UndoListParams};
use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::engine::{Start, memory_kib};
use latch_tests::mail::{Client, Post, Said, add};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};

use crate::liar::{Cut, Liar};

/// A house whose mail server is reached through a line that can break and lie.
pub(crate) async fn lied_to(mails: usize) -> (Liar, Post) {
    lied_to_as(mails, "organize").await
}

/// The same where the agent has this preset.
pub(crate) async fn lied_to_as(mails: usize, preset: &str) -> (Liar, Post) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(mails), Start::at(home.path()).in_memory().imap().start());
    let liar = Liar::before(dovecot.port).await;
    add(&engine, liar.port, PASSWORD).await;
    let connected = connect(&engine, AGENT, ACCOUNT, preset).await;
    (liar, Post { dovecot, engine, connected, home })
}

pub(crate) async fn login(post: &Post) -> (Client, Said) {
    let token = issue(&post.engine, AGENT).await;
    let mut client = Client::connect(&post.door()).await;
    let said = client.command(&format!("LOGIN {ACCOUNT} {token}")).await;
    (client, said)
}

fn is_plain(said: &Said) -> bool {
    said.end.starts_with("NO [UNAVAILABLE]") || said.end == "(gone)"
}

#[tokio::test]
async fn a_line_that_breaks_in_any_state_ends_in_a_plain_word_and_the_next_login_works() {
    let (liar, post) = lied_to(6).await;
    let states = ["(connect)", "AUTHENTICATE", "LIST", "EXAMINE", "FETCH", "UID SEARCH", "STORE", "MOVE", "IDLE"];
    let mut changes = 0;
    for (state, cut) in states.into_iter().flat_map(|state| [(state, Cut::Before), (state, Cut::After)]) {
        liar.cut(state, cut);
        let (mut client, said) = login(&post).await;
        let mut broke = !said.end.starts_with("OK");
        assert!(!broke || is_plain(&said), "{state}: {said:?}");
        let commands = [
            "SELECT INBOX",
            "FETCH 1:2 (FLAGS BODY[TEXT])",
            "UID SEARCH FLAGGED",
            "UID STORE 5 +FLAGS.SILENT ($Looked)",
            "UID MOVE 6 Archive",
        ];
        for command in commands {
            if broke {
                break;
            }
            let said = client.command(command).await;
            broke = !said.end.starts_with("OK");
            assert!(!broke || is_plain(&said), "{state} {cut:?}, {command}: {said:?}");
        }
        if !broke {
            let tag = client.send("IDLE").await;
            let said = client.end(&tag).await;
            assert!(is_plain(&said), "{state} {cut:?}: {said:?}");
        }
        assert!(!String::from_utf8_lossy(&client.heard).contains(PASSWORD));
        drop(client);
        liar.mend();
        // What was moved comes back by the person's own hand, past the guard.
        let mut phone = post.phone().await;
        phone.ok("SELECT Archive").await;
        changes += post.dovecot.messages("Archive").len();
        phone.command("UID MOVE 1:* INBOX").await;
        phone.ok("SELECT INBOX").await;
        let last = phone.ok("UID SEARCH ALL").await.untagged[0].rsplit(' ').next().unwrap_or_default().to_owned();
        phone.ok("UNSELECT").await;
        let (mut client, said) = login(&post).await;
        assert!(said.end.starts_with("OK"), "after {state}: {said:?}");
        client.ok("SELECT INBOX").await;
        client.ok(&format!("UID FETCH {last} (FLAGS)")).await;
        assert_eq!(post.dovecot.messages("INBOX").len(), 6, "{state}");
    }
    assert!(changes > 0, "some of it was done");
    assert!(post.engine.call(JournalVerify, Empty {}).await.ok);
    // A change whose answer was lost is known as such, and is not made again.
    let params = JournalTailParams { limit: Some(500), ..JournalTailParams::default() };
    let records = post.engine.call(JournalTail, params).await;
    let unknown =
        records.iter().filter(|record| record.kind == "outcome" && record.text.starts_with("unknown")).count();
    assert!(unknown >= 2, "{unknown}: {records:#?}");
    assert!(!post.engine.log().contains("panicked"), "{}", post.engine.log());
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_not_made_again_and_can_be_undone() {
    let (liar, post) = lied_to(4).await;
    let start = post.dovecot.messages("INBOX");
    let (mut client, _) = login(&post).await;
    client.ok("SELECT INBOX").await;
    liar.cut("STORE", Cut::After);
    let said = client.no("STORE 1:2 +FLAGS (\\Deleted)").await;
    assert!(said.end.starts_with("NO [UNAVAILABLE]"), "{said:?}");
    liar.mend();
    assert_eq!(post.dovecot.marked("INBOX"), 2, "the server had done it");
    let params = JournalTailParams { limit: Some(20), ..JournalTailParams::default() };
    let records = post.engine.call(JournalTail, params).await;
    let outcome = records.iter().find(|record| record.kind == "outcome").expect("an outcome");
    assert!(outcome.text.starts_with("unknown"), "{outcome:?}");
    // It counts, whatever became of it: 3 are left unasked of an agent's first week, 2 are gone.
    let tag = client.send("STORE 3:4 +FLAGS (\\Deleted)").await;
    let hold = post.engine.hold().await;
    post.engine.deny(&hold).await;
    client.end(&tag).await;
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn a_move_whose_answer_is_lost_is_found_again_and_can_be_undone() {
    let (liar, post) = lied_to(6).await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    // Twins of what will be moved lie in the Trash already; they are not the agent's doing.
    phone.ok("COPY 1:2 Trash").await;
    let start = (post.dovecot.messages("INBOX"), post.dovecot.messages("Trash"));
    for (commands, cut) in [
        (&["UID MOVE 1:3 Trash"][..], Cut::Before),
        (&["UID MOVE 1:3 Trash"], Cut::After),
        (&["STORE 1:2 +FLAGS.SILENT (\\Deleted)", "EXPUNGE"], Cut::After),
    ] {
        let (mut client, _) = login(&post).await;
        client.ok("SELECT INBOX").await;
        liar.cut("UID MOVE", cut);
        for command in commands {
            let tag = client.send(command).await;
            let said = loop {
                tokio::select! {
                    said = client.end(&tag) => break said,
                    hold = post.engine.hold() => {
                        post.engine.allow(&hold).await;
                    }
                }
            };
            let lost = said.end.starts_with("NO [UNAVAILABLE]");
            assert!(said.end.starts_with("OK") != lost, "{command}: {said:?}");
        }
        liar.mend();
        if cut == Cut::After {
            assert!(post.dovecot.messages("INBOX").len() < 6, "the server had done it");
        }
        let undone = post.undo().await;
        assert!(undone.not_restored.is_empty(), "{commands:?} {cut:?}: {undone:?}");
        let end = (post.dovecot.messages("INBOX"), post.dovecot.messages("Trash"));
        assert_eq!(end, start, "{commands:?} {cut:?}");
        phone.ok("NOOP").await;
    }
}

#[tokio::test]
async fn agents_that_hang_up_in_any_state_leave_nothing_behind() {
    let post = Post::new(20, "organize").await;
    let start = post.dovecot.messages("INBOX");
    let token = issue(&post.engine, AGENT).await;
    let lasts: [&[u8]; 9] = [
        b"",
        b"t NOOP",
        b"t SELECT {5}\r\nIN",
        b"t SELECT INBOX\r\nt FETCH 1:* BODY[]\r\n",
        b"t SELECT INBOX\r\nt IDLE\r\n",
        b"t APPEND INBOX {100}\r\nSubject: half",
        b"t APPEND INBOX {100+}\r\nSubject: half",
        b"t SELECT INBOX\r\nt UID STORE 1:20 +FLAGS (\\Deleted)\r\n",
        b"t AUTHENTICATE PLAIN\r\n",
    ];
    // More than there are seats: each of them is given back.
    for last in lasts.into_iter().cycle().take(72) {
        let mut client = Client::connect(&post.door()).await;
        if !last.is_empty() && !last.ends_with(b"PLAIN\r\n") {
            client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
        }
        client.say(last).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    assert_eq!(post.dovecot.messages("INBOX"), start);
    let waiting = post.engine.call(HoldList, Empty {}).await;
    assert!(waiting.len() <= 1, "one and the same question: {waiting:?}");
    assert!(!post.engine.log().contains("panicked"), "{}", post.engine.log());
}

#[tokio::test]
async fn a_server_that_lies_about_what_it_can_is_believed_nothing() {
    let (liar, post) = lied_to(4).await;
    let start = post.dovecot.messages("INBOX");
    liar.says(
        "* CAPABILITY",
        "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ NOTIFY \x01\x7f {3} MOVE UIDPLUS x\r\n",
    );
    liar.says("OK [CAPABILITY", "* OK hello\r\n");
    liar.hears("UID MOVE", "UID XMOVE");
    let (_, said) = login(&post).await;
    assert!(is_plain(&said), "a literal that never comes: {said:?}");
    liar.mend();
    liar.says("CAPABILITY", "* CAPABILITY IMAP4rev1 IDLE NOTIFY UTF8=ONLY MOVE UIDPLUS X-EVIL=\x07\r\n");
    let (_, said) = login(&post).await;
    assert!(is_plain(&said), "no answer to a question: {said:?}");
    liar.mend();
    // It says that it can move, and can't.
    liar.hears("UID MOVE", "UID XMOVE");
    let (mut client, said) = login(&post).await;
    assert!(said.end.starts_with("OK") && !said.end.contains("NOTIFY"), "{said:?}");
    client.ok("SELECT INBOX").await;
    let said = client.no("UID MOVE 1 Trash").await;
    assert!(said.end.starts_with("NO"), "{said:?}");
    assert!(!said.untagged.iter().any(|line| line.contains("EXPUNGE")), "{said:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert!(post.engine.call(UndoList, UndoListParams::default()).await.is_empty(), "there is nothing to undo");
}

#[tokio::test]
async fn a_server_that_answers_nonsense_loses_the_connection_not_the_mail() {
    let (liar, post) = lied_to(4).await;
    let start = post.dovecot.messages("INBOX");
    let long = vec![b'x'; 2 * 1024 * 1024];
    let lies: [(&str, &str, Vec<u8>); 9] = [
        ("* SEARCH", "UID STORE 1:2 +FLAGS (\\Deleted)", b"zz9 OK [READ-WRITE] somebody else's answer\r\n".to_vec()),
        ("* SEARCH", "UID STORE 1:2 +FLAGS (\\Deleted)", b"+ say more\r\n".to_vec()),
        ("* SEARCH", "UID STORE 1:2 +FLAGS (\\Deleted)", b"* BYE I am going\r\n".to_vec()),
        ("* SEARCH", "UID STORE 1:2 +FLAGS (\\Deleted)", long),
        ("* SEARCH", "UID STORE 1:* +FLAGS (\\Deleted)", {
            let many: Vec<String> = (1..=100_000).map(|uid| uid.to_string()).collect();
            format!("* SEARCH {}\r\n", many.join(" ")).into_bytes()
        }),
        ("UIDVALIDITY", "SELECT INBOX", b"* OK [UIDVALIDITY 0] none\r\n".to_vec()),
        ("UIDVALIDITY", "SELECT INBOX", b"* OK hm\r\n".to_vec()),
        ("* 1 FETCH", "FETCH 1 FLAGS", b"* 1 FETCH (FLAGS () BODY[] {99999999999999999999}\r\n".to_vec()),
        ("* 1 FETCH", "FETCH 1 FLAGS", b"* 1 FETCH (FLAGS () BODY[] {4096}\r\nshort\r\n".to_vec()),
    ];
    for (instead_of, command, lie) in lies {
        let (mut client, _) = login(&post).await;
        if command != "SELECT INBOX" {
            client.ok("SELECT INBOX").await;
        }
        let shown = String::from_utf8_lossy(&lie).chars().take(40).collect::<String>();
        liar.says(instead_of, lie);
        let tag = client.send(command).await;
        // What only hangs ends when the line does.
        let said = tokio::time::timeout(Duration::from_secs(2), client.end(&tag)).await;
        let said = said.unwrap_or(Said { untagged: Vec::new(), end: "(gone)".to_owned() });
        assert!(!said.end.starts_with("OK") || command.starts_with("FETCH"), "{shown}: {said:?}");
        liar.mend();
        assert_eq!(post.dovecot.messages("INBOX"), start, "{shown}");
    }
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
    let (mut client, said) = login(&post).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    client.ok("SELECT INBOX").await;
    assert!(!post.engine.log().contains("panicked"), "{}", post.engine.log());
}

#[tokio::test]
async fn what_can_not_be_shown_is_not_allowed() {
    let (liar, post) = lied_to(6).await;
    let start = post.dovecot.messages("INBOX");
    let (mut client, _) = login(&post).await;
    client.ok("SELECT INBOX").await;
    liar.says("ENVELOPE (", "* 1 FETCH (UID 1 FLAGS () ENVELOPE ({99999999999}\r\n");
    let said = client.no("UID STORE 1:6 +FLAGS (\\Deleted)").await;
    assert!(said.end.starts_with("NO [UNAVAILABLE] The mailbox could not be read"), "{said:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn a_mailbox_that_is_made_anew_ends_what_waits_and_what_could_be_undone() {
    let post = Post::new(6, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.send("UID STORE 2:6 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    post.dovecot.stop().await;
    post.dovecot.forget_uids();
    // UIDVALIDITY is made from seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    post.dovecot.begin().await;
    let start = post.dovecot.messages("INBOX");
    // It may have been dropped with the connection, or be refused now; it is never done.
    let _ = post.engine.decide(latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(post.dovecot.messages("INBOX"), start);
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    let mut client = post.client().await;
    assert!(client.ok("SELECT INBOX").await.untagged.contains(&"* 6 EXISTS".to_owned()));
}

#[tokio::test]
async fn commands_beyond_the_limits_are_refused_and_what_follows_is_read() {
    let post = Post::new(5, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    // Sets may be as large as they like; what they name counts.
    let tag = client.send("UID STORE 1:100000 +FLAGS.SILENT (\\Deleted)").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 5);
    post.engine.deny(&hold).await;
    client.end(&tag).await;
    assert_eq!(client.ok("UID FETCH 1:100000 FLAGS").await.untagged.len(), 5);
    for (literal, more) in [("{2000000}", ""), ("{5000+}", "x"), ("~{5}", ""), ("{0005", "")] {
        let tag = client.send(&format!("SELECT {literal}")).await;
        if !more.is_empty() {
            client.say(more.repeat(5000).as_bytes()).await;
            client.say(b"\r\n").await;
        }
        let said = client.end(&tag).await;
        assert!(said.end.starts_with("BAD"), "{literal}: {said:?}");
    }
    for text in
        ["SELECT \"IN\0BOX\"", "SELECT {6+}\r\nIN\0BOX", "NOOP\0", "SEARCH SUBJECT \"a\0b\"", "CREATE {3+}\r\na\r\n"]
    {
        let tag = client.send(text).await;
        let said = client.end(&tag).await;
        assert!(!said.end.starts_with("OK"), "{text:?}: {said:?}");
    }
    client.ok("NOOP").await;
    // Where nobody knows where the next command begins, the connection ends.
    let many: Vec<String> = (1..=100_000).map(|uid| uid.to_string()).collect();
    let tag = client.send(&format!("UID STORE {} +FLAGS.SILENT (\\Deleted)", many.join(","))).await;
    assert!(client.end(&tag).await.end.starts_with("BAD This is no line"));
    assert_eq!(client.line().await, "");
    for last in [
        &b"t NOOP\n"[..],
        b"t SELECT {99999999+}\r\n",
        b"t NO\rOP\r\n",
        b"t SELECT {5+}\r\nINBOX\rx\r\n",
        b"t x\n\n\r\n",
    ] {
        let mut client = post.client().await;
        client.say(last).await;
        let said = client.end("t").await;
        assert!(said.end.starts_with("BAD"), "{}: {said:?}", String::from_utf8_lossy(last));
        assert_eq!(client.line().await, "");
    }
    // Before a login, and where not even a tag can be read.
    for (last, answer) in [(&b"t NO\rOP\r\n"[..], "t BAD"), (b"\"\n", "* BAD"), (b"\r\r\n", "* BAD")] {
        let mut client = Client::connect(&post.door()).await;
        client.say(last).await;
        assert!(client.line().await.starts_with(answer), "{}", String::from_utf8_lossy(last));
    }
    assert_eq!(post.dovecot.marked("INBOX"), 0);
    assert!(!post.dovecot.mailboxes().iter().any(|name| name.contains('a') && name.len() < 3));
}

#[tokio::test]
async fn subjects_in_any_bytes_are_shown_and_mailboxes_in_modified_utf_7_are_named_as_people_read_them() {
    let post = Post::new(0, "ask-everything").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Entw&APw-rfe").await;
    phone.ok("CREATE \"R&AOk-sum&AOk-s &- more\"").await;
    let subjects: [&[u8]; 5] =
        ["Größe".as_bytes(), b"Gr\xfc\xdfe", b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", b"=?x?y?z?=", b"\"quoted\\ {3}"];
    for subject in subjects {
        let mail = [b"From: \"J\xf6rg\" <j@example.org>\r\nSubject: ", subject, b"\r\n\r\ntext\r\n"].concat();
        let tag = phone.send(&format!("APPEND INBOX {{{}}}", mail.len())).await;
        phone.go_ahead().await;
        phone.say(&mail).await;
        phone.say(b"\r\n").await;
        assert!(phone.end(&tag).await.end.starts_with("OK"));
    }
    let mut client = post.client().await;
    let listed = client.ok("LIST \"\" *").await;
    assert!(listed.untagged.iter().any(|line| line.ends_with(" Entw&APw-rfe")), "{listed:?}");
    client.ok("SELECT INBOX").await;
    let tag = client.send("UID MOVE 1:5 Entw&APw-rfe").await;
    let hold = post.engine.hold().await;
    let titles: Vec<&str> = hold.objects.iter().map(|object| object.title.as_str()).collect();
    assert_eq!(titles, ["Größe", "Gr\u{fffd}\u{fffd}e", "Grüße", "=?x?y?z?=", "\"quoted\\ {3}"]);
    let to = hold.facts.iter().find(|fact| fact.label == "To").expect("where to");
    assert_eq!(to.value, "Entwürfe");
    post.engine.allow(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    assert_eq!(post.dovecot.messages("Entw&APw-rfe").len(), 5);
    // The same text written otherwise is no name here: two readers could see two mailboxes.
    for odd in ["Entw&APw", "Entw&AEE-", "&AGE-", "\"Entw\u{fc}rfe\"", "&-&", "x*", "x%"] {
        let said = client.no(&format!("SELECT {odd}")).await;
        assert!(said.end.starts_with("BAD"), "{odd}: {said:?}");
    }
    let tag = client.send("DELETE \"R&AOk-sum&AOk-s &- more\"").await;
    let hold = post.engine.hold().await;
    assert!(hold.objects[0].title.starts_with("Résumés & more"), "{hold:?}");
    post.engine.deny(&hold).await;
    client.end(&tag).await;
}

#[tokio::test]
async fn a_mail_of_50_mb_is_stored_without_being_held() {
    const SIZE: usize = 50_000_000;
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    let before = memory_kib(post.engine.pid());
    let tag = client.send(&format!("APPEND INBOX {{{SIZE}}}")).await;
    client.go_ahead().await;
    let mut chunk = b"Subject: big\r\n\r\n".to_vec();
    while chunk.len() < 1_000_000 {
        chunk.extend_from_slice(&[b'x'; 78]);
        chunk.extend_from_slice(b"\r\n");
    }
    chunk.truncate(1_000_000);
    let mut most = 0;
    for _ in 0..SIZE / chunk.len() {
        client.say(&chunk).await;
        most = most.max(memory_kib(post.engine.pid()));
    }
    client.say(b"\r\n").await;
    let said = client.end(&tag).await;
    most = most.max(memory_kib(post.engine.pid()));
    assert!(said.end.starts_with("OK [APPENDUID"), "{said:?}");
    let grown = most.saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more for a mail of 50 MB");
    let sent = chunk.iter().filter(|byte| **byte == b'x').count() * (SIZE / chunk.len());
    let whole = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'x').count();
    assert_eq!(post.dovecot.messages("INBOX").iter().map(|one| whole(&one.bytes)).max(), Some(sent));
}

#[tokio::test]
async fn reading_leaves_new_mail_new() {
    for preset in ["read-only", "organize"] {
        let post = Post::new(2, preset).await;
        post.dovecot.deliver("Fresh");
        let mut client = post.client().await;
        let opened = client.ok("SELECT INBOX").await;
        assert!(opened.untagged.contains(&"* 3 EXISTS".to_owned()), "{opened:?}");
        client.ok("FETCH 1:* (FLAGS BODY[])").await;
        client.ok("FETCH 3 RFC822").await;
        client.ok("UID FETCH 1:* BODY[HEADER]").await;
        client.ok("STATUS INBOX (MESSAGES RECENT UNSEEN)").await;
        client.ok("CLOSE").await;
        client.command("LOGOUT").await;
        assert_eq!(post.dovecot.unseen_by_anybody(), 1, "{preset}: it still lies where nobody has looked");
        let opened = post.phone().await.ok("SELECT INBOX").await;
        assert!(opened.untagged.contains(&"* 3 RECENT".to_owned()), "{preset}: {opened:?}");
    }
}

#[tokio::test]
async fn more_than_10000_messages_at_once_are_refused_whatever_is_asked() {
    let post = Post::new(10_001, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    for command in [
        "STORE 1:* +FLAGS.SILENT ($x)",
        "UID STORE 1:* +FLAGS (\\Deleted)",
        "UID MOVE 1:* Trash",
        "COPY 1:* Archive",
        "FETCH 1:* BODY[]",
    ] {
        let said = client.no(command).await;
        assert!(said.end.starts_with("NO [LIMIT] More than 10000"), "{command}: {said:?}");
    }
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
    // What is not a mail's text has no such limit, and 10,000 are not too many to be asked about.
    assert_eq!(client.ok("UID FETCH 1:* FLAGS").await.untagged.len(), 10_001);
    let tag = client.send("UID MOVE 1:10000 Trash").await;
    let hold = post.engine.hold_within(Duration::from_secs(60)).await;
    assert_eq!(hold.count, 10_000);
    post.engine.deny(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("NO [NOPERM]"));
    assert_eq!(post.dovecot.messages("INBOX").len(), 10_001);
}
