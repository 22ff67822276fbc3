//! What is asked of a record.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use super::Text;
use super::instance::{Instance, Values};
use super::plan::Template;
use super::tree::{self, Element, Node};
use super::value::Value;
use crate::wire::cursor::DecodeError;
use crate::wire::windows::{FileTime, Sid};

/// The bit of `Keywords` that marks a success in the Security log.
const AUDIT_SUCCESS: u64 = 0x0020_0000_0000_0000;
/// The bit of a failure.
const AUDIT_FAILURE: u64 = 0x0010_0000_0000_0000;

/// A record, as far as it was asked for. Texts are as they came: they may hold control characters.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// What kind of record it is, to its provider.
    pub event_id: u16,
    /// The version of that kind.
    pub version: u8,
    /// How grave it is.
    pub level: u8,
    /// Sets of bits; see [`Record::is_success`].
    pub keywords: u64,
    /// When it was written, by the clock of its server.
    pub time: FileTime,
    /// Its number in its channel.
    pub record_id: u64,
    /// Who wrote it.
    pub provider: Text<'a>,
    /// The log that it is in.
    pub channel: Text<'a>,
    /// The server.
    pub computer: Arc<str>,
    pub(super) parts: [Part<'a>; 2],
}

/// Where a record's data are.
#[derive(Clone, Debug, Default)]
pub(super) enum Part<'a> {
    /// Nowhere.
    #[default]
    None,
    /// In the values of a template whose plan is known.
    Instance {
        template: Arc<Template>,
        definition: &'a [u8],
        values: Values<'a>,
    },
    /// Here.
    Items(Vec<Item<'a>>),
}

/// One thing that a record says.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    name: Option<CompactString>,
    value: Held<'a>,
}

#[derive(Clone, Debug)]
enum Held<'a> {
    Value(Value<'a>),
    /// Put together from several pieces.
    Text(Vec<u8>),
}

impl<'a> Record<'a> {
    /// What `<Data Name='…'>` says, or the element of that name in `UserData`; `None` if that is empty or not there.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value<'_>> {
        self.parts.iter().find_map(|part| part.value(name))
    }

    /// Everything that it says, in order, empty values left out. Classic records give their data no names.
    pub fn values(&self) -> impl Iterator<Item = (Option<&str>, Value<'_>)> {
        (self.parts.iter())
            .flat_map(Part::values)
            .filter(|(_, value)| !value.is_empty())
    }

    /// A value that is a number, also one written out.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.as_u64()
    }

    /// A value as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = self.value(name)?;
        Some(Cow::Owned(match value.as_text() {
            Some(text) => text.to_text(),
            None => value.to_string(),
        }))
    }

    /// A value that is a security identifier.
    #[must_use]
    pub fn sid(&self, name: &str) -> Option<Sid> {
        self.value(name)?.as_sid()
    }

    /// A value that is an address, written out. What IPv6 maps is IPv4.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        self.value(name)?.as_address()
    }

    /// Whether the Security log calls it a success.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.keywords & AUDIT_SUCCESS != 0
    }

    /// Whether the Security log calls it a failure.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        self.keywords & AUDIT_FAILURE != 0
    }

    /// From a tree, whatever its shape.
    ///
    /// # Errors
    /// It lacks its kind, time or number.
    pub fn from_tree(event: &Element<'a>) -> Result<Self, DecodeError> {
        let system = event.element("System").ok_or(missing("System"))?;
        let child = |name| system.element(name).map(|found| one(&found.children));
        let attribute = |name, of| {
            let nodes = system.element(name)?.attribute(of)?;
            Some(one(nodes))
        };
        let text = |value: Option<Value<'a>>| value.and_then(|found| found.as_text());
        let fields = Fields {
            event_id: child("EventID"),
            version: child("Version"),
            level: child("Level"),
            keywords: child("Keywords"),
            time: attribute("TimeCreated", "SystemTime"),
            record_id: child("EventRecordID"),
        };
        let mut items = Vec::new();
        for element in event.elements() {
            match element.name.as_str() {
                "EventData" => event_data(element, &mut items),
                "UserData" => element
                    .elements()
                    .for_each(|child| leaves(child, &mut items)),
                _ => {}
            }
        }
        fields.record(Rest {
            provider: text(attribute("Provider", "Name")).unwrap_or_default(),
            channel: text(child("Channel")).unwrap_or_default(),
            computer: text(child("Computer")).unwrap_or_default().to_text().into(),
            parts: [Part::Items(items), Part::None],
        })
    }
}

