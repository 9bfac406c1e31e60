//! Queues.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::protocol::Op;
use crate::proxy::{Proxy, proxy};
use crate::session::{Waiting, done, number, some, thread};
use crate::value::Encoded;

proxy! {
    /// A queue in the server: first in, first out. Made by [`Manager::queue`](crate::Manager::queue).
    ///
    /// What a process takes is taken when it has arrived: if it is killed, or cut off, before, the element is the first one again. Between processes of
    /// one machine `ipc_queue::Queue` does the same, a hundred times as fast.
    ///
    /// ```
    /// use ipc_manager::{Manager, Process, Queue};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let queue = manager.queue::<String>()?;
    /// let child = Process::spawn(|q: Queue<String>| q.put(&"hello".to_string()).map_err(|e| e.to_string()), queue.clone())?;
    /// assert_eq!(queue.get()?, "hello");
    /// child.join()??;
    /// assert!(queue.try_get().is_err_and(|e| e.is_would_block()));
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `queue.Queue` in a manager.
    Queue<T>
}

proxy! {
    /// A queue whose tasks are done when that is said. Made by [`Manager::joinable_queue`](crate::Manager::joinable_queue).
    ///
    /// A task that was taken by a process that died before it said [`task_done`](JoinableQueue::task_done) is the first one again. So a task is done at
    /// least once, and [`join`](JoinableQueue::join) returns when all are done.
    ///
    /// ```
    /// use ipc_manager::{JoinableQueue, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let tasks = manager.joinable_queue::<u32>()?;
    /// tasks.put(&1)?;
    /// let careless = Process::spawn(|tasks: JoinableQueue<u32>| drop(tasks.get().unwrap()), tasks.clone())?;
    /// careless.join()?; // it has taken the task, and ended
    /// assert_eq!(tasks.get()?, 1);
    /// tasks.task_done()?;
    /// tasks.join()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `queue.Queue` with `task_done` and `join`.
    JoinableQueue<T>
}

fn put<T: Serialize>(proxy: &Proxy, element: &T, waiting: Waiting) -> Result<()> {
    let encoded = Encoded::of(proxy.session(), element)?;
    proxy.wait(Op::Enqueue { item: encoded.item(), wait: waiting.may_wait() }, waiting, done)
}

fn get<T: DeserializeOwned>(proxy: &Proxy, waiting: Waiting) -> Result<T> {
    let op = Op::Dequeue { wait: waiting.may_wait(), thread: thread() };
    proxy.wait(op, waiting, |answer| some(proxy.session(), answer))
}

macro_rules! queue {
    ($name:ident, $make:ident) => {
        impl<T: Serialize + DeserializeOwned> $name<T> {
            /// Adds an element at the end; waits while the queue is full.
            ///
            /// # Errors
            /// [`Error::Disconnected`](crate::Error::Disconnected): it may be in the queue or not.
            pub fn put(&self, element: &T) -> Result<()> {
                put(&self.proxy, element, Waiting::FOR_EVER)
            }

            /// As [`put`](Self::put), but does not wait.
            ///
            /// # Errors
            /// [`Error::WouldBlock`](crate::Error::WouldBlock): the queue is full. Else as `put`.
            #[doc(alias = "put_nowait")]
            pub fn try_put(&self, element: &T) -> Result<()> {
                put(&self.proxy, element, Waiting::No)
            }

            /// As [`put`](Self::put), but waits no longer than `timeout`.
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// # fn main() -> Result<(), ipc_manager::Error> {
            /// let manager = ipc_manager::Manager::start()?;
            #[doc = concat!("let queue = manager.", stringify!($make), "(1)?;")]
            /// queue.put(&1)?;
            /// assert!(queue.is_full()? && queue.capacity()? == Some(1) && queue.len()? == 1);
            /// assert!(queue.try_put(&2).is_err_and(|error| error.is_would_block()));
            /// assert!(queue.put_timeout(&2, Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
            /// assert_eq!(queue.get()?, 1);
            /// assert!(queue.is_empty()?); // the 2 was not put
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::Timeout`](crate::Error::Timeout): it is not in the queue; or, if the server did not even answer that in 100 ms, as one
            /// that is stopped, it may be. Else as `put`.
            pub fn put_timeout(&self, element: &T, timeout: Duration) -> Result<()> {
                put(&self.proxy, element, Waiting::within(timeout))
            }

            /// Takes the first element; waits for one. The server does not know who might put one: if nobody is left who does, that is
            /// for ever, so use a time-out, or an element that means the end.
            ///
            /// ```
            /// # fn main() -> Result<(), ipc_manager::Error> {
            /// let manager = ipc_manager::Manager::start()?;
            #[doc = concat!("let queue = manager.", stringify!($make), "::<Option<u32>>(2)?;")]
            /// std::thread::scope(|scope| {
            ///     let taking = scope.spawn(|| {
            ///         let mut sum = 0;
            ///         while let Some(n) = queue.get()? {
            ///             sum += n;
            ///         }
            ///         Ok(sum)
            ///     });
            ///     [Some(1), Some(2), Some(3), None].iter().try_for_each(|n| queue.put(n))?; // waits while it is full
            ///     let sum: Result<u32, ipc_manager::Error> = taking.join().expect("it does not panic");
            ///     assert_eq!(sum?, 6);
            ///     Ok::<(), ipc_manager::Error>(())
            /// })?;
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::Disconnected`](crate::Error::Disconnected), [`Error::Decode`](crate::Error::Decode).
            pub fn get(&self) -> Result<T> {
                get(&self.proxy, Waiting::FOR_EVER)
            }

            /// As [`get`](Self::get), but does not wait.
            ///
            /// # Errors
            /// [`Error::WouldBlock`](crate::Error::WouldBlock): the queue is empty. Else as `get`.
            #[doc(alias = "get_nowait")]
            pub fn try_get(&self) -> Result<T> {
                get(&self.proxy, Waiting::No)
            }

            /// As [`get`](Self::get), but waits no longer than `timeout`, also while the server is stopped.
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// # fn main() -> Result<(), ipc_manager::Error> {
            /// let manager = ipc_manager::Manager::start()?;
            #[doc = concat!("let queue = manager.", stringify!($make), "::<u32>(1)?;")]
            /// assert!(queue.try_get().is_err_and(|error| error.is_would_block()));
            /// assert!(queue.get_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
            /// queue.put(&1)?;
            /// assert_eq!(queue.get_timeout(Duration::from_secs(10))?, 1);
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::Timeout`](crate::Error::Timeout): nothing was taken. Else as `get`.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
                get(&self.proxy, Waiting::within(timeout))
            }

            /// How many elements are in it.
            #[doc(alias = "qsize")]
            pub fn len(&self) -> Result<usize> {
                self.proxy.call(Op::Len, number).map(|n| n as usize)
            }

            /// Whether it is empty.
            pub fn is_empty(&self) -> Result<bool> {
                self.len().map(|len| len == 0)
            }

            /// For how many elements it has room, if that is limited.
            #[doc(alias = "maxsize")]
            pub fn capacity(&self) -> Result<Option<usize>> {
                self.proxy.call(Op::Capacity, number).map(|n| usize::try_from(n).ok().filter(|n| *n > 0))
            }

            /// Whether it is full.
            pub fn is_full(&self) -> Result<bool> {
                Ok(self.capacity()?.is_some_and(|capacity| self.len().is_ok_and(|len| len >= capacity)))
            }
        }
    };
}

