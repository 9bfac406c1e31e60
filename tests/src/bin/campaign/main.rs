//! Kills workers thousands of times; `cargo xtask test-all --only kills` builds and runs it, `--list` names the scenarios.
#![deny(unsafe_code)] // allowed again in raw.rs

mod arrays;
mod controls;
mod csp;
mod csp_census;
mod csp_controls;
mod csp_ends;
mod csp_heir;
mod csp_ledger;
mod csp_member;
mod csp_rounds;
mod csp_stopped;
mod fifo;
mod fifo_connect;
mod fifo_controls;
mod fifo_names;
mod folder;
mod handles;
mod lock_controls;
mod locks;
mod manager;
mod manager_batches;
mod manager_controls;
mod manager_locks;
mod manager_meetings;
mod manager_nested;
mod manager_queues;
mod manager_servers;
mod manager_stopped;
mod meetings;
mod memory;
mod memory_controls;
mod names;
mod permits;
mod pipes;
mod points;
mod processes;
mod queue;
mod queue_controls;
mod queue_ledger;
mod queue_named;
mod queue_rounds;
mod queue_single;
mod queue_stopped;
mod queue_tasks;
mod queue_typed;
mod queue_ways;
mod raw;
mod scopes;
mod shared;
mod socket;
mod socket_controls;
mod socket_handles;
mod socket_names;
mod socket_rounds;
mod sync_locks;
mod woken;

use std::process::ExitCode;

use ipc_shm::{Array, Value};
use ipc_sync::{Mutex, RLock, RwLock};
use ipc_tests::campaign::{self, Flaw, Scenario};

use crate::locks::WORDS;
use crate::points::*;

const fn real(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "core", name, about, points, round, control: None }
}

const fn sync(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "sync", name, about, points, round, control: None }
}

const fn shm(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "shm", name, about, points, round, control: None }
}

const fn queue(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "queue", name, about, points, round, control: None }
}

const fn socket(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "socket", name, about, points, round, control: None }
}

const fn fifo(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "fifo", name, about, points, round, control: None }
}

const fn manager(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "manager", name, about, points, round, control: None }
}

const fn csp(name: &'static str, about: &'static str, points: Points, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "csp", name, about, points, round, control: None }
}

const fn csp_control(
    name: &'static str,
    about: &'static str,
    points: Points,
    flaw: Flaw,
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { of: "csp", name, about, points, round, control: Some(flaw) }
}

const fn manager_control(
    name: &'static str,
    about: &'static str,
    flaw: Flaw,
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { of: "manager", name, about, points: &[], round, control: Some(flaw) }
}

const fn fifo_control(
    name: &'static str,
    about: &'static str,
    flaw: Flaw,
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { of: "fifo", name, about, points: &[], round, control: Some(flaw) }
}

const fn socket_control(
    name: &'static str,
    about: &'static str,
    flaw: Flaw,
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { of: "socket", name, about, points: &[("send.encoded", 40)], round, control: Some(flaw) }
}

const fn control(name: &'static str, about: &'static str, flaw: Flaw, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "core", name, about, points: &[("send.encoded", 40)], round, control: Some(flaw) }
}

const fn sync_control(
    name: &'static str,
    about: &'static str,
    flaw: Flaw,
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { of: "sync", name, about, points: &[], round, control: Some(flaw) }
}

const fn shm_control(name: &'static str, about: &'static str, flaw: Flaw, round: fn(&mut campaign::Round)) -> Scenario {
    Scenario { of: "shm", name, about, points: &[], round, control: Some(flaw) }
}

const fn queue_control(
    name: &'static str,
    about: &'static str,
    points: Points,
    flaw: Flaw,
    round: fn(&mut campaign::Round),
) -> Scenario {
    Scenario { of: "queue", name, about, points, round, control: Some(flaw) }
}

fn new<L>(lock: ipc_sync::Result<L>) -> L {
    lock.expect("memory for a lock")
}

fn made<T>(memory: ipc_shm::Result<T>) -> T {
    memory.expect("memory for a value")
}

