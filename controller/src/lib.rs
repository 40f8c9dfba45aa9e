//! The CSI Controller service on Azure managed disks, and the attach engine.
//!
//! `service` decodes a call, hands it to one verb, and encodes the answer. A verb looks, compares, acts
//! and waits; what it decides, it decides in pure functions. Nothing here remembers what Azure cannot
//! tell again, so a restart at any point and a repeated call converge.

mod arm_error;
mod attach;
mod names;
mod params;
mod size;
mod sku;
mod zone;
