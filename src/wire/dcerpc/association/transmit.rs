//! What an association sends: whole packets in order, and the requests cut into fragments and sealed.
//!
//! Fragments are made one at a time, when there is room for them: a cancelled call sends no more, and a long request
//! takes no more memory than it has. The fragments of one request stand together.

use super::{Association, CloseReason, InFlight, Stage};
use crate::wire::dcerpc::DecodeError;
use crate::wire::dcerpc::call::RequestHead;
use crate::wire::dcerpc::pdu::{Header, Kind, TRAILER_BYTES, Trailer, flag};
use crate::wire::security::SecurityContext;

/// Sealed data is padded to a multiple of this (MS-RPCE 2.2.2.11).
const SEAL_ALIGNMENT: usize = 16;

/// How requests are protected.
struct Seal<'a> {
    security: &'a mut dyn SecurityContext,
    trailer: Trailer,
    header_signing: bool,
}

impl Association {
    /// Appends the next packet to send; `false` if there is none.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(packet) = self.control.pop_front() {
            out.extend_from_slice(&packet);
            return true;
        }
        let Some(id) = self.next_to_send() else {
            return false;
        };
        let limit = self.send_limit;
        let mut seal = self
            .security
            .as_deref_mut()
            .zip(self.auth)
            .map(|(security, trailer)| Seal {
                security,
                trailer,
                header_signing: self.header_signing,
            });
        let Some(call) = self.calls.get_mut(&id) else {
            self.queue.pop_front();
            return false;
        };
        let start = out.len();
        match fragment(out, limit, id, call, seal.as_mut()) {
            Ok(()) if call.sent < call.stub.len() => call.stage = Stage::Sending,
            Ok(()) => {
                call.stage = Stage::Waiting;
                call.stub = Vec::new();
                call.sent = 0;
                self.queue.pop_front();
            }
            Err(reason) => {
                out.truncate(start);
                self.close(reason);
                return false;
            }
        }
        true
    }

    /// The call whose fragment is next.
    fn next_to_send(&self) -> Option<u32> {
        let id = *self.queue.front()?;
        let busy = || {
            self.calls.values().any(|call| match call.stage {
                Stage::Waiting | Stage::Unwanted(_) => true,
                Stage::Queued | Stage::Sending => false,
            })
        };
        (self.multiplexed || !busy()).then_some(id)
    }
}

/// Appends the next fragment of a request and counts what it took.
fn fragment(
    out: &mut Vec<u8>,
    limit: usize,
    call_id: u32,
    call: &mut InFlight,
    mut seal: Option<&mut Seal<'_>>,
) -> Result<(), CloseReason> {
    let left = call.stub.get(call.sent..).unwrap_or_default();
    let head = RequestHead {
        alloc_hint: u32::try_from(left.len()).unwrap_or(u32::MAX),
        context_id: call.context,
        opnum: call.opnum,
        object: call.object,
    };
    let data_offset = head.data_offset();
    let token = seal.as_ref().map_or(0, |seal| seal.security.token_length());
    let room = match token {
        0 => limit.saturating_sub(data_offset) / 8 * 8,
        _ => {
            limit.saturating_sub(data_offset + TRAILER_BYTES + token) / SEAL_ALIGNMENT
                * SEAL_ALIGNMENT
        }
    };
    let chunk = left.get(..room.min(left.len())).unwrap_or_default();
    let padding = match token {
        0 => 0,
        _ => chunk.len().next_multiple_of(SEAL_ALIGNMENT) - chunk.len(),
    };
    let trailer = if token == 0 { 0 } else { TRAILER_BYTES };
    let length = data_offset + chunk.len() + padding + trailer + token;
    // A token that leaves no room for data would go on for ever.
    if room == 0 {
        return Err(too_long(length));
    }
    let mut flags = 0;
    if call.sent == 0 {
        flags |= flag::FIRST;
    }
    if chunk.len() == left.len() {
        flags |= flag::LAST;
    }
    if call.object.is_some() {
        flags |= flag::OBJECT;
    }
    let header = Header {
        kind: Kind::Request,
        flags,
        fragment_length: u16::try_from(length).map_err(|_| too_long(length))?,
        auth_length: u16::try_from(token).map_err(|_| too_long(length))?,
        call_id,
    };
    let start = out.len();
    header.encode(out);
    head.encode(out);
    out.extend_from_slice(chunk);
    call.sent += chunk.len();
    if let Some(seal) = seal.as_mut().filter(|_| token > 0) {
        out.resize(out.len() + padding, 0);
        let trailer = Trailer {
            padding: u8::try_from(padding).unwrap_or_default(),
            ..seal.trailer
        };
        out.extend_from_slice(&trailer.encode());
        out.resize(start + length, 0);
        seal.fragment(&mut out[start..], data_offset, token)?;
    }
    Ok(())
}

impl Seal<'_> {
    /// Seals a whole fragment in place.
    fn fragment(
        &mut self,
        fragment: &mut [u8],
        data_offset: usize,
        token: usize,
    ) -> Result<(), CloseReason> {
        let (front, token) = fragment.split_at_mut(fragment.len() - token);
        let (front, trailer) = front.split_at_mut(front.len() - TRAILER_BYTES);
        let (header, data) = front.split_at_mut(data_offset);
        let (header, trailer): (&[u8], &[u8]) = match self.header_signing {
            true => (header, trailer),
            false => (&[], &[]),
        };
        Ok(self.security.seal(header, data, trailer, token)?)
    }
}

fn too_long(length: usize) -> CloseReason {
    CloseReason::Malformed(DecodeError::Invalid {
        structure: "request",
        field: "frag_length",
        offset: 8,
        value: length as u64,
    })
}
