//! The result: openings, signature or key facts, and each kernel's last word on it.
//!
//! Always true of an outcome with a result: a signature verifies under the key's public key, over
//! the bytes that the act's parse gave, by a library that FROST does not use; a key's facts are
//! signed by every holder's kernel and follow from the key generation in the bundle.

use dvm_blame::{first_chain_code, verify_signature};
use dvm_core::authority::{KeyReady, KeyReadyCertificate};
use dvm_core::bytes::Bytes;
use dvm_core::codec::{self, link_of};
use dvm_core::digest;
use dvm_core::intent::Act;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::PublishedResult;
use dvm_core::sign::Signed;
use dvm_score::MicroOp;

use crate::verify::gate::grant;
use crate::verify::key::{group_key, signing_key};
use crate::verify::opening::check_opening;
use crate::verify::{Case, CheckedRun, Refused, ensure};

/// What came out.
pub(crate) struct Outcome {
    /// The signature, or the link bytes of the key's facts.
    pub(crate) result: Option<Bytes>,
    /// The key that signed, or that was made.
    pub(crate) ready: Option<KeyReady>,
    /// Whether everything that a result rests on is in the bundle.
    pub(crate) complete: bool,
}

/// Checks openings, result and last words.
pub(crate) fn check_result(case: &Case<'_>, runs: &[CheckedRun<'_>]) -> Result<Outcome, Refused> {
    let mut outcome = if case.act.act().makes_key() {
        key_result(case, runs)?
    } else {
        signature_result(case, runs)?
    };
    let mut any = false;
    for run in runs {
        let Some(published) = &run.run.published else { continue };
        check_published(case, run, (published, outcome.result.as_ref()))?;
        any = true;
    }
    outcome.complete &= any || outcome.result.is_none();
    Ok(outcome)
}

fn check_published(
    case: &Case<'_>,
    run: &CheckedRun<'_>,
    (published, result): (&Signed<PublishedResult>, Option<&Bytes>),
) -> Result<(), Refused> {
    let path = format!("{}/published", run.path);
    let body = &published.body;
    let signed = run.ctx.key(&run.part.node).is_some_and(|key| published.verify(key).is_ok());
    ensure(signed, &path, "the result is not signed by its node's kernel")?;
    let own = grant(run).map(Signed::link);
    let about = body.cluster == case.history.cluster()
        && body.node == run.part.node
        && body.intent == case.intent
        && body.execution_id == run.ctx.execution_id()
        && Some(body.grant) == own
        && run.of().map(|(_, result_ref)| result_ref) == Some(body.result_ref);
    ensure(about, &path, "the result is of another publication than this kernel granted")?;
    ensure(result == Some(&body.result), &path, "the kernel published another result")?;
    let confirmed = run.said(MicroOp::Confirm);
    let same = confirmed.is_none_or(|said| said.0.as_slice() == digest::sha256(&body.result).0);
    ensure(same, &path, "the kernel confirmed another result")
}

fn signature_result(case: &Case<'_>, runs: &[CheckedRun<'_>]) -> Result<Outcome, Refused> {
    let due = case.act.act().publishes() || case.parts.result.is_none();
    ensure(due, "result", "this act has no result to publish")?;
    let mut complete = true;
    for run in runs.iter().filter(|run| run.of().is_some()) {
        complete &= check_opening(case, runs, run)?;
    }
    let first = runs.iter().find_map(|run| run.run.published.as_ref()).map(|p| &p.body.result);
    let Some(result) = case.parts.result.as_ref().or(first) else {
        return Ok(Outcome { result: None, ready: any_key(case, runs), complete });
    };
    let ready = any_key(case, runs);
    let ready = ready.ok_or_else(|| Refused::at("result", "the key is not in the log"))?;
    let bytes = case.act.bytes_to_sign().unwrap_or_default();
    let key = signing_key(case.act.act(), &ready, "result")?;
    let holds = verify_signature(ready.backend.into(), &key, bytes, result).is_ok();
    if !holds {
        let what = "the signature does not verify under the key over the act's bytes";
        return Err(Refused::code("result", ReasonCode::PayloadRejected, what));
    }
    let signers = runs.iter().any(|run| run.of().is_some());
    Ok(Outcome { result: Some(result.clone()), ready: Some(ready), complete: complete && signers })
}

