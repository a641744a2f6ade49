#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! No test here touches the real keyring: it is played by the keyring crate's own mock, or by one that breaks on demand.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keyring_core::api::{CredentialApi, CredentialPersistence, CredentialStoreApi};
use keyring_core::{CredentialStore, Entry, Error};
use latch_core::lease::Epoch;

use super::keyring::Connect;
use super::*;

/// A Secret Service of the test: values survive, connections break when it restarts.
#[derive(Debug, Default)]
struct Service {
    values: Mutex<HashMap<String, Vec<u8>>>,
    generation: AtomicU32,
    connections: AtomicU32,
    mood: Mutex<Mood>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Mood {
    #[default]
    Well,
    Locked,
    Absent,
    Silent,
}

#[derive(Debug, Clone)]
struct Session {
    service: Arc<Service>,
    generation: u32,
    user: String,
}

struct Bus(Arc<Service>);

fn gone(text: &str) -> Error {
    Error::PlatformFailure(text.into())
}

impl Connect for Bus {
    fn connect(&self) -> Result<Arc<CredentialStore>, Error> {
        if *guard(&self.0.mood) == Mood::Absent {
            return Err(gone("org.freedesktop.secrets was not provided"));
        }
        self.0.connections.fetch_add(1, Ordering::SeqCst);
        let generation = self.0.generation.load(Ordering::SeqCst);
        Ok(Arc::new(Session { service: Arc::clone(&self.0), generation, user: String::new() }))
    }
}

impl CredentialStoreApi for Session {
    fn vendor(&self) -> String {
        "test".to_owned()
    }

    fn id(&self) -> String {
        "test".to_owned()
    }

    fn build(&self, service: &str, user: &str, _: Option<&HashMap<&str, &str>>) -> Result<Entry, Error> {
        assert_eq!(service, "latchstring");
        Ok(Entry::new_with_credential(Arc::new(Self { user: user.to_owned(), ..self.clone() })))
    }

    fn search(&self, _: &HashMap<&str, &str>) -> Result<Vec<Entry>, Error> {
        Ok(Vec::new())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn persistence(&self) -> CredentialPersistence {
        CredentialPersistence::UntilDelete
    }
}

impl Session {
    fn reach(&self) -> Result<(), Error> {
        let mood = *guard(&self.service.mood);
        match mood {
            Mood::Locked => return Err(Error::NoStorageAccess("locked".into())),
            Mood::Absent => return Err(gone("disconnected")),
            Mood::Silent => std::thread::sleep(Duration::from_millis(400)),
            Mood::Well => {}
        }
        if self.generation == self.service.generation.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(gone("no such session"))
        }
    }
}

impl CredentialApi for Session {
    fn set_secret(&self, secret: &[u8]) -> Result<(), Error> {
        self.reach()?;
        guard(&self.service.values).insert(self.user.clone(), secret.to_vec());
        Ok(())
    }

    fn get_secret(&self) -> Result<Vec<u8>, Error> {
        self.reach()?;
        guard(&self.service.values).get(&self.user).cloned().ok_or(Error::NoEntry)
    }

    fn delete_credential(&self) -> Result<(), Error> {
        self.reach()
    }

