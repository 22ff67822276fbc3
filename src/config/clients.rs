//! Who calls the Server, as configured: what they show, and what portals may push.
//!
//! Part of [`super::Config`]. Who a caller turns out to be is decided in [`crate::access`].

use ipnet::IpNet;

use super::secret::SecretRef;
use crate::identity::name::Name;

/// Somebody who calls us over HTTPS: where from, and what shows that it is he.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Addresses or networks.
    pub addresses: Vec<IpNet>,
    /// Unique over all roles.
    pub client_id: String,
    /// The name that its certificate must carry too.
    pub certificate_name: Option<String>,
    /// One secret; or two while the first is being replaced, both good.
    pub secrets: Vec<SecretRef>,
}

/// `[[firewall_push]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallPush {
    /// Unique name.
    pub name: String,
    /// Where it calls from and what it shows.
    pub caller: Caller,
    /// Domain of users without one.
    pub domain: Option<Name>,
    /// Addresses it may speak for; empty: none.
    pub networks: Vec<IpNet>,
    /// Domains it may speak for; empty: all.
    pub domains: Vec<Name>,
    /// Groups it may assert.
    pub roles: Vec<String>,
}
