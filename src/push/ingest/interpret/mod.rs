//! What the changes of a push mean: reports of addresses, and parts of directories.
//!
//! Pure. Names pass through [`Name::new`], addresses become canonical (rule 1), times are never later than now (rule 5).
//! What is over a bound, or said twice, is refused with its place, and nothing of that push is applied: a Collector that
//! is wrong once is wrong every time, and its operator must see where. Whether a Collector may speak for what it says is
//! the table's to judge.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::registry::cleaned;
use crate::identity::address::canonical;
use crate::identity::collector::{self, AddressReport, ToldFact, ToldSubject};
use crate::identity::directory::{DirectoryObject, DomainFacts, ObjectId, ObjectKind, Sid};
use crate::identity::name::{Name, NameKey};
use crate::identity::time::UtcMillis;
use crate::push::shape::{
    self, Change, FactKind, MAX_DIRECTORY_NAME, MAX_FACTS, MAX_GROUPS, MAX_SUFFIXES, Totals,
};

/// Longest record, in bytes.
const MAX_RECORD: usize = 128;
/// Longest security identifier: `S-1-`, a 48-bit authority and 15 parts of 32 bits, in bytes.
const MAX_SID: usize = 186;

/// What a push says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Of addresses, each once.
    pub(super) reports: Vec<AddressReport>,
    /// Of directories, each once for each domain.
    pub(super) directories: BTreeMap<DirectoryKey, DirectoryPart>,
    /// How much of what.
    pub(super) counts: Totals,
}

/// A directory of a Collector, and a domain that it serves; folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirectoryKey {
    /// Its name at the Collector.
    pub(super) directory: String,
    /// DNS name.
    pub(super) domain: NameKey,
}

/// What a push says of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirectoryPart {
    /// The domain as it is written.
    pub(super) domain: Name,
    /// What the domain is called.
    pub(super) facts: Option<DomainFacts>,
    /// New and changed objects.
    pub(super) upserts: Vec<DirectoryObject>,
    /// Objects that are gone.
    pub(super) removed: Vec<ObjectId>,
}

impl DirectoryPart {
    /// Whether it tells something; what is only gone may be of a domain that the directory served before.
    pub(super) fn tells(&self) -> bool {
        self.facts.is_some() || !self.upserts.is_empty()
    }
}

/// Where in the push something is wrong, and what.
type Wrong = String;

/// Gives the changes their meaning.
///
/// # Errors
/// The place of what is wrong, and what.
pub(super) fn interpret(changes: Vec<Change>, now: UtcMillis) -> Result<Told, Wrong> {
    let mut reading = Reading {
        told: Told::default(),
        addresses: HashSet::new(),
        objects: HashSet::new(),
        domains: HashMap::new(),
        now,
    };
    for (number, change) in changes.into_iter().enumerate() {
        let taken = reading.take(change);
        taken.map_err(|wrong| format!("changes[{number}].{wrong}"))?;
    }
    Ok(reading.told)
}

struct Reading {
    told: Told,
    addresses: HashSet<IpAddr>,
    objects: HashSet<(DirectoryKey, ObjectId)>,
    /// By directory.
    domains: HashMap<String, NameKey>,
    now: UtcMillis,
}

impl Reading {
    fn take(&mut self, change: Change) -> Result<(), Wrong> {
        self.told.counts.count(&change);
        match change {
            Change::Address(address) => self.address(address),
            Change::Domain(domain) => self.domain(&domain),
            Change::Object(object) => self.object(object),
            Change::Gone(gone) => {
                let (key, id) = self.once(&gone.directory, &gone.domain, &gone.id)?;
                self.part(&key, &gone.domain)?.removed.push(id);
                Ok(())
            }
        }
    }

