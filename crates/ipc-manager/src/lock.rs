//! Locks, re-entrant locks, conditions.

use std::marker::PhantomData;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::protocol::{Answer, Op};
use crate::proxy::{Proxy, proxy};
use crate::session::{Waiting, done, flag, number, thread, unexpected};

proxy! {
    /// A lock in the server, for whatever processes agree upon. Made by [`Manager::lock`](crate::Manager::lock).
    ///
    /// It is held by a thread of a process. When the process is killed, or cut off, the lock is free at once, and until somebody takes it who
    /// [knows](Lock::lock_or_repair) that its owner died, all get [`Error::OwnerDied`]. Between processes of one machine `ipc_sync::Mutex` is a thousand
    /// times as fast.
    ///
    /// ```
    /// use ipc_manager::{Lock, Manager, Process};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let lock = manager.lock()?;
    /// let careless = Process::spawn(|lock: Lock| std::mem::forget(lock.lock().unwrap()), lock.clone())?;
    /// careless.join()?; // it has ended with the lock
    /// assert!(lock.lock().is_err_and(|error| error.is_owner_died()));
    /// let (guard, died) = lock.lock_or_repair()?;
    /// assert!(died);
    /// drop(guard);
    /// let _guard = lock.lock()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `threading.Lock` in a manager, which stays locked for ever.
    Lock
}

proxy! {
    /// A lock that the thread which has it can take again. Made by [`Manager::rlock`](crate::Manager::rlock).
    ///
    /// It is free when all guards are dropped. For the rest, see [`Lock`].
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let lock = manager.rlock()?;
    /// let outer = lock.lock()?;
    /// let inner = lock.lock()?;
    /// drop(outer);
    /// assert!(lock.is_locked()?);
    /// drop(inner);
    /// assert!(!lock.is_locked()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `threading.RLock` in a manager.
    RLock
}

proxy! {
    /// A lock, and waiting until something has changed that it protects. Made by [`Manager::condition`](crate::Manager::condition).
    ///
    /// ```
    /// use ipc_manager::{Condition, Manager, Process, Value};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let (changed, stage) = (manager.condition()?, manager.value(0)?);
    /// let child = Process::spawn(
    ///     |(changed, stage): (Condition, Value<u32>)| {
    ///         let guard = changed.lock().unwrap();
    ///         stage.set(&1).unwrap();
    ///         guard.notify_all().unwrap();
    ///     },
    ///     (changed.clone(), stage.clone()),
    /// )?;
    /// let mut guard = changed.lock()?;
    /// guard.wait_while(|| Ok(stage.get()? == 0))?;
    /// drop(guard);
    /// child.join()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # References
    /// CPython `threading.Condition` in a manager.
    Condition
}

/// A lock that is held, until this is dropped. It belongs to its thread.
///
/// ```
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = ipc_manager::Manager::start()?;
/// let lock = manager.lock()?;
/// let guard = lock.lock()?;
/// assert!(lock.is_locked()?);
/// drop(guard); // the server hears it, or the connection is gone, and the lock free for that reason
/// assert!(!lock.is_locked()?);
/// lock.lock()?.unlock()?; // fails if it was not heard
/// # Ok(()) }
/// ```
#[must_use = "dropped at once, the lock is free again"]
#[derive(Debug)]
pub struct Guard<'a> {
    proxy: &'a Proxy,
    is_held: bool,
    /// Not for other threads.
    thread: PhantomData<*const ()>,
}

fn acquire(proxy: &Proxy, waiting: Waiting, repair: bool) -> Result<(Guard<'_>, bool)> {
    let op = Op::Acquire { wait: waiting.may_wait(), thread: thread(), repair };
    proxy.wait(op, waiting, |answer| match answer {
        Answer::Granted { died, .. } => Ok((Guard { proxy, is_held: true, thread: PhantomData }, died)),
        other => Err(unexpected(other)),
    })
}

impl Guard<'_> {
    /// Gives the lock back, and says whether that was heard.
    ///
    /// # Errors
    /// [`Error::Disconnected`]: the server is gone, and the lock with it, or has taken this process for dead.
    pub fn unlock(mut self) -> Result<()> {
        self.is_held = false;
        self.proxy.call(Op::Release { thread: thread() }, done)
    }
}

impl Drop for Guard<'_> {
    /// If the server does not hear it, the connection is gone, and the lock free for that reason.
    fn drop(&mut self) {
        if self.is_held {
            let _ = self.proxy.call(Op::Release { thread: thread() }, done);
        }
    }
}

