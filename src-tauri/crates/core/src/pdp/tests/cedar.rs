//! The sliced and tabled decision against Cedar itself, given everything at once.

use std::collections::HashMap as Map;
use std::str::FromStr;
use std::sync::OnceLock;

use cedar_policy::{Authorizer, Context, Entities, PolicyId, PolicySet, Request, RestrictedExpression, Schema, SlotId};
use proptest::prelude::*;

use super::*;
use crate::policy::{FLOOR, GRANTS, SCHEMA, entity};

const AGENTS: [&str; 3] = ["claude", "other", "we\"ird\\id"];
const ACCOUNTS: [&str; 2] = ["work", "home"];

/// One question in plain words, and all that a rule could see.
#[derive(Debug, Clone)]
struct Case {
    agent: usize,
    account: usize,
    class: Class,
    within: bool,
    known: bool,
    named: bool,
    in_scope: bool,
    inbox: bool,
    undo: bool,
    opaque: bool,
    count: usize,
    recipients: Vec<String>,
}

fn case() -> impl Strategy<Value = Case> {
    let address = prop::sample::select(vec!["ann@example.org".to_owned(), "bob@example.org".to_owned()]);
    (
        (0..AGENTS.len(), 0..ACCOUNTS.len(), prop::sample::select(Class::ALL.to_vec())),
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.8),
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.1),
        ),
        1usize..10,
        prop::collection::vec(address, 0..3),
    )
        .prop_map(
            |((agent, account, class), (within, known, named, in_scope, inbox, undo, opaque), count, recipients)| {
                Case { agent, account, class, within, known, named, in_scope, inbox, undo, opaque, count, recipients }
            },
        )
}

fn rule(effects: &'static [&'static str]) -> impl Strategy<Value = String> {
    let pick = |list: &'static [&'static str]| prop::sample::select(list);
    let scope = (
        pick(&[
            "principal",
            "principal",
            "principal == Agent::\"claude\"",
            "principal in Agent::\"other\"",
            "principal is Agent",
        ]),
        pick(&[
            "action",
            "action == Action::\"remove\"",
            "action == Action::\"send\"",
            "action == Action::\"read\"",
            "action in Action::\"changes\"",
            "action in [Action::\"reaches\", Action::\"modify\"]",
            "action in [Action::\"divert\", Action::\"destroy\", Action::\"unclassified\"]",
        ]),
        pick(&["resource", "resource", "resource == Account::\"work\"", "resource is Account in Account::\"home\""]),
    );
    let term = pick(&[
        "true",
        "context.within_budget",
        "context.known_recipients",
        "context.named",
        "context.in_scope",
        "context.leaves_inbox",
        "context.undoable",
        "context.decoded",
        "context.confirmed",
        "context has confirmed",
        "context.operation like \"gmail.users.messages.*\"",
        "context.count > 4",
        "context.recipients.contains(\"ann@example.org\")",
        "context.recipients.isEmpty()",
        "context.count * 4611686018427387904 > 0",
        "(if context.within_budget then context.count > 2 else context.confirmed)",
        "{\"Var\": context}.Var.undoable",
        "principal == Agent::\"claude\"",
        "action == Action::\"send\"",
        "[context.count].contains(3)",
    ]);
    (
        pick(effects),
        scope,
        prop::option::of((prop::sample::select(vec!["when", "unless"]), term.clone(), pick(&["&&", "||"]), term)),
    )
        .prop_map(|(effect, (principal, action, resource), condition)| {
            let condition = condition.map_or(String::new(), |(word, left, operator, right)| {
                format!(" {word} {{ {left} {operator} {right} }}")
            });
            format!("{effect} ({principal}, {action}, {resource}){condition};")
        })
}

fn rules(effects: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(rule(effects), 0..6)
}

fn grants(presets: &[Preset], case: &Case) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (at, preset) in presets.iter().enumerate() {
        let (agent, account) = (AGENTS[at / ACCOUNTS.len()], ACCOUNTS[at % ACCOUNTS.len()]);
        let mut fields = serde_json::Map::new();
        if !case.in_scope {
            fields.insert("actions".to_owned(), json!([]));
        }
        if case.named && *preset != Preset::ReadOnly {
            fields.insert("named".to_owned(), json!([operation(case.class).action]));
        }
        let detail = AuthorizationDetail::for_grant(account, preset.name(), Some(&fields.into()), None).unwrap();
        grants.push(Grant {
            id: format!("g{at}"),
            agent: agent.to_owned(),
            detail,
            created_at: Time(0),
            expires_at: None,
        });
    }
    grants
}

