//! Whatever is sent, an answer comes back, and it is one that Azure could give.

use azure_emulator::{Options, SUBSCRIPTION};
use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::client::Client;

/// Words of paths; a group is called like a provider to lead path parsing astray.
const SEGMENTS: &[&str] = &[
    "subscriptions",
    SUBSCRIPTION,
    "resourceGroups",
    "rg",
    "providers",
    "Microsoft.Compute",
    "Microsoft.Network",
    "disks",
    "snapshots",
    "virtualMachines",
    "node-a",
    "virtualMachineScaleSets",
    "pool",
    "0",
    "instanceView",
    "skus",
    "a",
    "attachDetachDataDisks",
    "locations",
    "operations",
    "DiskOperations",
    "operationresults",
    "e30",
    "networkInterfaces",
    "virtualNetworks",
    "deallocate",
    "_emulator",
    "vms",
    "faults",
    "latency",
    "clock",
    "metadata",
    "instance",
    "compute",
];

const MEMBERS: &[&str] = &[
    "properties",
    "sku",
    "name",
    "creationData",
    "createOption",
    "sourceResourceId",
    "diskSizeGB",
    "storageProfile",
    "dataDisks",
    "osDisk",
    "managedDisk",
    "id",
    "lun",
    "dataDisksToAttach",
    "dataDisksToDetach",
    "diskId",
    "tags",
    "zones",
    "subnets",
    "ipConfigurations",
    "virtualMachineProfile",
    "osProfile",
    "networkProfile",
    "capacity",
    "hardwareProfile",
    "vmSize",
    "maxShares",
    "tier",
    "diskIOPSReadWrite",
    "upgradePolicy",
    "networkInterfaceConfigurations",
];

