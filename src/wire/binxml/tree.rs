//! A whole record as a tree of elements (MS-EVEN6 2.2.12, and 3.1.4.7 for templates and arrays).
//!
//! For rare shapes and for tests. It reads every token there is, keeps values as they are, and builds no XML text.

use std::fmt::Write;

use compact_str::CompactString;

use super::value::Value;
use super::{Text, parse};
use crate::wire::cursor::DecodeError;

/// An element.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element<'a> {
    /// Its name.
    pub name: CompactString,
    /// Its attributes, in order.
    pub attributes: Vec<Attribute<'a>>,
    /// What it holds, in order.
    pub children: Vec<Node<'a>>,
    /// In a definition, the value without which it is left out.
    pub dependency: Option<u16>,
}

/// An attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: CompactString,
    /// What it holds; never elements.
    pub value: Vec<Node<'a>>,
}

/// What an element or an attribute holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// An element.
    Element(Element<'a>),
    /// Text or another value.
    Value(Value<'a>),
    /// A character by number.
    Character(char),
    /// An entity by name.
    Entity(CompactString),
    /// A processing instruction.
    Instruction {
        /// Its target.
        target: CompactString,
        /// Its data.
        data: Text<'a>,
    },
    /// In a definition, the place of a value.
    Substitution(Substitution),
}

/// The place of a value in a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Substitution {
    /// Which value.
    pub index: u16,
    /// Whether an empty value leaves nothing behind.
    pub optional: bool,
}

/// Reads a record.
///
/// # Errors
/// It is malformed, larger than our limits, or holds no element.
pub fn tree(bytes: &[u8]) -> Result<Element<'_>, DecodeError> {
    let nodes = parse::Parser::default().fragment(bytes, parse::Depth::default())?;
    let root = nodes.into_iter().find_map(|node| match node {
        Node::Element(element) => Some(element),
        Node::Value(_)
        | Node::Character(_)
        | Node::Entity(_)
        | Node::Instruction { .. }
        | Node::Substitution(_) => None,
    });
    root.ok_or(DecodeError::Missing {
        structure: "record",
        field: "element",
    })
}

impl<'a> Element<'a> {
    /// Its child elements.
    pub fn elements(&self) -> impl Iterator<Item = &Element<'a>> {
        self.children.iter().filter_map(Node::as_element)
    }

    /// The first child element of that name.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<&Element<'a>> {
        self.elements().find(|element| element.name == name)
    }

    /// What the attribute of that name holds.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&[Node<'a>]> {
        let attribute = self.attributes.iter().find(|found| found.name == name)?;
        Some(&attribute.value)
    }

    /// Its own text, child elements aside.
    #[must_use]
    pub fn text(&self) -> CompactString {
        text(&self.children)
    }
}

impl<'a> Node<'a> {
    /// The element, if it is one.
    #[must_use]
    pub const fn as_element(&self) -> Option<&Element<'a>> {
        if let Self::Element(element) = self {
            Some(element)
        } else {
            None
        }
    }

    /// The value, if it is one.
    #[must_use]
    pub const fn as_value(&self) -> Option<Value<'a>> {
        if let Self::Value(value) = self {
            Some(*value)
        } else {
            None
        }
    }
}

/// The text of what is no element.
#[must_use]
pub fn text(nodes: &[Node<'_>]) -> CompactString {
    let mut text = CompactString::default();
    for node in nodes {
        match node {
            Node::Value(Value::Text(found)) => text.extend(found.chars()),
            Node::Value(value) => {
                // Writing to a string does not fail.
                let _ = write!(text, "{value}");
            }
            Node::Character(found) => text.push(*found),
            Node::Entity(name) => match entity(name) {
                Some(found) => text.push(found),
                None => {
                    let _ = write!(text, "&{name};");
                }
            },
            Node::Element(_) | Node::Instruction { .. } | Node::Substitution(_) => {}
        }
    }
    text
}

/// The entities that XML itself defines.
fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}
