//! The RPCs of the contract as one table: a short name for labels and logs, whether the call changes
//! anything, and whether its first field names the volume (or snapshot, or wanted name) it is about.
//! A test compares the table with the compiled contract, so that no RPC is without a row.

/// One RPC.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// As in the contract: "ControllerPublishVolume".
    pub name: &'static str,
    service: &'static str,
    /// Whether it changes a disk, an attachment or a mount.
    pub changes: bool,
    /// Whether field 1 of the request is the string that tells one volume from another.
    pub names_its_volume: bool,
}

const fn method(service: &'static str, name: &'static str, changes: bool, names_its_volume: bool) -> Method {
    Method { name, service, changes, names_its_volume }
}

/// What a path outside the table is counted as, so that a caller can't make labels up.
pub static UNKNOWN: Method = method("", "unknown", false, false);

static METHODS: &[Method] = &[
    method("Identity", "GetPluginInfo", false, false),
    method("Identity", "GetPluginCapabilities", false, false),
    method("Identity", "Probe", false, false),
    method("Controller", "CreateVolume", true, true),
    method("Controller", "DeleteVolume", true, true),
    method("Controller", "ControllerPublishVolume", true, true),
    method("Controller", "ControllerUnpublishVolume", true, true),
    method("Controller", "ValidateVolumeCapabilities", false, true),
    method("Controller", "ListVolumes", false, false),
    method("Controller", "GetCapacity", false, false),
    method("Controller", "ControllerGetCapabilities", false, false),
    method("Controller", "CreateSnapshot", true, true),
    method("Controller", "DeleteSnapshot", true, true),
    method("Controller", "ListSnapshots", false, false),
    method("Controller", "GetSnapshot", false, true),
    method("Controller", "ControllerExpandVolume", true, true),
    method("Controller", "ControllerGetVolume", false, true),
    method("Controller", "ControllerModifyVolume", true, true),
    method("Controller", "ControllerListVolumeHealth", false, false),
    method("Controller", "ControllerGetVolumeHealth", false, true),
    method("GroupController", "GroupControllerGetCapabilities", false, false),
    method("GroupController", "CreateVolumeGroupSnapshot", true, true),
    method("GroupController", "DeleteVolumeGroupSnapshot", true, true),
    method("GroupController", "GetVolumeGroupSnapshot", false, true),
    method("SnapshotMetadata", "GetMetadataAllocated", false, true),
    method("SnapshotMetadata", "GetMetadataDelta", false, true),
    method("Node", "NodeStageVolume", true, true),
    method("Node", "NodeUnstageVolume", true, true),
    method("Node", "NodePublishVolume", true, true),
    method("Node", "NodeUnpublishVolume", true, true),
    method("Node", "NodeGetVolumeStats", false, true),
    method("Node", "NodeGetVolumeHealth", false, true),
    method("Node", "NodeGetStorageHealth", false, false),
    method("Node", "NodeExpandVolume", true, true),
    method("Node", "NodeGetCapabilities", false, false),
    method("Node", "NodeGetInfo", false, false),
];

/// The RPC behind a request path such as `/csi.v1.Node/NodeStageVolume`.
pub fn find(path: &str) -> &'static Method {
    let parts = path.strip_prefix("/csi.v1.").and_then(|rest| rest.split_once('/'));
    parts
        .and_then(|(service, name)| METHODS.iter().find(|row| row.service == service && row.name == name))
        .unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn the_table_is_the_contract() {
        let contract = prost_types::FileDescriptorSet::decode(csi::DESCRIPTOR_SET).unwrap();
        let mut rpcs = 0;
        for file in contract.file.iter().filter(|file| file.package() == "csi.v1") {
            for service in &file.service {
                for rpc in &service.method {
                    let found = find(&format!("/csi.v1.{}/{}", service.name(), rpc.name()));
                    assert_eq!((found.name, found.service), (rpc.name(), service.name()));
                    let request = rpc.input_type().rsplit('.').next().unwrap();
                    let message = contract
                        .file
                        .iter()
                        .flat_map(|file| &file.message_type)
                        .find(|m| m.name() == request);
                    let first = message.unwrap().field.iter().find(|field| field.number() == 1);
                    let is_name = first.is_some_and(|field| {
                        field.r#type() == prost_types::field_descriptor_proto::Type::String
                            && field.label() != prost_types::field_descriptor_proto::Label::Repeated
                    });
                    assert!(is_name || !found.names_its_volume, "{}", rpc.name());
                    rpcs += 1;
                }
            }
        }
        assert_eq!(rpcs, METHODS.len());
    }

    #[test]
    fn what_is_not_in_the_contract_has_one_label() {
        for path in ["/", "/csi.v1.Node/Evil", "/csi.v0.Node/NodeGetInfo", "/grpc.health.v1.Health/Check"] {
            assert_eq!(find(path), &UNKNOWN, "{path}");
        }
    }
}
