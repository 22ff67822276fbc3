//! What a Windows record means: the one place where a record of a Security log becomes an identity event, or a reason
//! why it does not.
//!
//! A pure function of the source's settings, the moment of arrival and the record. [`WORTH`] says which records
//! count and of which kind they are; who is meant, by his SID and name, is below it. Which domain a name belongs to is the table's business.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::{CompactString, format_compact};

use crate::config::EventSourceKind;
use crate::identity::event::{
    Claim, DeviceRef, IdentityEvent, Logon, LogonId, ProducerName, Qualifier, Strength, UserRef,
};
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::identity::worth::{Conflict, EvidenceKind, Weight};
use crate::producer::is_system_domain;
use crate::wire::binxml::Record;

/// What a source's records are interpreted with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source's name.
    pub producer: ProducerName,
    /// What kind of server it is.
    pub kind: EventSourceKind,
    /// Domain of names that carry none.
    pub domain: Name,
    /// How far the server's clock is ahead of ours, in milliseconds, as measured when we connected; 0 below one second.
    pub skew: i64,
    /// What each kind of evidence is worth.
    pub conflict: Conflict,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Its account was seen, by evidence of this kind: at its address, or without one at a device known by name.
    Seen(EvidenceKind),
    /// Its account left, by logon id.
    Left,
}

/// One row of [`WORTH`].
#[derive(Clone, Copy, Debug)]
pub struct Worth {
    /// Event id of `Microsoft-Windows-Security-Auditing`.
    pub id: u16,
    /// Logon type, where the record has one that matters.
    pub logon_type: Option<u64>,
    /// On which kind of server it counts.
    pub kind: EventSourceKind,
    /// What it says.
    pub meaning: Meaning,
}

/// Which records count. What their kinds of evidence are worth, and why, is in [`crate::identity::worth`]; a logoff ends
/// the logon of the same id on the same computer.
pub const WORTH: &[Worth] = {
    use EventSourceKind::{DomainController as Dc, Exchange};
    use EvidenceKind as Kind;
    use Meaning::{Left, Seen};
    const fn row(
        id: u16,
        logon_type: Option<u64>,
        kind: EventSourceKind,
        meaning: Meaning,
    ) -> Worth {
        Worth {
            id,
            logon_type,
            kind,
            meaning,
        }
    }
    &[
        row(4768, None, Dc, Seen(Kind::KerberosTicket)),
        row(4769, None, Dc, Seen(Kind::ServiceTicket)),
        row(4770, None, Dc, Seen(Kind::TicketRenewal)),
        row(4776, None, Dc, Seen(Kind::NtlmValidation)),
        row(4624, Some(2), Dc, Seen(Kind::InteractiveLogon)),
        row(4624, Some(3), Dc, Seen(Kind::NetworkLogon)),
        row(4624, Some(7), Dc, Seen(Kind::Unlock)),
        row(4624, Some(10), Dc, Seen(Kind::RemoteDesktop)),
        row(4624, Some(11), Dc, Seen(Kind::CachedLogon)),
        row(4634, Some(2), Dc, Left),
        row(4634, Some(10), Dc, Left),
        row(4634, Some(11), Dc, Left),
        row(4647, None, Dc, Left),
        row(4624, Some(3), Exchange, Seen(Kind::MailLogon)),
        row(4624, Some(8), Exchange, Seen(Kind::MailLogon)),
    ]
};

/// Why a record makes no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A record of another kind; the server was not asked for it.
    OtherRecord,
    /// A logon type that says nothing of where the user is.
    LogonType,
    /// The logoff of a network logon, which says little.
    NetworkLogoff,
    /// The configuration lets this kind of evidence count for nothing.
    NoWorth,
    /// The attempt failed.
    Failed,
    /// A service asked in the user's name, from the service's own address.
    Delegated,
    /// An account of the system itself, or nobody.
    SystemAccount,
    /// An account of the computer, not of a domain.
    LocalAccount,
    /// A machine where a user is needed.
    Machine,
    /// The record names no address.
    NoAddress,
    /// What stands where the address should be is none.
    BadAddress,
    /// The record names no device.
    NoDevice,
    /// The record names no logon.
    NoLogonId,
    /// A name is empty, too long or holds characters that no name may hold.
    BadName,
}

impl Reason {
    /// The word for reports and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherRecord => "other-record",
            Self::LogonType => "logon-type",
            Self::NetworkLogoff => "network-logoff",
            Self::NoWorth => "no-worth",
            Self::Failed => "failed",
            Self::Delegated => "delegated",
            Self::SystemAccount => "system-account",
            Self::LocalAccount => "local-account",
            Self::Machine => "machine",
            Self::NoAddress => "no-address",
            Self::BadAddress => "bad-address",
            Self::NoDevice => "no-device",
            Self::NoLogonId => "no-logon-id",
            Self::BadName => "bad-name",
        }
    }
}

