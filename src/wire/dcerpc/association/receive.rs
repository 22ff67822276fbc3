//! What an association receives: fragments, unsealed where they lie, and put together call by call.

use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::{
    Association, CallFailure, CallId, CloseReason, Event, Fault, Pending, Phase, Refusal, Stage,
};
use crate::wire::dcerpc::bind::{BindAck, BindNak};
use crate::wire::dcerpc::call::{FAULT_BYTES, FaultHead, RESPONSE_BYTES, ResponseHead};
use crate::wire::dcerpc::pdu::{HEADER_BYTES, Header, Kind, Parts, TRAILER_BYTES, Trailer, flag};
use crate::wire::dcerpc::{DecodeError, MIN_FRAGMENT, NDR20};

impl Association {
    /// Takes what has been received; whole fragments are removed from the front of the buffer.
    pub fn handle_bytes(&mut self, now: Instant, buffer: &mut BytesMut) {
        while self.phase != Phase::Closed {
            match self.front(now, buffer) {
                Ok(Some(length)) => buffer.advance(length),
                Ok(None) => return,
                Err(reason) => self.close(reason),
            }
        }
        buffer.clear();
    }

    /// Handles the buffer's first fragment if it is whole; its length.
    fn front(&mut self, now: Instant, buffer: &mut BytesMut) -> Result<Option<usize>, CloseReason> {
        let Some(header) = Header::decode(buffer)? else {
            return Ok(None);
        };
        let length = usize::from(header.fragment_length);
        if length > self.receive_limit {
            return Err(CloseReason::FragmentTooLong {
                length,
                limit: self.receive_limit,
            });
        }
        let Some(fragment) = buffer.get_mut(..length) else {
            return Ok(None);
        };
        self.fragment(now, &header, fragment)?;
        Ok(Some(length))
    }

    fn fragment(
        &mut self,
        now: Instant,
        header: &Header,
        fragment: &mut [u8],
    ) -> Result<(), CloseReason> {
        match header.kind {
            Kind::Response => self.response(now, header, fragment),
            Kind::Fault => self.fault(header, fragment),
            Kind::BindAck | Kind::AlterContextResponse => self.answer(header, fragment),
            Kind::BindNak => self.refusal(header, fragment),
            Kind::Shutdown => {
                self.closing = true;
                self.close_if_idle();
                Ok(())
            }
            Kind::Request
            | Kind::Bind
            | Kind::AlterContext
            | Kind::Auth3
            | Kind::CoCancel
            | Kind::Orphaned => Err(out_of_turn(header)),
        }
    }

    /// `bind_ack` or `alter_context_resp`.
    fn answer(&mut self, header: &Header, fragment: &[u8]) -> Result<(), CloseReason> {
        let Some(pending) = self
            .pending
            .filter(|pending| pending.call_id == header.call_id)
        else {
            return Err(out_of_turn(header));
        };
        let expected = match self.phase {
            Phase::Awaiting(kind) => kind,
            Phase::Open => Kind::AlterContextResponse,
            Phase::Fresh | Phase::Negotiating | Phase::Closed => return Err(out_of_turn(header)),
        };
        if header.kind != expected {
            return Err(out_of_turn(header));
        }
        let parts = Parts::split(header, fragment)?;
        let ack = BindAck::decode(parts.body)?;
        if let Some(result) = ack
            .results
            .iter()
            .find(|result| result.is_accepted() && result.transfer != NDR20)
        {
            return Err(invalid(header, "transfer_syntax", result.transfer.major));
        }
        match pending.context {
            Some(context) => self.altered(header, context, &ack),
            None => self.bound(header, &parts, ack),
        }
    }

