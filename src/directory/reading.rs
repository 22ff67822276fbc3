//! Reads a domain controller page by page: everything, or what changed.
//!
//! Carries out what [`super::sync`] decides, over the [`LdapSearch`] seam. Each page goes into the table before the next
//! is asked for, so memory holds one page. Membership is read with GUIDs before the names (extended names), which Windows
//! and Samba have always had, so that no map of names is needed; long groups come in ranges.

use super::LdapSearch;
use super::feed::{Counts, Feed, Load, thousands};
use super::interpret::{self, ATTRIBUTES, MAX_MEMBERS};
use super::sync::{NotActiveDirectory, Position, ServerFacts};
use crate::identity::directory::{
    DirectoryObject, DirectoryStep, DomainFacts, ObjectId, ObjectKind,
};
use crate::identity::name::NameKey;
use crate::net::ldap::Search;
use crate::net::ldap_error::{LdapError, code};
use crate::wire::ldap::Entry;
use crate::writer::Stopped;

/// `sAMAccountType` of ordinary users; indexed by every domain controller.
const USERS: &str = "(sAMAccountType=805306368)";
/// `sAMAccountType` of machines.
const DEVICES: &str = "(sAMAccountType=805306369)";
const GROUPS: &str = "(objectCategory=group)";
/// Well-known GUID of the container of deleted objects (MS-ADTS 6.1.1.4).
const DELETED_OBJECTS: &str = "18E2EA80684F11D2B9AA00C04F79F805";
/// Most removals in one poll; more are left to a full read.
const MAX_REMOVED: usize = 100_000;
/// Most pages of one search: 100 million entries at the usual size.
const MAX_PAGES: usize = 100_000;

/// Why a reading ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The server or the way to it.
    #[error(transparent)]
    Ldap(#[from] LdapError),
    /// Not a domain controller.
    #[error("{host}: {reason}")]
    NotActiveDirectory {
        host: String,
        reason: NotActiveDirectory,
    },
    /// Another domain than configured.
    #[error("{host} serves the domain {found}, not {wanted}")]
    OtherDomain {
        host: String,
        found: String,
        wanted: String,
    },
    /// Nothing is visible.
    #[error("the account sees no users, computers or groups on {host}")]
    Empty { host: String },
    /// Pages never end.
    #[error("{host} sends pages without end")]
    Endless { host: String },
    /// The table takes no more.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl ReadError {
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Ldap(error) => error.remedy(),
            Self::NotActiveDirectory { .. } => {
                "name a domain controller in `hosts`; another kind of directory can be exported to LDIF and read by `ldif_file`".into()
            }
            Self::OtherDomain { .. } => "correct `domain` or `hosts`".into(),
            Self::Empty { .. } => "let the account read the domain; members of Domain Users normally can".into(),
            Self::Endless { .. } => "look into the server's log".into(),
            Self::Stopped(_) => String::new(),
        }
    }
}

/// What a full read or a poll did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    /// Objects read, by kind.
    pub(super) counts: Counts,
    /// The table did not remove what is gone and wants a full read first.
    pub(super) full_wanted: bool,
}

/// One connected server, and where its data go.
pub(super) struct Reading<'a, L> {
    pub(super) ldap: &'a mut L,
    pub(super) feed: &'a Feed,
    pub(super) host: &'a str,
    pub(super) page_size: u32,
}

