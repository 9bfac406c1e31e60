//! Starting a process: with what name, environment, directory and standard streams.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as StdStdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::child::{IDENTITY, Identity, Setup};
use super::entry::{self, EntryOf, VARIABLE};
use super::process::{Process, Shared};
use super::running::Child;
use crate::error::{Error, Result};
use crate::{Connection, Deadline, Handle, Sender, crash_point, sys};

/// How a process is started. [`Process::spawn`] is `Builder::new().spawn`.
///
/// ```
/// use ipc_core::{Builder, Stdio, current_process};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let child = Builder::new()
///     .name("worker")
///     .env("LEVEL", "3")
///     .stdout(Stdio::Null)
///     .spawn(|n: u32| (current_process().name().to_string(), std::env::var("LEVEL").unwrap(), n + 1), 41)?;
/// assert_eq!(child.join()?, ("worker".into(), "3".into(), 42));
/// # Ok(()) }
/// ```
///
/// # References
/// [`std::process::Command`], which starts it; CPython `multiprocessing.Process`, for `name` and `daemon`.
#[derive(Debug, Default)]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
    own_group: bool,
    no_core_dumps: bool,
    handover: Option<Duration>,
    env_clear: bool,
    /// Set, or removed; the last word on a variable counts.
    env: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
}

/// What a standard stream of a process is to be.
///
/// There is no `Piped`: make a pipe, as with `std::io::pipe`, give one end to the child and keep the other.
///
/// ```
/// use ipc_core::{Builder, Stdio};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let child = Builder::new()
///     .stdin(Stdio::Null)
///     .stdout(theirs) // whatever owns a descriptor
///     .stderr(Stdio::Inherit)
///     .spawn(|()| println!("hello"), ())?;
/// assert_eq!(std::io::read_to_string(ours)?, "hello\n"); // ends with the child, which has the only other end
/// child.join()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// The parent's.
    #[default]
    Inherit,
    /// Nothing: `/dev/null`.
    Null,
    /// This file, pipe or socket.
    Fd(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(fd: T) -> Stdio {
        Stdio::Fd(fd.into())
    }
}

