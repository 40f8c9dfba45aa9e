//! What the first MiB of a disk says it is. Pure: bytes in, a name out.
//!
//! The two families that we mount are read far enough to know their size and whether they were ever in use;
//! everything else is only named, so that a refusal can say what is there. Not finding a name proves
//! nothing: `blank` decides that by zeros.

/// Which of the file systems that the driver can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsType {
    /// The default.
    Ext4,
    /// With a journal, without extents.
    Ext3,
    /// Without a journal.
    Ext2,
    /// XFS.
    Xfs,
}

impl FsType {
    /// All of them, the default first.
    pub const ALL: [FsType; 4] = [FsType::Ext4, FsType::Ext3, FsType::Ext2, FsType::Xfs];

    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            FsType::Ext4 => "ext4",
            FsType::Ext3 => "ext3",
            FsType::Ext2 => "ext2",
            FsType::Xfs => "xfs",
        }
    }

    /// The one with this name; nothing said means ext4.
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(FsType::Ext4);
        }
        FsType::ALL.into_iter().find(|fs| fs.name().eq_ignore_ascii_case(name))
    }
}

/// A file system of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Which.
    pub(crate) fs_type: FsType,
    /// How much of the device it covers.
    pub(crate) bytes: u64,
    /// Its block size in bytes.
    pub(crate) block_bytes: u64,
    /// A gap at the end of the device that it may leave by its own rules: growth would not take it.
    pub(crate) slack_bytes: u64,
    /// What statfs does not count: the inner log of xfs.
    pub(crate) uncounted_bytes: u64,
    /// How far its life has come.
    pub(crate) life: Life,
}

impl FileSystem {
    /// Whether there is room behind it that it could take.
    pub(crate) fn is_smaller_than(&self, device_bytes: u64) -> bool {
        device_bytes.saturating_sub(self.bytes) >= self.slack_bytes
    }
}

/// How far the life of a file system has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// mkfs says of itself that it is not done (xfs).
    Unfinished,
    /// Complete, and certainly never mounted writable (ext).
    NeverMounted,
    /// Complete; it may hold data.
    InUse,
}

/// What the beginning of a disk looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One of ours and no second claim.
    FileSystem(FileSystem),
    /// Something else, or several things; their names.
    Foreign(String),
    /// Bytes that nobody here knows.
    Unknown,
    /// Only zeros so far.
    Zero,
}

/// How much of the beginning [`read`] wants.
pub(crate) const FRONT: usize = 1 << 20;

