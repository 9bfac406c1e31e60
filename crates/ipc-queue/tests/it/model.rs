//! A queue and what it should be: whatever is called in whatever order, it is as a list would be.

use std::collections::VecDeque;

use ipc_queue::{Bytes, Error, Lease, Peek, Queue, Settings};
use proptest::prelude::*;

const MOST_DELIVERIES: u32 = 3;

/// A message is its number, and something behind it that makes it longer.
fn message(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(4 + len, number as u8);
    bytes
}

fn number(bytes: &[u8]) -> u32 {
    let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert!(bytes[4..].iter().all(|byte| *byte == number as u8), "message {number} came whole");
    number
}

#[derive(Clone, Debug)]
enum Call {
    Put(usize),
    PutMany(Vec<usize>),
    Get,
    GetMany(usize),
    GetBytes,
    Lease,
    Acknowledge(usize),
    GiveBack(usize),
    Peek,
    Release(usize),
    PutBack(usize),
    TakeDead,
    Close,
}

fn lengths() -> impl Strategy<Value = usize> {
    // Short, too long for a lease itself, too long for the ring.
    prop_oneof![6 => 0..40usize, 2 => 1000..1100usize, 1 => 7000..8000usize, 1 => 16_370..20_000usize]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        8 => lengths().prop_map(Call::Put),
        3 => prop::collection::vec(lengths(), 0..5).prop_map(Call::PutMany),
        3 => Just(Call::Get),
        2 => (0..5usize).prop_map(Call::GetMany),
        1 => Just(Call::GetBytes),
        5 => Just(Call::Lease),
        2 => (0..8usize).prop_map(Call::Acknowledge),
        4 => (0..8usize).prop_map(Call::GiveBack),
        3 => Just(Call::Peek),
        2 => (0..8usize).prop_map(Call::Release),
        2 => (0..8usize).prop_map(Call::PutBack),
        1 => Just(Call::TakeDead),
    ];
    (prop::collection::vec(call.clone(), 0..60), any::<bool>(), prop::collection::vec(call, 0..20)).prop_map(
        |(mut calls, is_closed, more)| {
            if is_closed {
                calls.push(Call::Close);
            }
            calls.extend(more);
            calls
        },
    )
}

/// Where a message is that was put and not taken for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Somebody has it, in the ring or in a lease.
    Taken,
    Returned,
    Dead,
}

#[derive(Clone, Debug)]
struct Known {
    number: u32,
    state: State,
    deliveries: u32,
    /// Whether it still takes a place in the ring: it does until it was leased, or used up.
    in_ring: bool,
}

/// In the order in which they were put.
#[derive(Debug, Default)]
struct Model {
    all: VecDeque<Known>,
    next: u32,
    items: usize,
    is_closed: bool,
}

impl Model {
    fn room(&self) -> usize {
        let last = self.next;
        let head = self.all.iter().find(|known| known.in_ring).map_or(last, |known| known.number);
        let dead = self.all.iter().filter(|known| known.state == State::Dead).count();
        self.items.saturating_sub((last - head) as usize + dead)
    }

    fn len(&self) -> usize {
        self.all.iter().filter(|known| matches!(known.state, State::Waiting | State::Returned)).count()
    }

    fn put(&mut self) {
        self.all.push_back(Known { number: self.next, state: State::Waiting, deliveries: 0, in_ring: true });
        self.next += 1;
    }

    /// The one that comes next, if there is one; those that have come back too often are buried.
    fn take(&mut self) -> Option<&mut Known> {
        for known in &mut self.all {
            if known.state == State::Returned && known.deliveries >= MOST_DELIVERIES {
                (known.state, known.in_ring) = (State::Dead, false);
            } else if known.state == State::Returned {
                break;
            }
        }
        let next = |state| move |known: &&mut Known| known.state == state;
        let returned = self.all.iter().any(|known| known.state == State::Returned);
        let state = if returned { State::Returned } else { State::Waiting };
        let known = self.all.iter_mut().find(next(state))?;
        known.state = State::Taken;
        known.deliveries += 1;
        Some(known)
    }

    fn of(&mut self, number: u32) -> &mut Known {
        self.all.iter_mut().find(|known| known.number == number).expect("it was put, and is not done with")
    }

    fn done(&mut self, number: u32) {
        self.all.retain(|known| known.number != number);
    }

    /// What a call says that finds nothing.
    fn is_the_answer(&self, error: &Error) -> bool {
        if self.is_closed { error.is_closed() } else { error.is_would_block() }
    }
}

struct Run<'a> {
    queue: &'a Queue<Vec<u8>, Bytes>,
    model: Model,
    leases: Vec<Lease<Vec<u8>>>,
    peeks: Vec<(u32, Peek<'a>)>,
}

