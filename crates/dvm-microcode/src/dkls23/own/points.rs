//! Points of secp256k1 as the base OT has them: compressed, never the identity.
//!
//! Always true: a point has one encoding, and the identity has none. Points are computed together and brought to it
//! together, which costs one inversion instead of one each.
//! Constant time: k256 multiplies and adds in constant time, whatever the point. Decoding is of public bytes.

use k256::elliptic_curve::BatchNormalize;
use k256::elliptic_curve::group::{Group, GroupEncoding};
use k256::elliptic_curve::hash2curve::{ExpandMsgXmd, GroupDigest};
use k256::elliptic_curve::ops::MulByGenerator;
use k256::elliptic_curve::subtle::Choice;
use k256::{AffinePoint, ProjectivePoint, Scalar, Secp256k1};
use sha2::Sha256;

use dvm_blame::Bug;

use super::oracle::tag;

/// A point's encoding.
pub(super) type Encoded = [u8; 33];

/// The encodings of these points, unless one of them is the identity.
pub(super) fn encode<const COUNT: usize>(
    points: &[ProjectivePoint; COUNT],
) -> Option<[Encoded; COUNT]> {
    // k256 0.13.4 panics if it is to normalise an identity that is a sum or a product: it compares Z with 0 before
    // Z is reduced. A peer's message can make such a point, so none reaches it.
    let identity = points.iter().fold(Choice::from(0), |any, point| any | point.is_identity());
    if bool::from(identity) {
        return None;
    }
    let points = <ProjectivePoint as BatchNormalize<_>>::batch_normalize(points);
    Some(points.map(|point| point.to_bytes().into()))
}

/// The point that these bytes are the encoding of.
pub(super) fn decode(bytes: &Encoded) -> Option<ProjectivePoint> {
    // SEC 1 has other first bytes: they would be the identity, or a second encoding.
    let [2 | 3, ..] = bytes else { return None };
    let point: Option<AffinePoint> = AffinePoint::from_bytes(&(*bytes).into()).into();
    point.map(ProjectivePoint::from)
}

/// The generator's encoding.
pub(super) fn generator() -> Encoded {
    AffinePoint::GENERATOR.to_bytes().into()
}

/// The generator times a scalar.
pub(super) fn times_generator(scalar: &Scalar) -> ProjectivePoint {
    ProjectivePoint::mul_by_generator(scalar)
}

/// A point whose discrete logarithm nobody knows: RFC 9380, `secp256k1_XMD:SHA-256_SSWU_RO_`, over the fields.
pub(super) fn hash(fields: &[&[u8]]) -> Result<ProjectivePoint, Bug> {
    let lengths: Vec<[u8; 8]> =
        fields.iter().map(|field| (field.len() as u64).to_be_bytes()).collect();
    let message: Vec<&[u8]> =
        lengths.iter().zip(fields).flat_map(|(length, field)| [&length[..], field]).collect();
    let domain: [&[u8]; 2] = [tag::BASE_POINT, b"-with-secp256k1_XMD:SHA-256_SSWU_RO_"];
    Secp256k1::hash_from_bytes::<ExpandMsgXmd<Sha256>>(&message, &domain).map_err(|_| Bug::Library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_one_encoding() {
        let point = times_generator(&Scalar::from(5u32));
        let [bytes] = encode(&[point]).unwrap();
        assert_eq!(decode(&bytes), Some(point));
        let mut other = bytes;
        other[0] ^= 1;
        assert_eq!(decode(&other), Some(-point), "the other sign is another point");
        for first in [0, 4, 5, 0xff] {
            other[0] = first;
            assert_eq!(decode(&other), None, "first byte {first}");
        }
        assert_eq!(decode(&[0; 33]), None, "the identity");
        let mut not_on_the_curve = bytes;
        not_on_the_curve[1..].copy_from_slice(&[0; 32]);
        assert_eq!(decode(&not_on_the_curve), None);
        let mut not_reduced = [0xff; 33];
        not_reduced[0] = 2;
        assert_eq!(decode(&not_reduced), None);
    }

    #[test]
    fn encodings_made_together_are_those_made_alone() {
        let points = [1u32, 2, 7].map(|scalar| times_generator(&Scalar::from(scalar)));
        let together = encode(&points).unwrap();
        assert_eq!(together, points.map(|point| encode(&[point]).unwrap()[0]));
        assert_eq!(together[0], generator());
    }

    #[test]
    fn the_identity_has_no_encoding_however_it_was_computed() {
        let point = times_generator(&Scalar::from(5u32));
        let minus_five = times_generator(&-Scalar::from(5u32));
        let difference = point - point;
        let product = point * Scalar::ZERO;
        for identity in [ProjectivePoint::IDENTITY, difference, product, point + minus_five] {
            assert_eq!(encode(&[identity]), None);
            assert_eq!(encode(&[point, identity]), None);
        }
        assert!(encode(&[point, minus_five]).is_some());
    }
}
