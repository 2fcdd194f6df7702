//! What survives a restart of a kernel, and what must not.

use dvm_core::ReasonCode;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::intent::Backend;

use crate::harness::{Cluster, id};
use crate::messenger::{Course, level};

const BACKEND: Backend = Backend::FrostEd25519;

fn restarted(cluster: &mut Cluster, held: &Course, publication: &Course) -> KernelReply {
    cluster.restart("n1");
    let proposal =
        dvm_core::run::Proposal { header: publication.header.clone(), opens: Vec::new() };
    let frames = held.inbox[&id("n1")].clone();
    cluster.call("n1", KernelCall::Start { proposal: Box::new(proposal), frames })
}

#[test]
fn held_result_survives_a_restart_and_is_published() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    cluster.restart("n1");
    cluster.restart("n2");
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    assert_eq!(cluster.open_all(&mut publication).len(), 2);
}

#[test]
fn grant_survives_a_restart_and_is_said_again_in_the_same_bytes() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    let before = publication.clone();
    cluster.grant_all(&intent, &mut publication);
    assert!(matches!(restarted(&mut cluster, &held, &publication), KernelReply::Started { .. }));
    let again = cluster.grant_call(&intent, &before, &id("n1"), &[]);
    assert_eq!(level(cluster.call("n1", again)), publication.replies[&id("n1")]);
    assert_eq!(cluster.open_all(&mut publication).len(), 2);
}

#[test]
fn opening_survives_a_restart_and_the_share_is_said_again_in_the_same_bytes() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let (intent, held) = cluster.held_signature(b"content", "one", ["n1", "n2"], BACKEND);
    let mut publication = cluster.start_publication(&intent, &held, BACKEND);
    cluster.grant_all(&intent, &mut publication);
    let before = publication.clone();
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    cluster.restart("n1");
    let again = Cluster::open_result_call(&before, &id("n1"));
    assert_eq!(level(cluster.call("n1", again)), publication.replies[&id("n1")]);
    let last = publication.clone();
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    cluster.restart("n1");
    let again = Cluster::open_result_call(&last, &id("n1"));
    assert_eq!(level(cluster.call("n1", again)), publication.replies[&id("n1")]);
}

#[test]
fn running_act_is_gone_after_a_restart_and_the_intent_opens_again() {
    let (mut cluster, _) = Cluster::active(BACKEND);
    let intent = cluster.sign_intent(b"content", "one");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(b"content"))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, BACKEND);
    let mut course = cluster.start(&proposal, plan, &Default::default());
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    cluster.restart("n1");
    let lost = Cluster::step_call(&course, &id("n1"));
    cluster.refused("n1", lost, ReasonCode::NotFound);
    assert_eq!(cluster.open("n1", &intent, Some(b"content")).body.opening, 2);
}

#[test]
fn authority_and_tallies_are_folded_again_after_a_restart() {
    let mut cluster = Cluster::formed();
    let head = cluster.state.head();
    cluster.restart("n1");
    let KernelReply::Attested(attested) = cluster.call("n1", KernelCall::Attest) else { panic!() };
    assert_eq!(attested.body.head, Some(head));
    assert_eq!(attested.body.boot.generation, 2);
}
