//! Hostile runtime at the gate: approvals, judgements, grants and denials that are forged, borrowed, or short by one.

use dvm_core::admission::{AdmissionReceipt, Approval, Denial, Purpose, Verdict};
use dvm_core::call::KernelCall;
use dvm_core::codec::{self, link_of};
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::limits::APPROVALS_MAX;
use dvm_core::receipt::PublicationReceipt;
use dvm_core::{B32, Bytes, Link, NodeId, ReasonCode, Signed};

use crate::harness::{Cluster, corrupt, id, key};
use crate::messenger::{Course, level, resay};
use crate::refusals_at_the_gate::{asked, granted};

const BACKEND: Backend = Backend::FrostEd25519;

fn n1() -> NodeId {
    id("n1")
}

// ---- approvals -----------------------------------------------------------------------------------

type Change = (&'static str, fn(&mut Approval));

/// Everything that an approval binds, each changed alone.
const ELSEWHERE: [Change; 7] = [
    ("cluster", |a| a.cluster = Link::of_raw(b"other")),
    ("intent", |a| a.intent = Link::of_raw(b"other")),
    ("display", |a| a.display_hash = B32([7; 32])),
    ("key", |a| a.key_id = id("sundries")),
    ("epoch", |a| a.key_epoch += 1),
    ("policy", |a| a.policy_root = Link::of_raw(b"other")),
    ("expired", |a| a.expires_ms = crate::harness::NOW_MS - 1),
];

/// The approval of one person, changed and signed again by that person: valid, but of something else.
fn changed(approval: &Signed<Approval>, change: fn(&mut Approval)) -> Signed<Approval> {
    let mut body = approval.body.clone();
    change(&mut body);
    let person = key(body.approver.as_str());
    Signed::new(body, &person)
}

fn with_approvals(call: KernelCall, given: Vec<Signed<Approval>>) -> KernelCall {
    match call {
        KernelCall::Grant { execution_id, calls, judgement, .. } => {
            KernelCall::Grant { execution_id, calls, judgement, approvals: given }
        }
        KernelCall::Open { intent, content, admission, .. } => {
            KernelCall::Open { intent, content, admission, approvals: given }
        }
        other => panic!("no approvals ride on {other:?}"),
    }
}

/// Two release approvals, the second spoiled in one way each: what the runtime can make of one honest approver.
fn spoiled(cluster: &Cluster, good: &[Signed<Approval>]) -> Vec<(&'static str, Signed<Approval>)> {
    let mut second: Vec<_> =
        ELSEWHERE.iter().map(|(name, change)| (*name, changed(&good[1], *change))).collect();
    second.push(("same person", good[0].clone()));
    second.push(("forged", Signed::new(good[1].body.clone(), &key("n1/policy"))));
    second.push(("borrowed signature", Signed::new(good[1].body.clone(), &key("a2"))));
    for (name, person) in [("governor", "g1"), ("stranger", "mallory"), ("requester", "alice")] {
        let mut body = good[1].body.clone();
        body.approver = id(person);
        second.push((name, Signed::new(body, &key(person))));
    }
    let own = corrupt("n1");
    second.push(("kernel", Signed::new(good[1].body.clone(), &own)));
    assert_eq!(cluster.now_ms(), crate::harness::NOW_MS);
    second
}

#[test]
fn one_honest_release_approval_never_becomes_two() {
    let (mut cluster, intent, course) = asked();
    let purpose = Cluster::release(&course);
    let good = cluster.approvals(&intent, &purpose, &["a2", "a3"]);
    let call = cluster.grant_call(&intent, &course, &n1(), &[]);
    let Purpose::Release { execution_id, result_ref } = purpose.clone() else { panic!() };
    let other_run = Purpose::Release { execution_id: B32([1; 32]), result_ref };
    let other_result = Purpose::Release { execution_id, result_ref: B32([1; 32]) };
    let mut second = spoiled(&cluster, &good);
    for (name, purpose) in
        [("admit", Purpose::Admit), ("other run", other_run), ("other result", other_result)]
    {
        second.push((name, cluster.approvals(&intent, &purpose, &["a3"]).remove(0)));
    }
    for (name, second) in second {
        let given = with_approvals(call.clone(), vec![good[0].clone(), second]);
        let receipt = cluster.refused_at_the_gate("n1", given, ReasonCode::ApprovalsMissing);
        assert_eq!((receipt.verdict, receipt.destroyed), (Verdict::Deny, false), "{name}");
        assert_eq!(cluster.phases("n1"), ["Held"], "{name}");
    }
    let flood = vec![good[0].clone(); APPROVALS_MAX + 1];
    cluster.refused_at_the_gate(
        "n1",
        with_approvals(call.clone(), flood),
        ReasonCode::ResourceLimit,
    );
    let reply = level(cluster.call("n1", with_approvals(call, good)));
    assert_eq!(reply.publication.unwrap().body.approvals.len(), 2);
}

#[test]
fn release_approval_counts_up_to_its_last_millisecond_and_not_after() {
    for (late, granted) in [(0, true), (1, false)] {
        let (mut cluster, intent, course) = asked();
        let call = cluster.grant_call(&intent, &course, &n1(), &["a2", "a3"]);
        let KernelCall::Grant { approvals, .. } = &call else { panic!() };
        let left = approvals[0].body.expires_ms - cluster.now_ms();
        cluster.pass_ms(left + late);
        if granted {
            level(cluster.call("n1", call));
        } else {
            cluster.refused_at_the_gate("n1", call, ReasonCode::ApprovalsMissing);
        }
    }
}

#[test]
fn spoiled_admission_approval_opens_nothing() {
    let mut cluster = Cluster::roomy(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let good = cluster.approvals(&intent, &Purpose::Admit, &["a1", "a2"]);
    let call = cluster.open_call("n1", &intent, Some(b"content"));
    for (name, spoiled) in spoiled(&cluster, &good) {
        if name == "same person" || name == "borrowed signature" {
            continue;
        }
        let given = with_approvals(call.clone(), vec![spoiled]);
        cluster.refused("n1", given, ReasonCode::ApprovalsMissing);
    }
    let borrowed = Signed::new(good[1].body.clone(), &key("a1"));
    let given = with_approvals(call.clone(), vec![borrowed]);
    cluster.refused("n1", given, ReasonCode::ApprovalsMissing);
    let flood = with_approvals(call.clone(), vec![good[0].clone(); APPROVALS_MAX + 1]);
    cluster.refused("n1", flood, ReasonCode::ResourceLimit);
    cluster.open("n1", &intent, Some(b"content"));
}

#[test]
fn requester_who_is_an_approver_does_not_count_for_the_own_request() {
    let mut cluster = Cluster::roomy(BACKEND);
    let mut intent = cluster.sign_intent(b"content", "one");
    for (requester, opens) in [("a1", false), ("a2", true)] {
        intent.requester = id(requester);
        intent.display_hash = dvm_act::display(&intent, Some(b"content")).unwrap().hash();
        let call = cluster.open_call("n1", &intent, Some(b"content"));
        if opens {
            cluster.open("n1", &intent, Some(b"content"));
        } else {
            cluster.refused("n1", call, ReasonCode::ApprovalsMissing);
        }
    }
}

// ---- judgements ----------------------------------------------------------------------------------

type Said = (&'static str, ReasonCode, fn(&mut AdmissionReceipt));

const JUDGED_ELSEWHERE: [Said; 8] = [
    ("cluster", ReasonCode::BindingMismatch, |j| j.cluster = Link::of_raw(b"other")),
    ("node", ReasonCode::BindingMismatch, |j| j.node = id("n2")),
    ("intent", ReasonCode::BindingMismatch, |j| j.intent = Link::of_raw(b"other")),
    ("key", ReasonCode::BindingMismatch, |j| j.key_id = id("sundries")),
    ("epoch", ReasonCode::BindingMismatch, |j| j.key_epoch += 1),
    ("policy", ReasonCode::StaleEpoch, |j| j.policy_root = Link::of_raw(b"other")),
    ("head", ReasonCode::StaleEpoch, |j| j.head.root = B32([1; 32])),
    ("size", ReasonCode::StaleEpoch, |j| j.head.size += 1),
];

fn judged(call: &KernelCall, by: &str, change: fn(&mut AdmissionReceipt)) -> KernelCall {
    let mut call = call.clone();
    if let KernelCall::Open { admission: said, .. } | KernelCall::Grant { judgement: said, .. } =
        &mut call
    {
        change(&mut said.body);
        **said = Signed::new(said.body.clone(), &key(by));
    }
    call
}

#[test]
fn judgement_of_anything_else_admits_and_releases_nothing_even_by_the_nodes_own_key() {
    let (mut cluster, intent, course) = asked();
    let other = cluster.sign_intent(b"content", "two");
    let open = cluster.open_call("n1", &other, Some(b"content"));
    let grant = cluster.grant_call(&intent, &course, &n1(), &["a2", "a3"]);
    for call in [&open, &grant] {
        for (name, code, change) in JUDGED_ELSEWHERE {
            let call = judged(call, "n1/policy", change);
            println!("{name}");
            cluster.refused("n1", call, code);
        }
        for by in ["n2/policy", "n1/node", "g1", "a1"] {
            cluster.refused("n1", judged(call, by, |_| {}), ReasonCode::BindingMismatch);
        }
    }
    let release: fn(&mut AdmissionReceipt) = |j| {
        j.purpose = Purpose::Release { execution_id: B32([1; 32]), result_ref: B32([2; 32]) };
    };
    cluster.refused("n1", judged(&open, "n1/policy", release), ReasonCode::BindingMismatch);
    cluster.refused("n1", judged(&grant, "n1/policy", release), ReasonCode::BindingMismatch);
    let awaiting: fn(&mut AdmissionReceipt) = |j| j.verdict = Verdict::Awaiting;
    cluster.refused("n1", judged(&open, "n1/policy", awaiting), ReasonCode::PolicyDenied);
    let awaits = judged(&grant, "n1/policy", awaiting);
    cluster.refused_at_the_gate("n1", awaits, ReasonCode::ApprovalsMissing);
    level(cluster.call("n1", grant));
    cluster.open("n1", &other, Some(b"content"));
}

// ---- grants ---------------------------------------------------------------------------------------

/// What n1 would be asked with if this were what n2 said.
fn opening(course: &Course, frames: Vec<dvm_core::frame::Envelope>) -> KernelCall {
    let mut call = Cluster::open_result_call(course, &n1());
    if let KernelCall::OpenResult { frames: given, .. } = &mut call {
        *given = frames;
    }
    call
}

fn asked_also(cluster: &mut Cluster, name: &str) -> (CanonicalIntent, Course) {
    let (intent, held) = cluster.held_signature(b"other", name, ["n1", "n2"], BACKEND);
    let publication = cluster.start_publication(&intent, &held, BACKEND);
    (intent, publication)
}

#[test]
fn grant_of_another_result_opens_nothing_whoever_carries_it() {
    let (mut cluster, _, course) = granted();
    let (other, mut elsewhere) = asked_also(&mut cluster, "two");
    cluster.grant_all(&other, &mut elsewhere);
    // As it came, and inside a frame of this publication, which takes n2's kernel key.
    let carried = elsewhere.inbox[&n1()].clone();
    cluster.refused("n1", opening(&course, carried.clone()), ReasonCode::SessionMismatch);
    let borrowed = carried[0].broadcast.payloads[0].clone();
    let mut frames = course.inbox[&n1()].clone();
    resay(&mut frames[0], &corrupt("n2"), borrowed);
    cluster.refused("n1", opening(&course, frames.clone()), ReasonCode::BindingMismatch);
    // The right grant under a key that the runtime does own.
    let mut relabelled = course.inbox[&n1()].clone();
    let right = relabelled[0].broadcast.payloads[0].clone();
    resay(&mut relabelled[0], &key("n2/policy"), right);
    cluster.refused("n1", opening(&course, relabelled), ReasonCode::BindingMismatch);
    cluster.open_all(&mut elsewhere);
    let mut course = course;
    assert_eq!(cluster.open_all(&mut course).len(), 2);
}

type Worded = (&'static str, ReasonCode, fn(&mut PublicationReceipt));

/// Everything that a grant says, each changed alone and signed by n2's own kernel key.
const GRANTED_ELSEWHERE: [Worded; 11] = [
    ("cluster", ReasonCode::BindingMismatch, |g| g.cluster = Link::of_raw(b"other")),
    ("node", ReasonCode::BindingMismatch, |g| g.node = id("n3")),
    ("run", ReasonCode::BindingMismatch, |g| g.execution_id = B32([1; 32])),
    ("intent", ReasonCode::BindingMismatch, |g| g.intent = Link::of_raw(b"other")),
    ("digest", ReasonCode::BindingMismatch, |g| g.facts.digest = B32([1; 32])),
    ("nonce", ReasonCode::BindingMismatch, |g| g.facts.public_nonce = Bytes(vec![1; 32])),
    ("result", ReasonCode::BindingMismatch, |g| g.result_ref = B32([1; 32])),
    ("verdict", ReasonCode::PublicationDenied, |g| g.verdict = Verdict::Awaiting),
    ("destroyed", ReasonCode::PublicationDenied, |g| g.destroyed = true),
    ("codes", ReasonCode::BindingMismatch, |g| g.codes = vec![ReasonCode::PolicyDenied]),
    ("head", ReasonCode::StaleEpoch, |g| g.head.root = B32([1; 32])),
];

#[test]
fn grant_with_any_word_changed_opens_nothing_even_under_its_kernels_key() {
    let (mut cluster, _, course) = granted();
    let kernel = corrupt("n2");
    let theirs = course.replies[&id::<NodeId>("n2")].publication.clone().unwrap();
    for (name, code, change) in GRANTED_ELSEWHERE {
        let mut grant = theirs.body.clone();
        change(&mut grant);
        let said = Bytes(codec::encode(&Signed::new(grant, &kernel)));
        let mut frames = course.inbox[&n1()].clone();
        resay(&mut frames[0], &kernel, said);
        println!("{name}");
        cluster.refused("n1", opening(&course, frames), code);
    }
    for said in [Vec::new(), vec![0], codec::encode(&KernelCall::Status)] {
        let mut frames = course.inbox[&n1()].clone();
        resay(&mut frames[0], &kernel, Bytes(said));
        cluster.refused("n1", opening(&course, frames), ReasonCode::BindingMismatch);
    }
    assert_eq!(cluster.phases("n1"), ["Granted"]);
    level(cluster.call("n1", Cluster::open_result_call(&course, &n1())));
}

#[test]
fn all_but_one_of_a_keys_holders_grant_and_the_key_stays_unpublished() {
    let mut cluster = Cluster::formed();
    let (intent, held) = cluster.held_key(BACKEND);
    let mut course = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut course);
    let all = course.inbox[&n1()].clone();
    assert_eq!(all.len(), 2);
    for missing in 0..2 {
        let mut frames = all.clone();
        frames.remove(missing);
        cluster.refused("n1", opening(&course, frames.clone()), ReasonCode::BindingMismatch);
        frames.push(frames[0].clone());
        cluster.refused("n1", opening(&course, frames), ReasonCode::BindingMismatch);
    }
    assert_eq!(cluster.open_all(&mut course).len(), 3);
}

#[test]
fn grant_and_opening_permits_of_another_publication_are_refused() {
    let (mut cluster, intent, course) = asked();
    let (other, elsewhere) = asked_also(&mut cluster, "two");
    let mut call = cluster.grant_call(&intent, &course, &n1(), &["a2", "a3"]);
    if let KernelCall::Grant { calls, .. } = &mut call {
        *calls = elsewhere.calls[&n1()].clone();
    }
    cluster.refused("n1", call, ReasonCode::BindingMismatch);
    let mut call = cluster.grant_call(&intent, &course, &n1(), &["a2", "a3"]);
    if let KernelCall::Grant { execution_id, .. } = &mut call {
        *execution_id = elsewhere.execution_id;
    }
    cluster.refused("n1", call, ReasonCode::BindingMismatch);
    let (mut course, mut elsewhere) = (course, elsewhere);
    cluster.grant_all(&intent, &mut course);
    cluster.grant_all(&other, &mut elsewhere);
    let mut call = Cluster::open_result_call(&course, &n1());
    if let KernelCall::OpenResult { calls, .. } = &mut call {
        *calls = elsewhere.calls[&n1()].clone();
    }
    cluster.refused("n1", call, ReasonCode::BindingMismatch);
    assert_eq!(cluster.open_all(&mut course).len(), 2);
}

// ---- denials ---------------------------------------------------------------------------------------

#[test]
fn denial_that_no_approver_of_this_key_signed_for_this_text_destroys_nothing() {
    let (mut cluster, intent, course) = asked();
    let good = Denial {
        cluster: cluster.state.cluster(),
        approver: id("a3"),
        intent: link_of(&intent),
        display_hash: intent.display_hash,
        key_id: id("treasury"),
        key_epoch: 1,
    };
    let deny = |denial: &Denial, by: &str| KernelCall::Deny {
        denial: Box::new(Signed::new(denial.clone(), &key(by))),
    };
    let cases = [
        deny(&good, "a1"),
        deny(&good, "n1/policy"),
        deny(&Denial { approver: id("g1"), ..good.clone() }, "g1"),
        deny(&Denial { approver: id("alice"), ..good.clone() }, "alice"),
        deny(&Denial { cluster: Link::of_raw(b"other"), ..good.clone() }, "a3"),
        deny(&Denial { display_hash: B32([1; 32]), ..good.clone() }, "a3"),
        deny(&Denial { key_epoch: 2, ..good.clone() }, "a3"),
        deny(&Denial { key_id: id("sundries"), ..good }, "a3"),
    ];
    for call in cases {
        cluster.refused("n1", call, ReasonCode::BindingMismatch);
    }
    assert_eq!(cluster.phases("n1"), ["Held"]);
    let call = cluster.grant_call(&intent, &course, &n1(), &["a2", "a3"]);
    level(cluster.call("n1", call));
}

#[test]
fn result_granted_in_time_and_opened_too_late_is_destroyed_with_a_receipt() {
    use dvm_core::limits::HELD_TTL_MS;
    for (ms, opened) in [(HELD_TTL_MS, true), (HELD_TTL_MS + 1, false)] {
        let (mut cluster, intent, course) = granted();
        cluster.pass_ms(ms);
        let call = Cluster::open_result_call(&course, &n1());
        if opened {
            assert!(level(cluster.call("n1", call)).header.is_some());
            continue;
        }
        let receipt = cluster.refused_at_the_gate("n1", call.clone(), ReasonCode::Expired);
        assert!(receipt.destroyed);
        assert_eq!(receipt.intent, link_of(&intent));
        assert!(cluster.phases("n1").is_empty());
        cluster.refused("n1", call, ReasonCode::NotFound);
    }
}
