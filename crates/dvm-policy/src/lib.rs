//! Cedar admission, approvals, ledger rules and the release judgement. Pure, given its state.
//!
//! Source: the design's chapter on policies and approvals.
//!
//! Always true: default deny; a forbid wins; any error while judging is a denial; approvals,
//! floors and authority are judged by `dvm-governance`, the same code that the kernel runs; the
//! engine sees counts and facts, never text that a client wrote into a policy or an entity.
//!
//! Not here: clocks, stores, parsing of acts, and what the kernel enforces by itself.

mod files;
mod judge;
mod ledger;
mod request;

pub use files::{LoadRefused, PolicyBundle, PolicyFile, PolicySet};
pub use judge::{JudgeInput, Judgement, admission_receipt, admit, release};
pub use ledger::Ledger;
pub use request::{Role, account_of};

#[cfg(test)]
mod tests;
