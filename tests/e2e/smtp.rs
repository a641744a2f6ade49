//! The submission door in front of aiosmtpd: what leaves, what is held, what never leaves.

use std::time::Duration;

use latch_ipc::contract::{
    AccountList, Empty, GrantPut, GrantPutParams, HoldList, Id, JournalTail, JournalTailParams, OutboxCancel,
    OutboxList, PanicCall, Resume, ResumeParams, SettingsSet,
};
use latch_ipc::view::{HoldView, Reversible};
use latch_tests::canary::Canaries;
use latch_tests::engine::Start;
use latch_tests::scene::{ACCOUNT, AGENT, issue};
use latch_tests::sink::{Client, Outgoing, PASSWORD, Sink, USER, mail};
use serde_json::json;

pub(crate) const BOB: &str = "bob@friends.example";

pub(crate) fn first_times(hold: &HoldView) -> Vec<&str> {
    let members = hold.audience.iter().flat_map(|audience| &audience.members);
    members.filter(|member| member.first_time).map(|member| member.address.as_str()).collect()
}

fn fact<'a>(hold: &'a HoldView, label: &str) -> Option<&'a str> {
    hold.facts.iter().find(|fact| fact.label == label).map(|fact| fact.value.as_str())
}

/// A house whose mail leaves at once, and in which these are known.
pub(crate) async fn house(known: &[&str]) -> Outgoing {
    let out = Outgoing::new("assistant").await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 0 })).await;
    make_known(&out, known).await;
    out
}

/// So many recipients in 10 minutes and in a day.
pub(crate) async fn budget(out: &Outgoing, recipients: u32) {
    let put = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "assistant".to_owned(),
        authorization_details: None,
        budgets: Some([("send".to_owned(), [recipients, recipients])].into()),
        expires_in: None,
    };
    out.engine.call(GrantPut, put).await;
}

/// The person allows a mail to these.
pub(crate) async fn make_known(out: &Outgoing, known: &[&str]) {
    if known.is_empty() {
        return;
    }
    let mut client = out.client().await;
    client.hand_in(USER, known, &mail(&known.join(", "), "First")).await;
    out.engine.allow(&out.engine.hold().await).await;
    let said = client.reply().await;
    assert!(said.starts_with("250 2.0.0 Sent"), "{said}");
}

