//! The inbox, February 2026, once more: 60 mails, and an agent that speaks IMAP through curl, imapclient and a raw socket. It ends as well.

use std::process::Output;
use std::time::Duration;

use latch_ipc::contract::{
    Empty, GrantPut, GrantPutParams, HoldList, JournalVerify, PanicCall, UndoResult, UndoRun, UndoRunParams,
};
use latch_ipc::view::{Class, HoldView};
use latch_tests::dovecot::{PASSWORD, Stored};
use latch_tests::mail::{Client, Post};
use latch_tests::paths;
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};
use tokio::process::Command;

const MAILS: usize = 60;

const BULK: &str = r#"
import imapclient, json, sys
host, port, token, what = sys.argv[1:]
client = imapclient.IMAPClient(host, port=int(port), ssl=False)
client.login('mail', token)
client.select_folder('INBOX')
uids = client.search(['ALL'])
said = []
for call in {
    'trash': [lambda: client.move(uids, 'Trash')],
    'archive': [lambda: client.move(uids, 'Archive')],
    'expunge': [lambda: client.delete_messages(uids), lambda: client.expunge()],
}[what]:
    try:
        call()
        said.append('done')
    except imapclient.exceptions.IMAPClientError as error:
        said.append(str(error))
said.append(len(client.search(['ALL'])))
print(json.dumps(said))
"#;

fn mailboxes(post: &Post) -> [Vec<Stored>; 4] {
    ["INBOX", "Trash", "Archive", "Junk"].map(|name| post.dovecot.messages(name))
}

async fn undo_all(post: &Post, agent: &str) -> UndoResult {
    post.engine.call(UndoRun, UndoRunParams::Agent { agent: agent.to_owned(), since: "1h".to_owned() }).await
}

/// One call of curl: a login, SELECT, this command.
async fn curl(post: &Post, token: &str, command: &str) -> Output {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-u", &format!("{ACCOUNT}:{token}"), &format!("imap://{}/INBOX", post.door()), "-X", command]);
    curl.env("HOME", std::env::temp_dir()).kill_on_drop(true);
    curl.output().await.expect("curl is installed: run `cargo xtask setup`")
}

/// An agent that goes through the mails one by one. How many commands succeeded.
async fn one_by_one(post: &Post, command: impl Fn(usize) -> String) -> usize {
    let token = issue(&post.engine, AGENT).await;
    let mut done = 0;
    for uid in 1..=MAILS {
        done += usize::from(curl(post, &token, &command(uid)).await.status.success());
    }
    done
}

/// Denies whatever is asked, for ever. It must not be much.
async fn refuse(post: &Post, most: usize) {
    for asked in 1.. {
        let hold = post.engine.hold_within(Duration::from_secs(3600)).await;
        assert!(asked <= most, "the person is buried in questions");
        assert!(!hold.objects[0].title.is_empty());
        post.engine.deny(&hold).await;
    }
}

#[tokio::test]
async fn trashed_one_by_one_over_many_logins_nothing_beyond_the_budget_and_one_undo_puts_it_back() {
    let post = Post::new(MAILS, "organize").await;
    let start = mailboxes(&post);
    let runaway = one_by_one(&post, |uid| match uid % 4 {
        0 => format!("UID MOVE {uid} Trash"),
        1 => format!("UID STORE {uid} +FLAGS (\\Deleted)"),
        2 => format!("UID STORE {uid} FLAGS.SILENT (\\Seen \\Deleted)"),
        _ => format!("UID MOVE {uid} Junk"),
    });
    let done = tokio::select! { done = runaway => done, () = refuse(&post, 3) => unreachable!() };
    // 5 in ten minutes, halved in an agent's first week, rounded up.
    assert_eq!(done, 3);
    let [inbox, trash, archive, junk] = mailboxes(&post);
    let marked = inbox.iter().filter(|one| one.flags.contains('T')).count();
    assert_eq!((marked + trash.len() + junk.len(), archive.len()), (3, 0));
    let undone = undo_all(&post, AGENT).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (3, 0), "{undone:?}");
    assert_eq!(mailboxes(&post), start, "byte by byte");
}

#[tokio::test]
async fn archived_one_by_one_over_many_logins_nothing_beyond_the_budget_and_one_undo_puts_it_back() {
    let post = Post::new(MAILS, "organize").await;
    let start = mailboxes(&post);
    let runaway = one_by_one(&post, |uid| format!("UID MOVE {uid} Archive"));
    let done = tokio::select! { done = runaway => done, () = refuse(&post, 3) => unreachable!() };
    assert_eq!(done, 10, "20 in ten minutes, halved in an agent's first week");
    let counts = mailboxes(&post).map(|messages| messages.len());
    assert_eq!(counts, [MAILS - 10, 0, 10, 0]);
    let undone = undo_all(&post, AGENT).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (10, 0), "{undone:?}");
    assert_eq!(mailboxes(&post), start, "byte by byte");
}

