//! What is refused, what poisons, and that neither changes anything.

use dvm_core::ReasonCode;
use dvm_core::frame::PayloadRef;
use dvm_core::trace::{CallResult, FrameFact, Outcome, Terminal, TickKind, TraceEvent};
use dvm_core::{B32, Link};

use crate::testkit::{
    LEN_MAX, LEVELS, Net, Peer, Performed, ctx, honest, node, perform, publish_ctx, sign_header,
    view_zero,
};
use crate::{BlockedOn, CallRequest, Ctx, StepError};
use StepError::{Poison, Refused};

fn started(ctx: Ctx) -> (Peer, Vec<CallRequest>) {
    let mut peer = Peer::new(ctx);
    let calls = peer.take(TraceEvent::Start).unwrap().calls;
    (peer, calls)
}

fn level_one(peer: &Peer, calls: &[CallRequest]) -> Performed {
    perform(&peer.ctx, 1, calls, view_zero(&peer.ctx), 0)
}

/// Peer 1's level-1 frame for peer 0.
fn theirs() -> FrameFact {
    let (sender, calls) = started(ctx(3, 1));
    level_one(&sender, &calls).for_others.remove(&node(0)).unwrap()
}

fn frame(change: impl FnOnce(&mut FrameFact)) -> TraceEvent {
    let mut fact = theirs();
    change(&mut fact);
    TraceEvent::Frame(fact)
}

fn signed_again(fact: &mut FrameFact, change: impl FnOnce(&mut dvm_core::frame::FrameHeader)) {
    let mut body = fact.header.body.clone();
    change(&mut body);
    fact.header = dvm_core::Signed::new(body, &crate::testkit::key(1));
}

#[test]
fn a_frame_of_another_run_sender_or_key_is_refused() {
    let (mut peer, _) = started(ctx(3, 0));
    let mut code = |event| {
        peer.take(event).err().map(|e| match e {
            Refused(code) => code,
            Poison(_) => ReasonCode::Internal,
        })
    };
    let run = frame(|f| signed_again(f, |h| h.execution_id = B32([1; 32])));
    assert_eq!(code(run), Some(ReasonCode::SessionMismatch));
    let outsider = frame(|f| signed_again(f, |h| h.from = node(9)));
    assert_eq!(code(outsider), Some(ReasonCode::SessionMismatch));
    let impersonated = frame(|f| signed_again(f, |h| h.from = node(2)));
    assert_eq!(code(impersonated), Some(ReasonCode::BindingMismatch));
    let changed = frame(|f| f.header.body.vault_seq += 1);
    assert_eq!(code(changed), Some(ReasonCode::BindingMismatch));
    assert_eq!(code(frame(|_| {})), None);
}

#[test]
fn a_frame_with_other_leaves_than_the_plan_expects_is_refused() {
    let (mut peer, _) = started(ctx(3, 0));
    let rejected = Some(Refused(ReasonCode::PayloadRejected));
    assert_eq!(peer.take(frame(|f| f.broadcast.parts.truncate(1))).err(), rejected);
    assert_eq!(peer.take(frame(|f| f.broadcast.parts.swap(0, 1))).err(), rejected);
    assert_eq!(peer.take(frame(|f| f.broadcast.parts[0].step = 3)).err(), rejected);
    let long = |len| frame(move |f| f.broadcast.parts[1].payload.len = len);
    assert_eq!(peer.take(long(LEN_MAX + 1)).err(), rejected);
    let extra = frame(|f| f.private.as_mut().unwrap().parts.push(f.broadcast.parts[0]));
    assert_eq!(peer.take(extra).err(), rejected);
    assert_eq!(peer.take(frame(|f| f.private = None)).err(), rejected);
    assert_eq!(peer.take(frame(|f| f.broadcast.to = Some(node(0)))).err(), rejected);
    assert_eq!(peer.take(frame(|f| f.private.as_mut().unwrap().to = None)).err(), rejected);
    let misdirected = frame(|f| f.private.as_mut().unwrap().to = Some(node(2)));
    assert_eq!(peer.take(misdirected).err(), Some(Refused(ReasonCode::WrongRecipient)));
    assert!(peer.take(long(LEN_MAX)).is_ok());
    // The same header with other leaves is not what was authenticated.
    assert_eq!(peer.take(long(1)).err(), Some(Refused(ReasonCode::BindingMismatch)));
}

