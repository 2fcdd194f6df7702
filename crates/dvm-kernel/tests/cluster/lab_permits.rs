//! Hostile runtime: permits and frames that are forged, swapped, replayed, of another run, attempt or boot.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use dvm_core::call::{KernelCall, KernelReply, StepCall};
use dvm_core::codec::link_of;
use dvm_core::frame::{self, Envelope, FrameHeader, OutTree, Outgoing};
use dvm_core::intent::{Backend, CanonicalIntent};
use dvm_core::receipt::{CallContext, args_digest};
use dvm_core::{B32, Bytes, NodeId, ReasonCode, Signed};

use crate::harness::{Cluster, corrupt, id, key};
use crate::messenger::{Course, level, refusal, resay};

const BACKEND: Backend = Backend::FrostEd25519;

/// A signature under way between n1 and n2: nothing performed yet.
fn started(cluster: &mut Cluster, content: &[u8], name: &str) -> (CanonicalIntent, Course) {
    let intent = cluster.sign_intent(content, name);
    let course = again(cluster, &intent, content);
    (intent, course)
}

/// One more attempt at an intent.
fn again(cluster: &mut Cluster, intent: &CanonicalIntent, content: &[u8]) -> Course {
    let opens = ["n1", "n2"].map(|node| cluster.open(node, intent, Some(content))).to_vec();
    let (proposal, plan) = cluster.proposal(intent, opens, BACKEND);
    cluster.start(&proposal, plan, &BTreeMap::new())
}

fn perform(cluster: &mut Cluster, course: &mut Course) {
    cluster.advance(course, |_, course, node| Cluster::step_call(course, node));
}

fn n1() -> NodeId {
    id("n1")
}

fn step(course: &Course, calls: &[StepCall], frames: &[Envelope]) -> KernelCall {
    KernelCall::Step {
        execution_id: course.execution_id,
        level: course.level + 1,
        calls: calls.to_vec(),
        frames: frames.to_vec(),
    }
}

// ---- permits -------------------------------------------------------------------------------------

#[test]
fn permit_for_one_message_performs_nothing_for_another() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (_, mut pay) = started(&mut cluster, b"pay alice", "alice");
    let (_, mut steal) = started(&mut cluster, b"pay mallory", "mallory");
    cluster.refused("n1", step(&steal, &pay.calls[&n1()], &[]), ReasonCode::BindingMismatch);
    perform(&mut cluster, &mut pay);
    perform(&mut cluster, &mut steal);
    // The second level makes the share. Permits of the one run, frames of the other, and all of it mixed.
    let (own, other) = (steal.calls[&n1()].clone(), pay.calls[&n1()].clone());
    let (heard, foreign) = (steal.inbox[&n1()].clone(), pay.inbox[&n1()].clone());
    let mut one_swapped = own.clone();
    one_swapped[2].step_permit = other[2].step_permit;
    cluster.refused("n1", step(&steal, &other, &heard), ReasonCode::BindingMismatch);
    cluster.refused("n1", step(&steal, &one_swapped, &heard), ReasonCode::BindingMismatch);
    cluster.refused("n1", step(&steal, &own, &foreign), ReasonCode::SessionMismatch);
    cluster.run_to_held(&mut pay);
    cluster.run_to_held(&mut steal);
    assert_ne!(Cluster::result_ref(&pay), Cluster::result_ref(&steal));
}

#[test]
fn permit_of_another_step_of_the_level_an_extra_one_and_a_missing_one_are_refused() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (_, mut course) = started(&mut cluster, b"content", "one");
    perform(&mut cluster, &mut course);
    let (own, heard) = (course.calls[&n1()].clone(), course.inbox[&n1()].clone());
    assert_eq!(own.len(), 4);
    let mut turned = own.clone();
    turned.reverse();
    let mut swapped = own.clone();
    (swapped[0].step_permit, swapped[2].step_permit) = (own[2].step_permit, own[0].step_permit);
    let mut only_the_share = own.clone();
    only_the_share.remove(0);
    let mut twice = own.clone();
    twice.push(own[2].clone());
    for calls in [turned, swapped, only_the_share, twice, own[2..3].to_vec()] {
        cluster.refused("n1", step(&course, &calls, &heard), ReasonCode::BindingMismatch);
    }
    cluster.run_to_held(&mut course);
}

