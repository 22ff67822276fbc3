//! Who the members are, and who holds which lease, as the bucket of keys says; pure.
//!
//! A member writes its own key again and again; one whose key has not changed for [`DEAD_AFTER`] counts as gone, by this
//! process's own steady clock. A lease belongs to a life of a member, and goes with it. Whoever takes one changes its key only
//! if nobody else has since: the key's new revision is the token that fences the holder before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often a member says that it is there.
pub const SPEAK_EVERY: Duration = Duration::from_secs(2);

/// A member that has not said so for this long counts as gone.
pub const DEAD_AFTER: Duration = Duration::from_secs(7);

/// Before a member's name in its key.
const MEMBER: &str = "member.";

/// Before a lease's name in its key.
const LEASE: &str = "lease.";

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberValue {
    /// Its name.
    pub name: String,
    /// Which life of it.
    pub life: u64,
    /// The version of jims.
    pub version: String,
    /// The version of messages that it reads.
    pub format: u8,
    /// What it does: `collector`, `server`.
    pub roles: Vec<String>,
    /// The last message of the stream that it has applied.
    pub applied: u64,
    /// When the stream took that message, in UTC milliseconds.
    pub applied_at: i64,
    /// Messages behind it, when it came.
    #[serde(default)]
    pub behind: u64,
    /// Of all messages up to that ([`super::order::Mark`]): another if one of them was another.
    #[serde(default)]
    pub digest: u64,
    /// Which stream that is ([`super::order::Order::stream`]).
    #[serde(default)]
    pub stream: u64,
    /// The last sequence of its table's journal after that message: the same in every member.
    #[serde(default)]
    pub journal: u64,
    /// What it is at.
    pub state: String,
    /// When it started, in UTC milliseconds.
    pub started: i64,
    /// Whether it has stopped in order.
    pub stopped: bool,
    /// When it says this, by its own clock, in UTC milliseconds; 0: it does not say.
    #[serde(default)]
    pub said: i64,
}

/// Who holds a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseValue {
    /// Its name.
    pub lease: String,
    /// The member; empty: nobody.
    pub holder: String,
    /// Which life of it.
    pub life: u64,
    /// Since when, in UTC milliseconds.
    pub since: i64,
}

/// A member as it is seen here.
#[derive(Clone, Debug)]
pub struct SeenMember {
    /// What it said last.
    pub value: MemberValue,
    /// When that changed last.
    pub heard: Instant,
    /// The key's revision.
    revision: u64,
}

/// A lease as it is seen here.
#[derive(Clone, Debug)]
pub struct SeenLease {
    /// What its key says.
    pub value: LeaseValue,
    /// The key's revision.
    pub revision: u64,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    members: BTreeMap<String, SeenMember>,
    leases: BTreeMap<String, SeenLease>,
    /// Leases that somebody here would hold and nobody holds, and since when.
    vacant: BTreeMap<Arc<str>, Instant>,
}

/// The key of a member or lease: names may hold characters that keys may not.
fn key(kind: &str, name: &str) -> String {
    format!("{kind}{}", token(name))
}

/// A name as one part of a subject or key: RFC 4648, base 32 with the extended hex alphabet, without padding.
#[must_use]
pub fn token(name: &str) -> String {
    data_encoding::BASE32HEX_NOPAD.encode(name.as_bytes())
}

/// The key of a member.
#[must_use]
pub fn member_key(name: &str) -> String {
    key(MEMBER, name)
}

/// The key of a lease.
#[must_use]
pub fn lease_key(name: &str) -> String {
    key(LEASE, name)
}

impl Roster {
    /// Takes note of a key's change, seen now. What cannot be read is as if it had not been written.
    pub fn note(&mut self, key: &str, value: Option<&[u8]>, revision: u64, now: Instant) {
        if key.starts_with(MEMBER) && value.is_none() {
            // An operator forgot it.
            self.members.retain(|name, _| member_key(name) != key);
        } else if key.starts_with(MEMBER) {
            let value = value.and_then(|value| serde_json::from_slice::<MemberValue>(value).ok());
            if let Some(value) = value.filter(|value| member_key(&value.name) == key) {
                // What is told again, because the watching began anew, is no sign of life.
                let again = self.members.get(&value.name);
                let again = again.filter(|seen| seen.revision == revision);
                let seen = SeenMember {
                    heard: again.map_or(now, |seen| seen.heard),
                    revision,
                    value,
                };
                self.members.insert(seen.value.name.clone(), seen);
            }
        } else if key.starts_with(LEASE) && value.is_none() {
            let mut leases = self.leases.iter_mut();
            if let Some((_, seen)) = leases.find(|(name, _)| lease_key(name) == key) {
                (seen.value.holder, seen.revision) = (String::new(), revision);
            }
        } else if key.starts_with(LEASE) {
            let value = value.and_then(|value| serde_json::from_slice::<LeaseValue>(value).ok());
            if let Some(value) = value.filter(|value| lease_key(&value.lease) == key) {
                let seen = SeenLease { value, revision };
                self.leases.insert(seen.value.lease.clone(), seen);
            }
        }
    }

    /// All members that ever were and were not forgotten, by name.
    pub fn members(&self) -> impl Iterator<Item = &SeenMember> {
        self.members.values()
    }

    /// All leases that ever were, by name.
    pub fn leases(&self) -> impl Iterator<Item = &SeenLease> {
        self.leases.values()
    }

    /// A lease.
    #[must_use]
    pub fn lease(&self, name: &str) -> Option<&SeenLease> {
        self.leases.get(name)
    }

