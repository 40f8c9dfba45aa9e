//! CreateVolume: look, compare, act, wait.
//!
//! ```text
//!  GET disk ─ exists ─▶ settle ─▶ compare ─ same ──▶ answer (written once more if it is Failed)
//!     │                             └─ different ─▶ ALREADY_EXISTS
//!     └─ absent ─▶ look at the source ─▶ place and size ─▶ PUT, followed to its end ─▶ answer
//! ```
//! **Invariant:** after the PUT was sent, only a definite refusal of Azure becomes a final code: the
//! sidecar forgets a volume on those, and a disk that exists all the same would be lost.

mod body;
mod compare;
mod source;
pub(crate) mod wish;

use azure::{Arm, Disk, ErrorKind};
use csi::Error;
use csi::v1::{CreateVolumeRequest, Volume};
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, after_making, after_write, csi_error};
use crate::disk::{Facts, has_failed};
use crate::size::{GIB, answer_bytes};
use crate::zone::Place;
use source::Origin;
use wish::Wish;

/// By what a repeated call is known: the id of the disk, which a deletion is known by as well.
pub(crate) fn key(core: &Core, request: &CreateVolumeRequest) -> Result<String, Error> {
    Ok(Wish::of(request, &core.settings)?.disk.to_string())
}

/// Makes the volume, or finds the one that an earlier call made.
pub(crate) async fn create(
    core: &Core,
    arm: &Arm,
    request: &CreateVolumeRequest,
    deadline: Instant,
) -> Result<Volume, Error> {
    let wish = Wish::of(request, &core.settings)?;
    match core.arm.settled_disk(&wish.disk, deadline).await {
        Ok(disk) => found(arm, &wish, &disk, deadline).await,
        Err(error) if error.kind() == ErrorKind::NotFound => make(core, arm, &wish, deadline).await,
        Err(error) => Err(csi_error(Rpc::CreateVolume, &error)),
    }
}

/// The disk is there: it is the wanted one, or the name is taken.
async fn found(arm: &Arm, wish: &Wish, disk: &Disk, deadline: Instant) -> Result<Volume, Error> {
    let facts = Facts::of(disk);
    let differences = compare::differences(wish, &facts);
    if !differences.is_empty() {
        let (name, differences) = (wish.disk.name(), differences.join("; "));
        return Err(Error::exists(format!("disk {name} exists and is another volume: {differences}")));
    }
    if has_failed(disk.provisioning_state()) {
        return repair(arm, wish, facts.bytes.div_ceil(GIB), facts.place, deadline).await;
    }
    answer(wish, &facts)
}

/// The disk is not there: it is made.
async fn make(core: &Core, arm: &Arm, wish: &Wish, deadline: Instant) -> Result<Volume, Error> {
    let origin = match &wish.source {
        Some(source) => source::look(core, source, deadline).await?,
        None => Origin::default(),
    };
    if origin.location.as_ref().is_some_and(|location| !location.eq_ignore_ascii_case(&wish.location)) {
        let (name, location) = (&wish.name, &wish.location);
        return Err(Error::invalid(format!("the source of volume {name} is not in the region {location}")));
    }
    let floor = wish.parameters.floor_gib().max(if wish.size.is_open() { origin.gib() } else { 0 });
    let what = wish.parameters.sku.name();
    let gib = wish.size.smallest_gib(floor, &wish.parameters.sku.sizes_gib(), what)?;
    if gib < origin.gib() {
        return Err(Error::out_of_range(format!(
            "volume {} is to have {gib} GiB, its source has {} GiB",
            wish.name,
            origin.gib()
        )));
    }
    wish.parameters.check_size(gib)?;
    let place = if wish.parameters.sku.is_zone_redundant() {
        // Any accepted zone will do, but there must be one.
        wish.zones.choose(wish.accepted.as_deref(), None)?;
        Place::Regional
    } else {
        wish.zones.choose(wish.accepted.as_deref(), origin.tied.as_ref())?
    };
    let made = arm.create_disk(&wish.disk, &body::disk(wish, gib, &place), deadline).await;
    match made {
        Ok(disk) => answer(wish, &Facts::of(&disk)),
        Err(error) => Err(given_up(arm, wish, &error, deadline).await),
    }
}

/// What to answer when the disk, which was not there before, could not be made.
///
/// A creation that Azure accepted first leaves a disk in state Failed, which would keep the name: in the
/// way of a creation in another zone, and lost once a final code was answered. Nobody was told of it, so
/// it is removed; if that cannot be, the code is not final.
async fn given_up(arm: &Arm, wish: &Wish, error: &azure::Error, deadline: Instant) -> Error {
    let (answer, may_be_left) = after_making(Rpc::CreateVolume, error);
    if !may_be_left {
        return answer;
    }
    let is_gone = match arm.settled_disk(&wish.disk, deadline).await {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(left) if has_failed(left.provisioning_state()) && left.holders().is_empty() => {
            arm.delete_disk(&wish.disk, deadline).await.is_ok()
        }
        Ok(_) => false,
    };
    if is_gone { answer } else { Error::unavailable(answer.message()) }
}

/// The disk is there and its last write failed: it is written once more.
async fn repair(arm: &Arm, wish: &Wish, gib: u64, place: Place, deadline: Instant) -> Result<Volume, Error> {
    let body = body::disk(wish, gib, &place);
    let made = arm.create_disk(&wish.disk, &body, deadline).await;
    let made = made.map_err(|error| after_write(Rpc::CreateVolume, &error))?;
    answer(wish, &Facts::of(&made))
}

/// The same for the call that made the disk and for every repetition.
fn answer(wish: &Wish, disk: &Facts) -> Result<Volume, Error> {
    Ok(Volume {
        capacity_bytes: answer_bytes(disk.bytes)?,
        volume_id: wish.disk.to_string(),
        volume_context: wish.volume_context(wish.requested_gib(disk.bytes)),
        content_source: wish.content_source.clone(),
        accessible_topology: wish.zones.reach(&disk.place, wish.parameters.sku.is_zone_redundant()),
    })
}
