//! What the rows of a segment hold, both ways; the description is at the room's door ([`super`]).
//!
//! Pure: no files, no clock. The types that are written are this file's own, so that the table's may change; a change of
//! what is written here is a new version of the format.

mod address;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use self::address::AddressRow;
use super::SnapshotError;
use super::row::{Kind, Payload};
use crate::access::TokenRecord;
use crate::identity::changes::{Change, Changes, Instant, SiteState};
use crate::identity::directory::{DirectoryObject, DomainFacts, ObjectId, ObjectKind};
use crate::identity::heard::{Hearer, LineId};
use crate::identity::name::Name;
use crate::identity::state::{
    AddressState, GoneState, LineState, ObjectState, ReadingState, SubjectKind, SubjectState,
};
use crate::identity::time::UtcMillis;
use crate::identity::view::{Epoch, Seq};

type Bytes16 = [u8; 16];
type Text<'a> = &'a str;

/// The rows of what the core told.
pub(super) fn write(payload: &mut Payload, changes: &Changes) {
    for change in &changes.list {
        match change {
            Change::Subject(place, subject) => {
                let row = subject.as_ref().map(SubjectRow::from);
                payload.put(Kind::Subject, &place.to_le_bytes(), row.as_ref());
            }
            Change::Object(place, object) => {
                let row = object.as_ref().map(ObjectRow::from);
                payload.put(Kind::Object, &place.to_le_bytes(), row.as_ref());
            }
            Change::Address(place, address) => {
                let row = address.as_ref().map(AddressRow::from);
                payload.put(Kind::Address, &place.to_le_bytes(), row.as_ref());
            }
            Change::Bookmark(key, value) => {
                payload.put(Kind::Bookmark, key.as_bytes(), Some(value));
            }
            Change::Mark(at, seq) => {
                let seq = seq.map(|seq| seq.0);
                payload.put(Kind::Mark, &at.0.to_le_bytes(), seq.as_ref());
            }
            Change::Gone(seq, gone) => {
                let row = gone.as_ref().map(GoneRow::from);
                payload.put(Kind::Gone, &seq.0.to_le_bytes(), row.as_ref());
            }
            Change::Line(place, line) => {
                let row: Option<Vec<(u64, u32)>> = line.as_ref().map(|line| {
                    let counts = line.counts.iter();
                    counts.map(|(hearer, count)| (hearer.0, *count)).collect()
                });
                payload.put(Kind::Line, &line_key(*place), row.as_ref());
            }
            Change::Site(site) => {
                payload.put(Kind::Site, &[], Some(&SiteRow::from(&**site)));
            }
        }
    }
    if let Some(instant) = &changes.instant {
        write_instant(payload, instant, false);
    }
}

/// The row that makes everything before it a table.
pub(super) fn write_instant(payload: &mut Payload, instant: &Instant, clean: bool) {
    let row = InstantRow {
        epoch: instant.epoch.0,
        last_seq: instant.last_seq.0,
        floor: instant.floor.0,
        now: instant.now.map(|at| at.0),
        jumped_to: instant.jumped_to.map(|at| at.0),
        feed_last: instant.feed_last.0,
        feed_floor: instant.feed_floor.0,
        clean,
    };
    payload.put(Kind::Instant, &[], Some(&row));
}

/// The row of all access tokens.
pub(super) fn write_tokens(payload: &mut Payload, tokens: &[TokenRecord]) {
    let row: Vec<_> = (tokens.iter())
        .map(|token| (token.hash, token.client.as_str(), token.expires.0))
        .collect();
    payload.put(Kind::Tokens, &[], Some(&row));
}

fn read<'a, T: Deserialize<'a>>(value: &'a [u8], what: &'static str) -> Result<T, SnapshotError> {
    match postcard::take_from_bytes(value) {
        Ok((row, [])) => Ok(row),
        Ok(_) | Err(_) => Err(SnapshotError::Content { what }),
    }
}

