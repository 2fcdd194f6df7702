//! The test bodies, generic over the suite.

use std::collections::BTreeMap;

use frost_core::keys::dkg as frost;

use crate::dkg;
use crate::testing::{
    AllOpened, accept_all, blame, change, generate, name, rng, run_probe, run_signing,
    run_to_agreed, run_to_committed, run_to_finished, run_to_opened, session,
};
use crate::{Fault, FrostSuite, KeyShare, Offence, Rule, SchnorrSuite, Secret, Unattributed, sign};

pub(super) fn every_party_ends_with_the_same_key_and_its_own_share<C: FrostSuite>() {
    for (t, n) in [(2, 2), (2, 3), (3, 5)] {
        let keys = generate::<C>(t, n, 1);
        for (index, key) in (1..=n).zip(&keys) {
            assert_eq!(key.node(), name(index));
            assert!(key.group() == keys[0].group());
            assert_eq!(key.transcript(), keys[0].transcript());
        }
        assert_eq!(keys[0].group().threshold(), t);
        assert_eq!(keys[0].group().roster().size(), n);
    }
}

pub(super) fn another_session_gives_another_key<C: FrostSuite>() {
    let one = generate::<C>(2, 3, 1);
    let other = generate::<C>(2, 3, 2);
    assert_ne!(one[0].group().public_key(), other[0].group().public_key());
    assert_ne!(one[0].transcript(), other[0].transcript());
}

pub(super) fn opening_that_differs_from_its_commitment_is_blamed<C: FrostSuite>() {
    let all = run_to_opened::<C>(2, 3, 1);
    let honest = &all.openings["node-2"];
    let me = &all.opened["node-1"];
    assert!(dkg::receive_opening(me, "node-2", honest).is_ok());
    for place in 0..honest.len() {
        let mut changed = honest.clone();
        changed[place] ^= 1;
        let fault = dkg::receive_opening(me, "node-2", &changed).err();
        assert_eq!(fault, Some(blame(&[2], Offence::OpeningMismatch)), "byte {place}");
    }
    let short = dkg::receive_opening(me, "node-2", &honest[..31]).err();
    assert_eq!(short, Some(blame(&[2], Offence::MalformedOpening)));
    let long = dkg::receive_opening(me, "node-2", &[0; 1 << 16]).err();
    assert_eq!(long, Some(blame(&[2], Offence::MalformedOpening)));
    let stranger = dkg::receive_opening(me, "node-4", honest).err();
    assert_eq!(stranger, Some(Rule::NotAMember.into()));
    let own = dkg::receive_opening(me, "node-1", &all.openings["node-1"]).err();
    assert_eq!(own, Some(Rule::UnexpectedMessage.into()));
}

/// What node-1 says when node-2 commits, correctly, to `package` in session 1 of t-of-n.
fn verdict_on<C: FrostSuite>(t: u16, n: u16, package: &[u8]) -> Option<Fault> {
    let (mut committed, mut hashes) = run_to_committed::<C>(t, n, 1);
    let blind = [5; 32];
    let cheater = session::<C>(t, n, 1, "node-2");
    hashes.insert("node-2".into(), cheater.opening_commitment("node-2", package, &blind));
    let (opened, _) = dkg::open(committed.remove("node-1").unwrap(), hashes).unwrap();
    dkg::receive_opening(&opened, "node-2", &[&blind[..], package].concat()).err()
}

/// A package that node-2 makes by frost's own function, with these terms.
fn package_of<C: FrostSuite>(t: u16, n: u16, seed: u64) -> Vec<u8> {
    let identifier = session::<C>(3, 5, seed, "node-2").identifier("node-2").unwrap();
    frost::part1(identifier, n, t, rng(7)).unwrap().1.serialize().unwrap()
}

pub(super) fn longer_or_shorter_commitment_vectors_are_blamed<C: FrostSuite>() {
    assert_eq!(verdict_on::<C>(3, 5, &package_of::<C>(3, 5, 1)), None);
    for other in [2, 4, 5] {
        let fault = verdict_on::<C>(3, 5, &package_of::<C>(other, 5, 1));
        assert_eq!(fault, Some(blame(&[2], Offence::CommitmentCount)), "{other} coefficients");
    }
}

