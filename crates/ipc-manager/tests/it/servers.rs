use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ipc_core::{Bytes, Connection};
use ipc_manager::{Error, List, Manager};
use ipc_socket::{Client, Listener, Peer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{LATE, LONG, SHORT, both, server, takes, wait_for_objects, wait_for_waiting, wait_until};

type Raw = Connection<Vec<u8>, Vec<u8>, Bytes>;

#[test]
fn who_cannot_be_reached_or_does_not_let_in_is_an_error() {
    let server = server();
    assert!(matches!(Manager::connect(server.address(), "wrong"), Err(Error::Connect(_))));
    assert!(matches!(Manager::connect(server.address(), ""), Err(Error::Connect(_))));
    assert!(matches!(Manager::connect("unix-abstract:nobody is here", "key"), Err(Error::Connect(_))));
    assert!(matches!(Manager::connect("nonsense", "key"), Err(Error::Connect(_))));
    assert!(matches!(Manager::serve("unix-abstract:", ""), Err(Error::Listen(_))));
    assert!(matches!(Manager::serve(server.address(), "key"), Err(Error::Listen(_))));
    assert!(matches!(Manager::builder().serve("unix-abstract:"), Err(Error::Listen(_))));
    assert!(Manager::builder().start("nonsense").is_err());
    assert!(Manager::builder().start(server.address()).is_err(), "somebody listens there");
    Manager::connect(server.address(), "key").unwrap();
}

#[test]
fn a_server_can_be_anywhere() {
    for address in ["unix:", "unix-abstract:", "tcp:127.0.0.1:0", "tcp:[::1]:0"] {
        let server = Manager::serve(address, "key").unwrap();
        let manager = Manager::connect(server.address(), "key").unwrap();
        let list = manager.list_of([vec![1u8; 1_000_000]]).unwrap();
        assert_eq!(list.get(0).unwrap().unwrap().len(), 1_000_000, "{address}");
        let copy: List<Vec<u8>> = postcard::from_bytes(&postcard::to_stdvec(&list).unwrap()).unwrap();
        assert_eq!(copy.len().unwrap(), 1);
    }
}

#[test]
fn a_server_ends_for_all_when_it_is_told_to_or_dropped() {
    let (server, manager) = both();
    let (list, event) = (manager.list::<u8>().unwrap(), manager.event().unwrap());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| event.wait_timeout(LONG));
        wait_for_waiting(&manager, 1);
        manager.shutdown().unwrap();
        assert!(waiter.join().unwrap().unwrap_err().is_disconnected());
    });
    wait_until(|| server.is_over(), || "it is not over".into());
    assert!(list.len().unwrap_err().is_disconnected());
    server.join();

    let (server, manager) = both();
    drop(server);
    let error = manager.stats().unwrap_err();
    assert!(error.is_disconnected(), "{error:?}");
    // Then there is nobody to connect to any more, either.
    assert!(matches!(manager.stats(), Err(Error::Connect(_) | Error::Disconnected)));
}

#[test]
fn a_request_that_is_too_long_is_an_error_and_no_more_than_that() {
    let server = Manager::builder().authkey("key").max_message(10_000).serve("unix-abstract:").unwrap();
    let manager = server.manager().unwrap();
    let list = manager.list::<Vec<u8>>().unwrap();
    assert!(matches!(list.push(&vec![0; 10_000]), Err(Error::TooLarge { max: 10_000, .. })));
    let queue = manager.queue::<Vec<u8>>().unwrap();
    assert!(matches!(queue.put(&vec![0; 10_000]), Err(Error::TooLarge { .. })));
    assert!(matches!(queue.put_timeout(&vec![0; 10_000], SHORT), Err(Error::TooLarge { .. })));
    // The longest that fits comes back, too, in any kind of answer.
    let longest = (9_900..10_000).rev().find(|len| list.push(&vec![7; *len]).is_ok()).unwrap();
    assert_eq!(list.to_vec().unwrap()[0].len(), longest);
    assert_eq!(list.pop().unwrap().unwrap().len(), longest);
    assert_eq!((list.len().unwrap(), server.stats().clients), (0, 1), "the process is still known");
}

/// Speaks the protocol as far as its bytes say.
fn fake(serve: impl FnOnce(Raw, &Listener<Vec<u8>, Vec<u8>, Bytes>) + Send + 'static) -> ipc_manager::Address {
    let listener = Listener::builder().authkey("key").bind("unix-abstract:").unwrap();
    let address = listener.address().clone();
    thread::spawn(move || serve(listener.accept_timeout(LONG).unwrap(), &listener));
    address
}

