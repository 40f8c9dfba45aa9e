//! The contract that we compile is, descriptor for descriptor, the one that CSI released as 1.13.0.
//!
//! The official file comes by its Go module name (Go checks its hash) and is compiled here by protox;
//! nothing of it is kept. Without Go or a network the test says that it was skipped: `contract.rs` holds
//! the same facts from our own table. A file whose hash is wrong is a failure, never a skip.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

mod facts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use facts::{PACKAGE, compare, counts, facts, options, say};
use protox::prost_reflect::DescriptorPool;

const MODULE: &str = "github.com/container-storage-interface/spec@v1.13.0";

/// Why there is no official file to compare with.
#[derive(Debug, PartialEq)]
enum Absent {
    /// Nothing to be done here: no Go, no network.
    Skip(String),
    /// Somebody answered with other bytes than CSI published.
    Forged(String),
}

/// Where `go mod download -json` put the module, from its answer.
fn folder(answer: &str) -> Result<PathBuf, Absent> {
    let answer: serde_json::Value = serde_json::from_str(answer)
        .map_err(|error| Absent::Skip(format!("go gave no JSON ({error}): {}", answer.trim())))?;
    match (answer["Error"].as_str(), answer["Dir"].as_str()) {
        (Some(error), _) if error.contains("checksum mismatch") || error.contains("SECURITY ERROR") => {
            Err(Absent::Forged(error.to_owned()))
        }
        (Some(error), _) => Err(Absent::Skip(error.trim().to_owned())),
        (None, Some(folder)) => Ok(folder.into()),
        (None, None) => Err(Absent::Skip("go names no folder".to_owned())),
    }
}

/// Fetches the module with the program `go` into Go's own cache.
fn download(go: &str) -> Result<PathBuf, Absent> {
    let anywhere = tempfile::tempdir().unwrap();
    let output = Command::new(go)
        .args(["mod", "download", "-json", MODULE])
        .current_dir(&anywhere)
        .env("GOWORK", "off")
        .output()
        .map_err(|error| Absent::Skip(format!("{go}: {error}")))?;
    match String::from_utf8_lossy(&output.stdout) {
        silent if silent.trim().is_empty() => {
            Err(Absent::Skip(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        }
        answer => folder(&answer),
    }
}

/// Compiles `csi.proto` of `folder`.
fn compiled(folder: &Path) -> DescriptorPool {
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.include_imports(true).open_file("csi.proto").unwrap();
    compiler.descriptor_pool()
}

/// The facts of the contract, and each field's whole descriptor and every option beside them.
fn details(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut lines = facts(pool);
    for message in pool.all_messages().filter(|message| message.package_name() == PACKAGE) {
        lines.insert(format!("message options\t{}\t{:?}", message.full_name(), options(&message.options())));
        lines.extend(message.oneofs().map(|oneof| format!("oneof\t{}", oneof.full_name())));
        for field in message.fields() {
            lines.insert(format!("json name\t{}\t{}", field.full_name(), field.json_name()));
            let (wire, set) = (field.field_descriptor_proto(), options(&field.options()));
            lines.insert(format!("field descriptor\t{}\t{wire:?}\t{set:?}", field.full_name()));
        }
    }
    for service in pool.services().filter(|service| service.package_name() == PACKAGE) {
        lines.insert(format!("service options\t{}\t{:?}", service.full_name(), options(&service.options())));
        for method in service.methods() {
            let (name, options) = (method.full_name(), options(&method.options()));
            lines.insert(format!("rpc options\t{name}\t{options:?}"));
        }
    }
    lines
}

#[test]
fn the_compiled_contract_is_the_released_one() {
    let folder = match download("go") {
        Ok(folder) => folder,
        Err(Absent::Skip(why)) => {
            return say(&format!("skipped: the released CSI file is out of reach: {why}"));
        }
        Err(Absent::Forged(why)) => panic!("{why}"),
    };
    let ours = details(&DescriptorPool::decode(csi::DESCRIPTOR_SET).unwrap());
    let differences = compare(&ours, &details(&compiled(&folder)));
    assert!(differences.is_empty(), "{differences:#?}");
    say(&format!("released file: {}", counts(&ours)));
}

#[test]
fn a_descriptor_that_differs_only_in_a_json_name_is_noticed() {
    let ours = DescriptorPool::decode(csi::DESCRIPTOR_SET).unwrap();
    let mut files: Vec<_> = ours.file_descriptor_protos().cloned().collect();
    let field = files
        .iter_mut()
        .flat_map(|file| &mut file.message_type)
        .find(|message| message.name() == "CapacityRange")
        .map(|message| &mut message.field[0])
        .unwrap();
    field.json_name = Some("floor".to_owned());
    let mut changed = DescriptorPool::new();
    changed.add_file_descriptor_protos(files).unwrap();
    let differences = compare(&details(&ours), &details(&changed));
    let expected = "missing: json name csi.v1.CapacityRange.required_bytes floor".to_owned();
    assert!(differences.contains(&expected), "{differences:#?}");
}

#[test]
fn only_a_wrong_hash_makes_an_absent_file_a_failure() {
    #[track_caller]
    fn check(answer: &str, expected: &Result<PathBuf, Absent>) {
        assert_eq!(&folder(answer), expected, "{answer}");
    }
    check(r#"{"Dir":"/cache/spec@v1.13.0"}"#, &Ok("/cache/spec@v1.13.0".into()));
    check(r#"{"Error":"dial tcp: no such host"}"#, &Err(Absent::Skip("dial tcp: no such host".into())));
    check("{}", &Err(Absent::Skip("go names no folder".into())));
    let forged = "verifying module: checksum mismatch";
    check(&format!(r#"{{"Error":"{forged}","Dir":"/cache"}}"#), &Err(Absent::Forged(forged.into())));
    assert!(matches!(folder("no JSON"), Err(Absent::Skip(_))));
    assert!(matches!(download("/nowhere/go"), Err(Absent::Skip(_))));
}
