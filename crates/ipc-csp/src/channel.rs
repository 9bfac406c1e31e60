//! Networks, channels and their ends, as users see them.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ipc_core::Deadline;
use ipc_sync::mechanism::contents_of;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::choose::{Event, Guard, choose};
use crate::ends::{Encoded, End, Kind, Tag, decode};
use crate::error::Quick;
use crate::layout::{CLOSED, NAME, OFFERS, POISONED};
use crate::net::Net;
use crate::{Error, Report, Result, WriteError};

/// Channels that belong together: those between which a process can choose, and whose ends can be sent over each other.
///
/// A network is a handle for shared memory of its own (some 2 MiB), which is gone with the last process that has an end of one of its
/// channels. It can have 1,024 channels, 8,192 ends, 4,096 values in buffers and 1,024 threads that communicate at the same time.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = ipc_csp::Network::new()?;
/// let numbers = network.channel::<u64>()?;
/// let (writer, reader) = (numbers.writer()?, numbers.reader()?);
/// let child = ipc_core::Process::spawn(|reader: ipc_csp::Reader<u64>| reader.iter().sum::<u64>(), reader)?;
/// (1..=10).try_for_each(|n| writer.write(n))?;
/// drop(writer); // the last one: the reader sees the end
/// assert_eq!(child.join()?, 55);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Network {
    net: Arc<Net>,
}

impl Network {
    /// Makes a network without channels. A clone of it is the same network.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system has no memory for it, or the limit of open files is reached.
    pub fn new() -> Result<Network> {
        Ok(Network { net: Net::create()? })
    }

    pub(crate) fn of(net: Arc<Net>) -> Network {
        Network { net }
    }

    /// Makes a channel on which reader and writer meet.
    ///
    /// ```
    /// # fn main() -> ipc_csp::Result<()> {
    /// let channel = ipc_csp::Network::new()?.channel::<u32>()?;
    /// let (writer, reader) = (channel.writer()?, channel.reader()?);
    /// assert!(writer.try_write(1).is_err_and(|refused| refused.error.is_would_block())); // nobody reads just now
    /// let reading = std::thread::spawn(move || reader.read());
    /// writer.write(2)?; // returns when it is read
    /// assert_eq!(reading.join().expect("it does not panic")?, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Full`] if the network has as many channels as it can; [`Error::Timeout`] after 10 s if a process was stopped while it made a
    /// channel, or saw to the dead; [`Error::Forked`].
    pub fn channel<T>(&self) -> Result<Channel<T>> {
        self.builder().channel()
    }

    /// Makes a channel that keeps up to `capacity` values nobody has read yet. 0 makes one on which reader and writer meet.
    ///
    /// ```
    /// # fn main() -> ipc_csp::Result<()> {
    /// let channel = ipc_csp::Network::new()?.buffered::<u32>(2)?;
    /// let (writer, reader) = (channel.writer()?, channel.reader()?);
    /// writer.write(1)?; // returns though nobody reads
    /// writer.write(2)?;
    /// assert!(writer.try_write(3).is_err_and(|refused| refused.error.is_would_block()));
    /// drop(writer);
    /// assert_eq!(reader.iter().collect::<Vec<_>>(), [1, 2]); // also after its writer has gone
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`channel`](Network::channel); [`Error::Full`] also for a capacity beyond 4,096.
    pub fn buffered<T>(&self, capacity: usize) -> Result<Channel<T>> {
        self.builder().buffered(capacity).channel()
    }

    /// For a channel with a name.
    ///
    /// ```
    /// # fn main() -> ipc_csp::Result<()> {
    /// let network = ipc_csp::Network::new()?;
    /// let results = network.builder().name("results").buffered(8).channel::<f64>()?;
    /// assert_eq!(results.name(), "results");
    /// # Ok(()) }
    /// ```
    pub fn builder(&self) -> ChannelBuilder<'_> {
        ChannelBuilder { network: self, capacity: 0, name: String::new() }
    }

    /// Who waits for what, just now, and who seems to wait for each other.
    ///
    /// ```
    /// # fn main() -> ipc_csp::Result<()> {
    /// let network = ipc_csp::Network::new()?;
    /// let jobs = network.builder().name("jobs").buffered(4).channel::<u32>()?;
    /// let (writer, _reader) = (jobs.writer()?, jobs.reader()?);
    /// writer.write(7)?;
    /// assert_eq!(network.report()?.to_string(), "jobs: 1 writers, 1 readers, 1 of 4 values\n");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn report(&self) -> Result<Report> {
        Ok(Report::of(&self.net)?)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

