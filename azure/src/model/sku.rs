//! The list of what can be had where (`Microsoft.Compute/skus`, api-version 2021-07-01). All values are text.

use serde::Deserialize;

use super::list;

/// One resource type in one size.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSku {
    /// `virtualMachines`, `disks` …
    pub resource_type: Option<String>,
    /// Such as `Standard_D4s_v5` or `Premium_LRS`.
    pub name: Option<String>,
    /// For disks, the tier: `P10`.
    pub size: Option<String>,
    /// Where it can be had.
    #[serde(default, deserialize_with = "list")]
    pub locations: Vec<String>,
    /// The zones per region.
    #[serde(default, deserialize_with = "list")]
    pub location_info: Vec<LocationEntry>,
    /// What it can do.
    #[serde(default, deserialize_with = "list")]
    pub capabilities: Vec<Capability>,
}

/// Where one SKU can be had in one region.
#[derive(Clone, Debug, Deserialize)]
pub struct LocationEntry {
    /// The region.
    pub location: Option<String>,
    /// Its zones.
    #[serde(default, deserialize_with = "list")]
    pub zones: Vec<String>,
}

/// One thing that a SKU can do.
#[derive(Clone, Debug, Deserialize)]
pub struct Capability {
    /// Such as `MaxDataDiskCount`.
    pub name: String,
    /// Such as `8`.
    pub value: String,
}

impl ResourceSku {
    /// The value of a capability.
    pub fn capability(&self, name: &str) -> Option<&str> {
        self.capabilities.iter().find(|one| one.name == name).map(|one| one.value.as_str())
    }
}