#[tokio::test]
async fn a_mail_to_a_stranger_waits_and_leaves_byte_by_byte_as_it_was_shown() {
    let out = house(&[]).await;
    let mut client = out.client().await;
    let text = format!(
        "From: Erin <{USER}>\r\nTo: Bob <{BOB}>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n..\r\n. a dot\r\n...\r\nend"
    );
    let stuffed = text.replace("\r\n.", "\r\n..");
    client.hand_in(USER, &["Bob@Friends.example"], &stuffed).await;
    let hold = out.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.count, hold.reversible), ("Send", 1, Reversible::No));
    assert_eq!(first_times(&hold), ["Bob@friends.example"]);
    assert_eq!(fact(&hold, "Subject"), Some("Grüße"));
    assert_eq!(hold.keep, "Don't send");
    assert!(!hold.partial && !hold.task_scope, "a mail is allowed whole, and once");
    // Found out beside the question.
    crate::classes::wait_until(|| async { !out.engine.hold().await.program.is_empty() }).await;
    assert!(out.sink.mails().is_empty(), "nothing leaves before the person has spoken");
    assert!(out.sink.logins().is_empty());
    out.engine.allow(&hold).await;
    let said = client.reply().await;
    assert_eq!(said, "250 2.0.0 Sent: Taken");
    let arrived = out.sink.arrived(1).await;
    assert_eq!(arrived[0].text(), format!("{text}\r\n"));
    assert_eq!(
        (arrived[0].sender.as_str(), &arrived[0].recipients[..]),
        (USER, &["Bob@friends.example".to_owned()][..])
    );
    assert_eq!(arrived[0].login.as_deref(), Some(USER), "the person's login, not the agent's token");
    // Whom the person let it write to is known from now on.
    let said = client.submit(USER, &[BOB], &mail(BOB, "Second")).await;
    assert!(said.starts_with("250 2.0.0 Sent"), "{said}");
    assert_eq!(out.sink.arrived(2).await.len(), 2);
    assert!(out.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn attack_21_the_envelope_is_what_is_shown() {
    let out = house(&[BOB]).await;
    let mut client = out.client().await;
    let text = format!(
        "From: The Bank <bank@bank.example>\r\nReply-To: x@evil.example\r\nTo: {BOB}\r\nCc: boss@work.example\r\nSubject: Hi\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nText\r\n--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n--b\r\nContent-Disposition: attachment; filename=salaries.xlsx\r\n\r\nx\r\n--b--"
    );
    client.hand_in(USER, &[BOB, "spy@evil.example"], &text).await;
    let hold = out.engine.hold().await;
    assert_eq!(first_times(&hold), ["spy@evil.example"]);
    let roles: Vec<(&str, &str)> =
        hold.audience.as_ref().unwrap().members.iter().map(|one| (one.address.as_str(), one.role.as_str())).collect();
    assert_eq!(roles, [(BOB, "to"), ("spy@evil.example", "hidden")]);
    assert_eq!(fact(&hold, "Named in it, but not sent to"), Some("boss@work.example"));
    assert_eq!(fact(&hold, "Replies go to"), Some("x@evil.example"));
    assert_eq!(fact(&hold, "Bounces go to"), Some(USER));
    assert_eq!(fact(&hold, "Other domains"), Some("evil.example, friends.example"));
    assert_eq!(fact(&hold, "Invitation"), Some("REQUEST"));
    let attached = |text: &str| hold.facts.iter().any(|fact| fact.label == "Attachment" && fact.value.contains(text));
    assert!(attached("salaries.xlsx") && attached("text/calendar"), "{:?}", hold.facts);
    out.engine.deny(&hold).await;
    let said = client.reply().await;
    assert!(said.starts_with(&format!("550 5.7.1 The person said no ({})", hold.id)), "{said}");
    // The same again is answered with the same no, and somebody less is another question.
    let said = client.submit(USER, &[BOB, "spy@evil.example"], &text).await;
    assert!(said.starts_with("550 5.7.1 The person said no"), "{said}");
    let said = client.submit(USER, &[BOB], &mail(BOB, "Alone")).await;
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(out.sink.arrived(2).await.len(), 2);
}

#[tokio::test]
async fn nobody_answers_in_time_and_that_is_no_denial() {
    let out = house(&[]).await;
    out.engine.call(SettingsSet, json!({ "hold_seconds": 2 })).await;
    let mut client = out.client().await;
    let said = client.submit(USER, &[BOB], &mail(BOB, "Late")).await;
    assert!(said.starts_with("451 4.7.1 The person has not answered in time. Nothing was sent"), "{said}");
    out.engine.no_holds().await;
    out.engine.call(SettingsSet, json!({ "hold_seconds": 600 })).await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Late")).await;
    out.engine.allow(&out.engine.hold().await).await;
    assert!(client.reply().await.starts_with("250 "));
    assert_eq!(out.sink.arrived(1).await.len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_sends_nothing_and_one_that_comes_again_gets_the_answer() {
    let out = house(&[]).await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Hello")).await;
    let hold = out.engine.hold().await;
    drop(client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    out.engine.allow(&hold).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(out.sink.mails().is_empty(), "nobody is there to hear of it");
    let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "Hello")).await;
    assert!(said.starts_with("250 "), "{said}");
    // One that lost the answer asks again: it was sent once.
    let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "Hello")).await;
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(out.sink.arrived(1).await.len(), 1);
    assert_eq!(out.sink.mails().len(), 1);
}

