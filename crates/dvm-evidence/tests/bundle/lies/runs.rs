//! Runs: openings, headers, traces, permits and their receipts.

use dvm_core::admission::AdmissionReceipt;
use dvm_core::codec::link_of;
use dvm_core::receipt::{PermitEvent, PermitReceipt};
use dvm_core::run::{Open, RunHeader, RunKind};
use dvm_core::trace::{TraceEvent, TraceRoot};
use dvm_core::{B32, Link, ReasonCode, Signed};
use dvm_evidence::BundleInput;
use dvm_evidence::peer::RunEvidence;

use super::{assert_refused, by_policy, each, world};
use crate::rig::{NODES, id};

/// What is changed of a statement.
type Change<T> = fn(&mut T);

fn act(input: &mut BundleInput) -> &mut RunEvidence {
    &mut input.parts[0].runs[0]
}

fn publication(input: &mut BundleInput) -> &mut RunEvidence {
    &mut input.parts[0].runs[1]
}

#[test]
fn a_run_of_something_else_is_refused() {
    let others: [fn(&mut RunHeader); 3] = [
        |h| h.cluster = Link::of_raw(b"x"),
        |h| h.intent = Link::of_raw(b"x"),
        |h| h.key_epoch += 1,
    ];
    for other in others {
        let refused = world().lie(|i| other(&mut act(i).proposal.header));
        assert_refused(&refused, "peers/n1/runs/0/header", "the run is of something else");
    }
}

#[test]
fn a_header_of_another_plan_or_run_is_refused() {
    let refused = world().lie(|i| act(i).proposal.header.plan_id = B32([1; 32]));
    let what = "the plan is not the one that the act compiles to";
    assert_refused(&refused, "peers/n1/runs/0/header", what);
    let refused = world().lie(|i| act(i).proposal.header.hard_deadline_ms += 1);
    let what = "the execution id does not follow from the header";
    assert_refused(&refused, "peers/n1/runs/0/trace", what);
}

#[test]
fn openings_are_those_of_the_header_one_per_participant_in_order() {
    let refused = world().lie(|i| drop(act(i).proposal.opens.pop()));
    assert_refused(&refused, "peers/n1/runs/0/opens", "the header names other openings");
    let refused = world().lie(|i| act(i).proposal.opens.clear());
    assert_refused(&refused, "peers/n1/runs/0", "no opening says at which head it ran");
    let refused = world().lie(|i| act(i).proposal.header.participants.reverse());
    let what = "not one opening per participant, in order";
    assert_refused(&refused, "peers/n1/runs/0/opens", what);
}

/// Puts openings into the act run of `n1`, and their links and nodes into its header.
fn with_opens(input: &mut BundleInput, opens: Vec<Signed<Open>>) {
    let header = &mut act(input).proposal.header;
    header.participants = opens.iter().map(|open| open.body.node.clone()).collect();
    let links = opens.iter().map(Signed::link).collect();
    header.kind = RunKind::Act { attempt: 1, opens: links, material: None };
    act(input).proposal.opens = opens;
}

fn opens() -> Vec<Signed<Open>> {
    world().input.parts[0].runs[0].proposal.opens.clone()
}

#[test]
fn other_participants_than_t_sorted_holders_are_refused() {
    let what = "the participants do not fit the key";
    let third = Open { node: id("n3"), ..opens()[0].body.clone() };
    let three = [opens(), vec![world().by_kernel("n3", third)]].concat();
    let stranger = Open { node: id("n9"), ..opens()[0].body.clone() };
    let strange = vec![opens()[0].clone(), by_policy("n9", stranger)];
    let turned = vec![opens()[1].clone(), opens()[0].clone()];
    let twice = vec![opens()[0].clone(), opens()[0].clone()];
    let one = vec![opens()[0].clone()];
    for opens in [three, strange, turned, twice, one] {
        let refused = world().lie(|i| with_opens(i, opens));
        assert_refused(&refused, "peers/n1/runs/0/header", what);
    }
}

#[test]
fn an_opening_by_another_key_of_another_intent_or_head_is_refused() {
    let forged = Signed::new(opens()[1].body.clone(), &crate::rig::key("n2/policy"));
    let refused = world().lie(|i| with_opens(i, vec![opens()[0].clone(), forged]));
    let what = "the opening is not signed by its node's kernel";
    assert_refused(&refused, "peers/n1/runs/0/opens/1", what);
    let about = "the opening is of another intent";
    let heads = "the openings are at different heads";
    let others: [(Change<Open>, &str); 3] = [
        (|open| open.cluster = Link::of_raw(b"x"), about),
        (|open| open.intent = Link::of_raw(b"x"), about),
        (|open| open.head.size -= 1, heads),
    ];
    for (other, what) in others {
        let mut body = opens()[1].body.clone();
        other(&mut body);
        let lied = vec![opens()[0].clone(), world().by_kernel("n2", body)];
        let refused = world().lie(|i| with_opens(i, lied));
        assert_refused(&refused, "peers/n1/runs/0/opens/1", what);
    }
    let mut body = opens()[0].body.clone();
    body.head.root = B32([1; 32]);
    let lied = vec![world().by_kernel("n1", body), opens()[1].clone()];
    let refused = world().lie(|i| with_opens(i, lied));
    let what = "the head it names is no head of the certified log";
    assert_refused(&refused, "peers/n1/runs/0", what);
}

