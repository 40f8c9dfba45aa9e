//! Snapshot, restore and clone: what was written is in each, and a copy goes its own way.

use super::{NAMESPACE, Story};
use crate::Failure;
use crate::trial::objects::{self, Mode, Source};
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};
use crate::trial::world::{EXT4, READY, SNAPSHOTS};

pub(super) async fn tell(
    story: &Story<'_>,
    node: &str,
    sum: &str,
    report: &mut Report,
) -> Result<(), Failure> {
    report.step("a snapshot: ready to use", snapshot(story)).await?;
    let restored = copy(story, "restored", 8, Source::Snapshot("snapshot"), node, sum);
    report
        .step("a larger volume restored from it: its pod reads the same, and all of the 8 GiB", restored)
        .await?;
    let cloned = copy(story, "cloned", 4, Source::Claim("first"), node, sum);
    report.step("a clone of the volume that is in use: its pod reads the same", cloned).await?;
    let parted = async {
        story.write("cloned").await?;
        story.sees("first", sum).await?;
        story.sees("restored", sum).await
    };
    report.step("the clone written anew: the others keep what they had", parted).await
}

async fn snapshot(story: &Story<'_>) -> Result<(), Failure> {
    let kubernetes = &story.world.kubernetes;
    kubernetes.create(&[objects::snapshot(NAMESPACE, "snapshot", SNAPSHOTS, "first")]).await?;
    let path = format!("/apis/snapshot.storage.k8s.io/v1/namespaces/{NAMESPACE}/volumesnapshots/snapshot");
    until("the snapshot is ready to use", READY, async || {
        let found = kubernetes.get(&path).await?;
        holds(found["status"]["readyToUse"] == true, || found["status"].to_string())
    })
    .await
}

async fn copy(
    story: &Story<'_>,
    name: &str,
    gib: u32,
    source: Source<'_>,
    node: &str,
    sum: &str,
) -> Result<(), Failure> {
    story.claim(name, EXT4, gib, Mode::Filesystem, Some(source)).await?;
    story.pod(name, name, Mode::Filesystem, node).await?;
    story.sees(name, sum).await?;
    let found = story.mebibytes(name).await?;
    // A file system keeps some of its device for itself.
    let least = u64::from(gib) * 1024 * 9 / 10;
    holds(found >= least, || format!("pod {name} has {found} MiB, not at least {least}"))
}