#[test]
fn permit_of_an_earlier_attempt_or_an_earlier_boot_performs_nothing() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (intent, first) = started(&mut cluster, b"content", "one");
    let mut second = again(&mut cluster, &intent, b"content");
    cluster.refused("n1", step(&first, &first.calls[&n1()], &[]), ReasonCode::NotFound);
    cluster.refused("n1", step(&second, &first.calls[&n1()], &[]), ReasonCode::BindingMismatch);
    perform(&mut cluster, &mut second);
    cluster.restart("n1");
    let (calls, heard) = (second.calls[&n1()].clone(), second.inbox[&n1()].clone());
    cluster.refused("n1", step(&second, &calls, &heard), ReasonCode::NotFound);
    let mut third = again(&mut cluster, &intent, b"content");
    cluster.refused("n1", step(&third, &second.calls[&n1()], &[]), ReasonCode::BindingMismatch);
    cluster.run_to_held(&mut third);
}

#[test]
fn hundred_thousand_uses_of_one_permit_at_once_perform_the_level_once() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (_, mut course) = started(&mut cluster, b"content", "one");
    let call = Cluster::step_call(&course, &n1());
    let (won, lost) = (Mutex::new(Vec::new()), AtomicU32::new(0));
    let before = cluster.kernel("n1").commits();
    let kernel = Mutex::new(cluster.kernel("n1"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25_000 {
                    let reply = kernel.lock().unwrap().handle(call.clone());
                    match reply {
                        KernelReply::Level(level) => won.lock().unwrap().push(*level),
                        other => {
                            assert_eq!(refusal(&other).0, ReasonCode::StepPermitReused);
                            lost.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let mut won = won.into_inner().unwrap();
    assert_eq!((won.len(), lost.into_inner()), (1, 99_999));
    assert_eq!(cluster.kernel("n1").commits(), before + 1);
    // The run is whole: the one success is the one that the peer hears.
    let ours = won.remove(0);
    let theirs = level(cluster.call("n2", Cluster::step_call(&course, &id("n2"))));
    course.level = 1;
    course.calls = [(n1(), ours.next), (id("n2"), theirs.next)].into();
    course.inbox = [(n1(), theirs.frames), (id("n2"), ours.frames)].into();
    cluster.run_to_held(&mut course);
}

#[test]
fn level_that_was_performed_is_not_performed_again_over_other_commitments() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (_, mut course) = started(&mut cluster, b"content", "one");
    perform(&mut cluster, &mut course);
    let (calls, heard) = (course.calls[&n1()].clone(), course.inbox[&n1()].clone());
    let first = level(cluster.call("n1", step(&course, &calls, &heard)));
    assert!(first.receipt.unwrap().body.result_ref.is_some());
    // The same nonces under a second challenge would be two equations for the share.
    let mut other = heard.clone();
    let n3 = cluster.sign_intent(b"another", "another");
    let opens = ["n2", "n3"].map(|node| cluster.open(node, &n3, Some(b"another"))).to_vec();
    let (proposal, plan) = cluster.proposal(&n3, opens, BACKEND);
    let mut elsewhere = cluster.start(&proposal, plan, &BTreeMap::new());
    perform(&mut cluster, &mut elsewhere);
    let commitment = elsewhere.inbox[&id("n3")][0].broadcast.payloads[0].clone();
    resay(&mut other[0], &corrupt("n2"), commitment);
    cluster.refused("n1", step(&course, &calls, &other), ReasonCode::WrongPhase);
    cluster.refused("n1", step(&course, &calls, &heard), ReasonCode::WrongPhase);
}

/// A key generation whose level 5 was performed, and n1's call for that level. A level is followed by others there, so
/// the run is still there to be poisoned.
fn used() -> (Cluster, Course, KernelCall) {
    let mut cluster = Cluster::formed();
    let intent = cluster.keygen_intent(BACKEND);
    let opens = crate::harness::NODES.map(|node| cluster.open(node, &intent, None)).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &BTreeMap::new());
    while course.level < 4 {
        perform(&mut cluster, &mut course);
    }
    let used = Cluster::step_call(&course, &n1());
    perform(&mut cluster, &mut course);
    cluster.refused("n1", used.clone(), ReasonCode::StepPermitReused);
    (cluster, course, used)
}

/// The call with n2's frame as a corrupt n2 would sign it after this change.
fn retold(used: &KernelCall, change: impl Fn(&mut Envelope, &mut FrameHeader)) -> KernelCall {
    let mut call = used.clone();
    let KernelCall::Step { frames, .. } = &mut call else { panic!() };
    let frame = frames.iter_mut().find(|frame| frame.header.body.from == id("n2")).unwrap();
    let mut header = frame.header.body.clone();
    change(frame, &mut header);
    frame.header = Signed::new(header, &corrupt("n2"));
    frame.binding_hash = frame.expected_binding();
    call
}

#[test]
fn consumed_permit_at_another_level_poisons_the_run_and_leaves_no_share() {
    let (mut cluster, course, used) = used();
    // The same words under another number, so another header and the same view.
    let same_words = retold(&used, |_, header| header.vault_seq += 1_000);
    cluster.refused("n1", same_words, ReasonCode::StepPermitReused);
    // A permit that is used up, asked for at a level that it is not for.
    let KernelCall::Step { execution_id, level: at, calls, .. } = used else { panic!() };
    let elsewhere = KernelCall::Step {
        execution_id,
        level: at + 1,
        calls,
        frames: course.inbox[&n1()].clone(),
    };
    assert_eq!(refusal(&cluster.call("n1", elsewhere)).0, ReasonCode::StepPermitReused);
    cluster.refused("n1", Cluster::step_call(&course, &n1()), ReasonCode::NotFound);
    assert!(cluster.phases("n1").is_empty());
}

#[test]
fn consumed_permit_over_other_frames_poisons_the_run_and_leaves_no_share() {
    let (mut cluster, course, used) = used();
    let other_words = retold(&used, |frame, header| {
        let carried = &frame.private;
        let parts = carried.leaf.parts.iter().zip(&carried.payloads);
        let other = parts.map(|(part, bytes)| (part.step, Bytes(vec![9; bytes.len()]))).collect();
        let private = BTreeMap::from([(n1(), other)]);
        let outgoing = Outgoing { broadcast: Vec::new(), private };
        let tree = OutTree::lay_out(outgoing, &[n1()], || B32([5; 32]));
        header.out_root = tree.out_root;
        *frame = tree.envelopes(&Signed::new(header.clone(), &corrupt("n2"))).remove(0);
    });
    assert_eq!(refusal(&cluster.call("n1", other_words)).0, ReasonCode::StepPermitReused);
    cluster.refused("n1", Cluster::step_call(&course, &n1()), ReasonCode::NotFound);
    assert!(cluster.phases("n1").is_empty());
}

#[test]
fn context_of_a_permit_names_what_each_other_participant_said_to_its_step() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (_, mut course) = started(&mut cluster, b"content", "one");
    perform(&mut cluster, &mut course);
    let heard = course.inbox[&n1()][0].clone();
    let roots = course
        .replies
        .iter()
        .map(|(node, reply)| (node.clone(), reply.header.as_ref().unwrap().body.out_root));
    let view = frame::view(&course.execution_id, 1, &roots.collect());
    let said = &heard.broadcast.leaf.parts;
    let second: Vec<dvm_score::Step> = course.plan.at_level(2).cloned().collect();
    perform(&mut cluster, &mut course);
    let results = &course.replies[&n1()].results;
    assert_eq!(results.len(), second.len());
    let (sender, mut told): (NodeId, usize) = (id("n2"), 0);
    for (step, result) in second.iter().zip(results) {
        let heard: Vec<_> = said.iter().filter(|part| step.inputs.contains(&part.step)).collect();
        told += heard.len();
        let args = args_digest(heard.iter().map(|part| (&sender, &part.payload.digest)));
        let context = CallContext {
            execution_id: course.execution_id,
            plan_id: course.plan.id(),
            site: step.site,
            step: step.index,
            level: 2,
            view,
            args,
        };
        assert_eq!(result.context, link_of(&context), "step {}", step.index);
    }
    assert!(told > 0);
}

// ---- frames --------------------------------------------------------------------------------------

#[test]
fn frame_with_any_flipped_byte_is_refused_and_the_run_goes_on() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (_, mut course) = started(&mut cluster, b"content", "one");
    perform(&mut cluster, &mut course);
    let (calls, heard) = (course.calls[&n1()].clone(), course.inbox[&n1()].clone());
    let before = cluster.standing("n1");
    let bytes = dvm_core::codec::encode(&heard[0]);
    let (mut decoded, mut refused) = (0, 0);
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let Ok(frame) = dvm_core::codec::decode::<Envelope>(&flipped) else { continue };
            decoded += 1;
            let reply = cluster.call("n1", step(&course, &calls, &[frame]));
            let code = refusal(&reply).0;
            let known = [ReasonCode::BindingMismatch, ReasonCode::WrongRecipient];
            assert!(known.contains(&code), "byte {at}: {code:?}");
            refused += 1;
        }
    }
    assert_eq!(decoded, refused);
    assert!(refused > 500, "{refused}");
    assert_eq!(cluster.standing("n1"), before);
    cluster.run_to_held(&mut course);
}

