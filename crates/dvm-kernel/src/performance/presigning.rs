//! FROST's first round for many signatures to come.
//!
//! Source: RFC 9591 §5.1, which allows to run it before the message is known. The second round binds the nonces to
//! their message, so nothing of them has to be changed when they are taken.

use std::collections::BTreeMap;

use dvm_blame::{Fault, Rule};
use dvm_microcode::sign::{self, Nonces};
use dvm_microcode::{KeyShare, SchnorrSuite};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::inbox::Item;
use super::signing::Prepared;
use super::{Inbox, Said};

/// The nonces of one batch.
pub(crate) struct Presigning<C: SchnorrSuite> {
    key: KeyShare<C>,
    nonces: BTreeMap<Item, Nonces<C>>,
}

impl<C: SchnorrSuite> Presigning<C> {
    pub(super) fn new(key: KeyShare<C>) -> Self {
        Self { key, nonces: BTreeMap::new() }
    }

    pub(super) fn perform(
        &mut self,
        op: MicroOp,
        item: Item,
        mut rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        if op != MicroOp::NonceCommit || self.nonces.contains_key(&item) {
            return Err(Rule::UnexpectedMessage.into());
        }
        let (nonces, commitment) = sign::nonce_commit(&self.key, &mut rng)?;
        self.nonces.insert(item, nonces);
        Ok(Said { broadcast: Some(commitment), ..Said::default() })
    }

    /// The nonces with all signers' commitments, each of which is one.
    pub(super) fn prepared(&mut self, inbox: &Inbox) -> Result<Vec<Prepared<C>>, Fault> {
        let nonces = std::mem::take(&mut self.nonces);
        let prepared = |(item, nonces)| {
            let commitments = inbox.of_item(item).public(MicroOp::NonceCommit);
            sign::check_commitments(self.key.group(), &commitments)?;
            Ok(Prepared { nonces, commitments })
        };
        nonces.into_iter().map(prepared).collect()
    }
}
