//! A server and those who call it, over addresses of all kinds. Either notes what it has done, before the other one can know of it.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use ipc_core::Waitable;
use ipc_socket::{Address, Client, ClientBuilder, Connection, Error, Listener, wait};
use ipc_tests::campaign::{Flaw, Items, Lane, Rng, Round, STALL_LIMIT, Sizes};
use ipc_tests::unique_name;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::memory::within;

const SHORT: Duration = Duration::from_micros(300);
/// How long to try to connect until it is looked whether there is a flaw.
const WHILE: Duration = Duration::from_millis(50);
/// How often a survivor is answered after the victim's end.
const AFTERWARDS: u32 = 5;
/// On which lane the servers note what has come from client 0; the others follow.
const LEDGER: u64 = 8;

/// A place to be called at, and what is said there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) address: Address,
    key: Option<Vec<u8>>,
    seed: u64,
    sizes: Sizes,
}

impl Service {
    /// One of a kind that the round chooses.
    pub(crate) fn draw(round: &mut Round, folder: &Folder) -> Service {
        let address = match round.rng.below(4) {
            0 => Address::abstract_name(unique_name()),
            // An address that no other program uses, nor another campaign, below the ports that are given to clients.
            1 => {
                let [_, a, b, c] = (std::process::id() & 0xff_ffff).to_be_bytes();
                Address::tcp(format!("127.{a}.{b}.{c}"), 20_000 + round.rng.below(10_000) as u16)
            }
            _ => Address::unix(folder.file("socket")),
        };
        Service::at(round, address)
    }

    pub(crate) fn at(round: &mut Round, address: Address) -> Service {
        let key = (!round.rng.one_in(8)).then(|| round.rng.next().to_le_bytes().to_vec());
        let sizes = if round.rng.one_in(4) { Sizes::Mixed } else { Sizes::Small };
        Service { address, key, seed: round.rng.next(), sizes }
    }

    /// One without a key, and without a file, which a round that hangs would leave.
    pub(crate) fn plain(round: &mut Round) -> Service {
        Service { key: None, ..Service::at(round, Address::abstract_name(unique_name())) }
    }

    pub(crate) fn with_key(self) -> Service {
        Service { key: Some(b"key".to_vec()), ..self }
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(crate) fn listen<Tx, Rx>(&self) -> Result<Listener<Tx, Rx>, Error> {
        let builder = Listener::builder();
        match &self.key {
            Some(key) => builder.authkey(key.as_slice()).bind(&self.address),
            None => builder.bind(&self.address),
        }
    }

    pub(crate) fn client(&self) -> ClientBuilder {
        match &self.key {
            Some(key) => Client::builder().authkey(key.as_slice()),
            None => Client::builder(),
        }
    }

    /// Leaves there what a server leaves that is killed.
    pub(crate) fn litter(&self) {
        if let Address::Unix(path) = &self.address {
            let _ = UnixListener::bind(path);
        }
    }

    fn items(&self, client: u64) -> Items {
        Items { seed: self.seed ^ client, sizes: self.sizes }
    }
}

/// What a client says. It is answered with the text.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    client: u64,
    number: u64,
    text: Vec<u8>,
    /// The client says no more.
    last: bool,
}

/// A mistake that a server makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mistake {
    None,
    AnswersFirst,
    /// It counts what is said once more, as another server was killed over its answer.
    CountsAgain,
    ChangesByte,
    /// It waits for the first message of a client before it accepts another one.
    OneByOne,
    /// It does not close what is at its end.
    KeepsAll,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) lane: Lane,
    /// What has come from each client; a flaw on it ends client and server.
    pub(crate) ledger: Vec<Lane>,
    pub(crate) seed: u64,
    /// It comes to its end when so many clients have come to theirs.
    pub(crate) clients: usize,
    /// It is by itself in its process, and looks whether all descriptors are closed in the end.
    pub(crate) alone: bool,
    pub(crate) mistake: Mistake,
}