#[tokio::test]
async fn recipients_are_counted_over_mails_and_logins() {
    let carol = "carol@friends.example";
    let out = house(&[]).await;
    budget(&out, 6).await;
    make_known(&out, &[BOB, carol]).await;
    // Two are used by the question itself.
    for (to, subject) in [(vec![BOB], "One"), (vec![BOB, carol], "Two")] {
        let said = out.client().await.submit(USER, &to, &mail(BOB, subject)).await;
        assert!(said.starts_with("250 "), "{said}");
    }
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB, carol], &mail(BOB, "Three")).await;
    let hold = out.engine.hold().await;
    assert!(first_times(&hold).is_empty());
    assert!(hold.why.contains('6'), "{}", hold.why);
    out.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("550 "));
    let said = client.submit(USER, &[BOB], &mail(BOB, "Four")).await;
    assert!(said.starts_with("250 "), "{said}");
    assert_eq!(out.sink.arrived(4).await.len(), 4);
}

#[tokio::test]
async fn attack_20_no_second_mail_is_hidden_in_a_first() {
    let out = house(&[BOB]).await;
    let second = "MAIL FROM:<x@evil.example>\r\nRCPT TO:<z@evil.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx";
    let mut client = out.client().await;
    for end in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r\n.\r",
        "\n.\r",
        "\r.\n",
        "\r.\r\n",
        "\0\r\n.\n",
        "\r\n\0.\r\n",
        "\r\r\n.\r\r\n",
    ] {
        client.begin(USER, &[BOB]).await;
        client.say(format!("Subject: x\r\n\r\nHello{end}{second}\r\n.\r\n").as_bytes()).await;
        let said = client.reply().await;
        assert!(said.starts_with("554 5.6.0"), "{end:?}: {said}");
        assert_eq!(client.ok("NOOP").await, "250 2.0.0 Still here", "{end:?}");
    }
    for command in
        ["BDAT 5 LAST", "BURL imap://x/y LAST", "MAIL FROM:<a@b.example> HOLDFOR=60", "ETRN x", "EXPN x", "STARTTLS"]
    {
        let said = client.command(command).await;
        assert!(said.starts_with('5'), "{command}: {said}");
    }
    for bad in ["RCPT TO:<\"a b\"@c.example>", "RCPT TO:<a%b@c.example>", "RCPT TO:<a@b.example> NOTIFY=SUCCESS"] {
        client.ok("RSET").await;
        client.ok(&format!("MAIL FROM:<{USER}>")).await;
        let said = client.command(bad).await;
        assert!(said.starts_with('5'), "{bad}: {said}");
    }
    // A bare line feed ends no command: nobody knows what comes after it.
    client.say(b"RSET\nMAIL FROM:<x@evil.example>\r\n").await;
    assert!(client.reply().await.starts_with("500 "));
    assert_eq!(client.reply().await, "", "and the connection is over");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(out.sink.mails().len(), 1, "the one that made Bob known");
    assert!(out.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn how_it_is_cut_and_pipelined_makes_no_difference() {
    let out = house(&[BOB]).await;
    let token = issue(&out.engine, AGENT).await;
    let talk =
        |subject: &str| format!("MAIL FROM:<{USER}>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n{}\r\n.\r\n", mail(BOB, subject));
    let mut client = Client::connect(&out.door()).await;
    client.login(&token).await;
    for byte in talk("Cut").bytes() {
        client.say(&[byte]).await;
        tokio::task::yield_now().await;
    }
    for expected in ["250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0 Sent"] {
        let said = client.reply().await;
        assert!(said.starts_with(expected), "{said}");
    }
    // Everything at once, two mails and a goodbye.
    let both = format!("{}{}QUIT\r\n", talk("Together"), talk("Behind it"));
    client.say(both.as_bytes()).await;
    for expected in ["250 ", "250 ", "354 ", "250 2.0.0 Sent", "250 ", "250 ", "354 ", "250 2.0.0 Sent", "221 "] {
        let said = client.reply().await;
        assert!(said.starts_with(expected), "{expected}: {said}");
    }
    let subjects: Vec<String> =
        out.sink.arrived(4).await.iter().map(|one| one.text().lines().nth(2).unwrap().to_owned()).collect();
    assert_eq!(subjects, ["Subject: First", "Subject: Cut", "Subject: Together", "Subject: Behind it"]);
}

#[tokio::test]
async fn wrong_logins_are_told_apart_by_nobody_and_nothing_is_taken_before() {
    let out = Outgoing::new("assistant").await;
    let token = issue(&out.engine, AGENT).await;
    let encoded = |text: String| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
    let mut said = Vec::new();
    for (user, password) in [(ACCOUNT, "wrong"), ("nobody", token.as_str()), (USER, PASSWORD)] {
        let mut client = Client::connect(&out.door()).await;
        let offers = client.ok("EHLO x").await;
        assert_eq!(
            offers.lines().map(|line| &line[4..]).collect::<Vec<_>>(),
            [
                "localhost",
                "PIPELINING",
                "SIZE 37748736",
                "8BITMIME",
                "SMTPUTF8",
                "ENHANCEDSTATUSCODES",
                "AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER"
            ]
        );
        said.push(client.command(&format!("AUTH PLAIN {}", encoded(format!("\0{user}\0{password}")))).await);
        let early = client.command(&format!("MAIL FROM:<{USER}>")).await;
        assert!(early.starts_with("530 "), "{early}");
    }
    assert!(said[0].starts_with("535 5.7.8"), "{said:?}");
    assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    let bearer = format!("auth=Bearer {token}\x01\x01");
    for (mechanism, answers) in [
        ("PLAIN", vec![encoded(format!("\0{ACCOUNT}\0{token}"))]),
        ("LOGIN", vec![encoded(ACCOUNT.to_owned()), encoded(token.clone())]),
        ("XOAUTH2", vec![encoded(format!("user={ACCOUNT}\x01{bearer}"))]),
        ("OAUTHBEARER", vec![encoded(format!("n,a={ACCOUNT},\x01host=h\x01port=1\x01{bearer}"))]),
    ] {
        let mut client = Client::connect(&out.door()).await;
        client.ok("EHLO x").await;
        let mut last = client.ok(&format!("AUTH {mechanism}")).await;
        for answer in answers {
            assert!(last.starts_with("334"), "{mechanism}: {last}");
            last = client.command(&answer).await;
        }
        assert!(last.starts_with("235 "), "{mechanism}: {last}");
        assert!(!client.ok("EHLO x").await.contains("AUTH"), "once is enough");
    }
}

#[tokio::test]
async fn who_may_only_read_sends_nothing() {
    for preset in ["read-only", "organize"] {
        let out = Outgoing::new(preset).await;
        let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "Hello")).await;
        assert!(said.starts_with("550 5.7.1 "), "{preset}: {said}");
        assert!(out.engine.call(HoldList, Empty {}).await.is_empty());
        assert!(out.sink.logins().is_empty());
    }
}