#[test]
fn an_opening_that_rests_on_no_admission_of_its_node_is_refused() {
    let what = "the opening does not rest on an admission of its node";
    let refused = world().lie(|i| {
        let part = &mut i.parts[1];
        (part.runs, part.admissions, part.chain) = (vec![], vec![], vec![]);
    });
    assert_refused(&refused, "peers/n1/runs/0/opens/1", what);
    // It admitted, but at another head.
    let refused = world().lie(|i| {
        let part = &mut i.parts[1];
        let before = world().heads[world().heads.len() - 2];
        let body = AdmissionReceipt {
            head: before,
            verdict: dvm_core::admission::Verdict::Deny,
            codes: vec![ReasonCode::PolicyDenied],
            ..part.admissions[0].body.clone()
        };
        (part.runs, part.admissions, part.chain) = (vec![], vec![by_policy("n2", body)], vec![]);
        let entry = world().input.parts[1].chain[0].body.clone();
        let receipt = part.admissions[0].link();
        let entry = dvm_core::receipt::ChainEntry { receipt, ..entry };
        part.chain = vec![by_policy("n2", entry)];
    });
    assert_refused(&refused, "peers/n1/runs/0/opens/1", what);
}

#[test]
fn a_trace_root_by_another_key_or_over_other_events_is_refused() {
    let body = world().input.parts[0].runs[0].trace_root.body.clone();
    let forged = world().by_kernel("n1", body.clone());
    let refused = world().lie(|i| act(i).trace_root = forged);
    let what = "the root is not signed by its peer's policy key";
    assert_refused(&refused, "peers/n1/runs/0/trace_root", what);
    let others: [fn(&mut TraceRoot); 4] = [
        |root| root.facts += 1,
        |root| root.terminal = None,
        |root| root.view_root = B32([1; 32]),
        |root| root.results_root = B32([1; 32]),
    ];
    for other in each(&body, &others) {
        let refused = world().lie(|i| act(i).trace_root = by_policy("n1", other));
        let what = "the trace replays to another root";
        assert_refused(&refused, "peers/n1/runs/0/trace_root", what);
    }
}

/// The first frame of `n2` in the act run of `n1`, its header changed and signed by the kernel of `n2`.
fn other_frame(change: impl FnOnce(&mut dvm_core::frame::FrameHeader)) -> dvm_evidence::Refused {
    world().lie(|i| {
        world().retell(act(i), 0, |events| {
            let from_n2 = |event: &&mut TraceEvent| {
                matches!(event, TraceEvent::Frame(fact) if fact.header.body.from == id("n2"))
            };
            let Some(TraceEvent::Frame(fact)) = events.iter_mut().find(from_n2) else { panic!() };
            let mut body = fact.header.body.clone();
            change(&mut body);
            fact.header = world().by_kernel("n2", body);
        });
    })
}

#[test]
fn a_frame_of_another_boot_than_the_opening_or_older_is_fenced() {
    let what = "a frame is of another boot than the opening, or older";
    let changes: [fn(&mut dvm_core::frame::FrameHeader); 3] = [
        |header| header.boot.generation += 1,
        |header| header.boot.id = B32([1; 32]),
        |header| header.vault_seq = 0,
    ];
    for change in changes {
        let refused = other_frame(change);
        assert_refused(&refused, "peers/n1/runs/0/trace", what);
        assert_eq!(refused.code, ReasonCode::SplitBrainFenced);
    }
}

#[test]
fn a_second_frame_for_one_slot_with_nobody_blamed_is_refused() {
    let refused = other_frame(|header| header.vault_seq += 1_000);
    let what = "two headers for one slot, and nobody blamed their signer";
    assert_eq!((refused.what, refused.code), (what, ReasonCode::Equivocation));
    assert!(refused.link.ends_with("/runs/0/trace"), "{refused}");
}

#[test]
fn permits_are_the_plans_steps_in_order_with_one_handle_and_none_twice() {
    let others: [(Change<Vec<PermitEvent>>, &str, &str); 6] = [
        (|p| p.swap(0, 1), "permits/0", "the permit is of another step than the plan's"),
        (|p| p[1].context.step += 1, "permits/1", "the permit is of another step than the plan's"),
        (|p| p[1].permit_handle = B32([1; 32]), "permits/1", "the permit has another handle"),
        (|p| p[1].step_permit = p[0].step_permit, "permits/1", "the permit was used before"),
        (|p| p.push(p[0].clone()), "permits", "more permits than steps"),
        (|p| p.truncate(p.len() - 1), "permits", "a call's result has no permit of its context"),
    ];
    for (other, link, what) in others {
        let refused = world().lie(|i| other(&mut act(i).permits));
        assert_refused(&refused, &format!("peers/n1/runs/0/{link}"), what);
    }
    let refused = world().lie(|i| act(i).permits[0].context.args = B32([1; 32]));
    let what = "a call's result has no permit of its context";
    assert_refused(&refused, "peers/n1/runs/0/permits", what);
}

