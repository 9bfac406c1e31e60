//! Values to bytes and back, in buffers that exist already.

use std::cell::Cell;
use std::marker::PhantomData;

use ipc_core::{Decode, Encode, without_handles};
use ipc_sync::mechanism::contents_of;

use crate::{Error, Result};

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is not kept from one call to the next.
const MOST: usize = 1 << 20;

/// Runs `f` with an empty buffer of this thread. A value's own code may do the same inside: it gets another one.
#[inline]
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    // Not there any more where the thread is ending.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    let result = f(&mut scratch);
    if scratch.capacity() <= MOST {
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
    result
}

/// A codec for a type, and the marker that a handle has of both.
pub(crate) type Of<T, C> = PhantomData<fn(T) -> C>;

/// Appends a value's bytes. Handles in it are an error: they would have nothing to travel with.
pub(crate) fn encode<T, C: Encode<T>>(value: &T, to: &mut Vec<u8>) -> Result<()> {
    without_handles(|| C::encode(value, to)).map_err(Error::Encode)
}

#[inline]
pub(crate) fn decode<T, C: Decode<T>>(bytes: &[u8]) -> Result<T> {
    without_handles(|| C::decode(bytes)).map_err(Error::Decode)
}

/// Runs `f` with the bytes of a value.
#[inline]
pub(crate) fn encoded<T, C: Encode<T>, R>(value: &T, f: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
    match C::as_bytes(value) {
        Some(bytes) => f(bytes),
        None => with_scratch(|scratch| {
            encode::<T, C>(value, scratch)?;
            f(scratch)
        }),
    }
}

/// A hash of what both sides must agree on: FNV-1a.
pub(crate) fn contents<T, C>() -> u64 {
    let text = format!("{} by {}", contents_of::<T>(), contents_of::<C>());
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
