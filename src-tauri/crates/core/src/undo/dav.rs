//! Taking back what was done to calendars and contacts: what to remember of a change, and the calls that reverse it.

pub mod elsewhere;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Change, Difference, Entry};
use crate::call::{Call, CallBody};
use crate::classify::dav::deed::{Deed, Frozen, PROVIDER, glimpse};
use crate::classify::dav::escaped;
use crate::classify::dav::hrefs::Here;
use crate::classify::dav::look::{Collection, Found, Holds, Member};
use crate::operation::{Class, Operation, Part};

const WRITTEN: &str = "What the server wrote to invited people can't be called back, and it may write to them again.";
const SHARING: &str = "Who else has access to it, and what else the server keeps about it, is not brought back.";
const GONE: &str = "it is not there any more";
const OCCUPIED: &str = "there is something else in its place by now";
const CHANGED: &str = "somebody changed it since";
const UNKNOWN: &str = "it is not known whether it was changed";

/// The parameter of an entry whose change reached people.
const TOLD: (&str, &str) = ("told", "people");
/// The recipe of a change of settings of which not all can be set again.
pub(crate) const SETTINGS_IN_PART: &str = "settings-in-part";
/// The recipe of a change of settings.
pub(crate) const SETTINGS: &str = "settings";

fn is_settings(recipe: &str) -> bool {
    matches!(recipe, SETTINGS | SETTINGS_IN_PART)
}

/// What Undo would not put back as it was, before the person allows it; `None`: nothing.
#[must_use]
pub fn promise(operation: &Operation) -> Option<String> {
    let recipe = operation.undo.as_deref().filter(|_| operation.action.starts_with("dav."))?;
    let mut said = match recipe {
        "deleted-all" | "replaced-all" => format!("Undo makes it anew, with its entries and settings. {SHARING}"),
        elsewhere::RECIPE => elsewhere::PROMISE.to_owned(),
        SETTINGS_IN_PART => "Undo sets names, descriptions and colours as they were, and nothing else.".to_owned(),
        _ if operation.audience.is_some() => "Undo puts the entry back as it was.".to_owned(),
        _ => return None,
    };
    if operation.audience.is_some() {
        said.push(' ');
        said.push_str(WRITTEN);
    }
    Some(said)
}

/// How many entries it is about: a collection counts itself only where nothing was in it.
#[must_use]
pub fn count(entry: &Entry) -> usize {
    let entries = entry.changes.iter().filter(|change| !change.object.ends_with('/')).count();
    if entries == 0 { entry.changes.len() } else { entries }
}

/// What Undo will not put back as it was; `None`: nothing.
#[must_use]
pub fn limits(entry: &Entry) -> Option<String> {
    let mut said = Vec::new();
    if entry.changes.iter().any(|change| change.difference == Difference::Copied) {
        said.push("Undo brings copies back, at the same addresses, with new versions.");
    }
    if entry.changes.iter().any(|change| matches!(change.difference, Difference::Deleted { .. })) {
        said.push(SHARING);
    }
    if entry.recipe == elsewhere::RECIPE {
        said.push(elsewhere::PROMISE);
    }
    if entry.recipe == SETTINGS_IN_PART {
        said.push("Undo sets names, descriptions and colours as they were, and nothing else.");
    }
    if told_people(entry) {
        said.push(WRITTEN);
    }
    (!said.is_empty()).then(|| said.join(" "))
}

fn told_people(entry: &Entry) -> bool {
    entry.params.iter().any(|(name, value)| (name.as_str(), value.as_str()) == TOLD)
}

/// A text as the quarantine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its media type.
    pub kind: String,
    /// Its bytes.
    #[serde(with = "text")]
    pub body: Bytes,
}

mod text {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
    }
}

/// The texts that a change destroys: a copy of each must be in quarantine before.
#[must_use]
pub fn destroyed(frozen: &Frozen) -> Vec<Member> {
    match (&frozen.deed, &frozen.tree) {
        (Deed::Delete | Deed::DeleteAll | Deed::ReplaceAll, Some(tree)) => tree.members.clone(),
        (Deed::Delete, None) => versions(frozen, Some(&frozen.path)),
        (Deed::Move, _) => versions(frozen, frozen.to.as_ref()),
        _ => Vec::new(),
    }
}

