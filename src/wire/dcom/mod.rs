//! Distributed COM (MS-DCOM), the client's side: make an object on another host, call it, and let go of it.
//!
//! [`activation`] asks for an object and reads where it lives, [`objref`] reads references to objects, `orpc` is what
//! stands at the head of every call and reply, [`release()`] gives references back, [`status`] puts results into words.
//! Only what travels: no connection, no decision, and nothing of what an object does ([`crate::wire::wmi`] knows that).

pub mod activation;
pub mod objref;
pub(in crate::wire) mod orpc;
pub mod release;
pub mod status;

use thiserror::Error;

use super::cursor::DecodeError;
use super::dcerpc::SyntaxId;

pub use activation::{Created, create_instance, created};
pub use objref::{Binding, Reference};
pub use release::{release, released};

/// The version we speak (MS-DCOM 2.2.11). Servers refuse a higher minor version than their own, and Windows has refused
/// lower ones than this since Windows 10 2004.
pub const COM_VERSION: (u16, u16) = (5, 7);

/// `IRemoteSCMActivator`, at the endpoint mapper's port (MS-DCOM 1.9).
pub const ACTIVATOR: SyntaxId = SyntaxId::new(0x0000_01a0_0000_0000_c000_0000_0000_0046, 0, 0);
/// `IRemUnknown`, where the objects live (MS-DCOM 1.9).
pub const REM_UNKNOWN: SyntaxId = SyntaxId::new(0x0000_0131_0000_0000_c000_0000_0000_0046, 0, 0);

/// Numbers of the functions.
pub mod opnum {
    /// `IRemoteSCMActivator::RemoteCreateInstance` (MS-DCOM 3.1.2.5.2.3.3).
    pub const REMOTE_CREATE_INSTANCE: u16 = 4;
    /// `IRemUnknown::RemRelease` (MS-DCOM 3.1.1.5.6.1.3).
    pub const REM_RELEASE: u16 = 5;
}

/// Most bytes of a reply to [`create_instance`] or [`release()`] that are worth taking: only bindings vary in it.
pub const MAX_REPLY_BYTES: usize = 256 << 10;
/// Most string bindings that are kept: a host has one or two for each of its addresses.
pub const MAX_BINDINGS: usize = 64;

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The bytes are not such a reply.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The server says why: an HRESULT (MS-ERREF 2.1).
    #[error("{}", status::words(*.0))]
    Refused(u32),
}

impl ReplyError {
    /// The server's HRESULT, if it gave one.
    #[must_use]
    pub const fn status(&self) -> Option<u32> {
        match self {
            Self::Refused(status) => Some(*status),
            Self::Decode(_) => None,
        }
    }
}

#[cfg(test)]
pub(in crate::wire) mod tests;
