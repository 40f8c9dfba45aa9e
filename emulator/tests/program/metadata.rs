//! The metadata listener: VMs are told by their address, and get nothing but metadata and tokens.

use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::process::{Program, Reply, command, exchange};

const INSTANCE: &str = "/metadata/instance?api-version=2021-10-01";
const TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=r";
const RIGHT: &str = "metadata: true\r\n";
const TWO_VMS: &[&str] = &[
    "--metadata",
    "127.0.0.1:0",
    "--vm",
    "node-b:Standard_D4s_v5",
    "--address",
    "node-a=127.0.0.0/8",
    "--address",
    "node-a=127.1.0.11",
    "--address",
    "node-b=127.2.0.0/16",
];

/// Connects from a loopback address of choice.
fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

fn ask(program: &Program, from: &str, target: &str, headers: &str) -> Reply {
    let mut stream = connect(from, program.further[0].parse().unwrap());
    exchange(&mut stream, "169.254.169.254", &format!("GET {target}"), headers, "").unwrap()
}

fn name(program: &Program, from: &str) -> Value {
    ask(program, from, INSTANCE, RIGHT).body["compute"]["name"].clone()
}

#[test]
fn the_narrowest_subnet_tells_the_vm() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), TWO_VMS);
    for (from, vm) in
        [("127.1.0.11", "node-a"), ("127.3.0.1", "node-a"), ("127.2.0.1", "node-b"), ("127.2.9.9", "node-b")]
    {
        assert_eq!(name(&program, from), vm, "{from}");
    }
    let token = ask(&program, "127.2.0.1", TOKEN, RIGHT);
    assert_eq!((token.status, token.body["access_token"].is_string()), (200, true));
    assert_eq!(ask(&program, "127.2.0.1", "/metadata/versions", RIGHT).status, 200);
}

#[test]
fn what_is_not_asked_by_the_machine_itself_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), TWO_VMS);
    let forwarded = "metadata: true\r\nx-forwarded-for: 127.2.0.1\r\n";
    for (target, headers, status) in [
        (INSTANCE, "", 400),
        (INSTANCE, "metadata: false\r\n", 400),
        (INSTANCE, forwarded, 400),
        (TOKEN, "", 400),
        (TOKEN, forwarded, 400),
        ("/metadata/versions", "", 400),
        ("/metadata/endpoints", RIGHT, 404),
        ("/vms/node-b/metadata/instance?api-version=2021-10-01", RIGHT, 404),
        ("/subscriptions/s?api-version=2025-04-01", RIGHT, 404),
        ("/_emulator", RIGHT, 404),
    ] {
        assert_eq!(ask(&program, "127.1.0.11", target, headers).status, status, "{target} {headers}");
    }
}

#[test]
fn an_unknown_address_is_told_how_to_become_known() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &["--metadata", "127.0.0.1:0"]);
    for target in [INSTANCE, TOKEN] {
        let refused = ask(&program, "127.0.0.9", target, RIGHT);
        let text = refused.body["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(refused.status, 404);
        assert!(text.contains("127.0.0.9") && text.contains("--address"), "{text}");
    }
    let known = program.send("PUT", "/_emulator/vms/node-a/addresses", &json!(["127.0.0.9"]));
    assert_eq!(known.unwrap().status, 204);
    assert_eq!(name(&program, "127.0.0.9"), "node-a");
}

#[test]
fn addresses_are_kept_until_a_flag_or_a_call_says_otherwise_and_go_with_the_vm() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[]);
    let vm =
        json!({ "name": "node-b", "size": "Standard_D2s_v5", "addresses": ["127.0.0.2", "127.2.0.0/16"] });
    let id = program.send("POST", "/_emulator/vms", &vm).unwrap().body["id"].as_str().unwrap().to_owned();
    program.kill();

    let program =
        Program::start(state.path(), &["--metadata", "127.0.0.1:0", "--address", "node-a=127.0.0.3"]);
    let shown = program.get("/_emulator")["addresses"].clone();
    assert_eq!(shown[&id], json!(["127.0.0.2/32", "127.2.0.0/16"]));
    assert_eq!(name(&program, "127.0.0.2"), "node-b");
    assert_eq!(name(&program, "127.0.0.3"), "node-a");
    let taken = json!({ "name": "node-c", "size": "Standard_D2s_v5", "addresses": ["127.2.7.7/16"] });
    assert_eq!(program.send("POST", "/_emulator/vms", &taken).unwrap().status, 400);
    assert_eq!(program.get("/_emulator/counts")["vms"], 2, "refused before it is made");
    program.send("DELETE", "/_emulator/vms/node-b", &Value::Null).unwrap();
    assert_eq!(ask(&program, "127.0.0.2", INSTANCE, RIGHT).status, 404);
}

#[test]
fn an_address_that_makes_no_sense_ends_the_start() {
    for (flag, part) in [("a", "VM=SUBNET"), ("a=10.0.0.0/99", "10.0.0.0/99"), ("nobody=10.0.0.4", "nobody")]
    {
        let output = command(&["--address", flag]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(part), "{text}");
    }
}
