//! A small Azure Resource Manager client for managed disks and the VMs that hold them.
//!
//! [`Arm`] is the way in: one method per request that the driver makes, each bounded by a [`Deadline`], each
//! following what Azure accepted to its end. Below it lie one pipeline (`client`, `follow`), pure decisions
//! about repetition (`retry`), throttling (`gates`), long-running operations (`operation`, `pace`), and the
//! [`Transport`] seam.
//! **Invariant:** nothing here knows CSI or Kubernetes, reads the environment, or contacts anything before
//! the first call.

mod admission;
mod ask;
mod auth;
mod bulk;
mod client;
mod crowd;
mod disks;
mod error;
mod follow;
mod gates;
mod gathering;
mod ids;
pub mod model;
mod operation;
mod pace;
mod retry;
mod skus;
mod snapshots;
pub mod transport;
mod units;
mod vms;

pub use auth::{Token, TokenError, TokenErrorKind, Tokens};
pub use client::{Arm, ArmSettings, Exchange, Observer};
pub use error::{Error, ErrorKind};
pub use ids::{DiskId, IdError, ResourceGroup, ResourceId, SnapshotId, VmId};
pub use model::disk::{
    CreationData, Disk, DiskCreate, DiskCreateProperties, DiskPatch, DiskPatchProperties, DiskProperties,
    DiskState, Encryption, SkuName,
};
pub use model::sku::ResourceSku;
pub use model::snapshot::{Snapshot, SnapshotCreate, SnapshotCreateProperties, SnapshotProperties};
pub use model::vm::{AttachDisk, DataDisk, DetachDisk, DiskChanges, Vm};
pub use model::{Caching, DiskSku, ProvisioningState};
pub use transport::{AnswerLost, Transport, TransportError};
pub use units::{GiB, Lun};
pub use vms::{DiskUpdates, DiskWriter, FirstWay, Written};

/// When a call must have ended: no attempt, pause or poll goes past it.
pub type Deadline = tokio::time::Instant;

mod cloud;
mod config;
mod imds;
mod network;
mod vm_size;

pub use azure_core::credentials::Secret;
pub use cloud::{Cloud, CloudError};
pub use config::{CloudConfig, ConfigError, Environment, VmType};
pub use imds::{Imds, ImdsError, Instance, InstanceDisk};
pub use network::HttpTransport;
pub use vm_size::max_data_disks;
