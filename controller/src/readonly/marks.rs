//! Reading and writing the tags of `readonly`.
//!
//! A PATCH replaces all tags of a disk, so a write reads them first, and the writes of one disk take turns: each is
//! a task of its own, which a caller that hangs up does not cancel. **Invariants:** a plain publish or unpublish of
//! a disk without a tag of ours costs no request; nothing is concluded from a document that Azure is still changing,
//! since the change may be of these tags.

use std::sync::Arc;
use std::time::Duration;

use azure::{Arm, Disk, DiskId, DiskPatch, ErrorKind, VmId};
use csi::{Error, Flights, Kind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::turns::{Turn, Turns};
use super::{Change, Mode, Step, Tag, decide, is_sole_wish, merged, refusal};
use crate::arm_error::{Rpc, after_write, csi_error};
use crate::cluster::ClusterView;

/// Between two tries to be the one who writes a disk's tags.
const PAUSE: Duration = Duration::from_millis(50);

/// What is published read-only. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Marks {
    arm: Arm,
    cluster: watch::Receiver<ClusterView>,
    turns: Turns,
    writes: Arc<Flights<Change, ()>>,
}

impl Marks {
    /// Asks `arm`, and Kubernetes as far as `cluster` shows it; writes are tasks of `tasks`.
    pub(crate) fn new(arm: Arm, cluster: watch::Receiver<ClusterView>, tasks: TaskTracker) -> Marks {
        Marks { arm, cluster, turns: Turns::default(), writes: Arc::new(Flights::new(tasks)) }
    }

    /// Begins a publish; see [`Turns::take`].
    pub(crate) fn turn(&self, disk: &DiskId, node_id: &str, mode: Mode) -> Result<Arc<Turn>, Error> {
        self.turns.take(disk, node_id, mode).map(Arc::new)
    }

    /// Makes the tag what the publish needs before its attach to `vm`; `found` is the disk as it was read in this turn.
    ///
    /// # Errors
    /// ALREADY_EXISTS if the pair is published the other way.
    pub(crate) async fn settle(
        &self,
        turn: &Arc<Turn>,
        vm: &VmId,
        found: Box<Disk>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let Turn { disk, node_id, tag, mode: asked, .. } = &**turn;
        let found = if found.provisioning_state().is_terminal() {
            found
        } else {
            let settled = self.arm.settled_disk(disk, deadline).await;
            Box::new(settled.map_err(|error| csi_error(Rpc::Publish, &error))?)
        };
        let tagged = tag.mode_of(&found);
        if tagged == *asked {
            return Ok(());
        }
        let is_on_vm = found.is_held_by(vm) || self.is_listed(vm, disk, deadline).await?;
        let is_sole_wish = is_sole_wish(&self.cluster.borrow(), disk.as_str(), node_id);
        match decide(*asked, tagged, is_on_vm, is_sole_wish) {
            Step::Go => return Ok(()),
            Step::Refuse => return Err(refusal(disk.name(), node_id, vm, *asked)),
            Step::Write => {}
        }
        if is_on_vm {
            tracing::info!(
                disk = disk.name(),
                node_id,
                "an attached disk is published read-only from now on"
            );
        }
        let change = match asked {
            Mode::ReadOnly => Change::Add(tag.clone()),
            Mode::ReadWrite => Change::Remove(tag.clone()),
        };
        self.write(disk, change, Some(turn), deadline).await
    }

    /// Forgets how the disk was published on a node: `found` shows that the node's VM (if it exists) let go of it.
    pub(crate) async fn forget(
        &self,
        disk: &DiskId,
        node_id: &str,
        vm: Option<VmId>,
        found: Option<Disk>,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.drop_tags(disk, Change::Forget(Tag::of(node_id), vm), found, deadline).await
    }

    /// The same for every node.
    pub(crate) async fn forget_all(
        &self,
        disk: &DiskId,
        found: Option<Disk>,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.drop_tags(disk, Change::ForgetAll, found, deadline).await
    }

    async fn drop_tags(
        &self,
        disk: &DiskId,
        change: Change,
        found: Option<Disk>,
        deadline: Instant,
    ) -> Result<(), Error> {
        // A disk that is gone has no tags.
        let Some(found) = found else { return Ok(()) };
        let tags = found.tags.clone().unwrap_or_default();
        let is_in_flight = |tag: &Tag| self.turns.has(disk, tag);
        if found.provisioning_state().is_terminal() && merged(&tags, &change, is_in_flight).is_none() {
            return Ok(());
        }
        self.write(disk, change, None, deadline).await
    }

    /// Whether the VM's model has the disk, and does not say that it goes.
    async fn is_listed(&self, vm: &VmId, disk: &DiskId, deadline: Instant) -> Result<bool, Error> {
        let model = self.arm.vm(vm, deadline).await.map_err(|error| csi_error(Rpc::Publish, &error))?;
        Ok(model.data_disks().iter().any(|one| !one.is_leaving() && one.disk_id().as_ref() == Some(disk)))
    }

    /// Makes the change when the disk's tags are free. The turn of the publish that it is for lasts as long as the write
    /// does, also if the caller hangs up.
    async fn write(
        &self,
        disk: &DiskId,
        change: Change,
        turn: Option<&Arc<Turn>>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let key = disk.as_str().to_ascii_lowercase();
        loop {
            let (this, id, what, turn) = (self.clone(), disk.clone(), change.clone(), turn.cloned());
            let work = async move {
                let done = this.write_now(&id, &what, deadline).await;
                drop(turn);
                done
            };
            match self.writes.run(&key, "change of tags", change.clone(), work).await {
                Err(error) if error.kind() == Kind::Busy && Instant::now() + PAUSE < deadline => {
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Reads, merges, writes.
    async fn write_now(&self, disk: &DiskId, change: &Change, deadline: Instant) -> Result<(), Error> {
        let is_after = matches!(change, Change::Forget(..) | Change::ForgetAll);
        let rpc = if is_after { Rpc::Unpublish } else { Rpc::Publish };
        let found = match self.arm.settled_disk(disk, deadline).await {
            Ok(found) => found,
            Err(error) if is_after && error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(csi_error(rpc, &error)),
        };
        // Somebody attached it again.
        let is_back = match change {
            Change::Forget(_, Some(vm)) => found.is_held_by(vm),
            Change::ForgetAll => !found.holders().is_empty(),
            Change::Add(_) | Change::Remove(_) | Change::Forget(_, None) => false,
        };
        let tags = found.tags.clone().unwrap_or_default();
        let Some(tags) = merged(&tags, change, |tag| self.turns.has(disk, tag)).filter(|_| !is_back) else {
            return Ok(());
        };
        let patch = DiskPatch { tags: Some(tags), ..DiskPatch::default() };
        let Err(error) = self.arm.update_disk(disk, &patch, deadline).await else { return Ok(()) };
        let answer = after_write(rpc, &error);
        if is_after && answer.kind().is_final() {
            // The disk is free, and a tag without it counts for nothing: no reason to hold up its way elsewhere.
            let disk = disk.name();
            tracing::warn!(disk, %error, "the tag of a read-only publish stays; the next publish puts it right");
            return Ok(());
        }
        Err(answer)
    }
}
