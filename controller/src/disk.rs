//! What the verbs want to know of a disk, out of Azure's document of it. Pure.

use azure::{DiskId, DiskState, ProvisioningState, ResourceGroup, SnapshotId, VmId};
use csi::Error;
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::params::tags::Tags;
use crate::zone::Place;

/// The properties that a request can ask for; names and ids as Azure spells them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) bytes: u64,
    pub(crate) sku: String,
    pub(crate) location: String,
    pub(crate) place: Place,
    pub(crate) source: Option<String>,
    pub(crate) max_shares: u32,
    pub(crate) iops: Option<u64>,
    pub(crate) mbps: Option<u64>,
    pub(crate) logical_sector: Option<u64>,
    pub(crate) encryption_set: Option<String>,
    pub(crate) encryption_kind: Option<String>,
    pub(crate) network_policy: Option<String>,
    pub(crate) public_access: Option<String>,
    pub(crate) disk_access: Option<String>,
    pub(crate) bursting: bool,
    pub(crate) performance_plus: bool,
    pub(crate) tags: Tags,
}

impl Facts {
    /// The facts about `disk`.
    pub(crate) fn of(disk: &azure::Disk) -> Facts {
        let properties = &disk.properties;
        let creation = &properties.creation_data;
        let encryption = properties.encryption.as_ref();
        Facts {
            bytes: disk.bytes(),
            sku: sku_name(disk).to_owned(),
            location: disk.location.clone(),
            place: disk.zones.first().map_or(Place::Regional, |zone| Place::Zone(zone.clone())),
            source: creation.source_resource_id.clone(),
            max_shares: properties.max_shares.unwrap_or(1),
            iops: properties.iops,
            mbps: properties.mbps,
            logical_sector: creation.logical_sector_size.map(u64::from),
            encryption_set: encryption.and_then(|one| one.disk_encryption_set_id.clone()),
            encryption_kind: encryption.and_then(|one| one.kind.clone()),
            network_policy: properties.network_access_policy.clone(),
            public_access: properties.public_network_access.clone(),
            disk_access: properties.disk_access_id.clone(),
            bursting: properties.bursting_enabled == Some(true),
            performance_plus: creation.performance_plus == Some(true),
            tags: disk.tags.clone().unwrap_or_default(),
        }
    }
}

/// The disk of a volume id in a request.
///
/// # Errors
/// NOT_FOUND for an id that is none of Azure's: no such volume exists, whatever it looks like.
pub(crate) fn volume(volume_id: &str) -> Result<DiskId, Error> {
    csi::require::field(volume_id, "volume_id")?;
    let unknown = |error| Error::not_found(format!("volume {volume_id} does not exist")).caused_by(error);
    volume_id.parse::<DiskId>().map_err(unknown)
}

/// Whether the disk can be a CSI volume: it holds no operating system and is not being uploaded.
pub(crate) fn is_volume(disk: &azure::Disk) -> bool {
    let holds_system = disk.properties.os_type.is_some() || disk.properties.hyper_v_generation.is_some();
    let is_uploaded =
        matches!(disk.properties.disk_state, Some(DiskState::ReadyToUpload | DiskState::ActiveUpload));
    !holds_system && !is_uploaded
}

/// Its SKU as Azure spells it.
pub(crate) fn sku_name(disk: &azure::Disk) -> &str {
    disk.sku.as_ref().map_or("", |sku| sku.name.as_str())
}

/// The VMs that hold it.
///
/// # Errors
/// FAILED_PRECONDITION if something holds it that is no VM: nobody here could make it let go.
pub(crate) fn holders(disk: &azure::Disk) -> Result<Vec<VmId>, Error> {
    let parse = |holder: &str| {
        let name = &disk.name;
        let message = format!("disk {name} is held by {holder}, which is no VM; release it there first");
        holder.parse::<VmId>().map_err(|error| Error::precondition(message).caused_by(error))
    };
    disk.holders().into_iter().map(parse).collect()
}

/// When it last came to a VM or left one, by Azure's clock; none if it never did, or Azure does not say.
pub(crate) fn moved(disk: &azure::Disk) -> Option<OffsetDateTime> {
    let said = disk.properties.last_ownership_update_time.as_deref()?;
    OffsetDateTime::parse(said, &Rfc3339).ok()
}

/// Whether the last write of it failed.
pub(crate) fn has_failed(state: &ProvisioningState) -> bool {
    matches!(state, ProvisioningState::Failed | ProvisioningState::Canceled)
}

/// The id of a disk in a list, spelled as a creation spells it: Azure is free with the case of the
/// subscription and the group, and the CO compares volume ids byte by byte.
pub(crate) fn listed_id(group: &ResourceGroup, disk: &azure::Disk) -> Option<DiskId> {
    let id = disk.disk_id()?;
    DiskId::new(&group.subscription, &group.name, id.name()).ok()
}

/// The same for a snapshot.
pub(crate) fn listed_snapshot_id(group: &ResourceGroup, snapshot: &azure::Snapshot) -> Option<SnapshotId> {
    let id = snapshot.snapshot_id()?;
    SnapshotId::new(&group.subscription, &group.name, id.name()).ok()
}

/// A time as Azure writes it.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp { seconds: time.unix_timestamp(), nanos: i32::try_from(time.nanosecond()).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_none_of_azures_is_an_unknown_volume() {
        let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";
        assert_eq!(volume(id).unwrap().name(), "d");
        for unknown in ["x", "/subscriptions/s", &id.replace("disks", "snapshots")] {
            assert_eq!(volume(unknown).unwrap_err().kind(), csi::Kind::NotFound, "{unknown}");
        }
        assert_eq!(volume("").unwrap_err().kind(), csi::Kind::Invalid);
    }

    #[test]
    fn times_are_read_with_their_fractions() {
        let time = timestamp("2026-02-12T03:09:53.5719445+00:00").unwrap();
        assert_eq!((time.seconds, time.nanos), (1_770_865_793, 571_944_500));
        assert_eq!(timestamp("yesterday"), None);
    }

    #[test]
    fn disks_of_systems_and_uploads_are_no_volumes() {
        let disk = |properties: &str| {
            let text = format!(
                r#"{{"id":"x","name":"x","location":"x",
                    "properties":{{"creationData":{{"createOption":"Empty"}}{properties}}}}}"#
            );
            serde_json::from_str::<azure::Disk>(&text).unwrap()
        };
        assert!(is_volume(&disk("")));
        assert!(!is_volume(&disk(r#","osType":"Linux""#)));
        assert!(!is_volume(&disk(r#","hyperVGeneration":"V2""#)));
        assert!(!is_volume(&disk(r#","diskState":"ActiveUpload""#)));
    }
}
