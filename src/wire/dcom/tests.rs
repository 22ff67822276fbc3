//! Calls against the bytes of another client, replies made by its structures, and both cut, bent and made of nothing.
//!
//! The bytes are impacket's; `tests/fixtures/wmi/golden.py` writes them.

use proptest::prelude::*;

use super::objref::{self, ObjectReference};
use super::*;
use crate::wire::dcerpc::tests::hex;
use crate::wire::windows::Guid;
use crate::wire::wmi::{LEVEL1_LOGIN, LEVEL1_LOGIN_CLASS};

/// The contents of a fixture.
macro_rules! golden {
    ($name:literal) => {
        $crate::wire::dcerpc::tests::hex(include_str!(concat!(
            "../../../tests/fixtures/wmi/",
            $name,
            ".hex"
        )))
    };
}
pub(in crate::wire) use golden;

/// What the fixtures' calls carry.
pub(in crate::wire) const CAUSALITY: Guid =
    Guid::from_u128(0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00);
/// The interface that the fixtures' references name.
pub(in crate::wire) const IPID: Guid = Guid::from_u128(0x0000_b400_0001_0002_0304_0506_0708_090a);
const REM_UNKNOWN_IPID: Guid = Guid::from_u128(0x0000_8c02_0a0b_0c0d_0e0f_1011_1213_1415);

/// The reference in every reply of the fixtures.
pub(in crate::wire) fn reference(interface: Guid) -> Reference {
    Reference {
        interface,
        public_refs: 5,
        oxid: 0x1122_3344_5566_7788,
        oid: 0x99aa_bbcc_ddee_ff00,
        ipid: IPID,
    }
}

/// Our bytes with every referent as the fixtures write it: its value means nothing.
pub(in crate::wire) fn with_their_referents(ours: &[u8]) -> Vec<u8> {
    let mut bytes = ours.to_vec();
    for place in bytes.chunks_exact_mut(4) {
        if place[0] % 4 == 0 && place[0] < 0x40 && place[1..] == [0, 2, 0] {
            place.copy_from_slice(&[0xaa, 0xaa, 0, 0]);
        }
    }
    bytes
}

/// Their bytes with zeros where they fill a gap before an aligned number with something else.
pub(in crate::wire) fn without_padding(theirs: Vec<u8>, gaps: &[usize]) -> Vec<u8> {
    let mut bytes = theirs;
    for gap in gaps {
        let end = gap.next_multiple_of(4);
        assert!(
            bytes[*gap..end]
                .iter()
                .all(|&b| b == bytes[*gap] && b >= 0xaa)
        );
        bytes[*gap..end].fill(0);
    }
    bytes
}

#[test]
fn an_activation_is_asked_for_as_impacket_does_but_for_what_the_specification_corrects() {
    let ours = create_instance(LEVEL1_LOGIN_CLASS, LEVEL1_LOGIN.id, CAUSALITY);
    let ours = with_their_referents(&ours);
    let theirs = golden!("request-activation");
    assert_eq!(ours.len(), theirs.len());
    let differences: Vec<(usize, u8, u8)> = (ours.iter().zip(&theirs).enumerate())
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(place, (ours, theirs))| (place, *ours, *theirs))
        .collect();
    // The properties begin after ORPCTHIS (32), two referents and two counts, an OBJREF's head (48), the BLOB's two
    // sizes and the CustomHeader (152).
    const FIRST: usize = 32 + 16 + 48 + 8 + 152;
    let mut expected = Vec::new();
    // The second filler of every header is zero (MS-RPCE 2.2.6.2).
    let header = FIRST - 152;
    let properties = [FIRST, FIRST + 88, FIRST + 128, FIRST + 160];
    for start in [header].into_iter().chain(properties) {
        expected.extend((start + 12..start + 16).map(|place| (place, 0, 0xcc)));
    }
    // The length of an object counts its padding (MS-RPCE 2.2.6.2).
    expected.push((properties[0] + 8, 72, 68));
    expected.push((properties[3] + 8, 32, 26));
    // InstantiationInfoData says its own size (MS-DCOM 2.2.22.2.1).
    expected.push((properties[0] + 16 + 40, 88, 0));
    // Padding is zero, before a number and at the end of a property.
    expected.extend((properties[3] + 30..properties[3] + 32).map(|place| (place, 0, 0xaa)));
    expected.extend((properties[0] + 84..properties[0] + 88).map(|place| (place, 0, 0xfa)));
    expected.extend((properties[3] + 42..properties[3] + 48).map(|place| (place, 0, 0xfa)));
    expected.sort_unstable();
    assert_eq!(differences, expected);
}

