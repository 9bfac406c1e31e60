//! How long a message takes from one process to another, whoever carries it.

use std::thread;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use crate::failure::{Failure, Outcome};
use crate::message::{Checker, Words, words};
use crate::plan::Plan;
use crate::transfer::Line;
use crate::window::{Durations, Window};

/// Nanoseconds for one way, half of a round trip, that so many in a hundred messages do not take longer than.
pub(crate) fn ping_pong<L: Line<Words>, const PERCENT: u64>(plan: &Plan) -> Outcome<f64> {
    let ((question, asked), (answer, answered)) = (L::new(64)?, L::new(64)?);
    plan.pair(
        |(window, (question, answered)): (Window, (L::Entrance, L::Exit))| {
            let (mut question, mut answered) = (L::sender(question)?, L::receiver(answered)?);
            let (mut n, mut answers) = (0, Checker::default());
            let durations = window.each(|| {
                L::send(&mut question, &words(n))?;
                n += 1;
                L::receive(&mut answered, |answer| answers.check_words(answer))
            })?;
            L::send(&mut question, &[END; 8])?;
            let clock = Durations::of_nothing();
            Ok((durations.percentile(PERCENT) - clock.percentile(50)).max(0.0) / 2.0)
        },
        (question, answered),
        |(asked, answer): (L::Exit, L::Entrance)| {
            let (mut asked, mut answer) = (L::receiver(asked)?, L::sender(answer)?);
            let mut message = [0; 8];
            loop {
                L::receive(&mut asked, |question| {
                    message = *question;
                    Ok(())
                })?;
                if message == [END; 8] || !L::send(&mut answer, &message)? {
                    return Ok(());
                }
            }
        },
        (asked, answer),
    )
}

/// No message has this number.
const END: u64 = u64::MAX;

/// Microseconds for a message to a process that sleeps: the median, by the clock that all processes share.
pub(crate) fn to_a_sleeper<L: Line<Words>>(plan: &Plan) -> Outcome<f64> {
    let (entrance, exit) = L::new(64)?;
    plan.pair(
        |(window, exit): (Window, L::Exit)| {
            let (mut receiver, mut next, mut durations) = (L::receiver(exit)?, 0, Durations::new());
            let start = Instant::now();
            while start.elapsed() < window.warm_up + window.length {
                L::receive(&mut receiver, |message| {
                    let now = now()?;
                    if message[0] != next {
                        return Err(Failure::new(format!("message {next} has number {}", message[0])));
                    }
                    next += 1;
                    if start.elapsed() >= window.warm_up {
                        durations.add(now.saturating_sub(Duration::from_nanos(message[1])));
                    }
                    Ok(())
                })?;
            }
            Ok(durations.percentile(50) / 1000.0)
        },
        exit,
        |entrance: L::Entrance| {
            let mut sender = L::sender(entrance)?;
            for n in 0.. {
                thread::sleep(PAUSE); // until the receiver sleeps, and its processor does
                let message = [n, now()?.as_nanos() as u64, 0, 0, 0, 0, 0, 0];
                if !L::send(&mut sender, &message)? {
                    break;
                }
            }
            Ok(())
        },
        entrance,
    )
}

const PAUSE: Duration = Duration::from_millis(2);

fn now() -> nix::Result<Duration> {
    Ok(ClockId::CLOCK_MONOTONIC.now()?.into())
}
