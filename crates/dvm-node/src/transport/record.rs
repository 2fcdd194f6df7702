//! The recorder: appends every message to a capture before it is sent.
//!
//! Source: `docs/operating.md`, "What left this node". The form is that of [`crate::capture`].
//!
//! Always true: [`Recorder::record`] returns after the whole record was written; a failure means that
//! the message must not be sent; after a crash the file continues behind its last whole record.
//!
//! Not here: durability against a loss of power. Nothing that is sent rests on a capture.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use dvm_core::codec::Artifact;
use dvm_core::ids::NodeId;

use crate::capture::{MAGIC, Recorded, framed};

/// Length of a record's length.
const HEAD: u64 = 4;

/// An open capture.
pub struct Recorder {
    from: NodeId,
    file: Mutex<State>,
}

struct State {
    file: File,
    /// Set when a write failed: what stands at the end of the file is unknown then.
    broken: bool,
}

impl Recorder {
    /// Opens or makes a capture, readable by its owner only, and cuts off a torn last record.
    ///
    /// # Errors
    /// The system's, or `InvalidData` for a file that is not a capture.
    pub fn open(path: &Path, from: NodeId) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path)?;
        if file.metadata()?.len() < MAGIC.len() as u64 {
            begin(&mut file)?;
        }
        let end = end_of_whole_records(&mut file)?;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { from, file: Mutex::new(State { file, broken: false }) })
    }

    /// Appends a message.
    ///
    /// # Errors
    /// The disk's; from then on every message is refused.
    pub fn record(&self, at_ms: u64, to: &NodeId, message: &[u8]) -> Result<()> {
        let (from, to) = (self.from.clone(), to.clone());
        let record = Recorded { at_ms, from, to, message: message.to_vec().into() };
        let bytes = framed(&record);
        let mut state = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if state.broken {
            return Err(ErrorKind::Other.into());
        }
        let written = state.file.write_all(&bytes);
        if let Err(error) = &written {
            state.broken = true;
            tracing::error!(%error, "the wire capture cannot be written; nothing leaves any more");
        }
        written
    }
}

/// A new file, or one whose maker died before the magic was whole.
fn begin(file: &mut File) -> Result<()> {
    let mut start = Vec::new();
    file.read_to_end(&mut start)?;
    if !MAGIC.starts_with(&start) {
        return Err(ErrorKind::InvalidData.into());
    }
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(MAGIC)
}

/// Walks over the records' lengths.
fn end_of_whole_records(file: &mut File) -> Result<u64> {
    let size = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(Error::new(ErrorKind::InvalidData, "not a wire capture"));
    }
    let mut end = MAGIC.len() as u64;
    while size - end >= HEAD {
        let mut len = [0; 4];
        file.seek(SeekFrom::Start(end))?;
        file.read_exact(&mut len)?;
        let len = u64::from(u32::from_be_bytes(len));
        if len > Recorded::BYTES_MAX as u64 {
            return Err(Error::new(ErrorKind::InvalidData, "not a wire capture"));
        }
        if size - end - HEAD < len {
            break;
        }
        end += HEAD + len;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Reader;

    fn recorded(path: &Path) -> Vec<Recorded> {
        let mut reader = Reader::new(File::open(path).unwrap()).unwrap();
        std::iter::from_fn(|| reader.next_record().unwrap()).collect()
    }

    fn open(path: &Path) -> Recorder {
        Recorder::open(path, "n1".parse().unwrap()).unwrap()
    }

    #[test]
    fn every_message_is_in_the_capture_in_order_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wire.capture");
        let to: NodeId = "n2".parse().unwrap();
        for run in 0..3_u8 {
            let recorder = open(&path);
            recorder.record(7, &to, &[run]).unwrap();
            recorder.record(8, &to, &vec![run; 1 << 20]).unwrap();
        }
        let all = recorded(&path);
        let lens: Vec<(u64, usize)> = all.iter().map(|r| (r.at_ms, r.message.0.len())).collect();
        assert_eq!(lens, [(7, 1), (8, 1 << 20)].repeat(3));
        assert!(all.iter().all(|r| r.from.as_str() == "n1" && r.to == to));
    }

    #[test]
    fn a_torn_last_record_is_cut_off_wherever_it_was_torn_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wire.capture");
        let to: NodeId = "n2".parse().unwrap();
        open(&path).record(1, &to, b"first").unwrap();
        let one = std::fs::read(&path).unwrap();
        open(&path).record(2, &to, b"second").unwrap();
        let two = std::fs::read(&path).unwrap();
        for cut in [0, 3, 7].into_iter().chain(one.len()..two.len()) {
            std::fs::write(&path, &two[..cut]).unwrap();
            open(&path).record(3, &to, b"third").unwrap();
            let times: Vec<u64> = recorded(&path).iter().map(|r| r.at_ms).collect();
            let kept: &[u64] = if cut < one.len() { &[3] } else { &[1, 3] };
            assert_eq!(times, kept, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_that_is_no_capture_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("something");
        for content in
            [&b"x"[..], b"DVMWIRE2", b"a longer text of somebody's", b"DVMWIRE1\xff\xff\xff\xff"]
        {
            std::fs::write(&path, content).unwrap();
            assert!(Recorder::open(&path, "n1".parse().unwrap()).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }
}
