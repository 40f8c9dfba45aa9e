//! The Helm chart, rendered by the real helm for those who install it: what each set of values asks for is
//! there, what no set may bring is not, and what cannot work is refused with words.
//!
//! Whether the API server takes every field is seen where the chart is applied to a cluster.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

mod rendered;
mod rules;

use serde_json::{Value, json};

use rendered::{Helm, Rendered};

/// What must be so about one object: its kind and name, a JSON pointer into it, and what is there.
type Fact = (&'static str, &'static str, &'static str, Expected);

enum Expected {
    /// Exactly this.
    Is(Value),
    /// A list with this in it.
    Has(Value),
    /// Nothing.
    Missing,
}

use Expected::{Has, Is, Missing};

const CONTROLLER: (&str, &str) = ("Deployment", "csi-azuredisk-controller");
const NODE: (&str, &str) = ("DaemonSet", "csi-azuredisk-node");
const DRIVER_ARGS: &str = "/spec/template/spec/containers/0/args";
const DRIVER_ENV: &str = "/spec/template/spec/containers/0/env";

/// Sets of values that somebody installs with, in every test that holds for all.
fn installations() -> Vec<(&'static str, Value)> {
    vec![
        ("as it is", json!({})),
        ("all of it", everything()),
        ("Palette", palette()),
        ("Deckhouse", deckhouse()),
        ("the node's own azure.json", json!({"controller": {"cloudConfigSecretName": ""}})),
        ("another kubelet", json!({"linux": {"kubelet": "/var/lib/k0s/kubelet"}})),
        ("a single machine", json!({"controller": {"replicas": 1}})),
        ("no nodes", json!({"linux": {"enabled": false}})),
        ("accounts of one's own", json!({"serviceAccount": {"create": false}})),
    ]
}

fn everything() -> Value {
    json!({
        "snapshot": {"enabled": true, "VolumeSnapshotClass": {"enabled": true, "parameters": {"incremental": false}}},
        "driver": {"httpsProxy": "http://user:word@proxy:3128", "noProxy": "10.0.0.0/8,.svc", "userAgentSuffix": "x"},
        "workloadIdentity": {"clientID": "an-id", "tenantID": "a-tenant"},
        "imagePullSecrets": [{"name": "pull"}],
        "feature": {"enableSELinuxMount": true},
        "controller": {
            "extraArgs": ["--v=5"],
            "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}],
            "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
            "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        },
        "node": {"deviceRoot": "/var/lib/vm", "reservedDataDiskSlotNum": 2},
        "storageClasses": [
            {"name": "managed-csi", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            {"name": "ultra", "parameters": {"skuName": "UltraSSD_LRS", "DiskIOPSReadWrite": 500},
             "allowVolumeExpansion": false, "reclaimPolicy": "Retain", "volumeBindingMode": "Immediate"},
        ],
    })
}

/// A pack of Spectro Cloud's Palette: a mirror, a proxy, one class, and values that this chart has no use for.
fn palette() -> Value {
    json!({
        "image": {"baseRepo": "mirror.example.org/k8s", "azuredisk": {"repository": "/azuredisk-csi", "tag": "v1"},
                  "livenessProbe": {"repository": "/livenessprobe", "tag": "v2.19.0"}},
        "controller": {"runOnControlPlane": true, "livenessProbe": {"healthPort": 29602},
                       "vmType": "vmss", "enableTrafficManager": false},
        "windows": {"enabled": true},
        "storageClass": {"name": "spectro-storage-class", "parameters": {"storageaccounttype": "Standard_LRS", "kind": "managed"}},
    })
}

/// As Deckhouse gives the driver its credentials, on machines that have no cloud file of their own.
fn deckhouse() -> Value {
    json!({
        "controller": {"cloudConfigSecretName": "csi-cloud-credentials", "hostNetwork": true, "metricsPort": 4240},
        "node": {"metricsHost": "127.0.0.1", "metricsPort": 4241},
        "storageClasses": [{"name": "managed-premium-large", "parameters": {"skuName": "Premium_LRS", "cachingMode": "None"}}],
    })
}

fn check(helm: &Helm, values: &Value, facts: &[Fact]) {
    let rendered = helm.render(values).unwrap();
    for (kind, name, pointer, expected) in facts {
        let found = rendered.find(kind, name).and_then(|object| object.pointer(pointer));
        let is_so = match expected {
            Is(value) => found == Some(value),
            Has(value) => found.and_then(Value::as_array).is_some_and(|values| values.contains(value)),
            Missing => found.is_none(),
        };
        assert!(is_so, "{kind}/{name}{pointer} is {found:#?} with {values}");
    }
}

fn fact(object: (&'static str, &'static str), pointer: &'static str, expected: Expected) -> Fact {
    (object.0, object.1, pointer, expected)
}

#[test]
fn whatever_is_installed_is_small_and_confined() {
    let Some(helm) = Helm::find() else { return };
    for (name, values) in installations() {
        let rendered = helm.render(&values).unwrap();
        let complaints = rules::complaints(&rendered);
        assert!(complaints.is_empty(), "{name}: {complaints:#?}");
    }
}

#[test]
fn helm_finds_nothing_to_object_to() {
    let Some(helm) = Helm::find() else { return };
    let said = helm.lint().unwrap();
    assert!(!said.contains("[WARNING]"), "{said}");
}

#[test]
fn every_sidecar_understands_its_flags() {
    let Some(helm) = Helm::find() else { return };
    let rendered = helm.render(&everything()).unwrap();
    let mut asked = 0;
    for container in rendered
        .workloads()
        .iter()
        .flat_map(|workload| workload["spec"]["template"]["spec"]["containers"].as_array().unwrap())
    {
        let program = match container["name"].as_str().unwrap() {
            "azuredisk" => continue,
            "csi-snapshot-controller" => "snapshot-controller",
            name => name,
        };
        let arguments: Vec<&str> =
            container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
        assert_eq!(helm.sidecar_objects(program, &arguments), None, "{program} {arguments:?}");
        asked += 1;
    }
    assert_eq!(asked, 5);
}

#[test]
fn the_defaults_are_a_whole_driver_without_snapshots() {
    let Some(helm) = Helm::find() else { return };
    let has = |text: &str| Has(json!(text));
    check(
        &helm,
        &json!({}),
        &[
            ("CSIDriver", "disk.csi.azure.com", "/spec/attachRequired", Is(json!(true))),
            ("CSIDriver", "disk.csi.azure.com", "/spec/podInfoOnMount", Is(json!(false))),
            ("CSIDriver", "disk.csi.azure.com", "/spec/fsGroupPolicy", Is(json!("File"))),
            ("PodDisruptionBudget", CONTROLLER.1, "/spec/maxUnavailable", Is(json!(1))),
            fact(CONTROLLER, "/spec/replicas", Is(json!(2))),
            fact(CONTROLLER, "/spec/template/spec/hostNetwork", Is(json!(false))),
            fact(CONTROLLER, DRIVER_ARGS, has("--mode=controller")),
            fact(CONTROLLER, DRIVER_ARGS, has("--metrics-address=0.0.0.0:29604")),
            fact(CONTROLLER, "/spec/template/spec/containers/1/args", has("--strict-topology")),
            fact(CONTROLLER, "/spec/template/spec/containers/1/args", has("--extra-create-metadata")),
            fact(CONTROLLER, "/spec/template/spec/containers/1/args", has("--default-fstype=ext4")),
            fact(CONTROLLER, "/spec/template/spec/containers/2/name", Is(json!("csi-attacher"))),
            fact(CONTROLLER, "/spec/template/spec/containers/2/args", has("--timeout=600s")),
            fact(
                CONTROLLER,
                "/spec/template/spec/containers/3/args",
                has("--handle-volume-inuse-error=false"),
            ),
            fact(CONTROLLER, "/spec/template/spec/containers/4", Missing),
            fact(NODE, DRIVER_ARGS, has("--nodeid=$(KUBE_NODE_NAME)")),
            fact(
                NODE,
                DRIVER_ARGS,
                has("--kubelet-registration-path=/var/lib/kubelet/plugins/disk.csi.azure.com/csi.sock"),
            ),
            fact(NODE, "/spec/template/spec/priorityClassName", Is(json!("system-node-critical"))),
            fact(NODE, "/spec/template/spec/tolerations", Is(json!([{"operator": "Exists"}]))),
            ("Deployment", "csi-snapshot-controller", "", Missing),
            ("ClusterRole", "azuredisk-snapshotter", "", Missing),
        ],
    );
}

#[test]
fn values_of_the_go_drivers_chart_mean_the_same() {
    let Some(helm) = Helm::find() else { return };
    let class = ("StorageClass", "spectro-storage-class");
    check(
        &helm,
        &palette(),
        &[
            fact(class, "/provisioner", Is(json!("disk.csi.azure.com"))),
            fact(class, "/parameters/storageaccounttype", Is(json!("Standard_LRS"))),
            fact(class, "/volumeBindingMode", Is(json!("WaitForFirstConsumer"))),
            fact(
                NODE,
                "/spec/template/spec/containers/0/image",
                Is(json!("mirror.example.org/k8s/azuredisk-csi:v1")),
            ),
            fact(
                CONTROLLER,
                "/spec/template/spec/containers/1/image",
                Is(json!("mirror.example.org/k8s/sig-storage/csi-provisioner:v6.3.0")),
            ),
            fact(
                CONTROLLER,
                "/spec/template/spec/nodeSelector",
                Is(json!({"kubernetes.io/os": "linux", "node-role.kubernetes.io/control-plane": ""})),
            ),
        ],
    );
    check(
        &helm,
        &deckhouse(),
        &[
            fact(CONTROLLER, "/spec/template/spec/hostNetwork", Is(json!(true))),
            fact(CONTROLLER, DRIVER_ARGS, Has(json!("--metrics-address=0.0.0.0:4240"))),
            fact(NODE, DRIVER_ARGS, Has(json!("--metrics-address=127.0.0.1:4241"))),
            fact(NODE, "/spec/template/spec/containers/0/livenessProbe/httpGet/host", Is(json!("127.0.0.1"))),
            ("StorageClass", "managed-premium-large", "/parameters/cachingMode", Is(json!("None"))),
        ],
    );
}

#[test]
fn what_is_switched_on_is_there() {
    let Some(helm) = Helm::find() else { return };
    let mount =
        json!({"name": "device-root", "mountPath": "/var/lib/vm", "mountPropagation": "HostToContainer"});
    check(
        &helm,
        &everything(),
        &[
            fact(CONTROLLER, DRIVER_ARGS, Has(json!("--v=5"))),
            fact(CONTROLLER, DRIVER_ENV, Has(json!({"name": "NO_PROXY", "value": "10.0.0.0/8,.svc"}))),
            fact(
                CONTROLLER,
                DRIVER_ENV,
                Has(json!({"name": "HTTPS_PROXY", "value": "http://user:word@proxy:3128"})),
            ),
            fact(CONTROLLER, DRIVER_ENV, Has(json!({"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"}))),
            fact(
                CONTROLLER,
                "/spec/template/metadata/labels/azure.workload.identity~1use",
                Is(json!("true")),
            ),
            fact(CONTROLLER, "/spec/template/spec/imagePullSecrets", Is(json!([{"name": "pull"}]))),
            fact(CONTROLLER, "/spec/template/spec/containers/4/name", Is(json!("csi-snapshotter"))),
            fact(NODE, DRIVER_ARGS, Has(json!("--device-root=/var/lib/vm"))),
            fact(NODE, DRIVER_ARGS, Has(json!("--reserved-data-disk-slot-num=2"))),
            fact(NODE, "/spec/template/spec/containers/0/volumeMounts", Has(mount)),
            ("CSIDriver", "disk.csi.azure.com", "/spec/seLinuxMount", Is(json!(true))),
            ("Deployment", "csi-snapshot-controller", "/spec/replicas", Is(json!(2))),
            ("VolumeSnapshotClass", "csi-azuredisk-vsc", "/parameters/incremental", Is(json!("false"))),
            ("StorageClass", "managed-csi", "/allowVolumeExpansion", Is(json!(true))),
            ("StorageClass", "ultra", "/allowVolumeExpansion", Is(json!(false))),
            ("StorageClass", "ultra", "/parameters/DiskIOPSReadWrite", Is(json!("500"))),
            ("StorageClass", "ultra", "/reclaimPolicy", Is(json!("Retain"))),
            (
                "ServiceAccount",
                "csi-azuredisk-controller-sa",
                "/metadata/annotations/azure.workload.identity~1client-id",
                Is(json!("an-id")),
            ),
        ],
    );
}

#[test]
fn names_and_folders_follow_their_values() {
    let Some(helm) = Helm::find() else { return };
    let values = json!({"driver": {"name": "disk2.csi.azure.com"}, "linux": {"kubelet": "/kubelet"}});
    let leases = json!([
        "disk2-csi-azure-com",
        "external-attacher-leader-disk2-csi-azure-com",
        "external-resizer-disk2-csi-azure-com"
    ]);
    check(
        &helm,
        &values,
        &[
            ("CSIDriver", "disk2.csi.azure.com", "/spec/attachRequired", Is(json!(true))),
            ("Role", "azuredisk-controller-leases", "/rules/1/resourceNames", Is(leases)),
            fact(NODE, DRIVER_ARGS, Has(json!("--drivername=disk2.csi.azure.com"))),
            fact(
                NODE,
                DRIVER_ARGS,
                Has(json!("--kubelet-registration-path=/kubelet/plugins/disk2.csi.azure.com/csi.sock")),
            ),
            fact(
                NODE,
                "/spec/template/spec/volumes/1",
                Is(json!({"name": "registration",
                    "hostPath": {"path": "/kubelet/plugins_registry", "type": "DirectoryOrCreate"}})),
            ),
        ],
    );
    check(
        &helm,
        &json!({"controller": {"replicas": 1}}),
        &[
            ("PodDisruptionBudget", CONTROLLER.1, "", Missing),
            fact(CONTROLLER, "/spec/replicas", Is(json!(1))),
        ],
    );
}

#[test]
fn the_cloud_file_comes_from_a_secret_or_from_the_node() {
    let Some(helm) = Helm::find() else { return };
    let path = |path: &str| Has(json!({"name": "AZURE_CREDENTIAL_FILE", "value": path}));
    let user = "/spec/template/spec/securityContext/runAsUser";
    let source = "/spec/template/spec/volumes/2";
    check(
        &helm,
        &json!({"controller": {"allowEmptyCloudConfig": true}}),
        &[
            fact(CONTROLLER, DRIVER_ENV, path("/etc/azuredisk/cloud-config")),
            fact(CONTROLLER, user, Is(json!(65532))),
            (CONTROLLER.0, CONTROLLER.1, "/spec/template/spec/volumes/2/secret/optional", Is(json!(true))),
        ],
    );
    check(
        &helm,
        &json!({"controller": {"cloudConfigSecretName": ""}}),
        &[
            fact(CONTROLLER, DRIVER_ENV, path("/etc/azuredisk/azure.json")),
            fact(CONTROLLER, user, Is(json!(0))),
            fact(
                CONTROLLER,
                source,
                Is(json!({"name": "cloud-config",
                    "hostPath": {"path": "/etc/kubernetes/azure.json", "type": "File"}})),
            ),
        ],
    );
}

#[test]
fn what_cannot_work_is_refused_with_words() {
    let Some(helm) = Helm::find() else { return };
    let rows = [
        (json!({"controller": {"cloudConfigSecretNamespace": "elsewhere"}}), "Secrets of its own namespace"),
        (json!({"cloud": "AzureStackCloud"}), "AzureStackCloud is not supported"),
        (json!({"storageClasses": [{"parameters": {}}]}), "a storage class needs a name"),
    ];
    for (values, words) in rows {
        let said = helm.render(&values).map(|_: Rendered| "rendered").unwrap_err();
        assert!(said.contains(words), "{values}: {said}");
    }
}
