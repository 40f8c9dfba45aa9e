//! The kubectl of the pinned tools, as the cluster's administrator.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Failure;
use crate::place::Place;

/// Speaks to one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// That of the cluster at `place`.
    pub fn of(place: &Place) -> Kubectl {
        Kubectl { program: place.tool("kubectl"), kubeconfig: place.kubeconfig() }
    }

    /// What kubectl prints.
    ///
    /// # Errors
    /// The command and what it said, if it fails.
    pub async fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, Failure> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let mut all = vec![kubeconfig.as_str()];
        all.extend(arguments);
        feed(&self.program, &all, input.unwrap_or_default()).await
    }

    /// Applies `objects`, whoever wrote them before.
    ///
    /// # Errors
    /// What the API server refuses, unknown fields included.
    pub async fn apply(&self, objects: &str) -> Result<(), Failure> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename=-"];
        self.run(&arguments, Some(objects)).await.map(drop)
    }
}

/// Runs `program` with `input`; returns what it prints.
pub(super) async fn feed(program: &Path, arguments: &[&str], input: &str) -> Result<String, Failure> {
    let name = program.file_name().unwrap_or(program.as_os_str()).display().to_string();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child =
        command.spawn().map_err(|error| format!("{} does not start: {error}", program.display()))?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that ends without reading says why itself.
            _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let asked: Vec<&str> =
        arguments.iter().copied().filter(|text| !text.starts_with("--kubeconfig")).collect();
    Err(format!("{name} {}: {}", asked.join(" "), said.trim()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(program: &str, arguments: &[&str], input: &str) -> String {
        match feed(Path::new(program), arguments, input).await {
            Ok(printed) => printed,
            Err(failure) => format!("failed: {failure}"),
        }
    }

    #[tokio::test]
    async fn a_failure_tells_what_was_asked_and_what_was_said() {
        assert_eq!(said("/bin/cat", &["-"], "a").await, "a");
        let large = "x".repeat(1 << 20);
        assert_eq!(said("/bin/cat", &["-"], &large).await, large);
        assert_eq!(
            said("/bin/sh", &["-c", "echo no >&2; exit 3", "--kubeconfig=/secret"], "").await,
            "failed: sh -c echo no >&2; exit 3: no"
        );
        assert!(said("/nowhere/kubectl", &[], "").await.contains("/nowhere/kubectl does not start"));
    }
}
