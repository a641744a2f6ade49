//! A connection whose other end has said everything already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

/// Where what was said is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    Whole,
    /// After every so many bytes.
    Every(usize),
    /// After so many bytes.
    At(usize),
}

impl Cut {
    /// How many of `left` bytes come at once when `given` came before.
    pub fn piece(self, given: usize, left: usize) -> usize {
        match self {
            Self::Whole => left,
            Self::Every(size) => left.min(size.max(1)),
            Self::At(at) if given < at => left.min(at - given),
            Self::At(_) => left,
        }
    }
}

/// Says a script and keeps what is said to it.
pub struct Script<'a> {
    said: &'a [u8],
    cut: Cut,
    given: usize,
    endless: bool,
    heard: &'a mut Vec<u8>,
}

impl<'a> Script<'a> {
    /// Ends after these bytes.
    pub fn new(said: &'a [u8], cut: Cut, heard: &'a mut Vec<u8>) -> Self {
        Self { said, cut, given: 0, endless: false, heard }
    }

    /// Says these bytes again and again.
    pub fn flood(said: &'a [u8], heard: &'a mut Vec<u8>) -> Self {
        Self { said, cut: Cut::Whole, given: 0, endless: true, heard }
    }
}

impl AsyncRead for Script<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let at = if self.endless { self.given % self.said.len() } else { self.given };
        let left = self.said.get(at..).unwrap_or_default();
        let piece = self.cut.piece(self.given, left.len()).min(into.remaining());
        into.put_slice(&left[..piece]);
        self.given += piece;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// Waits for what never has to wait.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}
