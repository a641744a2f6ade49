//! `latch explain`: what requests would be. Pure: opens no home, socket or network.

use std::io::{BufRead, Read, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use latch_core::catalog::Catalog;
use latch_core::classify::http::{Head, route};
use latch_core::classify::imap::command::parse;
use latch_core::classify::imap::explained;
use latch_core::classify::imap::token::pieces;
use latch_core::grant::Preset;
use latch_core::operation::{Audience, Class, Objects, Operation};
use latch_core::pdp::{Outcome, Pdp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::exit::{Exit, Failure};

/// The longest line that is read, in bytes: a mail of 35 MB as base64 and then some.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// One line in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    provider: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    /// A text, or JSON.
    #[serde(default)]
    body: Value,
}

/// The other kind of line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedMail {
    #[serde(rename = "protocol")]
    _protocol: String,
    /// As an agent would send it, its tag included; literals with their CRLF inside.
    command: String,
}

/// One line out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Explained {
    Request {
        operations: Vec<Explanation>,
        class: Class,
        default_decision: Map<String, Value>,
    },
    /// It would be refused before anybody decides: it can't be interpreted safely.
    Refused {
        refused: Refusal,
    },
    /// It reaches no server: logins, capabilities, closing.
    Local {
        answered_here: bool,
    },
    /// The line is not a question.
    Error {
        error: String,
    },
}

#[derive(Debug, Serialize)]
struct Explanation {
    action: String,
    class: Class,
    objects: Objects,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<Audience>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    status: u16,
    title: String,
    detail: String,
}

/// Answers every line of stdin on stdout.
pub(super) fn run() -> Result<Exit, Failure> {
    let explainer = Explainer::new()?;
    let mut input = std::io::stdin().lock();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut exit = Exit::Done;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(Failure::failed)?;
        if read == 0 {
            return Ok(exit);
        }
        if line.len() as u64 > MAX_LINE {
            return Err(Failure::new(Exit::Failed, format!("a line is longer than {MAX_LINE} bytes.")));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let explained = explainer.explain(&line);
        if matches!(explained, Explained::Error { .. }) {
            exit = Exit::Failed;
        }
        let mut text = serde_json::to_vec(&explained).map_err(Failure::failed)?;
        text.push(b'\n');
        match out.write_all(&text).and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(exit),
            Err(error) => return Err(Failure::failed(error)),
        }
    }
}

struct Explainer {
    catalog: Catalog,
    pdp: Pdp,
}

impl Explainer {
    fn new() -> Result<Self, Failure> {
        Ok(Self { catalog: Catalog::shipped().map_err(Failure::failed)?, pdp: Pdp::new("").map_err(Failure::failed)? })
    }

    fn explain(&self, line: &[u8]) -> Explained {
        self.answer(line).unwrap_or_else(|error| Explained::Error { error })
    }

    fn answer(&self, line: &[u8]) -> Result<Explained, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| format!("the line is not JSON: {error}"))?;
        match value.get("protocol").and_then(Value::as_str) {
            None | Some("http") => {}
            Some("imap") => {
                let asked: AskedMail = serde_json::from_value(value).map_err(|error| error.to_string())?;
                return self.mail(&asked.command);
            }
            Some(other) => return Err(format!("this version explains HTTP requests and IMAP commands, not {other}")),
        }
        let asked: Asked = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let provider = self.catalog.provider(&asked.provider).ok_or_else(|| self.unknown(&asked.provider))?;
        let method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| "the method is none".to_owned())?;
        let body = body(&asked.body);
        let headers = headers(&asked)?;
        let head = Head { method: &method, target: target(&asked.url)?, headers: &headers, mount: "" };
        let request = match route(provider, head).and_then(|routed| routed.classify(&body)) {
            Ok(request) => request,
            Err(refusal) => {
                let (status, title, detail) = (refusal.status, refusal.title, refusal.detail);
                return Ok(Explained::Refused { refused: Refusal { status, title, detail } });
            }
        };
        let class = request.class();
        Ok(self.told(request.parts.into_iter().map(|part| part.operation).collect(), class))
    }

    fn told(&self, operations: Vec<Operation>, class: Class) -> Explained {
        let mut default_decision = Map::new();
        for preset in Preset::ALL {
            let outcomes = operations.iter().flat_map(|operation| self.pdp.by_preset(operation));
            let strictest = outcomes.filter(|(of, _)| *of == preset).map(|(_, outcome)| outcome).max();
            let name = strictest.map_or("forbid", outcome_name);
            default_decision.insert(preset.name().to_owned(), Value::String(name.to_owned()));
        }
        let operations = operations.into_iter().map(|operation| {
            let (action, class, objects, audience) =
                (operation.action, operation.class, operation.objects, operation.audience);
            Explanation { action, class, objects, audience }
        });
        Explained::Request { operations: operations.collect(), class, default_decision }
    }

    /// An IMAP command, as on a server with the usual mailboxes.
    fn mail(&self, command: &str) -> Result<Explained, String> {
        let framed = pieces(command.trim_end_matches(['\r', '\n']).as_bytes());
        let framed = framed.ok_or_else(|| "the command is not one: a literal is not as long as it says".to_owned())?;
        match parse(&framed) {
            Ok(command) => match explained(&command) {
                Some(operation) => {
                    let class = operation.class;
                    Ok(self.told(vec![operation], class))
                }
                None => Ok(Explained::Local { answered_here: true }),
            },
            Err(refusal) => {
                let title = "BAD".to_owned();
                Ok(Explained::Refused { refused: Refusal { status: 400, title, detail: refusal.to_string() } })
            }
        }
    }

    fn unknown(&self, provider: &str) -> String {
        let known: Vec<&str> = self.catalog.providers().iter().map(|provider| provider.id.as_str()).collect();
        format!("no provider is called {provider}; there is {}", known.join(", "))
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Permit => "permit",
        Outcome::Confirm => "confirm",
        Outcome::Forbid => "forbid",
    }
}

