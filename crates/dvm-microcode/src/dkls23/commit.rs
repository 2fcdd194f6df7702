//! Level 1: draw the nonce and its mask, commit to the nonce, start the multiplications.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6, steps 5 and 6. That ψ is committed to as well, and that the nonce's
//! commitment is broadcast and not told pair by pair, are ours; both only bind more.
//! Always true: nothing here depends on the message or on anything a peer has sent in this run.

use std::collections::BTreeMap;

use dvm_blame::ecdsa::{NonceCommitment, opening, point_bytes};
use dvm_blame::{Bug, Fault};
use k256::elliptic_curve::ops::MulByGenerator;
use k256::elliptic_curve::{NonZeroScalar, PrimeField};
use k256::{ProjectivePoint, Scalar, Secp256k1};
use rand_core::CryptoRngCore;
use zeroize::Zeroize;

use super::terms::{Pairs, Terms};
use super::vole::{RECEIVE_BYTES, Vole};
use super::zero_share::zero_share;
use crate::secret::{OneTime, Secret, SecretMessages};

/// Length of the message to each peer: set-up digest ‖ commitment to ψ ‖ the OLE receiver's message.
pub const COMMIT_MESSAGE_BYTES: usize = 32 + 32 + RECEIVE_BYTES;

/// What this signer puts in.
#[derive(Zeroize)]
pub(crate) struct Own {
    /// r_i and sk_i, the OLE sender's inputs.
    pub(crate) input: [Scalar; 2],
    /// φ_i
    pub(crate) phi: Scalar,
}

/// What is kept with one peer, as the OLE's receiver.
pub(crate) struct Receiving<V: Vole> {
    /// χ_ij
    pub(crate) chi: Secret<Scalar>,
    pub(crate) kept: OneTime<V::Kept>,
    /// ψ_ij ‖ salt
    pub(crate) psi: Secret<[u8; 64]>,
}

/// What a signer keeps after committing.
pub struct Committed<V: Vole> {
    pub(crate) run_sid: [u8; 32],
    pub(crate) item: u16,
    pub(crate) own: Secret<Own>,
    /// R_i ‖ pk_i ‖ salt_i
    pub(crate) opening: Vec<u8>,
    pub(crate) commitment: [u8; 32],
    pub(crate) peers: BTreeMap<String, Receiving<V>>,
}

#[cfg(test)]
impl<V: Vole> Committed<V> {
    /// A signer that lies: what it goes on with is not what it committed to.
    pub(crate) fn change_own(&mut self, change: impl FnOnce(&mut Own)) {
        let mut own = self.own.expose(|own| Own { input: own.input, phi: own.phi });
        change(&mut own);
        self.own = Secret::new(own);
    }
}

/// Runs level 1 for one item of the run. Gives the commitment, which is broadcast, and a message for each peer.
pub fn commit<V: Vole>(
    terms: &Terms,
    item: u16,
    pairs: &Pairs<V>,
    rng: &mut dyn CryptoRngCore,
) -> Result<(Committed<V>, [u8; 32], SecretMessages), Fault> {
    // Step 5: P_i samples r_i and φ_i, and R_i = r_i·G; it commits to R_i.
    let zeta = zero_share(terms, item, pairs)?;
    let own = Secret::new(Own {
        // sk_i = λ_i·(p(i) + τ) + ζ_i
        input: [draw(rng), terms.part.expose(|part| zeta.expose(|zeta| part + zeta))],
        phi: draw(rng),
    });
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    let [nonce, key] = own.expose(|own| own.input.map(|x| ProjectivePoint::mul_by_generator(&x)));
    let nonce = point_bytes(&nonce).ok_or(Bug::Encoding)?;
    let key = point_bytes(&key).ok_or(Bug::Encoding)?;
    let (run_sid, node) = (&terms.run_sid, terms.me.as_str());
    let commitment = NonceCommitment { run_sid, item, node, nonce: &nonce, salt: &salt }.hash();

    // Step 6: with every peer, P_i starts the OLE as its receiver and gets χ_ij.
    let (mut peers, mut messages) = (BTreeMap::new(), SecretMessages::new());
    for peer in terms.peers() {
        let pair = terms.pair(pairs, peer)?;
        let direction = terms.receiving(item, pair, peer);
        let (chi, kept, received) =
            pair.vole.expose(|vole| V::receive(vole, &direction.vole_sid(), rng))?;
        // ψ_ij = φ_i − χ_ij makes the peer's product with χ_ij one with φ_i.
        let psi = committed_psi(&own, &chi, rng);
        let psi_commitment = psi.expose(|psi| {
            let (psi, salt) = psi.split_at(32);
            direction.psi_commitment(psi, salt)
        });
        let message = received.expose(|received| {
            [&pair.setup_digest[..], &psi_commitment, received.as_slice()].concat()
        });
        messages.insert(peer.to_owned(), Secret::new(message));
        peers.insert(peer.to_owned(), Receiving { chi, kept, psi });
    }
    let run_sid = terms.run_sid;
    let opening = opening(&nonce, &key, &salt).to_vec();
    Ok((Committed { run_sid, item, own, opening, commitment, peers }, commitment, messages))
}

/// ψ_ij ‖ a salt.
fn committed_psi(
    own: &Secret<Own>,
    chi: &Secret<Scalar>,
    rng: &mut dyn CryptoRngCore,
) -> Secret<[u8; 64]> {
    let mut psi = [0; 64];
    let (value, salt) = psi.split_at_mut(32);
    let difference = own.expose(|own| chi.expose(|chi| own.phi - chi));
    value.copy_from_slice(&difference.to_repr());
    rng.fill_bytes(salt);
    Secret::new(psi)
}

/// A random scalar that is not zero.
fn draw(mut rng: &mut dyn CryptoRngCore) -> Scalar {
    *NonZeroScalar::<Secp256k1>::random(&mut rng)
}
