//! The driver on a node is killed at every stage of a pod's start and end. Whatever it was doing is done by the next one:
//! formatting included, which is why each start has a new disk.

use std::time::Duration;

use tokio::time::Instant;

use super::scene::Scene;
use crate::Failure;
use crate::trial::containers;
use crate::trial::junit::Outcome;
use crate::trial::machines::{self, Role, kubelet};
use crate::trial::records::checksum;
use crate::trial::report::Report;
use crate::trial::wait::holds;
use crate::trial::world::{DRIVER, EXT4, READY};

/// Between two looks for a moment that is short.
const LOOK: Duration = Duration::from_millis(2);

/// A moment in the life of a pod with a volume, as it is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Wanted,
    Attached,
    Formatting,
    Staged,
    Published,
    Unpublished,
    Unstaged,
}

impl Moment {
    const ALL: [Moment; 7] = [
        Moment::Wanted,
        Moment::Attached,
        Moment::Formatting,
        Moment::Staged,
        Moment::Published,
        Moment::Unpublished,
        Moment::Unstaged,
    ];

    fn words(self) -> &'static str {
        match self {
            Moment::Wanted => "its attachment appears",
            Moment::Attached => "it is attached",
            Moment::Formatting => "mkfs runs",
            Moment::Staged => "its staging mount appears",
            Moment::Published => "its mount for the pod appears",
            Moment::Unpublished => "its mount for the pod goes",
            Moment::Unstaged => "its staging mount goes",
        }
    }

    fn is_at_end(self) -> bool {
        matches!(self, Moment::Unpublished | Moment::Unstaged)
    }
}

/// What can be seen of one volume from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sight {
    has_attachment: bool,
    is_attached: bool,
    is_formatting: bool,
    is_staged: bool,
    is_published: bool,
}

impl Moment {
    /// Whether it is now, or past.
    fn has_come(self, sight: Sight) -> bool {
        match self {
            Moment::Wanted => sight.has_attachment,
            Moment::Attached => sight.is_attached,
            Moment::Formatting => sight.is_formatting || sight.is_staged,
            Moment::Staged => sight.is_staged,
            Moment::Published => sight.is_published,
            Moment::Unpublished => !sight.is_published,
            Moment::Unstaged => !sight.is_staged,
        }
    }

    /// Whether it is over already: what was to be broken is done.
    fn is_missed(self, sight: Sight) -> bool {
        self == Moment::Formatting && sight.is_staged
    }
}

pub(super) async fn killed(scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
    for (number, moment) in Moment::ALL.into_iter().enumerate() {
        let pod = format!("pod-{number}");
        let before = Instant::now();
        let name = format!("the driver killed when of a volume {}: the pod comes and goes", moment.words());
        let seen = report.step(&name, kill_at(scene, &pod, moment)).await?;
        if !seen {
            let why = format!("{} was over before it was seen; the kill came after it", moment.words());
            report.add(&format!("seen: {}", moment.words()), before.elapsed(), Outcome::Skipped(why));
        }
    }
    report.step("the writer beside it goes on", scene.goes_on()).await
}

/// Whether the moment itself was met.
async fn kill_at(scene: &Scene<'_>, pod: &str, moment: Moment) -> Result<bool, Failure> {
    let (world, node) = (scene.world, scene.here);
    world.renew_drivers(Role::Node, Some(node)).await?;
    let before = world.drivers(Role::Node, Some(node)).await?;
    scene.begin_pod(pod, EXT4, node).await?;
    if moment.is_at_end() {
        scene.pod_works(pod).await?;
        let arguments = ["delete", "--wait=false", "--namespace", scene.namespace, "pod", pod];
        world.kubernetes.run(&arguments, "").await?;
    }
    let sight = watch(scene, pod, moment, &before[0].id).await?;
    world.kill_drivers(&before)?;
    world.drivers_again(Role::Node, Some(node), &before).await?;
    if !moment.is_at_end() {
        scene.pod_works(pod).await?;
    }
    scene.delete_pod(pod).await?;
    scene.goes_on().await?;
    Ok(!moment.is_missed(sight))
}

