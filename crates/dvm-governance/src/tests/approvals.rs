//! Approvals and floors.

use dvm_core::admission::{Approval, Purpose};
use dvm_core::authority::Floor;
use dvm_core::codec::link_of;
use dvm_core::intent::{Act, ActClass, Backend, CanonicalIntent, Scope};
use dvm_core::{B32, Link, ReasonCode, Signed};

use crate::fixture::*;
use crate::{
    ApprovalContext, authority_behind, authority_for, check_approvals, check_floor_admit,
    check_floor_release,
};

fn intent(world: &World, requester: &str) -> CanonicalIntent {
    CanonicalIntent {
        cluster: world.state.cluster(),
        tenant: id("t"),
        idempotency_key: id("i"),
        requester: id(requester),
        act: Act::SignMessage {
            key_id: id("k"),
            key_epoch: 1,
            message: Link::of_raw(b"m"),
            len: 1,
        },
        scope: Scope::Public,
        display_hash: B32([4; 32]),
        expires_ms: 5_000,
    }
}

fn release() -> Purpose {
    Purpose::Release { execution_id: B32([5; 32]), result_ref: B32([6; 32]) }
}

fn approval(world: &World, intent: &CanonicalIntent, who: &str, purpose: Purpose) -> Approval {
    Approval {
        cluster: world.state.cluster(),
        approver: id(who),
        purpose,
        intent: link_of(intent),
        display_hash: intent.display_hash,
        key_id: id("k"),
        key_epoch: 1,
        policy_root: world.state.policy_root(),
        expires_ms: 4_000,
    }
}

fn signed(approval: Approval) -> Signed<Approval> {
    let signer = key(approval.approver.as_str());
    Signed::new(approval, &signer)
}

#[test]
fn k_distinct_members_count_and_the_requester_never_does() {
    let world = World::active("k");
    let count = |requester: &str, who: &[&str]| {
        let intent = intent(&world, requester);
        let purpose = Purpose::Admit;
        let context = ApprovalContext::of(&world.state, &intent, &purpose, 4_000);
        let approvals: Vec<_> =
            who.iter().map(|w| signed(approval(&world, &intent, w, Purpose::Admit))).collect();
        check_approvals(&rule(2), world.state.sets(), &approvals, &context).map(|links| links.len())
    };
    assert_eq!(count("c", &["a1", "a2"]), Ok(2));
    assert_eq!(count("c", &["a1", "a2", "a3"]), Ok(3));
    assert_eq!(count("c", &["a1"]), Err(ReasonCode::ApprovalsMissing));
    assert_eq!(count("c", &["a1", "a1"]), Err(ReasonCode::ApprovalsMissing));
    assert_eq!(count("c", &["a1", "g1"]), Err(ReasonCode::ApprovalsMissing));
    assert_eq!(count("a2", &["a1", "a2"]), Err(ReasonCode::ApprovalsMissing));
    assert_eq!(count("a2", &["a1", "a2", "a3"]), Ok(2));
    let many = ["a1"; dvm_core::limits::APPROVALS_MAX + 1];
    assert_eq!(count("c", &many), Err(ReasonCode::ResourceLimit));
}

#[test]
fn one_person_with_two_different_approvals_counts_once() {
    let world = World::active("k");
    let intent = intent(&world, "c");
    let first = approval(&world, &intent, "a1", Purpose::Admit);
    let mut second = first.clone();
    second.expires_ms += 1;
    let both = [signed(first), signed(second)];
    let purpose = Purpose::Admit;
    let context = ApprovalContext::of(&world.state, &intent, &purpose, 0);
    let counted =
        |k, approvals: &[_]| check_approvals(&rule(k), world.state.sets(), approvals, &context);
    assert_eq!(counted(2, &both), Err(ReasonCode::ApprovalsMissing));
    let reversed = [both[1].clone(), both[0].clone()];
    assert_eq!(counted(1, &both).unwrap(), counted(1, &reversed).unwrap());
    assert_eq!(counted(0, &both), Err(ReasonCode::ApprovalsMissing), "a rule for nobody");
}

#[test]
fn an_approval_counts_only_for_exactly_what_it_names() {
    let world = World::active("k");
    let intent = intent(&world, "c");
    let purpose = release();
    let with = |now_ms, change: &dyn Fn(&mut Approval)| {
        let mut one = approval(&world, &intent, "a1", release());
        change(&mut one);
        let context = ApprovalContext::of(&world.state, &intent, &purpose, now_ms);
        check_approvals(&rule(1), world.state.sets(), &[signed(one)], &context).is_ok()
    };
    assert!(with(4_000, &|_| {}));
    assert!(!with(4_001, &|_| {}), "past its expiry");
    assert!(!with(0, &|a| a.purpose = Purpose::Admit), "an admission is never a release");
    let other = Purpose::Release { execution_id: B32([7; 32]), result_ref: B32([6; 32]) };
    assert!(!with(0, &|a| a.purpose = other.clone()));
    let other = Purpose::Release { execution_id: B32([5; 32]), result_ref: B32([7; 32]) };
    assert!(!with(0, &|a| a.purpose = other.clone()));
    assert!(!with(0, &|a| a.cluster = Link::of_raw(b"x")));
    assert!(!with(0, &|a| a.intent = Link::of_raw(b"x")));
    assert!(!with(0, &|a| a.display_hash = B32([0; 32])));
    assert!(!with(0, &|a| a.key_id = id("j")));
    assert!(!with(0, &|a| a.key_epoch = 2));
    assert!(!with(0, &|a| a.policy_root = Link::of_raw(b"x")));
    let forged = Signed::new(approval(&world, &intent, "a1", release()), &key("a2"));
    let context = ApprovalContext::of(&world.state, &intent, &purpose, 0);
    assert!(check_approvals(&rule(1), world.state.sets(), &[forged], &context).is_err());
}

