//! What arrives from the network and is not what it claims: floods, forgeries, altered envelopes, lying coordinators.

use dvm_core::codec;
use dvm_core::frame::Envelope;
use dvm_core::run::RunKind;
use dvm_core::{NodeId, ReasonCode, Signed};
use dvm_node::engine::{ApiReply, SignedEnvelope};
use dvm_node::wire::{PeerMessage, Wire};
use serde_json::json;

use crate::hostile_peer::{LIAR, kernel_key, retold};
use crate::net::{Net, floor, id};

/// A frame of n2's kernel to n1, taken from a signature that went well.
fn frame(net: &mut Net) -> Envelope {
    let taken = std::rc::Rc::new(std::cell::RefCell::new(None));
    let into = taken.clone();
    net.lies(LIAR, move |to, _, message| {
        if let (PeerMessage::Frame(frame), "n1") = (&message, to.as_str()) {
            into.borrow_mut().get_or_insert((**frame).clone());
        }
        vec![message]
    });
    let view = net.sign("n1", "s-0", "demo", b"m");
    assert_eq!(view["state"], "Published");
    net.lies(LIAR, |_, _, message| vec![message]);
    taken.borrow_mut().take().unwrap()
}

#[test]
fn envelope_with_any_byte_flipped_does_not_pass_the_first_two_rungs() {
    let mut net = Net::with_key(floor(0, 0));
    let genuine = frame(&mut net);
    let bytes = codec::encode(&genuine);
    let me: NodeId = id("n1");
    let passes = |bytes: &[u8]| {
        SignedEnvelope::read(bytes, net.manifest()).and_then(|e| e.admit(&me)).map(|_| ())
    };
    assert_eq!(passes(&bytes), Ok(()));
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= bit;
            assert_eq!(passes(&flipped), Err(ReasonCode::BindingMismatch), "byte {at}");
        }
    }
    // A longer way to write the same, and anything after it.
    let trailing = [bytes.as_slice(), &[0]].concat();
    assert_eq!(passes(&trailing), Err(ReasonCode::BindingMismatch));
}

#[test]
fn envelope_of_one_signer_in_anothers_name_or_to_another_node_is_refused() {
    let mut net = Net::with_key(floor(0, 0));
    let genuine = frame(&mut net);
    let mut claimed = genuine.clone();
    let mut header = claimed.header.body.clone();
    header.from = id("n3");
    claimed.header = Signed::new(header, &kernel_key(LIAR));
    claimed.binding_hash = claimed.expected_binding();
    let mut redirected = genuine.clone();
    redirected.to = id("n3");
    redirected.binding_hash = redirected.expected_binding();
    let before = net.disks("n1");
    for frame in [claimed, redirected] {
        net.refusals.clear();
        net.inject(LIAR, "n1", PeerMessage::Frame(Box::new(frame)));
        let refused = (id("n1"), "frame refused", ReasonCode::BindingMismatch);
        assert_eq!(net.refusals, [refused]);
    }
    // Whole and well signed, but brought to a node that it is not for.
    net.refusals.clear();
    net.inject(LIAR, "n3", PeerMessage::Frame(Box::new(genuine)));
    assert_eq!(net.refusals, [(id("n3"), "frame refused", ReasonCode::WrongRecipient)]);
    assert!(net.disks("n1") == before);
}

#[test]
fn hundred_thousand_forged_frames_touch_nothing() {
    let mut net = Net::with_key(floor(0, 0));
    let genuine = frame(&mut net);
    let before = ["n1", "n3"].map(|node| net.disks(node));
    net.refusals.clear();
    for n in 0..100_000_u32 {
        let mut forged = genuine.clone();
        forged.header.body.execution_id.0[..4].copy_from_slice(&n.to_be_bytes());
        if n % 100 == 0 {
            // Bound as it should be, so that only the signature is wrong.
            forged.binding_hash = forged.expected_binding();
        }
        net.inject(LIAR, "n1", PeerMessage::Frame(Box::new(forged)));
    }
    let refused = (id("n1"), "frame refused", ReasonCode::BindingMismatch);
    assert_eq!(net.refusals.len(), 100_000);
    assert!(net.refusals.iter().all(|refusal| *refusal == refused));
    assert!(["n1", "n3"].map(|node| net.disks(node)) == before);
    let view = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!((&view["state"], &view["culprits"]), (&json!("Published"), &json!([])));
}

