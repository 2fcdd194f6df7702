//! What kernels refuse before anything is held: authority, admission, proposals, frames, permits.

use std::collections::BTreeMap;

use dvm_core::admission::{Purpose, Verdict};
use dvm_core::call::{KernelCall, KernelReply, StepCall};
use dvm_core::governance::EventKind;
use dvm_core::intent::{Act, Backend, CanonicalIntent};
use dvm_core::run::{Open, Proposal};
use dvm_core::{B32, Bytes, ReasonCode, Signed};

use crate::harness::{Cluster, NODES, id, key};
use crate::messenger::{Course, level, refusal};

const BACKEND: Backend = Backend::FrostEd25519;

fn opened(cluster: &mut Cluster, content: &[u8]) -> (CanonicalIntent, Vec<Signed<Open>>) {
    let intent = cluster.sign_intent(content, "one");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(content))).to_vec();
    (intent, opens)
}

fn started() -> (Cluster, Course) {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, opens) = opened(&mut cluster, b"content");
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let course = cluster.start(&proposal, plan, &BTreeMap::new());
    (cluster, course)
}

fn start_call(proposal: &Proposal) -> KernelCall {
    KernelCall::Start { proposal: Box::new(proposal.clone()), frames: Vec::new() }
}

fn with(open: KernelCall, change: impl FnOnce(&mut KernelCall)) -> KernelCall {
    let mut open = open;
    change(&mut open);
    open
}

// ---- authority -----------------------------------------------------------------------------------

#[test]
fn cluster_is_pinned_once_and_only_by_the_node_whose_keys_these_are() {
    let mut cluster = Cluster::formed();
    let manifest = Box::new(cluster.state.manifest().clone());
    let other = KernelCall::Pin { manifest: manifest.clone(), node: id("n2") };
    cluster.refused("n1", other, ReasonCode::ReplayOrConflict);
    let same = cluster.call("n1", KernelCall::Pin { manifest, node: id("n1") });
    assert_eq!(same, KernelReply::Head(cluster.state.head()));
}

#[test]
fn second_event_for_a_sequence_number_is_never_cosigned() {
    let mut cluster = Cluster::formed();
    let first = cluster.entry(EventKind::EmergencyHold, None);
    let second = cluster.entry(EventKind::EmergencyHold, None);
    let time_s = cluster.now_ms() / 1_000;
    let call = |entry| KernelCall::Cosign { entry: Box::new(entry), time_s };
    assert!(matches!(cluster.call("n3", call(first.clone())), KernelReply::Cosigned(_)));
    cluster.refused("n3", call(second.clone()), ReasonCode::Equivocation);
    assert!(matches!(cluster.call("n3", call(first)), KernelReply::Cosigned(_)));
    cluster.restart("n3");
    cluster.refused("n3", call(second), ReasonCode::Equivocation);
}

#[test]
fn cosignature_is_refused_for_a_time_that_is_not_the_kernels() {
    let mut cluster = Cluster::formed();
    let entry = Box::new(cluster.entry(EventKind::EmergencyHold, None));
    let now_s = cluster.now_ms() / 1_000;
    let at = |time_s| KernelCall::Cosign { entry: entry.clone(), time_s };
    cluster.refused("n3", at(now_s - 31), ReasonCode::Expired);
    cluster.refused("n3", at(now_s + 31), ReasonCode::Expired);
    assert!(matches!(cluster.call("n3", at(now_s + 30)), KernelReply::Cosigned(_)));
}

#[test]
fn head_is_adopted_only_forward_and_only_with_a_quorum() {
    let mut cluster = Cluster::formed();
    let old = cluster.certify(EventKind::EmergencyHold, None);
    let short = with_two_cosignatures(&old.1);
    let call = |entry, certificate| KernelCall::Adopt {
        entries: vec![entry],
        certificate: Box::new(certificate),
    };
    cluster.refused("n3", call(old.0.clone(), short), ReasonCode::LogInconsistent);
    for node in ["n1", "n2", "n3"] {
        cluster.adopt(node, &old);
    }
    cluster.refused("n3", call(old.0.clone(), old.1.clone()), ReasonCode::StaleEpoch);
    let before = cluster.standing("n3");
    let again = KernelCall::Adopt { entries: Vec::new(), certificate: Box::new(old.1) };
    assert!(matches!(cluster.call("n3", again), KernelReply::Head(_)));
    assert_eq!(cluster.standing("n3"), before);
}

