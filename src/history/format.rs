//! What a segment's bytes are, both ways; the description is at the room's door ([`super`]).
//!
//! Pure: no files, no clock. Whatever the bytes are, reading them ends in a block or in a reason why not.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_BLOCK_ITEMS, MAX_SEGMENT_BYTES};
use crate::identity::ended::{Ended, Held};
use crate::identity::event::Strength;
use crate::identity::outcome::EndReason;
use crate::identity::state::SubjectKind;
use crate::identity::time::UtcMillis;

/// The first bytes of every segment.
pub(super) const MAGIC: [u8; 8] = *b"JIMSHIST";

/// The version this process writes and reads.
pub(super) const VERSION: u32 = 1;

/// Bytes before the first block.
pub(super) const HEADER_BYTES: usize = 12;

/// Bytes before a block's payload.
const BLOCK_HEADER_BYTES: usize = 8;

/// Largest payload that is read: twice what [`super::MAX_BLOCK_ITEMS`] items with the longest texts take.
const MAX_PAYLOAD: u32 = 64 << 20;

/// Longest text that is written or read, in bytes; what is longer is cut. Names are at most 256 characters.
const MAX_TEXT: usize = 1024;

/// Most marks, and most sessions, of a block that is read: a full block, and marks that came while it waited.
const MAX_READ_ITEMS: usize = MAX_BLOCK_ITEMS + 64;

/// Most new texts that a session brings.
const TEXTS_A_SESSION: usize = 8;

/// Most texts of a block that is read.
const MAX_READ_TEXTS: usize = TEXTS_A_SESSION * MAX_READ_ITEMS;

/// Something to be kept.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are sessions")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A session that ended.
    Session(Ended),
    /// Something about the history itself.
    Mark(Mark),
}

/// Something about the history itself, with its times in UTC milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// From here on sessions that end are kept.
    Start {
        /// When.
        at: i64,
        /// The instant of the table that was begun with; `None`: an empty one. Equal to `at` if it was complete.
        table_of: Option<i64>,
    },
    /// The process ended in order.
    Stop {
        /// When.
        at: i64,
    },
    /// The history was switched off.
    Off {
        /// When.
        at: i64,
    },
    /// Sessions that ended were not kept, because the disk could not follow.
    Gap {
        /// When the first of them ended.
        from: i64,
        /// When the last did.
        until: i64,
        /// How many.
        lost: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Block {
    /// What times in `rows` count back from.
    at: i64,
    /// Texts that follow those of the segment's blocks before.
    #[serde(deserialize_with = "few::<_, _, MAX_READ_TEXTS>")]
    texts: Vec<String>,
    #[serde(deserialize_with = "few::<_, _, MAX_READ_ITEMS>")]
    marks: Vec<Mark>,
    #[serde(deserialize_with = "few::<_, _, MAX_READ_ITEMS>")]
    rows: Vec<Row>,
}

impl Block {
    /// Whether a writer of ours can have made it: what it takes in memory is then in proportion to its bytes.
    fn is_ours(&self) -> bool {
        let texts = self
            .texts
            .iter()
            .chain(self.rows.iter().flat_map(Row::texts));
        self.marks.len() + self.rows.len() <= MAX_READ_ITEMS
            && self.texts.len() <= TEXTS_A_SESSION * self.rows.len()
            && texts.into_iter().all(|text| text.len() <= MAX_TEXT)
    }
}

/// A list of at most so many: a list of nothing is a byte an item, and many times that in memory.
fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    struct Few<T, const MOST: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Few<T, MOST> {
        type Value = Vec<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "at most {MOST} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(item) = items.next_element()? {
                if all.len() >= MOST {
                    return Err(A::Error::custom("there are too many items"));
                }
                all.push(item);
            }
            Ok(all)
        }
    }
    from.deserialize_seq(Few::<T, MOST>(PhantomData))
}

