//! What became of each event: the one bounded stream that tail, metrics, explain and history read (rule 21).

use std::net::IpAddr;

use compact_str::CompactString;

use super::event::ProducerName;
use super::time::UtcMillis;

/// What became of one event, or of one deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who said so; for deadlines and directory removals `jims` and the directory's name.
    pub producer: ProducerName,
    /// Which record.
    pub record: CompactString,
    /// When it happened.
    pub occurred_at: UtcMillis,
    /// The address, if one is known.
    pub address: Option<IpAddr>,
    /// `domain\user`, `domain\device$`, or what the source wrote if it could not be resolved; empty if none.
    pub subject: CompactString,
    /// The verdict.
    pub verdict: Verdict,
}

/// The verdict on one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A session began; `displaced` names who had the address until then.
    LoggedOn {
        /// `domain\user` (or device) that lost the address.
        displaced: Option<CompactString>,
    },
    /// A session goes on with newer evidence.
    Renewed,
    /// A session ended.
    LoggedOff(EndReason),
    /// Nothing changed, and why.
    Ignored(IgnoreReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndReason {
    /// A logoff was reported.
    Logoff,
    /// The logoff time passed without new evidence.
    Expired,
    /// The directory lost or disabled the user.
    Directory,
    /// The operator said so.
    Operator,
    /// A filter now excludes it.
    Filter,
    /// The computer said that nobody is signed on.
    ProbeNobody,
    /// The computer said that others are signed on, and not whom of them to believe.
    ProbeOtherUser,
    /// It expired, and the computer refused to tell.
    ProbeRefused,
    /// It expired, and the computer did not answer.
    ProbeUnreachable,
    /// It expired, and nobody could be asked within the grace.
    Unconfirmed,
}

/// Why an event changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IgnoreReason {
    /// The record names no address, and needs one.
    NoAddress,
    /// The address can never hold a session (rule 1).
    AddressRefused,
    /// The name has no qualifier and its source no `domain`.
    NoDomain,
    /// The machine's or the system's own account where a user is meant (`…$`, ANONYMOUS LOGON).
    NotAUser,
    /// Outside the producer's scope.
    OutOfScope,
    /// Outside the included or inside the excluded addresses.
    FilteredAddress,
    /// An excluded user.
    FilteredUser,
    /// An excluded device.
    FilteredDevice,
    /// The same line, heard by another Collector, counted already.
    HeardTwice,
    /// Newer evidence, or a later logoff, holds the address.
    Older,
    /// Weak evidence against strong.
    Weaker,
    /// Already past its deadline when it arrived.
    PastDeadline,
    /// A logoff that names another user than the one at the address.
    OtherUser,
    /// A logoff or renewal without a session that it could touch.
    NoSession,
    /// The directory has lost or disabled the user.
    NotInDirectory,
    /// A probe's answer, about a session that changed while the computer was asked.
    SessionChanged,
    /// A probe that found several users where no session is.
    SeveralUsers,
    /// A probe's answer about users of a shared address.
    SharedAddress,
    /// A probe without an answer, of a session that is not in doubt.
    NoAnswer,
    /// A probe without an answer, while that says nothing about the computer.
    ProbingUnhealthy,
}

impl EndReason {
    /// All of them.
    const ALL: [Self; 10] = [
        Self::Logoff,
        Self::Expired,
        Self::Directory,
        Self::Operator,
        Self::Filter,
        Self::ProbeNobody,
        Self::ProbeOtherUser,
        Self::ProbeRefused,
        Self::ProbeUnreachable,
        Self::Unconfirmed,
    ];

    /// The reason that a word of [`EndReason::as_str`] means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word for metrics, JSON and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logoff => "logoff",
            Self::Expired => "expired",
            Self::Directory => "directory",
            Self::Operator => "operator",
            Self::Filter => "filter",
            Self::ProbeNobody => "probe-nobody",
            Self::ProbeOtherUser => "probe-other-user",
            Self::ProbeRefused => "probe-refused",
            Self::ProbeUnreachable => "probe-unreachable",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl IgnoreReason {
    /// The word for metrics, JSON and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAddress => "no-address",
            Self::AddressRefused => "address-refused",
            Self::NoDomain => "no-domain",
            Self::NotAUser => "not-a-user",
            Self::OutOfScope => "out-of-scope",
            Self::FilteredAddress => "filtered-address",
            Self::FilteredUser => "filtered-user",
            Self::FilteredDevice => "filtered-device",
            Self::HeardTwice => "duplicate",
            Self::Older => "older",
            Self::Weaker => "weaker",
            Self::PastDeadline => "past-deadline",
            Self::OtherUser => "other-user",
            Self::NoSession => "no-session",
            Self::NotInDirectory => "not-in-directory",
            Self::SessionChanged => "session-changed",
            Self::SeveralUsers => "several-users",
            Self::SharedAddress => "shared-address",
            Self::NoAnswer => "no-answer",
            Self::ProbingUnhealthy => "probing-unhealthy",
        }
    }
}
