//! From a route and a body to an operation and the one call that does it.

use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};

use super::normalise::{Target, plain_id};
use super::{Refusal, json, mail, upload};
use crate::call::{Call, CallBody, Digest};
use crate::catalog::Provider;
use crate::catalog::file::{Case, FactRule, Route};
use crate::operation::{Audience, Class, Fact, Member, Objects, Operation, Part};

/// A normalised head.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// As the origin would understand it.
    pub method: Method,
    pub target: Target,
    /// Only what is forwarded.
    pub headers: Vec<(String, String)>,
    pub content_type: Option<String>,
    pub params: Vec<(String, String)>,
    /// It came by an upload prefix; the path's segments without it.
    pub upload: Option<Vec<String>>,
    /// An overridden GET whose query is the form in its body.
    pub form: bool,
}

impl Asked {
    pub(super) fn with_form(&self, body: &Bytes) -> Result<Self, Refusal> {
        let text =
            std::str::from_utf8(body).map_err(|_| Refusal::new(400, "The form can't be read", "It is not UTF-8."))?;
        let form = Target::parse(&format!("/?{}", text.trim()))?;
        let mut asked = self.clone();
        asked.target.query.extend(form.query);
        Ok(asked)
    }

    fn query(&self, name: &str) -> impl Iterator<Item = &str> {
        self.target.query.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn call(&self, target: String, headers: &[(&str, &str)], body: CallBody) -> Call {
        let mut all = self.headers.clone();
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Call { method: self.method.clone(), target, headers: all, body }
    }
}

/// Renames query parameters to their one spelling.
pub(super) fn rename_query(provider: &Provider, own: &[String], asked: &mut Asked) {
    let known = |name: &str| {
        provider.file.query.iter().any(|known| known == name)
            || own.iter().any(|known| known.trim_end_matches('*') == name)
    };
    for (name, _) in &mut asked.target.query {
        if known(name) {
            continue;
        }
        let plain = provider.file.json_names.canonical(name.trim_start_matches('$'));
        if known(&plain) {
            *name = plain;
        }
    }
}

/// Refuses what the origin would not understand or could understand in two ways.
pub(super) fn check_query(provider: &Provider, route: &Route, asked: &mut Asked) -> Result<(), Refusal> {
    rename_query(provider, &route.query, asked);
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &asked.target.query {
        let own = route.query.iter().find(|known| known.trim_end_matches('*') == name);
        if own.is_none() && !provider.file.query.contains(name) {
            return Err(Refusal::new(
                400,
                "The query has an unknown parameter",
                format!("{name:?} is not known for {}. Nothing was sent; leave it out.", provider.action(&route.id)),
            ));
        }
        if seen.contains(&name.as_str()) && !own.is_some_and(|known| known.ends_with('*')) {
            return Err(Refusal::new(
                400,
                "A query parameter stands there twice",
                format!("{name:?} may stand there once."),
            ));
        }
        if provider.file.query_values.get(name).is_some_and(|allowed| !allowed.contains(value)) {
            return Err(Refusal::new(
                400,
                "A query parameter has a value that is not accepted",
                format!("{name}={value} is not accepted."),
            ));
        }
        seen.push(name);
    }
    if route.class != Class::Read {
        asked.target.query.retain(|(name, _)| !provider.file.query_shapes.contains(name));
    }
    if asked.upload.is_none() {
        asked.target.query.retain(|(name, _)| name != "uploadType" && name != "upload_protocol");
    }
    Ok(())
}

/// Whether the query alone makes the route something else.
pub(super) fn case_by_query(provider: &Provider, route: &Route, asked: &Asked) -> bool {
    case(provider, route, asked, &Value::Null).is_some()
}

/// A request that no route knows.
pub(super) fn unknown(provider: &Provider, asked: &Asked, body: &Bytes) -> Part {
    let text = std::str::from_utf8(body).ok();
    let reads = provider.file.safe_methods && matches!(asked.method, Method::GET | Method::HEAD) && body.is_empty();
    let mut facts = vec![fact("Request", format!("{} {}", asked.method, asked.target.text()))];
    if !body.is_empty() {
        facts.push(fact("Body", text.unwrap_or("it is not text").to_owned()));
    }
    let content_type = asked.content_type.as_deref().unwrap_or("application/octet-stream");
    let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("content-type", content_type)] };
    let call = asked.call(asked.target.text(), headers, CallBody::Bytes(body.clone()));
    Part {
        operation: Operation {
            action: provider.action("unclassified"),
            class: if reads { Class::Read } else { Class::Unclassified },
            verb: if reads { "Read" } else { "Do something unknown" }.to_owned(),
            objects: Objects::None,
            meters: Vec::new(),
            audience: None,
            facts,
            undo: None,
            soften: None,
            content: call.digest(),
            opaque: text.is_none(),
        },
        call,
        params: Vec::new(),
        content_id: None,
    }
}

