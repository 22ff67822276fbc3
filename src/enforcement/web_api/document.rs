//! A document while it is written: entries in XML, with the places where it may be parted.
//!
//! What is said of one address is one piece and never parted: a `logoff` and the `logon` that follows it arrive
//! together or not at all. A user with more roles than an entry holds is told with the preferred ones first.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::enforcement::pass::Sink;
use crate::enforcement::shape::{Entry, Login};
use crate::enforcement::xml;
use crate::identity::policy::Globs;
use crate::identity::time::UtcMillis;

/// No entry is added to a document of so many bytes.
const MAX_BYTES: usize = 1 << 20;

/// How a firewall wants its entries.
#[derive(Debug)]
pub(super) struct Style {
    /// Who they are from.
    pub(super) source: String,
    /// Groups that come first where not all fit.
    pub(super) preferred: Globs,
}

/// Entries, in order.
#[derive(Debug)]
pub(super) struct Document {
    style: Arc<Style>,
    bytes: Vec<u8>,
    entries: usize,
    pieces: Vec<Piece>,
    cut: Vec<Cut>,
}

/// What is said of one address.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The address.
    pub(super) address: IpAddr,
    /// Its entries.
    pub(super) entries: usize,
    /// When what its last entry says happened.
    pub(super) at: UtcMillis,
    /// Whether somebody or something is said to be there.
    pub(super) logon: bool,
    bytes: Range<usize>,
}

/// A user who has more roles than an entry holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Where he is.
    pub(super) address: IpAddr,
    /// `domain\user`.
    pub(super) user: String,
    /// How many roles were left out.
    pub(super) roles: usize,
}

impl Document {
    /// Without entries.
    pub(super) fn new(style: Arc<Style>) -> Self {
        Self {
            style,
            bytes: Vec::new(),
            entries: 0,
            pieces: Vec::new(),
            cut: Vec::new(),
        }
    }

    /// What is said, by address.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whose roles do not fit.
    pub(super) fn cut(&self) -> &[Cut] {
        &self.cut
    }

    /// The entries of some pieces, and how many they are.
    pub(super) fn part(&self, pieces: Range<usize>) -> (Bytes, usize) {
        let pieces = self.pieces.get(pieces).unwrap_or_default();
        let begin = pieces.first().map_or(0, |piece| piece.bytes.start);
        let end = pieces.last().map_or(begin, |piece| piece.bytes.end);
        let body = whole(self.bytes.get(begin..end).unwrap_or_default());
        (body, pieces.iter().map(|piece| piece.entries).sum())
    }

    /// A document that ends whatever is at the piece's address.
    pub(super) fn ending(&self, piece: &Piece) -> Bytes {
        let mut bytes = Vec::new();
        let entry = Entry::Logout {
            address: piece.address,
            at: piece.at,
        };
        xml::entry(&mut bytes, &self.style.source, entry);
        whole(&bytes)
    }

    fn write(&mut self, entry: Entry<'_>) {
        let Entry::Login(login) = entry else {
            return xml::entry(&mut self.bytes, &self.style.source, entry);
        };
        let left_out = login.roles.len().saturating_sub(xml::MAX_ROLES);
        if left_out == 0 {
            return xml::entry(&mut self.bytes, &self.style.source, entry);
        }
        self.cut.push(Cut {
            address: login.address,
            user: format!("{}\\{}", login.domain, login.user.unwrap_or_default()),
            roles: left_out,
        });
        let (mut roles, others): (Vec<&str>, Vec<&str>) = login
            .roles
            .iter()
            .partition(|role| self.style.preferred.matches(role));
        roles.extend(others);
        let login = Login {
            roles,
            ..login.clone()
        };
        xml::entry(&mut self.bytes, &self.style.source, Entry::Login(&login));
    }
}

impl Sink for Document {
    fn entries(&self) -> usize {
        self.entries
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_BYTES
    }

    fn push(&mut self, entry: Entry<'_>) {
        let (address, at, logon) = match entry {
            Entry::Login(login) => (login.address, login.at, true),
            Entry::Logout { address, at } => (address, at, false),
        };
        let begin = self.bytes.len();
        self.write(entry);
        let end = self.bytes.len();
        self.entries += 1;
        match self.pieces.last_mut() {
            Some(piece) if piece.address == address => {
                piece.entries += 1;
                piece.bytes.end = end;
                piece.at = at;
                piece.logon |= logon;
            }
            _ => self.pieces.push(Piece {
                address,
                entries: 1,
                at,
                logon,
                bytes: begin..end,
            }),
        }
    }
}

