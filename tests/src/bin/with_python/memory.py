"""The Python side of the cases in memory.rs. Each function gets the end of a pipe as standard input, to take turns."""
try:
    from multiprocessing import resource_tracker
    from multiprocessing.shared_memory import ShareableList, SharedMemory
except ImportError:
    pass  # before Python 3.8


def opened(name):
    """Opens a memory whose name stays when this process ends."""
    if sys.version_info >= (3, 13):
        return SharedMemory(name, track=False)
    memory = SharedMemory(name)
    resource_tracker.unregister(memory._name, "shared_memory")
    return memory


def opened_list(name):
    """Opens a list whose name stays when this process ends: `ShareableList` has no `track`."""
    items = ShareableList(name=name)
    resource_tracker.unregister(items.shm._name, "shared_memory")
    return items


def same(items, expected):
    """Also by type, as `1 == True == 1.0`."""
    found = [(type(item), item) for item in items]
    assert found == [(type(item), item) for item in expected], found


def memory_of_ours(name):
    memory = opened(name)
    assert memory.size == 1000, memory.size
    check(bytes(memory.buf), 1000, 1)
    memory.buf[:] = pattern(1000, 2)
    memory.close()


def memory_of_python():
    pipe = Connection(0)
    memory = SharedMemory(create=True, size=1000)
    memory.buf[:] = pattern(1000, 1)
    pipe.send_bytes(memory.name.encode())
    assert pipe.recv_bytes() == b"changed"
    check(bytes(memory.buf), 1000, 2)
    memory.close()
    memory.unlink()


def integers(name):
    memory = opened(name)
    view = memory.buf.cast("i")
    assert view.tolist() == [1000 - 7 * i for i in range(1000)]
    view[0] = -2 ** 31
    view[1] = 2 ** 31 - 1
    view[999] += 1
    try:
        import numpy
    except ImportError:
        view[2] = -2
    else:
        array = numpy.ndarray((1000,), dtype=numpy.int32, buffer=memory.buf)
        assert array.tolist() == view.tolist()
        array[2] = -2
        del array  # else the memory cannot be closed
    view.release()
    memory.close()


def list_of_ours(name):
    pipe = Connection(0)
    items = opened_list(name)
    assert len(items) == 11
    same(items, [7, -2 ** 63, True, None, 2.5, "hi", "grün 한국어!", b"\1\0\2", "12345678", "", b""])
    assert items.format == "qqxxxxxxx?xxxxxx?xd8s24s8s16s8s8s", items.format
    assert items.index("hi") == 5 and items.count("") == 1
    items[0] = "8 bytes!"
    items[1] = None
    items[2] = -1
    items[3] = True
    items[4] = "ü"
    items[5] = 0.5
    items[6] = "한" * 8  # the 24 bytes that are there
    items[7] = b"\0\xff"
    items[-1] = "last"
    pipe.send_bytes(b"changed")
    assert pipe.recv_bytes() == b"changed back"
    same(items, ["again", 1, False, None, -0.25, "", b"\0\1", "x" * 8, None, "7 bytes", 2 ** 63 - 1])
    items.shm.close()


def list_of_python():
    pipe = Connection(0)
    items = ShareableList([7, True, None, 2.5, "hi", b"\1\2", "x" * 8, -1])
    pipe.send_bytes(items.shm.name.encode())
    assert pipe.recv_bytes() == b"changed"
    same(items, [-7, None, "ü", False, 1e300, "hi", "16 bytes are max", b"\0b"])
    assert items.format == "qxxxxxx?x8sxxxxxxx?d8s16s8s", items.format
    items[7] = 1
    items[6] = "last"
    pipe.send_bytes(b"changed back")
    assert pipe.recv_bytes() == b"seen"
    items.shm.close()
    items.shm.unlink()


def list_bytes():
    pipe = Connection(0)
    items = ShareableList([7, True, None, -2.5, "hi", b"\1\2", "x" * 8, "", b"", "y" * 100, 0.0, False])
    pipe.send_bytes(items.shm.name.encode())
    assert pipe.recv_bytes() == b"seen"
    items.shm.close()
    items.shm.unlink()


def empty_list_of_ours(name):
    items = opened_list(name)
    assert len(items) == 0 and list(items) == []
    items.shm.close()


def empty_list_of_python():
    pipe = Connection(0)
    items = ShareableList([])
    pipe.send_bytes(items.shm.name.encode())
    assert pipe.recv_bytes() == b"seen"
    items.shm.close()
    items.shm.unlink()


def texts_of_python():
    pipe = Connection(0)
    items = ShareableList(["한" * 8, "ü" * 8, "ü" * 9, "nul\0", b"\0", "\0nul"])
    try:
        items[0]
        raise AssertionError("a cut text can be read")
    except UnicodeDecodeError:
        pass
    same([items[i] for i in range(1, 6)], ["ü" * 8, "ü" * 8, "nul", b"", "\0nul"])
    pipe.send_bytes(items.shm.name.encode())
    assert pipe.recv_bytes() == b"repaired"
    same(items, ["한" * 5, "ü" * 8, "ü" * 8, "nul", b"", "\0nul"])
    items.shm.close()
    items.shm.unlink()


def texts_of_ours(name):
    items = opened_list(name)
    same(items, ["한" * 8, "ü" * 9, "\U0001f600" * 100, "\0nul"])
    items.shm.close()


def only_opens(kind):
    """How a memory is opened, then nothing more until the pipe is closed or this process is killed."""
    pipe = Connection(0)
    name = pipe.recv_bytes().decode()
    kinds = {
        "memory": SharedMemory,
        "list": lambda name: ShareableList(name=name),
        "cured memory": opened,
        "cured list": opened_list,
    }
    kept = kinds[kind](name)
    pipe.send_bytes(b"open")
    try:
        pipe.recv_bytes()
    except EOFError:
        pass
    del kept


def leaves(cured):
    """Makes a memory and leaves it."""
    pipe = Connection(0)
    memory = SharedMemory(create=True, size=10)
    memory.buf[:5] = b"there"
    if cured == "cured":
        resource_tracker.unregister(memory._name, "shared_memory")
    pipe.send_bytes(memory.name.encode())
    try:
        pipe.recv_bytes()
    except EOFError:
        pass
