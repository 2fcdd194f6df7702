//! L0 micro-ops performed with this node's secrets: which microcode round each step of a plan is.
//!
//! Source: the design's protocols page; the rounds are in `dvm-microcode`.
//! Always true: a state is taken before its round runs and put back only by the round that follows, so no round runs
//! twice and a failed one leaves nothing to go on with; one-time material lives only in here, in memory.
//! Not here: permits, frames, sealing, storage. The kernel authenticated every sender before a payload comes here.

use std::collections::BTreeMap;

use dvm_blame::{Fault, FrostSuite, Roster, Rule, Suite};
use dvm_core::authority::KeyReady;
use dvm_core::digest::{self, Domain, Tagged};
use dvm_core::intent::Backend;
use dvm_core::run::RunHeader;
use dvm_core::{B32, Bytes, NodeId, ReasonCode};
use dvm_microcode::dkls23::Triple;
use dvm_microcode::{Ed25519, KeyShare, SchnorrSuite, Secp256k1Tr, Secret, Session};
use dvm_score::Step;
use rand_core::CryptoRngCore;

use crate::group_keys::GroupKeys;

mod dkls23;
mod inbox;
mod keygen;
mod presigning;
mod signing;

pub(crate) use dkls23::{Pair, RunPairs};
pub(crate) use inbox::{Inbox, Mail};
use keygen::Keygen;
use presigning::Presigning;
pub(crate) use signing::Prepared;
use signing::Signing;

/// What a step says and shows. Private payloads are not sealed yet.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) broadcast: Option<Vec<u8>>,
    pub(crate) private: BTreeMap<String, Secret<Vec<u8>>>,
    pub(crate) public: Option<Bytes>,
}

/// A finished result, before it is sealed into the vault.
pub(crate) enum Made {
    /// A key share with the public half of its key, and the set-ups with its other holders where the protocol has them.
    Key {
        share: Secret<Vec<u8>>,
        pairs: BTreeMap<String, Secret<Vec<u8>>>,
        public_key: Vec<u8>,
        package: Vec<u8>,
        transcript: B32,
    },
    /// A signature share, with all signers' commitments where shares are checked by them.
    Signature {
        share: Secret<Vec<u8>>,
        commitments: BTreeMap<String, Vec<u8>>,
        nonce: Vec<u8>,
        digest: B32,
    },
}

/// One piece of one-time material, made before it is known what it will sign. It is used up by value.
pub(crate) enum Piece {
    /// FROST's nonces, over Ed25519.
    Ed25519(Box<Prepared<Ed25519>>),
    /// FROST's nonces, over secp256k1.
    Secp256k1Tr(Box<Prepared<Secp256k1Tr>>),
    /// What is left to scale of an ECDSA signature.
    Triple(Box<Triple>),
}

/// A piece with what all signers know of it: its part of the batch's name.
pub(crate) struct Named {
    pub(crate) nonce: Vec<u8>,
    pub(crate) piece: Piece,
}

/// The secret side of one act run.
pub(crate) enum Performance {
    /// Over Ed25519.
    Ed25519(Play<Ed25519>),
    /// Over secp256k1 with BIP-340 signatures.
    Secp256k1Tr(Play<Secp256k1Tr>),
    /// ECDSA over secp256k1.
    Dkls23(dkls23::Play),
}

/// The run of one suite.
pub(crate) enum Play<C: SchnorrSuite> {
    /// Makes a key.
    Keygen(Box<Keygen<C>>),
    /// Makes a signature share.
    Signing(Box<Signing<C>>),
    /// Makes nonces for signature shares to come.
    Presigning(Box<Presigning<C>>),
}

/// Names the terms of a key generation.
pub(crate) struct KeygenTerms<'a> {
    pub(crate) execution_id: B32,
    pub(crate) roster: &'a [NodeId],
    pub(crate) threshold: u16,
    pub(crate) me: &'a NodeId,
}

/// Names the terms of a run with a key that exists.
pub(crate) struct SigningTerms<'a> {
    pub(crate) header: &'a RunHeader,
    /// The rewrite table of the plan.
    pub(crate) table: &'a str,
    pub(crate) ready: &'a KeyReady,
    /// From the key to the one that signs.
    pub(crate) path: &'a [u32],
}

/// What this kernel holds of a key that exists.
pub(crate) struct Holding<'a> {
    /// The sealed share.
    pub(crate) share: &'a [u8],
    /// The set-ups with the other signers, where the protocol has them.
    pub(crate) pairs: RunPairs,
}

