//! What must hold in a provider file before anything is decided by it.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{File, Route, Undo};
use super::template::holes;
use crate::operation::Class;

/// Names that every template may use besides the path's own parameters.
const OBJECT: &str = "object";

pub(super) fn check(file: &File) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for route in &file.routes {
        let at = |reason: String| format!("route {}: {reason}", route.id);
        if !ids.insert(&route.id) {
            return Err(at("it stands there twice".to_owned()));
        }
        if !calls.insert((route.call.method.as_str(), &route.call.path)) {
            return Err(at("another route has the same method and path".to_owned()));
        }
        self::route(file, route).map_err(at)?;
    }
    for (name, undo) in &file.undo {
        self::undo(file, undo).map_err(|reason| format!("undo {name}: {reason}"))?;
    }
    for (name, soften) in &file.soften {
        known(&file.sets, &soften.set, "set").map_err(|reason| format!("soften {name}: {reason}"))?;
        known(&file.undo, &soften.undo, "undo").map_err(|reason| format!("soften {name}: {reason}"))?;
    }
    if let Some(sent) = &file.sent {
        known(&file.sets, &sent.set, "set").map_err(|reason| format!("sent: {reason}"))?;
        if !holes(&sent.find).any(|hole| hole == "address") || !holes(&sent.read).any(|hole| hole == OBJECT) {
            return Err("sent: find must say {address} and read {object}".to_owned());
        }
    }
    if let Some(stop) = &file.stop {
        let about_it = [&stop.look, &stop.remove.path];
        if !holes(&stop.find).any(|hole| hole == "name")
            || !about_it.iter().all(|path| holes(path).any(|hole| hole == OBJECT))
        {
            return Err("stop: find must say {name}, look and remove {object}".to_owned());
        }
        if stop.poll_seconds == 0 || stop.poll_seconds > 60 {
            return Err("stop: poll_seconds is between 1 and 60".to_owned());
        }
    }
    for (name, bulk) in &file.bulk {
        if let Some(set) = &bulk.set {
            known(&file.sets, set, "set").map_err(|reason| format!("bulk {name}: {reason}"))?;
        }
    }
    Ok(())
}

fn route(file: &File, route: &Route) -> Result<(), String> {
    let path = format!("{}{}", file.base, route.call.path);
    let params: BTreeSet<&str> = holes(&path).collect();
    let objects = &route.objects;
    if let Some(param) = objects.param.as_deref().filter(|param| !params.contains(param)) {
        return Err(format!("its path has no {{{param}}}"));
    }
    if !objects.kind.is_empty() {
        known(&file.kinds, &objects.kind, "kind")?;
    }
    if let Some(container) = &objects.container {
        known(&file.containers, container, "container")?;
    }
    if (objects.at.is_some() || route.mail.is_some()) && route.fields.is_empty() {
        return Err("it reads a body but names no fields".to_owned());
    }
    if objects.at.is_some() && objects.most.is_none() {
        return Err("it names many objects but not how many at most".to_owned());
    }
    if let Some(cases) = &route.cases {
        known(&file.cases, cases, "cases")?;
    }
    if let Some(soften) = &route.soften {
        known(&file.soften, soften, "soften")?;
    }
    if let Some(split) = &route.split {
        known(&file.bulk, split, "bulk")?;
    }
    for words in route.facts.iter().filter_map(|fact| fact.words.as_ref()) {
        known(&file.words, words, "words")?;
    }
    match (&route.undo, route.class) {
        (None, Class::Read) => {}
        (None, _) => return Err("it says nothing about undo; write undo = \"none\" if there is none".to_owned()),
        (Some(_), Class::Read) => return Err("a read has no undo".to_owned()),
        (Some(undo), _) => none_or_known(file, undo)?,
    }
    for case in route.cases.iter().filter_map(|name| file.cases.get(name)).flatten() {
        if let Some(undo) = &case.undo {
            none_or_known(file, undo)?;
        }
    }
    if route.examples.is_empty() {
        return Err("it has no example".to_owned());
    }
    Ok(())
}

fn none_or_known(file: &File, undo: &str) -> Result<(), String> {
    if undo == "none" { Ok(()) } else { known(&file.undo, undo, "undo") }
}

fn undo(file: &File, undo: &Undo) -> Result<(), String> {
    match undo {
        Undo::SetDifference { set, .. } => known(&file.sets, set, "set"),
        Undo::Recreate { members: Some(set), id: None, .. } => Err(format!("{set} needs the new id")),
        Undo::Recreate { members: Some(set), .. } => known(&file.sets, set, "set"),
        Undo::DeleteCreated { write, .. } if !holes(&write.path).any(|hole| hole == OBJECT) => {
            Err(format!("its deletion does not say {{{OBJECT}}}"))
        }
        Undo::PutBack { .. }
        | Undo::DeleteCreated { .. }
        | Undo::Recreate { members: None, .. }
        | Undo::Reinsert { .. }
        | Undo::Opposite { .. } => Ok(()),
    }
}

fn known<T>(table: &BTreeMap<String, T>, name: &str, what: &str) -> Result<(), String> {
    if table.contains_key(name) { Ok(()) } else { Err(format!("there is no {what} {name:?}")) }
}
