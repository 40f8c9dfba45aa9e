//! Runs the suite: tells it about the driver, asks which cases there are, lets ginkgo run what applies, and keeps its
//! report and, for each case that failed, what was logged meanwhile.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::cases::{self, Case, EXTERNAL, End};
use super::definition::{self, FileSystem};
use super::selection::{self, Exclusion};
use super::verdict::{self, Verdict};
use super::{kept, span};
use crate::Failure;
use crate::deploy::FIRST_POD;
use crate::place::Place;
use crate::trial::kubernetes::Kubernetes;
use crate::trial::report::Report;
use crate::trial::wait::{holds, until};

/// So many cases at once. They wait more than they work: two cores carry this.
const PROCESSES: u16 = 12;

/// Longer than the suite ever took; what still runs then is stuck.
const PATIENCE: Duration = Duration::from_mins(25);

/// Runs all that applies, as steps of `report`.
pub async fn run(place: &Place, report: &mut Report) -> Result<(), Failure> {
    report.begin("Kubernetes' storage suite");
    let suite = report.step("is told about the driver", Suite::prepare(place)).await?;
    report.step("has every case that is left out", suite.check_exclusions()).await?;
    report.step("finds nodes without volumes", free_nodes(place)).await?;
    report.note(&format!("some minutes now; ginkgo writes to {}", suite.folder.join("ginkgo.log").display()));
    let verdict = report.step("runs", suite.run()).await?;
    report.note(&verdict.lines().join("\n"));
    report.step("finds nothing wrong", async { answer(&verdict) }).await
}

/// The suite on the cluster of `place`.
struct Suite<'a> {
    place: &'a Place,
    folder: PathBuf,
    exclusions: Vec<Exclusion>,
}

impl<'a> Suite<'a> {
    /// Writes what the suite is told.
    async fn prepare(place: &'a Place) -> Result<Suite<'a>, Failure> {
        let folder = place.reports().join("suite");
        std::fs::create_dir_all(&folder)?;
        let zones = zones(&Kubernetes::open(place).await?).await?;
        let attributes = folder.join("attributes.yaml");
        write(&attributes, &definition::attributes_class())?;
        for set in FileSystem::ALL {
            let [class, driver] = ["class", "driver"].map(|what| folder.join(format!("{what}-{set}.yaml")));
            write(&class, &definition::storage_class(set, definition::home(&zones)))?;
            write(&driver, &definition::definition(set, &class, &attributes))?;
        }
        let status = std::fs::read_to_string("/proc/self/status")?;
        let grows =
            selection::grows_mounted_ext4(&status).ok_or("/proc/self/status tells no capabilities")?;
        Ok(Suite { place, folder, exclusions: selection::exclusions(grows) })
    }

    /// Every row of the table must leave something out: the suite may have renamed a case.
    async fn check_exclusions(&self) -> Result<(), Failure> {
        let junit = self.folder.join("cases.xml");
        let mut list = Command::new(self.place.suite_tool("e2e.test"));
        list.args(["--ginkgo.dry-run", "--ginkgo.no-color"]).arg(format!("--ginkgo.focus={EXTERNAL}"));
        list.arg(format!("--ginkgo.junit-report={}", junit.display())).args(self.arguments());
        self.call(list, "cases.log").await?;
        let names: Vec<String> = cases::read(&text(&junit)?)?.into_iter().map(|case| case.name).collect();
        match selection::outlived(&self.exclusions, &names).as_slice() {
            [] => Ok(()),
            rows => Err(format!("of {} cases none is left out by {rows:?}", names.len()).into()),
        }
    }

    /// Lets ginkgo run the cases. That some failed is no failure here: the report tells it.
    async fn run(&self) -> Result<Verdict, Failure> {
        let junit = self.folder.join("junit.xml");
        let _ = std::fs::remove_file(&junit);
        let mut ginkgo = Command::new(self.place.suite_tool("ginkgo"));
        ginkgo.arg(format!("--procs={PROCESSES}")).arg(format!("--timeout={}s", PATIENCE.as_secs()));
        ginkgo.args(["--no-color", "--silence-skips", "--junit-report=junit.xml"]);
        ginkgo.arg(format!("--output-dir={}", self.folder.display())).arg(format!("--focus={EXTERNAL}"));
        ginkgo.arg(format!("--skip={}", selection::skip_pattern(&self.exclusions)));
        ginkgo.arg(self.place.suite_tool("e2e.test")).arg("--").args(self.arguments());
        let ended = self.call(ginkgo, "ginkgo.log").await;
        let report = text(&junit).map_err(|missing| match &ended {
            Ok(()) => missing,
            Err(failure) => failure.to_string().into(),
        })?;
        let cases = cases::read(&report)?;
        self.keep_evidence(&cases).await?;
        let mut verdict = verdict::judge(&cases, &self.exclusions);
        verdict
            .objections
            .extend(cases::broken_setup(&report)?.into_iter().map(|name| format!("failed: {name}")));
        if let (Err(failure), true) = (ended, verdict.failed.is_empty()) {
            verdict.objections.push(format!("no case failed, but {failure}"));
        }
        Ok(verdict)
    }

    /// What every process of the suite is told.
    fn arguments(&self) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let mut arguments = vec![
            format!("--kubeconfig={}", path(self.place.kubeconfig())),
            format!("--kubectl-path={}", path(self.place.tool("kubectl"))),
        ];
        arguments.extend(FileSystem::ALL.map(|set| {
            format!("--storage.testdriver={}", path(self.folder.join(format!("driver-{set}.yaml"))))
        }));
        let fixed =
            ["--provider=local", "--disable-log-dump", "--dump-logs-on-failure=false", "--minStartupPods=0"];
        arguments.extend(fixed.map(str::to_owned));
        arguments
    }

