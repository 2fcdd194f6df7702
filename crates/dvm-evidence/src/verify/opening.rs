//! The openings of a signature: R from what every signer said, each share, and their sum.
//!
//! Always true of shares that pass: R follows from the signers' own words in the run that made them, under
//! the key that the act names; and where all of them are here, they add up to the result.
//!
//! Not here: what a single ECDSA share is a share of. It is uniform to all but its signer; only the sum
//! can be judged, and a wrong sum names nobody.

use std::collections::BTreeMap;

use dvm_blame::ecdsa::{
    NoncePoint, Nonces, POINT_BYTES, RunName, SHARE_BYTES, SignatureTerms, TripleUse,
    scalar_from_bytes,
};
use dvm_blame::{Fault, Roster, SuiteGroupKey, aggregate, group_commitment, verify_share};
use dvm_core::authority::KeyReady;
use dvm_core::bytes::Bytes;
use dvm_core::codec::link_of;
use dvm_core::intent::Scheme;
use dvm_core::reason::ReasonCode;
use dvm_core::run::Material;
use dvm_core::{B32, NodeId};
use dvm_score::MicroOp;

use crate::verify::key::{group_key, signing_key};
use crate::verify::run::{all_said, all_showed};
use crate::verify::{Case, CheckedRun, Refused, ensure};

/// What the shares of one signature are shares of.
enum Terms<'a> {
    Schnorr {
        key: Box<SuiteGroupKey>,
        commitments: BTreeMap<String, Vec<u8>>,
        message: &'a [u8],
    },
    Ecdsa {
        signers: Roster,
        public_key: [u8; POINT_BYTES],
        nonce: Box<NoncePoint>,
        digest: [u8; 32],
    },
}

impl<'a> Terms<'a> {
    /// From what all signers said in the act run; none while a signer's part is missing.
    fn of(
        case: &'a Case<'_>,
        runs: &[CheckedRun<'_>],
        (act_run, ready): (&B32, &KeyReady),
    ) -> Result<Option<Self>, Refused> {
        let made_in = runs.iter().find(|run| run.ctx.execution_id() == *act_run);
        let Some(run) = made_in else { return Ok(None) };
        let message = case.act.bytes_to_sign().unwrap_or_default();
        let made = match ready.backend.scheme() {
            Scheme::Schnorr => {
                let commitments = match run.ctx.header().kind.material() {
                    None => all_said(runs, act_run, MicroOp::NonceCommit),
                    Some(_) => taken_commitments(runs, run)?,
                };
                let key = Box::new(group_key(ready, &run.path)?);
                commitments.map(|commitments| Self::Schnorr { key, commitments, message })
            }
            Scheme::Ecdsa => {
                let public_key = signing_key(case.act.act(), ready, &run.path)?;
                let bad = |what| move || Refused::at(&run.path, what);
                let public_key: [u8; POINT_BYTES] =
                    public_key.try_into().map_err(|_| bad("the key is no key of its scheme")())?;
                let digest: [u8; 32] =
                    message.try_into().map_err(|_| bad("an ECDSA signature is over 32 bytes")())?;
                let signers = Roster::new(run.ctx.participants().iter().map(NodeId::as_str))
                    .map_err(|_| bad("the signers are no roster")())?;
                let nonce = match run.ctx.header().kind.material() {
                    None => {
                        let path = case.act.act().path();
                        opened_nonce(runs, run, (ready, path), (&signers, &public_key))?
                    }
                    Some(material) => scaled_nonce(runs, run, &material, (&public_key, &digest))?,
                };
                let nonce = nonce.map(Box::new);
                nonce.map(|nonce| Self::Ecdsa { signers, public_key, nonce, digest })
            }
        };
        Ok(made)
    }

    /// The public nonce of the signature.
    fn nonce(&self) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Schnorr { key, commitments, message } => {
                group_commitment(key, commitments, message).map(|nonce| nonce.to_vec())
            }
            Self::Ecdsa { nonce, .. } => Ok(nonce.encode().to_vec()),
        }
    }

    /// Whether these bytes are this signer's share, as far as a share alone can tell.
    fn takes(&self, node: &str, share: &[u8]) -> bool {
        match self {
            Self::Schnorr { key, commitments, message } => {
                verify_share(key, commitments, message, node, share).is_ok()
            }
            Self::Ecdsa { .. } => share.split_at_checked(SHARE_BYTES / 2).is_some_and(|(u, w)| {
                scalar_from_bytes(u).is_some() && scalar_from_bytes(w).is_some()
            }),
        }
    }

    /// The signature that all shares add up to.
    fn add_up(&self, shares: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Schnorr { key, commitments, message } => {
                aggregate(key, commitments, message, shares).map(|signature| signature.to_vec())
            }
            Self::Ecdsa { signers, public_key, nonce, digest } => {
                SignatureTerms { signers, public_key, nonce, digest }
                    .combine(shares)
                    .map(|signature| signature.to_vec())
            }
        }
    }
}

