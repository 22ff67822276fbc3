//! What can happen in the world, one step a line, as text that a support engineer can write.
//!
//! The same lines make the scenario files under `tests/fixtures/scenarios/`, whose README describes them; a failing
//! seed prints itself in them. Reading is in `step_text.rs`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jims::identity::event::Strength;

/// Milliseconds since the scenario's midnight; over 24 h is the next day.
pub(crate) type At = i64;

pub(crate) const SECOND: At = 1000;
pub(crate) const MINUTE: At = 60 * SECOND;
pub(crate) const HOUR: At = 60 * MINUTE;

/// One line: what happened when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// What our clock says.
    pub(crate) now: At,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// A producer delivered an event.
    Said(Said),
    /// A directory delivered a batch.
    Read(Read),
    /// The operator ended sessions.
    LogOff(Whom),
    /// The configuration was loaded again.
    Policy(PolicyText),
    /// Somebody began to ask the computer at an address; the name is that of the ticket.
    Ask(IpAddr, String),
    /// The answer to an earlier question.
    Answer(Answered),
    /// A snapshot is written, and has a name.
    Snapshot(String),
    /// The process died and started again from that snapshot.
    Restore(String),
    /// A clean stop and start.
    Restart,
    /// Nothing but time passed.
    Tick,
    /// The machine slept until now, or its clock was put forward: nobody called the core meanwhile.
    Resume,
    /// What must be true now.
    Expect(IpAddr, Expected),
    /// Which addresses the journal names since the last such line, in its order.
    Changes(Vec<IpAddr>),
}

/// An event as its producer delivers it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) producer: String,
    /// When it happened.
    pub(crate) at: At,
    pub(crate) address: Option<IpAddr>,
    pub(crate) claim: Claimed,
}

/// What was claimed. Users and devices are written as in logs: `alice`, `CORP\alice`, `alice@corp.example.com`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Claimed {
    Logon {
        user: String,
        strength: Strength,
        device: Option<String>,
        groups: Vec<String>,
        id: Option<(String, u64)>,
    },
    Logoff {
        user: Option<String>,
        id: Option<(String, u64)>,
    },
    DeviceLogon {
        device: String,
        strength: Strength,
        own_kerberos: bool,
    },
    DeviceLogoff {
        device: Option<String>,
    },
    Renewal {
        user: String,
        device: Option<String>,
    },
}

/// What came back from a computer. Of a ticket that was never drawn, or not since the last start, nothing comes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) ticket: String,
    pub(crate) healthy: bool,
    pub(crate) answer: Answer,
    pub(crate) device: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Users(Vec<String>),
    Nobody,
    Refused,
    Unreachable,
    NotProbed,
}

/// A batch of a directory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) directory: String,
    pub(crate) part: Part,
    pub(crate) objects: Vec<Object>,
    pub(crate) gone: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Begin,
    Middle,
    End,
    Poll,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    User {
        upn: Option<String>,
        enabled: bool,
        primary: Option<u32>,
    },
    Device {
        primary: Option<u32>,
    },
    Group {
        members: Vec<u32>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Whom {
    Address(IpAddr),
    User(String),
}

/// The configuration, as far as the core knows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PolicyText {
    pub(crate) logoff_time: Duration,
    pub(crate) follow_device: bool,
    pub(crate) shared: Vec<ipnet::IpNet>,
    /// Where computers can be asked, and how long a session may wait for the answer.
    pub(crate) probe: Vec<ipnet::IpNet>,
    pub(crate) grace: Duration,
    /// Domain (DNS name), NetBIOS name, and whether a directory of the NetBIOS name in lower case serves it.
    pub(crate) domains: Vec<(String, String, bool)>,
    /// Producer and the only network that it may speak for.
    pub(crate) scopes: Vec<(String, ipnet::IpNet)>,
    pub(crate) exclude_addresses: Vec<ipnet::IpNet>,
    pub(crate) exclude_users: Vec<String>,
    pub(crate) exclude_devices: Vec<String>,
    pub(crate) exclude_groups: Vec<String>,
}

