//! What people and policies said: approvals, denials, and every peer's verdicts, judged again.
//!
//! An allowing verdict is judged again against the floor at the head that it names, with exactly
//! the approvals that it lists. What a policy beyond the floor denied cannot be judged again from a
//! bundle: its input is private.

use dvm_core::admission::{AdmissionReceipt, Approval, Purpose, Verdict};
use dvm_core::reason::ReasonCode;
use dvm_core::sign::Signed;
use dvm_core::{B32, Link, NodeId};
use dvm_governance::{
    ApprovalContext, AuthorityState, authority_behind, check_floor_admit, check_floor_release,
};

use crate::peer::PeerEvidence;
use crate::verify::{Case, Refused, ensure};

/// Approvals and denials are about this act, and signed by people of the approver sets.
pub(crate) fn check_people(case: &Case<'_>, part: &PeerEvidence) -> Result<(), Refused> {
    let cluster = case.history.cluster();
    let (intent, act) = (&case.parts.intent, case.act.act());
    for (i, approval) in part.approvals.iter().enumerate() {
        let path = format!("peers/{}/approvals/{i}", part.node);
        let body = &approval.body;
        let about = body.cluster == cluster
            && body.intent == case.intent
            && body.display_hash == intent.display_hash
            && body.key_id == *act.key_id()
            && body.key_epoch == act.key_epoch();
        ensure(about, &path, "the approval is about something else")?;
        let signed = case.history.person_signed(&body.approver, approval);
        ensure(signed, &path, "the approval is not signed by its approver")?;
    }
    for (i, denial) in part.denials.iter().enumerate() {
        let path = format!("peers/{}/denials/{i}", part.node);
        let body = &denial.body;
        let about = body.cluster == cluster
            && body.intent == case.intent
            && body.display_hash == intent.display_hash
            && body.key_id == *act.key_id()
            && body.key_epoch == act.key_epoch();
        ensure(about, &path, "the denial is about something else")?;
        let signed = case.history.person_signed(&body.approver, denial);
        ensure(signed, &path, "the denial is not signed by its approver")?;
    }
    Ok(())
}

/// Every verdict of a peer.
pub(crate) fn check_admissions(case: &Case<'_>, part: &PeerEvidence) -> Result<(), Refused> {
    for (i, receipt) in part.admissions.iter().enumerate() {
        let path = format!("peers/{}/admissions/{i}", part.node);
        check_admission(case, part, receipt, &path)?;
    }
    Ok(())
}

fn check_admission(
    case: &Case<'_>,
    part: &PeerEvidence,
    receipt: &Signed<AdmissionReceipt>,
    path: &str,
) -> Result<(), Refused> {
    let body = &receipt.body;
    let state = case.history.at(&body.head, path)?;
    let key = state.passport(&part.node).map(|p| p.policy_key);
    let signed = key.is_some_and(|key| receipt.verify(key).is_ok());
    ensure(signed, path, "the verdict is not signed by its node's policy key")?;
    let act = case.act.act();
    let about = body.cluster == case.history.cluster()
        && body.node == part.node
        && body.intent == case.intent
        && body.key_id == *act.key_id()
        && body.key_epoch == act.key_epoch();
    ensure(about, path, "the verdict is about something else")?;
    ensure(
        body.policy_root == state.policy_root(),
        path,
        "not the policy root in force at its head",
    )?;
    ensure(body.rules.is_sorted(), path, "the rules are not sorted")?;
    let reasoned = (body.verdict == Verdict::Allow) == body.codes.is_empty();
    let sorted = body.codes.is_sorted_by(|a, b| a < b);
    ensure(reasoned && sorted, path, "a verdict has sorted reasons unless it allows")?;
    let approvals = linked(part, &body.approvals, path)?;
    if body.verdict != Verdict::Allow {
        return Ok(());
    }
    if let Purpose::Release { execution_id, result_ref } = &body.purpose {
        let held = holds_result(part, execution_id, result_ref);
        ensure(held, path, "a release of a result that this peer's runs do not hold")?;
    }
    let counted =
        floor(case, state, (&body.purpose, body.time_ms), &approvals).map_err(|code| {
            Refused::code(path, code, "the floor at this head would not have allowed it")
        })?;
    ensure(counted == body.approvals, path, "the approvals listed are not those that counted")
}

fn holds_result(part: &PeerEvidence, execution_id: &B32, result_ref: &B32) -> bool {
    part.runs.iter().any(|run| {
        let receipt = run.permit_receipt.as_ref().map(|r| &r.body);
        receipt
            .is_some_and(|r| r.execution_id == *execution_id && r.result_ref == Some(*result_ref))
    })
}

/// The approvals that a receipt links, all of them in the peer's part.
pub(crate) fn linked(
    part: &PeerEvidence,
    links: &[Link],
    path: &str,
) -> Result<Vec<Signed<Approval>>, Refused> {
    ensure(links.is_sorted_by(|a, b| a < b), path, "the approvals' links are not sorted")?;
    let find = |link: &Link| part.approvals.iter().find(|a| a.link() == *link).cloned();
    let found: Option<Vec<_>> = links.iter().map(find).collect();
    found.ok_or_else(|| Refused::at(path, "an approval that it links is not in the part"))
}

/// The floor at a state and time: which of these approvals it rests on.
fn floor(
    case: &Case<'_>,
    state: &AuthorityState,
    (purpose, time_ms): (&Purpose, u64),
    approvals: &[Signed<Approval>],
) -> Result<Vec<Link>, ReasonCode> {
    let intent = &case.parts.intent;
    let floor = authority_behind(state, intent, purpose, time_ms)?.floor();
    let context = ApprovalContext::of(state, intent, purpose, time_ms);
    match purpose {
        Purpose::Admit => {
            check_floor_admit(floor, case.act.class(), state.sets(), approvals, &context)
        }
        Purpose::Release { .. } => check_floor_release(floor, state.sets(), approvals, &context),
    }
}

/// The allowing verdict of this purpose that a statement links.
pub(crate) fn allowing<'a>(
    part: &'a PeerEvidence,
    link: &Link,
    is_for: impl Fn(&Purpose) -> bool,
) -> Option<&'a AdmissionReceipt> {
    let found = part.admissions.iter().find(|a| a.link() == *link).map(|a| &a.body);
    found.filter(|a| a.verdict == Verdict::Allow && is_for(&a.purpose))
}

/// Where a peer's part is, in messages.
pub(crate) fn path_of(node: &NodeId, rest: &str) -> String {
    format!("peers/{node}/{rest}")
}
