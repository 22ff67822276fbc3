//! What crosses the control socket about Servers that this Collector pushes to; part of [`super::protocol`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::collectors::Kinds;
use super::protocol::FaultStatus;

/// A Server that this Collector pushes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushStatus {
    /// Name of the `[[push]]`, or of the file that `jims onboard` wrote.
    pub name: String,
    /// Where to.
    pub url: String,
    /// How it goes.
    pub state: PushState,
    /// Changes that the Server has not taken.
    pub behind: u64,
    /// How many changes a pass from the beginning has, while one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// When the Server last took a push.
    pub last_push: Option<Timestamp>,
    /// How many changes of each kind it took since this process started.
    pub pushed: Kinds,
    /// What is wrong.
    pub fault: Option<FaultStatus>,
    /// Until when the Server's certificate is valid; null before the first connection.
    pub certificate_expires: Option<Timestamp>,
    /// SHA-256 of the Server's certificate, hexadecimal; null before the first connection.
    pub certificate_fingerprint: Option<String>,
}

/// How pushing to a Server goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushState {
    /// `jims onboard` was not finished: run it again.
    Pending,
    /// The table is not ready.
    Waiting,
    /// Nothing was taken yet.
    #[default]
    Connecting,
    /// Everything is being pushed.
    Resynchronising,
    /// Changes are pushed as they happen.
    Following,
    /// The Server does not take our pushes.
    Refused,
    /// It cannot be reached, or does not answer as it should.
    Failing,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

impl PushState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Resynchronising => "resynchronising",
            Self::Following => "following",
            Self::Refused => "refused",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}
