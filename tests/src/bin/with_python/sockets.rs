//! `Client` and `Listener` of `multiprocessing.connection` at the other end of ours.

use std::error::Error;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ipc_socket::{Address, Bytes, Client, ClientBuilder, Connection, ConnectionError, Error as SocketError, Listener};
use ipc_socket::{ListenerBuilder, Refusal};

use crate::interpreters::Interpreter;
use crate::peer::{PATIENCE, Peer};
use crate::{Case, LONG, Pipe, check, pattern, start};

pub(crate) const CASES: &[Case] = &[
    ("a client of Python at our listener", |python| client_comes(python, "key")),
    ("our client at a listener of Python", |python| listener_is_there(python, "key")),
    ("a client of Python, without keys", |python| client_comes(python, "")),
    ("a listener of Python, without keys", |python| listener_is_there(python, "")),
    ("a client of Python, 64 MiB", |python| client_of(python, &Place::new(Kind::Path)?, "key", &[LONG])),
    ("a listener of Python, 64 MiB", |python| listener_of(python, &Place::new(Kind::Tcp)?, "key", &[LONG])),
    ("keys of a kilobyte, and of bytes over 127", odd_keys),
    ("a client of Python with another key", client_with_another_key),
    ("a listener of Python with another key", listener_with_another_key),
    ("a client of Python without the key", client_without_key),
    ("a listener of Python, our client without the key", listener_and_no_key),
    ("a client of Python with a key that nobody asks for", client_with_needless_key),
    ("a listener of Python that asks for no key", listener_without_key),
    ("MD5 is refused by our listener", client_and_md5),
    ("MD5 is refused by our client", listener_and_md5),
    ("a client of Python that hangs", client_that_hangs),
];

/// Around what Python and we do in different ways: the lengths of headers and of buffers.
const SIZES: [usize; 12] = [0, 1, 3, 255, 256, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20];
const SHORT: Duration = Duration::from_millis(200);
/// The first version that can do more than MD5.
const SHA256_SINCE: u32 = 12;
/// The first version that knows names that are no files.
const ABSTRACT_SINCE: u32 = 9;

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;
type Server = Listener<Vec<u8>, Vec<u8>, Bytes>;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Path,
    Abstract,
    Tcp,
}

/// Where somebody is to listen; its folder is removed with it.
struct Place {
    address: String,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    fn new(kind: Kind) -> Result<Place> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("socket");
        Ok(match kind {
            Kind::Path => Place { address: Address::unix(path).to_string(), _folder: Some(folder) },
            // The folder's name is nobody else's, either.
            Kind::Abstract => Place { address: format!("unix-abstract:{}", path.display()), _folder: Some(folder) },
            Kind::Tcp => Place { address: "tcp:127.0.0.1:0".into(), _folder: None },
        })
    }
}

fn places(python: &Interpreter) -> Result<Vec<Place>> {
    let mut kinds = vec![Kind::Path, Kind::Tcp];
    if python.minor() >= ABSTRACT_SINCE {
        kinds.push(Kind::Abstract);
    }
    kinds.into_iter().map(Place::new).collect()
}

/// Python's `authkey=None` is an empty text here.
fn listener(key: &str) -> ListenerBuilder {
    match key {
        "" => Listener::builder(),
        key => Listener::builder().authkey(key),
    }
}

fn client(key: &str) -> ClientBuilder {
    match key {
        "" => Client::builder(),
        key => Client::builder().authkey(key),
    }
}

/// A listener that tells whom it does not let in.
fn guarded(builder: ListenerBuilder, place: &Place) -> Result<(Server, mpsc::Receiver<String>)> {
    let (sender, refusals) = mpsc::channel();
    let tell = move |refusal: &Refusal| drop(sender.send(format!("{:?}", refusal.error)));
    Ok((builder.on_refused(tell).bind(place.address.as_str())?, refusals))
}

/// A Python that runs a function which gets an address first, and standard input that nobody writes to.
fn client_of_python(python: &Interpreter, function: &str, at: &Address, more: &[&str]) -> Result<(Pipe, Peer)> {
    let address = at.to_string();
    start(python, &[&[function, address.as_str()], more].concat())
}

