//! What an operation really changed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Change, Difference, primary};
use crate::catalog::Provider;
use crate::catalog::file::{Members, SetChange, Undo};
use crate::catalog::template::pick;
use crate::operation::Part;
use crate::recipe::{body, changed, place};

pub(super) fn changes(
    provider: &Provider,
    part: &Part,
    undo: &Undo,
    before: &[(String, Value)],
    answer: Option<&Value>,
) -> Vec<Change> {
    let one = |object: String, difference: Option<Difference>| {
        difference.map(|difference| Change { object, difference }).into_iter().collect()
    };
    let object = primary(provider, part);
    let snapshot = before.iter().find(|(id, _)| *id == object).map(|(_, value)| value);
    match undo {
        Undo::SetDifference { set, change } => {
            let Some(set) = provider.file.sets.get(set) else { return Vec::new() };
            let touched = Touched::of(set, change, part);
            let ids: BTreeSet<&String> = part.operation.objects.ids().iter().collect();
            let known = before.iter().filter(|(id, _)| ids.contains(id));
            known.filter_map(|(id, value)| touched.change(set, id, value, answer)).collect()
        }
        Undo::PutBack { read, fields, marker, .. } => {
            let snapshot = snapshot.and_then(|before| pick(read, &object, before));
            one(object, snapshot.and_then(|before| overwritten(part, fields, marker.as_deref(), before, answer)))
        }
        Undo::DeleteCreated { id, marker, .. } => {
            let Some(answer) = answer else { return Vec::new() };
            let Some(id) = answer.pointer(id).and_then(Value::as_str) else { return Vec::new() };
            let marker = marker.as_ref().and_then(|at| answer.pointer(at)).cloned();
            one(id.to_owned(), Some(Difference::Created { marker }))
        }
        Undo::Recreate { read, fields, members, .. } => {
            let snapshot = snapshot.and_then(|before| pick(read, &object, before));
            let members = if members.is_some() { part.operation.objects.ids().to_vec() } else { Vec::new() };
            one(object, snapshot.map(|before| Difference::Deleted { body: picked(fields, before), members }))
        }
        Undo::Reinsert { .. } => {
            let copied = |id: &String| Change { object: id.clone(), difference: Difference::Copied };
            part.operation.objects.ids().iter().map(copied).collect()
        }
        Undo::Opposite { .. } => one(object, Some(Difference::Done)),
    }
}

/// What an operation may change in a set: itself, and by the upstream's own rules.
struct Touched {
    adds: Vec<String>,
    removes: Vec<String>,
    drops: Vec<String>,
    regains: Vec<String>,
}

impl Touched {
    fn of(set: &Members, change: &SetChange, part: &Part) -> Self {
        let (adds, removes) = changed(change, part);
        let follow = |words: &[String], table: &BTreeMap<String, Vec<String>>| {
            words.iter().filter_map(|word| table.get(word)).flatten().cloned().collect::<Vec<_>>()
        };
        let drops = follow(&adds, &set.drops);
        let regains = follow(&removes, &set.regains);
        Self { adds, removes, drops, regains }
    }

    fn change(&self, set: &Members, id: &str, before: &Value, answer: Option<&Value>) -> Option<Change> {
        let before = words(before.pointer(&set.at));
        let (added, removed, presumed) = match answer.and_then(|answer| after(set, id, answer)) {
            Some(after) => {
                let may_add = self.adds.iter().chain(&self.regains);
                let may_remove = self.removes.iter().chain(&self.drops);
                let added = unique(may_add.filter(|word| after.contains(word) && !before.contains(word)));
                let removed = unique(may_remove.filter(|word| before.contains(word) && !after.contains(word)));
                (added, removed, Vec::new())
            }
            None => {
                let stays = |word: &&String| !self.removes.contains(word);
                let added = unique(self.adds.iter().filter(stays).filter(|word| !before.contains(word)));
                let removed = unique(self.removes.iter().filter(|word| before.contains(word)));
                let dropped = self.drops.iter().filter(|word| before.contains(word) && !removed.contains(word));
                let presumed = unique(dropped);
                (added, removed, presumed)
            }
        };
        if added.is_empty() && removed.is_empty() && presumed.is_empty() {
            return None;
        }
        Some(Change { object: id.to_owned(), difference: Difference::Set { added, removed, presumed } })
    }
}

fn unique<'a>(words: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut unique: Vec<String> = words.cloned().collect();
    unique.sort();
    unique.dedup();
    unique
}

/// The set of one object as the operation's answer shows it, if it does.
fn after(set: &Members, id: &str, answer: &Value) -> Option<Vec<String>> {
    let listed = set.answers.iter().filter_map(|at| answer.pointer(at)?.as_array()).flatten();
    let own = std::iter::once(answer).chain(listed).find(|one| one.get("id").and_then(Value::as_str) == Some(id))?;
    own.pointer(&set.at).map(|found| words(Some(found)))
}

pub(super) fn words(value: Option<&Value>) -> Vec<String> {
    let words = value.and_then(Value::as_array).into_iter().flatten();
    words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn overwritten(
    part: &Part,
    fields: &[String],
    marker: Option<&str>,
    before: &Value,
    answer: Option<&Value>,
) -> Option<Difference> {
    let at = |value: &Value, field: &str| value.pointer(field).cloned().unwrap_or_default();
    let old: Vec<(String, Value)> = fields.iter().map(|field| (field.clone(), at(before, field))).collect();
    if let Some(marker) = marker {
        let after = answer.and_then(|answer| answer.pointer(marker)).map(|now| (marker.to_owned(), now.clone()));
        return Some(Difference::Fields { before: old, after: after.into_iter().collect() });
    }
    let asked = body(&part.call);
    let new = |field: &String| match answer {
        Some(answer) => Some(at(answer, field)),
        None => asked.as_ref()?.pointer(field).cloned(),
    };
    let changed =
        old.into_iter().filter_map(|(field, was)| new(&field).filter(|now| *now != was).map(|now| (field, was, now)));
    let (before, after): (Vec<_>, Vec<_>) =
        changed.map(|(field, was, now)| ((field.clone(), was), (field, now))).unzip();
    (!before.is_empty()).then_some(Difference::Fields { before, after })
}

/// A body with only these fields.
pub(super) fn picked(fields: &[String], from: &Value) -> Value {
    let mut body = Value::Object(Map::new());
    for field in fields {
        if let Some(value) = from.pointer(field).filter(|value| !value.is_null()) {
            place(&mut body, field, value.clone());
        }
    }
    body
}
