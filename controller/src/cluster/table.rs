//! Objects of one kind by name: a sorted list, because it is read far more often than it changes and takes the
//! least memory. **Invariant:** a clone shares everything until one of the two is changed, and then everything
//! but the one object.

use std::sync::Arc;

use super::facts::{CsiNode, Node, Placed, Volume};

/// What has a name of its own.
pub(super) trait Named {
    fn name(&self) -> &str;
}

macro_rules! named {
    ($($kind:ident),*) => {
        $(impl Named for $kind {
            fn name(&self) -> &str {
                &self.name
            }
        })*
    };
}

named!(Node, CsiNode, Volume);

impl Named for Placed {
    fn name(&self) -> &str {
        &self.attachment.name
    }
}

/// See the file.
#[derive(Debug)]
pub(super) struct Table<T>(Arc<Vec<Arc<T>>>);

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Table(Arc::clone(&self.0))
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(Arc::default())
    }
}

impl<T: Named> Table<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|one| &**one)
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.place(name).ok().map(|at| &*self.0[at])
    }

    pub(super) fn put(&mut self, object: T) {
        let place = self.place(object.name());
        let all = Arc::make_mut(&mut self.0);
        match place {
            Ok(at) => all[at] = Arc::new(object),
            Err(at) => all.insert(at, Arc::new(object)),
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            Arc::make_mut(&mut self.0).remove(at);
        }
    }

    /// Adds without looking; [`Self::settle`] must follow.
    pub(super) fn push(&mut self, object: T) {
        Arc::make_mut(&mut self.0).push(Arc::new(object));
    }

    /// Brings pushed objects in order; of two with one name the later one stays.
    pub(super) fn settle(&mut self) {
        if self.0.is_sorted_by(|one, next| one.name() < next.name()) {
            return;
        }
        let all = Arc::make_mut(&mut self.0);
        all.reverse();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all.dedup_by(|later, first| later.name() == first.name());
    }

    /// Puts what `revised` makes of an object, under the same name, in its place.
    pub(super) fn revise(&mut self, revised: impl Fn(&T) -> Option<T>) {
        let objects = self.0.iter().enumerate();
        let changed: Vec<_> = objects.filter_map(|(at, one)| Some((at, Arc::new(revised(one)?)))).collect();
        if changed.is_empty() {
            return;
        }
        let all = Arc::make_mut(&mut self.0);
        for (at, object) in changed {
            all[at] = object;
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|one| one.name().cmp(name))
    }
}
