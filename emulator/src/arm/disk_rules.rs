//! The rules a disk's properties must keep, as pure functions over the disk before and after a request.
//!
//! Invariant: a disk that passed [`check`] is one that Azure would have created.

use serde_json::{Map, Value, json};

use crate::refusal::Refusal;
use crate::tiers::{self, Family};
use crate::vm_sizes::VmSize;
use crate::world::{Disk, name_of};

/// Properties that Azure computes: taken in a body, never stored from it.
const COMPUTED: &[&str] = &[
    "creationData",
    "diskSizeGB",
    "diskSizeBytes",
    "diskIOPSReadWrite",
    "diskMBpsReadWrite",
    "diskIOPSReadOnly",
    "diskMBpsReadOnly",
    "maxShares",
    "tier",
    "provisioningState",
    "diskState",
    "timeCreated",
    "uniqueId",
    "shareInfo",
    "managedBy",
    "managedByExtended",
    "LastOwnershipUpdateTime",
    "completionPercent",
    "propertyUpdatesInProgress",
    "burstingEnabledTime",
];

/// Size from which host caching is refused.
const UNCACHED_FROM_GIB: u64 = 4096;

/// A VM that holds the disk, as far as the rules care.
pub(crate) struct Holder {
    pub(crate) vm: String,
    pub(crate) size: Option<VmSize>,
    pub(crate) is_deallocated: bool,
}

/// A positive whole number at `body.properties.<name>`, if present.
fn number(properties: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match &properties[name] {
        Value::Null => Ok(None),
        value => value.as_u64().filter(|n| *n > 0).map(Some).ok_or_else(|| {
            Refusal::invalid(name, format!("The value '{value}' of parameter '{name}' is out of range."))
        }),
    }
}

/// Writes what `body` asks for into `disk`.
pub(crate) fn merge(disk: &mut Disk, body: &Value) -> Result<(), Refusal> {
    let properties = &body["properties"];
    if let Some(name) = body["sku"]["name"].as_str() {
        let (sku, _, family) = tiers::sku(name).ok_or_else(|| {
            Refusal::invalid("sku.name", format!("The value '{name}' of parameter 'sku.name' is invalid."))
        })?;
        sku.clone_into(&mut disk.sku);
        if family != Family::Premium {
            disk.tier = None;
        }
    }
    if body["tags"].is_object() {
        disk.tags = Some(body["tags"].clone());
    }
    if let Some(gib) = number(properties, "diskSizeGB")? {
        disk.size_gib = gib;
    }
    if let Some(shares) = number(properties, "maxShares")? {
        disk.max_shares = shares;
    }
    if let Some(tier) = properties["tier"].as_str() {
        disk.tier = Some(tier.to_owned());
    }
    let iops = number(properties, "diskIOPSReadWrite")?;
    let mbps = number(properties, "diskMBpsReadWrite")?;
    if tiers::family(&disk.sku).is_by_number() {
        disk.iops = iops.or(disk.iops);
        disk.mbps = mbps.or(disk.mbps);
    } else {
        if iops.is_some() || mbps.is_some() {
            return Err(Refusal::invalid(
                "diskIOPSReadWrite",
                format!("Disk IOPS and MBps cannot be set for a disk of SKU '{}'.", disk.sku),
            ));
        }
        (disk.iops, disk.mbps) = (None, None);
    }
    if let Some(given) = properties.as_object() {
        for (name, value) in given.iter().filter(|(name, _)| !COMPUTED.contains(&name.as_str())) {
            disk.properties.insert(name.clone(), value.clone());
        }
    }
    Ok(())
}

/// Fills in what Azure fills in when a body is silent.
pub(crate) fn fill_defaults(disk: &mut Disk) {
    let family = tiers::family(&disk.sku);
    if family.is_by_number() {
        let iops = *disk.iops.get_or_insert(family.iops(disk.size_gib).0);
        disk.mbps.get_or_insert(family.mbps(iops).0);
        disk.creation.entry("logicalSectorSize").or_insert(json!(4096));
    }
    let defaults = [
        ("encryption", json!({ "type": "EncryptionAtRestWithPlatformKey" })),
        ("networkAccessPolicy", json!("AllowAll")),
        ("publicNetworkAccess", json!("Enabled")),
    ];
    for (name, value) in defaults {
        disk.properties.entry(name).or_insert(value);
    }
}

