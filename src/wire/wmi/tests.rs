//! Calls against the bytes of another client, replies and objects against its reading and against the specification's
//! example, and all of them cut, bent and made of nothing.
//!
//! The fixtures are impacket's or were read by it; `tests/fixtures/wmi/golden.py` writes them.

use proptest::prelude::*;

use super::reply::{self, Progress};
use super::*;
use crate::wire::cursor::DecodeError;
use crate::wire::dcerpc::tests::hex;
use crate::wire::dcom::tests::{
    CAUSALITY, golden, reference, with_their_referents, without_padding,
};

/// An instance of MyClass as MS-WMIO 3.1 prints it.
const EXAMPLE: &str = "\
    78563412 d3010000 06 00445052415641542d44455600 00524f4f5400 \
    76010000 00 00000000 11000000 0e000000 004261736500 06000000 11000000 09000000 00 08000000 16000000 04000000 \
    27000000 2e000000 55000000 5c000000 99000000 a0000000 c7000000 cb000000 \
    47 ffffffff ffffffff fd000000 ffffffff 11010080 \
    004d79436c61737300 004465736372697074696f6e00 004d79436c617373204578616d706c6500 00417272617900 \
    13200000 0300 0c000000 01000000 11000000 0a000080 03 08000000 4d000000 0075696e74333200 00446174613100 \
    08000000 0100 04000000 01000000 27000000 0a000080 03 08000000 91000000 03000080 00 0b000000 ffff \
    04000080 00 0b000000 ffff 00737472696e6700 00446174613200 \
    08000000 0200 08000000 01000000 11000000 0a000080 03 08000000 bf000000 00737472696e6700 00496400 \
    03400000 0000 00000000 00000000 1c000000 0a000080 23 08000000 f5000000 01000080 33 0b000000 ffff \
    0073696e74333200 0064656661756c7456616c756500 000000000000 \
    49000000 00 00000000 20 7b000000 19000000 00000000 09000000 04000000 01 26000080 \
    004d79436c61737300 03000000 01000000 02000000 03000000 00537472696e674669656c6400";

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// The object of a fixture.
fn read(bytes: &[u8]) -> Object {
    Object::decode(bytes).expect("an object")
}

#[test]
fn calls_are_made_as_impacket_does() {
    let login = request::ntlm_login(CAUSALITY, "//./root/cimv2");
    let theirs = without_padding(golden!("request-login"), &[78]);
    assert_eq!(with_their_referents(&login), theirs);
    let query = "SELECT UserName FROM Win32_ComputerSystem";
    let query = request::exec_query(CAUSALITY, query, FORWARD_ONLY_AND_AT_ONCE);
    let theirs = without_padding(golden!("request-query"), &[54, 154]);
    assert_eq!(with_their_referents(&query), theirs);
    assert_eq!(request::next(CAUSALITY, -1, 16), golden!("request-next"));
    assert_eq!(
        request::next(CAUSALITY, 5000, 1000)[32..],
        hex("88130000 80000000")
    );
}

#[test]
fn logins_and_queries_give_references_or_say_why() {
    let login = reply::logged_in(&golden!("reply-login"));
    assert_eq!(login, Ok(reference(SERVICES.id)));
    let refused = reply::logged_in(&golden!("reply-login-refused"));
    assert_eq!(
        refused,
        Err(ReplyError::Refused(status::WBEM_ACCESS_DENIED))
    );
    let query = reply::query_started(&golden!("reply-query"));
    assert_eq!(query, Ok(reference(ENUM_CLASS_OBJECT.id)));
    let other = reply::logged_in(&golden!("reply-query"));
    assert!(matches!(other, Err(ReplyError::Decode(_))));
    let nothing = reply::logged_in(&hex("00000000 00000000 00000000 00000000"));
    assert!(matches!(nothing, Err(ReplyError::Decode(_))));
}

