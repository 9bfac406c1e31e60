//! Values and arrays in shared memory: nothing is lost, a death in the middle is told, and what does not fit is refused.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytemuck::{Pod, Zeroable};
use ipc_core::{Builder, Connection, Process, Segment};
use ipc_pipe::duplex;
use ipc_shm::{Array, AtomicArray, AtomicValue, Error, Value};
use ipc_sync::{Condvar, Mutex};
use ipc_tests::{isolated, raw};
use serde::Serialize;
use serde::de::DeserializeOwned;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Point {
    x: i32,
    y: i32,
}

/// Aligned to more than the elements of an array begin at.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(128))]
struct TooAligned([u8; 128]);

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Runs `work` on `object` in three processes at once.
fn in_three<T, F>(object: &T, work: F)
where
    T: Clone + Serialize + DeserializeOwned + 'static,
    F: Fn(&T) + Copy + Send + 'static,
{
    let children: Vec<_> =
        (0..3).map(|_| Process::spawn(move |object: T| work(&object), object.clone()).unwrap()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
}

/// A process that is in the middle of `work`, which calls what it gets as its second argument when it is there.
struct InTheMiddle {
    process: Process<()>,
    _line: Connection<(), ()>,
}

impl InTheMiddle {
    fn of<T, F>(object: &T, work: F) -> InTheMiddle
    where
        T: Clone + Serialize + DeserializeOwned + 'static,
        F: Fn(&T, &mut dyn FnMut()) + Copy + Send + 'static,
    {
        let (mut line, theirs) = duplex::<(), ()>().unwrap();
        let run = move |(object, mut line): (T, Connection<(), ()>)| {
            work(&object, &mut || {
                line.send(()).unwrap();
                let _ = line.recv();
            });
        };
        let process = Builder::new().core_dumps(false).spawn(run, (object.clone(), theirs)).unwrap();
        line.recv().unwrap();
        InTheMiddle { process, _line: line }
    }

    fn kill(self) -> u32 {
        let pid = self.process.pid();
        self.process.kill().unwrap();
        assert!(self.process.join().is_err());
        pid
    }
}

fn died<T>(result: Result<T, Error>) -> Option<u32> {
    match result {
        Err(Error::Lock(ipc_sync::Error::OwnerDied { pid })) => pid,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("nobody said that the owner died"),
    }
}

#[test]
fn increments_of_many_processes_add_up() {
    isolated(|| {
        let value = Value::new(Point { x: 0, y: 0 }).unwrap();
        in_three(&value, |value| {
            for _ in 0..5_000 {
                value.update(|p| *p = Point { x: p.x + 1, y: p.y - 1 }).unwrap();
            }
        });
        assert_eq!(value.get().unwrap(), Point { x: 15_000, y: -15_000 });

        let array = Array::new(&[0u16; 7]).unwrap();
        in_three(&array, |array| {
            for n in 0..7_000 {
                array.update(n % 7, |element| *element += 1).unwrap();
            }
        });
        assert_eq!(array.to_vec().unwrap(), [3_000; 7]);
    });
}

#[test]
fn numbers_without_a_lock_lose_nothing_either() {
    isolated(|| {
        let count = Value::unlocked(0u64).unwrap();
        in_three(&count, |count| {
            for _ in 0..50_000 {
                count.fetch_add(1);
            }
        });
        assert_eq!(count.get(), 150_000);

        let sum = Value::unlocked(0.0f64).unwrap();
        in_three(&sum, |sum| {
            for _ in 0..5_000 {
                sum.update(|sum| sum + 0.5);
            }
        });
        assert_eq!(sum.get(), 7_500.0);

        // Neighbours in one word do not touch each other.
        let bytes = AtomicArray::<u8>::zeroed(9).unwrap();
        in_three(&bytes, |bytes| {
            for n in 0..9 * 256 + 9 {
                bytes.fetch_add(n % 9, 1).unwrap();
            }
        });
        assert_eq!(bytes.to_vec(), [3; 9]);

        // Of all who count down, nobody gets below zero.
        let seats = Value::unlocked(1_000i32).unwrap();
        in_three(&seats, |seats| while seats.fetch_update(|free| (free > 0).then_some(free - 1)).is_ok() {});
        assert_eq!(seats.get(), 0);
    });
}

#[test]
fn what_is_set_last_is_found_last() {
    isolated(|| {
        // A flag that is set after an array was written.
        let (array, round) = (AtomicArray::<u32>::zeroed(100).unwrap(), Value::unlocked(0u32).unwrap());
        let write = |(array, round): (AtomicArray<u32>, AtomicValue<u32>)| {
            for n in 1..=300 {
                array.copy_from_slice(&[n; 100]).unwrap();
                round.set(n);
            }
        };
        let writer = Process::spawn(write, (array.clone(), round.clone())).unwrap();
        let mut last = 0;
        while last < 300 {
            last = round.get();
            assert!(array.to_vec().into_iter().all(|n| n >= last));
        }
        writer.join().unwrap();
    });
}

#[test]
fn the_atomics_are_those_of_the_standard_library() {
    isolated(|| {
        let signed = Value::unlocked(-5i8).unwrap();
        assert_eq!(signed.fetch_sub(124), -5);
        assert_eq!(signed.get(), 127);
        assert_eq!((signed.fetch_min(-1), signed.fetch_max(3)), (127, -1));
        assert_eq!((signed.swap(0b0101), signed.fetch_and(0b0110)), (3, 0b0101));
        assert_eq!((signed.fetch_or(0b0011), signed.fetch_xor(-1)), (0b0100, 0b0111));
        assert_eq!(signed.get(), -8);
        let bits = Value::unlocked(0.0f32).unwrap();
        assert_eq!(bits.compare_exchange(-0.0, 1.0).map_err(f32::to_bits), Err(0));
        assert_eq!(bits.compare_exchange(0.0, f32::NAN), Ok(0.0));
        assert!(bits.compare_exchange(f32::NAN, 2.0).is_ok());
        assert_eq!(bits.get(), 2.0);
        assert_eq!(format!("{bits:?} {:?}", Array::unlocked(&[1u8]).unwrap()), "AtomicValue(2.0) AtomicArray([1])");
    });
}

#[test]
fn an_owner_killed_in_the_middle_of_an_update_is_told_until_somebody_repairs_it() {
    isolated(|| {
        let value = Value::new(Point { x: 1, y: 1 }).unwrap();
        let victim = InTheMiddle::of(&value, |value, here| {
            let half_way = |p: &mut Point| {
                p.x = 2;
                here();
                p.y = 2;
            };
            value.update(half_way).unwrap();
        });
        assert!(value.try_lock().unwrap_err().is_would_block());
        assert!(value.get_timeout(SHORT).unwrap_err().is_timeout());
        assert!(value.set_timeout(SHORT, Point { x: 0, y: 0 }).unwrap_err().is_timeout());
        assert!(value.update_timeout(SHORT, |_| ()).unwrap_err().is_timeout());
        assert!(value.lock_timeout(SHORT).unwrap_err().is_timeout());
        assert!(value.try_lock_or_repair(|_, _| true).unwrap_err().is_would_block());
        assert!(value.lock_or_repair_timeout(SHORT, |_, _| true).unwrap_err().is_timeout());
        let pid = Some(victim.kill());
        assert_eq!(died(value.get()), pid);
        assert_eq!(died(value.set(Point { x: 0, y: 0 })), pid);
        assert_eq!(died(value.update(|_| unreachable!())), pid);
        assert_eq!(died(value.lock_or_repair(|p, dead| (*p, dead) != (Point { x: 2, y: 1 }, pid))), pid);
        let repaired = value.lock_or_repair_timeout(LONG, |p, _| {
            p.y = p.x;
            true
        });
        drop(repaired.unwrap());
        assert_eq!(value.get().unwrap(), Point { x: 2, y: 2 });
    });
}

#[test]
fn an_owner_killed_in_the_middle_of_an_array_is_told_until_somebody_repairs_it() {
    isolated(|| {
        let array = Array::<u64>::zeroed(1000).unwrap();
        let victim = InTheMiddle::of(&array, |array, here| {
            let mut elements = array.lock().unwrap();
            elements[..500].fill(1);
            here();
            elements[500..].fill(1);
        });
        assert!(array.try_lock().unwrap_err().is_would_block());
        assert!(array.lock_timeout(SHORT).unwrap_err().is_timeout());
        assert!(array.try_lock_or_repair(|_, _| true).unwrap_err().is_would_block());
        assert!(array.lock_or_repair_timeout(SHORT, |_, _| true).unwrap_err().is_timeout());
        let pid = Some(victim.kill());
        for _ in 0..2 {
            assert_eq!(died(array.get(0)), pid);
            assert_eq!(died(array.set(0, 5)), pid);
            assert_eq!(died(array.update(0, |_| unreachable!())), pid);
            assert_eq!(died(array.fill(5)), pid);
            assert_eq!(died(array.copy_from_slice(&[5; 1000])), pid);
            assert_eq!(died(array.read_at(0, &mut [0; 2])), pid);
            assert_eq!(died(array.to_vec()), pid);
            assert_eq!(died(array.lock_or_repair(|_, _| false)), pid);
        }
        // Also those who come later are told.
        let late = Process::spawn(|array: Array<u64>| array.to_vec().unwrap_err().is_owner_died(), array.clone());
        assert!(late.unwrap().join().unwrap());
        let repaired = array.lock_or_repair(|elements, dead| {
            assert_eq!((dead, elements[499], elements[500]), (pid, 1, 0));
            elements.fill(2);
            true
        });
        assert_eq!(repaired.unwrap().iter().sum::<u64>(), 2000);
        assert_eq!(array.to_vec().unwrap(), [2; 1000]);
    });
}

#[test]
fn a_panic_in_an_update_counts_as_a_death() {
    isolated(|| {
        let (value, array) = (Value::new(1u8).unwrap(), Array::new(&[1u8]).unwrap());
        assert!(std::panic::catch_unwind(|| value.update(|_| panic!("on purpose"))).is_err());
        assert!(std::panic::catch_unwind(|| array.update(0, |_| panic!("on purpose"))).is_err());
        assert_eq!(died(value.get()), Some(std::process::id()));
        assert_eq!(died(array.get(0)), Some(std::process::id()));
        drop(value.lock_or_repair(|_, _| true).unwrap());
        drop(array.try_lock_or_repair(|_, _| true).unwrap());
        assert_eq!((value.get().unwrap(), array.get(0).unwrap()), (1, 1));
    });
}

#[test]
fn handles_travel_in_arguments_results_and_messages() {
    type Sent = (Value<u32>, AtomicValue<i64>, AtomicArray<f32>);
    isolated(|| {
        let (mut line, theirs) = duplex::<Sent, Array<Point>>().unwrap();
        let child = Process::spawn(
            |(mut line, array): (Connection<Array<Point>, Sent>, Array<Point>)| {
                let (value, atomic, atomics) = line.recv().unwrap();
                value.update(|n| *n += 1).unwrap();
                atomic.fetch_add(-10);
                atomics.set(1, 2.5).unwrap();
                line.send(&array).unwrap();
                let _ = line.recv(); // the other side has looked at it
                array.update(1, |point| point.y += 1).unwrap();
                array
            },
            (theirs, Array::new(&[Point { x: 1, y: 2 }, Point { x: 3, y: 4 }]).unwrap()),
        );
        let child = child.unwrap();
        let (value, atomic) = (Value::new(1u32).unwrap(), Value::unlocked(3i64).unwrap());
        let atomics = Array::unlocked(&[0.5f32, 0.5]).unwrap();
        line.send((value.clone(), atomic.clone(), atomics.clone())).unwrap();
        let array = line.recv().unwrap();
        array.update(0, |point| point.x = 10).unwrap();
        assert_eq!((value.get().unwrap(), atomic.get(), atomics.to_vec()), (2, -7, vec![0.5, 2.5]));
        drop(line);
        let returned = child.join().unwrap();
        for array in [array, returned] {
            assert_eq!(array.to_vec().unwrap(), [Point { x: 10, y: 2 }, Point { x: 3, y: 5 }]);
        }
    });
}

#[test]
fn out_of_range_is_an_error_and_nothing_happens() {
    isolated(|| {
        fn index<T>(result: Result<T, Error>) -> (usize, usize) {
            match result {
                Err(Error::Index { index, len }) => (index, len),
                other => panic!("{:?}", other.map(drop)),
            }
        }
        let (array, atomics) = (Array::new(&[1u8, 2, 3]).unwrap(), AtomicArray::new(&[1u8, 2, 3]).unwrap());
        for n in [3, 4, usize::MAX] {
            assert_eq!(index(array.get(n)), (n, 3));
            assert_eq!(index(array.set(n, 0)), (n, 3));
            assert_eq!(index(array.update(n, |_| unreachable!())), (n, 3));
            assert_eq!(index(array.write_at(n, &[0])), (n, 3));
            assert_eq!(index(array.read_at(n, &mut [0])), (n, 3));
            assert_eq!(index(atomics.get(n)), (n, 3));
            assert_eq!(index(atomics.set(n, 0)), (n, 3));
            assert_eq!(index(atomics.at(n)), (n, 3));
            assert_eq!(index(atomics.update(n, |_| unreachable!())), (n, 3));
            assert_eq!(index(atomics.fetch_add(n, 1)), (n, 3));
            assert_eq!(index(atomics.fetch_sub(n, 1)), (n, 3));
            assert_eq!(index(atomics.write_at(n, &[0])), (n, 3));
            assert_eq!(index(atomics.read_at(n, &mut [0])), (n, 3));
        }
        assert_eq!(index(array.write_at(2, &[9, 9])), (3, 3));
        assert_eq!(index(atomics.write_at(2, &[9, 9])), (3, 3));
        assert!(matches!(array.copy_from_slice(&[9; 4]), Err(Error::Length { expected: 3, found: 4 })));
        assert!(matches!(atomics.copy_from_slice(&[9; 2]), Err(Error::Length { expected: 3, found: 2 })));
        assert_eq!((array.to_vec().unwrap(), atomics.to_vec()), (vec![1, 2, 3], vec![1, 2, 3]));
        // The end itself is a place for nothing.
        array.write_at(3, &[]).unwrap();
        atomics.read_at(3, &mut []).unwrap();
        array.fill(8).unwrap();
        atomics.fill(8);
        assert_eq!((array.to_vec().unwrap(), atomics.to_vec()), (vec![8; 3], vec![8; 3]));
    });
}

#[test]
fn what_cannot_lie_in_shared_memory_is_refused() {
    isolated(|| {
        let bad = |result: Result<(), Error>, why: &str| match result {
            Err(error @ Error::BadType { .. }) => assert!(error.to_string().contains(why), "{error}"),
            other => panic!("{other:?}"),
        };
        bad(Value::new(()).map(drop), "no size");
        bad(Array::new(&[(); 3]).map(drop), "no size");
        bad(Array::<[u32; 0]>::zeroed(usize::MAX).map(drop), "no size");
        bad(Value::new(TooAligned([0; 128])).map(drop), "64");
        bad(Array::<TooAligned>::zeroed(0).map(drop), "64");
        bad(Array::<TooAligned>::size(1).map(drop), "64");
        for len in [usize::MAX, usize::MAX / 8, usize::MAX / 8 - 15, isize::MAX as usize / 8 - 10] {
            assert!(matches!(Array::<u64>::zeroed(len), Err(Error::TooMany { size: 8, .. })), "{len}");
            assert!(matches!(AtomicArray::<u64>::zeroed(len), Err(Error::TooMany { size: 8, .. })), "{len}");
            assert!(matches!(AtomicArray::<u64>::size(len), Err(Error::TooMany { size: 8, .. })), "{len}");
        }
        assert!(matches!(Array::<u8>::zeroed(1 << 45), Err(Error::Memory(_))), "more than there is");
        // Nothing is something.
        let (none, null) = (Array::<u32>::zeroed(0).unwrap(), AtomicArray::<u32>::new(&[]).unwrap());
        assert!(none.is_empty() && none.lock().unwrap().is_empty() && none.to_vec().unwrap().is_empty());
        assert!(null.is_empty() && null.to_vec().is_empty());
        // And a cache line is a cache line.
        let lines = Array::new(&[Line([1; 64]), Line([2; 64])]).unwrap();
        assert_eq!(lines.lock().unwrap().as_ptr().addr() % 64, 0);
        assert_eq!(lines.get(1).unwrap(), Line([2; 64]));
    });
}

#[test]
fn objects_lie_side_by_side_in_a_segment_and_are_told_apart() {
    isolated(|| {
        let segment = Segment::anonymous(1 << 16).unwrap();
        let places = [0, 4096, 8192, 12288];
        let value = Value::create_in(&segment, places[0], 1u32).unwrap();
        let array = Array::create_in(&segment, places[1], &[1u32, 2]).unwrap();
        let atomic = AtomicValue::create_in(&segment, places[2], 1u32).unwrap();
        let atomics = AtomicArray::create_in(&segment, places[3], &[1u32, 2]).unwrap();
        let found = |place: usize| {
            [
                Value::<u32>::open_in(&segment, place).is_ok(),
                Array::<u32>::open_in(&segment, place).is_ok(),
                AtomicValue::<u32>::open_in(&segment, place).is_ok(),
                AtomicArray::<u32>::open_in(&segment, place).is_ok(),
            ]
        };
        for (n, place) in places.into_iter().enumerate() {
            assert_eq!(found(place), std::array::from_fn(|kind| kind == n), "{place}");
            // Another type of the same size, another size, no place for an object.
            assert!(Array::<i32>::open_in(&segment, place).is_err());
            assert!(Array::<u64>::open_in(&segment, place).is_err());
            assert!(AtomicArray::<f32>::open_in(&segment, place).is_err());
            assert!(AtomicValue::<f32>::open_in(&segment, place).is_err());
            assert!(Value::<i32>::open_in(&segment, place).is_err());
            assert!(Array::<u32>::open_in(&segment, place + 8).is_err());
            // There is something already: it stays as it is.
            assert!(Value::create_in(&segment, place, 9u32).is_err());
            assert!(Array::create_in(&segment, place, &[9u32; 3]).is_err());
            assert!(Array::<u32>::create_zeroed_in(&segment, place, 3).is_err());
            assert!(AtomicValue::create_in(&segment, place, 9u32).is_err());
            assert!(AtomicArray::create_in(&segment, place, &[9u32; 3]).is_err());
        }
        assert_eq!((value.get().unwrap(), array.to_vec().unwrap()), (1, vec![1, 2]));
        assert_eq!((atomic.get(), atomics.to_vec()), (1, vec![1, 2]));
        // Not enough room, by a little and by a lot.
        let last = (1 << 16) - 320;
        assert!(Array::<u8>::create_zeroed_in(&segment, last, 65).is_err());
        assert!(Array::<u8>::create_zeroed_in(&segment, usize::MAX - 63, 1).is_err());
        assert!(Array::<u8>::create_zeroed_in(&segment, 1 << 16, 1).is_err());
        let tail = Array::<u8>::create_zeroed_in(&segment, last, 64).unwrap();
        assert_eq!((tail.len(), Array::<u8>::size(64).unwrap()), (64, 320));
        // Where there is something that is no object, none is made; what lies behind the header does not matter.
        let file = crate::segment::file_of(&segment);
        file.write_all_at(&[0xaa; 4096], 1 << 15).unwrap();
        assert!(Array::<u32>::create_zeroed_in(&segment, (1 << 15) + 64, 10).is_err());
        let array = Array::<u32>::create_zeroed_in(&segment, (1 << 15) - 64, 10).unwrap();
        array.set(9, 1).unwrap();
        assert_eq!(array.to_vec().unwrap(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    });
}

#[test]
fn a_value_is_a_mutex() {
    isolated(|| {
        let segment = Segment::anonymous(4096).unwrap();
        let value = Value::create_in(&segment, 0, 1u64).unwrap();
        *Mutex::<u64>::open_in(&segment, 0).unwrap().lock().unwrap() = 5;
        let changed = Condvar::new().unwrap();
        let child = Process::spawn(
            |(value, changed): (Value<u64>, Condvar)| {
                value.set(6).unwrap();
                changed.notify_all().unwrap();
            },
            (value.clone(), changed.clone()),
        );
        let guard = changed.wait_while(value.lock().unwrap(), |value| *value != 6).unwrap();
        assert_eq!(*guard, 6);
        drop(guard);
        child.unwrap().join().unwrap();
    });
}

#[test]
fn locking_twice_is_an_error_by_whatever_handle() {
    isolated(|| {
        let array = Array::new(&[1u8]).unwrap();
        let (mut to, mut from) = duplex::<Array<u8>, ()>().unwrap();
        to.send(&array).unwrap();
        let again = from.recv().unwrap(); // a second mapping in the same process
        let guard = array.lock().unwrap();
        for other in [&array, &array.clone(), &again] {
            let twice = |error: Error| assert!(matches!(error, Error::Lock(ipc_sync::Error::AlreadyLocked)));
            twice(other.get(0).unwrap_err());
            twice(other.try_lock().unwrap_err());
            twice(other.lock_timeout(LONG).unwrap_err());
        }
        drop(guard);
        again.set(0, 4).unwrap();
        assert_eq!(array.get(0).unwrap(), 4);
    });
}

#[test]
fn a_forked_copy_is_refused_what_has_an_owner_and_does_the_rest() {
    isolated(|| {
        let (array, count) = (Array::new(&[1u8]).unwrap(), Value::unlocked(1u32).unwrap());
        let guard = array.lock().unwrap();
        assert!(raw::in_forked_copy(|| {
            count.fetch_add(1);
            matches!(array.try_lock(), Err(Error::Memory(ipc_core::Error::Forked)))
        }));
        drop(guard);
        assert_eq!((array.get(0).unwrap(), count.get()), (1, 2));
    });
}

#[test]
fn a_forgotten_guard_keeps_the_memory_until_its_thread_ends() {
    isolated(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::mem::forget(Array::new(&[1u8]).unwrap().lock().unwrap());
                // The C library's list of held locks runs through the memory of the array.
                let others: Vec<_> = (0..20).map(|n| Array::new(&[n]).unwrap()).collect();
                let guards: Vec<_> = others.iter().map(|array| array.lock().unwrap()).collect();
                assert_eq!(guards.iter().map(|guard| guard[0]).sum::<i32>(), 190);
            });
        });
        let array = Array::new(&[1u8]).unwrap();
        std::thread::scope(|scope| drop(scope.spawn(|| std::mem::forget(array.lock().unwrap()))));
        assert!(matches!(array.get(0), Err(Error::Lock(ipc_sync::Error::GuardForgotten))));
        let other = Process::spawn(|array: Array<u8>| array.get(0).unwrap_err().is_owner_died(), array);
        assert!(other.unwrap().join().unwrap());
    });
}

