//! A pushed document: from bytes to entries as they are written, within bounds. A pure reader.
//!
//! The vocabulary is that of the Web API of Junos (`userfw-entries`). Prefixes, attributes, comments and elements that
//! nobody knows are skipped; what makes documents grow or reach out (a DOCTYPE, entities of its own) is refused. What an
//! entry means is decided in [`super::interpret`].

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use thiserror::Error;

/// Most entries of a document.
pub const MAX_ENTRIES: usize = 1000;
/// Deepest nesting of elements.
pub const MAX_DEPTH: usize = 16;
/// Longest text of one element, in bytes.
const MAX_TEXT_BYTES: usize = 1024;
/// Most roles of one entry.
const MAX_ROLES: usize = 1000;

/// Why a document is no document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Not UTF-8, which is all that is read.
    #[error("the document is not UTF-8")]
    Encoding,
    /// A document type, which could hold entities that grow or reach out.
    #[error("the document has a DOCTYPE")]
    Doctype,
    /// An entity that XML itself does not have.
    #[error("the document uses the entity &{0};")]
    Entity(String),
    /// Deeper than [`MAX_DEPTH`].
    #[error("elements lie more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More than [`MAX_ENTRIES`].
    #[error("there are more than {MAX_ENTRIES} entries")]
    TooMany,
    /// A text or a list of roles is too long.
    #[error("<{0}> is too long")]
    TooLong(String),
    /// The outermost element is another.
    #[error("the outermost element is not <userfw-entries>")]
    Root,
    /// Not well-formed.
    #[error("the document is not well-formed at byte {0}")]
    Malformed(u64),
}

/// One entry, as written: nothing is checked but lengths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `logon` or `logoff`.
    pub operation: String,
    /// The address.
    pub address: String,
    /// When.
    pub timestamp: String,
    /// Domain of the user.
    pub domain: String,
    /// The user.
    pub user: String,
    /// Roles.
    pub roles: Vec<String>,
    /// Name of the device.
    pub device: String,
    /// A value is given twice in different ways, or has elements inside: nobody can tell which is meant.
    pub is_ambiguous: bool,
}

impl Entry {
    /// The value at a path inside the entry, for those that stand there once.
    fn value(&mut self, path: &[&str]) -> Option<&mut String> {
        match path {
            ["operation"] => Some(&mut self.operation),
            ["ip"] => Some(&mut self.address),
            ["timestamp"] => Some(&mut self.timestamp),
            ["domain"] => Some(&mut self.domain),
            ["user"] => Some(&mut self.user),
            ["end-user-attribute", "device-identity", "value"] => Some(&mut self.device),
            _ => None,
        }
    }
}

/// Reads a document.
///
/// # Errors
/// Why it is none; then nothing of it counts.
pub fn read(body: &[u8]) -> Result<Vec<Entry>, DocumentError> {
    let text = std::str::from_utf8(body).map_err(|_| DocumentError::Encoding)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut reading = Reading::default();
    loop {
        let event = reader.read_event();
        let event = event.map_err(|_| DocumentError::Malformed(reader.error_position()))?;
        match event {
            Event::Start(start) => reading.begin(start.local_name().as_ref())?,
            Event::End(_) => reading.end()?,
            Event::Empty(empty) => {
                reading.begin(empty.local_name().as_ref())?;
                reading.end()?;
            }
            Event::Text(text) => reading.text(&text.xml10_content())?,
            Event::CData(text) => reading.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => reading.text(resolved(&reference)?.as_str())?,
            Event::Decl(declared) => utf_8(declared.encoding())?,
            Event::DocType(_) => return Err(DocumentError::Doctype),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !reading.seen_root || !reading.path.is_empty() {
        return Err(DocumentError::Malformed(reader.buffer_position()));
    }
    Ok(reading.entries)
}

fn utf_8<E>(declared: Option<Result<std::borrow::Cow<'_, str>, E>>) -> Result<(), DocumentError> {
    match declared {
        None => Ok(()),
        Some(Ok(name))
            if ["utf-8", "us-ascii"]
                .iter()
                .any(|n| n.eq_ignore_ascii_case(&name)) =>
        {
            Ok(())
        }
        Some(_) => Err(DocumentError::Encoding),
    }
}

/// A character reference, or one of the five entities of XML 1.0 (section 4.6).
fn resolved(reference: &BytesRef<'_>) -> Result<String, DocumentError> {
    let name = reference.xml10_content();
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let text = match &*name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        other => {
            let shown = other.chars().take(32).flat_map(char::escape_default);
            return Err(DocumentError::Entity(shown.collect()));
        }
    };
    Ok(text.to_owned())
}

/// Where a role stands in an entry.
const ROLE: [&str; 2] = ["role-list", "role"];

/// The names below `userfw-entry`, if an entry is open.
fn path_in_entry(path: &[String]) -> Option<Vec<&str>> {
    match path {
        [_root, entry, inside @ ..] if entry == "userfw-entry" => {
            Some(inside.iter().map(String::as_str).collect())
        }
        _ => None,
    }
}

#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    /// Names of the elements that are open, in lower case.
    path: Vec<String>,
    /// Text of the innermost one so far.
    text: String,
    seen_root: bool,
}

