//! NodePublishVolume and NodeUnpublishVolume: the staged volume appears at the workload's path, and goes.
//!
//! A file system is bound from the staging path; a raw block volume is its device node, bound onto a file.
//! The target is made here and removed here. Who else has the volume is read from the mount table:
//!
//! | mode | same target, same way | same target, another way | another target |
//! |---|---|---|---|
//! | SINGLE_NODE_SINGLE_WRITER | OK | ALREADY_EXISTS | FAILED_PRECONDITION |
//! | any other | OK | ALREADY_EXISTS | OK |
//!
//! (SINGLE_NODE_WRITER, from a CO that does not know the newer modes, may publish twice: kubelets do.)
//!
//! The kernel has one read-only switch per block device, not per path. So a raw block volume is published
//! read-only everywhere on the node or nowhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi::Error;
use csi::v1::volume_capability::access_mode::Mode;
use tokio::time::Instant;

use crate::device::{self, Found};
use crate::host::{Host, Open, files, sysfs};
use crate::mountinfo::{MountPoint, Mounts};
use crate::options::MountWish;
use crate::{Inner, find, mounts, path_error, raw, stage, unstage};

/// The arguments, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish {
    pub(crate) volume_id: String,
    pub(crate) staging: PathBuf,
    pub(crate) target: PathBuf,
    /// Missing in the publish context of a CO that stages and does not repeat it.
    pub(crate) lun: Option<u8>,
    pub(crate) mode: Mode,
    pub(crate) read_only: bool,
    /// `None` for a raw block volume.
    pub(crate) mount: Option<MountWish>,
}

/// How a volume is seen at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct View {
    target: PathBuf,
    read_only: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// It is there.
    Done,
    /// Bind it.
    Bind,
}

/// Decides from the volume's views and what covers the target (`None`: nothing).
fn decide(call: &Publish, read_only: bool, views: &[View], covered: Option<&str>) -> Result<Step, Error> {
    let (id, target) = (&call.volume_id, call.target.display());
    let (here, others): (Vec<&View>, Vec<&View>) = views.iter().partition(|view| view.target == call.target);
    if let Some(view) = here.last() {
        if view.read_only == read_only {
            return Ok(Step::Done);
        }
        let there = if view.read_only { "read-only" } else { "writable" };
        return Err(Error::exists(format!("volume {id} is published at {target} {there}")));
    }
    if let Some(what) = covered {
        return Err(Error::exists(format!("{target} holds {what}, not volume {id}")));
    }
    if let Some(other) = others.first() {
        let other_target = other.target.display();
        if call.mode == Mode::SingleNodeSingleWriter {
            return Err(Error::precondition(format!(
                "volume {id} has a single writer and is published at {other_target}"
            )));
        }
        if call.mount.is_none() && others.iter().any(|view| view.read_only != read_only) {
            return Err(Error::precondition(format!(
                "raw block volume {id} is published at {other_target} the other way: a block device is \
                 read-only for all or for none"
            )));
        }
    }
    Ok(Step::Bind)
}

/// Publishes a volume; see the module. Blocking.
pub(crate) fn publish(host: &dyn Host, call: &Publish) -> Result<(), Error> {
    let call = &Publish { target: stage::resolved(&call.target)?, ..call.clone() };
    let mounts = mounts(host)?;
    match &call.mount {
        Some(wish) => publish_mount(host, call, wish, &mounts),
        None => publish_block(host, call, &mounts),
    }
}

fn publish_mount(host: &dyn Host, call: &Publish, wish: &MountWish, mounts: &Mounts) -> Result<(), Error> {
    let staging = stage::resolved(&call.staging)?;
    let id = &call.volume_id;
    let Some(staged) = mounts.top(&staging) else {
        return Err(Error::precondition(format!("volume {id} is not staged at {}", staging.display())));
    };
    if let Some(found) = at_lun(host, call)?.filter(|found| found.block.number != staged.device) {
        let (there, wanted) = (staged.device, found.block.number);
        return Err(Error::precondition(format!(
            "volume {id}: {} holds device {there}, but its disk is {wanted}; unstage and stage it again",
            staging.display()
        )));
    }
    if staged.fs_type != wish.fs_type.name() {
        let (there, wanted) = (&staged.fs_type, wish.fs_type.name());
        return Err(Error::exists(format!(
            "volume {id} is staged with {there}, published it would be {wanted}"
        )));
    }
    let views: Vec<View> = mounts
        .of_device(staged.device)
        .filter(|mount| mount.target != staging && mount.root == staged.root)
        .map(view)
        .collect();
    let read_only = call.read_only || staged.read_only || wish.read_only;
    let covered = mounts.top(&call.target).map(|mount| format!("{} from {}", mount.fs_type, mount.device));
    if decide(call, read_only, &views, covered.as_deref())? == Step::Done {
        return Ok(());
    }
    files::make_folder(&call.target).map_err(|error| path_error(&call.target, "made", &error))?;
    bind(host, &staging, call, read_only)
}