#[tokio::test]
async fn a_permitted_mail_waits_in_the_outbox_and_can_be_taken_back() {
    let out = house(&[BOB]).await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 2 })).await;
    let mut client = out.client().await;
    for subject in ["Leaves", "Taken back"] {
        let said = client.submit(USER, &[BOB], &mail(BOB, subject)).await;
        assert!(said.starts_with("250 2.0.0 Waits in the outbox for 2 s"), "{said}");
    }
    let waiting = out.engine.call(OutboxList, Empty {}).await;
    assert_eq!(waiting.len(), 2);
    let back = waiting.iter().find(|mail| mail.subject == "Taken back").expect("it waits");
    assert_eq!(back.recipients, [BOB]);
    out.engine.call(OutboxCancel, Id { id: back.id.clone() }).await;
    assert_eq!(out.sink.mails().len(), 1, "not before its time");
    let arrived = out.sink.arrived(2).await;
    assert!(arrived[1].text().contains("Subject: Leaves"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(out.sink.mails().len(), 2);
    assert!(out.engine.call(OutboxList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn a_waiting_mail_that_is_not_taken_is_asked_about_and_not_lost() {
    let out = house(&[BOB]).await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 1 })).await;
    out.sink.mood("spam").await;
    let mut client = out.client().await;
    assert!(client.submit(USER, &[BOB], &mail(BOB, "Hello")).await.starts_with("250 "));
    let hold = out.engine.hold().await;
    assert_eq!(
        hold.why,
        "the mail server refused it: 5.7.1 The mail server refused it, so nothing was sent: This looks like spam"
    );
    assert_eq!(out.sink.mails().len(), 2, "tried once");
    // Allowed, and the outcome is unknown this time: asked again, and never repeated by itself.
    out.sink.mood("drop").await;
    out.engine.allow(&hold).await;
    out.sink.arrived(3).await;
    let again = loop {
        let next = out.engine.hold().await;
        if next.id != hold.id {
            break next;
        }
    };
    assert!(again.why.contains("may have left already"), "{}", again.why);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(out.sink.mails().len(), 3);
    out.sink.mood("take").await;
    out.engine.allow(&again).await;
    out.sink.arrived(4).await;
    crate::classes::wait_until(|| async { out.engine.call(OutboxList, Empty {}).await.is_empty() }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(out.sink.mails().len(), 4);
    out.engine.no_holds().await;
}

#[tokio::test]
async fn a_mail_that_is_taken_back_while_it_is_sent_is_not_tried_again() {
    let out = house(&[BOB]).await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 1 })).await;
    out.sink.mood("slow").await;
    let mut client = out.client().await;
    assert!(client.submit(USER, &[BOB], &mail(BOB, "Hello")).await.starts_with("250 "));
    let id = out.engine.call(OutboxList, Empty {}).await[0].id.clone();
    out.sink.arrived(2).await;
    let error = out.engine.client.call(OutboxCancel, Id { id }).await.expect_err("it is on its way");
    assert!(error.to_string().contains("not tried again"), "{error}");
    let taken_back = || async {
        let records = out.engine.call(JournalTail, JournalTailParams { limit: Some(50), ..Default::default() }).await;
        records.iter().any(|record| record.text == "mail taken back before it left")
    };
    crate::classes::wait_until(taken_back).await;
    assert!(out.engine.call(OutboxList, Empty {}).await.is_empty());
    out.engine.no_holds().await;
}