#[test]
fn batches_bring_objects_and_say_how_far_the_query_is() {
    let batch = reply::next(&golden!("reply-next-more")).expect("a batch");
    assert_eq!(batch.progress, Progress::More);
    let names: Vec<String> = (batch.objects.iter())
        .map(|object| {
            assert_eq!(object.class, "Win32_LoggedOnUser");
            let account = Path::parse(object.text("Antecedent").expect("a path")).expect("a path");
            let logon = Path::parse(object.text("Dependent").expect("a path")).expect("a path");
            format!(
                "{}/{}/{}",
                account.key("Domain").expect("a domain"),
                account.key("Name").expect("a name"),
                logon.key("LogonId").expect("a number")
            )
        })
        .collect();
    assert_eq!(
        names,
        ["CORP/alice/1234567", "CORP/bob/77", "CORP/Łukasz/78"]
    );

    let last = reply::next(&golden!("reply-next-one-and-end")).expect("a batch");
    assert_eq!((last.objects.len(), last.progress), (1, Progress::End));
    let end = reply::next(&golden!("reply-next-end")).expect("a batch");
    assert_eq!((end.objects.len(), end.progress), (0, Progress::End));
    let late = reply::next(&golden!("reply-next-timed-out")).expect("a batch");
    assert_eq!((late.objects.len(), late.progress), (1, Progress::TimedOut));
    let refused = reply::next(&golden!("reply-next-refused"));
    assert_eq!(
        refused,
        Err(ReplyError::Refused(status::WBEM_INVALID_CLASS))
    );
}

#[test]
fn a_batch_that_is_larger_than_was_asked_for_or_partial_is_refused() {
    let mut many = golden!("reply-next-end");
    many[8..12].copy_from_slice(&(MAX_OBJECTS + 1).to_le_bytes());
    assert!(matches!(reply::next(&many), Err(ReplyError::Decode(_))));
    let mut more = golden!("reply-next-more");
    more[8] = 2;
    assert!(matches!(reply::next(&more), Err(ReplyError::Decode(_))));
    let mut partial = golden!("reply-next-end");
    let status = partial.len() - 4;
    partial[status..].copy_from_slice(&0x0004_0010_u32.to_le_bytes());
    assert_eq!(reply::next(&partial), Err(ReplyError::Refused(0x0004_0010)));
}

#[test]
fn the_classes_of_a_probe_are_read() {
    let computer = read(&golden!("object-computer-system"));
    assert_eq!(computer.class, "Win32_ComputerSystem");
    assert_eq!(
        computer.properties,
        [
            ("Domain".to_owned(), text("corp.example")),
            ("Name".to_owned(), text("WS1")),
            ("UserName".to_owned(), text("CORP\\alice")),
        ]
    );
    let session = read(&golden!("object-logon-session"));
    assert_eq!(session.text("authenticationpackage"), Some("Kerberos"));
    assert_eq!(session.text("LogonId"), Some("1234567"));
    assert_eq!(session.unsigned("LogonType"), Some(10));
    assert_eq!(session.text("StartTime"), Some("20240501081500.123456+120"));
    assert_eq!(session.get("Nonsense"), None);
    let user = read(&golden!("object-logged-on-user"));
    let account = r#"\\.\root\cimv2:Win32_Account.Domain="CORP",Name="alice""#;
    assert_eq!(user.text("Antecedent"), Some(account));
    let process = read(&golden!("object-session-process"));
    assert_eq!(process.class, "Win32_SessionProcess");
    let logon = r#"\\.\root\cimv2:Win32_LogonSession.LogonId="1234567""#;
    assert_eq!(process.text("Antecedent"), Some(logon));
    let handle = r#"\\.\root\cimv2:Win32_Process.Handle="4242""#;
    assert_eq!(process.text("Dependent"), Some(handle));
}

#[test]
fn every_type_is_read() {
    let object = read(&golden!("object-everything"));
    let array = |values: &[Value]| Value::Array(values.to_vec());
    let expected = [
        ("Sint8", Value::Int(-8)),
        ("Uint8", Value::UInt(200)),
        ("Sint16", Value::Int(-1600)),
        ("Uint16", Value::UInt(60_000)),
        ("Sint32", Value::Int(-320_000)),
        ("Uint32", Value::UInt(4_000_000_000)),
        ("Sint64", Value::Int(-64 << 40)),
        ("Uint64", Value::UInt(u64::MAX)),
        ("Yes", Value::Bool(true)),
        ("No", Value::Bool(false)),
        ("Character", Value::UInt(0x263a)),
        ("Latin", text("Jürgen")),
        ("Wide", text("Łukasz 日本")),
        ("Empty", text("")),
        ("When", text("20240501081500.123456+120")),
        ("Texts", array(&[text("one"), text("zwölf"), text("Łódź")])),
        ("Numbers", array(&[1, 2, 3].map(Value::UInt))),
        ("Bytes", array(&[1, 255].map(Value::UInt))),
        ("Answers", array(&[true, false].map(Value::Bool))),
        ("Nobody", Value::Null),
        ("Nothing", Value::Null),
        ("Inherited", text("from the class")),
        ("InheritedNumber", Value::UInt(99)),
        ("InheritedNull", Value::Null),
    ];
    assert_eq!(object.properties.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(object.get(name), Some(&value), "{name}");
    }
    let reals = read(&golden!("object-reals"));
    assert_eq!(reals.get("Real32"), Some(&Value::Real(1.5)));
    assert_eq!(reals.get("Real64"), Some(&Value::Real(-2.25)));
    assert_eq!(reals.get("Reals"), Some(&array(&[Value::Real(0.5)])));
}

