//! Who waits for the reading of which resource, and when one list shall answer them all. Pure: `bulk` acts.
//!
//! ```text
//!  asks ─┬─ few do ──▶ reads by himself at once
//!        └─ waits ──▶ a turn ─┬─ few wait ──▶ the first is read by itself
//!                             └─ many wait ─▶ the pages of one list, until all are answered
//! ```
//! The Resource Manager grants one identity 25 reads each second, so the disks of a hundred VMs that move at once would
//! take minutes to look at one by one, and a list of the group shows hundreds in one read. **Invariants:** a list
//! answers only those who waited when it was asked for, so nobody is told what was so before he asked; that a list
//! does not show a resource says nothing: it is read by itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{Deadline, Error};

/// Up to so many are read one by one: a list costs Azure more, and takes longer.
const FEW: usize = 7;
/// Those count as one burst who come within so long.
const BURST: Duration = Duration::from_millis(100);
/// A list has to save three reads of four; where reads are scarce, it has to save any.
const WORTH: usize = 4;
/// Between the begins of two lists, for each page, at least.
pub(crate) const BETWEEN: Duration = Duration::from_millis(50);
/// A list that comes so soon is waited for; until a later one they are read by themselves.
const SOON: Duration = Duration::from_secs(1);
/// After a list was refused no other is tried for so long.
pub(crate) const NO_LISTS: Duration = Duration::from_mins(1);

/// Somebody who waits for a resource.
#[derive(Debug)]
pub(crate) struct Waiter<T> {
    /// The resource's path, as it was asked for.
    pub(crate) path: String,
    /// The same in lower case: Azure varies the case.
    pub(crate) key: String,
    pub(crate) deadline: Deadline,
    pub(crate) tell: oneshot::Sender<Result<T, Error>>,
}

/// Whom the next read is for.
#[derive(Debug)]
pub(crate) enum Next<T> {
    /// All who wait for the resource that the first waits for.
    One(Vec<Waiter<T>>),
    /// Everybody who waits.
    All(Vec<Waiter<T>>),
    /// Nobody before this time: a list is worth it, and the one before was read a moment ago.
    Later(Instant),
}

/// Who waits for resources of one collection.
#[derive(Debug)]
struct Group<T> {
    /// In the order of arrival.
    waiting: Vec<Waiter<T>>,
    /// Not shown by a list: they come first, each by itself.
    alone: Vec<Waiter<T>>,
    /// How many pages the list has, as far as is known.
    pages: usize,
    no_lists_until: Option<Instant>,
    /// When the last list began.
    listed: Option<Instant>,
    is_served: bool,
    /// So many read by themselves now, and never waited.
    reading: usize,
    /// When others ended who had.
    read: Vec<Instant>,
}

/// Who waits, by the path of the collection in lower case: Azure varies the case.
#[derive(Debug)]
pub(crate) struct Gathering<T> {
    groups: HashMap<String, Group<T>>,
}

impl<T> Default for Gathering<T> {
    fn default() -> Gathering<T> {
        Gathering { groups: HashMap::new() }
    }
}

impl<T> Gathering<T> {
    /// Whether somebody may read by himself at once; counts him until he has [`Gathering::left`].
    pub(crate) fn enter(&mut self, collection: &str, now: Instant) -> bool {
        let group = self.group(collection);
        group.read.retain(|ended| now.saturating_duration_since(*ended) < BURST);
        let is_few = group.reading + group.read.len() < FEW;
        let may_read = group.waiting.is_empty() && group.alone.is_empty() && is_few;
        group.reading += usize::from(may_read);
        may_read
    }

    /// Somebody who entered has read.
    pub(crate) fn left(&mut self, collection: &str, now: Instant) {
        let group = self.group(collection);
        group.reading = group.reading.saturating_sub(1);
        group.read.push(now);
    }

    /// Somebody waits; true if nobody serves this collection yet.
    pub(crate) fn join(&mut self, collection: &str, waiter: Waiter<T>) -> bool {
        let group = self.group(collection);
        group.waiting.push(waiter);
        !std::mem::replace(&mut group.is_served, true)
    }

    fn group(&mut self, collection: &str) -> &mut Group<T> {
        self.groups.entry(collection.to_owned()).or_insert_with(|| Group {
            waiting: Vec::new(),
            alone: Vec::new(),
            pages: 1,
            no_lists_until: None,
            listed: None,
            is_served: false,
            reading: 0,
            read: Vec::new(),
        })
    }

