//! The signature suites we know, and the little that differs between their keys.
//!
//! Source: RFC 9591 §6.1 (Ed25519, SHA-512) and §6.5 (secp256k1, SHA-256); the `frost-secp256k1-tr` crate's suite for
//! BIP-340 keys with the BIP-341 key-path tweak.
//! Always true: a suite's name is stable and is part of every hash and encoding. All keys are made by one key
//! generation; only the keys of a [`SchnorrSuite`] sign by FROST.

use frost_core::keys::PublicKeyPackage;
use frost_core::{Ciphersuite, Group, VerifyingKey};
use frost_secp256k1_tr::keys::Tweak;

use crate::ecdsa;
use crate::signature::{BadSignature, SCHNORR_SIGNATURE_BYTES, verify_signature};

/// FROST(Ed25519, SHA-512).
pub type Ed25519 = frost_ed25519::Ed25519Sha512;

/// FROST(secp256k1, SHA-256) for taproot key-path keys.
pub type Secp256k1Tr = frost_secp256k1_tr::Secp256K1Sha256TR;

/// secp256k1 keys for ECDSA. FROST(secp256k1, SHA-256) makes them and probes them once.
pub type Secp256k1 = frost_secp256k1::Secp256K1Sha256;

/// A signature suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// Ed25519 (RFC 8032) by FROST.
    FrostEd25519,
    /// BIP-340 Schnorr over secp256k1 by FROST, with the BIP-341 key-path tweak.
    FrostSecp256k1Tr,
    /// ECDSA over secp256k1, over 32-byte digests, with low s and a recovery id.
    EcdsaSecp256k1,
}

impl Suite {
    /// All suites.
    pub const ALL: [Self; 3] = [Self::FrostEd25519, Self::FrostSecp256k1Tr, Self::EcdsaSecp256k1];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrostEd25519 => "frost-ed25519",
            Self::FrostSecp256k1Tr => "frost-secp256k1-tr",
            Self::EcdsaSecp256k1 => "ecdsa-secp256k1",
        }
    }

    /// Length of a public key as verifiers use it: an Ed25519 key, an x-only key, a compressed point.
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::FrostEd25519 | Self::FrostSecp256k1Tr => 32,
            Self::EcdsaSecp256k1 => ecdsa::POINT_BYTES,
        }
    }

    /// Length of a signature.
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::FrostEd25519 | Self::FrostSecp256k1Tr => SCHNORR_SIGNATURE_BYTES,
            Self::EcdsaSecp256k1 => ecdsa::SIGNATURE_BYTES,
        }
    }

    /// The suite of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the rounds need to know of a suite beyond frost-core's own trait.
pub trait FrostSuite: Ciphersuite {
    /// The suite's name for everything outside FROST.
    const SUITE: Suite;

    /// Length of an encoded group element. The last 32 bytes are the form that Schnorr signatures use: for Ed25519 the
    /// whole encoding, for secp256k1 the x coordinate.
    const ELEMENT_BYTES: usize;

    /// The key as verifiers use it: the last bytes of the encoded element.
    type PublicKey: AsRef<[u8]> + for<'a> TryFrom<&'a [u8]> + Copy + std::fmt::Debug + Eq;

    /// The key that signatures verify under, from the key that the DKG's contributions add up to.
    fn output_key(internal: &VerifyingKey<Self>) -> VerifyingKey<Self>;

    /// Verifies FROST's signature by code that FROST does not use.
    fn verify_schnorr(
        public_key: &Self::PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature>;
}

/// A suite whose FROST signatures are what its keys are for. Signing asks for this, so that no function signs by
/// FROST with an ECDSA key.
pub trait SchnorrSuite: FrostSuite<PublicKey = [u8; 32]> {}

impl SchnorrSuite for Ed25519 {}
impl SchnorrSuite for Secp256k1Tr {}

impl FrostSuite for Ed25519 {
    const SUITE: Suite = Suite::FrostEd25519;
    const ELEMENT_BYTES: usize = 32;
    type PublicKey = [u8; 32];

