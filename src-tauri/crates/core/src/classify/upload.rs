//! Mails that come by an upload path, and multipart bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};

use super::json::{self, Names};
use super::normalise::Target;
use super::{Refusal, mail};
use crate::call::{Call, CallBody, Digest};

/// Larger mails go upstream by the upload path: JSON bodies are limited there.
pub(crate) const MOST_IN_JSON: usize = 4 * 1024 * 1024;

/// A part with more headers is not well formed.
const MOST_HEADERS: usize = 100;

/// One part of a multipart body: lower-case header names, and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The part's headers.
    pub headers: Vec<(String, String)>,
    /// Its content.
    pub content: Bytes,
}

impl Part {
    /// A header's value.
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// A media type without its parameters, in lower case.
#[must_use]
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A parameter of a media type; `None` if it is missing or stands there twice.
#[must_use]
pub(crate) fn parameter(content_type: &str, name: &str) -> Option<String> {
    let mut values = content_type.split(';').skip(1).filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    });
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Splits a multipart body (RFC 2046 section 5.1); `None` if its frame is broken.
#[must_use]
pub(crate) fn multipart(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    if boundary.is_empty()
        || boundary.len() > 200
        || !boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return None;
    }
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut start: Option<usize> = None;
    let mut at = 0;
    while at <= body.len() {
        let rest = body.get(at..)?;
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let line = trim_end(rest.get(..length)?);
        let closing = line.strip_prefix(delimiter.as_bytes()).map(|tail| tail == b"--");
        let delimits = closing.is_some_and(|closes| closes || line.len() == delimiter.len());
        if delimits {
            if let Some(from) = start {
                parts.push(part(&body.slice(from..before_line_end(body, from, at)))?);
            }
            if closing == Some(true) {
                return Some(parts);
            }
            start = Some(at + length);
        }
        if length == 0 {
            return None;
        }
        at += length;
    }
    None
}

fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).map_or(0, |last| last + 1);
    line.get(..end).unwrap_or_default()
}

/// The line break before a delimiter belongs to the delimiter.
fn before_line_end(body: &Bytes, from: usize, at: usize) -> usize {
    let content = body.get(from..at).unwrap_or_default();
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    from + content.strip_suffix(b"\r").unwrap_or(content).len()
}

fn part(bytes: &Bytes) -> Option<Part> {
    let (headers, content) = head(bytes)?;
    Some(Part { headers, content })
}

/// Header lines up to the empty line, and what follows; `None` if a line has no colon or a header stands there twice.
pub(crate) fn head(bytes: &Bytes) -> Option<(Vec<(String, String)>, Bytes)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let line = std::str::from_utf8(rest.get(..length)?).ok()?.trim_end_matches(['\r', '\n']);
        at += length;
        if line.is_empty() {
            return Some((headers, bytes.slice(at..)));
        }
        if line.contains(['\r', '\0']) {
            return None;
        }
        if line.starts_with([' ', '\t']) {
            headers.last_mut()?.1.push_str(line);
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        if headers.len() >= MOST_HEADERS
            || name.is_empty()
            || name.contains([' ', '\t'])
            || headers.iter().any(|(known, _)| *known == name)
        {
            return None;
        }
        headers.push((name, value.trim().to_owned()));
    }
}

/// Reads an upload into the body that the route would have as JSON: the mail stands at `pointer`.
pub(crate) fn read(body: &Bytes, content_type: &str, pointer: &str, names: Names) -> Result<Value, Refusal> {
    let unreadable = |why: &str| {
        Refusal::new(
            400,
            "The upload can't be understood",
            format!("{why}. Send the mail as JSON with \"raw\", or as message/rfc822."),
        )
    };
    let (mut value, mail) = match essence(content_type).as_str() {
        "message/rfc822" => (Value::Object(Map::new()), body.clone()),
        "multipart/related" => {
            let boundary = parameter(content_type, "boundary").ok_or_else(|| unreadable("it has no boundary"))?;
            let parts = multipart(body, &boundary).ok_or_else(|| unreadable("its parts are not well formed"))?;
            let [meta, media] = parts.as_slice() else {
                return Err(unreadable("it has not exactly two parts"));
            };
            let value = json::parse(&meta.content, names)
                .map_err(|error| unreadable(&format!("its first part is not JSON: {error}")))?;
            (value, content(media).ok_or_else(|| unreadable("its second part is encoded in an unknown way"))?)
        }
        other => {
            return Err(Refusal::new(
                415,
                "An upload must be a mail",
                format!("{other:?} is not accepted; use message/rfc822 or multipart/related"),
            ));
        }
    };
    put(&mut value, pointer, Value::from(mail::to_base64(&mail)))
        .ok_or_else(|| unreadable("its first part is not an object, or has a mail of its own"))?;
    Ok(value)
}

