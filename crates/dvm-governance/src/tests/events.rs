//! The remaining kinds of event, and well-formedness of the genesis.

use dvm_core::authority::{ClusterManifest, KeyReady, ReleaseRule};
use dvm_core::governance::EventKind;
use dvm_core::intent::Backend;
use dvm_core::{B32, Link, ReasonCode};

use crate::fixture::*;
use crate::{AuthorityState, ClusterState, KeyState, Rule, fenced, signing_authority};

fn k() -> dvm_core::KeyId {
    id("k")
}

#[test]
fn a_hold_stops_signing_and_whatever_gives_authority_until_it_is_lifted() {
    let mut world = World::active("k");
    world.publish("j");
    let held_by_one = world.next(EventKind::EmergencyHold);
    assert_eq!(held_by_one.decision.as_ref().unwrap().signatures.len(), 1);
    let nobody =
        world.entry(EventKind::EmergencyHold, Some(world.signed(EventKind::EmergencyHold, &[])));
    assert_eq!(world.refusal(&nobody), Some(Rule::DecisionQuorum));
    world.accept(held_by_one);
    assert_eq!(world.state.cluster_state(), ClusterState::Held);
    assert_eq!(signing_authority(&world.state, &k(), 1).err(), Some(ReasonCode::KeyNotActive));
    assert_eq!(world.refuses(EventKind::EmergencyHold), Some(Rule::ClusterCondition));
    let unfreeze = EventKind::KeyUnfrozen { key_id: k() };
    assert_eq!(world.refuses(unfreeze.clone()), Some(Rule::ClusterCondition));
    assert_eq!(world.refuses(EventKind::KeySuspended { key_id: k() }), None);
    let lift = EventKind::EmergencyLift;
    let by_one = world.entry(lift.clone(), Some(world.signed(lift.clone(), &["g2"])));
    assert_eq!(world.refusal(&by_one), Some(Rule::DecisionQuorum));
    world.push(lift);
    assert!(signing_authority(&world.state, &k(), 1).is_ok());
    assert_eq!(world.refuses(unfreeze), None);
}

#[test]
fn conditions_do_not_forget_each_other() {
    let mut world = World::active("k");
    world.push(EventKind::ClusterDegraded);
    assert!(signing_authority(&world.state, &k(), 1).is_ok());
    world.push(EventKind::EmergencyHold);
    world.push(EventKind::ClusterDisputed { evidence: Link::of_raw(b"proof") });
    world.push(EventKind::EmergencyLift);
    assert_eq!(world.state.cluster_state(), ClusterState::Disputed);
    world.push(EventKind::DisputeCleared);
    assert_eq!(world.state.cluster_state(), ClusterState::Degraded);
    world.push(EventKind::ClusterNormal);
    assert_eq!(world.state.cluster_state(), ClusterState::Normal);
    assert_eq!(world.refuses(EventKind::DisputeCleared), Some(Rule::ClusterCondition));
}

#[test]
fn key_states_move_only_along_their_arrows() {
    let mut world = World::active("k");
    assert_eq!(world.refuses(EventKind::KeyResumed { key_id: k() }), Some(Rule::KeyState));
    assert_eq!(world.refuses(EventKind::KeyDestroyed { key_id: k() }), Some(Rule::KeyState));
    assert_eq!(world.refuses(EventKind::KeySuspended { key_id: id("x") }), Some(Rule::KeyState));
    world.push(EventKind::KeySuspended { key_id: k() });
    assert_eq!(signing_authority(&world.state, &k(), 1).err(), Some(ReasonCode::KeyNotActive));
    world.push(EventKind::KeyDeactivated { key_id: k() });
    assert_eq!(world.refuses(EventKind::KeyResumed { key_id: k() }), Some(Rule::KeyState));
    world.push(EventKind::KeyCompromised { key_id: k() });
    assert_eq!(world.refuses(EventKind::KeyCompromised { key_id: k() }), Some(Rule::KeyState));
    world.push(EventKind::KeyDestroyed { key_id: k() });
    assert_eq!(world.state.key(&k()).unwrap().state, KeyState::Destroyed);
    assert_eq!(world.refuses(EventKind::KeyDestroyed { key_id: k() }), Some(Rule::KeyState));
}

#[test]
fn a_rotation_needs_another_key_that_is_active() {
    let mut world = World::active("k");
    let rotate = |to: &str| EventKind::KeyRotated { key_id: k(), successor: id(to) };
    assert_eq!(world.refuses(rotate("k")), Some(Rule::Successor));
    world.publish("j");
    assert_eq!(world.refuses(rotate("j")), Some(Rule::Successor));
    world.authorize("j");
    world.push(EventKind::KeyActivated { key_id: id("j") });
    world.push(rotate("j"));
    let old = world.state.key(&k()).unwrap();
    assert_eq!((old.state, &old.successor), (KeyState::Deactivated, &Some(id("j"))));
}

