//! How the data disks of a VM are written. Whoever plans an update says what shall come and go; a writer knows how
//! Azure takes it. There are two ways over ARM ([`super::full_list`] and the delta call), chosen for each VM by
//! [`super::choice`]; one that asks the node first would be a third.

use std::time::Duration;

use http::Method;

use crate::gates::draw::Draw;
use crate::model::vm::DiskChanges;
use crate::transport::BoxFuture;
use crate::{Arm, Deadline, Error, VmId};

/// What became of an update that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Azure brought it to its end. What became of each disk is for a read of the VM to tell.
    Done,
    /// The VM is not as it was when the update was planned, and Azure will not take this update any more: read the
    /// VM, plan again. It may be this very update that changed it, if the answer to a first try was lost.
    Changed,
}

/// Makes updates of VMs' data disks.
///
/// An update names the disks that it is about; a writer leaves all others on the VM as they are. It never makes a
/// VM: one that is not there is [`crate::ErrorKind::NotFound`].
pub trait DiskWriter: Send + Sync {
    /// Makes one update, and follows it to its end. It is sent before `deadline` or not at all; what Azure accepted is
    /// followed until `follow`, if that is later.
    ///
    /// # Errors
    /// What every write can fail with; [`Error::is_definite_refusal`] says whether it may still take effect.
    fn change<'a>(
        &'a self,
        vm: &'a VmId,
        changes: &'a DiskChanges,
        deadline: Deadline,
        follow: Deadline,
    ) -> BoxFuture<'a, Result<Written, Error>>;

    /// How long Azure takes no update of this VM, by what it said of late; `None`: it does.
    fn wait(&self, vm: &VmId) -> Option<Duration>;
}

/// The delta call: it cannot drop a disk that it does not name, and has a bucket of its own.
impl DiskWriter for Arm {
    fn change<'a>(
        &'a self,
        vm: &'a VmId,
        changes: &'a DiskChanges,
        deadline: Deadline,
        follow: Deadline,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        Box::pin(async move {
            self.change_and_follow(vm, changes, deadline, follow).await.map(|()| Written::Done)
        })
    }

    fn wait(&self, vm: &VmId) -> Option<Duration> {
        self.closed(&Draw::of(&Method::POST, &format!("{vm}/attachDetachDataDisks")))
    }
}
