"""Times multiprocessing's locks, shared memory, queues, connections and managers from inside, and prints a figure in the unit of its group."""

import multiprocessing
import os
import signal
import sys
from itertools import count as numbers, repeat
from multiprocessing.connection import Client, Listener
from multiprocessing.managers import SyncManager
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter_ns

# A script without a file of its own cannot be started anew, as later versions would do. To the locks it makes no difference.
context = multiprocessing.get_context("fork")


def alone(thing, warm_up, length):
    """Of an acquire and a release together, in nanoseconds."""
    acquire, release = thing.acquire, thing.release

    def batch():
        for _ in repeat(None, 1024):
            acquire()
            release()

    run(batch, warm_up)
    batches, elapsed = run(batch, length)
    return elapsed / (1024 * batches)


def contended(lock, warm_up, length, cpu):
    """Of an increment, while two processes do nothing else, in nanoseconds."""
    acquire, release = lock.acquire, lock.release
    count, stop = context.RawValue("Q", 0), context.RawValue("b", 0)
    ours, theirs = context.Pipe()

    def batch():
        for _ in repeat(None, 64):
            acquire()
            count.value += 1
            release()

    def work():
        end_some_time()
        os.sched_setaffinity(0, {cpu})
        theirs.send(None)
        batches = 0
        while not stop.value:
            batch()
            batches += 1
        theirs.send(batches)

    peer = context.Process(target=work, daemon=True)
    peer.start()
    theirs.close()  # so that a peer that dies is the end of the connection
    ours.recv()
    warmed_up, _ = run(batch, warm_up)
    before, start = count.value, perf_counter_ns()
    batches, _ = run(batch, length)
    done, elapsed = count.value - before, perf_counter_ns() - start
    stop.value = 1
    expected = 64 * (warmed_up + batches + ours.recv())
    peer.join()
    if count.value != expected:
        sys.exit(f"{expected} increments made {count.value}")
    return elapsed / done


def value(warm_up, length):
    """Of an increment under the lock, in nanoseconds."""
    number = context.Value("Q", 0)
    lock = number.get_lock()

    def batch():
        for _ in repeat(None, 1024):
            with lock:
                number.value += 1

    warmed_up, _ = run(batch, warm_up)
    batches, elapsed = run(batch, length)
    if number.value != 1024 * (warmed_up + batches):
        sys.exit(f"{1024 * (warmed_up + batches)} increments made {number.value}")
    return elapsed / (1024 * batches)


def segment(warm_up, length):
    """Of making, using and removing 4 KiB with a name, in microseconds."""
    name = f"ipc-bench-python-{os.getpid()}"

    def batch():
        for _ in repeat(None, 16):
            memory = SharedMemory(name, create=True, size=4096)
            memory.buf[0] = 1
            memory.close()
            memory.unlink()

    run(batch, warm_up)
    batches, elapsed = run(batch, length)
    return elapsed / (16 * batches) / 1000


def queue(warm_up, length, cpu):
    """Of messages of 64 bytes that arrive from another process, in a second."""
    # Both processes on both processors, as the sending one has a thread more: kept apart, they are slower.
    os.sched_setaffinity(0, os.sched_getaffinity(0) | {cpu})
    # Bounded: without a limit the sending thread hardly comes to send.
    messages, expected = context.Queue(1000), numbers()

    def work():
        end_some_time()
        for n in numbers():
            messages.put(n.to_bytes(64, "little"))

    def batch():
        for _ in repeat(None, 64):
            message = messages.get()
            if len(message) != 64 or int.from_bytes(message, "little") != next(expected):
                sys.exit("a message is wrong")

    peer = context.Process(target=work, daemon=True)
    peer.start()
    run(batch, warm_up)
    batches, elapsed = run(batch, length)
    peer.kill()
    peer.join()
    return 64 * batches / (elapsed / 1e9)


def echoes(family, warm_up, length):
    """Of a round trip of 64 bytes between a listener and a client, in nanoseconds."""
    listener, asked = Listener(family=family), numbers()

    def work():
        end_some_time()
        with Client(listener.address) as conn:
            while True:
                conn.send_bytes(conn.recv_bytes())

    peer = context.Process(target=work, daemon=True)
    peer.start()
    conn = listener.accept()

    def batch():
        for _ in repeat(None, 64):
            message = next(asked).to_bytes(64, "little")
            conn.send_bytes(message)
            if conn.recv_bytes() != message:
                sys.exit(f"another answer than {message}")

    run(batch, warm_up)
    batches, elapsed = run(batch, length)
    peer.kill()
    peer.join()
    listener.close()
    return elapsed / (64 * batches)


def visitors(warm_up, length):
    """Of connections, each with the exchange of keys, a byte there and back, and its end, from eight processes, in a second."""
    listener = Listener(family="AF_UNIX", backlog=8, authkey=b"the key of the benchmark")

    def work():
        end_some_time()
        for n in numbers():
            message = bytes([n % 256])
            with Client(listener.address, authkey=b"the key of the benchmark") as conn:
                conn.send_bytes(message)
                if conn.recv_bytes() != message:
                    sys.exit(f"another answer than {message}")

    peers = [context.Process(target=work, daemon=True) for _ in range(8)]
    for peer in peers:
        peer.start()

    def batch():
        for _ in repeat(None, 16):
            with listener.accept() as conn:
                conn.send_bytes(conn.recv_bytes())

    run(batch, warm_up)
    batches, elapsed = run(batch, length)
    for peer in peers:
        peer.kill()
    for peer in peers:
        peer.join()
    listener.close()
    return 16 * batches / (elapsed / 1e9)


def manager(warm_up, length, cpu):
    """Of a get, from a dictionary in a manager's process, in nanoseconds."""

    def begin():
        end_some_time()
        os.sched_setaffinity(0, {cpu})

    server = SyncManager(ctx=context)
    server.start(initializer=begin)
    expected = {f"key {n}": 1_000_000_000 + n for n in range(100)}
    dictionary = server.dict(expected)

    def batch():
        for key, value in expected.items():
            if dictionary.get(key) != value:
                sys.exit(f"another value than {value}")

    run(batch, warm_up)
    batches, elapsed = run(batch, length)
    server.shutdown()
    return elapsed / (len(expected) * batches)


def run(batch, length):
    batches, start = 0, perf_counter_ns()
    while True:
        batch()
        batches += 1
        elapsed = perf_counter_ns() - start
        if elapsed >= length:
            return batches, elapsed


def end_some_time():
    """Nobody waits for this process if it hangs."""
    signal.alarm(60)


def main(what, warm_up, length, cpu=None):
    end_some_time()
    warm_up, length = int(warm_up), int(length)
    if what == "lock":
        return alone(context.Lock(), warm_up, length)
    if what == "semaphore":
        return alone(context.Semaphore(1), warm_up, length)
    if what == "contended":
        return contended(context.Lock(), warm_up, length, int(cpu))
    if what == "value":
        return value(warm_up, length)
    if what == "queue":
        return queue(warm_up, length, int(cpu))
    if what == "segment":
        return segment(warm_up, length)
    if what == "unix":
        return echoes("AF_UNIX", warm_up, length)
    if what == "tcp":
        return echoes("AF_INET", warm_up, length)
    if what == "visitors":
        return visitors(warm_up, length)
    if what == "manager":
        return manager(warm_up, length, int(cpu))
    sys.exit(f"no such measurement: {what}")


print(main(*sys.argv[1:]))
