//! What kernels refuse once a result is held: grants, openings, and what people deny.

use dvm_core::admission::{Denial, Purpose, Verdict};
use dvm_core::authority::KeyReady;
use dvm_core::call::{KernelCall, KernelReply, LevelReply};
use dvm_core::codec::{self, link_of};
use dvm_core::governance::EventKind;
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::limits::HELD_TTL_MS;
use dvm_core::receipt::PublicationReceipt;
use dvm_core::trace::Outcome;
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed};

use crate::harness::{Cluster, corrupt, id, key};
use crate::messenger::{Course, level, resay};

const BACKEND: Backend = Backend::FrostEd25519;

/// A held signature whose publication has started, by n1 and n2.
pub(crate) fn asked() -> (Cluster, CanonicalIntent, Course) {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let publication = cluster.start_publication(&intent, &held, BACKEND);
    (cluster, intent, publication)
}

pub(crate) fn granted() -> (Cluster, CanonicalIntent, Course) {
    let (mut cluster, intent, mut publication) = asked();
    cluster.grant_all(&intent, &mut publication);
    (cluster, intent, publication)
}

fn grant(cluster: &Cluster, intent: &CanonicalIntent, course: &Course, by: &[&str]) -> KernelCall {
    cluster.grant_call(intent, course, &id("n1"), by)
}

fn phases(cluster: &mut Cluster, node: &str) -> Vec<String> {
    cluster.phases(node)
}

fn refused_with_receipt(
    cluster: &mut Cluster,
    call: KernelCall,
    expected: ReasonCode,
) -> PublicationReceipt {
    cluster.refused_at_the_gate("n1", call, expected)
}

pub(crate) fn denial(cluster: &Cluster, intent: &CanonicalIntent, by: &str) -> KernelCall {
    let denial = Denial {
        cluster: cluster.state.cluster(),
        approver: id(by),
        intent: link_of(intent),
        display_hash: intent.display_hash,
        key_id: intent.act.key_id().clone(),
        key_epoch: 1,
    };
    KernelCall::Deny { denial: Box::new(Signed::new(denial, &key(by))) }
}

// ---- grants --------------------------------------------------------------------------------------

#[test]
fn gate_refuses_one_release_approval_short_and_grants_with_enough() {
    let (mut cluster, intent, course) = asked();
    let short = grant(&cluster, &intent, &course, &["a2"]);
    let receipt = refused_with_receipt(&mut cluster, short, ReasonCode::ApprovalsMissing);
    assert_eq!((receipt.verdict, receipt.destroyed), (Verdict::Deny, false));
    assert!(receipt.codes.contains(&ReasonCode::PublicationDenied));
    assert_eq!(phases(&mut cluster, "n1"), ["Held"]);
    let twice_by_one = grant(&cluster, &intent, &course, &["a2", "a2"]);
    refused_with_receipt(&mut cluster, twice_by_one, ReasonCode::ApprovalsMissing);
    let enough = grant(&cluster, &intent, &course, &["a2", "a3"]);
    assert!(level(cluster.call("n1", enough)).publication.is_some());
    assert_eq!(phases(&mut cluster, "n1"), ["Granted"]);
}

#[test]
fn gate_refuses_an_admission_approval_presented_as_a_release_approval() {
    let (mut cluster, intent, course) = asked();
    let admitted = cluster.approvals(&intent, &Purpose::Admit, &["a1", "a2", "a3"]);
    let mut call = grant(&cluster, &intent, &course, &[]);
    if let KernelCall::Grant { approvals, .. } = &mut call {
        *approvals = admitted;
    }
    refused_with_receipt(&mut cluster, call, ReasonCode::ApprovalsMissing);
    assert_eq!(phases(&mut cluster, "n1"), ["Held"]);
}

#[test]
fn gate_refuses_release_approvals_of_another_result() {
    let (mut cluster, intent, course) = asked();
    let Purpose::Release { execution_id, .. } = Cluster::release(&course) else { panic!() };
    let other = Purpose::Release { execution_id, result_ref: B32([8; 32]) };
    let given = cluster.approvals(&intent, &other, &["a2", "a3"]);
    let mut call = grant(&cluster, &intent, &course, &[]);
    if let KernelCall::Grant { approvals, .. } = &mut call {
        *approvals = given;
    }
    refused_with_receipt(&mut cluster, call, ReasonCode::ApprovalsMissing);
}

