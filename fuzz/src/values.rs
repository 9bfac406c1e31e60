//! Bytes decoded as values of many types: a value or an error, what the format alone says too, and the same after a round trip.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, LinkedList, VecDeque};
use std::time::Duration;

use ipc_core::{Budget, Decode, Encode, Limited, Postcard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Trace;
use crate::script::letters;

#[derive(Debug, Serialize, Deserialize)]
enum Nest {
    End,
    More(Box<Nest>),
    Pair(Box<Nest>, Box<Nest>),
    Fields { first: Option<Box<Nest>>, text: String },
    Many(Vec<Nest>),
    Unit(()),
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Debug, Serialize, Deserialize)]
struct Tree {
    children: Vec<Tree>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Forest {
    trees: BTreeMap<u8, Forest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    text: String,
    letter: char,
    numbers: (u8, i16, u32, i64, u128, i128, f32, f64, bool),
    time: Duration,
    blob: Vec<u8>,
    result: Result<u32, String>,
    array: [Option<u16>; 3],
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Empty;

#[derive(Debug, Serialize, Deserialize)]
struct Skipped(#[serde(skip)] [u64; 8]);

/// Only for formats that describe themselves.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(i64),
    Text(String),
    List(Vec<Any>),
    Fields(BTreeMap<String, Any>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

type Check = fn(&[u8], &mut Trace);

const CHECKS: &[Check] = &[
    check::<Nest>,
    check::<Chain>,
    check::<Tree>,
    check::<Forest>,
    check::<Record>,
    check::<Vec<()>>,
    check::<Vec<Empty>>,
    check::<Vec<Vec<()>>>,
    check::<Vec<Skipped>>,
    check::<LinkedList<((), Empty)>>,
    check::<BTreeMap<(), ()>>,
    check::<BTreeMap<String, BTreeMap<u32, Vec<BTreeMap<u8, ()>>>>>,
    check::<BTreeSet<Vec<u8>>>,
    check::<Vec<String>>,
    check::<VecDeque<Option<Option<Box<u64>>>>>,
    check::<Vec<Vec<Vec<Vec<u64>>>>>,
    check::<[[(); 32]; 32]>,
    check::<Option<Box<Option<Box<Nest>>>>>,
    check_unordered::<HashMap<(), ()>>,
    check_unordered::<HashMap<u64, Vec<HashSet<()>>>>,
    check_json::<serde_json::Value>,
    check_json::<Any>,
    check_json::<Flat>,
    check_json::<Nest>,
];

pub(crate) fn run(input: &[u8], trace: &mut Trace) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let choice = usize::from(*choice) % CHECKS.len();
    trace.note(choice);
    CHECKS[choice](bytes, trace);
}

/// Decodes, and notes how that went.
fn decode<T: DeserializeOwned>(bytes: &[u8], trace: &mut Trace) -> Option<T> {
    match <Postcard as Decode<T>>::decode(bytes) {
        Ok(value) => {
            trace.note(("ok", bytes.len().ilog2_or_0()));
            let (plain, rest) = postcard::take_from_bytes::<T>(bytes).expect("without limits it is a value as well");
            assert!(rest.is_empty(), "{} bytes are left over and nobody says so", rest.len());
            drop(plain);
            Some(value)
        }
        Err(error) => {
            let text = error.to_string();
            trace.note((letters(&text), bytes.len().ilog2_or_0()));
            let by_limit = ["nests deeper", "more elements", "left over"].iter().any(|part| text.contains(part));
            // The limits were not reached, so the format alone stops at the same place.
            assert!(by_limit || postcard::from_bytes::<T>(bytes).is_err(), "refused for no reason: {text}");
            None
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    <Postcard as Encode<T>>::encode(value, &mut bytes).expect("what was decoded can be encoded");
    assert!(bytes.starts_with(b"before"), "the codec changed bytes that were not its own");
    bytes.split_off(6)
}

fn check<T: Serialize + DeserializeOwned>(bytes: &[u8], trace: &mut Trace) {
    let Some(value) = decode::<T>(bytes, trace) else { return };
    // Not the same as `bytes`: a number may have been written in a longer way than it needs.
    let first = encode(&value);
    let again = <Postcard as Decode<T>>::decode(&first).expect("what we encoded is a value");
    assert!(encode(&again) == first, "another value after a round trip");
}

/// The same for what has no order: as often as not its bytes differ.
fn check_unordered<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8], trace: &mut Trace) {
    let Some(value) = decode::<T>(bytes, trace) else { return };
    let again: T = <Postcard as Decode<T>>::decode(&encode(&value)).expect("what we encoded is a value");
    assert!(again == value, "another value after a round trip");
}

/// A format that describes itself goes other ways through the limits.
fn check_json<T: Serialize + DeserializeOwned>(bytes: &[u8], trace: &mut Trace) {
    let budget = Budget::for_input(bytes.len());
    let mut limited = serde_json::Deserializer::from_slice(bytes);
    let limited = T::deserialize(Limited::new(&mut limited, &budget));
    let mut plain = serde_json::Deserializer::from_slice(bytes);
    let plain = T::deserialize(&mut plain); // it has a limit of depth of its own
    match (limited, plain) {
        (Ok(limited), Ok(plain)) => {
            let text = |value: &T| serde_json::to_string(value).unwrap_or_default();
            assert!(text(&limited) == text(&plain), "another value within limits");
            trace.note(("json", bytes.len().ilog2_or_0()));
        }
        (Err(limited), Err(_)) => trace.note(letters(&limited.to_string())),
        (Err(limited), Ok(_)) => {
            let text = limited.to_string();
            assert!(text.contains("nests deeper") || text.contains("more elements"), "refused for no reason: {text}");
            trace.note("limit");
        }
        (Ok(_), Err(plain)) => panic!("a value, but not without limits: {plain}"),
    }
}

trait Log {
    fn ilog2_or_0(self) -> u32;
}

impl Log for usize {
    fn ilog2_or_0(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}