pub(super) fn opening_replayed_from_another_session_is_blamed<C: FrostSuite>() {
    let fault = verdict_on::<C>(3, 5, &package_of::<C>(3, 5, 2));
    assert_eq!(fault, Some(blame(&[2], Offence::ProofOfKnowledge)));
}

pub(super) fn opening_copied_from_another_party_is_blamed<C: FrostSuite>() {
    let all = run_to_opened::<C>(3, 5, 1);
    let fault = verdict_on::<C>(3, 5, &all.openings["node-3"][32..]);
    assert_eq!(fault, Some(blame(&[2], Offence::ProofOfKnowledge)));
}

pub(super) fn second_encoding_of_an_opening_is_blamed<C: FrostSuite>() {
    let trailing = [package_of::<C>(3, 5, 1), vec![0]].concat();
    let fault = verdict_on::<C>(3, 5, &trailing);
    assert_eq!(fault, Some(blame(&[2], Offence::MalformedOpening)));
    assert_eq!(verdict_on::<C>(3, 5, &[]), Some(blame(&[2], Offence::MalformedOpening)));
}

pub(super) fn nobody_opens_before_every_commitment_is_there_and_its_own_unchanged<C: FrostSuite>() {
    let (mut committed, hashes) = run_to_committed::<C>(2, 3, 1);
    let mut open = |node: &str, hashes| dkg::open(committed.remove(node).unwrap(), hashes).err();

    let mut missing = hashes.clone();
    missing.remove("node-3");
    let node_3 = crate::testing::party(3);
    assert_eq!(open("node-1", missing), Some(Rule::MissingMessage(node_3).into()));

    let mut changed = hashes.clone();
    changed.insert("node-2".into(), [0; 32]);
    assert_eq!(open("node-2", changed), Some(Rule::OwnMessageChanged.into()));

    let mut foreign = hashes.clone();
    foreign.insert("node-4".into(), [0; 32]);
    assert_eq!(open("node-3", foreign), Some(Rule::UnexpectedMessage.into()));
}

pub(super) fn no_share_is_made_before_every_opening_of_this_session_is_verified<C: FrostSuite>() {
    let AllOpened { mut opened, openings } = run_to_opened::<C>(2, 3, 1);
    let mut take = |node: &str| {
        let state = opened.remove(node).unwrap();
        let verified = accept_all(node, &state, &openings);
        (state, verified)
    };
    let (state, mut verified) = take("node-1");
    verified.pop();
    let node_3 = crate::testing::party(3);
    let fault = dkg::share(state, verified).err();
    assert_eq!(fault, Some(Rule::MissingMessage(node_3).into()));

    let (state, mut verified) = take("node-2");
    verified.push(dkg::receive_opening(&state, "node-1", &openings["node-1"]).unwrap());
    assert_eq!(dkg::share(state, verified).err(), Some(Rule::UnexpectedMessage.into()));

    let (state, mut verified) = take("node-3");
    let other = run_to_opened::<C>(2, 3, 2);
    verified[0] =
        dkg::receive_opening(&other.opened["node-3"], "node-1", &other.openings["node-1"]).unwrap();
    assert_eq!(dkg::share(state, verified).err(), Some(Rule::OtherSession.into()));
}

pub(super) fn wrong_or_malformed_secret_share_blames_its_sender_at_its_victim_only<
    C: FrostSuite,
>() {
    let run = |with: fn(&mut Vec<u8>)| {
        run_to_finished::<C>((3, 5, 1), |from, to, share| {
            if (from, to) == ("node-2", "node-4") {
                with(share);
            }
        })
    };
    type Spoiler = fn(&mut Vec<u8>);
    let cases: [(Spoiler, Offence); 4] = [
        // Byte 16 is far from both ends, so the scalar stays canonical in either byte order.
        (|share| share[16] ^= 1, Offence::WrongSecretShare),
        (|share| share.fill(0), Offence::WrongSecretShare),
        (|share| share.fill(0xff), Offence::MalformedSecretShare),
        (|share| share.truncate(31), Offence::MalformedSecretShare),
    ];
    for (with, offence) in cases {
        for (node, result) in run(with) {
            let expected = (node == "node-4").then(|| blame(&[2], offence));
            assert_eq!(result.err(), expected, "{node}, {offence:?}");
        }
    }
}

