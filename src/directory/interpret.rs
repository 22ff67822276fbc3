//! What directory entries mean: entry in, directory object or the reason why not out.
//!
//! The same for LDAP and LDIF. Pure: no connection, no clock. How the values of `member` become identities differs
//! between the two, so the caller hands that in.

use sha2::{Digest, Sha256};

use crate::identity::directory::{DirectoryObject, DomainFacts, ObjectId, ObjectKind, Sid};
use crate::identity::name::{Name, NameKey};
use crate::wire::ldap::Entry;

/// Attributes that every kind of object is read with.
pub const ATTRIBUTES: &[&str] = &[
    "objectClass",
    "objectGUID",
    "objectSid",
    "sAMAccountName",
    "userPrincipalName",
    "userAccountControl",
    "primaryGroupID",
    "dNSHostName",
    "operatingSystem",
    "operatingSystemVersion",
    "member",
];

/// Most direct members of one group; more are cut off, and counted.
pub const MAX_MEMBERS: usize = 1_000_000;
/// Most UPN suffixes of a forest.
const MAX_SUFFIXES: usize = 256;
/// `userAccountControl`: the account is disabled.
const ACCOUNTDISABLE: i64 = 0x2;

/// Why an entry is no directory object of ours; the words are counted in status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// Neither user, computer nor group.
    #[error("not-an-account")]
    NotAnAccount,
    /// No usable `objectGUID`.
    #[error("no-id")]
    NoId,
    /// No `sAMAccountName` (or, in LDIF, `uid` or `cn`).
    #[error("no-name")]
    NoName,
    /// A name with control characters or too long.
    #[error("bad-name")]
    BadName,
    /// An `objectSid` that is none.
    #[error("bad-sid")]
    BadSid,
}

impl Skipped {
    /// The word for status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAnAccount => "not-an-account",
            Self::NoId => "no-id",
            Self::NoName => "no-name",
            Self::BadName => "bad-name",
            Self::BadSid => "bad-sid",
        }
    }
}

/// The object that an entry describes; `members` are its direct members if it is a group.
///
/// # Errors
/// [`Skipped`]: why it is not one.
pub fn object(entry: &Entry, members: Vec<ObjectId>) -> Result<DirectoryObject, Skipped> {
    let class = class(entry).ok_or(Skipped::NotAnAccount)?;
    let id = id(entry).ok_or(Skipped::NoId)?;
    let sid = match entry.first("objectSid") {
        Some(bytes) => Some(sid(bytes).ok_or(Skipped::BadSid)?),
        None => None,
    };
    let name = name(entry, class)?;
    let primary_group = || {
        let relative: u32 = entry.text("primaryGroupID")?.parse().ok()?;
        let (domain, _) = sid.as_ref()?.rsplit_once('-')?;
        Some(Sid::from(format!("{domain}-{relative}")))
    };
    let kind = match class {
        Class::User => ObjectKind::User {
            upn: optional(entry, "userPrincipalName"),
            enabled: enabled(entry),
            primary_group: primary_group(),
        },
        Class::Device => ObjectKind::Device {
            dns_name: optional(entry, "dNSHostName"),
            os: optional(entry, "operatingSystem"),
            os_version: optional(entry, "operatingSystemVersion"),
            primary_group: primary_group(),
        },
        Class::Group => ObjectKind::Group { members },
    };
    Ok(DirectoryObject {
        id,
        sid,
        name,
        kind,
    })
}

/// The identity of an entry by its `objectGUID`, binary or as text.
#[must_use]
pub fn id(entry: &Entry) -> Option<ObjectId> {
    let value = entry.first("objectGUID")?;
    if let Ok(bytes) = <[u8; 16]>::try_from(value) {
        return Some(ObjectId(bytes));
    }
    guid_text(std::str::from_utf8(value).ok()?)
}

