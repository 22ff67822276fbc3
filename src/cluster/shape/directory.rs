//! Steps of reading a directory, as they are written.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::ShapeError;
use super::body::name;
use super::event::BookmarkShape;
use crate::identity::directory::{
    DirectoryBatch, DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use crate::identity::event::Bookmark;
use crate::identity::name::Name;

/// As [`DirectoryBatch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryShape {
    directory: CompactString,
    domain: CompactString,
    /// NetBIOS name and UPN suffixes.
    facts: Option<(Option<CompactString>, Vec<CompactString>)>,
    step: StepShape,
    upserts: Vec<ObjectShape>,
    removed: Vec<[u8; 16]>,
    bookmark: Option<BookmarkShape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum StepShape {
    FullBegin,
    FullPart,
    FullEnd,
    Poll,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ObjectShape {
    id: [u8; 16],
    sid: Option<CompactString>,
    name: CompactString,
    kind: KindShape,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum KindShape {
    User {
        upn: Option<CompactString>,
        enabled: bool,
        primary_group: Option<CompactString>,
    },
    Device {
        dns_name: Option<CompactString>,
        os: Option<CompactString>,
        os_version: Option<CompactString>,
        primary_group: Option<CompactString>,
    },
    Group {
        members: Vec<[u8; 16]>,
    },
}

fn text(name: &Name) -> CompactString {
    name.as_str().into()
}

fn maybe(text: Option<CompactString>) -> Result<Option<Name>, ShapeError> {
    text.as_deref().map(name).transpose()
}

impl From<&DirectoryObject> for ObjectShape {
    fn from(object: &DirectoryObject) -> Self {
        let kind = match &object.kind {
            ObjectKind::User {
                upn,
                enabled,
                primary_group,
            } => KindShape::User {
                upn: upn.as_ref().map(text),
                enabled: *enabled,
                primary_group: primary_group.clone(),
            },
            ObjectKind::Device {
                dns_name,
                os,
                os_version,
                primary_group,
            } => KindShape::Device {
                dns_name: dns_name.as_ref().map(text),
                os: os.as_ref().map(text),
                os_version: os_version.as_ref().map(text),
                primary_group: primary_group.clone(),
            },
            ObjectKind::Group { members } => KindShape::Group {
                members: members.iter().map(|member| member.0).collect(),
            },
        };
        Self {
            id: object.id.0,
            sid: object.sid.clone(),
            name: text(&object.name),
            kind,
        }
    }
}

impl ObjectShape {
    fn object(self) -> Result<DirectoryObject, ShapeError> {
        let kind = match self.kind {
            KindShape::User {
                upn,
                enabled,
                primary_group,
            } => ObjectKind::User {
                upn: maybe(upn)?,
                enabled,
                primary_group,
            },
            KindShape::Device {
                dns_name,
                os,
                os_version,
                primary_group,
            } => ObjectKind::Device {
                dns_name: maybe(dns_name)?,
                os: maybe(os)?,
                os_version: maybe(os_version)?,
                primary_group,
            },
            KindShape::Group { members } => ObjectKind::Group {
                members: members.into_iter().map(ObjectId).collect(),
            },
        };
        Ok(DirectoryObject {
            id: ObjectId(self.id),
            sid: self.sid,
            name: name(&self.name)?,
            kind,
        })
    }
}

impl From<&DirectoryBatch> for DirectoryShape {
    fn from(batch: &DirectoryBatch) -> Self {
        let facts = batch.facts.as_ref().map(|facts| {
            let suffixes = facts.upn_suffixes.iter().map(text).collect();
            (facts.netbios.as_ref().map(text), suffixes)
        });
        Self {
            directory: text(&batch.directory),
            domain: text(&batch.domain),
            facts,
            step: match batch.step {
                DirectoryStep::FullBegin => StepShape::FullBegin,
                DirectoryStep::FullPart => StepShape::FullPart,
                DirectoryStep::FullEnd => StepShape::FullEnd,
                DirectoryStep::Poll => StepShape::Poll,
            },
            upserts: batch.upserts.iter().map(ObjectShape::from).collect(),
            removed: batch.removed.iter().map(|id| id.0).collect(),
            bookmark: batch.bookmark.as_ref().map(BookmarkShape::from),
        }
    }
}

impl DirectoryShape {
    pub(super) fn into_batch(self) -> Result<DirectoryBatch, ShapeError> {
        let facts = match self.facts {
            None => None,
            Some((netbios, suffixes)) => Some(DomainFacts {
                netbios: maybe(netbios)?,
                upn_suffixes: suffixes
                    .iter()
                    .map(|suffix| name(suffix))
                    .collect::<Result<_, _>>()?,
            }),
        };
        Ok(DirectoryBatch {
            directory: name(&self.directory)?,
            domain: name(&self.domain)?,
            facts,
            step: match self.step {
                StepShape::FullBegin => DirectoryStep::FullBegin,
                StepShape::FullPart => DirectoryStep::FullPart,
                StepShape::FullEnd => DirectoryStep::FullEnd,
                StepShape::Poll => DirectoryStep::Poll,
            },
            upserts: self
                .upserts
                .into_iter()
                .map(ObjectShape::object)
                .collect::<Result<_, _>>()?,
            removed: self.removed.into_iter().map(ObjectId).collect(),
            bookmark: self.bookmark.map(Bookmark::from),
        })
    }
}
