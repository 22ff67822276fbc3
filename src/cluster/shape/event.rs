//! Evidence, and computers' answers, as they are written.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::body::name;
use super::{ShapeError, malformed};
use crate::identity::event::{
    Bookmark, Claim, DeviceRef, IdentityEvent, Logon, LogonId, Qualifier, Strength, UserRef,
};
use crate::identity::heard::{Heard, Hearer, LineId};
use crate::identity::name::Name;
use crate::identity::probe::{ProbeAnswer, ProbeReport, ProbeTicket};
use crate::identity::time::UtcMillis;

/// Most bytes of a record's name, as for any event.
const MAX_RECORD_BYTES: usize = 256;

/// As [`IdentityEvent`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventShape {
    producer: CompactString,
    record: CompactString,
    occurred_at: i64,
    received_at: i64,
    address: Option<IpAddr>,
    claim: ClaimShape,
    /// The line it was made of, and who heard it.
    heard: Option<(u64, u64)>,
}

/// As [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ClaimShape {
    Logon {
        user: NameShape,
        device: Option<NameShape>,
        groups: Vec<CompactString>,
        strong: bool,
        logon_id: Option<LogonShape>,
    },
    Logoff {
        user: Option<NameShape>,
        logon_id: Option<LogonShape>,
    },
    DeviceLogon {
        device: NameShape,
        strong: bool,
        own_kerberos: bool,
    },
    DeviceLogoff {
        device: Option<NameShape>,
    },
    Renewal {
        user: NameShape,
        device: Option<NameShape>,
    },
}

/// As [`UserRef`] and [`DeviceRef`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NameShape {
    name: CompactString,
    qualifier: QualifierShape,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum QualifierShape {
    Domain(CompactString),
    Upn(CompactString),
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LogonShape {
    computer: CompactString,
    id: u64,
}

/// As [`Bookmark`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookmarkShape {
    key: CompactString,
    value: Vec<u8>,
}

/// As [`ProbeReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeShape {
    address: IpAddr,
    producer: CompactString,
    record: CompactString,
    ticket: Option<(u32, i64, i64)>,
    asked_at: i64,
    answered_at: i64,
    healthy: bool,
    answer: AnswerShape,
    device: Option<NameShape>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum AnswerShape {
    Users(Vec<NameShape>),
    Nobody,
    Refused,
    Unreachable,
    NotProbed,
}

impl From<&Bookmark> for BookmarkShape {
    fn from(bookmark: &Bookmark) -> Self {
        Self {
            key: bookmark.key.clone(),
            value: bookmark.value.to_vec(),
        }
    }
}

impl From<BookmarkShape> for Bookmark {
    fn from(shape: BookmarkShape) -> Self {
        Self {
            key: shape.key,
            value: shape.value.into(),
        }
    }
}

impl NameShape {
    fn new(name: &Name, qualifier: &Qualifier) -> Self {
        Self {
            name: name.as_str().into(),
            qualifier: match qualifier {
                Qualifier::Domain(domain) => QualifierShape::Domain(domain.as_str().into()),
                Qualifier::Upn(suffix) => QualifierShape::Upn(suffix.as_str().into()),
                Qualifier::Missing => QualifierShape::Missing,
            },
        }
    }

    fn parts(&self) -> Result<(Name, Qualifier), ShapeError> {
        let qualifier = match &self.qualifier {
            QualifierShape::Domain(domain) => Qualifier::Domain(name(domain)?),
            QualifierShape::Upn(suffix) => Qualifier::Upn(name(suffix)?),
            QualifierShape::Missing => Qualifier::Missing,
        };
        Ok((name(&self.name)?, qualifier))
    }

    fn user(&self) -> Result<UserRef, ShapeError> {
        let (name, qualifier) = self.parts()?;
        Ok(UserRef { name, qualifier })
    }

    fn device(&self) -> Result<DeviceRef, ShapeError> {
        let (name, qualifier) = self.parts()?;
        Ok(DeviceRef { name, qualifier })
    }
}

impl From<&UserRef> for NameShape {
    fn from(user: &UserRef) -> Self {
        Self::new(&user.name, &user.qualifier)
    }
}

impl From<&DeviceRef> for NameShape {
    fn from(device: &DeviceRef) -> Self {
        Self::new(&device.name, &device.qualifier)
    }
}

impl From<&LogonId> for LogonShape {
    fn from(logon: &LogonId) -> Self {
        Self {
            computer: logon.computer.as_str().into(),
            id: logon.id,
        }
    }
}

impl LogonShape {
    fn logon(&self) -> Result<LogonId, ShapeError> {
        Ok(LogonId {
            computer: name(&self.computer)?,
            id: self.id,
        })
    }
}

fn strength(strong: bool) -> Strength {
    if strong {
        Strength::Strong
    } else {
        Strength::Weak
    }
}

fn device(shape: Option<NameShape>) -> Result<Option<DeviceRef>, ShapeError> {
    shape.as_ref().map(NameShape::device).transpose()
}

fn logon(shape: Option<LogonShape>) -> Result<Option<LogonId>, ShapeError> {
    shape.as_ref().map(LogonShape::logon).transpose()
}