impl Server {
    pub(crate) fn new(round: &mut Round, service: &Service, lane: u64) -> Server {
        Server {
            service: service.clone(),
            lane: round.lane(lane),
            ledger: (0..4).map(|client| round.lane(LEDGER + client)).collect(),
            seed: round.rng.next(),
            clients: usize::MAX,
            alone: false,
            mistake: Mistake::None,
        }
    }

    fn complain(&self, what: &str, error: &dyn std::fmt::Debug) -> Flaw {
        eprintln!("the server at {} {what}: {error:?}", self.service.address);
        Flaw::Wrong
    }

    fn listen(&self) -> Result<Listener<Vec<u8>, Call>, Flaw> {
        self.service.listen().map_err(|error| self.complain("cannot listen", &error))
    }
}

/// Serves until all clients are done.
pub(crate) fn serve(server: Server) {
    let mut rng = Rng::new(server.seed);
    if let Err(flaw) = serve_all(&server, &mut rng) {
        server.ledger.iter().for_each(|lane| lane.complain(flaw));
    }
}

fn serve_all(server: &Server, rng: &mut Rng) -> Result<(), Flaw> {
    let mut listener = server.listen()?;
    let own = sockets();
    let (mut conns, mut accepted, mut ended) = (Vec::<Connection<Vec<u8>, Call>>::new(), 0, 0);
    while ended < server.clients {
        let mut items: Vec<&dyn Waitable> = vec![&listener];
        items.extend(conns.iter().map(|conn| conn as &dyn Waitable));
        let ready = wait(&items, WHILE).expect("the descriptors are open");
        if let Some(flaw) = server.ledger.iter().find_map(Lane::flaw) {
            return Err(flaw);
        }
        let comes = ready.contains(&0);
        let mut closed = Vec::new();
        for i in ready.into_iter().filter(|i| *i > 0) {
            match answer(server, &mut conns[i - 1], rng)? {
                Heard::Last => ended += 1,
                Heard::End => closed.push(i - 1),
                Heard::Other => {}
            }
        }
        for i in closed.into_iter().rev() {
            let conn = conns.swap_remove(i);
            if server.mistake == Mistake::KeepsAll {
                std::mem::forget(conn);
            }
        }
        if !comes {
            continue;
        }
        let conn = match rng.below(3) {
            0 => listener.try_accept(),
            1 => listener.accept_timeout(SHORT),
            _ => listener.accept(), // one is ready, and nobody else accepts
        };
        let mut conn = conn.map_err(|error| server.complain("cannot accept", &error))?;
        accepted += 1;
        server.lane.attempt(accepted);
        if server.mistake == Mistake::OneByOne {
            let _ = conn.poll(Duration::MAX);
        }
        conns.push(conn);
        // Those who are just coming in are turned away, and come again.
        if rng.one_in(8) {
            drop(listener);
            listener = server.listen()?;
        }
    }
    let settle = if server.mistake == Mistake::None { STALL_LIMIT } else { STALL_LIMIT / 8 };
    let closed = || {
        let _ = listener.try_accept();
        conns.retain_mut(|conn| conn.try_recv().is_err_and(|error| error.is_would_block()));
        sockets() == own
    };
    if server.alone && !within(settle, closed) {
        return Err(Flaw::Left);
    }
    Ok(())
}

