//! Claims about the gate: what is held is nowhere outside the kernels, and people decide what leaves.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::car::{RAW, parts};
use crate::memory::Snapshot;
use crate::site::{Site, bin_dir};

/// Every node keeps what it sends, in its directory: the search goes over that, too.
const RECORDED: [&str; 1] = ["--record-wire"];
/// What is signed; every node knows it.
const TEXT: &str = "a text whose signature is held";

/// Submits a signature that is to be held; shown once it is.
fn held(site: &Site, key: &str, text: &str) -> Value {
    let view = site.asked(0, &["sign", "message", "--key", key, "--text", text], "Executed");
    assert!(view["signature_hex"].is_null());
    view
}

/// Approves a release; shown once the execution is in this state.
fn release_by(site: &Site, person: &str, view: &Value, state: &str) -> Value {
    let intent = view["intent"].as_str().unwrap();
    // The coordinator signs along, so it can name the result that the approval binds.
    site.says(0, person, &["approve", intent, "--purpose", "release"]);
    site.shows(0, intent, state)
}

/// Every node's process and every file of the cluster, the kernels' sealed vaults among them.
fn snapshot(site: &Site) -> Snapshot {
    let mut all = Snapshot::new();
    for at in 0..3 {
        all.add_process(&format!("node {at}"), site.pid(at));
    }
    all.add_files(&site.dir);
    all
}

fn bundle(site: &Site, view: &Value, name: &str) -> PathBuf {
    let out = site.dir.join(name);
    let intent = view["intent"].as_str().unwrap();
    site.cli(0, &["evidence", "export", intent, "--out", out.to_str().unwrap()]).ok();
    out
}

/// Sum of two little-endian numbers modulo the order of Ed25519's group.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = hex::decode(ORDER).unwrap();
    let mut carry = 0;
    let mut total: Vec<u8> = Vec::new();
    for (a, b) in a.iter().zip(b) {
        carry += u16::from(*a) + u16::from(*b);
        total.push(carry as u8);
        carry >>= 8;
    }
    if total.iter().rev().ge(order.iter().rev()) {
        let mut borrow = 0;
        for (digit, order) in total.iter_mut().zip(&order) {
            let less = i16::from(*digit) - i16::from(*order) - borrow;
            borrow = i16::from(less < 0);
            *digit = less as u8;
        }
    }
    total
}

/// The two shares that were opened: those blocks of the bundle that add up to the signature's scalar.
fn opened_shares(car: &Path, signature: &[u8]) -> [Vec<u8>; 2] {
    let (_, blocks) = parts(&std::fs::read(car).unwrap());
    let raw = blocks.into_iter().filter(|b| b.codec == RAW && b.bytes.len() == 32);
    let raw: Vec<Vec<u8>> = raw.map(|b| b.bytes).collect();
    for a in &raw {
        for b in &raw {
            if a != b && sum(a, b) == signature[32..] {
                return [a.clone(), b.clone()];
            }
        }
    }
    panic!("no two of {} blocks add up to the signature", raw.len());
}

/// Where the shares of a held signature, or its scalar, are found while it is held.
fn found_while_held(site: &Site) -> Vec<String> {
    site.key("double", None, "treasury:2");
    let view = held(site, "double", TEXT);
    let while_held = snapshot(site);
    let seen = while_held.find(&[TEXT.as_bytes()]);
    for at in 0..3 {
        let node = format!("memory of node {at}");
        assert!(seen.iter().any(|place| place.contains(&node)), "the search is blind: {seen:?}");
    }
    assert!(seen.iter().any(|place| place.ends_with("wire.capture")), "nothing sent: {seen:?}");

    // One approval is not enough.
    let after_one = release_by(site, "demo-alice", &view, "Executed");
    assert!(after_one["signature_hex"].is_null());
    let after_one = snapshot(site);
    let published = release_by(site, "demo-bob", &view, "Published");

    let signature = hex::decode(published["signature_hex"].as_str().unwrap()).unwrap();
    let shares = opened_shares(&bundle(site, &view, "held.car"), &signature);
    let needles = [shares[0].as_slice(), &shares[1], &signature[32..]];
    let published = snapshot(site).find(&needles);
    assert!(published.iter().any(|place| place.ends_with("wire.capture")), "{published:?}");
    let mut found = while_held.find(&needles);
    found.extend(after_one.find(&needles));
    found
}

#[test]
fn no_runtime_store_or_log_holds_a_share_that_is_opened_later() {
    assert_eq!(found_while_held(&Site::start_from(&bin_dir(), &RECORDED)), Vec::<String>::new());
}

#[test]
fn a_denial_destroys_what_is_held_and_its_bundle_verifies() {
    let site = Site::start();
    site.key("double", None, "treasury:2");
    let view = held(&site, "double", "a text that carol refuses");
    let intent = view["intent"].as_str().unwrap();
    release_by(&site, "demo-alice", &view, "Executed");
    site.says(1, "demo-carol", &["deny", intent]);
    site.shows(0, intent, "Discarded");
    let shown = site.cli(0, &["execution", "show", intent]);
    assert_eq!((shown.exit, &shown.json()["codes"][0]), (3, &"DENIED_BY_APPROVER".into()));
    // A later approval brings nothing back, whatever it exits with.
    site.cli_as(1, "demo-bob", &["approve", intent, "--purpose", "release"]);
    let still = site.cli(0, &["execution", "show", intent, "--wait", "2"]).json();
    assert_eq!((&still["state"], &still["signature_hex"]), (&"Discarded".into(), &Value::Null));

    let car = bundle(&site, &view, "denied.car");
    let trust = site.path("trust_path");
    let verify = ["evidence", "verify", car.to_str().unwrap(), "--trust", trust.to_str().unwrap()];
    let report = site.cli(0, &verify).ok();
    assert_eq!((&report["state"], &report["result_hex"]), (&"Discarded".into(), &Value::Null));
}

#[test]
fn an_admission_approval_does_not_count_for_the_release() {
    let site = Site::start();
    site.key("both", Some("treasury:1"), "treasury:1");
    let ask = ["sign", "message", "--key", "both", "--text", "x"];
    let view = site.asked(0, &ask, "AwaitingApproval");
    let intent = view["intent"].as_str().unwrap();
    let approve = ["approve", intent, "--purpose", "admit"];
    site.says(1, "demo-alice", &approve);
    site.shows(0, intent, "Executed");
    // Said again, and by another person: still no word about the release.
    site.cli_as(1, "demo-alice", &approve);
    site.cli_as(1, "demo-bob", &approve);
    let still = site.cli(0, &["execution", "show", intent, "--wait", "3"]).json();
    assert_eq!((&still["state"], &still["signature_hex"]), (&"Executed".into(), &Value::Null));
    release_by(&site, "demo-alice", &view, "Published");
}
