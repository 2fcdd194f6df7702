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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_changes_the_opening_commitment() {
        let base = || OpeningCommitment {
            sid: &[1; 32],
            suite: "suite",
            threshold: 2,
            size: 3,
            node: "node",
            package: b"package",
            blind: &[2; 32],
        };
        let variants = [
            base(),
            OpeningCommitment { sid: &[9; 32], ..base() },
            OpeningCommitment { suite: "suitf", ..base() },
            OpeningCommitment { threshold: 3, ..base() },
            OpeningCommitment { size: 4, ..base() },
            OpeningCommitment { node: "nodf", ..base() },
            OpeningCommitment { package: b"packagf", ..base() },
            OpeningCommitment { blind: &[3; 32], ..base() },
            // A byte moved from one field to the next is another preimage.
            OpeningCommitment { node: "nodepa", package: b"ckage", ..base() },
        ];
        let hashes: BTreeSet<_> = variants.iter().map(OpeningCommitment::hash).collect();
        assert_eq!(hashes.len(), variants.len());
    }

    #[test]
    fn every_field_changes_the_transcript_and_its_probe() {
        let one = [("a", [1; 32]), ("b", [2; 32])];
        let other = [("a", [1; 32]), ("b", [3; 32])];
        let renamed = [("a", [1; 32]), ("c", [2; 32])];
        let base = || Transcript {
            sid: &[1; 32],
            suite: "suite",
            threshold: 2,
            size: 3,
            commitments: &one,
            group_key: b"key",
        };
        let variants = [
            base(),
            Transcript { sid: &[9; 32], ..base() },
            Transcript { suite: "suitf", ..base() },
            Transcript { threshold: 3, ..base() },
            Transcript { size: 4, ..base() },
            Transcript { commitments: &other, ..base() },
            Transcript { commitments: &renamed, ..base() },
            Transcript { group_key: b"kez", ..base() },
        ];
        let hashes: BTreeSet<_> = variants.iter().map(Transcript::hash).collect();
        assert_eq!(hashes.len(), variants.len());
        let probes: BTreeSet<_> = hashes.iter().map(activation).collect();
        assert_eq!(probes.len(), variants.len());
        assert!(probes.is_disjoint(&hashes));
    }
}
