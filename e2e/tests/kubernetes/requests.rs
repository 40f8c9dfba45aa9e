//! Single requests: patches, events, tokens, and a configuration that is mended while it is waited for.

use std::time::Duration;

use azuredisk_csi::kube::cluster::{Cluster, Standing};
use azuredisk_csi::kube::{Error, Event, Login, Origin, Page, Regarding, follow};
use e2e::kubernetes::{ApiServer, Resource};
use serde_json::{Value, json};

use super::world::{Followed, attach, client};

const ATTACHMENTS: &str = "/apis/storage.k8s.io/v1/volumeattachments";

#[tokio::test(start_paused = true)]
async fn a_merge_patch_changes_what_it_names_and_minds_the_version() {
    let server = ApiServer::new();
    attach(&server, 1, "node-a", 1);
    let client = client(&server, Login::None);
    let path = format!("{ATTACHMENTS}/csi-1");
    let patch = json!({"metadata": {"annotations": {"a": "b"}, "resourceVersion": "2"}});
    let answer: Value = serde_json::from_slice(&client.merge(&path, &patch).await.unwrap()).unwrap();
    assert_eq!(answer["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(answer["spec"]["nodeName"], "node-a");
    let error = client.merge(&path, &patch).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 409, .. }), "the version has moved on: {error}");
    let gone = client.merge(&format!("{ATTACHMENTS}/no"), &patch).await.unwrap_err();
    let said = r#"the Kubernetes API says 404 (NotFound): VolumeAttachment "no" not found"#;
    assert_eq!(gone.to_string(), said);
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_who_did_what_to_which_object() {
    let server = ApiServer::new();
    let event = Event {
        regarding: Regarding {
            api_version: "storage.k8s.io/v1".to_owned(),
            kind: "VolumeAttachment".to_owned(),
            name: "csi-1".to_owned(),
            namespace: String::new(),
        },
        reason: "DiskForceDetached".to_owned(),
        message: "why".to_owned(),
        r#type: "Warning",
        first_timestamp: "2026-01-01T00:00:00Z".to_owned(),
    };
    client(&server, Login::None).create_event(&event, "disk.csi.azure.com").await.unwrap();
    let events = server.objects(Resource::Events);
    let [made] = &events[..] else { panic!("{events:#?}") };
    assert_eq!(made["metadata"]["namespace"], "default");
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("csi-1."));
    assert_eq!(made["involvedObject"]["kind"], "VolumeAttachment");
    assert_eq!(
        (&made["type"], &made["reason"], &made["count"]),
        (&"Warning".into(), &"DiskForceDetached".into(), &1.into())
    );
    assert_eq!(made["source"]["component"], "disk.csi.azure.com");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_read_again_once() {
    let server = ApiServer::new();
    server.expect_token("hunter2");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "hunter1").unwrap();
    let client = client(&server, Login::TokenFile(path.clone()));
    let page = Page { limit: 1, next: String::new() };
    let error = client.list(ATTACHMENTS, &page).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 401, .. }), "{error}");
    assert_eq!(server.requests().len(), 2, "once more, and no more");
    assert!(!format!("{error} {error:?}").contains("hunter"));
    std::fs::write(&path, "hunter2").unwrap();
    client.list(ATTACHMENTS, &page).await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_rotated_keeps_the_view() {
    let server = ApiServer::new();
    server.expect_token("hunter1");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "hunter1").unwrap();
    let mut followed = Followed::by(client(&server, Login::TokenFile(path.clone())));
    followed.until(|_| true).await;
    // All watches are open by then, and have been for so long that their end is one in good order.
    tokio::time::sleep(Duration::from_secs(2)).await;
    std::fs::write(&path, "hunter2").unwrap();
    server.expect_token("hunter2");
    server.end_watches();
    attach(&server, 1, "node-a", 1);
    followed.until(|cluster| cluster.luns("node-a").len() == 1).await;
    assert_eq!(followed.ask(Cluster::cut_since), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let server = ApiServer::new();
    server.slow_down(Duration::from_hours(1));
    let client = client(&server, Login::None);
    let error = client.list(ATTACHMENTS, &Page::default()).await.unwrap_err();
    assert!(matches!(error, Error::Late(_)), "{error}");
    let error = client.watch(ATTACHMENTS, "1", Duration::from_mins(5)).await.err().unwrap();
    assert!(matches!(error, Error::Late(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_kubeconfig_that_is_mended_needs_no_restart() {
    let server = ApiServer::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let (mut view, feeds) = {
        let server = server.clone();
        let origin = Origin::Kubeconfig(path.clone());
        follow(origin, "disk.csi.azure.com", 7, move |access| client(&server, access.login))
    };
    let running = tokio::spawn(feeds.run());
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(server.requests(), [""; 0]);
    let text = "current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\n\
                clusters: [{name: c, cluster: {server: 'https://10.0.0.1'}}]\n";
    std::fs::write(&path, text).unwrap();
    let complete = view.wait_for(|view| matches!(view.standing(), Standing::Synced(_)));
    assert!(tokio::time::timeout(Duration::from_mins(2), complete).await.unwrap().is_ok());
    running.abort();
}
