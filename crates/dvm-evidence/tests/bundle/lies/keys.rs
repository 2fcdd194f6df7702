//! Keys: the facts that all holders' kernels signed, against the act and the run that made it.

use dvm_core::authority::{KeyReady, KeyReadyCertificate};
use dvm_core::codec::{decode, encode};
use dvm_core::intent::Backend;
use dvm_core::{B32, Bytes, Link, Signed};

use super::{assert_refused, each, key_world};
use crate::rig::{NODES, id};

fn certificate() -> KeyReadyCertificate {
    decode(key_world().input.result.as_ref().unwrap()).unwrap()
}

/// Signed by every kernel of the roster in the facts.
fn signed_by_all(ready: KeyReady) -> KeyReadyCertificate {
    let cose = |node: &dvm_core::NodeId| key_world().by_kernel(node.as_str(), ready.clone()).cose;
    let signatures = ready.roster.iter().map(cose).collect();
    KeyReadyCertificate { ready, signatures }
}

fn refused_as(certificate: &KeyReadyCertificate, link: &str, what: &str) {
    let bytes = Bytes(encode(certificate));
    let refused = key_world().lie(|i| i.result = Some(bytes));
    assert_refused(&refused, link, what);
}

fn facts(changes: &[fn(&mut KeyReady)], link: &str, what: &str) {
    for other in each(&certificate().ready, changes) {
        refused_as(&signed_by_all(other), link, what);
    }
}

#[test]
fn the_result_of_a_key_generation_is_a_certificate_by_every_holder() {
    let other = Bytes(encode(&key_world().input.intent));
    let refused = key_world().lie(|i| i.result = Some(other));
    assert_refused(&refused, "result", "the result is no certificate of a key");
    let what = "the key's facts are not signed by every holder's kernel";
    let mut fewer = certificate();
    fewer.signatures.pop();
    refused_as(&fewer, "result", what);
    let mut turned = certificate();
    turned.signatures.swap(0, 1);
    refused_as(&turned, "result", what);
    let mut one = certificate();
    let ready = one.ready.clone();
    one.signatures[2] = Signed::new(ready, &crate::rig::key("n3/policy")).cose;
    refused_as(&one, "result", what);
}

#[test]
fn facts_of_another_act_are_refused_though_every_kernel_signed_them() {
    facts(
        &[
            |r| r.cluster = Link::of_raw(b"x"),
            |r| r.intent = Link::of_raw(b"x"),
            |r| r.key_id = id("other"),
            |r| r.key_epoch += 1,
            |r| r.backend = Backend::FrostSecp256k1Tr,
            |r| r.threshold = 3,
            |r| r.roster = NODES[..2].iter().map(|n| id(n)).collect(),
        ],
        "result",
        "the key's facts are of another act",
    );
}

#[test]
fn a_package_that_says_something_else_than_the_facts_is_refused() {
    facts(
        &[|r| r.public_key.0[0] ^= 1, |r| r.public_key = vec![].into()],
        "result",
        "the key package says something else than the key's facts",
    );
    facts(
        &[|r| r.package = vec![1, 2].into(), |r| r.package.0.truncate(40)],
        "result",
        "the key package is no group key of its suite",
    );
}

#[test]
fn facts_of_another_run_or_transcript_are_refused() {
    facts(
        &[|r| r.transcript = B32([1; 32])],
        "peers/n1/runs/0",
        "another transcript than the key's facts name",
    );
    facts(
        &[|r| r.execution_id = B32([1; 32])],
        "peers/n1/runs/1",
        "the key was made in another run",
    );
}

#[test]
fn a_key_bundle_without_its_certificate_is_incomplete_and_not_refused() {
    let mut input = key_world().input.clone();
    input.result = None;
    let report = dvm_evidence::verify(&crate::rig::write(input), key_world().cluster).unwrap();
    assert!(!report.complete && report.result.is_some());
    let whole = crate::rig::write(key_world().input.clone());
    assert!(dvm_evidence::verify(&whole, key_world().cluster).unwrap().complete);
}
