//! The kubelet's configuration and flags: as a node of AKS has them, but for what this machine cannot give.

use serde_json::{Value, json};

use crate::containerd::SOCKET;
use crate::node_root::TOOLS;
use crate::shape::Node;

/// Where its configuration and credentials are, in the node.
pub(crate) const FOLDER: &str = "/etc/kubernetes";

/// `kubelet.json`
pub(crate) fn configuration(node: &Node) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address(),
        "healthzBindAddress": "127.0.0.1",
        "providerID": node.provider_id(),
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{FOLDER}/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{FOLDER}/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{FOLDER}/kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": ["pods"],
        // Hierarchies of v1 are still taken, swap is the machine's affair, and nobody's oom score may be lowered.
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // No firewall and no names in here.
        "makeIPTablesUtilChains": false,
        "resolvConf": "",
        // The disk is the whole machine's: what is free on it is not the node's doing, and images can't be pulled
        // again.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "imageMinimumGCAge": "24h",
        // A volume that grew is looked at with its pod's next turn: not a minute later.
        "syncFrequency": "10s",
        // So that a lost node is noticed within half a minute.
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 20,
        // Tests kill containers over and over: each is back within seconds, not after the minutes of one that
        // crashes by itself.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "maxPods": 110,
    })
}

/// The program with its flags.
pub(crate) fn command(node: &Node) -> Vec<String> {
    vec![
        format!("{TOOLS}/bin/kubelet"),
        format!("--config={FOLDER}/kubelet.json"),
        format!("--kubeconfig={FOLDER}/kubelet.conf"),
        format!("--hostname-override={}", node.name),
        format!("--node-ip={}", node.address()),
        format!("--node-labels={}", node.labels()),
        "--v=2".to_owned(),
    ]
}
