//! Why the suite may skip a case itself. It looks at the driver's definition and at the cluster and says so in words;
//! words that are not here fail the run, so that nothing is skipped in silence.

/// (words of the suite, what is behind them)
const KNOWN: &[(&str, &str)] = &[
    (
        "does not support volume type \"CSIInlineVolume\"",
        "a disk is a volume of its own, not a part of a pod",
    ),
    (
        "does not have any InlineVolumeAttributes defined",
        "a disk is a volume of its own, not a part of a pod",
    ),
    ("does not support volume type \"PreprovisionedPV\"", "the suite can't make disks of another's making"),
    ("does not define PersistentVolumeSource", "the suite can't make disks of another's making"),
    ("doesn't support PreprovisionedPV", "the suite can't make disks of another's making"),
    (
        "does not support volume type \"InlineVolume\"",
        "inline volumes were for the drivers inside of Kubernetes",
    ),
    ("does not define volumeSource", "inline volumes were for the drivers inside of Kubernetes"),
    ("doesn't support InlineVolume", "inline volumes were for the drivers inside of Kubernetes"),
    ("doesn't support ntfs", "Windows only"),
    ("does not support \"ntfs\" fs type", "Windows only"),
    ("does not support \"ext3\" fs type", "ext3 is read and mounted, not offered"),
    ("doesn't support ext3", "ext3 is read and mounted, not offered"),
    ("does not support ROX access mode", "a disk is attached to one node"),
    ("doesn't support RWX", "a disk is attached to one node"),
    ("does not support multiple PVs with the same volumeHandle", "a disk is one volume"),
    ("doesn't publish storage capacity", "nobody asks the provisioner to publish it: Azure has no end"),
    ("does not support group snapshots", "Azure has no snapshot of several disks at one moment"),
    ("does not support groupsnapshotting", "Azure has no snapshot of several disks at one moment"),
    (
        "doesn't implement VolumeGroupSnapshottableTestDriver",
        "Azure has no snapshot of several disks at one moment",
    ),
    (
        "doesn't specify volume group snapshot stress test options",
        "Azure has no snapshot of several disks at one moment",
    ),
    ("does not support snapshot metadata", "not offered by the driver"),
    ("does not support SELinuxMount", "no SELinux on these nodes"),
    ("Not enough topologies in cluster", "all nodes are in one zone"),
    ("VolumeBindingMode immediate is not compatible", "the set that binds at once runs it"),
    ("WaitForFirstConsumer binding mode currently not supported", "the set that binds at once runs it"),
    (
        "Multiple generic ephemeral volumes with immediate binding",
        "the suite never runs it: zones could differ",
    ),
    ("Filesystem volume case should be covered by block volume case", "the suite has it with a raw volume"),
    ("raw block volumes cannot be read-only", "makes no sense"),
    ("is not ephemeral", "the suite has it for ephemeral volumes"),
    ("is ephemeral", "the suite has it for volumes that stay"),
    (
        "does not support snapshots - skipping",
        "the suite has it with file systems by name and with raw volumes",
    ),
    ("skipping multiple PV mount test for block mode", "makes no sense with a raw volume"),
    ("Test is not valid for Block volume mode", "makes no sense with a raw volume"),
    ("Test for Block volumes is not implemented", "the suite has it for file systems only"),
    ("Block volumes do not support mount options", "makes no sense with a raw volume"),
    ("does not support non-filesystem volume mode", "makes no sense with a raw volume"),
    ("This test doesn't work with pre-provisioned volume", "not for volumes of another's making"),
    ("does not support Generic", "the suite does not have it for ephemeral volumes"),
    ("Suite \"volumeLimits\" does not support", "the suite does not have it for ephemeral volumes"),
    ("test for expansion", "the suite does not have it for this kind of volume"),
];

/// What is behind the `message` of a case that skipped itself.
pub fn reason(message: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(words, _)| message.contains(words)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_suite_are_explained() {
        let rows = [
            ("Driver \"d\" does not support volume type \"CSIInlineVolume\" - skipping", true),
            ("Driver d doesn't publish storage capacity -- skipping", true),
            ("Driver \"d\" does not support FsGroup - skipping", false),
            ("", false),
        ];
        for (message, known) in rows {
            assert_eq!(reason(message).is_some(), known, "{message}");
        }
    }

    #[test]
    fn no_words_are_explained_twice() {
        for (at, (words, _)) in KNOWN.iter().enumerate() {
            let twice = KNOWN[at + 1..].iter().find(|(later, _)| later.contains(words));
            assert_eq!(twice, None, "{words} already explains it");
        }
    }
}
