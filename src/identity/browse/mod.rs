//! Pages of long lists: which rows of a million stand on one page, found without copying or sorting the rest.
//!
//! A scan goes through the table in steps, so that whoever holds the table for a step holds it for a moment only; it
//! keeps no more rows than the page has. What changes meanwhile is seen or not. Nothing here is kept between two pages:
//! the next one begins at a [`Place`] of the last. How rows look is not known here.

mod matching;
mod names;
mod select;
mod sessions;
mod words;

use std::net::IpAddr;

use compact_str::CompactString;

pub use self::names::{Listed, NameKind, NameScan, NameView, ObjectPlace, SubjectPlace};
pub use self::sessions::SessionScan;
pub use self::words::{Field, How, MAX_WORDS, Word};

use self::select::Cut;

/// The most rows of a page.
pub const MAX_ROWS: usize = 500;

/// What a list is ordered by; what is equal follows by name or address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Sessions by their last change, the latest first; names as [`Order::Name`].
    #[default]
    Usual,
    /// Sessions by address.
    Address,
    /// Sessions by user; those without come last.
    User,
    /// Sessions by device; those without come last.
    Device,
    /// Sessions by when they began, the latest first.
    Since,
    /// Sessions by when they end, the next first.
    Deadline,
    /// Names by name.
    Name,
    /// Names by how many sessions they have, the most first.
    Sessions,
}

/// Where a row stands in a list; compared as it is written here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of orders by number.
    pub number: i64,
    /// Of orders by name: the name without case.
    pub text: CompactString,
    /// The DNS domain of the name.
    pub domain: CompactString,
    /// The address of a session.
    pub address: Option<IpAddr>,
}

/// Which rows are wanted, in the order that they are shown in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The first.
    #[default]
    First,
    /// The last.
    Last,
    /// Those after a place.
    After(Place),
    /// Those before a place.
    Before(Place),
    /// Those from a place on.
    At(Place),
}

/// Which page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In which order.
    pub order: Order,
    /// The other way round.
    pub reverse: bool,
    /// From where.
    pub start: Start,
    /// How many, 1 to [`MAX_ROWS`].
    pub rows: usize,
}

/// The rows of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found<T> {
    /// In the order that they are shown in, each with its place.
    pub rows: Vec<(Place, T)>,
    /// How many rows the whole list has.
    pub total: u64,
    /// How many of them come before these.
    pub before: u64,
}

impl Page {
    /// The cut in the order of [`Place`].
    fn cut(&self) -> Cut {
        match (self.start.clone(), self.reverse) {
            (Start::First, false) | (Start::Last, true) => Cut::First,
            (Start::Last, false) | (Start::First, true) => Cut::Last,
            (Start::After(place), false) | (Start::Before(place), true) => Cut::Above(place),
            (Start::Before(place), false) | (Start::After(place), true) => Cut::Below(place),
            (Start::At(place), false) => Cut::From(place),
            (Start::At(place), true) => Cut::UpTo(place),
        }
    }
}
