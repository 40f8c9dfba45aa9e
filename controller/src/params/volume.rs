//! The parameters of a StorageClass: keys, aliases and defaults of the Go driver.
//!
//! Taken and without effect here, as there or because the driver does not need it: `kind`, `zoned`,
//! `enableAsyncAttach`, `attachDiskInitialDelay` (attaches are gathered without a delay), `userAgent`.
//! Refused, because this version does not do what they ask: `perfProfile` other than `none`, and
//! `device-setting/...`.

use std::collections::BTreeMap;

use csi::Error;

use super::mutable::{Mutable, check_performance};
use super::tags::{self, Tags};
use super::{Parameter, Parameters};
use crate::names;
use crate::sku::{self, Sku};

/// Every key, as a message names them.
const KEYS: [&str; 28] = [
    "skuName",
    "storageAccountType",
    "kind",
    "cachingMode",
    "fsType",
    "location",
    "resourceGroup",
    "subscriptionID",
    "diskName",
    "DiskIOPSReadWrite",
    "DiskMBpsReadWrite",
    "LogicalSectorSize",
    "maxShares",
    "tags",
    "tagValueDelimiter",
    "diskEncryptionSetID",
    "diskEncryptionType",
    "writeAcceleratorEnabled",
    "perfProfile",
    "networkAccessPolicy",
    "publicNetworkAccess",
    "diskAccessID",
    "enableBursting",
    "enablePerformancePlus",
    "attachDiskInitialDelay",
    "userAgent",
    "enableAsyncAttach",
    "zoned",
];
const FILE_SYSTEMS: [&str; 5] = ["ext4", "ext3", "ext2", "xfs", "btrfs"];
/// The host cache modes.
pub(crate) const CACHING: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
/// Who may reach the disk's bytes without a VM.
pub(crate) const NETWORK_POLICIES: [&str; 3] = ["DenyAll", "AllowPrivate", "AllowAll"];
/// Whether from public networks.
pub(crate) const PUBLIC_ACCESS: [&str; 2] = ["Disabled", "Enabled"];
const ENCRYPTION_TYPES: [&str; 2] =
    ["EncryptionAtRestWithCustomerKey", "EncryptionAtRestWithPlatformAndCustomerKeys"];
/// Most VMs that any disk can be shared by.
const MOST_SHARES: u64 = 15;

/// The disk that a class describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeParameters {
    pub(crate) sku: Sku,
    pub(crate) iops: Option<u64>,
    pub(crate) mbps: Option<u64>,
    pub(crate) caching: Option<&'static str>,
    pub(crate) location: Option<String>,
    pub(crate) resource_group: Option<String>,
    pub(crate) subscription: Option<String>,
    /// Chosen by the class instead of made from the request's name.
    pub(crate) disk_name: Option<String>,
    pub(crate) logical_sector: Option<u32>,
    pub(crate) max_shares: u32,
    pub(crate) tags: Tags,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) network_policy: &'static str,
    pub(crate) public_access: &'static str,
    pub(crate) disk_access: Option<String>,
    pub(crate) bursting: bool,
    pub(crate) performance_plus: bool,
}

/// The customer's own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encryption {
    /// ARM id of the disk encryption set.
    pub(crate) set: String,
    pub(crate) kind: Option<&'static str>,
}

impl VolumeParameters {
    /// Reads `parameters` of a StorageClass and `mutable_parameters`, which win.
    pub(crate) fn read(
        parameters: &BTreeMap<String, String>,
        mutable: &BTreeMap<String, String>,
    ) -> Result<VolumeParameters, Error> {
        let mutable = Mutable::read(mutable)?;
        let mut all = Parameters::read("parameters", parameters)?;
        let p = &mut all;
        let wanted = mutable.or(Mutable::take(p)?);
        let sku = wanted.sku.unwrap_or(Sku::StandardSsdLrs);
        skip_without_effect(p)?;
        if let Some(one) = p.take(&["fsType"])? {
            one.one_of(&FILE_SYSTEMS)?;
        }
        let max_shares = p.take(&["maxShares"])?.map_or(Ok(1), |one| shares(&one, sku))?;
        let (network_policy, disk_access) = network(p)?;
        let tags = volume_tags(p)?;
        let (subscription, resource_group) = p.group()?;
        let read = VolumeParameters {
            sku,
            iops: wanted.iops,
            mbps: wanted.mbps,
            caching: p.take(&["cachingMode"])?.map(|one| caching(&one, sku, max_shares)).transpose()?,
            location: p.take(&["location"])?.map(|one| region(&one)),
            subscription,
            resource_group,
            disk_name: disk_name(p)?,
            logical_sector: p.take(&["LogicalSectorSize"])?.map(|one| sector(&one, sku)).transpose()?,
            max_shares,
            tags,
            encryption: encryption(p)?,
            network_policy,
            public_access: choice(p, "publicNetworkAccess", &PUBLIC_ACCESS)?,
            disk_access,
            bursting: flag(p, "enableBursting", sku.can_burst(), sku)?,
            performance_plus: flag(p, "enablePerformancePlus", !sku.is_provisioned(), sku)?,
        };
        all.finish(&KEYS)?;
        Ok(read)
    }

    /// The IOPS to ask for; none where Azure chooses.
    pub(crate) fn iops_of(&self, gib: u64) -> Option<u64> {
        self.iops.or_else(|| self.sku.default_iops(gib))
    }

    /// The smallest size that the parameters allow.
    pub(crate) fn floor_gib(&self) -> u64 {
        if self.performance_plus { sku::PERFORMANCE_PLUS_GIB } else { 1 }
    }