/// Path and query; scheme and host of an absolute URL are left out.
fn target(url: &str) -> Result<&str, String> {
    if url.starts_with('/') {
        return Ok(url);
    }
    let inside = url.split_once("://").map(|(_, rest)| rest);
    let at = inside.and_then(|rest| rest.find('/'));
    match (inside, at) {
        (Some(rest), Some(at)) => Ok(rest.get(at..).unwrap_or("/")),
        (Some(_), None) => Ok("/"),
        (None, _) => Err("the url is neither a path nor absolute".to_owned()),
    }
}

fn body(body: &Value) -> Bytes {
    match body {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(text.clone()),
        other => Bytes::from(other.to_string()),
    }
}

fn headers(asked: &Asked) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name} is no header name"))?;
        let value = value.as_str().ok_or_else(|| format!("the value of {name} is no text"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("the value of {name} is no header value"))?;
        headers.append(name, value);
    }
    if (asked.body.is_object() || asked.body.is_array()) && !headers.contains_key(http::header::CONTENT_TYPE) {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_explained_like_this() {
        let explainer = Explainer::new().unwrap();
        let lines = [
            r#"{"provider":"gmail","method":"GET","url":"/gmail/v1/users/me/messages/17?format=metadata"}"#,
            r#"{"provider":"gmail","method":"POST","url":"https://gmail.googleapis.com/gmail/v1/users/me/messages/17/trash"}"#,
            r#"{"provider":"gmail","method":"POST","url":"/gmail/v1/users/me/messages/batchModify","body":{"ids":["1","2"],"removeLabelIds":["INBOX"]}}"#,
            r#"{"provider":"gmail","method":"POST","url":"/gmail/v1/users/me/messages/batchDelete","body":{"ids":["1","2"]}}"#,
            r#"{"provider":"gmail","method":"POST","url":"/gmail/v1/users/me/settings/filters","body":{"criteria":{"from":"a@example.org"},"action":{"forward":"b@example.org"}}}"#,
            r#"{"provider":"gmail","method":"POST","url":"/gmail/v1/users/me/nothing/like/this"}"#,
            r#"{"provider":"gmail","method":"GET","url":"/gmail/v1/users/me/messages/..;/x%252e"}"#,
            r#"{"provider":"nobody","method":"GET","url":"/"}"#,
            r#"{"protocol":"imap","command":"a1 NOOP"}"#,
            r#"{"protocol":"imap","command":"a1 UID STORE 5:7 +FLAGS.SILENT (\\Deleted)"}"#,
            r#"{"protocol":"imap","command":"a1 UID MOVE 1:* {5}\r\nTrash"}"#,
            r#"{"protocol":"imap","command":"a1 EXPUNGE"}"#,
            r#"{"protocol":"imap","command":"a1 SETACL INBOX eve lrswipkxtea"}"#,
            r#"{"protocol":"imap","command":"a1 COMPRESS DEFLATE"}"#,
            r#"{"protocol":"smtp","command":"DATA"}"#,
            "not json",
        ];
        let text: Vec<String> = lines
            .iter()
            .map(|line| format!("> {line}\n{}\n", serde_json::to_string(&explainer.explain(line.as_bytes())).unwrap()))
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
