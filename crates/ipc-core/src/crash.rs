//! Crash points: named places in the code at which a test has the process kill or stop itself. In ordinary builds there is
//! nothing of them.
//!
//! Built with `--cfg ipc_crash_points`, a process obeys the environment variable `IPC_CRASH=name:n:signal`: when it passes the
//! point of that name for the `n`-th time, it sends itself `KILL` or `STOP`. Kills at random times hit the few instructions
//! between two steps once in a hundred times at best; a point hits them every time.
//!
//! Other crates of the family mark their places with `ipc_core::crash_point!("name")` and enter the names in `POINTS`.

/// Kills or stops the process here, if `IPC_CRASH` says so; nothing in ordinary builds.
#[doc(hidden)]
#[macro_export]
#[cfg(ipc_crash_points)]
macro_rules! crash_point {
    ($name:literal) => {{
        const _: () = assert!($crate::crash::is_known($name), "enter the name in POINTS of ipc-core/src/crash.rs");
        $crate::crash::pass($name)
    }};
}

/// Kills or stops the process here, if `IPC_CRASH` says so; nothing in ordinary builds.
#[doc(hidden)]
#[macro_export]
#[cfg(not(ipc_crash_points))]
macro_rules! crash_point {
    ($name:literal) => {
        ()
    };
}

#[cfg(ipc_crash_points)]
pub use active::{POINTS, is_known, pass};

#[cfg(ipc_crash_points)]
mod active {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use nix::sys::signal::{Signal, raise};

    /// Every point there is. The campaigns of the tests fail if they cannot hit one of them.
    pub const POINTS: &[&str] = &[
        // The parent, while it spawns.
        "spawn.encoded",
        "spawn.started",
        "spawn.watched",
        "spawn.handed-over",
        // The child, from its first moment to its last.
        "child.begun",
        "child.before-setup",
        "child.after-setup",
        "child.before-arguments",
        "child.after-arguments",
        "child.before-report",
        "child.after-report",
        // The parent, at the end of a child.
        "join.waiting",
        "join.ended",
        "join.reported",
        "reap.reaped",
        "reap.detached",
        // A message on its way out.
        "send.encoded",
        "send.part",
        "send.packet",
        "send.written",
        // A message on its way in.
        "recv.bytes",
        "recv.descriptors",
        "recv.taken",
        // An end of a connection that changes its process.
        "end.encoded",
        "end.sent",
        "end.received",
        // Shared memory.
        "segment.announced",
        "segment.object-filled",
        // Names of shared memory, and scopes that remove them.
        "named.made",
        "named.linked",
        "named.opened",
        "named.attached",
        "named.claimed",
        "named.freed",
        "named.leaving",
        "names.marked",
        "names.matched",
        "names.watcher-woken",
        // Locks and their like.
        "mutex.locked",
        "mutex.died-seen",
        "mutex.unlocking",
        "rwlock.reader-in",
        "rwlock.writer-announced",
        "rwlock.writer-in",
        "semaphore.taken",
        "semaphore.freed",
        "semaphore.swept",
        "signal.added",
        "signal.taken",
        "condvar.registered",
        "condvar.released",
        "event.set",
        "barrier.place-taken",
        "barrier.enrolled",
        "barrier.arrived",
        "barrier.released",
        "barrier.cause-noted",
        "barrier.broken",
        "once.running",
        "once.done",
        // A queue: a message on its way in.
        "put.filled",
        "put.published",
        "put.unlocked",
        // On its way out.
        "get.noted",
        "get.moved",
        "get.copied",
        "get.cleared",
        "get.freed",
        // Kept under a lease, and what becomes of it.
        "lease.stored",
        "lease.kept",
        "lease.acked",
        "lease.given-back",
        "dead-letter.marked",
        // What the dead had taken.
        "recover.returned",
        "redeliver.noted",
        "redeliver.moved",
        // Long messages.
        "extent.claimed",
        "extent.written",
        "extent.queued",
        "extent.freeing",
        "extent.punched",
        "close.marked",
        // One producer and one consumer.
        "spsc.filled",
        "spsc.published",
        "spsc.copied",
        "spsc.freed",
        // A FIFO's name, and a record on its way.
        "fifo.made",
        "fifo.owned",
        "fifo.opened",
        "fifo.removing",
        "record.encoded",
        "record.part",
        "record.sent",
        "record.read",
        "record.assembled",
        // A listener's name; a client that comes in.
        "bind.replacing",
        "bind.bound",
        "listener.leaving",
        "accept.accepted",
        "handshake.challenged",
        "handshake.answered",
        "handshake.welcomed",
        "handshake.done",
        "connect.connected",
        // Those who sleep, and who wakes them.
        "manager.asked",
        "manager.granted",
        // Channels of a network: making an offer, taking one, and what it takes to see to the dead.
        "csp.slot",
        "csp.filled",
        "csp.buffered",
        "csp.buffered-taken",
        "csp.linked",
        "csp.listed",
        "csp.half-linked",
        "csp.half-unlinked",
        "csp.offered",
        "csp.poked",
        "csp.taken",
        "csp.unlinked",
        "csp.copied",
        "csp.committing",
        "csp.committed",
        "csp.emptying",
        "csp.freeing",
        "csp.withdrawn",
        "csp.rebuilding",
        "csp.putting-back",
        "csp.relinked",
        "csp.offer-buried",
        "csp.slot-buried",
        "csp.end-buried",
        "csp.channel-made",
        "csp.channel-freed",
        "csp.over",
        "csp.retiring",
        "csp.retired",
        "csp.ends-in-offer",
        "csp.end-sent",
        "csp.end-arrived",
        "csp.ends-read",
        "word.waiting",
        "word.cleared",
    ];

    /// What this process is to do, and how often it has passed the point.
    struct Plan {
        point: String,
        pass: u64,
        signal: Signal,
        passed: AtomicU64,
    }

    /// Read once, as the environment may change.
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

    /// Called by `crash_point!`.
    pub fn pass(name: &str) {
        let Some(plan) = PLAN.get_or_init(|| parse(&std::env::var("IPC_CRASH").ok()?)) else { return };
        if plan.point == name && plan.passed.fetch_add(1, Ordering::Relaxed) + 1 == plan.pass {
            let _ = raise(plan.signal); // both signals are for the whole process, and neither can be refused
        }
    }

    fn parse(text: &str) -> Option<Plan> {
        let mut parts = text.split(':');
        let (point, pass, signal) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let signal = match signal {
            "KILL" => Signal::SIGKILL,
            "STOP" => Signal::SIGSTOP,
            _ => return None,
        };
        Some(Plan { point: point.into(), pass, signal, passed: AtomicU64::new(0) })
    }

    /// Whether the name stands in the table; for the compiler.
    pub const fn is_known(name: &str) -> bool {
        let mut i = 0;
        while i < POINTS.len() {
            if same(POINTS[i].as_bytes(), name.as_bytes()) {
                return true;
            }
            i += 1;
        }
        false
    }

    const fn same(a: &[u8], b: &[u8]) -> bool {
        let mut i = 0;
        while i < a.len() && i < b.len() && a[i] == b[i] {
            i += 1;
        }
        i == a.len() && i == b.len()
    }
}
