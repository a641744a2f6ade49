#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;

use super::*;

#[test]
fn the_table_of_numbers_is_the_designs() {
    use Meter::{LeaveInbox, Modify, Read, Remove, Send};
    let numbers = |preset: Preset| {
        [Read, Modify, LeaveInbox, Remove, Send].map(|meter| preset.budget(meter).map(<[u32; 2]>::from))
    };
    let read = Some([500, 5_000]);
    let tidy = [Some([200, 2_000]), Some([20, 200]), Some([5, 50])];
    assert_eq!(numbers(Preset::ReadOnly), [read, None, None, None, None]);
    assert_eq!(numbers(Preset::Organize), [read, tidy[0], tidy[1], tidy[2], None]);
    assert_eq!(numbers(Preset::Assistant), [read, tidy[0], tidy[1], tidy[2], Some([5, 20])]);
    assert_eq!(numbers(Preset::AskEverything), [read, None, None, None, None]);
}

#[test]
fn a_new_agent_has_half_for_a_week_rounded_up() {
    let detail = AuthorizationDetail::new("work", Preset::Organize);
    let since = Time(1_000);
    let at = |meter, now| <[u32; 2]>::from(detail.budget_for(meter, since, now).unwrap());
    let last = since + NEW_FOR - Span(1);
    assert_eq!(at(Meter::Remove, last), [3, 25]);
    assert_eq!(at(Meter::LeaveInbox, last), [10, 100]);
    assert_eq!(at(Meter::Modify, last), [200, 2_000]);
    assert_eq!(at(Meter::Remove, since + NEW_FOR), [5, 50]);
}

#[test]
fn a_number_of_the_person_is_taken_as_it_is() {
    let budgets = BTreeMap::from([("remove".to_owned(), [7, 9])]);
    let detail = AuthorizationDetail::for_grant("work", "organize", None, Some(&budgets)).unwrap();
    assert_eq!(detail.budget_for(Meter::Remove, Time(0), Time(1)), Some(Budget::new(7, 9)));
    assert_eq!(detail.budget_for(Meter::LeaveInbox, Time(0), Time(1)), Some(Budget::new(10, 100)));
}

#[test]
fn a_detail_survives_its_json() {
    let json = json!({
        "type": "latchstring_account", "account": "work", "preset": "assistant",
        "actions": ["gmail.users.messages.*", "gmail.users.settings.filters.create"],
        "classes": ["read", "divert"], "locations": ["https://inbox.example"],
        "named": ["gmail.users.settings.filters.create"], "budgets": {"leave-inbox": [1, 2]},
    });
    let parsed = AuthorizationDetail::parse(&json!([json])).unwrap();
    assert_eq!(parsed.len(), 1);
    assert_eq!(serde_json::to_value(&parsed[0]).unwrap(), json);
    insta::assert_snapshot!(parsed[0].summary(), @"Reads, labels, archives and trashes within its budgets, sends to people you know after a delay. Asks for the rest. Only gmail.users.messages.*, gmail.users.settings.filters.create. Only to read, divert. Only at https://inbox.example. May ask for gmail.users.settings.filters.create. Unasked at most: leave-inbox 1 in 10 minutes and 2 in 24 hours.");
}

#[test]
fn another_preset_keeps_the_limits() {
    let fields = json!({"actions": ["gmail.users.messages.*"], "locations": ["https://inbox.example"], "named": ["gmail.users.messages.trash"], "budgets": {"remove": [1, 2], "read": [7, 8]}});
    let detail = AuthorizationDetail::for_grant("work", "organize", Some(&fields), None).unwrap();
    let lowered = detail.with_preset(Preset::ReadOnly);
    assert_eq!(
        (lowered.preset(), &lowered.actions, &lowered.locations),
        (Preset::ReadOnly, &detail.actions, &detail.locations)
    );
    assert_eq!(lowered.budgets, BTreeMap::from([(Meter::Read, Budget::new(7, 8))]));
    assert!(lowered.named.is_empty());
    assert_eq!(
        serde_json::from_value::<AuthorizationDetail>(serde_json::to_value(&lowered).unwrap()).unwrap(),
        lowered
    );
    assert_eq!(detail.with_preset(Preset::Assistant).with_preset(Preset::Organize), detail);
}

