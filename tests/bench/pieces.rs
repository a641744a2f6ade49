//! Parts of the engine beside the bare library or system call that they stand on.

use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Instant;

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use latch_core::budget::Room;
use latch_core::call::Digest;
use latch_core::grant::{AuthorizationDetail, Grant, Preset};
use latch_core::guard::{Agent, Guard, Lifetimes, Loaded, Now};
use latch_core::journal::{Commit, Kind, Record};
use latch_core::operation::{Class, Meter, Objects, Operation};
use latch_core::pdp::{Pdp, Question};
use latch_core::time::Time;
use latch_daemon::home::Home;
use latch_daemon::seal::Key;
use latch_daemon::store::Store;
use tokio::runtime::Runtime;

use crate::{Row, median, time};

const ROUNDS: usize = 9;

/// All of them.
pub fn rows(runtime: &Runtime) -> Vec<Row> {
    let mut rows = tokens();
    rows.extend(decisions());
    rows.extend(journal(runtime));
    rows
}

/// Seconds per call.
fn each(times: u32, mut call: impl FnMut(u32)) -> f64 {
    let start = Instant::now();
    for n in 0..times {
        call(n);
    }
    start.elapsed().as_secs_f64() / f64::from(times)
}

const NOW: Now = Now { time: Time(1_000_000), wall: 1_790_000_000_000 };

fn guard() -> Guard {
    let agent = Agent {
        id: "claw".to_owned(),
        client_id: "latch-claw".to_owned(),
        name: "Claw".to_owned(),
        program: None,
        pairing: None,
        since: Time(0),
    };
    let loaded = Loaded { agents: vec![agent], grants: vec![grant(1)], ..Loaded::default() };
    Guard::new(Pdp::new("").expect("policies"), loaded, Lifetimes::default())
}

fn token(n: u32) -> Digest {
    Digest::of(&[&n.to_be_bytes()])
}

fn tokens() -> Vec<Row> {
    let mut guard = guard();
    let mut issued = 0;
    let issue = each(1_000, |n| {
        black_box(guard.issue("claw", token(n), None, None, NOW).expect("issued"));
        issued = n + 1;
    });
    let text = "l".repeat(48);
    let check = |guard: &Guard| {
        let times = (0..ROUNDS).map(|_| {
            each(20_000, |n| {
                // What the door does: hash the text, look it up.
                black_box(Digest::of(&[text.as_bytes()]));
                black_box(guard.authenticate(&token(n % 1_000), NOW).expect("live"));
            })
        });
        median(times.collect())
    };
    let few = check(&guard);
    for n in issued..100_000 {
        guard.issue("claw", token(n), None, None, NOW).expect("issued");
    }
    let many = check(&guard);
    vec![
        Row::new("token check, 1,000 live", time(few), "-", "-", "<= 1 µs"),
        Row::new("token check, 100,000 live", time(many), time(few), format!("{:.2}x", many / few), "<= 1.2x of few"),
        Row::new("token issue (in memory)", time(issue), "-", "-", "<= 5 µs"),
    ]
}

fn grant(n: u32) -> Grant {
    Grant {
        id: format!("g{n}"),
        agent: "claw".to_owned(),
        detail: AuthorizationDetail::new("mail", Preset::Organize),
        created_at: Time(0),
        expires_at: None,
    }
}

fn operation(class: Class) -> Operation {
    Operation {
        action: "gmail.users.messages.trash".to_owned(),
        class,
        verb: "Trash".to_owned(),
        objects: Objects::Listed { kind: "message".to_owned(), ids: vec!["m1".to_owned()] },
        meters: vec![if class == Class::Read { Meter::Read } else { Meter::Remove }],
        audience: None,
        facts: Vec::new(),
        undo: Some("labels".to_owned()),
        soften: None,
        content: Digest::of(&[]),
        opaque: false,
    }
}

/// One evaluation by Cedar alone, of this many policies.
fn bare_cedar(policies: usize) -> impl Fn() {
    let text: String = (0..policies)
        .map(|n| format!("permit(principal == Agent::\"a{n}\", action == Action::\"remove\", resource) when {{ context.within }};\n"))
        .collect();
    let set: PolicySet = text.parse().expect("policies");
    let uid = |text: &str| text.parse::<EntityUid>().expect("a uid");
    let context = Context::from_json_value(serde_json::json!({ "within": true }), None).expect("a context");
    let request =
        Request::new(uid("Agent::\"a1\""), uid("Action::\"remove\""), uid("Account::\"mail\""), context, None);
    let request = request.expect("a request");
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    move || {
        black_box(authorizer.is_authorized(&request, &set, &entities));
    }
}