#[test]
fn qualifiers_of_properties_and_objects_within_objects_are_read() {
    let qualified = read(&golden!("object-property-qualifiers"));
    assert_eq!(qualified.unsigned("LogonType"), Some(10));
    let outer = read(&golden!("object-nested"));
    let Some(Value::Object(inner)) = outer.get("One") else {
        panic!("no object within: {outer:?}");
    };
    assert_eq!(
        (inner.class.as_str(), inner.text("Name")),
        ("Inner", Some("inner"))
    );
    let many = Value::Array(vec![Value::Object(inner.clone()); 2]);
    assert_eq!(outer.get("Many"), Some(&many));
}

#[test]
fn the_example_of_the_specification_is_read() {
    let object = read(&hex(EXAMPLE));
    assert_eq!(object.class, "MyClass");
    assert_eq!(
        object.properties,
        [
            (
                "Array".to_owned(),
                Value::Array([1, 2, 3].map(Value::UInt).to_vec())
            ),
            ("Data1".to_owned(), text("StringField")),
            ("Data2".to_owned(), text("defaultValue")),
            ("Id".to_owned(), Value::Int(123)),
        ]
    );
}

#[test]
fn words_of_the_dictionary_are_texts() {
    // Data1 refers to the seventh word instead of the heap.
    let mut bytes = hex(EXAMPLE);
    let place = bytes.len() - 0x49 + 4 + 1 + 4 + 1 + 4;
    assert_eq!(bytes[place..place + 4], [0x19, 0, 0, 0]);
    bytes[place..place + 4].copy_from_slice(&0x8000_0007_u32.to_le_bytes());
    assert_eq!(read(&bytes).text("Data1"), Some("dynamic"));
    bytes[place..place + 4].copy_from_slice(&0x8000_000b_u32.to_le_bytes());
    assert!(Object::decode(&bytes).is_err());
    bytes[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&bytes).get("Data1"), Some(&Value::Null));
}

#[test]
fn a_class_is_no_object() {
    let mut bytes = hex(EXAMPLE);
    bytes[8] = 5;
    let error = Object::decode(&bytes).expect_err("a class");
    assert_eq!(
        error.to_string(),
        "a WMI object: ObjectFlags is 0x5 (offset 0)"
    );
}

/// An object of one property of a type; its value refers to the start of the instance's heap.
fn one_property(kind: u32, count: usize, heap: &[u8]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).expect("small").to_le_bytes();
    let bits = vec![0; count.div_ceil(4)];
    let mut class_heap = b"\0A\0".to_vec();
    class_heap.extend(kind.to_le_bytes());
    class_heap.extend([0; 2 + 4 + 4]);
    let values = [number(0).as_slice(), &[0; 4]].concat();
    let mut part = [&[0][..], &number(0), &number(bits.len() + values.len())].concat();
    part.extend([number(4), number(4), number(count)].concat());
    for _ in 0..count {
        part.extend([number(0), number(3)].concat());
    }
    part.extend([&bits[..], &values, &number(class_heap.len()), &class_heap].concat());
    let mut instance = [&[0][..], &0x8000_0001_u32.to_le_bytes(), &bits, &values].concat();
    instance.extend([&number(4)[..], &[1], &number(heap.len()), heap].concat());
    let mut block = vec![2];
    for bytes in [part, instance] {
        block.extend(number(bytes.len() + 4));
        block.extend(bytes);
    }
    [&number(0x1234_5678)[..], &number(block.len()), &block].concat()
}