fn asked(case: &Case) -> Operation {
    let base = operation(case.class);
    let member = |address: &String| Member { address: address.clone(), role: "to".to_owned() };
    Operation {
        meters: if case.inbox { vec![Meter::LeaveInbox] } else { Vec::new() },
        undo: case.undo.then(|| "labels".to_owned()),
        opaque: case.opaque,
        objects: Objects::Listed {
            kind: "message".to_owned(),
            ids: (0..case.count).map(|id| id.to_string()).collect(),
        },
        audience: Some(Audience { members: case.recipients.iter().map(member).collect(), place: None }),
        ..base
    }
}

fn sliced(pdp: &Pdp, grant: &Grant, case: &Case) -> Outcome {
    let operation = asked(case);
    let room = if case.within { Room::Within } else { OVER };
    let question = Question { room, known_recipients: case.known, ..question(grant, &operation) };
    pdp.decide(&question).outcome()
}

fn shipped() -> &'static (Schema, Entities, PolicySet) {
    static SHIPPED: OnceLock<(Schema, Entities, PolicySet)> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
        let entities = schema.action_entities().unwrap();
        (schema, entities, PolicySet::from_str(GRANTS).unwrap())
    })
}

/// Everything in one policy set.
fn everything(rules: &str, grants: &[Grant]) -> PolicySet {
    let mut set = PolicySet::new();
    for (prefix, text) in [("floor", FLOOR), ("rule", rules)] {
        for policy in PolicySet::from_str(text).unwrap().policies() {
            set.add(policy.new_id(PolicyId::new(format!("{prefix}{}", policy.id())))).unwrap();
        }
    }
    for template in shipped().2.templates() {
        let template_id = PolicyId::new(format!("t{}", template.id()));
        set.add_template(template.new_id(template_id.clone())).unwrap();
        for (at, grant) in grants.iter().enumerate() {
            if template.annotation("presets").unwrap().split(' ').any(|preset| preset == grant.preset().name()) {
                let slots = Map::from([
                    (SlotId::principal(), entity("Agent", &grant.agent).unwrap()),
                    (SlotId::resource(), entity("Account", grant.account()).unwrap()),
                ]);
                set.link(template_id.clone(), PolicyId::new(format!("{template_id}-{at}")), slots).unwrap();
            }
        }
    }
    set
}

/// The strictest of what Cedar says under this grant and under all that would set more flags.
fn reference(set: &PolicySet, grant: &Grant, case: &Case) -> Outcome {
    let named = grant.detail.names(&asked(case).action);
    let both = |now: bool| if now { vec![true] } else { vec![false, true] };
    let mut worst = Outcome::Permit;
    for within in both(case.within) {
        for named in both(named) {
            for in_scope in both(case.in_scope) {
                let case = Case { within, named, in_scope, ..case.clone() };
                worst = worst.max(cedar(set, grant, &case));
            }
        }
    }
    worst
}

/// Every context attribute, checked against the schema, no slicing and no table.
fn cedar(set: &PolicySet, grant: &Grant, case: &Case) -> Outcome {
    let (schema, entities, _) = shipped();
    let operation = asked(case);
    let flag = RestrictedExpression::new_bool;
    let votes = [false, true].map(|confirmed| {
        let recipients = case.recipients.iter().cloned().map(RestrictedExpression::new_string);
        let context = Context::from_pairs([
            ("confirmed".to_owned(), flag(confirmed)),
            ("within_budget".to_owned(), flag(case.within)),
            ("known_recipients".to_owned(), flag(case.known)),
            ("named".to_owned(), flag(case.named)),
            ("in_scope".to_owned(), flag(case.in_scope)),
            ("leaves_inbox".to_owned(), flag(case.inbox || case.class == Class::Remove)),
            ("undoable".to_owned(), flag(case.undo)),
            ("decoded".to_owned(), flag(!case.opaque)),
            ("operation".to_owned(), RestrictedExpression::new_string(operation.action.clone())),
            ("count".to_owned(), RestrictedExpression::new_long(i64::try_from(case.count).unwrap())),
            ("recipients".to_owned(), RestrictedExpression::new_set(recipients)),
        ])
        .unwrap();
        let (agent, account) = (entity("Agent", &grant.agent).unwrap(), entity("Account", grant.account()).unwrap());
        let request =
            Request::new(agent, entity("Action", case.class.name()).unwrap(), account, context, Some(schema)).unwrap();
        let response = Authorizer::new().is_authorized(&request, set, entities);
        let broken = response.diagnostics().errors().next().is_some();
        (!broken).then(|| response.decision() == cedar_policy::Decision::Allow)
    });
    match votes {
        [Some(true), _] => Outcome::Permit,
        [Some(false), Some(true)] => Outcome::Confirm,
        [None, _] | [Some(false), Some(false) | None] => Outcome::Forbid,
    }
}

