//! From a raw disk to one that may be mounted: look, decide, and if need be format, check and grow it.
//! Blocking; run for one volume at a time.
//!
//! The device is held with `O_EXCL` from the first read to the last write of our own, so no mount and no
//! tool of anyone's can change it in between. mkfs and fsck claim it themselves: for them the claim is let
//! go, while a plain descriptor stays open so that the kernel can't give the name to another disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use csi::Error;

use crate::device::Found;
use crate::host::{Disk, Host, Open, Output, Tool};
use crate::patience::is_held;
use crate::superblock::{self, Content, FileSystem, FsType};
use crate::verdict::{Verdict, decide};
use crate::{Counters, blank, marker};

/// How long `blkid` may look.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// What is to be prepared.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) volume_id: String,
    pub(crate) found: Found,
    /// The device node, `<root>/dev/<name>`.
    pub(crate) node: PathBuf,
    pub(crate) fs_type: FsType,
    pub(crate) read_only: bool,
}

/// `None`: something holds the device, perhaps a tool that a former life of the driver started. Look again.
type Prepared = Option<()>;

/// Prepares a disk.
pub(crate) fn prepare(host: &dyn Host, job: &Job, counters: &Counters) -> Result<Option<()>, Error> {
    let how = if job.read_only { Open::Read } else { Open::Exclusive };
    let disk = match host.open(&job.node, how) {
        Ok(disk) => disk,
        Err(error) if is_held(&error) => return held(host, job, counters),
        Err(error) => return Err(refuse(job, counters, &format!("it cannot be opened: {error}"))),
    };
    verify(job, &disk, counters)?;
    let (content, seen) = look(&disk, job, counters)?;
    let verdict = decide(&content, seen, job.fs_type, job.read_only, job.found.block.bytes);
    tracing::debug!(volume_id = job.volume_id, device = job.found.block.name, ?verdict, "looked at the disk");
    match verdict {
        Verdict::Refuse(why) => return Err(refuse(job, counters, &why)),
        Verdict::ProveAndFormat => {
            prove(host, &disk, job, counters)?;
            drop(disk);
            return format(host, job, counters, false);
        }
        Verdict::FormatAgain => {
            drop(disk);
            return format(host, job, counters, true);
        }
        Verdict::EraseAndUse(_) => erase_marker(&disk, job)?,
        Verdict::Use(_) => {}
    }
    let (Verdict::Use(fs) | Verdict::EraseAndUse(fs)) = verdict else { return Ok(Some(())) };
    drop(disk);
    if !job.read_only && fs.fs_type != FsType::Xfs {
        return check_and_grow(host, job);
    }
    Ok(Some(()))
}

/// The node must lead to the device that the search chose, in the size that it had there.
fn verify(job: &Job, disk: &Disk, counters: &Counters) -> Result<(), Error> {
    let number = disk.number().map_err(|error| unreadable(job, counters, 0, &error))?;
    let size = disk.size().map_err(|error| unreadable(job, counters, 0, &error))?;
    if number != job.found.block.number || size != job.found.block.bytes {
        let (wanted, bytes) = (job.found.block.number, job.found.block.bytes);
        return Err(Error::unavailable(format!(
            "device {} of volume {} changed while it was looked at: {number} with {size} bytes instead of \
             {wanted} with {bytes}; nothing was written, try again",
            job.node.display(),
            job.volume_id
        )));
    }
    Ok(())
}

/// Reads the front and the marker's place; both must be readable, or nothing is known.
fn look(disk: &Disk, job: &Job, counters: &Counters) -> Result<(Content, marker::Seen), Error> {
    let size = job.found.block.bytes;
    let read = |offset: u64, length: usize| {
        let mut bytes = vec![0; length];
        disk.read_medium(offset, &mut bytes)
            .map(|()| bytes)
            .map_err(|error| unreadable(job, counters, offset, &error))
    };
    let front = read(0, usize::try_from(size).unwrap_or(usize::MAX).min(superblock::FRONT))?;
    let seen = if size >= marker::PLACE + marker::SIZE as u64 {
        marker::read(&read(marker::PLACE, marker::SIZE)?, &job.volume_id)
    } else {
        marker::Seen::None
    };
    Ok((superblock::read(&front), seen))
}

