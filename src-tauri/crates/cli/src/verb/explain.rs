//! `latch explain`: what requests would be. Pure: opens no home, socket or network.

use std::io::{BufRead, IsTerminal, Read, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use latch_core::catalog::{Catalog, Protocol};
use latch_core::classify::dav;
use latch_core::classify::dav::hrefs::Here;
use latch_core::classify::dav::request;
use latch_core::classify::http::{Head, route};
use latch_core::classify::imap::command::{append, parse};
use latch_core::classify::imap::token::pieces;
use latch_core::classify::imap::{explained, explained_append};
use latch_core::classify::sieve;
use latch_core::classify::smtp::{enveloped, submission};
use latch_core::grant::Preset;
use latch_core::operation::{Audience, Class, Fact, Objects, Operation, Request};
use latch_core::pdp::{Outcome, Pdp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::args;
use crate::exit::{Exit, Failure};

/// The longest line that is read, in bytes: a mail of 35 MB as base64 and then some.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// One line in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default, rename = "protocol")]
    _protocol: Option<String>,
    provider: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    /// A text, or JSON.
    #[serde(default)]
    body: Value,
    /// For calendars and contacts: the entry that is at this address.
    #[serde(default)]
    there: Option<String>,
}

/// A line about an IMAP command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedImap {
    #[serde(rename = "protocol")]
    _protocol: String,
    /// As an agent would send it, its tag included; literals with their CRLF inside.
    command: String,
}

/// A line about a mail on its way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedSmtp {
    #[serde(rename = "protocol")]
    _protocol: String,
    from: String,
    to: Vec<String>,
    mail: String,
}

/// A line about a mail filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedSieve {
    #[serde(rename = "protocol")]
    _protocol: String,
    /// As an agent would send it; literals with their CRLF inside.
    command: String,
    /// The script of this name that is stored now and runs.
    #[serde(default)]
    there: Option<String>,
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
    /// What a script would do: its class tells nothing of that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    facts: Vec<Fact>,
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

/// Explains one request from the command line.
pub(super) fn one(what: &args::Explain) -> Result<Exit, Failure> {
    let explainer = Explainer::new()?;
    let explained = match what {
        args::Explain::Imap { command } => {
            let is_append = command.split(' ').next().is_some_and(|verb| verb.eq_ignore_ascii_case("APPEND"));
            let mut whole = format!("a {command}").into_bytes();
            if is_append && !command.contains('{') {
                let mail = with_line_ends(&stdin()?);
                whole.extend_from_slice(format!(" {{{}}}\r\n", mail.len()).as_bytes());
                whole.extend_from_slice(&mail);
            }
            explainer.imap(&whole)
        }
        args::Explain::Smtp { from, to } => Ok(explainer.smtp(from, to, &Bytes::from(with_line_ends(&stdin()?)))),
        args::Explain::Sieve { command, there } => {
            let there = there.as_ref().map(std::fs::read).transpose().map_err(Failure::failed)?;
            let verb = command.split(' ').next().unwrap_or_default();
            let takes_script = ["PUTSCRIPT", "CHECKSCRIPT"].iter().any(|one| verb.eq_ignore_ascii_case(one));
            let mut whole = command.clone().into_bytes();
            let is_whole = pieces(&whole).is_some_and(|framed| sieve::parse(&framed).is_ok());
            if takes_script && !is_whole && !command.contains('{') {
                let script = with_line_ends(&stdin()?);
                whole.extend_from_slice(format!(" {{{}+}}\r\n", script.len()).as_bytes());
                whole.extend_from_slice(&script);
            }
            explainer.sieve(&whole, there.as_deref())
        }
        args::Explain::Dav { request, headers, there } => {
            let there = there.as_ref().map(std::fs::read).transpose().map_err(Failure::failed)?;
            let asked = asked_dav(request, headers, there);
            asked.and_then(|(asked, needs_body)| {
                let body = if needs_body {
                    Bytes::from(stdin().map_err(|failure| failure.to_string())?)
                } else {
                    Bytes::new()
                };
                explainer.request(asked, &body)
            })
        }
    };
    let explained = explained.unwrap_or_else(|error| Explained::Error { error });
    let exit = if matches!(explained, Explained::Error { .. }) { Exit::Failed } else { Exit::Done };
    let mut text = serde_json::to_vec(&explained).map_err(Failure::failed)?;
    text.push(b'\n');
    super::write(&text)?;
    Ok(exit)
}

