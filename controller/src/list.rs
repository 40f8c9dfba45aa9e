//! ListVolumes and ListSnapshots: every page from a fresh list, in one order, cut after a known entry.
//!
//! A token is the id of the last entry of the page before, so that nothing is told twice or left out when
//! entries come and go between two pages. Listed are the managed disks of the driver's resource group
//! that can be CSI volumes: not those with an operating system, and not those being uploaded.

use std::collections::BTreeSet;

use azure::{DiskId, ErrorKind, SnapshotId, VmId};
use csi::Error;
use csi::v1::list_volumes_response::VolumeStatus;
use csi::v1::{
    ListSnapshotsRequest, ListSnapshotsResponse, ListVolumesRequest, ListVolumesResponse, Snapshot, Volume,
    list_snapshots_response, list_volumes_response,
};
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, csi_error};
use crate::disk::{self, Facts};
use crate::size::answer_bytes;
use crate::sku::Sku;
use crate::snapshot;
use crate::zone::Zones;

/// One page of the volumes.
pub(crate) async fn volumes(
    core: &Core,
    request: &ListVolumesRequest,
    deadline: Instant,
) -> Result<ListVolumesResponse, Error> {
    let after: Option<DiskId> = token(&request.starting_token)?;
    let most = most(request.max_entries)?;
    let failed = |error: azure::Error| csi_error(Rpc::ListVolumes, &error);
    let mut disks: Vec<(DiskId, azure::Disk)> = Vec::new();
    let group = core.group()?;
    for disk in core.arm.disks(&group, deadline).await.map_err(failed)? {
        if let Some(id) = disk::listed_id(&group, &disk)
            && disk::is_volume(&disk)
        {
            disks.push((id, disk));
        }
    }
    let (page, next_token) = page(disks, after.as_ref(), most);
    let mut entries = Vec::with_capacity(page.len());
    for (id, disk) in page {
        entries.push(list_volumes_response::Entry {
            volume: Some(volume(core, &id, &disk)?),
            status: Some(VolumeStatus { published_node_ids: published(core, &disk, deadline).await? }),
        });
    }
    Ok(ListVolumesResponse { entries, next_token })
}

/// A volume that is not being made: without the context of its class, which Azure does not keep.
pub(crate) fn volume(core: &Core, id: &DiskId, disk: &azure::Disk) -> Result<Volume, Error> {
    let facts = Facts::of(disk);
    let zones = Zones::new(&core.settings.driver, &facts.location);
    let is_redundant = Sku::parse(&facts.sku).is_some_and(Sku::is_zone_redundant);
    Ok(Volume {
        capacity_bytes: answer_bytes(facts.bytes)?,
        volume_id: id.to_string(),
        accessible_topology: zones.reach(&facts.place, is_redundant),
        ..Volume::default()
    })
}

/// The nodes whose VMs hold the disk.
pub(crate) async fn published(
    core: &Core,
    disk: &azure::Disk,
    deadline: Instant,
) -> Result<Vec<String>, Error> {
    let mut nodes = BTreeSet::new();
    for vm in disk.holders().iter().filter_map(|holder| holder.parse::<VmId>().ok()) {
        let node: Result<Option<String>, azure::Error> = node(core, &vm, deadline).await;
        nodes.extend(node.map_err(|error| csi_error(Rpc::ListVolumes, &error))?);
    }
    Ok(nodes.into_iter().collect())
}

async fn node(core: &Core, vm: &VmId, deadline: Instant) -> Result<Option<String>, azure::Error> {
    core.nodes.node(&core.arm, vm, deadline).await
}

