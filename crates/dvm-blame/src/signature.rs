//! Finished signatures, judged by libraries that had no part in making them.
//!
//! Source: RFC 8032 with ed25519-dalek's strict rules (no small-order keys or R, canonical s); BIP-340 with k256,
//! over the raw message of any length; ECDSA by [`crate::ecdsa`]'s rules, over a digest; RFC 8410 and RFC 5480 for the
//! PEM forms.
//! Always true: malformed input is an error, never a panic, and is told apart from a signature that is well
//! formed and wrong.

use k256::elliptic_curve::sec1::ToEncodedPoint;

use crate::ecdsa;
use crate::suite::Suite;

/// Length of an Ed25519 or BIP-340 signature.
pub const SCHNORR_SIGNATURE_BYTES: usize = 64;

/// Length of the keys of both.
const SCHNORR_KEY_BYTES: usize = 32;

/// Why a signature was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The public key is no valid key of the suite.
    #[error("malformed public key")]
    MalformedPublicKey,
    /// An ECDSA signature is over a digest of 32 bytes.
    #[error("an ECDSA signature is over 32 bytes")]
    MalformedDigest,
    /// The signature is not a well-formed signature of the suite.
    #[error("malformed signature")]
    MalformedSignature,
    /// The signature does not verify.
    #[error("the signature does not verify under the key and the message")]
    DoesNotVerify,
}

/// Verifies a signature over the raw message; an ECDSA signature over the digest that stands in its place.
pub fn verify_signature(
    suite: Suite,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    match suite {
        Suite::FrostEd25519 => {
            let key = ed25519_key(public_key)?;
            let signature = ed25519_dalek::Signature::from_bytes(schnorr(signature)?);
            key.verify_strict(message, &signature).map_err(|_| BadSignature::DoesNotVerify)
        }
        Suite::FrostSecp256k1Tr => {
            let key = bip340_key(public_key)?;
            let signature = k256::schnorr::Signature::try_from(schnorr(signature)?.as_slice())
                .map_err(|_| BadSignature::MalformedSignature)?;
            // BIP-340 hashes the message itself; k256's `Verifier` would hash it once more before.
            key.verify_raw(message, &signature).map_err(|_| BadSignature::DoesNotVerify)
        }
        Suite::EcdsaSecp256k1 => ecdsa::verify(public_key, message, signature),
    }
}

/// The key as a PEM `SubjectPublicKeyInfo`. `None` for secp256k1-tr: an x-only key has no such form (the one for
/// ECDSA keys would invite verifiers to try the wrong algorithm).
pub fn public_key_pem(suite: Suite, public_key: &[u8]) -> Result<Option<String>, BadSignature> {
    match suite {
        Suite::FrostEd25519 => {
            ed25519_key(public_key)?;
            Ok(Some(pem(&[SPKI_ED25519_PREFIX.as_slice(), public_key].concat())))
        }
        Suite::FrostSecp256k1Tr => {
            bip340_key(public_key)?;
            Ok(None)
        }
        Suite::EcdsaSecp256k1 => {
            // Uncompressed: the form that RFC 5480 §2.2 obliges everybody to read.
            let point = ecdsa::verifying_key(public_key)?.as_affine().to_encoded_point(false);
            Ok(Some(pem(&[SPKI_SECP256K1_PREFIX.as_slice(), point.as_bytes()].concat())))
        }
    }
}

// The libraries' slice constructors panic on other lengths or take them in silence: arrays first.

fn schnorr(bytes: &[u8]) -> Result<&[u8; SCHNORR_SIGNATURE_BYTES], BadSignature> {
    bytes.try_into().map_err(|_| BadSignature::MalformedSignature)
}

fn ed25519_key(bytes: &[u8]) -> Result<ed25519_dalek::VerifyingKey, BadSignature> {
    let bytes: &[u8; SCHNORR_KEY_BYTES] =
        bytes.try_into().map_err(|_| BadSignature::MalformedPublicKey)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
        .map_err(|_| BadSignature::MalformedPublicKey)?;
    if key.is_weak() { Err(BadSignature::MalformedPublicKey) } else { Ok(key) }
}

fn bip340_key(bytes: &[u8]) -> Result<k256::schnorr::VerifyingKey, BadSignature> {
    let bytes: &[u8; SCHNORR_KEY_BYTES] =
        bytes.try_into().map_err(|_| BadSignature::MalformedPublicKey)?;
    k256::schnorr::VerifyingKey::from_bytes(bytes).map_err(|_| BadSignature::MalformedPublicKey)
}

