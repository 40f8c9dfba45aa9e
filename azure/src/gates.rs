//! Which requests Azure would refuse now, so that they are not sent: one gate for each bucket that Azure counts
//! in. Pure: what was learnt, a request and the time in; go, or how long to wait, out. The client acts.
//!
//! ```text
//!  answer ──▶ facts: 429 or not, Retry-After, buckets that are empty ──▶ closes its gates until then
//!  request ─▶ draw: policy, resource, subscription and verb ──────────▶ goes if all of its gates are open
//! ```
//! A 429 about one VM closes that VM's gate for that policy and nothing else, so a hot VM stalls nobody. The
//! identity is not part of a gate: a client has one. Where Azure says how much is left before it refuses, requests
//! take turns (`turns`), or wait until the window ends in which a bucket was used up. **Invariants:** a gate opens by
//! time only, never because another answer was good; what is remembered of a bucket is forgotten with its window.

pub(crate) mod draw;
pub(crate) mod facts;
mod lists;
pub(crate) mod turns;

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use draw::{Draw, Policy, Scope, Verb};
use facts::Facts;
use lists::Lists;
use turns::Turns;

/// The window of a policy of the compute provider: a minute after it refused, it takes requests again
/// ("Compute throttling limits"). The disk provider's windows of 3 and 30 minutes slide, and it sends
/// `Retry-After`; without one, asking again after a minute costs one refused request at most.
pub(crate) const POLICY_WINDOW: Duration = Duration::from_mins(1);
/// The Resource Manager gives back 25 reads, 10 writes and 10 deletions each second ("Understand how Azure
/// Resource Manager throttles requests"), so an empty bucket of its holds something a second later.
const ARM_WINDOW: Duration = Duration::from_secs(1);
/// Whatever Azure says, it is asked again after a day.
const LONGEST: Duration = Duration::from_hours(24);

/// What Azure counts in one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Gate {
    /// A policy, on one VM or one operation.
    Resource(Policy, String),
    /// A policy, in a whole subscription.
    Subscription(Policy, String),
    /// The Resource Manager's own count of reads, writes or deletions in a subscription.
    Arm(Verb, String),
}

/// The window that a policy's bucket is in, as far as its answers tell.
#[derive(Debug)]
struct Window {
    /// What the last answer said is left.
    left: u32,
    /// When an answer first said more than the one before: not before this window began.
    since: Instant,
}

/// The closed gates, the windows of buckets that writes draw from, the turns and the lists in each subscription.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    closed: HashMap<Gate, Instant>,
    windows: HashMap<Gate, Window>,
    turns: HashMap<(Verb, String), Turns>,
    lists: HashMap<(Policy, String), Lists>,
}

impl Gates {
    /// How long the request has to wait; `None`: it may go.
    pub(crate) fn wait(&self, draw: &Draw, now: Instant) -> Option<Duration> {
        let until = gates(draw).into_iter().filter_map(|gate| self.closed.get(&gate)).max()?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// The same, by the Resource Manager's own count alone.
    pub(crate) fn wait_for_all(&self, draw: &Draw, now: Instant) -> Option<Duration> {
        let until = self.closed.get(&Gate::Arm(draw.verb, draw.subscription.clone()))?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Takes in what an answer to a request of this draw says.
    pub(crate) fn learn(&mut self, draw: &Draw, facts: &Facts, now: Instant) {
        if let Some(left) = facts.arm_left {
            self.turns(draw, now).told(left, now);
        }
        if matches!(draw.policy, Policy::DiskList | Policy::VmList) {
            self.lists(draw).page(now);
        }
        let own = |scope: Scope| match scope {
            Scope::Resource => Gate::Resource(draw.policy, draw.resource.clone()),
            Scope::Subscription => Gate::Subscription(draw.policy, draw.subscription.clone()),
        };
        let arm = || Gate::Arm(draw.verb, draw.subscription.clone());
        // Reads are far from their limits, and an operation's polls have a pace of their own.
        if draw.verb != Verb::Read {
            for (scope, left) in &facts.left {
                self.count(own(*scope), *left, now);
            }
        }
        if !facts.is_refused {
            for scope in &facts.empty {
                let gate = own(scope.unwrap_or(draw.policy.scope()));
                let begun = self.windows.get(&gate).map_or(now, |window| window.since);
                self.close(gate, (begun + POLICY_WINDOW).saturating_duration_since(now), now);
            }
            if facts.is_arm_empty {
                self.close(arm(), ARM_WINDOW, now);
            }
            return;
        }
        let pause = facts.retry_after.unwrap_or(POLICY_WINDOW);
        if facts.is_by_arm {
            self.close(arm(), pause, now);
            return;
        }
        // A refusal that does not say which bucket was empty is about the narrowest.
        let named: Vec<Scope> = facts
            .empty
            .iter()
            .map(|scope| scope.unwrap_or(draw.policy.scope()))
            .chain(facts.target)
            .collect();
        if named.is_empty() {
            self.close(own(draw.policy.scope()), pause, now);
        }
        for scope in named {
            self.close(own(scope), pause, now);
        }
    }

    /// The turns of such requests in the request's subscription.
    pub(crate) fn turns(&mut self, draw: &Draw, now: Instant) -> &mut Turns {
        let key = (draw.verb, draw.subscription.clone());
        self.turns.entry(key).or_insert_with(|| Turns::full(draw.verb, now))
    }

    /// Between the begins of two such lists, for each page that they have; `wish`: at least.
    pub(crate) fn spacing(&mut self, draw: &Draw, wish: Duration, now: Instant) -> Duration {
        self.lists(draw).spacing(wish, now)
    }

    fn lists(&mut self, draw: &Draw) -> &mut Lists {
        self.lists.entry((draw.policy, draw.subscription.clone())).or_default()
    }

    /// Notes what a bucket holds. Whoever draws sees less each time, until the window ends: then as much as before,
    /// or more. The next window begins at most a minute after that, and what was used up comes back.
    fn count(&mut self, gate: Gate, left: u32, now: Instant) {
        self.windows.retain(|_, window| now.saturating_duration_since(window.since) < POLICY_WINDOW);
        let window = self.windows.entry(gate).or_insert(Window { left, since: now });
        if left >= window.left {
            window.since = now;
        }
        window.left = left;
    }

    fn close(&mut self, gate: Gate, pause: Duration, now: Instant) {
        self.closed.retain(|_, until| *until > now);
        let until = now.checked_add(pause.min(LONGEST)).unwrap_or(now);
        if until > now {
            self.closed.entry(gate).and_modify(|known| *known = until.max(*known)).or_insert(until);
        }
    }
}

/// The buckets that a request draws from.
fn gates(draw: &Draw) -> [Gate; 3] {
    [
        Gate::Resource(draw.policy, draw.resource.clone()),
        Gate::Subscription(draw.policy, draw.subscription.clone()),
        Gate::Arm(draw.verb, draw.subscription.clone()),
    ]
}

#[cfg(test)]
mod tests;