    fn get_credential(&self) -> Result<Option<Arc<keyring_core::Credential>>, Error> {
        Ok(None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        None
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn home() -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::take(folder.path()).unwrap();
    (folder, home)
}

fn on_bus(service: &Arc<Service>, home: &Home) -> Result<Vault, VaultError> {
    let keyring = Keyring::patient(Box::new(Bus(Arc::clone(service))), home.path(), Duration::from_millis(300));
    Vault::with(VaultKind::Keyring, home, Small::Keyring(keyring))
}

fn bytes(vault: &Vault) -> [u8; 32] {
    *vault.key().unwrap().expose()
}

fn anchor(seq: u64) -> Anchor {
    Anchor { seq, hash: Digest([seq as u8; 32]), epoch: Epoch(3), panicked: false }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn remembers(vault: &Vault) {
    assert_eq!(vault.anchor().unwrap(), None);
    assert_eq!(vault.rules_digest().unwrap(), None);
    for seq in [7, 8] {
        vault.set_anchor(&anchor(seq)).unwrap();
        vault.set_rules_digest(&Digest([9; 32])).unwrap();
    }
    assert_eq!(vault.anchor().unwrap(), Some(anchor(8)));
    assert_eq!(vault.rules_digest().unwrap(), Some(Digest([9; 32])));
}

#[test]
fn the_keyring_keeps_one_key_for_each_home() {
    let service = Arc::new(Service::default());
    let ((_one, one), (_two, two)) = (home(), home());
    let first = on_bus(&service, &one).unwrap();
    remembers(&first);
    assert_eq!(bytes(&first), bytes(&on_bus(&service, &one).unwrap()));
    assert_ne!(bytes(&first), bytes(&on_bus(&service, &two).unwrap()));
    for (user, value) in guard(&service.values).iter() {
        assert!(value.len() < 400, "{user} fits into any platform's keyring");
        assert!(value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)), "{user} is one line");
    }
}

#[test]
fn a_keyring_that_restarted_is_connected_to_once_more() {
    let service = Arc::new(Service::default());
    let (_folder, home) = home();
    let vault = on_bus(&service, &home).unwrap();
    vault.set_anchor(&anchor(1)).unwrap();
    service.generation.fetch_add(1, Ordering::SeqCst);
    assert_eq!(vault.anchor().unwrap(), Some(anchor(1)));
    assert_eq!(service.connections.load(Ordering::SeqCst), 2);
    *guard(&service.mood) = Mood::Absent;
    let error = vault.anchor().unwrap_err().to_string();
    assert!(error.contains("org.freedesktop.secrets") && error.contains("--vault passphrase"), "{error}");
    *guard(&service.mood) = Mood::Well;
    assert_eq!(vault.anchor().unwrap(), Some(anchor(1)), "and again when it is back");
}

#[test]
fn a_panic_does_not_wait_for_the_keyring() {
    let service = Arc::new(Service::default());
    let (_folder, home) = home();
    let vault = on_bus(&service, &home).unwrap();
    vault.set_anchor(&anchor(1)).unwrap();
    *guard(&service.mood) = Mood::Silent;
    let started = std::time::Instant::now();
    vault.note_anchor(&anchor(2)).unwrap();
    assert!(started.elapsed() < Duration::from_millis(100));
    *guard(&service.mood) = Mood::Well;
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(vault.anchor().unwrap(), Some(anchor(2)));
}

#[test]
fn a_locked_silent_or_absent_keyring_is_said_in_time() {
    let expected = [
        (Mood::Locked, "unlock it"),
        (Mood::Silent, "did not answer"),
        (Mood::Absent, "Start or repair it, or use --vault passphrase"),
    ];
    for (mood, text) in expected {
        let service = Arc::new(Service { mood: Mutex::new(mood), ..Service::default() });
        let (_folder, home) = home();
        let said = match on_bus(&service, &home) {
            Ok(vault) => vault.why_locked().unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(text), "{said}");
    }
}

#[test]
fn a_locked_keyring_is_a_locked_vault_until_it_is_open() {
    for mood in [Mood::Locked, Mood::Silent] {
        let service = Arc::new(Service::default());
        let (_folder, home) = home();
        let key = bytes(&on_bus(&service, &home).unwrap());
        *guard(&service.mood) = mood;
        let vault = on_bus(&service, &home).unwrap();
        assert!(vault.locked());
        assert_eq!(vault.may_be_asking(), mood == Mood::Silent, "a keyring that said no is not asked again by itself");
        assert!(matches!(vault.key(), Err(VaultError::KeyringLocked | VaultError::KeyringSilent(_))));
        assert!(vault.unlock(&Secret::default()).is_err() && vault.locked());
        *guard(&service.mood) = Mood::Well;
        std::thread::sleep(Duration::from_millis(500));
        vault.unlock(&Secret::default()).unwrap();
        assert_eq!(bytes(&vault), key);
        assert_eq!(vault.why_locked(), None);
    }
}

#[test]
fn several_that_unlock_at_once_make_one_key() {
    for _ in 0..20 {
        let service = Arc::new(Service { mood: Mutex::new(Mood::Locked), ..Service::default() });
        let (_folder, home) = home();
        let vault = on_bus(&service, &home).unwrap();
        *guard(&service.mood) = Mood::Well;
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| vault.unlock(&Secret::default()).unwrap());
            }
        });
        assert_eq!(bytes(&vault), bytes(&on_bus(&service, &home).unwrap()), "the next start finds another key");
    }
}

#[test]
fn a_keyring_that_breaks_while_it_is_locked_says_so() {
    let service = Arc::new(Service { mood: Mutex::new(Mood::Locked), ..Service::default() });
    let (_folder, home) = home();
    let vault = on_bus(&service, &home).unwrap();
    *guard(&service.mood) = Mood::Absent;
    let error = vault.unlock(&Secret::default()).unwrap_err().to_string();
    assert!(error.contains("--vault passphrase"), "{error}");
    assert!(vault.locked());
}

#[test]
fn a_key_that_is_gone_is_never_replaced() {
    let service = Arc::new(Service::default());
    let (_folder, home) = home();
    std::fs::write(home.database(), "a database").unwrap();
    assert!(matches!(on_bus(&service, &home), Err(VaultError::KeyMissing(_))));
    assert!(guard(&service.values).is_empty());
}

