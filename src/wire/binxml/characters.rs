//! Text as it stands in a record: UTF-16 or the server's code page, decoded only when somebody looks.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use compact_str::CompactString;

use crate::wire::windows::{utf16_chars, utf16_units};

/// Longest text that can be an address: IPv6 with an embedded IPv4 and a zone.
const MAX_ADDRESS: usize = 64;

/// Text of a record, up to its first NUL. It may hold control characters: Windows does not mind.
#[derive(Clone, Copy)]
pub enum Text<'a> {
    /// UTF-16LE bytes.
    Wide(&'a [u8]),
    /// Bytes of a code page, taken to be Windows-1252.
    Ansi(&'a [u8]),
}

impl<'a> Text<'a> {
    /// UTF-16LE bytes up to their first NUL.
    #[must_use]
    pub fn wide(bytes: &'a [u8]) -> Self {
        let (units, _) = bytes.as_chunks::<2>();
        let length = units.iter().position(|unit| *unit == [0, 0]);
        Self::Wide(
            units
                .get(..length.unwrap_or(units.len()))
                .unwrap_or_default()
                .as_flattened(),
        )
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Wide(bytes) => bytes.len() < 2,
            Self::Ansi(bytes) => bytes.iter().all(|byte| *byte == 0),
        }
    }

    /// Its characters; what is none becomes U+FFFD.
    pub fn chars(&self) -> impl Iterator<Item = char> + use<'a> {
        let (wide, ansi) = match *self {
            Self::Wide(bytes) => (bytes, &[][..]),
            Self::Ansi(bytes) => (&[][..], bytes),
        };
        // NULs of the code page pad; they end nothing.
        let ansi = ansi.iter().filter(|byte| **byte != 0);
        utf16_chars(wide).chain(ansi.map(|byte| windows_1252(*byte)))
    }

    /// A copy, inline when short.
    #[must_use]
    pub fn to_compact(&self) -> CompactString {
        let mut text = CompactString::default();
        match self.narrow() {
            Some(narrow) => text.extend(narrow.map(char::from)),
            None => text.extend(self.chars()),
        }
        text
    }

    /// A copy.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self.narrow() {
            // Most text is ASCII, and much faster to copy as such.
            Some(narrow) => String::from_utf8(narrow.collect()).unwrap_or_default(),
            None => self.chars().collect(),
        }
    }

    /// Whether it is `text` without regard to case of ASCII letters.
    #[must_use]
    pub fn eq_ignore_ascii_case(&self, text: &str) -> bool {
        let lower = |found: char| found.to_ascii_lowercase();
        self.chars().map(lower).eq(text.chars().map(lower))
    }

    /// The number that it writes out, decimal or after `0x`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        let mut buffer = [0; MAX_ADDRESS];
        let text = self.ascii(&mut buffer)?;
        match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// The address that it writes out. Addresses that IPv6 maps are IPv4; a zone is left out.
    #[must_use]
    pub fn as_address(&self) -> Option<IpAddr> {
        let mut buffer = [0; MAX_ADDRESS];
        let text = self.ascii(&mut buffer)?;
        let (address, _zone) = text.split_once('%').unwrap_or((text, ""));
        address
            .parse::<IpAddr>()
            .ok()
            .map(|found| found.to_canonical())
    }

    /// Its bytes, if it is UTF-16 and all of them are ASCII.
    fn narrow(&self) -> Option<impl ExactSizeIterator<Item = u8> + use<'a>> {
        let Self::Wide(bytes) = *self else {
            return None;
        };
        let (units, _) = bytes.as_chunks::<2>();
        let high = units
            .iter()
            .fold(0, |high, [low, above]| high | *above | (low & 0x80));
        (high == 0).then(|| units.iter().map(|[low, _]| *low))
    }

    /// The trimmed text in `buffer`; `None` if it is longer or not ASCII.
    fn ascii<'b>(&self, buffer: &'b mut [u8; MAX_ADDRESS]) -> Option<&'b str> {
        let mut length = 0;
        match self {
            Self::Wide(bytes) => {
                for unit in utf16_units(bytes) {
                    *buffer.get_mut(length)? = u8::try_from(unit).ok()?;
                    length += 1;
                }
            }
            Self::Ansi(bytes) => {
                for byte in bytes.iter().filter(|byte| **byte != 0) {
                    *buffer.get_mut(length)? = *byte;
                    length += 1;
                }
            }
        }
        let found = buffer.get(..length)?;
        found
            .is_ascii()
            .then(|| std::str::from_utf8(found).ok())?
            .map(str::trim)
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        Self::Wide(&[])
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chars()
            .try_for_each(|found| fmt::Write::write_char(f, found))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.to_compact().as_str(), f)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

