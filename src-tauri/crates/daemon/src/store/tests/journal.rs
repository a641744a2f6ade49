use super::*;

#[tokio::test]
async fn what_was_committed_is_there_after_a_crash() {
    let rig = Rig::new();
    let store = rig.open().store;
    let now = Time(clock::wall());
    let charge =
        |count, time| Charge { agent: "claude".into(), account: "work".into(), meter: Meter::Remove, time, count };
    let receipt = store
        .commit(Commit {
            records: vec![record(Kind::Intent, "Trash 3 messages"), record(Kind::Alert, "Something")],
            charges: vec![charge(3, now), charge(9, now - Span::hours(25))],
            puts: vec![
                Put { shelf: Shelf::Grant, id: "g1".into(), value: json!({"preset": "organize"}) },
                Put { shelf: Shelf::Undo, id: "u1".into(), value: json!({"labels": ["INBOX"]}) },
                Put { shelf: Shelf::Undo, id: "u2".into(), value: json!(null) },
            ],
            deletes: vec![(Shelf::Undo, "u2".into()), (Shelf::Undo, "never there".into())],
        })
        .await
        .unwrap();
    assert_eq!(receipt.seq, 1);
    let done = Record { refers: Some(1), ..record(Kind::Outcome, "Trashed 3 messages") };
    let unknown = record(Kind::Intent, "Delete 1 draft");
    assert_eq!(store.commit(records(vec![done, unknown.clone()])).await.unwrap().seq, 3);

    let crashed = rig.crashed();
    let Opened { store: again, loaded } = crashed.open();
    assert_eq!(loaded.alarms, Vec::<String>::new());
    assert_eq!((loaded.seq, loaded.hash), (4, Some(store.head().1)));
    assert!(loaded.high_water >= now);
    assert_eq!(loaded.charges, vec![charge(3, now)]);
    assert_eq!(loaded.open_intents, vec![Stored { seq: 4, record: unknown }]);
    let documents =
        loaded.documents.iter().map(|(shelf, id, value)| (*shelf, id.as_str(), value.clone())).collect::<Vec<_>>();
    assert_eq!(
        documents,
        vec![(Shelf::Grant, "g1", json!({"preset": "organize"}))],
        "undo entries are read when asked for"
    );
    assert_eq!(again.document(Shelf::Undo, "u1").await.unwrap(), Some(json!({"labels": ["INBOX"]})));
    assert_eq!(again.commit(records(vec![record(Kind::Alert, "goes on")])).await.unwrap().seq, 5);
    assert_eq!(again.verify().await.unwrap(), Verified { records: 5, broken: None });
}

#[tokio::test]
async fn a_shelf_is_read_page_by_page_from_either_end() {
    let rig = Rig::new();
    let store = rig.open().store;
    for n in 1..=7 {
        store.commit(put(Shelf::Undo, &format!("u{n}"), json!(n))).await.unwrap();
        store.commit(put(Shelf::Grant, &format!("g{n}"), json!(n))).await.unwrap();
    }
    // Stored again, it keeps its place.
    store.commit(put(Shelf::Undo, "u2", json!(20))).await.unwrap();
    store.commit(Commit { deletes: vec![(Shelf::Undo, "u4".into())], ..Commit::default() }).await.unwrap();
    let all = async |mut from: Option<Page>| {
        let mut pages = Vec::new();
        while let Some(start) = from {
            let (page, next) = store.page(Shelf::Undo, start, 3).await.unwrap();
            pages.push(page);
            from = next;
        }
        pages
    };
    assert_eq!(json!(all(Some(Page::Before(i64::MAX))).await), json!([[7, 6, 5], [3, 20, 1], []]));
    assert_eq!(json!(all(Some(Page::After(0))).await), json!([[1, 20, 3], [5, 6, 7], []]));
    assert_eq!(store.count(Shelf::Undo).await.unwrap(), 6);
    assert_eq!(store.document(Shelf::Undo, "u4").await.unwrap(), None);
    assert_eq!(store.document(Shelf::Grant, "u2").await.unwrap(), None);
    assert_eq!(store.document(Shelf::Undo, "u2").await.unwrap(), Some(json!(20)));
}