/// A Python that listens, and where.
fn listener_of_python(python: &Interpreter, function: &str, place: &Place, more: &[&str]) -> Result<(Address, Peer)> {
    let (mut line, peer) = start(python, &[&[function, place.address.as_str()], more].concat())?;
    // If it has failed, it says why.
    match line.recv_timeout(PATIENCE) {
        Ok(text) => Ok((String::from_utf8(text)?.parse()?, peer)),
        Err(error) => Err(peer.finish().err().unwrap_or_else(|| error.into())),
    }
}

/// What cannot be sent in time, and cannot be received in time, is an error.
fn exchange(conn: &mut Pipe, sizes: &[usize]) -> Result {
    for len in sizes {
        conn.send_timeout(pattern(*len, 1), PATIENCE)?;
        check(&conn.recv_timeout(PATIENCE)?, *len, 2)?;
    }
    Ok(())
}

fn client_of(python: &Interpreter, place: &Place, key: &str, sizes: &[usize]) -> Result {
    let server: Server = listener(key).bind(place.address.as_str())?;
    let lengths: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let more: Vec<&str> = std::iter::once(key).chain(lengths.iter().map(String::as_str)).collect();
    let (_line, peer) = client_of_python(python, "client_echoes", server.address(), &more)?;
    let mut conn = match server.accept_timeout(PATIENCE) {
        Ok(conn) => conn,
        Err(error) => return Err(peer.finish().err().unwrap_or_else(|| error.into())),
    };
    exchange(&mut conn, sizes)?;
    drop(conn);
    peer.finish()
}

fn listener_of(python: &Interpreter, place: &Place, key: &str, sizes: &[usize]) -> Result {
    let lengths: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let more: Vec<&str> = std::iter::once(key).chain(lengths.iter().map(String::as_str)).collect();
    let (address, peer) = listener_of_python(python, "listener_echoes", place, &more)?;
    let mut conn = client(key).connect_timeout(address, PATIENCE)?;
    exchange(&mut conn, sizes)?;
    drop(conn);
    peer.finish()
}

fn client_comes(python: &Interpreter, key: &str) -> Result {
    places(python)?.iter().try_for_each(|place| client_of(python, place, key, &SIZES))
}

fn listener_is_there(python: &Interpreter, key: &str) -> Result {
    places(python)?.iter().try_for_each(|place| listener_of(python, place, key, &SIZES))
}

/// Longer than a block of the digests, exactly as long, and no text of one byte a letter.
fn odd_keys(python: &Interpreter) -> Result {
    let place = Place::new(Kind::Path)?;
    for key in ["k".repeat(1024), "k".repeat(64), "k".repeat(65), "Schlüssel 鍵".to_owned()] {
        client_of(python, &place, &key, &[3])?;
        listener_of(python, &place, &key, &[3])?;
    }
    Ok(())
}

/// Accepts until somebody is refused, and says why.
fn refusal(server: &Server, refusals: &mpsc::Receiver<String>) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match server.accept_timeout(SHORT / 10) {
            Err(SocketError::Timeout) => {}
            other => return Err(format!("it was let in: {other:?}").into()),
        }
        match refusals.try_recv() {
            Ok(why) => return Ok(why),
            Err(_) if Instant::now() > deadline => return Err("nobody was refused in time".into()),
            Err(_) => {}
        }
    }
}

fn is(what: &str, right: bool) -> Result {
    if right { Ok(()) } else { Err(format!("in place of the error came {what}").into()) }
}

fn client_with_another_key(python: &Interpreter) -> Result {
    for place in places(python)? {
        let (server, refusals) = guarded(listener("key"), &place)?;
        let (_line, peer) = client_of_python(python, "client_is_refused", server.address(), &["kez"])?;
        let why = refusal(&server, &refusals)?;
        is(&why, why == "WrongKey")?;
        peer.finish()?;
    }
    Ok(())
}

fn listener_with_another_key(python: &Interpreter) -> Result {
    for place in places(python)? {
        let (address, peer) = listener_of_python(python, "listener_refuses", &place, &["kez"])?;
        let result: Result<Pipe, _> = client("key").connect_timeout(address, PATIENCE);
        is(&format!("{result:?}"), matches!(result, Err(SocketError::KeyRefused)))?;
        peer.finish()?;
    }
    Ok(())
}

