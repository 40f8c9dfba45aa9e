//! Virtual machines, alone or in a scale set (api-version 2025-04-01), as far as disks are concerned; and
//! the body of `attachDetachDataDisks`, the delta call that cannot drop a disk it does not name.

use serde::{Deserialize, Serialize};

use super::{Caching, ProvisioningState, list};
use crate::ids::{DiskId, VmId};
use crate::units::Lun;

/// A virtual machine as Azure tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vm {
    /// Its ARM id, as Azure spelled it this time.
    pub id: String,
    /// Its name; of a scale-set VM: set and instance.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its zone, in a list; empty: none.
    #[serde(default, deserialize_with = "list")]
    pub zones: Vec<String>,
    /// Its number in a scale set.
    pub instance_id: Option<String>,
    /// The version of its model.
    pub etag: Option<String>,
    /// The size of a scale-set VM.
    pub sku: Option<VmSku>,
    /// The rest.
    pub properties: VmProperties,
}

/// The size of a scale-set VM.
#[derive(Clone, Debug, Deserialize)]
pub struct VmSku {
    /// Its name, such as `Standard_D4s_v5`.
    pub name: Option<String>,
}

/// `properties` of a VM.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VmProperties {
    /// How far Azure is with the last write.
    pub provisioning_state: Option<ProvisioningState>,
    /// Its size.
    pub hardware_profile: Option<HardwareProfile>,
    /// Its disks.
    pub storage_profile: Option<StorageProfile>,
    /// Its name inside.
    pub os_profile: Option<OsProfile>,
    /// Azure's own identity of it: one that is made anew under the same name has another.
    #[serde(rename = "vmId")]
    pub unique_id: Option<String>,
}

/// The size of a VM.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HardwareProfile {
    /// Its name, such as `Standard_D4s_v5`.
    pub vm_size: Option<String>,
}

/// What a VM is called inside.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OsProfile {
    /// Its host name.
    pub computer_name: Option<String>,
}

/// The disks of a VM.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageProfile {
    /// Those beside the one with the operating system.
    #[serde(default, deserialize_with = "list")]
    pub data_disks: Vec<DataDisk>,
}

/// An entry of a VM's data disks: the goal, which the VM may not have reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataDisk {
    /// Its slot.
    pub lun: i32,
    /// Its name.
    pub name: Option<String>,
    /// Its host cache.
    pub caching: Option<Caching>,
    /// Its managed disk; without an id while it is being made.
    pub managed_disk: Option<ManagedDisk>,
    /// It is being detached, or its detach failed.
    pub to_be_detached: Option<bool>,
}

/// The managed disk behind an entry.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedDisk {
    /// Its ARM id.
    pub id: Option<String>,
    /// The disk encryption set that it is attached with.
    pub disk_encryption_set: Option<SubResource>,
}

/// A reference to another resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubResource {
    /// Its ARM id.
    pub id: Option<String>,
}

impl DataDisk {
    /// The disk's id, if it has one that can be read.
    pub fn disk_id(&self) -> Option<DiskId> {
        self.managed_disk.as_ref()?.id.as_ref()?.parse().ok()
    }

    /// Whether it is on its way out.
    pub fn is_leaving(&self) -> bool {
        self.to_be_detached.unwrap_or(false)
    }
}

impl Vm {
    /// Its id, if Azure's spelling can be read.
    pub fn vm_id(&self) -> Option<VmId> {
        self.id.parse().ok()
    }

    /// How far Azure is with the last write, if it says.
    pub fn provisioning_state(&self) -> Option<&ProvisioningState> {
        self.properties.provisioning_state.as_ref()
    }

    /// Its size, such as `Standard_D4s_v5`.
    pub fn size(&self) -> Option<&str> {
        let hardware =
            self.properties.hardware_profile.as_ref().and_then(|profile| profile.vm_size.as_deref());
        hardware.or_else(|| self.sku.as_ref().and_then(|sku| sku.name.as_deref()))
    }

    /// Its data disks, as they are to be.
    pub fn data_disks(&self) -> &[DataDisk] {
        self.properties.storage_profile.as_ref().map_or(&[], |profile| &profile.data_disks)
    }

    /// Its host name: by default the name of its Kubernetes node.
    pub fn computer_name(&self) -> Option<&str> {
        self.properties.os_profile.as_ref()?.computer_name.as_deref()
    }
}

/// One disk to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachDisk {
    /// Which.
    pub disk: DiskId,
    /// Where.
    pub lun: Lun,
    /// With which host cache; always said, since Azure's default is not what its documentation says.
    pub caching: Caching,
    /// With which disk encryption set.
    pub disk_encryption_set: Option<String>,
    /// With write accelerator.
    pub write_accelerator: bool,
}

/// One disk to detach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachDisk {
    /// Which.
    pub disk: DiskId,
    /// Without waiting for the VM to let go: may lose writes.
    pub force: bool,
}

/// What one update changes about a VM's data disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskChanges {
    /// Disks that come.
    pub attach: Vec<AttachDisk>,
    /// Disks that go.
    pub detach: Vec<DetachDisk>,
}

/// [`DiskChanges`] on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttachDetachBody<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data_disks_to_attach: Vec<ToAttach<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data_disks_to_detach: Vec<ToDetach<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToAttach<'a> {
    disk_id: &'a str,
    lun: u8,
    caching: &'a Caching,
    delete_option: &'static str,
    write_accelerator_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_encryption_set: Option<SubResource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToDetach<'a> {
    disk_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detach_option: Option<&'static str>,
}

impl<'a> From<&'a DiskChanges> for AttachDetachBody<'a> {
    fn from(changes: &'a DiskChanges) -> Self {
        let attach = changes.attach.iter().map(|one| ToAttach {
            disk_id: one.disk.as_str(),
            lun: one.lun.get(),
            caching: &one.caching,
            // The disk outlives the VM: it is somebody's volume.
            delete_option: "Detach",
            write_accelerator_enabled: one.write_accelerator,
            disk_encryption_set: one
                .disk_encryption_set
                .as_ref()
                .map(|id| SubResource { id: Some(id.clone()) }),
        });
        let detach = changes.detach.iter().map(|one| ToDetach {
            disk_id: one.disk.as_str(),
            detach_option: one.force.then_some("ForceDetach"),
        });
        AttachDetachBody { data_disks_to_attach: attach.collect(), data_disks_to_detach: detach.collect() }
    }
}
