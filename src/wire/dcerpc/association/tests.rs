//! An association against a server made of the same packets, under a toy protection that notices every change.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::wire::dcerpc::bind::{Bind, BindAck, BindNak, RejectReason};
use crate::wire::dcerpc::call::{FaultHead, RESPONSE_BYTES, RequestHead, ResponseHead};
use crate::wire::dcerpc::pdu::{
    self, HEADER_BYTES, Header, Kind, Parts, TRAILER_BYTES, Trailer, flag,
};
use crate::wire::dcerpc::{DecodeError, NDR20, SyntaxId, status};
use crate::wire::security::{SecurityContext, SecurityError};

const INTERFACE: SyntaxId = SyntaxId::new(0xf6be_aff7_1e19_4fbb_9f8f_b89e_2018_337c, 1, 0);
const OTHER: SyntaxId = SyntaxId::new(0x9556_dc99_828c_11cf_a37e_00aa_0032_40c7, 0, 0);
const AUTH_TYPE: u8 = 10;
const TOKEN: usize = 16;

/// Mixes the data with the number of the fragment; the token is a checksum of all it covers.
#[derive(Default)]
struct Toy {
    sealed: u8,
    unsealed: u8,
}

impl Toy {
    fn token(number: u8, covered: [&[u8]; 3]) -> [u8; TOKEN] {
        let mut sum = u64::from(number) + 0xcbf2_9ce4_8422_2325;
        for byte in covered.into_iter().flatten() {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
        let mut token = [0x5a; TOKEN];
        token[..8].copy_from_slice(&sum.to_le_bytes());
        token
    }
}

impl SecurityContext for Toy {
    fn auth_type(&self) -> u8 {
        AUTH_TYPE
    }

    fn token_length(&self) -> usize {
        TOKEN
    }

    fn seal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &mut [u8],
    ) -> Result<(), SecurityError> {
        assert!(stub.len().is_multiple_of(16), "data is padded to blocks");
        token.copy_from_slice(&Self::token(self.sealed, [header, stub, trailer]));
        for byte in stub {
            *byte ^= 0x77 ^ self.sealed;
        }
        self.sealed = self.sealed.wrapping_add(1);
        Ok(())
    }

    fn unseal(
        &mut self,
        header: &[u8],
        stub: &mut [u8],
        trailer: &[u8],
        token: &[u8],
    ) -> Result<(), SecurityError> {
        for byte in stub.iter_mut() {
            *byte ^= 0x77 ^ self.unsealed;
        }
        let expected = Self::token(self.unsealed, [header, stub, trailer]);
        self.unsealed = self.unsealed.wrapping_add(1);
        match token == expected {
            true => Ok(()),
            false => Err(SecurityError("the checksum is wrong".into())),
        }
    }
}

/// A request as the server took it.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    call_id: u32,
    opnum: u16,
    object: Option<Guid>,
    data: Vec<u8>,
    fragments: usize,
}

/// An association and the server's side of it, with a clock of their own.
struct Pair {
    client: Association,
    security: Option<Toy>,
    sign_headers: bool,
    now: Instant,
    to_client: BytesMut,
    from_client: Vec<u8>,
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

impl Pair {
    fn fresh(config: Config) -> Self {
        Self {
            client: Association::new(config),
            security: None,
            sign_headers: true,
            now: start(),
            to_client: BytesMut::new(),
            from_client: Vec::new(),
        }
    }

    /// Bound without protection.
    fn open() -> Self {
        let mut pair = Self::fresh(Config::default());
        pair.client.bind(&[INTERFACE], None, None).unwrap();
        let bind = pair.packet();
        pair.acknowledge(Kind::BindAck, bind.0.call_id, flag::MULTIPLEXED, None);
        assert!(matches!(
            pair.event(),
            Some(Event::Bound { token: None, .. })
        ));
        pair
    }

