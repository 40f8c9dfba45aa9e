//! Requests about managed disks.

use std::sync::Mutex;

use http::Method;
use serde_json::Value;

use crate::ask::Ask;
use crate::bulk::Listed;
use crate::client::Arm;
use crate::gathering::Gathering;
use crate::model::disk::{Disk, DiskCreate, DiskPatch};
use crate::pace::Pace;
use crate::{Deadline, DiskId, Error, ResourceGroup};

const VERSION: &str = "api-version=2025-01-02";

impl Listed for Disk {
    const VERSION: &'static str = VERSION;
    const WORDS: [&'static str; 2] = ["read disk", "list disks"];

    fn id(&self) -> &str {
        &self.id
    }

    fn gathering(arm: &Arm) -> &Mutex<Gathering<Disk>> {
        &arm.inner.disks
    }
}

impl Arm {
    /// A disk as it is now.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is none; and what every request can fail with.
    pub async fn disk(&self, id: &DiskId, deadline: Deadline) -> Result<Disk, Error> {
        self.read(&Ask::get("read disk", id.as_str(), VERSION, deadline)).await
    }

    /// The same; where many disks of a group are asked for at once a list may tell it, one that is asked for later than
    /// this. A list is no proof that an operation has ended: what must be certain is read by [`Arm::disk`].
    ///
    /// # Errors
    /// As [`Arm::disk`].
    pub async fn disk_of_many(&self, id: &DiskId, deadline: Deadline) -> Result<Disk, Error> {
        self.one_of_many(id.as_str(), deadline).await
    }

    /// All disks of a group.
    pub async fn disks(&self, group: &ResourceGroup, deadline: Deadline) -> Result<Vec<Disk>, Error> {
        let path = group.collection("disks");
        self.read_all(&Ask::list("list disks", &path, VERSION, deadline)).await
    }

    /// Makes a disk, or changes the one that is there to what the body says, and waits until it is done.
    pub async fn create_disk(
        &self,
        id: &DiskId,
        body: &DiskCreate,
        deadline: Deadline,
    ) -> Result<Disk, Error> {
        let ask = Ask::write("create disk", Method::PUT, id.as_str(), VERSION, Some(body), deadline)?;
        self.written(&ask, self.disk(id, deadline)).await
    }

    /// Changes what the body says, and waits until it is done.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is no such disk; and what every request can fail with.
    pub async fn update_disk(
        &self,
        id: &DiskId,
        body: &DiskPatch,
        deadline: Deadline,
    ) -> Result<Disk, Error> {
        let ask = Ask::write("update disk", Method::PATCH, id.as_str(), VERSION, Some(body), deadline)?;
        self.written(&ask, self.disk(id, deadline)).await
    }

    /// Deletes a disk, and waits until it is gone; one that is not there counts as deleted.
    pub async fn delete_disk(&self, id: &DiskId, deadline: Deadline) -> Result<(), Error> {
        let ask = Ask::write("delete disk", Method::DELETE, id.as_str(), VERSION, None::<&Value>, deadline)?;
        self.deleted(&ask).await
    }

    /// A disk once nothing is going on with it any more: an earlier call, or another process, may still be
    /// writing. It may have ended as failed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Timeout`] if that takes longer than `deadline`.
    pub async fn settled_disk(&self, id: &DiskId, deadline: Deadline) -> Result<Disk, Error> {
        let mut pace = Pace::new();
        loop {
            self.rest("wait for disk", id.as_str(), &mut pace, deadline).await?;
            let disk = self.disk(id, deadline).await?;
            if disk.provisioning_state().is_terminal() {
                return Ok(disk);
            }
        }
    }
}
