//! Vaults that were restored or copied: their own kernels and their peers' refuse them, and honest restarts go on.

use std::path::Path;

use dvm_core::ReasonCode::{
    self, BindingMismatch, RemoteTimeout, ReplayOrConflict, SplitBrainFenced,
};
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::codec::link_of;
use dvm_core::governance::EventKind;
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::run::{Open, Proposal};
use dvm_core::sighting::{FencingRecord, Sighting, Statement};
use dvm_core::{Link, Signed};

use crate::harness::{Cluster, corrupt, id};
use crate::messenger::{Course, refusal};

const BACKEND: Backend = Backend::FrostEd25519;
const CONTENT: &[u8] = b"content";
const PAIR: [&str; 2] = ["n1", "n2"];

/// The files of a vault, as a backup has them.
struct Backup(tempfile::TempDir);

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(to).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Stops a node, takes a backup of its vault, and starts it again.
fn backup(cluster: &mut Cluster, node: &str) -> Backup {
    cluster.halt(node);
    let backup = Backup(tempfile::tempdir().unwrap());
    copy(&cluster.vault_dir(node), backup.0.path());
    cluster.restart(node);
    backup
}

/// Puts the backup in the place of what the vault has become, and starts the kernel over it.
fn restore(cluster: &mut Cluster, node: &str, backup: &Backup) {
    cluster.halt(node);
    copy(backup.0.path(), &cluster.vault_dir(node));
    cluster.reboot(node);
}

fn signed(cluster: &mut Cluster, name: &str, by: [&str; 2]) -> (CanonicalIntent, Course) {
    cluster.held_signature(CONTENT, name, by, BACKEND)
}

fn opened(cluster: &mut Cluster, name: &str) -> (CanonicalIntent, Vec<Signed<Open>>) {
    let intent = cluster.sign_intent(CONTENT, name);
    let opens = PAIR.map(|node| cluster.open(node, &intent, Some(CONTENT))).to_vec();
    (intent, opens)
}

fn start_call(proposal: &Proposal) -> KernelCall {
    KernelCall::Start { proposal: Box::new(proposal.clone()), frames: Vec::new() }
}

fn attested_stop(cluster: &mut Cluster, node: &str) -> Option<ReasonCode> {
    cluster.attested(node).body.stopped
}

fn fences(cluster: &mut Cluster, node: &str) -> Vec<FencingRecord> {
    match cluster.call(node, KernelCall::Fence { record: None }) {
        KernelReply::Fences(records) => records,
        other => panic!("no fences: {other:?}"),
    }
}

/// Every call that would make a kernel speak for its node is refused.
fn never_speaks_again(cluster: &mut Cluster, node: &str) {
    let intent = cluster.sign_intent(CONTENT, "after");
    let open = cluster.open_call(node, &intent, Some(CONTENT));
    cluster.refused(node, open, SplitBrainFenced);
    let entry = Box::new(cluster.entry(EventKind::ClusterDegraded, None));
    let time_s = cluster.now_ms() / 1_000;
    cluster.refused(node, KernelCall::Cosign { entry, time_s }, SplitBrainFenced);
}

#[test]
fn restored_vault_is_ended_for_good_by_what_any_one_peer_saw_and_the_others_sign() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let yesterday = backup(&mut cluster, "n2");
    signed(&mut cluster, "today", PAIR);
    restore(&mut cluster, "n2", &yesterday);
    // n3 saw less than n1 did: yesterday's attestation, which the vault knows. It is no news.
    assert_eq!(attested_stop(&mut cluster, "n2"), None);
    let (sighting, refused) = cluster.sighted("n2", "n1");
    assert_eq!(refused, Some(SplitBrainFenced));
    let reply = cluster.call("n2", KernelCall::Show { sighting });
    assert_eq!(refusal(&reply).0, SplitBrainFenced);
    assert_eq!(attested_stop(&mut cluster, "n2"), Some(SplitBrainFenced));
    never_speaks_again(&mut cluster, "n2");
    // A restart makes nothing good.
    cluster.reboot("n2");
    never_speaks_again(&mut cluster, "n2");
    signed(&mut cluster, "without-n2", ["n1", "n3"]);
}