#[test]
fn one_text_that_all_properties_share_is_not_copied_without_end() {
    let mut heap = vec![b'x'; 4096];
    heap[0] = 0;
    heap.push(0);
    let once = read(&one_property(8, 1, &heap));
    assert_eq!(once.text("A").map(str::len), Some(4095));
    let many = Object::decode(&one_property(8, 1000, &heap));
    assert!(matches!(many, Err(DecodeError::TooMuch { .. })), "{many:?}");
    let mut array = 1000_u32.to_le_bytes().to_vec();
    array.extend([7; 1000]);
    let once = read(&one_property(0x2011, 1, &array));
    assert!(matches!(once.get("A"), Some(Value::Array(values)) if values.len() == 1000));
    let many = Object::decode(&one_property(0x2011, 1000, &array));
    assert!(matches!(many, Err(DecodeError::TooMuch { .. })), "{many:?}");
}

#[test]
fn limits_hold() {
    let too_much = |bytes: &[u8]| matches!(Object::decode(bytes), Err(DecodeError::TooMuch { .. }));
    let mut heap = vec![b'x'; 70_000];
    heap[0] = 0;
    heap.push(0);
    assert!(too_much(&one_property(8, 1, &heap)), "a text");
    let mut array = 1025_u32.to_le_bytes().to_vec();
    array.extend([7; 1025]);
    assert!(too_much(&one_property(0x2011, 1, &array)), "an array");
    assert!(too_much(&one_property(17, 1025, b"")), "properties");
    let mut bytes = hex("78563412");
    bytes.extend(0x0004_0001_u32.to_le_bytes());
    bytes.resize(300_000, 0);
    assert!(too_much(&bytes), "an object");
    // An object within an object within an object.
    let mut nested = one_property(17, 1, b"");
    for depth in 2..=5 {
        nested = one_property(13, 1, &nested[4..]);
        assert_eq!(too_much(&nested), depth == 5, "depth {depth}");
    }
}

#[test]
fn objects_and_replies_cut_anywhere_are_refused() {
    let example = hex(EXAMPLE);
    for length in 0..example.len() {
        assert!(Object::decode(&example[..length]).is_err(), "{length}");
    }
    for whole in [golden!("reply-next-more"), golden!("reply-next-end")] {
        for length in 0..whole.len() {
            let found = reply::next(&whole[..length]);
            assert!(matches!(found, Err(ReplyError::Decode(_))), "{length}");
        }
    }
    let whole = golden!("reply-login");
    for length in 0..whole.len() {
        assert!(reply::logged_in(&whole[..length]).is_err(), "{length}");
    }
}

/// Objects whose bytes are bent.
fn objects() -> [Vec<u8>; 5] {
    [
        hex(EXAMPLE),
        golden!("object-everything"),
        golden!("object-nested"),
        golden!("object-property-qualifiers"),
        golden!("object-logged-on-user"),
    ]
}

#[test]
fn an_object_with_any_byte_changed_never_panics() {
    for whole in objects() {
        for place in 0..whole.len() {
            for to in [0, 1, 4, 0x7f, 0x80, 0xff] {
                let mut bent = whole.clone();
                bent[place] = to;
                let _ = Object::decode(&bent);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics(stub: Vec<u8>) {
        let _ = reply::logged_in(&stub);
        let _ = reply::query_started(&stub);
        let _ = reply::next(&stub);
        let _ = Object::decode(&stub);
    }

    #[test]
    fn an_object_with_a_patch_of_rubbish_never_panics(
        which in 0_usize..5,
        at in 0_usize..4096,
        patch in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let mut bytes = objects()[which].clone();
        let at = at % bytes.len();
        let end = (at + patch.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        let _ = Object::decode(&bytes);
    }

    #[test]
    fn a_batch_with_a_patch_of_rubbish_never_panics(
        at in 0_usize..4096,
        patch in proptest::collection::vec(any::<u8>(), 1..12),
    ) {
        let mut bytes = golden!("reply-next-more");
        let at = at % bytes.len();
        let end = (at + patch.len()).min(bytes.len());
        bytes[at..end].copy_from_slice(&patch[..end - at]);
        if let Ok(batch) = reply::next(&bytes) {
            prop_assert!(batch.objects.len() <= 128);
        }
    }
}
