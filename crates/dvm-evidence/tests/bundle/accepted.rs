//! What verifies: bundles of every end that an intent can come to.

use dvm_core::ReasonCode;
use dvm_core::admission::{Purpose, Verdict};
use dvm_core::intent::{ActClass, Backend};
use dvm_core::trace::Terminal;
use dvm_evidence::verify::{Reached, ReceiptKind, RunReport, VerdictReport};
use dvm_evidence::{Report, replay_bundle, verify};

use crate::rig::{NODES, Rig, id, write};

fn accepted(rig: &Rig) -> Report {
    let car = rig.bundle();
    for replayed in replay_bundle(&car).unwrap() {
        assert!(replayed.equal(), "{replayed:?}");
    }
    verify(&car, rig.cluster()).unwrap_or_else(|refused| panic!("{refused}"))
}

fn keys_and_signatures_verify(backend: Backend) {
    let mut rig = Rig::formed();
    rig.make_key(backend);
    let report = accepted(&rig);
    assert_eq!((report.act, report.state), (ActClass::KeyGenerate, Reached::Published));
    assert!(report.complete, "{:?}", report.lines);
    assert_eq!(report.runs.len(), 6);
    assert!(report.lines.iter().any(|line| line.starts_with("The key's facts, verified: ")));

    let mut rig = Rig::active(backend);
    for (n, by) in [["n1", "n2"], ["n1", "n3"], ["n2", "n3"]].iter().enumerate() {
        rig.signature(format!("pay {n}").as_bytes(), &format!("pay-{n}"), by);
        let report = accepted(&rig);
        assert_eq!(report.state, Reached::Published);
        assert_eq!(report.signers, by.map(id).to_vec());
        assert_eq!(report.result, rig.result);
        assert!(report.complete && report.missing.is_empty());
        assert!(report.runs.iter().all(|run| run.terminal == Some(Terminal::Done)));
        assert!(report.lines.iter().any(|line| line.contains("Published")));
    }
}

#[test]
fn published_ed25519_keys_and_signatures_verify() {
    keys_and_signatures_verify(Backend::FrostEd25519);
}

#[test]
fn published_secp256k1_keys_and_signatures_verify() {
    keys_and_signatures_verify(Backend::FrostSecp256k1Tr);
}

#[test]
fn a_held_result_and_each_step_of_its_opening_verify() {
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.held_signature(b"held", "held", &["n1", "n2"]);
    assert_eq!(accepted(&rig).state, Reached::Executed);
    rig.start_publication();
    assert_eq!(accepted(&rig).state, Reached::Executed);
    let purpose = rig.release();
    rig.approve(&purpose, &["a1"]);
    for node in ["n1", "n2"] {
        rig.judge(&id(node), &purpose, &[ReasonCode::ApprovalsMissing]);
    }
    assert_eq!(accepted(&rig).state, Reached::Executed);
    rig.approve(&purpose, &["a2"]);
    rig.grant();
    assert_eq!(accepted(&rig).state, Reached::Executed);
    rig.open_level();
    assert_eq!(accepted(&rig).state, Reached::Opening);
    rig.open_level();
    let report = accepted(&rig);
    assert_eq!(report.state, Reached::Published);
}

#[test]
fn a_result_that_an_approver_denied_verifies_as_discarded() {
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.held_signature(b"denied", "denied", &["n1", "n3"]);
    rig.start_publication();
    rig.deny("a2");
    let report = accepted(&rig);
    assert_eq!(report.state, Reached::Discarded);
    let gate: Vec<_> = report.verdicts.iter().filter(|v| v.stage == "gate").collect();
    assert_eq!(gate.len(), 2);
    assert!(gate.iter().all(|v| v.verdict == Verdict::Deny));
}

