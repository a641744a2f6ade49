//! Parts of the engine beside the bare library that they stand on.

use std::hint::black_box;
use std::time::Instant;

use cedar_policy::{Authorizer, Context, Entities, EntityUid, PolicySet, Request};
use latch_core::budget::Room;
use latch_core::call::Digest;
use latch_core::grant::{AuthorizationDetail, Grant, Preset};
use latch_core::guard::{Agent, Guard, Lifetimes, Loaded, Now};
use latch_core::operation::{Class, Meter, Objects, Operation};
use latch_core::pdp::{Pdp, Question};
use latch_core::time::Time;

use crate::table::{Row, median, time};

const ROUNDS: usize = 9;

/// All of them.
pub fn rows() -> Vec<Row> {
    let mut rows = tokens();
    rows.extend(decisions());
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

/// Tokens are spread over so many agents.
const AGENTS: u32 = 2_000;

fn guard() -> Guard {
    let agents = (0..AGENTS).map(|n| Agent {
        id: format!("claw{n}"),
        client_id: format!("latch-claw{n}"),
        name: "Claw".to_owned(),
        program: None,
        pairing: None,
        since: Time(0),
    });
    let loaded = Loaded { agents: agents.collect(), grants: vec![grant(1)], ..Loaded::default() };
    Guard::new(Pdp::new("").expect("policies"), loaded, Lifetimes::default())
}

/// A guard with so many live tokens, and the seconds that one issue took.
fn issued(count: u32) -> (Guard, Vec<Digest>, f64) {
    let mut guard = guard();
    let agents: Vec<String> = (0..AGENTS).map(|n| format!("claw{n}")).collect();
    let tokens: Vec<Digest> = (0..count).map(|n| Digest::of(&[&n.to_be_bytes()])).collect();
    let seconds = each(count, |n| {
        let agent = &agents[(n % AGENTS) as usize];
        black_box(guard.issue(agent, tokens[n as usize], None, None, NOW).expect("issued"));
    });
    (guard, tokens, seconds)
}

fn tokens() -> Vec<Row> {
    let (few, few_tokens, issue_few) = issued(1_000);
    let (many, many_tokens, issue_many) = issued(100_000);
    let text = "l".repeat(43);
    let check = |guard: &Guard, tokens: &[Digest]| {
        each(20_000, |n| {
            // What the door does: hash the text, look it up. Not in order, so that nothing is at hand by chance.
            black_box(Digest::of(&[text.as_bytes()]));
            let token = &tokens[n.wrapping_mul(2_654_435_761) as usize % tokens.len()];
            black_box(guard.authenticate(token, NOW).expect("live"));
        })
    };
    let (mut ratios, mut times) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        let both = [check(&few, &few_tokens), check(&many, &many_tokens)];
        ratios.push(both[1] / both[0]);
        times[0].push(both[0]);
        times[1].push(both[1]);
    }
    let [few, many] = times.map(median);
    let ratio = median(ratios);
    vec![
        Row::new("token check, 1,000 live").ours(time(few)).target("<= 1 µs", few <= 1e-6),
        Row::new("token check, 100,000 live")
            .ours(time(many))
            .peer(format!("{} (1,000 live)", time(few)))
            .ratio(format!("{ratio:.2}x"))
            .target("<= 1.2x", ratio <= 1.2),
        Row::new("token issue, without its record").ours(time(issue_few)).target("<= 5 µs", issue_few <= 5e-6),
        Row::new("token issue on the way to 100,000")
            .ours(time(issue_many))
            .peer(format!("{} (on the way to 1,000)", time(issue_few)))
            .target("<= 5 µs", issue_many <= 5e-6),
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
    let bare = format!("{} (cedar-policy alone, 10 policies)", time(cedar));
    vec![
        Row::new("one decision")
            .ours(time(remove))
            .peer(&bare)
            .ratio(format!("{remove_ratio:.2}x"))
            .target("<= 1.5x", remove_ratio <= 1.5),
        Row::new("one decision with 1,000 rules of the person's")
            .ours(time(rules))
            .peer(&bare)
            .ratio(format!("{rules_ratio:.2}x"))
            .target("<= 1.5x", rules_ratio <= 1.5),
        Row::new("one decision on a read")
            .ours(time(read))
            .peer(&bare)
            .ratio(format!("{read_ratio:.3}x"))
            .target("<= 1 µs", read <= 1e-6),
    ]
}
