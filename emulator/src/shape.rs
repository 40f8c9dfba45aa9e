//! The shape of bodies: an object where Azure has an object, a list of objects where it has such a list.
//!
//! Checked once for every write, so that handlers may go into a body without asking at each step.

use serde_json::Value;

use crate::call::Call;
use crate::refusal::Refusal;

/// Members that are objects wherever they stand.
const OBJECTS: &[&str] = &[
    "additionalCapabilities",
    "automaticOSUpgradePolicy",
    "creationData",
    "diskEncryptionSet",
    "encryption",
    "hardwareProfile",
    "imageReference",
    "managedDisk",
    "networkProfile",
    "osDisk",
    "osProfile",
    "properties",
    "sku",
    "storageProfile",
    "subnet",
    "tags",
    "upgradePolicy",
    "virtualMachineProfile",
];

/// Members that are lists of objects wherever they stand.
const LISTS: &[&str] = &[
    "dataDisks",
    "dataDisksToAttach",
    "dataDisksToDetach",
    "ipConfigurations",
    "networkInterfaceConfigurations",
    "networkInterfaces",
    "subnets",
];

/// Refuses a body that is not an object, or has something else where an object or a list must be.
pub(crate) fn demand_body(call: &Call) -> Result<(), Refusal> {
    let what = "The request content was invalid and could not be deserialized";
    if call.is_malformed() || call.raw.is_empty() {
        return Err(Refusal::malformed(format!("{what}.")));
    }
    match misshapen(&call.body) {
        None => Ok(()),
        Some(name) => Err(Refusal::malformed(format!("{what}: '{name}' is of the wrong type."))),
    }
}

/// The name of the first member of the wrong type. Tags are free below their own level, and an image reference has a
/// `sku` that is text.
fn misshapen(body: &Value) -> Option<&str> {
    match body {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let is_wrong = match name.as_str() {
                name if OBJECTS.contains(&name) => !value.is_object(),
                name if LISTS.contains(&name) => {
                    value.as_array().is_none_or(|items| !items.iter().all(Value::is_object))
                }
                _ => false,
            };
            if is_wrong && !value.is_null() {
                return Some(name.as_str());
            }
            if matches!(name.as_str(), "tags" | "imageReference") { None } else { misshapen(value) }
        }),
        Value::Array(items) => items.iter().find_map(misshapen),
        _ => None,
    }
}
