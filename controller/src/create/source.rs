//! Looking at what a new volume starts with: a snapshot, or another volume.

use azure::{DiskId, ErrorKind, SnapshotId};
use csi::Error;
use tokio::time::Instant;

use super::wish::Source;
use crate::Core;
use crate::arm_error::{Rpc, csi_error};
use crate::disk::{self, Facts};
use crate::size::GIB;
use crate::sku::Sku;
use crate::snapshot;
use crate::zone::Place;

/// What the source says about the volume made from it.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) bytes: u64,
    pub(super) location: Option<String>,
    /// The place it ties the volume to.
    pub(super) tied: Option<Place>,
}

impl Origin {
    /// The size that the volume must have at least.
    pub(super) fn gib(&self) -> u64 {
        self.bytes.div_ceil(GIB)
    }
}

/// Looks at `source`.
///
/// # Errors
/// NOT_FOUND if it does not exist, UNAVAILABLE while it cannot be read from yet.
pub(super) async fn look(core: &Core, source: &Source, deadline: Instant) -> Result<Origin, Error> {
    match source {
        Source::Snapshot(id) => of_snapshot(core, id, deadline).await,
        Source::Volume(id) => of_volume(core, id, deadline).await,
    }
}

async fn of_snapshot(core: &Core, id: &SnapshotId, deadline: Instant) -> Result<Origin, Error> {
    let found = core.arm.settled_snapshot(id, deadline).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::not_found(format!("source snapshot {} does not exist", id.name())),
        _ => csi_error(Rpc::CreateVolume, &error),
    })?;
    if !snapshot::is_ready(&found) {
        let name = id.name();
        return Err(Error::unavailable(format!("source snapshot {name} is not ready to use yet; try again")));
    }
    Ok(Origin { bytes: found.bytes(), location: Some(found.location), tied: None })
}

/// A copy lies where the direct source lies; a zone-redundant source lies in every zone.
async fn of_volume(core: &Core, id: &DiskId, deadline: Instant) -> Result<Origin, Error> {
    let found = core.arm.settled_disk(id, deadline).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::not_found(format!("source volume {} does not exist", id.name())),
        _ => csi_error(Rpc::CreateVolume, &error),
    })?;
    if disk::has_failed(found.provisioning_state()) {
        let name = id.name();
        return Err(Error::precondition(format!(
            "source disk {name} is in state Failed in Azure; repair it"
        )));
    }
    let facts = Facts::of(&found);
    let is_redundant = Sku::parse(&facts.sku).is_some_and(Sku::is_zone_redundant);
    let tied = (!is_redundant && facts.place != Place::Regional).then_some(facts.place);
    Ok(Origin { bytes: facts.bytes, location: Some(facts.location), tied })
}