fn with_two_cosignatures(
    certificate: &dvm_core::governance::HeadCertificate,
) -> dvm_core::governance::HeadCertificate {
    let mut short = certificate.clone();
    short.cosignatures.truncate(2);
    short
}

// ---- admission -----------------------------------------------------------------------------------

#[test]
fn opening_is_refused_one_approval_short_and_for_another_purpose() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let release = Purpose::Release { execution_id: B32([1; 32]), result_ref: B32([2; 32]) };
    for approvals in [Vec::new(), cluster.approvals(&intent, &release, &["a1", "a2"])] {
        let call = with(cluster.open_call("n1", &intent, Some(b"content")), |call| {
            if let KernelCall::Open { approvals: given, .. } = call {
                *given = approvals;
            }
        });
        cluster.refused("n1", call, ReasonCode::ApprovalsMissing);
    }
    cluster.open("n1", &intent, Some(b"content"));
}

#[test]
fn opening_is_refused_without_the_nodes_own_fresh_admission() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let allow = cluster.judgement("n1", &intent, Purpose::Admit, Verdict::Allow);
    let deny = cluster.judgement("n1", &intent, Purpose::Admit, Verdict::Deny);
    let others = cluster.judgement("n2", &intent, Purpose::Admit, Verdict::Allow);
    let forged = Box::new(Signed::new(allow.body.clone(), &key("n2/policy")));
    let mut newer = allow.body.clone();
    newer.head.size += 1;
    let newer = Box::new(Signed::new(newer, &key("n1/policy")));
    let mut older = allow.body.clone();
    older.head.size -= 1;
    let older = Box::new(Signed::new(older, &key("n1/policy")));
    for (judgement, code) in [
        (deny, ReasonCode::PolicyDenied),
        (others, ReasonCode::BindingMismatch),
        (forged, ReasonCode::BindingMismatch),
        (newer, ReasonCode::StaleEpoch),
        (older, ReasonCode::StaleEpoch),
    ] {
        let call = with(cluster.open_call("n1", &intent, Some(b"content")), |call| {
            if let KernelCall::Open { admission, .. } = call {
                *admission = judgement;
            }
        });
        cluster.refused("n1", call, code);
    }
}

#[test]
fn opening_is_refused_for_other_content_another_text_or_an_act_below_the_floor() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let other = cluster.open_call("n1", &intent, Some(b"contenu"));
    cluster.refused("n1", other, ReasonCode::BindingMismatch);
    let shown = CanonicalIntent { display_hash: B32([1; 32]), ..intent.clone() };
    let other = cluster.open_call("n1", &shown, Some(b"content"));
    cluster.refused("n1", other, ReasonCode::BindingMismatch);
    let act = Act::SignDigest { key_id: id("treasury"), key_epoch: 1, digest: B32([1; 32]) };
    let opaque = cluster.intent(act, None, "opaque");
    let below = cluster.open_call("n1", &opaque, None);
    cluster.refused("n1", below, ReasonCode::PolicyDenied);
    let later = CanonicalIntent {
        act: Act::SignMessage {
            key_id: id("treasury"),
            key_epoch: 2,
            message: dvm_core::Link::of_raw(b"content"),
            len: 7,
        },
        ..intent
    };
    let later = cluster.open_call("n1", &later, Some(b"content"));
    cluster.refused("n1", later, ReasonCode::KeyNotActive);
}

#[test]
fn openings_per_hour_end_at_the_floor_and_expired_intents_are_refused() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    for _ in 0..4 {
        cluster.open("n1", &intent, Some(b"content"));
    }
    let fifth = cluster.open_call("n1", &intent, Some(b"content"));
    cluster.refused("n1", fifth.clone(), ReasonCode::ResourceLimit);
    cluster.restart("n1");
    cluster.refused("n1", fifth, ReasonCode::ResourceLimit);
    cluster.pass_ms(61 * 60_000);
    let late = cluster.open_call("n1", &intent, Some(b"content"));
    cluster.refused("n1", late, ReasonCode::Expired);
    let next = cluster.sign_intent(b"content", "two");
    cluster.open("n1", &next, Some(b"content"));
}

