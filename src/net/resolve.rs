//! Names into addresses, and services into hosts: the one file that wraps the resolver library.
//!
//! Without configured name servers ordinary names are resolved by the system, so that `/etc/hosts` and whatever else
//! this machine uses count; only SRV records need a resolver of our own.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use thiserror::Error;

const DEADLINE: Duration = Duration::from_secs(10);
/// Most hosts taken of one service.
const MAX_HOSTS: usize = 32;
/// Most addresses taken of one host.
const MAX_ADDRESSES: usize = 16;

/// Why a name leads nowhere.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// The resolver failed or the name has no records.
    #[error("could not look up {name}: {reason}")]
    Lookup {
        /// The name of the records.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// The answer holds none.
    #[error("{name} has no {what}")]
    None {
        /// The name of the records.
        name: String,
        /// What was looked for.
        what: &'static str,
    },
}

impl ResolveError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::None { what: "hosts", .. } => {
                "name domain controllers in `hosts`, or the domain's name servers in `[dns] servers`"
                    .into()
            }
            _ => "check the name, or set `[dns] servers` to the domain's name servers".into(),
        }
    }
}

/// Who finds addresses; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Asks these name servers, or without any the system.
    #[must_use]
    pub fn with(servers: &[SocketAddr]) -> Self {
        Self {
            servers: servers.to_vec(),
        }
    }

    /// The addresses of a host; an address stands for itself.
    ///
    /// # Errors
    /// [`ResolveError`] if there are none, or nobody answers.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        let failed = |reason: String| lookup_failed(host, reason);
        let found = within(host, async {
            if self.servers.is_empty() {
                let found = tokio::net::lookup_host((host, 0)).await;
                let found = found.map_err(|error| failed(error.to_string()))?;
                return Ok(found.map(|address| address.ip()).collect::<Vec<_>>());
            }
            let answer = self.client(host)?.lookup_ip(absolute(host)).await;
            let answer = answer.map_err(|error| failed(error.to_string()))?;
            Ok(answer.iter().collect())
        })
        .await?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) && addresses.len() < MAX_ADDRESSES {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(ResolveError::None {
                name: host.to_owned(),
                what: "addresses",
            });
        }
        Ok(addresses)
    }

    /// The names of an address (PTR), sorted, without final dots.
    ///
    /// # Errors
    /// [`ResolveError`] if there are none, or DNS does not answer.
    pub async fn names(&self, address: IpAddr) -> Result<Vec<String>, ResolveError> {
        let shown = address.to_string();
        let none = || ResolveError::None {
            name: shown.clone(),
            what: "name",
        };
        let answer = within(&shown, async {
            let answer = self.client(&shown)?.reverse_lookup(address).await;
            answer.map_err(|error| {
                if error.is_no_records_found() {
                    none()
                } else {
                    lookup_failed(&shown, error.to_string())
                }
            })
        })
        .await?;
        let mut found: Vec<String> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::PTR(name) => Some(name.0.to_utf8().trim_end_matches('.').to_owned()),
                _ => None,
            })
            .collect();
        found.sort();
        found.truncate(MAX_HOSTS);
        if found.is_empty() {
            return Err(none());
        }
        Ok(found)
    }

    /// The domain controllers of a domain.
    ///
    /// # Errors
    /// [`ResolveError`] if there are none, or DNS does not answer.
    pub async fn domain_controllers(&self, domain: &str) -> Result<Vec<String>, ResolveError> {
        let found = self
            .services(&format!("_ldap._tcp.dc._msdcs.{domain}"))
            .await?;
        Ok(found.into_iter().map(|(host, _)| host).collect())
    }

    /// Hosts and ports of a service (SRV), by priority, then weight (RFC 2782), then name.
    ///
    /// # Errors
    /// [`ResolveError`] if there are none, or DNS does not answer.
    pub async fn services(&self, name: &str) -> Result<Vec<(String, u16)>, ResolveError> {
        let none = || ResolveError::None {
            name: name.to_owned(),
            what: "hosts",
        };
        let answer = within(name, async {
            let answer = self.client(name)?.srv_lookup(absolute(name)).await;
            answer.map_err(|error| {
                if error.is_no_records_found() {
                    none()
                } else {
                    lookup_failed(name, error.to_string())
                }
            })
        })
        .await?;
        let mut found: Vec<(u16, std::cmp::Reverse<u16>, String, u16)> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some((
                    srv.priority,
                    std::cmp::Reverse(srv.weight),
                    srv.target.to_utf8().trim_end_matches('.').to_owned(),
                    srv.port,
                )),
                _ => None,
            })
            .collect();
        found.sort();
        found.truncate(MAX_HOSTS);
        if found.is_empty() {
            return Err(none());
        }
        let hosts = found.into_iter().map(|(_, _, host, port)| (host, port));
        Ok(hosts.collect())
    }

    fn client(&self, name: &str) -> Result<TokioResolver, ResolveError> {
        let builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()
        } else {
            let servers = self.servers.iter().map(|server| {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = server.port();
                }
                NameServerConfig::new(server.ip(), true, connections)
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            Ok(TokioResolver::builder_with_config(
                config,
                TokioRuntimeProvider::default(),
            ))
        };
        builder
            .and_then(hickory_resolver::ResolverBuilder::build)
            .map_err(|error| lookup_failed(name, error.to_string()))
    }
}

async fn within<T>(
    name: &str,
    work: impl Future<Output = Result<T, ResolveError>>,
) -> Result<T, ResolveError> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", DEADLINE.as_secs());
            Err(lookup_failed(name, reason))
        })
}

fn lookup_failed(name: &str, reason: String) -> ResolveError {
    ResolveError::Lookup {
        name: name.to_owned(),
        reason,
    }
}

/// The name as it is, without the machine's own search domains behind it.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}
