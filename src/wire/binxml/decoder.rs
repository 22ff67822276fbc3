//! The fast way: templates come with every record, so they are worked out once and known again by their bytes.

use std::sync::Arc;

use super::instance::Instance;
use super::plan::{Plan, Root, Slot, Template};
use super::record::{Fields, Part, Record, Rest};
use super::tree::tree;
use super::value::Value;
use super::{MAX_DEFINITION, MAX_TEMPLATES, Text, token};
use crate::wire::cursor::{Cursor, DecodeError};

/// Reads the records of one source.
#[derive(Debug, Default)]
pub struct Decoder {
    templates: Vec<Arc<Template>>,
    /// The one to forget next when there are too many.
    oldest: usize,
    /// The last server's name, as bytes and as text: it hardly changes.
    computer: (Vec<u8>, Arc<str>),
}

impl Decoder {
    /// Reads a record: the BinXML of one result-set entry.
    ///
    /// # Errors
    /// It is malformed, larger than our limits, or lacks its kind, time or number.
    pub fn record<'a>(&mut self, bytes: &'a [u8]) -> Result<Record<'a>, DecodeError> {
        match self.planned(bytes)? {
            Some(record) => Ok(record),
            None => Record::from_tree(&tree(bytes)?),
        }
    }

    /// How many templates it remembers.
    #[must_use]
    pub fn templates(&self) -> usize {
        self.templates.len()
    }

    /// By the plans of its templates; `None` if it has to be read as a tree.
    fn planned<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Record<'a>>, DecodeError> {
        let mut cursor = Cursor::new("record", bytes);
        let Some(instance) = instance(&mut cursor)? else {
            return Ok(None);
        };
        let template = self.template(&instance)?;
        let Some(plan) = usable(&template, &instance, None) else {
            return Ok(None);
        };
        let mut parts = [Part::None, Part::None];
        if !plan.data.is_empty() {
            parts[0] = Part::new(&template, &instance);
        }
        if self.nested(plan, &instance, &mut parts)?.is_none() {
            return Ok(None);
        }
        let value = |slot: &Option<Slot>| {
            let slot = slot.as_ref()?;
            Some(slot.value(instance.definition, &instance.values))
        };
        let text = |slot| value(slot).and_then(|found| found.as_text());
        let system = &plan.system;
        let computer = text(&system.computer).unwrap_or_default();
        let fields = Fields {
            event_id: value(&system.event_id),
            version: value(&system.version),
            level: value(&system.level),
            keywords: value(&system.keywords),
            time: value(&system.time),
            record_id: value(&system.record_id),
        };
        let rest = Rest {
            provider: text(&system.provider).unwrap_or_default(),
            channel: text(&system.channel).unwrap_or_default(),
            computer: self.computer(computer),
            parts,
        };
        fields.record(rest).map(Some)
    }

    /// The parts of a record's data, in order; `None` if they are of another shape.
    fn nested<'a>(
        &mut self,
        plan: &Plan,
        instance: &Instance<'a>,
        parts: &mut [Part<'a>; 2],
    ) -> Result<Option<()>, DecodeError> {
        let mut fragments = 0;
        let mut slots = parts.iter_mut();
        for &(index, within) in &plan.nested {
            let Some(Value::BinXml(bytes)) = instance.values.get(index) else {
                continue;
            };
            fragments += 1;
            if bytes.is_empty() {
                continue;
            }
            let Some(slot) = slots.next() else {
                return Ok(None);
            };
            let Some(part) = self.part(bytes, within)? else {
                return Ok(None);
            };
            *slot = part;
        }
        // A fragment elsewhere would add elements where the plan knows of none.
        Ok((fragments == instance.values.fragments()).then_some(()))
    }

    /// What a fragment says; `None` if it is no instance of a template with a plan.
    fn part<'a>(&mut self, bytes: &'a [u8], within: Root) -> Result<Option<Part<'a>>, DecodeError> {
        let mut cursor = Cursor::new("nested fragment", bytes);
        let Some(instance) = instance(&mut cursor)? else {
            return Ok(None);
        };
        let template = self.template(&instance)?;
        let Some(plan) = usable(&template, &instance, Some(within)) else {
            return Ok(None);
        };
        let is_all = matches!(cursor.peek(), None | Some(token::END_OF_FILE));
        if !is_all || instance.values.fragments() > 0 || !plan.nested.is_empty() {
            return Ok(None);
        }
        Ok(Some(Part::new(&template, &instance)))
    }

    /// The template of an instance, as known or as new.
    fn template(&mut self, instance: &Instance<'_>) -> Result<Arc<Template>, DecodeError> {
        let known = self
            .templates
            .iter()
            .position(|known| known.guid == *instance.guid);
        let known = known.and_then(|index| self.templates.get_mut(index));
        if let Some(known) = known {
            if !known.matches(instance.definition) {
                *known = Arc::new(Template::new(instance.guid, instance.definition)?);
            }
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(Template::new(instance.guid, instance.definition)?);
        if new.definition.len() <= MAX_DEFINITION {
            if self.templates.len() < MAX_TEMPLATES {
                self.templates.push(Arc::clone(&new));
            } else if let Some(slot) = self.templates.get_mut(self.oldest) {
                *slot = Arc::clone(&new);
                self.oldest = (self.oldest + 1) % MAX_TEMPLATES;
            }
        }
        Ok(new)
    }

    fn computer(&mut self, name: Text<'_>) -> Arc<str> {
        match name {
            Text::Wide(bytes) if bytes == self.computer.0 => {}
            Text::Wide(bytes) => {
                self.computer = (bytes.to_vec(), name.to_compact().as_str().into());
            }
            Text::Ansi(_) => return name.to_compact().as_str().into(),
        }
        Arc::clone(&self.computer.1)
    }
}

/// The template instance that a stream consists of, behind its headers; `None` if it is something else.
fn instance<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Instance<'a>>, DecodeError> {
    while cursor.peek() == Some(token::FRAGMENT_HEADER) {
        cursor.bytes("fragment header", 4)?;
    }
    if cursor.peek() != Some(token::TEMPLATE_INSTANCE) {
        return Ok(None);
    }
    cursor.u8("token")?;
    Instance::read(cursor).map(Some)
}

/// The plan for an instance that stands in `within`, where the plan tells all; nothing is around a record.
fn usable<'t>(
    template: &'t Template,
    instance: &Instance<'_>,
    within: Option<Root>,
) -> Option<&'t Plan> {
    let plan = template.plan.as_ref()?;
    let fits = match within {
        None => plan.root == Root::Event,
        Some(Root::Event) => matches!(plan.root, Root::EventData | Root::UserData),
        Some(Root::UserData) => plan.root == Root::Other,
        Some(Root::EventData | Root::Other) => false,
    };
    (fits && !instance.values.has_arrays()).then_some(plan)
}
