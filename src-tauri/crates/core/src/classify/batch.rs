//! A batch is taken apart, each call is classified alone and forwarded alone; the answers are put together again.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::body::{self, Asked};
use super::http::{Head, Routed, route};
use super::{Refusal, upload};
use crate::call::Digest;
use crate::catalog::Provider;
use crate::operation::{Class, Fact, Request};

/// The answer to one call of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The call's `Content-ID`.
    pub content_id: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

struct Inner {
    content_id: Option<String>,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

pub(super) fn classify(provider: &Provider, asked: &Asked, mount: &str, body: &Bytes) -> Result<Request, Refusal> {
    let most = provider.file.batch.as_ref().map_or(0, |batch| batch.most);
    let calls = match expand(asked.content_type.as_deref().unwrap_or_default(), body) {
        Ok(calls) if calls.len() > most => {
            let detail = format!("{} calls, the provider takes {most}. Ask in smaller batches.", calls.len());
            return Err(Refusal::new(400, "Too many calls in one batch", detail));
        }
        Ok(calls) => calls,
        Err(why) => return Ok(closed(provider, asked, body, why)),
    };
    let mut parts = Vec::with_capacity(calls.len());
    for (at, call) in calls.into_iter().enumerate() {
        let numbered = |refusal: Refusal| Refusal {
            detail: format!("Call {} of the batch: {}", at + 1, refusal.detail),
            ..refusal
        };
        let routed = routed(provider, mount, &call).map_err(numbered)?;
        if routed.is_batch() {
            return Ok(closed(provider, asked, body, "a batch inside a batch"));
        }
        if routed.is_upload() {
            return Err(numbered(Refusal::new(400, "An upload can't be part of a batch", "Send it alone.")));
        }
        for part in routed.classify(&call.body).map_err(numbered)?.parts {
            parts.push(crate::operation::Part { content_id: call.content_id.clone(), ..part });
        }
    }
    Ok(Request { parts, batch: true })
}

/// Clients repeat the account's prefix inside when their base address has it.
fn routed<'a>(provider: &'a Provider, mount: &str, call: &Inner) -> Result<Routed<'a>, Refusal> {
    let target = call.target.strip_prefix(&provider.base_url).unwrap_or(&call.target);
    let head = |target| Head { method: &call.method, target, headers: &call.headers, mount: "" };
    let below = if mount.is_empty() { None } else { target.strip_prefix(mount).filter(|rest| rest.starts_with('/')) };
    if let Some(below) = below {
        let routed = route(provider, head(below))?;
        if routed.is_known() {
            return Ok(routed);
        }
    }
    route(provider, head(target))
}

/// The whole batch as one thing that can't be looked into.
fn closed(provider: &Provider, asked: &Asked, body: &Bytes, why: &str) -> Request {
    let mut part = body::unknown(provider, asked, body);
    part.operation.class = Class::Unclassified;
    part.operation.verb = "Do something unknown".to_owned();
    part.operation.opaque = true;
    part.operation.facts.push(Fact { label: "The batch can't be taken apart".to_owned(), value: why.to_owned() });
    Request { parts: vec![part], batch: false }
}

fn expand(content_type: &str, body: &Bytes) -> Result<Vec<Inner>, &'static str> {
    if upload::essence(content_type) != "multipart/mixed" {
        return Err("it is not multipart/mixed");
    }
    let boundary = upload::parameter(content_type, "boundary").ok_or("it has no boundary, or two")?;
    let parts = upload::multipart(body, &boundary).ok_or("its parts are not well formed")?;
    if parts.is_empty() {
        return Err("it has no calls");
    }
    parts.iter().map(inner).collect()
}

fn inner(part: &upload::Part) -> Result<Inner, &'static str> {
    if upload::essence(part.header("content-type").unwrap_or_default()) != "application/http" {
        return Err("a part is not application/http");
    }
    if !matches!(part.header("content-transfer-encoding").unwrap_or("binary"), "binary" | "7bit" | "8bit") {
        return Err("a part is encoded");
    }
    let end = part.content.iter().position(|byte| *byte == b'\n').ok_or("a part has no request line")?;
    let line =
        part.content.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or("a request line is not text")?;
    let mut words = line.trim_end_matches('\r').split(' ');
    let (Some(method), Some(target), version, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("a request line has not three words");
    };
    if version.is_some_and(|version| !version.starts_with("HTTP/1.")) {
        return Err("a request line names an unknown protocol");
    }
    let (fields, body) = upload::head(&part.content.slice(end + 1..)).ok_or("a part's headers are not well formed")?;
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a part has a malformed header")?;
        headers.append(name, HeaderValue::from_str(&value).map_err(|_| "a part has a malformed header")?);
    }
    Ok(Inner {
        content_id: part.header("content-id").map(str::to_owned),
        method: Method::from_bytes(method.as_bytes()).map_err(|_| "a request line has no method")?,
        target: target.to_owned(),
        headers,
        body,
    })
}

/// Puts the answers of a batch's calls together: content type and body.
#[must_use]
pub fn batch_answer(answers: &[Answered]) -> (String, Bytes) {
    let bodies: Vec<&[u8]> = answers.iter().map(|answer| answer.body.as_ref()).collect();
    let boundary = format!("batch_{}", Digest::of(&bodies));
    let mut out = Vec::new();
    for answer in answers {
        out.extend_from_slice(format!("--{boundary}\r\nContent-Type: application/http\r\n").as_bytes());
        if let Some(id) = &answer.content_id {
            out.extend_from_slice(format!("Content-ID: {}\r\n", response_id(id)).as_bytes());
        }
        let reason = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
        out.extend_from_slice(format!("\r\nHTTP/1.1 {} {}\r\n", answer.status, reason.unwrap_or("Unknown")).as_bytes());
        for (name, value) in &answer.headers {
            let framing = name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding");
            if !framing && !name.contains(['\r', '\n']) && !value.contains(['\r', '\n']) {
                out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
        }
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", answer.body.len()).as_bytes());
        out.extend_from_slice(&answer.body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/mixed; boundary={boundary}"), Bytes::from(out))
}

/// `<x>` becomes `<response-x>`, as Google does.
fn response_id(id: &str) -> String {
    let id: String = id.chars().filter(|letter| !letter.is_control()).collect();
    match id.strip_prefix('<') {
        Some(rest) => format!("<response-{rest}"),
        None => format!("response-{id}"),
    }
}
