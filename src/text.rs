//! Text that is safe on a terminal, and words for numbers and lengths of time; for every room that shows something.
//!
//! Everything that came from outside passes through [`escape`] before it reaches a terminal. Nothing here knows what it
//! shows, or where.

use std::time::Duration;

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
