//! A long run to measure the interpreter with: as many events as a plan's bounds allow.
//!
//! The run is made up and real: 16 participants, 64 levels of 63 local steps and one broadcast (the
//! most steps and levels that a plan may have), every frame laid out and signed as a kernel does it.
//! One level is 80 events of one peer: 64 answers of its own kernel, its own frame, and the frames of
//! the 15 others. No run of ours is as long; a signature's has 9 events, its publication's 10.
//!
//! Always true: the events are taken by the interpreter itself as they are made, so they are a run.

use std::collections::BTreeMap;

use dvm_core::frame::{Envelope, FrameHeader, OutTree, Outgoing, PayloadRef};
use dvm_core::run::{Boot, RunHeader, RunKind};
use dvm_core::trace::{CallResult, FrameFact, Outcome as CallOutcome, SendRef, TraceEvent};
use dvm_core::{B32, Bytes, Link, NodeId, PublicKey, Signed, Signer};
use dvm_score::{Effect, MicroOp, PhaseKind, PhaseSpec, Plan, Step, VM_VERSION};
use dvm_vm::context::{LEVELS_MAX, STEPS_MAX};
use dvm_vm::{CallRequest, Ctx, State, step};
use ed25519_dalek::SigningKey;

use crate::Outcome;

/// Participants: the most that a run may have.
pub const PARTIES: u8 = 16;
/// What a broadcast says.
const PAYLOAD_BYTES: usize = 96;

/// A run of one peer, and the events that it is.
pub struct LongRun {
    /// Header, plan and keys.
    pub ctx: Ctx,
    /// Every event, in order.
    pub events: Vec<TraceEvent>,
    /// Where each event belongs: true for frames, which bring a signature to be checked.
    pub frames: Vec<bool>,
}

struct Member {
    node: NodeId,
    key: SigningKey,
}

fn members() -> Outcome<Vec<Member>> {
    let member = |index: u8| -> Outcome<Member> {
        let node = format!("n{index:02}").parse().map_err(|_| "a node's name")?;
        Ok(Member { node, key: SigningKey::from_bytes(&[index + 1; 32]) })
    };
    (0..PARTIES).map(member).collect()
}

/// Every level: local steps, each on the one before it, and a broadcast on the last of them. The first
/// reads the broadcasts of the level before.
fn plan(members: &[Member]) -> Outcome<Plan> {
    let per_level = u16::try_from(STEPS_MAX)? / LEVELS_MAX;
    let mut steps = Vec::new();
    for index in 0..per_level * LEVELS_MAX {
        let (level, place) = (index / per_level + 1, index % per_level);
        let speaks = place + 1 == per_level;
        let kind = if speaks { PhaseKind::Bcast } else { PhaseKind::Local };
        steps.push(Step {
            index,
            site: index,
            op: if speaks { MicroOp::NonceCommit } else { MicroOp::Challenge },
            level,
            phase: PhaseSpec { kind, len_max: u32::try_from(PAYLOAD_BYTES)? },
            effect: Effect::Pure,
            inputs: index.checked_sub(1).into_iter().collect(),
        });
    }
    Ok(Plan {
        score_id: B32([3; 32]),
        backend: "bench/1".to_owned(),
        vm_version: VM_VERSION,
        participants: members.iter().map(|m| m.node.clone()).collect(),
        steps,
    })
}

fn context(members: &[Member], run: u8) -> Outcome<Ctx> {
    let plan = plan(members)?;
    let header = RunHeader {
        cluster: Link::of_artifact(b"bench"),
        intent: Link::of_artifact(&[run]),
        kind: RunKind::Act { attempt: 1, opens: Vec::new(), material: None },
        plan_id: plan.id(),
        key_epoch: 1,
        participants: plan.participants.clone(),
        soft_deadline_ms: 1_000,
        hard_deadline_ms: 10_000,
    };
    let keys: BTreeMap<NodeId, PublicKey> =
        members.iter().map(|m| (m.node.clone(), m.key.public_key())).collect();
    let me = members.first().ok_or("no members")?.node.clone();
    Ok(Ctx::new(me, header, plan, keys).map_err(|bad| bad.to_string())?)
}

