//! One JSON message a line, bounded.

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

/// The longest accepted line, in bytes. A hold of 10,000 objects stays well below.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// Why a line could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The pipe or socket failed.
    #[error("the channel failed: {0}")]
    Io(#[from] std::io::Error),
    /// The peer sent more than the bound without a line end; the channel is no longer usable.
    #[error("a line is longer than this channel accepts")]
    TooLong,
    /// The value could not be written as JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads one line without its end; `None` at the end of the stream. A last line without an end counts as cut off.
pub async fn read_line<R: AsyncBufRead + Unpin>(reader: &mut R, line: &mut Vec<u8>) -> Result<Option<()>, CodecError> {
    read_line_within(reader, line, MAX_LINE).await
}

/// The same with a smaller bound, for peers that are not the owner.
pub async fn read_line_within<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    line: &mut Vec<u8>,
    limit: usize,
) -> Result<Option<()>, CodecError> {
    line.clear();
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let (taken, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at, true),
            None => (chunk.len(), false),
        };
        if line.len() + taken > limit {
            return Err(CodecError::TooLong);
        }
        line.extend(chunk.iter().take(taken));
        reader.consume(taken + usize::from(ended));
        if ended {
            return Ok(Some(()));
        }
    }
}

/// Writes one message and flushes it.
pub async fn write_line<W: AsyncWrite + Unpin, M: Serialize>(writer: &mut W, message: &M) -> Result<(), CodecError> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await?;
    Ok(())
}
