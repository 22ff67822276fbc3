//! DCE/RPC 5.0 over connections (C706 chapter 12, MS-RPCE 2.2.2): packets, and the client's side of an association.
//!
//! [`pdu`], [`bind`] and [`call`] turn bytes into values and back, for both sides; [`status`] puts numbers into words;
//! [`association`] is the state machine over them. Only little-endian peers with the NDR transfer syntax are served.
//! What the calls carry is not known here.

pub mod association;
pub mod bind;
pub mod call;
pub mod pdu;
pub mod status;

pub use crate::wire::cursor::DecodeError;
pub use crate::wire::windows::Guid;

/// Largest fragment either side offers unless told otherwise; what Windows offers over TCP.
pub const DEFAULT_FRAGMENT: u16 = 5840;

/// Smallest fragment that every peer must take (C706 12.6.3.1, MustRecvFragSize).
pub const MIN_FRAGMENT: u16 = 1432;

/// An interface or transfer syntax and its version (C706 12.6.3.1, `p_syntax_id_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyntaxId {
    /// Which.
    pub id: Guid,
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
}

impl SyntaxId {
    /// From the identifier as it is printed, and the version.
    #[must_use]
    pub const fn new(id: u128, major: u16, minor: u16) -> Self {
        Self {
            id: Guid::from_u128(id),
            major,
            minor,
        }
    }
}

impl std::fmt::Display for SyntaxId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} v{}.{}", self.id, self.major, self.minor)
    }
}

/// The NDR transfer syntax, version 2 (C706 chapter 14, appendix I).
pub const NDR20: SyntaxId = SyntaxId::new(0x8a88_5d04_1ceb_11c9_9fe8_0800_2b10_4860, 2, 0);

#[cfg(test)]
pub(crate) mod tests;
