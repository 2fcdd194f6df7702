//! The L1 observation of a run: its sites with their status, the same words for every backend.

use dvm_core::bytes::B32;
use dvm_core::trace::{Outcome, TraceEvent};
use dvm_vm::{Ctx, State};
use serde_json::{Value, json};

/// One run as people and tools see it: sites (L1), steps (L0), events and frontier.
pub fn run(id: &B32, ctx: &Ctx, state: &State, events: &[TraceEvent]) -> Value {
    let frontier = state.frontier(ctx);
    let status = |index: u16| -> &'static str {
        let result = events.iter().find_map(|e| match e {
            TraceEvent::Result(r) if r.step == index => Some(&r.outcome),
            _ => None,
        });
        match result {
            Some(Outcome::Ok { .. }) => "done",
            Some(Outcome::Fault { .. }) => "fault",
            None if frontier.open_calls.contains(&index) => "open",
            None => "pending",
        }
    };
    let steps: Vec<Value> = ctx
        .plan()
        .steps
        .iter()
        .map(|s| {
            json!({
                "step": s.index, "site": s.site, "op": s.op, "level": s.level,
                "effect": s.effect, "phase": s.phase.kind, "status": status(s.index),
            })
        })
        .collect();
    json!({
        "execution_id": id.hex(),
        "kind": if ctx.publishes() { "publish" } else { "act" },
        "plan_id": ctx.header().plan_id.hex(),
        "participants": ctx.participants().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "level": frontier.level,
        "levels": ctx.levels(),
        "confirmed_level": frontier.confirmed_level,
        "missing_peers": frontier.missing_peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "steps": steps,
        "events": events.len(),
        "terminal": state.terminal(),
    })
}
