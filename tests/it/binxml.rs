//! BinXML against an independent reader: what the crate `evtx` reads in a log file, our decoder reads in the same
//! records as EVEN6 would send them.
//!
//! The log files are of our own making (`tests/common/evtx.rs`); [`the_committed_logs_are_what_the_generator_makes`]
//! writes them again when `JIMS_REWRITE_EXPECTED` is set.

use std::fs;
use std::path::{Path, PathBuf};

use evtx::{EvtxParser, ParserSettings};
use jims::wire::binxml::{self, Decoder, Element, Record, Value};
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::evtx_log as log;
use crate::evtx_reencode as reencode;
use crate::records;

/// An element as both readers understand it.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Plain>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/evtx")
}

/// Every record of a file, as `evtx` reads it.
fn theirs(file: &[u8]) -> Vec<(u64, Plain)> {
    let settings = ParserSettings::new().indent(false).num_threads(1);
    let parser = EvtxParser::from_buffer(file.to_vec()).expect("a log file");
    let mut parser = parser.with_configuration(settings);
    let records = parser.records().map(|record| {
        let record = record.expect("a record");
        (record.event_record_id, plain_xml(&record.data))
    });
    records.collect()
}

fn plain_xml(xml: &str) -> Plain {
    let mut reader = Reader::from_str(xml);
    let mut stack = vec![Plain::default()];
    loop {
        let text = match reader.read_event().expect("XML") {
            Event::Start(start) => {
                stack.push(opened(&start));
                continue;
            }
            Event::Empty(start) => {
                stack
                    .last_mut()
                    .expect("test data")
                    .children
                    .push(opened(&start));
                continue;
            }
            Event::End(_) => {
                let done = stack.pop().expect("test data");
                stack.last_mut().expect("test data").children.push(done);
                continue;
            }
            Event::Text(text) => text.to_string(),
            Event::CData(text) => text.to_string(),
            Event::GeneralRef(reference) => {
                let name = &*reference;
                quick_xml::escape::unescape(&format!("&{name};"))
                    .expect("test data")
                    .into_owned()
            }
            Event::Eof => break,
            _ => continue,
        };
        stack.last_mut().expect("test data").text.push_str(&text);
    }
    stack
        .pop()
        .expect("test data")
        .children
        .pop()
        .expect("a root")
}

fn opened(start: &BytesStart<'_>) -> Plain {
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.expect("an attribute");
        let value = quick_xml::escape::unescape(&attribute.value)
            .expect("test data")
            .into_owned();
        (attribute.key.as_ref().to_owned(), value)
    });
    Plain {
        name: start.name().as_ref().to_owned(),
        attributes: attributes.collect(),
        ..Plain::default()
    }
}

fn plain(element: &Element<'_>) -> Plain {
    let attributes = (element.attributes.iter()).map(|attribute| {
        (
            attribute.name.to_string(),
            fit(&binxml::text(&attribute.value)),
        )
    });
    Plain {
        name: element.name.to_string(),
        attributes: attributes.collect(),
        text: fit(&element.text()),
        children: element.elements().map(plain).collect(),
    }
}

/// Windows and `evtx` write what XML does not allow as an underscore.
fn fit(text: &str) -> String {
    let fit = |found: char| match found {
        '\t' | '\n' | '\r' => found,
        '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => '_',
        _ => found,
    };
    text.chars().map(fit).collect()
}

/// Compares every record of a log file; how many there were.
pub(crate) fn compare(file: &[u8]) -> usize {
    let theirs = theirs(file);
    let ours = reencode::records(file);
    assert_eq!(theirs.len(), ours.len(), "as many records");
    let mut decoder = Decoder::default();
    for ((their_id, theirs), (our_id, bytes)) in theirs.iter().zip(&ours) {
        assert_eq!(their_id, our_id);
        let tree = binxml::tree(bytes).unwrap_or_else(|error| panic!("record {our_id}: {error}"));
        assert_eq!(&plain(&tree), theirs, "record {our_id}");
        let record = decoder.record(bytes);
        agrees(record.as_ref().ok(), theirs, *our_id);
    }
    theirs.len()
}

