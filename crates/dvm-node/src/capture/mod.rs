//! Captures: files with every message that a node put on the wire, and what can be judged from them.
//!
//! A capture starts with eight bytes of magic; then come records, each a big-endian `u32` length and
//! the canonical bytes of a [`Recorded`]. The transport writes it (`transport/record.rs`).
//!
//! Always true: a record is whole before its message is sent, so a capture misses nothing that left;
//! it may hold messages that did not. A torn last record stands for a message that was never sent.
//!
//! Not here: secrets. What nodes say to each other is public or sealed from kernel to kernel.

mod check;

use std::io::{ErrorKind, Read};

use dvm_core::codec::{self, Artifact};
use dvm_core::ids::NodeId;
use dvm_core::{Bytes, limits};
use serde::{Deserialize, Serialize};

pub use check::{Checker, Complaint, Found, Rule};

/// First bytes of every capture.
pub const MAGIC: &[u8; 8] = b"DVMWIRE1";

/// One message as it left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// When, by the sender's clock, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The message's canonical bytes.
    pub message: Bytes,
}

impl Artifact for Recorded {
    const SCHEMA: &'static str = "dvm/recorded/1";
    const BYTES_MAX: usize = limits::CALL_BYTES_MAX + 4096;
}

/// Why a file is no capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The disk.
    #[error("unreadable: {0}")]
    Io(#[from] std::io::Error),
    /// It does not start as one.
    #[error("does not start with the magic of a wire capture")]
    Magic,
    /// A record that no node writes.
    #[error("record {number} is not one that a node writes")]
    Record {
        /// Its number, from 0.
        number: u64,
    },
}

/// Reads the records of a capture in order; a torn last one ends it like the end of the file.
pub struct Reader<R> {
    from: R,
    number: u64,
}

impl<R: Read> Reader<R> {
    /// Starts reading.
    ///
    /// # Errors
    /// [`CaptureError`] if the magic is not there.
    pub fn new(mut from: R) -> Result<Self, CaptureError> {
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if &magic == MAGIC => Ok(Self { from, number: 0 }),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(CaptureError::Magic),
        }
    }

    /// The next record, if a whole one is left.
    ///
    /// # Errors
    /// [`CaptureError`] for anything that no node writes.
    pub fn next_record(&mut self) -> Result<Option<Recorded>, CaptureError> {
        let bad = CaptureError::Record { number: self.number };
        let mut len = [0; 4];
        if !whole(&mut self.from, &mut len)? {
            return Ok(None);
        }
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len > Recorded::BYTES_MAX {
            return Err(bad);
        }
        let mut bytes = vec![0; len];
        if !whole(&mut self.from, &mut bytes)? {
            return Ok(None);
        }
        self.number += 1;
        codec::decode(&bytes).map(Some).map_err(|_| bad)
    }
}

/// Fills the buffer; says no at the end of the file.
fn whole(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A record as it stands in the file.
#[must_use]
pub fn framed(record: &Recorded) -> Vec<u8> {
    let bytes = codec::encode(record);
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], &bytes].concat()
}
