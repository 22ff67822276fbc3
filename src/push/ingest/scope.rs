//! What a Collector may speak for, as its operator wrote it (rule 12), and what the table makes of it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::identity::address::{Networks, canonical};
use crate::identity::name::{Name, NameKey};
use crate::identity::policy::{Globs, Scope};

/// Most networks, domains or globs of a scope.
const MAX_PARTS: usize = 256;

/// A scope as text; an empty list of networks or domains means all, of roles none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeText {
    /// Addresses or networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// DNS names of domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Globs of the groups that its sources may assert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl ScopeText {
    /// The same, with networks as they are compared.
    ///
    /// # Errors
    /// As [`ScopeText::to_scope`].
    pub(super) fn checked(mut self) -> Result<Self, String> {
        self.to_scope()?;
        for text in &mut self.networks {
            *text = network(text)?.to_string();
        }
        Ok(self)
    }

    /// What the table obeys.
    ///
    /// # Errors
    /// What is not understood, for people.
    pub fn to_scope(&self) -> Result<Scope, String> {
        let lists = [&self.networks, &self.domains, &self.roles];
        if lists.iter().any(|list| list.len() > MAX_PARTS) {
            return Err(format!("more than {MAX_PARTS} parts"));
        }
        let networks: Vec<IpNet> = self
            .networks
            .iter()
            .map(|text| network(text))
            .collect::<Result<_, _>>()?;
        let domain = |text: &String| Name::new(text).map_err(|why| format!("{text:?}: {why}"));
        let domains: Vec<Name> = self.domains.iter().map(domain).collect::<Result<_, _>>()?;
        let roles = Globs::new(self.roles.iter().map(String::as_str));
        Ok(Scope {
            networks: (!networks.is_empty()).then(|| Networks::new(networks)),
            domains: (!domains.is_empty()).then_some(domains),
            roles: roles.map_err(|why| why.to_string())?,
        })
    }

    /// Whether a directory of the domain, a folded DNS name, is within it (rule 12).
    pub(super) fn may_serve(&self, domain: &str) -> bool {
        let mut named = self.domains.iter();
        self.domains.is_empty() || named.any(|one| NameKey::fold(one).as_str() == domain)
    }
}

/// A network, or an address as one; mapped addresses are IPv4 (rule 1).
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(|ip| IpNet::from(canonical(ip)));
    let read = text.parse::<IpNet>().or_else(|_| address());
    let read = read.map_err(|_| format!("{text:?} is no address or network"))?;
    Ok(read.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn rule_12_a_scope_is_everything_unless_it_is_narrowed() {
        assert_eq!(ScopeText::default().to_scope(), Ok(Scope::default()));
        let narrow = ScopeText {
            networks: texts(&["10.1.0.0/16", "10.2.0.1"]),
            domains: texts(&["corp.example.com"]),
            roles: texts(&["VPN-*"]),
        };
        let scope = narrow.to_scope().expect("a scope");
        let networks = scope.networks.expect("networks");
        assert!(networks.contains("10.2.0.1".parse().expect("address")));
        assert!(!networks.contains("10.2.0.2".parse().expect("address")));
        assert!(scope.roles.matches("vpn-users"));
    }

    #[test]
    fn rule_1_networks_are_kept_as_they_are_compared() {
        let text = ScopeText {
            networks: texts(&["10.1.2.3/16", "::ffff:192.0.2.1"]),
            ..ScopeText::default()
        };
        let checked = text.checked().expect("a scope");
        assert_eq!(checked.networks, ["10.1.0.0/16", "192.0.2.1/32"]);
    }

    #[test]
    fn what_is_no_scope_is_said() {
        let wrong = ScopeText {
            networks: texts(&["10.1"]),
            ..ScopeText::default()
        };
        assert!(wrong.to_scope().is_err_and(|why| why.contains("10.1")));
        let many = ScopeText {
            domains: texts(&["a"; 257]),
            ..ScopeText::default()
        };
        assert!(many.to_scope().is_err());
        let forged = ScopeText {
            domains: texts(&["a\u{1b}b"]),
            ..ScopeText::default()
        };
        assert!(forged.to_scope().is_err());
        let no_glob = ScopeText {
            roles: texts(&["a["]),
            ..ScopeText::default()
        };
        assert!(no_glob.to_scope().is_err());
    }
}
