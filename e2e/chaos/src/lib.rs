//! Random lives of volumes on an Azure that misbehaves, judged by what must always hold.
//!
//! One seed is one world: a few VMs, a few volumes, callers that behave as Kubernetes' sidecars do, one or two
//! controllers, a second writer, and a script of faults, hang-ups and kills. Everything runs in one thread on a paused
//! clock, so the same seed is the same life, and a failure can be looked at again and again.
//!
//! ```text
//!  script ─▶ callers ─▶ controllers ─▶ door ─▶ emulator
//!               └── asked, told ──┐      └── before and after each write
//!                                 ▼      ▼
//!                                  judge ─▶ invariants (pure)
//! ```

mod asking;
mod callers;
pub mod counts;
pub mod facts;
mod faults;
pub mod invariants;
mod judge;
pub mod ledger;
pub mod names;
mod process;
pub mod reduce;
pub mod rules;
mod script;
pub mod trace;
mod world;

use std::collections::BTreeSet;

use counts::Counts;
use invariants::Breach;
use rules::Rules;
use tokio::runtime::Builder;
use trace::Trace;
use world::World;

/// How many steps a script has, unless told otherwise.
pub const STEPS: usize = 200;

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Life {
    /// How many steps were played.
    pub steps: usize,
    /// What broke, if anything did.
    pub breach: Option<Breach>,
    /// What happened.
    pub trace: Trace,
    /// How often what happened.
    pub counts: Counts,
}

/// A life to be lived.
#[derive(Clone, Debug)]
pub struct Script {
    /// What everything follows from.
    pub seed: u64,
    /// How many steps.
    pub steps: usize,
    /// Steps at which nothing is done: time passes all the same.
    pub omitted: BTreeSet<usize>,
    /// What may happen.
    pub rules: Rules,
}

/// A mistake of this program: a world could not be made.
pub type Mistake = Box<dyn std::error::Error>;

impl Script {
    /// All [`STEPS`] steps of `seed`, and everything that may happen at all.
    pub fn of(seed: u64) -> Script {
        Script { seed, steps: STEPS, omitted: BTreeSet::new(), rules: Rules::default() }
    }

    /// Lives it, to its rest; the text of its trace is kept if somebody will read it.
    ///
    /// # Errors
    /// A mistake of this program: the world could not be made.
    pub fn live(&self, is_kept: bool) -> Result<Life, Mistake> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let mut world = World::new(self, is_kept).await?;
            let steps = script::play(&mut world, self).await;
            let breach = world.judge.breach();
            let (trace, counts) = world.judge.close();
            Ok(Life { steps, breach, trace, counts })
        })
    }
}
