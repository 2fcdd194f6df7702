use super::*;
use crate::op::{Effect, MicroOp, PhaseKind};
use std::fmt::Write;

fn nodes(n: usize) -> Vec<NodeId> {
    (1..=n).map(|i| format!("n{i}").parse().unwrap()).collect()
}

fn generate(backend: Backend, threshold: u16, roster: Vec<NodeId>) -> Act {
    Act::KeyGenerate { key_id: "k".parse().unwrap(), backend, threshold, roster }
}

fn message() -> Act {
    let message = dvm_core::Link::of_raw(b"m");
    Act::SignMessage { key_id: "k".parse().unwrap(), key_epoch: 1, message, len: 1 }
}

fn digest() -> Act {
    Act::SignDigest { key_id: "k".parse().unwrap(), key_epoch: 1, digest: B32::default() }
}

const PUBLISH: Run = Run::Publish(Scope::Public);

type Row = (u16, MicroOp, PhaseKind, Effect, &'static [u16]);

fn rows(act: &Act, run: Run, n: usize) -> Vec<(u16, MicroOp, PhaseKind, Effect, Vec<u16>)> {
    let compiled = compile(act, run, Backend::FrostEd25519, &nodes(n)).unwrap();
    let row = |s: &crate::op::Step| (s.level, s.op, s.phase.kind, s.effect, s.inputs.clone());
    compiled.plan().steps.iter().map(row).collect()
}

fn assert_rows(found: Vec<(u16, MicroOp, PhaseKind, Effect, Vec<u16>)>, wanted: &[Row]) {
    let wanted =
        wanted.iter().map(|(l, op, kind, e, inputs)| (*l, *op, *kind, *e, inputs.to_vec()));
    assert_eq!(found, wanted.collect::<Vec<_>>());
}

#[test]
fn frost_signs_in_two_levels() {
    use PhaseKind::{Bcast, Local};
    for act in [message(), digest()] {
        assert_rows(
            rows(&act, Run::Act, 2),
            &[
                (1, MicroOp::NonceCommit, Bcast, Effect::Reveal, &[]),
                (2, MicroOp::BindingFactor, Local, Effect::Pure, &[0]),
                (2, MicroOp::Challenge, Local, Effect::Pure, &[1]),
                (2, MicroOp::PartialSig, Local, Effect::Consume, &[0, 2]),
                (2, MicroOp::FinalizeSig, Bcast, Effect::Consume, &[1, 3]),
            ],
        );
    }
}

#[test]
fn a_publication_has_three_levels_and_opens_after_the_grants() {
    use PhaseKind::{Bcast, Local};
    assert_rows(
        rows(&message(), PUBLISH, 2),
        &[
            (1, MicroOp::GateGrant, Bcast, Effect::Publish, &[]),
            (2, MicroOp::OpenShare, Bcast, Effect::Publish, &[0]),
            (3, MicroOp::VerifyShares, Local, Effect::Pure, &[1]),
            (3, MicroOp::Confirm, Bcast, Effect::Pure, &[2]),
        ],
    );
    assert_rows(
        rows(&generate(Backend::FrostEd25519, 2, nodes(3)), PUBLISH, 3),
        &[
            (1, MicroOp::GateGrant, Bcast, Effect::Publish, &[]),
            (2, MicroOp::OpenKey, Bcast, Effect::Publish, &[0]),
            (3, MicroOp::VerifyKey, Local, Effect::Pure, &[1]),
            (3, MicroOp::Confirm, Bcast, Effect::Pure, &[2]),
        ],
    );
}

#[test]
fn key_generation_has_eight_levels_for_any_roster() {
    use PhaseKind::{Bcast, EchoBcast, Local, P2p};
    for n in [2, 3, 9] {
        let act = generate(Backend::FrostEd25519, n, nodes(n.into()));
        assert_rows(
            rows(&act, Run::Act, n.into()),
            &[
                (1, MicroOp::DkgCommit, EchoBcast, Effect::Sample, &[]),
                (3, MicroOp::DkgOpen, P2p, Effect::Reveal, &[0]),
                (4, MicroOp::DkgShare, P2p, Effect::Reveal, &[0, 1]),
                (5, MicroOp::DkgFinish, Local, Effect::Pure, &[1, 2]),
                (5, MicroOp::DkgConfirm, EchoBcast, Effect::Reveal, &[3]),
                (5, MicroOp::ProbeCommit, Bcast, Effect::Reveal, &[3]),
                (7, MicroOp::ProbeSign, P2p, Effect::Consume, &[3, 4, 5]),
                (8, MicroOp::ProbeVerify, Local, Effect::Pure, &[6]),
                (8, MicroOp::FinalizeKey, Bcast, Effect::Consume, &[3, 4, 7]),
            ],
        );
    }
}

#[test]
fn a_message_and_a_digest_have_different_scores() {
    let id =
        |act: &Act| compile(act, Run::Act, Backend::FrostEd25519, &nodes(2)).unwrap().score_id();
    assert_ne!(id(&message()), id(&digest()));
}

#[test]
fn the_plan_id_binds_backend_participants_and_threshold_and_the_score_id_only_the_last() {
    let of = |backend, t, n| {
        let act = generate(backend, t, nodes(n));
        let compiled = compile(&act, Run::Act, backend, &nodes(n)).unwrap();
        (compiled.score_id(), compiled.plan_id())
    };
    let (score, plan) = of(Backend::FrostEd25519, 2, 3);
    let (same_score, other_plan) = of(Backend::FrostSecp256k1Tr, 2, 3);
    assert!(score == same_score && plan != other_plan);
    let (other_score, other_plan) = of(Backend::FrostEd25519, 3, 3);
    assert!(score != other_score && plan != other_plan);
    let sign = |participants: &[NodeId]| {
        let compiled = compile(&message(), Run::Act, Backend::FrostEd25519, participants);
        let compiled = compiled.unwrap();
        (compiled.score_id(), compiled.plan_id())
    };
    let three = nodes(3);
    let ((score, plan), (same_score, other_plan)) = (sign(&three[..2]), sign(&three[1..]));
    assert!(score == same_score && plan != other_plan);
}

#[test]
fn a_key_is_made_by_its_whole_roster_with_its_own_backend() {
    let ed = Backend::FrostEd25519;
    let act = generate(ed, 2, nodes(3));
    assert!(compile(&act, Run::Act, ed, &nodes(3)).is_ok());
    for run in [Run::Act, PUBLISH] {
        let refused = compile(&act, run, ed, &nodes(2)).unwrap_err();
        assert_eq!(refused, CompileError::Roster);
        assert_eq!(refused.code(), ReasonCode::PayloadRejected);
        let refused = compile(&act, run, Backend::FrostSecp256k1Tr, &nodes(3)).unwrap_err();
        assert_eq!(refused, CompileError::Backend { asked: ed });
    }
}

#[test]
fn participants_out_of_order_are_refused() {
    let mut participants = nodes(2);
    participants.reverse();
    let refused = compile(&message(), Run::Act, Backend::FrostEd25519, &participants);
    let refused = refused.unwrap_err();
    assert_eq!(refused, CompileError::Plan(PlanError::Participants));
    assert_eq!(refused.code(), ReasonCode::PayloadRejected);
}

#[test]
fn a_threshold_that_the_roster_cannot_meet_has_no_score() {
    let act = generate(Backend::FrostEd25519, 4, nodes(3));
    let refused = compile(&act, Run::Act, Backend::FrostEd25519, &nodes(3)).unwrap_err();
    assert!(matches!(refused, CompileError::Check(_)));
}

#[test]
fn a_run_header_announces_its_run() {
    let act = RunKind::Act { attempt: 1, opens: Vec::new() };
    let publish = RunKind::Publish { of: B32::default(), result_ref: B32::default() };
    assert_eq!(Run::of(&act, Scope::Public), Run::Act);
    assert_eq!(Run::of(&publish, Scope::Public), PUBLISH);
}

/// Every run of a 2-of-3 key, with its ids and canonical bytes.
fn vectors(backend: Backend) -> String {
    let holders = nodes(3);
    let mut out = format!("# Scores and plans of a 2-of-3 key with {}.\n", backend.name());
    out.push_str("# score_id = H(\"dvm/score/1\", score), plan_id = H(\"dvm/plan/1\", plan).\n");
    for (name, act, run, participants) in [
        ("key.generate", generate(backend, 2, nodes(3)), Run::Act, &holders[..]),
        ("key.generate, published", generate(backend, 2, nodes(3)), PUBLISH, &holders),
        ("sign.message", message(), Run::Act, &holders[..2]),
        ("sign.message, published", message(), PUBLISH, &holders[..2]),
        ("sign.digest", digest(), Run::Act, &holders[1..]),
        ("sign.digest, published", digest(), PUBLISH, &holders[1..]),
    ] {
        let compiled = compile(&act, run, backend, participants).unwrap();
        let score = hex(&dvm_core::codec::encode(compiled.score().score()));
        let plan = hex(&dvm_core::codec::encode(compiled.plan()));
        let (score_id, plan_id) = (compiled.score_id(), compiled.plan_id());
        writeln!(out, "\nrun: {name}\nscore_id: {score_id}\nplan_id: {plan_id}").unwrap();
        writeln!(out, "score: {score}\nplan: {plan}").unwrap();
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn score_ids_and_plan_ids_of_both_backends_are_pinned() {
    for (backend, pinned) in [
        (Backend::FrostEd25519, include_str!("../../../../vectors/plans/frost-ed25519.txt")),
        (
            Backend::FrostSecp256k1Tr,
            include_str!("../../../../vectors/plans/frost-secp256k1-tr.txt"),
        ),
    ] {
        assert!(vectors(backend) == pinned, "{}", vectors(backend));
    }
}

#[test]
fn a_plan_survives_its_codec() {
    let plan = compile(&message(), Run::Act, Backend::FrostEd25519, &nodes(2)).unwrap();
    let bytes = dvm_core::codec::encode(plan.plan());
    assert_eq!(&dvm_core::codec::decode::<Plan>(&bytes).unwrap(), plan.plan());
}
