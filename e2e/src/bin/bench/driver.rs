//! The driver as a process of its own, as a pod has it, and what it weighs.

use std::fs;
use std::path::Path;

use csi::v1::ProbeRequest;
use csi::v1::identity_client::IdentityClient;
use e2e::program::{Program, built};
use e2e::{Failure, client};
use tokio::process::Command;
use tonic::transport::Channel;

use crate::azure::Azure;

/// A running controller.
pub(crate) struct Driver {
    program: Program,
    pub(crate) channel: Channel,
}

impl Driver {
    /// Starts it on `azure`, with its socket in `folder`, and waits until it answers.
    pub(crate) async fn start(azure: &Azure, folder: &Path) -> Result<Driver, Failure> {
        let (socket, credentials) = (folder.join("csi.sock"), folder.join("azure.json"));
        fs::write(&credentials, azure.cloud_config())?;
        let mut command = Command::new(built("azuredisk-csi")?);
        command
            .arg("--mode=controller")
            .arg(format!("--endpoint=unix://{}", socket.display()))
            .env_clear()
            .env("AZURE_CREDENTIAL_FILE", &credentials)
            .env("IDENTITY_ENDPOINT", azure.identity_endpoint())
            .env("IDENTITY_HEADER", "bench");
        let mut program = Program::start("azuredisk-csi", command, &folder.join("azuredisk-csi.log"))?;
        let channel = program.ready(async || client::channel(&socket).await.ok()).await?;
        IdentityClient::new(channel.clone()).probe(ProbeRequest {}).await?;
        Ok(Driver { program, channel })
    }

    /// What it weighs now, and at most since [`Driver::forget_peak`].
    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        memory_of(self.pid()?)
    }

    /// The peak counts from now.
    pub(crate) fn forget_peak(&self) -> Result<(), Failure> {
        // 5: see proc_pid_clear_refs(5).
        Ok(fs::write(format!("/proc/{}/clear_refs", self.pid()?), "5")?)
    }

    /// Ends it at once.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        self.program.kill().await
    }

    fn pid(&self) -> Result<u32, Failure> {
        self.program.pid().ok_or_else(|| "the driver has ended".into())
    }
}

/// Resident memory in bytes, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

/// That of the process `pid`.
pub(crate) fn memory_of(pid: u32) -> Result<Memory, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    memory(&status).ok_or_else(|| format!("process {pid} does not tell its memory").into())
}

/// That which `/proc/PID/status` tells.
fn memory(status: &str) -> Option<Memory> {
    let bytes = |key: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Memory { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tbench\nVmPeak:\t  999 kB\nVmHWM:\t   20 kB\nVmRSS:\t   10 kB\nRssAnon:\t 3 kB\n";
        assert_eq!(memory(status), Some(Memory { now: 10_240, peak: 20_480 }));
        // A process that has just ended has neither.
        assert_eq!(memory("Name:\tbench\nState:\tZ (zombie)\n"), None);
    }
}
