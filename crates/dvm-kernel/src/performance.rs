//! L0 micro-ops performed with this node's secrets: which microcode round each step of a plan is.
//!
//! Source: the design's protocols page; the rounds are in `dvm-microcode`.
//! Always true: a state is taken before its round runs and put back only by the round that follows, so no round runs
//! twice and a failed one leaves nothing to go on with; one-time material lives only in here, in memory.
//! Not here: permits, frames, sealing, storage. The kernel authenticated every sender before a payload comes here.

use std::collections::BTreeMap;

use dvm_blame::{Fault, Roster, Rule};
use dvm_core::digest::{self, Domain, Tagged};
use dvm_core::intent::Backend;
use dvm_core::{B32, Bytes, NodeId, ReasonCode};
use dvm_microcode::{Ed25519, KeyShare, SchnorrSuite, Secp256k1Tr, Secret, Session};
use dvm_score::Step;
use rand_core::CryptoRngCore;

use crate::group_keys::GroupKeys;

mod inbox;
mod keygen;
mod signing;

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
    /// A key share with the public half of its key.
    Key { share: Secret<Vec<u8>>, public_key: Vec<u8>, package: Vec<u8>, transcript: B32 },
    /// A signature share with all signers' commitments.
    Signature {
        share: Secret<Vec<u8>>,
        commitments: BTreeMap<String, Vec<u8>>,
        nonce: [u8; 32],
        digest: B32,
    },
}

/// The secret side of one act run.
pub(crate) enum Performance {
    /// Over Ed25519.
    Ed25519(Play<Ed25519>),
    /// Over secp256k1 with BIP-340 signatures.
    Secp256k1Tr(Play<Secp256k1Tr>),
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

impl Performance {
    /// A key generation that has done nothing yet.
    pub(crate) fn keygen(backend: Backend, terms: &KeygenTerms<'_>) -> Result<Self, Fault> {
        Ok(match backend {
            Backend::FrostEd25519 => Self::Ed25519(Play::keygen(terms)?),
            Backend::FrostSecp256k1Tr => Self::Secp256k1Tr(Play::keygen(terms)?),
            Backend::Dkls23Secp256k1 => return Err(Rule::OtherSession.into()),
        })
    }

    /// A signature that has done nothing yet, by the sealed share of this key.
    pub(crate) fn signing(
        backend: Backend,
        (share, groups): (&[u8], &mut GroupKeys),
        message: Vec<u8>,
    ) -> Result<Self, Fault> {
        Ok(match backend {
            Backend::FrostEd25519 => {
                let key = KeyShare::unseal_with(share, |bytes| groups.ed25519(bytes))?;
                Self::Ed25519(Play::signing(key, message))
            }
            Backend::FrostSecp256k1Tr => {
                let key = KeyShare::unseal_with(share, |bytes| groups.secp256k1_tr(bytes))?;
                Self::Secp256k1Tr(Play::signing(key, message))
            }
            Backend::Dkls23Secp256k1 => return Err(Rule::OtherSession.into()),
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
        }
    }

    /// The result, once the run's last secret step is done.
    pub(crate) fn made(&mut self) -> Result<Made, Fault> {
        match self {
            Self::Ed25519(play) => play.made(),
            Self::Secp256k1Tr(play) => play.made(),
        }
    }
}

impl<C: SchnorrSuite> Play<C> {
    fn keygen(terms: &KeygenTerms<'_>) -> Result<Self, Fault> {
        let mut sid = Tagged::new(Domain::Session)
            .part(&terms.execution_id.0)
            .number(terms.threshold.into())
            .part(C::SUITE.name().as_bytes());
        for node in terms.roster {
            sid = sid.part(node.as_str().as_bytes());
        }
        let roster = Roster::new(terms.roster.iter().map(NodeId::as_str))?;
        let session = Session::new(sid.finish().0, roster, terms.threshold, terms.me.as_str())?;
        Ok(Self::Keygen(Box::new(Keygen::new(session))))
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
        // One key or one signature: a plan for more is not performed with the state of one.
        if mail.item != 0 {
            return Err(Rule::UnexpectedMessage.into());
        }
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
    /// A rule of the protocol; no peer is to blame.
    Rule,
    /// An invariant of our own.
    Bug,
}

impl Failure {
    /// How it is told to peers and receipts: one code whatever check failed, and the first whom it names.
    pub(crate) fn told(&self) -> (ReasonCode, Option<NodeId>) {
        match self {
            Self::Blamed(culprits) => (ReasonCode::PayloadRejected, culprits.first().cloned()),
            Self::Barred(code) => (*code, None),
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
            Fault::Refused(_) => Self::Rule,
            Fault::Bug(_) => Self::Bug,
        }
    }
}
