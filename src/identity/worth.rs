//! What each kind of evidence is worth in a conflict: the operator's half of rule 6, as data with its reasons.
//!
//! A producer's `interpret` says of which kind a record is; [`Conflict`] says what that kind is worth, from [`ROWS`] unless
//! the configuration says otherwise; what the worth then does to whoever is there is decided by the table of conflict,
//! which is not up for configuration. A probe's answer is not a row: evidence that may not displace would end nothing.

use super::event::Strength;

/// A kind of evidence for a logon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// Windows 4768.
    KerberosTicket,
    /// Windows 4769.
    ServiceTicket,
    /// Windows 4770.
    TicketRenewal,
    /// Windows 4776.
    NtlmValidation,
    /// Windows 4624, logon type 2.
    InteractiveLogon,
    /// Windows 4624, logon type 11.
    CachedLogon,
    /// Windows 4624, logon type 7.
    Unlock,
    /// Windows 4624, logon type 10.
    RemoteDesktop,
    /// Windows 4624, logon type 3, on a domain controller.
    NetworkLogon,
    /// Windows 4624, logon types 3 and 8, on an Exchange server.
    MailLogon,
    /// A rule of a syslog template with `event = "logon"`.
    SyslogLogon,
    /// A rule of a syslog template with `event = "identity"`.
    SyslogIdentity,
}

/// What a kind of evidence is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It displaces whoever is there.
    Strong,
    /// It displaces only weak evidence.
    Weak,
    /// It renews a session of the same user, and makes none.
    Renews,
    /// It counts for nothing.
    Ignored,
}

impl Weight {
    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Weak => "weak",
            Self::Renews => "renews",
            Self::Ignored => "ignored",
        }
    }

    /// Its strength, if it can hold an address.
    #[must_use]
    pub const fn strength(self) -> Option<Strength> {
        match self {
            Self::Strong => Some(Strength::Strong),
            Self::Weak => Some(Strength::Weak),
            Self::Renews | Self::Ignored => None,
        }
    }
}

/// One row: a kind, its key in the configuration, what it is worth, and why.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind.
    pub kind: EvidenceKind,
    /// Key in `[conflict]`.
    pub key: &'static str,
    /// What it is worth unless configured.
    pub weight: Weight,
    /// Why.
    pub why: &'static str,
    /// Whether its records name an address; without one they can only renew.
    pub has_address: bool,
}

/// The rows, in the order of [`EvidenceKind`].
pub const ROWS: [Row; 12] = {
    use EvidenceKind as Kind;
    use Weight::{Renews, Strong, Weak};
    const fn row(kind: Kind, key: &'static str, weight: Weight, why: &'static str) -> Row {
        Row {
            kind,
            key,
            weight,
            why,
            has_address: !matches!(kind, Kind::NtlmValidation),
        }
    }
    [
        row(
            Kind::KerberosTicket,
            "kerberos_ticket",
            Strong,
            "a ticket-granting ticket is asked for at sign-on, from the user's own device",
        ),
        row(
            Kind::ServiceTicket,
            "service_ticket",
            Strong,
            "a service ticket is asked for by the user's own device; often the only trace of a cached sign-on",
        ),
        row(
            Kind::TicketRenewal,
            "ticket_renewal",
            Weak,
            "a renewal happens without the user",
        ),
        row(
            Kind::NtlmValidation,
            "ntlm_validation",
            Renews,
            "names the workstation, not the address, and the client chose that name",
        ),
        row(
            Kind::InteractiveLogon,
            "interactive_logon",
            Strong,
            "somebody sits at the keyboard",
        ),
        row(
            Kind::CachedLogon,
            "cached_logon",
            Strong,
            "somebody sits at the keyboard, known by cached credentials",
        ),
        row(
            Kind::Unlock,
            "unlock",
            Strong,
            "somebody unlocked the screen",
        ),
        row(
            Kind::RemoteDesktop,
            "remote_desktop",
            Strong,
            "a remote desktop, seen from where its user is",
        ),
        row(
            Kind::NetworkLogon,
            "network_logon",
            Weak,
            "services and shares sign on over the network in a user's name",
        ),
        row(
            Kind::MailLogon,
            "mail_logon",
            Weak,
            "a mail client signed on; it may run for somebody who is not there",
        ),
        row(
            Kind::SyslogLogon,
            "syslog_logon",
            Strong,
            "a VPN, NAC or portal let the user in at this address",
        ),
        row(
            Kind::SyslogIdentity,
            "syslog_identity",
            Weak,
            "the line mentions a user at an address, without a logon",
        ),
    ]
};

/// What each kind is worth here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict([Weight; ROWS.len()]);

impl Default for Conflict {
    fn default() -> Self {
        let mut weights = [Weight::Ignored; ROWS.len()];
        for (weight, row) in weights.iter_mut().zip(ROWS) {
            *weight = row.weight;
        }
        Self(weights)
    }
}

impl Conflict {
    /// What a kind is worth.
    #[must_use]
    pub fn weight(&self, kind: EvidenceKind) -> Weight {
        self.0[kind as usize]
    }

    /// The same with another worth of one kind.
    #[must_use]
    pub fn with(mut self, kind: EvidenceKind, weight: Weight) -> Self {
        self.0[kind as usize] = weight;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_6_rows_are_in_the_order_of_their_kinds() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.key);
            assert_eq!(Conflict::default().weight(row.kind), row.weight);
        }
    }

    #[test]
    fn a_changed_worth_changes_nothing_else() {
        let changed = Conflict::default().with(EvidenceKind::NetworkLogon, Weight::Ignored);
        for row in ROWS {
            let wanted = if row.key == "network_logon" {
                Weight::Ignored
            } else {
                row.weight
            };
            assert_eq!(changed.weight(row.kind), wanted);
        }
    }
}
