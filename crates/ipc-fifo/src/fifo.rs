//! Names: how FIFOs are made, found, taken over and removed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipc_core::{Deadline, MARK};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::end::set_wait;
use crate::error::{Error, Result};
use crate::name::{
    Claim, Found, Owned, PATIENCE, check_mode, check_path, lock_folder, make_or_find, may_be_left, release, set_mode,
};
use crate::open::{self, Place};
use crate::reader::Reader;
use crate::writer::Writer;

/// A named pipe in the file system.
///
/// It is a path, and for the process that [created](Fifo::create) it the ownership of that name: dropping it removes the name, and
/// leaves alone who has an end open. In another process, as an argument of [`Process::spawn`](ipc_core::Process::spawn) or from a message,
/// it is the path only. As spawning consumes its arguments, pass what [`share`](Fifo::share) gives, and keep the owner.
///
/// ```
/// use ipc_fifo::{Fifo, Process, Reader, Writer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-fifo-{}", std::process::id()));
/// let fifo = Fifo::create(&path, 0o600)?;
/// let child = Process::spawn(|fifo: Fifo| fifo.writer().and_then(|mut w: Writer<u32>| w.send(42)).unwrap(), fifo.share())?;
/// let mut reader: Reader<u32> = fifo.reader()?; // waits for the child
/// assert_eq!(reader.recv()?, 42);
/// child.join()?;
/// drop(fifo);
/// assert!(!path.exists());
/// # Ok(()) }
/// ```
///
/// # When a process dies
///
/// A killed owner leaves the name. The next `create` of the same path by the same user takes it over, and who has the FIFO open goes on
/// with it; a [`Scope`](crate::Scope) removes the names of a killed process at once.
///
/// # In a folder that others can read
///
/// Who owns a name, and who is just making one, is told by locks on the folder, which any user may take who can read it, as `/tmp`. Nobody
/// gets more than his permissions by that, but he can keep names from being made (`create` fails after a second) and from being
/// taken over or removed after a death (all of them look owned), as long as he likes. Where not all users are trusted take a
/// folder of one's own, such as `$XDG_RUNTIME_DIR`.
///
/// # References
/// fifo(7), mkfifo(3); CPython `os.mkfifo`.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    owned: Option<Claim>,
}

impl Fifo {
    /// Makes a FIFO that belongs to this process: its name is removed when this is dropped. `mode` are the permissions, exactly, whatever
    /// the umask is; 0o600 is for processes of this user only.
    ///
    /// A FIFO that a dead process of this user has left at the path is taken over as it is, with those who still have it open, and gets the
    /// mode. It is known by its sticky bit, and by a lock on its folder that ends with its owner. If this process is killed on the way,
    /// there is no FIFO, or one that the next call takes over. Waits up to a second for another process that is making a name in the
    /// same folder.
    ///
    /// ```
    /// use ipc_fifo::{Error, Fifo};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-create-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// assert!(matches!(Fifo::create(&path, 0o600), Err(Error::Exists { .. }))); // its owner lives
    /// drop(fifo);
    /// Fifo::create(&path, 0o600)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Exists`] if somebody has a FIFO there, or there is something else; [`Error::Missing`] if there is no such folder;
    /// [`Error::Forbidden`] if nothing may be made in it, or it may not be read; [`Error::BadPath`], [`Error::BadMode`]; [`Error::Io`]
    /// if the file system has no FIFOs or no locks, or the folder stays locked.
    ///
    /// # References
    /// mkfifo(3), flock(2), `F_OFD_SETLK` in fcntl(2); CPython `os.mkfifo`.
    #[doc(alias = "mkfifo")]
    pub fn create(path: impl AsRef<Path>, mode: u32) -> Result<Fifo> {
        let path = check_path(path.as_ref())?;
        check_mode(mode)?;
        let (folder, alone) = lock_folder(&path)?;
        let taken = |_: &Place| Err(Error::Exists { path: path.clone() });
        let place = match make_or_find(&path, mode, &folder, taken)? {
            Found::Ours(place) => place,
            Found::Theirs => return Err(Error::Exists { path }),
        };
        let owned = Owned::enter(path.clone(), place, folder)?;
        ipc_core::crash_point!("fifo.owned");
        let mode = set_mode(&owned.place, mode | MARK);
        drop(alone); // an error removes the name again, for which the folder is locked
        let fifo = Fifo { path, owned: Some(Arc::new(Mutex::new(Some(owned)))) };
        mode.map(|()| fifo)
    }

