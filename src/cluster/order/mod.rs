//! What of the stream counts: pure, and the same in every member.
//!
//! The rules need some memory: how far the stream was applied, the last number of each member's life, the highest token of
//! each lease, the policy. It lies among the table's bookmarks and so moves with the table in one step, on disk as well;
//! what is here is the copy that is looked at.

use std::collections::BTreeMap;

use bytes::Bytes;
use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

use super::shape::{self, Body, Frame, PolicyShape, ShapeError};
use crate::identity::Core;
use crate::identity::state::State;
use crate::identity::time::UtcMillis;

/// Where the stream's position is kept.
const POSITION: &str = "cluster/stream";

/// Where the policy is kept.
const POLICY: &str = "cluster/policy";

/// Before a member's name.
const MEMBER: &str = "cluster/member/";

/// Before a lease's name.
const FENCE: &str = "cluster/fence/";

/// Bookmarks to be kept with what a message changed.
pub type Keep = Vec<(CompactString, Box<[u8]>)>;

/// A member's life, and how far it was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Life {
    /// Rises from start to start.
    pub life: u64,
    /// Its last number that counts.
    pub number: u64,
}

/// How far the stream was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The last message.
    applied: u64,
    /// Where whoever goes on has to begin, to have all pieces of what is not complete.
    from: u64,
    /// Which message that was: a stream that lost its end may give its number to another.
    digest: u64,
}

/// What was said before and still counts.
#[derive(Clone, Debug, Default)]
pub struct Order {
    position: Position,
    members: BTreeMap<String, Life>,
    fences: BTreeMap<String, u64>,
    policy: Option<PolicyShape>,
    /// By member: what has not all come.
    partial: BTreeMap<String, Partial>,
}

/// Pieces of one content.
#[derive(Clone, Debug)]
struct Partial {
    life: u64,
    /// Number of the first.
    number: u64,
    /// Where the first stands in the stream.
    seq: u64,
    pieces: Vec<Bytes>,
}

/// What to do with a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Who says it; `None`: it counts for nothing.
    pub author: Option<Author>,
    /// What to apply, in this order and in one step.
    pub bodies: Vec<Said>,
    /// To be kept in the same step.
    pub keep: Keep,
}

/// Which message of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The member.
    pub member: String,
    /// Its life.
    pub life: u64,
    /// The message's number.
    pub number: u64,
    /// Why it does not count.
    pub refused: Option<Refused>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It counts.
    Body(Box<Body>),
    /// Its author no longer held the lease.
    Fenced,
}

/// Why a message does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was heard before.
    Repeated,
    /// Something before it was lost; its author sends that, and this, again.
    Gap,
    /// A later life of the member has begun.
    Superseded,
}

impl Order {
    /// What the table remembers.
    #[must_use]
    pub fn of(core: &Core) -> Self {
        let read = |key: &str| core.bookmark(key);
        let mut order = Self {
            position: read(POSITION).and_then(unpack).unwrap_or_default(),
            policy: read(POLICY).and_then(|bytes| PolicyShape::decode(bytes).ok()),
            ..Self::default()
        };
        for (key, value) in core.bookmarks_below(MEMBER) {
            if let Some(life) = unpack(value) {
                order.members.insert(key.to_owned(), life);
            }
        }
        for (key, value) in core.bookmarks_below(FENCE) {
            if let Some(token) = unpack(value) {
                order.fences.insert(key.to_owned(), token);
            }
        }
        order
    }

    /// The policy that a table obeyed.
    #[must_use]
    pub fn policy_in(state: &State) -> Option<PolicyShape> {
        let mut bookmarks = state.bookmarks.iter();
        let (_, bytes) = bookmarks.find(|(key, _)| key == POLICY)?;
        PolicyShape::decode(bytes).ok()
    }

    /// Whether a table is one of a stream.
    #[must_use]
    pub fn is_in(state: &State) -> bool {
        state.bookmarks.iter().any(|(key, _)| key == POSITION)
    }

    /// A table of nothing, before the stream's message after `seq`.
    #[must_use]
    pub fn position_at(seq: u64) -> (CompactString, Box<[u8]>) {
        let position = Position {
            applied: seq,
            from: seq + 1,
            digest: 0,
        };
        (POSITION.into(), pack(&position))
    }

