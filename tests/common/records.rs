//! Writes records as Windows does: templates, instances, result-set entries.
//!
//! The mirror of `wire::binxml` and of nothing else: it shares no code with the decoder, so that neither hides the
//! other's mistakes. For tests and benches; what it makes is about `corp.example.com`, which does not exist.

#![allow(dead_code, reason = "every user of this file takes what it needs")]

use std::collections::HashMap;

/// A value for a template.
#[derive(Clone, Debug)]
pub(crate) enum Typed {
    Null,
    Text(String),
    Ansi(Vec<u8>),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    I32(i32),
    Bool(u32),
    Hex32(u32),
    Hex64(u64),
    Size32(u32),
    Size64(u64),
    FileTime(u64),
    SystemTime([u16; 8]),
    Guid([u8; 16]),
    Sid(Vec<u32>),
    Binary(Vec<u8>),
    Texts(Vec<String>),
    U16s(Vec<u16>),
    /// A fragment, encoded in the form of what it goes into.
    Fragment(Fragment),
}

/// What stands in a fragment.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    /// Whether a fragment header comes first.
    pub(crate) header: bool,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Instance(Template, Vec<Typed>),
    Element(Shape),
}

/// A template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) guid: [u8; 16],
    pub(crate) root: Shape,
    /// Bytes after the definition's end, inside its length.
    pub(crate) waste: Vec<u8>,
}

/// An element of a definition or of a fragment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) dependency: Option<u16>,
    pub(crate) attributes: Vec<(&'static str, Vec<Piece>)>,
    pub(crate) content: Vec<Piece>,
}

#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Literal(String),
    Cdata(String),
    Character(u16),
    Entity(&'static str),
    Element(Shape),
    Normal(u16, u8),
    Optional(u16, u8),
}

impl Default for Names {
    fn default() -> Self {
        Self {
            base: 0,
            strings: HashMap::new(),
            templates: HashMap::new(),
            string_table: [0; 64],
            template_table: [0; 32],
        }
    }
}

impl Typed {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Null => 0x00,
            Self::Text(_) => 0x01,
            Self::Ansi(_) => 0x02,
            Self::U8(_) => 0x04,
            Self::U16(_) => 0x06,
            Self::I32(_) => 0x07,
            Self::U32(_) => 0x08,
            Self::U64(_) => 0x0a,
            Self::Bool(_) => 0x0d,
            Self::Binary(_) => 0x0e,
            Self::Guid(_) => 0x0f,
            Self::Size32(_) | Self::Size64(_) => 0x10,
            Self::FileTime(_) => 0x11,
            Self::SystemTime(_) => 0x12,
            Self::Sid(_) => 0x13,
            Self::Hex32(_) => 0x14,
            Self::Hex64(_) => 0x15,
            Self::Fragment(_) => 0x21,
            Self::Texts(_) => 0x81,
            Self::U16s(_) => 0x86,
        }
    }
}

impl Shape {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    pub(crate) fn depends_on(mut self, value: u16) -> Self {
        self.dependency = Some(value);
        self
    }

    pub(crate) fn attribute(mut self, name: &'static str, piece: Piece) -> Self {
        self.attributes.push((name, vec![piece]));
        self
    }

    pub(crate) fn with(mut self, piece: Piece) -> Self {
        self.content.push(piece);
        self
    }

    pub(crate) fn element(self, element: Self) -> Self {
        self.with(Piece::Element(element))
    }

    /// An element that is only there with the value, which is its content.
    pub(crate) fn value(self, name: &'static str, index: u16, kind: u8) -> Self {
        let piece = Piece::Optional(index, kind);
        self.element(Self::new(name).depends_on(index).with(piece))
    }
}

/// Where names and definitions go: inline, or into an EVTX chunk.
pub(crate) enum Form<'c> {
    Even6,
    Evtx(&'c mut Names),
}

/// Names and definitions that a chunk has already; offsets are from its start.
pub(crate) struct Names {
    /// The offset of the first byte that will be written.
    pub(crate) base: usize,
    strings: HashMap<String, u32>,
    templates: HashMap<[u8; 16], u32>,
    /// The hash buckets of the chunk's header.
    pub(crate) string_table: [u32; 64],
    pub(crate) template_table: [u32; 32],
}

