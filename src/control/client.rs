//! The side of the control socket that asks.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::io::BufReader;
use tokio::net::UnixStream;

use super::lines::{self, LineError};
use super::protocol::{Answer, Hello, MAX_ANSWER_BYTES, Refusal, Request, VERSION};
use crate::net::local_socket::{self, LocalSocketError};

/// How long an answer may take; a reload with many problems to look for is the slowest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a probe may take: each of its steps has a deadline of its own, and a dead host uses several up.
const PROBE_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a tail may be silent: the service writes when something happens, which may be never.
const TAIL_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// A connection to a running service.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    version: String,
}

/// Why the service could not be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] LocalSocketError),
    /// The conversation failed.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It ended the conversation.
    #[error("the service closed the control connection")]
    Closed,
    /// It speaks another version.
    #[error(
        "the running service is jims {running} and speaks version {protocol} of the control protocol, not {VERSION}"
    )]
    Version {
        /// Version of the running `jims`.
        running: String,
        /// Its protocol.
        protocol: u32,
    },
    /// It refused.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It answered something else than was asked.
    #[error("the service gave an answer to another question")]
    Unexpected,
}

impl ClientError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::Connect(error) => error.remedy(),
            Self::Refused(refusal) => &refusal.remedy,
            Self::Version { .. } => "use the `jims` binary of the running service, or restart it",
            Self::Line(_) | Self::Closed | Self::Unexpected => {
                "look at the log of `jims run`; it may be stopping"
            }
        }
    }
}

impl Client {
    /// Opens the socket and hears the hello.
    ///
    /// # Errors
    /// Nobody answers, or it is another version.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let mut stream = BufReader::new(local_socket::connect(path).await?);
        let hello: Hello = lines::read(&mut stream, MAX_ANSWER_BYTES, ANSWER_TIMEOUT)
            .await?
            .ok_or(ClientError::Closed)?;
        if hello.protocol != VERSION {
            return Err(ClientError::Version {
                running: hello.jims,
                protocol: hello.protocol,
            });
        }
        Ok(Self {
            stream,
            version: hello.jims,
        })
    }

    /// Version of the running `jims`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The service refuses, or the connection fails.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        lines::write(self.stream.get_mut(), request, ANSWER_TIMEOUT).await?;
        let limit = match request {
            Request::Probe { .. } => PROBE_TIMEOUT,
            _ => ANSWER_TIMEOUT,
        };
        self.next(limit).await
    }

    /// Has the connection stream what happens from now on; [`Client::next_of_tail`] reads it.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn start_tail(&mut self) -> Result<(), ClientError> {
        let begin = &Request::Tail;
        Ok(lines::write(self.stream.get_mut(), begin, ANSWER_TIMEOUT).await?)
    }

    /// The next line of a tail, however long it takes.
    ///
    /// # Errors
    /// The connection fails or ends.
    pub async fn next_of_tail(&mut self) -> Result<Answer, ClientError> {
        self.next(TAIL_TIMEOUT).await
    }

    async fn next(&mut self, limit: Duration) -> Result<Answer, ClientError> {
        let answer = lines::read(&mut self.stream, MAX_ANSWER_BYTES, limit).await?;
        match answer.ok_or(ClientError::Closed)? {
            Answer::Error(refusal) => Err(ClientError::Refused(refusal)),
            answer => Ok(answer),
        }
    }
}
