//! What a stage or publish asks for, read from its maps: LUN, file system, size, mount options. Pure.
//!
//! Keys are compared without case, as the Go driver does; keys that nobody here knows are ignored (the
//! kubelet adds some, and other drivers' are harmless).

use std::collections::BTreeMap;

use csi::Error;
use csi::require::{Access, Capability};
use csi::v1::volume_capability::access_mode::Mode;

use crate::FsType;

fn value<'a>(map: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

/// The LUN that ControllerPublish wrote into the publish context: a number, or one of the paths that older
/// versions of the Go driver wrote ("/dev/disk/azure/scsi1/lun5").
pub(crate) fn lun(publish_context: &BTreeMap<String, String>) -> Result<u8, Error> {
    let text = value(publish_context, "LUN").ok_or_else(|| Error::invalid("publish_context has no LUN"))?;
    let number = match text.rsplit_once("/lun") {
        Some((folder, number)) if folder.starts_with("/dev/") => number,
        _ => text,
    };
    number
        .parse()
        .ok()
        .filter(|lun| *lun < 64)
        .ok_or_else(|| Error::invalid(format!("publish_context: LUN {text:?} is not a number from 0 to 63")))
}

/// What the controller of this driver writes into the publish context of a volume that it published read-only. No
/// other driver knows the key.
const READ_ONLY: &str = "azuredisk-csi-readonly";

/// Whether the controller published the volume read-only.
pub(crate) fn is_published_read_only(publish_context: &BTreeMap<String, String>) -> Result<bool, Error> {
    match value(publish_context, READ_ONLY) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(Error::invalid(format!("publish_context: {READ_ONLY} {other:?} is neither true nor false")))
        }
    }
}

/// The least size of the disk, bytes; 0 if nobody said.
pub(crate) fn least_bytes(volume_context: &BTreeMap<String, String>) -> u64 {
    let gib: Option<u64> = value(volume_context, "requestedsizegib").and_then(|gib| gib.trim().parse().ok());
    gib.and_then(|gib| gib.checked_mul(1 << 30)).unwrap_or(0)
}

/// How a volume is to be mounted at its staging path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountWish {
    pub(crate) fs_type: FsType,
    pub(crate) read_only: bool,
    pub(crate) options: Vec<String>,
}

