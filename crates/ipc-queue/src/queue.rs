//! The queue and its ends.

mod calls;

use std::borrow::Borrow;
use std::fmt;
use std::iter::FusedIterator;
use std::time::Duration;

use ipc_core::{Deadline, Decode, Encode, Ownership, Postcard, Roles};

use self::calls::gets;
pub(crate) use self::calls::{ends, puts};
use crate::handle::{End, Stats};
use crate::in_place::{Peek, Reservation};
use crate::readiness::Readiness;
use crate::{DeadLetter, Error, Lease, PutError, PutManyError, Result, Settings};

/// A queue between processes: first in, first out, for any number of producers and consumers.
///
/// A handle: clone it, pass it to a process, send it in a message; all handles are the same queue. Values are of any serde type, in the
/// [`Postcard`] format unless `C` says otherwise ([`Plain`](ipc_core::Plain) for plain data, [`Bytes`](ipc_core::Bytes)).
///
/// ```
/// use ipc_queue::{Process, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let queue: Queue<(u32, Option<String>)> = Queue::new()?;
/// let child = Process::spawn(
///     |queue: Queue<(u32, Option<String>)>| queue.put((42, Some("hello".into()))).unwrap(),
///     queue.clone(),
/// )?;
/// assert_eq!(queue.get()?, (42, Some("hello".to_string())));
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// A `Queue` is both ends, as in Python, so a process can get back what it put itself. Give each process the end that it needs
/// ([`split`](Queue::split), [`producer`](Queue::producer), [`consumer`](Queue::consumer)), and receivers also learn when nobody is left
/// who could put something:
///
/// ```
/// use ipc_queue::{Process, Producer, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (producer, consumer) = Queue::<String>::new()?.split();
/// let child = Process::spawn(
///     |producer: Producer<String>| {
///         for i in 0..3 {
///             producer.put(format!("item {i}")).unwrap();
///         }
///     },
///     producer,
/// )?;
/// let items: Vec<String> = consumer.iter().collect::<Result<_, _>>()?; // until the child has ended, however it does
/// assert_eq!(items, ["item 0", "item 1", "item 2"]);
/// child.join()?;
/// # Ok(()) }
/// ```
///
/// A process that waits with a bare `Queue`, its only handle, which it once shared, gets `Disconnected` when no other process has the queue
/// any more and nothing is under a lease: nobody could end the wait. So give threads handles of their own.
///
/// There is no thread behind it: when [`put`](Queue::put) returns the message can be taken, so there is nothing to be joined or flushed
/// before the process ends (Python's `join_thread`, `cancel_join_thread`).
///
/// # When a process dies
///
/// A killed producer: what it put is there; the message it was just putting is there or not. A killed consumer: what it was just taking
/// goes to another one, before what is still in the queue, once somebody has missed it: who finds the queue empty looks at once, and if
/// it never runs empty somebody looks after 25 ms. By then others may have taken what was behind it. What `get` has returned the dead one had.
///
/// With [`lease`](Queue::lease) a message stays the queue's until it is acknowledged. Whoever waits goes on at once if the dead process
/// had a lock, and within about 100 ms after the kernel has closed its files in the other cases. The memory is gone with the last process
/// that has the queue.
///
/// # References
/// CPython `multiprocessing.Queue`, `SimpleQueue`.
#[doc(alias = "SimpleQueue")]
pub struct Queue<T, C = Postcard>(pub(crate) End<T, C>);

/// The end of a [`Queue`] that puts. Cloned, passed on and sent as the queue. When the last one is gone (a whole queue counts as one),
/// dropped or with its process, consumers get what is there and then [`Disconnected`](crate::Error::Disconnected).
///
/// ```
/// use ipc_queue::{Consumer, Process, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (jobs, theirs) = Queue::<String>::bounded(10)?.split();
/// let worker = Process::spawn(|jobs: Consumer<String>| jobs.get().unwrap().len(), theirs)?; // the only consumer
/// jobs.put("count me".to_string())?;
/// assert_eq!(worker.join()?, 8);
///
/// // Nobody takes anything any more. A producer learns that when the queue is full, at the latest.
/// let failed = (0..).find_map(|n| jobs.put(format!("job {n}")).err());
/// assert!(failed.is_some_and(|failed| failed.error.is_disconnected()));
/// # Ok(()) }
/// ```
pub struct Producer<T, C = Postcard>(pub(crate) End<T, C>);

/// The end of a [`Queue`] that takes. Cloned, passed on and sent as the queue. When the last one is gone (a whole queue counts as one),
/// dropped or with its process, producers get [`Disconnected`](crate::Error::Disconnected); what is in the queue is gone with its last handle.
///
/// ```
/// use ipc_queue::{Process, Producer, Queue};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (theirs, lines) = Queue::<String>::new()?.split();
/// let writer: Process<()> = Process::spawn(
///     |lines: Producer<String>| {
///         lines.put("first".to_string()).unwrap();
///         std::process::abort();
///     },
///     theirs, // the only producer
/// )?;
/// assert_eq!(lines.get()?, "first"); // what a killed process had put is there
/// assert!(lines.get().unwrap_err().is_disconnected()); // and then this is the end
/// writer.join().unwrap_err();
/// # Ok(()) }
/// ```
pub struct Consumer<T, C = Postcard>(pub(crate) End<T, C>);