fn path() -> impl Strategy<Value = String> {
    let word = || proptest::sample::select(SEGMENTS);
    let free = proptest::collection::vec(word(), 0..9).prop_map(|words| format!("/{}", words.join("/")));
    let below = |prefix: String| {
        proptest::collection::vec(word(), 0..6).prop_map(move |words| format!("{prefix}/{}", words.join("/")))
    };
    prop_oneof![
        1 => free,
        4 => below(format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute")),
        1 => below(format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute")),
        1 => below(format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Network")),
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let disk = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.Compute/disks/a");
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..70).prop_map(Value::from),
        Just(json!(disk)),
        proptest::sample::select(
            &["Empty", "Copy", "Attach", "Premium_LRS", "Standard_D2s_v5", "P99", "/", ""][..]
        )
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let member = (proptest::sample::select(MEMBERS), inner.clone());
        prop_oneof![
            1 => proptest::collection::vec(inner, 0..3).prop_map(Value::from),
            4 => proptest::collection::vec(member, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    })
}

/// Sound writes, to be spoilt in one place.
fn templates() -> Vec<(&'static str, &'static str, Value)> {
    let disk = crate::client::id("disks/a");
    let compute = "Microsoft.Compute";
    let network = "Microsoft.Network";
    vec![
        (
            compute,
            "disks/b",
            json!({ "sku": { "name": "PremiumV2_LRS" }, "zones": ["1"], "tags": { "k": "v" }, "properties": {
            "creationData": { "createOption": "Empty" }, "diskSizeGB": 8, "maxShares": 2, "diskIOPSReadWrite": 3000,
            "encryption": { "type": "x" }, "networkAccessPolicy": "DenyAll" } }),
        ),
        (
            compute,
            "disks/c",
            json!({ "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": disk } } }),
        ),
        (
            compute,
            "disks/a",
            json!({ "sku": { "name": "Premium_LRS" }, "properties": { "diskSizeGB": 9, "tier": "P10" } }),
        ),
        (
            compute,
            "snapshots/s",
            json!({ "sku": { "name": "Standard_ZRS" }, "properties": { "incremental": true,
            "creationData": { "createOption": "Copy", "sourceResourceId": disk } } }),
        ),
        (
            compute,
            "virtualMachines/node-a",
            json!({ "tags": {}, "properties": { "hardwareProfile": { "vmSize": "Standard_D4s_v5" },
            "storageProfile": { "dataDisks": [{ "lun": 1, "createOption": "Attach", "caching": "None", "managedDisk": { "id": disk } }] } } }),
        ),
        (
            compute,
            "virtualMachines/new",
            json!({ "zones": [], "properties": { "hardwareProfile": { "vmSize": "Standard_D2s_v5" },
            "storageProfile": { "imageReference": { "sku": "s" }, "osDisk": { "name": "os", "managedDisk": {}, "diffDiskSettings": null },
            "dataDisks": [] }, "osProfile": { "computerName": "n" }, "networkProfile": { "networkInterfaces": [{ "id": "x" }] } } }),
        ),
        (
            compute,
            "virtualMachineScaleSets/set",
            json!({ "sku": { "name": "Standard_D2s_v5", "capacity": 1 }, "zones": ["1"], "properties": {
            "upgradePolicy": { "automaticOSUpgradePolicy": {} }, "virtualMachineProfile": { "osProfile": { "computerNamePrefix": "p" },
            "storageProfile": { "osDisk": { "managedDisk": {} } }, "networkProfile": { "networkInterfaceConfigurations": [
                { "name": "n", "properties": { "ipConfigurations": [{ "properties": { "subnet": { "id": "x" } } }] } }] } } } }),
        ),
        (
            network,
            "virtualNetworks/v",
            json!({ "properties": { "subnets": [{ "name": "s", "properties": {} }] } }),
        ),
        (
            network,
            "networkInterfaces/n",
            json!({ "properties": { "ipConfigurations": [{ "name": "i", "properties": { "subnet": { "id": "x" } } }] } }),
        ),
    ]
}

/// All places in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// A sound write with something else in one of its places.
fn spoilt() -> impl Strategy<Value = (&'static str, String, Value)> {
    let verb = proptest::sample::select(&["PUT", "PUT", "PATCH"][..]);
    (verb, proptest::sample::select(templates()), any::<proptest::sample::Index>(), body()).prop_map(
        |(method, (provider, path, mut template), index, nonsense)| {
            let mut found = Vec::new();
            places(&template, "", &mut found);
            if let Some(place) = template.pointer_mut(&found[index.index(found.len())]) {
                *place = nonsense;
            }
            let path = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/{provider}/{path}");
            (method, path, template)
        },
    )
}

fn any_call() -> impl Strategy<Value = (&'static str, String, Value)> {
    let method = proptest::sample::select(&["GET", "PUT", "PATCH", "POST", "DELETE", "HEAD"][..]);
    prop_oneof![1 => (method, path(), body()), 3 => spoilt()]
}

async fn send(client: &Client, method: &str, path: &str, body: &Value) {
    let uri = format!("http://emulator{path}?api-version=2025-04-01");
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("authorization", "Bearer t")
        .header("metadata", "true");
    let answer = client.emulator.handle(request.body(Bytes::from(body.to_string())).unwrap()).await;
    let status = answer.status().as_u16();
    assert!((200..500).contains(&status), "{method} {path}: {status}");
    if status >= 400 && !answer.body().is_empty() {
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert!(body["error"]["code"].is_string() || body["error"].is_string(), "{method} {path}: {body}");
    }
}

async fn babble(calls: Vec<(&'static str, String, Value)>) {
    let groups = vec!["rg".to_owned(), "Microsoft.Compute".to_owned()];
    let client = Client::with(Options { groups, ..Options::default() });
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "").unwrap();
    client.emulator.add_scale_set("pool", "p", "Standard_D2s_v5", &[], 1).unwrap();
    client.disk("a", "Premium_LRS", 8).await;
    for (method, path, body) in &calls {
        send(&client, method, path, body).await;
    }
    // What was stored can still be shown.
    send(&client, "GET", "/_emulator", &Value::Null).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_is_answered(calls in proptest::collection::vec(any_call(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(babble(calls));
    }
}
