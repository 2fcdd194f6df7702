//! DKG level 2: open the commitments, once every party's h is known.
//!
//! Source: eprint 2020/852, figure 1, round 1, steps 4 and 5; for the number of commitments, the 2024 threshold
//! raising attacks (a longer vector makes a key that t parties cannot use).
//! Always true: nobody opens before holding every h; an opening is accepted only if it is what its sender committed
//! to, has exactly t commitments, and proves knowledge under the identifier that we derived for its sender.

use std::collections::BTreeMap;

use dvm_blame::{Fault, FrostSuite, Offence, PARTIES_MAX, Rule};
use frost_core::keys::dkg::{self, round1};

use super::commit::{BLIND_BYTES, Committed};
use crate::secret::Secret;
use crate::session::{Session, SessionId};

/// Longest opening: t commitments and a proof, with room for the encoding's own bytes.
const OPENING_BYTES_MAX: usize = BLIND_BYTES + 64 * PARTIES_MAX + 128;

/// What a party keeps after opening.
pub struct Opened<C: FrostSuite> {
    pub(crate) session: Session<C>,
    pub(crate) polynomial: Secret<round1::SecretPackage<C>>,
    /// Every node's h, ours included.
    pub(crate) commitments: BTreeMap<String, [u8; 32]>,
}

/// A peer's opening that passed every check. It holds part of the public key: it stays in the kernel.
pub struct VerifiedOpening<C: FrostSuite> {
    pub(crate) sid: SessionId,
    pub(crate) node: String,
    pub(crate) package: round1::Package<C>,
}

/// Opens our commitment, given every party's h as the echoed broadcast delivered it (ours included). The bytes go,
/// sealed, to every peer.
pub fn open<C: FrostSuite>(
    committed: Committed<C>,
    commitments: BTreeMap<String, [u8; 32]>,
) -> Result<(Opened<C>, Secret<Vec<u8>>), Fault> {
    let Committed { session, polynomial, opening, h } = committed;
    let roster = session.roster();
    roster.check_senders(&commitments, roster.nodes())?;
    if commitments.get(session.me()) != Some(&h) {
        return Err(Rule::OwnMessageChanged.into());
    }
    Ok((Opened { session, polynomial, commitments }, opening))
}

/// Checks a peer's opening. The caller has authenticated that `bytes` came from `node`.
pub fn receive_opening<C: FrostSuite>(
    opened: &Opened<C>,
    node: &str,
    bytes: &[u8],
) -> Result<VerifiedOpening<C>, Fault> {
    let session = &opened.session;
    if node == session.me() {
        return Err(Rule::UnexpectedMessage.into());
    }
    let identifier = session.identifier(node)?;
    let blame = |what| session.roster().blame(node, what);

    if bytes.len() > OPENING_BYTES_MAX {
        return Err(blame(Offence::MalformedOpening));
    }
    let (blind, encoded) =
        bytes.split_at_checked(BLIND_BYTES).ok_or_else(|| blame(Offence::MalformedOpening))?;
    // Before anything is decoded: these are the bytes that the peer bound itself to.
    let h = session.opening_commitment(node, encoded, blind);
    if opened.commitments.get(node) != Some(&h) {
        return Err(blame(Offence::OpeningMismatch));
    }
    let package =
        package_from_bytes::<C>(encoded).ok_or_else(|| blame(Offence::MalformedOpening))?;
    if package.commitment().coefficients().len() != usize::from(session.threshold()) {
        return Err(blame(Offence::CommitmentCount));
    }
    // Round 1, step 5: P_i verifies σ_l = (R_l, μ_l), aborting on failure, by checking
    //   R_l = g^μ_l · φ_l0^(-c_l), where c_l = H(l, Φ, φ_l0, R_l)
    dkg::verify_proof_of_knowledge(identifier, package.commitment(), package.proof_of_knowledge())
        .map_err(|_| blame(Offence::ProofOfKnowledge))?;
    Ok(VerifiedOpening { sid: *session.sid(), node: node.to_owned(), package })
}

/// Decodes a round-1 package from its only accepted encoding: the library ignores trailing bytes and takes a
/// second form of some points.
fn package_from_bytes<C: FrostSuite>(bytes: &[u8]) -> Option<round1::Package<C>> {
    let package = round1::Package::<C>::deserialize(bytes).ok()?;
    (package.serialize().ok()? == bytes).then_some(package)
}
