//! Level 3, second half: this signer's shares u_i and w_i of the signature.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6, step 9. Taking a run apart before its message is known, and scaling
//! its nonce when it is, is ours.
//! Always true: Σu = k·φ and Σw = φ·(m + r·x), so s = Σw / Σu is the signature's; what a run made is used up by value,
//! so there is one (u_i, w_i) of it and no second one under another message; a run that was kept gives none before it
//! was scaled by a number that nobody could know while it was made.
//! Not here: adding up, and when a share may leave the kernel. Both halves leave together, after the last grant.

use dvm_blame::ecdsa::{NoncePoint, SHARE_BYTES, TripleUse, digest_scalar};
use dvm_blame::{Fault, Rule, Unattributed};
use k256::Scalar;
use k256::elliptic_curve::PrimeField;
use zeroize::Zeroize;

use super::check::Checked;
use crate::secret::{OneTime, Secret};

/// What is left of a run when its multiplications are added up.
#[derive(Zeroize)]
struct Shares {
    /// φ_i
    phi: Scalar,
    /// u_i, of (Σr)·(Σφ)
    u: Scalar,
    /// v_i, of x·(Σφ)
    v: Scalar,
}

/// A checked run, kept for a message that is not known yet. It signs nothing before [`Triple::scaled`].
pub struct Triple {
    nonce: NoncePoint,
    shares: OneTime<Shares>,
}

/// A kept run under its message's own nonce. It signs that message.
pub struct ScaledTriple {
    triple: Triple,
    digest: [u8; 32],
}

/// This signer's shares for the message with this digest, and R.
pub fn affine(checked: Checked, digest: &[u8; 32]) -> (Secret<[u8; SHARE_BYTES]>, NoncePoint) {
    checked.into_triple().affine(digest)
}

impl Checked {
    /// Keeps the run for later.
    pub fn into_triple(self) -> Triple {
        let Self { nonce, own, peers } = self;
        // Step 9: Φ = φ_i + Σ_j ψ_ji
        let mut phi = own.expose(|own| own.phi);
        for product in &peers {
            product.psi.expose(|psi| phi += psi);
        }
        // Step 9: u_i = r_i·Φ + Σ_j (c^u_ij + d^u_ij), v_i = sk_i·Φ + Σ_j (c^v_ij + d^v_ij)
        let [mut u, mut v] = own.expose(|own| own.input.map(|input| input * phi));
        for product in &peers {
            for half in [&product.c, &product.d] {
                half.expose(|[of_u, of_v]| {
                    u += of_u;
                    v += of_v;
                });
            }
        }
        let shares = own.expose(|own| OneTime::new(Shares { phi: own.phi, u, v }));
        [&mut phi, &mut u, &mut v].into_iter().for_each(Zeroize::zeroize);
        Triple { nonce, shares }
    }
}

impl Triple {
    /// R as it was made.
    pub fn nonce(&self) -> &NoncePoint {
        &self.nonce
    }

    /// Takes the run for one message: R' = δR and u'_i = δu_i, where δ hashes everything that the run is now used for,
    /// R and the message among it. So nobody can choose a message to fit an R that was known for long.
    pub fn scaled(self, taken: &TripleUse) -> Result<ScaledTriple, Fault> {
        if *taken.nonce != self.nonce.encode() {
            return Err(Rule::OtherSession.into());
        }
        let delta = taken.delta().ok_or(Unattributed::Degenerate)?;
        let nonce = self.nonce.scaled(&delta).ok_or(Unattributed::Degenerate)?;
        let shares = self.shares.consume(|shares| {
            OneTime::new(Shares { phi: shares.phi, u: shares.u * delta, v: shares.v })
        });
        Ok(ScaledTriple { triple: Self { nonce, shares }, digest: *taken.digest })
    }

    fn affine(self, digest: &[u8; 32]) -> (Secret<[u8; SHARE_BYTES]>, NoncePoint) {
        let (m, r) = (digest_scalar(digest), *self.nonce.r());
        // Step 9: w_i = m·φ_i + r·v_i
        let share = self.shares.consume(|shares| {
            let mut w = m * shares.phi + r * shares.v;
            let mut share = [0; SHARE_BYTES];
            let (first, second) = share.split_at_mut(32);
            first.copy_from_slice(&shares.u.to_repr());
            second.copy_from_slice(&w.to_repr());
            w.zeroize();
            Secret::new(share)
        });
        (share, self.nonce)
    }
}

impl ScaledTriple {
    /// R'.
    pub fn nonce(&self) -> &NoncePoint {
        &self.triple.nonce
    }

    /// This signer's shares for the message that the triple was taken for, and R'.
    pub fn affine(self) -> (Secret<[u8; SHARE_BYTES]>, NoncePoint) {
        self.triple.affine(&self.digest)
    }
}
