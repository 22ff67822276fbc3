//! What a directory service tells the table: objects that changed, objects that went.
//!
//! `directory/` reads LDAP or LDIF and makes these; the table closes memberships transitively and ends the sessions of
//! users who went (rule 13, 14). Plain data, no LDAP here.

use super::event::Bookmark;
use super::name::Name;

/// Identity of a directory object across renames: its objectGUID, or for sources without one the first 16 bytes of
/// SHA-256 over the folded distinguished name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; 16]);

/// A security identifier in its binary form is at most 68 bytes; kept as text (`S-1-5-21-…`).
pub type Sid = compact_str::CompactString;

/// One object of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryObject {
    /// Identity across renames.
    pub id: ObjectId,
    /// `objectSid`, if there is one. Primary groups are found by it.
    pub sid: Option<Sid>,
    /// `sAMAccountName`; of a computer without the trailing `$`.
    pub name: Name,
    /// What it is.
    pub kind: ObjectKind,
}

/// What a directory object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A person or service account.
    User {
        /// `userPrincipalName`.
        upn: Option<Name>,
        /// `userAccountControl` has not ACCOUNTDISABLE.
        enabled: bool,
        /// SID of the primary group.
        primary_group: Option<Sid>,
    },
    /// A computer account.
    Device {
        /// `dNSHostName`.
        dns_name: Option<Name>,
        /// `operatingSystem`.
        os: Option<Name>,
        /// `operatingSystemVersion`.
        os_version: Option<Name>,
        /// SID of the primary group.
        primary_group: Option<Sid>,
    },
    /// A group with its direct members, all of them each time.
    Group {
        /// Direct members; objects not (yet) known are kept and count once they are.
        members: Vec<ObjectId>,
    },
}

impl ObjectKind {
    /// A group's direct members.
    #[must_use]
    pub fn members(&self) -> &[ObjectId] {
        match self {
            Self::Group { members } => members,
            Self::User { .. } | Self::Device { .. } => &[],
        }
    }
}

/// What a directory says of its domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainFacts {
    /// NetBIOS name.
    pub netbios: Option<Name>,
    /// UPN suffixes of the forest, beside the DNS name.
    pub upn_suffixes: Vec<Name>,
}

/// One step of reading a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryBatch {
    /// The directory service's configured name.
    pub directory: Name,
    /// The DNS domain it serves.
    pub domain: Name,
    /// What the domain is called; `None`: as before.
    pub facts: Option<DomainFacts>,
    /// Part of a full read, or a poll.
    pub step: DirectoryStep,
    /// New and changed objects.
    pub upserts: Vec<DirectoryObject>,
    /// Objects that are gone (polls only; a full read sweeps what it did not name).
    pub removed: Vec<ObjectId>,
    /// Where the directory stands after this batch; stored with it.
    pub bookmark: Option<Bookmark>,
}

/// Where a batch stands in a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryStep {
    /// First batch of a full read: begins a mark.
    FullBegin,
    /// A further batch of a full read.
    FullPart,
    /// Last batch of a full read: sweeps what was not named since `FullBegin`, within the limits of rule 14.
    FullEnd,
    /// Changes since the last bookmark.
    Poll,
}