/// The proof, and blkid's word on top: its "nothing" alone proves nothing, its "something" is a veto.
fn prove(host: &dyn Host, disk: &Disk, job: &Job, counters: &Counters) -> Result<(), Error> {
    let size = job.found.block.bytes;
    if size < marker::PLACE + marker::SIZE as u64 {
        return Err(refuse(job, counters, &format!("{size} bytes are too small for a disk of Azure")));
    }
    blank::prove(size, |offset, bytes| disk.read_medium(offset, bytes)).map_err(|doubt| match doubt {
        blank::Doubt::Bytes(offset) => refuse(
            job,
            counters,
            &format!("it is not blank: the byte at {offset} is not zero, and it holds no known file system"),
        ),
        blank::Doubt::Unread(offset, error) => unreadable(job, counters, offset, &error),
    })?;
    let arguments = vec!["-p".to_owned(), job.node.display().to_string()];
    let output = run(host, job, "blkid", arguments, Some(PROBE_PATIENCE))?;
    if output.code != Some(2) || !output.text.trim().is_empty() {
        return Err(refuse(job, counters, &format!("blkid does not call it empty ({})", output.describe())));
    }
    Ok(())
}

/// Marker, mkfs, check, no marker; see [`marker`] for why in this order.
fn format(host: &dyn Host, job: &Job, counters: &Counters, again: bool) -> Result<Prepared, Error> {
    let node = job.node.display().to_string();
    let (name, arguments) = mkfs(job.fs_type, &node, again);
    {
        let disk = match host.open(&job.node, Open::Exclusive) {
            Ok(disk) => disk,
            Err(error) if is_held(&error) => return Ok(None),
            Err(error) => return Err(lost(job, "opened for formatting", &error)),
        };
        verify(job, &disk, counters)?;
        disk.write_through(marker::PLACE, &marker::block(&job.volume_id, job.fs_type))
            .map_err(|error| lost(job, "marked before formatting", &error))?;
    }
    let pinned =
        host.open(&job.node, Open::Read).map_err(|error| lost(job, "opened for formatting", &error))?;
    verify(job, &pinned, counters)?;
    counters.formats.fetch_add(1, Ordering::Relaxed);
    tracing::info!(volume_id = job.volume_id, device = node, tool = name, again, "formatting");
    let output = run(host, job, name, arguments, None)?;
    if output.code != Some(0) {
        return Err(Error::unavailable(format!(
            "{name} {node} for volume {} failed ({}); the next attempt formats it again",
            job.volume_id,
            output.describe()
        )));
    }
    drop(pinned);
    let disk = match host.open(&job.node, Open::Exclusive) {
        Ok(disk) => disk,
        Err(error) if is_held(&error) => return Ok(None),
        Err(error) => return Err(lost(job, "opened after formatting", &error)),
    };
    disk.flush().map_err(|error| lost(job, "flushed after formatting", &error))?;
    let (content, _) = look(&disk, job, counters)?;
    let made = matches!(content, Content::FileSystem(fs)
        if fs.fs_type == job.fs_type && fs.life != superblock::Life::Unfinished);
    if !made {
        return Err(Error::internal(format!(
            "{name} {node} reported success, but the disk shows {content:?}"
        )));
    }
    erase_marker(&disk, job)?;
    Ok(Some(()))
}

/// No discard: a new disk has nothing to discard, and it costs time per GiB. No force, but where our own
/// marker proves that what is there is a half-made file system of ours (`mkfs.ext4` does not ask without a
/// terminal). ext3 lays its journal from the disk's beginning on: a bigger one would cover the marker. The path
/// begins with "/", so no tool takes it for an option.
fn mkfs(fs_type: FsType, node: &str, again: bool) -> (&'static str, Vec<String>) {
    let (name, mut arguments) = match fs_type {
        FsType::Ext4 => ("mkfs.ext4", vec!["-q", "-E", "nodiscard", "-m", "0"]),
        FsType::Ext3 => ("mkfs.ext3", vec!["-q", "-E", "nodiscard", "-m", "0", "-J", "size=64"]),
        FsType::Ext2 => ("mkfs.ext2", vec!["-q", "-E", "nodiscard"]),
        FsType::Xfs => ("mkfs.xfs", vec!["-q", "-K"]),
    };
    if again && fs_type == FsType::Xfs {
        arguments.push("-f");
    }
    arguments.push(node);
    (name, arguments.into_iter().map(str::to_owned).collect())
}

