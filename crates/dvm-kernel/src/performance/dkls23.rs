//! ECDSA by DKLS23: a key with the set-up of its pairs, and three rounds for a signature.
//!
//! Source: DKLs23 (eprint 2023/765); the rounds are in `dvm_microcode::dkls23`. Key generation is the one of all suites.
//! Always true: what is said of rounds in the module above. Several micro-ops are parts of one round, which is performed
//! at the first of them: so the step that a fault names does not tell which check failed.

mod provision;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;

use dvm_blame::ecdsa::RunName;
use dvm_blame::{Fault, Roster, Rule, key_below};
use dvm_core::NodeId;
use dvm_core::codec::link_of;
use dvm_microcode::dkls23::own::OwnVole;
use dvm_microcode::dkls23::pair::PairOf;
use dvm_microcode::{EcdsaShare, Secp256k1, Session, dkls23};
use dvm_score::{MicroOp, Step};
use rand_core::CryptoRngCore;

use super::keygen::Keygen;
use super::{Made, Mail, Said, SigningTerms};
use provision::Provision;
use signing::Signing;

/// What multiplies in pairs.
type Shipped = OwnVole;

/// The set-up of one pair.
pub(crate) type Pair = PairOf<Shipped>;

/// The set-ups of a run, by peer.
pub(crate) type RunPairs = BTreeMap<String, Arc<Pair>>;

/// One run.
pub(crate) enum Play {
    /// Makes a key, and the set-ups beside it.
    Keygen(Box<Keygen<Secp256k1>>, Box<Provision>),
    /// Makes a signature share.
    Signing(Box<Signing>),
}

impl Play {
    /// A key generation that has done nothing yet.
    pub(super) fn keygen(session: Session<Secp256k1>) -> Self {
        let provision = Provision::new(&session);
        Self::Keygen(Box::new(Keygen::new(session)), Box::new(provision))
    }

    /// A signature that has done nothing yet.
    pub(super) fn signing(key: &EcdsaShare, terms: SigningTerms<'_>) -> Result<Self, Fault> {
        let SigningTerms { header, table, ready, path, pairs, message, .. } = terms;
        let derived = key_below(ready, path)?;
        let signers = Roster::new(header.participants.iter().map(NodeId::as_str))?;
        let name = RunName {
            execution_id: &header.execution_id().0,
            key: &link_of(ready).to_bytes(),
            table,
            path,
            public_key: derived.public_key(),
            signers: &signers,
        };
        let rounds = dkls23::Terms::new(name.sid(), key, signers.clone(), &derived)?;
        let digest = message.as_slice().try_into().map_err(|_| Rule::MessageTooLong)?;
        Ok(Self::Signing(Box::new(Signing::new((rounds, signers), pairs, digest))))
    }

    pub(super) fn perform(
        &mut self,
        step: &Step,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        mail.alone()?;
        match self {
            Self::Keygen(keygen, provision) => match step.op {
                MicroOp::PairOffer
                | MicroOp::PairOpen
                | MicroOp::PairFinish
                | MicroOp::PairConfirm
                | MicroOp::PairAgree => provision.perform(step.op, mail, rng),
                op => keygen.perform(op, mail, rng),
            },
            Self::Signing(signing) => signing.perform(step.op, mail, rng),
        }
    }

    pub(super) fn made(&mut self) -> Result<Made, Fault> {
        match self {
            Self::Keygen(keygen, provision) => {
                let mut made = keygen.made()?;
                if let Made::Key { pairs, .. } = &mut made {
                    *pairs = provision.made()?;
                }
                Ok(made)
            }
            Self::Signing(signing) => signing.made(),
        }
    }
}