/// One member's frames of a level, as its kernel would sign them.
fn frames(
    ctx: &Ctx,
    member: &Member,
    (level, speaking): (u16, &[u16]),
    prev_view: B32,
) -> Vec<Envelope> {
    let others: Vec<NodeId> =
        ctx.participants().iter().filter(|n| **n != member.node).cloned().collect();
    let broadcast = speaking.iter().map(|step| (*step, payload(*step))).collect();
    let tree = OutTree::lay_out(Outgoing { broadcast, ..Outgoing::default() }, &others, || {
        B32([level.to_le_bytes()[0]; 32])
    });
    let header = FrameHeader {
        execution_id: ctx.execution_id(),
        boot: Boot { generation: 1, id: B32([4; 32]) },
        vault_seq: level.into(),
        level,
        from: member.node.clone(),
        prev_view,
        out_root: tree.out_root,
    };
    tree.envelopes(&Signed::new(header, &member.key))
}

fn payload(step: u16) -> Bytes {
    Bytes(step.to_be_bytes().repeat(PAYLOAD_BYTES / 2))
}

fn answer(call: &CallRequest, speaks: bool) -> CallResult {
    let sends = speaks
        .then(|| SendRef { to: None, payload: PayloadRef::of(&payload(call.step)) })
        .into_iter()
        .collect();
    let outcome = CallOutcome::Ok { handle: B32([9; 32]), sends, public: None };
    CallResult { step: call.step, context: call.link, outcome }
}

fn fact(envelope: &Envelope, own: bool) -> TraceEvent {
    TraceEvent::Frame(FrameFact {
        header: envelope.header.clone(),
        broadcast: envelope.broadcast.leaf.clone(),
        private: (!own).then(|| envelope.private.leaf.clone()),
    })
}

impl LongRun {
    /// Makes a run; another number gives another one.
    ///
    /// # Errors
    /// An event that the interpreter did not take, which would be a fault of this file.
    pub fn new(run: u8) -> Outcome<Self> {
        let members = members()?;
        let ctx = context(&members, run)?;
        let (mut state, mut made) = (State::new(&ctx), Vec::new());
        let mut taken = take(&ctx, &mut state, &mut made, TraceEvent::Start)?;
        for level in 1..=ctx.levels() {
            let view = state.view(level - 1).ok_or("a level without a view")?;
            let speaking: Vec<u16> = ctx.plan().expected(level).0.iter().map(|s| s.index).collect();
            let calls = std::mem::take(&mut taken);
            for call in &calls {
                let speaks = speaking.contains(&call.step);
                take(&ctx, &mut state, &mut made, TraceEvent::Result(answer(call, speaks)))?;
            }
            for member in &members {
                let own = member.node == *ctx.self_peer();
                let envelopes = frames(&ctx, member, (level, &speaking), view);
                let mine = |e: &&Envelope| own || e.to == *ctx.self_peer();
                let envelope = envelopes.iter().find(mine).ok_or("a frame for this peer")?;
                taken = take(&ctx, &mut state, &mut made, fact(envelope, own))?;
            }
        }
        if state.terminal() != Some(&dvm_core::trace::Terminal::Done) {
            return Err(format!("the run did not end well: {:?}", state.terminal()).into());
        }
        let frames = made.iter().map(|e| matches!(e, TraceEvent::Frame(_))).collect();
        Ok(Self { ctx, events: made, frames })
    }

    /// The state before the event at this place.
    ///
    /// # Errors
    /// As for [`LongRun::new`].
    pub fn state_at(&self, place: usize) -> Outcome<State> {
        let mut state = State::new(&self.ctx);
        for event in self.events.iter().take(place) {
            step(&self.ctx, &mut state, event).map_err(|error| error.to_string())?;
        }
        Ok(state)
    }
}

fn take(
    ctx: &Ctx,
    state: &mut State,
    events: &mut Vec<TraceEvent>,
    event: TraceEvent,
) -> Outcome<Vec<CallRequest>> {
    let taken = step(ctx, state, &event).map_err(|error| error.to_string())?;
    if !taken.recorded {
        return Err("an event that is not recorded".into());
    }
    events.push(event);
    Ok(taken.calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_run_is_a_run_and_has_an_event_5000() {
        let run = LongRun::new(0).unwrap();
        assert!(run.events.len() > 5_040, "{}", run.events.len());
        assert!(dvm_vm::replay(&run.ctx, &run.events).is_ok());
        assert_eq!(run.frames.iter().filter(|f| **f).count(), 16 * 64);
    }
}
