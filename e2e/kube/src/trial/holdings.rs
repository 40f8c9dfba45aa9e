//! What Azure holds for a cluster, as the emulator's model tells it, and what must not be in it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Disks and snapshots by their ids, and who has which disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Data disks; those of the machines themselves come and go with them.
    pub disks: BTreeSet<String>,
    /// Snapshots.
    pub snapshots: BTreeSet<String>,
    /// The VMs that each attached disk is on.
    pub attached: BTreeMap<String, Vec<String>>,
    /// Operations that run.
    pub running: u64,
}

impl Holdings {
    /// Reads the emulator's model.
    pub fn read(model: &Value) -> Holdings {
        let mut holdings =
            Holdings { running: model["counts"]["running"].as_u64().unwrap_or(0), ..Holdings::default() };
        let is_of_machine = |disk: &&Value| disk["properties"].get("osType").is_some();
        for disk in items(&model["disks"]).filter(|disk| !is_of_machine(disk)) {
            holdings.disks.insert(id(disk));
        }
        holdings.snapshots.extend(items(&model["snapshots"]).map(id));
        for (vm, luns) in model["attached"].as_object().into_iter().flatten() {
            for disk in luns.as_object().into_iter().flat_map(|luns| luns.values()).filter_map(Value::as_str)
            {
                holdings.attached.entry(disk.to_lowercase()).or_default().push(last(vm));
            }
        }
        holdings
    }

    /// Disks that are on more than one VM, each as a complaint. No disk of these tests is meant to be shared.
    pub fn shared(&self) -> Vec<String> {
        let shared = self.attached.iter().filter(|(_, vms)| vms.len() > 1);
        shared.map(|(disk, vms)| format!("disk {} is on {}", last(disk), vms.join(" and "))).collect()
    }

    /// What is held here and was not `before`, each as a complaint.
    pub fn beyond(&self, before: &Holdings) -> Vec<String> {
        let mut complaints = Vec::new();
        complaints
            .extend(self.disks.difference(&before.disks).map(|disk| format!("disk {} is left", last(disk))));
        let snapshots = self.snapshots.difference(&before.snapshots);
        complaints.extend(snapshots.map(|snapshot| format!("snapshot {} is left", last(snapshot))));
        let attached = self.attached.iter().filter(|(disk, _)| !before.attached.contains_key(*disk));
        complaints.extend(
            attached.map(|(disk, vms)| format!("disk {} is still on {}", last(disk), vms.join(", "))),
        );
        if self.running > before.running {
            complaints.push(format!("{} operations still run", self.running));
        }
        complaints
    }

    /// The VM that a disk is on, by a part of the disk's name.
    pub fn vm_of(&self, disk: &str) -> Option<&str> {
        let (_, vms) = self.attached.iter().find(|(id, _)| last(id).contains(&disk.to_lowercase()))?;
        vms.first().map(String::as_str)
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Azure ignores the case of its ids and does not keep it.
fn id(object: &Value) -> String {
    object["id"].as_str().unwrap_or_default().to_lowercase()
}

fn last(id: &str) -> String {
    id.rsplit('/').next().unwrap_or(id).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(attached: &Value) -> Value {
        json!({
            "counts": { "running": 0 },
            "disks": [
                { "id": "/s/disks/A", "properties": {} },
                { "id": "/s/disks/os", "properties": { "osType": "Linux" } },
            ],
            "snapshots": [{ "id": "/s/snapshots/B" }],
            "attached": attached,
        })
    }

    #[test]
    fn a_disk_on_two_vms_is_found_however_it_is_spelled() {
        let found = Holdings::read(&model(
            &json!({ "/s/n1": { "0": "/s/disks/A" }, "/s/n2": { "3": "/S/disks/a" } }),
        ));
        assert_eq!(found.shared(), ["disk a is on n1 and n2"]);
        let one = Holdings::read(&model(&json!({ "/s/n1": { "0": "/s/disks/A" }, "/s/n2": {} })));
        assert!(one.shared().is_empty());
        assert_eq!((one.vm_of("A"), one.vm_of("b")), (Some("n1"), None));
    }

    #[test]
    fn what_was_there_before_is_not_left() {
        let found = Holdings::read(&model(&json!({ "/s/n1": { "0": "/s/disks/A" } })));
        assert_eq!(found.beyond(&found), [""; 0]);
        let left = ["disk a is left", "snapshot b is left", "disk a is still on n1"];
        assert_eq!(found.beyond(&Holdings::default()), left);
    }
}