    fn bound(
        &mut self,
        header: &Header,
        parts: &Parts<'_>,
        ack: BindAck,
    ) -> Result<(), CloseReason> {
        if header.kind == Kind::BindAck {
            if ack.max_receive < MIN_FRAGMENT {
                return Err(invalid(header, "max_recv_frag", ack.max_receive));
            }
            if ack.results.len() != self.contexts.len() {
                return Err(invalid(header, "n_results", ack.results.len()));
            }
            self.send_limit = self.config.fragment.min(ack.max_receive).into();
            self.receive_limit = self.config.fragment.into();
            self.group = ack.group;
            self.multiplexed = header.has(flag::MULTIPLEXED);
            self.header_signing = self.auth.is_some() && header.has(flag::SUPPORT_HEADER_SIGN);
            self.accepted = self
                .contexts
                .iter()
                .zip(&ack.results)
                .filter(|(_, result)| result.is_accepted())
                .map(|(context, _)| context.id)
                .collect();
        }
        let token = match (self.auth, parts.auth) {
            (Some(ours), Some((theirs, token))) => {
                same_context(header, ours, theirs)?;
                Some(token.to_vec())
            }
            (None, Some(_)) => return Err(CloseReason::OtherContext { kind: header.kind }),
            (_, None) => None,
        };
        self.pending = None;
        self.phase = match self.auth {
            Some(_) => Phase::Negotiating,
            None => Phase::Open,
        };
        self.events.push_back(Event::Bound {
            results: ack.results,
            token,
        });
        Ok(())
    }

    fn altered(&mut self, header: &Header, context: u16, ack: &BindAck) -> Result<(), CloseReason> {
        let [result] = ack.results[..] else {
            return Err(invalid(header, "n_results", ack.results.len()));
        };
        if result.is_accepted() {
            self.accepted.insert(context);
        }
        self.pending = None;
        self.events.push_back(Event::Altered { context, result });
        Ok(())
    }

    fn refusal(&mut self, header: &Header, fragment: &[u8]) -> Result<(), CloseReason> {
        let awaited = self
            .pending
            .is_some_and(|pending| pending.call_id == header.call_id);
        if !awaited {
            return Err(out_of_turn(header));
        }
        let nak = BindNak::decode(Parts::split(header, fragment)?.body)?;
        Err(CloseReason::Refused(Refusal::Rejected(nak.reason)))
    }

    fn response(
        &mut self,
        now: Instant,
        header: &Header,
        fragment: &mut [u8],
    ) -> Result<(), CloseReason> {
        if self.phase != Phase::Open {
            return Err(out_of_turn(header));
        }
        let data = self.open(header, fragment, RESPONSE_BYTES)?;
        let head = ResponseHead::decode(body(fragment))?;
        let data = fragment.get(data).unwrap_or_default();
        let id = header.call_id;
        let Some(call) = self.calls.get_mut(&id) else {
            return self.late(header);
        };
        let first = header.has(flag::FIRST);
        match call.stage {
            Stage::Waiting | Stage::Unwanted(_) if first != call.begun => {}
            Stage::Waiting | Stage::Unwanted(_) | Stage::Queued | Stage::Sending => {
                return Err(out_of_turn(header));
            }
        }
        call.begun = true;
        let wanted = call.stage == Stage::Waiting;
        if wanted {
            let total = call.received.len() + data.len();
            if total > call.limit {
                let limit = call.limit;
                // The rest of it must be unsealed all the same.
                call.stage = Stage::Unwanted(now + self.config.cancel_grace);
                call.received = Vec::new();
                call.deadline = None;
                self.fail(id, CallFailure::TooLong { limit });
            } else {
                if first {
                    let hint = usize::try_from(head.alloc_hint).unwrap_or(usize::MAX);
                    call.received.reserve(hint.min(call.limit).max(data.len()));
                }
                call.received.extend_from_slice(data);
            }
        }
        if header.has(flag::LAST) {
            let call = self.calls.remove(&id);
            if let Some(call) = call.filter(|call| call.stage == Stage::Waiting) {
                self.events.push_back(Event::Reply {
                    call: CallId(id),
                    data: call.received,
                });
            }
            self.close_if_idle();
        }
        Ok(())
    }