macro_rules! lock {
    ($name:ident, $make:ident, $guard:ident, $wrap:expr) => {
        impl $name {
            /// Takes the lock; waits until it is free.
            ///
            /// ```
            /// # fn main() -> Result<(), ipc_manager::Error> {
            /// let manager = ipc_manager::Manager::start()?;
            #[doc = concat!("let (lock, total) = (manager.", stringify!($make), "()?, manager.value(0)?);")]
            /// std::thread::scope(|scope| {
            ///     let add = || (0..20).try_for_each(|_| {
            ///         let _guard = lock.lock()?; // two threads, or two processes
            ///         total.set(&(total.get()? + 1))
            ///     });
            ///     let threads = [scope.spawn(add), scope.spawn(add)];
            ///     threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
            /// })?;
            /// assert_eq!(total.get()?, 40);
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::OwnerDied`]; [`Error::AlreadyLocked`] if this thread has it (not for an [`RLock`]); [`Error::Disconnected`].
            #[doc(alias = "acquire")]
            pub fn lock(&self) -> Result<$guard<'_>> {
                acquire(&self.proxy, Waiting::FOR_EVER, false).map(|(guard, _)| $wrap(guard))
            }

            /// As [`lock`](Self::lock), but does not wait.
            ///
            /// # Errors
            /// [`Error::WouldBlock`]: somebody has it. Else as `lock`.
            pub fn try_lock(&self) -> Result<$guard<'_>> {
                acquire(&self.proxy, Waiting::No, false).map(|(guard, _)| $wrap(guard))
            }

            /// As [`lock`](Self::lock), but waits no longer than `timeout`, also while its owner or the server is stopped.
            ///
            /// ```
            /// use std::time::Duration;
            ///
            /// # fn main() -> Result<(), ipc_manager::Error> {
            /// let manager = ipc_manager::Manager::start()?;
            #[doc = concat!("let lock = manager.", stringify!($make), "()?;")]
            /// let guard = lock.lock()?;
            /// std::thread::scope(|scope| {
            ///     let refused = scope.spawn(|| lock.try_lock().map(drop)).join().expect("it does not panic");
            ///     assert!(refused.is_err_and(|error| error.is_would_block()));
            ///     let late = scope.spawn(|| lock.lock_timeout(Duration::from_millis(5)).map(drop));
            ///     assert!(late.join().expect("it does not panic").is_err_and(|error| error.is_timeout()));
            /// });
            /// guard.unlock()?;
            /// lock.try_lock()?;
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::Timeout`]. Else as `lock`.
            pub fn lock_timeout(&self, timeout: Duration) -> Result<$guard<'_>> {
                acquire(&self.proxy, Waiting::within(timeout), false).map(|(guard, _)| $wrap(guard))
            }

            /// Takes the lock also if its last owner died with it, and says whether that is so: then what it protects is to be repaired. Others
            /// get it without an error from now on.
            ///
            /// # Errors
            /// As [`lock`](Self::lock), without `OwnerDied`.
            pub fn lock_or_repair(&self) -> Result<($guard<'_>, bool)> {
                acquire(&self.proxy, Waiting::FOR_EVER, true).map(|(guard, died)| ($wrap(guard), died))
            }

            /// As [`lock_or_repair`](Self::lock_or_repair), but does not wait.
            ///
            /// # Errors
            /// [`Error::WouldBlock`]: somebody has it.
            pub fn try_lock_or_repair(&self) -> Result<($guard<'_>, bool)> {
                acquire(&self.proxy, Waiting::No, true).map(|(guard, died)| ($wrap(guard), died))
            }

            /// As [`lock_or_repair`](Self::lock_or_repair), but waits no longer than `timeout`.
            ///
            /// ```
            /// use std::time::Duration;
            ///
            #[doc = concat!("use ipc_manager::{", stringify!($name), ", Manager, Process};")]
            ///
            /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
            /// let manager = Manager::start()?;
            #[doc = concat!("let lock = manager.", stringify!($make), "()?;")]
            /// let owner = Process::spawn(
            #[doc = concat!("    |lock: ", stringify!($name), "| std::mem::forget(lock.lock().unwrap()),")]
            ///     lock.clone(),
            /// )?;
            /// owner.join()?; // it has ended with the lock
            /// assert!(lock.try_lock().is_err_and(|error| error.is_owner_died()));
            /// let (guard, died) = lock.lock_or_repair_timeout(Duration::from_secs(10))?;
            /// assert!(died && lock.is_locked()?);
            /// drop(guard); // what it protects is in order again
            /// let (_guard, died) = lock.try_lock_or_repair()?;
            /// assert!(!died);
            /// # Ok(()) }
            /// ```
            ///
            /// # Errors
            /// [`Error::Timeout`].
            pub fn lock_or_repair_timeout(&self, timeout: Duration) -> Result<($guard<'_>, bool)> {
                acquire(&self.proxy, Waiting::within(timeout), true).map(|(guard, died)| ($wrap(guard), died))
            }

            /// Whether anybody has it.
            #[doc(alias = "locked")]
            pub fn is_locked(&self) -> Result<bool> {
                self.proxy.call(Op::IsLocked, flag)
            }
        }
    };
}

lock!(Lock, lock, Guard, |guard| guard);
lock!(RLock, rlock, Guard, |guard| guard);
lock!(Condition, condition, ConditionGuard, ConditionGuard);

