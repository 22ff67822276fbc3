//! Entries in JSON, in the vocabulary of JIMS: for answers to firewalls that ask.
//!
//! Written field by field into the answer's bytes, because an answer has a thousand entries with twenty groups each. What is
//! told is decided in [`super::entries`]; the same in XML is in [`super::xml`].

use std::io::Write as _;

use super::shape::{Entry, LoginDevice, POSTURE};
use crate::identity::time::UtcMillis;

/// Writes one entry.
pub(super) fn entry(bytes: &mut Vec<u8>, entry: Entry<'_>) {
    match entry {
        Entry::Login(login) => {
            bytes.extend_from_slice(b"{\"ip-address\":");
            shown(bytes, login.address);
            field(bytes, "domain-name", login.domain);
            if let Some(user) = login.user {
                field(bytes, "user-name", user);
            }
            list(bytes, "roles", &login.roles);
            if let Some(device) = &login.device {
                about_device(bytes, device);
            }
            field(bytes, "posture", POSTURE);
            end(bytes, login.at, "login");
        }
        Entry::Logout { address, at } => {
            bytes.extend_from_slice(b"{\"ip-address\":");
            shown(bytes, address);
            end(bytes, at, "logout");
        }
    }
}

fn about_device(bytes: &mut Vec<u8>, device: &LoginDevice<'_>) {
    field(bytes, "device-name", device.name);
    list(bytes, "device-groups", &device.groups);
    if let Some(os) = device.os {
        field(bytes, "device-os", os);
    }
    if let Some(version) = device.os_version {
        field(bytes, "device-os-version", version);
    }
}

fn end(bytes: &mut Vec<u8>, at: UtcMillis, activity: &str) {
    name(bytes, "timestamp");
    display(bytes, at.unix_seconds());
    field(bytes, "activity", activity);
    bytes.push(b'}');
}

/// The name of a field that is not the first.
fn name(bytes: &mut Vec<u8>, name: &str) {
    bytes.extend_from_slice(b",\"");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\":");
}

fn field(bytes: &mut Vec<u8>, named: &str, text: &str) {
    name(bytes, named);
    string(bytes, text);
}

fn list(bytes: &mut Vec<u8>, named: &str, texts: &[&str]) {
    name(bytes, named);
    bytes.push(b'[');
    for (place, text) in texts.iter().enumerate() {
        if place > 0 {
            bytes.push(b',');
        }
        string(bytes, text);
    }
    bytes.push(b']');
}

/// Something whose characters all mean themselves, in quotes.
fn shown(bytes: &mut Vec<u8>, thing: impl std::fmt::Display) {
    bytes.push(b'"');
    display(bytes, thing);
    bytes.push(b'"');
}

fn display(bytes: &mut Vec<u8>, thing: impl std::fmt::Display) {
    write!(bytes, "{thing}").expect("writing to memory cannot fail");
}

/// A string. Whether there is anything to escape is found out for all its bytes at once; `serde_json` looks at them one by
/// one, which took 18 % of the time of a batch answer.
fn string(bytes: &mut Vec<u8>, text: &str) {
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        serde_json::to_writer(bytes, text).expect("writing a string to memory cannot fail");
        return;
    }
    bytes.reserve(text.len() + 2);
    bytes.push(b'"');
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'"');
}

/// Whether a byte does not mean itself in a string (RFC 8259, section 7).
fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::enforcement::shape::Login;

    fn read(entry: Entry<'_>) -> Value {
        let mut bytes = Vec::new();
        super::entry(&mut bytes, entry);
        serde_json::from_slice(&bytes).expect("JSON")
    }

    #[test]
    fn a_logout_has_nothing_but_its_address_and_time() {
        let entry = Entry::Logout {
            address: "2001:db8::1".parse().expect("an address"),
            at: UtcMillis(1_732_357_800_999),
        };
        assert_eq!(
            read(entry),
            json!({"ip-address": "2001:db8::1", "timestamp": 1_732_357_800, "activity": "logout"})
        );
    }

    proptest! {
        #[test]
        fn whatever_names_hold_a_parser_reads_them_as_they_are(
            domain in any::<String>(),
            user in any::<Option<String>>(),
            roles in prop::collection::vec(any::<String>(), 0..4),
            device in any::<Option<(String, Vec<String>, Option<String>)>>(),
            odd in "[\\x00-\\x7f]{0,40}",
        ) {
            let roles: Vec<&str> = roles.iter().map(String::as_str).chain([odd.as_str()]).collect();
            let login = Login {
                address: "10.1.2.3".parse().expect("an address"),
                domain: &domain,
                user: user.as_deref(),
                roles: roles.clone(),
                device: device.as_ref().map(|(name, groups, os)| LoginDevice {
                    name,
                    groups: groups.iter().map(String::as_str).collect(),
                    os: os.as_deref(),
                    os_version: os.as_deref(),
                }),
                at: UtcMillis(5_000),
            };
            let mut expected = json!({
                "ip-address": "10.1.2.3", "domain-name": domain, "roles": roles,
                "posture": "Unknown", "timestamp": 5, "activity": "login",
            });
            if let Some(user) = &user {
                expected["user-name"] = json!(user);
            }
            if let Some((name, groups, os)) = &device {
                expected["device-name"] = json!(name);
                expected["device-groups"] = json!(groups);
                if let Some(os) = os {
                    expected["device-os"] = json!(os);
                    expected["device-os-version"] = json!(os);
                }
            }
            prop_assert_eq!(read(Entry::Login(&login)), expected);
        }
    }
}
