//! An account that is removed takes the connections along that were logged in to it, also where its name is used again.

use latch_ipc::contract::{AccountRemove, Id, MailTls, SettingsSet};
use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::mail::Post;
use latch_tests::scene::{ACCOUNT, AGENT, grant};
use latch_tests::sink::{Outgoing, Sink, USER, mail};
use serde_json::json;

const BOB: &str = "bob@friends.example";

#[tokio::test]
async fn an_old_login_sends_nothing_through_a_removed_account() {
    let out = Outgoing::new("assistant").await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 0 })).await;
    let mut old = out.client().await;
    old.hand_in(USER, &[BOB], &mail(BOB, "First")).await;
    out.engine.allow(&out.engine.hold().await).await;
    assert!(old.reply().await.starts_with("250 2.0.0 Sent"));
    out.engine.call(AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    let other = Sink::start().await;
    latch_tests::sink::add(&out.engine, ACCOUNT, other.port, MailTls::None, latch_tests::sink::PASSWORD).await;
    grant(&out.engine, AGENT, ACCOUNT, "assistant").await;
    let said = old.submit(USER, &[BOB], &mail(BOB, "Second")).await;
    assert!(said.starts_with("421 4.7.0 The person has removed this account"), "{said}");
    assert_eq!(old.reply().await, "", "the connection is closed");
    assert_eq!((out.sink.mails().len(), other.mails().len()), (1, 0));
    let mut new = out.client().await;
    new.hand_in(USER, &[BOB], &mail(BOB, "Third")).await;
    out.engine.allow(&out.engine.hold().await).await;
    let said = new.reply().await;
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!((out.sink.mails().len(), other.arrived(1).await.len()), (1, 1));
}

#[tokio::test]
async fn an_old_login_reads_nothing_in_a_removed_account() {
    let post = Post::new(2, "assistant").await;
    let (mut old, mut idle) = (post.client().await, post.client().await);
    old.ok("SELECT INBOX").await;
    idle.ok("SELECT INBOX").await;
    let waiting = idle.send("IDLE").await;
    assert_eq!(idle.line().await, "+ idling");
    post.engine.call(AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    let other = Dovecot::start(0).await;
    latch_tests::mail::add(&post.engine, other.port, PASSWORD).await;
    grant(&post.engine, AGENT, ACCOUNT, "assistant").await;
    // Whether the command or the clock is first, nothing is read.
    old.say(b"x FETCH 1 (FLAGS)\r\n").await;
    let mut said = Vec::new();
    loop {
        let line = old.line().await;
        if line.is_empty() {
            break;
        }
        said.push(line);
    }
    assert!(said.iter().any(|line| line.starts_with("* BYE [UNAVAILABLE]")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("FETCH") || line.starts_with("x OK")), "{said:?}");
    let said = idle.end(&waiting).await;
    assert!(said.end.starts_with("NO [UNAVAILABLE]") || said.end == "(gone)", "{said:?}");
    let mut new = post.client().await;
    let said = new.ok("SELECT INBOX").await;
    assert!(said.untagged.iter().any(|line| line == "* 0 EXISTS"), "{said:?}");
}
