//! L2 to L1: the score of each typed act, and of a publication.
//!
//! Source: the design's Schnorr and ECDSA scores, with material made before or without. Deterministic: a
//! function of the act's class, the number of parties, the threshold, the scheme and the material; names and
//! keys are bound by the run header, not here.
//!
//! Always true: what comes from here is declared with the checker's own derivation, and still
//! checked like any other score. An opaque digest never spends prepared material: whoever chooses it after
//! seeing the material's R could choose it by R.

use dvm_core::intent::{Act, Scheme, Scope};
use dvm_core::limits::PRESIGN_COUNT_MAX;
use dvm_core::run::Material;

use crate::check::{self, CheckError};
use crate::ir::{
    Coeff, KeyRef, Label, MaterialKind, Message, Score, Site, SiteOp, Term, Type, Var, Workflow,
};

/// Why an act has no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoScore {
    /// A key of this scheme cannot perform it: it signs other things, or has no keys below it.
    #[error("a key of this scheme does not perform this act")]
    Scheme,
    /// It makes all that it needs, and material was named.
    #[error("this act spends no prepared material")]
    Material,
    /// What it prepares stays in the kernels.
    #[error("this act has no result to publish")]
    Unpublished,
    /// No material asked for, or more than a batch has.
    #[error("a batch has 1 to {PRESIGN_COUNT_MAX} pieces")]
    Count,
    /// A site does not fit the ones before it.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// The score of an act's own run.
///
/// # Errors
/// [`NoScore`] where the act has none for this scheme, material and number of parties.
pub fn score_for(
    act: &Act,
    parties: u16,
    scheme: Scheme,
    material: Option<&Material>,
) -> Result<Score, NoScore> {
    if scheme == Scheme::Schnorr && !act.path().is_empty() {
        return Err(NoScore::Scheme);
    }
    let b = |workflow| Builder::new(workflow, parties, parties);
    let message = match act {
        Act::SignMessage { .. } if scheme == Scheme::Schnorr => Message::Content,
        Act::SignEvmTransaction { .. } if scheme == Scheme::Ecdsa => Message::Transaction,
        Act::SignMessage { .. } | Act::SignEvmTransaction { .. } => return Err(NoScore::Scheme),
        _ if material.is_some() => return Err(NoScore::Material),
        Act::SignDigest { .. } => Message::Digest,
        Act::KeyGenerate { threshold, .. } => {
            let b = Builder::new(Workflow::KeyGenerate, parties, *threshold);
            return Ok(key_generate(b, scheme)?);
        }
        Act::PresignBatch { count, .. } if !(1..=PRESIGN_COUNT_MAX).contains(count) => {
            return Err(NoScore::Count);
        }
        Act::PresignBatch { count, .. } => {
            return Ok(match scheme {
                Scheme::Schnorr => schnorr_presign(b(Workflow::Presign), *count),
                Scheme::Ecdsa => ecdsa_presign(b(Workflow::Presign), *count),
            }?);
        }
    };
    let b = b(Workflow::Sign);
    Ok(match (scheme, material) {
        (Scheme::Schnorr, material) => schnorr_sign(b, message, material),
        (Scheme::Ecdsa, None) => ecdsa_sign(b, message),
        (Scheme::Ecdsa, Some(material)) => ecdsa_sign_with(b, message, material),
    }?)
}

/// The score of the run that publishes an act's result.
///
/// # Errors
/// [`NoScore`] where the act has no result to publish.
pub fn publication_for(act: &Act, scope: Scope, parties: u16) -> Result<Score, NoScore> {
    match act {
        Act::KeyGenerate { .. } => Ok(publish_pubkey_score(parties, scope)?),
        Act::SignMessage { .. } | Act::SignDigest { .. } | Act::SignEvmTransaction { .. } => {
            Ok(publish_sig_score(parties, scope)?)
        }
        Act::PresignBatch { .. } => Err(NoScore::Unpublished),
    }
}

type Lowered = Result<Score, CheckError>;

fn key_generate(mut b: Builder, scheme: Scheme) -> Lowered {
    let holders = b.everyone();
    let x = b.push(SiteOp::ShareRand)?;
    // The public key is no fact before publish_pubkey: only the holders' kernels see it.
    let key = b.push(SiteOp::ShareEcMul { a: x, to: holders.clone() })?;
    if scheme == Scheme::Ecdsa {
        // Shares of an ECDSA key are multiplied, which takes a set-up between each two holders.
        b.push(SiteOp::Provision { a: x })?;
    }
    let k = b.push(SiteOp::ShareRand)?;
    let commitment = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?;
    let message = Message::Activation;
    let nonce = b.push(SiteOp::Transcript { commitment, key: KeyRef::Of(key), message })?;
    let z = b.push(schnorr_response(k, challenge_of(nonce), x))?;
    let probe = b.push(SiteOp::OpenTo { a: z, to: holders })?;
    b.push(SiteOp::FinalizeKey { share: x, commitment: key, probe })?;
    Ok(b.score)
}

