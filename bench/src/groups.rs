//! What can be measured: the groups, with what their rows have in common.

use std::fmt::Write;

use crate::rows::{self, Row};
use crate::unit::Unit;

/// Rows that do the same job, and are compared with the reference among them.
pub(crate) struct Group {
    /// What `--only` takes.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What one number stands for.
    pub(crate) about: &'static str,
    pub(crate) unit: Unit,
    pub(crate) placement: Placement,
}

/// Where the processes run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Both on the same processor.
    OneCpu,
    /// Each on one of its own.
    TwoCpus,
    /// Where the scheduler puts them.
    Free,
}

pub(crate) static PING_PONG: Group = Group {
    id: "ping-pong",
    title: "ping-pong 64 B, one CPU",
    about: "time of a round trip; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static ONE_WAY: Group = Group {
    id: "one-way",
    title: "one way 64 B, two CPUs",
    about: "messages received per second; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static TYPED: Group = Group {
    id: "typed",
    title: "typed struct, two CPUs",
    about: "messages received per second, each a struct of a u64, a string of 16 bytes and a Vec of eight u32 \
            (67 bytes in postcard); more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static LARGE: Group = Group {
    id: "large",
    title: "16 MiB, two CPUs",
    about: "GB received per second, into the same memory again and again; more is better",
    unit: Unit::GigabytesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static SPAWN: Group = Group {
    id: "spawn",
    title: "spawn",
    about: "time to start a process and to have waited for its end; less is better",
    unit: Unit::Microseconds,
    placement: Placement::Free,
};

pub(crate) static SPAWN_BIG: Group = Group {
    id: "spawn-big",
    title: "spawn from a parent with 512 MiB",
    about: "as above, while the parent holds 512 MiB of touched memory; less is better",
    unit: Unit::Microseconds,
    placement: Placement::Free,
};

pub(crate) static ALLOCATIONS: Group = Group {
    id: "allocations",
    title: "allocations",
    about: "allocations per message in sender and receiver together, after the first messages; none is best",
    unit: Unit::AllocationsPerMessage,
    placement: Placement::Free,
};

pub(crate) static LOCK: Group = Group {
    id: "lock",
    title: "lock and unlock",
    about: "time of both, while nobody else wants the lock; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static SEMAPHORE: Group = Group {
    id: "semaphore",
    title: "acquire and release",
    about: "time of both, while nobody else wants the semaphore; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static LOCK_CONTENDED: Group = Group {
    id: "lock-contended",
    title: "two processes, one lock, two CPUs",
    about: "time per increment of a number that both increment as fast as they can, each time under the lock; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static LOCK_HANDOVER: Group = Group {
    id: "lock-handover",
    title: "from the SIGKILL of a lock's owner to the next owner",
    about: "time until a process that sleeps for the lock has it, the median of 50 kills; 300 µs are asked for; less is better",
    unit: Unit::Microseconds,
    placement: Placement::Free,
};

pub(crate) static IDLE: Group = Group {
    id: "idle",
    title: "waiting",
    about: "processor time of a process that waits for a second, in % of that second; less is better",
    unit: Unit::Percent,
    placement: Placement::Free,
};

pub(crate) static ATOMIC: Group = Group {
    id: "atomic",
    title: "fetch_add",
    about: "time to add 1 to a number in shared memory, without a lock, while nobody else does; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static VALUE: Group = Group {
    id: "value",
    title: "increment under a lock",
    about: "time to lock, add 1 to the number behind the lock, and unlock, while nobody else does; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static BULK_COPY_IN: Group = Group {
    id: "bulk-copy-in",
    title: "1 MiB into shared memory",
    about: "GB copied per second, from and to the same places again and again; more is better",
    unit: Unit::GigabytesPerSecond,
    placement: Placement::OneCpu,
};

pub(crate) static BULK_COPY_OUT: Group = Group {
    id: "bulk-copy-out",
    title: "1 MiB out of shared memory",
    about: "as above; more is better",
    unit: Unit::GigabytesPerSecond,
    placement: Placement::OneCpu,
};

pub(crate) static BULK_COPY_IN_64K: Group = Group {
    id: "bulk-copy-in-64k",
    title: "64 KiB into shared memory",
    about: "as above; more is better",
    unit: Unit::GigabytesPerSecond,
    placement: Placement::OneCpu,
};

pub(crate) static BULK_COPY_OUT_64K: Group = Group {
    id: "bulk-copy-out-64k",
    title: "64 KiB out of shared memory",
    about: "as above; more is better",
    unit: Unit::GigabytesPerSecond,
    placement: Placement::OneCpu,
};

// Free: Python tells a process of its own of every name, which is to have a processor of its own.
pub(crate) static SEGMENTS: Group = Group {
    id: "segments",
    title: "4 KiB of shared memory, made and given back",
    about: "time to make it, write a byte and give it back, with its name if it has one; less is better",
    unit: Unit::Microseconds,
    placement: Placement::Free,
};

pub(crate) static QUEUE_1_1: Group = Group {
    id: "queue-1-1",
    title: "queue, 64 B, two CPUs",
    about: "messages received per second, sent and received one at a time; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_BATCH: Group = Group {
    id: "queue-batch",
    title: "queue, 64 B, 32 at a time, two CPUs",
    about: "messages received per second; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_2_2: Group = Group {
    id: "queue-2-2",
    title: "queue, 64 B, two processes to two others",
    about: "messages received per second by both, sent and received one at a time; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::Free,
};

pub(crate) static QUEUE_STRUCT: Group = Group {
    id: "queue-struct",
    title: "queue, typed struct, two CPUs",
    about: "messages received per second, each a struct of a u64, a string of 16 bytes and a Vec of eight u32 \
            (67 bytes in postcard); more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_LATENCY: Group = Group {
    id: "queue-latency",
    title: "queue, 64 B, latency, two CPUs",
    about: "time of one way, half of a round trip, the median of all round trips; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_LATENCY_P99: Group = Group {
    id: "queue-latency-p99",
    title: "queue, 64 B, 99th percentile of the latency, two CPUs",
    about: "as above, but what 99 in 100 round trips do not exceed; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_LATENCY_ASLEEP: Group = Group {
    id: "queue-latency-asleep",
    title: "queue, 64 B, latency to a process that sleeps, two CPUs",
    about: "time from the call that sends to the return of the one that receives, with 2 ms between messages, the median; \
            less is better",
    unit: Unit::Microseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_1_MIB: Group = Group {
    id: "queue-1mib",
    title: "queue, 1 MiB, two CPUs",
    about: "GB received per second, one at a time; copied from the sender's memory, or filled with a byte in place; who gets \
            no copy looks at a byte of each cache line; more is better",
    unit: Unit::GigabytesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_LOCAL: Group = Group {
    id: "queue-local",
    title: "queue, 8 B, put and get in one process",
    about: "time of both; 45 ns are aimed at; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static QUEUE_LEASE: Group = Group {
    id: "queue-lease",
    title: "queue, 64 B, what a lease costs",
    about: "time to take one of 64 messages that are there, in one process; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static QUEUE_LEASE_1K: Group = Group {
    id: "queue-lease-1k",
    title: "queue, 1 KiB, what a lease costs",
    about: "as above; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static QUEUE_SPSC: Group = Group {
    id: "queue-spsc",
    title: "spsc queue, 64 B, two CPUs",
    about: "messages received per second, sent and received one at a time; 0.8 is aimed at; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static QUEUE_SPSC_LATENCY: Group = Group {
    id: "queue-spsc-latency",
    title: "spsc queue, 64 B, latency, two CPUs",
    about: "time of one way, half of a round trip, the median of all round trips; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static SOCKET_PING_PONG: Group = Group {
    id: "socket-ping-pong",
    title: "ping-pong 64 B over a Unix socket with a name, one CPU",
    about: "time of a round trip; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static SOCKET_PING_PONG_TCP: Group = Group {
    id: "socket-ping-pong-tcp",
    title: "ping-pong 64 B over TCP to this machine, one CPU",
    about: "time of a round trip; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

// Free, as the eight and the one are to share the machine as they would.
pub(crate) static SOCKET_CONNECT: Group = Group {
    id: "socket-connect",
    title: "connections over a Unix socket with a name, from 8 processes",
    about: "connections per second, each made, used for a byte there and back, and closed; the server, one thread, has one at a \
            time; more is better",
    unit: Unit::ConnectionsPerSecond,
    placement: Placement::Free,
};

pub(crate) static SOCKET_1000: Group = Group {
    id: "socket-1000",
    title: "1,000 clients of a server at once, fairness",
    about: "how many times as many echoes of 64 B the median client got as the slowest one, in ten times as long as usual; \
            125 threads in each of 8 processes; less is better",
    unit: Unit::Times,
    placement: Placement::Free,
};

pub(crate) static SOCKET_1000_RATE: Group = Group {
    id: "socket-1000-rate",
    title: "1,000 clients of a server at once",
    about: "echoes of 64 B per second that all of them got together, as above; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::Free,
};

pub(crate) static FIFO_1_1: Group = Group {
    id: "fifo-1-1",
    title: "FIFO, 64 B, two CPUs",
    about: "messages received per second, sent and received one at a time; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::TwoCpus,
};

pub(crate) static FIFO_4_1: Group = Group {
    id: "fifo-4-1",
    title: "FIFO, 64 B, four processes to one",
    about: "messages received per second, sent and received one at a time; more is better",
    unit: Unit::MessagesPerSecond,
    placement: Placement::Free,
};

pub(crate) static FIFO_PING_PONG: Group = Group {
    id: "fifo-ping-pong",
    title: "ping-pong 64 B over two FIFOs, one CPU",
    about: "time of a round trip; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::OneCpu,
};

pub(crate) static MANAGER_GET: Group = Group {
    id: "manager-get",
    title: "a number out of a dictionary in a server, two CPUs",
    about: "time of a get, one after the other, by one client; the reference sends as many bytes to and fro, and nobody sleeps; \
            less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static MANAGER_GET_ASLEEP: Group = Group {
    id: "manager-get-asleep",
    title: "a number out of a dictionary in a server that sleeps, two CPUs",
    about: "time of a get, 2 ms after the one before, the median; the reference sends as many bytes to and fro; less is better",
    unit: Unit::Microseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static MANAGER_PIPELINED: Group = Group {
    id: "manager-pipelined",
    title: "a dictionary in a server, 100 operations at a time, two CPUs",
    about: "operations per second of one client; the reference sends as many bytes to and fro; more is better",
    unit: Unit::OperationsPerSecond,
    placement: Placement::TwoCpus,
};

// Free, as the four and the server are to share the machine as they would.
pub(crate) static MANAGER_CLIENTS: Group = Group {
    id: "manager-clients",
    title: "a dictionary in a server, 100 gets at a time, by several processes",
    about: "gets per second of all processes together; more is better",
    unit: Unit::OperationsPerSecond,
    placement: Placement::Free,
};

pub(crate) static MANAGER_IDLE: Group = Group {
    id: "manager-idle",
    title: "1,000 clients of a server, none of which asks for anything",
    about: "how much the server's memory grows by each of them; less is better",
    unit: Unit::Kibibytes,
    placement: Placement::Free,
};

pub(crate) static MANAGER_IDLE_THREADS: Group = Group {
    id: "manager-idle-threads",
    title: "1,000 clients of a server, its threads",
    about: "how many it has while all of them are connected; less is better",
    unit: Unit::Threads,
    placement: Placement::Free,
};

pub(crate) static MANAGER_OBJECTS: Group = Group {
    id: "manager-objects",
    title: "100,000 objects in a server with 1,000 clients",
    about: "how much the server's memory grows by each of them; less is better",
    unit: Unit::Bytes,
    placement: Placement::Free,
};

// Free, as the four are to share the machine as they would.
pub(crate) static CSP_COMMSTIME: Group = Group {
    id: "csp-commstime",
    title: "commstime: prefix, delta, successor and consumer in a circle",
    about: "time per communication of 8 B, of which there are four for each number that the consumer gets; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::Free,
};

pub(crate) static CSP_RENDEZVOUS: Group = Group {
    id: "csp-rendezvous",
    title: "channel, 8 B, two CPUs",
    about: "time per communication, while one only writes and the other one only reads; 1 µs is asked for; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

pub(crate) static CSP_SELECT: Group = Group {
    id: "csp-select",
    title: "choice between 8 channels, 8 B, two CPUs",
    about: "time per communication, while the other one writes to any of the channels at random; less is better",
    unit: Unit::Nanoseconds,
    placement: Placement::TwoCpus,
};

/// All of them, in the order in which they are measured.
pub(crate) static ALL: [&Group; 50] = [
    &PING_PONG,
    &ONE_WAY,
    &TYPED,
    &LARGE,
    &SPAWN,
    &SPAWN_BIG,
    &ALLOCATIONS,
    &LOCK,
    &SEMAPHORE,
    &LOCK_CONTENDED,
    &LOCK_HANDOVER,
    &IDLE,
    &ATOMIC,
    &VALUE,
    &BULK_COPY_IN,
    &BULK_COPY_OUT,
    &BULK_COPY_IN_64K,
    &BULK_COPY_OUT_64K,
    &SEGMENTS,
    &QUEUE_1_1,
    &QUEUE_BATCH,
    &QUEUE_2_2,
    &QUEUE_STRUCT,
    &QUEUE_LATENCY,
    &QUEUE_LATENCY_P99,
    &QUEUE_LATENCY_ASLEEP,
    &QUEUE_1_MIB,
    &QUEUE_LOCAL,
    &QUEUE_LEASE,
    &QUEUE_LEASE_1K,
    &QUEUE_SPSC,
    &QUEUE_SPSC_LATENCY,
    &FIFO_1_1,
    &FIFO_4_1,
    &FIFO_PING_PONG,
    &SOCKET_PING_PONG,
    &SOCKET_PING_PONG_TCP,
    &SOCKET_CONNECT,
    &SOCKET_1000,
    &SOCKET_1000_RATE,
    &MANAGER_GET,
    &MANAGER_GET_ASLEEP,
    &MANAGER_PIPELINED,
    &MANAGER_CLIENTS,
    &MANAGER_IDLE,
    &MANAGER_IDLE_THREADS,
    &MANAGER_OBJECTS,
    &CSP_COMMSTIME,
    &CSP_RENDEZVOUS,
    &CSP_SELECT,
];

impl Group {
    pub(crate) fn rows(&self) -> Vec<&'static Row> {
        rows::ALL.iter().copied().flatten().filter(|row| row.group.id == self.id).collect()
    }
}

/// What `--list` shows.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for group in ALL {
        let _ = writeln!(text, "{}: {}", group.id, group.title);
        for row in group.rows() {
            let _ = writeln!(text, "  {}{}", row.name, row.goal.suffix());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Goal;

    #[test]
    fn every_group_of_ratios_has_one_reference_and_it_comes_first() {
        for group in ALL {
            let references = group.rows().iter().filter(|row| row.goal == Goal::Reference).count();
            assert_eq!(references, usize::from(!group.unit.is_absolute()), "{}", group.id);
            assert!(group.unit.is_absolute() || group.rows()[0].goal == Goal::Reference, "{}", group.id);
        }
    }

    #[test]
    fn goals_name_rows_of_their_group() {
        for row in rows::ALL.iter().copied().flatten() {
            if let Goal::Times(others) | Goal::Parts(others) = row.goal {
                let is_there = |name| row.group.rows().iter().any(|other| other.name == name);
                assert!(others.iter().all(|(name, _)| is_there(*name)), "{}", row.name);
            }
        }
    }

    #[test]
    fn every_row_is_in_a_group_that_is_measured() {
        let shown: usize = ALL.iter().map(|group| group.rows().len()).sum();
        assert_eq!(shown, rows::ALL.iter().map(|rows| rows.len()).sum::<usize>());
    }
}
