//! The gate: what kernels say of held results, before and after.

use dvm_core::admission::{AdmissionReceipt, Verdict};
use dvm_core::receipt::{PublicationReceipt, ResultFacts};
use dvm_core::{B32, Link, ReasonCode, Signed};
use dvm_evidence::BundleInput;

use super::{assert_refused, by_policy, each, world};
use crate::rig::id;

const AT: &str = "peers/n1/runs/1/publications/0";

fn statements(input: &mut BundleInput) -> &mut Vec<Signed<PublicationReceipt>> {
    &mut input.parts[0].runs[1].publications
}

fn grant() -> PublicationReceipt {
    world().input.parts[0].runs[1].publications[0].body.clone()
}

/// Changed grants, signed by the kernel of `n1`.
fn grants(changes: &[fn(&mut PublicationReceipt)], what: &str) {
    for other in each(&grant(), changes) {
        let lied = world().by_kernel("n1", other);
        let refused = world().lie(|i| statements(i)[0] = lied);
        assert_refused(&refused, AT, what);
    }
}

#[test]
fn a_statement_by_another_key_or_about_something_else_is_refused() {
    let forged = by_policy("n1", grant());
    let refused = world().lie(|i| statements(i)[0] = forged);
    assert_refused(&refused, AT, "the statement is not signed by its node's kernel");
    grants(
        &[
            |p| p.cluster = Link::of_raw(b"x"),
            |p| p.node = id("n2"),
            |p| p.intent = Link::of_raw(b"x"),
        ],
        "the statement is about something else",
    );
}

#[test]
fn a_statement_at_no_certified_head_is_refused_before_its_run() {
    let lied = world().by_kernel("n1", {
        let mut body = grant();
        body.head.root = B32([1; 32]);
        body
    });
    let refused = world().lie(|i| statements(i)[0] = lied);
    let what = "the head it names is no head of the certified log";
    assert_refused(&refused, "peers/n1/runs/1", what);
}

#[test]
fn a_statement_follows_the_permit_receipt_of_an_act_with_the_held_facts() {
    grants(
        &[
            |p| p.permit = Link::of_raw(b"x"),
            |p| p.facts.execution_id = B32([1; 32]),
            |p| p.facts.execution_id = p.execution_id,
        ],
        "the statement does not follow a PermitReceipt of the act",
    );
    grants(
        &[
            |p| p.result_ref = B32([1; 32]),
            |p| p.facts.digest = B32([1; 32]),
            |p| p.facts.public_nonce = vec![1; 32].into(),
            |p| {
                let digest = B32([1; 32]);
                p.facts = ResultFacts { digest, ..p.facts.clone() };
                p.result_ref = p.facts.result_ref();
            },
        ],
        "the facts are not those of the result that was held",
    );
    grants(
        &[|p| p.execution_id = B32([1; 32])],
        "the statement is of a publication that is not in the part",
    );
}

#[test]
fn a_kernel_says_yes_or_no_with_reasons_for_no_alone() {
    grants(&[|p| p.verdict = Verdict::Awaiting], "a kernel allows or denies");
    grants(
        &[
            |p| p.verdict = Verdict::Deny,
            |p| {
                p.verdict = Verdict::Deny;
                p.codes = vec![ReasonCode::PolicyDenied, ReasonCode::PolicyDenied];
            },
            |p| {
                p.verdict = Verdict::Deny;
                p.codes = vec![ReasonCode::PolicyDenied, ReasonCode::DeniedByApprover];
                p.codes.sort_by(|a, b| b.cmp(a));
            },
        ],
        "a denial has sorted reasons",
    );
    grants(
        &[|p| p.codes = vec![ReasonCode::PolicyDenied], |p| p.destroyed = true],
        "a grant has no reasons and destroys nothing",
    );
    grants(
        &[
            |p| {
                p.verdict = Verdict::Deny;
                p.codes = vec![ReasonCode::DeniedByApprover];
            },
            |p| {
                p.verdict = Verdict::Deny;
                p.codes = vec![ReasonCode::PolicyDenied, ReasonCode::DeniedByApprover];
                p.codes.sort();
            },
        ],
        "the denial that it rests on is missing",
    );
}

