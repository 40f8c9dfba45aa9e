//! Whom the connections to Kubernetes trust, and what they show of themselves, when the files change under them.
//! The emulator serves as any https server does; what it makes of the paths does not matter here.
#![expect(clippy::unwrap_used, reason = "a fixture that breaks fails its test")]

use std::net::SocketAddr;
use std::path::Path;

use azure_emulator::{Authority, Door, Emulator, Options, SUBSCRIPTION, serve_doors};
use azuredisk_csi::kube::api::Api;
use azuredisk_csi::kube::{HttpApi, Pem, Trust};
use bytes::Bytes;
use tempfile::TempDir;

/// A server that the authority in `ca.crt` of the folder vouches for.
async fn start() -> (TempDir, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::kept_in(folder.path()).unwrap();
    let tls = authority.server(&["127.0.0.1".to_owned()]).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let emulator = Emulator::new(Options::default()).unwrap();
    let doors = vec![Door::cloud(listener, tls)];
    tokio::spawn(async move { serve_doors(emulator, doors, std::future::pending()).await.unwrap() });
    (folder, address)
}

/// The status of a request without a token, or why there is none.
async fn ask(api: &HttpApi, address: SocketAddr) -> Result<u16, String> {
    let uri = format!("https://{address}/subscriptions/{SUBSCRIPTION}?api-version=2022-12-01");
    let request = http::Request::builder().uri(uri).body(Bytes::new()).unwrap();
    let answer = api.send(request).await.map_err(|error| error.to_string())?;
    Ok(answer.status().as_u16())
}

fn api(authority: &Path, identity: Option<(Pem, Pem)>) -> HttpApi {
    let trust = Trust { authority: Some(Pem::File(authority.to_owned())), identity, is_direct: true };
    HttpApi::new(trust, "azuredisk-csi/test")
}

#[tokio::test]
async fn only_the_authority_of_the_cluster_is_trusted_and_a_new_one_needs_no_restart() {
    let (folder, address) = start().await;
    let trusted = folder.path().join("trusted.crt");
    Authority::new().unwrap().publish(&trusted).unwrap();
    let api = api(&trusted, None);
    let refused = ask(&api, address).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    std::fs::copy(folder.path().join("ca.crt"), &trusted).unwrap();
    assert_eq!(ask(&api, address).await, Ok(401), "it has asked");
}

#[tokio::test]
async fn a_certificate_that_is_refused_is_read_again() {
    let (folder, address) = start().await;
    let [certificate, key] = ["ca.crt", "ca.key"].map(|name| folder.path().join(name));
    let api = api(&certificate, Some((Pem::File(certificate.clone()), Pem::File(key.clone()))));
    assert_eq!(ask(&api, address).await, Ok(401));
    std::fs::remove_file(&key).unwrap();
    let missing = ask(&api, address).await.unwrap_err();
    assert!(missing.contains("ca.key"), "{missing}");
}
