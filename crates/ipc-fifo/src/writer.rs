//! Sending: a message becomes records.

use std::borrow::Borrow;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ipc_core::{CodecError, Deadline, Encode, MAX_MESSAGE, Postcard, without_handles};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::PollFlags;

use crate::end::{End, passed};
use crate::error::{Error, Result};
use crate::record::{HEADER, Header, PAYLOAD};

/// A buffer that has grown beyond this is given back when its message is out.
const KEEP: usize = 1024 * 1024;
/// How many writers may have drawn the same number. That one has is as good as impossible.
const ATTEMPTS: u32 = 8;
/// How many records a call still writes, if it need not wait for it, when its time has passed: as many as the largest pipe of an ordinary
/// user has room for.
const LATE: u32 = 256;

/// The sending end of a [`Fifo`](crate::Fifo), one of any number: messages of type `T`, encoded by `C`.
///
/// A message of up to 4,048 bytes is one record, and one system call; a longer one is cut into several, between which those of other writers
/// may come. No writer waits for another, unless the pipe is full (65,536 bytes, pipe(7)).
///
/// `send` returns when the kernel has the message. If the reader dies before it has read it, the next reader gets it, as long
/// as anybody has the FIFO open; when nobody has, the kernel drops what is in it.
///
/// # When a process dies
///
/// If this one is killed in the middle of a long message, the reader gets [`Error::Torn`] for it and goes on with the others. If the reader
/// dies, sending fails with [`Error::Disconnected`], also a call that waits; when there is a reader again, the next call works. A reader that is
/// stopped lets `send` wait when the pipe is full, and the timed forms keep their time. Dropping a writer with an
/// [`Unfinished`](Error::Unfinished) message tears it; [`flush`](Writer::flush) it before.
///
/// ```
/// use ipc_fifo::{Fifo, Reader, Writer};
///
/// # fn main() -> ipc_fifo::Result<()> {
/// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-writer-{}", std::process::id()));
/// let fifo = Fifo::create(&path, 0o600)?;
/// assert!(fifo.try_writer::<str, ipc_fifo::Postcard>().is_err_and(|e| e.is_would_block())); // nobody reads
/// let mut reader: Reader<String> = fifo.lasting_reader()?;
/// let (mut one, mut two): (Writer<str>, Writer<str>) = (fifo.writer()?, fifo.writer()?);
/// one.send("first")?;
/// two.send("second")?;
/// assert_eq!(reader.recv()?, "first");
/// assert_eq!(reader.recv()?, "second");
/// # Ok(()) }
/// ```
///
/// # References
/// pipe(7), of `PIPE_BUF`: what is no longer is not mixed with what others write.
pub struct Writer<T: ?Sized, C = Postcard> {
    end: End,
    id: u64,
    /// The number of the message in the buffer.
    number: u64,
    /// Room for a header, and the message.
    buffer: Vec<u8>,
    /// How many bytes of the message are out, if it is not all.
    unfinished: Option<usize>,
    max_message: u64,
    types: PhantomData<fn(&T, C)>,
}

impl<T: ?Sized, C> Writer<T, C> {
    /// Of a file that was opened for writing with `O_NONBLOCK`.
    pub(crate) fn new(file: File) -> Result<Self> {
        Ok(Writer {
            id: enter(&file)?,
            end: End::new(file),
            number: 0,
            buffer: Vec::new(),
            unfinished: None,
            max_message: MAX_MESSAGE,
            types: PhantomData,
        })
    }

    /// The longest message that may be sent, in bytes; 1 GiB unless set. The reader has a limit of its own.
    pub fn set_max_message(&mut self, bytes: u64) {
        self.max_message = bytes;
    }

    /// The number by which readers know this writer, as in [`Error::Torn`]: random, never 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends a message: a `T`, or a `&T` to keep it. Waits while the pipe is full.
    ///
    /// # Errors
    /// [`Error::Disconnected`] when nobody reads; [`Error::Encode`], [`Error::TooLarge`]: nothing was sent. [`Error::Forked`].
    pub fn send(&mut self, message: impl Borrow<T>) -> Result<()>
    where
        C: Encode<T>,
    {
        self.send_by(message.borrow(), Deadline::NEVER)
    }

