//! How long a pod waits for its volume: the same pod with a new volume and without one, in turn, and how much of the
//! difference is the driver's own.

pub mod share;
mod watch;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::share::{BOUND, Share, Spent, median, milliseconds};
use self::watch::Watch;
use crate::Failure;
use crate::place::Place;
use crate::trial::azure::Azure;
use crate::trial::kubernetes::Kubernetes;
use crate::trial::objects::{self, Mode};
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};

/// So often each pod is made; one more of each goes before, for what happens only once.
const TIMES: u32 = 10;

const NAMESPACE: &str = "ready-time";

/// The class of the volumes.
const CLASS: &str = "managed-csi";

/// How long a pod may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures, as steps of `report`.
pub async fn run(place: &Place, report: &mut Report) -> Result<(), Failure> {
    report.begin("How long a pod waits for its volume");
    let measurement = report.step("the pods start", measure(place)).await;
    let cleared = report.step("all of it deleted", clear(place)).await;
    let measurement = measurement?;
    for line in measurement.lines() {
        report.note(&line);
    }
    // Told, not judged: a busy machine is no fault of the driver.
    report.step("the driver told its own share", async { measurement.is_whole() }).await?;
    report.note(&measurement.verdict());
    cleared
}

/// What was measured.
struct Measurement {
    plain: Duration,
    with_volume: Duration,
    share: Share,
}

impl Measurement {
    fn lines(&self) -> Vec<String> {
        let difference = self.with_volume.saturating_sub(self.plain);
        vec![
            format!("ready without a volume: {}, median of {TIMES}", milliseconds(self.plain)),
            format!("ready with a new volume: {}, median of {TIMES}", milliseconds(self.with_volume)),
            format!("difference: {}", milliseconds(difference)),
            format!("  the driver: {}", self.share),
            format!(
                "  waiting of the sidecars, the scheduler and the kubelet: {}",
                milliseconds(difference.saturating_sub(self.share.total()))
            ),
        ]
    }

    fn is_whole(&self) -> Result<(), Failure> {
        let missing = self.share.missing();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("the driver's metrics tell no time for {}", missing.join(", ")).into())
    }

    fn verdict(&self) -> String {
        let word = if self.share.total() > BOUND { "above" } else { "within" };
        format!("the driver's own share is {word} the {} that a quiet machine allows it", milliseconds(BOUND))
    }
}

async fn measure(place: &Place) -> Result<Measurement, Failure> {
    let kubernetes = Kubernetes::open(place).await?;
    Azure::local().set_latency(0).await?;
    kubernetes.create(&[objects::namespace(NAMESPACE)]).await?;
    let attached_before = kubernetes.attachments().await?.len();
    let mut trial = Trial { watch: Watch::begin(place, NAMESPACE)?, kubernetes, attached_before };
    trial.start("plain-0", false).await?;
    trial.start("volume-0", true).await?;
    let before = spent(&trial.kubernetes).await?;
    let (mut plain, mut with_volume) = (Vec::new(), Vec::new());
    for round in 1..=TIMES {
        plain.push(trial.start(&format!("plain-{round}"), false).await?);
        with_volume.push(trial.start(&format!("volume-{round}"), true).await?);
    }
    let share = Share::between(&before, &spent(&trial.kubernetes).await?, TIMES);
    let middle = |times| median(times).ok_or("nothing was measured");
    Ok(Measurement { plain: middle(plain)?, with_volume: middle(with_volume)?, share })
}

struct Trial {
    watch: Watch,
    kubernetes: Kubernetes,
    /// Volumes of others.
    attached_before: usize,
}

impl Trial {
    /// Makes a pod, waits until it is ready and takes it away; answers how long it took to be ready.
    async fn start(&mut self, name: &str, has_volume: bool) -> Result<Duration, Failure> {
        let mut pod = objects::pod(NAMESPACE, name, name, Mode::Filesystem, None);
        let claim = objects::claim(NAMESPACE, name, CLASS, 4, Mode::Filesystem, None);
        let objects = if has_volume {
            vec![claim, pod]
        } else {
            without_volume(&mut pod);
            vec![pod]
        };
        let begun = Instant::now();
        self.kubernetes.create(&objects).await?;
        let took = self.watch.ready(name, PATIENCE).await?.duration_since(begun);
        let names = [format!("pod/{name}"), format!("persistentvolumeclaim/{name}")];
        self.kubernetes.delete(NAMESPACE, &names.each_ref().map(String::as_str)).await?;
        // Its detach must not stand in the way of the next pod.
        until("it is detached", PATIENCE, async || {
            let left = self.kubernetes.attachments().await?;
            holds(left.len() <= self.attached_before, || format!("{} volumes are", left.len()))
        })
        .await?;
        Ok(took)
    }
}