/// What a run with a key that exists is for.
pub(crate) enum Task {
    /// It signs these bytes, and makes all that it needs.
    Sign(Vec<u8>),
    /// It signs these bytes with what was made before.
    Spend(Vec<u8>, Piece),
    /// It makes pieces for signatures to come.
    Prepare,
}

/// Whether a backend's signers need a set-up of each pair of them.
pub(crate) fn works_in_pairs(backend: Backend) -> bool {
    match backend {
        Backend::FrostEd25519 | Backend::FrostSecp256k1Tr => false,
        Backend::Dkls23Secp256k1 => true,
    }
}

/// The session in which a key was generated.
pub(crate) fn session_id(ready: &KeyReady) -> [u8; 32] {
    session_of(ready.backend.into(), &ready.execution_id, (ready.threshold, &ready.roster))
}

fn session_of(suite: Suite, execution_id: &B32, (threshold, roster): (u16, &[NodeId])) -> [u8; 32] {
    let mut sid = Tagged::new(Domain::Session)
        .part(&execution_id.0)
        .number(threshold.into())
        .part(suite.name().as_bytes());
    for node in roster {
        sid = sid.part(node.as_str().as_bytes());
    }
    sid.finish().0
}

impl KeygenTerms<'_> {
    fn session<C: FrostSuite>(&self) -> Result<Session<C>, Fault> {
        let sid = session_of(C::SUITE, &self.execution_id, (self.threshold, self.roster));
        let roster = Roster::new(self.roster.iter().map(NodeId::as_str))?;
        Session::new(sid, roster, self.threshold, self.me.as_str())
    }
}

impl Performance {
    /// A key generation that has done nothing yet.
    pub(crate) fn keygen(backend: Backend, terms: &KeygenTerms<'_>) -> Result<Self, Fault> {
        Ok(match backend {
            Backend::FrostEd25519 => Self::Ed25519(Play::keygen(terms)?),
            Backend::FrostSecp256k1Tr => Self::Secp256k1Tr(Play::keygen(terms)?),
            Backend::Dkls23Secp256k1 => Self::Dkls23(dkls23::Play::keygen(terms.session()?)),
        })
    }

    /// A signature, or the preparation of some, that has done nothing yet.
    pub(crate) fn signing(
        terms: &SigningTerms<'_>,
        holding: Holding<'_>,
        task: Task,
        groups: &mut GroupKeys,
    ) -> Result<Self, Fault> {
        let share = holding.share;
        Ok(match terms.ready.backend {
            Backend::FrostEd25519 => {
                let key = KeyShare::unseal_with(share, |bytes| groups.ed25519(bytes))?;
                let spent = |piece| match piece {
                    Piece::Ed25519(prepared) => Some(*prepared),
                    _ => None,
                };
                Self::Ed25519(Play::with_key(key, task, spent)?)
            }
            Backend::FrostSecp256k1Tr => {
                let key = KeyShare::unseal_with(share, |bytes| groups.secp256k1_tr(bytes))?;
                let spent = |piece| match piece {
                    Piece::Secp256k1Tr(prepared) => Some(*prepared),
                    _ => None,
                };
                Self::Secp256k1Tr(Play::with_key(key, task, spent)?)
            }
            Backend::Dkls23Secp256k1 => {
                let key = KeyShare::unseal_with(share, |bytes| groups.secp256k1(bytes))?;
                Self::Dkls23(dkls23::Play::with_key(&key, terms, (holding.pairs, task))?)
            }
        })
    }

    /// A signature with a triple. It takes nothing of the key: a triple is of these signers' shares already.
    pub(crate) fn of_triple(
        terms: &SigningTerms<'_>,
        (message, triple): (&[u8], Triple),
    ) -> Result<Self, Fault> {
        Ok(Self::Dkls23(dkls23::Play::of_triple(terms, (message, triple))?))
    }

    /// Performs one step.
    pub(crate) fn perform(
        &mut self,
        step: &Step,
        inbox: &Inbox,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        let mail = inbox.mail(step);
        match self {
            Self::Ed25519(play) => play.perform(step, mail, rng),
            Self::Secp256k1Tr(play) => play.perform(step, mail, rng),
            Self::Dkls23(play) => play.perform(step, mail, rng),
        }
    }

    /// The result, once the run's last secret step is done.
    pub(crate) fn made(&mut self) -> Result<Made, Fault> {
        match self {
            Self::Ed25519(play) => play.made(),
            Self::Secp256k1Tr(play) => play.made(),
            Self::Dkls23(play) => play.made(),
        }
    }