/// The texts of a segment, in as little memory as in the file.
#[derive(Debug, Default)]
struct Texts {
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Texts {
    fn add(&mut self, text: &str) -> Result<(), Damage> {
        self.text.push_str(text);
        let end = u32::try_from(self.text.len()).map_err(|_| Damage::Damaged)?;
        self.ends.push(end);
        Ok(())
    }

    fn get(&self, number: u32) -> Result<&str, Damage> {
        let number = number as usize;
        let end = self.ends.get(number).ok_or(Damage::Damaged)?;
        let before = number.checked_sub(1).and_then(|last| self.ends.get(last));
        let begin = before.map_or(0, |begin| *begin as usize);
        self.text.get(begin..*end as usize).ok_or(Damage::Damaged)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    address: IpAddr,
    device_session: bool,
    domain: u32,
    name: u32,
    device: Option<u32>,
    /// Milliseconds before the block's `at`; zigzag.
    ended: i64,
    /// From `since` to `ended`.
    lasted: i64,
    /// From `until` to `ended`.
    known_after: i64,
    reason: u32,
    by: u32,
    by_record: String,
    next: Option<u32>,
    producer: u32,
    record: String,
    /// From the evidence to `ended`.
    evidence_age: i64,
    /// From the evidence to when it was heard.
    evidence_late: i64,
    strong: bool,
}

impl Row {
    /// The texts that are in the row itself.
    fn texts(&self) -> [&String; 2] {
        [&self.by_record, &self.record]
    }
}

/// Why bytes are not a segment, or no more of it can be read.
#[derive(Debug, Error)]
pub(super) enum Damage {
    /// Not one of ours.
    #[error("it is not a history of jims")]
    Foreign,
    /// Of a newer version.
    #[error("it is of version {0} of the format, and this version of jims reads 1")]
    Newer(u32),
    /// It ends in the middle of a block, as after a crash.
    #[error("it ends in the middle of a block")]
    Torn,
    /// The bytes are not those that were written.
    #[error("a block of it is damaged")]
    Damaged,
    /// The system does not let us read.
    #[error("it cannot be read: {0}")]
    Unreadable(io::Error),
}

/// The bytes that a segment begins with.
pub(super) fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (magic, version) = header.split_at_mut(MAGIC.len());
    magic.copy_from_slice(&MAGIC);
    version.copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// Writes the blocks of one segment.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    texts: HashMap<String, u32>,
}

impl Encoder {
    /// The next block. `None`: it cannot be written, which no item can bring about.
    pub(super) fn block(&mut self, at: UtcMillis, items: &[Item]) -> Option<Vec<u8>> {
        let mut block = Block {
            at: at.0,
            texts: Vec::new(),
            marks: Vec::new(),
            rows: Vec::new(),
        };
        for item in items {
            match item {
                Item::Mark(mark) => block.marks.push(*mark),
                Item::Session(ended) => {
                    let row = self.row(at, ended, &mut block.texts);
                    block.rows.push(row);
                }
            }
        }
        let payload = postcard::to_stdvec(&block).ok()?;
        let length = u32::try_from(payload.len()).ok()?;
        let mut bytes = Vec::with_capacity(payload.len() + BLOCK_HEADER_BYTES);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        Some(bytes)
    }

    fn row(&mut self, at: UtcMillis, ended: &Ended, new: &mut Vec<String>) -> Row {
        let mut number = |text: &str| self.number(text, new);
        let held = &ended.evidence;
        let span = |from: UtcMillis, to: UtcMillis| to.0.saturating_sub(from.0);
        Row {
            address: ended.address,
            device_session: ended.kind == SubjectKind::Device,
            domain: number(&ended.domain),
            name: number(&ended.name),
            device: ended.device.as_deref().map(&mut number),
            ended: span(ended.ended, at),
            lasted: span(ended.since, ended.ended),
            known_after: span(ended.until, ended.ended),
            reason: number(ended.word()),
            by: number(&ended.by),
            by_record: cut(&ended.by_record).to_owned(),
            next: ended.next.as_deref().map(&mut number),
            producer: number(&held.producer),
            record: cut(&held.record).to_owned(),
            evidence_age: span(held.occurred_at, ended.ended),
            evidence_late: span(held.occurred_at, held.received_at),
            strong: held.strength == Strength::Strong,
        }
    }

    fn number(&mut self, text: &str, new: &mut Vec<String>) -> u32 {
        let text = cut(text);
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        // A segment's size bounds how many there can be.
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.insert(text.to_owned(), number);
        new.push(text.to_owned());
        number
    }
}

/// The text, or its first [`MAX_TEXT`] bytes.
fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let whole = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
    text.get(..whole.unwrap_or(0)).unwrap_or_default()
}

