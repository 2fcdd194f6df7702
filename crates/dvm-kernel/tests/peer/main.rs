//! Hostile peers: one node's kernel is played by the test, with that node's own keys, and may say anything in any
//! round. What the honest kernels answer: the code, who is named, and what they keep.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is a test"
)]

mod dkls;
mod generation;
#[path = "../cluster/harness.rs"]
#[expect(dead_code, reason = "shared with the cluster's tests, which use the rest")]
mod harness;
mod liar;
#[path = "../cluster/messenger.rs"]
#[expect(dead_code, reason = "shared with the cluster's tests, which use the rest")]
mod messenger;
mod pairs;
mod provision;
mod signing;
mod wire;
