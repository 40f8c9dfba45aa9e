//! NodeGetVolumeStats: how full a volume is. Never waits behind a change of it, never opens a device.

use std::path::Path;

use csi::Error;

use crate::expand::{Place, locate};
use crate::host::{Host, Usage, sysfs};
use crate::path_error;

/// How full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// A raw block volume: its size in bytes is all there is to know.
    Block(u64),
    /// A file system.
    Mounted(Usage),
}

/// Measures what is at `path`. Blocking: a dead disk may hold it up for ever.
pub(crate) fn measure(host: &dyn Host, volume_id: &str, path: &Path) -> Result<Measured, Error> {
    match locate(host, path)? {
        Some(Place::Block(number)) => {
            sysfs::block_bytes(host.root(), number).map(Measured::Block).ok_or_else(|| {
                Error::not_found(format!(
                    "volume {volume_id}: {} is no disk of this machine any more",
                    path.display()
                ))
            })
        }
        Some(Place::Mounted { target, .. }) => {
            host.usage(&target).map(Measured::Mounted).map_err(|error| path_error(path, "measured", &error))
        }
        None => Err(Error::not_found(format!("volume {volume_id} is not at {}", path.display()))),
    }
}