queue!(Queue, bounded_queue);
queue!(JoinableQueue, bounded_joinable_queue);

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Says that the task which this thread has taken longest ago is done.
    ///
    /// ```
    /// use ipc_manager::{Error, Manager};
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = Manager::start()?;
    /// let tasks = manager.joinable_queue()?;
    /// tasks.put(&1)?;
    /// assert_eq!(tasks.get()?, 1);
    /// tasks.task_done()?;
    /// assert!(matches!(tasks.task_done(), Err(Error::NoTask)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoTask`](crate::Error::NoTask).
    pub fn task_done(&self) -> Result<()> {
        self.proxy.call(Op::TaskDone { thread: thread() }, done)
    }

    /// Waits until all tasks that were put are done.
    ///
    /// ```
    /// use ipc_manager::{JoinableQueue, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let (tasks, sum) = (manager.joinable_queue()?, manager.value(0)?);
    /// [1, 2, 3].iter().try_for_each(|task| tasks.put(task))?;
    /// let work = |(tasks, sum): (JoinableQueue<u32>, ipc_manager::Value<u32>)| {
    ///     while let Ok(task) = tasks.try_get() {
    ///         sum.update(|n| n + task).unwrap();
    ///         tasks.task_done().unwrap();
    ///     }
    /// };
    /// let worker = Process::spawn(work, (tasks.clone(), sum.clone()))?;
    /// tasks.join()?;
    /// assert_eq!(sum.get()?, 6);
    /// worker.join()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Disconnected`](crate::Error::Disconnected).
    pub fn join(&self) -> Result<()> {
        self.proxy.wait(Op::Join { wait: true }, Waiting::FOR_EVER, done)
    }

    /// As [`join`](JoinableQueue::join), but does not wait.
    ///
    /// # Errors
    /// [`Error::WouldBlock`](crate::Error::WouldBlock): some are not done. Else as `join`.
    pub fn try_join(&self) -> Result<()> {
        self.proxy.wait(Op::Join { wait: false }, Waiting::No, done)
    }

    /// As [`join`](JoinableQueue::join), but waits no longer than `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let tasks = manager.joinable_queue()?;
    /// tasks.put(&1)?;
    /// tasks.get()?; // taken is not done
    /// assert!(tasks.try_join().is_err_and(|error| error.is_would_block()));
    /// assert!(tasks.join_timeout(Duration::from_millis(1)).is_err_and(|error| error.is_timeout()));
    /// tasks.task_done()?;
    /// tasks.try_join()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout): some are not done. Else as `join`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<()> {
        self.proxy.wait(Op::Join { wait: true }, Waiting::within(timeout), done)
    }
}
