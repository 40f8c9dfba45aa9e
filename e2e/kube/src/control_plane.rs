//! The components of the outer namespaces and their flags: what a managed control plane would run, and the Azure
//! below it.
//!
//! Where a flag differs from production it is for speed of a test (a node counts as lost after 30 s) or because
//! nothing here needs to survive the machine (etcd does not wait for its disk).

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::Failure;
use crate::pki::{conf, pki};
use crate::place::Place;
use crate::shape::{
    API_SERVICE, CONTROL_PLANE, EMULATOR, EMULATOR_TLS, GROUP, LOCATION, METADATA, Node, SUBSCRIPTION, Shape,
};
use crate::supervise::Component;

/// Everything that process 1 of the outer namespaces keeps running.
pub fn components(place: &Place, shape: &Shape) -> Vec<Component> {
    let mut all = vec![
        etcd(place),
        api_server(place),
        emulator(place, shape),
        Component::step(API_READY, own(place, &["await-api"])),
        after_api(controllers(place)),
        after_api(scheduler(place)),
        after_api(Component::step("bring-up", own(place, &["bring-up"]))),
    ];
    let boot = |node: &Node| Component::service(&node.name, own(place, &["boot-node", &node.name]));
    all.extend(shape.nodes.iter().map(boot));
    all
}

/// The step that waits for the API server: who comes before it only complains.
const API_READY: &str = "await-api";

fn after_api(component: Component) -> Component {
    Component { after: Some(API_READY.to_owned()), ..component }
}

/// Requests that are audited: all of them, so that what a role was granted and never used can be told.
pub fn write_audit_policy(place: &Place) -> Result<(), Failure> {
    fs::create_dir_all(place.audit())?;
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    });
    Ok(fs::write(audit_policy(place), policy.to_string())?)
}

fn audit_policy(place: &Place) -> std::path::PathBuf {
    place.audit().join("policy.json")
}

fn own(place: &Place, arguments: &[&str]) -> Vec<String> {
    command(&place.built.join("k8s"), arguments.iter().map(|argument| (*argument).to_owned()))
}

fn command(program: &Path, arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(program.display().to_string()).chain(arguments).collect()
}

fn flags(place: &Place, name: &str, flags: &[(&str, String)]) -> Component {
    let flags = flags.iter().map(|(flag, value)| format!("--{flag}={value}"));
    Component::service(name, command(&place.tool(name), flags))
}

fn etcd(place: &Place) -> Component {
    let (clients, peers) = ("http://127.0.0.1:2379".to_owned(), "http://127.0.0.1:2380".to_owned());
    flags(
        place,
        "etcd",
        &[
            ("data-dir", place.state.join("etcd").display().to_string()),
            ("listen-client-urls", clients.clone()),
            ("advertise-client-urls", clients),
            ("listen-peer-urls", peers.clone()),
            ("initial-advertise-peer-urls", peers.clone()),
            ("initial-cluster", format!("default={peers}")),
            ("unsafe-no-fsync", "true".to_owned()),
            ("log-level", "warn".to_owned()),
        ],
    )
}

fn api_server(place: &Place) -> Component {
    let file = |name: &str| pki(place, name).display().to_string();
    flags(
        place,
        "kube-apiserver",
        &[
            ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
            ("bind-address", "0.0.0.0".to_owned()),
            ("advertise-address", CONTROL_PLANE.to_owned()),
            ("secure-port", "443".to_owned()),
            ("tls-cert-file", file("apiserver.crt")),
            ("tls-private-key-file", file("apiserver.key")),
            ("client-ca-file", file("ca.crt")),
            ("requestheader-client-ca-file", file("front-proxy-ca.crt")),
            ("kubelet-client-certificate", file("apiserver-kubelet.crt")),
            ("kubelet-client-key", file("apiserver-kubelet.key")),
            ("kubelet-certificate-authority", file("ca.crt")),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("service-cluster-ip-range", service_range()),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-account-key-file", file("accounts.pub")),
            ("service-account-signing-key-file", file("accounts.key")),
            ("audit-policy-file", audit_policy(place).display().to_string()),
            ("audit-log-path", place.audit().join("audit.log").display().to_string()),
            // A batch that overflows is dropped, and a refusal with it.
            ("audit-log-mode", "blocking".to_owned()),
            ("profiling", "false".to_owned()),
        ],
    )
}

/// The API server's own service takes the first address of it.
fn service_range() -> String {
    API_SERVICE.rsplit_once('.').map(|(network, _)| format!("{network}.0/24")).unwrap_or_default()
}

fn controllers(place: &Place) -> Component {
    let file = |name: &str| pki(place, name).display().to_string();
    let login = conf(place, "kube-controller-manager").display().to_string();
    flags(
        place,
        "kube-controller-manager",
        &[
            ("kubeconfig", login.clone()),
            ("authentication-kubeconfig", login.clone()),
            ("authorization-kubeconfig", login),
            ("root-ca-file", file("ca.crt")),
            ("service-account-private-key-file", file("accounts.key")),
            ("use-service-account-credentials", "true".to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("leader-elect", "false".to_owned()),
            ("attach-detach-reconcile-sync-period", "10s".to_owned()),
            ("node-monitor-grace-period", "30s".to_owned()),
        ],
    )
}

fn scheduler(place: &Place) -> Component {
    let login = conf(place, "kube-scheduler").display().to_string();
    flags(
        place,
        "kube-scheduler",
        &[
            ("kubeconfig", login.clone()),
            ("authentication-kubeconfig", login.clone()),
            ("authorization-kubeconfig", login),
            ("bind-address", "127.0.0.1".to_owned()),
            ("leader-elect", "false".to_owned()),
        ],
    )
}

fn emulator(place: &Place, shape: &Shape) -> Component {
    let state = place.azure().display().to_string();
    let mut arguments: Vec<(&str, String)> = vec![
        ("listen", EMULATOR.to_owned()),
        ("tls", EMULATOR_TLS.to_owned()),
        ("metadata", format!("{METADATA}:80")),
        ("state", state),
        ("devices", "loop".to_owned()),
        ("subscription", SUBSCRIPTION.to_owned()),
        ("location", LOCATION.to_owned()),
        ("group", GROUP.to_owned()),
    ];
    for node in &shape.nodes {
        arguments.push(("vm", node.vm()));
        arguments.push(("address", format!("{}={}/32", node.name, node.address())));
        arguments.push(("address", format!("{}={}", node.name, node.pods())));
    }
    let arguments = arguments.into_iter().map(|(flag, value)| format!("--{flag}={value}"));
    let program = place.built.join("azure-emulator");
    let arguments = arguments.chain(std::iter::once("--strict".to_owned()));
    Component::service("azure-emulator", command(&program, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_a_vm_at_its_addresses() {
        let path = |name: &str| Path::new("/c").join(name);
        let place = Place { checkout: path(""), tools: path("t"), state: path("s"), built: path("b") };
        let all = components(&place, &Shape::new(2, false));
        let emulator = all.iter().find(|component| component.name == "azure-emulator").unwrap();
        for flag in ["--vm=n2:Standard_D16s_v5", "--address=n2=10.90.0.12/32", "--address=n2=10.91.2.0/24"] {
            assert!(emulator.command.iter().any(|argument| argument == flag), "{flag}: {emulator:?}");
        }
        assert_eq!(all.last().unwrap().command, ["/c/b/k8s", "boot-node", "n2"]);
        assert_eq!(service_range(), "10.96.0.0/24");
    }
}
