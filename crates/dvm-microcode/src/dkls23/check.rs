//! Level 3, first half: end the multiplications and check what every peer did.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6, step 8.
//! Always true: a [`Checked`] exists only if every peer's nonce and key part are the ones that it multiplied with, and
//! all key parts add up to the key. After that only the last message is left to spoil.

use std::collections::BTreeMap;

use dvm_blame::ecdsa::{NoncePoint, OpenedNonce, POINT_BYTES, point_from_bytes, scalar_from_bytes};
use dvm_blame::{Fault, Offence, Rule};
use k256::elliptic_curve::ops::MulByGenerator;
use k256::{ProjectivePoint, Scalar};

use super::commit::Own;
use super::multiply::{Between, Multiplied};
use super::preimage::Direction;
use super::terms::{Pairs, Terms};
use super::verdicts::Verdicts;
use super::vole::Vole;
use crate::secret::{Secret, SecretMessages};

/// A run whose checks have all passed: R, and what this signer's shares are made of. Used up by
/// [`super::affine`] or [`Checked::into_triple`].
pub struct Checked {
    pub(crate) nonce: NoncePoint,
    pub(crate) own: Secret<Own>,
    pub(crate) peers: Vec<Product>,
}

/// What the multiplications with one peer gave, in both directions.
pub(crate) struct Product {
    /// ψ_ji
    pub(crate) psi: Secret<Scalar>,
    /// c^u_ij, c^v_ij
    pub(crate) c: Secret<[Scalar; 2]>,
    /// d^u_ij, d^v_ij
    pub(crate) d: Secret<[Scalar; 2]>,
}

impl Checked {
    /// R.
    pub fn nonce(&self) -> &NoncePoint {
        &self.nonce
    }
}

/// Runs the checks, given every signer's opening (ours included) and every peer's message of level 2.
pub fn check<V: Vole>(
    terms: &Terms,
    multiplied: Multiplied<V>,
    pairs: &Pairs<V>,
    (openings, received): (&BTreeMap<String, Vec<u8>>, &SecretMessages),
) -> Result<Checked, Fault> {
    let Multiplied { run_sid, item, own, opening, commitments, peers } = multiplied;
    if run_sid != terms.run_sid {
        return Err(Rule::OtherSession.into());
    }
    terms.signers.check_senders(openings, terms.signers.nodes())?;
    terms.signers.check_senders(received, terms.peers())?;
    if openings.get(&terms.me) != Some(&opening) {
        return Err(Rule::OwnMessageChanged.into());
    }
    // Step 8: com_j opens to R_j and pk_j. Ours is checked like the others'.
    let nonces = terms.nonces(item);
    let mut opened = BTreeMap::new();
    let mut verdicts = Verdicts::new(&terms.signers);
    for (node, opening) in openings {
        let commitment = commitments.get(node).ok_or(Rule::UnexpectedMessage)?;
        match nonces.opened(node, commitment, opening) {
            Ok(nonce) => drop(opened.insert(node.clone(), nonce)),
            Err(_) => verdicts.accuse(node),
        }
    }
    let mut products = Vec::new();
    for (peer, between) in peers {
        let (node, message) = received.get_key_value(&peer).ok_or(Rule::UnexpectedMessage)?;
        let pair = terms.pair(pairs, &peer)?;
        let Between { chi, kept, c, psi_commitment } = between;
        let direction = terms.sending(item, pair, &peer);
        let answer = message.expose(|message| Answer::read(message, &direction, &psi_commitment));
        verdicts.demand(node, answer.is_some());
        // The OLE's receiver gets d^u_ij and d^v_ij, or sees that its sender cheated.
        let sid = terms.receiving(item, pair, &peer).vole_sid();
        let d = pair
            .vole
            .expose(|vole| message.expose(|message| V::complete(vole, &sid, kept, ole(message))));
        let d = verdicts.take(node, d);
        let (Some(opened), Some(answer), Some(d)) = (opened.get(&peer), answer, d) else {
            continue;
        };
        verdicts.demand(node, consistent(&chi, &d, opened, &answer));
        products.push(Product { psi: answer.psi, c, d });
    }
    verdicts.end(Offence::Multiplication)?;
    // Step 8: Σ_k pk_k = pk. Then R = Σ_k R_k.
    let nonce = nonces.sum(&opened, Some(&terms.me))?;
    Ok(Checked { nonce, own, peers: products })
}

/// A peer's message of level 2 without the OLE's part.
struct Answer {
    /// Γ^u_ji, Γ^v_ji
    gammas: [ProjectivePoint; 2],
    /// ψ_ji
    psi: Secret<Scalar>,
}

impl Answer {
    /// Takes it if every part is in its one encoding and ψ is what its sender committed to.
    fn read(message: &[u8], direction: &Direction, commitment: &[u8; 32]) -> Option<Self> {
        let (u, rest) = message.split_at_checked(POINT_BYTES)?;
        let (v, rest) = rest.split_at_checked(POINT_BYTES)?;
        let (psi, rest) = rest.split_at_checked(32)?;
        let (salt, _) = rest.split_at_checked(32)?;
        let gammas = [point_from_bytes(u)?, point_from_bytes(v)?];
        if direction.psi_commitment(psi, salt) != *commitment {
            return None;
        }
        Some(Self { gammas, psi: Secret::new(scalar_from_bytes(psi)?) })
    }
}

/// The OLE's part of a level-2 message: what is behind an [`Answer`]. The OLE refuses any other length than its own.
fn ole(message: &[u8]) -> &[u8] {
    message.get(2 * POINT_BYTES + 64..).unwrap_or_default()
}

/// Step 8: χ_ij·R_j = d^u_ij·G + Γ^u_ji and χ_ij·pk_j = d^v_ij·G + Γ^v_ji.
fn consistent(
    chi: &Secret<Scalar>,
    d: &Secret<[Scalar; 2]>,
    opened: &OpenedNonce,
    answer: &Answer,
) -> bool {
    let [nonce, key] = chi.expose(|chi| [opened.nonce() * chi, opened.key() * chi]);
    let [u, v] = d.expose(|d| d.map(|d| ProjectivePoint::mul_by_generator(&d)));
    let [gamma_u, gamma_v] = answer.gammas;
    let (same_nonce, same_key) = (nonce == u + gamma_u, key == v + gamma_v);
    same_nonce && same_key
}