    fn address(&mut self, told: shape::Address) -> Result<(), Wrong> {
        let address = canonical(told.address);
        if !self.addresses.insert(address) {
            return Err("ip: the address is there twice".into());
        }
        let report = AddressReport {
            address,
            user: facts("user", told.user, self.now)?,
            device: facts("device", told.device, self.now)?,
        };
        self.told.reports.push(report);
        Ok(())
    }

    fn domain(&mut self, told: &shape::Domain) -> Result<(), Wrong> {
        if told.upn_suffixes.len() > MAX_SUFFIXES {
            return Err(format!("upn_suffixes: more than {MAX_SUFFIXES}"));
        }
        let facts = DomainFacts {
            netbios: maybe("netbios", told.netbios.as_deref())?,
            upn_suffixes: names("upn_suffixes", &told.upn_suffixes)?,
        };
        let key = key(&told.directory, &told.domain)?;
        self.serves(&key)?;
        self.part(&key, &told.domain)?.facts = Some(facts);
        Ok(())
    }

    fn object(&mut self, told: shape::Object) -> Result<(), Wrong> {
        let (key, id) = self.once(&told.directory, &told.domain, &told.id)?;
        self.serves(&key)?;
        let primary_group = sid("primary_group", told.primary_group.as_deref())?;
        let kind = match told.kind {
            shape::ObjectKind::User { upn, enabled } => ObjectKind::User {
                upn: maybe("upn", upn.as_deref())?,
                enabled,
                primary_group,
            },
            shape::ObjectKind::Device {
                dns_name,
                os,
                os_version,
            } => ObjectKind::Device {
                dns_name: maybe("dns_name", dns_name.as_deref())?,
                os: maybe("os", os.as_deref())?,
                os_version: maybe("os_version", os_version.as_deref())?,
                primary_group,
            },
            shape::ObjectKind::Group { members } => {
                let all = members.iter().enumerate();
                let read = all.map(|(at, text)| object_id(text, || format!("members[{at}]")));
                let members = read.collect::<Result<_, _>>()?;
                ObjectKind::Group { members }
            }
        };
        let object = DirectoryObject {
            id,
            sid: sid("sid", told.sid.as_deref())?,
            name: name("name", &told.name)?,
            kind,
        };
        self.part(&key, &told.domain)?.upserts.push(object);
        Ok(())
    }

    /// A directory serves one domain: by which else it would be judged who may tell of the other?
    fn serves(&mut self, key: &DirectoryKey) -> Result<(), Wrong> {
        let served = self.domains.entry(key.directory.clone());
        if *served.or_insert_with(|| key.domain.clone()) == key.domain {
            return Ok(());
        }
        Err("domain: the directory serves another".into())
    }

    /// Which object of which directory it is, if the push has not spoken of it yet.
    fn once(
        &mut self,
        directory: &str,
        domain: &str,
        id: &str,
    ) -> Result<(DirectoryKey, ObjectId), Wrong> {
        let key = key(directory, domain)?;
        let id = object_id(id, || "id".to_owned())?;
        if !self.objects.insert((key.clone(), id)) {
            return Err("id: the object is there twice".into());
        }
        Ok((key, id))
    }

    fn part(&mut self, key: &DirectoryKey, domain: &str) -> Result<&mut DirectoryPart, Wrong> {
        let domain = name("domain", domain)?;
        let part = self.told.directories.entry(key.clone());
        Ok(part.or_insert(DirectoryPart {
            domain,
            facts: None,
            upserts: Vec::new(),
            removed: Vec::new(),
        }))
    }
}

fn facts(slot: &str, told: Vec<shape::Fact>, now: UtcMillis) -> Result<Vec<ToldFact>, Wrong> {
    if told.len() > MAX_FACTS {
        return Err(format!("{slot}: more than {MAX_FACTS} facts"));
    }
    let all = told.into_iter().enumerate();
    all.map(|(number, told)| fact(told, now).map_err(|wrong| format!("{slot}[{number}].{wrong}")))
        .collect()
}

