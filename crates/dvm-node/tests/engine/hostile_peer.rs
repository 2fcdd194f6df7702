//! A node whose kernel key the test holds lies to engines with real kernels: n1 coordinates, n2 lies, n3 is honest. Who
//! is named, who is left out, and that the honest ones finish.

use dvm_core::ReasonCode;
use dvm_core::frame::{Envelope, FrameHeader, OutTree, Outgoing};
use dvm_core::trace::Terminal;
use dvm_core::{B32, Bytes, NodeId, Signed};
use dvm_node::wire::PeerMessage;
use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

use crate::net::{Net, floor, id};

pub(crate) const LIAR: &str = "n2";

/// The kernel key of a node, drawn again from the seed of its first start.
pub(crate) fn kernel_key(node: &str) -> SigningKey {
    let seed = dvm_core::digest::sha256(format!("{node}/1").as_bytes()).0;
    let mut rng = ChaCha20Rng::from_seed(seed);
    rng.set_stream(1);
    SigningKey::generate(&mut rng)
}

/// The frame with other words in its broadcast and another header, signed as its sender's kernel would.
pub(crate) fn retold(
    frame: &Envelope,
    words: impl Fn(&mut Vec<u8>),
    header: impl Fn(&mut FrameHeader),
) -> Envelope {
    retold_whole(frame, (words, |_: &mut Vec<u8>| ()), header)
}

/// The same, with other words in private, too.
pub(crate) fn retold_whole(
    frame: &Envelope,
    (words, in_private): (impl Fn(&mut Vec<u8>), impl Fn(&mut Vec<u8>)),
    header: impl Fn(&mut FrameHeader),
) -> Envelope {
    let carried = &frame.broadcast;
    let said = carried.leaf.parts.iter().zip(&carried.payloads).map(|(part, bytes)| {
        let mut bytes = bytes.0.clone();
        words(&mut bytes);
        (part.step, Bytes(bytes))
    });
    let private = &frame.private;
    let parts = private.leaf.parts.iter().zip(&private.payloads).map(|(part, bytes)| {
        let mut bytes = bytes.0.clone();
        in_private(&mut bytes);
        (part.step, Bytes(bytes))
    });
    let private = [(frame.to.clone(), parts.collect())].into();
    let outgoing = Outgoing { broadcast: said.collect(), private };
    let tree = OutTree::lay_out(outgoing, std::slice::from_ref(&frame.to), || B32([6; 32]));
    let mut body = frame.header.body.clone();
    body.out_root = tree.out_root;
    header(&mut body);
    let key = kernel_key(body.from.as_str());
    tree.envelopes(&Signed::new(body, &key)).remove(0)
}

#[expect(clippy::ptr_arg, reason = "given where other changes make the bytes longer")]
fn flip(bytes: &mut Vec<u8>) {
    if let Some(byte) = bytes.get_mut(3) {
        *byte ^= 1;
    }
}

/// Whether a message is the liar's frame of this level, of an act or of a publication.
fn is_at(message: &PeerMessage, (act, level): (bool, u16), of_act: bool) -> bool {
    matches!(message, PeerMessage::Frame(f) if act == of_act && f.header.body.level == level)
}

/// What becomes of a signature when the liar says this in one place.
fn with_words(at: (bool, u16), words: fn(&mut Vec<u8>)) -> (Net, Value) {
    lied(move |_, of_act, message| match &message {
        PeerMessage::Frame(frame) if is_at(&message, at, of_act) => {
            vec![PeerMessage::Frame(Box::new(retold(frame, words, |_| ())))]
        }
        _ => vec![message],
    })
}

fn lied(lie: impl FnMut(&NodeId, bool, PeerMessage) -> Vec<PeerMessage> + 'static) -> (Net, Value) {
    let mut net = Net::with_key(floor(0, 0));
    net.lies(LIAR, lie);
    let first = net.sign("n1", "s-1", "demo", b"m");
    net.pass_ms(20_000);
    let view = net.view("n1", &first);
    (net, view)
}

/// The others signed, and nobody else is accused by anybody honest.
fn finished_without(net: &mut Net, view: &Value, named: &[&str], left_out: &[&str]) {
    assert_eq!(view["state"], "Published", "{view:#}");
    assert_eq!(view["signers"], json!(["n1", "n3"]), "{view:#}");
    assert_eq!(view["culprits"], json!(named), "{view:#}");
    assert_eq!(view["left_out"], json!(left_out), "{view:#}");
    assert!(net.verifies("demo", b"m", view));
    let other = net.view("n3", view);
    assert_eq!((&other["state"], &other["culprits"]), (&json!("Published"), &json!([])));
    let report = net.report("n1", view);
    assert_eq!(report.state.name(), "Published");
}

