//! Who is known, by the person's own sent mail in Dovecot, and never by what an agent put there.

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, CredentialParams, HoldDecideParams, HoldList, MailServerParams, MailTls, Resume,
    ResumeParams, SettingsSet, UndoRun, UndoRunParams, UpstreamParams, Verdict,
};
use latch_ipc::view::HoldView;
use latch_tests::dovecot::{self, Dovecot};
use latch_tests::engine::{Engine, Start, decision};
use latch_tests::mail::Client;
use latch_tests::scene::{ACCOUNT, AGENT, connect, grant, issue};
use latch_tests::sink::{self, Sink};
use serde_json::json;
use tempfile::TempDir;

const BOB: &str = "bob@friends.example";

/// One mailbox that is read through Dovecot and sends through aiosmtpd.
struct House {
    dovecot: Dovecot,
    engine: Engine,
    sink: Sink,
    home: TempDir,
}

async fn add(engine: &Engine, id: &str, imap: u16, smtp: u16) {
    let server =
        |port| MailServerParams { host: "127.0.0.1".to_owned(), port: Some(port), tls: MailTls::None, username: None };
    let params = AccountAddParams {
        address: None,
        check: false,
        id: id.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams { imap: Some(server(imap)), smtp: Some(server(smtp)), ..UpstreamParams::default() },
        credential: CredentialParams::Password {
            username: dovecot::USER.to_owned(),
            password: Secret::new(dovecot::PASSWORD.to_owned()),
        },
    };
    engine.call(AccountAdd, params).await;
}

impl House {
    async fn new() -> Self {
        Self::with(Dovecot::start(2), Start::in_memory).await
    }

