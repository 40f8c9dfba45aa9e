//! What a kill -9 of the emulator leaves: the same model, and operations that end as they were drawn.

use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Program, command, id};

/// Longer than any test: what ends, ends because the test skips time.
const HOUR: &str = "fixed:3600000";

/// All that a restart must not change.
fn model(program: &Program) -> Value {
    let mut model = program.get("/_emulator");
    model["counts"]["requests"] = Value::Null;
    model
}

#[test]
fn an_operation_cut_by_a_kill_ends_as_it_was_drawn() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &["--latency", HOUR]);
    program.script(&json!({ "path": "disks/b", "action": { "kind": "fail_operation", "code": "InternalOperationError" } }));
    let good = program.create("a", 8).unwrap();
    let bad = program.create("b", 8).unwrap();
    let before = model(&program);
    program.kill();

    let program = Program::start(state.path(), &["--latency", "instant"]);
    assert_eq!(model(&program), before);
    assert_eq!(program.get(&good.poll_path())["status"], "InProgress");
    program.advance(3_600_000);
    assert_eq!(program.get(&good.poll_path())["status"], "Succeeded");
    let failed = program.get(&bad.poll_path());
    assert_eq!(
        (&failed["status"], &failed["error"]["code"]),
        (&json!("Failed"), &json!("InternalOperationError"))
    );
    assert_eq!(
        program.arm("GET", "disks/a", &Value::Null).unwrap().body["properties"]["diskState"],
        "Unattached"
    );
    let left = program.arm("GET", "disks/b", &Value::Null).unwrap().body;
    assert_eq!(left["properties"]["provisioningState"], "Failed");
}

#[test]
fn an_attach_cut_by_a_kill_is_not_real_before_its_time_and_real_after_it() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    program.create("a", 8).unwrap();
    program.get("/_emulator/counts");
    program.send("PUT", "/_emulator/latency", &json!({ "operation_ms": 3_600_000 })).unwrap();
    assert_eq!(program.attach("a", 3).status, 200);
    program.kill();

    let program = Program::start(state.path(), &[]);
    let vm = id("virtualMachines/node-a");
    assert_eq!(program.get("/_emulator")["attached"][&vm], json!({}));
    program.advance(3_599_000);
    program.kill();
    let program = Program::start(state.path(), &[]);
    program.advance(1_000);
    assert_eq!(program.get("/_emulator")["attached"][&vm]["3"], id("disks/a"));
    assert_eq!(program.arm("GET", "disks/a", &Value::Null).unwrap().body["managedBy"], vm);
}

#[test]
fn guids_drawn_after_a_restart_are_new() {
    let state = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for name in ["a", "b", "c"] {
        let program = Program::start(state.path(), &[]);
        program.create(name, 8).unwrap();
        program.kill();
    }
    let program = Program::start(state.path(), &[]);
    for disk in program.get("/_emulator")["disks"].as_array().unwrap() {
        seen.push(disk["properties"]["uniqueId"].as_str().unwrap().to_owned());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn sigterm_saves_and_ends_well() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    program.create("a", 8).unwrap();
    assert_eq!(program.terminate().code(), Some(0));
    let program = Program::start(state.path(), &[]);
    assert_eq!(program.get("/_emulator/counts")["disks"], 1);
}

#[test]
fn one_directory_has_one_emulator() {
    let state = tempfile::tempdir().unwrap();
    let _first = Program::start(state.path(), &[]);
    let second = command(&["--state", state.path().to_str().unwrap()]).output().unwrap();
    assert!(!second.status.success());
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let mut refused: Command = command(&["--listen", "0.0.0.0:0"]);
    let output = refused.output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("not a loopback address"));
}
