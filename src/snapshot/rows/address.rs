//! Rows of addresses: their slots and facts.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use compact_str::CompactString;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Text, name};
use crate::identity::event::LogonId;
use crate::identity::outcome::EndReason;
use crate::identity::state::{AddressState, Extra, FactKind, FactState, SlotState};
use crate::identity::time::UtcMillis;
use crate::identity::view::{LastEnded, Seq};
use crate::snapshot::SnapshotError;

#[derive(Serialize, Deserialize)]
pub(super) struct AddressRow<'a> {
    address: IpAddr,
    changed: u64,
    told: u64,
    empty_since: Option<i64>,
    reports_user: bool,
    user_ended_at: Option<i64>,
    doubted_since: Option<i64>,
    #[serde(borrow)]
    last_ended: Option<EndRow<'a>>,
    #[serde(borrow)]
    user: SlotRow<'a>,
    #[serde(borrow)]
    device: SlotRow<'a>,
}

#[derive(Serialize, Deserialize)]
struct EndRow<'a> {
    #[serde(borrow)]
    user: Text<'a>,
    at: i64,
    /// The word; `displaced` if somebody else was seen.
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    by: Text<'a>,
}

#[derive(Serialize, Deserialize)]
struct SlotRow<'a> {
    since: Option<i64>,
    #[serde(borrow)]
    facts: Facts<'a>,
}

/// The facts of a slot. Each is written and read by itself: a list of rows beside that of facts, made and thrown away a
/// million times, is a tenth of what reading a table costs.
struct Facts<'a>(Cow<'a, [FactState]>);

#[derive(Serialize, Deserialize)]
struct FactRow<'a> {
    kind: FactKindRow,
    at: i64,
    received_at: i64,
    #[serde(borrow)]
    record: Text<'a>,
    producer: u16,
    subject: Option<u32>,
    #[serde(borrow)]
    groups: Option<(i64, Vec<Text<'a>>)>,
    /// (computer, id)
    #[serde(borrow)]
    logon: Option<(Text<'a>, u64)>,
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

impl<'a> From<&'a AddressState> for AddressRow<'a> {
    fn from(address: &'a AddressState) -> Self {
        Self {
            address: address.address,
            changed: address.changed.0,
            told: address.told.0,
            empty_since: address.empty_since.map(|at| at.0),
            reports_user: address.reports_user,
            user_ended_at: address.user_ended_at.map(|at| at.0),
            doubted_since: address.doubted_since.map(|at| at.0),
            last_ended: address.last_ended.as_ref().map(|ended| EndRow {
                user: ended.user.as_str(),
                at: ended.at.0,
                reason: ended.word(),
                by: ended.by.as_str(),
            }),
            user: SlotRow::from(&address.user),
            device: SlotRow::from(&address.device),
        }
    }
}

impl<'a> From<&'a SlotState> for SlotRow<'a> {
    fn from(slot: &'a SlotState) -> Self {
        Self {
            since: slot.since.map(|at| at.0),
            facts: Facts(Cow::Borrowed(&slot.facts)),
        }
    }
}

impl<'a> From<&'a FactState> for FactRow<'a> {
    fn from(fact: &'a FactState) -> Self {
        let extra = fact.extra.as_deref();
        let groups = extra.and_then(|extra| extra.groups.as_ref());
        let logon = extra.and_then(|extra| extra.logon.as_ref());
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
            record: fact.record.as_str(),
            producer: fact.producer,
            subject: fact.subject,
            groups: groups.map(|(at, groups)| {
                let groups = groups.iter().map(CompactString::as_str);
                (at.0, groups.collect())
            }),
            logon: logon.map(|logon| (logon.computer.as_str(), logon.id)),
        }
    }
}

impl AddressRow<'_> {
    pub(super) fn state(self) -> Result<AddressState, SnapshotError> {
        Ok(AddressState {
            address: self.address,
            changed: Seq(self.changed),
            told: Seq(self.told),
            empty_since: self.empty_since.map(UtcMillis),
            reports_user: self.reports_user,
            user_ended_at: self.user_ended_at.map(UtcMillis),
            doubted_since: self.doubted_since.map(UtcMillis),
            last_ended: (self.last_ended.map(EndRow::state).transpose()?).map(Box::new),
            user: self.user.state(),
            device: self.device.state(),
        })
    }
}

impl EndRow<'_> {
    fn state(self) -> Result<LastEnded, SnapshotError> {
        let unknown = SnapshotError::Content { what: "a reason" };
        let reason = match self.reason {
            "displaced" => None,
            word => Some(EndReason::from_word(word).ok_or(unknown)?),
        };
        Ok(LastEnded {
            user: self.user.into(),
            at: UtcMillis(self.at),
            reason,
            by: self.by.into(),
        })
    }
}

impl SlotRow<'_> {
    fn state(self) -> SlotState {
        SlotState {
            since: self.since.map(UtcMillis),
            facts: self.facts.0.into_owned(),
        }
    }
}

impl Serialize for Facts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(FactRow::from))
    }
}

impl<'de> Deserialize<'de> for Facts<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(FactsVisitor)
            .map(|facts| Facts(Cow::Owned(facts)))
    }
}

struct FactsVisitor;

impl<'de> Visitor<'de> for FactsVisitor {
    type Value = Vec<FactState>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("facts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        // A number that cannot be true must not ask for all memory.
        let number = rows.size_hint().unwrap_or(0).min(MAX_RESERVED);
        let mut facts = Vec::with_capacity(number);
        while let Some(row) = rows.next_element::<FactRow<'de>>()? {
            facts.push(row.state().map_err(A::Error::custom)?);
        }
        Ok(facts)
    }
}

/// Room for facts that is made before they are read.
const MAX_RESERVED: usize = 16;

impl FactRow<'_> {
    fn state(self) -> Result<FactState, SnapshotError> {
        let logon = self.logon.map(|(computer, id)| {
            let computer = name(computer)?;
            Ok::<_, SnapshotError>(LogonId { computer, id })
        });
        let extra = Extra {
            groups: self.groups.map(|(at, groups)| {
                let groups = groups.into_iter().map(Into::into);
                (UtcMillis(at), groups.collect())
            }),
            logon: logon.transpose()?,
        };
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
            extra: (!extra.is_empty()).then(|| Box::new(extra)),
        })
    }
}