    fn fault(&mut self, header: &Header, fragment: &mut [u8]) -> Result<(), CloseReason> {
        let protected =
            self.phase == Phase::Open && self.security.is_some() && header.auth_length > 0;
        if protected {
            self.open(header, fragment, FAULT_BYTES)?;
        }
        let head = FaultHead::decode(body(fragment))?;
        let fault = Fault {
            status: head.status,
            protected: protected || self.security.is_none(),
            did_not_execute: header.has(flag::DID_NOT_EXECUTE),
        };
        let id = header.call_id;
        let refused = self
            .pending
            .is_some_and(|pending: Pending| pending.call_id == id);
        // A server that did not like the last token of a bind says so only afterwards.
        if refused || id == self.bind_call {
            return Err(CloseReason::Refused(Refusal::Fault(fault)));
        }
        if self.phase != Phase::Open {
            return Err(out_of_turn(header));
        }
        let Some(call) = self.calls.get(&id) else {
            self.late(header)?;
            return match fault.protected {
                true => Ok(()),
                false => Err(CloseReason::UnprotectedFault(fault)),
            };
        };
        let wanted = match call.stage {
            Stage::Queued => return Err(out_of_turn(header)),
            Stage::Sending | Stage::Waiting => true,
            Stage::Unwanted(_) => false,
        };
        self.remove(id);
        if wanted {
            self.fail(id, CallFailure::Fault(fault));
        }
        if !fault.protected {
            return Err(CloseReason::UnprotectedFault(fault));
        }
        self.close_if_idle();
        Ok(())
    }

    /// A reply to a call that is not in flight: fine if it was given up.
    fn late(&mut self, header: &Header) -> Result<(), CloseReason> {
        let id = header.call_id;
        let Some(place) = self.forgotten.iter().position(|known| *known == id) else {
            return Err(CloseReason::UnknownCall {
                kind: header.kind,
                call_id: id,
            });
        };
        if header.has(flag::LAST) {
            self.forgotten.remove(place);
        }
        Ok(())
    }

    /// Unseals a fragment in place; where its data is.
    fn open(
        &mut self,
        header: &Header,
        fragment: &mut [u8],
        data_offset: usize,
    ) -> Result<std::ops::Range<usize>, CloseReason> {
        let end = header.trailer_offset();
        if end < data_offset {
            return Err(invalid(header, "frag_length", header.fragment_length));
        }
        let (Some(security), Some(ours)) = (self.security.as_deref_mut(), self.auth) else {
            return match header.auth_length {
                0 => Ok(data_offset..end),
                _ => Err(CloseReason::OtherContext { kind: header.kind }),
            };
        };
        if header.auth_length == 0 {
            return Err(CloseReason::Unprotected { kind: header.kind });
        }
        let (front, token) = fragment.split_at_mut(end + TRAILER_BYTES);
        let (front, trailer) = front.split_at_mut(end);
        let (head, data) = front.split_at_mut(data_offset);
        let theirs = Trailer::decode(trailer)?;
        same_context(header, ours, theirs)?;
        let data_end = end.checked_sub(theirs.padding.into());
        let Some(data_end) = data_end.filter(|data_end| *data_end >= data_offset) else {
            return Err(invalid(header, "auth_pad_length", theirs.padding));
        };
        let (head, trailer): (&[u8], &[u8]) = match self.header_signing {
            true => (head, trailer),
            false => (&[], &[]),
        };
        security.unseal(head, data, trailer, token)?;
        Ok(data_offset..data_end)
    }
}

fn body(fragment: &[u8]) -> &[u8] {
    fragment.get(HEADER_BYTES..).unwrap_or_default()
}

fn same_context(header: &Header, ours: Trailer, theirs: Trailer) -> Result<(), CloseReason> {
    let same = (ours.auth_type, ours.level, ours.context_id)
        == (theirs.auth_type, theirs.level, theirs.context_id);
    match same {
        true => Ok(()),
        false => Err(CloseReason::OtherContext { kind: header.kind }),
    }
}

fn out_of_turn(header: &Header) -> CloseReason {
    CloseReason::OutOfTurn {
        kind: header.kind,
        call_id: header.call_id,
    }
}

fn invalid<T: TryInto<u64>>(header: &Header, field: &'static str, value: T) -> CloseReason {
    CloseReason::Malformed(DecodeError::Invalid {
        structure: header.kind.name(),
        field,
        offset: HEADER_BYTES,
        value: value.try_into().unwrap_or(u64::MAX),
    })
}
