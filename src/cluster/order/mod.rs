//! What of the stream counts: pure, and the same in every member.
//!
//! The rules need some memory: how far the stream was applied, the last number of each member's life, the highest token of
//! each lease, the policy, which lives had a table that was not the stream's. It lies among the table's bookmarks and so
//! moves with the table in one step, on disk as well; what is here is the copy that is looked at.

use std::collections::BTreeMap;

use bytes::Bytes;
use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::shape::{self, Body, Frame, PolicyShape, ShapeError};
use crate::identity::Core;
use crate::identity::state::State;
use crate::identity::view::Epoch;

/// Where the stream's position is kept.
const POSITION: &str = "cluster/stream";

/// Where the policy is kept.
const POLICY: &str = "cluster/policy";

/// Before a member's name.
const MEMBER: &str = "cluster/member/";

/// Before a lease's name.
const FENCE: &str = "cluster/fence/";

/// Before a member's name, for the last life of it whose table was not the stream's.
const DOUBTED: &str = "cluster/doubted/";

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

/// A place in the stream, and what tells it from the same place of another stream, or of this one if it lost its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The sequence of the message.
    pub seq: u64,
    /// Of all messages up to it.
    pub digest: Digest,
}

/// Of all messages up to one, by sequence and time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub u64);

impl Mark {
    /// After the next message.
    #[must_use]
    pub fn then(self, seq: u64, stamp: u64) -> Self {
        let mut hash = Sha256::new();
        for number in [self.digest.0, seq, stamp] {
            hash.update(number.to_be_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let first = digest.first_chunk().copied().unwrap_or_default();
        Self {
            seq,
            digest: Digest(u64::from_be_bytes(first)),
        }
    }
}

/// How far the stream was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Of which stream: [`Order::stream`].
    stream: u64,
    /// The last message.
    applied: Mark,
    /// When the stream took it.
    stamp: u64,
    /// Where whoever goes on has to begin, to have all pieces of what is not complete.
    from: u64,
}

/// What was said before and still counts.
#[derive(Clone, Debug, Default)]
pub struct Order {
    position: Position,
    members: BTreeMap<String, Life>,
    fences: BTreeMap<String, u64>,
    doubted: BTreeMap<String, u64>,
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
    /// It counts for nothing: its author no longer held the lease, or it was said before.
    Void,
    /// Cookies of before count no more: a Server may have given some that mean another place.
    Renew(Epoch),
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
        for (key, value) in core.bookmarks_below(DOUBTED) {
            if let Some(life) = unpack(value) {
                order.doubted.insert(key.to_owned(), life);
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

    /// What a table of nothing keeps, before the first message of a stream.
    #[must_use]
    pub fn beginning(stream: u64) -> (CompactString, Box<[u8]>) {
        let position = Position {
            stream,
            from: 1,
            ..Position::default()
        };
        (POSITION.into(), pack(&position))
    }

    /// Which stream it is; 0: of none yet.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.position.stream
    }

    /// The last message that was applied; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.position.applied.seq
    }

    /// The same, with what tells it from another.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.position.applied
    }

    /// Of which stream a table is, and how far; without all else that it remembers.
    #[must_use]
    pub fn place_of(core: &Core) -> (u64, Mark) {
        let position: Option<Position> = core.bookmark(POSITION).and_then(unpack);
        let position = position.unwrap_or_default();
        (position.stream, position.applied)
    }

    /// Where following begins: what is not behind [`Order::applied`] is only looked at, and the last of it is compared.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.position.from.min(self.applied()).max(1)
    }

    /// The first message that is needed to go on.
    #[must_use]
    pub fn needs(&self) -> u64 {
        self.position.from.max(1)
    }

    /// Whether a message is the one that was applied at its place, as far as that is known.
    #[must_use]
    pub fn is_as_applied(&self, seq: u64, stamp: u64) -> bool {
        seq != self.applied() || stamp == self.position.stamp
    }

    /// The last life of a member whose table was not the stream's; 0: there was none.
    #[must_use]
    pub fn doubted(&self, member: &str) -> u64 {
        self.doubted.get(member).copied().unwrap_or_default()
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
    pub fn take(&mut self, seq: u64, stamp: u64, payload: &Bytes) -> Result<Taken, ShapeError> {
        let frame = match Frame::decode(payload) {
            Ok(frame) => frame,
            Err(newer @ ShapeError::Newer { .. }) => return Err(newer),
            Err(malformed) => {
                tracing::error!(
                    seq,
                    "a message of the stream counts for nothing: {malformed}"
                );
                return Ok(self.nothing(seq, stamp));
            }
        };
        if seq <= self.applied() {
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
                ..self.nothing(seq, stamp)
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
        keep.push(self.move_to(seq, stamp));
        Ok(Taken {
            author: Some(author),
            bodies,
            keep,
        })
    }

    fn nothing(&mut self, seq: u64, stamp: u64) -> Taken {
        if seq <= self.applied() {
            return Taken::default();
        }
        Taken {
            keep: vec![self.move_to(seq, stamp)],
            ..Taken::default()
        }
    }

    fn move_to(&mut self, seq: u64, stamp: u64) -> (CompactString, Box<[u8]>) {
        let oldest = self.partial.values().map(|partial| partial.seq).min();
        self.position = Position {
            applied: self.position.applied.then(seq, stamp),
            stamp,
            from: oldest.unwrap_or(seq + 1),
            ..self.position
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
                    bodies.push(Said::Void);
                    continue;
                }
                if fence.token > highest {
                    let key = format_compact!("{FENCE}{}", fence.lease);
                    keep.push((key, pack(&fence.token)));
                    self.fences.insert(fence.lease, fence.token);
                }
            }
            match &part.body {
                Body::Policy(policy) => {
                    keep.push((POLICY.into(), policy.encode().into()));
                    self.policy = Some((**policy).clone());
                }
                Body::Doubt { member, life } => {
                    bodies.push(self.doubt(seq, (member, *life), keep));
                    continue;
                }
                _ => {}
            }
            bodies.push(Said::Body(Box::new(part.body)));
        }
        Ok(bodies)
    }

    /// Each life is doubted once, whoever says it.
    fn doubt(&mut self, seq: u64, (member, life): (&str, u64), keep: &mut Keep) -> Said {
        if life <= self.doubted(member) {
            return Said::Void;
        }
        self.doubted.insert(member.to_owned(), life);
        keep.push((format_compact!("{DOUBTED}{member}"), pack(&life)));
        let renewed = Mark {
            seq: 0,
            digest: Digest(self.position.stream),
        };
        Said::Renew(Epoch(renewed.then(seq, life).digest.0))
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