/// The texts that a change replaces by others; they are kept in the entry itself.
#[must_use]
pub fn replaced(frozen: &Frozen) -> Vec<Member> {
    match frozen.deed {
        Deed::Replace => versions(frozen, Some(&frozen.path)),
        Deed::Copy => versions(frozen, frozen.to.as_ref()),
        _ => Vec::new(),
    }
}

/// What a change moves.
#[must_use]
pub fn moving(frozen: &Frozen) -> Option<Member> {
    let moves = frozen.deed == Deed::Move;
    moves.then(|| versions(frozen, Some(&frozen.path)).into_iter().next()).flatten()
}

fn versions(frozen: &Frozen, wanted: Option<&String>) -> Vec<Member> {
    let expected = frozen.expects.iter().filter(|(path, _)| Some(path) == wanted);
    expected.filter_map(|(path, etag)| Some(Member { path: path.clone(), etag: etag.clone()? })).collect()
}

/// What a change is about to do; `old`: the texts of [`replaced`].
#[must_use]
pub fn entry(part: &Part, frozen: &Frozen, old: &BTreeMap<String, Kept>) -> Option<Entry> {
    part.operation.undo.as_ref()?;
    let copied = |member: &Member| Change { object: member.path.clone(), difference: Difference::Copied };
    let created = |path: &String| Change { object: path.clone(), difference: Difference::Created { marker: None } };
    let overwritten = |path: &String| {
        let kept = old.get(path)?;
        let before =
            vec![("kind".to_owned(), json!(kept.kind)), ("body".to_owned(), json!(BASE64_STANDARD.encode(&kept.body)))];
        Some(Change { object: path.clone(), difference: Difference::Fields { before, after: Vec::new() } })
    };
    let made = |collection: &Collection| Change {
        object: collection.path.clone(),
        difference: Difference::Deleted { body: json!(collection), members: Vec::new() },
    };
    let texts = |pairs: &[(String, Option<String>)]| -> Vec<(String, Value)> {
        pairs.iter().map(|(name, text)| (name.clone(), json!(text))).collect()
    };
    let changes: Vec<Change> = match (frozen.deed, &frozen.to) {
        (Deed::Create | Deed::Make, _) => vec![created(&frozen.path)],
        (Deed::Replace, _) => overwritten(&frozen.path).into_iter().collect(),
        (Deed::Delete, _) => destroyed(frozen).iter().map(copied).collect(),
        (Deed::DeleteAll | Deed::ReplaceAll, _) => {
            let collections = frozen.tree.iter().flat_map(|tree| &tree.collections).map(made);
            collections.chain(destroyed(frozen).iter().map(copied)).collect()
        }
        (Deed::Move, Some(to)) => {
            let moved = Difference::Moved { to: Some(to.clone()), marked: false, trace: None, version: None };
            let moved = Change { object: frozen.path.clone(), difference: moved };
            std::iter::once(moved).chain(destroyed(frozen).iter().map(copied)).collect()
        }
        (Deed::MoveAll, Some(to)) => elsewhere::changes(frozen, to),
        (Deed::Copy, Some(to)) => vec![overwritten(to).unwrap_or_else(|| created(to))],
        (Deed::Settings, _) => {
            let difference = Difference::Fields { before: texts(&frozen.before), after: texts(&frozen.after) };
            vec![Change { object: frozen.path.clone(), difference }]
        }
        (Deed::Access | Deed::Post | Deed::Move | Deed::MoveAll | Deed::Copy, _) => Vec::new(),
    };
    let told = part.operation.audience.is_some().then_some(TOLD);
    (!changes.is_empty()).then(|| Entry {
        provider: PROVIDER.to_owned(),
        recipe: part.operation.undo.clone().unwrap_or_default(),
        action: part.operation.action.clone(),
        params: told.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect(),
        changes,
    })
}

