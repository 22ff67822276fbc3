//! The snapshot's file format: the whole table, positions and tokens in one piece that is either whole or refused.
//!
//! `JIMSSNAP`, version (u16), length (u64), the content (postcard), SHA-256 of the content; numbers little-endian. The
//! types that are written are this file's own, so that the table's may change; a change of what is written here is a
//! new version. Reading and writing files, and setting damaged ones aside, is `runtime/`'s.

mod apart;
mod life;

use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::apart::Apart;
use self::life::Life;
use crate::access::TokenRecord;
use crate::identity::directory::{DirectoryObject, DomainFacts, ObjectId, ObjectKind};
use crate::identity::event::LogonId;
use crate::identity::name::Name;
use crate::identity::state::{
    AddressState, FactKind, FactState, ObjectState, ReadingState, SlotState, State, SubjectKind,
    SubjectState,
};
use crate::identity::time::UtcMillis;
use crate::identity::view::{Epoch, Seq};

/// The version that is written, and the newest that is read.
pub const VERSION: u16 = 3;

const MAGIC: &[u8; 8] = b"JIMSSNAP";
const HEADER_BYTES: usize = 8 + 2 + 8;
const HASH_BYTES: usize = 32;

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotContents {
    /// The table.
    pub state: State,
    /// Access tokens in force.
    pub tokens: Vec<TokenRecord>,
    /// Written last by a clean stop: nothing was lost since, so the epoch may be kept.
    pub clean: bool,
}

/// Why bytes are no snapshot that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// It does not begin like one.
    #[error("reading the snapshot: this is not a snapshot of jims")]
    NotASnapshot,
    /// It was written by a newer `jims`.
    #[error(
        "reading the snapshot: it has version {found}, this jims knows up to {VERSION}; start the newer jims again"
    )]
    Newer {
        /// Its version.
        found: u16,
    },
    /// It ends early, or goes on after its end.
    #[error("reading the snapshot: it should hold {expected} bytes and holds {found}")]
    Length {
        /// What its header says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// Its hash is not that of its content.
    #[error("reading the snapshot: its content was changed (SHA-256 does not match)")]
    Hash,
    /// The content cannot be what was written.
    #[error("reading the snapshot: {what} cannot be read")]
    Content {
        /// Which part.
        what: &'static str,
    },
}

/// The bytes of a snapshot.
///
/// # Panics
/// Never: the content has no part that cannot be written.
#[must_use]
pub fn encode(contents: &SnapshotContents) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let written = postcard::to_extend(&File::from(contents), bytes)
        .and_then(|bytes| postcard::to_extend(&Life::from(&contents.state), bytes))
        .and_then(|bytes| postcard::to_extend(&Apart::from(&contents.state), bytes));
    let mut bytes = written.expect("plain data in memory can always be written");
    let length = (bytes.len() - HEADER_BYTES) as u64;
    bytes[10..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    let hash = Sha256::digest(&bytes[HEADER_BYTES..]);
    bytes.extend_from_slice(&hash);
    bytes
}

/// What the bytes hold.
///
/// # Errors
/// [`SnapshotError`] says what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<SnapshotContents, SnapshotError> {
    let (header, rest) = bytes
        .split_at_checked(HEADER_BYTES)
        .filter(|(header, _)| header.starts_with(MAGIC))
        .ok_or(SnapshotError::NotASnapshot)?;
    let found = u16::from_le_bytes([header[8], header[9]]);
    if found > VERSION {
        return Err(SnapshotError::Newer { found });
    }
    if found == 0 {
        return Err(SnapshotError::NotASnapshot);
    }
    let mut length = [0; 8];
    length.copy_from_slice(&header[10..]);
    let expected = u64::from_le_bytes(length).saturating_add((HEADER_BYTES + HASH_BYTES) as u64);
    if expected != bytes.len() as u64 {
        return Err(SnapshotError::Length {
            expected,
            found: bytes.len() as u64,
        });
    }
    let (content, hash) = rest.split_at(rest.len() - HASH_BYTES);
    if Sha256::digest(content)[..] != *hash {
        return Err(SnapshotError::Hash);
    }
    let (file, rest): (File, &[u8]) =
        postcard::take_from_bytes(content).map_err(|_| damaged("the content"))?;
    // Version 1 knew neither doubts nor why sessions had ended, version 2 no Collectors.
    let (life, rest): (Life, _) = part(rest, found >= 2)?;
    let (apart, rest): (Apart, _) = part(rest, found >= 3)?;
    if !rest.is_empty() {
        return Err(damaged("the content"));
    }
    let mut contents = file.contents()?;
    life.into_addresses(&mut contents.state.addresses)?;
    apart.into_state(&mut contents.state)?;
    Ok(contents)
}

