//! ECDSA over secp256k1: what a signature is, and the public half of how t kernels make one.
//!
//! Source: SEC 1 §4.1.4 (verification) and §4.1.6 (recovery); BIP-62's low s; for the making, DKLs23 (eprint
//! 2023/765), Protocol 3.6.
//! Always true: a signature here is r ‖ s ‖ recovery id over a 32-byte digest, 65 bytes, with one encoding: 0 < r < q,
//! 0 < s <= (q-1)/2, recovery id 0 or 1. R.x >= q, which ids 2 and 3 would stand for, is no signature of ours.
//! Not here: the multiplication between the signers, which needs secrets; how a message becomes its digest.

mod combine;
pub(crate) mod point;
mod preimage;
pub(crate) mod probe;
mod transcript;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

pub use combine::{SHARE_BYTES, SignatureTerms};
pub use point::{POINT_BYTES, digest_scalar, point_bytes, point_from_bytes, scalar_from_bytes};
pub use preimage::{NonceCommitment, RunName, TripleUse};
pub use transcript::{NoncePoint, Nonces, OPENING_BYTES, OpenedNonce, opening};

use crate::signature::BadSignature;

/// Length of r ‖ s ‖ recovery id.
pub const SIGNATURE_BYTES: usize = 65;

/// Length of what is signed.
pub const DIGEST_BYTES: usize = 32;

/// Verifies a signature by recovering the key from it: Q = r^-1(sR - mG) is the one key under which the equation holds
/// with the R that r and the recovery id name. The library checks the equation under Q once more.
pub(crate) fn verify(
    public_key: &[u8],
    digest: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let key = verifying_key(public_key)?;
    let digest: &[u8; DIGEST_BYTES] =
        digest.try_into().map_err(|_| BadSignature::MalformedDigest)?;
    let signature: &[u8; SIGNATURE_BYTES] =
        signature.try_into().map_err(|_| BadSignature::MalformedSignature)?;
    let (signature, recovery) = parse(signature).ok_or(BadSignature::MalformedSignature)?;
    match VerifyingKey::recover_from_prehash(digest, &signature, recovery) {
        Ok(recovered) if recovered == key => Ok(()),
        _ => Err(BadSignature::DoesNotVerify),
    }
}

/// The key from its compressed encoding.
pub(crate) fn verifying_key(bytes: &[u8]) -> Result<VerifyingKey, BadSignature> {
    let point = point_from_bytes(bytes).ok_or(BadSignature::MalformedPublicKey)?;
    VerifyingKey::from_affine(point.to_affine()).map_err(|_| BadSignature::MalformedPublicKey)
}

fn parse(bytes: &[u8; SIGNATURE_BYTES]) -> Option<(Signature, RecoveryId)> {
    let (recovery, rs) = bytes.split_last()?;
    // Refuses zero and everything from q on, in both halves.
    let signature = Signature::from_slice(rs).ok()?;
    // -s verifies as well as s: one of the two is the encoding.
    if signature.normalize_s().is_some() || *recovery > 1 {
        return None;
    }
    Some((signature, RecoveryId::from_byte(*recovery)?))
}

#[cfg(test)]
mod tests;