    /// Uses the FIFO at the path, or makes one that stays: for programs of which either may come first. `mode` is for one that is made, as
    /// with [`create`](Fifo::create).
    ///
    /// One that a dead process has left, and had meant to remove, stays from now on, with this mode.
    ///
    /// ```
    /// use ipc_fifo::{Error, Fifo};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-either-{}", std::process::id()));
    /// let first = Fifo::open_or_create(&path, 0o600)?; // made
    /// let second = Fifo::open_or_create(&path, 0o600)?; // found
    /// drop((first, second));
    /// Fifo::open(&path)?; // it stays
    /// Fifo::unlink(&path)?;
    /// assert!(matches!(Fifo::open(&path), Err(Error::Missing { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotAFifo`]; else as `create`.
    pub fn open_or_create(path: impl AsRef<Path>, mode: u32) -> Result<Fifo> {
        let path = check_path(path.as_ref())?;
        check_mode(mode)?;
        match Place::find(&path) {
            // Most often it just is there, and its folder need not be one that we may lock.
            Ok(place) if !may_be_left(&place.about()?) => return Ok(Fifo { path, owned: None }),
            Ok(_) | Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let (folder, _alone) = lock_folder(&path)?;
        let is_fifo = |place: &Place| match place.about()?.file_type() {
            kind if kind.is_symlink() => Place::find(&path).map(drop),
            kind if kind.is_fifo() => Ok(()),
            _ => Err(Error::NotAFifo { path: path.clone() }),
        };
        if let Found::Ours(place) = make_or_find(&path, mode, &folder, is_fifo)? {
            // The mark goes in the same step as the mode comes: until then it is one that was left.
            set_mode(&place, mode)?;
        }
        Ok(Fifo { path, owned: None })
    }

    /// Uses the FIFO at the path, whoever has made it. It may be found by a symbolic link.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAFifo`], [`Error::BadPath`], [`Error::Forbidden`].
    pub fn open(path: impl AsRef<Path>) -> Result<Fifo> {
        let path = check_path(path.as_ref())?;
        Place::find(&path)?;
        Ok(Fifo { path, owned: None })
    }

    /// Removes the name of a FIFO, whoever has made it. Who has it open goes on; who waits for somebody to open it gets
    /// [`Error::Removed`].
    ///
    /// ```
    /// use ipc_fifo::{Error, Fifo, Postcard};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-unlink-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let waiting = fifo.share();
    /// let waiting = std::thread::spawn(move || waiting.reader::<(), Postcard>().map(drop));
    /// Fifo::unlink(&path)?;
    /// // Nobody can come any more: whether it was waiting already, or had not yet looked at the path.
    /// assert!(matches!(waiting.join().unwrap(), Err(Error::Removed { .. } | Error::Missing { .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NotAFifo`], [`Error::BadPath`], [`Error::Forbidden`].
    ///
    /// # References
    /// unlink(2); CPython `os.unlink`.
    pub fn unlink(path: impl AsRef<Path>) -> Result<()> {
        let path = check_path(path.as_ref())?;
        if !Place::look(&path, false)?.about()?.file_type().is_fifo() {
            return Err(Error::NotAFifo { path });
        }
        fs::remove_file(&path).map_err(Error::at(&path, "remove the name of the FIFO"))
    }

    /// Another handle to the same path, which does not own the name: to pass to a process or a thread.
    pub fn share(&self) -> Fifo {
        Fifo { path: self.path.clone(), owned: None }
    }

    /// Where it is: the path it was made or opened with, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives up the ownership: the FIFO stays until somebody [unlinks](Fifo::unlink) it. No change for one that is not owned here.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-persist-{}", std::process::id()));
    /// let fifo = ipc_fifo::Fifo::create(&path, 0o600)?;
    /// drop(fifo.persist()?);
    /// assert!(path.exists());
    /// ipc_fifo::Fifo::unlink(&path)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The file system refused to change the file's mode. The name is removed then, as if this had been dropped.
    pub fn persist(mut self) -> Result<Fifo> {
        if let Some(owned) = self.owned.take().as_ref().and_then(release) {
            owned.persist()?;
        }
        Ok(Fifo { path: std::mem::take(&mut self.path), owned: None })
    }

    pub(crate) fn claim(&self) -> Option<Claim> {
        self.owned.clone()
    }
}

/// # Typed records: many writers, one reader
///
/// The three reading forms wait for a writer, the three writing ones for a reader, as open(2) does. All look at the path anew.
impl Fifo {
    /// Opens the FIFO for receiving; waits until somebody has opened it for sending, or has left something in it.
    ///
    /// There should be one reader at a time: of two, each gets some of the messages, and long ones are torn.
    ///
    /// # Errors
    /// [`Error::Removed`] if the name is removed meanwhile; [`Error::Missing`], [`Error::NotAFifo`], [`Error::Forbidden`].
    ///
    /// # References
    /// fifo(7), open(2); CPython `os.open` with `O_RDONLY`.
    pub fn reader<T, C>(&self) -> Result<Reader<T, C>> {
        open::reading(&self.path, Deadline::NEVER).map(Reader::new)
    }

