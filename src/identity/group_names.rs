//! The names of somebody's groups, looked up as a reader goes through them: whoever only wants to know who is at an address
//! pays nothing for the twenty groups of that user.
//!
//! Which groups those are is decided in `objects`, in which order in `regroup`.

use std::fmt;
use std::slice;

use super::arena::Id;
use super::domain::Domain;
use super::objects::{Object, Objects};

/// Names of groups, sorted.
#[derive(Clone, Default)]
pub struct GroupNames<'a>(Source<'a>);

#[derive(Clone)]
enum Source<'a> {
    /// As they are kept of somebody with a session.
    Kept {
        objects: &'a Objects,
        groups: &'a [Id<Object>],
        /// Whose members they are shown to.
        domain: Id<Domain>,
        /// None of them is gone: otherwise each must be looked at, which takes as long as reading its name.
        is_whole: bool,
    },
    /// Made for this reader.
    Made(Vec<&'a str>),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self::Made(Vec::new())
    }
}

impl<'a> GroupNames<'a> {
    /// The names of groups that are in their order already; unless `is_whole`, some may be gone.
    pub(super) fn kept(
        objects: &'a Objects,
        groups: &'a [Id<Object>],
        (domain, is_whole): (Id<Domain>, bool),
    ) -> Self {
        Self(Source::Kept {
            objects,
            groups,
            domain,
            is_whole,
        })
    }

    /// The names in their order.
    #[must_use]
    pub fn iter(&self) -> Names<'_, 'a> {
        match &self.0 {
            Source::Kept {
                objects,
                groups,
                domain,
                is_whole,
            } => Names(Rest::Kept {
                objects,
                groups: groups.iter(),
                domain: *domain,
                is_whole: *is_whole,
            }),
            Source::Made(names) => Names(Rest::Made(names.iter())),
        }
    }

    /// All of them.
    #[must_use]
    pub fn to_vec(&self) -> Vec<&'a str> {
        let names = self.iter();
        let mut all = Vec::with_capacity(names.size_hint().1.unwrap_or_default());
        all.extend(names);
        all
    }
}

impl<'a> From<Vec<&'a str>> for GroupNames<'a> {
    fn from(names: Vec<&'a str>) -> Self {
        Self(Source::Made(names))
    }
}

impl<'v, 'a> IntoIterator for &'v GroupNames<'a> {
    type Item = &'a str;
    type IntoIter = Names<'v, 'a>;

    fn into_iter(self) -> Names<'v, 'a> {
        self.iter()
    }
}

impl fmt::Debug for GroupNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Goes through [`GroupNames`].
#[derive(Clone)]
pub struct Names<'v, 'a>(Rest<'v, 'a>);

#[derive(Clone)]
enum Rest<'v, 'a> {
    Kept {
        objects: &'a Objects,
        groups: slice::Iter<'a, Id<Object>>,
        domain: Id<Domain>,
        is_whole: bool,
    },
    Made(slice::Iter<'v, &'a str>),
}

impl<'a> Iterator for Names<'_, 'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match &mut self.0 {
            Rest::Kept {
                objects,
                groups,
                domain,
                is_whole,
            } => {
                let group = groups.find(|group| *is_whole || objects.is_group(**group))?;
                Some(objects.shown(*group, *domain))
            }
            Rest::Made(names) => names.next().copied(),
        }
    }

    /// At most as many as there are groups.
    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Rest::Kept { groups, .. } => (0, Some(groups.len())),
            Rest::Made(names) => names.size_hint(),
        }
    }
}

impl fmt::Debug for Names<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
