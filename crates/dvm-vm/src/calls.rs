//! Calls: what a level asks of the kernel, and what a frame of a level must carry.
//!
//! Source: the plan. Interpreter and kernel derive a call's context independently; the kernel's
//! answer names the one it bound the permit to.

use dvm_core::codec;
use dvm_core::frame::Leaf;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::{self, CallContext};
use dvm_core::trace::SendRef;
use dvm_core::{B32, Link, NodeId};
use dvm_score::{MicroOp, PhaseKind, Plan, Step};

use crate::context::Ctx;
use crate::state::State;

/// One call to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// The step's index in the plan.
    pub step: u16,
    /// The L1 site that it belongs to.
    pub site: u16,
    /// What it does.
    pub op: MicroOp,
    /// Its level.
    pub level: u16,
    /// What the permit is bound to.
    pub context: CallContext,
    /// The context's link, which the result must name.
    pub link: Link,
}

/// The open level's calls that have no answer yet, in plan order. Also what a restarted driver asks.
pub fn open_calls(ctx: &Ctx, state: &State) -> Vec<CallRequest> {
    let steps = ctx.plan().at_level(state.level);
    let open = steps.filter(|step| state.open.contains_key(&step.index));
    open.filter_map(|step| call(ctx, state, step)).collect()
}

/// The call of one step, once every level before its own is complete.
pub(crate) fn call(ctx: &Ctx, state: &State, step: &Step) -> Option<CallRequest> {
    let context = CallContext {
        execution_id: ctx.execution_id(),
        plan_id: ctx.header().plan_id,
        site: step.site,
        step: step.index,
        level: step.level,
        view: state.view(step.level.checked_sub(1)?)?,
        args: args_for(ctx, state, step)?,
    };
    let link = codec::link_of(&context);
    Some(CallRequest {
        step: step.index,
        site: step.site,
        op: step.op,
        level: step.level,
        context,
        link,
    })
}

/// Digest of a step's arguments: for each input that speaks, ascending, each other participant's
/// payload name for it, in order. None while one is missing, or after the step's level has passed.
pub fn args_for(ctx: &Ctx, state: &State, step: &Step) -> Option<B32> {
    let mut received: Vec<(&NodeId, &B32)> = Vec::new();
    for input in &step.inputs {
        let producer = ctx.plan().steps.get(usize::from(*input))?;
        if producer.phase.kind == PhaseKind::Local {
            continue;
        }
        for (seat, node) in ctx.seats().filter(|(seat, _)| *seat != ctx.self_index()) {
            let said = state.said.get(&(producer.level, seat))?;
            let part = said.parts.iter().find(|part| part.step == *input)?;
            received.push((node, &part.payload.digest));
        }
    }
    Some(receipt::args_digest(received.into_iter()))
}

/// Whether a frame's leaves carry exactly the payloads that the plan expects at this level, each
/// within its bound. A peer's own frame has no private leaf.
///
/// # Errors
/// `PAYLOAD_REJECTED` for a missing, extra, misplaced or oversized payload.
pub fn expects(
    plan: &Plan,
    level: u16,
    broadcast: &Leaf,
    private: Option<&Leaf>,
) -> Result<(), ReasonCode> {
    let (to_all, to_one) = plan.expected(level);
    let addressed = broadcast.to.is_none() && private.is_none_or(|leaf| leaf.to.is_some());
    if addressed && carries(broadcast, &to_all) && private.is_none_or(|l| carries(l, &to_one)) {
        Ok(())
    } else {
        Err(ReasonCode::PayloadRejected)
    }
}

fn carries(leaf: &Leaf, steps: &[&Step]) -> bool {
    let fits = |(part, step): (&dvm_core::frame::PartRef, &&Step)| {
        part.step == step.index && part.payload.len <= step.phase.len_max
    };
    leaf.parts.len() == steps.len() && leaf.parts.iter().zip(steps).all(fits)
}

/// Whether a result sends what its step's phase says: nothing, one payload to all, or one to each
/// other participant in order.
pub(crate) fn sends_fit(ctx: &Ctx, step: &Step, sends: &[SendRef]) -> bool {
    let addressees: Vec<Option<&NodeId>> = match step.phase.kind {
        PhaseKind::Local => Vec::new(),
        PhaseKind::Bcast | PhaseKind::EchoBcast => vec![None],
        PhaseKind::P2p => ctx.others().map(Some).collect(),
    };
    sends.iter().map(|send| send.to.as_ref()).eq(addressees)
        && sends.iter().all(|send| send.payload.len <= step.phase.len_max)
}
