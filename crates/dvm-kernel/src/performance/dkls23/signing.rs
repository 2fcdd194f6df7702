//! One ECDSA signature: by all rounds, or by what is left of them with a triple.
//!
//! Always true: a triple is scaled for the run that takes it before it signs, so nobody knew the signature's nonce
//! when its message was chosen; what the rounds or a triple left is used up by the share.

use dvm_blame::ecdsa::{NoncePoint, POINT_BYTES, SHARE_BYTES, TripleUse};
use dvm_blame::{Fault, Rule};
use dvm_core::run::Material;
use dvm_core::{B32, Bytes};
use dvm_microcode::Secret;
use dvm_microcode::dkls23::{self, ScaledTriple, Triple};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::rounds::{Rounds, State};
use crate::performance::{Made, Mail, Said, message_digest};

/// What one signature is made of.
pub(super) enum Source {
    /// Everything is made in this run.
    Rounds(Box<Rounds>, Box<State>),
    /// It was made before, for this use.
    Triple(Triple, Use),
    /// It was taken.
    Scaled(ScaledTriple),
    Spent,
}

/// What a triple is taken for.
pub(super) struct Use {
    pub(super) execution_id: B32,
    pub(super) material: Material,
    /// The key that is signed under.
    pub(super) public_key: [u8; POINT_BYTES],
}

/// One signature.
pub(crate) struct Signing {
    digest: [u8; 32],
    source: Source,
    done: Option<(Secret<[u8; SHARE_BYTES]>, NoncePoint)>,
}

impl Signing {
    pub(super) fn new(source: Source, digest: [u8; 32]) -> Self {
        Self { digest, source, done: None }
    }

    pub(super) fn perform(
        &mut self,
        op: MicroOp,
        mail: Mail<'_>,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        match op {
            MicroOp::TakeTriple => self.take(),
            MicroOp::AffineShare => self.share(),
            op => match &mut self.source {
                Source::Rounds(rounds, state) => rounds.perform(op, state, mail, rng),
                _ => Err(Rule::UnexpectedMessage.into()),
            },
        }
    }

    /// R as it was made, and R' as it is used: whoever has both can tell that one follows from the other.
    fn take(&mut self) -> Result<Said, Fault> {
        let Source::Triple(triple, taken) = std::mem::replace(&mut self.source, Source::Spent)
        else {
            return Err(Rule::UnexpectedMessage.into());
        };
        let made = triple.nonce().encode();
        let scaled = triple.scaled(&TripleUse {
            execution_id: &taken.execution_id.0,
            batch: &taken.material.batch.0,
            index: taken.material.index,
            nonce: &made,
            public_key: &taken.public_key,
            digest: &self.digest,
        })?;
        let public = [made, scaled.nonce().encode()].concat();
        self.source = Source::Scaled(scaled);
        Ok(Said { public: Some(Bytes(public)), ..Said::default() })
    }

    fn share(&mut self) -> Result<Said, Fault> {
        let share = match std::mem::replace(&mut self.source, Source::Spent) {
            Source::Rounds(_, state) => match *state {
                State::Checked(checked) => dkls23::affine(checked, &self.digest),
                _ => return Err(Rule::UnexpectedMessage.into()),
            },
            Source::Scaled(triple) => triple.affine(),
            Source::Triple(..) | Source::Spent => return Err(Rule::UnexpectedMessage.into()),
        };
        self.done = Some(share);
        Ok(Said::default())
    }

    pub(super) fn made(&mut self) -> Result<Made, Fault> {
        let (share, nonce) = self.done.take().ok_or(Rule::UnexpectedMessage)?;
        Ok(Made::Signature {
            share: share.expose(|share| Secret::new(share.to_vec())),
            commitments: std::collections::BTreeMap::new(),
            nonce: nonce.encode().to_vec(),
            digest: message_digest(&self.digest),
        })
    }
}
