//! Reads tokens, and puts values into definitions. Everything here counts against one record's limits.

use compact_str::CompactString;

use super::instance::{Instance, Values};
use super::tree::{Attribute, Element, Node, Substitution};
use super::value::Value;
use super::{MAX_DEPTH, MAX_FRAGMENTS, MAX_NAME, MAX_NODES, Text, kind, token};
use crate::wire::cursor::{Cursor, DecodeError};
use crate::wire::windows::utf16_chars;

/// How deep we are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Depth {
    fragments: usize,
    elements: usize,
}

/// Reads one record.
#[derive(Debug)]
pub(super) struct Parser {
    /// Nodes that may still be made.
    left: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self { left: MAX_NODES }
    }
}

impl Parser {
    /// A fragment: elements and template instances, until its end or the end-of-file token.
    pub(super) fn fragment<'a>(
        &mut self,
        bytes: &'a [u8],
        depth: Depth,
    ) -> Result<Vec<Node<'a>>, DecodeError> {
        let mut cursor = Cursor::new("fragment", bytes);
        if depth.fragments >= MAX_FRAGMENTS {
            return Err(cursor.too_much("nested fragments", MAX_FRAGMENTS));
        }
        let depth = Depth {
            fragments: depth.fragments + 1,
            ..depth
        };
        let mut nodes = Vec::new();
        let mut stream = Stream {
            cursor: &mut cursor,
            definition: false,
        };
        self.content(&mut stream, depth, false, &mut nodes)?;
        Ok(nodes)
    }

    /// A definition: its element, and how many bytes it takes up to and with the end-of-file token.
    pub(super) fn definition<'a>(
        &mut self,
        bytes: &'a [u8],
        depth: Depth,
    ) -> Result<(Element<'a>, usize), DecodeError> {
        let mut cursor = Cursor::new("template definition", bytes);
        let mut nodes = Vec::new();
        let mut stream = Stream {
            cursor: &mut cursor,
            definition: true,
        };
        self.content(&mut stream, depth, false, &mut nodes)?;
        let missing = DecodeError::Missing {
            structure: "template definition",
            field: "element",
        };
        match nodes.into_iter().next() {
            Some(Node::Element(element)) => Ok((element, cursor.offset())),
            _ => Err(missing),
        }
    }

    /// Content up to the end of the element that it is in, or of the stream.
    fn content<'a>(
        &mut self,
        stream: &mut Stream<'_, 'a>,
        depth: Depth,
        in_element: bool,
        nodes: &mut Vec<Node<'a>>,
    ) -> Result<(), DecodeError> {
        while !stream.cursor.is_empty() {
            let byte = stream.cursor.u8("token")?;
            self.spend(stream.cursor, 1)?;
            match byte & !token::MORE {
                token::END_OF_FILE if !in_element => return Ok(()),
                token::END_ELEMENT if in_element => return Ok(()),
                token::FRAGMENT_HEADER => {
                    stream.cursor.bytes("fragment header", 3)?;
                }
                token::TEMPLATE_INSTANCE if !stream.definition => {
                    let instance = Instance::read(stream.cursor)?;
                    self.instance(&instance, depth, nodes)?;
                }
                token::OPEN_START_ELEMENT => {
                    let element = self.element(stream, byte, depth)?;
                    nodes.push(Node::Element(element));
                }
                other => match self.piece(stream, other)? {
                    Some(Node::Value(Value::BinXml(bytes))) => {
                        nodes.extend(self.fragment(bytes, depth)?);
                    }
                    Some(node) => nodes.push(node),
                    None => return Err(stream.cursor.invalid("token", 1, byte.into())),
                },
            }
        }
        if in_element {
            return Err(stream.cursor.truncated("end of element"));
        }
        Ok(())
    }

    /// An element, its first token having been read.
    fn element<'a>(
        &mut self,
        stream: &mut Stream<'_, 'a>,
        opening: u8,
        depth: Depth,
    ) -> Result<Element<'a>, DecodeError> {
        if depth.elements >= MAX_DEPTH {
            return Err(stream.cursor.too_much("nested elements", MAX_DEPTH));
        }
        let depth = Depth {
            elements: depth.elements + 1,
            ..depth
        };
        let mut element = Element::default();
        if stream.definition {
            let dependency = stream.cursor.u16("dependency")?;
            element.dependency = (dependency != u16::MAX).then_some(dependency);
        }
        stream.cursor.u32("element length")?;
        element.name = name(stream.cursor)?;
        if opening & token::MORE != 0 {
            stream.cursor.u32("attribute list length")?;
        }
        loop {
            let byte = stream.cursor.u8("token")?;
            self.spend(stream.cursor, 1)?;
            match byte & !token::MORE {
                token::ATTRIBUTE => element.attributes.push(self.attribute(stream)?),
                token::CLOSE_EMPTY_ELEMENT => return Ok(element),
                token::CLOSE_START_ELEMENT => break,
                _ => return Err(stream.cursor.invalid("token", 1, byte.into())),
            }
        }
        self.content(stream, depth, true, &mut element.children)?;
        Ok(element)
    }

    fn attribute<'a>(&mut self, stream: &mut Stream<'_, 'a>) -> Result<Attribute<'a>, DecodeError> {
        let mut attribute = Attribute {
            name: name(stream.cursor)?,
            value: Vec::new(),
        };
        while let Some(byte) = stream.cursor.peek() {
            let mut ahead = *stream.cursor;
            ahead.u8("token")?;
            let mut inner = Stream {
                cursor: &mut ahead,
                definition: stream.definition,
            };
            let Some(node) = self.piece(&mut inner, byte & !token::MORE)? else {
                break;
            };
            self.spend(&ahead, 1)?;
            *stream.cursor = ahead;
            attribute.value.push(node);
        }
        Ok(attribute)
    }

    /// Text, a value or the place of one; `None` if the token begins none of them.
    fn piece<'a>(
        &mut self,
        stream: &mut Stream<'_, 'a>,
        of: u8,
    ) -> Result<Option<Node<'a>>, DecodeError> {
        let cursor = &mut *stream.cursor;
        Ok(Some(match of {
            token::VALUE_TEXT => Node::Value(literal(cursor)?),
            token::CDATA_SECTION => Node::Value(Value::Text(counted_text(cursor)?)),
            token::CHARACTER_REFERENCE => {
                let number = cursor.u16("character reference")?;
                let found = char::from_u32(number.into());
                Node::Character(found.unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            token::ENTITY_REFERENCE => Node::Entity(name(cursor)?),
            token::INSTRUCTION_TARGET => {
                let target = name(cursor)?;
                let data = if cursor.peek() == Some(token::INSTRUCTION_DATA) {
                    cursor.u8("token")?;
                    counted_text(cursor)?
                } else {
                    Text::default()
                };
                Node::Instruction { target, data }
            }
            token::NORMAL_SUBSTITUTION | token::OPTIONAL_SUBSTITUTION if stream.definition => {
                let index = cursor.u16("substitution")?;
                cursor.u8("substitution type")?;
                let optional = of == token::OPTIONAL_SUBSTITUTION;
                Node::Substitution(Substitution { index, optional })
            }
            _ => return Ok(None),
        }))
    }

    /// The element of a definition with an instance's values in their places.
    pub(super) fn instance<'a>(
        &mut self,
        instance: &Instance<'a>,
        depth: Depth,
        nodes: &mut Vec<Node<'a>>,
    ) -> Result<(), DecodeError> {
        let (element, _) = self.definition(instance.definition, depth)?;
        // A root has nothing that it could be left out of.
        let element = Element {
            dependency: None,
            ..element
        };
        self.fill_element(element, &instance.values, depth, nodes)
    }

    fn fill_element<'a>(
        &mut self,
        element: Element<'a>,
        values: &Values<'a>,
        depth: Depth,
        nodes: &mut Vec<Node<'a>>,
    ) -> Result<(), DecodeError> {
        let is_null = |index: u16| values.kind(index) == Some(kind::NULL);
        if element.dependency.is_some_and(is_null) {
            return Ok(());
        }
        let depth = Depth {
            elements: depth.elements + 1,
            ..depth
        };
        let mut filled = Element {
            name: element.name,
            ..Element::default()
        };
        for attribute in element.attributes {
            let mut value = Vec::new();
            for node in attribute.value {
                self.fill(node, values, None, &mut value)?;
            }
            if !value.is_empty() {
                let name = attribute.name;
                filled.attributes.push(Attribute { name, value });
            }
        }
        for node in element.children {
            self.fill(node, values, Some(depth), &mut filled.children)?;
        }
        self.repeat(filled, nodes)
    }

    /// A node of a definition with its value. Elements are possible only where there is a depth.
    fn fill<'a>(
        &mut self,
        node: Node<'a>,
        values: &Values<'a>,
        depth: Option<Depth>,
        nodes: &mut Vec<Node<'a>>,
    ) -> Result<(), DecodeError> {
        let Node::Substitution(place) = node else {
            match (node, depth) {
                (Node::Element(element), Some(depth)) => {
                    self.fill_element(element, values, depth, nodes)?;
                }
                (node, _) => nodes.push(node),
            }
            return Ok(());
        };
        let Some(value) = values.get(place.index) else {
            return Ok(());
        };
        self.spend(&Cursor::new("template instance", &[]), 1)?;
        match (value, depth) {
            (Value::BinXml(bytes), Some(depth)) => nodes.extend(self.fragment(bytes, depth)?),
            (value, _) if place.optional && value.is_empty() => {}
            (value, _) => nodes.push(Node::Value(value)),
        }
        Ok(())
    }

    /// An element with an array stands once for each item (MS-EVEN6 3.1.4.7.5).
    fn repeat<'a>(
        &mut self,
        element: Element<'a>,
        nodes: &mut Vec<Node<'a>>,
    ) -> Result<(), DecodeError> {
        let Some(array) = slots(&element).find_map(repeating) else {
            nodes.push(Node::Element(element));
            return Ok(());
        };
        let size = slots(&element).count() + 1;
        for item in array.items() {
            self.spend(&Cursor::new("array", &[]), size)?;
            // Elements within are copied too.
            self.spend(&Cursor::new("array", &[]), weight(&element.children))?;
            let mut copy = element.clone();
            place(&mut copy, item);
            self.repeat(copy, nodes)?;
        }
        Ok(())
    }

    fn spend(&mut self, cursor: &Cursor<'_>, nodes: usize) -> Result<(), DecodeError> {
        match self.left.checked_sub(nodes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(cursor.too_much("nodes", MAX_NODES)),
        }
    }
}

