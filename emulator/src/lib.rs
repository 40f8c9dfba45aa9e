//! Placeholder.
pub mod devices;
