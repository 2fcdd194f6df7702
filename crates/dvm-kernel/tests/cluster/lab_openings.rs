//! Hostile runtime and openings: what a proposal is made of, and acts that say one thing and carry another.

use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::codec::link_of;
use dvm_core::intent::{Act, Backend, CanonicalIntent};
use dvm_core::run::{Open, Proposal, RunHeader, RunKind};
use dvm_core::{B32, Bytes, Link, ReasonCode, Signed};

use crate::harness::{Cluster, NODES, corrupt, id, key};

const BACKEND: Backend = Backend::FrostEd25519;

fn start_call(proposal: Proposal) -> KernelCall {
    KernelCall::Start { proposal: Box::new(proposal), frames: Vec::new() }
}

fn opened(cluster: &mut Cluster, name: &str) -> (CanonicalIntent, Vec<Signed<Open>>) {
    let intent = cluster.sign_intent(b"content", name);
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
    (intent, opens)
}

/// A proposal of these openings whose header names them, so that only the openings themselves are wrong.
fn proposed(cluster: &Cluster, intent: &CanonicalIntent, opens: &[Signed<Open>]) -> KernelCall {
    let participants = vec![id("n1"), id("n2")];
    let plan = dvm_score::compile(&intent.act, dvm_score::Run::Act(None), BACKEND, &participants);
    let header = RunHeader {
        cluster: cluster.state.cluster(),
        intent: link_of(intent),
        kind: RunKind::Act {
            attempt: 1,
            opens: opens.iter().map(Signed::link).collect(),
            material: None,
        },
        plan_id: plan.unwrap().into_plan().id(),
        key_epoch: 1,
        participants,
        soft_deadline_ms: 1_000,
        hard_deadline_ms: 5_000,
    };
    start_call(Proposal { header, opens: opens.to_vec() })
}

#[test]
fn opening_with_any_word_changed_starts_nothing_even_under_its_kernels_key() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (intent, opens) = opened(&mut cluster, "one");
    let (other, others) = opened(&mut cluster, "two");

    type Change<'a> = &'a dyn Fn(&mut Open);
    let bad = ReasonCode::BindingMismatch;
    let cases: [(&str, ReasonCode, Change<'_>); 8] = [
        ("cluster", bad, &|o| o.cluster = Link::of_raw(b"other")),
        ("intent", bad, &|o| o.intent = link_of(&other)),
        ("node", bad, &|o| o.node = id("n3")),
        ("stranger", bad, &|o| o.node = id("n9")),
        ("older head", ReasonCode::StaleEpoch, &|o| o.head.size -= 1),
        ("newer head", ReasonCode::StaleEpoch, &|o| o.head.size += 1),
        ("early", ReasonCode::Expired, &|o| o.time_ms -= 30_001),
        ("late", ReasonCode::Expired, &|o| o.time_ms += 30_001),
    ];
    for (name, code, change) in cases {
        let mut open = opens[1].body.clone();
        change(&mut open);
        let forged = [opens[0].clone(), Signed::new(open, &corrupt("n2"))];
        println!("{name}");
        let call = proposed(&cluster, &intent, &forged);
        cluster.refused("n1", call, code);
    }
    let by = |key| Signed::new(opens[1].body.clone(), key);
    let theirs = others[1].clone();
    let lists = [
        (bad, vec![opens[0].clone(), by(&key("n2/policy"))]),
        (bad, vec![opens[0].clone(), by(&corrupt("n3"))]),
        (bad, vec![opens[0].clone(), theirs]),
        (bad, vec![opens[0].clone()]),
        (bad, vec![opens[0].clone(), opens[0].clone()]),
        (bad, vec![opens[1].clone(), opens[0].clone()]),
        (bad, vec![opens[0].clone(), opens[1].clone(), opens[1].clone()]),
        (bad, Vec::new()),
    ];
    for (code, list) in lists {
        let call = proposed(&cluster, &intent, &list);
        cluster.refused("n1", call, code);
    }
    // Our own opening, as it never was: this runtime knows every key but ours.
    let mut own = opens[0].body.clone();
    own.opening += 1;
    let forged = [Signed::new(own, &corrupt("n1")), opens[1].clone()];
    let call = proposed(&cluster, &intent, &forged);
    cluster.refused("n1", call, ReasonCode::ReplayOrConflict);
    let call = proposed(&cluster, &intent, &opens);
    assert!(matches!(cluster.call("n1", call), KernelReply::Started { .. }));
}

#[test]
fn header_with_any_word_changed_starts_nothing() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (intent, opens) = opened(&mut cluster, "one");
    let n3 = cluster.open("n3", &intent, Some(b"content"));
    let KernelCall::Start { proposal: good, .. } = proposed(&cluster, &intent, &opens) else {
        panic!()
    };
    type Change<'a> = &'a dyn Fn(&mut Proposal);
    let bad = ReasonCode::BindingMismatch;
    let cases: [(&str, ReasonCode, Change<'_>); 9] = [
        ("cluster", bad, &|p| p.header.cluster = Link::of_raw(b"other")),
        ("intent", ReasonCode::NotFound, &|p| p.header.intent = Link::of_raw(b"other")),
        ("epoch", bad, &|p| p.header.key_epoch = 2),
        ("plan", bad, &|p| p.header.plan_id = B32([1; 32])),
        ("one signer", bad, &|p| p.header.participants.truncate(1)),
        ("same signer", bad, &|p| p.header.participants[1] = id("n1")),
        ("others", bad, &|p| p.header.participants[0] = id("n3")),
        ("unsorted", bad, &|p| p.header.participants.reverse()),
        ("three", bad, &|p| {
            p.header.participants.push(id("n3"));
            p.opens.push(n3.clone());
        }),
    ];
    for (name, code, change) in cases {
        let mut proposal = (*good).clone();
        change(&mut proposal);
        println!("{name}");
        cluster.refused("n1", start_call(proposal), code);
    }
    let published = RunKind::Publish { of: B32([1; 32]), result_ref: B32([2; 32]) };
    let mut proposal = (*good).clone();
    proposal.header.kind = published;
    cluster.refused("n1", start_call(proposal), ReasonCode::WrongPhase);
    // A kernel that takes no part in it, and an opening that is not the last one.
    cluster.refused("n3", start_call((*good).clone()), bad);
    cluster.open("n1", &intent, Some(b"content"));
    cluster.refused("n1", start_call((*good).clone()), ReasonCode::ReplayOrConflict);
    cluster.restart("n2");
    cluster.refused("n2", start_call(*good), ReasonCode::NotFound);
}

