//! Any bytes as replies to an activation, a login, a query and a release.

#![no_main]

use jims::wire::dcom::{self, MAX_BINDINGS};
use jims::wire::wmi::{LEVEL1_LOGIN, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(created) = dcom::created(bytes, LEVEL1_LOGIN.id) {
        assert!(created.bindings.len() <= MAX_BINDINGS);
        assert_eq!(created.object.interface, LEVEL1_LOGIN.id);
    }
    let _ = dcom::released(bytes);
    let _ = reply::logged_in(bytes);
    let _ = reply::query_started(bytes);
});
