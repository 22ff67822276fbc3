//! The policy, as it is written: what all tables of a cluster obey.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::body::name;
use super::{ShapeError, malformed};
use crate::identity::address::Networks;
use crate::identity::name::Name;
use crate::identity::policy::{DomainPolicy, Filter, Globs, Policy, Scope};

/// As [`Policy`], without what is each process's own: whether it keeps a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyShape {
    logoff_ms: u64,
    follow_device: bool,
    shared_addresses: Vec<IpNet>,
    probe_networks: Vec<IpNet>,
    grace_ms: u64,
    domains: Vec<DomainShape>,
    directories: Vec<(String, String)>,
    scopes: Vec<(String, ScopeShape)>,
    feed: bool,
    filter: FilterShape,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DomainShape {
    name: String,
    netbios: Option<String>,
    aliases: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ScopeShape {
    networks: Option<Vec<IpNet>>,
    domains: Option<Vec<String>>,
    roles: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FilterShape {
    include_addresses: Vec<IpNet>,
    exclude_addresses: Vec<IpNet>,
    exclude_users: Vec<String>,
    exclude_devices: Vec<String>,
    exclude_groups: Vec<String>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn texts<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<String> {
    names.into_iter().map(|name| name.as_str().into()).collect()
}

fn names(texts: &[String]) -> Result<Vec<Name>, ShapeError> {
    texts.iter().map(|text| name(text)).collect()
}

fn networks(networks: &Networks) -> Vec<IpNet> {
    networks.as_slice().to_vec()
}

fn globs(patterns: &[String]) -> Result<Globs, ShapeError> {
    Globs::new(patterns.iter().map(String::as_str)).map_err(|_| malformed("a pattern"))
}

impl From<&Policy> for PolicyShape {
    fn from(policy: &Policy) -> Self {
        let filter = &policy.filter;
        let directories = policy.directories.iter();
        let scopes = policy.scopes.iter();
        Self {
            logoff_ms: millis(policy.logoff_time),
            follow_device: policy.follow_device,
            shared_addresses: networks(&policy.shared_addresses),
            probe_networks: networks(&policy.probe_networks),
            grace_ms: millis(policy.grace),
            domains: policy.domains.iter().map(DomainShape::from).collect(),
            directories: directories
                .map(|(name, domain)| (name.to_string(), domain.to_string()))
                .collect(),
            scopes: scopes
                .map(|(producer, scope)| (producer.to_string(), scope.into()))
                .collect(),
            feed: policy.feed,
            filter: FilterShape {
                include_addresses: networks(&filter.include_addresses),
                exclude_addresses: networks(&filter.exclude_addresses),
                exclude_users: filter.exclude_users.patterns().to_vec(),
                exclude_devices: filter.exclude_devices.patterns().to_vec(),
                exclude_groups: filter.exclude_groups.patterns().to_vec(),
            },
        }
    }
}

impl From<&DomainPolicy> for DomainShape {
    fn from(domain: &DomainPolicy) -> Self {
        Self {
            name: domain.name.to_string(),
            netbios: domain.netbios.as_ref().map(ToString::to_string),
            aliases: texts(&domain.aliases),
        }
    }
}

impl From<&Scope> for ScopeShape {
    fn from(scope: &Scope) -> Self {
        Self {
            networks: scope.networks.as_ref().map(networks),
            domains: scope.domains.as_ref().map(texts),
            roles: scope.roles.patterns().to_vec(),
        }
    }
}

impl DomainShape {
    fn domain(&self) -> Result<DomainPolicy, ShapeError> {
        Ok(DomainPolicy {
            name: name(&self.name)?,
            netbios: self.netbios.as_deref().map(name).transpose()?,
            aliases: names(&self.aliases)?,
        })
    }
}

impl ScopeShape {
    fn scope(&self) -> Result<Scope, ShapeError> {
        let networks = self.networks.as_ref();
        Ok(Scope {
            networks: networks.map(|networks| Networks::new(networks.iter().copied())),
            domains: self.domains.as_deref().map(names).transpose()?,
            roles: globs(&self.roles)?,
        })
    }
}

impl FilterShape {
    fn filter(&self) -> Result<Filter, ShapeError> {
        Ok(Filter {
            include_addresses: Networks::new(self.include_addresses.iter().copied()),
            exclude_addresses: Networks::new(self.exclude_addresses.iter().copied()),
            exclude_users: globs(&self.exclude_users)?,
            exclude_devices: globs(&self.exclude_devices)?,
            exclude_groups: globs(&self.exclude_groups)?,
        })
    }
}

impl PolicyShape {
    /// The logoff time in milliseconds.
    #[must_use]
    pub fn logoff_ms(&self) -> u64 {
        self.logoff_ms
    }

    /// Whether both say the same to a table; whether somebody is told everything is not among it, for that changes while
    /// members run.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let other = Self {
            feed: self.feed,
            ..other.clone()
        };
        *self == other
    }

    /// The bytes that are kept with the table.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads [`PolicyShape::encode`].
    ///
    /// # Errors
    /// These are no such bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ShapeError> {
        postcard::from_bytes(bytes).map_err(|_| malformed("the policy"))
    }

    /// The policy, of a process that keeps a `history` or not.
    ///
    /// # Errors
    /// It holds what no author can have meant.
    pub fn policy(&self, history: bool) -> Result<Policy, ShapeError> {
        let mut directories = Vec::with_capacity(self.directories.len());
        for (directory, domain) in &self.directories {
            directories.push((name(directory)?, name(domain)?));
        }
        let mut scopes = std::collections::BTreeMap::new();
        for (producer, scope) in &self.scopes {
            scopes.insert(producer.as_str().into(), scope.scope()?);
        }
        Ok(Policy {
            logoff_time: Duration::from_millis(self.logoff_ms),
            follow_device: self.follow_device,
            shared_addresses: Networks::new(self.shared_addresses.iter().copied()),
            probe_networks: Networks::new(self.probe_networks.iter().copied()),
            grace: Duration::from_millis(self.grace_ms),
            domains: self
                .domains
                .iter()
                .map(DomainShape::domain)
                .collect::<Result<_, _>>()?,
            directories,
            scopes,
            collectors: std::collections::BTreeMap::new(),
            feed: self.feed,
            history,
            filter: self.filter.filter()?,
        })
    }
}