#[test]
fn gate_refuses_a_judgement_that_is_not_a_fresh_release_of_this_result() {
    let (mut cluster, intent, course) = asked();
    let admission = cluster.judgement("n1", &intent, Purpose::Admit, Verdict::Allow);
    let mut stale =
        cluster.judgement("n1", &intent, Cluster::release(&course), Verdict::Allow).body;
    stale.head.size -= 1;
    let stale = Box::new(Signed::new(stale, &key("n1/policy")));
    for (given, code) in [(admission, ReasonCode::BindingMismatch), (stale, ReasonCode::StaleEpoch)]
    {
        let mut call = grant(&cluster, &intent, &course, &["a2", "a3"]);
        if let KernelCall::Grant { judgement, .. } = &mut call {
            *judgement = given;
        }
        cluster.refused("n1", call, code);
    }
    let denied = cluster.judgement("n1", &intent, Cluster::release(&course), Verdict::Deny);
    let mut call = grant(&cluster, &intent, &course, &["a2", "a3"]);
    if let KernelCall::Grant { judgement, .. } = &mut call {
        *judgement = denied;
    }
    refused_with_receipt(&mut cluster, call, ReasonCode::PublicationDenied);
    assert_eq!(phases(&mut cluster, "n1"), ["Held"]);
}

#[test]
fn held_result_expires_and_is_destroyed_with_a_receipt() {
    for (ms, destroyed) in [(HELD_TTL_MS, false), (HELD_TTL_MS + 1, true)] {
        let (mut cluster, intent, course) = asked();
        cluster.pass_ms(ms);
        let call = grant(&cluster, &intent, &course, &["a2", "a3"]);
        if destroyed {
            let receipt = refused_with_receipt(&mut cluster, call, ReasonCode::Expired);
            assert!(receipt.destroyed);
            assert!(phases(&mut cluster, "n1").is_empty());
            cluster.restart("n1");
            assert!(phases(&mut cluster, "n1").is_empty());
        } else {
            level(cluster.call("n1", call));
        }
    }
}

#[test]
fn hold_of_the_cluster_destroys_what_is_held_and_a_suspension_only_refuses() {
    let (mut cluster, intent, course) = asked();
    cluster.govern(EventKind::KeySuspended { key_id: id("treasury") }, None);
    let call = grant(&cluster, &intent, &course, &["a2", "a3"]);
    let receipt = refused_with_receipt(&mut cluster, call, ReasonCode::KeyNotActive);
    assert!(!receipt.destroyed);
    cluster.govern(EventKind::EmergencyHold, None);
    let call = grant(&cluster, &intent, &course, &["a2", "a3"]);
    let receipt = refused_with_receipt(&mut cluster, call, ReasonCode::KeyNotActive);
    assert!(receipt.destroyed);
    assert!(phases(&mut cluster, "n1").is_empty());
}

// ---- publications ----------------------------------------------------------------------------------

#[test]
fn publication_of_another_result_is_refused() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let (mut proposal, _) = Cluster::publication(&intent, &held, BACKEND);
    let call = |proposal: &dvm_core::run::Proposal, frames: &[dvm_core::frame::Envelope]| {
        KernelCall::Start { proposal: Box::new(proposal.clone()), frames: frames.to_vec() }
    };
    let frames = held.inbox[&id::<NodeId>("n1")].clone();
    let mut lying = frames.clone();
    resay(&mut lying[0], &corrupt("n2"), Bytes(vec![1; 32]));
    cluster.refused("n1", call(&proposal, &lying), ReasonCode::BindingMismatch);
    cluster.refused("n1", call(&proposal, &[]), ReasonCode::BindingMismatch);
    let right = proposal.clone();
    if let dvm_core::run::RunKind::Publish { result_ref, .. } = &mut proposal.header.kind {
        *result_ref = B32([1; 32]);
    }
    cluster.refused("n1", call(&proposal, &frames), ReasonCode::BindingMismatch);
    assert!(matches!(cluster.call("n1", call(&right, &frames)), KernelReply::Started { .. }));
}

// ---- openings --------------------------------------------------------------------------------------

fn opening_with(
    course: &Course,
    change: impl FnOnce(&mut Vec<dvm_core::frame::Envelope>),
) -> KernelCall {
    let mut call = Cluster::open_result_call(course, &id("n1"));
    if let KernelCall::OpenResult { frames, .. } = &mut call {
        change(frames);
    }
    call
}

