//! Where the victims can be told to kill themselves, and at the how many-th pass at most.

/// Names of crash points, each with a number of passes that a victim comes to.
pub(crate) type Points = &'static [(&'static str, u64)];

pub(crate) const WRITING: Points = &[("send.encoded", 300), ("send.part", 8), ("send.written", 100)];
pub(crate) const READING: Points = &[("recv.bytes", 25), ("recv.taken", 300)];
pub(crate) const HANDING: Points = &[
    ("send.packet", 3),
    ("end.encoded", 6),
    ("send.encoded", 30),
    ("end.sent", 6),
    ("send.part", 4),
    ("send.written", 30),
];
pub(crate) const TAKING: Points =
    &[("recv.descriptors", 20), ("end.received", 6), ("recv.bytes", 15), ("recv.taken", 20)];
pub(crate) const CHILD: Points = &[
    ("child.begun", 1),
    ("child.before-setup", 1),
    ("child.after-setup", 1),
    ("child.before-arguments", 1),
    ("child.after-arguments", 1),
    ("child.before-report", 1),
    ("child.after-report", 1),
    ("recv.descriptors", 2),
    ("recv.taken", 2),
    ("recv.bytes", 4),
    ("send.part", 3),
    ("send.packet", 1),
    ("send.written", 1),
];
pub(crate) const PARENT: Points = &[
    ("spawn.encoded", 5),
    ("spawn.started", 5),
    ("spawn.watched", 5),
    ("spawn.handed-over", 5),
    ("join.waiting", 5),
    ("join.ended", 5),
    ("join.reported", 4),
    ("reap.reaped", 5),
    ("reap.detached", 3),
    ("send.packet", 3),
    ("send.part", 2),
];

pub(crate) const LOCKING: Points = &[("mutex.locked", 200), ("mutex.unlocking", 200)];
pub(crate) const INHERITING: Points = &[("mutex.died-seen", 8), ("mutex.locked", 40), ("mutex.unlocking", 40)];
pub(crate) const RW_READING: Points = &[("rwlock.reader-in", 200)];
pub(crate) const RW_WRITING: Points =
    &[("rwlock.writer-announced", 60), ("rwlock.writer-in", 60), ("mutex.locked", 60), ("mutex.unlocking", 60)];
pub(crate) const RW_INHERITING: Points = &[("mutex.died-seen", 4), ("rwlock.writer-in", 30), ("mutex.locked", 30)];
pub(crate) const HOLDING: Points =
    &[("semaphore.taken", 200), ("semaphore.freed", 200), ("word.waiting", 15), ("word.cleared", 10)];
pub(crate) const SWEEPING: Points = &[("semaphore.swept", 4)];
pub(crate) const GIVING: Points = &[("signal.added", 60), ("word.cleared", 15)];
pub(crate) const TAKING_FROM: Points = &[("signal.taken", 60), ("word.waiting", 15)];
pub(crate) const NOTIFYING: Points = &[
    ("condvar.registered", 20),
    ("condvar.released", 20),
    ("word.cleared", 20),
    ("mutex.locked", 60),
    ("mutex.unlocking", 60),
];
pub(crate) const SETTING: Points = &[("event.set", 50), ("word.waiting", 20), ("word.cleared", 20)];
pub(crate) const MEETING: Points = &[
    ("barrier.place-taken", 20),
    ("barrier.enrolled", 1),
    ("barrier.arrived", 20),
    ("barrier.released", 8),
    ("barrier.cause-noted", 1),
    ("barrier.broken", 1),
];
pub(crate) const CALLING: Points = &[("once.running", 20), ("once.done", 20), ("mutex.unlocking", 20)];
pub(crate) const PASSING_ON: Points = &[
    ("segment.announced", 3),
    ("child.begun", 1),
    ("child.before-setup", 1),
    ("child.before-arguments", 1),
    ("child.after-arguments", 1),
    ("event.set", 8),
    ("signal.added", 8),
    ("word.cleared", 4),
];
pub(crate) const MAKING: Points = &[("segment.object-filled", 8), ("mutex.locked", 20)];

