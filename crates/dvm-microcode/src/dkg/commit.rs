//! DKG level 1: choose a polynomial and commit to its commitments.
//!
//! Source: eprint 2020/852, figure 1, round 1, steps 1–3; the hash commitment is ours. Without it a rushing party
//! could choose its contribution after seeing the others' and steer the key.

use dvm_blame::{Bug, Fault, FrostSuite};
use frost_core::keys::dkg::{self, round1};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroize;

use crate::secret::Secret;
use crate::session::Session;

/// Length of the blinding value in front of an opening.
pub(crate) const BLIND_BYTES: usize = 32;

/// What a party keeps between committing and opening.
pub struct Committed<C: FrostSuite> {
    pub(crate) session: Session<C>,
    /// (a_i0, ..., a_i(t-1))
    pub(crate) polynomial: Secret<round1::SecretPackage<C>>,
    /// blind ‖ package. Secret until it is sealed to the peers: the commitments add up to the public key.
    pub(crate) opening: Secret<Vec<u8>>,
    pub(crate) h: [u8; 32],
}

/// Draws this party's polynomial and returns h_i, which is broadcast with echo.
pub fn commit<C: FrostSuite>(
    session: Session<C>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Committed<C>, [u8; 32]), Fault> {
    let identifier = session.identifier(session.me())?;
    let (n, t) = (session.roster().size(), session.threshold());
    // Round 1, step 1: every participant P_i samples t random values (a_i0, ..., a_i(t-1)) ← Z_q
    // Round 1, step 2: P_i computes a proof of knowledge σ_i = (R_i, μ_i) to a_i0, with c_i = H(i, Φ, g^a_i0, R_i).
    //   Φ enters through i, which is derived from the session and the node.
    // Round 1, step 3: P_i computes a public commitment C_i = <φ_i0, ..., φ_i(t-1)>, φ_ij = g^a_ij
    let (polynomial, package) =
        dkg::part1(identifier, n, t, &mut *rng).map_err(|_| Bug::Library)?;
    let polynomial = Secret::new(polynomial);
    let mut package = package.serialize().map_err(|_| Bug::Encoding)?;

    // All the room at once: growing would leave a copy of the blind behind.
    let mut opening = Vec::with_capacity(BLIND_BYTES + package.len());
    opening.resize(BLIND_BYTES, 0);
    rng.fill_bytes(&mut opening);
    let h = session.opening_commitment(session.me(), &package, &opening);
    opening.extend_from_slice(&package);
    package.zeroize();
    Ok((Committed { session, polynomial, opening: Secret::new(opening), h }, h))
}
