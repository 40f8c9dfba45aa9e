//! The contract that we compile says what `data/csi-1.13.tsv` says: nothing less, nothing more.
//!
//! The table holds the wire facts of the released CSI 1.13.0; the words of `csi/v1/*.proto` are ours, so
//! a slip of the pen there is what this test is for. The second test makes such slips on purpose.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

mod facts;

use std::collections::BTreeSet;
use std::path::Path;

use facts::{compare, counts, facts, say};
use protox::prost_reflect::DescriptorPool;

const TABLE: &str = include_str!("data/csi-1.13.tsv");

/// The facts of the table. Its first line names the package as a comment does.
fn table() -> BTreeSet<String> {
    let mut lines = TABLE.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let [_, package, _, syntax, _, go_package] = head[..] else { panic!("the head of the table: {head:?}") };
    let file = format!("file\t{package}\t{syntax}\t{go_package}\t");
    let facts: BTreeSet<String> = lines.map(str::to_owned).chain([file]).collect();
    assert_eq!(facts.len(), TABLE.lines().count(), "the table says something twice");
    facts
}

#[test]
fn the_compiled_contract_is_the_table() {
    let ours = facts(&DescriptorPool::decode(csi::DESCRIPTOR_SET).unwrap());
    let differences = compare(&ours, &table());
    assert!(differences.is_empty(), "{differences:#?}");
    say(&format!("contract: {}", counts(&ours)));
    assert_eq!(
        counts(&ours),
        "10 enum, 7 extension, 216 field, 1 file, 104 message, 5 reserved, 36 rpc, 5 service, 57 value"
    );
}

/// Compiles our sources after replacing `from` by `to` in `file`, and compares with the table.
#[track_caller]
fn check_slip(file: &str, from: &str, to: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let sources = folder.path().join("csi/v1");
    std::fs::create_dir_all(&sources).unwrap();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("csi/v1")).unwrap() {
        let path = entry.unwrap().path();
        let mut text = std::fs::read_to_string(&path).unwrap();
        if path.ends_with(file) {
            assert!(text.contains(from), "{file} has no {from:?}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(sources.join(path.file_name().unwrap()), text).unwrap();
    }
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    for name in ["types", "identity", "controller", "group_controller", "snapshot_metadata", "node"] {
        compiler.open_file(format!("csi/v1/{name}.proto")).unwrap();
    }
    assert_eq!(compare(&facts(&compiler.descriptor_pool()), &table()), expected, "{from} -> {to}");
}

#[test]
fn every_kind_of_slip_is_noticed() {
    check_slip("types.proto", "\n", "\n", &[]);
    check_slip(
        "node.proto",
        "map<string, string> secrets = 5 [(csi_secret) = true];",
        "map<string, string> secrets = 5;",
        &[
            "missing: field NodeStageVolumeRequest secrets 5 map<string,string>   csi_secret",
            "extra: field NodeStageVolumeRequest secrets 5 map<string,string>   ",
        ],
    );
    check_slip(
        "types.proto",
        "int64 required_bytes = 1;",
        "int64 required_bytes = 3;",
        &[
            "missing: field CapacityRange required_bytes 1 int64   ",
            "extra: field CapacityRange required_bytes 3 int64   ",
        ],
    );
    check_slip(
        "types.proto",
        "int64 required_bytes = 1;",
        "optional int64 required_bytes = 1;",
        &[
            "missing: field CapacityRange required_bytes 1 int64   ",
            "extra: field CapacityRange required_bytes 1 int64  (optional) ",
        ],
    );
    check_slip(
        "types.proto",
        "int64 required_bytes = 1;",
        "uint64 required_bytes = 1 [deprecated = true];",
        &[
            "missing: field CapacityRange required_bytes 1 int64   ",
            "extra: field CapacityRange required_bytes 1 uint64   deprecated=true",
        ],
    );
    check_slip(
        "types.proto",
        "repeated string mount_flags = 2;",
        "string mount_flags = 2;",
        &[
            "missing: field VolumeCapability.MountVolume mount_flags 2 string repeated  ",
            "extra: field VolumeCapability.MountVolume mount_flags 2 string   ",
        ],
    );
    check_slip("node.proto", "reserved 2;", "", &["missing: reserved NodeGetVolumeStatsResponse 2 2"]);
    check_slip(
        "types.proto",
        "oneof access_type {",
        "oneof access {",
        &[
            "missing: field VolumeCapability block 1 VolumeCapability.BlockVolume  access_type ",
            "missing: field VolumeCapability mount 2 VolumeCapability.MountVolume  access_type ",
            "extra: field VolumeCapability block 1 VolumeCapability.BlockVolume  access ",
            "extra: field VolumeCapability mount 2 VolumeCapability.MountVolume  access ",
        ],
    );
    check_slip(
        "types.proto",
        "DATA_LOSS = 3;",
        "DATA_LOSS = 4;",
        &[
            "missing: value VolumeHealthErrorType DATA_LOSS 3 ",
            "extra: value VolumeHealthErrorType DATA_LOSS 4 ",
        ],
    );
    check_slip(
        "snapshot_metadata.proto",
        "returns (stream GetMetadataDeltaResponse)",
        "returns (GetMetadataDeltaResponse)",
        &[
            "missing: rpc SnapshotMetadata GetMetadataDelta GetMetadataDeltaRequest GetMetadataDeltaResponse stream ",
            "extra: rpc SnapshotMetadata GetMetadataDelta GetMetadataDeltaRequest GetMetadataDeltaResponse  ",
        ],
    );
    check_slip(
        "snapshot_metadata.proto",
        "option (alpha_service) = true;",
        "",
        &["missing: service SnapshotMetadata alpha", "extra: service SnapshotMetadata "],
    );
    check_slip(
        "options.proto",
        "bool csi_secret = 1059;",
        "bool csi_secret = 1058;",
        &[
            "missing: extension csi_secret 1059 bool .google.protobuf.FieldOptions",
            "extra: extension csi_secret 1058 bool .google.protobuf.FieldOptions",
        ],
    );
    check_slip(
        "identity.proto",
        "message ProbeRequest",
        "message Spare {}\nmessage ProbeRequest",
        &["extra: message Spare "],
    );
}
