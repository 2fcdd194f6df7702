//! The committed corpus, made again from genuine artifacts: three kernels and a witness in one process.
//!
//! `DVM_BLESS=1 cargo test -p dvm-fuzz --test seeds` writes `fuzz/corpus` and `fuzz/fixtures` anew; without
//! it the test holds that they are current.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is a test"
)]

#[path = "../../../crates/dvm-evidence/tests/bundle/rig.rs"]
#[expect(dead_code, reason = "the corpus needs a part of it")]
mod rig;
#[path = "../../../crates/dvm-evidence/tests/bundle/runs.rs"]
#[expect(dead_code, reason = "the corpus needs a part of it")]
mod runs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dvm_core::admission::Purpose;
use dvm_core::codec::{decode, encode, schema_of};
use dvm_core::digest::sha256;
use dvm_core::governance::LogEntry;
use dvm_core::intent::{Act, Backend};
use dvm_core::{Artifact, ReasonCode, Signed};
use dvm_evidence::peer::PeerEvidence;
use dvm_evidence::{BundleInput, car};
use dvm_governance::note_of;
use dvm_score::Run;
use rig::{NODES, Rig, id};

/// Bytes of the whole corpus: it is cloned with every checkout.
const CORPUS_BYTES_MAX: usize = 1 << 20;
/// Seeds of one kind that are kept: the first ones, the smallest first.
const PER_TARGET: usize = 6;

/// Path under `fuzz/`, and bytes.
type Files = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Default)]
struct Seeds {
    by_target: BTreeMap<&'static str, Vec<Vec<u8>>>,
    fixtures: Files,
}

impl Seeds {
    fn add(&mut self, target: &'static str, bytes: Vec<u8>) {
        let seeds = self.by_target.entry(target).or_default();
        if !seeds.contains(&bytes) {
            seeds.push(bytes);
        }
    }

    fn artifact<T: Artifact>(&mut self, target: &'static str, value: &T) {
        self.add(target, encode(value));
    }

    fn fixture(&mut self, name: &str, bytes: Vec<u8>) {
        self.fixtures.insert(PathBuf::from("fixtures").join(name), bytes);
    }

    fn files(mut self) -> Files {
        let mut files = self.fixtures;
        for (target, seeds) in &mut self.by_target {
            // Statements under signatures are all kept: their targets know the genuine ones by them.
            let all = target.starts_with("signed_") || ["envelope", "log_entry"].contains(target);
            seeds.sort_by_key(|bytes| (bytes.len(), sha256(bytes)));
            for bytes in seeds.iter().take(if all { usize::MAX } else { PER_TARGET }) {
                let name = &sha256(bytes).hex()[..12];
                files.insert(PathBuf::from("corpus").join(target).join(name), bytes.clone());
            }
        }
        files
    }
}

/// Signed statements, and the parts that hold them.
fn add_part(seeds: &mut Seeds, part: &PeerEvidence) {
    part.admissions.iter().for_each(|a| seeds.artifact("signed_admission", a));
    part.approvals.iter().for_each(|a| seeds.artifact("signed_approval", a));
    part.denials.iter().for_each(|d| seeds.artifact("signed_denial", d));
    part.chain.iter().for_each(|c| seeds.artifact("signed_chain_entry", c));
    for run in &part.runs {
        seeds.artifact("proposal", &run.proposal);
        seeds.artifact("run_header", &run.proposal.header);
        run.proposal.opens.iter().for_each(|o| seeds.artifact("signed_open", o));
        seeds.artifact("trace", &run.trace);
        seeds.artifact("signed_trace_root", &run.trace_root);
        for permit in run.permits.iter().take(1) {
            seeds.artifact("permit_event", permit);
            seeds.artifact("call_context", &permit.context);
        }
        run.permit_receipt.iter().for_each(|r| seeds.artifact("signed_permit_receipt", r));
        run.publications.iter().for_each(|p| seeds.artifact("signed_publication", p));
        run.published.iter().for_each(|p| seeds.artifact("signed_published", p));
        for event in &run.trace.events {
            if let dvm_core::trace::TraceEvent::Frame(fact) = event {
                seeds.artifact("signed_frame_header", &fact.header);
            }
        }
    }
}

