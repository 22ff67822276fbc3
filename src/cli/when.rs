//! Instants of the past as people write them: `14:05`, `2026-11-20T14:05`, `2h ago`.
//!
//! Pure: the time and the time zone are handed in.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// What can be written, for refusals.
pub(super) const HINT: &str = "write 14:05, 2026-11-20T14:05, 2026-11-20T14:05:30Z, or 2h ago";

/// The instant that a text means; a text without zone is of `zone`, one without date of today, or of yesterday if
/// that time is still to come today.
///
/// # Errors
/// The text is none, or the instant has not come yet: what is wrong, for people.
pub(super) fn instant(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    let text = text.trim();
    let at = read(text, now, zone)?;
    if at > now {
        return Err(format!("{} has not come yet", shown(at, zone)));
    }
    Ok(at)
}

fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if text == "now" {
        return Ok(now);
    }
    if let Some(before) = ago(text) {
        let at = now.to_zoned_datetime(zone.clone()).checked_sub(before);
        return at
            .map(|at| at.timestamp())
            .map_err(|_| "that is too long ago".to_owned());
    }
    // Dates and times are read whole, so that nothing of what was typed is passed over.
    if let Some(time) = clock_time(text) {
        let today = now.to_zoned_datetime(zone.clone()).date();
        let at = local(today.to_datetime(time), zone)?;
        if at <= now {
            return Ok(at);
        }
        let yesterday = today.yesterday().map_err(|error| error.to_string())?;
        return local(yesterday.to_datetime(time), zone);
    }
    let separator = |c: char| c == 'T' || c == 't' || c == ' ';
    let date_time = text.split_once(separator).and_then(|(date, time)| {
        let date: Date = date.parse().ok()?;
        Some(date.to_datetime(clock_time(time.trim_start())?))
    });
    match date_time {
        Some(date_time) => local(date_time, zone),
        None => Err("that is no time".to_owned()),
    }
}

/// `14:05`, `14:05:30`, with or without fractions of a second.
fn clock_time(text: &str) -> Option<Time> {
    let is_plain = |c: char| c.is_ascii_digit() || c == ':' || c == '.';
    let is_time = text.contains(':') && text.chars().all(is_plain);
    let hours = text.split(':').next()?;
    // 9:05 is what people write.
    let text = match hours.len() {
        1 => format!("0{text}"),
        _ => text.to_owned(),
    };
    is_time.then(|| text.parse().ok())?
}

/// `-2h`, `2h ago`, `1h30m ago`.
fn ago(text: &str) -> Option<Span> {
    let amount = match text.strip_prefix('-') {
        Some(amount) => amount.strip_suffix("ago").unwrap_or(amount),
        None => text.strip_suffix("ago")?,
    };
    let span: Span = amount.trim().parse().ok()?;
    (!span.is_negative()).then_some(span)
}

/// In a gap of the clock the time after it is meant, in a fold the first: as clocks on walls go.
fn local(at: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let at = zone.to_ambiguous_zoned_datetime(at).compatible();
    at.map(|at| at.timestamp())
        .map_err(|error| error.to_string())
}

/// The instant with its zone, to the second.
pub(super) fn shown(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned_datetime(zone.clone());
    at.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    fn at(text: &str) -> Result<String, String> {
        let now: Timestamp = "2026-11-20T14:00:00Z".parse().expect("now");
        instant(text, now, &berlin()).map(|at| at.to_string())
    }

    #[test]
    fn instants_are_read_as_people_write_them() {
        for (text, means) in [
            ("14:05", "2026-11-20T13:05:00Z"),
            ("9:05", "2026-11-20T08:05:00Z"),
            ("14:05:30", "2026-11-20T13:05:30Z"),
            ("15:00", "2026-11-20T14:00:00Z"),
            // Still to come today: yesterday's.
            ("15:01", "2026-11-19T14:01:00Z"),
            ("23:59", "2026-11-19T22:59:00Z"),
            ("2026-11-20T14:05", "2026-11-20T13:05:00Z"),
            ("2026-11-20 14:05", "2026-11-20T13:05:00Z"),
            ("2026-07-01 14:05:07", "2026-07-01T12:05:07Z"),
            ("2026-11-20T14:05:00+02:00", "2026-11-20T12:05:00Z"),
            ("2026-11-20T13:05:00Z", "2026-11-20T13:05:00Z"),
            ("-2h", "2026-11-20T12:00:00Z"),
            ("2h ago", "2026-11-20T12:00:00Z"),
            ("1h30m ago", "2026-11-20T12:30:00Z"),
            ("3 days ago", "2026-11-17T14:00:00Z"),
            ("now", "2026-11-20T14:00:00Z"),
            // The hour that is there twice, and the one that is not there.
            ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
            ("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(at(text).as_deref(), Ok(means), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant_of_the_past_is_refused() {
        for wrong in [
            "",
            "now-ish",
            "25:00",
            "14",
            "14:05pm",
            "2026-13-01 10:00",
            "2h",
            "--2h",
        ] {
            assert_eq!(at(wrong), Err("that is no time".to_owned()), "{wrong}");
        }
        let later = at("2026-11-21 10:00");
        assert_eq!(
            later,
            Err("2026-11-21 10:00:00 CET has not come yet".to_owned())
        );
    }
}