impl From<&Claim> for ClaimShape {
    fn from(claim: &Claim) -> Self {
        match claim {
            Claim::Logon(logon) => Self::Logon {
                user: (&logon.user).into(),
                device: logon.device.as_ref().map(NameShape::from),
                groups: logon.groups.iter().map(|g| g.as_str().into()).collect(),
                strong: logon.strength == Strength::Strong,
                logon_id: logon.logon_id.as_ref().map(LogonShape::from),
            },
            Claim::Logoff { user, logon_id } => Self::Logoff {
                user: user.as_ref().map(NameShape::from),
                logon_id: logon_id.as_ref().map(LogonShape::from),
            },
            Claim::DeviceLogon {
                device,
                strength,
                own_kerberos,
            } => Self::DeviceLogon {
                device: device.into(),
                strong: *strength == Strength::Strong,
                own_kerberos: *own_kerberos,
            },
            Claim::DeviceLogoff { device } => Self::DeviceLogoff {
                device: device.as_ref().map(NameShape::from),
            },
            Claim::Renewal { user, device } => Self::Renewal {
                user: user.into(),
                device: device.as_ref().map(NameShape::from),
            },
        }
    }
}

impl ClaimShape {
    fn claim(self) -> Result<Claim, ShapeError> {
        Ok(match self {
            Self::Logon {
                user,
                device: at,
                groups,
                strong,
                logon_id,
            } => Claim::Logon(Logon {
                user: user.user()?,
                device: device(at)?,
                groups: groups
                    .iter()
                    .map(|group| name(group))
                    .collect::<Result<_, _>>()?,
                strength: strength(strong),
                logon_id: logon(logon_id)?,
            }),
            Self::Logoff { user, logon_id } => Claim::Logoff {
                user: user.as_ref().map(NameShape::user).transpose()?,
                logon_id: logon(logon_id)?,
            },
            Self::DeviceLogon {
                device,
                strong,
                own_kerberos,
            } => Claim::DeviceLogon {
                device: device.device()?,
                strength: strength(strong),
                own_kerberos,
            },
            Self::DeviceLogoff { device: at } => Claim::DeviceLogoff {
                device: device(at)?,
            },
            Self::Renewal { user, device: at } => Claim::Renewal {
                user: user.user()?,
                device: device(at)?,
            },
        })
    }
}

impl From<&IdentityEvent> for EventShape {
    fn from(event: &IdentityEvent) -> Self {
        Self {
            producer: CompactString::new(&event.producer),
            record: event.record.clone(),
            occurred_at: event.occurred_at.0,
            received_at: event.received_at.0,
            address: event.address,
            claim: (&event.claim).into(),
            heard: event.heard.as_ref().map(|heard| (heard.line.0, heard.by.0)),
        }
    }
}

impl EventShape {
    pub(super) fn into_event(self) -> Result<IdentityEvent, ShapeError> {
        Ok(IdentityEvent {
            producer: producer(&self.producer)?,
            record: record(self.record)?,
            occurred_at: UtcMillis(self.occurred_at),
            received_at: UtcMillis(self.received_at),
            address: self.address,
            claim: self.claim.claim()?,
            heard: self.heard.map(|(line, by)| {
                let (line, by) = (LineId(line), Hearer(by));
                Box::new(Heard { line, by })
            }),
        })
    }
}

fn producer(text: &str) -> Result<std::sync::Arc<str>, ShapeError> {
    Ok(name(text)?.as_str().into())
}

fn record(text: CompactString) -> Result<CompactString, ShapeError> {
    let fits = text.len() <= MAX_RECORD_BYTES;
    fits.then_some(text).ok_or(malformed("a record"))
}

impl From<&ProbeReport> for ProbeShape {
    fn from(report: &ProbeReport) -> Self {
        let users = |users: &Vec<UserRef>| users.iter().map(NameShape::from).collect();
        Self {
            address: report.address,
            producer: CompactString::new(&report.producer),
            record: report.record.clone(),
            ticket: report.ticket.number(),
            asked_at: report.asked_at.0,
            answered_at: report.answered_at.0,
            healthy: report.healthy,
            answer: match &report.answer {
                ProbeAnswer::Users(found) => AnswerShape::Users(users(found)),
                ProbeAnswer::Nobody => AnswerShape::Nobody,
                ProbeAnswer::Refused => AnswerShape::Refused,
                ProbeAnswer::Unreachable => AnswerShape::Unreachable,
                ProbeAnswer::NotProbed => AnswerShape::NotProbed,
            },
            device: report.device.as_ref().map(NameShape::from),
        }
    }
}

impl ProbeShape {
    pub(super) fn into_report(self) -> Result<ProbeReport, ShapeError> {
        Ok(ProbeReport {
            address: self.address,
            producer: producer(&self.producer)?,
            record: record(self.record)?,
            ticket: ProbeTicket::of(self.ticket),
            asked_at: UtcMillis(self.asked_at),
            answered_at: UtcMillis(self.answered_at),
            healthy: self.healthy,
            answer: match self.answer {
                AnswerShape::Users(users) => ProbeAnswer::Users(
                    users
                        .iter()
                        .map(NameShape::user)
                        .collect::<Result<_, _>>()?,
                ),
                AnswerShape::Nobody => ProbeAnswer::Nobody,
                AnswerShape::Refused => ProbeAnswer::Refused,
                AnswerShape::Unreachable => ProbeAnswer::Unreachable,
                AnswerShape::NotProbed => ProbeAnswer::NotProbed,
            },
            device: device(self.device)?,
        })
    }
}
