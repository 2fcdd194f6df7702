//! What travels on a connection: length, kind, bytes.
//!
//! A frame is a big-endian `u32` length (of kind and bytes), one byte of kind, and the bytes. Kinds: 0 is
//! a message; 1 is a beat, which has no bytes and says only that its sender lives.
//!
//! Always true: a length is checked before anything is allocated for it, and memory for a message is
//! taken from the peer's budget first. Anything that is not exactly a frame ends the connection.

use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::MAX_MESSAGE;

/// A connection that stays silent this long is dead: five beats missed.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// Each side says every second that it lives.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Longest time for one whole message, so that a peer cannot hold memory by sending a byte at a time.
const MESSAGE_TIME: Duration = Duration::from_secs(60);
/// Bytes read at once, within which some progress must be made in [`IDLE`].
const CHUNK: usize = 64 * 1024;
/// What a message costs of a budget at least: its entry in a queue is not free either.
const MIN_COST: usize = 4096;

const KIND_MESSAGE: u8 = 0;
const KIND_BEAT: u8 = 1;
/// The one form of a beat.
const BEAT: [u8; 5] = [0, 0, 0, 1, KIND_BEAT];

/// What a message of this length costs of a budget.
pub(super) fn cost(len: usize) -> u32 {
    u32::try_from(len.max(MIN_COST)).unwrap_or(u32::MAX)
}

fn broken() -> Error {
    ErrorKind::InvalidData.into()
}

/// Writes one message.
pub(super) async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<()> {
    let len = u32::try_from(bytes.len() + 1).map_err(|_| broken())?;
    let [a, b, c, d] = len.to_be_bytes();
    stream.write_all(&[a, b, c, d, KIND_MESSAGE]).await?;
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Writes one beat.
pub(super) async fn write_beat(stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(&BEAT).await?;
    stream.flush().await
}

/// Reads beats, and nothing else, for as long as they keep coming; `on_first` runs at the first.
pub(super) async fn hear_beats(
    stream: &mut (impl AsyncRead + Unpin),
    on_first: impl FnOnce(),
) -> Result<()> {
    let mut on_first = Some(on_first);
    let mut beat = [0_u8; BEAT.len()];
    loop {
        timeout(IDLE, stream.read_exact(&mut beat)).await??;
        if beat != BEAT {
            return Err(broken());
        }
        if let Some(first) = on_first.take() {
            first();
        }
    }
}

/// Reads up to the next message. The permit stands for its memory and is held until it is consumed.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    budget: &Arc<Semaphore>,
) -> Result<(Vec<u8>, OwnedSemaphorePermit)> {
    loop {
        let mut head = [0_u8; 5];
        timeout(IDLE, stream.read_exact(&mut head)).await??;
        if head == BEAT {
            continue;
        }
        let [a, b, c, d, kind] = head;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| broken())?;
        let len = len.checked_sub(1).ok_or_else(broken)?;
        if kind != KIND_MESSAGE || len > MAX_MESSAGE {
            return Err(broken());
        }
        // May wait for the engine to consume what it has: that is the back-pressure on this peer.
        let permit = Arc::clone(budget).acquire_many_owned(cost(len)).await;
        let permit = permit.map_err(|_| broken())?;
        return Ok((read_body(stream, len).await?, permit));
    }
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin), len: usize) -> Result<Vec<u8>> {
    let deadline = Instant::now() + MESSAGE_TIME;
    let mut bytes = vec![0; len];
    for chunk in bytes.chunks_mut(CHUNK) {
        let until = deadline.min(Instant::now() + IDLE);
        timeout_at(until, stream.read_exact(chunk)).await??;
    }
    Ok(bytes)
}