#[test]
fn restored_vault_does_not_start_beside_a_signer_that_saw_more_of_it_and_that_one_refuses_it_too() {
    let mut cluster = Cluster::roomy(BACKEND);
    let yesterday = backup(&mut cluster, "n2");
    signed(&mut cluster, "today", PAIR);
    // Its runtime hides every sighting, and starts it until the generation is a new one and its numbers are as high.
    restore(&mut cluster, "n2", &yesterday);
    for again in 0..3 {
        for open in 0..3 {
            let intent = cluster.sign_intent(CONTENT, &format!("waste-{again}-{open}"));
            cluster.open("n2", &intent, Some(CONTENT));
        }
        cluster.reboot("n2");
    }
    let (intent, opens) = opened(&mut cluster, "next");
    let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    cluster.refused("n2", start_call(&proposal), SplitBrainFenced);
    // Before its numbers passed what they saw, the peers refuse it by themselves.
    restore(&mut cluster, "n2", &yesterday);
    let (intent, opens) = opened(&mut cluster, "next-but-one");
    let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    let reply = cluster.call("n1", start_call(&proposal));
    assert_eq!(refusal(&reply).0, SplitBrainFenced);
}

#[test]
fn restored_vault_in_a_newer_generation_with_older_numbers_is_refused_by_its_peers() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let yesterday = backup(&mut cluster, "n2");
    signed(&mut cluster, "today", PAIR);
    restore(&mut cluster, "n2", &yesterday);
    cluster.reboot("n2");
    assert_eq!(cluster.sighted("n2", "n1").1, Some(SplitBrainFenced));
    let (intent, opens) = opened(&mut cluster, "next");
    let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    cluster.refused("n1", start_call(&proposal), SplitBrainFenced);
    // It is no proof of a second instance, and fences nobody.
    assert_eq!(fences(&mut cluster, "n1"), []);
}

#[test]
fn ordinary_restarts_at_any_point_are_no_rollback() {
    let mut cluster = Cluster::roomy(BACKEND);
    for round in 0..3 {
        signed(&mut cluster, &format!("round-{round}"), PAIR);
        for _ in 0..=round {
            cluster.restart("n2");
        }
        // A start that dies at once, before it says a word.
        cluster.reboot("n2");
        let (intent, opens) = opened(&mut cluster, &format!("lost-{round}"));
        let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
        let mut course = cluster.start(&proposal, plan, &Default::default());
        cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
        cluster.restart("n1");
        cluster.restart("n2");
        assert_eq!(attested_stop(&mut cluster, "n2"), None);
    }
    assert_eq!(fences(&mut cluster, "n1"), []);
}

#[test]
fn what_a_peer_heard_in_frames_counts_as_much_as_what_it_heard_in_openings() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, opens) = opened(&mut cluster, "one");
    // The backup has the opening, and not the level that follows.
    let backup = Backup(tempfile::tempdir().unwrap());
    copy(&cluster.vault_dir("n2"), backup.0.path());
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &Default::default());
    // n1 sees n2's attestation before the level, and never after it: what it knows of the level is its frame.
    assert_eq!(cluster.shown("n2", "n1"), KernelReply::Shown);
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let call = Cluster::step_call(&course, &id("n1"));
    assert!(matches!(cluster.call("n1", call), KernelReply::Level(_)));
    restore(&mut cluster, "n2", &backup);
    let reply = cluster.shown("n2", "n1");
    assert_eq!(refusal(&reply).0, SplitBrainFenced);
}

