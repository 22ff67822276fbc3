//! What the words for states mean to people: one table for every screen.

/// How something is, by its state's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// As it should be.
    Good,
    /// On its way, or not quite as it should be.
    Unsettled,
    /// It does not work.
    Bad,
    /// Neither; also a word of a later version.
    Neutral,
}

impl Condition {
    /// What a word of the protocol means: of sources, firewalls, Collectors, pushes, members, sessions and names.
    #[must_use]
    pub fn of(state: &str) -> Self {
        match state {
            "active" | "ready" | "following" | "connected" | "in-directory" | "told"
            | "logged-on" => Self::Good,
            "starting" | "degraded" | "waiting" | "connecting" | "refreshing"
            | "resynchronising" | "catching-up" | "pending" | "never" | "unconfirmed"
            | "behind" | "gone" => Self::Unsettled,
            "down" | "refused" | "failing" | "disconnected" | "cut-off" => Self::Bad,
            // Silence is not an outage, and an invitation that waits is as it should be.
            _ => Self::Neutral,
        }
    }
}