#[tokio::test]
async fn what_the_server_says_is_what_the_client_hears() {
    let out = house(&[BOB]).await;
    budget(&out, 100).await;
    let mut client = out.client().await;
    for (mood, to, expected) in [
        ("busy", BOB, "451 4.3.2 The mail server refused it, so nothing was sent: Come back later"),
        ("spam", BOB, "554 5.7.1 The mail server refused it, so nothing was sent: This looks like spam"),
        ("take", BOB, "250 2.0.0 Sent: Taken"),
    ] {
        out.sink.mood(mood).await;
        assert_eq!(client.submit(USER, &[to], &mail(to, mood)).await, expected);
    }
    // To all or to nobody.
    make_known(&out, &[BOB, "nobody@friends.example"]).await;
    let before = out.sink.mails().len();
    out.sink.mood("refuse").await;
    let said = client.submit(USER, &[BOB, "nobody@friends.example"], &mail(BOB, "Both")).await;
    assert!(said.starts_with("550 5.1.1 "), "{said}");
    assert!(said.contains("sent to nobody"), "{said}");
    assert_eq!(out.sink.mails().len(), before);
}

#[tokio::test]
async fn an_unknown_outcome_is_said_as_such_and_never_tried_again() {
    let out = house(&[]).await;
    out.sink.mood("drop").await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Hello")).await;
    out.engine.allow(&out.engine.hold().await).await;
    let said = client.reply().await;
    assert!(
        said.starts_with("554 5.5.0 It was handed to the mail server, but whether it was taken is not known"),
        "{said}"
    );
    out.sink.mood("take").await;
    let said = client.submit(USER, &[BOB], &mail(BOB, "Hello")).await;
    assert!(said.starts_with("554 5.5.0 "), "{said}");
    assert_eq!(out.sink.mails().len(), 1);
}