/// The next part of the content, if its version has it.
fn part<'a, T: Default + Deserialize<'a>>(
    bytes: &'a [u8],
    is_there: bool,
) -> Result<(T, &'a [u8]), SnapshotError> {
    if !is_there {
        return Ok((T::default(), bytes));
    }
    postcard::take_from_bytes(bytes).map_err(|_| damaged("the content"))
}

fn damaged(what: &'static str) -> SnapshotError {
    SnapshotError::Content { what }
}

type Bytes16 = [u8; 16];

#[derive(Serialize, Deserialize)]
struct File {
    clean: bool,
    epoch: u64,
    last_seq: u64,
    floor: u64,
    now: Option<i64>,
    marks: Vec<(i64, u64)>,
    /// (domain, NetBIOS name, UPN suffixes)
    domains: Vec<(String, Option<String>, Vec<String>)>,
    producers: Vec<String>,
    subjects: Vec<SubjectRow>,
    objects: Vec<ObjectRow>,
    /// (directory, held removals)
    readings: Vec<(String, Vec<Bytes16>)>,
    addresses: Vec<AddressRow>,
    bookmarks: Vec<(String, Vec<u8>)>,
    /// (hash, point, expires)
    tokens: Vec<([u8; 32], String, i64)>,
}

#[derive(Serialize, Deserialize)]
struct SubjectRow {
    is_device: bool,
    domain: String,
    name: String,
    object: Option<u32>,
    gone: bool,
    by_upn: bool,
}

#[derive(Serialize, Deserialize)]
struct ObjectRow {
    id: Bytes16,
    sid: Option<String>,
    name: String,
    kind: KindRow,
    directory: String,
    domain: String,
    subject: Option<u32>,
}

#[derive(Serialize, Deserialize)]
enum KindRow {
    User {
        upn: Option<String>,
        enabled: bool,
        primary_group: Option<String>,
    },
    Device {
        dns_name: Option<String>,
        os: Option<String>,
        os_version: Option<String>,
        primary_group: Option<String>,
    },
    Group {
        members: Vec<Bytes16>,
    },
}

#[derive(Serialize, Deserialize)]
struct AddressRow {
    address: IpAddr,
    changed: u64,
    empty_since: Option<i64>,
    reports_user: bool,
    user_ended_at: Option<i64>,
    user: SlotRow,
    device: SlotRow,
}

#[derive(Serialize, Deserialize)]
struct SlotRow {
    since: Option<i64>,
    facts: Vec<FactRow>,
}