/// All signers' commitments to prepared nonces, as each of them took them out: one after the other, in order.
fn taken_commitments(
    runs: &[CheckedRun<'_>],
    run: &CheckedRun<'_>,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, Refused> {
    let Some(taken) = agreed(runs, run, MicroOp::TakeNonce)? else { return Ok(None) };
    let signers = run.ctx.participants();
    let length = taken.len().checked_div(signers.len()).unwrap_or(0);
    let whole = length > 0 && length * signers.len() == taken.len();
    ensure(whole, &run.path, "the commitments that were taken are not one for each signer")?;
    let named = signers.iter().zip(taken.chunks(length));
    Ok(Some(named.map(|(node, bytes)| (node.as_str().to_owned(), bytes.to_vec())).collect()))
}

/// R of the openings, each of which is what its signer committed to in this run.
fn opened_nonce(
    runs: &[CheckedRun<'_>],
    run: &CheckedRun<'_>,
    (ready, path): (&KeyReady, &[u32]),
    (signers, public_key): (&Roster, &[u8; POINT_BYTES]),
) -> Result<Option<NoncePoint>, Refused> {
    let id = run.ctx.execution_id();
    let said = |op| all_said(runs, &id, op);
    let (Some(commitments), Some(openings)) =
        (said(MicroOp::NonceCommit), said(MicroOp::NonceOpen))
    else {
        return Ok(None);
    };
    let digests = commitments.into_iter().map(|(node, bytes)| Some((node, bytes.try_into().ok()?)));
    let digests: Option<BTreeMap<String, [u8; 32]>> = digests.collect();
    let unbound = |_| Refused::at(&run.path, "the openings are not those that were committed to");
    let digests = digests.ok_or(()).map_err(unbound)?;
    let name = RunName {
        execution_id: &id.0,
        key: &link_of(ready).to_bytes(),
        table: &run.ctx.plan().backend,
        path,
        public_key,
        signers,
    };
    let nonces = Nonces { run_sid: &name.sid(), item: 0, signers, public_key };
    let opened = nonces.open(&digests, &openings).map_err(|_| unbound(()))?;
    let what = "the openings do not add up to the key and a nonce";
    nonces.sum(&opened, None).map(Some).map_err(|_| Refused::at(&run.path, what))
}

/// R' of a presignature that every signer took out and scaled for this very run.
fn scaled_nonce(
    runs: &[CheckedRun<'_>],
    run: &CheckedRun<'_>,
    material: &Material,
    (public_key, digest): (&[u8; POINT_BYTES], &[u8; 32]),
) -> Result<Option<NoncePoint>, Refused> {
    let Some(taken) = agreed(runs, run, MicroOp::TakeTriple)? else { return Ok(None) };
    let what = "what was taken is no presignature scaled for this run";
    let bad = || Refused::at(&run.path, what);
    let (made, scaled) = taken.split_at_checked(POINT_BYTES).ok_or_else(bad)?;
    let made_bytes: &[u8; POINT_BYTES] = made.try_into().map_err(|_| bad())?;
    let spent = TripleUse {
        execution_id: &run.ctx.execution_id().0,
        batch: &material.batch.0,
        index: material.index,
        nonce: made_bytes,
        public_key,
        digest,
    };
    let nonce =
        NoncePoint::decode(made).zip(spent.delta()).and_then(|(made, delta)| made.scaled(&delta));
    let nonce = nonce.ok_or_else(bad)?;
    ensure(nonce.encode().as_slice() == scaled, &run.path, what)?;
    Ok(Some(nonce))
}

/// What every signer showed in a step, which must be the same; none while a signer's part is missing.
fn agreed<'a>(
    runs: &[CheckedRun<'a>],
    run: &CheckedRun<'_>,
    op: MicroOp,
) -> Result<Option<&'a [u8]>, Refused> {
    let Some(all) = all_showed(runs, &run.ctx.execution_id(), op) else { return Ok(None) };
    let first = all.first().copied();
    let same = all.iter().all(|shown| Some(*shown) == first);
    ensure(same, &run.path, "the signers took out different material")?;
    Ok(first)
}

/// The shares of one publication, as one peer holds it. True if all of them are here.
pub(crate) fn check_opening(
    case: &Case<'_>,
    runs: &[CheckedRun<'_>],
    run: &CheckedRun<'_>,
) -> Result<bool, Refused> {
    let (Some((of, _)), Some(ready)) = (run.of(), &run.ready) else { return Ok(true) };
    let Some(terms) = Terms::of(case, runs, (&of, ready))? else { return Ok(false) };
    let nonce =
        terms.nonce().map_err(|_| Refused::at(&run.path, "the nonce commitments do not bind"))?;
    for (i, statement) in run.run.publications.iter().enumerate() {
        let same = statement.body.facts.public_nonce.0 == nonce;
        let path = format!("{}/publications/{i}", run.path);
        ensure(same, &path, "the result has another nonce than the commitments lead to")?;
    }
    let Some(share) = run.said(MicroOp::OpenShare) else { return Ok(!run.spoke(2)) };
    check_shares(case, runs, run, (&terms, share))
}

fn check_shares(
    case: &Case<'_>,
    runs: &[CheckedRun<'_>],
    run: &CheckedRun<'_>,
    (terms, share): (&Terms<'_>, &Bytes),
) -> Result<bool, Refused> {
    let blamed = |link: &str, what| Err(Refused::code(link, ReasonCode::PayloadRejected, what));
    // A wrong share is evidence where the run says so; where a result follows from it, a forgery.
    if !terms.takes(run.part.node.as_str(), share) && run.run.published.is_some() {
        return blamed(&run.path, "the opened share is not a share of this signature");
    }
    let id = run.ctx.execution_id();
    let Some(shares) = all_said(runs, &id, MicroOp::OpenShare) else { return Ok(false) };
    let Some(result) = &case.parts.result else { return Ok(true) };
    match terms.add_up(&shares) {
        // Shares add up to one signature: the published one.
        Ok(signature) if signature == result.0 => Ok(true),
        _ => blamed("result", "the opened shares do not add up to the result"),
    }
}
