//! What `--json` prints is what `packaging/schema/` says, neither more nor less.
//!
//! Answers are written out as whole Rust values, so that a new field does not compile until it is here; then each
//! property of the schema has to occur in them, and nothing else may.

mod answers;
mod binary;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// The schemas, by the name of their files.
const SCHEMAS: [&str; 11] = [
    "log-off",
    "onboard",
    "probe",
    "query-user-at",
    "query-user",
    "refresh",
    "status-collectors",
    "status-junos",
    "status-requests",
    "status",
    "syslog-test",
];

/// The schema of that name.
fn schema(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/schema");
    let text = fs::read_to_string(folder.join(format!("{name}.schema.json"))).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
}

/// Holds a document against the schema of that name.
pub(crate) fn check(name: &str, document: &Value) {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema(name))
        .expect("a schema of draft 2020-12");
    let wrong: Vec<String> = (validator.iter_errors(document))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{document:#}");
}

fn json(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).expect("JSON")
}

/// The properties of each object of a schema, with how often they were seen in documents.
#[derive(Default)]
struct Seen(BTreeMap<String, (usize, BTreeMap<String, usize>)>);

impl Seen {
    /// Walks schema and document together; `place` names the object in the schema.
    fn walk(&mut self, root: &Value, place: &str, schema: &Value, document: &Value) {
        if let Some(target) = schema["$ref"].as_str() {
            let place = target.trim_start_matches('#');
            let schema = root.pointer(place).expect("a definition");
            return self.walk(root, place, schema, document);
        }
        for choice in ["anyOf", "oneOf"] {
            for branch in schema[choice].as_array().into_iter().flatten() {
                if self.fits(root, branch, document) {
                    self.walk(root, place, branch, document);
                }
            }
        }
        for item in document.as_array().into_iter().flatten() {
            self.walk(root, &format!("{place}/items"), &schema["items"], item);
        }
        let (Some(properties), Some(object)) =
            (schema["properties"].as_object(), document.as_object())
        else {
            return;
        };
        let (objects, counts) = self.0.entry(place.to_owned()).or_default();
        *objects += 1;
        for name in object.keys() {
            *counts.entry(name.clone()).or_default() += 1;
        }
        for (name, value) in object {
            if let Some(schema) = properties.get(name) {
                self.walk(root, &format!("{place}/properties/{name}"), schema, value);
            }
        }
    }

    /// Whether a branch of the schema is the one for this document: all that it requires is there and it knows the rest.
    fn fits(&self, root: &Value, branch: &Value, document: &Value) -> bool {
        let target = branch["$ref"].as_str().unwrap_or_default();
        let branch = root
            .pointer(target.trim_start_matches('#'))
            .unwrap_or(branch);
        let Some(object) = document.as_object() else {
            return false;
        };
        let known = |name: &String| branch["properties"].get(name).is_some();
        let required = branch["required"].as_array().into_iter().flatten();
        object.keys().all(known)
            && required
                .filter_map(Value::as_str)
                .all(|name| object.contains_key(name))
    }
}

/// Every object of a schema that names properties, by its place.
fn objects<'a>(place: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if schema.get("properties").is_some() {
        found.push((place.to_owned(), schema));
    }
    if let Some(object) = schema.as_object() {
        for (name, inner) in object {
            objects(&format!("{place}/{name}"), inner, found);
        }
    }
}

/// Holds documents against a schema, and the schema against them: each property occurs, and those that it does not require
/// are left out once.
fn check_both_ways(name: &str, documents: &[Value]) {
    let schema = schema(name);
    let mut seen = Seen::default();
    for document in documents {
        check(name, document);
        seen.walk(&schema, "", &schema, document);
    }
    let mut all = Vec::new();
    objects("", &schema, &mut all);
    for (place, object) in all {
        let Some((count, counts)) = seen.0.get(&place) else {
            panic!("{name}: {place} occurs in no document");
        };
        let required: BTreeSet<&str> = (object["required"].as_array().into_iter().flatten())
            .filter_map(Value::as_str)
            .collect();
        for property in object["properties"].as_object().expect("properties").keys() {
            let times = counts.get(property).copied().unwrap_or(0);
            assert!(
                times > 0,
                "{name}: {place}/{property} occurs in no document"
            );
            let is_required = required.contains(property.as_str());
            assert!(
                is_required || times < *count,
                "{name}: {place}/{property} is never left out, so it is required"
            );
        }
    }
}

#[test]
fn every_schema_is_closed_and_describes_each_property() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/schema");
    let mut files: Vec<String> = (fs::read_dir(folder).expect("folder"))
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    files.sort();
    assert_eq!(files, SCHEMAS.map(|name| format!("{name}.schema.json")));
    for name in SCHEMAS {
        let schema = schema(name);
        jsonschema::draft202012::meta::validate(&schema).expect("draft 2020-12");
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        for key in ["title", "description"] {
            assert!(schema[key].is_string(), "{name}: {key}");
        }
        let mut all = Vec::new();
        objects("", &schema, &mut all);
        for (place, object) in all {
            assert_eq!(object["additionalProperties"], false, "{name}: {place}");
            assert!(object["required"].is_array(), "{name}: {place}");
            for (property, inner) in object["properties"].as_object().expect("properties") {
                let described = inner["description"].as_str().is_some_and(|d| !d.is_empty());
                assert!(described, "{name}: {place}/{property}");
            }
        }
    }
}