    /// What can be judged only once the size is known.
    pub(crate) fn check_size(&self, gib: u64) -> Result<(), Error> {
        check_performance(self.sku, gib, self.iops_of(gib), self.mbps)?;
        let most = self.sku.most_shares(gib);
        if self.max_shares > most {
            let (shares, sku) = (self.max_shares, self.sku);
            return Err(Error::invalid(format!(
                "maxShares is {shares}; allowed is 1 to {most} for {sku} of {gib} GiB"
            )));
        }
        if self.bursting && gib <= sku::LARGEST_WITHOUT_BURSTING_GIB {
            let least = sku::LARGEST_WITHOUT_BURSTING_GIB + 1;
            return Err(Error::invalid(format!(
                "enableBursting is true; allowed from {least} GiB, and the volume has {gib} GiB"
            )));
        }
        Ok(())
    }
}

/// Keys that older classes carry.
fn skip_without_effect(p: &mut Parameters<'_>) -> Result<(), Error> {
    for key in ["kind", "zoned", "enableAsyncAttach", "userAgent"] {
        p.take(&[key])?;
    }
    if let Some(one) = p.take(&["attachDiskInitialDelay"])? {
        one.number(&(0..=u64::MAX))?;
    }
    let unsupported = "which this version does not support; allowed is perfProfile none";
    match p.take(&["perfProfile"])? {
        Some(one) if one.one_of(&["none", "basic", "advanced"])? != "none" => {
            return Err(one.out_of_place(unsupported));
        }
        _ => {}
    }
    match p.take_below("device-setting/").first() {
        Some(one) => Err(one.out_of_place(unsupported)),
        None => Ok(()),
    }
}

fn volume_tags(p: &mut Parameters<'_>) -> Result<Tags, Error> {
    let mut tags = tags::volume_tags(p)?;
    if p.take(&["writeAcceleratorEnabled"])?.map_or(Ok(false), |one| one.flag())? {
        tags.insert(tags::WRITE_ACCELERATOR.to_owned(), "true".to_owned());
    }
    Ok(tags)
}

fn shares(one: &Parameter<'_>, sku: Sku) -> Result<u32, Error> {
    let shares = one.number(&(1..=MOST_SHARES))?;
    if shares > 1 && sku == Sku::StandardLrs {
        return Err(one.out_of_place("but Standard_LRS disks cannot be shared"));
    }
    Ok(u32::try_from(shares).unwrap_or(1))
}

fn caching(one: &Parameter<'_>, sku: Sku, max_shares: u32) -> Result<&'static str, Error> {
    match one.one_of(&CACHING)? {
        "None" => Ok("None"),
        _ if !sku.is_cacheable() => {
            Err(one.out_of_place(&format!("but {sku} has no host cache; allowed is None")))
        }
        _ if max_shares > 1 => Err(one.out_of_place("but a shared disk has no host cache; allowed is None")),
        cached => Ok(cached),
    }
}

/// `East US 2` and `eastus2` are one region.
fn region(one: &Parameter<'_>) -> String {
    one.value.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase()
}

fn disk_name(p: &mut Parameters<'_>) -> Result<Option<String>, Error> {
    let Some(one) = p.take(&["diskName"])? else { return Ok(None) };
    let name = tags::expand(one.value, &one, p)?;
    if names::is_legal(&name) {
        return Ok(Some(name));
    }
    let rule = "1 to 80 characters of A-Z a-z 0-9 _ . -, first a letter or digit, last one of these or _";
    Err(one.refused(rule))
}

fn sector(one: &Parameter<'_>, sku: Sku) -> Result<u32, Error> {
    if !sku.is_provisioned() {
        return Err(one.out_of_place(&format!("but {sku} disks have no choice of it")));
    }
    Ok(if one.one_of(&["512", "4096"])? == "512" { 512 } else { 4096 })
}

fn encryption(p: &mut Parameters<'_>) -> Result<Option<Encryption>, Error> {
    let set = p.take(&["diskEncryptionSetID"])?.map(|one| one.arm_id()).transpose()?;
    let kind = p.take(&["diskEncryptionType"])?;
    match (set, kind) {
        (None, Some(one)) => Err(one.out_of_place("which needs diskEncryptionSetID beside it")),
        (None, None) => Ok(None),
        (Some(set), kind) => {
            let kind = kind.map(|one| one.one_of(&ENCRYPTION_TYPES)).transpose()?;
            Ok(Some(Encryption { set, kind }))
        }
    }
}

fn network(p: &mut Parameters<'_>) -> Result<(&'static str, Option<String>), Error> {
    let policy = choice(p, "networkAccessPolicy", &NETWORK_POLICIES)?;
    match (p.take(&["diskAccessID"])?, policy) {
        (Some(one), "AllowPrivate") => Ok((policy, Some(one.arm_id()?))),
        (Some(one), _) => Err(one.out_of_place("which goes with networkAccessPolicy AllowPrivate only")),
        (None, "AllowPrivate") => {
            Err(Error::invalid("parameters: networkAccessPolicy is AllowPrivate, which needs diskAccessID"))
        }
        (None, _) => Ok((policy, None)),
    }
}

/// One of `allowed`; the first is the default.
pub(crate) fn choice(
    p: &mut Parameters<'_>,
    key: &str,
    allowed: &[&'static str],
) -> Result<&'static str, Error> {
    p.take(&[key])?.map_or(Ok(allowed[0]), |one| one.one_of(allowed))
}

/// A switch that only some SKUs have.
fn flag(p: &mut Parameters<'_>, key: &str, is_offered: bool, sku: Sku) -> Result<bool, Error> {
    let Some(one) = p.take(&[key])? else { return Ok(false) };
    match one.flag()? {
        true if !is_offered => Err(one.out_of_place(&format!("but {sku} does not have it"))),
        on => Ok(on),
    }
}

#[cfg(test)]
mod tests;
