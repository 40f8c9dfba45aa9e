//! What a write does to a VM's list of data disks: pure functions from the present list and a body to the new goal.
//!
//! Two kinds of body: the delta call names only what changes; the full list of a PUT is the new truth, so a disk that
//! it does not name is detached. Invariants of every goal: LUNs unique and in range, each disk once, no more disks
//! than the VM's size takes. A refused body changes nothing.

use serde_json::Value;

use crate::arm::companions::{self, Kind};
use crate::arm::disk_rules;
use crate::refusal::Refusal;
use crate::tiers::{self, Family};
use crate::vm_sizes;
use crate::world::{DataDisk, Disk, Provisioning, Vm, World, key, name_of};

const HIGHEST_LUN: u64 = 63;

/// What is asked for one disk.
struct Wish<'a> {
    disk: &'a str,
    lun: Option<&'a Value>,
    item: &'a Value,
}

/// The goal after `{"dataDisksToAttach": […], "dataDisksToDetach": […]}`.
pub(crate) fn delta(world: &World, vm: &Vm, body: &Value) -> Result<Vec<DataDisk>, Refusal> {
    let mut goal = vm.disks.clone();
    for item in body["dataDisksToDetach"].as_array().into_iter().flatten() {
        let disk = item["diskId"].as_str().unwrap_or_default();
        let entry = goal.iter_mut().find(|entry| key(&entry.disk) == key(disk));
        let entry = entry.ok_or_else(|| {
            Refusal::invalid(
                "dataDisksToDetach.diskId",
                format!(
                    "Disk '{disk}' cannot be detached because it is not attached to VM '{}'.",
                    name_of(&vm.id)
                ),
            )
        })?;
        entry.to_be_detached = true;
        entry.detach_option = item["detachOption"].as_str().map(str::to_owned);
    }
    for item in body["dataDisksToAttach"].as_array().into_iter().flatten() {
        let disk = item["diskId"].as_str().unwrap_or_default();
        let lun = (!item["lun"].is_null()).then_some(&item["lun"]);
        add(world, vm, &mut goal, &Wish { disk, lun, item })?;
    }
    check_count(vm, &goal)?;
    Ok(goal)
}

/// The goal after a PUT or PATCH whose `dataDisks` is `list`.
pub(crate) fn listed(world: &World, vm: &Vm, list: &[Value]) -> Result<Vec<DataDisk>, Refusal> {
    let named = |entry: &DataDisk| list.iter().any(|item| key(disk_in(item)) == key(&entry.disk));
    let mut goal = vm.disks.clone();
    for entry in goal.iter_mut().filter(|entry| !named(entry)) {
        entry.to_be_detached = true;
    }
    for item in list {
        let disk = disk_in(item);
        let is_leaving = item["toBeDetached"].as_bool() == Some(true);
        match goal.iter_mut().find(|entry| key(&entry.disk) == key(disk)) {
            Some(entry) if is_leaving => {
                entry.to_be_detached = true;
                entry.detach_option = item["detachOption"].as_str().map(str::to_owned);
            }
            None if is_leaving => {}
            _ => {
                check_performance(vm, item)?;
                let lun = item["lun"].as_u64().map(|_| &item["lun"]);
                let lun = Some(lun.ok_or_else(|| {
                    Refusal::invalid("dataDisk.lun", "Required parameter 'dataDisk.lun' is missing (null).")
                })?);
                check_create_option(item, disk)?;
                add(world, vm, &mut goal, &Wish { disk, lun, item })?;
            }
        }
    }
    check_count(vm, &goal)?;
    Ok(goal)
}

fn disk_in(item: &Value) -> &str {
    item["managedDisk"]["id"].as_str().unwrap_or_default()
}

/// Meets a client that writes back what a newer api-version showed it.
fn check_performance(vm: &Vm, item: &Value) -> Result<(), Refusal> {
    let named = ["diskIOPSReadWrite", "diskMBpsReadWrite"].into_iter().find(|name| !item[*name].is_null());
    match named.filter(|_| vm.instance.is_none()) {
        None => Ok(()),
        Some(name) => Err(Refusal::invalid(
            &format!("dataDisk.{name}"),
            format!("Property 'dataDisk.{name}' can be enabled only on VMs in a Virtual Machine Scale Set."),
        )),
    }
}