/// `METHOD /path` and headers; whether it has a body.
fn asked_dav(request: &str, headers: &[String], there: Option<Vec<u8>>) -> Result<(Asked, bool), String> {
    let (method, url) = request.split_once(' ').ok_or("say METHOD and path: 'DELETE /calendars/me/work/17.ics'")?;
    let header = |line: &String| {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line} is no header: it has no colon"))?;
        Ok::<_, String>((name.trim().to_owned(), Value::from(value.trim())))
    };
    let headers = headers.iter().map(header).collect::<Result<Map<String, Value>, String>>()?;
    let needs_body =
        matches!(method, "PUT" | "POST" | "PROPPATCH" | "PROPFIND" | "REPORT" | "ACL" | "MKCALENDAR" | "MKCOL");
    let there = there.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (method, url) = (method.to_owned(), url.trim().to_owned());
    let asked = Asked { _protocol: None, provider: "dav".to_owned(), method, url, headers, body: Value::Null, there };
    Ok((asked, needs_body))
}

/// What comes from a pipe or a file; nothing from a terminal.
fn stdin() -> Result<Vec<u8>, Failure> {
    let mut input = std::io::stdin().lock();
    let mut bytes = Vec::new();
    if input.is_terminal() {
        return Ok(bytes);
    }
    (&mut input).take(MAX_LINE + 1).read_to_end(&mut bytes).map_err(Failure::failed)?;
    if bytes.len() as u64 > MAX_LINE {
        return Err(Failure::new(Exit::Failed, format!("what comes from stdin is longer than {MAX_LINE} bytes.")));
    }
    Ok(bytes)
}

