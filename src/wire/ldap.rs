//! LDAP messages (RFC 4511) as far as jims must judge them itself: where one ends, and whether it may be passed on.
//!
//! The client library trusts a server: it takes any length, any depth, and panics on what it does not expect. So
//! everything a server sends passes [`message_length`] and [`check`] first. [`Entry`] is what a search finds. No
//! sockets here, and no meaning: which attribute says what is decided in `directory/interpret.rs`.

use thiserror::Error;

/// Longest message taken, in bytes. Samba sends a group with all its members in one: 100,000 of them are about 20 MB.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Deepest nesting taken; an entry needs five levels.
const MAX_DEPTH: usize = 12;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;
const CONTROLS: u8 = 0xa0;
/// An element that Active Directory puts behind its notice of disconnection, where the controls belong.
const MISPLACED_NAME: u8 = 0x8a;

/// Why bytes are not an LDAP message that a server may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadMessage {
    /// The first byte of a message is 0x30.
    #[error("what the server sent is not LDAP")]
    NotLdap,
    /// Over [`MAX_MESSAGE_BYTES`].
    #[error("the server announced a message of more than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// Over the depth that any message needs.
    #[error("the server sent a message nested too deeply")]
    TooDeep,
    /// An element ends outside the one that holds it, or its length is not written as LDAP demands.
    #[error("the server sent a message with a wrong length inside")]
    BadLength,
    /// An element is missing or is not of the type that RFC 4511 demands at its place.
    #[error("the server sent a message with a wrong element: {0}")]
    BadElement(&'static str),
}

/// What a checked message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ends an operation: bind, search or extended (RFC 4511 sections 4.2.2, 4.5.2, 4.12).
    Result,
    /// One entry found (section 4.5.2).
    Entry,
    /// A reference to another server, or an intermediate response: not for us.
    Aside,
    /// The server says good-bye (section 4.4.1).
    Notice,
}

/// One object as a directory hands it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Distinguished name.
    pub dn: String,
    /// Attributes in the order in which they came.
    pub attributes: Vec<Attribute>,
}

/// One attribute with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Name, perhaps with options: `member;range=0-1499`.
    pub name: String,
    /// Values as bytes.
    pub values: Vec<Vec<u8>>,
}

impl Entry {
    /// The values of an attribute, by its name without regard to case; empty if it is not there.
    #[must_use]
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        self.attributes
            .iter()
            .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
            .map_or(&[], |attribute| &attribute.values)
    }

    /// The first value of an attribute.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).first().map(Vec::as_slice)
    }

    /// The first value of an attribute, if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.first(name)?).ok()
    }

    /// Values of an attribute that came in part (`name;range=first-last`), with the index at which the next part
    /// begins; `None` as index: this was the last part.
    #[must_use]
    pub fn ranged(&self, name: &str) -> Option<(&[Vec<u8>], Option<usize>)> {
        self.attributes.iter().find_map(|attribute| {
            let (base, option) = attribute.name.split_once(';')?;
            if !base.eq_ignore_ascii_case(name) {
                return None;
            }
            let (key, range) = option.split_once('=')?;
            if !key.eq_ignore_ascii_case("range") {
                return None;
            }
            let (_, last) = range.split_once('-')?;
            let next = last.parse::<usize>().ok().map(|last| last + 1);
            (last == "*" || next.is_some()).then_some((attribute.values.as_slice(), next))
        })
    }
}

/// The length of the message at the start of the bytes, header included; `None`: more bytes are needed to tell.
///
/// # Errors
/// Bytes that cannot begin a message, or announce one over [`MAX_MESSAGE_BYTES`].
pub fn message_length(bytes: &[u8]) -> Result<Option<usize>, BadMessage> {
    let Some(&tag) = bytes.first() else {
        return Ok(None);
    };
    if tag != SEQUENCE {
        return Err(BadMessage::NotLdap);
    }
    let Some(header) = header(bytes)? else {
        return Ok(None);
    };
    let whole = header.bytes.saturating_add(header.content);
    if whole > MAX_MESSAGE_BYTES {
        return Err(BadMessage::TooLong);
    }
    Ok(Some(whole))
}

