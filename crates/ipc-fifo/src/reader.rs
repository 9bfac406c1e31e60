//! Receiving: records become messages.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipc_core::{Deadline, Decode, MAX_MESSAGE, Postcard, Waitable, without_handles};
use nix::poll::PollFlags;

use crate::assembly::{Assembly, Event};
use crate::end::{End, passed};
use crate::error::{Error, Result};
use crate::writer::is_there;

/// How often it is asked whether the writers of unfinished messages are still there.
const SLICE: Duration = Duration::from_millis(25);
/// How many reads a call still makes, if they find something, when its time has passed.
const LATE: u32 = 8;

/// The receiving end of a [`Fifo`](crate::Fifo): messages of type `T`, decoded by `C`, of all its writers.
///
/// The messages of one writer come in the order in which they were sent. One system call reads all that is in the pipe. There is one
/// reader at a time: it takes `&mut self` and is not cloned; opening another one meanwhile is a mistake that tears long messages.
///
/// # When a process dies
///
/// A writer that is killed in the middle of a long message gives [`Error::Torn`] for that message within 25 ms, and the others go on. When
/// the last writer is gone, and everything was received, it is [`Error::Disconnected`], and when another one comes, the next call works;
/// a [`lasting_reader`](crate::Fifo::lasting_reader) waits for it. If the reader is killed, what it had read is lost, and a new one goes on with
/// the messages that it had not, as long as anybody has the FIFO open. A writer that is stopped in the middle of a message
/// holds up nobody else's.
///
/// [`wait`](crate::wait) looks once whether the writers of unfinished messages are gone, when it begins. It sleeps on the FIFO then, and such a
/// death is no event of that as long as anybody else has it open for writing, as a lasting reader has itself. The receiving calls
/// and [`poll`](Reader::poll) look again and again; let `wait` end from time to time where that matters.
///
/// ```
/// use ipc_fifo::{Error, Fifo, Reader, Writer};
///
/// # fn main() -> ipc_fifo::Result<()> {
/// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-reader-{}", std::process::id()));
/// let fifo = Fifo::create(&path, 0o600)?;
/// let writing = std::thread::spawn({
///     let fifo = fifo.share();
///     move || -> ipc_fifo::Result<()> {
///         let mut writer: Writer<(u32, String)> = fifo.writer()?;
///         (1..=3).try_for_each(|n| writer.send((n, "x".repeat(n as usize))))
///     }
/// });
/// let mut reader: Reader<(u32, String)> = fifo.reader()?;
/// for message in reader.iter() {
///     let (n, text) = message?;
///     assert_eq!(text.len(), n as usize);
/// }
/// assert!(matches!(reader.recv(), Err(Error::Disconnected)));
/// # writing.join().unwrap()
/// # }
/// ```
///
/// # References
/// fifo(7), pipe(7), of what a read finds at the end.
pub struct Reader<T, C = Postcard> {
    end: End,
    assembly: Assembly,
    max_message: u64,
    /// The most that can be in the pipe, when it was last asked.
    pipe: usize,
    /// When the writers of unfinished messages were last asked for.
    asked: Option<Instant>,
    /// `wait` has found that one of them is gone, so they are asked for at once.
    missed: AtomicBool,
    pace: Pace,
    types: PhantomData<fn(C) -> T>,
}

/// Whether the reader is at the heels of its writers: then each read finds a record or two, and both sides fight for the pipe. To wait for a
/// moment costs less than that.
#[derive(Debug, Default)]
struct Pace {
    reads: u32,
    bytes: usize,
    /// When the last so many reads began.
    since: Option<Instant>,
    is_close: bool,
}

impl Pace {
    /// After so many reads it is judged anew.
    const READS: u32 = 64;
    /// A read that has slept takes longer, and one that finds so much is worth its while.
    const QUICK: Duration = Duration::from_micros(4);
    const LITTLE: usize = 1024;
    const MOMENT: Duration = Duration::from_nanos(700);

    #[inline]
    fn before_read(&self) {
        if self.is_close {
            let begin = Instant::now();
            while begin.elapsed() < Pace::MOMENT {
                std::hint::spin_loop();
            }
        }
    }

    #[inline]
    fn after_read(&mut self, bytes: usize) {
        self.reads += 1;
        self.bytes += bytes;
        if self.reads == Pace::READS {
            let now = Instant::now();
            let is_quick = self.since.is_some_and(|since| now - since < Pace::QUICK * Pace::READS);
            let is_close = is_quick && self.bytes < Pace::LITTLE * Pace::READS as usize;
            *self = Pace { since: Some(now), is_close, ..Pace::default() };
        }
    }
}

