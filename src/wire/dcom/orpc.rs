//! What stands at the head of every call and reply of an object (MS-DCOM 2.2.13), and interface pointers within them.

use super::{COM_VERSION, ReplyError};
use crate::wire::cursor::DecodeError;
use crate::wire::dcom::objref::Reference;
use crate::wire::ndr::{Reader, Writer};
use crate::wire::windows::Guid;

/// Most extensions of a reply that are passed over: Windows sends one with an error, if any.
const MAX_EXTENSIONS: usize = 16;

/// Flags of a call to an object: none are allowed (MS-DCOM 2.2.13.3).
pub(in crate::wire) const CALL: u32 = 0;
/// Flags of an activation: servers ignore them, and every known client sends this one (MS-DCOM 2.2.13.3).
pub(in crate::wire) const ACTIVATION: u32 = 1;

/// An ORPCTHIS; the arguments follow (2.2.13.3).
pub(in crate::wire) fn call(flags: u32, causality: Guid) -> Writer {
    let mut stub = Writer::new();
    let (major, minor) = COM_VERSION;
    stub.u16(major)
        .u16(minor)
        .u32(flags)
        .u32(0)
        .guid(causality)
        .pointer(false);
    stub
}

/// A reply to a call, read beyond its ORPCTHAT (2.2.13.4): extensions may be ignored, and are.
pub(in crate::wire) fn reply<'a>(
    structure: &'static str,
    stub: &'a [u8],
) -> Result<Reader<'a>, DecodeError> {
    let mut reader = Reader::new(structure, stub);
    reader.u32("ORPCTHAT flags")?;
    if reader.pointer("ORPCTHAT extensions")? {
        skip_extensions(&mut reader)?;
    }
    Ok(reader)
}

/// An ORPC_EXTENT_ARRAY (2.2.13.2).
fn skip_extensions(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    reader.length("extension count", MAX_EXTENSIONS)?;
    reader.u32("extension reserved")?;
    if !reader.pointer("extensions")? {
        return Ok(());
    }
    // Rounded up to an even count, the last of which is then null.
    let slots = reader.length("extensions", MAX_EXTENSIONS)?;
    let mut present = 0;
    for _ in 0..slots {
        present += usize::from(reader.pointer("extension")?);
    }
    for _ in 0..present {
        let room = reader.cursor().remaining();
        let length = reader.length("extension data", room)?;
        reader.guid("extension id")?;
        reader.u32("extension size")?;
        reader.cursor().bytes("extension data", length)?;
    }
    Ok(())
}

/// An MInterfacePointer behind its referent: the OBJREF in it (2.2.14).
pub(in crate::wire) fn interface<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<&'a [u8], DecodeError> {
    let room = reader.cursor().remaining();
    let size = reader.length(field, room)?;
    let used = reader.length(field, size)?;
    let bytes = reader.cursor().bytes(field, size)?;
    Ok(bytes.get(..used).unwrap_or_default())
}

/// A unique pointer to an MInterfacePointer, as a result (2.2.16).
pub(in crate::wire) fn optional_interface<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<Option<&'a [u8]>, DecodeError> {
    if reader.pointer(field)? {
        interface(reader, field).map(Some)
    } else {
        Ok(None)
    }
}

/// A reply that is one reference to a `wanted` interface and a status.
pub(in crate::wire) fn reference(
    structure: &'static str,
    stub: &[u8],
    wanted: Guid,
) -> Result<Reference, ReplyError> {
    let mut reader = reply(structure, stub)?;
    let found = optional_interface(&mut reader, "interface")?;
    let status = reader.u32("status")?;
    result(structure, found, status, wanted)
}

/// The reference that came with a status, or the status.
pub(in crate::wire) fn result(
    structure: &'static str,
    found: Option<&[u8]>,
    status: u32,
    wanted: Guid,
) -> Result<Reference, ReplyError> {
    match found {
        Some(bytes) if is_success(status) => Ok(Reference::decode(bytes, wanted)?),
        None if status == 0 => Err(ReplyError::Decode(DecodeError::Missing {
            structure,
            field: "interface",
        })),
        Some(_) | None => Err(ReplyError::Refused(status)),
    }
}

/// Whether an HRESULT is one of success (MS-ERREF 2.1: the severity bit is clear).
pub(in crate::wire) const fn is_success(status: u32) -> bool {
    status >> 31 == 0
}