/// The same pod without its volume.
fn without_volume(pod: &mut Value) {
    pod["spec"]["volumes"] = json!([]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
}

/// What the driver's processes spent in calls so far, by their metrics.
async fn spent(kubernetes: &Kubernetes) -> Result<Spent, Failure> {
    let mut spent = Spent::default();
    for pod in kubernetes.list(&format!("/api/v1/namespaces/kube-system/pods?{OURS}")).await? {
        if let Some(path) = metrics_path(&pod) {
            spent.add(&kubernetes.run(&["get", "--raw", &path], "").await?);
        }
    }
    Ok(spent)
}

/// The pods of the chart.
const OURS: &str = "labelSelector=app.kubernetes.io%2Fname%3Dazuredisk-csi-driver";

/// Where the API server reaches the metrics of a pod, for one that has a port of that name.
fn metrics_path(pod: &Value) -> Option<String> {
    let containers = pod["spec"]["containers"].as_array()?.iter();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let port = &ports.find(|port| port["name"] == "metrics")?["containerPort"];
    let about = &pod["metadata"];
    let (namespace, name) = (about["namespace"].as_str()?, about["name"].as_str()?);
    Some(format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics"))
}

async fn clear(place: &Place) -> Result<(), Failure> {
    let kubernetes = Kubernetes::open(place).await?;
    kubernetes.run(&["delete", "namespace", NAMESPACE, "--timeout=120s", "--ignore-not-found"], "").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_where_a_port_has_that_name() {
        let pod = |port: &str| {
            json!({
                "metadata": { "namespace": "kube-system", "name": "csi-1" },
                "spec": { "containers": [{ "name": "other" }, { "ports": [{ "name": port, "containerPort": 29604 }] }] },
            })
        };
        let path = "/api/v1/namespaces/kube-system/pods/csi-1:29604/proxy/metrics";
        assert_eq!(metrics_path(&pod("metrics")).as_deref(), Some(path));
        assert_eq!(metrics_path(&pod("health")), None);
    }

    #[test]
    fn the_pods_differ_in_the_volume_only() {
        let with = objects::pod("n", "a", "c", Mode::Filesystem, None);
        let mut without = with.clone();
        without_volume(&mut without);
        assert_eq!(without["spec"]["volumes"], json!([]));
        assert_eq!(without["spec"]["containers"][0]["command"], with["spec"]["containers"][0]["command"]);
    }

    #[test]
    fn a_share_is_told_with_its_bound_and_an_unknown_one_is_a_failure() {
        let measured = |seconds: [f64; 4]| {
            let [create, attach, stage, publish] = seconds;
            let mut after = Spent::default();
            for (method, seconds) in [
                ("CreateVolume", create),
                ("ControllerPublishVolume", attach),
                ("NodeStageVolume", stage),
                ("NodePublishVolume", publish),
            ] {
                after.add(&format!(
                    "azuredisk_csi_rpc_seconds_sum{{method=\"{method}\",code=\"Ok\"}} {seconds}"
                ));
            }
            let share = Share::between(&Spent::default(), &after, 1);
            Measurement { plain: Duration::from_secs(1), with_volume: Duration::from_secs(3), share }
        };
        assert!(measured([0.1, 0.1, 0.05, 0.01]).is_whole().is_ok());
        assert!(measured([0.1, 0.0, 0.05, 0.01]).is_whole().is_err());
        assert!(measured([0.1, 0.1, 0.05, 0.01]).verdict().contains("within"));
        assert!(measured([0.1, 0.1, 0.09, 0.02]).verdict().contains("above"));
        let lines = measured([0.1, 0.1, 0.05, 0.01]).lines();
        assert_eq!(lines[2], "difference: 2000 ms");
        assert!(lines[4].ends_with("kubelet: 1740 ms"), "{}", lines[4]);
    }
}
