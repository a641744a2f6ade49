//! Bodies on the agent's side: what comes in is bounded in size, time and total memory; what goes out streams.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::seats::Busy;
use crate::spool::{Kept, SPOOL_ABOVE, Spool, SpoolError, Writer};
use crate::upstream::{StreamedBody, UpstreamBody, UpstreamError};

/// The longest pause between two pieces of an agent's body.
const IDLE: Duration = Duration::from_secs(30);

/// Why an agent's body could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than what may be understood here.
    #[error("the body is larger than {limit} bytes, the most that can be examined for this request")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// All agents together hold too much.
    #[error("too many large requests wait at once; try again in a few seconds")]
    Crowded,
    /// It could not be put aside.
    #[error("{0}")]
    Spool(SpoolError),
    /// Nothing came for too long.
    #[error("the body did not arrive in time")]
    Slow,
    /// The connection broke, or the framing is wrong.
    #[error("the body could not be read to its end")]
    Broken,
}

impl From<SpoolError> for BodyError {
    fn from(error: SpoolError) -> Self {
        if error == SpoolError::Crowded { Self::Crowded } else { Self::Spool(error) }
    }
}

/// A body that has arrived.
#[derive(Debug)]
pub enum Gathered {
    /// In memory; it counts against the shared room for as long as a copy of it lives.
    Whole(Bytes),
    /// Put aside, because it is larger than [`SPOOL_ABOVE`].
    Aside(Kept),
}

/// The memory that all buffered bodies share; it is given back when the last copy of a body is dropped.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Room {
    /// Room for so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let bytes = u32::try_from(bytes).map_err(|_| BodyError::Crowded)?;
        Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| BodyError::Crowded)
    }
}

/// What an agent sends.
#[derive(Debug)]
pub struct AgentBody {
    source: Source,
    room: Room,
    idle: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Source {
    Wire(Incoming),
    Whole(Option<Bytes>),
}

impl AgentBody {
    pub(super) fn wire(body: Incoming, room: Room) -> Self {
        Self { source: Source::Wire(body), room, idle: None }
    }

    /// A body that is here already.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { source: Source::Whole(Some(bytes)), room: Room::new(0), idle: None }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }

    /// The whole body, if it is not larger than `limit`. It counts against the shared room for as long as a copy of it lives.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        if self.is_end_stream() {
            return Ok(Bytes::new());
        }
        if let Source::Whole(bytes) = &mut self.source {
            let bytes = bytes.take().unwrap_or_default();
            return if bytes.len() > limit { Err(BodyError::TooLarge { limit }) } else { Ok(bytes) };
        }
        let announced = usize::try_from(self.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let mut held = Held { bytes: BytesMut::new(), room: self.room.take(0)? };
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if held.bytes.len().saturating_add(data.len()) > limit {
                return Err(BodyError::TooLarge { limit });
            }
            held.room.merge(self.room.take(data.len())?);
            held.bytes.extend_from_slice(&data);
        }
        Ok(Bytes::from_owner(held))
    }

    /// The whole body, if it is not larger than `limit`. A large one is put aside while it arrives, so that it takes no memory.
    pub async fn gather(mut self, limit: usize, spool: &Spool) -> Result<Gathered, BodyError> {
        if matches!(self.source, Source::Whole(_)) || self.is_end_stream() {
            return self.collect(limit).await.map(Gathered::Whole);
        }
        let announced = usize::try_from(self.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let mut held = Held { bytes: BytesMut::new(), room: self.room.take(0)? };
        let mut aside: Option<Writer> = None;
        let mut length = 0_usize;
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            length = length.saturating_add(data.len());
            if length > limit {
                return Err(BodyError::TooLarge { limit });
            }
            if let Some(writer) = &mut aside {
                writer.push(&data).await?;
                continue;
            }
            held.room.merge(self.room.take(data.len())?);
            held.bytes.extend_from_slice(&data);
            if held.bytes.len() > SPOOL_ABOVE {
                let mut writer = spool.writer()?;
                writer.push(&held.bytes).await?;
                held = Held { bytes: BytesMut::new(), room: self.room.take(0)? };
                aside = Some(writer);
            }
        }
        match aside {
            Some(writer) => Ok(Gathered::Aside(writer.finish().await?)),
            None => Ok(Gathered::Whole(Bytes::from_owner(held))),
        }
    }

    /// The body as it arrives, for the upstream.
    #[must_use]
    pub fn stream(self) -> StreamedBody {
        StreamedBody::new(self)
    }
}

struct Held {
    bytes: BytesMut,
    room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for AgentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let wire = match &mut this.source {
            Source::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Wire(wire) => wire,
        };
        if let Poll::Ready(frame) = Pin::new(wire).poll_frame(cx) {
            if let Some(idle) = &mut this.idle {
                idle.as_mut().reset(Instant::now() + IDLE);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Broken)));
        }
        let idle = this.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(IDLE)));
        idle.as_mut().poll(cx).map(|()| Some(Err(BodyError::Slow)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::Wire(wire) => wire.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Source::Wire(wire) => wire.size_hint(),
        }
    }
}

/// What an agent receives.
#[derive(Debug)]
pub struct AnswerBody {
    answer: Answer,
    /// Freed when the answer was sent.
    busy: Option<Busy>,
}

#[derive(Debug)]
enum Answer {
    Whole(Option<Bytes>),
    Upstream(UpstreamBody),
    Other(UnsyncBoxBody<Bytes, UpstreamError>),
}

impl AnswerBody {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Answer::Whole(None))
    }

    /// A body that is here already.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::of(Answer::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// A body that is made while it is sent.
    pub fn other(body: impl Body<Data = Bytes, Error = UpstreamError> + Send + 'static) -> Self {
        Self::of(Answer::Other(body.boxed_unsync()))
    }

    fn of(answer: Answer) -> Self {
        Self { answer, busy: None }
    }

    pub(super) fn keeps(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }

    /// The bytes, if they are here already.
    #[must_use]
    pub fn as_whole(&self) -> Option<&Bytes> {
        match &self.answer {
            Answer::Whole(bytes) => bytes.as_ref(),
            Answer::Upstream(_) | Answer::Other(_) => None,
        }
    }
}

impl From<UpstreamBody> for AnswerBody {
    fn from(body: UpstreamBody) -> Self {
        Self::of(Answer::Upstream(body))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match &mut self.answer {
            Answer::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Answer::Upstream(body) => Pin::new(body).poll_frame(cx),
            Answer::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.answer {
            Answer::Whole(bytes) => bytes.is_none(),
            Answer::Upstream(body) => body.is_end_stream(),
            Answer::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.answer {
            Answer::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Answer::Upstream(body) => body.size_hint(),
            Answer::Other(body) => body.size_hint(),
        }
    }
}
