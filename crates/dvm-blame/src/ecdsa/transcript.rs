//! The public transcript of a signing run's nonces: what was committed, what was opened, and R.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6; the commitments, R_i and pk_i are broadcast here, so that their
//! signed frames show a wrong opening to everybody.
//! Always true: an opening is accepted only in its one encoding and only if it is what its sender committed to in this
//! run, for this item; R is used only if the signers' key points add up to the key. A wrong opening names its sender.
//! Not here: whether a signer used the r_i and sk_i of its opening in the multiplications. That needs the receiver's
//! secrets, and is the microcode's check.

use std::collections::BTreeMap;

use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::sec1::ToEncodedPoint;
use k256::{ProjectivePoint, Scalar};

use super::point::{POINT_BYTES, point_from_bytes};
use super::preimage::NonceCommitment;
use crate::fault::{Fault, Offence, Rule, Unattributed};
use crate::roster::{Party, Roster};

/// Length of an opening: R_i ‖ pk_i ‖ salt_i.
pub const OPENING_BYTES: usize = 2 * POINT_BYTES + 32;

/// An opening as it is broadcast: R_i ‖ pk_i ‖ salt_i.
pub fn opening(
    nonce: &[u8; POINT_BYTES],
    key: &[u8; POINT_BYTES],
    salt: &[u8; 32],
) -> [u8; OPENING_BYTES] {
    let mut bytes = [0; OPENING_BYTES];
    for (place, byte) in bytes.iter_mut().zip(nonce.iter().chain(key).chain(salt)) {
        *place = *byte;
    }
    bytes
}

/// One signer's opening that matched its commitment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpenedNonce {
    nonce: ProjectivePoint,
    key: ProjectivePoint,
}

impl OpenedNonce {
    /// R_i.
    pub fn nonce(&self) -> &ProjectivePoint {
        &self.nonce
    }

    /// pk_i: the signer's additive part of the key that is signed under, blinded by the zero shares.
    pub fn key(&self) -> &ProjectivePoint {
        &self.key
    }
}

/// The nonces of one item of one run: what they are bound to.
#[derive(Clone, Copy)]
pub struct Nonces<'a> {
    /// The run's name.
    pub run_sid: &'a [u8; 32],
    /// Number of the item in a batch; 0 where there is one only.
    pub item: u16,
    /// Who signs: exactly these.
    pub signers: &'a Roster,
    /// The key that is signed under, derived.
    pub public_key: &'a [u8; POINT_BYTES],
}