/// RFC 7468 §3, in lines of 64 characters.
fn pem(der: &[u8]) -> String {
    // 48 bytes are 64 characters.
    let lines: String = der.chunks(48).map(|line| format!("{}\n", base64(line))).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n")
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = usize::try_from(word >> (18 - 6 * place) & 63).ok();
            match digit.and_then(|digit| BASE64.get(digit)) {
                Some(character) if place <= group.len() => text.push(char::from(*character)),
                _ => text.push('='),
            }
        }
    }
    text
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 8410 §4: SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING of 32 bytes }.
const SPKI_ED25519_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// RFC 5480 §2.1.1, SEC 2 §A.2.2: SEQUENCE { SEQUENCE { OID 1.2.840.10045.2.1, OID 1.3.132.0.10 }, BIT STRING of 65
/// bytes }.
const SPKI_SECP256K1_PREFIX: [u8; 23] = [
    0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x0a, 0x03, 0x42, 0x00,
];

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer;

    use super::*;

    const BIP340: &str = include_str!("../../../vectors/bip340/test-vectors.csv");

    #[test]
    fn every_bip340_vector_gets_the_verdict_of_the_bip() {
        let mut passed = 0;
        let mut failed = 0;
        for row in BIP340.lines().skip(1) {
            let columns: Vec<&str> = row.splitn(8, ',').collect();
            let bytes = |column: usize| hex::decode(columns[column]).unwrap();
            let verdict =
                verify_signature(Suite::FrostSecp256k1Tr, &bytes(2), &bytes(4), &bytes(5));
            match columns[6] {
                "TRUE" => {
                    assert_eq!(verdict, Ok(()), "row {}", columns[0]);
                    passed += 1;
                }
                "FALSE" => {
                    assert!(verdict.is_err(), "row {}: {}", columns[0], columns[7]);
                    failed += 1;
                }
                other => panic!("row {}: {other}", columns[0]),
            }
        }
        assert_eq!((passed, failed), (9, 10));
    }

    #[test]
    fn ed25519_signature_is_refused_after_any_change() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let public_key = key.verifying_key().to_bytes();
        let signature = key.sign(b"message").to_bytes();
        let verify = |public_key: &[u8], message: &[u8], signature: &[u8]| {
            verify_signature(Suite::FrostEd25519, public_key, message, signature)
        };
        assert_eq!(verify(&public_key, b"message", &signature), Ok(()));
        assert_eq!(verify(&public_key, b"messagf", &signature), Err(BadSignature::DoesNotVerify));
        for place in 0..SCHNORR_SIGNATURE_BYTES {
            let mut changed = signature;
            changed[place] ^= 1;
            assert!(verify(&public_key, b"message", &changed).is_err(), "byte {place}");
        }
        assert_eq!(
            verify(&public_key, b"message", &signature[..63]),
            Err(BadSignature::MalformedSignature)
        );
        assert_eq!(
            verify(&public_key[..31], b"message", &signature),
            Err(BadSignature::MalformedPublicKey)
        );
    }

    #[test]
    fn small_order_key_is_refused_though_it_verifies_anything_loosely() {
        // The identity as key and R, with s = 0, satisfies the plain equation for every message.
        let mut identity = [0u8; 32];
        identity[0] = 1;
        let forged = [identity, [0u8; 32]].concat();
        assert_eq!(
            verify_signature(Suite::FrostEd25519, &identity, b"anything", &forged),
            Err(BadSignature::MalformedPublicKey)
        );
    }

    #[test]
    fn pem_of_the_rfc_8410_example_key_is_the_rfcs() {
        let key = hex::decode("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
            .unwrap();
        assert_eq!(
            public_key_pem(Suite::FrostEd25519, &key).unwrap().unwrap(),
            "-----BEGIN PUBLIC KEY-----\n\
             MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
             -----END PUBLIC KEY-----\n"
        );
        assert_eq!(
            public_key_pem(Suite::FrostEd25519, &key[1..]),
            Err(BadSignature::MalformedPublicKey)
        );
    }

    #[test]
    fn pem_of_an_ecdsa_key_is_the_one_of_the_libraries_and_of_a_malformed_key_none() {
        use k256::pkcs8::EncodePublicKey;
        for secret in 1..=8u8 {
            let mut bytes = [0; 32];
            bytes[31] = secret;
            let key = k256::PublicKey::from_secret_scalar(
                &k256::NonZeroScalar::try_from(bytes.as_slice()).unwrap(),
            );
            let der = key.to_public_key_der().unwrap();
            let compressed = key.to_encoded_point(true);
            let text = public_key_pem(Suite::EcdsaSecp256k1, compressed.as_bytes()).unwrap();
            let text = text.unwrap();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines[0], "-----BEGIN PUBLIC KEY-----");
            assert_eq!((lines[1].len(), lines[2].len()), (64, 56));
            assert_eq!(lines[1..3].concat(), base64(der.as_bytes()));
            assert_eq!(lines[3..], ["-----END PUBLIC KEY-----"]);
            let uncompressed = key.to_encoded_point(false);
            let refused = public_key_pem(Suite::EcdsaSecp256k1, uncompressed.as_bytes());
            assert_eq!(refused, Err(BadSignature::MalformedPublicKey));
        }
    }

    #[test]
    fn base64_pads_as_the_rfc_4648_vectors_do() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
