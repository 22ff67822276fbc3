//! The operator's decisions that the table obeys: logoff time, domains, scopes, filters.
//!
//! Built from the configuration and replaced whole at reload; pure data with pure questions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::address::Networks;
use super::collector::CollectorName;
use super::event::ProducerName;
use super::name::Name;

/// What the table obeys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long after its last evidence a session ends, 1 min to 24 h.
    pub logoff_time: Duration,
    /// A machine account's Kerberos evidence carries its user to a new address (rule 9).
    pub follow_device: bool,
    /// Where several users share an address: a device only, never a user, is reported.
    pub shared_addresses: Networks,
    /// Where computers can be asked who is signed on; empty: nowhere.
    pub probe_networks: Networks,
    /// How long an expired session may be kept while its computer is to be asked (rule 10).
    pub grace: Duration,
    /// Configured domains with their other names.
    pub domains: Vec<DomainPolicy>,
    /// Configured directories: (name, domain). Data of a directory that is not here leaves at once (rule 24).
    pub directories: Vec<(Name, Name)>,
    /// For each producer that is not a domain controller, what it may speak for (rule 12). A producer not named here
    /// may speak for everything except groups.
    pub scopes: BTreeMap<ProducerName, Scope>,
    /// Collectors that are heard, and what each may speak for (rule 27). What one that is not here told stays until it
    /// is taken back; its directories leave at once.
    pub collectors: BTreeMap<CollectorName, Scope>,
    /// Whether the order for those who are told everything is kept.
    pub feed: bool,
    /// Whether sessions that end are handed out ([`super::Core::take_ended`]).
    pub history: bool,
    /// What is left out of the table.
    pub filter: Filter,
}

/// Who says something; a producer and a Collector may have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker<'a> {
    /// A producer of this process.
    Producer(&'a str),
    /// A whole Collector.
    Collector(&'a str),
}

impl Policy {
    /// What the speaker may speak for; `None`: everything except groups.
    #[must_use]
    pub fn scope(&self, speaker: Speaker<'_>) -> Option<&Scope> {
        match speaker {
            Speaker::Producer(name) => self.scopes.get(name),
            Speaker::Collector(name) => self.collectors.get(name),
        }
    }
}

/// A domain and its other names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainPolicy {
    /// DNS name.
    pub name: Name,
    /// NetBIOS name, if configured; else the directory tells.
    pub netbios: Option<Name>,
    /// Other qualifiers that mean this domain.
    pub aliases: Vec<Name>,
}

/// What a producer may speak for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Addresses it may speak for; `None`: all.
    pub networks: Option<Networks>,
    /// Domains it may speak for; `None`: all.
    pub domains: Option<Vec<Name>>,
    /// Groups it may assert.
    pub roles: Globs,
}

/// What is left out of the table, system-wide. An empty include means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these addresses, if any are named.
    pub include_addresses: Networks,
    /// Never these.
    pub exclude_addresses: Networks,
    /// Matched against `user`, `DOMAIN\user` and UPN.
    pub exclude_users: Globs,
    /// Matched against `device` and `DOMAIN\device`.
    pub exclude_devices: Globs,
    /// Groups that never appear as roles.
    pub exclude_groups: Globs,
}

/// A set of case-insensitive globs (`*`, `?`). Two sets are equal if they were made of the same patterns.
#[derive(Clone, Default)]
pub struct Globs {
    patterns: Vec<String>,
    set: globset::GlobSet,
}

impl Globs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// The first pattern that is no glob, with the reason.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, globset::Error> {
        let mut set = globset::GlobSetBuilder::new();
        let mut kept = Vec::new();
        for pattern in patterns {
            kept.push(pattern.to_owned());
            set.add(
                globset::GlobBuilder::new(pattern)
                    .case_insensitive(true)
                    .backslash_escape(false)
                    .literal_separator(false)
                    .build()?,
            );
        }
        Ok(Self {
            patterns: kept,
            set: set.build()?,
        })
    }

    /// Whether one of the globs matches the text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        !self.set.is_empty() && self.set.is_match(text)
    }

    /// The first of the globs that matches the text, as it was given.
    #[must_use]
    pub fn first_match(&self, text: &str) -> Option<&str> {
        let first = self.set.matches(text).into_iter().min()?;
        self.patterns.get(first).map(String::as_str)
    }

    /// Whether there are no globs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The patterns, as given.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl PartialEq for Globs {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Globs {}

impl fmt::Debug for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.patterns).finish()
    }
}
