//! Ours: `ipc_manager`, a `Dict` in a server process.

use ipc_manager::{Address, Dict, Manager};

use super::{Goal, Row, python, redis};
use crate::failure::{Failure, Outcome};
use crate::groups::{MANAGER_CLIENTS, MANAGER_GET, MANAGER_GET_ASLEEP, MANAGER_PIPELINED};
use crate::store::{KEYS, Store, get, get_asleep, key, pipelined_gets, pipelined_sets, together, value};

const GET: &str = "ipc-manager: Dict::get";

pub(crate) const ROWS: &[Row] = &[
    Row {
        group: &MANAGER_GET,
        name: GET,
        goal: Goal::Parts(&[(python::MANAGER, 0.1), (redis::GET, 0.1)]),
        measure: get::<OfManager>,
    },
    Row { group: &MANAGER_GET_ASLEEP, name: GET, goal: Goal::AtMost(1.25), measure: get_asleep::<OfManager> },
    Row {
        group: &MANAGER_PIPELINED,
        name: "ipc-manager: Batch of Dict::get",
        goal: Goal::MedianAtLeast(500_000.0),
        measure: pipelined_gets::<OfManager>,
    },
    Row {
        group: &MANAGER_PIPELINED,
        name: "ipc-manager: Batch of Dict::insert",
        goal: Goal::MedianAtLeast(500_000.0),
        measure: pipelined_sets::<OfManager>,
    },
    Row {
        group: &MANAGER_CLIENTS,
        name: "ipc-manager: one process",
        goal: Goal::Reference,
        measure: together::<OfManager, 1>,
    },
    Row {
        group: &MANAGER_CLIENTS,
        name: "ipc-manager: four processes",
        goal: Goal::AtLeast(0.8),
        measure: together::<OfManager, 4>,
    },
];

struct OfManager;

struct Client {
    manager: Manager,
    dict: Dict<String, u64>,
    keys: Vec<String>,
}

const NAME: &str = "benchmark";

impl Store for OfManager {
    type Server = Manager;
    type Door = (Address, Vec<u8>);
    type Client = Client;

    fn start() -> Outcome<(Manager, (Address, Vec<u8>))> {
        let manager = Manager::start()?;
        let dict: Dict<String, u64> = manager.dict_of((0..KEYS).map(|n| (key(n), value(n, 0))))?;
        manager.publish(NAME, &dict)?;
        let door = (manager.address().clone(), manager.authkey().to_vec());
        Ok((manager, door))
    }

    fn enter((address, authkey): (Address, Vec<u8>)) -> Outcome<Client> {
        let manager = Manager::connect(address, authkey)?;
        let dict = manager.open(NAME)?;
        Ok(Client { manager, dict, keys: (0..KEYS).map(key).collect() })
    }

    #[inline(always)]
    fn get(client: &mut Client, n: u64) -> Outcome<()> {
        check(n, client.dict.get(&client.keys[n as usize])?, value(n, 0))
    }

    fn get_all(client: &mut Client, times: u64) -> Outcome<()> {
        let (mut batch, later) = (client.manager.batch(), client.dict.later());
        let pending: Vec<_> = client.keys.iter().map(|key| batch.add(later.get(key))).collect();
        let mut values = batch.send()?;
        pending.into_iter().zip(0..).try_for_each(|(it, n)| check(n, values.take(it)?, value(n, times)))
    }

    fn set_all(client: &mut Client, times: u64) -> Outcome<()> {
        let (mut batch, later) = (client.manager.batch(), client.dict.later());
        let insert = |(key, n): (&String, u64)| batch.add(later.insert(key, &value(n, times)));
        let pending: Vec<_> = client.keys.iter().zip(0..).map(insert).collect();
        // What they were until then.
        let mut values = batch.send()?;
        pending.into_iter().zip(0..).try_for_each(|(it, n)| check(n, values.take(it)?, value(n, times - 1)))
    }
}

#[inline(always)]
fn check(n: u64, is: Option<u64>, expected: u64) -> Outcome<()> {
    match is {
        Some(is) if is == expected => Ok(()),
        other => Err(Failure::new(format!("key {n} has the value {other:?} instead of {expected}"))),
    }
}
