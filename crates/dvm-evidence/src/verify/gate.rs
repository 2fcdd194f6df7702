//! The gate: every kernel statement about a held result, and the grants before an opening.

use std::collections::BTreeMap;

use dvm_core::admission::{Purpose, Verdict};
use dvm_core::authority::{Floor, KeyReady};
use dvm_core::codec;
use dvm_core::digest;
use dvm_core::frame::PayloadRef;
use dvm_core::intent::Act;
use dvm_core::reason::ReasonCode;
use dvm_core::receipt::PublicationReceipt;
use dvm_core::sign::Signed;
use dvm_core::{B32, NodeId};
use dvm_governance::{ApprovalContext, AuthorityState, check_floor_release, signing_authority};
use dvm_score::MicroOp;

use crate::peer::PeerEvidence;
use crate::verify::verdict::{allowing, linked};
use crate::verify::{Case, CheckedRun, Refused, ensure};

/// Levels of a publication: grants, openings.
const GRANT: u16 = 1;
const OPEN: u16 = 2;

/// Every statement at the gate by a peer's kernel.
pub(crate) fn check_statements(
    case: &Case<'_>,
    part: &PeerEvidence,
    runs: &[CheckedRun<'_>],
) -> Result<(), Refused> {
    for run in runs {
        let mut destroyed = false;
        for (i, receipt) in run.run.publications.iter().enumerate() {
            let path = format!("{}/publications/{i}", run.path);
            ensure(!destroyed, &path, "a statement about a result that was destroyed")?;
            check_statement(case, (part, runs), receipt, &path)?;
            destroyed = receipt.body.destroyed;
        }
        // The second level of an act is no opening: what it holds may well be destroyed.
        destroyed &= run.of().is_some();
        ensure(!(destroyed && run.spoke(OPEN)), &run.path, "an opened result was destroyed")?;
        check_own_grant(run)?;
    }
    Ok(())
}

/// The act run that a statement is about.
fn act_of<'r, 'a>(
    runs: &'r [CheckedRun<'a>],
    receipt: &PublicationReceipt,
) -> Option<&'r CheckedRun<'a>> {
    let permit = |run: &CheckedRun<'_>| run.run.permit_receipt.as_ref().map(Signed::link);
    let act = runs.iter().find(|run| run.ctx.execution_id() == receipt.facts.execution_id)?;
    (act.of().is_none() && permit(act) == Some(receipt.permit)).then_some(act)
}

