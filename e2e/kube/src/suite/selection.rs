//! Which cases do not run, and why: a table, so that each has its reason.
//!
//! A row is parts of a name, in their order. It becomes a regular expression for ginkgo, and the same row is matched
//! here against the names, so that what was left out can be listed; a row that matches nothing has outlived its case
//! and fails the run.

use super::definition::FileSystem;

/// Cases that are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The set; none for both.
    pub set: Option<FileSystem>,
    /// What the name contains, in this order.
    pub parts: &'static [&'static str],
    /// Why, for the reader of the report.
    pub reason: &'static str,
}

const NEEDS_SSH: &str =
    "stops kubelets through ssh to the node, which has none; the failure tests kill kubelets themselves";
const NEEDS_POPULATOR: &str = "tests a populator from an image of another project, not the driver";
const SAME_IN_BOTH: &str = "no volume of the default file system: the ext4 set runs the same case";
const NOT_OF_FILE_SYSTEM: &str = "not a matter of the file system: the ext4 set runs it";
const ONLINE_EXT4: &str =
    "this kernel lets nobody grow a mounted ext4 (no CAP_SYS_RESOURCE); the xfs set runs the case";

const BEFORE_BOUND: &str =
    "changes a claim that may not be bound yet, which Kubernetes refuses; the set that binds at once runs it";

const ALWAYS: &[Exclusion] = &[
    Exclusion { set: None, parts: &["[Disruptive]"], reason: NEEDS_SSH },
    Exclusion { set: None, parts: &["any volume data source"], reason: NEEDS_POPULATOR },
    xfs(&["(block volmode)] provisioning"], SAME_IN_BOTH),
    xfs(&["(block volmode)] volume-expand"], SAME_IN_BOTH),
    xfs(&["(block volmode)] volumeMode"], SAME_IN_BOTH),
    xfs(&["(block volmode)] volumes "], SAME_IN_BOTH),
    xfs(&["(block volmode)] multiVolume"], SAME_IN_BOTH),
    xfs(&["(block volmode)(allowExpansion)"], SAME_IN_BOTH),
    xfs(&["(block volmode) (late-binding)"], SAME_IN_BOTH),
    xfs(&["PV (ext3)"], SAME_IN_BOTH),
    xfs(&["PV (ext4)"], SAME_IN_BOTH),
    xfs(&["PV (xfs)"], SAME_IN_BOTH),
    xfs(&["(ntfs)"], NOT_OF_FILE_SYSTEM),
    xfs(&["Pre-provisioned"], NOT_OF_FILE_SYSTEM),
    xfs(&["Inline-volume"], NOT_OF_FILE_SYSTEM),
    xfs(&["CSI Ephemeral-volume"], NOT_OF_FILE_SYSTEM),
    xfs(&["volumegroupsnapshot"], NOT_OF_FILE_SYSTEM),
    xfs(&["SnapshotMetadata"], NOT_OF_FILE_SYSTEM),
    xfs(&["volume-modify "], NOT_OF_FILE_SYSTEM),
    xfs(&["SELinux"], NOT_OF_FILE_SYSTEM),
    xfs(&["topology"], NOT_OF_FILE_SYSTEM),
    xfs(&["] capacity "], NOT_OF_FILE_SYSTEM),
    xfs(&["volumeLimits"], NOT_OF_FILE_SYSTEM),
    xfs(&["volume-stress"], NOT_OF_FILE_SYSTEM),
    xfs(&["snapshottable-stress"], NOT_OF_FILE_SYSTEM),
    ext4(&["volume-modify-stress", "should modify"], BEFORE_BOUND),
];

/// Grow a mounted file system.
const GROWS_MOUNTED: &[Exclusion] = &[
    ext4(&["(default fs)(allowExpansion)", "while pod is using it"], ONLINE_EXT4),
    ext4(&["Generic Ephemeral-volume (default fs)", "should support expansion of pvcs"], ONLINE_EXT4),
];

const fn xfs(parts: &'static [&'static str], reason: &'static str) -> Exclusion {
    Exclusion { set: Some(FileSystem::Xfs), parts, reason }
}

