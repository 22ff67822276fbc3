//! Forced probes: a firewall that asks for an address may want the computer asked first.
//!
//! The answer waits at most three seconds, and each point may force so many in a second; beyond, and where nobody can be
//! asked, the answer is what is known (rule 29). Who may be asked at all is decided by who probes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::identity::time::UtcMillis;
use crate::runtime::probing::Probing;

/// The longest that an answer waits for a probe; firewalls give up soon after.
const WAIT: Duration = Duration::from_secs(3);
/// Probes that one point may force in a second: users that come up behind one firewall.
const PER_SECOND: u32 = 20;
/// Points remembered; one that went away makes room.
const MAX_POINTS: usize = 4096;

/// What points may force.
#[derive(Debug, Default)]
pub(super) struct Forced {
    probing: Probing,
    /// For each point the second and what it has forced in it.
    spent: Mutex<HashMap<Arc<str>, (i64, u32)>>,
}

impl Forced {
    pub(super) fn new(probing: Probing) -> Self {
        Self {
            probing,
            spent: Mutex::default(),
        }
    }

    /// Has the computer asked, if it can be, and waits for what comes of it.
    pub(super) async fn probe(&self, point: &Arc<str>, address: IpAddr, now: UtcMillis) {
        if !self.spend(point, now) {
            tracing::debug!(%point, "it forces too many probes; answered without");
            return;
        }
        match tokio::time::timeout(WAIT, self.probing.ask(address, None)).await {
            Ok(Ok(probed)) => tracing::debug!(%point, answer = ?probed.answer, "probed"),
            Ok(Err(not_asked)) => tracing::debug!(%point, %not_asked, "answered without a probe"),
            Err(_) => tracing::debug!(%point, "answered before the probe was over"),
        }
    }

    fn spend(&self, point: &Arc<str>, now: UtcMillis) -> bool {
        let second = now.unix_seconds();
        let mut spent = self.spent.lock();
        if spent.len() >= MAX_POINTS && !spent.contains_key(point) {
            spent.retain(|_, (last, _)| *last == second);
        }
        let (last, count) = spent.entry(Arc::clone(point)).or_default();
        if *last != second {
            (*last, *count) = (second, 0);
        }
        *count = count.saturating_add(1);
        *count <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_29_each_point_forces_so_many_in_a_second() {
        let (forced, now) = (Forced::default(), UtcMillis(1_770_000_000_000));
        let (one, other): (Arc<str>, Arc<str>) = ("srx-1".into(), "srx-2".into());
        let allowed = (0..100).filter(|_| forced.spend(&one, now)).count();
        assert_eq!(allowed, PER_SECOND as usize);
        assert!(forced.spend(&other, now));
        assert!(forced.spend(&one, now.after(Duration::from_secs(1))));
    }

    #[tokio::test]
    async fn nobody_waits_where_nobody_probes_nor_longer_than_allowed() {
        let forced = Forced::default();
        let (point, now): (Arc<str>, _) = ("srx".into(), UtcMillis(0));
        let address = IpAddr::from([10, 0, 0, 1]);
        forced.probe(&point, address, now).await;
        let probing = Probing::default();
        let questions = probing.open();
        let forced = Forced::new(probing);
        let probe = tokio::time::timeout(WAIT * 10, forced.probe(&point, address, now));
        assert!(probe.await.is_ok(), "given up although nobody answers");
        drop(questions);
    }
}
