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

/// One segment of a path template: fixed text, or a hole with text around it (`{id}:disable`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    before: String,
    hole: Option<(String, String)>,
}

impl Piece {
    fn parse(text: &str) -> Self {
        let hole = text.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        match hole {
            Some((before, (name, after))) => {
                Self { before: before.to_owned(), hole: Some((name.to_owned(), after.to_owned())) }
            }
            None => Self { before: text.to_owned(), hole: None },
        }
    }

    fn value<'s>(&self, segment: &'s str) -> Option<&'s str> {
        let (_, after) = self.hole.as_ref()?;
        let value = segment.strip_prefix(self.before.as_str())?.strip_suffix(after.as_str())?;
        (!value.is_empty() && !value.contains(':')).then_some(value)
    }

    fn fits(&self, segment: &str) -> bool {
        if self.hole.is_some() { self.value(segment).is_some() } else { self.before == segment }
    }

    fn fits_but_for_case(&self, segment: &str) -> bool {
        match &self.hole {
            Some((_, after)) => {
                let (segment, after) = (segment.to_lowercase(), after.to_lowercase());
                segment.strip_suffix(&after).is_some_and(|value| !value.is_empty() && !value.contains(':'))
            }
            None => self.before.eq_ignore_ascii_case(segment),
        }
    }
}

/// Takes a path template apart, once, when its file is read.
#[must_use]
pub(crate) fn pieces(template: &str) -> Vec<Piece> {
    template.trim_start_matches('/').split('/').map(Piece::parse).collect()
}

/// Matches decoded segments against a path template; the holes' values if they fit.
#[must_use]
pub(crate) fn matches(pieces: &[Piece], segments: &[String]) -> Option<Vec<(String, String)>> {
    // Routes differ at the end more than at the start.
    let both = || pieces.iter().zip(segments);
    if pieces.len() != segments.len() || !both().rev().all(|(piece, segment)| piece.fits(segment)) {
        return None;
    }
    let value = |(piece, segment): (&Piece, &String)| {
        let (name, _) = piece.hole.as_ref()?;
        Some((name.clone(), piece.value(segment)?.to_owned()))
    };
    Some(both().filter_map(value).collect())
}

/// Whether the segments would match if letters' case did not count.
#[must_use]
pub(crate) fn matches_but_for_case(pieces: &[Piece], segments: &[String]) -> bool {
    let case = |(piece, segment): (&Piece, &String)| piece.fits_but_for_case(segment);
    pieces.len() == segments.len() && matches(pieces, segments).is_none() && pieces.iter().zip(segments).all(case)
}
