//! The common guards, decisions, and the life of a key.

use dvm_core::authority::KeyReady;
use dvm_core::codec::{decode, encode};
use dvm_core::governance::{EventKind, LogEntry};
use dvm_core::intent::Backend;
use dvm_core::{B32, ReasonCode};
use proptest::prelude::*;

use crate::fixture::*;
use crate::{ClusterState, KeyState, Rule, apply, check_time, human_text, signing_authority};

fn activated() -> EventKind {
    EventKind::KeyActivated { key_id: id("k") }
}

#[test]
fn a_key_signs_only_after_publication_decision_and_activation_in_this_order() {
    let mut world = World::formed();
    let may = |w: &World| signing_authority(&w.state, &id("k"), 1).map(|k| k.epoch);
    assert_eq!(may(&world), Err(ReasonCode::KeyNotActive));
    world.publish("k");
    assert_eq!(may(&world), Err(ReasonCode::KeyNotActive));
    assert_eq!(world.refuses(activated()), Some(Rule::DecisionPresent));
    world.authorize("k");
    assert_eq!(world.state.key(&id("k")).unwrap().state, KeyState::Authorized);
    assert_eq!(may(&world), Err(ReasonCode::KeyNotActive));
    world.push(activated());
    assert_eq!(may(&world), Ok(1));
    assert_eq!(world.state.key(&id("k")).unwrap().floor, Some(floor()));
    assert_eq!(signing_authority(&world.state, &id("k"), 0).err(), Some(ReasonCode::StaleEpoch));
    assert_eq!(signing_authority(&world.state, &id("k"), 2).err(), Some(ReasonCode::KeyNotActive));
}

#[test]
fn key_activated_needs_its_key_ready_cid_and_the_authorised_decision() {
    let mut world = World::published("k");
    world.authorize("k");
    let good = world.next(activated());
    assert_eq!(world.refusal(&good), None);
    let mut event = good.event.body.clone();
    event.artifact_refs.clear();
    assert_eq!(world.refusal(&world.by("n1", event, None)), Some(Rule::PublishedBefore));
    let mut event = good.event.body.clone();
    event.decision_cid = Some(dvm_core::Link::of_raw(b"another"));
    assert_eq!(world.refusal(&world.by("n1", event, None)), Some(Rule::AuthorizedBefore));
    // Without any publication there is nothing to name.
    let bare = World::formed();
    let mut event = bare.next(activated()).event.body;
    event.decision_cid = Some(dvm_core::Link::of_raw(b"another"));
    assert_eq!(bare.refusal(&bare.by("n1", event, None)), Some(Rule::PublishedBefore));
}

#[test]
fn key_object_published_needs_every_holders_signature_over_the_named_facts() {
    let world = World::formed();
    let certificate = certified(ready(world.state.cluster(), "k", 1));
    assert_eq!(world.refusal(&world.publication(certificate.clone())), None);
    let mut short = world.publication(certificate.clone());
    short.key_ready.as_mut().unwrap().signatures.pop();
    assert_eq!(world.refusal(&short), Some(Rule::KeyReady));
    let mut none = world.publication(certificate.clone());
    none.key_ready = None;
    assert_eq!(world.refusal(&none), Some(Rule::KeyReady));
    let mut other = world.publication(certificate.clone());
    other.key_ready = Some(certified(ready(world.state.cluster(), "j", 1)));
    assert_eq!(world.refusal(&other), Some(Rule::KeyReady));
    let mut extra = world.next(EventKind::ClusterDegraded);
    extra.key_ready = Some(certificate);
    assert_eq!(world.refusal(&extra), Some(Rule::KeyReady));
}