// ---- proposals -----------------------------------------------------------------------------------

#[test]
fn proposal_with_another_plan_or_other_participants_is_refused() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, mut opens) = opened(&mut cluster, b"content");
    let (mut proposal, _) = cluster.proposal(&intent, opens.clone(), BACKEND);
    proposal.header.plan_id = B32([9; 32]);
    cluster.refused("n1", start_call(&proposal), ReasonCode::BindingMismatch);
    let (other_backend, _) = cluster.proposal(&intent, opens.clone(), Backend::FrostSecp256k1Tr);
    cluster.refused("n1", start_call(&other_backend), ReasonCode::BindingMismatch);
    opens.push(cluster.open("n3", &intent, Some(b"content")));
    let (three, _) = cluster.proposal(&intent, opens.clone(), BACKEND);
    cluster.refused("n1", start_call(&three), ReasonCode::BindingMismatch);
    let (right, _) = cluster.proposal(&intent, opens[..2].to_vec(), BACKEND);
    assert!(matches!(cluster.call("n1", start_call(&right)), KernelReply::Started { .. }));
}

#[test]
fn replayed_opening_is_refused_and_a_used_one_too() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, opens) = opened(&mut cluster, b"content");
    let (first, _) = cluster.proposal(&intent, opens.clone(), BACKEND);
    let again = cluster.open("n1", &intent, Some(b"content"));
    cluster.refused("n1", start_call(&first), ReasonCode::ReplayOrConflict);
    let (second, _) = cluster.proposal(&intent, vec![again, opens[1].clone()], BACKEND);
    assert!(matches!(cluster.call("n1", start_call(&second)), KernelReply::Started { .. }));
    cluster.refused("n1", start_call(&second), ReasonCode::WrongPhase);
}

#[test]
fn forged_opening_and_one_from_another_time_are_refused() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, opens) = opened(&mut cluster, b"content");
    let forged = Signed::new(opens[1].body.clone(), &key("n2/policy"));
    let (proposal, _) = cluster.proposal(&intent, vec![opens[0].clone(), forged], BACKEND);
    cluster.refused("n1", start_call(&proposal), ReasonCode::BindingMismatch);
    let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    cluster.pass_ms(30_001);
    cluster.refused("n1", start_call(&proposal), ReasonCode::Expired);
}

#[test]
fn opening_at_an_older_or_a_newer_head_is_refused() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let certified = cluster.certify(EventKind::ClusterDegraded, None);
    cluster.adopt("n2", &certified);
    let intent = cluster.sign_intent(b"content", "one");
    let newer = cluster.open("n2", &intent, Some(b"content"));
    // n1 still works under the head before.
    let mut behind = cluster.judgement("n1", &intent, Purpose::Admit, Verdict::Allow).body;
    behind.head = cluster.call("n1", KernelCall::Attest).attested_head();
    let call = with(cluster.open_call("n1", &intent, Some(b"content")), |call| {
        if let KernelCall::Open { admission, .. } = call {
            **admission = Signed::new(behind, &key("n1/policy"));
        }
    });
    let KernelReply::Opened(older) = cluster.call("n1", call) else { panic!("not opened") };
    let (proposal, _) = cluster.proposal(&intent, vec![*older, newer], BACKEND);
    cluster.refused("n1", start_call(&proposal), ReasonCode::StaleEpoch);
    cluster.refused("n2", start_call(&proposal), ReasonCode::StaleEpoch);
}

trait AttestedHead {
    fn attested_head(&self) -> dvm_core::governance::HeadRef;
}

impl AttestedHead for KernelReply {
    fn attested_head(&self) -> dvm_core::governance::HeadRef {
        let Self::Attested(attested) = self else { panic!("no attestation") };
        attested.body.head.unwrap()
    }
}

