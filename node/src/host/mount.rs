//! Mounting by the kernel's newer calls (fsopen, fsconfig, fsmount, move_mount), which tell in words why
//! they refuse; by mount(2) where they are missing or forbidden.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::MsFlags;
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::{Mount, ioctl};

/// Options of the mount itself rather than of the file system: name, new call's bit, old call's bit.
const MOUNT_OPTIONS: [(&str, MountAttrFlags, MsFlags); 6] = [
    ("ro", MountAttrFlags::MOUNT_ATTR_RDONLY, MsFlags::MS_RDONLY),
    ("nosuid", MountAttrFlags::MOUNT_ATTR_NOSUID, MsFlags::MS_NOSUID),
    ("nodev", MountAttrFlags::MOUNT_ATTR_NODEV, MsFlags::MS_NODEV),
    ("noexec", MountAttrFlags::MOUNT_ATTR_NOEXEC, MsFlags::MS_NOEXEC),
    ("noatime", MountAttrFlags::MOUNT_ATTR_NOATIME, MsFlags::MS_NOATIME),
    ("nodiratime", MountAttrFlags::MOUNT_ATTR_NODIRATIME, MsFlags::MS_NODIRATIME),
];

/// Options that mount(2) takes as bits and the newer calls as words of the file system.
const SUPERBLOCK_OPTIONS: [(&str, MsFlags); 4] = [
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("lazytime", MsFlags::MS_LAZYTIME),
    ("strictatime", MsFlags::MS_STRICTATIME),
];

/// Options that say what is so anyway.
const IDLE_OPTIONS: [&str; 9] =
    ["defaults", "rw", "suid", "dev", "exec", "relatime", "async", "nofail", "_netdev"];

pub(super) fn mount(wanted: &Mount) -> io::Result<()> {
    match mount_in_steps(wanted) {
        Err(error) if is_missing(&error) => mount_at_once(wanted),
        outcome => outcome,
    }
}

/// What says "no such call here" rather than "this mount is refused".
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOSYS | nix::libc::EPERM))
}

fn mount_in_steps(wanted: &Mount) -> io::Result<()> {
    let context = fsopen(wanted.fs_type, FsOpenFlags::FSOPEN_CLOEXEC)?;
    configure(&context, wanted).map_err(|error| in_words(&context, error))?;
    let attributes = MOUNT_OPTIONS
        .iter()
        .filter(|(name, ..)| wanted.options.iter().any(|option| option == name))
        .fold(MountAttrFlags::empty(), |all, (_, bit, _)| all | *bit);
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| in_words(&context, error.into()))?;
    place(&mounted, &wanted.target)
}

fn configure(context: &OwnedFd, wanted: &Mount) -> io::Result<()> {
    fsconfig_set_string(context, "source", &wanted.source)?;
    for option in file_system_options(&wanted.options) {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(context, key, value)?,
            None => fsconfig_set_flag(context, option)?,
        }
    }
    Ok(fsconfig_create(context)?)
}

/// What the file system itself is told; "ro" is for both, the mount and the file system.
fn file_system_options(options: &[String]) -> impl Iterator<Item = &str> {
    options.iter().map(String::as_str).filter(|option| {
        *option == "ro"
            || *option != "strictatime"
                && !IDLE_OPTIONS.contains(option)
                && !MOUNT_OPTIONS.iter().any(|(name, ..)| name == option)
    })
}

/// Adds what the kernel wrote into the context: lines such as "e ext4: Bad value for 'commit'".
fn in_words(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut words = Vec::new();
    let mut line = [0_u8; 512];
    while let Ok(count) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(line.get(..count).unwrap_or_default()).trim().to_owned();
        words.push(text.strip_prefix("e ").unwrap_or(&text).to_owned());
        if count == 0 || words.len() == 16 {
            break;
        }
    }
    if words.is_empty() {
        error
    } else {
        io::Error::new(error.kind(), format!("{}: {error}", words.join("; ")))
    }
}

/// Puts a mount that is not in the tree yet at its place. The descriptor must be closed soon after: while
/// it is open the file system counts as busy.
fn place(mounted: &OwnedFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(mounted, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn mount_at_once(wanted: &Mount) -> io::Result<()> {
    let has = |name: &str| wanted.options.iter().any(|option| option == name);
    let mut flags = MsFlags::empty();
    for (name, _, bit) in MOUNT_OPTIONS {
        flags.set(bit, has(name));
    }
    for (name, bit) in SUPERBLOCK_OPTIONS {
        flags.set(bit, has(name));
    }
    let words: Vec<&str> = file_system_options(&wanted.options)
        .filter(|option| *option != "ro" && !SUPERBLOCK_OPTIONS.iter().any(|(name, _)| name == option))
        .collect();
    let words = words.join(",");
    Ok(nix::mount::mount(
        Some(&wanted.source),
        &wanted.target,
        Some(wanted.fs_type),
        flags,
        Some(words.as_str()),
    )?)
}

/// A read-only bind is made out of sight and then placed, so that no one can write through it and no crash
/// can leave it writable. Only where the kernel is too old for that is it made read-only in a second step.
pub(super) fn bind(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    match bind_in_steps(source, target, read_only) {
        Err(error) if is_missing(&error) => bind_and_remount(source, target, read_only),
        outcome => outcome,
    }
}

fn bind_in_steps(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = open_tree(CWD, source, flags)?;
    if read_only {
        ioctl::make_mount_read_only(copy.as_fd())?;
    }
    place(&copy, target)
}

fn bind_and_remount(source: &Path, target: &Path, read_only: bool) -> io::Result<()> {
    const NONE: Option<&str> = None;
    nix::mount::mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE)?;
    if read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        if let Err(error) = nix::mount::mount(NONE, target, NONE, flags, NONE) {
            nix::mount::umount2(target, nix::mount::MntFlags::UMOUNT_NOFOLLOW)?;
            return Err(error.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_told_only_what_concerns_it() {
        let options: Vec<String> =
            ["defaults", "ro", "noatime", "nouuid", "commit=30", "nosuid"].map(str::to_owned).into();
        let told: Vec<&str> = file_system_options(&options).collect();
        assert_eq!(told, ["ro", "nouuid", "commit=30"]);
    }
}
