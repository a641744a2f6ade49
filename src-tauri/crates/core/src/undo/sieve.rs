//! Taking back a change of the server's mail filters: the texts that were there, and which one ran.
//!
//! What is remembered is the state of the change's own scripts before and after it. It is put back only from exactly the state after it. A script that would run
//! again is put back only if all that it includes is what it was, too.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::{Change, Difference, Entry};
use crate::call::{Call, Digest};
use crate::classify::sieve::{Change as Filters, Stored, Whole, fold};
use crate::operation::Part;

/// The recipe of every such entry.
const RECIPE: &str = "script";
const PROVIDER: &str = "imap";
/// Which script runs.
const ACTIVE: &str = "active";
/// A script's text.
const TEXT: &str = "text/";
/// A digest of the scripts that go by a name which a script includes.
const INCLUDED: &str = "included/";

type State = BTreeMap<String, Value>;

/// Whether an entry is about mail filters.
#[must_use]
pub fn is_about_filters(entry: &Entry) -> bool {
    entry.provider == PROVIDER && entry.recipe == RECIPE
}

/// What to remember of a change, from what is stored before it.
#[must_use]
pub fn entry(part: &Part, change: &Filters, stored: &Stored) -> Entry {
    let text = |name: &str| stored.scripts.get(name).map_or(Value::Null, |text| encoded(text));
    let active = || name_value(stored.active.as_deref());
    let field = |name: &str| format!("{TEXT}{name}");
    let (mut before, mut after) = (State::new(), State::new());
    match change {
        Filters::Put { name, script } => {
            before.insert(field(name), text(name));
            after.insert(field(name), encoded(script));
        }
        Filters::Delete { name } => {
            before.insert(field(name), text(name));
            after.insert(field(name), Value::Null);
        }
        Filters::Activate { name } => {
            before.insert(ACTIVE.to_owned(), active());
            after.insert(ACTIVE.to_owned(), name_value(name.as_deref()));
            // What would run again must be what ran.
            if let Some(old) = stored.active.as_deref() {
                before.insert(field(old), text(old));
                after.insert(field(old), text(old));
            }
        }
        Filters::Rename { name, to } => {
            before.extend([(field(name), text(name)), (field(to), Value::Null)]);
            after.extend([(field(name), Value::Null), (field(to), text(name))]);
        }
    }
    let included = included(&before, stored);
    before.extend(included.clone());
    after.extend(included);
    let object = match change {
        Filters::Put { name, .. } | Filters::Delete { name } | Filters::Rename { name, .. } => name.clone(),
        Filters::Activate { name } => name.clone().unwrap_or_else(|| "which script runs".to_owned()),
    };
    let difference = Difference::Fields { before: before.into_iter().collect(), after: after.into_iter().collect() };
    Entry {
        provider: PROVIDER.to_owned(),
        recipe: RECIPE.to_owned(),
        action: part.operation.action.clone(),
        params: Vec::new(),
        changes: vec![Change { object, difference }],
    }
}

/// How a change is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// By these calls, one after the other.
    Calls {
        /// What goes to the server.
        calls: Vec<Call>,
        /// What could not be compared.
        note: Option<String>,
    },
    /// It is as it was already.
    Already,
    /// Not at all, and why.
    Left(String),
}

/// The scripts whose text must be read, too, to take an entry back.
#[must_use]
pub fn unread(entry: &Entry, now: &Stored) -> Vec<String> {
    let (before, after) = states(entry);
    let included: BTreeSet<&str> = before.keys().filter_map(|field| field.strip_prefix(INCLUDED)).collect();
    let named = before.keys().chain(after.keys()).filter_map(|field| field.strip_prefix(TEXT)).map(str::to_owned);
    let alike = now.names.iter().filter(|name| included.contains(fold(name).as_str())).cloned();
    now.unread(&named.chain(alike).collect(), &[])
}