fn fact(told: shape::Fact, now: UtcMillis) -> Result<ToldFact, Wrong> {
    let kind = kind(told.kind);
    let of_whoever = matches!(
        kind,
        collector::FactKind::AllLeft | collector::FactKind::Closed
    );
    let subject = match (&told.name, &told.domain) {
        (Some(who), Some(domain)) => Some(ToldSubject {
            name: name("name", who)?,
            domain: name("domain", domain)?,
            by_upn: told.upn,
        }),
        (Some(_), None) => return Err("domain: a name needs its domain".into()),
        (None, _) if of_whoever => None,
        (None, _) => return Err("name: the fact speaks of nobody".into()),
    };
    if told.groups.len() > MAX_GROUPS {
        return Err(format!("groups: more than {MAX_GROUPS}"));
    }
    let received_at = clamped(told.heard, now);
    let at = clamped(told.at, received_at);
    let asserts = told.groups_at.is_some() || !told.groups.is_empty();
    let groups_at = told.groups_at.map_or(at, |when| clamped(when, now));
    let groups = asserts
        .then(|| Ok::<_, Wrong>((groups_at, names("groups", &told.groups)?)))
        .transpose()?;
    Ok(ToldFact {
        kind,
        at,
        received_at,
        subject,
        producer: name("producer", &told.producer)?.as_str().into(),
        record: cleaned(&told.record, MAX_RECORD).into(),
        groups,
    })
}

fn kind(told: FactKind) -> collector::FactKind {
    match told {
        FactKind::Strong => collector::FactKind::Strong,
        FactKind::Weak => collector::FactKind::Weak,
        FactKind::Seen => collector::FactKind::Seen,
        FactKind::Carried => collector::FactKind::Carried,
        FactKind::Left => collector::FactKind::Left,
        FactKind::AllLeft => collector::FactKind::AllLeft,
        FactKind::Expired => collector::FactKind::Expired,
        FactKind::Closed => collector::FactKind::Closed,
    }
}

/// A time that is neither before 1970 nor later than `latest`.
fn clamped(millis: i64, latest: UtcMillis) -> UtcMillis {
    UtcMillis(millis.clamp(0, latest.0.max(0)))
}

fn name(what: &str, text: &str) -> Result<Name, Wrong> {
    Name::new(text).map_err(|why| format!("{what}: {why}"))
}

fn maybe(what: &str, text: Option<&str>) -> Result<Option<Name>, Wrong> {
    text.map(|text| name(what, text)).transpose()
}

fn names(what: &str, texts: &[String]) -> Result<Vec<Name>, Wrong> {
    let all = texts.iter().enumerate();
    all.map(|(number, text)| name(&format!("{what}[{number}]"), text))
        .collect()
}

fn key(directory: &str, domain: &str) -> Result<DirectoryKey, Wrong> {
    let directory = name("directory", directory)?;
    if directory.as_str().len() > MAX_DIRECTORY_NAME {
        let most = MAX_DIRECTORY_NAME;
        return Err(format!("directory: longer than {most} bytes"));
    }
    Ok(DirectoryKey {
        directory: directory.key().as_str().to_owned(),
        domain: name("domain", domain)?.key(),
    })
}

fn object_id(text: &str, what: impl FnOnce() -> String) -> Result<ObjectId, Wrong> {
    let decoded = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let id = decoded.and_then(|bytes| bytes.try_into().ok());
    id.map(ObjectId)
        .ok_or_else(|| format!("{}: not 16 bytes in hexadecimal", what()))
}

fn sid(what: &str, text: Option<&str>) -> Result<Option<Sid>, Wrong> {
    let Some(text) = text else { return Ok(None) };
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = text.strip_prefix("S-");
    if text.len() > MAX_SID || !parts.is_some_and(|parts| parts.split('-').all(is_part)) {
        return Err(format!("{what}: no security identifier"));
    }
    Ok(Some(text.into()))
}

#[cfg(test)]
mod tests;