#[tokio::test]
async fn a_changed_undo_entry_is_not_used_and_raises_the_alarm() {
    let rig = Rig::new();
    let store = rig.open().store;
    store.commit(put(Shelf::Undo, "u1", json!(1))).await.unwrap();
    store.commit(put(Shelf::Undo, "u2", json!(2))).await.unwrap();
    drop(store);
    let connection = rusqlite::Connection::open(rig.database()).unwrap();
    let swap = "UPDATE doc SET sealed = (SELECT sealed FROM doc ORDER BY rowid LIMIT 1)";
    assert_eq!(connection.execute(swap, []).unwrap(), 2);
    drop(connection);
    let Opened { store, loaded } = rig.open();
    assert_eq!(loaded.alarms.len(), 1, "{:?}", loaded.alarms);
    assert_eq!(store.document(Shelf::Undo, "u2").await.unwrap(), None);
    assert_eq!(store.page(Shelf::Undo, Page::After(0), 10).await.unwrap().0, [json!(1)]);
}

#[tokio::test]
async fn many_commits_share_a_transaction_and_keep_their_numbers() {
    let rig = Rig::new();
    let store = rig.open().store;
    let tasks = (0..200).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let text = format!("commit {n}");
            let both = vec![record(Kind::Alert, &text), record(Kind::Alert, &text)];
            (text, store.commit(records(both)).await.unwrap().seq)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut seqs = Vec::new();
    for task in tasks {
        let (text, seq) = task.await.unwrap();
        for seq in [seq, seq + 1] {
            assert_eq!(store.record(seq).await.unwrap().unwrap().record.text, text);
        }
        seqs.push(seq);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (0..200).map(|n| 2 * n + 1).collect::<Vec<_>>());
    assert_eq!(store.verify().await.unwrap().records, 400);
}

