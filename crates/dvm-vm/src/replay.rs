//! Replay: the same step over recorded events, for a restarted driver and an offline verifier.
//!
//! Always true: a trace that replays consists of exactly the events that a run records. Every
//! result answers a call that the replay derived itself, under the same context, and no own frame
//! passes before every derived call has its result: both directions.
//!
//! Not here: comparing the root with the one that was signed; the caller holds that.

use dvm_core::reason::ReasonCode;
use dvm_core::trace::{TraceEvent, TraceRoot};

use crate::context::Ctx;
use crate::root::trace_root;
use crate::state::State;
use crate::step::{Signatures, StepError, Transition, step, take};

/// Where recorded events stop being a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event `{index}` does not follow: {code}")]
pub struct ReplayError {
    /// Position of the first event that does not follow.
    pub index: usize,
    /// Why.
    pub code: ReasonCode,
}

/// Takes recorded events in order. The state stops before the first that does not follow.
///
/// # Errors
/// [`ReplayError`] for an event that is not taken, or that a run would not have recorded.
pub fn fold(ctx: &Ctx, state: &mut State, events: &[TraceEvent]) -> Result<(), ReplayError> {
    for (index, event) in events.iter().enumerate() {
        let taken = step(ctx, state, event);
        let taken = taken.map_err(|error| ReplayError { index, code: error.code() })?;
        if !taken.recorded {
            return Err(ReplayError { index, code: ReasonCode::ReplayOrConflict });
        }
    }
    Ok(())
}

/// Takes an event that this very node has taken before, by its own journal. What signatures it carries held then, and are
/// not verified again: they are most of what a restart would cost. Everything else is checked as in [`step()`].
///
/// # Errors
/// [`StepError`]; the state has not changed then.
pub fn resume(ctx: &Ctx, state: &mut State, event: &TraceEvent) -> Result<Transition, StepError> {
    take(ctx, state, event, Signatures::Verified)
}

/// The root that a whole trace leads to.
///
/// # Errors
/// [`ReplayError`] at the first event that does not follow from those before.
pub fn replay(ctx: &Ctx, events: &[TraceEvent]) -> Result<TraceRoot, ReplayError> {
    let mut state = State::new(ctx);
    fold(ctx, &mut state, events)?;
    Ok(trace_root(ctx, &state, events))
}
