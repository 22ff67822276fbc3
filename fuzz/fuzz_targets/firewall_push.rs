//! Any bytes as a pushed document.

#![no_main]

use jims::identity::time::UtcMillis;
use jims::producer::firewall_push::document::{MAX_ENTRIES, read};
use jims::producer::firewall_push::interpret::{Settings, interpret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(entries) = read(bytes) else { return };
    assert!(entries.len() <= MAX_ENTRIES);
    let settings = Settings {
        producer: "portal".into(),
        domain: None,
    };
    let now = UtcMillis(1_768_663_780_000);
    for (number, entry) in (1..).zip(&entries) {
        if let Ok(made) = interpret(&settings, entry, number, now) {
            assert!(made.event.occurred_at <= now);
        }
    }
});
