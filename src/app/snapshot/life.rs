//! What version 2 of the snapshot added: sessions in doubt, and why the last one ended at an address.
//!
//! It stands behind the content of version 1, so that both are read by the same rows.

use serde::{Deserialize, Serialize};

use super::{SnapshotError, damaged};
use crate::identity::outcome::EndReason;
use crate::identity::state::{AddressState, State};
use crate::identity::time::UtcMillis;
use crate::identity::view::LastEnded;

/// What version 2 added, by the place of the address.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Life {
    doubts: Vec<(u32, i64)>,
    ended: Vec<(u32, EndRow)>,
}

#[derive(Serialize, Deserialize)]
struct EndRow {
    user: String,
    at: i64,
    /// The word; `displaced` if somebody else was seen.
    reason: String,
    by: String,
}

impl From<&State> for Life {
    fn from(state: &State) -> Self {
        let addresses = || (0u32..).zip(&state.addresses);
        Self {
            doubts: addresses()
                .filter_map(|(place, address)| Some((place, address.doubted_since?.0)))
                .collect(),
            ended: addresses()
                .filter_map(|(place, address)| {
                    let ended = address.last_ended.as_ref()?;
                    let row = EndRow {
                        user: ended.user.to_string(),
                        at: ended.at.0,
                        reason: ended.word().to_owned(),
                        by: ended.by.to_string(),
                    };
                    Some((place, row))
                })
                .collect(),
        }
    }
}

impl Life {
    pub(super) fn into_addresses(
        self,
        addresses: &mut [AddressState],
    ) -> Result<(), SnapshotError> {
        let nowhere = || damaged("an address");
        for (place, since) in self.doubts {
            let address = addresses.get_mut(place as usize).ok_or_else(nowhere)?;
            address.doubted_since = Some(UtcMillis(since));
        }
        for (place, row) in self.ended {
            let address = addresses.get_mut(place as usize).ok_or_else(nowhere)?;
            let reason = match row.reason.as_str() {
                "displaced" => None,
                word => Some(EndReason::from_word(word).ok_or_else(|| damaged("a reason"))?),
            };
            address.last_ended = Some(LastEnded {
                user: row.user.into(),
                at: UtcMillis(row.at),
                reason,
                by: row.by.into(),
            });
        }
        Ok(())
    }
}
