//! What does not verify: changed, mixed, extended and cut bundles, by strangers and by a lying exporter.

use std::sync::OnceLock;

use dvm_core::admission::Purpose;
use dvm_core::intent::Backend;
use dvm_core::trace::TraceEvent;
use dvm_core::{Link, ReasonCode, Signed};
use dvm_evidence::{BundleInput, Refused, replay_bundle, verify};

use crate::forge::Forgery;
use crate::rig::{Rig, id, key, policy_key, write};
use crate::runs::step_call;

/// One signature, one more of the same cluster, and the cluster's id: made once.
fn world() -> &'static (BundleInput, BundleInput, Link) {
    static WORLD: OnceLock<(BundleInput, BundleInput, Link)> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut rig = Rig::active(Backend::FrostEd25519);
        rig.signature(b"pay bob", "pay-bob", &["n1", "n2"]);
        let one = rig.input();
        rig.signature(b"pay eve", "pay-eve", &["n1", "n2"]);
        (one, rig.input(), rig.cluster())
    })
}

fn good() -> Vec<u8> {
    write(world().0.clone())
}

fn refusal(file: &[u8]) -> Refused {
    verify(file, world().2).unwrap_err()
}

/// What the exporter gets for a bundle with this lie in it.
fn lied(change: impl FnOnce(&mut BundleInput)) -> Refused {
    let mut input = world().0.clone();
    change(&mut input);
    refusal(&write(input))
}

#[test]
fn every_changed_byte_is_refused() {
    let file = good();
    assert!(verify(&file, world().2).is_ok());
    let manifest_ends = 2_000 + Forgery::of(&file).blocks[1].1.len();
    let sampled = (0..manifest_ends).chain((manifest_ends..file.len()).step_by(97));
    for at in sampled {
        let mut other = file.clone();
        other[at] ^= 1 << (at % 8);
        assert!(verify(&other, world().2).is_err(), "byte {at}");
    }
}

#[test]
fn a_stranger_who_recomputes_every_hash_up_to_the_root_is_refused() {
    let whole = Forgery::of(&good());
    for at in 1..whole.blocks.len() {
        let mut forged = whole.clone();
        let mut bytes = forged.blocks[at].1.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        forged.replace(at, bytes);
        assert!(dvm_evidence::car::read(&forged.file()).is_ok(), "hashes hold, block {at}");
        assert!(verify(&forged.file(), world().2).is_err(), "block {at}");
    }
}

#[test]
fn an_exporter_who_changes_any_block_and_signs_anew_is_refused() {
    let whole = Forgery::of(&good());
    let exporter = key("n1/policy");
    for at in 2..whole.blocks.len() {
        // A publication's permit values are covered by no receipt; see spec/evidence.md.
        if whole.schema(at).as_deref() == Some("dvm/permit-event/1") {
            continue;
        }
        let len = whole.blocks[at].1.len();
        for place in [len / 5, len / 2, len - 1 - len / 7] {
            let mut forged = whole.clone();
            let mut bytes = forged.blocks[at].1.clone();
            bytes[place] ^= 1;
            forged.replace(at, bytes);
            forged.sign(&exporter);
            let schema = whole.schema(at);
            assert!(verify(&forged.file(), world().2).is_err(), "block {at} {schema:?} {place}");
        }
    }
}

#[test]
fn another_cluster_and_another_exporter_are_refused() {
    let other = Link::of_artifact(b"other");
    assert_eq!(verify(&good(), other).unwrap_err().link, "cluster");
    let mut forged = Forgery::of(&good());
    forged.sign(&key("n2/policy"));
    let refused = refusal(&forged.file());
    assert_eq!((refused.link.as_str(), refused.code), ("root", ReasonCode::BindingMismatch));
    let stranger = lied(|input| input.exporter = id("n9"));
    assert_eq!(stranger.link, "exporter");
}

#[test]
fn blocks_added_removed_or_out_of_place_are_refused() {
    let whole = Forgery::of(&good());
    let mut more = whole.clone();
    more.blocks.push((Link::of_raw(b"more"), b"more".to_vec()));
    assert_eq!(refusal(&more.file()).link, "car");
    let mut fewer = whole.clone();
    fewer.blocks.pop();
    assert!(verify(&fewer.file(), world().2).is_err());
    let mut turned = whole.clone();
    turned.blocks.swap(4, 5);
    assert_eq!(refusal(&turned.file()).link, "car");
}

