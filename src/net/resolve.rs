//! Finds the domain controllers of a domain by DNS: the one file that wraps the resolver library.
//!
//! Ordinary host names are resolved by the system; only SRV records need this.

use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use thiserror::Error;

const DEADLINE: Duration = Duration::from_secs(10);
/// Most domain controllers taken.
const MAX_CONTROLLERS: usize = 32;

/// Why no domain controllers were found.
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
    #[error("{name} names no domain controllers")]
    None {
        /// The name of the records.
        name: String,
    },
}

impl ResolveError {
    /// What the operator can try; one sentence without full stop.
    #[must_use]
    pub fn remedy(&self) -> String {
        "name domain controllers in `hosts`, or let this machine use the domain's DNS servers"
            .into()
    }
}

/// The domain controllers of a domain, by priority, then weight (RFC 2782), then name.
///
/// # Errors
/// [`ResolveError`] if there are none, or DNS does not answer.
pub async fn domain_controllers(domain: &str) -> Result<Vec<String>, ResolveError> {
    let name = format!("_ldap._tcp.dc._msdcs.{domain}.");
    let failed = |reason: String| ResolveError::Lookup {
        name: name.clone(),
        reason,
    };
    let resolver = TokioResolver::builder_tokio()
        .and_then(hickory_resolver::ResolverBuilder::build)
        .map_err(|error| failed(error.to_string()))?;
    let answer = tokio::time::timeout(DEADLINE, resolver.srv_lookup(name.as_str()))
        .await
        .map_err(|_| failed(format!("no answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| {
            if error.is_no_records_found() {
                ResolveError::None { name: name.clone() }
            } else {
                failed(error.to_string())
            }
        })?;
    let mut found: Vec<(u16, std::cmp::Reverse<u16>, String)> = answer
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((
                srv.priority,
                std::cmp::Reverse(srv.weight),
                srv.target.to_utf8().trim_end_matches('.').to_owned(),
            )),
            _ => None,
        })
        .collect();
    found.sort();
    found.truncate(MAX_CONTROLLERS);
    if found.is_empty() {
        return Err(ResolveError::None { name });
    }
    Ok(found.into_iter().map(|(_, _, host)| host).collect())
}
