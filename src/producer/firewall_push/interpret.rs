//! What a pushed entry means: the one place where it becomes an identity event, or a reason why it does not. Pure.
//!
//! A logon of a portal or NAC is strong evidence (rule 6). Which roles count, and for which addresses and domains the
//! sender may speak, is its scope, which the table keeps (rules 12, 13). `posture`, `source` and the device's system are
//! read over: the table keeps no posture, and a device's system is the directory's to say.
//!
//! A NAC says of a computer that signed on for itself (802.1X) that its user is `host/NAME` or `NAME$`. That is a device,
//! and says nothing of the user.

use jiff::Timestamp;

use super::document::Entry;
use crate::identity::address::canonical;
use crate::identity::event::{
    Claim, DeviceRef, IdentityEvent, Logon, ProducerName, Qualifier, Strength, UserRef, user_ref,
};
use crate::identity::name::Name;
use crate::identity::time::UtcMillis;
use crate::producer::syslog::instant::{Replaced, believed};
use crate::producer::wording::{is_computer, is_hardware_or_address, is_nothing, without_host};

/// What a sender's entries are interpreted with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of its entry in the configuration.
    pub producer: ProducerName,
    /// Domain of names that carry none.
    pub domain: Option<Name>,
}

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `operation` is neither `logon` nor `logoff`.
    Operation,
    /// There is no `IP`, or it is none.
    Address,
    /// A logon of nobody and nothing.
    NoUser,
    /// A value is given twice in different ways, or has elements inside.
    Ambiguous,
    /// A name is too long or holds characters that no name may hold.
    BadName,
}

impl Refused {
    /// The word for answers and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "bad-operation",
            Self::Address => "bad-address",
            Self::NoUser => "no-user",
            Self::Ambiguous => "ambiguous",
            Self::BadName => "bad-name",
        }
    }
}

/// An event, and what was odd about its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreted {
    /// The event.
    pub event: IdentityEvent,
    /// Its timestamp could not be believed, so the moment of arrival counts.
    pub replaced: Option<Replaced>,
}

/// Makes an entry an event; `number` is its place in the document, from 1 on.
///
/// # Errors
/// Why it is none.
pub fn interpret(
    settings: &Settings,
    entry: &Entry,
    number: usize,
    received_at: UtcMillis,
) -> Result<Interpreted, Refused> {
    if entry.is_ambiguous {
        return Err(Refused::Ambiguous);
    }
    let address = entry.address.parse().map_err(|_| Refused::Address)?;
    let subject = Subject::of(settings, entry)?;
    let claim = match entry.operation.to_ascii_lowercase().as_str() {
        "logon" | "login" => subject.logon(&entry.roles)?,
        "logoff" | "logout" => subject.logoff(),
        _ => return Err(Refused::Operation),
    };
    let (occurred_at, replaced) = when(&entry.timestamp, received_at);
    Ok(Interpreted {
        event: IdentityEvent {
            producer: settings.producer.clone(),
            record: compact_str::format_compact!("entry {number}"),
            occurred_at,
            received_at,
            heard: None,
            address: Some(canonical(address)),
            claim,
        },
        replaced,
    })
}

/// Who an entry is about.
enum Subject {
    /// A user, and the device that he sits at.
    User(UserRef, Option<DeviceRef>),
    /// A computer that signed on for itself.
    Machine(DeviceRef),
    /// No user is named.
    Nobody(Option<DeviceRef>),
}

impl Subject {
    fn of(settings: &Settings, entry: &Entry) -> Result<Self, Refused> {
        // A user may be called so; a logoff of nobody would end whoever is there.
        let user = entry.user.as_str();
        let domain = if is_nothing(&entry.domain) {
            ""
        } else {
            &entry.domain
        };
        let (name, suffix) = match user.rsplit_once('@') {
            Some((name, suffix)) => (name, Some(suffix)),
            None => (user, None),
        };
        if is_computer(name) {
            let name = without_host(name).unwrap_or(name);
            let (qualifier, name) = match name.rsplit_once('\\') {
                Some((qualifier, name)) => (Some(qualifier), name),
                None => (None, name),
            };
            let domains = [qualifier, suffix, Some(domain)];
            return device_ref(settings, name, &domains).map(Self::Machine);
        }
        let device = device(settings, entry, domain)?;
        if user.is_empty() {
            return Ok(Self::Nobody(device));
        }
        // A domain of its own says more than the suffix of a name that looks like a mail address.
        let text = if domain.is_empty() { user } else { name };
        let user = user_ref(text, Some(domain), settings.domain.as_ref());
        Ok(Self::User(user.ok_or(Refused::BadName)?, device))
    }