/// Reads the blocks of one segment, one after the other.
#[derive(Debug)]
pub(super) struct Decoder<R> {
    from: R,
    texts: Texts,
    payload: Vec<u8>,
    /// Bytes read.
    pub(super) read: u64,
}

impl<R: Read> Decoder<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no segment that this version can read.
    pub(super) fn new(mut from: R) -> Result<Self, Damage> {
        let mut magic = [0; MAGIC.len()];
        let mut version = [0; 4];
        fill(&mut from, &mut magic)?;
        if magic != MAGIC {
            return Err(Damage::Foreign);
        }
        fill(&mut from, &mut version)?;
        match u32::from_le_bytes(version) {
            VERSION => Ok(Self {
                from,
                texts: Texts::default(),
                payload: Vec::new(),
                read: HEADER_BYTES as u64,
            }),
            0 => Err(Damage::Damaged),
            newer => Err(Damage::Newer(newer)),
        }
    }

    /// The next block's items; `None`: the segment ends here.
    ///
    /// # Errors
    /// Nothing more of the segment can be read.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Item>>, Damage> {
        let mut length = [0; 4];
        let first = self.from.read(&mut length[..1]);
        match first {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.next(),
            Err(error) => return Err(Damage::Unreadable(error)),
        }
        if self.read >= MAX_SEGMENT_BYTES {
            // A full segment gets no other block.
            return Err(Damage::Damaged);
        }
        fill(&mut self.from, &mut length[1..])?;
        let mut crc = [0; 4];
        fill(&mut self.from, &mut crc)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_PAYLOAD {
            return Err(Damage::Damaged);
        }
        self.payload.clear();
        // What is not there is not allocated for.
        let mut payload = (&mut self.from).take(u64::from(length));
        payload
            .read_to_end(&mut self.payload)
            .map_err(Damage::Unreadable)?;
        if self.payload.len() as u64 != u64::from(length) {
            return Err(Damage::Torn);
        }
        if crc32fast::hash(&self.payload) != u32::from_le_bytes(crc) {
            return Err(Damage::Damaged);
        }
        self.read += BLOCK_HEADER_BYTES as u64 + u64::from(length);
        let block: Block = postcard::from_bytes(&self.payload).map_err(|_| Damage::Damaged)?;
        if !block.is_ours() {
            return Err(Damage::Damaged);
        }
        for text in &block.texts {
            self.texts.add(text)?;
        }
        let marks = block.marks.into_iter().map(|mark| Ok(Item::Mark(mark)));
        let rows = block.rows.into_iter();
        let rows = rows.map(|row| self.session(block.at, row).map(Item::Session));
        marks.chain(rows).collect::<Result<_, _>>().map(Some)
    }

    fn session(&self, at: i64, row: Row) -> Result<Ended, Damage> {
        let text = |number: u32| self.texts.get(number);
        let maybe = |number: Option<u32>| number.map(text).transpose();
        let ended = at.saturating_sub(row.ended);
        let before = |span: i64| UtcMillis(ended.saturating_sub(span));
        let occurred_at = before(row.evidence_age);
        Ok(Ended {
            address: row.address,
            kind: if row.device_session {
                SubjectKind::Device
            } else {
                SubjectKind::User
            },
            domain: text(row.domain)?.into(),
            name: text(row.name)?.into(),
            device: maybe(row.device)?.map(Into::into),
            since: before(row.lasted),
            until: before(row.known_after),
            ended: UtcMillis(ended),
            reason: EndReason::from_word(text(row.reason)?),
            by: text(row.by)?.into(),
            by_record: row.by_record.into(),
            next: maybe(row.next)?.map(Into::into),
            evidence: Held {
                producer: text(row.producer)?.into(),
                record: row.record.into(),
                occurred_at,
                received_at: UtcMillis(occurred_at.0.saturating_add(row.evidence_late)),
                strength: if row.strong {
                    Strength::Strong
                } else {
                    Strength::Weak
                },
            },
        })
    }
}

fn fill(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), Damage> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Damage::Torn,
        _ => Damage::Unreadable(error),
    })
}
