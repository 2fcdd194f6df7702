//! The same checks for callers that know the suite only by name: bytes in, verdict out.
//!
//! What: an offline verifier holds a group key's encoding, the commitments and the message from a bundle, and asks
//! whether a share is right or who spoiled a signature.
//! Always true: the group key's encoding names its suite; another suite's encoding is refused. An ECDSA key is refused
//! by everything here that is about FROST's shares.

use std::collections::BTreeMap;

use crate::binding::Binding;
use crate::fault::{Fault, Rule};
use crate::group_key::GroupKey;
use crate::roster::Roster;
use crate::suite::{Ed25519, Secp256k1, Secp256k1Tr, Suite};

/// A group key of any suite.
#[derive(Clone, PartialEq, Eq)]
pub enum SuiteGroupKey {
    /// An Ed25519 key.
    Ed25519(GroupKey<Ed25519>),
    /// A BIP-340 key.
    Secp256k1Tr(GroupKey<Secp256k1Tr>),
    /// An ECDSA key.
    Secp256k1(GroupKey<Secp256k1>),
}

impl SuiteGroupKey {
    /// Reads a group key of this suite.
    pub fn decode(suite: Suite, bytes: &[u8]) -> Result<Self, Rule> {
        match suite {
            Suite::FrostEd25519 => GroupKey::decode(bytes).map(Self::Ed25519),
            Suite::FrostSecp256k1Tr => GroupKey::decode(bytes).map(Self::Secp256k1Tr),
            Suite::EcdsaSecp256k1 => GroupKey::decode(bytes).map(Self::Secp256k1),
        }
    }

    /// The key that verifiers use.
    pub fn public_key(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key.public_key(),
            Self::Secp256k1Tr(key) => key.public_key(),
            Self::Secp256k1(key) => key.public_key(),
        }
    }

    /// t: how many sign.
    pub fn threshold(&self) -> u16 {
        match self {
            Self::Ed25519(key) => key.threshold(),
            Self::Secp256k1Tr(key) => key.threshold(),
            Self::Secp256k1(key) => key.threshold(),
        }
    }

    /// Who holds shares.
    pub fn roster(&self) -> &Roster {
        match self {
            Self::Ed25519(key) => key.roster(),
            Self::Secp256k1Tr(key) => key.roster(),
            Self::Secp256k1(key) => key.roster(),
        }
    }
}

/// R as it stands in the first half of the Schnorr signature that these commitments and this message lead to.
pub fn group_commitment(
    key: &SuiteGroupKey,
    commitments: &BTreeMap<String, Vec<u8>>,
    message: &[u8],
) -> Result<[u8; 32], Fault> {
    match key {
        SuiteGroupKey::Ed25519(key) => Ok(*Binding::new(key, commitments, message)?.r()),
        SuiteGroupKey::Secp256k1Tr(key) => Ok(*Binding::new(key, commitments, message)?.r()),
        SuiteGroupKey::Secp256k1(_) => Err(Rule::OtherScheme.into()),
    }
}

/// Checks one signer's share of a Schnorr signature. An ECDSA share cannot be checked alone.
pub fn verify_share(
    key: &SuiteGroupKey,
    commitments: &BTreeMap<String, Vec<u8>>,
    message: &[u8],
    node: &str,
    share: &[u8],
) -> Result<(), Fault> {
    match key {
        SuiteGroupKey::Ed25519(key) => {
            Binding::new(key, commitments, message)?.verify_share(node, share)
        }
        SuiteGroupKey::Secp256k1Tr(key) => {
            Binding::new(key, commitments, message)?.verify_share(node, share)
        }
        SuiteGroupKey::Secp256k1(_) => Err(Rule::OtherScheme.into()),
    }
}

/// Adds up all t signers' shares to a verified Schnorr signature, or names who spoiled it. For ECDSA keys see
/// [`crate::ecdsa::SignatureTerms::combine`].
pub fn aggregate(
    key: &SuiteGroupKey,
    commitments: &BTreeMap<String, Vec<u8>>,
    message: &[u8],
    shares: &BTreeMap<String, Vec<u8>>,
) -> Result<[u8; 64], Fault> {
    match key {
        SuiteGroupKey::Ed25519(key) => Binding::new(key, commitments, message)?.aggregate(shares),
        SuiteGroupKey::Secp256k1Tr(key) => {
            Binding::new(key, commitments, message)?.aggregate(shares)
        }
        SuiteGroupKey::Secp256k1(_) => Err(Rule::OtherScheme.into()),
    }
}
