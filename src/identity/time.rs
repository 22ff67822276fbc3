//! UTC milliseconds: the only notion of time inside the pure rooms (rule 4).
//!
//! Values are handed in; nothing here reads a clock.

use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UtcMillis(pub i64);

/// An instant or none, in the room of an instant: for what there are millions of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct MaybeMillis(i64);

impl MaybeMillis {
    /// None. No instant is so early.
    pub(super) const NONE: Self = Self(i64::MIN);

    pub(super) fn get(self) -> Option<UtcMillis> {
        (self != Self::NONE).then_some(UtcMillis(self.0))
    }
}

impl From<Option<UtcMillis>> for MaybeMillis {
    fn from(instant: Option<UtcMillis>) -> Self {
        instant.map_or(Self::NONE, |instant| Self(instant.0))
    }
}

impl std::fmt::Debug for MaybeMillis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

impl UtcMillis {
    /// The instant `by` later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The instant `by` earlier.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this instant is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}
