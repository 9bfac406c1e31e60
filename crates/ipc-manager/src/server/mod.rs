//! The server: what it knows, and the loop that serves clients.

mod body;
mod ids;
pub(crate) mod lock;
mod map;
pub(crate) mod outbox;
mod queue;
mod room;
mod run;
mod sequence;
pub(crate) mod state;
mod store;
mod sync;

pub(crate) use run::Running;
