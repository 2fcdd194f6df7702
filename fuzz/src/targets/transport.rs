//! The transport's frame reader, compiled in from its own file: nothing outside the node may call it.

use std::io::{Error, Result};
use std::sync::Arc;

use tokio::sync::Semaphore;

pub(super) use dvm_node::transport::MAX_MESSAGE;

#[path = "../../../crates/dvm-node/src/transport/frame.rs"]
#[expect(dead_code, reason = "only what reads is under test")]
mod frame;

pub(super) async fn read(stream: &mut &[u8], budget: &Arc<Semaphore>) -> Result<Vec<u8>> {
    frame::read_message(stream, budget).await.map(|(bytes, _)| bytes)
}

pub(super) async fn write(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_message(&mut out, bytes).await.unwrap();
    out
}

/// Whether a first beat was heard, and what ended it.
pub(super) async fn beats(stream: &mut &[u8]) -> (bool, Error) {
    let mut heard = false;
    let end = frame::hear_beats(stream, || heard = true).await.unwrap_err();
    (heard, end)
}