pub(super) fn read_subject(value: &[u8]) -> Result<SubjectState, SnapshotError> {
    Ok(read::<SubjectRow<'_>>(value, "a user or device")?.state())
}

pub(super) fn read_object(value: &[u8]) -> Result<ObjectState, SnapshotError> {
    read::<ObjectRow<'_>>(value, "an object of a directory")?.state()
}

pub(super) fn read_address(value: &[u8]) -> Result<AddressState, SnapshotError> {
    read::<AddressRow<'_>>(value, "an address")?.state()
}

pub(super) fn read_bookmark(value: &[u8]) -> Result<Box<[u8]>, SnapshotError> {
    read(value, "a position")
}

pub(super) fn read_mark(value: &[u8]) -> Result<Seq, SnapshotError> {
    Ok(Seq(read(value, "a mark of the journal")?))
}

pub(super) fn read_gone(seq: Seq, value: &[u8]) -> Result<GoneState, SnapshotError> {
    let row: GoneRow<'_> = read(value, "an object that is gone")?;
    Ok(GoneState {
        seq,
        directory: row.directory.into(),
        domain: row.domain.into(),
        id: ObjectId(row.id),
    })
}

fn line_key((first, line): (UtcMillis, LineId)) -> [u8; 16] {
    let mut key = [0; 16];
    let (low, high) = key.split_at_mut(8);
    low.copy_from_slice(&first.0.to_le_bytes());
    high.copy_from_slice(&line.0.to_le_bytes());
    key
}

/// When a line was first heard, and which it is.
pub(super) fn read_line_key(key: &[u8]) -> Result<(UtcMillis, LineId), SnapshotError> {
    let halves = key.split_at_checked(8).and_then(|(first, line)| {
        let first = i64::from_le_bytes(first.try_into().ok()?);
        let line = u64::from_le_bytes(line.try_into().ok()?);
        Some((UtcMillis(first), LineId(line)))
    });
    halves.ok_or(SnapshotError::Content { what: "a key" })
}

pub(super) fn read_line(
    (first, line): (UtcMillis, LineId),
    value: &[u8],
) -> Result<LineState, SnapshotError> {
    let counts: Vec<(u64, u32)> = read(value, "a line that was heard")?;
    let counts = counts.into_iter();
    Ok(LineState {
        line,
        first,
        counts: counts.map(|(by, count)| (Hearer(by), count)).collect(),
    })
}

pub(super) fn read_site(value: &[u8]) -> Result<SiteState, SnapshotError> {
    read::<SiteRow<'_>>(value, "domains and producers")?.state()
}

/// An instant, and whether it was the end of a clean stop.
pub(super) fn read_instant(value: &[u8]) -> Result<(Instant, bool), SnapshotError> {
    let row: InstantRow = read(value, "an instant")?;
    let instant = Instant {
        epoch: Epoch(row.epoch),
        last_seq: Seq(row.last_seq),
        floor: Seq(row.floor),
        now: row.now.map(UtcMillis),
        jumped_to: row.jumped_to.map(UtcMillis),
        feed_last: Seq(row.feed_last),
        feed_floor: Seq(row.feed_floor),
    };
    Ok((instant, row.clean))
}

pub(super) fn read_tokens(value: &[u8]) -> Result<Vec<TokenRecord>, SnapshotError> {
    let rows: Vec<([u8; 32], Text<'_>, i64)> = read(value, "access tokens")?;
    let rows = rows.into_iter().map(|(hash, client, expires)| TokenRecord {
        hash,
        client: client.into(),
        expires: UtcMillis(expires),
    });
    Ok(rows.collect())
}

#[derive(Serialize, Deserialize)]
struct InstantRow {
    epoch: u64,
    last_seq: u64,
    floor: u64,
    now: Option<i64>,
    jumped_to: Option<i64>,
    feed_last: u64,
    feed_floor: u64,
    clean: bool,
}

#[derive(Serialize, Deserialize)]
struct SiteRow<'a> {
    /// (domain, NetBIOS name, UPN suffixes)
    #[serde(borrow)]
    domains: Vec<(Text<'a>, Option<Text<'a>>, Vec<Text<'a>>)>,
    producers: Vec<Text<'a>>,
    readings: Vec<ReadingRow<'a>>,
    /// (Collector, not heard since)
    collectors: Vec<(Text<'a>, Option<i64>)>,
    /// (directory of a Collector, domain)
    told_domains: Vec<(Text<'a>, Text<'a>)>,
    /// (directory, place in the feed)
    feed_domains: Option<Vec<(Text<'a>, u64)>>,
}

#[derive(Serialize, Deserialize)]
struct ReadingRow<'a> {
    #[serde(borrow)]
    directory: Text<'a>,
    /// Removals that wait.
    held: Vec<Bytes16>,
    /// Spans of places that a full read has named.
    under_way: Option<Vec<(u32, u32)>>,
}

impl<'a> From<&'a ReadingState> for ReadingRow<'a> {
    fn from(reading: &'a ReadingState) -> Self {
        Self {
            directory: reading.directory.as_str(),
            held: reading.held.iter().map(|id| id.0).collect(),
            under_way: reading.under_way.clone(),
        }
    }
}

impl<'a> From<&'a SiteState> for SiteRow<'a> {
    fn from(site: &'a SiteState) -> Self {
        Self {
            domains: (site.domain_facts.iter())
                .map(|(domain, facts)| {
                    let suffixes = facts.upn_suffixes.iter().map(|s| s.as_str());
                    let netbios = facts.netbios.as_ref().map(|name| name.as_str());
                    (domain.as_str(), netbios, suffixes.collect())
                })
                .collect(),
            producers: site.producers.iter().map(|name| name.as_str()).collect(),
            readings: site.readings.iter().map(ReadingRow::from).collect(),
            collectors: (site.collectors.iter())
                .map(|(name, since)| (name.as_str(), since.map(|at| at.0)))
                .collect(),
            told_domains: (site.told_domains.iter())
                .map(|(directory, domain)| (directory.as_str(), domain.as_str()))
                .collect(),
            feed_domains: (site.feed_domains.as_ref()).map(|domains| {
                let domains = domains.iter();
                domains.map(|(name, seq)| (name.as_str(), seq.0)).collect()
            }),
        }
    }
}

impl SiteRow<'_> {
    fn state(self) -> Result<SiteState, SnapshotError> {
        let domains = self.domains.into_iter().map(|(domain, netbios, suffixes)| {
            let facts = DomainFacts {
                netbios: optional_name(netbios)?,
                upn_suffixes: suffixes.iter().map(|s| name(s)).collect::<Result<_, _>>()?,
            };
            Ok((domain.into(), facts))
        });
        let readings = self.readings.into_iter();
        let collectors = self.collectors.into_iter();
        let told = self.told_domains.into_iter();
        Ok(SiteState {
            domain_facts: domains.collect::<Result<_, SnapshotError>>()?,
            producers: self.producers.into_iter().map(Into::into).collect(),
            readings: readings
                .map(|reading| ReadingState {
                    directory: reading.directory.into(),
                    held: reading.held.into_iter().map(ObjectId).collect(),
                    under_way: reading.under_way,
                })
                .collect(),
            collectors: collectors
                .map(|(name, since)| (name.into(), since.map(UtcMillis)))
                .collect(),
            told_domains: told
                .map(|(directory, domain)| (directory.into(), domain.into()))
                .collect(),
            feed_domains: self.feed_domains.map(|domains| {
                let domains = domains.into_iter();
                domains.map(|(name, seq)| (name.into(), Seq(seq))).collect()
            }),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct GoneRow<'a> {
    #[serde(borrow)]
    directory: Text<'a>,
    #[serde(borrow)]
    domain: Text<'a>,
    id: Bytes16,
}

impl<'a> From<&'a GoneState> for GoneRow<'a> {
    fn from(gone: &'a GoneState) -> Self {
        Self {
            directory: gone.directory.as_str(),
            domain: gone.domain.as_str(),
            id: gone.id.0,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SubjectRow<'a> {
    is_device: bool,
    #[serde(borrow)]
    domain: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    object: Option<u32>,
    gone: bool,
    by_upn: bool,
}

impl<'a> From<&'a SubjectState> for SubjectRow<'a> {
    fn from(subject: &'a SubjectState) -> Self {
        Self {
            is_device: subject.kind == SubjectKind::Device,
            domain: subject.domain.as_str(),
            name: subject.name.as_str(),
            object: subject.object,
            gone: subject.gone,
            by_upn: subject.by_upn,
        }
    }
}

impl SubjectRow<'_> {
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

#[derive(Serialize, Deserialize)]
struct ObjectRow<'a> {
    id: Bytes16,
    #[serde(borrow)]
    sid: Option<Text<'a>>,
    #[serde(borrow)]
    name: Text<'a>,
    kind: KindRow<'a>,
    #[serde(borrow)]
    directory: Text<'a>,
    #[serde(borrow)]
    domain: Text<'a>,
    subject: Option<u32>,
    told: u64,
}

#[derive(Serialize, Deserialize)]
enum KindRow<'a> {
    User {
        #[serde(borrow)]
        upn: Option<Text<'a>>,
        enabled: bool,
        primary_group: Option<Text<'a>>,
    },
    Device {
        dns_name: Option<Text<'a>>,
        os: Option<Text<'a>>,
        os_version: Option<Text<'a>>,
        primary_group: Option<Text<'a>>,
    },
    Group {
        members: Vec<Bytes16>,
    },
}

impl<'a> From<&'a ObjectState> for ObjectRow<'a> {
    fn from(object: &'a ObjectState) -> Self {
        let is = &object.is;
        Self {
            id: is.id.0,
            sid: is.sid.as_ref().map(|sid| sid.as_str()),
            name: is.name.as_str(),
            kind: KindRow::from(&is.kind),
            directory: object.directory.as_str(),
            domain: object.domain.as_str(),
            subject: object.subject,
            told: object.told.0,
        }
    }
}

