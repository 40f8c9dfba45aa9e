//! One csi-sanity run in a fresh world: its arguments, its path-checking command, its report, and the
//! proof from outside that it did not run dry.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::report::{Case, complaints, parse};
use crate::Failure;
use crate::volume::GIB;
use crate::world::{Options, World};

/// How csi-sanity uses its volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessType {
    /// As mounted file systems.
    Mount,
    /// As raw block devices.
    Block,
}

impl AccessType {
    /// As csi-sanity's flag spells it.
    pub fn word(self) -> &'static str {
        match self {
            AccessType::Mount => "mount",
            AccessType::Block => "block",
        }
    }
}

/// Calls that must have been answered with OK for a run to count as one.
const MUST_MOVE: [&str; 8] = [
    "CreateVolume",
    "DeleteVolume",
    "ControllerPublishVolume",
    "ControllerUnpublishVolume",
    "CreateSnapshot",
    "ControllerExpandVolume",
    "NodeStageVolume",
    "NodePublishVolume",
];

/// What a run showed.
pub struct Shown {
    /// Every case of the report.
    pub cases: Vec<Case>,
    /// What is wrong; empty if nothing is.
    pub complaints: Vec<String>,
}

/// Runs `csi_sanity` once and reads its report, which stays at `report`.
pub async fn run(csi_sanity: &Path, access: AccessType, report: &Path) -> Result<Shown, Failure> {
    // Four data disks per VM, so that the attach limit is reached; no zone, as in most regions.
    let options = Options { nodes: vec!["node-a".to_owned()], ..Options::default() };
    let world = World::start(options).await?;
    let folder = world.folder().join("sanity");
    std::fs::create_dir_all(&folder)?;
    let log = report.with_extension("log");
    let status = Command::new(csi_sanity)
        .args(arguments(&world, &folder, access, report)?)
        .current_dir(&folder)
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&log)?)
        .stderr(std::fs::File::options().append(true).open(&log)?)
        .status()
        .await?;

    let cases = parse(&std::fs::read_to_string(report)?)?;
    let mut complaints = complaints(&cases);
    if !status.success() && complaints.is_empty() {
        complaints.push(format!("csi-sanity ended with {status}"));
    }
    if !status.success() {
        complaints.push(format!("what csi-sanity printed is in {}", log.display()));
    }
    complaints.extend(moved(&world).await?);
    complaints.extend(seen_paths(&folder, access)?);
    if let Err(left) = world.nothing_left().await {
        complaints.push(left.to_string());
    }
    let left = world.stop().await?;
    if left.loops + left.mounts > 0 {
        complaints.push(format!("after the end: {left:?}"));
    }
    Ok(Shown { cases, complaints })
}

fn arguments(
    world: &World,
    folder: &Path,
    access: AccessType,
    report: &Path,
) -> Result<Vec<String>, Failure> {
    let file = |name: &str, text: &str| -> Result<String, Failure> {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let volume = file("volume.yaml", "skuName: Premium_LRS\n")?;
    let changed = file("mutable.yaml", "skuName: StandardSSD_LRS\n")?;
    let snapshot = file("snapshot.yaml", "incremental: \"true\"\n")?;
    Ok(vec![
        format!("--csi.endpoint=unix://{}", world.nodes[0].socket().display()),
        format!("--csi.controllerendpoint=unix://{}", world.controller.socket().display()),
        format!("--csi.mountdir={}", folder.join("mount").display()),
        format!("--csi.stagingdir={}", folder.join("staging").display()),
        format!("--csi.testvolumeaccesstype={}", access.word()),
        "--csi.testnodevolumeattachlimit".to_owned(),
        format!("--csi.testvolumeparameters={volume}"),
        format!("--csi.testvolumemutableparameters={changed}"),
        format!("--csi.testsnapshotparameters={snapshot}"),
        format!("--csi.checkpathcmd={}", path_checker(folder)?.display()),
        "--ginkgo.no-color".to_owned(),
        format!("--ginkgo.junit-report={}", report.display()),
    ])
}

/// The command by which csi-sanity asks what a path is. It answers as the tool's own check would, and
/// writes down the type, and for a device the size, of what it saw.
fn path_checker(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("check-path");
    let seen = folder.join("seen");
    let script = format!(
        "#!/bin/sh\n\
         if [ -b \"$1\" ]; then echo \"block $(blockdev --getsize64 \"$1\")\" >> {seen}; echo other\n\
         elif [ -d \"$1\" ]; then echo \"directory $(stat -f -c %T \"$1\")\" >> {seen}; echo directory\n\
         elif [ -f \"$1\" ]; then echo file >> {seen}; echo file\n\
         elif [ -e \"$1\" ]; then echo other >> {seen}; echo other\n\
         else echo not_found; fi\n",
        seen = seen.display()
    );
    std::fs::write(&path, script)?;
    std::fs::write(&seen, "")?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// A published path must have been a block device of the volume's size, or a mounted ext4.
fn seen_paths(folder: &Path, access: AccessType) -> Result<Option<String>, Failure> {
    let seen = std::fs::read_to_string(folder.join("seen"))?;
    let wanted = match access {
        AccessType::Block => format!("block {}", 10 * GIB),
        AccessType::Mount => "directory ext2/ext3".to_owned(),
    };
    let good = !seen.is_empty() && seen.lines().all(|line| line == wanted);
    Ok((!good).then(|| format!("published paths were {seen:?}, not {wanted:?}")))
}

/// The driver's own counters must have moved: a dry run moves none.
async fn moved(world: &World) -> Result<Vec<String>, Failure> {
    let metrics = format!("{}\n{}", world.controller.metrics().await?, world.nodes[0].metrics().await?);
    let still = MUST_MOVE.iter().filter(|method| ok_count(&metrics, method) == 0);
    Ok(still.map(|method| format!("{method} was never answered with OK")).collect())
}

/// How many calls of `method` the metrics count with code OK.
fn ok_count(metrics: &str, method: &str) -> u64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("azuredisk_csi_rpcs_total{")
            && line.contains(&format!("method=\"{method}\""))
            && line.contains("code=\"Ok\"")
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
