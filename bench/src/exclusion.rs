//! How locks and semaphores are measured, whoever made them.

use std::fs::read_to_string;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, Instant};

use ipc_core::{Connection, Process};
use ipc_pipe::duplex;
use nix::sys::signal::Signal::SIGKILL;
use nix::time::ClockId;
use nix::unistd::{Pid, gettid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Outcome};
use crate::plan::Plan;
use crate::raw::Stop;
use crate::stats::median;
use crate::window::Window;

pub(crate) trait Make: Sized + 'static {
    fn new() -> Outcome<Self>;
}

/// Something that is taken and given back.
pub(crate) trait Take: Make {
    /// Both, with nothing in between. Implementations are always inlined, as if each were written out in the loop that is timed.
    fn take_and_give_back(&self) -> Outcome<()>;
}

/// Nanoseconds for both, in a process that has it for itself.
pub(crate) fn alone<T: Take>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window: Window| {
        let thing = T::new()?;
        let timed = window.time(1024, || thing.take_and_give_back())?;
        Ok(timed.nanoseconds_each())
    })
}

/// What can be given to another process.
pub(crate) trait Portable: Make + Serialize + DeserializeOwned {
    fn try_clone(&self) -> Outcome<Self>;
}

/// A lock with a number behind it.
pub(crate) trait Count: Portable {
    /// Locks, adds 1, unlocks. Inlined as well.
    fn increment(&self) -> Outcome<()>;

    fn count(&self) -> Outcome<u64>;
}

/// Nanoseconds per increment, in a process that has the lock for itself.
pub(crate) fn incremented<L: Count>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|window: Window| {
        let (lock, mut own) = (L::new()?, 0);
        let timed = window.time(1024, || {
            own += 1;
            lock.increment()
        })?;
        match lock.count()? {
            count if count == own => Ok(timed.nanoseconds_each()),
            count => Err(Failure::new(format!("{own} increments made {count}"))),
        }
    })
}

/// Nanoseconds per increment, while two processes do nothing else.
pub(crate) fn contended<L: Count>(plan: &Plan) -> Outcome<f64> {
    let (lock, stop, (ours, theirs)) = (L::new()?, Stop::new()?, duplex::<(), u64>()?);
    plan.pair(
        |(window, (lock, stop, mut peer)): (Window, (L, Stop, Connection<(), u64>))| {
            peer.recv()?; // It runs.
            let mut own = 0;
            let increment = || {
                own += 1;
                lock.increment()
            };
            let timed = window.time_with_peer(BATCH, increment, || lock.count());
            stop.set(); // In any case, so that the peer ends.
            let (timed, other) = (timed?, peer.recv()?);
            match lock.count()? {
                count if count == own + other => Ok(timed.nanoseconds_each()),
                count => Err(Failure::new(format!("{own} and {other} increments made {count}"))),
            }
        },
        (lock.try_clone()?, stop.try_clone()?, ours),
        |(lock, stop, mut conn): (L, Stop, Connection<u64, ()>)| {
            conn.send(0)?;
            let mut own = 0;
            while !stop.is_set() {
                for _ in 0..BATCH {
                    lock.increment()?;
                }
                own += u64::from(BATCH);
            }
            Ok(conn.send(own)?)
        },
        (lock, stop, theirs),
    )
}

const BATCH: u32 = 64;

/// Something that a process can hold while another one waits for it.
pub(crate) trait Hold: Portable {
    /// Nobody gets it until `meanwhile` returns.
    fn hold(&self, meanwhile: impl FnOnce() -> Outcome<()>) -> Outcome<()>;

    /// Waits while it is held.
    fn wait(&self) -> Outcome<()>;
}

/// The processor time of a process that waits, in percent.
pub(crate) fn idle<H: Hold>(plan: &Plan) -> Outcome<f64> {
    const LENGTH: Duration = Duration::from_secs(1);
    let (thing, (ours, theirs)) = (H::new()?, duplex::<(), ()>()?);
    plan.pair(
        |(_, (thing, mut holder)): (Window, (H, Connection<(), ()>))| {
            holder.recv()?; // It is held.
            let (used, start) = (processor_time()?, Instant::now());
            thing.wait()?;
            let (used, elapsed) = (processor_time()? - used, start.elapsed());
            if elapsed < LENGTH / 2 {
                return Err(Failure::new(format!("it did not wait for {LENGTH:?}, but {elapsed:?}")));
            }
            Ok(100.0 * used.as_secs_f64() / elapsed.as_secs_f64())
        },
        (thing.try_clone()?, ours),
        |(thing, mut conn): (H, Connection<(), ()>)| {
            thing.hold(|| {
                conn.send(())?;
                thread::sleep(LENGTH);
                Ok(())
            })
        },
        (thing, theirs),
    )
}

/// Of all threads of this process.
fn processor_time() -> nix::Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// A lock that outlives its owner.
pub(crate) trait Inherit: Hold {
    /// Gets the lock of an owner who dies, and makes it an ordinary one again. Returns when it had the lock.
    fn inherit(&self) -> Outcome<Instant>;
}

/// Microseconds from the death of the owner until another process has the lock.
pub(crate) fn handover<L: Inherit>(plan: &Plan) -> Outcome<f64> {
    plan.alone(|_: Window| {
        let lock = L::new()?;
        let times = (0..KILLS).map(|_| kill_an_owner(&lock)).collect::<Outcome<Vec<_>>>()?;
        Ok(median(&times))
    })
}

const KILLS: usize = 50;

fn kill_an_owner<L: Inherit>(lock: &L) -> Outcome<f64> {
    let (mut ours, theirs) = duplex::<(), ()>()?;
    let owner = Process::spawn(
        |(lock, mut conn): (L, Connection<(), ()>)| {
            lock.hold(|| {
                conn.send(())?;
                loop {
                    thread::park();
                }
            })
        },
        (lock.try_clone()?, theirs),
    )?;
    ours.recv()?; // It has the lock.
    let (child, waiter) = ((*owner).clone(), gettid());
    let killer = thread::spawn(move || {
        until_asleep(waiter)?;
        let now = Instant::now();
        child.kill()?;
        Ok::<_, Failure>(now)
    });
    let locked = lock.inherit();
    let killed = killer.join().map_err(|_| Failure::new("the killer panicked"))??;
    let child = (*owner).clone();
    let _killed = owner.join();
    match child.exit_status().and_then(|status| status.signal()) {
        Some(signal) if signal == SIGKILL as i32 => Ok((locked? - killed).as_secs_f64() * 1e6),
        _ => Err(Failure::new("the owner was not killed but ended")),
    }
}

/// Waits until a thread of this process sleeps, and a little longer, so that its processor has found out that it is idle.
fn until_asleep(thread: Pid) -> Outcome<()> {
    loop {
        thread::sleep(Duration::from_millis(1));
        let stat = read_to_string(format!("/proc/self/task/{thread}/stat"))?;
        // The state comes after the name in parentheses, proc(5).
        if stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            thread::sleep(Duration::from_millis(1));
            return Ok(());
        }
    }
}
