//! What a server keeps of scripts, as far as it was read.

use std::collections::{BTreeMap, BTreeSet};

use super::fold;
use super::include::{Whole, is_made_up};
use super::scan::effects;
use crate::call::Digest;

/// What the server has now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Every script that the change is about, with its text, and whatever those include.
    pub scripts: BTreeMap<String, Vec<u8>>,
    /// The one that runs.
    pub active: Option<String>,
    /// The names of all that there are.
    pub names: Vec<String>,
}

impl Stored {
    pub(super) fn text(&self, name: &str) -> Option<&[u8]> {
        self.scripts.get(name).map(Vec::as_slice)
    }

    /// Whether there is another script whose name some servers take for this one.
    pub(super) fn has_alike(&self, name: &str) -> bool {
        let folded = fold(name);
        self.names.iter().any(|known| known != name && fold(known) == folded)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.scripts.remove(name);
        self.names.retain(|known| known != name);
    }

    pub(super) fn is_active(&self, name: &str) -> bool {
        self.active.as_deref() == Some(name)
    }

    /// All of it, for telling whether it changed.
    pub(super) fn digest(&self) -> Digest {
        let active = self.active.as_deref();
        let mut fields: Vec<&[u8]> = vec![if active.is_some() { b"runs" } else { b"none" }];
        fields.push(active.unwrap_or_default().as_bytes());
        for (name, text) in &self.scripts {
            fields.push(name.as_bytes());
            fields.push(text);
        }
        Digest::of(&fields)
    }

    /// The scripts whose text must be read, too, beside those that are known: these, the one that runs, and what all of them and `own` include, until none
    /// is left. A name that the server makes up while it runs may be any of them.
    pub(crate) fn unread(&self, about: &BTreeSet<String>, own: &[&[u8]]) -> Vec<String> {
        let texts = self.scripts.values().map(Vec::as_slice).chain(own.iter().copied());
        let included = texts.flat_map(|text| effects(text).includes).filter(|include| !include.global);
        let included: BTreeSet<String> = included.map(|include| include.name).collect();
        let any = included.iter().any(|name| is_made_up(name));
        let included: BTreeSet<String> = included.iter().map(|name| fold(name)).collect();
        let wanted =
            |name: &&String| any || about.contains(*name) || self.is_active(name) || included.contains(&fold(name));
        self.names.iter().filter(|name| self.text(name).is_none()).filter(wanted).cloned().collect()
    }

    /// Whether a script runs, for people.
    pub(super) fn state(&self, name: &str) -> &'static str {
        let included = self.running();
        match &self.active {
            None => "no script runs now",
            Some(active) if active == name => "it runs on all new mail",
            Some(_) if included.names.contains(&fold(name)) => "it runs on new mail: the script that runs includes it",
            Some(_) if !included.names.is_empty() => {
                "it does not run by itself, but the script that runs includes others"
            }
            Some(_) => "it does not run now",
        }
    }

    /// The known scripts that a server may take for the one of this name. One that the script makes up as it runs may be any.
    pub(super) fn included_as<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a String, &'a [u8])> {
        let (any, folded) = (is_made_up(name), fold(name));
        let scripts = self.scripts.iter().filter(move |(known, _)| any || fold(known) == folded);
        scripts.map(|(name, text)| (name, text.as_slice()))
    }

    /// The script that runs, with all that it includes.
    pub(crate) fn running(&self) -> Whole {
        let active = self.active.as_deref();
        Whole::of(active.and_then(|name| Some((name, self.text(name)?))), self)
    }
}
