//! ATTACKS 35 and 36: what a full disk, a read-only or damaged database, and a second engine lead to.

use super::*;

async fn full_disk(store: &Store) {
    store
        .poke(|connection| {
            let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        })
        .await;
}

/// Too large for whatever free pages there are.
fn large() -> Commit {
    let mut commit = put(Shelf::Undo, "u1", json!("x".repeat(200_000)));
    commit.records.push(record(Kind::Intent, "Trash 1 message"));
    commit
}

#[tokio::test]
async fn after_a_failed_write_everything_is_refused_and_nothing_is_half_written() {
    let rig = Rig::new();
    let store = rig.open().store;
    store.commit(records(vec![record(Kind::Alert, "before")])).await.unwrap();
    full_disk(&store).await;
    let Err(StoreError::Failed(why)) = store.commit(large()).await else { panic!("the disk is full") };
    assert_eq!(
        why,
        "Nothing can be recorded any more, so nothing is let through: the disk is full. Make room, then start Latchstring again"
    );
    assert_eq!(store.failed(), Some(why.clone()));
    assert_eq!(store.commit(records(vec![record(Kind::Alert, "small")])).await, Err(StoreError::Failed(why.clone())));
    assert_eq!(store.commit_now(Commit::default()), Err(StoreError::Failed(why.clone())));
    assert_eq!(store.append_read(read()).await, Err(StoreError::Failed(why)));
    assert_eq!(store.tail(None, 10, false).await.unwrap().len(), 1, "what is there can still be read");
    drop(store);
    let Opened { store, loaded } = rig.open();
    assert_eq!((loaded.seq, loaded.documents.len(), loaded.alarms.len()), (1, 0, 0));
    store.commit(large()).await.unwrap();
}

#[tokio::test]
async fn after_the_end_everybody_is_answered() {
    let rig = Rig::new();
    let store = rig.open().store;
    store.close();
    assert!(store.commit(Commit::default()).await.is_err());
    assert!(store.commit_now(Commit::default()).is_err());
    assert!(store.append_read(read()).await.is_err());
    assert!(store.verify().await.is_err() || store.failed().is_some());
    let kept = store.commit_blocking(records(vec![record(Kind::Panic, "Stopped")])).unwrap();
    assert!(matches!(kept, Kept::Flag { .. }), "{kept:?}");
}

#[tokio::test]
async fn whoever_waits_for_room_hears_of_the_failure() {
    let rig = Rig::new();
    let store = rig.open().store;
    store.poke(|connection| connection.pragma_update(None, "query_only", true).unwrap()).await;
    let failed = store.failed().unwrap();
    assert!(failed.contains("can't be written to"), "{failed}");
    for _ in 0..2 * writer::READS {
        assert!(store.append_read(read()).await.is_err());
    }
}

#[tokio::test]
async fn a_panic_is_recorded_on_a_full_disk_from_the_reserve() {
    let rig = Rig::new();
    let store = rig.open().store;
    full_disk(&store).await;
    assert_eq!(std::fs::metadata(rig.path().join("reserve")).unwrap().len(), 1024 * 1024);
    store.commit(large()).await.unwrap_err();
    // This test's full disk does not grow by a removed file, so only the flag can be raised; see the next test for the reserve's own effect.
    let mut commit = records(vec![record(Kind::Panic, "Stopped from the tray")]);
    commit.puts = vec![Put {
        shelf: Shelf::State,
        id: "state".into(),
        value: json!({"panicked": true, "pad": "x".repeat(50_000)}),
    }];
    let kept = store.commit_blocking(commit).unwrap();
    assert!(matches!(kept, Kept::Flag { .. }), "{kept:?}");
    assert!(!rig.path().join("reserve").exists(), "the reserve was given back");

    let Opened { store, loaded } = rig.crashed().open();
    assert_eq!(loaded.alarms, ["a panic was not yet recorded: Stopped from the tray"]);
    drop(store);
}

