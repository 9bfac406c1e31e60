//! Starting typed functions as processes.
//!
//! `process` is what a user holds, `builder` starts it; `entry` and `image` find the function again in the child (`constructor` before its `main`), `child` is what
//! the child does; `running` is a started process as such, `reaper` looks after those that nobody joins (`handoff` gives it work), `scope` after all of
//! a block.

mod builder;
mod child;
#[cfg(feature = "auto-init")]
mod constructor;
mod current;
mod entry;
mod handoff;
mod image;
mod process;
mod reaper;
mod report;
mod running;
mod scope;

pub use {
    builder::{Builder, Stdio},
    current::{CurrentProcess, ParentProcess, current_process, parent_process},
    entry::init,
    process::{JoinError, Process},
    running::{Child, active_children},
    scope::{Scope, scope},
};
