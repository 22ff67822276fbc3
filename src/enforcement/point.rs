//! The configured enforcement points: who calls from an address, and whose client id it is.
//!
//! A point is known by where it calls from *and* by its credential; a credential shown from elsewhere is worth nothing.
//! Secrets are kept as hashes and compared in constant time. Tokens and limits of failed logins are elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::filter::OwnFilter;
use crate::config::EnforcementPoint;
use crate::config::secret::{Secret, SecretError};

/// Why a point cannot be served.
#[derive(Debug, Error)]
pub enum PointError {
    /// Its secret cannot be read.
    #[error("could not read the client secret of enforcement point {point}: {source}")]
    Secret {
        /// The point's name.
        point: String,
        /// Why.
        source: SecretError,
    },
    /// One of its groups is no glob.
    #[error("could not use the group filter of enforcement point {point}: {source}")]
    Groups {
        /// The point's name.
        point: String,
        /// Why.
        source: globset::Error,
    },
}

impl PointError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Secret { source, .. } => source.remedy(),
            Self::Groups { .. } => "write groups with `*` and `?` as wildcards".to_owned(),
        }
    }
}

/// One enforcement point.
#[derive(Debug)]
pub struct Point {
    /// Its unique name.
    pub name: Arc<str>,
    /// What it calls itself.
    pub client_id: String,
    /// What it is told.
    pub filter: OwnFilter,
    addresses: Vec<IpNet>,
    secret_hash: [u8; 32],
}

impl Point {
    /// A point as configured, with its secret.
    ///
    /// # Errors
    /// A group filter that is no glob.
    pub fn new(configured: &EnforcementPoint, secret: &Secret) -> Result<Self, PointError> {
        let filter = OwnFilter::new(&configured.filter).map_err(|source| PointError::Groups {
            point: configured.name.clone(),
            source,
        })?;
        Ok(Self {
            name: Arc::from(configured.name.as_str()),
            client_id: configured.client_id.clone(),
            filter,
            addresses: configured.addresses.clone(),
            secret_hash: Sha256::digest(secret.expose_secret().as_bytes()).into(),
        })
    }

    /// Whether the point calls from the address.
    #[must_use]
    pub fn calls_from(&self, address: IpAddr) -> bool {
        self.longest_match(address).is_some()
    }

    /// Whether this is the point's secret; takes the same time whatever is wrong with it.
    #[must_use]
    pub fn has_secret(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        shown.ct_eq(&self.secret_hash).into()
    }

    /// SHA-256 over the secret.
    #[must_use]
    pub fn secret_hash(&self) -> &[u8; 32] {
        &self.secret_hash
    }

    /// Where it calls from.
    #[must_use]
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    fn longest_match(&self, address: IpAddr) -> Option<u8> {
        let holding = self.addresses.iter().filter(|n| n.contains(&address));
        holding.map(IpNet::prefix_len).max()
    }
}

/// All enforcement points. Questions take time linear in their addresses, which configuration bounds.
#[derive(Debug, Default)]
pub struct Points(Vec<Arc<Point>>);

impl Points {
    /// The points of a configuration, their secrets read now.
    ///
    /// # Errors
    /// The first point whose secret or filter cannot be used.
    pub fn from_config(configured: &[EnforcementPoint]) -> Result<Self, PointError> {
        let read = |point: &EnforcementPoint| {
            let secret = point
                .client_secret
                .read()
                .map_err(|source| PointError::Secret {
                    point: point.name.clone(),
                    source,
                })?;
            Point::new(point, &secret).map(Arc::new)
        };
        configured
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The points that call from the address, the one with the longest match first.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Vec<&Arc<Point>> {
        let mut found: Vec<_> = self
            .0
            .iter()
            .filter_map(|point| Some((point.longest_match(address)?, point)))
            .collect();
        found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        found.into_iter().map(|(_, point)| point).collect()
    }

    /// All points, as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Point>> {
        self.0.iter()
    }

    /// Names of points here that are missing in `new` or have another secret there (rule 23).
    #[must_use]
    pub fn revoked_by(&self, new: &Self) -> Vec<Arc<str>> {
        let stays = |old: &Point| {
            new.iter()
                .any(|p| p.name == old.name && p.secret_hash == old.secret_hash)
        };
        self.iter()
            .filter(|point| !stays(point))
            .map(|point| Arc::clone(&point.name))
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::PointFilter;
    use crate::config::secret::SecretRef;

    pub(in crate::enforcement) fn point(name: &str, address: &str, secret: &str) -> Point {
        let network = address.parse::<IpNet>();
        let configured = EnforcementPoint {
            name: name.to_owned(),
            addresses: vec![
                network.unwrap_or_else(|_| IpNet::from(address.parse::<IpAddr>().unwrap())),
            ],
            client_id: format!("{name}-id"),
            client_secret: SecretRef::Env("UNUSED".to_owned()),
            filter: PointFilter::default(),
        };
        Point::new(&configured, &Secret::from(secret.to_owned())).unwrap()
    }

    fn points(list: Vec<Point>) -> Points {
        Points(list.into_iter().map(Arc::new).collect())
    }

    #[test]
    fn the_longest_match_comes_first_and_strangers_find_nothing() {
        let all = points(vec![
            point("wide", "10.0.0.0/8", "x"),
            point("host", "10.1.1.1", "x"),
            point("narrow", "10.1.0.0/16", "x"),
        ]);
        let names = |address: &str| -> Vec<String> {
            let found = all.at(address.parse().unwrap());
            found.iter().map(|p| p.name.to_string()).collect()
        };
        assert_eq!(names("10.1.1.1"), ["host", "narrow", "wide"]);
        assert_eq!(names("10.2.0.1"), ["wide"]);
        assert!(names("192.0.2.1").is_empty());
        assert!(names("2001:db8::1").is_empty());
    }

    #[test]
    fn secrets_are_compared_whole() {
        let point = point("a", "10.0.0.1", "correct horse");
        assert!(point.has_secret("correct horse"));
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            assert!(!point.has_secret(wrong), "{wrong:?}");
        }
        assert!(!format!("{point:?}").contains("correct horse"));
    }

    #[test]
    fn rule_23_removed_points_and_changed_secrets_are_revoked() {
        let old = points(vec![
            point("same", "10.0.0.1", "x"),
            point("rotated", "10.0.0.2", "x"),
            point("removed", "10.0.0.3", "x"),
        ]);
        let new = points(vec![
            point("rotated", "10.0.0.2", "y"),
            point("same", "10.0.0.9", "x"),
        ]);
        let revoked: Vec<_> = old
            .revoked_by(&new)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(revoked, ["rotated", "removed"]);
    }
}
