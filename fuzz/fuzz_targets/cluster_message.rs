#![no_main]
//! Messages of a cluster's stream.

use bytes::Bytes;
use jims::cluster::shape::{self, Frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let Ok(frame) = Frame::decode(&Bytes::copy_from_slice(message)) else {
        return;
    };
    for part in shape::decode(&frame.bytes).unwrap_or_default() {
        let _batch = part.body.into_batch();
    }
});