    /// Bound with protection; the flags of the server's answer decide what else is agreed.
    fn protected_with(flags: u8) -> Self {
        let mut pair = Self::fresh(Config::default());
        let first = FirstToken {
            auth_type: AUTH_TYPE,
            token: b"one".to_vec(),
        };
        pair.client.bind(&[INTERFACE], Some(first), None).unwrap();
        let (header, packet) = pair.packet();
        assert!(header.has(flag::SUPPORT_HEADER_SIGN));
        let token = Parts::split(&header, &packet).unwrap().auth.unwrap().1;
        assert_eq!(token, b"one");
        pair.acknowledge(Kind::BindAck, header.call_id, flags, Some(b"two"));
        let Some(Event::Bound { token, .. }) = pair.event() else {
            panic!("bound")
        };
        assert_eq!(token.as_deref(), Some(&b"two"[..]));
        pair.client.auth3(b"three").unwrap();
        let last = pair.packet().0;
        assert_eq!((last.kind, last.call_id), (Kind::Auth3, header.call_id));
        pair.client.protect(Box::new(Toy::default())).unwrap();
        pair.security = Some(Toy::default());
        pair.sign_headers = flags & flag::SUPPORT_HEADER_SIGN != 0;
        pair
    }

    fn protected() -> Self {
        Self::protected_with(flag::MULTIPLEXED | flag::SUPPORT_HEADER_SIGN)
    }

    fn event(&mut self) -> Option<Event> {
        self.client.poll_event()
    }

