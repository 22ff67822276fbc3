//! An operator who logs off guests while members are disturbed.
//!
//! A guest comes by syslog, as everybody; is logged off at any member when the table has them; and every second address has
//! another guest afterwards. Nothing else is at these addresses, so that it does not matter which of a load's lines came just
//! before: the process that is alone must have the same in the end.

use std::time::{Duration, Instant};

use serde_json::json;

use super::disturb::{OVER_WITHIN, Turn};
use super::feeder::{Feeder, logon};
use super::member::Control;
use crate::support::wait_at_most;

/// Guests are at 10.249.
fn guest_address(guest: u64) -> String {
    format!("10.249.{}.{}", guest / 250, guest % 250 + 1)
}

/// Those whom an operator asks.
pub(super) struct Operator {
    /// Any of them may not answer now.
    pub(super) members: Vec<Control>,
    pub(super) witness: Control,
    pub(super) alone: Control,
}

impl Operator {
    /// Logs guests off until the turn is over; returns how many.
    pub(super) fn log_off_guests(&self, feeder: &Feeder, turn: &mut Turn) -> u64 {
        let mut guests = 0;
        while !turn.is_over() {
            turn.pause(1000, 6000);
            let address = guest_address(guests);
            feeder.say(&logon(guests, &format!("guest{guests}"), &address));
            for control in [&self.witness, &self.alone] {
                wait_at_most(OVER_WITHIN, "a guest", || control.user_at(&address));
            }
            let begun = Instant::now();
            let asked = &self.members[turn.random.below(self.members.len())];
            let is_done = log_off(asked, &address);
            let what = if is_done {
                "log-off"
            } else {
                // It may not run, or come to it later. Of those who are left alone one will do it now.
                wait_at_most(OVER_WITHIN, "the witness to log off", || {
                    log_off(&self.witness, &address).then_some(())
                });
                "log-off, asked again at another"
            };
            wait_at_most(OVER_WITHIN, "the one alone to log off", || {
                log_off(&self.alone, &address).then_some(())
            });
            assert_eq!(self.alone.user_at(&address), None, "{address}");
            // Another member may be ahead of the witness.
            wait_at_most(OVER_WITHIN, "the guest to be gone", || {
                self.witness.user_at(&address).is_none().then_some(())
            });
            turn.counts.note(what.to_owned(), begun.elapsed());
            // A log-off that is still to come would end this one.
            if is_done && guests.is_multiple_of(2) {
                // Of what is of the same millisecond, the operator's word counts.
                std::thread::sleep(Duration::from_millis(5));
                feeder.say(&logon(guests, &format!("next{guests}"), &address));
            }
            guests += 1;
        }
        guests
    }
}

/// Whether a member has done it.
fn log_off(member: &Control, address: &str) -> bool {
    let answer = member.ask(&json!({"request": "log-off", "who": address}));
    answer.is_some_and(|answer| answer["ended"].is_array())
}