#[tokio::test]
async fn a_mail_that_surely_did_not_leave_may_be_sent_again() {
    let out = house(&[]).await;
    out.sink.mood("busy").await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Hello")).await;
    out.engine.allow(&out.engine.hold().await).await;
    assert!(client.reply().await.starts_with("451 4.3.2 "));
    out.sink.mood("take").await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Hello")).await;
    out.engine.allow(&out.engine.hold().await).await;
    assert!(client.reply().await.starts_with("250 "));
}

#[tokio::test]
async fn a_wrong_password_is_the_persons_to_mend_and_stands_nowhere() {
    let wrong = "canary-smtp-0ldp4ss";
    let canaries = Canaries::of([PASSWORD.to_owned(), wrong.to_owned()]);
    let out = Outgoing::lasting("assistant").await;
    out.engine.call(latch_ipc::contract::AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    latch_tests::sink::add(&out.engine, ACCOUNT, out.sink.port, latch_ipc::contract::MailTls::None, wrong).await;
    latch_tests::scene::grant(&out.engine, AGENT, ACCOUNT, "assistant").await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], &mail(BOB, "Hello")).await;
    out.engine.allow(&out.engine.hold().await).await;
    let said = client.reply().await;
    assert!(said.starts_with("451 4.7.0 The mail server does not accept the person's own login"), "{said}");
    assert_eq!(out.sink.logins(), [("PLAIN".to_owned(), false)]);
    assert!(out.sink.mails().is_empty());
    let accounts = out.engine.call(AccountList, Empty {}).await;
    assert!(accounts[0].failing.as_ref().is_some_and(|why| why.contains("does not accept")), "{accounts:?}");
    assert_eq!(accounts[0].sends_through, Some(format!("smtp://127.0.0.1:{}", out.sink.port)));
    let records =
        out.engine.call(JournalTail, JournalTailParams { limit: Some(500), ..JournalTailParams::default() }).await;
    canaries.assert_absent("the journal", format!("{records:?}").as_bytes());
    canaries.assert_absent("the answers", &client.heard);
    canaries.assert_absent("the log", out.engine.log().as_bytes());
    assert!(canaries.assert_absent_below(out.home.path()) > 0);
}

#[tokio::test]
async fn a_server_that_repeats_the_password_tells_the_agent_nothing() {
    let canaries = Canaries::of([PASSWORD.to_owned()]);
    let out = house(&[BOB]).await;
    out.sink.mood("parrot").await;
    let mut client = out.client().await;
    let said = client.submit(USER, &[BOB], &mail(BOB, "Hello")).await;
    assert_eq!(said, "250 2.0.0 Sent: (its words held the credential)");
    canaries.assert_absent("the answers", &client.heard);
    canaries.assert_absent("the log", out.engine.log().as_bytes());
}

#[tokio::test]
async fn panic_cuts_a_sending_and_nothing_is_sent_after_it() {
    let out = house(&[BOB]).await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 1 })).await;
    let mut waiting = out.client().await;
    out.sink.mood("hang").await;
    assert!(waiting.submit(USER, &[BOB], &mail(BOB, "Under way")).await.starts_with("250 "));
    out.sink.arrived(2).await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 60 })).await;
    assert!(waiting.submit(USER, &[BOB], &mail(BOB, "Waits")).await.starts_with("250 "));
    let mut held = out.client().await;
    held.hand_in(USER, &["eve@evil.example"], &mail("eve@evil.example", "Held")).await;
    let hold = out.engine.hold().await;
    let stopped = out.engine.call(PanicCall, Empty {}).await;
    assert!(stopped.cut.connections >= 3, "{stopped:?}");
    assert_eq!(held.reply().await, "");
    assert!(
        out.engine.decide(latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow)).await.is_err()
    );
    let mut late = Client::connect(&out.door()).await;
    late.ok("EHLO x").await;
    let said = late.command("AUTH PLAIN AG1haWwAeA==").await;
    assert!(said.starts_with("454 4.7.0"), "{said}");
    out.sink.mood("take").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(out.sink.mails().len(), 2);
    // What was cut may have left: the person is told so, and it is not sent by itself.
    let resume = ResumeParams { agent: None, preset: Some("assistant".to_owned()) };
    out.engine.call(Resume, resume).await;
    let asked = out.engine.hold().await;
    assert!(asked.why.contains("may have left already"), "{}", asked.why);
    assert_eq!(out.engine.call(OutboxList, Empty {}).await.len(), 2, "frozen");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(out.sink.mails().len(), 2);
}

