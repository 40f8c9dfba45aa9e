//! What a person needs after a step failed: what every component logged since the step began, what Kubernetes says of its
//! objects, and the emulator's model. Collecting never makes things worse: what can't be had is said in its file.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::azure::Azure;
use crate::Failure;
use crate::place::Place;

/// How long one question to a cluster that may be broken may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What Kubernetes is asked: a file's name and the words for kubectl.
const QUESTIONS: [(&str, &str); 4] = [
    ("events.txt", "get events -A --sort-by=.lastTimestamp"),
    (
        "objects.yaml",
        "get pods,pvc,pv,volumeattachments,volumesnapshots,volumesnapshotcontents,nodes,csinodes -A -o yaml",
    ),
    ("pods.txt", "describe pods -A"),
    ("nodes.txt", "describe nodes"),
];

/// A moment in the logs.
pub struct Mark {
    lengths: BTreeMap<PathBuf, u64>,
}

impl Mark {
    /// This moment.
    pub fn now(place: &Place) -> Mark {
        let length = |path: PathBuf| {
            let length = std::fs::metadata(&path).map_or(0, |found| found.len());
            (path, length)
        };
        Mark { lengths: logs(place).into_iter().map(length).collect() }
    }

    /// Writes what was logged since this moment, `ago`, and what is now, into `folder`.
    pub async fn collect(&self, place: &Place, folder: &Path, ago: Duration) -> Result<(), Failure> {
        std::fs::create_dir_all(folder)?;
        let root = place.state.join("log");
        for log in logs(place) {
            let from = self.lengths.get(&log).copied().unwrap_or(0);
            let name = log.strip_prefix(&root).unwrap_or(&log).display().to_string().replace('/', "-");
            std::fs::write(folder.join(name), since(&log, from)?)?;
        }
        for (name, question) in QUESTIONS {
            std::fs::write(folder.join(name), ask(place, question).await)?;
        }
        let pods = String::from_utf8(ask(place, "get pods -n kube-system -o name").await)?;
        for pod in pods.lines().filter_map(|line| line.strip_prefix("pod/")) {
            let question =
                format!("logs -n kube-system {pod} --all-containers --prefix --timestamps --tail=-1");
            let since = ask(place, &format!("{question} --since={}s", ago.as_secs() + 5)).await;
            // What a container that was killed said last is kept apart.
            let before = ask(place, &format!("{question} --previous")).await;
            std::fs::write(folder.join(format!("{pod}.log")), since)?;
            std::fs::write(folder.join(format!("{pod}-before.log")), before)?;
        }
        let model = match Azure::local().model().await {
            Ok(model) => format!("{model:#}"),
            Err(failure) => format!("the emulator does not answer: {failure}"),
        };
        std::fs::write(folder.join("azure.json"), model)?;
        Ok(())
    }
}

/// Every log of the cluster's components: those of a node are in its folder.
fn logs(place: &Place) -> Vec<PathBuf> {
    let (mut folders, mut logs) = (vec![place.state.join("log")], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let (below, files): (Vec<_>, Vec<_>) =
            entries.map(|entry| entry.path()).partition(|path| path.is_dir());
        folders.extend(below);
        logs.extend(files);
    }
    logs.sort();
    logs
}

/// What stands in `log` from `from` on; all of it if it was begun anew since.
fn since(log: &Path, from: u64) -> Result<Vec<u8>, Failure> {
    let mut file = std::fs::File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(if from <= length { from } else { 0 }))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// What kubectl answered, or why it didn't.
async fn ask(place: &Place, question: &str) -> Vec<u8> {
    let mut command = Command::new(place.tool("kubectl"));
    command.arg("--kubeconfig").arg(place.kubeconfig()).args(question.split(' '));
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => [output.stdout, output.stderr].concat(),
        Ok(Err(error)) => format!("kubectl did not start: {error}").into_bytes(),
        Err(_) => format!("kubectl did not answer in {PATIENCE:?}").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, from: u64, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        std::fs::write(&log, text).unwrap();
        assert_eq!(String::from_utf8(since(&log, from).unwrap()).unwrap(), expected);
    }

    #[test]
    fn only_what_was_logged_since_is_kept() {
        check("old\nnew\n", 4, "new\n");
        check("old\n", 4, "");
        check("new\n", 0, "new\n");
    }

    #[test]
    fn a_log_that_was_begun_anew_is_kept_whole() {
        check("new\n", 400, "new\n");
    }
}