/// How a channel is to be; from [`Network::builder`].
///
/// ```
/// use ipc_csp::{Error, Network};
///
/// # fn main() -> ipc_csp::Result<()> {
/// let network = Network::new()?;
/// let log = network.builder().name("log").buffered(100).channel::<String>()?;
/// assert_eq!(log.name(), "log");
/// let long = network.builder().name("a name of more than thirty-two bytes").channel::<String>();
/// assert!(matches!(long, Err(Error::LongName { len: 36, max: 32 })));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ChannelBuilder<'a> {
    network: &'a Network,
    capacity: usize,
    name: String,
}

impl ChannelBuilder<'_> {
    /// Keeps up to `capacity` values nobody has read yet.
    pub fn buffered(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Its name in reports, of up to 32 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Makes the channel.
    ///
    /// # Errors
    /// As [`Network::buffered`]; [`Error::LongName`].
    pub fn channel<T>(self) -> Result<Channel<T>> {
        if self.name.len() > NAME {
            return Err(Error::LongName { len: self.name.len(), max: NAME });
        }
        if self.capacity > OFFERS {
            return Err(Error::Full { what: "values in a buffer", max: OFFERS });
        }
        let end = self.network.net.add_channel(self.capacity, &self.name, contents::<T>())?;
        Ok(Channel { end, of: PhantomData })
    }
}

/// What both sides must agree on: FNV-1a.
fn contents<T>() -> u64 {
    ipc_sync::mechanism::hash_of(&contents_of::<T>())
}

macro_rules! end {
    ($name:ident, $kind:expr) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                $name { end: Arc::clone(&self.end), of: PhantomData }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("channel", &self.end.tag.channel)
                    .field("name", &self.name())
                    .finish()
            }
        }

        /// Sends one more of it; this one stays.
        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.end.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let end = End::deserialize($kind, contents::<T>(), deserializer)?;
                Ok($name { end, of: PhantomData })
            }
        }

        impl<T> $name<T> {
            /// The channel's name; empty if it was given none.
            pub fn name(&self) -> String {
                self.end.net.name_of(self.end.channel())
            }

            /// The network that it belongs to.
            ///
            /// ```
            /// # fn main() -> ipc_csp::Result<()> {
            /// let network = ipc_csp::Network::new()?;
            /// let requests = network.channel::<u32>()?;
            /// let answers = requests.network().channel::<String>()?; // so that one can choose between both
            /// assert_eq!(network.report()?.channels().len(), 2);
            /// # drop(answers);
            /// # Ok(()) }
            /// ```
            pub fn network(&self) -> Network {
                Network::of(Arc::clone(&self.end.net))
            }

            /// Poisons the channel: from now on every read and write of it fails with [`Error::Poisoned`], also those that are waiting; what
            /// was in it is thrown away.
            ///
            /// ```
            /// # fn main() -> ipc_csp::Result<()> {
            /// let channel = ipc_csp::Network::new()?.buffered::<u32>(2)?;
            /// let (writer, reader) = (channel.writer()?, channel.reader()?);
            /// writer.write(1)?;
            /// reader.poison()?; // any end can, and the channel
            /// assert!(reader.read().is_err_and(|error| error.is_poisoned())); // the 1 is gone
            /// assert!(writer.write(2).is_err_and(|refused| refused.error.is_poisoned()));
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::Forked`]. (If a process is stopped while it has the channel locked, those who wait learn of it with a delay.)
            pub fn poison(&self) -> Result<()> {
                self.over(POISONED)
            }

            /// Closes the channel: nothing more can be written, and those that wait to write get [`Error::Closed`]. Readers still get what was
            /// written before, and then the same.
            ///
            /// ```
            /// use ipc_csp::{Error, Network};
            ///
            /// # fn main() -> ipc_csp::Result<()> {
            /// let channel = Network::new()?.buffered::<u32>(2)?;
            /// let (writer, reader) = (channel.writer()?, channel.reader()?);
            /// writer.write(1)?;
            /// writer.close()?;
            /// assert!(matches!(writer.write(2), Err(refused) if matches!(refused.error, Error::Closed)));
            /// assert_eq!(reader.read()?, 1); // what was written before is still read
            /// assert!(matches!(reader.read(), Err(Error::Closed)));
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`poison`](Self::poison).
            pub fn close(&self) -> Result<()> {
                self.over(CLOSED)
            }

            fn over(&self, flag: u32) -> Result<()> {
                self.end.net.segment().check_fork()?;
                Ok(self.end.net.end_channel(self.end.channel(), self.end.tag.generation, flag)?)
            }
        }
    };
}

