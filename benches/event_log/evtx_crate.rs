//! The crate `evtx` on the same records, in the form that it reads: a log file, with each template once in a chunk. It
//! cannot read what EVEN6 sends.
//!
//! Fields that a program can read it gives as JSON values alone; its other results are text. (The values of a template
//! instance are public too, but those of EventData lie in a fragment inside that it does not take apart.)

use std::io::Cursor;

use evtx::{EvtxParser, ParserSettings};

use super::{log, records};

/// Records of one chunk: so many fit, whatever they are.
const IN_A_CHUNK: usize = 64;

/// What it makes of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Result {
    Json,
    JsonValue,
    Xml,
}

/// The log file of the records of these numbers.
pub(crate) fn file(numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    let all: Vec<_> = numbers
        .map(|number| {
            let (head, data) = super::story(number);
            (head.record_id, head.time, records::event(&head, &data))
        })
        .collect();
    log::file_of(&all, IN_A_CHUNK)
}

/// Reads the whole file on this thread; how many records there were.
pub(crate) fn read(file: &[u8], result: Result) -> usize {
    let settings = ParserSettings::new().indent(false).num_threads(1);
    let parser = EvtxParser::from_read_seek(Cursor::new(file)).expect("a log file");
    let mut parser = parser.with_configuration(settings);
    match result {
        Result::Json => count(parser.records_json_bytes()),
        Result::JsonValue => count(parser.records_json_value()),
        Result::Xml => count(parser.records_bytes()),
    }
}

fn count<T, E: std::fmt::Debug>(records: impl Iterator<Item = std::result::Result<T, E>>) -> usize {
    records.fold(0, |count, record| {
        std::hint::black_box(record.expect("a record"));
        count + 1
    })
}
