//! Time stamps of syslog messages, as written: the year and the offset may be missing.
//!
//! Which instant a stamp means needs a clock and a zone, and is decided by the producer.

/// A date and time as a message writes it. Every field is in its range, but the date may not exist (31 February).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Missing in RFC 3164.
    pub year: Option<i16>,
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31.
    pub day: i8,
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59.
    pub minute: i8,
    /// 0 to 59; a leap second counts as 59.
    pub second: i8,
    /// Fraction in nanoseconds; `None` if the stamp has whole seconds only.
    pub nanosecond: Option<i32>,
    /// Offset from UTC in seconds; `None` if the stamp has none.
    pub offset: Option<i32>,
}

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

impl Stamp {
    /// Reads a stamp at the start of the text; gives it and the rest. Forms:
    ///
    /// * RFC 3164, section 4.1.2: `Nov 23 13:39:27`, with `Nov  3`, and as devices vary it: a year after the day or
    ///   before the month, a fraction;
    /// * RFC 3339 as in RFC 5424, section 6.2.3: `2026-11-23T13:39:27.123+01:00`, and with a blank for the `T`, `/`
    ///   in the date, a blank before the offset, an offset without colon, or none.
    #[must_use]
    pub fn read(text: &str) -> Option<(Self, &str)> {
        let mut at = Reader { text };
        let stamp = if text.as_bytes().first()?.is_ascii_alphabetic() {
            let month = at.month()?;
            at.blanks()?;
            let day = at.number(1, 2, 1, 31)?;
            at.blanks()?;
            // A year has four digits and no colon after two.
            let year = at.clone().year_and_blank();
            if let Some((year, rest)) = year {
                at = rest;
                at.clock(Some(year), month, day)?
            } else {
                at.clock(None, month, day)?
            }
        } else {
            let year = at.number(4, 4, 1970, 9999)?;
            if at.one_of(b"-/").is_some() {
                let month = at.number(2, 2, 1, 12)?;
                at.one_of(b"-/")?;
                let day = at.number(2, 2, 1, 31)?;
                at.one_of(b"Tt ")?;
                at.clock(Some(year), month, day)?
            } else {
                at.blanks()?;
                let month = at.month()?;
                at.blanks()?;
                let day = at.number(1, 2, 1, 31)?;
                at.blanks()?;
                at.clock(Some(year), month, day)?
            }
        };
        Some((stamp, at.text))
    }
}