    fn closed(&mut self) -> CloseReason {
        match self.event() {
            Some(Event::Closed(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The next packet of the client.
    fn packet(&mut self) -> (Header, Vec<u8>) {
        while self.client.poll_transmit(&mut self.from_client) {}
        let header = Header::decode(&self.from_client)
            .unwrap()
            .expect("a packet");
        let rest = self.from_client.split_off(header.fragment_length.into());
        (header, std::mem::replace(&mut self.from_client, rest))
    }

    fn nothing_sent(&mut self) -> bool {
        while self.client.poll_transmit(&mut self.from_client) {}
        self.from_client.is_empty()
    }

    /// The next whole request, unsealed.
    fn request(&mut self) -> Taken {
        let mut data = Vec::new();
        let mut fragments = 0;
        loop {
            let (header, mut packet) = self.packet();
            assert_eq!(header.kind, Kind::Request);
            let head = RequestHead::decode(&header, &packet[HEADER_BYTES..]).unwrap();
            let mut end = header.trailer_offset();
            if let Some(security) = &mut self.security {
                let (front, token) = packet.split_at_mut(end + TRAILER_BYTES);
                let (front, trailer) = front.split_at_mut(end);
                let (read_only, data) = front.split_at_mut(head.data_offset());
                let padding = Trailer::decode(trailer).unwrap().padding;
                match self.sign_headers {
                    true => security.unseal(read_only, data, trailer, token).unwrap(),
                    false => security.unseal(&[], data, &[], token).unwrap(),
                }
                end -= usize::from(padding);
            }
            assert_eq!(header.has(flag::FIRST), fragments == 0);
            fragments += 1;
            data.extend_from_slice(&packet[head.data_offset()..end]);
            if header.has(flag::LAST) {
                return Taken {
                    call_id: header.call_id,
                    opnum: head.opnum,
                    object: head.object,
                    data,
                    fragments,
                };
            }
        }
    }

    fn acknowledge(&mut self, kind: Kind, call_id: u32, flags: u8, token: Option<&[u8]>) {
        let ack = BindAck {
            max_transmit: 5840,
            max_receive: 4280,
            group: 77,
            secondary_address: b"135\0".to_vec(),
            results: vec![accepted()],
        };
        let mut body = Vec::new();
        ack.encode(&mut body);
        let auth = token.map(|token| (trailer(0), token));
        self.plain(kind, flags | flag::FIRST | flag::LAST, call_id, &body, auth);
    }

    fn plain(
        &mut self,
        kind: Kind,
        flags: u8,
        call_id: u32,
        body: &[u8],
        auth: Option<(Trailer, &[u8])>,
    ) {
        let mut packet = Vec::new();
        pdu::encode_plain(&mut packet, kind, flags, call_id, body, auth).unwrap();
        self.deliver(&packet);
    }

    fn deliver(&mut self, packet: &[u8]) {
        self.to_client.extend_from_slice(packet);
        self.client.handle_bytes(self.now, &mut self.to_client);
    }

    /// A fragment of a reply or a fault, sealed if that was agreed.
    fn sealed(
        &mut self,
        kind: Kind,
        flags: u8,
        call_id: u32,
        fixed: &[u8],
        data: &[u8],
    ) -> Vec<u8> {
        let mut body = fixed.to_vec();
        body.extend_from_slice(data);
        let Some(security) = &mut self.security else {
            let mut packet = Vec::new();
            pdu::encode_plain(&mut packet, kind, flags, call_id, &body, None).unwrap();
            return packet;
        };
        let padding = data.len().next_multiple_of(16) - data.len();
        body.resize(body.len() + padding, 0xee);
        let end = HEADER_BYTES + body.len();
        let header = Header {
            kind,
            flags,
            fragment_length: u16::try_from(end + TRAILER_BYTES + TOKEN).unwrap(),
            auth_length: u16::try_from(TOKEN).unwrap(),
            call_id,
        };
        let mut packet = Vec::new();
        header.encode(&mut packet);
        packet.extend_from_slice(&body);
        packet.extend_from_slice(&trailer(u8::try_from(padding).unwrap()).encode());
        packet.resize(end + TRAILER_BYTES + TOKEN, 0);
        let (front, token) = packet.split_at_mut(end + TRAILER_BYTES);
        let (front, trailer) = front.split_at_mut(end);
        let (read_only, data) = front.split_at_mut(HEADER_BYTES + fixed.len());
        match self.sign_headers {
            true => security.seal(read_only, data, trailer, token).unwrap(),
            false => security.seal(&[], data, &[], token).unwrap(),
        }
        packet
    }

    fn response(&mut self, call: CallId, flags: u8, data: &[u8]) -> Vec<u8> {
        let mut fixed = Vec::new();
        let head = ResponseHead {
            alloc_hint: u32::try_from(data.len()).unwrap(),
            context_id: 0,
            cancel_count: 0,
        };
        head.encode(&mut fixed);
        self.sealed(Kind::Response, flags, call.0, &fixed, data)
    }

    /// Sends a reply in fragments of this many bytes.
    fn reply(&mut self, call: CallId, data: &[u8], fragment: usize) {
        let last = data.chunks(fragment).count().saturating_sub(1);
        for (index, chunk) in data.chunks(fragment).enumerate() {
            let mut flags = 0;
            if index == 0 {
                flags |= flag::FIRST;
            }
            if index == last {
                flags |= flag::LAST;
            }
            let packet = self.response(call, flags, chunk);
            self.deliver(&packet);
        }
    }

    fn call_with(&mut self, stub: &[u8], limit: usize, deadline: Option<Duration>) -> CallId {
        self.client
            .call(Call {
                context: 0,
                opnum: 11,
                object: None,
                stub: stub.to_vec(),
                limit,
                deadline: deadline.map(|after| self.now + after),
            })
            .unwrap()
    }

    /// A call of which the server has taken the request.
    fn call(&mut self, stub: &[u8]) -> CallId {
        let call = self.call_with(stub, 1 << 20, None);
        let taken = self.request();
        assert_eq!((taken.call_id, &taken.data[..]), (call.0, stub));
        call
    }

    /// Jumps to the next wake-up.
    fn wake(&mut self) -> Timer {
        let (at, timer) = self.client.poll_timeout().expect("a timer");
        self.now = self.now.max(at);
        self.client.handle_timeout(self.now);
        timer
    }

    fn reply_of(&mut self, call: CallId) -> Vec<u8> {
        match self.event() {
            Some(Event::Reply { call: found, data }) if found == call => data,
            other => panic!("{other:?}"),
        }
    }

    fn failure_of(&mut self, call: CallId) -> CallFailure {
        match self.event() {
            Some(Event::Failed {
                call: found,
                failure,
            }) if found == call => failure,
            other => panic!("{other:?}"),
        }
    }
}

fn accepted() -> ContextResult {
    ContextResult {
        result: 0,
        reason: 0,
        transfer: NDR20,
    }
}

fn trailer(padding: u8) -> Trailer {
    Trailer {
        auth_type: AUTH_TYPE,
        level: Trailer::PRIVACY,
        padding,
        context_id: AUTH_CONTEXT,
    }
}

fn fault(status: u32) -> Vec<u8> {
    let mut fixed = Vec::new();
    let head = FaultHead {
        alloc_hint: 32,
        context_id: 0,
        cancel_count: 0,
        reserved: 0,
        status,
    };
    head.encode(&mut fixed);
    fixed
}

const WHOLE: u8 = flag::FIRST | flag::LAST;

#[test]
fn a_call_is_answered_with_and_without_protection() {
    for mut pair in [
        Pair::open(),
        Pair::protected(),
        Pair::protected_with(flag::MULTIPLEXED),
    ] {
        let call = pair.call(b"question");
        pair.reply(call, b"the answer", 4096);
        assert_eq!(pair.reply_of(call), b"the answer");
        assert!(pair.event().is_none());
        assert_eq!(pair.client.in_flight(), 0);
    }
}

#[test]
fn a_long_request_goes_in_fragments_that_the_server_takes() {
    for object in [None, Some(OTHER.id)] {
        for mut pair in [Pair::open(), Pair::protected()] {
            let stub: Vec<u8> = (0..40_001_u32).map(|i| i.to_le_bytes()[0]).collect();
            let call = Call {
                context: 0,
                opnum: 5,
                object,
                stub: stub.clone(),
                limit: 10,
                deadline: None,
            };
            pair.client.call(call).unwrap();
            let taken = pair.request();
            assert_eq!(taken.data, stub);
            assert_eq!((taken.opnum, taken.object), (5, object));
            // 4280 bytes were agreed.
            assert_eq!(taken.fragments, 10);
        }
    }
}

#[test]
fn an_empty_request_is_one_fragment() {
    let mut pair = Pair::protected();
    pair.call(b"");
}

#[test]
fn replies_of_several_calls_interleave_in_any_order() {
    let mut pair = Pair::protected();
    let calls = [pair.call(b"a"), pair.call(b"b"), pair.call(b"c")];
    for step in 0..4 {
        for (call, byte) in calls.into_iter().rev().zip([1, 2, 3]) {
            let flags = match step {
                0 => flag::FIRST,
                3 => flag::LAST,
                _ => 0,
            };
            let packet = pair.response(call, flags, &[byte; 1000]);
            pair.deliver(&packet);
        }
    }
    for (call, byte) in calls.into_iter().rev().zip([1, 2, 3]) {
        assert_eq!(pair.reply_of(call), vec![byte; 4000]);
    }
}

#[test]
fn a_reply_of_one_byte_a_fragment_that_arrives_byte_by_byte_is_whole() {
    let mut pair = Pair::protected();
    let call = pair.call(b"x");
    for (index, byte) in (0..50_u8).enumerate() {
        let flags = match index {
            0 => flag::FIRST,
            49 => flag::LAST,
            _ => 0,
        };
        for byte in pair.response(call, flags, &[byte]) {
            pair.deliver(&[byte]);
        }
    }
    assert_eq!(pair.reply_of(call), (0..50).collect::<Vec<u8>>());
}

#[test]
fn a_negotiation_goes_on_in_alter_context_under_one_call_id() {
    let mut pair = Pair::fresh(Config::default());
    let first = FirstToken {
        auth_type: AUTH_TYPE,
        token: b"one".to_vec(),
    };
    pair.client.bind(&[INTERFACE], Some(first), None).unwrap();
    let id = pair.packet().0.call_id;
    let flags = flag::MULTIPLEXED | flag::SUPPORT_HEADER_SIGN;
    pair.acknowledge(Kind::BindAck, id, flags, Some(b"two"));
    pair.event();
    pair.client.continue_bind(b"three", None).unwrap();
    let (header, packet) = pair.packet();
    assert_eq!((header.kind, header.call_id), (Kind::AlterContext, id));
    let parts = Parts::split(&header, &packet).unwrap();
    assert_eq!(parts.auth.unwrap().1, b"three");
    assert_eq!(Bind::decode(parts.body).unwrap().group, 77);
    pair.acknowledge(Kind::AlterContextResponse, id, flags, Some(b"four"));
    let Some(Event::Bound { token, .. }) = pair.event() else {
        panic!("bound")
    };
    assert_eq!(token.as_deref(), Some(&b"four"[..]));
    assert_eq!(
        pair.client.call(Call {
            context: 0,
            opnum: 0,
            object: None,
            stub: Vec::new(),
            limit: 0,
            deadline: None
        }),
        Err(UsageError::WrongPhase),
        "nothing goes out before the protection is there"
    );
    pair.client.protect(Box::new(Toy::default())).unwrap();
    assert!(pair.client.is_open() && pair.client.signs_headers());
}

#[test]
fn another_interface_can_be_added_and_only_accepted_ones_be_called() {
    let mut pair = Pair::protected();
    let question = |context| Call {
        context,
        opnum: 20,
        object: Some(OTHER.id),
        stub: Vec::new(),
        limit: 10,
        deadline: None,
    };
    assert_eq!(
        pair.client.call(question(1)),
        Err(UsageError::NoSuchContext)
    );
    let context = pair.client.alter_context(OTHER, None).unwrap();
    let (header, packet) = pair.packet();
    let parts = Parts::split(&header, &packet).unwrap();
    assert_eq!(header.auth_length, 0);
    assert_eq!(
        Bind::decode(parts.body).unwrap().contexts[0].interface,
        OTHER
    );
    pair.acknowledge(Kind::AlterContextResponse, header.call_id, 0, None);
    assert!(matches!(
        pair.event(),
        Some(Event::Altered { context: 1, .. })
    ));
    assert_eq!(context, 1);
    let call = pair.client.call(question(1)).unwrap();
    assert_eq!(pair.request().object, Some(OTHER.id));
    pair.reply(call, b"ok", 100);
    assert_eq!(pair.reply_of(call), b"ok");
}

#[test]
fn a_refused_bind_says_why() {
    let mut pair = Pair::fresh(Config::default());
    pair.client.bind(&[INTERFACE], None, None).unwrap();
    let id = pair.packet().0.call_id;
    let mut body = Vec::new();
    let nak = BindNak {
        reason: RejectReason(8),
        versions: vec![(5, 0)],
    };
    nak.encode(&mut body);
    pair.plain(Kind::BindNak, WHOLE, id, &body, None);
    let reason = pair.closed();
    assert_eq!(
        reason.to_string(),
        "the server refused the bind: it does not know this kind of authentication"
    );
    let mut pair = Pair::fresh(Config::default());
    pair.client.bind(&[INTERFACE], None, None).unwrap();
    let id = pair.packet().0.call_id;
    pair.plain(Kind::Fault, WHOLE, id, &fault(5), None);
    assert!(matches!(
        pair.closed(),
        CloseReason::Refused(Refusal::Fault(Fault { status: 5, .. }))
    ));
}

#[test]
fn a_bind_without_answer_ends_in_time() {
    let mut pair = Pair::fresh(Config::default());
    let deadline = pair.now + Duration::from_secs(9);
    pair.client
        .bind(&[INTERFACE], None, Some(deadline))
        .unwrap();
    assert_eq!(pair.wake(), Timer::Bind);
    assert_eq!(pair.closed(), CloseReason::BindTimedOut);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn a_late_reply_fails_only_its_call_and_is_passed_over() {
    let mut pair = Pair::protected();
    let slow = pair.call_with(b"slow", 100, Some(Duration::from_secs(1)));
    pair.request();
    let other = pair.call(b"other");
    assert_eq!(pair.wake(), Timer::Call(slow));
    assert_eq!(pair.failure_of(slow), CallFailure::TimedOut);
    let cancel = pair.packet().0;
    assert_eq!((cancel.kind, cancel.call_id), (Kind::CoCancel, slow.0));
    assert_eq!(pair.wake(), Timer::GiveUp(slow));
    assert_eq!(pair.packet().0.kind, Kind::Orphaned);
    assert_eq!(pair.client.in_flight(), 1);
    // Its fragments are unsealed all the same, or the next one would not verify.
    pair.reply(slow, &[1; 300], 100);
    pair.reply(other, b"fine", 100);
    assert_eq!(pair.reply_of(other), b"fine");
    assert!(pair.event().is_none());
}

#[test]
fn a_cancelled_call_ends_without_an_event_whatever_the_server_does() {
    // The server answers with a fault, with a reply, or not at all; or nothing had been sent.
    for how in 0..4 {
        let mut pair = Pair::protected();
        let call = pair.call_with(b"long", 100, Some(Duration::from_secs(60)));
        if how < 3 {
            pair.request();
        }
        pair.client.cancel(pair.now, call);
        match how {
            0 => {
                let packet =
                    pair.sealed(Kind::Fault, WHOLE, call.0, &fault(status::CANCELLED), &[]);
                pair.deliver(&packet);
            }
            1 => pair.reply(call, &[0; 50], 10),
            2 => assert_eq!(pair.wake(), Timer::GiveUp(call)),
            _ => assert!(pair.nothing_sent()),
        }
        assert!(pair.event().is_none());
        assert_eq!(pair.client.in_flight(), 0);
        assert_eq!(pair.client.poll_timeout(), None);
        let after = pair.client.is_open();
        assert!(after, "way {how}");
    }
}

#[test]
fn a_call_cancelled_in_the_middle_of_its_request_sends_no_more_of_it() {
    let mut pair = Pair::protected();
    let call = pair.call_with(&[7; 40_000], 100, None);
    assert!(pair.client.poll_transmit(&mut pair.from_client));
    pair.packet_of(Kind::Request);
    pair.client.cancel(pair.now, call);
    pair.packet_of(Kind::Orphaned);
    assert!(pair.nothing_sent());
    // The server's count of fragments goes on from the one it got.
    pair.security.as_mut().unwrap().unsealed = 1;
    let next = pair.call(b"next");
    pair.reply(next, b"fine", 10);
    assert_eq!(pair.reply_of(next), b"fine");
}

impl Pair {
    /// Takes one packet that has been made already.
    fn packet_of(&mut self, kind: Kind) {
        if self.from_client.is_empty() {
            self.client.poll_transmit(&mut self.from_client);
        }
        let header = Header::decode(&self.from_client)
            .unwrap()
            .expect("a packet");
        assert_eq!(header.kind, kind);
        self.from_client
            .drain(..usize::from(header.fragment_length));
    }
}

#[test]
fn a_protected_fault_fails_its_call_only() {
    let mut pair = Pair::protected();
    let (bad, good) = (pair.call(b"bad"), pair.call(b"good"));
    let packet = pair.sealed(
        Kind::Fault,
        WHOLE,
        bad.0,
        &fault(status::BAD_STUB_DATA),
        &[],
    );
    pair.deliver(&packet);
    let failure = pair.failure_of(bad);
    assert_eq!(
        failure.to_string(),
        "the server answered with a fault: the arguments could not be decoded (0x6f7)"
    );
    pair.reply(good, b"fine", 10);
    assert_eq!(pair.reply_of(good), b"fine");
}

#[test]
fn an_unprotected_fault_on_a_protected_association_is_told_and_ends_it() {
    let mut pair = Pair::protected();
    let (call, _other) = (pair.call(b"x"), pair.call(b"y"));
    pair.plain(Kind::Fault, WHOLE, call.0, &fault(5), None);
    let expected = Fault {
        status: 5,
        protected: false,
        did_not_execute: false,
    };
    assert_eq!(pair.failure_of(call), CallFailure::Fault(expected));
    assert_eq!(pair.closed(), CloseReason::UnprotectedFault(expected));
    assert!(!pair.client.is_open());
    assert!(pair.event().is_none());
}

#[test]
fn a_fault_without_protection_is_fine_where_none_was_agreed() {
    let mut pair = Pair::open();
    let call = pair.call(b"x");
    pair.plain(Kind::Fault, WHOLE, call.0, &fault(5), None);
    assert!(matches!(
        pair.failure_of(call),
        CallFailure::Fault(Fault {
            protected: true,
            ..
        })
    ));
    assert!(pair.client.is_open());
}

#[test]
fn an_unprotected_reply_on_a_protected_association_ends_it() {
    let mut pair = Pair::protected();
    let call = pair.call(b"x");
    let mut body = vec![0; 8];
    body.extend_from_slice(b"forged");
    pair.plain(Kind::Response, WHOLE, call.0, &body, None);
    assert_eq!(
        pair.closed(),
        CloseReason::Unprotected {
            kind: Kind::Response
        }
    );
}

#[test]
fn every_changed_byte_of_a_sealed_reply_ends_the_association() {
    let mut pair = Pair::protected();
    let call = pair.call(b"x");
    let length = pair.response(call, WHOLE, b"sealed data").len();
    for at in 0..length {
        let mut pair = Pair::protected();
        let call = pair.call(b"x");
        let mut packet = pair.response(call, WHOLE, b"sealed data");
        packet[at] ^= 1;
        pair.deliver(&packet);
        // A longer length waits for more; everything else is noticed at once.
        match pair.event() {
            Some(Event::Closed(_)) => {}
            None => assert!((8..10).contains(&at), "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn with_padding_longer_than_the_data_the_association_ends() {
    let mut pair = Pair::protected();
    let call = pair.call(b"x");
    let mut packet = pair.response(call, WHOLE, b"data");
    let at = packet.len() - TOKEN - TRAILER_BYTES + 2;
    packet[at] = 200;
    pair.deliver(&packet);
    assert!(matches!(
        pair.closed(),
        CloseReason::Malformed(DecodeError::Invalid {
            field: "auth_pad_length",
            ..
        })
    ));
}

#[test]
fn a_reply_that_is_too_long_fails_its_call_and_holds_nothing_up() {
    let mut pair = Pair::protected();
    let big = pair.call_with(b"big", 250, None);
    pair.request();
    let other = pair.call(b"other");
    pair.reply(big, &[9; 1000], 100);
    assert_eq!(pair.failure_of(big), CallFailure::TooLong { limit: 250 });
    pair.reply(other, b"fine", 10);
    assert_eq!(pair.reply_of(other), b"fine");
    assert_eq!(pair.client.in_flight(), 0);
}

#[test]
fn replies_to_unknown_calls_and_out_of_turn_end_the_association() {
    let unknown = |kind| CloseReason::UnknownCall { kind, call_id: 99 };
    let mut pair = Pair::open();
    pair.plain(Kind::Response, WHOLE, 99, &[0; 8], None);
    assert_eq!(pair.closed(), unknown(Kind::Response));
    let mut pair = Pair::open();
    pair.plain(Kind::Fault, WHOLE, 99, &fault(1), None);
    assert_eq!(pair.closed(), unknown(Kind::Fault));
    // A reply that begins in the middle, begins twice, or comes before the request was sent.
    for flags in [&[flag::LAST][..], &[flag::FIRST, flag::FIRST]] {
        let mut pair = Pair::open();
        let call = pair.call(b"x");
        for flags in flags {
            pair.plain(Kind::Response, *flags, call.0, &[0; 8], None);
        }
        assert!(matches!(pair.closed(), CloseReason::OutOfTurn { .. }));
    }
    let mut pair = Pair::open();
    let call = pair.call_with(b"x", 10, None);
    pair.plain(Kind::Response, WHOLE, call.0, &[0; 8], None);
    assert!(matches!(pair.closed(), CloseReason::OutOfTurn { .. }));
    // A reply twice.
    let mut pair = Pair::open();
    let call = pair.call(b"x");
    pair.reply(call, b"once", 10);
    pair.reply(call, b"once", 10);
    pair.reply_of(call);
    assert!(matches!(pair.closed(), CloseReason::UnknownCall { .. }));
}

#[test]
fn packets_of_clients_and_of_binds_out_of_turn_end_the_association() {
    for kind in [
        Kind::Request,
        Kind::Bind,
        Kind::BindAck,
        Kind::BindNak,
        Kind::AlterContext,
        Kind::AlterContextResponse,
        Kind::Auth3,
        Kind::CoCancel,
        Kind::Orphaned,
    ] {
        let mut pair = Pair::protected();
        pair.plain(kind, WHOLE, 1, &[0; 60], None);
        assert_eq!(pair.closed(), CloseReason::OutOfTurn { kind, call_id: 1 });
    }
    let mut pair = Pair::fresh(Config::default());
    pair.client.bind(&[INTERFACE], None, None).unwrap();
    pair.plain(Kind::Response, WHOLE, 1, &[0; 8], None);
    assert!(matches!(pair.closed(), CloseReason::OutOfTurn { .. }));
}

#[test]
fn a_fragment_longer_than_agreed_ends_the_association() {
    let mut pair = Pair::open();
    let call = pair.call(b"x");
    pair.plain(Kind::Response, WHOLE, call.0, &[0; 5840], None);
    assert_eq!(
        pair.closed(),
        CloseReason::FragmentTooLong {
            length: 5856,
            limit: 5840
        }
    );
}

#[test]
fn a_server_that_takes_one_call_at_a_time_gets_one_at_a_time() {
    let mut pair = Pair::protected_with(flag::SUPPORT_HEADER_SIGN);
    let first = pair.call(b"first");
    let second = pair.call_with(b"second", 100, None);
    assert!(pair.nothing_sent());
    pair.reply(first, b"1", 10);
    assert_eq!(pair.request().call_id, second.0);
    pair.reply(second, b"2", 10);
    assert_eq!(pair.reply_of(first), b"1");
    assert_eq!(pair.reply_of(second), b"2");
    let stuck = pair.call(b"stuck");
    pair.client.cancel(pair.now, stuck);
    pair.wake();
    assert_eq!(pair.closed(), CloseReason::Stuck);
}

#[test]
fn calls_in_flight_are_bounded() {
    let config = Config {
        max_calls: 2,
        ..Config::default()
    };
    let mut pair = Pair::fresh(config);
    pair.client.bind(&[INTERFACE], None, None).unwrap();
    pair.acknowledge(Kind::BindAck, 1, flag::MULTIPLEXED, None);
    pair.event();
    pair.call_with(b"a", 1, None);
    pair.call_with(b"b", 1, None);
    let third = Call {
        context: 0,
        opnum: 0,
        object: None,
        stub: Vec::new(),
        limit: 1,
        deadline: None,
    };
    assert_eq!(pair.client.call(third), Err(UsageError::TooManyCalls));
}

#[test]
fn a_shutdown_lets_the_calls_in_flight_end() {
    let mut pair = Pair::protected();
    let call = pair.call(b"x");
    pair.plain(Kind::Shutdown, WHOLE, 0, &[], None);
    assert!(pair.event().is_none());
    assert!(!pair.client.is_open());
    pair.reply(call, b"last", 10);
    assert_eq!(pair.reply_of(call), b"last");
    assert_eq!(pair.closed(), CloseReason::Shutdown);
}

#[test]
fn a_closed_connection_ends_everything_once() {
    let mut pair = Pair::protected();
    pair.call(b"x");
    pair.client.handle_closed();
    pair.client.handle_closed();
    assert_eq!(pair.closed(), CloseReason::PeerClosed);
    assert!(pair.event().is_none());
    assert!(pair.nothing_sent());
}

#[test]
fn a_last_token_that_the_server_did_not_like_refuses_the_bind_afterwards() {
    let mut pair = Pair::protected();
    pair.call(b"x");
    pair.plain(Kind::Fault, WHOLE, 1, &fault(status::SEC_PKG_ERROR), None);
    assert!(matches!(pair.closed(), CloseReason::Refused(_)));
}

proptest! {
    #[test]
    fn any_bytes_end_the_association_or_are_waited_for(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        protected: bool,
    ) {
        let mut pair = if protected { Pair::protected() } else { Pair::open() };
        pair.call(b"x");
        pair.deliver(&bytes);
        while pair.event().is_some() {}
    }

    #[test]
    fn well_formed_nonsense_ends_the_association_or_is_waited_for(
        packets in proptest::collection::vec(
            (0_u8..20, any::<u8>(), 0_u32..4, proptest::collection::vec(any::<u8>(), 0..80)), 1..8),
    ) {
        let mut pair = Pair::open();
        pair.call(b"x");
        for (kind, flags, call_id, body) in packets {
            if let Some(kind) = Kind::from_number(kind) {
                pair.plain(kind, flags, call_id, &body, None);
            }
        }
        while pair.event().is_some() {}
    }

    #[test]
    fn replies_survive_any_cut_into_fragments_and_reads(
        data in proptest::collection::vec(any::<u8>(), 1..3000),
        fragment in 1_usize..1500,
        read in 1_usize..3000,
    ) {
        let mut pair = Pair::protected();
        let call = pair.call(b"x");
        let mut stream = Vec::new();
        let count = data.chunks(fragment).count();
        for (index, chunk) in data.chunks(fragment).enumerate() {
            let first = if index == 0 { flag::FIRST } else { 0 };
            let last = if index + 1 == count { flag::LAST } else { 0 };
            stream.extend(pair.response(call, first | last, chunk));
        }
        for piece in stream.chunks(read) {
            pair.deliver(piece);
        }
        prop_assert_eq!(pair.reply_of(call), data);
        prop_assert_eq!(stream.len() > RESPONSE_BYTES, true);
    }
}
