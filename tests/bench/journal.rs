//! The journal beside one fdatasync, and what it costs when it has grown for years.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use latch_core::call::Digest;
use latch_core::journal::{Commit, Kind, Record};
use latch_core::operation::Class;
use latch_core::time::Time;
use latch_daemon::home::Home;
use latch_daemon::seal::Key;
use latch_daemon::store::Store;
use tokio::runtime::Runtime;

use crate::table::{Row, median, time};

const ROUNDS: usize = 18;
/// A busy agent's reads of some years.
const GROWN: u64 = 10_000_000;
const YOUNG: u64 = 10_000;
/// Appended to measure what one costs.
const APPENDED: u64 = 50_000;
/// A page of the activity view.
const PAGE: u32 = 100;

/// All of them.
pub fn rows(runtime: &Runtime) -> Vec<Row> {
    let mut rows = vec![durable(runtime)];
    rows.extend(grown(runtime));
    rows
}

fn record(kind: Kind, n: u64) -> Record {
    Record {
        wall: 1_790_000_000_000 + n,
        time: Time(1_000_000 + n),
        kind,
        agent: Some("claw".to_owned()),
        account: Some("mail".to_owned()),
        action: Some("gmail.users.messages.get".to_owned()),
        class: Some(if kind == Kind::Read { Class::Read } else { Class::Remove }),
        count: 1,
        text: String::new(),
        refers: None,
        digest: Some(Digest::of(&[&n.to_be_bytes()])),
        undo: None,
        object_text: None,
    }
}

/// The disk that matters is that of the target folder, not a tmpfs.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(latch_tests::paths::workspace().join("target")).expect("a temporary folder")
}

/// A store, and where its database is.
fn store(folder: &Path) -> (Store, PathBuf) {
    let home = Home::take(folder).expect("a home");
    let store = Store::open(&home, &Key::random().expect("a key")).expect("a store").store;
    (store, home.database())
}

fn intent(runtime: &Runtime, store: &Store, n: u64) {
    let commit = Commit { records: vec![record(Kind::Intent, n)], ..Commit::default() };
    runtime.block_on(store.commit(commit)).expect("durable");
}

fn durable(runtime: &Runtime) -> Row {
    let folder = scratch();
    let (store, _) = store(folder.path());
    let mut file = std::fs::File::create(folder.path().join("bare")).expect("a file");
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut n = 0;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..20 {
            n += 1;
            intent(runtime, &store, n);
        }
        let intents = start.elapsed().as_secs_f64() / 20.0;
        let start = Instant::now();
        for _ in 0..20 {
            file.write_all(&[7; 4096]).expect("written");
            rustix::fs::fdatasync(file.as_fd()).expect("synced");
        }
        let syncs = start.elapsed().as_secs_f64() / 20.0;
        ours.push(intents);
        bare.push(syncs);
        ratios.push(intents / syncs);
    }
    let ratio = median(ratios);
    Row::new("a durable intent record")
        .ours(time(median(ours)))
        .peer(format!("{} (one fdatasync)", time(median(bare))))
        .ratio(format!("{ratio:.2}x"))
        .target("<= 1.7x", ratio <= 1.7)
}

/// Appends reads until they are durable; seconds for each.
fn append(runtime: &Runtime, store: &Store, from: u64, count: u64) -> f64 {
    let start = Instant::now();
    runtime.block_on(async {
        for n in from..from + count {
            store.append_read(record(Kind::Read, n)).await.expect("room");
        }
    });
    intent(runtime, store, from + count);
    start.elapsed().as_secs_f64() / count as f64
}

fn grown(runtime: &Runtime) -> Vec<Row> {
    let (young_folder, old_folder) = (scratch(), scratch());
    let ((young, _), (old, database)) = (store(young_folder.path()), store(old_folder.path()));
    append(runtime, &young, 0, YOUNG);
    append(runtime, &old, 0, GROWN);
    let bytes = {
        let connection = rusqlite::Connection::open_with_flags(&database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        let sum = "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)";
        let sum = connection.and_then(|connection| connection.query_row(sum, [], |row| row.get::<_, i64>(0)));
        sum.expect("the database's size").unsigned_abs()
    };
    let (mut ratios, mut times, mut at) = (Vec::new(), [Vec::new(), Vec::new()], GROWN + 1);
    for _ in 0..5 {
        let both = [append(runtime, &young, at, APPENDED), append(runtime, &old, at, APPENDED)];
        at += APPENDED + 1;
        ratios.push(both[1] / both[0]);
        times[0].push(both[0]);
        times[1].push(both[1]);
    }
    let [few, many] = times.map(median);
    let ratio = median(ratios);
    let start = Instant::now();
    let verified = runtime.block_on(old.verify()).expect("verified");
    let rate = verified.records as f64 / start.elapsed().as_secs_f64();
    assert!(verified.broken.is_none() && verified.records > GROWN, "{verified:?}");
    let mut slowest: f64 = 0.0;
    for skip_reads in [false, true] {
        for before in [None, Some(GROWN), Some(GROWN / 2), Some(GROWN / 10), Some(200)] {
            let start = Instant::now();
            runtime.block_on(old.tail(before, PAGE, skip_reads)).expect("a page");
            slowest = slowest.max(start.elapsed().as_secs_f64());
        }
    }
    let row = bytes / GROWN;
    vec![
        Row::new("a read record, amortised").ours(time(few)).target("<= 10 µs", few <= 1e-5),
        Row::new("its row, indexes included").ours(format!("{row} B")).target("<= 250 B", row <= 250),
        Row::new("the same in a journal of 10 million records")
            .ours(time(many))
            .peer(format!("{} (of 10,000)", time(few)))
            .ratio(format!("{ratio:.2}x"))
            .target("<= 1.2x", ratio <= 1.2),
        Row::new("checking that journal")
            .ours(format!("{:.2} M records/s", rate / 1e6))
            .target(">= 1 M records/s", rate >= 1e6),
        Row::new("the slowest page of its activity view").ours(time(slowest)).target("<= 50 ms", slowest <= 0.05),
    ]
}