/// The place whose new version must be known once a change is done; `None` if none must.
#[must_use]
pub fn leaves(frozen: &Frozen) -> Option<&String> {
    match frozen.deed {
        Deed::Create | Deed::Replace | Deed::Make => Some(&frozen.path),
        Deed::Copy | Deed::Move => frozen.to.as_ref(),
        _ => None,
    }
}

/// The entry once it is known what the change left: version by place. `untouched`: what is as it was before; nothing of it is taken back.
#[must_use]
pub fn left(mut entry: Entry, members: &[Member], untouched: &[Member]) -> Entry {
    let version = |path: &str| members.iter().find(|member| member.path == path).map(|member| member.etag.clone());
    let settings = is_settings(&entry.recipe);
    let replaced_all = entry.recipe == "replaced-all";
    for change in &mut entry.changes {
        match &mut change.difference {
            Difference::Created { marker } => *marker = version(&change.object).map(|etag| json!(etag)),
            Difference::Moved { to: Some(to), version: at, .. } => *at = version(to),
            Difference::Fields { after, .. } if !settings => {
                *after = version(&change.object).map(|etag| ("etag".to_owned(), json!(etag))).into_iter().collect();
            }
            _ => {}
        }
    }
    if replaced_all {
        let stays = |change: &Change| untouched.iter().any(|member| member.path == change.object);
        entry.changes.retain(|change| change.difference != Difference::Copied || !stays(change));
        entry.changes.extend(members.iter().map(|member| Change {
            object: member.path.clone(),
            difference: Difference::Created { marker: Some(json!(member.etag)) },
        }));
    }
    entry
}

/// The entry of a collection that was made, once it is known what it is like.
#[must_use]
pub fn left_made(mut entry: Entry, made: &Collection) -> Entry {
    for change in &mut entry.changes {
        if let Difference::Created { marker } = &mut change.difference {
            *marker = Some(json!(made));
        }
    }
    entry
}

/// The places that must be looked at before an entry is taken back.
#[must_use]
pub fn whereabouts(entry: &Entry) -> Vec<String> {
    if let Some((from, to)) = elsewhere::ends(entry) {
        return vec![from.to_owned(), to.to_owned()];
    }
    let places = entry.changes.iter().flat_map(|change| {
        let to = match &change.difference {
            Difference::Moved { to, .. } => to.clone(),
            _ => None,
        };
        std::iter::once(change.object.clone()).chain(to)
    });
    places.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// What is looked at just before a call of an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// The versions in its headers say enough.
    Bound,
    /// The collection must be empty.
    Empty,
    /// The collection must hold what was moved, and nothing else.
    AsMoved,
}

/// One call of an undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackStep {
    /// The object that it puts back, as the entry names it.
    pub object: String,
    /// What leaves.
    pub call: Call,
    /// Objects that come back with it.
    pub with: Vec<String>,
    /// Whether its success is what puts the object back.
    pub restores: bool,
    /// What must be so when it runs.
    pub only: Only,
    /// What it is itself.
    pub class: Class,
}

/// The calls that take an entry back, and what they can't.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Back {
    /// In order.
    pub steps: Vec<BackStep>,
    /// Object and why.
    pub not_restored: Vec<(String, String)>,
    /// What is not as before.
    pub notes: Vec<String>,
}

impl Back {
    fn leave(&mut self, object: &str, why: &str) {
        self.not_restored.push((object.to_owned(), why.to_owned()));
    }

    fn step(&mut self, object: &str, call: Option<Call>, restores: bool) {
        match call {
            Some(call) => {
                let class = if call.method == Method::DELETE { Class::Destroy } else { Class::Modify };
                let (object, with) = (object.to_owned(), Vec::new());
                self.steps.push(BackStep { object, call, with, restores, only: Only::Bound, class });
            }
            None => self.leave(object, "its address can't be made"),
        }
    }