    async fn with(server: impl Future<Output = Dovecot>, how: impl FnOnce(Start) -> Start) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let start = how(Start::at(home.path())).imap().smtp().start();
        let login = json!({ "user": dovecot::USER, "password": dovecot::PASSWORD });
        let (dovecot, engine, sink) = tokio::join!(server, start, Sink::with(login));
        add(&engine, ACCOUNT, dovecot.port, sink.port).await;
        connect(&engine, AGENT, ACCOUNT, "assistant").await;
        engine.call(SettingsSet, json!({ "outbox_seconds": 0 })).await;
        Self { dovecot, engine, sink, home }
    }

    async fn crash(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.engine.pid() as i32).expect("a process");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        self.engine.ended().await;
        self.engine = Start::at(self.home.path()).imap().smtp().start().await;
    }

    async fn mailer(&self) -> sink::Client {
        let token = issue(&self.engine, AGENT).await;
        let mut client = sink::Client::connect(self.engine.welcome.doors.smtp.as_deref().expect("a door")).await;
        client.login(&token).await;
        client
    }

    async fn reader(&self) -> Client {
        let token = issue(&self.engine, AGENT).await;
        let mut client = Client::connect(self.engine.welcome.doors.imap.as_deref().expect("a door")).await;
        client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
        client
    }

    async fn phone(&self) -> Client {
        let mut client = Client::connect(&format!("127.0.0.1:{}", self.dovecot.port)).await;
        client.ok(&format!("LOGIN {} {}", dovecot::USER, dovecot::PASSWORD)).await;
        client
    }

    /// Hands a mail to these in; the question about it, if there is one. It was sent otherwise.
    async fn asked(&self, to: &[&str]) -> Option<HoldView> {
        let mut mailer = self.mailer().await;
        // The same again would get the same answer.
        let subject = format!("Hello {:?}", std::time::Instant::now());
        mailer.hand_in("", to, &sink::mail(&to.join(", "), &subject)).await;
        let hold = async {
            loop {
                if let Some(hold) = self.engine.call(HoldList, latch_ipc::contract::Empty {}).await.into_iter().next() {
                    return hold;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            said = mailer.reply() => {
                assert!(said.starts_with("250 "), "{said}");
                None
            }
            hold = hold => {
                self.engine.deny(&hold).await;
                // Three denials in a row would pause the agent.
                let preset = Some("assistant".to_owned());
                self.engine.call(Resume, ResumeParams { agent: Some(AGENT.to_owned()), preset }).await;
                Some(hold)
            }
        }
    }

    async fn knows(&self, to: &[&str]) -> bool {
        self.asked(to).await.is_none()
    }
}

fn text(to: &str, subject: &str) -> String {
    format!("From: Erin <erin@example.com>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello\r\n")
}

/// Stores a mail in a mailbox; where it was asked, the person allowed it.
async fn store(client: &mut Client, mailbox: &str, mail: &str) {
    let tag = client.send(&format!("APPEND \"{mailbox}\" {{{}}}", mail.len())).await;
    client.go_ahead().await;
    client.say(format!("{mail}\r\n").as_bytes()).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
}

fn first_times(hold: &HoldView) -> Vec<&str> {
    let members = hold.audience.iter().flat_map(|audience| &audience.members);
    members.filter(|member| member.first_time).map(|member| member.address.as_str()).collect()
}

#[tokio::test]
async fn whom_the_person_wrote_to_before_is_known() {
    let house = House::new().await;
    let mut phone = house.phone().await;
    store(
        &mut phone,
        "Sent",
        &text("Bob B <Bob@Friends.example>, =?utf-8?q?C=C3=A4rol?= <carol@friends.example>", "x"),
    )
    .await;
    store(
        &mut phone,
        "Sent",
        "From: erin@example.com\r\nCc: dora@friends.example\r\nBcc: eve@friends.example\r\n\r\nx",
    )
    .await;
    store(&mut phone, "INBOX", &text("inbox@friends.example", "not sent")).await;
    for known in [BOB, "carol@friends.example", "dora@friends.example", "EVE@friends.example"] {
        assert!(house.knows(&[known]).await, "{known}");
    }
    for stranger in
        ["inbox@friends.example", "ob@friends.example", "bob@friends.example.evil.example", "notbob@friends.example"]
    {
        assert!(!house.knows(&[stranger]).await, "{stranger}");
    }
    let hold = house.asked(&[BOB, "stranger@x.example"]).await.expect("all of them must be");
    assert_eq!(first_times(&hold), ["stranger@x.example"]);
    assert!(!hold.why.contains("could not be read"), "{}", hold.why);
    assert_eq!(house.sink.arrived(4).await.len(), 4);
}

#[tokio::test]
async fn what_an_agent_puts_among_the_sent_mail_makes_nobody_known() {
    let house = House::new().await;
    let mut phone = house.phone().await;
    store(&mut phone, "Sent", &text(BOB, "the person's")).await;
    let mut agent = house.reader().await;
    store(&mut agent, "Sent", &text("appended@evil.example", "a")).await;
    store(&mut agent, "INBOX", &text("copied@evil.example", "b")).await;
    store(&mut agent, "INBOX", &text("moved@evil.example", "c")).await;
    agent.ok("SELECT INBOX").await;
    agent.ok("UID COPY 3 Sent").await;
    agent.ok("UID MOVE 4 Sent").await;
    assert_eq!(house.dovecot.messages("Sent").len(), 4);
    for who in ["appended", "copied", "moved"] {
        assert!(!house.knows(&[&format!("{who}@evil.example")]).await, "{who}");
    }
    assert!(house.knows(&[BOB]).await, "the person's own mail still counts");
    // Moved out and back by Undo, an agent's mail has a new number.
    agent.ok("SELECT Sent").await;
    agent.ok("UID MOVE 2 Archive").await;
    house.engine.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await;
    assert!(!house.knows(&["appended@evil.example"]).await);
}

#[tokio::test]
async fn a_mailbox_in_the_place_of_the_sent_one_proves_nothing() {
    let house = House::new().await;
    let mut phone = house.phone().await;
    store(&mut phone, "Sent", &text(BOB, "the person's")).await;
    let mut agent = house.reader().await;
    agent.ok("CREATE Evil").await;
    store(&mut agent, "Evil", &text("renamed@evil.example", "a")).await;
    agent.ok("RENAME Sent Old").await;
    // Dovecot makes it anew by itself.
    let _ = phone.command("DELETE Sent").await;
    agent.ok("RENAME Evil Sent").await;
    assert_eq!(house.dovecot.messages("Sent").len(), 1);
    assert!(!house.knows(&["renamed@evil.example"]).await);
    assert!(!house.knows(&[BOB]).await, "nothing there can be told apart any more");
}

#[tokio::test]
async fn a_server_that_names_nothing_it_stored_leaves_the_addresses_in_doubt() {
    let house = House::with(Dovecot::start_plain(1), Start::in_memory).await;
    let mut phone = house.phone().await;
    store(&mut phone, "Sent", &text(BOB, "the person's")).await;
    let mut agent = house.reader().await;
    store(&mut agent, "Sent", &text("Appended@evil.example", "a")).await;
    agent.ok("SELECT INBOX").await;
    agent.ok("COPY 1 Sent").await;
    assert!(!house.knows(&["appended@evil.example"]).await);
    assert!(!house.knows(&["erin@example.com"]).await, "whom the copied mail names");
    assert!(house.knows(&[BOB]).await);
}

#[tokio::test]
async fn numbered_anew_or_read_through_another_account_it_stays_the_agents() {
    let mut house = House::with(Dovecot::start(1), |start| start).await;
    let mut agent = house.reader().await;
    store(&mut agent, "Sent", &text("appended@evil.example", "a")).await;
    house.crash().await;
    assert!(!house.knows(&["appended@evil.example"]).await, "also after a restart");
    add(&house.engine, "twin", house.dovecot.port, house.sink.port).await;
    grant(&house.engine, AGENT, "twin", "assistant").await;
    let token = issue(&house.engine, AGENT).await;
    let mut mailer = sink::Client::connect(house.engine.welcome.doors.smtp.as_deref().expect("a door")).await;
    mailer.login_as("twin", &token).await;
    let to = "appended@evil.example";
    mailer.hand_in("", &[to], &sink::mail(to, "x")).await;
    let hold = house.engine.hold().await;
    assert_eq!((hold.account.as_str(), first_times(&hold)), ("twin", vec![to]));
    house.engine.deny(&hold).await;
    house.dovecot.stop().await;
    house.dovecot.forget_uids_of("Sent");
    house.dovecot.begin().await;
    assert!(!house.knows(&["appended@evil.example"]).await, "nobody knows which was the agent's");
}

#[tokio::test]
async fn what_can_not_be_read_is_first_time_and_says_so() {
    let house = House::new().await;
    let mut phone = house.phone().await;
    store(&mut phone, "Sent", &text(BOB, "the person's")).await;
    house.dovecot.stop().await;
    let hold = house.asked(&[BOB]).await.expect("asked");
    assert_eq!(first_times(&hold), [BOB]);
    assert!(hold.why.contains("The sent mail could not be read"), "{}", hold.why);
    assert!(house.sink.mails().is_empty());
}

/// The person sees what would be stored, and what they allow is stored, byte by byte.
#[tokio::test]
async fn a_held_append_shows_its_mail() {
    let house = House::new().await;
    connect(&house.engine, "asker", ACCOUNT, "ask-everything").await;
    let token = issue(&house.engine, "asker").await;
    let mut client = Client::connect(house.engine.welcome.doors.imap.as_deref().expect("a door")).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    let mail = "From: Bank <bank@bank.example>\r\nTo: erin@example.com\r\nDate: Fri, 2 Jan 2026 10:00:00 +0100\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nPay at once.\r\n";
    let begin = format!("APPEND Archive (\\Seen) \" 1-Feb-2025 10:00:00 +0000\" {{{}}}", mail.len());
    let tag = client.send(&begin).await;
    client.go_ahead().await;
    client.say(format!("{mail}\r\n").as_bytes()).await;
    let hold = house.engine.hold().await;
    let shown: Vec<String> = hold.facts.iter().map(|fact| format!("{}: {}", fact.label, fact.value)).collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert_eq!((hold.verb.as_str(), hold.count, hold.keep.as_str()), ("Store a message", 1, "Leave as it is"));
    assert!(house.dovecot.messages("Archive").is_empty(), "nothing before the person has spoken");
    house.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK [APPENDUID "), "{said:?}");
    let stored = house.dovecot.messages("Archive");
    assert_eq!(String::from_utf8_lossy(&stored[0].bytes).replace("\r\n", "\n"), mail.replace("\r\n", "\n"));
    assert_eq!((stored[0].flags.as_str(), stored[0].date), ("S", 1_738_404_000));
    // One that can't be read beyond doubt can only be denied.
    let twice = "Subject: a\r\nSubject: b\r\n\r\nx";
    let tag = client.send(&format!("APPEND Archive {{{}}}", twice.len())).await;
    client.go_ahead().await;
    client.say(format!("{twice}\r\n").as_bytes()).await;
    let hold = house.engine.hold().await;
    assert!(hold.facts.iter().any(|fact| fact.label == "The mail can't be decoded"), "{:?}", hold.facts);
    let allow: HoldDecideParams = decision(&hold, Verdict::Allow);
    assert!(house.engine.decide(allow).await.is_err());
    house.engine.deny(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("NO [NOPERM]"));
    assert_eq!(house.dovecot.messages("Archive").len(), 1);
}

/// Whoever hangs up leaves a proposal, whatever the size.
#[tokio::test]
async fn a_large_held_append_is_kept_aside_and_stored_when_the_person_says_so() {
    let house = House::new().await;
    connect(&house.engine, "asker", ACCOUNT, "ask-everything").await;
    let token = issue(&house.engine, "asker").await;
    let mut client = Client::connect(house.engine.welcome.doors.imap.as_deref().expect("a door")).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    let head = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=x";
    let attached = "0123456789abcdef\r\n".repeat(100_000);
    let mail = format!("From: a@b.example\r\nSubject: large\r\n{head}\r\n\r\n{attached}");
    let tag = client.send(&format!("APPEND Archive {{{}}}", mail.len())).await;
    client.go_ahead().await;
    client.say(format!("{mail}\r\n").as_bytes()).await;
    let hold = house.engine.hold().await;
    house.engine.allow(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK [APPENDUID "));
    assert_eq!(house.dovecot.messages("Archive")[0].bytes.len(), mail.replace("\r\n", "\n").len());
    let tag = client.send("APPEND Archive {67108865}").await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [TOOBIG]"), "{said:?}");
    client.ok("NOOP").await;
}
