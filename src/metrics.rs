//! Every metric of the driver, in one registry that belongs to one server: no globals, so that tests can
//! run several drivers side by side. Names and meaning for users: docs/metrics.md, compared by a test.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use controller::cluster::{ClusterView, Kind, Standing};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;

use crate::config::Mode;
use crate::kube;
use crate::methods::Method;

/// From a probe to a copy between regions, in seconds.
const BUCKETS: [f64; 12] = [0.002, 0.01, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rpc {
    method: &'static str,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Arm {
    operation: String,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Registration {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

fn durations() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The counters, and the registry they are read from; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    rpcs: Family<Rpc, Counter>,
    rpc_seconds: Durations<Rpc>,
    rpcs_in_flight: Gauge,
    arm_requests: Family<Arm, Counter>,
    arm_seconds: Durations<Operation>,
    registrations: Family<Registration, Counter>,
    panics: Counter<u64, AtomicU64>,
    kubernetes_synced: Gauge,
    kubernetes_forbidden: Family<Resource, Gauge>,
    formats: Counter<u64, AtomicU64>,
    format_refusals: Counter<u64, AtomicU64>,
    forced_detaches: Counter<u64, AtomicU64>,
    attachments: Arc<OnceLock<Arc<controller::Counters>>>,
    disks: Arc<OnceLock<Arc<node::Counters>>>,
    cluster: Arc<OnceLock<watch::Receiver<ClusterView>>>,
}

impl Metrics {
    /// All at zero.
    pub fn new(mode: Mode) -> Metrics {
        let mut registry = Registry::with_prefix("azuredisk_csi");
        let build =
            Info::new(vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("mode", mode.to_string())]);
        registry.register("build", "Version and mode of the driver", build);

        let rpcs = Family::default();
        registry.register("rpcs", "CSI calls answered, by method and gRPC code", rpcs.clone());
        let rpc_seconds = Durations::new_with_constructor(durations as fn() -> Histogram);
        registry.register_with_unit("rpc", "Time to answer a CSI call", Unit::Seconds, rpc_seconds.clone());
        let rpcs_in_flight = Gauge::default();
        registry.register("rpcs_in_flight", "CSI calls being worked on", rpcs_in_flight.clone());
        let arm_requests = Family::default();
        registry.register(
            "arm_requests",
            "Requests to Azure, by operation and HTTP status",
            arm_requests.clone(),
        );
        let arm_seconds = Durations::new_with_constructor(durations as fn() -> Histogram);
        registry.register_with_unit(
            "arm_request",
            "Time Azure took to answer a request",
            Unit::Seconds,
            arm_seconds.clone(),
        );
        let registrations = Family::default();
        registry.register(
            "kubelet_registrations",
            "What the kubelet said of registering the driver",
            registrations.clone(),
        );
        let panics = Counter::default();
        registry.register("panics", "Panics in this process: each one is a bug", panics.clone());
        let kubernetes_synced = Gauge::default();
        registry.register(
            "kubernetes_synced",
            "Whether the view of Kubernetes is complete and changes are heard of",
            kubernetes_synced.clone(),
        );
        let kubernetes_forbidden = Family::<Resource, Gauge>::default();
        registry.register(
            "kubernetes_forbidden",
            "Whether the driver's account may not list or watch what it follows",
            kubernetes_forbidden.clone(),
        );
        let formats = Counter::default();
        registry.register("formats", "File systems made on blank disks", formats.clone());
        let format_refusals = Counter::default();
        registry.register(
            "format_refusals",
            "Disks left alone because they might hold data or could not be read",
            format_refusals.clone(),
        );
        let forced_detaches = Counter::default();
        registry.register(
            "forced_detaches",
            "Disks taken from a VM that is out of service without waiting for it",
            forced_detaches.clone(),
        );
        let registry = Arc::new(registry);
        Metrics {
            registry,
            rpcs,
            rpc_seconds,
            rpcs_in_flight,
            arm_requests,
            arm_seconds,
            registrations,
            panics,
            kubernetes_synced,
            kubernetes_forbidden,
            formats,
            format_refusals,
            forced_detaches,
            attachments: Arc::default(),
            disks: Arc::default(),
            cluster: Arc::default(),
        }
    }

    /// A call came in.
    pub fn rpc_started(&self) {
        self.rpcs_in_flight.inc();
    }

    /// A call that was started has ended with `code`.
    pub fn rpc_ended(&self, method: &Method, code: tonic::Code, took: Duration) {
        self.rpcs_in_flight.dec();
        self.rpc_answered(method, code, took);
    }

    /// A call was answered without being started, or has ended.
    pub fn rpc_answered(&self, method: &Method, code: tonic::Code, took: Duration) {
        let labels = Rpc { method: method.name, code: format!("{code:?}") };
        self.rpcs.get_or_create(&labels).inc();
        self.rpc_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// One request went to Azure; `code` is the HTTP status, or that none came.
    pub fn arm_request(&self, operation: &str, code: &str, took: Duration) {
        let operation = operation.to_owned();
        self.arm_requests.get_or_create(&Arm { operation: operation.clone(), code: code.to_owned() }).inc();
        self.arm_seconds.get_or_create(&Operation { operation }).observe(took.as_secs_f64());
    }

    /// The kubelet told whether it took the driver.
    pub fn kubelet_registration(&self, is_registered: bool) {
        let result = if is_registered { "registered" } else { "refused" };
        self.registrations.get_or_create(&Registration { result }).inc();
    }

    /// A panic, anywhere in the process.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Shows the node's own numbers from now on; the first node wins.
    pub fn show_disks(&self, counters: Arc<node::Counters>) {
        // A process has one node.
        let _ = self.disks.set(counters);
    }

    /// Shows the controller's own numbers from now on; the first controller wins.
    pub fn show_attachments(&self, counters: Arc<controller::Counters>) {
        // A process has one controller.
        let _ = self.attachments.set(counters);
    }

    /// Shows from now on whether this view is good; the first one wins.
    pub fn show_cluster(&self, view: watch::Receiver<ClusterView>) {
        // A process has one view.
        let _ = self.cluster.set(view);
    }

    /// All metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        if let Some(disks) = self.disks.get() {
            self.formats.inner().store(disks.formats.load(Relaxed), Relaxed);
            self.format_refusals.inner().store(disks.refusals.load(Relaxed), Relaxed);
        }
        if let Some(attachments) = self.attachments.get() {
            self.forced_detaches.inner().store(attachments.forced_detaches.load(Relaxed), Relaxed);
        }
        if let Some(view) = self.cluster.get() {
            let view = view.borrow().clone();
            let is_synced = match view.standing() {
                Standing::Synced(cluster) => cluster.cut_since().is_none(),
                Standing::Absent | Standing::NotYet => false,
            };
            self.kubernetes_synced.set(is_synced.into());
            for kind in Kind::ALL {
                let resource = Resource { resource: kube::resource(kind) };
                self.kubernetes_forbidden.get_or_create(&resource).set(view.is_forbidden(kind).into());
            }
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::find;
    use std::collections::BTreeSet;

    fn touched() -> Metrics {
        let metrics = Metrics::new(Mode::Node);
        metrics.rpc_started();
        metrics.rpc_ended(find("/csi.v1.Node/NodeGetInfo"), tonic::Code::Ok, Duration::from_millis(3));
        metrics.arm_request("disk get", "200", Duration::from_millis(30));
        metrics.kubelet_registration(true);
        metrics.panicked();
        let disks = Arc::new(node::Counters::default());
        disks.refusals.store(2, Relaxed);
        metrics.show_disks(disks);
        metrics.show_cluster(watch::channel(ClusterView::absent()).1);
        metrics
    }

    #[test]
    fn the_manual_names_every_metric_and_no_other() {
        let text = touched().text();
        let real: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, _)| name)
            .collect();
        let manual = include_str!("../docs/metrics.md");
        let told: BTreeSet<&str> = manual
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name.trim_end_matches("_total").trim_end_matches("_info"))
            .collect();
        assert_eq!(told, real);
    }

    #[test]
    fn counters_carry_their_labels() {
        let text = touched().text();
        for line in [
            "azuredisk_csi_rpcs_total{method=\"NodeGetInfo\",code=\"Ok\"} 1",
            "azuredisk_csi_rpcs_in_flight 0",
            "azuredisk_csi_arm_requests_total{operation=\"disk get\",code=\"200\"} 1",
            "azuredisk_csi_kubelet_registrations_total{result=\"registered\"} 1",
            "azuredisk_csi_panics_total 1",
            "azuredisk_csi_kubernetes_forbidden{resource=\"nodes\"} 0",
            "azuredisk_csi_format_refusals_total 2",
            "azuredisk_csi_formats_total 0",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
