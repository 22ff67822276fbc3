//! LDIF (RFC 2849): content records in, entries and directory objects out.
//!
//! Read as a stream of lines, with everything bounded; an error names its line. Values by URL are refused: a directory
//! file must not make us open other files. No file is opened here; `file.rs` does that.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::interpret::{self, ATTRIBUTES, MAX_MEMBERS};
use crate::identity::directory::{DirectoryObject, DomainFacts, ObjectId};
use crate::identity::name::{Name, NameKey};
use crate::wire::ldap::{Attribute, Entry};

/// Longest line, folded lines joined, in bytes.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Most records of a file.
const MAX_RECORDS: usize = 4_000_000;
/// Attributes kept beside those of [`ATTRIBUTES`].
const ALSO: &[&str] = &["uid", "cn", "dnsRoot", "nETBIOSName", "uPNSuffixes"];

/// Why a file is not LDIF that can be read.
#[derive(Debug, Error)]
#[error("line {line}: {problem}")]
pub struct LdifError {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("the file could not be read: {0}")]
    Io(#[from] io::Error),
    /// Neither `name: value` nor anything else that LDIF knows.
    #[error("not `name: value`")]
    NotAnAttribute,
    /// `name:: value` with a value that is no base64.
    #[error("the value after `::` is not base64")]
    NotBase64,
    /// `name:< url`.
    #[error("a value by URL (`:<`) is refused")]
    Url,
    /// A record that does not begin with `dn:`.
    #[error("a record must begin with `dn:`")]
    NoDn,
    /// A distinguished name that is no text.
    #[error("the distinguished name is not UTF-8")]
    DnNotText,
    /// A record that changes something in place of describing it.
    #[error("a record of changes (`changetype: {0}`); only content can be read")]
    Change(String),
    /// A version other than 1.
    #[error("version {0} of LDIF is not known")]
    Version(String),
    /// A line that goes on from nothing.
    #[error("the line begins with a space but there is nothing before it to continue")]
    NothingToContinue,
    /// Over the limit.
    #[error("the line is longer than {MAX_LINE_BYTES} bytes")]
    LineTooLong,
    /// Over the limit.
    #[error("more than {MAX_RECORDS} records")]
    TooMany,
}

/// What a file says of a domain.
#[derive(Debug, Default)]
pub struct Contents {
    /// Users, computers and groups.
    pub objects: Vec<DirectoryObject>,
    /// NetBIOS name and UPN suffixes, if the file holds them.
    pub facts: Option<DomainFacts>,
    /// Records that are none of these, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

/// Reads the records of a file; of each only the attributes that mean something to us.
///
/// # Errors
/// The first line that is not LDIF.
pub fn parse(input: impl BufRead) -> Result<Vec<Entry>, LdifError> {
    let mut records = Records::default();
    let mut lines = Lines::new(input);
    while let Some((line, text)) = lines.next()? {
        records
            .take(&text)
            .map_err(|problem| LdifError { line, problem })?;
    }
    records.end().map_err(|problem| LdifError {
        line: lines.line,
        problem,
    })?;
    Ok(records.done)
}

/// Gives records their meaning. Members are found by their names.
#[must_use]
pub fn contents(mut entries: Vec<Entry>, domain: &Name) -> Contents {
    let mut ids: HashMap<NameKey, ObjectId> = HashMap::with_capacity(entries.len());
    for entry in &mut entries {
        let id = interpret::id(entry).unwrap_or_else(|| {
            let id = interpret::id_of_dn(&entry.dn);
            entry.attributes.push(Attribute {
                name: "objectGUID".into(),
                values: vec![id.0.to_vec()],
            });
            id
        });
        ids.insert(interpret::dn_key(&entry.dn), id);
    }
    let mut contents = Contents {
        facts: interpret::facts(&entries, domain),
        ..Contents::default()
    };
    for entry in &entries {
        let members = entry
            .values("member")
            .iter()
            .take(MAX_MEMBERS)
            .filter_map(|value| {
                interpret::id_of_extended_dn(value).or_else(|| {
                    let dn = std::str::from_utf8(value).ok()?;
                    let known = ids.get(&interpret::dn_key(dn)).copied();
                    Some(known.unwrap_or_else(|| interpret::id_of_dn(dn)))
                })
            })
            .collect();
        match interpret::object(entry, members) {
            Ok(object) => contents.objects.push(object),
            Err(reason) => *contents.skipped.entry(reason.as_str()).or_default() += 1,
        }
    }
    contents
}

/// Records as they are put together from lines.
#[derive(Default)]
struct Records {
    done: Vec<Entry>,
    current: Option<Entry>,
}

impl Records {
    /// Takes one whole line, folded lines joined.
    fn take(&mut self, text: &[u8]) -> Result<(), Problem> {
        if text.is_empty() {
            return self.end();
        }
        let (name, value) = attribute(text)?;
        let Some(current) = self.current.as_mut() else {
            return self.begin(name, value);
        };
        if name.eq_ignore_ascii_case("changetype") {
            let kind = String::from_utf8_lossy(&value).into_owned();
            // Exports of Windows' own tool say so of every record.
            return if kind.eq_ignore_ascii_case("add") {
                Ok(())
            } else {
                Err(Problem::Change(kind.chars().take(20).collect()))
            };
        }
        let base = name.split(';').next().unwrap_or(name);
        let wanted = ATTRIBUTES
            .iter()
            .chain(ALSO)
            .find(|wanted| wanted.eq_ignore_ascii_case(base));
        if let Some(&wanted) = wanted {
            match current.attributes.iter_mut().find(|a| a.name == wanted) {
                Some(attribute) => attribute.values.push(value),
                None => current.attributes.push(Attribute {
                    name: wanted.to_owned(),
                    values: vec![value],
                }),
            }
        }
        Ok(())
    }