const fn ext4(parts: &'static [&'static str], reason: &'static str) -> Exclusion {
    Exclusion { set: Some(FileSystem::Ext4), parts, reason }
}

/// What is left out on this machine.
pub fn exclusions(grows_mounted_ext4: bool) -> Vec<Exclusion> {
    let grows_mounted: &[Exclusion] = if grows_mounted_ext4 { &[] } else { GROWS_MOUNTED };
    [ALWAYS, grows_mounted].concat()
}

impl Exclusion {
    /// The parts with the set's tag before them.
    fn row(&self) -> impl Iterator<Item = &'static str> {
        self.set.map(FileSystem::tag).into_iter().chain(self.parts.iter().copied())
    }

    /// Whether it leaves out the case called `name`.
    pub fn covers(&self, name: &str) -> bool {
        let mut rest = name;
        self.row().all(|part| match rest.split_once(part) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }

    /// The same as a regular expression.
    fn pattern(&self) -> String {
        self.row().map(escape).collect::<Vec<_>>().join(".*")
    }
}

/// What ginkgo skips, as one regular expression.
pub fn skip_pattern(exclusions: &[Exclusion]) -> String {
    exclusions.iter().map(Exclusion::pattern).collect::<Vec<_>>().join("|")
}

/// The rows that leave out no case of `names` any more.
pub fn outlived<'a>(exclusions: &'a [Exclusion], names: &[String]) -> Vec<&'a Exclusion> {
    exclusions.iter().filter(|row| !names.iter().any(|name| row.covers(name))).collect()
}

fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len() + 8);
    for letter in part.chars() {
        if "\\.+*?()|[]{}^$".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Whether a mounted ext4 can grow here, told by the `/proc/self/status` of a process: the kernel asks for
/// CAP_SYS_RESOURCE, and what is not in the bounding set no container can have.
pub fn grows_mounted_ext4(status: &str) -> Option<bool> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    let bounding = u64::from_str_radix(bounding.trim(), 16).ok()?;
    Some(bounding >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_covers_the_names_with_its_parts_in_order() {
        let row =
            Exclusion { set: Some(FileSystem::Xfs), parts: &["(default fs)", "is using it"], reason: "" };
        let tag = FileSystem::Xfs.tag();
        let rows = [
            (format!("{tag} (default fs)(allow) while pod is using it"), true),
            (format!("{tag} while pod is using it (default fs)"), false),
            (format!("{tag} (default fs) offline"), false),
            (format!("{} (default fs) is using it", FileSystem::Ext4.tag()), false),
        ];
        for (name, wanted) in rows {
            assert_eq!(row.covers(&name), wanted, "{name}");
        }
    }

    #[test]
    fn a_pattern_says_brackets_literally() {
        let rows = [
            Exclusion { set: None, parts: &["[Disruptive]"], reason: "" },
            Exclusion { set: None, parts: &["(a)", "b"], reason: "" },
        ];
        assert_eq!(skip_pattern(&rows), r"\[Disruptive\]|\(a\).*b");
    }

    #[test]
    fn a_row_without_a_case_is_found() {
        let names = ["Disruptive".to_owned(), "a [Disruptive] case".to_owned()];
        let gone = Exclusion { set: None, parts: &["gone"], reason: "" };
        let live = Exclusion { set: None, parts: &["[Disruptive]"], reason: "" };
        assert_eq!(outlived(&[live, gone], &names), [&gone]);
    }

    #[test]
    fn growth_of_a_mounted_ext4_is_asked_of_the_kernel() {
        let rows = [
            ("Name:\tx\nCapBnd:\t000001ffffffffff\n", Some(true)),
            ("CapBnd:\t000001fffeffffff\n", Some(false)),
            ("CapEff:\t000001ffffffffff\n", None),
            ("CapBnd:\tmany\n", None),
        ];
        for (status, wanted) in rows {
            assert_eq!(grows_mounted_ext4(status), wanted, "{status}");
        }
        assert_eq!(exclusions(false).len(), exclusions(true).len() + GROWS_MOUNTED.len());
    }
}
