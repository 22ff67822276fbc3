//! Which instant a stamp means (rule 5): year by nearness, zone by the source, whole seconds at their end, within limits.

use std::time::Duration;

use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::identity::time::UtcMillis;
use crate::wire::syslog::Stamp;

/// A stamp further ahead of our clock than this is not believed.
pub const MAX_AHEAD: Duration = Duration::from_secs(60);
/// A stamp older than this is not believed.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is nearer than this is nearest of all years: less than half of one.
const NEAR_MS: u64 = 182 * 24 * 60 * 60 * 1000;

/// Why the moment of arrival was taken in place of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Over [`MAX_AHEAD`] ahead.
    Ahead,
    /// Over [`MAX_AGE`] old.
    Old,
    /// No date that exists.
    Impossible,
}

impl Replaced {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Ahead, Self::Old, Self::Impossible];

    /// The word for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ahead => "stamp-ahead",
            Self::Old => "stamp-old",
            Self::Impossible => "bad-time",
        }
    }
}

/// When it happened, never later than `received_at`.
///
/// # Errors
/// Why the stamp cannot be believed; then it happened when it was received.
pub fn occurred_at(
    stamp: &Stamp,
    zone: &TimeZone,
    received_at: UtcMillis,
) -> Result<UtcMillis, Replaced> {
    let instant = nearest(stamp, zone, received_at).ok_or(Replaced::Impossible)?;
    believed(instant, stamp.nanosecond.is_none(), received_at)
}

/// The end of what an instant means, in whole seconds or exactly, never later than `received_at`.
///
/// # Errors
/// Why it cannot be believed; then it happened when it was received.
pub fn believed(
    instant: UtcMillis,
    whole_second: bool,
    received_at: UtcMillis,
) -> Result<UtcMillis, Replaced> {
    if instant > received_at.after(MAX_AHEAD) {
        return Err(Replaced::Ahead);
    }
    let end = if whole_second {
        instant.after(Duration::from_millis(999))
    } else {
        instant
    };
    if end < received_at.before(MAX_AGE) {
        return Err(Replaced::Old);
    }
    Ok(end.min(received_at))
}

/// Of the instants that the stamp can mean (a missing year, an hour that the clocks show twice), the nearest one.
fn nearest(stamp: &Stamp, zone: &TimeZone, received_at: UtcMillis) -> Option<UtcMillis> {
    let zone = match stamp.offset {
        Some(seconds) => &TimeZone::fixed(Offset::from_seconds(seconds).ok()?),
        None => zone,
    };
    let Some(year) = stamp.year else {
        let now = jiff::Timestamp::from_millisecond(received_at.0).ok()?;
        let year = zone.to_datetime(now).year();
        let this = in_year(stamp, year, zone, received_at);
        // So near that no other year comes nearer: nearly always.
        if this.is_some_and(|this| this.0.abs_diff(received_at.0) < NEAR_MS) {
            return this;
        }
        let others = [year.saturating_sub(1), year.saturating_add(1)];
        let others = others.map(|year| in_year(stamp, year, zone, received_at));
        return (others.into_iter().chain([this]).flatten())
            .min_by_key(|moment| moment.0.abs_diff(received_at.0));
    };
    in_year(stamp, year, zone, received_at)
}

/// The nearest instant of a stamp in a year.
fn in_year(stamp: &Stamp, year: i16, zone: &TimeZone, received_at: UtcMillis) -> Option<UtcMillis> {
    let local = civil::DateTime::new(
        year,
        stamp.month,
        stamp.day,
        stamp.hour,
        stamp.minute,
        stamp.second,
        stamp.nanosecond.unwrap_or(0),
    );
    let moment = zone.to_ambiguous_timestamp(local.ok()?);
    let moments = match moment.offset() {
        AmbiguousOffset::Unambiguous { .. } => [moment.compatible().ok(), None],
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Fold { .. } => {
            [moment.earlier().ok(), moment.later().ok()]
        }
    };
    (moments.into_iter().flatten())
        .map(|moment| UtcMillis(moment.as_millisecond()))
        .min_by_key(|moment| moment.0.abs_diff(received_at.0))
}

