//! Opening one end of a FIFO, which is to wait until somebody has the other end.
//!
//! open(2) itself would wait, but without a time-out, and also after the name was removed, when nobody can come any more. So it is
//! opened without waiting, and then it is asked again and again; who waits sleeps up to 10 ms longer than needed.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipc_core::Deadline;
use nix::poll::PollFlags;

use crate::end::{self, Slices};
use crate::error::{Error, Result};
use crate::sys::{self, Probe};

/// A FIFO that was found at a path, and is this one from here on, whatever becomes of the name. It is not open for reading or writing.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) file: File,
    path: PathBuf,
}

impl Place {
    /// Looks what is at the path. `follow` a symbolic link?
    pub(crate) fn look(path: &Path, follow: bool) -> Result<Place> {
        // O_PATH first: to open something else than a FIFO for reading or writing might do something, as with a tape.
        let flags = libc::O_PATH | if follow { 0 } else { libc::O_NOFOLLOW };
        let file = File::options().read(true).custom_flags(flags).open(path);
        Ok(Place { file: file.map_err(Error::at(path, "look at the path"))?, path: path.into() })
    }

    /// Finds the FIFO at the path.
    pub(crate) fn find(path: &Path) -> Result<Place> {
        let place = Place::look(path, true)?;
        match place.about()?.file_type().is_fifo() {
            true => Ok(place),
            false => Err(Error::NotAFifo { path: path.into() }),
        }
    }

    pub(crate) fn about(&self) -> Result<std::fs::Metadata> {
        self.file.metadata().map_err(Error::at(&self.path, "look at the FIFO"))
    }

    /// Another path to it, that cannot become another file's.
    pub(crate) fn itself(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    fn open(&self, options: &mut OpenOptions) -> std::io::Result<File> {
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(self.itself())
    }

    /// The error if the name is gone, by which somebody could come.
    pub(crate) fn check_named(&self) -> Result<()> {
        match self.about()?.nlink() {
            0 => Err(Error::Removed { path: self.path.clone() }),
            _ => Ok(()),
        }
    }

    /// Opens it for reading, and does not wait for anybody. As all these, in the mode that does not wait.
    pub(crate) fn open_for_reading(&self) -> Result<File> {
        let file = self.open(File::options().read(true)).map_err(Error::at(&self.path, "open the FIFO for reading"))?;
        ipc_core::crash_point!("fifo.opened");
        Ok(file)
    }

    /// Opens it for reading and writing, so that there always is a writer.
    pub(crate) fn open_for_both(&self) -> Result<File> {
        let opened = self.open(File::options().read(true).write(true));
        let file = opened.map_err(Error::at(&self.path, "open the FIFO for reading and writing"))?;
        ipc_core::crash_point!("fifo.opened");
        Ok(file)
    }

    /// Opens it for writing, when there is a reader.
    pub(crate) fn open_for_writing(&self, deadline: Deadline) -> Result<File> {
        let mut slices = Slices::until(deadline);
        let mut was_removed = false;
        loop {
            match self.open(File::options().write(true)) {
                Ok(file) => {
                    ipc_core::crash_point!("fifo.opened");
                    return Ok(file);
                }
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::at(&self.path, "open the FIFO for writing")(error)),
            }
            let named = self.check_named();
            // Who comes and removes the name at once is to be found: so without a name there is one more look.
            if std::mem::replace(&mut was_removed, named.is_err()) {
                named?;
            }
            if !was_removed {
                std::thread::sleep(slices.next()?);
            }
        }
    }

    /// Waits until there is a writer for a file that was opened for reading, or bytes, or there was one.
    pub(crate) fn wait_for_writer(&self, file: &File, deadline: Deadline) -> Result<()> {
        let mut slices = Slices::until(deadline);
        let mut was_removed = false;
        loop {
            match sys::probe(file.as_fd()).map_err(Error::io("ask the FIFO for a writer"))? {
                Probe::Writer | Probe::Bytes => return Ok(()),
                Probe::NoWriter => {}
            }
            if end::poll(file, PollFlags::POLLIN, Deadline::NOW).map_err(Error::io("wait for the FIFO"))? {
                return Ok(());
            }
            let named = self.check_named();
            if std::mem::replace(&mut was_removed, named.is_err()) {
                named?; // as above
            }
            if !was_removed {
                let _ = end::poll(file, PollFlags::POLLIN, Deadline::after(slices.next()?));
            }
        }
    }
}

/// Opens the FIFO at the path for reading, when there is a writer.
pub(crate) fn reading(path: &Path, deadline: Deadline) -> Result<File> {
    let place = Place::find(path)?;
    let file = place.open_for_reading()?;
    place.wait_for_writer(&file, deadline)?;
    Ok(file)
}

/// Opens the FIFO at the path for writing, when there is a reader.
pub(crate) fn writing(path: &Path, deadline: Deadline) -> Result<File> {
    Place::find(path)?.open_for_writing(deadline)
}
