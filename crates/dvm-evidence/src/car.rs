//! CARv1 in its one form that bundles use: one root, CIDv1 with sha2-256, shortest varints.
//!
//! Source: the IPLD CARv1 specification. A file is `varint(len) header (varint(len) cid bytes)*`.
//!
//! Always true of what [`read`] accepts: exactly one root, and it is the first block; every block
//! hashes to its CID; no block comes twice; nothing follows the last block; and [`write()`] gives the
//! same bytes again. Bounds are checked before anything is kept.

use dvm_core::Link;
use dvm_core::limits::{CALL_BYTES_MAX, CONTENT_BYTES_MAX};
use dvm_core::reason::ReasonCode;
use std::collections::BTreeSet;

/// Bytes of one bundle: 32 members' parts of a 4 MiB message's operation fit several times over.
pub const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// Blocks of one bundle: a log of 8,192 entries has some 25,000.
pub const BLOCKS_MAX: usize = 1 << 16;
/// Bytes of one block: a message's content, which IPLD tools of every kind still take.
pub const BLOCK_BYTES_MAX: usize = CONTENT_BYTES_MAX;

/// Bytes of every CID here: version, codec, hash function, length, 32 bytes of digest.
const CID_BYTES: usize = 36;
/// The header's dag-cbor around its only root: `{"roots": [CID], "version": 1}`. The byte string of
/// a tagged CID begins with a zero byte.
const HEADER_HEAD: &[u8] = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00";
const HEADER_TAIL: &[u8] = b"\x67version\x01";

const _: () = assert!(BLOCK_BYTES_MAX < CALL_BYTES_MAX);

/// Why bytes are no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// More bytes or blocks than a bundle may have, or a block that is too long.
    #[error("larger than a bundle may be, at byte `{at}`")]
    TooLarge {
        /// Offset.
        at: usize,
    },
    /// The header is not the one of a file with one root.
    #[error("not the header of a CARv1 file with one root")]
    Header,
    /// The bytes end within a block, or a length or CID is not in its only form.
    #[error("torn or not in the only form, at byte `{at}`")]
    Form {
        /// Offset.
        at: usize,
    },
    /// A block's bytes do not hash to its CID.
    #[error("block {link} at byte `{at}` has other bytes")]
    Hash {
        /// The CID.
        link: Link,
        /// Offset.
        at: usize,
    },
    /// A block comes twice.
    #[error("block {link} comes twice")]
    Twice {
        /// The CID.
        link: Link,
    },
    /// The first block is not the root.
    #[error("the first block is not the root")]
    Root,
}

impl CarError {
    /// The reason code.
    pub fn code(self) -> ReasonCode {
        match self {
            Self::TooLarge { .. } => ReasonCode::ResourceLimit,
            _ => ReasonCode::LogInconsistent,
        }
    }
}

/// Writes blocks in this order; the first is the root.
///
/// # Errors
/// [`CarError::TooLarge`] past the bounds, [`CarError::Root`] without blocks.
pub fn write(blocks: &[(Link, &[u8])]) -> Result<Vec<u8>, CarError> {
    let (root, _) = blocks.first().ok_or(CarError::Root)?;
    let bytes: usize = blocks.iter().map(|(_, b)| b.len() + CID_BYTES + VARINT_BYTES_MAX).sum();
    let too_long = blocks.iter().any(|(_, b)| b.len() > BLOCK_BYTES_MAX);
    if too_long || blocks.len() > BLOCKS_MAX || bytes + 64 > BUNDLE_BYTES_MAX {
        return Err(CarError::TooLarge { at: bytes });
    }
    let mut out = Vec::with_capacity(bytes + 64);
    let header = [HEADER_HEAD, &root.to_bytes(), HEADER_TAIL].concat();
    put_varint(&mut out, header.len());
    out.extend_from_slice(&header);
    for (link, block) in blocks {
        put_varint(&mut out, CID_BYTES + block.len());
        out.extend_from_slice(&link.to_bytes());
        out.extend_from_slice(block);
    }
    Ok(out)
}

