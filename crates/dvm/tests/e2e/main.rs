//! End to end: the shipped binaries as processes, on loopback, spoken to as a user or a client would.
//!
//! Source: the binaries in `DVM_BIN_DIR`, or `target/release`. They are not built here: a test that
//! does not find them says which command builds them. One cluster at a time runs on a machine, so that
//! deadlines mean the same on two cores; no process outlives the test that started it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is tests"
)]

mod anvil;
mod api;
mod campaign;
mod car;
mod chain;
mod evidence;
mod gate;
mod memory;
mod outages;
mod rollback;
mod signs;
mod site;
mod walls;
