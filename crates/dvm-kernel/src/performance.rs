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
use dvm_microcode::{Ed25519, KeyShare, SchnorrSuite, Secp256k1Tr, Secret, Session};
use dvm_score::Step;
use rand_core::CryptoRngCore;

use crate::group_keys::GroupKeys;

mod dkls23;
mod inbox;
mod keygen;
mod signing;

pub(crate) use dkls23::{Pair, RunPairs};
pub(crate) use inbox::{Inbox, Mail};
use keygen::Keygen;
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
}

/// Names the terms of a key generation.
pub(crate) struct KeygenTerms<'a> {
    pub(crate) execution_id: B32,
    pub(crate) roster: &'a [NodeId],
    pub(crate) threshold: u16,
    pub(crate) me: &'a NodeId,
}

/// Names the terms of a signature.
pub(crate) struct SigningTerms<'a> {
    pub(crate) header: &'a RunHeader,
    /// The rewrite table of the plan.
    pub(crate) table: &'a str,
    pub(crate) ready: &'a KeyReady,
    /// From the key to the one that signs.
    pub(crate) path: &'a [u32],
    /// The sealed share of the key.
    pub(crate) share: &'a [u8],
    /// The set-ups with the other signers, where the protocol has them.
    pub(crate) pairs: RunPairs,
    /// The bytes to be signed.
    pub(crate) message: Vec<u8>,
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

    /// A signature that has done nothing yet.
    pub(crate) fn signing(terms: SigningTerms<'_>, groups: &mut GroupKeys) -> Result<Self, Fault> {
        let share = terms.share;
        Ok(match terms.ready.backend {
            Backend::FrostEd25519 => {
                let key = KeyShare::unseal_with(share, |bytes| groups.ed25519(bytes))?;
                Self::Ed25519(Play::signing(key, terms.message))
            }
            Backend::FrostSecp256k1Tr => {
                let key = KeyShare::unseal_with(share, |bytes| groups.secp256k1_tr(bytes))?;
                Self::Secp256k1Tr(Play::signing(key, terms.message))
            }
            Backend::Dkls23Secp256k1 => {
                let key = KeyShare::unseal_with(share, |bytes| groups.secp256k1(bytes))?;
                Self::Dkls23(dkls23::Play::signing(&key, terms)?)
            }
        })
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
}

impl<C: SchnorrSuite> Play<C> {
    fn keygen(terms: &KeygenTerms<'_>) -> Result<Self, Fault> {
        Ok(Self::Keygen(Box::new(Keygen::new(terms.session()?))))
    }

    fn signing(key: KeyShare<C>, message: Vec<u8>) -> Self {
        Self::Signing(Box::new(Signing::new(key, message)))
    }

    fn perform(
        &mut self,
        step: &Step,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        mail.alone()?;
        match self {
            Self::Keygen(keygen) => keygen.perform(step.op, mail, rng),
            Self::Signing(signing) => signing.perform(step.op, mail, rng),
        }
    }

    fn made(&mut self) -> Result<Made, Fault> {
        match self {
            Self::Keygen(keygen) => keygen.made(),
            Self::Signing(signing) => signing.made(),
        }
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
