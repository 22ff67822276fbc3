//! The configured clients: who calls from an address, whose client id it is, what each may do.
//!
//! A client is known by where it calls from *and* by its credential; a credential shown from elsewhere is worth nothing.
//! Only onboarded Collectors may call from anywhere; they are nobody's regular callers until they have shown theirs.
//! Secrets are kept as hashes and compared in constant time. Two may be valid together, so that a secret can be
//! changed on the other side without a gap.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

use crate::config::secret::{Secret, SecretError};
use crate::config::{self, Config};

/// What a client may do; a credential is for one role (rule 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A firewall: queries, and asks the validator.
    Enforcement,
    /// A portal or NAC: pushes logons.
    PushIn,
    /// An onboarded Collector: pushes what it knows.
    Collect,
}

impl Role {
    /// The word that is hashed into tokens.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Enforcement => "query",
            Self::PushIn => "push-in",
            Self::Collect => "collect",
        }
    }

    /// What the configuration calls such a client.
    fn noun(self) -> &'static str {
        match self {
            Self::Enforcement => "enforcement point",
            Self::PushIn => "firewall push",
            Self::Collect => "Collector",
        }
    }
}

/// A secret cannot be read.
#[derive(Debug, Error)]
#[error("could not read the secret of {client}: {source}")]
pub struct ClientError {
    /// What and which the client is.
    pub client: String,
    /// Why.
    pub source: SecretError,
}

impl ClientError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        self.source.remedy()
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// The name of its entry in the configuration, or of its invitation; unique within its role.
    pub name: Arc<str>,
    /// What it calls itself; unique over all roles.
    pub client_id: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// `None`: anywhere.
    addresses: Option<Vec<IpNet>>,
    certificate_name: Option<String>,
    secrets: Vec<SecretHash>,
}

/// SHA-256 over a secret.
pub(super) type SecretHash = [u8; 32];

pub(super) fn hash_of_secret(secret: &str) -> SecretHash {
    Sha256::digest(secret.as_bytes()).into()
}

impl Client {
    /// A client as configured, with its secrets.
    #[must_use]
    pub fn new(name: &str, role: Role, caller: &config::Caller, secrets: &[Secret]) -> Self {
        let hash = |secret: &Secret| hash_of_secret(secret.expose_secret());
        Self {
            name: Arc::from(name),
            client_id: Arc::from(caller.client_id.as_str()),
            role,
            addresses: Some(caller.addresses.clone()),
            certificate_name: caller.certificate_name.clone(),
            secrets: secrets.iter().map(hash).collect(),
        }
    }

    /// An onboarded Collector, of whose secret only the SHA-256 is known; it may call from anywhere.
    #[must_use]
    pub fn collector(name: &str, client_id: &str, secret: [u8; 32]) -> Self {
        Self {
            name: Arc::from(name),
            client_id: Arc::from(client_id),
            role: Role::Collect,
            addresses: None,
            certificate_name: None,
            secrets: vec![secret],
        }
    }

    /// Whether it calls from the address.
    #[must_use]
    pub fn calls_from(&self, address: IpAddr) -> bool {
        self.longest_match(address).is_some()
    }

    /// Whether the names of its certificate, if it showed a good one, are what was configured.
    #[must_use]
    pub fn is_certified(&self, shown: &[String]) -> bool {
        let wanted = self.certificate_name.as_deref();
        wanted.is_none_or(|wanted| shown.iter().any(|name| name.eq_ignore_ascii_case(wanted)))
    }

    /// Whether this is one of its secrets; takes the same time whatever is wrong with it.
    #[must_use]
    pub fn has_secret(&self, shown: &str) -> bool {
        let shown = hash_of_secret(shown);
        let same = |sum: Choice, secret: &SecretHash| sum | shown.ct_eq(secret);
        self.secrets.iter().fold(Choice::from(0), same).into()
    }

    /// Hashes of its secrets.
    pub(super) fn secrets(&self) -> &[SecretHash] {
        &self.secrets
    }

    /// Where it calls from; nothing of one that calls from anywhere.
    #[must_use]
    pub fn addresses(&self) -> &[IpNet] {
        self.addresses.as_deref().unwrap_or_default()
    }

