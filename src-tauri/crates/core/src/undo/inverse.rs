//! The calls that put back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::difference::{picked, words};
use super::{Change, Difference, Entry, Inverse};
use crate::call::Call;
use crate::catalog::Provider;
use crate::catalog::file::{Members, Undo};
use crate::catalog::template::{Endpoint, pick};
use crate::classify::normalise::Target;
use crate::classify::{mail, upload};
use crate::recipe::{place, writes};

/// What to read before undoing: object and call; 404 and 410 are answers too (the object is gone).
#[must_use]
pub fn inspect(provider: &Provider, entry: &Entry) -> Vec<(String, Call)> {
    let Some(template) = reads(provider, entry) else { return Vec::new() };
    let read = |change: &Change| {
        let target = provider.target(template, &entry.params, &change.object)?;
        Some((change.object.clone(), Call::get(target)))
    };
    entry.changes.iter().filter_map(read).collect()
}

fn reads<'a>(provider: &'a Provider, entry: &Entry) -> Option<&'a str> {
    match provider.file.undo.get(&entry.recipe)? {
        Undo::SetDifference { set, .. } => provider.file.sets.get(set).map(|set| set.read.as_str()),
        Undo::PutBack { read, .. } | Undo::DeleteCreated { read, .. } | Undo::Reinsert { read, .. } => Some(read),
        Undo::Recreate { .. } | Undo::Opposite { .. } => None,
    }
}

/// The calls that reverse the entry's own difference, given what [`inspect`] found (`None`: gone). Objects that it could not read are missing
/// there: they are left alone.
#[must_use]
pub fn inverse(provider: &Provider, entry: &Entry, now: &[(String, Option<Value>)]) -> Inverse {
    let mut back = Back { provider, entry, inverse: Inverse::default() };
    let template = reads(provider, entry).unwrap_or_default();
    let now: BTreeMap<&str, &Option<Value>> = now.iter().map(|(id, answer)| (id.as_str(), answer)).collect();
    let found = |object: &str| {
        let answer = now.get(object)?;
        Some(answer.as_ref().and_then(|answer| pick(template, object, answer)))
    };
    match provider.file.undo.get(&entry.recipe) {
        Some(Undo::SetDifference { set, .. }) => match provider.file.sets.get(set) {
            Some(set) => back.sets(set, found),
            None => back.unknown(),
        },
        Some(Undo::PutBack { fields, marker, write, .. }) => back.fields(fields, marker.as_deref(), write, found),
        Some(Undo::DeleteCreated { marker, unless, write, .. }) => {
            back.created(marker.as_deref(), unless.as_deref(), write, found);
        }
        Some(Undo::Recreate { write, but, .. }) => back.deleted(write, but.as_deref()),
        Some(Undo::Reinsert { .. }) => {
            for change in &entry.changes {
                if matches!(found(&change.object), Some(Some(_))) {
                    back.leave(&change.object, "it is still there");
                }
            }
        }
        Some(Undo::Opposite { write }) => {
            for change in &entry.changes {
                back.call(&change.object, write, None);
            }
        }
        None => back.unknown(),
    }
    back.inverse
}

/// The calls that put quarantined copies back: object and the answer that [`crate::recipe::quarantine`]'s call gave. Give it only what [`inspect`]
/// found gone.
#[must_use]
pub fn reinsert(provider: &Provider, entry: &Entry, copies: &[(String, Value)]) -> Inverse {
    let mut back = Back { provider, entry, inverse: Inverse::default() };
    let Some(Undo::Reinsert { fields, write, but, .. }) = provider.file.undo.get(&entry.recipe) else {
        return Inverse::default();
    };
    for (object, copy) in copies {
        if !entry.changes.iter().any(|change| change.object == *object) {
            continue;
        }
        match back.insertion(fields, write, object, copy) {
            Some(call) => {
                back.inverse.calls.push((vec![object.clone()], call));
                back.note(object, but.as_deref());
            }
            None => back.leave(object, "its copy can't be read"),
        }
    }
    back.inverse
}

