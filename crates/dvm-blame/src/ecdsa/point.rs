//! Points and scalars of secp256k1 in their only accepted encodings.
//!
//! Source: SEC 1 §2.3 for compressed points; scalars are 32 bytes, big-endian, below q.
//! Always true: what decodes encodes back to the same bytes; the identity has no encoding.

use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::ops::Reduce;
use k256::{ProjectivePoint, Scalar, U256};

use crate::suite::{FrostSuite, Secp256k1, element_from_bytes};
use frost_core::Group;

/// Length of a compressed point.
pub const POINT_BYTES: usize = <Secp256k1 as FrostSuite>::ELEMENT_BYTES;

/// Decodes a compressed point.
pub fn point_from_bytes(bytes: &[u8]) -> Option<ProjectivePoint> {
    element_from_bytes::<Secp256k1>(bytes)
}

/// Encodes a point; `None` for the identity.
pub fn point_bytes(point: &ProjectivePoint) -> Option<[u8; POINT_BYTES]> {
    <Secp256k1 as frost_core::Ciphersuite>::Group::serialize(point).ok()
}

/// Decodes a scalar.
pub fn scalar_from_bytes(bytes: &[u8]) -> Option<Scalar> {
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    Scalar::from_repr(bytes.into()).into()
}

/// m: the digest as a number, modulo q. SEC 1 §4.1.3, step 5.
pub fn digest_scalar(digest: &[u8; 32]) -> Scalar {
    <Scalar as Reduce<U256>>::reduce_bytes(&(*digest).into())
}