#[test]
fn frames_one_level_ahead_are_buffered_and_further_ahead_refused() {
    let run = honest(3, 2);
    let of = |level: u16| -> TraceEvent {
        let found = run.peers[0].events.iter().find(|e| match e {
            TraceEvent::Frame(f) => f.header.body.level == level && f.header.body.from == node(1),
            _ => false,
        });
        found.unwrap().clone()
    };
    let mut peer = Peer::new(ctx(3, 0));
    let ahead = Some(Refused(ReasonCode::SessionMismatch));
    assert_eq!(peer.take(of(2)).err(), ahead);
    assert!(peer.take(of(1)).unwrap().recorded);
    peer.take(TraceEvent::Start).unwrap();
    assert!(peer.take(of(2)).unwrap().recorded);
    assert_eq!(peer.take(of(3)).err(), ahead);
    let beyond = sign_header(&ctx(3, 1), 0, B32::default(), B32::default());
    assert_eq!(peer.take(TraceEvent::Headers(vec![beyond])).err(), ahead);
}

#[test]
fn a_frame_of_a_level_after_the_last_is_refused() {
    let run = honest(2, 4);
    let peer = &run.peers[0];
    let mut state = crate::State::new(&peer.ctx);
    crate::fold(&peer.ctx, &mut state, &peer.events[..peer.events.len() - 1]).unwrap();
    assert_eq!((state.level(), state.terminal()), (LEVELS, None));
    let header = sign_header(&ctx(2, 1), LEVELS + 1, B32::default(), B32::default());
    let refused = crate::step(&peer.ctx, &mut state, &TraceEvent::Headers(vec![header]));
    assert_eq!(refused.err(), Some(Refused(ReasonCode::SessionMismatch)));
}

#[test]
fn headers_come_in_bounded_signed_lists() {
    let (mut peer, _) = started(ctx(3, 0));
    let limit = Some(Refused(ReasonCode::ResourceLimit));
    assert_eq!(peer.take(TraceEvent::Headers(vec![])).err(), limit);
    assert_eq!(peer.take(TraceEvent::Headers(vec![theirs().header; 7])).err(), limit);
    assert!(peer.take(TraceEvent::Headers(vec![theirs().header; 6])).is_ok());
    let mut forged = theirs().header;
    forged.body.out_root = B32([1; 32]);
    let refused = peer.take(TraceEvent::Headers(vec![theirs().header, forged])).err();
    assert_eq!(refused, Some(Refused(ReasonCode::BindingMismatch)));
}

#[test]
fn results_answer_exactly_the_open_calls_in_order_and_context() {
    let (mut peer, calls) = started(ctx(3, 0));
    let done = level_one(&peer, &calls);
    let [first, second]: [CallResult; 2] = done.results.try_into().unwrap();
    let conflict = Some(Refused(ReasonCode::ReplayOrConflict));
    assert_eq!(peer.take(TraceEvent::Result(second.clone())).err(), conflict);
    let elsewhere = CallResult { context: Link::of_artifact(b"other"), ..first.clone() };
    let poison = Some(Poison(ReasonCode::BindingMismatch));
    assert_eq!(peer.take(TraceEvent::Result(elsewhere)).err(), poison);
    peer.take(TraceEvent::Result(first.clone())).unwrap();
    assert_eq!(peer.take(TraceEvent::Result(first)).err(), conflict);
    let own = TraceEvent::Frame(done.own);
    assert_eq!(peer.take(own.clone()).err(), Some(Refused(ReasonCode::WrongPhase)));
    peer.take(TraceEvent::Result(second.clone())).unwrap();
    assert_eq!(peer.take(own).unwrap().emit, Some(1));
    assert_eq!(peer.take(TraceEvent::Result(second)).err(), conflict);
}

#[test]
fn a_result_that_sends_otherwise_than_its_phase_poisons() {
    let (mut peer, calls) = started(ctx(3, 0));
    let good = level_one(&peer, &calls).results.remove(0);
    let with = |change: fn(&mut Vec<dvm_core::trace::SendRef>)| {
        let mut result = good.clone();
        if let Outcome::Ok { sends, .. } = &mut result.outcome {
            change(sends);
        }
        TraceEvent::Result(result)
    };
    let poison = Some(Poison(ReasonCode::PayloadRejected));
    assert_eq!(peer.take(with(Vec::clear)).err(), poison);
    assert_eq!(peer.take(with(|s| s.push(s[0].clone()))).err(), poison);
    assert_eq!(peer.take(with(|s| s[0].to = Some(node(1)))).err(), poison);
    assert_eq!(peer.take(with(|s| s[0].payload.len = LEN_MAX + 1)).err(), poison);
    assert!(peer.take(with(|s| s[0].payload.len = LEN_MAX)).is_ok());
}

