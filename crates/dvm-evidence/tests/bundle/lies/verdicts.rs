//! Approvals, denials and verdicts.

use dvm_core::admission::{AdmissionReceipt, Approval, Denial, Purpose, Verdict};
use dvm_core::{B32, Link, ReasonCode, Signed};

use super::{assert_refused, by_policy, each, world};
use crate::rig::{id, key};

#[test]
fn an_approval_about_something_else_is_refused() {
    let body = &world().input.parts[0].approvals[0].body;
    let others: [fn(&mut Approval); 5] = [
        |a| a.cluster = Link::of_raw(b"x"),
        |a| a.intent = Link::of_raw(b"x"),
        |a| a.display_hash = B32([1; 32]),
        |a| a.key_id = id("other"),
        |a| a.key_epoch += 1,
    ];
    for other in each(body, &others) {
        let signer = key(other.approver.as_str());
        let refused = world().lie(|i| i.parts[0].approvals[0] = Signed::new(other, &signer));
        assert_refused(&refused, "peers/n1/approvals/0", "the approval is about something else");
    }
}

#[test]
fn an_approval_by_anybody_but_its_approver_is_refused() {
    let body = world().input.parts[0].approvals[0].body.clone();
    let what = "the approval is not signed by its approver";
    for signer in ["a9", "g1", "n1/policy", if body.approver == id("a1") { "a2" } else { "a1" }] {
        let forged = Signed::new(body.clone(), &key(signer));
        let refused = world().lie(|i| i.parts[0].approvals[0] = forged);
        assert_refused(&refused, "peers/n1/approvals/0", what);
    }
    // A governor is no approver, whatever it signs in its own name.
    let own = Approval { approver: id("g1"), ..body };
    let refused = world().lie(|i| i.parts[0].approvals[0] = Signed::new(own, &key("g1")));
    assert_refused(&refused, "peers/n1/approvals/0", what);
}

#[test]
fn a_denial_about_something_else_or_by_somebody_else_is_refused() {
    let a = &world().input.parts[0].approvals[0].body;
    let (cluster, intent, display_hash) = (a.cluster, a.intent, a.display_hash);
    let (key_id, key_epoch, approver) = (a.key_id.clone(), a.key_epoch, id("a3"));
    let body = Denial { cluster, approver, intent, display_hash, key_id, key_epoch };
    let others: [fn(&mut Denial); 5] = [
        |d| d.cluster = Link::of_raw(b"x"),
        |d| d.intent = Link::of_raw(b"x"),
        |d| d.display_hash = B32([1; 32]),
        |d| d.key_id = id("other"),
        |d| d.key_epoch += 1,
    ];
    for other in each(&body, &others) {
        let refused = world().lie(|i| i.parts[0].denials.push(Signed::new(other, &key("a3"))));
        assert_refused(&refused, "peers/n1/denials/0", "the denial is about something else");
    }
    let refused = world().lie(|i| i.parts[0].denials.push(Signed::new(body.clone(), &key("a2"))));
    assert_refused(&refused, "peers/n1/denials/0", "the denial is not signed by its approver");
    let mut input = world().input.clone();
    input.parts[0].denials.push(Signed::new(body, &key("a3")));
    assert!(dvm_evidence::verify(&crate::rig::write(input), world().cluster).is_ok());
}

/// Refusals of changed verdicts of `n3`, which took part in no run.
fn verdict(changes: &[fn(&mut AdmissionReceipt)], what: &str) {
    let body = &world().input.parts[2].admissions[0].body;
    for other in each(body, changes) {
        let refused = world().lie(|i| i.parts[2].admissions[0] = by_policy("n3", other));
        assert_refused(&refused, "peers/n3/admissions/0", what);
    }
}

