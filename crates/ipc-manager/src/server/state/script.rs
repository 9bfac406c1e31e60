//! Requests as a sequence of bytes chooses them: most of them sensible.

use super::simulation::Simulation;
use crate::Kind;
use crate::protocol::{Blob, Call, Init, Item, Op, Request};

const KINDS: [Kind; 14] = [
    Kind::List,
    Kind::Array,
    Kind::Dict,
    Kind::Set,
    Kind::Namespace,
    Kind::Value,
    Kind::Queue,
    Kind::JoinableQueue,
    Kind::Lock,
    Kind::RLock,
    Kind::Semaphore,
    Kind::Condition,
    Kind::Event,
    Kind::Barrier,
];
const BYTES: [&[u8]; 4] = [b"", b"a", b"b", b"longer than the others"];
const NAMES: [&str; 3] = ["", "one", "two"];
const TYPES: [&str; 2] = ["u32", "i32"];

/// A choice by the next byte.
struct Choice<'c> {
    next: &'c mut dyn FnMut() -> u8,
    objects: Vec<u64>,
}

impl Choice<'_> {
    fn below(&mut self, limit: u8) -> u8 {
        (self.next)() % limit
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn number(&mut self) -> u64 {
        match (self.next)() {
            255 => u64::MAX,
            small => u64::from(small % 8),
        }
    }

    /// Mostly one that there is, often the newest one.
    fn object(&mut self) -> u64 {
        let (count, choice) = (self.objects.len(), usize::from((self.next)()));
        let newest = self.objects.last().copied().unwrap_or(1);
        match choice {
            0..64 => newest,
            255 => u64::MAX,
            254 => newest + 1 + u64::from(self.below(16)), // perhaps there will be one
            _ => self.objects.get(choice % count.max(1)).copied().unwrap_or(1),
        }
    }

    fn blob(&mut self) -> Blob<'static> {
        Blob(BYTES[usize::from(self.below(4))])
    }

    fn item(&mut self) -> Item<'static> {
        let refs = match self.below(8) {
            few @ 0..3 => (0..few).map(|_| self.object()).collect(),
            _ => Vec::new(),
        };
        Item { bytes: self.blob(), refs }
    }

    fn items(&mut self) -> Vec<Item<'static>> {
        (0..self.below(4)).map(|_| self.item()).collect()
    }

    fn pairs(&mut self) -> Vec<(Blob<'static>, Item<'static>)> {
        (0..self.below(4)).map(|_| (self.blob(), self.item())).collect()
    }

    fn thread(&mut self) -> u64 {
        u64::from(self.below(2))
    }

    fn op(&mut self, kind: Kind) -> Op<'static> {
        match kind {
            Kind::List | Kind::Array | Kind::Value => self.sequence(),
            Kind::Dict | Kind::Set | Kind::Namespace => self.map(),
            Kind::Queue | Kind::JoinableQueue => match self.below(8) {
                0..3 => Op::Enqueue { item: self.item(), wait: self.flag() },
                3..6 => Op::Dequeue { wait: self.flag(), thread: self.thread() },
                6 => Op::TaskDone { thread: self.thread() },
                _ => Op::Join { wait: self.flag() },
            },
            Kind::Lock | Kind::RLock | Kind::Condition => match self.below(8) {
                0..3 => Op::Acquire { wait: self.flag(), thread: self.thread(), repair: self.flag() },
                3..5 => Op::Release { thread: self.thread() },
                5 => Op::IsLocked,
                6 => Op::CondWait { thread: self.thread() },
                _ => Op::Notify { all: self.flag(), thread: self.thread() },
            },
            Kind::Semaphore => match self.below(3) {
                0 => Op::GivePermit,
                1 => Op::Len,
                _ => Op::TakePermit { wait: self.flag() },
            },
            Kind::Event => match self.below(4) {
                0 => Op::Raise,
                1 => Op::Lower,
                2 => Op::IsRaised,
                _ => Op::Await,
            },
            Kind::Barrier => match self.below(8) {
                0 => Op::Abort,
                1 => Op::Reset,
                2 => Op::Capacity,
                3 => Op::IsRaised,
                _ => Op::Meet,
            },
        }
    }

    fn sequence(&mut self) -> Op<'static> {
        match self.below(19) {
            0 => Op::Len,
            1 => Op::Clear,
            2 => Op::Snapshot,
            3 => Op::Drain,
            4 => Op::Get(self.number()),
            5 => Op::Set(self.number(), self.item()),
            6 | 7 => Op::Push(self.item()),
            8 => Op::Extend(self.items()),
            9 => Op::Insert(self.number(), self.item()),
            10 => Op::Pop,
            11 => Op::Remove(self.number()),
            12 => Op::Find(self.blob()),
            13 => Op::Count(self.blob()),
            14 => Op::Truncate(self.number()),
            15 => Op::Reverse,
            16 => Op::Version,
            17 => Op::Replace { version: self.number(), items: self.items() },
            _ => Op::Swap { index: self.number(), expected: self.blob(), new: self.item() },
        }
    }

    fn map(&mut self) -> Op<'static> {
        match self.below(12) {
            0 => Op::Len,
            1 => Op::Clear,
            2 => Op::Snapshot,
            3 => Op::Drain,
            4 => Op::Has(self.blob()),
            5 => Op::Lookup(self.blob()),
            6 => Op::Put(self.blob(), self.item()),
            7 => Op::Take(self.blob()),
            8 => Op::GetOrPut(self.blob(), self.item()),
            9 => Op::PutMany(self.pairs()),
            10 => Op::TakeAny,
            _ => {
                let expected = self.flag().then(|| self.blob());
                Op::SwapKey { key: self.blob(), expected, new: self.flag().then(|| self.item()) }
            }
        }
    }

    fn init(&mut self, kind: Kind) -> Init<'static> {
        match kind {
            Kind::List if self.flag() => Init::Items(self.items()),
            Kind::Array => Init::Items(self.items()),
            Kind::Value => Init::Items(vec![self.item()]),
            Kind::Dict | Kind::Set | Kind::Namespace if self.flag() => Init::Pairs(self.pairs()),
            Kind::Queue | Kind::JoinableQueue | Kind::Semaphore | Kind::Barrier => Init::Number(self.number()),
            _ => Init::Nothing,
        }
    }
}

