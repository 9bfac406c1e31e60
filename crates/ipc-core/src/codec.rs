//! Codecs: how a value becomes the payload of a message.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::complaint;
use crate::limit::{Budget, Limited};

/// Turns values into bytes. Implement it, with [`Decode`], to speak another format over a [`Connection`](crate::Connection).
///
/// ```
/// use ipc_core::{CodecError, Connection, Decode, Encode};
///
/// /// Numbers as text, as a peer in another language might want them.
/// struct Decimal;
///
/// impl Encode<u64> for Decimal {
///     fn encode(value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         out.extend(value.to_string().bytes());
///         Ok(())
///     }
/// }
///
/// impl Decode<u64> for Decimal {
///     fn decode(bytes: &[u8]) -> Result<u64, CodecError> {
///         let text = std::str::from_utf8(bytes).map_err(CodecError::new)?;
///         text.parse().map_err(CodecError::new)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (a, b) = std::os::unix::net::UnixStream::pair()?;
/// let mut a: Connection<u64, u64, Decimal> = Connection::try_from(std::os::fd::OwnedFd::from(a))?;
/// let mut b: Connection<u64, u64, Decimal> = Connection::try_from(std::os::fd::OwnedFd::from(b))?;
/// a.send(42)?;
/// assert_eq!(b.recv_bytes()?, b"42");
/// # Ok(()) }
/// ```
pub trait Encode<T: ?Sized> {
    /// Appends the bytes of `value` to `out` and leaves what is there alone.
    ///
    /// # Errors
    /// The value has no form in this codec. What was appended is dropped by the caller.
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The bytes that [`encode`](Encode::encode) would append, if the value consists of them: saves a copy.
    #[inline]
    fn as_bytes(_value: &T) -> Option<&[u8]> {
        None
    }
}

/// Turns bytes back into values; see [`Encode`].
///
/// The bytes come from another process and may be anything: a decoder must not panic on them, must not recurse as deep as
/// they say, and must not allocate what they merely announce. A serde format is made safe by [`Limited`].
///
/// ```
/// use ipc_core::{CodecError, Decode};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// /// A percentage, in one byte.
/// struct Percent;
///
/// impl Decode<u8> for Percent {
///     fn decode(bytes: &[u8]) -> Result<u8, CodecError> {
///         match bytes {
///             [percent @ 0..=100] => Ok(*percent),
///             _ => Err(CodecError::new("it is not one byte of at most 100")),
///         }
///     }
/// }
///
/// assert_eq!(Percent::decode(&[42])?, 42);
/// assert!(Percent::decode(&[101]).is_err() && Percent::decode(&[]).is_err());
/// # Ok(()) }
/// ```
pub trait Decode<T> {
    /// Makes a value of all of `bytes`.
    ///
    /// # Errors
    /// The bytes are not exactly one value of type `T`.
    fn decode(bytes: &[u8]) -> Result<T, CodecError>;
}

/// Why a codec refused a value or bytes.
///
/// ```
/// use ipc_core::{CodecError, Decode, Error, Plain};
///
/// // What a receiver gets when the bytes of a message are not a value of its type.
/// let cause = <Plain as Decode<u32>>::decode(&[1, 2, 3]).unwrap_err();
/// assert_eq!(cause.to_string(), "the message has 3 bytes, the type 4");
/// let error = Error::Decode(CodecError::new("no such colour"));
/// assert_eq!(std::error::Error::source(&error).map(|cause| cause.to_string()), Some("no such colour".into()));
/// ```
pub struct CodecError(Box<dyn std::error::Error + Send + Sync>);

