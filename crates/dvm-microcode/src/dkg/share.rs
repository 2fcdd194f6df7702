//! DKG level 3: evaluate our polynomial for every peer.
//!
//! Source: eprint 2020/852, figure 1, round 2, step 1.
//! Always true: no share is computed before every peer's opening was verified.

use std::collections::BTreeMap;

use dvm_blame::{Bug, Fault, FrostSuite, Rule};
use frost_core::Identifier;
use frost_core::keys::dkg::{self, round1, round2};

use super::open::{Opened, VerifiedOpening};
use crate::secret::{Secret, SecretMessages};
use crate::session::Session;

/// What a party keeps after sending its shares.
pub struct Shared<C: FrostSuite> {
    pub(crate) session: Session<C>,
    pub(crate) commitments: BTreeMap<String, [u8; 32]>,
    pub(crate) packages: BTreeMap<Identifier<C>, round1::Package<C>>,
    /// (i, f_i(i)), and our own commitments.
    pub(crate) own: Secret<round2::SecretPackage<C>>,
}

/// Takes every peer's verified opening and returns, by peer, the share that goes sealed to that peer alone.
pub fn share<C: FrostSuite>(
    opened: Opened<C>,
    openings: Vec<VerifiedOpening<C>>,
) -> Result<(Shared<C>, SecretMessages), Fault> {
    let Opened { session, polynomial, commitments } = opened;
    let mut by_node = BTreeMap::new();
    for opening in openings {
        if opening.sid != *session.sid() {
            return Err(Rule::OtherSession.into());
        }
        if by_node.insert(opening.node, opening.package).is_some() {
            return Err(Rule::UnexpectedMessage.into());
        }
    }
    session.roster().check_senders(&by_node, session.peers())?;
    let mut packages = BTreeMap::new();
    for (node, package) in by_node {
        packages.insert(session.identifier(&node)?, package);
    }

    // Round 2, step 1: each P_i securely sends to each other participant P_l a secret share (l, f_i(l)), deleting
    //   f_i and each share afterward except for (i, f_i(i)).
    // The library wants the polynomial by value; its copy wipes itself, ours is wiped at the end of this function.
    let (own, shares) = polynomial
        .expose(|polynomial| dkg::part2(polynomial.clone(), &packages))
        .map_err(|_| Bug::Library)?;
    let own = Secret::new(own);
    let mut messages = BTreeMap::new();
    for (identifier, share) in &shares {
        let node = session.node(*identifier)?.to_owned();
        messages.insert(node, Secret::new(share.signing_share().serialize()));
    }
    Ok((Shared { session, commitments, packages, own }, messages))
}
