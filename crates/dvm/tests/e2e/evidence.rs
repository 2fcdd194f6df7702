//! Claims about bundles as files: accepted, changed, mixed, replayed, and opened by others' code.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::car::{file, parts};
use crate::site::{Ran, Site, bin_dir, ran};

/// Changed bytes that are tried: a verification takes some tens of milliseconds.
const CHANGES: usize = 60;

struct Bundles {
    scratch: tempfile::TempDir,
    trust: PathBuf,
    facts: Value,
    /// The quickstart's own, and one of another signature of the same cluster.
    first: Vec<u8>,
    second: Vec<u8>,
}

impl Bundles {
    fn made() -> Self {
        let site = Site::start();
        let scratch = tempfile::tempdir().unwrap();
        site.key("auto", None, "auto");
        let sign = ["sign", "message", "--key", "auto", "--text", "another"];
        let view = site.asked(0, &sign, "Published");
        let out = scratch.path().join("second.car");
        let intent = view["intent"].as_str().unwrap();
        // It may have taken no part and hear of the result later.
        site.shows(2, intent, "Published");
        site.cli(2, &["evidence", "export", intent, "--out", out.to_str().unwrap()]).ok();
        let trust = scratch.path().join("trust.json");
        std::fs::copy(site.path("trust_path"), &trust).unwrap();
        let first = std::fs::read(site.path("bundle_path")).unwrap();
        let second = std::fs::read(out).unwrap();
        Self { trust, facts: site.facts.clone(), first, second, scratch }
    }

    fn run(&self, words: &[&str], car: &[u8], more: &[&str]) -> Ran {
        let path = self.scratch.path().join("tried.car");
        std::fs::write(&path, car).unwrap();
        let mut command = Command::new(bin_dir().join("dvm"));
        ran(command.args(words).arg(&path).args(more).arg("--json"))
    }

    fn verify(&self, car: &[u8]) -> Ran {
        self.run(&["evidence", "verify"], car, &["--trust", self.trust.to_str().unwrap()])
    }

    fn refused(&self, car: &[u8], what: &str) {
        let refused = self.verify(car);
        assert_eq!(refused.exit, 6, "{what}: {}", refused.err);
        let error: Value = serde_json::from_str(refused.err.trim()).unwrap();
        // The message starts with the link that does not hold.
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with('`') && message.contains("`:"), "{what}: {message}");
    }
}

#[test]
fn bundles_verify_and_every_change_or_mixture_is_refused_with_a_named_link() {
    let bundles = Bundles::made();
    let report = bundles.verify(&bundles.first).ok();
    assert_eq!(report["state"], "Published");
    assert_eq!(report["result_hex"], bundles.facts["signature_hex"]);
    assert_eq!(bundles.verify(&bundles.second).ok()["state"], "Published");

    let len = bundles.first.len();
    // Spread over the whole file, with a step that is not a multiple of any structure in it.
    let spread = (0..CHANGES).map(|n| n * len / CHANGES + (n * 7) % 31).filter(|at| *at < len);
    for at in spread.chain([0, 1, len - 1]) {
        let mut changed = bundles.first.clone();
        changed[at] ^= 1 << (at % 8);
        bundles.refused(&changed, &format!("byte {at} of {len}"));
    }
    bundles.refused(&bundles.first[..len - 1], "one byte short");
    bundles.refused(&[bundles.first.as_slice(), &[0]].concat(), "one byte more");
    bundles.refused(b"", "nothing");

    let ((header, ours), (_, theirs)) = (parts(&bundles.first), parts(&bundles.second));
    assert_eq!(file(&header, &ours), bundles.first, "the tool that mixes is faithful");
    bundles.refused(&file(&header, &theirs), "the root of one, the blocks of the other");
    bundles.refused(&file(&header, ours.iter().chain(&theirs)), "the blocks of both");
    let other = theirs.iter().find(|b| !ours.iter().any(|o| o.cid == b.cid)).unwrap();
    let swapped = ours[..ours.len() - 1].iter().chain([other]);
    bundles.refused(&file(&header, swapped), "one block of the other");
}

#[test]
fn replay_reproduces_every_trace_root_from_the_bundle_alone_and_not_from_a_changed_one() {
    let bundles = Bundles::made();
    let replayed = bundles.run(&["replay"], &bundles.first, &[]).ok();
    let runs = replayed["runs"].as_array().unwrap();
    assert!(runs.iter().all(|run| run["equal"] == true && run["recorded"] == run["replayed"]));
    // Two signers, each with the signing and the publication, if no try had to be given up.
    assert!(runs.len() >= 4 && replayed["equal"] == runs.len(), "{replayed:#}");
    for (peer, root) in bundles.facts["trace_roots"].as_object().unwrap() {
        let same = |run: &&Value| run["peer"] == peer.as_str() && run["replayed"] == *root;
        assert!(runs.iter().any(|run| same(&run)), "{peer}");
    }
    for at in [bundles.first.len() / 3, bundles.first.len() * 2 / 3] {
        let mut changed = bundles.first.clone();
        changed[at] ^= 4;
        let refused = bundles.run(&["replay"], &changed, &[]);
        assert_eq!(refused.exit, 6, "{}", refused.err);
    }
}

/// Lists a bundle's blocks as `spec/evidence.md` says: libipld reads CIDs and DAG-CBOR, and the file is
/// cut by its varints, because libipld's own CAR reader takes no raw blocks.
const LIST: &str = r"
import hashlib, libipld, sys
data, at = open(sys.argv[1], 'rb').read(), 0
def varint():
    global at
    value = shift = 0
    while True:
        byte = data[at]; at += 1
        value |= (byte & 127) << shift; shift += 7
        if byte < 128: return value
size = varint()
header = libipld.decode_dag_cbor(data[at:at + size]); at += size
assert header['version'] == 1 and len(header['roots']) == 1
while at < len(data):
    size = varint()
    cid, block = data[at:at + 36], data[at + 36:at + size]; at += size
    info = libipld.decode_cid(cid)
    assert info['version'] == 1 and info['hash']['digest'] == hashlib.sha256(block).digest()
    if info['codec'] == 0x71: libipld.decode_dag_cbor(block)
    print(cid.hex())
";

/// The Python that was given, or why there is none; in CI there must be one.
fn python() -> Option<String> {
    let python = std::env::var("DVM_PYTHON").ok();
    let in_ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(python.is_some() || !in_ci, "CI must set DVM_PYTHON to a Python with libipld");
    python
}

#[test]
fn libipld_lists_the_bundles_blocks() {
    let Some(python) = python() else {
        eprintln!("SKIPPED: DVM_PYTHON names no Python with libipld; `cargo xtask test` sets it");
        return;
    };
    let bundles = Bundles::made();
    let path = bundles.scratch.path().join("first.car");
    std::fs::write(&path, &bundles.first).unwrap();
    let listed = ran(Command::new(python).args(["-c", LIST]).arg::<&Path>(&path));
    assert_eq!(listed.exit, 0, "{}", listed.err);
    let mut listed: Vec<String> =
        String::from_utf8(listed.out).unwrap().lines().map(str::to_owned).collect();
    let mut ours: Vec<String> =
        parts(&bundles.first).1.iter().map(|block| hex::encode(&block.cid)).collect();
    listed.sort();
    ours.sort();
    assert_eq!(listed, ours);
}
