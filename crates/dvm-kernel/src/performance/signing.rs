//! FROST's two rounds, step by step; of the first one only what is left where its nonces were made before.

use std::collections::BTreeMap;

use dvm_blame::{Binding, Fault, Rule};
use dvm_core::Bytes;
use dvm_microcode::sign::{self, Nonces};
use dvm_microcode::{KeyShare, SchnorrSuite, Secret};
use dvm_score::MicroOp;
use rand_core::CryptoRngCore;

use super::{Made, Mail, Said, message_digest};

/// The first round of a signature to come: this signer's nonces, and the commitments of all.
pub(crate) struct Prepared<C: SchnorrSuite> {
    pub(super) nonces: Nonces<C>,
    pub(super) commitments: BTreeMap<String, Vec<u8>>,
}

impl<C: SchnorrSuite> Prepared<C> {
    /// What all signers know of it: the commitments, in order of their signers.
    pub(super) fn public(&self) -> Vec<u8> {
        self.commitments.values().flatten().copied().collect()
    }
}

/// One signature.
pub(crate) struct Signing<C: SchnorrSuite> {
    key: KeyShare<C>,
    message: Vec<u8>,
    /// Of a run that spends what was made before, until it takes it.
    prepared: Option<Prepared<C>>,
    nonces: Option<Nonces<C>>,
    commitments: BTreeMap<String, Vec<u8>>,
    binding: Option<Binding<C>>,
    share: Option<Secret<Vec<u8>>>,
}

impl<C: SchnorrSuite> Signing<C> {
    pub(super) fn new(key: KeyShare<C>, message: Vec<u8>, prepared: Option<Prepared<C>>) -> Self {
        let commitments = BTreeMap::new();
        Self { key, message, prepared, nonces: None, commitments, binding: None, share: None }
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
            MicroOp::TakeNonce => {
                let prepared = self.prepared.take().ok_or(Rule::UnexpectedMessage)?;
                said.public = Some(Bytes(prepared.public()));
                (self.nonces, self.commitments) = (Some(prepared.nonces), prepared.commitments);
            }
            MicroOp::BindingFactor => {
                // Nobody says commitments in a run that takes them.
                self.commitments.extend(mail.public(MicroOp::NonceCommit));
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
