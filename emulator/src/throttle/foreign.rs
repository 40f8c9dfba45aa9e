//! What is done to the buckets from outside: looking at them, filling and draining them, and the calls of others that
//! share a subscription with us.

use serde::Serialize;
use serde_json::{Value, json};

use crate::Emulator;
use crate::clock::Millis;
use crate::throttle::bucket::Bucket;
use crate::throttle::policy::{self, Fill, Per, Policy};
use crate::throttle::{Throttle, Throttling};

/// More than this is a mistake in the unit: a share is a part of the refill.
const MOST_SHARE: f64 = 1000.0;

/// Why a bucket can't be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// Nothing is throttled.
    #[error("throttling is off: turn it on first")]
    Off,
    /// No header of Azure's has this name.
    #[error("there is no bucket '{0}'; there are {1}")]
    Unknown(String, String),
    /// Neither a part of the refill nor a multiple of it.
    #[error("others can take 0 to 1000 times the refill")]
    Share,
}

/// One bucket as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketState {
    /// As Azure's headers name it, such as `PutVMResource`.
    pub policy: &'static str,
    /// Whose: a principal, the lower-case id of a resource, or empty for the subscription's.
    pub scope: String,
    /// Whole tokens that are left.
    pub remaining: u64,
    /// Most tokens.
    pub capacity: u64,
    /// Tokens that come back with each period; as many as `capacity` for a window.
    pub refill: u64,
    /// Length of a period at this pace, in milliseconds.
    pub period_ms: u64,
    /// What others take out of each refill.
    pub others: f64,
}

impl Emulator {
    /// Turns throttling on or off, with full buckets and nobody else who calls.
    pub fn set_throttling(&self, mode: Throttling) {
        self.lock().throttle = Throttle::new(mode);
    }

    /// The buckets that were used or changed since throttling was turned on.
    pub fn buckets(&self) -> Vec<BucketState> {
        let mut model = self.lock();
        let now = model.clock.now();
        model.throttle.states(now)
    }

    /// Leaves so many tokens in the buckets of a policy: in all of them, those that are yet to be used as well, or in
    /// that of `scope` alone. More than the capacity is the capacity.
    pub fn set_bucket(&self, policy: &str, scope: Option<&str>, tokens: u64) -> Result<(), BucketError> {
        let mut model = self.lock();
        let now = model.clock.now();
        model.throttle.set(policy, scope, tokens, now)
    }

    /// From now on others take `share` of each refill of a policy's buckets: with 0.9 a tenth is left to us, from 1.0 on
    /// nothing.
    pub fn share_bucket(&self, policy: &str, share: f64) -> Result<(), BucketError> {
        let mut model = self.lock();
        let now = model.clock.now();
        model.throttle.share(policy, share, now)
    }
}

impl Throttle {
    pub(crate) fn set(
        &mut self,
        policy: &str,
        scope: Option<&str>,
        tokens: u64,
        now: Millis,
    ) -> Result<(), BucketError> {
        let (policy, now) = (self.known(policy)?, self.time(now));
        if policy.per == Per::Subscription {
            self.buckets.insert((policy.name, String::new()), Bucket::holding(policy, tokens, now));
            return Ok(());
        }
        if let Some(scope) = scope {
            let scope = if policy.per == Per::Resource { scope.to_lowercase() } else { scope.to_owned() };
            self.buckets.insert((policy.name, scope), Bucket::holding(policy, tokens, now));
            return Ok(());
        }
        self.buckets.retain(|(name, _), _| *name != policy.name);
        self.held.insert(policy.name, (tokens, now));
        Ok(())
    }

    pub(crate) fn share(&mut self, policy: &str, share: f64, now: Millis) -> Result<(), BucketError> {
        let policy = self.known(policy)?;
        if !(0.0..=MOST_SHARE).contains(&share) {
            return Err(BucketError::Share);
        }
        // What came until now came at the old rate.
        self.states(now);
        self.others.insert(policy.name, share);
        Ok(())
    }

    pub(crate) fn states(&mut self, now: Millis) -> Vec<BucketState> {
        let (now, speed) = (self.time(now), self.speed());
        let Self { buckets, others, .. } = self;
        let state = |((name, scope), bucket): (&(&'static str, String), &mut Bucket)| {
            let policy = policy::named(name)?;
            let others = others.get(name).copied().unwrap_or_default();
            bucket.pass(policy, others, now);
            Some(BucketState {
                policy: policy.short_name(),
                scope: scope.clone(),
                remaining: bucket.remaining(),
                capacity: policy.capacity,
                refill: refill(policy),
                period_ms: policy.every / speed,
                others,
            })
        };
        buckets.iter_mut().filter_map(state).collect()
    }

    /// All that the control endpoint tells, with what is not Azure's word.
    pub(crate) fn view(&mut self, now: Millis) -> Value {
        let assumed = policy::all().filter(|policy| !policy.assumed.is_empty());
        let assumed: serde_json::Map<String, Value> =
            assumed.map(|policy| (policy.short_name().to_owned(), json!(policy.assumed))).collect();
        json!({
            "mode": self.mode.to_string(), "buckets": self.states(now), "assumed": assumed,
        })
    }

    fn known(&self, name: &str) -> Result<&'static Policy, BucketError> {
        if self.mode == Throttling::Off {
            return Err(BucketError::Off);
        }
        let names = || policy::all().map(Policy::short_name).collect::<Vec<_>>().join(", ");
        policy::named(name).ok_or_else(|| BucketError::Unknown(name.to_owned(), names()))
    }
}

fn refill(policy: &Policy) -> u64 {
    match policy.fill {
        Fill::Adds(tokens) => tokens,
        Fill::Anew => policy.capacity,
    }
}
