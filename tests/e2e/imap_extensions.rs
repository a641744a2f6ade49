//! What ordinary programs rely on beyond RFC 3501, at the door in front of a real Dovecot.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_ipc::contract::{Empty, HoldList};
use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::engine::Start;
use latch_tests::mail::{Client, Post, Said};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};

fn line<'a>(said: &'a Said, has: &str) -> &'a str {
    said.untagged.iter().find(|line| line.contains(has)).unwrap_or_else(|| panic!("{has}: {said:?}"))
}

/// The number behind a word.
fn number(text: &str, word: &str) -> u64 {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("{word}: {text}")).1.trim_start();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

#[tokio::test]
async fn what_dovecot_can_and_is_understood_is_told() {
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    let said = client.ok("CAPABILITY").await;
    let told: Vec<&str> = said.untagged[0].split(' ').collect();
    for one in [
        "IMAP4rev1",
        "SASL-IR",
        "LITERAL-",
        "ID",
        "ENABLE",
        "IDLE",
        "SORT",
        "SORT=DISPLAY",
        "THREAD=REFERENCES",
        "UNSELECT",
        "CHILDREN",
        "NAMESPACE",
        "UIDPLUS",
        "LIST-EXTENDED",
        "CONDSTORE",
        "QRESYNC",
        "ESEARCH",
        "ESORT",
        "SEARCHRES",
        "WITHIN",
        "LIST-STATUS",
        "BINARY",
        "MOVE",
        "STATUS=SIZE",
        "SPECIAL-USE",
        "QUOTA",
        "ACL",
    ] {
        assert!(told.contains(&one), "{one}: {said:?}");
    }
}

#[tokio::test]
async fn a_program_that_was_away_hears_what_changed_and_what_left() {
    let post = Post::new(6, "organize").await;
    let mut client = post.client().await;
    assert!(client.ok("ENABLE QRESYNC").await.untagged[0].contains("QRESYNC"));
    let opened = client.ok("SELECT INBOX").await;
    let uidvalidity = number(line(&opened, "UIDVALIDITY"), "UIDVALIDITY");
    let modseq = number(line(&opened, "HIGHESTMODSEQ"), "HIGHESTMODSEQ");
    client.ok("CLOSE").await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID STORE 4 +FLAGS (\\Answered)").await;
    phone.ok("UID STORE 2 +FLAGS (\\Deleted)").await;
    phone.ok("UID EXPUNGE 2").await;
    let opened = client.ok(&format!("SELECT INBOX (QRESYNC ({uidvalidity} {modseq} 1:6))")).await;
    assert!(opened.untagged.contains(&"* 5 EXISTS".to_owned()), "{opened:?}");
    assert_eq!(line(&opened, "VANISHED"), "* VANISHED (EARLIER) 2");
    let changed = line(&opened, "FETCH");
    assert!(changed.starts_with("* 3 FETCH (UID 4 ") && changed.contains("\\Answered"), "{changed}");
    let since = client.ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)")).await;
    assert_eq!(line(&since, "VANISHED"), "* VANISHED (EARLIER) 2");
    assert_eq!(since.untagged.iter().filter(|line| line.contains("FETCH")).count(), 1, "{since:?}");
    // What leaves now is told in the same words, and numbers go on meaning what they did.
    phone.ok("UID STORE 6 +FLAGS (\\Deleted)").await;
    phone.ok("UID EXPUNGE 6").await;
    assert_eq!(client.ok("NOOP").await.untagged.last().map(String::as_str), Some("* VANISHED 6"));
    let plain = client.ok("SEARCH RETURN (ALL COUNT) MODSEQ 1").await;
    assert!(plain.untagged[0].contains("COUNT 4"), "{plain:?}");
    let tag = client.send("UID STORE 1 +FLAGS.SILENT ($Seen2)").await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
}

#[tokio::test]
async fn mailboxes_are_listed_with_what_they_are_for_and_what_is_in_them() {
    let post = Post::new(3, "organize").await;
    let mut client = post.client().await;
    client.ok("CREATE Work").await;
    client.ok("CREATE Work/Sub").await;
    client.ok("SUBSCRIBE Work/Sub").await;
    let special = client.ok("LIST (SPECIAL-USE) \"\" *").await;
    assert!(line(&special, "Trash").contains("\\Trash") && special.untagged.len() == 4, "{special:?}");
    let all = client.ok("LIST \"\" * RETURN (CHILDREN SUBSCRIBED STATUS (MESSAGES UIDNEXT))").await;
    assert!(line(&all, "\"/\" Work").contains("\\HasChildren"), "{all:?}");
    assert!(line(&all, "STATUS INBOX").contains("MESSAGES 3"), "{all:?}");
    let below = client.ok("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" %").await;
    assert!(line(&below, " Work ").contains("CHILDINFO"), "{below:?}");
    let quota = client.ok("GETQUOTAROOT INBOX").await;
    assert!(line(&quota, "* QUOTA ").contains("STORAGE"), "{quota:?}");
    assert_eq!(client.ok("GETQUOTA \"User quota\"").await.untagged.len(), 1);
}

#[tokio::test]
async fn notes_on_mailboxes_are_read_and_never_written_unasked() {
    let post = Post::with(Dovecot::with_metadata(1), "organize", Start::in_memory).await;
    let mut phone = post.phone().await;
    let long = "x".repeat(5000);
    phone.ok("SETMETADATA INBOX (/private/comment \"mine\")").await;
    let tag = phone.send(&format!("SETMETADATA INBOX (/private/long {{{}}}", long.len())).await;
    phone.go_ahead().await;
    phone.say(format!("{long})\r\n").as_bytes()).await;
    assert!(phone.end(&tag).await.end.starts_with("OK"));
    let mut client = post.client().await;
    let told = client.ok("CAPABILITY").await;
    assert!(told.untagged[0].contains(" METADATA"), "{told:?}");
    let said = client.ok("GETMETADATA INBOX (/private/comment /private/long)").await;
    assert!(said.untagged[0].starts_with("* METADATA INBOX (") && said.untagged[0].contains("mine"), "{said:?}");
    assert!(said.untagged[0].contains(&long), "a long one comes as a literal");
    let refused = client.no("SETMETADATA INBOX (/private/comment \"theirs\")").await;
    assert!(refused.end.starts_with("NO [NOPERM]"), "{refused:?}");
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty(), "divert is not even asked");
}

