//! What an association needs of a negotiated security context.
//!
//! The library that negotiates is known only to `net/security`; here is the seam between it and the packets. Kept in
//! `wire/` because sealing is part of the packet format. No negotiation, no credentials.

use thiserror::Error;

/// A negotiated security context, as an association uses it (MS-RPCE 2.2.2.11, 3.3.1.5.2).
///
/// Calls come in the order of the fragments on the wire: contexts count them.
pub trait SecurityContext: Send {
    /// The type of the trailer: 9 SPNEGO, 10 NTLM, 16 Kerberos (MS-RPCE 2.2.1.1.7).
    fn auth_type(&self) -> u8;

    /// Bytes of the token that protects each fragment.
    fn token_length(&self) -> usize;

    /// Encrypts `stub`, padding included, in place and writes the whole of `token`.
    ///
    /// `header` and `trailer` are covered by the checksum; both are empty when header signing was not agreed.
    ///
    /// # Errors
    /// The context cannot be used.
    fn seal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &mut [u8],
    ) -> Result<(), SecurityError>;

    /// Decrypts `stub` in place and verifies it; the counterpart of [`SecurityContext::seal`].
    ///
    /// # Errors
    /// The fragment is not what the peer sent, or the context cannot be used.
    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError>;
}

/// Why a fragment could not be sealed or unsealed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SecurityError(pub String);
