//! Every hash preimage of the DKLs23 rounds, in one place.
//!
//! Always true: each starts with its own domain tag, every field is length-prefixed, and everything that a replay
//! could vary (session, item, node, peer) is in it. Hash: SHA-256.

use dvm_blame::layout::Writer;
use sha2::{Digest, Sha256};

use crate::session::SessionId;

/// One direction of a pair's set-up.
pub(crate) fn direction(sid: &SessionId, receiver: &str, sender: &str) -> [u8; 32] {
    sha256(
        Writer::new("dvm/dkls23/direction/v1")
            .field(sid)
            .field(receiver.as_bytes())
            .field(sender.as_bytes()),
    )
}

fn sha256(writer: Writer) -> [u8; 32] {
    Sha256::digest(writer.finish()).into()
}
