//! The frame of rows and blocks: bytes only, so that a table can be folded without being understood.

use serde::Serialize;

/// Bytes before a block's payload: its length and CRC-32.
pub(super) const BLOCK_HEADER_BYTES: usize = 8;

/// Largest payload that is read: a block has some thousand rows, the largest of which are groups with all members.
pub(super) const MAX_PAYLOAD: u32 = 512 << 20;

/// What a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    /// Everything before is a table: written last.
    Instant = 1,
    Site = 2,
    Subject = 3,
    Object = 4,
    Address = 5,
    Bookmark = 6,
    Mark = 7,
    Gone = 8,
    Tokens = 9,
    Line = 10,
}

impl Kind {
    fn read(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Instant,
            2 => Self::Site,
            3 => Self::Subject,
            4 => Self::Object,
            5 => Self::Address,
            6 => Self::Bookmark,
            7 => Self::Mark,
            8 => Self::Gone,
            9 => Self::Tokens,
            10 => Self::Line,
            _ => return None,
        })
    }
}

/// Rows on their way into a block.
#[derive(Debug, Default)]
pub(super) struct Payload(Vec<u8>);

impl Payload {
    /// Adds a row; without a value it says that the key is no more.
    ///
    /// # Panics
    /// Never: keys are short, and plain data in memory can always be written.
    pub(super) fn put<T: Serialize>(&mut self, kind: Kind, key: &[u8], value: Option<&T>) {
        let start = self.begin(kind, key, value.is_some());
        if let Some(value) = value {
            let bytes = std::mem::take(&mut self.0);
            self.0 = postcard::to_extend(value, bytes)
                .expect("plain data in memory can always be written");
        }
        self.end(start);
    }

    /// Adds a row as it was read.
    pub(super) fn copy(&mut self, row: &Row<'_>) {
        let start = self.begin(row.kind, row.key, row.value.is_some());
        self.0.extend_from_slice(row.value.unwrap_or_default());
        self.end(start);
    }

    fn begin(&mut self, kind: Kind, key: &[u8], has_value: bool) -> usize {
        let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
        self.0.push(kind as u8);
        self.0.push(u8::from(has_value));
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend(key.iter().take(usize::from(length)));
        self.0.extend_from_slice(&[0; 4]);
        self.0.len()
    }

    fn end(&mut self, start: usize) {
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.0.get_mut(start - 4..start) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The block, after which this begins anew; nothing if there is no row.
    pub(super) fn take_block(&mut self, into: &mut Vec<u8>) {
        if self.0.is_empty() {
            return;
        }
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        into.extend_from_slice(&length.to_le_bytes());
        into.extend_from_slice(&crc32fast::hash(&self.0).to_le_bytes());
        into.append(&mut self.0);
    }
}

/// A row as it stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) kind: Kind,
    pub(super) key: &'a [u8],
    /// `None`: the key is no more.
    pub(super) value: Option<&'a [u8]>,
    /// Where it begins in its payload.
    pub(super) at: usize,
}

/// The rows of a payload; one that is no row ends them with `Err`.
pub(super) struct Rows<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn of(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    fn next_row(&mut self) -> Option<Row<'a>> {
        let rest = self.payload.get(self.at..)?;
        let (head, rest) = rest.split_at_checked(4)?;
        let [kind, has_value, low, high] = *head else {
            return None;
        };
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
        let (length, rest) = rest.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?);
        let value = rest.get(..length as usize)?;
        let row = Row {
            kind: Kind::read(kind)?,
            key,
            value: match has_value {
                0 if value.is_empty() => None,
                1 => Some(value),
                _ => return None,
            },
            at: self.at,
        };
        self.at += 8 + key.len() + value.len();
        Some(row)
    }
}

/// A payload holds something that is no row.
#[derive(Debug)]
pub(super) struct NoRow;

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, NoRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.payload.len() {
            return None;
        }
        let row = self.next_row().ok_or(NoRow);
        if row.is_err() {
            self.at = self.payload.len();
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_read_as_they_were_put() {
        let mut payload = Payload::default();
        payload.put(Kind::Bookmark, b"dc1", Some(&7_u64));
        payload.put::<u64>(Kind::Address, &9_u32.to_le_bytes(), None);
        let mut block = Vec::new();
        payload.take_block(&mut block);
        assert_eq!(payload.len(), 0);
        let payload = &block[BLOCK_HEADER_BYTES..];
        assert_eq!(block[4..8], crc32fast::hash(payload).to_le_bytes());
        let rows: Vec<_> = Rows::of(payload).map(|row| row.expect("a row")).collect();
        assert_eq!((rows[0].kind, rows[0].key), (Kind::Bookmark, &b"dc1"[..]));
        assert_eq!(rows[0].value, Some(&[7_u8][..]));
        assert_eq!((rows[1].key, rows[1].value), (&[9, 0, 0, 0][..], None));
        let mut again = Payload::default();
        for row in &rows {
            again.copy(row);
        }
        let mut copied = Vec::new();
        again.take_block(&mut copied);
        assert_eq!(copied, block);
        for end in 1..payload.len() {
            let rows: Vec<_> = Rows::of(&payload[..end]).collect();
            let whole = end == rows_end(payload);
            assert_eq!(rows.iter().all(Result::is_ok), whole, "cut at {end}");
        }
    }

    /// Where the second row begins.
    fn rows_end(payload: &[u8]) -> usize {
        Rows::of(payload)
            .nth(1)
            .and_then(Result::ok)
            .map_or(0, |row| row.at)
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            for row in Rows::of(&bytes) {
                let _row = row;
            }
        }
    }
}