impl Nonces<'_> {
    /// Checks one signer's opening against its commitment.
    pub fn opened(
        &self,
        node: &str,
        commitment: &[u8; 32],
        opening: &[u8],
    ) -> Result<OpenedNonce, Offence> {
        let (nonce_bytes, key_bytes, salt) =
            parts(opening).ok_or(Offence::MalformedNonceOpening)?;
        let nonce = point_from_bytes(nonce_bytes).ok_or(Offence::MalformedNonceOpening)?;
        let key = point_from_bytes(key_bytes).ok_or(Offence::MalformedNonceOpening)?;
        let (run_sid, item) = (self.run_sid, self.item);
        let expected = NonceCommitment { run_sid, item, node, nonce: nonce_bytes, salt }.hash();
        if expected != *commitment {
            return Err(Offence::OpeningMismatch);
        }
        Ok(OpenedNonce { nonce, key })
    }

    /// Checks every signer's opening, ours included. Who sent a malformed one is named; if none is malformed, who
    /// opened something else than it committed to.
    pub fn open(
        &self,
        commitments: &BTreeMap<String, [u8; 32]>,
        openings: &BTreeMap<String, Vec<u8>>,
    ) -> Result<BTreeMap<String, OpenedNonce>, Fault> {
        self.signers.check_senders(commitments, self.signers.nodes())?;
        self.signers.check_senders(openings, self.signers.nodes())?;
        let mut opened = BTreeMap::new();
        let mut wrong = Vec::new();
        for party in self.signers.parties() {
            let node = &party.node;
            let commitment = commitments.get(node).ok_or(Rule::UnexpectedMessage)?;
            let opening = openings.get(node).ok_or(Rule::UnexpectedMessage)?;
            match self.opened(node, commitment, opening) {
                Ok(nonce) => {
                    opened.insert(node.clone(), nonce);
                }
                Err(offence) => wrong.push((offence, party)),
            }
        }
        for what in [Offence::MalformedNonceOpening, Offence::OpeningMismatch] {
            let of_kind = wrong.iter().filter(|(offence, _)| *offence == what);
            let culprits: Vec<Party> = of_kind.map(|(_, party)| party.clone()).collect();
            if !culprits.is_empty() {
                return Err(Fault::Blame { culprits, what });
            }
        }
        Ok(opened)
    }

    /// Adds up what was opened to R, if the key points add up to the key. If they do not, one of two signers knows
    /// that it was the other; among more, and for a reader who is none of them, nobody can be named.
    pub fn sum(
        &self,
        opened: &BTreeMap<String, OpenedNonce>,
        me: Option<&str>,
    ) -> Result<NoncePoint, Fault> {
        self.signers.check_senders(opened, self.signers.nodes())?;
        let public_key = point_from_bytes(self.public_key).ok_or(Rule::MalformedPublicKey)?;
        let key: ProjectivePoint = opened.values().map(OpenedNonce::key).sum();
        if key != public_key {
            let others: Vec<Party> =
                self.signers.parties().filter(|party| Some(party.node.as_str()) != me).collect();
            return Err(match others.len() {
                1 => Fault::Blame { culprits: others, what: Offence::WrongKeyPoint },
                _ => Unattributed::KeyPoints.into(),
            });
        }
        let nonce = opened.values().map(OpenedNonce::nonce).sum();
        NoncePoint::new(&nonce).ok_or_else(|| Unattributed::Degenerate.into())
    }
}

/// R_i ‖ pk_i ‖ salt_i, apart.
type Parts<'a> = (&'a [u8; POINT_BYTES], &'a [u8; POINT_BYTES], &'a [u8; 32]);

fn parts(opening: &[u8]) -> Option<Parts<'_>> {
    let (nonce, rest) = opening.split_first_chunk()?;
    let (key, salt) = rest.split_first_chunk()?;
    Some((nonce, key, salt.try_into().ok()?))
}

/// R of a signature: not the identity, and R.x below q, so that r says which point it is up to its parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoncePoint {
    point: ProjectivePoint,
    r: Scalar,
    y_is_odd: bool,
}

impl NoncePoint {
    /// `None` for a point that no signature of ours has. An honest sum is one with probability 2^-128.
    pub fn new(point: &ProjectivePoint) -> Option<Self> {
        let encoded = point.to_affine().to_encoded_point(true);
        let r: Option<Scalar> = Scalar::from_repr(*encoded.x()?).into();
        // r = 0 has no point: the curve has none with x = 0.
        Some(Self { point: *point, r: r?, y_is_odd: encoded.as_bytes().first() == Some(&3) })
    }

    /// Reads R from its compressed encoding.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::new(&point_from_bytes(bytes)?)
    }

    /// R, compressed.
    pub fn encode(&self) -> [u8; POINT_BYTES] {
        let mut bytes = [0; POINT_BYTES];
        let (tag, x) = (u8::from(self.y_is_odd) + 2, self.r.to_repr());
        for (place, byte) in bytes.iter_mut().zip(std::iter::once(&tag).chain(&x)) {
            *place = *byte;
        }
        bytes
    }

    /// R.
    pub fn point(&self) -> &ProjectivePoint {
        &self.point
    }

    /// r, the first half of the signature.
    pub fn r(&self) -> &Scalar {
        &self.r
    }

    /// The parity of R.y: the recovery id before s is made low.
    pub fn y_is_odd(&self) -> bool {
        self.y_is_odd
    }

    /// δR, for a nonce that was made before it was known what it signs. `None` as for [`NoncePoint::new`].
    pub fn scaled(&self, delta: &Scalar) -> Option<Self> {
        Self::new(&(self.point * delta))
    }
}