#[test]
fn denied_awaiting_and_aborted_intents_verify() {
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.ask_signature(b"no", "no");
    for node in NODES {
        rig.judge(&id(node), &Purpose::Admit, &[ReasonCode::PolicyDenied]);
    }
    let report = accepted(&rig);
    assert_eq!((report.state, report.runs.len()), (Reached::Denied, 0));

    rig.ask_signature(b"wait", "wait");
    for node in NODES {
        rig.judge(&id(node), &Purpose::Admit, &[ReasonCode::ApprovalsMissing]);
    }
    assert_eq!(accepted(&rig).state, Reached::AwaitingApproval);
    rig.deny("a3");
    assert_eq!(accepted(&rig).state, Reached::Denied);

    rig.ask_signature(b"stop", "stop");
    rig.approve(&Purpose::Admit, &["a1"]);
    for node in NODES {
        rig.judge(&id(node), &Purpose::Admit, &[]);
    }
    assert_eq!(accepted(&rig).state, Reached::Admitted);
    rig.begin(&["n2", "n3"], 1);
    assert_eq!(accepted(&rig).state, Reached::Running);
    rig.abort(ReasonCode::RemoteTimeout);
    assert_eq!(accepted(&rig).state, Reached::Aborted);
}

#[test]
fn a_missing_peer_is_named_and_the_signature_still_verifies() {
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.signature(b"pay", "pay", &["n1", "n2"]);
    let mut input = rig.input();
    input.parts.retain(|part| part.node != id("n2"));
    let report = verify(&write(input), rig.cluster()).unwrap();
    assert_eq!((report.state, report.complete), (Reached::Published, false));
    assert_eq!(report.missing, [id("n2")]);
    let last = ["Not in this bundle: the parts of n2.", UNHELD];
    assert_eq!(report.lines[report.lines.len() - 2..], last);
    let mut input = rig.input();
    input.parts.retain(|part| part.node != id("n3"));
    let report = verify(&write(input), rig.cluster()).unwrap();
    assert!(report.complete && report.missing.is_empty());
    assert_eq!(report.lines.last().unwrap(), "State reached: Published.");
}

const UNHELD: &str = "Some statements could not be held against all peers' parts.";

#[test]
fn report_tells_the_life_of_a_signature_in_order_and_names_every_receipt() {
    let mut rig = Rig::active(Backend::FrostEd25519);
    rig.signature(b"pay", "pay", &["n1", "n2"]);
    let report = accepted(&rig);
    let judged = |stage: &str, tells: fn(&VerdictReport) -> String| -> Vec<String> {
        report.verdicts.iter().filter(|v| v.stage == stage).map(tells).collect()
    };
    let admitted = judged("admit", |v| {
        let why = "(20-sign-message/allowed), with 1 approval";
        format!("{} judged (admit) and said yes {why}: {}", v.peer, v.receipt)
    });
    let released = judged("release", |v| {
        let why = "(20-sign-message/allowed), with 2 approvals";
        format!("{} judged (release) and said yes {why}: {}", v.peer, v.receipt)
    });
    let granted = judged("gate", |v| {
        let words = "said yes, with 2 approvals";
        format!("At the gate the kernel of {} {words}: {}", v.peer, v.receipt)
    });
    assert_eq!((admitted.len(), released.len(), granted.len()), (3, 2, 2));
    let ran = |publishes: bool, what: &str| -> Vec<String> {
        let runs = report.runs.iter().filter(|run| run.publishes.is_some() == publishes);
        let line = |run: &RunReport| {
            let end = format!("done; its trace replays to {}", run.trace_root);
            format!("{} {what} in run {} of n1, n2: {end}", run.peer, run.execution_id)
        };
        runs.map(line).collect()
    };
    let (acts, publications) = (ran(false, "performed the act"), ran(true, "published"));
    assert_eq!((acts.len(), publications.len()), (2, 2));
    let told = &report.lines[2..];
    let known: Vec<&String> = admitted.iter().chain(&acts).collect();
    assert_eq!(told[..5].iter().collect::<Vec<_>>(), known);
    assert!(released.iter().chain(&granted).all(|line| told[5..9].contains(line)));
    assert_eq!(told[9..11], publications);
    let result = report.result.as_ref().unwrap();
    let result: String = result.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told[11], format!("The signature, verified: {result}"));
    assert_eq!(told[12..], ["State reached: Published."]);
    let of = |kind| report.receipts.iter().filter(|r| r.kind == kind).count();
    let kinds = [ReceiptKind::Admission, ReceiptKind::Permit, ReceiptKind::Publication];
    assert_eq!(kinds.map(of), [5, 2, 2]);
}