#[test]
fn share_stays_without_every_grant_and_with_a_forged_one() {
    let (mut cluster, _, course) = granted();
    let missing = opening_with(&course, Vec::clear);
    cluster.refused("n1", missing, ReasonCode::BindingMismatch);
    let grant_of = |reply: &LevelReply| reply.publication.clone().unwrap();
    let theirs = grant_of(&course.replies[&id::<NodeId>("n2")]);
    let ours = grant_of(&course.replies[&id::<NodeId>("n1")]);
    let unsigned = Signed::new(theirs.body.clone(), &key("n2/policy"));
    let mut denied = theirs.body.clone();
    denied.verdict = Verdict::Deny;
    let mut other = theirs.body.clone();
    other.result_ref = B32([1; 32]);
    let mut elsewhere = theirs.body.clone();
    elsewhere.head.size += 1;
    let kernel = corrupt("n2");
    for (said, code) in [
        (unsigned, ReasonCode::BindingMismatch),
        (ours, ReasonCode::BindingMismatch),
        (Signed::new(denied, &kernel), ReasonCode::PublicationDenied),
        (Signed::new(other, &kernel), ReasonCode::BindingMismatch),
        (Signed::new(elsewhere, &kernel), ReasonCode::StaleEpoch),
    ] {
        let call = opening_with(&course, |frames| {
            resay(&mut frames[0], &kernel, Bytes(codec::encode(&said)));
        });
        cluster.refused("n1", call, code);
        assert_eq!(phases(&mut cluster, "n1"), ["Granted"]);
    }
    let right = Cluster::open_result_call(&course, &id("n1"));
    level(cluster.call("n1", right));
    assert_eq!(phases(&mut cluster, "n1"), ["Opening"]);
}

#[test]
fn share_stays_when_the_head_moved_after_the_grants() {
    let (mut cluster, _, course) = granted();
    cluster.govern(EventKind::ClusterDegraded, None);
    let call = Cluster::open_result_call(&course, &id("n1"));
    cluster.refused("n1", call, ReasonCode::StaleEpoch);
}

#[test]
fn fenced_boot_grants_nothing_and_its_grant_opens_nothing() {
    let (mut cluster, intent, mut course) = asked();
    let fence = EventKind::NodeFenced { node: id("n2"), boot_gen: 1 };
    cluster.govern(fence, None);
    let own = cluster.grant_call(&intent, &course, &id("n2"), &["a2", "a3"]);
    cluster.refused("n2", own, ReasonCode::SplitBrainFenced);
    let call = cluster.grant_call(&intent, &course, &id("n1"), &["a2", "a3"]);
    let ours = level(cluster.call("n1", call));
    // What the fenced kernel would say if it were corrupt: the same as n1, under its own name.
    let forged = {
        let mut grant = ours.publication.clone().unwrap().body;
        (grant.node, grant.boot) = (id("n2"), cluster.boot("n2"));
        grant
    };
    let kernel = corrupt("n2");
    course.level = 1;
    course.calls.insert(id("n1"), ours.next.clone());
    let mut said = |grant: PublicationReceipt| {
        let grant = Bytes(codec::encode(&Signed::new(grant, &kernel)));
        let mut frame = ours.frames[0].clone();
        frame.to = id("n1");
        frame.header.body.from = id("n2");
        frame.header.body.boot = cluster.boot("n2");
        resay(&mut frame, &kernel, grant);
        course.inbox.insert(id("n1"), vec![frame]);
        Cluster::open_result_call(&course, &id("n1"))
    };
    let fenced = said(forged.clone());
    let mut later = forged;
    later.boot.generation = 2;
    let later = said(later);
    cluster.refused("n1", fenced, ReasonCode::SplitBrainFenced);
    level(cluster.call("n1", later));
    assert_eq!(phases(&mut cluster, "n1"), ["Opening"]);
}

#[test]
fn opening_is_refused_before_the_grant_and_out_of_order() {
    let (mut cluster, _, mut course) = asked();
    course.inbox.insert(id("n1"), Vec::new());
    let early = Cluster::open_result_call(&course, &id("n1"));
    cluster.refused("n1", early, ReasonCode::WrongPhase);
    let (mut cluster, _, mut course) = granted();
    course.level = 2;
    let skipped = Cluster::open_result_call(&course, &id("n1"));
    cluster.refused("n1", skipped, ReasonCode::WrongPhase);
}