    fn output_key(internal: &VerifyingKey<Self>) -> VerifyingKey<Self> {
        *internal
    }

    fn verify_schnorr(
        public_key: &[u8; 32],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        verify_signature(Self::SUITE, public_key, message, signature)
    }
}

impl FrostSuite for Secp256k1Tr {
    const SUITE: Suite = Suite::FrostSecp256k1Tr;
    const ELEMENT_BYTES: usize = 33;
    type PublicKey = [u8; 32];

    fn output_key(internal: &VerifyingKey<Self>) -> VerifyingKey<Self> {
        // BIP-341: Q = P + int(hashTapTweak(bytes(P)))G, with no script path. The crate tweaks whole packages,
        // so the key travels in one without shares.
        let package = PublicKeyPackage::new(std::collections::BTreeMap::new(), *internal, None);
        *package.tweak::<&[u8]>(None).verifying_key()
    }

    fn verify_schnorr(
        public_key: &[u8; 32],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        verify_signature(Self::SUITE, public_key, message, signature)
    }
}

impl FrostSuite for Secp256k1 {
    const SUITE: Suite = Suite::EcdsaSecp256k1;
    const ELEMENT_BYTES: usize = 33;
    type PublicKey = [u8; ecdsa::POINT_BYTES];

    fn output_key(internal: &VerifyingKey<Self>) -> VerifyingKey<Self> {
        *internal
    }

    fn verify_schnorr(
        public_key: &[u8; ecdsa::POINT_BYTES],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        ecdsa::probe::verify(public_key, message, signature)
    }
}

/// Decodes a group element from its only accepted encoding; the identity has none.
///
/// SEC1 knows a second 33-byte form of a point (tag 5), which the library takes: what does not encode back to the
/// same bytes is refused, so that one commitment never has two encodings.
pub fn element_from_bytes<C: FrostSuite>(bytes: &[u8]) -> Option<frost_core::Element<C>> {
    let form = <C::Group as Group>::Serialization::try_from(bytes).ok()?;
    let element = C::Group::deserialize(&form).ok()?;
    let again = C::Group::serialize(&element).ok()?;
    (again.as_ref() == bytes).then_some(element)
}

/// The 32-byte form of an encoded element, as it stands in Schnorr signatures.
pub(crate) fn element_tail(encoded: &[u8]) -> Option<[u8; 32]> {
    encoded.last_chunk::<32>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_suites_are_a_bijection() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
        }
        assert_eq!(Suite::from_name("frost-ed448"), None);
    }

    #[test]
    fn a_point_has_one_encoding_only() {
        let x = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        let with_tag = |tag: u8| [vec![tag], hex::decode(x).unwrap()].concat();
        for tag in [2, 3] {
            assert!(element_from_bytes::<Secp256k1Tr>(&with_tag(tag)).is_some());
            assert!(element_from_bytes::<Secp256k1>(&with_tag(tag)).is_some());
        }
        for tag in [0, 1, 4, 5, 6] {
            assert!(element_from_bytes::<Secp256k1Tr>(&with_tag(tag)).is_none(), "tag {tag}");
            assert!(element_from_bytes::<Secp256k1>(&with_tag(tag)).is_none(), "tag {tag}");
        }
    }

    #[test]
    fn the_identity_and_small_order_points_are_no_elements() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        let order_two =
            hex::decode("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")
                .unwrap();
        let base = hex::decode("5866666666666666666666666666666666666666666666666666666666666666")
            .unwrap();
        assert!(element_from_bytes::<Ed25519>(&base).is_some());
        assert!(element_from_bytes::<Ed25519>(&identity).is_none());
        assert!(element_from_bytes::<Ed25519>(&order_two).is_none());
        assert!(element_from_bytes::<Ed25519>(&base[..31]).is_none());
    }
}
