//! Roots: what a peer signs of its run.
//!
//! Source: the design's "What is hashed". The ViewRoot covers what all honest peers agree on, up to
//! the confirmed level; the TraceRoot covers one peer's own events and how they ended.

use dvm_core::B32;
use dvm_core::codec::{self, Artifact};
use dvm_core::digest::{Domain, Tagged};
use dvm_core::merkle;
use dvm_core::trace::{CallResult, TraceEvent, TraceRoot};
use serde::{Deserialize, Serialize};

use crate::VM_VERSION;
use crate::context::Ctx;
use crate::state::State;

/// One event of a trace, as its root names it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Fact(TraceEvent);

impl Artifact for Fact {
    const SCHEMA: &'static str = "dvm/trace-event/1";
}

/// One call's answer, as the root over all of them names it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Answer(CallResult);

impl Artifact for Answer {
    const SCHEMA: &'static str = "dvm/call-result/1";
}

/// Digest over the views of all levels up to the confirmed one and the public values made there,
/// in step order.
pub fn view_root(ctx: &Ctx, state: &State) -> B32 {
    let levels = usize::from(state.confirmed).saturating_add(1);
    let mut tagged =
        Tagged::new(Domain::ViewRoot).part(&ctx.execution_id().0).number(state.confirmed.into());
    for view in state.views.iter().take(levels) {
        tagged = tagged.part(&view.0);
    }
    let level_of =
        |step: u16| ctx.plan().steps.get(usize::from(step)).map_or(u16::MAX, |s| s.level);
    for (step, digest) in state.publics.iter().filter(|(s, _)| level_of(**s) <= state.confirmed) {
        tagged = tagged.number((*step).into()).part(&digest.0);
    }
    tagged.finish()
}

/// The root of a run: `events` are those recorded, in order, and `state` what they led to.
pub fn trace_root(ctx: &Ctx, state: &State, events: &[TraceEvent]) -> TraceRoot {
    let fact = |event: &TraceEvent| codec::link_of(&Fact(event.clone())).to_bytes();
    let facts: Vec<Vec<u8>> = events.iter().map(fact).collect();
    let answer = |event: &TraceEvent| match event {
        TraceEvent::Result(result) => Some(codec::link_of(&Answer(result.clone())).to_bytes()),
        _ => None,
    };
    let answers: Vec<Vec<u8>> = events.iter().filter_map(answer).collect();
    TraceRoot {
        cluster: ctx.header().cluster,
        self_peer: ctx.self_peer().clone(),
        execution_id: ctx.execution_id(),
        header: ctx.header_link(),
        score_id: ctx.plan().score_id,
        plan_id: ctx.header().plan_id,
        vm_version: VM_VERSION,
        facts_root: merkle::root(&facts),
        facts: facts.len().try_into().unwrap_or(u32::MAX),
        results_root: merkle::root(&answers),
        confirmed_level: state.confirmed,
        view_root: view_root(ctx, state),
        terminal: state.terminal.clone(),
    }
}
