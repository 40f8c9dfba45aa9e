//! ControllerUnpublishVolume: OK only when the disk let go of the VM, and nothing under way can bring it
//! back (the attacher believes an OK at once and attaches elsewhere).

use std::time::Duration;

use azure::{Disk, DiskId, ErrorKind, VmId};
use csi::Error;
use csi::v1::ControllerUnpublishVolumeRequest;
use tokio::time::{Instant, sleep_until};

use crate::Core;
use crate::arm_error::{Rpc, csi_error};
use crate::attach::{NodeVm, Outcome};
use crate::disk;
use crate::left::{Found, Left, is_repeated};
use crate::readonly::{self, Mode};

/// Between two looks at a disk that a VM has not let go of yet: at first, and at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Detaches the volume from the node, or from every node if none is named.
pub(crate) async fn unpublish(
    core: &Core,
    request: &ControllerUnpublishVolumeRequest,
    deadline: Instant,
) -> Result<(), Error> {
    csi::require::field(&request.volume_id, "volume_id")?;
    // What is no id of Azure's was never attached to anything.
    let Ok(id) = request.volume_id.parse::<DiskId>() else { return Ok(()) };
    if request.node_id.is_empty() {
        return Box::pin(from_every_node(core, &id, deadline)).await;
    }
    let vm = core.find_vm(&request.node_id, Rpc::Unpublish, deadline).await?;
    let free = if let Some(vm) = &vm {
        let node = NodeVm { vm: vm.clone(), node_id: Some(request.node_id.clone()) };
        from_vm(core, &id, &node, deadline).await?
    } else {
        let blocking = Blocking::Unknown(&request.node_id);
        Free::read(Box::pin(until_free(core, &id, &blocking, deadline)).await?)
    };
    match free {
        Free::Unread => Ok(()),
        Free::Read(disk) => {
            let found = disk.map(|disk| *disk);
            Box::pin(core.marks.forget(&id, &request.node_id, vm, found, deadline)).await
        }
    }
}

/// Whose hold of the disk is waited for.
enum Blocking<'a> {
    Vm(&'a VmId),
    /// A node without a VM. Its disk may carry the VM's id for a while after the VM is gone, so a holder
    /// that does not exist counts as the node's.
    Unknown(&'a str),
}

/// A disk that a VM has let go of; who holds it may be told as it was before.
pub(crate) enum Free {
    /// The VM never had it in this call, so the disk was not read. What a cut call left to be forgotten about it the
    /// next publish puts right.
    Unread,
    /// As it was read last, unless it is gone.
    Read(Option<Box<Disk>>),
}

impl Free {
    fn read(disk: Option<Disk>) -> Free {
        Free::Read(disk.map(Box::new))
    }
}

/// Detaches the disk from one VM, and waits until it has let go of it.
pub(crate) async fn from_vm(
    core: &Core,
    id: &DiskId,
    node: &NodeVm,
    deadline: Instant,
) -> Result<Free, Error> {
    let node_id = node.node_id.as_deref().unwrap_or_default();
    let left = core.leavings.take(id, node_id).filter(|left| left.found == Found::Untagged);
    let is_known = left.is_some();
    let mut untagged = left.map(|left| left.read);
    // What has to be forgotten of the disk is read while Azure detaches it: it was there before.
    let read = Box::pin(async {
        if is_known {
            return None;
        }
        let begun = Instant::now();
        let found = unless_gone(core.arm.disk_of_many(id, deadline).await).ok()?;
        let is_untagged = |found: &Disk| readonly::is_settled(found, node_id, Mode::ReadWrite);
        untagged = found.as_ref().is_none_or(is_untagged).then_some(begun);
        Some(found)
    });
    let detached = core.attachments.detach(node, id, read, deadline).await;
    if let (Err(error), Some(read), Some(_)) = (&detached, untagged, &node.node_id)
        && is_repeated(error)
    {
        core.leavings.leave(id, node_id, Left { found: Found::Untagged, read });
    }
    match detached? {
        // A fresh read of the VM did not show it: there is nothing to wait for.
        (Outcome::Absent, _) => return Ok(Free::Unread),
        (Outcome::LetGo, _) if is_known => return Ok(Free::Unread),
        (Outcome::LetGo, Some(Some(found))) => return Ok(Free::read(found)),
        (Outcome::VmGone, _) => core.nodes.forget(&node.vm),
        (Outcome::Attached(_) | Outcome::Detached | Outcome::LetGo, _) => {}
    }
    Box::pin(until_free(core, id, &Blocking::Vm(&node.vm), deadline)).await.map(Free::read)
}

/// Detaches from whoever holds the disk now; an attach under way would hold it in a moment.
async fn from_every_node(core: &Core, id: &DiskId, deadline: Instant) -> Result<(), Error> {
    if core.claims.is_moving(id) {
        let name = id.name();
        return Err(Error::busy(format!("disk {name} is being attached or detached; try again")));
    }
    let mut found = look(core, id, deadline).await?;
    for vm in holders(found.as_ref())? {
        if let Free::Read(disk) = from_vm(core, id, &NodeVm { vm, node_id: None }, deadline).await? {
            found = disk.map(|disk| *disk);
        }
    }
    core.marks.forget_all(id, found, deadline).await
}

/// Waits until the disk names no holder that blocks; answers it as it was then, unless it is gone.
async fn until_free(
    core: &Core,
    id: &DiskId,
    blocking: &Blocking<'_>,
    deadline: Instant,
) -> Result<Option<Disk>, Error> {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let found = look(core, id, deadline).await?;
        let holders = holders(found.as_ref())?;
        let Some(vm) = first_blocking(core, &holders, blocking, deadline).await? else { return Ok(found) };
        let next = Instant::now() + pause;
        if next >= deadline {
            let (disk, vm) = (id.name(), vm.name());
            return Err(Error::unavailable(format!(
                "disk {disk} still names VM {vm} as its holder; Azure is letting it go, try again"
            )));
        }
        sleep_until(next).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn first_blocking(
    core: &Core,
    holders: &[VmId],
    blocking: &Blocking<'_>,
    deadline: Instant,
) -> Result<Option<VmId>, Error> {
    let node_id = match blocking {
        Blocking::Vm(vm) => return Ok(holders.iter().find(|holder| *holder == *vm).cloned()),
        Blocking::Unknown(node_id) => *node_id,
    };
    for holder in holders {
        match core.arm.vm(holder, deadline).await {
            Ok(vm) if vm.computer_name().is_some_and(|name| name.eq_ignore_ascii_case(node_id)) => {
                return Ok(Some(holder.clone()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(holder.clone())),
            Err(error) => return Err(csi_error(Rpc::Unpublish, &error)),
        }
    }
    Ok(None)
}

/// The disk as it is now; nothing if it does not exist.
async fn look(core: &Core, id: &DiskId, deadline: Instant) -> Result<Option<Disk>, Error> {
    unless_gone(core.arm.disk(id, deadline).await)
}

fn unless_gone(read: Result<Disk, azure::Error>) -> Result<Option<Disk>, Error> {
    match read {
        Ok(disk) => Ok(Some(disk)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(csi_error(Rpc::Unpublish, &error)),
    }
}

fn holders(disk: Option<&Disk>) -> Result<Vec<VmId>, Error> {
    disk.map_or(Ok(Vec::new()), disk::holders)
}
