//! Managed disks (`Microsoft.Compute/disks`, api-version 2025-01-02): the document, and the bodies of PUT
//! and PATCH. Fields are those that recorded exchanges show; sizes in GiB unless they say bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{DiskSku, ProvisioningState, list, open_enum};
use crate::ids::{DiskId, VmId};
use crate::units::GiB;

open_enum!(
    /// Whether a disk is on a VM. It stays `Unattached` while an attach is under way.
    DiskState {
        /// On no VM.
        Unattached = "Unattached",
        /// On a running VM.
        Attached = "Attached",
        /// On a deallocated VM.
        Reserved = "Reserved",
        /// On a hibernated VM.
        Frozen = "Frozen",
        /// Open for download.
        ActiveSas = "ActiveSAS",
        /// Open for download, on a hibernated VM.
        ActiveSasFrozen = "ActiveSASFrozen",
        /// Waits for an upload.
        ReadyToUpload = "ReadyToUpload",
        /// Being uploaded to.
        ActiveUpload = "ActiveUpload",
    }
);

/// A managed disk as Azure tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Its ARM id, as Azure spelled it this time.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its zone, in a list; empty: none.
    #[serde(default, deserialize_with = "list")]
    pub zones: Vec<String>,
    /// Its kind; absent while it is being made with the default.
    pub sku: Option<SkuName>,
    /// Its tags.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// The id of the VM that holds it; of the first one, if it is shared.
    pub managed_by: Option<String>,
    /// The ids of all VMs that hold a shared disk.
    #[serde(default, deserialize_with = "list")]
    pub managed_by_extended: Vec<String>,
    /// The rest.
    pub properties: DiskProperties,
}

/// The name of a SKU, in its envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkuName {
    /// The SKU.
    pub name: DiskSku,
}

/// `properties` of a disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskProperties {
    /// How far Azure is with the last write.
    pub provisioning_state: Option<ProvisioningState>,
    /// Whether it is on a VM.
    pub disk_state: Option<DiskState>,
    /// Its size.
    #[serde(rename = "diskSizeGB")]
    pub size: Option<GiB>,
    /// Its size in bytes.
    pub disk_size_bytes: Option<u64>,
    /// What it was filled with.
    pub creation_data: CreationData,
    /// Operations per second.
    #[serde(rename = "diskIOPSReadWrite")]
    pub iops: Option<u64>,
    /// MB per second.
    #[serde(rename = "diskMBpsReadWrite")]
    pub mbps: Option<u64>,
    /// On how many VMs it may be at a time; absent: one.
    pub max_shares: Option<u32>,
    /// How it is encrypted.
    pub encryption: Option<Encryption>,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    pub network_access_policy: Option<String>,
    /// `Enabled` or `Disabled`.
    pub public_network_access: Option<String>,
    /// The disk access resource of `AllowPrivate`.
    pub disk_access_id: Option<String>,
    /// On-demand bursting.
    pub bursting_enabled: Option<bool>,
    /// Set on disks with an operating system.
    pub os_type: Option<String>,
    /// The generation of Hyper-V that an operating system on it needs.
    pub hyper_v_generation: Option<String>,
    /// When it was made, RFC 3339.
    pub time_created: Option<String>,
    /// Azure's own identity of it.
    pub unique_id: Option<String>,
    /// When it last came to a VM or left one, RFC 3339.
    #[serde(rename = "LastOwnershipUpdateTime")]
    pub last_ownership_update_time: Option<String>,
    /// How much of a background copy is done, in percent.
    pub completion_percent: Option<f64>,
}

/// What a disk or snapshot is filled with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreationData {
    /// `Empty`, `Copy`, `CopyStart`, `FromImage`, `Import`, `Upload` …
    pub create_option: String,
    /// The disk or snapshot that is copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_resource_id: Option<String>,
    /// 512 or 4096; only for PremiumV2 and Ultra.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logical_sector_size: Option<u32>,
    /// More performance than the size's own tier; only at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performance_plus: Option<bool>,
    /// Minutes of instant access of a snapshot of PremiumV2 or Ultra.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instant_access_duration_minutes: Option<u32>,
}