/// The text that is left.
#[derive(Clone)]
struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, bytes: usize) {
        self.text = self.text.get(bytes..).unwrap_or("");
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let first = *self.text.as_bytes().first()?;
        bytes.contains(&first).then(|| {
            self.skip(1);
            first
        })
    }

    fn blanks(&mut self) -> Option<()> {
        self.one_of(b" ")?;
        while self.one_of(b" ").is_some() {}
        Some(())
    }

    /// A number of `least` to `most` digits, within a range.
    fn number(&mut self, least: usize, most: usize, low: i16, high: i16) -> Option<i16> {
        let digits = self
            .text
            .bytes()
            .take(most)
            .take_while(u8::is_ascii_digit)
            .count();
        if digits < least {
            return None;
        }
        let value: i16 = self.text.get(..digits)?.parse().ok()?;
        self.skip(digits);
        (low..=high).contains(&value).then_some(value)
    }

    fn month(&mut self) -> Option<i16> {
        let word = self.text.as_bytes().first_chunk::<3>()?;
        let month = (1..)
            .zip(MONTHS)
            .find(|(_, name)| name.eq_ignore_ascii_case(word))?
            .0;
        self.skip(3);
        Some(month)
    }

    fn year_and_blank(mut self) -> Option<(i16, Self)> {
        let year = self.number(4, 4, 1970, 9999)?;
        self.blanks()?;
        Some((year, self))
    }

    /// `hh:mm:ss`, a fraction, an offset.
    fn clock(&mut self, year: Option<i16>, month: i16, day: i16) -> Option<Stamp> {
        let hour = self.number(2, 2, 0, 23)?;
        self.one_of(b":")?;
        let minute = self.number(2, 2, 0, 59)?;
        self.one_of(b":")?;
        let second = self.number(2, 2, 0, 60)?.min(59);
        let nanosecond = self.fraction();
        let offset = self.offset();
        let small = |value: i16| i8::try_from(value).ok();
        Some(Stamp {
            year,
            month: small(month)?,
            day: small(day)?,
            hour: small(hour)?,
            minute: small(minute)?,
            second: small(second)?,
            nanosecond,
            offset,
        })
    }

    /// `.123`; digits past the ninth are cut.
    fn fraction(&mut self) -> Option<i32> {
        let (dot, rest) = self.text.as_bytes().split_first()?;
        if !matches!(dot, b'.' | b',') || !rest.first()?.is_ascii_digit() {
            return None;
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let value = rest
            .iter()
            .chain(std::iter::repeat(&b'0'))
            .zip(0..9)
            .map(|(byte, place)| if place < digits { *byte } else { b'0' })
            .fold(0, |value, byte| value * 10 + i32::from(byte - b'0'));
        self.skip(1 + digits);
        Some(value)
    }

    /// `Z`, `+01:00`, `+0100`, `+01`, ` UTC`, ` GMT`, or a blank and one of the numeric forms.
    fn offset(&mut self) -> Option<i32> {
        for zulu in ["Z", "z", " UTC", " GMT"] {
            if let Some(rest) = self.text.strip_prefix(zulu)
                && !rest.starts_with(|c: char| c.is_ascii_alphanumeric())
            {
                self.text = rest;
                return Some(0);
            }
        }
        let mut at = self.clone();
        let blank = at.one_of(b" ").is_some();
        let sign = if at.one_of(b"+-")? == b'-' { -1 } else { 1 };
        let hours = i32::from(at.number(2, 2, 0, 23)?);
        let colon = at.one_of(b":").is_some();
        let minutes = match at.number(2, 2, 0, 59) {
            Some(minutes) => i32::from(minutes),
            None if colon || blank => return None,
            None => 0,
        };
        self.text = at.text;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        Stamp::read(text).map_or_else(
            || "-".to_owned(),
            |(s, rest)| {
                format!(
                    "{} {}-{} {}:{}:{} {} {}|{rest}",
                    s.year.map_or_else(|| "?".to_owned(), |y| y.to_string()),
                    s.month,
                    s.day,
                    s.hour,
                    s.minute,
                    s.second,
                    s.nanosecond
                        .map_or_else(|| "whole".to_owned(), |n| n.to_string()),
                    s.offset
                        .map_or_else(|| "local".to_owned(), |o| o.to_string()),
                )
            },
        )
    }

    #[test]
    fn every_form_that_devices_send_is_read() {
        for (text, read) in [
            ("Nov 23 13:39:27 vm", "? 11-23 13:39:27 whole local| vm"),
            ("Nov  3 03:09:07", "? 11-3 3:9:7 whole local|"),
            (
                "nov 23 2026 13:39:27: %ASA",
                "2026 11-23 13:39:27 whole local|: %ASA",
            ),
            (
                "2026 Nov 23 13:39:27 n",
                "2026 11-23 13:39:27 whole local| n",
            ),
            (
                "Nov 23 13:39:27.012 UTC: x",
                "? 11-23 13:39:27 12000000 0|: x",
            ),
            (
                "2026-11-23T13:39:28.251064+00:00 vm",
                "2026 11-23 13:39:28 251064000 0| vm",
            ),
            ("2026-11-23T13:39:28Z x", "2026 11-23 13:39:28 whole 0| x"),
            (
                "2026-11-23 13:39:28,5 -0330 x",
                "2026 11-23 13:39:28 500000000 -12600| x",
            ),
            (
                "2026/11/23 13:39:28,007",
                "2026 11-23 13:39:28 7000000 local|",
            ),
            ("2026-11-23 13:39:60+01", "2026 11-23 13:39:59 whole 3600|"),
            (
                "2026-11-23T13:39:28.1234567891Z",
                "2026 11-23 13:39:28 123456789 0|",
            ),
        ] {
            assert_eq!(show(text), read, "{text}");
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "N",
            "Nov",
            "Nov 32 13:39:27",
            "Nov 23 24:00:00",
            "Nox 23 13:39:27",
            "2026-13-01T00:00:00Z",
            "2026-11-23T13:39",
            "1763905168",
            "date=2026-11-23",
            "ÄÖÜ 23 13:39:27",
        ] {
            assert_eq!(show(text), "-", "{text}");
        }
    }

    #[test]
    fn truncation_at_every_length_never_panics() {
        for text in [
            "Nov 23 2026 13:39:27.5 UTC: ü",
            "2026-11-23T13:39:28.251064+01:00 ü",
        ] {
            for (end, _) in text.char_indices() {
                let _ = Stamp::read(&text[..end]);
            }
        }
    }
}
