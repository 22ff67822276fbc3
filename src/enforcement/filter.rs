//! What an enforcement point is told: its own filter and the request's, as one question for each address and user.
//!
//! Domains are given in any of their names and resolved when a pass begins, so the hash, which travels in the cookie,
//! changes when the meaning of a filter does. Groups are chosen here and never hide a session. Rendering is elsewhere.

use std::net::IpAddr;

use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::config::PointFilter;
use crate::identity::Core;
use crate::identity::address::Networks;
use crate::identity::name::NameKey;
use crate::identity::policy::Globs;

/// Most domains and most networks of each kind that a request may name.
pub const MAX_REQUEST_VALUES: usize = 256;

/// The filter that a request carries. An empty include means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// Only users and devices of these domains, in any of their names.
    pub domains: Vec<String>,
    /// Only these addresses.
    pub include: Vec<IpNet>,
    /// Never these.
    pub exclude: Vec<IpNet>,
}

/// A point's own filter, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct OwnFilter {
    written: PointFilter,
    include: Networks,
    exclude: Networks,
    groups: Globs,
}

impl OwnFilter {
    /// Compiles what is configured.
    ///
    /// # Errors
    /// A group that is no glob.
    pub fn new(written: &PointFilter) -> Result<Self, globset::Error> {
        Ok(Self {
            include: Networks::new(written.include_addresses.iter().copied()),
            exclude: Networks::new(written.exclude_addresses.iter().copied()),
            groups: Globs::new(written.groups.iter().map(String::as_str))?,
            written: written.clone(),
        })
    }
}

/// Both filters, with domains resolved.
#[derive(Debug)]
pub struct FilterInForce<'a> {
    own: &'a OwnFilter,
    include: Networks,
    exclude: Networks,
    /// Resolved and folded; a user must be in each set that is not empty.
    domains: [Vec<NameKey>; 2],
}

impl<'a> FilterInForce<'a> {
    /// The filters of a point and of a request, with the domains that the table knows now.
    #[must_use]
    pub fn new(own: &'a OwnFilter, request: &RequestFilter, core: &Core) -> Self {
        let resolve = |name: &str| NameKey::fold(core.domain(name).unwrap_or(name));
        let own_domains = own.written.domains.iter().map(|d| resolve(d.as_str()));
        let request_domains = request.domains.iter().map(|d| resolve(d));
        Self {
            own,
            include: Networks::new(request.include.iter().copied()),
            exclude: Networks::new(request.exclude.iter().copied()),
            domains: [own_domains.collect(), request_domains.collect()],
        }
    }

    /// Whether the point is to hear of the address at all.
    #[must_use]
    pub fn holds_address(&self, address: IpAddr) -> bool {
        let included = |set: &Networks| set.is_empty() || set.contains(address);
        included(&self.own.include)
            && included(&self.include)
            && !self.own.exclude.contains(address)
            && !self.exclude.contains(address)
    }

    /// Whether the point is to hear of users and devices of the domain (its DNS name).
    #[must_use]
    pub fn holds_domain(&self, domain: &str) -> bool {
        if self.domains.iter().all(Vec::is_empty) {
            return true;
        }
        let key = NameKey::fold(domain);
        self.domains
            .iter()
            .all(|set| set.is_empty() || set.contains(&key))
    }

    /// Whether the group may appear in `roles` (rule 19).
    #[must_use]
    pub fn shows_role(&self, role: &str) -> bool {
        self.own.groups.is_empty() || self.own.groups.matches(role)
    }

