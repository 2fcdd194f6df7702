//! Signing with a liar among the signers: bad words, two stories, other attempts, and what the others do next.

use std::collections::{BTreeMap, BTreeSet};

use dvm_blame::{Suite, verify_signature};
use dvm_core::authority::KeyReady;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::frame::Envelope;
use dvm_core::intent::{Act, Backend};
use dvm_core::run::Proposal;
use dvm_core::{NodeId, ReasonCode};

use crate::harness::{Cluster, id};
use crate::liar::{Heard, LIAR, retold, verdict};
use crate::messenger::{Course, level, refusal};

const BACKEND: Backend = Backend::FrostEd25519;

fn started(cluster: &mut Cluster, name: &str, by: &[&str]) -> Course {
    let intent = cluster.sign_intent(b"content", name);
    let opens = by.iter().map(|node| cluster.open(node, &intent, Some(b"content"))).collect();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    cluster.start(&proposal, plan, &BTreeMap::new())
}

fn step(cluster: &mut Cluster, course: &mut Course) {
    cluster.advance(course, |_, course, node| Cluster::step_call(course, node));
}

fn liars_frame<'a>(course: &'a mut Course, to: &str) -> &'a mut Envelope {
    let frames = course.inbox.get_mut(&id::<NodeId>(to)).unwrap();
    frames.iter_mut().find(|f| f.header.body.from == id(LIAR)).unwrap()
}

/// From a proposal to a verified signature.
fn signs(cluster: &mut Cluster, name: &str, by: [&str; 2], ready: &KeyReady) {
    let (intent, held) = cluster.held_signature(b"content", name, by, BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    for result in cluster.open_all(&mut publication) {
        let signature = &result.body.result;
        let verdict =
            verify_signature(Suite::FrostEd25519, &ready.public_key, b"content", signature);
        assert_eq!(verdict, Ok(()));
    }
}

type Lie<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn bad_nonce_commitment_names_its_sender_and_the_others_sign() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut again = [0xff; 32];
    (again[0], again[31]) = (0xee, 0x7f);
    let lies: [Lie; 6] = [
        &|said| said[..32].copy_from_slice(&identity),
        &|said| said[32..].copy_from_slice(&identity),
        &|said| said[..32].copy_from_slice(&again),
        &|said| said.fill(0xff),
        &|said| said.truncate(63),
        &Vec::clear,
    ];
    for lie in lies {
        let (mut cluster, ready) = Cluster::active(BACKEND);
        let mut course = started(&mut cluster, "one", &["n1", "n2"]);
        step(&mut cluster, &mut course);
        let frame = liars_frame(&mut course, "n1");
        *frame = retold(frame, |_, said| lie(said));
        let reply = level(cluster.call("n1", Cluster::step_call(&course, &id("n1"))));
        let named = Heard::Failed(ReasonCode::PayloadRejected, Some(id(LIAR)));
        assert_eq!((verdict(&reply), reply.frames.len()), (named, 0));
        assert!(cluster.phases("n1").is_empty());
        signs(&mut cluster, "two", ["n1", "n3"], &ready);
    }
}

/// The start of the publication of what a run holds, at one node.
fn publication_start(course: &Course, result_ref: dvm_core::B32, node: &str) -> KernelCall {
    let intent_scope = dvm_core::intent::Scope::Public;
    let act = Act::SignMessage {
        key_id: id("treasury"),
        key_epoch: 1,
        message: dvm_core::Link::of_raw(b"content"),
        len: 7,
    };
    let run = dvm_score::Run::Publish(intent_scope);
    let plan = dvm_score::compile(&act, run, BACKEND, &course.header.participants).unwrap();
    let kind = dvm_core::run::RunKind::Publish { of: course.execution_id, result_ref };
    let header = dvm_core::run::RunHeader {
        kind,
        plan_id: plan.plan_id(),
        hard_deadline_ms: 0,
        ..course.header.clone()
    };
    let proposal = Box::new(Proposal { header, opens: Vec::new() });
    KernelCall::Start { proposal, frames: course.inbox[&id(node)].clone() }
}