/// The fast way says what the tree says.
fn agrees(record: Option<&Record<'_>>, tree: &Plain, id: u64) {
    let child = |element: &'_ Plain, name: &str| -> Option<usize> {
        element.children.iter().position(|child| child.name == name)
    };
    let system = &tree.children[child(tree, "System").expect("System")];
    let text = |name: &str| child(system, name).map(|at| system.children[at].text.as_str());
    let time = &system.children[child(system, "TimeCreated").expect("test data")].attributes[0].1;
    let Some(record) = record else {
        assert_eq!(text("EventRecordID"), None, "record {id} is read");
        return;
    };
    assert_eq!(text("EventID"), Some(record.event_id.to_string().as_str()));
    assert_eq!(
        text("EventRecordID"),
        Some(record.record_id.to_string().as_str())
    );
    assert_eq!(text("Computer"), Some(&*record.computer));
    assert_eq!(text("Channel"), Some(record.channel.to_text().as_str()));
    let number = |name: &str| {
        let text = text(name).unwrap_or("0");
        let hexadecimal = text
            .strip_prefix("0x")
            .map(|digits| u64::from_str_radix(digits, 16));
        hexadecimal
            .unwrap_or_else(|| text.parse())
            .expect("a number")
    };
    assert_eq!(number("Keywords"), record.keywords);
    assert_eq!(number("Level"), u64::from(record.level));
    assert_eq!(number("Version"), u64::from(record.version));
    let written = record.time.to_string();
    // Times that are written out may be finer than a step of ours.
    let digits = written.trim_end_matches('Z');
    assert!(time.starts_with(digits), "{time} and {written}");
    let Some(at) = child(tree, "EventData") else {
        return;
    };
    let data = tree.children[at]
        .children
        .iter()
        .filter(|data| !data.text.is_empty());
    let theirs: Vec<(Option<&str>, String)> = data
        .map(|data| {
            let name = data.attributes.first().map(|(_, value)| value.as_str());
            let name = name.or((data.name != "Data").then_some(data.name.as_str()));
            (name, data.text.clone())
        })
        .collect();
    let ours: Vec<(Option<&str>, String)> = record
        .values()
        .map(|(name, value)| (name, fit(&value.to_string())))
        .collect();
    assert_eq!(ours, theirs, "record {id}");
}

#[test]
fn the_committed_logs_are_what_the_generator_makes() {
    let logs = [
        ("domain-controller.evtx", log::domain_controller()),
        ("rarities.evtx", log::rarities()),
    ];
    for (name, stories) in logs {
        let path = fixtures().join(name);
        let made = log::file(&stories);
        if std::env::var_os("JIMS_REWRITE_EXPECTED").is_some() {
            fs::write(&path, &made).expect("the log is written");
        }
        let committed = fs::read(&path).expect("a committed log");
        assert!(
            made == committed,
            "{name} differs: run again with JIMS_REWRITE_EXPECTED=1"
        );
    }
}

#[test]
fn evtx_and_we_read_the_same_in_every_record() {
    let mut records = 0;
    for entry in fs::read_dir(fixtures()).expect("committed logs") {
        records += compare(&fs::read(entry.expect("test data").path()).expect("test data"));
    }
    assert_eq!(
        records,
        log::domain_controller().len() + log::rarities().len()
    );
}

#[test]
fn our_two_encoders_of_the_wire_form_agree() {
    for stories in [log::domain_controller(), log::rarities()] {
        let file = log::file(&stories);
        let from_file = reencode::records(&file);
        for ((id, _, story), (file_id, bytes)) in stories.iter().zip(&from_file) {
            assert_eq!(id, file_id);
            assert!(records::even6(story) == *bytes, "record {id}");
        }
    }
}

#[test]
fn a_logon_is_read_by_name() {
    let data = log::logon("alice", 10, "::ffff:10.1.2.3", "PC-ALICE");
    let entry = records::record(
        4624,
        77,
        134_169_120_001_234_567,
        "dc1.corp.example.com",
        &data,
    );
    let mut decoder = Decoder::default();
    let record = decoder.record(&entry[0x14..]).expect("test data");
    assert_eq!((record.event_id, record.record_id), (4624, 77));
    assert_eq!(record.time.to_string(), "2026-03-02T08:00:00.1234567Z");
    assert_eq!(&*record.computer, "dc1.corp.example.com");
    assert_eq!(record.channel, "Security");
    assert_eq!(record.provider, "Microsoft-Windows-Security-Auditing");
    assert!(record.is_success() && !record.is_failure());
    assert_eq!(record.text("TargetUserName").as_deref(), Some("alice"));
    assert_eq!(record.number("LogonType"), Some(10));
    assert_eq!(record.number("TargetLogonId"), Some(0x1_2345));
    assert_eq!(record.number("ProcessId"), Some(0x2a4));
    assert_eq!(
        record.address("IpAddress").expect("test data").to_string(),
        "10.1.2.3"
    );
    let sid = record.sid("TargetUserSid").expect("test data");
    assert_eq!(
        sid.to_string(),
        "S-1-5-21-1111111111-2222222222-3333333333-1105"
    );
    assert!(sid.is_account());
    assert_eq!(record.value("NoSuchName"), None);
    assert_eq!(record.values().count(), data.len());
}

