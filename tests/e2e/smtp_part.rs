//! A mail that goes to some of its recipients only.

use latch_tests::sink::{USER, mail};

use crate::smtp::{BOB, first_times, house};

#[tokio::test]
async fn whom_the_person_unticks_gets_nothing_and_the_agent_hears_it() {
    let carol = "carol@friends.example";
    let out = house(&[]).await;
    let mut client = out.client().await;
    let text = format!("From: {USER}\r\nTo: {BOB}, {carol}\r\nSubject: Party\r\n\r\nCome");
    client.hand_in(USER, &[BOB, carol, "spy@evil.example"], &text).await;
    let hold = out.engine.hold().await;
    assert!(hold.partial && hold.objects.is_empty());
    out.engine.allow_only(&hold, &[BOB]).await;
    let said = client.reply().await;
    assert!(
        said.starts_with("554 5.7.1 The person let it go to 1 of 3 recipients only. It was sent to bob@"),
        "{said}"
    );
    assert!(said.ends_with("It was not sent to carol@friends.example, spy@evil.example"), "{said}");
    let arrived = out.sink.arrived(1).await;
    assert_eq!((arrived[0].recipients.as_slice(), arrived[0].text()), (&[BOB.to_owned()][..], format!("{text}\r\n")));
    // The same again gets the same answer; only who got it is known from now on.
    client.hand_in(USER, &[BOB, carol, "spy@evil.example"], &text).await;
    assert!(client.reply().await.starts_with("554 5.7.1 The person let it go to 1 of 3"));
    client.hand_in(USER, &[BOB, carol], &mail(BOB, "Again")).await;
    let hold = out.engine.hold().await;
    assert_eq!(first_times(&hold), [carol]);
    for wrong in [vec![], vec!["else@x.example".to_owned()]] {
        let params = latch_ipc::contract::HoldDecideParams {
            objects: Some(wrong),
            ..latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow)
        };
        assert!(out.engine.decide(params).await.is_err());
    }
    out.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("550 "));
    assert_eq!(out.sink.mails().len(), 1);
}

/// What was allowed is the mail with the envelope that was shown: one recipient more is another question, whoever asks it.
#[tokio::test]
async fn attack_21_a_recipient_added_after_the_preview_gets_nothing() {
    let out = house(&[BOB]).await;
    let mut client = out.client().await;
    let text = mail("carol@friends.example", "Plans");
    client.hand_in(USER, &["carol@friends.example"], &text).await;
    let shown = out.engine.hold().await;
    let mut other = out.client().await;
    other.hand_in(USER, &["carol@friends.example", "spy@evil.example"], &text).await;
    let holds = out.engine.holds(2).await;
    let more = holds.iter().find(|hold| hold.id != shown.id).expect("a question of its own");
    assert_ne!(more.digest, shown.digest);
    assert_eq!(first_times(more), ["carol@friends.example", "spy@evil.example"]);
    out.engine.allow(&shown).await;
    let said = client.reply().await;
    assert!(said.starts_with("250 "), "{said}");
    // The first one made Bob known.
    let gone = out.sink.arrived(2).await;
    assert_eq!(gone[1].recipients, ["carol@friends.example"]);
    out.engine.deny(more).await;
    assert!(other.reply().await.starts_with("550 "));
    assert_eq!(out.sink.mails().len(), 2);
}
