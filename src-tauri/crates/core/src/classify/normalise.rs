//! One spelling for each path and query, or a refusal.
//!
//! ```text
//!   "/gmail/v1/users/me/%6dessages?alt=json&key=.."  ──>  Target { segments: [gmail, v1, users, me, messages], query: [(alt, json)] }
//! ```
//! What two servers could read differently (encoded slashes, dots, backslashes, double encoding, matrix parameters, empty segments) has no
//! spelling here: it is refused, so nothing is classified as one thing and executed as another.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Refusal;

/// RFC 3986 section 2.3, and `@`, which stands in addresses.
const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');
/// Longer targets are refused: common servers stop at 8 KiB.
const LONGEST: usize = 8 * 1024;
/// Query parameters that carry credentials or turn the answer into a script; never forwarded.
const DROPPED: [&str; 8] =
    ["access_token", "oauth_token", "key", "callback", "jsonp", "bearer_token", "id_token", "xoauth_requestor_id"];
/// Query parameters with which some frameworks replace the method.
const METHOD_NAMES: [&str; 5] = ["_method", "$method", "$httpmethod", "http_method", "x-http-method-override"];

/// A request target in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Decoded path segments; none is empty or made of dots.
    pub segments: Vec<String>,
    /// Decoded query, in order, without credentials.
    pub query: Vec<(String, String)>,
}

impl Target {
    /// Reads a path and query as received.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > LONGEST {
            return Err(Refusal::new(414, "The address is too long", format!("at most {LONGEST} bytes are accepted")));
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
            return Err(ambiguous("it has spaces, control characters, letters outside ASCII or a fragment"));
        }
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        Ok(Self { segments: segments(path)?, query: pairs(query)? })
    }

    /// The path alone.
    #[must_use]
    pub(crate) fn path(&self) -> String {
        path(&self.segments)
    }

    /// Whether this is its path. `path` is in its one spelling, and nothing in it is encoded.
    #[must_use]
    pub(crate) fn is_at(&self, path: &str) -> bool {
        path.strip_prefix('/').is_some_and(|rest| rest.split('/').eq(self.segments.iter().map(String::as_str)))
    }

    /// Path and query, as forwarded.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut text = self.path();
        for (at, (name, value)) in self.query.iter().enumerate() {
            text.push(if at == 0 { '?' } else { '&' });
            text.extend(utf8_percent_encode(name, KEEP));
            text.push('=');
            text.extend(utf8_percent_encode(value, KEEP));
        }
        text
    }
}

/// The canonical path of decoded segments.
#[must_use]
pub(crate) fn path(segments: &[String]) -> String {
    if segments.is_empty() {
        return "/".to_owned();
    }
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        // Custom verbs (`{id}:disable`) keep their colon.
        for (at, part) in segment.split(':').enumerate() {
            if at > 0 {
                path.push(':');
            }
            path.extend(utf8_percent_encode(part, KEEP));
        }
    }
    path
}

/// Percent-encodes everything outside RFC 3986's unreserved characters and `@`.
#[must_use]
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, KEEP).to_string()
}

/// Whether an id can stand in a path without meaning something else there.
#[must_use]
pub(crate) fn plain_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= 512
        && !id.ends_with('.')
        && !id.chars().any(|letter| letter.is_control() || matches!(letter, '/' | '\\' | '%' | '?' | '#' | ';'))
}

fn ambiguous(why: &str) -> Refusal {
    Refusal::new(
        400,
        "The address can be read in more than one way",
        format!("{why}. Nothing was sent. Ask again with the plain path that the provider's documentation shows."),
    )
}

fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let rest = path.strip_prefix('/').ok_or_else(|| ambiguous("the path does not start with a slash"))?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    rest.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<String, Refusal> {
    if raw.is_empty() {
        return Err(ambiguous("the path has an empty segment or ends with a slash"));
    }
    if raw.contains(['\\', ';']) {
        return Err(ambiguous("the path has a backslash or a matrix parameter"));
    }
    let text = decode(raw)?;
    if text.contains(['/', '\\', '%', ';', '?', '#']) || text.chars().any(char::is_control) {
        return Err(ambiguous("the path hides a separator or is encoded twice"));
    }
    if raw.contains('%') && raw.to_ascii_lowercase().contains("%3a") {
        return Err(ambiguous("the path hides a colon"));
    }
    if text.ends_with('.') || text.trim() != text {
        return Err(ambiguous("a path segment ends with a dot or a space"));
    }
    Ok(text)
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(&name.replace('+', " "))?;
        let value = decode(&value.replace('+', " "))?;
        if name.chars().chain(value.chars()).any(char::is_control) {
            return Err(ambiguous("the query has control characters"));
        }
        let lower = name.to_ascii_lowercase();
        if METHOD_NAMES.contains(&lower.as_str()) {
            return Err(Refusal::new(
                400,
                "The query asks for another method",
                format!("{name:?} is not understood by this provider. Use the method itself."),
            ));
        }
        if !DROPPED.contains(&lower.trim_start_matches('$')) {
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

fn decode(raw: &str) -> Result<String, Refusal> {
    let mut rest = raw;
    while let Some((_, after)) = rest.split_once('%') {
        if !after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err(ambiguous("it has a broken percent sign"));
        }
        rest = after;
    }
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| ambiguous("it is not UTF-8"))?;
    Ok(text.into_owned())
}
