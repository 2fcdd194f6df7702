//! The kernel behind its pipe: one call in, one reply out, until the node closes the stream.
//!
//! Always true: bytes are bounded before they are decoded and decoded before anything is looked at; a call that does
//! not decode is answered and changes nothing; replies are in the order of calls.
//! Not here: what a call means.

use std::io::{Read, Write};

use dvm_core::ReasonCode;
use dvm_core::call::{KernelCall, KernelReply, ProbeKind};
use dvm_core::codec;

use crate::pipe::{Pipe, PipeFault};
use crate::stop::Stop;
use crate::{Answer, Kernel, sandbox};

/// Serves until the stream ends between two calls.
///
/// # Errors
/// [`PipeFault`]: the stream broke, or announced a frame beyond its bound. The kernel ends then; what it held survives
/// in the vault.
pub fn serve<S: Read + Write>(kernel: &mut Kernel, pipe: &mut Pipe<S>) -> Result<(), PipeFault> {
    while let Some(bytes) = pipe.receive()? {
        pipe.send(&codec::encode(&answer(kernel, &bytes)))?;
    }
    Ok(())
}

/// The reply to the bytes of one call.
pub fn answer(kernel: &mut Kernel, bytes: &[u8]) -> KernelReply {
    match codec::decode::<KernelCall>(bytes) {
        Ok(call) => kernel.handle(call),
        Err(_) => Stop::refused(ReasonCode::PayloadRejected, "not a kernel call").into_reply(),
    }
}

/// Tries something forbidden. Most attempts end the process; this reply exists where one does not.
pub(crate) fn probe(kind: ProbeKind) -> Answer {
    Ok(KernelReply::Probed { refused: sandbox::probe(kind).is_err() })
}
