//! The reason why encoding or decoding failed, kept beside the call.
//!
//! serde hands an error's text to the format, and postcard throws it away. What this crate itself finds (a handle in the wrong
//! place, a value nested too deep) is therefore noted here as well, for the codec to pick up.

use std::cell::RefCell;

thread_local! {
    static TEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes `text`, unless something was noted before: the first cause counts. Gives the text back for the format's own error.
pub(crate) fn note(text: impl Into<String>) -> String {
    let text = text.into();
    // Not where a thread is ending and its locals are gone; then the format's own error has to do.
    TEXT.try_with(|slot| slot.borrow_mut().get_or_insert_with(|| text.clone()).clone()).unwrap_or(text)
}

/// An error of a crate of a mechanism, with its cause, as the text of a serializer's: it is noted, too. For those crates.
pub fn explain(error: &dyn std::error::Error) -> String {
    note(match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

/// What was noted since the last [`clear`].
pub(crate) fn take() -> Option<String> {
    TEXT.try_with(RefCell::take).ok().flatten()
}

/// Forgets what an earlier failure left.
pub(crate) fn clear() {
    take();
}
