//! The calls that the ends of a queue have in common, written once for all of them. Macros and not a trait: a user finds them at the type,
//! and need not import anything.

/// The calls that put; the fields are those of all who have an [`End`].
macro_rules! puts {
    ($($end:ident)*) => { $(
        impl<T, C: Encode<T>> $end<T, C> {
            /// Puts a value, or a reference to one; waits while the queue is full. When it returns the message can be taken.
            ///
            /// The error has what was passed, so with a reference it cannot be boxed by `?` (it is not `'static`): there,
            /// `.map_err(Error::from)` before it.
            ///
            /// ```
            /// # fn main() -> ipc_queue::Result<()> {
            /// let (producer, consumer) = ipc_queue::Queue::<String>::new()?.split();
            /// producer.put("given away".to_string())?;
            /// let kept = "kept".to_string();
            /// producer.put(&kept)?;
            /// assert_eq!(consumer.get_many(10)?, ["given away", "kept"]);
            ///
            /// drop(consumer);
            /// let failed = producer.put(kept).unwrap_err(); // nobody is left who could take it
            /// assert!(failed.error.is_disconnected());
            /// assert_eq!(failed.value, "kept");
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// The value comes back in the error: [`Closed`](crate::Error::Closed), [`Disconnected`](crate::Error::Disconnected) when no
            /// consumer is left (one that was killed is noticed when the queue is full), [`TooLarge`](crate::Error::TooLarge),
            /// [`Encode`](crate::Error::Encode), [`NoMemory`](crate::Error::NoMemory).
            #[inline]
            pub fn put<B: Borrow<T>>(&self, value: B) -> Result<(), PutError<B>> {
                self.0.put(value, Deadline::NEVER)
            }

            /// Puts a value if the queue is not full.
            ///
            /// # Errors
            /// [`WouldBlock`](crate::Error::WouldBlock) if it is; else as [`put`](Self::put).
            #[doc(alias = "put_nowait")]
            #[inline]
            pub fn try_put<B: Borrow<T>>(&self, value: B) -> Result<(), PutError<B>> {
                self.0.put(value, Deadline::NOW)
            }

            /// Puts a value; waits for `timeout` at most, also while a stopped process has the lock.
            ///
            /// ```
            /// use ipc_queue::Queue;
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<u32>::bounded(1)?;
            /// queue.try_put(1)?;
            /// assert!(queue.try_put(2).unwrap_err().error.is_would_block()); // Python's `queue.Full`
            /// let late = queue.put_timeout(2, Duration::from_millis(10)).unwrap_err();
            /// assert!(late.error.is_timeout());
            /// queue.get()?;
            /// queue.put_timeout(late.value, Duration::from_millis(10))?; // the same value again
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Timeout`](crate::Error::Timeout); else as [`put`](Self::put).
            pub fn put_timeout<B: Borrow<T>>(&self, value: B, timeout: Duration) -> Result<(), PutError<B>> {
                self.0.put(value, Deadline::after(timeout))
            }

            /// Puts several values, in order, as many at a time as there is room for: the way to the highest throughput. Others may put
            /// theirs in between.
            ///
            /// # Errors
            /// How many were put, and why the next one was not: as [`put`](Self::put).
            pub fn put_many<B: Borrow<T>>(&self, values: &[B]) -> Result<(), PutManyError> {
                self.0.put_many(values, Deadline::NEVER)
            }

            /// Puts as many of several values as there is room for.
            ///
            /// ```
            /// use ipc_queue::Queue;
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<u32>::bounded(3)?;
            /// queue.put_many(&[1, 2])?;
            /// let values = [3, 4, 5];
            /// let failed = queue.try_put_many(&values).unwrap_err();
            /// assert_eq!((failed.put, failed.error.is_would_block()), (1, true));
            /// let rest = &values[failed.put..]; // to be put later
            /// assert_eq!(queue.put_many_timeout(rest, Duration::from_millis(10)).unwrap_err().put, 0);
            /// assert_eq!(queue.get_many(10)?, [1, 2, 3]);
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// How many were put, with [`WouldBlock`](crate::Error::WouldBlock) if there was no room for the next one.
            pub fn try_put_many<B: Borrow<T>>(&self, values: &[B]) -> Result<(), PutManyError> {
                self.0.put_many(values, Deadline::NOW)
            }

            /// Puts several values; waits for `timeout` at most.
            ///
            /// # Errors
            /// How many were put, with [`Timeout`](crate::Error::Timeout) if there was no room for the next one.
            pub fn put_many_timeout<B: Borrow<T>>(&self, values: &[B], timeout: Duration) -> Result<(), PutManyError> {
                self.0.put_many(values, Deadline::after(timeout))
            }
        }

        impl<T, C> $end<T, C> {
            /// Puts a value that is encoded already.
            ///
            /// ```
            /// use ipc_queue::Queue;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// // What is only passed on need not be decoded.
            /// let (from, to) = (Queue::<(u32, String)>::new()?, Queue::<(u32, String)>::new()?);
            /// from.put((7, "seven".to_string()))?;
            /// let mut bytes = Vec::new();
            /// from.get_bytes_into(&mut bytes)?;
            /// to.put_bytes(&bytes)?;
            /// assert_eq!(to.get()?, (7, "seven".to_string()));
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`put`](Self::put).
            pub fn put_bytes(&self, bytes: &[u8]) -> Result<()> {
                Ok(self.0.core.put(bytes, Deadline::NEVER)?)
            }

            /// Puts a value that is encoded already, if the queue is not full.
            ///
            /// # Errors
            /// As [`try_put`](Self::try_put).
            pub fn try_put_bytes(&self, bytes: &[u8]) -> Result<()> {
                Ok(self.0.core.put(bytes, Deadline::NOW)?)
            }

            /// Puts a value that is encoded already; waits for `timeout` at most.
            ///
            /// ```
            /// use ipc_queue::{Bytes, Queue};
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<Vec<u8>, Bytes>::bounded(1)?;
            /// queue.try_put_bytes(b"first")?;
            /// assert!(queue.try_put_bytes(b"second").unwrap_err().is_would_block());
            /// assert!(queue.put_bytes_timeout(b"second", Duration::from_millis(10)).unwrap_err().is_timeout());
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`put_timeout`](Self::put_timeout).
            pub fn put_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<()> {
                Ok(self.0.core.put(bytes, Deadline::after(timeout))?)
            }

            /// Room for a message of `len` encoded bytes, to be filled in place; waits until there is so much. Nobody else can put
            /// anything until it is committed or dropped. See [`Reservation`] for an example.
            ///
            /// # Errors
            /// [`TooLarge`](crate::Error::TooLarge) for more than the ring holds; else as [`put`](Self::put).
            pub fn reserve(&self, len: usize) -> Result<Reservation<'_>> {
                Reservation::new(&self.0.core, len, Deadline::NEVER)
            }

            /// The same if there is so much room.
            ///
            /// # Errors
            /// As [`reserve`](Self::reserve), [`WouldBlock`](crate::Error::WouldBlock).
            pub fn try_reserve(&self, len: usize) -> Result<Reservation<'_>> {
                Reservation::new(&self.0.core, len, Deadline::NOW)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// ```
            /// use ipc_queue::{Bytes, Error, Queue};
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<Vec<u8>, Bytes>::bounded(1)?;
            /// let mut room = queue.reserve(3)?;
            /// room.write_at(0, b"abc")?;
            /// assert!(matches!(queue.try_reserve(3), Err(Error::AlreadyLocked))); // one at a time
            /// room.commit()?;
            /// assert!(queue.reserve_timeout(3, Duration::from_millis(10)).unwrap_err().is_timeout()); // it is full
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`reserve`](Self::reserve), [`Timeout`](crate::Error::Timeout).
            pub fn reserve_timeout(&self, len: usize, timeout: Duration) -> Result<Reservation<'_>> {
                Reservation::new(&self.0.core, len, Deadline::after(timeout))
            }
        }
    )* };
}