#[test]
fn opening_of_an_older_boot_is_fenced_once_a_newer_one_was_seen() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, opens) = opened(&mut cluster, b"content");
    cluster.restart("n2");
    let fresh = cluster.open("n2", &intent, Some(b"content"));
    let (newer, _) = cluster.proposal(&intent, vec![opens[0].clone(), fresh], BACKEND);
    assert!(matches!(cluster.call("n1", start_call(&newer)), KernelReply::Started { .. }));
    let again = cluster.open("n1", &intent, Some(b"content"));
    let (older, _) = cluster.proposal(&intent, vec![again, opens[1].clone()], BACKEND);
    cluster.refused("n1", start_call(&older), ReasonCode::SplitBrainFenced);
}

// ---- frames and permits ----------------------------------------------------------------------------

fn altered(course: &Course, change: impl FnOnce(&mut KernelCall)) -> KernelCall {
    with(Cluster::step_call(course, &id("n1")), change)
}

fn frames_of(call: &mut KernelCall) -> &mut Vec<dvm_core::frame::Envelope> {
    match call {
        KernelCall::Step { frames, .. } => frames,
        other => panic!("no step: {other:?}"),
    }
}

fn calls_of(call: &mut KernelCall) -> &mut Vec<StepCall> {
    match call {
        KernelCall::Step { calls, .. } => calls,
        other => panic!("no step: {other:?}"),
    }
}

#[test]
fn tampered_missing_doubled_and_foreign_frames_are_refused_and_the_run_goes_on() {
    let (mut cluster, mut course) = started();
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let flipped = altered(&course, |call| frames_of(call)[0].broadcast.payloads[0].0[0] ^= 1);
    let rebound = altered(&course, |call| {
        let frame = &mut frames_of(call)[0];
        frame.header.body.prev_view = B32([1; 32]);
        frame.binding_hash = frame.expected_binding();
    });
    let missing = altered(&course, |call| frames_of(call).clear());
    let doubled = altered(&course, |call| {
        let frame = frames_of(call)[0].clone();
        frames_of(call).push(frame);
    });
    for call in [flipped, rebound, missing, doubled] {
        cluster.refused("n1", call, ReasonCode::BindingMismatch);
    }
    let foreign = altered(&course, |call| *frames_of(call) = course.inbox[&id("n2")].clone());
    cluster.refused("n1", foreign, ReasonCode::WrongRecipient);
    cluster.run_to_held(&mut course);
}

#[test]
fn frame_under_another_view_is_equivocation() {
    let (mut cluster, mut course) = started();
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let call = altered(&course, |call| {
        let frame = &mut frames_of(call)[0];
        let mut header = frame.header.body.clone();
        header.prev_view = B32([1; 32]);
        frame.header = Signed::new(header, &crate::harness::corrupt("n2"));
        frame.binding_hash = frame.expected_binding();
    });
    cluster.refused("n1", call, ReasonCode::Equivocation);
}

#[test]
fn permit_is_refused_when_forged_skipped_ahead_or_used_again() {
    let (mut cluster, mut course) = started();
    let forged = altered(&course, |call| calls_of(call)[0].step_permit = B32([1; 32]));
    cluster.refused("n1", forged, ReasonCode::BindingMismatch);
    let none = altered(&course, |call| calls_of(call).clear());
    cluster.refused("n1", none, ReasonCode::BindingMismatch);
    let first = Cluster::step_call(&course, &id("n1"));
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    cluster.refused("n1", first, ReasonCode::StepPermitReused);
    cluster.run_to_held(&mut course);
}

#[test]
fn consumed_permit_in_another_context_poisons_the_run() {
    let (mut cluster, mut course) = started();
    let first = course.calls[&id("n1")].clone();
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let elsewhere = altered(&course, |call| *calls_of(call) = first);
    let reply = cluster.call("n1", elsewhere);
    assert_eq!(refusal(&reply).0, ReasonCode::StepPermitReused);
    let next = Cluster::step_call(&course, &id("n1"));
    cluster.refused("n1", next, ReasonCode::NotFound);
}

