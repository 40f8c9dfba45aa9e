//! Azure's throttles: the buckets that a request must find a token in, and the headers that tell how many are left.
//!
//! ```text
//! request ─▶ resource manager's buckets ─▶ provider's buckets ─▶ carried out ─▶ answer with what is left
//!               └ empty: 429 of the gateway    └ empty: 429 of the provider
//! ```
//! Owner of all buckets. They are made at first use and not saved: a restarted emulator has full ones. What the gateway
//! answers itself costs a token of the resource manager's and none of a provider's. Not modelled: a provider's empty
//! bucket answers before the gateway could have said that the resource is not there.

pub(crate) mod bucket;
mod foreign;
pub(crate) mod policy;
mod refused;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::call::Call;
use crate::clock::{Clock, Millis};
use bucket::{Bucket, Share};
pub use foreign::{BucketError, BucketState};
use policy::Policy;

/// More buckets than this, and the full ones are forgotten: each operation has one.
const MOST: usize = 1000;

/// Whether requests are throttled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Throttling {
    /// Never; the headers show full buckets.
    #[default]
    Off,
    /// As Azure does, with periods that are `speed` times shorter; 1 is Azure's own pace.
    Real {
        /// At least 1.
        speed: u32,
    },
}

impl FromStr for Throttling {
    type Err = String;

    /// `off`, `real`, or `real:<speed>`.
    fn from_str(text: &str) -> Result<Self, String> {
        let speed = match text {
            "off" => return Ok(Self::Off),
            "real" => Some(1),
            _ => text.strip_prefix("real:").and_then(|speed| speed.parse().ok()),
        };
        match speed.filter(|speed| *speed > 0) {
            Some(speed) => Ok(Self::Real { speed }),
            None => Err(format!("'{text}' is neither 'off' nor 'real' nor 'real:<times as fast>'")),
        }
    }
}

impl std::fmt::Display for Throttling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Real { speed: 1 } => f.write_str("real"),
            Self::Real { speed } => write!(f, "real:{speed}"),
        }
    }
}

/// A policy's name, and whose bucket of it.
type Key = (&'static str, String);

/// The buckets. Invariant: [`Throttling::Off`] has none.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    mode: Throttling,
    buckets: BTreeMap<Key, Bucket>,
    /// What others take out of each refill, by policy.
    others: BTreeMap<&'static str, Share>,
    /// What the buckets of a policy held, and when, that were not in use then.
    held: BTreeMap<&'static str, (u64, Millis)>,
}

