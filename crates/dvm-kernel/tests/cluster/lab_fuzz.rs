//! Hostile runtime, without a plan: calls that are recorded, altered, mixed and sent again by the ten thousand.
//!
//! The generator is seeded. Altered calls keep their shape (bytes, texts and numbers are changed inside it), so most
//! reach a handler; some are no calls at all, and some go through the pipe's own loop. Beside them lie runs that must not
//! move: one held with one approval too few, one granted that no peer granted.
//!
//! The long run: `cargo nextest run -p dvm-kernel --test cluster --run-ignored only hundred_thousand_fuzzed`

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use dvm_core::ReasonCode;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::codec;
use dvm_core::governance::EventKind;
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_kernel::pipe::Pipe;
use dvm_kernel::serve::{answer, serve};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::harness::{Cluster, id, key};
use crate::lab::{secrets, shows};
use crate::messenger::Course;

const BACKEND: Backend = Backend::FrostEd25519;
const CALLS_PER_ROUND: usize = 2_000;

/// One item of an encoded call: where its head is, and where its content.
struct Item {
    major: u8,
    head: usize,
    content: std::ops::Range<usize>,
}

/// Walks well-formed CBOR of definite lengths.
fn items(bytes: &[u8]) -> Vec<Item> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (major, short) = (bytes[at] >> 5, bytes[at] & 31);
        let width = match short {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => 0,
        };
        let start = at + 1 + width;
        let number = bytes[at + 1..start].iter().fold(0_usize, |n, b| (n << 8) | usize::from(*b));
        let number = if width == 0 { usize::from(short) } else { number };
        let end = if matches!(major, 2 | 3) { start + number } else { start };
        found.push(Item { major, head: at, content: start..end });
        at = end;
    }
    found
}

struct Fuzzer {
    rng: ChaCha20Rng,
    /// Encoded calls that are, or could be, genuine.
    calls: Vec<Vec<u8>>,
    /// Contents of byte strings and texts in them, by length.
    pool: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl Fuzzer {
    fn below(&mut self, n: usize) -> usize {
        (self.rng.next_u64() % n.max(1) as u64) as usize
    }

    fn learn(&mut self, calls: &[KernelCall]) {
        for call in calls {
            let bytes = codec::encode(call);
            for item in items(&bytes).iter().filter(|i| matches!(i.major, 2 | 3)) {
                let content = bytes[item.content.clone()].to_vec();
                self.pool.entry(content.len()).or_default().push(content);
            }
            self.calls.push(bytes);
        }
    }

    /// The next bytes to send.
    fn next(&mut self) -> Vec<u8> {
        let at = self.below(self.calls.len());
        let mut bytes = self.calls[at].clone();
        match self.below(16) {
            0 => return bytes,
            1 => self.raw(&mut bytes),
            2 => self.swap_fields(&mut bytes),
            _ => {}
        }
        for _ in 0..=self.below(3) {
            self.alter(&mut bytes);
        }
        bytes
    }

    /// Not a call any more.
    fn raw(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        match self.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes.extend([0; 9]),
            _ => {
                let n = self.below(200);
                *bytes = vec![0; n];
                self.rng.fill_bytes(bytes);
            }
        }
    }

    /// One byte string, text or number of it, changed in place.
    fn alter(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() || codec::decode::<KernelCall>(bytes).is_err() {
            return;
        }
        let all = items(bytes);
        let chosen = &all[self.below(all.len())];
        let content = chosen.content.clone();
        match chosen.major {
            2 | 3 if !content.is_empty() => {
                let same = self.pool.get(&content.len()).cloned().unwrap_or_default();
                if self.below(3) > 0 && !same.is_empty() {
                    let other = &same[self.below(same.len())];
                    bytes[content].copy_from_slice(other);
                } else if chosen.major == 2 {
                    let at = content.start + self.below(content.len());
                    bytes[at] ^= 1 << self.below(8);
                }
            }
            0 if content.start == chosen.head + 1 => {
                bytes[chosen.head] = u8::try_from(self.below(24)).unwrap();
            }
            0 => bytes[content.start - 1] ^= 1 << self.below(8),
            _ => {}
        }
    }

