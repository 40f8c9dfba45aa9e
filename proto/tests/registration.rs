//! What goes over the wire between a kubelet and a plugin that registers itself, byte for byte: the kubelet is built
//! from its own copy of these facts, so a slip of the pen in ours would show only in a cluster.

use csi::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use prost::Message;
use protox::prost_reflect::DescriptorPool;

#[track_caller]
fn check(message: &impl Message, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes);
}

#[test]
fn the_messages_have_the_kubelets_numbers() {
    let info = PluginInfo {
        r#type: "T".to_owned(),
        name: "n".to_owned(),
        endpoint: "/e".to_owned(),
        supported_versions: vec!["1".to_owned(), "2".to_owned()],
    };
    check(&info, b"\x0a\x01T\x12\x01n\x1a\x02/e\x22\x011\x22\x012");
    check(&RegistrationStatus { plugin_registered: true, error: "e".to_owned() }, b"\x08\x01\x12\x01e");
    check(&InfoRequest {}, b"");
    check(&RegistrationStatusResponse {}, b"");
}

#[test]
fn the_service_has_the_kubelets_names() {
    let pool = DescriptorPool::decode(csi::DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name("pluginregistration.Registration").unwrap();
    let methods: Vec<String> = service
        .methods()
        .map(|method| {
            assert!(!method.is_client_streaming() && !method.is_server_streaming());
            format!("{}: {} -> {}", method.name(), method.input().name(), method.output().name())
        })
        .collect();
    assert_eq!(
        methods,
        [
            "GetInfo: InfoRequest -> PluginInfo",
            "NotifyRegistrationStatus: RegistrationStatus -> RegistrationStatusResponse"
        ]
    );
}