/// The identity of an object known by its distinguished name only (see [`ObjectId`]).
#[must_use]
pub fn id_of_dn(dn: &str) -> ObjectId {
    let digest = Sha256::digest(dn_key(dn).as_str().as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    ObjectId(id)
}

/// A distinguished name folded for comparison: case, and white space around its parts, do not count.
#[must_use]
pub fn dn_key(dn: &str) -> NameKey {
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut escaped = false;
    for (at, c) in dn.char_indices() {
        if c == ',' && !escaped {
            parts.push(dn[begin..at].trim());
            begin = at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(dn[begin..].trim());
    NameKey::fold(&parts.join(","))
}

/// The identity in a name with GUID before it: `<GUID=32 hexadecimal digits>;…`.
#[must_use]
pub fn id_of_extended_dn(value: &[u8]) -> Option<ObjectId> {
    let digits = value.strip_prefix(b"<GUID=")?.get(..32)?;
    if value.get(38) != Some(&b'>') {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(ObjectId(id))
}

/// The DNS name that a distinguished name of `DC=` parts stands for; `None` if it is none.
#[must_use]
pub fn dns_domain(dn: &str) -> Option<String> {
    let labels: Option<Vec<&str>> = dn
        .split(',')
        .map(|part| {
            let (kind, label) = part.trim().split_once('=')?;
            kind.eq_ignore_ascii_case("DC").then_some(label)
        })
        .collect();
    labels.map(|labels| labels.join("."))
}

/// What the entries of the partitions container say of a domain: its cross reference (by `dnsRoot`) and the UPN
/// suffixes of the forest. `None`: nothing.
#[must_use]
pub fn facts<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    domain: &Name,
) -> Option<DomainFacts> {
    let mut facts = DomainFacts {
        netbios: None,
        upn_suffixes: Vec::new(),
    };
    let mut found = false;
    for entry in entries {
        let suffixes = entry
            .values("uPNSuffixes")
            .iter()
            .filter_map(|value| Name::new(std::str::from_utf8(value).ok()?).ok());
        facts
            .upn_suffixes
            .extend(suffixes.take(MAX_SUFFIXES - facts.upn_suffixes.len().min(MAX_SUFFIXES)));
        found |= !facts.upn_suffixes.is_empty();
        let ours = entry
            .text("dnsRoot")
            .is_some_and(|root| NameKey::fold(root) == domain.key());
        if ours && let Some(netbios) = optional(entry, "nETBIOSName") {
            facts.netbios = Some(netbios);
            found = true;
        }
    }
    found.then_some(facts)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    User,
    Device,
    Group,
}

/// A computer is also a user, so the order counts.
fn class(entry: &Entry) -> Option<Class> {
    let has = |wanted: &str| {
        entry
            .values("objectClass")
            .iter()
            .any(|class| class.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    if has("computer") {
        Some(Class::Device)
    } else if has("group") || has("groupOfNames") {
        Some(Class::Group)
    } else if has("user") || has("person") || has("inetOrgPerson") {
        Some(Class::User)
    } else {
        None
    }
}

fn name(entry: &Entry, class: Class) -> Result<Name, Skipped> {
    let text = entry
        .text("sAMAccountName")
        .or_else(|| entry.text("uid"))
        .or_else(|| entry.text("cn"))
        .ok_or(Skipped::NoName)?;
    let text = match class {
        Class::Device => text.strip_suffix('$').unwrap_or(text),
        Class::User | Class::Group => text,
    };
    Name::new(text).map_err(|_| Skipped::BadName)
}

/// An attribute that may be absent; one that is not a proper name counts as absent.
fn optional(entry: &Entry, attribute: &str) -> Option<Name> {
    Name::new(entry.text(attribute)?).ok()
}

/// Enabled unless the directory says otherwise: a value that cannot be read must not sign everybody off.
fn enabled(entry: &Entry) -> bool {
    entry
        .text("userAccountControl")
        .and_then(|text| text.trim().parse::<i64>().ok())
        .is_none_or(|flags| flags & ACCOUNTDISABLE == 0)
}

/// A security identifier as text, from its binary form (MS-DTYP 2.4.2.2) or text.
fn sid(value: &[u8]) -> Option<Sid> {
    if value.starts_with(b"S-1-") {
        let text = std::str::from_utf8(value).ok()?;
        return (text.len() <= 184
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"S-".contains(&b)))
        .then(|| Sid::from(text));
    }
    let (&[revision, count], rest) = value.split_first_chunk::<2>()?;
    let (authority, parts) = rest.split_first_chunk::<6>()?;
    if revision != 1 || count > 15 || parts.len() != usize::from(count) * 4 {
        return None;
    }
    let authority = authority
        .iter()
        .fold(0_u64, |sum, &byte| (sum << 8) | u64::from(byte));
    let mut text = format!("S-1-{authority}");
    for part in parts.chunks_exact(4) {
        let part = u32::from_le_bytes(part.try_into().ok()?);
        text.push('-');
        text.push_str(&part.to_string());
    }
    Some(Sid::from(text))
}

/// A GUID as text (`01234567-89ab-…`, braces allowed), in the byte order of `objectGUID`.
fn guid_text(text: &str) -> Option<ObjectId> {
    let text = text.trim().trim_start_matches('{').trim_end_matches('}');
    let guid = uuid::Uuid::try_parse(text).ok()?;
    Some(ObjectId(guid.to_bytes_le()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ldap::Attribute;

    fn entry(attributes: &[(&str, &[u8])]) -> Entry {
        let mut entry = Entry::default();
        for &(name, value) in attributes {
            let known = entry.attributes.iter_mut().find(|a| a.name == name);
            match known {
                Some(attribute) => attribute.values.push(value.to_vec()),
                None => entry.attributes.push(Attribute {
                    name: name.into(),
                    values: vec![value.to_vec()],
                }),
            }
        }
        entry
    }

    const GUID: (&str, &[u8]) = ("objectGUID", &[7; 16]);
    const SID: (&str, &[u8]) = (
        "objectSid",
        b"\x01\x05\0\0\0\0\0\x05\x15\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x51\x04\0\0",
    );

    fn named(text: &str) -> Name {
        Name::new(text).expect("name")
    }

    #[test]
    fn a_user_a_computer_and_a_group_are_known_by_their_classes() {
        let user = entry(&[
            ("objectClass", b"top"),
            ("objectClass", b"user"),
            GUID,
            SID,
            ("sAMAccountName", "Jürgen".as_bytes()),
            ("userPrincipalName", b"j@corp.example.com"),
            ("userAccountControl", b"514"),
            ("primaryGroupID", b"513"),
        ]);
        let object_of_user = object(&user, vec![]).expect("a user");
        assert_eq!(object_of_user.sid.as_deref(), Some("S-1-5-21-1-2-3-1105"));
        assert_eq!(
            object_of_user.kind,
            ObjectKind::User {
                upn: Some(named("j@corp.example.com")),
                enabled: false,
                primary_group: Some("S-1-5-21-1-2-3-513".into()),
            }
        );
        let computer = entry(&[
            ("objectClass", b"user"),
            ("objectClass", b"computer"),
            GUID,
            ("sAMAccountName", b"WS-1$"),
            ("operatingSystem", b"Windows 11"),
        ]);
        let device = object(&computer, vec![]).expect("a device");
        assert_eq!(device.name, named("WS-1"));
        assert!(matches!(
            device.kind,
            ObjectKind::Device { os: Some(_), .. }
        ));
        let group = entry(&[("objectClass", b"group"), GUID, ("sAMAccountName", b"G")]);
        let members = vec![ObjectId([1; 16])];
        assert_eq!(
            object(&group, members.clone()).expect("a group").kind,
            ObjectKind::Group { members }
        );
    }

    #[test]
    fn a_user_without_readable_flags_counts_as_enabled() {
        let user = entry(&[("objectClass", b"user"), GUID, ("sAMAccountName", b"u")]);
        assert!(matches!(
            object(&user, vec![]).expect("a user").kind,
            ObjectKind::User { enabled: true, .. }
        ));
    }

    #[test]
    fn what_is_malformed_is_skipped_with_a_reason() {
        let user: (&str, &[u8]) = ("objectClass", b"user");
        let name: (&str, &[u8]) = ("sAMAccountName", b"u");
        for (attributes, reason) in [
            (vec![GUID, name], Skipped::NotAnAccount),
            (vec![user, name], Skipped::NoId),
            (vec![user, name, ("objectGUID", b"short")], Skipped::NoId),
            (vec![user, GUID], Skipped::NoName),
            (
                vec![user, GUID, ("sAMAccountName", b"a\x1bb")],
                Skipped::BadName,
            ),
            (
                vec![user, GUID, name, ("objectSid", b"\x01\x05")],
                Skipped::BadSid,
            ),
            (
                vec![user, GUID, name, ("objectSid", b"S-1-5-x")],
                Skipped::BadSid,
            ),
        ] {
            assert_eq!(object(&entry(&attributes), vec![]), Err(reason));
        }
    }

    #[test]
    fn members_are_known_by_the_guid_before_their_name() {
        let value = b"<GUID=0102030405060708090a0b0c0d0e0fff>;<SID=0105>;CN=A\\, B,DC=x";
        assert_eq!(
            id_of_extended_dn(value),
            Some(ObjectId([
                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255
            ]))
        );
        assert_eq!(id_of_extended_dn(b"CN=A,DC=x"), None);
        assert_eq!(id_of_extended_dn(b"<GUID=01>;CN=A"), None);
    }

    #[test]
    fn names_that_differ_in_case_and_space_are_one() {
        assert_eq!(id_of_dn("CN=Ann, OU=X,DC=a"), id_of_dn("cn=ann,ou=x,dc=A"));
        assert_ne!(id_of_dn("CN=Ann\\,OU=X"), id_of_dn("CN=Ann\\, OU=X"));
        assert_eq!(
            dns_domain("DC=corp, dc=example,DC=com").as_deref(),
            Some("corp.example.com")
        );
        assert_eq!(dns_domain("OU=a,DC=b"), None);
    }

    #[test]
    fn a_guid_as_text_is_the_guid_in_bytes() {
        let text = entry(&[("objectGUID", b"04030201-0605-0807-090a-0b0c0d0e0f10")]);
        assert_eq!(
            id(&text),
            Some(ObjectId([
                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
            ]))
        );
    }

    #[test]
    fn domain_facts_are_those_of_the_configured_domain() {
        let partitions = entry(&[
            ("uPNSuffixes", b"example.org"),
            ("uPNSuffixes", b"x.example"),
        ]);
        let ours = entry(&[("dnsRoot", b"CORP.example.com"), ("nETBIOSName", b"CORP")]);
        let other = entry(&[("dnsRoot", b"lab.example.com"), ("nETBIOSName", b"LAB")]);
        assert_eq!(
            facts([&partitions, &other, &ours], &named("corp.example.com")),
            Some(DomainFacts {
                netbios: Some(named("CORP")),
                upn_suffixes: vec![named("example.org"), named("x.example")],
            })
        );
        assert_eq!(facts([&other], &named("corp.example.com")), None);
    }
}
