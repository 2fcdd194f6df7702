//! What a client wants: a typed act, bound to a key, a scope and an idempotency key.

use serde::{Deserialize, Serialize};

use crate::bytes::B32;
use crate::codec::Artifact;
use crate::ids::{IdempotencyKey, KeyId, NodeId, PersonId, Tenant};
use crate::link::Link;

/// The protocol that performs a key's acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// FROST (RFC 9591) over Ed25519.
    #[serde(rename = "frost-ed25519")]
    FrostEd25519,
    /// FROST over secp256k1 with BIP-340 signatures and the BIP-341 key-path tweak.
    #[serde(rename = "frost-secp256k1-tr")]
    FrostSecp256k1Tr,
}

impl Backend {
    /// The backends of this build.
    pub const ALL: [Self; 2] = [Self::FrostEd25519, Self::FrostSecp256k1Tr];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::FrostEd25519 => "frost-ed25519",
            Self::FrostSecp256k1Tr => "frost-secp256k1-tr",
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
}

impl ActClass {
    /// Every class of this build.
    pub const ALL: [Self; 3] = [Self::KeyGenerate, Self::SignMessage, Self::SignDigest];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyGenerate => "key.generate",
            Self::SignMessage => "sign.message",
            Self::SignDigest => "sign.digest",
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
        }
    }

    /// The key that the act makes or uses.
    pub fn key_id(&self) -> &KeyId {
        match self {
            Self::KeyGenerate { key_id, .. }
            | Self::SignMessage { key_id, .. }
            | Self::SignDigest { key_id, .. } => key_id,
        }
    }

    /// The epoch of that key: 1 for a key about to be made.
    pub fn key_epoch(&self) -> u32 {
        match self {
            Self::KeyGenerate { .. } => 1,
            Self::SignMessage { key_epoch, .. } | Self::SignDigest { key_epoch, .. } => *key_epoch,
        }
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
    const SCHEMA: &'static str = "dvm/intent/1";
}
