//! BinXML as EVEN6 sends it: Windows records without their XML text (MS-EVEN6 2.2.12).
//!
//! Differs from the files that Windows keeps: names and template definitions stand inline, so that every record
//! explains itself. [`Decoder`] takes what an identity collector wants straight from the bytes and knows templates
//! again; [`tree()`] reads everything and is for rare shapes and for tests. No meaning is given here to any record.
//!
//! ```text
//! record    = [header 0f major minor flags] 0c 00 GUID length definition values
//! definition = [header] element 00, and whatever else fits in its length
//! values    = count, then for each: length(2) type(1) 00; then the values
//! element   = 01|41, in definitions a dependency(2), length(4), name, [attributes], 02 content 04 | 03
//! name      = hash(2) count(2) UTF-16 NUL(2)
//! ```

mod characters;
mod decoder;
mod instance;
mod parse;
mod plan;
mod record;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use characters::{Text, sanitised};
pub use decoder::Decoder;
pub use record::Record;
pub use tree::{Attribute, Element, Node, Substitution, text, tree};
pub use value::{Array, Value};

/// Deepest nesting of elements, nested fragments included.
pub const MAX_DEPTH: usize = 48;
/// Deepest nesting of fragments: an event is one, its data a second.
pub const MAX_FRAGMENTS: usize = 8;
/// Most elements, attributes and pieces of text of a record's tree.
pub const MAX_NODES: usize = 16_384;
/// Most values of a template instance; Windows has at most 99 of an event's own.
pub const MAX_VALUES: usize = 1024;
/// Most characters of a name.
pub const MAX_NAME: usize = 512;
/// Most templates that a decoder remembers.
pub const MAX_TEMPLATES: usize = 128;
/// Longest definition that a decoder remembers.
pub const MAX_DEFINITION: usize = 64 << 10;

/// Tokens (MS-EVEN6 2.2.12). The bit 0x40 says that more data follows, and is left out here.
mod token {
    pub(super) const END_OF_FILE: u8 = 0x00;
    pub(super) const OPEN_START_ELEMENT: u8 = 0x01;
    pub(super) const CLOSE_START_ELEMENT: u8 = 0x02;
    pub(super) const CLOSE_EMPTY_ELEMENT: u8 = 0x03;
    pub(super) const END_ELEMENT: u8 = 0x04;
    pub(super) const VALUE_TEXT: u8 = 0x05;
    pub(super) const ATTRIBUTE: u8 = 0x06;
    pub(super) const CDATA_SECTION: u8 = 0x07;
    pub(super) const CHARACTER_REFERENCE: u8 = 0x08;
    pub(super) const ENTITY_REFERENCE: u8 = 0x09;
    pub(super) const INSTRUCTION_TARGET: u8 = 0x0a;
    pub(super) const INSTRUCTION_DATA: u8 = 0x0b;
    pub(super) const TEMPLATE_INSTANCE: u8 = 0x0c;
    pub(super) const NORMAL_SUBSTITUTION: u8 = 0x0d;
    pub(super) const OPTIONAL_SUBSTITUTION: u8 = 0x0e;
    pub(super) const FRAGMENT_HEADER: u8 = 0x0f;

    /// The bit of "more data".
    pub(super) const MORE: u8 = 0x40;
}

/// Types of values (MS-EVEN6 2.2.12, rule ValueType).
pub mod kind {
    /// Nothing.
    pub const NULL: u8 = 0x00;
    /// UTF-16.
    pub const STRING: u8 = 0x01;
    /// In the server's code page.
    pub const ANSI_STRING: u8 = 0x02;
    /// Signed, 8 bits.
    pub const INT8: u8 = 0x03;
    /// Unsigned, 8 bits.
    pub const UINT8: u8 = 0x04;
    /// Signed, 16 bits.
    pub const INT16: u8 = 0x05;
    /// Unsigned, 16 bits.
    pub const UINT16: u8 = 0x06;
    /// Signed, 32 bits.
    pub const INT32: u8 = 0x07;
    /// Unsigned, 32 bits.
    pub const UINT32: u8 = 0x08;
    /// Signed, 64 bits.
    pub const INT64: u8 = 0x09;
    /// Unsigned, 64 bits.
    pub const UINT64: u8 = 0x0a;
    /// IEEE 754, 32 bits.
    pub const REAL32: u8 = 0x0b;
    /// IEEE 754, 64 bits.
    pub const REAL64: u8 = 0x0c;
    /// 32 bits, not always 0 or 1.
    pub const BOOL: u8 = 0x0d;
    /// Bytes.
    pub const BINARY: u8 = 0x0e;
    /// A GUID.
    pub const GUID: u8 = 0x0f;
    /// The size of memory, 32 or 64 bits.
    pub const SIZE_T: u8 = 0x10;
    /// 100 ns steps since 1601.
    pub const FILE_TIME: u8 = 0x11;
    /// A calendar time.
    pub const SYSTEM_TIME: u8 = 0x12;
    /// A security identifier.
    pub const SID: u8 = 0x13;
    /// 32 bits, shown in hexadecimal.
    pub const HEX_INT32: u8 = 0x14;
    /// 64 bits, shown in hexadecimal.
    pub const HEX_INT64: u8 = 0x15;
    /// A fragment of BinXML.
    pub const BIN_XML: u8 = 0x21;
    /// The bit of an array of what the rest says.
    pub const ARRAY: u8 = 0x80;
}