/// A request that found its tokens; the provider's are taken when it is known that the provider was asked.
pub(crate) struct Ticket {
    gateway: Vec<(&'static Policy, u64)>,
    provider: Vec<(&'static Policy, Key)>,
}

impl Ticket {
    /// There are no buckets, so it does not matter whose they would be.
    fn of_full_buckets(call: &Call) -> Self {
        let gateway = policy::of_gateway(call).iter().map(|policy| (policy, policy.capacity - 1));
        let provider = policy::of_provider(call).iter().map(|policy| (policy, (policy.name, String::new())));
        Self { gateway: gateway.collect(), provider: provider.collect() }
    }
}

impl Throttle {
    /// Full buckets, and nobody else who calls.
    pub(crate) fn new(mode: Throttling) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Lets a request in, or answers it with 429.
    pub(crate) fn enter(&mut self, call: &Call, clock: &Clock) -> Result<Ticket, Answer> {
        if self.mode == Throttling::Off {
            return Ok(Ticket::of_full_buckets(call));
        }
        let now = self.time(clock.now());
        let principal = principal(call);
        let keyed =
            |policy: &'static Policy| (policy, (policy.name, policy::scope(policy, call, &principal)));
        let gateway: Vec<_> = policy::of_gateway(call).iter().map(keyed).collect();
        if let Some((policy, wait)) = self.empty(&gateway, now) {
            return Err(refused::by_gateway(call, policy, &principal, self.seconds(wait)));
        }
        let gateway: Vec<_> =
            gateway.iter().map(|(policy, key)| (*policy, self.take(policy, key, now))).collect();
        let provider: Vec<_> = policy::of_provider(call).iter().map(keyed).collect();
        if let Some((policy, wait)) = self.empty(&provider, now) {
            let key = keyed(policy).1;
            let bucket = self.bucket(policy, &key, now);
            let (measured, since) = (policy.capacity + bucket.refuse(), bucket.since());
            let begun = clock.stamp_before(self.real(now.saturating_sub(since)));
            let period = (begun, clock.stamp());
            let answer = refused::by_provider(call, policy, &period, measured, self.seconds(wait));
            let left = provider.iter().map(|(policy, key)| (*policy, self.left(policy, key, now)));
            let left: Vec<_> = left.collect();
            return Err(headed(answer, &gateway, &left));
        }
        if self.buckets.len() > MOST {
            self.forget(now);
        }
        Ok(Ticket { gateway, provider })
    }

    /// Takes the provider's tokens and tells on the answer what is left, if that is the provider's.
    pub(crate) fn leave(&mut self, call: &Call, ticket: &Ticket, answer: Answer, now: Millis) -> Answer {
        if answer.is_from_gateway() {
            return answer;
        }
        // What is not there is deleted by the gateway alone.
        if call.method == Method::DELETE && answer.status == StatusCode::NO_CONTENT {
            return headed(answer, &ticket.gateway, &[]);
        }
        let now = self.time(now);
        let taken = ticket.provider.iter().map(|(policy, key)| (*policy, self.take(policy, key, now)));
        let left: Vec<_> = taken.collect();
        headed(answer, &ticket.gateway, &left)
    }

    /// Of those that are empty the one that takes longest to have a token again.
    fn empty(&mut self, asked: &[(&'static Policy, Key)], now: Millis) -> Option<(&'static Policy, Millis)> {
        let mut empty = Vec::new();
        for (policy, key) in asked {
            if self.left(policy, key, now) == 0 {
                let others = self.others_of(policy);
                empty.push((*policy, self.bucket(policy, key, now).wait(policy, others, now)));
            }
        }
        empty.into_iter().max_by_key(|(_, wait)| *wait)
    }

    /// Takes a token; answers how many are left.
    fn take(&mut self, policy: &Policy, key: &Key, now: Millis) -> u64 {
        if self.mode == Throttling::Off {
            return policy.capacity - 1;
        }
        let bucket = self.bucket(policy, key, now);
        bucket.take();
        bucket.remaining()
    }

    fn left(&mut self, policy: &Policy, key: &Key, now: Millis) -> u64 {
        if self.mode == Throttling::Off {
            return policy.capacity;
        }
        self.bucket(policy, key, now).remaining()
    }

    /// A bucket as it is now.
    fn bucket(&mut self, policy: &Policy, key: &Key, now: Millis) -> &mut Bucket {
        let others = self.others_of(policy);
        let (tokens, at) = self.held.get(policy.name).copied().unwrap_or((policy.capacity, now));
        let bucket = self.buckets.entry(key.clone()).or_insert_with(|| Bucket::holding(policy, tokens, at));
        bucket.pass(policy, others, now);
        bucket
    }

    fn others_of(&self, policy: &Policy) -> Share {
        self.others.get(policy.name).copied().unwrap_or_default()
    }

    /// Full buckets are as good as none. Those of policies whose unused buckets were not full stay.
    fn forget(&mut self, now: Millis) {
        let Self { buckets, others, held, .. } = self;
        buckets.retain(|(name, _), bucket| {
            let Some(policy) = policy::named(name) else { return false };
            bucket.pass(policy, others.get(name).copied().unwrap_or_default(), now);
            bucket.remaining() < policy.capacity || held.contains_key(name)
        });
    }

    /// Model time as the buckets count it.
    fn time(&self, now: Millis) -> Millis {
        now.saturating_mul(self.speed())
    }

    /// So much of the buckets' time in model time.
    fn real(&self, time: Millis) -> Millis {
        time.div_ceil(self.speed())
    }

    /// As `Retry-After` has it: whole seconds, and never none.
    fn seconds(&self, wait: Millis) -> u64 {
        self.real(wait).div_ceil(1000).max(1)
    }

    fn speed(&self) -> u64 {
        match self.mode {
            Throttling::Off => 1,
            Throttling::Real { speed } => u64::from(speed),
        }
    }
}

/// Puts on an answer what is left.
fn headed(answer: Answer, gateway: &[(&'static Policy, u64)], provider: &[(&'static Policy, u64)]) -> Answer {
    let answer =
        gateway.iter().fold(answer, |answer, (policy, left)| answer.with(policy.name, left.to_string()));
    if provider.is_empty() {
        return answer;
    }
    let pairs: Vec<String> =
        provider.iter().map(|(policy, left)| format!("Microsoft.Compute/{};{left}", policy.name)).collect();
    answer.with("x-ms-ratelimit-remaining-resource", pairs.join(","))
}

/// Who calls. A token of ours names its client; of another one we know only that it is the same.
fn principal(call: &Call) -> String {
    let token = call.header("authorization").unwrap_or_default().trim_start_matches("Bearer ").trim();
    if let Some((client, _)) = token.strip_prefix("emulator.").and_then(|rest| rest.rsplit_once('.')) {
        return client.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    format!("token-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_read_as_it_is_written() {
        for (text, mode) in [
            ("off", Some(Throttling::Off)),
            ("real", Some(Throttling::Real { speed: 1 })),
            ("real:60", Some(Throttling::Real { speed: 60 })),
            ("real:0", None),
            ("real:-1", None),
            ("fast", None),
        ] {
            let parsed = text.parse::<Throttling>().ok();
            assert_eq!(parsed, mode, "{text}");
            assert_eq!(parsed.map(|mode| mode.to_string()).as_deref().unwrap_or(text), text);
        }
    }
}
