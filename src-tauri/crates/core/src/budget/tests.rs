#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::call::Digest;
use crate::grant::{NEW_FOR, Preset};
use crate::operation::{Audience, Member};

const START: Time = Time(1_700_000_000_123);

fn grant(agent: &str, preset: Preset) -> Grant {
    Grant {
        id: format!("g-{agent}"),
        agent: agent.to_owned(),
        detail: AuthorizationDetail::new("work", preset),
        created_at: START - NEW_FOR,
        expires_at: None,
    }
}

fn room(meters: &Meters, grant: &Grant, counts: &[(Meter, u32)], now: Time) -> Room {
    meters.room(&Asked { grant, narrowed: None, agent_since: grant.created_at, counts, now })
}

fn run(meters: &mut Meters, grant: &Grant, counts: &[(Meter, u32)], now: Time) -> bool {
    let fits = room(meters, grant, counts, now) == Room::Within;
    if fits {
        charges(&grant.agent, grant.account(), counts, now).iter().for_each(|charge| meters.charge(charge));
    }
    fits
}

fn operation(class: Class, meters: &[Meter], ids: usize) -> Operation {
    Operation {
        action: "gmail.test".to_owned(),
        class,
        verb: "Test".to_owned(),
        objects: Objects::Listed { kind: "message".to_owned(), ids: (0..ids).map(|id| id.to_string()).collect() },
        meters: meters.to_vec(),
        audience: None,
        facts: Vec::new(),
        undo: None,
        soften: None,
        content: Digest::of(&[]),
        opaque: false,
    }
}

#[test]
fn a_request_over_what_is_left_is_over_as_a_whole() {
    let grant = grant("a", Preset::Organize);
    let mut meters = Meters::new();
    assert!(run(&mut meters, &grant, &[(Meter::Remove, 3)], START));
    assert_eq!(
        room(&meters, &grant, &[(Meter::Remove, 3)], START),
        Room::Over {
            meter: Meter::Remove,
            limit: 5,
            window: Window::TenMinutes,
            used: 3,
            asked: 3,
            reach: Reach::Agent
        }
    );
    assert!(run(&mut meters, &grant, &[(Meter::Remove, 2)], START));
    assert!(!run(&mut meters, &grant, &[(Meter::Remove, 1)], START));
}

#[test]
fn every_remove_leaves_inbox() {
    let grant = grant("a", Preset::Organize);
    let mut meters = Meters::new();
    assert!(run(&mut meters, &grant, &[(Meter::LeaveInbox, 18)], START));
    let over = room(&meters, &grant, &[(Meter::Remove, 3)], START);
    assert!(matches!(over, Room::Over { meter: Meter::LeaveInbox, limit: 20, used: 18, asked: 3, .. }), "{over:?}");
    assert!(run(&mut meters, &grant, &[(Meter::Remove, 2)], START));
    assert!(!run(&mut meters, &grant, &[(Meter::LeaveInbox, 1)], START));
    assert_eq!(meters.last_hour("a", START), [(Meter::LeaveInbox, 20), (Meter::Remove, 2)]);
}

#[test]
fn a_new_agent_has_half() {
    let grant = grant("a", Preset::Assistant);
    let meters = Meters::new();
    let asked = |count, agent_since| {
        meters.room(&Asked {
            grant: &grant,
            narrowed: None,
            agent_since,
            counts: &[(Meter::Remove, count)],
            now: START,
        })
    };
    assert_eq!(asked(3, START), Room::Within);
    assert!(matches!(asked(4, START), Room::Over { limit: 3, .. }));
    assert_eq!(asked(5, START - NEW_FOR), Room::Within);
}

#[test]
fn all_agents_of_an_account_share_twice_the_number() {
    let mut meters = Meters::new();
    for agent in ["a", "b"] {
        assert!(run(&mut meters, &grant(agent, Preset::Organize), &[(Meter::Remove, 5)], START));
    }
    let third = room(&meters, &grant("c", Preset::Organize), &[(Meter::Remove, 1)], START);
    assert!(matches!(third, Room::Over { limit: 10, used: 10, reach: Reach::Account, .. }), "{third:?}");
}

#[test]
fn a_narrowed_token_has_its_own_smaller_number_on_the_agents_meter() {
    let grant = grant("a", Preset::Organize);
    let budgets = [("remove".to_owned(), [1, 1])].into();
    let narrowed = AuthorizationDetail::for_grant("work", "organize", None, Some(&budgets)).unwrap();
    let mut meters = Meters::new();
    let asked = |meters: &Meters| {
        meters.room(&Asked {
            grant: &grant,
            narrowed: Some(&narrowed),
            agent_since: grant.created_at,
            counts: &[(Meter::Remove, 1)],
            now: START,
        })
    };
    assert_eq!(asked(&meters), Room::Within);
    assert!(run(&mut meters, &grant, &[(Meter::Remove, 1)], START));
    assert!(matches!(asked(&meters), Room::Over { limit: 1, used: 1, reach: Reach::Exchanged, .. }));
}