#[test]
fn key_facts_must_fit_the_cluster_and_the_key_must_be_new() {
    let mut world = World::formed();
    let base = ready(world.state.cluster(), "k", 1);
    let with = |change: &dyn Fn(&mut dvm_core::authority::KeyReady)| {
        let mut facts = base.clone();
        change(&mut facts);
        world.refusal(&world.publication(certified(facts)))
    };
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|r| r.threshold = 1), Some(Rule::KeyFacts));
    assert_eq!(with(&|r| r.threshold = 3), Some(Rule::KeyFacts), "t - 1 > f");
    assert_eq!(with(&|r| r.roster.swap(0, 1)), Some(Rule::KeyFacts));
    assert_eq!(with(&|r| r.roster.truncate(2)), None);
    assert_eq!(with(&|r| r.public_key.0.truncate(31)), Some(Rule::KeyFacts));
    assert_eq!(with(&|r| r.cluster = dvm_core::Link::of_raw(b"x")), Some(Rule::KeyFacts));
    world.publish("k");
    let again = certified(ready(world.state.cluster(), "k", 1));
    assert_eq!(world.refusal(&world.publication(again)), Some(Rule::KeyIsNew));
    let mut twin = ready(world.state.cluster(), "j", 1);
    twin.public_key = base.public_key.clone();
    assert_eq!(world.refusal(&world.publication(certified(twin))), Some(Rule::KeyIsNew));
}

#[test]
fn only_the_facts_of_an_ecdsa_key_have_a_chain_code_and_all_of_them_have_one() {
    let world = World::formed();
    let (schnorr, ecdsa) = (Backend::FrostEd25519, Backend::Dkls23Secp256k1);
    let judged = |backend, key_bytes: usize, chain_code| {
        let base = ready(world.state.cluster(), "k", 1);
        let public_key = vec![2; key_bytes].into();
        let facts = KeyReady { backend, public_key, chain_code, ..base };
        world.refusal(&world.publication(certified(facts)))
    };
    let code = Some(B32([9; 32]));
    assert_eq!(judged(schnorr, 32, None), None);
    assert_eq!(judged(ecdsa, 33, code), None);
    for (backend, key_bytes, chain_code) in
        [(schnorr, 32, code), (schnorr, 33, None), (ecdsa, 33, None), (ecdsa, 32, code)]
    {
        assert_eq!(judged(backend, key_bytes, chain_code), Some(Rule::KeyFacts));
    }
}

#[test]
fn a_decision_needs_its_quorum_and_the_proposer_does_not_count() {
    let world = World::published("k");
    let ask = |governors: &[&str]| {
        let decision = world.signed(activated(), governors);
        let kind = EventKind::TransitionAuthorized { key_id: id("k") };
        world.refusal(&world.entry(kind, Some(decision)))
    };
    assert_eq!(ask(&["g2", "g3"]), None);
    assert_eq!(ask(&["g1", "g2", "g3"]), None);
    assert_eq!(ask(&["g2"]), Some(Rule::DecisionQuorum));
    assert_eq!(ask(&["g1", "g2"]), Some(Rule::DecisionQuorum));
    assert_eq!(ask(&["g2", "g3", "a1"]), Some(Rule::DecisionQuorum), "a stranger's");
    let mut double = world.signed(activated(), &["g2"]);
    double.signatures.push(double.signatures[0].clone());
    let kind = EventKind::TransitionAuthorized { key_id: id("k") };
    assert_eq!(world.refusal(&world.entry(kind, Some(double))), Some(Rule::DecisionQuorum));
}

#[test]
fn a_proposer_counts_where_the_cluster_says_so() {
    let mut world = World::formed();
    let mut governors = manifest().governors;
    governors.proposer_counts = true;
    world.push(EventKind::GovernorsChanged { governors });
    let root = EventKind::PolicyRootAdopted { policy_root: dvm_core::Link::of_raw(b"new") };
    let entry = |who: &[&str]| world.entry(root.clone(), Some(world.signed(root.clone(), who)));
    assert_eq!(world.refusal(&entry(&["g1", "g2"])), None);
    assert_eq!(world.refusal(&entry(&["g1"])), Some(Rule::DecisionQuorum));
}

