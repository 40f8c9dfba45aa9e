//! A node's own root: an overlay over the machine's, in which everything that a node writes or must not see is
//! replaced.
//!
//! What survives a crash of the node, as a disk would (kubelet, containerd and logs), is bound from the cluster's
//! state; the rest is gone with the node's processes. **Invariant:** the node sees neither the cluster's state nor
//! another VM's devices: the state is covered, its own device root is bound to [`DEVICES`].

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root, sethostname};

use crate::Failure;
use crate::cgroup::{Hierarchy, mount_own};
use crate::place::Place;
use crate::shape::Node;

/// The node's device root, in the node.
pub(crate) const DEVICES: &str = "/var/lib/azure-vm";

/// The pinned tools, in the node.
pub(crate) const TOOLS: &str = "/opt/kube/tools";

/// This program, in the node.
pub(crate) const PROGRAM: &str = "/opt/kube/k8s";

/// Programs that stand before the machine's, in the node.
pub(crate) const FIRST: &str = "/opt/kube/bin";

/// What the node shares with the cluster's state: `log/`, `hold/`, `loops/`, `images/`.
pub(crate) const SHARED: &str = "/run/cluster";

/// Settings of the whole machine that a kubelet wants to write, with what it wants: it finds them so.
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Builds the root of `node` and makes it this process's. Wants mount, pid and cgroup namespaces of its own.
pub(crate) fn enter(place: &Place, node: &Node, hierarchies: &[Hierarchy]) -> Result<(), Failure> {
    let base = PathBuf::from("/run").join(&node.name);
    fs::create_dir_all(&base)?;
    fresh(&base, "tmpfs", "mode=755")?;
    let root = base.join("root");
    for folder in ["root", "upper", "work", "files"] {
        fs::create_dir(base.join(folder))?;
    }
    let layers = format!(
        "lowerdir=/,upperdir={},workdir={}",
        base.join("upper").display(),
        base.join("work").display()
    );
    fresh(&root, "overlay", &layers)?;
    let within = |path: &str| root.join(path.trim_start_matches('/'));

    cover(&root, &place.state)?;
    bind(Path::new("/dev"), &within("/dev"))?;
    fresh(&within("/proc"), "proc", "")?;
    fresh(&within("/sys"), "sysfs", "")?;
    mount_own(hierarchies, &within("/sys/fs/cgroup"))?;
    for (folder, options) in [("/run", "mode=755"), ("/tmp", "mode=1777")] {
        fresh(&within(folder), "tmpfs", options)?;
    }
    show_sysctls(&base.join("files"), &within("/proc/sys"))?;

    let kept = place.node(&node.name);
    for (from, to) in [
        (kept.join("kubelet"), "/var/lib/kubelet".to_owned()),
        (kept.join("containerd"), "/var/lib/containerd".to_owned()),
        (kept.join("pods"), "/var/log/pods".to_owned()),
        (place.device_root(&node.name), DEVICES.to_owned()),
        (place.tools.clone(), TOOLS.to_owned()),
        (place.state.join("log"), format!("{SHARED}/log")),
        (place.state.join("hold"), format!("{SHARED}/hold")),
        (place.state.join("loops"), format!("{SHARED}/loops")),
        (place.state.join("images"), format!("{SHARED}/images")),
    ] {
        fs::create_dir_all(&from)?;
        fs::create_dir_all(within(&to))?;
        bind(&from, &within(&to))?;
    }
    fs::create_dir_all(within(FIRST))?;
    fs::write(within(PROGRAM), "")?;
    bind(&std::env::current_exe()?, &within(PROGRAM))?;
    symlink(PROGRAM, within(FIRST).join("losetup"))?;
    change_to(&root)?;
    name_yourself(&node.name)
}

/// The new root on top of the old one, then without it. All that is mounted later is seen by who asks for it, as on
/// a machine with systemd: pods may hand mounts to the node.
fn change_to(root: &Path) -> Result<(), Failure> {
    chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    change(Path::new("/"), MsFlags::MS_SHARED | MsFlags::MS_REC)
}

fn name_yourself(name: &str) -> Result<(), Failure> {
    sethostname(name)?;
    for (path, text) in [
        ("/etc/hostname", format!("{name}\n")),
        ("/etc/hosts", format!("127.0.0.1 localhost {name}\n")),
        // Nobody answers for names here; an empty file says so at once.
        ("/etc/resolv.conf", String::new()),
    ] {
        // The machine's may be a link into what the node does not have.
        let _ = fs::remove_file(path);
        fs::write(path, text)?;
    }
    Ok(())
}

/// Hides `path`, where the overlay shows it at all.
fn cover(root: &Path, path: &Path) -> Result<(), Failure> {
    let shown = root.join(path.strip_prefix("/")?);
    if shown.is_dir() { fresh(&shown, "tmpfs", "mode=000") } else { Ok(()) }
}

fn show_sysctls(files: &Path, sysctls: &Path) -> Result<(), Failure> {
    for (name, wanted) in SYSCTLS {
        let shown = sysctls.join(name);
        if shown.exists() {
            let file = files.join(name.replace('/', "-"));
            fs::write(&file, format!("{wanted}\n"))?;
            bind(&file, &shown)?;
        }
    }
    // A node that starts again has booted again.
    let boot = files.join("boot");
    fs::write(&boot, fs::read_to_string("/proc/sys/kernel/random/uuid")?)?;
    bind(&boot, &sysctls.join("kernel/random/boot_id"))
}

fn fresh(folder: &Path, kind: &str, options: &str) -> Result<(), Failure> {
    mount(Some(kind), folder, Some(kind), MsFlags::empty(), Some(options))
        .map_err(|error| format!("{kind} at {}: {error}", folder.display()).into())
}

fn bind(from: &Path, to: &Path) -> Result<(), Failure> {
    let none: Option<&str> = None;
    mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .map_err(|error| format!("{} at {}: {error}", from.display(), to.display()).into())
}

fn change(folder: &Path, flags: MsFlags) -> Result<(), Failure> {
    let none: Option<&str> = None;
    mount(none, folder, none, flags, none).map_err(|error| format!("{}: {error}", folder.display()).into())
}
