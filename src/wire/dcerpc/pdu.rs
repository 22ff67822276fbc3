//! What every packet has: the common header (C706 12.6.3.1) and the trailer of protected ones (MS-RPCE 2.2.2.11).
//!
//! A packet on the wire is one *fragment*: header, body, and, if its `auth_length` is not zero, padding, trailer and
//! token. The bodies are in [`super::bind`] and [`super::call`].

use crate::wire::cursor::{Cursor, DecodeError};

/// Bytes of the common header.
pub const HEADER_BYTES: usize = 16;
/// Bytes of the trailer, its token aside.
pub const TRAILER_BYTES: usize = 8;

/// The only data representation served: little-endian, ASCII, IEEE (C706 14.1).
const DATA_REPRESENTATION: [u8; 4] = [0x10, 0, 0, 0];

/// Bits of the header's flags (C706 12.6.3.1, MS-RPCE 2.2.2.3).
pub mod flag {
    /// First fragment of a call's data.
    pub const FIRST: u8 = 0x01;
    /// Last fragment of a call's data.
    pub const LAST: u8 = 0x02;
    /// In the packets of a bind only: header and trailer can be covered by the checksum.
    pub const SUPPORT_HEADER_SIGN: u8 = 0x04;
    /// Several calls may be in flight on one connection.
    pub const MULTIPLEXED: u8 = 0x10;
    /// Of a fault: the call was not executed.
    pub const DID_NOT_EXECUTE: u8 = 0x20;
    /// A request names an object.
    pub const OBJECT: u8 = 0x80;
}

/// Kinds of packets (C706 12.6.4, MS-RPCE 2.2.2.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A call's arguments.
    Request = 0,
    /// A call's results.
    Response = 2,
    /// A call that failed outside the called function.
    Fault = 3,
    /// Opens an association.
    Bind = 11,
    /// Accepts it.
    BindAck = 12,
    /// Refuses it.
    BindNak = 13,
    /// Adds presentation contexts, or carries another token.
    AlterContext = 14,
    /// Answers it.
    AlterContextResponse = 15,
    /// Carries the last token of a negotiation; is not answered.
    Auth3 = 16,
    /// The server asks for an end.
    Shutdown = 17,
    /// The client asks to cancel a call.
    CoCancel = 18,
    /// The client gives a call up.
    Orphaned = 19,
}

impl Kind {
    /// By its number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        const KINDS: [Kind; 12] = [
            Kind::Request,
            Kind::Response,
            Kind::Fault,
            Kind::Bind,
            Kind::BindAck,
            Kind::BindNak,
            Kind::AlterContext,
            Kind::AlterContextResponse,
            Kind::Auth3,
            Kind::Shutdown,
            Kind::CoCancel,
            Kind::Orphaned,
        ];
        KINDS.into_iter().find(|kind| *kind as u8 == number)
    }

    /// As the specification calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Fault => "fault",
            Self::Bind => "bind",
            Self::BindAck => "bind_ack",
            Self::BindNak => "bind_nak",
            Self::AlterContext => "alter_context",
            Self::AlterContextResponse => "alter_context_resp",
            Self::Auth3 => "rpc_auth_3",
            Self::Shutdown => "shutdown",
            Self::CoCancel => "co_cancel",
            Self::Orphaned => "orphaned",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The common header (C706 12.6.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind of the packet.
    pub kind: Kind,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Bytes of the whole fragment.
    pub fragment_length: u16,
    /// Bytes of the token; 0: no trailer.
    pub auth_length: u16,
    /// The call it belongs to.
    pub call_id: u32,
}

impl Header {
    /// Reads the first [`HEADER_BYTES`] of a fragment; `None` while there are fewer.
    ///
    /// # Errors
    /// [`DecodeError`]: another protocol or version, another data representation, lengths that cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Ok(None);
        };
        let mut fields = Cursor::new("the header", bytes);
        let version = fields.u8("rpc_vers")?;
        if version != 5 {
            return Err(fields.invalid("rpc_vers", 1, version.into()));
        }
        let minor = fields.u8("rpc_vers_minor")?;
        if minor > 1 {
            return Err(fields.invalid("rpc_vers_minor", 1, minor.into()));
        }
        let number = fields.u8("PTYPE")?;
        let kind =
            Kind::from_number(number).ok_or_else(|| fields.invalid("PTYPE", 1, number.into()))?;
        let flags = fields.u8("pfc_flags")?;
        let representation: [u8; 4] = fields.array("packed_drep")?;
        // The two bytes after it are reserved.
        if representation[..2] != DATA_REPRESENTATION[..2] {
            let value = u32::from_be_bytes(representation).into();
            return Err(fields.invalid("packed_drep", 4, value));
        }
        let fragment_length = fields.u16("frag_length")?;
        if usize::from(fragment_length) < HEADER_BYTES {
            return Err(fields.invalid("frag_length", 2, fragment_length.into()));
        }
        let auth_length = fields.u16("auth_length")?;
        let trailer = match usize::from(auth_length) {
            0 => 0,
            token => TRAILER_BYTES + token,
        };
        if HEADER_BYTES + trailer > usize::from(fragment_length) {
            return Err(fields.invalid("auth_length", 2, auth_length.into()));
        }
        Ok(Some(Self {
            kind,
            flags,
            fragment_length,
            auth_length,
            call_id: fields.u32("call_id")?,
        }))
    }

    /// Writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[5, 0, self.kind as u8, self.flags]);
        out.extend_from_slice(&DATA_REPRESENTATION);
        out.extend_from_slice(&self.fragment_length.to_le_bytes());
        out.extend_from_slice(&self.auth_length.to_le_bytes());
        out.extend_from_slice(&self.call_id.to_le_bytes());
    }

    /// Whether a bit of [`flag`] is set.
    #[must_use]
    pub fn has(&self, bit: u8) -> bool {
        self.flags & bit != 0
    }

    /// Where the trailer begins; the fragment's end if there is none.
    #[must_use]
    pub fn trailer_offset(&self) -> usize {
        let end = usize::from(self.fragment_length);
        match usize::from(self.auth_length) {
            0 => end,
            token => end - token - TRAILER_BYTES,
        }
    }
}