/// What remains to be done once the calls of [`inverse`] were answered: a recreated container gets its members back.
#[must_use]
pub fn follow(provider: &Provider, entry: &Entry, answers: &[(Vec<String>, Value)]) -> Inverse {
    let mut inverse = Inverse::default();
    let Some(Undo::Recreate { id: Some(id), members: Some(set), .. }) = provider.file.undo.get(&entry.recipe) else {
        return inverse;
    };
    let Some(set) = provider.file.sets.get(set) else { return inverse };
    for change in &entry.changes {
        let Difference::Deleted { members, .. } = &change.difference else { continue };
        if members.is_empty() {
            continue;
        }
        let answer = answers.iter().find(|(objects, _)| objects.contains(&change.object)).map(|(_, answer)| answer);
        match answer.and_then(|answer| answer.pointer(id)).and_then(Value::as_str) {
            Some(new) => inverse.calls.extend(writes(provider, set, &entry.params, members, (&[new.to_owned()], &[]))),
            None => inverse.not_restored.push((change.object.clone(), "its new id is unknown".to_owned())),
        }
    }
    inverse
}

struct Back<'a> {
    provider: &'a Provider,
    entry: &'a Entry,
    inverse: Inverse,
}

impl Back<'_> {
    fn leave(&mut self, object: &str, why: impl Into<String>) {
        self.inverse.not_restored.push((object.to_owned(), why.into()));
    }

    fn note(&mut self, object: &str, but: Option<&str>) {
        self.inverse.notes.extend(but.map(|but| (object.to_owned(), but.to_owned())));
    }

    fn unknown(&mut self) {
        for change in &self.entry.changes {
            self.leave(&change.object, "this version does not know how it was done");
        }
    }

    fn call(&mut self, object: &str, write: &Endpoint, body: Option<&Value>) {
        match self.provider.target(&write.path, &self.entry.params, object) {
            Some(target) => {
                let call = match body {
                    Some(body) => Call::json(write.method.clone(), target, body),
                    None => Call { method: write.method.clone(), ..Call::get(target) },
                };
                self.inverse.calls.push((vec![object.to_owned()], call));
            }
            None => self.leave(object, "its address can't be made"),
        }
    }

    /// Present state of an object, unless it is gone or unread.
    fn present<'n>(&mut self, object: &str, found: Option<Option<&'n Value>>) -> Option<&'n Value> {
        match found {
            Some(Some(value)) => return Some(value),
            Some(None) => self.leave(object, "it is gone"),
            None => self.leave(object, "its present state could not be read"),
        }
        None
    }

    fn sets<'n>(&mut self, set: &Members, found: impl Fn(&str) -> Option<Option<&'n Value>>) {
        let mut groups: BTreeMap<(Vec<String>, Vec<String>), Vec<String>> = BTreeMap::new();
        for change in &self.entry.changes {
            let Difference::Set { added, removed, presumed } = &change.difference else { continue };
            let Some(value) = self.present(&change.object, found(&change.object)) else { continue };
            let now = words(value.pointer(&set.at));
            let mut off = Vec::new();
            for word in added {
                if !now.contains(word) {
                    self.leave(&change.object, format!("somebody took {word} off since"));
                } else if set.fixed.contains(word) {
                    self.leave(&change.object, format!("{word} can't be taken off"));
                } else {
                    off.push(word.clone());
                }
            }
            let mut on = Vec::new();
            for word in removed.iter().chain(presumed) {
                if now.contains(word) {
                    if removed.contains(word) {
                        self.leave(&change.object, format!("somebody put {word} back since"));
                    }
                } else if set.fixed.contains(word) {
                    self.leave(&change.object, format!("{word} can't be put back"));
                } else if let Some(other) = now.iter().find(|other| excludes(set, other, word) && !off.contains(other))
                {
                    self.leave(&change.object, format!("it was moved to {other} since"));
                } else {
                    on.push(word.clone());
                }
            }
            if !off.is_empty() || !on.is_empty() {
                groups.entry((on, off)).or_default().push(change.object.clone());
            }
        }
        for ((on, off), objects) in groups {
            self.inverse.calls.extend(writes(self.provider, set, &self.entry.params, &objects, (&on, &off)));
        }
    }

    fn fields<'n>(
        &mut self,
        fields: &[String],
        marker: Option<&str>,
        write: &Endpoint,
        found: impl Fn(&str) -> Option<Option<&'n Value>>,
    ) {
        for change in &self.entry.changes {
            let Difference::Fields { before, after } = &change.difference else { continue };
            let Some(now) = self.present(&change.object, found(&change.object)) else { continue };
            let at = |field: &str| now.pointer(field).cloned().unwrap_or_default();
            if marker.is_some() && after.is_empty() {
                self.leave(&change.object, "it is not known whether it was changed");
                continue;
            }
            if marker.is_some() && after.iter().any(|(field, then)| at(field) != *then) {
                self.leave(&change.object, "somebody changed it since");
                continue;
            }
            let mut restored = Vec::new();
            for (field, was) in before {
                let then = after.iter().find(|(known, _)| known == field).map(|(_, then)| then);
                let name = field.trim_start_matches('/');
                if marker.is_some() || then == Some(&at(field)) {
                    restored.push((field, was));
                } else if at(field) != *was {
                    self.leave(&change.object, format!("somebody changed {name} since"));
                }
            }
            if restored.is_empty() {
                continue;
            }
            let mut value = picked(fields, now);
            for (field, was) in restored {
                place(&mut value, field, was.clone());
            }
            match self.insertion(fields, write, &change.object, &value) {
                Some(call) => self.inverse.calls.push((vec![change.object.clone()], call)),
                None => self.call(&change.object, write, Some(&value)),
            }
        }
    }

    fn created<'n>(
        &mut self,
        marker: Option<&str>,
        unless: Option<&str>,
        write: &Endpoint,
        found: impl Fn(&str) -> Option<Option<&'n Value>>,
    ) {
        for change in &self.entry.changes {
            let Difference::Created { marker: then } = &change.difference else { continue };
            let Some(now) = self.present(&change.object, found(&change.object)) else { continue };
            let changed = marker.is_some_and(|at| then.is_some() && now.pointer(at) != then.as_ref());
            let used = unless.and_then(|at| now.pointer(at)).and_then(Value::as_u64).unwrap_or(0);
            if changed {
                self.leave(&change.object, "somebody changed it since");
            } else if used > 0 {
                self.leave(&change.object, format!("it is in use by {used} others"));
            } else {
                self.call(&change.object, write, None);
            }
        }
    }

    fn deleted(&mut self, write: &Endpoint, but: Option<&str>) {
        for change in &self.entry.changes {
            let Difference::Deleted { body, .. } = &change.difference else { continue };
            self.call(&change.object, write, Some(body));
            self.note(&change.object, but);
        }
    }

    /// A write that carries a mail, if it does.
    fn insertion(&self, fields: &[String], write: &Endpoint, object: &str, copy: &Value) -> Option<Call> {
        let mut value = picked(fields, copy);
        let pointer = fields.iter().find(|field| field.ends_with("/raw"))?;
        let raw = value.pointer_mut(pointer).map(Value::take).and_then(|raw| mail::from_base64(raw.as_str()?))?;
        let carrier = upload::Carrier {
            method: write.method.clone(),
            target: Target::parse(&self.provider.target(&write.path, &self.entry.params, object)?).ok()?,
            headers: Vec::new(),
            upload_prefix: self.provider.file.upload_prefixes.first().map(String::as_str),
        };
        carrier.call(value, Some((pointer, raw)))
    }
}

/// Whether an object with `word` never has `other` as well.
fn excludes(set: &Members, word: &str, other: &str) -> bool {
    set.drops.get(word).is_some_and(|dropped| dropped.iter().any(|one| one == other))
}
