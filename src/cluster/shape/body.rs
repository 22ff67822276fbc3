//! The parts of a message: what each says, and under which lease.

use std::net::IpAddr;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::directory::DirectoryShape;
use super::event::{BookmarkShape, EventShape, ProbeShape};
use super::{PolicyShape, ShapeError, malformed};
use crate::identity::Batch;
use crate::identity::core::LogOffTarget;
use crate::identity::event::Bookmark;
use crate::identity::name::Name;
use crate::writer::Fence;

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Under which lease its author speaks; a part whose token is lower than one that was seen counts no more.
    pub fence: Option<FenceShape>,
    /// What it says.
    pub body: Body,
}

/// A lease, and the revision at which it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceShape {
    /// Its name.
    pub lease: String,
    /// Rises from holder to holder.
    pub token: u64,
}

/// What a part says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The author begins.
    Hello(String),
    /// The author holds the lease of the fence: nothing of an earlier holder counts after this.
    Claim,
    /// Time has passed: what is due at the message's time ends.
    Advance,
    /// What all tables obey from now on.
    Policy(Box<PolicyShape>),
    /// Evidence.
    Events {
        /// In order.
        events: Vec<EventShape>,
        /// Where their source stands after them.
        bookmark: Option<BookmarkShape>,
    },
    /// A step of reading a directory.
    Directory(Box<DirectoryShape>),
    /// The operator ends what is at an address.
    LogOffAddress(IpAddr),
    /// The operator ends a user's sessions.
    LogOffUser {
        /// Logon name.
        name: CompactString,
        /// Any name of his domain.
        domain: Option<CompactString>,
    },
    /// A computer was asked.
    Probe(Box<ProbeShape>),
    /// A member's table was not the stream's in this life: cookies that it gave mean another place.
    Doubt {
        /// The member.
        member: CompactString,
        /// The life.
        life: u64,
    },
}

impl From<&Fence> for FenceShape {
    fn from(fence: &Fence) -> Self {
        Self {
            lease: fence.lease.to_string(),
            token: fence.token,
        }
    }
}

impl Body {
    /// What a batch says; `None`: what Collectors push over HTTPS has no place in a cluster.
    #[must_use]
    pub fn of(batch: &Batch) -> Option<Self> {
        match batch {
            Batch::Events { events, bookmark } => Some(Self::Events {
                events: events.iter().map(EventShape::from).collect(),
                bookmark: bookmark.as_ref().map(BookmarkShape::from),
            }),
            Batch::Directory(batch) => Some(Self::Directory(Box::new(batch.into()))),
            Batch::LogOff(LogOffTarget::Address(address)) => Some(Self::LogOffAddress(*address)),
            Batch::LogOff(LogOffTarget::User { name, domain }) => Some(Self::LogOffUser {
                name: name.as_str().into(),
                domain: domain.as_ref().map(|domain| domain.as_str().into()),
            }),
            Batch::Probe(report) => Some(Self::Probe(Box::new(report.into()))),
            Batch::Collector(_) | Batch::CollectorStanding { .. } | Batch::DropDirectory { .. } => {
                None
            }
        }
    }

    /// The batch that it says, if it says one.
    ///
    /// # Errors
    /// It holds what no author can have meant.
    pub fn into_batch(self) -> Result<Option<Batch>, ShapeError> {
        Ok(Some(match self {
            Self::Hello(_) | Self::Claim | Self::Advance | Self::Policy(_) | Self::Doubt { .. } => {
                return Ok(None);
            }
            Self::Events { events, bookmark } => Batch::Events {
                events: events
                    .into_iter()
                    .map(EventShape::into_event)
                    .collect::<Result<_, _>>()?,
                bookmark: bookmark.map(Bookmark::from),
            },
            Self::Directory(batch) => Batch::Directory(batch.into_batch()?),
            Self::LogOffAddress(address) => Batch::LogOff(LogOffTarget::Address(address)),
            Self::LogOffUser { name: user, domain } => Batch::LogOff(LogOffTarget::User {
                name: name(&user)?,
                domain: domain.as_deref().map(name).transpose()?,
            }),
            Self::Probe(report) => Batch::Probe(report.into_report()?),
        }))
    }
}

/// A name that went through the one constructor before it was written.
pub(super) fn name(text: &str) -> Result<Name, ShapeError> {
    Name::new(text).map_err(|_| malformed("a name"))
}
