//! Bodies to and from an upstream.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use latch_core::lease::Redeemed;

use super::oauth::Access;
use super::pool::{Idle, Wire};
use super::{Fault, UpstreamError};

type Cause = Box<dyn StdError + Send + Sync>;

/// An agent's body on its way through.
#[derive(Debug)]
pub struct StreamedBody(UnsyncBoxBody<Bytes, Cause>);

impl StreamedBody {
    /// Any body.
    pub fn new(body: impl Body<Data = Bytes, Error: Into<Cause>> + Send + 'static) -> Self {
        Self(body.map_err(Into::into).boxed_unsync())
    }
}

/// What a call sends.
#[derive(Debug)]
pub(super) enum OutBody {
    Whole(Option<Bytes>),
    Streamed {
        body: StreamedBody,
        /// Set with every chunk, so that a long upload is not taken for silence.
        moved: Arc<AtomicBool>,
    },
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed { body, moved } => {
                let polled = Pin::new(&mut body.0).poll_frame(cx);
                if polled.is_ready() {
                    moved.store(true, Ordering::Relaxed);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streamed { body, .. } => body.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Streamed { body, .. } => body.0.size_hint(),
        }
    }
}

/// An upstream's answer, scrubbed while it streams. It drives its own connection and hands it back when it was read to its end.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    wire: Option<Box<Wire>>,
    idle: Arc<Idle>,
    redeemed: Redeemed,
    access: Option<Arc<Access>>,
    held: Bytes,
    ended: bool,
}

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        wire: Box<Wire>,
        idle: Arc<Idle>,
        redeemed: Redeemed,
        access: Option<Arc<Access>>,
    ) -> Self {
        let mut body = Self { incoming, wire: Some(wire), idle, redeemed, access, held: Bytes::new(), ended: false };
        if body.incoming.is_end_stream() {
            body.end();
        }
        body
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(wire) = self.wire.take() {
            self.idle.put(wire);
        }
    }

    fn fail(&mut self, fault: impl FnOnce(String) -> Fault) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.ended = true;
        self.held = Bytes::new();
        let host = self.wire.take().map(|wire| wire.host().to_owned()).unwrap_or_default();
        let fault = if self.redeemed.stands() { fault(host) } else { Fault::Stopped };
        Poll::Ready(Some(Err(fault.sent())))
    }

    fn scrubbed(&mut self, data: Bytes, last: bool) -> Bytes {
        match &self.access {
            Some(access) => access.scrub().chunk(&mut self.held, data, last),
            None => data,
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if !this.redeemed.stands() {
                return this.fail(|_| Fault::Stopped);
            }
            let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
            if polled.is_pending()
                && let Some(wire) = &mut this.wire
            {
                wire.drive(cx);
                polled = Pin::new(&mut this.incoming).poll_frame(cx);
                if polled.is_pending() {
                    if wire.is_silent(cx) {
                        return this.fail(|host| Fault::Timeout { host, doing: "sending its answer" });
                    }
                    return Poll::Pending;
                }
                wire.moved();
            }
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers are not handed on.
                    let Ok(data) = frame.into_data() else { continue };
                    let last = this.incoming.is_end_stream();
                    let data = this.scrubbed(data, last);
                    if last {
                        this.end();
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    if last {
                        return Poll::Ready(None);
                    }
                }
                Poll::Ready(None) => {
                    let rest = this.scrubbed(Bytes::new(), true);
                    this.end();
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
                Poll::Ready(Some(Err(_))) => return this.fail(|host| Fault::Lost { host }),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = if self.ended { SizeHint::with_exact(0) } else { self.incoming.size_hint() };
        let held = self.held.len() as u64;
        if held > 0 {
            if let Some(upper) = hint.upper() {
                hint.set_upper(upper.saturating_add(held));
            }
            hint.set_lower(hint.lower().saturating_add(held));
        }
        hint
    }
}
