//! What the storage suite is told about the driver: one definition for each default file system.
//!
//! Both stand in one run, told apart by a tag in the names of their cases. They differ in more than the file system: the
//! one binds a volume when its pod is placed and knows of zones, as users do it, the other binds at once, because some
//! cases exist for that only. JSON is YAML, which the suite reads.

use std::{fmt, path::Path};

use serde_json::{Value, json};

/// The name under which the driver registers.
pub const DRIVER: &str = "disk.csi.azure.com";

/// The label that tells in which zone a node is, for the driver.
pub const ZONE_LABEL: &str = "topology.disk.csi.azure.com/zone";

/// The SKU of the suite's disks.
const SKU: &str = "StandardSSD_LRS";

/// The file system of a volume whose case names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// What users get.
    Ext4,
    /// The other that the driver makes.
    Xfs,
}

impl FileSystem {
    /// Both, in the order of their sets.
    pub const ALL: [FileSystem; 2] = [FileSystem::Ext4, FileSystem::Xfs];

    /// The words in the name of each case of this set.
    pub fn tag(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "[ext4 by default, bound late]",
            FileSystem::Xfs => "[xfs by default, bound at once]",
        }
    }
}

impl fmt::Display for FileSystem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        })
    }
}

/// The driver's definition; `class` is the file with the [`storage_class`] of the same file system, `attributes` that
/// with the [`attributes_class`].
pub fn definition(file_system: FileSystem, class: &Path, attributes: &Path) -> Value {
    // A definition that names topology keys is not asked for volumes that are bound at once.
    let keys: &[&str] = match file_system {
        FileSystem::Ext4 => &[ZONE_LABEL],
        FileSystem::Xfs => &[],
    };
    json!({
        "StorageClass": { "FromFile": class },
        "SnapshotClass": { "FromName": true },
        "VolumeAttributesClass": { "FromFile": attributes },
        "DriverInfo": {
            "Name": DRIVER,
            "TestTags": [file_system.tag()],
            "SupportedSizeRange": { "Min": "1Gi", "Max": "32Ti" },
            "SupportedFsType": { "": {}, "ext4": {}, "xfs": {} },
            "SupportedMountOption": { "noatime": {}, "nodev": {} },
            "TopologyKeys": keys,
            "Capabilities": {
                "persistence": true,
                "block": true,
                "fsGroup": true,
                "exec": true,
                "snapshotDataSource": true,
                "pvcDataSource": true,
                "multipods": true,
                "controllerExpansion": true,
                "nodeExpansion": true,
                "onlineExpansion": true,
                "offlineExpansion": true,
                "readWriteOncePod": true,
                "volumeLimits": true,
                "topology": !keys.is_empty(),
                // Not what a disk of Azure is: it is attached, so to one node, and Azure tells no free capacity.
                "RWX": false,
                "capReadOnlyMany": false,
                "singleNodeVolume": false,
                "capacity": false,
                "multiplePVsSameID": false,
                "groupSnapshot": false,
                "snapshotMetadata": false,
                "seLinuxMount": false,
            },
            "StressTestOptions": { "NumPods": 5, "NumRestarts": 3 },
            "VolumeSnapshotStressTestOptions": { "NumPods": 3, "NumSnapshots": 3 },
            "VolumeModifyStressTestOptions": { "NumPods": 3 },
            "PerformanceTestOptions": { "ProvisioningOptions": {
                "VolumeSize": "1Gi",
                "Count": 30,
                // Two minutes on average, in nanoseconds: the case is here for what it does, not for its clock.
                "ExpectedMetrics": { "AvgLatency": 120_000_000_000_u64, "Throughput": 0.2 },
            } },
        },
        "Timeouts": timeouts(),
    })
}

/// Long enough for two busy cores, short enough that one broken case does not cost ten minutes.
fn timeouts() -> Value {
    json!({
        "PodStart": "2m",
        "PodStartShort": "1m",
        "PodStartSlow": "3m",
        "PodDelete": "90s",
        "ClaimProvision": "90s",
        "ClaimProvisionShort": "1m",
        "ClaimBound": "90s",
        "DataSourceProvision": "2m",
        "PVReclaim": "90s",
        "PVBound": "90s",
        "PVCreate": "90s",
        "PVDelete": "2m",
        "PVDeleteSlow": "4m",
        "SnapshotCreate": "90s",
        "SnapshotDelete": "90s",
    })
}

/// The class of the volumes of a set. What is bound at once is kept in the `home` zone, where there is one: nothing
/// else would bring two volumes of one pod, or a volume and the second node of a case, together.
pub fn storage_class(file_system: FileSystem, home: Option<&str>) -> Value {
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": format!("suite-{file_system}") },
        "provisioner": DRIVER,
        "parameters": { "csi.storage.k8s.io/fstype": file_system.to_string(), "skuName": SKU },
        "volumeBindingMode": match file_system {
            FileSystem::Ext4 => "WaitForFirstConsumer",
            FileSystem::Xfs => "Immediate",
        },
    });
    if let (FileSystem::Xfs, Some(zone)) = (file_system, home) {
        class["allowedTopologies"] =
            json!([{ "matchLabelExpressions": [{ "key": ZONE_LABEL, "values": [zone] }] }]);
    }
    class
}

/// What volumes are modified to. The suite modifies what a pod uses, and Azure changes the SKU of no disk in use, so it
/// is the SKU that they have: the way through all sidecars is tried here, a changed disk by the driver's own tests.
pub fn attributes_class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttributesClass",
        "metadata": { "name": "suite" },
        "driverName": DRIVER,
        "parameters": { "skuName": SKU },
    })
}

/// The zone with the most nodes, told by the zone of each node; none where the nodes are in no zone.
pub fn home(zones: &[String]) -> Option<&str> {
    let nodes_in = |zone: &str| zones.iter().filter(|other| *other == zone).count();
    zones
        .iter()
        .map(String::as_str)
        .filter(|zone| !zone.is_empty())
        .max_by_key(|zone| (nodes_in(zone), std::cmp::Reverse(*zone)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_the_zone_with_the_most_nodes() {
        let rows: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&["", ""], None),
            (&["eu-1", "eu-2"], Some("eu-1")),
            (&["eu-1", "eu-2", "eu-2"], Some("eu-2")),
            (&["", "eu-3"], Some("eu-3")),
        ];
        for (zones, wanted) in rows {
            let zones: Vec<String> = zones.iter().map(|&zone| zone.to_owned()).collect();
            assert_eq!(home(&zones), *wanted, "{zones:?}");
        }
    }

    #[test]
    fn only_what_is_bound_at_once_is_kept_in_one_zone() {
        for file_system in FileSystem::ALL {
            let kept = storage_class(file_system, Some("eu-1")).get("allowedTopologies").is_some();
            assert_eq!(kept, file_system == FileSystem::Xfs, "{file_system}");
            assert!(storage_class(file_system, None).get("allowedTopologies").is_none());
        }
    }

    #[test]
    fn the_sets_are_told_apart_and_only_one_knows_of_zones() {
        let [ext4, xfs] =
            FileSystem::ALL.map(|set| definition(set, Path::new("/class"), Path::new("/attributes")));
        assert_ne!(ext4["DriverInfo"]["TestTags"], xfs["DriverInfo"]["TestTags"]);
        assert_eq!(ext4["DriverInfo"]["Capabilities"]["topology"], true);
        assert_eq!(xfs["DriverInfo"]["Capabilities"]["topology"], false);
    }
}
