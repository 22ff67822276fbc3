//! NDR, the encoding of RPC arguments (C706 chapter 14, version 2.0, little-endian).
//!
//! What our interfaces need and no more: numbers, unique pointers, wide strings, conformant arrays, context handles.
//! Alignment counts from the start of the stub. Nothing here knows an interface.

use super::cursor::{Cursor, DecodeError};
use super::windows::Guid;

/// A context handle, opaque to a client (C706 appendix N).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContextHandle(pub [u8; 20]);

impl ContextHandle {
    /// Whether it stands for nothing, as after it was closed.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0 == [0; 20]
    }
}

/// Encodes arguments.
#[derive(Clone, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    referent: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty stub.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            referent: 0x0002_0000,
        }
    }

    /// The stub.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Pads to a multiple of `alignment` (C706 14.2.2).
    pub fn align(&mut self, alignment: usize) -> &mut Self {
        let length = self.bytes.len().next_multiple_of(alignment);
        self.bytes.resize(length, 0);
        self
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// An 8-bit number.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// A 16-bit number.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.align(2).raw(&value.to_le_bytes())
    }

    /// A 32-bit number.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.align(4).raw(&value.to_le_bytes())
    }

    /// A 64-bit number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.align(8).raw(&value.to_le_bytes())
    }

    /// A signed 64-bit number.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.align(8).raw(&value.to_le_bytes())
    }

    /// The 32-bit length of something in memory; what does not fit is written as the largest number, which no peer takes.
    pub fn length(&mut self, value: usize) -> &mut Self {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// The referent of a unique pointer, null or a fresh one (C706 14.3.12.1). The pointee is up to the caller.
    pub fn pointer(&mut self, present: bool) -> &mut Self {
        let referent = if present {
            self.referent = self.referent.wrapping_add(4);
            self.referent
        } else {
            0
        };
        self.u32(referent)
    }

    /// A conformant and varying wide string with its NUL (C706 14.3.4.2).
    pub fn wide_string(&mut self, text: &str) -> &mut Self {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        self.length(units.len()).u32(0).length(units.len());
        for unit in units {
            self.raw(&unit.to_le_bytes());
        }
        self
    }

    /// A unique pointer to a wide string, as a parameter.
    pub fn unique_wide_string(&mut self, text: Option<&str>) -> &mut Self {
        self.pointer(text.is_some());
        if let Some(text) = text {
            self.wide_string(text);
        }
        self
    }

    /// A conformant array of bytes (C706 14.3.3.2).
    pub fn conformant_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len()).raw(bytes)
    }

    /// A conformant array of 32-bit numbers.
    pub fn conformant_u32s(&mut self, numbers: &[u32]) -> &mut Self {
        self.length(numbers.len());
        for number in numbers {
            self.u32(*number);
        }
        self
    }

    /// A GUID (MS-DTYP 2.3.4.2).
    pub fn guid(&mut self, guid: Guid) -> &mut Self {
        self.align(4).raw(&guid.to_bytes_le())
    }

    /// A context handle.
    pub fn handle(&mut self, handle: &ContextHandle) -> &mut Self {
        self.align(4).raw(&handle.0)
    }
}

