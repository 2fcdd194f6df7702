//! The test bodies, generic over the suite.

use std::collections::BTreeMap;

use dvm_blame::{SuiteGroupKey, verify_signature};

use crate::testing::{
    Commitments, blame, change, generate, name, party, rng, run_signing, subsets,
};
use crate::{Fault, FrostSuite, GroupKey, Offence, Rule, SchnorrSuite, Secret, sign};

pub(in crate::sign) fn every_subset_of_t_signs<C: SchnorrSuite>() {
    for (t, n, sets) in [(2, 3, 3), (3, 5, 10)] {
        let keys = generate::<C>(t, n, 1);
        let all = subsets(&keys, t);
        assert_eq!(all.len(), sets);
        for signers in all {
            let (binding, shares) = run_signing(&signers, b"message", 2);
            for (node, share) in &shares {
                assert_eq!(sign::verify_share(&binding, node, share), Ok(()));
            }
            let signature = sign::aggregate(&binding, &shares).unwrap().expose(Vec::clone);
            let public_key = keys[0].group().public_key();
            let verify =
                |message: &[u8]| verify_signature(C::SUITE, public_key, message, &signature);
            assert_eq!(verify(b"message"), Ok(()));
            assert!(verify(b"messagf").is_err());
            assert_eq!(signature[..32], binding.r()[..]);
        }
    }
}

pub(in crate::sign) fn empty_and_long_messages_sign<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    for message in [vec![], vec![7; 1], vec![7; 100_000]] {
        let (binding, shares) = run_signing(&[&keys[0], &keys[1]], &message, 2);
        assert!(sign::aggregate(&binding, &shares).is_ok());
    }
    let commitments = commitments_of(&keys[..2]);
    let bind = |length| sign::bind(keys[0].group(), &commitments, &vec![0; length]).err();
    assert_eq!(bind(dvm_blame::MESSAGE_BYTES_MAX), None);
    assert_eq!(bind(dvm_blame::MESSAGE_BYTES_MAX + 1), Some(Rule::MessageTooLong.into()));
}

fn commitments_of<C: SchnorrSuite>(keys: &[crate::KeyShare<C>]) -> Commitments {
    let mut rng = rng(3);
    let commit = |key: &crate::KeyShare<C>| sign::nonce_commit(key, &mut rng).unwrap().1;
    let messages: Vec<Vec<u8>> = keys.iter().map(commit).collect();
    keys.iter().map(|key| key.node().to_owned()).zip(messages).collect()
}

pub(in crate::sign) fn wrong_shares_are_blamed_all_at_once<C: SchnorrSuite>() {
    let keys = generate::<C>(3, 5, 1);
    let (binding, mut shares) = run_signing(&[&keys[0], &keys[2], &keys[4]], b"message", 2);
    change(&mut shares, "node-3", |share| share[16] ^= 1);
    let wrong = |indices| Err(blame(indices, Offence::WrongSignatureShare));
    assert_eq!(sign::verify_share(&binding, "node-1", &shares["node-1"]), Ok(()));
    assert_eq!(sign::verify_share(&binding, "node-3", &shares["node-3"]), wrong(&[3]));
    assert_eq!(sign::aggregate(&binding, &shares).map(drop), wrong(&[3]));
    change(&mut shares, "node-5", |share| share.fill(0));
    assert_eq!(sign::aggregate(&binding, &shares).map(drop), wrong(&[3, 5]));
}

pub(in crate::sign) fn malformed_share_is_blamed<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    for spoil in [|share: &mut Vec<u8>| share.truncate(31), |share: &mut Vec<u8>| share.fill(0xff)]
    {
        let (binding, mut shares) = run_signing(&[&keys[0], &keys[1]], b"message", 2);
        change(&mut shares, "node-2", spoil);
        let fault = Err(blame(&[2], Offence::MalformedSignatureShare));
        assert_eq!(sign::verify_share(&binding, "node-2", &shares["node-2"]), fault);
        assert_eq!(sign::aggregate(&binding, &shares).map(drop), fault);
    }
}

