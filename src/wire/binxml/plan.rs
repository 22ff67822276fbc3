//! Where in a template's values the things stand that records are asked for, worked out once for each template.
//!
//! A plan says exactly what reading the tree would say. A template that it cannot do that for has none, and its records
//! are read as trees.

use compact_str::CompactString;

use super::instance::Values;
use super::parse::{Depth, Parser};
use super::tree::{Element, Node};
use super::value::Value;
use super::{Text, kind};
use crate::wire::cursor::DecodeError;

/// A definition that was seen.
#[derive(Debug)]
pub(super) struct Template {
    /// Its GUID.
    pub(super) guid: [u8; 16],
    /// Its bytes up to and with the end-of-file token; what follows in its length is waste.
    pub(super) definition: Box<[u8]>,
    /// Where things are; `None` if its records have to be read as trees.
    pub(super) plan: Option<Plan>,
}

impl Template {
    pub(super) fn new(guid: &[u8; 16], definition: &[u8]) -> Result<Self, DecodeError> {
        let (root, used) = Parser::default().definition(definition, Depth::default())?;
        Ok(Self {
            guid: *guid,
            plan: Plan::new(&root, definition),
            definition: definition.get(..used).unwrap_or_default().into(),
        })
    }

    /// Whether these bytes begin with the same definition.
    pub(super) fn matches(&self, definition: &[u8]) -> bool {
        definition.get(..self.definition.len()) == Some(&*self.definition)
    }
}

/// What a template's root element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// A whole record.
    Event,
    /// `EventData`.
    EventData,
    /// `UserData`.
    UserData,
    /// What stands in `UserData`, or something else.
    Other,
}

/// Where things are.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the root is.
    pub(super) root: Root,
    /// What every record has.
    pub(super) system: System,
    /// What its publisher says in it.
    pub(super) data: Vec<Slot>,
    /// Values that are fragments with such data, each with what it stands in.
    pub(super) nested: Vec<(u16, Root)>,
}

/// What every record has (the element `System`).
#[derive(Debug, Default)]
pub(super) struct System {
    pub(super) provider: Option<Slot>,
    pub(super) event_id: Option<Slot>,
    pub(super) version: Option<Slot>,
    pub(super) level: Option<Slot>,
    pub(super) keywords: Option<Slot>,
    pub(super) time: Option<Slot>,
    pub(super) record_id: Option<Slot>,
    pub(super) channel: Option<Slot>,
    pub(super) computer: Option<Slot>,
}

/// One thing and its place.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Its name, if it has one.
    pub(super) name: Option<CompactString>,
    source: Source,
    /// Values without which the element is not there.
    requires: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// Nowhere: an element without content.
    Nothing,
    /// Text of the definition.
    Literal { start: usize, end: usize },
    /// A value.
    Value(u16),
}

impl Slot {
    /// Its value in a record whose definition and values these are.
    #[inline]
    pub(super) fn value<'a>(&self, definition: &'a [u8], values: &Values<'a>) -> Value<'a> {
        let is_null = |index: &u16| values.kind(*index) == Some(kind::NULL);
        if self.requires.iter().any(is_null) {
            return Value::Null;
        }
        match self.source {
            Source::Nothing => Value::Null,
            Source::Literal { start, end } => {
                Value::Text(Text::Wide(definition.get(start..end).unwrap_or_default()))
            }
            Source::Value(index) => values.get(index).unwrap_or_default(),
        }
    }
}

impl Plan {
    fn new(root: &Element<'_>, definition: &[u8]) -> Option<Self> {
        let mut planner = Planner {
            definition,
            data: Vec::new(),
            nested: Vec::new(),
        };
        let mut system = System::default();
        // A root is there whatever it depends on.
        let requires: &[u16] = &[];
        let kind = match root.name.as_str() {
            "Event" => {
                system = planner.event(root)?;
                Root::Event
            }
            "EventData" => {
                planner.event_data(root, requires)?;
                Root::EventData
            }
            "UserData" => {
                planner.user_data(root, requires)?;
                Root::UserData
            }
            _ => {
                planner.leaves(root, requires)?;
                Root::Other
            }
        };
        Some(Self {
            root: kind,
            system,
            data: planner.data,
            nested: planner.nested,
        })
    }
}

/// Makes a plan; every `None` means that there can be none.
struct Planner<'d> {
    definition: &'d [u8],
    data: Vec<Slot>,
    nested: Vec<(u16, Root)>,
}

