//! Where a source stands in its log, and how the table keeps that beside what the log brought (rule 24).

use compact_str::{CompactString, format_compact};

use crate::identity::event::Bookmark;
use crate::identity::time::UtcMillis;

/// First byte of a stored position.
const VERSION: u8 = 1;

/// The last record that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its number in the log, from 1; numbers begin again when the log is cleared.
    pub record_id: u64,
    /// When it was written, by our clock.
    pub written_at: UtcMillis,
}

impl Position {
    /// For the table. A record number means something in one log only, so its host is part of the key.
    #[must_use]
    pub fn bookmark(self, name: &str, host: &str, channel: &str) -> Bookmark {
        let mut value = vec![VERSION];
        value.extend(self.record_id.to_be_bytes());
        value.extend(self.written_at.0.to_be_bytes());
        Bookmark {
            key: key(name, host, channel),
            value: value.into(),
        }
    }

    /// What the table kept; `None` if it is of another version.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let (version, rest) = value.split_first()?;
        let (record_id, written_at) = rest.split_first_chunk::<8>()?;
        (*version == VERSION).then_some(Self {
            record_id: u64::from_be_bytes(*record_id),
            written_at: UtcMillis(i64::from_be_bytes(written_at.try_into().ok()?)),
        })
    }
}

/// A record's time for people, in UTC.
#[must_use]
pub fn shown(at: UtcMillis) -> String {
    let stamp = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    stamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The key under which the table keeps the position.
#[must_use]
pub fn key(name: &str, host: &str, channel: &str) -> CompactString {
    format_compact!(
        "event_source/{name}/{}/{channel}",
        host.to_ascii_lowercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_24_a_position_belongs_to_name_host_and_channel() {
        let position = Position {
            record_id: 1 << 40,
            written_at: UtcMillis(1_764_000_000_123),
        };
        let bookmark = position.bookmark("dc1", "DC1.corp.example.com", "Security");
        assert_eq!(
            bookmark.key,
            "event_source/dc1/dc1.corp.example.com/Security"
        );
        assert_eq!(Position::decode(&bookmark.value), Some(position));
        assert_eq!(Position::decode(&bookmark.value[..16]), None);
        assert_eq!(Position::decode(&[]), None);
        let mut newer = bookmark.value;
        newer[0] = 2;
        assert_eq!(Position::decode(&newer), None);
    }
}
