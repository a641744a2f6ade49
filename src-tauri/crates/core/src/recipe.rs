//! How to read, rewrite and soften what a provider file describes: pure, calls go out as data and answers come in as JSON.
//!
//! ```text
//!   Within ── resolve ──> reads ── resolved ──> Listed ── preview, view ──> the dialog
//!                                                 ├── restrict: allowed in part
//!                                                 ├── soften: what runs instead; quarantine: what is copied first
//!                                                 └── divert_to_draft, send_stored, cancel_draft: the outbox
//!   recipient ── sent::search, sent::read ──> did the person write there before?
//! ```

pub mod sent;
pub mod stop;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::call::{Call, CallBody, Digest};
use crate::catalog::Provider;
use crate::catalog::file::{Bulk, Container, Members, SetChange, Undo};
use crate::catalog::template::pick;
use crate::classify::normalise::{Target, encode, plain_id};
use crate::classify::{mail, upload};
use crate::operation::{Class, Fact, Objects, Part};

/// One operation may name so many objects; beyond, it is refused.
const MOST_OBJECTS: usize = 10_000;

/// Why an answer could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// More objects than one operation may name.
    #[error("more than {limit} objects: ask for fewer at a time")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The upstream's answer is not what the provider file expects.
    #[error("the provider's answer could not be understood: {0}")]
    Answer(String),
}

/// How far resolving has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Every id is known.
    Done(Box<Part>),
    /// Further pages: make these calls too, append their answers to all earlier ones and ask again.
    More(Vec<(String, Call)>),
}

/// What to read before the part can be decided: container id and call. Empty if nothing is missing.
#[must_use]
pub fn resolve(provider: &Provider, part: &Part) -> Vec<(String, Call)> {
    let Objects::Within { container, ids, .. } = &part.operation.objects else { return Vec::new() };
    let Some(rule) = provider.file.containers.get(container) else { return Vec::new() };
    let read = |id: &String| Some((id.clone(), Call::get(provider.target(&rule.read, &part.params, id)?)));
    ids.iter().filter_map(read).collect()
}

/// The part with its exact objects (and, for a stored draft, its audience, facts and content), from all answers so far, in the order of the calls.
pub fn resolved(provider: &Provider, part: &Part, answers: &[(String, Value)]) -> Result<Resolution, RecipeError> {
    let Objects::Within { kind, container, ids } = &part.operation.objects else {
        return Ok(Resolution::Done(Box::new(part.clone())));
    };
    let missing = || RecipeError::Answer(format!("the provider file has no container {container:?}"));
    let rule = provider.file.containers.get(container).ok_or_else(missing)?;
    let last = |id: &String| answers.iter().rev().find(|(known, _)| known == id).map(|(_, answer)| answer);
    let mut more = Vec::new();
    for id in ids {
        let answer = last(id).ok_or_else(|| RecipeError::Answer(format!("nothing was read for {id}")))?;
        more.extend(next_page(provider, rule, part, id, answer).map(|call| (id.clone(), call)));
    }
    if rule.mail.is_some() {
        return stored_mail(provider, rule, part, kind, answers).map(|part| Resolution::Done(Box::new(part)));
    }
    let objects = inside(rule, answers)?;
    if objects.len() > MOST_OBJECTS {
        return Err(RecipeError::TooMany { limit: MOST_OBJECTS });
    }
    if !more.is_empty() {
        return Ok(Resolution::More(more));
    }
    let mut part = part.clone();
    let route = provider.route(&part.operation.action).filter(|route| route.freeze && !objects.is_empty());
    let split = route.and_then(|route| provider.file.bulk.get(route.split.as_ref()?));
    if let Some(call) = split.and_then(|split| bulk(provider, split, &part, &objects)) {
        part.call = call;
    }
    part.operation.objects = Objects::Listed { kind: kind.clone(), ids: objects };
    Ok(Resolution::Done(Box::new(part)))
}

fn next_page(provider: &Provider, rule: &Container, part: &Part, id: &str, answer: &Value) -> Option<Call> {
    let token = answer.pointer(rule.next.as_ref()?)?.as_str().filter(|token| !token.is_empty())?;
    let target = provider.target(&rule.read, &part.params, id)?;
    let joint = if target.contains('?') { '&' } else { '?' };
    Some(Call::get(format!("{target}{joint}{}={}", rule.page.as_ref()?, encode(token))))
}

