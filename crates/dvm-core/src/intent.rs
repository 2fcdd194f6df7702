//! What a client wants: a typed act, bound to a key, a scope and an idempotency key.

use serde::{Deserialize, Serialize};

use crate::bytes::{Address20, B32};
use crate::codec::Artifact;
use crate::ids::{IdempotencyKey, KeyId, NodeId, PersonId, Tenant};
use crate::link::Link;

/// The form of a key's signatures: what a score is written for, whatever protocol performs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// `s = k + c·x`.
    Schnorr,
    /// `s = (m + r·x) / k`.
    Ecdsa,
}

/// The protocol that performs a key's acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// FROST (RFC 9591) over Ed25519.
    #[serde(rename = "frost-ed25519")]
    FrostEd25519,
    /// FROST over secp256k1 with BIP-340 signatures and the BIP-341 key-path tweak.
    #[serde(rename = "frost-secp256k1-tr")]
    FrostSecp256k1Tr,
    /// ECDSA over secp256k1 by the three-round protocol of Doerner, Kondi, Lee and shelat (eprint 2023/765).
    #[serde(rename = "dkls23-secp256k1")]
    Dkls23Secp256k1,
}

impl Backend {
    /// The backends of this build.
    pub const ALL: [Self; 3] = [Self::FrostEd25519, Self::FrostSecp256k1Tr, Self::Dkls23Secp256k1];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrostEd25519 => "frost-ed25519",
            Self::FrostSecp256k1Tr => "frost-secp256k1-tr",
            Self::Dkls23Secp256k1 => "dkls23-secp256k1",
        }
    }

    /// Bytes of a public key, in the form that verifiers use.
    pub fn public_key_bytes(self) -> usize {
        match self.scheme() {
            Scheme::Schnorr => 32,
            Scheme::Ecdsa => 33,
        }
    }

    /// What its keys sign with.
    pub fn scheme(self) -> Scheme {
        match self {
            Self::FrostEd25519 | Self::FrostSecp256k1Tr => Scheme::Schnorr,
            Self::Dkls23Secp256k1 => Scheme::Ecdsa,
        }
    }

    /// The backend with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }
}

/// A typed act. What is signed is derived from it, never handed in beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Act {
    /// Make a threshold key by distributed key generation.
    #[serde(rename = "key.generate")]
    KeyGenerate {
        /// Its new name.
        key_id: KeyId,
        /// The protocol family.
        backend: Backend,
        /// Shares needed to sign.
        threshold: u16,
        /// The holders, sorted.
        roster: Vec<NodeId>,
    },
    /// Sign a message or a file.
    #[serde(rename = "sign.message")]
    SignMessage {
        /// The key.
        key_id: KeyId,
        /// Its epoch.
        key_epoch: u32,
        /// Raw link of the content, which travels beside the intent.
        message: Link,
        /// Bytes of the content.
        len: u64,
    },
    /// Sign a raw 32-byte digest: opaque, its own class.
    #[serde(rename = "sign.digest")]
    SignDigest {
        /// The key.
        key_id: KeyId,
        /// Its epoch.
        key_epoch: u32,
        /// The digest.
        digest: B32,
    },
    /// Sign a transaction of an EVM chain.
    #[serde(rename = "sign.evm_transaction")]
    SignEvmTransaction {
        /// The key.
        key_id: KeyId,
        /// Its epoch.
        key_epoch: u32,
        /// BIP-32 path from the key to the one that signs, non-hardened; empty for the key itself.
        path: Vec<u32>,
        /// The account that pays: the address of the key at that path. Here because people are shown it.
        from: Address20,
        /// Raw link of the unsigned payload, which travels beside the intent.
        transaction: Link,
        /// Bytes of the payload.
        len: u64,
    },
    /// Prepare one-time material with which these signers can sign later, in fewer messages.
    #[serde(rename = "presign.batch")]
    PresignBatch {
        /// The key.
        key_id: KeyId,
        /// Its epoch.
        key_epoch: u32,
        /// The path that it is good for.
        path: Vec<u32>,
        /// The signers that it is good for: exactly t, sorted.
        signers: Vec<NodeId>,
        /// How many.
        count: u16,
    },
}