/// Checks a whole message and says what it is.
///
/// # Errors
/// Whatever is not as RFC 4511 demands of a server's message.
pub fn check(message: &[u8]) -> Result<Kind, BadMessage> {
    check_nesting(message, 0)?;
    let (tag, mut rest) = only(message)?;
    if tag != SEQUENCE {
        return Err(BadMessage::NotLdap);
    }
    let id = expect(&mut rest, INTEGER, "message id")?;
    if id.is_empty() || id.len() > 4 {
        return Err(BadMessage::BadElement("message id"));
    }
    let (operation, content) = next(&mut rest)?.ok_or(BadMessage::BadElement("operation"))?;
    let notice = id.iter().all(|&byte| byte == 0);
    let kind = match operation {
        0x61 | 0x65 | 0x78 => {
            check_result(content)?;
            if notice { Kind::Notice } else { Kind::Result }
        }
        0x64 => {
            check_entry(content)?;
            Kind::Entry
        }
        0x73 | 0x79 => Kind::Aside,
        _ => return Err(BadMessage::BadElement("operation")),
    };
    while let Some((tag, content)) = next(&mut rest)? {
        match tag {
            CONTROLS => check_controls(content)?,
            MISPLACED_NAME if notice => {}
            _ => return Err(BadMessage::BadElement("controls")),
        }
    }
    Ok(kind)
}

/// The StartTLS request (RFC 4511 section 4.14.1), as message 1.
#[must_use]
pub fn start_tls_request() -> Vec<u8> {
    const NAME: &[u8] = b"1.3.6.1.4.1.1466.20037";
    let mut message = vec![SEQUENCE, 0x1d, INTEGER, 1, 1, 0x77, 0x18, 0x80, 0x16];
    message.extend_from_slice(NAME);
    message
}

/// A SASL bind with the mechanism GSS-SPNEGO and a token (RFC 4511 section 4.2, RFC 4178).
#[must_use]
pub fn sasl_bind_request(message_id: u8, token: &[u8]) -> Vec<u8> {
    let sasl = [
        element(OCTET_STRING, b"GSS-SPNEGO"),
        element(OCTET_STRING, token),
    ];
    let bind = [
        element(INTEGER, &[3]),
        element(OCTET_STRING, b""),
        element(0xa3, &sasl.concat()),
    ];
    let message = [
        element(INTEGER, &[message_id & 0x7f]),
        element(0x60, &bind.concat()),
    ];
    element(SEQUENCE, &message.concat())
}

/// The server's token in a checked answer to a SASL bind; `None`: it sent none.
///
/// # Errors
/// A message without a result.
pub fn sasl_token(message: &[u8]) -> Result<Option<Vec<u8>>, BadMessage> {
    let (_, mut rest) = only(message)?;
    expect(&mut rest, INTEGER, "message id")?;
    let (_, mut content) = next(&mut rest)?.ok_or(BadMessage::BadElement("operation"))?;
    while let Some((tag, value)) = next(&mut content)? {
        if tag == 0x87 {
            return Ok(Some(value.to_vec()));
        }
    }
    Ok(None)
}

