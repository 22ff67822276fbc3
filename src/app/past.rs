//! The history's answers in the words of the control socket: the two rooms do not know each other.

use crate::control::past::{Hole, Kept, PastWhom};
use crate::control::protocol::timestamp;
use crate::history::{self, Found, HoleKind, Whom};
use crate::identity::time::UtcMillis;

/// Whom the history looks for.
pub(super) fn whom(whom: PastWhom) -> Whom {
    match whom {
        PastWhom::At(address) => Whom::At(address),
        PastWhom::Named(names) => Whom::Named(names),
    }
}

/// What it found.
pub(super) fn kept(found: Found, on: bool) -> Kept {
    Kept {
        on,
        ended: found.ended,
        holes: found.holes.iter().map(hole).collect(),
        begins: found.begins,
        damaged: found.damaged,
        truncated: found.truncated,
        unfinished: found.unfinished,
    }
}

fn hole(hole: &history::Hole) -> Hole {
    let (why, lost) = match hole.why {
        HoleKind::Stopped => ("stopped", None),
        HoleKind::Crashed => ("crashed", None),
        HoleKind::Off => ("off", None),
        HoleKind::Lost(lost) => ("lost", Some(lost)),
    };
    Hole {
        from: (hole.from > UtcMillis(i64::MIN)).then(|| timestamp(hole.from)),
        until: (hole.until < UtcMillis(i64::MAX)).then(|| timestamp(hole.until)),
        why: why.to_owned(),
        lost,
    }
}
