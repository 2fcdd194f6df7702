//! Two stories, odd views, faults: who is blamed, when, and who is not.

use dvm_core::frame::FrameHeader;
use dvm_core::trace::{CallResult, Outcome, Terminal, TraceEvent};
use dvm_core::{B32, ReasonCode, Signed};
use proptest::prelude::*;

use crate::testkit::{LEVELS, Lie, Net, Peer, ctx, honest, node, perform, sign_header, view_zero};
use crate::{BlockedOn, Slot, StepError, replay, trace_root};

fn equivocation(culprit: usize) -> Option<Terminal> {
    Some(Terminal::Blamed { code: ReasonCode::Equivocation, culprit: node(culprit) })
}

/// A peer that has performed level 1 itself.
fn in_level_one(parties: usize, index: usize) -> Peer {
    let mut peer = Peer::new(ctx(parties, index));
    let calls = peer.take(TraceEvent::Start).unwrap().calls;
    let done = perform(&peer.ctx, 1, &calls, view_zero(&peer.ctx), 0);
    for result in done.results {
        peer.take(TraceEvent::Result(result)).unwrap();
    }
    assert_eq!(peer.take(TraceEvent::Frame(done.own)).unwrap().emit, Some(1));
    peer
}

/// What another peer's level 1 says to `to`, in one of its stories.
fn level_one_of(parties: usize, from: usize, to: usize, story: u8) -> TraceEvent {
    let mut sender = Peer::new(ctx(parties, from));
    let calls = sender.take(TraceEvent::Start).unwrap().calls;
    let mut done = perform(&sender.ctx, 1, &calls, view_zero(&sender.ctx), story);
    TraceEvent::Frame(done.for_others.remove(&node(to)).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn an_equivocation_is_caught_one_level_later_by_all_honest_peers(
        seed: u64,
        level in 1..LEVELS,
        parties in 3_usize..5,
    ) {
        let mut net = Net::new((0..parties).map(|i| ctx(parties, i)).collect(), seed);
        net.lie = Some(Lie { liar: 0, level, victim: 1 });
        net.run();
        for peer in &net.peers[1..] {
            prop_assert_eq!(peer.state.terminal().cloned(), equivocation(0));
            // Nobody consumed anything of the level after the next.
            prop_assert!(peer.state.level() <= level + 1);
            let root = trace_root(&peer.ctx, &peer.state, &peer.events);
            prop_assert_eq!(replay(&peer.ctx, &peer.events), Ok(root));
        }
    }
}

#[test]
fn an_equivocation_in_the_last_level_is_beyond_its_own_views() {
    // Why a publication ends with a confirm level: nothing follows that could carry the view.
    let mut net = Net::new((0..3).map(|i| ctx(3, i)).collect(), 1);
    net.lie = Some(Lie { liar: 0, level: LEVELS, victim: 1 });
    net.run();
    for peer in &net.peers {
        assert_eq!(peer.state.terminal(), Some(&Terminal::Done));
        assert_eq!(peer.state.confirmed_level(), LEVELS - 1);
    }
}

#[test]
fn two_signed_headers_for_one_slot_blame_their_signer_in_either_order() {
    let (one, two) = (level_one_of(3, 1, 0, 0), level_one_of(3, 1, 0, 1));
    let mut ends = vec![];
    for pair in [[&one, &two], [&two, &one]] {
        let mut peer = in_level_one(3, 0);
        assert_eq!(peer.take(pair[0].clone()).unwrap().terminal, None);
        assert_eq!(peer.take(pair[0].clone()).unwrap().terminal, None);
        assert_eq!(peer.take(pair[1].clone()).unwrap().terminal, equivocation(1));
        assert!(matches!(peer.state.slot(&peer.ctx, 1, &node(1)), Slot::Conflict(..)));
        ends.push(peer.state);
    }
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_second_header_with_the_same_root_is_a_second_story_too() {
    let mut peer = in_level_one(3, 0);
    let TraceEvent::Frame(mut fact) = level_one_of(3, 1, 0, 0) else { unreachable!() };
    peer.take(TraceEvent::Frame(fact.clone())).unwrap();
    let root = fact.header.body.out_root;
    let other = ctx(3, 1);
    fact.header = sign_header(&other, 1, B32([8; 32]), root);
    assert_eq!(peer.take(TraceEvent::Frame(fact)).unwrap().terminal, equivocation(1));
}

#[test]
fn headers_that_contradict_each_other_blame_their_signer() {
    let header = |story| match level_one_of(3, 2, 0, story) {
        TraceEvent::Frame(fact) => fact.header,
        _ => unreachable!(),
    };
    let mut peer = in_level_one(3, 0);
    let taken = peer.take(TraceEvent::Headers(vec![header(0), header(0)])).unwrap();
    assert_eq!(taken.terminal, None);
    let taken = peer.take(TraceEvent::Headers(vec![header(0), header(1)])).unwrap();
    assert_eq!(taken.terminal, equivocation(2));
}

#[test]
fn a_header_seen_before_its_frame_still_counts_as_a_story() {
    let mut peer = in_level_one(3, 0);
    let TraceEvent::Frame(told_elsewhere) = level_one_of(3, 1, 0, 1) else { unreachable!() };
    peer.take(TraceEvent::Headers(vec![told_elsewhere.header])).unwrap();
    assert!(peer.state.frontier(&peer.ctx).missing_peers.contains(&node(1)));
    assert_eq!(peer.take(level_one_of(3, 1, 0, 0)).unwrap().terminal, equivocation(1));
}

/// A run in which peer 1's level-2 frame carries a view that nothing signed explains.
fn with_odd_view() -> (Peer, crate::Transition) {
    let mut peer = in_level_one(3, 0);
    peer.take(level_one_of(3, 1, 0, 0)).unwrap();
    // Early: it is checked once level 1 is complete.
    let mut liar = in_level_one(3, 1);
    liar.take(level_one_of(3, 0, 1, 0)).unwrap();
    let calls = liar.take(level_one_of(3, 2, 1, 0)).unwrap().calls;
    let odd = perform(&liar.ctx, 2, &calls, B32([7; 32]), 0).for_others.remove(&node(0));
    let early = peer.take(TraceEvent::Frame(odd.unwrap())).unwrap();
    assert_eq!((early.want_headers, early.terminal), (None, None));
    let taken = peer.take(level_one_of(3, 2, 0, 0)).unwrap();
    (peer, taken)
}

#[test]
fn an_odd_view_asks_for_headers_and_opens_nothing() {
    let (mut peer, taken) = with_odd_view();
    assert_eq!(taken.want_headers, Some((node(1), 1)));
    assert_eq!((taken.opens, taken.terminal), (None, None));
    let blocked = Some(BlockedOn::Headers { peer: node(1), level: 1 });
    assert_eq!(taken.frontier.blocked_on, blocked);
    // Asked again with every re-send, not with every event.
    let tick = TraceEvent::Tick { kind: dvm_core::trace::TickKind::Soft, level: 1 };
    assert_eq!(peer.take(tick).unwrap().want_headers, Some((node(1), 1)));
    assert_eq!(peer.take(level_one_of(3, 2, 0, 0)).unwrap().want_headers, None);
}

#[test]
fn once_an_odd_view_is_known_no_own_frame_goes_out_and_nothing_is_confirmed() {
    for odd in [false, true] {
        let mut peer = in_level_one(3, 0);
        peer.take(level_one_of(3, 1, 0, 0)).unwrap();
        let calls = peer.take(level_one_of(3, 2, 0, 0)).unwrap().calls;
        let mut sender = in_level_one(3, 1);
        sender.take(level_one_of(3, 0, 1, 0)).unwrap();
        let theirs = sender.take(level_one_of(3, 2, 1, 0)).unwrap().calls;
        let view = peer.state.view(1).unwrap();
        let told = if odd { B32([7; 32]) } else { view };
        let frame = perform(&sender.ctx, 2, &theirs, told, 0).for_others.remove(&node(0));
        let taken = peer.take(TraceEvent::Frame(frame.unwrap())).unwrap();
        assert_eq!(taken.want_headers.is_some(), odd);
        let done = perform(&peer.ctx, 2, &calls, view, 0);
        for result in done.results {
            peer.take(TraceEvent::Result(result)).unwrap();
        }
        let taken = peer.take(TraceEvent::Frame(done.own)).unwrap();
        assert_eq!(taken.emit, if odd { None } else { Some(2) });
        // With every frame of the level in, a view that one of them denies is not confirmed.
        let mut third = in_level_one(3, 2);
        third.take(level_one_of(3, 0, 2, 0)).unwrap();
        let theirs = third.take(level_one_of(3, 1, 2, 0)).unwrap().calls;
        let frame = perform(&third.ctx, 2, &theirs, view, 0).for_others.remove(&node(0));
        let taken = peer.take(TraceEvent::Frame(frame.unwrap())).unwrap();
        assert_eq!(taken.frontier.confirmed_level, u16::from(!odd));
        assert_eq!(taken.opens, if odd { None } else { Some(3) });
        assert_eq!(peer.state.view(2).is_some(), !odd);
    }
}

#[test]
fn an_unexplained_view_blames_its_sender_once_it_has_answered_in_full() {
    let (mut peer, _) = with_odd_view();
    let odd = peer.holds(2);
    let all: Vec<_> = peer.holds(1).into_iter().chain(odd).collect();
    assert_eq!(all.len(), 4);
    let without = |who: usize, level: u16| -> Vec<_> {
        let other =
            |h: &&Signed<FrameHeader>| (h.body.from.clone(), h.body.level) != (node(who), level);
        all.iter().filter(other).cloned().collect()
    };
    // What anybody holds and may pass on convicts nobody: the odd header itself must be in it.
    for part in [without(0, 1), without(2, 1), without(1, 2), peer.holds(1)] {
        assert_eq!(peer.take(TraceEvent::Headers(part)).unwrap().terminal, None);
    }
    let blamed = Terminal::Blamed { code: ReasonCode::BindingMismatch, culprit: node(1) };
    let taken = peer.take(TraceEvent::Headers(without(1, 1))).unwrap();
    assert_eq!(taken.terminal, Some(blamed));
}

#[test]
fn headers_without_any_odd_view_blame_nobody() {
    let mut peer = in_level_one(3, 0);
    peer.take(level_one_of(3, 1, 0, 0)).unwrap();
    peer.take(level_one_of(3, 2, 0, 0)).unwrap();
    let taken = peer.take(TraceEvent::Headers(peer.answer(1))).unwrap();
    assert_eq!((taken.terminal, taken.recorded), (None, false));
}

#[test]
fn another_header_at_level_one_aborts_without_blame() {
    let other = ctx(3, 1);
    let mut sender = Peer::new(other.clone());
    let calls = sender.take(TraceEvent::Start).unwrap().calls;
    for early in [true, false] {
        let odd = perform(&other, 1, &calls, B32([7; 32]), 0).for_others.remove(&node(0)).unwrap();
        let mut peer = if early { Peer::new(ctx(3, 0)) } else { in_level_one(3, 0) };
        let taken = peer.take(TraceEvent::Frame(odd)).unwrap();
        assert_eq!(taken.terminal, Some(Terminal::Benign(ReasonCode::SessionMismatch)));
        assert_eq!(taken.want_headers, None);
    }
}

#[test]
fn a_fault_ends_the_run_with_the_kernels_verdict() {
    let ended = |code, blame| {
        let mut peer = Peer::new(ctx(3, 0));
        let calls = peer.take(TraceEvent::Start).unwrap().calls;
        let outcome = Outcome::Fault { code, blame };
        let result = CallResult { step: 0, context: calls[0].link, outcome };
        peer.take(TraceEvent::Result(result)).map(|t| t.terminal)
    };
    let code = ReasonCode::PayloadRejected;
    assert_eq!(ended(code, None), Ok(Some(Terminal::Benign(code))));
    let blamed = Terminal::Blamed { code, culprit: node(2) };
    assert_eq!(ended(code, Some(node(2))), Ok(Some(blamed)));
    for nobody in [0, 9] {
        assert_eq!(ended(code, Some(node(nobody))), Err(StepError::Poison(code)));
    }
}

#[test]
fn honest_runs_blame_nobody_whatever_the_order() {
    for seed in 0..20 {
        let run = honest(4, seed);
        assert!(run.peers.iter().all(|p| p.state.terminal() == Some(&Terminal::Done)));
    }
}