/// Where tokens come from.
struct Stream<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    /// Whether elements carry dependencies, and values have places.
    definition: bool,
}

/// The nodes of an element in which an array counts: its content, then its attributes.
fn slots<'e, 'a>(element: &'e Element<'a>) -> impl Iterator<Item = &'e Node<'a>> {
    let attributes = element.attributes.iter();
    (element.children.iter()).chain(attributes.flat_map(|attribute| &attribute.value))
}

fn repeating<'a>(node: &Node<'a>) -> Option<super::Array<'a>> {
    match node.as_value() {
        Some(Value::Array(array)) if array.repeats() => Some(array),
        _ => None,
    }
}

/// Puts an item where the first array is.
fn place<'a>(element: &mut Element<'a>, item: Value<'a>) {
    let is_array = |node: &Node<'a>| repeating(node).is_some();
    let found = element.children.iter().position(is_array);
    let nodes = match found {
        Some(_) => Some(&mut element.children),
        None => (element.attributes.iter_mut())
            .map(|attribute| &mut attribute.value)
            .find(|value| value.iter().any(is_array)),
    };
    let Some(nodes) = nodes else { return };
    let Some(index) = nodes.iter().position(is_array) else {
        return;
    };
    if item.as_text().is_some_and(|text| text.is_empty()) {
        nodes.remove(index);
    } else if let Some(slot) = nodes.get_mut(index) {
        *slot = Node::Value(item);
    }
    element
        .attributes
        .retain(|attribute| !attribute.value.is_empty());
}

