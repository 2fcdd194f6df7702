//! The interpreter of plans: a pure step over the events of one peer's run.
//!
//! Source: the design's "The DVM". `step` takes one event into a [`State`] and says what follows:
//! calls to the kernel, frames that may go out, headers to ask for, how the run ended. [`fold`] is
//! the same over many events, [`replay()`] the same again over a recorded trace.
//! [`resume`] is the step of a node that starts again, over its own journal.
//!
//! Always true:
//! - an event that is not taken (an error) leaves the state as it was;
//! - the state is bounded by the plan, not by the number of events; the trace grows outside it;
//! - frames of one level give the same state in any order;
//! - only names and digests pass through here: no secret, clock, randomness or I/O.
//!
//! Not here: whether a frame's leaves are under its signed root (`Envelope::authenticate`), whether
//! anything is allowed (kernel and policy), and when a deadline has passed (the driver).

pub mod calls;
pub mod context;
pub mod replay;
pub mod root;
pub mod slot;
pub mod state;
pub mod step;

pub use calls::{CallRequest, args_for, expects, open_calls};
pub use context::{BadContext, Ctx};
pub use replay::{ReplayError, fold, replay, resume};
pub use root::{trace_root, view_root};
pub use slot::Slot;
pub use state::{BlockedOn, Frontier, State};
pub use step::{StepError, Transition, step};

/// The interpreter's version: part of every plan and every TraceRoot. A run never changes it.
pub const VM_VERSION: u16 = 1;

#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
