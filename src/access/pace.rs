//! How many requests an address may make: a bucket of tokens for each, refilled as time goes by.
//!
//! By address and not by client id, because it is judged before anything that was sent is looked at. An address from
//! which several clients call, behind one NAT for one, has as many times the room. Time is handed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Requests a second of one client. A firewall makes a batch query every 1 to 60 s, each of a few answers, and IP queries
/// over at most 20 connections while traffic of unknown addresses begins; this is several times as many.
const PER_SECOND: f64 = 100.0;
/// Requests at once: the first pass over 200,000 addresses at 1,000 an answer goes through without a pause.
const BURST: f64 = 200.0;
/// Addresses remembered; one that has its whole room again needs no memory.
const MAX_ADDRESSES: usize = 4096;

/// What the addresses have left.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    last: Instant,
}

impl Bucket {
    fn refilled(self, clients: f64, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        (self.left + passed * PER_SECOND * clients).min(BURST * clients)
    }
}

impl Pace {
    /// Takes one request of an address from which so many clients call.
    ///
    /// # Errors
    /// There is no room; when there will be.
    pub(super) fn take(
        &self,
        address: IpAddr,
        clients: usize,
        now: Instant,
    ) -> Result<(), Duration> {
        let clients = f64::from(u32::try_from(clients.max(1)).unwrap_or(u32::MAX));
        let mut all = self.0.lock();
        if all.len() >= MAX_ADDRESSES && !all.contains_key(&address) {
            make_room(&mut all, now);
        }
        let bucket = all.entry(address).or_insert(Bucket {
            left: BURST * clients,
            last: now,
        });
        bucket.left = bucket.refilled(clients, now);
        bucket.last = bucket.last.max(now);
        if bucket.left < 1.0 {
            let missing = (1.0 - bucket.left) / (PER_SECOND * clients);
            return Err(Duration::from_secs_f64(missing));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

/// Forgets who has all its room again; if nobody has, who asked longest ago.
fn make_room(all: &mut HashMap<IpAddr, Bucket>, now: Instant) {
    // One client's room: whoever has more of it never needed the rest.
    all.retain(|_, bucket| bucket.refilled(1.0, now) < BURST);
    if all.len() < MAX_ADDRESSES {
        return;
    }
    let oldest = all.iter().min_by_key(|(_, bucket)| bucket.last);
    if let Some(address) = oldest.map(|(address, _)| *address) {
        all.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(number: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + number).to_be_bytes())
    }

    fn taken(pace: &Pace, who: IpAddr, clients: usize, times: usize, now: Instant) -> usize {
        (0..times)
            .filter(|_| pace.take(who, clients, now).is_ok())
            .count()
    }

    #[test]
    fn a_burst_is_taken_then_so_many_a_second_and_others_are_not_touched() {
        let (pace, now) = (Pace::default(), crate::runtime::clock::monotonic_now());
        assert_eq!(taken(&pace, address(1), 1, 1000, now), 200);
        let wait = pace.take(address(1), 1, now).unwrap_err();
        assert!(wait <= Duration::from_millis(10), "{wait:?}");
        assert_eq!(taken(&pace, address(2), 1, 10, now), 10);
        assert_eq!(taken(&pace, address(1), 1, 1000, now + SECOND), 100);
        assert_eq!(taken(&pace, address(1), 1, 1000, now + 60 * SECOND), 200);
        assert_eq!(
            taken(&pace, address(1), 1, 10, now),
            0,
            "time does not go back"
        );
    }

    #[test]
    fn several_clients_behind_one_address_have_several_times_the_room() {
        let (pace, now) = (Pace::default(), crate::runtime::clock::monotonic_now());
        assert_eq!(taken(&pace, address(1), 5, 5000, now), 1000);
        assert_eq!(taken(&pace, address(1), 5, 5000, now + SECOND), 500);
    }

    #[test]
    fn memory_is_bounded() {
        let (pace, now) = (Pace::default(), crate::runtime::clock::monotonic_now());
        for number in 0..10_000 {
            assert!(pace.take(address(number), 1, now).is_ok());
        }
        assert!(pace.0.lock().len() <= MAX_ADDRESSES);
        let later = now + 10 * SECOND;
        assert!(pace.take(address(99_999), 1, later).is_ok());
        assert_eq!(pace.0.lock().len(), 1, "all others have their room again");
    }
}
