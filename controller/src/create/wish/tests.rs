//! What a CreateVolume request asks for.

use super::*;
use csi::Kind;
use csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use csi::v1::{CapacityRange, VolumeCapability};

pub(crate) const GIB_10: u64 = 10 * GIB;

pub(crate) fn settings() -> Settings {
    Settings {
        driver: "disk.csi.azure.com".into(),
        subscription: "s".into(),
        resource_group: "g".into(),
        location: "eastus2".into(),
        first_way: azure::FirstWay::Delta,
        counters: std::sync::Arc::default(),
    }
}

fn capability(mode: Mode, block: bool) -> VolumeCapability {
    let access =
        if block { AccessType::Block(BlockVolume {}) } else { AccessType::Mount(MountVolume::default()) };
    VolumeCapability { access_type: Some(access), access_mode: Some(AccessMode { mode: mode.into() }) }
}

fn request(parameters: &[(&str, &str)]) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: "pvc-1".into(),
        capacity_range: Some(CapacityRange {
            required_bytes: i64::try_from(GIB_10).unwrap(),
            ..Default::default()
        }),
        volume_capabilities: vec![capability(Mode::SingleNodeWriter, false)],
        parameters: parameters.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        ..Default::default()
    }
}

pub(crate) fn wish(parameters: &[(&str, &str)]) -> Wish {
    Wish::of(&request(parameters), &settings()).unwrap()
}

#[test]
fn the_disk_stands_where_the_class_says() {
    let id = |parameters: &[(&str, &str)]| wish(parameters).disk.to_string();
    assert_eq!(id(&[]), "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/pvc-1");
    assert!(
        id(&[("resourceGroup", "h"), ("subscriptionID", "t")])
            .starts_with("/subscriptions/t/resourceGroups/h/")
    );
    assert!(id(&[("diskName", "mine")]).ends_with("/mine"));
}

#[test]
fn the_context_is_the_go_drivers_and_says_the_same_each_time() {
    let made = wish(&[("SkuName", "PremiumV2_LRS"), ("fsType", "xfs")]);
    let context = made.volume_context(made.requested_gib(20 * GIB));
    let want = [
        ("SkuName", "PremiumV2_LRS"),
        ("cachingMode", "None"),
        ("fsType", "xfs"),
        ("kind", "Managed"),
        ("requestedsizegib", "10"),
    ];
    assert!(context.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(want), "{context:?}");
}

#[test]
fn a_name_that_is_not_the_disks_is_a_tag() {
    assert!(!wish(&[]).tags().contains_key(REQUEST_NAME));
    assert_eq!(wish(&[("diskName", "mine")]).tags()[REQUEST_NAME], "pvc-1");
}

#[test]
fn modes_of_many_nodes_need_a_shared_block_disk() {
    let rows = [
        (Mode::SingleNodeWriter, false, 1, true),
        (Mode::SingleNodeMultiWriter, true, 1, true),
        (Mode::MultiNodeMultiWriter, true, 2, true),
        (Mode::MultiNodeMultiWriter, true, 1, false),
        (Mode::MultiNodeReaderOnly, false, 2, false),
    ];
    for (mode, block, shares, good) in rows {
        let one = csi::require::capability(Some(&capability(mode, block))).unwrap();
        assert_eq!(check_capability(&one, shares).is_ok(), good, "{mode:?} {block} {shares}");
    }
}

#[test]
fn refusals_come_before_azure_is_asked() {
    let check = |change: &dyn Fn(&mut CreateVolumeRequest), want: Kind| {
        let mut request = request(&[]);
        change(&mut request);
        let got = Wish::of(&request, &settings()).err().map(|error| error.kind());
        assert_eq!(got, Some(want));
    };
    check(&|request| request.name.clear(), Kind::Invalid);
    check(&|request| request.name = "a\nb".into(), Kind::Invalid);
    check(&|request| request.volume_capabilities.clear(), Kind::Invalid);
    check(&|request| request.parameters = [("x".into(), "y".into())].into(), Kind::Invalid);
    check(&|request| request.mutable_parameters = [("x".into(), "y".into())].into(), Kind::Invalid);
    check(&|request| request.volume_content_source = Some(VolumeContentSource::default()), Kind::Invalid);
    let from = |id: &str| {
        let snapshot = csi::v1::volume_content_source::SnapshotSource { snapshot_id: id.into() };
        Some(VolumeContentSource { r#type: Some(Type::Snapshot(snapshot)) })
    };
    check(&|request| request.volume_content_source = from(""), Kind::Invalid);
    check(&|request| request.volume_content_source = from("no-arm-id"), Kind::NotFound);
}