    /// As [`reader`](Fifo::reader), but does not wait.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: there is no writer. Else as `reader`.
    pub fn try_reader<T, C>(&self) -> Result<Reader<T, C>> {
        open::reading(&self.path, Deadline::NOW).map(Reader::new)
    }

    /// As [`reader`](Fifo::reader), but waits no longer than `timeout`.
    ///
    /// ```
    /// use ipc_fifo::{Fifo, Reader, Writer};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-ends-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let soon = Duration::from_millis(20);
    /// let none: ipc_fifo::Result<Reader<u32>> = fifo.reader_timeout(soon);
    /// assert!(none.is_err_and(|e| e.is_timeout()));
    /// let none: ipc_fifo::Result<Reader<u32>> = fifo.try_reader();
    /// assert!(none.is_err_and(|e| e.is_would_block()));
    ///
    /// let lasting: Reader<u32> = fifo.lasting_reader()?; // waits for nobody
    /// let _writer: Writer<u32> = fifo.writer_timeout(soon)?; // finds a reader
    /// drop(lasting);
    /// let _reader: Reader<u32> = fifo.try_reader()?; // finds a writer
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`]: no writer came. Else as `reader`.
    pub fn reader_timeout<T, C>(&self, timeout: Duration) -> Result<Reader<T, C>> {
        open::reading(&self.path, Deadline::after(timeout)).map(Reader::new)
    }

    /// Opens the FIFO for receiving from whoever comes, one after the other: does not wait for a writer, and the reader never gets
    /// [`Error::Disconnected`], as it counts as a writer itself. What a server needs.
    ///
    /// ```
    /// use ipc_fifo::{Fifo, Reader, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-lasting-{}", std::process::id()));
    /// let fifo = Fifo::create(&path, 0o600)?;
    /// let mut requests: Reader<u32> = fifo.lasting_reader()?;
    /// for client in 1..=2 {
    ///     let mut writer: Writer<u32> = fifo.writer()?; // clients come and go
    ///     writer.send(client)?;
    /// }
    /// assert_eq!((requests.recv()?, requests.recv()?), (1, 2));
    /// assert!(requests.try_recv().is_err_and(|e| e.is_would_block())); // and not disconnected
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forbidden`] also if it may not be written; [`Error::Missing`], [`Error::NotAFifo`].
    ///
    /// # References
    /// fifo(7), of opening for reading and writing; CPython `os.open` with `O_RDWR`.
    pub fn lasting_reader<T, C>(&self) -> Result<Reader<T, C>> {
        Place::find(&self.path)?.open_for_both().map(Reader::new)
    }

    /// Opens the FIFO for sending; waits until somebody has opened it for receiving.
    ///
    /// # Errors
    /// [`Error::Removed`] if the name is removed meanwhile; [`Error::Missing`], [`Error::NotAFifo`], [`Error::Forbidden`].
    ///
    /// # References
    /// fifo(7), open(2); CPython `os.open` with `O_WRONLY`.
    pub fn writer<T: ?Sized, C>(&self) -> Result<Writer<T, C>> {
        Writer::new(open::writing(&self.path, Deadline::NEVER)?)
    }

    /// As [`writer`](Fifo::writer), but does not wait.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]: there is no reader. Else as `writer`.
    pub fn try_writer<T: ?Sized, C>(&self) -> Result<Writer<T, C>> {
        Writer::new(open::writing(&self.path, Deadline::NOW)?)
    }

    /// As [`writer`](Fifo::writer), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::Timeout`]: no reader came. Else as `writer`.
    pub fn writer_timeout<T: ?Sized, C>(&self, timeout: Duration) -> Result<Writer<T, C>> {
        Writer::new(open::writing(&self.path, Deadline::after(timeout))?)
    }
}

