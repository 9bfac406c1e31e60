//! Frames: how messages are told apart on a byte stream.
//!
//! A message is what CPython's `multiprocessing.connection.Connection` writes, byte for byte:
//!
//! ```text
//! len <= 0x7fff_ffff    len as i32, big endian | payload
//! longer                ff ff ff ff | len as u64, big endian | payload
//! ```
//!
//! One header of our own goes before a message that carries handles. It is a length that CPython never writes:
//!
//! ```text
//! ff ff ff fe | n as u32, big endian      the descriptors that came with these 8 bytes belong to the next message
//! ```
//!
//! # References
//! CPython `Lib/multiprocessing/connection.py`, `Connection._send_bytes` and `_recv_bytes`.

use crate::sys::MAX_DESCRIPTORS;

/// The longest header: the long form.
pub(crate) const MAX_HEADER: usize = 12;
/// The length of a header that announces handles.
pub(crate) const HANDLES_HEADER: usize = 8;

const LONG: i32 = -1;
const HANDLES: i32 = -2;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A payload of so many bytes follows.
    Message(u64),
    /// So many descriptors came with this header; they belong to the next message.
    Handles(usize),
}

/// Reads the header at the start of `bytes` and says how long it is, or `None` if more bytes are needed to tell.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, &'static str> {
    let Some((first, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    match i32::from_be_bytes(*first) {
        len @ 0.. => Ok(Some((Head::Message(len as u64), 4))),
        LONG => match rest.first_chunk::<8>() {
            // A length that no file or memory can have; also keeps sums of lengths from overflowing.
            Some(len) if len[0] & 0x80 != 0 => Err("a length of more than 63 bits"),
            Some(len) => Ok(Some((Head::Message(u64::from_be_bytes(*len)), MAX_HEADER))),
            None => Ok(None),
        },
        HANDLES => match rest.first_chunk::<4>() {
            Some(n) => match u32::from_be_bytes(*n) as usize {
                n @ 1..=MAX_DESCRIPTORS => Ok(Some((Head::Handles(n), HANDLES_HEADER))),
                _ => Err("an impossible number of handles"),
            },
            None => Ok(None),
        },
        _ => Err("a negative length"),
    }
}

/// The header of a message of `len` bytes, in the form CPython gives it.
#[inline]
pub(crate) fn header(len: usize) -> Header {
    let mut bytes = [0; MAX_HEADER];
    let used = match i32::try_from(len) {
        Ok(short) => {
            bytes[..4].copy_from_slice(&short.to_be_bytes());
            4
        }
        Err(_) => {
            bytes[..4].copy_from_slice(&LONG.to_be_bytes());
            bytes[4..].copy_from_slice(&(len as u64).to_be_bytes());
            MAX_HEADER
        }
    };
    Header { bytes, used }
}

/// What comes after the headers of one whole message.
pub(crate) fn payload(mut frames: &[u8]) -> &[u8] {
    while let Ok(Some((head, used))) = parse(frames) {
        frames = &frames[used..];
        if matches!(head, Head::Message(_)) {
            break;
        }
    }
    frames
}

/// The header that announces `n` handles, at most [`MAX_DESCRIPTORS`].
pub(crate) fn handles_header(n: usize) -> [u8; HANDLES_HEADER] {
    debug_assert!((1..=MAX_DESCRIPTORS).contains(&n));
    let mut bytes = [0; HANDLES_HEADER];
    bytes[..4].copy_from_slice(&HANDLES.to_be_bytes());
    bytes[4..].copy_from_slice(&(n as u32).to_be_bytes());
    bytes
}

/// An encoded header.
#[derive(Debug)]
pub(crate) struct Header {
    bytes: [u8; MAX_HEADER],
    used: usize,
}

impl Header {
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes that CPython 3.11 was seen to write.
    #[test]
    fn short_form_is_cpythons() {
        assert_eq!(header(0).as_bytes(), [0, 0, 0, 0]);
        assert_eq!(header(3).as_bytes(), [0, 0, 0, 3]);
        assert_eq!(header(0x7fff_ffff).as_bytes(), [0x7f, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn long_form_begins_one_past_i32_max() {
        assert_eq!(header(0x8000_0000).as_bytes(), [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0]);
        let bytes = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0];
        assert_eq!(parse(&bytes), Ok(Some((Head::Message(0x8000_0000), 12))));
    }

    #[test]
    fn malformed_lengths_are_refused() {
        for first in [-3i32, -4, i32::MIN] {
            assert!(parse(&first.to_be_bytes()).is_err(), "{first}");
        }
        assert!(parse(&[0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]).is_err());
        for n in [0u32, 254, u32::MAX] {
            let mut bytes = HANDLES.to_be_bytes().to_vec();
            bytes.extend(n.to_be_bytes());
            assert!(parse(&bytes).is_err(), "{n} handles");
        }
    }

    proptest! {
        #[test]
        fn headers_round_trip_and_ask_for_more_when_cut(len in any::<usize>().prop_map(|n| n >> 1), n in 1..=MAX_DESCRIPTORS) {
            let message = header(len);
            let bytes = message.as_bytes();
            prop_assert_eq!(parse(bytes), Ok(Some((Head::Message(len as u64), bytes.len()))));
            let handles = handles_header(n);
            prop_assert_eq!(parse(&handles), Ok(Some((Head::Handles(n), HANDLES_HEADER))));
            for bytes in [bytes, &handles[..]] {
                for cut in 0..bytes.len() {
                    prop_assert_eq!(parse(&bytes[..cut]), Ok(None));
                }
            }
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(Some((_, used))) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