/// Writes a fragment, `at` bytes into what is being written.
pub(crate) fn fragment(fragment: &Fragment, form: &mut Form<'_>, at: usize) -> Vec<u8> {
    let mut out = Vec::new();
    if fragment.header {
        out.extend([0x0f, 1, 1, 0]);
    }
    match &fragment.content {
        Content::Instance(template, values) => {
            let start = at + out.len();
            out.extend(instance(template, values, form, start));
        }
        Content::Element(shape) => {
            let start = at + out.len();
            out.extend(element(shape, form, start, false));
        }
    }
    out.push(0);
    out
}

fn instance(template: &Template, values: &[Typed], form: &mut Form<'_>, at: usize) -> Vec<u8> {
    let mut out = vec![0x0c];
    match form {
        Form::Even6 => {
            out.push(0);
            out.extend(template.guid);
            out.extend([0; 4]);
            let length_at = out.len() - 4;
            let start = at + out.len();
            out.extend(definition(template, form, start));
            patch(&mut out, length_at);
        }
        Form::Evtx(names) => {
            out.push(1);
            out.extend(&template.guid[..4]);
            let base = names.base;
            if let Some(known) = names.templates.get(&template.guid) {
                out.extend(known.to_le_bytes());
            } else {
                let offset = u32::try_from(base + at + out.len() + 4).expect("it fits");
                out.extend(offset.to_le_bytes());
                let id = u32::from_le_bytes(*template.guid.first_chunk().expect("it fits"));
                let bucket = &mut names.template_table[id as usize % 32];
                out.extend(bucket.to_le_bytes());
                *bucket = offset;
                names.templates.insert(template.guid, offset);
                out.extend(template.guid);
                out.extend([0; 4]);
                let length_at = out.len() - 4;
                let start = at + out.len();
                out.extend(definition(template, form, start));
                patch(&mut out, length_at);
            }
        }
    }
    out.extend(u32::try_from(values.len()).expect("it fits").to_le_bytes());
    let specs_at = out.len();
    out.resize(specs_at + 4 * values.len(), 0);
    for (index, value) in values.iter().enumerate() {
        let bytes = value_bytes(value, form, at + out.len());
        let length = u16::try_from(bytes.len()).expect("a value fits");
        let spec = specs_at + 4 * index;
        out[spec..spec + 2].copy_from_slice(&length.to_le_bytes());
        out[spec + 2] = value.kind();
        out.extend(bytes);
    }
    out
}

fn definition(template: &Template, form: &mut Form<'_>, at: usize) -> Vec<u8> {
    let mut out = vec![0x0f, 1, 1, 0];
    out.extend(element(&template.root, form, at + 4, true));
    out.push(0);
    out.extend(&template.waste);
    out
}

fn element(shape: &Shape, form: &mut Form<'_>, at: usize, in_definition: bool) -> Vec<u8> {
    let has_attributes = !shape.attributes.is_empty();
    let mut out = vec![if has_attributes { 0x41 } else { 0x01 }];
    if in_definition {
        out.extend(shape.dependency.unwrap_or(u16::MAX).to_le_bytes());
    }
    let length_at = out.len();
    out.extend([0; 4]);
    let start = at + out.len();
    out.extend(name(shape.name, form, start));
    if has_attributes {
        let list_at = out.len();
        out.extend([0; 4]);
        for (index, (attribute, pieces)) in shape.attributes.iter().enumerate() {
            let is_last = index + 1 == shape.attributes.len();
            out.push(if is_last { 0x06 } else { 0x46 });
            let start = at + out.len();
            out.extend(name(attribute, form, start));
            for piece in pieces {
                let start = at + out.len();
                out.extend(piece_bytes(piece, form, start, in_definition));
            }
        }
        patch(&mut out, list_at);
    }
    if shape.content.is_empty() {
        out.push(0x03);
    } else {
        out.push(0x02);
        for piece in &shape.content {
            let start = at + out.len();
            out.extend(piece_bytes(piece, form, start, in_definition));
        }
        out.push(0x04);
    }
    patch(&mut out, length_at);
    out
}

fn piece_bytes(piece: &Piece, form: &mut Form<'_>, at: usize, in_definition: bool) -> Vec<u8> {
    match piece {
        Piece::Element(shape) => element(shape, form, at, in_definition),
        Piece::Literal(text) => [vec![0x05, 0x01], counted(text)].concat(),
        Piece::Cdata(text) => [vec![0x07], counted(text)].concat(),
        Piece::Character(number) => [&[0x08][..], &number.to_le_bytes()].concat(),
        Piece::Entity(entity) => [vec![0x09], name(entity, form, at + 1)].concat(),
        Piece::Normal(index, kind) => [&[0x0d][..], &index.to_le_bytes(), &[*kind]].concat(),
        Piece::Optional(index, kind) => [&[0x0e][..], &index.to_le_bytes(), &[*kind]].concat(),
    }
}