/// The calls that take.
macro_rules! gets {
    ($($end:ident)*) => { $(
        impl<T, C: Decode<T>> $end<T, C> {
            /// Takes the next value; waits until there is one.
            ///
            /// ```
            /// # fn main() -> ipc_queue::Result<()> {
            /// let (producer, consumer) = ipc_queue::Queue::<u32>::new()?.split();
            /// producer.put(1)?;
            /// drop(producer); // or its process ends, however it does
            /// assert_eq!(consumer.get()?, 1);
            /// assert!(consumer.get().unwrap_err().is_disconnected()); // nothing will ever come: no wait
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Closed`](crate::Error::Closed) or [`Disconnected`](crate::Error::Disconnected) when nothing is there and nothing will
            /// come, also not from a process that has taken something and may still die;
            /// [`Decode`](crate::Error::Decode): the message is taken.
            #[inline]
            pub fn get(&self) -> Result<T> {
                Ok(self.0.get(Deadline::NEVER)?)
            }

            /// Takes the next value if there is one.
            ///
            /// # Errors
            /// [`WouldBlock`](crate::Error::WouldBlock) if there is none; else as [`get`](Self::get).
            #[doc(alias = "get_nowait")]
            #[inline]
            pub fn try_get(&self) -> Result<T> {
                Ok(self.0.get(Deadline::NOW)?)
            }

            /// Takes the next value; waits for `timeout` at most, also while a stopped process has the lock.
            ///
            /// ```
            /// use ipc_queue::Queue;
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<u32>::new()?;
            /// assert!(queue.try_get().unwrap_err().is_would_block()); // Python's `queue.Empty`
            /// assert!(queue.get_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
            /// queue.put(5)?;
            /// queue.close()?;
            /// assert_eq!(queue.get_timeout(Duration::from_millis(10))?, 5);
            /// assert!(queue.try_get().unwrap_err().is_closed()); // so that a loop knows when to end
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Timeout`](crate::Error::Timeout); else as [`get`](Self::get).
            pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
                Ok(self.0.get(Deadline::after(timeout))?)
            }

            /// Takes what is there, at most `max` values; waits until there is one. The way to the highest throughput.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn get_many(&self, max: usize) -> Result<Vec<T>> {
                Ok(self.0.get_many(max, Deadline::NEVER)?)
            }

            /// Takes what is there, at most `max` values.
            ///
            /// # Errors
            /// As [`try_get`](Self::try_get).
            pub fn try_get_many(&self, max: usize) -> Result<Vec<T>> {
                Ok(self.0.get_many(max, Deadline::NOW)?)
            }

            /// Takes what is there, at most `max` values; waits for `timeout` at most until there is one.
            ///
            /// ```
            /// use ipc_queue::Queue;
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<u32>::new()?;
            /// assert!(queue.try_get_many(10).unwrap_err().is_would_block());
            /// assert!(queue.get_many_timeout(10, Duration::from_millis(10)).unwrap_err().is_timeout());
            /// queue.put_many(&[1, 2, 3])?;
            /// assert_eq!(queue.get_many_timeout(1, Duration::from_millis(10))?, [1]);
            /// assert_eq!(queue.get_many(10)?, [2, 3]); // does not wait for eight more
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn get_many_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<T>> {
                Ok(self.0.get_many(max, Deadline::after(timeout))?)
            }

            /// Takes the next value under a lease: until it is acknowledged it stays the queue's, and goes to another receiver if this
            /// process dies: before all others, once somebody has missed it, which is after 25 ms in a queue that never runs empty.
            ///
            /// ```
            /// # fn main() -> ipc_queue::Result<()> {
            /// let jobs = ipc_queue::Queue::<String>::new()?;
            /// jobs.put("render".to_string())?;
            /// drop(jobs.lease()?); // not today
            /// let job = jobs.lease()?;
            /// assert_eq!((job.as_str(), job.deliveries()), ("render", 2));
            /// job.ack()?;
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`LeaseLimit`](crate::Error::LeaseLimit), [`NoMemory`](crate::Error::NoMemory): the message stays in the queue; else as
            /// [`get`](Self::get).
            #[inline]
            pub fn lease(&self) -> Result<Lease<T>> {
                Ok(self.0.lease(Deadline::NEVER)?)
            }

            /// The same if there is a value.
            ///
            /// # Errors
            /// As [`lease`](Self::lease), [`WouldBlock`](crate::Error::WouldBlock).
            #[inline]
            pub fn try_lease(&self) -> Result<Lease<T>> {
                Ok(self.0.lease(Deadline::NOW)?)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// ```
            /// use ipc_queue::Queue;
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let jobs = Queue::<String>::new()?;
            /// assert!(jobs.try_lease().unwrap_err().is_would_block());
            /// assert!(jobs.lease_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
            /// jobs.put("sweep".to_string())?;
            /// assert_eq!(*jobs.try_lease()?, "sweep"); // dropped at once, so it goes back
            /// jobs.lease_timeout(Duration::from_millis(10))?.ack()?;
            /// assert!(jobs.is_empty());
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`lease`](Self::lease), [`Timeout`](crate::Error::Timeout).
            pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<T>> {
                Ok(self.0.lease(Deadline::after(timeout))?)
            }

            /// Takes all messages that were delivered too often; see [`Settings::max_deliveries`].
            ///
            /// ```
            /// use ipc_queue::{Queue, Settings};
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let jobs = Queue::<String>::with(&Settings::new().max_deliveries(2))?;
            /// jobs.put("cannot be done".to_string())?;
            /// for _attempt in 1..=2 {
            ///     drop(jobs.lease()?); // or the process dies
            /// }
            /// assert!(jobs.try_lease().is_err()); // nobody gets it a third time
            /// let letters = jobs.take_dead_letters()?;
            /// assert_eq!((letters.len(), letters[0].deliveries), (1, 2));
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Forked`](crate::Error::Forked); if none of them can be read: [`NoMemory`](crate::Error::NoMemory),
            /// [`Damaged`](crate::Error::Damaged).
            pub fn take_dead_letters(&self) -> Result<Vec<DeadLetter<T>>> {
                Ok(self.0.take_dead_letters()?)
            }

            /// The values one after the other, as they come: ends when [`get`](Self::get) would say `Closed` or `Disconnected`. It
            /// takes none ahead of its time.
            ///
            /// ```
            /// # fn main() -> ipc_queue::Result<()> {
            /// let (producer, consumer) = ipc_queue::Queue::<u32>::new()?.split();
            /// producer.put_many(&[1, 2])?;
            /// drop(producer);
            /// assert_eq!(consumer.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
            /// # Ok(()) }
            /// ```
            pub fn iter(&self) -> Iter<'_, T, C> {
                Iter { end: &self.0, is_over: false }
            }
        }

        impl<'a, T, C: Decode<T>> IntoIterator for &'a $end<T, C> {
            type Item = Result<T>;
            type IntoIter = Iter<'a, T, C>;

            fn into_iter(self) -> Iter<'a, T, C> {
                self.iter()
            }
        }

        impl<T, C> $end<T, C> {
            /// Takes the next message as it is, encoded, in place of what is in `to`; waits until there is one.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn get_bytes_into(&self, to: &mut Vec<u8>) -> Result<()> {
                Ok(self.0.get_bytes_into(to, Deadline::NEVER)?)
            }

            /// The same if there is one.
            ///
            /// # Errors
            /// As [`try_get`](Self::try_get).
            pub fn try_get_bytes_into(&self, to: &mut Vec<u8>) -> Result<()> {
                Ok(self.0.get_bytes_into(to, Deadline::NOW)?)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// ```
            /// use ipc_queue::{Bytes, Queue};
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<Vec<u8>, Bytes>::new()?;
            /// let mut buffer = Vec::new(); // one for all messages
            /// assert!(queue.try_get_bytes_into(&mut buffer).unwrap_err().is_would_block());
            /// assert!(queue.get_bytes_into_timeout(&mut buffer, Duration::from_millis(10)).unwrap_err().is_timeout());
            /// queue.put_bytes(b"abc")?;
            /// queue.get_bytes_into(&mut buffer)?;
            /// assert_eq!(buffer, b"abc");
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn get_bytes_into_timeout(&self, to: &mut Vec<u8>, timeout: Duration) -> Result<()> {
                Ok(self.0.get_bytes_into(to, Deadline::after(timeout))?)
            }

            /// Looks at the next message where it lies, without a copy; waits until there is one. Until it is released nobody else
            /// gets it, and the ring's memory from there on stays in use: for a short time only. See [`Peek`] for an example.
            ///
            /// # Errors
            /// As [`get`](Self::get).
            pub fn peek(&self) -> Result<Peek<'_>> {
                Ok(self.0.peek(Deadline::NEVER)?)
            }

            /// The same if there is one.
            ///
            /// # Errors
            /// As [`try_get`](Self::try_get).
            pub fn try_peek(&self) -> Result<Peek<'_>> {
                Ok(self.0.peek(Deadline::NOW)?)
            }

            /// The same, but waits for `timeout` at most.
            ///
            /// ```
            /// use ipc_queue::{Bytes, Queue};
            /// use std::time::Duration;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<Vec<u8>, Bytes>::new()?;
            /// assert!(queue.try_peek().unwrap_err().is_would_block());
            /// assert!(queue.peek_timeout(Duration::from_millis(10)).unwrap_err().is_timeout());
            /// queue.put_bytes(b"abc")?;
            /// assert_eq!(queue.peek()?.len(), 3); // dropped: still there
            /// queue.try_peek()?.release();
            /// assert!(queue.is_empty());
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// As [`get_timeout`](Self::get_timeout).
            pub fn peek_timeout(&self, timeout: Duration) -> Result<Peek<'_>> {
                Ok(self.0.peek(Deadline::after(timeout))?)
            }

            /// Something that [`wait`](ipc_core::wait) and epoll can wait for together with others: it is ready when there is something
            /// to take. See [`Readiness`] for an example.
            ///
            /// # Errors
            /// The limit of open files, or of threads, is reached.
            pub fn readiness(&self) -> Result<Readiness> {
                Readiness::new(&self.0.core)
            }
        }
    )* };
}