/// Reads a file: its blocks in order, the root first.
///
/// # Errors
/// [`CarError`]: the first thing that is not as it must be.
pub fn read(car: &[u8]) -> Result<Vec<(Link, &[u8])>, CarError> {
    if car.len() > BUNDLE_BYTES_MAX {
        return Err(CarError::TooLarge { at: BUNDLE_BYTES_MAX });
    }
    let mut rest = Rest { bytes: car, at: 0 };
    let header_len = rest.varint()?;
    if header_len != HEADER_HEAD.len() + CID_BYTES + HEADER_TAIL.len() {
        return Err(CarError::Header);
    }
    let header = rest.take(header_len)?;
    let cid = header.strip_prefix(HEADER_HEAD).and_then(|h| h.strip_suffix(HEADER_TAIL));
    let root = cid.and_then(Link::from_bytes).ok_or(CarError::Header)?;
    let (mut blocks, mut seen) = (Vec::new(), BTreeSet::new());
    while rest.at < car.len() {
        let at = rest.at;
        let len = rest.varint()?;
        if len > CID_BYTES + BLOCK_BYTES_MAX || blocks.len() == BLOCKS_MAX {
            return Err(CarError::TooLarge { at });
        }
        let section = rest.take(len)?;
        let (cid, bytes) = section.split_at_checked(CID_BYTES).ok_or(CarError::Form { at })?;
        let link = Link::from_bytes(cid).ok_or(CarError::Form { at })?;
        if !link.matches(bytes) {
            return Err(CarError::Hash { link, at });
        }
        if !seen.insert(link) {
            return Err(CarError::Twice { link });
        }
        blocks.push((link, bytes));
    }
    if blocks.first().map(|(link, _)| *link) == Some(root) {
        Ok(blocks)
    } else {
        Err(CarError::Root)
    }
}

/// Four groups of seven bits hold every length within the bounds.
const VARINT_BYTES_MAX: usize = 4;

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CarError> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(CarError::Form { at: self.at })?;
        self.at += len;
        Ok(taken)
    }

    /// An unsigned LEB128 number in as few bytes as it needs.
    fn varint(&mut self) -> Result<usize, CarError> {
        let at = self.at;
        let mut value = 0_usize;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            value |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                let shortest = byte != 0 || place == 0;
                return if shortest { Ok(value) } else { Err(CarError::Form { at }) };
            }
        }
        Err(CarError::TooLarge { at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks() -> Vec<(Link, Vec<u8>)> {
        let of = |n: usize| {
            let bytes = vec![n as u8; n];
            (Link::of_raw(&bytes), bytes)
        };
        [0, 1, 91, 92, 300].map(of).to_vec()
    }

    fn file() -> Vec<u8> {
        let blocks = blocks();
        let refs: Vec<(Link, &[u8])> = blocks.iter().map(|(l, b)| (*l, b.as_slice())).collect();
        write(&refs).unwrap()
    }

    #[test]
    fn read_inverts_write_and_after_any_single_byte_change_a_link_is_another() {
        let file = file();
        let read_back = read(&file).unwrap();
        assert_eq!(write(&read_back).unwrap(), file);
        assert_eq!(read_back.len(), blocks().len());
        for at in 0..file.len() {
            for flip in 1..=255_u8 {
                let mut other = file.clone();
                other[at] ^= flip;
                // A CID's codec is not under its hash: another codec is another link, which whoever
                // names the block does not find.
                let links =
                    |blocks: &[(Link, &[u8])]| blocks.iter().map(|b| b.0).collect::<Vec<_>>();
                let same = read(&other).is_ok_and(|b| links(&b) == links(&read_back));
                assert!(!same, "byte {at}");
            }
        }
    }

    #[test]
    fn torn_extended_repeated_and_rootless_files_are_refused() {
        let file = file();
        let whole = read(&file).unwrap();
        for len in 0..file.len() {
            // A file cut between two blocks is a smaller file; only its root says that it was cut.
            let cut = read(&file[..len]);
            assert!(cut.is_err() || cut.unwrap().len() < whole.len());
        }
        let mut long = file.clone();
        long.push(0);
        assert!(matches!(read(&long), Err(CarError::Form { .. })));
        let twice: Vec<_> = whole.iter().chain(&whole[1..2]).copied().collect();
        assert!(matches!(read(&write(&twice).unwrap()), Err(CarError::Twice { .. })));
        let mut turned = file.clone();
        let first = 1 + file[0] as usize;
        turned.drain(first..first + 1 + CID_BYTES);
        assert_eq!(read(&turned), Err(CarError::Root));
        assert_eq!(write(&[]), Err(CarError::Root));
    }

    #[test]
    fn a_longer_varint_of_the_same_number_is_refused() {
        let mut file = file();
        file[0] |= 0x80;
        file.insert(1, 0);
        assert!(matches!(read(&file), Err(CarError::Form { at: 0 })));
    }

    #[test]
    fn hostile_lengths_are_refused_before_anything_is_kept() {
        let mut file = file();
        file.extend([0xff, 0xff, 0xff, 0x7f]);
        assert!(matches!(read(&file), Err(CarError::TooLarge { .. })));
        let at_most = vec![0; BLOCK_BYTES_MAX];
        let link = Link::of_raw(&at_most);
        assert!(read(&write(&[(link, &at_most)]).unwrap()).is_ok());
        let over = vec![0; BLOCK_BYTES_MAX + 1];
        assert!(matches!(write(&[(link, &over)]), Err(CarError::TooLarge { .. })));
        assert!(matches!(read(&vec![0; BUNDLE_BYTES_MAX + 1]), Err(CarError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = read(&bytes);
        }
    }
}
