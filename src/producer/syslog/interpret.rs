//! What a syslog line means: the one place where a line becomes an identity event, or a reason why it does not.
//!
//! A pure function of the source's settings, the moment of arrival and the line. Which rule matches is data
//! (templates); what its captures mean is here. What a logon and an `identity` are worth is configured (rule 6); a host name names a
//! device and never moves a user (rule 9); the sender's own address is never the user's.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::instant::{self, Replaced};
use super::template::{Captures, Rule, Rules, View};
use crate::config::{SyslogEvent, SyslogTime};
use crate::identity::event::{
    Claim, DeviceRef, IdentityEvent, Logon, ProducerName, Qualifier, Strength, UserRef, user_ref,
};
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::identity::worth::{Conflict, EvidenceKind, Weight};
use crate::wire::syslog::{Message, Stamp};

/// What a source's lines are interpreted with.
#[derive(Debug)]
pub struct Settings {
    /// The source's name.
    pub producer: ProducerName,
    /// Domain of names that carry none.
    pub domain: Option<Name>,
    /// Which time counts.
    pub time: SyslogTime,
    /// Zone of stamps without one.
    pub zone: TimeZone,
    /// The rules of its templates.
    pub rules: Rules,
    /// What each kind of evidence is worth.
    pub conflict: Conflict,
}

/// Why a line makes no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing stands after the header.
    Unparsable,
    /// No rule matches.
    NoRule,
    /// A rule says that the line means nothing.
    Ignored,
    /// The configuration lets this kind of evidence count for nothing.
    NoWorth,
    /// A rule matches, but the line names no user.
    NoUser,
    /// A rule matches, but the line names no single address.
    NoAddress,
    /// A rule matches, but the line names no device.
    NoDevice,
    /// What stands where the address should be is none.
    BadAddress,
    /// A name is too long or holds characters that no name may hold.
    BadName,
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = 9;

    /// All reasons, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Unparsable,
        Self::NoRule,
        Self::Ignored,
        Self::NoWorth,
        Self::NoUser,
        Self::NoAddress,
        Self::NoDevice,
        Self::BadAddress,
        Self::BadName,
    ];

    /// The word for reports and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::NoRule => "no-rule",
            Self::Ignored => "ignored",
            Self::NoWorth => "no-worth",
            Self::NoUser => "no-user",
            Self::NoAddress => "no-address",
            Self::NoDevice => "no-device",
            Self::BadAddress => "bad-address",
            Self::BadName => "bad-name",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unparsable => "the line is empty after its syslog header",
            Self::NoRule => "no rule matches",
            Self::Ignored => "the rule says that this line means nothing",
            Self::NoWorth => {
                "it matches, but [conflict] lets evidence of this kind count for nothing"
            }
            Self::NoUser => "it matches, but names no user",
            Self::NoAddress => "it matches, but names no single address",
            Self::NoDevice => "it matches, but names no device",
            Self::BadAddress => "it matches, but what stands for the address is none",
            Self::BadName => {
                "it matches, but a name is too long or holds control, text-direction or undecodable characters"
            }
        }
    }

    /// Whether the next rule may still make sense of the line.
    #[must_use]
    pub fn is_absence(self) -> bool {
        matches!(self, Self::NoUser | Self::NoAddress | Self::NoDevice)
    }
}

/// An event, and what was odd about its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreted {
    /// The event.
    pub event: IdentityEvent,
    /// Its stamp could not be believed, so the moment of arrival counts.
    pub replaced: Option<Replaced>,
}

/// Makes a line an event.
///
/// # Errors
/// Why it is none.
pub fn interpret(
    settings: &Settings,
    line: &str,
    received_at: UtcMillis,
) -> Result<Interpreted, Reason> {
    let message = Message::parse(line);
    let text = message.text();
    if text.is_empty() {
        return Err(Reason::Unparsable);
    }
    let mut reason = Reason::NoRule;
    let view = View::new(&text);
    for rule in settings.rules.matching(&view) {
        let Some(captures) = rule.captures(&view) else {
            continue;
        };
        match apply(
            settings,
            rule,
            &captures,
            message.stamp.as_ref(),
            received_at,
        ) {
            Err(absent) if absent.is_absence() => reason = absent,
            decided => return decided,
        }
    }
    Err(reason)
}

