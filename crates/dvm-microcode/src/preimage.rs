//! Every hash preimage of the rounds, in one place.
//!
//! Always true: each starts with its own domain tag, every field is length-prefixed, and everything that a replay
//! could vary (session, node, suite, t, n) is in it. Hash: SHA-256.

use dvm_blame::layout::Writer;
use sha2::{Digest, Sha256};

use crate::session::SessionId;

/// What a party commits to before anybody opens: h_i.
pub(crate) struct OpeningCommitment<'a> {
    pub(crate) sid: &'a SessionId,
    pub(crate) suite: &'a str,
    pub(crate) threshold: u16,
    pub(crate) size: u16,
    pub(crate) node: &'a str,
    /// The round-1 package.
    pub(crate) package: &'a [u8],
    /// 32 random bytes, so that h_i tells nothing about the package.
    pub(crate) blind: &'a [u8],
}

impl OpeningCommitment<'_> {
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(
            Writer::new("dvm/dkg/opening-commitment/v1")
                .field(self.sid)
                .field(self.suite.as_bytes())
                .number(self.threshold)
                .number(self.size)
                .field(self.node.as_bytes())
                .field(self.package)
                .field(self.blind),
        )
    }
}

/// What all parties must agree on when the key exists.
pub(crate) struct Transcript<'a> {
    pub(crate) sid: &'a SessionId,
    pub(crate) suite: &'a str,
    pub(crate) threshold: u16,
    pub(crate) size: u16,
    /// Every node with its h_i, in roster order.
    pub(crate) commitments: &'a [(&'a str, [u8; 32])],
    /// The group key's encoding: identifiers, verifying shares, internal key.
    pub(crate) group_key: &'a [u8],
}

impl Transcript<'_> {
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut writer = Writer::new("dvm/dkg/transcript/v1")
            .field(self.sid)
            .field(self.suite.as_bytes())
            .number(self.threshold)
            .number(self.size);
        for (node, h) in self.commitments {
            writer = writer.field(node.as_bytes()).field(h);
        }
        sha256(writer.field(self.group_key))
    }
}

/// The message of the activation probe. Nothing else that is ever signed hashes under this domain.
pub(crate) fn activation(transcript: &[u8; 32]) -> [u8; 32] {
    sha256(Writer::new("dvm/activation").field(transcript))
}

/// What a FROST identifier is derived from. The session makes frost-core's proof of knowledge, which hashes the
/// identifier but no session, useless in any other session.
pub(crate) fn identifier(sid: &SessionId, node: &str) -> Vec<u8> {
    Writer::new("dvm/frost-identifier/v1").field(sid).field(node.as_bytes()).finish()
}

fn sha256(writer: Writer) -> [u8; 32] {
    Sha256::digest(writer.finish()).into()
}