#[derive(Serialize, Deserialize)]
struct FactRow {
    kind: FactKindRow,
    at: i64,
    received_at: i64,
    record: String,
    producer: u16,
    subject: Option<u32>,
    groups: Option<(i64, Vec<String>)>,
    /// (computer, id)
    logon: Option<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
enum FactKindRow {
    Left,
    AllLeft,
    Weak,
    Seen,
    Strong,
    Expired,
    Closed,
    Carried,
}

impl From<&SnapshotContents> for File {
    fn from(contents: &SnapshotContents) -> Self {
        let state = &contents.state;
        Self {
            clean: contents.clean,
            epoch: state.epoch.0,
            last_seq: state.last_seq.0,
            floor: state.floor.0,
            now: state.now.map(|at| at.0),
            marks: state.marks.iter().map(|(at, seq)| (at.0, seq.0)).collect(),
            domains: (state.domain_facts.iter())
                .map(|(domain, facts)| {
                    let suffixes = facts.upn_suffixes.iter().map(ToString::to_string);
                    let netbios = facts.netbios.as_ref().map(ToString::to_string);
                    (domain.to_string(), netbios, suffixes.collect())
                })
                .collect(),
            producers: state.producers.iter().map(ToString::to_string).collect(),
            subjects: state.subjects.iter().map(SubjectRow::from).collect(),
            objects: state.objects.iter().map(ObjectRow::from).collect(),
            readings: (state.readings.iter())
                .map(|reading| {
                    let held = reading.held.iter().map(|id| id.0).collect();
                    (reading.directory.to_string(), held)
                })
                .collect(),
            addresses: state.addresses.iter().map(AddressRow::from).collect(),
            bookmarks: (state.bookmarks.iter())
                .map(|(key, value)| (key.to_string(), value.to_vec()))
                .collect(),
            tokens: (contents.tokens.iter())
                .map(|token| (token.hash, token.client.clone(), token.expires.0))
                .collect(),
        }
    }
}

impl From<&SubjectState> for SubjectRow {
    fn from(subject: &SubjectState) -> Self {
        Self {
            is_device: subject.kind == SubjectKind::Device,
            domain: subject.domain.to_string(),
            name: subject.name.to_string(),
            object: subject.object,
            gone: subject.gone,
            by_upn: subject.by_upn,
        }
    }
}

impl From<&ObjectState> for ObjectRow {
    fn from(object: &ObjectState) -> Self {
        let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string);
        let sid = |sid: &Option<CompactString>| sid.as_ref().map(ToString::to_string);
        Self {
            id: object.is.id.0,
            sid: sid(&object.is.sid),
            name: object.is.name.to_string(),
            kind: match &object.is.kind {
                ObjectKind::User {
                    upn,
                    enabled,
                    primary_group,
                } => KindRow::User {
                    upn: text(upn),
                    enabled: *enabled,
                    primary_group: sid(primary_group),
                },
                ObjectKind::Device {
                    dns_name,
                    os,
                    os_version,
                    primary_group,
                } => KindRow::Device {
                    dns_name: text(dns_name),
                    os: text(os),
                    os_version: text(os_version),
                    primary_group: sid(primary_group),
                },
                ObjectKind::Group { members } => KindRow::Group {
                    members: members.iter().map(|id| id.0).collect(),
                },
            },
            directory: object.directory.to_string(),
            domain: object.domain.to_string(),
            subject: object.subject,
        }
    }
}

impl From<&AddressState> for AddressRow {
    fn from(address: &AddressState) -> Self {
        Self {
            address: address.address,
            changed: address.changed.0,
            empty_since: address.empty_since.map(|at| at.0),
            reports_user: address.reports_user,
            user_ended_at: address.user_ended_at.map(|at| at.0),
            user: SlotRow::from(&address.user),
            device: SlotRow::from(&address.device),
        }
    }
}

impl From<&SlotState> for SlotRow {
    fn from(slot: &SlotState) -> Self {
        Self {
            since: slot.since.map(|at| at.0),
            facts: slot.facts.iter().map(FactRow::from).collect(),
        }
    }
}

impl From<&FactState> for FactRow {
    fn from(fact: &FactState) -> Self {
        Self {
            kind: match fact.kind {
                FactKind::Left => FactKindRow::Left,
                FactKind::AllLeft => FactKindRow::AllLeft,
                FactKind::Weak => FactKindRow::Weak,
                FactKind::Seen => FactKindRow::Seen,
                FactKind::Strong => FactKindRow::Strong,
                FactKind::Expired => FactKindRow::Expired,
                FactKind::Closed => FactKindRow::Closed,
                FactKind::Carried => FactKindRow::Carried,
            },
            at: fact.at.0,
            received_at: fact.received_at.0,
            record: fact.record.to_string(),
            producer: fact.producer,
            subject: fact.subject,
            groups: (fact.groups.as_ref()).map(|(at, groups)| {
                let groups = groups.iter().map(ToString::to_string);
                (at.0, groups.collect())
            }),
            logon: (fact.logon.as_ref()).map(|logon| (logon.computer.to_string(), logon.id)),
        }
    }
}

impl File {
    fn contents(self) -> Result<SnapshotContents, SnapshotError> {
        let tokens = self
            .tokens
            .into_iter()
            .map(|(hash, client, expires)| TokenRecord {
                hash,
                client,
                expires: UtcMillis(expires),
            });
        let domains = self.domains.into_iter().map(|(domain, netbios, suffixes)| {
            let facts = DomainFacts {
                netbios: optional_name(netbios)?,
                upn_suffixes: suffixes.iter().map(|s| name(s)).collect::<Result<_, _>>()?,
            };
            Ok((domain.into(), facts))
        });
        let readings = self
            .readings
            .into_iter()
            .map(|(directory, held)| ReadingState {
                directory: directory.into(),
                held: held.into_iter().map(ObjectId).collect(),
            });
        let marks = self.marks.into_iter();
        let bookmarks = self.bookmarks.into_iter();
        Ok(SnapshotContents {
            clean: self.clean,
            tokens: tokens.collect(),
            state: State {
                epoch: Epoch(self.epoch),
                last_seq: Seq(self.last_seq),
                floor: Seq(self.floor),
                now: self.now.map(UtcMillis),
                marks: marks.map(|(at, seq)| (UtcMillis(at), Seq(seq))).collect(),
                domain_facts: domains.collect::<Result<_, SnapshotError>>()?,
                producers: self.producers.into_iter().map(Into::into).collect(),
                subjects: self.subjects.into_iter().map(SubjectRow::state).collect(),
                objects: (self.objects.into_iter())
                    .map(ObjectRow::state)
                    .collect::<Result<_, _>>()?,
                readings: readings.collect(),
                addresses: (self.addresses.into_iter())
                    .map(AddressRow::state)
                    .collect::<Result<_, _>>()?,
                bookmarks: bookmarks
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect(),
                collectors: Vec::new(),
                told_domains: Vec::new(),
                feed: None,
            },
        })
    }
}