impl Reading {
    fn begin(&mut self, name: &str) -> Result<(), DocumentError> {
        if self.path.len() == MAX_DEPTH {
            return Err(DocumentError::TooDeep);
        }
        let name = name.to_ascii_lowercase();
        let path = path_in_entry(&self.path);
        if let (Some(path), Some(entry)) = (path, self.entries.last_mut())
            && (path == ROLE || entry.value(&path).is_some())
        {
            entry.is_ambiguous = true;
        }
        if self.path.is_empty() {
            if self.seen_root || name != "userfw-entries" {
                return Err(DocumentError::Root);
            }
            self.seen_root = true;
        }
        if self.path.len() == 1 && name == "userfw-entry" {
            if self.entries.len() == MAX_ENTRIES {
                return Err(DocumentError::TooMany);
            }
            self.entries.push(Entry::default());
        }
        self.path.push(name);
        self.text.clear();
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), DocumentError> {
        if self.path.is_empty() {
            return if text.trim().is_empty() {
                Ok(())
            } else {
                Err(DocumentError::Root)
            };
        }
        if self.text.len() + text.len() > MAX_TEXT_BYTES && !text.trim().is_empty() {
            return Err(self.too_long());
        }
        self.text.push_str(text);
        Ok(())
    }

    fn end(&mut self) -> Result<(), DocumentError> {
        let value = self.text.trim();
        let path = path_in_entry(&self.path);
        if let (Some(path), Some(entry)) = (path, self.entries.last_mut()) {
            if path == ROLE {
                if entry.roles.len() == MAX_ROLES {
                    return Err(DocumentError::TooLong("role-list".to_owned()));
                }
                entry.roles.push(value.to_owned());
            } else if let Some(before) = entry.value(&path) {
                let differs = !before.is_empty() && before != value;
                value.clone_into(before);
                entry.is_ambiguous |= differs;
            }
        }
        self.path.pop();
        self.text.clear();
        Ok(())
    }

