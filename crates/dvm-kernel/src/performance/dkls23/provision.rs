//! The set-up of every pair of a key, step by step, beside the key's own generation.

use std::collections::BTreeMap;

use dvm_blame::{Fault, Rule};
use dvm_microcode::dkls23::pair::{self, Offered, Opened, Unconfirmed};
use dvm_microcode::dkls23::vole::PairPlace;
use dvm_microcode::{Secp256k1, Secret, SecretMessages, Session};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::{Pair, Shipped};
use crate::performance::{Mail, Said};

/// Where the set-up is. Each state is consumed by the round that follows.
enum State {
    Fresh,
    Offered(Offered<Shipped>),
    Opened(Opened<Shipped>),
    /// With the digests that are to be confirmed, until they are said.
    Unconfirmed(Unconfirmed<Shipped>, Option<SecretMessages>),
    Done(BTreeMap<String, Pair>),
    Spent,
}

/// The pairs of one key generation.
pub(crate) struct Provision {
    session: Session<Secp256k1>,
    state: State,
}

impl Provision {
    pub(super) fn new(session: &Session<Secp256k1>) -> Self {
        Self { session: session.clone(), state: State::Fresh }
    }

    pub(super) fn perform(
        &mut self,
        op: MicroOp,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        let state = std::mem::replace(&mut self.state, State::Spent);
        let mut said = Said::default();
        self.state = match (op, state) {
            (MicroOp::PairOffer, State::Fresh) => {
                let (offered, offers) = pair::offer(&self.session, rng)?;
                said.private = offers;
                State::Offered(offered)
            }
            (MicroOp::PairOpen, State::Offered(offered)) => {
                let (opened, seeds) = pair::open(offered, mail.secret(MicroOp::PairOffer))?;
                said.private = seeds;
                State::Opened(opened)
            }
            (MicroOp::PairFinish, State::Opened(opened)) => {
                let (unconfirmed, digests) = pair::finish(opened, &mail.secret(MicroOp::PairOpen))?;
                State::Unconfirmed(unconfirmed, Some(digests))
            }
            (MicroOp::PairConfirm, State::Unconfirmed(unconfirmed, Some(digests))) => {
                said.private = digests;
                State::Unconfirmed(unconfirmed, None)
            }
            (MicroOp::PairAgree, State::Unconfirmed(unconfirmed, None)) => {
                State::Done(pair::agree(unconfirmed, &mail.secret(MicroOp::PairConfirm))?)
            }
            _ => return Err(Rule::UnexpectedMessage.into()),
        };
        Ok(said)
    }

    /// The set-ups, for the vault to seal.
    pub(super) fn made(&mut self) -> Result<BTreeMap<String, Secret<Vec<u8>>>, Fault> {
        let State::Done(pairs) = std::mem::replace(&mut self.state, State::Spent) else {
            return Err(Rule::UnexpectedMessage.into());
        };
        let seal = |(peer, pair): (&String, &Pair)| {
            let at = PairPlace { sid: self.session.sid(), me: self.session.me(), peer };
            Ok((peer.clone(), pair.seal_bytes(&at)?))
        };
        pairs.iter().map(seal).collect()
    }
}
