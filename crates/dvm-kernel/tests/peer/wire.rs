//! What travels: frames altered, misattributed, of another version; calls that are bombs.

use std::collections::BTreeMap;

use dvm_core::codec::{self, Artifact};
use dvm_core::frame::{Envelope, FrameHeader};
use dvm_core::intent::Backend;
use dvm_core::sign::sign_link;
use dvm_core::{ReasonCode, Signed};

use crate::harness::{Cluster, corrupt, id};
use crate::liar::LIAR;
use crate::messenger::{Course, refusal};

const BACKEND: Backend = Backend::FrostEd25519;

/// n1 has a level to perform, and the liar's frame for it at hand.
fn waiting() -> (Cluster, Course) {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &BTreeMap::new());
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    (cluster, course)
}

fn with(course: &Course, frame: Envelope) -> dvm_core::call::KernelCall {
    let mut course = course.clone();
    course.inbox.insert(id("n1"), vec![frame]);
    Cluster::step_call(&course, &id("n1"))
}

fn frame_of(course: &Course) -> Envelope {
    course.inbox[&id("n1")][0].clone()
}

#[test]
fn frame_with_any_byte_flipped_is_refused_and_moves_nothing() {
    let (mut cluster, mut course) = waiting();
    let bytes = codec::encode(&frame_of(&course));
    let mut decoded = 0;
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        // What is not canonical is no frame at all.
        let Ok(frame) = codec::decode::<Envelope>(&flipped) else { continue };
        decoded += 1;
        let code = if frame.to == id("n1") {
            ReasonCode::BindingMismatch
        } else {
            ReasonCode::WrongRecipient
        };
        cluster.refused("n1", with(&course, frame), code);
    }
    assert!(decoded > bytes.len() / 2);
    cluster.run_to_held(&mut course);
}

#[test]
fn frame_that_names_another_sender_than_its_signer_is_refused() {
    let (mut cluster, mut course) = waiting();
    for claimed in ["n1", "n3"] {
        let mut frame = frame_of(&course);
        let header = FrameHeader { from: id(claimed), ..frame.header.body };
        frame.header = Signed::new(header, &corrupt(LIAR));
        frame.binding_hash = frame.expected_binding();
        cluster.refused("n1", with(&course, frame), ReasonCode::BindingMismatch);
    }
    // Another holder's kernel, over a frame in the participant's name.
    let mut frame = frame_of(&course);
    frame.header = Signed::new(frame.header.body, &corrupt("n3"));
    frame.binding_hash = frame.expected_binding();
    cluster.refused("n1", with(&course, frame), ReasonCode::BindingMismatch);
    // A holder's kernel, over a frame of its own, where it takes no part.
    let mut frame = frame_of(&course);
    let header = FrameHeader { from: id("n3"), ..frame.header.body };
    frame.header = Signed::new(header, &corrupt("n3"));
    frame.binding_hash = frame.expected_binding();
    cluster.refused("n1", with(&course, frame), ReasonCode::BindingMismatch);
    cluster.run_to_held(&mut course);
}

#[test]
fn frame_signed_under_another_version_of_the_protocol_is_refused() {
    let (mut cluster, mut course) = waiting();
    for (schema, refused) in [("dvm/frame-header/0", true), (FrameHeader::SCHEMA, false)] {
        let mut frame = frame_of(&course);
        frame.header.cose = sign_link(&corrupt(LIAR), schema, &frame.header.link());
        frame.binding_hash = frame.expected_binding();
        if refused {
            cluster.refused("n1", with(&course, frame), ReasonCode::BindingMismatch);
        } else {
            course.inbox.insert(id("n1"), vec![frame]);
        }
    }
    cluster.run_to_held(&mut course);
}

#[test]
fn frame_of_another_level_or_kernel_start_is_refused() {
    let (mut cluster, mut course) = waiting();
    type Change = fn(&mut FrameHeader);
    let changes: [(Change, ReasonCode); 5] = [
        (|h| h.level = 2, ReasonCode::BindingMismatch),
        (|h| h.level = u16::MAX, ReasonCode::BindingMismatch),
        (|h| h.boot.generation += 1, ReasonCode::SplitBrainFenced),
        (|h| h.boot.id.0[0] ^= 1, ReasonCode::SplitBrainFenced),
        (|h| h.execution_id.0[0] ^= 1, ReasonCode::SessionMismatch),
    ];
    for (change, code) in changes {
        let mut frame = frame_of(&course);
        let mut header = frame.header.body.clone();
        change(&mut header);
        frame.header = Signed::new(header, &corrupt(LIAR));
        frame.binding_hash = frame.expected_binding();
        cluster.refused("n1", with(&course, frame), code);
    }
    cluster.run_to_held(&mut course);
}

#[test]
fn bombs_are_no_call_and_cost_nothing() {
    let (mut cluster, course) = waiting();
    let call = with(&course, frame_of(&course));
    let good = codec::encode(&call);
    let nested = |byte: u8, depth: usize| vec![byte; depth];
    let mut claims_much = vec![0x9b];
    claims_much.extend([0xff; 8]);
    let mut long_text = vec![0x7b];
    long_text.extend(u64::MAX.to_be_bytes());
    let bombs = [
        nested(0x81, 100_000),
        nested(0xa1, 100_000),
        nested(0xd8, 100_000),
        claims_much,
        long_text,
        vec![0x60; (6 << 20) + 1],
        [good.as_slice(), &[0]].concat(),
        good[1..].to_vec(),
    ];
    let before = cluster.standing("n1");
    for bomb in bombs {
        let since = std::time::Instant::now();
        let reply = dvm_kernel::serve::answer(cluster.kernel("n1"), &bomb);
        assert_eq!(refusal(&reply).0, ReasonCode::PayloadRejected);
        assert!(since.elapsed().as_millis() < 500);
    }
    assert_eq!(cluster.standing("n1"), before);
}