#[tokio::test]
async fn a_mail_with_nul_in_it_is_stored_as_one() {
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    let mail = b"Subject: binary\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\r\n";
    let tag = client.send(&format!("APPEND Archive (\\Seen) ~{{{}}}", mail.len())).await;
    client.go_ahead().await;
    client.say(mail).await;
    client.say(b"\r\n").await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK [APPENDUID"), "{said:?}");
    assert_eq!(post.dovecot.messages("Archive")[0].subject, "binary");
    client.ok("SELECT Archive").await;
    let read = client.ok("FETCH 1 (BINARY[1] BINARY.SIZE[1])").await;
    assert!(read.untagged[0].contains("a\0b"), "{read:?}");
    // A server without BINARY is not asked.
    let plain = Post::with(Dovecot::start_plain(1), "organize", Start::in_memory).await;
    let mut client = plain.client().await;
    assert!(!client.ok("CAPABILITY").await.untagged[0].contains("BINARY"));
    let said = client.no("APPEND Archive ~{5}").await;
    assert!(said.end.starts_with("NO [UNKNOWN-CTE]"), "{said:?}");
    client.ok("NOOP").await;
}

/// A mechanism, and what is said with a token.
type Way<'a> = (&'a str, &'a dyn Fn(&str) -> Vec<String>);

#[tokio::test]
async fn every_way_to_log_in_takes_the_token_and_nothing_else() {
    let post = Post::new(1, "read-only").await;
    let token = issue(&post.engine, AGENT).await;
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let plain = |token: &str| vec![encode(&format!("\0{ACCOUNT}\0{token}"))];
    let login = |token: &str| vec![encode(ACCOUNT), encode(token)];
    let xoauth2 = |token: &str| vec![encode(&format!("user={ACCOUNT}\x01auth=Bearer {token}\x01\x01"))];
    let bearer = |token: &str| vec![encode(&format!("n,a={ACCOUNT},\x01auth=Bearer {token}\x01\x01"))];
    let ways: [Way<'_>; 4] = [("PLAIN", &plain), ("LOGIN", &login), ("XOAUTH2", &xoauth2), ("OAUTHBEARER", &bearer)];
    for (mechanism, words) in ways {
        for (token, good) in [(token.as_str(), true), ("not-the-token", false), (PASSWORD, false)] {
            for at_once in [false, true] {
                let mut client = Client::connect(&post.door()).await;
                let mut words = words(token).into_iter();
                let first = if at_once { format!(" {}", words.next().expect("one")) } else { String::new() };
                let tag = client.send(&format!("AUTHENTICATE {mechanism}{first}")).await;
                for word in words {
                    client.go_ahead().await;
                    client.say(format!("{word}\r\n").as_bytes()).await;
                }
                let said = client.end(&tag).await;
                let shown = format!("{mechanism}, at once: {at_once}");
                if good {
                    assert!(said.end.starts_with("OK [CAPABILITY "), "{shown}: {said:?}");
                    client.ok("SELECT INBOX").await;
                } else {
                    assert!(said.end.starts_with("NO [AUTHENTICATIONFAILED]"), "{shown}: {said:?}");
                    assert!(client.no("SELECT INBOX").await.end.starts_with("BAD"), "{shown}");
                }
            }
        }
        let mut client = Client::connect(&post.door()).await;
        let tag = client.send(&format!("authenticate {mechanism}")).await;
        client.go_ahead().await;
        client.say(b"*\r\n").await;
        assert!(client.end(&tag).await.end.starts_with("BAD"), "{mechanism} cancelled");
        let tag = client.send(&format!("AUTHENTICATE {mechanism} !!!")).await;
        let said = match mechanism {
            "LOGIN" => {
                client.go_ahead().await;
                client.say(b"!!!\r\n").await;
                client.end(&tag).await
            }
            _ => client.end(&tag).await,
        };
        assert!(said.end.starts_with("BAD"), "{mechanism}: {said:?}");
    }
    let mut client = Client::connect(&post.door()).await;
    assert!(client.no("AUTHENTICATE CRAM-MD5").await.end.starts_with("NO"));
    // Another account's name, or none, with a good token.
    connect(&post.engine, "other", ACCOUNT, "read-only").await;
    let tag = client.send(&format!("AUTHENTICATE PLAIN {}", encode(&format!("\0nobody\0{token}")))).await;
    assert!(client.end(&tag).await.end.starts_with("NO [AUTHENTICATIONFAILED]"));
}
