//! Objects as WMI encodes them (MS-WMIO): an instance, with the part of its class that explains it.
//!
//! The class part says which properties there are, of what type, where their values stand, and which values an instance
//! has that does not say otherwise. Qualifiers and superclasses are skipped; definitions of classes alone are refused.
//! What the heaps hold is read in `heap`.

mod heap;

use heap::{Context, Heap};

use super::MAX_OBJECT_BYTES;
use crate::wire::cursor::{Cursor, DecodeError};

const OBJECT: &str = "a WMI object";
const CLASS_PART: &str = "the class part of a WMI object";
const INSTANCE: &str = "the instance part of a WMI object";

/// The first four bytes (2.2.77).
const SIGNATURE: u32 = 0x1234_5678;
/// Most properties of a class: Windows has no class with more.
const MAX_PROPERTIES: usize = 1024;
/// The bit of a heap's length that is always set (2.2.66).
const HEAP_MARK: u32 = 0x8000_0000;
/// A reference to nothing (2.2.69).
const NOTHING: u32 = 0xffff_ffff;

/// Flags of an object (2.2.6).
mod flag {
    pub(super) const CLASS: u8 = 0x01;
    pub(super) const INSTANCE: u8 = 0x02;
    pub(super) const DECORATION: u8 = 0x04;
}

/// Bits of a property in an NdTable (2.2.27).
mod nullness {
    pub(super) const NULL: u8 = 1;
    pub(super) const INHERITED: u8 = 2;
}

/// An instance: its class and its properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The name of its class.
    pub class: String,
    /// Names and values, sorted by name as the host sorts.
    pub properties: Vec<(String, Value)>,
}

/// The value of a property (2.2.71). Texts come from the host as they are, control characters and all.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// There is none.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed number of any width.
    Int(i64),
    /// An unsigned number of any width, or a single UTF-16 unit.
    UInt(u64),
    /// A floating-point number of either width.
    Real(f64),
    /// A text; also a time, `yyyymmddHHMMSS.mmmmmm+UUU` (DSP0004 2.2.1), and a reference ([`super::Path`]).
    Text(String),
    /// An object within the object.
    Object(Box<Object>),
    /// Several values of one type.
    Array(Vec<Value>),
}

impl Object {
    /// Reads an EncodingUnit (2.2.1); bytes after its end are not looked at.
    ///
    /// # Errors
    /// [`DecodeError`]; also if it defines a class instead of being an object.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new(OBJECT, bytes);
        let signature = fields.u32("signature")?;
        if signature != SIGNATURE {
            return Err(fields.invalid("signature", 4, signature.into()));
        }
        let length = fields.length("ObjectEncodingLength", MAX_OBJECT_BYTES)?;
        let block = fields.bytes("ObjectBlock", length)?;
        Self::block(block, &mut Context::new(block.len()))
    }

    /// An ObjectBlock (2.2.5).
    fn block(bytes: &[u8], context: &mut Context) -> Result<Self, DecodeError> {
        let mut fields = Cursor::new(OBJECT, bytes);
        let flags = fields.u8("ObjectFlags")?;
        if flags & (flag::CLASS | flag::INSTANCE) != flag::INSTANCE {
            return Err(fields.invalid("ObjectFlags", 1, flags.into()));
        }
        if flags & flag::DECORATION != 0 {
            context.encoded_string(&mut fields, "server name")?;
            context.encoded_string(&mut fields, "namespace name")?;
        }
        let class = Class::read(&mut fields)?;
        let instance = Instance::read(&mut fields, &class)?;
        let name = context.text(instance.heap, instance.class_name, "class name")?;
        let class_name = name.ok_or(DecodeError::Missing {
            structure: OBJECT,
            field: "class name",
        })?;
        let mut properties = Vec::with_capacity(class.count);
        let mut lookups = Cursor::new("a property table", class.lookups);
        for _ in 0..class.count {
            let name = lookups.u32("PropertyNameRef")?;
            let info = lookups.u32("PropertyInfoRef")?;
            let name = context.text(class.heap, name, "property name")?;
            let name = name.ok_or(DecodeError::Missing {
                structure: CLASS_PART,
                field: "property name",
            })?;
            let property = Property::read(class.heap, info, class.count)?;
            let value = property.value(&class, &instance, context)?;
            properties.push((name, value));
        }
        Ok(Self {
            class: class_name,
            properties,
        })
    }

    /// The property of this name, in whatever case; `None` if the object has none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut properties = self.properties.iter();
        let (_, value) = properties.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The text of a property; `None` if there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The number of a property; `None` if there is none, or a negative one.
    #[must_use]
    pub fn unsigned(&self, name: &str) -> Option<u64> {
        self.get(name)?.unsigned()
    }
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The number, if it is a whole one that is not negative.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        if let Self::Int(number) = self {
            u64::try_from(*number).ok()
        } else if let Self::UInt(number) = self {
            Some(*number)
        } else {
            None
        }
    }
}

/// What of a ClassPart (2.2.15) an instance needs.
struct Class<'a> {
    /// How many properties it has.
    count: usize,
    /// Two references for each of them (2.2.21).
    lookups: &'a [u8],
    tables: Tables<'a>,
    heap: Heap<'a>,
}

