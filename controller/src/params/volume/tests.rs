//! StorageClass parameters: what each key becomes, and what is refused with which words.

use super::*;
use csi::Kind;

const SET: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/diskEncryptionSets/d";

fn read(pairs: &[(&str, &str)]) -> Result<VolumeParameters, Error> {
    let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    VolumeParameters::read(&map, &BTreeMap::new())
}

#[track_caller]
fn refused(pairs: &[(&str, &str)], said: &str) {
    let error = read(pairs).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.message().contains(said), "{pairs:?}: {error}");
}

#[test]
fn defaults_are_the_go_drivers() {
    let plain = read(&[]).unwrap();
    assert_eq!(plain.sku, Sku::StandardSsdLrs);
    assert_eq!((plain.network_policy, plain.public_access), ("DenyAll", "Disabled"));
    assert_eq!((plain.max_shares, plain.caching, plain.iops, plain.bursting), (1, None, None, false));
    assert_eq!(plain.tags.len(), 1);
}

#[test]
fn keys_and_values_in_any_case() {
    let disk = read(&[
        ("STORAGEACCOUNTTYPE", "premium_lrs"),
        ("cachingmode", "readonly"),
        ("Location", "East US 2"),
        ("resourcegroup", "Other"),
        ("SubscriptionId", "s2"),
        ("MaxShares", "2"),
        ("fsType", "XFS"),
        ("Kind", "managed"),
        ("csi.storage.k8s.io/pvc/name", "web"),
        ("csi.storage.k8s.io/fstype", "xfs"),
    ]);
    assert!(disk.unwrap_err().message().contains("shared disk has no host cache"));
    let disk = read(&[
        ("STORAGEACCOUNTTYPE", "premium_lrs"),
        ("cachingmode", "readonly"),
        ("Location", "East US 2"),
        ("resourcegroup", "Other"),
        ("SubscriptionId", "s2"),
    ])
    .unwrap();
    assert_eq!((disk.sku, disk.caching), (Sku::PremiumLrs, Some("ReadOnly")));
    assert_eq!(disk.location.as_deref(), Some("eastus2"));
    assert_eq!((disk.resource_group.as_deref(), disk.subscription.as_deref()), (Some("Other"), Some("s2")));
}

#[test]
fn mutable_parameters_win() {
    let class = [("skuName".to_owned(), "Premium_LRS".to_owned())].into();
    let attributes = [
        ("storageaccounttype".to_owned(), "PremiumV2_LRS".to_owned()),
        ("DiskIOPSReadWrite".to_owned(), "4000".to_owned()),
    ]
    .into();
    let disk = VolumeParameters::read(&class, &attributes).unwrap();
    assert_eq!((disk.sku, disk.iops), (Sku::PremiumV2Lrs, Some(4000)));
    let unknown = [("cachingMode".to_owned(), "None".to_owned())].into();
    assert_eq!(VolumeParameters::read(&class, &unknown).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn bad_values_name_the_key_and_what_is_allowed() {
    let rows: [(&[(&str, &str)], &str); 20] = [
        (&[("skuName", "Gold")], "allowed is Standard_LRS"),
        (&[("cachingMode", "Some")], "None, ReadOnly, ReadWrite"),
        (&[("cachingMode", "ReadOnly"), ("skuName", "PremiumV2_LRS")], "no host cache"),
        (&[("cachingMode", "ReadWrite"), ("skuName", "UltraSSD_LRS")], "no host cache"),
        (&[("fsType", "ntfs")], "ext4"),
        (&[("maxShares", "0")], "1 to 15"),
        (&[("maxShares", "2"), ("skuName", "Standard_LRS")], "cannot be shared"),
        (&[("LogicalSectorSize", "777"), ("skuName", "UltraSSD_LRS")], "512, 4096"),
        (&[("LogicalSectorSize", "512")], "no choice of it"),
        (&[("diskEncryptionSetID", "mine")], "Azure resource id"),
        (&[("diskEncryptionType", "EncryptionAtRestWithCustomerKey")], "needs diskEncryptionSetID"),
        (&[("diskEncryptionSetID", SET), ("diskEncryptionType", "none")], "EncryptionAtRestWithCustomerKey"),
        (&[("networkAccessPolicy", "AllowPrivate")], "needs diskAccessID"),
        (&[("diskAccessID", SET)], "AllowPrivate only"),
        (&[("enableBursting", "foo")], "true, false"),
        (&[("enableBursting", "true"), ("skuName", "StandardSSD_LRS")], "does not have it"),
        (&[("subscriptionID", "s2")], "needs resourceGroup"),
        (&[("diskName", "a b")], "80 characters"),
        (&[("attachDiskInitialDelay", "soon")], "whole number"),
        (&[("zones", "1")], "unknown key in parameters: zones"),
    ];
    for (pairs, said) in rows {
        refused(pairs, said);
    }
}

#[test]
fn what_this_version_cannot_do_is_refused() {
    assert!(read(&[("perfProfile", "None")]).is_ok());
    refused(&[("perfProfile", "basic")], "does not support");
    refused(&[("device-setting/queue/read_ahead_kb", "8")], "does not support");
}

#[test]
fn a_disk_name_may_be_a_template() {
    let facts = ("csi.storage.k8s.io/pvc/name", "web");
    let disk = read(&[("diskName", "x-${pvc.metadata.name}"), facts]).unwrap();
    assert_eq!(disk.disk_name.as_deref(), Some("x-web"));
    refused(&[("diskName", "x-${pvc.metadata.name}")], "--extra-create-metadata");
}

#[test]
fn the_write_accelerator_is_a_tag() {
    assert_eq!(read(&[("writeAcceleratorEnabled", "True")]).unwrap().tags[tags::WRITE_ACCELERATOR], "true");
    assert!(
        !read(&[("writeAcceleratorEnabled", "false")]).unwrap().tags.contains_key(tags::WRITE_ACCELERATOR)
    );
}

#[test]
fn some_things_depend_on_the_size() {
    // The SKU, one more parameter, a size that is too small for it, and one that is not.
    let rows = [
        ("Premium_LRS", ("enableBursting", "true"), 512, 513),
        ("Premium_LRS", ("maxShares", "5"), 512, 1024),
        ("PremiumV2_LRS", ("DiskIOPSReadWrite", "4000"), 7, 8),
    ];
    for (sku, parameter, small, large) in rows {
        let disk = read(&[("skuName", sku), parameter]).unwrap();
        assert!(disk.check_size(small).is_err() && disk.check_size(large).is_ok(), "{sku} {parameter:?}");
    }
    // MB/s are measured by the IOPS that the driver will ask for.
    let ultra = read(&[("skuName", "UltraSSD_LRS"), ("DiskMBpsReadWrite", "125")]).unwrap();
    assert!(ultra.check_size(64).is_ok());
    assert_eq!(read(&[("enablePerformancePlus", "true")]).unwrap().floor_gib(), 513);
}
