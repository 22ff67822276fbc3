//! Numbers and times in words, as short as a column wants them.

use jiff::Timestamp;

use crate::text::thousands;

/// The same in one unit, for columns.
pub(super) fn short(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    let length = one_unit(seconds.unsigned_abs());
    if seconds < 0 {
        format!("in {length}")
    } else {
        length
    }
}

/// The same of something that may never have been.
pub(super) fn short_or_never(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map_or_else(|| "never".to_owned(), |at| short(at, now))
}

fn one_unit(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        6_000..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number a second.
pub(super) fn rate(per_second: f64) -> String {
    let tenths = format!("{:.1}", per_second.max(0.0));
    match tenths.split_once('.') {
        Some((whole, tenth)) => whole.parse().map_or_else(
            |_| tenths.clone(),
            |whole| format!("{}.{tenth}", thousands(whole)),
        ),
        None => tenths,
    }
}

/// Who is meant, the name first, because the end is what is cut: `alice (corp.example.com)`.
pub(super) fn who(subject: &str) -> String {
    match subject.split_once('\\') {
        Some((domain, name)) => format!("{name} ({domain})"),
        None => subject.to_owned(),
    }
}

/// A number of things in memory.
pub(super) fn many(number: usize) -> String {
    thousands(u64::try_from(number).unwrap_or(u64::MAX))
}

/// The clock of an instant, in UTC.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_say_their_direction() {
        let at = |seconds: i64| Timestamp::from_second(1_764_000_000 + seconds).expect("in range");
        let now = at(0);
        assert_eq!(short(at(-99), now), "99 s");
        assert_eq!(short(at(-150), now), "2 min");
        assert_eq!(short(at(80_000), now), "in 22 h");
        assert_eq!(short(at(-400_000), now), "4 d");
        assert_eq!(short_or_never(None, now), "never");
        assert_eq!(rate(12_345.67), "12,345.7");
        assert_eq!(who("corp.example.com\\alice"), "alice (corp.example.com)");
    }
}
