//! Names of users, devices, groups and domains, and the one constructor that makes them.
//!
//! Everything that comes from outside and is later printed, compared or sent to a firewall passes through
//! [`Name::new`], so no other room has to think about control characters. No lookup happens here: which domain a
//! qualifier means is decided by the table.

use std::fmt;

use compact_str::CompactString;
use thiserror::Error;

/// Longest name in bytes. Active Directory itself ends at 256 characters for a `cn` and 20 for a user's logon name.
pub const MAX_NAME_BYTES: usize = 256;

/// A name as its source wrote it; compare with [`Name::key`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(CompactString);

/// A name folded for comparison: names that differ only in case have equal keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameKey(CompactString);

/// Why a string is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing is left after trimming white space.
    #[error("the name is empty")]
    Empty,
    /// Over [`MAX_NAME_BYTES`].
    #[error("the name is longer than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// A control or bidirectional-override character, which could forge a log line or a screen.
    #[error("the name holds a control or text-direction character")]
    Control,
}

impl Name {
    /// Makes a name, white space around it removed.
    ///
    /// # Errors
    /// Refuses empty names, names over [`MAX_NAME_BYTES`], control characters and bidirectional overrides (rule 3).
    pub fn new(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        if text.chars().any(is_forbidden) {
            return Err(NameError::Control);
        }
        Ok(Self(CompactString::new(text)))
    }

    /// The name as its source wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key under which the name is compared.
    #[must_use]
    pub fn key(&self) -> NameKey {
        NameKey::fold(&self.0)
    }
}

impl NameKey {
    /// Folds any string for comparison; it need not be a valid name.
    #[must_use]
    pub fn fold(text: &str) -> Self {
        if text
            .bytes()
            .all(|b| b.is_ascii() && !b.is_ascii_uppercase())
        {
            return Self(CompactString::new(text));
        }
        Self(CompactString::from(text.to_lowercase()))
    }

    /// Whether a text folds to this.
    #[must_use]
    pub fn is_of(&self, text: &str) -> bool {
        if text.is_ascii() {
            self.0.eq_ignore_ascii_case(text)
        } else {
            Self::fold(text) == *self
        }
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.as_str())
    }
}

impl fmt::Display for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Control characters (Unicode Cc) and the explicit direction marks of UAX #9.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_3_one_constructor_refuses_what_could_forge_a_line() {
        assert_eq!(Name::new("  alice "), Name::new("alice"));
        assert_eq!(Name::new(" "), Err(NameError::Empty));
        assert_eq!(Name::new(&"a".repeat(257)), Err(NameError::TooLong));
        assert!(Name::new(&"a".repeat(256)).is_ok());
        assert_eq!(Name::new("al\u{1b}[31mice"), Err(NameError::Control));
        assert_eq!(Name::new("al\u{202e}ecila"), Err(NameError::Control));
        assert!(Name::new("Nguyễn Łukasz").is_ok());
    }

    #[test]
    fn names_compare_without_case() {
        assert_eq!(
            Name::new("ÅNGSTRÖM").expect("name").key(),
            Name::new("ångström").expect("name").key()
        );
        for [one, other] in [["WS-7", "ws-7"], ["ÅNGSTRÖM", "ångström"], ["ws-7", "ws-8"]] {
            let same = NameKey::fold(one) == NameKey::fold(other);
            assert_eq!(NameKey::fold(one).is_of(other), same);
            assert_eq!(NameKey::fold(other).is_of(one), same);
        }
    }
}
