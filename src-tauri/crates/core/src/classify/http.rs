//! From an HTTP request to operations.
//!
//! ```text
//!   Head ── route ──> Routed ── body ──> Stream | Buffer
//!                        └───── classify(body) ──> Request { parts }
//! ```

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::body::{self, Asked};
use super::normalise::Target;
use super::{Refusal, batch, upload};
use crate::catalog::Provider;
use crate::catalog::file::Route;
use crate::catalog::template::{matches, matches_but_for_case};
use crate::operation::Request;

/// Headers that are forwarded; everything else stays here, credentials and hop-by-hop headers first of all.
const FORWARDED: [&str; 8] = [
    "accept-language",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "user-agent",
    "x-goog-api-client",
    "x-goog-request-reason",
];
/// Headers by which some servers replace the method.
const METHOD_HEADERS: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-method", "x-original-method"];
/// Headers by which some servers replace the path.
const PATH_HEADERS: [&str; 3] = ["x-original-url", "x-rewrite-url", "x-forwarded-path"];
const MOST_JSON: usize = 1024 * 1024;
/// Gmail takes mails of 35 MiB to send, which are 47 MiB as base64, and of 50 MiB to insert by the upload path; with what stands around them.
const MOST_MAIL: usize = 50 * 1024 * 1024 + 64 * 1024;
const MOST_BATCH: usize = 10 * 1024 * 1024;

/// A request's head as it arrived at the door.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The request method.
    pub method: &'a Method,
    /// Path and query after the `/{account}` prefix, as received.
    pub target: &'a str,
    /// All headers as received; only an allow-list of them is forwarded.
    pub headers: &'a HeaderMap,
    /// The account's prefix, `/{account}`, which calls inside a batch may repeat; empty if there is none.
    pub mount: &'a str,
}

/// Whether the body must be read before the operation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyNeed {
    /// The Class ignores the body. Classify with an empty one: the call's body is [`crate::call::CallBody::Streamed`]. If the operation can't run
    /// at once, read the body (at most [`Routed::limit`]) and classify again, so that the person sees it and the digest covers it.
    Stream,
    /// Read all of it, at most so many bytes (more is answered 413), then classify.
    Buffer {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A request whose route is known.
#[derive(Debug, Clone)]
pub struct Routed<'a> {
    provider: &'a Provider,
    asked: Asked,
    way: Way<'a>,
}

#[derive(Debug, Clone)]
enum Way<'a> {
    Route(&'a Route),
    Batch { mount: String },
    Unknown,
}

/// Finds the route, or says why the request can't be interpreted.
pub fn route<'a>(provider: &'a Provider, head: Head<'_>) -> Result<Routed<'a>, Refusal> {
    let target = Target::parse(head.target)?;
    let content_type = single(head.headers, "content-type")?;
    if let Some(name) = present(head.headers, &PATH_HEADERS) {
        return Err(Refusal::new(
            400,
            "A header names another path",
            format!("{name} is not accepted. Ask for the path itself."),
        ));
    }
    if single(head.headers, "content-encoding")?.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Refusal::new(
            415,
            "The body is compressed",
            "The guard must read it. Send it without Content-Encoding.",
        ));
    }
    let (method, overridden) = method(provider, head.method, head.headers)?;
    let headers = forwarded(head.headers)?;
    let mut asked = Asked { method, target, headers, content_type, params: Vec::new(), upload: None, form: false };
    asked.form = overridden
        && asked.method == Method::GET
        && asked
            .content_type
            .as_deref()
            .is_some_and(|kind| upload::essence(kind) == "application/x-www-form-urlencoded");
    let way = way(provider, &mut asked, head.mount)?;
    Ok(Routed { provider, asked, way })
}

fn way<'a>(provider: &'a Provider, asked: &mut Asked, mount: &str) -> Result<Way<'a>, Refusal> {
    if let Some(batch) = &provider.file.batch
        && batch.paths.iter().any(|path| asked.target.is_at(path))
    {
        if asked.method != Method::POST {
            return Err(Refusal::new(405, "A batch must be a POST", "Send the batch with POST."));
        }
        return Ok(Way::Batch { mount: mount.to_owned() });
    }
    let segments = asked.target.segments.clone();
    let (rest, upload) = below_upload(provider, &segments);
    let fits = |route: &&Route| {
        route.call.method == asked.method || (asked.method == Method::HEAD && route.call.method == Method::GET)
    };
    for route in provider.file.routes.iter().filter(|route| !upload || route.upload).filter(fits) {
        if let Some(params) = matches(&route.pieces, rest) {
            asked.params = params;
            asked.upload = upload.then(|| rest.to_vec());
            body::check_query(provider, route, asked)?;
            if upload {
                simple_upload(asked)?;
            }
            return Ok(Way::Route(route));
        }
    }
    if provider.file.routes.iter().any(|route| matches_but_for_case(&route.pieces, rest)) {
        return Err(Refusal::new(
            404,
            "The path differs from the provider's in letters' case",
            "The provider tells capital letters from small ones. Ask with the path as documented.",
        ));
    }
    if upload {
        return Err(Refusal::new(
            404,
            "Nothing can be uploaded there",
            "The provider has no such upload, or it is the second half of a resumable one. Use uploadType=media or multipart in one request.",
        ));
    }
    body::rename_query(provider, &[], asked);
    Ok(Way::Unknown)
}

fn below_upload<'s>(provider: &Provider, segments: &'s [String]) -> (&'s [String], bool) {
    for prefix in &provider.file.upload_prefixes {
        let prefix = prefix.trim_start_matches('/').split('/');
        let rest = prefix.clone().count();
        if let Some(rest) = segments.get(rest..).filter(|_| prefix.zip(segments).all(|(one, other)| one == other)) {
            return (rest, true);
        }
    }
    (segments, false)
}

