//! The invariants I1 to I11, after every step of thousands of random runs: the Guard with its commits, its clock and a mailbox behind it, against a
//! reference that knows only the design's tables.
//!
//! ```text
//!   Step ──> World { Guard, Disk, Vault, Mailboxes }  ──> check
//!              └── Reference: who may do what unasked, who was asked, what is spent
//! ```
//! The runs start from committed seeds and are the same every time; `LATCHSTRING_MODEL_RUNS` makes more of them. A failing run is shrunk and printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod disk;
mod mailbox;
mod reference;
mod steps;
mod upstream;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use latch_core::grant::Preset;
use latch_core::operation::Class;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::steps::{Answer, Kill, Step};
use crate::world::World;

/// Each starts `RUNS` runs.
const SEEDS: [u8; 8] = [3, 17, 29, 42, 71, 113, 202, 251];
const RUNS: u32 = 10;
const STEPS: usize = 260;

fn step() -> impl Strategy<Value = Step> {
    let agent = || 0usize..2;
    let preset = || {
        let all = [Preset::ReadOnly, Preset::Organize, Preset::Assistant, Preset::Assistant, Preset::AskEverything];
        prop::sample::select(all.to_vec())
    };
    let kill =
        || prop_oneof![24 => Just(Kill::No), 1 => Just(Kill::Before), 1 => Just(Kill::After), 1 => Just(Kill::Sent)];
    let answers = vec![
        Answer::Allow,
        Answer::Allow,
        Answer::AllowTask,
        Answer::AllowTask,
        Answer::AllowTask,
        Answer::AllowPart,
        Answer::AllowForever,
        Answer::ByNotification,
        Answer::Deny,
        Answer::Deny,
        Answer::Deny,
        Answer::WrongDigest,
        Answer::OtherObjects,
    ];
    let seconds = prop_oneof![6 => 0u64..10, 3 => 10u64..400, 1 => 400u64..4_000, 1 => 4_000u64..200_000];
    let wishes: Vec<usize> = (0..13).chain([1, 2, 3, 3, 3, 4, 4, 4, 5]).collect();
    let labels = vec!["INBOX", "TRASH", "STARRED", "UNREAD"];
    prop_oneof![
        6 => (agent(), prop::option::weighted(0.2, preset())).prop_map(|(agent, narrowed)| Step::Issue { agent, narrowed }),
        2 => (any::<prop::sample::Index>(), prop::option::of(preset()), 0u64..1_000)
            .prop_map(|(token, preset, seconds)| Step::Exchange { token: token.index(1_000), preset, seconds }),
        40 => (0usize..1_000, 0usize..2, prop::sample::select(wishes.clone()), 0u8..10, 1u8..7)
            .prop_map(|(token, account, wish, first, count)| Step::Ask { token, account, wish, first, count }),
        10 => (0usize..1_000, 0usize..1_000, 0usize..1_000, 0usize..4)
            .prop_map(|(allowance, token, object, wish)| Step::Again { allowance, token, object, wish }),
        14 => (0usize..1_000).prop_map(|hold| Step::Prepare { hold }),
        14 => (0usize..1_000, prop::sample::select(answers)).prop_map(|(hold, answer)| Step::Decide { hold, answer }),
        12 => (0usize..1_000).prop_map(|hold| Step::Take { hold }),
        40 => (0usize..1_000, kill()).prop_map(|(flight, kill)| Step::Send { flight, kill }),
        2 => (0usize..1_000, any::<bool>()).prop_map(|(hold, waits)| Step::Line { hold, waits }),
        12 => (seconds, prop::bool::weighted(0.3)).prop_map(|(seconds, quietly)| Step::Wait { seconds, quietly }),
        1 => (1u64..20_000).prop_map(|hours| Step::WallBack { hours }),
        1 => kill().prop_map(|kill| Step::Panic { kill }),
        8 => (prop::option::of(agent()), preset()).prop_map(|(agent, preset)| Step::Resume { agent, preset }),
        1 => Just(Step::Crash),
        3 => (agent(), agent(), preset(), prop::option::weighted(0.3, 0u64..2_000))
            .prop_map(|(agent, account, preset, life)| Step::Grant { agent, account, preset, life }),
        1 => (agent(), agent()).prop_map(|(agent, account)| Step::RevokeGrant { agent, account }),
        1 => (prop::collection::vec(prop::sample::select(Class::ALL.to_vec()), 0..2), prop::bool::weighted(0.1))
            .prop_map(|(forbidden, generous)| Step::Rules { forbidden, generous }),
        6 => (0usize..1_000).prop_map(|done| Step::Undo { done }),
        6 => (agent(), 0u8..24, prop::sample::select(labels))
            .prop_map(|(account, message, label)| Step::Outside { account, message, label }),
        1 => Just(Step::Remember),
        1 => Just(Step::OlderCopy),
    ]
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[test]
fn the_invariants_hold_after_every_step() {
    let runs = std::env::var("LATCHSTRING_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let mut tally: BTreeMap<&'static str, u64> = BTreeMap::new();
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let failed = SEEDS.into_iter().find_map(|seed| run(seed, runs, &mut tally).err());
    std::panic::set_hook(loud);
    assert_eq!(failed, None);
    for what in [
        "token",
        "exchange",
        "unasked",
        "by allowance",
        "held",
        "forbidden",
        "allowed",
        "denied",
        "answer refused",
        "taken",
        "sent",
        "undone",
        "panic",
        "crash",
        "lease kept",
        "older copy",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count > 0), "the runs never came to {what:?}: {tally:?}");
    }
}

fn run(seed: u8, runs: u32, tally: &mut BTreeMap<&'static str, u64>) -> Result<(), String> {
    let config = Config { cases: runs, failure_persistence: None, max_shrink_iters: 800, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let tally = std::cell::RefCell::new(tally);
    let result = TestRunner::new_with_rng(config, rng).run(&prop::collection::vec(step(), STEPS / 2..STEPS), |steps| {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new();
            steps.iter().for_each(|step| world.step(step));
            world.wind_down();
            world.tally
        }));
        let counted = run.map_err(|panic| TestCaseError::fail(words(panic.as_ref())))?;
        let mut tally = tally.borrow_mut();
        counted.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count);
        Ok(())
    });
    result.map_err(|error| format!("seed {seed}: {error}"))
}