fn whole(entries: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(xml::HEAD.len() + entries.len() + xml::TAIL.len());
    bytes.extend_from_slice(xml::HEAD.as_bytes());
    bytes.extend_from_slice(entries);
    bytes.extend_from_slice(xml::TAIL.as_bytes());
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::shape::LoginDevice;

    fn style(preferred: &[&str]) -> Arc<Style> {
        Arc::new(Style {
            source: "jims".into(),
            preferred: Globs::new(preferred.iter().copied()).unwrap(),
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 1, 2, last])
    }

    fn logout(last: u8) -> Entry<'static> {
        Entry::Logout {
            address: address(last),
            at: UtcMillis(1_768_663_777_000),
        }
    }

    fn login(last: u8) -> Login<'static> {
        Login {
            address: address(last),
            domain: "corp.example.com",
            user: Some("a<lice"),
            roles: vec!["Engineering"],
            device: None,
            at: UtcMillis(1_768_663_777_000),
        }
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_entry_has_the_elements_of_the_documentation_in_their_order() {
        let mut document = Document::new(style(&[]));
        document.push(Entry::Login(&Login {
            device: Some(LoginDevice {
                name: "ws-0042",
                groups: vec!["Workstations"],
                os: Some("Windows"),
                os_version: Some("11"),
            }),
            ..login(50)
        }));
        let (body, entries) = document.part(0..1);
        assert_eq!(entries, 1);
        assert_eq!(
            text(&body),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<userfw-entries>\n  <userfw-entry>\
             <source>jims</source><timestamp>2026-01-17T15:29:37Z</timestamp>\
             <operation>logon</operation><IP>10.1.2.50</IP><domain>corp.example.com</domain>\
             <user>a&lt;lice</user><role-list><role>Engineering</role></role-list>\
             <posture>Unknown</posture><end-user-attribute><device-identity><value>ws-0042</value>\
             <groups><group>Workstations</group></groups></device-identity>\
             <device-os>Windows</device-os><device-os-version>11</device-os-version>\
             </end-user-attribute></userfw-entry>\n</userfw-entries>\n"
        );
    }

    #[test]
    fn what_is_said_of_one_address_is_one_piece() {
        let mut document = Document::new(style(&[]));
        document.push(logout(1));
        document.push(logout(2));
        document.push(Entry::Login(&login(2)));
        document.push(Entry::Login(&login(3)));
        let entries: Vec<usize> = document.pieces().iter().map(|p| p.entries).collect();
        assert_eq!(entries, [1, 2, 1]);
        let (body, entries) = document.part(1..2);
        assert_eq!(
            (entries, text(&body).matches("<IP>10.1.2.2</IP>").count()),
            (2, 2)
        );
        assert!(!text(&body).contains("10.1.2.1<") && !text(&body).contains("10.1.2.3<"));
        let ending = document.ending(&document.pieces()[2]);
        assert!(text(&ending).contains("<operation>logoff</operation><IP>10.1.2.3</IP>"));
        assert!(!text(&ending).contains("logon"));
        assert_eq!(document.part(5..9).1, 0);
    }

    #[test]
    fn of_too_many_roles_the_preferred_come_first() {
        let names: Vec<String> = (0..300).map(|n| format!("group-{n:03}")).collect();
        let many = Login {
            roles: names.iter().map(String::as_str).collect(),
            ..login(1)
        };
        let mut document = Document::new(style(&["GROUP-29?"]));
        document.push(Entry::Login(&many));
        let (body, _) = document.part(0..1);
        let text = text(&body);
        assert_eq!(text.matches("<role>").count(), 200);
        assert!(text.contains("<role-list><role>group-290</role>"));
        assert!(text.contains("<role>group-299</role><role>group-000</role>"));
        assert!(text.contains("<role>group-189</role></role-list>"));
        assert_eq!(document.cut()[0].roles, 100);
        assert_eq!(document.cut()[0].user, "corp.example.com\\a<lice");
        let mut fits = Document::new(style(&["GROUP-29?"]));
        fits.push(Entry::Login(&login(1)));
        assert!(fits.cut().is_empty());
    }
}