pub(super) fn missing_secret_share_is_named<C: FrostSuite>() {
    let AllOpened { mut opened, openings } = run_to_opened::<C>(2, 3, 1);
    let state = opened.remove("node-1").unwrap();
    let verified = accept_all("node-1", &state, &openings);
    let (state, _) = dkg::share(state, verified).unwrap();
    let only = BTreeMap::from([(name(2), Secret::new(vec![1; 32]))]);
    let fault = dkg::finish(state, &only).err();
    assert_eq!(fault, Some(Rule::MissingMessage(crate::testing::party(3)).into()));
}

pub(super) fn differing_transcripts_make_no_key<C: FrostSuite>() {
    let finished = run_to_finished::<C>((2, 3, 1), |_, _, _| ());
    let honest: BTreeMap<String, [u8; 32]> = finished
        .iter()
        .map(|(node, state)| (node.clone(), *state.as_ref().ok().unwrap().transcript()))
        .collect();
    let mut states = finished.into_values().map(|state| state.ok().unwrap());

    let mut differing = honest.clone();
    differing.insert(name(3), [0; 32]);
    let fault = dkg::agree(states.next().unwrap(), &differing).err();
    assert_eq!(fault, Some(Unattributed::TranscriptMismatch.into()));

    let mut missing = honest.clone();
    missing.remove("node-3");
    let fault = dkg::agree(states.next().unwrap(), &missing).err();
    assert_eq!(fault, Some(Rule::MissingMessage(crate::testing::party(3)).into()));

    assert!(dkg::agree(states.next().unwrap(), &honest).is_ok());
}

pub(super) fn spoiled_probe_blames_and_makes_no_key<C: FrostSuite>() {
    let agreed = run_to_agreed::<C>(2, 3, 1);
    let (commitments, mut shares) = run_probe(&agreed, 2);
    change(&mut shares, "node-2", |share| share[16] ^= 1);
    for state in agreed {
        let fault = dkg::probe_confirm(state, &commitments, &shares).err();
        assert_eq!(fault, Some(blame(&[2], Offence::WrongSignatureShare)));
    }
}

fn sealed_and_back<C: FrostSuite>(key: &KeyShare<C>) -> KeyShare<C> {
    key.seal_bytes().unwrap().expose(|bytes| KeyShare::unseal(bytes)).ok().unwrap()
}

pub(super) fn sealed_share_comes_back<C: FrostSuite>() {
    for key in generate::<C>(2, 3, 1) {
        let back = sealed_and_back(&key);
        assert_eq!((key.node(), key.transcript()), (back.node(), back.transcript()));
        assert!(key.group() == back.group());
        let bytes = |key: &KeyShare<C>| key.seal_bytes().unwrap().expose(Vec::clone);
        assert_eq!(bytes(&key), bytes(&back));
    }
}

pub(super) fn sealed_share_that_came_back_signs<C: SchnorrSuite>() {
    let keys = generate::<C>(2, 3, 1);
    let signers = [&sealed_and_back(&keys[0]), &keys[2]];
    let (binding, shares) = run_signing(&signers, b"after a restart", 3);
    assert!(sign::aggregate(&binding, &shares).is_ok());
}

pub(super) fn sealed_share_with_any_changed_byte_is_refused<C: FrostSuite>() {
    let key = &generate::<C>(2, 3, 1)[0];
    let sealed = key.seal_bytes().unwrap().expose(Vec::clone);
    // The transcript hash is a fact that the key does not contain: changing it gives another record, which only
    // the vault's AEAD can tell. It stands before the share: 32 bytes, a length of 4, 32 bytes.
    let transcript = sealed.len() - 68..sealed.len() - 36;
    for place in (0..sealed.len()).filter(|place| !transcript.contains(place)) {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        let back = KeyShare::<C>::unseal(&changed);
        // A changed name of another party is another, consistent, group key; never the same one.
        let same = back.is_ok_and(|back| back.group() == key.group() && back.node() == key.node());
        assert!(!same, "byte {place}");
    }
    let cut = KeyShare::<C>::unseal(&sealed[..sealed.len() - 1]);
    assert_eq!(cut.err(), Some(Rule::MalformedSealedKey));
}