/// The class of an act, as floors and policies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ActClass {
    /// `key.generate`
    #[serde(rename = "key.generate")]
    KeyGenerate,
    /// `sign.message`
    #[serde(rename = "sign.message")]
    SignMessage,
    /// `sign.digest`
    #[serde(rename = "sign.digest")]
    SignDigest,
    /// `sign.evm_transaction`
    #[serde(rename = "sign.evm_transaction")]
    SignEvmTransaction,
    /// `presign.batch`
    #[serde(rename = "presign.batch")]
    PresignBatch,
}

impl ActClass {
    /// Every class of this build.
    pub const ALL: [Self; 5] = [
        Self::KeyGenerate,
        Self::SignMessage,
        Self::SignDigest,
        Self::SignEvmTransaction,
        Self::PresignBatch,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyGenerate => "key.generate",
            Self::SignMessage => "sign.message",
            Self::SignDigest => "sign.digest",
            Self::SignEvmTransaction => "sign.evm_transaction",
            Self::PresignBatch => "presign.batch",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}

impl Act {
    /// The act's class.
    pub fn class(&self) -> ActClass {
        match self {
            Self::KeyGenerate { .. } => ActClass::KeyGenerate,
            Self::SignMessage { .. } => ActClass::SignMessage,
            Self::SignDigest { .. } => ActClass::SignDigest,
            Self::SignEvmTransaction { .. } => ActClass::SignEvmTransaction,
            Self::PresignBatch { .. } => ActClass::PresignBatch,
        }
    }

    /// The key that the act makes or uses.
    pub fn key_id(&self) -> &KeyId {
        match self {
            Self::KeyGenerate { key_id, .. }
            | Self::SignMessage { key_id, .. }
            | Self::SignDigest { key_id, .. }
            | Self::SignEvmTransaction { key_id, .. }
            | Self::PresignBatch { key_id, .. } => key_id,
        }
    }

    /// The epoch of that key: 1 for a key about to be made.
    pub fn key_epoch(&self) -> u32 {
        match self {
            Self::KeyGenerate { .. } => 1,
            Self::SignMessage { key_epoch, .. }
            | Self::SignDigest { key_epoch, .. }
            | Self::SignEvmTransaction { key_epoch, .. }
            | Self::PresignBatch { key_epoch, .. } => *key_epoch,
        }
    }

    /// The same act at this epoch of its key; one that makes its key has no other.
    #[must_use]
    pub fn at_epoch(mut self, epoch: u32) -> Self {
        match &mut self {
            Self::KeyGenerate { .. } => {}
            Self::SignMessage { key_epoch, .. }
            | Self::SignDigest { key_epoch, .. }
            | Self::SignEvmTransaction { key_epoch, .. }
            | Self::PresignBatch { key_epoch, .. } => *key_epoch = epoch,
        }
        self
    }

    /// Whether it makes the key that it names.
    pub fn makes_key(&self) -> bool {
        matches!(self, Self::KeyGenerate { .. })
    }

    /// The key that exists already and whose shares it takes, with its epoch.
    pub fn signs_with(&self) -> Option<(&KeyId, u32)> {
        (!self.makes_key()).then(|| (self.key_id(), self.key_epoch()))
    }

    /// The content that travels beside the intent: its raw link and its length.
    pub fn content_link(&self) -> Option<(&Link, u64)> {
        match self {
            Self::SignMessage { message: link, len, .. }
            | Self::SignEvmTransaction { transaction: link, len, .. } => Some((link, *len)),
            Self::KeyGenerate { .. } | Self::SignDigest { .. } | Self::PresignBatch { .. } => None,
        }
    }

    /// The BIP-32 path from the key that it names to the key that signs.
    pub fn path(&self) -> &[u32] {
        match self {
            Self::SignEvmTransaction { path, .. } | Self::PresignBatch { path, .. } => path,
            Self::KeyGenerate { .. } | Self::SignMessage { .. } | Self::SignDigest { .. } => &[],
        }
    }

