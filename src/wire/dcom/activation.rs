//! Making an object on another host: `IRemoteSCMActivator::RemoteCreateInstance` (MS-DCOM 3.1.2.5.2.3.3).
//!
//! Question and answer are an activation properties BLOB (2.2.22): a table, and properties that are encoded each for
//! itself. We send the three that are required and the context that every known client sends with them.

use super::objref::{self, Binding, Reference};
use super::{COM_VERSION, ReplyError, orpc};
use crate::wire::cursor::{Cursor, DecodeError};
use crate::wire::ndr::{Reader, Writer};
use crate::wire::windows::Guid;

/// Most properties of an answer (2.2.28.1).
const MAX_PROPERTIES: usize = 10;
/// Most interfaces of an answer: we ask for one.
const MAX_INTERFACES: usize = 16;
/// Most 16-bit units of bindings (2.2.19.1: their count has 16 bits).
const MAX_BINDING_UNITS: usize = 0xffff;
/// Bytes of the headers before each property (MS-RPCE 2.2.6).
const SERIALIZED_HEADER_BYTES: usize = 16;

/// Identifiers of properties and of what holds them; all are `xxxxxxxx-0000-0000-c000-000000000046` (1.9).
mod id {
    use crate::wire::windows::Guid;

    const fn well_known(number: u32) -> Guid {
        Guid::from_u128(((number as u128) << 96) | 0xc000_0000_0000_0046)
    }
    pub(super) const IN_INTERFACE: Guid = well_known(0x1a2);
    pub(super) const IN_CLASS: Guid = well_known(0x338);
    pub(super) const INSTANTIATION: Guid = well_known(0x1ab);
    pub(super) const CONTEXT: Guid = well_known(0x1a5);
    pub(super) const LOCATION: Guid = well_known(0x1a4);
    pub(super) const REQUEST: Guid = well_known(0x1aa);
    pub(super) const PROPERTIES_OUT: Guid = well_known(0x339);
    pub(super) const REPLY: Guid = well_known(0x1b6);
}

/// The arguments that make an object of a class and ask for one of its interfaces.
#[must_use]
pub fn create_instance(class: Guid, interface: Guid, causality: Guid) -> Vec<u8> {
    let properties = [
        (id::INSTANTIATION, instantiation(class, interface)),
        (id::CONTEXT, serialized(&context())),
        (id::LOCATION, serialized(&location())),
        (id::REQUEST, serialized(&protocols())),
    ];
    let blob = blob(&properties);
    let mut objref = Writer::new();
    objref
        .raw(b"MEOW")
        .u32(4)
        .guid(id::IN_INTERFACE)
        .guid(id::IN_CLASS)
        .u32(0)
        .length(blob.len() + 8)
        .raw(&blob);
    let objref = objref.into_bytes();
    let mut stub = orpc::call(orpc::ACTIVATION, causality);
    // No outer object.
    stub.pointer(false)
        .pointer(true)
        .length(objref.len())
        .length(objref.len())
        .raw(&objref);
    stub.into_bytes()
}

/// The activation properties BLOB (2.2.22).
fn blob(properties: &[(Guid, Vec<u8>)]) -> Vec<u8> {
    /// Differs from machine to machine; ignored (2.2.22.1).
    const DIFFERENT_MACHINE: u32 = 2;
    // The header says its own size and the total; both depend on nothing but the count.
    let header = |header_size: usize, total: usize| {
        let mut header = Writer::new();
        header
            .length(total)
            .length(header_size)
            .u32(0)
            .u32(DIFFERENT_MACHINE)
            .length(properties.len())
            .guid(Guid::nil())
            .pointer(true)
            .pointer(true)
            .pointer(false)
            .length(properties.len());
        for (id, _) in properties {
            header.guid(*id);
        }
        header.length(properties.len());
        for (_, bytes) in properties {
            header.length(bytes.len());
        }
        serialized(&header.into_bytes())
    };
    let size = header(0, 0).len();
    let total = size + properties.iter().map(|(_, p)| p.len()).sum::<usize>();
    let mut blob = Writer::new();
    blob.length(total).u32(0).raw(&header(size, total));
    for (_, bytes) in properties {
        blob.raw(bytes);
    }
    blob.into_bytes()
}

/// Type serialization version 1 (MS-RPCE 2.2.6): two headers, and the object padded to eight bytes. The length counts
/// the padding.
fn serialized(object: &[u8]) -> Vec<u8> {
    let length = object.len().next_multiple_of(8);
    let mut out = Writer::new();
    out.u8(1)
        .u8(0x10)
        .u16(8)
        .u32(0xcccc_cccc)
        .length(length)
        .u32(0)
        .raw(object)
        .align(8);
    out.into_bytes()
}