/// # Plain files: bytes
///
/// For peers that write no records. The files are in blocking mode and close-on-exec; a
/// [`Sender`](ipc_core::Sender) or [`Receiver`](ipc_core::Receiver) can be made of one, for CPython's frames with one writer and one reader.
impl Fifo {
    /// Opens the FIFO as a file for reading; waits for a writer. See [`reader`](Fifo::reader).
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-plain-{}", std::process::id()));
    /// let fifo = ipc_fifo::Fifo::create(&path, 0o600)?;
    /// let shell = std::process::Command::new("sh").args(["-c", "echo hello > \"$0\""]).arg(&path).spawn();
    /// let mut text = String::new();
    /// fifo.read_end()?.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello\n");
    /// # shell?.wait()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`reader`](Fifo::reader).
    pub fn read_end(&self) -> Result<File> {
        open::reading(&self.path, Deadline::NEVER).and_then(plain)
    }

    /// As [`read_end`](Fifo::read_end), but does not wait.
    ///
    /// # Errors
    /// As [`try_reader`](Fifo::try_reader).
    pub fn try_read_end(&self) -> Result<File> {
        open::reading(&self.path, Deadline::NOW).and_then(plain)
    }

    /// As [`read_end`](Fifo::read_end), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`reader_timeout`](Fifo::reader_timeout).
    pub fn read_end_timeout(&self, timeout: Duration) -> Result<File> {
        open::reading(&self.path, Deadline::after(timeout)).and_then(plain)
    }

    /// Opens the FIFO as a file for writing; waits for a reader. See [`writer`](Fifo::writer).
    ///
    /// ```
    /// use std::{io::Write, time::Duration};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ipc-fifo-doc-bytes-{}", std::process::id()));
    /// let fifo = ipc_fifo::Fifo::create(&path, 0o600)?;
    /// assert!(fifo.try_write_end().is_err_and(|e| e.is_would_block())); // nobody reads
    /// assert!(fifo.write_end_timeout(Duration::from_millis(20)).is_err_and(|e| e.is_timeout()));
    /// assert!(fifo.try_read_end().is_err_and(|e| e.is_would_block()));
    /// let reading = std::thread::spawn({
    ///     let fifo = fifo.share();
    ///     move || fifo.read_end_timeout(Duration::MAX).map(std::io::read_to_string)
    /// });
    /// fifo.write_end()?.write_all(b"plain bytes")?;
    /// assert_eq!(reading.join().unwrap()??, "plain bytes");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`writer`](Fifo::writer).
    pub fn write_end(&self) -> Result<File> {
        open::writing(&self.path, Deadline::NEVER).and_then(plain)
    }

    /// As [`write_end`](Fifo::write_end), but does not wait.
    ///
    /// # Errors
    /// As [`try_writer`](Fifo::try_writer).
    pub fn try_write_end(&self) -> Result<File> {
        open::writing(&self.path, Deadline::NOW).and_then(plain)
    }

    /// As [`write_end`](Fifo::write_end), but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`writer_timeout`](Fifo::writer_timeout).
    pub fn write_end_timeout(&self, timeout: Duration) -> Result<File> {
        open::writing(&self.path, Deadline::after(timeout)).and_then(plain)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if let Some(owned) = self.owned.as_ref().and_then(release) {
            owned.remove(Deadline::after(PATIENCE));
        }
    }
}

fn plain(file: File) -> Result<File> {
    set_wait(&file, true).map(|()| file)
}

impl Serialize for Fifo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.path.as_os_str().serialize(serializer) // a path need not be text
    }
}

impl<'de> Deserialize<'de> for Fifo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::from(OsString::deserialize(deserializer)?);
        Ok(Fifo { path: check_path(&path).map_err(serde::de::Error::custom)?, owned: None })
    }
}