#[test]
fn refusals_say_what_to_do() {
    let check = |preset: &str, detail: Value| {
        AuthorizationDetail::for_grant("work", preset, Some(&detail), None).unwrap_err().to_string()
    };
    let all = [
        check("admin", json!({})),
        check("organize", json!({"account": "home"})),
        check("organize", json!({"type": "payment"})),
        check("organize", json!({"colour": "red"})),
        check("organize", json!({"actions": ["*"]})),
        check("organize", json!({"named": ["gmail.users.settings.*"]})),
        check("read-only", json!({"named": ["gmail.users.settings.updateImap"]})),
        check("organize", json!({"budgets": {"send": [1, 1]}})),
        check("organize", json!({"budgets": {"teleport": [1, 1]}})),
        check("organize", json!([{}, {}])),
        check("organize", json!({"locations": ["INBOX"]})),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    there is no preset `admin`; choose read-only, organize, assistant or ask-everything
    the authorization detail says "home" as its account, the grant is about `work`; leave `account` out or let it agree
    the authorization detail says "payment" as its type, the grant is about `latchstring_account`; leave `type` out or let it agree
    the authorization detail can't be read: unknown field `colour`, expected one of `type`, `account`, `preset`, `actions`, `classes`, `locations`, `named`, `budgets`, `mailboxes`
    the authorization detail can't be read: `*` is no action; write an exact name such as gmail.users.messages.trash, or a family such as gmail.users.messages.*
    the authorization detail can't be read: `gmail.users.settings.*` names a family; what redirects mail or costs money must be named one by one
    the authorization detail can't be read: read-only can't name `gmail.users.settings.updateImap`; choose another preset
    the authorization detail can't be read: organize runs nothing unasked on the meter send, so it has no number for it; choose another preset
    the authorization detail can't be read: unknown variant `teleport`, expected one of `read`, `modify`, `leave-inbox`, `remove`, `send`
    a grant is about one account; give one authorization detail
    the authorization detail can't be read: `INBOX` is no location; write the account's own address, such as https://gmail.googleapis.com, or its address at this door, such as http://127.0.0.1:8600/ACCOUNT
    "#);
}

#[test]
fn a_family_ends_at_a_dot() {
    let pattern = |text: &str| ActionPattern::try_from(text.to_owned()).unwrap();
    assert!(pattern("gmail.users.messages.*").matches("gmail.users.messages.trash"));
    assert!(!pattern("gmail.users.messages.*").matches("gmail.users.messagesevil.trash"));
    assert!(!pattern("gmail.users.messages").matches("gmail.users.messages.trash"));
    assert!(pattern("gmail.*").covers(&pattern("gmail.users.*")));
    assert!(!pattern("gmail.users.*").covers(&pattern("gmail.*")));
    assert!(!pattern("gmail.users.messages.trash").covers(&pattern("gmail.users.messages.trash.*")));
    for bad in ["", "*", "a.", ".a", "a.*.b", "a*", "a b"] {
        assert!(ActionPattern::try_from(bad.to_owned()).is_err(), "{bad:?}");
    }
}

#[test]
fn presets_are_ordered_by_what_they_let_happen() {
    use Preset::{AskEverything, Assistant, Organize, ReadOnly};
    let above = |child: Preset| Preset::ALL.into_iter().filter(|parent| child.within(*parent)).collect::<Vec<_>>();
    assert_eq!(above(ReadOnly), Preset::ALL);
    assert_eq!(above(Organize), [Organize, Assistant]);
    assert_eq!(above(Assistant), [Assistant]);
    assert_eq!(above(AskEverything), [AskEverything]);
}

#[test]
fn mailboxes_are_named_as_people_see_them() {
    let fields = json!({"mailboxes": ["inbox", "M\u{fc}ll"]});
    let detail = AuthorizationDetail::for_grant("work", "organize", Some(&fields), None).unwrap();
    assert!(detail.admits("INBOX") && detail.admits("M&APw-ll"));
    assert!(!detail.admits("M\u{fc}ll") && !detail.admits("INBOX/Sub") && !detail.admits("Trash"));
    assert!(AuthorizationDetail::new("work", Preset::Organize).admits("Anything"));
    let json = serde_json::to_value(&detail).unwrap();
    assert_eq!(json["mailboxes"], json!(["INBOX", "M\u{fc}ll"]));
    assert_eq!(serde_json::from_value::<AuthorizationDetail>(json).unwrap(), detail);
    assert!(detail.summary().ends_with("Only the mailboxes INBOX, M\u{fc}ll."), "{}", detail.summary());
    assert_eq!(detail.with_preset(Preset::ReadOnly).mailboxes, detail.mailboxes);
    for bad in ["", "a*", "a%b", "a\nb"] {
        let fields = json!({"mailboxes": [bad]});
        assert!(AuthorizationDetail::for_grant("work", "organize", Some(&fields), None).is_err(), "{bad}");
    }
}