impl Run<'_> {
    fn call(&mut self, call: &Call) {
        let (queue, model) = (self.queue, &mut self.model);
        match call {
            Call::Put(len) => {
                let result = queue.try_put(message(model.next, *len));
                match result {
                    Ok(()) => {
                        assert!(!model.is_closed && model.room() > 0, "there was no room");
                        model.put();
                    }
                    Err(refused) => {
                        assert_eq!(refused.value, message(model.next, *len));
                        assert!(
                            model.is_the_answer(&refused.error) && (model.is_closed || model.room() == 0),
                            "{model:?}"
                        );
                    }
                }
            }
            Call::PutMany(lens) => {
                let messages: Vec<_> = (model.next..).zip(lens).map(|(number, len)| message(number, *len)).collect();
                let result = queue.try_put_many(&messages);
                let room = if model.is_closed { 0 } else { model.room() };
                let put = match &result {
                    Ok(()) => messages.len(),
                    Err(error) => {
                        assert!(model.is_the_answer(&error.error), "{error:?}");
                        error.put
                    }
                };
                assert_eq!(put, room.min(messages.len()));
                (0..put).for_each(|_| model.put());
            }
            Call::Get | Call::GetBytes => {
                let result = if let Call::Get = call {
                    queue.try_get()
                } else {
                    let mut bytes = vec![7];
                    queue.try_get_bytes_into(&mut bytes).map(|()| bytes)
                };
                let expected = model.take().map(|known| known.number);
                match result {
                    Ok(bytes) => {
                        assert_eq!(Some(number(&bytes)), expected);
                        model.done(number(&bytes));
                    }
                    Err(error) => {
                        assert!(expected.is_none() && model.is_the_answer(&error), "{error:?}, not {expected:?}")
                    }
                }
            }
            Call::GetMany(0) => assert!(queue.try_get_many(0).unwrap().is_empty()),
            Call::GetMany(most) => match queue.try_get_many(*most) {
                Ok(some) => {
                    assert!(!some.is_empty() && some.len() <= *most);
                    for bytes in some {
                        assert_eq!(model.take().map(|known| known.number), Some(number(&bytes)));
                        model.done(number(&bytes));
                    }
                }
                Err(error) => {
                    let expected = model.take().map(|known| known.number);
                    assert!(expected.is_none() && model.is_the_answer(&error), "{error:?}, not {expected:?}");
                }
            },
            Call::Lease => {
                let result = queue.try_lease();
                let expected = model.take();
                match (result, expected) {
                    (Ok(lease), Some(known)) => {
                        assert_eq!((number(&lease), lease.deliveries()), (known.number, known.deliveries));
                        known.in_ring = false;
                        self.leases.push(lease);
                    }
                    (Err(error), None) => assert!(model.is_the_answer(&error), "{error:?}"),
                    (result, expected) => panic!("{result:?}, not {expected:?}"),
                }
            }
            Call::Acknowledge(i) if *i < self.leases.len() => {
                let lease = self.leases.remove(*i);
                model.done(number(&lease));
                lease.ack().unwrap();
            }
            Call::GiveBack(i) if *i < self.leases.len() => {
                let lease = self.leases.remove(*i);
                model.of(number(&lease)).state = State::Returned;
            }
            Call::Peek => {
                let result = queue.try_peek();
                let expected = model.take();
                match (result, expected) {
                    (Ok(peek), Some(known)) => {
                        let mut bytes = vec![0; peek.len()];
                        peek.read_at(0, &mut bytes).unwrap();
                        assert_eq!(number(&bytes), known.number);
                        self.peeks.push((known.number, peek));
                    }
                    (Err(error), None) => assert!(model.is_the_answer(&error), "{error:?}"),
                    (result, expected) => panic!("{result:?}, not {expected:?}"),
                }
            }
            Call::Release(i) if *i < self.peeks.len() => {
                let (number, peek) = self.peeks.remove(*i);
                peek.release();
                model.done(number);
            }
            Call::PutBack(i) if *i < self.peeks.len() => {
                let (number, peek) = self.peeks.remove(*i);
                drop(peek);
                model.of(number).state = State::Returned;
            }
            Call::TakeDead => {
                let letters = queue.take_dead_letters().unwrap();
                let mut taken: Vec<u32> = letters.iter().map(|letter| number(letter.value.as_ref().unwrap())).collect();
                taken.sort_unstable();
                let dead = model.all.iter().filter(|known| known.state == State::Dead).map(|known| known.number);
                assert_eq!(taken, dead.collect::<Vec<_>>());
                model.all.retain(|known| known.state != State::Dead);
            }
            Call::Close => {
                queue.close().unwrap();
                model.is_closed = true;
            }
            Call::Acknowledge(_) | Call::GiveBack(_) | Call::Release(_) | Call::PutBack(_) => {}
        }
        let model = &self.model;
        assert_eq!(queue.len(), model.len(), "{model:?}");
        assert_eq!(queue.is_empty(), model.len() == 0);
        assert_eq!(queue.is_full(), model.room() == 0, "{model:?}");
        assert_eq!(queue.is_closed(), model.is_closed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_queue_is_as_a_list_would_be(items in 1..7usize, calls in calls()) {
        let settings = Settings::new().items(items).ring(64 << 10).leases(100).max_deliveries(MOST_DELIVERIES);
        let queue = Queue::with(&settings).unwrap();
        let model = Model { items, ..Model::default() };
        let mut run = Run { queue: &queue, model, leases: Vec::new(), peeks: Vec::new() };
        for call in &calls {
            run.call(call);
        }
        // Nothing is lost: all that was given back, and all that still waits, comes.
        let Run { mut model, leases, peeks, .. } = run;
        for lease in &leases {
            model.of(number(lease)).state = State::Returned;
        }
        for (number, _) in &peeks {
            model.of(*number).state = State::Returned;
        }
        drop((leases, peeks));
        while let Ok(bytes) = queue.try_get() {
            prop_assert_eq!(model.take().map(|known| known.number), Some(number(&bytes)));
            model.done(number(&bytes));
        }
        prop_assert!(model.take().is_none());
        prop_assert_eq!(queue.take_dead_letters().unwrap().len(), model.all.len());
    }
}
