//! L2 workflows to L1 scores to L0 plans: the IR, its checker, rewrite rules and the planner. Pure.
//!
//! Source: the design's "The DVM: scores, plans, the interpreter".
//!
//! One entry for node, kernel and verifier: [`compile()`]. It lowers the act to a [`Score`], checks it
//! ([`CheckedScore`]), rewrites it by the backend's table of rules, and lays the micro-ops out in
//! levels ([`Plan`]).
//!
//! Always true: the same act, material, participants and backend give the same bytes on every machine; a
//! [`Compiled`] exists only for a score that passed the checker and a plan that passed its own.
//!
//! Not here: running a plan (dvm-vm), performing a step (dvm-microcode, dvm-kernel).

pub mod check;
pub mod compile;
pub mod duality;
pub mod ir;
pub mod lower;
pub mod op;
pub mod plan;
pub mod rewrite;
pub mod text;

#[cfg(test)]
mod testing;

pub use check::{CheckError, CheckedScore, check};
pub use compile::{CompileError, Compiled, Run, compile};
pub use ir::Score;
pub use op::{Effect, MicroOp, PhaseKind, PhaseSpec, Plan, Step, VM_VERSION};