/// Nodes in what elements hold.
fn weight(nodes: &[Node<'_>]) -> usize {
    let elements = nodes.iter().filter_map(Node::as_element);
    elements
        .map(|element| 1 + slots(element).count() + weight(&element.children))
        .sum()
}

/// A name: hash, count, characters, NUL.
fn name(cursor: &mut Cursor<'_>) -> Result<CompactString, DecodeError> {
    cursor.u16("name hash")?;
    let count = usize::from(cursor.u16("name length")?);
    if count > MAX_NAME {
        return Err(cursor.too_much("name length", MAX_NAME));
    }
    let bytes = cursor.bytes("name", 2 * count)?;
    cursor.u16("end of name")?;
    let mut name = CompactString::default();
    name.extend(utf16_chars(bytes));
    Ok(name)
}

/// A value among the tokens.
fn literal<'a>(cursor: &mut Cursor<'a>) -> Result<Value<'a>, DecodeError> {
    let of = cursor.u8("value type")?;
    match (of, Value::width(of)) {
        (kind::STRING, _) => Ok(Value::Text(counted_text(cursor)?)),
        (kind::BIN_XML, _) => {
            let length = cursor.u16("fragment length")?;
            Ok(Value::BinXml(cursor.bytes("fragment", length.into())?))
        }
        (_, Some(width)) => Ok(Value::decode(of, cursor.bytes("value", width)?)),
        (_, None) => Err(cursor.invalid("value type", 1, of.into())),
    }
}

/// Text after its count of characters.
fn counted_text<'a>(cursor: &mut Cursor<'a>) -> Result<Text<'a>, DecodeError> {
    let count = cursor.u16("text length")?;
    Ok(Text::wide(cursor.bytes("text", 2 * usize::from(count))?))
}
