//! JSON lines over a stream, with a bound and a deadline on each.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why a line could not be read or written.
#[derive(Debug, Error)]
pub enum LineError {
    /// The stream failed.
    #[error("the control connection failed: {0}")]
    Stream(#[from] io::Error),
    /// The line does not end within the bound.
    #[error("a line on the control connection is longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// Nothing came, or nothing could be sent, in time.
    #[error("the control connection was silent for {} s", limit.as_secs())]
    TimedOut {
        /// The deadline.
        limit: Duration,
    },
    /// The line is not what is expected.
    #[error("cannot understand a line on the control connection: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads one line; `None` at the end of the stream.
pub(super) async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncBufRead + Unpin),
    limit_bytes: usize,
    limit: Duration,
) -> Result<Option<T>, LineError> {
    let mut line = Vec::new();
    // One more than allowed, so that a line that is too long shows.
    let mut bounded = stream.take(limit_bytes as u64 + 1);
    tokio::time::timeout(limit, bounded.read_until(b'\n', &mut line))
        .await
        .map_err(|_| LineError::TimedOut { limit })??;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > limit_bytes {
        return Err(LineError::TooLong { limit: limit_bytes });
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Writes one line.
pub(super) async fn write<T: Serialize + Sync>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
    limit: Duration,
) -> Result<(), LineError> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    tokio::time::timeout(limit, async {
        stream.write_all(&line).await?;
        stream.flush().await
    })
    .await
    .map_err(|_| LineError::TimedOut { limit })??;
    Ok(())
}
