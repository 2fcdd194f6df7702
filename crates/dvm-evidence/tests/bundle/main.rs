//! Bundles of real runs: three kernels and a witness in one process, an interpreter beside each.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is a test"
)]

mod accepted;
mod forge;
mod lies;
mod material;
mod refused;
mod rig;
mod runs;