#[test]
fn a_decision_is_for_one_change_one_cluster_one_head_and_one_epoch() {
    let world = World::published("k");
    let kind = EventKind::TransitionAuthorized { key_id: id("k") };
    let with = |change: &dyn Fn(&mut dvm_core::governance::GovernanceDecision)| {
        let mut decision = world.decision(activated());
        change(&mut decision);
        let signed = sign_all(decision, &["g2", "g3"]);
        world.refusal(&world.entry(kind.clone(), Some(signed)))
    };
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|d| d.cluster = dvm_core::Link::of_raw(b"x")), Some(Rule::DecisionSubject));
    assert_eq!(with(&|d| d.key_epoch = 2), Some(Rule::DecisionSubject));
    let other = EventKind::KeyActivated { key_id: id("j") };
    assert_eq!(with(&|d| d.transition = other.clone()), Some(Rule::DecisionSubject));
    assert_eq!(with(&|d| d.transition = kind.clone()), Some(Rule::DecisionSubject));
    assert_eq!(with(&|d| d.prev_head.size -= 1), Some(Rule::DecisionHead));
    assert_eq!(with(&|d| d.prev_head.root = B32([0; 32])), Some(Rule::DecisionHead));
    assert_eq!(with(&|d| d.floor = None), Some(Rule::DecisionTerms));
    assert_eq!(with(&|d| d.key_ready_cid = None), Some(Rule::DecisionTerms));
    let wrong = Some(dvm_core::Link::of_raw(b"x"));
    assert_eq!(with(&|d| d.key_ready_cid = wrong), Some(Rule::DecisionTerms));
    assert_eq!(with(&|d| d.expires_ms = d.not_before_ms), Some(Rule::DecisionTime));
    let unreachable = |d: &mut dvm_core::governance::GovernanceDecision| {
        d.floor.as_mut().unwrap().admit = Some(rule(4));
    };
    assert_eq!(with(&unreachable), Some(Rule::Floor));
}

#[test]
fn a_decision_cannot_be_used_twice() {
    let mut world = World::active("k");
    let suspend = EventKind::KeySuspended { key_id: id("k") };
    let decision = world.signed(suspend.clone(), &["g2", "g3"]);
    let entry = world.entry(suspend.clone(), Some(decision.clone()));
    world.accept(entry);
    world.push(EventKind::KeyResumed { key_id: id("k") });
    let again = world.entry(suspend, Some(decision));
    assert_eq!(world.refusal(&again), Some(Rule::DecisionHead));
}

#[test]
fn decision_cid_and_event_must_agree_and_a_needed_decision_must_be_there() {
    let world = World::active("k");
    let suspend = EventKind::KeySuspended { key_id: id("k") };
    let good = world.next(suspend.clone());
    assert_eq!(world.refusal(&good), None);
    let missing = LogEntry { decision: None, ..good.clone() };
    assert_eq!(world.refusal(&missing), Some(Rule::DecisionPresent));
    let mut event = good.event.body.clone();
    event.decision_cid = None;
    let unnamed = world.by("n1", event, good.decision.clone());
    assert_eq!(world.refusal(&unnamed), Some(Rule::DecisionLink));
    let stray = world.entry(EventKind::ClusterDegraded, good.decision);
    assert_eq!(world.refusal(&stray), Some(Rule::DecisionPresent));
}

#[test]
fn decision_time_is_checked_by_those_who_have_a_clock() {
    let world = World::active("k");
    let entry = world.next(EventKind::KeySuspended { key_id: id("k") });
    for (time, holds) in [(999, false), (1_000, true), (2_000, true), (2_001, false)] {
        assert_eq!(check_time(&entry, time).is_ok(), holds, "{time}");
    }
    assert!(check_time(&world.next(EventKind::ClusterDegraded), 0).is_ok());
}

