#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::call::Digest;
use crate::operation::{Class, Objects, Operation};

const ACTIONS: [&str; 6] = [
    "gmail.users.messages.list",
    "gmail.users.messages.trash",
    "gmail.users.messages.send",
    "gmail.users.threads.trash",
    "gmail.users.settings.filters.create",
    "gmail.users.settings.updateImap",
];
const PATTERNS: [&str; 7] = [
    "gmail.*",
    "gmail.users.*",
    "gmail.users.messages.*",
    "gmail.users.messages.trash",
    "gmail.users.threads.trash",
    "gmail.users.settings.*",
    "gmail.users.settings.filters.create",
];
const PLACES: [&str; 3] = ["https://inbox.example", "https://work.example", "https://archive.example"];

fn operation(action: &str, class: Class) -> Operation {
    Operation {
        action: action.to_owned(),
        class,
        verb: "Test".to_owned(),
        objects: Objects::None,
        meters: Vec::new(),
        audience: None,
        facts: Vec::new(),
        undo: None,
        soften: None,
        content: Digest::of(&[]),
        opaque: false,
    }
}

fn subset(from: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::sample::select(from), 0..3).prop_map(|items| json!(items))
}

fn numbers() -> impl Strategy<Value = Value> {
    let meters = prop::sample::select(vec!["read", "modify", "leave-inbox", "remove", "send"]);
    prop::collection::btree_map(meters, (0u32..600, 0u32..6_000), 0..3).prop_map(|budgets| json!(budgets))
}

/// Details as anybody could send them: some are no details, and some exceed their parent.
fn detail() -> impl Strategy<Value = Value> {
    let classes = prop::collection::vec(prop::sample::select(Class::ALL.map(Class::name).to_vec()), 0..6)
        .prop_map(|items| json!(items));
    (
        prop::sample::select(vec!["work", "home"]),
        prop::sample::select(vec!["read-only", "organize", "assistant", "assistant", "assistant", "ask-everything"]),
        prop::option::of(subset(&PATTERNS)),
        prop::option::weighted(0.3, classes),
        prop::option::weighted(0.2, subset(&PLACES)),
        prop::option::weighted(
            0.3,
            subset(&["gmail.users.settings.filters.create", "gmail.users.settings.updateImap"]),
        ),
        prop::option::weighted(0.4, numbers()),
    )
        .prop_map(|(account, preset, actions, classes, locations, named, budgets)| {
            let mut detail = json!({"type": "latchstring_account", "account": account, "preset": preset});
            for (field, value) in [
                ("actions", actions),
                ("classes", classes),
                ("locations", locations),
                ("named", named),
                ("budgets", budgets),
            ] {
                if let Some(value) = value {
                    detail[field] = value;
                }
            }
            detail
        })
}

fn exceeds(child: &Authority, parent: &Authority) -> Option<String> {
    exceeds_somewhere(child, parent, 0, 1)
}

/// The same, looking at every `step`-th combination of action, Class and places from the `first` on, and at all numbers and names.
fn exceeds_somewhere(child: &Authority, parent: &Authority, first: usize, step: usize) -> Option<String> {
    if child.expires_at > parent.expires_at {
        return Some("lives longer".to_owned());
    }
    for detail in &child.details {
        let Some(above) = parent.detail(detail.account()) else { return Some(format!("reaches {}", detail.account())) };
        if !detail.preset().within(above.preset()) {
            return Some(format!("{} in {}", detail.preset(), above.preset()));
        }
        for (meter, since) in Meter::ALL.into_iter().flat_map(|meter| [(meter, Time(0)), (meter, Time(u64::MAX / 2))]) {
            let now = Time(u64::MAX / 2);
            let most = above.budget_for(meter, since, now).unwrap_or(Budget::new(0, 0));
            let own = detail.budget(meter).unwrap_or(Budget::new(0, 0));
            let effective = Budget::new(own.ten_minutes.min(most.ten_minutes), own.day.min(most.day));
            if since == Time(0) && !own.within(most) || !effective.within(most) {
                return Some(format!("{} {own:?} of {most:?}", meter.name()));
            }
        }
        if let Some(action) = ACTIONS.into_iter().find(|action| detail.names(action) && !above.names(action)) {
            return Some(format!("names {action}"));
        }
        for (operation, places) in COMBINATIONS.iter().skip(first).step_by(step) {
            if detail.covers(operation, places.as_deref()) && !above.covers(operation, places.as_deref()) {
                return Some(format!("covers {} as {} in {places:?}", operation.action, operation.class.name()));
            }
        }
    }
    None
}

