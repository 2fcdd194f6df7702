//! Results: what a kernel published, and what everybody may check.

use dvm_core::receipt::PublishedResult;
use dvm_core::{B32, Link, ReasonCode};

use super::{assert_refused, by_policy, each, world};
use crate::rig::id;

fn published() -> PublishedResult {
    world().input.parts[0].runs[1].published.as_ref().unwrap().body.clone()
}

fn refused_as(changes: &[fn(&mut PublishedResult)], what: &str) {
    for other in each(&published(), changes) {
        let lied = Some(world().by_kernel("n1", other));
        let refused = world().lie(|i| i.parts[0].runs[1].published = lied);
        assert_refused(&refused, "peers/n1/runs/1/published", what);
    }
}

#[test]
fn a_published_result_by_another_key_or_of_another_publication_is_refused() {
    let forged = Some(by_policy("n1", published()));
    let refused = world().lie(|i| i.parts[0].runs[1].published = forged);
    let what = "the result is not signed by its node's kernel";
    assert_refused(&refused, "peers/n1/runs/1/published", what);
    refused_as(
        &[
            |p| p.cluster = Link::of_raw(b"x"),
            |p| p.node = id("n2"),
            |p| p.intent = Link::of_raw(b"x"),
            |p| p.execution_id = B32([1; 32]),
            |p| p.grant = Link::of_raw(b"x"),
            |p| p.result_ref = B32([1; 32]),
        ],
        "the result is of another publication than this kernel granted",
    );
    refused_as(&[|p| p.result.0[0] ^= 1], "the kernel published another result");
}

#[test]
fn a_published_result_in_an_act_run_is_refused() {
    let refused =
        world().lie(|i| i.parts[0].runs[0].published = i.parts[0].runs[1].published.clone());
    let what = "the result is of another publication than this kernel granted";
    assert_refused(&refused, "peers/n1/runs/0/published", what);
}

#[test]
fn a_signature_that_does_not_verify_over_the_acts_bytes_is_refused() {
    let what = "the signature does not verify under the key over the act's bytes";
    for at in [0, 31, 32, 63] {
        let refused = world().lie(|i| {
            i.result.as_mut().unwrap().0[at] ^= 1;
        });
        // The shares add up to another signature, which is said first.
        assert_eq!(refused.link, "result");
        assert_eq!(refused.code, ReasonCode::PayloadRejected);
    }
    // With the parts of one signer alone, only the signature's own equation is left.
    let refused = world().lie(|i| {
        i.parts.truncate(1);
        i.result.as_mut().unwrap().0[40] ^= 1;
    });
    assert_refused(&refused, "result", what);
}

#[test]
fn shares_that_do_not_add_up_to_the_result_are_said_to() {
    let refused = world().lie(|i| i.result.as_mut().unwrap().0[40] ^= 1);
    assert_refused(&refused, "result", "the opened shares do not add up to the result");
}