impl Planner<'_> {
    fn event(&mut self, event: &Element<'_>) -> Option<System> {
        let mut system = None;
        for child in &event.children {
            match child {
                Node::Element(element) => {
                    let requires = requires(&[], element);
                    match element.name.as_str() {
                        "System" if system.is_some() => return None,
                        "System" => system = Some(self.system(element)?),
                        "EventData" => self.event_data(element, &requires)?,
                        "UserData" => self.user_data(element, &requires)?,
                        _ => {}
                    }
                }
                Node::Substitution(place) => self.nested.push((place.index, Root::Event)),
                Node::Value(_)
                | Node::Character(_)
                | Node::Entity(_)
                | Node::Instruction { .. } => {}
            }
        }
        // Data here and data in a fragment would have an order among them.
        let is_simple = self.data.is_empty() || self.nested.is_empty();
        system.filter(|_| is_simple)
    }

    fn system(&mut self, system: &Element<'_>) -> Option<System> {
        let within = requires(&[], system);
        let mut found = System::default();
        for element in system.elements() {
            let requires = requires(&within, element);
            let (slot, attribute) = match element.name.as_str() {
                "Provider" => (&mut found.provider, Some("Name")),
                "EventID" => (&mut found.event_id, None),
                "Version" => (&mut found.version, None),
                "Level" => (&mut found.level, None),
                "Keywords" => (&mut found.keywords, None),
                "TimeCreated" => (&mut found.time, Some("SystemTime")),
                "EventRecordID" => (&mut found.record_id, None),
                "Channel" => (&mut found.channel, None),
                "Computer" => (&mut found.computer, None),
                _ => continue,
            };
            if slot.is_some() || has_twins(element) {
                return None;
            }
            let nodes = match attribute {
                Some(name) => element.attribute(name).unwrap_or_default(),
                None => &element.children,
            };
            *slot = Some(self.slot(None, nodes, requires)?);
        }
        Some(found)
    }

    fn event_data(&mut self, data: &Element<'_>, within: &[u16]) -> Option<()> {
        for child in &data.children {
            let element = child.as_element()?;
            if element.elements().next().is_some() || has_twins(element) {
                return None;
            }
            let name = match element.attribute("Name") {
                Some([Node::Value(Value::Text(name))]) => Some(name.to_compact()),
                Some(_) => return None,
                None if element.name == "Data" => None,
                None => Some(element.name.clone()),
            };
            let requires = requires(within, element);
            let slot = self.slot(name, &element.children, requires)?;
            self.data.push(slot);
        }
        Some(())
    }

    fn user_data(&mut self, data: &Element<'_>, within: &[u16]) -> Option<()> {
        for child in &data.children {
            match child {
                Node::Element(element) => self.leaves(element, &requires(within, element))?,
                Node::Substitution(place) if within.is_empty() => {
                    self.nested.push((place.index, Root::UserData));
                }
                Node::Substitution(_)
                | Node::Value(_)
                | Node::Character(_)
                | Node::Entity(_)
                | Node::Instruction { .. } => return None,
            }
        }
        Some(())
    }

    fn leaves(&mut self, element: &Element<'_>, within: &[u16]) -> Option<()> {
        if element.elements().next().is_none() {
            let name = Some(element.name.clone());
            let slot = self.slot(name, &element.children, within.to_vec())?;
            self.data.push(slot);
            return Some(());
        }
        for child in &element.children {
            let child = child.as_element()?;
            self.leaves(child, &requires(within, child))?;
        }
        Some(())
    }

    fn slot(
        &self,
        name: Option<CompactString>,
        nodes: &[Node<'_>],
        requires: Vec<u16>,
    ) -> Option<Slot> {
        let source = match nodes {
            [] => Source::Nothing,
            [Node::Substitution(place)] => Source::Value(place.index),
            [Node::Value(Value::Text(Text::Wide(bytes)))] => {
                let start = offset_of(self.definition, bytes)?;
                let end = start + bytes.len();
                Source::Literal { start, end }
            }
            _ => return None,
        };
        // An element that depends on its own value needs no further look at it.
        let own = |index: &u16| matches!(source, Source::Value(value) if value == *index);
        Some(Slot {
            name,
            source,
            requires: requires.into_iter().filter(|index| !own(index)).collect(),
        })
    }
}

/// What an element in others needs to be there.
fn requires(within: &[u16], element: &Element<'_>) -> Vec<u16> {
    within.iter().copied().chain(element.dependency).collect()
}

/// Whether two attributes share a name: which one counts would depend on their values.
fn has_twins(element: &Element<'_>) -> bool {
    let mut rest = element.attributes.as_slice();
    while let Some((first, others)) = rest.split_first() {
        if others.iter().any(|other| other.name == first.name) {
            return true;
        }
        rest = others;
    }
    false
}

/// Where `part` is in `whole`.
fn offset_of(whole: &[u8], part: &[u8]) -> Option<usize> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let found = whole.get(start..start.checked_add(part.len())?)?;
    (found == part).then_some(start)
}
