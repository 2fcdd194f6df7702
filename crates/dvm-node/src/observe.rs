//! The observation of a run: its L1 sites with their status, the same words for every backend, and the L0
//! steps behind them.
//!
//! What a kernel does within a step is told by its microtrace's root alone.
//!
//! Always true: a site's status follows from the statuses of its steps alone, so two backends that perform the
//! same score tell the same of it, whatever they make of a site.

use dvm_core::receipt::PermitReceipt;
use dvm_core::trace::{Outcome, Terminal, TraceEvent};
use dvm_score::ir::Kind;
use dvm_vm::{Ctx, State};
use serde_json::{Value, json};

/// How far a step is, or a site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Pending,
    Open,
    Done,
    Fault,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Open => "open",
            Self::Done => "done",
            Self::Fault => "fault",
        }
    }

    /// A site's: failed with any of its steps, done with all of them, and under way with the first.
    fn of_all(steps: &[Self]) -> Self {
        let all = |status| steps.iter().all(|step| *step == status);
        match () {
            () if steps.contains(&Self::Fault) => Self::Fault,
            () if all(Self::Done) => Self::Done,
            () if all(Self::Pending) => Self::Pending,
            () => Self::Open,
        }
    }
}

/// One run as people and tools see it: sites (L1), steps (L0), events and frontier.
pub fn run(
    ctx: &Ctx,
    sites: &[Kind],
    (state, events): (&State, &[TraceEvent]),
    receipt: Option<&PermitReceipt>,
) -> Value {
    let frontier = state.frontier(ctx);
    let plan = ctx.plan();
    let of_step = |index: u16| {
        let result = events.iter().find_map(|e| match e {
            TraceEvent::Result(r) if r.step == index => Some(&r.outcome),
            _ => None,
        });
        match result {
            Some(Outcome::Ok { .. }) => Status::Done,
            Some(Outcome::Fault { .. }) => Status::Fault,
            None if frontier.open_calls.contains(&index) => Status::Open,
            None => Status::Pending,
        }
    };
    let of_site = |site: u16| {
        let steps = plan.steps.iter().filter(|s| s.site == site).map(|s| of_step(s.index));
        let steps: Vec<Status> = steps.collect();
        match (steps.is_empty(), state.terminal()) {
            // What the kernel has before the run, or does within another site's step.
            (true, Some(Terminal::Done)) => Status::Done,
            (true, _) => Status::Pending,
            (false, _) => Status::of_all(&steps),
        }
    };
    let sites = (0..).zip(sites).map(
        |(site, kind)| json!({ "site": site, "kind": kind.name(), "status": of_site(site).name() }),
    );
    let steps = plan.steps.iter().map(|s| {
        json!({
            "step": s.index, "site": s.site, "op": s.op, "level": s.level,
            "effect": s.effect, "phase": s.phase.kind, "status": of_step(s.index).name(),
        })
    });
    json!({
        "execution_id": ctx.execution_id().hex(),
        "kind": if ctx.publishes() { "publish" } else { "act" },
        "backend": plan.backend,
        "material": ctx.header().kind.material().map(|m| json!({ "batch": m.batch.hex(), "index": m.index })),
        "plan_id": ctx.header().plan_id.hex(),
        "participants": ctx.participants().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "level": frontier.level,
        "levels": ctx.levels(),
        "confirmed_level": frontier.confirmed_level,
        "missing_peers": frontier.missing_peers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sites": sites.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
        "events": events.len(),
        "microtrace_root": receipt.map(|receipt| receipt.microtrace_root.hex()),
        "terminal": state.terminal(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_fails_with_any_step_is_done_with_all_and_under_way_with_the_first() {
        use Status::{Done, Fault, Open, Pending};
        for (steps, wanted) in [
            (vec![Done], Done),
            (vec![Done, Done], Done),
            (vec![Pending, Pending], Pending),
            (vec![Done, Pending], Open),
            (vec![Open, Pending], Open),
            (vec![Done, Open, Fault], Fault),
        ] {
            assert!(Status::of_all(&steps) == wanted);
        }
    }
}
