//! What the driver weighs, and how fast it attaches and detaches: every time beside the least that the same work
//! can cost (docs/bench.md tells how to read the table). It judges only the weights that the README promises.
//!
//! `make bench`, with `ARGS='--help'` for what can be chosen.
#![expect(clippy::print_stdout, reason = "a program for people")]

mod attacher;
mod azure;
mod cases;
mod driver;
mod floor;
mod rolling;
mod row;
mod table;
mod traffic;
mod volumes;
mod wall;
mod weights;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use e2e::Failure;
use tokio::time::Instant;

use crate::azure::Azure;
use crate::cases::{Case, Pace};
use crate::rolling::Shape;
use crate::row::{cells, head, megabytes};
use crate::wall::{Outcome, Wall, Weight};

/// The middle of what attaches and detaches were recorded to take, as a duration of all of them.
const MEDIAN: Pace = Pace::Fixed(6000);

/// Measures the driver, on the emulated Azure.
#[derive(Parser)]
struct Arguments {
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Weights, Part::Calls, Part::Rolling])]
    parts: Vec<Part>,
    /// A CSI endpoint that is measured beside our driver, as unix:///path/of/socket.
    #[arg(long, requires = "emulator")]
    endpoint: Option<String>,
    /// The azure-emulator that the driver behind --endpoint works on, as http://ADDRESS.
    #[arg(long, requires = "endpoint")]
    emulator: Option<String>,
    /// What realistic durations are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the calls are throttled: off, real, or real:SPEED.
    #[arg(long, default_value = "off")]
    throttle: String,
    /// VMs of the rolling move.
    #[arg(long, default_value_t = 100)]
    vms: usize,
    /// Disks on each of them, at most 32.
    #[arg(long, default_value_t = 32)]
    disks: usize,
    /// Only cases with this in their name.
    #[arg(long, default_value = "")]
    only: String,
}

/// A part of the benchmarks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Size, memory and start of the program.
    Weights,
    /// Attach and detach, by the clock on the wall.
    Calls,
    /// Every VM hands its disks to the next, in virtual time and throttled as by Azure.
    Rolling,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        println!("a debug build: these figures say nothing; use `make bench`");
    }
    let mut is_as_promised = true;
    if arguments.parts.contains(&Part::Weights) {
        is_as_promised = weights::print().await?;
    }
    let (mut rows, mut notes) = (vec![head()], Vec::new());
    if arguments.parts.contains(&Part::Calls) {
        calls(&arguments, &mut rows, &mut notes).await?;
    }
    if arguments.parts.contains(&Part::Rolling) {
        for pace in [MEDIAN, Pace::Realistic(arguments.seed)] {
            rolling_move(&arguments, pace, &mut rows, &mut notes)?;
        }
    }
    if rows.len() > 1 {
        println!("\n{}", table::aligned(&rows));
    }
    for note in notes {
        println!("{note}");
    }
    Ok(if is_as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rolling move on our driver. On a thread of its own, because this one has a clock that runs.
fn rolling_move(
    arguments: &Arguments,
    pace: Pace,
    rows: &mut Vec<Vec<String>>,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let (shape, seed) = (Shape { vms: arguments.vms, each: arguments.disks }, arguments.seed);
    let name = format!("rolling move, {} VMs × {}", shape.vms, shape.each);
    eprintln!("measuring: {name}, {}", pace.name());
    let began = Instant::now();
    let rolled = std::thread::spawn(move || rolling::run(shape, pace, seed)).join();
    let rolled = rolled.map_err(|_| "the rolling move panicked")??;
    let took = began.elapsed();
    let sample = rolled.sample(shape);
    rows.extend(cells(&name, &pace.name(), shape.vms * shape.each, &[sample], "≤ 1.1 × floor, no 429"));
    notes.push(format!("{name}, {}: {}, simulated in {}", pace.name(), rolled.story(), row::duration(took)));
    Ok(())
}

/// The cases on our driver, then on the other one, if there is one.
async fn calls(
    arguments: &Arguments,
    rows: &mut Vec<Vec<String>>,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut cases = cases::all(arguments.seed);
    cases.retain(|case| case.name.contains(&arguments.only));
    let folder = tempfile::tempdir()?;
    let azure = Azure::serve()?;
    let mut ours = Wall::ours(&azure, &arguments.throttle, folder.path()).await?;
    measure(&mut ours, &cases, rows, notes).await?;
    ours.clean().await?;
    if let (Some(endpoint), Some(emulator)) = (&arguments.endpoint, &arguments.emulator) {
        let azure = Azure::at(emulator);
        let mut theirs = Wall::at(endpoint, &azure, &arguments.throttle).await?;
        rows.push(vec![format!("behind {endpoint}:")]);
        measure(&mut theirs, &cases, rows, notes).await?;
        notes.push(format!("nothing is known of the process behind {endpoint}: no memory, no rolling move"));
        theirs.clean().await?;
    }
    Ok(())
}

async fn measure(
    wall: &mut Wall<'_>,
    cases: &[Case],
    rows: &mut Vec<Vec<String>>,
    notes: &mut Vec<String>,
) -> Result<(), Failure> {
    for case in cases {
        eprintln!("measuring: {}, {}", case.name, case.pace.name());
        let Outcome { samples, weight } = wall.run(case).await?;
        rows.extend(cells(&case.name, &case.pace.name(), case.measured.len(), &samples, case.wanted));
        if let Some(Weight { before, peak, after }) = weight {
            let [before, peak, after] = [before, peak, after].map(megabytes);
            notes.push(format!(
                "RSS of the driver around {}, {}: {before} before, {peak} at most, {after} after (wanted: ≤ 14 MB after)",
                case.name,
                case.pace.name()
            ));
        }
    }
    Ok(())
}
