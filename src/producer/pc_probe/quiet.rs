//! Daily hours in which no probe starts by itself, so that machines may sleep and scans stay quiet.
//!
//! Local time is a number of seconds east of UTC that is handed in: no time zones and no clock here. Whoever knows the
//! zone sets the offset anew when it changes.

use crate::identity::time::UtcMillis;

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A minute of the local day: 0 is 00:00, 1439 is 23:59.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(u16);

impl Minute {
    /// The minute of a time of day; `None` if there is no such time. 24:00 is written 00:00.
    #[must_use]
    pub fn new(hour: u16, minute: u16) -> Option<Self> {
        (hour < 24 && minute < 60).then(|| Self(hour * 60 + minute))
    }

    fn millis(self) -> i64 {
        i64::from(self.0) * MINUTE
    }
}

/// Quiet from one time of day until another, every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The first quiet minute.
    pub from: Minute,
    /// The first minute after; before `from` it is one of the next day, equal to it there are no quiet hours.
    pub to: Minute,
    /// Local time in seconds east of UTC.
    pub utc_offset: i32,
}

impl Quiet {
    /// Whether it is quiet.
    #[must_use]
    pub fn holds(&self, now: UtcMillis) -> bool {
        self.elapsed(now) < self.length()
    }

    /// When the quiet hours that hold now end; `None` if none hold.
    #[must_use]
    pub fn ends(&self, now: UtcMillis) -> Option<UtcMillis> {
        let left = self.length() - self.elapsed(now);
        (left > 0).then(|| UtcMillis(now.0.saturating_add(left)))
    }

    fn length(&self) -> i64 {
        (self.to.millis() - self.from.millis()).rem_euclid(DAY)
    }

    /// How long ago they last began, in milliseconds: less than a day.
    fn elapsed(&self, now: UtcMillis) -> i64 {
        let local = now.0.saturating_add(i64::from(self.utc_offset) * 1000);
        (local.rem_euclid(DAY) - self.from.millis()).rem_euclid(DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quiet(from: (u16, u16), to: (u16, u16), utc_offset: i32) -> Quiet {
        Quiet {
            from: Minute::new(from.0, from.1).unwrap(),
            to: Minute::new(to.0, to.1).unwrap(),
            utc_offset,
        }
    }

    fn at(day: i64, hour: i64, minute: i64) -> UtcMillis {
        UtcMillis(day * DAY + (hour * 60 + minute) * MINUTE)
    }

    #[test]
    fn quiet_hours_pass_midnight_and_follow_local_time() {
        let night = quiet((22, 0), (6, 30), 0);
        assert!(!night.holds(at(20_000, 21, 59)));
        assert!(night.holds(at(20_000, 22, 0)));
        assert!(night.holds(at(20_001, 6, 29)));
        assert!(!night.holds(at(20_001, 6, 30)));
        assert_eq!(night.ends(at(20_000, 23, 0)), Some(at(20_001, 6, 30)));
        assert_eq!(night.ends(at(20_000, 12, 0)), None);
        // Two hours east, 22:00 is 20:00 UTC.
        let east = quiet((22, 0), (6, 30), 7200);
        assert!(east.holds(at(20_000, 20, 0)));
        assert_eq!(east.ends(at(20_000, 20, 0)), Some(at(20_001, 4, 30)));
        let noon = quiet((12, 0), (13, 0), -3600);
        assert!(noon.holds(at(20_000, 13, 30)) && !noon.holds(at(20_000, 12, 30)));
    }

    #[test]
    fn equal_ends_are_no_quiet_hours_and_wrong_times_are_none() {
        assert_eq!(quiet((8, 0), (8, 0), 0).ends(at(20_000, 8, 0)), None);
        assert_eq!(Minute::new(24, 0), None);
        assert_eq!(Minute::new(7, 60), None);
    }

    proptest! {
        #[test]
        fn they_end_when_they_say(from in 0_u16..1440, to in 0_u16..1440, offset in -50_400_i32..50_400, now: i64) {
            let quiet = Quiet { from: Minute(from), to: Minute(to), utc_offset: offset };
            let now = UtcMillis(now);
            prop_assert_eq!(quiet.holds(now), quiet.ends(now).is_some());
            if let Some(end) = quiet.ends(now).filter(|_| now.0.abs() < i64::MAX / 2) {
                prop_assert!(end > now && end.0 - now.0 < DAY);
                prop_assert!(!quiet.holds(end));
                prop_assert!(quiet.holds(UtcMillis(end.0 - 1)));
            }
        }
    }
}
