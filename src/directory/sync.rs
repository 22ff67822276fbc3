//! How a directory server is followed: pure decisions, no connection and no clock.
//!
//! Every domain controller numbers its own changes (USN). A position is therefore a server and a number: on another
//! server, on one restored from a backup (new invocation id), or where the number ran backwards, only a full read tells
//! the truth. `reading.rs` carries out what is decided here.

use std::time::Duration;

use crate::wire::ldap::Entry;

/// The longest pause between full comparisons where the account may not see deleted objects; see [`compare_unseen`].
pub const COMPARE_UNSEEN: Duration = Duration::from_secs(300);
/// How often one is made anyway: objects can leave the account's sight without being deleted.
pub const COMPARE_ANYWAY: Duration = Duration::from_secs(24 * 3600);
/// A full comparison may take at most this part of the time: one in twenty.
const COMPARE_SHARE: u32 = 20;

/// Where we stand in a server's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// [`ServerFacts::identity`].
    pub server: String,
    /// Changes up to this number are read.
    pub usn: u64,
}

/// What a server says of itself before each reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Which database the numbers belong to: invocation id, service object and host name.
    pub identity: String,
    /// Its name for people.
    pub host: String,
    /// The domain's base.
    pub base: String,
    /// Where configuration objects are.
    pub configuration: String,
    /// The number of its last change, read before any search.
    pub usn: u64,
}

/// What the account can see and when everything was last compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The account may see deleted objects; `None`: not known yet.
    pub deleted: Option<bool>,
    /// How long ago the last full read of this process ended, and how long it took; `None`: there was none.
    pub last_full: Option<(Duration, Duration)>,
    /// How long this process has followed the directory.
    pub followed: Duration,
    /// How often changes are read.
    pub poll_interval: Duration,
    /// The table wants a full read before it removes so much.
    pub full_wanted: bool,
}

/// What to do at a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read everything.
    Full(Reason),
    /// Read changes after this number.
    Changes(u64),
    /// Nothing has changed.
    Nothing,
}

/// Why everything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was read before.
    First,
    /// Another server than before, or one restored from a backup.
    OtherServer,
    /// The server's number is lower than before.
    RanBackwards,
    /// The table wants it confirmed that so much is gone.
    Confirm,
    /// It is time to compare.
    Compare,
}

impl Reason {
    /// For logs and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first read",
            Self::OtherServer => "another server than before",
            Self::RanBackwards => "the server went back in time",
            Self::Confirm => "many objects are gone and that must be confirmed",
            Self::Compare => "regular comparison",
        }
    }
}

/// The pause between full comparisons where the account may not see deleted objects: ten polls, at most
/// [`COMPARE_UNSEEN`], and never so short that reading takes more than one part in twenty of the time.
#[must_use]
pub fn compare_unseen(poll_interval: Duration, last_read: Duration) -> Duration {
    COMPARE_UNSEEN
        .min(poll_interval.saturating_mul(10))
        .max(last_read.saturating_mul(COMPARE_SHARE))
}

/// What to do now, given where we stood.
#[must_use]
pub fn next(stored: Option<&Position>, server: &ServerFacts, sight: Sight) -> Next {
    let Some(stored) = stored else {
        return Next::Full(Reason::First);
    };
    if stored.server != server.identity {
        return Next::Full(Reason::OtherServer);
    }
    if server.usn < stored.usn {
        return Next::Full(Reason::RanBackwards);
    }
    if sight.full_wanted {
        return Next::Full(Reason::Confirm);
    }
    let took = sight.last_full.map_or(Duration::ZERO, |(_, took)| took);
    let interval = match sight.deleted {
        Some(true) => COMPARE_ANYWAY,
        Some(false) | None => compare_unseen(sight.poll_interval, took),
    };
    let due = match sight.last_full {
        Some((ago, _)) => ago >= interval,
        // After a restart what was deleted meanwhile is noticed only by comparing.
        None => sight.deleted == Some(false) || sight.followed >= interval,
    };
    if due {
        return Next::Full(Reason::Compare);
    }
    if server.usn == stored.usn {
        return Next::Nothing;
    }
    Next::Changes(stored.usn)
}

impl Position {
    /// As stored in a bookmark.
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        format!("1\n{}\n{}", self.usn, self.server)
            .into_bytes()
            .into_boxed_slice()
    }

    /// From a bookmark; `None` if it was written by something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (usn, server) = text.strip_prefix("1\n")?.split_once('\n')?;
        Some(Self {
            server: server.to_owned(),
            usn: usn.parse().ok()?,
        })
    }
}

