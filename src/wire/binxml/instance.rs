//! A template instance: which definition, and the values for it (MS-EVEN6 2.2.12, rule TemplateInstance).

use super::value::Value;
use super::{MAX_VALUES, kind};
use crate::wire::cursor::{Cursor, DecodeError};

/// A template instance, borrowed from the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instance<'a> {
    /// The template's GUID as it stands there.
    pub(super) guid: &'a [u8; 16],
    /// The definition, and whatever else is in its length.
    pub(super) definition: &'a [u8],
    /// The values.
    pub(super) values: Values<'a>,
}

impl<'a> Instance<'a> {
    /// Reads it, its token having been read.
    #[inline]
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        cursor.u8("template reserved")?;
        let guid = cursor.bytes("template GUID", 16)?;
        let Some(guid) = guid.first_chunk() else {
            return Err(cursor.truncated("template GUID"));
        };
        let length = cursor.length("template length", cursor.remaining())?;
        let definition = cursor.bytes("template definition", length)?;
        let values = Values::read(cursor)?;
        Ok(Self {
            guid,
            definition,
            values,
        })
    }
}

/// The values of an instance, found again by adding up lengths.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    /// For each: length, type, reserved.
    specs: &'a [[u8; 4]],
    /// One after the other.
    bytes: &'a [u8],
    /// Whether one of them is an array.
    arrays: bool,
    /// How many are fragments.
    fragments: usize,
}

impl<'a> Values<'a> {
    #[inline]
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let count = cursor.length("number of values", MAX_VALUES)?;
        let (specs, _) = cursor.bytes("value lengths", 4 * count)?.as_chunks::<4>();
        let mut total = 0;
        let mut arrays = false;
        let mut fragments = 0;
        for &[low, high, of, _] in specs {
            total += usize::from(u16::from_le_bytes([low, high]));
            arrays |= of & kind::ARRAY != 0;
            fragments += usize::from(of == kind::BIN_XML);
        }
        let bytes = cursor.bytes("values", total)?;
        Ok(Self {
            specs,
            bytes,
            arrays,
            fragments,
        })
    }

    /// Whether one of them is an array.
    pub(super) const fn has_arrays(&self) -> bool {
        self.arrays
    }

    /// How many are fragments.
    pub(super) const fn fragments(&self) -> usize {
        self.fragments
    }

    /// The type of a value.
    #[inline]
    pub(super) fn kind(&self, index: u16) -> Option<u8> {
        self.specs.get(usize::from(index)).map(|spec| spec[2])
    }

    /// A value; `None` if there are fewer.
    #[inline]
    pub(super) fn get(&self, index: u16) -> Option<Value<'a>> {
        let index = usize::from(index);
        let [low, high, of, _] = *self.specs.get(index)?;
        let length = |spec: &[u8; 4]| usize::from(u16::from_le_bytes([spec[0], spec[1]]));
        let start: usize = self.specs.get(..index)?.iter().map(length).sum();
        let end = start + usize::from(u16::from_le_bytes([low, high]));
        Some(Value::decode(of, self.bytes.get(start..end)?))
    }
}
