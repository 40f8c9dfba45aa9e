//! May this disk be mounted, must it be formatted, or must it be left alone? Pure.
//!
//! The order of values: a byte that might be somebody's is never written over; a disk that can be proven to
//! hold nothing is never refused for ever. Everything that is not listed as harmless is refused.

use crate::marker::Seen;
use crate::superblock::{Content, FileSystem, FsType, Life};

/// What may be done with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds the wanted file system.
    Use(FileSystem),
    /// It holds the wanted file system, and a marker that must go before anyone mounts it: while it stays, a
    /// later damage of the superblock would pass for an interrupted format.
    EraseAndUse(FileSystem),
    /// Nothing was found yet; format it if, and only if, [`crate::blank`] proves it blank.
    ProveAndFormat,
    /// An interrupted format of this volume: what is there was never mounted.
    FormatAgain,
    /// Leave it alone. Why.
    Refuse(String),
}

/// Decides; `read_only` means that nothing may be written, so nothing can be formatted.
pub(crate) fn decide(
    content: &Content,
    marker: Seen,
    wanted: FsType,
    read_only: bool,
    device_bytes: u64,
) -> Verdict {
    let name = wanted.name();
    if marker == Seen::Strange {
        let why =
            "it carries a format marker of another volume: it is a copy of a disk that was being formatted";
        return Verdict::Refuse(why.to_owned());
    }
    let ours = marker == Seen::Ours;
    let verdict = match content {
        Content::Foreign(what) => Verdict::Refuse(format!("it holds {what}, not {name}")),
        Content::FileSystem(fs) if ours && fs.life != Life::InUse => Verdict::FormatAgain,
        Content::FileSystem(fs) if fs.life == Life::Unfinished => Verdict::Refuse(format!(
            "another program began to make {} on it and did not finish",
            fs.fs_type.name()
        )),
        Content::FileSystem(fs) if fs.fs_type != wanted => {
            Verdict::Refuse(format!("it holds {}, but {name} is asked for", fs.fs_type.name()))
        }
        Content::FileSystem(fs) if fs.bytes > device_bytes => Verdict::Refuse(format!(
            "its {name} of {} bytes is larger than the disk of {device_bytes}: it is another disk, or a part of one",
            fs.bytes
        )),
        Content::FileSystem(fs) if ours => Verdict::EraseAndUse(*fs),
        Content::FileSystem(fs) => Verdict::Use(*fs),
        Content::Unknown | Content::Zero if ours => Verdict::FormatAgain,
        Content::Unknown => Verdict::Refuse("it holds bytes that are no known file system".to_owned()),
        Content::Zero => Verdict::ProveAndFormat,
    };
    match verdict {
        Verdict::ProveAndFormat | Verdict::FormatAgain | Verdict::EraseAndUse(_) if read_only => {
            Verdict::Refuse(
                "it is not formatted (or not completely), and the volume is asked for read-only".to_owned(),
            )
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fs(fs_type: FsType, life: Life) -> Content {
        Content::FileSystem(FileSystem {
            fs_type,
            bytes: 1 << 30,
            block_bytes: 4096,
            slack_bytes: 4096,
            uncounted_bytes: 0,
            life,
        })
    }

    #[test]
    fn the_whole_table() {
        use FsType::{Ext4, Xfs};
        use Life::{InUse, NeverMounted, Unfinished};
        let foreign = || Content::Foreign("LUKS".to_owned());
        let rows = [
            // content, marker, read-only → wanted is ext4
            (Content::Zero, Seen::None, false, "prove"),
            (Content::Zero, Seen::None, true, "refuse"),
            (Content::Zero, Seen::Ours, false, "again"),
            (Content::Zero, Seen::Ours, true, "refuse"),
            (Content::Zero, Seen::Strange, false, "refuse"),
            (Content::Unknown, Seen::None, false, "refuse"),
            (Content::Unknown, Seen::Ours, false, "again"),
            (Content::Unknown, Seen::Strange, false, "refuse"),
            (foreign(), Seen::None, false, "refuse"),
            (foreign(), Seen::Ours, false, "refuse"),
            (fs(Ext4, InUse), Seen::None, false, "use"),
            (fs(Ext4, InUse), Seen::None, true, "use"),
            (fs(Ext4, InUse), Seen::Ours, false, "erase"),
            (fs(Ext4, InUse), Seen::Ours, true, "refuse"),
            (fs(Ext4, InUse), Seen::Strange, false, "refuse"),
            (fs(Ext4, NeverMounted), Seen::None, false, "use"),
            (fs(Ext4, NeverMounted), Seen::Ours, false, "again"),
            (fs(Xfs, InUse), Seen::None, false, "refuse"),
            (fs(Xfs, InUse), Seen::Ours, false, "refuse"),
            (fs(Xfs, Unfinished), Seen::None, false, "refuse"),
            (fs(Xfs, Unfinished), Seen::Ours, false, "again"),
        ];
        for (content, marker, read_only, wanted) in rows {
            let word = match decide(&content, marker, Ext4, read_only, 1 << 30) {
                Verdict::Use(_) => "use",
                Verdict::EraseAndUse(_) => "erase",
                Verdict::ProveAndFormat => "prove",
                Verdict::FormatAgain => "again",
                Verdict::Refuse(_) => "refuse",
            };
            assert_eq!(word, wanted, "{content:?}, marker {marker:?}, read-only {read_only}");
        }
    }

    #[test]
    fn a_file_system_that_is_cut_off_is_refused() {
        let content = fs(FsType::Ext4, Life::InUse);
        for (device_bytes, is_used) in [(1 << 30, true), ((1 << 30) - 1, false), (2 << 30, true)] {
            let verdict = decide(&content, Seen::None, FsType::Ext4, false, device_bytes);
            assert_eq!(matches!(verdict, Verdict::Use(_)), is_used, "{device_bytes}");
        }
    }
}
