//! What is said of a key of the feed: identity's words into those of [`crate::push::shape`]. Pure.

use std::fmt::Write as _;

use crate::identity::collector::{FactKind, FeedItem, ToldFact};
use crate::identity::directory::{DirectoryObject, ObjectId, ObjectKind};
use crate::identity::name::Name;
use crate::push::shape::{self, Change};

/// Most members of a group that are told, so that a push stays under its bounds whatever a directory holds: identities do
/// not compress.
const MAX_MEMBERS: usize = 400_000;

/// What is said of a key.
pub(super) fn change(item: &FeedItem<'_>) -> Change {
    match item {
        FeedItem::Address(report) => Change::Address(shape::Address {
            address: report.address,
            user: facts(&report.user),
            device: facts(&report.device),
        }),
        FeedItem::Domain {
            directory,
            domain,
            facts,
        } => Change::Domain(shape::Domain {
            directory: (*directory).to_owned(),
            domain: (*domain).to_owned(),
            netbios: text(facts.netbios.as_ref()),
            upn_suffixes: facts.upn_suffixes.iter().map(ToString::to_string).collect(),
        }),
        FeedItem::Object {
            directory,
            domain,
            is,
        } => Change::Object(object(directory, domain, is)),
        FeedItem::Gone {
            directory,
            domain,
            id,
        } => Change::Gone(shape::Gone {
            directory: (*directory).to_owned(),
            domain: (*domain).to_owned(),
            id: hex(*id),
        }),
    }
}

/// About how many bytes of JSON a change has.
pub(super) fn weight(change: &Change) -> usize {
    const FIXED: usize = 160;
    match change {
        Change::Address(address) => {
            let facts = address.user.iter().chain(&address.device);
            FIXED + facts.map(weight_of_fact).sum::<usize>()
        }
        Change::Domain(domain) => {
            let suffixes = domain.upn_suffixes.iter().map(|suffix| suffix.len() + 3);
            FIXED + domain.domain.len() + suffixes.sum::<usize>()
        }
        Change::Object(object) => {
            let members = match &object.kind {
                shape::ObjectKind::Group { members } => members.len() * 35,
                shape::ObjectKind::User { .. } | shape::ObjectKind::Device { .. } => 200,
            };
            FIXED + 150 + members
        }
        Change::Gone(_) => FIXED,
    }
}

fn weight_of_fact(fact: &shape::Fact) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let groups = fact.groups.iter().map(|group| group.len() + 3);
    let texts = length(&fact.name) + length(&fact.domain) + fact.producer.len() + fact.record.len();
    120 + texts + groups.sum::<usize>()
}

/// The newest are the last: they decide, so they stay where there are too many.
fn facts(told: &[ToldFact]) -> Vec<shape::Fact> {
    let beyond = told.len().saturating_sub(shape::MAX_FACTS);
    told.iter().skip(beyond).map(fact).collect()
}

fn fact(told: &ToldFact) -> shape::Fact {
    let subject = told.subject.as_ref();
    let (groups_at, groups) = match &told.groups {
        Some((at, groups)) => (Some(at.0), groups.iter().map(ToString::to_string).collect()),
        None => (None, Vec::new()),
    };
    shape::Fact {
        kind: kind(told.kind),
        at: told.at.0,
        heard: told.received_at.0,
        name: subject.map(|subject| subject.name.to_string()),
        domain: subject.map(|subject| subject.domain.to_string()),
        upn: subject.is_some_and(|subject| subject.by_upn),
        producer: told.producer.to_string(),
        record: told.record.to_string(),
        groups,
        groups_at,
    }
}

fn kind(kind: FactKind) -> shape::FactKind {
    match kind {
        FactKind::Strong => shape::FactKind::Strong,
        FactKind::Weak => shape::FactKind::Weak,
        FactKind::Seen => shape::FactKind::Seen,
        FactKind::Carried => shape::FactKind::Carried,
        FactKind::Left => shape::FactKind::Left,
        FactKind::AllLeft => shape::FactKind::AllLeft,
        FactKind::Expired => shape::FactKind::Expired,
        FactKind::Closed => shape::FactKind::Closed,
    }
}

