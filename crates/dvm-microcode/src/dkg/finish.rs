//! DKG level 4: check and add up the shares.
//!
//! Source: eprint 2020/852, figure 1, round 2, steps 2–4. For `frost-secp256k1-tr` the library then applies the
//! BIP-341 tweak, so the key that verifiers use is not the sum of the contributions: both are kept.
//! Always true: a share that contradicts its sender's commitments names the sender.

use std::collections::BTreeMap;

use dvm_blame::{Bug, Fault, FrostSuite, GroupKey, Offence, Rule, Unattributed};
use frost_core::Error;
use frost_core::keys::dkg::{self, round2};
use frost_core::keys::{PublicKeyPackage, SigningShare};

use super::share::Shared;
use crate::key_share::KeyShare;
use crate::preimage::Transcript;
use crate::secret::{Secret, SecretMessages};

/// A finished share that the parties have not yet agreed on. It can neither sign nor be stored.
pub struct Unconfirmed<C: FrostSuite> {
    pub(crate) key: KeyShare<C>,
}

impl<C: FrostSuite> Unconfirmed<C> {
    /// The hash of everything that all parties must have seen alike; broadcast to the peers.
    pub fn transcript(&self) -> &[u8; 32] {
        self.key.transcript()
    }
}

/// Takes the share from every peer and makes this node's share of the key.
pub fn finish<C: FrostSuite>(
    shared: Shared<C>,
    shares: &SecretMessages,
) -> Result<Unconfirmed<C>, Fault> {
    let Shared { session, commitments, packages, own } = shared;
    session.roster().check_senders(shares, session.peers())?;
    let mut received = BTreeMap::new();
    for (node, bytes) in shares {
        let share = bytes
            .expose(|bytes| SigningShare::<C>::deserialize(bytes))
            .map_err(|_| session.roster().blame(node, Offence::MalformedSecretShare))?;
        received.insert(session.identifier(node)?, round2::Package::new(share));
    }

    // Round 2, step 2: each P_i verifies their shares by g^f_l(i) = Π_k φ_lk^(i^k), aborting if the check fails.
    // Round 2, step 3: P_i computes s_i = Σ_l f_l(i), stores s_i securely, and deletes each f_l(i).
    // Round 2, step 4: P_i computes Y_i = g^s_i, the group's public key Y = Π_j φ_j0, and every other Y_l.
    let (key_package, public) =
        own.expose(|own| dkg::part3(own, &packages, &received)).map_err(|error| match error {
            Error::InvalidSecretShare { culprit: Some(culprit) } => match session.node(culprit) {
                Ok(node) => session.roster().blame(node, Offence::WrongSecretShare),
                Err(bug) => bug.into(),
            },
            // Everything else that part3 checks was checked before, except that the sum is no identity.
            Error::GroupError(_) => Unattributed::Degenerate.into(),
            _ => Bug::Library.into(),
        })?;
    let key_package = Secret::new(key_package);

    // The key before the suite's tweak, once more from the commitments: part3 does not return it.
    let own_commitment = own.expose(|own| own.commitment().clone());
    let mut all: BTreeMap<_, _> =
        packages.iter().map(|(identifier, package)| (*identifier, package.commitment())).collect();
    all.insert(session.identifier(session.me())?, &own_commitment);
    let untweaked =
        PublicKeyPackage::from_dkg_commitments(&all).map_err(|_| Unattributed::Degenerate)?;
    // The identity has no encoding: contributions that cancel out end here.
    untweaked.verifying_key().serialize().map_err(|_| Unattributed::Degenerate)?;

    let identifiers = session.identifiers().clone();
    let group = GroupKey::new(identifiers, public, *untweaked.verifying_key())
        .map_err(|_: Rule| Bug::KeyMismatch)?;
    let h: Vec<(&str, [u8; 32])> =
        commitments.iter().map(|(node, h)| (node.as_str(), *h)).collect();
    let transcript = Transcript {
        sid: session.sid(),
        suite: C::SUITE.name(),
        threshold: session.threshold(),
        size: session.roster().size(),
        commitments: &h,
        group_key: &group.encode()?,
    }
    .hash();
    let share = key_package.expose(|package| *package.signing_share());
    let key = KeyShare::new(session.me(), group, transcript, share).ok_or(Bug::KeyMismatch)?;
    Ok(Unconfirmed { key })
}