pub(crate) const NAMING: Points = &[
    ("named.made", 40),
    ("named.linked", 40),
    ("named.opened", 40),
    ("named.attached", 40),
    ("named.leaving", 40),
    ("names.matched", 40),
];
pub(crate) const TAKING_OVER: Points =
    &[("named.claimed", 10), ("named.freed", 5), ("names.matched", 20), ("named.made", 20), ("named.linked", 20)];
pub(crate) const OPENING: Points =
    &[("named.opened", 100), ("named.attached", 100), ("named.leaving", 40), ("names.matched", 10)];
pub(crate) const SHARING: Points = &[
    ("named.made", 15),
    ("named.linked", 10),
    ("named.opened", 60),
    ("named.attached", 60),
    ("named.leaving", 10),
    ("names.matched", 10),
];
pub(crate) const SENDING: Points =
    &[("segment.announced", 40), ("named.made", 40), ("named.linked", 40), ("named.leaving", 5), ("send.encoded", 40)];
pub(crate) const SCOPING: Points =
    &[("names.marked", 10), ("named.made", 10), ("named.linked", 10), ("named.leaving", 5)];
pub(crate) const UNWATCHED: Points = &[("names.watcher-woken", 1), ("names.matched", 8)];

pub(crate) const PUTTING: Points = &[("put.filled", 100), ("put.published", 100), ("put.unlocked", 100)];
pub(crate) const PUTTING_MANY: Points = &[("put.filled", 20), ("put.published", 20), ("put.unlocked", 20)];
pub(crate) const GETTING: Points =
    &[("get.noted", 100), ("get.moved", 100), ("get.copied", 100), ("get.cleared", 100), ("get.freed", 60)];
pub(crate) const GETTING_MANY: Points =
    &[("get.noted", 20), ("get.moved", 20), ("get.copied", 20), ("get.cleared", 20), ("get.freed", 15)];
pub(crate) const PASSING: Points = &[
    ("put.filled", 60),
    ("put.published", 60),
    ("put.unlocked", 60),
    ("get.noted", 60),
    ("get.moved", 60),
    ("get.copied", 60),
    ("get.cleared", 60),
    ("get.freed", 40),
];
pub(crate) const LEASING: Points = &[
    ("get.moved", 40),
    ("lease.stored", 40),
    ("lease.kept", 40),
    ("lease.given-back", 10),
    ("redeliver.noted", 10),
    ("redeliver.moved", 10),
];
pub(crate) const BURYING: Points = &[("dead-letter.marked", 3), ("lease.given-back", 10), ("redeliver.moved", 8)];
pub(crate) const RETURNING: Points = &[("recover.returned", 1), ("redeliver.noted", 5), ("redeliver.moved", 5)];
pub(crate) const PEEKING: Points =
    &[("get.moved", 40), ("get.copied", 40), ("lease.given-back", 8), ("redeliver.noted", 8), ("redeliver.moved", 8)];
pub(crate) const PUTTING_LONG: Points = &[
    ("extent.claimed", 10),
    ("extent.written", 10),
    ("extent.queued", 10),
    ("put.filled", 15),
    ("put.published", 15),
    ("put.unlocked", 15),
];
pub(crate) const GETTING_LONG: Points =
    &[("extent.freeing", 8), ("extent.punched", 8), ("get.moved", 10), ("get.copied", 10), ("get.cleared", 10)];
pub(crate) const LEASING_LONG: Points = &[
    ("lease.stored", 10),
    ("lease.kept", 10),
    ("lease.acked", 8),
    ("extent.freeing", 8),
    ("extent.punched", 8),
    ("redeliver.noted", 4),
    ("redeliver.moved", 4),
];
pub(crate) const PASSING_ENDS: Points = &[
    ("segment.announced", 10),
    ("spawn.started", 8),
    ("spawn.handed-over", 8),
    ("send.packet", 8),
    ("put.published", 3),
];
pub(crate) const CLOSING: Points = &[("close.marked", 1)];
pub(crate) const TASKS: Points = &[("lease.stored", 40), ("lease.kept", 40), ("get.moved", 40)];
pub(crate) const SINGLE_PUTTING: Points = &[("spsc.filled", 100), ("spsc.published", 80)];
pub(crate) const SINGLE_GETTING: Points = &[("spsc.copied", 80), ("spsc.freed", 80)];
pub(crate) const NAMING_QUEUES: Points = &[
    ("named.made", 10),
    ("named.linked", 10),
    ("named.opened", 10),
    ("named.attached", 10),
    ("named.leaving", 10),
    ("segment.object-filled", 10),
    ("put.published", 20),
    ("get.moved", 20),
];

