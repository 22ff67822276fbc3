//! Any bytes as packets, and as what an open association receives.

#![no_main]

use std::time::Instant;

use bytes::BytesMut;
use jims::wire::dcerpc::association::{Association, Call, Config};
use jims::wire::dcerpc::bind::{Bind, BindAck, BindNak, ContextResult};
use jims::wire::dcerpc::call::{FaultHead, RequestHead, ResponseHead};
use jims::wire::dcerpc::pdu::{HEADER_BYTES, Header, Kind, Parts, Trailer, encode_plain, flag};
use jims::wire::dcerpc::{NDR20, SyntaxId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    read_all(bytes);
    receive(bytes);
});

fn read_all(bytes: &[u8]) {
    if let Ok(Some(header)) = Header::decode(bytes) {
        let _ = Parts::split(&header, bytes);
        let _ = RequestHead::decode(&header, bytes.get(HEADER_BYTES..).unwrap_or_default());
    }
    let _ = BindAck::decode(bytes);
    let _ = BindNak::decode(bytes);
    let _ = ResponseHead::decode(bytes);
    let _ = FaultHead::decode(bytes);
    let _ = Trailer::decode(bytes);
    if let Ok(bind) = Bind::decode(bytes) {
        let mut again = Vec::new();
        bind.encode(&mut again);
        assert_eq!(Bind::decode(&again), Ok(bind));
    }
}

/// The first byte says whether the bind has been answered already.
fn receive(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let now = Instant::now();
    let mut association = Association::new(Config::default());
    association
        .bind(&[SyntaxId::new(1, 1, 0)], None, None)
        .expect("a fresh association");
    let mut buffer = BytesMut::new();
    if first & 1 == 1 {
        buffer.extend_from_slice(&bind_ack());
        association.handle_bytes(now, &mut buffer);
        let call = Call {
            context: 0,
            opnum: 0,
            object: None,
            stub: vec![0; 100],
            limit: 1000,
            deadline: None,
        };
        association.call(call).expect("an open association");
    }
    let mut sent = Vec::new();
    while association.poll_transmit(&mut sent) {}
    buffer.extend_from_slice(rest);
    association.handle_bytes(now, &mut buffer);
    while association.poll_event().is_some() {}
}

fn bind_ack() -> Vec<u8> {
    let ack = BindAck {
        max_transmit: 5840,
        max_receive: 5840,
        group: 1,
        secondary_address: Vec::new(),
        results: vec![ContextResult {
            result: 0,
            reason: 0,
            transfer: NDR20,
        }],
    };
    let mut body = Vec::new();
    ack.encode(&mut body);
    let mut packet = Vec::new();
    let flags = flag::FIRST | flag::LAST | flag::MULTIPLEXED;
    encode_plain(&mut packet, Kind::BindAck, flags, 1, &body, None).expect("a short packet");
    packet
}
