//! A cluster in process, the driver's client over it, and the view that its feeds keep.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use azuredisk_csi::kube::api::{Answer, Api, Body, BoxFuture, TransportError};
use azuredisk_csi::kube::cluster::{Cluster, ClusterView, Standing};
use azuredisk_csi::kube::{Client, Feeds, Login};
use bytes::Bytes;
use e2e::kubernetes::{self, ApiServer, Resource};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const DRIVER: &str = "disk.csi.azure.com";
const PATIENCE: Duration = Duration::from_hours(1);

/// The server without a network between.
pub(crate) struct InProcess(pub(crate) ApiServer);

impl Api for InProcess {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let answer =
                self.0.handle(request).await.map_err(|lost| TransportError::unsent(lost.to_string()))?;
            Ok(answer.map(|body| Box::new(Rest(body)) as Box<dyn Body>))
        })
    }
}

struct Rest(kubernetes::Body);

impl Body for Rest {
    fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
        Box::pin(async {
            let next = self.0.next().await.transpose();
            next.map_err(|lost| TransportError::lost(lost.to_string()))
        })
    }
}

pub(crate) fn client(server: &ApiServer, login: Login) -> Client {
    let address = "https://10.0.0.1:443".parse().unwrap();
    Client::new(Arc::new(InProcess(server.clone())), address, login)
}

/// A view that is kept until it is dropped.
pub(crate) struct Followed {
    pub(crate) view: watch::Receiver<ClusterView>,
    feeds: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.feeds.abort();
    }
}

impl Followed {
    pub(crate) fn by(client: Client) -> Followed {
        let (view, feeds) = Feeds::of_client(client, DRIVER, 7);
        Followed { view, feeds: tokio::spawn(feeds.run()) }
    }

    /// The feeds end, and the view stays.
    pub(crate) fn end(&self) {
        self.feeds.abort();
    }

    pub(crate) fn of(server: &ApiServer) -> Followed {
        Followed::by(client(server, Login::None))
    }

    /// Waits until the view is complete and `is_so`.
    #[track_caller]
    pub(crate) fn until(&mut self, is_so: impl Fn(&Cluster) -> bool) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let complete = |view: &ClusterView| match view.standing() {
                Standing::Synced(cluster) => is_so(cluster),
                Standing::Absent | Standing::NotYet => false,
            };
            let waited = tokio::time::timeout(PATIENCE, self.view.wait_for(complete)).await;
            assert!(waited.is_ok_and(|found| found.is_ok()), "never so: {place}");
        }
    }

    /// Asks the view as it is.
    pub(crate) fn ask<T>(&self, question: impl Fn(&Cluster) -> T) -> T {
        match self.view.borrow().standing() {
            Standing::Synced(cluster) => question(cluster),
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn disk(number: usize) -> String {
    format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/pvc-{number}")
}

/// A PersistentVolume and its attachment to a node at a LUN.
pub(crate) fn attach(server: &ApiServer, number: usize, node: &str, lun: usize) {
    let volume = json!({"metadata": {"name": format!("pvc-{number}")},
        "spec": {"csi": {"driver": DRIVER, "volumeHandle": disk(number)}}});
    server.create(Resource::PersistentVolumes, volume).unwrap();
    let metadata = json!({"name": format!("csi-{number}"), "finalizers": ["external-attacher/disk"]});
    let attachment = json!({"metadata": metadata,
        "spec": {"attacher": DRIVER, "nodeName": node, "source": {"persistentVolumeName": format!("pvc-{number}")}},
        "status": {"attached": true, "attachmentMetadata": {"LUN": lun.to_string()}}});
    server.create(Resource::VolumeAttachments, attachment).unwrap();
}

pub(crate) fn node(server: &ApiServer, name: &str, taints: &Value) {
    let vm = format!(
        "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/{name}"
    );
    let object = json!({"metadata": {"name": name}, "spec": {"providerID": vm, "taints": taints},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    server.create(Resource::Nodes, object).unwrap();
}

/// Those of `requests` that list.
pub(crate) fn lists(requests: &[String]) -> usize {
    requests.iter().filter(|request| request.starts_with("GET ") && !request.contains("watch=")).count()
}

/// How many of `requests` are watches.
pub(crate) fn watches(requests: &[String]) -> usize {
    requests.iter().filter(|request| request.contains("watch=1")).count()
}

/// Writes a kubeconfig for a server that listens at `address` and wants the token `hunter2`.
pub(crate) fn kubeconfig(folder: &Path, address: SocketAddr) -> PathBuf {
    let file = folder.join("config");
    let text = format!(
        "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: u, user: {{token: hunter2}}}}]\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}