#[test]
fn signer_with_bad_words_is_named_and_the_others_finish() {
    let garbage: fn(&mut Vec<u8>) = |bytes| bytes.fill(0xff);
    for (at, words) in [
        ((true, 1), garbage),
        ((true, 1), Vec::clear as fn(&mut Vec<u8>)),
        ((true, 2), flip as fn(&mut Vec<u8>)),
    ] {
        let (mut net, view) = with_words(at, words);
        finished_without(&mut net, &view, &[LIAR], &[]);
    }
}

#[test]
fn signer_that_speaks_of_another_header_is_left_out_of_acts_and_publications() {
    for at in [(true, 1), (false, 1)] {
        let (mut net, view) = lied(move |_, of_act, message| match &message {
            PeerMessage::Frame(frame) if is_at(&message, at, of_act) => {
                let odd = retold(frame, |_| (), |header| header.prev_view = B32([5; 32]));
                vec![PeerMessage::Frame(Box::new(odd))]
            }
            _ => vec![message],
        });
        finished_without(&mut net, &view, &[], &[LIAR]);
    }
}

#[test]
fn signer_of_a_wrong_share_is_named_and_its_victim_signs_that_intent_no_more() {
    for words in [flip as fn(&mut Vec<u8>), |bytes| bytes.fill(0xff)] {
        let (mut net, view) = with_words((false, 2), words);
        assert_eq!(view["state"], "Poisoned", "{view:#}");
        let (codes, culprits) = (json!(["PAYLOAD_REJECTED"]), json!([LIAR]));
        assert_eq!((&view["codes"], &view["culprits"]), (&codes, &culprits));
        assert!(view["signature_hex"].is_null());
        // The same request is the same operation; another one goes without the liar.
        let again = net.sign("n1", "s-1", "demo", b"m");
        assert_eq!(again["state"], "Poisoned");
        let next = net.sign("n1", "s-2", "demo", b"m");
        net.pass_ms(20_000);
        finished_without(&mut net, &next, &[], &[LIAR]);
    }
}

#[test]
fn culprit_is_not_asked_again_and_a_signed_trace_shows_why() {
    let (mut net, view) = with_words((false, 2), flip);
    let report = net.report("n1", &view);
    let blamed =
        Terminal::Blamed { code: ReasonCode::PayloadRejected, culprit: id::<NodeId>(LIAR) };
    let own = report.runs.iter().filter(|run| run.peer == id::<NodeId>("n1"));
    let ends: Vec<_> = own.filter(|run| run.terminal == Some(blamed.clone())).collect();
    assert_eq!(ends.len(), 1);
    // Its kernel remembers for the key, and its engine whom it banned: the liar is not asked.
    net.lies(LIAR, |_, _, message| vec![message]);
    let next = net.sign("n1", "s-2", "demo", b"m");
    net.pass_ms(20_000);
    let next = net.view("n1", &next);
    assert_eq!((&next["state"], &next["signers"]), (&json!("Published"), &json!(["n1", "n3"])));
    assert_eq!((&next["culprits"], &next["left_out"]), (&json!([]), &json!([LIAR])));
    assert_eq!(next["attempt"], 1);
    // A run with the liar is refused there, whoever asks for it.
    let others = net.sign(LIAR, "s-3", "demo", b"m");
    assert_eq!((&others["state"], &others["signers"]), (&json!("Published"), &json!([LIAR, "n3"])));
    assert!(
        net.refusals
            .iter()
            .any(|(at, _, code)| { *at == id::<NodeId>("n1") && *code == ReasonCode::PartyBanned })
    );
}

#[test]
fn signer_that_confirms_another_result_is_named_and_publication_stands() {
    let (mut net, view) = with_words((false, 3), flip);
    assert_eq!((&view["state"], &view["culprits"]), (&json!("Published"), &json!([LIAR])));
    assert_eq!(view["signers"], json!(["n1", "n2"]));
    assert!(net.verifies("demo", b"m", &view));
}

/// The liar's frame of this place is followed by a second one, as well signed, for the same slot.
fn twice(at: (bool, u16)) -> (Net, Value) {
    lied(move |_, of_act, message| match &message {
        PeerMessage::Frame(frame) if is_at(&message, at, of_act) => {
            let other = retold(frame, |_| (), |_| ());
            vec![message, PeerMessage::Frame(Box::new(other))]
        }
        _ => vec![message],
    })
}

