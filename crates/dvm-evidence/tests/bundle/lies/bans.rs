//! A ban is held against the run that it names: a publication in which `n1`'s kernel found `n2`'s share wrong.

use dvm_core::receipt::BanRecord;
use dvm_core::trace::{CallResult, Outcome, TraceEvent};
use dvm_core::{Link, ReasonCode};
use dvm_evidence::{BundleInput, verify};
use dvm_score::MicroOp;

use super::*;

/// The publication's place among the runs of `n1`.
const PUBLICATION: usize = 1;

/// In the bundle `n1`'s kernel blames `n2` instead of publishing, and bans it.
fn banned(input: &mut BundleInput) {
    let ban = record(input);
    let (run, step) = (&mut input.parts[0].runs[PUBLICATION], ban.step);
    run.published = None;
    world().retell(run, PUBLICATION, |events| {
        let of_step = |event: &TraceEvent| match event {
            TraceEvent::Result(result) if result.step == step => Some(result.context),
            _ => None,
        };
        let (at, context) =
            events.iter().enumerate().find_map(|(at, e)| Some((at, of_step(e)?))).unwrap();
        events.truncate(at);
        let outcome = Outcome::Fault { code: ReasonCode::PayloadRejected, blame: Some(id("n2")) };
        events.push(TraceEvent::Result(CallResult { step, context, outcome }));
    });
    run.bans = vec![world().by_kernel("n1", ban)];
}

fn record(input: &BundleInput) -> BanRecord {
    let ctx = &world().contexts[PUBLICATION];
    let part = &input.parts[0];
    let step = ctx.plan().steps.iter().find(|s| s.op == MicroOp::VerifyShares).unwrap();
    let header = part.runs[PUBLICATION].trace.events.iter().find_map(|event| match event {
        TraceEvent::Frame(fact)
            if fact.header.body.from == id("n2") && fact.header.body.level + 1 == step.level =>
        {
            Some(fact.header.link())
        }
        _ => None,
    });
    let receipt = &part.runs[0].permit_receipt.as_ref().unwrap().body;
    BanRecord {
        cluster: world().cluster,
        node: id("n1"),
        boot: receipt.boot,
        vault_seq: receipt.vault_seq + 9,
        key_id: input.intent.act.key_id().clone(),
        key_epoch: input.intent.act.key_epoch(),
        culprit: id("n2"),
        execution_id: ctx.execution_id(),
        level: step.level,
        step: step.index,
        header: header.unwrap(),
        time_ms: 1,
    }
}

/// A ban with each of these changes is refused by this rule.
fn refused_as(changes: &[fn(&mut BanRecord)], what: &str) {
    for change in changes {
        let refused = world().lie(|input| {
            banned(input);
            let mut body = record(input);
            change(&mut body);
            input.parts[0].runs[PUBLICATION].bans = vec![world().by_kernel("n1", body)];
        });
        assert_refused(&refused, "peers/n1/runs/1/bans/0", what);
    }
}

#[test]
fn a_ban_over_a_frame_of_the_level_before_the_one_that_failed_is_accepted() {
    let mut input = world().input.clone();
    banned(&mut input);
    assert!(verify(&write(input), world().cluster).is_ok());
}

#[test]
fn a_ban_by_another_key_is_refused() {
    let refused = world().lie(|input| {
        banned(input);
        let body = record(input);
        input.parts[0].runs[PUBLICATION].bans = vec![world().by_kernel("n2", body)];
    });
    let what = "the ban is not signed by its node's kernel";
    assert_refused(&refused, "peers/n1/runs/1/bans/0", what);
}

#[test]
fn a_ban_of_another_run_or_key_is_refused() {
    refused_as(
        &[
            |b| b.cluster = Link::of_raw(b"other"),
            |b| b.node = id("n2"),
            |b| b.execution_id.0[0] ^= 1,
            |b| b.key_id = id("sundries"),
            |b| b.key_epoch += 1,
        ],
        "the ban is of another run or key",
    );
}

#[test]
fn a_ban_of_somebody_whom_no_failed_call_named_is_refused() {
    refused_as(&[|b| b.culprit = id("n3")], "no call of the run failed for a peer that was banned");
    refused_as(&[|b| b.step -= 1], "no call of the run failed for a peer that was banned");
    let refused = world().lie(|input| {
        let body = record(input);
        input.parts[0].runs[PUBLICATION].bans = vec![world().by_kernel("n1", body)];
    });
    let what = "no call of the run failed for a peer that was banned";
    assert_refused(&refused, "peers/n1/runs/1/bans/0", what);
}

#[test]
fn a_ban_at_another_level_or_over_another_frame_is_refused() {
    let what = "the bans of one failure name different steps, or none of the plan";
    refused_as(&[|b| b.level -= 1], what);
    let what = "the banned peer's kernel signed no such frame in the level before";
    refused_as(&[|b| b.header = Link::of_artifact(b"other")], what);
}

#[test]
fn a_second_culprit_of_one_failure_needs_a_frame_of_its_own_and_a_place_in_order() {
    let with = |culprits: [&str; 2]| {
        world().lie(|input| {
            banned(input);
            let of = |culprit: &str| BanRecord { culprit: id(culprit), ..record(input) };
            let bans = culprits.map(|culprit| world().by_kernel("n1", of(culprit)));
            input.parts[0].runs[PUBLICATION].bans = bans.to_vec();
        })
    };
    let frame = "the banned peer's kernel signed no such frame in the level before";
    assert_refused(&with(["n2", "n3"]), "peers/n1/runs/1/bans/1", frame);
    let order = "the banned peers are not sorted and distinct";
    for culprits in [["n2", "n2"], ["n3", "n2"]] {
        assert_refused(&with(culprits), "peers/n1/runs/1/bans/0", order);
    }
}
