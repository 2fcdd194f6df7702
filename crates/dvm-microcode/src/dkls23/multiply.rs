//! Level 2: open the nonce, and answer every peer's multiplication.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6, step 7. The comparison of set-up digests before it is ours.
//! Always true: no OT is answered before every commitment is here and every peer was seen to start from the same
//! set-up; two states that differ are nobody's offence, because a disk that came back from a copy does it, too.

use std::collections::BTreeMap;

use dvm_blame::ecdsa::{POINT_BYTES, point_bytes};
use dvm_blame::{Bug, Fault, Offence, Rule};
use k256::elliptic_curve::ops::MulByGenerator;
use k256::{ProjectivePoint, Scalar};
use rand_core::CryptoRngCore;

use super::commit::{COMMIT_MESSAGE_BYTES, Committed, Own};
use super::terms::{Pairs, Terms};
use super::verdicts::Verdicts;
use super::vole::{SEND_BYTES, Vole};
use crate::secret::{OneTime, Secret, SecretMessages};

/// Length of the message to each peer: Γ^u ‖ Γ^v ‖ ψ ‖ its salt ‖ the OLE sender's message.
pub const MULTIPLY_MESSAGE_BYTES: usize = 2 * POINT_BYTES + 32 + 32 + SEND_BYTES;

/// What is kept with one peer after both directions' messages of level 1.
pub(crate) struct Between<V: Vole> {
    /// χ_ij
    pub(crate) chi: Secret<Scalar>,
    pub(crate) kept: OneTime<V::Kept>,
    /// c^u_ij, c^v_ij
    pub(crate) c: Secret<[Scalar; 2]>,
    /// The peer's commitment to ψ_ji.
    pub(crate) psi_commitment: [u8; 32],
}

/// What a signer keeps after answering.
pub struct Multiplied<V: Vole> {
    pub(crate) run_sid: [u8; 32],
    pub(crate) item: u16,
    pub(crate) own: Secret<Own>,
    pub(crate) opening: Vec<u8>,
    /// Every signer's commitment, ours included.
    pub(crate) commitments: BTreeMap<String, [u8; 32]>,
    pub(crate) peers: BTreeMap<String, Between<V>>,
}

/// Runs level 2, given every signer's commitment (ours included) and every peer's message. Gives the opening, which
/// is broadcast, and a message for each peer.
pub fn multiply<V: Vole>(
    terms: &Terms,
    committed: Committed<V>,
    pairs: &Pairs<V>,
    (commitments, received): (BTreeMap<String, [u8; 32]>, &SecretMessages),
    rng: &mut dyn CryptoRngCore,
) -> Result<(Multiplied<V>, Vec<u8>, SecretMessages), Fault> {
    let Committed { run_sid, item, own, opening, commitment, peers: receiving } = committed;
    if run_sid != terms.run_sid {
        return Err(Rule::OtherSession.into());
    }
    terms.signers.check_senders(&commitments, terms.signers.nodes())?;
    if commitments.get(&terms.me) != Some(&commitment) {
        return Err(Rule::OwnMessageChanged.into());
    }
    check_set_ups(terms, pairs, received)?;

    let mut verdicts = Verdicts::new(&terms.signers);
    let (mut peers, mut messages) = (BTreeMap::new(), SecretMessages::new());
    for (peer, kept) in receiving {
        let (node, theirs) = received.get_key_value(&peer).ok_or(Rule::UnexpectedMessage)?;
        let pair = terms.pair(pairs, &peer)?;
        let sid = terms.sending(item, pair, &peer).vole_sid();
        // Step 7: P_i answers as the OLE's sender with r_i and sk_i, and shows its shares of the products and its
        //   key part in the exponent: Γ^u_ij = c^u_ij·G, Γ^v_ij = c^v_ij·G; ψ_ij = φ_i − χ_ij.
        let sent = pair.vole.expose(|vole| {
            own.expose(|own| {
                theirs.expose(|theirs| V::send(vole, &sid, &own.input, ole(theirs), rng))
            })
        });
        let Some((c, answer)) = verdicts.take(node, sent) else { continue };
        messages.insert(peer.clone(), message(&c, &kept.psi, &answer)?);
        let psi_commitment = theirs.expose(|theirs| psi_commitment(theirs))?;
        peers.insert(peer, Between { chi: kept.chi, kept: kept.kept, c, psi_commitment });
    }
    verdicts.end(Offence::Multiplication)?;
    let shown = opening.clone();
    Ok((Multiplied { run_sid, item, own, opening, commitments, peers }, shown, messages))
}

/// One message of the right length from each peer, and each from a set-up that we have, too.
fn check_set_ups<V: Vole>(
    terms: &Terms,
    pairs: &Pairs<V>,
    received: &SecretMessages,
) -> Result<(), Fault> {
    terms.signers.check_senders(received, terms.peers())?;
    let mut verdicts = Verdicts::new(&terms.signers);
    let mut other = Vec::new();
    for (node, message) in received {
        let pair = terms.pair(pairs, node)?;
        message.expose(|message| {
            verdicts.demand(node, message.len() == COMMIT_MESSAGE_BYTES);
            if !message.starts_with(&pair.setup_digest) {
                other.push(node);
            }
        });
    }
    verdicts.end(Offence::Multiplication)?;
    if other.is_empty() {
        return Ok(());
    }
    let parties = other.into_iter().map(|node| terms.signers.party(node));
    Err(Rule::OtherPairSetup(parties.collect::<Result<_, _>>()?).into())
}

/// The OLE's part of a level-1 message, which has passed [`check_set_ups`].
fn ole(message: &[u8]) -> &[u8] {
    message.get(64..).unwrap_or_default()
}

fn psi_commitment(message: &[u8]) -> Result<[u8; 32], Rule> {
    let bytes = message.get(32..64).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or(Rule::UnexpectedMessage)
}

fn message(
    c: &Secret<[Scalar; 2]>,
    psi: &Secret<[u8; 64]>,
    answer: &Secret<Vec<u8>>,
) -> Result<Secret<Vec<u8>>, Bug> {
    // All the room at once: growing would leave a copy behind.
    let mut message = Vec::with_capacity(MULTIPLY_MESSAGE_BYTES);
    let gammas = c.expose(|c| c.map(|c| ProjectivePoint::mul_by_generator(&c)));
    for gamma in &gammas {
        message.extend_from_slice(&point_bytes(gamma).ok_or(Bug::Encoding)?);
    }
    psi.expose(|psi| message.extend_from_slice(psi));
    answer.expose(|answer| message.extend_from_slice(answer));
    Ok(Secret::new(message))
}