fn inside(rule: &Container, answers: &[(String, Value)]) -> Result<Vec<String>, RecipeError> {
    let mut seen = BTreeSet::new();
    let mut objects = Vec::new();
    let (list, id) = (rule.list.as_deref().unwrap_or_default(), rule.id.as_deref().unwrap_or_default());
    for (container, answer) in answers {
        let found = match answer.pointer(list) {
            None | Some(Value::Null) => &Vec::new(),
            Some(Value::Array(found)) => found,
            Some(_) => return Err(RecipeError::Answer(format!("{container}: {list} is no list"))),
        };
        for object in found {
            let id = object.pointer(id).and_then(Value::as_str).filter(|id| plain_id(id));
            let id = id.ok_or_else(|| RecipeError::Answer(format!("{container}: an object has no id")))?;
            if seen.insert(id.to_owned()) {
                objects.push(id.to_owned());
            }
        }
    }
    Ok(objects)
}

/// What a stored draft says becomes part of the operation, and of the call: the approved text is what is sent.
fn stored_mail(
    provider: &Provider,
    rule: &Container,
    part: &Part,
    kind: &str,
    answers: &[(String, Value)],
) -> Result<Part, RecipeError> {
    let [(id, answer)] = answers else {
        return Err(RecipeError::Answer("exactly one draft was expected".to_owned()));
    };
    let mut part = part.clone();
    let raw = rule.mail.as_ref().and_then(|at| answer.pointer(at)).and_then(Value::as_str).and_then(mail::from_base64);
    let raw = raw.ok_or_else(|| RecipeError::Answer(format!("{id}: its text is missing")))?;
    part.operation.objects = Objects::Listed { kind: kind.to_owned(), ids: vec![id.clone()] };
    let content = match mail::decode(&raw) {
        Ok(mail) if !mail.audience.members.is_empty() => {
            part.operation.audience = Some(mail.audience);
            part.operation.facts.extend(mail.facts);
            mail.content
        }
        other => {
            let why = other.err().unwrap_or_else(|| "it has no recipients".to_owned());
            part.operation.facts.push(Fact { label: "The mail can't be decoded".to_owned(), value: why });
            part.operation.class = Class::Unclassified;
            part.operation.meters = Vec::new();
            part.operation.opaque = true;
            Digest::of(&[&raw])
        }
    };
    part.operation.content = Digest::of(&[&part.operation.content.0, &content.0]);
    let mut value = body(&part.call).unwrap_or_else(|| Value::Object(Map::new()));
    for (to, from) in &rule.fix {
        if let Some(found) = answer.pointer(from) {
            place(&mut value, to, found.clone());
        }
    }
    let pointer = rule.fix.iter().find(|(_, from)| Some(*from) == rule.mail.as_ref()).map(|(to, _)| to.as_str());
    let call = pointer.and_then(|pointer| carry(provider, &part.call, value, pointer));
    part.call = call.ok_or_else(|| RecipeError::Answer(format!("{id}: its text can't be sent again")))?;
    Ok(part)
}

/// A call to the same method and path with another body; a large mail goes by the upload path.
fn carry(provider: &Provider, call: &Call, mut value: Value, pointer: &str) -> Option<Call> {
    let raw = value.pointer_mut(pointer).map(Value::take).and_then(|raw| mail::from_base64(raw.as_str()?))?;
    let carrier = upload::Carrier {
        method: call.method.clone(),
        target: Target::parse(&call.target).ok()?,
        headers: call.headers.iter().filter(|(name, _)| name != "content-type").cloned().collect(),
        upload_prefix: provider.file.upload_prefixes.first().map(String::as_str),
    };
    carrier.call(value, Some((pointer, raw)))
}

/// The JSON body of a call.
pub(crate) fn body(call: &Call) -> Option<Value> {
    match &call.body {
        CallBody::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
        CallBody::Aside(_) | CallBody::Streamed => None,
    }
}

/// Writes a value where a pointer says, over whatever stands there.
pub(crate) fn place(value: &mut Value, pointer: &str, new: Value) {
    if let Some(old) = value.pointer_mut(pointer) {
        *old = new;
    } else {
        let _ = upload::put(value, pointer, new);
    }
}