    fn longest_match(&self, address: IpAddr) -> Option<u8> {
        let Some(addresses) = &self.addresses else {
            return Some(0);
        };
        let holding = addresses.iter().filter(|n| n.contains(&address));
        holding.map(IpNet::prefix_len).max()
    }
}

/// All clients. Questions take time linear in their addresses, which configuration bounds.
#[derive(Debug, Default)]
pub struct Clients(Vec<Arc<Client>>);

impl Clients {
    /// The clients of a configuration, their secrets read now.
    ///
    /// # Errors
    /// The first client whose secret cannot be read.
    pub fn from_config(config: &Config) -> Result<Self, ClientError> {
        let points = config.enforcement_points.iter();
        let points = points
            .filter_map(|point| Some((&point.name, Role::Enforcement, point.caller.as_ref()?)));
        let pushes = config.firewall_pushes.iter();
        let pushes = pushes.map(|push| (&push.name, Role::PushIn, &push.caller));
        points
            .chain(pushes)
            .map(|(name, role, caller)| read(name, role, caller))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The clients of a role that call from the address, the one with the longest match first.
    #[must_use]
    pub fn at(&self, role: Role, address: IpAddr) -> Vec<&Arc<Client>> {
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter(|client| client.role == role)
            .filter_map(|client| Some((client.longest_match(address)?, client)))
            .collect();
        found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        found.into_iter().map(|(_, client)| client).collect()
    }

    /// The clients of whatever role whose address it is; not those who may call from anywhere.
    #[must_use]
    pub fn everyone_at(&self, address: IpAddr) -> Vec<Arc<Client>> {
        let settled = self.0.iter().filter(|client| client.addresses.is_some());
        let here = settled.filter(|client| client.calls_from(address));
        here.map(Arc::clone).collect()
    }

    /// Whether there are clients of the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.iter().any(|client| client.role == role)
    }

    #[cfg(test)]
    pub(super) fn of(list: Vec<Client>) -> Self {
        Self(list.into_iter().map(Arc::new).collect())
    }

    /// These clients, those of a role replaced.
    pub(super) fn with(&self, role: Role, of_role: &[Arc<Client>]) -> Self {
        let others = self.0.iter().filter(|client| client.role != role);
        Self(others.chain(of_role).map(Arc::clone).collect())
    }

    /// The client with the id.
    #[must_use]
    pub fn identified(&self, client_id: &str) -> Option<&Arc<Client>> {
        self.0.iter().find(|client| &*client.client_id == client_id)
    }

    /// The client of the name in the role.
    #[must_use]
    pub fn named(&self, role: Role, name: &str) -> Option<&Arc<Client>> {
        let mut all = self.0.iter();
        all.find(|client| client.role == role && &*client.name == name)
    }

    /// Secrets here that are missing in `new`, each with whose it was (rule 23).
    pub(super) fn secrets_gone(&self, new: &Self) -> Vec<(Arc<Client>, SecretHash)> {
        let gone = |client: &Arc<Client>| {
            let stays: &[SecretHash] = new
                .identified(&client.client_id)
                .filter(|other| other.role == client.role)
                .map_or(&[], |other| other.secrets());
            let gone = client.secrets.iter().filter(|old| !stays.contains(old));
            gone.map(|old| (Arc::clone(client), *old))
                .collect::<Vec<_>>()
        };
        self.0.iter().flat_map(gone).collect()
    }
}

