//! The child's side of spawning: from the first moment of the process to its end.

use std::cell::RefCell;
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process;
use std::sync::{Mutex, OnceLock};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::report::{self, Report};
use crate::{Connection, Error, Handle, Receiver, Sender, crash_point, sys};

/// What a child is told first, before its arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// What the child is to have as standard input. Its descriptor 0 is taken by the connection it gets this over.
    pub(crate) stdin: Handle,
    pub(crate) identity: Identity,
    /// What `ps` shows.
    pub(crate) command: CString,
    pub(crate) core_dumps: bool,
}

/// Who a process is, among those that were spawned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// The how many-th child of the how many-th child, and so on; empty in the program's first process.
    pub(crate) path: Vec<u32>,
    pub(crate) daemon: bool,
    pub(crate) parent: u32,
}

/// The exit code of a process that panicked, as Rust's runtime has it.
const PANICKED: i32 = 101;

/// Who this process is; unset in one that was not spawned.
pub(crate) static IDENTITY: OnceLock<Identity> = OnceLock::new();

/// The way to the parent. In a static, as the panic hook may need it in any thread.
static REPORTER: Mutex<Option<Sender<Report<()>>>> = Mutex::new(None);

/// The connection to the parent, before the arguments have been received.
pub(crate) struct Bootstrap {
    receiver: Receiver<()>,
    daemon: bool,
}

/// Prepares the process as Rust's runtime would before `main`, and runs the function.
pub(crate) fn start(run: Option<fn(Bootstrap) -> !>) -> ! {
    crash_point!("child.begun");
    let Some(bootstrap) = Bootstrap::take_over() else {
        // The parent died before it had sent all, or somebody else has set the variable. There is nobody to tell.
        process::exit(PANICKED)
    };
    match run {
        Some(run) => run(bootstrap),
        None => finish(Report::<()>::Failed("the child is another program than its parent".into()), PANICKED),
    }
}

impl Bootstrap {
    fn take_over() -> Option<Bootstrap> {
        open_standard_descriptors();
        sys::ignore_broken_pipes();
        let socket = sys::duplicate_above_standard(std::io::stdin().as_fd()).ok()?;
        let connection: Connection<Report<()>, Setup> = Connection::try_from(socket).ok()?;
        let (sender, mut receiver) = connection.into_halves();
        receiver.set_max_message(i64::MAX as u64);
        crash_point!("child.before-setup");
        let setup = receiver.recv().ok()?;
        crash_point!("child.after-setup");
        nix::unistd::dup2_stdin(&setup.stdin).ok()?;
        let _ = nix::sys::prctl::set_name(&setup.command); // of no consequence
        if !setup.core_dumps {
            forbid_core_dumps();
        }
        let daemon = setup.identity.daemon;
        let _ = IDENTITY.set(setup.identity);
        *lock() = Some(sender);
        panic_hook();
        Some(Bootstrap { receiver: receiver.retype(), daemon })
    }

    /// Receives the arguments, calls `f` and reports how it ended.
    pub(crate) fn run<F, A, R>(self, f: F) -> !
    where
        F: FnOnce(A) -> R,
        A: DeserializeOwned,
        R: Serialize,
    {
        let mut receiver: Receiver<A> = self.receiver.retype();
        crash_point!("child.before-arguments");
        let args = match panic::catch_unwind(AssertUnwindSafe(|| receiver.recv())) {
            Ok(Ok(args)) => args,
            Ok(Err(Error::Decode(cause))) => {
                finish(Report::<R>::Failed(format!("cannot decode the arguments: {cause}")), PANICKED)
            }
            Ok(Err(Error::Disconnected | Error::Truncated { .. })) => process::exit(PANICKED), // the parent is gone
            Ok(Err(error)) => finish(Report::<R>::Failed(format!("cannot receive the arguments: {error}")), PANICKED),
            Err(payload) => finish(panicked::<R>(&*payload), PANICKED),
        };
        crash_point!("child.after-arguments");
        if self.daemon {
            end_with_parent(receiver.retype());
        }
        match panic::catch_unwind(AssertUnwindSafe(|| f(args))) {
            Ok(result) => finish(Report::Done(result), 0),
            Err(payload) => finish(panicked::<R>(&*payload), PANICKED),
        }
    }
}

