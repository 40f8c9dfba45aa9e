//! The kernel's mount table, and the questions that the verbs ask it.
//!
//! A mount is known by its device number and its place, never by the text of a device name: names change
//! and are reused. Later lines lie on top of earlier ones.

use std::path::{Path, PathBuf};

use crate::host::DeviceNumber;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// The device of the file system.
    pub(crate) device: DeviceNumber,
    /// Which part of the file system: "/" unless it is a bind of something inside it.
    pub(crate) root: PathBuf,
    /// Where it is.
    pub(crate) target: PathBuf,
    /// Whether this mount, or the whole file system, refuses writes.
    pub(crate) read_only: bool,
    /// "ext4".
    pub(crate) fs_type: String,
}

/// The mount table at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts(Vec<MountPoint>);

impl Mounts {
    /// Reads the table; a line that makes no sense is left out.
    pub(crate) fn parse(text: &str) -> Self {
        Mounts(text.lines().filter_map(parse_line).collect())
    }

    /// What one sees at `target`, if a mount is exactly there.
    pub(crate) fn top(&self, target: &Path) -> Option<&MountPoint> {
        self.0.iter().rev().find(|mount| mount.target == target)
    }

    /// Every place where the file system on `device` is visible.
    pub(crate) fn of_device(&self, device: DeviceNumber) -> impl Iterator<Item = &MountPoint> {
        self.0.iter().filter(move |mount| mount.device == device)
    }

    /// Every mount that shows the device node at `node`: what is bound is a file whose path, inside its own
    /// file system, is the end of the node's ("/sdc" of "/dev/sdc"). A node that was removed since has
    /// "//deleted" behind its name. The number must still be compared: names are used again.
    pub(crate) fn of_node<'a>(&'a self, node: &'a Path) -> impl Iterator<Item = &'a MountPoint> {
        self.0.iter().filter(move |mount| {
            let root = mount.root.to_string_lossy();
            let root = root.strip_suffix("//deleted").unwrap_or(&root).trim_start_matches('/');
            !root.is_empty() && node.ends_with(root)
        })
    }
}

/// "36 35 8:32 / /mnt rw,noatime shared:1 - ext4 /dev/sdc rw": the fields before "-" vary in number.
fn parse_line(line: &str) -> Option<MountPoint> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let device = DeviceNumber::parse(before.next()?)?;
    let (root, target, options) = (before.next()?, before.next()?, before.next()?);
    let mut after = after.split(' ');
    let (fs_type, _source, super_options) = (after.next()?, after.next()?, after.next().unwrap_or(""));
    let read_only = [options, super_options].iter().any(|list| list.split(',').any(|option| option == "ro"));
    Some(MountPoint {
        device,
        root: unescape(root),
        target: unescape(target),
        read_only,
        fs_type: fs_type.to_owned(),
    })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 4).filter(|_| byte == b'\\').and_then(octal);
        plain.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    std::ffi::OsString::from_vec(plain).into()
}

fn octal(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.bytes().all(|digit| digit.is_ascii_digit()) { u8::from_str_radix(text, 8).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = r"22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:6 / /dev rw shared:2 - devtmpfs devtmpfs rw
40 22 8:32 / /stage/one rw,relatime shared:5 master:1 - ext4 /dev/sdc rw
41 22 8:32 / /pod/a\040b ro,relatime - ext4 /dev/sdc rw
42 22 8:48 / /stage/two rw - xfs /dev/sdd ro,nouuid
43 30 0:6 /sde /pod/block rw - devtmpfs devtmpfs rw
44 30 0:6 /sde//deleted /pod/old rw - devtmpfs devtmpfs rw
47 22 254:0 /vms/a/dev/sde /pod/emulated rw - ext4 /dev/root rw
45 22 8:64 / /stage/one rw - ext4 /dev/sdf rw
nonsense
46 22 x:y / /bad rw - ext4 /dev/sdg rw";

    #[test]
    fn the_table_answers() {
        let mounts = Mounts::parse(TABLE);
        let top = |path: &str| mounts.top(Path::new(path)).map(|mount| (mount.device.minor, mount.read_only));
        assert_eq!(top("/stage/one"), Some((64, false)), "the last line is on top");
        assert_eq!(top("/pod/a b"), Some((32, true)), "octal escapes, this mount read-only");
        assert_eq!(top("/stage/two"), Some((48, true)), "the file system read-only");
        assert_eq!(top("/stage"), None);
        assert_eq!(top("/bad"), None);
        let device = DeviceNumber { major: 8, minor: 32 };
        assert_eq!(mounts.of_device(device).count(), 2);
        let nodes = |node: &str| -> Vec<String> {
            mounts.of_node(Path::new(node)).map(|mount| mount.target.display().to_string()).collect()
        };
        assert_eq!(nodes("/dev/sde"), ["/pod/block", "/pod/old"]);
        assert_eq!(nodes("/tmp/vms/a/dev/sde"), ["/pod/block", "/pod/old", "/pod/emulated"]);
        assert_eq!(nodes("/tmp/vms/b/dev/sde").len(), 2, "another machine's node of the same name");
    }

    fn escape(path: &str) -> String {
        path.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012")
    }

    proptest! {
        #[test]
        fn any_path_comes_back(path in "/[a-z \\t\\n\\\\é0-9]{0,40}") {
            let line = format!("1 2 8:1 / {} rw - ext4 /dev/x rw", escape(&path));
            let mounts = Mounts::parse(&line);
            prop_assert!(mounts.top(Path::new(&path)).is_some());
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            Mounts::parse(&text);
        }
    }
}