/// Erases the marker if it is there, so that a raw volume's or a file system's bytes are never taken for an
/// interrupted format.
pub(crate) fn erase_marker(disk: &Disk, job: &Job) -> Result<(), Error> {
    disk.write_through(marker::PLACE, &[0; marker::SIZE])
        .map_err(|error| lost(job, "freed of its marker", &error))
}

/// `EBUSY`: a mount (perhaps in another mount namespace) or a tool holds the device. If it already carries
/// the wanted file system and no format is under way, the kernel may mount the same superblock again, and
/// decides that itself; there is nothing to check or to grow while it is in use.
fn held(host: &dyn Host, job: &Job, counters: &Counters) -> Result<Prepared, Error> {
    let disk = host.open(&job.node, Open::Read).map_err(|error| lost(job, "opened", &error))?;
    verify(job, &disk, counters)?;
    let (content, seen) = look(&disk, job, counters)?;
    match decide(&content, seen, job.fs_type, false, job.found.block.bytes) {
        Verdict::Use(fs) if fs.life == superblock::Life::InUse => Ok(Some(())),
        Verdict::Refuse(why) if seen != marker::Seen::Ours => Err(refuse(job, counters, &why)),
        _ => Ok(None),
    }
}

/// What the Go driver does at each stage: repair what can be repaired without a question. Then growth, for a
/// process that may not grow it while it is mounted; who may, does it after the mount, by the journal.
fn check_and_grow(host: &dyn Host, job: &Job) -> Result<Prepared, Error> {
    let node = job.node.display().to_string();
    if check(host, job, &["-p"])?.is_none() {
        return Ok(None);
    }
    let grows_later = host.has_sys_resource();
    let fs = read_ext(host, job)?;
    if grows_later || !fs.is_some_and(|fs| fs.is_smaller_than(job.found.block.bytes)) {
        return Ok(Some(()));
    }
    tracing::info!(volume_id = job.volume_id, device = node, "growing the file system before the mount");
    if check(host, job, &["-f", "-p"])?.is_none() {
        return Ok(None);
    }
    let output = run(host, job, "resize2fs", vec![node.clone()], None)?;
    if output.code != Some(0) {
        let said = output.describe();
        return Err(Error::unavailable(format!(
            "resize2fs {node} for volume {} failed ({said})",
            job.volume_id
        )));
    }
    Ok(Some(()))
}

fn read_ext(host: &dyn Host, job: &Job) -> Result<Option<FileSystem>, Error> {
    let disk = host.open(&job.node, Open::Read).map_err(|error| lost(job, "read", &error))?;
    let mut block = vec![0; 1024];
    disk.read_cached(superblock::EXT_AT as u64, &mut block).map_err(|error| lost(job, "read", &error))?;
    Ok(superblock::ext_superblock(&block))
}

/// e2fsck's exit code is a set of bits: 1 and 2 repaired, 4 left errors, 8 and more could not work.
fn check(host: &dyn Host, job: &Job, flags: &[&str]) -> Result<Prepared, Error> {
    let node = job.node.display().to_string();
    let arguments = flags.iter().map(|flag| (*flag).to_owned()).chain([node.clone()]).collect();
    let output = run(host, job, "e2fsck", arguments, None)?;
    match output.code {
        Some(0) => Ok(Some(())),
        Some(1..=3) => {
            tracing::warn!(
                volume_id = job.volume_id,
                device = node,
                said = output.text,
                "the file system was repaired"
            );
            Ok(Some(()))
        }
        Some(code) if code & 4 != 0 => Err(Error::precondition(format!(
            "volume {}: {} on {node} is damaged beyond automatic repair ({}); run e2fsck by hand",
            job.volume_id,
            job.fs_type.name(),
            output.describe()
        ))),
        Some(8) if is_claimed(host, job) => Ok(None),
        _ => Err(Error::unavailable(format!(
            "e2fsck {node} for volume {} failed ({})",
            job.volume_id,
            output.describe()
        ))),
    }
}