/// Makes a record an event.
///
/// # Errors
/// Why it is none.
pub fn interpret(
    settings: &Settings,
    record: &Record<'_>,
    received_at: UtcMillis,
) -> Result<IdentityEvent, Reason> {
    let id = record.event_id;
    let meaning = meaning(settings.kind, record)?;
    if !succeeded(record) {
        return Err(Reason::Failed);
    }
    if is_delegated(record) {
        return Err(Reason::Delegated);
    }
    let account = Account::of(record, settings.kind)?;
    let (address, claim) = match meaning {
        Meaning::Seen(EvidenceKind::NtlmValidation) => {
            worth(settings, EvidenceKind::NtlmValidation)?;
            (None, renewal_claim(settings, &account, record)?)
        }
        Meaning::Seen(kind) => {
            let weight = worth(settings, kind)?;
            let address = address(record)?;
            let claim = if account.is_machine() {
                // A device's session has nothing that only renews it.
                let strength = weight.strength().unwrap_or(Strength::Weak);
                device_claim(settings, &account, id, strength)?
            } else if let Some(strength) = weight.strength() {
                logon_claim(settings, &account, record, strength)?
            } else {
                Claim::Renewal {
                    user: account.user(settings)?,
                    device: None,
                }
            };
            (Some(address), claim)
        }
        Meaning::Left => (None, logoff_claim(settings, &account, record)?),
    };
    Ok(IdentityEvent {
        producer: Arc::clone(&settings.producer),
        record: name_of(record),
        occurred_at: occurred_at(settings, record, received_at),
        received_at,
        heard: None,
        address,
        claim,
    })
}

/// How the record is called: its event, logon type if it has one, and number in the log.
fn name_of(record: &Record<'_>) -> CompactString {
    let (id, number) = (record.event_id, record.record_id);
    match record.number("LogonType") {
        Some(logon_type) => format_compact!("{id} type {logon_type} #{number}"),
        None => format_compact!("{id} #{number}"),
    }
}

/// When the record was written, by our clock (rule 5).
#[must_use]
pub fn occurred_at(settings: &Settings, record: &Record<'_>, received_at: UtcMillis) -> UtcMillis {
    let stamp = record.time.to_unix_millis();
    UtcMillis(stamp.saturating_sub(settings.skew)).min(received_at)
}

fn meaning(kind: EventSourceKind, record: &Record<'_>) -> Result<Meaning, Reason> {
    let id = record.event_id;
    let logon_type = record.number("LogonType");
    let mut rows = WORTH
        .iter()
        .filter(|row| row.id == id && row.kind == kind)
        .peekable();
    if rows.peek().is_none() {
        return Err(Reason::OtherRecord);
    }
    let row = rows.find(|row| row.logon_type.is_none() || row.logon_type == logon_type);
    row.map(|row| row.meaning).ok_or(if id == 4634 {
        Reason::NetworkLogoff
    } else {
        Reason::LogonType
    })
}

/// What the kind of evidence is worth, if anything.
fn worth(settings: &Settings, kind: EvidenceKind) -> Result<Weight, Reason> {
    match settings.conflict.weight(kind) {
        Weight::Ignored => Err(Reason::NoWorth),
        weight => Ok(weight),
    }
}

/// Kerberos and NTLM records say by a status whether the attempt succeeded; a logon's own record is only of success.
fn succeeded(record: &Record<'_>) -> bool {
    match record.event_id {
        4768 | 4769 | 4776 => record.number("Status") == Some(0),
        _ => true,
    }
}

/// Constrained delegation (S4U2Proxy): the ticket is the user's, the address that of the service that asked.
fn is_delegated(record: &Record<'_>) -> bool {
    record.event_id == 4769
        && text(record, "TransmittedServices").is_some_and(|services| !services.trim().is_empty())
}

/// The account that a record is about, as it names it.
struct Account<'a> {
    name: Cow<'a, str>,
    domain: Option<Cow<'a, str>>,
}

impl<'a> Account<'a> {
    fn of(record: &'a Record<'_>, kind: EventSourceKind) -> Result<Self, Reason> {
        if let Some(sid) = record
            .sid("TargetUserSid")
            .or_else(|| record.sid("TargetSid"))
            && !sid.is_account()
        {
            return Err(Reason::SystemAccount);
        }
        let name = text(record, "TargetUserName").ok_or(Reason::SystemAccount)?;
        let domain = text(record, "TargetDomainName");
        let of_system = domain.as_deref().is_some_and(is_system_domain);
        if of_system || is_system_name(&name) {
            return Err(Reason::SystemAccount);
        }
        // A domain controller has no accounts of its own.
        let is_local = kind == EventSourceKind::Exchange
            && (domain.as_deref()).is_some_and(|domain| is_computer(domain, &record.computer));
        if is_local {
            return Err(Reason::LocalAccount);
        }
        Ok(Self { name, domain })
    }

    /// Machine accounts end in `$`, before the realm if there is one.
    fn is_machine(&self) -> bool {
        let bare = self.name.split('@').next().unwrap_or_default();
        bare.ends_with('$')
    }