#[tokio::test]
async fn reads_are_batched_and_none_is_lost() {
    let rig = Rig::new();
    let store = rig.open().store;
    for _ in 0..writer::READS + 100 {
        store.append_read(read()).await.unwrap();
    }
    // A page of the activity view shows what still waited.
    let newest = store.tail(None, 2, false).await.unwrap();
    assert_eq!(newest[0].seq, writer::READS as u64 + 100);
    assert_eq!(newest[0].record.kind, Kind::Read);
    store.append_read(read()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(store.head().0, writer::READS as u64 + 101, "a read waits 50 ms at most");
    store.append_read(read()).await.unwrap();
    drop(store);
    assert_eq!(rig.open().loaded.seq, writer::READS as u64 + 102, "an orderly end writes what waits");
}

#[tokio::test]
async fn pages_go_back_with_and_without_reads() {
    let rig = Rig::new();
    let store = rig.open().store;
    for n in 0..30 {
        store.append_read(read()).await.unwrap();
        if n % 10 == 0 {
            store.commit(records(vec![record(Kind::Verdict, &format!("verdict {n}"))])).await.unwrap();
        }
    }
    let texts = |page: &[Stored]| page.iter().map(|stored| stored.record.text.clone()).collect::<Vec<_>>();
    let page = store.tail(None, 2, true).await.unwrap();
    assert_eq!(texts(&page), ["verdict 20", "verdict 10"]);
    assert_eq!(texts(&store.tail(Some(page[1].seq), 2, true).await.unwrap()), ["verdict 0"]);
    let page = store.tail(Some(3), 10, false).await.unwrap();
    assert_eq!(page.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(store.tail(None, 1000, false).await.unwrap().len(), 33);
}

#[tokio::test]
async fn object_text_is_sealed_and_can_be_erased_without_breaking_the_chain() {
    let rig = Rig::new();
    let store = rig.open().store;
    let secret = "Offer from the rival company";
    let old = Record { wall: 1000, object_text: Some(secret.into()), ..record(Kind::Intent, "Trash 1 message") };
    let new = Record { object_text: Some("Another subject".into()), ..record(Kind::Intent, "Trash 1 message") };
    store.commit(records(vec![old, new])).await.unwrap();
    assert_eq!(store.object_text(1).await.unwrap().as_deref(), Some(secret));
    assert_eq!(store.tail(None, 9, false).await.unwrap()[1].record.object_text, None);
    store.erase_object_text(clock::wall() - 1000).await.unwrap();
    assert_eq!(store.object_text(1).await.unwrap(), None);
    assert_eq!(store.object_text(2).await.unwrap().as_deref(), Some("Another subject"));
    assert_eq!(store.verify().await.unwrap(), Verified { records: 2, broken: None });
}

/// ATTACKS 33.
#[tokio::test]
async fn a_change_behind_our_back_is_found() {
    let object_text = Some("From: the bank".to_owned());
    let cases: &[(&str, Option<u64>)] = &[
        ("UPDATE journal SET text = 'Trashed 4 messages' WHERE seq = 7", Some(7)),
        ("UPDATE journal SET count = count + 1 WHERE seq = 1", Some(1)),
        ("UPDATE journal SET agent = 'other' WHERE seq = 20", Some(20)),
        ("UPDATE journal SET hash = zeroblob(32) WHERE seq = 20", Some(20)),
        ("UPDATE journal SET kind = 99 WHERE seq = 3", Some(3)),
        ("UPDATE journal SET wall = -1 WHERE seq = 3", Some(3)),
        ("UPDATE journal SET object_text = zeroblob(60) WHERE seq = 5", Some(5)),
        ("UPDATE journal SET text_hash = zeroblob(32) WHERE seq = 5", Some(5)),
        ("DELETE FROM journal WHERE seq = 9", Some(9)),
        ("DELETE FROM journal WHERE seq > 15", Some(16)),
        ("DELETE FROM journal", Some(1)),
        (
            "INSERT INTO journal SELECT 21, wall, time, kind, agent, account, action, class, count, text, refers, digest, undo, hash, text_hash, object_text FROM journal WHERE seq = 20",
            Some(21),
        ),
        ("UPDATE head SET sealed = zeroblob(80) WHERE id = 1", Some(1)),
        ("DELETE FROM head WHERE id = 1", Some(1)),
        ("UPDATE journal SET object_text = NULL WHERE seq = 5", None),
    ];
    let rig = Rig::new();
    let store = rig.open().store;
    for n in 1..=20 {
        let object_text = object_text.clone().filter(|_| n == 5);
        store
            .commit(records(vec![Record { object_text, ..record(Kind::Alert, &format!("record {n}")) }]))
            .await
            .unwrap();
    }
    assert_eq!(store.verify().await.unwrap(), Verified { records: 20, broken: None });
    for (sql, at) in cases {
        let copy = rig.crashed();
        assert!(copy.tamper(sql) > 0, "{sql}");
        let Opened { store, loaded } = copy.open();
        let verified = verify::verify_now(&copy.database(), &copy.key).unwrap();
        assert_eq!(verified.broken.as_ref().map(|broken| broken.at), *at, "{sql}: {verified:?}");
        assert_eq!(loaded.alarms.is_empty(), at.is_none(), "{sql}: {:?}", loaded.alarms);
        drop(store);
    }
}

/// ATTACKS 33: not by SQL, but by a byte of the file, wherever a record's content stands.
#[tokio::test]
async fn a_flipped_byte_is_found() {
    let rig = Rig::new();
    let store = rig.open().store;
    for n in 1..=50 {
        store.commit(records(vec![record(Kind::Alert, &format!("marked record {n:04}"))])).await.unwrap();
    }
    drop(store);
    let checkpoint = Connection::open(rig.database()).unwrap();
    checkpoint.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(checkpoint);
    let content = std::fs::read(rig.database()).unwrap();
    let at = content.windows(18).position(|window| window == b"marked record 0031").unwrap();
    for offset in [0, 5, 17, 30, 60] {
        let copy = rig.crashed();
        let mut bent = content.clone();
        bent[at + offset] ^= 4;
        std::fs::write(copy.database(), bent).unwrap();
        let verified = verify::verify_now(&copy.database(), &copy.key).unwrap();
        assert!(verified.broken.is_some(), "offset {offset}");
    }
}

/// A revoked grant must not come back by putting its old row back, nor a rule go by deleting its row.
#[tokio::test]
async fn documents_changed_behind_our_back_raise_an_alarm() {
    let rig = Rig::new();
    let store = rig.open().store;
    store.commit(put(Shelf::Grant, "g1", json!({"preset": "assistant"}))).await.unwrap();
    store.commit(put(Shelf::Rules, "rules", json!("forbid (principal, action, resource);"))).await.unwrap();
    let before = rig.crashed();
    store.commit(put(Shelf::Grant, "g1", json!({"preset": "read-only"}))).await.unwrap();
    drop(store);

    let dropped = rig.crashed();
    dropped.tamper("DELETE FROM doc WHERE shelf = 6");
    let loaded = dropped.open().loaded;
    assert_eq!(loaded.alarms.len(), 1, "{:?}", loaded.alarms);

    let replayed = rig.crashed();
    let sql = format!(
        "ATTACH '{}' AS old; UPDATE doc SET sealed = (SELECT o.sealed FROM old.doc o WHERE o.place = doc.place) WHERE shelf = 4",
        before.database().display()
    );
    Connection::open(replayed.database()).unwrap().execute_batch(&sql).unwrap();
    let loaded = replayed.open().loaded;
    assert_eq!(loaded.alarms.len(), 1, "{:?}", loaded.alarms);

    let moved = rig.crashed();
    moved.tamper("UPDATE doc SET shelf = 6 WHERE shelf = 4");
    let loaded = moved.open().loaded;
    assert!(loaded.alarms.iter().any(|alarm| alarm.contains("can't be opened")), "{:?}", loaded.alarms);
    assert_eq!(rig.open().loaded.alarms, Vec::<String>::new());
}

/// An agent's budget must not grow by taking away rows of what it has used.
#[tokio::test]
async fn charges_changed_behind_our_back_raise_an_alarm() {
    let rig = Rig::new();
    let store = rig.open().store;
    let charge = |count, at| Charge {
        time: Time(clock::wall()) - at,
        agent: "claude".to_owned(),
        account: "work".to_owned(),
        meter: Meter::Remove,
        count,
    };
    let old = charge(9, Span::hours(30));
    let charges = vec![charge(3, Span::default()), charge(4, Span::seconds(5)), old];
    store.commit(Commit { charges, ..Commit::default() }).await.unwrap();
    drop(store);
    for sql in [
        "DELETE FROM charge WHERE count = 3",
        "UPDATE charge SET count = 1 WHERE count = 3",
        "UPDATE charge SET agent = 'other'",
        "UPDATE charge SET time = time - 90000000 WHERE count = 4",
        "INSERT INTO charge SELECT * FROM charge WHERE count = 3",
    ] {
        let copy = rig.crashed();
        assert!(copy.tamper(sql) > 0, "{sql}");
        let loaded = copy.open().loaded;
        assert_eq!(loaded.alarms.len(), 1, "{sql}: {:?}", loaded.alarms);
        assert_eq!(copy.open().loaded.alarms.len(), 1, "nothing was written since");
    }
    let Opened { store, loaded } = rig.open();
    assert_eq!((loaded.alarms, loaded.charges.len()), (Vec::new(), 2));
    store.commit(records(vec![record(Kind::Alert, "x")])).await.unwrap();
    drop(store);
    let left = "UPDATE charge SET count = count WHERE count = 9";
    assert_eq!(rig.crashed().tamper(left), 0, "those that count no more are pruned");
    assert_eq!(rig.open().loaded.alarms, Vec::<String>::new());
}

#[tokio::test]
async fn an_alarm_is_raised_once_and_the_store_goes_on() {
    let rig = Rig::new();
    let store = rig.open().store;
    for _ in 0..5 {
        store.commit(records(vec![record(Kind::Alert, "x")])).await.unwrap();
    }
    drop(store);
    rig.tamper("DELETE FROM journal WHERE seq > 3");
    let Opened { store, loaded } = rig.open();
    assert_eq!(loaded.alarms, ["the journal should end with record 5, but ends with record 3"]);
    assert_eq!(store.commit(records(vec![record(Kind::Start, "started panicked")])).await.unwrap().seq, 4);
    drop(store);
    assert_eq!(rig.open().loaded.alarms, Vec::<String>::new());
}

#[test]
fn a_read_record_is_small() {
    let rig = Rig::new();
    let store = rig.open().store;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let size = || -> i64 {
        let connection = Connection::open(rig.database()).unwrap();
        connection.query_row("SELECT sum(pgsize) FROM dbstat WHERE name = 'journal'", [], |row| row.get(0)).unwrap()
    };
    runtime.block_on(async {
        for _ in 0..4000 {
            store.append_read(read()).await.unwrap();
        }
        store.commit(Commit::default()).await.unwrap();
    });
    let each = size() / 4000;
    assert!(each <= 250, "{each} bytes a row");
}
