//! Commits of a running daemon's store, read from its write-ahead log: nothing in the daemon has to
//! count them.
//!
//! Source: the SQLite file format, section 4. A log is a header of 32 bytes and frames of 24 bytes and
//! a page; the last frame of a commit says how large the database is after it. Frames of an older round
//! of the log carry other salts. With `synchronous=FULL` each commit is one sync of the log.
//!
//! Not here: checksums. A frame that is being written while it is read can be missed, never made up.

use std::io::Read;
use std::path::Path;

use crate::Outcome;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// What stands in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Names this round of the log: a checkpoint begins another one.
    pub salts: [u8; 8],
    /// Commits in this round.
    pub commits: u64,
    /// Pages that they wrote.
    pub pages: u64,
}

/// Reads the log beside this database.
///
/// # Errors
/// No log, or something else.
pub fn read(database: &Path) -> Outcome<Log> {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    let mut bytes = Vec::new();
    std::fs::File::open(&name)?.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| format!("no write-ahead log in {}", name.display()).into())
}

fn parse(bytes: &[u8]) -> Option<Log> {
    let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
    let magic = u32::from_be_bytes(header.get(..4)?.try_into().ok()?);
    if magic & !1 != 0x377f_0682 {
        return None;
    }
    let page = u32::from_be_bytes(header.get(8..12)?.try_into().ok()?);
    let page = usize::try_from(page).ok()?;
    let salts: [u8; 8] = header.get(16..24)?.try_into().ok()?;
    let mut log = Log { salts, commits: 0, pages: 0 };
    let mut pages = 0;
    while let Some((frame, next)) = rest.split_at_checked(FRAME_HEADER_BYTES + page) {
        if frame.get(8..16) != Some(salts.as_slice()) {
            break;
        }
        pages += 1;
        if frame.get(4..8) != Some([0; 4].as_slice()) {
            log.commits += 1;
            log.pages = pages;
        }
        rest = next;
    }
    Some(log)
}

/// What was committed between two looks; none if the log began anew in between.
pub fn between(before: Log, after: Log) -> Option<(u64, u64)> {
    let same = before.salts == after.salts;
    let of = |a: u64, b: u64| b.checked_sub(a);
    same.then_some((of(before.commits, after.commits)?, of(before.pages, after.pages)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&0x377f_0682_u32.to_be_bytes());
        bytes[8..12].copy_from_slice(&512_u32.to_be_bytes());
        bytes[16..24].copy_from_slice(b"saltsalt");
        bytes
    }

    fn frame(size_after: u32, salts: &[u8; 8]) -> Vec<u8> {
        let mut bytes = vec![0; FRAME_HEADER_BYTES + 512];
        bytes[4..8].copy_from_slice(&size_after.to_be_bytes());
        bytes[8..16].copy_from_slice(salts);
        bytes
    }

    #[test]
    fn commits_of_this_round_are_counted_and_nothing_after_them() {
        let now = b"saltsalt";
        let whole = [header(), frame(0, now), frame(2, now), frame(3, now)].concat();
        let log = parse(&whole).unwrap();
        assert_eq!((log.commits, log.pages), (2, 3));
        let torn = [whole.clone(), frame(0, now)].concat();
        assert_eq!(parse(&torn), Some(log));
        let older = [whole.clone(), frame(9, b"otherone")].concat();
        assert_eq!(parse(&older), Some(log));
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap().commits, 1);
        assert_eq!(parse(&[0; 64]), None);
    }

    #[test]
    fn a_new_round_gives_no_difference() {
        let log = |salt, commits| Log { salts: [salt; 8], commits, pages: commits };
        assert_eq!(between(log(1, 2), log(1, 5)), Some((3, 3)));
        assert_eq!(between(log(1, 2), log(2, 5)), None);
    }
}
