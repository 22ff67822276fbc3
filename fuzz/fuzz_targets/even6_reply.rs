//! Any bytes as replies of the event log service, and what they hold as records.

#![no_main]

use jims::wire::binxml::Decoder;
use jims::wire::even6::{MAX_RECORDS, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = reply::registered(bytes);
    let _ = reply::opened_log(bytes);
    let _ = reply::log_info(bytes);
    let _ = reply::channel_list(bytes);
    let _ = reply::closed(bytes);
    if let Ok(batch) = reply::batch(bytes.to_vec()) {
        assert!(batch.len() <= MAX_RECORDS);
        let mut decoder = Decoder::default();
        for record in batch.records() {
            let _ = decoder.record(record);
        }
    }
});
