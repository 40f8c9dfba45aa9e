//! The life of a volume on a real Kubernetes, as a user lives it, with the time of each step.

mod copies;
mod expansion;
mod raw;

use super::Options;
use super::objects::{self, FOLDER, Mode};
use super::report::Report;
use super::world::{EXT4, Guard, READY, World};
use crate::Failure;

/// The name of the test.
pub const NAME: &str = "story";

/// The namespace of the story.
const NAMESPACE: &str = "story";

/// Tells the story once, on two nodes.
pub async fn run(
    world: &World,
    nodes: [&str; 2],
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    if !options.wants(NAME) {
        return Ok(());
    }
    report.begin(NAME);
    let before = world.holdings().await?;
    let guard = Guard::start(&world.azure);
    let told = tell(world, nodes, report).await;
    let cleared = report
        .step("all of it deleted: Kubernetes and Azure hold nothing of it", async {
            world.clear(NAMESPACE, &before).await?;
            guard.verdict()
        })
        .await;
    if cleared.is_ok() {
        let left = world.holdings().await?;
        let of_others = before.disks.len();
        report.note(&format!(
            "the emulator holds {} disks, {} snapshots, {} attached of it, beside {of_others} disks of others",
            left.disks.difference(&before.disks).count(),
            left.snapshots.difference(&before.snapshots).count(),
            left.attached.keys().filter(|disk| !before.attached.contains_key(*disk)).count(),
        ));
    }
    told.and(cleared)
}

async fn tell(world: &World, [here, there]: [&str; 2], report: &mut Report) -> Result<(), Failure> {
    let story = Story { world };
    let ready = async {
        world.namespace(NAMESPACE).await?;
        story.claim("first", EXT4, 4, Mode::Filesystem, None).await?;
        story.pod("first", "first", Mode::Filesystem, here).await
    };
    report.step(&format!("a claim of 4 GiB and its pod: ready on {here}"), ready).await?;
    let sum = report.step("32 MiB of noise written and synced", story.write("first")).await?;
    copies::tell(&story, here, &sum, report).await?;
    expansion::tell(&story, [here, there], &sum, report).await?;
    raw::tell(&story, [here, there], report).await
}

/// The steps that the chapters share.
struct Story<'a> {
    world: &'a World,
}

impl Story<'_> {
    async fn claim(
        &self,
        name: &str,
        class: &str,
        gib: u32,
        mode: Mode,
        source: Option<objects::Source<'_>>,
    ) -> Result<(), Failure> {
        let claim = objects::claim(NAMESPACE, name, class, gib, mode, source);
        self.world.kubernetes.create(&[claim]).await
    }

    /// A pod with a claim, ready.
    async fn pod(&self, name: &str, claim: &str, mode: Mode, node: &str) -> Result<(), Failure> {
        let pod = objects::pod(NAMESPACE, name, claim, mode, Some(node));
        self.world.kubernetes.create(&[pod]).await?;
        self.world.kubernetes.ready(NAMESPACE, name, READY).await?;
        Ok(())
    }

    async fn delete_pod(&self, name: &str) -> Result<(), Failure> {
        self.world.kubernetes.delete(NAMESPACE, &[&format!("pod/{name}")]).await
    }

    async fn shell(&self, pod: &str, script: &str) -> Result<String, Failure> {
        Ok(self.world.kubernetes.shell(NAMESPACE, pod, script).await?.trim().to_owned())
    }

    /// Fills a file with noise; answers its checksum.
    async fn write(&self, pod: &str) -> Result<String, Failure> {
        let script =
            format!("dd if=/dev/urandom of={FOLDER}/noise bs=1M count=32 conv=fsync 2>/dev/null; sync");
        self.shell(pod, &script).await?;
        self.checksum(pod).await
    }

    async fn checksum(&self, pod: &str) -> Result<String, Failure> {
        let sum = self.shell(pod, &format!("sha256sum {FOLDER}/noise | cut -d ' ' -f 1")).await?;
        if sum.len() == 64 { Ok(sum) } else { Err(format!("a checksum of {pod} is `{sum}`").into()) }
    }

    /// The pod sees the noise that has this checksum.
    async fn sees(&self, pod: &str, sum: &str) -> Result<(), Failure> {
        let found = self.checksum(pod).await?;
        if found == sum { Ok(()) } else { Err(format!("pod {pod} reads {found}, not {sum}").into()) }
    }

    /// The MiB of the file system that a pod sees.
    async fn mebibytes(&self, pod: &str) -> Result<u64, Failure> {
        let answer = self.shell(pod, &format!("df -P -m {FOLDER} | tail -n 1")).await?;
        let size = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        Ok(size.ok_or_else(|| format!("df said `{answer}`"))?)
    }
}
