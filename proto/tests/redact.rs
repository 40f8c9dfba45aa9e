//! No message prints a secret: not one with `csi_secret` fields today, and none that gets one later.
//!
//! The messages to look at come from the descriptors, so a new mark without a row in [`debuggers`] fails
//! here. Each message is filled through its descriptor, decoded as its own type and printed in both forms.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use csi::v1;
use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};

const SECRET_KEY: &str = "the-key-of-a-secret";
const SECRET_VALUE: &str = "the-value-of-a-secret";
const PLAIN: &str = "a-plain-word";

/// Decodes a message of one type and prints it in both forms.
type Debugger = fn(&[u8]) -> String;

fn debugger<M: Message + Default + Debug>(bytes: &[u8]) -> String {
    let message = M::decode(bytes).unwrap();
    format!("{message:?}\n{message:#?}")
}

/// Every message that holds secrets, by its name in the contract.
fn debuggers() -> BTreeMap<&'static str, Debugger> {
    macro_rules! rows {
        ($($name:ident)*) => { [$((stringify!($name), debugger::<v1::$name> as Debugger)),*] };
    }
    let rows = rows! {
        ControllerExpandVolumeRequest
        ControllerGetVolumeHealthRequest
        ControllerListVolumeHealthRequest
        ControllerModifyVolumeRequest
        ControllerPublishVolumeRequest
        ControllerUnpublishVolumeRequest
        CreateSnapshotRequest
        CreateVolumeGroupSnapshotRequest
        CreateVolumeRequest
        DeleteSnapshotRequest
        DeleteVolumeGroupSnapshotRequest
        DeleteVolumeRequest
        GetMetadataAllocatedRequest
        GetMetadataDeltaRequest
        GetSnapshotRequest
        GetVolumeGroupSnapshotRequest
        ListSnapshotsRequest
        NodeExpandVolumeRequest
        NodeGetStorageHealthRequest
        NodePublishVolumeRequest
        NodeStageVolumeRequest
        ValidateVolumeCapabilitiesRequest
    };
    rows.into()
}

fn pool() -> DescriptorPool {
    DescriptorPool::decode(csi::DESCRIPTOR_SET).unwrap()
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field
        .options()
        .extensions()
        .any(|(mark, value)| mark.name() == "csi_secret" && value == &Value::Bool(true))
}

fn secret_messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    pool.all_messages().filter(|message| message.fields().any(|field| is_secret(&field))).collect()
}

/// A message of this kind with a secret in each secret field and a plain word in each other string.
fn filled(message: &MessageDescriptor, is_secret: impl Fn(&FieldDescriptor) -> bool) -> Vec<u8> {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let value = match (is_secret(&field), field.kind()) {
            (true, Kind::Message(_)) if field.is_map() => Value::Map(
                [(MapKey::String(SECRET_KEY.to_owned()), Value::String(SECRET_VALUE.to_owned()))].into(),
            ),
            (true, kind) => panic!("{}: how does one fill a secret {kind:?}?", field.full_name()),
            (false, Kind::String) if !field.is_list() => Value::String(PLAIN.to_owned()),
            _ => continue,
        };
        filled.set_field(&field, value);
    }
    filled.encode_to_vec()
}

fn leaks(text: &str) -> bool {
    text.contains(SECRET_KEY) || text.contains(SECRET_VALUE)
}

#[test]
fn no_message_prints_a_secret() {
    let (pool, debuggers) = (pool(), debuggers());
    let marked = secret_messages(&pool);
    let names: BTreeSet<&str> = marked.iter().map(MessageDescriptor::name).collect();
    assert_eq!(names, debuggers.keys().copied().collect(), "the marks of the contract against the rows here");
    for message in &marked {
        let text = debuggers[message.name()](&filled(message, is_secret));
        assert!(!leaks(&text), "{}: {text}", message.name());
        assert!(text.contains("1 redacted"), "{}: {text}", message.name());
        let has_plain =
            message.fields().any(|field| matches!(field.kind(), Kind::String) && !field.is_list());
        assert_eq!(text.contains(PLAIN), has_plain, "{}: {text}", message.name());
    }
}

#[test]
fn a_message_with_the_usual_debug_would_be_noticed() {
    let message = pool().get_message_by_name("csi.v1.GetPluginInfoResponse").unwrap();
    let text = debugger::<v1::GetPluginInfoResponse>(&filled(&message, |field| field.name() == "manifest"));
    assert!(leaks(&text), "{text}");
}