/// What a resumable upload sends later goes by an address that needs no token: it can't be checked here.
fn simple_upload(asked: &Asked) -> Result<(), Refusal> {
    let value =
        |name: &str| asked.target.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    match value("uploadType").or_else(|| value("upload_protocol")) {
        Some("media" | "multipart" | "raw") | None => Ok(()),
        Some(other) => Err(Refusal::new(
            400,
            "This kind of upload can't be checked before it is sent",
            format!("uploadType={other} is not accepted. Use uploadType=media or uploadType=multipart in one request."),
        )),
    }
}

fn method(provider: &Provider, asked: &Method, headers: &HeaderMap) -> Result<(Method, bool), Refusal> {
    let refuse =
        |why: String| Refusal::new(400, "The request asks for two methods", format!("{why}. Use the method itself."));
    let mut named = None;
    let some = present(headers, &METHOD_HEADERS).is_some();
    for name in METHOD_HEADERS.into_iter().filter(|_| some) {
        let Some(value) = single(headers, name)? else { continue };
        if provider.file.method_override.as_deref() != Some(name) {
            return Err(refuse(format!("{name} is not understood by this provider")));
        }
        named = Some(value);
    }
    let method = match named {
        None => return plain(asked).map(|method| (method, false)),
        Some(value) => {
            Method::from_bytes(value.trim().as_bytes()).map_err(|_| refuse(format!("{value:?} is no method")))?
        }
    };
    if asked != Method::POST && *asked != method {
        return Err(refuse(format!("only a POST may be overridden, this is a {asked}")));
    }
    plain(&method).map(|method| (method, true))
}

fn plain(method: &Method) -> Result<Method, Refusal> {
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    if known.contains(method) {
        return Ok(method.clone());
    }
    Err(Refusal::new(
        405,
        "The method is not accepted",
        format!("{method} is none of GET, HEAD, POST, PUT, PATCH, DELETE."),
    ))
}

fn forwarded(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let mut forwarded = Vec::new();
    if present(headers, &FORWARDED).is_none() {
        return Ok(forwarded);
    }
    for name in FORWARDED {
        if let Some(value) = single(headers, name)? {
            forwarded.push((name.to_owned(), value));
        }
    }
    Ok(forwarded)
}

/// One of these that is there. A request has few headers and these lists are long: one look at each header is less than one for each name.
fn present<'n>(headers: &HeaderMap, names: &[&'n str]) -> Option<&'n str> {
    headers.keys().find_map(|key| names.iter().find(|name| key.as_str() == **name)).copied()
}

fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Refusal::new(400, "A header stands there twice", format!("{name} must stand there once.")));
    }
    first
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()
        .map_err(|_| Refusal::new(400, "A header can't be read", format!("{name} has letters outside ASCII.")))
}

impl Routed<'_> {
    /// What must be read before [`Routed::classify`].
    #[must_use]
    pub fn body(&self) -> BodyNeed {
        match &self.way {
            Way::Route(route)
                if route.stream
                    && self.asked.upload.is_some()
                    && !body::case_by_query(self.provider, route, &self.asked) =>
            {
                BodyNeed::Stream
            }
            _ => BodyNeed::Buffer { limit: self.limit() },
        }
    }

    /// The most bytes that a body may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        match &self.way {
            Way::Route(route) if route.mail.is_some() => MOST_MAIL,
            Way::Batch { .. } => MOST_BATCH,
            Way::Route(_) | Way::Unknown => MOST_JSON,
        }
    }

    pub(super) fn is_batch(&self) -> bool {
        matches!(self.way, Way::Batch { .. })
    }

    pub(super) fn is_upload(&self) -> bool {
        self.asked.upload.is_some()
    }

    pub(super) fn is_known(&self) -> bool {
        !matches!(self.way, Way::Unknown)
    }

    /// The provider's action that was routed to; `None` for a batch.
    #[must_use]
    pub fn action(&self) -> Option<String> {
        match &self.way {
            Way::Route(route) => Some(self.provider.action(&route.id)),
            Way::Batch { .. } => None,
            Way::Unknown => Some(self.provider.action("unclassified")),
        }
    }

    /// Says what the request would do.
    pub fn classify(&self, body: &Bytes) -> Result<Request, Refusal> {
        if body.len() > self.limit() {
            return Err(Refusal::new(
                413,
                "The body is too large",
                format!("at most {} bytes are accepted", self.limit()),
            ));
        }
        let part = match &self.way {
            Way::Batch { mount } => return batch::classify(self.provider, &self.asked, mount, body),
            Way::Unknown => body::unknown(self.provider, &self.asked, body),
            Way::Route(route) if self.asked.form => {
                let mut asked = self.asked.with_form(body)?;
                body::check_query(self.provider, route, &mut asked)?;
                body::part(self.provider, route, &asked, &Bytes::new())?
            }
            Way::Route(_) if self.body() == BodyNeed::Stream && body.is_empty() => self.streamed()?,
            Way::Route(route) => body::part(self.provider, route, &self.asked, body)?,
        };
        Ok(Request { parts: vec![part], batch: false })
    }

    fn streamed(&self) -> Result<crate::operation::Part, Refusal> {
        match &self.way {
            Way::Route(route) => body::streamed(self.provider, route, &self.asked),
            Way::Batch { .. } | Way::Unknown => Ok(body::unknown(self.provider, &self.asked, &Bytes::new())),
        }
    }
}
