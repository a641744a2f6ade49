//! One JSON message a line, bounded.

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

use crate::rpc::{ErrorCode, Outcome, Response, RpcError, Version};

/// The longest line, in bytes. A hold of 10,000 objects stays well below.
pub const MAX_LINE: usize = 64 * 1024 * 1024;

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

/// Writes one message and flushes it. One that is too long is not begun: the channel goes on.
pub async fn write_line<W: AsyncWrite + Unpin, M: Serialize>(writer: &mut W, message: &M) -> Result<(), CodecError> {
    let mut line = serde_json::to_vec(message)?;
    if line.len() > MAX_LINE {
        return Err(CodecError::TooLong);
    }
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await?;
    Ok(())
}

/// Writes an answer. Of one that is too long for a line, the caller hears that.
pub async fn write_response<W: AsyncWrite + Unpin>(writer: &mut W, response: &Response) -> Result<(), CodecError> {
    match write_line(writer, response).await {
        Err(CodecError::TooLong) => {
            let error =
                RpcError::new(ErrorCode::Internal, "The answer is too long for this channel: ask for a part of it");
            let response = Response { jsonrpc: Version::V2, id: response.id, outcome: Outcome::Error(error) };
            write_line(writer, &response).await
        }
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_an_error_of_its_call_and_the_channel_goes_on() {
        let (near, far) = tokio::io::duplex(4096);
        let (mut reader, mut writer) = (tokio::io::BufReader::new(far), near);
        let answer = |id, value: &str| Response {
            jsonrpc: Version::V2,
            id: Some(id),
            outcome: Outcome::Result(Value::String(value.to_owned())),
        };
        // Every quote takes two bytes on the line.
        write_response(&mut writer, &answer(1, &"\"".repeat(MAX_LINE / 2 + 1))).await.unwrap();
        write_response(&mut writer, &answer(2, "short")).await.unwrap();
        let mut line = Vec::new();
        let mut next = async || {
            read_line(&mut reader, &mut line).await.unwrap().unwrap();
            serde_json::from_slice::<Response>(&line).unwrap()
        };
        let first = next().await;
        assert!(
            matches!((first.id, first.outcome), (Some(1), Outcome::Error(error)) if error.message.contains("too long"))
        );
        let second = next().await;
        assert!(matches!((second.id, second.outcome), (Some(2), Outcome::Result(value)) if value == "short"));
    }
}
