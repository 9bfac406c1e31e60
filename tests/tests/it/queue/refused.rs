//! What cannot be: handles inside messages, queues of another type, forked copies, bytes that are no value.

use ipc_core::{Connection, Handle, Segment};
use ipc_pipe::{duplex, simplex};
use ipc_queue::{
    Bytes, Consumer, Error, JoinableQueue, Plain, Producer, Queue, Settings, SpscConsumer, SpscProducer, spsc,
};
use ipc_sync::Mutex;
use ipc_tests::{isolated, raw};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Holder, LONG, SHORT, timed_out};

#[test]
fn a_handle_inside_a_value_is_refused_and_the_error_says_what_to_do() {
    fn refused<T: Serialize + DeserializeOwned>(value: T) {
        let queue = Queue::<T>::new().unwrap();
        let refused = queue.put(value).unwrap_err();
        let text = format!("{} {}", refused.error, std::error::Error::source(&refused.error).unwrap());
        assert!(matches!(refused.error, Error::Encode(_)) && text.contains("connection"), "{text}");
        let Err(error) = queue.try_put_many(&[refused.value]) else { panic!("it was put") };
        assert!(error.put == 0 && matches!(error.error, Error::Encode(_)));
        assert!(queue.is_empty());
    }
    isolated(|| {
        refused(Handle::from(std::fs::File::open("/dev/null").unwrap()));
        refused((1u32, Some(duplex::<u8, u8>().unwrap().0)));
        refused(Segment::anonymous(64).unwrap());
        refused(Mutex::new(1u32).unwrap());
        refused(vec![Queue::<u32>::new().unwrap()]);
        refused(Queue::<u32>::new().unwrap().producer());
    });
}

#[test]
fn a_value_with_a_handle_is_refused_also_while_a_message_with_handles_is_encoded() {
    /// Puts something while it is sent itself.
    #[derive(Debug, Deserialize)]
    struct Nasty;
    thread_local! {
        static QUEUE: Queue<Handle> = Queue::new().unwrap();
    }
    impl Serialize for Nasty {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let handle = Handle::from(std::fs::File::open("/dev/null").unwrap());
            let error = QUEUE.with(|queue| queue.put(handle).unwrap_err().error);
            assert!(matches!(error, Error::Encode(_)), "{error:?}");
            serializer.serialize_unit()
        }
    }
    fn send() {
        let (mut ours, mut theirs) = duplex::<(Handle, Nasty, Handle), ()>().unwrap();
        let null = || Handle::from(std::fs::File::open("/dev/null").unwrap());
        ours.send((null(), Nasty, null())).unwrap();
        drop(theirs.recv_bytes());
        assert!(QUEUE.with(|queue| queue.is_empty()));
    }
    // In a thread, with which its queue ends.
    isolated(|| std::thread::spawn(send).join().unwrap());
}

/// What arrives if one handle is sent and another one expected.
fn sent_as<A: Serialize, B: DeserializeOwned>(handle: &A) -> Result<B, String> {
    let (mut ours, theirs) = duplex::<A, ()>().unwrap();
    let mut theirs: Connection<(), B> = theirs.into_fd().unwrap().try_into().unwrap();
    ours.send(handle).unwrap();
    theirs.recv().map_err(|error| format!("{error}: {}", std::error::Error::source(&error).unwrap()))
}

#[test]
fn a_queue_of_another_type_or_codec_is_refused() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        assert!(sent_as::<_, Queue<u32>>(&queue).is_ok());
        let errors = [
            sent_as::<_, Queue<u64>>(&queue).err(),
            sent_as::<_, Queue<Option<u32>>>(&queue).err(),
            sent_as::<_, Queue<u32, Plain>>(&queue).err(),
            sent_as::<_, Queue<Vec<u8>, Bytes>>(&queue).err(),
            sent_as::<_, Producer<i32>>(&queue.producer()).err(),
            sent_as::<_, Consumer<i32>>(&queue.consumer()).err(),
        ];
        for error in errors {
            let error = error.expect("it is of another type");
            assert!(error.contains("type") && error.contains("codec"), "{error}");
        }
        // Not by other names of the same.
        type Alias = u32;
        assert!(sent_as::<_, Queue<Alias>>(&queue).is_ok());
    });
}

#[test]
fn handles_of_a_queue_cost_one_descriptor_however_many_there_are() {
    isolated(|| {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        let queue = Queue::<u32>::new().unwrap();
        let handles: Vec<_> = (0..100).map(|_| (queue.clone(), queue.producer(), queue.consumer())).collect();
        assert_eq!(count(), before + 1);
        let again: Queue<u32> = sent_as(&queue).unwrap();
        let (producer, consumer) = again.split();
        assert_eq!(count(), before + 1, "what comes back is the same");
        producer.put(1).unwrap();
        drop((queue, handles));
        assert_eq!(consumer.get().unwrap(), 1);
        drop(producer);
        assert!(consumer.get().unwrap_err().is_disconnected());
        drop(consumer);
        assert_eq!(count(), before);
    });
}

