"""The Python side of the cases in main.rs. Each function gets the end of a pipe as standard input."""
import sys
from multiprocessing import BufferTooShort
from multiprocessing.connection import Connection, wait

MANY = 1000
LONG = 64 << 20
PATIENCE = 30


def pattern(length, seed):
    base = bytes((7 * i + seed) % 256 for i in range(251))
    return (base * (length // 251 + 1))[:length]


def check(data, length, seed):
    assert data == pattern(length, seed), "%d bytes came, %d were expected, or others" % (len(data), length)


def both_ways(length):
    pipe = Connection(0)
    check(pipe.recv_bytes(), int(length), 1)
    pipe.send_bytes(pattern(int(length), 2))


def into():
    pipe = Connection(0)
    buffer = bytearray(100)
    assert pipe.recv_bytes_into(buffer, 10) == 50
    assert buffer == bytes(10) + pattern(50, 1) + bytes(40)
    long = bytearray(LONG)
    assert pipe.recv_bytes_into(long) == LONG - 1
    check(long[:-1], LONG - 1, 2)
    try:
        pipe.recv_bytes_into(bytearray(10))
        raise AssertionError("10 bytes were enough for 11")
    except BufferTooShort as error:
        check(error.args[0], 11, 3)
    pipe.send_bytes(pattern(LONG, 4))
    pipe.send_bytes(pattern(11, 5))


def we_close():
    pipe = Connection(0)
    check(pipe.recv_bytes(), 5, 1)
    try:
        pipe.recv_bytes()
        raise AssertionError("a message that nobody sent")
    except EOFError:
        pass


def python_closes():
    pipe = Connection(0)
    pipe.send_bytes(pattern(5, 1))
    pipe.close()


def sends_long():
    pipe = Connection(0)
    pipe.send_bytes(b"now")
    pipe.send_bytes(pattern(LONG, 1))


def simplex_to_python():
    pipe = Connection(0, writable=False)
    for length in (0, 1, 16385, LONG):
        check(pipe.recv_bytes(), length, 1)
    try:
        pipe.recv_bytes()
        raise AssertionError("a message that nobody sent")
    except EOFError:
        pass


def simplex_from_python():
    pipe = Connection(0, readable=False)
    for length in (0, 1, 16385, LONG):
        pipe.send_bytes(pattern(length, 1))


def many_to_python():
    pipe = Connection(0)
    for i in range(MANY):
        assert pipe.recv_bytes() == b"message %d" % i
    assert not pipe.poll()
    pipe.send_bytes(b"all")


def many_from_python():
    pipe = Connection(0)
    for i in range(MANY):
        pipe.send_bytes(b"message %d" % i)
    assert pipe.recv_bytes() == b"all"


def polls():
    pipe = Connection(0)
    assert not pipe.poll()
    assert not pipe.poll(0.05)
    pipe.send_bytes(b"nothing there")
    assert pipe.poll(PATIENCE)
    assert wait([pipe], PATIENCE) == [pipe]
    assert pipe.recv_bytes() == b"something"
    assert not pipe.poll(0)
    assert pipe.recv_bytes() == b"answer"
    pipe.send_bytes(b"answered")
    assert pipe.poll(PATIENCE)  # the end of the stream
    try:
        pipe.recv_bytes()
        raise AssertionError("a message that nobody sent")
    except EOFError:
        pass
