//! What peers say of one another: one broadcast under one header, every leaf under the signed root.

use dvm_core::B32;
use dvm_core::trace::{FrameFact, TraceEvent};

use super::{assert_refused, key_world, world};
use crate::rig::id;

/// The first frame that `n1` heard from `n2` in the act run, changed; its trace is signed anew.
fn heard(change: impl FnOnce(&mut FrameFact)) -> dvm_evidence::Refused {
    world().lie(|i| {
        let run = &mut i.parts[0].runs[0];
        world().retell(run, 0, |events| {
            let from_n2 = events.iter_mut().find_map(|event| match event {
                TraceEvent::Frame(fact) if fact.header.body.from == id("n2") => Some(fact),
                _ => None,
            });
            change(from_n2.unwrap());
        });
    })
}

#[test]
fn two_broadcasts_under_one_header_are_refused() {
    let refused = heard(|fact| fact.broadcast.salt = B32([1; 32]));
    assert_eq!(refused.what, "peers saw different broadcasts under one header");
    assert!(refused.link.ends_with("/runs/0/trace"), "{refused}");
}

#[test]
fn a_leaf_that_is_not_under_the_signed_root_is_refused() {
    let refused = heard(|fact| {
        fact.private.as_mut().unwrap().salt = B32([1; 32]);
    });
    let run = &world().contexts[0];
    let link = format!("peers/n2/level 1 of {}", run.execution_id());
    assert_refused(&refused, &link, "the leaves are not under the signed root");
}

#[test]
fn a_part_that_another_peer_did_not_send_is_refused() {
    let world = key_world();
    let refused = world.lie(|i| {
        world.retell(&mut i.parts[0].runs[0], 0, |events| {
            let part = events.iter_mut().find_map(|event| match event {
                TraceEvent::Frame(fact) if fact.header.body.from == id("n2") => {
                    fact.private.as_mut().and_then(|leaf| leaf.parts.first_mut())
                }
                _ => None,
            });
            // Its digest stays, so what n1 made of it does.
            part.unwrap().payload.len -= 1;
        });
    });
    let what = "a peer received something else than was sent";
    assert_refused(&refused, "peers/n2/runs/0/trace", what);
}
