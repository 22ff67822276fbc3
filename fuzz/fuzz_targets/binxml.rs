//! Any bytes as a record: both ways of reading it agree wherever both can.

#![no_main]

use jims::wire::binxml::{self, Decoder, Element, Record};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::default();
    let fast = decoder.record(bytes).map(|record| said(&record));
    let Ok(tree) = binxml::tree(bytes) else {
        return;
    };
    assert!(nodes(&tree) <= binxml::MAX_NODES);
    let slow = Record::from_tree(&tree).map(|record| said(&record));
    assert_eq!(fast.ok(), slow.ok());
    // Known templates change nothing.
    let again = decoder.record(bytes).map(|record| said(&record));
    assert_eq!(again.is_ok(), Record::from_tree(&tree).is_ok());
});

fn said(record: &Record<'_>) -> Vec<String> {
    let mut said = vec![
        record.event_id.to_string(),
        record.version.to_string(),
        record.level.to_string(),
        record.keywords.to_string(),
        record.time.to_string(),
        record.record_id.to_string(),
        record.provider.to_text(),
        record.channel.to_text(),
        record.computer.to_string(),
    ];
    said.extend(
        record
            .values()
            .map(|(name, value)| format!("{name:?} {value}")),
    );
    said
}

fn nodes(element: &Element<'_>) -> usize {
    1 + element.attributes.len() + element.elements().map(nodes).sum::<usize>()
}