/// What one rule makes of its captures.
///
/// # Errors
/// Why it makes nothing.
pub fn apply(
    settings: &Settings,
    rule: &Rule,
    captures: &Captures<'_>,
    header: Option<&Stamp>,
    received_at: UtcMillis,
) -> Result<Interpreted, Reason> {
    if rule.event == SyslogEvent::Ignore {
        return Err(Reason::Ignored);
    }
    let address = match &captures.address {
        None => None,
        Some(Ok(address)) => Some(*address),
        Some(Err(_)) => return Err(Reason::BadAddress),
    };
    let claim = claim(settings, rule.event, captures, address)?;
    let (occurred_at, replaced) = when(settings, captures, header, received_at);
    Ok(Interpreted {
        event: IdentityEvent {
            producer: Arc::clone(&settings.producer),
            record: rule.record.clone(),
            occurred_at,
            received_at,
            heard: None,
            address,
            claim,
        },
        replaced,
    })
}

fn claim(
    settings: &Settings,
    event: SyslogEvent,
    captures: &Captures<'_>,
    address: Option<IpAddr>,
) -> Result<Claim, Reason> {
    let user = user(settings, captures)?;
    let device = device(settings, captures)?;
    let here = |claim| address.map(|_| claim).ok_or(Reason::NoAddress);
    match event {
        SyslogEvent::Logon | SyslogEvent::Identity => {
            let user = user.ok_or(Reason::NoUser)?;
            let kind = if event == SyslogEvent::Logon {
                EvidenceKind::SyslogLogon
            } else {
                EvidenceKind::SyslogIdentity
            };
            let weight = settings.conflict.weight(kind);
            match weight.strength() {
                Some(strength) => here(Claim::Logon(Logon {
                    user,
                    device,
                    groups: captures
                        .groups()
                        .filter_map(|g| Name::new(g).ok())
                        .collect(),
                    strength,
                    logon_id: None,
                })),
                None if weight == Weight::Renews => here(Claim::Renewal { user, device: None }),
                None => Err(Reason::NoWorth),
            }
        }
        SyslogEvent::Logoff if user.is_none() && address.is_none() => Err(Reason::NoUser),
        SyslogEvent::Logoff => Ok(Claim::Logoff {
            user,
            logon_id: None,
        }),
        SyslogEvent::DeviceLogon => here(Claim::DeviceLogon {
            device: device.ok_or(Reason::NoDevice)?,
            strength: Strength::Strong,
            own_kerberos: false,
        }),
        SyslogEvent::DeviceLogoff => here(Claim::DeviceLogoff { device }),
        SyslogEvent::Ignore => Err(Reason::Ignored),
    }
}

fn user(settings: &Settings, captures: &Captures<'_>) -> Result<Option<UserRef>, Reason> {
    let Some(text) = captures.user.as_deref() else {
        return Ok(None);
    };
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Reason::BadName);
    }
    let domain = captures.domain.as_deref();
    // A domain of its own says more than the suffix of a name that looks like a mail address.
    let text = match (domain, text.rsplit_once('@')) {
        (Some(_), Some((user, _))) => user,
        _ => text,
    };
    user_ref(text, domain, settings.domain.as_ref())
        .map(Some)
        .ok_or(Reason::BadName)
}

/// The device: of the captured domain, else of the domain in its DNS name, else of the source's.
fn device(settings: &Settings, captures: &Captures<'_>) -> Result<Option<DeviceRef>, Reason> {
    let Some(text) = captures.device.as_deref() else {
        return Ok(None);
    };
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Reason::BadName);
    }
    let text = text.rsplit('\\').next().unwrap_or(text);
    let domain = captures
        .domain
        .as_deref()
        .or_else(|| {
            text.split_once('.')
                .map(|(_, domain)| domain.trim_end_matches('.'))
        })
        .filter(|domain| !domain.is_empty());
    let qualifier = match domain {
        Some(domain) => Qualifier::Domain(Name::new(domain).map_err(|_| Reason::BadName)?),
        None => settings
            .domain
            .clone()
            .map_or(Qualifier::Missing, Qualifier::Domain),
    };
    let name = Name::new(text).map_err(|_| Reason::BadName)?;
    Ok(Some(DeviceRef { name, qualifier }))
}

/// The template's stamp, else the header's, else the arrival (rule 5).
fn when(
    settings: &Settings,
    captures: &Captures<'_>,
    header: Option<&Stamp>,
    received_at: UtcMillis,
) -> (UtcMillis, Option<Replaced>) {
    if settings.time == SyslogTime::Received {
        return (received_at, None);
    }
    let captured = captures.timestamp.as_deref().and_then(instant::read_stamp);
    let Some(stamp) = captured.as_ref().or(header) else {
        return (received_at, None);
    };
    match instant::occurred_at(stamp, &settings.zone, received_at) {
        Ok(moment) => (moment, None),
        Err(replaced) => (received_at, Some(replaced)),
    }
}
