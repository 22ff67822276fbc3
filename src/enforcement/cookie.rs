//! The cookie of batch queries: a cursor on the journal that the firewall keeps for us.
//!
//! It is opaque to the firewall and needs no secret: whoever forges one only chooses what he himself is told again.
//! Any cookie that cannot be read starts over, because a full report is always right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::identity::view::{Epoch, Seq};

/// First characters of every cookie, with the version of its layout.
const PREFIX: &str = "j1.";
const FIELDS: usize = 8 + 8 + 8 + 1;
const CHECK: usize = 4;
/// Longer texts are no cookies of ours.
const MAX_TEXT: usize = 128;

/// Where a firewall stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The journal that `position` is in.
    pub epoch: Epoch,
    /// Everything up to here was told.
    pub position: Seq,
    /// The filters that it was told under (rule 18).
    pub filter: u64,
    /// The pass after a change of filters is under way: addresses outside the filter are reported as `logout` until
    /// the end of the journal is reached. An address that changes meanwhile moves to the end and so is met as well.
    pub clearing: bool,
}

impl Cookie {
    /// The text for the firewall: only `A-Z a-z 0-9 . _ -`.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(FIELDS + CHECK);
        bytes.extend(self.epoch.0.to_be_bytes());
        bytes.extend(self.position.0.to_be_bytes());
        bytes.extend(self.filter.to_be_bytes());
        bytes.push(u8::from(self.clearing));
        bytes.extend(check(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads what a firewall sent; `None` if it is no cookie of ours or was damaged.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX).filter(|t| t.len() <= MAX_TEXT)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (fields, sum) = bytes.split_at_checked(FIELDS)?;
        if sum != check(fields) {
            return None;
        }
        let number = |index: usize| {
            let field = fields.get(index * 8..index * 8 + 8)?;
            field.try_into().ok().map(u64::from_be_bytes)
        };
        Some(Self {
            epoch: Epoch(number(0)?),
            position: Seq(number(1)?),
            filter: number(2)?,
            clearing: fields.last() == Some(&1),
        })
    }
}

/// Where a pass begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Everything after this is told.
    pub position: Seq,
    /// The first answer of a pass from 0.
    pub full: bool,
    /// As in [`Cookie::clearing`].
    pub clearing: bool,
}

impl Start {
    /// Where a firewall goes on that shows a cookie (rule 16, 18). One from before the floor, of another epoch, unreadable
    /// or of other filters begins at 0, and then what the firewall holds from before is cleared.
    #[must_use]
    pub fn from_cookie(text: &str, epoch: Epoch, floor: Seq, last: Seq, filter: u64) -> Self {
        Self::at(Cookie::decode(text), epoch, floor, last, filter)
    }

    /// Where a follower goes on that stands there; as [`Start::from_cookie`].
    #[must_use]
    pub fn at(cookie: Option<Cookie>, epoch: Epoch, floor: Seq, last: Seq, filter: u64) -> Self {
        let Some(cookie) = cookie else {
            // What such a firewall was told under which filters is not known.
            return Self::zero(true);
        };
        if cookie.filter != filter {
            return Self::zero(true);
        }
        let unknown = cookie.epoch != epoch || cookie.position < floor || cookie.position > last;
        if unknown {
            // What it holds from before, at addresses that the table lost meanwhile, is not known either.
            return Self::zero(true);
        }
        Self {
            position: cookie.position,
            full: cookie.position == Seq(0),
            clearing: cookie.clearing,
        }
    }

    /// Where a firewall begins that shows an instant, given the cursor that the journal has for it.
    #[must_use]
    pub fn from_cursor(cursor: Seq, floor: Seq) -> Self {
        if cursor == Seq(0) || cursor < floor {
            return Self::zero(false);
        }
        Self {
            position: cursor,
            full: false,
            clearing: false,
        }
    }

    fn zero(clearing: bool) -> Self {
        Self {
            position: Seq(0),
            full: true,
            clearing,
        }
    }
}

fn check(fields: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 32] = Sha256::digest(fields).into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOCH: Epoch = Epoch(7);

    fn cookie() -> Cookie {
        Cookie {
            epoch: EPOCH,
            position: Seq(40),
            filter: 99,
            clearing: false,
        }
    }

    fn start(text: &str) -> Start {
        Start::from_cookie(text, EPOCH, Seq(10), Seq(50), 99)
    }

    #[test]
    fn rule_16_a_cookie_resumes_where_it_says() {
        let resumed = start(&cookie().encode());
        assert_eq!(
            (resumed.position, resumed.full, resumed.clearing),
            (Seq(40), false, false)
        );
    }

    #[test]
    fn rule_16_other_epoch_below_the_floor_or_unreadable_is_zero() {
        let zero = |text: String| {
            let start = start(&text);
            assert!(start.full && start.position == Seq(0), "{text}");
            start.clearing
        };
        let other_epoch = Cookie {
            epoch: Epoch(8),
            ..cookie()
        };
        assert!(
            zero(other_epoch.encode()),
            "what it holds is not known: clear"
        );
        let below = Cookie {
            position: Seq(9),
            ..cookie()
        };
        assert!(zero(below.encode()));
        let ahead = Cookie {
            position: Seq(51),
            ..cookie()
        };
        assert!(zero(ahead.encode()));
        for text in ["", "j1.", "j2.AAAA", "nonsense", "j1.!!!!"] {
            assert!(zero(text.to_owned()), "filters unknown: clear");
        }
        zero("j1.".to_owned() + &"A".repeat(100_000));
        let mut damaged = cookie().encode();
        let last = damaged.pop();
        damaged.push(if last == Some('A') { 'Q' } else { 'A' });
        zero(damaged);
    }

    #[test]
    fn rule_18_other_filters_start_a_clearing_pass() {
        let other = Cookie {
            filter: 98,
            ..cookie()
        };
        let start = start(&other.encode());
        assert_eq!(
            (start.position, start.full, start.clearing),
            (Seq(0), true, true)
        );
    }

    #[test]
    fn rule_18_a_clearing_pass_goes_on_over_answers_and_epochs() {
        let clearing = Cookie {
            clearing: true,
            ..cookie()
        };
        assert!(start(&clearing.encode()).clearing);
        let other_epoch = Cookie {
            epoch: Epoch(8),
            ..clearing
        };
        assert!(start(&other_epoch.encode()).clearing);
    }

    proptest! {
        #[test]
        fn cookies_round_trip_in_plain_characters(epoch: u64, position: u64, filter: u64, clearing: bool) {
            let cookie = Cookie { epoch: Epoch(epoch), position: Seq(position), filter, clearing };
            let text = cookie.encode();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{}", text);
            prop_assert_eq!(Cookie::decode(&text), Some(cookie));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = Cookie::decode(&text);
            let _ = Cookie::decode(&format!("j1.{text}"));
        }
    }
}