pub(crate) const SERVING: Points = &[
    ("bind.replacing", 1),
    ("bind.bound", 5),
    ("listener.leaving", 4),
    ("accept.accepted", 30),
    ("handshake.challenged", 30),
    ("handshake.welcomed", 30),
    ("handshake.answered", 30),
    ("handshake.done", 30),
    ("send.encoded", 60),
    ("send.written", 60),
    ("recv.taken", 60),
];
pub(crate) const CALLING_IN: Points = &[
    ("connect.connected", 20),
    ("handshake.answered", 20),
    ("handshake.challenged", 20),
    ("handshake.welcomed", 20),
    ("handshake.done", 20),
    ("send.written", 60),
    ("recv.bytes", 60),
    ("recv.taken", 60),
];
pub(crate) const LISTENING_IN_TURN: Points = &[
    ("bind.replacing", 3),
    ("bind.bound", 10),
    ("listener.leaving", 10),
    ("connect.connected", 30),
    ("accept.accepted", 30),
];
pub(crate) const HANDING_IN: Points = &[
    ("connect.connected", 1),
    ("handshake.answered", 1),
    ("handshake.done", 1),
    ("end.encoded", 6),
    ("end.sent", 6),
    ("send.packet", 3),
    ("send.part", 3),
];
pub(crate) const TAKING_IN: Points = &[
    ("connect.connected", 1),
    ("handshake.answered", 1),
    ("handshake.done", 1),
    ("recv.descriptors", 20),
    ("end.received", 6),
    ("recv.taken", 20),
];

pub(crate) const WRITING_RECORDS: Points =
    &[("fifo.opened", 3), ("record.encoded", 100), ("record.part", 60), ("record.sent", 100)];
pub(crate) const READING_RECORDS: Points = &[("fifo.opened", 1), ("record.read", 60), ("record.assembled", 150)];
pub(crate) const OWNING: Points = &[("fifo.made", 8), ("fifo.owned", 8), ("fifo.removing", 8), ("fifo.opened", 4)];
pub(crate) const SCOPING_FIFOS: Points =
    &[("names.marked", 10), ("fifo.made", 10), ("fifo.owned", 10), ("fifo.removing", 8)];
pub(crate) const UNWATCHED_FIFOS: Points = &[("names.watcher-woken", 1), ("names.matched", 5), ("fifo.owned", 10)];
pub(crate) const OPENING_TWO: Points =
    &[("fifo.opened", 2), ("fifo.opened", 8), ("recv.taken", 40), ("send.encoded", 40), ("send.written", 40)];

pub(crate) const ASKING: Points = &[
    ("manager.asked", 60),
    ("manager.granted", 20),
    ("connect.connected", 1),
    ("handshake.challenged", 1),
    ("handshake.answered", 1),
    ("handshake.done", 1),
    ("send.encoded", 60),
    ("send.written", 60),
    ("recv.bytes", 20),
    ("recv.taken", 60),
];
pub(crate) const CHANGING: Points =
    &[("manager.asked", 100), ("send.encoded", 100), ("send.part", 4), ("send.written", 100), ("recv.taken", 100)];
pub(crate) const HOSTING: Points = &[
    ("bind.bound", 1),
    ("accept.accepted", 8),
    ("handshake.challenged", 8),
    ("handshake.welcomed", 8),
    ("handshake.answered", 8),
    ("handshake.done", 8),
];
/// The server that the victim starts obeys as well, so these are such as it does not pass.
pub(crate) const STARTING: Points = &[
    ("spawn.encoded", 1),
    ("spawn.started", 1),
    ("spawn.watched", 1),
    ("spawn.handed-over", 1),
    ("connect.connected", 1),
    ("manager.asked", 60),
    ("manager.granted", 4),
];

