//! DKLS23's three rounds for one item of a run, step by step: up to what a signature is computed from, whether its
//! message is known or not.
//!
//! Always true: a round's messages are given out once, each by the micro-op whose payload it is; the state of a round is
//! gone when the next one begins, whether that one succeeds or not.

use std::collections::BTreeMap;

use dvm_blame::{Fault, Offence, Roster, Rule};
use dvm_core::Bytes;
use dvm_microcode::SecretMessages;
use dvm_microcode::dkls23::{self, Checked, Committed, Multiplied, Terms};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::{RunPairs, Shipped};
use crate::performance::{Mail, Said};

/// What all items of a run have in common.
pub(crate) struct Rounds {
    pub(super) terms: Terms,
    pub(super) signers: Roster,
    pub(super) pairs: RunPairs,
}

/// Where one item is. Each state is consumed by the round that follows.
#[derive(Default)]
pub(super) enum State {
    Fresh,
    Committed(Committed<Shipped>, Words),
    Multiplied(Multiplied<Shipped>, Words),
    Checked(Checked),
    #[default]
    Spent,
}

/// What a round says, until its micro-ops have said it.
pub(super) struct Words {
    public: Option<Vec<u8>>,
    private: Option<SecretMessages>,
}

/// The micro-ops of one round.
enum Round {
    Commit,
    Multiply,
    Check,
}

fn round(op: MicroOp) -> Result<Round, Rule> {
    match op {
        MicroOp::NonceCommit | MicroOp::ZeroShare | MicroOp::VoleRecv => Ok(Round::Commit),
        MicroOp::NonceOpen | MicroOp::VoleSend => Ok(Round::Multiply),
        MicroOp::VoleFinish | MicroOp::CheckConsistency => Ok(Round::Check),
        _ => Err(Rule::UnexpectedMessage),
    }
}

impl Rounds {
    /// Performs a micro-op of the item that the mail is of.
    pub(super) fn perform(
        &self,
        op: MicroOp,
        state: &mut State,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        let mut next = self.advanced(round(op)?, std::mem::take(state), mail, rng)?;
        let said = said(op, &mut next)?;
        *state = next;
        Ok(said)
    }

    /// The state after a round: it is performed at the first of its micro-ops, and is done at the others.
    fn advanced(
        &self,
        round: Round,
        state: State,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<State, Fault> {
        let pairs = self.pairs.iter().map(|(peer, pair)| (peer.clone(), &**pair)).collect();
        match (round, state) {
            (Round::Commit, State::Fresh) => {
                let (state, com, private) = dkls23::commit(&self.terms, mail.item(), &pairs, rng)?;
                Ok(State::Committed(state, Words::new(com.to_vec(), private)))
            }
            (Round::Multiply, State::Committed(state, _)) => {
                let heard = (self.commitments(mail)?, &mail.secret(MicroOp::VoleRecv));
                let (state, opening, private) =
                    dkls23::multiply(&self.terms, state, &pairs, heard, rng)?;
                Ok(State::Multiplied(state, Words::new(opening, private)))
            }
            (Round::Check, State::Multiplied(state, _)) => {
                let heard = (&mail.public(MicroOp::NonceOpen), &mail.secret(MicroOp::VoleSend));
                Ok(State::Checked(dkls23::check(&self.terms, state, &pairs, heard)?))
            }
            (Round::Commit, state @ State::Committed(..))
            | (Round::Multiply, state @ State::Multiplied(..))
            | (Round::Check, state @ State::Checked(..)) => Ok(state),
            _ => Err(Rule::UnexpectedMessage.into()),
        }
    }

    /// com_j of every signer. What is no digest names who said it.
    fn commitments(&self, mail: Mail<'_>) -> Result<BTreeMap<String, [u8; 32]>, Fault> {
        let mut commitments = BTreeMap::new();
        let mut culprits = Vec::new();
        for (node, said) in mail.of(MicroOp::NonceCommit) {
            match said.as_slice().try_into() {
                Ok(commitment) => drop(commitments.insert(node, commitment)),
                Err(_) => culprits.push(self.signers.party(&node)?),
            }
        }
        match culprits.is_empty() {
            true => Ok(commitments),
            false => Err(Fault::Blame { culprits, what: Offence::MalformedNonceCommitment }),
        }
    }
}

impl Words {
    fn new(public: Vec<u8>, private: SecretMessages) -> Self {
        Self { public: Some(public), private: Some(private) }
    }
}

/// What a micro-op of the round that was just performed says and shows.
fn said(op: MicroOp, state: &mut State) -> Result<Said, Fault> {
    let mut said = Said::default();
    match (op, state) {
        (
            MicroOp::NonceCommit | MicroOp::NonceOpen,
            State::Committed(_, words) | State::Multiplied(_, words),
        ) => said.broadcast = Some(words.public.take().ok_or(Rule::UnexpectedMessage)?),
        (
            MicroOp::VoleRecv | MicroOp::VoleSend,
            State::Committed(_, words) | State::Multiplied(_, words),
        ) => said.private = words.private.take().ok_or(Rule::UnexpectedMessage)?,
        (MicroOp::CheckConsistency, State::Checked(checked)) => {
            said.public = Some(Bytes(checked.nonce().encode().to_vec()));
        }
        _ => {}
    }
    Ok(said)
}