#[test]
fn exactly_one_epoch_signs_before_and_after_the_switch() {
    let mut world = World::active("k");
    let activate = EventKind::KeyEpochActivated { key_id: k() };
    assert_eq!(world.refuses(activate.clone()), Some(Rule::KeyState));
    let mut next = ready(world.state.cluster(), "k", 2);
    let mut skipping = next.clone();
    skipping.key_epoch = 3;
    assert_eq!(world.refusal(&world.publication(certified(skipping))), Some(Rule::KeyFacts));
    let mut other_key = next.clone();
    other_key.public_key = vec![7; 32].into();
    assert_eq!(world.refusal(&world.publication(certified(other_key))), Some(Rule::KeyFacts));
    next.roster.truncate(2);
    let prepared = world.publication(certified(next));
    world.accept(prepared);
    assert!(signing_authority(&world.state, &k(), 1).is_ok());
    assert!(signing_authority(&world.state, &k(), 2).is_err());
    world.push(activate);
    assert_eq!(signing_authority(&world.state, &k(), 1).err(), Some(ReasonCode::StaleEpoch));
    assert!(signing_authority(&world.state, &k(), 2).is_ok());
    assert_eq!(world.refuses(EventKind::KeyEpochCancelled { key_id: k() }), Some(Rule::KeyState));
}

#[test]
fn a_later_epoch_of_an_ecdsa_key_keeps_its_chain_code() {
    let mut world = World::formed();
    let cluster = world.state.cluster();
    let facts = |epoch, code| KeyReady {
        backend: Backend::Dkls23Secp256k1,
        public_key: vec![2; 33].into(),
        chain_code: Some(B32([code; 32])),
        ..ready(cluster, "k", epoch)
    };
    let (first, next, other) = (facts(1, 9), facts(2, 9), facts(2, 8));
    let published = world.publication(certified(first));
    world.accept(published);
    world.authorize("k");
    world.push(EventKind::KeyActivated { key_id: k() });
    assert_eq!(world.refusal(&world.publication(certified(other))), Some(Rule::KeyFacts));
    assert_eq!(world.refusal(&world.publication(certified(next))), None);
}

#[test]
fn a_prepared_epoch_can_be_cancelled() {
    let mut world = World::active("k");
    let prepared = world.publication(certified(ready(world.state.cluster(), "k", 2)));
    world.accept(prepared);
    world.push(EventKind::KeyEpochCancelled { key_id: k() });
    let activate = EventKind::KeyEpochActivated { key_id: k() };
    assert_eq!(world.refuses(activate), Some(Rule::KeyState));
}

#[test]
fn members_come_and_go_but_never_a_live_keys_holder_or_the_sequencer() {
    let mut world = World::active("k");
    let remove = |n: &str| EventKind::NodeRemoved { node: id(n) };
    assert_eq!(world.refuses(remove("n3")), Some(Rule::Membership));
    world.push(EventKind::NodeEnrolled { passport: passport("n4", 1) });
    assert_eq!(
        world.refuses(EventKind::NodeEnrolled { passport: passport("n4", 1) }),
        Some(Rule::Passport)
    );
    let mut twin = passport("n5", 1);
    twin.kernel_key = passport("n1", 1).kernel_key;
    assert_eq!(world.refuses(EventKind::NodeEnrolled { passport: twin }), Some(Rule::Passport));
    world.push(remove("n4"));
    assert_eq!(
        world.refuses(EventKind::NodeEnrolled { passport: passport("n4", 1) }),
        Some(Rule::Passport),
        "a name that left does not come back"
    );
    world.push(EventKind::KeyDeactivated { key_id: k() });
    assert_eq!(world.refuses(remove("n1")), Some(Rule::Membership), "the sequencer");
    world.push(EventKind::WitnessAdded { passport: witness("w2") });
    world.push(EventKind::WitnessRemoved { node: id("w2") });
    let gone = EventKind::WitnessRemoved { node: id("w2") };
    assert_eq!(world.refuses(gone), Some(Rule::Membership));
    world.push(remove("n3"));
    assert_eq!(world.state.passport(&id("n3")), None);
}

#[test]
fn a_fenced_node_is_out_until_it_is_bound_anew() {
    let mut world = World::formed();
    let fence = |boot_gen| EventKind::NodeFenced { node: id("n2"), boot_gen };
    let rebound = |generation| {
        let mut next = passport("n2", generation);
        next.kernel_key = passport("n2b", 1).kernel_key;
        next.sealing_key = passport("n2b", 1).sealing_key;
        EventKind::NodeRebound { passport: next }
    };
    assert_eq!(world.refuses(rebound(2)), Some(Rule::Fence));
    world.push(fence(5));
    assert!(fenced(&world.state, &id("n2"), 5) && !fenced(&world.state, &id("n2"), 6));
    assert_eq!(world.refuses(fence(5)), Some(Rule::Fence));
    assert_eq!(world.refuses(rebound(3)), Some(Rule::Passport));
    let issued = EventKind::PassportIssued { passport: passport("n2", 2) };
    assert_eq!(world.refuses(issued), Some(Rule::Fence));
    world.push(rebound(2));
    assert!(!fenced(&world.state, &id("n2"), 5));
}