#[tokio::test]
async fn the_same_mail_while_it_is_leaving_leaves_once() {
    let out = house(&[BOB]).await;
    out.sink.mood("hang").await;
    let (mut first, mut again) = (out.client().await, out.client().await);
    first.hand_in(USER, &[BOB], &mail(BOB, "Once")).await;
    out.sink.arrived(2).await;
    drop(first);
    again.hand_in(USER, &[BOB], &mail(BOB, "Once")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    out.engine.call(PanicCall, Empty {}).await;
    assert_eq!(again.reply().await, "");
    assert_eq!(out.sink.mails().len(), 2);
}

#[tokio::test]
async fn a_frozen_mail_that_is_allowed_leaves_once() {
    let out = house(&[BOB]).await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": 2 })).await;
    assert!(out.client().await.submit(USER, &[BOB], &mail(BOB, "Frozen")).await.starts_with("250 "));
    out.engine.call(PanicCall, Empty {}).await;
    let resume = ResumeParams { agent: None, preset: Some("assistant".to_owned()) };
    out.engine.call(Resume, resume).await;
    let hold = out.engine.hold().await;
    assert!(hold.why.contains("when everything was stopped"), "{}", hold.why);
    out.engine.allow(&hold).await;
    assert!(out.sink.arrived(2).await[1].text().contains("Subject: Frozen"));
    crate::classes::wait_until(|| async { out.engine.call(OutboxList, Empty {}).await.is_empty() }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(out.sink.mails().len(), 2);
    out.engine.no_holds().await;
}

#[tokio::test]
async fn whom_a_header_names_without_getting_the_mail_becomes_known_to_nobody() {
    let out = house(&[BOB]).await;
    let mut client = out.client().await;
    assert!(client.submit(USER, &[BOB], &mail("eve@evil.example", "Hello")).await.starts_with("250 "));
    client.hand_in(USER, &["eve@evil.example"], &mail("eve@evil.example", "Now")).await;
    let hold = out.engine.hold().await;
    assert_eq!(first_times(&hold), ["eve@evil.example"]);
    out.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("550 "));
}

#[tokio::test]
async fn where_bounces_go_is_decided_about() {
    const EVE: &str = "eve@evil.example";
    let out = house(&[BOB]).await;
    budget(&out, 50).await;
    let mut client = out.client().await;
    client.hand_in(EVE, &[BOB], &mail(BOB, "Hello")).await;
    let hold = out.engine.hold().await;
    assert_eq!(first_times(&hold), [EVE]);
    out.engine.allow(&hold).await;
    assert!(client.reply().await.starts_with("250 "));
    for again in [EVE, ""] {
        assert!(client.submit(again, &[BOB], &mail(BOB, "Again")).await.starts_with("250 "), "{again}");
    }
    // That she may have bounces makes her nobody to write to.
    client.hand_in(USER, &[EVE], &mail(EVE, "Now")).await;
    let hold = out.engine.hold().await;
    assert_eq!(first_times(&hold), [EVE]);
    out.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("550 "));
}

#[tokio::test]
async fn what_can_not_be_decoded_can_only_be_denied() {
    let out = house(&[BOB]).await;
    let mut client = out.client().await;
    client.hand_in(USER, &[BOB], "From: a@b.example\r\nFrom: c@d.example\r\n\r\nx").await;
    let hold = out.engine.hold().await;
    assert!(fact(&hold, "The mail can't be decoded").is_some(), "{:?}", hold.facts);
    let allowed = out.engine.decide(latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow)).await;
    assert!(allowed.is_err());
    out.engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("550 "));
    assert_eq!(out.sink.mails().len(), 1);
}

