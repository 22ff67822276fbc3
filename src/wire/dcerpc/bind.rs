//! Bodies of the packets that open an association or change it (C706 12.6.4.1 to 12.6.4.5, MS-RPCE 2.2.2.4, 2.2.2.9).
//!
//! Presentation contexts number the interfaces that the calls of a connection name. Tokens are in the packets'
//! trailers, see [`super::pdu`].

use super::{Guid, SyntaxId};
use crate::wire::cursor::{Cursor, DecodeError};

/// Most presentation contexts, or transfer syntaxes of one, that are taken from a peer.
const MAX_CONTEXTS: u8 = 64;

/// One interface and the number it gets (C706 12.6.3.1, `p_cont_elem_t`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentationContext {
    /// The number that requests name.
    pub id: u16,
    /// The interface.
    pub interface: SyntaxId,
    /// How its data may be encoded.
    pub transfer: Vec<SyntaxId>,
}

/// Body of `bind` (C706 12.6.4.3) and `alter_context` (12.6.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Largest fragment the sender will send.
    pub max_transmit: u16,
    /// Largest fragment it takes.
    pub max_receive: u16,
    /// Association group to join; 0: a new one.
    pub group: u32,
    /// The interfaces.
    pub contexts: Vec<PresentationContext>,
}

impl Bind {
    /// Writes it. Contexts beyond 255 are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.max_transmit.to_le_bytes());
        out.extend_from_slice(&self.max_receive.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&[count(self.contexts.len()), 0, 0, 0]);
        for context in self.contexts.iter().take(255) {
            out.extend_from_slice(&context.id.to_le_bytes());
            out.extend_from_slice(&[count(context.transfer.len()), 0]);
            encode_syntax(context.interface, out);
            for syntax in context.transfer.iter().take(255) {
                encode_syntax(*syntax, out);
            }
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("bind", body);
        let max_transmit = fields.u16("max_xmit_frag")?;
        let max_receive = fields.u16("max_recv_frag")?;
        let group = fields.u32("assoc_group_id")?;
        let mut contexts = Vec::new();
        for _ in 0..bounded(&mut fields, "n_context_elem")? {
            let id = fields.u16("p_cont_id")?;
            let transfers = fields.u8("n_transfer_syn")?;
            if transfers > MAX_CONTEXTS {
                return Err(fields.invalid("n_transfer_syn", 1, transfers.into()));
            }
            fields.u8("reserved")?;
            let interface = syntax(&mut fields, "abstract_syntax")?;
            let transfer = (0..transfers)
                .map(|_| syntax(&mut fields, "transfer_syntax"))
                .collect::<Result<_, _>>()?;
            contexts.push(PresentationContext {
                id,
                interface,
                transfer,
            });
        }
        Ok(Self {
            max_transmit,
            max_receive,
            group,
            contexts,
        })
    }
}

/// What became of one offered presentation context (C706 12.6.3.1, `p_result_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextResult {
    /// 0 accepted, 1 refused by the user, 2 refused by the provider, 3 answer to a feature offer.
    pub result: u16,
    /// Why a provider refused.
    pub reason: u16,
    /// The chosen transfer syntax.
    pub transfer: SyntaxId,
}

impl ContextResult {
    /// Whether it can be used.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.result == 0
    }

    /// Why it cannot, in words (C706 12.6.3.1, `p_provider_reason_t`).
    #[must_use]
    pub fn words(&self) -> &'static str {
        match (self.result, self.reason) {
            (0, _) => "accepted",
            (2, 1) => "the interface is not offered there",
            (2, 2) => "no proposed transfer syntax is supported",
            (2, 3) => "a local limit was exceeded",
            _ => "no reason was given",
        }
    }
}

/// Body of `bind_ack` (C706 12.6.4.4) and `alter_context_resp` (12.6.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindAck {
    /// Largest fragment the server will send.
    pub max_transmit: u16,
    /// Largest fragment it takes.
    pub max_receive: u16,
    /// The association group.
    pub group: u32,
    /// The server's port as text; of no use.
    pub secondary_address: Vec<u8>,
    /// One for each context offered, in their order.
    pub results: Vec<ContextResult>,
}