impl<'a> From<&'a ObjectKind> for KindRow<'a> {
    fn from(kind: &'a ObjectKind) -> Self {
        let text = |name: &'a Option<Name>| name.as_ref().map(|name| name.as_str());
        let sid = |sid: &'a Option<CompactString>| sid.as_ref().map(|sid| sid.as_str());
        match kind {
            ObjectKind::User {
                upn,
                enabled,
                primary_group,
            } => Self::User {
                upn: text(upn),
                enabled: *enabled,
                primary_group: sid(primary_group),
            },
            ObjectKind::Device {
                dns_name,
                os,
                os_version,
                primary_group,
            } => Self::Device {
                dns_name: text(dns_name),
                os: text(os),
                os_version: text(os_version),
                primary_group: sid(primary_group),
            },
            ObjectKind::Group { members } => Self::Group {
                members: members.iter().map(|id| id.0).collect(),
            },
        }
    }
}

impl ObjectRow<'_> {
    fn state(self) -> Result<ObjectState, SnapshotError> {
        Ok(ObjectState {
            is: DirectoryObject {
                id: ObjectId(self.id),
                sid: self.sid.map(Into::into),
                name: name(self.name)?,
                kind: self.kind.state()?,
            },
            directory: self.directory.into(),
            domain: self.domain.into(),
            subject: self.subject,
            told: Seq(self.told),
        })
    }
}

impl KindRow<'_> {
    fn state(self) -> Result<ObjectKind, SnapshotError> {
        Ok(match self {
            Self::User {
                upn,
                enabled,
                primary_group,
            } => ObjectKind::User {
                upn: optional_name(upn)?,
                enabled,
                primary_group: primary_group.map(Into::into),
            },
            Self::Device {
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
            Self::Group { members } => ObjectKind::Group {
                members: members.into_iter().map(ObjectId).collect(),
            },
        })
    }
}

fn name(text: &str) -> Result<Name, SnapshotError> {
    Name::new(text).map_err(|_| SnapshotError::Content { what: "a name" })
}

fn optional_name(text: Option<Text<'_>>) -> Result<Option<Name>, SnapshotError> {
    text.map(name).transpose()
}
