//! Every hash preimage of the DKLs23 rounds, in one place.
//!
//! Always true: each starts with its own domain tag, every field is length-prefixed, and everything that a replay
//! could vary (session, item, direction) is in it. Hash: SHA-256.
//! Not here: what an offline verifier hashes, too (nonce commitments); that is dvm-blame's.

use dvm_blame::layout::Writer;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::session::SessionId;

/// Session id of one direction of a pair's set-up.
pub(crate) fn direction(sid: &SessionId, receiver: &str, sender: &str) -> [u8; 32] {
    let writer = Writer::new("dvm/dkls23/direction/v1").field(sid);
    sha256(writer.field(receiver.as_bytes()).field(sender.as_bytes()))
}

/// What `from` commits to towards `to` before either shows its half of their zero seed. `opening`: seed ‖ salt.
pub(crate) fn zero_seed_commitment(
    sid: &SessionId,
    from: &str,
    to: &str,
    opening: &[u8; 64],
) -> [u8; 32] {
    let writer = Writer::new("dvm/dkls23/zero-seed-commitment/v1").field(sid);
    sha256(writer.field(from.as_bytes()).field(to.as_bytes()).field(opening))
}

/// What both of a pair hold of their set-up: who made it with what, and both first messages, by name, in order. The
/// messages end with the commitments to the zero seeds, so these are in it, too.
pub(crate) fn setup_digest(sid: &SessionId, vole: &str, ends: &[(&str, &[u8]); 2]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(
        Writer::new("dvm/dkls23/setup/v1").field(sid).field(vole.as_bytes()).finish(),
    );
    for (name, message) in ends {
        let end = Writer::default().field(name.as_bytes()).field(&Sha256::digest(message));
        hash.update(end.finish());
    }
    hash.finalize().into()
}

/// One pair's contribution to the zero shares of one item of one run. Functionality 3.4's fresh call.
pub(crate) fn zero_fragment(seed: &[u8; 32], run_sid: &[u8; 32], item: u16) -> [u8; 32] {
    let writer = Writer::new("dvm/dkls23/zero/v1").field(run_sid).number(item);
    sha256(writer.field(seed))
}

/// One direction of one pair in one item of one run.
#[derive(Clone, Copy)]
pub(crate) struct Direction<'a> {
    pub(crate) run_sid: &'a [u8; 32],
    pub(crate) item: u16,
    pub(crate) setup_digest: &'a [u8; 32],
    pub(crate) receiver: &'a str,
    pub(crate) sender: &'a str,
}

impl Direction<'_> {
    /// The OLE's session id.
    pub(crate) fn vole_sid(&self) -> [u8; 32] {
        sha256(self.write("dvm/dkls23/vole/v1"))
    }

    /// What the receiver commits to when its χ is fixed: the ψ that it will open to.
    pub(crate) fn psi_commitment(&self, psi: &[u8], salt: &[u8]) -> [u8; 32] {
        sha256(self.write("dvm/dkls23/psi-commitment/v1").field(psi).field(salt))
    }

    fn write(&self, domain: &str) -> Writer {
        let writer = Writer::new(domain).field(self.run_sid).number(self.item);
        let writer = writer.field(self.setup_digest);
        writer.field(self.receiver.as_bytes()).field(self.sender.as_bytes())
    }
}

fn sha256(writer: Writer) -> [u8; 32] {
    // Some fields are secret.
    Sha256::digest(Zeroizing::new(writer.finish())).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all_different(hashes: &[[u8; 32]]) {
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
    }

    #[test]
    fn every_field_changes_the_ids_of_a_run() {
        let base = Direction {
            run_sid: &[1; 32],
            item: 0,
            setup_digest: &[2; 32],
            receiver: "a",
            sender: "b",
        };
        let variants = [
            base,
            Direction { run_sid: &[9; 32], ..base },
            Direction { item: 1, ..base },
            Direction { setup_digest: &[9; 32], ..base },
            Direction { receiver: "b", sender: "a", ..base },
            // A byte moved from one field to the next is another preimage.
            Direction { receiver: "ab", sender: "", ..base },
        ];
        let sids = variants.map(|direction| direction.vole_sid());
        let psis = variants.map(|direction| direction.psi_commitment(&[3; 32], &[4; 32]));
        all_different(&[&sids[..], &psis[..]].concat());
        all_different(&[
            base.psi_commitment(&[3; 32], &[4; 32]),
            base.psi_commitment(&[4; 32], &[4; 32]),
            base.psi_commitment(&[3; 32], &[3; 32]),
        ]);
        all_different(&[
            zero_fragment(&[1; 32], &[2; 32], 0),
            zero_fragment(&[2; 32], &[2; 32], 0),
            zero_fragment(&[1; 32], &[1; 32], 0),
            zero_fragment(&[1; 32], &[2; 32], 1),
        ]);
    }

    #[test]
    fn every_field_changes_the_hashes_of_a_set_up() {
        all_different(&[
            direction(&[1; 32], "a", "b"),
            direction(&[2; 32], "a", "b"),
            direction(&[1; 32], "b", "a"),
            zero_seed_commitment(&[1; 32], "a", "b", &[0; 64]),
            zero_seed_commitment(&[2; 32], "a", "b", &[0; 64]),
            zero_seed_commitment(&[1; 32], "b", "a", &[0; 64]),
            zero_seed_commitment(&[1; 32], "a", "b", &[1; 64]),
            setup_digest(&[1; 32], "vole", &[("a", b"1"), ("b", b"2")]),
            setup_digest(&[2; 32], "vole", &[("a", b"1"), ("b", b"2")]),
            setup_digest(&[1; 32], "volf", &[("a", b"1"), ("b", b"2")]),
            setup_digest(&[1; 32], "vole", &[("a", b"2"), ("b", b"1")]),
            setup_digest(&[1; 32], "vole", &[("a", b"1"), ("c", b"2")]),
        ]);
    }
}