fn content(part: &Part) -> Option<Bytes> {
    match part.header("content-transfer-encoding").map(str::to_ascii_lowercase).as_deref() {
        None | Some("7bit" | "8bit" | "binary") => Some(part.content.clone()),
        Some("base64") => {
            let text: Vec<u8> = part.content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            STANDARD.decode(text).ok().map(Bytes::from)
        }
        Some(_) => None,
    }
}

/// Puts a value where a JSON pointer says, making objects on the way; `None` if something else stands there.
pub(crate) fn put(value: &mut Value, pointer: &str, new: Value) -> Option<()> {
    let mut at = value;
    let mut names = pointer.strip_prefix('/')?.split('/').peekable();
    while let Some(name) = names.next() {
        let map = at.as_object_mut()?;
        if names.peek().is_none() {
            return map.insert(name.to_owned(), new).is_none_or(|old| old.is_null()).then_some(());
        }
        at = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
    }
    None
}

/// Writes a mail and its JSON as a multipart upload: content type and body.
#[must_use]
pub(crate) fn write(meta: &Value, mail: &[u8]) -> (String, Bytes) {
    let boundary = format!("latch-{}", Digest::of(&[mail]));
    let mut body = Vec::with_capacity(mail.len() + 512);
    body.extend_from_slice(format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{meta}\r\n").as_bytes());
    body.extend_from_slice(format!("--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n").as_bytes());
    body.extend_from_slice(mail);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/related; boundary={boundary}"), Bytes::from(body))
}

/// Method, plain path and headers of a call that may carry a mail.
pub(crate) struct Carrier<'a> {
    /// The method.
    pub method: Method,
    /// Path and query without upload prefix.
    pub target: Target,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The prefix of the upload path.
    pub upload_prefix: Option<&'a str>,
}

impl Carrier<'_> {
    /// The call: JSON with the mail at `pointer`, or a multipart upload if it is large. `None` if no mail can stand there.
    pub(crate) fn call(self, mut value: Value, mail: Option<(&str, Vec<u8>)>) -> Option<Call> {
        let Self { method, mut target, mut headers, upload_prefix } = self;
        let (content_type, body) = match (mail, upload_prefix) {
            (Some((_, mail)), Some(prefix)) if mail.len() > MOST_IN_JSON => {
                let prefix = prefix.trim_start_matches('/').split('/').map(str::to_owned);
                target.segments = prefix.chain(target.segments).collect();
                target.query.push(("uploadType".to_owned(), "multipart".to_owned()));
                write(&value, &mail)
            }
            (mail, _) => {
                if let Some((pointer, mail)) = mail {
                    put(&mut value, pointer, Value::from(mail::to_base64(&mail)))?;
                }
                ("application/json".to_owned(), Bytes::from(value.to_string()))
            }
        };
        headers.push(("content-type".to_owned(), content_type));
        Some(Call { method, target: target.text(), headers, body: CallBody::Bytes(body) })
    }
}

/// The JSON of a call, a large mail put back to `pointer`.
pub(crate) fn value_of(call: &Call, pointer: &str, names: Names) -> Option<Value> {
    let CallBody::Bytes(body) = &call.body else { return None };
    let content_type = call.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())?;
    match essence(content_type).as_str() {
        "application/json" => serde_json::from_slice(body).ok(),
        _ => read(body, content_type, pointer, names).ok(),
    }
}