/// The rules that a disk keeps by itself.
pub(crate) fn check(disk: &Disk) -> Result<(), Refusal> {
    let family = tiers::family(&disk.sku);
    let (smallest, largest) = family.sizes();
    if !(smallest..=largest).contains(&disk.size_gib) {
        return Err(Refusal::invalid(
            "diskSizeGB",
            format!(
                "The value '{}' of parameter 'diskSizeGB' is out of range. Value '{}' must be between '{smallest}' and '{largest}' inclusive.",
                disk.size_gib, disk.size_gib
            ),
        ));
    }
    if family.is_by_number() {
        let (iops, mbps) = (disk.iops.unwrap_or(0), disk.mbps.unwrap_or(0));
        within("diskIOPSReadWrite", iops, family.iops(disk.size_gib))?;
        within("diskMBpsReadWrite", mbps, family.mbps(iops))?;
    }
    if disk.max_shares > family.max_shares(disk.size_gib) {
        return Err(Refusal::invalid(
            "maxShares",
            format!(
                "The value '{}' of parameter 'maxShares' is out of range: a disk of SKU '{}' and {} GiB can be shared by at most {}.",
                disk.max_shares,
                disk.sku,
                disk.size_gib,
                family.max_shares(disk.size_gib)
            ),
        ));
    }
    if disk.sku.ends_with("_ZRS") && !disk.zones.is_empty() {
        return Err(Refusal::invalid("zones", "A disk with a zone-redundant SKU cannot be in a zone."));
    }
    if disk.zones.len() > 1 {
        return Err(Refusal::invalid("zones", "A disk can be in at most one zone."));
    }
    if let Some(tier) = &disk.tier {
        check_tier(disk, family, tier)?;
    }
    if !matches!(disk.sector(), 512 | 4096) || (disk.sector() == 4096 && !family.is_by_number()) {
        return Err(Refusal::invalid(
            "creationData.logicalSectorSize",
            format!("Logical sector size {} is not supported for SKU '{}'.", disk.sector(), disk.sku),
        ));
    }
    let policy = disk.properties.get("networkAccessPolicy").and_then(Value::as_str);
    if policy == Some("AllowPrivate") && !disk.properties.contains_key("diskAccessId") {
        return Err(Refusal::invalid(
            "diskAccessId",
            "Parameter 'diskAccessId' is required for 'AllowPrivate'.",
        ));
    }
    Ok(())
}

fn within(name: &str, value: u64, (low, high): (u64, u64)) -> Result<(), Refusal> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Refusal::invalid(
        name,
        format!(
            "The value '{value}' of parameter '{name}' is out of range. Value '{value}' must be between '{low}' and '{high}' inclusive."
        ),
    ))
}

/// A tier may be raised above the size's own, never below it.
fn check_tier(disk: &Disk, family: Family, tier: &str) -> Result<(), Refusal> {
    let own = family.tier(disk.size_gib).map_or(0, |own| own.number);
    let asked = tier.strip_prefix('P').and_then(|number| number.parse::<u32>().ok());
    let known = asked.is_some_and(|number| family.tiers().iter().any(|row| row.number == number));
    if family == Family::Premium && known && asked >= Some(own) {
        return Ok(());
    }
    Err(Refusal::invalid("tier", format!("The value '{tier}' of parameter 'tier' is invalid for this disk.")))
}

/// The rules for getting from `old` to `new` while `holders` have the disk.
pub(crate) fn check_change(old: &Disk, new: &Disk, holders: &[Holder]) -> Result<(), Refusal> {
    let name = name_of(&old.id);
    let running = holders.iter().find(|holder| !holder.is_deallocated);
    if new.size_gib < old.size_gib {
        return Err(Refusal::new(
            400,
            "ResizeDiskError",
            format!(
                "Disk size reduction is not supported. Current size is {} bytes, requested size is {} bytes.",
                old.bytes(),
                new.bytes()
            ),
        )
        .target("disk.diskSizeGB"));
    }
    if new.size_gib > old.size_gib
        && let Some(holder) = running
    {
        check_online_resize(old, new, holder)?;
    }
    if new.max_shares != old.max_shares && !holders.is_empty() {
        return Err(Refusal::not_allowed(format!(
            "Property 'maxShares' of disk {name} cannot be changed while it is attached."
        )));
    }
    if new.sku != old.sku {
        check_sku_change(old, new, running)?;
    }
    Ok(())
}

