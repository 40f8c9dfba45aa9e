//! A cluster leaves the machine as it was, however it ends. Needs root and the folder of built tools, which
//! KUBE_TOOLS names; each cluster here has a state of its own, so that another may run beside.

#![expect(clippy::unwrap_used, reason = "a test says loudly what went wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster::place::Place;
use cluster::processes::{self, Process, below};
use cluster::{cgroup, supervisor};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// What the kubelet, containerd or the network would change, were they not in namespaces.
const SYSCTLS: [&str; 8] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "kernel/hostname",
    "net/ipv4/ip_forward",
];

/// The machine as a user of it sees it.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    mounts: String,
    links: BTreeSet<String>,
    sysctls: Vec<String>,
}

impl Machine {
    fn look() -> Machine {
        let sysctl = |name: &&str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
        let names = fs::read_dir("/sys/class/net").unwrap();
        Machine {
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap(),
            links: names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect(),
            sysctls: SYSCTLS.iter().map(sysctl).collect(),
        }
    }
}

/// One cluster of a test.
struct Run {
    place: Place,
    /// Its processes, those of its node and pods included.
    processes: Vec<Process>,
    /// The loop device that its first node made, with the kernel's sequence number: another cluster may take the
    /// device a moment later.
    made: (String, String),
}

/// What the tools are in, or nothing where these tests can't run.
fn tools() -> Option<PathBuf> {
    let tools = std::env::var_os("KUBE_TOOLS").map(PathBuf::from);
    let is_there = tools.as_ref().is_some_and(|tools| tools.join("bin/kubelet").is_file());
    if !geteuid().is_root() || !is_there {
        eprintln!("skipped: needs root, and the built tools in KUBE_TOOLS");
        return None;
    }
    tools
}

fn place(tools: PathBuf, name: &str) -> Place {
    let program = Path::new(env!("CARGO_BIN_EXE_k8s"));
    let built = program.parent().unwrap().to_owned();
    assert!(
        built.join("azure-emulator").is_file(),
        "azure-emulator is not built beside {}",
        program.display()
    );
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned();
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    Place { checkout, tools, state, built }
}

fn k8s(place: &Place, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_k8s"))
        .args(arguments)
        .envs(supervisor::environment(place))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

impl Run {
    /// Brings a cluster up, with the driver and a pod that has a disk where `options` leave it so, and lets its node make a loop device, as a kubelet does for a raw block volume.
    fn up(tools: &Path, name: &str, options: &[&str]) -> Run {
        let place = place(tools.to_owned(), name);
        k8s(&place, &[&["up", "--nodes=1"], options].concat()).unwrap();
        let all = processes::all().unwrap();
        let init = supervisor::init_pid(&place).unwrap().as_raw();
        let its: Vec<_> = below(&all, init).into_iter().map(|process| process.pid).chain([init]).collect();
        let containerd = its
            .iter()
            .find(|pid| all.iter().any(|process| process.pid == **pid && process.program == "containerd"))
            .unwrap();
        let attach = Command::new("nsenter")
            .args([format!("--target={containerd}").as_str(), "--mount", "--pid", "sh", "-c"])
            .arg("truncate --size=1M /tmp/bytes && /opt/kube/bin/losetup -f /tmp/bytes")
            .status()
            .unwrap();
        assert!(attach.success());
        let notes = fs::read_to_string(place.state.join("loops/kubelets")).unwrap();
        let (device, sequence) = notes.trim_end().split_once(' ').unwrap();
        let made = (device.to_owned(), sequence.to_owned());
        assert!(is_attached(&made));
        let processes = all.into_iter().filter(|process| its.contains(&process.pid)).collect();
        Run { place, processes, made }
    }

    #[track_caller]
    fn check_nothing_is_left(&self, before: &Machine) {
        assert_eq!(Machine::look(), *before);
        assert!(!is_attached(&self.made), "{:?} is attached", self.made);
        assert!(cgroup::leaves(&cgroup::prefix(&self.place)).unwrap().is_empty());
        // One that ended and that nobody looked after yet has no program any more.
        let is_its = |now: &Process| {
            let is_same = |was: &Process| was.pid == now.pid && was.program == now.program;
            !now.program.is_empty() && self.processes.iter().any(is_same)
        };
        let left: Vec<_> = processes::all().unwrap().into_iter().filter(is_its).collect();
        assert!(left.is_empty(), "{left:?}");
        let entries = fs::read_dir(&self.place.state).unwrap();
        let entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(entries, ["log"]);
    }

    fn supervisor(&self) -> Pid {
        let text = fs::read_to_string(self.place.state.with_extension("lock")).unwrap();
        Pid::from_raw(text.parse().unwrap())
    }
}

impl Drop for Run {
    /// A test that failed leaves nothing either.
    fn drop(&mut self) {
        let _ = k8s(&self.place, &["down"]);
    }
}

fn is_attached((device, sequence): &(String, String)) -> bool {
    let folder = Path::new("/sys/block").join(device);
    let now = fs::read_to_string(folder.join("diskseq")).unwrap_or_default();
    folder.join("loop").exists() && now.trim() == sequence
}

#[test]
fn a_cluster_that_was_ended_leaves_nothing() {
    let Some(tools) = tools() else { return };
    let before = Machine::look();
    for _ in 0..2 {
        let run = Run::up(&tools, "ended", &[]);
        let again = k8s(&run.place, &["up"]).unwrap_err();
        assert!(again.contains("is up already"), "{again}");
        k8s(&run.place, &["down"]).unwrap();
        run.check_nothing_is_left(&before);
    }
}

#[test]
fn a_cluster_whose_first_process_was_killed_leaves_nothing() {
    let Some(tools) = tools() else { return };
    let before = Machine::look();
    let run = Run::up(&tools, "killed", &["--bare"]);
    kill(supervisor::init_pid(&run.place).unwrap(), Signal::SIGKILL).unwrap();
    // Its supervisor is at it already, or this is.
    k8s(&run.place, &["down"]).unwrap();
    run.check_nothing_is_left(&before);
}

#[test]
fn a_cluster_whose_supervisor_was_killed_leaves_nothing() {
    let Some(tools) = tools() else { return };
    let before = Machine::look();
    let run = Run::up(&tools, "orphaned", &["--bare"]);
    kill(run.supervisor(), Signal::SIGKILL).unwrap();
    k8s(&run.place, &["down"]).unwrap();
    run.check_nothing_is_left(&before);
}
