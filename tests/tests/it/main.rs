//! The cross-process tests, a module for each subject.
#![forbid(unsafe_code)]

mod connection;
mod csp;
mod daemon;
mod fifo;
mod harness;
mod manager;
mod other;
mod queue;
mod segment;
mod shm;
mod shm_values;
mod socket;
mod spawn;
mod surroundings;
mod sync;
