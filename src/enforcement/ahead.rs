//! A cookie of a Server that is ahead: the answer waits until this one is there.
//!
//! Servers of one order give the same cookies, but not at the same moment: a firewall that turns to another may have been
//! told what that one has not applied yet. A full report instead would be right and large; an answer from where this Server
//! is would tell the firewall what it already knows to be old.

use std::time::Duration;

use super::cookie::{Cookie, Journal};
use crate::writer::Reader;

/// How long an answer waits: a Server lags by milliseconds, unless it is cut off.
const WAITS: Duration = Duration::from_secs(2);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Returns as soon as the table has come to where the cookie is, or is of another order; `false`: it has not in time.
pub(super) async fn caught_up(reader: &Reader, cookie: Option<&str>) -> bool {
    let Some(cookie) = cookie.and_then(Cookie::decode) else {
        return true;
    };
    let is_there = || {
        let journal = Journal::from(&*reader.read());
        let told = cookie.position.max(cookie.begun.unwrap_or_default());
        journal.epoch != cookie.epoch || told <= journal.last
    };
    let waiting = async {
        while !is_there() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(WAITS, waiting).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Core;
    use crate::identity::policy::Policy;
    use crate::identity::view::{Epoch, Seq};
    use parking_lot::RwLock;
    use std::sync::Arc;

    fn cookie(epoch: u64, position: u64) -> String {
        let cookie = Cookie {
            epoch: Epoch(epoch),
            position: Seq(position),
            begun: None,
            filter: 0,
            clearing: false,
        };
        cookie.encode()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_only_for_a_cookie_of_this_order() {
        let core = Core::new(Epoch(1), Policy::default());
        let reader = Reader::new(Arc::new(RwLock::new(core)));
        assert!(caught_up(&reader, None).await);
        assert!(caught_up(&reader, Some("of nobody")).await);
        assert!(caught_up(&reader, Some(&cookie(2, 9))).await);
        assert!(caught_up(&reader, Some(&cookie(1, 0))).await);
        assert!(!caught_up(&reader, Some(&cookie(1, 1))).await);
    }
}
