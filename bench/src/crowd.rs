//! How messages of several processes to several others are measured, whoever carries them.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::message::Words;
use crate::plan::Plan;
use crate::raw::{Counter, Stop};
use crate::window::Window;

/// Where several processes put messages, each of which one of several others gets.
pub(crate) trait Exchange: 'static {
    type Entrance: Serialize + DeserializeOwned;
    type Exit: Serialize + DeserializeOwned;

    fn new() -> Outcome<(Self::Entrance, Self::Exit)>;

    fn another_entrance(entrance: &Self::Entrance) -> Outcome<Self::Entrance>;

    fn another_exit(exit: &Self::Exit) -> Outcome<Self::Exit>;

    /// Always inlined, as `get`.
    fn put(entrance: &Self::Entrance, message: &Words) -> Outcome<()>;

    fn get(exit: &Self::Exit) -> Outcome<Words>;
}

/// Messages per second from so many processes to as many others.
pub(crate) fn rate<X: Exchange>(plan: &Plan, each: usize) -> Outcome<f64> {
    let ((entrance, exit), (stop, finished)) = (X::new()?, (Stop::new()?, Counter::new()?));
    let mut workers = Vec::new();
    for number in 0..each as u64 {
        let what = What::Get(X::another_exit(&exit)?, finished.try_clone()?);
        workers.push(Work::<X> { window: plan.window, each: each as u64, stop: stop.try_clone()?, what });
        let what = What::Put(X::another_entrance(&entrance)?, number);
        workers.push(Work { window: plan.window, each: each as u64, stop: stop.try_clone()?, what });
    }
    drop((entrance, exit));
    let tallies = plan.all(
        |work: Work<X>| match &work.what {
            What::Put(entrance, number) => work.produce(entrance, *number),
            What::Get(exit, finished) => work.consume(exit, finished),
        },
        workers,
    )?;
    let sum = |what: fn(&Tally) -> u64| tallies.iter().map(what).fold(0, u64::wrapping_add);
    let (put, got) = ((sum(|t| t.put), sum(|t| t.put_numbers)), (sum(|t| t.got), sum(|t| t.got_numbers)));
    if put != got {
        return Err(Failure::new(format!("put {} messages, sum {}, got {}, sum {}", put.0, put.1, got.0, got.1)));
    }
    Ok(tallies.iter().map(|tally| tally.per_second).sum())
}

/// What a process is to do.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Work<X: Exchange> {
    window: Window,
    /// So many put, and so many get.
    each: u64,
    /// Enough was put.
    stop: Stop,
    what: What<X>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
enum What<X: Exchange> {
    /// With the number of who puts.
    Put(X::Entrance, u64),
    /// With the count of those who have finished measuring.
    Get(X::Exit, Counter),
}

/// What a process has done. Together, as much is got as was put, and the same.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    put: u64,
    put_numbers: u64,
    got: u64,
    got_numbers: u64,
    per_second: f64,
}

impl<X: Exchange> Work<X> {
    fn produce(&self, entrance: &X::Entrance, number: u64) -> Outcome<Tally> {
        let (mut tally, mut message) = (Tally::default(), [0x00a5_a5a5_a5a5_a5a5; 8]);
        message[0] = number;
        while !self.stop.is_set() {
            message[1] = tally.put;
            X::put(entrance, &message)?;
            tally.put_numbers = tally.put_numbers.wrapping_add(number << 48 | tally.put);
            tally.put += 1;
        }
        // One for each who gets, who needs one of each who puts: then nothing can be left but such marks for others.
        message[1] = END;
        (0..self.each).try_for_each(|_| X::put(entrance, &message))?;
        Ok(tally)
    }

    fn consume(&self, exit: &X::Exit, finished: &Counter) -> Outcome<Tally> {
        let (mut tally, mut ends) = (Tally::default(), 0);
        let mut next = vec![0; self.each as usize];
        let mut get = |tally: &mut Tally| {
            let message = X::get(exit)?;
            let (from, number) = (message[0], message[1]);
            let next = next.get_mut(from as usize).ok_or_else(|| Failure::new(format!("it is {message:x?}")))?;
            if number == END {
                return Ok(true);
            }
            if number < *next {
                return Err(Failure::new(format!("message {number} of {from} comes after {}", *next - 1)));
            }
            *next = number + 1;
            tally.got_numbers = tally.got_numbers.wrapping_add(from << 48 | number);
            tally.got += 1;
            Ok(false)
        };
        let timed = self.window.time(64, || match get(&mut tally)? {
            false => Ok(()),
            true => Err(Failure::new("a process has stopped too early")),
        });
        // In any case, so that the others end; the last one counts, as all of them are measured at once.
        if finished.fetch_add(1) + 1 == self.each || timed.is_err() {
            self.stop.set();
        }
        tally.per_second = timed?.per_second();
        while ends < self.each {
            ends += u64::from(get(&mut tally)?);
        }
        Ok(tally)
    }
}

const END: u64 = u64::MAX;
