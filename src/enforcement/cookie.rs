//! The cookie of batch queries: a cursor on the journal that the firewall keeps for us.
//!
//! It is opaque to the firewall and needs no secret: whoever forges one only chooses what he himself is told again.
//! Any cookie that cannot be read starts over, because a full report is always right.
//!
//! # Why nothing is lost
//!
//! A firewall at a position has been told of every address as it was then or later. What it misses is an address that
//! changed behind its position and was then forgotten, 24 hours after its end; the journal's floor is the last such
//! change. So a position under the floor starts over, with one exception: in a pass from 0 nothing that was forgotten
//! and last changed before the pass *began* can have been told in it, so until the pass is over the cookie knows as
//! much as a cursor where it began. Without that, sessions older than the floor could never be passed in answers of a
//! few entries. A pass that starts over in the middle (other filters, a floor above where it began) begins anew in
//! everything: position, beginning, and clearing.
//!
//! Of an address that the table knows no more nothing can be said; only `full` says that whatever is not told of in
//! the pass is gone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::identity::Core;
use crate::identity::view::{Epoch, Seq};

/// First characters of every cookie, with the version of its layout.
const PREFIX: &str = "j2.";
const FIELDS: usize = 8 + 8 + 8 + 8 + 1;
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
    /// Of a pass from 0 that is under way: the journal's last change when it began.
    pub begun: Option<Seq>,
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
        bytes.extend(self.begun.unwrap_or_default().0.to_be_bytes());
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
            // No pass is needed over a journal without changes.
            begun: Some(Seq(number(2)?)).filter(|begun| *begun != Seq(0)),
            filter: number(3)?,
            clearing: fields.last() == Some(&1),
        })
    }
}

/// Where a pass begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Everything after this is told.
    pub position: Seq,
    /// As in [`Cookie::begun`].
    pub begun: Option<Seq>,
    /// The first answer of a pass from 0.
    pub full: bool,
    /// As in [`Cookie::clearing`].
    pub clearing: bool,
}

impl Start {
    /// Up to where whoever has come to `position` from here misses nothing that was forgotten.
    #[must_use]
    pub fn knows(&self, position: Seq) -> Seq {
        self.begun.map_or(position, |begun| begun.max(position))
    }
}

/// What a journal says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Its life.
    pub epoch: Epoch,
    /// The last change that was forgotten.
    pub floor: Seq,
    /// The last change.
    pub last: Seq,
}

impl From<&Core> for Journal {
    fn from(core: &Core) -> Self {
        Self {
            epoch: core.epoch(),
            floor: core.floor(),
            last: core.last_seq(),
        }
    }
}

impl Journal {
    /// Where a firewall goes on that shows a cookie (rule 16, 18). One from before the floor, of another epoch, unreadable
    /// or of other filters begins at 0, and then what the firewall holds from before is cleared.
    #[must_use]
    pub fn from_cookie(&self, text: &str, filter: u64) -> Start {
        self.from_place(Cookie::decode(text), filter)
    }

    /// Where a follower goes on that stands there; as [`Journal::from_cookie`].
    #[must_use]
    pub fn from_place(&self, place: Option<Cookie>, filter: u64) -> Start {
        // What the firewall was told, under which filters and at which addresses, is not known where this is no cookie
        // of this journal and these filters.
        let own = place
            .filter(|cookie| cookie.filter == filter && cookie.epoch == self.epoch)
            .filter(|cookie| cookie.position.max(cookie.begun.unwrap_or_default()) <= self.last);
        let Some(cookie) = own else {
            return self.from_zero(true);
        };
        let start = Start {
            position: cookie.position,
            begun: cookie.begun,
            full: false,
            clearing: cookie.clearing,
        };
        if start.knows(start.position) < self.floor {
            return self.from_zero(true);
        }
        if start.position == Seq(0) {
            return self.from_zero(start.clearing);
        }
        start
    }

    /// Where a firewall begins that shows an instant, given the cursor for it.
    #[must_use]
    pub fn from_cursor(&self, cursor: Seq) -> Start {
        if cursor == Seq(0) || cursor < self.floor {
            // It may hold what was told before that instant.
            return self.from_zero(true);
        }
        Start {
            position: cursor,
            begun: None,
            full: false,
            clearing: false,
        }
    }

    /// A pass over everything.
    #[must_use]
    pub fn from_zero(&self, clearing: bool) -> Start {
        Start {
            position: Seq(0),
            begun: Some(self.last),
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
            begun: None,
            filter: 99,
            clearing: false,
        }
    }

    fn start(text: &str) -> Start {
        let journal = Journal {
            epoch: EPOCH,
            floor: Seq(10),
            last: Seq(50),
        };
        journal.from_cookie(text, 99)
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
        for text in ["", "j2.", "j1.AAAA", "nonsense", "j2.!!!!"] {
            assert!(zero(text.to_owned()), "filters unknown: clear");
        }
        zero("j2.".to_owned() + &"A".repeat(100_000));
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

    #[test]
    fn rule_16_within_a_pass_the_floor_counts_from_where_the_pass_began() {
        let within = |position: u64, begun: u64| Cookie {
            position: Seq(position),
            begun: Some(Seq(begun)),
            ..cookie()
        };
        let resumed = start(&within(3, 10).encode());
        assert_eq!(
            (resumed.position, resumed.begun, resumed.full),
            (Seq(3), Some(Seq(10)), false),
            "nothing forgotten was told before 3 in this pass"
        );
        for lost in [within(3, 9), within(3, 51)] {
            let again = start(&lost.encode());
            assert_eq!(
                (again.position, again.begun, again.clearing),
                (Seq(0), Some(Seq(50)), true)
            );
        }
        assert_eq!(start(&within(12, 9).encode()).position, Seq(12));
    }

    #[test]
    fn rule_18_a_pass_that_other_filters_break_off_begins_anew_in_everything() {
        let within = Cookie {
            position: Seq(3),
            begun: Some(Seq(20)),
            filter: 98,
            ..cookie()
        };
        let again = start(&within.encode());
        assert_eq!(
            (again.position, again.begun, again.full, again.clearing),
            (Seq(0), Some(Seq(50)), true, true)
        );
    }

    proptest! {
        #[test]
        fn cookies_round_trip_in_plain_characters(epoch: u64, position: u64, begun: u64, filter: u64, clearing: bool) {
            let begun = Some(Seq(begun)).filter(|begun| *begun != Seq(0));
            let cookie = Cookie { epoch: Epoch(epoch), position: Seq(position), begun, filter, clearing };
            let text = cookie.encode();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)), "{}", text);
            prop_assert_eq!(Cookie::decode(&text), Some(cookie));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = Cookie::decode(&text);
            let _ = Cookie::decode(&format!("j2.{text}"));
        }
    }
}
