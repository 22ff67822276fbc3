//! What an operator types to find rows: words that must all occur, each anywhere or in one field.

use std::net::{IpAddr, Ipv4Addr};

use compact_str::CompactString;

/// The most words that count; further ones are read over.
pub const MAX_WORDS: usize = 8;

/// Where a word must occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// In the address, a name, a domain, or the producer of the last evidence.
    Any,
    /// In the user's name.
    User,
    /// In the device's name.
    Device,
    /// In the DNS domain of the user or device.
    Domain,
    /// It is the whole name of a group of the user or device, as `name` or `domain\name`.
    Group,
    /// In the name of the producer of the last evidence.
    Producer,
    /// The state begins with it.
    State,
}

/// How a word must occur in a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Somewhere in it.
    Within,
    /// At its beginning.
    Begin,
    /// As the whole of it.
    Whole,
}

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where.
    pub field: Field,
    /// How.
    pub how: How,
    /// What, in lower case.
    pub text: String,
}

impl Word {
    /// The words of a line. One that begins with a field's name and a colon looks only there: `user:ada`; after the colon
    /// `^` means the beginning of the name and `=` the whole of it: `user:=ada`. A double quote keeps blanks together:
    /// `group:"domain users"`.
    #[must_use]
    pub fn all(line: &str) -> Vec<Self> {
        let pieces = pieces(line).into_iter();
        let words = pieces.map(|piece| Self::one(&piece.to_lowercase()));
        words
            .filter(|word| !word.text.is_empty())
            .take(MAX_WORDS)
            .collect()
    }

    fn one(piece: &str) -> Self {
        let field = |name: &str| {
            Some(match name {
                "user" => Field::User,
                "device" => Field::Device,
                "domain" => Field::Domain,
                "group" => Field::Group,
                "from" => Field::Producer,
                "state" => Field::State,
                _ => return None,
            })
        };
        let named = piece.split_once(':');
        let named = named.and_then(|(name, text)| Some((field(name)?, text)));
        let Some((field, text)) = named else {
            return Self {
                field: Field::Any,
                how: How::Within,
                text: piece.to_owned(),
            };
        };
        let (how, text) = match (field, text.split_at_checked(1)) {
            (_, Some(("=", name))) => (How::Whole, name),
            (_, Some(("^", name))) => (How::Begin, name),
            (Field::Group, _) => (How::Whole, text),
            (Field::State, _) => (How::Begin, text),
            (_, _) => (How::Within, text),
        };
        Self {
            field,
            how,
            text: text.to_owned(),
        }
    }

    /// Whether a name holds the word, as it must.
    pub(super) fn is_in(&self, name: &str) -> bool {
        holds_folded(name, &self.text, self.how)
    }

    /// Whether the text of the address holds the word; an IPv4 address has digits and dots only.
    pub(super) fn is_in_address(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let is_of_it = |c: u8| c.is_ascii_digit() || c == b'.';
                self.text.bytes().all(is_of_it) && {
                    let mut text = [0; V4_BYTES];
                    contains(write_v4(address, &mut text), self.text.as_bytes())
                }
            }
            IpAddr::V6(address) => {
                let is_of_it = |c: u8| c.is_ascii_hexdigit() || matches!(c, b':' | b'.');
                self.text.bytes().all(is_of_it)
                    && compact_str::format_compact!("{address}").contains(self.text.as_str())
            }
        }
    }
}

/// The longest text of an IPv4 address.
const V4_BYTES: usize = 15;

/// The text of an address. The formatter of the library takes a third of a second for a million of them.
fn write_v4(address: Ipv4Addr, text: &mut [u8; V4_BYTES]) -> &[u8] {
    let mut length = 0;
    let mut push = |byte: u8| {
        if let Some(place) = text.get_mut(length) {
            *place = byte;
            length += 1;
        }
    };
    for (number, octet) in address.octets().into_iter().enumerate() {
        if number > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    text.get(..length).unwrap_or_default()
}

/// Whether a short text holds a shorter one.
fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

/// The line in pieces at blanks that stand in no quotes; the quotes go.
fn pieces(line: &str) -> Vec<CompactString> {
    let (mut pieces, mut quoted) = (vec![CompactString::default()], false);
    for c in line.chars() {
        match (c, pieces.last_mut()) {
            ('"', _) => quoted = !quoted,
            (c, _) if c.is_whitespace() && !quoted => pieces.push(CompactString::default()),
            (c, Some(piece)) => piece.push(c),
            (_, None) => {}
        }
    }
    pieces
}

/// Whether `name` holds `folded`, which is in lower case, whatever the case of `name`. Most names are ASCII, and are
/// looked at where they are.
fn holds_folded(name: &str, folded: &str, how: How) -> bool {
    if !name.is_ascii() {
        let name = name.to_lowercase();
        return match how {
            How::Within => name.contains(folded),
            How::Begin => name.starts_with(folded),
            How::Whole => name == folded,
        };
    }
    let (name, folded) = (name.as_bytes(), folded.as_bytes());
    match how {
        How::Within => name
            .windows(folded.len().max(1))
            .any(|window| window.eq_ignore_ascii_case(folded)),
        How::Begin => name
            .get(..folded.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(folded)),
        How::Whole => name.eq_ignore_ascii_case(folded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<(Field, String)> {
        let words = Word::all(line).into_iter();
        words.map(|word| (word.field, word.text)).collect()
    }

    #[test]
    fn a_line_is_words_with_or_without_a_field() {
        assert_eq!(
            all(" Ada  from:VPN group:\"Domain Users\" 2001:db8: state: x:y "),
            [
                (Field::Any, "ada".into()),
                (Field::Producer, "vpn".into()),
                (Field::Group, "domain users".into()),
                (Field::Any, "2001:db8:".into()),
                (Field::Any, "x:y".into()),
            ]
        );
        assert_eq!(all("a b c d e f g h i j").len(), MAX_WORDS);
        assert_eq!(all(""), []);
    }

    #[test]
    fn a_word_may_be_the_beginning_or_the_whole_of_a_name() {
        let is_in = |line: &str, name: &str| Word::all(line).remove(0).is_in(name);
        assert!(is_in("user:da", "Ada"));
        assert!(is_in("user:^ad", "Ada") && !is_in("user:^da", "Ada"));
        assert!(is_in("user:=ADA", "Ada") && !is_in("user:=ad", "Ada"));
        assert!(is_in("user:=\"åsa ö\"", "Åsa Ö"));
        assert!(is_in("group:staff", "Staff") && !is_in("group:staf", "Staff"));
        assert!(is_in("state:unconf", "unconfirmed"));
        assert!(
            is_in("=a", "x=a"),
            "without a field it is a letter like others"
        );
    }

    #[test]
    fn names_and_addresses_hold_words_whatever_their_case() {
        let word = |text: &str| Word::all(text).remove(0);
        assert!(word("LOVE").is_in("ada.Lovelace"));
        assert!(word("ångs").is_in("Linus ÅNGSTRÖM"));
        assert!(!word("adam").is_in("ada"));
        let holds = |text: &str, address: &str| {
            word(text).is_in_address(address.parse().expect("an address"))
        };
        assert!(holds("0.1", "10.0.1.2"));
        for address in ["0.0.0.0", "255.255.255.255", "10.109.9.100"] {
            let mut text = [0; V4_BYTES];
            let parsed = address.parse().expect("an address");
            assert_eq!(write_v4(parsed, &mut text), address.as_bytes());
        }
        assert!(!holds("ada", "10.0.1.2"));
        assert!(holds("db8::", "2001:db8::1"));
        assert!(!holds("10.0", "2001:db8::1"));
    }
}