#[test]
fn references_are_given_back_as_impacket_does() {
    let theirs = without_padding(golden!("request-release"), &[34]);
    assert_eq!(release(CAUSALITY, &[(IPID, 1)]), theirs);
    let two = release(CAUSALITY, &[(IPID, 1), (REM_UNKNOWN_IPID, 5)]);
    assert_eq!(two[32..40], hex("02000000 02000000"));
    assert_eq!(two.len(), theirs.len() + 24);
    assert_eq!(released(&golden!("reply-release")), Ok(()));
    let refused = hex("00000000 00000000 08010180");
    assert_eq!(released(&refused), Err(ReplyError::Refused(0x8001_0108)));
}

#[test]
fn an_object_is_made_and_where_it_lives_is_known() {
    let created = created(&golden!("reply-activation"), LEVEL1_LOGIN.id).expect("made");
    let binding = |host: &str| Binding {
        host: host.to_owned(),
        port: 49155,
    };
    let expected = Created {
        object: reference(LEVEL1_LOGIN.id),
        oxid: 0x1122_3344_5566_7788,
        rem_unknown: REM_UNKNOWN_IPID,
        bindings: vec![
            binding("WS1"),
            binding("192.0.2.10"),
            binding("2001:db8::10"),
            binding("fe80::1"),
        ],
        authentication_hint: 5,
        version: COM_VERSION,
    };
    assert_eq!(created, expected);
}

#[test]
fn a_refusal_says_why() {
    let refused = created(&golden!("reply-activation-refused"), LEVEL1_LOGIN.id);
    assert_eq!(refused, Err(ReplyError::Refused(status::ACCESS_DENIED)));
    let refused = created(&golden!("reply-activation-no-interface"), LEVEL1_LOGIN.id);
    let error = refused.expect_err("refused");
    assert_eq!(error.status(), Some(0x8000_4002));
    assert_eq!(
        error.to_string(),
        "the object has no such interface (E_NOINTERFACE, 0x80004002)"
    );
    let other = created(&golden!("reply-activation"), REM_UNKNOWN.id);
    assert!(matches!(other, Err(ReplyError::Decode(_))));
    let nothing = created(&hex("00000000 00000000 00000000 00000000"), REM_UNKNOWN.id);
    assert!(matches!(nothing, Err(ReplyError::Decode(_))));
}

#[test]
fn extensions_of_a_reply_are_passed_over() {
    // Two slots for one extension of five bytes, padded to eight, and the status behind it.
    let stub = hex(
        "00000000 01000000 01000000 00000000 01000000 02000000 01000000 00000000 \
        08000000 1c03000000000000c000000000000046 05000000 0102030405000000 08010180",
    );
    assert_eq!(released(&stub), Err(ReplyError::Refused(0x8001_0108)));
    let mut many = stub.clone();
    many[20] = 200;
    assert!(matches!(released(&many), Err(ReplyError::Decode(_))));
    let mut long = stub;
    long[32] = 0xff;
    assert!(matches!(released(&long), Err(ReplyError::Decode(_))));
}

/// An OBJREF of a kind, with what its kind adds after the common fields.
fn objref(kind: u32, rest: &str) -> Vec<u8> {
    let mut bytes = b"MEOW".to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(REM_UNKNOWN.id.to_bytes_le());
    bytes.extend(hex(rest));
    bytes
}

