//! One subnet of the schedule: who waits there, how many run, and whether one may start.
//!
//! Only its own affairs: the limit of all probes, quiet hours and turns are the schedule's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::breaker::Breaker;
use super::schedule::Why;
use crate::identity::time::UtcMillis;

/// Addresses by a time.
pub(super) type Queue = BTreeSet<(UtcMillis, IpAddr)>;

/// One subnet.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    /// By [`Why`].
    pub(super) queues: [Queue; 2],
    /// Probes that run.
    pub(super) running: usize,
    pub(super) breaker: Breaker,
    /// Its turn in the order of those in which one may start, if it stands there.
    pub(super) turns: [Option<u64>; 2],
    /// Its time in the order of trials, if it stands there.
    pub(super) trial: Option<UtcMillis>,
    /// Its time in the order of forgetting, if it stands there.
    pub(super) idle: Option<UtcMillis>,
}

impl Network {
    /// How many stand in its queues.
    pub(super) fn waiting(&self) -> usize {
        self.queues.iter().map(BTreeSet::len).sum()
    }

    /// Whether one that is wanted for this reason may start, the limit of all aside.
    pub(super) fn is_ready(&self, why: Why, per_subnet: usize, now: UtcMillis) -> bool {
        if self.queues[why as usize].is_empty() {
            return false;
        }
        if !self.breaker.is_open() {
            return self.running < per_subnet;
        }
        let in_time = match why {
            Why::Forced => true,
            Why::Doubted => !self.breaker.between_trials(now),
        };
        self.running == 0 && in_time
    }

    /// Whether one that is wanted for this reason is told that the network is silent.
    pub(super) fn gives_up(&self, why: Why, now: UtcMillis) -> bool {
        let in_vain = match why {
            Why::Forced => self.running > 0,
            Why::Doubted => true,
        };
        in_vain && !self.queues[why as usize].is_empty() && self.breaker.is_sure(now)
    }
}

/// The /24 or /64 of an address.
pub(super) fn network_of(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(v4) => Ipv4Net::new_assert(v4, 24).trunc().into(),
        IpAddr::V6(v6) => Ipv6Net::new_assert(v6, 64).trunc().into(),
    }
}
