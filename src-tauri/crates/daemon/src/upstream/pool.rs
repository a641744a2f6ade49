//! Connections to one account's origin.
//!
//! A connection is not driven by a task of its own but by whoever waits for its answer: no hand-over between tasks, no copy, and a connection whose
//! answer nobody wants any more ends with it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use latch_core::lease::Epoch;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime;
use tokio::time::{Instant, Sleep};
use tokio_rustls::client::TlsStream;

use super::body::OutBody;
use crate::net::{CutStream, Shears};

/// How long a connection is kept without use.
const KEEP: Duration = Duration::from_secs(55);
/// A connection that rested for longer may have been closed without the event loop having heard of it: the socket itself is asked.
const RESTED: Duration = Duration::from_millis(1);
/// How many are kept.
const MOST: usize = 64;

/// A connection to an upstream.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(CutStream),
    /// With TLS.
    Tls(Box<TlsStream<CutStream>>),
}

/// One connection, and what talks over it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) sender: SendRequest<OutBody>,
    connection: Connection<TokioIo<Stream>, OutBody>,
    finished: bool,
    /// It served a request before: the upstream may have closed it meanwhile.
    pub(super) used: bool,
    epoch: Epoch,
    shears: Shears,
    host: Arc<str>,
    silence: Duration,
    deadline: Pin<Box<Sleep>>,
    touched: bool,
    since: Instant,
    /// The event loop that hears of it; elsewhere each answer would come by way of another thread.
    home: Option<runtime::Id>,
}

/// The event loop of whoever asks.
fn here() -> Option<runtime::Id> {
    runtime::Handle::try_current().ok().map(|handle| handle.id())
}

impl Wire {
    pub(super) fn new(
        (sender, connection): (SendRequest<OutBody>, Connection<TokioIo<Stream>, OutBody>),
        (epoch, shears): (Epoch, Shears),
        host: Arc<str>,
        silence: Duration,
    ) -> Self {
        let deadline = Box::pin(tokio::time::sleep(silence));
        let since = Instant::now();
        Self {
            sender,
            connection,
            finished: false,
            used: false,
            epoch,
            shears,
            host,
            silence,
            deadline,
            touched: true,
            since,
            home: here(),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Reads and writes what can be read and written now.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.finished {
            self.finished = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Something arrived, or was sent.
    pub(super) fn moved(&mut self) {
        self.touched = true;
    }

    /// Whether nothing moved for too long. Called when there is nothing to do but wait.
    pub(super) fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        if std::mem::take(&mut self.touched) {
            self.deadline.as_mut().reset(Instant::now() + self.silence);
        }
        self.deadline.as_mut().poll(cx).is_ready()
    }

    /// Whether a further request can be sent.
    fn is_ready(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.finished && self.sender.is_ready()
    }
}

/// Connections that wait for the next call, the last used one of the caller's event loop first.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a wire moves into each answer and back: it is large, and stays where it is")]
pub(super) struct Idle {
    wires: Mutex<Vec<Box<Wire>>>,
    sweeping: AtomicBool,
}

impl Idle {
    /// One that is still open and belongs to this epoch.
    pub(super) async fn take(&self, epoch: Epoch) -> Option<Box<Wire>> {
        let here = here();
        loop {
            let mut wire = {
                let mut wires = self.lock();
                let at = wires.iter().rposition(|wire| wire.home == here)?;
                wires.remove(at)
            };
            let rested = wire.since.elapsed();
            if wire.epoch != epoch || rested > KEEP {
                continue;
            }
            if std::future::poll_fn(|cx| Poll::Ready(wire.is_ready(cx))).await
                && (rested < RESTED || wire.shears.is_quiet())
            {
                wire.used = true;
                wire.moved();
                return Some(wire);
            }
        }
    }

    pub(super) fn put(self: &Arc<Self>, mut wire: Box<Wire>) {
        if wire.finished {
            return;
        }
        wire.since = Instant::now();
        let mut wires = self.lock();
        if wires.len() < MOST {
            wires.push(wire);
        }
        drop(wires);
        if !self.sweeping.swap(true, Ordering::AcqRel)
            && let Ok(runtime) = runtime::Handle::try_current()
        {
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
    }

    #[expect(clippy::vec_box, reason = "as above")]
    fn lock(&self) -> MutexGuard<'_, Vec<Box<Wire>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what nobody used; ends when nothing is left.
async fn sweep(idle: std::sync::Weak<Idle>) {
    loop {
        tokio::time::sleep(KEEP).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut wires = idle.lock();
        wires.retain(|wire| wire.since.elapsed() < KEEP);
        if wires.is_empty() {
            idle.sweeping.store(false, Ordering::Release);
            return;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