fn check_create_option(item: &Value, disk: &str) -> Result<(), Refusal> {
    match item["createOption"].as_str() {
        Some("Empty") if !disk.is_empty() => Err(Refusal::new(
            400,
            "InvalidParameterConflictingProperties",
            "The property 'dataDisk.createOption' cannot have the value 'Empty' when property 'dataDisk.managedDisk.id' is set.",
        )),
        Some("Attach") if !disk.is_empty() => Ok(()),
        Some("Attach") => Err(Refusal::invalid(
            "dataDisk.managedDisk.id",
            "Required parameter 'dataDisk.managedDisk.id' is missing (null).",
        )),
        other => Err(Refusal::invalid(
            "dataDisk.createOption",
            format!("Create option '{}' is not served for data disks.", other.unwrap_or("null")),
        )),
    }
}

/// Puts one disk into the goal.
fn add(world: &World, vm: &Vm, goal: &mut Vec<DataDisk>, wish: &Wish) -> Result<(), Refusal> {
    let place = vm.machine();
    let lun = match wish.lun {
        Some(value) => Some(parse_lun(value)?),
        None => None,
    };
    if let Some(entry) = goal.iter_mut().find(|entry| key(&entry.disk) == key(wish.disk)) {
        if entry.to_be_detached {
            return Err(Refusal::new(
                409,
                "AttachDiskWhileBeingDetached",
                format!(
                    "Cannot attach data disk '{}' to VM '{place}' because the disk is currently being detached or the last detach operation failed. Please wait until the disk is completely detached and then try again or delete/detach the disk explicitly again.",
                    entry.name
                ),
            ));
        }
        if lun.is_some_and(|lun| lun != entry.lun) {
            return Err(already_attached(&entry.name, &vm.id, &vm.id).target(wish.disk));
        }
        return Ok(());
    }
    let found = world.disks.get(&key(wish.disk));
    let disk = found.ok_or_else(|| not_found(vm, wish.disk))?;
    let caching = wish.item["caching"].as_str().unwrap_or("None");
    if matches!(disk.state, Provisioning::Creating | Provisioning::Failed) {
        let name = name_of(&disk.id);
        return Err(Refusal::not_allowed(format!(
            "Disk {name} cannot be attached before its creation has succeeded."
        )));
    }
    check_owners(vm, disk)?;
    check_place(vm, disk)?;
    check_size(vm, disk)?;
    disk_rules::check_caching(disk, caching)?;
    let sets = [&wish.item["diskEncryptionSet"], &wish.item["managedDisk"]["diskEncryptionSet"]];
    let encryption_set = sets.into_iter().find(|set| set.is_object());
    if let Some(set) = encryption_set.and_then(|set| set["id"].as_str()) {
        let write = ("Microsoft.Compute/virtualMachines/write", vm.id.as_str());
        companions::check_link(world, Kind::EncryptionSet, set, write, &vm.location)?;
    }
    let taken = |lun: u8| goal.iter().any(|entry| entry.lun == lun);
    let lun = match lun {
        Some(lun) if taken(lun) => {
            return Err(Refusal::invalid("dataDisk.lun", format!("A disk at LUN {lun} already exists.")));
        }
        Some(lun) => lun,
        None => (0..=63).find(|lun| !taken(*lun)).ok_or_else(|| too_many(0))?,
    };
    goal.push(DataDisk {
        lun,
        name: name_of(&disk.id).to_owned(),
        disk: disk.id.clone(),
        caching: caching.to_owned(),
        has_write_accelerator: wish.item["writeAcceleratorEnabled"].as_bool().unwrap_or(false),
        delete_option: wish.item["deleteOption"].as_str().unwrap_or("Detach").to_owned(),
        encryption_set: encryption_set.cloned(),
        to_be_detached: false,
        detach_option: None,
        since: world.clock,
        is_attached: false,
    });
    Ok(())
}

fn parse_lun(value: &Value) -> Result<u8, Refusal> {
    let number = value.as_u64().filter(|lun| *lun <= HIGHEST_LUN);
    number.and_then(|lun| u8::try_from(lun).ok()).ok_or_else(|| {
        Refusal::invalid(
            "dataDisk.lun",
            format!("The value '{value}' of parameter 'dataDisk.lun' is out of range. The value must be between '0' and '{HIGHEST_LUN}' inclusive."),
        )
    })
}

