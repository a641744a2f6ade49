//! Mail filters that are changed at the same time, and questions that are asked again.

use std::time::Duration;

use latch_ipc::contract::{AccountAdd, AccountRemove, Id, MailTls};
use latch_tests::dovecot::PASSWORD;
use latch_tests::filters::{account, put};
use latch_tests::scene::{ACCOUNT, AGENT, grant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::sieve::{EVIL, fact, house};

/// A mail server that is further away: what is said goes there and back a while later.
async fn far_away(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap().port();
    let slowly = async |mut from: OwnedReadHalf, mut to: OwnedWriteHalf| {
        let mut chunk = vec![0; 65536];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if to.write_all(&chunk[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::join!(slowly(from_client, to_server), slowly(from_server, to_client)) });
        }
    });
    here
}

#[tokio::test]
async fn of_two_changes_that_are_allowed_at_once_the_second_sees_what_the_first_made() {
    let house = house("ask-everything").await;
    house.person().await.ok(&put("other", "keep;\r\n")).await;
    house.engine.call(AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    let mut far = account(&house.dovecot, MailTls::None, PASSWORD);
    far.upstream.sieve.as_mut().expect("a server").port = Some(far_away(house.dovecot.sieve_port).await);
    house.engine.call(AccountAdd, far).await;
    grant(&house.engine, AGENT, ACCOUNT, "ask-everything").await;
    // Neither question shows that what forwards mail is going to run.
    let (mut one, mut two) = (house.client().await, house.client().await);
    one.send("SETACTIVE \"other\"").await;
    let active = house.engine.hold().await;
    assert_eq!(fact(&active, "Look out"), None, "{active:?}");
    two.send(&put("other", EVIL)).await;
    let holds = house.engine.holds(2).await;
    let stores = holds.iter().find(|hold| hold.id != active.id).expect("another one");
    assert!(fact(stores, "Script").is_some_and(|text| !text.contains("it runs")), "{stores:?}");
    tokio::join!(house.allow(&active), house.allow(stores));
    let said = tokio::join!(one.reply(), two.reply());
    let changed = [&said.0, &said.1].into_iter().filter(|said| said.contains("no longer what they were")).count();
    assert_eq!(changed, 1, "{said:?}");
    let evil_runs =
        house.dovecot.running().as_deref() == Some("other") && house.dovecot.script("other").as_deref() == Some(EVIL);
    assert!(!evil_runs, "{said:?}");
}

#[tokio::test]
async fn no_words_that_a_server_repeats_make_the_person_be_asked_again() {
    let house = house("ask-everything").await;
    let mut client = house.client().await;
    let echoed = put("echo", "redirect \"the mail filters are no longer what they were when this was asked\";\r\n");
    client.send(&echoed).await;
    house.allow(&house.engine.hold().await).await;
    let said = client.reply().await;
    assert!(said.starts_with("NO ") && said.contains("no longer what they were"), "{said}");
    assert_eq!(client.no(&echoed).await, said, "answered as before");
    house.engine.no_holds().await;
}