#[tokio::test]
async fn the_flag_goes_down_only_when_the_journal_knows() {
    let rig = Rig::new();
    let store = rig.open().store;
    store.poke(|connection| connection.pragma_update(None, "query_only", true).unwrap()).await;
    let kept = store.commit_blocking(records(vec![record(Kind::Panic, "Stopped")])).unwrap();
    assert!(matches!(kept, Kept::Flag { ref why } if why.contains("can't be written to")), "{kept:?}");
    drop(store);
    for _ in 0..2 {
        let Opened { store, loaded } = rig.open();
        assert_eq!(loaded.alarms, ["a panic was not yet recorded: Stopped"]);
        store.commit(records(vec![record(Kind::Start, "started panicked")])).await.unwrap();
    }
    let Opened { store, .. } = rig.open();
    store.commit(put(Shelf::State, "state", json!({"panicked": true}))).await.unwrap();
    drop(store);
    assert_eq!(rig.open().loaded.alarms, Vec::<String>::new());
}

#[tokio::test]
async fn a_panic_after_a_failure_that_passed_is_in_the_journal() {
    let rig = Rig::new();
    let store = rig.open().store;
    full_disk(&store).await;
    store.commit(large()).await.unwrap_err();
    let kept = store.commit_blocking(records(vec![record(Kind::Panic, "Stopped")])).unwrap();
    assert_eq!(kept, Kept::Journal(Receipt { seq: 1 }), "a small record still fits");
    assert!(store.failed().is_some(), "nothing else goes on");
}

