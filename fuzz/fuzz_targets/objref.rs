//! Any bytes as a reference to an object, and as the address of who holds it.

#![no_main]

use jims::wire::dcom::Binding;
use jims::wire::dcom::objref::{self, ObjectReference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let found = ObjectReference::decode(bytes);
    if let Ok(ObjectReference::Custom { data, .. }) = found {
        assert_eq!(objref::custom(bytes), Ok(data));
        assert!(data.len() < bytes.len());
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Some(binding) = Binding::from_text(text)
    {
        assert_ne!(binding.port, 0);
    }
});
