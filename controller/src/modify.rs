//! ControllerModifyVolume: changes SKU, IOPS and MB/s of a disk, in one write or none.

use azure::{Arm, DiskId, DiskPatch, DiskPatchProperties, SkuName};
use csi::Error;
use csi::v1::ControllerModifyVolumeRequest;
use tokio::time::Instant;

use crate::Core;
use crate::arm_error::{Rpc, after_write, csi_error};
use crate::disk::{self, Facts};
use crate::params::mutable::{Mutable, check_performance};
use crate::size::GIB;
use crate::sku::Sku;

/// Changes what differs from `mutable_parameters`; a refusal has changed nothing.
pub(crate) async fn modify(
    core: &Core,
    arm: &Arm,
    request: &ControllerModifyVolumeRequest,
    deadline: Instant,
) -> Result<(), Error> {
    let wanted = Mutable::read(&request.mutable_parameters)?;
    let id: DiskId = disk::volume(&request.volume_id)?;
    core.leavings.forget(&id);
    let found = core.arm.settled_disk(&id, deadline).await.map_err(|error| csi_error(Rpc::Modify, &error))?;
    let change = change(wanted, &Facts::of(&found))?;
    if change == Mutable::default() {
        return Ok(());
    }
    let properties =
        DiskPatchProperties { iops: change.iops, mbps: change.mbps, ..DiskPatchProperties::default() };
    let patch = DiskPatch {
        sku: change.sku.map(|sku| SkuName { name: sku.name().into() }),
        properties: Some(properties).filter(|some| *some != DiskPatchProperties::default()),
        ..DiskPatch::default()
    };
    let done = arm.update_disk(&id, &patch, deadline).await;
    done.map(|_| ()).map_err(|error| after_write(Rpc::Modify, &error))
}

/// What of `wanted` the disk does not have yet: pure.
fn change(wanted: Mutable, disk: &Facts) -> Result<Mutable, Error> {
    let sku = wanted.sku.or_else(|| Sku::parse(&disk.sku)).ok_or_else(|| {
        Error::invalid(format!("the disk's SKU {} is none whose performance this driver changes", disk.sku))
    })?;
    // What is bought stays as it is; what followed from the size does not count.
    let bought = |now: Option<u64>| now.filter(|_| Sku::parse(&disk.sku).is_some_and(Sku::is_provisioned));
    let keeps = sku.is_provisioned();
    let iops = wanted.iops.or_else(|| bought(disk.iops).filter(|_| keeps));
    let mbps = wanted.mbps.or_else(|| bought(disk.mbps).filter(|_| keeps));
    if wanted != Mutable::default() {
        check_performance(sku, disk.bytes.div_ceil(GIB), iops, mbps)?;
    }
    Ok(Mutable {
        sku: wanted.sku.filter(|sku| !sku.name().eq_ignore_ascii_case(&disk.sku)),
        iops: wanted.iops.filter(|iops| disk.iops != Some(*iops)),
        mbps: wanted.mbps.filter(|mbps| disk.mbps != Some(*mbps)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sku: &str, iops: u64, mbps: u64, wanted: Mutable, want: Option<Mutable>) {
        let disk = Facts {
            bytes: 100 * GIB,
            sku: sku.into(),
            iops: Some(iops),
            mbps: Some(mbps),
            ..Facts::default()
        };
        assert_eq!(change(wanted, &disk).ok(), want, "{sku} {wanted:?}");
    }

    #[test]
    fn only_what_differs_is_written() {
        let wanted = Mutable { sku: None, iops: Some(4000), mbps: Some(200) };
        check("PremiumV2_LRS", 3000, 125, wanted, Some(wanted));
        check("PremiumV2_LRS", 4000, 125, wanted, Some(Mutable { iops: None, ..wanted }));
        check("PremiumV2_LRS", 4000, 200, wanted, Some(Mutable::default()));
        check("Premium_LRS", 500, 100, Mutable::default(), Some(Mutable::default()));
        let other = Mutable { sku: Some(Sku::PremiumLrs), ..Mutable::default() };
        check("StandardSSD_LRS", 500, 100, other, Some(other));
        check("premium_lrs", 500, 100, other, Some(Mutable::default()));
    }

    #[test]
    fn what_the_disk_cannot_have_is_refused() {
        let iops = |iops| Mutable { iops: Some(iops), ..Mutable::default() };
        check("Premium_LRS", 500, 100, iops(4000), None);
        check("PremiumV2_LRS", 3000, 125, iops(2999), None);
        check("PremiumV2_LRS", 8000, 2000, iops(4000), None);
        check("Premium_LRS", 500, 100, Mutable { sku: Some(Sku::PremiumV2Lrs), ..iops(2000) }, None);
        check("Custom_SKU", 500, 100, iops(4000), None);
    }

    #[test]
    fn performance_that_followed_from_the_size_does_not_bind_the_next_sku() {
        let wanted = Mutable { sku: Some(Sku::PremiumV2Lrs), iops: None, mbps: None };
        check("Premium_LRS", 500, 100, wanted, Some(wanted));
    }
}