    /// Whether a member was heard lately.
    #[must_use]
    pub fn is_alive(&self, name: &str, now: Instant) -> bool {
        self.members.get(name).is_some_and(|member| {
            !member.value.stopped && now.saturating_duration_since(member.heard) < DEAD_AFTER
        })
    }

    /// Notes which of the wanted leases nobody holds now.
    pub fn note_vacant(&mut self, wanted: &BTreeSet<Arc<str>>, now: Instant) {
        let vacant = wanted.iter().filter(|l| self.free(l, now).is_some());
        self.vacant = vacant
            .map(|lease| {
                let since = self.vacant.get(lease).copied();
                (Arc::clone(lease), since.unwrap_or(now))
            })
            .collect();
    }

    /// Leases that were wanted when it was last looked at them and that nobody holds, and since when.
    pub fn vacant(&self) -> impl Iterator<Item = (&Arc<str>, Instant)> {
        self.vacant.iter().map(|(lease, since)| (lease, *since))
    }

    /// The revision at which somebody else may take a lease; `None`: its holder lives.
    #[must_use]
    pub fn free(&self, lease: &str, now: Instant) -> Option<u64> {
        let Some(seen) = self.leases.get(lease) else {
            return Some(0);
        };
        let holder = &seen.value;
        let same_life = self
            .members
            .get(&holder.holder)
            .is_some_and(|member| member.value.life == holder.life);
        let is_held = same_life && self.is_alive(&holder.holder, now);
        (!is_held).then_some(seen.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    fn member(name: &str, life: u64, stopped: bool) -> (String, Vec<u8>) {
        let value = MemberValue {
            name: name.to_owned(),
            life,
            stopped,
            ..MemberValue::default()
        };
        let bytes = serde_json::to_vec(&value).expect("JSON");
        (member_key(name), bytes)
    }

    fn lease(name: &str, holder: &str, life: u64) -> (String, Vec<u8>) {
        let value = LeaseValue {
            lease: name.to_owned(),
            holder: holder.to_owned(),
            life,
            since: 0,
        };
        let bytes = serde_json::to_vec(&value).expect("JSON");
        (lease_key(name), bytes)
    }

    #[test]
    fn a_lease_goes_with_the_life_that_holds_it() {
        let mut roster = Roster::default();
        let start = clock::monotonic_now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut note = |(key, value): (String, Vec<u8>), revision, seconds| {
            roster.note(&key, Some(&value), revision, at(seconds));
            roster.clone()
        };
        assert_eq!(
            note(member("a", 1, false), 1, 0).free("dc1", at(0)),
            Some(0)
        );
        let held = note(lease("dc1", "a", 1), 2, 0);
        assert_eq!(held.free("dc1", at(6)), None);
        assert_eq!(held.free("dc1", at(7)), Some(2), "it is silent");
        assert_eq!(held.free("dc2", at(0)), Some(0));
        let still = note(member("a", 1, false), 3, 6);
        assert_eq!(still.free("dc1", at(12)), None);
        let another_life = note(member("a", 2, false), 4, 7);
        assert_eq!(another_life.free("dc1", at(7)), Some(2));
        note(lease("dc1", "a", 2), 5, 7);
        let stopped = note(member("a", 2, true), 6, 8);
        assert_eq!(stopped.free("dc1", at(8)), Some(5), "it stopped in order");
        let nobody = note(lease("dc1", "", 0), 7, 8);
        assert_eq!(nobody.free("dc1", at(8)), Some(7));
        roster.note(&lease_key("dc1"), None, 9, at(8));
        assert_eq!(roster.free("dc1", at(8)), Some(9), "an operator deleted it");
    }

    #[test]
    fn what_nobody_holds_is_vacant_since_it_was_first_seen_so() {
        let mut roster = Roster::default();
        let start = clock::monotonic_now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let wanted = ["dc1", "dc2"].map(Arc::from).into();
        let vacant = |roster: &Roster| -> Vec<(String, Duration)> {
            let vacant = roster.vacant();
            vacant
                .map(|(l, since)| (l.to_string(), since - start))
                .collect()
        };
        let (key, value) = member("a", 1, false);
        roster.note(&key, Some(&value), 1, at(0));
        let (key, value) = lease("dc1", "a", 1);
        roster.note(&key, Some(&value), 2, at(0));
        roster.note_vacant(&wanted, at(1));
        roster.note_vacant(&wanted, at(2));
        let one = |name: &str, seconds| (name.to_owned(), Duration::from_secs(seconds));
        assert_eq!(vacant(&roster), [one("dc2", 1)]);
        roster.note_vacant(&wanted, at(8));
        assert_eq!(
            vacant(&roster),
            [one("dc1", 8), one("dc2", 1)],
            "a is silent"
        );
        roster.note_vacant(&BTreeSet::new(), at(9));
        assert_eq!(vacant(&roster), []);
    }

    #[test]
    fn a_member_that_was_forgotten_is_gone_with_its_lease() {
        let mut roster = Roster::default();
        let now = clock::monotonic_now();
        for (revision, (key, value)) in (1..).zip([member("a", 1, false), lease("dc1", "a", 1)]) {
            roster.note(&key, Some(&value), revision, now);
        }
        roster.note(&member_key("a"), None, 3, now);
        assert_eq!(roster.members().count(), 0);
        assert_eq!(roster.free("dc1", now), Some(2));
    }

    #[test]
    fn keys_that_are_not_what_they_say_are_as_if_they_were_not_there() {
        let mut roster = Roster::default();
        let now = clock::monotonic_now();
        let (_, value) = member("a", 1, false);
        roster.note(&member_key("b"), Some(&value), 1, now);
        roster.note(&member_key("a"), Some(b"{"), 2, now);
        roster.note("other", Some(&value), 3, now);
        assert_eq!(roster.members().count(), 0);
    }
}
