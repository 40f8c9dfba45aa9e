//! `k8s`: the playground's program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cluster::{Failure, tools};

/// A real Kubernetes on this machine, on an emulated Azure.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    cache: tools::Cache,
    /// The checkout.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    checkout: PathBuf,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds what the cluster is made of, and says where it is.
    Tools,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let checkout = std::path::absolute(&arguments.checkout)?;
    let cache = arguments.cache.folder()?;
    match arguments.verb {
        Verb::Tools => {
            let tools = tools::ready(&checkout, &cache, &checkout.join("target/k8s")).await?;
            eprintln!("{}", tools.display());
        }
    }
    Ok(())
}