    fn too_long(&self) -> DocumentError {
        let name = self.path.last().map(String::as_str).unwrap_or_default();
        DocumentError::TooLong(
            name.chars()
                .take(32)
                .flat_map(char::escape_default)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(inside: &str) -> Result<Entry, DocumentError> {
        let text =
            format!("<userfw-entries><userfw-entry>{inside}</userfw-entry></userfw-entries>");
        read(text.as_bytes()).map(|mut entries| {
            assert_eq!(entries.len(), 1);
            entries.remove(0)
        })
    }

    #[test]
    fn the_documented_document_is_read_whole() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<userfw-entries>
  <userfw-entry>
    <source>Aruba ClearPass</source>
    <timestamp>2026-01-17T15:29:37Z</timestamp>
    <operation>logon</operation>
    <IP>10.1.2.50</IP>
    <domain>corp.example.com</domain>
    <user>al&amp;ice</user>
    <role-list><role>Engineering</role><role>VPN</role></role-list>
    <posture>Healthy</posture>
    <end-user-attribute>
      <device-identity><value>ws-0042</value><groups><group>Workstations</group></groups></device-identity>
      <device-category>Laptop</device-category><device-os>Windows</device-os>
    </end-user-attribute>
  </userfw-entry>
  <userfw-entry><operation>logoff</operation><IP>2001:db8::1</IP></userfw-entry>
</userfw-entries>"#;
        let entries = read(text.as_bytes()).unwrap();
        let first = Entry {
            operation: "logon".into(),
            address: "10.1.2.50".into(),
            timestamp: "2026-01-17T15:29:37Z".into(),
            domain: "corp.example.com".into(),
            user: "al&ice".into(),
            roles: vec!["Engineering".into(), "VPN".into()],
            device: "ws-0042".into(),
            is_ambiguous: false,
        };
        assert_eq!(entries[0], first);
        assert_eq!(
            (entries[1].address.as_str(), entries.len()),
            ("2001:db8::1", 2)
        );
    }

    #[test]
    fn other_ways_to_write_the_same_are_read() {
        assert_eq!(one("<user><![CDATA[a<b]]></user>").unwrap().user, "a<b");
        assert_eq!(one("<user>&#x61;l&#105;ce</user>").unwrap().user, "alice");
        assert_eq!(
            one("<u:user xmlns:u='x' kind='y'> alice </u:user>")
                .unwrap()
                .user,
            "alice"
        );
        assert_eq!(
            one("<USER>alice</USER><new><user>x</user></new>")
                .unwrap()
                .user,
            "alice"
        );
        assert_eq!(one("<user>al<!-- x -->ice</user>").unwrap().user, "alice");
        assert_eq!(one("<user/>").unwrap(), Entry::default());
        assert_eq!(read(b"\xef\xbb\xbf<userfw-entries/>").unwrap(), []);
    }

    #[test]
    fn values_that_could_mean_two_things_are_marked() {
        for text in [
            "<user>al<b/>ice</user>",
            "<user><b>x</b>alice</user>",
            "<user>alice</user><user>bob</user>",
            "<user>alice</user><user/>",
            "<IP>10.1.2.50</IP><ip>10.1.2.51</ip>",
            "<role-list><role>Eng<b/>ineering</role></role-list>",
        ] {
            assert!(one(text).unwrap().is_ambiguous, "{text}");
        }
        for text in [
            "<user>alice</user><user>alice</user>",
            "<user/><user>alice</user>",
            "<new>a<b/>c</new><new/><role-list> x <role>r</role></role-list>",
            "<role-list><role>a</role></role-list><role-list><role>b</role></role-list>",
        ] {
            assert!(!one(text).unwrap().is_ambiguous, "{text}");
        }
    }

    #[test]
    fn rule_32_what_grows_or_reaches_out_is_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><userfw-entries/>";
        assert_eq!(read(bomb.as_bytes()), Err(DocumentError::Doctype));
        assert_eq!(
            one("<user>&b;</user>"),
            Err(DocumentError::Entity("b".into()))
        );
        let deep = "<a>".repeat(MAX_DEPTH);
        assert_eq!(one(&deep), Err(DocumentError::TooDeep));
        let long = format!("<user>{}</user>", "a".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(one(&long), Err(DocumentError::TooLong("user".into())));
        let references = format!("<user>{}</user>", "&amp;".repeat(MAX_TEXT_BYTES + 1));
        assert_eq!(one(&references), Err(DocumentError::TooLong("user".into())));
        let roles = "<role-list>".to_owned() + &"<role>r</role>".repeat(MAX_ROLES + 1);
        assert_eq!(one(&roles), Err(DocumentError::TooLong("role-list".into())));
        let many = "<userfw-entry/>".repeat(MAX_ENTRIES + 1);
        let many = format!("<userfw-entries>{many}</userfw-entries>");
        assert_eq!(read(many.as_bytes()), Err(DocumentError::TooMany));
    }

    #[test]
    fn what_is_no_document_is_refused_whole() {
        for text in [
            "",
            "{}",
            "<userfw-entries>",
            "<userfw-entries></userfw-entry>",
            "<userfw-entries/><userfw-entries/>",
            "<other/>",
            "text<userfw-entries/>",
            "<userfw-entries><userfw-entry><user>a & b</user></userfw-entry></userfw-entries>",
            "<?xml version=\"1.0\" encoding=\"UTF-16\"?><userfw-entries/>",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(
            read(b"<userfw-entries>\xff</userfw-entries>"),
            Err(DocumentError::Encoding)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, text in "[<>/&;a-z!\\[\\]-]{0,200}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
            let _ = one(&text);
        }
    }
}
