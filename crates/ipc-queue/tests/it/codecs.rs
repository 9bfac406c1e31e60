//! What becomes of values on their way.

use ipc_queue::{Bytes, CodecError, Decode, Encode, Error, Plain, Queue, Settings, spsc};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle { radius: f64 },
    Polygon(Vec<(i32, i32)>),
    Named(String, Box<Shape>),
}

#[test]
fn any_serde_type_passes() {
    let shapes = [
        Shape::Dot,
        Shape::Circle { radius: 0.5 },
        Shape::Named("n".into(), Box::new(Shape::Polygon(vec![(1, -2); 100_000]))),
    ];
    let queue = Queue::<Shape>::new().unwrap();
    queue.put_many(&shapes).unwrap();
    assert_eq!(queue.get_many(10).unwrap(), shapes);
    shapes.iter().for_each(|shape| queue.put(shape).unwrap());
    let leases: Vec<_> = shapes.iter().map(|_| queue.lease().unwrap()).collect();
    assert!(leases.iter().zip(&shapes).all(|(lease, shape)| **lease == *shape));
    drop(leases); // they are given back
    shapes.iter().for_each(|shape| assert_eq!(queue.get().unwrap(), *shape));
    // Values that take no bytes.
    let queue = Queue::<()>::bounded(3).unwrap();
    queue.put_many(&[(); 3]).unwrap();
    assert!(queue.is_full() && queue.try_put(()).is_err());
    assert_eq!(queue.get_many(3).unwrap(), [(); 3]);
}

#[test]
fn plain_data_passes_as_it_is() {
    let queue = Queue::<[u64; 8], Plain>::new().unwrap();
    queue.put_many(&[[1; 8], [u64::MAX; 8]]).unwrap();
    let mut bytes = Vec::new();
    queue.get_bytes_into(&mut bytes).unwrap();
    assert_eq!(bytes, [1u64; 8].map(u64::to_ne_bytes).concat());
    assert_eq!(*queue.lease().unwrap(), [u64::MAX; 8]);
    queue.put_bytes(&[0; 63]).unwrap();
    assert_eq!(queue.get().unwrap(), [u64::MAX; 8]);
    let error = queue.get().unwrap_err();
    assert!(matches!(error, Error::Decode(_)), "{error:?}");
    // Longer than a quarter of the ring.
    let queue = Queue::<[u64; 4096], Plain>::with(&Settings::new().ring(64 << 10)).unwrap();
    queue.put(&[7; 4096]).unwrap();
    assert_eq!(queue.get().unwrap(), [7; 4096]);
}

#[test]
fn bytes_pass_as_they_are_and_come_into_memory_that_is_there() {
    let queue = Queue::<Vec<u8>, Bytes>::new().unwrap();
    let mut buffer = Vec::with_capacity(1000);
    let place = buffer.as_ptr();
    for len in [0, 1, 7, 8, 9, 1000] {
        queue.put_bytes(&vec![3; len]).unwrap();
        queue.get_bytes_into(&mut buffer).unwrap();
        assert_eq!(buffer, vec![3; len], "what was in it before is gone");
        assert_eq!(buffer.as_ptr(), place);
    }
    queue.put(vec![1, 2, 3]).unwrap();
    assert_eq!(queue.get().unwrap(), [1, 2, 3]);
}

#[test]
fn encoded_values_can_be_put_and_got_as_bytes() {
    let queue = Queue::<(u8, String)>::new().unwrap();
    queue.put((5, "hi".to_string())).unwrap();
    let mut bytes = Vec::new();
    queue.get_bytes_into(&mut bytes).unwrap();
    assert_eq!(bytes, [5, 2, b'h', b'i']);
    queue.put_bytes(&bytes).unwrap();
    assert_eq!(queue.get().unwrap(), (5, "hi".to_string()));
}

/// Numbers as text; no numbers above a hundred.
struct Decimal;

impl Encode<u64> for Decimal {
    fn encode(value: &u64, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend(value.to_string().bytes());
        if *value > 100 { Err(CodecError::new("it is above a hundred")) } else { Ok(()) }
    }
}

impl Decode<u64> for Decimal {
    fn decode(bytes: &[u8]) -> Result<u64, CodecError> {
        let text = std::str::from_utf8(bytes).map_err(CodecError::new)?;
        text.parse().map_err(CodecError::new)
    }
}

#[test]
fn codecs_of_ones_own_are_as_good() {
    let queue = Queue::<u64, Decimal>::new().unwrap();
    queue.put_many(&[7, 42]).unwrap();
    let refused = queue.put(101).unwrap_err();
    assert_eq!(refused.value, 101);
    let Error::Encode(cause) = refused.error else { panic!("{:?}", refused.error) };
    assert!(cause.to_string().contains("hundred"));
    let error = queue.put_many(&[1, 2, 300, 4]).unwrap_err();
    assert!(matches!(error.error, Error::Encode(_)));
    queue.put(5).unwrap(); // nothing is left of what was refused
    queue.put_bytes(b"six").unwrap();
    queue.put(7).unwrap();
    let mut expected = vec![7, 42];
    expected.extend([1, 2].iter().take(error.put));
    expected.push(5);
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.extend(queue.get_many(1).unwrap());
    }
    assert_eq!(got, expected);
    assert!(matches!(queue.get(), Err(Error::Decode(_))));
    assert_eq!(queue.get().unwrap(), 7);

    let (mut producer, mut consumer) = spsc::<u64, Decimal>(&Settings::new()).unwrap();
    assert!(matches!(producer.put(101).unwrap_err().error, Error::Encode(_)));
    producer.put_bytes(b"x").unwrap();
    producer.put(100).unwrap();
    assert!(matches!(consumer.get(), Err(Error::Decode(_))));
    assert_eq!(consumer.get().unwrap(), 100);
}
