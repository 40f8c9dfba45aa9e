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
pub mod rules;
mod script;
pub mod trace;
mod world;

use counts::Counts;
use fastrand::Rng;
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

/// Lives the world of `seed` for so many steps and to its rest; the text of its trace is kept if somebody will read it.
///
/// # Errors
/// A mistake of this program: the world could not be made.
pub fn live(
    seed: u64,
    steps: usize,
    rules: &Rules,
    is_kept: bool,
) -> Result<Life, Box<dyn std::error::Error>> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(seed, &mut rng, rules.clone(), is_kept).await?;
        let steps = script::play(&mut world, &mut rng, steps).await;
        let breach = world.judge.breach();
        let (trace, counts) = world.judge.close();
        Ok(Life { steps, breach, trace, counts })
    })
}