fn decisions() -> Vec<Row> {
    let rules: String =
        (0..1_000).map(|n| format!("forbid(principal == Agent::\"other{n}\", action, resource);\n")).collect();
    let grants = [grant(1)];
    let plain = {
        let mut pdp = Pdp::new("").expect("policies");
        pdp.set_grants(&grants).expect("grants");
        pdp
    };
    let with_rules = Pdp::new(&rules).map(|mut pdp| {
        pdp.set_grants(&grants).expect("grants");
        pdp
    });
    let raw = bare_cedar(10);
    let decide = |pdp: &Pdp, operation: &Operation, grant: &Grant| {
        let question = Question {
            grant,
            narrowed: None,
            operation,
            room: Room::Within,
            known_recipients: true,
            places: None,
            now: NOW.time,
        };
        each(5_000, |_| {
            black_box(pdp.decide(&question));
        })
    };
    let (read, remove) = (operation(Class::Read), operation(Class::Remove));
    let mut ratios: [Vec<f64>; 3] = Default::default();
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        let cedar = each(5_000, |_| raw());
        let of = [
            decide(&plain, &remove, &grants[0]),
            decide(&plain, &read, &grants[0]),
            with_rules.as_ref().map_or(f64::NAN, |pdp| decide(pdp, &remove, &grants[0])),
        ];
        times[3].push(cedar);
        for (n, of) in of.into_iter().enumerate() {
            times[n].push(of);
            ratios[n].push(of / cedar);
        }
    }
    let [remove_ratio, read_ratio, rules_ratio] = ratios.map(median);
    let [remove, read, rules, cedar] = times.map(median);
    let cedar = format!("{} (cedar-policy, 10 policies)", time(cedar));
    vec![
        Row::new("one decision", time(remove), &cedar, format!("{remove_ratio:.2}x"), "<= 1.5x"),
        Row::new(
            "one decision with 1,000 rules of the person",
            time(rules),
            &cedar,
            format!("{rules_ratio:.2}x"),
            "<= 1.5x of 10",
        ),
        Row::new("one decision on a read", time(read), &cedar, format!("{read_ratio:.2}x"), "<= 1 µs"),
    ]
}

fn record(kind: Kind, n: u64) -> Record {
    Record {
        wall: 1_790_000_000_000 + n,
        time: Time(1_000_000 + n),
        kind,
        agent: Some("claw".to_owned()),
        account: Some("mail".to_owned()),
        action: Some("gmail.users.messages.trash".to_owned()),
        class: Some(Class::Remove),
        count: 1,
        text: "Trash 1 message".to_owned(),
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

fn journal(runtime: &Runtime) -> Vec<Row> {
    let folder = scratch();
    let home = Home::take(folder.path()).expect("a home");
    let database = home.database();
    let store = Store::open(&home, &Key::random().expect("a key")).expect("a store").store;
    let mut file = std::fs::File::create(folder.path().join("bare")).expect("a file");
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut n = 0;
    for _ in 0..ROUNDS * 2 {
        let intent = each(20, |_| {
            n += 1;
            let commit = Commit { records: vec![record(Kind::Intent, n)], ..Commit::default() };
            runtime.block_on(store.commit(commit)).expect("durable");
        });
        let sync = each(20, |_| {
            file.write_all(&[7; 4096]).expect("written");
            rustix::fs::fdatasync(file.as_fd()).expect("synced");
        });
        ours.push(intent);
        bare.push(sync);
        ratios.push(intent / sync);
    }
    let size = || {
        let log = database.with_extension("db-wal");
        [&database, &log].iter().filter_map(|path| std::fs::metadata(path).ok()).map(|meta| meta.len()).sum::<u64>()
    };
    let reads = 50_000;
    let start = Instant::now();
    runtime.block_on(async {
        for at in 0..reads {
            store.append_read(record(Kind::Read, n + at)).await.expect("room");
        }
    });
    let commit = Commit { records: vec![record(Kind::Intent, n + reads)], ..Commit::default() };
    runtime.block_on(store.commit(commit)).expect("durable");
    let read = start.elapsed().as_secs_f64() / reads as f64;
    let rows = reads + n + 1;
    let bytes = {
        let connection = rusqlite::Connection::open_with_flags(&database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
        connection
            .and_then(|connection| {
                connection
                    .query_row("SELECT sum(pgsize) FROM dbstat WHERE name = 'journal'", [], |row| row.get::<_, i64>(0))
            })
            .map_or_else(|_| size(), i64::unsigned_abs)
    };
    let start = Instant::now();
    let verified = runtime.block_on(store.verify()).expect("verified");
    let verify = rows as f64 / start.elapsed().as_secs_f64();
    assert!(verified.records >= rows, "{verified:?}");
    vec![
        Row::new(
            "a durable intent record",
            time(median(ours)),
            format!("{} (one fdatasync)", time(median(bare))),
            format!("{:.2}x", median(ratios)),
            "<= 1.7x",
        ),
        Row::new("a read record, amortised", time(read), "-", "-", "<= 10 µs"),
        Row::new("a row of the journal", format!("{} B", bytes / rows), "-", "-", "<= 250 B"),
        Row::new("journal verify", format!("{:.2} M rows/s", verify / 1e6), "-", "-", ">= 1 M rows/s"),
    ]
}
