//! Keys derived from a threshold key's public half by BIP-32's non-hardened indices.
//!
//! Source: BIP-32, "Public parent key → public child key". Hardened indices need the private key as one number, which
//! no threshold key has anywhere; they are refused.
//! Always true: the derived key is the parent plus `tweak` times the generator, so signers who add the tweak to the
//! shared secret sign under it; an index that BIP-32 calls invalid is refused and never skipped over.
//! Not here: whose key it is. A chain code is as public as an xpub: with it and the parent key anybody finds every
//! derived key, and with one derived *private* key also the parent's. No derived private key exists to be leaked.

use hmac::{Hmac, Mac};
use k256::elliptic_curve::PrimeField;
use k256::{ProjectivePoint, Scalar};
use sha2::{Digest, Sha256, Sha512};

use crate::ecdsa::point::{POINT_BYTES, point_bytes, point_from_bytes};
use crate::fault::{Bug, Fault, Rule};
use crate::layout::Writer;

/// Most indices of a path. Wallets use five; the bound keeps a derivation as cheap as a signature check.
pub const PATH_INDICES_MAX: usize = 10;

/// Length of a chain code.
pub const CHAIN_CODE_BYTES: usize = 32;

/// The first hardened index.
const HARDENED: u32 = 1 << 31;

/// A public key with the chain code that its children are derived with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    parent: [u8; POINT_BYTES],
    public_key: [u8; POINT_BYTES],
    chain_code: [u8; CHAIN_CODE_BYTES],
    tweak: Scalar,
}

impl Derived {
    /// The derived key, compressed.
    pub fn public_key(&self) -> &[u8; POINT_BYTES] {
        &self.public_key
    }

    /// The key that it was derived from, compressed.
    pub fn parent(&self) -> &[u8; POINT_BYTES] {
        &self.parent
    }

    /// The derived chain code.
    pub fn chain_code(&self) -> &[u8; CHAIN_CODE_BYTES] {
        &self.chain_code
    }

    /// τ: what the derived private key is more than the parent's. Zero for the empty path.
    pub fn tweak(&self) -> &Scalar {
        &self.tweak
    }
}

/// Derives the key at `path` below `parent`. The empty path gives the parent itself.
pub fn derive(
    parent: &[u8],
    chain_code: &[u8; CHAIN_CODE_BYTES],
    path: &[u32],
) -> Result<Derived, Fault> {
    if path.len() > PATH_INDICES_MAX {
        return Err(Rule::PathLength.into());
    }
    let mut point = point_from_bytes(parent).ok_or(Rule::MalformedPublicKey)?;
    let own = point_bytes(&point).ok_or(Bug::Encoding)?;
    let mut derived =
        Derived { parent: own, public_key: own, chain_code: *chain_code, tweak: Scalar::ZERO };
    for index in path {
        // "If so (hardened child): return failure"
        if *index >= HARDENED {
            return Err(Rule::HardenedIndex.into());
        }
        // "let I = HMAC-SHA512(Key = c_par, Data = ser_P(K_par) || ser_32(i)). Split I into I_L and I_R."
        let mut mac =
            Hmac::<Sha512>::new_from_slice(&derived.chain_code).map_err(|_| Bug::Library)?;
        mac.update(&derived.public_key);
        mac.update(&index.to_be_bytes());
        let i = mac.finalize().into_bytes();
        let left: [u8; 32] = *i.first_chunk().ok_or(Bug::Library)?;
        let right: [u8; 32] = *i.last_chunk().ok_or(Bug::Library)?;
        let (child, tweak) = child(&point, left)?;
        point = child;
        derived = Derived {
            parent: own,
            public_key: point_bytes(&point).ok_or(Bug::Encoding)?,
            // "The returned chain code c_i is I_R."
            chain_code: right,
            tweak: derived.tweak + tweak,
        };
    }
    Ok(derived)
}

/// The chain code of a new key: a function of what every party of its key generation has confirmed. The transcript
/// hashes every party's blinded commitment, so no proper subset of them could have chosen it.
pub fn first_chain_code(
    transcript: &[u8; 32],
    public_key: &[u8; POINT_BYTES],
) -> [u8; CHAIN_CODE_BYTES] {
    let preimage = Writer::new("dvm/chain-code/1").field(transcript).field(public_key).finish();
    Sha256::digest(preimage).into()
}