#[test]
fn a_verdict_about_something_else_or_at_no_certified_head_is_refused() {
    verdict(
        &[
            |a| a.cluster = Link::of_raw(b"x"),
            |a| a.node = id("n1"),
            |a| a.intent = Link::of_raw(b"x"),
            |a| a.key_id = id("other"),
            |a| a.key_epoch += 1,
        ],
        "the verdict is about something else",
    );
    verdict(
        &[|a| a.head.size += 1, |a| a.head.root = B32([1; 32]), |a| a.head.size = 0],
        "the head it names is no head of the certified log",
    );
    verdict(
        &[|a| a.policy_root = Link::of_artifact(b"other")],
        "not the policy root in force at its head",
    );
}

#[test]
fn a_verdict_by_another_key_is_refused() {
    let body = world().input.parts[2].admissions[0].body.clone();
    let kernel = world().by_kernel("n3", body.clone());
    for forged in [by_policy("n1", body.clone()), Signed::new(body, &key("a1")), kernel] {
        let refused = world().lie(|i| i.parts[2].admissions[0] = forged);
        let what = "the verdict is not signed by its node's policy key";
        assert_refused(&refused, "peers/n3/admissions/0", what);
    }
}

#[test]
fn a_verdict_whose_reasons_do_not_fit_it_is_refused() {
    verdict(&[|a| a.rules = vec!["b".into(), "a".into()]], "the rules are not sorted");
    verdict(
        &[
            |a| a.codes = vec![ReasonCode::PolicyDenied],
            |a| a.verdict = Verdict::Deny,
            |a| a.verdict = Verdict::Awaiting,
            |a| {
                a.verdict = Verdict::Deny;
                a.codes = vec![ReasonCode::PolicyDenied, ReasonCode::PolicyDenied];
            },
            |a| {
                a.verdict = Verdict::Deny;
                a.codes = vec![ReasonCode::PolicyDenied, ReasonCode::ApprovalsMissing];
                a.codes.sort_by(|x, y| y.cmp(x));
            },
        ],
        "a verdict has sorted reasons unless it allows",
    );
}

#[test]
fn a_verdict_lists_exactly_the_approvals_that_count_and_shows_them() {
    let absent: fn(&mut AdmissionReceipt) = |a| a.approvals = vec![Link::of_artifact(b"x")];
    verdict(&[absent], "an approval that it links is not in the part");
    let twice: fn(&mut AdmissionReceipt) = |a| a.approvals = vec![a.approvals[0], a.approvals[0]];
    verdict(&[twice], "the approvals' links are not sorted");
    // Genuine approvals, of which the release's do not count for an admission.
    let mut all: Vec<Link> = world().input.parts[2].approvals.iter().map(Signed::link).collect();
    all.sort();
    assert!(all.len() > 1);
    let body = world().input.parts[2].admissions[0].body.clone();
    let more = AdmissionReceipt { approvals: all, ..body };
    let refused = world().lie(|i| i.parts[2].admissions[0] = by_policy("n3", more));
    let what = "the approvals listed are not those that counted";
    assert_refused(&refused, "peers/n3/admissions/0", what);
}

#[test]
fn a_verdict_after_its_approvals_expired_or_its_intent_did_is_refused() {
    let late: fn(&mut AdmissionReceipt) = |a| a.time_ms += 2 * 3_600_000;
    verdict(&[late], "the floor at this head would not have allowed it");
}

#[test]
fn a_release_of_what_this_peer_does_not_hold_is_refused() {
    let body = &world().input.parts[0].admissions[1].body;
    let Purpose::Release { execution_id, result_ref } = body.purpose else { panic!("a release") };
    let other = B32([9; 32]);
    let purposes = [
        Purpose::Release { execution_id: other, result_ref },
        Purpose::Release { execution_id, result_ref: other },
    ];
    for purpose in purposes {
        let lied = by_policy("n1", AdmissionReceipt { purpose, ..body.clone() });
        let refused = world().lie(|i| i.parts[0].admissions[1] = lied);
        let what = "a release of a result that this peer's runs do not hold";
        assert_refused(&refused, "peers/n1/admissions/1", what);
    }
}