/// A mail as it goes over the wire: files end their lines with LF.
fn with_line_ends(mail: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(mail.len());
    let mut last = 0;
    for byte in mail {
        if *byte == b'\n' && last != b'\r' {
            whole.push(b'\r');
        }
        whole.push(*byte);
        last = *byte;
    }
    whole
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
                let asked: AskedImap = serde_json::from_value(value).map_err(|error| error.to_string())?;
                return self.imap(asked.command.as_bytes());
            }
            Some("smtp") => {
                let asked: AskedSmtp = serde_json::from_value(value).map_err(|error| error.to_string())?;
                return Ok(self.smtp(&asked.from, &asked.to, &Bytes::from(asked.mail)));
            }
            Some("sieve") => {
                let asked: AskedSieve = serde_json::from_value(value).map_err(|error| error.to_string())?;
                return self.sieve(asked.command.as_bytes(), asked.there.as_deref().map(str::as_bytes));
            }
            Some(other) => {
                let known = "HTTP requests, IMAP commands, mails and commands about mail filters";
                return Err(format!("this version explains {known}, not {other}"));
            }
        }
        let asked: Asked = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let body = body(&asked.body);
        self.request(asked, &body)
    }

    fn request(&self, asked: Asked, body: &Bytes) -> Result<Explained, String> {
        let provider = self.catalog.provider(&asked.provider).ok_or_else(|| self.unknown(&asked.provider))?;
        let method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| "the method is none".to_owned())?;
        let headers = headers(&asked)?;
        let target = target(&asked.url)?;
        let request = if provider.protocol == Protocol::Dav {
            let here = Here {
                mount: String::new(),
                doors: vec!["http://localhost".to_owned()],
                base: String::new(),
                origins: Vec::new(),
            };
            let there = asked.there.clone().map(Bytes::from);
            request::ask(request::Head { method: &method, target, headers: &headers, here: &here })
                .and_then(|asked| dav::explained(&asked, body, there.as_ref(), &here))
                .map(|part| Request { parts: vec![part], batch: false })
        } else {
            let head = Head { method: &method, target, headers: &headers, mount: "" };
            route(provider, head).and_then(|routed| routed.classify(body))
        };
        let request = match request {
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
            let facts =
                if class == Class::Divert && action.starts_with("sieve.") { operation.facts } else { Vec::new() };
            Explanation { action, class, objects, audience, facts }
        });
        Explained::Request { operations: operations.collect(), class, default_decision }
    }

    /// An IMAP command, as on a server with the usual mailboxes.
    fn imap(&self, command: &[u8]) -> Result<Explained, String> {
        let bad = |detail: String| {
            let title = "BAD".to_owned();
            Ok(Explained::Refused { refused: Refusal { status: 400, title, detail } })
        };
        let end = command.windows(2).position(|pair| pair == b"\r\n");
        if let Some(end) = end
            && let Some(found) = append(command.get(..end).unwrap_or_default())
        {
            let mail = command.get(end + 2..).unwrap_or_default();
            return match found {
                Err(refusal) => bad(refusal.to_string()),
                Ok(append) if append.literal.size != mail.len() as u64 => {
                    Err("the command is not one: a literal is not as long as it says".to_owned())
                }
                Ok(append) => match explained_append(&append, &Bytes::copy_from_slice(mail)) {
                    Some(operation) => {
                        let class = operation.class;
                        Ok(self.told(vec![operation], class))
                    }
                    None => bad("this can't be written".to_owned()),
                },
            };
        }
        let framed = pieces(command.strip_suffix(b"\r\n").unwrap_or(command));
        let framed = framed.ok_or_else(|| "the command is not one: a literal is not as long as it says".to_owned())?;
        match parse(&framed) {
            Ok(command) => match explained(&command) {
                Some(operation) => {
                    let class = operation.class;
                    Ok(self.told(vec![operation], class))
                }
                None => Ok(Explained::Local { answered_here: true }),
            },
            Err(refusal) => bad(refusal.to_string()),
        }
    }

    /// A ManageSieve command, where the script that it names is the only one.
    fn sieve(&self, command: &[u8], there: Option<&[u8]>) -> Result<Explained, String> {
        // A script ends with CRLF, too.
        let framed = pieces(command).or_else(|| pieces(command.strip_suffix(b"\r\n")?));
        let framed = framed.ok_or_else(|| "the command is not one: a literal is not as long as it says".to_owned())?;
        match sieve::parse(&framed) {
            Ok(command) => Ok(match sieve::explained(&command, there) {
                Some(operation) => {
                    let class = operation.class;
                    self.told(vec![operation], class)
                }
                None => Explained::Local { answered_here: true },
            }),
            Err(refused) => {
                let (status, title, detail) = (400, "NO".to_owned(), refused.to_string());
                Ok(Explained::Refused { refused: Refusal { status, title, detail } })
            }
        }
    }

    /// A mail on its way, as a dialogue would have led to it.
    fn smtp(&self, from: &str, to: &[String], mail: &Bytes) -> Explained {
        match enveloped(from, to) {
            Ok(envelope) => {
                let operation = submission(&envelope, mail).operation;
                let class = operation.class;
                self.told(vec![operation], class)
            }
            Err(reply) => {
                let (status, detail) = (reply.code, reply.lines.join(" "));
                Explained::Refused { refused: Refusal { status, title: "Refused".to_owned(), detail } }
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
            r#"{"protocol":"imap","command":"a1 APPEND Sent (\\Seen) {16}\r\nSubject: x\r\n\r\nHi"}"#,
            r#"{"protocol":"imap","command":"a1 APPEND Sent {99}\r\nSubject: x"}"#,
            r#"{"protocol":"imap","command":"a1 DELETE Projects"}"#,
            r#"{"protocol":"imap","command":"a1 UID STORE 1 +X-GM-LABELS (\\Trash)"}"#,
            r#"{"protocol":"smtp","from":"me@example.org","to":["you@example.com","hidden@evil.example"],"mail":"From: me@example.org\r\nTo: you@example.com\r\nSubject: x\r\n\r\nHi\r\n"}"#,
            r#"{"protocol":"smtp","from":"me@example.org","to":["you@example.com>\r\nDATA"],"mail":"x"}"#,
            r#"{"protocol":"smtp","from":"me@example.org","to":["you@example.com"],"mail":"Subject: a\r\nSubject: b\r\n\r\nx"}"#,
            r#"{"provider":"dav","method":"DELETE","url":"/cal/work/17.ics"}"#,
            r#"{"provider":"dav","method":"DELETE","url":"/cal/work/"}"#,
            r#"{"provider":"dav","method":"PUT","url":"/cal/work/17.ics","headers":{"If-None-Match":"*"},"body":"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nSUMMARY:Lunch\r\nATTENDEE:mailto:bob@example.com\r\nORGANIZER:mailto:me@example.org\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"}"#,
            r#"{"provider":"dav","method":"MOVE","url":"/cal/work/17.ics","headers":{"Destination":"/cal/play/17.ics"}}"#,
            r#"{"provider":"dav","method":"GET","url":"/cal/work/17.ics"}"#,
            r#"{"provider":"dav","method":"LOCK","url":"/cal/work/17.ics"}"#,
            r#"{"protocol":"sieve","command":"LISTSCRIPTS"}"#,
            r#"{"protocol":"sieve","command":"NOOP"}"#,
            r#"{"protocol":"sieve","command":"PUTSCRIPT \"main\" {33+}\r\nredirect \"x@evil.example\";stop;\r\n","there":"keep;\r\n"}"#,
            r#"{"protocol":"sieve","command":"SETACTIVE \"main\"","there":"discard;\r\n"}"#,
            r#"{"protocol":"sieve","command":"DELETESCRIPT \"main\"\r\n"}"#,
            r#"{"protocol":"sieve","command":"PUTSCRIPT \"main\" {99+}\r\nkeep;"}"#,
            r#"{"protocol":"sieve","command":"STARTTLS"}"#,
            r#"{"protocol":"pop3","command":"DELE 1"}"#,
            "not json",
        ];
        let text: Vec<String> = lines
            .iter()
            .map(|line| format!("> {line}\n{}\n", serde_json::to_string(&explainer.explain(line.as_bytes())).unwrap()))
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
