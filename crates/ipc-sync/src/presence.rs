//! Whether anybody is left who could end a wait.

use ipc_core::{Shared, View};

use crate::{Error, Result};

/// An error if an object that other processes had is now this handle's alone.
///
/// One that never left the process is not looked at: its other threads may well have it by reference.
pub(crate) fn give_up_alone<T: Shared>(view: &View<T>) -> Result<()> {
    let segment = view.segment();
    // In this order: what is on its way to this process counts as somebody until it is a handle here.
    let alone = segment.was_shared() && !segment.has_others()? && view.handles() == 1;
    if alone { Err(Error::Abandoned) } else { Ok(()) }
}
