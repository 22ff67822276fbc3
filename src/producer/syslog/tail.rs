//! The last lines that made no event, for the operator who writes a template: bounded, shown escaped (rule 3).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::IpAddr;

use parking_lot::Mutex;

use super::interpret::Reason;
use crate::identity::time::UtcMillis;

/// Lines kept for each source.
pub const TAIL_LINES: usize = 64;
/// Bytes kept of each line.
pub const TAIL_LINE_BYTES: usize = 1024;

/// A line that made no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailLine {
    /// When it arrived.
    pub received_at: UtcMillis,
    /// Who sent it.
    pub peer: IpAddr,
    /// Why it made no event.
    pub reason: Reason,
    /// Its beginning, with every character that could disturb a screen escaped.
    pub line: String,
}

/// The last lines of one source.
#[derive(Debug, Default)]
pub struct Tail(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    received_at: UtcMillis,
    peer: IpAddr,
    reason: Reason,
    line: Vec<u8>,
}

impl Tail {
    /// Keeps a line's beginning; the oldest makes room.
    pub fn keep(&self, received_at: UtcMillis, peer: IpAddr, reason: Reason, line: &[u8]) {
        let mut kept = self.0.lock();
        let mut room = if kept.len() < TAIL_LINES {
            Vec::new()
        } else {
            kept.pop_front().map(|old| old.line).unwrap_or_default()
        };
        room.clear();
        room.extend_from_slice(line.get(..TAIL_LINE_BYTES).unwrap_or(line));
        kept.push_back(Kept {
            received_at,
            peer,
            reason,
            line: room,
        });
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn read(&self) -> Vec<TailLine> {
        let kept = self.0.lock();
        kept.iter()
            .map(|kept| TailLine {
                received_at: kept.received_at,
                peer: kept.peer,
                reason: kept.reason,
                line: escaped(&kept.line),
            })
            .collect()
    }
}

/// Text with control, text-direction and undecodable bytes written out.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let harmless = !c.is_control()
                && !matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            if harmless {
                text.push(c);
            } else {
                text.extend(c.escape_unicode());
            }
        }
        for byte in chunk.invalid() {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_3_raw_lines_are_shown_escaped() {
        assert_eq!(
            escaped(b"a\x1b[31m\xff\n\xc3\xbc"),
            "a\\u{1b}[31m\\xff\\u{a}ü"
        );
        assert_eq!(escaped("a\u{202e}b".as_bytes()), "a\\u{202e}b");
    }

    #[test]
    fn only_the_last_lines_are_kept_and_only_their_beginning() {
        let tail = Tail::default();
        let peer = IpAddr::from([10, 0, 0, 1]);
        for number in 0..100_i64 {
            tail.keep(UtcMillis(number), peer, Reason::NoRule, &[b'x'; 4096]);
        }
        let lines = tail.read();
        assert_eq!(lines.len(), TAIL_LINES);
        assert_eq!(lines.first().map(|l| l.received_at), Some(UtcMillis(36)));
        assert!(lines.iter().all(|l| l.line.len() == TAIL_LINE_BYTES));
    }
}