fn publish_block(host: &dyn Host, call: &Publish, mounts: &Mounts) -> Result<(), Error> {
    let id = &call.volume_id;
    if call.lun.is_none() {
        return Err(Error::invalid("publish_context has no LUN"));
    }
    let Some(found) = at_lun(host, call)? else {
        let lun = call.lun.unwrap_or_default();
        return Err(Error::unavailable(format!("volume {id}: its disk is not at LUN {lun} any more")));
    };
    let node = find::node(host, &found.block.name);
    let views: Vec<View> = raw::views(mounts, found.block.number, &node).map(view).collect();
    let covered = mounts.top(&call.target).map(|mount| format!("{} from {}", mount.fs_type, mount.device));
    if decide(call, call.read_only, &views, covered.as_deref())? == Step::Done {
        return Ok(());
    }
    let failed = |error: std::io::Error| path_error(&node, "opened", &error);
    let disk = host.open(&node, Open::Read).map_err(failed)?;
    if disk.number().map_err(failed)? != found.block.number {
        return Err(Error::unavailable(format!("{} is another device now; try again", node.display())));
    }
    if disk.is_read_only().map_err(failed)? != call.read_only {
        disk.set_read_only(call.read_only).map_err(|error| path_error(&node, "switched", &error))?;
    }
    files::make_file(&call.target).map_err(|error| path_error(&call.target, "made", &error))?;
    bind(host, &node, call, call.read_only)
}

fn view(mount: &MountPoint) -> View {
    View { target: mount.target.clone(), read_only: mount.read_only }
}

fn bind(host: &dyn Host, source: &Path, call: &Publish, read_only: bool) -> Result<(), Error> {
    host.bind(source, &call.target, read_only).map_err(|error| {
        path_error(&call.target, &format!("made a view of volume {}", call.volume_id), &error)
    })
}

/// The disk at the LUN of the call, as it is now.
fn at_lun(host: &dyn Host, call: &Publish) -> Result<Option<Found>, Error> {
    let Some(lun) = call.lun else { return Ok(None) };
    let devices =
        sysfs::scsi_devices(host.root()).map_err(|error| path_error(host.root(), "read", &error))?;
    Ok(device::choose(&devices, lun, 0).ok())
}

/// Takes a volume away from the workload's path and removes the path.
pub(crate) async fn unpublish(node: Arc<Inner>, target: PathBuf, deadline: Instant) -> Result<(), Error> {
    let target = node.blocking(move |_| stage::resolved(&target)).await?;
    unstage::unmount_all(&node, &target, false, deadline).await?;
    node.blocking(move |_| remove(&target)).await
}

fn remove(target: &Path) -> Result<(), Error> {
    files::remove(target).map_err(|error| match error.kind() {
        std::io::ErrorKind::DirectoryNotEmpty => Error::precondition(format!(
            "{} is not empty: nothing is mounted there, so what it holds is not of the volume and stays",
            target.display()
        )),
        _ => path_error(target, "removed", &error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;

    /// The answer for a publish at /t of a volume that is seen at the given paths.
    fn check(
        mode: Mode,
        is_block: bool,
        read_only: bool,
        seen: &[(&str, bool)],
        covered: bool,
    ) -> Result<Step, Kind> {
        let mount = MountWish { fs_type: crate::FsType::Ext4, read_only: false, options: Vec::new() };
        let call = Publish {
            volume_id: "v".to_owned(),
            staging: "/s".into(),
            target: "/t".into(),
            lun: Some(1),
            mode,
            read_only,
            mount: (!is_block).then_some(mount),
        };
        let views: Vec<View> = seen
            .iter()
            .map(|(path, read_only)| View { target: path.into(), read_only: *read_only })
            .collect();
        decide(&call, read_only, &views, covered.then_some("xfs")).map_err(|error| error.kind())
    }

    #[test]
    fn a_second_publish_follows_the_table() {
        use Mode::{SingleNodeMultiWriter as Many, SingleNodeSingleWriter as One, SingleNodeWriter as Old};
        let rows = [
            (Many, false, false, vec![], false, Ok(Step::Bind)),
            (Many, false, false, vec![], true, Err(Kind::Exists)),
            (One, false, false, vec![("/t", false)], true, Ok(Step::Done)),
            (One, false, true, vec![("/t", false)], true, Err(Kind::Exists)),
            (Many, false, false, vec![("/t", true)], true, Err(Kind::Exists)),
            (One, false, false, vec![("/u", false)], false, Err(Kind::Precondition)),
            (One, true, false, vec![("/u", false)], false, Err(Kind::Precondition)),
            (Many, false, true, vec![("/u", false)], false, Ok(Step::Bind)),
            (Old, false, false, vec![("/u", false)], false, Ok(Step::Bind)),
            (Many, true, false, vec![("/u", false)], false, Ok(Step::Bind)),
            (Many, true, true, vec![("/u", false)], false, Err(Kind::Precondition)),
            (One, false, false, vec![("/u", false), ("/t", false)], true, Ok(Step::Done)),
        ];
        for (mode, is_block, read_only, seen, covered, wanted) in rows {
            let answer = check(mode, is_block, read_only, &seen, covered);
            assert_eq!(answer, wanted, "{mode:?} block {is_block} read-only {read_only} seen {seen:?}");
        }
    }
}