/// A request whose body passes through while it arrives.
pub(super) fn streamed(provider: &Provider, route: &Route, asked: &Asked) -> Result<Part, Refusal> {
    let content_type = asked.content_type.clone().unwrap_or_default();
    if !matches!(upload::essence(&content_type).as_str(), "message/rfc822" | "multipart/related") {
        return Err(Refusal::new(415, "An upload must be a mail", "Use message/rfc822 or multipart/related."));
    }
    let call = asked.call(asked.target.text(), &[("content-type", &content_type)], CallBody::Streamed);
    let operation = operation(provider, route, asked, &Value::Null)?;
    let facts = facts(provider, &route.facts, asked, &Value::Null);
    let content = call.digest();
    Ok(Part {
        operation: Operation { facts, content, ..operation },
        call,
        params: asked.params.clone(),
        content_id: None,
    })
}

/// A request that is wholly known.
pub(super) fn part(provider: &Provider, route: &Route, asked: &Asked, body: &Bytes) -> Result<Part, Refusal> {
    let mut value = read(provider, route, asked, body)?;
    check_lists(provider, &value)?;
    let mut operation = operation(provider, route, asked, &value)?;
    operation.facts = facts(provider, &route.facts, asked, &value);
    operation.audience = audience(route, asked, &value);
    let mut digests = vec![query_digest(provider, asked)];
    let mut raw = None;
    if let Some(pointer) = &route.mail {
        raw = take_mail(&mut operation, &mut value, pointer)?;
    }
    let unknown = unknown_fields(provider, route, &value);
    if !unknown.is_empty() {
        operation.facts.push(fact("Fields that the guard does not know", unknown.join(", ")));
        operation.opaque |= route.class == Class::Send;
        not_understood(&mut operation);
    }
    let mut rest = value.clone();
    if let Some(pointer) = &route.objects.at {
        remove(&mut rest, pointer);
    }
    digests.push(Digest::of(&[json::sorted(&rest).to_string().as_bytes()]));
    if raw.is_some() {
        digests.push(operation.content);
    }
    let fields: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
    operation.content = Digest::of(&fields);
    let call = call(provider, route, asked, value, raw)?;
    Ok(Part { operation, call, params: asked.params.clone(), content_id: None })
}

fn not_understood(operation: &mut Operation) {
    operation.class = match operation.class {
        Class::Send => Class::Unclassified,
        class => class.max(Class::Unclassified),
    };
    operation.meters = Vec::new();
    operation.undo = None;
    operation.soften = None;
}

/// Reads the body in the form that the route takes; `Null` if it takes none.
fn read(provider: &Provider, route: &Route, asked: &Asked, body: &Bytes) -> Result<Value, Refusal> {
    let names = provider.file.json_names;
    if let (Some(_), Some(pointer)) = (&asked.upload, &route.mail) {
        let content_type = asked.content_type.as_deref().unwrap_or_default();
        return upload::read(body, content_type, pointer, names);
    }
    let empty = body.iter().all(u8::is_ascii_whitespace);
    if empty {
        return Ok(if route.fields.is_empty() { Value::Null } else { Value::Object(Map::new()) });
    }
    let unreadable = |why: String| {
        Refusal::new(
            400,
            "The body can't be understood",
            format!("{why}. Nothing was sent; send the JSON that the provider documents."),
        )
    };
    let kind = asked.content_type.as_deref().map(upload::essence).unwrap_or_default();
    if kind != "application/json" && !route.fields.is_empty() {
        return Err(Refusal::new(
            415,
            "The body must be JSON",
            format!("Content-Type is {kind:?}; send application/json."),
        ));
    }
    let value = json::parse(body, names).map_err(unreadable)?;
    let Some(map) = value.as_object() else {
        return Err(unreadable("it is not a JSON object".to_owned()));
    };
    if !route.fields.is_empty() {
        return Ok(value);
    }
    if map.is_empty() { Ok(Value::Null) } else { Err(unreadable("this request has no body".to_owned())) }
}

fn operation(provider: &Provider, route: &Route, asked: &Asked, value: &Value) -> Result<Operation, Refusal> {
    let case = case(provider, route, asked, value);
    let undo = case.and_then(|case| case.undo.as_ref()).or(route.undo.as_ref()).filter(|undo| *undo != "none").cloned();
    Ok(Operation {
        action: provider.action(&route.id),
        class: case.and_then(|case| case.class).unwrap_or(route.class),
        verb: case.and_then(|case| case.verb.clone()).unwrap_or_else(|| route.verb.clone()),
        objects: objects(route, asked, value)?,
        meters: case.and_then(|case| case.meters.clone()).unwrap_or_else(|| route.meters.clone()),
        audience: None,
        facts: Vec::new(),
        undo,
        soften: route.soften.clone(),
        content: Digest([0; 32]),
        opaque: false,
    })
}