#[test]
fn a_passports_kernel_and_sealing_keys_change_together_or_not_at_all() {
    let other = passport("n2b", 1);
    for (kernel, sealing, end) in [
        (false, false, None),
        (true, true, None),
        (false, true, Some(Rule::Passport)),
        (true, false, Some(Rule::Passport)),
    ] {
        let mut next = passport("n2", 2);
        if kernel {
            next.kernel_key = other.kernel_key;
        }
        if sealing {
            next.sealing_key = other.sealing_key;
        }
        let mut world = World::formed();
        let issued = EventKind::PassportIssued { passport: next.clone() };
        assert_eq!(world.refuses(issued), end, "{kernel} {sealing}");
        world.push(EventKind::NodeFenced { node: id("n2"), boot_gen: 5 });
        let rebound = EventKind::NodeRebound { passport: next };
        assert_eq!(world.refuses(rebound), end, "{kernel} {sealing}");
    }
}

#[test]
fn a_set_may_not_shrink_below_a_floor_that_needs_it() {
    let mut world = World::active("k");
    let adopt = |names: &[&str]| EventKind::ApproverSetAdopted {
        set: dvm_core::authority::ApproverSet {
            name: id("officers"),
            members: names.iter().map(|n| person(n)).collect(),
        },
    };
    assert_eq!(world.refuses(adopt(&["a1", "a4"])), None);
    assert_eq!(world.refuses(adopt(&["a1"])), Some(Rule::Floor));
    assert_eq!(world.refuses(adopt(&["a1", "a1"])), Some(Rule::Persons));
    let changed = |k: u16| {
        let mut floor = floor();
        floor.release = ReleaseRule::Approvals(rule(k));
        EventKind::FloorChanged { key_id: id("k"), floor }
    };
    assert_eq!(world.refuses(changed(4)), Some(Rule::Floor));
    assert_eq!(world.refuses(changed(0)), Some(Rule::Floor));
    world.push(changed(3));
    assert_eq!(world.refuses(adopt(&["a1", "a4"])), Some(Rule::Floor));
}

#[test]
fn policy_root_and_governors_change_by_decision() {
    let mut world = World::formed();
    let same = EventKind::PolicyRootAdopted { policy_root: world.state.policy_root() };
    assert_eq!(world.refuses(same), Some(Rule::PolicyRoot));
    let new = Link::of_raw(b"new");
    world.push(EventKind::PolicyRootAdopted { policy_root: new });
    assert_eq!(world.state.policy_root(), new);
    let governed = |threshold| {
        let mut governors = manifest().governors;
        governors.threshold = threshold;
        EventKind::GovernorsChanged { governors }
    };
    assert_eq!(world.refuses(governed(4)), Some(Rule::Persons));
    assert_eq!(world.refuses(governed(0)), Some(Rule::Persons));
    world.push(governed(3));
    assert_eq!(world.refuses(EventKind::ClusterRetired), Some(Rule::DecisionQuorum));
}

#[test]
fn bans_end_by_decision_for_a_holder_only() {
    let mut world = World::active("k");
    let unban = |node: &str| EventKind::PairUnbanned { key_id: k(), node: id(node) };
    assert_eq!(world.refuses(unban("w1")), Some(Rule::KeyState));
    let seq = world.state.next_seq();
    world.push(unban("n2"));
    assert_eq!(world.state.key(&k()).unwrap().unbanned.get(&id("n2")), Some(&seq));
}

#[test]
fn nothing_follows_retirement_and_no_active_key_is_left_behind() {
    let mut world = World::active("k");
    assert_eq!(world.refuses(EventKind::ClusterRetired), Some(Rule::ClusterCondition));
    world.push(EventKind::KeyDeactivated { key_id: k() });
    world.push(EventKind::ClusterRetired);
    assert_eq!(world.refuses(EventKind::ClusterDegraded), Some(Rule::ClusterLife));
}

#[test]
fn a_manifest_that_could_not_govern_is_refused() {
    let with = |change: &dyn Fn(&mut ClusterManifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        AuthorityState::genesis(&manifest).err().map(|refused| refused.rule)
    };
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|m| m.nodes.swap(0, 1)), Some(Rule::Membership));
    assert_eq!(with(&|m| m.sequencer = id("w1")), Some(Rule::Membership));
    assert_eq!(with(&|m| m.faults = 3), None, "4 of 4");
    assert_eq!(with(&|m| m.faults = 4), Some(Rule::Membership));
    assert_eq!(with(&|m| m.witnesses[0].cosign_key = m.nodes[0].policy_key), Some(Rule::Passport));
    assert_eq!(with(&|m| m.governors.threshold = 4), Some(Rule::Persons));
    assert_eq!(
        with(&|m| m.governors.members[1].key = m.governors.members[0].key),
        Some(Rule::Persons)
    );
    assert_eq!(with(&|m| m.approvers.clear()), Some(Rule::Floor));
    assert_eq!(with(&|m| m.keygen_floor.acts.clear()), Some(Rule::Floor));
}
