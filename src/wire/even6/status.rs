//! Windows statuses that calls of the event log end with, and their names (MS-ERREF 2.2).

use std::fmt;

/// A Win32 error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Win32(pub u32);

impl Win32 {
    /// All is well.
    pub const SUCCESS: Self = Self(0);
    /// The account may not.
    pub const ACCESS_DENIED: Self = Self(5);
    /// The handle means nothing.
    pub const INVALID_HANDLE: Self = Self(6);
    /// The server cannot do this.
    pub const NOT_SUPPORTED: Self = Self(50);
    /// An argument is wrong.
    pub const INVALID_PARAMETER: Self = Self(87);
    /// The server does not have the function.
    pub const CALL_NOT_IMPLEMENTED: Self = Self(120);
    /// The end of a query.
    pub const NO_MORE_ITEMS: Self = Self(259);
    /// What was looked for is not there: some versions say so of a bookmark whose record is gone.
    pub const NOT_FOUND: Self = Self(1168);
    /// The call was cancelled.
    pub const CANCELLED: Self = Self(1223);
    /// Nothing was there in time.
    pub const TIMEOUT: Self = Self(1460);
    /// The same, as MS-EVEN6 3.1.4.10 prints it once.
    pub const TIMEOUT_MISPRINTED: Self = Self(0x5bf);
    /// The query cannot be understood.
    pub const INVALID_QUERY: Self = Self(15_001);
    /// There is no such channel.
    pub const CHANNEL_NOT_FOUND: Self = Self(15_007);
    /// What follows the bookmark is gone.
    pub const RESULT_STALE: Self = Self(15_011);
    /// The position is not in the result.
    pub const RESULT_INVALID_POSITION: Self = Self(15_012);

    /// Whether the call only found nothing.
    #[must_use]
    pub fn means_nothing_there(self) -> bool {
        [Self::NO_MORE_ITEMS, Self::TIMEOUT, Self::TIMEOUT_MISPRINTED].contains(&self)
    }

    /// What it says, in words; `None` for what a log never answered us.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::SUCCESS => "success",
            Self::ACCESS_DENIED => "access denied",
            Self::INVALID_HANDLE => "the handle means nothing",
            Self::NOT_SUPPORTED => "not supported",
            Self::INVALID_PARAMETER => "an argument is wrong",
            Self::CALL_NOT_IMPLEMENTED => "not implemented",
            Self::NO_MORE_ITEMS => "no more items",
            Self::NOT_FOUND => "not found",
            Self::CANCELLED => "cancelled",
            Self::TIMEOUT | Self::TIMEOUT_MISPRINTED => "nothing in time",
            Self::INVALID_QUERY => "the query is not understood",
            Self::CHANNEL_NOT_FOUND => "there is no such log",
            Self::RESULT_STALE => "the records after the bookmark are gone",
            Self::RESULT_INVALID_POSITION => "the position is not in the log",
            _ => return None,
        })
    }
}

impl fmt::Display for Win32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            Some(words) => write!(f, "{words} (error {})", self.0),
            None => write!(f, "error {} ({:#x})", self.0, self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_words_or_at_least_a_number() {
        assert_eq!(Win32(5).to_string(), "access denied (error 5)");
        assert_eq!(Win32(0x3aa3), Win32::RESULT_STALE);
        assert_eq!(Win32(0x3a9f), Win32::CHANNEL_NOT_FOUND);
        assert_eq!(Win32(0x3a99), Win32::INVALID_QUERY);
        assert_eq!(Win32(77_777).to_string(), "error 77777 (0x12fd1)");
    }
}