/// One page of the snapshots, of one id or one source if the request names it.
pub(crate) async fn snapshots(
    core: &Core,
    request: &ListSnapshotsRequest,
    deadline: Instant,
) -> Result<ListSnapshotsResponse, Error> {
    let after: Option<SnapshotId> = token(&request.starting_token)?;
    let most = most(request.max_entries)?;
    let source = &request.source_volume_id;
    let is_asked = |snapshot: &azure::Snapshot| {
        snapshot.source().is_some_and(|from| source.is_empty() || from.eq_ignore_ascii_case(source))
    };
    let mut found: Vec<(SnapshotId, azure::Snapshot)> = Vec::new();
    if request.snapshot_id.is_empty() {
        let group = core.group()?;
        let all = core.arm.snapshots(&group, deadline).await;
        let all = all.map_err(|error| csi_error(Rpc::ListSnapshots, &error))?;
        let named = all.into_iter().filter_map(|one| Some((disk::listed_snapshot_id(&group, &one)?, one)));
        found.extend(named.filter(|(_, one)| is_asked(one)));
    } else if let Ok(id) = request.snapshot_id.parse::<SnapshotId>() {
        match core.arm.snapshot(&id, deadline).await {
            Ok(one) => found.extend(is_asked(&one).then_some((id, one))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(csi_error(Rpc::ListSnapshots, &error)),
        }
    }
    let (page, next_token) = page(found, after.as_ref(), most);
    let answers: Result<Vec<Snapshot>, Error> =
        page.iter().map(|(id, one)| snapshot::answer(id, one)).collect();
    let entries =
        answers?.into_iter().map(|one| list_snapshots_response::Entry { snapshot: Some(one) }).collect();
    Ok(ListSnapshotsResponse { entries, next_token })
}

/// The entry after which a page starts.
fn token<Id: std::str::FromStr>(token: &str) -> Result<Option<Id>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let unknown =
        |_| Error::busy(format!("starting_token {token:?} is none of ours; start again without it"));
    token.parse().map(Some).map_err(unknown)
}

/// How many entries a page may have; `None` for all.
fn most(max_entries: i32) -> Result<Option<usize>, Error> {
    match usize::try_from(max_entries) {
        Ok(0) => Ok(None),
        Ok(most) => Ok(Some(most)),
        Err(_) => Err(Error::invalid(format!("max_entries is negative: {max_entries}"))),
    }
}

/// The entries after `after`, at most `most`, and the token of the next page: pure.
fn page<Id: Ord + ToString, T>(
    mut all: Vec<(Id, T)>,
    after: Option<&Id>,
    most: Option<usize>,
) -> (Vec<(Id, T)>, String) {
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let start = after.map_or(0, |after| all.partition_point(|(id, _)| id <= after));
    let mut page = all.split_off(start);
    let Some(most) = most.filter(|most| *most < page.len()) else { return (page, String::new()) };
    page.truncate(most);
    let next_token = page.last().map_or(String::new(), |(id, _)| id.to_string());
    (page, next_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;

    fn all() -> Vec<(String, ())> {
        ["d", "a", "c", "b"].map(|id| (id.to_owned(), ())).into()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let ids = |page: Vec<(String, ())>| page.into_iter().map(|(id, ())| id).collect::<String>();
        let rows = [
            (None, None, "abcd", ""),
            (None, Some(2), "ab", "b"),
            (Some("b"), Some(2), "cd", ""),
            (Some("b"), Some(1), "c", "c"),
            (Some("bb"), None, "cd", ""),
            (Some("d"), Some(1), "", ""),
            (None, Some(4), "abcd", ""),
        ];
        for (after, most, want, token) in rows {
            let after = after.map(str::to_owned);
            let (page, next_token) = page(all(), after.as_ref(), most);
            assert_eq!((ids(page), next_token.as_str()), (want.to_owned(), token), "{after:?} {most:?}");
        }
    }

    #[test]
    fn bad_tokens_and_counts_are_refused() {
        assert_eq!(token::<DiskId>("invalid-token").unwrap_err().kind(), Kind::Busy);
        assert!(token::<DiskId>("").unwrap().is_none());
        assert_eq!(most(-1).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(most(0).unwrap(), None);
    }
}