#[test]
fn one_peers_flood_of_early_frames_does_not_crowd_out_anothers() {
    let mut net = Net::with_key(floor(0, 0));
    let genuine = frame(&mut net);
    // n3's kernel is slow, so that n1's first frame reaches it before its own run has started.
    net.slow = Some(id("n3"));
    net.take_down(LIAR);
    for n in 0..300_u32 {
        let mut flood = genuine.clone();
        flood.to = id("n3");
        flood.private.leaf.to = Some(id("n3"));
        let flood = retold(
            &flood,
            |_| (),
            |header| {
                header.execution_id.0[..4].copy_from_slice(&n.to_be_bytes());
            },
        );
        net.inject(LIAR, "n3", PeerMessage::Frame(Box::new(flood)));
    }
    let before = net.now_ms();
    let view = net.sign("n1", "s-1", "demo", b"m");
    assert_eq!((&view["state"], &view["signers"]), (&json!("Published"), &json!(["n1", "n3"])));
    assert_eq!(net.now_ms(), before, "nothing had to be sent again");
}

#[test]
fn bombs_are_no_message() {
    let mut claims_much = vec![0x9b];
    claims_much.extend([0xff; 8]);
    for bomb in [
        vec![0x81; 100_000],
        vec![0xa1; 100_000],
        vec![0xd8; 100_000],
        claims_much,
        vec![0x60; (6 << 20) + 2_048],
    ] {
        let since = std::time::Instant::now();
        assert!(codec::decode::<Wire>(&bomb).is_err());
        assert!(since.elapsed().as_millis() < 500);
    }
}

#[test]
fn coordinator_that_alters_the_message_or_the_proposal_gets_nothing_of_honest_kernels() {
    type Change = fn(&mut PeerMessage);
    let changes: [(Change, ReasonCode); 4] = [
        (
            |message| {
                if let PeerMessage::Consider(ask) = message {
                    ask.content = Some(b"another".as_slice().into());
                }
            },
            ReasonCode::BindingMismatch,
        ),
        (
            |message| {
                if let PeerMessage::Propose(proposal) = message {
                    proposal.header.plan_id.0[0] ^= 1;
                }
            },
            ReasonCode::BindingMismatch,
        ),
        (
            |message| {
                if let PeerMessage::Propose(proposal) = message {
                    proposal.header.participants = vec![id("n1"), id("n3")];
                }
            },
            ReasonCode::BindingMismatch,
        ),
        (
            |message| {
                if let PeerMessage::Propose(proposal) = message
                    && let RunKind::Act { opens, .. } = &mut proposal.header.kind
                {
                    opens.truncate(1);
                    proposal.opens.truncate(1);
                }
            },
            ReasonCode::BindingMismatch,
        ),
    ];
    for (n, (change, code)) in changes.into_iter().enumerate() {
        let mut net = Net::with_key(floor(0, 0));
        net.refusals.clear();
        net.lies(LIAR, move |_, _, mut message| {
            change(&mut message);
            vec![message]
        });
        let view = net.sign(LIAR, "s-1", "demo", b"m");
        assert_ne!(view["state"], "Published", "{n}: {view:#}");
        let said = view["codes"].as_array().unwrap().iter().any(|c| *c == code.name());
        let logged = net.refusals.iter().any(|(_, _, found)| *found == code);
        assert!(said || logged, "{n}: {view:#} {:?}", net.refusals);
        for honest in ["n1", "n3"] {
            let seen = net.view_or_none(honest, &view);
            assert!(!seen.is_some_and(|v| v["state"] == "Executed" || v["state"] == "Published"));
        }
        net.lies(LIAR, |_, _, message| vec![message]);
        let view = net.sign("n1", "s-2", "demo", b"m");
        assert_eq!((&view["state"], &view["culprits"]), (&json!("Published"), &json!([])));
    }
}

#[test]
fn hundred_requests_with_one_key_at_once_make_one_signature() {
    let mut net = Net::with_key(floor(0, 0));
    let contents: Vec<&[u8]> =
        (0..100).map(|n| if n % 10 == 9 { b"another".as_slice() } else { b"m" }).collect();
    let before = net.executions("n1");
    let replies = net.sign_at_once("n1", "s-1", &contents);
    let mut signatures = std::collections::BTreeSet::new();
    for (n, reply) in replies.into_iter().enumerate() {
        match reply {
            ApiReply::Json(view) => {
                assert_ne!(n % 10, 9);
                assert_eq!(view["state"], "Published", "{view:#}");
                signatures.insert(view["signature_hex"].to_string());
            }
            ApiReply::Error { code, .. } => {
                assert_eq!((n % 10, code), (9, ReasonCode::ReplayOrConflict));
            }
            ApiReply::Car(_) => panic!("a bundle"),
        }
    }
    assert_eq!((signatures.len(), net.executions("n1") - before), (1, 1));
}