/// One element in definite form.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let digits = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
            bytes.push(0x84);
            bytes.extend(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// The result code and diagnostic text of a checked message of [`Kind::Result`] or [`Kind::Notice`].
///
/// # Errors
/// A message without a result.
pub fn result(message: &[u8]) -> Result<(u32, String), BadMessage> {
    let (_, mut rest) = only(message)?;
    expect(&mut rest, INTEGER, "message id")?;
    let (_, mut content) = next(&mut rest)?.ok_or(BadMessage::BadElement("operation"))?;
    let code = expect(&mut content, ENUMERATED, "result code")?;
    let code = code
        .iter()
        .fold(0_u32, |code, &byte| (code << 8) | u32::from(byte));
    expect(&mut content, OCTET_STRING, "matched name")?;
    let text = expect(&mut content, OCTET_STRING, "diagnostic text")?;
    Ok((code, String::from_utf8_lossy(text).into_owned()))
}

/// The size estimate and cookie of a paged-results control (RFC 2696): the cookie.
///
/// # Errors
/// A value that is not a sequence of an integer and an octet string.
pub fn paged_cookie(value: &[u8]) -> Result<Vec<u8>, BadMessage> {
    const WHAT: &str = "paged-results control";
    check_nesting(value, 0)?;
    let (tag, mut rest) = only(value)?;
    if tag != SEQUENCE {
        return Err(BadMessage::BadElement(WHAT));
    }
    expect(&mut rest, INTEGER, WHAT)?;
    expect(&mut rest, OCTET_STRING, WHAT).map(<[u8]>::to_vec)
}

/// LDAPResult (section 4.1.9) with what may follow it in bind and extended responses.
fn check_result(mut content: &[u8]) -> Result<(), BadMessage> {
    let code = expect(&mut content, ENUMERATED, "result code")?;
    if code.is_empty() || code.len() > 4 {
        return Err(BadMessage::BadElement("result code"));
    }
    check_text(expect(&mut content, OCTET_STRING, "matched name")?)?;
    check_text(expect(&mut content, OCTET_STRING, "diagnostic text")?)?;
    while let Some((tag, mut value)) = next(&mut content)? {
        match tag {
            0xa3 => {
                while let Some((tag, reference)) = next(&mut value)? {
                    if tag & CONSTRUCTED != 0 {
                        return Err(BadMessage::BadElement("referral"));
                    }
                    check_text(reference)?;
                }
            }
            0x8a => check_text(value)?,
            0x87 | 0x8b => {}
            _ => return Err(BadMessage::BadElement("result")),
        }
    }
    Ok(())
}

/// SearchResultEntry (section 4.5.2).
fn check_entry(mut content: &[u8]) -> Result<(), BadMessage> {
    const WHAT: &str = "entry";
    expect(&mut content, OCTET_STRING, WHAT)?;
    let mut attributes = expect(&mut content, SEQUENCE, WHAT)?;
    while let Some((tag, mut attribute)) = next(&mut attributes)? {
        if tag != SEQUENCE {
            return Err(BadMessage::BadElement(WHAT));
        }
        expect(&mut attribute, OCTET_STRING, WHAT)?;
        let mut values = expect(&mut attribute, SET, WHAT)?;
        while let Some((tag, _)) = next(&mut values)? {
            if tag != OCTET_STRING {
                return Err(BadMessage::BadElement(WHAT));
            }
        }
    }
    Ok(())
}

/// Controls (section 4.1.11).
fn check_controls(mut controls: &[u8]) -> Result<(), BadMessage> {
    const WHAT: &str = "control";
    while let Some((tag, mut control)) = next(&mut controls)? {
        if tag != SEQUENCE {
            return Err(BadMessage::BadElement(WHAT));
        }
        check_text(expect(&mut control, OCTET_STRING, WHAT)?)?;
        let mut after = next(&mut control)?;
        if let Some((BOOLEAN, value)) = after {
            if value.len() != 1 {
                return Err(BadMessage::BadElement(WHAT));
            }
            after = next(&mut control)?;
        }
        if after.is_some_and(|(tag, _)| tag != OCTET_STRING) || !control.is_empty() {
            return Err(BadMessage::BadElement(WHAT));
        }
    }
    Ok(())
}

fn check_text(bytes: &[u8]) -> Result<(), BadMessage> {
    std::str::from_utf8(bytes)
        .map(drop)
        .map_err(|_| BadMessage::BadElement("text that is not UTF-8"))
}

/// Every element inside ends where the one that holds it says, and none is nested too deeply.
fn check_nesting(mut bytes: &[u8], depth: usize) -> Result<(), BadMessage> {
    if depth > MAX_DEPTH {
        return Err(BadMessage::TooDeep);
    }
    while let Some((tag, content)) = next(&mut bytes)? {
        if tag & CONSTRUCTED != 0 {
            check_nesting(content, depth + 1)?;
        }
    }
    Ok(())
}

/// The one element that fills the bytes.
fn only(mut bytes: &[u8]) -> Result<(u8, &[u8]), BadMessage> {
    let element = next(&mut bytes)?.ok_or(BadMessage::BadLength)?;
    if bytes.is_empty() {
        Ok(element)
    } else {
        Err(BadMessage::BadLength)
    }
}

/// Takes the next element, which must have the tag.
fn expect<'a>(bytes: &mut &'a [u8], tag: u8, what: &'static str) -> Result<&'a [u8], BadMessage> {
    match next(bytes)? {
        Some((found, content)) if found == tag => Ok(content),
        Some(_) | None => Err(BadMessage::BadElement(what)),
    }
}

/// Takes the next element: its tag and content.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, BadMessage> {
    let Some(&tag) = bytes.first() else {
        return Ok(None);
    };
    let header = header(bytes)?.ok_or(BadMessage::BadLength)?;
    let end = header.bytes.saturating_add(header.content);
    let content = bytes.get(header.bytes..end).ok_or(BadMessage::BadLength)?;
    *bytes = &bytes[end..];
    Ok(Some((tag, content)))
}

struct Header {
    bytes: usize,
    content: usize,
}