impl<T, C> Reader<T, C> {
    /// Of a file that was opened for reading with `O_NONBLOCK`.
    pub(crate) fn new(file: File) -> Self {
        let end = End::new(file);
        Reader {
            pipe: end.pipe_size(),
            end,
            assembly: Assembly::new(MAX_MESSAGE),
            max_message: MAX_MESSAGE,
            asked: None,
            missed: AtomicBool::new(false),
            pace: Pace::default(),
            types: PhantomData,
        }
    }

    /// The longest message that is accepted, in bytes; 1 GiB unless set. It is checked when a message begins, before anything is set aside for
    /// it. Of a longer one nothing is kept, and it is reported once, as [`Error::TooLarge`].
    ///
    /// Memory grows with what arrives. As up to 256 writers may each have a message unfinished, it may come to 256 times this
    /// limit: set it where not all who may write are trusted.
    ///
    /// ```
    /// use ipc_fifo::{Error, Fifo, Reader, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-max-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut reader: Reader<String> = fifo.lasting_reader()?;
    /// let mut writer: Writer<str> = fifo.writer()?;
    /// reader.set_max_message(10);
    /// writer.send("more than ten")?;
    /// writer.send("ten")?;
    /// assert!(matches!(reader.recv(), Err(Error::TooLarge { len: 14, max: 10 }))); // told once, and left out
    /// assert_eq!(reader.recv()?, "ten");
    /// writer.set_max_message(5);
    /// assert!(matches!(writer.send("more than ten"), Err(Error::TooLarge { max: 5, .. })));
    /// # Ok(()) }
    /// ```
    pub fn set_max_message(&mut self, bytes: u64) {
        self.max_message = bytes;
        self.assembly.set_max_message(bytes);
    }

    /// Receives the next message; waits until one is there.
    ///
    /// A writer that dies in the middle of a message costs that message:
    ///
    /// ```
    /// use ipc_fifo::{Error, Fifo, Reader, Writer};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-torn-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut reader: Reader<Vec<u8>> = fifo.lasting_reader()?;
    /// let (mut one, mut two): (Writer<Vec<u8>>, Writer<Vec<u8>>) = (fifo.writer()?, fifo.writer()?);
    /// two.send(vec![2])?;
    /// let long = one.send_timeout(vec![1; 1 << 20], Duration::from_millis(10)); // more than the pipe has room for
    /// assert!(matches!(long, Err(Error::Unfinished { .. })));
    /// let dead = one.id();
    /// drop(one); // or it is killed
    /// assert_eq!(reader.recv()?, [2]);
    /// assert!(matches!(reader.recv(), Err(Error::Torn { writer, .. }) if writer == dead));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Disconnected`] when there is no writer, and nothing left. [`Error::Torn`], [`Error::TooLarge`], [`Error::Decode`] are about one
    /// message, and [`Error::Garbage`] about none: the next one can be received. [`Error::Forked`].
    pub fn recv(&mut self) -> Result<T>
    where
        C: Decode<T>,
    {
        self.recv_by(Deadline::NEVER)
    }

    /// As [`recv`](Reader::recv), but does not wait.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: no complete message is there. Else as `recv`.
    pub fn try_recv(&mut self) -> Result<T>
    where
        C: Decode<T>,
    {
        self.recv_by(Deadline::NOW)
    }

    /// As [`recv`](Reader::recv), but waits no longer than `timeout`, also while a writer is stopped in the middle of a message.
    ///
    /// # Errors
    /// [`Error::Timeout`]: no complete message came in time; what came of one is kept. Else as `recv`.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T>
    where
        C: Decode<T>,
    {
        self.recv_by(Deadline::after(timeout))
    }

    /// Receives the bytes of the next message, whatever the codec is.
    ///
    /// ```
    /// use ipc_fifo::{Fifo, Reader, Writer};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-recv-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut reader: Reader<()> = fifo.lasting_reader()?;
    /// let mut writer: Writer<()> = fifo.writer()?;
    /// let soon = Duration::from_millis(50);
    /// writer.send_bytes(b"one")?;
    /// writer.try_send_bytes(b"two")?;
    /// writer.send_bytes_timeout(b"three", soon)?;
    /// assert_eq!(reader.recv_bytes()?, b"one");
    /// assert_eq!(reader.try_recv_bytes()?, b"two");
    /// assert_eq!(reader.recv_bytes_timeout(soon)?, b"three");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Reader::recv).
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>> {
        self.recv_bytes_by(Deadline::NEVER)
    }