    fn begin(&mut self, name: &str, value: Vec<u8>) -> Result<(), Problem> {
        if self.done.is_empty() && name.eq_ignore_ascii_case("version") {
            return match value.as_slice() {
                b"1" => Ok(()),
                other => Err(Problem::Version(
                    String::from_utf8_lossy(other).chars().take(20).collect(),
                )),
            };
        }
        if !name.eq_ignore_ascii_case("dn") {
            return Err(Problem::NoDn);
        }
        self.current = Some(Entry {
            dn: String::from_utf8(value).map_err(|_| Problem::DnNotText)?,
            attributes: Vec::new(),
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        if let Some(entry) = self.current.take() {
            if self.done.len() >= MAX_RECORDS {
                return Err(Problem::TooMany);
            }
            self.done.push(entry);
        }
        Ok(())
    }
}

/// Splits `name: value`, `name:: base64`.
fn attribute(text: &[u8]) -> Result<(&str, Vec<u8>), Problem> {
    let colon = text
        .iter()
        .position(|&byte| byte == b':')
        .ok_or(Problem::NotAnAttribute)?;
    let name = std::str::from_utf8(&text[..colon]).map_err(|_| Problem::NotAnAttribute)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-;.=_*".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return Err(Problem::NotAnAttribute);
    }
    let rest = &text[colon + 1..];
    match rest.first() {
        Some(b'<') => Err(Problem::Url),
        Some(b':') => STANDARD
            .decode(rest[1..].trim_ascii())
            .map(|value| (name, value))
            .map_err(|_| Problem::NotBase64),
        _ => Ok((name, rest.trim_ascii_start().to_vec())),
    }
}

/// Whole lines: folded ones joined, comments left out, the number of the first part kept.
struct Lines<R> {
    input: R,
    /// The line read last.
    line: usize,
    /// A line already read, which belongs to the next call.
    ahead: Option<Vec<u8>>,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            line: 0,
            ahead: None,
        }
    }

    fn next(&mut self) -> Result<Option<(usize, Vec<u8>)>, LdifError> {
        loop {
            let Some(mut text) = self.physical()? else {
                return Ok(None);
            };
            let begun = self.line;
            if text.first() == Some(&b' ') {
                return Err(self.error(Problem::NothingToContinue));
            }
            if !text.is_empty() {
                while let Some(more) = self.physical()? {
                    if more.first() != Some(&b' ') {
                        self.ahead = Some(more);
                        self.line -= 1;
                        break;
                    }
                    text.extend_from_slice(&more[1..]);
                    if text.len() > MAX_LINE_BYTES {
                        return Err(self.error(Problem::LineTooLong));
                    }
                }
            }
            if text.first() != Some(&b'#') {
                return Ok(Some((begun, text)));
            }
        }
    }