/// An InstantiationInfoData (2.2.22.2.1), serialized: it holds its own size.
fn instantiation(class: Guid, interface: Guid) -> Vec<u8> {
    let object = |size: usize| {
        let mut object = Writer::new();
        let (major, minor) = COM_VERSION;
        object
            .guid(class)
            // classCtx, actvflags, fIsSurrogate
            .u32(0)
            .u32(0)
            .u32(0)
            .u32(1)
            .u32(0)
            .pointer(true)
            .length(size)
            .u16(major)
            .u16(minor)
            .u32(1)
            .guid(interface);
        serialized(&object.into_bytes())
    };
    object(object(0).len())
}

/// An ActivationContextInfoData (2.2.22.2.5) without contexts. The specification wants one; other clients send none
/// either, and Windows takes it.
fn context() -> Vec<u8> {
    let mut object = Writer::new();
    object.u32(0).u32(0).u32(0).u32(0);
    object.pointer(false).pointer(false);
    object.into_bytes()
}

/// A LocationInfoData (2.2.22.2.6), which says nothing and must be there.
fn location() -> Vec<u8> {
    let mut object = Writer::new();
    object.pointer(false).u32(0).u32(0).u32(0);
    object.into_bytes()
}

/// A ScmRequestInfoData (2.2.22.2.4): RPC over TCP.
fn protocols() -> Vec<u8> {
    const TCP: u16 = 7;
    let mut object = Writer::new();
    object
        .pointer(false)
        .pointer(true)
        // The level of impersonation is ignored (2.2.22.2.4.1).
        .u32(0)
        .u16(1)
        .pointer(true)
        .u32(1)
        .u16(TCP);
    object.into_bytes()
}

/// An object that was made, and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The interface that was asked for.
    pub object: Reference,
    /// The process it lives in.
    pub oxid: u64,
    /// That process's `IRemUnknown`: the object UUID of [`super::release()`].
    pub rem_unknown: Guid,
    /// Where that process listens, the server's favourite first; at most [`super::MAX_BINDINGS`].
    pub bindings: Vec<Binding>,
    /// The lowest level of authentication it takes (MS-RPCE 2.2.1.1.8), 0 if it does not say.
    pub authentication_hint: u32,
    /// Its version of DCOM, major and minor.
    pub version: (u16, u16),
}

const REPLY: &str = "the reply to an activation";

/// Reads the answer to [`create_instance`], which asked for `interface`.
///
/// # Errors
/// [`ReplyError`]; the HRESULT of the interface counts where the call itself has none.
pub fn created(stub: &[u8], interface: Guid) -> Result<Created, ReplyError> {
    let mut reader = orpc::reply(REPLY, stub)?;
    let properties = orpc::optional_interface(&mut reader, "ppActProperties")?;
    let status = reader.u32("status")?;
    let Some(properties) = properties.filter(|_| orpc::is_success(status)) else {
        return Err(if status == 0 {
            missing("ppActProperties").into()
        } else {
            ReplyError::Refused(status)
        });
    };
    let properties = split(objref::custom(properties)?)?;
    let find = |wanted: Guid, field: &'static str| {
        let found = properties.iter().find(|(id, _)| *id == wanted);
        found.map(|(_, bytes)| *bytes).ok_or_else(|| missing(field))
    };
    // Whether the interface was refused comes first: then nothing need be said about where it lives.
    let object = wanted(find(id::PROPERTIES_OUT, "PropsOutInfo")?, interface)?;
    Ok(place(find(id::REPLY, "ScmReplyInfo")?, object)?)
}

const fn missing(field: &'static str) -> DecodeError {
    DecodeError::Missing {
        structure: REPLY,
        field,
    }
}

/// The properties of a BLOB (2.2.22), each with its identifier.
fn split(blob: &[u8]) -> Result<Vec<(Guid, &[u8])>, DecodeError> {
    const BLOB: &str = "an activation properties BLOB";
    let mut fields = Cursor::new(BLOB, blob);
    fields.u32("dwSize")?;
    fields.u32("dwReserved")?;
    let header = fields.rest();
    let mut reader = object(BLOB, header)?;
    reader.u32("totalSize")?;
    let header_size = reader.length("headerSize", header.len())?;
    reader.u32("dwReserved")?;
    reader.u32("destCtx")?;
    let count = reader.length("cIfs", MAX_PROPERTIES)?;
    reader.guid("classInfoClsid")?;
    let has_ids = reader.pointer("pclsid")?;
    let has_sizes = reader.pointer("pSizes")?;
    reader.pointer("pdwReserved")?;
    if !has_ids || !has_sizes {
        return Err(missing("table of properties"));
    }
    exactly(&mut reader, "pclsid", count)?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(reader.guid("pclsid")?);
    }
    exactly(&mut reader, "pSizes", count)?;
    let mut bodies = Cursor::new(BLOB, header);
    bodies.bytes("CustomHeader", header_size)?;
    let mut found = Vec::with_capacity(count);
    for id in ids {
        let size = reader.length("pSizes", header.len())?;
        found.push((id, bodies.bytes("Property", size)?));
    }
    Ok(found)
}