/// A text for logs, screens, XML and JSON: control characters, and those that change the direction of what follows,
/// become U+FFFD.
#[must_use]
pub fn sanitised(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unfit) {
        return Cow::Borrowed(text);
    }
    let fit = |found: char| {
        if is_unfit(found) {
            char::REPLACEMENT_CHARACTER
        } else {
            found
        }
    };
    Cow::Owned(text.chars().map(fit).collect())
}

/// Control and formatting characters, line separators, and what XML does not allow.
fn is_unfit(found: char) -> bool {
    found.is_control()
        || matches!(found,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The character of a byte in Windows-1252; the five that it leaves open are control characters, as in browsers.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let high = usize::from(byte).checked_sub(0x80);
    high.and_then(|index| HIGH.get(index).copied())
        .unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::windows::to_utf16;

    #[test]
    fn addresses_are_read_as_windows_writes_them() {
        let address = |text: &str| {
            Text::wide(&to_utf16(text))
                .as_address()
                .map(|a| a.to_string())
        };
        assert_eq!(address("::ffff:10.1.2.3").as_deref(), Some("10.1.2.3"));
        assert_eq!(address("10.1.2.3").as_deref(), Some("10.1.2.3"));
        assert_eq!(address("fe80::1%12").as_deref(), Some("fe80::1"));
        assert_eq!(address("2001:db8::7").as_deref(), Some("2001:db8::7"));
        assert_eq!(address("-"), None);
        assert_eq!(address(""), None);
        assert_eq!(address("10.1.2.3é"), None);
        assert_eq!(address(&"1".repeat(100)), None);
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        let number = |text: &str| Text::wide(&to_utf16(text)).as_u64();
        assert_eq!(number("4624"), Some(4624));
        assert_eq!(number("0x8020000000000000"), Some(0x8020_0000_0000_0000));
        assert_eq!(number("-"), None);
        assert_eq!(number("99999999999999999999999"), None);
    }

    #[test]
    fn text_ends_at_its_first_nul_and_compares_with_strings() {
        let bytes = to_utf16("alice\0hidden");
        let text = Text::wide(&bytes);
        assert_eq!(text, "alice");
        assert!(text.eq_ignore_ascii_case("ALICE"));
        assert_eq!(text.to_text(), "alice");
        assert_eq!(text.to_compact(), "alice");
        let bytes = to_utf16("Größe 日本 😀");
        assert_eq!(Text::wide(&bytes).to_text(), "Größe 日本 😀");
        assert_eq!(Text::wide(&bytes).to_compact(), "Größe 日本 😀");
        assert_eq!(Text::Ansi(b"caf\xe9 \x80\0"), "café €");
        assert!(Text::Ansi(b"\0\0").is_empty());
        assert!(Text::default().is_empty());
    }

    #[test]
    fn what_could_forge_a_line_is_replaced() {
        assert!(matches!(sanitised("plain ünï 日本"), Cow::Borrowed(_)));
        assert_eq!(
            sanitised("a\nb\u{202e}c\u{7}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}"
        );
        assert_eq!(
            sanitised("zero\u{200b}width\u{fffe}"),
            "zero\u{fffd}width\u{fffd}"
        );
    }
}
