//! Superblocks by the real tools, foreign magics by hand, and any bytes at all.

use super::*;
use proptest::prelude::*;

const GIB: u64 = 1 << 30;

/// The first MiB of an image that a real mkfs made; `None` where the tool is missing.
fn made_by(tool: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    use std::io::Read;
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(GIB).unwrap();
    let run = std::process::Command::new(tool).args(arguments).arg(&image).output();
    let Ok(output) = run else {
        println!("skipped: no {tool}");
        return None;
    };
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    let mut front = vec![0; FRONT];
    std::fs::File::open(&image).unwrap().read_exact(&mut front).unwrap();
    Some(front)
}

#[test]
fn what_mkfs_makes_is_recognised() {
    let rows = [
        ("mkfs.ext4", vec!["-q"], FsType::Ext4, Life::NeverMounted),
        ("mkfs.ext4", vec!["-q", "-b", "1024"], FsType::Ext4, Life::NeverMounted),
        ("mkfs.ext3", vec!["-q"], FsType::Ext3, Life::NeverMounted),
        ("mkfs.ext2", vec!["-q"], FsType::Ext2, Life::NeverMounted),
        ("mkfs.xfs", vec!["-q"], FsType::Xfs, Life::InUse),
    ];
    for (tool, arguments, fs_type, life) in rows {
        let Some(mut front) = made_by(tool, &arguments) else { continue };
        let Content::FileSystem(fs) = read(&front) else { panic!("{tool}: {:?}", read(&front)) };
        assert_eq!((fs.fs_type, fs.life, fs.bytes), (fs_type, life, GIB), "{tool}");
        assert!(!fs.is_smaller_than(GIB) && fs.is_smaller_than(2 * GIB), "{tool}");
        if fs_type == FsType::Xfs {
            front[126] = 1;
            let Content::FileSystem(fs) = read(&front) else { panic!("{tool}") };
            assert_eq!(fs.life, Life::Unfinished);
        } else {
            front[EXT_AT + 52] = 1;
            let Content::FileSystem(fs) = read(&front) else { panic!("{tool}") };
            assert_eq!(fs.life, Life::InUse);
        }
    }
}

fn front(spots: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; FRONT];
    for (offset, magic) in spots {
        bytes[*offset..offset + magic.len()].copy_from_slice(magic);
    }
    bytes
}

#[test]
fn every_foreign_magic_is_named() {
    for (name, offset, magic) in FOREIGN.iter().chain(&TABLES) {
        let Content::Foreign(names) = read(&front(&[(*offset, magic)])) else { panic!("{name} at {offset}") };
        assert!(names.contains(name), "{names}");
    }
}

#[test]
fn doubt_is_never_empty() {
    type Spots = &'static [(usize, &'static [u8])];
    let rows: [(Spots, Content); 5] = [
        (&[], Content::Zero),
        (&[(700_000, b"x")], Content::Unknown),
        (&[(1080, b"\x53\xef")], Content::Foreign("damaged ext".to_owned())),
        (&[(0, b"XFSB")], Content::Foreign("damaged xfs".to_owned())),
        (&[(0, b"LUKS\xba\xbe"), (0x1fe, b"\x55\xaa")], Content::Foreign("LUKS and MBR".to_owned())),
    ];
    for (spots, wanted) in rows {
        assert_eq!(read(&front(spots)), wanted);
    }
}

#[test]
fn a_second_claim_makes_a_file_system_foreign_and_an_old_table_does_not() {
    let Some(made) = made_by("mkfs.ext4", &["-q"]) else { return };
    let mut both = made.clone();
    both[..6].copy_from_slice(b"LUKS\xba\xbe");
    assert_eq!(read(&both), Content::Foreign("LUKS and ext4".to_owned()));
    let mut table = made;
    table[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
    assert!(matches!(read(&table), Content::FileSystem(_)));
}

#[test]
fn names_are_the_kernels() {
    let rows =
        [("", Some(FsType::Ext4)), ("XFS", Some(FsType::Xfs)), ("ext3", Some(FsType::Ext3)), ("btrfs", None)];
    for (name, wanted) in rows {
        assert_eq!(FsType::parse(name), wanted, "{name}");
    }
}

proptest! {
    #[test]
    fn any_superblock_is_read_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2048),
        magic in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if magic && bytes.len() > 1082 {
            bytes[1080..1082].copy_from_slice(b"\x53\xef");
            bytes[..4].copy_from_slice(b"XFSB");
        }
        prop_assert_eq!(read(&bytes) == Content::Zero, bytes.iter().all(|byte| *byte == 0));
    }
}
