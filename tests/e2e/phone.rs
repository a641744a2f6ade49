//! Stop from the phone, with Dovecot as the mail server and a second client as the phone.

use std::time::Duration;

use latch_ipc::contract::{
    AskDecide, AskDecideParams, AskList, Empty, Event, EventKind, JournalTail, JournalTailParams, PanicCall, PhoneStop,
    Resume, ResumeParams, StatusCall, Verdict,
};
use latch_ipc::phone::{PhoneState, PhoneStopParams, PhoneView};
use latch_ipc::view::StatusView;
use latch_tests::dovecot::Dovecot;
use latch_tests::engine::{Engine, Start};
use latch_tests::mail::{Client, Post};
use latch_tests::scene::ACCOUNT;

pub(crate) const SUBJECT: &str = "Delete or move this mail to stop all agents";
/// What is promised where the server reports changes is 10 s; this is for crowded machines. It is looked anew by itself only after two minutes.
const PUSHED: Duration = Duration::from_secs(30);
/// Longer than any poll, for crowded machines.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn switch(engine: &Engine, on: bool) -> PhoneView {
    engine.call(PhoneStop, PhoneStopParams { account: ACCOUNT.to_owned(), on }).await
}

pub(crate) async fn resume(engine: &Engine) {
    engine.call(Resume, ResumeParams { agent: None, preset: Some("assistant".to_owned()) }).await;
}

