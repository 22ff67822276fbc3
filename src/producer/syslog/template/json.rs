//! The JSON object in a line, flattened for patterns: one line `path=value` a scalar, sorted by path.
//!
//! Senders write keys in any order, and a name can hold what looks like a key; flattened, neither matters.

use std::borrow::Cow;

use serde_json::Value;

/// The object that begins at the text's first `{`, flattened; `None` if there is none. Control characters in keys and
/// values become blanks, so that no value makes a line of its own. Depth is bounded by the parser, size by the text.
pub(super) fn flattened(text: &str) -> Option<String> {
    let object = text.get(text.find('{')?..)?;
    let value: Value = serde_json::from_str(object.trim_end()).ok()?;
    let mut lines = Vec::new();
    flatten(&value, &mut String::new(), &mut lines);
    lines.sort_unstable();
    let mut flat = String::with_capacity(object.len());
    for (path, value) in &lines {
        flat.push_str(path);
        flat.push('=');
        flat.push_str(value);
        flat.push('\n');
    }
    Some(flat)
}

fn flatten(value: &Value, path: &mut String, lines: &mut Vec<(String, String)>) {
    let mut child = |key: &str, value: &Value| {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(&one_line(key));
        flatten(value, path, lines);
        path.truncate(length);
    };
    let scalar = match value {
        Value::Object(members) => {
            for (key, value) in members {
                child(key, value);
            }
            return;
        }
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                child(&index.to_string(), value);
            }
            return;
        }
        Value::Null => String::new(),
        Value::String(text) => one_line(text).into_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    lines.push((path.clone(), scalar));
}

fn one_line(text: &str) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(breaks) {
        Cow::Owned(text.replace(breaks, " "))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_values_stay_on_their_line() {
        let line = r#"samba[1]:   {"b": {"y": 3, "x": "a\u00e9\nid=1"}, "a": [null, true], "bb": "C\\u"} "#;
        assert_eq!(
            flattened(line).as_deref(),
            Some("a.0=\na.1=true\nb.x=aé id=1\nb.y=3\nbb=C\\u\n")
        );
    }

    #[test]
    fn what_is_no_object_is_not_flattened() {
        for text in ["", "no json", "{\"a\":1", "{\"a\":1} trailing", "[1]"] {
            assert_eq!(flattened(text), None, "{text}");
        }
        assert_eq!(flattened(&"{\"a\":".repeat(10_000)), None);
    }
}
