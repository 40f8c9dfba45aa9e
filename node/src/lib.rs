//! The CSI Node service: finds, formats, mounts and grows the disks of one machine.

pub mod host;
