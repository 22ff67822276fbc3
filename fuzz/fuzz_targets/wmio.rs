//! Any bytes as an object of WMI and as a batch of them; what they hold is bounded, and their texts are read as paths.

#![no_main]

use jims::wire::wmi::{MAX_OBJECTS, Object, Path, Value, reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(object) = Object::decode(bytes) {
        let mut texts = 0;
        walk(&object, 1, &mut texts);
        // Latin-1 may double, and words of the dictionary cost nothing.
        assert!(texts <= 8 * bytes.len() + (32 << 10));
    }
    if let Ok(batch) = reply::next(bytes) {
        assert!(batch.objects.len() <= usize::try_from(MAX_OBJECTS).expect("a small number"));
    }
});

fn walk(object: &Object, depth: usize, texts: &mut usize) {
    assert!(depth <= 4);
    for (name, value) in &object.properties {
        *texts += name.len();
        look(value, depth, texts);
    }
}

fn look(value: &Value, depth: usize, texts: &mut usize) {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Real(_) => {}
        Value::Text(text) => {
            *texts += text.len();
            let _ = Path::parse(text);
        }
        Value::Object(inner) => walk(inner, depth + 1, texts),
        Value::Array(values) => values.iter().for_each(|value| look(value, depth, texts)),
    }
}
