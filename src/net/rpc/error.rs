//! What goes wrong between here and a call's results, in words, with what the operator can try.
//!
//! The classes are those an operator acts upon differently. No sockets, no decisions.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

use crate::net::resolve::ResolveError;
use crate::net::security::AuthError;
use crate::wire::dcerpc::SyntaxId;
use crate::wire::dcerpc::association::{CloseReason, Fault, Refusal, UsageError};
use crate::wire::dcerpc::bind::ContextResult;
use crate::wire::dcerpc::status;
use crate::wire::epm::EpmError;

/// Why a server could not be asked, or did not answer as hoped.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The host's name does not resolve.
    #[error("{source}")]
    Name {
        /// The host.
        host: String,
        /// What the resolver said.
        source: ResolveError,
    },
    /// Nothing listens on the port.
    #[error("{host} ({address}) refused the connection")]
    Refused {
        /// The host.
        host: String,
        /// The last address tried.
        address: SocketAddr,
    },
    /// The host cannot be reached.
    #[error("could not connect to {host} ({address}): {source}")]
    Unreachable {
        /// The host.
        host: String,
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A step took too long.
    #[error("{host} did not answer {doing} within {} s", after.as_secs())]
    TimedOut {
        /// The host.
        host: String,
        /// The step.
        doing: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// No reply to a call came in time.
    #[error("{host} did not answer a call in time")]
    CallTimedOut {
        /// The host.
        host: String,
    },
    /// The interface is not offered there over TCP.
    #[error("{host} does not offer the interface {interface} over RPC")]
    NotRegistered {
        /// The host.
        host: String,
        /// The interface.
        interface: SyntaxId,
    },
    /// The endpoint mapper failed otherwise.
    #[error("asking {host} for a port failed: {reason}")]
    EndpointMapper {
        /// The host.
        host: String,
        /// Why.
        reason: EpmError,
    },
    /// The server refused the association.
    #[error("{host} refused the bind: {refusal}")]
    BindRefused {
        /// The host.
        host: String,
        /// Why.
        refusal: Refusal,
    },
    /// The server does not take this interface on this port.
    #[error("{host} does not take the interface {interface} there: {}", result.words())]
    InterfaceRefused {
        /// The host.
        host: String,
        /// The interface.
        interface: SyntaxId,
        /// What it said.
        result: ContextResult,
    },
    /// The negotiation of security failed.
    #[error("signing on to {host} failed: {source}")]
    Auth {
        /// The host.
        host: String,
        /// Why.
        source: AuthError,
    },
    /// The first call was refused, which is how servers say that the last step of NTLM did not please them.
    #[error("{host} did not accept the account: {fault}")]
    SignOnRefused {
        /// The host.
        host: String,
        /// What it said.
        fault: Fault,
    },
    /// A call failed on the server.
    #[error("{host} answered with a fault: {fault}")]
    Fault {
        /// The host.
        host: String,
        /// What it said.
        fault: Fault,
    },
    /// The results are longer than they may be.
    #[error("{host} sent results of more than {limit} bytes")]
    TooLong {
        /// The host.
        host: String,
        /// What was allowed.
        limit: usize,
    },
    /// The server ended the association or the connection.
    #[error("{host}: {reason}")]
    Closed {
        /// The host.
        host: String,
        /// How.
        reason: CloseReason,
    },
    /// The connection broke.
    #[error("the connection to {host} broke: {source}")]
    Io {
        /// The host.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server does not speak the protocol as it should, or somebody in between changed it.
    #[error("{host}: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// What is wrong.
        reason: CloseReason,
    },
    /// The association was asked for what it cannot do.
    #[error("a call to {host} could not be made: {reason}")]
    Usage {
        /// The host.
        host: String,
        /// Why not.
        reason: UsageError,
    },
}

impl RpcError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Name { source, .. } => source.remedy(),
            Self::Refused { address, .. } if address.port() == 135 => {
                "check that this is a Windows server and that its firewall lets RPC in".into()
            }
            Self::Refused { .. } => "check that the service runs there; its port may have changed since it was asked for".into(),
            Self::Unreachable { .. } => "check the route and the firewalls to it".into(),
            Self::TimedOut { doing: "connecting", .. } => {
                "check that firewalls let this machine reach port 135 and the dynamic RPC ports (49152 to 65535)".into()
            }
            Self::TimedOut { .. } | Self::CallTimedOut { .. } => "check the load of the server".into(),
            Self::NotRegistered { .. } => {
                "check that the service runs there (for event logs: `Get-Service EventLog`) and that its firewall rule is on (Remote Event Log Management)".into()
            }
            Self::EndpointMapper { .. } => "look into the server's log; the service `RpcEptMapper` answers on port 135".into(),
            Self::BindRefused { refusal, .. } => refusal_remedy(*refusal),
            Self::InterfaceRefused { .. } => "check that the port belongs to the service: leave it out to ask the endpoint mapper".into(),
            Self::Auth { source, .. } => source.remedy(),
            Self::SignOnRefused { .. } => {
                "check the user name and the password, that the account is not disabled, locked or expired, and that it may use the service".into()
            }
            Self::Fault { fault, .. } => fault_remedy(*fault),
            Self::TooLong { .. } => "ask for less at once".into(),
            Self::Closed { .. } | Self::Io { .. } => "look into the server's log; jims connects again".into(),
            Self::Protocol { reason: CloseReason::UnprotectedFault(fault), .. } => fault_remedy(*fault),
            Self::Protocol { .. } => "check what stands between this machine and the server, and whether the port is RPC".into(),
            Self::Usage { .. } => "this is a defect of jims: please report it".into(),
        }
    }

    /// Whether the account is refused: trying again soon only locks it out.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        match self {
            Self::SignOnRefused { .. } => true,
            Self::Auth { source, .. } => source.is_credentials(),
            Self::BindRefused {
                refusal: Refusal::Fault(fault),
                ..
            } => matches!(fault.status, status::ACCESS_DENIED | status::SEC_PKG_ERROR),
            _ => false,
        }
    }

    /// The fault's status, if the server answered a call with one.
    #[must_use]
    pub fn status(&self) -> Option<u32> {
        match self {
            Self::Fault { fault, .. }
            | Self::SignOnRefused { fault, .. }
            | Self::Protocol {
                reason: CloseReason::UnprotectedFault(fault),
                ..
            } => Some(fault.status),
            _ => None,
        }
    }
}

fn refusal_remedy(refusal: Refusal) -> String {
    match refusal {
        Refusal::Rejected(reason) if reason.0 == 8 => {
            "the server does not take this way of signing on: try Kerberos, NTLM and Negotiate in turn".into()
        }
        Refusal::Rejected(_) => "check the account, the host's full name and the clocks of both sides".into(),
        Refusal::Fault(fault) if matches!(fault.status, status::ACCESS_DENIED | status::SEC_PKG_ERROR) => {
            "check the user name and the password, that the account is not disabled, locked or expired, and the clocks of both sides".into()
        }
        Refusal::Fault(fault) => fault_remedy(fault),
    }
}

fn fault_remedy(fault: Fault) -> String {
    match fault.status {
        status::ACCESS_DENIED => {
            "give the account the right: for event logs, membership of Event Log Readers in the domain".into()
        }
        status::OP_RANGE_ERROR | status::UNKNOWN_INTERFACE => {
            "the server does not have this function: is it a supported Windows version".into()
        }
        status::BAD_STUB_DATA => "this is a defect of jims: please report it".into(),
        _ => "look into the server's log".into(),
    }
}
