//! What holds of every backend, written once and run for each: the claims know keys, acts and signatures, and nothing of
//! the rounds that make them.

use std::collections::BTreeMap;

use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::intent::{Backend, CanonicalIntent, Scheme};
use dvm_core::trace::Outcome;
use dvm_core::{Bytes, ReasonCode};

use crate::harness::{Cluster, id};
use crate::messenger::{Course, level, retold};

const CONTENT: &[u8] = b"content";

/// A test of each claim, for every backend.
macro_rules! for_every_backend {
    ($($claim:ident)*) => {
        for_every_backend!(frost_ed25519, Backend::FrostEd25519, $($claim)*);
        for_every_backend!(frost_secp256k1_tr, Backend::FrostSecp256k1Tr, $($claim)*);
        for_every_backend!(dkls23_secp256k1, Backend::Dkls23Secp256k1, $($claim)*);
    };
    ($name:ident, $backend:expr, $($claim:ident)*) => {
        mod $name {
            use dvm_core::intent::Backend;
            $(#[test]
            fn $claim() {
                super::$claim($backend);
            })*
        }
    };
}

for_every_backend!(
    key_and_held_result_outlive_every_kernel
    running_act_dies_with_its_kernel_and_the_intent_opens_again
    share_is_in_no_reply_before_its_opening
    signers_without_a_silent_one_sign
    wrong_share_gives_nobody_a_signature_and_the_others_sign
    lie_in_a_word_for_all_is_noticed_at_once_or_in_the_next_level
    repeated_calls_of_a_publication_give_the_same_bytes
);

fn started(cluster: &mut Cluster, name: &str, by: [&str; 2]) -> (CanonicalIntent, Course) {
    let intent = cluster.sign_intent(CONTENT, name);
    let opens = by.map(|node| cluster.open(node, &intent, Some(CONTENT))).to_vec();
    let (proposal, plan) = cluster.proposal(&intent, opens, cluster.backend);
    (intent, cluster.start(&proposal, plan, &BTreeMap::new()))
}

fn publish(cluster: &mut Cluster, intent: &CanonicalIntent, held: &Course) {
    let mut publication = cluster.start_publication(intent, held, cluster.backend);
    cluster.grant_all(intent, &mut publication);
    for result in cluster.open_all(&mut publication) {
        assert!(cluster.verified(CONTENT, &result.body.result));
    }
}

fn signs(cluster: &mut Cluster, name: &str, by: [&str; 2]) {
    let (intent, held) = cluster.held_signature(CONTENT, name, by, cluster.backend);
    publish(cluster, &intent, &held);
}

fn key_and_held_result_outlive_every_kernel(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (intent, held) = cluster.held_signature(CONTENT, "one", ["n1", "n2"], backend);
    for node in ["n1", "n2", "n3"] {
        cluster.restart(node);
    }
    publish(&mut cluster, &intent, &held);
    signs(&mut cluster, "two", ["n2", "n3"]);
}

fn running_act_dies_with_its_kernel_and_the_intent_opens_again(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (intent, mut course) = started(&mut cluster, "one", ["n1", "n2"]);
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    cluster.restart("n1");
    cluster.refused("n1", Cluster::step_call(&course, &id("n1")), ReasonCode::NotFound);
    assert_eq!(cluster.open("n1", &intent, Some(CONTENT)).body.opening, 2);
}

fn share_is_in_no_reply_before_its_opening(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (intent, held) = cluster.held_signature(CONTENT, "one", ["n1", "n2"], backend);
    let mut publication = cluster.start_publication(&intent, &held, backend);
    cluster.grant_all(&intent, &mut publication);
    let encode = |(_, reply): &(_, KernelReply)| hex::encode(dvm_core::codec::encode(reply));
    let before: Vec<String> = cluster.said.iter().map(encode).collect();
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    for reply in publication.replies.values() {
        // A share has one scalar, or two.
        for half in reply.frames[0].broadcast.payloads[0].0.chunks(32) {
            let shown = hex::encode(half);
            assert!(half.len() == 32 && before.iter().all(|reply| !reply.contains(&shown)));
        }
    }
}

fn signers_without_a_silent_one_sign(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (_, mut course) = started(&mut cluster, "one", ["n1", "n2"]);
    cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    let (execution_id, code) = (course.execution_id, ReasonCode::RemoteTimeout);
    let reply = cluster.call("n1", KernelCall::Abort { execution_id, code });
    let KernelReply::Aborted(Some(receipt)) = reply else { panic!("no receipt") };
    assert_eq!(receipt.body.aborted, Some(code));
    signs(&mut cluster, "two", ["n1", "n3"]);
    // Silence is no offence.
    signs(&mut cluster, "three", ["n1", "n2"]);
}

