"""The Python side of the cases in sockets.rs. Standard input is the end of a pipe, to say where somebody listens."""
import os
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener, SocketClient

SIZES = (0, 1, 3, 255, 256, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20)


def python_address(text):
    """An address of ours, as Python writes it."""
    kind, rest = text.split(":", 1)
    if kind == "tcp":
        host, port = rest.rsplit(":", 1)
        return (host, int(port))
    return "\0" + rest if kind == "unix-abstract" else rest


def our_address(address):
    """And the other way round."""
    if isinstance(address, tuple):
        return "tcp:%s:%d" % address
    if isinstance(address, bytes):
        address = os.fsdecode(address)
    return "unix-abstract:" + address[1:] if address[0] == "\0" else "unix:" + address


def key_of(text):
    return text.encode() or None


def echo_patterns(conn, lengths):
    for length in lengths:
        check(conn.recv_bytes(), length, 1)
        conn.send_bytes(pattern(length, 2))


def listens(address, key):
    """Listens, and says where by standard input."""
    listener = Listener(python_address(address), authkey=key_of(key))
    Connection(os.dup(0)).send_bytes(our_address(listener.address).encode())
    return listener


def client_echoes(address, key, *lengths):
    conn = Client(python_address(address), authkey=key_of(key))
    echo_patterns(conn, map(int, lengths) if lengths else SIZES)
    try:
        conn.recv_bytes()
        raise AssertionError("a message that nobody sent")
    except EOFError:
        pass


def listener_echoes(address, key, *lengths):
    with listens(address, key) as listener, listener.accept() as conn:
        echo_patterns(conn, map(int, lengths) if lengths else SIZES)
        try:
            conn.recv_bytes()
            raise AssertionError("a message that nobody sent")
        except EOFError:
            pass


def fails(errors, call):
    try:
        call()
    except errors:
        return
    raise AssertionError("it did not fail")


def client_is_refused(address, key):
    fails(AuthenticationError, lambda: Client(python_address(address), authkey=key_of(key)))


def client_misses_the_challenge(address, key):
    # Which of them depends on the version.
    fails((AuthenticationError, AssertionError), lambda: Client(python_address(address), authkey=key_of(key)))


def listener_refuses(address, key):
    with listens(address, key) as listener:
        fails(AuthenticationError, listener.accept)


def listener_is_left(address, key):
    with listens(address, key) as listener:
        fails((EOFError, ConnectionError), listener.accept)


def listener_sees_no_message(address, key):
    with listens(address, key) as listener, listener.accept() as conn:
        fails((EOFError, ConnectionError), conn.recv_bytes)


def keyless_client_talks(address):
    conn = Client(python_address(address))
    assert conn.recv_bytes().startswith(b"#CHALLENGE#")
    conn.send_bytes(b"what is that?")
    assert conn.recv_bytes() == b"#FAILURE#"
    fails((EOFError, ConnectionError), conn.recv_bytes)


def client_hangs(address):
    line = Connection(0)
    conn = SocketClient(python_address(address))
    line.send_bytes(b"here")
    fails(EOFError, line.recv_bytes)
    conn.close()
