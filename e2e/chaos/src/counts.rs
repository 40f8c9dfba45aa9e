//! How often what happened, over many worlds: a script in which nothing happens proves nothing.

use std::collections::BTreeMap;
use std::fmt;

use crate::judge::Answer;
use crate::ledger::Verb;

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// By name.
    pub counts: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn add(&mut self, what: &str) {
        self.add_many(what, 1);
    }

    fn add_many(&mut self, what: &str, count: u64) {
        match self.counts.get_mut(what) {
            Some(known) => *known += count,
            None => {
                self.counts.insert(what.to_owned(), count);
            }
        }
    }

    pub(crate) fn answer(&mut self, verb: Verb, answer: &Answer) {
        let verb = match verb {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::Publish(_) => "publish",
            Verb::Unpublish(_) => "unpublish",
        };
        match answer {
            Answer::Done(_) => self.add(&format!("{verb} Ok")),
            Answer::Refused(code, _) => self.add(&format!("{verb} {code:?}")),
        }
    }

    /// Adds the counts of another world.
    pub fn merge(&mut self, other: &Counts) {
        other.counts.iter().for_each(|(what, count)| self.add_many(what, *count));
    }

    /// How often `what` happened.
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(what, count)| writeln!(f, "{count:>10} {what}"))
    }
}
