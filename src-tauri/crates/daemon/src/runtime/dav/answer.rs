//! Answers on their way to the agent: addresses rewritten while they stream, entries counted, offers taken out that the door does not keep.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame};
use latch_core::call::Digest;
use latch_core::classify::dav::hrefs::{Here, Rewriter, Way};

use crate::door::http::AnswerBody;
use crate::runtime::Runtime;
use crate::runtime::http::Response;
use crate::upstream::{Fault, UpstreamError};

/// What the door understands.
const METHODS: &str =
    "ACL, COPY, DELETE, GET, HEAD, MKCALENDAR, MKCOL, MOVE, OPTIONS, POST, PROPFIND, PROPPATCH, PUT, REPORT";
const DAV: HeaderName = HeaderName::from_static("dav");
/// The longest line that is looked at for a UID.
const LONGEST_LINE: usize = 1024;
/// Entries of one answer that are told apart.
const MOST_UIDS: usize = 10_000;

/// The answer as the agent gets it. `charged`: entries that count already.
pub(super) fn inward(
    runtime: &Arc<Runtime>,
    response: Response,
    here: Here,
    agent: &str,
    account: &str,
    charged: u32,
) -> Response {
    let (mut head, body) = response.into_parts();
    offers(&mut head.headers);
    head.headers.remove(CONTENT_LOCATION);
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let reader = if matches!(essence.as_str(), "application/xml" | "text/xml") || essence.ends_with("+xml") {
        head.headers.remove(CONTENT_LENGTH);
        Reader::Document(Some(Box::new(Rewriter::new(here.clone(), Way::Inward))))
    } else if head.status.is_success() && essence.starts_with("text/") {
        Reader::Texts { uids: BTreeSet::new(), line: Vec::new() }
    } else {
        return http::Response::from_parts(head, body);
    };
    let host = here.origins.into_iter().next().unwrap_or_default();
    let (agent, account) = (agent.to_owned(), account.to_owned());
    let passing = Passing { body, reader, seen: 0, charged, runtime: Arc::clone(runtime), agent, account, host };
    http::Response::from_parts(head, AnswerBody::other(passing))
}

/// Locks are not offered, nor methods that are refused.
fn offers(headers: &mut HeaderMap) {
    if headers.contains_key(ALLOW) {
        headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    }
    let classes: Vec<String> = headers
        .get_all(&DAV)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|class| class.trim().to_owned())
        .filter(|class| class != "2" && !class.is_empty())
        .collect();
    if let Ok(value) = HeaderValue::from_str(&classes.join(", "))
        && !classes.is_empty()
    {
        headers.insert(DAV, value);
    }
}

/// How an answer is read while it passes.
enum Reader {
    /// Rewritten; `None` once it has ended.
    Document(Option<Box<Rewriter>>),
    /// As it is; UIDs are counted.
    Texts { uids: BTreeSet<Digest>, line: Vec<u8> },
}

impl Reader {
    /// What can be handed on of this piece, and how many more entries were in it.
    fn piece(&mut self, data: Bytes) -> Result<(Bytes, u32), String> {
        match self {
            Self::Document(None) => Ok((Bytes::new(), 0)),
            Self::Document(Some(rewriter)) => {
                let out = rewriter.push(&data)?;
                Ok((Bytes::from(out), rewriter.take_data()))
            }
            Self::Texts { uids, line } => {
                let mut more = 0;
                for byte in &data {
                    if *byte != b'\n' {
                        if line.len() < LONGEST_LINE {
                            line.push(*byte);
                        }
                        continue;
                    }
                    if line.get(..3).is_some_and(|name| name.eq_ignore_ascii_case(b"UID")) {
                        // Beyond these each counts, were it the same one again.
                        if uids.len() >= MOST_UIDS || uids.insert(Digest::of(&[line])) {
                            more += 1;
                        }
                    }
                    line.clear();
                }
                Ok((data, more))
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self {
            Self::Document(rewriter) => rewriter.take().map_or(Ok(()), |rewriter| rewriter.finish()),
            Self::Texts { .. } => Ok(()),
        }
    }
}

/// An answer that is read while it passes.
struct Passing {
    body: AnswerBody,
    reader: Reader,
    seen: u32,
    charged: u32,
    runtime: Arc<Runtime>,
    agent: String,
    account: String,
    host: String,
}

impl Passing {
    /// What turned out to be in an answer counts like what was asked for by name.
    fn charge(&mut self, more: u32) {
        self.seen = self.seen.saturating_add(more);
        let beyond = self.seen.saturating_sub(self.charged);
        if beyond == 0 {
            return;
        }
        self.charged = self.seen;
        if let Some(opened) = self.runtime.opened() {
            let charges = opened.guard().charge_read(&self.agent, &self.account, beyond, opened.now());
            crate::runtime::lock(&opened.unsaved).extend(charges);
        }
    }

    fn malformed(&self, reason: String) -> UpstreamError {
        UpstreamError { fault: Fault::Malformed { host: self.host.clone(), reason }, sent: true }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    let ended = this.reader.end().map_err(|reason| this.malformed(reason));
                    return Poll::Ready(ended.err().map(Err));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    match this.reader.piece(data) {
                        Err(reason) => return Poll::Ready(Some(Err(this.malformed(reason)))),
                        Ok((out, more)) => {
                            this.charge(more);
                            if !out.is_empty() {
                                return Poll::Ready(Some(Ok(Frame::data(out))));
                            }
                        }
                    }
                }
            }
        }
    }
}
