//! Expansion of volumes that are in use, and the same volume on another node.

use std::time::Duration;

use serde_json::json;

use super::{NAMESPACE, Story};
use crate::Failure;
use crate::trial::junit::Outcome;
use crate::trial::kernel;
use crate::trial::objects::Mode;
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{READY, XFS};

/// MiB that a file system on an expanded volume of 6 GiB has at least.
const GROWN: u64 = 6 * 1024 * 9 / 10;

pub(super) async fn tell(
    story: &Story<'_>,
    [here, there]: [&str; 2],
    sum: &str,
    report: &mut Report,
) -> Result<(), Failure> {
    let online = async {
        story.claim("grows", XFS, 4, Mode::Filesystem, None).await?;
        story.pod("grows", "grows", Mode::Filesystem, here).await?;
        let sum = story.write("grows").await?;
        ask(story, "grows").await?;
        grown(story, "grows").await?;
        story.sees("grows", &sum).await
    };
    report.step("an xfs volume expanded to 6 GiB while its pod runs", online).await?;

    report
        .step("the ext4 volume expanded to 6 GiB in Azure while its pod runs", async {
            ask(story, "first").await?;
            expanded_in_azure(story, "first").await
        })
        .await?;
    let name = "the ext4 file system grown while its pod runs";
    match kernel::ext4_growth() {
        Ok(()) => report.step(name, grown(story, "first")).await?,
        Err(why) => report.add(name, Duration::ZERO, Outcome::Skipped(why)),
    }
    let moved = async {
        story.delete_pod("first").await?;
        story.pod("first", "first", Mode::Filesystem, there).await?;
        story.sees("first", sum).await?;
        grown(story, "first").await
    };
    report
        .step(&format!("the same volume on {there}: its pod reads the same, and all of the 6 GiB"), moved)
        .await
}

/// Asks for 6 GiB.
async fn ask(story: &Story<'_>, claim: &str) -> Result<(), Failure> {
    let patch = json!({ "spec": { "resources": { "requests": { "storage": "6Gi" } } } }).to_string();
    let arguments = ["patch", "pvc", claim, "--namespace", NAMESPACE, "--patch", &patch];
    story.world.kubernetes.run(&arguments, "").await?;
    Ok(())
}

/// Waits until the pod of the same name as its claim sees the new size, and Kubernetes says so.
async fn grown(story: &Story<'_>, name: &str) -> Result<(), Failure> {
    until("the claim and its file system have 6 GiB", READY, async || {
        let claim = story.world.kubernetes.claim(NAMESPACE, name).await?;
        let status = &claim["status"];
        holds(status["capacity"]["storage"] == "6Gi", || format!("the claim says {status}"))?;
        let found = story.mebibytes(name).await?;
        holds(found >= GROWN, || format!("the file system has {found} MiB"))
    })
    .await
}

async fn expanded_in_azure(story: &Story<'_>, claim: &str) -> Result<(), Failure> {
    let volume = story.world.volume_of(NAMESPACE, claim).await?;
    until("the disk has 6 GiB", READY, async || {
        let model = story.world.azure.model().await?;
        let disks = model["disks"].as_array().into_iter().flatten();
        let disk = disks.filter(|disk| disk["name"] == volume).map(|disk| &disk["properties"]["diskSizeGB"]);
        let sizes: Vec<_> = disk.cloned().collect();
        holds(sizes == [6], || format!("it has {sizes:?} GiB"))
    })
    .await
}
