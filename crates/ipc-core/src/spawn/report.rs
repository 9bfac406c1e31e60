//! How a function ended: told by the child while it still can, whether or not anybody listens.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Deadline, Decode, Error, Handle, MAX_MESSAGE, Postcard, Result, Sender, frame, handle};

/// What the child tells its parent as its last act.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report<R> {
    /// The function returned.
    Done(R),
    /// It panicked.
    Panicked { message: String, location: Option<String> },
    /// It was not called, or what it returned could not be sent.
    Failed(String),
    /// It returned something long: an encoded `Done` in a nameless file, and the handles in it.
    Spilled { file: Handle, handles: Vec<Handle> },
}

/// A longer report goes as a file. The socket would not take it before somebody reads, and the process could not end: who waits
/// for its end before it joins would wait for ever.
const SPILL: usize = 64 * 1024;

/// The longest message of a panic that is told.
const TEXT: usize = 16 * 1024;

impl<R> Report<R> {
    /// A panic's message, cut to what certainly gets through.
    pub(super) fn panicked(mut message: String, location: Option<String>) -> Report<R> {
        let end = (0..=TEXT.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        Report::Panicked { message, location }
    }

    /// Whether the encoded report says that the function returned; what, is not known here.
    pub(super) fn is_done(encoded: &[u8]) -> bool {
        matches!(encoded.first(), Some(0 | 3)) // the positions of `Done` and `Spilled`
    }

    /// Reads what was spilled.
    pub(super) fn gather(self) -> Result<Report<R>, String>
    where
        R: DeserializeOwned,
    {
        let Report::Spilled { file, handles } = self else { return Ok(self) };
        let text = |error: std::io::Error| format!("cannot read the result: {error}");
        let file = File::from(file.into_fd().map_err(text)?);
        let metadata = file.metadata().map_err(text)?;
        // It comes from the child, which may be hostile: a pipe could be read for ever.
        if !metadata.is_file() || metadata.len() > MAX_MESSAGE {
            return Err("cannot read the result: it is no file, or too long".into());
        }
        let mut bytes = vec![0; metadata.len() as usize];
        file.read_exact_at(&mut bytes, 0).map_err(text)?;
        let fds = handles.into_iter().map(Handle::into_fd).collect::<Result<_, _>>().map_err(text)?;
        match handle::offering(fds, || Postcard::decode(&bytes)) {
            Ok(Report::Spilled { .. }) => Err("cannot read the result: it is no result".into()),
            Ok(report) => Ok(report),
            Err(cause) => Err(format!("cannot decode the result: {cause}")),
        }
    }
}

/// Sends the report so that the parent need not be there: what is too long for the socket goes as a file.
pub(super) fn send<R: Serialize>(sender: &mut Sender<Report<R>>, report: &Report<R>) -> Result<()> {
    let outgoing = sender.enqueue(report)?;
    if sender.staged() > SPILL {
        let frames = sender.retract();
        let handles = outgoing.handles().iter().map(Handle::share).collect();
        let file = spill(frame::payload(&frames)).map_err(Error::io("write the result"))?;
        sender.enqueue(&Report::Spilled { file, handles })?;
    }
    sender.flush_by(Deadline::NEVER)
}

fn spill(bytes: &[u8]) -> std::io::Result<Handle> {
    let mut file = File::from(memfd_create(c"ipc-result", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(Handle::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encode;

    fn encoded(report: &Report<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        handle::collecting(|| Postcard::encode(report, &mut bytes)).0.unwrap();
        bytes
    }

    #[test]
    fn results_are_told_from_other_reports() {
        let file = Handle::from(File::open("/dev/null").unwrap());
        assert!(Report::<()>::is_done(&encoded(&Report::Done(1))));
        assert!(Report::<()>::is_done(&encoded(&Report::Spilled { file, handles: vec![] })));
        assert!(!Report::<()>::is_done(&encoded(&Report::panicked("x".into(), None))));
        assert!(!Report::<()>::is_done(&encoded(&Report::Failed(String::new()))));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let Report::<()>::Panicked { message, .. } = Report::panicked("ä".repeat(TEXT), None) else { panic!() };
        assert_eq!(message.len(), TEXT);
        let Report::<()>::Panicked { message, .. } = Report::panicked(format!("x{}", "ä".repeat(TEXT)), None) else {
            panic!()
        };
        assert_eq!(message.len(), TEXT - 1);
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let (end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let report = Report::<u8>::Spilled { file: Handle::from(end), handles: vec![] };
        assert!(report.gather().is_err());
    }
}