const SCENARIOS: &[Scenario] = &[
    real("writer", "killed while it sends small messages", WRITING, |round| pipes::writer(round, false)),
    real("writer-large", "killed while it sends messages of up to 1 MiB", WRITING, |round| pipes::writer(round, true)),
    real("reader", "killed while it receives small messages", READING, |round| pipes::reader(round, false)),
    real("reader-large", "killed while it receives messages of up to 1 MiB", READING, |round| {
        pipes::reader(round, true)
    }),
    real("halves-sender", "killed with the sending half, another process has the other", WRITING, |round| {
        pipes::halves(round, true);
    }),
    real("halves-receiver", "killed with the receiving half, another process has the other", READING, |round| {
        pipes::halves(round, false);
    }),
    real("handles-sender", "killed while it sends 1 to 300 handles", HANDING, handles::sender),
    real("handles-receiver", "killed while it receives 1 to 300 handles", TAKING, handles::receiver),
    real("child", "killed between its start and its report", CHILD, processes::child),
    real("parent", "killed while it spawns and joins; its daemons end with it", PARENT, processes::parent),
    control("control-lost", "a writer acknowledges before it sends", Flaw::Lost, controls::lost),
    control("control-duplicate", "a writer sends twice", Flaw::Duplicate, controls::duplicate),
    control("control-corrupt", "a message has a wrong byte", Flaw::Corrupt, controls::corrupt),
    control("control-hang", "a worker never ends", Flaw::Hang, controls::hang),
    control("control-child", "a worker leaves a child", Flaw::Left, controls::child),
    control("control-descriptor", "a survivor leaves a descriptor", Flaw::Left, controls::descriptor),
    sync("mutex", "killed while it locks a mutex, and with it", LOCKING, |round| {
        locks::owner(round, &new(Mutex::new([0; WORDS])), &["mutex.locked", "mutex.unlocking"]);
    }),
    sync("mutex-heir", "killed while it takes over what other dead owners have left", INHERITING, |round| {
        locks::heir(round, &new(Mutex::new([0; WORDS])), &["mutex.locked", "mutex.died-seen", "mutex.unlocking"]);
    }),
    sync("mutex-woken", "killed when it was woken to take a mutex", &[], woken::mutex),
    sync("rlock", "killed while it locks a re-entrant lock, and with it", LOCKING, |round| {
        locks::owner(round, &new(RLock::new([0; WORDS])), &["mutex.locked", "mutex.unlocking"]);
    }),
    sync("rwlock-reader", "killed while it reads", RW_READING, |round| {
        locks::reader(round, &new(RwLock::new([0; WORDS])));
    }),
    sync("rwlock-writer", "killed while it reads and writes", RW_WRITING, |round| {
        locks::owner(round, &new(RwLock::new([0; WORDS])), &["rwlock.writer-in"]);
    }),
    sync("rwlock-heir", "killed while it takes over what other dead writers have left", RW_INHERITING, |round| {
        locks::heir(round, &new(RwLock::new([0; WORDS])), &["rwlock.writer-in"]);
    }),
    sync("semaphore", "killed while it takes a permit, and with it", HOLDING, permits::semaphore),
    sync("semaphore-sweeper", "killed while it frees what other dead ones had", SWEEPING, permits::sweeper),
    sync("signal-giver", "killed while it adds to a signal", GIVING, permits::giver),
    sync("signal-taker", "killed while it takes from a signal", TAKING_FROM, permits::taker),
    sync("signal-woken", "killed when it was woken to take from a signal", &[], woken::signal),
    sync("condvar", "killed while it notifies others, or waits", NOTIFYING, meetings::condvar),
    sync("event", "killed while it sets an event, or waits", SETTING, meetings::event),
    sync("barrier", "killed while it meets the others", MEETING, meetings::barrier),
    sync("once", "killed while it does what is to be done once", CALLING, meetings::once),
    sync("abandoned", "the only other one is killed, also while it passes it on", PASSING_ON, shared::abandoned),
    sync("segment", "killed while it makes objects in a segment", MAKING, shared::segment),
    sync_control(
        "control-plain-mutex",
        "a mutex that does not survive its owner",
        Flaw::Hang,
        lock_controls::plain_mutex,
    ),
    sync_control("control-untold", "a lock handed on without a word of the death", Flaw::Untold, lock_controls::untold),
    sync_control(
        "control-counter",
        "a count of waiters that has the dead in it",
        Flaw::Hang,
        lock_controls::waiter_counter,
    ),
    sync_control("control-wake-one", "one waiter is woken, without slices", Flaw::Hang, lock_controls::wake_one),
    sync_control("control-barger", "a robust mutex is waited for without slices", Flaw::Hang, lock_controls::barger),
    shm("name-creator", "killed while it makes and drops memory of one name", NAMING, names::creator),
    shm("name-heir", "killed while it takes over what other dead ones have left", TAKING_OVER, names::heir),
    shm("name-opener", "killed while it opens memory of one name", OPENING, names::opener),
    shm("name-user", "killed while it shares memory that goes with the last one", SHARING, names::user),
    shm("name-sender", "killed while it makes memory and sends it on", SENDING, names::sender),
    shm("scope", "killed with a scope, whose names go", SCOPING, scopes::process),
    shm("scope-watcher", "killed as the watcher of a scope, or with it", UNWATCHED, scopes::watcher),
    shm("array", "killed while it locks an array, and with it", LOCKING, |round| {
        locks::owner(round, &made(Array::<u64>::zeroed(WORDS)), &["mutex.locked", "mutex.unlocking"]);
    }),
    shm("value", "killed while it locks a value, and with it", LOCKING, |round| {
        locks::owner(round, &made(Value::new([0; WORDS])), &["mutex.locked", "mutex.unlocking"]);
    }),
    shm_control("control-half-made", "a name before there is memory", Flaw::Corrupt, memory_controls::half_made),
    shm_control("control-no-scope", "names without a scope", Flaw::Left, scopes::none),
    shm_control("control-tracker", "names removed while somebody has them", Flaw::Lost, memory_controls::tracker),
    queue("queue-giver", "killed while it puts", PUTTING, queue_rounds::giver),
    queue("queue-taker", "killed while it takes", GETTING, queue_rounds::taker),
    queue("queue-threads", "killed while four threads of it put and take", PASSING, queue_rounds::threads),
    queue("queue-one", "killed with a queue that has room for one", PASSING, queue_rounds::one),
    queue("queue-giver-of-many", "killed while it puts many at once", PUTTING_MANY, queue_rounds::giver_of_many),
    queue("queue-taker-of-many", "killed while it takes many at once", GETTING_MANY, queue_rounds::taker_of_many),
    queue("queue-leases", "killed with messages under leases", LEASING, queue_rounds::leases),
    queue("queue-dead-letters", "killed over what is delivered too often", BURYING, queue_rounds::dead_letters),
    queue("queue-heir", "killed while it takes over what other dead ones had", RETURNING, queue_rounds::heir),
    queue("queue-reserve", "killed while it writes in place", PUTTING, queue_rounds::reserve),
    queue("queue-peek", "killed while it reads in place", PEEKING, queue_rounds::peek),
    queue("queue-long-giver", "killed while it puts long messages", PUTTING_LONG, queue_rounds::large_giver),
    queue("queue-long-taker", "killed while it takes long messages", GETTING_LONG, queue_rounds::large_taker),
    queue("queue-long-leases", "killed with long messages under leases", LEASING_LONG, queue_rounds::large_leases),
    queue(
        "queue-short-of-room",
        "killed where long messages use up the room",
        LEASING_LONG,
        queue_rounds::short_of_room,
    ),
    queue("queue-many-deaths", "sixteen are killed over one queue", PUTTING_LONG, queue_rounds::many_deaths),
    queue("queue-mixed", "killed while it does everything there is", PASSING, queue_rounds::mixed),
    queue("queue-typed", "killed while it puts and takes values", PASSING, queue_typed::both),
    queue("queue-closed", "killed while it closes the queue", CLOSING, queue_rounds::closed),
    queue("queue-last-giver", "killed as the last one who puts", PUTTING, queue_rounds::last_giver),
    queue("queue-last-taker", "killed as the last one who takes", GETTING, queue_rounds::last_taker),
    queue("queue-passed-on", "killed while it passes its end on", PASSING_ENDS, queue_rounds::passed_on),
    queue("queue-ready", "killed while others wait for a descriptor", PUTTING, queue_rounds::ready_for_giver),
    queue("queue-ready-taker", "killed while it waits for a descriptor", GETTING, queue_rounds::ready_taker),
    queue("queue-task-giver", "killed while it puts tasks", PUTTING, queue_tasks::giver),
    queue("queue-worker", "killed with a task", TASKS, queue_tasks::worker),
    queue("queue-workers", "killed with two threads that have tasks", TASKS, queue_tasks::workers),
    queue("queue-single-giver", "killed as the only one who may put", SINGLE_PUTTING, queue_single::giver),
    queue("queue-single-taker", "killed as the only one who may take", SINGLE_GETTING, queue_single::taker),
    queue("queue-named", "killed while it makes and opens queues with a name", NAMING_QUEUES, queue_named::user),
    queue("queue-stopped", "stopped inside a lock, and killed", &[], queue_stopped::inside),
    queue_control(
        "control-publish",
        "a message is visible before it is there",
        &[("put.published", 40)],
        Flaw::Corrupt,
        queue_controls::publishes_first,
    ),
    queue_control(
        "control-no-note",
        "a message is nobody's while it is taken",
        &[("get.moved", 40)],
        Flaw::Lost,
        queue_controls::notes_nothing,
    ),
    queue_control(
        "control-twice",
        "a message comes back that was not taken yet",
        &[("get.noted", 40)],
        Flaw::Duplicate,
        queue_controls::returns_twice,
    ),
    queue_control(
        "control-no-redelivery",
        "a lease dies with its owner",
        &[],
        Flaw::Lost,
        queue_controls::forgets_leases,
    ),
    queue_control(
        "control-plain-queue",
        "a queue's lock does not survive its owner",
        &[],
        Flaw::Hang,
        queue_controls::plain_lock,
    ),
    fifo("fifo-writer", "killed while it writes, as one of three", WRITING_RECORDS, fifo::writer),
    fifo("fifo-reader", "killed while it reads; another one goes on", READING_RECORDS, fifo::reader),
    fifo("fifo-owner", "killed while it makes and drops one name", OWNING, fifo_names::owner),
    fifo("fifo-scope", "killed with a scope, whose names go", SCOPING_FIFOS, fifo_names::scope),
    fifo("fifo-watcher", "killed as the watcher of a scope, or with it", UNWATCHED_FIFOS, fifo_names::watcher),
    fifo("fifo-connect", "killed as one side of two FIFOs", OPENING_TWO, fifo_connect::pair),
    fifo_control("control-early-note", "a writer acknowledges before it sends", Flaw::Lost, fifo_controls::lost),
    fifo_control("control-sent-twice", "a writer sends twice", Flaw::Duplicate, fifo_controls::duplicate),
    fifo_control("control-no-record", "one writes bytes in between", Flaw::Corrupt, fifo_controls::corrupt),
    fifo_control("control-fifo-name", "names without a scope", Flaw::Left, fifo_names::none),
    fifo_control("control-plain-open", "open(2) waits for a dead one", Flaw::Hang, fifo_controls::hang),
    socket("socket-server", "killed while it serves; another one comes to its address", SERVING, socket_rounds::server),
    socket("socket-client", "killed while it connects and calls", CALLING_IN, socket_rounds::client),
    socket(
        "socket-stopped",
        "killed while it calls; others are stopped before they are in",
        CALLING_IN,
        socket_rounds::among_stopped,
    ),
    socket(
        "socket-address",
        "killed while it listens where others do in turn",
        LISTENING_IN_TURN,
        socket_names::address,
    ),
    socket("socket-handles-out", "killed as a client that sends handles", HANDING_IN, socket_handles::sender),
    socket("socket-handles-in", "killed as a client that receives handles", TAKING_IN, socket_handles::receiver),
    socket_control("control-early-answer", "a server answers before it notes", Flaw::Lost, socket_controls::lost),
    socket_control("control-no-memory", "a server does what was done", Flaw::Duplicate, socket_controls::duplicate),
    socket_control("control-wrong-answer", "an answer has a wrong byte", Flaw::Corrupt, socket_controls::corrupt),
    socket_control("control-one-by-one", "a server waits for each client", Flaw::Hang, socket_controls::hang),
    socket_control("control-kept-socket", "a server keeps dead connections", Flaw::Left, socket_controls::descriptor),
    socket_control("control-socket-file", "nobody comes after a dead server", Flaw::Left, socket_controls::left),
    socket_control(
        "control-removed-file",
        "one removes whatever is in its way",
        Flaw::Duplicate,
        socket_controls::two_at_once,
    ),
    manager("manager-lock", "killed with a lock in a manager, around two objects", ASKING, |round| {
        manager_locks::lock(round, manager_locks::a_lock);
    }),
    manager("manager-rlock", "killed with a re-entrant lock in a manager", ASKING, |round| {
        manager_locks::lock(round, manager_locks::an_rlock);
    }),
    manager("manager-condition", "killed with a condition in a manager, or while it waits", ASKING, |round| {
        manager_locks::lock(round, manager_locks::a_condition);
    }),
    manager("manager-semaphore", "killed with a permit of a manager", ASKING, manager_locks::semaphore),
    manager("manager-barrier", "killed while it meets others at a barrier", ASKING, manager_meetings::barrier),
    manager("manager-giver", "killed while it puts into a queue in a manager", ASKING, manager_queues::giver),
    manager("manager-taker", "killed while it takes from a queue in a manager", ASKING, manager_queues::taker),
    manager("manager-threads", "killed while four threads of it put and take", ASKING, manager_queues::threads),
    manager("manager-task-giver", "killed while it puts tasks", ASKING, manager_queues::task_giver),
    manager("manager-worker", "killed with a task", ASKING, manager_queues::worker),
    manager("manager-workers", "killed with two threads that have tasks", ASKING, manager_queues::workers),
    manager("manager-nested", "killed while it changes objects in objects", CHANGING, manager_nested::nested),
    manager("manager-batches", "killed over many operations at once", CHANGING, manager_batches::batches),
    manager("manager-server", "killed as the server; another one comes", HOSTING, manager_servers::server),
    manager("manager-starter", "killed as the one who has started the server", STARTING, manager_servers::starter),
    manager("manager-stopped", "stopped in the middle of something, and killed", &[], manager_stopped::client),
    manager("manager-server-stopped", "stopped as the server, and killed", &[], manager_stopped::server),
    manager_control("control-early-put", "a giver acknowledges before it puts", Flaw::Lost, manager_controls::lost),
    manager_control("control-put-twice", "a giver puts twice", Flaw::Duplicate, manager_controls::duplicate),
    manager_control("control-no-update", "one reads and writes apart", Flaw::Lost, manager_controls::lost_update),
    manager_control("control-two-calls", "one sets two halves apart", Flaw::Corrupt, manager_controls::corrupt),
    manager_control("control-deaf", "one hears of no death", Flaw::Untold, manager_controls::untold),
    manager_control("control-kept-proxy", "one keeps what it was given", Flaw::Left, manager_controls::left),
    manager_control("control-value-lock", "a value as a lock", Flaw::Hang, manager_controls::hang),
    csp("csp-writer", "killed while it writes, as one of three", WRITING_TO, csp_rounds::writer),
    csp("csp-reader", "killed while it reads, as one of three", READING_FROM, csp_rounds::reader),
    csp("csp-buffered-writer", "killed while it writes to a buffer", WRITING_TO_BUFFER, csp_rounds::buffered_writer),
    csp("csp-buffered-reader", "killed while it reads from a buffer", READING_FROM_BUFFER, csp_rounds::buffered_reader),
    csp("csp-impatient", "killed among those who do not wait long", CHOOSING, csp_rounds::impatient),
    csp("csp-threads", "killed while four threads of it write and read", COMMUNICATING, csp_rounds::threads),
    csp("csp-ring", "killed while it reads or writes, in a ring", CHOOSING, csp_rounds::ring),
    csp("csp-mesh", "killed while it chooses between six channels' ends", CHOOSING, csp_rounds::mesh),
    csp("csp-mesh-threads", "killed while two threads of it choose", CHOOSING, csp_rounds::mesh_threads),
    csp("csp-many-deaths", "forty are killed in one network", CHOOSING, csp_rounds::many_deaths),
    csp("csp-closed", "killed while it closes a channel", ENDING, csp_rounds::closed),
    csp("csp-poisoned", "killed while it poisons a channel", ENDING, csp_rounds::poisoned),
    csp("csp-last-writer", "killed as the last one who writes", COMMUNICATING, csp_rounds::last_writer),
    csp("csp-last-reader", "killed as the last one who reads", COMMUNICATING, csp_rounds::last_reader),
    csp("csp-ends-sender", "killed while it sends ends of channels", SENDING_ENDS, csp_ends::sender),
    csp("csp-ends-receiver", "killed while it reads ends of channels", READING_ENDS, csp_ends::receiver),
    csp("csp-ends-threads", "killed while four threads of it pass ends", PASSING_BOTH, csp_ends::threads),
    csp("csp-ends-last", "killed as the last one who reads ends", READING_ENDS, csp_ends::last_receiver),
    csp("csp-passed-on", "killed while it starts processes with ends", STARTING_WITH_ENDS, csp_ends::passed_on),
    csp("csp-heir", "killed while it sees to what the dead have left", SEEING_TO, csp_heir::heir),
    csp("csp-stopped", "stopped inside a lock, and killed", &[], csp_stopped::inside),
    csp_control("control-noted-first", "a writer notes before it writes", &[], Flaw::Lost, csp_controls::lost),
    csp_control("control-written-twice", "a writer writes twice", &[], Flaw::Duplicate, csp_controls::duplicate),
    csp_control("control-other-bytes", "a writer writes other bytes", &[], Flaw::Corrupt, csp_controls::corrupt),
    csp_control(
        "control-no-return",
        "what the dead have taken is gone",
        &[("csp.taken", 40)],
        Flaw::Lost,
        csp_controls::no_return,
    ),
    csp_control("control-plain-place", "a lock that does not survive", &[], Flaw::Hang, csp_controls::plain_lock),
    csp_control("control-forgotten", "an end that nobody uses", &[], Flaw::Hang, csp_controls::forgotten_writer),
    csp_control("control-kept-end", "an end that is never given back", &[], Flaw::Left, csp_controls::kept_end),
];

fn main() -> ExitCode {
    campaign::main(|| SCENARIOS)
}
