//! What a producer tells the table: identity events, in batches.
//!
//! An [`IdentityEvent`] is the only *event* in `jims`. Producers make it in their `interpret`, where meaning is given;
//! names are still as the source wrote them, and the table resolves them. No serialisation and no wire types here.

use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use super::heard::Heard;
use super::name::Name;
use super::time::UtcMillis;

/// The unique name of an identity producer, as configured.
pub type ProducerName = Arc<str>;

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityEvent {
    /// Who says so.
    pub producer: ProducerName,
    /// Which record of the producer says so (a record number, or template and rule); for people, at most 128 bytes.
    pub record: CompactString,
    /// When it happened, fixed once by the producer (rule 5); never later than `received_at`.
    pub occurred_at: UtcMillis,
    /// When we heard of it.
    pub received_at: UtcMillis,
    /// The line it was made of, if others may have heard it too; boxed, because most have none.
    pub heard: Option<Box<Heard>>,
    /// The address it speaks of, if it names one.
    pub address: Option<IpAddr>,
    /// What is claimed.
    pub claim: Claim,
}

/// What an event claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The user is at the address.
    Logon(Logon),
    /// The user left: at the address, or anywhere this producer saw him (rule 7).
    Logoff {
        /// Who left; `None` means whoever is at the address.
        user: Option<UserRef>,
        /// The logon that ended (4634, 4647); then only the session which that logon made can end.
        logon_id: Option<LogonId>,
    },
    /// The device is at the address.
    DeviceLogon {
        /// Which device.
        device: DeviceRef,
        /// How much the evidence is worth against another device.
        strength: Strength,
        /// The machine account's own Kerberos evidence, which alone may carry a user along (rule 9).
        own_kerberos: bool,
    },
    /// The device left the address (a DHCP release, a NAC's disconnect); users stay (rule 7).
    DeviceLogoff {
        /// Which device; `None` means whichever is there.
        device: Option<DeviceRef>,
    },
    /// The user was seen without a new logon: restarts the logoff time of his own session and makes none
    /// (4776 by device; a firewall's user query by address; rule 6, 8).
    Renewal {
        /// Who was seen.
        user: UserRef,
        /// The device he was seen at, where no address is known.
        device: Option<DeviceRef>,
    },
}

/// A user's logon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logon {
    /// Who.
    pub user: UserRef,
    /// The device that the same record names at the same address.
    pub device: Option<DeviceRef>,
    /// Groups that the source asserts; counted only if its scope allows (rule 13).
    pub groups: Vec<Name>,
    /// What the evidence is worth.
    pub strength: Strength,
    /// The Windows logon it came from, so that 4634 and 4647 can end it.
    pub logon_id: Option<LogonId>,
}

/// What evidence is worth in a conflict (rule 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Displaces only weak evidence.
    Weak,
    /// Displaces all.
    Strong,
}

/// A user as a source names him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRef {
    /// The name without qualifier (of a UPN: the part before the last `@`).
    pub name: Name,
    /// What says which domain he is of.
    pub qualifier: Qualifier,
}

/// What says which domain a name is of (rule 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// A DNS domain, NetBIOS name, Kerberos realm or alias; also the source's configured `domain`.
    Domain(Name),
    /// The suffix of a user principal name, which the directory resolves first.
    Upn(Name),
    /// Nothing: the event is ignored as `no-domain`.
    Missing,
}

/// A device as a source names it: the first label is the name; `$` and the rest are cut by the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRef {
    /// Host name, DNS name or machine account.
    pub name: Name,
    /// What says which domain it is of.
    pub qualifier: Qualifier,
}

/// A Windows logon session: unique on its computer between two starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogonId {
    /// The computer that gave the id.
    pub computer: Name,
    /// The id.
    pub id: u64,
}

/// Where a producer or directory stands in its source; opaque to the table, which only stores it beside what it
/// brought (rule 24).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// What it is a position in: (name, host, channel), joined by the producer.
    pub key: CompactString,
    /// The position; at most 4 KiB.
    pub value: Box<[u8]>,
}

/// Splits a user as written by people and logs: `DOMAIN\user`, `user@suffix`, or a bare name with a default domain.
#[must_use]
pub fn user_ref(
    text: &str,
    domain: Option<&str>,
    default_domain: Option<&Name>,
) -> Option<UserRef> {
    let named =
        |name: &str, qualifier| Name::new(name).ok().map(|name| UserRef { name, qualifier });
    if let Some(domain) = domain.map(str::trim).filter(|d| !d.is_empty()) {
        let bare = text.rsplit_once('\\').map_or(text, |(_, user)| user);
        return named(bare, Qualifier::Domain(Name::new(domain).ok()?));
    }
    if let Some((domain, user)) = text.split_once('\\').or_else(|| text.split_once('/')) {
        return named(user, Qualifier::Domain(Name::new(domain).ok()?));
    }
    if let Some((user, suffix)) = text.rsplit_once('@') {
        return named(user, Qualifier::Upn(Name::new(suffix).ok()?));
    }
    let qualifier = default_domain.map_or(Qualifier::Missing, |d| Qualifier::Domain(d.clone()));
    named(text, qualifier)
}