    /// Whom the server tells of these steps, nobody calls back.
    fn tells(&mut self, from: usize) {
        for step in self.steps.iter_mut().skip(from) {
            step.class = step.class.max(Class::Send);
        }
        self.note(WRITTEN);
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

fn call(method: &str, target: &str, headers: &[(&str, &str)], body: Bytes) -> Option<Call> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let method = Method::from_str(method).ok()?;
    Some(Call { method, target: target.to_owned(), headers, body: CallBody::Bytes(body) })
}

const XML: (&str, &str) = ("content-type", "application/xml; charset=utf-8");

/// Reverses an entry's own difference. `now`: what is at the places of [`whereabouts`]; `copies`: what the quarantine kept.
#[must_use]
pub fn inverse(entry: &Entry, now: &BTreeMap<String, Found>, copies: &BTreeMap<String, Kept>, here: &Here) -> Back {
    let mut back = Back::default();
    let there = There { entry, now, copies, here };
    if let Some((from, to)) = elsewhere::ends(entry) {
        elsewhere::back(&mut back, &there, from, to);
        return back;
    }
    // What was put there goes first: a server refuses two entries of one UID.
    for change in &entry.changes {
        match &change.difference {
            Difference::Created { marker } if entry.recipe == "made" => there.unmake(&mut back, &change.object, marker),
            Difference::Created { marker } => there.take_away(&mut back, &change.object, marker),
            Difference::Moved { to: Some(to), version, .. } => {
                there.move_back(&mut back, &change.object, to, version.as_deref());
            }
            _ => {}
        }
    }
    there.collections(&mut back);
    for change in &entry.changes {
        match &change.difference {
            Difference::Fields { before, after } if is_settings(&entry.recipe) => {
                settings(&mut back, &change.object, before, after, now);
            }
            Difference::Fields { before, after } => there.text(&mut back, &change.object, before, after),
            Difference::Copied => there.copy(&mut back, &change.object),
            _ => {}
        }
    }
    there.tells(&mut back);
    back
}

/// What an entry is taken back by.
#[derive(Clone, Copy)]
struct There<'a> {
    entry: &'a Entry,
    now: &'a BTreeMap<String, Found>,
    copies: &'a BTreeMap<String, Kept>,
    here: &'a Here,
}