/// The call that reads what the dialog shows of one object.
#[must_use]
pub fn preview(provider: &Provider, part: &Part, id: &str) -> Option<Call> {
    let (Objects::Listed { kind, .. } | Objects::Within { kind, .. }) = &part.operation.objects else { return None };
    let read = provider.file.kinds.get(kind)?.preview.as_ref()?;
    Some(Call::get(provider.target(read, &part.params, id)?))
}

/// One object for the dialog.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct View {
    /// A subject, a name; the id if there is none.
    pub title: String,
    /// Who it is from.
    pub from: Option<String>,
    /// When, RFC 3339.
    pub date: Option<String>,
    /// `starred`, `unread`, `important`, ...
    pub flags: Vec<String>,
    /// In bytes, where that is known.
    pub size: Option<u64>,
}

/// The longest title of an object that is shown, in characters.
const LONGEST_TITLE: usize = 1000;
/// The longest sender: a name, and the longest address (RFC 5321 section 4.5.3.1).
const LONGEST_SENDER: usize = 200 + 320;

impl View {
    /// The same as far as it has room in a list: anybody may write any length.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            title: cut(self.title, LONGEST_TITLE),
            from: self.from.map(|from| cut(from, LONGEST_SENDER)),
            date: self.date.map(|date| cut(date, LONGEST_SENDER)),
            ..self
        }
    }
}

/// So many characters of a text, with a mark where something is left out.
#[must_use]
pub fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Reads a [`View`] from the answer to [`preview`].
#[must_use]
pub fn view(provider: &Provider, kind: &str, id: &str, answer: &Value) -> View {
    let untold = View { title: id.to_owned(), ..View::default() };
    let Some(kind) = provider.file.kinds.get(kind) else { return untold };
    let Some(answer) = pick(kind.preview.as_deref().unwrap_or_default(), id, answer) else { return untold };
    let rule = &kind.view;
    let text = |at: &String| match at.strip_prefix("header:") {
        Some(name) => header(answer.pointer(rule.headers.as_ref()?)?, name),
        None => answer.pointer(at)?.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned),
    };
    let words = rule.flags_at.as_ref().and_then(|at| answer.pointer(at)).and_then(Value::as_array);
    let flags = words.into_iter().flatten().filter_map(|word| rule.flags.get(word.as_str()?).cloned());
    View {
        title: rule.title.iter().find_map(text).unwrap_or(untold.title),
        from: rule.from.as_ref().and_then(text),
        date: rule.date.as_ref().and_then(|at| date(answer.pointer(at)?)),
        flags: flags.collect(),
        size: None,
    }
}

fn header(list: &Value, name: &str) -> Option<String> {
    let named =
        |one: &&Value| one.get("name").and_then(Value::as_str).is_some_and(|other| other.eq_ignore_ascii_case(name));
    let value = list.as_array()?.iter().find(named)?.get("value")?.as_str()?;
    (!value.trim().is_empty()).then(|| value.to_owned())
}

fn date(value: &Value) -> Option<String> {
    let millis = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    let sane = (0..253_402_300_800_000).contains(&millis);
    sane.then(|| mail_parser::DateTime::from_timestamp(millis.div_euclid(1000)).to_rfc3339())
}

/// The part on exactly `keep` of its objects; `None` if it can't be split or `keep` is not a non-empty subset.
#[must_use]
pub fn restrict(provider: &Provider, part: &Part, keep: &[String]) -> Option<Part> {
    let Objects::Listed { kind, ids } = &part.operation.objects else { return None };
    let known: BTreeSet<&String> = ids.iter().collect();
    let wanted: BTreeSet<&String> = keep.iter().collect();
    let kept: Vec<String> = ids.iter().filter(|id| wanted.contains(id)).cloned().collect();
    if kept.is_empty() || !wanted.is_subset(&known) {
        return None;
    }
    if kept.len() == ids.len() {
        return Some(part.clone());
    }
    let route = provider.route(&part.operation.action)?;
    let mut part = part.clone();
    part.call = if let Some(split) = &route.split {
        bulk(provider, provider.file.bulk.get(split)?, &part, &kept)?
    } else {
        let at = route.objects.at.as_ref().filter(|_| route.objects.container.is_none())?;
        let mut value = body(&part.call)?;
        *value.pointer_mut(at)? = json!(kept);
        Call { body: CallBody::Bytes(Bytes::from(value.to_string())), ..part.call }
    };
    part.operation.objects = Objects::Listed { kind: kind.clone(), ids: kept };
    Some(part)
}

