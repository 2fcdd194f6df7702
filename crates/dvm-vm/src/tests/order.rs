//! Order, repetition, views and cost.

use dvm_core::trace::{Terminal, TraceEvent};
use proptest::prelude::*;

use crate::testkit::{LEVELS, Net, ctx, honest, publish_ctx};
use crate::{State, fold, replay, step, trace_root, view_root};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_order_with_repetitions_reaches_one_view_root_and_done(
        parties in 2_usize..5,
        seed: u64,
    ) {
        let usual = honest(parties, 0);
        let expected = view_root(&usual.peers[0].ctx, &usual.peers[0].state);
        for peer in honest(parties, seed).peers {
            prop_assert_eq!(view_root(&peer.ctx, &peer.state), expected);
            prop_assert_eq!(peer.state.terminal(), Some(&Terminal::Done));
            prop_assert_eq!(peer.state.confirmed_level(), LEVELS - 1);
            // One start, a frame per peer and level, and one result per step: repetitions leave none.
            let events = 1 + usize::from(LEVELS) * parties + 7;
            prop_assert_eq!(peer.events.len(), events);
        }
    }

    #[test]
    fn frames_of_one_level_commute(seed: u64, parties in 3_usize..5) {
        // Two orders of the same frames, level by level, give equal states after every level.
        let run = honest(parties, seed);
        let peer = &run.peers[0];
        let mut forward = State::new(&peer.ctx);
        let mut backward = State::new(&peer.ctx);
        let own = |e: &&TraceEvent| match e {
            TraceEvent::Frame(f) => f.header.body.from == *peer.ctx.self_peer(),
            _ => true,
        };
        let mine: Vec<_> = peer.events.iter().filter(own).cloned().collect();
        let theirs: Vec<_> = peer.events.iter().filter(|e| !own(e)).cloned().collect();
        let level_of = |e: &TraceEvent| match e {
            TraceEvent::Frame(f) => f.header.body.level,
            TraceEvent::Result(r) => peer.ctx.plan().steps[usize::from(r.step)].level,
            _ => 1,
        };
        for level in 1..=LEVELS {
            let of = |all: &[TraceEvent]| -> Vec<TraceEvent> {
                all.iter().filter(|e| level_of(e) == level).cloned().collect()
            };
            let (mine, theirs) = (of(&mine), of(&theirs));
            let late: Vec<_> = mine.iter().chain(&theirs).cloned().collect();
            let start = usize::from(level == 1);
            let (head, tail) = mine.split_at(start);
            let early: Vec<_> =
                head.iter().chain(theirs.iter().rev()).chain(tail).cloned().collect();
            fold(&peer.ctx, &mut forward, &late).unwrap();
            fold(&peer.ctx, &mut backward, &early).unwrap();
            prop_assert_eq!(&forward, &backward);
        }
        prop_assert_eq!(forward.terminal(), Some(&Terminal::Done));
    }

    #[test]
    fn a_fold_may_be_cut_anywhere(seed: u64, cut in 0_usize..20) {
        let run = honest(3, seed);
        let peer = &run.peers[1];
        let (head, tail) = peer.events.split_at(cut.min(peer.events.len()));
        let mut state = State::new(&peer.ctx);
        fold(&peer.ctx, &mut state, head).unwrap();
        let resumed = crate::open_calls(&peer.ctx, &state);
        prop_assert_eq!(resumed.len(), state.frontier(&peer.ctx).open_calls.len());
        fold(&peer.ctx, &mut state, tail).unwrap();
        prop_assert_eq!(&state, &peer.state);
        let whole = replay(&peer.ctx, &peer.events).unwrap();
        prop_assert_eq!(whole, trace_root(&peer.ctx, &peer.state, &peer.events));
    }
}