/// Tag and length at the start of the bytes (definite form, at most four length bytes); `None`: too few bytes.
fn header(bytes: &[u8]) -> Result<Option<Header>, BadMessage> {
    let (Some(&tag), Some(&length)) = (bytes.first(), bytes.get(1)) else {
        return Ok(None);
    };
    if tag & 0x1f == 0x1f {
        return Err(BadMessage::BadElement("tag"));
    }
    if length < 0x80 {
        return Ok(Some(Header {
            bytes: 2,
            content: usize::from(length),
        }));
    }
    let count = usize::from(length & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(BadMessage::BadLength);
    }
    let Some(digits) = bytes.get(2..2 + count) else {
        return Ok(None);
    };
    let content = digits
        .iter()
        .fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte));
    Ok(Some(Header {
        bytes: 2 + count,
        content,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sasl_bind_carries_mechanism_and_token() {
        let request = sasl_bind_request(1, b"token");
        assert_eq!(
            request,
            b"\x30\x1f\x02\x01\x01\x60\x1a\x02\x01\x03\x04\x00\xa3\x13\x04\x0aGSS-SPNEGO\x04\x05token"
        );
        let long = sasl_bind_request(2, &[7; 300]);
        assert_eq!(message_length(&long), Ok(Some(long.len())));
        let answer = b"\x30\x11\x02\x01\x01\x61\x0c\x0a\x01\x0e\x04\x00\x04\x00\x87\x03abc";
        assert_eq!(check(answer), Ok(Kind::Result));
        assert_eq!(sasl_token(answer), Ok(Some(b"abc".to_vec())));
        assert_eq!(result(answer).map(|(code, _)| code), Ok(14));
        assert_eq!(sasl_token(BIND), Ok(None));
    }

    /// `bindResponse` with invalidCredentials as Windows sends it.
    const BIND: &[u8] = b"\x30\x16\x02\x01\x01\x61\x11\x0a\x01\x31\x04\x00\x04\x0adata 52e, ";
    /// An entry `CN=a` with one attribute of one value.
    const ENTRY: &[u8] =
        b"\x30\x18\x02\x01\x02\x64\x13\x04\x04CN=a\x30\x0b\x30\x09\x04\x02cn\x31\x03\x04\x01a";
    /// A search result with a paged-results control.
    const DONE: &[u8] = b"\x30\x38\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00\xa0\x2a\x30\x28\
        \x04\x161.2.840.113556.1.4.319\x01\x01\xff\x04\x0b\x30\x09\x02\x01\x00\x04\x04next";

    #[test]
    fn messages_of_each_kind_are_known() {
        for (message, kind) in [
            (BIND, Kind::Result),
            (ENTRY, Kind::Entry),
            (DONE, Kind::Result),
        ] {
            assert_eq!(message_length(message), Ok(Some(message.len())));
            assert_eq!(check(message), Ok(kind));
        }
        assert_eq!(result(BIND), Ok((49, "data 52e, ".into())));
        assert_eq!(
            paged_cookie(b"\x30\x09\x02\x01\x00\x04\x04next"),
            Ok(b"next".to_vec())
        );
    }

    #[test]
    fn a_notice_of_disconnection_is_known_as_windows_sends_it() {
        let notice = b"\x30\x14\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00\x8a\x061.3.6.";
        assert_eq!(check(notice), Ok(Kind::Notice));
        assert_eq!(result(notice), Ok((52, String::new())));
    }

    #[test]
    fn the_start_tls_request_is_well_formed() {
        let request = start_tls_request();
        assert_eq!(message_length(&request), Ok(Some(request.len())));
        assert_eq!(check_nesting(&request, 0), Ok(()));
    }

    #[test]
    fn every_truncation_is_refused_or_wants_more() {
        for message in [BIND, ENTRY, DONE] {
            for length in 0..message.len() {
                assert!(check(&message[..length]).is_err(), "{length}");
                assert!(matches!(
                    message_length(&message[..length]),
                    Ok(None | Some(_))
                ));
            }
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        assert_eq!(
            message_length(b"\x30\x84\x7f\xff\xff\xff"),
            Err(BadMessage::TooLong)
        );
        assert_eq!(message_length(b"\x30\x80"), Err(BadMessage::BadLength));
        assert_eq!(message_length(b"HTTP/1.1"), Err(BadMessage::NotLdap));
        let mut deep = vec![];
        for _ in 0..40 {
            deep.insert(0, u8::try_from(deep.len()).expect("short"));
            deep.insert(0, SEQUENCE);
        }
        assert_eq!(check(&deep), Err(BadMessage::TooDeep));
    }

    #[test]
    fn values_that_come_in_part_say_where_the_next_part_begins() {
        let entry = |name: &str| Entry {
            dn: String::new(),
            attributes: vec![Attribute {
                name: name.into(),
                values: vec![b"x".to_vec()],
            }],
        };
        let next = |name| entry(name).ranged("member").map(|(_, next)| next);
        assert_eq!(next("member;range=0-1499"), Some(Some(1500)));
        assert_eq!(next("Member;Range=1500-*"), Some(None));
        assert_eq!(next("member"), None);
        assert_eq!(next("member;range=0-x"), None);
        assert_eq!(next("memberOf;range=0-1499"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (message_length(&bytes), check(&bytes), result(&bytes), paged_cookie(&bytes));
        }

        #[test]
        fn no_damage_makes_it_panic(at in 0_usize..58, to in any::<u8>(), which in 0_usize..3) {
            let mut message = [BIND, ENTRY, DONE][which].to_vec();
            let at = at % message.len();
            message[at] = to;
            let _ = (message_length(&message), check(&message), result(&message));
        }
    }
}
