//! Lives many worlds and tells of the first that breaks; or one world again, with everything that happened in it.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use chaos::counts::Counts;
use chaos::rules::{Rules, Trouble};
use chaos::{Life, STEPS, live};
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
    /// Goes on after a seed that breaks, and lists them all.
    #[arg(long)]
    all: bool,
    /// Leaves out this kind of trouble, to see whether a failure needs it.
    #[arg(long)]
    without: Vec<Trouble>,
}

/// How much of a broken life is told at once.
const LAST: usize = 60;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let wish = Wish::parse();
    let rules = Rules::without(&wish.without);
    if let Some(seed) = wish.seed {
        let life = live(seed, wish.steps, &rules, true)?;
        life.trace.lines.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}, step {}, trace {:016x}", life.steps, life.trace.hash());
        return Ok(match life.breach {
            None => ExitCode::SUCCESS,
            Some(breach) => {
                println!("broken: {breach}");
                ExitCode::FAILURE
            }
        });
    }
    let begun = tokio::time::Instant::now();
    let (broken, counts) = many(&wish, &rules);
    print!("{counts}");
    println!("{} seeds of {} steps in {:.1} s", wish.seeds, wish.steps, begun.elapsed().as_secs_f64());
    let Some((seed, _)) = broken.first() else { return Ok(ExitCode::SUCCESS) };
    if wish.all {
        broken.iter().for_each(|(seed, what)| println!("seed {seed}: {what}"));
        println!("{} of {} seeds are broken", broken.len(), wish.seeds);
    }
    let life = live(*seed, wish.steps, &rules, true)?;
    life.trace.lines.iter().rev().take(LAST).rev().for_each(|line| println!("{line}"));
    tell(&wish, *seed, &life);
    Ok(ExitCode::FAILURE)
}

fn tell(wish: &Wish, seed: u64, life: &Life) {
    let what = life
        .breach
        .as_ref()
        .map_or("nothing, the second time: it is not the same life".to_owned(), ToString::to_string);
    println!("seed {seed}, step {}: {what}", life.steps);
    println!("again: make chaos SEED={seed} STEPS={}", wish.steps);
}

/// Lives all worlds, up to the first that breaks unless all are wanted. The broken ones in order, and the counts.
fn many(wish: &Wish, rules: &Rules) -> (Vec<(u64, String)>, Counts) {
    // No seed above the first broken one need be lived.
    let limit = AtomicU64::new(wish.first.saturating_add(wish.seeds));
    let part = |thread: u64| {
        let (mut broken, mut counts) = (Vec::new(), Counts::default());
        let mut seed = wish.first.saturating_add(thread);
        while seed < limit.load(Ordering::Relaxed) {
            let what = match live(seed, wish.steps, rules, false) {
                Err(mistake) => Some(mistake.to_string()),
                Ok(life) => {
                    counts.merge(&life.counts);
                    life.breach.map(|breach| format!("step {}: {breach}", life.steps))
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