/// Ends this process as soon as the parent's has ended. The connection tells, not a signal: `PR_SET_PDEATHSIG` would come when
/// the *thread* ends that spawned us.
fn end_with_parent(mut receiver: Receiver<()>) {
    let watch = move || {
        // Nothing comes but the end. Any error ends us as well: a daemon that cannot watch its parent must not outlive it.
        while receiver.recv().is_ok() {}
        sys::exit_now(PANICKED)
    };
    if std::thread::Builder::new().name("ipc-watch-parent".into()).spawn(watch).is_err() {
        finish(Report::<()>::Failed("cannot start the thread that watches for the parent's end".into()), PANICKED)
    }
}

/// Sends the report and ends the process, destructors of statics, `atexit` handlers and all.
fn finish<R: Serialize>(report: Report<R>, code: i32) -> ! {
    // Standard output is flushed by `exit`, which gives up if another thread keeps it locked.
    crash_point!("child.before-report");
    if let Some(sender) = lock().take() {
        let mut sender: Sender<Report<R>> = sender.retype();
        match panic::catch_unwind(AssertUnwindSafe(|| report::send(&mut sender, &report))) {
            Ok(Ok(())) => {}
            // The parent has detached us or is gone: nobody wants to know.
            Ok(Err(Error::Disconnected)) => {}
            Ok(Err(error)) => {
                let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
                let mut sender: Sender<Report<()>> = sender.retype();
                let _ = sender.send(Report::Failed(format!("cannot send the result: {error}{cause}")));
            }
            Err(payload) => {
                let mut sender: Sender<Report<()>> = sender.retype();
                let _ = sender.send(panicked(&*payload));
            }
        }
    }
    crash_point!("child.after-report");
    process::exit(code)
}

fn lock() -> std::sync::MutexGuard<'static, Option<Sender<Report<()>>>> {
    REPORTER.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

thread_local! {
    /// The last panic of this thread: the hook knows its place, who catches it only its message.
    static LAST_PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

fn panic_hook() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let name = IDENTITY.get().map_or("", |identity| &identity.name);
        // Not `eprintln`, which panics where standard error cannot be written.
        let _ = writeln!(std::io::stderr(), "\nin process `{name}` ({}):", process::id());
        print(info);
        let message = message_of(info.payload());
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        if cfg!(panic = "abort") {
            // The process ends when the hook returns, whichever thread it is in. If the main thread is reporting already,
            // that report stands.
            if let Some(mut sender) = REPORTER.try_lock().ok().and_then(|mut reporter| reporter.take()) {
                let location = Some(location);
                let _ = sender.send(Report::panicked(message, location));
            }
        } else {
            let _ = LAST_PANIC.try_with(|last| last.replace(Some((message, location))));
        }
    }));
}

fn panicked<R>(payload: &(dyn std::any::Any + Send)) -> Report<R> {
    let message = message_of(payload);
    // A payload that was passed on from elsewhere may not be of this thread's last panic.
    let last = LAST_PANIC.take().filter(|(last, _)| *last == message);
    Report::panicked(message, last.map(|(_, location)| location))
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text.to_string(),
        (_, Some(text)) => text.clone(),
        _ => "a panic whose payload is no text".into(),
    }
}

/// Whatever is opened later must not become a standard descriptor by accident. Rust's runtime does this before `main`.
fn open_standard_descriptors() {
    for fd in [&std::io::stdout() as &dyn AsFd, &std::io::stderr()] {
        if nix::fcntl::fcntl(fd.as_fd(), nix::fcntl::FcntlArg::F_GETFD).is_err() {
            // The lowest free number is the missing one, as 0 is open and no other thread exists.
            if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
                let _ = OwnedFd::from(null).into_raw_fd();
            }
        }
    }
}

fn forbid_core_dumps() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        // 1 byte is too little for a file, and the value at which a core handler is not started either (core(5)).
        let limit = hard.min(1);
        let _ = setrlimit(Resource::RLIMIT_CORE, limit, limit);
    }
}