/// Answers the first message: version 1, session 5, messages of up to 1 MiB, and a number of its own.
fn welcome(connection: &mut Raw) {
    static SERVERS: AtomicU8 = AtomicU8::new(1);
    connection.recv_timeout(LONG).unwrap();
    let server = SERVERS.fetch_add(1, Ordering::Relaxed);
    connection.send(vec![1, 1, 1, 5, 0x80, 0x80, 0x40, server]).unwrap();
}

#[test]
fn a_server_that_does_not_answer_is_a_timeout() {
    let (end, ended) = mpsc::channel::<()>();
    let address = fake(move |mut connection, _| {
        welcome(&mut connection);
        let _ = ended.recv();
    });
    let manager = Manager::connect(address, "key").unwrap();
    manager.set_call_timeout(SHORT);
    assert!(takes(SHORT, || manager.stats()).unwrap_err().is_timeout());
    assert!(takes(SHORT, || manager.list::<u8>()).unwrap_err().is_timeout());
    drop(end);
    wait_until(|| manager.stats().unwrap_err().is_disconnected(), || "nobody is there".into());
}

#[test]
fn waiting_calls_end_in_time_though_the_server_says_nothing() {
    let (end, ended) = mpsc::channel::<()>();
    let address = fake(move |mut connection, listener| {
        welcome(&mut connection);
        // An object for each that is asked for; their numbers do not matter.
        for id in 2..=6 {
            connection.recv_timeout(LONG).unwrap();
            connection.send(vec![id, 2, 7]).unwrap();
        }
        let _ = ended.recv();
        drop((connection, listener.try_accept()));
    });
    let manager = Manager::connect(address, "key").unwrap();
    let (queue, lock) = (manager.queue::<u8>().unwrap(), manager.lock().unwrap());
    let (event, barrier) = (manager.event().unwrap(), manager.barrier(2).unwrap());
    let seats = manager.semaphore(1).unwrap();
    assert!(takes(SHORT, || queue.get_timeout(SHORT)).unwrap_err().is_timeout());
    assert!(takes(SHORT, || queue.put_timeout(&1, SHORT)).unwrap_err().is_timeout());
    assert!(takes(SHORT, || lock.lock_timeout(SHORT)).unwrap_err().is_timeout());
    assert!(takes(SHORT, || event.wait_timeout(SHORT)).unwrap_err().is_timeout());
    assert!(takes(SHORT, || barrier.wait_timeout(SHORT)).unwrap_err().is_timeout());
    assert!(takes(SHORT, || seats.acquire_timeout(SHORT)).unwrap_err().is_timeout());
    // Longer than a waiting call is silent, and shorter than it would wait for the server.
    let six = Duration::from_secs(6);
    assert!(takes(six, || event.wait_timeout(six)).unwrap_err().is_timeout());
    drop(end);
}

#[test]
fn answers_that_are_nonsense_are_errors() {
    let address = fake(|mut connection, _| {
        welcome(&mut connection);
        connection.recv_timeout(LONG).unwrap();
        connection.send(vec![2, 200, 200]).unwrap();
        let _ = connection.recv_timeout(LONG);
    });
    let manager = Manager::connect(address, "key").unwrap();
    assert!(matches!(manager.stats(), Err(Error::Protocol)));
    let address = fake(|mut connection, _| {
        connection.recv_timeout(LONG).unwrap();
        connection.send(vec![0, 11, 0, 9]).unwrap(); // a fault: another version
        let _ = connection.recv_timeout(LONG);
    });
    assert!(matches!(Manager::connect(address, "key"), Err(Error::Version(9))));
}

/// The process of a server that was started.
fn process_of(manager: &Manager) -> Pid {
    let raw: Raw = Client::builder().authkey(manager.authkey()).connect(manager.address()).unwrap();
    match Peer::of(&raw).unwrap() {
        Peer::Local { pid, .. } => Pid::from_raw(i32::try_from(pid).unwrap()),
        other => panic!("{other:?}"),
    }
}

struct Stopped(Pid);

impl Stopped {
    fn new(pid: Pid) -> Stopped {
        kill(pid, Signal::SIGSTOP).unwrap();
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGCONT).unwrap();
    }
}