/// The calls that put back, from what is stored now.
#[must_use]
pub fn inverse(entry: &Entry, now: &Stored) -> Back {
    let ((before, included), (after, _)) = (parted(states(entry).0), parted(states(entry).1));
    let present = |field: &String| match field.strip_prefix(TEXT) {
        Some(name) => now.scripts.get(name).map_or(Value::Null, |text| encoded(text)),
        None => name_value(now.active.as_deref()),
    };
    let stands = |state: &State| state.iter().all(|(field, value)| present(field) == *value);
    if before.is_empty() {
        return Back::Left("what was there before is not known any more".to_owned());
    }
    if stands(&before) {
        return Back::Already;
    }
    if !stands(&after) {
        let changed = after.iter().find(|(field, value)| present(field) != **value).map(|(field, _)| field.as_str());
        return Back::Left(match changed.and_then(|field| field.strip_prefix(TEXT)) {
            Some(name) => format!("the script {name} was changed since"),
            None => "which script runs was changed since".to_owned(),
        });
    }
    let steps = match steps(&before, &after, now) {
        Ok(steps) => steps,
        Err(why) => return Back::Left(why),
    };
    let then = steps.iter().fold(now.clone(), |stored, step| step.applied(&stored));
    let running = then.running();
    let runs = |name: &str| then.active.as_deref() == Some(name) || running.names.contains(&fold(name));
    let is_to_run = before.keys().filter_map(|field| field.strip_prefix(TEXT)).any(runs);
    let changed = included.iter().find(|(name, digest)| alike(name, now) != **digest);
    if let Some((name, _)) = changed.filter(|_| is_to_run) {
        return Back::Left(format!("the script {name} was changed since, and what would run again includes it"));
    }
    let global: Vec<&str> = running.global.iter().map(String::as_str).collect();
    let note = (is_to_run && !global.is_empty()).then(|| {
        format!("What runs again includes {} of the mail server, which can't be read: whether that is what it was is not known.", global.join(", "))
    });
    Back::Calls { calls: steps.iter().map(Filters::call).collect(), note }
}

/// The changes that lead back, one after the other.
fn steps(before: &State, after: &State, now: &Stored) -> Result<Vec<Filters>, String> {
    let differing = || before.iter().filter(|(field, value)| after.get(*field) != Some(value));
    let named = |field: &String| field.strip_prefix(TEXT).map(str::to_owned);
    let texts: Vec<(String, Option<Vec<u8>>)> =
        differing().filter_map(|(field, value)| Some((named(field)?, decoded(value)))).collect();
    let gone: Vec<&String> = texts.iter().filter(|(_, text)| text.is_none()).map(|(name, _)| name).collect();
    let back: Vec<&String> = texts.iter().filter(|(_, text)| text.is_some()).map(|(name, _)| name).collect();
    if let ([from], [to]) = (gone.as_slice(), back.as_slice()) {
        // A rename: the one that runs stays the one that runs.
        return Ok(vec![Filters::Rename { name: (*from).clone(), to: (*to).clone() }]);
    }
    if let Some(running) = gone.iter().find(|name| now.active.as_deref() == Some(name.as_str())) {
        return Err(format!("the script {running} was new, and it runs by now: let another one run first"));
    }
    let puts = texts.iter().filter_map(|(name, text)| Some(Filters::Put { name: name.clone(), script: text.clone()? }));
    let active = differing()
        .filter(|(field, _)| *field == ACTIVE)
        .map(|(_, value)| Filters::Activate { name: value.as_str().map(str::to_owned) });
    let deletes = gone.iter().map(|name| Filters::Delete { name: (*name).clone() });
    Ok(puts.chain(active).chain(deletes).collect())
}

/// What the scripts of a state include that are none of it.
fn included(state: &State, stored: &Stored) -> State {
    let texts = state.iter().filter_map(|(field, value)| Some((field.strip_prefix(TEXT)?, decoded(value)?)));
    let names = texts.flat_map(|(name, text)| Whole::of(Some((name, &text)), stored).names);
    let own: BTreeSet<String> = state.keys().filter_map(|field| field.strip_prefix(TEXT)).map(fold).collect();
    names.filter(|name| !own.contains(name)).map(|name| (format!("{INCLUDED}{name}"), alike(&name, stored))).collect()
}

/// The scripts that may be meant by a name.
fn alike(name: &str, stored: &Stored) -> Value {
    let texts = stored.scripts.iter().filter(|(known, _)| fold(known) == name);
    let texts: Vec<&[u8]> = texts.map(|(_, text)| text.as_slice()).collect();
    if texts.is_empty() { Value::Null } else { Value::String(Digest::of(&texts).to_string()) }
}

