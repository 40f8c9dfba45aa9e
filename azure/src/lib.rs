//! A small Azure Resource Manager client for managed disks and the VMs that hold them.

pub mod transport;
