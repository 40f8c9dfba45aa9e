//! Kubernetes' own storage suite, unmodified, for the deployed driver: all that applies, and a list with reasons of what
//! does not run. The suite is the judge here; this module only tells it about the driver and reads its verdict.

pub mod cases;
pub mod definition;
mod kept;
pub mod run;
pub mod selection;
pub mod skips;
pub mod span;
pub mod verdict;
