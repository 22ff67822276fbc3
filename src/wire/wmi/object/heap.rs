//! Heaps of an object and the values in them: texts, arrays, objects within the object (MS-WMIO 2.2.66 to 2.2.82).
//!
//! References may point anywhere, also many to one place, which the specification forbids and a hostile host would do.
//! So all that is taken out of the heaps is charged to one account, little larger than the object.

use super::{MAX_OBJECT_BYTES, NOTHING, Object, Value};
use crate::wire::cursor::{Cursor, DecodeError};
use crate::wire::windows;

/// Longest text in bytes of the heap.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// Most values of an array.
const MAX_ELEMENTS: usize = 1024;
/// Deepest nesting of objects; 1 is an object alone.
const MAX_DEPTH: u8 = 4;
/// What a value of an array costs at least: much more memory than its bytes.
const ELEMENT_COST: usize = 4;

/// The bit of a type that marks a property of a superclass (2.2.32).
const INHERITED: u32 = 0x4000;
/// The bit of a type that marks an array (2.2.82).
const ARRAY: u32 = 0x2000;
/// The bits of a type that count (2.2.82).
const TYPE_BITS: u32 = 0xffff;
/// The bit of a reference that marks a word of the dictionary (2.2.69).
const WORD: u32 = 0x8000_0000;

/// Common texts that are not written out (2.2.80).
const DICTIONARY: [&str; 11] = [
    "\"", "key", "", "read", "write", "volatile", "provider", "dynamic", "cimwin32", "DWORD",
    "CIMTYPE",
];

/// Types of values (2.2.82).
mod cim {
    pub(super) const SINT16: u32 = 2;
    pub(super) const SINT32: u32 = 3;
    pub(super) const REAL32: u32 = 4;
    pub(super) const REAL64: u32 = 5;
    pub(super) const STRING: u32 = 8;
    pub(super) const BOOLEAN: u32 = 11;
    pub(super) const OBJECT: u32 = 13;
    pub(super) const SINT8: u32 = 16;
    pub(super) const UINT8: u32 = 17;
    pub(super) const UINT16: u32 = 18;
    pub(super) const UINT32: u32 = 19;
    pub(super) const SINT64: u32 = 20;
    pub(super) const UINT64: u32 = 21;
    pub(super) const DATETIME: u32 = 101;
    pub(super) const REFERENCE: u32 = 102;
    pub(super) const CHAR16: u32 = 103;
}

/// The bytes that references point into.
#[derive(Clone, Copy)]
pub(super) struct Heap<'a> {
    bytes: &'a [u8],
}

impl<'a> Heap<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// A reader at what a reference points to (2.2.69).
    pub(super) fn item(
        self,
        reference: u32,
        field: &'static str,
    ) -> Result<Cursor<'a>, DecodeError> {
        let mut fields = Cursor::new("a heap of a WMI object", self.bytes);
        let offset = usize::try_from(reference).unwrap_or(usize::MAX);
        fields.bytes(field, offset)?;
        Ok(fields)
    }
}

/// What reading one object may still take.
pub(super) struct Context {
    left: usize,
    depth: u8,
}

impl Context {
    /// For an object of so many bytes.
    pub(super) const fn new(bytes: usize) -> Self {
        Self {
            // An array of bytes is dearer than the object it is in.
            left: bytes + MAX_ELEMENTS * ELEMENT_COST,
            depth: 1,
        }
    }

    fn spend(
        &mut self,
        at: &Cursor<'_>,
        field: &'static str,
        amount: usize,
    ) -> Result<(), DecodeError> {
        let left = self.left.checked_sub(amount);
        self.left = left.ok_or_else(|| at.too_much(field, self.left))?;
        Ok(())
    }

    /// The text a reference points to, or the word of the dictionary; `None` if it points to nothing (2.2.68).
    pub(super) fn text(
        &mut self,
        heap: Heap<'_>,
        reference: u32,
        field: &'static str,
    ) -> Result<Option<String>, DecodeError> {
        if reference == NOTHING {
            return Ok(None);
        }
        if reference & WORD == 0 {
            let mut item = heap.item(reference, field)?;
            return self.encoded_string(&mut item, field).map(Some);
        }
        let word = usize::try_from(reference & !WORD)
            .ok()
            .and_then(|number| DICTIONARY.get(number));
        match word {
            Some(word) => Ok(Some((*word).to_owned())),
            None => Err(DecodeError::Invalid {
                structure: "a heap of a WMI object",
                field,
                offset: 0,
                value: reference.into(),
            }),
        }
    }

