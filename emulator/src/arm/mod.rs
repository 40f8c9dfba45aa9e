//! The resource providers, one file per kind of resource. Each takes a parsed call and the model and answers.

pub(crate) mod attach;
pub(crate) mod companions;
pub(crate) mod disk_rules;
pub(crate) mod disks;
pub(crate) mod groups;
pub(crate) mod instances;
pub(crate) mod network;
pub(crate) mod operations;
pub(crate) mod scale_sets;
pub(crate) mod skus;
pub(crate) mod snapshots;
pub(crate) mod vm_body;
pub(crate) mod vms;