/// What a rootDSE lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not say its {0}: it is not Active Directory")]
pub struct NotActiveDirectory(&'static str);

impl ServerFacts {
    /// Reads a rootDSE; the invocation id is added by [`ServerFacts::with_invocation`].
    ///
    /// # Errors
    /// Attributes that every domain controller has are missing.
    pub fn from_root(root: &Entry) -> Result<Self, NotActiveDirectory> {
        let needed = |name: &'static str| root.text(name).ok_or(NotActiveDirectory(name));
        let host = needed("dnsHostName")?;
        Ok(Self {
            identity: format!("{host} {}", needed("dsServiceName")?),
            host: host.to_owned(),
            base: needed("defaultNamingContext")?.to_owned(),
            configuration: needed("configurationNamingContext")?.to_owned(),
            usn: needed("highestCommittedUSN")?
                .trim()
                .parse()
                .map_err(|_| NotActiveDirectory("highestCommittedUSN"))?,
        })
    }

    /// Adds the invocation id, which changes when the database is restored; some accounts may not read it.
    #[must_use]
    pub fn with_invocation(mut self, id: Option<&[u8]>) -> Self {
        self.identity.push(' ');
        for byte in id.unwrap_or_default().iter().take(16) {
            self.identity.push_str(&format!("{byte:02x}"));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ldap::Attribute;

    const MINUTE: Duration = Duration::from_secs(60);

    fn root(usn: &str) -> Entry {
        Entry {
            dn: String::new(),
            attributes: [
                ("dnsHostName", "dc1.corp.example.com"),
                ("dsServiceName", "CN=NTDS Settings,CN=DC1"),
                ("defaultNamingContext", "DC=corp,DC=example,DC=com"),
                ("configurationNamingContext", "CN=Configuration"),
                ("highestCommittedUSN", usn),
            ]
            .map(|(name, value)| Attribute {
                name: name.into(),
                values: vec![value.into()],
            })
            .to_vec(),
        }
    }

    fn server(usn: u64, invocation: u8) -> ServerFacts {
        ServerFacts::from_root(&root(&usn.to_string()))
            .expect("a domain controller")
            .with_invocation(Some(&[invocation; 16]))
    }

    fn at(usn: u64) -> Position {
        Position {
            server: server(usn, 1).identity,
            usn,
        }
    }

    const SEES: Sight = Sight {
        deleted: Some(true),
        last_full: Some((MINUTE, MINUTE)),
        followed: MINUTE,
        poll_interval: MINUTE,
        full_wanted: false,
    };

    #[test]
    fn changes_are_read_from_the_number_of_the_same_server_only() {
        assert_eq!(next(None, &server(9, 1), SEES), Next::Full(Reason::First));
        assert_eq!(next(Some(&at(5)), &server(9, 1), SEES), Next::Changes(5));
        assert_eq!(next(Some(&at(9)), &server(9, 1), SEES), Next::Nothing);
        assert_eq!(
            next(Some(&at(5)), &server(9, 2), SEES),
            Next::Full(Reason::OtherServer)
        );
        assert_eq!(
            next(Some(&at(10)), &server(9, 1), SEES),
            Next::Full(Reason::RanBackwards)
        );
    }

    #[test]
    fn rule_14_a_removal_in_doubt_is_confirmed_by_a_full_read() {
        let wanted = Sight {
            full_wanted: true,
            ..SEES
        };
        assert_eq!(
            next(Some(&at(9)), &server(9, 1), wanted),
            Next::Full(Reason::Confirm)
        );
    }

    #[test]
    fn an_account_that_sees_no_deleted_objects_compares_but_not_all_the_time() {
        let blind = |ago, took| Sight {
            deleted: Some(false),
            last_full: Some((ago, took)),
            ..SEES
        };
        let second = Duration::from_secs(1);
        let decide = |sight| next(Some(&at(9)), &server(9, 1), sight);
        assert_eq!(decide(blind(4 * MINUTE, second)), Next::Nothing);
        assert_eq!(
            decide(blind(5 * MINUTE, second)),
            Next::Full(Reason::Compare)
        );
        assert_eq!(decide(blind(19 * MINUTE, MINUTE)), Next::Nothing);
        assert_eq!(
            decide(blind(20 * MINUTE, MINUTE)),
            Next::Full(Reason::Compare)
        );
        let restarted = Sight {
            last_full: None,
            ..blind(MINUTE, second)
        };
        assert_eq!(decide(restarted), Next::Full(Reason::Compare));
    }

    #[test]
    fn a_restart_goes_on_with_polls() {
        let restarted = Sight {
            last_full: None,
            ..SEES
        };
        assert_eq!(
            next(Some(&at(5)), &server(9, 1), restarted),
            Next::Changes(5)
        );
        let a_day_later = Sight {
            followed: COMPARE_ANYWAY,
            ..restarted
        };
        assert_eq!(
            next(Some(&at(5)), &server(9, 1), a_day_later),
            Next::Full(Reason::Compare)
        );
    }

    #[test]
    fn short_polls_compare_sooner() {
        let second = Duration::from_secs(1);
        assert_eq!(compare_unseen(second, Duration::ZERO), 10 * second);
        assert_eq!(compare_unseen(30 * second, second), COMPARE_UNSEEN);
    }

    #[test]
    fn positions_survive_being_stored() {
        let position = at(12_345_678_901);
        assert_eq!(Position::decode(&position.encode()), Some(position));
        for bad in [&b""[..], b"2\n1\nx", b"1\nx\ny", b"\xff"] {
            assert_eq!(Position::decode(bad), None);
        }
    }

    #[test]
    fn a_server_that_is_no_active_directory_is_refused_by_name_of_what_it_lacks() {
        let mut root = root("1");
        root.attributes.retain(|a| a.name != "dsServiceName");
        let error = ServerFacts::from_root(&root).expect_err("not a domain controller");
        assert!(error.to_string().contains("dsServiceName"));
    }
}
