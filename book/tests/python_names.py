"""Prints the public names of multiprocessing, one in a line, as from-python.md groups them: `Process .join`, `multiprocessing.util .info`.

Most classes are asked themselves; of those that get their methods when they are made, an instance is. The context `fork` makes them
without a process beside it.
"""
import inspect
import multiprocessing as mp
import types
from multiprocessing import (
    connection, context, dummy, forkserver, heap, managers, pool, process, queues, reduction, resource_tracker,
    shared_memory, sharedctypes, spawn, synchronize, util)
from multiprocessing.dummy import connection as dummy_connection

# What the documentation speaks of: all that is public in them, whether `__all__` lists it or not.
MODULES = [connection, context, managers, pool, process, queues, shared_memory, sharedctypes, synchronize]
# Of these only what `__all__` lists.
INSIDE = [dummy, dummy_connection, forkserver, heap, reduction, resource_tracker, spawn, util]
# Classes that nobody uses by themselves: their names are enough, without those of their methods.
WITHOUT_METHODS = {
    'Namespace', 'ProcessLocalSet', 'Server', 'SharedMemoryServer', 'SocketListener', 'State', 'Token', 'Value',
    'XmlListener'}
# Attributes that an instance gets when it is used.
LATER = ['BaseManager .shutdown', 'ShareableList .shm']


def public(names):
    return {name for name in names if not name.startswith('_')}


def own(module):
    """The functions and classes that the module itself defines."""
    kinds = (type, types.FunctionType)
    return {name for name, value in vars(module).items()
            if isinstance(value, kinds) and value.__module__ == module.__name__}


names = set(LATER)
top = {name for name in public(dir(mp)) if name == 'reducer' or not inspect.ismodule(getattr(mp, name))}
names.update('multiprocessing .' + name for name in top)

for module in MODULES:
    listed = public(own(module)) | public(getattr(module, '__all__', ()))
    names.update(module.__name__ + ' .' + name for name in listed - top)
for module in INSIDE:
    names.update(module.__name__ + ' .' + name for name in public(module.__all__))

fork = mp.get_context('fork')
things = {
    'Array': fork.Array('c', 1), 'Barrier': fork.Barrier(1), 'BoundedSemaphore': fork.BoundedSemaphore(),
    'Condition': fork.Condition(), 'Connection': fork.Pipe()[0], 'Event': fork.Event(), 'JoinableQueue': fork.JoinableQueue(),
    'Lock': fork.Lock(), 'Process': fork.Process(), 'Queue': fork.Queue(), 'RLock': fork.RLock(), 'RawValue': fork.RawValue('i'),
    'Semaphore': fork.Semaphore(), 'SimpleQueue': fork.SimpleQueue(), 'Value': fork.Value('i')}
for module in [connection, managers, pool, shared_memory]:
    for name in public(own(module)) - WITHOUT_METHODS:
        if inspect.isclass(getattr(module, name)):
            things.setdefault(name, getattr(module, name))
for name, thing in things.items():
    inherited = public(dir(Exception) if inspect.isclass(thing) and issubclass(thing, Exception) else dir(object))
    names.update(name + ' .' + method for method in public(dir(thing)) - inherited)

contexts = [getattr(context, name) for name in public(own(context)) if name.endswith('Context')]
names.update('multiprocessing .' + name for each in contexts for name in public(dir(each)) - top)
print('\n'.join(sorted(names)))