fn client_without_key(python: &Interpreter) -> Result {
    for place in places(python)? {
        let (server, refusals) = guarded(listener("key"), &place)?;
        let (_line, peer) = client_of_python(python, "keyless_client_talks", server.address(), &[])?;
        let why = refusal(&server, &refusals)?;
        is(&why, why.starts_with("Protocol"))?;
        peer.finish()?;
    }
    Ok(())
}

fn listener_and_no_key(python: &Interpreter) -> Result {
    for place in places(python)? {
        let (address, peer) = listener_of_python(python, "listener_is_left", &place, &["key"])?;
        let mut conn: Pipe = client("").connect_timeout(address, PATIENCE)?;
        let result = conn.recv_timeout(PATIENCE);
        is(&format!("{result:?}"), matches!(result, Err(ConnectionError::KeyRequired)))?;
        drop(conn);
        peer.finish()?;
    }
    Ok(())
}

fn client_with_needless_key(python: &Interpreter) -> Result {
    for place in places(python)? {
        let server: Server = listener("").bind(place.address.as_str())?;
        let (_line, peer) = client_of_python(python, "client_misses_the_challenge", server.address(), &["key"])?;
        server.accept_timeout(PATIENCE)?.send_timeout(b"welcome, what a nice day".to_vec(), PATIENCE)?;
        peer.finish()?;
    }
    Ok(())
}

fn listener_without_key(python: &Interpreter) -> Result {
    for place in places(python)? {
        let (address, peer) = listener_of_python(python, "listener_sees_no_message", &place, &[""])?;
        let result: Result<Pipe, _> = client("key").handshake_timeout(SHORT).connect_timeout(address, PATIENCE);
        is(&format!("{result:?}"), matches!(result, Err(SocketError::Silent)))?;
        peer.finish()?;
    }
    Ok(())
}

fn client_and_md5(python: &Interpreter) -> Result {
    let place = Place::new(Kind::Tcp)?;
    let (server, refusals) = guarded(listener("key").refuse_md5(), &place)?;
    if python.minor() < SHA256_SINCE {
        let (_line, peer) = client_of_python(python, "client_is_refused", server.address(), &["key"])?;
        let why = refusal(&server, &refusals)?;
        is(&why, why == "WeakDigest")?;
        return peer.finish();
    }
    let (_line, peer) = client_of_python(python, "client_echoes", server.address(), &["key", "3"])?;
    exchange(&mut server.accept_timeout(PATIENCE)?, &[3])?;
    peer.finish()
}

fn listener_and_md5(python: &Interpreter) -> Result {
    let (old, place) = (python.minor() < SHA256_SINCE, Place::new(Kind::Path)?);
    let (function, more) =
        if old { ("listener_is_left", &["key"][..]) } else { ("listener_echoes", &["key", "3"][..]) };
    let (address, peer) = listener_of_python(python, function, &place, more)?;
    let result: Result<Pipe, _> = client("key").refuse_md5().connect_timeout(address, PATIENCE);
    match result {
        Ok(mut conn) if !old => exchange(&mut conn, &[3])?,
        result => is(&format!("{result:?}"), old && matches!(result, Err(SocketError::WeakDigest)))?,
    }
    peer.finish()
}

fn client_that_hangs(python: &Interpreter) -> Result {
    for place in places(python)? {
        let (server, refusals) = guarded(listener("key"), &place)?;
        let (mut line, hanging) = client_of_python(python, "client_hangs", server.address(), &[])?;
        line.recv_timeout(PATIENCE)?;
        let (_line, peer) = client_of_python(python, "client_echoes", server.address(), &["key", "3", "256"])?;
        let mut conn: Connection<Vec<u8>, Vec<u8>, Bytes> = server.accept_timeout(PATIENCE)?;
        exchange(&mut conn, &[3, 256])?;
        drop(conn);
        peer.finish()?;
        is("a refusal", refusals.try_recv().is_err())?; // it hangs still
        drop(line);
        let why = refusal(&server, &refusals)?;
        is(&why, why == "Disconnected")?;
        hanging.finish()?;
    }
    Ok(())
}