/// What every record has, as values.
pub(super) struct Fields<'a> {
    pub(super) event_id: Option<Value<'a>>,
    pub(super) version: Option<Value<'a>>,
    pub(super) level: Option<Value<'a>>,
    pub(super) keywords: Option<Value<'a>>,
    pub(super) time: Option<Value<'a>>,
    pub(super) record_id: Option<Value<'a>>,
}

/// The rest of a record.
pub(super) struct Rest<'a> {
    pub(super) provider: Text<'a>,
    pub(super) channel: Text<'a>,
    pub(super) computer: Arc<str>,
    pub(super) parts: [Part<'a>; 2],
}

impl<'a> Fields<'a> {
    pub(super) fn record(self, rest: Rest<'a>) -> Result<Record<'a>, DecodeError> {
        let number = |value: Option<Value<'a>>| value.and_then(|found| found.as_u64());
        let small = |value| number(value).and_then(|found| u8::try_from(found).ok());
        let event_id = number(self.event_id).and_then(|id| u16::try_from(id).ok());
        let time = self.time.and_then(|found| found.as_time());
        Ok(Record {
            event_id: event_id.ok_or(missing("EventID"))?,
            version: small(self.version).unwrap_or_default(),
            level: small(self.level).unwrap_or_default(),
            keywords: number(self.keywords).unwrap_or_default(),
            time: time.ok_or(missing("TimeCreated"))?,
            record_id: number(self.record_id).ok_or(missing("EventRecordID"))?,
            provider: rest.provider,
            channel: rest.channel,
            computer: rest.computer,
            parts: rest.parts,
        })
    }
}

impl<'a> Part<'a> {
    /// The data of an instance.
    pub(super) fn new(template: &Arc<Template>, instance: &Instance<'a>) -> Self {
        Self::Instance {
            template: Arc::clone(template),
            definition: instance.definition,
            values: instance.values,
        }
    }

    fn value(&self, name: &str) -> Option<Value<'_>> {
        match self {
            Self::None => None,
            Self::Instance {
                template,
                definition,
                values,
            } => {
                let slots = template.plan.iter().flat_map(|plan| &plan.data);
                slots
                    .filter(|slot| slot.name.as_deref() == Some(name))
                    .map(|slot| slot.value(definition, values))
                    .find(|value| !value.is_empty())
            }
            Self::Items(items) => items
                .iter()
                .filter(|item| item.name.as_deref() == Some(name))
                .map(Item::value)
                .find(|value| !value.is_empty()),
        }
    }

    fn values(&self) -> Box<dyn Iterator<Item = (Option<&str>, Value<'_>)> + '_> {
        match self {
            Self::None => Box::new(std::iter::empty()),
            Self::Instance {
                template,
                definition,
                values,
            } => {
                let slots = template.plan.iter().flat_map(|plan| &plan.data);
                Box::new(slots.map(|slot| (slot.name.as_deref(), slot.value(definition, values))))
            }
            Self::Items(items) => Box::new(
                items
                    .iter()
                    .map(|item| (item.name.as_deref(), item.value())),
            ),
        }
    }
}

impl Item<'_> {
    fn value(&self) -> Value<'_> {
        match &self.value {
            Held::Value(value) => *value,
            Held::Text(bytes) => Value::Text(Text::Wide(bytes)),
        }
    }
}

/// Children of `EventData`: by the attribute `Name`, or by their own name if that is not `Data`.
fn event_data<'a>(data: &Element<'a>, items: &mut Vec<Item<'a>>) {
    for element in data.elements() {
        let name = match element.attribute("Name") {
            Some(nodes) => Some(tree::text(nodes)),
            None => (element.name != "Data").then(|| element.name.clone()),
        };
        let value = held(&element.children);
        items.push(Item { name, value });
    }
}

/// Elements without elements in them, by name.
fn leaves<'a>(element: &Element<'a>, items: &mut Vec<Item<'a>>) {
    if element.elements().next().is_none() {
        items.push(Item {
            name: Some(element.name.clone()),
            value: held(&element.children),
        });
    }
    for child in element.elements() {
        leaves(child, items);
    }
}

fn held<'a>(nodes: &[Node<'a>]) -> Held<'a> {
    match nodes {
        [] => Held::Value(Value::Null),
        [Node::Value(value)] => Held::Value(*value),
        nodes => Held::Text(crate::wire::windows::to_utf16(&tree::text(nodes))),
    }
}

/// The only value of nodes.
fn one<'a>(nodes: &[Node<'a>]) -> Value<'a> {
    match nodes {
        [Node::Value(value)] => *value,
        _ => Value::Null,
    }
}

pub(super) const fn missing(field: &'static str) -> DecodeError {
    DecodeError::Missing {
        structure: "record",
        field,
    }
}
