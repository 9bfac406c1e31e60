//! The cross-process tests, a module for each subject.
#![forbid(unsafe_code)]

mod connection;
mod daemon;
mod harness;
mod queue;
mod segment;
mod shm;
mod shm_values;
mod spawn;
mod surroundings;
mod sync;
