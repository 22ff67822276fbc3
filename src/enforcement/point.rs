//! The configured enforcement points: what each may be told. Who they are and what they show is in [`crate::access`].

use std::net::IpAddr;
use std::sync::Arc;

use thiserror::Error;

use super::filter::OwnFilter;
use crate::access::{Access, Client, Role};
use crate::config::EnforcementPoint;
use crate::identity::time::UtcMillis;

/// One of a point's groups is no glob.
#[derive(Debug, Error)]
#[error("could not use the group filter of enforcement point {point}: {source}")]
pub struct PointError {
    /// The point's name.
    pub point: String,
    /// Why.
    pub source: globset::Error,
}

impl PointError {
    /// What the operator can try.
    #[must_use]
    pub fn remedy(&self) -> String {
        "write groups with `*` and `?` as wildcards".to_owned()
    }
}

/// One enforcement point.
#[derive(Debug)]
pub struct Point {
    /// Its unique name.
    pub name: Arc<str>,
    /// What it is told.
    pub filter: OwnFilter,
}

impl Point {
    /// A point as configured.
    ///
    /// # Errors
    /// A group filter that is no glob.
    pub fn new(configured: &EnforcementPoint) -> Result<Self, PointError> {
        let filter = OwnFilter::new(&configured.filter).map_err(|source| PointError {
            point: configured.name.clone(),
            source,
        })?;
        Ok(Self {
            name: Arc::from(configured.name.as_str()),
            filter,
        })
    }
}

/// All enforcement points.
#[derive(Debug, Default)]
pub struct Points(Vec<Arc<Point>>);

impl Points {
    /// The points of a configuration.
    ///
    /// # Errors
    /// The first point whose filter cannot be used.
    pub fn from_config(configured: &[EnforcementPoint]) -> Result<Self, PointError> {
        let point = |point| Point::new(point).map(Arc::new);
        let points: Result<_, _> = configured.iter().map(point).collect();
        points.map(Self)
    }

    /// All points, as configured.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Point>> {
        self.0.iter()
    }

    /// The point of the name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Point>> {
        self.iter().find(|point| &*point.name == name)
    }

    /// The point that calls from the address and whose token this is.
    #[must_use]
    pub fn by_token(
        &self,
        access: &Access,
        address: IpAddr,
        token: &str,
        now: UtcMillis,
    ) -> Option<Arc<Point>> {
        let client = access.by_token(Role::Enforcement, address, token, now)?;
        self.named(&client.name).map(Arc::clone)
    }
}

/// The firewall that calls from the address, as far as the address alone tells.
#[must_use]
pub fn client_at(access: &Access, address: IpAddr) -> Option<Arc<Client>> {
    let clients = access.clients();
    let found = clients.at(Role::Enforcement, address);
    found.first().map(|client| Arc::clone(client))
}