/// Looks until the moment has come.
async fn watch(scene: &Scene<'_>, pod: &str, moment: Moment, driver: &str) -> Result<Sight, Failure> {
    let end = Instant::now() + READY;
    let kubelet = machines::pid(&kubelet(scene.here))?;
    let volume = loop {
        if let Ok(volume) = scene.world.volume_of(scene.namespace, pod).await {
            break volume;
        }
        holds(Instant::now() < end, || format!("{pod} got no volume"))?;
        tokio::time::sleep(LOOK).await;
    };
    let disk = scene.world.disk_of(&volume).await?;
    let look = async || look(scene, [&volume, &disk], moment, kubelet, driver).await;
    loop {
        let sight = look().await?;
        if moment.has_come(sight) {
            return Ok(sight);
        }
        holds(Instant::now() < end, || format!("waited until {}; seen: {sight:?}", moment.words()))?;
        tokio::time::sleep(LOOK).await;
    }
}

/// Looks only as far as the moment asks: each look costs time in which it may pass.
async fn look(
    scene: &Scene<'_>,
    [volume, disk]: [&str; 2],
    moment: Moment,
    kubelet: i32,
    driver: &str,
) -> Result<Sight, Failure> {
    let mut sight = Sight::default();
    if matches!(moment, Moment::Wanted | Moment::Attached) {
        let attachments = scene.world.kubernetes.attachments().await?;
        let its = attachments.iter().find(|one| one["spec"]["source"]["persistentVolumeName"] == volume);
        sight.has_attachment = its.is_some();
        sight.is_attached = its.is_some_and(|one| one["status"]["attached"] == true);
        return Ok(sight);
    }
    let mounts = std::fs::read_to_string(format!("/proc/{kubelet}/mountinfo"))?;
    sight.is_staged = is_staged(&mounts, disk);
    sight.is_published = is_published(&mounts, volume);
    sight.is_formatting = moment == Moment::Formatting && containers::runs(driver, "mkfs.ext4")?;
    Ok(sight)
}

/// Whether a volume with this id is mounted where the kubelet stages it: in a folder called after the hash of the id.
fn is_staged(mounts: &str, volume_id: &str) -> bool {
    let folder = format!("/plugins/kubernetes.io/csi/{DRIVER}/{}/globalmount ", checksum(volume_id));
    mounts.contains(&folder)
}

/// Whether a volume is mounted for a pod.
fn is_published(mounts: &str, volume: &str) -> bool {
    mounts.contains(&format!("/volumes/kubernetes.io~csi/{volume}/mount "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_other_volumes_are_not_this_ones() {
        let hash = checksum("/subscriptions/a");
        let mounts = format!(
            "1 2 7:0 / /var/lib/kubelet/plugins/kubernetes.io/csi/{DRIVER}/{hash}/globalmount rw - ext4 /dev/loop0 rw\n\
             2 2 7:0 / /var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pvc-1/mount rw - ext4 /dev/loop0 rw\n"
        );
        assert!(is_staged(&mounts, "/subscriptions/a") && !is_staged(&mounts, "/subscriptions/b"));
        assert!(is_published(&mounts, "pvc-1") && !is_published(&mounts, "pvc"));
    }

    #[test]
    fn mkfs_that_was_over_before_it_was_seen_is_missed() {
        let (running, over) = (
            Sight { is_formatting: true, ..Sight::default() },
            Sight { is_staged: true, ..Sight::default() },
        );
        for (sight, has_come, is_missed) in
            [(running, true, false), (over, true, true), (Sight::default(), false, false)]
        {
            assert_eq!(Moment::Formatting.has_come(sight), has_come);
            assert_eq!(Moment::Formatting.is_missed(sight), is_missed);
        }
    }
}
