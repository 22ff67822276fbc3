//! Which addresses may carry a session, and sets of networks.
//!
//! Every edge (peers, senders, events, queries, filters) passes addresses through [`canonical`]; only the table asks
//! [`session_address`]. No I/O and no name lookup here.

use std::net::IpAddr;

use ipnet::IpNet;

/// IPv4-mapped IPv6 addresses (`::ffff:a.b.c.d`) become IPv4; all others stay (rule 1).
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The address in canonical form if a session may live there, else `None` (rule 1): never 127.0.0.1, `::1`,
/// unspecified, link-local, multicast or broadcast. The rest of 127.0.0.0/8 is an address like any other.
#[must_use]
pub fn session_address(address: IpAddr) -> Option<IpAddr> {
    let address = canonical(address);
    let refused = match address {
        IpAddr::V4(v4) => {
            v4 == std::net::Ipv4Addr::LOCALHOST
                || v4.is_unspecified()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.is_multicast()
        }
    };
    (!refused).then_some(address)
}

/// A set of networks; a lookup takes time linear in their number, which configuration bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// A set of the given networks; host bits are cleared.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().map(|n| n.trunc()).collect())
    }

    /// Whether one of the networks holds the address. An empty set holds nothing.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.0.iter().any(|n| n.contains(&address))
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The networks, as given.
    #[must_use]
    pub fn as_slice(&self) -> &[IpNet] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_1_mapped_addresses_become_ipv4_and_some_never_hold_a_session() {
        let at = |text: &str| session_address(text.parse().expect("address"));
        assert_eq!(
            at("::ffff:10.1.2.3"),
            Some("10.1.2.3".parse().expect("address"))
        );
        for never in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "::",
            "169.254.3.4",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(at(never), None, "{never}");
        }
        assert!(at("127.0.0.2").is_some());
        assert!(at("2001:db8::7").is_some());
    }
}
