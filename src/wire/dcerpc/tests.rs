//! The packets against bytes made by others, cut short, and made of nothing.

use proptest::prelude::*;

use super::bind::{Bind, BindAck, BindNak, ContextResult, PresentationContext, RejectReason};
use super::call::{FaultHead, RequestHead, ResponseHead};
use super::pdu::{HEADER_BYTES, Header, Kind, Parts, Trailer, encode_plain, flag};
use super::*;

/// Bytes from hexadecimal digits; blanks and line ends are skipped.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

// Built with impacket 0.13 (`rpcrt.MSRPCBind` in `MSRPCHeader`, `SEC_TRAILER`, `MSRPCRequestHeader`, `MSRPCRespHeader`).
const BIND: &str = "05000b13100000004800000007000000d016d016000000000100000000000100f7afbef6191ebb4f9f8fb89e2018337c\
    01000000045d888aeb1cc9119fe808002b10486002000000";
const BIND_TOKEN: &str = "05000b17100000005e000e0007000000d016d016000000000100000000000100f7afbef6191ebb4f9f8fb89e201833\
    7c01000000045d888aeb1cc9119fe808002b104860020000000a060000010000004e544c4d53535000746f6b656e58";
const AUTH3: &str = "05001007100000002100050007000000000000000a0600000100000066696e616c";
const REQUEST: &str = "050000031000000021000000020000000900000001000b00737475622064617461";
const OBJECT_REQUEST: &str = "050000831000000031000000020000000900000001000b00f7afbef6191ebb4f9f8fb89e2018337c73747562\
    2064617461";
const RESPONSE: &str = "05000203100000001c0000000200000004000000010000006261636b";

// Sent by Samba 4.17: a bind accepted, one refused for its interface, one refused whole, a fault.
const BIND_ACK: &str = "05000c03100000003c00000001000000b810b810eb2b0000040031333500000001000000000000\
    00045d888aeb1cc9119fe808002b10486002000000";
const BIND_ACK_REFUSED: &str = "05000c03100000003c00000001000000b810b810851a00000400313335000000010000000200010000000000\
    00000000000000000000000000000000";
const BIND_NAK: &str = "05000d031000000018000000010000000000010500000000";
const FAULT: &str = "0500032310000000200000000100000018000000000000000200011c00000000";

const ALL: [&str; 10] = [
    BIND,
    BIND_TOKEN,
    AUTH3,
    REQUEST,
    OBJECT_REQUEST,
    RESPONSE,
    BIND_ACK,
    BIND_ACK_REFUSED,
    BIND_NAK,
    FAULT,
];

const EVENT_LOG: SyntaxId = SyntaxId::new(0xf6be_aff7_1e19_4fbb_9f8f_b89e_2018_337c, 1, 0);