#[tokio::test]
async fn a_panic_does_not_wait_behind_a_full_queue() {
    let rig = Rig::new();
    let store = rig.open().store;
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let answer = Answer::Poke(Box::new(move |_| {
        enter.send(()).unwrap();
        left.recv().unwrap();
    }));
    store.0.shared.push(Job { prepared: Prepared::default(), answer, _room: None });
    entered.recv().unwrap();
    // The writer is busy now; behind it everything that fits into the queues waits.
    for _ in 0..writer::READS {
        store.append_read(read()).await.unwrap();
    }
    let waiting: Vec<_> = (0..writer::COMMITS)
        .map(|_| {
            tokio::spawn({
                let store = store.clone();
                async move { store.commit(records(vec![record(Kind::Alert, "x")])).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let panic = std::thread::spawn({
        let store = store.clone();
        move || store.commit_blocking(records(vec![record(Kind::Panic, "Stopped")])).unwrap()
    });
    std::thread::sleep(std::time::Duration::from_millis(50));
    leave.send(()).unwrap();
    assert_eq!(panic.join().unwrap(), Kept::Journal(Receipt { seq: 1 }));
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

/// A home whose database has one page overwritten: the root of this table or index.
async fn with_damaged(name: &str) -> Rig {
    let rig = Rig::new();
    let store = rig.open().store;
    store.commit(records(vec![record(Kind::Alert, "before")])).await.unwrap();
    drop(store);
    let connection = Connection::open(rig.database()).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: i64 = connection.query_row(sql, [name], |row| row.get(0)).unwrap();
    let page = usize::try_from(page).unwrap();
    let mut content = std::fs::read(rig.database()).unwrap();
    content[(page - 1) * 4096..page * 4096].fill(0xA5);
    std::fs::write(rig.database(), &content).unwrap();
    rig
}

#[tokio::test]
async fn a_damaged_page_is_said_and_not_touched() {
    for name in ["journal", "head", "doc", "charge_time"] {
        let rig = with_damaged(name).await;
        let content = std::fs::read(rig.database()).unwrap();
        let Err(error) = rig.try_open() else { panic!("{name} was believed") };
        assert!(matches!(error, StoreError::Damaged { .. }), "{name}: {error}");
        assert!(std::fs::read(rig.database()).unwrap() == content, "{name}: nothing was changed");
    }
}

#[tokio::test]
async fn a_page_found_damaged_later_fails_closed_and_panic_works() {
    let rig = with_damaged("charge").await;
    let store = rig.open().store;
    let charge =
        Charge { agent: "a".into(), account: "b".into(), meter: Meter::Read, time: Time(clock::wall()), count: 1 };
    let commit = Commit { charges: vec![charge], ..records(vec![record(Kind::Intent, "x")]) };
    let Err(StoreError::Failed(why)) = store.commit(commit).await else { panic!("written to a damaged page") };
    assert!(why.contains("the database is damaged"), "{why}");
    assert!(store.commit(Commit::default()).await.is_err());
    let kept = store.commit_blocking(records(vec![record(Kind::Panic, "Stopped")])).unwrap();
    assert_eq!(kept, Kept::Journal(Receipt { seq: 2 }), "the journal's own pages are whole");
}

#[test]
fn what_is_not_ours_newer_or_damaged_is_not_touched() {
    let newer = {
        let rig = Rig::new();
        drop(rig.open());
        let connection = Connection::open(rig.database()).unwrap();
        connection.pragma_update(None, "user_version", 999).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        std::fs::read(rig.database()).unwrap()
    };
    let foreign = {
        let file = tempfile::NamedTempFile::new().unwrap();
        let connection = Connection::open(file.path()).unwrap();
        connection.execute_batch("PRAGMA application_id = 7; CREATE TABLE t (x)").unwrap();
        drop(connection);
        std::fs::read(file.path()).unwrap()
    };
    let cases: [(&[u8], &str); 4] = [
        (&newer, "newer Latchstring (format 999, this one knows 2)"),
        (&foreign, "belongs to another program"),
        (b"Dear diary", "is not a SQLite database"),
        (&newer[..50], "is not a SQLite database"),
    ];
    for (content, expected) in cases {
        let rig = Rig::new();
        std::fs::write(rig.database(), content).unwrap();
        let Err(error) = rig.try_open() else { panic!("{expected}") };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains("Nothing was changed"), "{error}");
        assert!(std::fs::read(rig.database()).unwrap() == content, "{expected}");
        let names: Vec<_> = std::fs::read_dir(rig.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "only lock and pid beside it: {names:?}");
    }
}

#[tokio::test]
async fn a_database_of_another_key_is_not_touched() {
    let rig = Rig::new();
    rig.open().store.commit(put(Shelf::Account, "work", json!(1))).await.unwrap();
    let before = std::fs::read(rig.database()).unwrap();
    let other = Rig { key: Key::random().unwrap(), folder: rig.folder };
    let Err(error) = other.try_open() else { panic!("opened with another key") };
    assert!(matches!(error, StoreError::OtherKey(_)), "{error}");
    assert!(std::fs::read(other.database()).unwrap() == before);
}

#[test]
fn a_second_engine_is_refused_and_told_by_whom() {
    let rig = Rig::new();
    let home = Home::take(rig.path()).unwrap();
    let Err(error) = Home::take(rig.path()) else { panic!("two engines on one home") };
    assert!(matches!(&error, HomeError::Taken { pid, .. } if *pid == std::process::id().to_string()), "{error}");
    drop(home);
    Home::take(rig.path()).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn the_home_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    std::fs::set_permissions(rig.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let store = rig.open().store;
    store.commit(records(vec![record(Kind::Alert, "x")])).await.unwrap();
    store.quarantine_put(vec![Copied { entry: "u1".into(), object: "m1".into(), content: vec![1] }]).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(rig.path()), 0o700);
    for entry in std::fs::read_dir(rig.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn the_quarantine_refuses_when_full_and_evicts_nothing() {
    let rig = Rig::new();
    let store = rig.open().store;
    let copy = |object: &str, bytes| Copied { entry: "u1".into(), object: object.into(), content: vec![7; bytes] };
    store.set_quarantine_limit(1000);
    store.quarantine_put(vec![copy("m1", 600), copy("m2", 300)]).await.unwrap();
    let full = store.quarantine_put(vec![copy("m3", 50), copy("m4", 51)]).await;
    assert_eq!(full, Err(StoreError::QuarantineFull { used: 900, limit: 1000, needed: 101 }));
    assert_eq!(store.quarantine_size().await.unwrap(), QuarantineSize { items: 2, bytes: 900, limit: 1000 });
    drop(store);

    let store = rig.crashed();
    let store = store.open().store;
    assert_eq!(store.quarantine_take("u1", "m2").await.unwrap().unwrap().as_slice(), [7; 300]);
    assert_eq!(store.quarantine_take("u2", "m2").await.unwrap(), None);
    store.quarantine_forget("u1", vec!["m1".into(), "none".into()]).await.unwrap();
    let left: Vec<_> =
        store.quarantine_list().await.unwrap().into_iter().map(|kept| (kept.object, kept.bytes)).collect();
    assert_eq!(left, [("m2".to_owned(), 300)]);
    store.quarantine_clear().await.unwrap();
    assert_eq!(store.quarantine_size().await.unwrap().items, 0);
}