    /// Name and qualifier: a realm after `@` that the record also gives as domain is that domain, any other is a suffix.
    fn parts(&self, settings: &Settings) -> Result<(Name, Qualifier), Reason> {
        let make = |text: &str| Name::new(text).map_err(|_| Reason::BadName);
        let (bare, suffix) = match self.name.rsplit_once('@') {
            Some((bare, suffix)) => (bare, Some(suffix)),
            None => (&*self.name, None),
        };
        let qualifier = match (suffix, self.domain.as_deref()) {
            (Some(suffix), Some(domain)) if suffix.eq_ignore_ascii_case(domain) => {
                Qualifier::Domain(make(domain)?)
            }
            (Some(suffix), _) => Qualifier::Upn(make(suffix)?),
            (None, Some(domain)) => Qualifier::Domain(make(domain)?),
            (None, None) => Qualifier::Domain(settings.domain.clone()),
        };
        Ok((make(bare)?, qualifier))
    }

    fn user(&self, settings: &Settings) -> Result<UserRef, Reason> {
        if self.is_machine() {
            return Err(Reason::Machine);
        }
        let (name, qualifier) = self.parts(settings)?;
        Ok(UserRef { name, qualifier })
    }
}

fn logon_claim(
    settings: &Settings,
    account: &Account<'_>,
    record: &Record<'_>,
    strength: Strength,
) -> Result<Claim, Reason> {
    let logon_type = record.number("LogonType");
    Ok(Claim::Logon(Logon {
        user: account.user(settings)?,
        // Of an interactive logon the name is the server's own, or the address another computer's.
        device: (logon_type == Some(3))
            .then(|| workstation(settings, record, "WorkstationName"))
            .flatten(),
        groups: Vec::new(),
        strength,
        // An unlock's logon ends at once, without the user going anywhere.
        logon_id: matches!(logon_type, Some(2 | 10 | 11))
            .then(|| logon_id(record))
            .flatten(),
    }))
}

fn device_claim(
    settings: &Settings,
    account: &Account<'_>,
    id: u16,
    strength: Strength,
) -> Result<Claim, Reason> {
    let (name, qualifier) = account.parts(settings)?;
    Ok(Claim::DeviceLogon {
        device: DeviceRef { name, qualifier },
        strength,
        own_kerberos: matches!(id, 4768..=4770),
    })
}

fn renewal_claim(
    settings: &Settings,
    account: &Account<'_>,
    record: &Record<'_>,
) -> Result<Claim, Reason> {
    let user = account.user(settings)?;
    let device = workstation(settings, record, "Workstation").ok_or(Reason::NoDevice)?;
    Ok(Claim::Renewal {
        user,
        device: Some(device),
    })
}

fn logoff_claim(
    settings: &Settings,
    account: &Account<'_>,
    record: &Record<'_>,
) -> Result<Claim, Reason> {
    Ok(Claim::Logoff {
        user: Some(account.user(settings)?),
        logon_id: Some(logon_id(record).ok_or(Reason::NoLogonId)?),
    })
}

fn logon_id(record: &Record<'_>) -> Option<LogonId> {
    Some(LogonId {
        computer: Name::new(&record.computer).ok()?,
        id: record.number("TargetLogonId")?,
    })
}

/// The client's name for itself; clients write `\\NAME` too.
fn workstation(settings: &Settings, record: &Record<'_>, field: &str) -> Option<DeviceRef> {
    let name = text(record, field)?;
    let name = Name::new(name.trim_start_matches('\\')).ok()?;
    Some(DeviceRef {
        name,
        qualifier: Qualifier::Domain(settings.domain.clone()),
    })
}

fn address(record: &Record<'_>) -> Result<IpAddr, Reason> {
    let text = text(record, "IpAddress").ok_or(Reason::NoAddress)?;
    // A zone names an interface of the server.
    let bare = text.split('%').next().unwrap_or_default();
    bare.trim()
        .parse::<IpAddr>()
        .map(|address| address.to_canonical())
        .map_err(|_| Reason::BadAddress)
}

/// A field's text; Windows writes `-` where it has nothing to say.
fn text<'a>(record: &'a Record<'_>, field: &str) -> Option<Cow<'a, str>> {
    record
        .text(field)
        .filter(|text| !matches!(text.trim(), "" | "-"))
}

/// Accounts without a SID in the record, and those that Exchange makes to watch itself (`HealthMailbox` and seven or
/// more hexadecimal digits, `SM_` and seventeen).
fn is_system_name(name: &str) -> bool {
    let made = |prefix: &str, digits: usize| {
        let (start, rest) = name.split_at_checked(prefix.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(prefix)
            && rest.len() >= digits
            && rest.bytes().all(|b| b.is_ascii_hexdigit())
    };
    name.eq_ignore_ascii_case("ANONYMOUS LOGON") || made("HealthMailbox", 7) || made("SM_", 17)
}

/// Whether a domain is really the name of the computer that wrote the record.
fn is_computer(domain: &str, computer: &str) -> bool {
    let host = computer.split('.').next().unwrap_or_default();
    !host.is_empty() && domain.eq_ignore_ascii_case(host)
}