#[test]
fn an_end_arrives_as_what_it_is() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let errors = [
            sent_as::<_, Consumer<u32>>(&queue.producer()).map(drop),
            sent_as::<_, Producer<u32>>(&queue.consumer()).map(drop),
            sent_as::<_, Queue<u32>>(&queue.producer()).map(drop),
            sent_as::<_, Queue<u32>>(&queue.consumer()).map(drop),
            sent_as::<_, SpscProducer<u32>>(&queue.producer()).map(drop),
            sent_as::<_, Queue<u32>>(&JoinableQueue::<u32>::new().unwrap()).map(drop),
            sent_as::<_, JoinableQueue<u32>>(&queue).map(drop),
        ];
        for (i, error) in errors.iter().enumerate() {
            // A joinable queue is a queue.
            assert!(error.is_err() || i >= 5, "{i}");
        }
        let (producer, consumer) = spsc::<u32, ipc_queue::Postcard>(&Settings::new()).unwrap();
        assert!(sent_as::<_, SpscConsumer<u32>>(&producer).is_err());
        assert!(sent_as::<_, Producer<u32>>(&consumer).is_err());
        assert!(sent_as::<_, Handle>(&queue).is_err() && sent_as::<_, Segment>(&queue).is_err());
        assert!(sent_as::<_, Queue<u32>>(&Segment::anonymous(1 << 20).unwrap()).is_err());
        assert!(sent_as::<_, Queue<u32>>(&Mutex::new(1u32).unwrap()).is_err());
        // Nothing has come of all that.
        queue.put(1).unwrap();
        assert_eq!(queue.get().unwrap(), 1);
    });
}

#[test]
fn a_queue_goes_over_what_carries_handles_only() {
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let (mut sender, _receiver) = simplex::<Queue<u32>>().unwrap();
        assert!(matches!(sender.send(&queue), Err(ipc_core::Error::NoHandles(_))));
        let (consumer, _producer) = (queue.consumer(), queue.producer());
        drop(queue);
        assert!(timed_out(|limit| consumer.get_timeout(limit)));
    });
}

#[test]
fn a_forked_copy_can_use_no_queue_and_changes_nothing_by_what_it_drops() {
    fn forked<T, E: Into<Error>>(result: Result<T, E>) -> bool {
        matches!(result.map_err(Into::into), Err(Error::Forked))
    }
    isolated(|| {
        let queue = Queue::<u32>::new().unwrap();
        let bytes = Queue::<Vec<u8>, Bytes>::new().unwrap();
        queue.put_many(&[1, 2, 3]).unwrap();
        let looker = queue.consumer();
        let (lease, peek) = (looker.lease().unwrap(), looker.peek().unwrap());
        let mut reservation = bytes.reserve(5).unwrap();
        reservation.write_at(0, b"bytes").unwrap();
        let (producer, consumer) = (queue.producer(), queue.consumer());
        assert!(raw::in_forked_copy(|| {
            let calls = [
                ("put", forked(queue.put(1))),
                ("try_put", forked(queue.try_put(1))),
                ("put_many", forked(queue.put_many(&[1]))),
                ("get", forked(queue.get())),
                ("try_get", forked(queue.try_get())),
                ("get_timeout", forked(queue.get_timeout(LONG))),
                ("get_many", forked(queue.get_many(5))),
                ("lease", forked(queue.lease())),
                ("peek", forked(queue.peek())),
                ("take_dead_letters", forked(queue.take_dead_letters())),
                ("reserve", forked(bytes.reserve(3))),
                ("readiness", forked(queue.readiness())),
                ("close", forked(queue.close())),
                ("stats", forked(queue.stats())),
                ("an end's put", forked(producer.put(1))),
                ("an end's get", forked(consumer.get())),
            ];
            let others = calls.iter().filter(|(_, is_forked)| !is_forked).map(|(call, _)| *call);
            let others: Vec<&str> = others.collect();
            eprintln!("not told: {others:?}");
            others.is_empty()
        }));
        // What it drops, and what it closes, is not the original's.
        drop(queue);
        let (producer, consumer) = raw::drop_in_forked_copy((producer, consumer));
        let (lease, peek, reservation) = raw::drop_in_forked_copy((lease, peek, reservation));
        assert!(!producer.is_closed());
        reservation.commit().unwrap();
        assert_eq!(bytes.get().unwrap(), b"bytes");
        peek.release();
        assert_eq!(*lease, 1);
        lease.ack().unwrap();
        assert_eq!(consumer.get().unwrap(), 3);
        assert!(timed_out(|limit| consumer.get_timeout(limit)), "there still is a producer");
        drop(producer);
        assert!(consumer.get().unwrap_err().is_disconnected());
    });
}