fn is_claimed(host: &dyn Host, job: &Job) -> bool {
    host.open(&job.node, Open::Exclusive).is_err_and(|error| is_held(&error))
}

fn run(
    host: &dyn Host,
    job: &Job,
    name: &'static str,
    arguments: Vec<String>,
    patience: Option<Duration>,
) -> Result<Output, Error> {
    host.run(&Tool { name, arguments, patience }).map_err(|error| {
        Error::unavailable(format!("{name} for volume {} could not run: {error}", job.volume_id))
    })
}

/// A refusal to touch a disk: counted, and told with the way out.
fn refuse(job: &Job, counters: &Counters, why: &str) -> Error {
    counters.refusals.fetch_add(1, Ordering::Relaxed);
    let node = job.node.display();
    tracing::warn!(volume_id = job.volume_id, device = %node, why, "refused to touch the disk");
    Error::precondition(format!(
        "volume {} is not mounted and not formatted: {why} ({node}); its bytes were left as they are. If they \
         are not needed, erase the disk's beginning by hand",
        job.volume_id
    ))
}

fn unreadable(job: &Job, counters: &Counters, offset: u64, error: &io::Error) -> Error {
    refuse(job, counters, &format!("it cannot be read at byte {offset}: {error}"))
}

fn lost(job: &Job, what: &str, error: &io::Error) -> Error {
    Error::unavailable(format!(
        "volume {}: {} could not be {what}: {error}",
        job.volume_id,
        job.node.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn force_is_only_used_on_our_own_ruins() {
        for fs_type in FsType::ALL {
            let (_, first) = mkfs(fs_type, "/dev/sdc", false);
            assert!(!first.iter().any(|argument| matches!(argument.as_str(), "-f" | "-F")), "{first:?}");
            assert_eq!(first.last().map(String::as_str), Some("/dev/sdc"));
        }
        assert_eq!(mkfs(FsType::Xfs, "/dev/sdc", true).1, ["-q", "-K", "-f", "/dev/sdc"]);
    }

    /// The claim of [`marker`] about its place, for the sizes that Azure's disks have.
    #[test]
    fn mkfs_leaves_the_marker_alone_and_does_not_miss_its_block() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let path = image.to_str().unwrap();
        // ext2 and ext3 write out every table: seconds on big disks, for nothing new.
        let sizes =
            |fs| if matches!(fs, FsType::Ext2 | FsType::Ext3) { &[1, 32][..] } else { &[1, 5, 32, 1024] };
        for (fs_type, gib) in
            FsType::ALL.into_iter().flat_map(|fs| sizes(fs).iter().map(move |gib| (fs, gib)))
        {
            let file =
                std::fs::File::options().create(true).truncate(true).read(true).write(true).open(&image);
            let file = file.unwrap();
            file.set_len(gib << 30).unwrap();
            let written = marker::block("volume", fs_type);
            file.write_all_at(&written, marker::PLACE).unwrap();
            let run = |name: &str, arguments: &[String]| {
                std::process::Command::new(name).args(arguments).output().map(|output| output.status.code())
            };
            let (tool, mut arguments) = mkfs(fs_type, path, true);
            let Ok(code) = run(tool, &arguments) else {
                println!("skipped: no {tool}");
                continue;
            };
            assert_eq!(code, Some(0), "{tool} {gib} GiB");
            let mut there = vec![0; marker::SIZE];
            file.read_exact_at(&mut there, marker::PLACE).unwrap();
            assert!(there == written, "{tool} wrote over the marker of a disk of {gib} GiB");
            file.write_all_at(&[0; marker::SIZE], marker::PLACE).unwrap();
            let check = if fs_type == FsType::Xfs { "xfs_repair" } else { "e2fsck" };
            arguments = [if fs_type == FsType::Xfs { "-n" } else { "-fn" }, path].map(str::to_owned).into();
            assert_eq!(run(check, &arguments).unwrap(), Some(0), "{check} of {gib} GiB after {tool}");
        }
    }
}
