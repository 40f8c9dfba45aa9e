//! What the model was: kept only while the script has a stale read in it, and from the moment it got one.
//!
//! ARM answers reads from caches that lag: 404 for what was just made, 200 for what was just removed, a VM with the disks
//! it had. Owner of the past states. Operations are not part of them: a poll is never stale.

use std::collections::VecDeque;

use crate::answer::Answer;
use crate::call::Call;
use crate::clock::Millis;
use crate::faults::{Action, Fault};
use crate::model::Model;
use crate::router;
use crate::world::World;

/// Oldest states go when there are more.
const MOST: usize = 256;

/// Past states, oldest first, each with the time from which it was so.
#[derive(Debug, Default)]
pub(crate) struct History {
    states: VecDeque<(Millis, World)>,
}

impl History {
    fn add(&mut self, now: Millis, world: &World) {
        let world = World { operations: std::collections::BTreeMap::new(), ..world.clone() };
        self.states.push_back((now, world));
        if self.states.len() > MOST {
            self.states.pop_front();
        }
    }
}

impl Model {
    /// Scripts a fault, and begins to remember if that needs it.
    pub(crate) fn add_fault(&mut self, fault: Fault) {
        if matches!(fault.action, Action::StaleRead { .. }) && self.history.is_none() {
            let mut history = History::default();
            history.add(self.clock.now(), &self.world);
            self.history = Some(history);
        }
        self.script.faults.push(fault);
    }

    /// Remembers the state since `now`, or forgets the past if nobody will ask for it any more.
    pub(crate) fn remember(&mut self, now: Millis) {
        let is_asked_for = |fault: &Fault| matches!(fault.action, Action::StaleRead { .. });
        if self.script.faults.iter().any(is_asked_for) {
            if let Some(history) = &mut self.history {
                history.add(now, &self.world);
            }
        } else {
            self.history = None;
        }
    }

    /// Answers a read from the past: from the state of `ms` ago, then from before the last `changes` changes of this
    /// very answer. What is older than the memory is answered from its oldest state.
    pub(crate) fn answer_stale(&mut self, call: &Call, ms: Millis, changes: usize) -> Answer {
        let until = self.clock.now().checked_sub(ms);
        let Some(mut history) = self.history.take() else { return router::arm(self, call) };
        history.add(self.clock.now(), &self.world);
        let is_past = |since: Millis| until.is_some_and(|until| since <= until);
        let past = history.states.iter().rposition(|(since, _)| is_past(*since)).unwrap_or(0);
        let mut answer = self.answer_from(call, history.states.get(past).map(|(_, world)| world));
        let mut left = changes;
        for (_, world) in history.states.iter().take(past).rev() {
            if left == 0 {
                break;
            }
            let older = self.answer_from(call, Some(world));
            if older.status != answer.status || older.body != answer.body {
                left -= 1;
                answer = older;
            }
        }
        self.history = Some(history);
        answer
    }

    /// Answers a read as if `past` were the present. Numbers that were drawn since then stay drawn.
    fn answer_from(&mut self, call: &Call, past: Option<&World>) -> Answer {
        let Some(past) = past else { return router::arm(self, call) };
        let operations = std::mem::take(&mut self.world.operations);
        let sequence = self.world.sequence;
        let past = World { sequence, operations, ..past.clone() };
        let mut present = std::mem::replace(&mut self.world, past);
        let answer = router::arm(self, call);
        present.operations = std::mem::take(&mut self.world.operations);
        present.sequence = self.world.sequence;
        self.world = present;
        answer
    }
}
