//! What precedes the data of a call's packets (C706 12.6.4.9, 12.6.4.10, 12.6.4.7; MS-RPCE 2.2.2.6, 2.2.2.8).
//!
//! These are the fields between the common header and the data that may be sealed. `co_cancel`, `orphaned` and
//! `shutdown` have none.

use super::Guid;
use super::pdu::{HEADER_BYTES, Header, flag};
use crate::wire::cursor::{Cursor, DecodeError};

/// Bytes before a request's data when it names no object, common header included.
pub const REQUEST_BYTES: usize = HEADER_BYTES + 8;
/// Bytes before a request's data when it names an object.
pub const OBJECT_REQUEST_BYTES: usize = REQUEST_BYTES + 16;
/// Bytes before a response's data.
pub const RESPONSE_BYTES: usize = HEADER_BYTES + 8;
/// Bytes before whatever follows a fault's fields.
pub const FAULT_BYTES: usize = HEADER_BYTES + 16;

/// Of a request (C706 12.6.4.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of data in this fragment and those after it; 0: not said.
    pub alloc_hint: u32,
    /// Number of the presentation context.
    pub context_id: u16,
    /// Number of the function.
    pub opnum: u16,
    /// The object; its presence is a flag of the header.
    pub object: Option<Guid>,
}

impl RequestHead {
    /// Writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.alloc_hint.to_le_bytes());
        out.extend_from_slice(&self.context_id.to_le_bytes());
        out.extend_from_slice(&self.opnum.to_le_bytes());
        if let Some(object) = self.object {
            out.extend_from_slice(&object.to_bytes_le());
        }
    }

    /// Reads it from what follows the header.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(header: &Header, body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("request", body);
        Ok(Self {
            alloc_hint: fields.u32("alloc_hint")?,
            context_id: fields.u16("p_cont_id")?,
            opnum: fields.u16("opnum")?,
            object: match header.has(flag::OBJECT) {
                true => Some(Guid::from_bytes_le(fields.array("object")?)),
                false => None,
            },
        })
    }

    /// Bytes before the data, common header included.
    #[must_use]
    pub fn data_offset(&self) -> usize {
        match self.object {
            Some(_) => OBJECT_REQUEST_BYTES,
            None => REQUEST_BYTES,
        }
    }
}

/// Of a response (C706 12.6.4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of data in this fragment and those after it; 0: not said.
    pub alloc_hint: u32,
    /// Number of the presentation context.
    pub context_id: u16,
    /// Cancels the server has seen.
    pub cancel_count: u8,
}

impl ResponseHead {
    /// Writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.alloc_hint.to_le_bytes());
        out.extend_from_slice(&self.context_id.to_le_bytes());
        out.extend_from_slice(&[self.cancel_count, 0]);
    }

    /// Reads it from what follows the header.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("response", body);
        let head = Self {
            alloc_hint: fields.u32("alloc_hint")?,
            context_id: fields.u16("p_cont_id")?,
            cancel_count: fields.u8("cancel_count")?,
        };
        fields.u8("reserved")?;
        Ok(head)
    }
}

/// Of a fault (C706 12.6.4.7, MS-RPCE 2.2.2.8). Whatever follows is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultHead {
    /// Length of the fault and its extended error information.
    pub alloc_hint: u32,
    /// Number of the presentation context.
    pub context_id: u16,
    /// Cancels the server has seen.
    pub cancel_count: u8,
    /// Bit 0: extended error information follows.
    pub reserved: u8,
    /// What went wrong; see [`super::status`].
    pub status: u32,
}

impl FaultHead {
    /// Writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.alloc_hint.to_le_bytes());
        out.extend_from_slice(&self.context_id.to_le_bytes());
        out.extend_from_slice(&[self.cancel_count, self.reserved]);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    /// Reads it from what follows the header.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("fault", body);
        Ok(Self {
            alloc_hint: fields.u32("alloc_hint")?,
            context_id: fields.u16("p_cont_id")?,
            cancel_count: fields.u8("cancel_count")?,
            reserved: fields.u8("reserved")?,
            status: fields.u32("status")?,
        })
    }
}