/// Reads a template's `timestamp`: any stamp that syslog knows, or a count since 1970 in seconds, milliseconds,
/// microseconds or nanoseconds, told apart by its size.
#[must_use]
pub fn read_stamp(text: &str) -> Option<Stamp> {
    if let Some((stamp, _)) = Stamp::read(text) {
        return Some(stamp);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() < 9 || whole.len() > 19 {
        return None;
    }
    let count: i64 = whole.parse().ok()?;
    let (nanoseconds, exact) = match whole.len() {
        ..=10 => {
            let digits: i128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
            (
                i128::from(count) * 1_000_000_000 + digits,
                !fraction.is_empty(),
            )
        }
        11..=13 => (i128::from(count) * 1_000_000, true),
        14..=16 => (i128::from(count) * 1_000, true),
        _ => (i128::from(count), true),
    };
    let moment = jiff::Timestamp::from_nanosecond(nanoseconds).ok()?;
    let at = TimeZone::UTC.to_datetime(moment);
    Some(Stamp {
        year: Some(at.year()),
        month: at.month(),
        day: at.day(),
        hour: at.hour(),
        minute: at.minute(),
        second: at.second(),
        nanosecond: exact.then_some(at.subsec_nanosecond()),
        offset: Some(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcMillis {
        UtcMillis(
            text.parse::<jiff::Timestamp>()
                .expect("time")
                .as_millisecond(),
        )
    }

    /// What a stamp means in Berlin, received at a time.
    fn berlin(stamp: &str, received: &str) -> Result<String, Replaced> {
        let stamp = read_stamp(stamp).expect("stamp");
        let zone = TimeZone::get("Europe/Berlin").expect("zone");
        occurred_at(&stamp, &zone, at(received)).map(|moment| {
            jiff::Timestamp::from_millisecond(moment.0)
                .expect("time")
                .to_string()
        })
    }

    #[test]
    fn rule_5_whole_seconds_end_and_nothing_is_later_than_received() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(
            berlin("Nov 23 14:39:27", "2026-11-23T13:39:40Z"),
            ok("2026-11-23T13:39:27.999Z")
        );
        assert_eq!(
            berlin("Nov 23 14:39:27", "2026-11-23T13:39:27.2Z"),
            ok("2026-11-23T13:39:27.2Z")
        );
        assert_eq!(
            berlin("2026-11-23T13:39:27.5Z", "2026-11-23T13:39:40Z"),
            ok("2026-11-23T13:39:27.5Z")
        );
        assert_eq!(
            berlin("2026-11-23T13:40:27.5Z", "2026-11-23T13:39:40Z"),
            ok("2026-11-23T13:39:40Z")
        );
        assert_eq!(
            berlin("1763905167", "2025-11-23T13:39:40Z"),
            ok("2025-11-23T13:39:27.999Z")
        );
        assert_eq!(
            berlin("1763905167123000000", "2025-11-23T13:39:40Z"),
            ok("2025-11-23T13:39:27.123Z")
        );
    }

    #[test]
    fn rule_5_the_year_is_the_nearest() {
        assert_eq!(
            berlin("Dec 31 23:59:59", "2027-01-01T00:00:30Z").as_deref(),
            Ok("2026-12-31T22:59:59.999Z")
        );
        assert_eq!(
            berlin("Jan  1 01:00:30", "2026-12-31T23:59:50Z").as_deref(),
            Ok("2026-12-31T23:59:50Z")
        );
        assert_eq!(
            berlin("Feb 29 12:00:00", "2028-02-29T11:00:05Z").as_deref(),
            Ok("2028-02-29T11:00:00.999Z")
        );
    }

    #[test]
    fn rule_5_stamps_that_cannot_be_believed_are_refused() {
        assert_eq!(
            berlin("2026-11-23T13:40:41Z", "2026-11-23T13:39:40Z"),
            Err(Replaced::Ahead)
        );
        assert_eq!(
            berlin("2026-11-22T13:39:38Z", "2026-11-23T13:39:40Z"),
            Err(Replaced::Old)
        );
        assert_eq!(
            berlin("2026-02-30T13:39:38Z", "2026-11-23T13:39:40Z"),
            Err(Replaced::Impossible)
        );
    }

    #[test]
    fn an_hour_that_comes_twice_is_the_nearer_one() {
        // 25 October 2026, 02:30 comes at 00:30Z and again at 01:30Z.
        assert_eq!(
            berlin("Oct 25 02:30:00", "2026-10-25T00:30:05Z").as_deref(),
            Ok("2026-10-25T00:30:00.999Z")
        );
        assert_eq!(
            berlin("Oct 25 02:30:00", "2026-10-25T01:30:05Z").as_deref(),
            Ok("2026-10-25T01:30:00.999Z")
        );
    }
}
