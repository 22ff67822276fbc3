//! Entries in XML, in the vocabulary of the Web API of Junos: for answers to firewalls that ask and for documents to
//! those that are pushed to.
//!
//! The order of elements is the one that Juniper's examples have. What is told is decided elsewhere.

use quick_xml::escape::escape;

use super::shape::{Entry, LoginDevice, POSTURE};
use crate::identity::time::UtcMillis;

/// Roles of an entry; the Web API takes no more.
pub(super) const MAX_ROLES: usize = 200;
/// What goes before entries.
pub(super) const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<userfw-entries>\n";
/// What goes after them.
pub(super) const TAIL: &str = "</userfw-entries>\n";

/// Writes one entry; of more than [`MAX_ROLES`] roles the first.
pub(super) fn entry(bytes: &mut Vec<u8>, source: &str, entry: Entry<'_>) {
    let (operation, address, at) = match entry {
        Entry::Login(login) => ("logon", login.address, login.at),
        Entry::Logout { address, at } => ("logoff", address, at),
    };
    bytes.extend_from_slice(b"  <userfw-entry>");
    element(bytes, "source", source);
    element(bytes, "timestamp", &rfc_3339(at));
    element(bytes, "operation", operation);
    element(bytes, "IP", &address.to_string());
    if let Entry::Login(login) = entry {
        element(bytes, "domain", login.domain);
        if let Some(user) = login.user {
            element(bytes, "user", user);
        }
        if !login.roles.is_empty() {
            bytes.extend_from_slice(b"<role-list>");
            for role in login.roles.iter().take(MAX_ROLES) {
                element(bytes, "role", role);
            }
            bytes.extend_from_slice(b"</role-list>");
        }
        element(bytes, "posture", POSTURE);
        if let Some(device) = &login.device {
            end_user_attribute(bytes, device);
        }
    }
    bytes.extend_from_slice(b"</userfw-entry>\n");
}

fn end_user_attribute(bytes: &mut Vec<u8>, device: &LoginDevice<'_>) {
    bytes.extend_from_slice(b"<end-user-attribute><device-identity>");
    element(bytes, "value", device.name);
    if !device.groups.is_empty() {
        bytes.extend_from_slice(b"<groups>");
        for group in &device.groups {
            element(bytes, "group", group);
        }
        bytes.extend_from_slice(b"</groups>");
    }
    bytes.extend_from_slice(b"</device-identity>");
    if let Some(os) = device.os {
        element(bytes, "device-os", os);
    }
    if let Some(version) = device.os_version {
        element(bytes, "device-os-version", version);
    }
    bytes.extend_from_slice(b"</end-user-attribute>");
}

fn element(bytes: &mut Vec<u8>, name: &str, text: &str) {
    for part in ["<", name, ">", &escape(text), "</", name, ">"] {
        bytes.extend_from_slice(part.as_bytes());
    }
}

fn rfc_3339(instant: UtcMillis) -> String {
    jiff::Timestamp::from_second(instant.unix_seconds())
        .unwrap_or_default()
        .to_string()
}