/// Every action as every Class in some places.
static COMBINATIONS: std::sync::LazyLock<Vec<(Operation, Option<Vec<String>>)>> = std::sync::LazyLock::new(|| {
    let places =
        [None, Some(vec![]), Some(vec!["https://inbox.example".to_owned()]), Some(PLACES.map(str::to_owned).to_vec())];
    let of = |action: &'static str| Class::ALL.map(|class| operation(action, class));
    let operations: Vec<Operation> = ACTIONS.into_iter().flat_map(of).collect();
    operations.into_iter().flat_map(|one| places.clone().map(|places| (one.clone(), places))).collect()
});

/// ATTACKS 14, 100,000 times: requests drawn from a pool, each link looked at in another place, the last one held against the first in all.
fn chains(seed: u8, count: usize) {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = detail();
    let mut pool = Vec::new();
    while pool.len() < 1_500 {
        let value = strategy.new_tree(&mut runner).unwrap().current();
        pool.extend(AuthorizationDetail::parse(&json!([value])).into_iter().flatten());
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(seed) << 17);
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let (mut links, mut refused) = (0, 0);
    for chain in 0..count {
        let home = AuthorizationDetail::new("home", Preset::Assistant);
        let work =
            pool.iter().cycle().skip(draw(pool.len())).find(|detail| detail.account() == "work").unwrap().clone();
        let first = Authority { details: vec![work, home], expires_at: Time(100) };
        let mut parent = first.clone();
        for _ in 0..2 + draw(6) {
            // Mostly something that the parent has a part of; a chain of refusals shows nothing.
            let requested: Vec<AuthorizationDetail> =
                (0..1 + draw(2)).map(|_| pool[draw(pool.len())].clone()).collect();
            let Ok(details) = narrow(&parent.details, &requested) else {
                refused += 1;
                continue;
            };
            let child = Authority { details, expires_at: parent.expires_at.min(Time(50 + draw(100) as u64)) };
            assert_eq!(
                exceeds_somewhere(&child, &parent, draw(24), 24),
                None,
                "chain {chain}: {child:?} of {parent:?}"
            );
            links += 1;
            parent = child;
        }
        if chain % 8 == 0 {
            assert_eq!(exceeds(&parent, &first), None, "chain {chain}: {parent:?} of {first:?}");
        }
    }
    assert!(links > count / 4 && refused > count / 4, "{links} links, {refused} refused");
}

#[test]
fn a14_a_hundred_thousand_chains_first_half() {
    chains(14, 50_000);
}