    /// As [`send`](Writer::send), but does not wait.
    ///
    /// ```
    /// use ipc_fifo::{Fifo, Reader, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-full-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut reader: Reader<u32> = fifo.lasting_reader()?;
    /// let mut writer: Writer<u32> = fifo.writer()?;
    /// let full = (0..).find_map(|n| writer.try_send(n).err()).expect("nobody reads");
    /// assert!(full.is_would_block()); // that number has not been sent
    /// assert_eq!(reader.recv()?, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: nothing was sent. [`Error::Unfinished`]: a part was, the rest follows with the next call. Else as `send`.
    pub fn try_send(&mut self, message: impl Borrow<T>) -> Result<()>
    where
        C: Encode<T>,
    {
        self.send_by(message.borrow(), Deadline::NOW)
    }

    /// As [`send`](Writer::send), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]: nothing was sent. [`Error::Unfinished`]: a part was, the rest follows with the next call. Else as `send`.
    pub fn send_timeout(&mut self, message: impl Borrow<T>, timeout: Duration) -> Result<()>
    where
        C: Encode<T>,
    {
        self.send_by(message.borrow(), Deadline::after(timeout))
    }

    /// Sends `bytes` as a message, whatever the codec is.
    ///
    /// # Errors
    /// As [`send`](Writer::send).
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_bytes_by(bytes, Deadline::NEVER)
    }

    /// As [`send_bytes`](Writer::send_bytes), but does not wait.
    ///
    /// # Errors
    /// As [`try_send`](Writer::try_send).
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_bytes_by(bytes, Deadline::NOW)
    }

    /// As [`send_bytes`](Writer::send_bytes), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`send_timeout`](Writer::send_timeout).
    pub fn send_bytes_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<()> {
        self.send_bytes_by(bytes, Deadline::after(timeout))
    }

    /// Writes the rest of a message that an earlier call left [`Unfinished`](Error::Unfinished). Nothing to do otherwise.
    ///
    /// ```
    /// use ipc_fifo::{Error, Fifo, Reader, Writer};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-flush-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut reader: Reader<Vec<u8>> = fifo.lasting_reader()?;
    /// let mut writer: Writer<Vec<u8>> = fifo.writer()?;
    /// let long = vec![7; 1 << 20];
    /// match writer.send_timeout(&long, Duration::from_millis(10)) {
    ///     Err(Error::Unfinished { left }) => assert!(left > 0), // not to be sent again
    ///     other => panic!("{other:?}"),
    /// }
    /// let reading = std::thread::spawn(move || reader.recv());
    /// writer.flush(Duration::MAX)?; // or any other `send`: first goes the rest
    /// assert_eq!(reading.join().unwrap()?, long);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`]: there still is a rest. [`Error::Disconnected`]: it was dropped.
    pub fn flush(&mut self, timeout: Duration) -> Result<()> {
        self.flush_by(Deadline::after(timeout))
    }

    fn send_by(&mut self, message: &T, deadline: Deadline) -> Result<()>
    where
        C: Encode<T>,
    {
        self.flush_by(deadline)?;
        self.begin();
        without_handles(|| C::encode(message, &mut self.buffer)).map_err(Error::Encode)?;
        self.finish(deadline)
    }

    fn send_bytes_by(&mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        self.flush_by(deadline)?;
        self.begin();
        self.buffer.extend_from_slice(bytes);
        self.finish(deadline)
    }

    #[inline]
    fn flush_by(&mut self, deadline: Deadline) -> Result<()> {
        self.end.check_process()?;
        match self.unfinished {
            None => Ok(()),
            Some(_) => self.write_rest(deadline),
        }
    }

    /// Empties the buffer, also of what an encoder has left that failed or panicked.
    #[inline]
    fn begin(&mut self) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; HEADER]);
    }

    /// Writes the message in the buffer; if nothing of it goes out, it was never there.
    fn finish(&mut self, deadline: Deadline) -> Result<()> {
        let len = self.buffer.len().checked_sub(HEADER);
        let len = len.ok_or_else(|| Error::Encode(CodecError::new("the codec removed bytes that were not its own")))?;
        if len as u64 > self.max_message {
            return Err(Error::TooLarge { len: len as u64, max: self.max_message });
        }
        ipc_core::crash_point!("record.encoded");
        self.number += 1;
        self.unfinished = Some(0);
        self.write_rest(deadline).map_err(|error| match self.unfinished {
            None => error,
            Some(0) => {
                self.unfinished = None;
                error
            }
            Some(written) => Error::Unfinished { left: (len - written) as u64 },
        })
    }

    /// Writes record after record. When time is short the rest stays; after all other errors it is dropped.
    fn write_rest(&mut self, deadline: Deadline) -> Result<()> {
        self.end.set_wait(deadline == Deadline::NEVER)?;
        let total = self.buffer.len() - HEADER;
        let mut late = 0;
        while let Some(written) = self.unfinished {
            let len = (total - written).min(PAYLOAD);
            // The bytes before these are out, so there is room for the header.
            let record = &mut self.buffer[written..written + HEADER + len];
            let (offset, total) = (written as u64, total as u64);
            let header = Header { len, number: self.number, writer: self.id, offset, total };
            record[..HEADER].copy_from_slice(&header.encode());
            if let Err(error) = write(&self.end, record, deadline) {
                if !error.is_timeout() && !error.is_would_block() {
                    self.forget();
                }
                return Err(error);
            }
            if header.is_last() {
                ipc_core::crash_point!("record.sent");
                self.forget();
            } else {
                ipc_core::crash_point!("record.part");
                self.unfinished = Some(written + len);
                // The reader may take it as fast as it comes, and the call would not end.
                late += u32::from(deadline.has_passed());
                if late > LATE {
                    return Err(passed(deadline));
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.unfinished = None;
        if self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
    }
}

/// Writes one record, whole: it is no longer than what the kernel does not cut.
fn write(end: &End, record: &[u8], deadline: Deadline) -> Result<()> {
    loop {
        match (&end.file).write(record) {
            Ok(n) if n == record.len() => return Ok(()),
            Ok(_) => return Err(Error::io("write a whole record")(io::Error::from(io::ErrorKind::WriteZero))),
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe => return Err(Error::Disconnected),
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => {}
                _ => return Err(Error::io("write to the FIFO")(error)),
            },
        }
        // Another writer may be faster than this one when there is room, so it is tried again.
        if deadline.has_passed() || !end.poll(PollFlags::POLLOUT, deadline)? {
            return Err(passed(deadline));
        }
    }
}

/// Draws a number for a writer, and locks the byte of that number: while it is locked, the writer lives. The kernel unlocks it when its file
/// is closed.
fn enter(file: &File) -> Result<u64> {
    for _ in 0..ATTEMPTS {
        let random = getrandom::u64().map_err(|error| Error::io("draw a random number")(io::Error::other(error)))?;
        let id = (random & i64::MAX as u64).max(1); // the number of a byte is signed
        match fcntl(file, FcntlArg::F_OFD_SETLK(&byte(id))) {
            Ok(_) => return Ok(id),
            Err(Errno::EAGAIN | Errno::EACCES) => {} // somebody has this number
            Err(errno) => return Err(Error::io("lock the number of a writer")(errno)),
        }
    }
    Err(Error::io("lock the number of a writer")(io::Error::other("somebody has locked all numbers")))
}

/// Whether the writer of this number has its file open. `file` is the reader's.
pub(crate) fn is_there(file: &File, id: u64) -> Result<bool> {
    let mut lock = byte(id);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(Error::io("ask for a writer"))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn byte(id: u64) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: id as libc::off_t,
        l_len: 1,
        l_pid: 0, // as the kernel wants it for these locks
    }
}

impl<T: ?Sized, C> AsFd for Writer<T, C> {
    /// The descriptor, to poll or to inspect; its mode is changed by the calls, and what is written to it by other means is garbage.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.file.as_fd()
    }
}

impl<T: ?Sized, C> fmt::Debug for Writer<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.end.file.as_fd();
        f.debug_struct("Writer").field("fd", &fd).field("id", &format_args!("{:016x}", self.id)).finish_non_exhaustive()
    }
}
