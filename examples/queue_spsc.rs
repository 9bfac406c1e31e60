//! One producer and one consumer, and it cannot be otherwise: neither end can be cloned, so they need no locks. The fastest way to bring
//! plain numbers from one process to another.
#![forbid(unsafe_code)]

use ipc_queue::{Error, Plain, Process, Settings, SpscConsumer, SpscProducer, spsc};

/// Three measured values, copied as they lie in memory.
type Sample = [f64; 3];

fn sensor(mut samples: SpscProducer<Sample, Plain>) {
    for i in 0..100_000 {
        let x = f64::from(i);
        samples.put([x, 2.0 * x, 1.0]).expect("somebody takes them");
    }
}

fn add(mut samples: SpscConsumer<Sample, Plain>) -> Sample {
    let mut sums = [0.0; 3];
    loop {
        match samples.get_many(1000) {
            Ok(batch) => batch.iter().for_each(|sample| sums.iter_mut().zip(sample).for_each(|(sum, x)| *sum += x)),
            Err(Error::Disconnected) => return sums, // the sensor has ended, and all it has put was here
            Err(error) => panic!("{error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (producer, consumer) = spsc::<Sample, Plain>(&Settings::new())?;
    let sensor = Process::spawn(sensor, producer)?;
    let adder = Process::spawn(add, consumer)?;
    sensor.join()?;
    println!("{:?}", adder.join()?);
    Ok(())
}
