//! The names of producers, by number, with what each may speak for.
//!
//! A fact keeps two bytes instead of a name. Numbers are given once and kept: configuration bounds how many there are.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::event::ProducerName;
use super::session::ProducerId;

/// Names of producers.
#[derive(Debug, Default)]
pub(super) struct Producers {
    names: Vec<ProducerName>,
    numbers: HashMap<ProducerName, ProducerId>,
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
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
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
