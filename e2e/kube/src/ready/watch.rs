//! Sees pods become ready at the moment when the API server says so: a watch, not looks.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout_at};

use crate::Failure;
use crate::place::Place;

/// One line for each change of a pod: its name, and whether it is ready.
const COLUMNS: &str =
    "--output=custom-columns=NAME:.metadata.name,READY:.status.conditions[?(@.type==\"Ready\")].status";

/// A watch of the pods of a namespace.
pub(super) struct Watch {
    lines: Lines<BufReader<ChildStdout>>,
    /// Ends with this value.
    _kubectl: Child,
}

impl Watch {
    /// Begins to watch.
    pub(super) fn begin(place: &Place, namespace: &str) -> Result<Watch, Failure> {
        let mut command = Command::new(place.tool("kubectl"));
        command.arg("--kubeconfig").arg(place.kubeconfig()).args([
            "get",
            "pods",
            "--watch",
            "--no-headers",
            COLUMNS,
        ]);
        command
            .args(["--namespace", namespace])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut kubectl = command.spawn()?;
        let stdout = kubectl.stdout.take().ok_or("kubectl has no output")?;
        Ok(Watch { lines: BufReader::new(stdout).lines(), _kubectl: kubectl })
    }

    /// Waits until the pod is ready; answers when that was.
    pub(super) async fn ready(&mut self, pod: &str, limit: Duration) -> Result<Instant, Failure> {
        let end = Instant::now() + limit;
        loop {
            let line = timeout_at(end, self.lines.next_line());
            let line = line.await.map_err(|_| format!("pod {pod} was not ready in {limit:?}"))??;
            let line = line.ok_or_else(|| format!("the watch ended before pod {pod} was ready"))?;
            if is_ready(&line, pod) {
                return Ok(Instant::now());
            }
        }
    }
}

fn is_ready(line: &str, pod: &str) -> bool {
    line.split_whitespace().eq([pod, "True"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_whether_a_pod_is_ready() {
        let rows = [
            ("a     True", true),
            ("a     False", false),
            ("a     <none>", false),
            ("ab    True", false),
            ("", false),
        ];
        for (line, wanted) in rows {
            assert_eq!(is_ready(line, "a"), wanted, "{line}");
        }
    }
}
