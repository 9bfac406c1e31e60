//! How evenly a server serves many clients at once, whoever carries the connections.

use std::thread;
use std::time::{Duration, Instant};

use ipc_core::Handle;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{pipe2, read};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Outcome};
use crate::message::{Checker, Words, words};
use crate::network::{Network, Search, Sign, meeting};
use crate::plan::Plan;
use crate::stats::median;
use crate::window::Window;

/// So many processes with so many clients each, every one a thread of its own.
const PROCESSES: usize = 8;
const EACH: usize = 125;
pub(crate) const CLIENTS: usize = PROCESSES * EACH;
/// A client gets its turn less often than one that is alone.
const LONGER: u32 = 10;
/// A thread here does little.
const STACK: usize = 128 * 1024;

/// A server that sends back what it receives.
pub(crate) trait Server: 'static {
    type Net: Network<Words>;

    /// Serves all who come until all have gone; calls `all_in` when as many as there will be are connected.
    fn serve(listener: <Self::Net as Network<Words>>::Listener, all_in: impl FnOnce()) -> Outcome<()>;
}

/// How many times as many echoes the median client got as the slowest one.
pub(crate) fn slowest<S: Server>(plan: &Plan) -> Outcome<f64> {
    let echoes = measure::<S>(plan)?;
    let slowest = echoes.iter().copied().fold(f64::INFINITY, f64::min);
    // Who got none at all counts as if it had got one.
    Ok(median(&echoes) / slowest.max(1.0))
}

/// Echoes per second of all together.
pub(crate) fn rate<S: Server>(plan: &Plan) -> Outcome<f64> {
    let echoes = measure::<S>(plan)?;
    Ok(echoes.iter().sum::<f64>() / length(plan.window).as_secs_f64())
}

/// How many echoes each client got.
fn measure<S: Server>(plan: &Plan) -> Outcome<Vec<f64>> {
    let ((sign, searches), (start, door)) = (meeting(PROCESSES)?, pipe2(OFlag::O_CLOEXEC)?);
    let start = Handle::from(start);
    let mut workers = vec![Work::Serve(sign, door.into())];
    for search in searches {
        workers.push(Work::Visit(plan.window, search, start.try_clone()?));
    }
    drop(start);
    let counts = plan.all(
        |work: Work| match work {
            Work::Serve(sign, door) => {
                allow_many_files()?;
                let (listener, address) = S::Net::listen()?;
                sign.put_up(&address)?;
                S::serve(listener, || drop(door))?;
                Ok(Vec::new())
            }
            Work::Visit(window, search, start) => {
                allow_many_files()?;
                let address = search.address()?;
                thread::scope(|scope| {
                    let client = || Ok::<_, Failure>(spawn(scope, || visit::<S::Net>(window, &address, &start))?);
                    let clients = (0..EACH).map(|_| client()).collect::<Outcome<Vec<_>>>()?;
                    clients.into_iter().map(|client| client.join().expect("a client panicked")).collect()
                })
            }
        },
        workers,
    )?;
    Ok(counts.concat())
}

#[derive(Serialize, Deserialize)]
enum Work {
    /// With what closes when all are in, ...
    Serve(Sign, Handle),
    /// ... which ends here.
    Visit(Window, Search, Handle),
}

fn length(window: Window) -> Duration {
    window.length * LONGER
}

fn visit<N: Network<Words>>(window: Window, address: &str, start: &Handle) -> Outcome<f64> {
    let mut conn = N::connect(address)?;
    read(start, &mut [0])?;
    let (mut n, mut counted, mut answers, start) = (0, 0.0, Checker::default(), Instant::now());
    loop {
        N::send(&mut conn, &words(n))?;
        n += 1;
        match N::receive(&mut conn)? {
            Some(answer) => answers.check_words(&answer)?,
            None => return Err(Failure::new("the server is gone")),
        }
        match start.elapsed() {
            time if time < window.warm_up => {}
            time if time < window.warm_up + length(window) => counted += 1.0,
            _ => return Ok(counted),
        }
    }
}

/// The obvious server: a thread for each client.
pub(crate) fn serve_with_threads<N>(listener: &N::Listener, all_in: impl FnOnce()) -> Outcome<()>
where
    N: Network<Words, Connection: Send>,
{
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..CLIENTS {
            let mut conn = N::accept(listener)?;
            threads.push(spawn(scope, move || -> Outcome<()> {
                while let Some(message) = N::receive(&mut conn)? {
                    N::send(&mut conn, &message)?;
                }
                Ok(())
            })?);
        }
        all_in();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a thread of the server panicked"))
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    f: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<thread::ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().stack_size(STACK).spawn_scoped(scope, f)
}

/// As many as this process may have; by itself it is often 1,024.
pub(crate) fn allow_many_files() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}
