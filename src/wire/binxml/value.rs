//! Typed values of a record (MS-EVEN6 2.2.12, rule ValueType; their text 2.2.12.3).

use std::fmt;
use std::net::IpAddr;

use compact_str::{CompactString, ToCompactString};

use super::{Text, kind};
use crate::wire::windows::{FileTime, Guid, Sid, SystemTime};

/// A value, borrowed from the record.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Value<'a> {
    /// Nothing.
    #[default]
    Null,
    /// Text.
    Text(Text<'a>),
    /// A signed number, or a Boolean that is neither 0 nor 1.
    Signed(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// A short floating-point number.
    Real32(f32),
    /// A floating-point number.
    Real64(f64),
    /// Yes or no.
    Bool(bool),
    /// Bytes.
    Binary(&'a [u8]),
    /// A GUID.
    Guid(Guid),
    /// An instant.
    FileTime(FileTime),
    /// A calendar time.
    SystemTime(SystemTime),
    /// The bytes of a security identifier.
    Sid(&'a [u8]),
    /// A number that is shown in hexadecimal; sizes of memory too.
    Hex(u64),
    /// A fragment of BinXML.
    BinXml(&'a [u8]),
    /// Several values.
    Array(Array<'a>),
    /// Of an unknown type, or not of its type's length.
    Other {
        /// The type.
        kind: u8,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

impl<'a> Value<'a> {
    /// Reads the value of a type from exactly its bytes.
    #[must_use]
    pub fn decode(of: u8, bytes: &'a [u8]) -> Self {
        let other = Self::Other { kind: of, bytes };
        match of {
            kind::NULL => Self::Null,
            kind::STRING => Self::Text(Text::wide(bytes)),
            kind::ANSI_STRING => Self::Text(Text::Ansi(bytes)),
            kind::BINARY => Self::Binary(bytes),
            kind::SID => Self::Sid(bytes),
            kind::BIN_XML => Self::BinXml(bytes),
            kind::GUID => sized(bytes, other, |b: [u8; 16]| {
                Self::Guid(Guid::from_bytes_le(b))
            }),
            kind::SYSTEM_TIME => sized(bytes, other, |b: [u8; 16]| {
                Self::SystemTime(SystemTime::from_bytes(&b))
            }),
            kind::INT8..=kind::BOOL | kind::SIZE_T | kind::FILE_TIME => {
                Self::number(of, bytes).unwrap_or(other)
            }
            kind::HEX_INT32 | kind::HEX_INT64 => Self::number(of, bytes).unwrap_or(other),
            of if of & kind::ARRAY != 0 => Self::Array(Array {
                kind: of & !kind::ARRAY,
                bytes,
            }),
            _ => other,
        }
    }

    /// A number of a type; `None` if the bytes are not as many as it takes.
    fn number(of: u8, bytes: &[u8]) -> Option<Self> {
        Some(match (of, bytes) {
            (kind::UINT8, &[a]) => Self::Unsigned(a.into()),
            (kind::INT8, &[a]) => Self::Signed(i8::from_le_bytes([a]).into()),
            (kind::UINT16, &[a, b]) => Self::Unsigned(u16::from_le_bytes([a, b]).into()),
            (kind::INT16, &[a, b]) => Self::Signed(i16::from_le_bytes([a, b]).into()),
            (_, &[a, b, c, d]) => {
                let number = u32::from_le_bytes([a, b, c, d]);
                let signed = i32::from_le_bytes([a, b, c, d]);
                match (of, number) {
                    (kind::UINT32, _) => Self::Unsigned(number.into()),
                    (kind::INT32, _) => Self::Signed(signed.into()),
                    (kind::REAL32, _) => Self::Real32(f32::from_bits(number)),
                    (kind::BOOL, 0 | 1) => Self::Bool(number == 1),
                    // Windows keeps sets of bits in some of them.
                    (kind::BOOL, _) => Self::Signed(signed.into()),
                    (kind::HEX_INT32 | kind::SIZE_T, _) => Self::Hex(number.into()),
                    _ => return None,
                }
            }
            (_, &[a, b, c, d, e, f, g, h]) => {
                let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
                match of {
                    kind::UINT64 => Self::Unsigned(number),
                    kind::INT64 => Self::Signed(number.cast_signed()),
                    kind::REAL64 => Self::Real64(f64::from_bits(number)),
                    kind::FILE_TIME => Self::FileTime(FileTime(number)),
                    kind::HEX_INT64 | kind::SIZE_T => Self::Hex(number),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// Bytes that a value of the type takes where nothing says so; `None` if that differs.
    #[must_use]
    pub fn width(of: u8) -> Option<usize> {
        match of {
            kind::NULL => Some(0),
            kind::INT8 | kind::UINT8 => Some(1),
            kind::INT16 | kind::UINT16 => Some(2),
            kind::INT32 | kind::UINT32 | kind::REAL32 | kind::BOOL | kind::HEX_INT32 => Some(4),
            kind::INT64 | kind::UINT64 | kind::REAL64 | kind::FILE_TIME | kind::HEX_INT64 => {
                Some(8)
            }
            kind::GUID | kind::SYSTEM_TIME => Some(16),
            _ => None,
        }
    }

    /// Whether an optional substitution with it leaves nothing behind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::Binary(bytes) | Self::BinXml(bytes) => bytes.is_empty(),
            Self::Array(array) => array.bytes.is_empty(),
            Self::Signed(_)
            | Self::Unsigned(_)
            | Self::Real32(_)
            | Self::Real64(_)
            | Self::Bool(_)
            | Self::Guid(_)
            | Self::FileTime(_)
            | Self::SystemTime(_)
            | Self::Sid(_)
            | Self::Hex(_)
            | Self::Other { .. } => false,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub const fn as_text(&self) -> Option<Text<'a>> {
        if let Self::Text(text) = self {
            Some(*text)
        } else {
            None
        }
    }

    /// A number, also one that is written out.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if let Self::Unsigned(number) | Self::Hex(number) = self {
            Some(*number)
        } else if let Self::Signed(number) = self {
            u64::try_from(*number).ok()
        } else if let Self::Bool(yes) = self {
            Some(u64::from(*yes))
        } else {
            self.as_text()?.as_u64()
        }
    }

    /// An address that is written out.
    #[must_use]
    pub fn as_address(&self) -> Option<IpAddr> {
        self.as_text()?.as_address()
    }

    /// A security identifier.
    #[must_use]
    pub fn as_sid(&self) -> Option<Sid> {
        if let Self::Sid(bytes) = self {
            Sid::from_bytes(bytes)
        } else {
            None
        }
    }

    /// A GUID.
    #[must_use]
    pub const fn as_guid(&self) -> Option<Guid> {
        if let Self::Guid(guid) = self {
            Some(*guid)
        } else {
            None
        }
    }

    /// An instant, also one that is written out.
    #[must_use]
    pub fn as_time(&self) -> Option<FileTime> {
        if let Self::FileTime(time) = self {
            Some(*time)
        } else if let Self::SystemTime(time) = self {
            time.file_time()
        } else {
            FileTime::from_text(&self.as_text()?.to_compact())
        }
    }

    /// Its text, as Windows shows it.
    #[must_use]
    pub fn to_compact(&self) -> CompactString {
        if let Self::Text(text) = self {
            text.to_compact()
        } else {
            self.to_compact_string()
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null | Self::BinXml(_) => Ok(()),
            Self::Text(text) => text.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Real32(number) => write!(f, "{number:?}"),
            Self::Real64(number) => write!(f, "{number:?}"),
            Self::Bool(yes) => yes.fmt(f),
            Self::Guid(guid) => write!(f, "{{{guid}}}"),
            Self::FileTime(time) => time.fmt(f),
            Self::SystemTime(time) => time.fmt(f),
            Self::Sid(bytes) => match Sid::from_bytes(bytes) {
                Some(sid) => sid.fmt(f),
                None => hexadecimal(bytes, f),
            },
            Self::Hex(number) => write!(f, "{number:#x}"),
            Self::Array(array) => {
                for (index, item) in array.items().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    item.fmt(f)?;
                }
                Ok(())
            }
            Self::Binary(bytes) | Self::Other { bytes, .. } => hexadecimal(bytes, f),
        }
    }
}

/// Several values of one type (MS-EVEN6 3.1.4.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Its items. Strings end with a NUL each; a last one may lack it.
    pub fn items(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let Self { kind, mut bytes } = *self;
        std::iter::from_fn(move || {
            if bytes.is_empty() {
                return None;
            }
            let (item, taken) = item_length(kind, bytes);
            let (found, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            bytes = rest;
            Some(Value::decode(kind, found.get(..item).unwrap_or(found)))
        })
    }

    /// The type of its items.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// Whether an element with it is repeated for each item.
    #[must_use]
    pub fn repeats(&self) -> bool {
        let known = matches!(
            self.kind,
            kind::STRING..=kind::BOOL | kind::GUID | kind::FILE_TIME..=kind::HEX_INT64
        );
        known && self.items().nth(1).is_some()
    }
}

/// Bytes of the next item, and bytes to take for it; never 0.
fn item_length(of: u8, bytes: &[u8]) -> (usize, usize) {
    let all = bytes.len();
    match of {
        kind::STRING => {
            let (units, _) = bytes.as_chunks::<2>();
            match units.iter().position(|unit| *unit == [0, 0]) {
                Some(length) => (2 * length, 2 * length + 2),
                None => (all, all),
            }
        }
        kind::ANSI_STRING => match bytes.iter().position(|byte| *byte == 0) {
            Some(length) => (length, length + 1),
            None => (all, all),
        },
        kind::SID => match Sid::from_bytes(bytes) {
            Some(sid) => (sid.encoded_length(), sid.encoded_length()),
            None => (all, all),
        },
        of => match Value::width(of) {
            Some(width @ 1..) => (width, width),
            _ => (all, all),
        },
    }
}

/// What `read` makes of exactly `N` bytes.
fn sized<'a, const N: usize>(
    bytes: &'a [u8],
    other: Value<'a>,
    read: impl Fn([u8; N]) -> Value<'a>,
) -> Value<'a> {
    <[u8; N]>::try_from(bytes).map_or(other, read)
}

fn hexadecimal(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::windows::to_utf16;

    #[test]
    fn every_type_has_the_text_that_windows_shows() {
        let text = |of: u8, bytes: &[u8]| Value::decode(of, bytes).to_string();
        assert_eq!(text(kind::STRING, &to_utf16("CORP\0")), "CORP");
        assert_eq!(text(kind::ANSI_STRING, b"CORP\0"), "CORP");
        assert_eq!(text(kind::INT8, &[0xff]), "-1");
        assert_eq!(text(kind::UINT8, &[0xff]), "255");
        assert_eq!(text(kind::INT16, &[0xfe, 0xff]), "-2");
        assert_eq!(text(kind::UINT16, &[0x10, 0x12]), "4624");
        assert_eq!(text(kind::INT32, &[0xff; 4]), "-1");
        assert_eq!(text(kind::UINT32, &[3, 0, 0, 0]), "3");
        assert_eq!(text(kind::INT64, &[0xff; 8]), "-1");
        assert_eq!(text(kind::UINT64, &[0xff; 8]), "18446744073709551615");
        assert_eq!(text(kind::REAL32, &1.5_f32.to_le_bytes()), "1.5");
        assert_eq!(text(kind::REAL64, &2.0_f64.to_le_bytes()), "2.0");
        assert_eq!(text(kind::BOOL, &[1, 0, 0, 0]), "true");
        assert_eq!(text(kind::BOOL, &[0, 0, 0, 0]), "false");
        assert_eq!(text(kind::BOOL, &[7, 0, 0, 0]), "7");
        assert_eq!(text(kind::BINARY, &[0, 0xab]), "00AB");
        assert_eq!(
            text(
                kind::GUID,
                &[
                    0x25, 0x96, 0x84, 0x54, 0x78, 0x54, 0x94, 0x49, 0xa5, 0xba, 0x3e, 0x3b, 3,
                    0x28, 0xc3, 0x0d
                ]
            ),
            "{54849625-5478-4994-a5ba-3e3b0328c30d}"
        );
        assert_eq!(text(kind::SIZE_T, &[0x10, 0, 0, 0]), "0x10");
        assert_eq!(
            text(kind::SIZE_T, &[0x10, 0, 0, 0, 1, 0, 0, 0]),
            "0x100000010"
        );
        assert_eq!(text(kind::HEX_INT32, &[0x18, 0, 0, 0xc0]), "0xc0000018");
        assert_eq!(text(kind::HEX_INT64, &[0; 8]), "0x0");
        assert_eq!(
            text(kind::FILE_TIME, &[0; 8]),
            "1601-01-01T00:00:00.0000000Z"
        );
        assert_eq!(
            text(kind::SID, &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]),
            "S-1-5-18"
        );
        assert_eq!(text(kind::NULL, b"anything"), "");
        assert_eq!(text(0x77, &[1, 2]), "0102");
    }

    #[test]
    fn a_value_of_the_wrong_length_is_kept_as_bytes() {
        for of in [
            kind::UINT32,
            kind::GUID,
            kind::FILE_TIME,
            kind::SIZE_T,
            kind::SYSTEM_TIME,
        ] {
            let value = Value::decode(of, &[1, 2, 3]);
            assert_eq!(
                value,
                Value::Other {
                    kind: of,
                    bytes: &[1, 2, 3]
                }
            );
        }
        assert_eq!(Value::decode(kind::SID, &[1, 2]).as_sid(), None);
    }

    #[test]
    fn arrays_give_their_items() {
        let items = |of: u8, bytes: &[u8]| -> Vec<String> {
            let Value::Array(array) = Value::decode(of | kind::ARRAY, bytes) else {
                panic!("no array");
            };
            array.items().map(|item| item.to_string()).collect()
        };
        assert_eq!(items(kind::STRING, &to_utf16("a\0\0bc\0")), ["a", "", "bc"]);
        assert_eq!(items(kind::STRING, &to_utf16("a\0bc")), ["a", "bc"]);
        assert_eq!(items(kind::ANSI_STRING, b"x\0yz\0"), ["x", "yz"]);
        assert_eq!(items(kind::UINT16, &[1, 0, 2, 0]), ["1", "2"]);
        assert_eq!(items(kind::UINT16, &[1, 0, 2]), ["1", "02"]);
        let sids = [
            1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 7, 0, 0, 0,
        ];
        assert_eq!(items(kind::SID, &sids), ["S-1-5-18", "S-1-5-7"]);
        assert!(items(kind::UINT64, &[]).is_empty());
    }

    #[test]
    fn numbers_come_from_every_type_that_holds_one() {
        assert_eq!(Value::decode(kind::UINT8, &[3]).as_u64(), Some(3));
        assert_eq!(Value::decode(kind::INT32, &[3, 0, 0, 0]).as_u64(), Some(3));
        assert_eq!(Value::decode(kind::INT32, &[0xff; 4]).as_u64(), None);
        assert_eq!(
            Value::decode(kind::STRING, &to_utf16("0x17")).as_u64(),
            Some(23)
        );
        assert_eq!(Value::Null.as_u64(), None);
    }
}
