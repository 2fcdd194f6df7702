//! A batch of triples: the three rounds for many signatures to come, all items beside each other.

use std::collections::BTreeMap;

use dvm_blame::{Fault, Rule};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::rounds::{Rounds, State};
use crate::performance::inbox::Item;
use crate::performance::{Mail, Named, Piece, Said};

/// One batch.
pub(crate) struct Presigning {
    rounds: Rounds,
    items: BTreeMap<Item, State>,
}

impl Presigning {
    pub(super) fn new(rounds: Rounds) -> Self {
        Self { rounds, items: BTreeMap::new() }
    }

    pub(super) fn perform(
        &mut self,
        op: MicroOp,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        let state = self.items.entry(mail.item()).or_insert(State::Fresh);
        self.rounds.perform(op, state, mail, rng)
    }

    /// The triples, each with its R.
    pub(super) fn prepared(&mut self) -> Result<Vec<Named>, Fault> {
        let named = |state| match state {
            State::Checked(checked) => {
                let triple = checked.into_triple();
                let nonce = triple.nonce().encode().to_vec();
                Ok(Named { nonce, piece: Piece::Triple(Box::new(triple)) })
            }
            _ => Err(Rule::UnexpectedMessage.into()),
        };
        std::mem::take(&mut self.items).into_values().map(named).collect()
    }
}
