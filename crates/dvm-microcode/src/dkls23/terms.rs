//! One signing run, as one signer sees it: who signs, for which key, with what part of it.
//!
//! Always true: exactly t signers, all members of the key and this node among them; the part of the key is this
//! node's λ_i·(p(i) + τ), so that the parts of these signers add up to the key at the derivation path.
//! Not here: where the run's session id comes from. The kernel makes it from the execution id, the key's facts, the
//! path and the signers, and never uses one twice: two runs with one id would give the key share away.

use std::collections::BTreeMap;

use dvm_blame::bip32::Derived;
use dvm_blame::ecdsa::{Nonces, POINT_BYTES};
use dvm_blame::{Fault, Roster, Rule};
use k256::Scalar;

use super::pair::PairOf;
use super::preimage::Direction;
use super::vole::Vole;
use crate::ecdsa_share::EcdsaShare;
use crate::secret::Secret;

/// The set-ups with the peers, by name.
pub type Pairs<'a, V> = BTreeMap<String, &'a PairOf<V>>;

/// The terms of one run.
pub struct Terms {
    pub(crate) run_sid: [u8; 32],
    pub(crate) me: String,
    /// A culprit's index is its place here.
    pub(crate) signers: Roster,
    /// λ_i·(p(i) + τ)
    pub(crate) part: Secret<Scalar>,
    /// The key that the signature will verify under.
    public_key: [u8; POINT_BYTES],
}

impl Terms {
    /// Checks the terms and weighs the key share for these signers. `derived` must come from the key's own point; the
    /// empty path stands for the key itself.
    pub fn new(
        run_sid: [u8; 32],
        key: &EcdsaShare,
        signers: Roster,
        derived: &Derived,
    ) -> Result<Self, Rule> {
        // Of another key's point, all honest signers' key points would miss the sum, and two of them blame each other.
        if derived.parent() != key.group().public_key() {
            return Err(Rule::OtherSession);
        }
        Ok(Self {
            run_sid,
            me: key.node().to_owned(),
            part: key.additive(&signers, derived.tweak())?,
            signers,
            public_key: *derived.public_key(),
        })
    }

    /// The public side of one item.
    pub(crate) fn nonces(&self, item: u16) -> Nonces<'_> {
        Nonces {
            run_sid: &self.run_sid,
            item,
            signers: &self.signers,
            public_key: &self.public_key,
        }
    }

    /// The other signers, in order.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &str> {
        self.signers.nodes().filter(|node| *node != self.me)
    }

    /// The set-up with a peer.
    pub(crate) fn pair<'p, V: Vole>(
        &self,
        pairs: &Pairs<'p, V>,
        peer: &str,
    ) -> Result<&'p PairOf<V>, Fault> {
        match pairs.get(peer) {
            Some(pair) => Ok(pair),
            None => Err(Rule::NoPairSetup(self.signers.party(peer)?).into()),
        }
    }

    /// The direction in which we are the OLE's receiver.
    pub(crate) fn receiving<'a, V: Vole>(
        &'a self,
        item: u16,
        pair: &'a PairOf<V>,
        peer: &'a str,
    ) -> Direction<'a> {
        self.direction(item, pair, (&self.me, peer))
    }

    /// The direction in which we are the OLE's sender.
    pub(crate) fn sending<'a, V: Vole>(
        &'a self,
        item: u16,
        pair: &'a PairOf<V>,
        peer: &'a str,
    ) -> Direction<'a> {
        self.direction(item, pair, (peer, &self.me))
    }

    fn direction<'a, V: Vole>(
        &'a self,
        item: u16,
        pair: &'a PairOf<V>,
        (receiver, sender): (&'a str, &'a str),
    ) -> Direction<'a> {
        let setup_digest = &pair.setup_digest;
        Direction { run_sid: &self.run_sid, item, setup_digest, receiver, sender }
    }
}