pub(crate) async fn until(engine: &Engine, what: &str, is: impl Fn(&StatusView) -> bool) -> StatusView {
    let wait = async {
        loop {
            let status = engine.call(StatusCall, Empty {}).await;
            if is(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(status) => status,
        Err(_) => panic!("not {what}: {:?}\n{}", engine.call(StatusCall, Empty {}).await, engine.log()),
    }
}

pub(crate) async fn until_state(engine: &Engine, state: PhoneState) -> PhoneView {
    let is = |status: &StatusView| status.phone.iter().any(|phone| phone.state == state);
    until(engine, &format!("{state:?}"), is).await.phone.remove(0)
}

/// Why everything stopped.
pub(crate) async fn until_stopped(engine: &Engine) -> String {
    until(engine, "stopped", |status| status.panicked).await.panicked_why.unwrap_or_default()
}

pub(crate) async fn runs(engine: &Engine) -> bool {
    !engine.call(StatusCall, Empty {}).await.panicked
}

/// What was told of this kind.
async fn heard(engine: &Engine, kind: EventKind) -> Event {
    let wait = async {
        loop {
            if let Some(event) = engine.events().await.into_iter().find(|event| event.kind == kind) {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it is told")
}

/// The UIDs of what looks like the mail.
async fn uids(client: &mut Client) -> Vec<u32> {
    client.ok("SELECT INBOX").await;
    let said = client.ok(&format!("UID SEARCH SUBJECT \"{SUBJECT}\"")).await;
    let line = said.untagged.iter().find_map(|line| line.strip_prefix("* SEARCH")).unwrap_or_default().to_owned();
    line.split_whitespace().map(|uid| uid.parse().expect("a UID")).collect()
}

async fn uid(client: &mut Client) -> u32 {
    let all = uids(client).await;
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

/// The connection of another client sees what it had open before; whatever the guard saw by then, it has acted upon.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1500)).await;
}

#[tokio::test]
async fn one_mail_is_left_and_taken_away_again() {
    let post = Post::new(3, "assistant").await;
    assert_eq!(post.engine.call(StatusCall, Empty {}).await.phone[0].state, PhoneState::Off, "off unless it is wanted");
    assert_eq!(post.dovecot.messages("INBOX").len(), 3);
    let view = switch(&post.engine, true).await;
    assert_eq!(view.state, PhoneState::Watching, "{view:?}");
    assert!(view.since.is_some() && view.text.contains("at once"), "{view:?}");
    let mails = post.dovecot.messages("INBOX");
    let mail = mails.iter().find(|mail| mail.subject == SUBJECT).expect("a mail");
    assert_eq!((mails.len(), mail.flags.as_str()), (4, "FS"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    assert!(String::from_utf8_lossy(&mail.bytes).contains(host.trim()), "it names this machine");
    assert_eq!(switch(&post.engine, true).await.state, PhoneState::Watching);
    assert_eq!(post.dovecot.messages("INBOX").len(), 4, "one is enough");
    assert_eq!(switch(&post.engine, false).await.state, PhoneState::Off);
    settle().await;
    assert!(runs(&post.engine).await, "its own removal stops nothing");
    assert_eq!(post.dovecot.messages("INBOX").len(), 3);
}

#[tokio::test]
async fn whatever_takes_it_out_of_the_inbox_stops_everything_and_resume_leaves_a_new_one() {
    let post = Post::new(3, "assistant").await;
    switch(&post.engine, true).await;
    let mut phone = post.phone().await;
    let mut former = 0;
    for way in ["UID MOVE {} Trash", "UID MOVE {} Archive", "UID STORE {} +FLAGS.SILENT (\\Deleted)", "expunge"] {
        let mut agent = post.client().await;
        agent.ok("SELECT INBOX").await;
        let mine = uid(&mut phone).await;
        assert!(mine > former, "{way}: a new one");
        former = mine;
        post.engine.events().await;
        if way == "expunge" {
            phone.ok(&format!("UID STORE {mine} +FLAGS (\\Deleted)")).await;
            phone.ok(&format!("UID EXPUNGE {mine}")).await;
        } else {
            phone.ok(&way.replace("{}", &mine.to_string())).await;
        }
        let stopped = tokio::time::timeout(PUSHED, until_stopped(&post.engine));
        let why = stopped.await.unwrap_or_else(|_| panic!("{way}: not at once"));
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        assert!(why.contains("phone: the mail in mail") && why.contains(host.trim()), "{way}: {why}");
        assert_eq!(heard(&post.engine, EventKind::Panic).await.text.as_deref(), Some(why.as_str()), "{way}");
        assert_eq!(agent.line().await, "", "{way}: its connection is cut");
        assert_eq!(until_state(&post.engine, PhoneState::Stopped).await.since, None);
        if way.contains("Deleted") {
            phone.ok("EXPUNGE").await;
        }
        assert_eq!(uids(&mut phone).await, [0; 0], "{way}: nothing is left while everything is stopped");
        resume(&post.engine).await;
        until_state(&post.engine, PhoneState::Watching).await;
        assert!(runs(&post.engine).await);
    }
    let tail = JournalTailParams { limit: Some(500), ..JournalTailParams::default() };
    let records = post.engine.call(JournalTail, tail).await;
    let stops = records.iter().filter(|record| record.kind == "panic" && record.text.starts_with("phone: ")).count();
    assert_eq!(stops, 4);
}

#[tokio::test]
async fn what_only_looks_like_it_stops_nothing() {
    let post = Post::new(3, "assistant").await;
    switch(&post.engine, true).await;
    let mut phone = post.phone().await;
    let mine = uid(&mut phone).await;
    let mail = post.dovecot.messages("INBOX").into_iter().find(|mail| mail.subject == SUBJECT).expect("a mail");
    // Down to the last byte, and once more with the subject alone.
    let forged = [mail.bytes, format!("Subject: {SUBJECT}\r\n\r\nHello\r\n").into_bytes()];
    for bytes in &forged {
        let tag = phone.send(&format!("APPEND INBOX {{{}}}", bytes.len())).await;
        assert!(phone.line().await.starts_with('+'));
        phone.say(bytes).await;
        phone.say(b"\r\n").await;
        assert!(phone.end(&tag).await.end.starts_with("OK"));
    }
    let all = uids(&mut phone).await;
    assert_eq!(all.len(), 3);
    for other in all.iter().filter(|other| **other != mine) {
        phone.ok(&format!("UID MOVE {other} Trash")).await;
    }
    phone.ok(&format!("UID STORE {mine} -FLAGS (\\Seen \\Flagged)")).await;
    phone.ok(&format!("UID COPY {mine} Archive")).await;
    settle().await;
    assert!(runs(&post.engine).await);
    phone.ok(&format!("UID MOVE {mine} Trash")).await;
    until_stopped(&post.engine).await;
}

#[tokio::test]
async fn an_agent_neither_reads_nor_changes_it() {
    let post = Post::new(3, "assistant").await;
    switch(&post.engine, true).await;
    let mut phone = post.phone().await;
    let mine = uid(&mut phone).await;
    let number = phone.ok(&format!("SEARCH UID {mine}")).await.untagged[0].replace("* SEARCH ", "");
    let mut agent = post.client().await;
    agent.ok("SELECT INBOX").await;
    for fetch in [
        "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])".to_owned(),
        "FETCH 1:4 BODY.PEEK[]".to_owned(),
        "UID FETCH 1:* (FLAGS ENVELOPE)".to_owned(),
        "UID FETCH 1:4294967295 (FLAGS)".to_owned(),
    ] {
        let said = agent.ok(&fetch).await;
        assert_eq!(said.untagged.len(), 3, "{fetch}: {said:?}");
    }
    for fetch in [
        format!("FETCH {number} BODY.PEEK[]"),
        format!("FETCH {number}:{number} (ENVELOPE)"),
        format!("UID FETCH {mine} BODY.PEEK[]"),
    ] {
        let said = agent.ok(&fetch).await;
        assert!(said.untagged.is_empty(), "{fetch}: {said:?}");
    }
    for search in
        ["ALL", "SUBJECT \"stop all agents\"", "HEADER Message-ID latchstring", "OR ALL DELETED", "RETURN (ALL) ALL"]
    {
        for verb in ["SEARCH", "UID SEARCH"] {
            let said = agent.ok(&format!("{verb} {search}")).await;
            let line = said.untagged.last().expect("an answer").clone();
            let hidden = if verb == "SEARCH" { number.clone() } else { mine.to_string() };
            assert!(!line.split([' ', ':', ',']).any(|word| word == hidden), "{verb} {search}: {line}");
        }
    }
    let sorted = agent.ok("UID SORT (SUBJECT) UTF-8 ALL").await;
    assert_eq!(sorted.untagged[0].split(' ').count(), 5, "{sorted:?}");
    for change in [
        format!("UID STORE {mine} +FLAGS (\\Deleted)"),
        format!("UID MOVE {mine} Trash"),
        format!("UID COPY {mine} Archive"),
        format!("MOVE {number} Trash"),
        format!("STORE {number} -FLAGS (\\Flagged)"),
    ] {
        let said = agent.ok(&change).await;
        assert!(said.end.contains("none of these"), "{change}: {said:?}");
    }
    // A stranger's mark on it would be carried out by the agent's EXPUNGE; that it is marked has stopped everything by then.
    let tag = agent.send("STORE 1:* +FLAGS.SILENT (\\Deleted)").await;
    let said = match tokio::time::timeout(Duration::from_secs(3), agent.end(&tag)).await {
        Ok(said) => said,
        Err(_) => {
            let hold = post.engine.hold().await;
            assert_eq!(hold.count, 3);
            post.engine.allow(&hold).await;
            agent.end(&tag).await
        }
    };
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert_eq!(post.dovecot.marked("INBOX"), 3);
    let tag = agent.send("EXPUNGE").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 3);
    assert!(hold.objects.iter().all(|object| object.title.starts_with("Mail number")), "{:?}", hold.objects);
    post.engine.allow(&hold).await;
    assert!(agent.end(&tag).await.end.starts_with("OK"));
    let left = post.dovecot.messages("INBOX");
    assert_eq!((left.len(), left[0].subject.as_str(), left[0].flags.as_str()), (1, SUBJECT, "FS"));
    settle().await;
    assert!(runs(&post.engine).await);
    let heard = String::from_utf8_lossy(&agent.heard).into_owned();
    assert!(!heard.contains("latchstring.invalid") && !heard.contains("Delete or move"), "{heard}");
}

#[tokio::test]
async fn a_server_that_cannot_report_changes_is_asked() {
    let post = Post::with(Dovecot::start_plain(3), "assistant", Start::in_memory).await;
    let view = switch(&post.engine, true).await;
    assert_eq!(view.state, PhoneState::Watching, "{view:?}");
    assert!(view.text.contains("15 seconds"), "{view:?}");
    let mut phone = post.phone().await;
    let mine = uid(&mut phone).await;
    phone.ok(&format!("UID STORE {mine} +FLAGS (\\Deleted)")).await;
    phone.ok("EXPUNGE").await;
    until_stopped(&post.engine).await;
}

#[tokio::test]
async fn a_lost_connection_is_shown_and_what_happened_meanwhile_is_seen() {
    let post = Post::new(3, "assistant").await;
    switch(&post.engine, true).await;
    let mine = uid(&mut post.phone().await).await;
    post.engine.events().await;
    post.dovecot.stop().await;
    let view = until_state(&post.engine, PhoneState::Offline).await;
    assert!(view.since.is_some() && view.text.contains("Moving the mail stops nothing until"), "{view:?}");
    let told = heard(&post.engine, EventKind::PhoneChanged).await;
    assert!(told.text.as_deref().is_some_and(|text| text.contains("is offline")), "{told:?}");
    post.dovecot.begin().await;
    until_state(&post.engine, PhoneState::Watching).await;
    assert!(runs(&post.engine).await);
    assert_eq!(uid(&mut post.phone().await).await, mine, "the same mail");
    post.dovecot.stop().await;
    post.dovecot.lose(SUBJECT);
    post.dovecot.begin().await;
    until_stopped(&post.engine).await;
}

#[tokio::test]
async fn an_inbox_that_was_made_anew_is_searched_for_it() {
    let post = Post::new(3, "assistant").await;
    switch(&post.engine, true).await;
    post.dovecot.stop().await;
    until_state(&post.engine, PhoneState::Offline).await;
    post.dovecot.forget_uids();
    post.dovecot.begin().await;
    until_state(&post.engine, PhoneState::Watching).await;
    settle().await;
    assert!(runs(&post.engine).await);
    let mut phone = post.phone().await;
    let mine = uid(&mut phone).await;
    let mut agent = post.client().await;
    agent.ok("SELECT INBOX").await;
    assert_eq!(agent.ok(&format!("UID FETCH {mine} (FLAGS)")).await.untagged, [""; 0], "hidden there, too");
    phone.ok(&format!("UID MOVE {mine} Trash")).await;
    until_stopped(&post.engine).await;
    resume(&post.engine).await;
    until_state(&post.engine, PhoneState::Watching).await;
    post.dovecot.stop().await;
    until_state(&post.engine, PhoneState::Offline).await;
    post.dovecot.forget_uids();
    post.dovecot.lose(SUBJECT);
    post.dovecot.begin().await;
    until_stopped(&post.engine).await;
}

#[tokio::test]
async fn what_left_while_the_engine_was_off_stops_at_its_start() {
    let mut post = Post::with(Dovecot::start(3), "assistant", |start| start).await;
    switch(&post.engine, true).await;
    let mut phone = post.phone().await;
    let mine = uid(&mut phone).await;
    for gone in [false, true] {
        let ended = std::mem::replace(
            &mut post.engine,
            Start::at(tempfile::tempdir().expect("a folder").path()).in_memory().start().await,
        );
        ended.kill().await;
        if gone {
            phone.ok(&format!("UID MOVE {mine} Archive")).await;
        }
        post.engine = Start::at(post.home.path()).imap().start().await;
        if gone {
            until_stopped(&post.engine).await;
        } else {
            until_state(&post.engine, PhoneState::Watching).await;
            assert_eq!(uid(&mut phone).await, mine, "no second mail");
        }
    }
}

#[tokio::test]
async fn a_program_can_only_ask_for_it() {
    let post = Post::new(1, "assistant").await;
    let verb = async |turn: &str| {
        let mut command = tokio::process::Command::new(latch_tests::paths::latch());
        command.args(["account", "phone-stop", ACCOUNT, turn, "--home"]).arg(post.home.path());
        let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await.expect("it ends");
        assert_ne!(output.status.code(), Some(0), "{output:?}");
        let asks = post.engine.call(AskList, Empty {}).await;
        let ask = asks.into_iter().find(|ask| ask.kind == "phone").expect("the person is asked");
        (ask.id, ask.text)
    };
    switch(&post.engine, true).await;
    let (id, text) = verb("off").await;
    assert!(text.contains("OFF: moving the mail would stop nothing"), "{text}");
    assert_eq!(post.engine.call(StatusCall, Empty {}).await.phone[0].state, PhoneState::Watching);
    post.engine.call(AskDecide, AskDecideParams { id, verdict: Verdict::Deny }).await;
    assert_eq!(post.engine.call(StatusCall, Empty {}).await.phone[0].state, PhoneState::Watching);
    let (id, _) = verb("off").await;
    post.engine.call(AskDecide, AskDecideParams { id, verdict: Verdict::Allow }).await;
    assert_eq!(post.engine.call(StatusCall, Empty {}).await.phone[0].state, PhoneState::Off);
    let (id, text) = verb("on").await;
    assert!(text.contains("one mail is left in its inbox"), "{text}");
    post.engine.call(AskDecide, AskDecideParams { id, verdict: Verdict::Allow }).await;
    until_state(&post.engine, PhoneState::Watching).await;
}

#[tokio::test]
async fn a_panic_from_elsewhere_leaves_the_mail_where_it_is() {
    let post = Post::new(3, "assistant").await;
    switch(&post.engine, true).await;
    let mut phone = post.phone().await;
    let mine = uid(&mut phone).await;
    post.engine.call(PanicCall, Empty {}).await;
    until_state(&post.engine, PhoneState::Stopped).await;
    let off = switch(&post.engine, false).await;
    assert!(off.text.contains("Delete it yourself"), "nothing leaves while everything is stopped: {off:?}");
    assert_eq!(uid(&mut phone).await, mine);
    switch(&post.engine, true).await;
    resume(&post.engine).await;
    until_state(&post.engine, PhoneState::Watching).await;
    assert_eq!(uids(&mut phone).await.len(), 2);
    phone.ok(&format!("UID MOVE {mine} Trash")).await;
    settle().await;
    assert!(runs(&post.engine).await, "the mail of former days stops nothing");
}