#[test]
fn swapped_links_are_refused_where_they_stand() {
    let exporter = key("n1/policy");
    let mut forged = Forgery::of(&good());
    let mut manifest = forged.manifest();
    let run = &mut manifest.peers[0].runs[0];
    std::mem::swap(&mut run.trace, &mut run.header);
    forged.set_manifest(&manifest);
    forged.sign(&exporter);
    assert_eq!(refusal(&forged.file()).link, "peers/n1/runs/0/trace");
    let mut forged = Forgery::of(&good());
    let mut manifest = forged.manifest();
    let (a, b) =
        (manifest.peers[0].admissions[0].signature, manifest.peers[1].admissions[0].signature);
    manifest.peers[0].admissions[0].signature = b;
    manifest.peers[1].admissions[0].signature = a;
    forged.set_manifest(&manifest);
    forged.sign(&exporter);
    assert_eq!(refusal(&forged.file()).link, "peers/n1/admissions/0");
}

#[test]
fn two_bundles_mixed_are_refused() {
    let other = &world().1;
    let of = |part: usize| other.parts[part].clone();
    assert_eq!(lied(|i| i.intent = other.intent.clone()).link, "intent");
    assert_eq!(lied(|i| i.content = other.content.clone()).link, "intent");
    assert_eq!(lied(|i| i.result = other.result.clone()).link, "result");
    assert_eq!(lied(|i| i.parts[1] = of(1)).link, "peers/n2/approvals/0");
    assert_eq!(lied(|i| i.parts[0].admissions = of(0).admissions).link, "peers/n1/admissions/0");
    // The release judgement comes first: it is of a result that these runs do not hold.
    assert_eq!(lied(|i| i.parts[0].runs = of(0).runs).link, "peers/n1/admissions/1");
    let act = |i: &mut BundleInput| i.parts[0].runs.push(of(0).runs.remove(0));
    assert_eq!(lied(act).link, "peers/n1/runs/2/header");
    let swap = |i: &mut BundleInput| {
        let runs = i.parts[1].runs[1].publications.clone();
        i.parts[0].runs[1].publications = runs;
    };
    assert_eq!(lied(swap).link, "peers/n1/runs/1/publications/0");
}

#[test]
fn parts_of_runs_that_are_swapped_between_peers_are_refused() {
    let broadcasts = |i: &mut BundleInput| {
        let (a, b) = i.parts.split_at_mut(1);
        std::mem::swap(&mut a[0].runs[0].broadcasts, &mut b[0].runs[0].broadcasts);
    };
    assert_eq!(lied(broadcasts).link, "peers/n1/runs/0/broadcasts/0");
    let roots =
        |i: &mut BundleInput| i.parts[0].runs[0].trace_root = i.parts[1].runs[0].trace_root.clone();
    assert_eq!(lied(roots).link, "peers/n1/runs/0/trace_root");
    let permits =
        |i: &mut BundleInput| i.parts[0].runs[0].permits = i.parts[1].runs[0].permits.clone();
    assert!(lied(permits).link.starts_with("peers/n1/runs/0/permit"));
    let receipts = |i: &mut BundleInput| {
        i.parts[0].runs[0].permit_receipt = i.parts[1].runs[0].permit_receipt.clone();
    };
    assert_eq!(lied(receipts).link, "peers/n1/runs/0/permit_receipt");
    let opens = |i: &mut BundleInput| i.parts[0].runs[0].proposal.opens.swap(0, 1);
    assert_eq!(lied(opens).link, "peers/n1/runs/0/opens");
}

#[test]
fn what_is_left_out_of_a_part_is_missed() {
    assert_eq!(lied(|i| i.parts[0].approvals.clear()).link, "peers/n1/admissions/0");
    assert_eq!(lied(|i| i.parts[0].chain.clear()).link, "peers/n1/chain");
    assert_eq!(lied(|i| drop(i.parts[0].chain.remove(1))).link, "peers/n1/chain/1");
    assert_eq!(
        lied(|i| drop(i.parts[1].admissions.remove(0))).link,
        "peers/n2/runs/0/permit_receipt"
    );
    let receipt = lied(|i| i.parts[0].runs[0].permit_receipt = None);
    assert!(receipt.link.starts_with("peers/n1/"));
    assert_eq!(lied(|i| i.parts[1].runs[1].publications.clear()).link, "peers/n2/runs/1");
    assert!(
        lied(|i| i.parts[0].runs[0].permits.truncate(1)).link.starts_with("peers/n1/runs/0/permit")
    );
    assert_eq!(lied(|i| drop(i.log.pop())).link, "certificate");
    assert_eq!(lied(|i| i.certificate = None).link, "certificate");
    let cosignatures = lied(|i| drop(i.certificate.as_mut().unwrap().cosignatures.pop()));
    assert_eq!(cosignatures.link, "certificate");
    let one_peer = lied(|i| i.parts[1].runs.truncate(1));
    assert!(one_peer.link.starts_with("peers/n2/"), "{one_peer}");
}