fn event_log_bind() -> Bind {
    Bind {
        max_transmit: 5840,
        max_receive: 5840,
        group: 0,
        contexts: vec![PresentationContext {
            id: 0,
            interface: EVENT_LOG,
            transfer: vec![NDR20],
        }],
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn plain(
    kind: Kind,
    flags: u8,
    call_id: u32,
    body: &[u8],
    auth: Option<(Trailer, &[u8])>,
) -> Vec<u8> {
    let mut out = Vec::new();
    encode_plain(&mut out, kind, flags, call_id, body, auth).unwrap();
    out
}

/// Header and body of a whole packet.
fn parts(bytes: &[u8]) -> (Header, Parts<'_>) {
    let header = Header::decode(bytes).unwrap().unwrap();
    assert_eq!(usize::from(header.fragment_length), bytes.len());
    let parts = Parts::split(&header, bytes).unwrap();
    (header, parts)
}

#[test]
fn a_bind_is_what_another_client_sends_and_reads_back() {
    let body = encoded(|out| event_log_bind().encode(out));
    let flags = flag::FIRST | flag::LAST | flag::MULTIPLEXED;
    assert_eq!(plain(Kind::Bind, flags, 7, &body, None), hex(BIND));
    let trailer = Trailer {
        auth_type: 10,
        level: 6,
        padding: 0,
        context_id: 1,
    };
    let token: &[u8] = b"NTLMSSP\0tokenX";
    let flags = flags | flag::SUPPORT_HEADER_SIGN;
    let packet = plain(Kind::Bind, flags, 7, &body, Some((trailer, token)));
    assert_eq!(packet, hex(BIND_TOKEN));
    let (header, parts) = parts(&packet);
    assert_eq!(header.kind, Kind::Bind);
    assert_eq!(Bind::decode(parts.body), Ok(event_log_bind()));
    assert_eq!(parts.auth, Some((trailer, token)));
}

#[test]
fn the_last_token_is_sent_as_another_client_sends_it() {
    let trailer = Trailer {
        auth_type: 10,
        level: 6,
        padding: 0,
        context_id: 1,
    };
    let flags = flag::FIRST | flag::LAST | flag::SUPPORT_HEADER_SIGN;
    let packet = plain(Kind::Auth3, flags, 7, &[0; 4], Some((trailer, b"final")));
    assert_eq!(packet, hex(AUTH3));
}

#[test]
fn requests_with_and_without_object_are_what_another_client_sends() {
    for (object, expected) in [(None, REQUEST), (Some(EVENT_LOG.id), OBJECT_REQUEST)] {
        let head = RequestHead {
            alloc_hint: 9,
            context_id: 1,
            opnum: 11,
            object,
        };
        let mut body = encoded(|out| head.encode(out));
        body.extend_from_slice(b"stub data");
        let object = if object.is_some() { flag::OBJECT } else { 0 };
        let flags = flag::FIRST | flag::LAST | object;
        let packet = plain(Kind::Request, flags, 2, &body, None);
        assert_eq!(packet, hex(expected));
        let (header, parts) = parts(&packet);
        assert_eq!(RequestHead::decode(&header, parts.body), Ok(head));
        assert_eq!(&packet[head.data_offset()..], b"stub data");
    }
}

#[test]
fn a_response_is_read() {
    let bytes = hex(RESPONSE);
    let (header, parts) = parts(&bytes);
    assert_eq!((header.kind, header.call_id), (Kind::Response, 2));
    let head = ResponseHead {
        alloc_hint: 4,
        context_id: 1,
        cancel_count: 0,
    };
    assert_eq!(ResponseHead::decode(parts.body), Ok(head));
    assert_eq!(
        encoded(|out| head.encode(out)),
        parts.body[..8],
        "and written"
    );
}

#[test]
fn the_answers_of_a_real_server_are_read_and_written_alike() {
    let bytes = hex(BIND_ACK);
    let ack = BindAck::decode(parts(&bytes).1.body).unwrap();
    assert_eq!(
        ack,
        BindAck {
            max_transmit: 4280,
            max_receive: 4280,
            group: 0x2beb,
            secondary_address: b"135\0".to_vec(),
            results: vec![ContextResult {
                result: 0,
                reason: 0,
                transfer: NDR20
            }],
        }
    );
    assert_eq!(encoded(|out| ack.encode(out)), bytes[HEADER_BYTES..]);

    let bytes = hex(BIND_ACK_REFUSED);
    let ack = BindAck::decode(parts(&bytes).1.body).unwrap();
    assert!(!ack.results[0].is_accepted());
    assert_eq!(ack.results[0].words(), "the interface is not offered there");

    let bytes = hex(BIND_NAK);
    let nak = BindNak::decode(parts(&bytes).1.body).unwrap();
    assert_eq!(nak.reason, RejectReason(0));
    assert_eq!(nak.versions, [(5, 0)]);

    let bytes = hex(FAULT);
    let (header, parts) = parts(&bytes);
    let fault = FaultHead::decode(parts.body).unwrap();
    assert_eq!(fault.status, status::OP_RANGE_ERROR);
    assert!(header.has(flag::DID_NOT_EXECUTE));
    assert_eq!(encoded(|out| fault.encode(out)), parts.body);
}

#[test]
fn a_packet_cut_anywhere_is_refused_or_waited_for() {
    for text in ALL {
        let whole = hex(text);
        for length in 0..whole.len() {
            let cut = &whole[..length];
            match Header::decode(cut) {
                Ok(None) => assert!(length < HEADER_BYTES),
                Ok(Some(header)) => {
                    assert!(usize::from(header.fragment_length) > length);
                    assert!(Parts::split(&header, cut).is_err());
                }
                Err(error) => panic!("{text} cut at {length}: {error}"),
            }
        }
    }
}

#[test]
fn a_body_cut_anywhere_is_refused() {
    fn refused<T>(text: &str, decode: impl Fn(&[u8]) -> Result<T, DecodeError>, least: usize) {
        let whole = hex(text);
        let body = &whole[HEADER_BYTES..];
        assert!(decode(body).is_ok());
        for length in 0..least {
            let cut = decode(&body[..length]);
            assert!(
                matches!(cut, Err(DecodeError::Truncated { .. })),
                "{text} cut at {length}"
            );
        }
    }
    refused(BIND, Bind::decode, 56);
    refused(BIND_ACK, BindAck::decode, 44);
    refused(FAULT, FaultHead::decode, 12);
    refused(RESPONSE, ResponseHead::decode, 8);
    refused(BIND_NAK, BindNak::decode, 2);
}

#[test]
fn other_versions_representations_and_impossible_lengths_are_refused() {
    for (at, value, field) in [
        (0, 4, "rpc_vers"),
        (1, 2, "rpc_vers_minor"),
        (2, 1, "PTYPE"),
        (2, 20, "PTYPE"),
        (4, 0, "packed_drep"),
        (8, 15, "frag_length"),
        (10, 99, "auth_length"),
    ] {
        let mut bytes = hex(RESPONSE);
        bytes[at] = value;
        let error = Header::decode(&bytes).unwrap_err();
        assert!(
            matches!(error, DecodeError::Invalid { field: found, .. } if found == field),
            "{error}"
        );
    }
}

#[test]
fn counts_are_bounded_before_anything_is_read() {
    let mut bytes = hex(BIND);
    bytes[HEADER_BYTES + 8] = 65;
    assert!(matches!(
        Bind::decode(&bytes[HEADER_BYTES..]),
        Err(DecodeError::Invalid {
            field: "n_context_elem",
            ..
        })
    ));
}

#[test]
fn a_packet_longer_than_its_length_can_say_is_not_made() {
    let mut out = Vec::new();
    let trailer = Trailer {
        auth_type: 9,
        level: 6,
        padding: 0,
        context_id: 1,
    };
    let token = vec![0; 65_536 - HEADER_BYTES - 8];
    let made = encode_plain(&mut out, Kind::Auth3, 0, 1, &[], Some((trailer, &token)));
    assert!(made.is_err());
    assert!(out.is_empty());
}

#[test]
fn statuses_have_words() {
    assert_eq!(status::words(5), "access denied (0x5)");
    assert_eq!(status::words(0xdead_beef), "status 0xdeadbeef");
}

/// Reads bytes in every way there is.
fn read_all(bytes: &[u8]) {
    if let Ok(Some(header)) = Header::decode(bytes) {
        let _ = Parts::split(&header, bytes);
        let _ = RequestHead::decode(&header, bytes.get(HEADER_BYTES..).unwrap_or_default());
    }
    let _ = Bind::decode(bytes);
    let _ = BindAck::decode(bytes);
    let _ = BindNak::decode(bytes);
    let _ = ResponseHead::decode(bytes);
    let _ = FaultHead::decode(bytes);
    let _ = Trailer::decode(bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn packets_with_wrong_bytes_are_read_or_refused(
        which in 0..ALL.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = hex(ALL[which]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_all(&bytes);
        read_all(&bytes[HEADER_BYTES..]);
    }

    #[test]
    fn binds_survive_the_round_trip(
        max_transmit: u16,
        max_receive: u16,
        group: u32,
        ids in proptest::collection::vec((any::<u16>(), any::<u128>(), any::<u16>()), 0..5),
    ) {
        let bind = Bind {
            max_transmit,
            max_receive,
            group,
            contexts: ids
                .into_iter()
                .map(|(id, interface, major)| PresentationContext {
                    id,
                    interface: SyntaxId::new(interface, major, 0),
                    transfer: vec![NDR20; usize::from(id % 3)],
                })
                .collect(),
        };
        prop_assert_eq!(Bind::decode(&encoded(|out| bind.encode(out))), Ok(bind));
    }
}
