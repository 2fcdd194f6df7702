//! The one Schnorr signature that an ECDSA key ever makes: the probe of its key generation.
//!
//! Source: RFC 9591 §6.5 (FROST(secp256k1, SHA-256)) and appendix B (verification), RFC 9380 §5.2 (hash_to_field).
//! Always true: written on the curve library alone, so that FROST's code does not judge its own signature.
//! Not here: a use outside the key generation. Such a signature shows nobody anything.

use k256::elliptic_curve::hash2curve::{ExpandMsgXmd, hash_to_field};
use k256::{ProjectivePoint, Scalar};
use sha2::Sha256;

use super::point::{POINT_BYTES, point_from_bytes, scalar_from_bytes};
use crate::signature::BadSignature;

/// RFC 9591 §6.5: H2(m) = hash_to_field(m, 1) with this DST.
const H2: &[u8] = b"FROST-secp256k1-SHA256-v1chal";

/// Verifies R ‖ z: zG = R + cY with c = H2(R ‖ Y ‖ message).
pub(crate) fn verify(
    public_key: &[u8; POINT_BYTES],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let key = point_from_bytes(public_key).ok_or(BadSignature::MalformedPublicKey)?;
    let (nonce_bytes, z) =
        signature.split_at_checked(POINT_BYTES).ok_or(BadSignature::MalformedSignature)?;
    let nonce = point_from_bytes(nonce_bytes).ok_or(BadSignature::MalformedSignature)?;
    let z = scalar_from_bytes(z).ok_or(BadSignature::MalformedSignature)?;
    let mut c = [Scalar::ZERO];
    hash_to_field::<ExpandMsgXmd<Sha256>, Scalar>(
        &[nonce_bytes, public_key, message],
        &[H2],
        &mut c,
    )
    .map_err(|_| BadSignature::DoesNotVerify)?;
    let [c] = c;
    if ProjectivePoint::GENERATOR * z == nonce + key * c {
        Ok(())
    } else {
        Err(BadSignature::DoesNotVerify)
    }
}

#[cfg(test)]
mod tests {
    use frost_core::{Ciphersuite, VerifyingKey};

    use super::super::digest_scalar;
    use super::super::point::point_bytes;
    use super::*;
    use crate::suite::Secp256k1;

    /// A signature by the textbook, with FROST's own challenge.
    fn signed(x: Scalar, message: &[u8]) -> ([u8; 33], Vec<u8>) {
        let key = ProjectivePoint::GENERATOR * x;
        let k = digest_scalar(&[9; 32]);
        let nonce = ProjectivePoint::GENERATOR * k;
        let verifying = VerifyingKey::<Secp256k1>::new(key);
        let c = Secp256k1::challenge(&nonce, &verifying, message).unwrap().to_scalar();
        let signature = [&point_bytes(&nonce).unwrap()[..], &(k + c * x).to_bytes()].concat();
        (point_bytes(&key).unwrap(), signature)
    }

    #[test]
    fn probe_verifies_with_frosts_challenge_and_not_after_any_change() {
        let (key, signature) = signed(digest_scalar(&[5; 32]), b"probe");
        let (other, _) = signed(digest_scalar(&[6; 32]), b"probe");
        assert_eq!(verify(&key, b"probe", &signature), Ok(()));
        assert_eq!(verify(&key, b"probf", &signature), Err(BadSignature::DoesNotVerify));
        assert_eq!(verify(&other, b"probe", &signature), Err(BadSignature::DoesNotVerify));
        for place in 0..signature.len() {
            let mut changed = signature.clone();
            changed[place] ^= 1;
            assert!(verify(&key, b"probe", &changed).is_err(), "byte {place}");
        }
        for cut in [0, 32, 33, 64] {
            let malformed = Err(BadSignature::MalformedSignature);
            assert_eq!(verify(&key, b"probe", &signature[..cut]), malformed);
        }
        let no_key = Err(BadSignature::MalformedPublicKey);
        assert_eq!(verify(&[0; 33], b"probe", &signature), no_key);
    }
}
