//! The words of the algorithms: the machine's, or loom's when their models are checked (`cargo xtask model`).
//!
//! Those of the state only, in which whatever must not go wrong happens. Leases, extents and the ring are the machine's in any case.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};