#[test]
fn cheater_is_named_and_banned_from_the_key_for_good_and_the_others_sign() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, opens) = opened(&mut cluster, b"content");
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &BTreeMap::new());
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let call = altered(&course, |call| corrupt_commitment(&mut frames_of(call)[0]));
    let reply = level(cluster.call("n1", call));
    let outcome = &reply.results.last().unwrap().outcome;
    let blamed = dvm_core::trace::Outcome::Fault {
        code: ReasonCode::PayloadRejected,
        blame: Some(id("n2")),
    };
    assert_eq!((outcome, &reply.header), (&blamed, &None));
    let receipt = reply.receipt.unwrap().body;
    assert_eq!((receipt.aborted, receipt.permits), (Some(ReasonCode::PayloadRejected), 5));
    for name in ["two", "three"] {
        let again = cluster.sign_intent(b"content", name);
        let opens = ["n1", "n2"].map(|node| cluster.open(node, &again, Some(b"content"))).to_vec();
        let (proposal, _) = cluster.proposal(&again, opens, BACKEND);
        cluster.refused("n1", start_call(&proposal), ReasonCode::PartyBanned);
        cluster.restart("n1");
    }
    cluster.held_signature(b"content", "four", ["n1", "n3"], BACKEND);
}

/// n1 catches n2 in a run of an intent of this name.
fn cheated(cluster: &mut Cluster, name: &str) {
    let mut course = running(cluster, name, ["n1", "n2"]);
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let call = altered(&course, |call| corrupt_commitment(&mut frames_of(call)[0]));
    let reply = level(cluster.call("n1", call));
    assert_eq!(reply.header, None);
}

fn running(cluster: &mut Cluster, name: &str, by: [&str; 2]) -> Course {
    let intent = cluster.sign_intent(b"content", name);
    let opens = by.map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    cluster.start(&proposal, plan, &BTreeMap::new())
}

#[test]
fn ban_holds_until_governors_lift_it_and_not_because_they_unfroze_the_key() {
    let mut cluster = Cluster::roomy(BACKEND);
    cheated(&mut cluster, "one");
    let key_id: dvm_core::KeyId = id("treasury");
    cluster.govern(EventKind::KeyUnfrozen { key_id: key_id.clone() }, None);
    let intent = cluster.sign_intent(b"content", "two");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
    let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
    cluster.refused("n1", start_call(&proposal), ReasonCode::PartyBanned);
    cluster.govern(EventKind::PairUnbanned { key_id, node: id("n2") }, None);
    cluster.held_signature(b"content", "three", ["n1", "n2"], BACKEND);
}

#[test]
fn run_under_way_with_a_banned_signer_ends_with_its_receipt_and_that_with_another_goes_on() {
    let mut cluster = Cluster::roomy(BACKEND);
    let step = |_: &Cluster, course: &Course, node: &_| Cluster::step_call(course, node);
    let mut with_cheater = running(&mut cluster, "one", ["n1", "n2"]);
    let mut without = running(&mut cluster, "two", ["n1", "n3"]);
    cluster.advance(&mut with_cheater, step);
    cluster.advance(&mut without, step);
    cheated(&mut cluster, "three");
    let next = Cluster::step_call(&with_cheater, &id("n1"));
    let reply = level(cluster.call("n1", next));
    let ended = dvm_core::trace::Outcome::Fault { code: ReasonCode::PartyBanned, blame: None };
    assert_eq!((&reply.results[0].outcome, &reply.header), (&ended, &None));
    assert!(reply.frames.is_empty() && reply.next.is_empty());
    assert_eq!(reply.receipt.unwrap().body.aborted, Some(ReasonCode::PartyBanned));
    assert!(cluster.phases("n1").is_empty());
    cluster.run_to_held(&mut without);
    assert_eq!(cluster.phases("n1"), ["Held"]);
}