/// n1's opening of a result in whose other share the last byte is flipped.
fn opens_a_wrong_share(cluster: &mut Cluster) -> dvm_core::call::LevelReply {
    let backend = cluster.backend;
    let (intent, held) = cluster.held_signature(CONTENT, "one", ["n1", "n2"], backend);
    let mut publication = cluster.start_publication(&intent, &held, backend);
    cluster.grant_all(&intent, &mut publication);
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    let frame = &mut publication.inbox.get_mut(&id("n1")).unwrap()[0];
    // Big-endian or little-endian: a byte in the middle leaves it a scalar.
    *frame = retold(frame, |_, share| share[16] ^= 1);
    level(cluster.call("n1", Cluster::open_result_call(&publication, &id("n1"))))
}

fn wrong_share_gives_nobody_a_signature_and_the_others_sign(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let reply = opens_a_wrong_share(&mut cluster);
    // A Schnorr share is checked alone. Of an ECDSA share nobody can tell, so its signers are kept apart.
    let (named, refusal) = match backend.scheme() {
        Scheme::Schnorr => (Some(id("n2")), ReasonCode::PartyBanned),
        Scheme::Ecdsa => (None, ReasonCode::KeyFrozen),
    };
    let outcome = &reply.results.last().unwrap().outcome;
    let expected = Outcome::Fault { code: ReasonCode::PayloadRejected, blame: named };
    assert_eq!((outcome, &reply.published), (&expected, &None));
    let intent = cluster.sign_intent(CONTENT, "two");
    let opens = ["n1", "n2"].map(|node| cluster.open(node, &intent, Some(CONTENT))).to_vec();
    let (proposal, _) = cluster.proposal(&intent, opens, backend);
    let same = KernelCall::Start { proposal: Box::new(proposal), frames: Vec::new() };
    cluster.refused("n1", same, refusal);
    signs(&mut cluster, "three", ["n1", "n3"]);
}

/// What n1 is asked next: the next level, or to publish after the last one.
fn next_call(intent: &CanonicalIntent, course: &Course, backend: Backend) -> KernelCall {
    if course.level < course.plan.levels() {
        return Cluster::step_call(course, &id("n1"));
    }
    let (proposal, _) = Cluster::publication(intent, course, backend);
    let frames = course.inbox[&id("n1")].clone();
    KernelCall::Start { proposal: Box::new(proposal), frames }
}

/// Whether this lie of n2 in a level, to n1 alone, ends n1's run at once; if not, n1 sees it one level later.
fn noticed_at_once(cluster: &mut Cluster, lied_in: u16, lie: impl Fn(&mut Vec<u8>)) -> bool {
    let backend = cluster.backend;
    let (intent, mut course) = started(cluster, "one", ["n1", "n2"]);
    while course.level < lied_in {
        cluster.advance(&mut course, |_, course, node| Cluster::step_call(course, node));
    }
    let frame = &mut course.inbox.get_mut(&id("n1")).unwrap()[0];
    *frame = retold(frame, |_, said| lie(said));
    let reply = match cluster.call("n1", next_call(&intent, &course, backend)) {
        KernelReply::Refused { .. } => return true,
        other => level(other),
    };
    if reply.header.is_none() {
        return true;
    }
    let honest = level(cluster.call("n2", Cluster::step_call(&course, &id("n2"))));
    course.level += 1;
    course.inbox = BTreeMap::from([(id("n1"), honest.frames.clone())]);
    course.calls.insert(id("n1"), reply.next.clone());
    course.replies = BTreeMap::from([(id("n1"), reply), (id("n2"), honest)]);
    cluster.refused("n1", next_call(&intent, &course, backend), ReasonCode::Equivocation);
    false
}

fn lie_in_a_word_for_all_is_noticed_at_once_or_in_the_next_level(backend: Backend) {
    let made = Cluster::roomy(backend);
    let levels = started(&mut made.again(), "probe", ["n1", "n2"]).1.plan.levels();
    for lied_in in 1..=levels {
        for at in [0, 20, 40] {
            let flip = |said: &mut Vec<u8>| {
                let at = at % said.len().max(1);
                said[at] ^= 1;
            };
            let at_once = noticed_at_once(&mut made.again(), lied_in, flip);
            // Another result is no result of this kernel's.
            assert!(at_once || lied_in < levels);
        }
    }
}

fn repeated_calls_of_a_publication_give_the_same_bytes(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    let (intent, held) = cluster.held_signature(CONTENT, "one", ["n1", "n2"], backend);
    let mut publication = cluster.start_publication(&intent, &held, backend);
    cluster.grant_all(&intent, &mut publication);
    for _ in 0..2 {
        let before = publication.clone();
        cluster
            .advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
        cluster.restart("n1");
        let again = Cluster::open_result_call(&before, &id("n1"));
        assert_eq!(level(cluster.call("n1", again)), publication.replies[&id("n1")]);
    }
    let result: Bytes = publication.replies[&id("n1")].published.clone().unwrap().body.result;
    assert!(cluster.verified(CONTENT, &result));
}
