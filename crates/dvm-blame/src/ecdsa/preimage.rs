//! What the public hashes of a signing run are over.
//!
//! Always true: each starts with its own domain tag; every field is length-prefixed and every list counted. Hash:
//! SHA-256.

use k256::Scalar;
use sha2::{Digest, Sha256};

use super::point::{POINT_BYTES, digest_scalar};
use crate::layout::Writer;
use crate::roster::Roster;

/// Everything that names one signing run. The execution id binds intent, plan, signers and their fresh openings, so no
/// name repeats; the rest says under which key the run is, so that no reader has to look it up.
pub struct RunName<'a> {
    /// The execution id.
    pub execution_id: &'a [u8; 32],
    /// The link of the key's facts.
    pub key: &'a [u8],
    /// The id of the rewrite table that the plan is by.
    pub table: &'a str,
    /// The derivation path below the key.
    pub path: &'a [u32],
    /// The key that the run signs under, derived.
    pub public_key: &'a [u8; POINT_BYTES],
    /// Who signs.
    pub signers: &'a Roster,
}

impl RunName<'_> {
    /// run_sid: what every other hash of the run starts from.
    pub fn sid(&self) -> [u8; 32] {
        let mut writer = Writer::new("dvm/dkls23/run/v1")
            .field(self.execution_id)
            .field(self.key)
            .field(self.table.as_bytes())
            // A path has at most ten indices.
            .number(u16::try_from(self.path.len()).unwrap_or(u16::MAX));
        for index in self.path {
            writer = writer.field(&index.to_be_bytes());
        }
        writer = writer.field(self.public_key).number(self.signers.size());
        for node in self.signers.nodes() {
            writer = writer.field(node.as_bytes());
        }
        Sha256::digest(writer.finish()).into()
    }
}

/// What a signer commits to before anybody opens: com_i.
pub struct NonceCommitment<'a> {
    /// The run's name.
    pub run_sid: &'a [u8; 32],
    /// Number of the item in a batch; 0 where there is one only.
    pub item: u16,
    /// The signer.
    pub node: &'a str,
    /// R_i.
    pub nonce: &'a [u8; POINT_BYTES],
    /// 32 random bytes, so that com_i tells nothing about R_i.
    pub salt: &'a [u8; 32],
}

impl NonceCommitment<'_> {
    /// com_i.
    pub fn hash(&self) -> [u8; 32] {
        let writer = Writer::new("dvm/dkls23/nonce-commitment/v1")
            .field(self.run_sid)
            .number(self.item)
            .field(self.node.as_bytes())
            .field(self.nonce)
            .field(self.salt);
        Sha256::digest(writer.finish()).into()
    }
}

/// What a run that was kept is now used for.
#[derive(Clone, Copy)]
pub struct TripleUse<'a> {
    /// The run that uses it.
    pub execution_id: &'a [u8; 32],
    /// The batch it is from.
    pub batch: &'a [u8; 32],
    /// Its number in the batch.
    pub index: u32,
    /// R as it was made.
    pub nonce: &'a [u8; POINT_BYTES],
    /// The key that is signed under, derived.
    pub public_key: &'a [u8; POINT_BYTES],
    /// What is signed.
    pub digest: &'a [u8; 32],
}

impl TripleUse<'_> {
    /// δ, which the kept R is multiplied with. `None` for zero, which nobody meets.
    pub fn delta(&self) -> Option<Scalar> {
        let writer = Writer::new("dvm/dkls23/delta/v1")
            .field(self.execution_id)
            .field(self.batch)
            .field(&self.index.to_be_bytes())
            .field(self.nonce)
            .field(self.public_key)
            .field(self.digest);
        let delta = digest_scalar(&Sha256::digest(writer.finish()).into());
        (delta != Scalar::ZERO).then_some(delta)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_changes_the_name_of_a_run() {
        let two = Roster::new(["a", "b"]).unwrap();
        let three = Roster::new(["a", "b", "c"]).unwrap();
        let base = || RunName {
            execution_id: &[1; 32],
            key: b"key",
            table: "table",
            path: &[1, 2],
            public_key: &[2; 33],
            signers: &two,
        };
        let variants = [
            base(),
            RunName { execution_id: &[9; 32], ..base() },
            RunName { key: b"kez", ..base() },
            RunName { table: "tablf", ..base() },
            RunName { path: &[1, 3], ..base() },
            RunName { path: &[1], ..base() },
            RunName { path: &[], ..base() },
            RunName { public_key: &[3; 33], ..base() },
            RunName { signers: &three, ..base() },
            // A byte moved from one field to the next is another preimage.
            RunName { key: b"keyta", table: "ble", ..base() },
        ];
        let sids: BTreeSet<_> = variants.iter().map(RunName::sid).collect();
        assert_eq!(sids.len(), variants.len());
    }

    #[test]
    fn every_field_changes_the_commitment_to_a_nonce() {
        let base = || NonceCommitment {
            run_sid: &[1; 32],
            item: 0,
            node: "node",
            nonce: &[2; 33],
            salt: &[3; 32],
        };
        let variants = [
            base(),
            NonceCommitment { run_sid: &[9; 32], ..base() },
            NonceCommitment { item: 1, ..base() },
            NonceCommitment { node: "nodf", ..base() },
            NonceCommitment { nonce: &[3; 33], ..base() },
            NonceCommitment { salt: &[4; 32], ..base() },
        ];
        let hashes: BTreeSet<_> = variants.iter().map(NonceCommitment::hash).collect();
        assert_eq!(hashes.len(), variants.len());
    }

    #[test]
    fn every_field_changes_what_a_kept_nonce_is_multiplied_with() {
        let base = TripleUse {
            execution_id: &[1; 32],
            batch: &[2; 32],
            index: 3,
            nonce: &[2; POINT_BYTES],
            public_key: &[3; POINT_BYTES],
            digest: &[4; 32],
        };
        let uses = [
            base,
            TripleUse { execution_id: &[9; 32], ..base },
            TripleUse { batch: &[9; 32], ..base },
            TripleUse { index: 4, ..base },
            TripleUse { nonce: &[9; POINT_BYTES], ..base },
            TripleUse { public_key: &[9; POINT_BYTES], ..base },
            TripleUse { digest: &[9; 32], ..base },
        ];
        let deltas = uses.map(|taken| taken.delta().unwrap().to_bytes());
        assert_eq!(deltas.iter().collect::<BTreeSet<_>>().len(), uses.len());
    }
}