/// The bundle alone proves it: the trace has both signed headers, and replays to this end.
fn proves_equivocation(net: &mut Net, view: &Value) {
    let report = net.report("n1", view);
    let blamed = Terminal::Blamed { code: ReasonCode::Equivocation, culprit: id::<NodeId>(LIAR) };
    assert!(report.runs.iter().any(|run| run.terminal == Some(blamed.clone())));
}

#[test]
fn two_stories_for_one_slot_name_their_teller_with_proof() {
    let (mut net, view) = twice((true, 1));
    finished_without(&mut net, &view, &[LIAR], &[]);
    proves_equivocation(&mut net, &view);
}

#[test]
fn two_grants_of_one_kernel_end_the_intent_with_proof_and_the_key_signs_on() {
    let (mut net, view) = twice((false, 1));
    // This node's kernel has opened by then, so that the signature may exist: nobody signs the same intent again.
    assert_eq!(view["state"], "Poisoned", "{view:#}");
    assert_eq!((&view["codes"], &view["culprits"]), (&json!(["EQUIVOCATION"]), &json!([LIAR])));
    assert!(view["signature_hex"].is_null());
    proves_equivocation(&mut net, &view);
    net.lies(LIAR, |_, _, message| vec![message]);
    let next = net.sign("n1", "s-2", "demo", b"m");
    assert_eq!((&next["state"], &next["culprits"]), (&json!("Published"), &json!([])));
}

#[test]
fn two_stories_of_an_opened_share_cannot_keep_the_result_from_its_owner() {
    let (mut net, view) = lied(|_, of_act, message| match &message {
        PeerMessage::Frame(frame) if is_at(&message, (false, 2), of_act) => {
            let other = retold(frame, flip, |_| ());
            vec![message, PeerMessage::Frame(Box::new(other))]
        }
        _ => vec![message],
    });
    assert_eq!((&view["state"], &view["culprits"]), (&json!("Published"), &json!([LIAR])));
    assert!(net.verifies("demo", b"m", &view));
}

#[test]
fn silent_signer_is_left_out_by_name_and_accused_of_nothing() {
    for silent in [(true, 1), (true, 2)] {
        let (mut net, view) =
            lied(
                move |_, of_act, message| {
                    if is_at(&message, silent, of_act) { Vec::new() } else { vec![message] }
                },
            );
        finished_without(&mut net, &view, &[], &[LIAR]);
    }
    // From the gate on a share may be out: it waits, and says for whom.
    for silent in [(false, 1), (false, 2)] {
        let (_, view) =
            lied(
                move |_, of_act, message| {
                    if is_at(&message, silent, of_act) { Vec::new() } else { vec![message] }
                },
            );
        assert_eq!(view["missing"], json!([LIAR]), "{view:#}");
        assert_eq!(view["codes"], json!(["REMOTE_TIMEOUT"]), "{view:#}");
        assert_eq!(view["culprits"], json!([]));
    }
    // And whoever does not confirm keeps nothing back.
    let (mut net, view) =
        lied(
            |_, of_act, message| {
                if is_at(&message, (false, 3), of_act) { Vec::new() } else { vec![message] }
            },
        );
    assert_eq!(view["state"], "Published", "{view:#}");
    assert!(net.verifies("demo", b"m", &view));
}

#[test]
fn odd_view_names_its_sender_if_it_answers_and_leaves_it_out_if_it_does_not() {
    for answers in [true, false] {
        // Both frames arrive at once, so that the doubt comes before the victim's own frame is out.
        let mut held = Vec::new();
        let (mut net, view) = lied(move |_, of_act, message| match &message {
            PeerMessage::Frame(_) if is_at(&message, (true, 1), of_act) => {
                held = vec![message];
                Vec::new()
            }
            PeerMessage::Frame(frame) if is_at(&message, (true, 2), of_act) => {
                let odd = retold(frame, |_| (), |header| header.prev_view = B32([9; 32]));
                let mut both = held.clone();
                both.push(PeerMessage::Frame(Box::new(odd)));
                both
            }
            // Nor does it stop the run, which would end it for the others.
            PeerMessage::Headers { headers: Some(_), .. } | PeerMessage::Stopped { .. }
                if !answers =>
            {
                Vec::new()
            }
            PeerMessage::Headers { execution_id, level, headers: Some(headers) } => {
                let odd = |header: &Signed<FrameHeader>| {
                    let mut header = header.clone();
                    if header.body.from == id::<NodeId>(LIAR) && header.body.level == 2 {
                        header.body.prev_view = B32([9; 32]);
                        header = Signed::new(header.body, &kernel_key(LIAR));
                    }
                    header
                };
                let headers = Some(headers.iter().map(odd).collect());
                let (execution_id, level) = (*execution_id, *level);
                vec![PeerMessage::Headers { execution_id, level, headers }]
            }
            _ => vec![message],
        });
        let (named, left_out): (&[&str], &[&str]) =
            if answers { (&[LIAR], &[]) } else { (&[], &[LIAR]) };
        finished_without(&mut net, &view, named, left_out);
    }
}