#[test]
fn a_template_that_changes_under_its_guid_is_read_anew() {
    let head = records::Head {
        event_id: 4624,
        record_id: 1,
        time: 134_169_120_000_000_000,
        computer: "dc1.corp.example.com",
        success: true,
    };
    let user = |name: &'static str| {
        records::even6(&records::event(
            &head,
            &[(name, records::Typed::text("alice"))],
        ))
    };
    let mut decoder = Decoder::default();
    let (first, second) = (user("TargetUserName"), user("SubjectUserName"));
    assert_eq!(
        decoder
            .record(&first)
            .expect("test data")
            .text("TargetUserName")
            .as_deref(),
        Some("alice")
    );
    let record = decoder.record(&second).expect("test data");
    assert_eq!(record.value("TargetUserName"), None);
    assert_eq!(record.text("SubjectUserName").as_deref(), Some("alice"));
    assert_eq!(decoder.templates(), 2, "one for the head, one for the data");
}

#[test]
fn waste_behind_a_definition_changes_nothing() {
    let head = records::Head {
        event_id: 4776,
        record_id: 1,
        time: 134_169_120_000_000_000,
        computer: "dc1.corp.example.com",
        success: true,
    };
    let record = |waste: &[u8]| {
        let mut template = records::event_template();
        template.waste = waste.to_vec();
        let values = records::head_values(&head, records::Typed::Null);
        records::even6(&records::Fragment {
            header: true,
            content: records::Content::Instance(template, values),
        })
    };
    let mut decoder = Decoder::default();
    for waste in [&b""[..], b"\0", b"garbage\x41\xff", &[0x0c; 200]] {
        let bytes = record(waste);
        assert_eq!(decoder.record(&bytes).expect("test data").event_id, 4776);
        assert_eq!(binxml::tree(&bytes).expect("test data").name, "Event");
    }
    assert_eq!(decoder.templates(), 1);
}

#[test]
fn many_templates_are_not_all_remembered() {
    let head = |event_id| records::Head {
        event_id,
        record_id: 1,
        time: 134_169_120_000_000_000,
        computer: "dc1.corp.example.com",
        success: true,
    };
    let mut decoder = Decoder::default();
    for round in 0..2 {
        for event_id in 1..1000 {
            let user = [("TargetUserName", records::Typed::U16(event_id))];
            let bytes = records::even6(&records::event(&head(event_id), &user));
            let record = decoder.record(&bytes).expect("test data");
            assert_eq!(
                record.number("TargetUserName"),
                Some(event_id.into()),
                "{round}"
            );
        }
    }
    assert!(decoder.templates() <= binxml::MAX_TEMPLATES);
}

#[test]
fn records_cut_anywhere_are_errors_or_short_but_never_panic() {
    for (_, _, story) in [log::domain_controller(), log::rarities()].concat() {
        let whole = records::even6(&story);
        for length in 0..whole.len() {
            check(&whole[..length]);
            // The last byte is the end-of-file token, which nobody misses.
            let is_read = Decoder::default().record(&whole[..length]).is_ok();
            assert!(!is_read || length + 1 == whole.len(), "cut at {length}");
        }
    }
}

#[test]
fn every_byte_of_a_record_may_be_anything() {
    let stories = log::rarities();
    for (_, _, story) in [&stories[0], &stories[5], &stories[8]] {
        let whole = records::even6(story);
        for at in 0..whole.len() {
            for to in [0, 0x0c, 0x21, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = to;
                check(&bytes);
            }
        }
    }
}