fn add_input(seeds: &mut Seeds, input: &BundleInput, name: &str) {
    input.parts.iter().for_each(|part| add_part(seeds, part));
    seeds.artifact("intent", &input.intent);
    let intent = encode(&input.intent);
    let content = input.content.clone().unwrap_or_default();
    let act = [&(intent.len() as u16).to_be_bytes()[..], &intent, &content].concat();
    seeds.add("act_display", act.clone());
    seeds.add("act_compile", act);
    let file = rig::write(input.clone());
    for (link, bytes) in car::read(&file).unwrap() {
        let target = match schema_of(bytes).as_deref() {
            Some("dvm/bundle/1") => "bundle_root",
            Some("dvm/bundle-manifest/2") => "bundle_manifest",
            Some("dvm/signature/1") => "signature_block",
            Some("dvm/policy-bundle/1") => "policy_bundle",
            _ => continue,
        };
        assert!(link.matches(bytes));
        seeds.add(target, bytes.to_vec());
        seeds.add("any_schema", bytes[..bytes.len().min(512)].to_vec());
    }
    let smallest = input.parts.iter().min_by_key(|part| encode(*part).len()).unwrap();
    seeds.artifact("peer_evidence", smallest);
    seeds.add("bundle", file.clone());
    seeds.fixture(&format!("{name}.car"), file);
}

/// Scripts for the forger: one operation each, over its kinds and lists.
fn add_scripts(seeds: &mut Seeds) {
    for kind in 0..8_u8 {
        let script: Vec<u8> = [[kind, 0, 9, 0, 40, 0, 1, 1], [kind, 1, 2, 0, 7, 0, 0, 5]].concat();
        seeds.add("bundle_forged", script);
    }
    for list in 0..14_u8 {
        seeds.add("bundle_forged", vec![4, 0, list, 0, 1, 0, list % 3, 0]);
    }
    seeds.add("bundle_forged", Vec::new());
}

fn add_cluster(seeds: &mut Seeds, rig: &Rig, input: &BundleInput) {
    seeds.artifact("cluster_manifest", &rig.genesis);
    seeds.fixture("cluster.cbor", encode(&rig.genesis));
    for (at, entry) in input.log.iter().enumerate() {
        seeds.artifact("log_entry", entry);
        seeds.artifact("signed_event", &entry.event);
        seeds.fixture(&format!("log-{at}.cbor"), encode::<LogEntry>(entry));
        if let Some(decision) = &entry.decision {
            seeds.artifact("decision", &decision.decision);
            seeds.artifact("signed_decision", decision);
        }
        if let Some(ready) = &entry.key_ready {
            seeds.artifact("key_ready_certificate", ready);
            let cose = ready.signatures[0].clone();
            seeds.artifact("signed_key_ready", &Signed { body: ready.ready.clone(), cose });
        }
    }
    let certificate = input.certificate.as_ref().unwrap();
    seeds.artifact("head_certificate", certificate);
    seeds.fixture("certificate.cbor", encode(certificate));
    seeds.add("checkpoint_note", note_of(rig.state.manifest(), certificate).into_bytes());
    seeds.artifact("authority_state", &rig.state);
}

/// Envelopes that kernels sent each other in one run, and the messages that carry them.
fn add_envelopes(seeds: &mut Seeds, rig: &mut Rig) {
    rig.ask_signature(b"frames", "frames");
    rig.approve(&Purpose::Admit, &["a1"]);
    for node in ["n1", "n2"] {
        rig.judge(&id(node), &Purpose::Admit, &[]);
    }
    rig.begin(&["n1", "n2"], 0);
    for node in ["n1", "n2"] {
        for envelope in rig.perform(&id(node), |run, _| runs::step_call(run)) {
            seeds.artifact("envelope", &envelope);
            seeds.artifact("envelope_raw", &envelope);
            seeds.artifact("signed_frame_header", &envelope.header);
            let message = dvm_node::wire::PeerMessage::Frame(Box::new(envelope));
            seeds.artifact("wire", &dvm_node::wire::Wire { commits: 3, message });
        }
    }
    let intent = dvm_core::codec::link_of(&rig.asked());
    let part = Some(Box::new(rig.input().parts[0].clone()));
    let message = dvm_node::wire::PeerMessage::Evidence { intent, part };
    seeds.artifact("wire", &dvm_node::wire::Wire { commits: 0, message });
}