#[test]
fn every_kind_of_reference_is_read() {
    let std =
        "00100000 05000000 8877665544332211 00ffeeddccbbaa99 00b400000100020003040506 0708090a";
    let expected = ObjectReference::Remote(reference(REM_UNKNOWN.id));
    for (kind, rest) in [
        (1, "0400020000000000 00000000"),
        (
            2,
            "000102030405060708090a0b0c0d0e0f 0400020000000000 00000000",
        ),
        (8, "5659534e 0400020000000000 00000000 01000000 5659534e"),
        // Addresses of the resolver are not needed.
        (1, ""),
    ] {
        let bytes = objref(kind, &format!("{std}{rest}"));
        assert_eq!(ObjectReference::decode(&bytes), Ok(expected), "kind {kind}");
    }
    let bytes = objref(
        4,
        "000102030405060708090a0b0c0d0e0f 00000000 0b000000 010203",
    );
    let custom = ObjectReference::Custom {
        interface: REM_UNKNOWN.id,
        class: Guid::from_bytes_le(std::array::from_fn(|n| u8::try_from(n).expect("small"))),
        data: &[1, 2, 3],
    };
    assert_eq!(ObjectReference::decode(&bytes), Ok(custom));
    assert_eq!(objref::custom(&bytes), Ok(&[1, 2, 3][..]));
    assert!(Reference::decode(&bytes, REM_UNKNOWN.id).is_err());
    assert!(objref::custom(&objref(1, std)).is_err());
    assert!(ObjectReference::decode(&objref(3, std)).is_err());
    assert!(ObjectReference::decode(&hex("574f454d")).is_err());
}

#[test]
fn addresses_are_read_and_what_is_none_is_not() {
    let read = |text: &str| Binding::from_text(text).map(|b| (b.host, b.port));
    let found = |host: &str, port: u16| Some((host.to_owned(), port));
    assert_eq!(read("WS1[49155]"), found("WS1", 49155));
    assert_eq!(read("fe80::1%4[135]"), found("fe80::1%4", 135));
    assert_eq!(read("[fe80::1][49155]"), found("fe80::1", 49155));
    assert_eq!(read("[1]"), found("", 1), "only the port is needed");
    for text in [
        "",
        "WS1",
        "WS1[]",
        "WS1[0]",
        "WS1[+1]",
        "WS1[65536]",
        "WS1]",
        "WS1[1]x",
        "[::1]",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn bindings_beyond_the_limit_are_left_out_and_far_too_many_refused() {
    let units = |count: usize| {
        let one: Vec<u8> = [7, u16::from(b'['), u16::from(b'1'), u16::from(b']'), 0]
            .into_iter()
            .flat_map(u16::to_le_bytes)
            .collect();
        let mut bytes = one.repeat(count);
        bytes.extend([0, 0]);
        bytes
    };
    let read = |bytes: &[u8]| {
        let security = u16::try_from(bytes.len() / 2).expect("short");
        objref::bindings(bytes, security).map(|found| found.len())
    };
    assert_eq!(read(&units(2)), Ok(2));
    assert_eq!(read(&units(100)), Ok(MAX_BINDINGS));
    assert!(read(&units(1000)).is_err());
    assert_eq!(read(&[]), Ok(0));
    assert!(objref::bindings(&units(1), 100).is_err());
    assert!(read(&units(1)[..6]).is_err(), "no end of the text");
}

#[test]
fn replies_cut_anywhere_are_refused() {
    let whole = golden!("reply-activation");
    for length in 0..whole.len() {
        let found = created(&whole[..length], LEVEL1_LOGIN.id);
        assert!(matches!(found, Err(ReplyError::Decode(_))), "{length}");
    }
    for length in 0..12 {
        assert!(released(&golden!("reply-release")[..length]).is_err());
    }
}

#[test]
fn an_activation_with_any_byte_changed_never_panics() {
    let whole = golden!("reply-activation");
    for place in 0..whole.len() {
        for to in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bent = whole.clone();
            bent[place] = to;
            if let Ok(created) = created(&bent, LEVEL1_LOGIN.id) {
                assert!(created.bindings.len() <= MAX_BINDINGS);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics(stub: Vec<u8>) {
        let _ = created(&stub, LEVEL1_LOGIN.id);
        let _ = released(&stub);
        let _ = ObjectReference::decode(&stub);
    }

    #[test]
    fn an_activation_with_a_patch_of_rubbish_never_panics(
        at in 0_usize..640,
        patch in proptest::collection::vec(any::<u8>(), 1..16),
    ) {
        let mut stub = golden!("reply-activation");
        let at = at.min(stub.len());
        let end = (at + patch.len()).min(stub.len());
        stub[at..end].copy_from_slice(&patch[..end - at]);
        let _ = created(&stub, LEVEL1_LOGIN.id);
    }

    #[test]
    fn any_text_is_an_address_or_not(text: String) {
        if let Some(binding) = Binding::from_text(&text) {
            prop_assert_ne!(binding.port, 0);
        }
    }
}
