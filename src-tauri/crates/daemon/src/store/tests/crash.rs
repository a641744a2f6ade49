//! ATTACKS 35: the process really dies, at each point, and the next start finds a call made at most once and never without its record.

use std::process::Command;

use super::*;
use crate::fail;

const HOME: &str = "LATCHSTRING_TEST_CRASH_HOME";
const KEY: [u8; 32] = [7; 32];

fn key() -> Key {
    Key::from_bytes(zeroize::Zeroizing::new(KEY))
}

/// The process that dies: an intent, the call (a file), an outcome; nothing unless started by the test below.
#[test]
fn child() {
    let Ok(home) = std::env::var(HOME) else { return };
    let store = Store::open(&Home::take(Path::new(&home)).unwrap(), &key()).unwrap().store;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for n in 0..3 {
            store.append_read(read()).await.unwrap();
            fail::point("before-intent");
            let seq = store.commit(records(vec![record(Kind::Intent, "Trash 1 message")])).await.unwrap().seq;
            fail::point("after-intent");
            std::fs::write(Path::new(&home).join(format!("call-{n}")), seq.to_string()).unwrap();
            fail::point("before-outcome");
            let outcome = Record { refers: Some(seq), ..record(Kind::Outcome, "Trashed 1 message") };
            store.commit(records(vec![outcome])).await.unwrap();
        }
    });
    std::process::exit(3);
}

#[test]
fn killed_at_every_point_no_call_is_without_its_record() {
    // Which intents are open, and how many calls were made, after dying there.
    let cases = [
        ("before-intent", 0, 0),
        ("after-intent", 1, 0),
        ("before-outcome", 1, 1),
        ("before-intent:2", 0, 1),
        ("after-intent:3", 1, 2),
        ("before-outcome:3", 1, 3),
        ("in-transaction", 0, 0),
        ("in-transaction:2", 1, 1),
        ("in-transaction:3", 0, 1),
        ("after-commit", 1, 0),
        ("after-commit:2", 0, 1),
        ("nowhere", 0, 3),
    ];
    for (point, open, made) in cases {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::child", "--test-threads=1"])
            .env(HOME, folder.path())
            .env("LATCHSTRING_FAILPOINT", point)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), (point == "nowhere").then_some(3), "{point}: {status}");
        let rig = Rig { folder, key: key() };
        let Opened { store, loaded } = rig.open();
        assert_eq!(loaded.alarms, Vec::<String>::new(), "{point}");
        assert_eq!(loaded.open_intents.len(), open, "{point}");
        let calls: Vec<u64> = (0..3)
            .filter_map(|n| std::fs::read_to_string(rig.path().join(format!("call-{n}"))).ok())
            .map(|seq| seq.parse().unwrap())
            .collect();
        assert_eq!(calls.len(), made, "{point}");
        for seq in calls {
            let intent = store.hash_at(seq).unwrap();
            assert!(intent.is_some(), "{point}: the call of record {seq} has no record");
        }
        assert_eq!(verify::verify_now(&rig.database(), &rig.key).unwrap().broken, None, "{point}");
    }
}
