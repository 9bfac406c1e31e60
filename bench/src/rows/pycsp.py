"""Times PyCSP's channels from inside, and prints nanoseconds per communication."""

import os
import signal
import sys
from time import perf_counter_ns

# What it finds out by itself else, by a way that later versions of Python have closed.
os.environ.setdefault("PYCSP_HOST", "127.0.0.1")

try:
    from pycsp.parallel import Channel, Parallel, multiprocess, poison, process, shutdown
except ModuleNotFoundError as error:
    print(f"Python has no {error.name}", file=sys.stderr)
    sys.exit(69)  # EX_UNAVAILABLE: a row less, and no mistake


def prefix(cin, cout):
    cout(0)
    while True:
        cout(cin())


def delta(cin, first, second):
    while True:
        number = cin()
        first(number)
        second(number)


def successor(cin, cout):
    while True:
        cout(cin() + 1)


def consumer(cin, warm_up, length):
    """Poisons its channel in the end, and so all of them, one after the other."""
    expected = 0

    def run(length):
        nonlocal expected
        begin, start = expected, perf_counter_ns()
        while True:
            for _ in range(8):
                number = cin()
                if number != expected:
                    sys.exit(f"number {expected} is {number}")
                expected += 1
            elapsed = perf_counter_ns() - start
            if elapsed >= length:
                return elapsed / (4 * (expected - begin))

    run(warm_up)
    figure = run(length)
    poison(cin)
    return figure


def main(kind, warm_up, length):
    member = {"threads": process, "processes": multiprocess}[kind]
    first, second, third, fourth = (Channel() for _ in range(4))
    results = Parallel(
        member(prefix)(+third, -first),
        member(delta)(+first, -fourth, -second),
        member(successor)(+second, -third),
        member(consumer)(+fourth, int(warm_up), int(length)),
    )
    print(results[-1])
    sys.stdout.flush()
    shutdown()


signal.alarm(60)  # nobody waits for it if it hangs
main(*sys.argv[1:])