#[test]
fn a_server_that_was_stopped_for_a_while_goes_on_with_all_that_it_had() {
    let manager = Manager::start().unwrap();
    let (queue, lock) = (manager.queue::<u32>().unwrap(), manager.lock().unwrap());
    let (lists, condition) = (manager.list::<List<u32>>().unwrap(), manager.condition().unwrap());
    lists.push(&manager.list_of([1]).unwrap()).unwrap();
    let held = manager.rlock().unwrap();
    let guard = held.lock().unwrap();
    let pid = process_of(&manager);
    manager.set_call_timeout(SHORT);
    {
        let _stopped = Stopped::new(pid);
        let late = |least: Duration, result: Result<(), Error>| {
            assert!(result.as_ref().is_err_and(Error::is_timeout), "{result:?} after {least:?}");
        };
        late(SHORT, takes(SHORT, || queue.get_timeout(SHORT).map(drop)));
        late(SHORT, takes(SHORT, || lock.lock_timeout(SHORT).map(drop)));
        late(SHORT, takes(SHORT, || lock.try_lock().map(drop)));
        late(SHORT, takes(SHORT, || lists.get(0).map(drop)));
        late(SHORT, takes(SHORT, || manager.list::<u8>().map(drop)));
        let mut batch = manager.batch();
        (0..10).for_each(|_| drop(batch.add(lists.later().get(0))));
        late(SHORT, takes(SHORT, || batch.send().map(drop)));
    }
    manager.set_call_timeout(LONG);
    // Nothing was lost, and what was given to nobody is nobody's.
    queue.put(&7).unwrap();
    assert_eq!(queue.get().unwrap(), 7);
    drop(lock.lock_timeout(LONG).unwrap());
    assert!(held.is_locked().unwrap());
    drop(guard);
    assert!(!held.is_locked().unwrap());
    assert_eq!(lists.pop().unwrap().unwrap().to_vec().unwrap(), [1]);
    drop((queue, lock, held, lists, condition));
    wait_until(|| manager.stats().unwrap().objects.is_empty(), || format!("{:?}", manager.stats().unwrap().objects));
    assert_eq!(manager.stats().unwrap().clients, 1);
}

#[test]
fn a_server_that_is_killed_is_gone_for_every_call() {
    let manager = Manager::start().unwrap();
    let (event, list) = (manager.event().unwrap(), manager.list::<u8>().unwrap());
    let pid = process_of(&manager);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| event.wait_timeout(LONG));
        wait_for_waiting(&manager, 1);
        kill(pid, Signal::SIGKILL).unwrap();
        assert!(waiter.join().unwrap().unwrap_err().is_disconnected());
    });
    let error = list.push(&1).unwrap_err();
    assert!(matches!(error, Error::Disconnected | Error::Connect(_)), "{error:?}");
}

#[test]
fn dropping_the_starter_ends_the_server_also_a_stopped_one() {
    let manager = Manager::start().unwrap();
    let (address, key) = (manager.address().clone(), manager.authkey().to_vec());
    Manager::connect(&address, key.clone()).unwrap();
    let copy = manager.clone();
    drop(manager);
    assert_eq!(copy.stats().unwrap().clients, 1, "a copy keeps it");
    let pid = process_of(&copy);
    kill(pid, Signal::SIGSTOP).unwrap();
    let start = std::time::Instant::now();
    drop(copy);
    assert!(start.elapsed() < Duration::from_secs(4) + LATE);
    assert!(kill(pid, None).is_err(), "the process is gone");
    assert!(matches!(Manager::connect(&address, key), Err(Error::Connect(_))));
}

/// Panics when it is encoded, or decoded, if so told.
#[derive(Clone, Debug, PartialEq)]
struct Moody(u8);

impl serde::Serialize for Moody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 1, "not to be encoded");
        serializer.serialize_u8(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        assert_ne!(number, 2, "not to be decoded");
        Ok(Moody(number))
    }
}

