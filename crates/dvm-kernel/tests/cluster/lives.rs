//! Whole lives: a key from its generation to authority, a signature from its intent to publication.

use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::digest::sha256;
use dvm_core::intent::Backend;
use dvm_core::trace::Outcome;
use dvm_core::{Bytes, ReasonCode};

use crate::harness::{Cluster, NODES};
use crate::messenger::refusal;

fn lives_from_keygen_to_a_verified_signature(backend: Backend) {
    let mut cluster = Cluster::roomy(backend);
    for (at, by) in [["n1", "n2"], ["n1", "n3"], ["n2", "n3"]].into_iter().enumerate() {
        let content = format!("pay {at}").into_bytes();
        let (intent, held) = cluster.held_signature(&content, &format!("pay-{at}"), by, backend);
        let mut publication = cluster.start_publication(&intent, &held, backend);
        cluster.grant_all(&intent, &mut publication);
        let published = cluster.open_all(&mut publication);
        assert_eq!(published.len(), 2);
        // The last level: what each makes public, and the digest of it that it says to the other.
        let result = published[0].body.result.clone();
        let digest = [Bytes(sha256(&result).0.to_vec())];
        for reply in publication.replies.values() {
            let public = reply.results.iter().map(|result| match &result.outcome {
                Outcome::Ok { public, .. } => public.clone(),
                Outcome::Fault { .. } => None,
            });
            assert_eq!(public.collect::<Vec<_>>(), [Some(result.clone()), None]);
            assert_eq!(reply.frames[0].broadcast.payloads[..], digest);
        }
        for result in published {
            assert_eq!(result.body.result_ref, Cluster::result_ref(&held));
            assert!(cluster.verified(&content, &result.body.result));
        }
        assert_eq!(
            cluster.call(by[0], KernelCall::Status),
            KernelReply::Status { held: Vec::new(), stash: Vec::new() }
        );
    }
}

#[test]
fn ed25519_key_lives_from_keygen_to_a_verified_signature_by_every_pair() {
    lives_from_keygen_to_a_verified_signature(Backend::FrostEd25519);
}

#[test]
fn secp256k1_key_lives_from_keygen_to_a_verified_signature_by_every_pair() {
    lives_from_keygen_to_a_verified_signature(Backend::FrostSecp256k1Tr);
}

#[test]
fn ecdsa_key_lives_from_keygen_to_a_verified_signature_by_every_pair() {
    lives_from_keygen_to_a_verified_signature(Backend::Dkls23Secp256k1);
}

#[test]
fn key_signs_nothing_before_governance_activated_it() {
    let backend = Backend::FrostEd25519;
    let mut cluster = Cluster::formed();
    let ready = cluster.published_key(backend);
    let intent = cluster.sign_intent(b"early", "early");
    let refuse_everywhere = |cluster: &mut Cluster| {
        for node in NODES {
            let call = cluster.open_call(node, &intent, Some(b"early"));
            cluster.refused(node, call, ReasonCode::KeyNotActive);
        }
    };
    refuse_everywhere(&mut cluster);
    use dvm_core::governance::EventKind;
    let key_id = ready.ready.key_id.clone();
    let key_ready_cid = dvm_core::codec::link_of(&ready.ready);
    let published = EventKind::KeyObjectPublished { key_id: key_id.clone(), key_ready_cid };
    cluster.govern(published, Some(ready));
    refuse_everywhere(&mut cluster);
    cluster.govern(EventKind::TransitionAuthorized { key_id: key_id.clone() }, None);
    refuse_everywhere(&mut cluster);
    cluster.govern(EventKind::KeyActivated { key_id }, None);
    cluster.open("n1", &intent, Some(b"early"));
}

#[test]
fn no_reply_before_the_opening_carries_the_share_that_is_opened_later() {
    let backend = Backend::FrostEd25519;
    let (mut cluster, _) = Cluster::active(backend);
    let (intent, held) = cluster.held_signature(b"quiet", "quiet", ["n1", "n2"], backend);
    let mut publication = cluster.start_publication(&intent, &held, backend);
    let held_replies = format!("{:?}", encoded(&held));
    cluster.grant_all(&intent, &mut publication);
    let granted = format!("{:?}", encoded(&publication));
    cluster.advance(&mut publication, |_, course, node| Cluster::open_result_call(course, node));
    for reply in publication.replies.values() {
        let share = &reply.frames[0].broadcast.payloads[0].0;
        let shown = hex::encode(share);
        assert_eq!(share.len(), 32);
        assert!(!held_replies.contains(&shown));
        assert!(!granted.contains(&shown));
    }
}

fn encoded(course: &crate::messenger::Course) -> Vec<String> {
    let encode = |reply| hex::encode(dvm_core::codec::encode(&KernelReply::Level(Box::new(reply))));
    course.replies.values().cloned().map(encode).collect()
}

#[test]
fn second_opening_of_an_intent_destroys_what_the_first_one_held() {
    let backend = Backend::FrostEd25519;
    let (mut cluster, _) = Cluster::active(backend);
    let (intent, held) = cluster.held_signature(b"twice", "twice", ["n1", "n2"], backend);
    let open = cluster.open("n1", &intent, Some(b"twice"));
    assert_eq!(open.body.opening, 2);
    assert_eq!(
        cluster.call("n1", KernelCall::Status),
        KernelReply::Status { held: Vec::new(), stash: Vec::new() }
    );
    let (proposal, _) = Cluster::publication(&intent, &held, backend);
    let frames = held.inbox[&open.body.node].clone();
    let reply = cluster.call("n1", KernelCall::Start { proposal: Box::new(proposal), frames });
    assert_eq!(refusal(&reply).0, ReasonCode::WrongPhase);
}

#[test]
fn granted_intent_is_not_opened_again_and_a_published_one_never() {
    let backend = Backend::FrostEd25519;
    let (mut cluster, _) = Cluster::active(backend);
    let (intent, held) = cluster.held_signature(b"once", "once", ["n1", "n2"], backend);
    let mut publication = cluster.start_publication(&intent, &held, backend);
    cluster.grant_all(&intent, &mut publication);
    let again = cluster.open_call("n1", &intent, Some(b"once"));
    cluster.refused("n1", again, ReasonCode::WrongPhase);
    cluster.open_all(&mut publication);
    let again = cluster.open_call("n1", &intent, Some(b"once"));
    cluster.refused("n1", again, ReasonCode::ReplayOrConflict);
}