#[test]
fn an_event_has_one_place_one_cluster_and_a_members_signature() {
    let world = World::formed();
    let good = world.next(EventKind::ClusterDegraded);
    let with = |change: &dyn Fn(&mut dvm_core::governance::Event), author: &str| {
        let mut event = good.event.body.clone();
        change(&mut event);
        world.refusal(&world.by(author, event, None))
    };
    assert_eq!(with(&|_| {}, "n1"), None);
    assert_eq!(with(&|e| e.author = id("n2"), "n2"), None);
    assert_eq!(with(&|e| e.author = id("w1"), "w1"), Some(Rule::Author));
    assert_eq!(with(&|_| {}, "n2"), Some(Rule::Author));
    assert_eq!(with(&|e| e.seq += 1, "n1"), Some(Rule::Seq));
    assert_eq!(with(&|e| e.seq -= 1, "n1"), Some(Rule::Seq));
    assert_eq!(with(&|e| e.prev_event_cid = None, "n1"), Some(Rule::Prev));
    assert_eq!(with(&|e| e.cluster = dvm_core::Link::of_raw(b"x"), "n1"), Some(Rule::Cluster));
    assert_eq!(with(&|e| e.key_epoch = 1, "n1"), Some(Rule::Epoch));
    let twice = vec![dvm_core::Link::of_raw(b"x"); 2];
    assert_eq!(with(&|e| e.artifact_refs = twice.clone(), "n1"), Some(Rule::Refs));
}

#[test]
fn cluster_formed_is_first_and_once_and_names_this_manifest() {
    let forming = World::forming();
    assert_eq!(forming.state.cluster_state(), ClusterState::Forming);
    let manifest = forming.state.cluster();
    assert_eq!(forming.refuses(EventKind::ClusterFormed { manifest }), None);
    let other = EventKind::ClusterFormed { manifest: dvm_core::Link::of_raw(b"x") };
    assert_eq!(forming.refuses(other), Some(Rule::ClusterLife));
    assert_eq!(forming.refuses(EventKind::ClusterDegraded), Some(Rule::ClusterLife));
    let formed = World::formed();
    assert_eq!(formed.state.cluster_state(), ClusterState::Normal);
    assert_eq!(formed.refuses(EventKind::ClusterFormed { manifest }), Some(Rule::ClusterLife));
}

#[test]
fn the_ceremony_text_shows_every_field_of_a_decision() {
    let world = World::published("k");
    let decision = world.decision(activated());
    let text = human_text(&decision);
    let facts = [
        decision.cluster.to_string(),
        decision.key_ready_cid.unwrap().to_string(),
        decision.prev_head.root.hex(),
        decision.nonce.hex(),
        dvm_core::codec::link_of(&decision).to_string(),
        "give key `k` authority to sign".to_owned(),
        "release by 2 of `officers`".to_owned(),
        "g1".to_owned(),
        "1000 to 2000".to_owned(),
    ];
    for fact in facts {
        assert!(text.contains(&fact), "{fact} is not in\n{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_log_entry_with_any_byte_changed_is_refused(pick: prop::sample::Index, flip in 1_u8..) {
        let (before, entry) = authorisation();
        let mut bytes = encode(entry);
        let at = pick.index(bytes.len());
        bytes[at] ^= flip;
        let passes = decode::<LogEntry>(&bytes).is_ok_and(|e| apply(&before.state, &e).is_ok());
        prop_assert!(!passes, "byte {at} ^ {flip}");
    }
}

#[test]
fn every_single_bit_of_a_publication_counts() {
    let world = World::formed();
    let entry = world.publication(certified(ready(world.state.cluster(), "k", 1)));
    let bytes = encode(&entry);
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        let passes = decode::<LogEntry>(&other).is_ok_and(|e| apply(&world.state, &e).is_ok());
        assert!(!passes, "byte {at}");
    }
}

/// The entry that carries the most: an authorisation, and the world before it.
fn authorisation() -> &'static (World, LogEntry) {
    static MADE: std::sync::OnceLock<(World, LogEntry)> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let world = World::published("k");
        let decision = world.signed(activated(), &["g2", "g3"]);
        let kind = EventKind::TransitionAuthorized { key_id: id("k") };
        let entry = world.entry(kind, Some(decision));
        (world, entry)
    })
}