fn presets() -> impl Strategy<Value = Vec<Preset>> {
    prop::collection::vec(prop::sample::select(Preset::ALL.to_vec()), AGENTS.len() * ACCOUNTS.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48.max(ProptestConfig::default().cases / 4), ..ProptestConfig::default() })]

    #[test]
    fn slices_and_tables_say_what_all_of_cedar_says(rules in rules(&["permit", "forbid"]), presets in presets(), cases in prop::collection::vec(case(), 1..30)) {
        let rules = rules.join("\n");
        let mut pdp = Pdp::new(&rules).unwrap();
        let links = grants(&presets, &cases[0]);
        pdp.set_grants(&links).unwrap();
        let set = everything(&rules, &links);
        for case in &cases {
            let grant = &grants(&presets, case)[case.agent * ACCOUNTS.len() + case.account];
            let expected = reference(&set, grant, case);
            prop_assert_eq!(sliced(&pdp, grant, case), expected, "{:?}", case);
            prop_assert_eq!(sliced(&pdp, grant, case), expected, "from the table: {:?}", case);
        }
    }

    /// I5: whatever the other rules are, one forbid more never permits more.
    #[test]
    fn i5_a_forbid_never_permits_more(rules in rules(&["permit", "forbid"]), forbid in rule(&["forbid"]), presets in presets(), cases in prop::collection::vec(case(), 1..12)) {
        let mut before = Pdp::new(&rules.join("\n")).unwrap();
        let mut after = Pdp::new(&format!("{}\n{forbid}", rules.join("\n"))).unwrap();
        for case in &cases {
            let grants = grants(&presets, case);
            before.set_grants(&grants).unwrap();
            after.set_grants(&grants).unwrap();
            let grant = &grants[case.agent * ACCOUNTS.len() + case.account];
            prop_assert!(sliced(&after, grant, case) >= sliced(&before, grant, case), "{:?}", case);
        }
    }

    /// I5: a narrower preset, scope or list of names never permits more, and an exchanged token never more than its grant.
    #[test]
    fn i5_narrowing_never_widens(presets in presets(), narrower in prop::sample::select(Preset::ALL.to_vec()), rules in rules(&["forbid"]), cases in prop::collection::vec(case(), 1..12)) {
        let mut pdp = Pdp::new(&rules.join("\n")).unwrap();
        for case in &cases {
            let at = case.agent * ACCOUNTS.len() + case.account;
            let wide = grants(&presets, &Case { in_scope: true, named: true, ..case.clone() });
            pdp.set_grants(&wide).unwrap();
            let before = sliced(&pdp, &wide[at], case);
            let operation = asked(case);
            let narrowed = grants(&[narrower; 6], case)[at].detail.clone();
            let room = if case.within { Room::Within } else { OVER };
            let child = Question { narrowed: Some(&narrowed), room, known_recipients: case.known, ..question(&wide[at], &operation) };
            prop_assert!(pdp.decide(&child).outcome() >= before, "{:?}", case);
            if narrower.within(presets[at]) {
                let mut less = wide.clone();
                less[at].detail = narrowed;
                pdp.set_grants(&less).unwrap();
                prop_assert!(sliced(&pdp, &less[at], case) >= before, "{:?}", case);
            }
        }
    }

    /// I5 with the flags themselves: whatever the rules are, a budget that is used up, a name or a scope less never permits more.
    #[test]
    fn i5_less_from_the_grant_never_permits_more(rules in rules(&["permit", "forbid"]), presets in presets(), cases in prop::collection::vec(case(), 1..12)) {
        let mut pdp = Pdp::new(&rules.join("\n")).unwrap();
        for case in &cases {
            let at = case.agent * ACCOUNTS.len() + case.account;
            let wide = Case { within: true, named: true, in_scope: true, ..case.clone() };
            let outcomes = [&wide, case].map(|case| {
                let grants = grants(&presets, case);
                pdp.set_grants(&grants).unwrap();
                sliced(&pdp, &grants[at], case)
            });
            prop_assert!(outcomes[1] >= outcomes[0], "{:?}", case);
        }
    }

    /// I6 and the rest of the floor: no rules and no grant make it run unasked.
    #[test]
    fn i6_the_floor_holds_whatever_the_rules_say(rules in rules(&["permit"]), presets in presets(), cases in prop::collection::vec(case(), 1..20)) {
        let mut pdp = Pdp::new(&format!("permit (principal, action, resource);\n{}", rules.join("\n"))).unwrap();
        for case in &cases {
            let grants = grants(&presets, case);
            pdp.set_grants(&grants).unwrap();
            let grant = &grants[case.agent * ACCOUNTS.len() + case.account];
            let outcome = sliced(&pdp, grant, case);
            if case.opaque || matches!(case.class, Class::Unclassified | Class::Destroy | Class::Divert | Class::Spend) {
                prop_assert_ne!(outcome, Outcome::Permit, "{:?}", case);
            }
            if matches!(case.class, Class::Divert | Class::Spend) && !grant.detail.names(&operation(case.class).action) {
                prop_assert_eq!(outcome, Outcome::Forbid, "{:?}", case);
            }
        }
    }
}