#[test]
fn a_trace_with_an_event_more_less_or_out_of_order_is_refused() {
    let events = |change: fn(&mut Vec<TraceEvent>)| {
        lied(|i| change(&mut i.parts[0].runs[0].trace.events)).link
    };
    assert!(events(|e| e.swap(1, 2)).starts_with("peers/n1/runs/0/trace"));
    assert!(events(|e| drop(e.pop())).starts_with("peers/n1/runs/0/trace"));
    assert!(
        events(|e| e.push(TraceEvent::Cancel(ReasonCode::Internal)))
            .starts_with("peers/n1/runs/0/trace")
    );
}

/// A peer's own lie, signed by its own policy key, about its own trace.
#[test]
fn a_peer_that_signs_a_root_over_another_trace_is_refused() {
    let refused = lied(|i| {
        let run = &mut i.parts[0].runs[0];
        let mut body = run.trace_root.body.clone();
        body.confirmed_level += 1;
        run.trace_root = Signed::new(body, &key("n1/policy"));
    });
    assert_eq!(refused.link, "peers/n1/runs/0/trace_root");
    let mut input = world().0.clone();
    let run = &mut input.parts[0].runs[0];
    let mut body = run.trace_root.body.clone();
    body.facts += 1;
    run.trace_root = Signed::new(body, &key("n1/policy"));
    let replayed = replay_bundle(&write(input)).unwrap();
    assert_eq!(replayed.iter().filter(|r| !r.equal()).count(), 1);
}

/// A node that admits, or releases, below the floor: its policy key signs, its kernel would refuse.
#[test]
fn verdicts_below_the_floor_are_refused_though_their_node_signed_them() {
    let resign = |i: &mut BundleInput, at: usize| {
        let mut body = i.parts[2].admissions[at].body.clone();
        body.approvals.clear();
        i.parts[2].admissions[at] = Signed::new(body, &policy_key(&id("n3")));
    };
    let refused = lied(|i| resign(i, 0));
    assert_eq!(refused.link, "peers/n3/admissions/0");
    assert_eq!(refused.code, ReasonCode::ApprovalsMissing);
    // An approval to admit does not serve as a release.
    let refused = lied(|i| {
        let admit = i.parts[0].approvals[0].link();
        let mut body = i.parts[0].admissions[1].body.clone();
        assert!(matches!(body.purpose, Purpose::Release { .. }));
        body.approvals = vec![admit];
        i.parts[0].admissions[1] = Signed::new(body, &policy_key(&id("n1")));
    });
    assert_eq!(refused.link, "peers/n1/admissions/1");
    assert_eq!(refused.code, ReasonCode::ApprovalsMissing);
}

#[test]
fn a_run_without_the_openers_receipt_or_past_its_permits_is_refused() {
    // A level performed by the kernel whose permits the node does not show.
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.ask_signature(b"short", "short");
    rig.approve(&Purpose::Admit, &["a1"]);
    for node in ["n1", "n2"] {
        rig.judge(&id(node), &Purpose::Admit, &[]);
    }
    rig.begin(&["n1", "n2"], 1);
    rig.advance(|run, _| step_call(run));
    let cluster = rig.cluster();
    assert!(verify(&rig.bundle(), cluster).is_ok());
    let mut input = rig.input();
    input.parts[0].runs[0].permits.remove(0);
    assert_eq!(verify(&write(input), cluster).unwrap_err().link, "peers/n1/runs/0/permits/0");
}

#[test]
fn foreign_files_are_refused_and_never_panic() {
    for file in [&b""[..], b"\0", &[0xff; 64], &[0x3a; 4096]] {
        assert!(verify(file, world().2).is_err());
        assert!(replay_bundle(file).is_err());
    }
    let mut deep = Forgery::of(&good());
    let intent = deep.manifest().intent;
    let at = deep.blocks.iter().position(|(link, _)| *link == intent).unwrap();
    deep.replace(at, vec![0x81; 4_000]);
    deep.sign(&key("n1/policy"));
    let refused = refusal(&deep.file());
    assert_eq!((refused.link.as_str(), refused.code), ("intent", ReasonCode::ResourceLimit));
    let file = good();
    for len in (0..file.len()).step_by(501) {
        assert!(verify(&file[..len], world().2).is_err(), "cut at {len}");
    }
}