/// Decodes arguments.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    /// At the start of the stub, which holds a `structure`.
    #[must_use]
    pub const fn new(structure: &'static str, stub: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(structure, stub),
        }
    }

    /// The reader below, for what has no NDR shape.
    pub fn cursor(&mut self) -> &mut Cursor<'a> {
        &mut self.cursor
    }

    /// A 16-bit number.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.cursor.align(2)?;
        self.cursor.u16(field)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.cursor.align(4)?;
        self.cursor.u32(field)
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.cursor.align(8)?;
        self.cursor.u64(field)
    }

    /// A 32-bit count, at most `limit`.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn length(&mut self, field: &'static str, limit: usize) -> Result<usize, DecodeError> {
        self.cursor.align(4)?;
        self.cursor.length(field, limit)
    }

    /// Whether a unique pointer points anywhere (C706 14.3.12.1).
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn pointer(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.u32(field).map(|referent| referent != 0)
    }

    /// A conformant and varying wide string without its NUL, of at most `limit` units (C706 14.3.4.2). What is no UTF-16
    /// becomes U+FFFD.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn wide_string(
        &mut self,
        field: &'static str,
        limit: usize,
    ) -> Result<String, DecodeError> {
        let most = self.length(field, limit)?;
        let offset = self.u32(field)?;
        if offset != 0 {
            return Err(self.cursor.invalid(field, 4, offset.into()));
        }
        let count = self.length(field, most)?;
        let bytes = self.cursor.bytes(field, count.saturating_mul(2))?;
        Ok(super::windows::utf16_until_nul(bytes))
    }

    /// A conformant array of bytes, exactly as many as were announced (C706 14.3.3.2).
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn conformant_bytes(
        &mut self,
        field: &'static str,
        announced: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let count = self.length(field, announced)?;
        self.cursor.bytes(field, count)
    }

    /// A conformant array of 32-bit numbers, at most as many as were announced; as raw bytes, four a number.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn conformant_u32s(
        &mut self,
        field: &'static str,
        announced: usize,
    ) -> Result<impl ExactSizeIterator<Item = u32> + Clone + use<'a>, DecodeError> {
        let count = self.length(field, announced)?;
        let bytes = self.cursor.bytes(field, count.saturating_mul(4))?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers.iter().map(|number| u32::from_le_bytes(*number)))
    }

    /// A GUID (MS-DTYP 2.3.4.2).
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn guid(&mut self, field: &'static str) -> Result<Guid, DecodeError> {
        self.cursor.align(4)?;
        self.cursor.array(field).map(Guid::from_bytes_le)
    }

    /// A context handle.
    ///
    /// # Errors
    /// [`DecodeError`]
    pub fn handle(&mut self, field: &'static str) -> Result<ContextHandle, DecodeError> {
        self.cursor.align(4)?;
        self.cursor.array(field).map(ContextHandle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_string_carries_its_counts_and_its_nul() {
        let mut writer = Writer::new();
        writer.u8(7).wide_string("ab").u16(1);
        assert_eq!(
            writer.into_bytes(),
            [
                7, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, b'a', 0, b'b', 0, 0, 0, 1, 0
            ]
        );
    }

    #[test]
    fn pointers_are_null_or_distinct() {
        let mut writer = Writer::new();
        writer.unique_wide_string(None).pointer(true).pointer(true);
        let bytes = writer.into_bytes();
        assert_eq!(bytes[..4], [0; 4]);
        assert_ne!(bytes[4..8], bytes[8..12]);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let handle = ContextHandle([3; 20]);
        let mut writer = Writer::new();
        writer
            .u8(1)
            .handle(&handle)
            .guid(Guid::from_u128(7))
            .unique_wide_string(Some("Sécurité"))
            .u64(1 << 40)
            .conformant_u32s(&[5, 6])
            .conformant_bytes(b"xyz");
        let bytes = writer.into_bytes();
        let mut reader = Reader::new("test", &bytes);
        assert_eq!(reader.cursor().u8("number").unwrap(), 1);
        assert_eq!(reader.handle("handle").unwrap(), handle);
        assert_eq!(reader.guid("guid").unwrap(), Guid::from_u128(7));
        assert!(reader.pointer("text").unwrap());
        assert_eq!(reader.wide_string("text", 100).unwrap(), "Sécurité");
        assert_eq!(reader.u64("long").unwrap(), 1 << 40);
        let numbers = reader.conformant_u32s("numbers", 2).unwrap();
        assert_eq!(numbers.collect::<Vec<_>>(), [5, 6]);
        assert_eq!(reader.conformant_bytes("bytes", 3).unwrap(), b"xyz");
        assert!(reader.cursor().is_empty());
    }

    #[test]
    fn counts_beyond_what_was_announced_are_refused() {
        let stub = [9, 0, 0, 0, 0, 0, 0, 0];
        assert!(Reader::new("test", &stub).conformant_bytes("b", 8).is_err());
        assert!(Reader::new("test", &stub).wide_string("s", 8).is_err());
    }
}
