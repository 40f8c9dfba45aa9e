//! Instance metadata, tokens, cloud endpoints, and the list of what is sold.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::client::{Client, Reply};

async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    header: Option<(&str, &str)>,
    body: &'static str,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:7");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    let answer = client.emulator.handle(request.body(Bytes::from_static(body.as_bytes())).unwrap()).await;
    let (head, bytes) = answer.into_parts();
    Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: serde_json::from_slice(&bytes).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_vm_reads_its_own_metadata_and_disks() {
    let client = Client::new();
    client.emulator.add_vm("node-a", "Standard_D2s_v5", "2").unwrap();
    client.emulator.add_scale_set("pool", "p", "Standard_D4s_v5", &[], 1).unwrap();
    let body = json!({ "zones": ["2"], "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 8 } });
    let disk = client.create("d", body).await;
    client.attach("node-a", json!([{ "diskId": disk, "lun": 7 }])).await;
    let metadata = Some(("Metadata", "true"));
    let path = "/vms/NODE-A/metadata/instance?api-version=2021-10-01&format=json";
    let compute = &ask(&client, "GET", path, metadata, "").await.body["compute"];
    assert_eq!(
        (&compute["name"], &compute["zone"], &compute["vmSize"]),
        (&json!("node-a"), &json!("2"), &json!("Standard_D2s_v5"))
    );
    let listed = &compute["storageProfile"]["dataDisks"][0];
    assert_eq!(
        (&listed["lun"], &listed["managedDisk"]["id"], &listed["diskSizeGB"]),
        (&json!("7"), &json!(disk), &json!("8"))
    );
    let part = "/vms/p000000/metadata/instance/compute/vmScaleSetName?api-version=2021-10-01";
    assert_eq!(ask(&client, "GET", part, metadata, "").await.body, json!("pool"));
    assert_eq!(ask(&client, "GET", path, None, "").await.status, 400, "without the header");
    let whose = "/metadata/instance?api-version=2021-10-01";
    assert_eq!(ask(&client, "GET", whose, metadata, "").await.status, 404, "two VMs, none named");
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_token_is_given_to_who_asks_rightly() {
    let client = Client::new();
    let imds =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/";
    let msi = "/msi/token?api-version=2019-08-01&resource=https://management.azure.com/";
    let entra = "/tenant/oauth2/v2.0/token";
    let secret = "grant_type=client_credentials&client_id=c&scope=s&client_secret=x";
    let rows = [
        ("GET", imds, Some(("metadata", "true")), "", 200),
        ("GET", imds, None, "", 400),
        ("GET", "/vms/any/metadata/identity/oauth2/token?resource=r", Some(("metadata", "true")), "", 200),
        ("GET", "/metadata/identity/oauth2/token", Some(("metadata", "true")), "", 400),
        ("GET", msi, Some(("x-identity-header", "h")), "", 200),
        ("GET", msi, None, "", 401),
        ("POST", entra, None, secret, 200),
        ("POST", entra, None, "grant_type=client_credentials&client_id=c&scope=s", 400),
        ("POST", entra, None, "grant_type=password&client_id=c&scope=s&client_secret=x", 400),
    ];
    for (method, path, header, body, status) in rows {
        let reply = ask(&client, method, path, header, body).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert_eq!(reply.body["access_token"].is_string(), status == 200);
        let is_text = reply.body["expires_in"].is_string();
        assert_eq!(
            is_text,
            status == 200 && method == "GET",
            "numbers are text in managed-identity tokens only"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn clouds_lead_back_to_the_emulator() {
    let client = Client::new();
    let clouds = ask(&client, "GET", "/metadata/endpoints?api-version=2019-05-01", None, "").await.body;
    let named = clouds.as_array().unwrap().iter().find(|cloud| cloud["name"] == "AzurePublicCloud").unwrap();
    assert_eq!(named["resourceManager"], "http://127.0.0.1:7");
}

#[tokio::test(start_paused = true)]
async fn sizes_and_disks_are_listed_with_text_values() {
    let client = Client::new();
    let base = format!(
        "http://emulator/subscriptions/{}/providers/Microsoft.Compute/skus",
        azure_emulator::SUBSCRIPTION
    );
    let here = client
        .get(&format!("{base}?api-version=2021-07-01&$filter=location eq 'eastus2'").replace(' ', "%20"))
        .await;
    let all = here["value"].as_array().unwrap();
    let capability = |name: &str, size: &str, what: &str| {
        let sku =
            all.iter().find(|sku| sku["name"] == name && (size.is_empty() || sku["size"] == size)).unwrap();
        let capabilities = sku["capabilities"].as_array().unwrap();
        capabilities.iter().find(|one| one["name"] == what).map_or(Value::Null, |one| one["value"].clone())
    };
    assert_eq!(capability("Standard_D2s_v5", "", "MaxDataDiskCount"), "4");
    assert_eq!(capability("Premium_LRS", "P15", "MaxSizeGiB"), "256");
    assert_eq!(capability("PremiumV2_LRS", "", "MaxIOpsReadWrite"), "80000");
    let elsewhere =
        client.get(&format!("{base}?api-version=2021-07-01&$filter=location%20eq%20'mars'")).await;
    assert_eq!(elsewhere["value"], json!([]));
}