#[test]
fn wrong_share_names_its_sender_and_the_right_one_still_publishes() {
    let (mut cluster, _, mut course) = granted();
    cluster.advance(&mut course, |_, course, node| Cluster::open_result_call(course, node));
    let wrong = opening_with(&course, |frames| {
        let mut share = frames[0].broadcast.payloads[0].clone();
        share.0[0] ^= 1;
        resay(&mut frames[0], &corrupt("n2"), share);
    });
    let reply = level(cluster.call("n1", wrong));
    let blamed = Outcome::Fault { code: ReasonCode::PayloadRejected, blame: Some(id("n2")) };
    assert_eq!((&reply.results[0].outcome, &reply.published), (&blamed, &None));
    // What it cost is said with it: both permits are used up.
    let used: Vec<_> = reply.permits.iter().map(|event| event.step_permit).collect();
    let called: Vec<_> = course.calls[&id("n1")].iter().map(|call| call.step_permit).collect();
    assert_eq!((used.len(), &used), (2, &called));
    assert_eq!(phases(&mut cluster, "n1"), ["Opening"]);
    let right = Cluster::open_result_call(&course, &id("n1"));
    assert!(level(cluster.call("n1", right)).published.is_some());
}

#[test]
fn grants_that_rest_on_other_approvals_of_the_same_result_open_it() {
    let (mut cluster, intent, mut course) = asked();
    cluster.advance(&mut course, |cluster, course, node| {
        let by = if *node == id("n1") { ["a2", "a3"] } else { ["a1", "a3"] };
        cluster.grant_call(&intent, course, node, &by)
    });
    assert_eq!(cluster.open_all(&mut course).len(), 2);
}

// ---- people and the end -------------------------------------------------------------------------------

#[test]
fn denial_destroys_what_is_held_and_tombstones_the_intent_for_ever() {
    let (mut cluster, intent, _) = granted();
    let stranger = denial(&cluster, &intent, "g1");
    cluster.refused("n1", stranger, ReasonCode::BindingMismatch);
    let call = denial(&cluster, &intent, "a3");
    let KernelReply::Denied(receipts) = cluster.call("n1", call) else { panic!("not denied") };
    assert!(receipts[0].body.destroyed);
    assert_eq!(receipts[0].body.codes, [ReasonCode::DeniedByApprover]);
    cluster.restart("n1");
    assert!(phases(&mut cluster, "n1").is_empty());
    let again = cluster.open_call("n1", &intent, Some(b"content"));
    cluster.refused("n1", again, ReasonCode::DeniedByApprover);
}

#[test]
fn denial_and_abort_come_too_late_once_the_share_may_be_out() {
    let (mut cluster, intent, mut course) = granted();
    cluster.advance(&mut course, |_, course, node| Cluster::open_result_call(course, node));
    let late = denial(&cluster, &intent, "a3");
    cluster.refused("n1", late, ReasonCode::WrongPhase);
    let abort =
        KernelCall::Abort { execution_id: course.execution_id, code: ReasonCode::RemoteTimeout };
    cluster.refused("n1", abort, ReasonCode::WrongPhase);
}

#[test]
fn abort_destroys_a_held_result_with_a_receipt() {
    let (mut cluster, _, course) = asked();
    let abort =
        KernelCall::Abort { execution_id: course.execution_id, code: ReasonCode::RemoteTimeout };
    let KernelReply::Denied(receipts) = cluster.call("n1", abort) else { panic!("no receipt") };
    assert!(receipts[0].body.destroyed);
    assert!(phases(&mut cluster, "n1").is_empty());
}

#[test]
fn holder_that_states_other_key_facts_is_named() {
    let mut cluster = Cluster::formed();
    let (intent, held) = cluster.held_key(BACKEND);
    let mut course = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut course);
    cluster.advance(&mut course, |_, course, node| Cluster::open_result_call(course, node));
    let wrong = opening_with(&course, |frames| {
        let kernel = corrupt("n2");
        let fact: Signed<KeyReady> = codec::decode(&frames[0].broadcast.payloads[0]).unwrap();
        let other = KeyReady { public_key: Bytes(vec![1; 32]), ..fact.body };
        resay(&mut frames[0], &kernel, Bytes(codec::encode(&Signed::new(other, &kernel))));
    });
    let reply = level(cluster.call("n1", wrong));
    let blamed = Outcome::Fault { code: ReasonCode::PayloadRejected, blame: Some(id("n2")) };
    assert_eq!(reply.results[0].outcome, blamed);
}
