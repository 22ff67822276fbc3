//! Where one message ends and the next begins on a stream (RFC 6587, section 3.4; RFC 5425, section 4.3).
//!
//! Each message says for itself how it is framed: `LENGTH SP <` is octet counting, anything else ends at a line feed or
//! NUL. A count, a message, or both may come in pieces. The caller owns the buffer; nothing is copied.

use super::MAX_MESSAGE_BYTES;

/// Digits of a count that are looked at; more is no count.
const MAX_COUNT_DIGITS: usize = 6;

/// How much a caller must be able to buffer: the longest message with its count.
pub const MAX_BUFFERED_BYTES: usize = MAX_MESSAGE_BYTES + MAX_COUNT_DIGITS + 1;

/// The state between two calls.
#[derive(Debug, Default)]
pub struct Framer {
    /// What is left of a message that is too long.
    discard: Discard,
    /// How many bytes of the buffer hold no line end.
    scanned: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Discard {
    #[default]
    Nothing,
    Bytes(usize),
    Line,
}

/// What the buffer's front holds. The caller drops `consumed` bytes from it, then asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message.
    Message {
        /// Its first byte.
        start: usize,
        /// One past its last.
        end: usize,
        /// Bytes done with.
        consumed: usize,
    },
    /// Bytes without meaning: line ends between messages, the rest of a message that was too long.
    Nothing {
        /// Bytes done with.
        consumed: usize,
    },
    /// A message over [`MAX_MESSAGE_BYTES`], which is lost.
    TooLong {
        /// Bytes done with; the rest is passed over by itself.
        consumed: usize,
    },
    /// More bytes are needed.
    More,
}

/// How the front of a buffer is framed.
enum Front {
    /// Octet counting: length of the count with its blank, and the count.
    Counted(usize, usize),
    Line,
    Unknown,
}

impl Framer {
    /// At the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the unread bytes. With `ended`, the peer sends no more, and a last line needs no line end; of a counted
    /// message that is cut short nothing is given.
    pub fn step(&mut self, buffer: &[u8], ended: bool) -> Step {
        let step = match self.discard {
            Discard::Nothing => self.front(buffer, ended),
            Discard::Bytes(left) => {
                let consumed = left.min(buffer.len());
                self.discard = match left - consumed {
                    0 => Discard::Nothing,
                    left => Discard::Bytes(left),
                };
                Step::Nothing { consumed }
            }
            Discard::Line => {
                let end = buffer.iter().position(|b| is_line_end(*b));
                if end.is_some() {
                    self.discard = Discard::Nothing;
                }
                Step::Nothing {
                    consumed: end.map_or(buffer.len(), |at| at + 1),
                }
            }
        };
        match step {
            Step::Nothing { consumed: 0 } | Step::More => Step::More,
            Step::Message { .. } | Step::Nothing { .. } | Step::TooLong { .. } => {
                self.scanned = 0;
                step
            }
        }
    }

    fn front(&mut self, buffer: &[u8], ended: bool) -> Step {
        let between = buffer
            .iter()
            .take_while(|b| is_line_end(**b) || **b == b'\r')
            .count();
        if between > 0 {
            return Step::Nothing { consumed: between };
        }
        match front(buffer) {
            Front::Counted(prefix, count) => self.counted(buffer, prefix, count),
            Front::Line => self.line(buffer, ended),
            Front::Unknown if ended => self.line(buffer, ended),
            Front::Unknown => Step::More,
        }
    }

    fn counted(&mut self, buffer: &[u8], prefix: usize, count: usize) -> Step {
        if count > MAX_MESSAGE_BYTES {
            self.discard = Discard::Bytes(count);
            return Step::TooLong { consumed: prefix };
        }
        let end = prefix + count;
        if buffer.len() < end {
            return Step::More;
        }
        Step::Message {
            start: prefix,
            end,
            consumed: end,
        }
    }