/// The trailer before a token (MS-RPCE 2.2.2.11, `sec_trailer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Kind of security: 9 SPNEGO, 10 NTLM, 16 Kerberos.
    pub auth_type: u8,
    /// What is protected: [`Trailer::PRIVACY`].
    pub level: u8,
    /// Bytes of padding before the trailer.
    pub padding: u8,
    /// Which security context of the connection.
    pub context_id: u32,
}

impl Trailer {
    /// Packet privacy (MS-RPCE 2.2.1.1.8).
    pub const PRIVACY: u8 = 6;

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`]: too short.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("the security trailer", bytes);
        let auth_type = fields.u8("auth_type")?;
        let level = fields.u8("auth_level")?;
        let padding = fields.u8("auth_pad_length")?;
        fields.u8("auth_reserved")?;
        Ok(Self {
            auth_type,
            level,
            padding,
            context_id: fields.u32("auth_context_id")?,
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let [a, b, c, d] = self.context_id.to_le_bytes();
        [self.auth_type, self.level, self.padding, 0, a, b, c, d]
    }
}

/// A fragment taken apart. Its bytes stay where they are.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// What follows the header, padding before a trailer left out.
    pub body: &'a [u8],
    /// Trailer and token, if there are.
    pub auth: Option<(Trailer, &'a [u8])>,
}

impl<'a> Parts<'a> {
    /// Takes a whole fragment apart; for packets that are not sealed.
    ///
    /// # Errors
    /// [`DecodeError`]: shorter than its header says, or more padding than body.
    pub fn split(header: &Header, fragment: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new(header.kind.name(), fragment);
        fields.bytes("the header", HEADER_BYTES)?;
        let body = fields.bytes("the body", header.trailer_offset() - HEADER_BYTES)?;
        if header.auth_length == 0 {
            return Ok(Self { body, auth: None });
        }
        let trailer = Trailer::decode(fields.bytes("the security trailer", TRAILER_BYTES)?)?;
        let token = fields.bytes("the token", header.auth_length.into())?;
        // Bodies of a bind are self-delimiting; some peers count no padding there.
        let end = body.len().checked_sub(trailer.padding.into());
        let Some(body) = end.and_then(|end| body.get(..end)) else {
            return Err(fields.invalid("auth_pad_length", 0, trailer.padding.into()));
        };
        Ok(Self {
            body,
            auth: Some((trailer, token)),
        })
    }
}

/// Appends a packet that is not sealed: header, body, and a token after padding to a multiple of 4 bytes.
///
/// # Errors
/// [`DecodeError`]: it would be longer than a packet can be; nothing is appended.
pub fn encode_plain(
    out: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    call_id: u32,
    body: &[u8],
    auth: Option<(Trailer, &[u8])>,
) -> Result<(), DecodeError> {
    let padding = match auth {
        Some(_) => body.len().next_multiple_of(4) - body.len(),
        None => 0,
    };
    let token = auth.map_or(0, |(_, token)| token.len());
    let trailer = if auth.is_some() { TRAILER_BYTES } else { 0 };
    let length = HEADER_BYTES + body.len() + padding + trailer + token;
    let too_long = |_| DecodeError::Invalid {
        structure: kind.name(),
        field: "frag_length",
        offset: 8,
        value: length as u64,
    };
    let header = Header {
        kind,
        flags,
        fragment_length: u16::try_from(length).map_err(too_long)?,
        auth_length: u16::try_from(token).map_err(too_long)?,
        call_id,
    };
    header.encode(out);
    out.extend_from_slice(body);
    if let Some((trailer, token)) = auth {
        out.resize(out.len() + padding, 0);
        let padding = u8::try_from(padding).unwrap_or_default();
        out.extend_from_slice(&Trailer { padding, ..trailer }.encode());
        out.extend_from_slice(token);
    }
    Ok(())
}