impl<L: LdapSearch> Reading<'_, L> {
    /// Asks the server who it is and how far its changes go.
    pub(super) async fn server(&mut self) -> Result<ServerFacts, ReadError> {
        let host = self.host.to_owned();
        let root = self.ldap.root().await?.unwrap_or_default();
        let facts =
            ServerFacts::from_root(&root).map_err(|reason| ReadError::NotActiveDirectory {
                host: host.clone(),
                reason,
            })?;
        let found = interpret::dns_domain(&facts.base).unwrap_or_else(|| facts.base.clone());
        if NameKey::fold(&found) != self.feed.domain.key() {
            return Err(ReadError::OtherDomain {
                host,
                found,
                wanted: self.feed.domain.to_string(),
            });
        }
        let service = root.text("dsServiceName").unwrap_or_default();
        let found = self.base_object(service, "invocationId", false).await?;
        Ok(facts.with_invocation(found.as_ref().and_then(|entry| entry.first("invocationId"))))
    }

    /// Whether the account may see deleted objects: it then can read their container.
    pub(super) async fn sees_deleted(&mut self, server: &ServerFacts) -> Result<bool, ReadError> {
        let container = deleted_objects(server);
        let found = self.base_object(&container, "objectGUID", true).await?;
        Ok(found.is_some_and(|entry| entry.first("objectGUID").is_some()))
    }

    /// Reads everything.
    pub(super) async fn everything(&mut self, server: &ServerFacts) -> Result<Done, ReadError> {
        let facts = self.domain_facts(server).await?;
        self.feed.begin(facts).await?;
        let mut counts = Counts::default();
        for (what, filter) in [("users", USERS), ("devices", DEVICES), ("groups", GROUPS)] {
            self.objects(server, what, filter, DirectoryStep::FullPart, &mut counts)
                .await?;
        }
        if counts == Counts::default() {
            return Err(ReadError::Empty {
                host: self.host.to_owned(),
            });
        }
        let applied = self.feed.end(position(server)).await?;
        Ok(Done {
            counts,
            full_wanted: applied.full_read_wanted,
        })
    }

    /// Reads what changed after a number.
    pub(super) async fn changes(
        &mut self,
        server: &ServerFacts,
        after: u64,
        sees_deleted: bool,
    ) -> Result<Done, ReadError> {
        let changed = format!("(uSNChanged>={})", after.saturating_add(1));
        let mut done = Done::default();
        let filter = format!("(&{changed}(|{USERS}{DEVICES}{GROUPS}))");
        self.objects(
            server,
            "changes",
            &filter,
            DirectoryStep::Poll,
            &mut done.counts,
        )
        .await?;
        if sees_deleted {
            let removed = self.removed(server, &changed).await?;
            if removed.len() > MAX_REMOVED {
                done.full_wanted = true;
                return Ok(done);
            }
            if !removed.is_empty() {
                // Without the position: a removal in doubt must be found again after a restart.
                let load = Load {
                    removed,
                    ..Load::default()
                };
                let applied = self.feed.send(DirectoryStep::Poll, load).await?;
                if applied.full_read_wanted {
                    done.full_wanted = true;
                    return Ok(done);
                }
            }
        }
        let facts = self.domain_facts(server).await?;
        let position = Some(position(server));
        self.feed
            .send(
                DirectoryStep::Poll,
                Load {
                    facts,
                    position,
                    ..Load::default()
                },
            )
            .await?;
        Ok(done)
    }

    /// All objects that a filter finds, page by page into the table.
    async fn objects(
        &mut self,
        server: &ServerFacts,
        what: &str,
        filter: &str,
        step: DirectoryStep,
        counts: &mut Counts,
    ) -> Result<(), ReadError> {
        let mut cookie = Vec::new();
        let mut read = 0;
        for _ in 0..MAX_PAGES {
            let search = Search {
                base: &server.base,
                base_only: false,
                filter,
                attributes: ATTRIBUTES,
                page: Some((self.page_size, &cookie)),
                show_deleted: false,
                extended_dn: true,
            };
            let page = self.ldap.search(&search).await?;
            self.feed.heard();
            read += page.entries.len();
            for _ in 0..page.malformed {
                self.feed.report.count_ignored("malformed");
            }
            let mut upserts = Vec::with_capacity(page.entries.len());
            for entry in page.entries {
                upserts.extend(self.object(&entry, counts).await?);
            }
            if !upserts.is_empty() {
                self.feed
                    .send(
                        step,
                        Load {
                            upserts,
                            ..Load::default()
                        },
                    )
                    .await?;
            }
            if step == DirectoryStep::FullPart {
                self.feed.report.set_detail(format!(
                    "{}: reading {what}: {}",
                    self.host,
                    thousands(read)
                ));
            }
            if page.cookie.is_empty() {
                return Ok(());
            }
            cookie = page.cookie;
        }
        Err(ReadError::Endless {
            host: self.host.to_owned(),
        })
    }

    /// The object of an entry, with all its members; `None` if it is skipped, which is counted.
    async fn object(
        &mut self,
        entry: &Entry,
        counts: &mut Counts,
    ) -> Result<Option<DirectoryObject>, ReadError> {
        let members = self.members(entry).await?;
        match interpret::object(entry, members) {
            Ok(object) => {
                match object.kind {
                    ObjectKind::User { .. } => counts.users += 1,
                    ObjectKind::Device { .. } => counts.devices += 1,
                    ObjectKind::Group { .. } => counts.groups += 1,
                }
                Ok(Some(object))
            }
            Err(reason) => {
                self.feed.report.count_ignored(reason.as_str());
                tracing::debug!(dn = entry.dn, reason = reason.as_str(), "entry skipped");
                Ok(None)
            }
        }
    }

    /// All direct members of a group, whether they came at once or in ranges.
    async fn members(&mut self, entry: &Entry) -> Result<Vec<ObjectId>, ReadError> {
        let mut members = Vec::new();
        self.add_members(entry.values("member"), &mut members);
        let Some((values, mut next)) = entry.ranged("member") else {
            return Ok(members);
        };
        self.add_members(values, &mut members);
        let base = plain_dn(&entry.dn).to_owned();
        while let Some(first) = next {
            if first >= MAX_MEMBERS {
                self.feed.report.count_dropped("members-over-limit", 1);
                break;
            }
            let attribute = format!("member;range={first}-*");
            let Some(part) = self.base_object(&base, &attribute, false).await? else {
                break;
            };
            let Some((values, following)) = part.ranged("member") else {
                break;
            };
            self.add_members(values, &mut members);
            // A server that does not get further would keep us here for ever.
            next = following.filter(|&following| following > first);
        }
        Ok(members)
    }

    fn add_members(&self, values: &[Vec<u8>], members: &mut Vec<ObjectId>) {
        members.reserve(values.len());
        for value in values {
            match interpret::id_of_extended_dn(value) {
                Some(id) => members.push(id),
                None => self.feed.report.count_ignored("member-without-id"),
            }
        }
    }

    /// Objects deleted among the changes.
    async fn removed(
        &mut self,
        server: &ServerFacts,
        changed: &str,
    ) -> Result<Vec<ObjectId>, ReadError> {
        let base = deleted_objects(server);
        let filter = format!("(&(isDeleted=TRUE){changed})");
        let mut removed = Vec::new();
        let mut cookie = Vec::new();
        for _ in 0..MAX_PAGES {
            let search = Search {
                base: &base,
                base_only: false,
                filter: &filter,
                attributes: &["objectGUID"],
                page: Some((self.page_size, &cookie)),
                show_deleted: true,
                extended_dn: false,
            };
            let page = self.ldap.search(&search).await?;
            removed.extend(page.entries.iter().filter_map(interpret::id));
            if page.cookie.is_empty() || removed.len() > MAX_REMOVED {
                return Ok(removed);
            }
            cookie = page.cookie;
        }
        Err(ReadError::Endless {
            host: self.host.to_owned(),
        })
    }

    /// NetBIOS name and UPN suffixes.
    async fn domain_facts(
        &mut self,
        server: &ServerFacts,
    ) -> Result<Option<DomainFacts>, ReadError> {
        let base = format!("CN=Partitions,{}", server.configuration);
        let search = Search {
            base: &base,
            base_only: false,
            filter: "(|(nETBIOSName=*)(uPNSuffixes=*))",
            attributes: &["dnsRoot", "nETBIOSName", "uPNSuffixes"],
            page: Some((self.page_size, &[])),
            show_deleted: false,
            extended_dn: false,
        };
        match self.ldap.search(&search).await {
            Ok(page) => Ok(interpret::facts(&page.entries, &self.feed.domain)),
            Err(error) if hidden(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// One object with one attribute; `None` if the account may not see it.
    async fn base_object(
        &mut self,
        base: &str,
        attribute: &str,
        show_deleted: bool,
    ) -> Result<Option<Entry>, ReadError> {
        let search = Search {
            base,
            base_only: true,
            filter: "(objectClass=*)",
            attributes: &[attribute],
            page: None,
            show_deleted,
            extended_dn: attribute.starts_with("member"),
        };
        match self.ldap.search(&search).await {
            Ok(mut page) => Ok(page.entries.pop()),
            Err(error) if hidden(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether an error only says that the account may not see the object.
fn hidden(error: &LdapError) -> bool {
    matches!(
        error.code(),
        Some(code::NO_SUCH_OBJECT | code::INSUFFICIENT_ACCESS_RIGHTS)
    )
}

fn deleted_objects(server: &ServerFacts) -> String {
    format!("<WKGUID={DELETED_OBJECTS},{}>", server.base)
}

fn position(server: &ServerFacts) -> Box<[u8]> {
    Position {
        server: server.identity.clone(),
        usn: server.usn,
    }
    .encode()
}

/// A name without the GUID and SID before it.
fn plain_dn(mut dn: &str) -> &str {
    while let Some(rest) = dn.strip_prefix('<') {
        let Some((_, after)) = rest.split_once(">;") else {
            break;
        };
        dn = after;
    }
    dn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_what_follows_guid_and_sid() {
        assert_eq!(plain_dn("<GUID=01>;<SID=02>;CN=a;b,DC=x"), "CN=a;b,DC=x");
        assert_eq!(plain_dn("CN=a"), "CN=a");
        assert_eq!(plain_dn("<GUID=01>"), "<GUID=01>");
    }
}
