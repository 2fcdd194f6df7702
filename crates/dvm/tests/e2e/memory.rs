//! What a process or a directory holds at one moment, kept to be searched for bytes that are only
//! known later.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A name, and bytes that were there.
pub struct Snapshot(Vec<(String, Vec<u8>)>);

impl Snapshot {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Every region of a process that it can write to.
    pub fn add_process(&mut self, name: &str, pid: u64) {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let before = self.0.len();
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
            let mut bytes = vec![0; (to - from) as usize];
            // A region may be gone since the list was read; the count below sees if all are.
            if memory.read_exact_at(&mut bytes, from).is_ok() {
                self.0.push((format!("memory of {name} at {range}"), bytes));
            }
        }
        assert!(self.0.len() > before + 8, "no memory of {name} could be read");
    }

    /// Every file under a directory.
    pub fn add_files(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add_files(&path);
            } else if path.is_file() {
                // SQLite may remove a file of its own meanwhile.
                let bytes = std::fs::read(&path).unwrap_or_default();
                self.0.push((path.display().to_string(), bytes));
            }
        }
    }

    /// Where any of these byte strings is, as bytes or in lower-case hex.
    pub fn find(&self, needles: &[&[u8]]) -> Vec<String> {
        let hex = needles.iter().map(|needle| hex::encode(needle).into_bytes());
        let all: Vec<Vec<u8>> = needles.iter().map(|n| n.to_vec()).chain(hex).collect();
        let mut starts = [false; 256];
        for needle in &all {
            starts[usize::from(needle[0])] = true;
        }
        let mut found = Vec::new();
        for (place, bytes) in &self.0 {
            // Most of memory is zeros or has no needle's first byte: looked at once, whatever is sought.
            let holds = (0..bytes.len()).any(|at| {
                starts[usize::from(bytes[at])] && all.iter().any(|n| bytes[at..].starts_with(n))
            });
            if holds {
                found.push(place.clone());
            }
        }
        found
    }
}

#[test]
fn a_snapshot_finds_what_is_in_this_process_and_on_disk_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("below")).unwrap();
    std::fs::write(dir.path().join("below/file"), b"--on disk only: 7261--").unwrap();
    let kept: Vec<u8> = (0..64_u8).map(|n| n.wrapping_mul(37) ^ 0x5a).collect();
    let mut snapshot = Snapshot::new();
    snapshot.add_process("this", std::process::id().into());
    snapshot.add_files(dir.path());
    assert!(snapshot.find(&[&kept]).iter().any(|place| place.contains("memory of this")));
    assert!(snapshot.find(&[b"on disk only: 7261"]).iter().any(|p| p.ends_with("below/file")));
    let absent: Vec<u8> = kept.iter().map(|b| b ^ 0xff).collect();
    assert_eq!(snapshot.find(&[&absent]), Vec::<String>::new());
}
