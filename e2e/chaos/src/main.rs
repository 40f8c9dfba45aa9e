//! Lives many worlds and tells of the first that breaks; or one world again, with everything that happened in it.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use chaos::counts::Counts;
use chaos::reduce::reduce;
use chaos::rules::{Rules, Trouble};
use chaos::{Life, STEPS, Script};
use clap::Parser;

/// Random lives of volumes on an Azure that misbehaves.
#[derive(Clone, Debug, Parser)]
struct Wish {
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Steps of each script.
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// How many at a time.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Only this seed, with everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// With --seed: leaves out every step that the failure does not need.
    #[arg(long, requires = "seed")]
    reduce: bool,
    /// Goes on after a seed that breaks, and lists them all.
    #[arg(long)]
    all: bool,
    /// Lives each seed twice, and minds where the second life is another one.
    #[arg(long)]
    twice: bool,
    /// Leaves out this kind of trouble, to see whether a failure needs it.
    #[arg(long)]
    without: Vec<Trouble>,
    /// Brings in this kind of trouble, which is off because the driver is not there yet.
    #[arg(long)]
    with: Vec<Trouble>,
}

/// How much of a broken life is told at once.
const LAST: usize = 60;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let wish = Wish::parse();
    if let Some(seed) = wish.seed {
        return one(&wish, seed);
    }
    let begun = tokio::time::Instant::now();
    let (broken, counts) = many(&wish);
    print!("{counts}");
    for (trouble, why) in Rules::off() {
        println!("off: {trouble:?}: {why}");
    }
    println!("{} seeds of {} steps in {:.1} s", wish.seeds, wish.steps, begun.elapsed().as_secs_f64());
    let Some((seed, _)) = broken.first() else { return Ok(ExitCode::SUCCESS) };
    if wish.all {
        for (seed, what) in &broken {
            println!("seed {seed}: {what}");
        }
        println!("{} of {} seeds are broken", broken.len(), wish.seeds);
    }
    let life = script(&wish, *seed).live(true)?;
    life.trace.lines.iter().rev().take(LAST).rev().for_each(|line| println!("{line}"));
    tell(&wish, *seed, &life);
    Ok(ExitCode::FAILURE)
}

fn script(wish: &Wish, seed: u64) -> Script {
    let rules = Rules { without: wish.without.clone(), with: wish.with.clone() };
    Script { steps: wish.steps, rules, ..Script::of(seed) }
}

/// Lives one seed and tells everything.
fn one(wish: &Wish, seed: u64) -> Result<ExitCode, Box<dyn Error>> {
    let mut script = script(wish, seed);
    let mut life = script.live(true)?;
    if let Some(breach) = life.breach.as_ref().filter(|_| wish.reduce) {
        (script, life) = reduce(&script, breach)?;
    }
    life.trace.lines.iter().for_each(|line| println!("{line}"));
    let (left, hash) = (script.steps - script.omitted.len(), life.trace.hash());
    println!("seed {seed}, {left} steps, up to step {}, trace {hash:016x}", life.steps);
    Ok(match life.breach {
        None => ExitCode::SUCCESS,
        Some(breach) => {
            println!("broken: {breach}");
            ExitCode::FAILURE
        }
    })
}

fn tell(wish: &Wish, seed: u64, life: &Life) {
    let what = life
        .breach
        .as_ref()
        .map_or("nothing, the second time: it is not the same life".to_owned(), ToString::to_string);
    println!("seed {seed}, step {}: {what}", life.steps);
    println!("again: make chaos SEED={seed} STEPS={}", wish.steps);
}

/// What is wrong with the second life of `seed`, if it is to be lived twice.
fn another(wish: &Wish, seed: u64, first: &Life) -> Option<String> {
    if !wish.twice {
        return None;
    }
    match script(wish, seed).live(false) {
        Ok(second) if second.trace.hash() == first.trace.hash() => None,
        Ok(_) => Some("the second life is another one".to_owned()),
        Err(mistake) => Some(mistake.to_string()),
    }
}

/// Lives all worlds, up to the first that breaks unless all are wanted. The broken ones in order, and the counts.
fn many(wish: &Wish) -> (Vec<(u64, String)>, Counts) {
    // No seed above the first broken one need be lived.
    let limit = AtomicU64::new(wish.first.saturating_add(wish.seeds));
    let part = |thread: u64| {
        let (mut broken, mut counts) = (Vec::new(), Counts::default());
        let mut seed = wish.first.saturating_add(thread);
        while seed < limit.load(Ordering::Relaxed) {
            let what = match script(wish, seed).live(false) {
                Err(mistake) => Some(mistake.to_string()),
                Ok(life) => {
                    counts.merge(&life.counts);
                    let broken = life.breach.as_ref().map(|breach| format!("step {}: {breach}", life.steps));
                    broken.or_else(|| another(wish, seed, &life))
                }
            };
            if let Some(what) = what {
                broken.push((seed, what));
                if !wish.all {
                    limit.fetch_min(seed, Ordering::Relaxed);
                }
            }
            seed = seed.saturating_add(wish.threads.max(1));
        }
        (broken, counts)
    };
    thread::scope(|scope| {
        let part = &part;
        let threads: Vec<_> =
            (0..wish.threads.max(1)).map(|thread| scope.spawn(move || part(thread))).collect();
        let (mut broken, mut counts) = (Vec::new(), Counts::default());
        for thread in threads {
            // A panic here is a mistake of this program, and was told on stderr.
            let Ok((some, more)) = thread.join() else {
                broken.push((wish.first, "this program panicked".to_owned()));
                continue;
            };
            broken.extend(some);
            counts.merge(&more);
        }
        broken.sort();
        (broken, counts)
    })
}