/// What an `expect` line says; what it does not say is not looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expected {
    /// `Some(None)`: nobody.
    pub(crate) user: Option<Option<String>>,
    pub(crate) device: Option<Option<String>>,
    pub(crate) strength: Option<Strength>,
    pub(crate) until: Option<At>,
    pub(crate) roles: Option<Vec<String>>,
    /// Whether the user's session is in doubt.
    pub(crate) doubted: Option<bool>,
    /// Why the last user session here ended.
    pub(crate) ended: Option<String>,
}

impl Default for PolicyText {
    fn default() -> Self {
        Self {
            logoff_time: Duration::from_hours(24),
            follow_device: false,
            shared: Vec::new(),
            probe: Vec::new(),
            grace: Duration::from_hours(1),
            domains: vec![("corp.example.com".into(), "CORP".into(), true)],
            scopes: Vec::new(),
            exclude_addresses: Vec::new(),
            exclude_users: Vec::new(),
            exclude_devices: Vec::new(),
            exclude_groups: Vec::new(),
        }
    }
}

/// Writes a time as `HH:MM:SS.mmm`.
pub(crate) fn clock(at: At) -> String {
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        at / HOUR,
        at / MINUTE % 60,
        at / SECOND % 60,
        at % 1000
    )
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", clock(self.now))?;
        match &self.action {
            Action::Said(said) => write_said(f, said, self.now),
            Action::Read(read) => write_read(f, read),
            Action::LogOff(Whom::Address(address)) => write!(f, "operator log-off {address}"),
            Action::LogOff(Whom::User(user)) => write!(f, "operator log-off user={user}"),
            Action::Policy(policy) => write_policy(f, policy),
            Action::Ask(address, ticket) => write!(f, "ask {address} as {ticket}"),
            Action::Answer(answered) => write_answer(f, answered),
            Action::Snapshot(name) => write!(f, "snapshot {name}"),
            Action::Restore(name) => write!(f, "restore {name}"),
            Action::Restart => f.write_str("restart"),
            Action::Tick => f.write_str("tick"),
            Action::Resume => f.write_str("resume"),
            Action::Expect(address, expected) => write_expected(f, *address, expected),
            Action::Changes(addresses) => {
                f.write_str("changes")?;
                addresses.iter().try_for_each(|a| write!(f, " {a}"))
            }
        }
    }
}

fn strength_word(strength: Strength) -> &'static str {
    match strength {
        Strength::Weak => "weak",
        Strength::Strong => "strong",
    }
}

fn write_said(f: &mut fmt::Formatter<'_>, said: &Said, now: At) -> fmt::Result {
    let address = said
        .address
        .map_or_else(|| "-".to_owned(), |a| a.to_string());
    let producer = &said.producer;
    let id_of = |id: &Option<(String, u64)>| {
        id.as_ref()
            .map_or_else(String::new, |(computer, id)| format!(" id={computer}/{id}"))
    };
    match &said.claim {
        Claimed::Logon {
            user,
            strength,
            device,
            groups,
            id,
        } => {
            let strength = strength_word(*strength);
            write!(
                f,
                "{producer} logon {user} {address} {strength}{}",
                id_of(id)
            )?;
            if let Some(device) = device {
                write!(f, " device={device}")?;
            }
            if !groups.is_empty() {
                write!(f, " groups={}", groups.join(","))?;
            }
        }
        Claimed::Logoff { user, id } => {
            let user = user.as_deref().unwrap_or("*");
            write!(f, "{producer} logoff {user} {address}{}", id_of(id))?;
        }
        Claimed::DeviceLogon {
            device,
            strength,
            own_kerberos,
        } => {
            let strength = strength_word(*strength);
            let own = if *own_kerberos { " own-kerberos" } else { "" };
            write!(
                f,
                "{producer} device-logon {device} {address} {strength}{own}"
            )?;
        }
        Claimed::DeviceLogoff { device } => {
            let device = device.as_deref().unwrap_or("*");
            write!(f, "{producer} device-logoff {device} {address}")?;
        }
        Claimed::Renewal { user, device } => {
            write!(f, "{producer} renewal {user} {address}")?;
            if let Some(device) = device {
                write!(f, " device={device}")?;
            }
        }
    }
    if said.at != now {
        write!(f, " at={}", clock(said.at))?;
    }
    Ok(())
}