fn add_programs(seeds: &mut Seeds) {
    let roster = NODES.map(id).to_vec();
    let backend = Backend::FrostEd25519;
    let make = Act::KeyGenerate { key_id: id("k"), backend, threshold: 2, roster: roster.clone() };
    let sign = Act::SignDigest { key_id: id("k"), key_epoch: 1, digest: dvm_core::B32([1; 32]) };
    let (signers, ecdsa) = (roster[..2].to_vec(), Backend::Dkls23Secp256k1);
    let batch = Act::PresignBatch {
        key_id: id("k"),
        key_epoch: 1,
        path: vec![0],
        signers: signers.clone(),
        count: 2,
    };
    let (perform, publish) = (Run::Act(None), Run::Publish(dvm_core::intent::Scope::Public));
    for (act, run, backend, participants) in [
        (&make, perform, backend, &roster),
        (&make, publish, backend, &roster),
        (&sign, perform, backend, &signers),
        (&sign, publish, backend, &signers),
        (&sign, perform, ecdsa, &signers),
        (&batch, perform, ecdsa, &signers),
    ] {
        let made = dvm_score::compile(act, run, backend, participants).unwrap();
        seeds.artifact("score", made.score().score());
        seeds.artifact("plan", made.plan());
    }
}

/// One of each artifact, as the codec's own vectors have it.
fn add_vectors(seeds: &mut Seeds) {
    let lines = include_str!("../../../vectors/artifacts.txt");
    for line in lines.lines() {
        let (schema, hex) = (line.split(' ').next().unwrap(), line.rsplit(' ').next().unwrap());
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let target = match schema {
            "dvm/intent/2" => "intent",
            "dvm/kernel-call/2" => "kernel_call",
            "dvm/kernel-reply/2" => "kernel_reply",
            _ => "any_schema",
        };
        seeds.add(target, bytes);
    }
}

fn made() -> Files {
    let mut seeds = Seeds::default();
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.signature(b"pay bob", "pay-bob", &["n1", "n2"]);
    let input = rig.input();
    add_input(&mut seeds, &input, "signature");
    add_cluster(&mut seeds, &rig, &input);
    rig.ask_signature(b"no", "no");
    rig.deny("a2");
    for node in NODES {
        rig.judge(&id(node), &Purpose::Admit, &[ReasonCode::PolicyDenied]);
    }
    add_input(&mut seeds, &rig.input(), "denied");
    add_envelopes(&mut seeds, &mut rig);
    for file in ["signature.car", "denied.car"] {
        let bytes = seeds.fixtures[&PathBuf::from("fixtures").join(file)].clone();
        seeds.add("car", bytes);
    }
    add_calls(&mut seeds, &mut rig);
    add_programs(&mut seeds);
    add_vectors(&mut seeds);
    add_scripts(&mut seeds);
    dvm_fuzz::genuine().into_iter().for_each(|(target, bytes)| seeds.add(target, bytes));
    seeds.files()
}

fn add_calls(seeds: &mut Seeds, rig: &mut Rig) {
    use dvm_core::call::{KernelCall, KernelReply};
    let manifest = Box::new(rig.genesis.clone());
    seeds.artifact("kernel_call", &KernelCall::Pin { manifest, node: id("n1") });
    seeds.artifact("kernel_call", &KernelCall::Status);
    let reply = rig.peers[0].kernel.handle(KernelCall::Attest);
    seeds.artifact("kernel_reply", &reply);
    if let KernelReply::Attested(signed) = reply {
        seeds.artifact("attestation", &signed.body);
    }
    let receipt = dvm_core::admission::PolicyReceipt {
        salt: dvm_core::B32([2; 32]),
        intent: dvm_core::Link::of_raw(b"x"),
        request: "{}".into(),
        rules: vec!["20-sign-message/allowed".into()],
        errors: vec![],
        limits: vec![("hour".into(), 3)],
    };
    seeds.artifact("policy_receipt", &receipt);
}

#[test]
fn the_committed_corpus_is_the_one_that_genuine_artifacts_give_and_small() {
    let files = made();
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes of corpus");
    let home = dvm_fuzz::corpus::home();
    if std::env::var_os("DVM_BLESS").is_some() {
        for directory in ["corpus", "fixtures"] {
            let _ = std::fs::remove_dir_all(home.join(directory));
        }
        for (path, bytes) in &files {
            let path = home.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        return;
    }
    for (path, bytes) in &files {
        let there = std::fs::read(home.join(path)).unwrap_or_default();
        assert!(there == *bytes, "{} is not current: bless it", path.display());
    }
}

#[test]
fn every_target_has_a_seed_that_it_accepts_or_that_reaches_it() {
    for target in dvm_fuzz::TARGETS {
        let seeds = dvm_fuzz::corpus::seeds(target.name);
        assert!(seeds.iter().any(|seed| !seed.is_empty()), "{} has no seed", target.name);
        assert!(seeds.iter().all(|seed| seed.len() <= target.bytes_max), "{}", target.name);
    }
    let manifest = dvm_fuzz::corpus::fixture("cluster.cbor");
    assert!(decode::<dvm_core::authority::ClusterManifest>(&manifest).is_ok());
}