    /// The pieces of a batch in their order, once all rounds are done.
    pub(crate) fn prepared(&mut self, inbox: &Inbox) -> Result<Vec<Named>, Fault> {
        match self {
            Self::Ed25519(play) => {
                play.prepared(inbox, |prepared| Piece::Ed25519(Box::new(prepared)))
            }
            Self::Secp256k1Tr(play) => {
                play.prepared(inbox, |prepared| Piece::Secp256k1Tr(Box::new(prepared)))
            }
            Self::Dkls23(play) => play.prepared(),
        }
    }
}

impl<C: SchnorrSuite> Play<C> {
    fn keygen(terms: &KeygenTerms<'_>) -> Result<Self, Fault> {
        Ok(Self::Keygen(Box::new(Keygen::new(terms.session()?))))
    }

    fn with_key(
        key: KeyShare<C>,
        task: Task,
        spent: impl FnOnce(Piece) -> Option<Prepared<C>>,
    ) -> Result<Self, Fault> {
        Ok(match task {
            Task::Sign(message) => Self::Signing(Box::new(Signing::new(key, message, None))),
            Task::Spend(message, piece) => {
                let prepared = spent(piece).ok_or(Rule::OtherScheme)?;
                Self::Signing(Box::new(Signing::new(key, message, Some(prepared))))
            }
            Task::Prepare => Self::Presigning(Box::new(Presigning::new(key))),
        })
    }

    fn perform(
        &mut self,
        step: &Step,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        match self {
            Self::Keygen(keygen) => keygen.perform(step.op, mail.alone()?, rng),
            Self::Signing(signing) => signing.perform(step.op, mail.alone()?, rng),
            Self::Presigning(presigning) => presigning.perform(step.op, mail.item(), rng),
        }
    }

    fn made(&mut self) -> Result<Made, Fault> {
        match self {
            Self::Keygen(keygen) => keygen.made(),
            Self::Signing(signing) => signing.made(),
            Self::Presigning(_) => Err(Rule::UnexpectedMessage.into()),
        }
    }

    fn prepared(
        &mut self,
        inbox: &Inbox,
        piece: impl Fn(Prepared<C>) -> Piece,
    ) -> Result<Vec<Named>, Fault> {
        let Self::Presigning(presigning) = self else {
            return Err(Rule::UnexpectedMessage.into());
        };
        let prepared = presigning.prepared(inbox)?;
        let named =
            |prepared: Prepared<C>| Named { nonce: prepared.public(), piece: piece(prepared) };
        Ok(prepared.into_iter().map(named).collect())
    }
}

/// The public name of what a signature is over.
pub(crate) fn message_digest(message: &[u8]) -> B32 {
    digest::sha256(message)
}

/// The opaque name of a run-local value.
pub(crate) fn handle(execution_id: &B32, step: u16) -> B32 {
    Tagged::new(Domain::Handle).part(&execution_id.0).number(step.into()).finish()
}

/// Why a level gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Checks name these peers. Never empty; in roster order.
    Blamed(Vec<NodeId>),
    /// A final check failed and names nobody: the only kind that counts towards freezing the key. Were blame counted
    /// too, one cheater could switch off a key for everybody.
    Unattributed,
    /// Nothing failed here: this kernel does not go on with these signers, because of another run.
    Barred(ReasonCode),
    /// A peer has another set-up of the pair than this kernel. That is nobody's offence, for a disk that came back from
    /// a copy does it, too; so nobody is named, banned or counted.
    OtherSetUp,
    /// A rule of the protocol; no peer is to blame.
    Rule,
    /// An invariant of our own.
    Bug,
}

impl Failure {
    /// How it is told to peers and receipts: one code whatever check of a peer's word failed, and the first whom it
    /// names.
    pub(crate) fn told(&self) -> (ReasonCode, Option<NodeId>) {
        match self {
            Self::Blamed(culprits) => (ReasonCode::PayloadRejected, culprits.first().cloned()),
            Self::Barred(code) => (*code, None),
            Self::OtherSetUp => (ReasonCode::SessionMismatch, None),
            Self::Unattributed | Self::Rule => (ReasonCode::PayloadRejected, None),
            Self::Bug => (ReasonCode::Internal, None),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Blame { culprits, .. } => {
                let named: Option<Vec<NodeId>> =
                    culprits.iter().map(|party| party.node.parse().ok()).collect();
                named.filter(|n| !n.is_empty()).map_or(Self::Bug, Self::Blamed)
            }
            Fault::Unattributed(_) => Self::Unattributed,
            Fault::Refused(Rule::OtherPairSetup(_)) => Self::OtherSetUp,
            Fault::Refused(_) => Self::Rule,
            Fault::Bug(_) => Self::Bug,
        }
    }
}
