//! Giving references back: `IRemUnknown::RemRelease` (MS-DCOM 3.1.1.5.6.1.3).
//!
//! A host drops what nobody pings for some minutes anyway; this is manners.

use super::{ReplyError, orpc};
use crate::wire::windows::Guid;

/// The arguments that give references back: the interface of each, and how many it came with
/// ([`super::Reference::public_refs`]). At most 65,535 of them; the rest is left to time.
#[must_use]
pub fn release(causality: Guid, references: &[(Guid, u32)]) -> Vec<u8> {
    let count = u16::try_from(references.len()).unwrap_or(u16::MAX);
    let mut stub = orpc::call(orpc::CALL, causality);
    stub.u16(count).u32(count.into());
    for (interface, public_refs) in references.iter().take(count.into()) {
        stub.guid(*interface).u32(*public_refs).u32(0);
    }
    stub.into_bytes()
}

/// Whether the server is content.
///
/// # Errors
/// [`ReplyError`]
pub fn released(stub: &[u8]) -> Result<(), ReplyError> {
    let mut reader = orpc::reply("the reply to a release", stub)?;
    match reader.u32("status")? {
        status if orpc::is_success(status) => Ok(()),
        status => Err(ReplyError::Refused(status)),
    }
}