#[test]
fn a14_a_hundred_thousand_chains_second_half() {
    chains(41, 50_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

    /// ATTACKS 14: no link of any chain exceeds the one before.
    #[test]
    fn a14_a_child_never_exceeds_its_parent(first in detail(), chain in prop::collection::vec((prop::collection::vec(detail(), 0..3), 0u64..100), 1..25)) {
        let Ok(mut details) = AuthorizationDetail::parse(&json!([first])) else { return Ok(()) };
        details.push(AuthorizationDetail::new(if details[0].account() == "work" { "home" } else { "work" }, Preset::Assistant));
        let mut parent = Authority { details, expires_at: Time(100) };
        for (requested, lifetime) in chain {
            let Ok(child) = parent.exchange(Some(&json!(requested)), Span(lifetime), Time(50)) else { continue };
            prop_assert_eq!(exceeds(&child, &parent), None);
            parent = child;
        }
    }
}

fn parent() -> Authority {
    let home = json!({"actions": ["gmail.users.messages.*"], "classes": ["read", "modify", "remove"], "locations": ["https://inbox.example"]});
    let budgets = [("remove".to_owned(), [2, 9])].into();
    Authority {
        details: vec![
            AuthorizationDetail::for_grant("home", "organize", Some(&home), Some(&budgets)).unwrap(),
            AuthorizationDetail::new("ask", Preset::AskEverything),
        ],
        expires_at: Time(1_000),
    }
}

fn asked(detail: Value) -> Result<Authority, ExchangeError> {
    parent().exchange(Some(&json!([detail])), Span(100), Time(0))
}

#[test]
fn what_a_request_leaves_open_is_the_parents() {
    let child = asked(json!({"type": "latchstring_account", "account": "home", "preset": "organize"})).unwrap();
    assert_eq!(child.details, parent().details[..1]);
    assert_eq!(child.expires_at, Time(100));
    let same = parent().exchange(None, Span(5_000), Time(0)).unwrap();
    assert_eq!(same, parent(), "no longer than the parent");
}

#[test]
fn asking_for_more_is_refused_in_words() {
    let of = |fields: Value| {
        let mut detail = json!({"type": "latchstring_account", "account": "home", "preset": "organize"});
        detail.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        asked(detail).unwrap_err().to_string()
    };
    let all = [
        of(json!({"account": "bank"})),
        of(json!({"preset": "assistant"})),
        of(json!({"account": "ask", "preset": "organize"})),
        of(json!({"actions": ["gmail.users.*"]})),
        of(json!({"classes": ["read", "send"]})),
        of(json!({"locations": ["https://work.example"]})),
        of(json!({"named": ["gmail.users.settings.updateImap"]})),
        of(json!({"budgets": {"remove": [3, 3]}})),
        of(json!({"budgets": {"leave-inbox": [20, 201]}})),
        parent().exchange(Some(&json!([])), Span(1), Time(0)).unwrap_err().to_string(),
        parent().exchange(None, Span(1), Time(1_000)).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    the token is not good for the account `bank`; ask for one of its own accounts
    on `home` the token has the preset organize, which assistant is not part of; ask for organize or read-only
    on `ask` the token has the preset ask-everything, which organize is not part of; ask for ask-everything or read-only
    on `home` the token does not include gmail.users.*; ask for less
    on `home` the token does not include the class send; ask for less
    on `home` the token does not include the location https://work.example; ask for less
    on `home` the token does not include the named action gmail.users.settings.updateImap; ask for less
    on `home` the token does not include a larger number for the meter remove; ask for less
    on `home` the token does not include a larger number for the meter leave-inbox; ask for less
    no authorization detail was asked for; leave the parameter out for all that the token may do
    the token has expired; get a new one first
    ");
}

#[test]
fn a_child_reaches_no_mailbox_that_its_parent_does_not() {
    let detail = |mailboxes: Value| json!({"type": "latchstring_account", "account": "home", "preset": "organize", "mailboxes": mailboxes});
    let parent = AuthorizationDetail::parse(&detail(json!(["INBOX", "Work"]))).unwrap();
    let asked = |mailboxes: Value| narrow(&parent, &AuthorizationDetail::parse(&detail(mailboxes)).unwrap());
    assert!(asked(json!(["work"])).is_err() && asked(json!(["INBOX", "Trash"])).is_err());
    assert!(asked(json!(["INBOX"])).unwrap()[0].admits("INBOX"));
    let open = json!({"type": "latchstring_account", "account": "home", "preset": "organize"});
    let child = narrow(&parent, &AuthorizationDetail::parse(&open).unwrap()).unwrap();
    assert!(child[0].admits("Work") && !child[0].admits("Trash"));
}
