//! Values to bytes and back, in buffers that exist already.

use std::cell::RefCell;
use std::marker::PhantomData;

use ipc_core::{Decode, Encode, without_handles};
use ipc_sync::mechanism::{contents_of, hash_of};

use crate::Error;
use crate::error::Quick;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is not kept from one call to the next.
const MOST: usize = 1 << 20;

/// Runs `f` with an empty buffer: this thread's, or, for a value's own code that does the same inside, and where the thread is ending, a new
/// one. The buffer stays where it is, and so does what `f` makes:
/// to hand them around takes longer than what is done with them.
#[inline(always)]
pub(crate) fn with_scratch(mut f: impl FnMut(&mut Vec<u8>)) {
    let done = SCRATCH.try_with(|scratch| {
        let Ok(mut scratch) = scratch.try_borrow_mut() else { return false };
        scratch.clear();
        f(&mut scratch);
        if scratch.capacity() > MOST {
            *scratch = Vec::new();
        }
        true
    });
    if !matches!(done, Ok(true)) {
        f(&mut Vec::new());
    }
}

/// A codec for a type, and the marker that a handle has of both.
pub(crate) type Of<T, C> = PhantomData<fn(T) -> C>;

/// Appends a value's bytes. Handles in it are an error: they would have nothing to travel with.
pub(crate) fn encode<T, C: Encode<T>>(value: &T, to: &mut Vec<u8>) -> Quick<()> {
    without_handles(|| C::encode(value, to)).map_err(|error| Error::Encode(error).into())
}

#[inline(always)]
pub(crate) fn decode<T, C: Decode<T>>(bytes: &[u8]) -> Quick<T> {
    without_handles(|| C::decode(bytes)).map_err(|error| Error::Decode(error).into())
}

/// Runs `f` with the bytes of a value.
#[inline]
pub(crate) fn encoded<T, C: Encode<T>, R>(value: &T, mut f: impl FnMut(&[u8]) -> Quick<R>) -> Quick<R> {
    match C::as_bytes(value) {
        Some(bytes) => f(bytes),
        None => {
            let mut result = None;
            with_scratch(|scratch| {
                result = Some(match encode::<T, C>(value, scratch) {
                    Ok(()) => f(scratch),
                    Err(error) => Err(error),
                });
            });
            result.unwrap_or_else(|| Err(Error::NOTHING.into()))
        }
    }
}

/// What both sides must agree on.
pub(crate) fn contents<T, C>() -> u64 {
    hash_of(&format!("{} by {}", contents_of::<T>(), contents_of::<C>()))
}
