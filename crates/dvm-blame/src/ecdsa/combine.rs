//! Adding up t signers' shares to one signature.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6, step 10; BIP-62 for the low s.
//! Always true: a signature is returned only if it verifies under the key, and the key is recovered from it, by code
//! that had no part in making it. A share that does not decode names its sender; a signature that does not verify
//! names nobody, because u_i and w_i are uniform to everybody else.

use std::collections::BTreeMap;

use k256::Scalar;
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::scalar::IsHigh;

use super::point::{POINT_BYTES, scalar_from_bytes};
use super::transcript::NoncePoint;
use super::{DIGEST_BYTES, SIGNATURE_BYTES, verify};
use crate::fault::{Fault, Offence, Rule, Unattributed};
use crate::roster::Roster;

/// Length of a share: u_i ‖ w_i.
pub const SHARE_BYTES: usize = 64;

/// What the shares are shares of.
#[derive(Clone, Copy)]
pub struct SignatureTerms<'a> {
    /// Who signs: exactly these.
    pub signers: &'a Roster,
    /// The key that is signed under, derived.
    pub public_key: &'a [u8; POINT_BYTES],
    /// R.
    pub nonce: &'a NoncePoint,
    /// What is signed.
    pub digest: &'a [u8; DIGEST_BYTES],
}

impl SignatureTerms<'_> {
    /// r ‖ s ‖ recovery id from all signers' shares.
    pub fn combine(
        &self,
        shares: &BTreeMap<String, Vec<u8>>,
    ) -> Result<[u8; SIGNATURE_BYTES], Fault> {
        self.signers.check_senders(shares, self.signers.nodes())?;
        let (mut u, mut w, mut culprits) = (Scalar::ZERO, Scalar::ZERO, Vec::new());
        for party in self.signers.parties() {
            match parts(shares.get(&party.node).ok_or(Rule::UnexpectedMessage)?) {
                Some((u_i, w_i)) => {
                    u += u_i;
                    w += w_i;
                }
                None => culprits.push(party),
            }
        }
        if !culprits.is_empty() {
            return Err(Fault::Blame { culprits, what: Offence::MalformedSignatureShare });
        }
        // Step 10: s = Σ w_i / Σ u_i. Whoever speaks last can make the sum zero, and nobody can tell who it was.
        let inverse: Option<Scalar> = u.invert().into();
        let s = w * inverse.ok_or(Unattributed::FinalSignature)?;
        // -s is the signature of -R: who takes it takes the other parity.
        let is_high = bool::from(s.is_high());
        let (s, y_is_odd) = (if is_high { -s } else { s }, self.nonce.y_is_odd() ^ is_high);
        let mut signature = [0; SIGNATURE_BYTES];
        let (r, s, recovery) = (self.nonce.r().to_repr(), s.to_repr(), [u8::from(y_is_odd)]);
        for (place, byte) in signature.iter_mut().zip(r.iter().chain(&s).chain(&recovery)) {
            *place = *byte;
        }
        verify(self.public_key, self.digest, &signature)
            .map_err(|_| Unattributed::FinalSignature)?;
        Ok(signature)
    }
}

/// u_i and w_i.
fn parts(share: &[u8]) -> Option<(Scalar, Scalar)> {
    let (u, w) = share.split_at_checked(SHARE_BYTES / 2)?;
    Some((scalar_from_bytes(u)?, scalar_from_bytes(w)?))
}