#[test]
fn two_nonce_commitments_let_nothing_that_was_made_of_them_out() {
    for lies in [false, true] {
        let (mut cluster, _) = Cluster::active(BACKEND);
        let mut course = started(&mut cluster, "one", &["n1", "n2"]);
        step(&mut cluster, &mut course);
        if lies {
            // n1 hears the liar's two points in the other order: as good a commitment as the one its kernel made.
            let frame = liars_frame(&mut course, "n1");
            *frame = retold(frame, |_, said| said.rotate_left(32));
        }
        step(&mut cluster, &mut course);
        let receipt = course.replies[&id("n1")].receipt.clone().unwrap();
        let start = publication_start(&course, receipt.body.result_ref.unwrap(), "n1");
        if lies {
            // Everybody's last frame carries its view of the first level.
            cluster.refused("n1", start, ReasonCode::Equivocation);
            assert_eq!(cluster.phases("n1"), ["Held"]);
            let execution_id = course.execution_id;
            let abort = KernelCall::Abort { execution_id, code: ReasonCode::Equivocation };
            assert!(matches!(cluster.call("n1", abort), KernelReply::Denied(_)));
            assert!(cluster.phases("n1").is_empty());
        } else {
            assert!(matches!(cluster.call("n1", start), KernelReply::Started { .. }));
        }
    }
}

#[test]
fn other_result_named_in_the_last_level_keeps_the_share_in() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let result_ref = Cluster::result_ref(&held);
    let mut lied = held.clone();
    let frame = liars_frame(&mut lied, "n1");
    *frame = retold(frame, |_, said| said[0] ^= 1);
    let start = publication_start(&lied, result_ref, "n1");
    cluster.refused("n1", start, ReasonCode::BindingMismatch);
    assert_eq!(cluster.phases("n1"), ["Held"]);
    cluster.start_publication(&intent, &held, BACKEND);
}

#[test]
fn frames_of_another_attempt_are_refused_ban_nobody_and_the_attempt_ends_well() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let mut first = started(&mut cluster, "one", &["n1", "n2"]);
    step(&mut cluster, &mut first);
    let mut second = started(&mut cluster, "one", &["n1", "n2"]);
    step(&mut cluster, &mut second);
    let mut stale = second.clone();
    stale.inbox.clone_from(&first.inbox);
    let call = Cluster::step_call(&stale, &id("n1"));
    cluster.refused("n1", call, ReasonCode::SessionMismatch);
    cluster.run_to_held(&mut second);
    started(&mut cluster, "two", &["n1", "n2"]);
}

#[test]
fn two_hundred_and_fifty_six_sessions_at_once_share_no_nonce() {
    let mut cluster = Cluster::roomy(BACKEND);
    let mut courses: Vec<Course> =
        (0..256).map(|n| started(&mut cluster, &format!("s{n}"), &["n1", "n2"])).collect();
    for course in &mut courses {
        step(&mut cluster, course);
    }
    let mut points = BTreeSet::new();
    for course in &courses {
        for reply in course.replies.values() {
            let said = &reply.frames[0].broadcast.payloads[0].0;
            assert!(points.insert(said[..32].to_vec()) && points.insert(said[32..].to_vec()));
        }
    }
    assert_eq!(points.len(), 256 * 2 * 2);
    // A coordinator that waits for all commitments before it goes on gains nothing: each session is bound to its own.
    let mut results = BTreeSet::new();
    for course in courses.iter_mut().rev().step_by(32) {
        step(&mut cluster, course);
        results.insert(Cluster::result_ref(course));
    }
    assert_eq!(results.len(), 8);
}

