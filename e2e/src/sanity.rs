//! The unmodified csi-sanity against two built processes and the emulator, and what its report must show.

pub mod report;
pub mod run;