#[tokio::test]
async fn a_large_mail_waits_on_the_disk_and_leaves_as_it_came() {
    let out = house(&[]).await;
    let mut client = out.client().await;
    let attached = format!("{}\r\n", "x".repeat(72)).repeat(60_000);
    let head = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=x";
    let text = format!("From: {USER}\r\nTo: {BOB}\r\nSubject: Large\r\n{head}\r\n\r\n{attached}");
    client.hand_in(USER, &[BOB], &text).await;
    let hold = out.engine.hold().await;
    let resting = latch_tests::engine::memory_kib(out.engine.pid());
    assert!(resting < 120 * 1024, "{resting} KiB");
    out.engine.allow(&hold).await;
    assert!(client.reply().await.starts_with("250 "));
    assert_eq!(out.sink.arrived(1).await[0].text().len(), text.len() + 2);
}

#[tokio::test]
async fn servers_are_reached_through_tls_of_both_kinds_and_trusted_by_their_certificate_only() {
    use latch_ipc::contract::MailTls;
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pem = |label: &str, der: &[u8]| {
        let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
        let lines: Vec<String> =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    std::fs::write(&certificate, pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    for (kind, tls) in [("implicit", MailTls::Implicit), ("starttls", MailTls::StartTls)] {
        for trusted in [true, false] {
            let sink = Sink::with(json!({ "tls": kind, "certificate": certificate, "key": key })).await;
            let start = |start: Start| {
                let start = start.in_memory();
                if trusted { start.env("SSL_CERT_FILE", certificate.to_str().unwrap()) } else { start }
            };
            let out = Outgoing::with("assistant", start, sink, tls).await;
            let mut client = out.client().await;
            client.hand_in(USER, &[BOB], &mail(BOB, "Hello")).await;
            out.engine.allow(&out.engine.hold().await).await;
            let said = client.reply().await;
            if trusted {
                assert!(said.starts_with("250 "), "{kind}: {said}");
                let arrived = out.sink.arrived(1).await;
                assert!(arrived[0].tls && arrived[0].login.as_deref() == Some(USER), "{kind}");
            } else {
                assert!(said.starts_with("451 4.4.1 ") && said.contains("identity"), "{kind}: {said}");
                assert!(out.sink.logins().is_empty() && out.sink.mails().is_empty(), "{kind}");
            }
        }
    }
}

#[tokio::test]
async fn the_login_is_tried_where_mail_is_sent_too_before_an_account_is_kept() {
    use latch_ipc::contract::{
        AccountAdd, AccountAddParams, CredentialParams, MailServerParams, MailTls, UpstreamParams,
    };
    use latch_tests::dovecot::{Dovecot, PASSWORD as BOTH};
    let home = tempfile::tempdir().unwrap();
    let (dovecot, good, bad) =
        tokio::join!(Dovecot::start(0), Sink::with(json!({ "user": "erin", "password": BOTH })), Sink::start());
    let engine = Start::at(home.path()).in_memory().smtp().start().await;
    let server =
        |port| MailServerParams { host: "127.0.0.1".to_owned(), port: Some(port), tls: MailTls::None, username: None };
    let add = |port| AccountAddParams {
        address: None,
        id: ACCOUNT.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams {
            imap: Some(server(dovecot.port)),
            smtp: Some(server(port)),
            ..UpstreamParams::default()
        },
        credential: CredentialParams::Password {
            username: "erin".to_owned(),
            password: latch_ipc::Secret::new(BOTH.to_owned()),
        },
        check: true,
    };
    let refused = engine.client.call(AccountAdd, add(bad.port)).await.unwrap_err().to_string();
    assert!(refused.contains("does not accept this user name and password, so nothing was saved"), "{refused}");
    assert!(engine.call(AccountList, Empty {}).await.is_empty());
    engine.call(AccountAdd, add(good.port)).await;
    assert_eq!(good.logins(), [("PLAIN".to_owned(), true)]);
    assert!(good.mails().is_empty());
}
