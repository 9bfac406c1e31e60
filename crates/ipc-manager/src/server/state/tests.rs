//! The server without sockets.

mod locks;
mod objects;
mod queues;
mod random;
mod sync;

use std::time::Duration;

use super::TICKET;
use super::simulation::Simulation;
use crate::Kind;
use crate::protocol::{Answer, Blob, Call, Fault, Init, Item, Op, Reply};

/// What a connection has been told, owned.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Done,
    Object(u64),
    Flag(bool),
    Number(u64),
    Item(Option<(Vec<u8>, Vec<u64>)>),
    Granted { died: bool, timed_out: bool },
    Page { entries: usize, refs: usize, more: Option<u64> },
    Fault(Fault),
    Other,
}

fn told(frame: &[u8]) -> (u32, Told) {
    let reply: Reply<'_> = postcard::from_bytes(frame).unwrap();
    let told = match reply.answer {
        Answer::Done => Told::Done,
        Answer::Object(object) => Told::Object(object),
        Answer::Flag(flag) => Told::Flag(flag),
        Answer::Number(number) => Told::Number(number),
        Answer::Item(item) => Told::Item(item.map(|item| (item.bytes.0.to_vec(), item.refs))),
        Answer::Granted { died, timed_out } => Told::Granted { died, timed_out },
        Answer::Page { pairs, more, .. } => {
            Told::Page { entries: pairs.len(), refs: pairs.iter().map(|(_, item)| item.refs.len()).sum(), more }
        }
        Answer::Fault(fault) => Told::Fault(fault),
        _ => Told::Other,
    };
    (reply.id, told)
}

impl Simulation {
    /// A connection of a new process.
    fn process(&mut self) -> u64 {
        let connection = self.enter(None);
        self.take_answers(connection);
        connection
    }

    /// One more connection of the same process.
    fn another(&mut self, connection: u64) -> u64 {
        let connection = self.enter(Some(connection));
        self.take_answers(connection);
        connection
    }

    /// What is answered at once.
    fn call(&mut self, connection: u64, call: Call<'_>) -> Told {
        let id = self.ask(connection, call);
        let answers = self.take_answers(connection);
        assert_eq!(answers.len(), 1, "one answer to one question");
        let (to, told) = told(&answers[0]);
        assert_eq!(to, id);
        told
    }

    fn on(&mut self, connection: u64, object: u64, op: Op<'_>) -> Told {
        self.call(connection, Call::On { object, op })
    }

    /// A request that is not answered at once: its number.
    fn wait(&mut self, connection: u64, object: u64, op: Op<'_>) -> u32 {
        let id = self.ask(connection, Call::On { object, op });
        assert_eq!(self.take_answers(connection), Vec::<Vec<u8>>::new(), "it has to wait");
        id
    }

    /// What a connection has been told since, one thing at most.
    fn heard(&mut self, connection: u64) -> Option<Told> {
        let answers = self.take_answers(connection);
        assert!(answers.len() <= 1, "{answers:?}");
        answers.first().map(|frame| told(frame).1)
    }

    /// Says something that is not answered.
    fn tell(&mut self, connection: u64, call: Call<'_>) {
        self.ask(connection, call);
    }

    fn confirm(&mut self, connection: u64) {
        self.tell(connection, Call::Confirm);
        assert_eq!(self.heard(connection), None);
    }

    fn make(&mut self, connection: u64, kind: Kind, init: Init<'_>) -> u64 {
        match self.call(connection, Call::Make { kind, types: "T", init }) {
            Told::Object(object) => object,
            other => panic!("{other:?}"),
        }
    }

    fn exists(&self, object: u64) -> bool {
        self.objects().contains(&object)
    }

    fn holds(&self, object: u64) -> u64 {
        self.state.objects[&object].holds
    }
}

const DONE: Told = Told::Done;
const GRANTED: Told = Told::Granted { died: false, timed_out: false };

fn item(bytes: &'static [u8]) -> Item<'static> {
    Item { bytes: Blob(bytes), refs: Vec::new() }
}

fn holding(refs: &[u64]) -> Item<'static> {
    Item { bytes: Blob(b"a proxy"), refs: refs.to_vec() }
}

fn shown(bytes: &[u8], refs: &[u64]) -> Told {
    Told::Item(Some((bytes.to_vec(), refs.to_vec())))
}

fn acquire(thread: u64) -> Op<'static> {
    Op::Acquire { wait: true, thread, repair: false }
}