pub(in crate::sign) fn share_of_another_message_is_blamed<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let (binding, mut shares) = run_signing(&[&keys[0], &keys[1]], b"message", 2);
    let (_, mut others) = run_signing(&[&keys[0], &keys[1]], b"another", 2);
    shares.insert(name(1), others.remove("node-1").unwrap());
    let fault = sign::aggregate(&binding, &shares).map(drop);
    assert_eq!(fault, Err(blame(&[1], Offence::WrongSignatureShare)));

    shares.remove("node-1");
    let missing = sign::aggregate(&binding, &shares).map(drop);
    assert_eq!(missing, Err(Rule::MissingMessage(party(1)).into()));
    shares.insert(name(3), Secret::new(vec![1; 32]));
    shares.insert(name(1), Secret::new(vec![1; 32]));
    let extra = sign::aggregate(&binding, &shares).map(drop);
    assert_eq!(extra, Err(Rule::UnexpectedMessage.into()));
}

pub(in crate::sign) fn exactly_t_members_sign<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let group = keys[0].group();
    let bind = |commitments: &Commitments| sign::bind(group, commitments, b"message").err();
    assert_eq!(bind(&commitments_of(&keys[..2])), None);
    assert_eq!(bind(&commitments_of(&keys[..1])), Some(Rule::SignerCount.into()));
    assert_eq!(bind(&commitments_of(&keys[..])), Some(Rule::SignerCount.into()));
    let mut stranger = commitments_of(&keys[..2]);
    let moved = stranger.remove("node-2").unwrap();
    stranger.insert(name(9), moved);
    assert_eq!(bind(&stranger), Some(Rule::NotAMember.into()));

    // A member that was not chosen does not sign.
    let (nonces, _) = sign::nonce_commit(&keys[2], &mut rng(4)).unwrap();
    let binding = sign::bind(group, &commitments_of(&keys[..2]), b"message").unwrap();
    let fault = sign::partial_sig(&keys[2], nonces, &binding).err();
    assert_eq!(fault, Some(Rule::NotAMember.into()));
}

pub(in crate::sign) fn malformed_commitments_are_blamed<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let honest = commitments_of(&keys[..2]);
    let spoilers: [fn(&mut Vec<u8>); 4] = [
        |bytes| {
            bytes.pop();
        },
        |bytes| bytes.push(0),
        |bytes| bytes.fill(0),
        |bytes| bytes.fill(0xff),
    ];
    for spoil in spoilers {
        let mut commitments = honest.clone();
        spoil(commitments.get_mut("node-2").unwrap());
        let fault = sign::bind(keys[0].group(), &commitments, b"message").err();
        assert_eq!(fault, Some(blame(&[2], Offence::MalformedNonceCommitment)));
    }
}

pub(in crate::sign) fn signer_refuses_when_its_own_commitments_were_changed<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let (nonces, own) = sign::nonce_commit(&keys[0], &mut rng(5)).unwrap();
    let mut commitments = commitments_of(&keys[..2]);
    assert_ne!(commitments["node-1"], own);
    let changed = sign::bind(keys[0].group(), &commitments, b"message").unwrap();
    let fault = sign::partial_sig(&keys[0], nonces, &changed).err();
    assert_eq!(fault, Some(Rule::OwnMessageChanged.into()));

    let (nonces, own) = sign::nonce_commit(&keys[0], &mut rng(5)).unwrap();
    commitments.insert(name(1), own);
    let right = sign::bind(keys[0].group(), &commitments, b"message").unwrap();
    assert!(sign::partial_sig(&keys[0], nonces, &right).is_ok());
}

pub(in crate::sign) fn signer_refuses_a_binding_of_another_key<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let others = generate::<C>(2, 3, 2);
    let (nonces, own) = sign::nonce_commit(&keys[0], &mut rng(5)).unwrap();
    let mut commitments = commitments_of(&keys[..2]);
    commitments.insert(name(1), own);
    let binding = sign::bind(others[0].group(), &commitments, b"message").unwrap();
    let fault = sign::partial_sig(&keys[0], nonces, &binding).err();
    assert_eq!(fault, Some(Rule::OtherSession.into()));
}

