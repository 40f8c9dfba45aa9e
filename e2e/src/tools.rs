//! The tools that a node starts (mkfs, fsck, blkid …), each behind a wrapper that counts its starts and can
//! kill its parent, the driver, just before the n-th tool runs or just after it ended.
//!
//! The wrappers are found because their folder leads the driver's PATH; they keep their state in files of
//! that folder, since the driver clears its children's environment.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Where the real tools are.
const REAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Every tool that a node may start.
const NAMES: [&str; 18] = [
    "blkid",
    "blockdev",
    "btrfs",
    "dumpe2fs",
    "e2fsck",
    "fsck",
    "fsck.ext4",
    "fsck.xfs",
    "mkfs.btrfs",
    "mkfs.ext2",
    "mkfs.ext3",
    "mkfs.ext4",
    "mkfs.xfs",
    "resize2fs",
    "tune2fs",
    "xfs_admin",
    "xfs_growfs",
    "xfs_repair",
];

/// When the driver dies around a tool or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The driver dies before the thing happens; it never does.
    Before,
    /// It happens, but the driver dies before it knows.
    After,
}

/// A folder of wrapped tools.
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Writes the wrappers into `folder`.
    pub fn wrap(folder: &Path) -> Result<Tools, Failure> {
        fs::create_dir_all(folder)?;
        for name in NAMES {
            let path = folder.join(name);
            fs::write(&path, wrapper(name, folder))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let tools = Tools { folder: folder.to_owned() };
        tools.disarm()?;
        Ok(tools)
    }

    /// The PATH for the driver.
    pub fn path(&self) -> String {
        format!("{}:{REAL}", self.folder.display())
    }

    /// The driver dies at the `n`-th tool from now (1 is the next).
    pub fn kill_at(&self, n: usize, moment: Moment) -> Result<(), Failure> {
        fs::write(self.folder.join(".count"), "")?;
        fs::write(self.folder.join(".armed"), format!("{n} {moment:?}\n"))?;
        Ok(())
    }

    /// No tool kills; counting starts again.
    pub fn disarm(&self) -> Result<(), Failure> {
        fs::write(self.folder.join(".count"), "")?;
        fs::write(self.folder.join(".armed"), "0 Before\n")?;
        Ok(())
    }

    /// The tools started since the last [`Tools::kill_at`] or [`Tools::disarm`], in order.
    pub fn started(&self) -> Result<Vec<String>, Failure> {
        Ok(fs::read_to_string(self.folder.join(".count"))?.lines().map(str::to_owned).collect())
    }
}

/// Counting is an append of one line and a count of lines: tools run one after another in a step.
fn wrapper(name: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#!/bin/sh\n\
         PATH={REAL}\n\
         echo {name} >> {folder}/.count\n\
         n=$(wc -l < {folder}/.count)\n\
         read -r at moment < {folder}/.armed\n\
         if [ \"$n\" -eq \"$at\" ] && [ \"$moment\" = Before ]; then kill -9 $PPID; exit 1; fi\n\
         {name} \"$@\"\n\
         code=$?\n\
         if [ \"$n\" -eq \"$at\" ] && [ \"$moment\" = After ]; then kill -9 $PPID; fi\n\
         exit $code\n"
    )
}