#[test]
fn what_the_keyring_holds_is_checked_and_never_printed() {
    let service = Arc::new(Service::default());
    let (_folder, home) = home();
    let vault = on_bus(&service, &home).unwrap();
    vault.set_anchor(&anchor(1)).unwrap();
    guard(&service.values).values_mut().for_each(|value| *value = b"hunter2\xff".to_vec());
    for error in [vault.anchor().unwrap_err(), on_bus(&service, &home).unwrap_err()] {
        assert!(matches!(error, VaultError::Damaged(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn a_passphrase_opens_what_it_closed() {
    let (_folder, home) = home();
    let vault = Vault::open(VaultKind::Passphrase, &home).unwrap();
    assert!(vault.locked());
    assert!(matches!(vault.key(), Err(VaultError::Locked)));
    assert!(matches!(vault.anchor(), Err(VaultError::Locked)));
    assert!(matches!(vault.unlock(&secret("short")), Err(VaultError::ShortPassphrase)));
    vault.unlock(&secret("correct horse")).unwrap();
    remembers(&vault);

    let again = Vault::open(VaultKind::Passphrase, &home).unwrap();
    assert!(matches!(again.unlock(&secret("battery staple")), Err(VaultError::WrongPassphrase)));
    assert!(again.locked());
    again.unlock(&secret("correct horse")).unwrap();
    assert_eq!(bytes(&vault), bytes(&again));
    assert_eq!(again.anchor().unwrap(), Some(anchor(8)));

    let key = bytes(&again);
    let text = std::fs::read(home.join(passphrase::FILE)).unwrap();
    assert!(!text.windows(8).any(|window| key.windows(8).any(|part| part == window)));
    std::fs::write(home.join("anchor"), "AAAA").unwrap();
    assert!(matches!(again.anchor(), Err(VaultError::Damaged(_))));
    let greedy = String::from_utf8(text).unwrap().replace("\"memory_kib\": 64", "\"memory_kib\": 4294967295");
    std::fs::write(home.join(passphrase::FILE), greedy).unwrap();
    let third = Vault::open(VaultKind::Passphrase, &home).unwrap();
    assert!(matches!(third.unlock(&secret("correct horse")), Err(VaultError::Damaged(_))));
}

#[test]
fn memory_keeps_nothing_and_other_kinds_are_not_mistaken() {
    let (_folder, home) = home();
    let vault = Vault::open(VaultKind::Memory, &home).unwrap();
    remembers(&vault);
    assert_ne!(bytes(&vault), bytes(&Vault::open(VaultKind::Memory, &home).unwrap()));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2, "only lock and pid");

    std::fs::write(home.database(), "a database").unwrap();
    for kind in [VaultKind::Memory, VaultKind::Passphrase] {
        let error = Vault::open(kind, &home).unwrap_err();
        assert!(matches!(error, VaultError::OtherKind { .. }), "{error}");
    }
    std::fs::write(home.join(passphrase::FILE), "{}").unwrap();
    let error = Vault::open(VaultKind::Keyring, &home).unwrap_err().to_string();
    assert!(error.contains("was set up with a passphrase, not with the keyring"), "{error}");
}

#[test]
fn kinds_are_named_as_on_the_command_line() {
    for kind in [VaultKind::Keyring, VaultKind::Passphrase, VaultKind::Memory] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!("plain".parse::<VaultKind>().is_err());
}

/// Invariant I11.
#[test]
fn an_older_or_other_database_contradicts_the_anchor() {
    let anchor = Anchor { seq: 8, hash: Digest([8; 32]), epoch: Epoch(3), panicked: true };
    let same = Present { seq: 8, hash_at_anchor: Some(Digest([8; 32])), epoch: Epoch(3), panicked: true };
    let cases = [
        (same.clone(), false),
        (Present { seq: 9, panicked: false, ..same.clone() }, false),
        (Present { seq: 9, epoch: Epoch(4), ..same.clone() }, false),
        (Present { seq: 7, hash_at_anchor: None, ..same.clone() }, true),
        (Present { seq: 0, hash_at_anchor: None, ..same.clone() }, true),
        (Present { hash_at_anchor: Some(Digest([1; 32])), seq: 20, ..same.clone() }, true),
        (Present { hash_at_anchor: None, seq: 20, ..same.clone() }, true),
        (Present { epoch: Epoch(2), seq: 20, ..same.clone() }, true),
        (Present { panicked: false, ..same }, true),
    ];
    for (present, contradicts) in cases {
        assert_eq!(anchor.contradicts(&present).is_some(), contradicts, "{present:?}");
    }
    let new = Present { seq: 0, hash_at_anchor: None, epoch: Epoch(0), panicked: false };
    let empty = Anchor { seq: 0, hash: Digest([0; 32]), epoch: Epoch(0), panicked: false };
    assert_eq!(empty.contradicts(&new), None);
}

#[test]
fn the_home_in_the_entry_name_is_a_hash() {
    let service = Arc::new(Service::default());
    let keyring = Keyring::start(Box::new(Bus(Arc::clone(&service))), Path::new("/home/alice/latchstring"));
    keyring.set("key", Zeroizing::new("x".to_owned())).unwrap();
    let users: Vec<_> = guard(&service.values).keys().cloned().collect();
    assert_eq!(users.len(), 1);
    assert!(!users[0].contains("alice") && users[0].ends_with(".key"), "{users:?}");
}
