//! What a request would be, without asking anybody.
//!
//! ```text
//!   {provider, method, url, headers?, body?}  ──>  {operations: [{action, class, objects, audience?, ..}], class, default_decision: {preset: ..}}
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::catalog::{Catalog, Provider};
use crate::classify::Refusal;
use crate::classify::http::{BodyNeed, Head, route};
use crate::grant::Preset;
use crate::operation::{Objects, Operation, Request};
use crate::pdp::{Outcome, Pdp};

/// Longer lines are refused.
pub const MOST_LINE: usize = 16 * 1024 * 1024;

/// Why a line can't be explained: the fault is in the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// It is too long.
    #[error("the line is longer than {MOST_LINE} bytes")]
    TooLong,
    /// It is not what is expected.
    #[error("the line is not {{\"provider\", \"method\", \"url\", \"headers\"?, \"body\"?}}: {0}")]
    Line(String),
    /// Another protocol.
    #[error("{0:?} can't be explained by this version, only HTTP requests can")]
    Protocol(String),
    /// No such provider.
    #[error("there is no provider {0:?}; there are: {1}")]
    Provider(String, String),
    /// An address of somebody else.
    #[error("{0:?} is no address of {1}, which lives at {2}")]
    Url(String, String, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    provider: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Value,
}

/// Explains one JSON line.
pub fn explain(catalog: &Catalog, pdp: &Pdp, line: &str) -> Result<Value, ExplainError> {
    if line.len() > MOST_LINE {
        return Err(ExplainError::TooLong);
    }
    let wrong = |error: serde_json::Error| ExplainError::Line(error.to_string());
    let value: Value = serde_json::from_str(line).map_err(wrong)?;
    if let Some(protocol) = value.get("protocol") {
        return Err(ExplainError::Protocol(protocol.as_str().unwrap_or_default().to_owned()));
    }
    let line: Line = serde_json::from_value(value).map_err(wrong)?;
    let provider = catalog.provider(&line.provider).ok_or_else(|| {
        let known: Vec<&str> = catalog.providers().iter().map(|provider| provider.id.as_str()).collect();
        ExplainError::Provider(line.provider.clone(), known.join(", "))
    })?;
    Ok(match request(provider, &line)? {
        Ok(request) => told(pdp, &request),
        Err(refusal) => json!({
            "operations": [],
            "class": null,
            "default_decision": by_preset(|_| "refuse".to_owned()),
            "refused": { "status": refusal.status, "title": refusal.title, "detail": refusal.detail },
        }),
    })
}

fn request(provider: &Provider, line: &Line) -> Result<Result<Request, Refusal>, ExplainError> {
    let other = || ExplainError::Url(line.url.clone(), provider.name.clone(), provider.base_url.clone());
    let target = line.url.strip_prefix(&provider.base_url).unwrap_or(&line.url);
    let target = if target.starts_with('/') { target } else { return Err(other()) };
    let method = Method::from_bytes(line.method.to_uppercase().as_bytes())
        .map_err(|_| ExplainError::Line(format!("{:?} is no method", line.method)))?;
    let body = match &line.body {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(text.clone()),
        value => Bytes::from(value.to_string()),
    };
    let headers = headers(line)?;
    let head = Head { method: &method, target, headers: &headers, mount: "" };
    Ok(route(provider, head).and_then(|routed| match routed.body() {
        BodyNeed::Stream if body.is_empty() => routed.classify(&Bytes::new()),
        BodyNeed::Stream | BodyNeed::Buffer { .. } => routed.classify(&body),
    }))
}

fn headers(line: &Line) -> Result<HeaderMap, ExplainError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &line.headers {
        let wrong = || ExplainError::Line(format!("the header {name:?} is malformed"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok()).ok_or_else(wrong)?;
        headers.append(name, value);
    }
    if !headers.contains_key("content-type") && line.body.is_object() {
        headers.insert("content-type", HeaderValue::from_static("application/json"));
    }
    Ok(headers)
}

fn told(pdp: &Pdp, request: &Request) -> Value {
    let operations: Vec<Value> = request.parts.iter().map(|part| operation(&part.operation)).collect();
    let together = together(request);
    let decisions: Vec<[(Preset, Outcome); 4]> = together.iter().map(|operation| pdp.by_preset(operation)).collect();
    let strictest = |preset: Preset| {
        let outcomes = decisions.iter().flatten().filter(|(own, _)| *own == preset).map(|(_, outcome)| *outcome);
        outcomes.max().unwrap_or(Outcome::Forbid).name().to_owned()
    };
    json!({
        "operations": operations,
        "class": request.class().name(),
        "default_decision": by_preset(strictest),
    })
}

fn by_preset(say: impl Fn(Preset) -> String) -> Value {
    Value::Object(Preset::ALL.into_iter().map(|preset| (preset.name().to_owned(), Value::from(say(preset)))).collect())
}

/// Calls of a batch that count on the same meters are one operation on all their objects.
fn together(request: &Request) -> Vec<Operation> {
    let mut together: Vec<Operation> = Vec::new();
    for part in &request.parts {
        let new = &part.operation;
        let same = together
            .iter_mut()
            .find(|old| old.class == new.class && old.meters == new.meters && old.audience == new.audience);
        match (same.map(|old| &mut old.objects), &new.objects) {
            (Some(Objects::Listed { ids, .. }), Objects::Listed { ids: more, .. }) => {
                let known: BTreeSet<String> = ids.iter().cloned().collect();
                ids.extend(more.iter().filter(|id| !known.contains(*id)).cloned());
            }
            _ => together.push(new.clone()),
        }
    }
    together
}

fn operation(operation: &Operation) -> Value {
    let objects = match &operation.objects {
        Objects::None => json!({ "count": 0 }),
        Objects::Listed { kind, ids } => json!({ "kind": kind, "count": ids.len(), "ids": ids }),
        Objects::Within { kind, container, ids } => json!({ "kind": kind, "inside": container, "ids": ids }),
    };
    let mut value = json!({
        "action": operation.action,
        "class": operation.class.name(),
        "verb": operation.verb,
        "objects": objects,
        "meters": operation.meters,
        "undo": operation.undo.is_some(),
        "facts": operation.facts,
    });
    if let (Some(audience), Some(map)) = (&operation.audience, value.as_object_mut()) {
        map.insert("audience".to_owned(), json!(audience));
    }
    if let (true, Some(map)) = (operation.opaque, value.as_object_mut()) {
        map.insert("opaque".to_owned(), Value::from(true));
    }
    value
}