fn not_found(vm: &Vm, disk: &str) -> Refusal {
    let ours = vm.id.split('/').nth(2).unwrap_or_default();
    let theirs = disk.split('/').nth(2).unwrap_or_default();
    if !theirs.is_empty() && !theirs.eq_ignore_ascii_case(ours) {
        return Refusal::invalid(
            "dataDisk.managedDisk.id",
            format!(
                "Subscription {ours} of the request must match the subscription {theirs} contained in the managed disk id."
            ),
        );
    }
    Refusal::new(404, "NotFound", format!("Disk {disk} is not found.")).target("dataDisk.managedDisk.id")
}

/// Azure's words for a disk that some VM already holds.
pub(crate) fn already_attached(disk: &str, vm: &str, owner: &str) -> Refusal {
    Refusal::new(
        409,
        "ConflictingUserInput",
        format!(
            "Cannot attach the disk {disk} to VM {vm} because it is already attached to VM {owner}. A disk can be attached to only one VM at a time."
        ),
    )
}

/// Whether one more VM may hold the disk. Also checked when the attach ends: two VMs may have raced.
pub(crate) fn check_owners(vm: &Vm, disk: &Disk) -> Result<(), Refusal> {
    let mut others = disk.owners.iter().filter(|owner| key(owner) != key(&vm.id));
    let Some(owner) = others.next() else { return Ok(()) };
    if disk.max_shares == 1 {
        return Err(Refusal::new(
            409,
            "ConflictingUserInput",
            format!("Disk '{}' cannot be attached as the disk is already owned by VM '{owner}'.", disk.id),
        ));
    }
    if disk.owners.len() as u64 >= disk.max_shares {
        return Err(already_attached(name_of(&disk.id), &vm.id, owner).target(&disk.id));
    }
    Ok(())
}

fn check_place(vm: &Vm, disk: &Disk) -> Result<(), Refusal> {
    if disk.location != vm.location {
        return Err(Refusal::new(
            400,
            "BadRequest",
            format!(
                "Disk {} cannot be attached to the VM because it is not in the same location as the VM.",
                name_of(&disk.id)
            ),
        ));
    }
    if disk.zones == vm.zones || disk.sku.ends_with("_ZRS") {
        return Ok(());
    }
    let zone = |zones: &[String]| zones.first().cloned().unwrap_or_default();
    Err(Refusal::new(
        400,
        "BadRequest",
        format!(
            "Disk {} cannot be attached to the VM because it is not in the same zone as the VM. VM zone: '{}'. Disk zone: '{}'. ",
            name_of(&disk.id),
            zone(&vm.zones),
            zone(&disk.zones)
        ),
    ))
}

fn check_size(vm: &Vm, disk: &Disk) -> Result<(), Refusal> {
    let family = tiers::family(&disk.sku);
    let Some(size) = vm_sizes::find(&vm.size) else { return Ok(()) };
    if family == Family::Ultra
        && vm.properties.get("additionalCapabilities").is_none_or(|c| c["ultraSSDEnabled"] != true)
    {
        return Err(Refusal::invalid(
            "managedDisk.storageAccountType",
            "StorageAccountType UltraSSD_LRS can be used only when additionalCapabilities.ultraSSDEnabled is set.",
        ));
    }
    if matches!(family, Family::Premium | Family::PremiumV2) && !size.has_premium {
        return Err(Refusal::invalid(
            "dataDisk.managedDisk.storageAccountType",
            format!(
                "Requested operation cannot be performed because the VM size {} does not support the storage account type {} of disk '{}'. Consider updating the VM to a size that supports Premium storage.",
                vm.size,
                disk.sku,
                name_of(&disk.id)
            ),
        ));
    }
    Ok(())
}

fn check_count(vm: &Vm, goal: &[DataDisk]) -> Result<(), Refusal> {
    let most = vm_sizes::find(&vm.size).map_or(usize::MAX, |size| size.most_disks);
    let staying = goal.iter().filter(|entry| !entry.to_be_detached).count();
    let grows = staying > vm.disks.iter().filter(|entry| !entry.to_be_detached).count();
    if grows && staying > most { Err(too_many(most)) } else { Ok(()) }
}

fn too_many(most: usize) -> Refusal {
    Refusal::not_allowed(format!(
        "The maximum number of data disks allowed to be attached to a VM of this size is {most}."
    ))
    .target("dataDisks")
}