#[test]
fn a_meter_without_a_number_has_no_room() {
    let meters = Meters::new();
    for (preset, meter) in
        [(Preset::ReadOnly, Meter::Modify), (Preset::AskEverything, Meter::Remove), (Preset::Organize, Meter::Send)]
    {
        assert!(matches!(room(&meters, &grant("a", preset), &[(meter, 1)], START), Room::Over { limit: 0, .. }));
    }
    assert_eq!(room(&meters, &grant("a", Preset::ReadOnly), &[], START), Room::Within);
}

#[test]
fn counts_are_of_the_whole_request() {
    let send = Operation {
        audience: Some(Audience {
            members: ["a@x.org", "b@x.org"]
                .map(|address| Member { address: address.to_owned(), role: "to".to_owned() })
                .to_vec(),
            place: None,
        }),
        ..operation(Class::Send, &[Meter::Send], 0)
    };
    let within = Operation {
        objects: Objects::Within {
            kind: "message".to_owned(),
            container: "thread".to_owned(),
            ids: vec!["t".to_owned()],
        },
        ..operation(Class::Remove, &[Meter::Remove, Meter::LeaveInbox], 0)
    };
    let check = |operations: &[Operation], expected: &[(Meter, u32)]| assert_eq!(counts(operations), expected);
    let remove = operation(Class::Remove, &[Meter::Remove, Meter::LeaveInbox], 2);
    check(&[remove.clone(), remove.clone()], &[(Meter::Remove, 4), (Meter::LeaveInbox, 4)]);
    check(&[operation(Class::Remove, &[], 2)], &[(Meter::Remove, 2), (Meter::LeaveInbox, 2)]);
    check(&[operation(Class::Modify, &[], 0)], &[(Meter::Modify, 1)]);
    check(&[operation(Class::Modify, &[Meter::LeaveInbox], 3)], &[(Meter::LeaveInbox, 3)]);
    check(&[send], &[(Meter::Send, 2)]);
    check(&[within], &[(Meter::Remove, u32::MAX), (Meter::LeaveInbox, u32::MAX)]);
    check(&[operation(Class::Read, &[], 5)], &[]);
}

#[test]
fn ten_minutes_later_there_is_room_again_until_the_day_is_used_up() {
    let grant = grant("a", Preset::Organize);
    let mut meters = Meters::new();
    let mut now = START;
    for _ in 0..10 {
        assert!(run(&mut meters, &grant, &[(Meter::Remove, 5)], now));
        assert!(
            !run(&mut meters, &grant, &[(Meter::Remove, 1)], now + Window::TenMinutes.span()),
            "counts until its bucket has left"
        );
        now = now + Window::TenMinutes.span() + Window::TenMinutes.bucket();
    }
    let over = room(&meters, &grant, &[(Meter::Remove, 1)], now);
    assert!(matches!(over, Room::Over { limit: 50, used: 50, window: Window::Day, .. }), "{over:?}");
    assert!(run(&mut meters, &grant, &[(Meter::Remove, 5)], START + Window::Day.span() + Window::Day.bucket()));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut meters = Meters::new();
    let step = Span(700);
    let mut now = START;
    for _ in 0..200_000 {
        meters.charge(&Charge { agent: "a".into(), account: "work".into(), meter: Meter::Read, time: now, count: 1 });
        now = now + step;
    }
    let gauge = &meters.accounts["work"].0[&Meter::Read];
    assert!(gauge.ten_minutes.buckets.len() <= 122, "{}", gauge.ten_minutes.buckets.len());
    assert!(gauge.day.buckets.len() <= 1_442, "{}", gauge.day.buckets.len());
    meters.prune(now + Span::days(2));
    assert!(meters.accounts.is_empty() && meters.agents.is_empty());
}

proptest! {
    /// I10: however a number of objects is cut into requests, as many run as in one count, and a restart forgets nothing.
    #[test]
    fn cutting_a_request_into_pieces_wins_nothing(pieces in prop::collection::vec(1u32..8, 1..120), gaps in prop::collection::vec(0u64..4_000, 120), restarts in prop::collection::vec(any::<bool>(), 120)) {
        let grant = grant("a", Preset::Organize);
        let mut meters = Meters::new();
        let mut log: Vec<Charge> = Vec::new();
        let mut now = START;
        for ((piece, gap), restart) in pieces.iter().zip(gaps).zip(restarts) {
            now = now + Span(gap);
            if restart {
                meters = Meters::load(log.iter().rev().cloned());
            }
            if room(&meters, &grant, &[(Meter::Remove, *piece)], now) == Room::Within {
                for charge in charges("a", "work", &[(Meter::Remove, *piece)], now) {
                    meters.charge(&charge);
                    log.push(charge);
                }
            }
            for (window, limit) in [(Window::TenMinutes, 5), (Window::Day, 50)] {
                let exact: u32 = log.iter().filter(|charge| charge.meter == Meter::Remove && charge.time + window.span() > now).map(|charge| charge.count).sum();
                prop_assert!(exact <= limit, "{exact} in {window:?}");
                let used = meters.agents.get("a").map_or(0, |accounts| accounts["work"].used(Meter::Remove, window, now));
                prop_assert!(used >= u64::from(exact), "never too short");
            }
        }
    }
}
