"""The Python side of the cases in fifos.rs. Standard input is not used."""


def fifos_echo(source, target, *lengths):
    # Opening waits for the other side, which opens in an order of its own.
    source = os.open(source, os.O_RDONLY)
    target = os.open(target, os.O_WRONLY)
    with Connection(source, writable=False) as source, Connection(target, readable=False) as target:
        for length in map(int, lengths):
            check(source.recv_bytes(), length, 1)
            target.send_bytes(pattern(length, 2))
        fails(EOFError, source.recv_bytes)


def fifo_is_written(path, length):
    fd = os.open(path, os.O_WRONLY)
    data = pattern(int(length), 1)
    while data:
        data = data[os.write(fd, data):]
    os.close(fd)


def fifo_is_read(path, length):
    fd, data = os.open(path, os.O_RDONLY), b""
    while True:
        part = os.read(fd, 1 << 20)
        if not part:
            break
        data += part
    check(data, int(length), 1)
