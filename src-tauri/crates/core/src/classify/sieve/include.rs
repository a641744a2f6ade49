//! What a script does together with the scripts that it includes (RFC 6609), each under the name of the one that it stands in.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Effects, Include, effects, on_a_line};
use super::{Stored, fold};

/// A script and all that it runs in turn: each once, whatever includes it, so a circle ends.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    own: Effects,
    included: BTreeMap<String, Effects>,
    /// What is included and can't be shown, in words.
    unseen: BTreeSet<String>,
    /// What every name that is included is compared by, whether there is such a script or not.
    pub(crate) names: BTreeSet<String>,
    /// Scripts of the server.
    pub(crate) global: BTreeSet<String>,
}

impl Whole {
    /// Of a script with this name, as far as it is known what is stored.
    pub(crate) fn of(script: Option<(&str, &[u8])>, stored: &Stored) -> Self {
        let Some((own_name, text)) = script else { return Self::default() };
        let mut whole = Self { own: effects(text), ..Self::default() };
        let mut waiting: Vec<Include> = whole.own.includes.iter().cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(include) = waiting.pop() {
            if !seen.insert(include.clone()) {
                continue;
            }
            if include.global {
                whole.unseen.insert(format!(
                    "Runs {} of your server, which can't be read here: what it does is not known",
                    quoted(&include.name)
                ));
                whole.global.insert(include.name);
                continue;
            }
            for (name, text) in stored.included_as(&include.name) {
                if name == own_name || whole.included.contains_key(name) {
                    continue;
                }
                let found = effects(text);
                waiting.extend(found.includes.iter().cloned());
                whole.names.insert(fold(name));
                whole.included.insert(name.clone(), found);
            }
            whole.unseen.extend(unseen(&include, stored));
            whole.names.insert(fold(&include.name));
        }
        whole
    }

    /// What the script does, and what each of the others does.
    pub(super) fn each(&self) -> impl Iterator<Item = &Effects> {
        std::iter::once(&self.own).chain(self.included.values())
    }

    /// What filing is not, for the person.
    pub(super) fn grave(&self) -> Vec<String> {
        let names: Vec<String> = self.included.keys().map(|name| quoted(name)).collect();
        let also = (!names.is_empty()).then(|| format!("Runs other scripts, too: {}", names.join(", ")));
        let words = self.own.grave().into_iter().chain(also).chain(self.behind(Effects::grave));
        words.chain(self.unseen.iter().cloned()).collect()
    }

    /// Where mail is filed, and how it is marked.
    pub(super) fn filing(&self) -> Vec<String> {
        self.own.filing().into_iter().chain(self.behind(Effects::filing)).collect()
    }

    /// What is done in the included scripts.
    fn behind(&self, words: impl Fn(&Effects) -> Vec<String>) -> Vec<String> {
        let one = |(name, found): (&String, &Effects)| {
            let lead = format!("In the included {}: ", quoted(name));
            words(found).into_iter().map(move |word| format!("{lead}{}", within(&word))).collect::<Vec<_>>()
        };
        self.included.iter().flat_map(one).collect()
    }
}

/// Whether a name has variables in it.
pub(super) fn is_made_up(name: &str) -> bool {
    name.contains("${")
}

fn unseen(include: &Include, stored: &Stored) -> Option<String> {
    let name = quoted(&include.name);
    if is_made_up(&include.name) {
        return Some(format!("Runs a script whose name it makes up as it runs: {name}. It may be any of yours"));
    }
    if stored.included_as(&include.name).next().is_some() {
        return None;
    }
    let is_named = stored.names.iter().any(|known| fold(known) == fold(&include.name));
    Some(match (is_named, include.optional) {
        (true, _) => format!("Runs {name}, which was not read"),
        (false, true) => format!("Runs {name} as soon as there is one: there is none now"),
        (false, false) => format!("Runs {name}, which is not there now"),
    })
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", on_a_line(name).replace('"', "\\\""))
}

/// A sentence behind another's lead.
fn within(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect()
}
