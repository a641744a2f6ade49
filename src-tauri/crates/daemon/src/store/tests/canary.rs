//! ATTACKS 7: none of forty secrets stands in any file of the home, in any spelling, at any moment.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use latch_ipc::Secret;

use super::*;
use crate::vault::Credential;

const ORIGIN: &str = "https://gmail.googleapis.com:443";

/// Every spelling that a careless program would leave behind.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let mut found = vec![bytes.to_vec(), bytes.iter().rev().copied().collect()];
    found.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
    found.push(bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes());
    found.push(secret.encode_utf16().flat_map(u16::to_le_bytes).collect());
    // Base64 of a longer text: three alignments, without the ends that its neighbours touch.
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for shift in 0..3 {
            let shifted = [&vec![b'x'; shift], bytes].concat();
            let text = engine.encode(shifted);
            found.push(text.as_bytes()[4..text.len() - 4].to_vec());
        }
    }
    found
}

/// Needles by their first eight bytes, so that each file is walked once.
type Needles = HashMap<[u8; 8], Vec<(usize, Vec<u8>)>>;

fn needles(secrets: &[String]) -> Needles {
    let mut needles = Needles::new();
    for (n, secret) in secrets.iter().enumerate() {
        for needle in spellings(secret) {
            needles.entry(needle[..8].try_into().unwrap()).or_default().push((n, needle));
        }
    }
    needles
}

fn assert_none(folder: &Path, needles: &Needles, when: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_none(&path, needles, when);
            continue;
        }
        let content = std::fs::read(&path).unwrap();
        for (at, window) in content.windows(8).enumerate() {
            for (secret, needle) in needles.get(window).into_iter().flatten() {
                assert!(!content[at..].starts_with(needle), "secret {secret} stands in {} {when}", path.display());
            }
        }
    }
}

fn credential(n: usize, secrets: &mut Vec<String>) -> Credential {
    let mut fresh = || {
        let secret =
            format!("canary-{n}-{}-{}", secrets.len(), URL_SAFE_NO_PAD.encode(Key::random().unwrap().expose()));
        secrets.push(secret.clone());
        Secret::new(secret)
    };
    match n % 3 {
        0 => Credential::Bearer { token: fresh() },
        1 => Credential::Password { username: format!("user{n}"), password: fresh() },
        _ => Credential::OAuth2 {
            client_id: format!("client{n}"),
            client_secret: None,
            refresh_token: fresh(),
            token_endpoint: "https://oauth2.googleapis.com/token".to_owned(),
        },
    }
}

#[tokio::test]
async fn no_secret_stands_in_any_file() {
    let rig = Rig::new();
    let store = rig.open().store;
    let mut secrets = Vec::new();
    for n in 0..40 {
        let id = format!("account{n}");
        let credential = credential(n, &mut secrets);
        assert!(!format!("{credential:?}").contains("canary"));
        let sealed = credential.seal(&rig.key, &id, ORIGIN).unwrap();
        let mut commit = put(Shelf::Credential, &id, sealed);
        commit.records.push(Record { account: Some(id.clone()), ..record(Kind::Change, "Account added") });
        store.commit(commit).await.unwrap();
        store.append_read(read()).await.unwrap();
    }
    // What else must not be readable: people's addresses, subjects, quarantined mail.
    for private in ["alice.canary@example.org", "Subject of the canary", "Body of the quarantined canary"] {
        secrets.push(private.to_owned());
    }
    store.commit(put(Shelf::Known, "alice.canary@example.org", json!(true))).await.unwrap();
    let object_text = Some("Subject of the canary".to_owned());
    store.commit(records(vec![Record { object_text, ..record(Kind::Intent, "Trash 1 message") }])).await.unwrap();
    let content = b"Body of the quarantined canary".to_vec();
    store
        .quarantine_put(vec![Copied { entry: "u1".into(), object: "alice.canary@example.org".into(), content }])
        .await
        .unwrap();

    let needles = needles(&secrets);
    assert_none(rig.path(), &needles, "while it runs");
    let crashed = rig.crashed();
    assert_none(crashed.path(), &needles, "after a crash");
    let backup = rig.path().join("backup.db");
    let source = Connection::open(rig.database()).unwrap();
    source.backup("main", &backup, None).unwrap();
    assert_none(rig.path(), &needles, "in a backup");
    for n in 0..20 {
        let deletes = vec![(Shelf::Credential, format!("account{n}"))];
        store.commit(Commit { deletes, ..Commit::default() }).await.unwrap();
    }
    store.erase_object_text(u64::MAX).await.unwrap();
    drop((store, source));
    assert_none(rig.path(), &needles, "after removal and an orderly end");

    let loaded = crashed.open().loaded;
    let kept: Vec<_> = loaded.documents.iter().filter(|(shelf, ..)| *shelf == Shelf::Credential).collect();
    assert_eq!(kept.len(), 40);
    for (n, (_, id, sealed)) in kept.into_iter().enumerate() {
        let opened = Credential::open(&rig.key, id, ORIGIN, sealed).unwrap();
        assert_eq!(opened.secrets().collect::<Vec<_>>(), [secrets[n].as_str()]);
        assert!(Credential::open(&rig.key, id, "https://evil.example:443", sealed).is_err(), "another origin");
        assert!(Credential::open(&rig.key, "account99", ORIGIN, sealed).is_err(), "another account");
    }
}

#[test]
fn the_search_finds_what_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "canary-secret-0123456789";
    for spelled in [
        secret.to_owned(),
        STANDARD_NO_PAD.encode(format!("ab{secret}cd")),
        URL_SAFE_NO_PAD.encode(format!("{{\"t\":\"{secret}\"}}")),
    ] {
        std::fs::write(folder.path().join("log"), format!("zzz{spelled}zzz")).unwrap();
        let needles = needles(&[secret.to_owned()]);
        let found = std::panic::catch_unwind(|| assert_none(folder.path(), &needles, "planted"));
        assert!(found.is_err(), "{spelled}");
    }
}
