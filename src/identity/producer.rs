//! The names of producers, by number, and whose they are: this process's own, or a Collector's that tells us.
//!
//! A fact keeps two bytes instead of a name. Numbers are given once and kept: configuration bounds how many there are,
//! and [`MAX_OF_COLLECTOR`] how many a Collector may bring.

use std::cmp::Ordering;
use std::sync::Arc;

use compact_str::CompactString;

use super::collector::CollectorName;
use super::event::ProducerName;
use super::map::Map;
use super::session::ProducerId;
use super::time::UtcMillis;

/// Stands between a Collector's name and its producer's; no configured name holds it.
const SEPARATOR: char = '/';

/// Most producers of one Collector that are told apart.
pub(super) const MAX_OF_COLLECTOR: usize = 256;

/// The producer that stands for all of a Collector beyond [`MAX_OF_COLLECTOR`].
const OTHERS: &str = "others";

/// Number of a Collector; of this process itself [`OWN`].
pub(super) type Origin = u16;

/// What this process heard itself.
pub(super) const OWN: Origin = 0;

/// A Collector that tells us.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) name: CollectorName,
    /// Since when it is not heard; `None`: it is.
    pub(super) disconnected_since: Option<UtcMillis>,
    /// Numbers of its producers, by the names that it gives them.
    producers: Map<CompactString, ProducerId>,
}

/// Names of producers.
#[derive(Debug, Default)]
pub(super) struct Producers {
    names: Vec<ProducerName>,
    origins: Vec<Origin>,
    numbers: Map<ProducerName, ProducerId>,
    /// By origin, from 1.
    tellers: Vec<Teller>,
}

impl Producers {
    /// The number of a name. Should there ever be more than fit, the last number stands for all others.
    pub(super) fn number(&mut self, name: &ProducerName) -> ProducerId {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let Ok(number) = ProducerId::try_from(self.names.len()) else {
            return ProducerId::MAX;
        };
        let origin = match name.split_once(SEPARATOR) {
            Some((collector, producer)) => {
                let origin = self.origin_of(&Arc::from(collector));
                let teller = &mut self.tellers[usize::from(origin) - 1];
                teller.producers.insert(producer.into(), number);
                origin
            }
            None => OWN,
        };
        self.names.push(name.clone());
        self.origins.push(origin);
        self.numbers.insert(name.clone(), number);
        number
    }

    /// The number of a Collector's producer.
    pub(super) fn number_of(&mut self, collector: Origin, producer: &str) -> ProducerId {
        let teller = &self.tellers[usize::from(collector) - 1];
        if let Some(&number) = teller.producers.get(producer) {
            return number;
        }
        let producer = if teller.producers.len() < MAX_OF_COLLECTOR {
            producer
        } else {
            OTHERS
        };
        let name = format!("{}{SEPARATOR}{producer}", teller.name);
        self.number(&Arc::from(name))
    }

    /// The number of a Collector, made on the spot.
    pub(super) fn origin_of(&mut self, collector: &CollectorName) -> Origin {
        if let Some(origin) = self.origin(collector) {
            return origin;
        }
        self.tellers.push(Teller {
            name: collector.clone(),
            disconnected_since: None,
            producers: Map::default(),
        });
        // Every Collector was onboarded by an operator.
        u16::try_from(self.tellers.len()).unwrap_or(Origin::MAX)
    }

    /// The number of a Collector that has told something.
    pub(super) fn origin(&self, collector: &str) -> Option<Origin> {
        let place = self.tellers.iter().position(|t| *t.name == *collector)?;
        u16::try_from(place + 1).ok()
    }

    /// Whose a producer is.
    pub(super) fn origin_of_producer(&self, number: ProducerId) -> Origin {
        self.origins[usize::from(number)]
    }

    /// Whether a producer is this process's own.
    pub(super) fn is_own(&self, number: ProducerId) -> bool {
        self.origin_of_producer(number) == OWN
    }

    /// The Collector whose a producer is.
    pub(super) fn teller(&self, number: ProducerId) -> Option<&Teller> {
        let origin = usize::from(self.origin_of_producer(number));
        self.tellers.get(origin.checked_sub(1)?)
    }

    /// Every Collector that has told something.
    pub(super) fn tellers(&self) -> &[Teller] {
        &self.tellers
    }

    /// Sets since when a Collector is not heard; whether that changed.
    pub(super) fn set_standing(
        &mut self,
        collector: &CollectorName,
        disconnected_since: Option<UtcMillis>,
    ) -> bool {
        let origin = usize::from(self.origin_of(collector));
        let teller = &mut self.tellers[origin - 1];
        let before = std::mem::replace(&mut teller.disconnected_since, disconnected_since);
        before != disconnected_since
    }

    /// The name of a number.
    pub(super) fn name(&self, number: ProducerId) -> &ProducerName {
        &self.names[usize::from(number)]
    }

    /// All names in order of their numbers.
    pub(super) fn names(&self) -> &[ProducerName] {
        &self.names
    }

    /// Order of two producers by name.
    pub(super) fn compare(&self, a: ProducerId, b: ProducerId) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        self.name(a).cmp(self.name(b))
    }
}

/// The Collector in the name of a producer or directory.
pub(super) fn collector_of(name: &str) -> Option<&str> {
    Some(name.split_once(SEPARATOR)?.0)
}