fn schnorr_sign(mut b: Builder, message: Message, material: Option<&Material>) -> Lowered {
    let x = b.push(SiteOp::ShareLoad)?;
    let (commitment, k) = match material {
        Some(material) => {
            let taken = b.push(take(material, MaterialKind::Nonce))?;
            (taken, part(taken, 1))
        }
        None => {
            let k = b.push(SiteOp::ShareRand)?;
            (b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?, k)
        }
    };
    let nonce = b.push(SiteOp::Transcript { commitment, key: KeyRef::Intent, message })?;
    let s = b.push(schnorr_response(k, challenge_of(nonce), x))?;
    b.push(SiteOp::FinalizeSig { nonce, s })?;
    Ok(b.score)
}

fn schnorr_presign(mut b: Builder, count: u16) -> Lowered {
    let mut values = Vec::new();
    for _ in 0..count {
        let k = b.push(SiteOp::ShareRand)?;
        values.extend([b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?, k]);
    }
    b.push(SiteOp::Stash { values })?;
    Ok(b.score)
}

/// s = (m + r·x)/k, as m·[1/k] + r·[x/k].
fn ecdsa_sign(mut b: Builder, message: Message) -> Lowered {
    let x = b.push(SiteOp::ShareLoad)?;
    let k = b.push(SiteOp::ShareRand)?;
    let nonce = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?;
    let ki = b.push(SiteOp::ShareInv { a: k })?;
    let w = b.push(SiteOp::ShareMul { a: ki, b: x })?;
    let s = b.push(numerator(message, ki, nonce, w))?;
    b.push(SiteOp::FinalizeSig { nonce, s })?;
    Ok(b.score)
}

/// Per piece: R = k·G, u = k·φ, v = φ·x. What is left for the message is linear.
fn ecdsa_presign(mut b: Builder, count: u16) -> Lowered {
    let x = b.push(SiteOp::ShareLoad)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let k = b.push(SiteOp::ShareRand)?;
        let nonce = b.push(SiteOp::ShareEcMul { a: k, to: Label::Public })?;
        let mask = b.push(SiteOp::ShareRand)?;
        let u = b.push(SiteOp::ShareMul { a: k, b: mask })?;
        let v = b.push(SiteOp::ShareMul { a: mask, b: x })?;
        values.extend([nonce, mask, u, v]);
    }
    b.push(SiteOp::Stash { values })?;
    Ok(b.score)
}

/// s = (m·φ + r·v)/u.
fn ecdsa_sign_with(mut b: Builder, message: Message, material: &Material) -> Lowered {
    let all = b.everyone();
    let nonce = b.push(take(material, MaterialKind::Aff3))?;
    let (mask, u, v) = (part(nonce, 1), part(nonce, 2), part(nonce, 3));
    let u = b.push(SiteOp::OpenTo { a: u, to: all })?;
    let top = b.push(numerator(message, mask, nonce, v))?;
    let terms = vec![Term { coeff: Coeff::InverseOf(u), share: top }];
    let s = b.push(SiteOp::ShareLin { terms })?;
    b.push(SiteOp::FinalizeSig { nonce, s })?;
    Ok(b.score)
}

/// m·[a] + r(R)·[b]
fn numerator(message: Message, a: Var, nonce: Var, b: Var) -> SiteOp {
    let terms = vec![
        Term { coeff: Coeff::Message(message), share: a },
        Term { coeff: Coeff::XOf(nonce), share: b },
    ];
    SiteOp::ShareLin { terms }
}

fn take(material: &Material, kind: MaterialKind) -> SiteOp {
    SiteOp::Take { batch: material.batch, index: material.index, kind }
}

/// What a site gives beside its first result.
fn part(first: Var, out: u8) -> Var {
    Var { site: first.site, out }
}

fn publish_sig_score(parties: u16, scope: Scope) -> Lowered {
    let mut b = Builder::new(Workflow::PublishSig, parties, parties);
    let result = b.push(SiteOp::ResultLoad { ty: Type::SigHandle })?;
    let grants = b.push(SiteOp::GateGrant { result, scope })?;
    let published = b.push(SiteOp::PublishSig { result, grants, scope })?;
    b.push(SiteOp::Confirm { published })?;
    Ok(b.score)
}

fn publish_pubkey_score(parties: u16, scope: Scope) -> Lowered {
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
    part(nonce, 1)
}

/// A score being written, declared as it grows.
pub(crate) struct Builder {
    pub(crate) score: Score,
}

impl Builder {
    pub(crate) fn new(workflow: Workflow, parties: u16, threshold: u16) -> Self {
        Self { score: Score { workflow, parties, threshold, sites: Vec::new() } }
    }

    /// All who take part.
    pub(crate) fn everyone(&self) -> Label {
        Label::To((0..self.score.parties).collect())
    }

    /// Adds a site and names its first result.
    pub(crate) fn push(&mut self, op: SiteOp) -> Result<Var, CheckError> {
        let site = self.score.sites.len().try_into().unwrap_or(u16::MAX);
        let gives = check::results(&self.score, &op).map_err(|rule| CheckError { site, rule })?;
        self.score.sites.push(Site { op, gives });
        Ok(Var { site, out: 0 })
    }
}
