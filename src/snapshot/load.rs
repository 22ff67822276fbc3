//! Which segments of a folder count, and the table that they hold.

use std::path::{Path, PathBuf};

use super::segment::{self, Care, Extent};
use super::{Contents, SnapshotError, gather};

/// What was found in a folder.
#[derive(Debug)]
pub(super) struct Found {
    /// `None`: there is no table.
    pub(super) contents: Option<Contents>,
    /// The segments that make it up, rising.
    pub(super) chain: Vec<Link>,
    /// What lies behind the table and does not count.
    pub(super) dropped: Dropped,
    /// The highest number of any segment.
    pub(super) highest: u64,
    /// Segments that do not count.
    pub(super) stale: Vec<PathBuf>,
}

/// What lies behind the table and does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How much: what was being written when the process ended, or damage.
    pub bytes: u64,
    /// It is damage.
    pub is_damage: bool,
}

/// A segment that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Where its last table ends: rows behind do not count.
    pub(super) end: u64,
    /// Where the one behind says that it ends: of a folded segment the end of the one that it stands for.
    pub(super) stands_for: u64,
    /// It has no key twice, and no row that says that a key is no more.
    pub(super) is_folded: bool,
}

/// Reads the table of a folder.
pub(super) fn load(folder: &Path) -> Result<Found, SnapshotError> {
    match load_with(folder, Care::Little) {
        // What is damaged may lie behind a table that counts.
        Err(SnapshotError::Content { .. } | SnapshotError::Gap { .. }) => {
            load_with(folder, Care::All)
        }
        done => done,
    }
}

fn load_with(folder: &Path, care: Care) -> Result<Found, SnapshotError> {
    let numbers = segment::list(folder)?;
    let (chain, dropped) = chain(folder, &numbers, care)?;
    let contents = if chain.is_empty() {
        None
    } else {
        Some(gather::gather(&chain)?)
    };
    let counts = |number: &u64| chain.iter().any(|link| link.number == *number);
    let stale = numbers.iter().filter(|number| !counts(number));
    Ok(Found {
        contents,
        dropped,
        highest: numbers.last().copied().unwrap_or(0),
        stale: stale.map(|number| segment::path(folder, *number)).collect(),
        chain,
    })
}

/// The segments from the last fresh one that has a table, each going on where the table before ends.
fn chain(
    folder: &Path,
    numbers: &[u64],
    care: Care,
) -> Result<(Vec<Link>, Dropped), SnapshotError> {
    let mut chain: Vec<Link> = Vec::new();
    let mut dropped = Dropped::default();
    for &number in numbers {
        let path = segment::path(folder, number);
        let extent = match segment::look(&path, care) {
            Ok(extent) => extent,
            Err(SnapshotError::Begun) => continue,
            Err(error) => return Err(error),
        };
        let Extent {
            header,
            table_end: Some(end),
            size,
            is_damaged,
        } = extent
        else {
            dropped.bytes += extent.size;
            dropped.is_damage |= extent.is_damaged;
            continue;
        };
        dropped = Dropped {
            bytes: size - end,
            is_damage: is_damaged,
        };
        if header.fresh {
            chain.clear();
        } else if chain.last().map(|before| before.stands_for) != Some(header.mark) {
            return Err(SnapshotError::Gap { number });
        }
        let is_folded = header.fresh && header.mark > 0;
        let stands_for = if is_folded { header.mark } else { end };
        chain.push(Link {
            number,
            path,
            end,
            stands_for,
            is_folded,
        });
    }
    Ok((chain, dropped))
}
