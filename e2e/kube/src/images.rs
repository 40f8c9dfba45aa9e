//! The images that run on the cluster, made here: no registry is asked and no builder is needed.
//!
//! Those of the pinned programs are written once, with the tools. The driver's is put together at each start, from
//! the program that was just built. **Invariant:** the same files give the same bytes.

pub mod archive;
mod busybox;
mod closure;
mod driver;
pub mod shelf;
pub mod tree;

pub use driver::{DRIVER, driver_image};
