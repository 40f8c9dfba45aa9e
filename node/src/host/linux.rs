//! The real host: Linux. Thin on purpose; every line is a call to the kernel.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{Disk, Growth, Host, Mount, Open, Output, Tool, Usage, ioctl, mount, tool};

/// Linux below a device root.
#[derive(Debug)]
pub struct LinuxHost {
    root: PathBuf,
    search_path: OsString,
}

impl LinuxHost {
    /// `root` holds `sys` and `dev` ("/" in production); `search_path` is the `PATH` that tools are looked
    /// up in and get.
    pub fn new(root: impl Into<PathBuf>, search_path: impl Into<OsString>) -> Self {
        LinuxHost { root: root.into(), search_path: search_path.into() }
    }
}

/// `CAP_SYS_RESOURCE` is bit 24 of the effective set.
fn holds_sys_resource(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> 24 & 1 == 1)
}

impl Host for LinuxHost {
    fn root(&self) -> &Path {
        &self.root
    }

    fn mountinfo(&self) -> io::Result<String> {
        // A mount point may hold any bytes; a lossy copy of a foreign line harms nobody.
        Ok(String::from_utf8_lossy(&fs::read("/proc/self/mountinfo")?).into_owned())
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
    }

    fn has_sys_resource(&self) -> bool {
        fs::read_to_string("/proc/self/status").is_ok_and(|status| holds_sys_resource(&status))
    }

    fn open(&self, node: &Path, how: Open) -> io::Result<Disk> {
        Disk::open(node, how)
    }

    fn mount(&self, wanted: &Mount) -> io::Result<()> {
        mount::mount(wanted)
    }

    fn bind(&self, source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
        mount::bind(source, target, read_only)
    }

    fn unmount(&self, target: &Path) -> io::Result<()> {
        Ok(nix::mount::umount2(target, nix::mount::MntFlags::UMOUNT_NOFOLLOW)?)
    }

    fn sync(&self, mounted: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(mounted)?.as_fd())?)
    }

    fn run(&self, tool: &Tool) -> io::Result<Output> {
        tool::run(tool, &self.search_path)
    }

    fn usage(&self, mounted: &Path) -> io::Result<Usage> {
        let fs = rustix::fs::statvfs(mounted)?;
        Ok(Usage {
            bytes: fs.f_blocks.saturating_mul(fs.f_frsize),
            bytes_available: fs.f_bavail.saturating_mul(fs.f_frsize),
            bytes_used: fs.f_blocks.saturating_sub(fs.f_bfree).saturating_mul(fs.f_frsize),
            inodes: fs.f_files,
            inodes_available: fs.f_favail,
            inodes_used: fs.f_files.saturating_sub(fs.f_ffree),
        })
    }

    fn grow(&self, mounted: &Path, growth: Growth) -> io::Result<()> {
        let folder = File::open(mounted)?;
        match growth {
            Growth::ExtBlocks(blocks) => ioctl::ext4_resize(folder.as_fd(), blocks),
            Growth::XfsBytes(bytes) => ioctl::xfs_grow(folder.as_fd(), bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capability_is_read_from_the_effective_set() {
        let rows = [
            ("CapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n", false),
            ("CapEff:\t0000000001000000\n", true),
            ("CapEff:\tnothing\n", false),
            ("", false),
        ];
        for (status, held) in rows {
            assert_eq!(holds_sys_resource(status), held, "{status:?}");
        }
    }
}