#[test]
fn a_forked_copy_that_drops_its_handles_takes_no_role_from_the_original() {
    isolated(|| {
        let (producer, consumer) = Queue::<u32>::new().unwrap().split();
        let holder = Holder::of(consumer, |consumer: Consumer<u32>, hold| {
            hold();
            assert!(timed_out(|limit| consumer.get_timeout(limit)), "the original still has the producer");
            hold();
            assert_eq!(consumer.get().unwrap(), 1);
            assert!(consumer.get().unwrap_err().is_disconnected());
        });
        let producer = raw::drop_in_forked_copy(producer);
        let Holder { process, mut line } = holder;
        line.send(()).unwrap();
        line.recv().unwrap();
        producer.put(1).unwrap();
        drop((producer, line));
        process.join().unwrap();
    });
}

#[test]
fn a_copy_that_comes_about_in_the_midst_of_a_task_has_no_part_in_it() {
    isolated(|| {
        let queue = JoinableQueue::<u32>::new().unwrap();
        queue.put(1).unwrap();
        queue.get().unwrap();
        assert!(raw::in_forked_copy(|| {
            matches!(queue.task_done(), Err(Error::Forked))
                && matches!(queue.join(), Err(Error::Forked))
                && matches!(queue.get(), Err(Error::Forked))
        }));
        assert!(timed_out(|limit| queue.join_timeout(limit)));
        queue.task_done().unwrap();
        queue.join().unwrap();
    });
}

#[test]
fn bytes_that_are_no_value_are_an_error_and_the_next_message_comes() {
    isolated(|| {
        let queue = Queue::<(bool, String)>::new().unwrap();
        let garbage: [&[u8]; 5] = [&[], &[7], &[1, 255, 255, 255, 255, 15], &[1, 1, 0xff], &[0, 0, 0]];
        for bytes in garbage {
            queue.put_bytes(bytes).unwrap();
            queue.put((true, "next".to_string())).unwrap();
            assert!(matches!(queue.get(), Err(Error::Decode(_))), "{bytes:?}");
            assert_eq!(queue.get().unwrap().1, "next");
            // As a lease.
            queue.put_bytes(bytes).unwrap();
            queue.put((true, "next".to_string())).unwrap();
            assert!(matches!(queue.lease(), Err(Error::Decode(_))), "{bytes:?}");
            assert_eq!(queue.lease().unwrap().1, "next");
            assert_eq!(queue.get().unwrap().1, "next");
            assert!(queue.get_timeout(SHORT).unwrap_err().is_timeout());
        }
        // In a batch: what is good is not lost.
        queue.put_many(&[(true, "one".to_string()), (true, "two".to_string())]).unwrap();
        queue.put_bytes(&[9]).unwrap();
        queue.put((false, "three".to_string())).unwrap();
        let (mut texts, mut errors) = (Vec::new(), 0);
        while !queue.is_empty() {
            match queue.get_many(10) {
                Ok(some) => texts.extend(some.into_iter().map(|(_, text)| text)),
                Err(Error::Decode(_)) => errors += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((texts, errors), (["one", "two", "three"].map(String::from).to_vec(), 1));
    });
}

#[test]
fn a_panic_of_a_value_breaks_nothing() {
    /// Panics when it is encoded, or decoded.
    #[derive(Clone, Debug)]
    struct Bomb(bool);
    impl Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(!self.0, "on purpose");
            serializer.serialize_bool(self.0)
        }
    }
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Bomb, D::Error> {
            assert!(!bool::deserialize(deserializer)?, "on purpose");
            Ok(Bomb(false))
        }
    }
    isolated(|| {
        std::panic::set_hook(Box::new(|_| ()));
        let queue = Queue::<Bomb>::bounded(3).unwrap();
        let panics = |call: &dyn Fn()| {
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        };
        panics(&|| drop(queue.put(Bomb(true))));
        panics(&|| drop(queue.put_many(&[Bomb(false), Bomb(true)])));
        while queue.try_get().is_ok() {}
        for call in [&(|| drop(queue.get())) as &dyn Fn(), &|| drop(queue.get_many(10)), &|| drop(queue.lease())] {
            queue.put_bytes(&[1]).unwrap();
            queue.put(Bomb(false)).unwrap();
            panics(call);
            // The one that panics is either taken or comes again; nothing is stuck, and nothing behind it is lost.
            let mut good = 0;
            for _ in 0..10 {
                let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.try_get().is_ok()));
                good += u32::from(matches!(got, Ok(true)));
            }
            assert_eq!(good, 1);
            assert!(queue.try_get().unwrap_err().is_would_block());
        }
        // Nor does it take a lease along.
        let queue = Queue::<Bomb>::with(&Settings::new().leases(1)).unwrap();
        for _ in 0..3 {
            queue.put_bytes(&[1]).unwrap();
            panics(&|| drop(queue.lease()));
        }
        queue.put(Bomb(false)).unwrap();
        while queue.try_peek().is_ok_and(|peek| peek.byte(0).unwrap() == 1) {
            queue.get_bytes_into(&mut Vec::new()).unwrap();
        }
        queue.lease().unwrap().ack().unwrap();
    });
}