    /// The last message that was applied; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.position.applied
    }

    /// The same of a table, without all else that it remembers.
    #[must_use]
    pub fn position(core: &Core) -> u64 {
        let position: Option<Position> = core.bookmark(POSITION).and_then(unpack);
        position.unwrap_or_default().applied
    }

    /// Where following begins: what is not behind [`Order::applied`] is only looked at, and the last of it is compared.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.position.from.min(self.position.applied).max(1)
    }

    /// The first message that is needed to go on.
    #[must_use]
    pub fn needs(&self) -> u64 {
        self.position.from.max(1)
    }

    /// Whether a message is the one that was applied at its place, as far as that is known.
    #[must_use]
    pub fn is_as_applied(&self, seq: u64, at: UtcMillis, payload: &Bytes) -> bool {
        seq != self.position.applied || digest(at, payload) == self.position.digest
    }

    /// The policy that all obey, if one was published.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyShape> {
        self.policy.as_ref()
    }

    /// How far a member was heard.
    #[must_use]
    pub fn life(&self, member: &str) -> Life {
        self.members.get(member).copied().unwrap_or_default()
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// A newer jims wrote it: it counts, and we do not know for what.
    pub fn take(&mut self, seq: u64, at: UtcMillis, payload: &Bytes) -> Result<Taken, ShapeError> {
        let mark = digest(at, payload);
        let frame = match Frame::decode(payload) {
            Ok(frame) => frame,
            Err(newer @ ShapeError::Newer { .. }) => return Err(newer),
            Err(malformed) => {
                tracing::error!(
                    seq,
                    "a message of the stream counts for nothing: {malformed}"
                );
                return Ok(self.nothing(seq, mark));
            }
        };
        if seq <= self.position.applied {
            // Again, for its pieces alone; those that did not count then are not among them.
            let heard = self.life(&frame.member);
            if frame.life == heard.life && frame.number <= heard.number {
                let _complete = self.gather(seq, &frame);
            }
            return Ok(Taken::default());
        }
        let life = self.life(&frame.member);
        let refused = refused(life, &frame);
        let author = Author {
            member: frame.member.clone(),
            life: frame.life,
            number: frame.number,
            refused,
        };
        if refused.is_some() {
            return Ok(Taken {
                author: Some(author),
                ..self.nothing(seq, mark)
            });
        }
        let content = self.gather(seq, &frame);
        let heard = Life {
            life: frame.life,
            number: frame.number,
        };
        let key = format_compact!("{MEMBER}{}", frame.member);
        let mut keep = vec![(key, pack(&heard))];
        self.members.insert(frame.member, heard);
        let mut bodies = Vec::new();
        if let Some(content) = content {
            bodies = self.parts(seq, &content, &mut keep)?;
        }
        keep.push(self.move_to(seq, mark));
        Ok(Taken {
            author: Some(author),
            bodies,
            keep,
        })
    }

    fn nothing(&mut self, seq: u64, digest: u64) -> Taken {
        if seq <= self.position.applied {
            return Taken::default();
        }
        Taken {
            keep: vec![self.move_to(seq, digest)],
            ..Taken::default()
        }
    }

    fn move_to(&mut self, seq: u64, digest: u64) -> (CompactString, Box<[u8]>) {
        let oldest = self.partial.values().map(|partial| partial.seq).min();
        self.position = Position {
            applied: seq,
            from: oldest.unwrap_or(seq + 1),
            digest,
        };
        (POSITION.into(), pack(&self.position))
    }

    fn parts(
        &mut self,
        seq: u64,
        content: &[u8],
        keep: &mut Keep,
    ) -> Result<Vec<Said>, ShapeError> {
        let parts = match shape::decode(content) {
            Ok(parts) => parts,
            Err(newer @ ShapeError::Newer { .. }) => return Err(newer),
            Err(malformed) => {
                tracing::error!(
                    seq,
                    "a message of the stream counts for nothing: {malformed}"
                );
                return Ok(Vec::new());
            }
        };
        let mut bodies = Vec::with_capacity(parts.len());
        for part in parts {
            if let Some(fence) = part.fence {
                let highest = self.fences.get(&fence.lease).copied().unwrap_or_default();
                if fence.token < highest {
                    bodies.push(Said::Fenced);
                    continue;
                }
                if fence.token > highest {
                    let key = format_compact!("{FENCE}{}", fence.lease);
                    keep.push((key, pack(&fence.token)));
                    self.fences.insert(fence.lease, fence.token);
                }
            }
            if let Body::Policy(policy) = &part.body {
                keep.push((POLICY.into(), policy.encode().into()));
                self.policy = Some((**policy).clone());
            }
            bodies.push(Said::Body(Box::new(part.body)));
        }
        Ok(bodies)
    }

    /// Adds a piece; the content, if that was the last.
    fn gather(&mut self, seq: u64, frame: &Frame) -> Option<Bytes> {
        if frame.of == 1 {
            self.partial.remove(&frame.member);
            return Some(frame.bytes.clone());
        }
        let number = frame.number.checked_sub(u64::from(frame.piece))?;
        let begun = (self.partial.get(&frame.member))
            .is_some_and(|partial| (partial.life, partial.number) >= (frame.life, number));
        if !begun && frame.piece == 0 {
            let partial = Partial {
                life: frame.life,
                number,
                seq,
                pieces: Vec::new(),
            };
            self.partial.insert(frame.member.clone(), partial);
        }
        let partial = self.partial.get_mut(&frame.member)?;
        let fits = (partial.life, partial.number) == (frame.life, number)
            && partial.pieces.len() == frame.piece as usize;
        if fits {
            partial.pieces.push(frame.bytes.clone());
        }
        if partial.pieces.len() < frame.of as usize {
            return None;
        }
        let whole = self.partial.remove(&frame.member)?;
        Some(whole.pieces.concat().into())
    }
}

/// What tells a message from any other that may come to its place.
fn digest(at: UtcMillis, payload: &Bytes) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&at.0.to_be_bytes());
    hash.update(payload);
    u64::from(hash.finalize())
}

/// Whether a message counts, by its number alone.
fn refused(heard: Life, frame: &Frame) -> Option<Refused> {
    if frame.life < heard.life {
        return Some(Refused::Superseded);
    }
    let next = if frame.life > heard.life {
        1
    } else {
        heard.number + 1
    };
    match frame.number.cmp(&next) {
        std::cmp::Ordering::Less => Some(Refused::Repeated),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Refused::Gap),
    }
}

fn pack(value: &impl Serialize) -> Box<[u8]> {
    postcard::to_stdvec(value).unwrap_or_default().into()
}

fn unpack<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests;