/// A channel for values of one type, between any number of writers and readers: each value goes to one of the readers.
///
/// This is where ends come from. It counts as no end itself: when all writers, or all readers, that there were are gone, those at the other end see
/// that. Clone it, pass it to processes, send it over other channels of the network.
///
/// ```
/// use ipc_csp::{Network, Process, Reader};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let jobs = Network::new()?.channel::<u64>()?;
/// let add_up = |jobs: Reader<u64>| jobs.iter().sum::<u64>();
/// let workers = [Process::spawn(add_up, jobs.reader()?)?, Process::spawn(add_up, jobs.reader()?)?];
/// let writer = jobs.writer()?;
/// (1..=100).try_for_each(|job| writer.write(job))?; // each goes to whoever is free
/// drop(writer); // the last one: the workers see the end
/// let sums = workers.into_iter().map(Process::join).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(sums.iter().sum::<u64>(), 5050);
/// # Ok(()) }
/// ```
///
/// # References
/// PyCSP `pycsp/parallel/channel.py`, where a thread of its maker looks after a channel.
pub struct Channel<T> {
    end: Arc<End>,
    of: PhantomData<fn(T) -> T>,
}

impl<T> Channel<T> {
    /// An end to read from.
    ///
    /// # Errors
    /// [`Error::Full`] if the network has as many ends as it can; [`Error::Forked`].
    pub fn reader(&self) -> Result<Reader<T>> {
        Ok(Reader { end: self.end_for(Kind::Reader)?, of: PhantomData })
    }

    /// An end to write to.
    ///
    /// # Errors
    /// As [`reader`](Channel::reader).
    pub fn writer(&self) -> Result<Writer<T>> {
        Ok(Writer { end: self.end_for(Kind::Writer)?, of: PhantomData })
    }

    fn end_for(&self, kind: Kind) -> Quick<Arc<End>> {
        self.end.check()?;
        End::new(&self.end.net, Tag { kind, ..self.end.tag })
    }
}

/// An end of a channel to read from.
///
/// Its clones in a process are one end, which is gone with the last of them. To send it is to send one more; drop this one, or it goes on to
/// count. When all readers are gone, writers get [`Error::Retired`].
///
/// ```
/// use std::time::Duration;
///
/// use ipc_csp::Network;
///
/// # fn main() -> ipc_csp::Result<()> {
/// let channel = Network::new()?.buffered::<u32>(1)?;
/// let (writer, reader) = (channel.writer()?, channel.reader()?);
/// assert!(reader.try_read().is_err_and(|error| error.is_would_block()));
/// assert!(reader.read_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
/// writer.write(7)?;
/// let clone = reader.clone(); // the same end
/// assert_eq!(clone.network().report()?.channels()[0].readers, 1);
/// reader.retire();
/// assert_eq!(clone.read()?, 7);
/// clone.retire(); // the last one
/// assert!(writer.write(8).is_err_and(|refused| refused.error.is_retired()));
/// # Ok(()) }
/// ```
pub struct Reader<T> {
    pub(crate) end: Arc<End>,
    of: PhantomData<fn() -> T>,
}