// ---- acts ------------------------------------------------------------------------------------------

#[test]
fn act_that_says_one_thing_and_carries_another_is_not_opened() {
    let mut cluster = Cluster::roomy(BACKEND);
    let intent = cluster.sign_intent(b"pay 1 to bob", "one");
    let shown = |act: Act, content: Option<&[u8]>, opened: Option<&[u8]>| {
        let mut lying = cluster.intent(act, content, "lie");
        lying.idempotency_key = id("one");
        (lying, opened.map(Bytes::from))
    };
    let said = |message: &[u8], len: u64| Act::SignMessage {
        key_id: id("treasury"),
        key_epoch: 1,
        message: Link::of_raw(message),
        len,
    };
    let digest = Act::SignDigest {
        key_id: id("treasury"),
        key_epoch: 1,
        digest: dvm_core::digest::sha256(b"pay 999 to bob"),
    };
    let KernelCall::Open { admission, approvals, .. } =
        cluster.open_call("n1", &intent, Some(b"pay 1 to bob"))
    else {
        panic!()
    };
    let one: &[u8] = b"pay 1 to bob";
    let cases = [
        (ReasonCode::BindingMismatch, (intent.clone(), Some(Bytes::from(&b"pay 9 to bob"[..])))),
        (ReasonCode::BindingMismatch, (intent.clone(), Some(Bytes::from(&b"pay 1 to bob "[..])))),
        (ReasonCode::PayloadRejected, (intent.clone(), None)),
        (
            ReasonCode::BindingMismatch,
            shown(said(b"pay 9 to bob", 12), Some(b"pay 9 to bob"), Some(one)),
        ),
        (ReasonCode::PolicyDenied, shown(digest, None, None)),
    ];
    for (code, (lying, content)) in cases {
        // Everything that can be made to fit is made to fit: the judgement is this node's own.
        let call = match cluster.open_call("n1", &lying, None) {
            KernelCall::Open { intent, admission, approvals, .. } => {
                KernelCall::Open { intent, content, admission, approvals }
            }
            other => other,
        };
        cluster.refused("n1", call, code);
    }
    // The approvals and the judgement of the honest act do not admit another one, of the same bytes or not.
    for name in ["two", "three"] {
        let content: &[u8] = if name == "two" { one } else { b"pay 9 to bob" };
        let other = cluster.sign_intent(content, name);
        let call = KernelCall::Open {
            intent: Box::new(other),
            content: Some(Bytes::from(content)),
            admission: admission.clone(),
            approvals: approvals.clone(),
        };
        cluster.refused("n1", call, ReasonCode::BindingMismatch);
    }
    cluster.open("n1", &intent, Some(one));
}

#[test]
fn key_for_another_purpose_threshold_or_roster_is_not_made() {
    let mut cluster = Cluster::formed();
    let make = |threshold, roster: &[&str]| Act::KeyGenerate {
        key_id: id("treasury"),
        backend: BACKEND,
        threshold,
        roster: roster.iter().map(|node| id(node)).collect(),
    };
    let acts = [
        make(1, &NODES),
        make(0, &NODES),
        make(4, &NODES),
        make(2, &["n1", "n2", "n9"]),
        make(2, &["n1", "n2", "n2"]),
        make(2, &["n2", "n1", "n3"]),
        make(2, &["n1"]),
    ];
    for act in acts {
        let mut intent = cluster.keygen_intent(BACKEND);
        intent.act = act;
        let call = cluster.open_call("n1", &intent, None);
        cluster.refused("n1", call, ReasonCode::PayloadRejected);
    }
    let with_content = cluster.keygen_intent(BACKEND);
    let call = cluster.open_call("n1", &with_content, Some(b"content"));
    cluster.refused("n1", call, ReasonCode::PayloadRejected);
    cluster.open("n1", &with_content, None);
}

#[test]
fn openings_of_many_intents_at_once_end_at_the_floor_too() {
    // The floor counts openings, so one at a time or all before any of them starts makes no difference.
    let (mut cluster, _) = Cluster::active(BACKEND);
    for name in ["a", "b", "c", "d"] {
        let intent = cluster.sign_intent(b"content", name);
        cluster.open("n1", &intent, Some(b"content"));
    }
    let fifth = cluster.sign_intent(b"content", "e");
    let call = cluster.open_call("n1", &fifth, Some(b"content"));
    cluster.refused("n1", call.clone(), ReasonCode::ResourceLimit);
    // Neither a restart nor an abort gives one back.
    cluster.restart("n1");
    cluster.refused("n1", call, ReasonCode::ResourceLimit);
}