fn name(text: &str, form: &mut Form<'_>, at: usize) -> Vec<u8> {
    let hash = text.encode_utf16().fold(0_u32, |hash, unit| {
        hash.wrapping_mul(65_599).wrapping_add(unit.into())
    });
    let mut inline = u16::try_from(hash & 0xffff)
        .expect("it fits")
        .to_le_bytes()
        .to_vec();
    inline.extend(counted(text));
    inline.extend([0, 0]);
    match form {
        Form::Even6 => inline,
        Form::Evtx(names) => {
            if let Some(known) = names.strings.get(text) {
                return known.to_le_bytes().to_vec();
            }
            let offset = u32::try_from(names.base + at + 4).expect("it fits");
            names.strings.insert(text.to_owned(), offset);
            let bucket =
                &mut names.string_table[usize::try_from(hash & 0xffff).expect("it fits") % 64];
            let mut out = offset.to_le_bytes().to_vec();
            out.extend(bucket.to_le_bytes());
            *bucket = offset;
            out.extend(inline);
            out
        }
    }
}

fn value_bytes(value: &Typed, form: &mut Form<'_>, at: usize) -> Vec<u8> {
    match value {
        Typed::Null => Vec::new(),
        Typed::Text(text) => utf16(text),
        Typed::Ansi(bytes) | Typed::Binary(bytes) => bytes.clone(),
        Typed::U8(number) => vec![*number],
        Typed::U16(number) => number.to_le_bytes().to_vec(),
        Typed::I32(number) => number.to_le_bytes().to_vec(),
        Typed::U32(number) | Typed::Bool(number) | Typed::Hex32(number) | Typed::Size32(number) => {
            number.to_le_bytes().to_vec()
        }
        Typed::U64(number)
        | Typed::Hex64(number)
        | Typed::Size64(number)
        | Typed::FileTime(number) => number.to_le_bytes().to_vec(),
        Typed::SystemTime(fields) => fields.iter().flat_map(|f| f.to_le_bytes()).collect(),
        Typed::Guid(bytes) => bytes.to_vec(),
        Typed::Sid(numbers) => {
            let mut out = vec![
                1,
                u8::try_from(numbers.len()).expect("it fits"),
                0,
                0,
                0,
                0,
                0,
                5,
            ];
            out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            out
        }
        Typed::Texts(texts) => texts
            .iter()
            .flat_map(|text| utf16(&format!("{text}\0")))
            .collect(),
        Typed::U16s(numbers) => numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect(),
        Typed::Fragment(inner) => fragment(inner, form, at),
    }
}

fn counted(text: &str) -> Vec<u8> {
    let units = utf16(text);
    let count = u16::try_from(units.len() / 2).expect("it fits");
    [count.to_le_bytes().to_vec(), units].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Writes how many bytes follow the four at `at`.
fn patch(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at - 4).expect("it fits");
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// The head of a record.
#[derive(Clone, Debug)]
pub(crate) struct Head<'h> {
    pub(crate) event_id: u16,
    pub(crate) record_id: u64,
    /// 100 ns steps since 1601.
    pub(crate) time: u64,
    pub(crate) computer: &'h str,
    pub(crate) success: bool,
}

/// The template of a record's head, as the Security log has it: the values' numbers are Windows' own.
pub(crate) fn event_template() -> Template {
    use Piece::{Literal, Normal, Optional};
    let namespace = "http://schemas.microsoft.com/win/2004/08/events/event";
    let provider = Shape::new("Provider")
        .attribute(
            "Name",
            Literal("Microsoft-Windows-Security-Auditing".into()),
        )
        .attribute(
            "Guid",
            Literal("{54849625-5478-4994-a5ba-3e3b0328c30d}".into()),
        );
    let event_id = Shape::new("EventID")
        .depends_on(3)
        .attribute("Qualifiers", Optional(4, 6))
        .with(Optional(3, 6));
    let time = Shape::new("TimeCreated")
        .depends_on(6)
        .attribute("SystemTime", Optional(6, 0x11));
    let correlation = Shape::new("Correlation")
        .attribute("ActivityID", Optional(7, 0x0f))
        .attribute("RelatedActivityID", Optional(18, 0x0f));
    let execution = Shape::new("Execution")
        .depends_on(8)
        .attribute("ProcessID", Optional(8, 8))
        .attribute("ThreadID", Optional(9, 8));
    let security = Shape::new("Security").attribute("UserID", Optional(12, 0x13));
    let system = Shape::new("System")
        .element(provider)
        .element(event_id)
        .value("Version", 11, 4)
        .value("Level", 0, 4)
        .value("Task", 2, 6)
        .value("Opcode", 1, 4)
        .value("Keywords", 5, 0x15)
        .element(time)
        .value("EventRecordID", 10, 0x0a)
        .element(correlation)
        .element(execution)
        .element(Shape::new("Channel").with(Normal(16, 1)))
        .element(Shape::new("Computer").with(Normal(17, 1)))
        .element(security);
    let root = Shape::new("Event")
        .attribute("xmlns", Literal(namespace.into()))
        .element(system)
        .with(Optional(19, 0x21));
    Template {
        guid: *b"jims head templ.",
        root,
        waste: Vec::new(),
    }
}