/// An end of a channel to write to.
///
/// As to clones and sending see [`Reader`]. When all writers are gone, readers get what is left, and then [`Error::Retired`].
///
/// ```
/// use std::time::Duration;
///
/// use ipc_csp::{Network, Writer};
///
/// # fn main() -> ipc_csp::Result<()> {
/// let network = Network::new()?;
/// let (words, answers) = (network.buffered::<String>(1)?, network.buffered::<Writer<u32>>(1)?);
/// let (writer, reader) = (words.writer()?, words.reader()?);
/// writer.write("one".to_string())?;
/// let refused = writer.write_timeout("two".to_string(), Duration::from_millis(1)).expect_err("there is no room");
/// assert!(refused.error.is_timeout() && refused.value == "two"); // it comes back, and nobody will ever read it
///
/// // An end that is written goes with the value: the reader gets one more, and this one is dropped.
/// let lengths = network.buffered::<u32>(1)?;
/// answers.writer()?.write(lengths.writer()?)?;
/// let arrived: Writer<u32> = answers.reader()?.read()?;
/// arrived.write(reader.read()?.len() as u32)?;
/// assert_eq!(lengths.reader()?.read()?, 3);
/// # Ok(()) }
/// ```
pub struct Writer<T> {
    pub(crate) end: Arc<End>,
    of: PhantomData<fn(T)>,
}

end!(Channel, Kind::Channel);
end!(Reader, Kind::Reader);
end!(Writer, Kind::Writer);

impl<T: DeserializeOwned> Reader<T> {
    /// Reads a value; waits until one is written.
    ///
    /// A process that is killed before this returns has not read it: the value goes to somebody else, and until then its writer waits.
    ///
    /// ```
    /// use ipc_csp::{Network, Process, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let numbers = Network::new()?.channel::<u32>()?;
    /// let reader = numbers.reader()?;
    /// let child = Process::spawn(|to: Writer<u32>| while to.write(1).is_ok() {}, numbers.writer()?)?;
    /// assert_eq!(reader.read()?, 1);
    /// child.kill()?;
    /// let end = loop {
    ///     let Err(error) = reader.read() else { continue };
    ///     break error;
    /// };
    /// assert!(end.is_retired()); // its writer died, and there is no other one
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Poisoned`], [`Error::Retired`] when the channel has ended; [`Error::Decode`] if the value is not one of the
    /// type: then it has been read; [`Error::Forked`].
    pub fn read(&self) -> Result<T> {
        self.read_by(Deadline::NEVER)
    }

    /// As [`read`](Reader::read), without waiting.
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if there is no value now.
    pub fn try_read(&self) -> Result<T> {
        self.read_by(Deadline::NOW)
    }

    /// As [`read`](Reader::read), waiting no longer than that.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn read_timeout(&self, timeout: Duration) -> Result<T> {
        self.read_by(Deadline::after(timeout))
    }

    fn read_by(&self, deadline: Deadline) -> Result<T> {
        loop {
            match choose(&self.end.net, &mut [Guard::read(&self.end)], deadline)?.1 {
                Event::Read(taken) => {
                    if let Some(value) = decode(taken)? {
                        return Ok(value);
                    }
                }
                Event::Over(error) => return Err(error),
                Event::Written => return Err(Error::Damaged("a reader has written")),
            }
        }
    }

    /// All values up to the end of the channel. An error that is not the end ends it, too; use [`read`](Reader::read) to see that.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self)
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Reader<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// The values of a channel, from [`Reader::iter`].
///
/// ```
/// # fn main() -> ipc_csp::Result<()> {
/// let channel = ipc_csp::Network::new()?.buffered::<u32>(4)?;
/// let (writer, reader) = (channel.writer()?, channel.reader()?);
/// (1..=3).try_for_each(|n| writer.write(n))?;
/// writer.retire();
/// let mut sum = 0;
/// for n in &reader {
///     sum += n;
/// }
/// assert_eq!(sum, 6);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Iter<'a, T>(&'a Reader<T>);

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.read().ok()
    }
}