    /// A call with some parts of another call of its kind: its frames, permits, judgement, approvals, openings.
    fn swap_fields(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(self.calls.len());
        let other = codec::decode::<KernelCall>(&self.calls[at]).unwrap();
        let own = codec::decode::<KernelCall>(bytes).unwrap();
        let mixed = match (own, other) {
            (
                KernelCall::Step { execution_id, level, calls, .. },
                KernelCall::Step { frames, .. } | KernelCall::OpenResult { frames, .. },
            ) => KernelCall::Step { execution_id, level, calls, frames },
            (
                KernelCall::OpenResult { execution_id, level, .. },
                KernelCall::OpenResult { calls, frames, .. }
                | KernelCall::Step { calls, frames, .. },
            ) => KernelCall::OpenResult { execution_id, level, calls, frames },
            (
                KernelCall::Grant { execution_id, calls, .. },
                KernelCall::Grant { judgement, approvals, .. },
            ) => KernelCall::Grant { execution_id, calls, judgement, approvals },
            (
                KernelCall::Grant { execution_id, calls, judgement, .. },
                KernelCall::Open { approvals, .. },
            ) => KernelCall::Grant { execution_id, calls, judgement, approvals },
            (
                KernelCall::Open { intent, content, .. },
                KernelCall::Open { admission, approvals, .. },
            ) => KernelCall::Open { intent, content, admission, approvals },
            (KernelCall::Start { proposal, .. }, KernelCall::Start { frames, .. }) => {
                KernelCall::Start { proposal, frames }
            }
            (own, _) => own,
        };
        *bytes = codec::encode(&mixed);
    }
}

/// What one round leaves lying about in n1's kernel.
struct Scene {
    /// Held; only one of two approvals exists anywhere.
    held: [u8; 32],
    /// Granted by n1; n2 never granted.
    granted: [u8; 32],
    calls: Vec<KernelCall>,
}

fn held(cluster: &mut Cluster, name: &str) -> (CanonicalIntent, Course, Vec<KernelCall>) {
    let content = name.as_bytes();
    let (intent, course) = cluster.held_signature(content, name, ["n1", "n2"], BACKEND);
    let (proposal, _) = Cluster::publication(&intent, &course, BACKEND);
    let frames = course.inbox[&id("n1")].clone();
    let start = KernelCall::Start { proposal: Box::new(proposal), frames };
    let publication = cluster.start_publication(&intent, &course, BACKEND);
    (intent, publication, vec![start])
}

fn scene(cluster: &mut Cluster, round: usize) -> Scene {
    let n1 = id("n1");
    let mut calls = vec![KernelCall::Attest, KernelCall::Status];
    let (intent, a, started) = held(cluster, &format!("held-{round}"));
    calls.extend(started);
    calls.push(cluster.grant_call(&intent, &a, &n1, &["a2"]));
    let (other, mut b, started) = held(cluster, &format!("granted-{round}"));
    calls.extend(started);
    let grant = cluster.grant_call(&other, &b, &n1, &["a2", "a3"]);
    let ours = crate::messenger::level(cluster.call("n1", grant));
    b.level = 1;
    b.calls.insert(n1.clone(), ours.next);
    b.inbox.insert(n1.clone(), Vec::new());
    calls.push(Cluster::open_result_call(&b, &n1));
    // Runs that may go where a genuine call takes them.
    let name = format!("running-{round}");
    let running = cluster.sign_intent(b"running", &name);
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &running, Some(b"running"))).to_vec();
    calls.push(cluster.open_call("n1", &running, Some(b"running")));
    let (proposal, plan) = cluster.proposal(&running, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &BTreeMap::new());
    calls.push(Cluster::step_call(&course, &n1));
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    calls.push(Cluster::step_call(&course, &n1));
    calls.push(KernelCall::Start { proposal: Box::new(proposal), frames: Vec::new() });
    calls.push(KernelCall::Abort { execution_id: course.execution_id, code: ReasonCode::Internal });
    let (_, mut whole, started) = held(cluster, &format!("whole-{round}"));
    calls.extend(started);
    whole.inbox.insert(n1.clone(), b.inbox[&n1].clone());
    calls.push(Cluster::open_result_call(&whole, &n1));
    calls.extend(authority(cluster));
    Scene { held: act_of(&a), granted: act_of(&b), calls }
}

/// The run whose result a publication is of.
fn act_of(course: &Course) -> [u8; 32] {
    let dvm_core::run::RunKind::Publish { of, .. } = &course.header.kind else { panic!() };
    of.0
}

/// Calls about the log: well formed, and one step short of being valid.
fn authority(cluster: &mut Cluster) -> Vec<KernelCall> {
    let entry = cluster.entry(EventKind::EmergencyHold, None);
    let head = dvm_governance::apply(&cluster.state, &entry).unwrap().head();
    let time_s = cluster.now_ms() / 1_000;
    let member = |name: &str, key| {
        dvm_governance::cosign(&cluster.state.cluster(), &head, id(name), time_s, &key)
    };
    let certificate = Box::new(dvm_core::governance::HeadCertificate {
        cluster: cluster.state.cluster(),
        head,
        cosignatures: vec![
            member("n2", crate::harness::corrupt("n2")),
            member("w1", key("w1/cosign")),
        ],
    });
    let mut bare = entry.clone();
    bare.decision = None;
    vec![
        KernelCall::Adopt { entries: vec![entry.clone()], certificate },
        KernelCall::Cosign { entry: Box::new(bare), time_s },
        KernelCall::Pin { manifest: Box::new(cluster.state.manifest().clone()), node: id("n2") },
    ]
}