/// One key generation in which n2 states another transcript to all: n1's reply at level 7, where it shows.
fn disagreed(cluster: &mut Cluster) -> dvm_core::call::LevelReply {
    let intent = cluster.keygen_intent(BACKEND);
    let opens = NODES.map(|node| cluster.open(node, &intent, None)).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &BTreeMap::new());
    let step = |_: &Cluster, course: &Course, node: &_| Cluster::step_call(course, node);
    while course.level < 5 {
        cluster.advance(&mut course, step);
    }
    let confirm = course.plan.steps.iter().find(|s| s.op == dvm_score::MicroOp::DkgConfirm);
    let confirm = confirm.unwrap().index;
    let honest = course.inbox[&id("n1")].iter().find(|f| f.header.body.from == id("n2"));
    let lies = crate::messenger::resaid(honest.unwrap(), &["n1", "n3"], confirm);
    for lie in lies {
        let frames = course.inbox.get_mut(&lie.to).unwrap();
        frames.retain(|f| f.header.body.from != lie.header.body.from);
        frames.push(lie);
    }
    cluster.advance(&mut course, step);
    let frames = course.inbox.get_mut(&id("n1")).unwrap();
    let of_n3 = frames.iter().find(|f| f.header.body.from == id("n3")).unwrap();
    let seen = of_n3.header.body.prev_view;
    let of_n2 = frames.iter_mut().find(|f| f.header.body.from == id("n2")).unwrap();
    let mut header = of_n2.header.body.clone();
    header.prev_view = seen;
    of_n2.header = Signed::new(header, &crate::harness::corrupt("n2"));
    of_n2.binding_hash = of_n2.expected_binding();
    level(cluster.call("n1", Cluster::step_call(&course, &id("n1"))))
}

#[test]
fn failures_that_name_nobody_freeze_at_the_floors_count_and_not_before() {
    let mut cluster = Cluster::formed();
    for attempt in 0..3 {
        let reply = disagreed(&mut cluster);
        let outcome = &reply.results.last().unwrap().outcome;
        let nobody =
            dvm_core::trace::Outcome::Fault { code: ReasonCode::PayloadRejected, blame: None };
        assert_eq!((outcome, &reply.header), (&nobody, &None), "attempt {attempt}");
    }
    let call = cluster.open_call("n1", &cluster.keygen_intent(BACKEND), None);
    cluster.refused("n1", call.clone(), ReasonCode::KeyFrozen);
    cluster.restart("n1");
    cluster.refused("n1", call, ReasonCode::KeyFrozen);
}

#[test]
fn opening_too_old_to_start_is_forgotten_when_another_intent_is_opened() {
    for (ms, forgotten) in [(30_000, false), (30_001, true)] {
        let (mut cluster, _) = Cluster::active(BACKEND);
        let (intent, opens) = opened(&mut cluster, b"content");
        let (proposal, _) = cluster.proposal(&intent, opens, BACKEND);
        cluster.pass_ms(ms);
        let other = cluster.sign_intent(b"content", "two");
        cluster.open("n1", &other, Some(b"content"));
        if forgotten {
            cluster.refused("n1", start_call(&proposal), ReasonCode::NotFound);
        } else {
            let reply = cluster.call("n1", start_call(&proposal));
            assert!(matches!(reply, KernelReply::Started { .. }));
        }
    }
}

/// What a corrupt kernel could send: a commitment that is no point, correctly signed.
pub(crate) fn corrupt_commitment(frame: &mut dvm_core::frame::Envelope) {
    let garbage = Bytes(vec![0xff; frame.broadcast.payloads[0].len()]);
    crate::messenger::resay(frame, &crate::harness::corrupt("n2"), garbage);
}

#[test]
fn bytes_that_are_no_call_are_answered_and_change_nothing() {
    let mut cluster = Cluster::formed();
    let before = cluster.standing("n1");
    let good = dvm_core::codec::encode(&KernelCall::Status);
    for bytes in [&b""[..], b"nonsense", &good[..good.len() - 1]] {
        let reply = dvm_kernel::serve::answer(cluster.kernel("n1"), bytes);
        assert_eq!(refusal(&reply).0, ReasonCode::PayloadRejected);
    }
    assert_eq!(cluster.standing("n1"), before);
    let reply = dvm_kernel::serve::answer(cluster.kernel("n1"), &good);
    assert_eq!(reply, KernelReply::Status { held: Vec::new(), stash: Vec::new() });
}

#[test]
fn step_of_an_unknown_run_is_not_found() {
    let (mut cluster, course) = started();
    let call = with(Cluster::step_call(&course, &id("n1")), |call| {
        if let KernelCall::Step { execution_id, .. } = call {
            *execution_id = B32([3; 32]);
        }
    });
    cluster.refused("n1", call, ReasonCode::NotFound);
}