/// The change's own fields, and what its scripts include.
fn parted(state: State) -> (State, State) {
    let (included, own): (State, State) = state.into_iter().partition(|(field, _)| field.starts_with(INCLUDED));
    let bare = |(field, value): (String, Value)| (field.strip_prefix(INCLUDED).unwrap_or(&field).to_owned(), value);
    (own, included.into_iter().map(bare).collect())
}

fn states(entry: &Entry) -> (State, State) {
    let mut states = (State::new(), State::new());
    for change in &entry.changes {
        if let Difference::Fields { before, after } = &change.difference {
            states.0.extend(before.iter().cloned());
            states.1.extend(after.iter().cloned());
        }
    }
    states
}

fn encoded(text: &[u8]) -> Value {
    Value::String(BASE64_STANDARD.encode(text))
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(value.as_str()?).ok()
}

fn name_value(name: Option<&str>) -> Value {
    name.map_or(Value::Null, |name| Value::String(name.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::classify::sieve::change_of;

    fn stored(scripts: &[(&str, &str)], active: Option<&str>) -> Stored {
        Stored {
            scripts: scripts.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect(),
            active: active.map(str::to_owned),
            ..Stored::default()
        }
    }

    fn put(name: &str, script: &str) -> Filters {
        Filters::Put { name: name.to_owned(), script: script.as_bytes().to_vec() }
    }

    fn on(name: Option<&str>) -> Filters {
        Filters::Activate { name: name.map(str::to_owned) }
    }

    /// What takes a change back when these are stored.
    fn back(change: &Filters, before: &Stored, now: &Stored) -> Result<Vec<Filters>, String> {
        let entry = entry(&change.part(before), change, before);
        let read: Entry = serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap();
        assert!(is_about_filters(&read));
        match inverse(&read, now) {
            Back::Calls { calls, .. } => Ok(calls.iter().map(|call| change_of(call).unwrap()).collect()),
            Back::Already => Ok(Vec::new()),
            Back::Left(why) => Err(why),
        }
    }

    #[test]
    fn every_change_has_its_opposite() {
        let old = stored(&[("main", "old")], Some("main"));
        let new = stored(&[("main", "new")], Some("main"));
        assert_eq!(back(&put("main", "new"), &old, &new), Ok(vec![put("main", "old")]));
        assert_eq!(back(&put("main", "new"), &old, &old), Ok(Vec::new()), "it never got that far");
        let delete = |name: &str| Filters::Delete { name: name.to_owned() };
        let both = stored(&[("main", "old"), ("b", "x")], Some("main"));
        assert_eq!(back(&put("b", "x"), &old, &both), Ok(vec![delete("b")]));
        assert_eq!(back(&delete("b"), &both, &old), Ok(vec![put("b", "x")]));
        let other = stored(&[("main", "old"), ("b", "x")], Some("b"));
        assert_eq!(back(&on(Some("b")), &both, &other), Ok(vec![on(Some("main"))]));
        let none = stored(&[("main", "old"), ("b", "x")], None);
        assert_eq!(back(&on(None), &both, &none), Ok(vec![on(Some("main"))]));
        assert_eq!(back(&on(Some("b")), &none, &other), Ok(vec![on(None)]));
        let rename = |name: &str, to: &str| Filters::Rename { name: name.to_owned(), to: to.to_owned() };
        let renamed = stored(&[("c", "old"), ("b", "x")], Some("c"));
        assert_eq!(back(&rename("main", "c"), &both, &renamed), Ok(vec![rename("c", "main")]));
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone() {
        let old = stored(&[("main", "old")], Some("main"));
        let why = |change: &Filters, before: &Stored, now: &Stored| back(change, before, now).unwrap_err();
        let theirs = stored(&[("main", "theirs")], Some("main"));
        assert_eq!(why(&put("main", "new"), &old, &theirs), "the script main was changed since");
        let runs = stored(&[("main", "old"), ("b", "x")], Some("b"));
        assert!(why(&put("b", "x"), &old, &runs).contains("runs by now"));
        let both = stored(&[("main", "old"), ("b", "x")], Some("main"));
        let third = stored(&[("main", "old"), ("b", "x")], None);
        assert_eq!(why(&on(Some("b")), &both, &third), "which script runs was changed since");
        let exchanged = stored(&[("main", "theirs"), ("b", "x")], Some("b"));
        assert_eq!(why(&on(Some("b")), &both, &exchanged), "the script main was changed since");
        let delete = Filters::Delete { name: "b".to_owned() };
        let again = stored(&[("main", "old"), ("b", "theirs")], Some("main"));
        assert_eq!(why(&delete, &both, &again), "the script b was changed since");
        let gone = stored(&[], None);
        assert_eq!(why(&put("main", "new"), &old, &gone), "the script main was changed since");
    }

    #[test]
    fn what_must_be_read_is_what_was_touched_what_runs_and_what_these_include() {
        let mut both = stored(
            &[("main", "include \"in\";"), ("in", "include \"gone\";"), ("b", "x"), ("c", "y"), ("d", "z")],
            Some("main"),
        );
        both.names = both.scripts.keys().cloned().collect();
        let of = |change: &Filters| {
            let entry = entry(&change.part(&both), change, &both);
            let mut now = Stored { scripts: BTreeMap::new(), ..both.clone() };
            loop {
                let unread = unread(&entry, &now);
                if unread.is_empty() {
                    return now.scripts.into_keys().collect::<Vec<_>>();
                }
                now.scripts.extend(unread.into_iter().map(|name| (name.clone(), both.scripts[&name].clone())));
            }
        };
        assert_eq!(of(&on(Some("b"))), ["in", "main"]);
        assert_eq!(of(&put("b", "y")), ["b", "in", "main"]);
        assert_eq!(of(&Filters::Rename { name: "b".to_owned(), to: "c".to_owned() }), ["b", "c", "in", "main"]);
    }

    #[test]
    fn what_would_run_again_includes_what_it_included() {
        let outer = "include \"middle\"; include :optional \"maybe\";";
        let of = |inner: &str, active| {
            stored(&[("outer", outer), ("middle", "include \"inner\";"), ("inner", inner), ("b", "x")], active)
        };
        let old = of("keep;", Some("outer"));
        let off = on(None);
        assert_eq!(back(&off, &old, &of("keep;", None)), Ok(vec![on(Some("outer"))]));
        let why = "the script inner was changed since, and what would run again includes it";
        assert_eq!(back(&off, &old, &of("discard;", None)), Err(why.to_owned()));
        assert_eq!(back(&on(Some("b")), &old, &of("discard;", Some("b"))), Err(why.to_owned()));
        let mut more = of("keep;", None);
        more.scripts.insert("Maybe".to_owned(), b"discard;".to_vec());
        assert!(back(&off, &old, &more).unwrap_err().contains("maybe"), "what was missing is there now");
        // The text of the script that runs.
        let change = put("outer", "stop;");
        let now = |inner: &str, active| {
            let mut now = of(inner, active);
            now.scripts.insert("outer".to_owned(), b"stop;".to_vec());
            now
        };
        assert_eq!(back(&change, &old, &now("keep;", Some("outer"))), Ok(vec![put("outer", outer)]));
        assert_eq!(back(&change, &old, &now("discard;", Some("outer"))), Err(why.to_owned()));
        assert_eq!(back(&change, &old, &now("discard;", Some("b"))), Ok(vec![put("outer", outer)]), "it does not run");
        // By way of another that runs.
        let mut by_way = now("discard;", Some("b"));
        by_way.scripts.insert("b".to_owned(), b"include \"OUTER\";".to_vec());
        assert_eq!(back(&change, &old, &by_way), Err(why.to_owned()));
    }

    #[test]
    fn what_nobody_can_compare_is_said() {
        let old = stored(&[("main", "include :global \"company\";")], Some("main"));
        let entry = entry(&on(None).part(&old), &on(None), &old);
        let now = Stored { active: None, ..old };
        let Back::Calls { note: Some(note), .. } = inverse(&entry, &now) else { panic!("a note") };
        assert!(note.contains("includes company of the mail server, which can't be read"), "{note}");
    }
}