/// The key that the runs used, or that the log has for the act.
fn any_key(case: &Case<'_>, runs: &[CheckedRun<'_>]) -> Option<KeyReady> {
    let used = runs.iter().find_map(|run| run.ready.clone());
    let act = case.act.act();
    let record = case.history.last().key(act.key_id()).filter(|r| r.epoch == act.key_epoch());
    used.or_else(|| record.map(|r| r.ready.clone()))
}

fn key_result(case: &Case<'_>, runs: &[CheckedRun<'_>]) -> Result<Outcome, Refused> {
    let any = runs.iter().any(|run| run.run.published.is_some());
    let Some(bytes) = &case.parts.result else {
        let first = runs.iter().find_map(|run| run.run.published.as_ref());
        let result = first.map(|p| p.body.result.clone());
        // Without the certificate the kernels' word is all there is.
        return Ok(Outcome { result, ready: None, complete: !any });
    };
    let certificate: KeyReadyCertificate = codec::decode(bytes)
        .map_err(|_| Refused::at("result", "the result is no certificate of a key"))?;
    let ready = &certificate.ready;
    let holds = certificate.holds(case.history.last().manifest());
    ensure(holds, "result", "the key's facts are not signed by every holder's kernel")?;
    check_key_facts(case, ready)?;
    group_key(ready, "result")?;
    for run in runs {
        check_key_run(run, &certificate)?;
    }
    let signers = runs.iter().any(|run| run.of().is_some());
    let result = Some(Bytes(link_of(ready).to_bytes()));
    Ok(Outcome { result, ready: Some(certificate.ready), complete: signers })
}

fn check_key_facts(case: &Case<'_>, ready: &KeyReady) -> Result<(), Refused> {
    let Act::KeyGenerate { key_id, backend, threshold, roster } = case.act.act() else {
        return Err(Refused::at("result", "a key's facts for another act"));
    };
    let same = ready.cluster == case.history.cluster()
        && ready.intent == case.intent
        && ready.key_id == *key_id
        && ready.key_epoch == case.act.act().key_epoch()
        && ready.backend == *backend
        && ready.threshold == *threshold
        && ready.roster == *roster;
    ensure(same, "result", "the key's facts are of another act")?;
    // Here it is the first one, which nobody chose.
    let first = first_chain_code(ready.backend, &ready.transcript, &ready.public_key);
    ensure(
        ready.chain_code == first,
        "result",
        "the chain code does not follow from the key generation",
    )
}

/// The certificate against what one peer's kernel said in its runs.
fn check_key_run(run: &CheckedRun<'_>, certificate: &KeyReadyCertificate) -> Result<(), Refused> {
    let ready = &certificate.ready;
    let Some((of, _)) = run.of() else {
        let confirmed = run.said(MicroOp::DkgConfirm);
        let this_run = run.ctx.execution_id() == ready.execution_id;
        let same = confirmed.is_none_or(|said| said.0.as_slice() == ready.transcript.0);
        return ensure(
            !this_run || same,
            &run.path,
            "another transcript than the key's facts name",
        );
    };
    if run.run.published.is_none() {
        return Ok(());
    }
    ensure(of == ready.execution_id, &run.path, "the key was made in another run")?;
    let same = grant(run).is_some_and(|g| g.body.facts.digest == ready.transcript);
    ensure(same, &run.path, "the grant was for another transcript")?;
    let place = ready.roster.iter().position(|node| *node == run.part.node);
    let cose = place.and_then(|i| certificate.signatures.get(i)).cloned();
    let opened = cose.map(|cose| codec::encode(&Signed { body: ready.clone(), cose }));
    let same = run.said(MicroOp::OpenKey).map(|said| said.to_vec()) == opened;
    ensure(same, &run.path, "the kernel opened other facts than the certificate has")
}
