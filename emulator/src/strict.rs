//! Strict mode: a body with a property that Azure does not know, or knows only elsewhere, is refused.
//!
//! Without it such a property is ignored or stored, so a misspelled one goes unnoticed. The tables list what a body may
//! contain: a dot goes down, `[]` is any item of a list, a last `*` is anything below.

use http::Method;
use serde_json::Value;

use crate::call::Call;
use crate::refusal::Refusal;

/// What a resource that was read may still have on it when it is written back.
const RESOURCE: &[&str] = &["id", "name", "type", "location", "tags.*", "etag", "systemData.*"];

const DISK_CHANGE: &[&str] = &[
    "sku.name",
    "sku.tier",
    "tags.*",
    "properties.availabilityPolicy.*",
    "properties.burstingEnabled",
    "properties.dataAccessAuthMode",
    "properties.diskAccessId",
    "properties.diskIOPSReadOnly",
    "properties.diskIOPSReadWrite",
    "properties.diskMBpsReadOnly",
    "properties.diskMBpsReadWrite",
    "properties.diskSizeGB",
    "properties.encryption.diskEncryptionSetId",
    "properties.encryption.type",
    "properties.encryptionSettingsCollection.*",
    "properties.maxShares",
    "properties.networkAccessPolicy",
    "properties.optimizedForFrequentAttach",
    "properties.osType",
    "properties.publicNetworkAccess",
    "properties.purchasePlan.*",
    "properties.supportedCapabilities.*",
    "properties.supportsHibernation",
    "properties.tier",
];

const DISK_CREATE: &[&str] = &[
    "zones[]",
    "extendedLocation.*",
    "managedBy",
    "managedByExtended[]",
    "properties.LastOwnershipUpdateTime",
    "properties.burstingEnabledTime",
    "properties.completionPercent",
    "properties.creationData.createOption",
    "properties.creationData.elasticSanResourceId",
    "properties.creationData.galleryImageReference.*",
    "properties.creationData.imageReference.*",
    "properties.creationData.instantAccessDurationMinutes",
    "properties.creationData.logicalSectorSize",
    "properties.creationData.performancePlus",
    "properties.creationData.provisionedBandwidthCopySpeed",
    "properties.creationData.securityDataUri",
    "properties.creationData.sourceResourceId",
    "properties.creationData.sourceUniqueId",
    "properties.creationData.sourceUri",
    "properties.creationData.storageAccountId",
    "properties.creationData.uploadSizeBytes",
    "properties.diskSizeBytes",
    "properties.diskState",
    "properties.hyperVGeneration",
    "properties.incremental",
    "properties.incrementalSnapshotFamilyId",
    "properties.propertyUpdatesInProgress.*",
    "properties.provisioningState",
    "properties.securityProfile.*",
    "properties.shareInfo[].vmUri",
    "properties.snapshotAccessState",
    "properties.timeCreated",
    "properties.uniqueId",
];

const ATTACH: &[&str] = &[
    "dataDisksToAttach[].caching",
    "dataDisksToAttach[].deleteOption",
    "dataDisksToAttach[].diskEncryptionSet.id",
    "dataDisksToAttach[].diskId",
    "dataDisksToAttach[].lun",
    "dataDisksToAttach[].writeAcceleratorEnabled",
    "dataDisksToDetach[].detachOption",
    "dataDisksToDetach[].diskId",
];

const VM: &[&str] = &[
    "identity.*",
    "plan.*",
    "zones[]",
    "instanceId",
    "sku.*",
    "resources[].*",
    "extendedLocation.*",
    "managedBy",
    "properties.additionalCapabilities.*",
    "properties.applicationProfile.*",
    "properties.availabilitySet.id",
    "properties.diagnosticsProfile.*",
    "properties.hardwareProfile.*",
    "properties.host.id",
    "properties.instanceView.*",
    "properties.latestModelApplied",
    "properties.licenseType",
    "properties.modelDefinitionApplied",
    "properties.networkProfile.*",
    "properties.networkProfileConfiguration.*",
    "properties.osProfile.*",
    "properties.platformFaultDomain",
    "properties.priority",
    "properties.protectionPolicy.*",
    "properties.provisioningState",
    "properties.proximityPlacementGroup.id",
    "properties.resilientVMDeletionStatus",
    "properties.scheduledEventsProfile.*",
    "properties.securityProfile.*",
    "properties.storageProfile.dataDisks[].caching",
    "properties.storageProfile.dataDisks[].createOption",
    "properties.storageProfile.dataDisks[].deleteOption",
    "properties.storageProfile.dataDisks[].detachOption",
    "properties.storageProfile.dataDisks[].diskIOPSReadWrite",
    "properties.storageProfile.dataDisks[].diskMBpsReadWrite",
    "properties.storageProfile.dataDisks[].diskSizeGB",
    "properties.storageProfile.dataDisks[].image.uri",
    "properties.storageProfile.dataDisks[].lun",
    "properties.storageProfile.dataDisks[].managedDisk.diskEncryptionSet.id",
    "properties.storageProfile.dataDisks[].managedDisk.id",
    "properties.storageProfile.dataDisks[].managedDisk.securityProfile.*",
    "properties.storageProfile.dataDisks[].managedDisk.storageAccountType",
    "properties.storageProfile.dataDisks[].name",
    "properties.storageProfile.dataDisks[].sourceResource.id",
    "properties.storageProfile.dataDisks[].toBeDetached",
    "properties.storageProfile.dataDisks[].vhd.uri",
    "properties.storageProfile.dataDisks[].writeAcceleratorEnabled",
    "properties.storageProfile.diskControllerType",
    "properties.storageProfile.imageReference.*",
    "properties.storageProfile.osDisk.*",
    "properties.timeCreated",
    "properties.userData",
    "properties.virtualMachineScaleSet.id",
    "properties.vmId",
];