#[test]
fn nesting_beyond_our_limits_is_refused() {
    let mut shape = records::Shape::new("E");
    for _ in 0..=binxml::MAX_DEPTH {
        shape = records::Shape::new("E").element(shape);
    }
    let deep = records::Fragment {
        header: true,
        content: records::Content::Element(shape),
    };
    let error = binxml::tree(&records::even6(&deep)).unwrap_err();
    assert!(error.to_string().contains("nested elements"), "{error}");

    let template = || records::Template {
        guid: [7; 16],
        root: records::Shape::new("E").with(records::Piece::Normal(0, 0x21)),
        waste: Vec::new(),
    };
    let mut value = records::Typed::Null;
    for _ in 0..=binxml::MAX_FRAGMENTS {
        value = records::Typed::Fragment(records::Fragment {
            header: true,
            content: records::Content::Instance(template(), vec![value]),
        });
    }
    let records::Typed::Fragment(deep) = value else {
        unreachable!()
    };
    let error = binxml::tree(&records::even6(&deep)).unwrap_err();
    assert!(error.to_string().contains("nested fragments"), "{error}");
}

#[test]
fn a_small_record_cannot_become_a_huge_tree() {
    // Fragments in fragments, each put in place forty times.
    let mut value = records::Typed::text("x");
    for level in 0..6_u8 {
        let mut root = records::Shape::new("E");
        for _ in 0..40 {
            root = root.with(records::Piece::Normal(0, 0x21));
        }
        value = records::Typed::Fragment(records::Fragment {
            header: true,
            content: records::Content::Instance(
                records::Template {
                    guid: [level; 16],
                    root,
                    waste: Vec::new(),
                },
                vec![value],
            ),
        });
    }
    let records::Typed::Fragment(bomb) = value else {
        unreachable!()
    };
    let bytes = records::even6(&bomb);
    assert!(bytes.len() < 4096);
    let error = binxml::tree(&bytes).unwrap_err();
    assert!(error.to_string().contains("nodes"), "{error}");
}

/// Whatever the bytes are: no panic, and both ways agree where both read them.
fn check(bytes: &[u8]) {
    let mut decoder = Decoder::default();
    let fast = decoder.record(bytes);
    let Ok(tree) = binxml::tree(bytes) else {
        return;
    };
    assert!(nodes(&tree) <= binxml::MAX_NODES);
    // The tree of a tree has no template, so that only the slow way is left for it.
    let slow = Record::from_tree(&tree);
    match (fast, slow) {
        (Ok(fast), Ok(slow)) => {
            assert_eq!(head(&fast), head(&slow));
            let values = |record: &Record<'_>| -> Vec<(Option<String>, String)> {
                let owned = |(name, value): (Option<&str>, Value<'_>)| {
                    (name.map(str::to_owned), value.to_string())
                };
                record.values().map(owned).collect()
            };
            assert_eq!(values(&fast), values(&slow));
        }
        (Err(_), Err(_)) => {}
        (fast, slow) => panic!("{fast:?} but {slow:?}"),
    }
}

fn head(record: &Record<'_>) -> impl PartialEq + std::fmt::Debug {
    (
        (
            record.event_id,
            record.version,
            record.level,
            record.keywords,
        ),
        (record.time, record.record_id, record.computer.to_string()),
        (record.provider.to_text(), record.channel.to_text()),
    )
}

fn nodes(element: &Element<'_>) -> usize {
    1 + element.attributes.len() + element.elements().map(nodes).sum::<usize>()
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        check(&bytes);
    }

    #[test]
    fn changed_records_never_panic(
        story in 0_usize..26,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let stories = [log::domain_controller(), log::rarities()].concat();
        let mut bytes = records::even6(&stories[story % stories.len()].2);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        check(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        check(&bytes);
    }

    #[test]
    fn tokens_in_any_order_never_panic(
        tokens in proptest::collection::vec(
            prop_oneof![
                Just(vec![0x0f, 1, 1, 0]),
                Just(vec![0x01, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0x45, 0, 0, 0]),
                Just(vec![0x41, 0, 0, 0, 0, 0, 0, 1, 0, 0x45, 0, 0, 0, 0, 0, 0, 0]),
                Just(vec![0x02]),
                Just(vec![0x03]),
                Just(vec![0x04]),
                Just(vec![0x05, 1, 1, 0, 0x41, 0]),
                Just(vec![0x06, 0, 0, 1, 0, 0x41, 0, 0, 0]),
                Just(vec![0x0e, 0, 0, 1]),
                Just(vec![0x0c, 0]),
                Just(vec![0; 4]),
                proptest::collection::vec(any::<u8>(), 0..4),
            ],
            0..40,
        )
    ) {
        check(&tokens.concat());
    }
}
