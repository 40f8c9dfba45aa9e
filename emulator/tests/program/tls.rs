//! The https listener: whom its clients trust, what it serves, and that its connections can be cut as well.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::process::{Program, Reply, command, exchange, id};

const TLS: &[&str] = &["--tls", "127.0.0.1:0", "--tls-name", "management.test"];

/// A client that trusts what is in `ca` and calls the server `name`.
struct Client {
    config: Arc<ClientConfig>,
    address: String,
    name: &'static str,
}

impl Client {
    fn new(program: &Program, ca: &Path, name: &'static str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config: Arc::new(config), address: program.further[0].clone(), name }
    }

    fn send(&self, method: &str, target: &str, body: &Value) -> Option<Reply> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, TcpStream::connect(&self.address).unwrap());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        exchange(&mut stream, &self.address, &format!("{method} {target}"), "", &body)
    }

    fn create(&self, name: &str) -> Option<Reply> {
        let body = json!({ "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
        self.send("PUT", &format!("{}?api-version=2025-04-01", id(&format!("disks/{name}"))), &body)
    }
}

#[test]
fn links_lead_back_to_the_scheme_and_host_that_the_client_used() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), &[TLS, &["--page", "1"]].concat());
    let client = Client::new(&program, &state.path().join("ca.crt"), "127.0.0.1");
    let base = format!("https://{}/subscriptions/", program.further[0]);
    for name in ["a", "b"] {
        let accepted = client.create(name).unwrap();
        assert_eq!(accepted.status, 202, "{}", accepted.body);
        for header in ["location: ", "azure-asyncoperation: "] {
            let link = accepted.head.lines().find_map(|line| line.strip_prefix(header)).unwrap();
            assert!(link.starts_with(&base), "{link}");
        }
        assert_eq!(client.send("GET", &accepted.poll_path(), &Value::Null).unwrap().status, 200);
    }
    let list = format!("{}?api-version=2025-04-01", id("disks"));
    let next = client.send("GET", &list, &Value::Null).unwrap().body["nextLink"].clone();
    assert!(next.as_str().unwrap().starts_with(&base), "{next}");
    let clouds = client.send("GET", "/metadata/endpoints", &Value::Null).unwrap().body;
    assert_eq!(clouds[0]["resourceManager"], format!("https://{}", program.further[0]));
    let plain = program.arm("GET", "disks", &Value::Null).unwrap().body["nextLink"].clone();
    assert!(plain.as_str().unwrap().starts_with("http://127.0.0.1:"), "{plain}");
}

#[test]
fn control_and_metadata_are_not_behind_https() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), TLS);
    let client = Client::new(&program, &state.path().join("ca.crt"), "127.0.0.1");
    for target in ["/_emulator", "/_emulator/counts", "/vms/node-a/metadata/instance?api-version=2021-10-01"]
    {
        assert_eq!(client.send("GET", target, &Value::Null).unwrap().status, 404, "{target}");
    }
    let breaking = json!({ "action": { "kind": "lose_answer" } });
    assert_eq!(client.send("POST", "/_emulator/faults", &breaking).unwrap().status, 404);
    assert_eq!(program.get("/_emulator/faults"), json!([]));
}

#[test]
fn a_restart_keeps_the_authority_and_its_key_is_for_its_owner_alone() {
    let state = tempfile::tempdir().unwrap();
    let trusted = tempfile::NamedTempFile::new().unwrap();
    let program =
        Program::start(state.path(), &[TLS, &["--ca-file", trusted.path().to_str().unwrap()]].concat());
    let first = std::fs::read(state.path().join("ca.crt")).unwrap();
    assert_eq!(std::fs::read(trusted.path()).unwrap(), first);
    assert_eq!(std::fs::metadata(state.path().join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
    program.kill();
    let program = Program::start(state.path(), TLS);
    for name in ["127.0.0.1", "management.test"] {
        assert_eq!(Client::new(&program, trusted.path(), name).create(&name[..1]).unwrap().status, 202);
    }
}

#[test]
fn a_lost_answer_over_https_is_a_closed_connection_and_the_request_was_carried_out() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), TLS);
    let client = Client::new(&program, &state.path().join("ca.crt"), "127.0.0.1");
    program.script(&json!({ "method": "PUT", "action": { "kind": "lose_answer" } }));
    assert!(client.create("a").is_none());
    assert_eq!(program.get("/_emulator/counts")["disks"], 1);
    assert_eq!(client.create("b").unwrap().status, 202);
}

#[test]
fn a_client_that_says_nothing_keeps_no_other_one_waiting() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), TLS);
    let silent = TcpStream::connect(&program.further[0]).unwrap();
    let client = Client::new(&program, &state.path().join("ca.crt"), "127.0.0.1");
    assert_eq!(client.create("a").unwrap().status, 202);
    drop(silent);
}

#[test]
fn https_that_nobody_could_trust_is_refused() {
    let output = command(&["--tls", "127.0.0.1:0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("--ca-file"));
}