impl Builder {
    /// A process with the parent's environment, directory and standard streams.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Its name, in [`Child::name`] and, cut to 15 bytes, in what `ps` and `top` show. Unless set, it is called after the
    /// order of starts: `Process-1`, and its first child `Process-1:1`.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Whether the process ends at once when this one does, however that ends. Not, unless set: it goes on.
    ///
    /// A daemon has a thread that watches. It ends without destructors and without flushing. A process that was forked (not
    /// spawned) from this one counts as this one as long as it lives.
    ///
    /// ```
    /// use ipc_core::{Builder, Handle, Process};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// // A process that starts a daemon, which holds the other end for ever, and returns.
    /// let starter = Process::spawn(
    ///     |line: Handle| {
    ///         let forever = |_line: Handle| -> () { loop { std::thread::park() } };
    ///         Builder::new().daemon(true).spawn(forever, line).unwrap().is_daemon()
    ///     },
    ///     Handle::from(theirs),
    /// )?;
    /// assert!(starter.join()?);
    /// assert_eq!(std::io::read_to_string(ours)?, ""); // the daemon has ended with it
    /// # Ok(()) }
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = daemon;
        self
    }

    /// Whether it may write a core dump when it crashes. `false` also lets its death be noticed at once, where else its
    /// descriptors stay open until the dump is written. As this process, unless set.
    ///
    /// ```
    /// use ipc_core::{Builder, JoinError};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let child = Builder::new().core_dumps(false).spawn(|()| -> () { std::process::abort() }, ())?;
    /// assert_eq!(child.join(), Err(JoinError::Killed { signal: 6, core_dumped: false }));
    /// # Ok(()) }
    /// ```
    pub fn core_dumps(mut self, allowed: bool) -> Builder {
        self.no_core_dumps = !allowed;
        self
    }

    /// How long `spawn` may take to hand over the arguments; without end unless set. It takes long only for arguments of more
    /// than about 200 KB, and only when the child is stopped or starved. Then the child is killed.
    ///
    /// ```
    /// use ipc_core::Builder;
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Builder::new().handover_timeout(Duration::from_secs(5));
    /// let child = builder.spawn(|bytes: Vec<u8>| bytes.len(), vec![0; 1 << 20])?;
    /// assert_eq!(child.join()?, 1 << 20);
    /// # Ok(()) }
    /// ```
    pub fn handover_timeout(mut self, timeout: Duration) -> Builder {
        self.handover = Some(timeout);
        self
    }

    /// Sets an environment variable of the child.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Builder {
        self.env.push((key.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Builder {
        self.env.push((key.as_ref().into(), None));
        self
    }

    /// Starts with an empty environment, but for what is set after this.
    ///
    /// ```
    /// use ipc_core::Builder;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let child = Builder::new().env_clear().env("LEVEL", "3").env("DEBUG", "1").env_remove("DEBUG");
    /// let child = child.spawn(|()| ["PATH", "LEVEL", "DEBUG"].map(|name| std::env::var(name).ok()), ())?;
    /// assert_eq!(child.join()?, [None, Some("3".to_string()), None]);
    /// # Ok(()) }
    /// ```
    pub fn env_clear(mut self) -> Builder {
        self.env.clear();
        self.env_clear = true;
        self
    }

    /// The working directory of the child.
    ///
    /// ```
    /// use ipc_core::Builder;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let child = Builder::new().current_dir("/").spawn(|()| std::env::current_dir().unwrap(), ())?;
    /// assert_eq!(child.join()?, std::path::Path::new("/"));
    /// # Ok(()) }
    /// ```
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Builder {
        self.directory = Some(directory.as_ref().into());
        self
    }

    /// Its standard input.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Builder {
        self.stdin = stdin.into();
        self
    }

    /// What is typed at the terminal does not reach it, from its first moment.
    #[cfg(feature = "named")]
    pub(crate) fn group_of_its_own(mut self) -> Builder {
        self.own_group = true;
        self
    }

    /// Its standard output.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Builder {
        self.stdout = stdout.into();
        self
    }

    /// Its standard error.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Builder {
        self.stderr = stderr.into();
        self
    }

    /// Starts a process that calls `f(args)`; see [`Process::spawn`].
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn<F, A, R>(self, f: F, args: A) -> Result<Process<R>>
    where
        F: FnOnce(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.start(f, args, false).map(Process::new)
    }

    pub(super) fn start<F, A, R>(self, f: F, args: A, scoped: bool) -> Result<Arc<Shared>>
    where
        F: FnOnce(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        entry::check()?;
        let ticket = EntryOf::<F, A, R>::ticket(f);
        let (ours, theirs) = socket_pair().map_err(Error::io("create the connection to the child"))?;
        let connection = Connection::<Setup, ()>::try_from(ours)?;
        let (mut sender, receiver) = connection.into_halves();
        sender.set_max_message(i64::MAX as u64);

        let identity = self.identity();
        let setup = Setup {
            stdin: self.stdin.into_handle(io::stdin()).map_err(Error::io("prepare the child's standard input"))?,
            command: command_name(self.name.as_deref()),
            identity: identity.clone(),
            core_dumps: !self.no_core_dumps,
        };
        // What can be wrong with the arguments is found before there is a process.
        sender.enqueue(&setup)?;
        let mut sender: Sender<A> = sender.retype();
        let outgoing = sender.enqueue(&args)?;
        crash_point!("spawn.encoded");

        let mut arguments = std::env::args_os();
        // Not `current_exe()`, which is a name, and another file or none if the program was replaced while it runs. And plain
        // `Command` only: with `pre_exec` and the like it would fork, which copies the page tables of a big parent.
        let mut command = Command::new("/proc/self/exe");
        command.arg0(arguments.next().unwrap_or_default()).args(arguments);
        if self.env_clear {
            command.env_clear();
        }
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        command.env(VARIABLE, ticket.to_variable());
        if self.own_group {
            command.process_group(0);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        // The connection goes as standard input: a descriptor that is made inheritable would leak into any process that
        // another thread starts at this moment. The true standard input follows over the connection.
        command.stdin(theirs).stdout(self.stdout).stderr(self.stderr);
        let mut process = command.spawn().map_err(Error::io("start the process"))?;
        drop(command); // and with it our copy of the child's end
        crash_point!("spawn.started");
        let child = match Child::new(identity, process.id()) {
            Ok(child) => child,
            Err(error) => {
                let _ = process.kill().and_then(|()| process.wait());
                return Err(Error::io("watch the process")(error));
            }
        };
        crash_point!("spawn.watched");
        match sender.flush_by(self.handover.map_or(Deadline::NEVER, Deadline::after)) {
            // It was killed already; who joins it learns how.
            Ok(()) | Err(Error::Disconnected) => outgoing.sent(),
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait(Deadline::NEVER));
                child.ended();
                return Err(error);
            }
        }
        crash_point!("spawn.handed-over");
        Ok(Arc::new(Shared::new(child, receiver, scoped)))
    }

    fn identity(&self) -> Identity {
        static CHILDREN: AtomicU32 = AtomicU32::new(0);
        let mut path = IDENTITY.get().map_or(Vec::new(), |own| own.path.clone());
        path.push(CHILDREN.fetch_add(1, Ordering::Relaxed) + 1);
        let numbers: Vec<String> = path.iter().map(u32::to_string).collect();
        Identity {
            name: self.name.clone().unwrap_or_else(|| format!("Process-{}", numbers.join(":"))),
            path,
            daemon: self.daemon,
            parent: std::process::id(),
        }
    }
}

/// Two ends of a socket that are no standard descriptors, or the child would inherit one as such if this process has closed its own.
fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let above = |fd: OwnedFd| if fd.as_raw_fd() > 2 { Ok(fd) } else { sys::duplicate_above_standard(fd.as_fd()) };
    let (ours, theirs) = UnixStream::pair()?;
    Ok((above(ours.into())?, above(theirs.into())?))
}

/// What `ps` is to show: the name that was given, else that of the program, which would be `exe`.
fn command_name(name: Option<&str>) -> CString {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    let bytes = name.map_or(program.as_bytes(), str::as_bytes);
    CString::new(bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>()).unwrap_or_default()
}

fn null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

impl Stdio {
    fn into_handle(self, inherited: impl AsFd) -> io::Result<Handle> {
        let fd = match self {
            Stdio::Fd(fd) => fd,
            Stdio::Null => null()?.into(),
            Stdio::Inherit => match inherited.as_fd().try_clone_to_owned() {
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => null()?.into(), // it is closed here
                fd => fd?,
            },
        };
        Ok(Handle::from(fd))
    }
}

impl From<Stdio> for StdStdio {
    fn from(stdio: Stdio) -> StdStdio {
        match stdio {
            Stdio::Inherit => StdStdio::inherit(),
            Stdio::Null => StdStdio::null(),
            Stdio::Fd(fd) => fd.into(),
        }
    }
}
