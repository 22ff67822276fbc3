//! Any bytes as an answer of the endpoint mapper.

#![no_main]

use jims::wire::epm::{self, Tower};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = epm::towers(bytes);
    if let Ok(Some(tower)) = Tower::decode(bytes) {
        assert_eq!(Tower::decode(&tower.encode()), Ok(Some(tower)));
    }
});
