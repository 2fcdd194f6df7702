//! DKG levels 5–7: agree on the transcript, then try the key once.
//!
//! Source: `system.md`'s life of a key: the kernels sign H('dvm/activation', transcript) with exactly t of them, so
//! that a key which t parties cannot use is found before it becomes anything.
//! Always true: a [`KeyShare`] comes out only after every party named the same transcript and the probe's signature
//! verified under the key. The signature itself is never returned. It is FROST's for every suite: an ECDSA key is
//! probed by a Schnorr signature, the only one it ever makes.

use std::collections::BTreeMap;

use dvm_blame::{Binding, Fault, FrostSuite, Rule, Unattributed};
use rand_core::{CryptoRng, RngCore};

use super::finish::Unconfirmed;
use crate::key_share::KeyShare;
use crate::preimage;
use crate::secret::{Secret, SecretMessages};
use crate::sign::{self, Nonces};

/// A share whose transcript every party has confirmed. It can take part in the probe and nothing else.
pub struct Agreed<C: FrostSuite> {
    pub(crate) key: KeyShare<C>,
}

impl<C: FrostSuite> Agreed<C> {
    /// The agreed transcript's hash.
    pub fn transcript(&self) -> &[u8; 32] {
        self.key.transcript()
    }
}

/// Compares every party's transcript hash (ours included) with ours.
pub fn agree<C: FrostSuite>(
    unconfirmed: Unconfirmed<C>,
    transcripts: &BTreeMap<String, [u8; 32]>,
) -> Result<Agreed<C>, Fault> {
    let key = unconfirmed.key;
    let roster = key.group().roster();
    roster.check_senders(transcripts, roster.nodes())?;
    if transcripts.get(key.node()) != Some(key.transcript()) {
        return Err(Rule::OwnMessageChanged.into());
    }
    // Every h was echoed and every opening checked against it, so somebody lies about what it saw or computed
    // wrongly; from here it cannot be told who.
    if transcripts.values().any(|transcript| transcript != key.transcript()) {
        return Err(Unattributed::TranscriptMismatch.into());
    }
    Ok(Agreed { key })
}

impl<C: FrostSuite> Unconfirmed<C> {
    /// A prober's nonces and commitments. Only the t probing nodes run this. Drawn while the transcripts are still on their way: nonces do not depend on
    /// the agreement, and their use in [`probe_partial`] does.
    pub fn probe_commit(
        &self,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<(Nonces<C>, Vec<u8>), Fault> {
        sign::draw(&self.key, rng)
    }
}

/// A prober's share of the probe's signature, sealed to every other kernel.
pub fn probe_partial<C: FrostSuite>(
    agreed: &Agreed<C>,
    nonces: Nonces<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
) -> Result<Secret<Vec<u8>>, Fault> {
    let binding = probe_binding(agreed, commitments)?;
    sign::respond(&agreed.key, nonces, &binding)
}

/// Every node, prober or not, checks the probe's signature and only then has a key share.
pub fn probe_confirm<C: FrostSuite>(
    agreed: Agreed<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
    shares: &SecretMessages,
) -> Result<KeyShare<C>, Fault> {
    let binding = probe_binding(&agreed, commitments)?;
    // Verified and dropped inside.
    sign::with_plain(shares, |shares| binding.probe(shares))?;
    Ok(agreed.key)
}

fn probe_binding<C: FrostSuite>(
    agreed: &Agreed<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
) -> Result<Binding<C>, Fault> {
    let message = preimage::activation(agreed.key.transcript());
    Binding::new(agreed.key.group(), commitments, &message)
}