    /// The participants that it names, where only they will do.
    pub fn named_participants(&self) -> Option<&[NodeId]> {
        match self {
            Self::KeyGenerate { roster, .. } => Some(roster),
            Self::PresignBatch { signers, .. } => Some(signers),
            Self::SignMessage { .. }
            | Self::SignDigest { .. }
            | Self::SignEvmTransaction { .. } => None,
        }
    }

    /// Whether there is a result to publish. What is prepared for later stays in the kernels.
    pub fn publishes(&self) -> bool {
        !matches!(self, Self::PresignBatch { .. })
    }
}

/// Who may see the result once it is released. Fixed in the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Anyone.
    #[serde(rename = "public")]
    Public,
}

/// A client's request in canonical form. Its link is the `intent` of everything that follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanonicalIntent {
    /// Whose cluster: the link of its genesis manifest.
    pub cluster: Link,
    /// Whose request.
    pub tenant: Tenant,
    /// The client's name for it.
    pub idempotency_key: IdempotencyKey,
    /// Who asked; never counts as an approver.
    pub requester: PersonId,
    /// What to do.
    pub act: Act,
    /// Who may see the result.
    pub scope: Scope,
    /// Hash of the display text that approvers are shown.
    pub display_hash: B32,
    /// After this, nobody admits it. Milliseconds since the epoch.
    pub expires_ms: u64,
}

impl Artifact for CanonicalIntent {
    const SCHEMA: &'static str = "dvm/intent/2";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acts() -> [Act; 5] {
        let key_id = || "k".parse().unwrap();
        let (key_epoch, path, link) = (1, vec![0, 7], Link::of_raw(b"c"));
        let nodes = || vec!["n1".parse().unwrap(), "n2".parse().unwrap()];
        let (backend, from) = (Backend::Dkls23Secp256k1, Address20::default());
        [
            Act::KeyGenerate { key_id: key_id(), backend, threshold: 2, roster: nodes() },
            Act::SignMessage { key_id: key_id(), key_epoch, message: link, len: 1 },
            Act::SignDigest { key_id: key_id(), key_epoch, digest: B32::default() },
            Act::SignEvmTransaction {
                key_id: key_id(),
                key_epoch,
                path: path.clone(),
                from,
                transaction: link,
                len: 1,
            },
            Act::PresignBatch { key_id: key_id(), key_epoch, path, signers: nodes(), count: 1 },
        ]
    }

    #[test]
    fn every_class_and_every_backend_has_one_name() {
        assert_eq!(acts().map(|act| act.class()), ActClass::ALL);
        for class in ActClass::ALL {
            assert_eq!(ActClass::from_name(class.name()), Some(class));
        }
        for backend in Backend::ALL {
            assert_eq!(Backend::from_name(backend.name()), Some(backend));
        }
        assert_eq!((ActClass::from_name("sign"), Backend::from_name("frost")), (None, None));
    }

    #[test]
    fn an_act_takes_the_epoch_of_its_key_and_a_new_key_has_the_first() {
        for act in acts() {
            let later = act.clone().at_epoch(7);
            assert_eq!(later.key_epoch(), if act.makes_key() { 1 } else { 7 });
            assert_eq!(later.at_epoch(1), act);
        }
    }

    #[test]
    fn an_act_either_makes_its_key_or_takes_shares_of_it() {
        for act in acts() {
            let key = "k".parse().unwrap();
            assert_eq!(act.signs_with(), (!act.makes_key()).then_some((&key, 1)));
        }
    }

    #[test]
    fn what_a_class_names_is_told_for_that_class_alone() {
        let [make, message, digest, transaction, batch] = acts();
        for act in [&message, &transaction] {
            assert_eq!(act.content_link(), Some((&Link::of_raw(b"c"), 1)));
        }
        for act in [&make, &digest, &batch] {
            assert_eq!(act.content_link(), None);
        }
        for act in [&transaction, &batch] {
            assert_eq!(act.path(), [0, 7]);
        }
        for act in [&make, &message, &digest] {
            assert!(act.path().is_empty());
        }
        for act in [&make, &batch] {
            assert_eq!(act.named_participants().map(<[NodeId]>::len), Some(2));
        }
        assert!([make, message, digest, transaction].iter().all(Act::publishes));
        assert!(!batch.publishes());
    }
}
