//! Things the operator should know that no running task reports: a snapshot set aside, a reload refused.

use parking_lot::Mutex;

use crate::control::protocol::{Attention, timestamp};
use crate::runtime::clock;

/// How many notices are kept; the oldest make room.
const MAX_NOTICES: usize = 32;

/// The notices of a process, each under a subject so that it can be replaced or taken back.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Vec<(&'static str, Attention)>>);

impl Notices {
    /// Puts up a notice; replaces the one of the same subject.
    pub(super) fn put(&self, subject: &'static str, what: String, remedy: String) {
        let mut all = self.0.lock();
        all.retain(|(other, _)| *other != subject);
        if all.len() >= MAX_NOTICES {
            all.remove(0);
        }
        all.push((
            subject,
            Attention {
                what,
                remedy,
                since: Some(timestamp(clock::utc_now())),
            },
        ));
    }

    /// Takes a subject's notice back.
    pub(super) fn clear(&self, subject: &'static str) {
        self.0.lock().retain(|(other, _)| *other != subject);
    }

    /// All notices, the oldest first.
    pub(super) fn read(&self) -> Vec<Attention> {
        self.0
            .lock()
            .iter()
            .map(|(_, notice)| notice.clone())
            .collect()
    }
}