fn case<'a>(provider: &'a Provider, route: &Route, asked: &Asked, value: &Value) -> Option<&'a Case> {
    let cases = provider.file.cases.get(route.cases.as_ref()?)?;
    cases.iter().find(|case| {
        let mut found = Vec::new();
        if let Some(at) = &case.at {
            found.extend(value.pointer(at).map(words).unwrap_or_default());
        }
        if let Some(name) = &case.query {
            found.extend(asked.query(name).map(str::to_owned));
        }
        let among = |list: &[String], word: &str| list.iter().any(|one| one.eq_ignore_ascii_case(word));
        let any = case.any.is_empty() || found.iter().any(|word| among(&case.any, word));
        let except = case.except.is_empty() || found.iter().any(|word| !among(&case.except, word));
        let together: usize =
            case.alone.iter().filter_map(|at| value.pointer(at)).map(|value| words(value).len()).sum();
        !found.is_empty() && any && except && (case.alone.is_empty() || together == 1)
    })
}

/// All words in a value, however deep.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(flag) => vec![flag.to_string()],
        Value::Number(number) => vec![number.to_string()],
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(words).collect(),
        Value::Object(map) => {
            map.iter().flat_map(|(name, value)| [vec![name.clone()], words(value)].concat()).collect()
        }
    }
}

