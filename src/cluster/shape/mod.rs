//! What a message of the stream holds, version 1: postcard of the types here.
//!
//! ```text
//! message:  "JIMS", version (u8), frame
//! frame:    member (text), life (u64), number (u64), piece (u32), of (u32), bytes; of all pieces together = part*
//! part:     fence (lease and token, where the author speaks under a lease), body
//! ```
//!
//! A member has a life from start to stop, which rises from one to the next; in each it numbers its messages from 1 without a
//! gap, so that what was sent twice, or after a loss, is known by its number. What does not fit into one message comes in pieces, each a message with a number of its
//! own; it counts where its last piece stands. The types are this room's own; a change of what is written is a new version,
//! and whoever meets a newer one stops and says so.

mod body;
mod directory;
mod event;
mod policy;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::body::{Body, FenceShape, Part};
pub use self::policy::PolicyShape;

/// The version that is written and read.
pub const VERSION: u8 = 1;

/// How a message begins.
const MARK: &[u8] = b"JIMS";

/// Most bytes of one piece: NATS takes messages of a mebibyte unless it is told otherwise.
pub const MAX_PIECE: usize = 512 * 1024;

/// Most pieces of one content: 256 MiB, far more than the largest group that a directory has.
const MAX_PIECES: u32 = 512;

/// Why a message is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// A newer jims wrote it.
    #[error("the message has version {found}, this jims knows up to {VERSION}")]
    Newer {
        /// Its version.
        found: u8,
    },
    /// It is no message of jims, or damaged.
    #[error("the message cannot be read: {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
}

fn malformed(what: &'static str) -> ShapeError {
    ShapeError::Malformed { what }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The member.
    pub member: String,
    /// Which life of it.
    pub life: u64,
    /// From 1, without a gap.
    pub number: u64,
    /// Which piece, from 0.
    pub piece: u32,
    /// Of how many.
    pub of: u32,
    /// The piece.
    pub bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    member: &'a str,
    life: u64,
    number: u64,
    piece: u32,
    of: u32,
}

impl Frame {
    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = Head {
            member: &self.member,
            life: self.life,
            number: self.number,
            piece: self.piece,
            of: self.of,
        };
        let mut message = Vec::with_capacity(MARK.len() + 32 + self.bytes.len());
        message.extend(MARK);
        message.push(VERSION);
        // Writing numbers to memory cannot fail.
        let mut message = postcard::to_extend(&head, message).unwrap_or_default();
        message.extend(&self.bytes);
        message
    }

    /// Reads a message.
    ///
    /// # Errors
    /// It is none, damaged, or a newer one.
    pub fn decode(message: &Bytes) -> Result<Self, ShapeError> {
        let rest = message.strip_prefix(MARK).ok_or(malformed("its mark"))?;
        let (version, rest) = rest.split_first().ok_or(malformed("its version"))?;
        if *version > VERSION {
            return Err(ShapeError::Newer { found: *version });
        }
        let (head, rest): (Head<'_>, _) =
            postcard::take_from_bytes(rest).map_err(|_| malformed("its head"))?;
        if head.of == 0 || head.of > MAX_PIECES || head.piece >= head.of {
            return Err(malformed("its place among the pieces"));
        }
        Ok(Self {
            member: head.member.to_owned(),
            life: head.life,
            number: head.number,
            piece: head.piece,
            of: head.of,
            bytes: message.slice_ref(rest),
        })
    }
}

/// Parts in one content, and back.
#[must_use]
pub fn encode(parts: &[Part]) -> Vec<u8> {
    postcard::to_stdvec(parts).unwrap_or_default()
}

/// The parts of a content.
///
/// # Errors
/// It is damaged.
pub fn decode(content: &[u8]) -> Result<Vec<Part>, ShapeError> {
    postcard::from_bytes(content).map_err(|_| malformed("its parts"))
}

/// A content cut into pieces that each fit into a message; one at least.
#[must_use]
pub fn cut(content: Vec<u8>) -> Vec<Bytes> {
    let content = Bytes::from(content);
    if content.len() <= MAX_PIECE {
        return vec![content];
    }
    let starts = (0..content.len()).step_by(MAX_PIECE);
    starts
        .map(|start| content.slice(start..content.len().min(start + MAX_PIECE)))
        .collect()
}

#[cfg(test)]
mod tests;