/// What every end has.
macro_rules! ends {
    ($($end:ident $role:ident;)*) => { $(
        impl<T, C> $end<T, C> {
            /// How many messages there are to be taken, just now.
            #[doc(alias = "qsize")]
            pub fn len(&self) -> usize {
                self.0.core.len()
            }

            /// Whether there is none, just now.
            #[doc(alias = "empty")]
            pub fn is_empty(&self) -> bool {
                !self.0.core.is_filled()
            }

            /// Whether there is no room for even the smallest message, just now.
            ///
            /// ```
            /// use ipc_queue::Queue;
            ///
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = Queue::<u32>::bounded(2)?;
            /// assert_eq!((queue.capacity(), queue.is_empty()), (Some(2), true));
            /// queue.put_many(&[1, 2])?;
            /// assert_eq!((queue.len(), queue.is_full(), queue.stats()?.items), (2, true, 2));
            /// assert_eq!(Queue::<u32>::new()?.capacity(), None);
            /// # Ok(()) }
            /// ```
            #[doc(alias = "full")]
            pub fn is_full(&self) -> bool {
                self.0.is_full()
            }

            /// How many messages there can be at most; `None` if only their bytes are limited.
            pub fn capacity(&self) -> Option<usize> {
                self.0.capacity()
            }

            /// Closes the queue, for everybody: nothing can be put any more; what is there can be taken, then receivers get
            /// [`Closed`](crate::Error::Closed). (Python's `close` concerns the calling process only; here that is to drop the handle.)
            ///
            /// ```
            /// # fn main() -> ipc_queue::Result<()> {
            /// let queue = ipc_queue::Queue::<u32>::new()?;
            /// queue.put(1)?;
            /// queue.close()?;
            /// assert!(queue.is_closed());
            /// assert!(queue.put(2).unwrap_err().error.is_closed());
            /// assert_eq!(queue.get()?, 1); // what is there can be taken
            /// assert!(queue.get().unwrap_err().is_closed());
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Forked`](crate::Error::Forked).
            pub fn close(&self) -> Result<()> {
                Ok(self.0.core.close()?)
            }

            /// Whether it was closed.
            pub fn is_closed(&self) -> bool {
                self.0.core.tail().is_closed()
            }

            /// What goes on in the queue.
            ///
            /// # Errors
            /// [`Forked`](crate::Error::Forked); the system cannot tell how many processes have the queue.
            pub fn stats(&self) -> Result<Stats> {
                Ok(self.0.stats()?)
            }
        }

        impl<T, C> serde::Serialize for $end<T, C> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, T, C> serde::Deserialize<'de> for $end<T, C> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$end<T, C>, D::Error> {
                End::deserialize(ipc_core::Roles::$role, deserializer).map($end)
            }
        }

        impl<T, C> Clone for $end<T, C> {
            fn clone(&self) -> $end<T, C> {
                $end(self.0.clone())
            }
        }

        impl<T, C> fmt::Debug for $end<T, C> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($end)).field(&self.0.core).finish()
            }
        }
    )* };
}

pub(crate) use {ends, gets, puts};