#[test]
fn directory_copied_and_started_twice_is_fenced_by_evidence_that_ends_both() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let copied = backup(&mut cluster, "n2");
    // The original goes on in the same generation that the copy gets: two boots of it.
    let original = cluster.attested("n2");
    signed(&mut cluster, "original", PAIR);
    restore(&mut cluster, "n2", &copied);
    let (_, refused) = cluster.sighted("n2", "n1");
    assert_eq!(refused, Some(SplitBrainFenced));
    let records = fences(&mut cluster, "n1");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].node, id("n2"));
    assert!(records[0].holds());
    let boots = [records[0].first.boot(), records[0].second.boot()];
    assert_eq!(boots, [original.body.boot, cluster.boot("n2")]);

    // It is durable, and binds every boot of that kernel, the original's as well.
    cluster.reboot("n1");
    let call = KernelCall::Sight { node: id("n2"), attestation: original };
    let KernelReply::Sighted { refused, .. } = cluster.call("n1", call) else { panic!() };
    assert_eq!(refused, Some(SplitBrainFenced));

    // It convinces a kernel that saw neither, and ends the kernel that it is about.
    let record = Some(Box::new(records[0].clone()));
    for node in ["n3", "n2"] {
        let reply = cluster.call(node, KernelCall::Fence { record: record.clone() });
        assert_eq!(reply, KernelReply::Fences(records.clone()));
    }
    never_speaks_again(&mut cluster, "n2");
    signed(&mut cluster, "the-others", ["n1", "n3"]);
}

#[test]
fn signer_that_meets_the_second_boot_first_in_an_opening_fences_it_before_it_refuses() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let copied = backup(&mut cluster, "n2");
    signed(&mut cluster, "original", PAIR);
    restore(&mut cluster, "n2", &copied);
    let (intent, opens) = opened(&mut cluster, "copy");
    let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    let reply = cluster.call("n1", start_call(&proposal));
    assert_eq!(refusal(&reply).0, SplitBrainFenced);
    assert!(matches!(fences(&mut cluster, "n1")[0].second, Statement::Open(_)));
    // Said again it changes nothing more.
    cluster.refused("n1", start_call(&proposal), SplitBrainFenced);
}

#[test]
fn two_openings_under_one_number_of_one_boot_fence_a_live_copy() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, mut opens) = opened(&mut cluster, "one");
    let (proposal, _) = cluster.proposal(&intent, opens.clone(), BACKEND);
    assert!(matches!(cluster.call("n1", start_call(&proposal)), KernelReply::Started { .. }));
    let next = cluster.sign_intent(CONTENT, "two");
    let mut said = opens.remove(1).body;
    (said.intent, said.nonce) = (link_of(&next), dvm_core::B32([9; 32]));
    let own = cluster.open("n1", &next, Some(CONTENT));
    let copy = Signed::new(said, &corrupt("n2"));
    let (proposal, _) = cluster.proposal(&next, vec![own, copy], BACKEND);
    let reply = cluster.call("n1", start_call(&proposal));
    assert_eq!(refusal(&reply).0, SplitBrainFenced);
    assert!(fences(&mut cluster, "n1")[0].holds());
}

#[test]
fn lying_peer_ends_nobody_and_no_more_than_its_own_runs() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (honest, _) = cluster.sighted("n2", "n1");
    let body = honest.body.clone();
    let told = |body: Sighting| {
        let sighting = Box::new(Signed::new(body, &corrupt("n1")));
        KernelCall::Show { sighting }
    };
    // It has nothing higher by n2's key, so it signs something itself: under its own key, or alters what n2 said.
    let said = cluster.attested("n2");
    let mut more = said.body.clone();
    (more.vault_seq, more.boot.generation) = (u64::MAX, u64::MAX);
    let forged = Signed::new(more.clone(), &corrupt("n1"));
    let altered = Signed { body: more, cose: said.cose.clone() };
    for lie in [forged, altered] {
        let seen = Some(Statement::Attestation(Box::new(lie)));
        cluster.refused("n2", told(Sighting { seen, ..body.clone() }), BindingMismatch);
    }
    let elsewhere = Sighting { cluster: Link::of_raw(b"another"), ..body.clone() };
    cluster.refused("n2", told(elsewhere), BindingMismatch);
    let other = Sighting { kernel: corrupt_key("n3"), ..body.clone() };
    cluster.refused("n2", told(other), BindingMismatch);
    let mut earlier = body.clone();
    earlier.to.id = dvm_core::B32([1; 32]);
    cluster.refused("n2", told(earlier), ReplayOrConflict);
    let someone = KernelCall::Show { sighting: Box::new(Signed::new(body, &corrupt("n3"))) };
    cluster.refused("n2", someone, BindingMismatch);

    // A mere claim in an opening costs that run, and nothing after it.
    let (intent, opens) = opened(&mut cluster, "claimed");
    let mut lie = opens[0].body.clone();
    let own = lie.seen.iter_mut().find(|s| s.kernel == corrupt_key("n2")).unwrap();
    own.vault_seq = u64::MAX;
    let claimed = vec![Signed::new(lie, &corrupt("n1")), opens[1].clone()];
    let (proposal, _) = cluster.proposal(&intent, claimed, BACKEND);
    cluster.refused("n2", start_call(&proposal), SplitBrainFenced);
    assert_eq!(attested_stop(&mut cluster, "n2"), None);
    signed(&mut cluster, "with-another", ["n2", "n3"]);
}

