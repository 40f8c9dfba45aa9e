//! Snapshots (`Microsoft.Compute/snapshots`, api-version 2025-01-02).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ProvisioningState;
use super::disk::{CreationData, SkuName};
use crate::ids::SnapshotId;
use crate::units::GiB;

/// A snapshot as Azure tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its ARM id, as Azure spelled it this time.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its storage: `Standard_LRS`, `Standard_ZRS` or `Premium_LRS`.
    pub sku: Option<SkuName>,
    /// Its tags.
    #[serde(default)]
    pub tags: Option<BTreeMap<String, String>>,
    /// The rest.
    pub properties: SnapshotProperties,
}

/// `properties` of a snapshot.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotProperties {
    /// How far Azure is with the last write.
    pub provisioning_state: Option<ProvisioningState>,
    /// What was cut.
    pub creation_data: CreationData,
    /// Whether it holds only what changed since the one before.
    pub incremental: Option<bool>,
    /// The size of the disk at the cut.
    #[serde(rename = "diskSizeGB")]
    pub size: Option<GiB>,
    /// The same in bytes.
    pub disk_size_bytes: Option<u64>,
    /// How much of the background copy is done; absent: nothing is left to copy.
    pub completion_percent: Option<f64>,
    /// `Pending`, `Available`, `InstantAccess`, `AvailableWithInstantAccess` …
    pub snapshot_access_state: Option<String>,
    /// When it was cut, RFC 3339.
    pub time_created: Option<String>,
    /// Azure's own identity of it.
    pub unique_id: Option<String>,
}

impl Snapshot {
    /// Its id, if Azure's spelling can be read.
    pub fn snapshot_id(&self) -> Option<SnapshotId> {
        self.id.parse().ok()
    }

    /// How far Azure is with the last write; a document without the word counts as done.
    pub fn provisioning_state(&self) -> &ProvisioningState {
        self.properties.provisioning_state.as_ref().unwrap_or(&ProvisioningState::Succeeded)
    }

    /// The id of the disk that was cut.
    pub fn source(&self) -> Option<&str> {
        self.properties.creation_data.source_resource_id.as_deref()
    }

    /// The size of the disk at the cut, in bytes.
    pub fn bytes(&self) -> u64 {
        self.properties.disk_size_bytes.or(self.properties.size.map(GiB::bytes)).unwrap_or(0)
    }
}

/// The body of a PUT.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotCreate {
    /// The region.
    pub location: String,
    /// The storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<SkuName>,
    /// Tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The rest.
    pub properties: SnapshotCreateProperties,
}

/// `properties` of a [`SnapshotCreate`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotCreateProperties {
    /// What to cut.
    pub creation_data: CreationData,
    /// Only what changed since the one before.
    pub incremental: bool,
    /// `AllowAll`, `AllowPrivate` or `DenyAll`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_access_policy: Option<String>,
    /// `Enabled` or `Disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_network_access: Option<String>,
    /// The disk access resource of `AllowPrivate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_access_id: Option<String>,
    /// `None` or `AzureActiveDirectory`: how a download must be authorised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_access_auth_mode: Option<String>,
}
