//! References to objects (MS-DCOM 2.2.18) and the addresses of those who hold them (2.2.19).
//!
//! All four kinds are read. Three name an object that lives elsewhere and differ only in what we have no use for; the
//! fourth carries the object itself, as bytes that someone else understands.

use super::MAX_BINDINGS;
use crate::wire::cursor::{Cursor, DecodeError};
use crate::wire::windows::{self, Guid};

const STRUCTURE: &str = "an OBJREF";
/// The letters MEOW.
const SIGNATURE: u32 = 0x574f_454d;

/// What tells the kinds apart (2.2.18).
mod kind {
    pub(super) const STANDARD: u32 = 1;
    pub(super) const HANDLER: u32 = 2;
    pub(super) const CUSTOM: u32 = 4;
    pub(super) const EXTENDED: u32 = 8;
}

/// Protocol identifier of RPC over TCP (C706 appendix I).
const TCP: u16 = 7;
/// Most bindings that are looked at, of whatever protocol.
const MAX_STRINGS: usize = 256;

/// An object that lives at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The interface it is a reference to.
    pub interface: Guid,
    /// References that are ours and that we owe back.
    pub public_refs: u32,
    /// The process it lives in.
    pub oxid: u64,
    /// The object.
    pub oid: u64,
    /// Its interface: the object UUID of calls to it.
    pub ipid: Guid,
}

/// An OBJREF of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectReference<'a> {
    /// A standard, handler or extended one: the object is at the server.
    Remote(Reference),
    /// A custom one: the object is here.
    Custom {
        /// Its interface.
        interface: Guid,
        /// Who understands the bytes.
        class: Guid,
        /// The object.
        data: &'a [u8],
    },
}

impl<'a> ObjectReference<'a> {
    /// Reads it (2.2.18). Addresses of the object resolver at its end are not looked at: we know whom we dialled.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new(STRUCTURE, bytes);
        let signature = fields.u32("signature")?;
        if signature != SIGNATURE {
            return Err(fields.invalid("signature", 4, signature.into()));
        }
        let kind = fields.u32("flags")?;
        let interface = Guid::from_bytes_le(fields.array("iid")?);
        match kind {
            kind::STANDARD | kind::HANDLER | kind::EXTENDED => {
                fields.u32("std flags")?;
                Ok(Self::Remote(Reference {
                    interface,
                    public_refs: fields.u32("cPublicRefs")?,
                    oxid: fields.u64("oxid")?,
                    oid: fields.u64("oid")?,
                    ipid: Guid::from_bytes_le(fields.array("ipid")?),
                }))
            }
            kind::CUSTOM => {
                let class = Guid::from_bytes_le(fields.array("clsid")?);
                // Both are to be ignored (2.2.18.6); the second is no reliable size.
                fields.u32("cbExtension")?;
                fields.u32("reserved")?;
                Ok(Self::Custom {
                    interface,
                    class,
                    data: fields.rest(),
                })
            }
            other => Err(DecodeError::Invalid {
                structure: STRUCTURE,
                field: "flags",
                offset: 4,
                value: other.into(),
            }),
        }
    }
}

impl Reference {
    /// Reads an OBJREF that must be of a remote object and of the `wanted` interface (2.2.17).
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(bytes: &[u8], wanted: Guid) -> Result<Self, DecodeError> {
        match ObjectReference::decode(bytes)? {
            ObjectReference::Remote(reference) if reference.interface == wanted => Ok(reference),
            ObjectReference::Remote(_) | ObjectReference::Custom { .. } => {
                Err(DecodeError::Missing {
                    structure: STRUCTURE,
                    field: "reference to the interface that was asked for",
                })
            }
        }
    }
}

/// The bytes of a custom OBJREF.
///
/// # Errors
/// [`DecodeError`], also if it is of another kind.
pub fn custom(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match ObjectReference::decode(bytes)? {
        ObjectReference::Custom { data, .. } => Ok(data),
        ObjectReference::Remote(_) => Err(DecodeError::Missing {
            structure: STRUCTURE,
            field: "object marshaled by value",
        }),
    }
}

/// Where a process listens (2.2.19.3). Hosts name all their addresses, also those that cannot be reached from here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// A name or an address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Binding {
    /// From `host[port]`; `None` without a port. An IPv6 address may stand in brackets of its own.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (host, port) = text.strip_suffix(']')?.rsplit_once('[')?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port != 0)?;
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        Some(Self {
            host: bare.unwrap_or(host).to_owned(),
            port,
        })
    }
}

/// The TCP bindings with a port in a DUALSTRINGARRAY (2.2.19.1): `units` are its 16-bit numbers, and the security
/// bindings, which begin at `security`, are not looked at. At most [`MAX_BINDINGS`]; what is more is left out.
pub(super) fn bindings(units: &[u8], security: u16) -> Result<Vec<Binding>, DecodeError> {
    const BINDINGS: &str = "string bindings";
    let whole = Cursor::new(BINDINGS, units);
    let strings = units
        .get(..2 * usize::from(security))
        .ok_or_else(|| whole.truncated("security bindings"))?;
    let mut fields = Cursor::new(BINDINGS, strings);
    let mut found = Vec::new();
    for _ in 0..MAX_STRINGS {
        // An empty array may lack its terminator.
        let tower = if fields.is_empty() {
            0
        } else {
            fields.u16("wTowerId")?
        };
        if tower == 0 {
            return Ok(found);
        }
        let text = until_nul(&mut fields)?;
        if tower == TCP && found.len() < MAX_BINDINGS {
            found.extend(Binding::from_text(&windows::utf16(text)));
        }
    }
    Err(fields.too_much("bindings", MAX_STRINGS))
}

/// A wide string up to its NUL, which is skipped.
fn until_nul<'a>(fields: &mut Cursor<'a>) -> Result<&'a [u8], DecodeError> {
    let length = windows::utf16_units(fields.rest()).position(|unit| unit == 0);
    let Some(length) = length else {
        return Err(fields.truncated("end of aNetworkAddr"));
    };
    let text = fields.bytes("aNetworkAddr", 2 * length)?;
    fields.u16("end of aNetworkAddr")?;
    Ok(text)
}