#[test]
fn wrong_share_bans_its_sender_and_the_intent_is_never_performed_again() {
    let (mut cluster, ready) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    let frame = liars_frame(&mut publication, "n1");
    *frame = retold(frame, |_, share| share[3] ^= 1);
    let call = Cluster::open_result_call(&publication, &id("n1"));
    let reply = level(cluster.call("n1", call.clone()));
    let named = Heard::Failed(ReasonCode::PayloadRejected, Some(id(LIAR)));
    assert_eq!((verdict(&reply), &reply.published), (named, &None));
    // n2 has n1's share and may publish by itself: n1 gives no second one, whoever asks with whom.
    for _ in 0..2 {
        let again = cluster.open_call("n1", &intent, Some(b"content"));
        cluster.refused("n1", again, ReasonCode::WrongPhase);
        assert_eq!(cluster.phases("n1"), ["Opening"]);
        cluster.restart("n1");
    }
    let other = cluster.sign_intent(b"content", "other");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &other, Some(b"content"))).to_vec();
    let (proposal, _) = cluster.proposal(&other, opens, BACKEND);
    let with_liar = KernelCall::Start { proposal: Box::new(proposal), frames: Vec::new() };
    cluster.refused("n1", with_liar, ReasonCode::PartyBanned);
    signs(&mut cluster, "two", ["n1", "n3"], &ready);
}

#[test]
fn frames_of_a_failed_opening_brought_again_do_not_renew_the_ban_that_governors_lifted() {
    let (mut cluster, ready) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    let frame = liars_frame(&mut publication, "n1");
    *frame = retold(frame, |_, share| share[3] ^= 1);
    let call = Cluster::open_result_call(&publication, &id("n1"));
    let named = Heard::Failed(ReasonCode::PayloadRejected, Some(id(LIAR)));
    let first = level(cluster.call("n1", call.clone()));
    assert_eq!((verdict(&first), first.bans.len()), (named, 1));
    // While the ban holds and after it was lifted: the same word, and nothing new.
    for lift in [false, true] {
        if lift {
            let key_id = dvm_core::KeyId::clone(&ready.key_id);
            let kind = dvm_core::governance::EventKind::PairUnbanned { key_id, node: id(LIAR) };
            cluster.govern(kind, None);
        }
        let again = level(cluster.call("n1", call.clone()));
        assert_eq!((verdict(&again), &again.bans), (verdict(&first), &first.bans));
    }
    signs(&mut cluster, "two", ["n1", "n2"], &ready);
}

#[test]
fn two_grants_of_one_kernel_stop_the_publication_before_its_last_level() {
    let mut cluster = Cluster::formed();
    let (intent, held) = cluster.held_key(BACKEND);
    let mut course = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut course);
    let frame = liars_frame(&mut course, "n3");
    // The same grant at another moment: as valid as the one that n1 hears.
    *frame = retold(frame, |_, said| {
        let grant: dvm_core::Signed<dvm_core::receipt::PublicationReceipt> =
            dvm_core::codec::decode(said).unwrap();
        let mut body = grant.body;
        body.time_ms += 1;
        let grant = dvm_core::Signed::new(body, &crate::harness::corrupt(LIAR));
        *said = dvm_core::codec::encode(&grant);
    });
    cluster.advance(&mut course, |_, course, node| Cluster::open_result_call(course, node));
    for node in ["n1", "n3"] {
        let call = Cluster::open_result_call(&course, &id(node));
        cluster.refused(node, call, ReasonCode::Equivocation);
        assert_eq!(cluster.phases(node), ["Opening"]);
    }
}

#[test]
fn rosters_with_a_name_twice_or_none_of_the_cluster_are_no_intent() {
    let mut cluster = Cluster::formed();
    let good = cluster.keygen_intent(BACKEND);
    for roster in [["n1", "n1", "n2"], ["n1", "n2", "n9"], ["n2", "n1", "n3"]] {
        let mut intent = good.clone();
        let Act::KeyGenerate { roster: named, .. } = &mut intent.act else { panic!() };
        *named = roster.map(id).to_vec();
        let call = cluster.open_call("n1", &intent, None);
        let before = cluster.standing("n1");
        let reply = cluster.call("n1", call);
        let code = refusal(&reply).0;
        assert!(matches!(code, ReasonCode::BindingMismatch | ReasonCode::PayloadRejected));
        assert_eq!(cluster.standing("n1"), before);
    }
    cluster.open("n1", &good, None);
}
