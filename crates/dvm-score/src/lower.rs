//! L2 to L1: the score of each typed act, and of a publication.
//!
//! Source: the design's Schnorr and ECDSA scores. Deterministic: a function of the act's class, the
//! number of parties and the threshold; names and keys are bound by the run header, not here.
//!
//! Always true: what comes from here is declared with the checker's own derivation, and still
//! checked like any other score.

use dvm_core::intent::{Act, Scope};

use crate::check::{self, CheckError};
use crate::ir::{Coeff, KeyRef, Label, Message, Score, Site, SiteOp, Term, Type, Var, Workflow};

/// The score of an act's own run.
///
/// # Errors
/// [`CheckError`] where the act has no score for so many parties.
pub fn score_for(act: &Act, parties: u16) -> Result<Score, CheckError> {
    match act {
        Act::KeyGenerate { threshold, .. } => key_generate_score(parties, *threshold),
        Act::SignMessage { .. } => schnorr_sign_score(parties, Message::Content),
        Act::SignDigest { .. } => schnorr_sign_score(parties, Message::Digest),
    }
}

/// The score of the run that publishes an act's result.
///
/// # Errors
/// [`CheckError`] where there is no score for so many parties.
pub fn publication_for(act: &Act, scope: Scope, parties: u16) -> Result<Score, CheckError> {
    match act {
        Act::KeyGenerate { .. } => publish_pubkey_score(parties, scope),
        Act::SignMessage { .. } | Act::SignDigest { .. } => publish_sig_score(parties, scope),
    }
}

fn key_generate_score(parties: u16, threshold: u16) -> Result<Score, CheckError> {
    let mut b = Builder::new(Workflow::KeyGenerate, parties, threshold);
    let holders = Label::To((0..parties).collect());
    let x = b.push(SiteOp::ShareRand)?;
    // The public key is no fact before publish_pubkey: only the holders' kernels see it.
    let key = b.push(SiteOp::ShareEcMul { a: x, to: holders.clone() })?;
    let k = b.push(SiteOp::ShareRand)?;
    let commitment = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?;
    let message = Message::Activation;
    let nonce = b.push(SiteOp::Transcript { commitment, key: KeyRef::Of(key), message })?;
    let z = b.push(schnorr_response(k, challenge_of(nonce), x))?;
    let probe = b.push(SiteOp::OpenTo { a: z, to: holders })?;
    b.push(SiteOp::FinalizeKey { share: x, commitment: key, probe })?;
    Ok(b.score)
}

fn schnorr_sign_score(parties: u16, message: Message) -> Result<Score, CheckError> {
    let mut b = Builder::new(Workflow::Sign, parties, parties);
    let x = b.push(SiteOp::ShareLoad)?;
    let k = b.push(SiteOp::ShareRand)?;
    let commitment = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?;
    let nonce = b.push(SiteOp::Transcript { commitment, key: KeyRef::Intent, message })?;
    let s = b.push(schnorr_response(k, challenge_of(nonce), x))?;
    b.push(SiteOp::FinalizeSig { nonce, s })?;
    Ok(b.score)
}

/// ECDSA, the same for every ECDSA backend. No backend of this build performs it yet; it is here
/// to be reviewed, and it holds the IR to its promise that Schnorr is not built into it.
///
/// # Errors
/// [`CheckError`] where there is no score for so many parties.
pub fn ecdsa_sign_score(parties: u16) -> Result<Score, CheckError> {
    let mut b = Builder::new(Workflow::Sign, parties, parties);
    let x = b.push(SiteOp::ShareLoad)?;
    let k = b.push(SiteOp::ShareRand)?;
    let nonce = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?;
    let ki = b.push(SiteOp::ShareInv { a: k })?;
    let w = b.push(SiteOp::ShareMul { a: ki, b: x })?;
    let terms = vec![
        Term { coeff: Coeff::Message(Message::Digest), share: ki },
        Term { coeff: Coeff::XOf(nonce), share: w },
    ];
    let s = b.push(SiteOp::ShareLin { terms })?;
    b.push(SiteOp::FinalizeSig { nonce, s })?;
    Ok(b.score)
}

fn publish_sig_score(parties: u16, scope: Scope) -> Result<Score, CheckError> {
    let mut b = Builder::new(Workflow::PublishSig, parties, parties);
    let result = b.push(SiteOp::ResultLoad { ty: Type::SigHandle })?;
    let grants = b.push(SiteOp::GateGrant { result, scope })?;
    let published = b.push(SiteOp::PublishSig { result, grants, scope })?;
    b.push(SiteOp::Confirm { published })?;
    Ok(b.score)
}

fn publish_pubkey_score(parties: u16, scope: Scope) -> Result<Score, CheckError> {
    let mut b = Builder::new(Workflow::PublishKey, parties, parties);
    let result = b.push(SiteOp::ResultLoad { ty: Type::KeyHandle })?;
    let grants = b.push(SiteOp::GateGrant { result, scope })?;
    let published = b.push(SiteOp::PublishPubkey { result, grants, scope })?;
    b.push(SiteOp::Confirm { published })?;
    Ok(b.score)
}

/// z = k + c·x
fn schnorr_response(k: Var, c: Var, x: Var) -> SiteOp {
    let terms = vec![Term { coeff: Coeff::One, share: k }, Term { coeff: Coeff::Of(c), share: x }];
    SiteOp::ShareLin { terms }
}

/// A transcript gives (R, c).
fn challenge_of(nonce: Var) -> Var {
    Var { site: nonce.site, out: 1 }
}

/// A score being written, declared as it grows.
pub(crate) struct Builder {
    pub(crate) score: Score,
}

impl Builder {
    pub(crate) fn new(workflow: Workflow, parties: u16, threshold: u16) -> Self {
        Self { score: Score { workflow, parties, threshold, sites: Vec::new() } }
    }

    /// Adds a site and names its first result.
    pub(crate) fn push(&mut self, op: SiteOp) -> Result<Var, CheckError> {
        let site = self.score.sites.len().try_into().unwrap_or(u16::MAX);
        let gives = check::results(&self.score, &op).map_err(|rule| CheckError { site, rule })?;
        self.score.sites.push(Site { op, gives });
        Ok(Var { site, out: 0 })
    }
}
