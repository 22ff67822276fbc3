//! Text that is safe on a terminal, and words for numbers and lengths of time; for every room that shows something.
//!
//! Everything that came from outside passes through [`escape`] before it reaches a terminal. Nothing here knows what it
//! shows, or where.

use std::time::Duration;

use jiff::Timestamp;

/// The text with control and text-direction characters written as escapes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if disturbs(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Whether a character could move the cursor, turn the text round or break the line.
#[must_use]
pub fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A length of time in its two largest units.
#[must_use]
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let shown = units.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let parts: Vec<String> = shown.map(|(n, unit)| format!("{n} {unit}")).collect();
    if parts.is_empty() {
        "0 s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// A length of time that is mostly below a second.
#[must_use]
pub fn millis(millis: u64) -> String {
    if millis < 10_000 {
        format!("{} ms", thousands(millis))
    } else {
        span(Duration::from_millis(millis))
    }
}

/// A length of time with its sign: how far a clock is ahead.
#[must_use]
pub fn signed_millis(length: i64) -> String {
    let sign = if length < 0 { "-" } else { "" };
    format!("{sign}{}", millis(length.unsigned_abs()))
}

/// How long ago, or how far ahead, seen from `now`.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    let length = span(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{length} ago"),
        _ => format!("in {length}"),
    }
}

/// The same of something that may never have been.
#[must_use]
pub fn ago_or_never(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "never".to_owned(), |at| ago(at, now))
}

/// How long from one instant to a later one; nothing if it is earlier.
#[must_use]
pub fn lasted(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_second().saturating_sub(from.as_second());
    span(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// A number with its noun in the right form.
#[must_use]
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        number => format!("{} {noun}s", thousands(number)),
    }
}

/// A number with a comma between thousands.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(escape("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(escape("al\u{202e}ice"), "al\\u{202e}ice");
        assert_eq!(escape("Łukasz 山田"), "Łukasz 山田");
    }

    #[test]
    fn lengths_of_time_read_well() {
        let of = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(of(0), "0 s");
        assert_eq!(of(59), "59 s");
        assert_eq!(of(3_720), "1 h 2 min");
        assert_eq!(of(3_601), "1 h");
        assert_eq!(of(2 * 86_400 + 3_600), "2 d 1 h");
    }

    #[test]
    fn instants_are_seen_from_now() {
        let at = |seconds: i64| Timestamp::from_second(1_764_000_000 + seconds).expect("in range");
        let now = at(0);
        assert_eq!(ago(at(0), now), "now");
        assert_eq!(ago(at(-3_720), now), "1 h 2 min ago");
        assert_eq!(ago(at(90), now), "in 1 min 30 s");
        assert_eq!(lasted(at(-90_000), now), "1 d 1 h");
        assert_eq!(lasted(at(5), now), "0 s");
        assert_eq!(millis(9_999), "9,999 ms");
        assert_eq!(millis(61_000), "1 min 1 s");
    }

    #[test]
    fn one_thing_is_singular() {
        assert_eq!(count(1_usize, "user"), "1 user");
        assert_eq!(count(1_204_u64, "user"), "1,204 users");
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [0, 999, 1_000, 12_345, 1_000_000, u64::MAX].map(thousands);
        assert_eq!(
            shown,
            [
                "0",
                "999",
                "1,000",
                "12,345",
                "1,000,000",
                "18,446,744,073,709,551,615"
            ]
        );
    }
}
