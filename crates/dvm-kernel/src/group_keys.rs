//! Group keys, decoded once: the public half of a key costs more to decode and check than a share to compute.
//!
//! Always true: what is given is what [`GroupKey::decode`] gave for exactly these bytes, under exactly this suite; so
//! what is remembered cannot go stale, and forgetting it costs time only. Nothing here is secret.
//! Not here: which key is meant, and whether it is active.

use dvm_blame::{
    Ed25519, FrostSuite, GroupKey, Rule, Secp256k1, Secp256k1Tr, Suite, SuiteGroupKey,
};

/// Keys remembered of each suite; a kernel has few that sign often.
const KEPT_MAX: usize = 32;

/// The keys of one suite, the newest last.
struct Known<C: FrostSuite>(Vec<(Vec<u8>, GroupKey<C>)>);

/// The keys that this kernel has decoded since its start.
pub(crate) struct GroupKeys {
    ed25519: Known<Ed25519>,
    secp256k1_tr: Known<Secp256k1Tr>,
    secp256k1: Known<Secp256k1>,
}

impl Default for GroupKeys {
    fn default() -> Self {
        Self {
            ed25519: Known(Vec::new()),
            secp256k1_tr: Known(Vec::new()),
            secp256k1: Known(Vec::new()),
        }
    }
}

impl<C: FrostSuite> Known<C> {
    fn decode(&mut self, bytes: &[u8]) -> Result<GroupKey<C>, Rule> {
        if let Some((_, key)) = self.0.iter().find(|(encoded, _)| encoded == bytes) {
            return Ok(key.clone());
        }
        let key = GroupKey::decode(bytes)?;
        if self.0.len() >= KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push((bytes.to_vec(), key.clone()));
        Ok(key)
    }
}

impl GroupKeys {
    /// What [`GroupKey::decode`] gives for an Ed25519 key.
    pub(crate) fn ed25519(&mut self, bytes: &[u8]) -> Result<GroupKey<Ed25519>, Rule> {
        self.ed25519.decode(bytes)
    }

    /// What [`SuiteGroupKey::decode`] gives.
    pub(crate) fn of(&mut self, suite: Suite, bytes: &[u8]) -> Result<SuiteGroupKey, Rule> {
        match suite {
            Suite::FrostEd25519 => self.ed25519(bytes).map(SuiteGroupKey::Ed25519),
            Suite::FrostSecp256k1Tr => self.secp256k1_tr(bytes).map(SuiteGroupKey::Secp256k1Tr),
            Suite::EcdsaSecp256k1 => self.secp256k1(bytes).map(SuiteGroupKey::Secp256k1),
        }
    }

    /// What [`GroupKey::decode`] gives for a BIP-340 key.
    pub(crate) fn secp256k1_tr(&mut self, bytes: &[u8]) -> Result<GroupKey<Secp256k1Tr>, Rule> {
        self.secp256k1_tr.decode(bytes)
    }

    /// What [`GroupKey::decode`] gives for an ECDSA key.
    pub(crate) fn secp256k1(&mut self, bytes: &[u8]) -> Result<GroupKey<Secp256k1>, Rule> {
        self.secp256k1.decode(bytes)
    }
}
