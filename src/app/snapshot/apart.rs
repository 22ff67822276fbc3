//! What version 3 of the snapshot added: Collectors that told something, and the order for those who are told everything.

use serde::{Deserialize, Serialize};

use super::{Bytes16, SnapshotError, damaged};
use crate::identity::directory::ObjectId;
use crate::identity::state::{FeedState, GoneState, State};
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;

/// What version 3 added.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Apart {
    /// (Collector, not heard since)
    collectors: Vec<(String, Option<i64>)>,
    /// (directory of a Collector, domain)
    told_domains: Vec<(String, String)>,
    feed: Option<FeedRow>,
}

#[derive(Serialize, Deserialize)]
struct FeedRow {
    last: u64,
    floor: u64,
    /// (place of the address, position)
    addresses: Vec<(u32, u64)>,
    /// (place of the object, position)
    objects: Vec<(u32, u64)>,
    /// (directory, position)
    domains: Vec<(String, u64)>,
    /// (position, directory, domain, object)
    gone: Vec<(u64, String, String, Bytes16)>,
}

impl From<&State> for Apart {
    fn from(state: &State) -> Self {
        let collectors = state.collectors.iter();
        let told = state.told_domains.iter();
        Self {
            collectors: collectors
                .map(|(name, since)| (name.to_string(), since.map(|at| at.0)))
                .collect(),
            told_domains: told
                .map(|(directory, domain)| (directory.to_string(), domain.to_string()))
                .collect(),
            feed: state.feed.as_ref().map(|feed| FeedRow::of(feed, state)),
        }
    }
}

impl FeedRow {
    fn of(feed: &FeedState, state: &State) -> Self {
        let addresses = (0u32..).zip(&state.addresses);
        let objects = (0u32..).zip(&state.objects);
        Self {
            last: feed.last.0,
            floor: feed.floor.0,
            addresses: addresses
                .filter(|(_, address)| address.told > Seq(0))
                .map(|(place, address)| (place, address.told.0))
                .collect(),
            objects: objects
                .filter(|(_, object)| object.told > Seq(0))
                .map(|(place, object)| (place, object.told.0))
                .collect(),
            domains: (feed.domains.iter())
                .map(|(directory, seq)| (directory.to_string(), seq.0))
                .collect(),
            gone: (feed.gone.iter())
                .map(|lost| {
                    let (directory, domain) = (lost.directory.to_string(), lost.domain.to_string());
                    (lost.seq.0, directory, domain, lost.id.0)
                })
                .collect(),
        }
    }
}

impl Apart {
    pub(super) fn into_state(self, state: &mut State) -> Result<(), SnapshotError> {
        let collectors = self.collectors.into_iter();
        state.collectors = collectors
            .map(|(name, since)| (name.into(), since.map(UtcMillis)))
            .collect();
        let told = self.told_domains.into_iter();
        state.told_domains = told
            .map(|(directory, domain)| (directory.into(), domain.into()))
            .collect();
        let Some(feed) = self.feed else { return Ok(()) };
        for (place, seq) in feed.addresses {
            let address = state.addresses.get_mut(place as usize);
            address.ok_or_else(|| damaged("an address"))?.told = Seq(seq);
        }
        for (place, seq) in feed.objects {
            let object = state.objects.get_mut(place as usize);
            object.ok_or_else(|| damaged("an object"))?.told = Seq(seq);
        }
        state.feed = Some(FeedState {
            last: Seq(feed.last),
            floor: Seq(feed.floor),
            domains: (feed.domains.into_iter())
                .map(|(directory, seq)| (directory.into(), Seq(seq)))
                .collect(),
            gone: (feed.gone.into_iter())
                .map(|(seq, directory, domain, id)| GoneState {
                    seq: Seq(seq),
                    directory: directory.into(),
                    domain: domain.into(),
                    id: ObjectId(id),
                })
                .collect(),
        });
        Ok(())
    }
}