    fn logon(self, roles: &[String]) -> Result<Claim, Refused> {
        let (user, device) = match self {
            Self::User(user, device) => (user, device),
            Self::Machine(device) | Self::Nobody(Some(device)) => {
                return Ok(Claim::DeviceLogon {
                    device,
                    strength: Strength::Strong,
                    own_kerberos: false,
                });
            }
            Self::Nobody(None) => return Err(Refused::NoUser),
        };
        let groups = roles.iter().filter(|role| !role.is_empty());
        let groups: Result<_, _> = groups.map(|role| Name::new(role)).collect();
        Ok(Claim::Logon(Logon {
            user,
            device,
            groups: groups.map_err(|_| Refused::BadName)?,
            strength: Strength::Strong,
            logon_id: None,
        }))
    }

    fn logoff(self) -> Claim {
        let user = match self {
            Self::User(user, _) => Some(user),
            Self::Nobody(_) => None,
            Self::Machine(device) => {
                return Claim::DeviceLogoff {
                    device: Some(device),
                };
            }
        };
        Claim::Logoff {
            user,
            logon_id: None,
        }
    }
}

/// The device beside a user, if it has a name.
fn device(settings: &Settings, entry: &Entry, domain: &str) -> Result<Option<DeviceRef>, Refused> {
    let name = entry.device.rsplit('\\').next().unwrap_or_default();
    if is_nothing(name) || is_hardware_or_address(name) {
        return Ok(None);
    }
    device_ref(settings, name, &[Some(domain)]).map(Some)
}

/// A device by its name, in the domain that the name itself carries, else in the first that is said.
fn device_ref(
    settings: &Settings,
    name: &str,
    domains: &[Option<&str>],
) -> Result<DeviceRef, Refused> {
    let bad = |_| Refused::BadName;
    let own = name.split_once('.').map(|(_, domain)| domain);
    let mut all = std::iter::once(&own).chain(domains).copied().flatten();
    let qualifier = match all.find(|domain| !domain.is_empty()) {
        Some(domain) => Qualifier::Domain(Name::new(domain).map_err(bad)?),
        None => (settings.domain.clone()).map_or(Qualifier::Missing, Qualifier::Domain),
    };
    let name = Name::new(name).map_err(bad)?;
    Ok(DeviceRef { name, qualifier })
}