    /// When the last of those who wait gives up; `None`: nobody waits, and nobody serves them from now on.
    pub(crate) fn last_deadline(&mut self, collection: &str) -> Option<Deadline> {
        let group = self.groups.get_mut(collection)?;
        group.forget_gone();
        let last = last_deadline(group.alone.iter().chain(&group.waiting));
        group.is_served = last.is_some();
        last
    }

    /// How many wait if they are more than a few, else none: then others may come a moment later.
    pub(crate) fn crowd(&self, collection: &str) -> usize {
        let waiting = self.groups.get(collection).map_or(0, |group| group.waiting.len());
        if waiting > FEW { waiting } else { 0 }
    }

    /// Whom the next read is for, if anybody waits. `spacing`: between the begins of two lists for each page, if Azure
    /// takes lists now; `is_scarce`: the turn had to be waited for.
    pub(crate) fn next(
        &mut self,
        collection: &str,
        spacing: Option<Duration>,
        is_scarce: bool,
        now: Instant,
    ) -> Option<Next<T>> {
        let group = self.groups.get_mut(collection)?;
        group.forget_gone();
        if let Some(spacing) = spacing
            && group.is_for_a_list(is_scarce, now)
        {
            let pages = u32::try_from(group.pages).unwrap_or(u32::MAX);
            let next_list = group.listed.map_or(now, |last| last + spacing.saturating_mul(pages));
            if next_list <= now {
                group.listed = Some(now);
                return Some(Next::All(std::mem::take(&mut group.waiting)));
            }
            if next_list < now + SOON {
                return Some(Next::Later(next_list));
            }
        }
        let first = group.alone.first().or(group.waiting.first())?;
        let key = first.key.clone();
        let is_same = |waiter: &mut Waiter<T>| waiter.key == key;
        let mut same: Vec<_> = group.alone.extract_if(.., is_same).collect();
        same.extend(group.waiting.extract_if(.., is_same));
        Some(Next::One(same))
    }

    /// So many pages of a list were read until all were answered, or to its end: these it did not show.
    pub(crate) fn listed(&mut self, collection: &str, pages: usize, missing: Vec<Waiter<T>>) {
        if let Some(group) = self.groups.get_mut(collection) {
            group.pages = if missing.is_empty() { group.pages.max(pages) } else { pages };
            group.alone.extend(missing);
        }
    }

    /// A list could not be read; these it had not shown.
    pub(crate) fn refused(&mut self, collection: &str, missing: Vec<Waiter<T>>, now: Instant) {
        if let Some(group) = self.groups.get_mut(collection) {
            group.no_lists_until = now.checked_add(NO_LISTS);
            group.waiting.splice(0..0, missing);
        }
    }

    /// Takes out those who give up before `until`.
    pub(crate) fn impatient(&mut self, collection: &str, until: Instant) -> Vec<Waiter<T>> {
        let Some(group) = self.groups.get_mut(collection) else { return Vec::new() };
        let is_late = |waiter: &mut Waiter<T>| waiter.deadline <= until;
        let mut late: Vec<_> = group.alone.extract_if(.., is_late).collect();
        late.extend(group.waiting.extract_if(.., is_late));
        late
    }
}

impl<T> Group<T> {
    /// Forgets who hung up.
    fn forget_gone(&mut self) {
        self.waiting.retain(|waiter| !waiter.tell.is_closed());
        self.alone.retain(|waiter| !waiter.tell.is_closed());
    }

    /// Whether a list is the next thing to read.
    fn is_for_a_list(&self, is_scarce: bool, now: Instant) -> bool {
        if !self.alone.is_empty() || self.no_lists_until.is_some_and(|until| until > now) {
            return false;
        }
        let resources: HashSet<&str> = self.waiting.iter().map(|waiter| waiter.key.as_str()).collect();
        is_worth_a_list(resources.len(), self.pages, is_scarce)
    }
}

/// When the last of these gives up.
pub(crate) fn last_deadline<'a, T: 'a>(waiters: impl IntoIterator<Item = &'a Waiter<T>>) -> Option<Deadline> {
    waiters.into_iter().map(|waiter| waiter.deadline).max()
}

/// Whether a list of so many pages shall be read for so many resources.
fn is_worth_a_list(resources: usize, pages: usize, is_scarce: bool) -> bool {
    if is_scarce { resources > pages + 1 } else { resources > FEW && resources >= WORTH * pages }
}

#[cfg(test)]
mod tests;
