//! A bounded little-endian reader over bytes, and the error of everything that decodes.
//!
//! Every decoder of `wire/` that reads Windows structures shares it, so that "the bytes end here" is said one way. It
//! knows numbers, runs of bytes and alignment; no format of its own.

use thiserror::Error;

/// Why bytes are not the structure they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{structure} ends before {field} (offset {offset})")]
    Truncated {
        /// What was being read.
        structure: &'static str,
        /// Its field.
        field: &'static str,
        /// Where, from the structure's start.
        offset: usize,
    },
    /// A field holds what it may not.
    #[error("{structure}: {field} is {value:#x} (offset {offset})")]
    Invalid {
        /// What was being read.
        structure: &'static str,
        /// Its field.
        field: &'static str,
        /// Where, from the structure's start.
        offset: usize,
        /// What it holds.
        value: u64,
    },
    /// Something is not there at all.
    #[error("{structure} has no {field}")]
    Missing {
        /// What was being read.
        structure: &'static str,
        /// What it lacks.
        field: &'static str,
    },
    /// There is more of something than we are willing to take.
    #[error("{structure}: {field} is more than {limit} (offset {offset})")]
    TooMuch {
        /// What was being read.
        structure: &'static str,
        /// Its field.
        field: &'static str,
        /// Where, from the structure's start.
        offset: usize,
        /// The most that is taken.
        limit: usize,
    },
}

/// Reads one structure from its first byte on.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    structure: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, which hold a `structure`.
    #[must_use]
    pub const fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            structure,
            bytes,
            offset: 0,
        }
    }

    /// Where it stands, from the structure's start.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    /// How much is left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.offset)
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes from `start` to where it stands.
    #[must_use]
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.offset).unwrap_or_default()
    }

    /// The next byte, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.offset).copied()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    #[inline]
    pub fn bytes(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.offset.checked_add(count);
        let Some((end, found)) = end.and_then(|end| Some((end, self.bytes.get(self.offset..end)?)))
        else {
            return Err(self.truncated(field));
        };
        self.offset = end;
        Ok(found)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let Some(found) = self.rest().first_chunk::<N>() else {
            return Err(self.truncated(field));
        };
        self.offset += N;
        Ok(*found)
    }

    /// An 8-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(|[byte]| byte)
    }

    /// A 16-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    #[inline]
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A 32-bit number that is a length or a count, at most `limit`.
    ///
    /// # Errors
    /// [`DecodeError`]
    #[inline]
    pub fn length(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let offset = self.offset;
        let length = self.u32(field)?;
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(length),
            _ => Err(DecodeError::TooMuch {
                structure: self.structure,
                field,
                offset,
                limit,
            }),
        }
    }

    /// Skips to a multiple of `alignment`, counted from the structure's start.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]
    pub fn align(&mut self, alignment: usize) -> Result<(), DecodeError> {
        let padding = self.offset.next_multiple_of(alignment) - self.offset;
        self.bytes("padding", padding).map(|_| ())
    }

    /// The field of `width` bytes before the current position holds what it may not.
    #[must_use]
    pub const fn invalid(&self, field: &'static str, width: usize, value: u64) -> DecodeError {
        DecodeError::Invalid {
            structure: self.structure,
            field,
            offset: self.offset.saturating_sub(width),
            value,
        }
    }

    /// There is more of `field` here than is taken.
    #[must_use]
    pub const fn too_much(&self, field: &'static str, limit: usize) -> DecodeError {
        DecodeError::TooMuch {
            structure: self.structure,
            field,
            offset: self.offset,
            limit,
        }
    }

    /// The bytes end before `field`.
    #[cold]
    #[must_use]
    pub const fn truncated(&self, field: &'static str) -> DecodeError {
        DecodeError::Truncated {
            structure: self.structure,
            field,
            offset: self.offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_little_endian_and_counted() {
        let mut cursor = Cursor::new("thing", &[1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(cursor.u8("a").unwrap(), 1);
        assert_eq!(cursor.u16("b").unwrap(), 2);
        assert_eq!(cursor.u32("c").unwrap(), 3);
        assert_eq!(cursor.u64("d").unwrap(), 4);
        assert_eq!(cursor.offset(), 15);
        assert_eq!(cursor.rest(), [9]);
        assert_eq!(cursor.since(7).len(), 8);
    }

    #[test]
    fn an_error_names_structure_field_and_offset() {
        let mut cursor = Cursor::new("thing", &[1, 2, 3]);
        cursor.u16("first").unwrap();
        let error = cursor.u32("second").unwrap_err();
        assert_eq!(error.to_string(), "thing ends before second (offset 2)");
        assert_eq!(cursor.offset(), 2, "a failed read takes nothing");
        let error = cursor.bytes("rest", usize::MAX).unwrap_err();
        assert_eq!(error.to_string(), "thing ends before rest (offset 2)");
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_allocated() {
        let mut cursor = Cursor::new("thing", &[0xff, 0xff, 0xff, 0xff]);
        let error = cursor.length("count", 1024).unwrap_err();
        assert_eq!(
            error.to_string(),
            "thing: count is more than 1024 (offset 0)"
        );
    }

    #[test]
    fn alignment_counts_from_the_start() {
        let mut cursor = Cursor::new("thing", &[1, 0, 0, 0, 2]);
        cursor.u8("a").unwrap();
        cursor.align(4).unwrap();
        cursor.align(4).unwrap();
        assert_eq!(cursor.u8("b").unwrap(), 2);
        assert!(cursor.align(4).is_err());
    }
}