/// The wish, for a volume with a file system; `None` for a raw block volume.
pub(crate) fn mount_wish(
    capability: &Capability,
    volume_context: &BTreeMap<String, String>,
    is_published_read_only: bool,
) -> Result<Option<MountWish>, Error> {
    let Access::Mount(mount) = &capability.access else { return Ok(None) };
    if matches!(
        capability.mode,
        Mode::MultiNodeReaderOnly | Mode::MultiNodeSingleWriter | Mode::MultiNodeMultiWriter
    ) {
        return Err(Error::precondition(
            "a file system can be mounted on one node only; for several nodes the volume must be a raw block \
             volume (volumeMode: Block)",
        ));
    }
    let name = value(volume_context, "fsType").filter(|name| !name.is_empty()).unwrap_or(&mount.fs_type);
    let fs_type = FsType::parse(name).ok_or_else(|| {
        let allowed: Vec<&str> = FsType::ALL.iter().map(|fs| fs.name()).collect();
        Error::invalid(format!("fsType {name:?} is not supported; it can be {}", allowed.join(", ")))
    })?;
    let mut options: Vec<String> = Vec::new();
    let flags = mount.mount_flags.iter().flat_map(|flag| flag.split(',')).map(str::trim);
    for flag in flags.filter(|flag| !flag.is_empty()) {
        if flag.contains(['\0', '\n']) {
            return Err(Error::invalid("mount_flags: an option has a character that no option can have"));
        }
        if !options.iter().any(|option| option == flag) {
            options.push(flag.to_owned());
        }
    }
    let says_read_only = options.iter().any(|option| option == "ro");
    let read_only = is_published_read_only || capability.mode == Mode::SingleNodeReaderOnly || says_read_only;
    if read_only && !says_read_only {
        options.push("ro".to_owned());
    }
    // A clone or a restored snapshot carries its source's uuid, which may be mounted on the same node.
    if fs_type == FsType::Xfs && !options.iter().any(|option| option == "nouuid") {
        options.push("nouuid".to_owned());
    }
    Ok(Some(MountWish { fs_type, read_only, options }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;
    use csi::v1::volume_capability::MountVolume;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_lun_is_a_number_or_an_old_path() {
        let rows = [
            (vec![("LUN", "0")], Some(0)),
            (vec![("lun", "63")], Some(63)),
            (vec![("LUN", "/dev/disk/azure/scsi1/lun5")], Some(5)),
            (vec![("LUN", "64")], None),
            (vec![("LUN", "-1")], None),
            (vec![("LUN", "")], None),
            (vec![("LUN", "/etc/lun5")], None),
            (vec![], None),
        ];
        for (pairs, wanted) in rows {
            assert_eq!(lun(&map(&pairs)).ok(), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn a_read_only_publish_is_told_by_a_key_of_our_own() {
        let rows = [
            (vec![("LUN", "0")], Some(false)),
            (vec![("azuredisk-csi-readonly", "true")], Some(true)),
            (vec![("AzureDisk-CSI-ReadOnly", "true")], Some(true)),
            (vec![("azuredisk-csi-readonly", "false")], Some(false)),
            (vec![("azuredisk-csi-readonly", "perhaps")], None),
        ];
        for (pairs, wanted) in rows {
            assert_eq!(is_published_read_only(&map(&pairs)).ok(), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn the_least_size_is_in_gib_and_optional() {
        assert_eq!(least_bytes(&map(&[("requestedsizegib", "8")])), 8 << 30);
        assert_eq!(least_bytes(&map(&[("requestedSizeGiB", "many")])), 0);
        assert_eq!(least_bytes(&map(&[("requestedsizegib", "99999999999999999")])), 0);
        assert_eq!(least_bytes(&map(&[])), 0);
    }

    fn wish(
        fs: &str,
        flags: &[&str],
        mode: Mode,
        context: &[(&str, &str)],
    ) -> Result<Option<MountWish>, Error> {
        let mount_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let access = Access::Mount(MountVolume { fs_type: fs.to_owned(), mount_flags, ..Default::default() });
        let is_published_read_only = context.contains(&("published", "read-only"));
        mount_wish(&Capability { access, mode }, &map(context), is_published_read_only)
    }

    #[test]
    fn a_wish_is_complete() {
        let rows = [
            ("", vec![], Mode::SingleNodeWriter, vec![], (FsType::Ext4, false, "")),
            ("ext4", vec![], Mode::SingleNodeWriter, vec![("fstype", "xfs")], (FsType::Xfs, false, "nouuid")),
            (
                "ext4",
                vec!["noatime"],
                Mode::SingleNodeWriter,
                vec![("published", "read-only")],
                (FsType::Ext4, true, "noatime,ro"),
            ),
            ("xfs", vec!["nouuid,ro"], Mode::SingleNodeWriter, vec![], (FsType::Xfs, true, "nouuid,ro")),
            (
                "ext3",
                vec!["noatime", "noatime"],
                Mode::SingleNodeReaderOnly,
                vec![("fsType", "")],
                (FsType::Ext3, true, "noatime,ro"),
            ),
        ];
        for (fs, flags, mode, context, (fs_type, read_only, options)) in rows {
            let wish = wish(fs, &flags, mode, &context).unwrap().unwrap();
            let seen = (wish.fs_type, wish.read_only, wish.options.join(","));
            assert_eq!(seen, (fs_type, read_only, options.to_owned()), "{fs} {flags:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(wish("ntfs", &[], Mode::SingleNodeWriter, &[]).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(wish("", &["a\0b"], Mode::SingleNodeWriter, &[]).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(wish("", &[], Mode::MultiNodeMultiWriter, &[]).unwrap_err().kind(), Kind::Precondition);
        let block = Capability { access: Access::Block, mode: Mode::MultiNodeMultiWriter };
        assert_eq!(mount_wish(&block, &map(&[]), false).unwrap(), None);
    }
}