#[test]
fn floors_ask_for_their_own_purpose_and_name_their_acts() {
    let world = World::active("k");
    let intent = intent(&world, "c");
    let (admit, release) = (Purpose::Admit, release());
    let to_admit = ApprovalContext::of(&world.state, &intent, &admit, 0);
    let to_release = ApprovalContext::of(&world.state, &intent, &release, 0);
    let admits = [signed(approval(&world, &intent, "a1", admit.clone()))];
    let both: Vec<_> =
        ["a1", "a2"].map(|w| signed(approval(&world, &intent, w, release.clone()))).into();
    let (floor, sets) = (floor(), world.state.sets());
    let class = ActClass::SignMessage;
    assert_eq!(check_floor_admit(&floor, class, sets, &admits, &to_admit).unwrap().len(), 1);
    assert_eq!(check_floor_release(&floor, sets, &both, &to_release).unwrap().len(), 2);
    let missing = Err(ReasonCode::ApprovalsMissing);
    assert_eq!(check_floor_admit(&floor, class, sets, &both, &to_admit), missing);
    assert_eq!(check_floor_release(&floor, sets, &both[..1], &to_release), missing);
    let bound = Err(ReasonCode::BindingMismatch);
    assert_eq!(check_floor_admit(&floor, class, sets, &both, &to_release), bound);
    assert_eq!(check_floor_release(&floor, sets, &admits, &to_admit), bound);
    let opaque = ActClass::SignDigest;
    let denied = Err(ReasonCode::PolicyDenied);
    assert_eq!(check_floor_admit(&floor, opaque, sets, &admits, &to_admit), denied);
}

#[test]
fn a_batch_must_be_named_by_the_floor_and_nobody_is_asked_about_it() {
    let world = World::active("k");
    let intent = intent(&world, "c");
    let context = ApprovalContext::of(&world.state, &intent, &Purpose::Admit, 0);
    let admits = |acts: &[ActClass], class| {
        let floor = Floor { acts: acts.to_vec(), ..floor() };
        check_floor_admit(&floor, class, world.state.sets(), &[], &context)
    };
    let (batch, message) = (ActClass::PresignBatch, ActClass::SignMessage);
    assert_eq!(admits(&[batch, message], batch), Ok(Vec::new()));
    assert_eq!(admits(&[message], batch), Err(ReasonCode::PolicyDenied));
    assert_eq!(admits(&[batch, message], message), Err(ReasonCode::ApprovalsMissing));
}

#[test]
fn authority_is_for_this_cluster_in_time_and_for_holders_that_exist() {
    let world = World::active("k");
    let base = intent(&world, "c");
    let ask = |now, change: &dyn Fn(&mut CanonicalIntent)| {
        let mut intent = base.clone();
        change(&mut intent);
        authority_for(&world.state, &intent, now).map(|a| a.record().is_some())
    };
    assert_eq!(ask(5_000, &|_| {}), Ok(true));
    assert_eq!(ask(5_001, &|_| {}), Err(ReasonCode::Expired));
    assert_eq!(ask(0, &|i| i.cluster = Link::of_raw(b"x")), Err(ReasonCode::BindingMismatch));
    let keygen = |name: &str, roster: &[&str]| Act::KeyGenerate {
        key_id: id(name),
        backend: Backend::FrostEd25519,
        threshold: 2,
        roster: roster.iter().map(|n| id(n)).collect(),
    };
    assert_eq!(ask(0, &|i| i.act = keygen("new", &NODES)), Ok(false));
    assert_eq!(ask(0, &|i| i.act = keygen("k", &NODES)), Err(ReasonCode::ReplayOrConflict));
    let stranger = ["n1", "n2", "n9"];
    assert_eq!(ask(0, &|i| i.act = keygen("new", &stranger)), Err(ReasonCode::PayloadRejected));
}

#[test]
fn an_admission_ends_with_its_intent_and_the_release_of_what_is_held_does_not() {
    let world = World::active("k");
    let intent = intent(&world, "c");
    let release = Purpose::Release { execution_id: B32([5; 32]), result_ref: B32([6; 32]) };
    let ask = |purpose: &Purpose, now| {
        authority_behind(&world.state, &intent, purpose, now).map(|a| a.record().is_some())
    };
    assert_eq!(ask(&Purpose::Admit, 5_000), Ok(true));
    assert_eq!(ask(&Purpose::Admit, 5_001), Err(ReasonCode::Expired));
    assert_eq!(ask(&release, 5_001), Ok(true));
}