    /// Carries out a command whose output goes to `log`.
    async fn call(&self, mut command: Command, log: &str) -> Result<(), Failure> {
        let log = self.folder.join(log);
        let output = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir(&self.folder);
        let mut child = command.kill_on_drop(true).spawn()?;
        // Ginkgo ends by itself before: this is for one that doesn't.
        match timeout(PATIENCE + Duration::from_mins(1), child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
            Ok(status) => Err(format!("the suite ended with {}, see {}", status?, log.display()).into()),
            Err(_) => Err(format!("the suite did not end, see {}", log.display()).into()),
        }
    }

    /// For each failed case a folder with its own words and the logs of its time.
    async fn keep_evidence(&self, cases: &[Case]) -> Result<(), Failure> {
        let failed: Vec<_> = cases.iter().filter(|case| matches!(case.end, End::Failed(_))).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let logs = kept::logs(self.place).await?;
        for case in failed {
            let folder = self.place.reports().join(kept::folder_name(&case.name));
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("case.log"), format!("{}\n\n{}", case.name, case.output))?;
            let Some(span) = span::of_case(&case.output) else { continue };
            for (name, log) in &logs {
                let part = span::within(log, span);
                if !part.is_empty() {
                    std::fs::write(folder.join(name), part)?;
                }
            }
        }
        Ok(())
    }
}

/// The verdict as the end of a step.
fn answer(verdict: &Verdict) -> Result<(), Failure> {
    if verdict.objections.is_empty() { Ok(()) } else { Err(verdict.objections.join("\n").into()) }
}

/// The suite fills a node with as many volumes as it takes. The playground's example goes for it; what else uses a
/// volume is not ours to end.
async fn free_nodes(place: &Place) -> Result<(), Failure> {
    let kubernetes = Kubernetes::open(place).await?;
    kubernetes.delete("default", &[&format!("pod/{FIRST_POD}")]).await?;
    until("no volume is attached", Duration::from_mins(1), async || {
        let left = kubernetes.attachments().await?;
        let volume = |found: &serde_json::Value| found["spec"]["source"]["persistentVolumeName"].to_string();
        holds(left.is_empty(), || left.iter().map(volume).collect::<Vec<_>>().join(", "))
    })
    .await
}

/// The zone of each node, as the driver told it.
async fn zones(kubernetes: &Kubernetes) -> Result<Vec<String>, Failure> {
    let zone = |node: serde_json::Value| {
        node["metadata"]["labels"][definition::ZONE_LABEL].as_str().unwrap_or_default().to_owned()
    };
    Ok(kubernetes.list("/api/v1/nodes").await?.into_iter().map(zone).collect())
}

fn write(path: &Path, document: &serde_json::Value) -> Result<(), Failure> {
    Ok(std::fs::write(path, serde_json::to_string_pretty(document)?)?)
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}