impl There<'_> {
    fn etag(&self, path: &str) -> Option<&str> {
        match self.now.get(path) {
            Some(Found::Member(member)) => Some(&member.etag),
            Some(Found::Collection(_)) | None => None,
        }
    }

    fn tells(&self, back: &mut Back) {
        if told_people(self.entry) && !back.steps.is_empty() {
            back.tells(0);
        }
    }

    fn unmake(&self, back: &mut Back, object: &str, marker: &Option<Value>) {
        let present = match self.now.get(object).or_else(|| self.now.get(&format!("{object}/"))) {
            Some(Found::Collection(present)) => present,
            Some(Found::Member(_)) => return back.leave(object, OCCUPIED),
            None => return back.leave(object, GONE),
        };
        let then = marker.clone().and_then(|marker| serde_json::from_value::<Collection>(marker).ok());
        match then {
            None => back.leave(object, UNKNOWN),
            Some(then) if then != *present => back.leave(object, CHANGED),
            Some(_) => {
                let version = present.etag.iter().map(|etag| ("if-match", etag.as_str())).collect::<Vec<_>>();
                back.step(object, call("DELETE", object, &version, Bytes::new()), true);
                back.steps.iter_mut().for_each(|step| step.only = Only::Empty);
            }
        }
    }

    fn take_away(&self, back: &mut Back, object: &str, marker: &Option<Value>) {
        let restores = self.entry.recipe != "replaced-all";
        match (self.etag(object), marker.as_ref().and_then(Value::as_str)) {
            (None, _) if restores => back.leave(object, GONE),
            (None, _) => {}
            (Some(now), Some(then)) if now == then => {
                back.step(object, call("DELETE", object, &[("if-match", now)], Bytes::new()), restores);
            }
            (Some(_), None) => back.leave(object, UNKNOWN),
            (Some(_), Some(_)) => back.leave(object, CHANGED),
        }
    }

    fn move_back(&self, back: &mut Back, object: &str, to: &str, version: Option<&str>) {
        match (self.etag(to), self.now.get(object), version) {
            (None, _, _) => back.leave(object, "it is no longer where it was put"),
            (_, Some(_), _) => back.leave(object, OCCUPIED),
            (Some(_), None, None) => back.leave(object, UNKNOWN),
            (Some(now), None, Some(then)) if now != then => back.leave(object, CHANGED),
            (Some(now), None, Some(_)) => {
                let destination = format!("{}{object}", self.here.base);
                let headers = [("if-match", now), ("overwrite", "F"), ("destination", destination.as_str())];
                back.step(object, call("MOVE", to, &headers, Bytes::new()), true);
            }
        }
    }

    /// Collections that are gone are made anew, those around others first.
    fn collections(&self, back: &mut Back) {
        let mut collections: Vec<Collection> = Vec::new();
        for change in &self.entry.changes {
            if let Difference::Deleted { body, .. } = &change.difference {
                match serde_json::from_value::<Collection>(body.clone()) {
                    Ok(collection) => collections.push(collection),
                    Err(_) => back.leave(&change.object, "it is not known any more what it was like"),
                }
            }
        }
        collections.sort_by_key(|collection| collection.path.len());
        for collection in &collections {
            match self.now.get(&collection.path) {
                None => {
                    back.step(&collection.path, again(collection), true);
                    back.note(SHARING);
                }
                Some(Found::Collection(present)) => {
                    let call = reset(collection, present);
                    if call.is_some() {
                        back.step(&collection.path, call, true);
                    }
                }
                Some(Found::Member(_)) => back.leave(&collection.path, OCCUPIED),
            }
        }
    }

    /// Whether a step before takes away what is in this place.
    fn is_vacated(&self, back: &Back, object: &str) -> bool {
        let leaves = |step: &&BackStep| step.call.target == object;
        back.steps.iter().filter(leaves).any(|step| matches!(step.call.method.as_str(), "DELETE" | "MOVE"))
    }

    fn copy(&self, back: &mut Back, object: &str) {
        match self.copies.get(object) {
            None => back.leave(object, "its copy is not there any more"),
            Some(_) if self.now.contains_key(object) && !self.is_vacated(back, object) => {
                back.leave(object, "there is something in its place by now");
            }
            Some(kept) => {
                let headers = [("if-none-match", "*"), ("content-type", kept.kind.as_str())];
                self.write(back, object, call("PUT", object, &headers, kept.body.clone()), &kept.body);
            }
        }
    }

    fn write(&self, back: &mut Back, object: &str, call: Option<Call>, body: &[u8]) {
        let from = back.steps.len();
        back.step(object, call, true);
        if !glimpse(object, body).people.is_empty() {
            back.tells(from);
        }
    }

    fn text(&self, back: &mut Back, object: &str, before: &[(String, Value)], after: &[(String, Value)]) {
        let field = |fields: &[(String, Value)], name: &str| {
            fields.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_str()).map(str::to_owned)
        };
        let Some(body) = field(before, "body").and_then(|body| BASE64_STANDARD.decode(body).ok()) else {
            return back.leave(object, "its text is not there any more");
        };
        let kind = field(before, "kind").unwrap_or_else(|| "text/calendar; charset=utf-8".to_owned());
        match (self.etag(object), field(after, "etag")) {
            (None, _) => back.leave(object, "it is gone"),
            (Some(_), None) => back.leave(object, UNKNOWN),
            (Some(now), Some(then)) if now != then => back.leave(object, CHANGED),
            (Some(now), Some(_)) => {
                let headers = [("if-match", now), ("content-type", kind.as_str())];
                let call = call("PUT", object, &headers, Bytes::from(body.clone()));
                self.write(back, object, call, &body);
            }
        }
    }
}