    /// As [`recv_bytes`](Reader::recv_bytes), but does not wait.
    ///
    /// # Errors
    /// As [`try_recv`](Reader::try_recv).
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>> {
        self.recv_bytes_by(Deadline::NOW)
    }

    /// As [`recv_bytes`](Reader::recv_bytes), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv_timeout`](Reader::recv_timeout).
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>> {
        self.recv_bytes_by(Deadline::after(timeout))
    }

    /// Waits up to `timeout` for a complete message and says whether the next receiving call would return at once: with a
    /// message, or with an error, as when there is no writer. `Duration::ZERO` just looks, `Duration::MAX` waits.
    ///
    /// ```
    /// use ipc_fifo::{Fifo, Reader, Writer};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-poll-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut reader: Reader<u32> = fifo.lasting_reader()?;
    /// assert!(!reader.poll(Duration::ZERO)?);
    /// let mut writer: Writer<u32> = fifo.writer()?;
    /// writer.send(1)?;
    /// assert!(reader.poll(Duration::MAX)? && reader.recv()? == 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`]. Others are left for the receiving call.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool> {
        let deadline = if timeout.is_zero() { Deadline::NOW } else { Deadline::after(timeout) };
        match self.arrive(deadline) {
            Err(Error::Forked) => Err(Error::Forked),
            Err(Error::Timeout | Error::WouldBlock) => Ok(false),
            _ => Ok(true),
        }
    }

    /// Receives message after message until there is no writer.
    pub fn iter(&mut self) -> Iter<'_, T, C> {
        Iter { reader: self, ended: false }
    }

    fn recv_by(&mut self, deadline: Deadline) -> Result<T>
    where
        C: Decode<T>,
    {
        self.arrive(deadline)?;
        let result = match self.assembly.take() {
            Some(Event::Message(bytes)) => {
                ipc_core::crash_point!("record.assembled");
                without_handles(|| C::decode(bytes)).map_err(Error::Decode)
            }
            Some(Event::Long(bytes)) => {
                ipc_core::crash_point!("record.assembled");
                let message = without_handles(|| C::decode(&bytes)).map_err(Error::Decode);
                self.assembly.recycle(bytes);
                message
            }
            other => Err(error_of(other, self.max_message)),
        };
        // So that it is known, without a call that changes something, whether there is more.
        self.assembly.prepare();
        result
    }

    fn recv_bytes_by(&mut self, deadline: Deadline) -> Result<Vec<u8>> {
        self.arrive(deadline)?;
        let result = match self.assembly.take() {
            Some(Event::Message(bytes)) => Ok(bytes.to_vec()),
            Some(Event::Long(bytes)) => Ok(bytes),
            other => Err(error_of(other, self.max_message)),
        };
        if result.is_ok() {
            ipc_core::crash_point!("record.assembled");
        }
        self.assembly.prepare();
        result
    }

    /// Waits until there is an event.
    #[inline]
    fn arrive(&mut self, deadline: Deadline) -> Result<()> {
        self.end.check_process()?;
        if self.assembly.prepare() { Ok(()) } else { self.fill(deadline) }
    }

    fn fill(&mut self, deadline: Deadline) -> Result<()> {
        let mut late = 0;
        while !self.assembly.prepare() {
            let unfinished = self.assembly.is_waiting();
            if unfinished {
                self.ask_for_writers()?;
            }
            self.end.set_wait(deadline == Deadline::NEVER && !unfinished)?;
            match self.read()? {
                // What lies ready is taken although the time has passed, but not without end: a long message may come as fast as it is read.
                Some(1..) => late += u32::from(deadline.has_passed()),
                Some(0) => {
                    self.assembly.end();
                    return if self.assembly.prepare() { Ok(()) } else { Err(Error::Disconnected) };
                }
                None if self.assembly.prepare() => return Ok(()),
                None => self.wait(deadline)?,
            }
            if late > LATE && !self.assembly.prepare() {
                return Err(passed(deadline));
            }
        }
        Ok(())
    }

    /// Reads all that is in the pipe. `Some(0)`: it is empty, and there is no writer; `None`: it is empty.
    fn read(&mut self) -> Result<Option<usize>> {
        self.pace.before_read();
        let room = self.assembly.room(self.pipe);
        let size = room.len();
        loop {
            match (&self.end.file).read(room) {
                Ok(bytes) => {
                    self.pace.after_read(bytes);
                    ipc_core::crash_point!("record.read");
                    if bytes == size {
                        self.pipe = self.end.pipe_size(); // somebody has made it larger
                    }
                    self.assembly.arrived(bytes, bytes < size);
                    return Ok(Some(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.assembly.arrived(0, true);
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read from the FIFO")(error)),
            }
        }
    }

    /// Finds out which writers of unfinished messages are gone, from time to time. Before a read: what they have written is read then, and if
    /// it does not finish the message, nothing will.
    fn ask_for_writers(&mut self) -> Result<()> {
        let is_missed = std::mem::take(self.missed.get_mut());
        if !is_missed && self.asked.is_some_and(|asked| asked.elapsed() < SLICE) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        let mut gone = Vec::new(); // does not allocate unless one is
        for writer in self.assembly.writers() {
            if !is_there(&self.end.file, writer)? {
                gone.push(writer);
            }
        }
        gone.into_iter().for_each(|writer| self.assembly.mark_gone(writer));
        Ok(())
    }

    /// The pipe is empty: waits for more, or until it is time to ask for the writers again.
    fn wait(&mut self, deadline: Deadline) -> Result<()> {
        let left = deadline.remaining();
        if left == Some(Duration::ZERO) {
            return Err(passed(deadline));
        }
        let until = match self.assembly.is_waiting() && left.is_none_or(|left| left > SLICE) {
            true => Deadline::after(SLICE),
            false => deadline,
        };
        self.end.poll(PollFlags::POLLIN, until)?;
        Ok(())
    }
}

#[cold]
fn error_of(event: Option<Event<'_>>, max: u64) -> Error {
    match event {
        Some(Event::Torn { writer, arrived, total }) => Error::Torn { writer, arrived, total },
        Some(Event::TooLarge { len }) => Error::TooLarge { len, max },
        Some(Event::Garbage { bytes }) => Error::Garbage { bytes },
        Some(Event::Message(_) | Event::Long(_)) | None => Error::WouldBlock, // not called for these
    }
}

/// Receives message after message; ends when there is no writer. See [`Reader::iter`].
///
/// An error other than [`Error::Disconnected`] is an item; after one that is not about a single message the iteration ends.
///
/// ```
/// use ipc_fifo::{Error, Fifo, Reader, Writer};
/// use std::io::Write;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-iter-{}", std::process::id()));
/// let fifo = Fifo::create(&path, 0o600)?;
/// let mut reader: Reader<u32> = fifo.lasting_reader()?;
/// let mut writer: Writer<u32> = fifo.writer()?;
/// writer.send(1)?;
/// fifo.write_end()?.write_all(b"echo of a shell\n")?;
/// writer.send(2)?;
/// let mut messages = reader.iter();
/// assert_eq!(messages.next().transpose()?, Some(1));
/// assert!(matches!(messages.next(), Some(Err(Error::Garbage { bytes: 16 }))));
/// assert_eq!(messages.next().transpose()?, Some(2));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Iter<'a, T, C = Postcard> {
    reader: &'a mut Reader<T, C>,
    ended: bool,
}

impl<T, C: Decode<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.ended {
            return None;
        }
        let item = self.reader.recv();
        self.ended = item.as_ref().is_err_and(|error| !error.is_of_one_message());
        match item {
            Err(Error::Disconnected) => None,
            item => Some(item),
        }
    }
}

impl<'a, T, C: Decode<T>> IntoIterator for &'a mut Reader<T, C> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T, C>;

    fn into_iter(self) -> Iter<'a, T, C> {
        self.iter()
    }
}

impl<T, C> Waitable for Reader<T, C> {
    fn is_ready_now(&self) -> bool {
        if self.assembly.may_be_ready() {
            return true;
        }
        let is_missed = self.assembly.is_without_writer()
            || self.assembly.writers().any(|writer| is_there(&self.end.file, writer).is_ok_and(|is_there| !is_there));
        if is_missed {
            // Only said to the next receiving call, which this thread or one with a lock of the user's will make.
            self.missed.store(true, Ordering::Relaxed);
        }
        is_missed
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.end.file.as_fd()
    }
}

impl<T, C> AsFd for Reader<T, C> {
    /// The descriptor, to poll or to inspect; its mode is changed by the calls, and what is read from it by other means is lost.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.file.as_fd()
    }
}

impl<T, C> fmt::Debug for Reader<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("fd", &self.end.file.as_fd()).finish_non_exhaustive()
    }
}