    fn line(&mut self, buffer: &[u8], ended: bool) -> Step {
        let unscanned = buffer.get(self.scanned..).unwrap_or(&[]);
        let end = unscanned.iter().position(|b| is_line_end(*b));
        if let Some(end) = end.map(|at| at + self.scanned) {
            if end > MAX_MESSAGE_BYTES {
                return Step::TooLong { consumed: end + 1 };
            }
            return Step::Message {
                start: 0,
                end,
                consumed: end + 1,
            };
        }
        if buffer.len() > MAX_MESSAGE_BYTES {
            self.discard = Discard::Line;
            return Step::TooLong {
                consumed: buffer.len(),
            };
        }
        if ended && !buffer.is_empty() {
            return Step::Message {
                start: 0,
                end: buffer.len(),
                consumed: buffer.len(),
            };
        }
        self.scanned = buffer.len();
        Step::More
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\0')
}

/// `MSG-LEN SP SYSLOG-MSG`, where a message begins with `<`; a count has no leading zero.
fn front(buffer: &[u8]) -> Front {
    let digits = buffer
        .iter()
        .take(MAX_COUNT_DIGITS + 1)
        .take_while(|b| b.is_ascii_digit())
        .count();
    if digits > MAX_COUNT_DIGITS || buffer.first() == Some(&b'0') {
        return Front::Line;
    }
    match (digits, buffer.get(digits), buffer.get(digits + 1)) {
        (0, Some(_), _) => Front::Line,
        (_, Some(b' '), Some(b'<')) => {
            let count = buffer
                .iter()
                .take(digits)
                .fold(0, |count, digit| count * 10 + usize::from(digit - b'0'));
            Front::Counted(digits + 1, count)
        }
        (_, None, _) | (_, Some(b' '), None) => Front::Unknown,
        _ => Front::Line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All messages of a stream that comes in pieces; too long ones as `!`.
    fn messages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
        let (mut framer, mut buffer, mut all) = (Framer::new(), Vec::new(), Vec::new());
        let mut drain = |buffer: &mut Vec<u8>, ended| loop {
            let consumed = match framer.step(buffer, ended) {
                Step::Message {
                    start,
                    end,
                    consumed,
                } => {
                    all.push(buffer[start..end].to_vec());
                    consumed
                }
                Step::Nothing { consumed } => consumed,
                Step::TooLong { consumed } => {
                    all.push(b"!".to_vec());
                    consumed
                }
                Step::More => break,
            };
            assert!(consumed > 0);
            buffer.drain(..consumed);
        };
        for piece in pieces {
            for part in piece.chunks(16 << 10) {
                buffer.extend_from_slice(part);
                drain(&mut buffer, false);
                assert!(buffer.len() <= MAX_BUFFERED_BYTES);
            }
        }
        drain(&mut buffer, true);
        all
    }

    #[test]
    fn both_framings_mix_and_may_be_cut_anywhere() {
        let stream = b"6 <13>ab<14>line one\r\n7 <13>ab\n\n\n\x0010 <13>1 - - a<15>2026 last";
        let expected: Vec<Vec<u8>> = [
            &b"<13>ab"[..],
            b"<14>line one\r",
            b"<13>ab\n",
            b"<13>1 - - ",
            b"a<15>2026 last",
        ]
        .map(<[u8]>::to_vec)
        .to_vec();
        assert_eq!(messages([&stream[..]]), expected);
        for cut in 0..stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(messages([head, tail]), expected, "cut at {cut}");
        }
        assert_eq!(messages(stream.chunks(1)), expected);
    }

    #[test]
    fn digits_without_a_message_are_a_line() {
        assert_eq!(
            messages([&b"2026-11-23 x\n12 apples\n"[..]]),
            [b"2026-11-23 x".to_vec(), b"12 apples".to_vec()]
        );
        assert_eq!(
            messages([&b"12345678 <13>x\n"[..]]),
            [b"12345678 <13>x".to_vec()]
        );
    }

    #[test]
    fn too_long_messages_are_passed_over_and_the_next_is_read() {
        let long = vec![b'x'; 3 * MAX_MESSAGE_BYTES];
        let counted = [
            format!("{} <", long.len() + 1).as_bytes(),
            &long,
            b"6 <13>ok",
        ]
        .concat();
        assert_eq!(
            messages([&counted[..]]),
            [b"!".to_vec(), b"<13>ok".to_vec()]
        );
        let line = [&b"<13>"[..], &long, b"\n<13>ok\n"].concat();
        assert_eq!(messages([&line[..]]), [b"!".to_vec(), b"<13>ok".to_vec()]);
        let most = [&vec![b'y'; MAX_MESSAGE_BYTES][..], b"\n"].concat();
        assert_eq!(messages([&most[..]])[0].len(), MAX_MESSAGE_BYTES);
    }

    #[test]
    fn a_counted_message_cut_short_gives_nothing() {
        assert!(messages([&b"100 <13>half"[..]]).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            messages(pieces.iter().map(Vec::as_slice));
        }

        #[test]
        fn pieces_do_not_matter(stream in "([0-9]{1,3} <13>[a-z]{0,20}|<13>[a-z ]{0,20}\n|[0-9]{1,7} [a-z]{0,9}\n){0,8}", size in 1_usize..9) {
            let stream = stream.as_bytes();
            prop_assert_eq!(messages(stream.chunks(size)), messages([stream]));
        }
    }
}
