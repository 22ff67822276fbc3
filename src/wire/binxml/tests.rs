//! Golden bytes and what is nobody else's business; `tests/it/binxml.rs` compares whole logs with another reader.

use super::*;

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit = |text: &str| u8::from_str_radix(text, 16).expect("two digits");
    hexadecimal.split_whitespace().map(digit).collect()
}

/// A record of one template. Its beginning, up to the hash of `xmlns`, is that of the example in MS-EVEN6 4.8; two bytes
/// of waste follow the definition.
fn golden() -> Vec<u8> {
    bytes(
        "0f 01 01 00 0c 00 4a 46 4c cc 16 dc 46 8e 80 a2 dc 45 ea 94 9c bd 40 01 \
         00 00 0f 01 01 00 41 ff ff 32 01 00 00 ba 0c 05 00 45 00 76 00 65 00 6e \
         00 74 00 00 00 17 00 00 00 06 bc 0f 05 00 78 00 6d 00 6c 00 6e 00 73 00 \
         00 00 05 01 01 00 75 00 02 01 ff ff a9 00 00 00 6f 54 06 00 53 00 79 00 \
         73 00 74 00 65 00 6d 00 00 00 02 01 00 00 1a 00 00 00 f5 61 07 00 45 00 \
         76 00 65 00 6e 00 74 00 49 00 44 00 00 00 02 0e 00 00 06 04 41 01 00 40 \
         00 00 00 3b 8e 0b 00 54 00 69 00 6d 00 65 00 43 00 72 00 65 00 61 00 74 \
         00 65 00 64 00 00 00 1f 00 00 00 06 3c 7b 0a 00 53 00 79 00 73 00 74 00 \
         65 00 6d 00 54 00 69 00 6d 00 65 00 00 00 0e 01 00 11 03 01 02 00 26 00 \
         00 00 46 03 0d 00 45 00 76 00 65 00 6e 00 74 00 52 00 65 00 63 00 6f 00 \
         72 00 64 00 49 00 44 00 00 00 02 0e 02 00 0a 04 04 01 ff ff 4e 00 00 00 \
         44 82 09 00 45 00 76 00 65 00 6e 00 74 00 44 00 61 00 74 00 61 00 00 00 \
         02 41 ff ff 2d 00 00 00 8a 6f 04 00 44 00 61 00 74 00 61 00 00 00 15 00 \
         00 00 06 4b 95 04 00 4e 00 61 00 6d 00 65 00 00 00 05 01 01 00 41 00 02 \
         0d 03 00 01 04 04 04 00 aa bb 04 00 00 00 02 00 06 00 08 00 11 00 08 00 \
         0a 00 04 00 01 00 10 12 87 96 96 ed 8a 49 da 01 09 00 00 00 00 00 00 00 \
         78 00 00 00 00",
    )
}

#[test]
fn a_record_of_one_template_is_read_both_ways() {
    let golden = golden();
    let tree = tree(&golden).unwrap();
    assert_eq!(tree.name, "Event");
    assert_eq!(text(tree.attribute("xmlns").unwrap()), "u");
    let system = tree.element("System").unwrap();
    assert_eq!(system.element("EventID").unwrap().text(), "4624");
    let time = system.element("TimeCreated").unwrap();
    assert_eq!(
        text(time.attribute("SystemTime").unwrap()),
        "2024-01-17T21:20:00.1234567Z"
    );
    let data = tree.element("EventData").unwrap().element("Data").unwrap();
    assert_eq!(text(data.attribute("Name").unwrap()), "A");
    assert_eq!(data.text(), "x");

    let mut decoder = Decoder::default();
    for _ in 0..2 {
        let record = decoder.record(&golden).unwrap();
        assert_eq!((record.event_id, record.record_id), (4624, 9));
        assert_eq!(record.time.to_unix_millis(), 1_705_526_400_123);
        assert_eq!(record.text("A").as_deref(), Some("x"));
        assert_eq!(record.values().count(), 1);
        assert!(record.provider.is_empty() && record.computer.is_empty());
    }
    assert_eq!(decoder.templates(), 1);
}

#[test]
fn an_element_whose_value_is_null_is_not_there() {
    let mut bytes = golden();
    // The type of TimeCreated's value, before 22 bytes of values and the end-of-file token.
    let at = bytes.len() - 33;
    assert_eq!(bytes[at], kind::FILE_TIME);
    bytes[at] = kind::NULL;
    let tree = tree(&bytes).unwrap();
    assert!(
        tree.element("System")
            .unwrap()
            .element("TimeCreated")
            .is_none()
    );
    let error = Decoder::default().record(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "record has no TimeCreated");
}

#[test]
fn errors_say_where() {
    let golden = golden();
    let error = tree(&golden[..golden.len() - 4]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "fragment ends before values (offset 366)"
    );
    let error = Decoder::default().record(&golden[..100]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record: template length is more than 78 (offset 22)"
    );
    let error = tree(&[0x0f, 1, 1, 0, 0x33]).unwrap_err();
    assert_eq!(error.to_string(), "fragment: token is 0x33 (offset 4)");
    let error = tree(&[]).unwrap_err();
    assert_eq!(error.to_string(), "record has no element");
}

#[test]
fn counts_beyond_our_limits_are_refused_before_they_are_believed() {
    let mut bytes = golden();
    let at = bytes.len() - 43;
    assert_eq!(bytes[at..at + 4], [4, 0, 0, 0]);
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = tree(&bytes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("number of values is more than 1024"),
        "{error}"
    );
    let error = Decoder::default().record(&bytes).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("number of values is more than 1024"),
        "{error}"
    );
}
