//! A queue whose messages are tasks.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ipc_core::{Deadline, Decode, Encode, Postcard};

use crate::core::Core;
use crate::handle::{End, Stats};
use crate::in_place::Reservation;
use crate::queue::{ends, puts};
use crate::{DeadLetter, Error, PutError, PutManyError, Result, Settings};

/// A queue of tasks: whoever takes one declares it done, and somebody can wait until all are done.
///
/// As Python's, with one difference: a task that was taken is under a [lease](crate::Lease). If its process dies, or its thread
/// ends, before [`task_done`](JoinableQueue::task_done), another one gets the task. So [`join`](JoinableQueue::join) neither
/// hangs nor returns too early.
///
/// ```
/// use ipc_queue::{JoinableQueue, Process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tasks: JoinableQueue<u32> = JoinableQueue::new()?;
/// let work = |tasks: JoinableQueue<u32>| {
///     while let Ok(task) = tasks.get() {
///         assert!(task < 20);
///         tasks.task_done().unwrap();
///     }
/// };
/// let workers = [Process::spawn(work, tasks.clone())?, Process::spawn(work, tasks.clone())?];
/// for task in 0..20 {
///     tasks.put(task)?;
/// }
/// tasks.join()?;
/// tasks.close()?;
/// for worker in workers {
///     worker.join()?;
/// }
/// # Ok(()) }
/// ```
///
/// # References
/// CPython `multiprocessing.JoinableQueue`, whose `join` waits for ever for the task of a worker that was killed.
pub struct JoinableQueue<T, C = Postcard>(End<T, C>);

puts!(JoinableQueue);
ends!(JoinableQueue BOTH;);

impl<T, C> JoinableQueue<T, C> {
    /// Makes a queue with the settings of [`Settings::new`].
    ///
    /// # Errors
    /// The system is short of memory, or the limit of open files is reached.
    pub fn new() -> Result<JoinableQueue<T, C>> {
        JoinableQueue::with(&Settings::new())
    }

    /// Makes a queue of at most so many items; 0, as in Python, is no limit but that of the memory.
    ///
    /// # Errors
    /// As [`new`](JoinableQueue::new); [`Error::Setting`].
    #[doc(alias = "maxsize")]
    pub fn bounded(items: usize) -> Result<JoinableQueue<T, C>> {
        JoinableQueue::with(&Settings::new().items(items))
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// As [`bounded`](JoinableQueue::bounded).
    pub fn with(settings: &Settings) -> Result<JoinableQueue<T, C>> {
        Ok(JoinableQueue(End::create(settings, false)?))
    }

    /// Declares the oldest task done that this thread has taken and not declared done.
    ///
    /// ```
    /// use ipc_queue::{Error, JoinableQueue};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let tasks = JoinableQueue::<u32>::bounded(10)?;
    /// tasks.put_many(&[1, 2])?;
    /// assert_eq!(tasks.get()?, 1);
    /// tasks.task_done()?;
    /// assert!(matches!(tasks.task_done(), Err(Error::NoTask))); // as Python's ValueError: called too many times
    /// assert_eq!(tasks.unfinished(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoTask`] if there is none; [`Error::Forked`].
    pub fn task_done(&self) -> Result<()> {
        let core = &self.0.core;
        core.segment().check_fork()?;
        let task = TAKEN.with_borrow_mut(|taken| {
            let tasks = taken.0.get_mut(&core.me())?;
            let task = tasks.pop_front()?;
            if tasks.is_empty() {
                taken.0.remove(&core.me());
            }
            Some(task)
        });
        core.end_lease(task.ok_or(Error::NoTask)?.lease);
        Ok(())
    }

    /// Waits until all tasks are done that were put.
    ///
    /// ```
    /// use ipc_queue::{JoinableQueue, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let tasks = JoinableQueue::<u32>::new()?;
    /// tasks.put(1)?;
    /// let victim: Process<()> = Process::spawn(
    ///     |tasks: JoinableQueue<u32>| {
    ///         tasks.get().unwrap();
    ///         std::process::abort(); // before it is done
    ///     },
    ///     tasks.clone(),
    /// )?;
    /// victim.join().unwrap_err();
    /// assert_eq!(tasks.get()?, 1); // the task has come back
    /// tasks.task_done()?;
    /// tasks.join()?;
    ///
    /// tasks.put(2)?;
    /// assert!(tasks.join().unwrap_err().is_disconnected()); // nobody is left who could do it
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Disconnected`] when nobody is left who could do them.
    pub fn join(&self) -> Result<()> {
        Ok(self.0.join(None)?)
    }

    /// The same, but waits for `timeout` at most.
    ///
    /// ```
    /// use ipc_queue::JoinableQueue;
    /// use std::time::Duration;
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let tasks = JoinableQueue::<u32>::new()?;
    /// tasks.try_put(1)?;
    /// let task = tasks.get_timeout(Duration::from_millis(10))?;
    /// assert!(tasks.join_timeout(Duration::from_millis(10)).unwrap_err().is_timeout()); // taken, but not done
    /// assert_eq!(task, 1);
    /// tasks.task_done()?;
    /// tasks.join_timeout(Duration::from_millis(10))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`join`](JoinableQueue::join), [`Error::Timeout`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        Ok(self.0.join(Some(timeout))?)
    }