impl CodecError {
    /// Takes an error of a format's library, or a text.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CodecError {
        CodecError(cause.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CodecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Any serde type, in the [postcard](https://postcard.jamesmunns.com/wire-format) format: compact, fast, the default.
///
/// The format does not describe itself, so both ends must have the same type. Types that need a self-describing format
/// (`#[serde(flatten)]`, `#[serde(untagged)]`, `serde_json::Value`) are refused with an error.
///
/// Bytes from a peer are decoded within limits: values nest at most 128 deep, so a linked list of thousands of boxes does not
/// get through (send a `Vec`), and elements that take no bytes (of a `Vec<()>`) are at most 65,536 in one message.
///
/// ```
/// use ipc_core::{Decode, Encode, Postcard};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut bytes = Vec::new();
/// Postcard::encode(&("pi", 3.14_f64), &mut bytes)?;
/// assert_eq!(bytes.len(), 1 + 2 + 8); // a length, two letters, a number
/// let back: (String, f64) = Postcard::decode(&bytes)?;
/// assert_eq!(back, ("pi".to_string(), 3.14));
/// assert!(<Postcard as Decode<(String, f32)>>::decode(&bytes).is_err()); // bytes are left over
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Postcard;

impl<T: Serialize + ?Sized> Encode<T> for Postcard {
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        complaint::clear();
        postcard::serialize_with_flavor(value, Append(out)).map_err(explain)
    }
}

impl<T: DeserializeOwned> Decode<T> for Postcard {
    #[inline(always)] // with all of `Limited`, so that a value is made where it is to be, and not moved from layer to layer
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        complaint::clear();
        let mut deserializer = postcard::Deserializer::from_bytes(bytes);
        let budget = Budget::for_input(bytes.len());
        let value = T::deserialize(Limited::new(&mut deserializer, &budget)).map_err(explain)?;
        match deserializer.finalize().map_err(explain)?.len() {
            0 => Ok(value),
            left => Err(CodecError::new(format!("{left} bytes are left over; is it another type?"))),
        }
    }
}

/// postcard has no room for the text of an error, so what our own code found is kept aside.
fn explain(error: postcard::Error) -> CodecError {
    match (complaint::take(), error) {
        (Some(text), _) => CodecError::new(text),
        (None, postcard::Error::WontImplement | postcard::Error::SerializeSeqLengthUnknown) => CodecError::new(
            "the type needs a self-describing format (flatten, untagged, an iterator of unknown length), which postcard is not",
        ),
        (None, other) => CodecError::new(other),
    }
}

/// As long as a number may be.
const FEW: usize = 10;

/// Writes into a `Vec` that exists already: no allocation once it is warm.
struct Append<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        // Most of what comes is a number of a few bytes: quicker than to call somebody who copies them.
        if data.len() <= FEW {
            self.0.reserve(FEW);
            data.iter().for_each(|byte| self.0.push(*byte));
        } else {
            self.0.extend_from_slice(data);
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Plain bytes: the payload is the message. What to use with a peer that is not Rust.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipc_core::{Bytes, Connection, Encode};
/// let (a, b) = std::os::unix::net::UnixStream::pair()?;
/// let mut a: Connection<Vec<u8>, Vec<u8>, Bytes> = Connection::try_from(std::os::fd::OwnedFd::from(a))?;
/// let mut b: Connection<Vec<u8>, Vec<u8>, Bytes> = Connection::try_from(std::os::fd::OwnedFd::from(b))?;
/// a.send(b"ping".to_vec())?;
/// assert_eq!(b.recv()?, b"ping");
/// assert_eq!(Bytes::as_bytes("ping"), Some(&b"ping"[..])); // so a long message is not copied to be sent
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl<T: AsRef<[u8]> + ?Sized> Encode<T> for Bytes {
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(value.as_ref());
        Ok(())
    }

    #[inline]
    fn as_bytes(value: &T) -> Option<&[u8]> {
        Some(value.as_ref())
    }
}

impl<T: for<'a> From<&'a [u8]>> Decode<T> for Bytes {
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        Ok(bytes.into())
    }
}

/// Plain data as it lies in memory, of a type for which all bytes are a value: numbers, arrays of them, and structs with
/// `#[derive(Pod, Zeroable)]` of the crate `bytemuck`. The quickest there is for what has always the same size; both ends must be programs
/// for the same kind of machine.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipc_core::{Connection, Plain};
/// let (a, b) = std::os::unix::net::UnixStream::pair()?;
/// let mut a: Connection<[f64; 3], [f64; 3], Plain> = Connection::try_from(std::os::fd::OwnedFd::from(a))?;
/// let mut b: Connection<[f64; 3], [f64; 3], Plain> = Connection::try_from(std::os::fd::OwnedFd::from(b))?;
/// a.send([1.0, 2.0, 3.5])?;
/// assert_eq!(b.recv()?, [1.0, 2.0, 3.5]);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<T: bytemuck::NoUninit> Encode<T> for Plain {
    #[inline]
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(bytemuck::bytes_of(value));
        Ok(())
    }

    #[inline]
    fn as_bytes(value: &T) -> Option<&[u8]> {
        Some(bytemuck::bytes_of(value))
    }
}

impl<T: bytemuck::AnyBitPattern> Decode<T> for Plain {
    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, CodecError> {
        bytemuck::try_pod_read_unaligned(bytes).map_err(|_| wrong_size(bytes.len(), size_of::<T>()))
    }
}

#[cold]
fn wrong_size(found: usize, expected: usize) -> CodecError {
    CodecError::new(format!("the message has {found} bytes, the type {expected}"))
}