/// How many sockets this process has.
fn sockets() -> usize {
    let entries = fs::read_dir("/proc/self/fd").expect("it has descriptors").flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

enum Heard {
    Last,
    End,
    Other,
}

fn answer(server: &Server, conn: &mut Connection<Vec<u8>, Call>, rng: &mut Rng) -> Result<Heard, Flaw> {
    let call = match conn.try_recv() {
        Ok(call) => call,
        Err(error) if error.is_disconnected() => return Ok(Heard::End),
        Err(error) if error.is_would_block() => return Ok(Heard::Other),
        Err(error) => return Err(server.complain("cannot receive", &error)),
    };
    let mut text = call.text;
    if server.service.items(call.client).number(&text, &mut Vec::new()) != Some(call.number) {
        return Err(Flaw::Corrupt);
    }
    if server.mistake == Mistake::ChangesByte && rng.one_in(4) {
        text[0] ^= 1;
    }
    if server.mistake == Mistake::AnswersFirst {
        let _ = conn.send(&text);
        rng.spin(20_000);
    }
    let lane = &server.ledger[call.client as usize];
    match lane.received() {
        next if server.mistake == Mistake::CountsAgain => lane.receive(next + 1),
        // The one before was noted by a server that was killed over its answer.
        next if call.number + 1 == next => lane.tell(lane.told() + 1),
        next if call.number == next => lane.receive(next + 1),
        next if call.number > next => return Err(Flaw::Lost),
        _ => return Err(Flaw::Duplicate),
    }
    if server.mistake != Mistake::AnswersFirst {
        match conn.send(text) {
            Err(error) if !error.is_disconnected() => return Err(server.complain("cannot answer", &error)),
            _ => {}
        }
    }
    Ok(if call.last { Heard::Last } else { Heard::Other })
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Caller {
    service: Service,
    client: u64,
    lane: Lane,
    ledger: Lane,
    seed: u64,
}

impl Caller {
    /// Client number `client`, which is on the lane of this number.
    pub(crate) fn new(round: &mut Round, service: &Service, client: u64) -> Caller {
        let (lane, ledger) = (round.lane(client), round.lane(LEDGER + client));
        Caller { service: service.clone(), client, lane, ledger, seed: round.rng.next() }
    }

    fn connect(&self, rng: &mut Rng) -> Result<Option<Connection<Call, Vec<u8>>>, Flaw> {
        let client = self.service.client();
        let conn = match rng.below(4) {
            0 => client.connect(&self.service.address),
            1 => client.connect_timeout(&self.service.address, 4 * SHORT),
            _ => client.retry(true).connect_timeout(&self.service.address, WHILE),
        };
        match conn {
            Ok(conn) => Ok(Some(conn)),
            Err(error) if error.is_not_listening() || error.is_disconnected() || error.is_timeout() => Ok(None),
            Err(error) => {
                eprintln!("client {} cannot connect to {}: {error:?}", self.client, self.service.address);
                Err(Flaw::Wrong)
            }
        }
    }
}

/// Calls again and again: a victim for ever, a survivor until some time after the victim's end.
pub(crate) fn call(caller: Caller) {
    if let Err(flaw) = call_all(&caller) {
        caller.ledger.complain(flaw);
    }
}

fn call_all(caller: &Caller) -> Result<(), Flaw> {
    let mut rng = Rng::new(caller.seed);
    let items = caller.service.items(caller.client);
    let (mut number, mut more) = (0, AFTERWARDS);
    while more > 0 && caller.ledger.flaw().is_none() {
        let Some(mut conn) = caller.connect(&mut rng)? else { continue };
        for _ in 0..1 + rng.below(6) {
            let over = caller.lane.is_over();
            let last = over && more == 1;
            caller.lane.attempt(number + 1);
            let text = items.message(number);
            let sent = conn.send(Call { client: caller.client, number, text, last });
            let answer = match sent.and_then(|()| conn.recv()) {
                Ok(answer) => answer,
                Err(error) if error.is_disconnected() => break, // and is said again
                Err(error) => {
                    eprintln!("client {} is not answered: {error:?}", caller.client);
                    return Err(Flaw::Wrong);
                }
            };
            if answer != items.message(number) {
                return Err(Flaw::Corrupt);
            }
            number += 1;
            caller.lane.acknowledge(number);
            more -= u32::from(over);
            if more == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What the server has noted must be what the clients have said, and all that it has answered.
pub(crate) fn judge_calls(round: &mut Round, clients: &[u64]) {
    for &client in clients {
        let (caller, ledger) = (round.lane(client), round.lane(LEDGER + client));
        if let Some(flaw) = ledger.flaw() {
            round.flaw(flaw, format!("client {client}, {caller:?}: {ledger:?}"));
        }
        if ledger.received() < caller.acknowledged() {
            round.flaw(Flaw::Lost, format!("client {client} was answered, {caller:?}: {ledger:?}"));
        }
        if ledger.received() > caller.attempted() {
            round.flaw(Flaw::Duplicate, format!("client {client}, {caller:?}: {ledger:?}"));
        }
        round.messages(ledger.received());
        round.again(ledger.told());
    }
}