    /// Identifies the filters in force; equal filters in another order have the same hash (rule 18). Each call makes it
    /// anew.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let networks = |set: &Networks| sorted(set.as_slice().iter().map(IpNet::to_string));
        let domains = |set: &[NameKey]| sorted(set.iter().map(|key| key.as_str().to_owned()));
        let groups = self.own.written.groups.iter().map(|g| g.to_lowercase());
        let parts = [
            networks(&self.own.include),
            networks(&self.own.exclude),
            networks(&self.include),
            networks(&self.exclude),
            domains(&self.domains[0]),
            domains(&self.domains[1]),
            sorted(groups),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            for text in part {
                // A length before each text, so that two lists cannot run into one.
                hash.update((text.len() as u64).to_be_bytes());
                hash.update(text);
            }
            hash.update([0xff; 8]);
        }
        let digest: [u8; 32] = hash.finalize().into();
        u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default())
    }
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut list: Vec<String> = texts.collect();
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::name::Name;
    use crate::identity::policy::Policy;
    use crate::identity::view::Epoch;

    fn core() -> Core {
        Core::new(Epoch(1), Policy::default())
    }

    fn own(written: PointFilter) -> OwnFilter {
        OwnFilter::new(&written).unwrap()
    }

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    #[test]
    fn an_empty_include_means_everything_and_an_exclude_wins() {
        let everything = OwnFilter::default();
        let filter = FilterInForce::new(&everything, &RequestFilter::default(), &core());
        assert!(filter.holds_address("10.1.1.1".parse().unwrap()));
        assert!(filter.holds_domain("anything"));
        assert!(filter.shows_role("anything"));

        let own = own(PointFilter {
            include_addresses: networks(&["10.0.0.0/8"]),
            ..PointFilter::default()
        });
        let request = RequestFilter {
            include: networks(&["10.1.0.0/16", "192.0.2.0/24"]),
            exclude: networks(&["10.1.9.0/24"]),
            ..RequestFilter::default()
        };
        let filter = FilterInForce::new(&own, &request, &core());
        let holds = |text: &str| filter.holds_address(text.parse().unwrap());
        assert!(holds("10.1.1.1"));
        assert!(holds("::ffff:10.1.1.1"));
        assert!(!holds("10.2.1.1"), "only the point includes it");
        assert!(!holds("192.0.2.1"), "only the request includes it");
        assert!(!holds("10.1.9.1"));
    }

    #[test]
    fn domains_of_point_and_request_must_both_agree_without_case() {
        let own = own(PointFilter {
            domains: vec![
                Name::new("Corp.Example.COM").unwrap(),
                Name::new("lab").unwrap(),
            ],
            ..PointFilter::default()
        });
        let request = RequestFilter {
            domains: vec!["corp.example.com".to_owned(), "other".to_owned()],
            ..RequestFilter::default()
        };
        let filter = FilterInForce::new(&own, &request, &core());
        assert!(filter.holds_domain("CORP.example.com"));
        assert!(!filter.holds_domain("lab"));
        assert!(!filter.holds_domain("other"));
    }

    #[test]
    fn rule_19_a_group_filter_chooses_roles() {
        let own = own(PointFilter {
            groups: vec!["vpn-*".to_owned()],
            ..PointFilter::default()
        });
        let filter = FilterInForce::new(&own, &RequestFilter::default(), &core());
        assert!(filter.shows_role("VPN-Users"));
        assert!(!filter.shows_role("Engineering"));
        assert!(filter.holds_domain("any"), "sessions stay");
    }

    #[test]
    fn rule_18_the_hash_tells_filters_apart_and_not_their_order() {
        let hash = |written: PointFilter, request: &RequestFilter| {
            FilterInForce::new(&own(written), request, &core()).hash()
        };
        let none = RequestFilter::default();
        let with = |include: &[&str], exclude: &[&str]| RequestFilter {
            include: networks(include),
            exclude: networks(exclude),
            ..RequestFilter::default()
        };
        let plain = || PointFilter::default();
        let (a, b) = ("10.0.0.0/8", "192.0.2.0/24");
        assert_eq!(
            hash(plain(), &with(&[a, b], &[])),
            hash(plain(), &with(&[b, a, a], &[]))
        );
        assert_ne!(
            hash(plain(), &with(&[a], &[])),
            hash(plain(), &with(&[], &[a]))
        );
        assert_ne!(hash(plain(), &none), hash(plain(), &with(&[a], &[])));
        let groups = PointFilter {
            groups: vec!["x".to_owned()],
            ..PointFilter::default()
        };
        assert_ne!(hash(plain(), &none), hash(groups, &none));
    }
}
