//! From whom a domain's directory data come (rule 27), and what else decides which words of a Collector are taken.
//!
//! The Server's own directory first; else the Collector that was onboarded first of those that serve the domain, may speak
//! for it, are not disabled and not disconnected for long. Pure.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use super::registry::{Collector, Registry};
use super::stream::Grounds;
use crate::identity::name::NameKey;
use crate::identity::policy::Policy;
use crate::identity::time::UtcMillis;

/// A Collector that is disconnected for longer leaves its domains to others.
pub(super) const LEAVES_AFTER: Duration = Duration::from_secs(600);

/// Whose a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder<'a> {
    /// The Server reads its directory itself.
    Own,
    /// A Collector's.
    Collector(&'a str),
    /// Nobody's.
    Nobody,
}

/// Whose the domain is; `silent_since` tells since when a Collector is disconnected.
pub(super) fn holder<'a>(
    domain: &str,
    registry: &'a Registry,
    policy: &Policy,
    silent_since: impl Fn(&str) -> Option<UtcMillis>,
    now: UtcMillis,
) -> Holder<'a> {
    if is_own(domain, policy) {
        return Holder::Own;
    }
    let serves = |one: &&Collector| {
        one.scope.may_serve(domain) && one.directories.iter().any(|served| served.domain == domain)
    };
    let is_there = |one: &&Collector| {
        one.enabled && silent_since(&one.name).is_none_or(|since| now.since(since) <= LEAVES_AFTER)
    };
    let mut all = registry.collectors().iter().filter(serves);
    let first = all.find(is_there);
    first.map_or(Holder::Nobody, |one| Holder::Collector(&one.name))
}

/// Whether the Server reads the domain's directory itself.
pub(super) fn is_own(domain: &str, policy: &Policy) -> bool {
    let mut own = policy.directories.iter();
    own.any(|(_, served)| served.key().as_str() == domain)
}

/// On what it is decided now what is taken of the Collector.
pub(super) fn grounds(
    collector: &Collector,
    registry: &Registry,
    policy: &Policy,
    silent_since: impl Fn(&str) -> Option<UtcMillis>,
    now: UtcMillis,
) -> Grounds {
    let mut grounds = Grounds {
        policy: over_policy(collector, policy),
        ..Grounds::default()
    };
    for served in &collector.directories {
        let holder = holder(&served.domain, registry, policy, &silent_since, now);
        if holder != Holder::Collector(&collector.name) {
            grounds.denied.insert(over_domain(&served.domain));
        }
    }
    grounds
}

/// The hash of a domain.
pub(super) fn over_domain(domain: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    NameKey::fold(domain).as_str().hash(&mut hasher);
    hasher.finish()
}

/// Over everything of the policy that leaves words of a Collector out, and the domains that the Server reads itself: what a
/// Collector told of those goes with its next pass. Another version of jims may write it otherwise; a
/// Collector that starts over for nothing costs little.
fn over_policy(collector: &Collector, policy: &Policy) -> u64 {
    let mut hasher = DefaultHasher::new();
    let own = policy.directories.iter().map(|(_, domain)| domain.key());
    let own: BTreeSet<NameKey> = own.collect();
    let text = format!(
        "{:?} {:?} {:?} {own:?}",
        policy.filter, policy.domains, collector.scope
    );
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::registry::{DEFAULT_EXPIRY, Served, hash};
    use super::super::scope::ScopeText;
    use super::*;
    use crate::identity::name::Name;
    use crate::push::shape::{Introduction, Onboard};

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);
    const CORP: &str = "corp.example.com";

    /// Collectors in the order of onboarding, all of which serve one domain.
    fn registry(names: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for name in names {
            let code = format!("{:0>32}", registry.collectors().len());
            let scope = ScopeText::default();
            let invited = registry.invite(name, hash(&code), DEFAULT_EXPIRY, scope, NOW);
            invited.expect("a good invitation");
            let asked = Onboard {
                protocol: 1,
                invitation: code,
                client_id: format!("collector-{name}"),
                client_secret: "x".repeat(64),
                collector: Introduction {
                    name: "a".into(),
                    version: "1".into(),
                    description: String::new(),
                },
                sent_at: 0,
            };
            let from = "192.0.2.1".parse().expect("address");
            let onboarded = registry.onboard(&asked, from, |_| false, NOW);
            onboarded.expect("onboarded");
            let served = Served {
                directory: "corp".into(),
                domain: CORP.into(),
                applied: false,
            };
            let changed = registry.change(name, |one| one.directories.push(served));
            changed.expect("it is there");
        }
        registry
    }

    fn held(registry: &Registry, silent: &[(&str, u64)]) -> String {
        let since = |name: &str| {
            let found = silent.iter().find(|(who, _)| *who == name);
            found.map(|(_, seconds)| NOW.before(Duration::from_secs(*seconds)))
        };
        match holder(CORP, registry, &Policy::default(), since, NOW) {
            Holder::Own => "own".into(),
            Holder::Collector(name) => name.into(),
            Holder::Nobody => String::new(),
        }
    }

    #[test]
    fn rule_27_the_first_onboarded_holds_a_domain_until_it_is_gone() {
        let mut registry = registry(&["zurich", "berlin"]);
        assert_eq!(held(&registry, &[]), "zurich");
        assert_eq!(held(&registry, &[("zurich", 600)]), "zurich");
        assert_eq!(held(&registry, &[("zurich", 601)]), "berlin");
        assert_eq!(held(&registry, &[("zurich", 601), ("berlin", 700)]), "");
        registry.enable("zurich", false).expect("it is there");
        assert_eq!(held(&registry, &[]), "berlin");
        registry.enable("zurich", true).expect("it is there");
        registry.remove("zurich").expect("it is there");
        assert_eq!(held(&registry, &[]), "berlin");
    }

    #[test]
    fn rule_27_the_servers_own_directory_comes_first() {
        let registry = registry(&["berlin"]);
        let name = |text: &str| Name::new(text).expect("name");
        let policy = Policy {
            directories: vec![(name("own"), name("CORP.example.com"))],
            ..Policy::default()
        };
        let holder = holder(CORP, &registry, &policy, |_| None, NOW);
        assert_eq!(holder, Holder::Own);
    }

    #[test]
    fn grounds_change_with_what_is_denied_and_with_the_scope() {
        let registry = registry(&["zurich", "berlin"]);
        let policy = Policy::default();
        let of = |name: &str| {
            let one = registry.collector(name).expect("it is there");
            grounds(one, &registry, &policy, |_| None, NOW)
        };
        assert!(of("zurich").denied.is_empty());
        let denied: Vec<_> = of("berlin").denied.into_iter().collect();
        assert_eq!(denied, [over_domain(CORP)]);
        let mut narrow = registry.collector("berlin").expect("it is there").clone();
        narrow.scope.networks.push("10.0.0.0/8".into());
        let narrowed = grounds(&narrow, &registry, &policy, |_| None, NOW);
        assert_ne!(narrowed.policy, of("berlin").policy);
    }
}
