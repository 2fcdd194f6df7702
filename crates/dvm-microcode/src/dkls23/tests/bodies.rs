//! What signing gives.

use std::collections::BTreeSet;

use dvm_blame::ecdsa::{TripleUse, digest_scalar};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use rand_core::RngCore;
use secp256k1::{Message, Secp256k1 as Libsecp256k1};

use super::harness::{Cluster, Dealt, Plan, Signed, for_every_vole, honest};
use crate::Rule;
use crate::testing::{name, rng};

for_every_vole!(
    every_set_of_t_signs,
    nine_of_sixteen_sign_and_so_do_all_sixteen,
    a_thousand_digests_under_one_key_give_low_s_and_the_right_recovery_id,
    keys_below_the_key_sign_and_the_key_itself_does_not_for_them,
    items_of_a_batch_are_runs_of_their_own,
    a_kept_run_signs_one_message_under_that_messages_nonce,
);

/// By two libraries that had no part in it, with low s and the recovery id.
fn verify(signed: &Signed, digest: &[u8; 32]) {
    let (rs, id) = signed.signature.split_at(64);
    let key = VerifyingKey::from_sec1_bytes(&signed.public_key).unwrap();
    let signature = Signature::from_slice(rs).unwrap();
    key.verify_prehash(digest, &signature).unwrap();
    assert!(signature.normalize_s().is_none(), "high s");
    let id = RecoveryId::from_byte(id[0]).unwrap();
    assert_eq!(VerifyingKey::recover_from_prehash(digest, &signature, id).unwrap(), key);

    let other = Libsecp256k1::verification_only();
    let key = secp256k1::PublicKey::from_slice(&signed.public_key).unwrap();
    let signature = secp256k1::ecdsa::Signature::from_compact(rs).unwrap();
    other.verify_ecdsa(Message::from_digest(*digest), &signature, &key).unwrap();
    let mut wrong = *digest;
    wrong[31] ^= 1;
    assert!(other.verify_ecdsa(Message::from_digest(wrong), &signature, &key).is_err());
}

fn every_set_of_t_signs<V: Dealt>() {
    for (t, n) in [(2, 2), (2, 3), (3, 3), (3, 4), (4, 4), (3, 5), (4, 5), (5, 5)] {
        let cluster = Cluster::<V>::new(t, n);
        for set in 0u32..1 << n {
            if set.count_ones() != u32::from(t) {
                continue;
            }
            let signers: Vec<u16> = (1..=n).filter(|index| set >> (index - 1) & 1 == 1).collect();
            verify(&cluster.sign_honestly(&Plan::of(&signers), &[3; 32], 1), &[3; 32]);
        }
    }
}

/// Sixteen signers are the most that a key has.
fn nine_of_sixteen_sign_and_so_do_all_sixteen<V: Dealt>() {
    for signers in [(5..=13).collect::<Vec<u16>>(), (1..=16).collect()] {
        let cluster = Cluster::<V>::new(signers.len() as u16, 16);
        verify(&cluster.sign_honestly(&Plan::of(&signers), &[6; 32], 2), &[6; 32]);
    }
}

fn a_thousand_digests_under_one_key_give_low_s_and_the_right_recovery_id<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 3);
    let mut digests = rng(4);
    let mut parities = BTreeSet::new();
    for round in 0u64..1000 {
        let mut digest = [0; 32];
        digests.fill_bytes(&mut digest);
        match round {
            // Around the order, where the digest is reduced.
            0 => digest = [0; 32],
            1 => digest = [0xff; 32],
            _ => (),
        }
        let mut plan = Plan::of(&[1, 3]);
        plan.run_sid[..8].copy_from_slice(&round.to_be_bytes());
        let signed = cluster.sign_honestly(&plan, &digest, round);
        verify(&signed, &digest);
        parities.insert(signed.signature[64]);
    }
    assert_eq!(parities, BTreeSet::from([0, 1]));
    assert_eq!(digest_scalar(&[0; 32]), k256::Scalar::ZERO);
}

fn keys_below_the_key_sign_and_the_key_itself_does_not_for_them<V: Dealt>() {
    let cluster = Cluster::<V>::new(2, 3);
    let mut plan = Plan::of(&[2, 3]);
    let own = cluster.sign_honestly(&plan, &[3; 32], 1);
    plan.path = vec![44, 60, 7];
    let below = cluster.sign_honestly(&plan, &[3; 32], 1);
    verify(&below, &[3; 32]);
    assert_ne!(own.public_key, below.public_key);
    // The same public nonce and digest: what differs is the key alone.
    assert_eq!(own.signature[..32], below.signature[..32]);
    assert_ne!(own.signature[32..64], below.signature[32..64]);
}

fn items_of_a_batch_are_runs_of_their_own<V: Dealt>() {
    let cluster = Cluster::<V>::new(3, 5);
    let mut nonces = BTreeSet::new();
    for item in 0..4 {
        let plan = Plan { item, ..Plan::of(&[1, 2, 5]) };
        let signed = cluster.sign_honestly(&plan, &[3; 32], u64::from(item));
        verify(&signed, &[3; 32]);
        nonces.insert(signed.signature[..32].to_vec());
    }
    assert_eq!(nonces.len(), 4);
}

fn a_kept_run_signs_one_message_under_that_messages_nonce<V: Dealt>() {
    let cluster = Cluster::<V>::new(3, 5);
    let plan = Plan::of(&[1, 3, 4]);
    let public_key = *cluster.derived(&[]).public_key();
    let mut seen = BTreeSet::new();
    for digest in [[8; 32], [9; 32]] {
        let checked = cluster.checked(&plan, &honest(), 1).ok().unwrap();
        let before = *checked.values().next().unwrap().nonce();
        let taken = TripleUse {
            execution_id: &[1; 32],
            batch: &[2; 32],
            index: 3,
            nonce: &before.encode(),
            public_key: &public_key,
            digest: &digest,
        };
        let parts = checked
            .into_iter()
            .map(|(me, checked)| (me, checked.into_triple().scaled(&taken).ok().unwrap().affine()));
        let signed = cluster.combined(&plan, &digest, parts.collect(), &honest());
        let signed = signed.ok().unwrap();
        verify(&signed, &digest);
        let after = before.scaled(&taken.delta().unwrap()).unwrap();
        assert_eq!(signed.signature[..32], after.encode()[1..]);
        assert_ne!(after, before);
        // The same run and the same seed: R was the same, and R' is the message's.
        seen.insert(signed.signature[..32].to_vec());

        let other = *cluster.checked(&plan, &honest(), 2).ok().unwrap()[&name(1)].nonce();
        let mut checked = cluster.checked(&plan, &honest(), 1).ok().unwrap();
        let triple = checked.remove(&name(1)).unwrap().into_triple();
        let foreign = TripleUse { nonce: &other.encode(), ..taken };
        assert_eq!(triple.scaled(&foreign).err(), Some(Rule::OtherSession.into()));
    }
    assert_eq!(seen.len(), 2);
}
