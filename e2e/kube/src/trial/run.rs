//! All the tests, in their order, as often as asked for; each part has a report of its own.

use super::report::Report;
use super::world::World;
use super::{Options, Part, failures, story};
use crate::cluster::Cluster;
use crate::{Failure, audit, memory, ready, suite};

/// Runs what `options` ask for; inside the cluster's namespaces. One part that fails does not keep the next from its
/// turn.
pub async fn run(cluster: &Cluster, options: &Options) -> Result<(), Failure> {
    let (mut failed, mut ran) = (Vec::new(), false);
    for round in 1..=options.rounds {
        for part in options.chosen() {
            let name = if options.rounds > 1 { format!("{part} {round}") } else { part.to_string() };
            let mut report = Report::new(cluster.place(), &name);
            // The report tells it, too; but a part can end before its first step.
            let ended = run_part(cluster, part, options, &mut report).await;
            // A name can choose nothing of one part and something of the next.
            if ended.is_ok() && report.cases().is_empty() && options.only.is_some() {
                continue;
            }
            ran = true;
            report.note(&format!("report: {}", report.write()?.display()));
            if let Err(failure) = ended.and_then(|()| report.verdict()) {
                failed.push(format!("{name}: {failure}"));
            }
        }
    }
    if !ran {
        failed.push(format!("no test's name contains `{}`", options.only.as_deref().unwrap_or_default()));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

async fn run_part(
    cluster: &Cluster,
    part: Part,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    let place = cluster.place();
    match part {
        Part::Story => story::run(&World::open(cluster).await?, two_nodes(cluster)?, options, report).await,
        Part::Failures => {
            failures::run(&World::open(cluster).await?, two_nodes(cluster)?, options, report).await
        }
        Part::Suite => suite::run::run(place, report).await,
        Part::Ready => {
            ready::run(place, report).await?;
            memory::run(place, report).await
        }
        Part::Audit => audit::run(place, &options.audits, report).await,
    }
}

fn two_nodes(cluster: &Cluster) -> Result<[&str; 2], Failure> {
    match cluster.shape().nodes.as_slice() {
        [first, second, ..] => Ok([&first.name, &second.name]),
        _ => Err("these tests need two nodes".into()),
    }
}