fn corrupt_key(node: &str) -> dvm_core::PublicKey {
    use dvm_core::Signer;
    corrupt(node).public_key()
}

#[test]
fn fencing_record_that_shows_nothing_is_refused() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let first = cluster.attested("n2");
    cluster.restart("n2");
    let second = cluster.attested("n2");
    let record = FencingRecord {
        cluster: cluster.state.cluster(),
        node: id("n2"),
        kernel: corrupt_key("n2"),
        first: Statement::Attestation(first.clone()),
        second: Statement::Attestation(second.clone()),
    };
    // Two boots of two generations; and two of one that a third party made up.
    let mut twin = second.body.clone();
    twin.boot.id = dvm_core::B32([3; 32]);
    let made_up = FencingRecord {
        first: Statement::Attestation(second),
        second: Statement::Attestation(Box::new(Signed::new(twin, &corrupt("n3")))),
        ..record.clone()
    };
    for record in [record, made_up] {
        let call = KernelCall::Fence { record: Some(Box::new(record)) };
        cluster.refused("n1", call, BindingMismatch);
    }
    assert_eq!(fences(&mut cluster, "n1"), []);
}

#[test]
fn held_result_of_an_earlier_boot_waits_at_the_gate_until_the_other_signer_has_spoken() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = signed(&mut cluster, "one", PAIR);
    cluster.reboot("n1");
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    let grant = cluster.grant_call(&intent, &publication, &id("n1"), &["a2", "a3"]);
    cluster.refused("n1", grant, RemoteTimeout);
    // n3 takes no part, and its word does not help.
    assert_eq!(cluster.shown("n1", "n3"), KernelReply::Shown);
    let grant = cluster.grant_call(&intent, &publication, &id("n1"), &["a2", "a3"]);
    cluster.refused("n1", grant, RemoteTimeout);
    assert_eq!(cluster.shown("n1", "n2"), KernelReply::Shown);
    cluster.grant_all(&intent, &mut publication);
    cluster.reboot("n1");
    let open = Cluster::open_result_call(&publication, &id("n1"));
    cluster.refused("n1", open, RemoteTimeout);
    assert_eq!(cluster.shown("n1", "n2"), KernelReply::Shown);
    assert_eq!(cluster.open_all(&mut publication).len(), 2);
}

#[test]
fn restored_vault_with_a_result_that_was_destroyed_since_grants_it_no_more() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = signed(&mut cluster, "one", PAIR);
    let holding = backup(&mut cluster, "n1");
    let abort = KernelCall::Abort { execution_id: held.execution_id, code: RemoteTimeout };
    assert!(matches!(cluster.call("n1", abort), KernelReply::Denied(_)));
    signed(&mut cluster, "two", PAIR);
    restore(&mut cluster, "n1", &holding);
    let (proposal, _) = Cluster::publication(&intent, &held, BACKEND);
    let frames = held.inbox[&id("n1")].clone();
    let start = KernelCall::Start { proposal: Box::new(proposal), frames };
    assert!(matches!(cluster.call("n1", start.clone()), KernelReply::Started { .. }));
    let reply = cluster.shown("n1", "n2");
    assert_eq!(refusal(&reply).0, SplitBrainFenced);
    cluster.refused("n1", start, SplitBrainFenced);
}