/// Three programs of the same agent at once.
async fn bulk(post: &Post, what: &str) -> Vec<serde_json::Value> {
    let token = issue(&post.engine, AGENT).await;
    let door = post.door();
    let (host, port) = door.split_once(':').expect("an address");
    let mut command = Command::new(paths::python());
    command.args(["-c", BULK, host, port, &token, what]).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(90), command.output()).await.expect("it ends");
    let output = output.expect("imapclient is installed: run `cargo xtask setup`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

fn asked(holds: &[HoldView], verb: &str) -> HoldView {
    holds.iter().find(|hold| hold.verb == verb).unwrap_or_else(|| panic!("{verb}: {holds:?}")).clone()
}

#[tokio::test]
async fn in_bulk_it_is_shown_whole_allowed_in_part_told_truthfully_and_put_back_by_one_undo() {
    let post = Post::new(MAILS, "organize").await;
    let start = mailboxes(&post);
    let person = async {
        let holds = post.engine.holds(3).await;
        assert_eq!(mailboxes(&post), start, "nothing before the person has spoken");
        for hold in &holds {
            assert_eq!((hold.count, hold.objects.len()), (60, 60));
            for number in 1..=MAILS {
                let title = format!("Mail number {number}");
                assert!(hold.objects.iter().any(|object| object.title == title), "{} lacks {title}", hold.verb);
            }
            assert_eq!(
                hold.objects.iter().filter(|object| object.flags.iter().any(|flag| flag == "starred")).count(),
                6
            );
        }
        let trash = asked(&holds, "Trash");
        assert_eq!(trash.class, Class::Remove);
        let some: Vec<&str> = trash.objects.iter().take(7).map(|object| object.id.as_str()).collect();
        post.engine.allow_only(&trash, &some).await;
        // A server copies before it takes away.
        while post.dovecot.messages("INBOX").len() > MAILS - some.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        post.engine.deny(&asked(&holds, "Move")).await;
        post.engine.allow(&asked(&holds, "Mark as deleted")).await;
        let expunge = loop {
            let hold = post.engine.hold().await;
            if hold.verb == "Delete for ever" {
                break hold;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(expunge.class, Class::Destroy);
        post.engine.allow(&expunge).await;
        expunge.count
    };
    let (trash, archive, expunge, expunged) =
        tokio::join!(bulk(&post, "trash"), bulk(&post, "archive"), bulk(&post, "expunge"), person);
    let said = |said: &serde_json::Value, wanted: &str| {
        assert!(said.as_str().is_some_and(|text| text.contains(wanted)), "{said}: {wanted}");
    };
    said(&trash[0], "The person allowed this for 7 of 60 messages: those are done, the others are as they were");
    said(&archive[0], "The person said no");
    said(&expunge[0], "done");
    said(&expunge[1], "done");
    let counts = mailboxes(&post).map(|messages| messages.len());
    assert_eq!(counts, [MAILS - 7 - usize::try_from(expunged).expect("a count"), 60.min(7 + expunged as usize), 0, 0]);
    let undone = undo_all(&post, AGENT).await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(mailboxes(&post), start, "byte by byte");
}

#[tokio::test]
async fn stopped_in_the_middle_nothing_runs_after_it_and_it_is_put_back() {
    let post = Post::new(MAILS, "organize").await;
    let start = mailboxes(&post);
    let wide = |name: &str| (name.to_owned(), [5_000, 5_000]);
    let params = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([wide("remove"), wide("leave-inbox")].into()),
        expires_in: None,
    };
    post.engine.call(GrantPut, params).await;
    let stop = async {
        while post.dovecot.messages("Trash").len() < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        post.engine.call(PanicCall, Empty {}).await;
        // What the server had heard by then it does.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let at_stop = mailboxes(&post);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(mailboxes(&post), at_stop, "something ran after the stop");
    };
    let (done, ()) = tokio::join!(one_by_one(&post, |uid| format!("UID MOVE {uid} Trash")), stop);
    let gone = post.dovecot.messages("Trash").len();
    assert!((5..MAILS).contains(&gone) && (done == gone || done + 1 == gone), "{done} were answered, {gone} are gone");
    let undone = undo_all(&post, AGENT).await;
    assert_eq!((undone.restored as usize, undone.not_restored.len()), (gone, 0), "{undone:?}");
    assert_eq!(mailboxes(&post), start, "byte by byte");
    assert!(post.engine.call(JournalVerify, Empty {}).await.ok);
}

/// Each way to remove, as it is said in an open INBOX of 12 mails; how many questions it takes.
const SPELLINGS: [(&[&str], usize); 24] = [
    (&["STORE 1:* +FLAGS (\\Deleted)"], 1),
    (&["STORE 12:1 FLAGS (\\Deleted)"], 1),
    (&["uid store 1:* +flags.silent \\deleted"], 1),
    (&["UID STORE 1:4294967295 FLAGS.SILENT (\\Seen \\Deleted $x)"], 1),
    (&["STORE 1,2,3,4,5,6,7,8,9,10,11,* +FLAGS.SILENT (\\Flagged \\Deleted)"], 1),
    (&["UID STORE 1:* (UNCHANGEDSINCE 999999) +FLAGS (\\Deleted)"], 1),
    (&["SEARCH RETURN (SAVE) ALL", "STORE $ +FLAGS.SILENT (\\Deleted)"], 1),
    (&["UID SEARCH RETURN (SAVE) FROM alice", "UID STORE $ +FLAGS (\\Deleted)"], 1),
    (&["MOVE 1:* Trash"], 1),
    (&["UID MOVE *:1 \"Trash\""], 1),
    (&["MOVE 1:12 Junk"], 1),
    (&["SEARCH RETURN (SAVE) ALL", "MOVE $ Trash"], 1),
    (&["MOVE 1:* Archive"], 1),
    (&["STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"], 2),
    (&["UID STORE 1:* +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 1:*"], 2),
    (&["STORE 1:* +FLAGS.SILENT (\\Deleted)", "CLOSE"], 2),
    (&["SEARCH RETURN (SAVE) ALL", "STORE $ +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE $"], 2),
    (&["SEARCH RETURN (SAVE) ALL", "UID MOVE $ Trash"], 1),
    (&["STORE * +FLAGS (\\Deleted)", "EXPUNGE"], 2),
    (&["COPY 1:* Trash", "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"], 2),
    (&["STORE 1:* +FLAGS.SILENT (\\Deleted)", "SELECT Trash"], 1),
    (&["STORE 1:* +FLAGS.SILENT (\\Deleted)", "UNSELECT", "LOGOUT"], 1),
    (&["COPY 1:* Archive", "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"], 2),
    (&["DELETE Projects"], 1),
];

/// What the agent could remove unasked: 3, of the budget for removals. 10 may leave the inbox.
const UNASKED: usize = 10;

async fn by_a_new_agent(post: &Post, agent: &str, commands: &[&str], questions: usize) {
    let everything = || (mailboxes(post), post.dovecot.messages("Projects"));
    let start = everything();
    let shown = commands.join("; ");
    connect(&post.engine, agent, ACCOUNT, "organize").await;
    let token = issue(&post.engine, agent).await;
    let mut client = Client::connect(&post.door()).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    client.ok("SELECT INBOX").await;
    let mut asked = 0;
    for command in commands {
        let before = everything();
        let tag = client.send(command).await;
        let said = tokio::select! {
            said = client.end(&tag) => said,
            hold = post.engine.hold() => {
                assert_eq!(everything(), before, "{shown}: changed before the person has spoken");
                assert!(hold.count >= 1 && hold.objects.iter().all(|object| !object.title.is_empty()), "{shown}: {hold:?}");
                post.engine.allow(&hold).await;
                asked += 1;
                client.end(&tag).await
            }
        };
        assert!(said.end.starts_with("OK"), "{shown}: {said:?}");
        if asked == 0 {
            let gone = start.0[0].len() - post.dovecot.messages("INBOX").len();
            let marked = post.dovecot.marked("INBOX");
            assert!(gone <= UNASKED && marked <= 3, "{shown}: {gone} are gone, {marked} marked unasked");
        }
        post.engine.no_holds().await;
    }
    assert_eq!(asked, questions, "{shown}");
    assert!(!String::from_utf8_lossy(&client.heard).contains(PASSWORD));
    drop(client);
    let there = post.dovecot.messages("INBOX").len() + post.dovecot.messages("Trash").len();
    assert!(there + post.dovecot.messages("Archive").len() + post.dovecot.messages("Junk").len() >= 12, "{shown}");
    let undone = undo_all(post, agent).await;
    // What was copied into the Trash is where Undo would put it.
    let stays =
        |left: &latch_ipc::contract::NotRestored| shown.contains("COPY 1:* Trash") && left.why == "it is in the Trash";
    assert!(undone.not_restored.iter().all(stays), "{shown}: {undone:?}");
    let (mut end, start) = (everything(), start);
    if shown.contains("COPY") {
        // What was copied is no mail of the person's to lose: it is in the Trash.
        assert_eq!(end.0[1].len(), start.0[1].len() + 12, "{shown}");
        end.0[1].clone_from(&start.0[1]);
    }
    assert_eq!(end, start, "{shown}: byte by byte");
}

#[tokio::test]
async fn attack_16_attack_17_every_way_to_remove_waits_for_the_person_and_one_undo_puts_it_back_byte_by_byte() {
    let post = Post::new(12, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Projects").await;
    phone.ok("SELECT INBOX").await;
    phone.ok("COPY 1:2 Projects").await;
    phone.ok("LOGOUT").await;
    for (number, (commands, questions)) in SPELLINGS.into_iter().enumerate() {
        by_a_new_agent(&post, &format!("claw{number}"), commands, questions).await;
    }
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    for never in [
        "RENAME INBOX Elsewhere",
        "RENAME inbox Trash/x",
        "RENAME Projects Trash/Projects",
        "RENAME Archive Junk/Archive",
        "DELETE INBOX",
        "EXPUNGE 1:*",
        "UID EXPUNGE",
    ] {
        client.no(never).await;
    }
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Projects").len()), (12, 2));
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}