fn write_answer(f: &mut fmt::Formatter<'_>, answered: &Answered) -> fmt::Result {
    write!(f, "answer {} ", answered.ticket)?;
    match &answered.answer {
        Answer::Users(users) => write!(f, "users={}", users.join(","))?,
        Answer::Nobody => f.write_str("nobody")?,
        Answer::Refused => f.write_str("refused")?,
        Answer::Unreachable => f.write_str("unreachable")?,
        Answer::NotProbed => f.write_str("not-probed")?,
    }
    if let Some(device) = &answered.device {
        write!(f, " device={device}")?;
    }
    if !answered.healthy {
        f.write_str(" unhealthy")?;
    }
    Ok(())
}

fn write_read(f: &mut fmt::Formatter<'_>, read: &Read) -> fmt::Result {
    let part = match read.part {
        Part::Begin => "full-begin",
        Part::Middle => "full-part",
        Part::End => "full-end",
        Part::Poll => "poll",
    };
    write!(f, "directory {} {part}", read.directory)?;
    for object in &read.objects {
        let Object { id, name, .. } = object;
        let primary_of =
            |primary: &Option<u32>| primary.map_or_else(String::new, |p| format!("/primary={p}"));
        match &object.kind {
            Kind::User {
                upn,
                enabled,
                primary,
            } => {
                write!(f, " user#{id}={name}")?;
                if let Some(upn) = upn {
                    write!(f, "/upn={upn}")?;
                }
                if !enabled {
                    f.write_str("/disabled")?;
                }
                f.write_str(&primary_of(primary))?;
            }
            Kind::Device { primary } => write!(f, " device#{id}={name}{}", primary_of(primary))?,
            Kind::Group { members } => {
                let members: Vec<String> = members.iter().map(u32::to_string).collect();
                write!(f, " group#{id}={name}/members={}", members.join(","))?;
            }
        }
    }
    for id in &read.gone {
        write!(f, " gone#{id}")?;
    }
    Ok(())
}

fn write_policy(f: &mut fmt::Formatter<'_>, policy: &PolicyText) -> fmt::Result {
    write!(f, "policy logoff-time={}s", policy.logoff_time.as_secs())?;
    if policy.follow_device {
        f.write_str(" follow-device")?;
    }
    for network in &policy.shared {
        write!(f, " shared={network}")?;
    }
    for network in &policy.probe {
        write!(f, " probe={network}")?;
    }
    if policy.grace != PolicyText::default().grace {
        write!(f, " grace={}s", policy.grace.as_secs())?;
    }
    for (dns, netbios, directory) in &policy.domains {
        let read = if *directory { "/directory" } else { "" };
        write!(f, " domain={dns}/{netbios}{read}")?;
    }
    for (producer, network) in &policy.scopes {
        write!(f, " scope={producer}@{network}")?;
    }
    for network in &policy.exclude_addresses {
        write!(f, " exclude-address={network}")?;
    }
    for user in &policy.exclude_users {
        write!(f, " exclude-user={user}")?;
    }
    for device in &policy.exclude_devices {
        write!(f, " exclude-device={device}")?;
    }
    for group in &policy.exclude_groups {
        write!(f, " exclude-group={group}")?;
    }
    Ok(())
}

fn write_expected(f: &mut fmt::Formatter<'_>, address: IpAddr, expected: &Expected) -> fmt::Result {
    write!(f, "expect {address}")?;
    if let Some(user) = &expected.user {
        write!(f, " user={}", user.as_deref().unwrap_or("nobody"))?;
    }
    if let Some(device) = &expected.device {
        write!(f, " device={}", device.as_deref().unwrap_or("none"))?;
    }
    if let Some(strength) = expected.strength {
        write!(f, " {}", strength_word(strength))?;
    }
    if let Some(until) = expected.until {
        write!(f, " until={}", clock(until))?;
    }
    if let Some(roles) = &expected.roles {
        write!(f, " roles={}", roles.join(","))?;
    }
    match expected.doubted {
        Some(true) => f.write_str(" doubted")?,
        Some(false) => f.write_str(" sure")?,
        None => {}
    }
    if let Some(word) = &expected.ended {
        write!(f, " ended={word}")?;
    }
    Ok(())
}
