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
mod row;
mod table;
mod traffic;
mod volumes;
mod wall;
mod weights;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use e2e::Failure;

use crate::azure::Azure;
use crate::cases::Case;
use crate::row::{cells, head, megabytes};
use crate::wall::{Outcome, Wall, Weight};

/// Measures the driver, on the emulated Azure.
#[derive(Parser)]
struct Arguments {
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Weights, Part::Calls])]
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
    if rows.len() > 1 {
        println!("\n{}", table::aligned(&rows));
    }
    for note in notes {
        println!("{note}");
    }
    Ok(if is_as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