/// The template of an event's own data: one value for each name.
pub(crate) fn data_template(event_id: u16, names: &[&'static str], kinds: &[u8]) -> Template {
    let mut root = Shape::new("EventData");
    for ((index, name), kind) in (0..).zip(names).zip(kinds) {
        let place = Piece::Normal(index, *kind);
        let name = Piece::Literal((*name).into());
        root = root.element(Shape::new("Data").attribute("Name", name).with(place));
    }
    let mut guid = *b"jims data templ.";
    guid[14..].copy_from_slice(&event_id.to_le_bytes());
    Template {
        guid,
        root,
        waste: Vec::new(),
    }
}

/// The values of a record's head, with `data` as its own part.
pub(crate) fn head_values(head: &Head<'_>, data: Typed) -> Vec<Typed> {
    let keywords = if head.success {
        0x8020_0000_0000_0000
    } else {
        0x8010_0000_0000_0000
    };
    vec![
        Typed::U8(0),
        Typed::U8(0),
        Typed::U16(14_339),
        Typed::U16(head.event_id),
        Typed::Null,
        Typed::Hex64(keywords),
        Typed::FileTime(head.time),
        Typed::Null,
        Typed::U32(684),
        Typed::U32(3044),
        Typed::U64(head.record_id),
        Typed::U8(2),
        Typed::Null,
        Typed::Null,
        Typed::Null,
        Typed::Null,
        Typed::text("Security"),
        Typed::text(head.computer),
        Typed::Null,
        data,
    ]
}

/// A record of the Security log.
pub(crate) fn event(head: &Head<'_>, data: &[(&'static str, Typed)]) -> Fragment {
    let names: Vec<&'static str> = data.iter().map(|(name, _)| *name).collect();
    let kinds: Vec<u8> = data.iter().map(|(_, value)| value.kind()).collect();
    let values = data.iter().map(|(_, value)| value.clone()).collect();
    let inner = Fragment {
        header: true,
        content: Content::Instance(data_template(head.event_id, &names, &kinds), values),
    };
    event_with(head, Typed::Fragment(inner))
}

/// A record whose own part is anything.
pub(crate) fn event_with(head: &Head<'_>, data: Typed) -> Fragment {
    Fragment {
        header: true,
        content: Content::Instance(event_template(), head_values(head, data)),
    }
}

/// The BinXML of a record, as EVEN6 sends it.
pub(crate) fn even6(record: &Fragment) -> Vec<u8> {
    fragment(record, &mut Form::Even6, 0)
}

/// A result-set entry around BinXML (MS-EVEN6 2.2.17), with a binary bookmark as servers add it.
pub(crate) fn entry(binxml: &[u8]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).expect("it fits").to_le_bytes();
    let bookmark_at = 0x14 + binxml.len() + 4;
    let bookmark = [0x20, 0x18, 1, 0, 0, 0x18, 7, 0];
    let total = bookmark_at + 4 * bookmark.len();
    let mut out = Vec::with_capacity(total);
    for field in [total, 0x10, 0x10, bookmark_at, binxml.len()] {
        out.extend(number(field));
    }
    out.extend(binxml);
    out.extend([0; 4]);
    out.extend(bookmark.iter().flat_map(|field| number(*field)));
    out
}

/// A result-set entry with a record of the Security log.
pub(crate) fn record(
    event_id: u16,
    record_id: u64,
    time: u64,
    computer: &str,
    data: &[(&'static str, Typed)],
) -> Vec<u8> {
    let head = Head {
        event_id,
        record_id,
        time,
        computer,
        success: true,
    };
    entry(&even6(&event(&head, data)))
}