fn object(directory: &str, domain: &str, is: &DirectoryObject) -> shape::Object {
    let (primary_group, kind) = match &is.kind {
        ObjectKind::User {
            upn,
            enabled,
            primary_group,
        } => (
            primary_group.as_ref(),
            shape::ObjectKind::User {
                upn: text(upn.as_ref()),
                enabled: *enabled,
            },
        ),
        ObjectKind::Device {
            dns_name,
            os,
            os_version,
            primary_group,
        } => (
            primary_group.as_ref(),
            shape::ObjectKind::Device {
                dns_name: text(dns_name.as_ref()),
                os: text(os.as_ref()),
                os_version: text(os_version.as_ref()),
            },
        ),
        ObjectKind::Group { members } => {
            let members = members.iter().take(MAX_MEMBERS).map(|id| hex(*id));
            let members = members.collect();
            (None, shape::ObjectKind::Group { members })
        }
    };
    shape::Object {
        directory: directory.to_owned(),
        domain: domain.to_owned(),
        id: hex(is.id),
        sid: is.sid.as_ref().map(ToString::to_string),
        name: is.name.to_string(),
        primary_group: primary_group.map(ToString::to_string),
        kind,
    }
}

fn text(name: Option<&Name>) -> Option<String> {
    name.map(ToString::to_string)
}

fn hex(id: ObjectId) -> String {
    let mut text = String::with_capacity(32);
    // Writing to a `String` cannot fail.
    let _ = write!(text, "{:032x}", u128::from_be_bytes(id.0));
    text
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::identity::collector::{AddressReport, ToldSubject};
    use crate::identity::directory::DomainFacts;
    use crate::identity::time::UtcMillis;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn told(at: i64) -> ToldFact {
        ToldFact {
            kind: FactKind::Strong,
            at: UtcMillis(at),
            received_at: UtcMillis(at + 5),
            subject: Some(ToldSubject {
                name: name("Alice"),
                domain: name("corp.example.com"),
                by_upn: false,
            }),
            producer: "dc1".into(),
            record: "4624/77".into(),
            groups: Some((UtcMillis(at), vec![name("VPN")])),
        }
    }

    fn address(facts: Vec<ToldFact>) -> FeedItem<'static> {
        FeedItem::Address(AddressReport {
            address: IpAddr::from([192, 0, 2, 7]),
            user: facts,
            device: Vec::new(),
        })
    }

    fn json(item: &FeedItem<'_>) -> serde_json::Value {
        serde_json::to_value(change(item)).expect("json")
    }

    #[test]
    fn an_address_is_told_whole() {
        let expected = serde_json::json!({
            "is": "address", "ip": "192.0.2.7",
            "user": [{
                "is": "strong", "at": 100, "heard": 105, "name": "Alice", "domain": "corp.example.com",
                "producer": "dc1", "record": "4624/77", "groups": ["VPN"], "groups_at": 100,
            }],
        });
        assert_eq!(json(&address(vec![told(100)])), expected);
        let nothing = serde_json::json!({ "is": "address", "ip": "192.0.2.7" });
        assert_eq!(json(&address(Vec::new())), nothing);
    }

    #[test]
    fn of_too_many_facts_the_newest_stay() {
        let many: i64 = 40;
        let Change::Address(told) = change(&address((0..many).map(told).collect())) else {
            panic!("an address");
        };
        assert_eq!(told.user.len(), shape::MAX_FACTS);
        assert_eq!(told.user.last().map(|fact| fact.at), Some(many - 1));
    }

    #[test]
    fn objects_keep_their_identity_and_their_members() {
        let id = |last: u8| {
            let mut bytes = [0; 16];
            bytes[15] = last;
            ObjectId(bytes)
        };
        let is = DirectoryObject {
            id: id(1),
            sid: Some("S-1-5-21-1".into()),
            name: name("Staff"),
            kind: ObjectKind::Group {
                members: vec![id(0xab)],
            },
        };
        let item = FeedItem::Object {
            directory: "corp",
            domain: "corp.example.com",
            is: &is,
        };
        let expected = serde_json::json!({
            "is": "object", "directory": "corp", "domain": "corp.example.com",
            "id": "00000000000000000000000000000001", "sid": "S-1-5-21-1", "name": "Staff",
            "kind": "group", "members": ["000000000000000000000000000000ab"],
        });
        assert_eq!(json(&item), expected);
        let facts = DomainFacts {
            netbios: Some(name("CORP")),
            upn_suffixes: Vec::new(),
        };
        let item = FeedItem::Domain {
            directory: "corp",
            domain: "corp.example.com",
            facts: &facts,
        };
        assert_eq!(json(&item)["netbios"], "CORP");
        let gone = FeedItem::Gone {
            directory: "corp",
            domain: "corp.example.com",
            id: id(2),
        };
        assert_eq!(json(&gone)["id"], "00000000000000000000000000000002");
    }

    #[test]
    fn a_weight_is_not_far_from_the_bytes() {
        for item in [address(Vec::new()), address((0..16).map(told).collect())] {
            let change = change(&item);
            let bytes = serde_json::to_vec(&change).expect("json").len();
            let weight = weight(&change);
            assert!(
                weight >= bytes && weight <= 2 * bytes + 200,
                "{weight} for {bytes}"
            );
        }
    }
}