#[test]
fn frame_of_an_earlier_attempt_another_boot_or_another_key_is_refused_by_its_code() {
    let mut cluster = Cluster::roomy(BACKEND);
    let (intent, mut first) = started(&mut cluster, b"content", "one");
    perform(&mut cluster, &mut first);
    let mut course = again(&mut cluster, &intent, b"content");
    perform(&mut cluster, &mut course);
    let (calls, heard) = (course.calls[&n1()].clone(), course.inbox[&n1()].clone());
    let signed = |change: &dyn Fn(&mut dvm_core::frame::FrameHeader), by| {
        let mut frame = heard[0].clone();
        let mut header = frame.header.body.clone();
        change(&mut header);
        frame.header = Signed::new(header, by);
        frame.binding_hash = frame.expected_binding();
        frame
    };
    let (n2, n3, stranger) = (corrupt("n2"), corrupt("n3"), key("stranger"));
    let of_the_run = course.execution_id;
    let stale = first.inbox[&n1()][0].clone();
    let renamed = signed(&|h| h.execution_id = first.execution_id, &n2);
    let cases = [
        (stale, ReasonCode::SessionMismatch),
        (renamed, ReasonCode::SessionMismatch),
        (signed(&|h| h.boot.id = B32([1; 32]), &n2), ReasonCode::SplitBrainFenced),
        (signed(&|h| h.boot.generation += 1, &n2), ReasonCode::SplitBrainFenced),
        (signed(&|h| h.level = 2, &n2), ReasonCode::BindingMismatch),
        (signed(&|h| h.prev_view = B32([1; 32]), &n2), ReasonCode::Equivocation),
        (signed(&|h| h.execution_id = of_the_run, &stranger), ReasonCode::BindingMismatch),
        (signed(&|h| h.execution_id = of_the_run, &n3), ReasonCode::BindingMismatch),
        (signed(&|h| h.from = id("n3"), &n3), ReasonCode::BindingMismatch),
        (signed(&|h| h.from = id("n1"), &corrupt("n1")), ReasonCode::BindingMismatch),
        (signed(&|h| h.from = id("n9"), &n2), ReasonCode::BindingMismatch),
    ];
    for (frame, code) in cases {
        cluster.refused("n1", step(&course, &calls, &[frame]), code);
    }
    let mut longer = heard.clone();
    resay(&mut longer[0], &n2, Bytes(vec![1; 70_000]));
    cluster.refused("n1", step(&course, &calls, &longer), ReasonCode::PayloadRejected);
    let three = [heard[0].clone(), heard[0].clone()];
    cluster.refused("n1", step(&course, &calls, &three), ReasonCode::BindingMismatch);
    cluster.run_to_held(&mut course);
}

#[test]
fn frame_that_is_not_above_its_senders_last_one_in_the_run_is_refused() {
    let (mut cluster, course, used) = used();
    let KernelCall::Step { frames, .. } = &used else { panic!() };
    let last = frames.iter().map(|f| &f.header.body).find(|h| h.from == id("n2")).unwrap();
    let next = Cluster::step_call(&course, &n1());
    for seq in [last.vault_seq, last.vault_seq - 1] {
        let fallen = retold(&next, |_, header| header.vault_seq = seq);
        let reply = cluster.call("n1", fallen);
        let said = (ReasonCode::SplitBrainFenced, "the sender's vault_seq fell back");
        assert_eq!(refusal(&reply), said);
    }
    let above = retold(&next, |_, header| header.vault_seq = last.vault_seq + 1);
    assert_eq!(level(cluster.call("n1", above)).receipt, None);
}