/// The entry's time, else the arrival (rule 5).
fn when(text: &str, received_at: UtcMillis) -> (UtcMillis, Option<Replaced>) {
    if text.is_empty() {
        return (received_at, None);
    }
    let Ok(stamp) = text.parse::<Timestamp>() else {
        return (received_at, Some(Replaced::Impossible));
    };
    let instant = UtcMillis(stamp.as_millisecond());
    let whole_second = !text.contains('.');
    match believed(instant, whole_second, received_at) {
        Ok(moment) => (moment, None),
        Err(replaced) => (received_at, Some(replaced)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_768_663_780_000);

    fn settings() -> Settings {
        Settings {
            producer: "clearpass".into(),
            domain: Some(Name::new("corp.example.com").unwrap()),
        }
    }

    fn entry() -> Entry {
        Entry {
            operation: "logon".into(),
            address: "10.1.2.50".into(),
            timestamp: "2026-01-17T15:29:37Z".into(),
            user: "alice".into(),
            ..Entry::default()
        }
    }

    fn event(entry: &Entry) -> Result<IdentityEvent, Refused> {
        interpret(&settings(), entry, 7, NOW).map(|made| made.event)
    }

    fn logon_of(entry: &Entry) -> Logon {
        match event(entry).unwrap().claim {
            Claim::Logon(logon) => logon,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_logon_is_strong_and_whole_seconds_count_as_their_end() {
        let made = event(&entry()).unwrap();
        assert_eq!(made.record, "entry 7");
        assert_eq!(made.occurred_at, UtcMillis(1_768_663_777_999));
        let logon = logon_of(&entry());
        assert_eq!(logon.strength, Strength::Strong);
        assert_eq!(
            logon.user.qualifier,
            Qualifier::Domain(Name::new("corp.example.com").unwrap())
        );
    }

    #[test]
    fn names_may_stand_in_every_form() {
        let user = |user: &str, domain: &str| {
            let logon = logon_of(&Entry {
                user: user.into(),
                domain: domain.into(),
                ..entry()
            });
            (logon.user.name.to_string(), logon.user.qualifier)
        };
        let domain = |text: &str| Qualifier::Domain(Name::new(text).unwrap());
        assert_eq!(user("LAB\\bob", ""), ("bob".into(), domain("LAB")));
        assert_eq!(
            user("bob@lab.example", "LAB"),
            ("bob".into(), domain("LAB"))
        );
        let upn = Qualifier::Upn(Name::new("lab.example").unwrap());
        assert_eq!(user("bob@lab.example", ""), ("bob".into(), upn));
    }

    #[test]
    fn a_device_stands_alone_or_beside_its_user() {
        let with = Entry {
            device: "WS-1.lab.example".into(),
            ..entry()
        };
        let device = logon_of(&with).device.unwrap();
        assert_eq!(
            (device.name.as_str(), device.qualifier),
            (
                "WS-1.lab.example",
                Qualifier::Domain(Name::new("lab.example").unwrap())
            )
        );
        let alone = Entry {
            user: String::new(),
            ..with
        };
        let claim = event(&alone).unwrap().claim;
        assert!(matches!(
            claim,
            Claim::DeviceLogon {
                own_kerberos: false,
                ..
            }
        ));
    }

    #[test]
    fn rule_5_a_time_that_cannot_be_believed_is_the_arrival() {
        let at = |timestamp: &str| {
            let entry = Entry {
                timestamp: timestamp.into(),
                ..entry()
            };
            let made = interpret(&settings(), &entry, 1, NOW).unwrap();
            (made.event.occurred_at, made.replaced)
        };
        assert_eq!(at(""), (NOW, None));
        assert_eq!(at("yesterday"), (NOW, Some(Replaced::Impossible)));
        assert_eq!(at("2026-01-16T15:00:00Z"), (NOW, Some(Replaced::Old)));
        assert_eq!(at("2026-01-17T16:29:37Z"), (NOW, Some(Replaced::Ahead)));
        assert_eq!(
            at("2026-01-17T16:29:37.5+01:00").0,
            UtcMillis(1_768_663_777_500)
        );
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_its_reason() {
        let refused = |change: &dyn Fn(&mut Entry)| {
            let mut entry = entry();
            change(&mut entry);
            event(&entry).unwrap_err()
        };
        assert_eq!(
            refused(&|e| e.operation = "update".into()),
            Refused::Operation
        );
        assert_eq!(refused(&|e| e.address = "here".into()), Refused::Address);
        assert_eq!(refused(&|e| e.address.clear()), Refused::Address);
        assert_eq!(refused(&|e| e.user.clear()), Refused::NoUser);
        assert_eq!(refused(&|e| e.is_ambiguous = true), Refused::Ambiguous);
        assert_eq!(
            refused(&|e| e.user = "al\u{202e}ice".into()),
            Refused::BadName
        );
        assert_eq!(
            refused(&|e| e.roles = vec!["a\nb".into()]),
            Refused::BadName
        );
    }

    #[test]
    fn a_logoff_needs_no_user_and_addresses_are_canonical() {
        let entry = Entry {
            operation: "LOGOFF".into(),
            address: "::ffff:10.1.2.50".into(),
            ..Entry::default()
        };
        let made = event(&entry).unwrap();
        assert_eq!(made.address, Some("10.1.2.50".parse().unwrap()));
        assert!(matches!(made.claim, Claim::Logoff { user: None, .. }));
    }

    #[test]
    fn a_machine_that_signs_on_is_a_device_and_no_user() {
        let domain = |text: &str| Qualifier::Domain(Name::new(text).unwrap());
        let machine = |user: &str, of: &str, operation: &str| {
            let entry = Entry {
                user: user.into(),
                domain: of.into(),
                operation: operation.into(),
                ..entry()
            };
            event(&entry).unwrap().claim
        };
        for (user, of, name, expected) in [
            (
                "host/ws-0042.lab.example",
                "CORP",
                "ws-0042.lab.example",
                "lab.example",
            ),
            ("HOST/ws-0042", "CORP", "ws-0042", "CORP"),
            ("WS-0042$", "", "WS-0042$", "corp.example.com"),
            ("LAB\\WS-0042$", "CORP", "WS-0042$", "LAB"),
            ("WS-0042$@lab.example", "", "WS-0042$", "lab.example"),
            ("host/WS-0042@lab.example", "", "WS-0042", "lab.example"),
        ] {
            let device = match machine(user, of, "logon") {
                Claim::DeviceLogon { device, .. } => device,
                other => panic!("{user}: {other:?}"),
            };
            assert_eq!(
                (device.name.as_str(), &device.qualifier),
                (name, &domain(expected))
            );
            let off = machine(user, of, "logoff");
            assert_eq!(
                off,
                Claim::DeviceLogoff {
                    device: Some(device)
                }
            );
        }
    }

    #[test]
    fn words_for_nothing_are_nothing() {
        let nothing = Entry {
            domain: "null".into(),
            device: "00:11:22:33:44:55".into(),
            ..entry()
        };
        let logon = logon_of(&nothing);
        assert_eq!(
            logon.user.qualifier,
            Qualifier::Domain(Name::new("corp.example.com").unwrap())
        );
        assert_eq!(logon.device, None);
        let called_so = Entry {
            user: "none".into(),
            ..entry()
        };
        assert_eq!(logon_of(&called_so).user.name.as_str(), "none");
    }
}