impl<'a> Class<'a> {
    fn read(fields: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        let mut part = Cursor::new(CLASS_PART, counted(fields, "ClassPart")?);
        part.u8("ReservedOctet")?;
        part.u32("ClassNameRef")?;
        let room = part.remaining();
        let tables = part.length("NdTableValueTableLength", room)?;
        counted(&mut part, "DerivationList")?;
        counted(&mut part, "ClassQualifierSet")?;
        let count = part.length("PropertyCount", MAX_PROPERTIES)?;
        let lookups = part.bytes("PropertyLookup", 8 * count)?;
        let tables = Tables::read(&mut part, tables, count)?;
        let heap = read_heap(&mut part)?;
        Ok(Self {
            count,
            lookups,
            tables,
            heap,
        })
    }
}

/// An InstanceType (2.2.53) without its class.
struct Instance<'a> {
    class_name: u32,
    tables: Tables<'a>,
    heap: Heap<'a>,
}

impl<'a> Instance<'a> {
    fn read(fields: &mut Cursor<'a>, class: &Class<'_>) -> Result<Self, DecodeError> {
        /// There is a set of qualifiers for each property (2.2.65).
        const WITH_QUALIFIERS: u8 = 2;
        let mut part = Cursor::new(INSTANCE, counted(fields, "InstanceType")?);
        part.u8("InstanceFlags")?;
        let class_name = part.u32("InstanceClassName")?;
        let tables = Tables::read(&mut part, class.tables.len(), class.count)?;
        counted(&mut part, "InstanceQualifierSet")?;
        if part.u8("InstPropQualSetFlag")? == WITH_QUALIFIERS {
            for _ in 0..class.count {
                counted(&mut part, "InstancePropQualifierSet")?;
            }
        }
        let heap = read_heap(&mut part)?;
        Ok(Self {
            class_name,
            tables,
            heap,
        })
    }
}

/// An NdTable and a ValueTable (2.2.26, 2.2.29).
#[derive(Clone, Copy)]
struct Tables<'a> {
    /// Two bits a property, in order of declaration.
    nullness: &'a [u8],
    /// Values, or references to them; where each stands, its PropertyInfo says.
    values: &'a [u8],
}

impl<'a> Tables<'a> {
    /// Both are `length` bytes together.
    fn read(part: &mut Cursor<'a>, length: usize, count: usize) -> Result<Self, DecodeError> {
        let start = *part;
        let both = part.bytes("ValueTable", length)?;
        let split = both.split_at_checked(count.div_ceil(4));
        let (nullness, values) = split.ok_or_else(|| start.truncated("ValueTable"))?;
        Ok(Self { nullness, values })
    }

    const fn len(&self) -> usize {
        self.nullness.len() + self.values.len()
    }

    /// The bits of the property that was declared at `order`.
    fn bits(&self, order: usize) -> u8 {
        let byte = self.nullness.get(order / 4).copied().unwrap_or_default();
        byte >> (2 * (order % 4))
    }
}

/// What a PropertyInfo (2.2.30) says of where a value stands.
struct Property {
    kind: u32,
    order: usize,
    offset: usize,
}

impl Property {
    fn read(heap: Heap<'_>, reference: u32, count: usize) -> Result<Self, DecodeError> {
        let mut info = heap.item(reference, "PropertyInfo")?;
        let kind = info.u32("PropertyType")?;
        let order = info.u16("DeclarationOrder")?;
        if usize::from(order) >= count {
            return Err(info.invalid("DeclarationOrder", 2, order.into()));
        }
        let offset = info.length("ValueTableOffset", MAX_OBJECT_BYTES)?;
        Ok(Self {
            kind,
            order: order.into(),
            offset,
        })
    }

    /// The instance's own value, or the one that its class has for all.
    fn value(
        &self,
        class: &Class<'_>,
        instance: &Instance<'_>,
        context: &mut Context,
    ) -> Result<Value, DecodeError> {
        let own = instance.tables.bits(self.order);
        let (tables, heap) = if own & nullness::INHERITED == 0 {
            (instance.tables, instance.heap)
        } else {
            (class.tables, class.heap)
        };
        // What the class inherits from its superclass stands in its own table all the same.
        if (own | tables.bits(self.order)) & nullness::NULL != 0 {
            return Ok(Value::Null);
        }
        let mut values = Cursor::new("a value table", tables.values);
        values.bytes("value", self.offset)?;
        context.value(self.kind, &mut values, heap)
    }
}

/// What an EncodingLength, which counts itself, goes before (2.2.73).
fn counted<'a>(fields: &mut Cursor<'a>, field: &'static str) -> Result<&'a [u8], DecodeError> {
    let length = fields.u32(field)?;
    let rest = length.checked_sub(4).map(usize::try_from);
    match rest {
        Some(Ok(rest)) => fields.bytes(field, rest),
        Some(Err(_)) | None => Err(fields.invalid(field, 4, length.into())),
    }
}

/// A Heap (2.2.66).
fn read_heap<'a>(part: &mut Cursor<'a>) -> Result<Heap<'a>, DecodeError> {
    let length = part.u32("HeapLength")?;
    let size = usize::try_from(length & !HEAP_MARK).unwrap_or(usize::MAX);
    part.bytes("Heap", size).map(Heap::new)
}
