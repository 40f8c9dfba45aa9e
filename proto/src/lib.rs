//! The CSI 1.13 contract in Rust, and the rules that every service shares.
//!
//! `v1` is generated at build time from `csi/v1/*.proto` (our own text of the released wire facts).
//! [`Error`] is the only thing that becomes a gRPC status; [`Flights`] lets a repeated call join the one
//! in flight. **Invariant:** nothing here knows Azure or an operating system, and of Kubernetes only the wire form
//! in which a kubelet asks a plugin for its name (`registration`).

mod deadline;
mod error;
mod flights;
mod redact;
pub mod require;

pub use deadline::deadline;
pub use error::{Error, Kind};
pub use flights::{Callers, Flights};

/// The generated messages and services of package `csi.v1`.
#[expect(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
#[allow(clippy::disallowed_methods, unused_qualifications, unreachable_pub, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("csi.v1");
    include!(concat!(env!("OUT_DIR"), "/redact.rs"));
}

/// The kubelet's way to learn of a plugin: the messages and the service of package `pluginregistration`.
#[expect(missing_docs, clippy::pedantic, reason = "generated")]
#[allow(clippy::disallowed_methods, unused_qualifications, unreachable_pub, reason = "generated")]
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// The contract as an encoded `FileDescriptorSet`, for tests that compare it with the released one.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/csi.v1.bin"));
