use super::*;
use crate::ir::{Label, SiteOp};
use crate::op::{Effect, MicroOp, PhaseKind};
use crate::testing::{
    digest, generate, material, message, nodes, presign, presign_at, transaction,
};
use dvm_core::intent::Scheme;
use dvm_core::limits::{PARTIES_MAX, PRESIGN_COUNT_MAX};
use std::fmt::Write;

const ACT: Run = Run::Act(None);
const PUBLISH: Run = Run::Publish(Scope::Public);
const DKLS: Backend = Backend::Dkls23Secp256k1;

type Row = (u16, MicroOp, PhaseKind, Effect, &'static [u16]);

fn rows(act: &Act, run: Run, n: usize) -> Vec<(u16, MicroOp, PhaseKind, Effect, Vec<u16>)> {
    rows_of(Backend::FrostEd25519, act, run, n)
}

fn rows_of(
    backend: Backend,
    act: &Act,
    run: Run,
    n: usize,
) -> Vec<(u16, MicroOp, PhaseKind, Effect, Vec<u16>)> {
    let compiled = compile(act, run, backend, &nodes(n)).unwrap();
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
            rows(&act, ACT, 2),
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
            rows(&act, ACT, n.into()),
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
    let id = |act: &Act| compile(act, ACT, Backend::FrostEd25519, &nodes(2)).unwrap().score_id();
    assert_ne!(id(&message()), id(&digest()));
}

#[test]
fn the_plan_id_binds_backend_participants_and_threshold_and_the_score_id_only_the_last() {
    let of = |backend, t, n| {
        let act = generate(backend, t, nodes(n));
        let compiled = compile(&act, ACT, backend, &nodes(n)).unwrap();
        (compiled.score_id(), compiled.plan_id())
    };
    let (score, plan) = of(Backend::FrostEd25519, 2, 3);
    let (same_score, other_plan) = of(Backend::FrostSecp256k1Tr, 2, 3);
    assert!(score == same_score && plan != other_plan);
    let (other_score, other_plan) = of(Backend::FrostEd25519, 3, 3);
    assert!(score != other_score && plan != other_plan);
    let sign = |participants: &[NodeId]| {
        let compiled = compile(&message(), ACT, Backend::FrostEd25519, participants);
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
    assert!(compile(&act, ACT, ed, &nodes(3)).is_ok());
    for run in [ACT, PUBLISH] {
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
    let refused = compile(&message(), ACT, Backend::FrostEd25519, &participants);
    let refused = refused.unwrap_err();
    assert_eq!(refused, CompileError::Plan(PlanError::Participants));
    assert_eq!(refused.code(), ReasonCode::PayloadRejected);
}

#[test]
fn a_threshold_that_the_roster_cannot_meet_has_no_score() {
    let act = generate(Backend::FrostEd25519, 4, nodes(3));
    let refused = compile(&act, ACT, Backend::FrostEd25519, &nodes(3)).unwrap_err();
    assert!(matches!(refused, CompileError::Check(_)));
}

#[test]
fn a_run_header_announces_its_run() {
    let act = RunKind::Act { attempt: 1, opens: Vec::new(), material: None };
    let publish = RunKind::Publish { of: B32::default(), result_ref: B32::default() };
    assert_eq!(Run::of(&act, Scope::Public), ACT);
    assert_eq!(Run::of(&publish, Scope::Public), PUBLISH);
    let spends = RunKind::Act { attempt: 1, opens: Vec::new(), material: Some(material(7)) };
    assert_eq!(Run::of(&spends, Scope::Public), Run::Act(Some(material(7))));
}

#[test]
fn ecdsa_is_signed_in_three_levels_whatever_is_signed() {
    use PhaseKind::{Bcast, Local, P2p};
    for act in [digest(), transaction()] {
        for n in [2, 3, 9] {
            assert_rows(
                rows_of(DKLS, &act, ACT, n),
                &[
                    (1, MicroOp::NonceCommit, Bcast, Effect::Sample, &[]),
                    (1, MicroOp::VoleRecv, P2p, Effect::Sample, &[]),
                    (1, MicroOp::ZeroShare, Local, Effect::Sample, &[]),
                    (2, MicroOp::NonceOpen, Bcast, Effect::Reveal, &[0, 2]),
                    (2, MicroOp::VoleSend, P2p, Effect::Reveal, &[0, 1, 2]),
                    (3, MicroOp::VoleFinish, Local, Effect::Pure, &[1, 4]),
                    (3, MicroOp::CheckConsistency, Local, Effect::Pure, &[0, 3, 4, 5]),
                    (3, MicroOp::AffineShare, Local, Effect::Consume, &[6]),
                    (3, MicroOp::FinalizeSig, Bcast, Effect::Consume, &[6, 7]),
                ],
            );
        }
    }
}

#[test]
fn with_material_either_scheme_signs_in_one_level() {
    use PhaseKind::{Bcast, Local};
    let run = Run::Act(Some(material(7)));
    assert_rows(
        rows_of(DKLS, &transaction(), run, 2),
        &[
            (1, MicroOp::TakeTriple, Local, Effect::Consume, &[]),
            (1, MicroOp::AffineShare, Local, Effect::Consume, &[0]),
            (1, MicroOp::FinalizeSig, Bcast, Effect::Consume, &[0, 1]),
        ],
    );
    assert_rows(
        rows(&message(), run, 2),
        &[
            (1, MicroOp::TakeNonce, Local, Effect::Consume, &[]),
            (1, MicroOp::BindingFactor, Local, Effect::Pure, &[0]),
            (1, MicroOp::Challenge, Local, Effect::Pure, &[1]),
            (1, MicroOp::PartialSig, Local, Effect::Consume, &[0, 2]),
            (1, MicroOp::FinalizeSig, Bcast, Effect::Consume, &[1, 3]),
        ],
    );
}

#[test]
fn an_ecdsa_key_is_made_like_any_other_with_its_pairs_beside_it() {
    let others = |op: MicroOp| {
        use MicroOp::{PairAgree, PairConfirm, PairFinish, PairOffer, PairOpen};
        [PairOffer, PairOpen, PairFinish, PairConfirm, PairAgree].contains(&op)
    };
    for n in [2, 3, 16] {
        let t = n / 2 + 1;
        let plan = |backend| {
            let holders = nodes(n.into());
            let act = generate(backend, t, holders.clone());
            compile(&act, ACT, backend, &holders).unwrap().into_plan()
        };
        let ops = |plan: &Plan, pairs: bool| -> Vec<(u16, MicroOp)> {
            plan.steps.iter().filter(|s| others(s.op) == pairs).map(|s| (s.level, s.op)).collect()
        };
        let ecdsa = plan(DKLS);
        assert_eq!(ops(&ecdsa, false), ops(&plan(Backend::FrostEd25519), false));
        assert_eq!(
            ops(&ecdsa, true),
            [
                (1, MicroOp::PairOffer),
                (2, MicroOp::PairOpen),
                (3, MicroOp::PairFinish),
                (3, MicroOp::PairConfirm),
                (4, MicroOp::PairAgree),
            ]
        );
        let at = |op| ecdsa.steps.iter().find(|s| s.op == op).unwrap();
        assert!(at(MicroOp::FinalizeKey).inputs.contains(&at(MicroOp::PairAgree).index));
    }
}

fn levels_and_steps(backend: Backend, n: usize, count: u16) -> (u16, usize) {
    let signers = nodes(n);
    let compiled = compile(&presign(signers.clone(), count), ACT, backend, &signers).unwrap();
    let plan = compiled.into_plan();
    let last = plan.at_level(plan.levels()).last().unwrap();
    assert_eq!(last.op, MicroOp::Stash);
    (plan.levels(), plan.steps.len())
}

#[test]
fn a_batch_takes_as_many_frames_as_one_presignature_while_a_frame_holds_it() {
    for count in [1, 2, PRESIGN_COUNT_MAX] {
        let many = usize::from(count);
        for n in [2, 3] {
            assert_eq!(levels_and_steps(DKLS, n, count), (3, 7 * many + 1));
        }
        assert_eq!(levels_and_steps(Backend::FrostEd25519, PARTIES_MAX, count), (2, many + 1));
    }
    // Five signers: frames of 1.25 MiB, which hold 24 messages of round two.
    assert_eq!(levels_and_steps(DKLS, 5, 24).0, 3);
    assert_eq!(levels_and_steps(DKLS, 5, 25).0, 4);
}

#[test]
fn a_frame_of_few_holds_39_presignatures_and_spills_the_fortieth_into_a_fourth_level() {
    let (table, cap) = (rewrite::table(DKLS), plan::frame_bytes_max(2));
    for (count, wanted) in [(39, 3), (40, 4)] {
        // More than an act may ask for: built by hand, with three values each in the stash.
        let mut b = lower::Builder::new(crate::ir::Workflow::Presign, 2, 2);
        let x = b.push(SiteOp::ShareLoad).unwrap();
        let mut values = Vec::new();
        for _ in 0..count {
            let k = b.push(SiteOp::ShareRand).unwrap();
            values.push(b.push(SiteOp::ShareEcMul { a: k, to: Label::Public }).unwrap());
            let mask = b.push(SiteOp::ShareRand).unwrap();
            values.push(b.push(SiteOp::ShareMul { a: k, b: mask }).unwrap());
            values.push(b.push(SiteOp::ShareMul { a: mask, b: x }).unwrap());
        }
        b.push(SiteOp::Stash { values }).unwrap();
        let nodes = rewrite::rewrite(&check(b.score).unwrap(), table).unwrap();
        let levels = plan::levels(&nodes, cap).unwrap();
        assert_eq!(levels.iter().max(), Some(&wanted), "{count}");
        let spilled = nodes.iter().zip(&levels).filter(|(node, level)| {
            let home = if node.op == MicroOp::VoleSend { 2 } else { **level };
            **level != home
        });
        assert_eq!(spilled.count(), usize::from(wanted - 3));
    }
}

#[test]
fn frames_of_all_others_fit_one_call() {
    let mib = |n: u32| n << 20;
    assert_eq!((plan::frame_bytes_max(2), plan::frame_bytes_max(3)), (mib(2), mib(2)));
    assert_eq!(plan::frame_bytes_max(5), mib(5) / 4);
    for parties in 2..=PARTIES_MAX {
        let all = plan::frame_bytes_max(parties) as usize * (parties - 1);
        assert!(all + (1 << 19) <= dvm_core::limits::CALL_BYTES_MAX);
        // The largest single step: a pair's offer.
        assert!(plan::frame_bytes_max(parties) > 2 * 88_049);
    }
}

#[test]
fn an_act_that_a_scheme_does_not_have_is_refused() {
    let refused = |act: &Act, run, backend| compile(act, run, backend, &nodes(2)).unwrap_err();
    let ed = Backend::FrostEd25519;
    for (act, right, wrong) in [(message(), ed, DKLS), (transaction(), DKLS, ed)] {
        assert!(compile(&act, ACT, right, &nodes(2)).is_ok());
        let error = refused(&act, ACT, wrong);
        assert_eq!(error, CompileError::Lower(NoScore::Scheme));
        assert_eq!(error.code(), ReasonCode::PayloadRejected);
    }
}

#[test]
fn a_schnorr_key_has_no_keys_below_it() {
    let at = |path: &[u32]| presign_at(path.to_vec(), nodes(2), 1);
    assert!(compile(&at(&[0]), ACT, DKLS, &nodes(2)).is_ok());
    assert!(compile(&at(&[]), ACT, Backend::FrostSecp256k1Tr, &nodes(2)).is_ok());
    let refused = compile(&at(&[0]), ACT, Backend::FrostSecp256k1Tr, &nodes(2)).unwrap_err();
    assert_eq!(refused, CompileError::Lower(NoScore::Scheme));
}

#[test]
fn material_serves_what_people_could_read_and_nothing_else() {
    let spend = Run::Act(Some(material(0)));
    let refused = |act: &Act, backend| compile(act, spend, backend, &nodes(2)).unwrap_err();
    assert!(compile(&message(), spend, Backend::FrostEd25519, &nodes(2)).is_ok());
    assert!(compile(&transaction(), spend, DKLS, &nodes(2)).is_ok());
    for backend in [Backend::FrostEd25519, Backend::FrostSecp256k1Tr, DKLS] {
        for act in [digest(), presign(nodes(2), 1), generate(backend, 2, nodes(2))] {
            let error = refused(&act, backend);
            assert_eq!(error, CompileError::Lower(NoScore::Material));
            assert_eq!(error.code(), ReasonCode::PayloadRejected);
            assert!(compile(&act, ACT, backend, &nodes(2)).is_ok());
        }
    }
}

#[test]
fn a_plan_is_of_one_piece_of_material() {
    let id = |index| {
        let run = Run::Act(Some(material(index)));
        let compiled = compile(&transaction(), run, DKLS, &nodes(2)).unwrap();
        (compiled.score_id(), compiled.plan_id())
    };
    let (one, other) = (id(0), id(1));
    assert!(one.0 != other.0 && one.1 != other.1);
}

#[test]
fn a_batch_is_made_by_those_it_is_for_in_bounded_numbers_and_never_published() {
    let signers = || nodes(3)[..2].to_vec();
    for backend in [Backend::FrostEd25519, DKLS] {
        let made = |count, by: &[NodeId]| compile(&presign(signers(), count), ACT, backend, by);
        assert!(made(1, &signers()).is_ok() && made(PRESIGN_COUNT_MAX, &signers()).is_ok());
        assert_eq!(made(1, &nodes(3)).unwrap_err(), CompileError::Roster);
        assert_eq!(made(1, &nodes(3)[1..]).unwrap_err(), CompileError::Roster);
        for count in [0, PRESIGN_COUNT_MAX + 1, u16::MAX] {
            let refused = made(count, &signers()).unwrap_err();
            assert_eq!(refused, CompileError::Lower(NoScore::Count));
        }
        let refused = compile(&presign(signers(), 1), PUBLISH, backend, &signers()).unwrap_err();
        assert_eq!(refused, CompileError::Lower(NoScore::Unpublished));
    }
}

type Pinned = (&'static str, Act, Run, Vec<NodeId>);

/// Every run of a 2-of-3 key.
fn runs(backend: Backend) -> Vec<Pinned> {
    let (all, first, last) = (nodes(3), nodes(3)[..2].to_vec(), nodes(3)[1..].to_vec());
    let make = || generate(backend, 2, nodes(3));
    let mut runs = vec![
        ("key.generate", make(), ACT, all.clone()),
        ("key.generate, published", make(), PUBLISH, all),
    ];
    let spend = Run::Act(Some(material(7)));
    let readable = match backend.scheme() {
        Scheme::Schnorr => {
            ["sign.message", "sign.message, published", "sign.message, with material"]
        }
        Scheme::Ecdsa => [
            "sign.evm_transaction",
            "sign.evm_transaction, published",
            "sign.evm_transaction, with material",
        ],
    };
    let act = match backend.scheme() {
        Scheme::Schnorr => message(),
        Scheme::Ecdsa => transaction(),
    };
    runs.extend([
        (readable[0], act.clone(), ACT, first.clone()),
        (readable[1], act.clone(), PUBLISH, first.clone()),
        ("sign.digest", digest(), ACT, last.clone()),
        ("sign.digest, published", digest(), PUBLISH, last),
        (readable[2], act, spend, first.clone()),
        ("presign.batch of 2", presign(first.clone(), 2), ACT, first),
    ]);
    runs
}

/// Those runs with their ids and canonical bytes.
fn vectors(backend: Backend) -> String {
    let mut out = format!("# Scores and plans of a 2-of-3 key with {}.\n", backend.name());
    out.push_str("# score_id = H(\"dvm/score/1\", score), plan_id = H(\"dvm/plan/1\", plan).\n");
    for (name, act, run, participants) in runs(backend) {
        let compiled = compile(&act, run, backend, &participants).unwrap();
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

/// `DVM_BLESS=1` writes them anew: a change of one is a change of `VM_VERSION`.
#[test]
fn score_ids_and_plan_ids_of_every_backend_are_pinned() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/plans");
    for backend in [Backend::FrostEd25519, Backend::FrostSecp256k1Tr, DKLS] {
        let (file, now) = (format!("{dir}/{}.txt", backend.name()), vectors(backend));
        if std::env::var_os("DVM_BLESS").is_some() {
            std::fs::write(&file, &now).unwrap();
        }
        assert!(std::fs::read_to_string(&file).unwrap() == now, "{now}");
    }
}

#[test]
fn a_plan_survives_its_codec() {
    let plan = compile(&message(), ACT, Backend::FrostEd25519, &nodes(2)).unwrap();
    let bytes = dvm_core::codec::encode(plan.plan());
    assert_eq!(&dvm_core::codec::decode::<Plan>(&bytes).unwrap(), plan.plan());
}