    /// How many tasks there are that are not done, taken or not.
    pub fn unfinished(&self) -> usize {
        self.0.core.unfinished() as usize
    }
}

impl<T, C: Decode<T>> JoinableQueue<T, C> {
    /// Takes the next task; waits until there is one.
    ///
    /// # Errors
    /// As [`Queue::lease`](crate::Queue::lease).
    pub fn get(&self) -> Result<T> {
        self.get_until(Deadline::NEVER)
    }

    /// Takes the next task if there is one.
    ///
    /// # Errors
    /// As [`Queue::try_lease`](crate::Queue::try_lease).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<T> {
        self.get_until(Deadline::NOW)
    }

    /// Takes the next task; waits for `timeout` at most.
    ///
    /// # Errors
    /// As [`Queue::lease_timeout`](crate::Queue::lease_timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.get_until(Deadline::after(timeout))
    }

    /// Takes all tasks that were delivered too often; they do not count as unfinished.
    ///
    /// ```
    /// use ipc_queue::{JoinableQueue, Settings};
    ///
    /// # fn main() -> ipc_queue::Result<()> {
    /// let tasks = JoinableQueue::<u32>::with(&Settings::new().max_deliveries(1))?;
    /// tasks.put(13)?;
    /// let theirs = tasks.clone();
    /// std::thread::spawn(move || theirs.get().unwrap()).join().unwrap(); // ends without `task_done`
    /// assert!(tasks.try_get().unwrap_err().is_would_block()); // nobody gets it again
    /// assert_eq!(tasks.take_dead_letters()?.len(), 1);
    /// assert_eq!(tasks.unfinished(), 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Queue::take_dead_letters`](crate::Queue::take_dead_letters).
    pub fn take_dead_letters(&self) -> Result<Vec<DeadLetter<T>>> {
        Ok(self.0.take_dead_letters()?)
    }

    fn get_until(&self, deadline: Deadline) -> Result<T> {
        let (value, lease) = self.0.lease(deadline)?.into_parts();
        let task = Task { core: Arc::downgrade(&self.0.core), lease };
        TAKEN.with_borrow_mut(|taken| taken.0.entry(self.0.core.me()).or_default().push_back(task));
        Ok(value)
    }
}

/// A task that this thread has taken. The process that drops all its handles gives back its leases anyhow, as others see it.
struct Task {
    core: Weak<Core>,
    lease: usize,
}

/// The tasks of this thread, by the number that the process has in the queue.
#[derive(Default)]
struct Tasks(HashMap<u64, VecDeque<Task>>);

thread_local! {
    static TAKEN: RefCell<Tasks> = RefCell::default();
}

impl Drop for Tasks {
    /// The thread ends: others get what it has not done.
    fn drop(&mut self) {
        for task in self.0.drain().flat_map(|(_, tasks)| tasks) {
            if let Some(core) = task.core.upgrade().filter(|core| core.segment().is_original()) {
                core.give_back_lease(task.lease);
            }
        }
    }
}