#[test]
fn an_own_frame_that_says_otherwise_than_the_results_poisons() {
    let (mut peer, calls) = started(ctx(3, 0));
    let done = level_one(&peer, &calls);
    for result in done.results {
        peer.take(TraceEvent::Result(result)).unwrap();
    }
    let mut with = |change: fn(&mut FrameFact)| {
        let mut own = done.own.clone();
        change(&mut own);
        peer.take(TraceEvent::Frame(own)).map(|t| t.emit)
    };
    let mismatch = Err(Poison(ReasonCode::BindingMismatch));
    assert_eq!(with(|f| f.broadcast.parts[0].payload = PayloadRef::of(b"other")), mismatch);
    assert_eq!(with(|f| f.private = Some(f.broadcast.clone())), mismatch);
    let other_view = |f: &mut FrameFact| {
        f.header = sign_header(&ctx(3, 0), 1, B32([7; 32]), f.header.body.out_root);
    };
    assert_eq!(with(other_view), mismatch);
    let ahead = |f: &mut FrameFact| {
        f.header = sign_header(&ctx(3, 0), 2, B32([7; 32]), f.header.body.out_root);
    };
    assert_eq!(with(ahead), Err(Refused(ReasonCode::WrongPhase)));
    assert_eq!(with(|_| {}), Ok(Some(1)));
    assert_eq!(with(|_| {}), Ok(None));
}

#[test]
fn a_soft_tick_reports_once_and_resends_always() {
    let (mut peer, _) = started(ctx(3, 0));
    let soft = |level| TraceEvent::Tick { kind: TickKind::Soft, level };
    assert_eq!(peer.state.frontier(&peer.ctx).overdue, None);
    let first = peer.take(soft(1)).unwrap();
    assert!(first.recorded && first.resend);
    assert_eq!(first.frontier.overdue, Some(ReasonCode::RemoteTimeout));
    let again = peer.take(soft(1)).unwrap();
    assert!(!again.recorded && again.resend);
    for level in [0, 2] {
        assert_eq!(peer.take(soft(level)).err(), Some(Refused(ReasonCode::WrongPhase)));
    }
}

#[test]
fn a_hard_tick_ends_an_act_and_names_the_missing_but_never_ends_a_publication() {
    let hard = TraceEvent::Tick { kind: TickKind::Hard, level: 1 };
    let (mut peer, _) = started(ctx(3, 0));
    peer.take(frame(|_| {})).unwrap();
    let taken = peer.take(hard.clone()).unwrap();
    assert_eq!(taken.terminal, Some(Terminal::Benign(ReasonCode::RemoteTimeout)));
    assert_eq!(taken.frontier.missing_peers, [node(2)]);
    let (mut peer, _) = started(publish_ctx(3, 0));
    assert_eq!(peer.take(hard).err(), Some(Refused(ReasonCode::WrongPhase)));
    assert!(peer.take(TraceEvent::Tick { kind: TickKind::Soft, level: 1 }).is_ok());
    let blocked = peer.state.frontier(&peer.ctx).blocked_on;
    assert_eq!(blocked, Some(BlockedOn::Gate { step: 0 }));
}

#[test]
fn a_publication_can_be_cancelled_until_its_share_is_out() {
    let mut net = Net::new((0..2).map(|i| publish_ctx(2, i)).collect(), 3);
    net.run();
    let Peer { ctx, events, .. } = &net.peers[0];
    let cancel = TraceEvent::Cancel(ReasonCode::DeniedByApprover);
    let mut state = crate::State::new(ctx);
    let mut opened = false;
    for event in events {
        opened |= matches!(event, TraceEvent::Result(r) if r.step == 1);
        crate::step(ctx, &mut state, event).unwrap();
        if state.terminal().is_some() {
            break;
        }
        let mut other = state.clone();
        let taken = crate::step(ctx, &mut other, &cancel).map(|t| t.terminal);
        if opened {
            assert_eq!(taken, Err(Refused(ReasonCode::WrongPhase)));
            assert_eq!(other, state);
        } else {
            let end = Terminal::Benign(ReasonCode::DeniedByApprover);
            assert_eq!(taken, Ok(Some(end)));
        }
    }
    assert!(opened);
}

#[test]
fn an_act_can_be_cancelled_at_any_time_and_nothing_follows_an_end() {
    let run = honest(3, 5);
    let Peer { ctx, events, .. } = &run.peers[0];
    let cancel = TraceEvent::Cancel(ReasonCode::Expired);
    for cut in 0..events.len() {
        let mut state = crate::State::new(ctx);
        crate::fold(ctx, &mut state, &events[..cut]).unwrap();
        crate::step(ctx, &mut state, &cancel).unwrap();
        let ended = state.clone();
        for event in events.iter().chain([&cancel]) {
            let refused = crate::step(ctx, &mut state, event);
            assert_eq!(refused.err(), Some(Refused(ReasonCode::WrongPhase)));
        }
        assert_eq!(state, ended);
    }
}

#[test]
fn a_second_start_is_refused() {
    let (mut peer, _) = started(ctx(2, 0));
    let refused = peer.take(TraceEvent::Start).err();
    assert_eq!(refused, Some(Refused(ReasonCode::ReplayOrConflict)));
}
