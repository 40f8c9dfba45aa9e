//! The real helm, and what it makes of the chart.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The Kubernetes that the chart is rendered for; helm can't know it without a cluster.
const KUBERNETES: &str = "1.36.3";

/// The helm that was built for the cluster.
pub(crate) struct Helm {
    program: PathBuf,
}

impl Helm {
    /// The newest one that is in the cache of built tools; without one, says that the test was skipped.
    pub(crate) fn find() -> Option<Helm> {
        let program = std::env::var_os("KUBE_TOOLS").map_or_else(newest, |cache| Some(PathBuf::from(cache)));
        let found = program.map(|cache| cache.join("bin/helm")).filter(|program| program.exists());
        if found.is_none() {
            eprintln!("skipped: helm is not in the cache of the cluster's tools (`make k8s` builds it)");
        }
        found.map(|program| Helm { program })
    }

    /// The chart's objects with `values`, or what helm says against them.
    pub(crate) fn render(&self, values: &Value) -> Result<Rendered, String> {
        let text = self.run(
            &["template", "azuredisk", "--namespace=kube-system", "--kube-version", KUBERNETES, "--values=-"],
            &values.to_string(),
        )?;
        let documents = text.split("\n---").map(|document| document.trim_start_matches("---"));
        let objects = documents.map(|document| serde_saphyr::from_str::<Value>(document).unwrap());
        Ok(Rendered { objects: objects.filter(|object| !object.is_null()).collect() })
    }

    /// What `helm lint` says of the chart as it is.
    pub(crate) fn lint(&self) -> Result<String, String> {
        self.run(&["lint", "--kube-version", KUBERNETES], "")
    }

    /// What the sidecar of that name, built beside helm, says against its arguments; `--version` ends it.
    pub(crate) fn sidecar_objects(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let program = self.program.with_file_name(program);
        let output = Command::new(program).args(arguments).arg("--version").output().unwrap();
        // After its whole usage, the last line says what is wrong.
        let said = String::from_utf8_lossy(&output.stderr);
        (!output.status.success()).then(|| said.lines().last().unwrap_or_default().to_owned())
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart");
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg(chart)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

fn newest() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("azuredisk-csi");
    let built = |path: &PathBuf| path.join("bin/helm").metadata().and_then(|file| file.modified()).ok();
    let folders = cache.read_dir().ok()?.flatten().map(|entry| entry.path());
    folders.filter(|path| built(path).is_some()).max_by_key(built)
}

/// What would be applied.
pub(crate) struct Rendered {
    pub(crate) objects: Vec<Value>,
}

impl Rendered {
    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.all(kind).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// What starts pods.
    pub(crate) fn workloads(&self) -> Vec<&Value> {
        [self.all("Deployment"), self.all("DaemonSet")].concat()
    }
}
