//! Three kernels and a witness in one process: whole lives of keys and signatures, and what kernels refuse.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is a test"
)]

#[macro_use]
mod suite;

mod harness;
mod lab;
mod lab_authority;
mod lab_fuzz;
mod lab_gate;
mod lab_kills;
mod lab_openings;
mod lab_permits;
mod lab_phases;
mod lab_secrets;
mod lives;
mod messenger;
mod pairs;
mod refusals_at_the_gate;
mod refusals_before;
mod restarts;
mod rollback;
mod stash;
mod transactions;