impl BindAck {
    /// Writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.max_transmit.to_le_bytes());
        out.extend_from_slice(&self.max_receive.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        let length = u16::try_from(self.secondary_address.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.secondary_address[..length.into()]);
        let written = out.len() - start;
        out.resize(start + written.next_multiple_of(4), 0);
        out.extend_from_slice(&[count(self.results.len()), 0, 0, 0]);
        for result in self.results.iter().take(255) {
            out.extend_from_slice(&result.result.to_le_bytes());
            out.extend_from_slice(&result.reason.to_le_bytes());
            encode_syntax(result.transfer, out);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("bind_ack", body);
        let max_transmit = fields.u16("max_xmit_frag")?;
        let max_receive = fields.u16("max_recv_frag")?;
        let group = fields.u32("assoc_group_id")?;
        let length = fields.u16("sec_addr length")?;
        let secondary_address = fields.bytes("sec_addr", length.into())?.to_vec();
        // The header before it is a multiple of 4 bytes long.
        fields.align(4)?;
        let results = (0..bounded(&mut fields, "n_results")?)
            .map(|_| {
                Ok(ContextResult {
                    result: fields.u16("result")?,
                    reason: fields.u16("reason")?,
                    transfer: syntax(&mut fields, "transfer_syntax")?,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            max_transmit,
            max_receive,
            group,
            secondary_address,
            results,
        })
    }
}

/// Why a server refused a bind (C706 12.6.3.1, MS-RPCE 2.2.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectReason(pub u16);

impl RejectReason {
    /// In words, to follow "the server refused the bind: ".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self.0 {
            0 => "no reason was given",
            1 => "it is congested for now",
            2 => "one of its limits is reached",
            3 => "it does not know the address called",
            4 => "it found a protocol error",
            5 => "it does not know the default context",
            6 => "it could not read the user data",
            7 => "it has no transport for it",
            8 => "it does not know this kind of authentication",
            9 => "its security package failed: the account or the service name was not accepted",
            _ => "it gave a reason that is not known",
        }
    }
}

/// Body of `bind_nak` (C706 12.6.4.5, MS-RPCE 2.2.2.9). Extended error information is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindNak {
    /// Why.
    pub reason: RejectReason,
    /// Protocol versions the server speaks.
    pub versions: Vec<(u8, u8)>,
}

impl BindNak {
    /// Writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.reason.0.to_le_bytes());
        out.push(count(self.versions.len()));
        for (major, minor) in self.versions.iter().take(255) {
            out.extend_from_slice(&[*major, *minor]);
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new("bind_nak", body);
        let reason = RejectReason(fields.u16("provider_reject_reason")?);
        // Some servers end here.
        if fields.is_empty() {
            return Ok(Self {
                reason,
                versions: Vec::new(),
            });
        }
        let versions = (0..fields.u8("n_protocols")?)
            .map(|_| Ok((fields.u8("major")?, fields.u8("minor")?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { reason, versions })
    }
}

fn encode_syntax(syntax: SyntaxId, out: &mut Vec<u8>) {
    out.extend_from_slice(&syntax.id.to_bytes_le());
    out.extend_from_slice(&syntax.major.to_le_bytes());
    out.extend_from_slice(&syntax.minor.to_le_bytes());
}

fn syntax(fields: &mut Cursor<'_>, field: &'static str) -> Result<SyntaxId, DecodeError> {
    Ok(SyntaxId {
        id: Guid::from_bytes_le(fields.array(field)?),
        major: fields.u16(field)?,
        minor: fields.u16(field)?,
    })
}

/// A count and the three reserved bytes after it.
fn bounded(fields: &mut Cursor<'_>, field: &'static str) -> Result<u8, DecodeError> {
    let count = fields.u8(field)?;
    if count > MAX_CONTEXTS {
        return Err(fields.invalid(field, 1, count.into()));
    }
    fields.bytes("reserved", 3)?;
    Ok(count)
}

fn count(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