fn receipt() -> PermitReceipt {
    world().input.parts[0].runs[0].permit_receipt.as_ref().unwrap().body.clone()
}

/// Changed permit receipts, signed by the kernel of `n1`.
fn receipts(changes: &[fn(&mut PermitReceipt)], what: &str) {
    for other in each(&receipt(), changes) {
        let lied = Some(world().by_kernel("n1", other));
        let refused = world().lie(|i| {
            // The release judgement is held against the receipt first.
            i.parts[0].admissions.truncate(1);
            act(i).permit_receipt = lied;
        });
        assert_refused(&refused, "peers/n1/runs/0/permit_receipt", what);
    }
}

#[test]
fn a_permit_receipt_by_another_key_or_of_another_run_is_refused() {
    let forged = Some(by_policy("n1", receipt()));
    let refused = world().lie(|i| act(i).permit_receipt = forged);
    let what = "the receipt is not signed by its node's kernel";
    assert_refused(&refused, "peers/n1/runs/0/permit_receipt", what);
    receipts(
        &[
            |r| r.cluster = Link::of_raw(b"x"),
            |r| r.node = id("n2"),
            |r| r.execution_id = B32([1; 32]),
            |r| r.header = Link::of_raw(b"x"),
            |r| r.intent = Link::of_raw(b"x"),
        ],
        "the receipt is of another run",
    );
    receipts(
        &[|r| r.boot.generation += 1, |r| r.boot.id = B32([1; 32]), |r| r.vault_seq = 0],
        "the receipt is of another boot than the opening, or older",
    );
}

#[test]
fn a_permit_receipt_rests_on_the_admission_that_was_opened() {
    receipts(
        &[|r| r.admission = Link::of_artifact(b"x"), |r| r.admission = other_admission()],
        "the receipt does not rest on the admission that was opened",
    );
}

/// The release judgement of `n1`: an allowing verdict, but for something else.
fn other_admission() -> Link {
    world().input.parts[0].admissions[1].link()
}

#[test]
fn a_permit_receipt_is_over_exactly_the_permits_of_its_run() {
    receipts(
        &[|r| r.permits_root = B32([1; 32]), |r| r.permits += 1],
        "its root is not over the run's permits",
    );
    receipts(
        &[|r| r.permit_handle = B32([1; 32])],
        "it has another permit handle than the permits",
    );
}

#[test]
fn a_permit_receipt_holds_a_result_or_says_why_not_and_never_both() {
    receipts(
        &[|r| r.result_ref = None, |r| r.aborted = Some(ReasonCode::RemoteTimeout)],
        "it neither holds nor ended",
    );
}

#[test]
fn a_held_result_has_the_view_and_name_that_the_last_frame_said() {
    receipts(&[|r| r.view = B32([1; 32])], "the kernel had another view than its own frame");
    receipts(
        &[|r| r.result_ref = Some(B32([1; 32]))],
        "the result's name is not the one that the last frame said",
    );
}

#[test]
fn a_publication_has_its_act_no_openings_and_the_acts_participants_and_result() {
    let refused = world().lie(|i| publication(i).proposal.opens = opens());
    assert_refused(&refused, "peers/n1/runs/1/opens", "a publication has no openings");
    let refused =
        world().lie(|i| publication(i).proposal.header.participants = NODES.map(id).to_vec());
    assert_refused(&refused, "peers/n1/runs/1", "other participants than the act's");
    let refused = world().lie(|i| {
        let RunKind::Publish { of, .. } = publication(i).proposal.header.kind else { panic!() };
        let result_ref = B32([1; 32]);
        publication(i).proposal.header.kind = RunKind::Publish { of, result_ref };
    });
    let what = "it publishes another result than the act run holds";
    assert_refused(&refused, "peers/n1/runs/1", what);
    let refused = world().lie(|i| {
        i.parts[0].admissions.truncate(1);
        i.parts[0].runs.remove(0);
    });
    let what = "the act run that it publishes is not in the part";
    assert_refused(&refused, "peers/n1/runs/0", what);
}

#[test]
fn a_permit_receipt_in_a_publication_is_refused() {
    let header = &world().input.parts[0].runs[1].proposal.header;
    let body =
        PermitReceipt { execution_id: header.execution_id(), header: link_of(header), ..receipt() };
    let lied = Some(world().by_kernel("n1", body));
    let refused = world().lie(|i| publication(i).permit_receipt = lied);
    let what = "a receipt of a run without an own opening";
    assert_refused(&refused, "peers/n1/runs/1/permit_receipt", what);
}

#[test]
fn a_run_that_comes_twice_and_a_peer_that_was_never_a_node_are_refused() {
    let refused = world().lie(|i| {
        let again = act(i).clone();
        i.parts[0].runs.push(again);
    });
    assert_refused(&refused, "peers/n1/runs/2", "the run comes twice");
    let refused = world().lie(|i| {
        let part = &mut i.parts[2];
        part.node = id("n9");
    });
    assert_refused(&refused, "peers/n9", "the peer is no node of the cluster");
}
