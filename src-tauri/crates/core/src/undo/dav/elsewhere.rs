//! A collection that was moved goes back as a whole, and only while it is what was moved.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Back, GONE, Only, There, call};
use crate::classify::dav::deed::{Frozen, Tree};
use crate::classify::dav::look::{Found, Member, last};
use crate::undo::{Change, Difference, Entry};

/// The recipe of such an entry.
pub(super) const RECIPE: &str = "moved-all";
pub(super) const PROMISE: &str = "Undo moves it back to its address as a whole, while what is in it is as it was moved and nothing came in. Whoever else had access to it may need to get it again.";
const TAKEN: &str = "something is at its old address, too, and nothing is moved over it";
/// Names that are told of each kind of difference.
const MOST_NAMED: usize = 3;

/// Itself first. Entries with the versions that they had: most servers keep them.
pub(super) fn changes(frozen: &Frozen, to: &str) -> Vec<Change> {
    let change = |path: &String, version: Option<String>| {
        let to = moved(path, &frozen.path, to)?;
        let difference = Difference::Moved { to: Some(to), marked: false, trace: None, version };
        Some(Change { object: path.clone(), difference })
    };
    let collections = frozen.tree.iter().flat_map(|tree| &tree.collections).map(|one| change(&one.path, None));
    let members = frozen.tree.iter().flat_map(|tree| &tree.members);
    collections.chain(members.map(|one| change(&one.path, Some(one.etag.clone())))).flatten().collect()
}

/// Where something is once the collection around it has moved.
#[must_use]
pub fn moved(path: &str, from: &str, to: &str) -> Option<String> {
    path.strip_prefix(from).map(|rest| format!("{to}{rest}"))
}

/// From where to where a collection was moved; `None`: the entry is of something else.
#[must_use]
pub fn ends(entry: &Entry) -> Option<(&str, &str)> {
    let first = entry.changes.first().filter(|_| entry.recipe == RECIPE)?;
    match &first.difference {
        Difference::Moved { to: Some(to), .. } => Some((first.object.as_str(), to.as_str())),
        _ => None,
    }
}

/// The entry with the new versions of what is certainly what was moved. Of everything else, only the version that it had counts.
#[must_use]
pub fn arrived(mut entry: Entry, members: &[Member]) -> Entry {
    let known: BTreeMap<&str, &str> =
        members.iter().map(|member| (member.path.as_str(), member.etag.as_str())).collect();
    for change in &mut entry.changes {
        if let Difference::Moved { to: Some(to), version: Some(version), .. } = &mut change.difference
            && let Some(etag) = known.get(to.as_str())
        {
            *version = (*etag).to_owned();
        }
    }
    entry
}

/// Why a collection has to stay where it was moved to. `home`: whether something is at its old address; `now`: what is at the new one. `None` also where
/// nothing is left to go back.
#[must_use]
pub fn hindrance(entry: &Entry, home: bool, now: Option<&Tree>) -> Option<String> {
    let now = now.filter(|_| ends(entry).is_some())?;
    if home {
        return Some(TAKEN.to_owned());
    }
    let mut then: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for change in &entry.changes {
        if let Difference::Moved { to: Some(to), version, .. } = &change.difference {
            then.insert(to, version.as_deref());
        }
    }
    let collections = now.collections.iter().map(|one| (one.path.as_str(), None));
    let members = now.members.iter().map(|one| (one.path.as_str(), Some(one.etag.as_str())));
    let is: BTreeMap<&str, Option<&str>> = collections.chain(members).collect();
    let all: BTreeSet<&str> = then.keys().chain(is.keys()).copied().collect();
    let (mut came, mut went, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for path in all {
        match (then.get(path), is.get(path)) {
            (None, _) => came.push(path),
            (_, None) => went.push(path),
            (then, is) if then != is => other.push(path),
            _ => {}
        }
    }
    let kinds = [("came in", came), ("went", went), ("with another version", other)];
    let told: Vec<String> =
        kinds.iter().filter(|(_, paths)| !paths.is_empty()).map(|(what, paths)| said(what, paths)).collect();
    (!told.is_empty()).then(|| format!("what is in it is no longer what was moved: {}", told.join("; ")))
}

fn said(what: &str, paths: &[&str]) -> String {
    let names: Vec<String> = paths.iter().take(MOST_NAMED).map(|path| last(path)).collect();
    let more = if paths.len() > MOST_NAMED { ", ..." } else { "" };
    format!("{} {what} ({}{more})", paths.len(), names.join(", "))
}

pub(super) fn back(back: &mut Back, there: &There<'_>, from: &str, to: &str) {
    let version = match (there.now.get(to), there.now.contains_key(from)) {
        (Some(Found::Collection(_)), true) => return back.leave(from, TAKEN),
        (Some(Found::Collection(present)), false) => present.etag.clone(),
        (_, true) => return back.leave(from, "it is at its own address: it did not go, or somebody brought it back"),
        (Some(Found::Member(_)) | None, false) => return back.leave(from, GONE),
    };
    let destination = format!("{}{from}", there.here.base);
    let mut headers = vec![("depth", "infinity"), ("overwrite", "F"), ("destination", destination.as_str())];
    headers.extend(version.as_deref().map(|etag| ("if-match", etag)));
    back.step(from, call("MOVE", to, &headers, Bytes::new()), true);
    for step in &mut back.steps {
        step.only = Only::AsMoved;
        step.with = there.entry.changes.iter().skip(1).map(|change| change.object.clone()).collect();
    }
    there.tells(back);
}
