//! Faults that need a socket and a process: lost answers, callers that die.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::process::Program;

/// A process that lives until it is killed, or its test ends.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("3600").spawn().unwrap())
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has_disk(program: &Program, name: &str) -> bool {
    program.arm("GET", &format!("disks/{name}"), &Value::Null).unwrap().status == 200
}

#[test]
fn a_lost_answer_is_a_closed_connection_and_the_request_was_carried_out() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    program.script(&json!({ "method": "PUT", "action": { "kind": "lose_answer" } }));
    program.script(&json!({ "method": "PUT", "path": "/DISKS/b", "action": { "kind": "lose_request" } }));
    assert!(program.create("a", 8).is_none());
    assert!(program.create("b", 8).is_none());
    assert_eq!(program.create("c", 8).unwrap().status, 202);
    assert_eq!((has_disk(&program, "a"), has_disk(&program, "b")), (true, false));
}

#[test]
fn a_caller_dies_at_the_nth_request_before_it_or_after_its_commit() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    for (moment, name, is_done) in [("before", "b", false), ("after", "d", true)] {
        let mut caller = Victim::new();
        let kill = json!({ "kind": "kill", "pid": caller.0.id(), "moment": moment });
        program.script(&json!({ "method": "PUT", "nth": 2, "action": kill }));
        assert_eq!(program.create(&format!("{name}0"), 8).unwrap().status, 202);
        assert!(program.create(name, 8).is_none());
        assert_eq!(caller.0.wait().unwrap().signal(), Some(9));
        assert_eq!(has_disk(&program, name), is_done, "{moment}");
    }
}

#[test]
fn a_pid_that_means_a_group_or_the_machine_is_not_killed() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    for pid in [0, 1, u32::MAX] {
        program.script(&json!({ "action": { "kind": "kill", "pid": pid, "moment": "after" } }));
        assert!(program.create("a", 8).is_none());
    }
    assert!(has_disk(&program, "a"));
}

#[test]
fn a_script_with_a_mistake_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    for wrong in [
        json!({}),
        json!({ "action": { "kind": "no" } }),
        json!({ "nht": 1, "action": { "kind": "lose_answer" } }),
    ] {
        assert_eq!(program.send("POST", "/_emulator/faults", &wrong).unwrap().status, 400, "{wrong}");
    }
}