impl SubjectRow {
    fn state(self) -> SubjectState {
        SubjectState {
            kind: if self.is_device {
                SubjectKind::Device
            } else {
                SubjectKind::User
            },
            domain: self.domain.into(),
            name: self.name.into(),
            object: self.object,
            gone: self.gone,
            by_upn: self.by_upn,
        }
    }
}

impl ObjectRow {
    fn state(self) -> Result<ObjectState, SnapshotError> {
        let kind = match self.kind {
            KindRow::User {
                upn,
                enabled,
                primary_group,
            } => ObjectKind::User {
                upn: optional_name(upn)?,
                enabled,
                primary_group: primary_group.map(Into::into),
            },
            KindRow::Device {
                dns_name,
                os,
                os_version,
                primary_group,
            } => ObjectKind::Device {
                dns_name: optional_name(dns_name)?,
                os: optional_name(os)?,
                os_version: optional_name(os_version)?,
                primary_group: primary_group.map(Into::into),
            },
            KindRow::Group { members } => ObjectKind::Group {
                members: members.into_iter().map(ObjectId).collect(),
            },
        };
        Ok(ObjectState {
            is: DirectoryObject {
                id: ObjectId(self.id),
                sid: self.sid.map(Into::into),
                name: name(&self.name)?,
                kind,
            },
            directory: self.directory.into(),
            domain: self.domain.into(),
            subject: self.subject,
            told: Seq(0),
        })
    }
}

impl AddressRow {
    fn state(self) -> Result<AddressState, SnapshotError> {
        Ok(AddressState {
            address: self.address,
            changed: Seq(self.changed),
            told: Seq(0),
            empty_since: self.empty_since.map(UtcMillis),
            reports_user: self.reports_user,
            user_ended_at: self.user_ended_at.map(UtcMillis),
            doubted_since: None,
            last_ended: None,
            user: self.user.state()?,
            device: self.device.state()?,
        })
    }
}

