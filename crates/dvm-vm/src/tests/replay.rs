//! Replay: what was recorded, and nothing else, leads to the signed root.

use dvm_core::trace::{CallResult, FrameFact, Outcome, TickKind, TraceEvent, TraceRoot};
use dvm_core::{B32, Link, ReasonCode};
use proptest::prelude::*;

use crate::testkit::{Peer, honest, node};
use crate::{ReplayError, State, replay, resume, step, trace_root};

fn recorded(seed: u64) -> (Peer, TraceRoot) {
    let mut run = honest(3, seed);
    let peer = run.peers.remove(0);
    let root = trace_root(&peer.ctx, &peer.state, &peer.events);
    (peer, root)
}

/// Neither an error nor another root would be a trace that passes as the recorded one.
fn passes(peer: &Peer, events: &[TraceEvent], root: &TraceRoot) -> bool {
    replay(&peer.ctx, events).as_ref() == Ok(root)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_trace_replays_and_no_omission_duplication_or_swap_does(seed: u64) {
        let (peer, root) = recorded(seed);
        prop_assert!(passes(&peer, &peer.events, &root));
        for at in 0..peer.events.len() {
            let mut shorter = peer.events.clone();
            shorter.remove(at);
            prop_assert!(!passes(&peer, &shorter, &root), "without {at}");
            let mut longer = peer.events.clone();
            longer.insert(at, peer.events[at].clone());
            let error = replay(&peer.ctx, &longer).unwrap_err();
            prop_assert_eq!(error.index, at + 1);
            for with in at + 1..peer.events.len() {
                let mut swapped = peer.events.clone();
                swapped.swap(at, with);
                prop_assert!(!passes(&peer, &swapped, &root), "{at} with {with}");
            }
        }
    }
}

fn in_frame(event: &mut TraceEvent, change: impl FnOnce(&mut FrameFact)) -> bool {
    let TraceEvent::Frame(fact) = event else { return false };
    change(fact);
    true
}

fn in_result(event: &mut TraceEvent, change: impl FnOnce(&mut CallResult)) -> bool {
    let TraceEvent::Result(result) = event else { return false };
    change(result);
    true
}

#[test]
fn every_change_to_a_frame_or_a_result_is_detected() {
    let (peer, root) = recorded(9);
    type Change = fn(&mut TraceEvent) -> bool;
    let changes: [Change; 9] = [
        |e| in_frame(e, |f| f.header.body.out_root = B32([1; 32])),
        |e| in_frame(e, |f| f.header.cose.0[9] ^= 1),
        |e| in_frame(e, |f| f.broadcast.salt = B32([7; 32])),
        |e| in_frame(e, |f| f.broadcast.parts = vec![]),
        |e| in_frame(e, |f| f.broadcast.to = Some(node(0))),
        |e| in_result(e, |r| r.context = Link::of_artifact(b"x")),
        |e| in_result(e, |r| r.step += 1),
        |e| {
            in_result(e, |r| r.outcome = Outcome::Fault { code: ReasonCode::Internal, blame: None })
        },
        |e| {
            in_result(e, |r| {
                if let Outcome::Ok { handle, .. } = &mut r.outcome {
                    *handle = B32([0; 32]);
                }
            })
        },
    ];
    for (which, change) in changes.iter().enumerate() {
        let mut applied = 0;
        for at in 0..peer.events.len() {
            let mut events = peer.events.clone();
            if change(&mut events[at]) && events != peer.events {
                applied += 1;
                assert!(!passes(&peer, &events, &root), "change {which} at {at}");
            }
        }
        assert!(applied > 0, "change {which} never applied");
    }
}

#[test]
fn replay_names_the_first_event_that_does_not_follow() {
    let (peer, _) = recorded(2);
    let first = peer.events.iter().position(|e| matches!(e, TraceEvent::Result(_))).unwrap();
    let mut events = peer.events.clone();
    if let TraceEvent::Result(result) = &mut events[first] {
        result.context = Link::of_artifact(b"another call");
    }
    let error = ReplayError { index: first, code: ReasonCode::BindingMismatch };
    assert_eq!(replay(&peer.ctx, &events), Err(error));
}

#[test]
fn an_unfinished_trace_replays_to_a_root_without_an_end() {
    let (peer, root) = recorded(4);
    let half = &peer.events[..peer.events.len() / 2];
    let partial = replay(&peer.ctx, half).unwrap();
    assert_eq!(partial.terminal, None);
    assert_ne!(partial.facts_root, root.facts_root);
    assert_eq!(replay(&peer.ctx, &[]).unwrap().facts, 0);
}

#[test]
fn a_node_resumes_what_it_took_before_to_the_same_state_and_asks_only_for_its_signatures_no_more() {
    let (peer, root) = recorded(5);
    let mut state = State::new(&peer.ctx);
    for event in &peer.events {
        assert!(resume(&peer.ctx, &mut state, event).unwrap().recorded);
    }
    assert_eq!(state, peer.state);
    assert_eq!(trace_root(&peer.ctx, &state, &peer.events), root);

    let frame = peer.events.iter().position(|e| matches!(e, TraceEvent::Frame(_))).unwrap();
    let mut state = State::new(&peer.ctx);
    for event in &peer.events[..frame] {
        resume(&peer.ctx, &mut state, event).unwrap();
    }
    // With a signature that is none: whoever has not verified it before refuses it, whoever has does not look.
    let TraceEvent::Frame(mut fact) = peer.events[frame].clone() else { unreachable!() };
    *fact.header.cose.0.last_mut().unwrap() ^= 1;
    let unsigned = TraceEvent::Frame(fact.clone());
    let code = step(&peer.ctx, &mut state.clone(), &unsigned).unwrap_err().code();
    assert_eq!(code, ReasonCode::BindingMismatch);
    assert!(resume(&peer.ctx, &mut state.clone(), &unsigned).unwrap().recorded);
    // Everything else is judged as ever.
    fact.header.body.execution_id.0[0] ^= 1;
    let other = resume(&peer.ctx, &mut state, &TraceEvent::Frame(fact));
    assert_eq!(other.unwrap_err().code(), ReasonCode::SessionMismatch);
}

#[test]
fn a_recorded_tick_is_part_of_the_root() {
    let (peer, root) = recorded(6);
    let mut events = peer.events.clone();
    let start = events.iter().position(|e| *e == TraceEvent::Start).unwrap();
    events.insert(start + 1, TraceEvent::Tick { kind: TickKind::Soft, level: 1 });
    let with_tick = replay(&peer.ctx, &events).unwrap();
    assert_ne!(with_tick.facts_root, root.facts_root);
    assert_eq!(with_tick.view_root, root.view_root);
}

#[test]
fn traces_of_one_run_differ_and_share_their_view_root() {
    let run = honest(3, 8);
    let roots: Vec<TraceRoot> =
        run.peers.iter().map(|p| trace_root(&p.ctx, &p.state, &p.events)).collect();
    assert!(roots.iter().all(|r| r.view_root == roots[0].view_root));
    assert_ne!(roots[0].facts_root, roots[1].facts_root);
    assert_ne!(roots[0].results_root, roots[1].results_root);
}
