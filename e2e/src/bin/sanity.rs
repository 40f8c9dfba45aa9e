//! `make sanity`: the unmodified csi-sanity, once with mounted volumes and once with raw block ones. Prints
//! the name of every skipped case, and fails on anything that did not run as it should.

#![expect(clippy::print_stdout, reason = "a report for a person")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use e2e::Failure;
use e2e::sanity::report::Outcome;
use e2e::sanity::run::{AccessType, run};

/// Runs csi-sanity against the built driver and the emulator.
#[derive(Parser)]
struct Arguments {
    /// The csi-sanity program; without a folder it is looked up in PATH.
    #[arg(long, default_value = "csi-sanity")]
    csi_sanity: PathBuf,
    /// The folder for the reports and logs.
    #[arg(long, default_value = "target/sanity")]
    reports: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match all(&arguments.csi_sanity, &arguments.reports).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("csi-sanity did not run: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn all(csi_sanity: &Path, reports: &Path) -> Result<bool, Failure> {
    std::fs::create_dir_all(reports)?;
    let reports = reports.canonicalize()?;
    let mut good = true;
    for access in [AccessType::Mount, AccessType::Block] {
        let report = reports.join(format!("sanity-{}.xml", access.word()));
        let shown = run(csi_sanity, access, &report).await?;
        let count = |outcome| shown.cases.iter().filter(|case| case.outcome == outcome).count();
        println!(
            "csi-sanity, {}: {} passed, {} failed, {} skipped, {} pending",
            access.word(),
            count(Outcome::Passed),
            count(Outcome::Failed),
            count(Outcome::Skipped),
            count(Outcome::Pending)
        );
        for case in shown.cases.iter().filter(|case| case.outcome == Outcome::Skipped) {
            println!("  skipped: {}", case.name);
        }
        for complaint in &shown.complaints {
            println!("  WRONG: {complaint}");
        }
        good &= shown.complaints.is_empty();
    }
    Ok(good)
}
