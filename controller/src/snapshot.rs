//! CreateSnapshot, DeleteSnapshot and GetSnapshot.
//!
//! A creation answers right after the cut: `ready_to_use` says whether a volume can be made from the
//! snapshot already, and the sidecar calls again until it can. **Invariant:** the creation time is
//! Azure's, so every repetition says the same; a snapshot of another volume is never answered.

use azure::{
    Arm, CreationData, DiskId, ErrorKind, ProvisioningState, SnapshotCreate, SnapshotCreateProperties,
    SnapshotId,
};
use csi::Error;
use csi::v1::{CreateSnapshotRequest, DeleteSnapshotRequest, Snapshot};
use tokio::time::Instant;

use crate::Core;
use crate::Settings;
use crate::arm_error::{Rpc, after_making, after_write, csi_error};
use crate::disk;
use crate::names::azure_name;
use crate::params::snapshot::SnapshotParameters;
use crate::params::tags::{CREATED_BY, REQUEST_NAME, SOURCE_VOLUME};
use crate::size::answer_bytes;

/// Access states in which a disk can be made before the copy in the background is done.
const INSTANT: [&str; 2] = ["InstantAccess", "AvailableWithInstantAccess"];

/// A snapshot as a CO wants it.
struct Wish {
    name: String,
    snapshot: SnapshotId,
    source: DiskId,
    /// The source as the request spells it.
    source_text: String,
    parameters: SnapshotParameters,
}

impl Wish {
    fn of(request: &CreateSnapshotRequest, settings: &Settings) -> Result<Wish, Error> {
        let source_text = csi::require::field(&request.source_volume_id, "source_volume_id")?;
        let name = csi::require::field(&request.name, "name")?;
        if name.chars().any(char::is_control) {
            return Err(Error::invalid("name contains control characters"));
        }
        let parameters = SnapshotParameters::read(&request.parameters)?;
        let source: DiskId = disk::volume(source_text)?;
        let group = parameters.resource_group.as_deref().unwrap_or(source.resource_group());
        let subscription = parameters.subscription.as_deref().unwrap_or(match parameters.resource_group {
            Some(_) => &settings.subscription,
            None => source.subscription(),
        });
        let snapshot = SnapshotId::new(subscription, group, &azure_name(name)).map_err(|error| {
            Error::invalid("resourceGroup or subscriptionID is not valid").caused_by(error)
        })?;
        let source_text = source_text.to_owned();
        Ok(Wish { name: name.to_owned(), snapshot, source, source_text, parameters })
    }

    fn body(&self, location: &str) -> SnapshotCreate {
        let parameters = &self.parameters;
        let mut tags = parameters.tags.clone();
        tags.insert(SOURCE_VOLUME.into(), self.source_text.clone());
        if self.snapshot.name() != self.name {
            tags.insert(REQUEST_NAME.into(), self.name.chars().take(256).collect());
        }
        let text = |text: &str| text.to_owned();
        SnapshotCreate {
            location: location.to_owned(),
            sku: None,
            tags,
            properties: SnapshotCreateProperties {
                creation_data: CreationData {
                    instant_access_duration_minutes: parameters.instant_access_minutes,
                    ..CreationData::copy_of(self.source.as_str())
                },
                incremental: parameters.incremental,
                network_access_policy: parameters.network_policy.map(text),
                public_network_access: parameters.public_access.map(text),
                disk_access_id: None,
                data_access_auth_mode: parameters.auth_mode.map(text),
            },
        }
    }
}

/// By what a repeated call is known: the id of the snapshot.
pub(crate) fn key(core: &Core, request: &CreateSnapshotRequest) -> Result<String, Error> {
    Ok(Wish::of(request, &core.settings)?.snapshot.to_string())
}