    /// An Encoded-String (2.2.78): Latin-1 or UTF-16, up to its NUL.
    pub(super) fn encoded_string(
        &mut self,
        fields: &mut Cursor<'_>,
        field: &'static str,
    ) -> Result<String, DecodeError> {
        let flag = fields.u8(field)?;
        let rest = fields.rest();
        let near = rest.get(..MAX_TEXT_BYTES).unwrap_or(rest);
        let (length, width) = match flag {
            0 => (near.iter().position(|&byte| byte == 0), 1),
            1 => (windows::utf16_units(near).position(|unit| unit == 0), 2),
            other => return Err(fields.invalid(field, 1, other.into())),
        };
        let Some(length) = length else {
            return Err(if near.len() < rest.len() {
                fields.too_much(field, MAX_TEXT_BYTES)
            } else {
                fields.truncated(field)
            });
        };
        self.spend(fields, field, (length + 1) * width)?;
        let text = fields.bytes(field, length * width)?;
        fields.bytes(field, width)?;
        Ok(if width == 1 {
            text.iter().copied().map(char::from).collect()
        } else {
            windows::utf16(text)
        })
    }

    /// A value of a type, where a value table has it (2.2.71).
    pub(super) fn value(
        &mut self,
        kind: u32,
        values: &mut Cursor<'_>,
        heap: Heap<'_>,
    ) -> Result<Value, DecodeError> {
        let base = kind & TYPE_BITS & !INHERITED & !ARRAY;
        if kind & ARRAY == 0 {
            return self.single(base, values, heap);
        }
        let reference = values.u32("array")?;
        if reference == NOTHING {
            return Ok(Value::Null);
        }
        let mut item = heap.item(reference, "array")?;
        let count = item.length("ArrayCount", MAX_ELEMENTS)?;
        let width = width(base).ok_or_else(|| values.invalid("type", 0, kind.into()))?;
        self.spend(&item, "array", count * width.max(ELEMENT_COST))?;
        let bytes = item.bytes("array", count * width)?;
        let mut elements = Cursor::new("an array of a WMI object", bytes);
        let mut array = Vec::with_capacity(count);
        for _ in 0..count {
            array.push(self.single(base, &mut elements, heap)?);
        }
        Ok(Value::Array(array))
    }

    /// A value that is no array.
    fn single(
        &mut self,
        base: u32,
        values: &mut Cursor<'_>,
        heap: Heap<'_>,
    ) -> Result<Value, DecodeError> {
        const FIELD: &str = "value";
        Ok(match base {
            cim::SINT8 => Value::Int(values.u8(FIELD)?.cast_signed().into()),
            cim::SINT16 => Value::Int(values.u16(FIELD)?.cast_signed().into()),
            cim::SINT32 => Value::Int(values.u32(FIELD)?.cast_signed().into()),
            cim::SINT64 => Value::Int(values.u64(FIELD)?.cast_signed()),
            cim::UINT8 => Value::UInt(values.u8(FIELD)?.into()),
            cim::UINT16 | cim::CHAR16 => Value::UInt(values.u16(FIELD)?.into()),
            cim::UINT32 => Value::UInt(values.u32(FIELD)?.into()),
            cim::UINT64 => Value::UInt(values.u64(FIELD)?),
            cim::REAL32 => Value::Real(f32::from_bits(values.u32(FIELD)?).into()),
            cim::REAL64 => Value::Real(f64::from_bits(values.u64(FIELD)?)),
            cim::BOOLEAN => Value::Bool(values.u16(FIELD)? != 0),
            cim::STRING | cim::DATETIME | cim::REFERENCE => {
                let reference = values.u32(FIELD)?;
                let text = self.text(heap, reference, FIELD)?;
                text.map_or(Value::Null, Value::Text)
            }
            cim::OBJECT => self.object(values.u32(FIELD)?, heap)?,
            other => return Err(values.invalid("type", 0, other.into())),
        })
    }

    /// An object within the object: a length and an ObjectBlock (2.2.71).
    fn object(&mut self, reference: u32, heap: Heap<'_>) -> Result<Value, DecodeError> {
        if reference == NOTHING {
            return Ok(Value::Null);
        }
        let mut item = heap.item(reference, "embedded object")?;
        if self.depth >= MAX_DEPTH {
            return Err(item.too_much("nesting", MAX_DEPTH.into()));
        }
        let length = item.length("ObjectEncodingLength", MAX_OBJECT_BYTES)?;
        self.spend(&item, "embedded object", length)?;
        let block = item.bytes("ObjectBlock", length)?;
        self.depth += 1;
        let object = Object::block(block, self);
        self.depth -= 1;
        Ok(Value::Object(Box::new(object?)))
    }
}

/// Bytes of a value in a table or an array.
const fn width(base: u32) -> Option<usize> {
    match base {
        cim::SINT8 | cim::UINT8 => Some(1),
        cim::SINT16 | cim::UINT16 | cim::CHAR16 | cim::BOOLEAN => Some(2),
        cim::SINT32 | cim::UINT32 | cim::REAL32 => Some(4),
        cim::STRING | cim::DATETIME | cim::REFERENCE | cim::OBJECT => Some(4),
        cim::SINT64 | cim::UINT64 | cim::REAL64 => Some(8),
        _ => None,
    }
}