pub(crate) const WRITING_TO: Points = &[
    ("csp.slot", 40),
    ("csp.filled", 40),
    ("csp.listed", 40),
    ("csp.half-linked", 40),
    ("csp.linked", 40),
    ("csp.offered", 40),
    ("csp.poked", 20),
    ("csp.withdrawn", 40),
];
pub(crate) const READING_FROM: Points = &[
    ("csp.slot", 40),
    ("csp.taken", 40),
    ("csp.half-unlinked", 40),
    ("csp.unlinked", 40),
    ("csp.copied", 40),
    ("csp.committing", 40),
    ("csp.committed", 40),
    ("csp.offered", 20),
];
pub(crate) const WRITING_TO_BUFFER: Points = &[
    ("csp.filled", 40),
    ("csp.buffered", 40),
    ("csp.listed", 40),
    ("csp.half-linked", 40),
    ("csp.poked", 20),
    ("csp.linked", 10),
    ("csp.offered", 10),
];
pub(crate) const READING_FROM_BUFFER: Points = &[
    ("csp.slot", 40),
    ("csp.buffered-taken", 40),
    ("csp.half-unlinked", 40),
    ("csp.copied", 40),
    ("csp.emptying", 40),
    ("csp.freeing", 40),
    ("csp.poked", 20),
];
pub(crate) const COMMUNICATING: Points = &[
    ("csp.listed", 40),
    ("csp.taken", 20),
    ("csp.buffered", 20),
    ("csp.buffered-taken", 20),
    ("csp.half-unlinked", 40),
    ("csp.copied", 40),
    ("csp.poked", 20),
];
pub(crate) const CHOOSING: Points = &[
    ("csp.filled", 60),
    ("csp.linked", 40),
    ("csp.half-linked", 40),
    ("csp.offered", 40),
    ("csp.taken", 20),
    ("csp.unlinked", 20),
    ("csp.half-unlinked", 40),
    ("csp.copied", 20),
    ("csp.committed", 20),
    ("csp.withdrawn", 20),
    ("csp.poked", 20),
    ("csp.buffered", 20),
    ("csp.buffered-taken", 20),
    ("csp.freeing", 60),
];
pub(crate) const ENDING: Points = &[("csp.over", 1), ("csp.copied", 20), ("csp.over", 1), ("csp.offered", 20)];

pub(crate) const SENDING_ENDS: Points = &[
    ("csp.channel-made", 10),
    ("csp.ends-in-offer", 10),
    ("csp.linked", 10),
    ("csp.retiring", 20),
    ("csp.retired", 20),
    ("csp.over", 10),
    ("csp.withdrawn", 10),
    ("csp.offered", 20),
];
pub(crate) const READING_ENDS: Points = &[
    ("csp.end-arrived", 10),
    ("csp.copied", 10),
    ("csp.committing", 10),
    ("csp.committed", 10),
    ("csp.ends-read", 10),
    ("csp.retiring", 10),
    ("csp.retired", 10),
    ("csp.over", 10),
];
pub(crate) const PASSING_BOTH: Points = &[
    ("csp.channel-made", 20),
    ("csp.ends-in-offer", 20),
    ("csp.end-arrived", 20),
    ("csp.ends-read", 20),
    ("csp.over", 20),
];
pub(crate) const STARTING_WITH_ENDS: Points =
    &[("csp.end-arrived", 6), ("csp.end-sent", 6), ("csp.retiring", 6), ("csp.retired", 6)];
pub(crate) const SEEING_TO: Points = &[
    ("csp.rebuilding", 1),
    ("csp.putting-back", 1),
    ("csp.relinked", 1),
    ("csp.offer-buried", 3),
    ("csp.slot-buried", 2),
    ("csp.end-buried", 10),
    ("csp.channel-freed", 3),
];
