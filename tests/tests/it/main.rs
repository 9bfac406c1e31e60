//! The cross-process tests, a module for each subject.
#![forbid(unsafe_code)]

mod daemon;
mod spawn;
mod surroundings;
