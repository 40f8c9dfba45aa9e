//! What every RPC checks before it looks at anything: fields that must be there, capabilities that make
//! sense. Each refusal names the field and what is allowed (CSI 1.13, "Size Limits" and the REQUIRED marks).

use crate::Error;
use crate::v1::volume_capability::access_mode::Mode;
use crate::v1::volume_capability::{AccessType, MountVolume};
use crate::v1::{CapacityRange, VolumeCapability};

/// How the volume appears to the workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Access {
    /// As a raw block device.
    Block,
    /// As a mounted file system.
    Mount(MountVolume),
}

/// A capability with nothing missing and nothing unknown.
#[derive(Clone, Debug, PartialEq)]
pub struct Capability {
    /// Block or mount.
    pub access: Access,
    /// How many nodes and writers; never `Unknown`.
    pub mode: Mode,
}

impl Capability {
    /// Whether it is for a raw block device.
    pub fn is_block(&self) -> bool {
        self.access == Access::Block
    }
}

/// `value`, if it is not empty.
pub fn field<'a>(value: &'a str, name: &str) -> Result<&'a str, Error> {
    if value.is_empty() { Err(Error::invalid(format!("{name} is missing"))) } else { Ok(value) }
}

/// An absolute path without `..` and without a NUL byte.
pub fn path<'a>(value: &'a str, name: &str) -> Result<&'a std::path::Path, Error> {
    let path = std::path::Path::new(field(value, name)?);
    let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || climbs || value.contains('\0') {
        return Err(Error::invalid(format!("{name} must be an absolute path without '..', not {value:?}")));
    }
    Ok(path)
}

/// The one capability of a request.
pub fn capability(capability: Option<&VolumeCapability>) -> Result<Capability, Error> {
    let capability = capability.ok_or_else(|| Error::invalid("volume_capability is missing"))?;
    let access = match &capability.access_type {
        Some(AccessType::Block(_)) => Access::Block,
        Some(AccessType::Mount(mount)) => Access::Mount(mount.clone()),
        None => return Err(Error::invalid("volume_capability has no access type: block or mount is needed")),
    };
    let mode = capability.access_mode.as_ref().map_or(0, |mode| mode.mode);
    match Mode::try_from(mode) {
        Ok(mode) if mode != Mode::Unknown => Ok(Capability { access, mode }),
        _ => Err(Error::invalid(format!("volume_capability has an unknown access mode ({mode})"))),
    }
}

/// The capabilities of a request: at least one.
pub fn capabilities(capabilities: &[VolumeCapability]) -> Result<Vec<Capability>, Error> {
    if capabilities.is_empty() {
        return Err(Error::invalid("volume_capabilities is missing"));
    }
    capabilities.iter().map(|one| capability(Some(one))).collect()
}

/// The wanted size in bytes: (at least, at most), zero leaving a side open.
pub fn capacity(range: Option<&CapacityRange>) -> Result<(u64, u64), Error> {
    let Some(range) = range else { return Ok((0, 0)) };
    let side = |bytes: i64, name: &str| {
        u64::try_from(bytes)
            .map_err(|_| Error::invalid(format!("capacity_range.{name} is negative: {bytes}")))
    };
    let (least, most) =
        (side(range.required_bytes, "required_bytes")?, side(range.limit_bytes, "limit_bytes")?);
    if most != 0 && most < least {
        return Err(Error::invalid(format!(
            "capacity_range: limit_bytes {most} is below required_bytes {least}"
        )));
    }
    Ok((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::v1::volume_capability::{AccessMode, BlockVolume};

    #[test]
    fn a_capability_is_whole_or_refused() {
        let block = Some(AccessType::Block(BlockVolume {}));
        let rows = [
            (None, None, false),
            (block.clone(), None, false),
            (block.clone(), Some(0), false),
            (block.clone(), Some(99), false),
            (None, Some(1), false),
            (block, Some(1), true),
        ];
        for (access_type, mode, good) in rows {
            let wanted = VolumeCapability { access_type, access_mode: mode.map(|mode| AccessMode { mode }) };
            assert_eq!(capability(Some(&wanted)).is_ok(), good, "{wanted:?}");
        }
        assert_eq!(capability(None).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(capabilities(&[]).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn paths_stay_where_they_say() {
        for (text, good) in [("/a/b", true), ("", false), ("a/b", false), ("/a/../b", false), ("/a\0", false)]
        {
            assert_eq!(path(text, "target_path").is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_capacity_is_a_range() {
        for (least, most, good) in
            [(0, 0, true), (5, 0, true), (5, 9, true), (9, 5, false), (-1, 0, false), (0, -1, false)]
        {
            let range = CapacityRange { required_bytes: least, limit_bytes: most };
            assert_eq!(capacity(Some(&range)).is_ok(), good, "{least}..{most}");
        }
    }
}