impl SlotRow {
    fn state(self) -> Result<SlotState, SnapshotError> {
        Ok(SlotState {
            since: self.since.map(UtcMillis),
            facts: (self.facts.into_iter())
                .map(FactRow::state)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl FactRow {
    fn state(self) -> Result<FactState, SnapshotError> {
        let logon = self.logon.map(|(computer, id)| {
            let computer = name(&computer)?;
            Ok(LogonId { computer, id })
        });
        Ok(FactState {
            kind: match self.kind {
                FactKindRow::Left => FactKind::Left,
                FactKindRow::AllLeft => FactKind::AllLeft,
                FactKindRow::Weak => FactKind::Weak,
                FactKindRow::Seen => FactKind::Seen,
                FactKindRow::Strong => FactKind::Strong,
                FactKindRow::Expired => FactKind::Expired,
                FactKindRow::Closed => FactKind::Closed,
                FactKindRow::Carried => FactKind::Carried,
            },
            at: UtcMillis(self.at),
            received_at: UtcMillis(self.received_at),
            record: self.record.into(),
            producer: self.producer,
            subject: self.subject,
            groups: (self.groups).map(|(at, groups)| {
                let groups = groups.into_iter().map(Into::into);
                (UtcMillis(at), groups.collect())
            }),
            logon: logon.transpose()?,
        })
    }
}

fn name(text: &str) -> Result<Name, SnapshotError> {
    Name::new(text).map_err(|_| damaged("a name"))
}

fn optional_name(text: Option<String>) -> Result<Option<Name>, SnapshotError> {
    text.as_deref().map(name).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::outcome::EndReason;
    use crate::identity::state::{FeedState, GoneState};
    use crate::identity::view::LastEnded;

    fn feed() -> FeedState {
        FeedState {
            last: Seq(9),
            floor: Seq(4),
            domains: vec![("corp".into(), Seq(8))],
            gone: vec![GoneState {
                seq: Seq(7),
                directory: "corp".into(),
                domain: "corp.example.com".into(),
                id: ObjectId([3; 16]),
            }],
        }
    }

    fn contents() -> SnapshotContents {
        let fact = FactState {
            kind: FactKind::Strong,
            at: UtcMillis(1),
            received_at: UtcMillis(2),
            record: "7".into(),
            producer: 0,
            subject: Some(0),
            groups: Some((UtcMillis(1), vec!["VPN".into()])),
            logon: Some(LogonId {
                computer: Name::new("dc1").expect("name"),
                id: 3,
            }),
        };
        SnapshotContents {
            clean: true,
            tokens: vec![TokenRecord {
                hash: [9; 32],
                client: "srx".into(),
                expires: UtcMillis(5),
            }],
            state: State {
                epoch: Epoch(1),
                last_seq: Seq(2),
                floor: Seq(1),
                now: Some(UtcMillis(3)),
                marks: vec![(UtcMillis(1), Seq(0))],
                domain_facts: Vec::new(),
                producers: vec!["dc".into()],
                subjects: vec![SubjectState {
                    kind: SubjectKind::User,
                    domain: "corp".into(),
                    name: "alice".into(),
                    object: None,
                    gone: false,
                    by_upn: true,
                }],
                objects: Vec::new(),
                readings: Vec::new(),
                addresses: vec![AddressState {
                    address: "10.0.0.1".parse().expect("address"),
                    changed: Seq(2),
                    told: Seq(9),
                    empty_since: None,
                    reports_user: true,
                    user_ended_at: None,
                    doubted_since: Some(UtcMillis(7)),
                    last_ended: Some(LastEnded {
                        user: "corp.example.com\\bob".into(),
                        at: UtcMillis(5),
                        reason: Some(EndReason::ProbeNobody),
                        by: "pc-probe: wmi ws1".into(),
                    }),
                    user: SlotState {
                        since: Some(UtcMillis(1)),
                        facts: vec![fact],
                    },
                    device: SlotState::default(),
                }],
                bookmarks: vec![("k".into(), b"v".as_slice().into())],
                collectors: vec![("branch".into(), Some(UtcMillis(6)))],
                told_domains: vec![("branch/corp".into(), "corp.example.com".into())],
                feed: Some(feed()),
            },
        }
    }

    #[test]
    fn rule_22_a_snapshot_reads_back_as_it_was_written() {
        let contents = contents();
        assert_eq!(decode(&encode(&contents)), Ok(contents));
    }

    #[test]
    fn rule_22_damage_anywhere_is_noticed() {
        let whole = encode(&contents());
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "cut at {length}");
        }
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x40;
            assert!(decode(&damaged).is_err(), "flipped at {place}");
        }
    }

    #[test]
    fn rule_22_earlier_versions_are_read_without_what_they_did_not_know() {
        let now = contents();
        let written = |version: u16, content: &[u8]| {
            let mut bytes = Vec::from(*MAGIC);
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(&Sha256::digest(content));
            bytes
        };
        let mut content = postcard::to_allocvec(&File::from(&now)).expect("plain data");
        let version_1 = written(1, &content);
        let life = postcard::to_allocvec(&Life::from(&now.state)).expect("plain data");
        content.extend(life);
        let version_2 = written(2, &content);
        assert!(decode(&written(1, &content)).is_err(), "more than it holds");
        let mut wanted = now;
        wanted.state.collectors.clear();
        wanted.state.told_domains.clear();
        wanted.state.feed = None;
        for address in &mut wanted.state.addresses {
            address.told = Seq(0);
        }
        assert_eq!(decode(&version_2), Ok(wanted.clone()));
        for address in &mut wanted.state.addresses {
            address.last_ended = None;
            address.doubted_since = None;
        }
        assert_eq!(decode(&version_1), Ok(wanted));
    }

    #[test]
    fn rule_22_a_newer_version_is_refused_by_its_own_error() {
        let mut newer = encode(&contents());
        let found = VERSION + 1;
        newer[8..10].copy_from_slice(&found.to_le_bytes());
        assert_eq!(decode(&newer), Err(SnapshotError::Newer { found }));
    }
}