    /// One line as it is in the file, without its end.
    fn physical(&mut self) -> Result<Option<Vec<u8>>, LdifError> {
        self.line += 1;
        if let Some(text) = self.ahead.take() {
            return Ok(Some(text));
        }
        let mut text = Vec::new();
        let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
        let read = io::Read::take(&mut self.input, limit + 2).read_until(b'\n', &mut text);
        match read {
            Err(error) => return Err(self.error(Problem::Io(error))),
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        if text.pop_if(|last| *last == b'\n').is_some() {
            text.pop_if(|last| *last == b'\r');
        }
        if text.len() > MAX_LINE_BYTES {
            return Err(self.error(Problem::LineTooLong));
        }
        if self.line == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        Ok(Some(text))
    }

    fn error(&self, problem: Problem) -> LdifError {
        LdifError {
            line: self.line,
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::directory::ObjectKind;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Entry>, LdifError> {
        parse(text.as_bytes())
    }

    #[test]
    fn comments_folds_base64_and_line_ends_are_read() {
        let text = "version: 1\r\n# a comment\r\n  folded\r\ndn: cn=Ann,\r\n  dc=x\r\nobjectClass: user\r\nsAMAccountName:: SsO8cmdlbg==\r\nphoto: dropped\r\n\r\n\r\ndn:: Y249Qg==\r\nobjectClass: group";
        let entries = read(text).expect("LDIF");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].dn, "cn=Ann, dc=x");
        assert_eq!(entries[0].text("samaccountname"), Some("Jürgen"));
        assert_eq!(entries[0].attributes.len(), 2);
        assert_eq!(entries[1].dn, "cn=B");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, words) in [
            ("dn: cn=a\nobjectClass", 2, "name: value"),
            ("dn: cn=a\n\ncn: b\n", 3, "begin with `dn:`"),
            ("# c\ndn: cn=a\ncn:: %%\n", 3, "base64"),
            ("dn: cn=a\ncn:< file:///etc/shadow\n", 2, "URL"),
            ("dn: cn=a\nchangetype: delete\n", 2, "changetype: delete"),
            ("version: 2\n", 1, "version 2"),
            (" cn=a\n", 1, "continue"),
            ("dn:: /w==\n", 1, "UTF-8"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("line {line}: ")), "{error}");
            assert!(error.contains(words), "{error}");
        }
        let long = format!("dn: cn=a\ncn: {}", "x".repeat(MAX_LINE_BYTES + 1));
        assert_eq!(read(&long).expect_err("long").line, 2);
    }

    #[test]
    fn members_are_found_by_name_and_unknown_ones_keep_their_hash() {
        let text = "dn: CN=Ann,DC=x\nobjectClass: user\nsAMAccountName: ann\nobjectGUID:: AQIDBAUGBwgJCgsMDQ4PEA==\n\n\
            dn: CN=G,DC=x\nobjectClass: group\nsAMAccountName: g\nmember: cn=ann, dc=X\nmember: CN=Gone,DC=x\n\n\
            dn: OU=o,DC=x\nobjectClass: organizationalUnit\n";
        let domain = Name::new("x").expect("name");
        let contents = contents(read(text).expect("LDIF"), &domain);
        assert_eq!(contents.objects.len(), 2);
        assert_eq!(contents.skipped.get("not-an-account"), Some(&1));
        let ObjectKind::Group { members } = &contents.objects[1].kind else {
            panic!("a group");
        };
        assert_eq!(
            members,
            &[contents.objects[0].id, interpret::id_of_dn("CN=Gone,DC=x")]
        );
        assert_eq!(contents.objects[1].id, interpret::id_of_dn("CN=G,DC=x"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(bytes.as_slice());
        }
    }
}
