//! Requests about snapshots.

use http::Method;
use serde_json::Value;

use crate::ask::Ask;
use crate::client::Arm;
use crate::model::snapshot::{Snapshot, SnapshotCreate};
use crate::pace::Pace;
use crate::{Deadline, Error, ResourceGroup, SnapshotId};

const VERSION: &str = "api-version=2025-01-02";

impl Arm {
    /// A snapshot as it is now.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] if there is none; and what every request can fail with.
    pub async fn snapshot(&self, id: &SnapshotId, deadline: Deadline) -> Result<Snapshot, Error> {
        self.read(&Ask::get("read snapshot", id.as_str(), VERSION, deadline)).await
    }

    /// All snapshots of a group.
    pub async fn snapshots(&self, group: &ResourceGroup, deadline: Deadline) -> Result<Vec<Snapshot>, Error> {
        let path = group.collection("snapshots");
        self.read_all(&Ask::list("list snapshots", &path, VERSION, deadline)).await
    }

    /// Cuts a snapshot, and waits until the cut is made; a background copy may go on.
    pub async fn create_snapshot(
        &self,
        id: &SnapshotId,
        body: &SnapshotCreate,
        deadline: Deadline,
    ) -> Result<Snapshot, Error> {
        let ask = Ask::write("create snapshot", Method::PUT, id.as_str(), VERSION, Some(body), deadline)?;
        self.written(&ask, self.snapshot(id, deadline)).await
    }

    /// Deletes a snapshot, and waits until it is gone; one that is not there counts as deleted.
    pub async fn delete_snapshot(&self, id: &SnapshotId, deadline: Deadline) -> Result<(), Error> {
        let ask =
            Ask::write("delete snapshot", Method::DELETE, id.as_str(), VERSION, None::<&Value>, deadline)?;
        self.deleted(&ask).await
    }

    /// A snapshot once nothing is going on with it any more but a background copy. It may have failed.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Timeout`] if that takes longer than `deadline`.
    pub async fn settled_snapshot(&self, id: &SnapshotId, deadline: Deadline) -> Result<Snapshot, Error> {
        let mut pace = Pace::new();
        loop {
            self.rest("wait for snapshot", id.as_str(), &mut pace, deadline).await?;
            let snapshot = self.snapshot(id, deadline).await?;
            if snapshot.provisioning_state().is_terminal() {
                return Ok(snapshot);
            }
        }
    }
}