#[test]
fn a_maker_that_was_killed_leaves_the_place_to_the_next_one() {
    isolated(|| {
        // What it leaves is what `create_in` leaves before the last store: the number of a process that is gone, and a lock.
        let segment = Segment::anonymous(4096).unwrap();
        let child = Process::spawn(
            |segment: Segment| {
                let me = segment.participant();
                Array::create_in(&segment, 0, &[7u8; 100]).unwrap();
                me.number()
            },
            segment.clone(),
        );
        let number = child.unwrap().join().unwrap();
        let file = crate::segment::file_of(&segment);
        file.write_all_at(&number.to_ne_bytes(), 0).unwrap();
        assert!(Array::<u8>::open_in(&segment, 0).is_err());
        let array = Array::<u8>::create_zeroed_in(&segment, 0, 50).unwrap();
        assert_eq!(array.to_vec().unwrap(), [0; 50]);
        in_three(&array, |array| (0..50).for_each(|n| array.update(n, |element| *element += 1).unwrap()));
        assert_eq!(array.to_vec().unwrap(), [3; 50]);
        // And what was written over cannot move anybody beyond the memory.
        file.write_all_at(&[0xff; 8], 64).unwrap();
        assert!(Array::<u8>::open_in(&segment, 0).is_err());
        assert_eq!(array.len(), 50);
    });
}