pub(in crate::sign) fn offline_verifier_reaches_the_same_verdicts_from_bytes<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let mut rng = rng(6);
    let (first, d1) = sign::nonce_commit(&keys[0], &mut rng).unwrap();
    let (third, d3) = sign::nonce_commit(&keys[2], &mut rng).unwrap();
    let commitments = BTreeMap::from([(name(1), d1), (name(3), d3)]);
    let binding = sign::bind(keys[0].group(), &commitments, b"message").unwrap();
    let mut shares = BTreeMap::new();
    for (key, nonces) in [(&keys[0], first), (&keys[2], third)] {
        let share = sign::partial_sig(key, nonces, &binding).unwrap();
        shares.insert(key.node().to_owned(), share.expose(Vec::clone));
    }

    let bytes = keys[1].group().encode().unwrap();
    let group = SuiteGroupKey::decode(C::SUITE, &bytes).unwrap();
    assert_eq!(group.public_key(), keys[0].group().public_key());
    assert_eq!(dvm_blame::group_commitment(&group, &commitments, b"message"), Ok(*binding.r()));
    let check = |node: &str, share: &[u8]| {
        dvm_blame::verify_share(&group, &commitments, b"message", node, share)
    };
    assert_eq!(check("node-1", &shares["node-1"]), Ok(()));
    let wrong: Result<(), Fault> = Err(blame(&[3], Offence::WrongSignatureShare));
    assert_eq!(check("node-3", &shares["node-1"]), wrong);
    let aggregate =
        |shares: &Commitments| dvm_blame::aggregate(&group, &commitments, b"message", shares);
    let signature = aggregate(&shares).unwrap();
    assert_eq!(verify_signature(C::SUITE, group.public_key(), b"message", &signature), Ok(()));
    let copied = shares["node-1"].clone();
    shares.insert(name(3), copied);
    assert_eq!(aggregate(&shares).map(drop), wrong);
}

pub(in crate::sign) fn group_key_encoding_is_one_and_consistent<C: FrostSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let bytes = keys[0].group().encode().unwrap();
    let back = GroupKey::<C>::decode(&bytes).ok().unwrap();
    assert!(back == *keys[0].group());
    let decode = |bytes: &[u8]| GroupKey::<C>::decode(bytes).err();
    assert_eq!(decode(&bytes[..bytes.len() - 1]), Some(Rule::MalformedGroupKey));
    assert_eq!(decode(&[&bytes[..], &[0]].concat()), Some(Rule::MalformedGroupKey));
    let too_long = vec![0; dvm_blame::GROUP_KEY_BYTES_MAX + 1];
    assert_eq!(decode(&too_long), Some(Rule::MalformedGroupKey));

    let width = C::ELEMENT_BYTES;
    let one = 4 + name(1).len() + 4 + 32 + 4 + width;
    let records = bytes.len() - 2 * one;

    // The same facts in another order.
    let mut disordered = bytes.clone();
    disordered[records..].rotate_left(one);
    assert_eq!(decode(&disordered), Some(Rule::MalformedGroupKey));

    // One party's verifying share put in another's place: each is a fine point, and the key lies.
    let third = bytes.len() - width;
    let mut swapped = bytes.clone();
    swapped.copy_within(third.., third - one);
    assert_eq!(decode(&swapped), Some(Rule::MalformedGroupKey));
}

pub(in crate::sign) fn group_key_refuses_an_internal_key_that_is_not_its_own<C: FrostSuite>() {
    let group = generate::<C>(2, 3, 1).remove(0).group().clone();
    let other = generate::<C>(2, 3, 2).remove(0).group().clone();
    let named = |node: &str| (node.to_owned(), group.identifier(node).unwrap());
    let build = |internal: &[u8]| {
        let internal = frost_core::VerifyingKey::deserialize(internal).unwrap();
        let identifiers = group.roster().nodes().map(named).collect();
        GroupKey::<C>::new(identifiers, group.package().clone(), internal).err()
    };
    assert_eq!(build(&group.internal_key().unwrap()), None);
    assert_eq!(build(&other.internal_key().unwrap()), Some(Rule::MalformedGroupKey));
}

pub(in crate::sign) fn public_key_has_the_length_that_its_suite_says<C: FrostSuite>() {
    let key = generate::<C>(2, 2, 1).remove(0);
    let public_key = key.group().public_key().as_ref();
    assert_eq!(public_key.len(), C::SUITE.public_key_bytes());
    assert!(dvm_blame::public_key_pem(C::SUITE, public_key).is_ok());
    assert!(dvm_blame::public_key_pem(C::SUITE, &public_key[1..]).is_err());
}
