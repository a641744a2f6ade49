//! Paths with holes.

use serde::Deserialize;
use serde_json::Value;

use crate::classify::normalise::{encode, plain_id};

/// Fills a template such as `/users/{userId}/labels/{object}`; `None` if a hole has no value or one that can't stand in a path.
#[must_use]
pub(crate) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = template.split('#').next().unwrap_or_default();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        let value = value(name).filter(|value| plain_id(value))?;
        out.push_str(before);
        out.push_str(&encode(&value));
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// What an answer to a read template says about one object: all of it, or, for a template such as `/filters#/filter`, the entry of that list whose
/// `id` it is. `None` if the list has none.
#[must_use]
pub(crate) fn pick<'v>(template: &str, object: &str, answer: &'v Value) -> Option<&'v Value> {
    let Some((_, list)) = template.split_once('#') else { return Some(answer) };
    let entries = answer.pointer(list).and_then(Value::as_array)?;
    entries.iter().find(|entry| entry.get("id").and_then(Value::as_str) == Some(object))
}

/// The holes of a template.
pub(crate) fn holes(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Method and path template, written `POST /messages/{id}/trash`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Endpoint {
    /// The method.
    pub method: http::Method,
    /// The path template, with a fixed query at most.
    pub path: String,
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (method, path) = text.split_once(' ').ok_or_else(|| format!("{text:?} is not METHOD /path"))?;
        let method = http::Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        if !path.starts_with('/') {
            return Err(format!("{text:?}: the path does not start with a slash"));
        }
        Ok(Self { method, path: path.to_owned() })
    }
}

/// Matches decoded segments against a path template; the holes' values if they fit.
#[must_use]
pub(crate) fn matches(template: &str, segments: &[String]) -> Option<Vec<(String, String)>> {
    let pieces: Vec<&str> = template.trim_start_matches('/').split('/').collect();
    if pieces.len() != segments.len() {
        return None;
    }
    let mut params = Vec::new();
    for (piece, segment) in pieces.iter().zip(segments) {
        let Some((before, rest)) = piece.split_once('{') else {
            if piece != segment {
                return None;
            }
            continue;
        };
        let (name, after) = rest.split_once('}')?;
        let value = segment.strip_prefix(before)?.strip_suffix(after)?;
        if value.is_empty() || value.contains(':') {
            return None;
        }
        params.push((name.to_owned(), value.to_owned()));
    }
    Some(params)
}

/// Whether the segments would match if letters' case did not count.
#[must_use]
pub(crate) fn matches_but_for_case(template: &str, segments: &[String]) -> bool {
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_lowercase()).collect();
    matches(template, segments).is_none() && matches(&lower_literals(template), &lower).is_some()
}

fn lower_literals(template: &str) -> String {
    template
        .split('/')
        .map(|piece| if piece.contains('{') { piece.to_owned() } else { piece.to_lowercase() })
        .collect::<Vec<_>>()
        .join("/")
}