/// The lock of a [`Condition`], held until this is dropped.
///
/// ```
/// use std::time::Duration;
///
/// use ipc_manager::Manager;
///
/// # fn main() -> Result<(), ipc_manager::Error> {
/// let manager = Manager::start()?;
/// let (changed, stage) = (manager.condition()?, manager.value(0)?);
/// let mut guard = changed.lock()?;
/// assert!(!guard.wait_timeout(Duration::from_millis(1))?); // no notification came; the lock is taken again
/// assert!(!guard.wait_while_timeout(Duration::from_millis(1), || Ok(stage.get()? == 0))?);
/// assert!(!guard.notify_one()?); // nobody waits
/// guard.unlock()?;
///
/// std::thread::scope(|scope| {
///     let waiting = scope.spawn(|| changed.lock()?.wait_while(|| Ok(stage.get()? < 2)));
///     for n in 1..=2 {
///         let guard = changed.lock()?; // without it, who waits could miss the change
///         stage.set(&n)?;
///         guard.notify_all()?;
///     }
///     waiting.join().expect("it does not panic")
/// })?;
/// # Ok(()) }
/// ```
#[must_use = "dropped at once, the lock is free again"]
#[derive(Debug)]
pub struct ConditionGuard<'a>(Guard<'a>);

impl ConditionGuard<'_> {
    /// Gives the lock back, waits until somebody notifies, and takes the lock again.
    ///
    /// ```
    /// # fn main() -> Result<(), ipc_manager::Error> {
    /// let manager = ipc_manager::Manager::start()?;
    /// let (changed, begun) = (manager.condition()?, manager.event()?);
    /// std::thread::scope(|scope| {
    ///     let waiting = scope.spawn(|| {
    ///         let mut guard = changed.lock()?;
    ///         begun.set()?;
    ///         guard.wait() // the lock is free meanwhile
    ///     });
    ///     begun.wait()?;
    ///     changed.lock()?.notify_one()?; // has the lock, so the other one waits by now
    ///     waiting.join().expect("it does not panic")
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::OwnerDied`]: one who had the lock died; then this guard does not have it any more. [`Error::NotHeld`]: that has happened before.
    pub fn wait(&mut self) -> Result<()> {
        self.wait_by(Waiting::FOR_EVER).map(drop)
    }

    /// As [`wait`](ConditionGuard::wait), but waits no longer than `timeout` for a notification; says whether one came. The lock is taken again in
    /// any case, and that may take longer.
    ///
    /// # Errors
    /// As `wait`; [`Error::Timeout`]: the server did not answer, and this guard does not have the lock any more.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool> {
        self.wait_by(Waiting::within(timeout))
    }

    /// Waits as long as `condition` says so, which is asked with the lock held.
    ///
    /// # Errors
    /// As [`wait`](ConditionGuard::wait), and those of `condition`.
    #[doc(alias = "wait_for")]
    pub fn wait_while(&mut self, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
        while condition()? {
            self.wait()?;
        }
        Ok(())
    }

    /// As [`wait_while`](ConditionGuard::wait_while), but waits no longer than `timeout` in all; says whether the condition came to an end.
    ///
    /// # Errors
    /// As `wait_while`.
    pub fn wait_while_timeout(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut() -> Result<bool>,
    ) -> Result<bool> {
        let waiting = Waiting::within(timeout);
        while condition()? {
            if !self.wait_by(waiting)? {
                return condition().map(|goes_on| !goes_on);
            }
        }
        Ok(true)
    }

    fn wait_by(&mut self, waiting: Waiting) -> Result<bool> {
        if !self.0.is_held {
            return Err(Error::NotHeld);
        }
        let result = self.0.proxy.wait(Op::CondWait { thread: thread() }, waiting, |answer| match answer {
            Answer::Granted { timed_out, .. } => Ok(!timed_out),
            other => Err(unexpected(other)),
        });
        match result {
            Ok(_) | Err(Error::NotHeld | Error::Forked) => {}
            Err(Error::OwnerDied | Error::Disconnected) => self.0.is_held = false,
            Err(_) => {
                // Perhaps not even the request got there, and the lock is still this thread's.
                self.0.is_held = false;
                self.0.proxy.tell(Op::Release { thread: thread() });
            }
        }
        result
    }

    /// Wakes one who waits; says whether there was one.
    ///
    /// # Errors
    /// [`Error::NotHeld`], [`Error::Disconnected`].
    pub fn notify_one(&self) -> Result<bool> {
        self.notify(false).map(|n| n > 0)
    }

    /// Wakes all who wait; says how many these were.
    ///
    /// # Errors
    /// [`Error::NotHeld`], [`Error::Disconnected`].
    pub fn notify_all(&self) -> Result<usize> {
        self.notify(true).map(|n| n as usize)
    }

    fn notify(&self, all: bool) -> Result<u64> {
        self.0.proxy.call(Op::Notify { all, thread: thread() }, number)
    }

    /// As [`Guard::unlock`].
    ///
    /// # Errors
    /// As there.
    pub fn unlock(self) -> Result<()> {
        self.0.unlock()
    }
}