/// An object behind its serialization headers (MS-RPCE 2.2.6.1). Its length is not looked at: peers disagree whether it
/// counts the padding, and what is around it bounds it.
fn object<'a>(structure: &'static str, bytes: &'a [u8]) -> Result<Reader<'a>, DecodeError> {
    let mut fields = Cursor::new(structure, bytes);
    let head = fields.bytes("serialization headers", SERIALIZED_HEADER_BYTES)?;
    let [version, endianness, ..] = head else {
        return Err(fields.truncated("serialization headers"));
    };
    if (*version, *endianness) != (1, 0x10) {
        let found = u16::from_le_bytes([*version, *endianness]);
        let width = SERIALIZED_HEADER_BYTES;
        return Err(fields.invalid("serialization version", width, found.into()));
    }
    Ok(Reader::new(structure, fields.rest()))
}

/// The size of a conformant array, which must be the one announced.
fn exactly(
    reader: &mut Reader<'_>,
    field: &'static str,
    announced: usize,
) -> Result<(), DecodeError> {
    let count = reader.length(field, announced)?;
    if count == announced {
        return Ok(());
    }
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    Err(reader.cursor().invalid(field, 4, count))
}

/// The reference to the interface in a PropsOutInfo (2.2.22.2.9).
fn wanted(property: &[u8], interface: Guid) -> Result<Reference, ReplyError> {
    const PROPERTY: &str = "a PropsOutInfo";
    let mut reader = object(PROPERTY, property)?;
    let count = reader.length("cIfs", MAX_INTERFACES)?;
    let has_ids = reader.pointer("piid")?;
    let has_results = reader.pointer("phresults")?;
    let has_interfaces = reader.pointer("ppIntfData")?;
    if !has_ids || !has_results || !has_interfaces {
        return Err(missing("interfaces").into());
    }
    exactly(&mut reader, "piid", count)?;
    let mut place = None;
    for index in 0..count {
        if reader.guid("piid")? == interface {
            place = Some(index);
        }
    }
    let place = place.ok_or_else(|| missing("interface that was asked for"))?;
    exactly(&mut reader, "phresults", count)?;
    let mut status = 0;
    for index in 0..count {
        let result = reader.u32("phresults")?;
        if index == place {
            status = result;
        }
    }
    exactly(&mut reader, "ppIntfData", count)?;
    let mut present = Vec::with_capacity(count);
    for _ in 0..count {
        present.push(reader.pointer("ppIntfData")?);
    }
    let mut found = None;
    for (index, is_present) in present.into_iter().enumerate() {
        if is_present {
            let bytes = orpc::interface(&mut reader, "ppIntfData")?;
            if index == place {
                found = Some(bytes);
            }
        }
    }
    orpc::result(PROPERTY, found, status, interface)
}

/// Where the object lives: a ScmReplyInfoData (2.2.22.2.8).
fn place(property: &[u8], made: Reference) -> Result<Created, DecodeError> {
    let mut reader = object("a ScmReplyInfo", property)?;
    let has_reserved = reader.pointer("pdwReserved")?;
    if !reader.pointer("remoteReply")? {
        return Err(missing("remoteReply"));
    }
    if has_reserved {
        reader.u32("pdwReserved")?;
    }
    let oxid = reader.u64("Oxid")?;
    if !reader.pointer("pdsaOxidBindings")? {
        return Err(missing("pdsaOxidBindings"));
    }
    let rem_unknown = reader.guid("ipidRemUnknown")?;
    let authentication_hint = reader.u32("authnHint")?;
    let version = (reader.u16("serverVersion")?, reader.u16("serverVersion")?);
    let size = reader.length("pdsaOxidBindings", MAX_BINDING_UNITS)?;
    let used = reader.u16("wNumEntries")?;
    let security = reader.u16("wSecurityOffset")?;
    if usize::from(used) != size {
        return Err(reader.cursor().invalid("wNumEntries", 4, used.into()));
    }
    let units = reader.cursor().bytes("aStringArray", 2 * size)?;
    Ok(Created {
        object: made,
        oxid,
        rem_unknown,
        bindings: objref::bindings(units, security)?,
        authentication_hint,
        version,
    })
}
