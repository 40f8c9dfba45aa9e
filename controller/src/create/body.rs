//! The body of the PUT that makes a disk: pure.

use azure::{CreationData, DiskCreate, DiskCreateProperties, Encryption, GiB, SkuName};

use super::wish::{Source, Wish};
use crate::zone::Place;

/// The disk of `gib` in `place` that `wish` describes.
pub(super) fn disk(wish: &Wish, gib: u64, place: &Place) -> DiskCreate {
    let parameters = &wish.parameters;
    let sku = parameters.sku;
    let iops = parameters.iops_of(gib);
    let mbps = parameters.mbps.or_else(|| sku.default_mbps(iops?));
    let source = wish.source.as_ref().map(|source| match source {
        Source::Snapshot(id) => id.to_string(),
        Source::Volume(id) => id.to_string(),
    });
    DiskCreate {
        location: wish.location.clone(),
        zones: match place {
            Place::Zone(zone) => vec![zone.clone()],
            Place::Regional => Vec::new(),
        },
        sku: Some(SkuName { name: sku.name().into() }),
        tags: wish.tags(),
        properties: DiskCreateProperties {
            creation_data: CreationData {
                logical_sector_size: parameters.logical_sector,
                performance_plus: parameters.performance_plus.then_some(true),
                ..source.map_or_else(CreationData::empty, CreationData::copy_of)
            },
            size: u32::try_from(gib).ok().map(GiB),
            iops,
            mbps,
            max_shares: (parameters.max_shares > 1).then_some(parameters.max_shares),
            encryption: parameters.encryption.as_ref().map(|one| Encryption {
                disk_encryption_set_id: Some(one.set.clone()),
                kind: one.kind.map(str::to_owned),
            }),
            network_access_policy: Some(parameters.network_policy.to_owned()),
            public_network_access: Some(parameters.public_access.to_owned()),
            disk_access_id: parameters.disk_access.clone(),
            bursting_enabled: parameters.bursting.then_some(true),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::wish::tests::wish;
    use serde_json::{Value, json};

    fn check(parameters: &[(&str, &str)], gib: u64, place: &Place, want: &Value) {
        let mut body = serde_json::to_value(disk(&wish(parameters), gib, place)).unwrap();
        body.as_object_mut().unwrap().remove("tags");
        assert_eq!(&body, want);
    }

    #[test]
    fn a_plain_disk_is_closed_to_the_network() {
        check(
            &[],
            10,
            &Place::Zone("2".into()),
            &json!({
                "location": "eastus2",
                "zones": ["2"],
                "sku": {"name": "StandardSSD_LRS"},
                "properties": {
                    "creationData": {"createOption": "Empty"},
                    "diskSizeGB": 10,
                    "networkAccessPolicy": "DenyAll",
                    "publicNetworkAccess": "Disabled",
                },
            }),
        );
    }

    #[test]
    fn everything_that_a_class_can_say_is_sent() {
        let set = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/diskEncryptionSets/d";
        let access = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/diskAccesses/a";
        check(
            &[
                ("skuName", "UltraSSD_LRS"),
                ("LogicalSectorSize", "512"),
                ("maxShares", "3"),
                ("diskEncryptionSetID", set),
                ("diskEncryptionType", "EncryptionAtRestWithPlatformAndCustomerKeys"),
                ("networkAccessPolicy", "AllowPrivate"),
                ("publicNetworkAccess", "Enabled"),
                ("diskAccessID", access),
            ],
            1024,
            &Place::Regional,
            &json!({
                "location": "eastus2",
                "sku": {"name": "UltraSSD_LRS"},
                "properties": {
                    "creationData": {"createOption": "Empty", "logicalSectorSize": 512},
                    "diskSizeGB": 1024,
                    "diskIOPSReadWrite": 1024,
                    "diskMBpsReadWrite": 100,
                    "maxShares": 3,
                    "encryption": {
                        "diskEncryptionSetId": set,
                        "type": "EncryptionAtRestWithPlatformAndCustomerKeys",
                    },
                    "networkAccessPolicy": "AllowPrivate",
                    "publicNetworkAccess": "Enabled",
                    "diskAccessId": access,
                },
            }),
        );
    }
}
