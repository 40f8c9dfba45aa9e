//! VM bodies: what a create body becomes, what an update body changes.
//!
//! Azure adds much to what a caller sends (guest settings, exact image version, OS disk defaults) and keeps secrets
//! to itself; clients meet both, so both are done here. Update bodies may be partial: what is not named stays.

use serde_json::{Map, Value, json};

use crate::refusal::Refusal;
use crate::vm_sizes;
use crate::world::Vm;

/// The machine profile that a VM and an instance of a scale set share.
pub(crate) struct Guest {
    pub(crate) is_windows: bool,
}

impl Guest {
    /// Guessed from the image, as the real image's metadata would tell.
    pub(crate) fn of(storage: &Value) -> Self {
        let image = storage["imageReference"].to_string().to_lowercase();
        Self { is_windows: image.contains("windows") || storage["osDisk"]["osType"] == "Windows" }
    }

    fn os(&self) -> &'static str {
        if self.is_windows { "Windows" } else { "Linux" }
    }

    /// Size of the image's OS disk in GiB.
    fn gib(&self) -> u64 {
        if self.is_windows { 127 } else { 30 }
    }

    /// `osProfile` as Azure keeps it: without the password, with the guest's defaults.
    pub(crate) fn os_profile(&self, asked: &Value, is_standalone: bool) -> Value {
        let mut profile = asked.as_object().cloned().unwrap_or_default();
        profile.remove("adminPassword");
        profile.remove("customData");
        let mut put = |name: &str, value: Value| {
            profile.entry(name).or_insert(value);
        };
        put("secrets", json!([]));
        put("allowExtensionOperations", json!(true));
        put("requireGuestProvisionSignal", json!(true));
        let patching = json!({ "patchMode": if self.is_windows { "AutomaticByOS" } else { "ImageDefault" }, "assessmentMode": "ImageDefault" });
        let mut settings = json!({ "provisionVMAgent": true });
        if self.is_windows {
            settings["enableAutomaticUpdates"] = json!(true);
        }
        if is_standalone {
            settings["patchSettings"] = patching;
            settings["enableVMAgentPlatformUpdates"] = json!(true);
        }
        put(if self.is_windows { "windowsConfiguration" } else { "linuxConfiguration" }, settings);
        Value::Object(profile)
    }

    /// `storageProfile` without data disks; `caching` is the OS disk's default.
    pub(crate) fn storage_profile(
        &self,
        asked: &Value,
        os_disk: &str,
        account: &str,
        caching: &str,
    ) -> Map<String, Value> {
        let mut disk = asked["osDisk"].as_object().cloned().unwrap_or_default();
        let mut put = |name: &str, value: Value| {
            disk.entry(name).or_insert(value);
        };
        put("osType", json!(self.os()));
        put("name", json!(os_disk));
        put("createOption", json!("FromImage"));
        put("caching", json!(caching));
        put("diskSizeGB", json!(self.gib()));
        put("managedDisk", json!({ "storageAccountType": account }));
        let mut storage = Map::new();
        if asked["imageReference"].is_object() {
            storage.insert("imageReference".to_owned(), asked["imageReference"].clone());
        }
        storage.insert("osDisk".to_owned(), Value::Object(disk));
        storage
    }
}

/// The exact version that an image reference resolved to.
pub(crate) fn resolve_image(storage: &mut Map<String, Value>) {
    if let Some(image) = storage.get_mut("imageReference").and_then(Value::as_object_mut) {
        image.entry("exactVersion").or_insert(json!("17763.8276.260109"));
    }
}

/// `properties` of a new VM, without what is computed.
pub(crate) fn create(name: &str, body: &Value) -> Result<(String, Map<String, Value>), Refusal> {
    let asked = &body["properties"];
    let size = known_size(asked["hardwareProfile"]["vmSize"].as_str().unwrap_or("Standard_A2_v2"))?;
    let guest = Guest::of(&asked["storageProfile"]);
    let os_disk = format!("{name}_OsDisk_1");
    let mut storage = guest.storage_profile(&asked["storageProfile"], &os_disk, "Premium_LRS", "ReadWrite");
    resolve_image(&mut storage);
    if let Some(disk) = storage.get_mut("osDisk").and_then(Value::as_object_mut) {
        disk.entry("deleteOption").or_insert(json!("Detach"));
    }
    let mut properties = asked.as_object().cloned().unwrap_or_default();
    for computed in ["provisioningState", "vmId", "instanceView", "timeCreated"] {
        properties.remove(computed);
    }
    properties.insert("hardwareProfile".to_owned(), json!({ "vmSize": size }));
    properties.insert("storageProfile".to_owned(), Value::Object(storage));
    properties.insert("osProfile".to_owned(), guest.os_profile(&asked["osProfile"], true));
    Ok((size, properties))
}

/// Takes an update body into a VM, except its data disks.
pub(crate) fn update(vm: &mut Vm, body: &Value) -> Result<(), Refusal> {
    if body["tags"].is_object() {
        vm.tags = Some(body["tags"].clone());
    }
    for (name, value) in body["properties"].as_object().into_iter().flatten() {
        match name.as_str() {
            "hardwareProfile" => {
                if let Some(asked) = value["vmSize"].as_str() {
                    vm.size = known_size(asked)?;
                    vm.properties.insert(name.clone(), json!({ "vmSize": vm.size }));
                }
            }
            "storageProfile" | "osProfile" | "provisioningState" | "vmId" | "instanceView"
            | "timeCreated" => {}
            _ => {
                vm.properties.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(())
}

/// The size's own spelling, or the refusal of one that is not sold.
pub(crate) fn known_size(asked: &str) -> Result<String, Refusal> {
    vm_sizes::find(asked).map(|size| size.name.to_owned()).ok_or_else(|| {
        Refusal::invalid("vmSize", format!("The value {asked} provided for the VM size is not valid."))
    })
}