fn check_statement(
    case: &Case<'_>,
    (part, runs): (&PeerEvidence, &[CheckedRun<'_>]),
    receipt: &Signed<PublicationReceipt>,
    path: &str,
) -> Result<(), Refused> {
    let body = &receipt.body;
    let state = case.history.at(&body.head, path)?;
    let key = state.passport(&part.node).map(|p| p.kernel_key);
    let signed = key.is_some_and(|key| receipt.verify(key).is_ok());
    ensure(signed, path, "the statement is not signed by its node's kernel")?;
    let about = body.cluster == case.history.cluster()
        && body.node == part.node
        && body.intent == case.intent
        && body.scope == case.parts.intent.scope;
    ensure(about, path, "the statement is about something else")?;
    let act = act_of(runs, body);
    let act = act.ok_or_else(|| {
        Refused::at(path, "the statement does not follow a PermitReceipt of the act")
    })?;
    let held = act.run.permit_receipt.as_ref().and_then(|r| r.body.result_ref);
    let same = body.facts.result_ref() == body.result_ref && held == Some(body.result_ref);
    ensure(same, path, "the facts are not those of the result that was held")?;
    let publishes = runs.iter().any(|run| {
        run.ctx.execution_id() == body.execution_id
            && run.of() == Some((body.facts.execution_id, body.result_ref))
    });
    let places = publishes || body.execution_id == body.facts.execution_id;
    ensure(places, path, "the statement is of a publication that is not in the part")?;
    let digest = case.act.bytes_to_sign().map(digest::sha256);
    let of_act = digest.is_none_or(|digest| digest == body.facts.digest);
    ensure(of_act, path, "the result is not over the act's bytes")?;
    let spent = body.facts.material == act.ctx.header().kind.material();
    ensure(spent, path, "the result was made with other material than the run's")?;
    match body.verdict {
        Verdict::Allow => check_allow(case, (part, act, state), body, path),
        Verdict::Deny => check_deny(part, body, path),
        Verdict::Awaiting => Err(Refused::at(path, "a kernel allows or denies")),
    }
}

fn check_deny(part: &PeerEvidence, body: &PublicationReceipt, path: &str) -> Result<(), Refused> {
    let reasoned = !body.codes.is_empty() && body.codes.is_sorted_by(|a, b| a < b);
    ensure(reasoned, path, "a denial has sorted reasons")?;
    let by_person = body.codes.contains(&ReasonCode::DeniedByApprover);
    ensure(!by_person || !part.denials.is_empty(), path, "the denial that it rests on is missing")
}

fn check_allow(
    case: &Case<'_>,
    (part, act, state): (&PeerEvidence, &CheckedRun<'_>, &AuthorityState),
    body: &PublicationReceipt,
    path: &str,
) -> Result<(), Refused> {
    ensure(
        body.codes.is_empty() && !body.destroyed,
        path,
        "a grant has no reasons and destroys nothing",
    )?;
    let purpose =
        Purpose::Release { execution_id: body.facts.execution_id, result_ref: body.result_ref };
    let judgement = body.judgement.and_then(|link| allowing(part, &link, |p| *p == purpose));
    let rests = judgement.is_some_and(|j| j.head == body.head);
    ensure(rests, path, "the grant does not rest on a release judgement of its node")?;
    let floor = release_floor(case, state, act.ready.as_ref())
        .map_err(|code| Refused::code(path, code, "the key had no authority at this head"))?;
    let approvals = linked(part, &body.approvals, path)?;
    let context = ApprovalContext::of(state, &case.parts.intent, &purpose, body.time_ms);
    let counted = check_floor_release(floor, state.sets(), &approvals, &context)
        .map_err(|code| Refused::code(path, code, "the floor would not have released it"))?;
    ensure(counted == body.approvals, path, "the approvals listed are not those that counted")
}

fn release_floor<'s>(
    case: &Case<'_>,
    state: &'s AuthorityState,
    ready: Option<&KeyReady>,
) -> Result<&'s Floor, ReasonCode> {
    let act = case.act.act();
    if !state.cluster_state().may_sign() {
        return Err(ReasonCode::KeyNotActive);
    }
    if let Act::KeyGenerate { key_id, .. } = act {
        let taken = state.key(key_id).is_some();
        return if taken {
            Err(ReasonCode::ReplayOrConflict)
        } else {
            Ok(&state.manifest().keygen_floor)
        };
    }
    let record = signing_authority(state, act.key_id(), act.key_epoch())?;
    if ready != Some(&record.ready) {
        return Err(ReasonCode::StaleEpoch);
    }
    record.floor.as_ref().ok_or(ReasonCode::KeyNotActive)
}

/// The grant of a publication run by this peer.
pub(crate) fn grant<'a>(run: &CheckedRun<'a>) -> Option<&'a Signed<PublicationReceipt>> {
    let id = run.ctx.execution_id();
    let allows = |p: &&Signed<PublicationReceipt>| {
        p.body.verdict == Verdict::Allow && p.body.execution_id == id
    };
    run.run.publications.iter().find(allows)
}

/// What a peer's first frame of a publication says is its kernel's grant.
fn check_own_grant(run: &CheckedRun<'_>) -> Result<(), Refused> {
    if run.of().is_none() || !run.spoke(GRANT) {
        return Ok(());
    }
    let said = run.said(MicroOp::GateGrant);
    let same = grant(run).zip(said).is_some_and(|(g, said)| codec::encode(g) == said.0.as_slice());
    ensure(same, &run.path, "the first frame does not carry the kernel's own grant")
}

