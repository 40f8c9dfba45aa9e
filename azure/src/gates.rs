//! Which requests Azure would refuse now, so that they are not sent: one gate for each bucket that Azure counts
//! in. Pure: what was learnt, a request and the time in; go, or how long to wait, out. The client acts.
//!
//! ```text
//!  answer ──▶ facts: 429 or not, Retry-After, buckets that are empty ──▶ closes its gates until then
//!  request ─▶ draw: policy, resource, subscription and verb ──────────▶ goes if all of its gates are open
//! ```
//! A 429 about one VM closes that VM's gate for that policy and nothing else, so a hot VM stalls nobody. The
//! identity is not part of a gate: a client has one. **Invariants:** a gate opens by time only, never because
//! another answer was good; only closed gates are remembered.

pub(crate) mod draw;
pub(crate) mod facts;
pub(crate) mod reads;

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use draw::{Draw, Policy, Scope, Verb};
use facts::Facts;
use reads::Reads;

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

/// The closed gates, and the reads of each subscription.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    closed: HashMap<Gate, Instant>,
    reads: HashMap<String, Reads>,
}

impl Gates {
    /// How long the request has to wait; `None`: it may go.
    pub(crate) fn wait(&self, draw: &Draw, now: Instant) -> Option<Duration> {
        let until = gates(draw).into_iter().filter_map(|gate| self.closed.get(&gate)).max()?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Takes in what an answer to a request of this draw says.
    pub(crate) fn learn(&mut self, draw: &Draw, facts: &Facts, now: Instant) {
        if let Some(left) = facts.reads_left {
            self.reads(draw, now).told(left, now);
        }
        let own = |scope: Scope| match scope {
            Scope::Resource => Gate::Resource(draw.policy, draw.resource.clone()),
            Scope::Subscription => Gate::Subscription(draw.policy, draw.subscription.clone()),
        };
        let arm = || Gate::Arm(draw.verb, draw.subscription.clone());
        if !facts.is_refused {
            for scope in &facts.empty {
                self.close(own(scope.unwrap_or(draw.policy.scope())), POLICY_WINDOW, now);
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

    /// The reads of the request's subscription.
    pub(crate) fn reads(&mut self, draw: &Draw, now: Instant) -> &mut Reads {
        self.reads.entry(draw.subscription.clone()).or_insert_with(|| Reads::full(now))
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