fn check_online_resize(old: &Disk, new: &Disk, holder: &Holder) -> Result<(), Refusal> {
    let name = name_of(&old.id);
    if old.max_shares > 1 {
        return Err(Refusal::not_allowed(format!(
            "Cannot resize shared disk {name} while it is attached to running VM(s)."
        ))
        .inner("LiveResizeSharedDiskNotAllowed"));
    }
    if let Some(size) = holder.size.as_ref().filter(|size| !size.has_premium) {
        return Err(Refusal::not_allowed(format!(
            "Change in disk property of VM of size {} is not supported.",
            size.name
        ))
        .inner("LiveDiskPropertyChangeOfVMOfSizeNotSupported"));
    }
    let crosses = old.size_gib <= UNCACHED_FROM_GIB && new.size_gib > UNCACHED_FROM_GIB;
    if crosses && !tiers::family(&old.sku).is_by_number() {
        return Err(Refusal::not_allowed(format!(
            "Cannot resize disk {name} while it is attached to running VM {}. Resizing a disk of an Azure Virtual Machine requires the virtual machine to be deallocated. Please stop your VM and retry the operation.",
            holder.vm
        ))
        .inner("ChangeDiskSizeWhileAttachedNotAllowed"));
    }
    Ok(())
}

fn check_sku_change(old: &Disk, new: &Disk, running: Option<&Holder>) -> Result<(), Refusal> {
    let (from, to) = (tiers::family(&old.sku), tiers::family(&new.sku));
    let impossible = from.is_by_number() || to == Family::Ultra;
    if impossible || (to == Family::PremiumV2 && old.sector() != 512) {
        return Err(Refusal::not_allowed(format!(
            "Changing the SKU of disk {} from '{}' to '{}' is not allowed.",
            name_of(&old.id),
            old.sku,
            new.sku
        )));
    }
    if let Some(holder) = running.filter(|_| to != Family::PremiumV2) {
        return Err(Refusal::not_allowed(format!(
            "Cannot change the SKU of disk {} while it is attached to running VM {}.",
            name_of(&old.id),
            holder.vm
        )));
    }
    Ok(())
}

/// Whether host caching may be used for a disk.
pub(crate) fn check_caching(disk: &Disk, caching: &str) -> Result<(), Refusal> {
    if !matches!(caching, "None" | "ReadOnly" | "ReadWrite") {
        return Err(Refusal::invalid(
            "dataDisk.caching",
            format!("The value '{caching}' of 'caching' is invalid."),
        ));
    }
    let cannot =
        tiers::family(&disk.sku).is_by_number() || disk.size_gib >= UNCACHED_FROM_GIB || disk.max_shares > 1;
    if caching == "None" || !cannot {
        return Ok(());
    }
    Err(Refusal::invalid(
        "dataDisk.caching",
        format!(
            "Disk caching '{caching}' is not supported for disk '{}' of SKU '{}' and {} GiB.",
            name_of(&disk.id),
            disk.sku,
            disk.size_gib
        ),
    ))
}

/// The properties that a create body may not change on a disk that exists.
pub(crate) fn check_same_origin(old: &Disk, body: &Value) -> Result<(), Refusal> {
    let named: Map<String, Value> =
        body["properties"]["creationData"].as_object().cloned().unwrap_or_default();
    let differs = |name: &str| {
        let text = |value: Option<&Value>| value.map(|v| v.to_string().to_lowercase());
        named.contains_key(name) && text(named.get(name)) != text(old.creation.get(name))
    };
    if ["createOption", "sourceResourceId", "logicalSectorSize"].iter().any(|name| differs(name)) {
        return Err(
            Refusal::not_allowed("Changing property 'creationData' is not allowed.").target("creationData")
        );
    }
    let zones: Vec<&str> = body["zones"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if body["zones"].is_array() && zones != old.zones {
        return Err(Refusal::not_allowed("Changing property 'zones' is not allowed.").target("zones"));
    }
    Ok(())
}