/// "The returned child key K_i is point(parse_256(I_L)) + K_par. In case parse_256(I_L) ≥ n or K_i is the point at
/// infinity, the resulting key is invalid."
fn child(parent: &ProjectivePoint, left: [u8; 32]) -> Result<(ProjectivePoint, Scalar), Rule> {
    let tweak: Option<Scalar> = Scalar::from_repr(left.into()).into();
    let tweak = tweak.ok_or(Rule::InvalidIndex)?;
    let child = *parent + ProjectivePoint::GENERATOR * tweak;
    if child == ProjectivePoint::IDENTITY {
        return Err(Rule::InvalidIndex);
    }
    Ok((child, tweak))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &str = include_str!("../../../vectors/bip32/test-vectors.txt");

    struct Row {
        chain: String,
        public_key: [u8; 33],
        chain_code: [u8; 32],
    }

    /// Base58Check: version (4), depth (1), fingerprint (4), child number (4), chain code (32), key (33).
    fn row(line: &str) -> Row {
        let fields: Vec<&str> = line.split(' ').collect();
        let alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut bytes = [0u8; 82];
        for character in fields[2].chars() {
            let mut carry = alphabet.find(character).unwrap();
            for byte in bytes.iter_mut().rev() {
                carry += usize::from(*byte) * 58;
                *byte = u8::try_from(carry % 256).unwrap();
                carry /= 256;
            }
            assert_eq!(carry, 0, "longer than an extended key");
        }
        assert_eq!(Sha256::digest(Sha256::digest(&bytes[..78]))[..4], bytes[78..]);
        Row {
            chain: format!("{} {}", fields[0], fields[1]),
            chain_code: bytes[13..45].try_into().unwrap(),
            public_key: bytes[45..78].try_into().unwrap(),
        }
    }

    #[test]
    fn every_non_hardened_descent_of_the_bips_vectors_gives_the_bips_key_and_chain_code() {
        let rows: Vec<Row> = VECTORS.lines().skip(1).map(row).collect();
        assert_eq!(rows.len(), 14);
        let (mut derived, mut refused) = (0, 0);
        for upper in &rows {
            for lower in &rows {
                let Some(below) = lower.chain.strip_prefix(&format!("{}/", upper.chain)) else {
                    continue;
                };
                let index = |text: &str| match text.strip_suffix('H') {
                    Some(hardened) => hardened.parse::<u32>().unwrap() | HARDENED,
                    None => text.parse().unwrap(),
                };
                let path: Vec<u32> = below.split('/').map(index).collect();
                let result = derive(&upper.public_key, &upper.chain_code, &path);
                if path.iter().all(|index| *index < HARDENED) {
                    let result = result.unwrap();
                    assert_eq!(result.public_key(), &lower.public_key, "{}", lower.chain);
                    assert_eq!(result.chain_code(), &lower.chain_code, "{}", lower.chain);
                    let parent = point_from_bytes(&upper.public_key).unwrap();
                    let sum = parent + ProjectivePoint::GENERATOR * result.tweak();
                    assert_eq!(point_bytes(&sum).unwrap(), lower.public_key);
                    derived += 1;
                } else {
                    assert_eq!(result, Err(Rule::HardenedIndex.into()), "{}", lower.chain);
                    refused += 1;
                }
            }
        }
        // Vector 1 has four such descents and vector 2 three; every other one is hardened somewhere.
        assert_eq!((derived, refused), (7, 24));
    }

    #[test]
    fn path_is_refused_when_it_is_one_too_long_or_its_last_index_is_the_first_hardened_one() {
        let root = row(VECTORS.lines().nth(1).unwrap());
        let derive = |path: &[u32]| derive(&root.public_key, &root.chain_code, path);
        assert!(derive(&[HARDENED - 1; PATH_INDICES_MAX]).is_ok());
        assert_eq!(derive(&[0; PATH_INDICES_MAX + 1]), Err(Rule::PathLength.into()));
        assert_eq!(derive(&[0, HARDENED]), Err(Rule::HardenedIndex.into()));
        let itself = derive(&[]).unwrap();
        assert_eq!(itself.public_key(), &root.public_key);
        assert_eq!(itself.chain_code(), &root.chain_code);
        assert_eq!(itself.tweak(), &Scalar::ZERO);
    }

    #[test]
    fn tweaks_of_a_path_add_up_over_its_parts() {
        let root = row(VECTORS.lines().nth(1).unwrap());
        let upper = derive(&root.public_key, &root.chain_code, &[44, 60]).unwrap();
        let lower = derive(upper.public_key(), upper.chain_code(), &[7]).unwrap();
        let whole = derive(&root.public_key, &root.chain_code, &[44, 60, 7]).unwrap();
        assert_eq!(whole.public_key(), lower.public_key());
        assert_eq!(whole.chain_code(), lower.chain_code());
        assert_eq!(*whole.tweak(), upper.tweak() + lower.tweak());
    }

    #[test]
    fn index_is_invalid_when_its_hash_is_the_order_or_leads_to_infinity_and_valid_one_below() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let order: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
        let less = |by: u8| {
            let mut bytes = order;
            bytes[31] -= by;
            bytes
        };
        let five = ProjectivePoint::GENERATOR * Scalar::from(5u64);
        assert_eq!(child(&five, order), Err(Rule::InvalidIndex));
        assert_eq!(child(&five, [0xff; 32]), Err(Rule::InvalidIndex));
        assert_eq!(child(&five, less(5)), Err(Rule::InvalidIndex), "5G - 5G is infinity");
        assert_eq!(child(&five, less(4)).unwrap().0, ProjectivePoint::GENERATOR);
        assert_eq!(child(&five, less(1)).unwrap().1, -Scalar::ONE);
        assert_eq!(child(&five, [0; 32]).unwrap().0, five);
    }

    #[test]
    fn malformed_parent_is_refused_and_a_chain_code_is_of_one_transcript_and_key() {
        let root = row(VECTORS.lines().nth(1).unwrap());
        for wrong in [&root.public_key[..32], &[0; 33], &[5; 33], &[]] {
            let result = derive(wrong, &root.chain_code, &[0]);
            assert_eq!(result, Err(Rule::MalformedPublicKey.into()));
        }
        let codes = [
            first_chain_code(&[1; 32], &root.public_key),
            first_chain_code(&[2; 32], &root.public_key),
            first_chain_code(&[1; 32], &[2; 33]),
        ];
        assert!(codes[0] != codes[1] && codes[0] != codes[2] && codes[1] != codes[2]);
    }
}