#[test]
fn a_panic_in_a_values_own_code_leaves_everything_as_it_was() {
    let (server, manager) = both();
    let list = manager.list::<(List<u8>, Moody)>().unwrap();
    let (queue, lock) = (manager.queue::<Moody>().unwrap(), manager.lock().unwrap());
    let value = manager.value(Moody(3)).unwrap();
    let inner = || manager.list::<u8>().unwrap();
    fn panics<R>(call: impl FnOnce() -> R) {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    }
    for _ in 0..20 {
        panics(|| list.push(&(inner(), Moody(1))));
        list.push(&(inner(), Moody(2))).unwrap();
        panics(|| list.get(0));
        panics(|| list.to_vec());
        panics(|| list.pop());
        queue.put(&Moody(2)).unwrap();
        panics(|| queue.get());
        panics(|| queue.put(&Moody(1)));
        panics(|| value.update(|_| panic!("in between")));
        panics(|| {
            let _guard = lock.lock().unwrap();
            panic!("with the lock");
        });
    }
    assert!(!lock.is_locked().unwrap());
    assert_eq!(value.get().unwrap(), Moody(3));
    assert_eq!((list.len().unwrap(), queue.len().unwrap()), (0, 0));
    wait_for_objects(&server, 4);
    assert_eq!(server.stats().clients, 1);
    // A proxy encoded now goes elsewhere, not into a value that never came to be.
    let bytes = postcard::to_stdvec(&lock).unwrap();
    drop(postcard::from_bytes::<ipc_manager::Lock>(&bytes).unwrap());
}

#[test]
fn many_threads_are_one_process() {
    let (server, manager) = both();
    let (event, count) = (manager.event().unwrap(), manager.value(0).unwrap());
    thread::scope(|scope| {
        let all: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    event.wait_timeout(LONG).unwrap();
                    count.update(|n| n + 1).unwrap()
                })
            })
            .collect();
        wait_until(|| server.stats().connections >= 50, || format!("{:?}", server.stats()));
        assert_eq!(server.stats().clients, 1);
        event.set().unwrap();
        all.into_iter().for_each(|one| assert!(one.join().unwrap() <= 50));
    });
    assert_eq!(count.get().unwrap(), 50);
    wait_until(|| server.stats().connections <= 9, || format!("{:?}", server.stats()));
}

/// Lets a raw connection in, as one of a process of its own.
fn greeted(manager: &Manager) -> Raw {
    let mut raw: Raw = Client::builder().authkey(manager.authkey()).connect(manager.address()).unwrap();
    raw.send(HELLO.to_vec()).unwrap();
    raw.recv_timeout(LONG).unwrap();
    raw
}

/// No event comes for the end alone when the last words came with it.
#[test]
fn clients_that_ask_and_die_while_the_server_looks_away_leave_nothing_behind() {
    let manager = Manager::start().unwrap();
    let clients: Vec<Raw> = (0..8).map(|_| greeted(&manager)).collect();
    assert_eq!(manager.stats().unwrap().clients, 9);
    let stopped = Stopped::new(process_of(&manager));
    for mut client in clients {
        client.send(CONFIRM.to_vec()).unwrap(); // no answer, which would find out
    }
    drop(stopped);
    wait_until(|| manager.stats().unwrap().clients == 1, || format!("{:?}", manager.stats()));
}

/// Without reading an answer it asks for 200 MB.
#[test]
fn who_does_not_read_is_not_answered_without_end_and_holds_up_nobody() {
    let (server, manager) = both();
    let list = manager.list_of([vec![0u8; 1_000_000]]).unwrap();
    let mut raw = greeted(&manager);
    let number = u8::try_from(server.stats().objects[0].number).unwrap();
    let calls = server.stats().calls;
    let get = GET.map(|byte| if byte == OBJECT { number } else { byte }).to_vec();
    raw.send_many((0..200).map(|_| get.clone())).unwrap(); // as one piece, which the kernel takes
    wait_until(|| server.stats().calls > calls, || format!("{:?}", server.stats()));
    // It is read from until four megabytes are on their way, and not beyond.
    for _ in 0..100 {
        assert_eq!(list.len().unwrap(), 1);
    }
    let served = server.stats().calls - calls - 100;
    assert!((4..30).contains(&served), "{served} requests of 200 were served");
    for _ in 0..200 {
        assert!(raw.recv_timeout(LONG).unwrap().len() > 1_000_000);
    }
    assert_eq!(list.len().unwrap(), 1);
}

/// Number, what is asked for, what belongs to that: version 1, no session, process 1.
const HELLO: [u8; 5] = [1, 0, 1, 0, 1];
const CONFIRM: [u8; 2] = [2, 1];
const OBJECT: u8 = 0xff;
/// Number, `On`, object, `Get`, index.
const GET: [u8; 5] = [9, 12, OBJECT, 4, 0];
