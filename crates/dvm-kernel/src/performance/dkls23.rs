//! ECDSA by DKLS23: a key with the set-up of its pairs, three rounds for a signature, and the same ahead of many.
//!
//! Source: DKLs23 (eprint 2023/765); the rounds are in `dvm_microcode::dkls23`. Key generation is the one of all suites.
//! Always true: what is said of rounds in the module above. Several micro-ops are parts of one round, which is performed
//! at the first of them: so the step that a fault names does not tell which check failed.

mod presigning;
mod provision;
mod rounds;
mod signing;

use std::collections::BTreeMap;
use std::sync::Arc;

use dvm_blame::ecdsa::RunName;
use dvm_blame::{Fault, Roster, Rule, key_below};
use dvm_core::NodeId;
use dvm_core::codec::link_of;
use dvm_microcode::dkls23::Triple;
use dvm_microcode::dkls23::own::OwnVole;
use dvm_microcode::dkls23::pair::PairOf;
use dvm_microcode::{EcdsaShare, Secp256k1, Session, dkls23};
use dvm_score::{MicroOp, Step};
use rand_core::CryptoRngCore;

use super::keygen::Keygen;
use super::{Made, Mail, Named, Said, SigningTerms, Task};
use presigning::Presigning;
use provision::Provision;
use rounds::{Rounds, State};
use signing::{Signing, Source, Use};

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
    /// Makes triples for signature shares to come.
    Presigning(Box<Presigning>),
}

impl Play {
    /// A key generation that has done nothing yet.
    pub(super) fn keygen(session: Session<Secp256k1>) -> Self {
        let provision = Provision::new(&session);
        Self::Keygen(Box::new(Keygen::new(session)), Box::new(provision))
    }

    /// A signature, or the preparation of some, that has done nothing yet.
    pub(super) fn with_key(
        key: &EcdsaShare,
        terms: &SigningTerms<'_>,
        (pairs, task): (RunPairs, Task),
    ) -> Result<Self, Fault> {
        let rounds = Self::rounds(key, terms, pairs)?;
        Ok(match task {
            Task::Sign(message) => {
                let source = Source::Rounds(Box::new(rounds), Box::new(State::Fresh));
                Self::Signing(Box::new(Signing::new(source, digest(&message)?)))
            }
            Task::Prepare => Self::Presigning(Box::new(Presigning::new(rounds))),
            Task::Spend(..) => return Err(Rule::OtherScheme.into()),
        })
    }

    /// A signature with a triple.
    pub(super) fn of_triple(
        terms: &SigningTerms<'_>,
        (message, triple): (&[u8], Triple),
    ) -> Result<Self, Fault> {
        let taken = Use {
            execution_id: terms.header.execution_id(),
            material: terms.header.kind.material().ok_or(Rule::UnexpectedMessage)?,
            public_key: *key_below(terms.ready, terms.path)?.public_key(),
        };
        let source = Source::Triple(triple, taken);
        Ok(Self::Signing(Box::new(Signing::new(source, digest(message)?))))
    }

    fn rounds(
        key: &EcdsaShare,
        terms: &SigningTerms<'_>,
        pairs: RunPairs,
    ) -> Result<Rounds, Fault> {
        let SigningTerms { header, table, ready, path } = terms;
        let derived = key_below(ready, path)?;
        let signers = Roster::new(header.participants.iter().map(NodeId::as_str))?;
        let name = RunName {
            execution_id: &header.execution_id().0,
            key: &link_of(*ready).to_bytes(),
            table,
            path,
            public_key: derived.public_key(),
            signers: &signers,
        };
        let terms = dkls23::Terms::new(name.sid(), key, signers.clone(), &derived)?;
        Ok(Rounds { terms, signers, pairs })
    }

    pub(super) fn perform(
        &mut self,
        step: &Step,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        match self {
            Self::Keygen(keygen, provision) => match step.op {
                MicroOp::PairOffer
                | MicroOp::PairOpen
                | MicroOp::PairFinish
                | MicroOp::PairConfirm
                | MicroOp::PairAgree => provision.perform(step.op, mail.alone()?, rng),
                op => keygen.perform(op, mail.alone()?, rng),
            },
            Self::Signing(signing) => signing.perform(step.op, mail.alone()?, rng),
            Self::Presigning(presigning) => presigning.perform(step.op, mail, rng),
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
            Self::Presigning(_) => Err(Rule::UnexpectedMessage.into()),
        }
    }

    pub(super) fn prepared(&mut self) -> Result<Vec<Named>, Fault> {
        match self {
            Self::Presigning(presigning) => presigning.prepared(),
            Self::Keygen(..) | Self::Signing(_) => Err(Rule::UnexpectedMessage.into()),
        }
    }
}

/// What an ECDSA signature is over.
fn digest(message: &[u8]) -> Result<[u8; 32], Rule> {
    message.try_into().map_err(|_| Rule::MessageTooLong)
}