impl<T: DeserializeOwned> FusedIterator for Iter<'_, T> {}

impl<T> Reader<T> {
    /// Drops this handle, said aloud. The end has retired, and counts no longer, when its clones in this process are dropped, too.
    pub fn retire(self) {}
}

impl<T: Serialize> Writer<T> {
    /// Writes a value: waits until somebody has read it, or, on a buffered channel, until there is room for it.
    ///
    /// Ends of channels in the value are sent with it and dropped here.
    ///
    /// # Errors
    /// With the value: [`Error::Closed`], [`Error::Poisoned`], [`Error::Retired`] when the channel has ended; [`Error::Encode`], also for other
    /// handles in the value; [`Error::TooLarge`] beyond 4 GiB; [`Error::NoMemory`], [`Error::Full`]; [`Error::Forked`]. If this process is
    /// killed before it returns, the value may have been read, once.
    pub fn write(&self, value: T) -> Result<(), WriteError<T>> {
        self.write_by(value, Deadline::NEVER)
    }

    /// As [`write`](Writer::write), without waiting for a reader that is not waiting already: that one has a millisecond to take the value.
    ///
    /// ```
    /// # fn main() -> ipc_csp::Result<()> {
    /// let channel = ipc_csp::Network::new()?.channel::<u32>()?;
    /// let (writer, reader) = (channel.writer()?, channel.reader()?);
    /// let reading = std::thread::spawn(move || reader.read());
    /// let mut value = 7;
    /// while let Err(refused) = writer.try_write(value) {
    ///     assert!(refused.error.is_would_block());
    ///     value = refused.value; // comes back, and this thread may do something else
    /// }
    /// assert_eq!(reading.join().expect("it does not panic")?, 7);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::WouldBlock`] if no reader waits, or there is no room.
    pub fn try_write(&self, value: T) -> Result<(), WriteError<T>> {
        self.write_by(value, Deadline::NOW)
    }

    /// As [`write`](Writer::write), waiting no longer than that.
    ///
    /// # Errors
    /// [`Error::Timeout`]: then nobody has read it, or ever will.
    pub fn write_timeout(&self, value: T, timeout: Duration) -> Result<(), WriteError<T>> {
        self.write_by(value, Deadline::after(timeout))
    }

    fn write_by(&self, value: T, deadline: Deadline) -> Result<(), WriteError<T>> {
        self.write_encoded(&value, deadline).map_err(|error| WriteError { value, error: *error })
    }

    fn write_encoded(&self, value: &T, deadline: Deadline) -> Quick<()> {
        let encoded = Encoded::of(&self.end.net, value)?;
        match choose(&self.end.net, &mut [Guard::write(&self.end, &encoded)], deadline)?.1 {
            Event::Written => Ok(()),
            Event::Over(error) => Err(error.into()),
            Event::Read(_) => Err(Error::Damaged("a writer has read").into()),
        }
    }
}

impl<T> Writer<T> {
    /// Drops this handle, said aloud. The end has retired, and counts no longer, when its clones in this process are dropped, too.
    ///
    /// ```
    /// # fn main() -> ipc_csp::Result<()> {
    /// let channel = ipc_csp::Network::new()?.buffered::<u32>(2)?;
    /// let (first, second, reader) = (channel.writer()?, channel.writer()?, channel.reader()?);
    /// first.write(1)?;
    /// first.retire();
    /// second.write(2)?; // the channel goes on with those that are left
    /// second.retire();
    /// assert_eq!((reader.read()?, reader.read()?), (1, 2));
    /// assert!(reader.read().is_err_and(|error| error.is_retired()));
    /// assert!(channel.writer()?.write(3).is_err()); // for good
    /// # Ok(()) }
    /// ```
    pub fn retire(self) {}
}