fn bulk(provider: &Provider, bulk: &Bulk, part: &Part, ids: &[String]) -> Option<Call> {
    if ids.len() > bulk.most {
        return None;
    }
    let mut value = Value::Object(Map::new());
    place(&mut value, &bulk.ids, json!(ids));
    if let (Some(set), Some(change)) = (&bulk.set, &bulk.change) {
        let set = provider.file.sets.get(set)?;
        let (added, removed) = changed(change, part);
        place(&mut value, &set.add, json!(added));
        place(&mut value, &set.remove, json!(removed));
    }
    let target = provider.target(&bulk.write.path, &part.params, "")?;
    let json = Call::json(bulk.write.method.clone(), target, &value);
    let own = part.call.headers.iter().filter(|(name, _)| name != "content-type").cloned();
    Some(Call { headers: own.chain(json.headers).collect(), ..json })
}

/// Whether the part could make its objects what a rule speaks of: it takes the star off, or puts them into the inbox.
#[must_use]
pub fn sways(provider: &Provider, part: &Part) -> bool {
    let undo = part.operation.undo.as_ref().and_then(|undo| provider.file.undo.get(undo));
    let flags =
        part.operation.objects.kind().and_then(|kind| provider.file.kinds.get(kind)).map(|kind| &kind.view.flags);
    let (Some(Undo::SetDifference { change, .. }), Some(flags)) = (undo, flags) else { return false };
    let is = |word: &String, wanted: &str| flags.get(&word.to_ascii_uppercase()).is_some_and(|flag| flag == wanted);
    let (added, removed) = changed(change, part);
    removed.iter().any(|word| is(word, crate::scope::STARRED)) || added.iter().any(|word| is(word, crate::scope::INBOX))
}

/// What an operation adds to and removes from its objects' sets.
pub(crate) fn changed(change: &SetChange, part: &Part) -> (Vec<String>, Vec<String>) {
    let value = body(&part.call);
    let read = |fixed: &[String], at: &Option<String>| {
        let mut words = fixed.to_vec();
        match at.as_ref().and_then(|at| value.as_ref()?.pointer(at)) {
            Some(Value::String(word)) => words.push(word.clone()),
            Some(Value::Array(found)) => words.extend(found.iter().filter_map(|word| word.as_str().map(str::to_owned))),
            _ => {}
        }
        words.dedup();
        words
    };
    (read(&change.adds, &change.add), read(&change.removes, &change.remove))
}

/// The bulk writes of a set, as many as its limit makes necessary.
pub(crate) fn writes(
    provider: &Provider,
    set: &Members,
    params: &[(String, String)],
    ids: &[String],
    (added, removed): (&[String], &[String]),
) -> Vec<(Vec<String>, Call)> {
    let Some(target) = provider.target(&set.write.path, params, "") else { return Vec::new() };
    let write = |ids: &[String]| {
        let mut value = Value::Object(Map::new());
        place(&mut value, &set.ids, json!(ids));
        place(&mut value, &set.add, json!(added));
        place(&mut value, &set.remove, json!(removed));
        (ids.to_vec(), Call::json(set.write.method.clone(), target.clone(), &value))
    };
    ids.chunks(set.most.max(1)).map(write).collect()
}

/// An answer that the agent gets without the upstream's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json; charset=UTF-8".to_owned())];
        Self { status, headers, body: Bytes::from(value.to_string()) }
    }
}

/// What runs instead of the call as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Softened {
    /// The calls with the ids that each covers.
    pub calls: Vec<(Vec<String>, Call)>,
    /// What the API would have answered.
    pub answer: Answer,
    /// The undo recipe for it: put it into the operation's `undo` before asking [`crate::undo`].
    pub undo: Option<String>,
}