#[test]
fn headers_told_before_a_publication_has_started_do_not_keep_it_from_starting() {
    for told in [0, 1, 2] {
        let mut held = Vec::new();
        let (mut net, view) = lied(move |_, of_act, message| match &message {
            PeerMessage::Frame(_) if is_at(&message, (true, 2), of_act) => {
                held.push(message);
                Vec::new()
            }
            // The victim ends the act, and hears this while it asks its kernel to start the publication.
            PeerMessage::Frame(frame) if is_at(&message, (false, 1), of_act) => {
                let (execution_id, level) = (frame.header.body.execution_id, 1);
                let headers = Some(vec![frame.header.clone(); told]);
                let mut said = std::mem::take(&mut held);
                said.push(PeerMessage::Headers { execution_id, level, headers });
                said.push(message);
                said
            }
            _ => vec![message],
        });
        assert_eq!(view["state"], "Published", "{told} headers: {view:#}");
        assert_eq!((&view["attempt"], &view["culprits"]), (&json!(1), &json!([])));
        assert!(net.verifies("demo", b"m", &view));
    }
}

#[test]
fn party_that_stops_every_run_is_named_and_routed_around() {
    let (mut net, view) = lied(|_, of_act, message| match &message {
        PeerMessage::Frame(frame) if of_act => {
            let (execution_id, code) = (frame.header.body.execution_id, ReasonCode::Internal);
            vec![PeerMessage::Stopped { execution_id, code }]
        }
        _ => vec![message],
    });
    finished_without(&mut net, &view, &[], &[LIAR]);
}

#[test]
fn duplicates_and_frames_of_levels_to_come_and_of_other_attempts_change_nothing() {
    let events = |net: &mut Net, view: &Value| net.events("n1", view);
    let (mut net, honest) = lied(|_, _, message| vec![message]);
    let expected = events(&mut net, &honest);
    let mut old: Vec<Envelope> = Vec::new();
    let (mut net, view) = lied(move |_, of_act, message| match &message {
        PeerMessage::Frame(frame) => {
            let level = frame.header.body.level;
            let future = |by: u16| {
                let ahead = retold(frame, |_| (), move |h| h.level = level.saturating_add(by));
                PeerMessage::Frame(Box::new(ahead))
            };
            let other = retold(frame, |_| (), |header| header.execution_id.0[0] ^= 1);
            let mut told = vec![message.clone(); 1_000];
            told.extend([
                future(2),
                future(9),
                future(u16::MAX),
                PeerMessage::Frame(Box::new(other)),
            ]);
            told.extend(old.iter().map(|frame| PeerMessage::Frame(Box::new(frame.clone()))));
            if of_act {
                old.push((**frame).clone());
            }
            told
        }
        _ => vec![message],
    });
    assert_eq!((&view["state"], &view["signers"]), (&json!("Published"), &json!(["n1", "n2"])));
    assert_eq!((&view["culprits"], &view["left_out"]), (&json!([]), &json!([])));
    assert_eq!(events(&mut net, &view), expected);
    assert!(net.refusals.iter().any(|(_, _, code)| *code == ReasonCode::SessionMismatch));
    // Frames of the first signature, brought into the second.
    let again = net.sign("n1", "s-2", "demo", b"m");
    assert_eq!((&again["state"], &again["culprits"]), (&json!("Published"), &json!([])));
}

#[test]
fn part_of_a_peer_that_no_bundle_can_hold_is_left_out_and_the_peer_shows_as_missing() {
    for (entries, missing) in [(None, 0), (Some(16_385), 1)] {
        let (mut net, view) = lied(move |_, _, message| match message {
            PeerMessage::Evidence { intent, part: Some(mut part) } => {
                let first = part.chain.first().cloned();
                part.chain.extend(entries.zip(first).map_or(vec![], |(n, e)| vec![e; n]));
                vec![PeerMessage::Evidence { intent, part: Some(part) }]
            }
            _ => vec![message],
        });
        let report = net.report("n1", &view);
        assert_eq!(report.missing, vec![id::<NodeId>(LIAR); missing]);
        assert_eq!(report.complete, missing == 0);
    }
}