/// (name, offset, magic): what others leave in the first MiB. Not all of it: see the module.
const FOREIGN: [(&str, usize, &[u8]); 31] = [
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("LUKS (second header)", 0x4000, b"SKUL\xba\xbe"),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("NTFS", 3, b"NTFS    "),
    ("exFAT", 3, b"EXFAT   "),
    ("FAT", 54, b"FAT1"),
    ("FAT", 82, b"FAT32"),
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    ("bcachefs or bcache", 0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ("bcachefs", 0x1018, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
    ("f2fs", 0x400, b"\x10\x20\xf5\xf2"),
    ("LVM2 physical volume", 0, b"LABELONE"),
    ("LVM2 physical volume", 0x200, b"LABELONE"),
    ("LVM2 physical volume", 0x400, b"LABELONE"),
    ("LVM2 physical volume", 0x600, b"LABELONE"),
    ("RAID member", 0, b"\xfc\x4e\x2b\xa9"),
    ("RAID member", 0x1000, b"\xfc\x4e\x2b\xa9"),
    ("swap", 0xff6, b"SWAPSPACE2"),
    ("swap", 0xfff6, b"SWAPSPACE2"),
    ("swap", 0xff6, b"SWAP-SPACE"),
    ("ReiserFS", 0x1_0034, b"ReIsEr"),
    ("JFS", 0x8000, b"JFS1"),
    ("NILFS2", 0x406, b"\x34\x34"),
    ("ISO 9660", 0x8001, b"CD001"),
    ("UDF", 0x8001, b"BEA01"),
    ("GFS2", 0x1_0000, b"\x01\x16\x19\x70\0\0\0\x01"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 0x400, b"\xe2\xe1\xf5\xe0"),
    ("Ceph", 0, b"bluestore block device"),
    ("ZFS", 0x2_0000, b"\x0c\xb1\xba\0\0\0\0\0"),
    ("ZFS", 0x2_0000, b"\0\0\0\0\0\xba\xb1\x0c"),
];

/// Partition tables. A file system of ours is younger than one beside it: mkfs leaves these bytes alone.
const TABLES: [(&str, usize, &[u8]); 3] =
    [("GPT", 0x200, b"EFI PART"), ("GPT", 0x1000, b"EFI PART"), ("MBR", 0x1fe, b"\x55\xaa")];

/// What the first MiB (or all of a smaller disk) says.
pub(crate) fn read(front: &[u8]) -> Content {
    let ours: Vec<FileSystem> = [ext(front), xfs(front)].into_iter().flatten().collect();
    let named = |table: &[(&'static str, usize, &[u8])]| -> Vec<&'static str> {
        table.iter().filter(|(_, offset, magic)| has(front, *offset, magic)).map(|(name, ..)| *name).collect()
    };
    let mut names = named(&FOREIGN);
    match ours[..] {
        [one] if names.is_empty() => return Content::FileSystem(one),
        [] => names.extend(named(&TABLES)),
        _ => names.extend(ours.iter().map(|fs| fs.fs_type.name())),
    }
    // A superblock with the right magic that makes no sense is somebody's all the same.
    if ours.is_empty() && has(front, 1080, b"\x53\xef") {
        names.push("damaged ext");
    }
    if ours.is_empty() && has(front, 0, b"XFSB") {
        names.push("damaged xfs");
    }
    names.dedup();
    match names.is_empty() {
        false => Content::Foreign(names.join(" and ")),
        true if front.iter().all(|byte| *byte == 0) => Content::Zero,
        true => Content::Unknown,
    }
}

fn has(bytes: &[u8], offset: usize, magic: &[u8]) -> bool {
    bytes.get(offset..offset + magic.len()) == Some(magic)
}

/// A fixed-size field; `None` beyond the end.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

/// Where an ext superblock is.
pub(crate) const EXT_AT: usize = 1024;

fn ext(front: &[u8]) -> Option<FileSystem> {
    ext_superblock(front.get(EXT_AT..EXT_AT + 1024)?)
}

/// Reads an ext superblock (`struct ext4_super_block`).
pub(crate) fn ext_superblock(block: &[u8]) -> Option<FileSystem> {
    let word = |at: usize| field(block, at).map(u32::from_le_bytes);
    if !has(block, 56, b"\x53\xef") {
        return None;
    }
    let block_bytes = 1024_u64.checked_shl(word(24)?).filter(|bytes| *bytes <= 65536)?;
    let (compatible, incompatible, writable) = (word(92)?, word(96)?, word(100)?);
    let high = if incompatible & 0x80 != 0 { word(336)? } else { 0 };
    let blocks = u64::from(high) << 32 | u64::from(word(4)?);
    if blocks == 0 || incompatible & 0x8 != 0 {
        return None; // an external journal has the magic and no file system
    }
    let mounts = u16::from_le_bytes(field(block, 52)?);
    let was_mounted = word(44)? != 0
        || mounts != 0
        || block.get(628)? != &0
        || block.get(136..200)?.iter().any(|byte| *byte != 0);
    // ext3 knows: file types, recovery, meta groups; sparse superblocks, large files, directory trees.
    let beyond_ext3 = incompatible & !0x16 != 0 || writable & !0x7 != 0;
    let fs_type = match (beyond_ext3, compatible & 0x4 != 0) {
        (true, _) => FsType::Ext4,
        (false, true) => FsType::Ext3,
        (false, false) => FsType::Ext2,
    };
    Some(FileSystem {
        fs_type,
        bytes: blocks.checked_mul(block_bytes)?,
        block_bytes,
        // A last group too small for its own tables is left out by the kernel and by mkfs.
        slack_bytes: u64::from(word(32)?.max(1)).checked_mul(block_bytes)?,
        uncounted_bytes: 0,
        life: if was_mounted { Life::InUse } else { Life::NeverMounted },
    })
}

/// Reads an xfs superblock (`struct xfs_dsb`, big-endian).
pub(crate) fn xfs(front: &[u8]) -> Option<FileSystem> {
    if !has(front, 0, b"XFSB") {
        return None;
    }
    let block_bytes = u64::from(u32::from_be_bytes(field(front, 4)?));
    let blocks = u64::from_be_bytes(field(front, 8)?);
    if !(512..=65536).contains(&block_bytes) || blocks == 0 {
        return None;
    }
    let has_inner_log = u64::from_be_bytes(field(front, 48)?) != 0;
    let log_blocks = u64::from(u32::from_be_bytes(field(front, 96)?));
    Some(FileSystem {
        fs_type: FsType::Xfs,
        bytes: blocks.checked_mul(block_bytes)?,
        block_bytes,
        // An allocation group has at least 64 blocks.
        slack_bytes: 64 * block_bytes,
        uncounted_bytes: if has_inner_log { log_blocks * block_bytes } else { 0 },
        life: if front.get(126) == Some(&0) { Life::InUse } else { Life::Unfinished },
    })
}

#[cfg(test)]
#[path = "superblock_tests.rs"]
mod tests;