impl CreationData {
    /// Nothing.
    pub fn empty() -> CreationData {
        CreationData {
            create_option: "Empty".to_owned(),
            source_resource_id: None,
            logical_sector_size: None,
            performance_plus: None,
            instant_access_duration_minutes: None,
        }
    }

    /// A copy of the disk or snapshot with this id.
    pub fn copy_of(source: impl Into<String>) -> CreationData {
        let source_resource_id = Some(source.into());
        CreationData { create_option: "Copy".to_owned(), source_resource_id, ..CreationData::empty() }
    }
}

/// How a disk or snapshot is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// `EncryptionAtRestWithPlatformKey`, `…WithCustomerKey` or `…WithPlatformAndCustomerKeys`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The disk encryption set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_encryption_set_id: Option<String>,
}

impl Disk {
    /// Its id, if Azure's spelling can be read.
    pub fn disk_id(&self) -> Option<DiskId> {
        self.id.parse().ok()
    }

    /// How far Azure is with the last write; a document without the word counts as done.
    pub fn provisioning_state(&self) -> &ProvisioningState {
        self.properties.provisioning_state.as_ref().unwrap_or(&ProvisioningState::Succeeded)
    }

    /// Every VM that holds it, as Azure spelled the ids, each once.
    pub fn holders(&self) -> Vec<&str> {
        let mut holders: Vec<&str> = Vec::new();
        let all = self.managed_by.iter().chain(&self.managed_by_extended);
        for holder in all.map(String::as_str).filter(|holder| !holder.is_empty()) {
            if !holders.iter().any(|known| known.eq_ignore_ascii_case(holder)) {
                holders.push(holder);
            }
        }
        holders
    }

    /// Whether `vm` holds it.
    pub fn is_held_by(&self, vm: &VmId) -> bool {
        self.holders().iter().any(|holder| holder.eq_ignore_ascii_case(vm.as_str()))
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.properties.disk_size_bytes.or(self.properties.size.map(GiB::bytes)).unwrap_or(0)
    }
}

/// The body of a PUT: what is absent gets Azure's default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiskCreate {
    /// The region.
    pub location: String,
    /// The zone, in a list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<SkuName>,
    /// Tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The rest.
    pub properties: DiskCreateProperties,
}

/// `properties` of a [`DiskCreate`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskCreateProperties {
    /// What to fill it with.
    pub creation_data: CreationData,
    /// The size; absent: the source's.
    #[serde(rename = "diskSizeGB", skip_serializing_if = "Option::is_none")]
    pub size: Option<GiB>,
    /// Operations per second.
    #[serde(rename = "diskIOPSReadWrite", skip_serializing_if = "Option::is_none")]
    pub iops: Option<u64>,
    /// MB per second.
    #[serde(rename = "diskMBpsReadWrite", skip_serializing_if = "Option::is_none")]
    pub mbps: Option<u64>,
    /// On how many VMs at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_shares: Option<u32>,
    /// How to encrypt it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_access_policy: Option<String>,
    /// `Enabled` or `Disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_network_access: Option<String>,
    /// The disk access resource of `AllowPrivate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_access_id: Option<String>,
    /// On-demand bursting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bursting_enabled: Option<bool>,
}

/// The body of a PATCH: what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiskPatch {
    /// A new kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<SkuName>,
    /// All tags, the old ones included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// The rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<DiskPatchProperties>,
}

/// `properties` of a [`DiskPatch`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiskPatchProperties {
    /// A larger size.
    #[serde(rename = "diskSizeGB", skip_serializing_if = "Option::is_none")]
    pub size: Option<GiB>,
    /// Operations per second.
    #[serde(rename = "diskIOPSReadWrite", skip_serializing_if = "Option::is_none")]
    pub iops: Option<u64>,
    /// MB per second.
    #[serde(rename = "diskMBpsReadWrite", skip_serializing_if = "Option::is_none")]
    pub mbps: Option<u64>,
}