fn settings(
    back: &mut Back,
    object: &str,
    before: &[(String, Value)],
    after: &[(String, Value)],
    now: &BTreeMap<String, Found>,
) {
    let Some(Found::Collection(present)) = now.get(object).or_else(|| now.get(&format!("{object}/"))) else {
        return back.leave(object, "it is gone");
    };
    let (mut set, mut gone) = (Vec::new(), Vec::new());
    for (name, was) in before {
        let then = after.iter().find(|(known, _)| known == name).and_then(|(_, then)| then.as_str());
        let is = present.settings.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        match was.as_str() {
            _ if is != then => back.leave(object, CHANGED),
            Some(was) => set.push((name.clone(), was.to_owned())),
            None => gone.push(name.clone()),
        }
    }
    if !set.is_empty() || !gone.is_empty() {
        back.step(object, proppatch(object, &set, &gone, ""), true);
    }
}

/// The collection made anew.
fn again(collection: &Collection) -> Option<Call> {
    let mut props: String = collection.settings.iter().map(|(name, text)| property(name, Some(text))).collect();
    let (method, root, space) = match collection.holds {
        Holds::Events => {
            props.push_str(&components(collection));
            ("MKCALENDAR", "C:mkcalendar", "urn:ietf:params:xml:ns:caldav")
        }
        Holds::Contacts => {
            props.push_str("<resourcetype><collection/><C:addressbook/></resourcetype>");
            ("MKCOL", "mkcol", "urn:ietf:params:xml:ns:carddav")
        }
        Holds::Else => return call("MKCOL", &collection.path, &[], Bytes::new()),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><{root} xmlns=\"DAV:\" xmlns:C=\"{space}\"><set><prop>{props}</prop></set></{root}>"
    );
    call(method, &collection.path, &[XML], Bytes::from(body))
}

/// Which kinds of entries a calendar takes, as an element; empty if it was not said.
fn components(collection: &Collection) -> String {
    let comps: String =
        collection.components.iter().map(|name| format!("<C:comp name=\"{}\"/>", escaped(name))).collect();
    if comps.is_empty() {
        return comps;
    }
    format!(
        "<C:supported-calendar-component-set xmlns:C=\"urn:ietf:params:xml:ns:caldav\">{comps}</C:supported-calendar-component-set>"
    )
}

/// Its settings as they were; `None` if they are.
fn reset(collection: &Collection, present: &Collection) -> Option<Call> {
    let set: Vec<(String, String)> =
        collection.settings.iter().filter(|one| !present.settings.contains(one)).cloned().collect();
    let had = |name: &String| collection.settings.iter().any(|(known, _)| known == name);
    let gone: Vec<String> = present.settings.iter().map(|(name, _)| name.clone()).filter(|name| !had(name)).collect();
    let kinds = if collection.components == present.components { String::new() } else { components(collection) };
    if set.is_empty() && gone.is_empty() && kinds.is_empty() {
        return None;
    }
    proppatch(&collection.path, &set, &gone, &kinds)
}

fn proppatch(path: &str, set: &[(String, String)], gone: &[String], more: &str) -> Option<Call> {
    let texts: String = set.iter().map(|(name, text)| property(name, Some(text))).chain([more.to_owned()]).collect();
    let names: String = gone.iter().map(|name| property(name, None)).collect();
    let part = |name: &str, inner: String| match inner.is_empty() {
        true => String::new(),
        false => format!("<{name}><prop>{inner}</prop></{name}>"),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><propertyupdate xmlns=\"DAV:\">{}{}</propertyupdate>",
        part("set", texts),
        part("remove", names)
    );
    call("PROPPATCH", path, &[XML], Bytes::from(body))
}

/// `{namespace}name` as an element.
fn property(name: &str, text: Option<&str>) -> String {
    let Some((space, local)) = name.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return String::new();
    };
    let space = escaped(space);
    match text {
        Some(text) => format!("<X:{local} xmlns:X=\"{space}\">{}</X:{local}>", escaped(text)),
        None => format!("<X:{local} xmlns:X=\"{space}\"/>"),
    }
}
