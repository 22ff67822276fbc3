//! Hash maps of the table: what they hash with.
//!
//! Seeded anew in each process, so that whoever chooses names and addresses cannot choose them to collide, and quicker than
//! the standard library's hasher: looking up names and addresses is a good part of what an event costs.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// A map of the table.
pub(super) type Map<K, V> = HashMap<K, V, RandomState>;