impl Simulation {
    /// A connection asks for something, as the bytes choose. What is returned is different for what is different in kind.
    pub fn act(&mut self, connection: u64, next: &mut dyn FnMut() -> u8) -> u64 {
        let objects = self.objects();
        let mut choice = Choice { next, objects };
        let latest = self.latest(connection);
        let call = match choice.below(32) {
            0 => Call::Confirm,
            1..4 => Call::Cancel { request: latest },
            4 => Call::Cancel { request: choice.number() as u32 },
            5 => Call::GiveUp { request: latest },
            6 => Call::Ping,
            7..12 => {
                let kind = KINDS[usize::from(choice.below(14))];
                Call::Make { kind, types: TYPES[usize::from(choice.below(2))], init: choice.init(kind) }
            }
            12 => Call::Publish { object: choice.object(), name: NAMES[usize::from(choice.below(3))] },
            13 => Call::Find {
                name: NAMES[usize::from(choice.below(3))],
                kind: KINDS[usize::from(choice.below(14))],
                types: TYPES[usize::from(choice.below(2))],
            },
            14 => Call::Unlink { name: NAMES[usize::from(choice.below(3))] },
            15 => Call::Release { objects: (0..choice.below(4)).map(|_| choice.object()).collect() },
            16 => Call::Ticket { object: choice.object() },
            17 => {
                let object = choice.object();
                let kind = self.kind(object).unwrap_or(Kind::List);
                let ticket = object.wrapping_add(choice.number());
                Call::Claim { object, ticket, kind, types: TYPES[usize::from(choice.below(2))] }
            }
            18 => Call::Page { cursor: choice.object().wrapping_add(choice.number()) },
            19 => Call::EndPages { cursor: choice.object().wrapping_add(choice.number()) },
            20 => Call::Stats,
            21 => Call::Hello { version: choice.number() as u32, sessions: vec![choice.number()], pid: 1 },
            22 => {
                let (object, kind) = (choice.object(), KINDS[usize::from(choice.below(14))]);
                Call::On { object, op: choice.op(kind) }
            }
            _ => {
                let object = choice.object();
                let kind = self.kind(object).unwrap_or(Kind::List);
                Call::On { object, op: choice.op(kind) }
            }
        };
        let id = match choice.below(32) {
            0 => latest,
            _ => self.number(connection),
        };
        let frame = postcard::to_stdvec(&Request { id, call }).expect("requests can be encoded");
        self.frame(connection, &frame)
    }
}