/// The milder calls with the same effect for the agent; `None` if the call runs as asked. Ask it for every part whose operation has `soften`,
/// whatever its Class: a thread's operation becomes one on the exact messages that were resolved.
#[must_use]
pub fn soften(provider: &Provider, part: &Part) -> Option<Softened> {
    let rule = provider.file.soften.get(part.operation.soften.as_ref()?)?;
    let set = provider.file.sets.get(&rule.set)?;
    let ids = part.operation.objects.ids();
    if ids.is_empty() {
        return None;
    }
    let (added, removed) = changed(&rule.change, part);
    let calls = writes(provider, set, &part.params, ids, (&added, &removed));
    let answer = match &rule.body {
        None => Answer { status: rule.status, headers: Vec::new(), body: Bytes::new() },
        Some(body) => {
            let container = part.params.iter().find(|(name, _)| *name == body.param).map(|(_, value)| value.as_str());
            let listed: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
            Answer::json(rule.status, &json!({ "id": container, body.list.as_str(): listed }))
        }
    };
    (!calls.is_empty()).then(|| Softened { calls, answer, undo: Some(rule.undo.clone()) })
}

/// What to copy before it is gone for ever: id and call. Empty where nothing can be copied.
#[must_use]
pub fn quarantine(provider: &Provider, part: &Part) -> Vec<(String, Call)> {
    let Objects::Listed { kind, ids } = &part.operation.objects else { return Vec::new() };
    let copied = provider.route(&part.operation.action).is_some_and(|route| route.copied);
    let Some(copy) = provider.file.kinds.get(kind).and_then(|kind| kind.copy.as_ref()).filter(|_| copied) else {
        return Vec::new();
    };
    ids.iter().filter_map(|id| Some((id.clone(), Call::get(provider.target(copy, &part.params, id)?)))).collect()
}

/// Puts a mail into the upstream's drafts instead of sending it. `None` for what can't wait so, such as a stored draft.
#[must_use]
pub fn divert_to_draft(provider: &Provider, part: &Part) -> Option<Call> {
    let outbox = provider.file.outbox.as_ref()?;
    let route = provider.route(&part.operation.action).filter(|route| outbox.routes.contains(&route.id))?;
    let value = upload::value_of(&part.call, route.mail.as_deref()?, provider.file.json_names)?;
    let target = provider.target(&outbox.create.path, &part.params, "")?;
    let call = Call { method: outbox.create.method.clone(), target, ..part.call.clone() };
    let inner = route.mail.as_deref()?;
    carry(provider, &call, json!({ outbox.message.as_str(): value }), &format!("/{}{inner}", outbox.message))
}

/// What the agent is told when its mail waits as a draft: the draft's id, and its message as the answer. `None` if the answer names no draft.
#[must_use]
pub fn diverted(provider: &Provider, part: &Part, answer: &Value) -> Option<(String, Answer)> {
    let outbox = provider.file.outbox.as_ref()?;
    provider.route(&part.operation.action).filter(|route| outbox.routes.contains(&route.id))?;
    let id = answer.pointer(&outbox.id)?.as_str().filter(|id| plain_id(id))?;
    let message = answer.get(&outbox.message)?;
    Some((id.to_owned(), Answer::json(200, message)))
}

/// How a stored draft is really sent: its approved text by itself, then the draft is deleted. A draft can be changed until it leaves, and not every
/// upstream heeds a text that comes with its sending. `None` for everything else.
#[must_use]
pub fn send_stored(provider: &Provider, part: &Part) -> Option<(Call, Option<Call>)> {
    let outbox = provider.file.outbox.as_ref()?;
    let route = provider.route(&part.operation.action)?;
    let pointer = route.mail.as_deref().filter(|_| route.class == Class::Send)?;
    let inner = pointer.strip_prefix('/')?.strip_prefix(outbox.message.as_str())?;
    let mut value = upload::value_of(&part.call, pointer, provider.file.json_names)?;
    let message = value.get_mut(&outbox.message)?.take();
    let target = provider.target(&outbox.send.path, &part.params, "")?;
    let call = Call { method: outbox.send.method.clone(), target, ..part.call.clone() };
    let draft = part.operation.objects.ids().first().and_then(|draft| cancel_draft(provider, &part.params, draft));
    Some((carry(provider, &call, message, inner)?, draft))
}

/// Deletes a draft that [`divert_to_draft`] made; `params` are those of the part that it was made from.
#[must_use]
pub fn cancel_draft(provider: &Provider, params: &[(String, String)], draft: &str) -> Option<Call> {
    let outbox = provider.file.outbox.as_ref()?;
    let target = provider.target(&outbox.cancel.path, params, draft)?;
    Some(Call { method: outbox.cancel.method.clone(), ..Call::get(target) })
}