/// Refuses a body with something in it that is not in its table. Calls without a table pass.
pub(crate) fn check(call: &Call) -> Result<(), Refusal> {
    let (tables, is_resource): (&[&[&str]], bool) = match (&call.method, call.shape().as_slice()) {
        (&Method::PUT, [.., "disks" | "snapshots", _]) => (&[DISK_CREATE, DISK_CHANGE], true),
        (&Method::PATCH, [.., "disks" | "snapshots", _]) => (&[DISK_CHANGE], false),
        (&Method::POST, [.., "attachdetachdatadisks"]) => (&[ATTACH], false),
        (&Method::PUT | &Method::PATCH, [.., "virtualmachines", _]) => (&[VM], true),
        _ => return Ok(()),
    };
    let known = tables.iter().copied().flatten().chain(RESOURCE.iter().filter(|_| is_resource));
    let known: Vec<&str> = known.copied().collect();
    match first_unknown(&call.body, "", &known) {
        None => Ok(()),
        Some(path) if path.contains('.') => {
            let member = path.rsplit('.').next().unwrap_or_default();
            Err(Refusal::new(
                400,
                "BadRequest",
                format!("Could not find member '{member}' on object. Path '{path}'."),
            )
            .target(&path))
        }
        Some(path) => Err(Refusal::malformed(format!(
            "The request content was invalid and could not be deserialized: 'Could not find member '{path}' on object of type 'ResourceDefinition'.'."
        ))),
    }
}

/// The path of the first member that no entry of `known` covers.
fn first_unknown(value: &Value, at: &str, known: &[&str]) -> Option<String> {
    let covers = |entry: &&str| match entry.strip_suffix(".*") {
        Some(head) => at.strip_prefix(head).is_some_and(|rest| rest.is_empty() || goes_down(rest)),
        None => *entry == at,
    };
    if !at.is_empty() && known.iter().any(covers) {
        return None;
    }
    let leads_on = at.is_empty() || known.iter().any(|entry| entry.strip_prefix(at).is_some_and(goes_down));
    match value {
        _ if !leads_on => Some(at.to_owned()),
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            first_unknown(value, &path, known)
        }),
        Value::Array(items) => items.iter().find_map(|item| first_unknown(item, &format!("{at}[]"), known)),
        // Null stands for absent.
        _ => None,
    }
}

/// Whether the rest of a path begins with a step to a member or an item.
fn goes_down(rest: &str) -> bool {
    rest.starts_with('.') || rest.starts_with("[]")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(body: &Value, unknown: Option<&str>) {
        let known = ["tags.*", "zones[]", "properties.size", "items[].id", "items[].more.*"];
        assert_eq!(first_unknown(body, "", &known).as_deref(), unknown, "{body}");
    }

    #[test]
    fn what_is_not_in_the_table_is_found_where_it_is() {
        check(&json!({}), None);
        check(&json!({ "tags": { "any": "thing" }, "zones": ["1"], "properties": { "size": 1 } }), None);
        check(&json!({ "items": [{ "id": 1, "more": { "a": [{ "b": 2 }] } }] }), None);
        check(&json!({ "properties": null }), None);
        check(&json!({ "size": 1 }), Some("size"));
        check(&json!({ "properties": { "tags": {} } }), Some("properties.tags"));
        check(&json!({ "items": [{ "id": 1 }, { "lun": 2 }] }), Some("items[].lun"));
    }
}