fn objects(route: &Route, asked: &Asked, value: &Value) -> Result<Objects, Refusal> {
    let rule = &route.objects;
    let mut ids: Vec<String> = Vec::new();
    if let Some(param) = &rule.param {
        ids.extend(asked.param(param).map(str::to_owned));
    }
    if let Some(at) = &rule.at {
        let named = listed(value.pointer(at), at, rule.most == Some(1))?;
        if let Some(most) = rule.most.filter(|most| named.len() > *most) {
            let detail = format!("{} ids were named, the provider takes {most}. Ask in smaller parts.", named.len());
            return Err(Refusal::new(400, "Too many ids", detail));
        }
        for id in named {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    if let Some(bad) = ids.iter().find(|id| !plain_id(id)) {
        return Err(Refusal::new(400, "An id can't be right", format!("{bad:?} is no id of this provider.")));
    }
    let kind = rule.kind.clone();
    let content_known = route.mail.as_ref().is_some_and(|at| value.pointer(at).is_some_and(Value::is_string));
    Ok(match &rule.container {
        _ if ids.is_empty() && rule.at.is_none() => Objects::None,
        Some(_) if ids.is_empty() => Objects::None,
        Some(container) if !content_known => Objects::Within { kind, container: container.clone(), ids },
        Some(_) | None => Objects::Listed { kind, ids },
    })
}

/// The ids at a pointer: a text where the provider takes one id, a list of texts everywhere else.
fn listed(value: Option<&Value>, at: &str, single: bool) -> Result<Vec<String>, Refusal> {
    let wrong = || {
        let detail = format!("{at} must be {}. Nothing was sent.", if single { "one text" } else { "a list of texts" });
        Refusal::new(400, "The ids can't be read", detail)
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(id)) if single => Ok(vec![id.clone()]),
        Some(Value::Array(ids)) if !single => {
            ids.iter().map(|id| id.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

/// Refuses anything but a list where the provider file says that there is one.
fn check_lists(provider: &Provider, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Object(map) => map.iter().try_for_each(|(name, inner)| {
            if provider.file.lists.contains(name) && !matches!(inner, Value::Array(_) | Value::Null) {
                let detail = format!("{name} holds a list: write [...], also around a single value. Nothing was sent.");
                return Err(Refusal::new(400, "The body can't be understood", detail));
            }
            check_lists(provider, inner)
        }),
        Value::Array(values) => values.iter().try_for_each(|inner| check_lists(provider, inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn fact(label: &str, value: String) -> Fact {
    Fact { label: label.to_owned(), value }
}

fn facts(provider: &Provider, rules: &[FactRule], asked: &Asked, value: &Value) -> Vec<Fact> {
    let mut facts = Vec::new();
    for rule in rules {
        let mut found = Vec::new();
        if let Some(at) = &rule.at {
            found.extend(value.pointer(at).map(words).unwrap_or_default());
        }
        if let Some(name) = &rule.param {
            found.extend(asked.param(name).map(str::to_owned));
        }
        if let Some(name) = &rule.query {
            found.extend(asked.query(name).map(str::to_owned));
        }
        let table = rule.words.as_ref().and_then(|name| provider.file.words.get(name));
        let plain = |word: String| match word.as_str() {
            "true" => "yes".to_owned(),
            "false" => "no".to_owned(),
            _ => table.and_then(|table| table.get(&word)).cloned().unwrap_or(word),
        };
        let text = found.into_iter().map(plain).collect::<Vec<_>>().join(", ");
        if !text.is_empty() {
            facts.push(fact(&rule.label, text));
        }
    }
    facts
}

fn audience(route: &Route, asked: &Asked, value: &Value) -> Option<Audience> {
    let mut audience = Audience::default();
    for rule in &route.audience {
        let mut found = Vec::new();
        if let Some(at) = &rule.at {
            found.extend(value.pointer(at).map(words).unwrap_or_default());
        }
        if let Some(param) = &rule.param {
            found.extend(asked.param(param).map(str::to_owned));
        }
        if rule.place {
            audience.place = Some(if found.is_empty() { rule.role.clone() } else { found.join(", ") });
        } else {
            let named = found.iter().filter(|text| !text.trim().is_empty());
            audience.members.extend(named.map(|text| Member { address: mail::address(text), role: rule.role.clone() }));
        }
    }
    (audience != Audience::default()).then_some(audience)
}

/// Decodes the mail, tells the operation, and takes it out of the value; its bytes.
fn take_mail(operation: &mut Operation, value: &mut Value, pointer: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(text) = value.pointer(pointer).filter(|text| !text.is_null()) else {
        let sends = operation.class == Class::Send && matches!(operation.objects, Objects::None);
        if sends && value.as_object().is_none_or(Map::is_empty) {
            return Err(Refusal::new(
                400,
                "There is no mail to send",
                format!("{pointer} must hold the mail as base64url."),
            ));
        }
        if sends {
            operation.opaque = true;
            not_understood(operation);
        }
        return Ok(None);
    };
    let raw = text.as_str().and_then(mail::from_base64);
    let raw =
        raw.ok_or_else(|| Refusal::new(400, "The mail can't be read", format!("{pointer} must be base64url.")))?;
    remove(value, pointer);
    match mail::decode(&raw) {
        Ok(mail) => {
            operation.facts.extend(mail.facts);
            operation.content = mail.content;
            if operation.class == Class::Send && mail.audience.members.is_empty() {
                return Err(Refusal::new(400, "The mail has no recipients", "Put them into its To, Cc or Bcc header."));
            }
            if operation.class == Class::Send {
                operation.audience = Some(mail.audience);
            }
        }
        Err(why) => {
            operation.facts.push(fact("The mail can't be decoded", why));
            operation.content = Digest::of(&[&raw]);
            if operation.class == Class::Send {
                operation.opaque = true;
                not_understood(operation);
            }
        }
    }
    Ok(Some(raw))
}

fn remove(value: &mut Value, pointer: &str) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(map) = value.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        map.remove(name);
    }
}

fn unknown_fields(provider: &Provider, route: &Route, value: &Value) -> Vec<String> {
    let top = value.as_object().into_iter().flatten().map(|(name, _)| name);
    let mut unknown: Vec<String> = top.filter(|name| !route.fields.contains(name)).cloned().collect();
    if let Some((parent, _)) =
        route.mail.as_ref().and_then(|at| at.rsplit_once('/')).filter(|(parent, _)| !parent.is_empty())
    {
        let inner = value.pointer(parent).and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name);
        unknown.extend(inner.filter(|name| !provider.file.mail_fields.contains(name)).cloned());
    }
    unknown
}

fn query_digest(provider: &Provider, asked: &Asked) -> Digest {
    let own = asked.target.query.iter().filter(|(name, _)| !provider.file.query.contains(name));
    let pairs: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    let fields: Vec<&[u8]> = pairs.iter().map(String::as_bytes).collect();
    let params: Vec<&[u8]> = asked.params.iter().map(|(_, value)| value.as_bytes()).collect();
    Digest::of(&[fields, params].concat())
}

/// The one call that does it.
fn call(
    provider: &Provider,
    route: &Route,
    asked: &Asked,
    value: Value,
    raw: Option<Vec<u8>>,
) -> Result<Call, Refusal> {
    if value.is_null() {
        return Ok(asked.call(asked.target.text(), &[], CallBody::Bytes(Bytes::new())));
    }
    let mut target = asked.target.clone();
    if let Some(plain) = &asked.upload {
        target.query.retain(|(name, _)| name != "uploadType" && name != "upload_protocol");
        target.segments.clone_from(plain);
    }
    let upload_prefix = provider.file.upload_prefixes.first().filter(|_| route.upload).map(String::as_str);
    let carrier =
        upload::Carrier { method: asked.method.clone(), target, headers: asked.headers.clone(), upload_prefix };
    let pointer = route.mail.as_deref().unwrap_or_default();
    carrier
        .call(value, raw.map(|raw| (pointer, raw)))
        .ok_or_else(|| Refusal::new(400, "The body can't be understood", format!("no mail can stand at {pointer}.")))
}