/// Cuts the snapshot, or finds the one that an earlier call cut.
pub(crate) async fn create(
    core: &Core,
    arm: &Arm,
    request: &CreateSnapshotRequest,
    deadline: Instant,
) -> Result<Snapshot, Error> {
    let wish = Wish::of(request, &core.settings)?;
    let rpc = Rpc::CreateSnapshot;
    match core.arm.settled_snapshot(&wish.snapshot, deadline).await {
        Ok(found) => {
            refuse_others(&wish, &found)?;
            if !disk::has_failed(found.provisioning_state()) {
                return answer(&wish.snapshot, &found);
            }
            // A cut that failed leaves an entry that holds nothing, and that stays in the way.
            let gone = arm.delete_snapshot(&wish.snapshot, deadline).await;
            gone.map_err(|error| after_write(rpc, &error))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(csi_error(rpc, &error)),
    }
    let source = core.arm.disk(&wish.source, deadline).await.map_err(|error| csi_error(rpc, &error))?;
    if let Some(location) = &wish.parameters.location
        && !location.eq_ignore_ascii_case(&source.location)
    {
        let here = &source.location;
        return Err(Error::invalid(format!(
            "parameters: location is {location:?}, and the volume is in {here}; copies to other regions are not made by this version"
        )));
    }
    let made = arm.create_snapshot(&wish.snapshot, &wish.body(&source.location), deadline).await;
    match made {
        Ok(cut) => answer(&wish.snapshot, &cut),
        Err(error) => Err(given_up(arm, &wish, &error, deadline).await),
    }
}

/// What to answer when the snapshot, which was not there before, could not be cut. What a cut that failed
/// leaves is removed; if that cannot be, the code is not final, and the next call looks again.
async fn given_up(arm: &Arm, wish: &Wish, error: &azure::Error, deadline: Instant) -> Error {
    let (answer, may_be_left) = after_making(Rpc::CreateSnapshot, error);
    if !may_be_left {
        return answer;
    }
    let is_gone = match arm.settled_snapshot(&wish.snapshot, deadline).await {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(left) if disk::has_failed(left.provisioning_state()) => {
            arm.delete_snapshot(&wish.snapshot, deadline).await.is_ok()
        }
        Ok(_) => false,
    };
    if is_gone { answer } else { Error::unavailable(answer.message()) }
}

/// Refuses a snapshot of another volume, and one that people cut: that is of another time than this call.
fn refuse_others(wish: &Wish, found: &azure::Snapshot) -> Result<(), Error> {
    let (name, source) = (wish.snapshot.name(), found.source().unwrap_or("nothing known"));
    if !source.eq_ignore_ascii_case(wish.source.as_str()) {
        return Err(Error::exists(format!("snapshot {name} exists and is of another volume: {source}")));
    }
    let by = found.tags.as_ref().and_then(|tags| tags.get(CREATED_BY.0));
    if by.is_none_or(|by| by != CREATED_BY.1) {
        return Err(Error::exists(format!("snapshot {name} exists and was not cut by this driver")));
    }
    Ok(())
}

/// Deletes the snapshot; one that is not there counts as deleted.
pub(crate) async fn delete(
    arm: &Arm,
    request: &DeleteSnapshotRequest,
    deadline: Instant,
) -> Result<(), Error> {
    let Ok(id) = request.snapshot_id.parse::<SnapshotId>() else { return Ok(()) };
    let gone = arm.delete_snapshot(&id, deadline).await;
    gone.map_err(|error| after_write(Rpc::DeleteSnapshot, &error))
}

/// The snapshot as it is now.
pub(crate) async fn get(core: &Core, snapshot_id: &str, deadline: Instant) -> Result<Snapshot, Error> {
    csi::require::field(snapshot_id, "snapshot_id")?;
    let unknown = || Error::not_found(format!("snapshot {snapshot_id} does not exist"));
    let id: SnapshotId = snapshot_id.parse().map_err(|_| unknown())?;
    let found =
        core.arm.snapshot(&id, deadline).await.map_err(|error| csi_error(Rpc::GetSnapshot, &error))?;
    answer(&id, &found)
}

/// Whether a volume can be made from it: it is cut, and what is copied in the background is there, or
/// can be read before it is (instant access).
pub(crate) fn is_ready(snapshot: &azure::Snapshot) -> bool {
    let properties = &snapshot.properties;
    let is_there = properties.completion_percent.is_none_or(|percent| percent >= 100.0);
    let access = properties.snapshot_access_state.as_deref();
    let is_instant = access.is_some_and(|state| INSTANT.iter().any(|one| one.eq_ignore_ascii_case(state)));
    *snapshot.provisioning_state() == ProvisioningState::Succeeded && (is_there || is_instant)
}

/// The answer about `snapshot`, called `id` by the CO.
pub(crate) fn answer(id: &SnapshotId, snapshot: &azure::Snapshot) -> Result<Snapshot, Error> {
    let source = snapshot.tags.as_ref().and_then(|tags| tags.get(SOURCE_VOLUME).cloned());
    let source =
        source.filter(|tag| snapshot.source().is_some_and(|source| source.eq_ignore_ascii_case(tag)));
    Ok(Snapshot {
        size_bytes: answer_bytes(snapshot.bytes())?,
        snapshot_id: id.to_string(),
        source_volume_id: source.or_else(|| snapshot.source().map(str::to_owned)).unwrap_or_default(),
        creation_time: snapshot.properties.time_created.as_deref().and_then(disk::timestamp),
        ready_to_use: is_ready(snapshot),
        ..Snapshot::default()
    })
}
