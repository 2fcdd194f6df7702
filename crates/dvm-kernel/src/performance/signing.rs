//! FROST's two rounds, step by step.

use std::collections::BTreeMap;

use dvm_blame::{Binding, Fault, Rule};
use dvm_core::Bytes;
use dvm_microcode::sign::{self, Nonces};
use dvm_microcode::{KeyShare, SchnorrSuite, Secret};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::{Made, Mail, Said, message_digest};

/// One signature.
pub(crate) struct Signing<C: SchnorrSuite> {
    key: KeyShare<C>,
    message: Vec<u8>,
    nonces: Option<Nonces<C>>,
    commitments: BTreeMap<String, Vec<u8>>,
    binding: Option<Binding<C>>,
    share: Option<Secret<Vec<u8>>>,
}

impl<C: SchnorrSuite> Signing<C> {
    pub(super) fn new(key: KeyShare<C>, message: Vec<u8>) -> Self {
        let commitments = BTreeMap::new();
        Self { key, message, nonces: None, commitments, binding: None, share: None }
    }

    pub(super) fn perform(
        &mut self,
        op: MicroOp,
        mail: Mail<'_>,
        mut rng: &mut dyn CryptoRngCore,
    ) -> Result<Said, Fault> {
        let mut said = Said::default();
        match op {
            MicroOp::NonceCommit => {
                let (nonces, commitment) = sign::nonce_commit(&self.key, &mut rng)?;
                self.nonces = Some(nonces);
                said.broadcast = Some(commitment);
            }
            MicroOp::BindingFactor => {
                self.commitments = mail.public(MicroOp::NonceCommit);
                let binding = sign::bind(self.key.group(), &self.commitments, &self.message)?;
                said.public = Some(Bytes(binding.r().to_vec()));
                self.binding = Some(binding);
            }
            MicroOp::Challenge => {
                said.public = Some(Bytes(self.bound()?.challenge().to_vec()));
            }
            MicroOp::PartialSig => {
                // By value: whatever happens from here on, these nonces are gone.
                let nonces = self.nonces.take().ok_or(Rule::UnexpectedMessage)?;
                self.share = Some(sign::partial_sig(&self.key, nonces, self.bound()?)?);
            }
            _ => return Err(Rule::UnexpectedMessage.into()),
        }
        Ok(said)
    }

    fn bound(&self) -> Result<&Binding<C>, Fault> {
        self.binding.as_ref().ok_or_else(|| Rule::UnexpectedMessage.into())
    }

    pub(super) fn made(&mut self) -> Result<Made, Fault> {
        let nonce = self.bound()?.r().to_vec();
        Ok(Made::Signature {
            share: self.share.take().ok_or(Rule::UnexpectedMessage)?,
            commitments: std::mem::take(&mut self.commitments),
            nonce,
            digest: message_digest(&self.message),
        })
    }
}
