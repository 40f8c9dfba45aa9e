//! The CSI Node service: finds, formats, mounts and grows the disks of one machine.

mod blank;
mod device;
pub mod host;
mod marker;
mod mountinfo;
mod superblock;
mod verdict;

pub use superblock::FsType;
