//! Where a push goes on: the Server's position against what the feed still knows. Pure.
//!
//! A Server at a position has everything as it was then or later. What it may miss is a key that changed behind its
//! position and was then forgotten; the feed's floor is the last such change, so a position under it begins anew. Within
//! a pass from the beginning nothing that was forgotten before the pass *began* can have been told in it, so until it is
//! complete a position knows as much as the feed where the pass began, as in `enforcement/cookie`.

use crate::identity::Core;
use crate::identity::view::Seq;
use crate::push::shape::Position;

/// What the feed says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Feed {
    /// Its life.
    pub(super) epoch: String,
    /// The last change that was forgotten.
    pub(super) floor: Seq,
    /// The last change.
    pub(super) last: Seq,
}

impl From<&Core> for Feed {
    fn from(core: &Core) -> Self {
        Self {
            epoch: format!("{:016x}", core.epoch().0),
            floor: core.feed_floor(),
            last: core.feed_last(),
        }
    }
}

/// Where a Server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Everything up to here was told.
    pub(super) position: Seq,
    /// Of a pass from the beginning that is under way: the feed's last change when it began.
    pub(super) begun: Option<Seq>,
}

/// From where the next push goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Everything after this is told.
    pub(super) place: Place,
    /// A pass from the beginning begins.
    pub(super) begins: bool,
}

impl Place {
    /// Whether the feed still knows everything that a Server there has not heard.
    fn is_known(self, feed: &Feed) -> bool {
        let knows = self
            .begun
            .map_or(self.position, |begun| begun.max(self.position));
        self.position <= feed.last && knows <= feed.last && knows >= feed.floor
    }
}

impl Feed {
    /// A pass from the beginning.
    fn begin(&self) -> Start {
        Start {
            place: Place {
                position: Seq(0),
                begun: Some(self.last),
            },
            begins: true,
        }
    }

    /// Where to go on from a place; `None`: from the beginning.
    pub(super) fn start(&self, place: Option<Place>) -> Start {
        match place.filter(|place| place.is_known(self)) {
            Some(place) => Start {
                place,
                begins: false,
            },
            None => self.begin(),
        }
    }

    /// The place that a Server says it stands at, while a pass that began at `begun` is under way or none is.
    pub(super) fn place(&self, accepted: Option<&Position>, begun: Option<Seq>) -> Option<Place> {
        let own = accepted.filter(|position| position.epoch == self.epoch)?;
        let place = Place {
            position: Seq(own.position),
            begun,
        };
        Some(place).filter(|place| place.is_known(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(floor: u64, last: u64) -> Feed {
        Feed {
            epoch: "e1".into(),
            floor: Seq(floor),
            last: Seq(last),
        }
    }

    fn at(position: u64, begun: Option<u64>) -> Option<Place> {
        Some(Place {
            position: Seq(position),
            begun: begun.map(Seq),
        })
    }

    fn said(epoch: &str, position: u64) -> Position {
        Position {
            epoch: epoch.into(),
            position,
        }
    }

    #[test]
    fn a_known_place_goes_on_and_any_other_begins_anew() {
        let feed = feed(10, 50);
        assert_eq!(
            feed.start(at(40, None)).place,
            at(40, None).expect("a place")
        );
        for lost in [
            None,
            at(9, None),
            at(51, None),
            at(3, Some(9)),
            at(3, Some(51)),
        ] {
            let start = feed.start(lost);
            assert!(start.begins, "{lost:?}");
            assert_eq!(Some(start.place), at(0, Some(50)), "{lost:?}");
        }
    }

    #[test]
    fn within_a_pass_the_floor_counts_from_where_the_pass_began() {
        let start = feed(10, 50).start(at(3, Some(10)));
        assert!(!start.begins && start.place.position == Seq(3));
        assert!(
            !feed(10, 50).start(at(12, Some(9))).begins,
            "beyond where it began"
        );
    }

    #[test]
    fn a_servers_position_counts_in_its_own_epoch() {
        let feed = feed(10, 50);
        assert_eq!(feed.place(Some(&said("e1", 40)), None), at(40, None));
        assert_eq!(
            feed.place(Some(&said("e1", 3)), Some(Seq(20))),
            at(3, Some(20))
        );
        for lost in [
            None,
            Some(said("e0", 40)),
            Some(said("e1", 9)),
            Some(said("e1", 51)),
        ] {
            assert_eq!(feed.place(lost.as_ref(), None), None, "{lost:?}");
        }
    }

    #[test]
    fn an_empty_feed_is_told_once() {
        let feed = feed(0, 0);
        assert!(feed.start(None).begins);
        assert!(!feed.start(at(0, None)).begins);
    }
}