/// Before any opening all t signers granted, the same result at the same head, and the opener had
/// those very grants. True if every grant is in the bundle.
pub(crate) fn check_grants(runs: &[CheckedRun<'_>]) -> Result<bool, Refused> {
    let mut all = true;
    let publications = runs.iter().filter(|run| run.of().is_some());
    let by_peer: BTreeMap<(B32, &NodeId), &CheckedRun<'_>> =
        publications.clone().map(|run| ((run.ctx.execution_id(), &run.part.node), run)).collect();
    for run in publications.filter(|run| run.spoke(OPEN)) {
        let own = grant(run).ok_or_else(|| Refused::at(&run.path, "opened without a grant"))?;
        for node in run.ctx.others() {
            let Some(other) = by_peer.get(&(run.ctx.execution_id(), node)) else {
                all = false;
                continue;
            };
            let theirs = grant(other)
                .ok_or_else(|| Refused::at(&other.path, "opened before this signer granted"))?;
            check_same_grant(&own.body, &theirs.body, &other.path)?;
            let had = PayloadRef::of(&codec::encode(theirs));
            let step = run.ctx.plan().steps.iter().find(|s| s.op == MicroOp::GateGrant);
            let heard = run.frames().any(|f| {
                let part = |p: &dvm_core::frame::PartRef| {
                    Some(p.step) == step.map(|s| s.index) && p.payload == had
                };
                f.header.body.from == *node
                    && f.header.body.level == GRANT
                    && f.broadcast.parts.iter().any(part)
            });
            ensure(heard, &run.path, "opened on another grant than this signer's")?;
        }
    }
    Ok(all)
}

fn check_same_grant(
    own: &PublicationReceipt,
    theirs: &PublicationReceipt,
    path: &str,
) -> Result<(), Refused> {
    let same = own.execution_id == theirs.execution_id
        && own.facts == theirs.facts
        && own.scope == theirs.scope
        && own.head == theirs.head;
    ensure(same, path, "the grants are of different results or at different heads")
}

#[cfg(test)]
mod tests {
    use dvm_core::governance::HeadRef;
    use dvm_core::intent::Scope;
    use dvm_core::receipt::ResultFacts;
    use dvm_core::run::Boot;
    use dvm_core::{Bytes, Link};

    use super::*;

    fn granted() -> PublicationReceipt {
        let one = B32([1; 32]);
        let facts = ResultFacts {
            execution_id: one,
            digest: one,
            public_nonce: Bytes(vec![1]),
            material: None,
        };
        PublicationReceipt {
            cluster: Link::of_raw(b"cluster"),
            node: "n1".parse().unwrap(),
            boot: Boot { generation: 1, id: one },
            vault_seq: 7,
            execution_id: one,
            intent: Link::of_raw(b"intent"),
            permit: Link::of_raw(b"permit of n1"),
            judgement: None,
            result_ref: facts.result_ref(),
            facts,
            scope: Scope::Public,
            verdict: Verdict::Allow,
            codes: Vec::new(),
            destroyed: false,
            approvals: Vec::new(),
            head: HeadRef { size: 1, root: one },
            time_ms: 1,
        }
    }

    #[test]
    fn grants_agree_if_they_are_of_one_result_at_one_head_whoever_gives_them_and_when() {
        let own = granted();
        let agrees = |change: fn(&mut PublicationReceipt)| {
            let mut theirs = granted();
            change(&mut theirs);
            check_same_grant(&own, &theirs, "here").is_ok()
        };
        assert!(agrees(|_| {}));
        assert!(agrees(|p| p.node = "n2".parse().unwrap()));
        assert!(agrees(|p| (p.time_ms, p.permit) = (2, Link::of_raw(b"permit of n2"))));
        assert!(!agrees(|p| p.execution_id = B32([2; 32])));
        assert!(!agrees(|p| p.facts.digest = B32([2; 32])));
        assert!(!agrees(|p| p.facts.public_nonce = Bytes(vec![2])));
        assert!(!agrees(|p| p.head.size = 2));
    }
}