#[test]
fn a_grant_rests_on_a_release_judgement_of_its_node_at_its_head() {
    let what = "the grant does not rest on a release judgement of its node";
    grants(
        &[
            |p| p.judgement = None,
            |p| p.judgement = Some(Link::of_artifact(b"x")),
            |p| p.judgement = Some(world().input.parts[0].admissions[0].link()),
            |p| p.judgement = Some(world().input.parts[1].admissions[1].link()),
        ],
        what,
    );
    // The judgement denied.
    let denied = AdmissionReceipt {
        verdict: Verdict::Deny,
        codes: vec![ReasonCode::PolicyDenied],
        ..world().input.parts[0].admissions[1].body.clone()
    };
    let denied = by_policy("n1", denied);
    let body = PublicationReceipt { judgement: Some(denied.link()), ..grant() };
    let lied = world().by_kernel("n1", body);
    let refused = world().lie(|i| {
        i.parts[0].admissions[1] = denied;
        statements(i)[0] = lied;
    });
    assert_refused(&refused, AT, what);
}

#[test]
fn a_grant_below_the_release_floor_is_refused() {
    let what = "the floor would not have released it";
    grants(
        &[
            |p| p.approvals.truncate(1),
            |p| p.approvals.clear(),
            |p| p.time_ms += 2 * 3_600_000,
            |p| p.approvals = vec![world().input.parts[0].approvals[0].link()],
        ],
        what,
    );
    grants(
        &[|p| p.approvals[0] = Link::of_artifact(b"x")],
        "an approval that it links is not in the part",
    );
}

#[test]
fn a_grant_lists_the_approvals_that_count_and_no_others() {
    let mut approvals: Vec<Link> =
        world().input.parts[0].approvals.iter().map(Signed::link).collect();
    approvals.sort();
    let lied = world().by_kernel("n1", PublicationReceipt { approvals, ..grant() });
    let refused = world().lie(|i| statements(i)[0] = lied);
    assert_refused(&refused, AT, "the approvals listed are not those that counted");
    grants(&[|p| p.approvals.reverse()], "the approvals' links are not sorted");
}

#[test]
fn what_the_first_frame_carried_is_the_kernels_own_grant() {
    let lied =
        world().by_kernel("n1", PublicationReceipt { time_ms: grant().time_ms + 1, ..grant() });
    let refused = world().lie(|i| statements(i)[0] = lied);
    let what = "the first frame does not carry the kernel's own grant";
    assert_refused(&refused, "peers/n1/runs/1", what);
    let refused = world().lie(|i| statements(i).clear());
    assert_refused(&refused, "peers/n1/runs/1", what);
}

/// A kernel's denial that destroys the result.
fn destruction() -> Signed<PublicationReceipt> {
    let body = PublicationReceipt {
        verdict: Verdict::Deny,
        codes: vec![ReasonCode::Expired],
        destroyed: true,
        judgement: None,
        approvals: vec![],
        ..grant()
    };
    world().by_kernel("n1", body)
}

#[test]
fn nothing_is_said_of_a_result_after_it_was_destroyed_and_none_that_was_opened_is() {
    let refused = world().lie(|i| statements(i).insert(0, destruction()));
    let what = "a statement about a result that was destroyed";
    assert_refused(&refused, "peers/n1/runs/1/publications/1", what);
    let refused = world().lie(|i| statements(i).push(destruction()));
    assert_refused(&refused, "peers/n1/runs/1", "an opened result was destroyed");
}

#[test]
fn an_opening_before_another_signer_granted_is_refused() {
    // `n2` shows a publication in which it never spoke; `n1` opened in it.
    let refused = world().lie(|i| {
        let part = &mut i.parts[1];
        let run = &mut part.runs[1];
        let start: Vec<_> = run.trace.events.iter().take(1).cloned().collect();
        let header = &run.proposal.header;
        let ctx = &world().contexts[1];
        let keys = header.participants.iter().map(|n| (n.clone(), ctx.key(n).unwrap())).collect();
        let plan = ctx.plan().clone();
        let theirs = dvm_vm::Ctx::new(id("n2"), header.clone(), plan, keys).unwrap();
        let root = dvm_vm::replay(&theirs, &start).unwrap();
        run.trace.events = start;
        run.trace_root = by_policy("n2", root);
        (run.permits, run.publications, run.published) = (vec![], vec![], None);
        run.broadcasts.clear();
        let kept = part.admissions.len() + 1;
        part.chain.truncate(kept);
    });
    assert_refused(&refused, "peers/n2/runs/1", "opened before this signer granted");
}