impl<T, C> Queue<T, C> {
    /// Makes a queue with the settings of [`Settings::new`]: as many items as fit into 1 MiB.
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new() -> Result<Queue<T, C>> {
        Queue::with(&Settings::new())
    }

    /// Makes a queue of at most so many items; 0, as in Python, is no limit but that of the memory.
    ///
    /// # Errors
    /// As [`new`](Queue::new); [`Error::Setting`](crate::Error::Setting).
    #[doc(alias = "maxsize")]
    pub fn bounded(items: usize) -> Result<Queue<T, C>> {
        Queue::with(&Settings::new().items(items))
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// As [`bounded`](Queue::bounded).
    pub fn with(settings: &Settings) -> Result<Queue<T, C>> {
        Ok(Queue(End::create(settings, false)?))
    }

    /// Makes a queue with a name, for processes of the same user that are not related. The name appears when the queue is complete, and is
    /// removed as `ownership` says; one that dead processes have left is taken over. The handle cannot be sent: send the name.
    ///
    /// ```
    /// use ipc_queue::{Ownership, Queue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let name = format!("jobs-{}", std::process::id());
    /// let here: Queue<u32> = Queue::create_named(&name, &Settings::new(), Ownership::Creator)?;
    /// let there: Queue<u32> = Queue::open_named(&name)?; // in whatever program
    /// there.put(7)?;
    /// assert_eq!(here.get()?, 7);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`bounded`](Queue::bounded); that of [`Segment::create_named`](ipc_core::Segment::create_named), which is
    /// [`NameTaken`](ipc_core::Error::NameTaken) if there is memory of that name.
    pub fn create_named(name: &str, settings: &Settings, ownership: Ownership) -> Result<Queue<T, C>> {
        Ok(Queue(End::create_named(name, settings, ownership)?))
    }

    /// Opens the queue of that name.
    ///
    /// ```
    /// use ipc_queue::{Ownership, Queue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let name = format!("sizes-{}", std::process::id());
    /// assert!(Queue::<u64>::open_named(&name).is_err()); // not yet
    /// let _sizes = Queue::<u64>::create_named(&name, &Settings::new(), Ownership::Creator)?;
    /// assert!(Queue::<u64>::open_named(&name)?.is_empty());
    /// assert!(Queue::<String>::open_named(&name).is_err()); // messages of another type
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// There is none ([`NoSuchName`](ipc_core::Error::NoSuchName)); or it is for another type, another codec, or not a queue
    /// ([`Incompatible`](ipc_core::Error::Incompatible)). Types are compared by their names, without paths, and sizes.
    pub fn open_named(name: &str) -> Result<Queue<T, C>> {
        Ok(Queue(End::open_named(name)?))
    }

    /// The two ends, in place of the queue. (A queue of which ends were only made, and which is still there, counts as both; also if
    /// another variable has got its name.)
    pub fn split(self) -> (Producer<T, C>, Consumer<T, C>) {
        (self.producer(), self.consumer())
    }

    /// The end that puts.
    pub fn producer(&self) -> Producer<T, C> {
        Producer(self.0.as_role(Roles::PRODUCER))
    }

    /// The end that takes.
    ///
    /// ```
    /// # fn main() -> ipc_queue::Result<()> {
    /// let queue = ipc_queue::Queue::<u32>::new()?;
    /// let (producer, consumer) = (queue.producer(), queue.consumer());
    /// producer.put(1)?;
    /// drop(producer);
    /// assert_eq!(consumer.get()?, 1);
    /// assert!(consumer.try_get().unwrap_err().is_would_block()); // `queue` is there, by which more could be put
    /// drop(queue);
    /// assert!(consumer.try_get().unwrap_err().is_disconnected());
    /// # Ok(()) }
    /// ```
    pub fn consumer(&self) -> Consumer<T, C> {
        Consumer(self.0.as_role(Roles::CONSUMER))
    }
}

puts!(Queue Producer);
gets!(Queue Consumer);
ends!(Queue BOTH; Producer PRODUCER; Consumer CONSUMER;);

/// The values of a queue as they come; see [`Queue::iter`].
///
/// ```
/// # fn main() -> ipc_queue::Result<()> {
/// let (producer, consumer) = ipc_queue::Queue::<u32>::new()?.split();
/// producer.put_many(&[1, 2, 3])?;
/// drop(producer); // else the iterator would wait for more
/// let mut sum = 0;
/// for number in &consumer {
///     sum += number?; // one that cannot be decoded does not end it
/// }
/// assert_eq!(sum, 6);
/// # Ok(()) }
/// ```
pub struct Iter<'a, T, C> {
    end: &'a End<T, C>,
    is_over: bool,
}

impl<T, C: Decode<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.is_over {
            return None;
        }
        match self.end.get(Deadline::NEVER).map_err(Error::from) {
            Err(error) if error.is_end() => {
                self.is_over = true;
                None
            }
            // What will be there the next time as well is shown once.
            Err(error) if !matches!(error, Error::Decode(_)) => {
                self.is_over = true;
                Some(Err(error))
            }
            next => Some(next),
        }
    }
}

impl<T, C> fmt::Debug for Iter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(&self.end.core).finish()
    }
}

impl<T, C: Decode<T>> FusedIterator for Iter<'_, T, C> {}