/// Requests on one side, replies on the other.
struct Wire {
    requests: Cursor<Vec<u8>>,
    replies: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.requests.read(into)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The same bytes through the loop that the process runs: framed, and then some bytes that are no frame.
fn through_the_pipe(cluster: &mut Cluster, calls: &[Vec<u8>], tail: &[u8]) -> Vec<u8> {
    let mut requests = Vec::new();
    for call in calls.iter().filter(|c| !c.is_empty()) {
        requests.extend((call.len() as u32).to_be_bytes());
        requests.extend(call);
    }
    requests.extend(tail);
    let mut wire = Wire { requests: Cursor::new(requests), replies: Vec::new() };
    let ended = serve(cluster.kernel("n1"), &mut Pipe::new(&mut wire));
    assert_eq!(ended.is_ok(), tail.is_empty());
    wire.replies
}

/// Phases by act run.
fn phases(cluster: &mut Cluster) -> BTreeMap<[u8; 32], String> {
    match cluster.call("n1", KernelCall::Status) {
        KernelReply::Status { held, .. } => {
            held.into_iter().map(|r| (r.execution_id.0, r.phase)).collect()
        }
        other => panic!("no status: {other:?}"),
    }
}

fn fuzzed(rounds: usize, seed: u64) {
    let mut cluster = Cluster::roomy(BACKEND);
    let rng = ChaCha20Rng::seed_from_u64(seed);
    let mut fuzzer = Fuzzer { rng, calls: Vec::new(), pool: BTreeMap::new() };
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    let mut stood = 0;
    for round in 0..rounds {
        let scene = scene(&mut cluster, round);
        // Some of what was learnt in earlier rounds stays: it is stale, and that is the point.
        let kept = fuzzer.calls.len().min(60);
        fuzzer.calls.drain(..fuzzer.calls.len() - kept);
        fuzzer.learn(&scene.calls);
        let kept = secrets(&cluster, "n1");
        for turn in 0..CALLS_PER_ROUND {
            let bytes = fuzzer.next();
            let said = if turn % 10 == 0 {
                let tail: &[u8] = if turn % 20 == 0 { &[] } else { &[0xff, 0xff, 0xff, 0xff, 1] };
                through_the_pipe(&mut cluster, &[bytes], tail)
            } else {
                let reply = answer(cluster.kernel("n1"), &bytes);
                let code = match &reply {
                    KernelReply::Refused { code, .. } => format!("{code:?}"),
                    _ => "answered".to_owned(),
                };
                *codes.entry(code).or_default() += 1;
                codec::encode(&reply)
            };
            assert!(!shows(&kept, &said), "a secret left in round {round}, turn {turn}");
        }
        let now = phases(&mut cluster);
        // Either the fuzzer found the abort, which a runtime may, or it is where it was.
        let phase = |run: &[u8; 32]| now.get(run).map_or("gone", String::as_str);
        assert!(["Held", "gone"].contains(&phase(&scene.held)), "{now:?}");
        assert!(["Granted", "gone"].contains(&phase(&scene.granted)), "{now:?}");
        stood += usize::from(phase(&scene.granted) == "Granted");
        honest_work_goes_on(&mut cluster, &format!("honest-{round}"));
        cluster.restart("n1");
    }
    println!("{codes:#?}\n{stood} of {rounds} granted runs stood");
    assert!(stood > 0, "no round left its runs alone");
    assert!(codes.len() >= 8, "the generator reaches few rules: {codes:?}");
    assert!(!codes.contains_key("Internal"), "{codes:?}");
}

fn honest_work_goes_on(cluster: &mut Cluster, name: &str) {
    let (intent, mut course, _) = held(cluster, name);
    cluster.grant_all(&intent, &mut course);
    assert_eq!(cluster.open_all(&mut course).len(), 2);
}

#[test]
fn ten_thousand_fuzzed_calls_are_answered_and_move_nothing_that_they_may_not() {
    fuzzed(5, 1);
}

#[test]
#[ignore = "minutes; the command is at the head of this file"]
fn hundred_thousand_fuzzed_calls_are_answered_and_move_nothing_that_they_may_not() {
    fuzzed(50, 2);
}
