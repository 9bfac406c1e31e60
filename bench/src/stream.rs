//! Streams of the kernel as ways for messages.

use ipc_core::Handle;
use nix::errno::Errno;
use nix::unistd::{read, write};

use crate::failure::{Failure, Outcome};
use crate::message::Words;
use crate::transfer::Line;

pub(crate) trait Stream: 'static {
    /// Where to write, and where to read.
    fn ends() -> Outcome<(Handle, Handle)>;
}

/// Bytes of a length that both sides know.
impl<S: Stream> Line<[u8]> for S {
    type Entrance = Handle;
    type Exit = (Handle, usize);
    type Sender = Handle;
    type Receiver = (Handle, Vec<u8>);

    fn new(len: usize) -> Outcome<(Handle, (Handle, usize))> {
        let (writing, reading) = S::ends()?;
        Ok((writing, (reading, len)))
    }

    fn sender(entrance: Handle) -> Outcome<Handle> {
        Ok(entrance)
    }

    fn receiver((reading, len): (Handle, usize)) -> Outcome<(Handle, Vec<u8>)> {
        Ok((reading, vec![0; len]))
    }

    #[inline(always)]
    fn send(sender: &mut Handle, message: &[u8]) -> Outcome<bool> {
        write_all(sender, message)
    }

    #[inline(always)]
    fn receive((reading, message): &mut (Handle, Vec<u8>), look: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        read_all(reading, message)?;
        look(message)
    }
}

impl<S: Stream> Line<Words> for S {
    type Entrance = Handle;
    type Exit = Handle;
    type Sender = Handle;
    type Receiver = Handle;

    fn new(_: usize) -> Outcome<(Handle, Handle)> {
        S::ends()
    }

    fn sender(entrance: Handle) -> Outcome<Handle> {
        Ok(entrance)
    }

    fn receiver(exit: Handle) -> Outcome<Handle> {
        Ok(exit)
    }

    #[inline(always)]
    fn send(sender: &mut Handle, message: &Words) -> Outcome<bool> {
        write_all(sender, bytemuck::bytes_of(message))
    }

    #[inline(always)]
    fn receive(receiver: &mut Handle, look: impl FnOnce(&Words) -> Outcome<()>) -> Outcome<()> {
        let mut message = [0; 8];
        read_all(receiver, bytemuck::bytes_of_mut(&mut message))?;
        look(&message)
    }
}

#[inline(always)]
fn write_all(writing: &Handle, mut bytes: &[u8]) -> Outcome<bool> {
    while !bytes.is_empty() {
        match write(writing, bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(true)
}

#[inline(always)]
fn read_all(reading: &Handle, mut bytes: &mut [u8]) -> Outcome<()> {
    while !bytes.is_empty() {
        match read(reading, bytes)? {
            0 => return Err(Failure::new("the stream ended")),
            len => bytes = &mut bytes[len..],
        }
    }
    Ok(())
}
