//! How calls and associations end, in words.

use thiserror::Error;

use crate::wire::dcerpc::bind::RejectReason;
use crate::wire::dcerpc::pdu::Kind;
use crate::wire::dcerpc::{DecodeError, status};
use crate::wire::security::SecurityError;

/// A fault (C706 12.6.4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong; see [`status`].
    pub status: u32,
    /// Whether it came protected, where protection was agreed; if not, anybody can have written it.
    pub protected: bool,
    /// Whether the server says that it did not run the function.
    pub did_not_execute: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&status::words(self.status))
    }
}

/// Why one call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallFailure {
    /// The server said so.
    #[error("the server answered with a fault: {0}")]
    Fault(Fault),
    /// No reply came in time.
    #[error("no reply came in time")]
    TimedOut,
    /// The reply is longer than asked for.
    #[error("the reply is longer than {limit} bytes")]
    TooLong {
        /// What was asked for.
        limit: usize,
    },
}

/// Why a bind was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By a `bind_nak`.
    Rejected(RejectReason),
    /// By a fault in place of an answer.
    Fault(Fault),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rejected(reason) => f.write_str(reason.words()),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

/// Why an association ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CloseReason {
    /// The connection ended.
    #[error("the server closed the connection")]
    PeerClosed,
    /// The server asked for it.
    #[error("the server shut the association down")]
    Shutdown,
    /// The server refused the bind, or a step of it.
    #[error("the server refused the bind: {0}")]
    Refused(Refusal),
    /// The bind, or a change of the association, was not answered in time.
    #[error("the bind was not answered in time")]
    BindTimedOut,
    /// A call was given up, and the server takes only one at a time.
    #[error("the server takes one call at a time and is stuck in one")]
    Stuck,
    /// The server answered without the protection that was agreed.
    #[error("the server sent a fault without protection: {0}")]
    UnprotectedFault(Fault),
    /// A packet came without the protection that was agreed.
    #[error("a {kind} came without the protection that was agreed")]
    Unprotected {
        /// What came.
        kind: Kind,
    },
    /// A packet's trailer is not that of the agreed context.
    #[error("a {kind} came with the protection of another context")]
    OtherContext {
        /// What came.
        kind: Kind,
    },
    /// A fragment could not be sealed or does not verify.
    #[error("the protection of the association failed: {0}")]
    Security(#[from] SecurityError),
    /// A packet is malformed.
    #[error("the server sent a malformed packet: {0}")]
    Malformed(#[from] DecodeError),
    /// A fragment is longer than was agreed.
    #[error("a fragment has {length} bytes, {limit} were agreed")]
    FragmentTooLong {
        /// Its length.
        length: usize,
        /// What was agreed.
        limit: usize,
    },
    /// A packet came that may not come now.
    #[error("a {kind} came out of turn (call {call_id})")]
    OutOfTurn {
        /// What came.
        kind: Kind,
        /// For which call.
        call_id: u32,
    },
    /// A reply came to a call that was never made or is over.
    #[error("a {kind} came to call {call_id}, which is not in flight")]
    UnknownCall {
        /// What came.
        kind: Kind,
        /// For which call.
        call_id: u32,
    },
}

/// What an association cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UsageError {
    /// Not at this point of its life.
    #[error("the association is not ready for this")]
    WrongPhase,
    /// It has ended, or is about to.
    #[error("the association has ended")]
    Closed,
    /// As many calls are in flight as may be.
    #[error("too many calls are in flight")]
    TooManyCalls,
    /// No number is left for another interface.
    #[error("too many interfaces have been offered")]
    TooManyContexts,
    /// The presentation context was not offered or not accepted.
    #[error("the interface was not accepted")]
    NoSuchContext,
    /// A token does not fit into a packet.
    #[error("the token is too long for a packet")]
    TokenTooLong,
    /// The context is of another kind than the tokens before it.
    #[error("the security context is of another kind than its tokens")]
    OtherSecurity,
}
