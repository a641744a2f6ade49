//! Programs that hand in a mail again: because they did not wait for its answer, or because they take none for one.

use std::time::Duration;

use latch_ipc::contract::{Empty, HoldList};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};
use latch_tests::sink::{Client, USER, mail};

use crate::smtp::{BOB, budget, house};

#[tokio::test]
async fn whoever_hands_in_the_same_refused_mail_again_and_again_can_not_log_in_for_a_while() {
    let out = house(&[]).await;
    connect(&out.engine, "other", ACCOUNT, "assistant").await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "No")).await;
    out.engine.deny(&out.engine.hold().await).await;
    assert!(client.reply().await.starts_with("550 5.7.1 The person said no"));
    // As himalaya 1 does for as long as its token lives.
    for _ in 0..2 {
        let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "No")).await;
        assert!(said.starts_with("550 5.7.1 The person said no"), "{said}");
    }
    let login = async |agent: &str| {
        let token = issue(&out.engine, agent).await;
        let mut client = Client::connect(&out.door()).await;
        client.ok("EHLO client.example").await;
        client.command("AUTH LOGIN").await;
        client.command("bWFpbA==").await;
        client.command(&latch_tests::sink::base64(&token)).await
    };
    let said = login(AGENT).await;
    assert!(said.starts_with("454 4.7.0 The same mail was handed in 3 times in a row"), "{said}");
    assert!(said.contains("550 5.7.1 The person said no"), "{said}");
    assert!(login("other").await.starts_with("235 "));
    assert!(out.engine.call(HoldList, Empty {}).await.is_empty(), "the person is asked once");
    assert!(out.sink.mails().is_empty());
}

#[tokio::test]
async fn whoever_goes_on_before_the_answer_is_told_to_come_again_and_gets_it_then() {
    let out = house(&[]).await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Patience")).await;
    let hold = out.engine.hold().await;
    // himalaya 1 begins anew on the same connection after 30 s. It would take the answer to its mail for one to MAIL, and so on.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    client.say(format!("MAIL FROM:<{USER}>\r\n").as_bytes()).await;
    let said = client.reply().await;
    assert!(said.starts_with("421 4.4.2 You went on before your mail was answered"), "{said}");
    assert_eq!(client.reply().await, "");
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Patience")).await;
    assert_eq!(out.engine.hold().await.id, hold.id);
    out.engine.allow(&hold).await;
    let said = client.reply().await;
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(out.sink.arrived(1).await.len(), 1);
}

#[tokio::test]
async fn a_permitted_mail_whose_answer_nobody_heard_leaves_once() {
    let out = house(&[BOB]).await;
    budget(&out, 50).await;
    out.sink.mood("late").await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Once")).await;
    out.sink.arrived(2).await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for _ in 0..2 {
        let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "Once")).await;
        assert!(said.starts_with("250 2.0.0 Sent"), "{said}");
    }
    assert_eq!(out.sink.mails().len(), 2);
    // One that was heard is over: the same again is another mail.
    for count in [3, 4] {
        let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "Twice")).await;
        assert!(said.starts_with("250 2.0.0 Sent"), "{said}");
        assert_eq!(out.sink.arrived(count).await.len(), count);
    }
}