fn read(name: &str, role: Role, caller: &config::Caller) -> Result<Arc<Client>, ClientError> {
    let secrets = caller.secrets.iter().map(config::secret::SecretRef::read);
    let secrets: Result<Vec<_>, _> = secrets.collect();
    let secrets = secrets.map_err(|source| ClientError {
        client: format!("{} {name}", role.noun()),
        source,
    })?;
    Ok(Arc::new(Client::new(name, role, caller, &secrets)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::access) fn client(name: &str, address: &str, secrets: &[&str]) -> Client {
        let network = address.parse::<IpNet>();
        let caller = config::Caller {
            addresses: vec![
                network.unwrap_or_else(|_| IpNet::from(address.parse::<IpAddr>().unwrap())),
            ],
            client_id: format!("{name}-id"),
            certificate_name: None,
            secrets: Vec::new(),
        };
        let secrets: Vec<_> = secrets
            .iter()
            .map(|s| Secret::from((*s).to_owned()))
            .collect();
        Client::new(name, Role::Enforcement, &caller, &secrets)
    }

    fn clients(list: Vec<Client>) -> Clients {
        Clients(list.into_iter().map(Arc::new).collect())
    }

    #[test]
    fn the_longest_match_comes_first_and_strangers_find_nothing() {
        let all = clients(vec![
            client("wide", "10.0.0.0/8", &["x"]),
            client("host", "10.1.1.1", &["x"]),
            client("narrow", "10.1.0.0/16", &["x"]),
        ]);
        let names = |address: &str| -> Vec<String> {
            let found = all.at(Role::Enforcement, address.parse().unwrap());
            found.iter().map(|p| p.name.to_string()).collect()
        };
        assert_eq!(names("10.1.1.1"), ["host", "narrow", "wide"]);
        assert_eq!(names("10.2.0.1"), ["wide"]);
        assert!(names("192.0.2.1").is_empty());
        assert!(names("2001:db8::1").is_empty());
        let other_role = all.at(Role::PushIn, "10.1.1.1".parse().unwrap());
        assert!(other_role.is_empty());
        assert_eq!(all.everyone_at("10.1.1.1".parse().unwrap()).len(), 3);
        assert!(all.everyone_at("192.0.2.1".parse().unwrap()).is_empty());
    }

    #[test]
    fn a_collector_calls_from_anywhere_and_makes_nobody_known() {
        let secret = hash_of_secret("a secret");
        let collector = Arc::new(Client::collector("berlin", "collector-1", secret));
        let all = clients(vec![client("host", "10.1.1.1", &["x"])]);
        assert!(!all.has(Role::Collect));
        let all = all.with(Role::Collect, &[collector]);
        assert!(all.has(Role::Collect) && all.has(Role::Enforcement));
        let anywhere = "192.0.2.1".parse().unwrap();
        assert_eq!(all.at(Role::Collect, anywhere).len(), 1);
        assert!(all.everyone_at(anywhere).is_empty());
        let known = all.identified("collector-1").unwrap();
        assert!(known.calls_from(anywhere) && known.has_secret("a secret"));
        assert!(!all.with(Role::Collect, &[]).has(Role::Collect));
    }

    #[test]
    fn secrets_are_compared_whole_and_two_may_be_good() {
        let client = client("a", "10.0.0.1", &["correct horse", "battery staple"]);
        assert!(client.has_secret("correct horse"));
        assert!(client.has_secret("battery staple"));
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!client.has_secret(wrong), "{wrong:?}");
        }
        assert!(!format!("{client:?}").contains("correct horse"));
    }

    #[test]
    fn rule_23_removed_clients_and_removed_secrets_are_gone() {
        let old = clients(vec![
            client("same", "10.0.0.1", &["x"]),
            client("changed", "10.0.0.2", &["x"]),
            client("rotated", "10.0.0.4", &["old", "new"]),
            client("begun", "10.0.0.5", &["old"]),
            client("removed", "10.0.0.3", &["x"]),
        ]);
        let new = clients(vec![
            client("changed", "10.0.0.2", &["y"]),
            client("rotated", "10.0.0.4", &["new"]),
            client("begun", "10.0.0.5", &["old", "new"]),
            client("same", "10.0.0.9", &["x"]),
        ]);
        let gone: Vec<_> = old
            .secrets_gone(&new)
            .iter()
            .map(|(client, secret)| (client.name.to_string(), *secret))
            .collect();
        let expected = [
            ("changed".to_owned(), hash_of_secret("x")),
            ("rotated".to_owned(), hash_of_secret("old")),
            ("removed".to_owned(), hash_of_secret("x")),
        ];
        assert_eq!(gone, expected);
    }
}