#[test]
fn a_frame_taken_twice_changes_nothing_and_is_not_recorded() {
    let run = honest(3, 7);
    let peer = &run.peers[0];
    let mut state = State::new(&peer.ctx);
    for event in &peer.events[..peer.events.len() - 1] {
        assert!(step(&peer.ctx, &mut state, event).unwrap().recorded);
        for earlier in peer.events.iter().filter(|e| matches!(e, TraceEvent::Frame(_))) {
            let TraceEvent::Frame(fact) = earlier else { continue };
            let taken = state.slot(&peer.ctx, fact.header.body.level, &fact.header.body.from);
            if taken != crate::Slot::Empty {
                let before = state.clone();
                let again = step(&peer.ctx, &mut state, earlier).unwrap();
                assert!(!again.recorded && again.opens.is_none() && again.emit.is_none());
                assert_eq!(state, before);
            }
        }
    }
}

#[test]
fn view_roots_of_a_shorter_run_cover_a_prefix() {
    let run = honest(3, 3);
    let peer = &run.peers[2];
    let mut state = State::new(&peer.ctx);
    let mut roots = vec![];
    for event in &peer.events {
        step(&peer.ctx, &mut state, event).unwrap();
        let at = usize::from(state.confirmed_level());
        roots.truncate(at + 1);
        if roots.len() == at {
            roots.push(view_root(&peer.ctx, &state));
        }
    }
    assert_eq!(roots.len(), usize::from(LEVELS));
    let distinct: std::collections::BTreeSet<_> = roots.iter().collect();
    assert_eq!(distinct.len(), roots.len());
}

#[test]
fn a_level_opens_with_its_last_frame_and_asks_every_call_of_it() {
    let run = honest(3, 1);
    let peer = &run.peers[0];
    let mut state = State::new(&peer.ctx);
    let mut opened = vec![];
    for event in &peer.events {
        let before = state.clone();
        let taken = step(&peer.ctx, &mut state, event).unwrap();
        if let Some(level) = taken.opens {
            let missing = before.frontier(&peer.ctx).missing_peers.len();
            assert!(level == 1 || missing <= 1, "level {level} with {missing} missing");
            let steps: Vec<u16> = taken.calls.iter().map(|c| c.step).collect();
            opened.push((level, steps));
        } else {
            assert!(taken.calls.is_empty());
        }
    }
    let expected =
        [(1, vec![0, 1]), (2, vec![2]), (3, vec![3, 4]), (4, vec![]), (LEVELS, vec![5, 6])];
    assert_eq!(opened, expected);
}

#[test]
fn the_state_is_bounded_by_the_plan_and_not_by_the_events() {
    let (a, b) = (ctx(2, 0), ctx(2, 1));
    let mut net = Net::new(vec![a, b], 5);
    net.run();
    let peer = &net.peers[0];
    let mut state = State::new(&peer.ctx);
    let mut most = 0;
    for event in &peer.events {
        step(&peer.ctx, &mut state, event).unwrap();
        for _ in 0..50 {
            // Fifty repetitions of everything so far would show in a state that grows with them.
            if state.terminal().is_none() {
                let _ = step(&peer.ctx, &mut state, event);
            }
        }
        most = most.max(state.said.len());
        let window = state.level().saturating_add(1);
        assert!(state.slots.len() <= usize::from(window) * 2);
        assert!(state.open.len() <= 2 && state.own.len() <= 2);
    }
    // Level 1 is kept for its late consumer, beside the open level and the one ahead.
    assert!(most <= 4 * 2, "{most} frames kept");
    assert!(state.said.keys().all(|(level, _)| [1, 3, LEVELS].contains(level)));
}

#[test]
fn a_publication_runs_through_its_gate() {
    let mut net = Net::new((0..3).map(|i| publish_ctx(3, i)).collect(), 11);
    net.run();
    for peer in &net.peers {
        assert_eq!(peer.state.terminal(), Some(&Terminal::Done));
        assert_eq!(peer.state.confirmed_level(), 2);
    }
}
