//! The house rules that a machine can keep, held against every file of the repository.
//!
//! Each rule is a pure function from a file to complaints; each has a test here or beside it that shows
//! what it finds. A rule that is in the way is changed here, with a reason, not walked around.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

mod manifests;
mod names;
mod source;
mod text;

use std::path::{Path, PathBuf};

use source::{Source, walk};

type Rule = fn(&Source) -> Vec<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[track_caller]
fn check_repository(rules: &[Rule]) {
    let sources = walk(&root());
    assert!(sources.iter().filter(|source| source.is_rust).count() > 10, "the walk lost its way");
    let complaints: Vec<_> =
        sources.iter().flat_map(|source| rules.iter().flat_map(|rule| rule(source))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[track_caller]
fn check(rule: Rule, path: &str, text: &str, expected: &[&str]) {
    assert_eq!(rule(&Source::new(path, text)), expected, "{text}");
}

#[test]
fn files_are_short_and_open_with_why() {
    check_repository(&[text::length, text::head]);
}

#[test]
fn nothing_is_left_half_done_or_silenced() {
    check_repository(&[text::stubs, text::ignored_tests, text::put_aside, text::ownerless]);
}

#[test]
fn unsafe_code_is_only_where_it_is_listed() {
    check_repository(&[text::unsafe_code]);
}

#[test]
fn names_say_what_things_are() {
    check_repository(&[names::empty_names, names::glossary]);
}

#[test]
fn the_operating_system_has_one_home() {
    check_repository(&[names::system_calls]);
}

#[test]
fn nothing_points_outside_the_repository() {
    check_repository(&[text::elsewhere]);
}

#[test]
fn manifests_keep_the_arrows_and_the_lints() {
    let sources = walk(&root());
    let manifest = |folder: &str| {
        let path = if folder == "." { "Cargo.toml".to_owned() } else { format!("{folder}/Cargo.toml") };
        sources.iter().find(|source| source.path == path).unwrap_or_else(|| panic!("no {path}"))
    };
    let members = manifests::members(&manifest(".").text);
    assert!(members.len() >= 7, "{members:?}");
    let rules: [Rule; 2] = [manifests::arrows, manifests::lints];
    let complaints: Vec<_> =
        members.iter().flat_map(|member| rules.iter().flat_map(|rule| rule(manifest(member)))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    check_repository(&[manifests::one_clippy]);
}

#[test]
fn the_lockfile_and_cargo_deny_ban_the_same() {
    let read = |name| std::fs::read_to_string(root().join(name)).unwrap();
    let lock = read("Cargo.lock");
    assert!(lock.contains("name = \"tonic\""), "not our lockfile");
    assert_eq!(manifests::lockfile(&lock), [""; 0]);
    assert_eq!(manifests::unnamed_bans(&read("deny.toml")), [""; 0]);
}

#[test]
fn long_or_headless_files_are_noticed() {
    check(text::length, "a.rs", &"//\n".repeat(500), &[]);
    check(text::length, "a.rs", &"//\n".repeat(501), &["a.rs: 501 lines, at most 500: split it by purpose"]);
    check(text::length, "a.md", &"\n".repeat(501), &[]);
    check(text::head, "a.rs", "//! Why.", &[]);
    check(
        text::head,
        "a.rs",
        "// What.",
        &["a.rs: opens without `//!`: why does it exist, what does it own?"],
    );
    check(text::head, "a.rs", "", &["a.rs: opens without `//!`: why does it exist, what does it own?"]);
}

#[test]
fn stubs_are_noticed() {
    check(text::stubs, "a.rs", "fn f() {\n    todo!(\"later\")\n}", &["a.rs:2: todo!(…) is not done"]);
    check(text::stubs, "a.rs", "unimplemented!()", &["a.rs:1: unimplemented!(…) is not done"]);
    check(text::stubs, "a.rs", "// todo!() and \"todo!()\"\nlet a = \"todo!()\";", &[]);
    check(text::ignored_tests, "a.rs", "#[ignore]", &["a.rs:1: a test that never runs, without a reason"]);
    check(text::ignored_tests, "a.rs", "#[ignore = \"needs root\"]", &[]);
    let owned = format!("// {}(ann): less\n", concat!("TO", "DO"));
    check(text::ownerless, "a.md", &owned, &[]);
    let orphan = format!("{owned}// {}: less", concat!("FIX", "ME"));
    check(text::ownerless, "a.md", &orphan, &[concat!("a.md:2: FIX", "ME without an owner")]);
}

#[test]
fn lints_put_aside_without_reason_are_noticed() {
    check(text::put_aside, "a.rs", "#[expect(dead_code, reason = \"soon\")]", &[]);
    check(text::put_aside, "a.rs", "a.expect(\"a\"); allow(b)", &[]);
    let unreasoned = ["a.rs:1: a lint put aside without a reason"];
    let unreasoned_there = ["node/tests/support/mod.rs:1: a lint put aside without a reason"];
    check(text::put_aside, "a.rs", "#![expect(dead_code)]", &unreasoned);
    let allow = "#[allow(\n    dead_code, reason = \"soon\"\n)]";
    check(text::put_aside, "a.rs", allow, &["a.rs:1: `allow` stays when its cause is gone; `expect`"]);
    check(text::put_aside, "proto/src/lib.rs", allow, &[]);
    check(text::put_aside, "node/tests/support/mod.rs", allow, &[]);
    check(text::put_aside, "node/tests/support/mod.rs", "#[allow(dead_code)]", &unreasoned_there);
    let unlisted = ["a.rs:1: unsafe code in a file that is not listed"];
    check(text::unsafe_code, "a.rs", "unsafe { f() }", &unlisted);
    check(text::unsafe_code, "a.rs", "#![expect(unsafe_code, reason = \"unsafe\")] // unsafe", &[]);
}

#[test]
fn empty_names_are_noticed() {
    let complaint = |name| format!("a.rs:1: `{name}` does not say what it is");
    for code in ["struct DiskManager;", "fn mount_helper() {}", "mod utils;", "trait RequestHandler {}"] {
        let name = code.split([' ', ';', '(']).nth(1).unwrap();
        check(names::empty_names, "a.rs", code, &[&complaint(name)]);
    }
    check(names::empty_names, "a.rs", "pub struct Data(u8);", &[&complaint("Data")]);
    check(names::empty_names, "a.rs", "enum VolumeInfo {}", &[&complaint("VolumeInfo")]);
    check(names::empty_names, "a.rs", "type Data = Bytes; struct CreationData; fn node_get_info() {}", &[]);
    check(
        names::empty_names,
        "a.rs",
        "use axum::handler::Handler; struct Database; fn data() {} fn a_handler_ends() {}",
        &[],
    );
    check(names::empty_names, "node/src/helpers.rs", "", &["node/src/helpers.rs: `helpers` says nothing"]);
}

#[test]
fn words_with_a_better_one_are_noticed() {
    check(names::glossary, "a.rs", "let diskURI = 1;", &["a.rs:1: `diskURI`: the id of a disk is a DiskId"]);
    check(names::glossary, "a.rs", "\nf(pv_name)", &["a.rs:2: `pv_name`: volume"]);
    check(names::glossary, "a.rs", "LroState", &["a.rs:1: `LroState`: operation"]);
    check(names::glossary, "a.rs", "const FOR_PV: volume_id pvc \"diskURI\" evolve /* the lro */", &[]);
}

#[test]
fn system_calls_outside_the_host_are_noticed() {
    let outside = |path: &str| format!("node/src/stage.rs:1: `{path}` outside the host");
    for (code, path) in [
        ("use std::fs;", "std::fs"),
        ("use std::{collections::{self, BTreeMap}, fs::File};", "std::fs::File"),
        ("use ::nix::mount;", "::nix::mount"),
        ("tokio::process::Command::new(a)", "tokio::process::Command::new"),
        ("let a: rustix::io::Errno;", "rustix::io::Errno"),
    ] {
        check(names::system_calls, "node/src/stage.rs", code, &[&outside(path)]);
        check(names::system_calls, "node/src/host/linux.rs", code, &[]);
        check(names::system_calls, "node/tests/root.rs", code, &[]);
    }
    let asks = "controller/src/create.rs:1: `.exists()` asks the operating system outside the host";
    check(names::system_calls, "controller/src/create.rs", "if path.exists() {}", &[asks]);
    let tests_only = "use std::io;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}";
    check(names::system_calls, "node/src/stage.rs", tests_only, &[]);
    check(
        names::system_calls,
        "node/src/stage.rs",
        "use std::fmt; crate::nix::f(); a.metadata() == nix::libc::EPERM",
        &[],
    );
}

#[test]
fn words_of_another_place_are_noticed() {
    check(text::elsewhere, "a.md", "see docs/wor\x6b/plan and https://a.b/wor\x6b", &[]);
    check(text::elsewhere, "a.md", concat!("cp a /wo", "rk/b"), &["a.md:1: a path of one machine"]);
    let beside = concat!("../", "shared");
    let complaint = format!("a.md:2: `{beside}` means nothing to a reader");
    check(text::elsewhere, "a.md", &format!("\nsee {beside}/data"), &[&complaint]);
    check(text::elsewhere, ".ci/run", &format!("DIR={beside}/data"), &[]);
}
